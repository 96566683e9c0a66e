/* The table of those who wait: each is taken out exactly once, whoever comes first. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/sys/clock.h"
#include "services/order/waiters.h"

static const int64_t hour_us = INT64_C(3600) * 1000 * 1000;

/* One who waits, as a test sees it. */
struct person {
    _Atomic int out;     /* how often it was taken out */
    _Atomic int expired; /* of that, by its time */
    uint64_t ticket;
};

static void count_expired(void *context, void *user)
{
    (void)context;
    struct person *person = user;
    atomic_fetch_add(&person->expired, 1);
    atomic_fetch_add(&person->out, 1);
}

static void count_out(void *context, void *user)
{
    struct person *person = user;
    atomic_fetch_add(&person->out, 1);
    if (context != NULL) {
        atomic_fetch_add((_Atomic int *)context, 1);
    }
}

static struct saga_waiters *waiters_new(size_t capacity)
{
    struct saga_waiters *waiters = NULL;
    assert_int_equal(saga_waiters_new(capacity, count_expired, NULL, &waiters), SAGA_ERR_OK);
    return waiters;
}

static void waiters_end(struct saga_waiters *waiters)
{
    saga_waiters_close(waiters, count_out, NULL);
    saga_waiters_free(waiters);
}

/* Waits until somebody was taken out, at most 10 s. */
static bool taken_out(struct person *person)
{
    int64_t until = saga_clock_mono_us() + 10 * 1000 * 1000;
    while (atomic_load(&person->out) == 0 && saga_clock_mono_us() < until) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return atomic_load(&person->out) > 0;
}

static void test_wake_when_several_wait_then_all_of_that_order_and_no_other(void **state)
{
    (void)state;
    struct saga_waiters *waiters = waiters_new(8);
    struct person people[4] = {0};
    int64_t due = saga_clock_mono_us() + hour_us;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            saga_waiters_add(waiters, i < 3 ? 7 : 8, due, &people[i], &people[i].ticket),
            SAGA_ERR_OK);
    }
    assert_true(saga_waiters_any(waiters, 7));
    assert_false(saga_waiters_any(waiters, 9));
    _Atomic int count = 0;
    saga_waiters_wake(waiters, 7, count_out, &count);
    assert_int_equal(count, 3);
    assert_int_equal(people[3].out, 0);
    assert_false(saga_waiters_any(waiters, 7));
    assert_int_equal(saga_waiters_count(waiters), 1);
    saga_waiters_wake(waiters, 7, count_out, &count);
    assert_int_equal(count, 3);
    waiters_end(waiters);
    assert_int_equal(people[3].out, 1);
}

static void test_withdraw_when_taken_out_before_then_false(void **state)
{
    (void)state;
    struct saga_waiters *waiters = waiters_new(2);
    struct person a = {0};
    struct person b = {0};
    int64_t due = saga_clock_mono_us() + hour_us;
    assert_int_equal(saga_waiters_add(waiters, 1, due, &a, &a.ticket), SAGA_ERR_OK);
    assert_true(saga_waiters_withdraw(waiters, a.ticket));
    assert_false(saga_waiters_withdraw(waiters, a.ticket));
    assert_int_equal(a.out, 0);
    /* The place is used again: the old ticket is not the new one's. */
    assert_int_equal(saga_waiters_add(waiters, 2, due, &b, &b.ticket), SAGA_ERR_OK);
    assert_false(saga_waiters_withdraw(waiters, a.ticket));
    saga_waiters_wake(waiters, 2, count_out, NULL);
    assert_int_equal(b.out, 1);
    assert_false(saga_waiters_withdraw(waiters, b.ticket));
    assert_false(saga_waiters_withdraw(waiters, UINT64_MAX));
    waiters_end(waiters);
}

static void test_add_when_full_then_refused_and_room_comes_back(void **state)
{
    (void)state;
    struct saga_waiters *waiters = waiters_new(3);
    struct person people[4] = {0};
    int64_t due = saga_clock_mono_us() + hour_us;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(saga_waiters_add(waiters, i, due, &people[i], &people[i].ticket),
                         SAGA_ERR_OK);
    }
    assert_int_equal(saga_waiters_add(waiters, 9, due, &people[3], &people[3].ticket),
                     SAGA_ERR_FULL);
    saga_waiters_wake(waiters, 1, count_out, NULL);
    assert_int_equal(saga_waiters_add(waiters, 9, due, &people[3], &people[3].ticket), SAGA_ERR_OK);
    waiters_end(waiters);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(people[i].out, 1);
    }
}

static void test_time_when_over_then_expired_in_order_of_time(void **state)
{
    (void)state;
    struct saga_waiters *waiters = waiters_new(16);
    struct person late = {0};
    struct person soon[8] = {0};
    int64_t now = saga_clock_mono_us();
    /* The thread sleeps for an hour already when those come who wait less. */
    assert_int_equal(saga_waiters_add(waiters, 1, now + hour_us, &late, &late.ticket), SAGA_ERR_OK);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(
            saga_waiters_add(waiters, 2, now + (8 - i) * 1000, &soon[i], &soon[i].ticket),
            SAGA_ERR_OK);
    }
    for (int i = 0; i < 8; i++) {
        assert_true(taken_out(&soon[i]));
        assert_int_equal(soon[i].expired, 1);
    }
    assert_true(saga_clock_mono_us() >= now + 8000);
    assert_int_equal(late.out, 0);
    assert_int_equal(saga_waiters_count(waiters), 1);
    waiters_end(waiters);
}

