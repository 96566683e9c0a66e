/* What must hold of every transition, seen from outside: the rules of docs/semantics.md, told by
 * what participants have and may yet get, not by what the engine thinks of them. */
#include <stddef.h>
#include <string.h>

#include "verify/check/internal.h"

/* ---- the world after it ---- */

static bool goes_back(const struct saga *saga)
{
    return saga->state == SAGA_STATE_COMPENSATING || saga->state == SAGA_STATE_COMPENSATED;
}

static const char *judge_step_there(const struct check *check, const struct world *world,
                                    uint8_t step)
{
    const struct saga *saga = &world->saga;
    bool there = has_effect(check, world, step);
    bool coming = may_take_effect(check, world, step);
    bool undoable = check->def.steps[step].has_undo;
    uint8_t state = saga->steps[step].state;
    if (goes_back(saga) && check->def.steps[step].pivot && (there || coming)) {
        return there ? "S2: the saga goes back although its pivot has happened"
                     : "S2: the saga goes back although its pivot may yet happen";
    }
    if (saga->state == SAGA_STATE_COMPENSATED && undoable && (there || coming)) {
        return there
                   ? "S5: the saga ended COMPENSATED with an effect that was not undone"
                   : "S4: the saga ended COMPENSATED, and a call that is late may yet take effect";
    }
    if (saga->state == SAGA_STATE_COMPLETED && check->def.steps[step].has_call &&
        step_has_effects(check, step) && (state == SAGA_STEP_SUCCEEDED) != there) {
        return there ? "S5: the saga ended COMPLETED, and a step that was skipped has an effect"
                     : "S3: the saga ended COMPLETED, and a step that succeeded has no effect";
    }
    if ((state == SAGA_STEP_SKIPPED || state == SAGA_STEP_REJECTED) &&
        check->def.steps[step].has_call && (there || coming)) {
        return "S5: a step counts as not done although it has or may get an effect";
    }
    return NULL;
}

static const char *judge_world(const struct check *check, const struct trial *trial)
{
    const struct world *world = &trial->to;
    const struct saga *saga = &world->saga;
    if (saga->state == SAGA_STATE_NONE) {
        return NULL;
    }
    if (check->engine.invariant != NULL) {
        const char *wrong = check->engine.invariant(&check->def, saga);
        if (wrong != NULL) {
            return wrong;
        }
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        const char *wrong = judge_step_there(check, world, i);
        if (wrong != NULL) {
            return wrong;
        }
    }
    bool parked = saga->state == SAGA_STATE_PARKED && trial->from.saga.state != SAGA_STATE_PARKED;
    if (parked && (saga->cause == SAGA_CAUSE_NONE || !trial->up.parked || !trial->up.cause_set)) {
        return "S1: the saga is PARKED without a reason";
    }
    return NULL;
}

/* ---- records: S6, S12 ---- */

static const char *judge_record(const struct check *check, const struct trial *trial)
{
    const struct saga *before = &trial->from.saga;
    const struct saga *after = &trial->to.saga;
    const struct saga_update *up = &trial->up;
    size_t used = offsetof(struct saga, steps) + check->def.step_count * sizeof before->steps[0];
    bool act = trial->ev.kind == CHECK_ACT;
    if (up->verdict != SAGA_VERDICT_TAKEN) {
        if (memcmp(before, after, used) != 0) {
            return act ? "S12: an operator's act changed the saga and left no record"
                       : "S6: the saga changed and nothing of it is recorded";
        }
        if (up->send_count != 0 || up->ended || up->parked) {
            return "S6: a command leaves although nothing was made durable";
        }
        if (up->verdict == SAGA_VERDICT_REFUSED &&
            (up->refusal == NULL || up->refusal[0] == '\0')) {
            return "S12: an act was refused without a word";
        }
        return NULL;
    }
    if (after->seq != before->seq + 1) {
        return act ? "S12: an operator's act has no number of its own in the log"
                   : "S6: an event has no number of its own in the log";
    }
    return NULL;
}

/* ---- replies: S3 ---- */

static bool awaits(const struct saga_step_run *run, uint8_t op)
{
    return run->state == (op == SAGA_OP_CALL ? SAGA_STEP_CALLED : SAGA_STEP_UNDOING);
}

static bool is_out_now(const struct saga_step_run *run)
{
    return run->wait == SAGA_WAIT_REPLY || run->wait == SAGA_WAIT_DURABLE ||
           run->wait == SAGA_WAIT_CHILD;
}

