/* The checker on definitions whose outcomes are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/check/defs.h"

enum {
    MEMORY_SMALL = 4 * 1024 * 1024,
    SINGLE_STATES = 147,
    SINGLE_TRANSITIONS = 4212,
    DIAMOND_STATES = 4370,
    DIAMOND_TRANSITIONS = 254467,
};

/* Compares the outcomes with a text, a line each. */
static void assert_outcomes(const struct defs *defs, const struct saga_check_result *result,
                            const char *expected)
{
    struct saga_buf text = {0};
    for (size_t i = 0; i < result->outcome_count; i++) {
        assert_int_equal(saga_check_outcome_text(&defs->config, &result->outcomes[i], &text),
                         SAGA_ERR_OK);
        assert_int_equal(saga_buf_append(&text, saga_bytes_text("\n")), SAGA_ERR_OK);
    }
    assert_int_equal(saga_buf_append(&text, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    assert_string_equal((const char *)text.data, expected);
    saga_buf_fini(&text);
}

/* ---- outcomes ---- */

static void test_check_single_step_when_explored_then_both_ends_are_reached(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    defs_init(&defs);
    (void)defs_add(&defs, "stock", UNDO, 0);
    defs.config.without = SAGA_CHECK_OPERATOR;
    defs_prove(&defs, &result);
    assert_outcomes(&defs, &result,
                    "COMPLETED stock=done\n"
                    "COMPENSATED stock=none\n"
                    "COMPENSATED stock=undone\n");
    saga_check_result_fini(&result);
    defs.config.without = 0; /* a person may skip it before it is called */
    defs_prove(&defs, &result);
    assert_outcomes(&defs, &result,
                    "COMPLETED stock=none\n"
                    "COMPLETED stock=done\n"
                    "COMPENSATED stock=none\n"
                    "COMPENSATED stock=undone\n");
    saga_check_result_fini(&result);
}

static void test_check_pivot_when_explored_then_nothing_behind_it_is_missing(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    defs_init(&defs);
    uint64_t order = defs_add(&defs, "order", STARTER | UNDO_NNG, 0);
    uint64_t pay = defs_add(&defs, "pay", PIVOT, order);
    (void)defs_add(&defs, "confirm", 0, pay);
    defs.config.without = SAGA_CHECK_OPERATOR;
    defs_prove(&defs, &result);
    assert_outcomes(&defs, &result,
                    "COMPLETED order=done pay=done confirm=done\n"
                    "COMPENSATED order=undone pay=none confirm=none\n");
    saga_check_result_fini(&result);
}

static void test_check_condition_when_explored_then_it_holds_and_does_not(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    defs_init(&defs);
    uint64_t gift = defs_add(&defs, "gift", UNDO | WHEN, 0);
    (void)defs_add(&defs, "pay", PIVOT, gift);
    defs.config.without = SAGA_CHECK_OPERATOR;
    defs_prove(&defs, &result);
    assert_outcomes(&defs, &result,
                    "COMPLETED gift=none pay=done\n"
                    "COMPLETED gift=done pay=done\n"
                    "COMPENSATED gift=none pay=none\n"
                    "COMPENSATED gift=undone pay=none\n");
    saga_check_result_fini(&result);
}

static void
test_check_without_pivot_when_it_is_a_step_of_another_then_its_end_is_undone(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    defs_init(&defs);
    uint64_t a = defs_add(&defs, "a", UNDO | KAFKA, 0);
    (void)defs_add(&defs, "b", UNDO | CHILD, a);
    defs.config.child = true;
    defs.config.without = SAGA_CHECK_OPERATOR;
    defs_prove(&defs, &result);
    assert_outcomes(&defs, &result,
                    "COMPLETED a=done b=done\n"
                    "COMPENSATED a=none b=none\n"
                    "COMPENSATED a=undone b=none\n"
                    "COMPENSATED a=undone b=undone\n");
    saga_check_result_fini(&result);
}

/* ---- the same, however it is explored ---- */

static void assert_same(const struct saga_check_result *a, const struct saga_check_result *b)
{
    assert_int_equal(a->verdict, b->verdict);
    assert_int_equal(a->outcome_count, b->outcome_count);
    for (size_t i = 0; i < a->outcome_count; i++) {
        assert_int_equal(a->outcomes[i].state, b->outcomes[i].state);
        assert_int_equal(a->outcomes[i].effects, b->outcomes[i].effects);
    }
}

static void test_check_diamond_when_like_steps_are_exchanged_then_nothing_is_lost(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result reduced;
    struct saga_check_result whole;
    defs_diamond(&defs);
    defs_prove(&defs, &reduced);
    assert_int_equal(reduced.alike, 1);
    defs.config.no_symmetry = true;
    defs_prove(&defs, &whole);
    assert_int_equal(whole.alike, 0);
    assert_same(&reduced, &whole);
    assert_true(reduced.states < whole.states && whole.states < 2 * reduced.states);
    saga_check_result_fini(&reduced);
    saga_check_result_fini(&whole);
}

static void test_check_threads_when_more_then_everything_is_counted_the_same(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result one;
    defs_diamond(&defs);
    defs.config.attempts = 2;
    defs_prove(&defs, &one);
    for (uint32_t threads = 2; threads <= 5; threads += 3) {
        struct saga_check_result many;
        defs.config.threads = threads;
        defs_prove(&defs, &many);
        assert_same(&one, &many);
        assert_int_equal(one.states, many.states);
        assert_int_equal(one.transitions, many.transitions);
        assert_int_equal(one.depth, many.depth);
        assert_int_equal(one.ended, many.ended);
        assert_int_equal(one.heal, many.heal);
        saga_check_result_fini(&many);
    }
    saga_check_result_fini(&one);
}

/* A change of these numbers is a change of what is explored: look why. */
static void test_check_known_definitions_when_explored_then_the_states_are_those(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    defs_init(&defs);
    (void)defs_add(&defs, "stock", UNDO, 0);
    defs_prove(&defs, &result);
    assert_int_equal(result.states, SINGLE_STATES);
    assert_int_equal(result.transitions, SINGLE_TRANSITIONS);
    saga_check_result_fini(&result);
    defs_diamond(&defs);
    defs_prove(&defs, &result);
    assert_int_equal(result.states, DIAMOND_STATES);
    assert_int_equal(result.transitions, DIAMOND_TRANSITIONS);
    saga_check_result_fini(&result);
}

static void test_check_attempts_when_more_then_no_outcome_is_new(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result one;
    defs_diamond(&defs);
    defs_prove(&defs, &one);
    assert_true(one.clamped);
    for (uint32_t attempts = 2; attempts <= 3; attempts++) {
        struct saga_check_result more;
        defs.config.attempts = attempts;
        defs_prove(&defs, &more);
        assert_same(&one, &more);
        assert_true(more.states > one.states);
        assert_int_equal(more.clamped, attempts < ATTEMPTS);
        saga_check_result_fini(&more);
    }
    saga_check_result_fini(&one);
}

static void test_check_parts_when_left_out_then_less_is_explored(void **state)
{
    (void)state;
    static const char *const parts[] = {"operator", "cancel", "pause",   "crash",
                                        "deadline", "unsent", "park",    "timeout",
                                        "late",     "retry",  "unknown", "start"};
    struct defs defs;
    struct saga_check_result all;
    defs_diamond(&defs);
    defs_prove(&defs, &all);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct saga_check_result less;
        defs.config.without = saga_check_part_find(parts[i]);
        assert_int_not_equal(defs.config.without, 0);
        defs_prove(&defs, &less);
        assert_true(less.transitions < all.transitions);
        assert_true(less.outcome_count <= all.outcome_count);
        saga_check_result_fini(&less);
    }
    assert_int_equal(saga_check_part_find("nothing"), 0);
    saga_check_result_fini(&all);
}

/* ---- bounds ---- */

static void test_check_memory_when_used_up_then_nothing_is_proved(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    defs_order(&defs, KAFKA);
    defs.config.attempts = 2;
    defs.config.memory_max = MEMORY_SMALL;
    defs_run(&defs, &result);
    assert_int_equal(result.verdict, SAGA_CHECK_OUT_OF_MEMORY);
    assert_true(result.states > 1000);
    assert_int_equal(result.transcript.size, 0);
    saga_check_result_fini(&result);
    defs_diamond(&defs); /* enough to explore, and not to show that all ends */
    defs_prove(&defs, &result);
    size_t enough = result.memory;
    saga_check_result_fini(&result);
    defs.config.memory_max = enough - 1;
    defs_run(&defs, &result);
    assert_int_equal(result.verdict, SAGA_CHECK_OUT_OF_MEMORY);
    saga_check_result_fini(&result);
}

static void test_check_definition_when_too_wide_then_it_says_so(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct defs defs;
    struct saga_check_result result;
    defs_init(&defs);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)defs_add(&defs, names[i], UNDO | WHEN, 0);
    }
    defs_run(&defs, &result);
    assert_int_equal(result.verdict, SAGA_CHECK_TOO_WIDE);
    assert_int_equal(result.wide, SAGA_CHECK_WIDTH_CONDITIONS);
    assert_true(result.wide_count > SAGA_CHECK_CONDITIONS_MAX);
    saga_check_result_fini(&result);
}

