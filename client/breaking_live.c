/* sagactl breaking --live: what an orchestrator has, against NEW, and its sagas in flight one by
 * one. Memory: the versions, a page of a listing, and 16 bytes for each saga looked at. */
#include "client/breaking.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/conn.h"
#include "client/definition_pages.h"
#include "common/sys/clock.h"
#include "saga/v1/orchestrator.pb-c.h"
#include "saga/v1/reflection.pb-c.h"

enum {
    VERSIONS_MAX = 4 * SAGA_DEFINITIONS_MAX,
    PAGE_COUNT = 200,  /* sagas of a listing at once: they must fit into a message */
    BATCH_COUNT = 8,   /* sagas asked for at once, each with its context */
    TELL_COUNT = 1000, /* progress after so many */
};

/* One version of a definition that the orchestrator has. */
struct version {
    char name[SAGA_DEFINITION_NAME_MAX + 1];
    uint8_t hash[SAGA_HASH_SIZE];
    bool current;
    bool walked; /* a finding of it hits some of its sagas */
    bool child;  /* another saga runs it */
    size_t row, row_count;
};

struct live {
    struct saga_breaking *breaking;
    struct saga_conn *conn;
    struct version *versions; /* VERSIONS_MAX */
    size_t version_count;
    struct saga_buf set;      /* of the version at hand */
    struct saga_buf wire_set; /* the last one whose wire was compared */
    struct saga_arena arena;  /* of a batch of views */
    struct saga_id *seen;     /* all that were looked at, sorted */
    size_t seen_count, seen_capacity;
    struct saga_id page[PAGE_COUNT];
    size_t page_count;
    struct saga_id
        children[SAGA_NEST_COUNT_MAX]; /* ended, of a parent in flight; still to look at */
    size_t child_count;
    bool children_walked; /* a version that is walked is run by other sagas: look at all */
    int64_t timeout_ms;
    uint64_t told; /* progress */
    bool terminal;
};

static const char get_saga[] = "saga.v1.OrchestratorService/GetSaga";

/* ---- Versions ---- */

static struct version *find_version(struct live *live, const uint8_t *hash, size_t size)
{
    for (size_t i = 0; size == SAGA_HASH_SIZE && i < live->version_count; i++) {
        if (memcmp(live->versions[i].hash, hash, SAGA_HASH_SIZE) == 0) {
            return &live->versions[i];
        }
    }
    return NULL;
}

static int add_version(struct live *live, const char *name, const uint8_t *hash, bool current)
{
    if (live->version_count == VERSIONS_MAX) {
        return saga_client_fail("the orchestrator has more than %d versions of definitions",
                                VERSIONS_MAX);
    }
    struct version *version = &live->versions[live->version_count++];
    (void)snprintf(version->name, sizeof version->name, "%s", name);
    memcpy(version->hash, hash, SAGA_HASH_SIZE);
    version->current = current;
    return SAGA_EXIT_OK;
}

static int take_view(void *user, const Saga__V1__DefinitionView *view)
{
    bool current = view->current && !view->removed;
    if (view->hash.len != SAGA_HASH_SIZE || (!current && view->live_count == 0)) {
        return SAGA_EXIT_OK;
    }
    return add_version(user, view->name, view->hash.data, current);
}

static int list_versions(struct live *live)
{
    static const struct saga_definition_list all = {NULL, false};
    return saga_definitions_each(live->conn, &all, take_view, live);
}

