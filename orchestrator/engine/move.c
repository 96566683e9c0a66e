/* Changes of one step: the transition table, sending, waiting.
 *
 *                                  turned back or condition false
 *     WAITING ------------------------------------------------------> SKIPPED
 *        |                                                               ^
 *        | call sent                            never left, turned back  |
 *        v                                                               |
 *      CALLED ----------------------------------------------------------+
 *        |  \  \ definitive no
 *        |   \  +---------------------> REJECTED
 *        |    \  exhausted, turned back
 *     OK |     +----------------------> UNKNOWN
 *        v                                 |
 *    SUCCEEDED                             |
 *        |  undo sent                      | undo sent
 *        +-------------> UNDOING <---------+
 *                           | OK
 *                           v
 *                        UNDONE
 */
#include "orchestrator/engine/internal.h"

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/base/prng.h"

#define TO(state) (1U << SAGA_STEP_##state)

/* One row per state: where a step may go from there. */
static const unsigned allowed_moves[] = {
    [SAGA_STEP_NONE] = TO(WAITING),
    [SAGA_STEP_WAITING] = TO(CALLED) | TO(SUCCEEDED) | TO(SKIPPED),
    [SAGA_STEP_CALLED] = TO(SUCCEEDED) | TO(REJECTED) | TO(UNKNOWN) | TO(SKIPPED),
    [SAGA_STEP_SUCCEEDED] = TO(UNDOING),
    [SAGA_STEP_REJECTED] = 0,
    [SAGA_STEP_UNKNOWN] = TO(UNDOING),
    [SAGA_STEP_UNDOING] = TO(UNDONE),
    [SAGA_STEP_UNDONE] = 0,
    [SAGA_STEP_SKIPPED] = 0,
};

void move_step(struct turn *turn, uint8_t step, enum saga_step_state to)
{
    SAGA_ASSERT(step < turn->saga->step_count);
    struct saga_step_run *run = &turn->saga->steps[step];
    SAGA_ASSERT(run->state <= SAGA_STEP_SKIPPED);
    SAGA_ASSERT((allowed_moves[run->state] & (1U << to)) != 0);
    SAGA_ASSERT(turn->up->move_count < SAGA_MOVES_MAX);
    turn->up->moves[turn->up->move_count++] = (struct saga_move){step, run->state, (uint8_t)to};
    run->state = (uint8_t)to;
    run->parked = false;
    run->stalled = false;
    taken(turn);
}

void taken(struct turn *turn)
{
    turn->up->verdict = SAGA_VERDICT_TAKEN;
}

void wait_nothing(struct turn *turn, uint8_t step)
{
    turn->saga->steps[step].wait = SAGA_WAIT_NONE;
    turn->saga->steps[step].due_unix_ms = 0;
}

/* Until when a participant may begin this attempt; 0: for ever. */
static int64_t command_deadline(const struct turn *turn, uint8_t step, enum saga_op op,
                                enum saga_via via)
{
    const struct saga_step_def *def = &turn->def->steps[step];
    bool must_happen =
        op == SAGA_OP_UNDO || def->pivot || (turn->def->retriable_mask >> step & 1) != 0;
    if (via != SAGA_VIA_NNG) {
        /* A record may lie in the outbox for hours; only a step that may still be given up is
         * bounded. */
        return must_happen && !SAGA_BROKEN(S5_UNDO_EXPIRES) ? 0 : turn->saga->deadline_unix_ms;
    }
    int64_t attempt_ms = op == SAGA_OP_UNDO ? def->undo_deadline_ms : def->call_deadline_ms;
    int64_t deadline = turn->ev->now_unix_ms + attempt_ms;
    if (!must_happen && deadline > turn->saga->deadline_unix_ms) {
        deadline = turn->saga->deadline_unix_ms;
    }
    return deadline;
}

