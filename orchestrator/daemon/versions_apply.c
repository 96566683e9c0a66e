/* Applying a descriptor set while the daemon runs. Everything that can be refused is looked at
 * first; only then anything is changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/sys/log.h"
#include "orchestrator/daemon/versions_internal.h"

/* One request on its way. */
struct applying {
    struct versions *versions;
    const struct versions_apply *apply;
    const struct saga_schema *schema;
    struct versions_report *report;
    struct saga_status *status;
    struct saga_err_detail *detail; /* status->message may point into it */
    bool moved;                     /* an address is another than stored */
    struct transport_dialed dialed; /* for the addresses that are given */
};

static bool refuse(struct applying *applying, enum saga_code code, const char *reason)
{
    *applying->status = saga_status_make(code, reason, applying->detail->text);
    return false;
}

static bool refuse_memory(struct applying *applying)
{
    (void)saga_err_set(applying->detail, SAGA_ERR_NO_MEMORY, "out of memory");
    return refuse(applying, SAGA_CODE_UNAVAILABLE, "NO_MEMORY");
}

/* ---- The set ---- */

static bool load_set(struct applying *applying)
{
    struct versions *versions = applying->versions;
    enum saga_err err = saga_catalog_load(versions->catalog, applying->apply->descriptor_set,
                                          &applying->schema, applying->detail);
    versions->dirty = true;
    if (err == SAGA_ERR_NO_MEMORY) {
        return refuse_memory(applying);
    }
    if (err != SAGA_ERR_OK) {
        (void)saga_err_wrap(applying->detail, err, "descriptor_set");
        return refuse(applying, SAGA_CODE_INVALID_ARGUMENT, "BAD_DESCRIPTOR_SET");
    }
    size_t findings = saga_schema_finding_count(applying->schema);
    if (findings > 0) {
        const struct saga_finding *first = saga_schema_finding_at(applying->schema, 0);
        char more[48] = "";
        if (findings > 1) {
            (void)snprintf(more, sizeof more, " (and %zu more: sagactl lint)", findings - 1);
        }
        (void)saga_err_set(applying->detail, SAGA_ERR_INVALID, "%s:%d:%d: %s: %s%s", first->file,
                           first->line, first->column, first->where, first->message, more);
        return refuse(applying, SAGA_CODE_INVALID_ARGUMENT, first->code);
    }
    if (saga_schema_decl_count(applying->schema) == 0) {
        (void)saga_err_set(applying->detail, SAGA_ERR_INVALID,
                           "descriptor_set: it declares no saga (option saga.v1.definition)");
        return refuse(applying, SAGA_CODE_INVALID_ARGUMENT, "NO_DEFINITION");
    }
    return true;
}

/* ---- What of it ---- */

/* What has grown before another has not stays grown, and is the daemon's. */
static bool reserve(struct versions *versions, size_t count)
{
    void *grown = realloc(versions->selected, count * sizeof *versions->selected);
    if (grown == NULL) {
        return false;
    }
    versions->selected = grown;
    grown = realloc(versions->made, count * sizeof *versions->made);
    if (grown == NULL) {
        return false;
    }
    versions->made = grown;
    grown = realloc(versions->applied, count * sizeof *versions->applied);
    if (grown == NULL) {
        return false;
    }
    versions->applied = grown;
    return true;
}

static void select_decl(struct versions *versions, const struct saga_decl *decl)
{
    for (size_t i = 0; i < versions->selected_count; i++) {
        if (versions->selected[i] == decl) {
            return;
        }
    }
    versions->selected[versions->selected_count++] = decl;
}

