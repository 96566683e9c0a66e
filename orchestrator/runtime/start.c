/* What comes from outside: starts, replies, acts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/base/prng.h"
#include "orchestrator/runtime/internal.h"

void answer_failure(struct saga_runtime *runtime, void *ticket, enum saga_code code,
                    const char *reason, const char *message)
{
    runtime->counts.refused += 1;
    struct saga_answer answer = {.code = code, .reason = reason, .message = message};
    queue_answer(runtime, ticket, &answer);
}

/* Nobody who asked may be left without an answer, also when the store fails half-way. */
void answer_store_failed(struct saga_runtime *runtime, void *ticket)
{
    answer_failure(runtime, ticket, SAGA_CODE_UNAVAILABLE, "STORE_FAILED", STORE_FAILED_TEXT);
}

/* The start's key is there already: the same start again, or another under its key (S10). */
static void answer_existing(struct saga_runtime *runtime, const struct saga_start *start,
                            const uint8_t digest[SAGA_DIGEST_SIZE])
{
    struct saga_row row;
    enum saga_err err = runtime->store_ops->find_key(runtime->store, start->definition, start->key,
                                                     &row, &runtime->detail);
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "find a start key");
        answer_store_failed(runtime, start->ticket);
        return;
    }
    if (memcmp(row.start_digest, digest, SAGA_DIGEST_SIZE) != 0 && !SAGA_BROKEN(S10_PAYLOAD)) {
        answer_failure(runtime, start->ticket, SAGA_CODE_INVALID_ARGUMENT, "KEY_REUSED",
                       "key: it has started a saga with another input");
        return;
    }
    /* The row may be older than what this turn has done to the saga. */
    const struct live *live = live_table_find(&runtime->table, row.id);
    struct saga_answer answer = {
        .code = SAGA_CODE_OK,
        .reason = "",
        .message = "",
        .id = row.id,
        .state = (enum saga_state)(live != NULL ? live->saga.state : row.state),
        .seq = live != NULL ? live->saga.seq : row.seq,
        .existing = true,
    };
    queue_answer(runtime, start->ticket, &answer);
}

/* Tells whether the start was taken before, and its definition has changed since; answers then with
 * its saga (S10). */
static bool is_existing(struct saga_runtime *runtime, const struct saga_start *start)
{
    struct saga_row row;
    uint8_t digest[SAGA_DIGEST_SIZE];
    enum saga_err err = runtime->store_ops->find_key(runtime->store, start->definition, start->key,
                                                     &row, &runtime->detail);
    if (err == SAGA_ERR_OK) {
        runtime->config.codec->digest(start->input, digest);
        answer_existing(runtime, start, digest);
    } else if (err != SAGA_ERR_NOT_FOUND) {
        fail_runtime(runtime, err, "find a start key");
        answer_store_failed(runtime, start->ticket);
    }
    return err != SAGA_ERR_NOT_FOUND;
}

/* There is no current version of the name. */
static void answer_no_version(struct saga_runtime *runtime, const struct saga_start *start)
{
    char message[ANSWER_TEXT_SIZE];
    if (!is_removed(runtime, start->definition)) {
        (void)snprintf(message, sizeof message, "definition: no saga is named \"%.64s\"",
                       start->definition);
        answer_failure(runtime, start->ticket, SAGA_CODE_NOT_FOUND, "DEFINITION_UNKNOWN", message);
    } else if (!is_existing(runtime, start)) {
        answer_failure(runtime, start->ticket, SAGA_CODE_NOT_FOUND, "DEFINITION_REMOVED",
                       "definition: it was removed; sagas in flight go on, none starts any more "
                       "(sagactl apply brings it back)");
    }
}

