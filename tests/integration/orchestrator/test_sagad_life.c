/* sagad's life: a full disk, a second one on the same store, recovery, signals, memory. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/integration/orchestrator/sagad_fixture.h"

#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name

/* Sanitizers make everything several times slower and larger; what is tried stays the same. */
/* And their own memory hides sagad's: leaks are theirs to tell then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum {
    RECOVERED = 4000,
    SAGAS = 20000,
    WARM = 10000,
    RSS_KIB_PER_SAGA = 200,
    STOP_MS = 12000,
    GROWTH_KIB = 1024 * 1024
};
#else
enum {
    RECOVERED = 20000,
    SAGAS = 110000,
    WARM = 60000,
    RSS_KIB_PER_SAGA = 12,
    STOP_MS = 4000,
    GROWTH_KIB = 16 * 1024
};
#endif

enum { TRIED_MAX = 100000, SERVING = 1, NOT_SERVING = 3, FEW = 16 };

static struct saga_id ids[TRIED_MAX];

static int setup(void **state)
{
    (void)sagad_setup(state);
    sagad_start(*state);
    return 0;
}

/* ---- The store fails ---- */

/* Starts batches until one is refused; gives how many starts were acknowledged. */
static size_t fill_disk(struct sagad *sagad)
{
    size_t taken = 0;
    bool full = false;
    while (!full) {
        struct saga_buf batch = {0};
        size_t count = 0;
        assert_true(taken + FEW <= TRIED_MAX);
        for (size_t i = 0; i < FEW; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "fill%zu", taken + i);
            struct start start = {.key = key, .n = (int64_t)(taken + i)};
            start_add(&start, &batch);
        }
        struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &count);
        saga_buf_fini(&batch);
        assert_int_equal(count, FEW); /* everybody is answered */
        size_t good = 0;
        for (size_t i = 0; i < count; i++) {
            struct started started = started_of(&replies[i], &sagad->arena);
            if (started.code == SAGA_CODE_OK) {
                ids[taken + good++] = started.id;
            } else {
                assert_int_equal(started.code, SAGA_CODE_UNAVAILABLE);
                assert_string_equal(started.reason, "STORE_FAILED");
            }
        }
        assert_true(good == 0 || good == FEW); /* a turn is one transaction */
        full = good == 0;
        taken += good;
    }
    return taken;
}

/* Health is told at the end of a turn, after its answers. */
static bool is_unready(void *arg)
{
    return sagad_http(arg, "/readyz") == 503;
}

static void test_store_when_its_disk_is_full_then_nothing_is_accepted_until_a_restart(void **state)
{
    struct sagad *sagad = NULL;
    char detail[256];
    (void)state;
    (void)sagad_setup((void **)&sagad);
    sagad->blocks_max = "8192"; /* 4 MiB */
    fake_down(sagad->fakes, FAKE_LEFT);
    sagad_start(sagad);
    size_t taken = fill_disk(sagad);
    print_message("%zu starts were acknowledged before the disk was full\n", taken);
    assert_true(taken > 0);
    assert_true(saga_test_until(is_unready, sagad, DEADLINE_MS));
    assert_int_equal(sagad_http(sagad, "/livez"), 200);
    assert_int_equal(sagad_health(sagad, "store", detail), NOT_SERVING);
    assert_int_equal(sagad_health(sagad, "", NULL), NOT_SERVING);
    assert_true(sagad_log_has(sagad, "store_failed"));
    assert_int_equal(
        sagad_operate(sagad, ids[0], SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_CANCEL, "", NULL),
        SAGA_CODE_UNAVAILABLE);
    saga_test_signal(&sagad->child, SIGTERM);
    assert_true(saga_test_wait(&sagad->child, DEADLINE_MS));
    assert_true(WIFEXITED(sagad->child.status));
    assert_int_equal(WEXITSTATUS(sagad->child.status), 1);
    saga_rpc_client_free(sagad->client);
    sagad->blocks_max = NULL;
    fake_up(sagad->fakes, FAKE_LEFT);
    sagad_start(sagad);
    assert_int_equal(sagad_health(sagad, "store", NULL), SERVING);
    assert_int_equal(sagad_wait_ended(sagad, ids, taken, DEADLINE_MS), taken);
    (void)sagad_check_events(sagad, ids[taken - 1]);
    assert_int_equal(sagad_teardown((void **)&sagad), 0);
}

