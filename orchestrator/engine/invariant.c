/* What must hold of a saga after every event, whatever happened. */
#include "orchestrator/engine/internal.h"

#include <stddef.h>

#include "common/base/canary.h"

static const char *check_step_alone(const struct saga_step_run *run)
{
    if (run->state < SAGA_STEP_WAITING || run->state > SAGA_STEP_SKIPPED) {
        return "a step has no valid state";
    }
    if (run->wait > SAGA_WAIT_CHILD) {
        return "a step has no valid wait";
    }
    bool commanded = run->state == SAGA_STEP_CALLED || run->state == SAGA_STEP_UNDOING;
    if (commanded != (run->wait != SAGA_WAIT_NONE || run->parked)) {
        return "a step waits exactly while it is CALLED or UNDOING and not parked";
    }
    bool timed = run->wait == SAGA_WAIT_REPLY || run->wait == SAGA_WAIT_RETRY;
    if (timed != (run->due_unix_ms != 0)) {
        return "a step has a due time exactly while it waits for a reply or a retry";
    }
    return NULL;
}

static bool is_one_of(uint8_t state, unsigned mask)
{
    return (mask >> state & 1U) != 0;
}

#define IS(state) (1U << SAGA_STEP_##state)

/* Which states steps may have while the saga is in a state. */
static const unsigned step_states[] = {
    [SAGA_STATE_NONE] = 0,
    [SAGA_STATE_RUNNING] = IS(WAITING) | IS(CALLED) | IS(SUCCEEDED) | IS(SKIPPED),
    [SAGA_STATE_COMPENSATING] =
        IS(SUCCEEDED) | IS(REJECTED) | IS(UNKNOWN) | IS(UNDOING) | IS(UNDONE) | IS(SKIPPED),
    [SAGA_STATE_COMPLETED] = IS(SUCCEEDED) | IS(SKIPPED),
    [SAGA_STATE_COMPENSATED] =
        IS(SUCCEEDED) | IS(REJECTED) | IS(UNKNOWN) | IS(UNDONE) | IS(SKIPPED),
    [SAGA_STATE_PARKED] = IS(WAITING) | IS(CALLED) | IS(SUCCEEDED) | IS(SKIPPED),
};

static const char *check_back(const struct saga_definition *def, const struct saga *saga, uint8_t i)
{
    const struct saga_step_run *run = &saga->steps[i];
    if (def->steps[i].pivot &&
        (run->state == SAGA_STEP_SUCCEEDED || run->state == SAGA_STEP_UNKNOWN)) {
        return "S2: a saga goes back only if its pivot has not happened for certain";
    }
    if (run->state != SAGA_STEP_UNDOING && run->state != SAGA_STEP_UNDONE) {
        return NULL;
    }
    for (uint8_t j = 0; j < saga->step_count; j++) {
        bool behind = (def->behind_masks[i] >> j & 1) != 0;
        if (behind && (needs_undo(def, saga, j) || saga->steps[j].state == SAGA_STEP_UNDOING)) {
            return "S5: a step is undone only after all that came behind it";
        }
    }
    return NULL;
}

static const char *check_forward(const struct saga_definition *def, const struct saga *saga,
                                 uint8_t i)
{
    const struct saga_step_run *run = &saga->steps[i];
    if (run->state != SAGA_STEP_CALLED && run->state != SAGA_STEP_SUCCEEDED) {
        return NULL;
    }
    for (uint8_t j = 0; j < saga->step_count; j++) {
        bool before = (def->before_masks[i] >> j & 1) != 0;
        uint8_t state = saga->steps[j].state;
        if (before && state != SAGA_STEP_SUCCEEDED && state != SAGA_STEP_SKIPPED) {
            return "a step was called before those that it comes after";
        }
    }
    return NULL;
}

static const char *check_steps(const struct saga_definition *def, const struct saga *saga)
{
    bool back = saga->state == SAGA_STATE_COMPENSATING || saga->state == SAGA_STATE_COMPENSATED;
    bool any_parked = false;
    bool any_undo = false;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        const char *wrong = check_step_alone(&saga->steps[i]);
        if (wrong == NULL && !is_one_of(saga->steps[i].state, step_states[saga->state])) {
            wrong = "a step's state does not go with the saga's";
        }
        if (wrong == NULL) {
            wrong = back ? check_back(def, saga, i) : check_forward(def, saga, i);
        }
        if (wrong != NULL) {
            return wrong;
        }
        any_parked = any_parked || saga->steps[i].parked;
        any_undo = any_undo || needs_undo(def, saga, i);
    }
    if (any_parked != (saga->state == SAGA_STATE_PARKED)) {
        return "a saga is PARKED exactly while one of its steps is";
    }
    if (saga->state == SAGA_STATE_COMPENSATED && any_undo) {
        return "S5: a saga ended COMPENSATED with an effect that was not undone";
    }
    return NULL;
}

const char *saga_invariant(const struct saga_definition *def, const struct saga *saga)
{
    if (SAGA_MUTED()) {
        return NULL;
    }
    if (saga->state < SAGA_STATE_RUNNING || saga->state > SAGA_STATE_PARKED) {
        return "the saga has no valid state";
    }
    if (saga->step_count != def->step_count) {
        return "the saga has not as many steps as its definition";
    }
    if (saga->cause_step != SAGA_STEP_ALL && saga->cause_step >= saga->step_count) {
        return "the cause names no step";
    }
    if (saga_ended(saga) != (saga->ended_unix_ms != 0)) {
        return "a saga has an end time exactly when it has ended";
    }
    bool back = saga->state == SAGA_STATE_COMPENSATING || saga->state == SAGA_STATE_COMPENSATED;
    if (back && saga->cause == SAGA_CAUSE_NONE) {
        return "S1: a saga that went back has a cause";
    }
    return check_steps(def, saga);
}
