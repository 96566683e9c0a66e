#include "orchestrator/daemon/versions.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/sys/log.h"
#include "orchestrator/codec/codec.h"

struct versions {
    struct saga_schema *schemas[SAGA_DEFINITIONS_MAX + 1]; /* the first is the daemon's own */
    size_t schema_count;
    struct saga_version *versions[SAGA_DEFINITIONS_MAX];
    size_t count;
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

static enum saga_err add_decl(struct versions *versions, const struct saga_decl *decl, bool current,
                              struct saga_err_detail *detail)
{
    if (versions->count == SAGA_DEFINITIONS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "more than %d definition versions",
                            SAGA_DEFINITIONS_MAX);
    }
    struct saga_version *version = calloc(1, sizeof *version);
    if (version == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a definition");
    }
    versions->versions[versions->count++] = version;
    enum saga_err err = saga_version_compile(decl, version, detail);
    if (err == SAGA_ERR_OK) {
        err = number_steps(versions, decl, version, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_runtime_add_version(versions->runtime, version, current);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, decl->name);
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
    enum saga_err err = saga_schema_load(config->descriptor_set, &versions->schemas[0], detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "descriptor set");
    }
    versions->schema_count = 1;
    log_findings(versions->schemas[0]);
    if (saga_schema_finding_count(versions->schemas[0]) > 0 ||
        saga_schema_decl_count(versions->schemas[0]) == 0) {
        /* To serve without it would refuse every start of that saga for good. */
        return saga_err_set(
            detail, SAGA_ERR_INVALID,
            "descriptor set: %zu findings (see the log and docs/lint.md), %zu sagas",
            saga_schema_finding_count(versions->schemas[0]),
            saga_schema_decl_count(versions->schemas[0]));
    }
    err = store->ops->begin(store->store, detail);
    for (size_t i = 0; i < saga_schema_decl_count(versions->schemas[0]) && err == SAGA_ERR_OK;
         i++) {
        const struct saga_decl *decl = saga_schema_decl_at(versions->schemas[0], i);
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
    if (versions->schema_count == SAGA_DEFINITIONS_MAX + 1) {
        visiting->err = saga_err_set(visiting->detail, SAGA_ERR_LIMIT, "more than %d schemas",
                                     SAGA_DEFINITIONS_MAX);
        return false;
    }
    struct saga_schema *schema = NULL;
    visiting->err = saga_schema_load(descriptor_set, &schema, visiting->detail);
    if (visiting->err != SAGA_ERR_OK) {
        return false;
    }
    versions->schemas[versions->schema_count++] = schema;
    const struct saga_decl *decl = saga_schema_decl(schema, name);
    if (decl == NULL || memcmp(decl->hash, hash, SAGA_DIGEST_SIZE) != 0) {
        /* Only sagas in flight on it need it; recovery will name them. */
        saga_log(SAGA_LOG_WARN, "definition_unreadable", "definition=%s", name);
        return true;
    }
    visiting->err =
        add_decl(versions, decl, current && saga_runtime_current(versions->runtime, name) == NULL,
                 visiting->detail);
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
    enum saga_err err = add_own(made, config, detail);
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
    return versions->schemas[0];
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
    for (size_t i = 0; i < versions->count; i++) {
        const struct saga_decl *decl = versions->versions[i]->decl;
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
    for (size_t i = 0; i < versions->count; i++) {
        free(versions->versions[i]);
    }
    for (size_t i = 0; i < versions->schema_count; i++) {
        saga_schema_free(versions->schemas[i]);
    }
    free(versions);
}
