/* One seed is one run in every build: the traces of a few worlds, written down. Optimised or not,
 * with sanitizers or without, what a seed says must be found again with it.
 *
 * What the trace is made of (events, their bytes, faults and their places) may change: then these
 * numbers do, and the test says the new ones. They must be the same in every build. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "verify/sim/sim.h"
#include "verify/sim/workload.h"

enum { SAGAS = 32, SHAPE = 2 };

static const struct trace {
    const char *saga; /* NULL: of random shape */
    uint64_t seed;
    uint64_t hash;
} traces[] = {
    {"create-order", 2, UINT64_C(0x9c862628dc4def79)},
    {"create-order", 16, UINT64_C(0x8c4fecdee0e4ed0c)},
    {"create-order-async", 16, UINT64_C(0x4bb15ab433772056)},
    {NULL, 2, UINT64_C(0x1fee83c12153e9d3)},
};

static struct saga_sim *prepare(const struct trace *trace)
{
    struct saga_sim *sim = NULL;
    struct saga_err_detail detail = {{0}};
    struct saga_workload_shape any = {0};
    struct saga_buf set = {0};
    if (trace->saga == NULL) {
        assert_int_equal(saga_workload_definitions(SHAPE, &any, &set), SAGA_ERR_OK);
    }
    const char *name = trace->saga == NULL ? "sim-0" : trace->saga;
    enum saga_err err = saga_sim_new(saga_buf_view(&set), name, &sim, &detail);
    saga_buf_fini(&set);
    if (err != SAGA_ERR_OK) {
        fail_msg("%s: %s", name, detail.text);
    }
    return sim;
}

static void test_trace_when_seed_is_given_then_the_same_in_every_build(void **state)
{
    (void)state;
    int different = 0;
    for (size_t i = 0; i < sizeof traces / sizeof traces[0]; i++) {
        const struct trace *trace = &traces[i];
        struct saga_sim *sim = prepare(trace);
        struct saga_sim_config config = {.seed = trace->seed, .saga_count = SAGAS};
        struct saga_sim_result result;
        struct saga_err_detail detail = {{0}};
        assert_int_equal(saga_sim_run(sim, &config, &result, &detail), SAGA_ERR_OK);
        assert_false(result.violated);
        assert_true(result.fired_count > 0);
        if (result.trace_hash != trace->hash) {
            different++;
            print_error("%s, seed %" PRIu64 ": the trace is 0x%016" PRIx64 ", not 0x%016" PRIx64
                        "\n",
                        trace->saga == NULL ? "random" : trace->saga, trace->seed,
                        result.trace_hash, trace->hash);
        }
        saga_sim_result_fini(&result);
        saga_sim_free(sim);
    }
    assert_int_equal(different, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_when_seed_is_given_then_the_same_in_every_build),
    };
    return cmocka_run_group_tests_name("sim_trace", tests, NULL, NULL);
}
