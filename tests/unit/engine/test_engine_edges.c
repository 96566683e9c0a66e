/* What no transcript can show: numbers that no schema has, waits that have grown for long, sagas
 * that cannot have come about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/engine/engine.h"

enum { NOW = 1000, UNLISTED = 99 };

/* a, then b (pivot), then c; undo of a and c by NNG. */
static struct saga_definition chain(void)
{
    struct saga_definition def = {.step_count = 3, .deadline_ms = 1000000};
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
            .call_delay_ms = 1,
            .call_delay_ms_max = INT64_C(1) << 40,
            .undo_delay_ms = 1,
            .undo_delay_ms_max = 100,
            .call_deadline_ms = 100,
            .undo_deadline_ms = 100,
        };
    }
    assert_true(saga_definition_finish(&def));
    return def;
}

static struct saga started(const struct saga_definition *def)
{
    struct saga saga = {0};
    struct saga_update up;
    struct saga_event ev = {.kind = SAGA_EVENT_START, .now_unix_ms = NOW, .seed = 1};
    saga_step(def, &saga, &ev, &up);
    assert_int_equal(up.verdict, SAGA_VERDICT_TAKEN);
    return saga;
}

static void test_step_when_the_event_or_act_has_no_name_then_nothing_changes(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    struct saga saga = started(&def);
    struct saga before = saga;
    struct saga_update up;
    struct saga_event ev = {.kind = (enum saga_event_kind)UNLISTED, .now_unix_ms = NOW};
    saga_step(&def, &saga, &ev, &up);
    assert_int_equal(up.verdict, SAGA_VERDICT_IGNORED);
    ev = (struct saga_event){
        .kind = SAGA_EVENT_OPERATOR, .act = (enum saga_act)UNLISTED, .now_unix_ms = NOW};
    saga_step(&def, &saga, &ev, &up);
    assert_int_equal(up.verdict, SAGA_VERDICT_IGNORED);
    assert_memory_equal(&before, &saga, sizeof saga);
}

static void test_backoff_when_tried_for_long_then_stops_growing_and_stays_positive(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    struct saga saga = started(&def);
    struct saga_update up;
    int64_t now = NOW;
    struct saga_event ok = {.kind = SAGA_EVENT_REPLY,
                            .op = SAGA_OP_CALL,
                            .attempt = 1,
                            .code = SAGA_CODE_OK,
                            .now_unix_ms = now};
    saga_step(&def, &saga, &ok, &up);
    ok.step = 1;
    saga_step(&def, &saga, &ok, &up);
    assert_int_equal(saga.steps[2].state, SAGA_STEP_CALLED);
    int64_t wait_max = 0;
    for (uint32_t attempt = 1; attempt <= 40; attempt++) {
        struct saga_event busy = {.kind = SAGA_EVENT_REPLY,
                                  .step = 2,
                                  .op = SAGA_OP_CALL,
                                  .attempt = attempt,
                                  .code = SAGA_CODE_UNAVAILABLE,
                                  .now_unix_ms = now};
        saga_step(&def, &saga, &busy, &up);
        int64_t wait = up.next_due_unix_ms - now;
        /* It doubles 31 times at most; jitter takes up to half of it. */
        int64_t delay = INT64_C(1) << (attempt < 32 ? attempt - 1 : 31);
        assert_true(wait > 0 && wait >= delay / 2 && wait <= delay);
        wait_max = wait > wait_max ? wait : wait_max;
        now = up.next_due_unix_ms;
        struct saga_event timer = {.kind = SAGA_EVENT_TIMER, .now_unix_ms = now};
        saga_step(&def, &saga, &timer, &up);
        assert_int_equal(up.send_count, 1);
    }
    assert_true(wait_max > INT64_C(1) << 30);
}

static void test_backoff_when_the_policy_has_no_delay_then_the_next_millisecond(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    def.steps[0].call_delay_ms = 0;
    def.steps[0].call_delay_ms_max = 0;
    struct saga saga = started(&def);
    struct saga_update up;
    struct saga_event busy = {.kind = SAGA_EVENT_REPLY,
                              .op = SAGA_OP_CALL,
                              .attempt = 1,
                              .code = SAGA_CODE_UNAVAILABLE,
                              .now_unix_ms = NOW};
    saga_step(&def, &saga, &busy, &up);
    assert_int_equal(saga.steps[0].wait, SAGA_WAIT_RETRY);
    assert_int_equal(saga.steps[0].due_unix_ms, NOW + 1);
}