static int by_name(const void *a, const void *b)
{
    const struct saga_decl *const *left = a;
    const struct saga_decl *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static bool select_all(struct applying *applying)
{
    struct versions *versions = applying->versions;
    const struct versions_apply *apply = applying->apply;
    size_t count = saga_schema_decl_count(applying->schema);
    versions->selected_count = 0;
    if (!reserve(versions, count)) {
        return refuse_memory(applying);
    }
    for (size_t i = 0; i < apply->name_count; i++) {
        const struct saga_decl *decl = saga_schema_decl(applying->schema, apply->names[i]);
        if (decl == NULL) {
            (void)saga_err_set(applying->detail, SAGA_ERR_NOT_FOUND,
                               "definitions: the set declares no saga \"%.64s\"", apply->names[i]);
            return refuse(applying, SAGA_CODE_NOT_FOUND, "DEFINITION_UNKNOWN");
        }
        select_decl(versions, decl);
    }
    for (size_t i = 0; i < count && apply->name_count == 0; i++) {
        select_decl(versions, saga_schema_decl_at(applying->schema, i));
    }
    /* With the sagas that run in them, and those that run in these. */
    for (size_t i = 0; i < versions->selected_count; i++) {
        const struct saga_decl *decl = versions->selected[i];
        for (size_t j = 0; j < decl->step_count; j++) {
            if (decl->steps[j].child != NULL) {
                select_decl(versions, decl->steps[j].child);
            }
        }
    }
    if (versions->selected_count > SAGA_DEFINITIONS_MAX) {
        (void)saga_err_set(applying->detail, SAGA_ERR_LIMIT,
                           "the set declares %zu sagas, more than %d (SAGA_DEFINITIONS_MAX)",
                           versions->selected_count, SAGA_DEFINITIONS_MAX);
        return refuse(applying, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_DEFINITIONS");
    }
    qsort(versions->selected, versions->selected_count, sizeof *versions->selected, by_name);
    return true;
}

/* ---- What it does ---- */

static void judge(const struct saga_runtime *runtime, const struct saga_version *version,
                  struct versions_applied *applied)
{
    const struct saga_version *before = saga_runtime_current(runtime, version->name);
    *applied = (struct versions_applied){.name = version->name, .has_previous = before != NULL};
    memcpy(applied->hash, version->hash, SAGA_DIGEST_SIZE);
    if (before != NULL) {
        memcpy(applied->previous_hash, before->hash, SAGA_DIGEST_SIZE);
    }
    applied->outcome = before == version                              ? VERSIONS_UNCHANGED
                       : before != NULL                               ? VERSIONS_REPLACED
                       : saga_runtime_removed(runtime, version->name) ? VERSIONS_RESTORED
                                                                      : VERSIONS_ADDED;
    applied->previous_live_count =
        saga_runtime_live_of(runtime, version->name) - saga_runtime_live_at(runtime, version);
}

static bool compile_all(struct applying *applying)
{
    struct versions *versions = applying->versions;
    for (size_t i = 0; i < versions->selected_count; i++) {
        enum saga_err err = saga_catalog_add(versions->catalog, versions->selected[i],
                                             &versions->made[i], applying->detail);
        if (err == SAGA_ERR_NO_MEMORY) {
            return refuse_memory(applying);
        }
        if (err != SAGA_ERR_OK) {
            return refuse(applying, SAGA_CODE_INVALID_ARGUMENT, "BAD_DEFINITION");
        }
        judge(versions->runtime, versions->made[i], &versions->applied[i]);
    }
    applying->report->applied = versions->applied;
    applying->report->applied_count = versions->selected_count;
    return true;
}

/* ---- Services ---- */

/* Services and topics that would come, each once. */
struct coming {
    const char *services[SAGA_PARTICIPANTS_MAX + 1];
    size_t service_count;
    const char *topics[SAGA_REPLY_TOPICS_MAX + 1];
    size_t topic_count;
};

static void note_once(const char **texts, size_t *count, size_t count_max, const char *text)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(texts[i], text) == 0) {
            return;
        }
    }
    if (*count < count_max) {
        texts[(*count)++] = text;
    }
}

static void note_service(const struct versions *versions, const struct saga_service *service,
                         struct coming *coming)
{
    if (service == NULL) {
        return;
    }
    if (transport_place(versions->transport, service->name) == TRANSPORT_UNNUMBERED) {
        note_once(coming->services, &coming->service_count, SAGA_PARTICIPANTS_MAX + 1,
                  service->name);
    }
    if (service->reply_topic[0] != '\0' && !versions_has_topic(versions, service->reply_topic)) {
        note_once(coming->topics, &coming->topic_count, SAGA_REPLY_TOPICS_MAX + 1,
                  service->reply_topic);
    }
}

