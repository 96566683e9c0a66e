/* Applying and removing definitions while sagas are in flight.
 *
 * What is applied is a version; what is removed is a name. As with a pause, each act is an event of
 * the definition's own stream and a row that says what holds, written in the turn's transaction
 * together with what it changes. Nothing of it is answered before the commit (S6), and a commit
 * that fails ends the runtime: what is in memory is never ahead of what is durable. */
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/runtime/internal.h"

bool is_removed(const struct saga_runtime *runtime, const char *definition_name)
{
    const struct pause *pause = find_pause(runtime, definition_name);
    return pause != NULL && pause->removed;
}

bool saga_runtime_removed(const struct saga_runtime *runtime, const char *definition)
{
    return is_removed(runtime, definition);
}

uint64_t saga_runtime_live_of(const struct saga_runtime *runtime, const char *definition)
{
    uint64_t live = 0;
    for (size_t i = 0; i < runtime->version_count; i++) {
        live += has_name(&runtime->versions[i], definition) ? runtime->versions[i].live : 0;
    }
    return live;
}

uint64_t saga_runtime_live_at(const struct saga_runtime *runtime,
                              const struct saga_version *version)
{
    size_t at = version_index(runtime, version->hash);
    return at == runtime->version_count ? 0 : runtime->versions[at].live;
}

const struct saga_version *any_version(const struct saga_runtime *runtime, const char *name)
{
    const struct saga_version *found = NULL;
    for (size_t i = 0; i < runtime->version_count; i++) {
        const struct known_version *known = &runtime->versions[i];
        if (has_name(known, name) && (found == NULL || known->current)) {
            found = known->version;
        }
    }
    return found;
}

static void answer_done(struct saga_runtime *runtime, void *ticket, bool existing)
{
    struct saga_answer answer = {
        .code = SAGA_CODE_OK, .reason = "", .message = "", .existing = existing};
    queue_answer(runtime, ticket, &answer);
}

/* ---- What nothing needs any more ---- */

/* Marks what is kept: what is current, what a saga in flight began with, and their children. */
static void mark_needed(const struct saga_runtime *runtime, bool needed[SAGA_DEFINITIONS_MAX])
{
    size_t list[SAGA_DEFINITIONS_MAX]; /* of those marked, whose children are yet to be */
    size_t count = 0;
    for (size_t i = 0; i < runtime->version_count; i++) {
        const struct known_version *known = &runtime->versions[i];
        needed[i] = known->version != NULL &&
                    (known->current || (known->live > 0 && !SAGA_BROKEN(S1_VERSION_UNLOADED)));
        if (needed[i]) {
            list[count++] = i;
        }
    }
    while (count > 0) {
        const struct saga_version *version = runtime->versions[list[--count]].version;
        for (uint32_t step = 0; step < version->def.step_count; step++) {
            const uint8_t *hash = version->child_hashes[step];
            size_t at = hash == NULL ? runtime->version_count : version_index(runtime, hash);
            if (at < runtime->version_count && !needed[at]) {
                needed[at] = true;
                list[count++] = at;
            }
        }
    }
}

bool saga_runtime_forget_idle(struct saga_runtime *runtime)
{
    bool needed[SAGA_DEFINITIONS_MAX] = {false};
    bool any = false;
    SAGA_ASSERT(!runtime->in_turn);
    if (!runtime->idle_versions || runtime->recovering) {
        return false;
    }
    runtime->idle_versions = false;
    mark_needed(runtime, needed);
    for (size_t i = 0; i < runtime->version_count; i++) {
        if (runtime->versions[i].version != NULL && !needed[i]) {
            runtime->versions[i] = (struct known_version){.version = NULL};
            any = true;
        }
    }
    return any;
}

/* ---- Apply ---- */

/* Makes room for all that will be noted, so that nothing can be refused half-way. */
static bool make_room(struct saga_runtime *runtime, const struct saga_apply *apply)
{
    size_t added = 0;
    for (size_t i = 0; i < apply->item_count; i++) {
        const struct saga_version *version = apply->items[i].version;
        added += version_index(runtime, version->hash) == runtime->version_count ? 1 : 0;
        if (find_or_add_pause(runtime, version->name) == NULL) {
            answer_failure(runtime, apply->ticket, SAGA_CODE_UNAVAILABLE, "NO_MEMORY",
                           "out of memory");
            return false;
        }
    }
    if (added > saga_runtime_version_room(runtime)) {
        answer_failure(runtime, apply->ticket, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_DEFINITIONS",
                       "more than 256 versions (SAGA_DEFINITIONS_MAX) would be current or have "
                       "sagas in flight; try later, or remove some");
        return false;
    }
    return true;
}

_Static_assert((int)SAGA_DEFINITIONS_MAX == 256, "the text above");

