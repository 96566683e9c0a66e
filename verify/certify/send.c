/* Commands out, replies in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/certify/internal.h"

enum { LATER_MS = 50, LATER_MS_MAX = 1000, DEADLINE_MS = 60 * 1000 };

static int64_t now_unix_ms(const struct certify_run *run)
{
    return run->config->port.now_unix_ms(run->config->port.context);
}

struct certify_ask certify_ask_plain(struct certify_trial *trial, const char *method,
                                     struct saga_bytes payload)
{
    struct certify_ask ask = {
        .command = {.step = "",
                    .op = SAGA_OP_NONE,
                    .method = method,
                    .payload = payload,
                    .attempt = 1,
                    .deadline_unix_ms = now_unix_ms(trial->run) + DEADLINE_MS,
                    .traceparent = "",
                    .cause_step = "",
                    .cause_status = saga_status_ok(),
                    .epoch = 0},
    };
    return ask;
}

struct certify_ask certify_ask(struct certify_trial *trial, struct certify_scope *scope,
                               enum saga_op op)
{
    bool call = op == SAGA_OP_CALL;
    const struct saga_method *method = call ? scope->step->call : scope->step->undo;
    SAGA_ASSERT(method != NULL);
    struct certify_ask ask =
        certify_ask_plain(trial, method->full_name, call ? scope->call : scope->undo);
    ask.scope = scope;
    ask.command.saga_id = scope->saga;
    ask.command.step = scope->step_name;
    ask.command.op = op;
    ask.command.epoch = 1;
    if (!call) {
        ask.command.deadline_unix_ms = 0;
        ask.command.cause_step = "payment";
        ask.command.cause_status =
            saga_status_make(SAGA_CODE_FAILED_PRECONDITION, "CERTIFY", "a later step said no");
    }
    return ask;
}

/* ---- Answers ---- */

static bool decode(struct certify_trial *trial, struct saga_bytes bytes,
                   struct saga_reply **replies, size_t *count)
{
    struct saga_status status = saga_status_ok();
    enum saga_err err = saga_reply_batch_decode(bytes, &trial->arena, replies, count, &status);
    if (err != SAGA_ERR_OK) {
        certify_fail(trial, "the answer is no ReplyBatch: %s", status.message);
    }
    return err == SAGA_ERR_OK;
}

/* What every reply tells, whatever case it belongs to. */
static void note_reply(struct certify_run *run, const struct certify_ask *ask,
                       const struct saga_reply *reply)
{
    struct certify_scope *scope = ask->scope;
    enum saga_code_class class = saga_code_class(reply->status.code);
    run->report->commands++;
    if (ask->command.op == SAGA_OP_CALL && class != SAGA_CODE_CLASS_SUCCESS &&
        class != SAGA_CODE_CLASS_REJECT) {
        /* A fenced command never came to the place where replies are stored: it says nothing. */
        run->retry_seen = run->retry_seen || (class == SAGA_CODE_CLASS_RETRY &&
                                              strcmp(reply->status.reason, "FENCED") != 0);
        run->retry_replayed = run->retry_replayed || reply->replayed;
    }
    if (scope == NULL || class != SAGA_CODE_CLASS_SUCCESS) {
        return;
    }
    if (ask->command.op == SAGA_OP_CALL) {
        scope->effect = !scope->step->call->no_side_effects;
        scope->undone = scope->undone && reply->replayed;
    } else {
        scope->undone = true;
    }
}

bool certify_send_bytes(struct certify_trial *trial, struct saga_bytes bytes, const char *what,
                        struct saga_reply **replies, size_t *count)
{
    const struct saga_certify_config *config = trial->run->config;
    struct saga_certify_message message = {.request = bytes};
    config->port.exchange(config->port.context, &message, 1, config->timeout_ms);
    bool good = message.answered;
    if (!good) {
        certify_fail(trial, "%s: no answer within %lld ms, or the connection was dropped", what,
                     (long long)config->timeout_ms);
    } else {
        good = decode(trial, saga_buf_view(&message.answer), replies, count);
    }
    saga_buf_fini(&message.answer);
    return good;
}

bool certify_refused(struct certify_trial *trial, struct saga_bytes bytes, const char *what,
                     enum saga_code code, enum saga_code or_code)
{
    struct saga_reply *replies = NULL;
    size_t count = 0;
    if (!certify_send_bytes(trial, bytes, what, &replies, &count)) {
        return false;
    }
    if (count != 1) {
        certify_fail(trial, "%s: %zu replies came; what cannot be decoded gets one", what, count);
        return false;
    }
    if (replies[0].status.code == or_code) {
        code = or_code;
    }
    return certify_want_status(trial, what, &replies[0], code, NULL);
}

/* ---- Commands ---- */

static bool encode(struct certify_trial *trial, const struct certify_ask *asks, size_t count,
                   struct saga_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (saga_command_batch_add(&asks[i].command, out) != SAGA_ERR_OK) {
            certify_skip(trial, "the command cannot be encoded");
            return false;
        }
    }
    return true;
}