/* Checks what can be checked without the store; answers when it is wrong. */
static const struct saga_version *check_start(struct saga_runtime *runtime,
                                              const struct saga_start *start)
{
    const struct saga_version *version = saga_runtime_current(runtime, start->definition);
    size_t key_size = strlen(start->key);
    struct saga_err_detail detail = {{0}};
    char message[ANSWER_TEXT_SIZE];
    if (runtime->failed) {
        answer_store_failed(runtime, start->ticket);
    } else if (version == NULL) {
        answer_no_version(runtime, start);
    } else if (key_size == 0 || key_size > SAGA_START_KEY_MAX) {
        (void)snprintf(message, sizeof message, "key: has %zu bytes; 1 to %d are allowed", key_size,
                       SAGA_START_KEY_MAX);
        answer_failure(runtime, start->ticket, SAGA_CODE_INVALID_ARGUMENT, "BAD_KEY", message);
    } else if (is_child_key(start->key)) {
        answer_failure(runtime, start->ticket, SAGA_CODE_INVALID_ARGUMENT, "BAD_KEY",
                       "key: only sagas that are a step of another have keys that begin with "
                       "\"child:\"; choose another");
    } else if (start->input.size > SAGA_CONTEXT_SIZE_MAX) {
        (void)snprintf(message, sizeof message, "input: has %zu bytes; at most %d are allowed",
                       start->input.size, SAGA_CONTEXT_SIZE_MAX);
        answer_failure(runtime, start->ticket, SAGA_CODE_INVALID_ARGUMENT, "INPUT_TOO_LARGE",
                       message);
    } else if (runtime->config.codec->check_input(version, start->input, &detail) != SAGA_ERR_OK) {
        /* It may have fitted the version that was current when it was sent first. */
        if (!is_existing(runtime, start)) {
            answer_failure(runtime, start->ticket, SAGA_CODE_INVALID_ARGUMENT, "BAD_INPUT",
                           detail.text);
        }
    } else {
        return version;
    }
    return NULL;
}

static struct live *new_saga(struct saga_runtime *runtime, const struct making *making)
{
    const struct saga_version *version = runtime->versions[making->version_index].version;
    struct live *live = live_new(version, making->key, &making->texts);
    if (live != NULL && saga_buf_append(&live->context, making->input) != SAGA_ERR_OK) {
        live_free(live);
        return NULL;
    }
    return live;
}

static struct saga_id next_id(struct saga_runtime *runtime)
{
    runtime->id_counter += 1;
    return saga_id_make(runtime->now_unix_ms, runtime->id_counter, saga_prng_next(&runtime->prng));
}

/* Reserves the key: a row with the saga as it is before its first event, overwritten at the end of
 * the turn. Nothing of it is seen before the commit. Errors: EXISTS; else the runtime has failed.
 */
static enum saga_err reserve_key(struct saga_runtime *runtime, struct live *live)
{
    struct saga_row row;
    if (!make_row(runtime, live, &row)) {
        return SAGA_ERR_INTERNAL;
    }
    enum saga_err err = runtime->store_ops->insert_saga(runtime->store, &row, &runtime->detail);
    if (err != SAGA_ERR_OK && err != SAGA_ERR_EXISTS) {
        fail_runtime(runtime, err, "insert a saga");
    }
    return err;
}

static void begin_saga(struct saga_runtime *runtime, struct live *live, struct saga_bytes input)
{
    struct happening happening = {
        .ev = {.kind = SAGA_EVENT_START,
               .id = live->saga.id,
               .seed = saga_prng_next(&runtime->prng)},
        .payload = input,
    };
    live->saga = (struct saga){.id = happening.ev.id};
    runtime->versions[live->version_index].live += 1;
    apply_event(runtime, live, &happening);
    runtime->counts.started += 1;
}

