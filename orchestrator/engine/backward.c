/* Going back: undoing in reverse dependency order. */
#include "orchestrator/engine/internal.h"

#include "common/base/assert.h"
#include "common/base/canary.h"

bool needs_undo(const struct saga_definition *def, const struct saga *saga, uint8_t step)
{
    uint8_t state = saga->steps[step].state;
    return def->steps[step].has_undo &&
           (state == SAGA_STEP_SUCCEEDED ||
            (state == SAGA_STEP_UNKNOWN && !SAGA_BROKEN(S5_FORGETS_UNKNOWN))) &&
           !(saga->cause == SAGA_CAUSE_CANCEL && SAGA_BROKEN(S11_KILL));
}

/* Gives up a step that has not succeeded. */
static void abandon_step(struct turn *turn, uint8_t step)
{
    struct saga_step_run *run = &turn->saga->steps[step];
    if (run->state == SAGA_STEP_WAITING) {
        /* S5: what the starter does itself was done before the saga began, whether its turn here
         * has come or not. */
        bool done = !turn->def->steps[step].has_call;
        move_step(turn, step, done ? SAGA_STEP_SUCCEEDED : SAGA_STEP_SKIPPED);
    } else if (run->state == SAGA_STEP_CALLED) {
        /* S4, S5: what is on its way may have an effect; its undo may overtake it, and then forbids
         * it. */
        bool left = (run->maybe_effect || is_out(run)) && !SAGA_BROKEN(S4_OUT_SKIPPED);
        move_step(turn, step, left ? SAGA_STEP_UNKNOWN : SAGA_STEP_SKIPPED);
        wait_nothing(turn, step);
    }
}

void turn_back(struct turn *turn, enum saga_cause cause, uint8_t cause_step, uint32_t cause_code)
{
    struct saga *saga = turn->saga;
    SAGA_ASSERT(saga->state == SAGA_STATE_RUNNING || saga->state == SAGA_STATE_PARKED ||
                saga->state == SAGA_STATE_COMPLETED);
    SAGA_ASSERT(!pivot_reached(turn->def, saga) || SAGA_MUTED()); /* S2 */
    saga->ended_unix_ms = 0;
    saga->state = SAGA_STATE_COMPENSATING;
    saga->resume = SAGA_STATE_NONE;
    saga->cause = (uint8_t)cause;
    saga->cause_step = cause_step;
    saga->cause_code = (uint8_t)cause_code;
    turn->up->cause_set = true;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        abandon_step(turn, i);
    }
    taken(turn);
    advance_backward(turn);
}

/* S5: a step is undone only when nothing behind it is left to be undone. */
static bool can_undo(const struct turn *turn, uint8_t step)
{
    if (!needs_undo(turn->def, turn->saga, step)) {
        return false;
    }
    for (uint8_t i = 0; i < turn->saga->step_count; i++) {
        bool behind = (turn->def->behind_masks[step] >> i & 1) != 0;
        if (behind &&
            (needs_undo(turn->def, turn->saga, i) ||
             turn->saga->steps[i].state == SAGA_STEP_UNDOING) &&
            !SAGA_BROKEN(S5_ORDER)) {
            return false;
        }
    }
    return true;
}

void advance_backward(struct turn *turn)
{
    struct saga *saga = turn->saga;
    SAGA_ASSERT(saga->state == SAGA_STATE_COMPENSATING);
    bool left = false;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        if (can_undo(turn, i)) {
            saga->steps[i].failures = 0;
            move_step(turn, i, SAGA_STEP_UNDOING);
            send_command(turn, i, SAGA_OP_UNDO);
        }
    }
    for (uint8_t i = 0; i < saga->step_count; i++) {
        left = left || needs_undo(turn->def, saga, i) || saga->steps[i].state == SAGA_STEP_UNDOING;
    }
    if ((!left && !SAGA_BROKEN(S1_NEVER_ENDS)) || (left && SAGA_BROKEN(S1_ENDS_EARLY))) {
        saga->state = SAGA_STATE_COMPENSATED; /* S1 */
        saga->ended_unix_ms = turn->ev->now_unix_ms;
        turn->up->ended = true;
        taken(turn);
    }
}

void take_undo_outcome(struct turn *turn, uint8_t step, uint32_t code)
{
    struct saga_step_run *run = &turn->saga->steps[step];
    SAGA_ASSERT(run->state == SAGA_STEP_UNDOING);
    run->last_code = (uint8_t)code;
    if (code == SAGA_CODE_OK || (run->failures + 1 >= turn->def->steps[step].undo_attempts_max &&
                                 SAGA_BROKEN(S5_UNDO_GIVEN_UP))) {
        move_step(turn, step, SAGA_STEP_UNDONE);
        wait_nothing(turn, step);
        advance_backward(turn);
        return;
    }
    /* An undo never ends in failure: whatever the answer, it is tried again; a person is told
     * (stalled). */
    bool left = !(turn->ev->kind == SAGA_EVENT_REPLY && turn->ev->not_sent);
    run->failures += left ? 1 : 0;
    wait_retry(turn, step, SAGA_OP_UNDO,
               turn->ev->kind == SAGA_EVENT_REPLY ? turn->ev->retry_after_ms : 0,
               left ? 0 : NOT_SENT_DELAY_MS_MAX);
}
