/* Making a runtime, its definition versions, its small accessors. */
#include "orchestrator/runtime/runtime.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/runtime/internal.h"

/* S8: whoever had the lease before can commit nothing from now on. */
static enum saga_err take_lease(struct saga_runtime *runtime, struct saga_err_detail *detail)
{
    const struct saga_store_ops *ops = runtime->store_ops;
    enum saga_err err = ops->begin(runtime->store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = ops->take_lease(runtime->store, runtime->config.owner, &runtime->epoch, detail);
    if (err == SAGA_ERR_OK) {
        return ops->commit(runtime->store, detail);
    }
    ops->rollback(runtime->store);
    return err;
}

enum saga_err saga_runtime_new(const struct saga_runtime_config *config,
                               struct saga_runtime **runtime, struct saga_err_detail *detail)
{
    struct saga_runtime *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "runtime");
    }
    made->config = *config;
    if (made->config.live_count_max == 0) {
        made->config.live_count_max = SAGA_LIVE_COUNT_MAX;
    }
    if (made->config.recover_page_max == 0 || made->config.recover_page_max > SAGA_TURN_COUNT_MAX) {
        made->config.recover_page_max = SAGA_TURN_COUNT_MAX;
    }
    made->store_ops = config->store.ops;
    made->store = config->store.store;
    made->prng = config->seed;
    made->cursors[0].name = "audit";
    made->cursors[1].name = "outbox";
    enum saga_err err = take_lease(made, detail);
    if (err != SAGA_ERR_OK) {
        free(made);
        return saga_err_wrap(detail, err, "take lease");
    }
    err = load_pauses(made, detail);
    if (err != SAGA_ERR_OK) {
        saga_runtime_free(made);
        return saga_err_wrap(detail, err, "load pauses");
    }
    *runtime = made;
    return SAGA_ERR_OK;
}

void saga_runtime_free(struct saga_runtime *runtime)
{
    if (runtime == NULL) {
        return;
    }
    live_table_fini(&runtime->table);
    free(runtime->answers);
    free(runtime->sends);
    free(runtime->errands);
    free(runtime->pauses);
    struct saga_buf *bufs[] = {&runtime->elements,    &runtime->merged,     &runtime->audit,
                               &runtime->record,      &runtime->value,      &runtime->look_context,
                               &runtime->look_record, &runtime->look_space, &runtime->child_input};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
        saga_buf_fini(bufs[i]);
    }
    free(runtime);
}

static bool has_hash(const struct known_version *known, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    return known->version != NULL && memcmp(known->version->hash, hash, SAGA_DIGEST_SIZE) == 0;
}

bool has_name(const struct known_version *known, const char *name)
{
    return known->version != NULL && strcmp(known->version->name, name) == 0;
}

size_t version_index(const struct saga_runtime *runtime, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    size_t i = 0;
    while (i < runtime->version_count && !has_hash(&runtime->versions[i], hash)) {
        i++;
    }
    return i;
}

/* A place that a version has left, or the next; SAGA_DEFINITIONS_MAX: there is none. */
static size_t free_index(const struct saga_runtime *runtime)
{
    size_t i = 0;
    while (i < runtime->version_count && runtime->versions[i].version != NULL) {
        i++;
    }
    return i;
}

size_t saga_runtime_version_room(const struct saga_runtime *runtime)
{
    size_t count = SAGA_DEFINITIONS_MAX;
    for (size_t i = 0; i < runtime->version_count; i++) {
        count -= runtime->versions[i].version != NULL ? 1 : 0;
    }
    return count;
}

enum saga_err saga_runtime_add_version(struct saga_runtime *runtime,
                                       const struct saga_version *version, bool current)
{
    size_t at = version_index(runtime, version->hash);
    if (at == runtime->version_count) {
        at = free_index(runtime);
        if (at == SAGA_DEFINITIONS_MAX) {
            return SAGA_ERR_LIMIT;
        }
        runtime->versions[at] =
            (struct known_version){.version = version, .paused = is_paused(runtime, version->name)};
        runtime->version_count += at == runtime->version_count ? 1 : 0;
    }
    for (size_t i = 0; i < runtime->version_count && current; i++) {
        if (has_name(&runtime->versions[i], version->name)) {
            runtime->versions[i].current = i == at;
        }
    }
    return SAGA_ERR_OK;
}

const struct saga_version *saga_runtime_version(const struct saga_runtime *runtime,
                                                const uint8_t hash[SAGA_DIGEST_SIZE])
{
    size_t at = version_index(runtime, hash);
    return at == runtime->version_count ? NULL : runtime->versions[at].version;
}

const struct saga_version *saga_runtime_current(const struct saga_runtime *runtime,
                                                const char *name)
{
    for (size_t i = 0; i < runtime->version_count; i++) {
        if (runtime->versions[i].current && has_name(&runtime->versions[i], name)) {
            return runtime->versions[i].version;
        }
    }
    return NULL;
}

size_t saga_runtime_version_count(const struct saga_runtime *runtime)
{
    return runtime->version_count;
}

const struct saga_version *saga_runtime_version_at(const struct saga_runtime *runtime, size_t index,
                                                   bool *current, uint64_t *live)
{
    SAGA_ASSERT(index < runtime->version_count);
    *current = runtime->versions[index].current;
    *live = runtime->versions[index].live;
    return runtime->versions[index].version;
}

const char *text_or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

size_t saga_runtime_live_count(const struct saga_runtime *runtime)
{
    return runtime->table.count;
}

const struct saga_runtime_counts *saga_runtime_counts(const struct saga_runtime *runtime)
{
    return &runtime->counts;
}

uint64_t saga_runtime_epoch(const struct saga_runtime *runtime)
{
    return runtime->epoch;
}

bool saga_runtime_failed(const struct saga_runtime *runtime)
{
    return runtime->failed;
}

enum saga_err saga_runtime_failure(const struct saga_runtime *runtime)
{
    return runtime->failed ? runtime->failure_err : SAGA_ERR_OK;
}
