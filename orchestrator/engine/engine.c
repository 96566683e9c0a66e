/* The door of the engine: one event in, one update out. */
#include "orchestrator/engine/engine.h"

#include <stddef.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/engine/internal.h"

bool saga_ended(const struct saga *saga)
{
    return saga->state == SAGA_STATE_COMPLETED || saga->state == SAGA_STATE_COMPENSATED;
}

/* The saga's deadline counts while there is a way back. */
static bool deadline_armed(const struct saga_definition *def, const struct saga *saga)
{
    return (saga->state == SAGA_STATE_RUNNING || saga->state == SAGA_STATE_PARKED) &&
           !pivot_reached(def, saga) && !SAGA_BROKEN(S1_NO_DEADLINE);
}

int64_t saga_next_due(const struct saga_definition *def, const struct saga *saga)
{
    int64_t due = deadline_armed(def, saga) ? saga->deadline_unix_ms : 0;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        int64_t step_due = saga->steps[i].due_unix_ms;
        if (step_due != 0 && (due == 0 || step_due < due)) {
            due = step_due;
        }
    }
    return due;
}

static void take_start(struct turn *turn)
{
    struct saga *saga = turn->saga;
    SAGA_ASSERT(saga->state == SAGA_STATE_NONE && saga->seq == 0);
    saga->id = turn->ev->id;
    saga->seed = turn->ev->seed;
    saga->state = SAGA_STATE_RUNNING;
    saga->step_count = (uint8_t)turn->def->step_count;
    saga->cause_step = SAGA_STEP_ALL;
    saga->created_unix_ms = turn->ev->now_unix_ms;
    saga->deadline_unix_ms = turn->ev->now_unix_ms + turn->def->deadline_ms;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        move_step(turn, i, SAGA_STEP_WAITING);
    }
    advance_forward(turn);
}

/* Tells whether a failure belongs to the attempt that is out: those of earlier attempts have been
 * dealt with. A definitive answer counts whatever attempt it belongs to: all attempts have one key.
 */
static bool is_present_failure(const struct saga_step_run *run, const struct saga_event *ev,
                               uint32_t attempts)
{
    return (ev->attempt == attempts || SAGA_BROKEN(S3_LATE_FAILURE)) && is_out(run);
}

static void take_reply(struct turn *turn)
{
    const struct saga_event *ev = turn->ev;
    SAGA_ASSERT(ev->step < turn->saga->step_count);
    struct saga_step_run *run = &turn->saga->steps[ev->step];
    bool call = ev->op == SAGA_OP_CALL;
    uint32_t attempts = call ? run->call_attempts : run->undo_attempts;
    if (run->state != (call ? SAGA_STEP_CALLED : SAGA_STEP_UNDOING) ||
        (ev->attempt > attempts && !SAGA_BROKEN(S3_NEVER_ASKED))) {
        return; /* late, or never asked for (S3) */
    }
    enum saga_code_class class = saga_code_class(ev->code);
    if (ev->key_reused && class == SAGA_CODE_CLASS_REJECT && !SAGA_BROKEN(B5_TAKEN_FOR_A_NO)) {
        class = SAGA_CODE_CLASS_PARK; /* the key has an effect, but not of these bytes: a person
                                         must look */
    }
    /* To a retriable step a no is one more failure. */
    bool retried = (turn->def->retriable_mask >> ev->step & 1) != 0;
    bool definitive =
        class == SAGA_CODE_CLASS_SUCCESS || (call && class == SAGA_CODE_CLASS_REJECT && !retried);
    if (!definitive && !is_present_failure(run, ev, attempts)) {
        return;
    }
    if (call) {
        take_call_outcome(turn, ev->step, ev->code, class);
    } else {
        take_undo_outcome(turn, ev->step, ev->code);
    }
}

