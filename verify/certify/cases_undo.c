/* B2, B3, B4: undos. */
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

void certify_b2_undo_first(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    certify_sent(trial, "UNDO %s of a call that never came", trial->step->undo->full_name);
    if (!certify_undo_ok(trial, scope, &reply) || !certify_want_fresh(trial, "the undo", &reply)) {
        return;
    }
    if (!reply.empty) {
        certify_fail(trial, "the undo of a call that never came is not marked `empty`");
    }
}

void certify_b3_call_after(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_undo_ok(trial, scope, &reply)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    certify_sent(trial, "UNDO %s; then its CALL %s, twice", trial->step->undo->full_name,
                 ask.command.method);
    for (int i = 0; i < 2; i++) {
        if (!certify_send(trial, &ask, &reply) ||
            !certify_want_status(trial, "the call after its undo", &reply,
                                 SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE")) {
            return;
        }
    }
}

void certify_b3_batch(struct certify_trial *trial)
{
    struct saga_reply replies[2];
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    struct certify_ask asks[2] = {certify_ask(trial, scope, SAGA_OP_UNDO),
                                  certify_ask(trial, scope, SAGA_OP_CALL)};
    certify_sent(trial, "one batch: UNDO %s, then its CALL %s", asks[0].command.method,
                 asks[1].command.method);
    if (!certify_send_batch(trial, asks, 2, replies)) {
        return;
    }
    if (replies[0].status.code != SAGA_CODE_OK || !replies[0].empty) {
        return; /* the batch's commands are independent: the call may have come first */
    }
    (void)certify_want_status(trial, "the call after its undo", &replies[1],
                              SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE");
}

void certify_b3_late(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_call_ok(trial, scope, &first) ||
        !certify_undo_ok(trial, scope, &reply)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    certify_sent(trial, "CALL %s, UNDO %s, and the CALL once more", ask.command.method,
                 trial->step->undo->full_name);
    if (!certify_send(trial, &ask, &reply)) {
        return;
    }
    if (reply.status.code == SAGA_CODE_FAILED_PRECONDITION) {
        (void)certify_want_status(trial, "the late duplicate", &reply,
                                  SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE");
        return;
    }
    (void)certify_want_replay(trial, "the late duplicate", &first, &reply);
}

/* Calls and undoes; the first undo must be a real one. */
static struct certify_scope *undone(struct certify_trial *trial, struct saga_reply *first)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_call_ok(trial, scope, &reply) ||
        !certify_undo_ok(trial, scope, first)) {
        return NULL;
    }
    return scope;
}

void certify_b4_undo(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_err_detail detail = {{0}};
    const struct saga_method *undo = trial->step->undo;
    certify_sent(trial, "CALL, then UNDO %s", undo->full_name);
    if (undone(trial, &first) == NULL || !certify_want_fresh(trial, "the undo", &first)) {
        return;
    }
    if (first.empty) {
        certify_fail(trial, "the undo of a call that was done is marked `empty`");
    } else if (saga_message_check(undo->response, first.payload, &detail) != SAGA_ERR_OK) {
        certify_fail(trial, "the response is not a %s: %s", undo->response->name, detail.text);
    }
}

void certify_b4_twice(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply again;
    struct certify_scope *scope = undone(trial, &first);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_UNDO);
    certify_sent(trial, "UNDO %s, three times", ask.command.method);
    for (int i = 0; i < 2; i++) {
        if (!certify_send_once(trial, &ask, &again) ||
            !certify_want_replay(trial, "the second undo", &first, &again)) {
            return;
        }
    }
}

void certify_b4_empty(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply again;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_undo_ok(trial, scope, &first)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_UNDO);
    certify_sent(trial, "UNDO %s of a call that never came, twice", ask.command.method);
    if (certify_send_once(trial, &ask, &again)) {
        (void)certify_want_replay(trial, "the second undo", &first, &again);
    }
}

void certify_b4_cause(struct certify_trial *trial)
{
    struct saga_reply first;
    struct saga_reply again;
    struct certify_scope *scope = undone(trial, &first);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_UNDO);
    ask.command.attempt = 3;
    ask.command.epoch++;
    ask.command.cause_step = "";
    ask.command.cause_status =
        saga_status_make(SAGA_CODE_CANCELLED, "", "an operator has cancelled the saga");
    certify_sent(trial, "UNDO %s; again with another cause, attempt 3 and a newer epoch",
                 ask.command.method);
    if (certify_send_once(trial, &ask, &again)) {
        (void)certify_want_replay(trial, "the undo with another cause", &first, &again);
    }
}

void certify_b4_concurrent(struct certify_trial *trial)
{
    const struct saga_certify_config *config = trial->run->config;
    struct certify_ask asks[SAGA_CERTIFY_AT_ONCE_MAX];
    struct saga_reply replies[SAGA_CERTIFY_AT_ONCE_MAX];
    struct saga_reply called;
    certify_sent(trial, "CALL; then UNDO %s %zu times at once, %zu rounds",
                 trial->step->undo->full_name, config->at_once, config->rounds);
    for (size_t round = 0; round < config->rounds && !trial->judged; round++) {
        const struct saga_reply *said = NULL;
        size_t fresh = 0;
        struct certify_scope *scope = certify_scope_new(trial);
        if (scope == NULL || !certify_call_ok(trial, scope, &called)) {
            return;
        }
        for (size_t i = 0; i < config->at_once; i++) {
            asks[i] = certify_ask(trial, scope, SAGA_OP_UNDO);
        }
        if (!certify_send_apart(trial, asks, config->at_once, replies)) {
            return;
        }
        for (size_t i = 0; i < config->at_once; i++) {
            if (replies[i].status.code != SAGA_CODE_OK) {
                continue; /* tried again until it succeeds */
            }
            if (said != NULL && !certify_same(said, &replies[i])) {
                certify_fail(trial, "undos that were sent at once have two answers");
                return;
            }
            said = &replies[i];
            fresh += replies[i].replayed ? 0 : 1;
        }
        if (fresh > 1) {
            certify_fail(trial, "%zu of %zu undos that were sent at once are not replayed", fresh,
                         config->at_once);
        }
    }
}
