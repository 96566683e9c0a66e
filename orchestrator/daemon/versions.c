#include "orchestrator/daemon/versions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/sys/log.h"
#include "orchestrator/daemon/versions_internal.h"

enum {
    PEEKS_MAX = 16,
    /* Stored versions let go of in one turn: their sets may be large. */
    DROPS_MAX = 4,
};

/* ---- Numbers, topics, addresses ---- */

bool versions_has_topic(const struct versions *versions, const char *topic)
{
    for (size_t i = 0; i < versions->topic_count; i++) {
        if (strcmp(versions->topics[i], topic) == 0) {
            return true;
        }
    }
    return false;
}

static enum saga_err number_service(struct versions *versions, const struct saga_service *service,
                                    uint16_t *number, struct saga_err_detail *detail)
{
    const char *topic = service->reply_topic;
    enum saga_err err = transport_number(versions->transport, service->name, number);
    if (err == SAGA_ERR_LIMIT) {
        return saga_err_set(detail, err,
                            "more than %d services (SAGA_PARTICIPANTS_MAX) called or given by "
                            "--participant, with %s",
                            SAGA_PARTICIPANTS_MAX, service->name);
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "%s: out of memory", service->name);
    }
    if (topic[0] == '\0' || versions_has_topic(versions, topic)) {
        return SAGA_ERR_OK;
    }
    if (versions->topic_count == SAGA_REPLY_TOPICS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "more than %d reply topics (SAGA_REPLY_TOPICS_MAX), with %s",
                            SAGA_REPLY_TOPICS_MAX, topic);
    }
    (void)snprintf(versions->topics[versions->topic_count++], sizeof versions->topics[0], "%s",
                   topic);
    return SAGA_ERR_OK;
}

enum saga_err versions_number(struct versions *versions, struct saga_version *version,
                              struct saga_err_detail *detail)
{
    const struct saga_decl *decl = version->decl;
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < decl->step_count && err == SAGA_ERR_OK; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        if (step->call != NULL) {
            err = number_service(versions, step->call_service, &version->call_participants[i],
                                 detail);
        }
        if (err == SAGA_ERR_OK && step->undo != NULL) {
            err = number_service(versions, step->undo_service, &version->undo_participants[i],
                                 detail);
        }
    }
    return err;
}

size_t versions_addresses(const struct versions *versions, const char *service,
                          const char *addresses[SAGA_ADDRESSES_MAX])
{
    return versions == NULL ? 0 : transport_addresses_of(versions->transport, service, addresses);
}

size_t versions_reply_topics(const struct versions *versions,
                             const char *topics[SAGA_REPLY_TOPICS_MAX])
{
    for (size_t i = 0; i < versions->topic_count; i++) {
        topics[i] = versions->topics[i];
    }
    return versions->topic_count;
}

/* Addresses as the store has them, of services that have none. */
struct adopting {
    const struct transport *transport;
    size_t count;
    struct adopted {
        char service[SAGA_METHOD_NAME_MAX + 1];
        char addresses[SAGA_ADDRESSES_MAX][SAGA_ADDRESS_SIZE_MAX + 1];
        size_t count;
    } services[SAGA_PARTICIPANTS_MAX];
    struct transport_addresses sets[SAGA_PARTICIPANTS_MAX];
};

static bool visit_address(void *user, const struct saga_participant_row *row)
{
    struct adopting *adopting = user;
    struct adopted *last = adopting->count == 0 ? NULL : &adopting->services[adopting->count - 1];
    if (last == NULL || strcmp(last->service, row->service) != 0) {
        if (transport_place(adopting->transport, row->service) != TRANSPORT_NOWHERE) {
            return true;
        }
        SAGA_ASSERT(adopting->count < SAGA_PARTICIPANTS_MAX); /* each has a number */
        last = &adopting->services[adopting->count++];
        (void)snprintf(last->service, sizeof last->service, "%s", row->service);
    }
    if (last->count < SAGA_ADDRESSES_MAX) {
        (void)snprintf(last->addresses[last->count++], sizeof last->addresses[0], "%s",
                       row->address);
    }
    return true;
}