static void test_store_when_another_sagad_takes_it_then_the_first_changes_nothing(void **state)
{
    struct sagad *first = *state;
    char detail[256];
    fake_down(first->fakes, FAKE_LEFT);
    struct start start = {.key = "one", .n = 1};
    struct saga_id id = sagad_begin(first, &start).id;
    struct sagad second = *first;
    second.arena = (struct saga_arena){0};
    second.child = (struct saga_test_child){0};
    (void)snprintf(second.nng, sizeof second.nng, "%.480s2", first->nng);
    (void)snprintf(second.log, sizeof second.log, "%.480s2", first->log);
    sagad_start(&second);
    start.key = "two";
    struct started refused = sagad_begin(first, &start);
    assert_int_equal(refused.code, SAGA_CODE_UNAVAILABLE); /* S8 */
    assert_string_equal(refused.reason, "FENCED");
    assert_true(saga_test_until(is_unready, first, DEADLINE_MS));
    assert_int_equal(sagad_health(first, "store", detail), NOT_SERVING);
    assert_int_equal(sagad_health(first, "orchestrator", NULL), NOT_SERVING);
    assert_non_null(strstr(detail, "fenced"));
    assert_true(sagad_log_has(first, "event=fenced") || sagad_log_has(first, "fenced"));
    fake_up(first->fakes, FAKE_LEFT);
    assert_int_equal(sagad_wait_ended(&second, &id, 1, DEADLINE_MS), 1);
    assert_int_equal(sagad_begin(&second, &start).code, SAGA_CODE_OK);
    saga_test_signal(&first->child, SIGTERM);
    assert_true(saga_test_wait(&first->child, DEADLINE_MS));
    assert_int_equal(WEXITSTATUS(first->child.status), 1);
    saga_rpc_client_free(first->client);
    first->client = NULL;
    sagad_stop(&second, DEADLINE_MS);
    saga_arena_fini(&second.arena);
}

/* ---- Recovery, signals, memory ---- */

static void test_recovery_when_thousands_are_in_flight_then_is_quick_and_small(void **state)
{
    struct sagad *sagad = *state;
    fake_down(sagad->fakes, FAKE_RIGHT);
    sagad_begin_many(sagad, "live", RECOVERED, ids);
    sagad_kill(sagad);
    int64_t begun = saga_test_now_ms();
    sagad_start(sagad);
    int64_t took = saga_test_now_ms() - begun;
    size_t rss = sagad_rss_kib(sagad);
    print_message("%d sagas in flight: ready after %lld ms, %zu KiB resident\n", RECOVERED,
                  (long long)took, rss);
    assert_true(sagad_metric(sagad, "saga_live") == (double)RECOVERED);
    assert_true(rss < 64 * 1024 + (size_t)RECOVERED * RSS_KIB_PER_SAGA);
    fake_up(sagad->fakes, FAKE_RIGHT);
    assert_int_equal(sagad_wait_ended(sagad, ids, RECOVERED, DEADLINE_MS), RECOVERED);
}

static void test_sigterm_when_under_load_then_ends_soon_and_loses_nothing(void **state)
{
    struct sagad *sagad = *state;
    for (size_t round = 0; round < 3; round++) {
        char prefix[16];
        (void)snprintf(prefix, sizeof prefix, "r%zu-", round);
        sagad_begin_many(sagad, prefix, 2000, ids + 2000 * round);
        int64_t begun = saga_test_now_ms();
        sagad_stop(sagad, STOP_MS);
        print_message("stopped after %lld ms\n", (long long)(saga_test_now_ms() - begun));
        assert_false(sagad_log_has(sagad, "participant_without_address"));
        sagad_start(sagad);
    }
    assert_int_equal(sagad_wait_ended(sagad, ids, 6000, DEADLINE_MS), 6000);
}