static void apply_item(struct saga_runtime *runtime, const struct saga_apply_item *item,
                       const struct saga_apply *apply)
{
    const struct saga_version *version = item->version;
    const struct saga_version *before = saga_runtime_current(runtime, version->name);
    struct pause *pause = find_pause(runtime, version->name);
    enum saga_err err = ensure_transaction(runtime) ? SAGA_ERR_OK : runtime->failure_err;
    if (err == SAGA_ERR_OK) {
        err = runtime->store_ops->put_definition(runtime->store, version->hash, version->name,
                                                 item->descriptor_set, runtime->now_unix_ms,
                                                 &runtime->detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_runtime_add_version(runtime, version, true);
    }
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "apply a definition");
        return;
    }
    pause->removed = false;
    runtime->idle_versions |= before != NULL && before != version;
    struct act act = {pause, version, SAGA_ACT_APPLY, text_or_empty(apply->who),
                      text_or_empty(apply->why)};
    (void)write_act(runtime, &act);
}

static void put_addresses(struct saga_runtime *runtime,
                          const struct saga_apply_addresses *addresses)
{
    enum saga_err err = ensure_transaction(runtime) ? SAGA_ERR_OK : runtime->failure_err;
    if (err == SAGA_ERR_OK) {
        err = runtime->store_ops->put_participant(runtime->store, addresses->service,
                                                  addresses->addresses, addresses->count,
                                                  &runtime->detail);
    }
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "put addresses");
    }
}

void saga_runtime_forget_addresses(struct saga_runtime *runtime, const char *service)
{
    const struct saga_apply_addresses none = {service, NULL, 0};
    SAGA_ASSERT(runtime->in_turn);
    if (!runtime->failed) {
        put_addresses(runtime, &none);
        runtime->forgotten = true;
    }
}

void saga_runtime_drop_version(struct saga_runtime *runtime, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    SAGA_ASSERT(runtime->in_turn);
    /* Also what is neither current nor begun with may be needed: a saga in flight may yet start it
     * as its child. */
    SAGA_ASSERT(version_index(runtime, hash) == runtime->version_count);
    if (runtime->failed) {
        return;
    }
    enum saga_err err = ensure_transaction(runtime) ? SAGA_ERR_OK : runtime->failure_err;
    if (err == SAGA_ERR_OK) {
        err = runtime->store_ops->drop_definition(runtime->store, hash, &runtime->detail);
    }
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "drop a version");
    }
    runtime->forgotten = true;
}

void saga_runtime_apply(struct saga_runtime *runtime, const struct saga_apply *apply)
{
    SAGA_ASSERT(runtime->in_turn);
    SAGA_ASSERT(apply->item_count > 0 || apply->participant_count == 0);
    if (runtime->failed) {
        answer_store_failed(runtime, apply->ticket);
        return;
    }
    if (!make_room(runtime, apply)) {
        return;
    }
    for (size_t i = 0; i < apply->item_count && !runtime->failed; i++) {
        apply_item(runtime, &apply->items[i], apply);
    }
    for (size_t i = 0; i < apply->participant_count && !runtime->failed; i++) {
        put_addresses(runtime, &apply->participants[i]);
    }
    if (runtime->failed) {
        answer_store_failed(runtime, apply->ticket);
    } else {
        answer_done(runtime, apply->ticket, false);
    }
}

/* ---- Remove ---- */

static void forget_current(struct saga_runtime *runtime, const char *name)
{
    for (size_t i = 0; i < runtime->version_count; i++) {
        if (has_name(&runtime->versions[i], name)) {
            runtime->versions[i].current = false;
        }
    }
    runtime->idle_versions = true;
}

static void remove_version(struct saga_runtime *runtime, const struct saga_version *version,
                           const struct saga_remove *remove)
{
    struct pause *pause = find_pause(runtime, version->name);
    enum saga_err err = ensure_transaction(runtime) ? SAGA_ERR_OK : runtime->failure_err;
    if (err == SAGA_ERR_OK) {
        err =
            runtime->store_ops->remove_definition(runtime->store, version->name, &runtime->detail);
    }
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "remove a definition");
        return;
    }
    pause->removed = true;
    if (!SAGA_BROKEN(S12_REMOVED_STARTS)) {
        forget_current(runtime, version->name);
    }
    struct act act = {pause, version, SAGA_ACT_REMOVE, text_or_empty(remove->who),
                      text_or_empty(remove->why)};
    (void)write_act(runtime, &act);
}

void saga_runtime_remove(struct saga_runtime *runtime, const struct saga_remove *remove)
{
    SAGA_ASSERT(runtime->in_turn);
    const struct saga_version *version = saga_runtime_current(runtime, remove->definition);
    if (runtime->failed) {
        answer_store_failed(runtime, remove->ticket);
    } else if (is_removed(runtime, remove->definition)) {
        answer_done(runtime, remove->ticket, true);
    } else if (version == NULL) {
        answer_failure(runtime, remove->ticket, SAGA_CODE_NOT_FOUND, "DEFINITION_UNKNOWN",
                       "definition: no saga has this name; sagactl definitions lists them");
    } else if (find_or_add_pause(runtime, version->name) == NULL) {
        answer_failure(runtime, remove->ticket, SAGA_CODE_UNAVAILABLE, "NO_MEMORY",
                       "out of memory");
    } else {
        remove_version(runtime, version, remove);
        if (runtime->failed) {
            answer_store_failed(runtime, remove->ticket);
        } else {
            answer_done(runtime, remove->ticket, false);
        }
    }
}
