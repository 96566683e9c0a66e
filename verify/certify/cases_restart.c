/* What a participant remembers when it has been killed. Each case sends before the restart, and
 * asks again after it; all cases share one restart. */
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

/* Keeps a reply for later; its texts and bytes live in the trial's arena. */
static void keep(struct certify_trial *trial, struct certify_scope *scope, size_t at,
                 const struct saga_reply *reply)
{
    trial->kept_scope = scope;
    trial->kept[at] = *reply;
}

static void again(struct certify_trial *trial, enum saga_op op, const char *what, size_t at)
{
    struct saga_reply reply;
    struct certify_ask ask = certify_ask(trial, trial->kept_scope, op);
    if (certify_send(trial, &ask, &reply)) {
        (void)certify_want_replay(trial, what, &trial->kept[at], &reply);
    }
}

void certify_restart_call(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    certify_sent(trial, "CALL %s; restart; the same again", trial->step->call->full_name);
    if (scope != NULL && certify_call_ok(trial, scope, &reply)) {
        keep(trial, scope, 0, &reply);
    }
}

void certify_restart_call_after(struct certify_trial *trial)
{
    again(trial, SAGA_OP_CALL, "the duplicate after the restart", 0);
}

void certify_restart_no(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_refused(trial);
    certify_sent(trial, "CALL %s with refused values; restart; the same again",
                 trial->step->call->full_name);
    if (scope != NULL && certify_call_refused(trial, scope, &reply)) {
        keep(trial, scope, 0, &reply);
    }
}

void certify_restart_no_after(struct certify_trial *trial)
{
    again(trial, SAGA_OP_CALL, "the refused call after the restart", 0);
}

void certify_restart_undo(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    certify_sent(trial, "CALL, UNDO %s; restart; the UNDO again", trial->step->undo->full_name);
    if (scope != NULL && certify_call_ok(trial, scope, &reply) &&
        certify_undo_ok(trial, scope, &reply)) {
        keep(trial, scope, 0, &reply);
    }
}

void certify_restart_undo_after(struct certify_trial *trial)
{
    again(trial, SAGA_OP_UNDO, "the undo after the restart", 0);
}

void certify_restart_forbidden(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    certify_sent(trial, "UNDO %s of a call that never came; restart; the CALL",
                 trial->step->undo->full_name);
    if (scope != NULL && certify_undo_ok(trial, scope, &reply)) {
        keep(trial, scope, 0, &reply);
    }
}

void certify_restart_forbidden_after(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_ask ask = certify_ask(trial, trial->kept_scope, SAGA_OP_CALL);
    if (certify_send(trial, &ask, &reply)) {
        (void)certify_want_status(trial, "the call after the restart", &reply,
                                  SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE");
    }
}
