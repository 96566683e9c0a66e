/* Going forward: calling what is ready, taking what calls came to. */
#include "orchestrator/engine/internal.h"

#include "common/base/assert.h"
#include "common/base/canary.h"

bool is_out(const struct saga_step_run *run)
{
    return run->wait == SAGA_WAIT_REPLY || run->wait == SAGA_WAIT_DURABLE ||
           run->wait == SAGA_WAIT_CHILD;
}

bool pivot_reached(const struct saga_definition *def, const struct saga *saga)
{
    for (uint32_t i = 0; i < def->step_count; i++) {
        const struct saga_step_run *run = &saga->steps[i];
        if (!def->steps[i].pivot) {
            continue;
        }
        if (run->state == SAGA_STEP_SUCCEEDED) {
            return !SAGA_BROKEN(S2_UNDO_AFTER_PIVOT);
        }
        /* S2: a pivot that has left may have happened; only a definitive answer tells. */
        return run->state == SAGA_STEP_CALLED && (run->maybe_effect || is_out(run)) &&
               !SAGA_BROKEN(S2_PIVOT_LEFT);
    }
    return false;
}

static bool retriable(const struct turn *turn, uint8_t step)
{
    return (turn->def->retriable_mask >> step & 1) != 0;
}

static bool is_done(const struct saga_step_run *run)
{
    return run->state == SAGA_STEP_SUCCEEDED || run->state == SAGA_STEP_SKIPPED;
}

/* Tells whether all predecessors are done. The indirect ones too: an operator may have skipped the
 * direct one before its turn. */
static bool is_ready(const struct turn *turn, uint8_t step)
{
    uint64_t before = turn->def->before_masks[step];
    for (uint8_t i = 0; i < turn->saga->step_count; i++) {
        if ((before >> i & 1) != 0 && !is_done(&turn->saga->steps[i])) {
            return false;
        }
    }
    return true;
}

/* Starts one step whose turn has come. */
static void begin_step(struct turn *turn, uint8_t step)
{
    const struct saga_step_def *def = &turn->def->steps[step];
    if (def->conditional && (turn->ev->when_mask >> step & 1) == 0) {
        move_step(turn, step, SAGA_STEP_SKIPPED);
    } else if (!def->has_call) {
        move_step(turn, step, SAGA_STEP_SUCCEEDED); /* done by the starter */
    } else {
        move_step(turn, step, SAGA_STEP_CALLED);
        send_command(turn, step, SAGA_OP_CALL);
    }
}

/* Begins every step whose turn has come. */
static void begin_steps(struct turn *turn)
{
    struct saga *saga = turn->saga;
    /* A step that is skipped or done at once may make others ready: at most step_count rounds. */
    bool again = true;
    for (uint32_t round = 0; again && round <= saga->step_count; round++) {
        again = false;
        for (uint8_t i = 0; i < saga->step_count; i++) {
            if (saga->steps[i].state == SAGA_STEP_WAITING && is_ready(turn, i)) {
                begin_step(turn, i);
                again = again || is_done(&saga->steps[i]);
            }
        }
    }
}

void advance_forward(struct turn *turn)
{
    struct saga *saga = turn->saga;
    if (saga->state != SAGA_STATE_RUNNING &&
        !(saga->state == SAGA_STATE_PARKED && SAGA_BROKEN(PARKED_BEGINS))) {
        return; /* PARKED begins nothing new */
    }
    if (!turn->ev->paused || SAGA_BROKEN(PAUSE_BEGINS)) {
        begin_steps(turn);
    }
    for (uint8_t i = 0; i < saga->step_count; i++) {
        if (!is_done(&saga->steps[i]) &&
            !(saga->steps[i].state == SAGA_STEP_CALLED && SAGA_BROKEN(S1_COMPLETES_EARLY))) {
            return;
        }
    }
    if (SAGA_BROKEN(S1_NEVER_ENDS)) {
        return;
    }
    saga->state = SAGA_STATE_COMPLETED; /* S1 */
    saga->ended_unix_ms = turn->ev->now_unix_ms;
    turn->up->ended = true;
    taken(turn);
}