static bool is_definitive(const struct check *check, const struct check_event *ev)
{
    return ev->answer == ANSWER_OK ||
           (ev->answer == ANSWER_NO && ev->op == SAGA_OP_CALL && !is_retriable(check, ev->step));
}

static const char *judge_reply(const struct check *check, const struct trial *trial)
{
    const struct check_event *ev = &trial->ev;
    if (ev->kind != CHECK_REPLY && ev->kind != CHECK_DURABLE) {
        return trial->up.merge_reply ? "S3: a reply is merged that has not come" : NULL;
    }
    const struct saga_step_run *before = &trial->from.saga.steps[ev->step];
    const struct saga_step_run *after = &trial->to.saga.steps[ev->step];
    bool taken = trial->up.verdict == SAGA_VERDICT_TAKEN;
    if (ev->kind == CHECK_DURABLE) {
        bool meant = awaits(before, ev->op) && before->wait == SAGA_WAIT_DURABLE &&
                     ev->which == WHICH_PRESENT;
        return meant == taken ? NULL
               : taken        ? "S3: DURABLE was taken for an attempt that is over"
                              : "S6: Kafka has the command, and its time does not begin";
    }
    if (taken && !awaits(before, ev->op)) {
        return "S3: the outcome of a command was taken twice";
    }
    if (taken && !is_definitive(check, ev) && (ev->which != WHICH_PRESENT || !is_out_now(before))) {
        return "S3: the failure of an attempt that is over was taken for the present one's";
    }
    if (awaits(before, ev->op) && is_definitive(check, ev) && !(taken && !awaits(after, ev->op))) {
        return "S3: a definitive answer was not taken";
    }
    bool merges = ev->op == SAGA_OP_CALL && ev->answer == ANSWER_OK && taken;
    return merges == trial->up.merge_reply ? NULL : "S3: a reply is merged twice, or not at all";
}

/* ---- commands: S2, S4, S5, S6 ---- */

static const char *judge_undo(const struct check *check, const struct world *world, uint8_t step)
{
    if (!check->def.steps[step].has_undo) {
        return "S5: an undo is sent for a step that has none";
    }
    uint8_t pivot = check->pivot;
    if (pivot != SAGA_STEP_ALL &&
        (has_effect(check, world, pivot) || may_take_effect(check, world, pivot))) {
        return "S2: an undo is sent although the pivot has or may have happened";
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        bool behind = (check->def.behind_masks[step] >> i & 1) != 0;
        if (behind && check->def.steps[i].has_undo &&
            (has_effect(check, world, i) || may_take_effect(check, world, i))) {
            return "S5: a step is undone although one behind it has or may get an effect";
        }
    }
    return NULL;
}

static const char *judge_call(const struct check *check, const struct trial *trial,
                              const struct saga_send *send)
{
    const struct world *world = &trial->to;
    const struct part *part = &world->parts[send->step];
    if (part->undo_sent || part->undo_row != UNDO_NONE) {
        return "S4: a step is called after its undo";
    }
    if (world->saga.state != SAGA_STATE_RUNNING && world->saga.state != SAGA_STATE_PARKED) {
        return "S5: a step is called by a saga that does not go forward";
    }
    bool first = send->attempt == 1;
    if (first && world->paused) {
        return "a step begins although its definition is paused";
    }
    if (first && check->def.steps[send->step].conditional &&
        (trial->ev.when_mask >> send->step & 1) == 0) {
        return "a step begins although its condition does not hold";
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        if ((check->def.before_masks[send->step] >> i & 1) == 0) {
            continue;
        }
        uint8_t state = world->saga.steps[i].state;
        bool there = has_effect(check, world, i) || !step_has_effects(check, i);
        if (state != SAGA_STEP_SKIPPED && !(state == SAGA_STEP_SUCCEEDED && there)) {
            return "S5: a step is called before one that it comes after has happened";
        }
    }
    return NULL;
}

static const char *judge_send(const struct check *check, const struct trial *trial,
                              const struct saga_send *send)
{
    const struct saga_step_def *def = &check->def.steps[send->step];
    const struct saga_step_run *before = &trial->from.saga.steps[send->step];
    const struct saga_step_run *after = &trial->to.saga.steps[send->step];
    bool call = send->op == SAGA_OP_CALL;
    uint32_t attempts = call ? after->call_attempts : after->undo_attempts;
    uint32_t attempts_before = call ? before->call_attempts : before->undo_attempts;
    if (!awaits(after, (uint8_t)send->op) || send->attempt != attempts ||
        attempts != attempts_before + 1) {
        return "S6: a command leaves that the durable saga does not know of";
    }
    if (awaits(before, (uint8_t)send->op) && before->wait == SAGA_WAIT_DURABLE) {
        return "S6: a command is decided on again while Kafka does not have it";
    }
    if (send->via != (call ? def->call_via : def->undo_via)) {
        return "S6: a command leaves by another road than its own";
    }
    bool must = !call || def->pivot || is_retriable(check, send->step);
    if (must && send->via == SAGA_VIA_KAFKA && send->deadline_unix_ms != 0) {
        return "S1: a command that must happen however late has a deadline";
    }
    return call ? judge_call(check, trial, send) : judge_undo(check, &trial->to, send->step);
}

