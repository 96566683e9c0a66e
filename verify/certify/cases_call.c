/* B1 and B6: what a call's reply is, and that it stays the same. */
#include <stdio.h>
#include <string.h>

#include "common/wire/json/json.h"
#include "verify/certify/internal.h"

/* Tells whether a status is an answer that a barrier stores. */
static bool definitive(const struct saga_reply *reply)
{
    enum saga_code_class class = saga_code_class(reply->status.code);
    return class == SAGA_CODE_CLASS_SUCCESS || class == SAGA_CODE_CLASS_REJECT;
}

/* Sends a fresh call whose answer is definitive; else the trial is skipped. */
static struct certify_scope *called(struct certify_trial *trial, struct saga_reply *first)
{
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return NULL;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    if (!certify_send(trial, &ask, first)) {
        return NULL;
    }
    if (!definitive(first)) {
        char text[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(first, text);
        certify_skip(trial, "the call has no definitive answer: %s", text);
        return NULL;
    }
    return scope;
}

/* Tells whether a payload is a message of the method's response. */
static bool fits(struct certify_trial *trial, const struct saga_method *method,
                 const struct saga_reply *reply)
{
    struct saga_err_detail detail = {{0}};
    if (reply->status.code != SAGA_CODE_OK) {
        return true;
    }
    if (saga_message_check(method->response, reply->payload, &detail) != SAGA_ERR_OK) {
        certify_fail(trial, "the response is not a %s: %s", method->response->name, detail.text);
        return false;
    }
    return true;
}

static void answer(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s", ask.command.method);
    if (!certify_send(trial, &ask, &reply)) {
        return;
    }
    if (!definitive(&reply) && saga_code_class(reply.status.code) != SAGA_CODE_CLASS_RETRY) {
        (void)certify_want_status(trial, "a call with good values", &reply, SAGA_CODE_OK, NULL);
        return;
    }
    if (!certify_want_fresh(trial, "a first call", &reply) ||
        !fits(trial, trial->step->call, &reply)) {
        return;
    }
    if (reply.status.code != SAGA_CODE_OK) {
        char text[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(&reply, text);
        certify_skip(trial, "the call is not accepted: %s; give values that are (--values)", text);
    }
}

void certify_b1_answer(struct certify_trial *trial)
{
    answer(trial);
}

void certify_read(struct certify_trial *trial)
{
    answer(trial);
}

void certify_b1_duplicate(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply again;
    struct certify_scope *scope = called(trial, &first);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s, then the same bytes twice more", ask.command.method);
    for (int i = 0; i < 2; i++) {
        if (!certify_send_once(trial, &ask, &again) ||
            !certify_want_replay(trial, "the duplicate", &first, &again)) {
            return;
        }
    }
}

void certify_b1_attempt(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply again;
    struct certify_scope *scope = called(trial, &first);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    ask.command.attempt = 7;
    ask.command.epoch++;
    ask.command.deadline_unix_ms += 1000;
    ask.command.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    certify_sent(trial, "CALL %s; again with attempt 7, a newer epoch, another deadline and trace",
                 ask.command.method);
    if (certify_send_once(trial, &ask, &again)) {
        (void)certify_want_replay(trial, "the later attempt", &first, &again);
    }
}

/* Judges replies to one key that was sent many times: one of them did it, all say the same. */
static bool judge_many(struct certify_trial *trial, const struct saga_reply *replies, size_t count,
                       size_t *fresh, const struct saga_reply **said)
{
    for (size_t i = 0; i < count; i++) {
        const struct saga_reply *reply = &replies[i];
        if (!definitive(reply)) {
            continue; /* "later" is allowed: another one is at it */
        }
        if (*said != NULL && !certify_same(*said, reply)) {
            char one[CERTIFY_REPLY_TEXT_SIZE];
            char two[CERTIFY_REPLY_TEXT_SIZE];
            certify_reply_text(*said, one);
            certify_reply_text(reply, two);
            certify_fail(trial, "one key has two answers: %s; and: %s", one, two);
            return false;
        }
        *said = *said == NULL ? reply : *said;
        *fresh += reply->replayed ? 0 : 1;
    }
    if (*fresh > 1) {
        certify_fail(trial, "%zu of %zu answers to one key are not replayed: it was done %zu times",
                     *fresh, count, *fresh);
        return false;
    }
    return true;
}

void certify_b1_batch(struct certify_trial *trial)
{
    enum { COUNT = 4 };
    struct certify_ask asks[COUNT];
    struct saga_reply replies[COUNT];
    const struct saga_reply *said = NULL;
    size_t fresh = 0;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    for (size_t i = 0; i < COUNT; i++) {
        asks[i] = certify_ask(trial, scope, SAGA_OP_CALL);
    }
    certify_sent(trial, "one batch with the same CALL %s four times", asks[0].command.method);
    if (certify_send_batch(trial, asks, COUNT, replies)) {
        (void)judge_many(trial, replies, COUNT, &fresh, &said);
    }
}

void certify_b1_concurrent(struct certify_trial *trial)
{
    const struct saga_certify_config *config = trial->run->config;
    struct certify_ask asks[SAGA_CERTIFY_AT_ONCE_MAX];
    struct saga_reply replies[SAGA_CERTIFY_AT_ONCE_MAX];
    struct saga_reply last;
    certify_sent(trial, "CALL %s, %zu times at once, %zu rounds", trial->step->call->full_name,
                 config->at_once, config->rounds);
    for (size_t round = 0; round < config->rounds && !trial->judged; round++) {
        const struct saga_reply *said = NULL;
        size_t fresh = 0;
        struct certify_scope *scope = certify_scope_new(trial);
        if (scope == NULL) {
            return;
        }
        for (size_t i = 0; i < config->at_once; i++) {
            asks[i] = certify_ask(trial, scope, SAGA_OP_CALL);
            asks[i].command.attempt = (uint32_t)(i + 1);
        }
        if (!certify_send_apart(trial, asks, config->at_once, replies) ||
            !judge_many(trial, replies, config->at_once, &fresh, &said) ||
            !certify_send(trial, &asks[0], &last)) {
            return;
        }
        if (said != NULL && !certify_want_replay(trial, "a duplicate afterwards", said, &last)) {
            return;
        }
    }
}

/* ---- B6 ---- */

struct certify_scope *certify_scope_refused(struct certify_trial *trial)
{
    const struct saga_certify_values *values = trial->run->config->values;
    const char *method = trial->step->call->full_name;
    bool empty = certify_values_find(values, method, CERTIFY_EXPECT_NO, 0) == NULL;
    if (empty && certify_values_given(values, method)) {
        certify_skip(trial,
                     "no request that is refused: give one with \"$expect\": \"no\" (--values)");
        return NULL;
    }
    /* Without a better one: an empty request. */
    certify_sent(trial, "CALL %s with %s", method, empty ? "an empty request" : "refused values");
    return certify_scope_for(trial, CERTIFY_EXPECT_NO);
}

bool certify_call_refused(struct certify_trial *trial, struct certify_scope *scope,
                          struct saga_reply *reply)
{
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    if (!certify_send(trial, &ask, reply)) {
        return false;
    }
    if (saga_code_class(reply->status.code) != SAGA_CODE_CLASS_REJECT) {
        char text[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(reply, text);
        certify_skip(trial,
                     "no definitive no, but %s: give a request with \"$expect\": \"no\" (--values)",
                     text);
        return false;
    }
    return true;
}

void certify_b6_no(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply again;
    struct certify_scope *scope = certify_scope_refused(trial);
    if (scope == NULL || !certify_call_refused(trial, scope, &first)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    if (certify_send_once(trial, &ask, &again)) {
        (void)certify_want_replay(trial, "the refused call, again", &first, &again);
    }
}

void certify_b6_undo(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply undone;
    struct certify_scope *scope = certify_scope_refused(trial);
    if (scope == NULL || !certify_call_refused(trial, scope, &first) ||
        !certify_undo_ok(trial, scope, &undone)) {
        return;
    }
    if (!undone.empty) {
        certify_fail(trial, "the undo of a call that was refused is not `empty`");
    }
}

void certify_b6_retry(struct certify_trial *trial)
{
    struct saga_reply reply;
    const struct saga_certify_values *values = trial->run->config->values;
    certify_sent(trial, "every CALL of this run");
    if (certify_values_find(values, trial->step->call->full_name, CERTIFY_EXPECT_RETRY, 0) !=
        NULL) {
        struct certify_scope *scope = certify_scope_for(trial, CERTIFY_EXPECT_RETRY);
        for (int i = 0; scope != NULL && i < 2; i++) {
            struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
            if (!certify_send_once(trial, &ask, &reply)) {
                return;
            }
        }
    }
    if (trial->run->retry_replayed) {
        certify_fail(trial, "a refusal that means \"later\" was replayed: it had been stored");
    } else if (!trial->run->retry_seen) {
        certify_skip(trial, "no call was answered RESOURCE_EXHAUSTED, ABORTED or UNAVAILABLE; a "
                            "request with \"$expect\": \"retry\" would be (--values)");
    }
}