/* What a step waited for has not come, or the time to try again has. */
static void take_step_due(struct turn *turn, uint8_t step)
{
    struct saga_step_run *run = &turn->saga->steps[step];
    bool call = run->state == SAGA_STEP_CALLED;
    SAGA_ASSERT(call || run->state == SAGA_STEP_UNDOING);
    if (run->wait == SAGA_WAIT_RETRY) {
        send_command(turn, step, call ? SAGA_OP_CALL : SAGA_OP_UNDO);
    } else if (call) {
        take_call_outcome(turn, step, SAGA_CODE_DEADLINE_EXCEEDED, SAGA_CODE_CLASS_UNKNOWN);
    } else {
        take_undo_outcome(turn, step, SAGA_CODE_DEADLINE_EXCEEDED);
    }
}

/* How long what a step waits for is put off at most. */
static int64_t longest_wait(const struct turn *turn, uint8_t step)
{
    const struct saga_step_run *run = &turn->saga->steps[step];
    const struct saga_step_def *def = &turn->def->steps[step];
    bool call = run->state == SAGA_STEP_CALLED;
    if (run->wait == SAGA_WAIT_REPLY) {
        return call ? def->call_deadline_ms : def->undo_deadline_ms;
    }
    int64_t delay_ms_max = call ? def->call_delay_ms_max : def->undo_delay_ms_max;
    return delay_ms_max > RETRY_AFTER_MS_MAX ? delay_ms_max : RETRY_AFTER_MS_MAX;
}

/* Tells whether a step's time has come. One that lies further ahead than anything is put off was
 * set by a clock that was wrong; it counts as come, or the saga would wait for that clock (S1). */
static bool has_come(const struct turn *turn, uint8_t step)
{
    int64_t due = turn->saga->steps[step].due_unix_ms;
    int64_t ahead = due - turn->ev->now_unix_ms;
    return due != 0 && (ahead <= 0 || ahead > longest_wait(turn, step) + SAGA_CLOCK_BACK_MS_MAX);
}

/* Takes what is due of some steps. */
static void take_due(struct turn *turn, uint64_t mask)
{
    struct saga *saga = turn->saga;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        /* One step's outcome may have turned the saga back and with it another's waiting away. */
        if ((mask >> i & 1) != 0 && has_come(turn, i)) {
            take_step_due(turn, i);
        }
    }
}

/* The saga's own deadline. Returns true when it turned the saga back. */
static bool take_deadline(struct turn *turn)
{
    struct saga *saga = turn->saga;
    int64_t now = turn->ev->now_unix_ms;
    if (!deadline_armed(turn->def, saga)) {
        return false;
    }
    if (saga->deadline_unix_ms <= now) {
        turn_back(turn, SAGA_CAUSE_DEADLINE, SAGA_STEP_ALL, SAGA_CODE_DEADLINE_EXCEEDED);
        return true;
    }
    if (saga->deadline_unix_ms - now > turn->def->deadline_ms + SAGA_CLOCK_BACK_MS_MAX) {
        saga->deadline_unix_ms = now + turn->def->deadline_ms; /* see has_come */
        taken(turn);
    }
    return false;
}

static void take_timer(struct turn *turn)
{
    const struct saga *saga = turn->saga;
    if (take_deadline(turn)) {
        return;
    }
    /* What is due was due before this event; what this event makes due comes later. Attempts that
     * are over come first: they may turn the saga back, and then nothing is called again. */
    uint64_t over_mask = 0;
    uint64_t again_mask = 0;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        uint64_t bit = has_come(turn, i) ? UINT64_C(1) << i : 0;
        bool again = saga->steps[i].wait == SAGA_WAIT_RETRY;
        over_mask |= again ? 0 : bit;
        again_mask |= again ? bit : 0;
    }
    take_due(turn, over_mask);
    take_due(turn, again_mask);
}

static void take_durable(struct turn *turn)
{
    const struct saga_event *ev = turn->ev;
    SAGA_ASSERT(ev->step < turn->saga->step_count);
    struct saga_step_run *run = &turn->saga->steps[ev->step];
    const struct saga_step_def *def = &turn->def->steps[ev->step];
    bool call = ev->op == SAGA_OP_CALL;
    uint32_t attempts = call ? run->call_attempts : run->undo_attempts;
    if ((run->state != (call ? SAGA_STEP_CALLED : SAGA_STEP_UNDOING) &&
         !SAGA_BROKEN(S6_OTHER_RECORD)) ||
        run->wait != SAGA_WAIT_DURABLE || ev->attempt != attempts) {
        return;
    }
    run->wait = SAGA_WAIT_REPLY;
    run->due_unix_ms = ev->now_unix_ms + (call ? def->call_deadline_ms : def->undo_deadline_ms);
    taken(turn);
}

