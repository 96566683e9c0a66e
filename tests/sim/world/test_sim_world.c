/* The whole simulated world: a fixed list of seeds, each twice with one trace; or, by environment,
 * as many others as are asked for:
 *
 *     SAGA_SIM_FIRST=N SAGA_SIM_COUNT=N    these seeds (once each, the first ones twice)
 *     SAGA_SIM_SECONDS=N                   seeds from SAGA_SIM_FIRST (default: 1) for so long
 *     SAGA_SIM_SAGAS=N                     sagas of each world
 *     SAGA_SIM_SAGA=NAME                   the saga that is run (create-order; random: sagas of
 *                                          random shape, another set for every few seeds)
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

#include "verify/sim/sim.h"
#include "verify/sim/workload.h"

enum { SEEDS = 24, SAGAS = 48, TWICE = 3, SEEDS_A_SHAPE = 4, STORY_LINES = 400 };

static struct saga_sim *sim;
static const char *definition;
static bool random_sagas;
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
    struct saga_buf set = {0};
    if (!random_sagas || seed / SEEDS_A_SHAPE == shape) {
        return;
    }
    shape = seed / SEEDS_A_SHAPE;
    saga_sim_free(sim);
    sim = NULL;
    assert_int_equal(saga_workload_definitions(shape, &any, &set), SAGA_ERR_OK);
    enum saga_err err = saga_sim_new(saga_buf_view(&set), "sim-0", &sim, &detail);
    saga_buf_fini(&set);
    if (err != SAGA_ERR_OK) {
        fail_msg("shape %" PRIu64 ": %s", shape, detail.text);
    }
}

static void run(uint64_t seed, FILE *transcript, struct saga_sim_result *result)
{
    struct saga_err_detail detail = {{0}};
    take_shape(seed);
    struct saga_sim_config config = {
        .seed = seed,
        .saga_count = (uint32_t)number("SAGA_SIM_SAGAS", SAGAS),
        .faults_off = number("SAGA_SIM_CALM", 0) != 0,
        .transcript = transcript,
    };
    enum saga_err err = saga_sim_run(sim, &config, result, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("seed %" PRIu64 ": %s: %s", seed, saga_err_name(err), detail.text);
    }
}

/* The last lines of a story, of a run again with a transcript. */
static void print_story(uint64_t seed)
{
    FILE *file = tmpfile();
    if (file == NULL) {
        return;
    }
    struct saga_sim_result result;
    run(seed, file, &result);
    saga_sim_result_fini(&result);
    long lines = 0;
    rewind(file);
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) {
        lines += c == '\n' ? 1 : 0;
    }
    rewind(file);
    long line = 0;
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) {
        if (line >= lines - STORY_LINES) {
            (void)fputc(c, stderr);
        }
        line += c == '\n' ? 1 : 0;
    }
    (void)fclose(file);
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
    bool violated = result.violated;
    if (violated) {
        char text[700];
        (void)snprintf(text, sizeof text, "%s at %.3f s: %s", result.rule,
                       (double)result.violated_at_us / 1e6, result.violation);
        saga_sim_result_fini(&result);
        if (number("SAGA_SIM_QUIET", 0) == 0) {
            print_story(seed);
        }
        (void)fprintf(stderr,
                      "seed %" PRIu64 " of %s breaks %s\nrun it again: SAGA_SIM_FIRST=%" PRIu64
                      " SAGA_SIM_COUNT=1 SAGA_SIM_SAGA=%s build/tests/test_sim_world\n",
                      seed, definition, text, seed, definition);
        if (number("SAGA_SIM_GO_ON", 0) == 0) {
            fail_msg("seed %" PRIu64 " breaks %s", seed, text);
        }
        return;
    }
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
    for (uint64_t i = 0; i < count && (limit == 0 || seconds() - begun < (double)limit); i++) {
        check(first + i, fixed || i < TWICE, &totals);
    }
    report(&totals, seconds() - begun);
    assert_true(totals.seeds > 0 && totals.sagas > 0);
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
    return 0;
}

int main(void)
{
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
    };
    if (getenv("SAGA_SIM_SAGA") != NULL) { /* that one alone */
        return cmocka_run_group_tests_name("sim_world", only, NULL, NULL);
    }
    return cmocka_run_group_tests_name("sim_world", tests, NULL, NULL);
}
