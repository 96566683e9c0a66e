/* Times and causes: how far a step may be put off, until when a command may begin, and what is left
 * of a cause once it is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "orchestrator/engine/engine.h"

enum { NOW = 1000, CALL_MS = 100, UNDO_MS = 5000000, DEADLINE_MS = 1000000 };

/* a, then b (pivot); all by NNG. An undo may take much longer than a call. */
static struct saga_definition pair(void)
{
    struct saga_definition def = {.step_count = 2, .deadline_ms = DEADLINE_MS};
    for (uint32_t i = 0; i < 2; i++) {
        def.steps[i] = (struct saga_step_def){
            .has_call = true,
            .has_undo = i == 0,
            .pivot = i == 1,
            .after_mask = i == 0 ? 0 : 1,
            .call_via = SAGA_VIA_NNG,
            .undo_via = SAGA_VIA_NNG,
            .call_attempts_max = 2,
            .undo_attempts_max = 2,
            .call_delay_ms = 1,
            .call_delay_ms_max = 100,
            .undo_delay_ms = 1,
            .undo_delay_ms_max = 100,
            .call_deadline_ms = CALL_MS,
            .undo_deadline_ms = UNDO_MS,
        };
    }
    assert_true(saga_definition_finish(&def));
    return def;
}

/* A saga in the middle of a test. */
struct walk {
    struct saga_definition def;
    struct saga saga;
    struct saga_update up;
};

static enum saga_verdict give(struct walk *walk, struct saga_event ev)
{
    saga_step(&walk->def, &walk->saga, &ev, &walk->up);
    return walk->up.verdict;
}

static void start(struct walk *walk, struct saga_definition def)
{
    *walk = (struct walk){.def = def};
    assert_int_equal(
        give(walk, (struct saga_event){.kind = SAGA_EVENT_START, .now_unix_ms = NOW, .seed = 1}),
        SAGA_VERDICT_TAKEN);
}

static void reply(struct walk *walk, uint8_t step, enum saga_code code, int64_t now)
{
    struct saga_event ev = {.kind = SAGA_EVENT_REPLY,
                            .step = step,
                            .op = SAGA_OP_CALL,
                            .attempt = walk->saga.steps[step].call_attempts,
                            .code = code,
                            .now_unix_ms = now};
    assert_int_equal(give(walk, ev), SAGA_VERDICT_TAKEN);
}

static enum saga_verdict timer(struct walk *walk, int64_t now)
{
    return give(walk, (struct saga_event){.kind = SAGA_EVENT_TIMER, .now_unix_ms = now});
}

/* ---- Waiting ---- */

static void start_undoing(struct walk *walk, struct saga_definition def)
{
    start(walk, def);
    reply(walk, 0, SAGA_CODE_OK, NOW);
    reply(walk, 1, SAGA_CODE_FAILED_PRECONDITION, NOW);
    assert_int_equal(walk->saga.steps[0].state, SAGA_STEP_UNDOING);
    assert_int_equal(walk->saga.steps[0].wait, SAGA_WAIT_REPLY);
}

/* A time that lies further ahead than the undo's deadline was set by a wrong clock. */
static void test_timer_when_an_undo_waits_within_its_deadline_then_nothing_is_due(void **state)
{
    (void)state;
    struct walk walk;
    start_undoing(&walk, pair());
    assert_int_equal(walk.saga.steps[0].due_unix_ms, NOW + UNDO_MS);
    assert_int_equal(timer(&walk, NOW + 1), SAGA_VERDICT_IGNORED);
    assert_int_equal(timer(&walk, NOW - SAGA_CLOCK_BACK_MS_MAX), SAGA_VERDICT_IGNORED);
    assert_int_equal(timer(&walk, NOW - SAGA_CLOCK_BACK_MS_MAX - 1), SAGA_VERDICT_TAKEN);
}

static void test_timer_when_an_undo_waits_for_longer_than_its_deadline_then_is_due(void **state)
{
    (void)state;
    struct walk walk;
    struct saga_definition def = pair();
    def.steps[0].call_deadline_ms = UNDO_MS;
    def.steps[0].undo_deadline_ms = CALL_MS;
    start_undoing(&walk, def);
    assert_int_equal(walk.saga.steps[0].due_unix_ms, NOW + CALL_MS);
    assert_int_equal(timer(&walk, NOW - SAGA_CLOCK_BACK_MS_MAX), SAGA_VERDICT_IGNORED);
    assert_int_equal(timer(&walk, NOW - SAGA_CLOCK_BACK_MS_MAX - 1), SAGA_VERDICT_TAKEN);
}

