/* The participants' tables, and the whole at the end. */
#include <string.h>

#include "verify/sim/judge_internal.h"

/* ---- Tables (S3, B7) ---- */

void saga_judge_tables_begin(struct saga_judge *judge, int64_t now_unix_ms)
{
    judge->tables_generation++;
    judge->tables_rows = false;
    judge->tables_effects = false;
    judge->tables_unix_ms = now_unix_ms;
}

static struct side *find_side(struct saga_judge *judge, struct saga_id id, const char *name,
                              enum saga_op op, struct trail **trail)
{
    *trail = judge_find(judge, id);
    uint8_t step = *trail == NULL ? SAGA_STEP_ALL : judge_step(*trail, name);
    return step == SAGA_STEP_ALL ? NULL : judge_side(*trail, step, op);
}

void saga_judge_table_row(struct saga_judge *judge, const struct saga_judge_row *row)
{
    struct trail *trail = NULL;
    struct side *side = find_side(judge, row->saga_id, row->step, row->op, &trail);
    judge->tables_rows = true;
    if (side == NULL || !side->row || side->participant != row->participant) {
        judge_tell(judge, SAGA_RULE_S13, trail, row->step,
                   "participant %u has a row that no command has left", (unsigned)row->participant);
        return;
    }
    if (side->position != row->position || side->code != row->code || side->empty != row->empty) {
        judge_tell(judge, SAGA_RULE_B1, trail, row->step,
                   "participant %u has another row than was stored", (unsigned)row->participant);
    }
    side->row_seen = judge->tables_generation;
}

void saga_judge_table_effect(struct saga_judge *judge, uint16_t participant, struct saga_id id,
                             const char *step, enum saga_op op)
{
    struct trail *trail = NULL;
    struct side *side = find_side(judge, id, step, op, &trail);
    judge->tables_effects = true;
    if (side == NULL || !side->effect) {
        judge_tell(judge, SAGA_RULE_S13, trail, step,
                   "participant %u holds an effect of no command", (unsigned)participant);
        return;
    }
    if (side->ledger_seen == judge->tables_generation) {
        judge_tell(judge, SAGA_RULE_S3, trail, step, "participant %u holds an effect twice",
                   (unsigned)participant);
    }
    side->ledger_seen = judge->tables_generation;
}

/* A row that is gone must have been old, and published. */
static void check_gone(struct saga_judge *judge, const struct trail *trail, uint8_t step,
                       const struct side *side)
{
    int64_t age_ms = judge->tables_unix_ms - side->stored_unix_ms;
    bool old = judge->config.retention_ms > 0 && age_ms >= judge->config.retention_ms;
    if (!old || !side->published) {
        judge_tell(judge, SAGA_RULE_B7, trail, judge_step_name(trail, step),
                   "a row of %lld ms age is gone%s", (long long)age_ms,
                   side->published ? "" : ", and was never published");
    }
}

void saga_judge_tables_end(struct saga_judge *judge)
{
    for (size_t i = 0; i < judge->trail_count; i++) {
        const struct trail *trail = judge->trails[i];
        uint32_t count = trail->version == NULL ? 0 : 2 * trail->version->def.step_count;
        for (uint32_t s = 0; s < count; s++) {
            const struct side *side = &trail->sides[s];
            if (judge->tables_rows && side->row && side->row_seen != judge->tables_generation) {
                check_gone(judge, trail, (uint8_t)(s / 2), side);
            }
            if (judge->tables_effects && side->effect &&
                side->ledger_seen != judge->tables_generation) {
                judge_tell(judge, SAGA_RULE_B1, trail, judge_step_name(trail, (uint8_t)(s / 2)),
                           "an effect that was committed is gone");
            }
        }
    }
}

/* ---- The end ---- */

/* Tells whether a command's road ends at a barrier: not a child saga, not a method without side
 * effects. */
static bool leaves_row(const struct trail *trail, uint8_t step, enum saga_op op)
{
    const struct saga_step_decl *decl = judge_decl(trail, step);
    const struct saga_method *method = decl == NULL         ? NULL
                                       : op == SAGA_OP_CALL ? decl->call
                                                            : decl->undo;
    return method != NULL && !method->no_side_effects;
}

/* S5: a saga that is COMPENSATED holds nothing. */
static void check_undone(struct saga_judge *judge, const struct trail *trail, uint8_t step)
{
    const struct saga_step_def *def = &trail->version->def.steps[step];
    const struct side *call = judge_side(trail, step, SAGA_OP_CALL);
    const struct side *undo = judge_side(trail, step, SAGA_OP_UNDO);
    const char *name = judge_step_name(trail, step);
    const struct trail *child = trail->children[step];
    bool by_hand = undo->by_hand || call->by_hand;
    if (child != NULL) {
        if (child->saga.state != SAGA_STATE_COMPENSATED && !by_hand) {
            judge_tell(judge, SAGA_RULE_S5, trail, name, "COMPENSATED, but its child saga is %s",
                       saga_state_name((enum saga_state)child->saga.state));
        }
        return;
    }
    bool held = def->has_call ? call->effect : leaves_row(trail, step, SAGA_OP_UNDO);
    if (def->has_undo && held && !undo->effect && !by_hand) {
        judge_tell(judge, SAGA_RULE_S5, trail, name, "COMPENSATED, but %s was not undone%s",
                   def->has_call ? "its effect" : "what the starter did",
                   undo->empty ? " (its undo found nothing)" : "");
    }
    if (def->pivot && call->effect && !trail->pivot_given_up) {
        judge_tell(judge, SAGA_RULE_S2, trail, name, "COMPENSATED, though the pivot has happened");
    }
    bool retriable = (trail->version->def.retriable_mask >> step & 1) != 0;
    if (retriable && call->effect) {
        judge_tell(judge, SAGA_RULE_S2, trail, name,
                   "COMPENSATED with an effect of a step behind the pivot");
    }
}