static bool is_sent(const struct saga_update *up, uint8_t step, enum saga_op op)
{
    for (uint32_t i = 0; i < up->send_count; i++) {
        if (up->sends[i].step == step && up->sends[i].op == op) {
            return true;
        }
    }
    return false;
}

/* What was decided on may never have left: the new process sends it. Kafka's is in the outbox. */
static const char *judge_recovered(const struct check *check, const struct trial *trial)
{
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        const struct saga_step_run *run = &trial->from.saga.steps[i];
        bool call = run->state == SAGA_STEP_CALLED;
        enum saga_via via = call ? check->def.steps[i].call_via : check->def.steps[i].undo_via;
        bool out = run->wait == SAGA_WAIT_REPLY || run->wait == SAGA_WAIT_CHILD;
        bool sent = is_sent(&trial->up, i, call ? SAGA_OP_CALL : SAGA_OP_UNDO);
        if (out && (via != SAGA_VIA_KAFKA) != sent) {
            return sent ? "S6: a record that Kafka has or will get is decided on again"
                        : "S6: what was decided before the crash may never have left, and nobody "
                          "sends it";
        }
    }
    return NULL;
}

static const char *judge_sends(const struct check *check, const struct trial *trial)
{
    for (uint32_t i = 0; i < trial->up.send_count; i++) {
        const char *wrong = judge_send(check, trial, &trial->up.sends[i]);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return trial->ev.kind == CHECK_RECOVERED ? judge_recovered(check, trial) : NULL;
}

/* ---- time: S1 ---- */

static const char *judge_time(const struct check *check, const struct trial *trial)
{
    /* No wait is longer than what the definition, the limits and a participant may ask for. */
    const int64_t longest = (int64_t)SAGA_DEADLINE_MS_LIMIT + SAGA_RETRY_DELAY_MS_LIMIT;
    const struct saga *before = &trial->from.saga;
    const struct saga *after = &trial->to.saga;
    int64_t next = trial->up.next_due_unix_ms;
    if (trial->ev.kind == CHECK_TIMER && !saga_ended(before)) {
        int64_t due = saga_next_due(&check->def, before);
        if (due != 0 && due <= trial->from.now && trial->up.verdict != SAGA_VERDICT_TAKEN) {
            return "S1: a time that has passed changes nothing";
        }
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        int64_t due = after->steps[i].due_unix_ms;
        if (due != 0 && (next == 0 || next > due)) {
            return "S1: a step waits for a time, and no timer is asked for";
        }
        if (due > trial->from.now + longest) {
            return "S1: a step waits longer than anybody has asked for";
        }
    }
    bool forward = after->state == SAGA_STATE_RUNNING || after->state == SAGA_STATE_PARKED;
    bool way_back =
        check->pivot == SAGA_STEP_ALL || (!may_answer(&trial->to, check->pivot) &&
                                          after->steps[check->pivot].state <= SAGA_STEP_CALLED);
    if (forward && way_back && (next == 0 || next > after->deadline_unix_ms)) {
        return "S1: the saga's deadline counts, and no timer is asked for";
    }
    if (trial->ev.kind == CHECK_TIMER && trial->ev.deadline && forward && way_back) {
        return "S1: the saga's deadline has passed before its pivot, and it does not turn back";
    }
    return NULL;
}

const char *judge(const struct check *check, const struct trial *trial)
{
    const char *wrong = NULL;
    if (trial->ev.kind == CHECK_START_AGAIN) {
        wrong = judge_start_again(trial);
    }
    if (trial->asked && wrong == NULL) {
        wrong = judge_record(check, trial);
        wrong = wrong != NULL ? wrong : judge_sends(check, trial);
        wrong = wrong != NULL ? wrong : judge_reply(check, trial);
        wrong = wrong != NULL ? wrong : judge_act(check, trial);
    }
    wrong = wrong != NULL ? wrong : judge_world(check, trial);
    if (trial->asked && wrong == NULL) {
        wrong = judge_time(check, trial);
    }
    return wrong;
}
