/* B5, and what belongs to a key: saga, step, op, and nothing else. */
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

void certify_key_step(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_call_ok(trial, scope, &reply)) {
        return;
    }
    struct certify_scope *other = certify_scope_beside(trial, scope, "certify-other");
    if (other == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, other, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s as two steps of one saga, with values of their own",
                 ask.command.method);
    if (certify_send(trial, &ask, &reply) && certify_want_fresh(trial, "the other step", &reply)) {
        (void)certify_want_status(trial, "the other step", &reply, SAGA_CODE_OK, NULL);
    }
}

void certify_key_saga(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_call_ok(trial, scope, &reply)) {
        return;
    }
    struct certify_scope *other = certify_scope_new(trial);
    if (other == NULL) {
        return;
    }
    /* Ids that are alike in front: a key that is cut would find them the same. */
    other->saga = scope->saga;
    other->saga.b[SAGA_ID_SIZE - 1] ^= 1u;
    struct certify_ask ask = certify_ask(trial, other, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s in two sagas whose ids differ in the last bit",
                 ask.command.method);
    if (certify_send(trial, &ask, &reply) && certify_want_fresh(trial, "the other saga", &reply)) {
        (void)certify_want_status(trial, "the other saga", &reply, SAGA_CODE_OK, NULL);
    }
}

/* Makes another request of the same method: fresh values where there are placeholders, else a
 * field that nobody knows. */
static bool other_payload(struct certify_trial *trial, const struct certify_scope *scope,
                          bool of_call, struct saga_bytes *out)
{
    static const uint8_t unknown_field[] = {0xf8, 0xff, 0xff, 0xff, 0x0f, 0x01};
    struct certify_scope *other = certify_scope_beside(trial, scope, scope->step_name);
    if (other == NULL) {
        return false;
    }
    struct saga_bytes mine = of_call ? scope->call : scope->undo;
    *out = of_call ? other->call : other->undo;
    if (!saga_bytes_equal(mine, *out)) {
        return true;
    }
    struct saga_buf buf = {0};
    struct saga_bytes tail = {unknown_field, sizeof unknown_field};
    enum saga_err err = saga_buf_append(&buf, mine);
    if (err == SAGA_ERR_OK) {
        err = saga_buf_append(&buf, tail);
    }
    *out = certify_keep(trial, saga_buf_view(&buf));
    saga_buf_fini(&buf);
    return err == SAGA_ERR_OK && !trial->judged;
}

void certify_b5_call(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_call_ok(trial, scope, &first)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    struct certify_ask same = ask;
    certify_sent(trial, "CALL %s; the same key with other values; the first again",
                 ask.command.method);
    if (!other_payload(trial, scope, true, &ask.command.payload) ||
        !certify_send(trial, &ask, &reply) ||
        !certify_want_status(trial, "the key with other values", &reply, SAGA_CODE_INVALID_ARGUMENT,
                             "KEY_REUSED") ||
        !certify_send(trial, &same, &reply)) {
        return;
    }
    (void)certify_want_replay(trial, "the first call, again", &first, &reply);
}

void certify_b5_undo(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_call_ok(trial, scope, &first) ||
        !certify_undo_ok(trial, scope, &first)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_UNDO);
    certify_sent(trial, "UNDO %s; the same key with other values", ask.command.method);
    if (other_payload(trial, scope, false, &ask.command.payload) &&
        certify_send(trial, &ask, &reply)) {
        (void)certify_want_status(trial, "the key with other values", &reply,
                                  SAGA_CODE_INVALID_ARGUMENT, "KEY_REUSED");
    }
}

/* Finds another method of the participant that can read the same payload. */
static const struct saga_method *other_method(const struct certify_trial *trial,
                                              struct saga_bytes payload)
{
    const struct saga_certify_steps *steps = trial->run->config->steps;
    for (size_t i = 0; i < steps->count * 2; i++) {
        const struct saga_certify_step *step = &steps->list[i / 2];
        const struct saga_method *method = i % 2 == 0 ? step->undo : step->call;
        struct saga_err_detail detail = {{0}};
        if (method != NULL && method != trial->step->call && !method->no_side_effects &&
            saga_message_check(method->request, payload, &detail) == SAGA_ERR_OK) {
            return method;
        }
    }
    return NULL;
}

void certify_b5_method(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    const struct saga_method *method = other_method(trial, scope->call);
    if (method == NULL) {
        certify_skip(trial, "no other method can read the same request");
        return;
    }
    if (!certify_call_ok(trial, scope, &reply)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s; the same key and bytes to %s", ask.command.method,
                 method->full_name);
    ask.command.method = method->full_name;
    if (certify_send(trial, &ask, &reply)) {
        (void)certify_want_status(trial, "the key with another method", &reply,
                                  SAGA_CODE_INVALID_ARGUMENT, "KEY_REUSED");
    }
}

/* ---- S8 ---- */

static bool fenced(struct certify_trial *trial, const char *what, const struct saga_reply *reply)
{
    if (!certify_want_status(trial, what, reply, SAGA_CODE_ABORTED, NULL)) {
        return false;
    }
    if (reply->replayed) {
        certify_fail(trial, "%s is marked as replayed", what);
        return false;
    }
    return true;
}

void certify_fence(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    ask.command.epoch = 5;
    if (!certify_send(trial, &ask, &reply)) {
        return;
    }
    if (reply.status.code != SAGA_CODE_OK) {
        certify_skip(trial, "the call is not accepted (--values)");
        return;
    }
    struct certify_scope *other = certify_scope_beside(trial, scope, "certify-other");
    if (other == NULL) {
        return;
    }
    struct certify_ask stale = certify_ask(trial, other, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s with epoch 5; another step of the saga with epoch 4, then 5",
                 ask.command.method);
    stale.command.epoch = 4;
    if (!certify_send_once(trial, &stale, &reply) ||
        !fenced(trial, "the call of an older epoch", &reply)) {
        return;
    }
    stale.command.epoch = 5;
    if (certify_send(trial, &stale, &reply)) {
        (void)certify_want_fresh(trial, "the same call with the right epoch", &reply);
    }
}

void certify_fence_replay(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_call_ok(trial, scope, &first)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s with epoch 1, a duplicate with epoch 7, one with epoch 6",
                 ask.command.method);
    ask.command.epoch = 7;
    if (!certify_send(trial, &ask, &reply) ||
        !certify_want_replay(trial, "the duplicate of a newer epoch", &first, &reply)) {
        return;
    }
    ask.command.epoch = 6;
    if (certify_send_once(trial, &ask, &reply)) {
        (void)fenced(trial, "the duplicate of an epoch between", &reply);
    }
}