void send_command(struct turn *turn, uint8_t step, enum saga_op op)
{
    SAGA_ASSERT(op == SAGA_OP_CALL || op == SAGA_OP_UNDO);
    const struct saga_step_def *def = &turn->def->steps[step];
    struct saga_step_run *run = &turn->saga->steps[step];
    SAGA_ASSERT(run->state == (op == SAGA_OP_CALL ? SAGA_STEP_CALLED : SAGA_STEP_UNDOING));
    enum saga_via via = op == SAGA_OP_CALL ? def->call_via : def->undo_via;
    uint32_t *attempts = op == SAGA_OP_CALL ? &run->call_attempts : &run->undo_attempts;
    *attempts += 1;
    int64_t attempt_ms = op == SAGA_OP_CALL ? def->call_deadline_ms : def->undo_deadline_ms;
    if (via == SAGA_VIA_KAFKA && !SAGA_BROKEN(S6_IMPATIENT)) {
        /* The attempt's time begins when Kafka has the record (DURABLE): while Kafka is away
         * nothing is sent twice. */
        run->wait = SAGA_WAIT_DURABLE;
        run->due_unix_ms = 0;
    } else if (via == SAGA_VIA_CHILD) {
        run->wait = SAGA_WAIT_CHILD; /* it has a deadline of its own */
        run->due_unix_ms = 0;
    } else {
        run->wait = SAGA_WAIT_REPLY;
        run->due_unix_ms = turn->ev->now_unix_ms + attempt_ms;
    }
    run->parked = false;
    SAGA_ASSERT(turn->up->send_count < SAGA_STEPS_MAX);
    turn->up->sends[turn->up->send_count++] = (struct saga_send){
        .step = step,
        .op = op,
        .via = via,
        .attempt = *attempts,
        .deadline_unix_ms = command_deadline(turn, step, op, via),
    };
    taken(turn);
}

/* Doubles from delay_ms to delay_ms_max with the number of attempts. */
static int64_t backoff_ms(int64_t delay_ms, int64_t delay_ms_max, uint32_t attempts)
{
    int64_t delay = delay_ms;
    for (uint32_t i = 1; i < attempts && i < 32 && delay < delay_ms_max; i++) {
        delay *= 2;
    }
    return delay < delay_ms_max ? delay : delay_ms_max;
}

void wait_retry(struct turn *turn, uint8_t step, enum saga_op op, int64_t delay_ms_min,
                int64_t delay_ms_cap)
{
    const struct saga_step_def *def = &turn->def->steps[step];
    struct saga_step_run *run = &turn->saga->steps[step];
    bool call = op == SAGA_OP_CALL;
    int64_t delay =
        call ? backoff_ms(def->call_delay_ms, def->call_delay_ms_max, run->call_attempts)
             : backoff_ms(def->undo_delay_ms, def->undo_delay_ms_max, run->undo_attempts);
    if (delay_ms_cap > 0 && delay > delay_ms_cap) {
        delay = delay_ms_cap;
    }
    /* Jitter over the upper half, so that sagas that failed together do not come back together. */
    uint64_t noise = SAGA_NOISE();
    uint64_t *seed = SAGA_BROKEN(S7_JITTER) ? &noise : &turn->saga->seed;
    delay -= (int64_t)saga_prng_below(seed, (uint64_t)delay / 2 + 1);
    if (delay_ms_min > RETRY_AFTER_MS_MAX) {
        delay_ms_min = RETRY_AFTER_MS_MAX;
    }
    if (delay < delay_ms_min) {
        delay = delay_ms_min;
    }
    run->wait = SAGA_WAIT_RETRY;
    run->due_unix_ms = turn->ev->now_unix_ms + (delay > 0 ? delay : 1);
    uint32_t attempts = call ? run->call_attempts : run->undo_attempts;
    uint32_t attempts_max = call ? def->call_attempts_max : def->undo_attempts_max;
    if (attempts >= attempts_max && !run->stalled) {
        run->stalled = true;
        turn->up->stalled = true;
    }
    taken(turn);
}