static void test_invariant_when_a_number_is_out_of_range_then_says_so(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    struct saga saga = started(&def);
    saga.state = SAGA_STATE_NONE;
    assert_string_equal(saga_invariant(&def, &saga), "the saga has no valid state");
    saga.state = SAGA_STATE_PARKED + 1;
    assert_string_equal(saga_invariant(&def, &saga), "the saga has no valid state");
    saga = started(&def);
    saga.steps[1].state = SAGA_STEP_NONE;
    assert_string_equal(saga_invariant(&def, &saga), "a step has no valid state");
    saga.steps[1].state = SAGA_STEP_SKIPPED + 1;
    assert_string_equal(saga_invariant(&def, &saga), "a step has no valid state");
    saga = started(&def);
    saga.steps[0].wait = SAGA_WAIT_CHILD + 1;
    assert_string_equal(saga_invariant(&def, &saga), "a step has no valid wait");
}

/* A saga of two steps that can both be undone, both succeeded, turned back by an operator. */
static struct saga turned_back(struct saga_definition *def)
{
    *def = chain();
    def->step_count = 2;
    def->steps[1].pivot = false;
    def->steps[1].has_undo = true;
    assert_true(saga_definition_finish(def));
    struct saga saga = started(def);
    struct saga_update up;
    struct saga_event ok = {.kind = SAGA_EVENT_REPLY,
                            .op = SAGA_OP_CALL,
                            .attempt = 1,
                            .code = SAGA_CODE_OK,
                            .now_unix_ms = NOW};
    saga_step(def, &saga, &ok, &up);
    struct saga_event cancel = {.kind = SAGA_EVENT_OPERATOR,
                                .act = SAGA_ACT_CANCEL,
                                .step = SAGA_STEP_ALL,
                                .now_unix_ms = NOW};
    saga_step(def, &saga, &cancel, &up);
    assert_int_equal(saga.steps[1].state, SAGA_STEP_UNDOING);
    assert_null(saga_invariant(def, &saga));
    return saga;
}

static void test_invariant_when_undone_in_the_wrong_order_then_names_s5(void **state)
{
    (void)state;
    struct saga_definition def;
    struct saga saga = turned_back(&def);
    saga.steps[0] = saga.steps[1]; /* beside b, which came behind it */
    assert_memory_equal(saga_invariant(&def, &saga), "S5: a step is undone only after", 31);
    saga.steps[1] = (struct saga_step_run){.state = SAGA_STEP_SUCCEEDED};
    assert_memory_equal(saga_invariant(&def, &saga), "S5: a step is undone only after", 31);
    saga.steps[1] = (struct saga_step_run){.state = SAGA_STEP_UNDONE};
    assert_null(saga_invariant(&def, &saga));
}

static void test_invariant_when_it_went_back_with_an_unknown_pivot_then_names_s2(void **state)
{
    (void)state;
    struct saga_definition def;
    struct saga saga = turned_back(&def);
    def.steps[1].pivot = true;
    def.steps[1].has_undo = false;
    assert_true(saga_definition_finish(&def));
    saga.steps[1] = (struct saga_step_run){.state = SAGA_STEP_UNKNOWN};
    assert_memory_equal(saga_invariant(&def, &saga), "S2", 2);
}

static void test_invariant_when_only_one_thing_is_wrong_then_says_which(void **state)
{
    (void)state;
    static const char waits[] = "a step waits exactly while it is CALLED or UNDOING and not parked";
    static const char before[] = "a step was called before those that it comes after";
    struct saga_definition def = chain();
    struct saga saga = started(&def);
    saga.steps[0].wait = SAGA_WAIT_NONE;
    saga.steps[0].due_unix_ms = 0;
    assert_string_equal(saga_invariant(&def, &saga), waits);
    saga = started(&def);
    saga.steps[1].wait = SAGA_WAIT_DURABLE; /* and it is WAITING */
    assert_string_equal(saga_invariant(&def, &saga), waits);
    saga = started(&def);
    saga.steps[1] = saga.steps[0]; /* only the first is missing */
    assert_string_equal(saga_invariant(&def, &saga), before);
    saga = started(&def);
    saga.steps[2] = saga.steps[0]; /* only the second is */
    saga.steps[0] = (struct saga_step_run){.state = SAGA_STEP_SUCCEEDED};
    assert_string_equal(saga_invariant(&def, &saga), before);
    saga.steps[2] = (struct saga_step_run){.state = SAGA_STEP_SUCCEEDED};
    assert_string_equal(saga_invariant(&def, &saga), before);
    saga.steps[1] = (struct saga_step_run){.state = SAGA_STEP_SKIPPED};
    saga.steps[2] = (struct saga_step_run){.state = SAGA_STEP_WAITING};
    assert_null(saga_invariant(&def, &saga));
    saga = started(&def);
    saga.cause_step = 3; /* one behind the last */
    assert_string_equal(saga_invariant(&def, &saga), "the cause names no step");
}

