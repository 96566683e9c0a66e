/* Pausing a definition, and letting it go on.
 *
 * What is paused is a name, with all its versions. Each act is an event of a stream of the
 * definition's own, chained and numbered as those of a saga are (S9, S12), and a row that says what
 * holds; both are written in the turn's transaction. What holds is told to the engine with every
 * event (ev.paused); the sagas themselves keep nothing of it, so that a crash between two pages of
 * a resume loses nothing: RECOVERED begins what may begin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/runtime/internal.h"

enum {
    PAGE_LOOKS = 64 * 1024, /* sagas looked at in one turn */
    STREAM_NAME_SIZE = SAGA_DEFINITION_NAME_MAX + 16,
};

struct saga_id saga_runtime_pause_stream(const struct saga_codec_ops *codec, const char *definition)
{
    char name[STREAM_NAME_SIZE];
    uint8_t digest[SAGA_DIGEST_SIZE];
    (void)snprintf(name, sizeof name, "definition:%s", definition);
    codec->digest(saga_bytes_text(name), digest);
    return saga_id_of_digest(digest);
}

struct pause *find_pause(const struct saga_runtime *runtime, const char *name)
{
    for (size_t i = 0; i < runtime->pause_count; i++) {
        if (strcmp(runtime->pauses[i].name, name) == 0) {
            return &runtime->pauses[i];
        }
    }
    return NULL;
}

static struct pause *add_pause(struct saga_runtime *runtime, const char *name)
{
    struct pause *grown =
        realloc(runtime->pauses, (runtime->pause_count + 1) * sizeof *runtime->pauses);
    if (grown == NULL) {
        return NULL;
    }
    runtime->pauses = grown;
    struct pause *made = &grown[runtime->pause_count++];
    *made = (struct pause){.seq = 0};
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    return made;
}

struct pause *find_or_add_pause(struct saga_runtime *runtime, const char *name)
{
    struct pause *pause = find_pause(runtime, name);
    return pause != NULL ? pause : add_pause(runtime, name);
}

bool is_paused(const struct saga_runtime *runtime, const char *definition_name)
{
    const struct pause *pause = find_pause(runtime, definition_name);
    return pause != NULL && pause->paused;
}

bool saga_runtime_paused(const struct saga_runtime *runtime, const char *definition,
                         struct saga_pause_look *look)
{
    const struct pause *pause = find_pause(runtime, definition);
    if (pause == NULL || !pause->paused) {
        return false;
    }
    *look = (struct saga_pause_look){
        .who = pause->who, .why = pause->why, .since_unix_ms = pause->since_unix_ms};
    return true;
}

size_t saga_runtime_paused_count(const struct saga_runtime *runtime)
{
    size_t count = 0;
    for (size_t i = 0; i < runtime->pause_count; i++) {
        count += runtime->pauses[i].paused ? 1 : 0;
    }
    return count;
}

/* ---- Loading ---- */

struct loading {
    struct saga_runtime *runtime;
    enum saga_err err;
};

static bool visit_pause(void *user, const struct saga_pause_row *row)
{
    struct loading *loading = user;
    struct pause *pause = add_pause(loading->runtime, row->definition_name);
    if (pause == NULL) {
        loading->err = SAGA_ERR_NO_MEMORY;
        return false;
    }
    pause->paused = row->paused;
    pause->removed = row->removed;
    pause->seq = row->seq;
    pause->since_unix_ms = row->since_unix_ms;
    memcpy(pause->last_hash, row->last_hash, SAGA_DIGEST_SIZE);
    (void)snprintf(pause->who, sizeof pause->who, "%s", row->who);
    (void)snprintf(pause->why, sizeof pause->why, "%s", row->why);
    return true;
}

enum saga_err load_pauses(struct saga_runtime *runtime, struct saga_err_detail *detail)
{
    struct loading loading = {.runtime = runtime};
    enum saga_err err =
        runtime->store_ops->list_pauses(runtime->store, visit_pause, &loading, detail);
    return err == SAGA_ERR_OK ? loading.err : err;
}

/* ---- An act ---- */

static enum saga_err append_event(struct saga_runtime *runtime, const struct act *act,
                                  const struct saga *stream)
{
    struct pause *pause = act->pause;
    struct saga_event ev = {.kind = SAGA_EVENT_OPERATOR,
                            .act = act->act,
                            .step = SAGA_STEP_ALL,
                            .now_unix_ms = runtime->now_unix_ms};
    runtime->update = (struct saga_update){.verdict = SAGA_VERDICT_TAKEN, .refusal = ""};
    struct saga_audit_input in = {
        .version = act->version,
        .saga = stream,
        .ev = &ev,
        .up = &runtime->update,
        .reason = "",
        .message = "",
        .who = act->who,
        .why = act->why,
        .start_key = "",
        .parent_step = "",
        .prev_hash = pause->last_hash,
    };
    saga_buf_clear(&runtime->audit);
    enum saga_err err = runtime->config.codec->encode_audit(&in, &runtime->audit, pause->last_hash);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(&runtime->detail, err, "encode an audit event");
    }
    struct saga_audit_row event = {
        .id = stream->id,
        .seq = stream->seq,
        .time_unix_ms = runtime->now_unix_ms,
        .event = saga_buf_view(&runtime->audit),
    };
    runtime->audit_written = true;
    return runtime->store_ops->append_audit(runtime->store, &event, &runtime->detail);
}

