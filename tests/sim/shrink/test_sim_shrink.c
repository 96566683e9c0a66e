/* The shrinker against a simulator of which the answer is known: a world breaks its rule exactly
 * when certain faults happen, with enough sagas and time. */
#include "verify/sim/shrink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FAULTS = 200, NEEDED_MAX = 8 };

/* The world. Fault i has identity i and happens at i × 100 ms. */
static struct {
    uint64_t needed[NEEDED_MAX]; /* all of them break the rule */
    size_t needed_count;
    uint32_t saga_count;     /* at least so many */
    bool other_rule;         /* with an odd number of faults another rule is broken */
    bool moody;              /* `only` does not bring the same back */
    enum saga_err err_at_10; /* of the tenth run */
    unsigned runs;
} world;

static bool happens(const struct saga_sim_config *config, uint64_t identity)
{
    if ((int64_t)identity * 100 >= config->safety_ms) {
        return false;
    }
    if (!config->has_only) {
        return true;
    }
    for (size_t i = 0; i < config->only_count; i++) {
        if (config->only[i].identity == identity) {
            assert_int_equal(config->only[i].kind, SAGA_SIM_REQUEST_LOST);
            return true;
        }
    }
    return false;
}

enum saga_err saga_sim_run(struct saga_sim *sim, const struct saga_sim_config *config,
                           struct saga_sim_result *result, struct saga_err_detail *detail)
{
    assert_null(sim);
    assert_null(config->transcript);
    assert_int_equal(config->seed, 7);
    memset(result, 0, sizeof *result);
    world.runs++;
    if (world.runs == 10 && world.err_at_10 != SAGA_ERR_OK) {
        return saga_err_set(detail, world.err_at_10, "at 10");
    }
    result->fired = calloc(FAULTS, sizeof *result->fired);
    assert_non_null(result->fired);
    size_t found = 0;
    for (uint64_t i = 0; i < FAULTS; i++) {
        if (!happens(config, i)) {
            continue;
        }
        result->fired[result->fired_count++] = (struct saga_sim_fired){
            .hit = {SAGA_SIM_REQUEST_LOST, i}, .at_us = (int64_t)i * 100000};
        for (size_t k = 0; k < world.needed_count; k++) {
            if (world.needed[k] == i) {
                found++;
                result->violated_at_us = (int64_t)i * 100000 + 50000;
            }
        }
    }
    result->violated = found == world.needed_count && config->saga_count >= world.saga_count &&
                       !(world.moody && config->has_only);
    bool other = world.other_rule && result->fired_count % 2 == 1;
    strcpy(result->rule, other ? "S9" : "S5");
    return SAGA_ERR_OK;
}

void saga_sim_result_fini(struct saga_sim_result *result)
{
    free(result->fired);
    memset(result, 0, sizeof *result);
}

static const struct saga_sim_config base = {.seed = 7, .saga_count = 100, .safety_ms = 60000};

static void needs(const uint64_t *identities, size_t count, uint32_t saga_count)
{
    memset(&world, 0, sizeof world);
    for (size_t i = 0; i < count; i++) {
        world.needed[i] = identities[i];
    }
    world.needed_count = count;
    world.saga_count = saga_count;
}