/* The first comes behind the last, and the last was undone before it. */
static void test_invariant_when_undone_before_an_earlier_line_then_names_s5(void **state)
{
    (void)state;
    struct saga_definition def;
    struct saga saga = turned_back(&def);
    def.steps[0].after_mask = 2;
    def.steps[1].after_mask = 0;
    assert_true(saga_definition_finish(&def));
    saga.steps[0] = (struct saga_step_run){.state = SAGA_STEP_SUCCEEDED};
    saga.steps[1] = (struct saga_step_run){.state = SAGA_STEP_UNDONE};
    assert_memory_equal(saga_invariant(&def, &saga), "S5: a step is undone only after", 31);
    saga.steps[0].state = SAGA_STEP_UNDONE;
    assert_null(saga_invariant(&def, &saga));
}

/* ---- A saga that is as large as can be ---- */

/* What lies behind the last step makes a noise if it is ever taken for one. */
struct full {
    struct saga saga;
    struct saga_step_run trap;
    struct saga_definition def;
    struct saga_update up;
};

static void give(struct full *full, struct saga_event ev)
{
    static const struct saga_step_run trap = {.state = SAGA_STEP_UNDOING,
                                              .wait = SAGA_WAIT_RETRY,
                                              .parked = true,
                                              .maybe_effect = true,
                                              .due_unix_ms = 1};
    full->trap = trap;
    saga_step(&full->def, &full->saga, &ev, &full->up);
    assert_int_equal(full->up.verdict, SAGA_VERDICT_TAKEN);
    assert_memory_equal(&full->trap, &trap, sizeof trap);
    assert_int_not_equal(full->up.next_due_unix_ms, 1);
}

static void answer(struct full *full, uint8_t step, enum saga_op op, enum saga_code code)
{
    const struct saga_step_run *run = &full->saga.steps[step];
    give(full, (struct saga_event){.kind = SAGA_EVENT_REPLY,
                                   .step = step,
                                   .op = op,
                                   .attempt =
                                       op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts,
                                   .code = code,
                                   .now_unix_ms = NOW});
}

/* All steps at once; the first is parked and tried again, the second lost and tried again. */
static void start_full(struct full *full)
{
    *full = (struct full){.def = {.step_count = SAGA_STEPS_MAX, .deadline_ms = 1000000}};
    struct saga_definition small = chain();
    for (uint32_t i = 0; i < SAGA_STEPS_MAX; i++) {
        full->def.steps[i] = small.steps[0];
    }
    assert_true(saga_definition_finish(&full->def));
    give(full, (struct saga_event){.kind = SAGA_EVENT_START, .now_unix_ms = NOW, .seed = 1});
    assert_int_equal(full->up.send_count, SAGA_STEPS_MAX);
    give(full, (struct saga_event){.kind = SAGA_EVENT_RECOVERED, .now_unix_ms = NOW});
    assert_int_equal(full->up.send_count, SAGA_STEPS_MAX);
    answer(full, 0, SAGA_OP_CALL, SAGA_CODE_PERMISSION_DENIED);
    assert_int_equal(full->saga.state, SAGA_STATE_PARKED);
    give(full, (struct saga_event){.kind = SAGA_EVENT_OPERATOR,
                                   .act = SAGA_ACT_RETRY,
                                   .step = SAGA_STEP_ALL,
                                   .now_unix_ms = NOW});
    assert_int_equal(full->saga.state, SAGA_STATE_RUNNING);
    assert_int_equal(full->up.send_count, 1);
    answer(full, 1, SAGA_OP_CALL, SAGA_CODE_UNAVAILABLE);
    give(full, (struct saga_event){.kind = SAGA_EVENT_TIMER, .now_unix_ms = NOW + 50});
    assert_int_equal(full->up.send_count, 1);
}