static void ignore_answer(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    (void)user;
    (void)outcome;
    (void)bytes;
}

static void test_second_signal_when_a_participant_hangs_then_does_not_wait_for_it(void **state)
{
    struct sagad *sagad = *state;
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_HOLD, SAGA_CODE_OK);
    struct saga_buf batch = {0};
    struct start start = {.key = "waits", .n = 1, .wait_ms = 60000};
    start_add(&start, &batch);
    assert_int_equal(
        saga_rpc_client_send(sagad->client, saga_buf_view(&batch), 60000, ignore_answer, NULL),
        SAGA_ERR_OK);
    saga_buf_fini(&batch);
    while (fake_held(sagad->fakes, FAKE_LEFT) == 0) {
        (void)sagad_http(sagad, "/livez");
    }
    saga_test_signal(&sagad->child, SIGTERM);
    while (!sagad_log_has(sagad, "stopping")) {
        assert_true(saga_test_running(&sagad->child));
    }
    int64_t begun = saga_test_now_ms();
    saga_test_signal(&sagad->child, SIGTERM);
    assert_true(saga_test_wait(&sagad->child, STOP_MS));
    assert_true(saga_test_now_ms() - begun < 1500);
    assert_int_equal(sagad->child.status, 0);
    saga_rpc_client_free(sagad->client);
    sagad->client = NULL;
    sagad_check_log(sagad);
    fakes_set(sagad->fakes, FAKE_OK);
    fake_release(sagad->fakes, FAKE_LEFT);
    sagad_start(sagad);
    start.wait_ms = DEADLINE_MS;
    struct started started = sagad_begin(sagad, &start);
    assert_true(started.existing);
    assert_int_equal(started.state, STATE(COMPLETED));
}

static bool few_live(void *argument)
{
    return sagad_metric(argument, "saga_live") < 2000;
}

static bool none_live(void *argument)
{
    return sagad_metric(argument, "saga_live") == 0;
}

static void run_sagas(struct sagad *sagad, const char *prefix, size_t count)
{
    for (size_t done = 0; done < count; done += 1000) {
        char key[32];
        (void)snprintf(key, sizeof key, "%s%zu-", prefix, done);
        sagad_begin_many(sagad, key, 1000, NULL);
        assert_true(saga_test_until(few_live, sagad, DEADLINE_MS));
    }
    assert_true(saga_test_until(none_live, sagad, DEADLINE_MS));
}

static void test_memory_when_many_sagas_have_ended_then_is_as_before(void **state)
{
    struct sagad *sagad = *state;
    sagad->fakes->forgetful = true;
    run_sagas(sagad, "warm", WARM); /* SQLite's cache takes its 64 MiB */
    size_t before = sagad_rss_kib(sagad);
    int64_t begun = saga_test_now_ms();
    run_sagas(sagad, "more", SAGAS - WARM);
    size_t after = sagad_rss_kib(sagad);
    print_message("%d sagas more in %lld ms: resident %zu KiB, then %zu KiB\n", SAGAS - WARM,
                  (long long)(saga_test_now_ms() - begun), before, after);
    assert_true(after < before + GROWTH_KIB);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sagad_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_when_its_disk_is_full_then_nothing_is_accepted_until_a_restart),
        TEST(test_store_when_another_sagad_takes_it_then_the_first_changes_nothing),
        TEST(test_recovery_when_thousands_are_in_flight_then_is_quick_and_small),
        TEST(test_sigterm_when_under_load_then_ends_soon_and_loses_nothing),
        TEST(test_second_signal_when_a_participant_hangs_then_does_not_wait_for_it),
        TEST(test_memory_when_many_sagas_have_ended_then_is_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