/* S13, reverse: what was decided and answered has its effect. */
static void check_answered(struct saga_judge *judge, const struct trail *trail, uint8_t step,
                           enum saga_op op)
{
    const struct side *side = judge_side(trail, step, op);
    const char *name = judge_step_name(trail, step);
    if (!side->answered || side->by_hand || !leaves_row(trail, step, op)) {
        return;
    }
    if (!side->row) {
        judge_tell(judge, SAGA_RULE_S13, trail, name,
                   "%s was answered with %s; no participant has done it",
                   op == SAGA_OP_UNDO ? "an undo" : "a call", saga_code_name(side->answer_code));
    } else if (side->code != side->answer_code) {
        judge_tell(judge, SAGA_RULE_S13, trail, name,
                   "the log has %s as its answer, the participant %s",
                   saga_code_name(side->answer_code), saga_code_name(side->code));
    }
}

/* S1: a saga that is COMPLETED waits for nothing. S5: what was skipped has no effect, or it is
 * undone. */
static void check_done(struct saga_judge *judge, const struct trail *trail, uint8_t step)
{
    uint8_t state = trail->saga.steps[step].state;
    const char *name = judge_step_name(trail, step);
    if (trail->saga.state == SAGA_STATE_COMPLETED && state != SAGA_STEP_SUCCEEDED &&
        state != SAGA_STEP_SKIPPED) {
        judge_tell(judge, SAGA_RULE_S1, trail, name, "COMPLETED, but the step is %s",
                   saga_step_state_name((enum saga_step_state)state));
    }
    if (state == SAGA_STEP_SKIPPED && judge_side(trail, step, SAGA_OP_CALL)->effect &&
        !judge_side(trail, step, SAGA_OP_UNDO)->effect) {
        judge_tell(judge, SAGA_RULE_S5, trail, name, "the step was skipped, but has its effect");
    }
}

static void check_state(struct saga_judge *judge, const struct trail *trail,
                        const struct saga_judge_end *end)
{
    uint8_t state = trail->saga.state;
    bool parked_well = state == SAGA_STATE_PARKED && end->parked_allowed;
    if (end->healed && !saga_ended(&trail->saga) && !parked_well) {
        judge_tell(judge, SAGA_RULE_S1, trail, NULL, "still %s long after faults have stopped",
                   saga_state_name((enum saga_state)state));
    }
    if (trail->cancelled && state == SAGA_STATE_COMPLETED) {
        judge_tell(judge, SAGA_RULE_S11, trail, NULL, "cancelled, but COMPLETED");
    }
    judge->counts.completed += state == SAGA_STATE_COMPLETED ? 1 : 0;
    judge->counts.compensated += state == SAGA_STATE_COMPENSATED ? 1 : 0;
    judge->counts.parked += state == SAGA_STATE_PARKED ? 1 : 0;
    judge->counts.open += saga_ended(&trail->saga) || state == SAGA_STATE_PARKED ? 0 : 1;
}

static void check_trail(struct saga_judge *judge, const struct trail *trail,
                        const struct saga_judge_end *end)
{
    judge->counts.sagas++;
    check_state(judge, trail, end);
    for (uint8_t step = 0; step < trail->version->def.step_count; step++) {
        if (trail->saga.state == SAGA_STATE_COMPENSATED) {
            check_undone(judge, trail, step);
        }
        if (saga_ended(&trail->saga)) {
            check_done(judge, trail, step);
        }
        check_answered(judge, trail, step, SAGA_OP_CALL);
        check_answered(judge, trail, step, SAGA_OP_UNDO);
        for (uint32_t s = 2U * step; end->effects_drained && s < 2U * step + 2; s++) {
            const struct side *side = &trail->sides[s];
            if (side->row && !side->published) {
                judge_tell(judge, SAGA_RULE_B8, trail, judge_step_name(trail, step),
                           "a row was never published on saga-effects (position %lld)",
                           (long long)side->position);
            }
        }
    }
}

enum saga_err saga_judge_finish(struct saga_judge *judge, const struct saga_judge_end *end,
                                struct saga_judge_counts *counts)
{
    struct saga_judge_counts *sum = &judge->counts;
    sum->sagas = sum->completed = sum->compensated = sum->parked = sum->open = 0;
    for (size_t i = 0; i < judge->trail_count; i++) {
        const struct trail *trail = judge->trails[i];
        if (end->audit_drained && trail->topic_next != trail->hash_count + 1) {
            judge_tell(judge, SAGA_RULE_S9, trail, NULL,
                       "the log has %zu events, saga-audit ends with event %llu", trail->hash_count,
                       (unsigned long long)(trail->topic_next - 1));
        }
        if (trail->version != NULL) {
            check_trail(judge, trail, end);
        }
    }
    *counts = *sum;
    return judge->err;
}