static void test_saga_when_it_has_the_most_steps_and_all_succeed_then_completes(void **state)
{
    (void)state;
    struct full full;
    start_full(&full);
    for (uint8_t i = 0; i < SAGA_STEPS_MAX; i++) {
        assert_int_equal(full.saga.state, SAGA_STATE_RUNNING);
        answer(&full, i, SAGA_OP_CALL, SAGA_CODE_OK);
    }
    assert_int_equal(full.saga.state, SAGA_STATE_COMPLETED);
    assert_int_equal(full.up.next_due_unix_ms, 0);
}

static void test_saga_when_it_has_the_most_steps_and_turns_back_then_is_compensated(void **state)
{
    (void)state;
    struct full full;
    start_full(&full);
    answer(&full, 2, SAGA_OP_CALL, SAGA_CODE_NOT_FOUND);
    assert_int_equal(full.saga.state, SAGA_STATE_COMPENSATING);
    for (uint8_t i = 0; i < SAGA_STEPS_MAX; i++) {
        if (full.saga.steps[i].state == SAGA_STEP_UNDOING) {
            answer(&full, i, SAGA_OP_UNDO, SAGA_CODE_OK);
        }
    }
    assert_int_equal(full.saga.state, SAGA_STATE_COMPENSATED);
    assert_int_equal(full.up.next_due_unix_ms, 0);
}

static void test_act_when_its_step_is_one_behind_the_last_then_is_refused(void **state)
{
    (void)state;
    struct saga_definition def = chain();
    struct saga saga = started(&def);
    struct saga before = saga;
    struct saga_update up;
    struct saga_event ev = {
        .kind = SAGA_EVENT_OPERATOR, .act = SAGA_ACT_SKIP, .step = 3, .now_unix_ms = NOW};
    saga_step(&def, &saga, &ev, &up);
    assert_int_equal(up.verdict, SAGA_VERDICT_REFUSED);
    assert_string_equal(up.refusal, "this act needs a step");
    ev.act = SAGA_ACT_RESOLVE;
    saga_step(&def, &saga, &ev, &up);
    assert_string_equal(up.refusal, "this act needs a step");
    assert_memory_equal(&before, &saga, sizeof saga);
}

static void test_names_when_a_number_is_not_listed_then_say_so(void **state)
{
    (void)state;
    assert_string_equal(saga_state_name((enum saga_state)UNLISTED), "UNLISTED");
    assert_string_equal(saga_step_state_name((enum saga_step_state)UNLISTED), "UNLISTED");
    assert_string_equal(saga_event_kind_name((enum saga_event_kind)UNLISTED), "UNLISTED");
    static const char *const kinds[] = {"START",     "REPLY",    "TIMER",  "DURABLE",
                                        "RECOVERED", "OPERATOR", "REVERSE"};
    for (int i = SAGA_EVENT_START; i <= SAGA_EVENT_REVERSE; i++) {
        assert_string_equal(saga_event_kind_name((enum saga_event_kind)i),
                            kinds[i - SAGA_EVENT_START]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_when_the_event_or_act_has_no_name_then_nothing_changes),
        cmocka_unit_test(test_backoff_when_tried_for_long_then_stops_growing_and_stays_positive),
        cmocka_unit_test(test_backoff_when_the_policy_has_no_delay_then_the_next_millisecond),
        cmocka_unit_test(test_invariant_when_a_number_is_out_of_range_then_says_so),
        cmocka_unit_test(test_invariant_when_undone_in_the_wrong_order_then_names_s5),
        cmocka_unit_test(test_invariant_when_it_went_back_with_an_unknown_pivot_then_names_s2),
        cmocka_unit_test(test_invariant_when_only_one_thing_is_wrong_then_says_which),
        cmocka_unit_test(test_invariant_when_undone_before_an_earlier_line_then_names_s5),
        cmocka_unit_test(test_saga_when_it_has_the_most_steps_and_all_succeed_then_completes),
        cmocka_unit_test(test_saga_when_it_has_the_most_steps_and_turns_back_then_is_compensated),
        cmocka_unit_test(test_act_when_its_step_is_one_behind_the_last_then_is_refused),
        cmocka_unit_test(test_names_when_a_number_is_not_listed_then_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
