/* The engine's edges: definitions that cannot be, states that cannot have come about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/engine/engine.h"

/* a -> b (pivot) -> c */
static struct saga_definition chain(void)
{
    struct saga_definition def = {.step_count = 3, .deadline_ms = 1000};
    for (uint32_t i = 0; i < 3; i++) {
        def.steps[i] = (struct saga_step_def){
            .has_call = true,
            .has_undo = i == 0,
            .pivot = i == 1,
            .after_mask = i == 0 ? 0 : UINT64_C(1) << (i - 1),
            .call_via = SAGA_VIA_NNG,
            .undo_via = SAGA_VIA_NNG,
            .call_attempts_max = 2,
            .undo_attempts_max = 2,
            .call_delay_ms = 10,
            .call_delay_ms_max = 100,
            .undo_delay_ms = 10,
            .undo_delay_ms_max = 100,
            .call_deadline_ms = 100,
            .undo_deadline_ms = 100,
        };
    }
    return def;
}

static void test_definition_when_finished_then_knows_who_comes_before_whom(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    assert_true(saga_definition_finish(&def));
    assert_int_equal(def.before_masks[2], 3);
    assert_int_equal(def.behind_masks[0], 6);
    assert_int_equal(def.retriable_mask, 4);
}

static void test_definition_when_it_cannot_be_then_is_refused(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    def.step_count = 0;
    assert_false(saga_definition_finish(&def));
    def = chain();
    def.step_count = SAGA_STEPS_MAX + 1;
    assert_false(saga_definition_finish(&def));
    def = chain();
    def.steps[0].after_mask = 4; /* a cycle of three */
    assert_false(saga_definition_finish(&def));
    def = chain();
    def.steps[1].after_mask = 8; /* no such step */
    assert_false(saga_definition_finish(&def));
    def = chain();
    def.steps[2].pivot = true; /* two pivots */
    assert_false(saga_definition_finish(&def));
    def = chain();
    def.steps[2].after_mask = 1; /* beside the pivot */
    assert_false(saga_definition_finish(&def));
}

/* No pivot, so that nothing else is wrong with it. */
static struct saga_definition free_steps(uint32_t step_count)
{
    struct saga_definition def = {.step_count = step_count, .deadline_ms = 1000};
    return def;
}

static void test_definition_when_only_one_thing_is_wrong_then_is_refused(void **state)
{
    (void)state;
    struct saga_definition def = free_steps(SAGA_STEPS_MAX + 1);
    assert_false(saga_definition_finish(&def));
    def = free_steps(2);
    def.steps[0].after_mask = 4; /* no such step: the first behind the last */
    assert_false(saga_definition_finish(&def));
    def = free_steps(2);
    def.steps[0].after_mask = 1; /* after itself */
    assert_false(saga_definition_finish(&def));
    def = free_steps(2);
    def.steps[1].after_mask = 2;
    assert_false(saga_definition_finish(&def));
    def = free_steps(3); /* the first beside the pivot; the last comes after both */
    def.steps[1].pivot = true;
    def.steps[2].after_mask = 3;
    assert_false(saga_definition_finish(&def));
}

static void test_definition_when_as_large_as_can_be_then_is_finished(void **state)
{
    (void)state;
    struct saga_definition def = free_steps(SAGA_STEPS_MAX);
    for (uint32_t i = 1; i < SAGA_STEPS_MAX; i++) {
        def.steps[i].after_mask = UINT64_C(1) << (i - 1);
    }
    assert_true(saga_definition_finish(&def));
    uint64_t all = (UINT64_C(1) << SAGA_STEPS_MAX) - 1;
    assert_int_equal(def.before_masks[SAGA_STEPS_MAX - 1], all >> 1);
    assert_int_equal(def.behind_masks[0], all & ~UINT64_C(1));
    assert_int_equal(def.retriable_mask, 0);
}

/* 1, then 0 (pivot), then 3, then 2: whatever the order of the steps, and whatever was in the
 * masks. */