static void test_check_config_when_out_of_bounds_then_invalid(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    defs_diamond(&defs);
    defs.config.attempts = 0;
    assert_int_equal(saga_check_run(&defs.config, &result), SAGA_ERR_INVALID);
    saga_check_result_fini(&result);
    defs.config.attempts = SAGA_CHECK_ATTEMPTS_MAX + 1;
    assert_int_equal(saga_check_run(&defs.config, &result), SAGA_ERR_INVALID);
    saga_check_result_fini(&result);
    defs.config.attempts = 1;
    defs.config.threads = 0;
    assert_int_equal(saga_check_run(&defs.config, &result), SAGA_ERR_INVALID);
    saga_check_result_fini(&result);
    defs.config.threads = 1;
    defs.def.steps[1].after_mask = 1 << 1; /* after itself */
    assert_int_equal(saga_check_run(&defs.config, &result), SAGA_ERR_INVALID);
    saga_check_result_fini(&result);
}

struct seen {
    uint64_t states;
    unsigned calls;
    bool ending;
};

static void see(void *user, const struct saga_check_progress *progress)
{
    struct seen *seen = user;
    assert_true(progress->states >= seen->states);
    seen->states = progress->states;
    seen->calls++;
    seen->ending = progress->ending;
}

static void test_check_progress_when_it_runs_then_it_is_told(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    struct seen seen = {0};
    defs_diamond(&defs);
    defs.config.progress = see;
    defs.config.user = &seen;
    defs_prove(&defs, &result);
    assert_true(seen.calls > 2 && seen.ending);
    assert_int_equal(seen.states, result.states);
    saga_check_result_fini(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_single_step_when_explored_then_both_ends_are_reached),
        cmocka_unit_test(test_check_pivot_when_explored_then_nothing_behind_it_is_missing),
        cmocka_unit_test(test_check_condition_when_explored_then_it_holds_and_does_not),
        cmocka_unit_test(
            test_check_without_pivot_when_it_is_a_step_of_another_then_its_end_is_undone),
        cmocka_unit_test(test_check_diamond_when_like_steps_are_exchanged_then_nothing_is_lost),
        cmocka_unit_test(test_check_threads_when_more_then_everything_is_counted_the_same),
        cmocka_unit_test(test_check_known_definitions_when_explored_then_the_states_are_those),
        cmocka_unit_test(test_check_attempts_when_more_then_no_outcome_is_new),
        cmocka_unit_test(test_check_parts_when_left_out_then_less_is_explored),
        cmocka_unit_test(test_check_memory_when_used_up_then_nothing_is_proved),
        cmocka_unit_test(test_check_definition_when_too_wide_then_it_says_so),
        cmocka_unit_test(test_check_config_when_out_of_bounds_then_invalid),
        cmocka_unit_test(test_check_progress_when_it_runs_then_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
