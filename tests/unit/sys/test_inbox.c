#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "common/sys/inbox.h"

struct item {
    struct saga_inbox_entry entry; /* first */
    unsigned producer;
    unsigned number;
};

static struct saga_inbox *inbox_of(size_t capacity)
{
    struct saga_inbox *inbox = NULL;
    assert_int_equal(saga_inbox_new(capacity, &inbox), SAGA_ERR_OK);
    return inbox;
}

static void test_take_then_oldest_first_up_to_count(void **state)
{
    (void)state;
    struct saga_inbox *inbox = inbox_of(10);
    struct item items[5] = {0};
    for (unsigned i = 0; i < 5; i++) {
        items[i].number = i;
        assert_int_equal(saga_inbox_put(inbox, &items[i].entry, SAGA_INBOX_REFUSE), SAGA_ERR_OK);
    }
    assert_int_equal(saga_inbox_count(inbox), 5);
    struct saga_inbox_entry *entry = saga_inbox_take(inbox, 3, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_ptr_equal(entry, &items[i].entry);
        entry = entry->next;
    }
    assert_null(entry);
    assert_int_equal(saga_inbox_count(inbox), 2);
    entry = saga_inbox_take(inbox, 3, -1);
    assert_ptr_equal(entry, &items[3].entry);
    assert_ptr_equal(entry->next, &items[4].entry);
    assert_null(entry->next->next);
    assert_null(saga_inbox_take(inbox, 3, 0));
    saga_inbox_free(inbox);
}

static void test_put_when_full_then_work_is_refused_and_answers_are_taken(void **state)
{
    (void)state;
    struct saga_inbox *inbox = inbox_of(2);
    struct item items[4] = {0};
    assert_int_equal(saga_inbox_put(inbox, &items[0].entry, SAGA_INBOX_REFUSE), SAGA_ERR_OK);
    assert_int_equal(saga_inbox_put(inbox, &items[1].entry, SAGA_INBOX_REFUSE), SAGA_ERR_OK);
    assert_int_equal(saga_inbox_put(inbox, &items[2].entry, SAGA_INBOX_REFUSE), SAGA_ERR_FULL);
    assert_int_equal(saga_inbox_put(inbox, &items[2].entry, SAGA_INBOX_ACCEPT), SAGA_ERR_OK);
    assert_non_null(saga_inbox_take(inbox, 2, 0));
    assert_int_equal(saga_inbox_put(inbox, &items[3].entry, SAGA_INBOX_REFUSE), SAGA_ERR_OK);
    assert_non_null(saga_inbox_take(inbox, 9, 0));
    saga_inbox_free(inbox);
}

static void test_close_then_refuses_gives_the_rest_and_does_not_wait(void **state)
{
    (void)state;
    struct saga_inbox *inbox = inbox_of(2);
    struct item items[2] = {0};
    assert_int_equal(saga_inbox_put(inbox, &items[0].entry, SAGA_INBOX_REFUSE), SAGA_ERR_OK);
    saga_inbox_close(inbox);
    assert_int_equal(saga_inbox_put(inbox, &items[1].entry, SAGA_INBOX_ACCEPT), SAGA_ERR_CLOSED);
    assert_ptr_equal(saga_inbox_take(inbox, 9, -1), &items[0].entry);
    assert_null(saga_inbox_take(inbox, 9, -1));
    saga_inbox_free(inbox);
}

static void test_take_when_nothing_comes_then_waits_as_long_as_told(void **state)
{
    (void)state;
    struct saga_inbox *inbox = inbox_of(2);
    int64_t begin_us = saga_clock_mono_us();
    assert_null(saga_inbox_take(inbox, 1, 20000));
    assert_true(saga_clock_mono_us() - begin_us >= 20000);
    saga_inbox_free(inbox);
}

static void test_wake_when_before_the_wait_then_ends_the_next_one_only(void **state)
{
    (void)state;
    struct saga_inbox *inbox = inbox_of(2);
    saga_inbox_wake(inbox);
    saga_inbox_wake(inbox);
    assert_null(saga_inbox_take(inbox, 1, -1));
    int64_t begin_us = saga_clock_mono_us();
    assert_null(saga_inbox_take(inbox, 1, 10000));
    assert_true(saga_clock_mono_us() - begin_us >= 10000);
    saga_inbox_free(inbox);
}

static void *wake_it(void *context)
{
    saga_inbox_wake(context);
    return NULL;
}

static void *close_it(void *context)
{
    saga_inbox_close(context);
    return NULL;
}

static void test_wait_when_another_thread_wakes_or_closes_then_ends(void **state)
{
    (void)state;
    struct saga_inbox *inbox = inbox_of(2);
    pthread_t thread;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(pthread_create(&thread, NULL, wake_it, inbox), 0);
        assert_null(saga_inbox_take(inbox, 1, -1));
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_int_equal(pthread_create(&thread, NULL, close_it, inbox), 0);
    assert_null(saga_inbox_take(inbox, 1, -1));
    assert_int_equal(pthread_join(thread, NULL), 0);
    saga_inbox_free(inbox);
}

enum { PRODUCERS = 4, ITEMS = 20000 };

struct producer {
    struct saga_inbox *inbox;
    unsigned index;
    struct item *items;
};

static void *produce(void *context)
{
    struct producer *producer = context;
    for (unsigned i = 0; i < ITEMS; i++) {
        producer->items[i].producer = producer->index;
        producer->items[i].number = i;
        while (saga_inbox_put(producer->inbox, &producer->items[i].entry, SAGA_INBOX_REFUSE) !=
               SAGA_ERR_OK) {
            saga_inbox_wake(producer->inbox);
        }
    }
    return NULL;
}

static void test_inbox_when_many_producers_then_each_in_order_and_nothing_lost(void **state)
{
    (void)state;
    struct saga_inbox *inbox = inbox_of(64);
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    unsigned next[PRODUCERS] = {0};
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){inbox, i, calloc(ITEMS, sizeof(struct item))};
        assert_non_null(producers[i].items);
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (unsigned taken = 0; taken < PRODUCERS * ITEMS;) {
        struct saga_inbox_entry *entry = saga_inbox_take(inbox, 16, -1);
        for (; entry != NULL; entry = entry->next) {
            struct item *item = (struct item *)(void *)entry;
            assert_int_equal(item->number, next[item->producer]);
            next[item->producer]++;
            taken++;
        }
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        free(producers[i].items);
    }
    assert_int_equal(saga_inbox_count(inbox), 0);
    saga_inbox_free(inbox);
    saga_inbox_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_then_oldest_first_up_to_count),
        cmocka_unit_test(test_put_when_full_then_work_is_refused_and_answers_are_taken),
        cmocka_unit_test(test_close_then_refuses_gives_the_rest_and_does_not_wait),
        cmocka_unit_test(test_take_when_nothing_comes_then_waits_as_long_as_told),
        cmocka_unit_test(test_wake_when_before_the_wait_then_ends_the_next_one_only),
        cmocka_unit_test(test_wait_when_another_thread_wakes_or_closes_then_ends),
        cmocka_unit_test(test_inbox_when_many_producers_then_each_in_order_and_nothing_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