static void
test_definition_when_declared_in_any_order_then_knows_who_comes_before_whom(void **state)
{
    (void)state;
    struct saga_definition def = free_steps(4);
    def.steps[0].after_mask = 2;
    def.steps[0].pivot = true;
    def.steps[2].after_mask = 8;
    def.steps[3].after_mask = 1;
    memset(def.before_masks, 0xff, sizeof def.before_masks);
    memset(def.behind_masks, 0xff, sizeof def.behind_masks);
    def.retriable_mask = UINT64_MAX;
    for (int i = 0; i < 2; i++) { /* finished twice is finished */
        assert_true(saga_definition_finish(&def));
        static const uint64_t before[] = {2, 0, 11, 3};
        static const uint64_t behind[] = {12, 13, 0, 4};
        assert_memory_equal(def.before_masks, before, sizeof before);
        assert_memory_equal(def.behind_masks, behind, sizeof behind);
        assert_int_equal(def.retriable_mask, 12);
    }
}

/* 1, then 2, then 0: the first line comes behind one that it does not name. */
static void
test_definition_when_the_first_line_is_the_last_step_then_knows_all_before_it(void **state)
{
    (void)state;
    struct saga_definition def = free_steps(3);
    def.steps[0].after_mask = 4;
    def.steps[2].after_mask = 2;
    assert_true(saga_definition_finish(&def));
    assert_int_equal(def.before_masks[0], 6);
    assert_int_equal(def.behind_masks[1], 5);
}

static struct saga started(const struct saga_definition *def)
{
    struct saga saga = {0};
    struct saga_update up;
    struct saga_event ev = {.kind = SAGA_EVENT_START, .now_unix_ms = 1000, .seed = 1};
    saga_step(def, &saga, &ev, &up);
    assert_int_equal(up.verdict, SAGA_VERDICT_TAKEN);
    assert_null(saga_invariant(def, &saga));
    return saga;
}

static void test_invariant_when_a_state_cannot_be_then_says_what_is_wrong(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    assert_true(saga_definition_finish(&def));
    struct saga saga = started(&def);
    saga.state = 9;
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.step_count = 2;
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.steps[0].state = SAGA_STEP_UNDOING; /* while RUNNING */
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.steps[0].wait = SAGA_WAIT_NONE; /* called, and nobody waits */
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.steps[0].due_unix_ms = 0;
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.steps[2] = saga.steps[0]; /* before its turn */
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.ended_unix_ms = 5;
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.cause_step = 7;
    assert_non_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.state = SAGA_STATE_PARKED; /* and no step is */
    assert_non_null(saga_invariant(&def, &saga));
}

static void test_invariant_when_a_saga_that_went_back_breaks_a_rule_then_names_it(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    assert_true(saga_definition_finish(&def));
    struct saga saga = started(&def);
    struct saga_update up;
    struct saga_event cancel = {.kind = SAGA_EVENT_OPERATOR,
                                .act = SAGA_ACT_CANCEL,
                                .now_unix_ms = 1001,
                                .step = SAGA_STEP_ALL};
    saga_step(&def, &saga, &cancel, &up);
    assert_int_equal(saga.state, SAGA_STATE_COMPENSATING);
    struct saga wrong = saga;
    wrong.cause = SAGA_CAUSE_NONE;
    assert_memory_equal(saga_invariant(&def, &wrong), "S1", 2);
    wrong.state = SAGA_STATE_COMPENSATED;
    wrong.ended_unix_ms = 1001;
    assert_memory_equal(saga_invariant(&def, &wrong), "S1", 2);
    wrong = saga;
    wrong.steps[1].state = SAGA_STEP_SUCCEEDED;
    assert_memory_equal(saga_invariant(&def, &wrong), "S2", 2);
    wrong = saga;
    wrong.state = SAGA_STATE_COMPENSATED;
    wrong.ended_unix_ms = 1001;
    wrong.steps[0] = (struct saga_step_run){.state = SAGA_STEP_UNKNOWN};
    assert_memory_equal(saga_invariant(&def, &wrong), "S5", 2);
}