static struct saga_sim_shrunk run(uint32_t runs_max)
{
    struct saga_err_detail detail = {.text = ""};
    const struct saga_sim_shrink shrink = {.config = &base, .runs_max = runs_max};
    struct saga_sim_shrunk shrunk;
    if (saga_sim_shrink(&shrink, &shrunk, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    assert_true(shrunk.result.violated);
    assert_int_equal(shrunk.runs, world.runs);
    return shrunk;
}

static void assert_faults(const struct saga_sim_shrunk *shrunk, const uint64_t *identities,
                          size_t count)
{
    assert_int_equal(shrunk->fault_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(shrunk->faults[i].identity, identities[i]);
    }
}

static void test_shrink_when_few_faults_matter_then_only_they_are_left(void **state)
{
    (void)state;
    static const uint64_t sets[][4] = {{0}, {199}, {3, 4}, {0, 199}, {5, 50, 150}, {7, 8, 9, 150}};
    static const size_t counts[] = {1, 1, 2, 2, 3, 4};
    for (size_t i = 0; i < 6; i++) {
        needs(sets[i], counts[i], 13);
        struct saga_sim_shrunk shrunk = run(0);
        assert_faults(&shrunk, sets[i], counts[i]);
        assert_int_equal(shrunk.saga_count, 13);
        assert_true(shrunk.alone && shrunk.minimal);
        assert_int_equal(shrunk.fault_count_before, FAULTS);
        assert_int_equal(shrunk.saga_count_before, 100);
        assert_true(shrunk.safety_ms <= 2 * ((int64_t)sets[i][counts[i] - 1] * 100 + 51));
        assert_true(shrunk.runs < 150);
        saga_sim_shrunk_fini(&shrunk);
    }
}

static void test_shrink_when_no_fault_matters_then_none_is_left(void **state)
{
    (void)state;
    needs(NULL, 0, 1);
    struct saga_sim_shrunk shrunk = run(0);
    assert_int_equal(shrunk.fault_count, 0);
    assert_int_equal(shrunk.saga_count, 1);
    assert_true(shrunk.minimal);
    saga_sim_shrunk_fini(&shrunk);
}

static void test_shrink_when_run_again_then_same_story(void **state)
{
    (void)state;
    static const uint64_t set[] = {11, 12, 77};
    uint32_t runs[2];
    for (int i = 0; i < 2; i++) {
        needs(set, 3, 40);
        struct saga_sim_shrunk shrunk = run(0);
        assert_faults(&shrunk, set, 3);
        runs[i] = shrunk.runs;
        saga_sim_shrunk_fini(&shrunk);
    }
    assert_int_equal(runs[0], runs[1]);
}

static void test_shrink_when_another_rule_breaks_on_the_way_then_not_taken(void **state)
{
    (void)state;
    static const uint64_t set[] = {10, 20};
    needs(set, 2, 1);
    world.other_rule = true;
    struct saga_sim_shrunk shrunk = run(0);
    assert_string_equal(shrunk.result.rule, "S5");
    assert_int_equal(shrunk.fault_count % 2, 0);
    assert_true(shrunk.fault_count < 20);
    saga_sim_shrunk_fini(&shrunk);
}

static void test_shrink_when_budget_is_used_up_then_what_there_is(void **state)
{
    (void)state;
    static const uint64_t set[] = {5, 50, 150};
    needs(set, 3, 1);
    struct saga_sim_shrunk shrunk = run(12);
    assert_int_equal(shrunk.runs, 12);
    assert_false(shrunk.minimal);
    assert_true(shrunk.fault_count > 3 && shrunk.fault_count < FAULTS);
    /* The story is a real one. */
    struct saga_sim_config config = saga_sim_shrunk_config(&base, &shrunk);
    struct saga_sim_result result;
    assert_true(config.has_only);
    assert_int_equal(config.saga_count, shrunk.saga_count);
    assert_int_equal(saga_sim_run(NULL, &config, &result, NULL), SAGA_ERR_OK);
    assert_true(result.violated);
    saga_sim_result_fini(&result);
    saga_sim_shrunk_fini(&shrunk);
}

static void test_shrink_when_faults_alone_do_not_do_then_the_seed_as_it_is(void **state)
{
    (void)state;
    static const uint64_t set[] = {5};
    needs(set, 1, 1);
    world.moody = true;
    struct saga_sim_shrunk shrunk = run(0);
    assert_false(shrunk.alone);
    assert_int_equal(shrunk.runs, 2);
    struct saga_sim_config config = saga_sim_shrunk_config(&base, &shrunk);
    assert_false(config.has_only);
    saga_sim_shrunk_fini(&shrunk);
}

static void test_shrink_when_nothing_is_broken_then_not_found(void **state)
{
    (void)state;
    struct saga_err_detail detail = {.text = ""};
    const struct saga_sim_shrink shrink = {.config = &base};
    struct saga_sim_shrunk shrunk;
    static const uint64_t set[] = {FAULTS + 1};
    needs(set, 1, 1);
    assert_int_equal(saga_sim_shrink(&shrink, &shrunk, &detail), SAGA_ERR_NOT_FOUND);
    assert_non_null(strstr(detail.text, "seed 7"));
    assert_null(shrunk.faults);
}

static void test_shrink_when_a_run_fails_then_its_error(void **state)
{
    (void)state;
    struct saga_err_detail detail = {.text = ""};
    const struct saga_sim_shrink shrink = {.config = &base};
    struct saga_sim_shrunk shrunk;
    static const uint64_t set[] = {1};
    needs(set, 1, 1);
    world.err_at_10 = SAGA_ERR_NO_MEMORY;
    assert_int_equal(saga_sim_shrink(&shrink, &shrunk, &detail), SAGA_ERR_NO_MEMORY);
    assert_string_equal(detail.text, "at 10");
    assert_null(shrunk.faults);
}

/* Dies with enough sagas; nobody knows its faults. */
static enum saga_err run_dying(void *user, struct saga_sim *sim,
                               const struct saga_sim_config *config, struct saga_sim_result *result,
                               struct saga_err_detail *detail)
{
    unsigned *runs = user;
    (void)sim;
    (void)detail;
    (*runs)++;
    assert_false(config->has_only);
    memset(result, 0, sizeof *result);
    result->violated = config->saga_count >= 23 && config->safety_ms >= 1000;
    strcpy(result->rule, SAGA_SIM_DIED);
    return SAGA_ERR_OK;
}

static void test_shrink_when_process_dies_then_fewer_sagas_and_less_time(void **state)
{
    (void)state;
    struct saga_err_detail detail = {.text = ""};
    unsigned runs = 0;
    const struct saga_sim_shrink shrink = {.config = &base, .run = run_dying, .user = &runs};
    struct saga_sim_shrunk shrunk;
    assert_int_equal(saga_sim_shrink(&shrink, &shrunk, &detail), SAGA_ERR_OK);
    assert_int_equal(shrunk.saga_count, 23);
    assert_in_range(shrunk.safety_ms, 1000, 2000);
    assert_false(shrunk.alone);
    assert_false(shrunk.minimal);
    assert_int_equal(shrunk.runs, runs);
    struct saga_sim_config config = saga_sim_shrunk_config(&base, &shrunk);
    assert_false(config.has_only);
    assert_int_equal(config.saga_count, 23);
    saga_sim_shrunk_fini(&shrunk);
}

static void count_tell(void *user, const struct saga_sim_shrink_progress *progress)
{
    unsigned *count = user;
    (*count)++;
    assert_true(progress->runs <= progress->runs_max);
    assert_true(progress->fault_count <= FAULTS);
}

static void test_shrink_when_listened_to_then_told_after_each_run(void **state)
{
    (void)state;
    struct saga_err_detail detail = {.text = ""};
    unsigned count = 0;
    const struct saga_sim_shrink shrink = {.config = &base, .tell = count_tell, .user = &count};
    struct saga_sim_shrunk shrunk;
    static const uint64_t set[] = {1};
    needs(set, 1, 1);
    assert_int_equal(saga_sim_shrink(&shrink, &shrunk, &detail), SAGA_ERR_OK);
    assert_int_equal(count, shrunk.runs - 1); /* all but the first, which only looks */
    saga_sim_shrunk_fini(&shrunk);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shrink_when_few_faults_matter_then_only_they_are_left),
        cmocka_unit_test(test_shrink_when_no_fault_matters_then_none_is_left),
        cmocka_unit_test(test_shrink_when_run_again_then_same_story),
        cmocka_unit_test(test_shrink_when_another_rule_breaks_on_the_way_then_not_taken),
        cmocka_unit_test(test_shrink_when_budget_is_used_up_then_what_there_is),
        cmocka_unit_test(test_shrink_when_faults_alone_do_not_do_then_the_seed_as_it_is),
        cmocka_unit_test(test_shrink_when_nothing_is_broken_then_not_found),
        cmocka_unit_test(test_shrink_when_a_run_fails_then_its_error),
        cmocka_unit_test(test_shrink_when_process_dies_then_fewer_sagas_and_less_time),
        cmocka_unit_test(test_shrink_when_listened_to_then_told_after_each_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