bool certify_send_batch(struct certify_trial *trial, const struct certify_ask *asks, size_t count,
                        struct saga_reply *replies)
{
    struct saga_buf request = {0};
    struct saga_reply *got = NULL;
    size_t got_count = 0;
    char what[64];
    (void)snprintf(what, sizeof what, count == 1 ? "a command" : "a batch of %zu commands", count);
    bool good = encode(trial, asks, count, &request) &&
                certify_send_bytes(trial, saga_buf_view(&request), what, &got, &got_count);
    saga_buf_fini(&request);
    if (!good) {
        return false;
    }
    if (got_count != count) {
        char text[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(&got[0], text);
        certify_fail(trial, "%zu replies came to %zu commands; the first: %s", got_count, count,
                     text);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        replies[i] = got[i];
        note_reply(trial->run, &asks[i], &got[i]);
    }
    return true;
}

bool certify_read_answer(struct certify_trial *trial, const struct certify_ask *ask,
                         struct saga_bytes answer, struct saga_reply *reply)
{
    struct saga_reply *got = NULL;
    size_t count = 0;
    if (!decode(trial, answer, &got, &count)) {
        return false;
    }
    if (count != 1) {
        certify_fail(trial, "%zu replies came to one command", count);
        return false;
    }
    *reply = got[0];
    note_reply(trial->run, ask, reply);
    return true;
}

static bool take_apart(struct certify_trial *trial, const struct certify_ask *asks,
                       struct saga_certify_message *messages, size_t count,
                       struct saga_reply *replies)
{
    for (size_t i = 0; i < count; i++) {
        if (!messages[i].answered) {
            certify_fail(trial, "message %zu of %zu that were sent at once was not answered", i + 1,
                         count);
            return false;
        }
        if (!certify_read_answer(trial, &asks[i], saga_buf_view(&messages[i].answer),
                                 &replies[i])) {
            return false;
        }
    }
    return true;
}

bool certify_send_apart(struct certify_trial *trial, const struct certify_ask *asks, size_t count,
                        struct saga_reply *replies)
{
    const struct saga_certify_config *config = trial->run->config;
    struct saga_certify_message messages[SAGA_CERTIFY_AT_ONCE_MAX] = {0};
    struct saga_buf requests[SAGA_CERTIFY_AT_ONCE_MAX] = {0};
    SAGA_ASSERT(count <= SAGA_CERTIFY_AT_ONCE_MAX);
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        good = encode(trial, &asks[i], 1, &requests[i]);
        messages[i].request = saga_buf_view(&requests[i]);
    }
    if (good) {
        config->port.exchange(config->port.context, messages, count, config->timeout_ms);
        good = take_apart(trial, asks, messages, count, replies);
    }
    for (size_t i = 0; i < count; i++) {
        saga_buf_fini(&requests[i]);
        saga_buf_fini(&messages[i].answer);
    }
    return good;
}

bool certify_send_once(struct certify_trial *trial, const struct certify_ask *ask,
                       struct saga_reply *reply)
{
    return certify_send_batch(trial, ask, 1, reply);
}

bool certify_send(struct certify_trial *trial, const struct certify_ask *ask,
                  struct saga_reply *reply)
{
    const struct saga_certify_port *port = &trial->run->config->port;
    struct certify_ask again = *ask;
    int64_t delay_ms = LATER_MS;
    int64_t end_ms = now_unix_ms(trial->run) + trial->run->config->timeout_ms;
    for (int i = 0; i < CERTIFY_TRIES_MAX; i++) {
        if (!certify_send_batch(trial, &again, 1, reply)) {
            return false;
        }
        /* Who is fenced off is so for ever. */
        if (saga_code_class(reply->status.code) != SAGA_CODE_CLASS_RETRY ||
            strcmp(reply->status.reason, "FENCED") == 0 || now_unix_ms(trial->run) >= end_ms) {
            break;
        }
        port->pause(port->context, delay_ms);
        delay_ms = delay_ms * 2 < LATER_MS_MAX ? delay_ms * 2 : LATER_MS_MAX;
        again.command.attempt++;
    }
    return true;
}

bool certify_alive(struct certify_run *run)
{
    const struct saga_certify_config *config = run->config;
    struct certify_trial trial = {.run = run, .judged = true};
    struct certify_ask ask =
        certify_ask_plain(&trial, "saga.v1.HealthService/Check", (struct saga_bytes){0});
    struct saga_buf request = {0};
    struct saga_certify_message message = {0};
    struct saga_reply *replies = NULL;
    size_t count = 0;
    bool good = encode(&trial, &ask, 1, &request);
    if (good) {
        message.request = saga_buf_view(&request);
        config->port.exchange(config->port.context, &message, 1, config->timeout_ms);
        good = message.answered &&
               decode(&trial, saga_buf_view(&message.answer), &replies, &count) && count == 1;
    }
    saga_buf_fini(&request);
    saga_buf_fini(&message.answer);
    saga_arena_fini(&trial.arena);
    return good;
}

/* ---- A scope's call and undo ---- */

bool certify_call_ok(struct certify_trial *trial, struct certify_scope *scope,
                     struct saga_reply *reply)
{
    char text[CERTIFY_REPLY_TEXT_SIZE];
    if (scope->step->call == NULL) {
        return true; /* the starter of the saga has done it */
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    if (!certify_send(trial, &ask, reply)) {
        return false;
    }
    if (reply->status.code == SAGA_CODE_OK) {
        return true;
    }
    certify_reply_text(reply, text);
    certify_skip(trial, "the call is not accepted: %s; give values that are (--values)", text);
    return false;
}

bool certify_undo_ok(struct certify_trial *trial, struct certify_scope *scope,
                     struct saga_reply *reply)
{
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_UNDO);
    return certify_send(trial, &ask, reply) &&
           certify_want_status(trial, "the undo", reply, SAGA_CODE_OK, NULL);
}