static void warn_nowhere(struct transport *transport)
{
    struct transport_look look;
    for (size_t i = 0; transport_participant(transport, i, &look); i++) {
        if (look.there && look.address[0] == '\0') {
            saga_log(SAGA_LOG_WARN, "participant_without_address", "service=%s", look.service);
        }
    }
}

static enum saga_err adopt_addresses(struct versions *versions, struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &versions->store;
    struct adopting *adopting = calloc(1, sizeof *adopting);
    if (adopting == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "addresses");
    }
    adopting->transport = versions->transport;
    enum saga_err err =
        store->ops->list_participants(store->store, visit_address, adopting, detail);
    for (size_t i = 0; i < adopting->count; i++) {
        const struct adopted *adopted = &adopting->services[i];
        struct transport_addresses *set = &adopting->sets[i];
        set->service = adopted->service;
        for (size_t j = 0; j < adopted->count; j++) {
            set->addresses[set->count++] = adopted->addresses[j];
        }
    }
    struct transport_dialed dialed;
    if (err == SAGA_ERR_OK) {
        err = transport_dial(versions->transport, adopting->sets, adopting->count, &dialed, detail);
    }
    if (err == SAGA_ERR_OK) {
        transport_set_addresses(versions->transport, adopting->sets, adopting->count, &dialed);
        warn_nowhere(versions->transport);
    }
    free(adopting);
    return err;
}

/* ---- Loading ---- */

static void log_findings(const struct saga_schema *schema)
{
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        saga_log(SAGA_LOG_ERROR, "definition_refused",
                 "code=%s at=%s:%d:%d where=\"%s\" msg=\"%s\"", finding->code, finding->file,
                 finding->line, finding->column, finding->where, finding->message);
    }
}

static enum saga_err load_own(struct versions *versions, struct saga_err_detail *detail)
{
    enum saga_err err =
        saga_catalog_load(versions->catalog, versions->own_set, &versions->own, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "descriptor set");
    }
    size_t findings = saga_schema_finding_count(versions->own);
    size_t count = saga_schema_decl_count(versions->own);
    log_findings(versions->own);
    if (findings > 0 || count == 0) {
        /* To serve without it would refuse every start of that saga for good. */
        return saga_err_set(
            detail, SAGA_ERR_INVALID,
            "descriptor set: %zu findings (see the log and docs/lint.md), %zu sagas", findings,
            count);
    }
    return SAGA_ERR_OK;
}

/* What the store knows of one definition of the daemon's own. */
struct seeing {
    const struct saga_decl *decl;
    bool seen;     /* its hash */
    bool current;  /* it is the current version */
    bool replaced; /* another is */
};

static bool visit_seen(void *user, const struct saga_definition_row *row)
{
    struct seeing *seeing = user;
    bool same = memcmp(seeing->decl->hash, row->hash, SAGA_DIGEST_SIZE) == 0;
    seeing->seen = seeing->seen || same;
    seeing->current = seeing->current || (same && row->current);
    seeing->replaced = seeing->replaced || (!same && row->current);
    return true;
}

/* Puts a definition of the daemon's own if it is to be current: what was applied or removed while
 * the daemon ran holds over a restart. */
