#include "orchestrator/daemon/versions.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/sys/log.h"
#include "orchestrator/codec/catalog.h"

struct versions {
    struct saga_catalog *catalog;
    const struct saga_schema *own; /* the daemon's own; the catalog's */
    struct transport *transport;
    struct saga_runtime *runtime;
};

/* Numbers the participants of a definition. */
static enum saga_err number_steps(struct versions *versions, const struct saga_decl *decl,
                                  struct saga_version *version, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        enum saga_err err = SAGA_ERR_OK;
        if (step->call != NULL) {
            err = transport_number(versions->transport, step->call_service->name,
                                   &version->call_participants[i]);
        }
        if (err == SAGA_ERR_OK && step->undo != NULL) {
            err = transport_number(versions->transport, step->undo_service->name,
                                   &version->undo_participants[i]);
        }
        if (err != SAGA_ERR_OK) {
            return saga_err_set(detail, err, "%s: more than %d services", decl->name,
                                SAGA_PARTICIPANTS_MAX);
        }
    }
    return SAGA_ERR_OK;
}

/* Makes a version of the catalog known to the runtime. */
static enum saga_err add_version(struct versions *versions, struct saga_version *version,
                                 bool current, struct saga_err_detail *detail)
{
    enum saga_err err = number_steps(versions, version->decl, version, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_runtime_add_version(versions->runtime, version, current);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, version->name);
}

static enum saga_err add_decl(struct versions *versions, const struct saga_decl *decl, bool current,
                              struct saga_err_detail *detail)
{
    struct saga_version *version = NULL;
    enum saga_err err = saga_catalog_add(versions->catalog, decl, &version, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, decl->name);
    }
    return add_version(versions, version, current, detail);
}

static void log_findings(const struct saga_schema *schema)
{
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        saga_log(SAGA_LOG_ERROR, "definition_refused",
                 "code=%s at=%s:%d:%d where=\"%s\" msg=\"%s\"", finding->code, finding->file,
                 finding->line, finding->column, finding->where, finding->message);
    }
}

/* Adds the definitions of the daemon's own schema, as the current ones. */
static enum saga_err add_own(struct versions *versions, const struct versions_config *config,
                             struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &config->store;
    enum saga_err err =
        saga_catalog_load(versions->catalog, config->descriptor_set, &versions->own, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "descriptor set");
    }
    const struct saga_schema *own = versions->own;
    log_findings(own);
    if (saga_schema_finding_count(own) > 0 || saga_schema_decl_count(own) == 0) {
        /* To serve without it would refuse every start of that saga for good. */
        return saga_err_set(
            detail, SAGA_ERR_INVALID,
            "descriptor set: %zu findings (see the log and docs/lint.md), %zu sagas",
            saga_schema_finding_count(own), saga_schema_decl_count(own));
    }
    err = store->ops->begin(store->store, detail);
    for (size_t i = 0; i < saga_schema_decl_count(own) && err == SAGA_ERR_OK; i++) {
        const struct saga_decl *decl = saga_schema_decl_at(own, i);
        err = add_decl(versions, decl, true, detail);
        if (err == SAGA_ERR_OK) {
            err = store->ops->put_definition(store->store, decl->hash, decl->name,
                                             config->descriptor_set, config->now_unix_ms, detail);
        }
    }
    if (err == SAGA_ERR_OK) {
        err = store->ops->commit(store->store, detail);
    } else {
        store->ops->rollback(store->store);
    }
    return err;
}

/* A stored version that is being visited. */
struct visiting {
    struct versions *versions;
    enum saga_err err;
    struct saga_err_detail *detail;
};

static bool visit_stored(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                         struct saga_bytes descriptor_set, bool current)
{
    struct visiting *visiting = user;
    struct versions *versions = visiting->versions;
    if (saga_runtime_version(versions->runtime, hash) != NULL) {
        return true;
    }
    struct saga_stored_definition stored = {hash, name, descriptor_set};
    struct saga_version *version = NULL;
    visiting->err = saga_catalog_add_stored(versions->catalog, &stored, &version, visiting->detail);
    if (visiting->err == SAGA_ERR_CONFLICT) {
        /* Only sagas in flight on it need it; recovery will name them. */
        saga_log(SAGA_LOG_WARN, "definition_unreadable", "definition=%s", name);
        visiting->err = SAGA_ERR_OK;
        return true;
    }
    if (visiting->err == SAGA_ERR_OK) {
        bool newest = current && saga_runtime_current(versions->runtime, name) == NULL;
        visiting->err = add_version(versions, version, newest, visiting->detail);
    }
    return visiting->err == SAGA_ERR_OK;
}

enum saga_err versions_load(const struct versions_config *config, struct versions **versions,
                            struct saga_err_detail *detail)
{
    struct versions *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "definitions");
    }
    made->transport = config->transport;
    made->runtime = config->runtime;
    enum saga_err err = saga_catalog_new(&made->catalog);
    if (err == SAGA_ERR_OK) {
        err = add_own(made, config, detail);
    }
    if (err == SAGA_ERR_OK) {
        struct visiting visiting = {.versions = made, .detail = detail};
        err = config->store.ops->list_definitions(config->store.store, visit_stored, &visiting,
                                                  detail);
        err = err == SAGA_ERR_OK ? visiting.err : err;
    }
    if (err != SAGA_ERR_OK) {
        versions_free(made);
        return saga_err_wrap(detail, err, "definitions");
    }
    *versions = made;
    return SAGA_ERR_OK;
}

const struct saga_schema *versions_schema(const struct versions *versions)
{
    return versions->own;
}

static size_t add_topic(const char **topics, size_t count, size_t count_max,
                        const struct saga_service *service)
{
    if (service == NULL || service->reply_topic[0] == '\0' || count == count_max) {
        return count;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(topics[i], service->reply_topic) == 0) {
            return count;
        }
    }
    topics[count] = service->reply_topic;
    return count + 1;
}

size_t versions_reply_topics(const struct versions *versions, const char **topics, size_t count_max)
{
    size_t count = 0;
    for (size_t i = 0; i < saga_catalog_count(versions->catalog); i++) {
        const struct saga_decl *decl = saga_catalog_at(versions->catalog, i)->decl;
        for (size_t j = 0; j < decl->step_count; j++) {
            count = add_topic(topics, count, count_max, decl->steps[j].call_service);
            count = add_topic(topics, count, count_max, decl->steps[j].undo_service);
        }
    }
    return count;
}

void versions_free(struct versions *versions)
{
    if (versions == NULL) {
        return;
    }
    saga_catalog_free(versions->catalog);
    free(versions);
}