/* The saga's own deadline, too: it is set anew only when a right clock cannot have set it. */
static void test_timer_when_the_deadline_is_further_than_it_can_be_then_is_set_anew(void **state)
{
    (void)state;
    struct walk walk;
    struct saga_definition def = pair();
    def.steps[0].call_deadline_ms = 2 * DEADLINE_MS; /* the step's time is no reason */
    start(&walk, def);
    int64_t back = NOW - SAGA_CLOCK_BACK_MS_MAX;
    assert_int_equal(timer(&walk, back), SAGA_VERDICT_IGNORED);
    assert_int_equal(walk.saga.deadline_unix_ms, NOW + DEADLINE_MS);
    assert_int_equal(timer(&walk, back - 1), SAGA_VERDICT_TAKEN);
    assert_int_equal(walk.saga.deadline_unix_ms, back - 1 + DEADLINE_MS);
    assert_int_equal(walk.up.send_count, 0);
}

enum { HOUR_MS = 60 * 60 * 1000, MINUTES_10_MS = 10 * 60 * 1000 };

/* Lets step 0 wait to be tried again; returns when that is. */
static int64_t wait_again(struct walk *walk, int64_t retry_after_ms)
{
    struct saga_event ev = {.kind = SAGA_EVENT_REPLY,
                            .op = SAGA_OP_CALL,
                            .attempt = 1,
                            .code = SAGA_CODE_UNAVAILABLE,
                            .retry_after_ms = retry_after_ms,
                            .now_unix_ms = NOW};
    bool undoing = walk->saga.steps[0].state == SAGA_STEP_UNDOING;
    ev.op = undoing ? SAGA_OP_UNDO : SAGA_OP_CALL;
    assert_int_equal(give(walk, ev), SAGA_VERDICT_TAKEN);
    assert_int_equal(walk->saga.steps[0].wait, SAGA_WAIT_RETRY);
    return walk->saga.steps[0].due_unix_ms;
}

/* Demands that a wait that ends at `due` is believed up to `longest` and what clocks may go back.
 */
static void assert_believed_up_to(struct walk *walk, int64_t due, int64_t longest)
{
    int64_t back = due - longest - SAGA_CLOCK_BACK_MS_MAX;
    (void)timer(walk, back);
    assert_int_equal(walk->up.send_count, 0);
    assert_int_equal(timer(walk, back - 1), SAGA_VERDICT_TAKEN);
    assert_int_equal(walk->up.send_count, 1);
}

static void test_timer_when_a_step_waits_to_be_tried_again_then_its_policy_bounds_it(void **state)
{
    (void)state;
    struct walk walk;
    struct saga_definition def = pair();
    def.steps[0].call_delay_ms = def.steps[0].call_delay_ms_max = HOUR_MS;
    start(&walk, def);
    assert_believed_up_to(&walk, wait_again(&walk, 0), HOUR_MS);
    def = pair();
    def.steps[0].undo_delay_ms = def.steps[0].undo_delay_ms_max = HOUR_MS;
    def.steps[0].undo_deadline_ms = CALL_MS;
    start_undoing(&walk, def);
    assert_believed_up_to(&walk, wait_again(&walk, 0), HOUR_MS);
}

/* A participant may wish for ten minutes, however short the policy's delays are. */
static void
test_timer_when_a_participant_wished_for_patience_then_ten_minutes_are_believed(void **state)
{
    (void)state;
    struct walk walk;
    start(&walk, pair());
    int64_t due = wait_again(&walk, 2 * MINUTES_10_MS);
    assert_int_equal(due, NOW + MINUTES_10_MS);
    assert_believed_up_to(&walk, due, MINUTES_10_MS);
    start_undoing(&walk, pair());
    due = wait_again(&walk, MINUTES_10_MS);
    assert_int_equal(due, NOW + MINUTES_10_MS);
    assert_believed_up_to(&walk, due, MINUTES_10_MS);
}

/* ---- Deadlines of commands ---- */