static enum saga_err put_own(struct versions *versions, const struct saga_decl *decl, bool tell,
                             struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &versions->store;
    struct seeing seeing = {.decl = decl};
    enum saga_err err =
        store->ops->list_versions(store->store, decl->name, SIZE_MAX, visit_seen, &seeing, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    bool removed = saga_runtime_removed(versions->runtime, decl->name);
    bool replaced = seeing.seen && seeing.replaced;
    if (removed && tell) {
        saga_log(SAGA_LOG_WARN, "definition_stays_removed",
                 "definition=%s next=\"sagactl apply brings it back\"", decl->name);
    } else if (replaced && tell) {
        saga_log(SAGA_LOG_WARN, "definition_not_current",
                 "definition=%s msg=\"the version of the daemon's own descriptor set was replaced "
                 "by another\" next=\"sagactl apply makes it current again\"",
                 decl->name);
    }
    return removed || replaced
               ? SAGA_ERR_OK
               : store->ops->put_definition(store->store, decl->hash, decl->name, versions->own_set,
                                            versions->own_unix_ms, detail);
}

static enum saga_err put_all_own(struct versions *versions, bool tell,
                                 struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < saga_schema_decl_count(versions->own) && err == SAGA_ERR_OK; i++) {
        err = put_own(versions, saga_schema_decl_at(versions->own, i), tell, detail);
    }
    return err;
}

/* Hashes of versions that are needed. */
struct wanted {
    struct {
        uint8_t hash[SAGA_DIGEST_SIZE];
        bool current;
    } versions[2 * SAGA_DEFINITIONS_MAX];
    size_t count;
    bool full;
};

static bool want(struct wanted *wanted, const uint8_t hash[SAGA_DIGEST_SIZE], bool current)
{
    wanted->full = wanted->count == sizeof wanted->versions / sizeof wanted->versions[0];
    if (wanted->full) {
        return false;
    }
    memcpy(wanted->versions[wanted->count].hash, hash, SAGA_DIGEST_SIZE);
    wanted->versions[wanted->count++].current = current;
    return true;
}

static bool want_current(void *user, const struct saga_definition_row *row)
{
    return !row->current || want(user, row->hash, true);
}

static bool want_live(void *user, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    return want(user, hash, false);
}

/* A stored version that is being read. */
struct reading {
    struct saga_catalog *catalog;
    struct saga_version *version;
    enum saga_err err;
    struct saga_err_detail detail;
};

static bool read_stored(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                        struct saga_bytes descriptor_set, bool current)
{
    (void)current;
    struct reading *reading = user;
    struct saga_stored_definition stored = {hash, name, descriptor_set};
    reading->err =
        saga_catalog_add_stored(reading->catalog, &stored, &reading->version, &reading->detail);
    if (reading->err == SAGA_ERR_CONFLICT) {
        /* Only sagas in flight on it need it; recovery will name them. */
        saga_log(SAGA_LOG_WARN, "definition_unreadable", "definition=%s msg=\"%s\"", name,
                 reading->detail.text);
        reading->err = SAGA_ERR_OK;
    }
    return true;
}

static enum saga_err add_known(struct versions *versions, struct saga_version *version,
                               bool current, struct saga_err_detail *detail)
{
    enum saga_err err = versions_number(versions, version, detail);
    if (err == SAGA_ERR_OK &&
        saga_runtime_add_version(versions->runtime, version, current) != SAGA_ERR_OK) {
        err = saga_err_set(
            detail, SAGA_ERR_LIMIT,
            "more than %d versions (SAGA_DEFINITIONS_MAX) current or with sagas in flight, with %s",
            SAGA_DEFINITIONS_MAX, version->name);
    }
    return err;
}

static enum saga_err add_wanted(struct versions *versions, const uint8_t *hash, bool current,
                                struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &versions->store;
    struct reading reading = {.catalog = versions->catalog};
    enum saga_err err =
        store->ops->find_definition(store->store, hash, read_stored, &reading, detail);
    if (err == SAGA_ERR_NOT_FOUND) {
        return SAGA_ERR_OK; /* recovery will say which saga it is of */
    }
    if (err == SAGA_ERR_OK && reading.err != SAGA_ERR_OK) {
        *detail = reading.detail;
        err = reading.err;
    }
    return err == SAGA_ERR_OK && reading.version != NULL
               ? add_known(versions, reading.version, current, detail)
               : err;
}