/* Asks for the set that declares a version; it is in live->set then. */
static int fetch_set(struct live *live, const struct version *version)
{
    uint8_t hash[SAGA_HASH_SIZE];
    memcpy(hash, version->hash, sizeof hash);
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    message.definition_hash.data = hash;
    message.definition_hash.len = sizeof hash;
    struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(live->conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__GetDescriptorSetResponse *response =
        (const Saga__V1__GetDescriptorSetResponse *)answer;
    struct saga_bytes bytes = {response->descriptor_set.data, response->descriptor_set.len};
    saga_buf_clear(&live->set);
    if (saga_buf_append(&live->set, bytes) != SAGA_ERR_OK) {
        return saga_client_fail("out of memory");
    }
    return SAGA_EXIT_OK;
}

/* ---- Comparing ---- */

static int compare(struct live *live, const struct saga_compat_config *config, const char *version,
                   struct saga_compat **report)
{
    struct saga_err_detail detail = {{0}};
    enum saga_err err =
        saga_compat_compare(saga_buf_view(&live->set), saga_buf_view(&live->breaking->new_set),
                            config, report, &detail);
    if (err != SAGA_ERR_OK) {
        return saga_client_fail("%s%s%s", version == NULL ? "" : version,
                                version == NULL ? "" : ": ", detail.text);
    }
    struct saga_breaking_origin origin = {.daemon = true, .version = version};
    return saga_breaking_take(live->breaking, *report, origin);
}

/* The wire of the sets that new sagas begin on; most versions come from the same one. */
static int compare_wire(struct live *live)
{
    struct saga_compat_config config = live->breaking->config;
    struct saga_compat *report = NULL;
    struct saga_bytes bytes = saga_buf_view(&live->set);
    bool given = saga_options_operand_count(live->breaking->options) == 2;
    if (config.without_wire || given || saga_bytes_equal(bytes, saga_buf_view(&live->wire_set))) {
        return SAGA_EXIT_OK;
    }
    config.partial = true;
    config.without_sagas = true;
    saga_buf_clear(&live->wire_set);
    if (saga_buf_append(&live->wire_set, bytes) != SAGA_ERR_OK) {
        return saga_client_fail("out of memory");
    }
    return compare(live, &config, NULL, &report);
}

/* Of a version that no saga begins on any more, only what hits those in flight counts: one that was
 * removed and drains may be missing. */
static void drop_rows_of_callers(struct saga_breaking *breaking, size_t from)
{
    size_t kept = from;
    for (size_t i = from; i < breaking->row_count; i++) {
        const struct saga_compat_finding *finding = breaking->rows[i].finding;
        bool starters =
            finding->code == SAGA_COMPAT_SAGA_REMOVED || finding->code == SAGA_COMPAT_SAGA_RENAMED;
        if (finding->hit != SAGA_COMPAT_HIT_NONE && !starters) {
            breaking->rows[kept++] = breaking->rows[i];
        }
    }
    breaking->row_count = kept;
}

static int compare_version(struct live *live, struct version *version, struct saga_compat **report)
{
    struct saga_breaking *breaking = live->breaking;
    struct saga_compat_config config = breaking->config;
    char name[SAGA_BREAKING_VERSION_SIZE];
    char hash[13] = "";
    for (size_t i = 0; i < 6; i++) {
        (void)snprintf(hash + 2 * i, 3, "%02x", version->hash[i]);
    }
    (void)snprintf(name, sizeof name, "%s@%s", version->name, hash);
    config.without_wire = true;
    config.partial = true;
    config.saga = version->name;
    version->row = breaking->row_count;
    int status = compare(live, &config, name, report);
    if (status == SAGA_EXIT_OK && !version->current) {
        drop_rows_of_callers(breaking, version->row);
    }
    version->row_count = breaking->row_count - version->row;
    for (size_t i = 0; i < version->row_count; i++) {
        struct saga_breaking_row *row = &breaking->rows[version->row + i];
        row->judged = row->finding->hit != SAGA_COMPAT_HIT_NONE;
        version->walked = version->walked || row->judged;
    }
    return status;
}

/* Makes a version of a child saga of the set at hand, if it is not one yet. */
static int take_child(struct live *live, const struct saga_decl *child)
{
    struct version *version = find_version(live, child->hash, SAGA_HASH_SIZE);
    struct saga_compat *report = NULL;
    if (version != NULL) {
        version->child = true;
        return SAGA_EXIT_OK;
    }
    int status = add_version(live, child->name, child->hash, false);
    if (status == SAGA_EXIT_OK) {
        version = &live->versions[live->version_count - 1];
        version->child = true;
        status = compare_version(live, version, &report);
    }
    return status;
}

/* Children that have ended are undone with their parents: their versions count, with or without
 * sagas in flight. */
static int compare_children(struct live *live, const struct saga_compat *report)
{
    const struct saga_schema *schema = saga_compat_old_schema(report);
    int status = SAGA_EXIT_OK;
    for (size_t i = 0; status == SAGA_EXIT_OK && i < saga_schema_decl_count(schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        const struct version *parent = find_version(live, decl->hash, SAGA_HASH_SIZE);
        for (size_t k = 0; parent != NULL && k < decl->step_count; k++) {
            const struct saga_decl *child = decl->steps[k].child;
            if (child != NULL && status == SAGA_EXIT_OK) {
                status = take_child(live, child);
            }
        }
    }
    return status;
}

static int compare_versions(struct live *live)
{
    int status = SAGA_EXIT_OK;
    size_t listed = live->version_count;
    for (size_t i = 0; status == SAGA_EXIT_OK && i < listed; i++) {
        struct saga_compat *report = NULL;
        status = fetch_set(live, &live->versions[i]);
        if (status == SAGA_EXIT_OK && live->versions[i].current) {
            status = compare_wire(live);
        }
        if (status != SAGA_EXIT_OK || live->breaking->config.without_sagas) {
            continue;
        }
        status = compare_version(live, &live->versions[i], &report);
        /* Nesting is at most so deep; each round finds the children of those before. */
        for (size_t depth = 1; status == SAGA_EXIT_OK && depth < SAGA_NEST_DEPTH_MAX; depth++) {
            status = compare_children(live, report);
        }
    }
    return status;
}

/* ---- Walking ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct saga_id));
}

static bool seen_before(const struct live *live, struct saga_id id)
{
    return live->seen_count > 0 &&
           bsearch(&id, live->seen, live->seen_count, sizeof(struct saga_id), compare_ids) != NULL;
}

static int note_seen(struct live *live, const struct saga_id *ids, size_t count)
{
    if (count == 0) {
        return SAGA_EXIT_OK;
    }
    if (live->seen_count + count > live->seen_capacity) {
        size_t capacity = 2 * (live->seen_count + count);
        struct saga_id *seen = realloc(live->seen, capacity * sizeof *seen);
        if (seen == NULL) {
            return saga_client_fail("out of memory");
        }
        live->seen = seen;
        live->seen_capacity = capacity;
    }
    memcpy(live->seen + live->seen_count, ids, count * sizeof *ids);
    live->seen_count += count;
    return SAGA_EXIT_OK;
}

static void judge_view(struct live *live, const Saga__V1__SagaView *view, bool held)
{
    const struct version *version =
        find_version(live, view->definition_hash.data, view->definition_hash.len);
    struct saga_id id;
    if (version == NULL ||
        saga_client_id(view->saga_id.data, view->saga_id.len, &id) != SAGA_ERR_OK) {
        return;
    }
    live->breaking->walked++;
    for (size_t i = 0; i < version->row_count; i++) {
        struct saga_breaking_row *row = &live->breaking->rows[version->row + i];
        if (saga_compat_hits(row->finding, view, held)) {
            if (row->hit_count < SAGA_BREAKING_IDS_MAX) {
                row->ids[row->hit_count] = id;
            }
            row->hit_count++;
        }
    }
}

/* Puts down the children of a saga in flight that may have ended: those that have not are in the
 * listings themselves. Nothing is undone once the pivot has succeeded (S2). */
static void note_children(struct live *live, const Saga__V1__SagaView *view)
{
    size_t before = live->child_count;
    for (size_t i = 0; i < view->n_steps; i++) {
        const Saga__V1__StepView *step = view->steps[i];
        struct saga_id child;
        if (step->pivot && step->state == SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED) {
            live->child_count = before;
            return;
        }
        bool may_be_undone = step->state == SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED ||
                             step->state == SAGA__V1__STEP_STATE__STEP_STATE_UNDOING;
        if (may_be_undone && step->saga[0] != '\0' && live->child_count < SAGA_NEST_COUNT_MAX &&
            saga_client_id(step->child_saga_id.data, step->child_saga_id.len, &child) ==
                SAGA_ERR_OK) {
            live->children[live->child_count++] = child;
        }
    }
}

/* Fills one command that asks for a saga; payload is the caller's. */
static int make_command(const struct live *live, struct saga_id id, struct saga_buf *payload,
                        struct saga_command *command)
{
    Saga__V1__GetSagaRequest message = SAGA__V1__GET_SAGA_REQUEST__INIT;
    message.saga_id.data = id.b;
    message.saga_id.len = sizeof id.b;
    if (saga_message_encode(&message.base, payload) != SAGA_ERR_OK) {
        return saga_client_fail("out of memory");
    }
    *command = (struct saga_command){
        .step = "",
        .op = SAGA_OP_NONE,
        .method = get_saga,
        .payload = saga_buf_view(payload),
        .attempt = 1,
        .deadline_unix_ms = saga_clock_unix_ms() + live->timeout_ms,
        .traceparent = "",
        .cause_step = "",
        .cause_status = saga_status_ok(),
    };
    return SAGA_EXIT_OK;
}

static int judge_reply(struct live *live, const struct saga_reply *reply, bool held)
{
    if (reply->status.code == SAGA_CODE_NOT_FOUND) {
        return SAGA_EXIT_OK; /* it has ended since, and was pruned */
    }
    int status = saga_conn_status(get_saga, &reply->status);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__GetSagaResponse *response =
        (const Saga__V1__GetSagaResponse *)saga_message_decode(
            &saga__v1__get_saga_response__descriptor, reply->payload, &live->arena);
    if (response == NULL || response->saga == NULL) {
        return saga_client_fail("%s: the response is malformed", get_saga);
    }
    /* A child that has not ended is in the listings itself. */
    if (!held || response->saga->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED) {
        judge_view(live, response->saga, held);
        note_children(live, response->saga);
    }
    return SAGA_EXIT_OK;
}

/* Asks for sagas, at most BATCH_COUNT, and judges them; held: children of sagas in flight. */
static int judge_batch(struct live *live, const struct saga_id *ids, size_t count, bool held)
{
    struct saga_command commands[BATCH_COUNT] = {{.step = ""}};
    struct saga_buf payloads[BATCH_COUNT] = {{0}};
    const struct saga_reply *replies = NULL;
    int status = SAGA_EXIT_OK;
    for (size_t i = 0; i < count && status == SAGA_EXIT_OK; i++) {
        status = make_command(live, ids[i], &payloads[i], &commands[i]);
    }
    if (status == SAGA_EXIT_OK) {
        status = saga_conn_send(live->conn, commands, count, live->timeout_ms, &replies);
    }
    saga_arena_clear(&live->arena);
    for (size_t i = 0; i < count && status == SAGA_EXIT_OK; i++) {
        status = judge_reply(live, &replies[i], held);
    }
    for (size_t i = 0; i < BATCH_COUNT; i++) {
        saga_buf_fini(&payloads[i]);
    }
    return status;
}

static void show_progress(struct live *live)
{
    uint64_t walked = live->breaking->walked;
    if (live->terminal && walked >= live->told + TELL_COUNT) {
        live->told = walked;
        fprintf(stderr, "\r\033[K%" PRIu64 " sagas in flight looked at", walked);
        fflush(stderr);
    }
}

/* Judges the sagas of a page, and the ended children of each. */
static int judge_page(struct live *live)
{
    int status = SAGA_EXIT_OK;
    for (size_t at = 0; status == SAGA_EXIT_OK && at < live->page_count;) {
        size_t count = live->page_count - at < BATCH_COUNT ? live->page_count - at : BATCH_COUNT;
        status = judge_batch(live, live->page + at, count, false);
        while (status == SAGA_EXIT_OK && live->child_count > 0) {
            struct saga_id child = live->children[--live->child_count];
            status = judge_batch(live, &child, 1, true);
        }
        at += count;
        show_progress(live);
    }
    return status;
}

/* Lists a page of sagas in a state and keeps those of a version that is walked. *before is moved
 * on; *more: there may be another page. */
static int list_page(struct live *live, Saga__V1__SagaState state, struct saga_id *before,
                     bool *more)
{
    static const struct saga_id none;
    Saga__V1__ListSagasRequest message = SAGA__V1__LIST_SAGAS_REQUEST__INIT;
    message.state = state;
    message.limit = PAGE_COUNT;
    if (!saga_id_equal(*before, none)) {
        message.before.data = before->b;
        message.before.len = sizeof before->b;
    }
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/ListSagas",
        .request = &message.base,
        .response_type = &saga__v1__list_sagas_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(live->conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__ListSagasResponse *list = (const Saga__V1__ListSagasResponse *)answer;
    live->page_count = 0;
    *more = list->n_sagas > 0;
    for (size_t i = 0; i < list->n_sagas && i < PAGE_COUNT; i++) {
        const Saga__V1__SagaView *view = list->sagas[i];
        const struct version *version =
            find_version(live, view->definition_hash.data, view->definition_hash.len);
        if (saga_client_id(view->saga_id.data, view->saga_id.len, before) != SAGA_ERR_OK) {
            return saga_client_fail("%s: a saga without an id", saga_conn_address(live->conn));
        }
        bool wanted = (version != NULL && version->walked) || live->children_walked;
        if (wanted && !seen_before(live, *before)) {
            live->page[live->page_count++] = *before;
        }
    }
    return SAGA_EXIT_OK;
}

/* A saga goes from RUNNING to the others, and from PARKED back by an operator: looked for in this
 * order none that stays in flight is missed, and none is counted twice. */
static int walk(struct live *live)
{
    static const Saga__V1__SagaState states[] = {
        SAGA__V1__SAGA_STATE__SAGA_STATE_RUNNING,
        SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED,
        SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATING,
    };
    int status = SAGA_EXIT_OK;
    for (size_t i = 0; i < sizeof states / sizeof states[0] && status == SAGA_EXIT_OK; i++) {
        struct saga_id before = {{0}};
        bool more = true;
        size_t sorted = live->seen_count;
        while (status == SAGA_EXIT_OK && more) {
            size_t all = live->seen_count;
            live->seen_count = sorted; /* of this state each comes once */
            status = list_page(live, states[i], &before, &more);
            live->seen_count = all;
            if (status == SAGA_EXIT_OK) {
                status = judge_page(live);
            }
            if (status == SAGA_EXIT_OK) {
                status = note_seen(live, live->page, live->page_count);
            }
        }
        if (live->seen_count > 0) {
            qsort(live->seen, live->seen_count, sizeof(struct saga_id), compare_ids);
        }
    }
    if (live->terminal && live->told > 0) {
        fputs("\r\033[K", stderr);
    }
    return status;
}

/* ---- All ---- */

/* What hits no saga in flight breaks nothing now; who starts a saga is not asked here. */
static void lower_rows(struct saga_breaking *breaking)
{
    for (size_t i = 0; i < breaking->row_count; i++) {
        struct saga_breaking_row *row = &breaking->rows[i];
        bool starters = row->finding->code == SAGA_COMPAT_SAGA_REMOVED ||
                        row->finding->code == SAGA_COMPAT_SAGA_RENAMED;
        if (row->judged && row->hit_count == 0 && !starters) {
            row->severity = SAGA_COMPAT_NOTE;
        }
    }
}

static bool told_of_version(const struct saga_breaking *breaking,
                            const struct saga_compat_finding *finding)
{
    for (size_t i = 0; i < breaking->row_count; i++) {
        const struct saga_breaking_row *row = &breaking->rows[i];
        if (row->version[0] != '\0' && saga_compat_same(row->finding, finding)) {
            return true;
        }
    }
    return false;
}

/* What OLD's file and a version of the orchestrator's both have is told with whom it hits. */
static void drop_rows_told_twice(struct saga_breaking *breaking)
{
    size_t kept = 0;
    for (size_t i = 0; i < breaking->row_count; i++) {
        const struct saga_breaking_row *row = &breaking->rows[i];
        if (row->of_daemon || row->finding->hit == SAGA_COMPAT_HIT_NONE ||
            !told_of_version(breaking, row->finding)) {
            breaking->rows[kept++] = breaking->rows[i];
        }
    }
    breaking->row_count = kept;
}

static int run(struct live *live)
{
    int status = list_versions(live);
    if (status == SAGA_EXIT_OK) {
        status = compare_versions(live);
    }
    bool walked = false;
    for (size_t i = 0; i < live->version_count; i++) {
        walked = walked || live->versions[i].walked;
        live->children_walked =
            live->children_walked || (live->versions[i].walked && live->versions[i].child);
    }
    if (status == SAGA_EXIT_OK && walked) {
        status = walk(live);
    }
    if (status == SAGA_EXIT_OK) {
        lower_rows(live->breaking);
        drop_rows_told_twice(live->breaking);
    }
    return status;
}

int saga_breaking_live(struct saga_breaking *breaking)
{
    struct live *live = calloc(1, sizeof *live);
    struct version *versions = calloc(VERSIONS_MAX, sizeof *versions);
    int status = SAGA_EXIT_FAILED;
    if (live == NULL || versions == NULL) {
        status = saga_client_fail("out of memory");
        goto done;
    }
    live->breaking = breaking;
    live->versions = versions;
    live->terminal = !breaking->json && isatty(STDERR_FILENO) == 1;
    status = saga_client_duration(breaking->options, "timeout", 5000, &live->timeout_ms);
    if (status == SAGA_EXIT_OK) {
        status = saga_conn_open_orchestrator(breaking->options, &live->conn);
    }
    if (status == SAGA_EXIT_OK) {
        status = run(live);
    }
    saga_conn_close(live->conn);
    saga_arena_fini(&live->arena);
    saga_buf_fini(&live->set);
    saga_buf_fini(&live->wire_set);
    free(live->seen);
done:
    free(versions);
    free(live);
    return status;
}