bool write_act(struct saga_runtime *runtime, const struct act *act)
{
    struct pause *pause = act->pause;
    if (!ensure_transaction(runtime)) {
        return false;
    }
    pause->seq += 1;
    struct saga stream = {.id = saga_runtime_pause_stream(runtime->config.codec, pause->name),
                          .seq = pause->seq};
    enum saga_err err = append_event(runtime, act, &stream);
    struct saga_pause_row row = {
        .definition_name = pause->name,
        .paused = pause->paused,
        .removed = pause->removed,
        .seq = pause->seq,
        .who = pause->who,
        .why = pause->why,
        .since_unix_ms = pause->since_unix_ms,
    };
    memcpy(row.last_hash, pause->last_hash, SAGA_DIGEST_SIZE);
    if (err == SAGA_ERR_OK) {
        err = runtime->store_ops->put_pause(runtime->store, &row, &runtime->detail);
    }
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "act on a definition");
    }
    return err == SAGA_ERR_OK;
}

static void answer_act(struct saga_runtime *runtime, const struct saga_pause_act *act,
                       const struct pause *pause, bool existing)
{
    struct saga_answer answer = {
        .code = SAGA_CODE_OK,
        .reason = "",
        .message = "",
        .id = saga_runtime_pause_stream(runtime->config.codec, act->definition),
        .seq = pause == NULL ? 0 : pause->seq,
        .existing = existing,
    };
    queue_answer(runtime, act->ticket, &answer);
}

/* From here on every event of its sagas is told. */
static void set_paused(struct saga_runtime *runtime, struct pause *pause, bool paused)
{
    pause->paused = paused;
    pause->resuming = !paused;
    pause->bucket = 0;
    pause->bucket_count = runtime->table.bucket_count;
    for (size_t i = 0; i < runtime->version_count; i++) {
        if (has_name(&runtime->versions[i], pause->name)) {
            runtime->versions[i].paused = paused;
        }
    }
}

void saga_runtime_pause(struct saga_runtime *runtime, const struct saga_pause_act *act)
{
    SAGA_ASSERT(runtime->in_turn);
    SAGA_ASSERT(act->act == SAGA_ACT_PAUSE || act->act == SAGA_ACT_RESUME);
    const struct saga_version *version = any_version(runtime, act->definition);
    bool pausing = act->act == SAGA_ACT_PAUSE;
    if (runtime->failed) {
        answer_store_failed(runtime, act->ticket);
        return;
    }
    if (version == NULL) {
        answer_failure(runtime, act->ticket, SAGA_CODE_NOT_FOUND, "DEFINITION_UNKNOWN",
                       "definition: no saga has this name; sagactl definitions lists them");
        return;
    }
    struct pause *pause = find_pause(runtime, act->definition);
    if (is_paused(runtime, act->definition) == pausing) {
        answer_act(runtime, act, pause, true);
        return;
    }
    pause = find_or_add_pause(runtime, act->definition);
    if (pause == NULL) {
        answer_failure(runtime, act->ticket, SAGA_CODE_UNAVAILABLE, "NO_MEMORY", "out of memory");
        return;
    }
    (void)snprintf(pause->who, sizeof pause->who, "%s", text_or_empty(act->who));
    (void)snprintf(pause->why, sizeof pause->why, "%s", text_or_empty(act->why));
    pause->since_unix_ms = runtime->now_unix_ms;
    set_paused(runtime, pause, pausing);
    struct act write = {pause, version, act->act, pause->who, pause->why};
    if (write_act(runtime, &write)) {
        answer_act(runtime, act, pause, false);
    } else {
        answer_store_failed(runtime, act->ticket);
    }
}

/* ---- What was held begins ---- */

static bool may_be_held(const struct pause *pause, const struct live *live)
{
    return live->saga.state == SAGA_STATE_RUNNING && strcmp(live->version->name, pause->name) == 0;
}

/* One bucket of the table. Nothing enters or leaves the table meanwhile: children are made, and
 * what has ended leaves, at the end of the turn. */
static void resume_bucket(struct saga_runtime *runtime, const struct pause *pause,
                          struct live *live, size_t *events, size_t *looks)
{
    for (; live != NULL && !runtime->failed; live = live->chain) {
        *looks += 1;
        if (!may_be_held(pause, live)) {
            continue;
        }
        struct happening happening = {
            .ev = {.kind = SAGA_EVENT_OPERATOR, .act = SAGA_ACT_RESUME, .step = SAGA_STEP_ALL},
            .who = pause->who,
            .why = pause->why,
        };
        apply_event(runtime, live, &happening); /* refused when nothing of it was held */
        *events += 1;
    }
}

static void resume_page(struct saga_runtime *runtime, struct pause *pause)
{
    const struct live_table *table = &runtime->table;
    size_t events = 0;
    size_t looks = 0;
    if (pause->bucket_count != table->bucket_count) {
        pause->bucket_count = table->bucket_count;
        pause->bucket = 0;
    }
    while (pause->bucket < table->bucket_count && events < runtime->config.recover_page_max &&
           looks < PAGE_LOOKS && !runtime->failed) {
        resume_bucket(runtime, pause, table->buckets[pause->bucket], &events, &looks);
        pause->bucket += 1;
        looks += 1; /* an empty one takes its time too */
    }
    pause->resuming = pause->bucket < table->bucket_count;
}

void resume_pages(struct saga_runtime *runtime)
{
    for (size_t i = 0; i < runtime->pause_count && !runtime->failed; i++) {
        if (runtime->pauses[i].resuming) {
            resume_page(runtime, &runtime->pauses[i]);
        }
    }
}

bool is_resuming(const struct saga_runtime *runtime)
{
    for (size_t i = 0; i < runtime->pause_count; i++) {
        if (runtime->pauses[i].resuming) {
            return true;
        }
    }
    return false;
}