/* A new process cannot know whether what was decided has left: it sends again, with the same key.
 * Kafka's records are in the outbox or in Kafka; to child sagas it is the runtime that has to be
 * asked again. What was held when the old process ended begins, if its definition goes on. */
static void take_recovered(struct turn *turn)
{
    for (uint8_t i = 0; i < turn->saga->step_count; i++) {
        struct saga_step_run *run = &turn->saga->steps[i];
        const struct saga_step_def *def = &turn->def->steps[i];
        if (run->wait != SAGA_WAIT_REPLY &&
            (run->wait != SAGA_WAIT_CHILD || SAGA_BROKEN(S1_CHILD_FORGOTTEN))) {
            continue;
        }
        if (run->state == SAGA_STEP_CALLED && def->call_via != SAGA_VIA_KAFKA) {
            run->maybe_effect = run->maybe_effect || !SAGA_BROKEN(S5_RECOVERED_FORGETS);
            send_command(turn, i, SAGA_OP_CALL);
        } else if (run->state == SAGA_STEP_UNDOING && def->undo_via != SAGA_VIA_KAFKA) {
            send_command(turn, i, SAGA_OP_UNDO);
        }
    }
    advance_forward(turn);
}

/* A child saga is compensated as a whole, though it has COMPLETED: its end is final only when its
 * parent's is. */
static void take_reverse(struct turn *turn)
{
    struct saga *saga = turn->saga;
    if (saga->state == SAGA_STATE_COMPENSATING || saga->state == SAGA_STATE_COMPENSATED) {
        return;
    }
    if (pivot_reached(turn->def, saga) && !SAGA_BROKEN(S2_REVERSED_AFTER_PIVOT)) {
        turn->up->verdict = SAGA_VERDICT_REFUSED; /* S2; no checked definition comes here */
        turn->up->refusal = "the pivot has happened or may have happened";
        return;
    }
    turn_back(turn, SAGA_CAUSE_PARENT, SAGA_STEP_ALL, SAGA_CODE_CANCELLED);
}

/* Empties an update without touching the arrays: only their first `count` entries mean anything. */
static void clear_update(struct saga_update *up)
{
    up->verdict = SAGA_VERDICT_IGNORED;
    up->refusal = "";
    up->move_count = 0;
    up->send_count = 0;
    up->next_due_unix_ms = 0;
    up->merge_reply = false;
    up->cause_set = false;
    up->ended = false;
    up->parked = false;
    up->stalled = false;
}

void saga_step(const struct saga_definition *def, struct saga *saga, const struct saga_event *ev,
               struct saga_update *up)
{
    struct turn turn = {.def = def, .saga = saga, .ev = ev, .up = up};
    clear_update(up);
    if (ev->kind != SAGA_EVENT_START) {
        SAGA_ASSERT(saga->step_count == def->step_count && saga->state != SAGA_STATE_NONE);
    }
    if (!saga_ended(saga) || ev->kind == SAGA_EVENT_OPERATOR || ev->kind == SAGA_EVENT_REVERSE) {
        switch (ev->kind) {
        case SAGA_EVENT_START:
            take_start(&turn);
            break;
        case SAGA_EVENT_REPLY:
            take_reply(&turn);
            break;
        case SAGA_EVENT_TIMER:
            take_timer(&turn);
            break;
        case SAGA_EVENT_DURABLE:
            take_durable(&turn);
            break;
        case SAGA_EVENT_RECOVERED:
            take_recovered(&turn);
            break;
        case SAGA_EVENT_OPERATOR:
            take_operator(&turn);
            break;
        case SAGA_EVENT_REVERSE:
            take_reverse(&turn);
            break;
        }
    }
    if (up->verdict == SAGA_VERDICT_TAKEN) {
        saga->seq += 1;
        SAGA_ASSERT(saga_invariant(def, saga) == NULL);
    }
    up->next_due_unix_ms = saga_next_due(def, saga);
}