static void test_close_when_some_wait_then_all_out_and_door_closed(void **state)
{
    (void)state;
    struct saga_waiters *waiters = waiters_new(4);
    struct person a = {0};
    struct person b = {0};
    assert_int_equal(saga_waiters_add(waiters, 1, saga_clock_mono_us() + hour_us, &a, &a.ticket),
                     SAGA_ERR_OK);
    saga_waiters_close(waiters, count_out, NULL);
    assert_int_equal(a.out, 1);
    assert_int_equal(saga_waiters_add(waiters, 1, saga_clock_mono_us() + hour_us, &b, &b.ticket),
                     SAGA_ERR_CLOSED);
    saga_waiters_close(waiters, count_out, NULL);
    saga_waiters_free(waiters);
    saga_waiters_free(NULL);
}

/* Random adds, wakes and withdrawals against a plain array that says what must be. */
static void test_table_when_used_at_random_then_as_a_plain_array(void **state)
{
    (void)state;
    enum { PEOPLE = 64, STEPS = 20000, ORDERS = 8 };
    struct saga_waiters *waiters = waiters_new(PEOPLE / 2);
    struct person people[PEOPLE] = {0};
    int64_t order_of[PEOPLE];
    bool waits[PEOPLE] = {false};
    size_t count = 0;
    uint64_t seed = 20260101;
    for (int step = 0; step < STEPS; step++) {
        size_t who = (size_t)saga_prng_below(&seed, PEOPLE);
        int64_t order_id = (int64_t)saga_prng_below(&seed, ORDERS);
        uint64_t act = saga_prng_below(&seed, 4);
        if (act < 2 && !waits[who]) {
            int64_t due = saga_clock_mono_us() + hour_us + (int64_t)saga_prng_below(&seed, 1000000);
            enum saga_err err =
                saga_waiters_add(waiters, order_id, due, &people[who], &people[who].ticket);
            assert_int_equal(err, count == PEOPLE / 2 ? SAGA_ERR_FULL : SAGA_ERR_OK);
            if (err == SAGA_ERR_OK) {
                waits[who] = true;
                order_of[who] = order_id;
                count++;
            }
        } else if (act == 2) {
            assert_int_equal(saga_waiters_withdraw(waiters, people[who].ticket), waits[who]);
            count -= waits[who] ? 1 : 0;
            waits[who] = false;
        } else if (act == 3) {
            _Atomic int woken = 0;
            int expected = 0;
            for (size_t i = 0; i < PEOPLE; i++) {
                if (waits[i] && order_of[i] == order_id) {
                    waits[i] = false;
                    expected++;
                }
            }
            saga_waiters_wake(waiters, order_id, count_out, &woken);
            assert_int_equal(woken, expected);
            count -= (size_t)expected;
        }
        assert_int_equal(saga_waiters_count(waiters), count);
    }
    waiters_end(waiters);
}

enum { RACERS = 4, RACES = 20000 };

struct race {
    struct saga_waiters *waiters;
    struct person *people;
    _Atomic int next; /* the one that is added */
};

static void *race_wake(void *argument)
{
    struct race *race = argument;
    for (;;) {
        int at = atomic_load(&race->next);
        if (at >= RACES) {
            return NULL;
        }
        saga_waiters_wake(race->waiters, at, count_out, NULL);
    }
}

/* Wakers, the timer and withdrawals fight for the same people: each is taken out exactly once. */
static void test_race_when_all_take_then_each_is_out_once(void **state)
{
    (void)state;
    struct saga_waiters *waiters = waiters_new(RACES);
    struct person *people = calloc(RACES, sizeof *people);
    assert_non_null(people);
    struct race race = {.waiters = waiters, .people = people};
    pthread_t wakers[RACERS];
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_create(&wakers[i], NULL, race_wake, &race), 0);
    }
    int withdrawn = 0;
    for (int i = 0; i < RACES; i++) {
        atomic_store(&race.next, i);
        assert_int_equal(saga_waiters_add(waiters, i, saga_clock_mono_us() + i % 200, &people[i],
                                          &people[i].ticket),
                         SAGA_ERR_OK);
        if (i % 3 == 0 && saga_waiters_withdraw(waiters, people[i].ticket)) {
            withdrawn++;
            assert_int_equal(atomic_fetch_add(&people[i].out, 1), 0);
        }
    }
    atomic_store(&race.next, RACES);
    for (int i = 0; i < RACERS; i++) {
        (void)pthread_join(wakers[i], NULL);
    }
    waiters_end(waiters);
    for (int i = 0; i < RACES; i++) {
        assert_int_equal(atomic_load(&people[i].out), 1);
    }
    assert_true(withdrawn <= RACES / 3 + 1);
    free(people);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wake_when_several_wait_then_all_of_that_order_and_no_other),
        cmocka_unit_test(test_withdraw_when_taken_out_before_then_false),
        cmocka_unit_test(test_add_when_full_then_refused_and_room_comes_back),
        cmocka_unit_test(test_time_when_over_then_expired_in_order_of_time),
        cmocka_unit_test(test_close_when_some_wait_then_all_out_and_door_closed),
        cmocka_unit_test(test_table_when_used_at_random_then_as_a_plain_array),
        cmocka_unit_test(test_race_when_all_take_then_each_is_out_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
