/* The swarm: the same seed the same swarm, within its bounds, everything on somewhere and off
 * elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "verify/sim/swarm.h"

enum { SEEDS = 2000 };

static void test_draw_when_repeated_then_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct saga_swarm a;
        struct saga_swarm b;
        saga_swarm_draw(seed, &a);
        saga_swarm_draw(seed, &b);
        assert_memory_equal(&a, &b, sizeof a);
        assert_int_equal(a.seed, seed);
    }
}

static void test_draw_when_many_seeds_then_each_knob_is_on_and_off_and_within_bounds(void **state)
{
    (void)state;
    size_t count = saga_swarm_knob_count();
    for (size_t i = 0; i < count; i++) {
        const struct saga_swarm_knob *knob = saga_swarm_knob_at(i);
        size_t on = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            struct saga_swarm swarm;
            saga_swarm_draw(seed, &swarm);
            int64_t value = saga_swarm_value(&swarm, i);
            if (value != 0) {
                on++;
                assert_true(value >= knob->low && value <= knob->high);
                assert_true((swarm.groups_mask >> knob->group & 1U) != 0);
            }
        }
        if (knob->group == SAGA_SWARM_LOAD) {
            assert_int_equal(on, SEEDS);
        } else {
            assert_in_range(on, SEEDS / 8, SEEDS * 3 / 4);
        }
    }
}

static void test_heal_when_faults_then_only_the_load_is_left(void **state)
{
    (void)state;
    struct saga_swarm swarm;
    saga_swarm_draw(7, &swarm);
    saga_swarm_heal(&swarm);
    for (size_t i = 0; i < saga_swarm_knob_count(); i++) {
        bool load = saga_swarm_knob_at(i)->group == SAGA_SWARM_LOAD;
        assert_int_equal(saga_swarm_value(&swarm, i) != 0, load);
    }
}

static void test_set_when_bad_then_refused_with_the_bounds(void **state)
{
    (void)state;
    struct saga_swarm swarm = {0};
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_swarm_set(&swarm, "no_such_knob", 1, &detail), SAGA_ERR_NOT_FOUND);
    assert_int_equal(saga_swarm_set(&swarm, "crash_ppm", 1000001, &detail), SAGA_ERR_LIMIT);
    assert_non_null(strstr(detail.text, "1000000"));
    assert_int_equal(saga_swarm_set(&swarm, "crash_ppm", -1, &detail), SAGA_ERR_LIMIT);
    assert_int_equal(saga_swarm_set(&swarm, "saga_count", 0, &detail), SAGA_ERR_LIMIT);
    assert_int_equal(saga_swarm_set(&swarm, "crash_ppm", 500, &detail), SAGA_ERR_OK);
    assert_int_equal(swarm.crash_ppm, 500);
    assert_int_equal(swarm.groups_mask, 1U << SAGA_SWARM_CRASH);
}

static void test_group_off_when_known_then_its_knobs_are_zero(void **state)
{
    (void)state;
    struct saga_swarm swarm = {.crash_ppm = 5, .crash_restart_ms_max = 7, .park_ppm = 9};
    assert_int_equal(saga_swarm_group_off(&swarm, "CRASH"), SAGA_ERR_OK);
    assert_int_equal(swarm.crash_ppm, 0);
    assert_int_equal(swarm.crash_restart_ms_max, 0);
    assert_int_equal(swarm.park_ppm, 9);
    assert_int_equal(saga_swarm_group_off(&swarm, "LOAD"), SAGA_ERR_NOT_FOUND);
    assert_int_equal(saga_swarm_group_off(&swarm, "nothing"), SAGA_ERR_NOT_FOUND);
    assert_string_equal(saga_swarm_group_name(SAGA_SWARM_ZOMBIE), "ZOMBIE");
}

static void test_dice_when_rolled_often_then_near_their_chance(void **state)
{
    (void)state;
    uint64_t prng = 1;
    size_t hits = 0;
    for (size_t i = 0; i < 100000; i++) {
        hits += saga_swarm_strikes(&prng, 100000) ? 1 : 0;
        assert_false(saga_swarm_strikes(&prng, 0));
        assert_true(saga_swarm_strikes(&prng, 1000000));
        int64_t length = saga_swarm_length_ms(&prng, 1000);
        assert_true(length >= 1 && length <= 1000);
        int64_t next = saga_swarm_next_ms(&prng, 50);
        assert_true(next >= 1 && next <= 100);
    }
    assert_in_range(hits, 9000, 11000);
    assert_int_equal(saga_swarm_length_ms(&prng, 0), 0);
    assert_int_equal(saga_swarm_next_ms(&prng, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draw_when_repeated_then_the_same),
        cmocka_unit_test(test_draw_when_many_seeds_then_each_knob_is_on_and_off_and_within_bounds),
        cmocka_unit_test(test_heal_when_faults_then_only_the_load_is_left),
        cmocka_unit_test(test_set_when_bad_then_refused_with_the_bounds),
        cmocka_unit_test(test_group_off_when_known_then_its_knobs_are_zero),
        cmocka_unit_test(test_dice_when_rolled_often_then_near_their_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
