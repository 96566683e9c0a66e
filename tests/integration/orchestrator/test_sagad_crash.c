/* sagad killed at random moments, with participants and a real Kafka that go on: every saga ends,
 * and nothing happens twice. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/sys/clock.h"
#include "tests/integration/orchestrator/sagad_fixture.h"

enum { CRASHES = 8, PER_ROUND = 48, CRASH_MS_MAX = 120 };

static int setup(void **state)
{
    struct sagad *sagad = NULL;
    char bootstrap[SAGA_TEST_PATH_MAX];
    (void)saga_test_kafka(bootstrap);
    (void)sagad_setup((void **)&sagad);
    (void)snprintf(sagad->kafka, sizeof sagad->kafka, "%s", bootstrap);
    fakes_join_kafka(sagad->fakes, bootstrap);
    sagad_start(sagad);
    *state = sagad;
    return 0;
}

/* The starts of one round, as far as they were acknowledged. */
struct round {
    pthread_mutex_t lock;
    struct started started[PER_ROUND];
    size_t count;
    bool ended;
};

/* Thread: NNG's. */
static void round_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct round *round = user;
    struct saga_arena arena = {0};
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    (void)pthread_mutex_lock(&round->lock);
    if (outcome == SAGA_RPC_REPLIED &&
        saga_reply_batch_decode(bytes, &arena, &replies, &count, &status) == SAGA_ERR_OK) {
        for (size_t i = 0; i < count; i++) {
            round->started[i] = started_of(&replies[i], &arena);
        }
        round->count = count;
    }
    round->ended = true;
    (void)pthread_mutex_unlock(&round->lock);
    saga_arena_fini(&arena);
}

static void send_round(struct sagad *sagad, struct round *round, size_t number)
{
    struct saga_buf batch = {0};
    for (size_t i = 0; i < PER_ROUND; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "r%zu-%zu", number, i);
        struct start start = {.key = key, .n = (int64_t)i};
        start_add(&start, &batch);
    }
    assert_int_equal(
        saga_rpc_client_send(sagad->client, saga_buf_view(&batch), DEADLINE_MS, round_done, round),
        SAGA_ERR_OK);
    saga_buf_fini(&batch);
}

static bool is_over(void *argument)
{
    struct round *round = argument;
    (void)pthread_mutex_lock(&round->lock);
    bool over = round->ended;
    (void)pthread_mutex_unlock(&round->lock);
    return over;
}

static bool never(void *argument)
{
    (void)argument;
    return false;
}

static void
test_crash_when_at_random_moments_then_every_saga_ends_and_nothing_happens_twice(void **state)
{
    struct sagad *sagad = *state;
    static struct round rounds[CRASHES];
    static struct saga_id ids[CRASHES * PER_ROUND];
    const char *given = getenv("SAGA_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)saga_clock_unix_ms();
    print_message("SAGA_TEST_SEED=%llu\n", (unsigned long long)seed);
    sagad->fakes->dice = seed;
    fakes_set(sagad->fakes, FAKE_DICE);
    for (size_t i = 0; i < CRASHES; i++) {
        (void)pthread_mutex_init(&rounds[i].lock, NULL);
        send_round(sagad, &rounds[i], i);
        (void)saga_test_until(never, NULL, (unsigned)saga_prng_below(&seed, CRASH_MS_MAX));
        sagad_kill(sagad);
        assert_true(saga_test_until(is_over, &rounds[i], DEADLINE_MS));
        sagad_start(sagad);
    }
    for (size_t i = 0; i < CRASHES; i++) {
        struct round again = {.count = 0};
        (void)pthread_mutex_init(&again.lock, NULL);
        send_round(sagad, &again, i);
        assert_true(saga_test_until(is_over, &again, DEADLINE_MS));
        assert_int_equal(again.count, PER_ROUND);
        for (size_t j = 0; j < PER_ROUND; j++) {
            assert_int_equal(again.started[j].code, SAGA_CODE_OK);
            if (rounds[i].count > 0) { /* S6, S10: what was acknowledged is there */
                assert_true(again.started[j].existing);
                assert_memory_equal(again.started[j].id.b, rounds[i].started[j].id.b, SAGA_ID_SIZE);
            }
            ids[i * PER_ROUND + j] = again.started[j].id;
        }
        (void)pthread_mutex_destroy(&again.lock);
        (void)pthread_mutex_destroy(&rounds[i].lock);
    }
    size_t completed = sagad_wait_ended(sagad, ids, CRASHES * PER_ROUND, DEADLINE_MS);
    print_message("%zu of %d completed, the others were compensated; %zu undos\n", completed,
                  CRASHES * PER_ROUND, sagad->fakes->undos);
    assert_in_range(completed, 1, CRASHES * PER_ROUND - 1);
    for (size_t i = 0; i < CRASHES * PER_ROUND; i++) {
        (void)sagad_check_events(sagad, ids[i]);
    }
    assert_int_equal(sagad->fakes->violations, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sagad_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_crash_when_at_random_moments_then_every_saga_ends_and_nothing_happens_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
