/* What an operator does to a saga (S11, S12). */
#include "orchestrator/engine/internal.h"

#include "common/base/canary.h"

static void refuse(struct turn *turn, const char *why)
{
    turn->up->verdict = SAGA_VERDICT_REFUSED;
    turn->up->refusal = why;
}

/* Tells whether a step's command is not out: then an operator may decide about it. */
static bool is_held(const struct saga_step_run *run)
{
    return run->parked || run->wait == SAGA_WAIT_RETRY;
}

static void retry_steps(struct turn *turn)
{
    struct saga *saga = turn->saga;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        struct saga_step_run *run = &saga->steps[i];
        bool meant = turn->ev->step == SAGA_STEP_ALL || turn->ev->step == i;
        if (meant && is_held(run)) {
            run->failures = 0;
            run->stalled = false;
            send_command(turn, i, run->state == SAGA_STEP_CALLED ? SAGA_OP_CALL : SAGA_OP_UNDO);
        }
    }
    if (turn->up->send_count == 0) {
        refuse(turn, "no step waits to be tried again");
        return;
    }
    unpark(turn);
}

static void cancel(struct turn *turn, enum saga_cause cause)
{
    if (turn->saga->state == SAGA_STATE_COMPENSATING) {
        refuse(turn, "the saga is being compensated already");
    } else if (pivot_reached(turn->def, turn->saga) && !SAGA_BROKEN(S11_AFTER_PIVOT)) {
        refuse(turn, "the pivot has happened or may have happened: the saga can only go forward "
                     "(if a parked pivot "
                     "has certainly not happened, compensate naming it as the step)");
    } else {
        turn_back(turn, cause, SAGA_STEP_ALL, SAGA_CODE_CANCELLED);
    }
}

/* S2: a parked pivot may have happened; with its name, the operator says that it has not. */
static void compensate(struct turn *turn)
{
    uint8_t step = turn->ev->step;
    if (turn->saga->state != SAGA_STATE_PARKED) {
        refuse(turn, "only a parked saga is compensated by an operator; cancel a running one");
        return;
    }
    if (step < turn->saga->step_count && turn->def->steps[step].pivot &&
        turn->saga->steps[step].parked) {
        move_step(turn, step, SAGA_STEP_REJECTED);
        turn->saga->steps[step].maybe_effect = false;
    }
    cancel(turn, SAGA_CAUSE_OPERATOR);
}

static void skip_step(struct turn *turn, uint8_t step)
{
    struct saga_step_run *run = &turn->saga->steps[step];
    if (turn->def->steps[step].pivot) {
        refuse(turn, "the pivot cannot be skipped; resolve it if it has happened, or cancel");
    } else if (!turn->def->steps[step].has_call) {
        /* S5: it has been done. */
        refuse(turn, "the step was done by whoever started the saga; cancel undoes it");
    } else if (run->state == SAGA_STEP_CALLED && run->maybe_effect &&
               !SAGA_BROKEN(S5_SKIP_FORGETS)) {
        /* S5: a skipped step is not undone. */
        refuse(turn, "the step's call may have had an effect: retry it, resolve it if it has "
                     "happened, or cancel");
    } else if (run->state == SAGA_STEP_WAITING ||
               (run->state == SAGA_STEP_CALLED && is_held(run))) {
        move_step(turn, step, SAGA_STEP_SKIPPED);
        wait_nothing(turn, step);
        unpark(turn);
        advance_forward(turn);
    } else {
        refuse(turn, "only a step that waits, or whose call has never left, can be skipped");
    }
}

static void resolve_step(struct turn *turn, uint8_t step)
{
    struct saga_step_run *run = &turn->saga->steps[step];
    if (run->state == SAGA_STEP_CALLED && (is_held(run) || SAGA_BROKEN(S3_RESOLVED_WHILE_OUT))) {
        move_step(turn, step, SAGA_STEP_SUCCEEDED);
        run->maybe_effect = false;
        wait_nothing(turn, step);
        unpark(turn);
        advance_forward(turn);
    } else if (run->state == SAGA_STEP_UNDOING && is_held(run)) {
        move_step(turn, step, SAGA_STEP_UNDONE);
        wait_nothing(turn, step);
        advance_backward(turn);
    } else {
        refuse(turn,
               "only a step whose command is parked or waits to be tried again can be resolved");
    }
}

/* The saga's definition goes on. */
static void resume(struct turn *turn)
{
    advance_forward(turn);
    if (turn->up->verdict != SAGA_VERDICT_TAKEN) {
        refuse(turn, "no step was held");
    }
}

void take_operator(struct turn *turn)
{
    const struct saga_event *ev = turn->ev;
    if (saga_ended(turn->saga)) {
        refuse(turn, "the saga has ended");
        return;
    }
    bool one_step = ev->step < turn->saga->step_count;
    switch (ev->act) {
    case SAGA_ACT_RETRY:
        retry_steps(turn);
        break;
    case SAGA_ACT_CANCEL:
        cancel(turn, SAGA_CAUSE_CANCEL);
        break;
    case SAGA_ACT_COMPENSATE:
        compensate(turn);
        break;
    case SAGA_ACT_PAUSE:
    case SAGA_ACT_APPLY:
    case SAGA_ACT_REMOVE:
        refuse(turn, "a definition is paused, applied and removed, not a saga");
        break;
    case SAGA_ACT_RESUME:
        resume(turn);
        break;
    case SAGA_ACT_SKIP:
    case SAGA_ACT_RESOLVE:
        if (!one_step) {
            refuse(turn, "this act needs a step");
        } else if (ev->act == SAGA_ACT_SKIP) {
            skip_step(turn, ev->step);
        } else {
            resolve_step(turn, ev->step);
        }
        break;
    }
}