static void test_step_when_the_saga_has_ended_then_everything_late_is_ignored(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    assert_true(saga_definition_finish(&def));
    struct saga saga = started(&def);
    struct saga_update up;
    struct saga_event no = {.kind = SAGA_EVENT_REPLY,
                            .step = 0,
                            .op = SAGA_OP_CALL,
                            .attempt = 1,
                            .code = SAGA_CODE_NOT_FOUND,
                            .now_unix_ms = 1001};
    saga_step(&def, &saga, &no, &up);
    assert_true(saga_ended(&saga));
    assert_true(up.ended);
    struct saga before = saga;
    for (int kind = SAGA_EVENT_REPLY; kind <= SAGA_EVENT_RECOVERED; kind++) {
        struct saga_event ev = {.kind = (enum saga_event_kind)kind,
                                .op = SAGA_OP_CALL,
                                .attempt = 1,
                                .now_unix_ms = 999999};
        saga_step(&def, &saga, &ev, &up);
        assert_int_equal(up.verdict, SAGA_VERDICT_IGNORED);
    }
    assert_memory_equal(&before, &saga, sizeof saga);
    assert_int_equal(saga_next_due(&def, &saga), 0);
}

static void test_step_when_given_the_same_twice_then_decides_the_same(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    assert_true(saga_definition_finish(&def));
    struct saga one = started(&def);
    struct saga two = one;
    struct saga_update up_one;
    struct saga_update up_two;
    struct saga_event ev = {.kind = SAGA_EVENT_REPLY,
                            .step = 0,
                            .op = SAGA_OP_CALL,
                            .attempt = 1,
                            .code = SAGA_CODE_ABORTED,
                            .now_unix_ms = 1001};
    saga_step(&def, &one, &ev, &up_one);
    saga_step(&def, &two, &ev, &up_two);
    assert_memory_equal(&one, &two, sizeof one); /* S7: jitter comes from the saga */
    assert_int_equal(up_one.next_due_unix_ms, up_two.next_due_unix_ms);
}

static void test_names_when_asked_then_are_those_of_the_schema(void **state)
{
    (void)state;
    assert_string_equal(saga_state_name(SAGA_STATE_COMPENSATED), "COMPENSATED");
    assert_string_equal(saga_step_state_name(SAGA_STEP_UNDOING), "UNDOING");
    assert_string_equal(saga_event_kind_name(SAGA_EVENT_DURABLE), "DURABLE");
    for (int i = SAGA_STATE_NONE; i <= SAGA_STATE_PARKED; i++) {
        assert_string_not_equal(saga_state_name((enum saga_state)i), "UNLISTED");
    }
    for (int i = SAGA_STEP_NONE; i <= SAGA_STEP_SKIPPED; i++) {
        assert_string_not_equal(saga_step_state_name((enum saga_step_state)i), "UNLISTED");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition_when_finished_then_knows_who_comes_before_whom),
        cmocka_unit_test(test_definition_when_it_cannot_be_then_is_refused),
        cmocka_unit_test(test_definition_when_only_one_thing_is_wrong_then_is_refused),
        cmocka_unit_test(
            test_definition_when_the_first_line_is_the_last_step_then_knows_all_before_it),
        cmocka_unit_test(test_definition_when_as_large_as_can_be_then_is_finished),
        cmocka_unit_test(
            test_definition_when_declared_in_any_order_then_knows_who_comes_before_whom),
        cmocka_unit_test(test_invariant_when_a_state_cannot_be_then_says_what_is_wrong),
        cmocka_unit_test(test_invariant_when_a_saga_that_went_back_breaks_a_rule_then_names_it),
        cmocka_unit_test(test_step_when_the_saga_has_ended_then_everything_late_is_ignored),
        cmocka_unit_test(test_step_when_given_the_same_twice_then_decides_the_same),
        cmocka_unit_test(test_names_when_asked_then_are_those_of_the_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