static bool check_room(struct applying *applying)
{
    const struct versions *versions = applying->versions;
    struct coming coming = {.service_count = 0};
    size_t added = 0;
    for (size_t i = 0; i < versions->selected_count; i++) {
        const struct saga_decl *decl = versions->selected[i];
        added += saga_runtime_version(versions->runtime, decl->hash) == NULL ? 1 : 0;
        for (size_t j = 0; j < decl->step_count; j++) {
            note_service(versions, decl->steps[j].call_service, &coming);
            note_service(versions, decl->steps[j].undo_service, &coming);
        }
    }
    if (added > saga_runtime_version_room(versions->runtime)) {
        (void)saga_err_set(applying->detail, SAGA_ERR_LIMIT,
                           "more than %d versions (SAGA_DEFINITIONS_MAX) would be current or have "
                           "sagas in flight; try later, or remove some",
                           SAGA_DEFINITIONS_MAX);
        return refuse(applying, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_DEFINITIONS");
    }
    if (coming.service_count > transport_room(versions->transport)) {
        (void)saga_err_set(applying->detail, SAGA_ERR_LIMIT,
                           "more than %d services (SAGA_PARTICIPANTS_MAX) would be called",
                           SAGA_PARTICIPANTS_MAX);
        return refuse(applying, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_SERVICES");
    }
    if (versions->topic_count + coming.topic_count > SAGA_REPLY_TOPICS_MAX) {
        (void)saga_err_set(applying->detail, SAGA_ERR_LIMIT,
                           "more than %d reply topics (SAGA_REPLY_TOPICS_MAX) would be read since "
                           "the start; a restart forgets those that nothing needs any more",
                           SAGA_REPLY_TOPICS_MAX);
        return refuse(applying, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_TOPICS");
    }
    return true;
}

/* ---- Addresses ---- */

/* Compares a given set with what is stored of its service. */
struct comparing {
    const struct transport_addresses *set;
    size_t count;
    bool differs;
};

static bool compare_address(void *user, const struct saga_participant_row *row)
{
    struct comparing *comparing = user;
    if (strcmp(row->service, comparing->set->service) == 0) {
        size_t at = comparing->count++;
        comparing->differs = comparing->differs || at >= comparing->set->count ||
                             strcmp(comparing->set->addresses[at], row->address) != 0;
    }
    return true;
}

static bool is_moved(struct applying *applying, const struct transport_addresses *set, bool *moved)
{
    const struct saga_store_port *store = &applying->versions->store;
    struct comparing comparing = {.set = set};
    if (store->ops->list_participants(store->store, compare_address, &comparing,
                                      applying->detail) != SAGA_ERR_OK) {
        return refuse(applying, SAGA_CODE_UNAVAILABLE, "STORE_FAILED");
    }
    *moved = comparing.differs || comparing.count != set->count;
    return true;
}

/* What nothing calls is not stored: nothing would ever let go of it. */
static bool is_called(const struct applying *applying, const char *service)
{
    const struct versions *versions = applying->versions;
    for (size_t i = 0; i < versions->selected_count; i++) {
        if (versions_decl_calls(versions->selected[i], service)) {
            return true;
        }
    }
    return versions_is_called(versions, service);
}

static bool check_addresses(struct applying *applying)
{
    const struct versions_apply *apply = applying->apply;
    for (size_t i = 0; i < apply->participant_count; i++) {
        const struct transport_addresses *set = &apply->participants[i];
        bool moved = false;
        bool again = false;
        for (size_t j = 0; j < i; j++) {
            again = again || strcmp(apply->participants[j].service, set->service) == 0;
        }
        if (again || !is_called(applying, set->service)) {
            (void)saga_err_set(applying->detail, SAGA_ERR_INVALID, "participants: \"%.120s\": %s",
                               set->service,
                               again ? "is given twice"
                                     : "neither a saga that is applied nor one in use calls this "
                                       "service; is its name right?");
            return refuse(applying, SAGA_CODE_INVALID_ARGUMENT, "BAD_PARTICIPANT");
        }
        if (!is_moved(applying, set, &moved)) {
            return false;
        }
        applying->moved = applying->moved || moved;
    }
    return true;
}

static bool dial_addresses(struct applying *applying)
{
    const struct versions_apply *apply = applying->apply;
    enum saga_err err =
        transport_dial(applying->versions->transport, apply->participants, apply->participant_count,
                       &applying->dialed, applying->detail);
    if (err == SAGA_ERR_NO_MEMORY) {
        return refuse_memory(applying);
    }
    if (err != SAGA_ERR_OK) {
        (void)saga_err_wrap(applying->detail, err, "participants");
        return refuse(applying, SAGA_CODE_INVALID_ARGUMENT, "BAD_PARTICIPANT");
    }
    return true;
}

/* ---- The report ---- */

static bool is_given(const struct versions_apply *apply, const char *service)
{
    for (size_t i = 0; i < apply->participant_count; i++) {
        if (strcmp(apply->participants[i].service, service) == 0) {
            return true;
        }
    }
    return false;
}

static void report_service(struct applying *applying, const struct saga_service *service)
{
    struct versions_report *report = applying->report;
    struct versions *versions = applying->versions;
    if (service == NULL) {
        return;
    }
    enum transport_place place = transport_place(versions->transport, service->name);
    if ((place == TRANSPORT_NOWHERE || place == TRANSPORT_UNNUMBERED) &&
        !is_given(applying->apply, service->name)) {
        note_once(versions->nowhere, &report->nowhere_count, SAGA_PARTICIPANTS_MAX, service->name);
    }
}

/* Notes what changes where services are called: what is stored for a start without --participant
 * changes no call. */
static void report_moves(struct applying *applying)
{
    struct versions *versions = applying->versions;
    applying->report->moved = versions->moved;
    for (size_t i = 0; i < applying->apply->participant_count; i++) {
        const struct transport_addresses *set = &applying->apply->participants[i];
        struct versions_moved *moved = &versions->moved[applying->report->moved_count];
        const char *now[SAGA_ADDRESSES_MAX];
        size_t count = transport_addresses_of(versions->transport, set->service, now);
        bool same = count == set->count;
        for (size_t j = 0; j < count && same; j++) {
            same = strcmp(now[j], set->addresses[j]) == 0;
        }
        if (same || transport_place(versions->transport, set->service) == TRANSPORT_FIXED) {
            continue;
        }
        *moved = (struct versions_moved){.after = set, .before_count = count};
        for (size_t j = 0; j < count; j++) {
            (void)snprintf(moved->before[j], sizeof moved->before[j], "%s", now[j]);
        }
        applying->report->moved_count += 1;
    }
}

/* Names live in the schema, which stays loaded until versions settle. */
static void make_report(struct applying *applying)
{
    struct versions *versions = applying->versions;
    applying->report->nowhere = versions->nowhere;
    applying->report->overruled = versions->overruled;
    for (size_t i = 0; i < versions->selected_count; i++) {
        const struct saga_decl *decl = versions->selected[i];
        for (size_t j = 0; j < decl->step_count; j++) {
            report_service(applying, decl->steps[j].call_service);
            report_service(applying, decl->steps[j].undo_service);
        }
    }
    for (size_t i = 0; i < applying->apply->participant_count; i++) {
        const char *service = applying->apply->participants[i].service;
        if (transport_place(versions->transport, service) == TRANSPORT_FIXED) {
            note_once(versions->overruled, &applying->report->overruled_count,
                      SAGA_PARTICIPANTS_MAX, service);
        }
    }
}

/* ---- The change ---- */

/* Refused half-way, services that have a number now are let go when versions settle; topics would
 * stay. */
static bool number_all(struct applying *applying)
{
    struct versions *versions = applying->versions;
    size_t topic_count = versions->topic_count;
    for (size_t i = 0; i < versions->selected_count; i++) {
        if (saga_runtime_version(versions->runtime, versions->made[i]->hash) == NULL &&
            versions_number(versions, versions->made[i], applying->detail) != SAGA_ERR_OK) {
            versions->topic_count = topic_count;
            return refuse(applying, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_SERVICES");
        }
    }
    return true;
}

static void hand_over(struct applying *applying, struct saga_apply_item *items,
                      struct saga_apply_addresses *places)
{
    struct versions *versions = applying->versions;
    const struct versions_apply *apply = applying->apply;
    struct saga_apply change = {
        .items = items,
        .participants = places,
        .who = apply->who,
        .why = apply->why,
        .ticket = apply->ticket,
    };
    for (size_t i = 0; i < versions->selected_count && !apply->dry_run; i++) {
        if (versions->applied[i].outcome != VERSIONS_UNCHANGED || applying->moved) {
            items[change.item_count++] = (struct saga_apply_item){
                .version = versions->made[i], .descriptor_set = apply->descriptor_set};
        }
    }
    for (size_t i = 0; i < apply->participant_count && applying->moved && !apply->dry_run; i++) {
        const struct transport_addresses *set = &apply->participants[i];
        places[change.participant_count++] =
            (struct saga_apply_addresses){set->service, set->addresses, set->count};
    }
    saga_runtime_apply(versions->runtime, &change);
}

enum { MOVE_TEXT_SIZE = SAGA_ADDRESSES_MAX * (SAGA_ADDRESS_SIZE_MAX + 1) + 1 };

static void append_address(char text[MOVE_TEXT_SIZE], const char *address)
{
    size_t used = strlen(text);
    (void)snprintf(text + used, MOVE_TEXT_SIZE - used, "%s%s", used == 0 ? "" : ",", address);
}

static void log_moves(const struct applying *applying)
{
    const struct versions_report *report = applying->report;
    for (size_t i = 0; i < report->moved_count; i++) {
        const struct versions_moved *moved = &report->moved[i];
        char before[MOVE_TEXT_SIZE] = "";
        char after[MOVE_TEXT_SIZE] = "";
        for (size_t j = 0; j < moved->before_count; j++) {
            append_address(before, moved->before[j]);
        }
        for (size_t j = 0; j < moved->after->count; j++) {
            append_address(after, moved->after->addresses[j]);
        }
        saga_log(SAGA_LOG_INFO, "participant_moved", "service=%s old=\"%s\" new=\"%s\" who=\"%s\"",
                 moved->after->service, before, after, applying->apply->who);
    }
}

static bool change_all(struct applying *applying)
{
    struct versions *versions = applying->versions;
    const struct versions_apply *apply = applying->apply;
    struct saga_apply_item *items =
        calloc(versions->selected_count, sizeof(struct saga_apply_item));
    struct saga_apply_addresses *places =
        calloc(apply->participant_count + 1, sizeof(struct saga_apply_addresses));
    bool good =
        items != NULL && places != NULL ? dial_addresses(applying) : refuse_memory(applying);
    if (good && !apply->dry_run) {
        good = number_all(applying);
    }
    if (good) {
        report_moves(applying);
    }
    if (good && !apply->dry_run) {
        log_moves(applying);
        transport_set_addresses(versions->transport, apply->participants, apply->participant_count,
                                &applying->dialed);
    }
    transport_hang_up(&applying->dialed);
    if (good) {
        make_report(applying);
        hand_over(applying, items, places);
    }
    free(items);
    free(places);
    return good;
}

bool versions_apply(struct versions *versions, const struct versions_apply *apply,
                    struct versions_report *report, struct saga_status *status,
                    struct saga_err_detail *detail)
{
    struct applying applying = {
        .versions = versions,
        .apply = apply,
        .report = report,
        .status = status,
        .detail = detail,
    };
    *report = (struct versions_report){.applied_count = 0};
    return load_set(&applying) && select_all(&applying) && compile_all(&applying) &&
           check_room(&applying) && check_addresses(&applying) && change_all(&applying);
}