static void test_call_when_the_saga_may_still_go_back_then_ends_with_its_deadline(void **state)
{
    (void)state;
    struct walk walk;
    start(&walk, pair());
    assert_int_equal(walk.up.sends[0].deadline_unix_ms, NOW + CALL_MS);
    int64_t late = NOW + DEADLINE_MS - CALL_MS / 2;
    reply(&walk, 0, SAGA_CODE_UNAVAILABLE, late - 10);
    assert_int_equal(timer(&walk, late), SAGA_VERDICT_TAKEN); /* tried again */
    assert_int_equal(walk.up.send_count, 1);
    assert_int_equal(walk.up.sends[0].attempt, 2);
    assert_int_equal(walk.up.sends[0].deadline_unix_ms, NOW + DEADLINE_MS);
    assert_int_equal(walk.saga.steps[0].due_unix_ms, late + CALL_MS);
}

static void test_call_when_it_must_happen_then_its_own_deadline_counts_alone(void **state)
{
    (void)state;
    struct walk walk;
    start(&walk, pair());
    int64_t late = NOW + DEADLINE_MS - CALL_MS / 2;
    reply(&walk, 0, SAGA_CODE_OK, late);
    assert_int_equal(walk.up.sends[0].step, 1);
    assert_int_equal(walk.up.sends[0].deadline_unix_ms, late + CALL_MS); /* the pivot's */
    reply(&walk, 1, SAGA_CODE_FAILED_PRECONDITION, late);
    assert_int_equal(walk.up.sends[0].op, SAGA_OP_UNDO);
    assert_int_equal(walk.up.sends[0].deadline_unix_ms, late + UNDO_MS);
}

/* ---- A cause that is over ---- */

static void assert_no_cause(const struct saga *saga)
{
    assert_int_equal(saga->cause, SAGA_CAUSE_NONE);
    assert_int_equal(saga->cause_step, SAGA_STEP_ALL);
    assert_int_equal(saga->cause_code, 0);
}

static void park(struct walk *walk)
{
    start(walk, pair());
    reply(walk, 0, SAGA_CODE_PERMISSION_DENIED, NOW);
    assert_int_equal(walk->saga.state, SAGA_STATE_PARKED);
    assert_int_equal(walk->saga.cause, SAGA_CAUSE_STEP);
    assert_int_equal(walk->saga.cause_step, 0);
    assert_int_equal(walk->saga.cause_code, SAGA_CODE_PERMISSION_DENIED);
}

static void test_saga_when_parked_and_retried_then_goes_on_without_a_cause(void **state)
{
    (void)state;
    struct walk walk;
    park(&walk);
    struct saga_event retry = {.kind = SAGA_EVENT_OPERATOR,
                               .act = SAGA_ACT_RETRY,
                               .step = SAGA_STEP_ALL,
                               .now_unix_ms = NOW};
    assert_int_equal(give(&walk, retry), SAGA_VERDICT_TAKEN);
    assert_int_equal(walk.saga.state, SAGA_STATE_RUNNING);
    assert_no_cause(&walk.saga);
    reply(&walk, 0, SAGA_CODE_OK, NOW);
    reply(&walk, 1, SAGA_CODE_OK, NOW);
    assert_int_equal(walk.saga.state, SAGA_STATE_COMPLETED);
    assert_no_cause(&walk.saga);
}

static void test_saga_when_parked_and_a_late_yes_comes_then_ends_without_a_cause(void **state)
{
    (void)state;
    struct walk walk;
    park(&walk);
    reply(&walk, 0, SAGA_CODE_OK, NOW);
    assert_int_equal(walk.saga.state, SAGA_STATE_RUNNING);
    assert_no_cause(&walk.saga);
    reply(&walk, 1, SAGA_CODE_OK, NOW);
    assert_int_equal(walk.saga.state, SAGA_STATE_COMPLETED);
    assert_no_cause(&walk.saga);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_when_an_undo_waits_within_its_deadline_then_nothing_is_due),
        cmocka_unit_test(test_timer_when_an_undo_waits_for_longer_than_its_deadline_then_is_due),
        cmocka_unit_test(test_timer_when_the_deadline_is_further_than_it_can_be_then_is_set_anew),
        cmocka_unit_test(test_timer_when_a_step_waits_to_be_tried_again_then_its_policy_bounds_it),
        cmocka_unit_test(
            test_timer_when_a_participant_wished_for_patience_then_ten_minutes_are_believed),
        cmocka_unit_test(test_call_when_the_saga_may_still_go_back_then_ends_with_its_deadline),
        cmocka_unit_test(test_call_when_it_must_happen_then_its_own_deadline_counts_alone),
        cmocka_unit_test(test_saga_when_parked_and_retried_then_goes_on_without_a_cause),
        cmocka_unit_test(test_saga_when_parked_and_a_late_yes_comes_then_ends_without_a_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
