/* The whole simulated world: a fixed list of seeds, each twice with one trace; or, by environment,
 * as many others as are asked for:
 *
 *     SAGA_SIM_FIRST=N SAGA_SIM_COUNT=N    these seeds (once each, the first ones twice)
 *     SAGA_SIM_SECONDS=N                   seeds from SAGA_SIM_FIRST (default: 1) for so long
 *     SAGA_SIM_SAGAS=N                     sagas of each world
 *     SAGA_SIM_SAGA=NAME                   the saga that is run (create-order; random: sagas of
 *                                          random shape, another set for every few seeds)
 *     SAGA_SIM_HEAL_MS=N                   virtual time in which all must end (1: a violation)
 *     SAGA_SIM_STORY=1                     the story of each seed, on stdout */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/sim/world/story.h"
#include "verify/sim/sim.h"
#include "verify/sim/workload.h"

/* One thread runs a world: what the thread sanitizer looks for is in the first of them. */
#if defined(__SANITIZE_THREAD__)
enum { SEEDS = 8 };
#else
enum { SEEDS = 24 };
#endif
enum { SAGAS = 48, TWICE = 3, SEEDS_A_SHAPE = 4 };

static struct saga_sim *sim;
static const char *definition;
static bool random_sagas;
static struct saga_buf random_set; /* the definitions in sim, when they are random */
static const char *program = "build/dev/tests/test_sim_world";
static uint64_t shape = UINT64_MAX; /* of the random sagas in sim */

struct totals {
    uint64_t seeds, sagas, completed, compensated, children, happenings, crashes, takeovers;
    int64_t virtual_ms;
    uint64_t fired[SAGA_SIM_FAULT_COUNT];
};

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == '\0' ? otherwise : strtoull(text, NULL, 10);
}

/* Random sagas: the same for four seeds, as compiling them costs as much as a world. */
static void take_shape(uint64_t seed)
{
    struct saga_err_detail detail = {{0}};
    struct saga_workload_shape any = {0};
    if (!random_sagas || seed / SEEDS_A_SHAPE == shape) {
        return;
    }
    shape = seed / SEEDS_A_SHAPE;
    saga_sim_free(sim);
    sim = NULL;
    saga_buf_clear(&random_set);
    assert_int_equal(saga_workload_definitions(shape, &any, &random_set), SAGA_ERR_OK);
    enum saga_err err = saga_sim_new(saga_buf_view(&random_set), "sim-0", &sim, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("shape %" PRIu64 ": %s", shape, detail.text);
    }
}

static struct saga_sim_config config_of(uint64_t seed)
{
    return (struct saga_sim_config){
        .seed = seed,
        .saga_count = (uint32_t)number("SAGA_SIM_SAGAS", SAGAS),
        .heal_ms = (int64_t)number("SAGA_SIM_HEAL_MS", 0),
        .faults_off = number("SAGA_SIM_CALM", 0) != 0,
    };
}

static void run(uint64_t seed, FILE *transcript, struct saga_sim_result *result)
{
    struct saga_err_detail detail = {{0}};
    take_shape(seed);
    struct saga_sim_config config = config_of(seed);
    config.transcript = transcript;
    enum saga_err err = saga_sim_run(sim, &config, result, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("seed %" PRIu64 ": %s: %s", seed, saga_err_name(err), detail.text);
    }
}

static void add(struct totals *totals, const struct saga_sim_result *result)
{
    totals->seeds++;
    totals->sagas += result->started;
    totals->completed += result->completed;
    totals->compensated += result->compensated;
    totals->children += result->children;
    totals->happenings += result->happenings;
    totals->crashes += result->crashes;
    totals->takeovers += result->takeovers;
    totals->virtual_ms += result->virtual_ms;
    for (size_t i = 0; i < SAGA_SIM_FAULT_COUNT; i++) {
        totals->fired[i] += result->fired_by_kind[i];
    }
}