/* Adds the sagas that run in those that are there: their declarations lie in the same sets. */
static enum saga_err add_children(struct versions *versions, struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < saga_catalog_count(versions->catalog) && err == SAGA_ERR_OK; i++) {
        const struct saga_decl *decl = saga_catalog_at(versions->catalog, i)->decl;
        for (size_t j = 0; j < decl->step_count && err == SAGA_ERR_OK; j++) {
            struct saga_version *child = NULL;
            if (decl->steps[j].child == NULL) {
                continue;
            }
            err = saga_catalog_add(versions->catalog, decl->steps[j].child, &child, detail);
            if (err == SAGA_ERR_OK) {
                err = add_known(versions, child, false, detail);
            }
        }
    }
    return err;
}

static enum saga_err load_stored(struct versions *versions, struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &versions->store;
    struct wanted *wanted = calloc(1, sizeof *wanted);
    if (wanted == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "definitions");
    }
    enum saga_err err =
        store->ops->list_versions(store->store, NULL, SIZE_MAX, want_current, wanted, detail);
    if (err == SAGA_ERR_OK) {
        err = store->ops->list_live_versions(store->store, want_live, wanted, detail);
    }
    if (err == SAGA_ERR_OK && wanted->full) {
        err = saga_err_set(
            detail, SAGA_ERR_LIMIT,
            "more than %d versions (SAGA_DEFINITIONS_MAX) current or with sagas in flight",
            SAGA_DEFINITIONS_MAX);
    }
    for (size_t i = 0; i < wanted->count && err == SAGA_ERR_OK; i++) {
        err = add_wanted(versions, wanted->versions[i].hash, wanted->versions[i].current, detail);
    }
    free(wanted);
    if (err == SAGA_ERR_OK) {
        err = add_children(versions, detail);
    }
    return err == SAGA_ERR_OK ? adopt_addresses(versions, detail) : err;
}

/* Stores the sagas that run in those that are loaded, for sagas will begin with them. A child was
 * not put with its parent when its name was removed or has another current version; then it may
 * have been let go before. What is not stored stands in the catalog behind its parent. */
static enum saga_err keep_children(struct versions *versions, struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &versions->store;
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < saga_catalog_count(versions->catalog) && err == SAGA_ERR_OK; i++) {
        const struct saga_version *parent = saga_catalog_at(versions->catalog, i);
        const struct saga_decl *decl = parent->decl;
        for (size_t j = 0; j < decl->step_count && err == SAGA_ERR_OK; j++) {
            const struct saga_decl *child = decl->steps[j].child;
            if (child != NULL) {
                err = store->ops->keep_child(store->store, child->hash, child->name, parent->hash,
                                             versions->own_unix_ms, detail);
            }
        }
    }
    return err;
}

/* In a transaction that is rolled back: what is seen is what will be. Whatever fails later in the
 * start, a set that the daemon does not come to serve must not be stored: the next start, with the
 * set before, would find that replaced. */
static enum saga_err try_own(struct versions *versions, struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &versions->store;
    enum saga_err err = store->ops->begin(store->store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = put_all_own(versions, true, detail);
    if (err == SAGA_ERR_OK) {
        err = load_stored(versions, detail);
    }
    store->ops->rollback(store->store);
    if (err == SAGA_ERR_LIMIT) {
        struct saga_err_detail which = *detail;
        err = saga_err_set(detail, err,
                           "%.150s; nothing is changed: start as before, then remove what is not "
                           "needed (sagactl remove)",
                           which.text);
    }
    return err;
}

enum saga_err versions_new(struct saga_bytes descriptor_set, struct versions **versions,
                           struct saga_err_detail *detail)
{
    struct versions *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "definitions");
    }
    made->own_set = descriptor_set;
    made->dirty = true; /* of its own set perhaps nothing is needed */
    made->addresses_dirty = true;
    made->drops_dirty = true;
    enum saga_err err = saga_catalog_new(&made->catalog);
    if (err == SAGA_ERR_OK) {
        err = saga_catalog_new(&made->peeks);
    }
    if (err == SAGA_ERR_OK) {
        err = load_own(made, detail);
    }
    if (err != SAGA_ERR_OK) {
        versions_free(made);
        return saga_err_wrap(detail, err, "definitions");
    }
    *versions = made;
    return SAGA_ERR_OK;
}