enum saga_err make_saga(struct saga_runtime *runtime, const struct making *making,
                        struct live **made)
{
    struct live *live = new_saga(runtime, making);
    if (live == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    live->version_index = making->version_index;
    live->saga.id = next_id(runtime);
    live->saga.created_unix_ms = runtime->now_unix_ms;
    live->updated_unix_ms = runtime->now_unix_ms;
    memcpy(live->start_digest, making->digest, SAGA_DIGEST_SIZE);
    enum saga_err err =
        ensure_transaction(runtime) ? reserve_key(runtime, live) : runtime->failure_err;
    if (err == SAGA_ERR_OK) {
        err = live_table_put(&runtime->table, live);
        if (err != SAGA_ERR_OK) {
            fail_runtime(runtime, err, "keep a saga");
        }
    }
    if (err != SAGA_ERR_OK) {
        live_free(live);
        return err;
    }
    begin_saga(runtime, live, making->input);
    *made = live;
    return SAGA_ERR_OK;
}

/* Counts the sagas that go forward; those that are held take nobody's turn. */
static size_t running_count(const struct saga_runtime *runtime)
{
    size_t count = 0;
    for (size_t i = 0; i < runtime->version_count; i++) {
        count += runtime->versions[i].paused ? 0 : runtime->versions[i].running;
    }
    return count;
}

/* Tells whether as many sagas are in flight as may be; answers then. Children do not come by here:
 * if they could be refused, sagas that fill the house would wait for ever for their own steps. They
 * count, and close the door the sooner. */
static bool house_is_full(struct saga_runtime *runtime, const struct saga_start *start)
{
    if (runtime->table.count >= runtime->config.live_count_max) {
        answer_failure(runtime, start->ticket, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_SAGAS",
                       "the limit of sagas in flight is reached; try later");
        return true;
    }
    if (runtime->config.running_count_max != 0 &&
        running_count(runtime) >= runtime->config.running_count_max) {
        answer_failure(runtime, start->ticket, SAGA_CODE_RESOURCE_EXHAUSTED, "TOO_MANY_RUNNING",
                       "as many sagas as are allowed are going forward; try later");
        return true;
    }
    return false;
}

/* Tells whether the definition is paused; answers then. A start that was taken before the pause is
 * answered with its saga (S10). */
static bool is_held(struct saga_runtime *runtime, const struct saga_version *version,
                    const struct saga_start *start)
{
    if (!is_paused(runtime, version->name)) {
        return false;
    }
    if (!is_existing(runtime, start)) {
        answer_failure(runtime, start->ticket, SAGA_CODE_UNAVAILABLE, "DEFINITION_PAUSED",
                       "definition: it is paused (sagactl definitions tells by whom and why); try "
                       "later");
    }
    return true;
}

void saga_runtime_start(struct saga_runtime *runtime, const struct saga_start *start)
{
    SAGA_ASSERT(runtime->in_turn);
    const struct saga_version *version = check_start(runtime, start);
    if (version == NULL || is_held(runtime, version, start) || house_is_full(runtime, start)) {
        return;
    }
    struct making making = {
        .version_index = version_index(runtime, version->hash),
        .key = start->key,
        .input = start->input,
        .texts = {"", "", text_or_empty(start->traceparent), "", {{0}}},
    };
    runtime->config.codec->digest(start->input, making.digest);
    struct live *live = NULL;
    enum saga_err err = make_saga(runtime, &making, &live);
    if (runtime->failed) {
        answer_store_failed(runtime, start->ticket);
    } else if (err == SAGA_ERR_EXISTS) {
        answer_existing(runtime, start, making.digest);
    } else if (err != SAGA_ERR_OK) {
        answer_failure(runtime, start->ticket, SAGA_CODE_UNAVAILABLE, "NO_MEMORY", "out of memory");
    } else {
        struct saga_answer answer = {
            .code = SAGA_CODE_OK,
            .reason = "",
            .message = "",
            .id = live->saga.id,
            .state = (enum saga_state)live->saga.state,
            .seq = live->saga.seq,
        };
        queue_answer(runtime, start->ticket, &answer);
    }
}

/* A reply to a command that was sent for one step but names another tells nothing about it. */
static bool names_another_step(const struct live *live, const struct saga_runtime_reply *reply)
{
    const char *name = text_or_empty(reply->step_name);
    return reply->step != SAGA_STEP_ALL && name[0] != '\0' &&
           strcmp(name, live->version->step_names[reply->step]) != 0 && !SAGA_BROKEN(S3_OTHER_STEP);
}

uint8_t find_step(const struct saga_version *version, const char *name)
{
    for (uint32_t i = 0; i < version->def.step_count; i++) {
        if (strcmp(version->step_names[i], name) == 0) {
            return (uint8_t)i;
        }
    }
    return SAGA_STEP_ALL;
}

/* Whoever can write to one service's reply topic may answer for that service, and only for what
 * went by Kafka. */
static bool came_the_wrong_way(const struct saga_runtime *runtime, const struct live *live,
                               uint8_t step, const struct saga_runtime_reply *reply)
{
    const struct saga_step_def *def = &live->version->def.steps[step];
    enum saga_via via = reply->op == SAGA_OP_CALL ? def->call_via : def->undo_via;
    if (via == SAGA_VIA_CHILD || reply->topic == NULL) {
        return via == SAGA_VIA_CHILD; /* nobody else may speak for a child saga */
    }
    const char *topic = runtime->config.codec->reply_topic(live->version, step, reply->op);
    return (via != SAGA_VIA_KAFKA || strcmp(topic, reply->topic) != 0) &&
           !SAGA_BROKEN(S3_OTHER_ROAD);
}

void saga_runtime_reply(struct saga_runtime *runtime, const struct saga_runtime_reply *reply)
{
    SAGA_ASSERT(runtime->in_turn);
    struct live *live = live_table_find(&runtime->table, reply->saga_id);
    if (live == NULL || runtime->failed) {
        runtime->counts.ignored += 1; /* ended, or not ours: late replies are nothing special */
        return;
    }
    uint8_t step = reply->step == SAGA_STEP_ALL
                       ? find_step(live->version, text_or_empty(reply->step_name))
                       : reply->step;
    if (step >= live->saga.step_count || (reply->op != SAGA_OP_CALL && reply->op != SAGA_OP_UNDO) ||
        came_the_wrong_way(runtime, live, step, reply)) {
        runtime->counts.ignored += 1;
        return;
    }
    const struct saga_step_run *run = &live->saga.steps[step];
    uint32_t present = reply->op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    struct happening happening = {
        .ev = {.kind = SAGA_EVENT_REPLY,
               .step = step,
               .op = reply->op,
               .attempt = reply->attempt == 0 ? present : reply->attempt,
               .code = reply->code > SAGA_CODE_UNAUTHENTICATED ? SAGA_CODE_UNKNOWN : reply->code,
               .key_reused = strcmp(text_or_empty(reply->reason), "KEY_REUSED") == 0 &&
                             !SAGA_BROKEN(B5_UNHEARD),
               .not_sent = reply->not_sent,
               .retry_after_ms = reply->retry_after_ms},
        .reason = reply->reason,
        .message = reply->message,
        .payload = reply->payload,
        .replayed = reply->replayed,
        .empty = reply->empty,
    };
    if (names_another_step(live, reply)) {
        happening.ev.code = SAGA_CODE_INTERNAL;
        happening.ev.key_reused = false;
        happening.reason = "BAD_REPLY";
        happening.message = "the reply answers another step";
        happening.payload = (struct saga_bytes){0};
    }
    apply_event(runtime, live, &happening);
}

void saga_runtime_durable(struct saga_runtime *runtime, struct saga_id id, uint8_t step,
                          enum saga_op op, uint32_t attempt)
{
    SAGA_ASSERT(runtime->in_turn);
    struct live *live = live_table_find(&runtime->table, id);
    if (live == NULL || runtime->failed || step >= live->saga.step_count) {
        runtime->counts.ignored += 1;
        return;
    }
    struct happening happening = {
        .ev = {.kind = SAGA_EVENT_DURABLE, .step = step, .op = op, .attempt = attempt},
    };
    apply_event(runtime, live, &happening);
}

void saga_runtime_operate(struct saga_runtime *runtime, const struct saga_operate *operate)
{
    SAGA_ASSERT(runtime->in_turn);
    struct live *live = live_table_find(&runtime->table, operate->saga_id);
    if (runtime->failed) {
        answer_store_failed(runtime, operate->ticket);
        return;
    }
    if (live == NULL) {
        answer_failure(runtime, operate->ticket, SAGA_CODE_NOT_FOUND, "SAGA_NOT_LIVE",
                       "saga_id: no such saga is in flight; it may have ended");
        return;
    }
    uint8_t step = SAGA_STEP_ALL;
    if (operate->step_name[0] != '\0') {
        step = find_step(live->version, operate->step_name);
        if (step == SAGA_STEP_ALL) {
            answer_failure(runtime, operate->ticket, SAGA_CODE_INVALID_ARGUMENT, "STEP_UNKNOWN",
                           "step: the saga has no step of this name");
            return;
        }
    }
    struct happening happening = {
        .ev = {.kind = SAGA_EVENT_OPERATOR, .step = step, .act = operate->act},
        .who = operate->who,
        .why = operate->why,
    };
    apply_event(runtime, live, &happening);
    if (runtime->update.verdict != SAGA_VERDICT_TAKEN) {
        answer_failure(runtime, operate->ticket, SAGA_CODE_FAILED_PRECONDITION, "ACT_REFUSED",
                       runtime->update.verdict == SAGA_VERDICT_REFUSED ? runtime->update.refusal
                                                                       : "nothing to do");
        return;
    }
    struct saga_answer answer = {
        .code = SAGA_CODE_OK,
        .reason = "",
        .message = "",
        .id = live->saga.id,
        .state = (enum saga_state)live->saga.state,
        .seq = live->saga.seq,
    };
    queue_answer(runtime, operate->ticket, &answer);
}
