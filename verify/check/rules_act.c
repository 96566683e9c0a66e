/* What must hold of people's acts (S10, S11, S12) and of turning back. */
#include "verify/check/internal.h"

static bool goes_forward(const struct saga *saga)
{
    return saga->state == SAGA_STATE_RUNNING || saga->state == SAGA_STATE_PARKED;
}

/* S11: cancel means compensate, or is refused. What may have left may have happened; what the
 * runtime says has not left, has not. */
static const char *judge_cancel(const struct check *check, const struct trial *trial)
{
    const struct saga *before = &trial->from.saga;
    const struct saga *after = &trial->to.saga;
    bool taken = trial->up.verdict == SAGA_VERDICT_TAKEN;
    bool possible = goes_forward(before) &&
                    (check->pivot == SAGA_STEP_ALL || !may_answer(&trial->from, check->pivot));
    if (!possible) {
        return taken ? "S11: a cancel was taken although there is no way back"
               : trial->up.verdict == SAGA_VERDICT_REFUSED
                   ? NULL
                   : "S11: a cancel that cannot be was not refused";
    }
    if (!taken) {
        return "S11: a cancel was refused although the pivot has not left";
    }
    if (after->state != SAGA_STATE_COMPENSATING && after->state != SAGA_STATE_COMPENSATED) {
        return "S11: a cancelled saga is not compensated";
    }
    for (uint8_t i = 0; i < check->def.step_count && after->state == SAGA_STATE_COMPENSATED; i++) {
        if (check->def.steps[i].has_undo &&
            (has_effect(check, &trial->to, i) || may_take_effect(check, &trial->to, i))) {
            return "S11: a cancel ended the saga, and what it has done is not undone";
        }
    }
    return after->cause == SAGA_CAUSE_CANCEL && trial->up.cause_set
               ? NULL
               : "S12: the record of a cancel does not say that it was one";
}

static const char *judge_compensate(const struct trial *trial)
{
    const struct saga *after = &trial->to.saga;
    bool back = after->state == SAGA_STATE_COMPENSATING || after->state == SAGA_STATE_COMPENSATED;
    bool turned = trial->up.verdict == SAGA_VERDICT_TAKEN;
    if (turned && !(back && trial->from.saga.state == SAGA_STATE_PARKED)) {
        return "S12: compensate was taken for a saga that is not PARKED, or does not turn it back";
    }
    if (trial->ev.truth && trial->from.saga.steps[trial->ev.step].parked && !turned) {
        return "S2: a parked pivot cannot be given up although a person says that it has not "
               "happened";
    }
    return NULL;
}

static const char *judge_resolve(const struct trial *trial)
{
    uint8_t before = trial->from.saga.steps[trial->ev.step].state;
    uint8_t after = trial->to.saga.steps[trial->ev.step].state;
    bool taken = trial->up.verdict == SAGA_VERDICT_TAKEN;
    bool fits = (before == SAGA_STEP_CALLED && after == SAGA_STEP_SUCCEEDED) ||
                (before == SAGA_STEP_UNDOING && after == SAGA_STEP_UNDONE);
    if (taken && !fits) {
        return "S12: a step was resolved that had no command";
    }
    return trial->ev.truth && !taken
               ? "S1: what its participant refuses for ever cannot be resolved"
               : NULL;
}

static const char *judge_act_taken(const struct check *check, const struct trial *trial)
{
    if (saga_ended(&trial->from.saga) && trial->up.verdict != SAGA_VERDICT_REFUSED) {
        return "S12: an act upon a saga that has ended was not refused";
    }
    bool taken = trial->up.verdict == SAGA_VERDICT_TAKEN;
    switch ((enum saga_act)trial->ev.act) {
    case SAGA_ACT_CANCEL:
        return judge_cancel(check, trial);
    case SAGA_ACT_COMPENSATE:
        return judge_compensate(trial);
    case SAGA_ACT_RESOLVE:
        return judge_resolve(trial);
    case SAGA_ACT_RETRY:
        return taken && trial->up.send_count == 0 ? "S12: a retry was taken that sends nothing"
                                                  : NULL;
    case SAGA_ACT_SKIP:
        return taken && trial->to.saga.steps[trial->ev.step].state != SAGA_STEP_SKIPPED
                   ? "S12: a skip was taken that skips nothing"
                   : NULL;
    case SAGA_ACT_PAUSE:
    case SAGA_ACT_RESUME:
    case SAGA_ACT_APPLY:
    case SAGA_ACT_REMOVE:
        break;
    }
    return NULL;
}

/* Nobody but those who may turn a saga back does. */
static const char *judge_turning(const struct trial *trial)
{
    const struct saga *before = &trial->from.saga;
    const struct saga *after = &trial->to.saga;
    bool ended_back = saga_ended(before) && before->state != after->state;
    if (ended_back && trial->ev.kind != CHECK_REVERSE) {
        return "S1: a saga that has ended goes on";
    }
    bool back = goes_forward(after) || after->state == SAGA_STATE_COMPLETED;
    if (back &&
        (before->state == SAGA_STATE_COMPENSATING || before->state == SAGA_STATE_COMPENSATED)) {
        return "S5: a saga that goes back goes forward again";
    }
    return NULL;
}

const char *judge_start_again(const struct trial *trial)
{
    return trial->up.verdict == SAGA_VERDICT_TAKEN
               ? "S10: a start whose key has a saga starts another"
               : NULL;
}

const char *judge_act(const struct check *check, const struct trial *trial)
{
    const char *wrong = trial->ev.kind == CHECK_ACT ? judge_act_taken(check, trial) : NULL;
    return wrong != NULL ? wrong : judge_turning(trial);
}
