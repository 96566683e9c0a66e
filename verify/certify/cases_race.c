/* S4: a call and its undo on their way at once. Either the call was first, and is undone; or the
 * undo was, and the call is forbidden. */
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

/* What came of one round. */
struct race {
    size_t calls_fresh; /* done now */
    size_t undos_fresh;
    size_t undos_full; /* not `empty` */
    size_t undos_empty;
    const struct saga_reply *call; /* an answer OK */
};

static bool count(struct certify_trial *trial, const struct certify_ask *asks,
                  const struct saga_reply *replies, size_t total, struct race *race)
{
    for (size_t i = 0; i < total; i++) {
        const struct saga_reply *reply = &replies[i];
        if (reply->status.code != SAGA_CODE_OK) {
            continue;
        }
        if (asks[i].command.op == SAGA_OP_CALL) {
            if (race->call != NULL && !certify_same(race->call, reply)) {
                certify_fail(trial, "calls that were sent at once have two answers");
                return false;
            }
            race->call = reply;
            race->calls_fresh += reply->replayed ? 0 : 1;
        } else {
            race->undos_fresh += reply->replayed ? 0 : 1;
            race->undos_full += reply->empty ? 0 : 1;
            race->undos_empty += reply->empty ? 1 : 0;
        }
    }
    return true;
}

static bool judge(struct certify_trial *trial, const struct race *race)
{
    if (race->calls_fresh > 1 || race->undos_fresh > 1) {
        certify_fail(trial, "%zu calls and %zu undos of one step were done; at most one of each",
                     race->calls_fresh, race->undos_fresh);
    } else if (race->undos_full > 0 && race->undos_empty > 0) {
        certify_fail(trial, "undos of one step disagree whether there was something to undo");
    } else if (race->undos_empty > 0 && race->calls_fresh > 0) {
        certify_fail(trial, "the undo found nothing (`empty`), and the call was done all the same: "
                            "its effect stays for ever");
    } else if (race->undos_full > 0 && race->call == NULL) {
        certify_fail(trial, "the undo undid something (not `empty`), but no call was answered OK");
    }
    return !trial->judged;
}

/* After the race: the undo stands, and the call never runs again. */
static bool settled(struct certify_trial *trial, struct certify_scope *scope,
                    const struct race *race)
{
    struct saga_reply undo;
    struct saga_reply call;
    if (!certify_undo_ok(trial, scope, &undo)) {
        return false;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    if (!certify_send(trial, &ask, &call)) {
        return false;
    }
    if (call.status.code == SAGA_CODE_OK && !call.replayed) {
        certify_fail(trial, "the call was done after its undo had been answered OK");
        return false;
    }
    if (race->call == NULL) {
        /* It may have been answered with a no of its own before the undo came. */
        return saga_code_class(call.status.code) == SAGA_CODE_CLASS_REJECT ||
               certify_want_status(trial, "the call after the race", &call,
                                   SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE");
    }
    return true;
}

void certify_race(struct certify_trial *trial)
{
    const struct saga_certify_config *config = trial->run->config;
    struct certify_ask asks[SAGA_CERTIFY_AT_ONCE_MAX];
    struct saga_reply replies[SAGA_CERTIFY_AT_ONCE_MAX];
    certify_sent(trial, "CALL %s and UNDO %s at once, %zu messages, %zu rounds",
                 trial->step->call->full_name, trial->step->undo->full_name, config->at_once,
                 config->rounds);
    for (size_t round = 0; round < config->rounds && !trial->judged; round++) {
        struct race race = {0};
        struct certify_scope *scope = certify_scope_new(trial);
        if (scope == NULL) {
            return;
        }
        for (size_t i = 0; i < config->at_once; i++) {
            /* Each round another order. */
            bool undo = (i + round) % 2 == 1;
            asks[i] = certify_ask(trial, scope, undo ? SAGA_OP_UNDO : SAGA_OP_CALL);
        }
        if (!certify_send_apart(trial, asks, config->at_once, replies) ||
            !count(trial, asks, replies, config->at_once, &race) || !judge(trial, &race) ||
            !settled(trial, scope, &race)) {
            return;
        }
    }
}