void unpark(struct turn *turn)
{
    struct saga *saga = turn->saga;
    if (saga->state != SAGA_STATE_PARKED) {
        return;
    }
    for (uint8_t i = 0; i < saga->step_count; i++) {
        if (saga->steps[i].parked) {
            return;
        }
    }
    saga->state = saga->resume;
    saga->resume = SAGA_STATE_NONE;
    saga->cause = SAGA_CAUSE_NONE;
    saga->cause_step = SAGA_STEP_ALL;
    saga->cause_code = 0;
}

static void take_success(struct turn *turn, uint8_t step)
{
    move_step(turn, step, SAGA_STEP_SUCCEEDED);
    turn->saga->steps[step].maybe_effect = false;
    wait_nothing(turn, step);
    turn->up->merge_reply = true;
    unpark(turn);
    advance_forward(turn);
}

/* The attempt is over without a definitive answer. */
static void take_failure(struct turn *turn, uint8_t step, uint32_t code, bool left)
{
    const struct saga_step_def *def = &turn->def->steps[step];
    struct saga_step_run *run = &turn->saga->steps[step];
    if (left) {
        /* Even after "no effect, try later" a doubled copy of this attempt may still arrive
         * somewhere. */
        run->maybe_effect = true;
        run->failures += 1;
    }
    bool exhausted = run->failures >= def->call_attempts_max;
    if (exhausted && (!retriable(turn, step) || SAGA_BROKEN(S2_RETRIABLE_GIVEN_UP)) &&
        (!def->pivot || SAGA_BROKEN(S2_PIVOT_GUESSED))) {
        /* S5: the step counts as done for the undo; turn_back sees that it may have an effect. */
        wait_nothing(turn, step);
        turn_back(turn, SAGA_CAUSE_STEP, step, code);
        return;
    }
    /* S2: a pivot is resolved by retry; retriable steps are retried until they succeed. */
    wait_retry(turn, step, SAGA_OP_CALL,
               turn->ev->kind == SAGA_EVENT_REPLY ? turn->ev->retry_after_ms : 0,
               left ? 0 : NOT_SENT_DELAY_MS_MAX);
}

static void take_reject(struct turn *turn, uint8_t step, uint32_t code)
{
    struct saga_step_run *run = &turn->saga->steps[step];
    move_step(turn, step, SAGA_STEP_REJECTED);
    run->maybe_effect = false;
    wait_nothing(turn, step);
    turn_back(turn, SAGA_CAUSE_STEP, step, code);
}

static void take_park(struct turn *turn, uint8_t step, uint32_t code)
{
    struct saga *saga = turn->saga;
    struct saga_step_run *run = &saga->steps[step];
    /* Even a set-up that refuses to run a command may have let a doubled copy of it through. */
    run->maybe_effect = true;
    run->parked = true;
    wait_nothing(turn, step);
    if (saga->state == SAGA_STATE_RUNNING) {
        saga->state = SAGA_STATE_PARKED;
        saga->resume = SAGA_STATE_RUNNING;
        saga->cause = SAGA_CAUSE_STEP;
        saga->cause_step = step;
        saga->cause_code = (uint8_t)code;
        turn->up->cause_set = !SAGA_BROKEN(S1_PARKED_SILENTLY);
        turn->up->parked = true;
    }
    taken(turn);
}

void take_call_outcome(struct turn *turn, uint8_t step, uint32_t code, enum saga_code_class class)
{
    struct saga_step_run *run = &turn->saga->steps[step];
    SAGA_ASSERT(run->state == SAGA_STEP_CALLED);
    run->last_code = (uint8_t)code;
    bool is_reply = turn->ev->kind == SAGA_EVENT_REPLY;
    bool left = !(is_reply && turn->ev->not_sent);
    switch (class) {
    case SAGA_CODE_CLASS_SUCCESS:
        take_success(turn, step);
        break;
    case SAGA_CODE_CLASS_REJECT:
        if (retriable(turn, step)) {
            take_failure(turn, step, code, left);
        } else {
            take_reject(turn, step, code);
        }
        break;
    case SAGA_CODE_CLASS_RETRY:
    case SAGA_CODE_CLASS_UNKNOWN:
        take_failure(turn, step, code, left);
        break;
    case SAGA_CODE_CLASS_PARK:
        if (retriable(turn, step)) {
            take_failure(turn, step, code, left);
        } else {
            take_park(turn, step, code);
        }
        break;
    }
}
