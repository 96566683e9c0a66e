/* The real store on the simulated disk: every operation in turn is the last one before a death, or
 * fails. See torture.h for what must hold then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/vfs/torture.h"

/* Under a sanitizer everything is the same but slow: every seventh operation is enough. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

/* Seeds of each operation; SAGA_TORTURE_SEEDS sets it, for longer runs. */
static uint64_t seeds = 1;

/* Hits every stride-th operation until the run ends before. */
static void for_operations(struct torture_plan plan, const char *name, uint64_t stride)
{
    uint64_t runs = 0;
    uint64_t at = 1;
    for (bool hit = true; hit; at += stride * STRIDE) {
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            struct torture_result result;
            plan.at = at;
            plan.seed = seed * 1000003 + at;
            torture_run(&plan, &result);
            if (result.why[0] != '\0') {
                fail_msg("%s at operation %llu, seed %llu: %s", name, (unsigned long long)at,
                         (unsigned long long)plan.seed, result.why);
            }
            hit = result.hit;
            runs++;
        }
    }
    print_message("%s: %llu operations, %llu runs\n", name, (unsigned long long)(at - 2),
                  (unsigned long long)runs);
    assert_true(at > (plan.syncs ? 30 : 200));
}

static void for_each_operation(struct torture_plan plan, const char *name)
{
    for_operations(plan, name, 1);
}

static void
test_store_when_power_fails_at_any_operation_then_what_was_acknowledged_is_there(void **state)
{
    (void)state;
    for_each_operation((struct torture_plan){.outcome = SAGA_VFS_STOP_BEFORE, .end = END_POWER},
                       "power fails before");
    for_each_operation((struct torture_plan){.outcome = SAGA_VFS_STOP_AFTER, .end = END_POWER},
                       "power fails after");
}

static void test_store_when_killed_or_power_fails_then_what_was_acknowledged_is_there(void **state)
{
    (void)state;
    for_each_operation((struct torture_plan){.outcome = SAGA_VFS_STOP_BEFORE, .end = END_EITHER},
                       "dies before");
    for_each_operation((struct torture_plan){.outcome = SAGA_VFS_STOP_AFTER, .end = END_EITHER},
                       "dies after");
}

static void test_store_when_an_operation_fails_then_fatal_and_nothing_is_lost(void **state)
{
    (void)state;
    static const enum saga_vfs_outcome outcomes[] = {SAGA_VFS_EIO, SAGA_VFS_FULL, SAGA_VFS_SHORT};
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        for (int for_good = 0; for_good <= 1; for_good++) {
            /* All of them take a minute. */
            for_operations((struct torture_plan){.outcome = outcomes[i],
                                                 .for_good = for_good == 1,
                                                 .end = END_EITHER},
                           saga_vfs_outcome_name(outcomes[i]), seeds > 1 ? 1 : 3);
        }
    }
}

/* The machine may then lose what a process saw and went on from. */
static void test_store_when_a_sync_fails_for_good_then_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    uint64_t before = seeds;
    seeds *= 20;
    for_each_operation(
        (struct torture_plan){.outcome = SAGA_VFS_GATE, .syncs = true, .end = END_EITHER}, "GATE");
    seeds = before;
}

/* ---- Canaries: what the tests above must be able to see ---- */

static bool is_found(struct torture_plan plan)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct torture_result result;
        plan.seed = seed;
        plan.at = 60 + seed;
        torture_run(&plan, &result);
        if (result.why[0] != '\0') {
            print_message("seed %llu: %s\n", (unsigned long long)seed, result.why);
            return true;
        }
    }
    return false;
}

static void test_torture_when_syncs_do_nothing_then_loss_is_found(void **state)
{
    (void)state;
    assert_true(is_found(
        (struct torture_plan){.outcome = SAGA_VFS_STOP_BEFORE, .end = END_POWER, .lying = true}));
}

static void test_torture_when_store_does_not_sync_then_loss_is_found(void **state)
{
    (void)state;
    assert_true(is_found((struct torture_plan){.outcome = SAGA_VFS_STOP_BEFORE,
                                               .end = END_POWER,
                                               .synchronous = "PRAGMA synchronous = OFF"}));
    assert_true(is_found((struct torture_plan){.outcome = SAGA_VFS_STOP_BEFORE,
                                               .end = END_POWER,
                                               .synchronous = "PRAGMA synchronous = NORMAL"}));
}

static void test_torture_when_only_processes_die_then_no_sync_is_needed(void **state)
{
    (void)state;
    assert_false(is_found((struct torture_plan){.outcome = SAGA_VFS_STOP_AFTER,
                                                .end = END_KILL,
                                                .synchronous = "PRAGMA synchronous = OFF"}));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_store_when_power_fails_at_any_operation_then_what_was_acknowledged_is_there),
        cmocka_unit_test(test_store_when_killed_or_power_fails_then_what_was_acknowledged_is_there),
        cmocka_unit_test(test_store_when_an_operation_fails_then_fatal_and_nothing_is_lost),
        cmocka_unit_test(test_store_when_a_sync_fails_for_good_then_nothing_acknowledged_is_lost),
        cmocka_unit_test(test_torture_when_syncs_do_nothing_then_loss_is_found),
        cmocka_unit_test(test_torture_when_store_does_not_sync_then_loss_is_found),
        cmocka_unit_test(test_torture_when_only_processes_die_then_no_sync_is_needed),
    };
    const char *wanted = getenv("SAGA_TORTURE_SEEDS");
    if (wanted != NULL && strtoull(wanted, NULL, 10) > 0) {
        seeds = strtoull(wanted, NULL, 10);
    }
    torture_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