enum saga_err versions_load(struct versions *versions, const struct versions_config *config,
                            struct saga_err_detail *detail)
{
    versions->store = config->store;
    versions->transport = config->transport;
    versions->runtime = config->runtime;
    versions->own_unix_ms = config->now_unix_ms;
    enum saga_err err = try_own(versions, detail);
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "definitions");
}

enum saga_err versions_keep(struct versions *versions, struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &versions->store;
    SAGA_ASSERT(versions->own != NULL);
    enum saga_err err = store->ops->begin(store->store, detail);
    if (err == SAGA_ERR_OK) {
        err = put_all_own(versions, false, detail);
        if (err == SAGA_ERR_OK) {
            err = keep_children(versions, detail);
        }
        if (err == SAGA_ERR_OK) {
            err = store->ops->commit(store->store, detail);
        } else {
            store->ops->rollback(store->store);
        }
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "definitions");
    }
    versions->own = NULL; /* it may be let go from now on */
    versions->own_set = (struct saga_bytes){0};
    return SAGA_ERR_OK;
}

/* ---- Letting go ---- */

static bool is_known(void *user, const struct saga_version *version)
{
    const struct versions *versions = user;
    return saga_runtime_version(versions->runtime, version->hash) == version;
}

static bool is_called(void *user, uint16_t number)
{
    const struct versions *versions = user;
    for (size_t i = 0; i < saga_catalog_count(versions->catalog); i++) {
        const struct saga_version *version = saga_catalog_at(versions->catalog, i);
        for (uint32_t j = 0; j < version->def.step_count; j++) {
            if (version->call_participants[j] == number ||
                version->undo_participants[j] == number) {
                return true;
            }
        }
    }
    return false;
}

bool versions_decl_calls(const struct saga_decl *decl, const char *service)
{
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        if ((step->call_service != NULL && strcmp(step->call_service->name, service) == 0) ||
            (step->undo_service != NULL && strcmp(step->undo_service->name, service) == 0)) {
            return true;
        }
    }
    return false;
}

bool versions_is_called(const struct versions *versions, const char *service)
{
    for (size_t i = 0; i < saga_runtime_version_count(versions->runtime); i++) {
        bool current = false;
        uint64_t live = 0;
        const struct saga_version *version =
            saga_runtime_version_at(versions->runtime, i, &current, &live);
        if (version != NULL && versions_decl_calls(version->decl, service)) {
            return true;
        }
    }
    return false;
}

/* Services whose addresses nothing needs. */
struct forgetting {
    const struct versions *versions;
    size_t count;
    bool full;
    char services[SAGA_PARTICIPANTS_MAX][SAGA_METHOD_NAME_MAX + 1];
};

static bool visit_forgotten(void *user, const struct saga_participant_row *row)
{
    struct forgetting *forgetting = user;
    size_t count = forgetting->count;
    if ((count > 0 && strcmp(forgetting->services[count - 1], row->service) == 0) ||
        versions_is_called(forgetting->versions, row->service)) {
        return true;
    }
    forgetting->full = count == SAGA_PARTICIPANTS_MAX;
    if (!forgetting->full) {
        (void)snprintf(forgetting->services[forgetting->count++], sizeof forgetting->services[0],
                       "%s", row->service);
    }
    return !forgetting->full;
}

static void forget_addresses(struct versions *versions)
{
    const struct saga_store_port *store = &versions->store;
    struct saga_err_detail detail = {{0}};
    struct forgetting *forgetting = calloc(1, sizeof *forgetting);
    if (forgetting == NULL) {
        return; /* another turn has memory */
    }
    forgetting->versions = versions;
    enum saga_err err =
        store->ops->list_participants(store->store, visit_forgotten, forgetting, &detail);
    if (err != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_WARN, "addresses_kept", "error=%s msg=\"%s\"", saga_err_name(err),
                 detail.text);
    }
    for (size_t i = 0; i < forgetting->count && err == SAGA_ERR_OK; i++) {
        saga_runtime_forget_addresses(versions->runtime, forgetting->services[i]);
    }
    versions->addresses_dirty = forgetting->full && err == SAGA_ERR_OK;
    free(forgetting);
}