static void check(uint64_t seed, bool twice, struct totals *totals)
{
    struct saga_sim_result result;
    run(seed, number("SAGA_SIM_STORY", 0) != 0 ? stdout : NULL, &result);
    add(totals, &result);
    uint64_t hash = result.trace_hash;
    if (result.violated) {
        char text[700];
        (void)snprintf(text, sizeof text, "%s at %.3f s: %s", result.rule,
                       (double)result.violated_at_us / 1e6, result.violation);
        const struct story story = {.sim = sim,
                                    .config = config_of(seed),
                                    .definition = definition,
                                    .set = saga_buf_view(&random_set),
                                    .program = program,
                                    .quiet = number("SAGA_SIM_QUIET", 0) != 0};
        story_tell(&story, &result, stderr);
        saga_sim_result_fini(&result);
        if (number("SAGA_SIM_GO_ON", 0) == 0) {
            fail_msg("seed %" PRIu64 " breaks %s", seed, text);
        }
        return;
    }
    /* S1: none is left over; children are among those that have started. */
    assert_int_equal(result.started, result.completed + result.compensated);
    saga_sim_result_fini(&result);
    if (twice) {
        run(seed, NULL, &result);
        uint64_t again = result.trace_hash;
        saga_sim_result_fini(&result);
        if (again != hash) {
            fail_msg("seed %" PRIu64 " gives two traces: %016" PRIx64 " and %016" PRIx64, seed,
                     hash, again);
        }
    }
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void report(const struct totals *totals, double spent)
{
    print_message("%" PRIu64 " seeds, %" PRIu64 " sagas (%" PRIu64 " completed, %" PRIu64
                  " compensated, %" PRIu64 " children), %" PRIu64 " happenings, %" PRIu64
                  " crashes, %" PRIu64 " takeovers; virtual %.0f s in %.1f s of CPU: %.0f sagas/s, "
                  "%.0f times real time\n",
                  totals->seeds, totals->sagas, totals->completed, totals->compensated,
                  totals->children, totals->happenings, totals->crashes, totals->takeovers,
                  (double)totals->virtual_ms / 1e3, spent, (double)totals->sagas / spent,
                  (double)totals->virtual_ms / 1e3 / spent);
    for (int kind = 0; kind < (int)SAGA_SIM_FAULT_COUNT; kind++) {
        print_message("  %-26s %" PRIu64 "\n", saga_sim_fault_name((enum saga_sim_fault)kind),
                      totals->fired[kind]);
    }
}

static void test_worlds_with_faults_end_without_violation(void **state)
{
    (void)state;
    struct totals totals = {0};
    uint64_t first = number("SAGA_SIM_FIRST", 1);
    uint64_t limit = number("SAGA_SIM_SECONDS", 0);
    uint64_t count = number("SAGA_SIM_COUNT", limit == 0 ? SEEDS : UINT64_MAX);
    bool fixed = getenv("SAGA_SIM_FIRST") == NULL && limit == 0;
    double begun = seconds();
    (void)fprintf(stderr, "worlds of %s from seed %" PRIu64 "\n", definition, first);
    for (uint64_t i = 0; i < count && (limit == 0 || seconds() - begun < (double)limit); i++) {
        check(first + i, fixed || i < TWICE, &totals);
    }
    report(&totals, seconds() - begun);
    assert_true(totals.seeds > 0 && totals.sagas > 0);
}

/* No time for ending: every world breaks S1. */
static void test_world_when_it_breaks_a_rule_then_the_shortest_story_is_told(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    struct saga_err_detail detail = {{0}};
    struct saga_sim_result result = {0};
    struct saga_sim_config config = {.saga_count = 8, .heal_ms = 1};
    for (config.seed = 28; !result.violated && config.seed < 128; config.seed++) {
        saga_sim_result_fini(&result);
        take_shape(config.seed);
        assert_int_equal(saga_sim_run(sim, &config, &result, &detail), SAGA_ERR_OK);
    }
    config.seed--;
    assert_true(result.violated);
    char again[160];
    (void)snprintf(again, sizeof again,
                   "run it again: SAGA_SIM_FIRST=%" PRIu64
                   " SAGA_SIM_COUNT=1 SAGA_SIM_SAGA=random SAGA_SIM_SAGAS=8 SAGA_SIM_HEAL_MS=1 "
                   "here/test_sim_world\n",
                   config.seed);
    const struct story story = {.sim = sim,
                                .config = config,
                                .definition = definition,
                                .set = saga_buf_view(&random_set),
                                .program = "here/test_sim_world"};
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    story_tell(&story, &result, out);
    assert_int_equal(fclose(out), 0);
    const char *const parts[] = {
        "seed ",
        " of random breaks S1 at ",
        again,
        "sim-0, deadline ",
        "  step-",
        ", after ",
        "shrunk in ",
        " and 8 sagas to ",
        "what happened:\n",
        "VIOLATION S1: ",
    };
    const char *at = text;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        at = strstr(at, parts[i]);
        if (at == NULL) {
            fail_msg("\"%s\" is not in (in its place):\n%s", parts[i], text);
        }
    }
    free(text);
    saga_sim_result_fini(&result);
}

static int setup(void **state)
{
    struct saga_err_detail detail = {{0}};
    const char *asked = getenv("SAGA_SIM_SAGA");
    definition = asked == NULL || asked[0] == '\0' ? *state : asked;
    random_sagas = strcmp(definition, "random") == 0;
    shape = UINT64_MAX;
    if (!random_sagas &&
        saga_sim_new((struct saga_bytes){0}, definition, &sim, &detail) != SAGA_ERR_OK) {
        print_error("%s\n", detail.text);
        return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    saga_sim_free(sim);
    sim = NULL;
    saga_buf_fini(&random_set);
    return 0;
}

int main(int argc, char **argv)
{
    program = argc > 0 ? argv[0] : program;
    static char orders[] = "create-order", orders_async[] = "create-order-async";
    static char shapes[] = "random";
    const struct CMUnitTest only[] = {
        cmocka_unit_test_prestate_setup_teardown(test_worlds_with_faults_end_without_violation,
                                                 setup, teardown, orders),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_worlds_with_faults_end_without_violation,
                                                 setup, teardown, orders),
        cmocka_unit_test_prestate_setup_teardown(test_worlds_with_faults_end_without_violation,
                                                 setup, teardown, orders_async),
        cmocka_unit_test_prestate_setup_teardown(test_worlds_with_faults_end_without_violation,
                                                 setup, teardown, shapes),
        cmocka_unit_test_prestate_setup_teardown(
            test_world_when_it_breaks_a_rule_then_the_shortest_story_is_told, setup, teardown,
            shapes),
    };
    if (getenv("SAGA_SIM_SAGA") != NULL) { /* that one alone */
        return cmocka_run_group_tests_name("sim_world", only, NULL, NULL);
    }
    return cmocka_run_group_tests_name("sim_world", tests, NULL, NULL);
}