/* Stored versions that nothing needs. */
struct dropping {
    const struct versions *versions;
    size_t count;
    bool full;
    uint8_t hashes[DROPS_MAX][SAGA_DIGEST_SIZE];
};

static bool visit_unused(void *user, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    struct dropping *dropping = user;
    if (saga_runtime_version(dropping->versions->runtime, hash) != NULL) {
        return true; /* a child of one that is kept */
    }
    dropping->full = dropping->count == DROPS_MAX;
    if (!dropping->full) {
        memcpy(dropping->hashes[dropping->count++], hash, SAGA_DIGEST_SIZE);
    }
    return !dropping->full;
}

static void drop_unused(struct versions *versions)
{
    const struct saga_store_port *store = &versions->store;
    struct saga_err_detail detail = {{0}};
    struct dropping dropping = {.versions = versions};
    enum saga_err err =
        store->ops->list_unused_versions(store->store, SIZE_MAX, visit_unused, &dropping, &detail);
    if (err != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_WARN, "versions_kept", "error=%s msg=\"%s\"", saga_err_name(err),
                 detail.text);
    }
    for (size_t i = 0; i < dropping.count && err == SAGA_ERR_OK; i++) {
        saga_runtime_drop_version(versions->runtime, dropping.hashes[i]);
    }
    versions->drops_dirty = dropping.full && err == SAGA_ERR_OK;
}

void versions_turn(struct versions *versions)
{
    /* A start that fails before it has kept its own definitions forgets nothing either. */
    if (versions == NULL || versions->own != NULL || saga_runtime_failed(versions->runtime)) {
        return;
    }
    if (versions->addresses_dirty) {
        forget_addresses(versions);
    }
    if (versions->drops_dirty) {
        drop_unused(versions);
    }
}

void versions_settle(struct versions *versions)
{
    if (versions == NULL || versions->own != NULL) {
        return;
    }
    bool forgotten = saga_runtime_forget_idle(versions->runtime);
    if (forgotten || versions->dirty) {
        versions->dirty = false;
        versions->addresses_dirty = true;
        versions->drops_dirty = true;
        saga_catalog_sweep(versions->catalog, is_known, versions);
        transport_sweep(versions->transport, is_called, versions);
    }
}

/* ---- Showing ---- */

static bool is_peek(void *user, const struct saga_version *version)
{
    return version == user;
}

const struct saga_version *versions_peek(struct versions *versions,
                                         const uint8_t hash[SAGA_DIGEST_SIZE])
{
    const struct saga_store_port *store = &versions->store;
    const struct saga_version *found = saga_catalog_find(versions->catalog, hash);
    if (found == NULL) {
        found = saga_catalog_find(versions->peeks, hash);
    }
    if (found != NULL) {
        return found;
    }
    struct reading reading = {.catalog = versions->peeks};
    struct saga_err_detail detail;
    if (store->ops->find_definition(store->store, hash, read_stored, &reading, &detail) !=
            SAGA_ERR_OK ||
        reading.err != SAGA_ERR_OK) {
        return NULL;
    }
    if (saga_catalog_count(versions->peeks) > PEEKS_MAX) {
        saga_catalog_sweep(versions->peeks, is_peek, reading.version);
    }
    return reading.version;
}

void versions_free(struct versions *versions)
{
    if (versions == NULL) {
        return;
    }
    saga_catalog_free(versions->catalog);
    saga_catalog_free(versions->peeks);
    free(versions->applied);
    free(versions->selected);
    free(versions->made);
    free(versions);
}
