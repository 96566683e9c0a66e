/* The topics that a relay knows: who is asked how often, and when what is missing is looked for.
 * The cluster is made up (relay_bus.h); nothing waits, pauses are looked at as they are planned.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "common/bus/kafka/relay_topics.h"
#include "common/sys/clock.h"
#include "tests/unit/bus/relay_bus.h"

enum { TEXT_SIZE = 64 };

static struct saga_relay_topics topics;
static struct saga_kafka_producer *producer;

static void nothing(void *user, uint64_t token, enum saga_err err)
{
    (void)user;
    (void)token;
    (void)err;
}

static int setup(void **state)
{
    (void)state;
    bus_open(NULL, NULL);
    struct saga_kafka_config config = {.client_id = "test"};
    return saga_kafka_producer_start(&config, nothing, NULL, &producer, NULL) != SAGA_ERR_OK ||
           saga_relay_topics_init(&topics, "test") != SAGA_ERR_OK;
}

static int teardown(void **state)
{
    (void)state;
    saga_relay_topics_fini(&topics);
    saga_kafka_producer_free(producer);
    bus_close();
    return 0;
}

static enum saga_relay_topic_state state_of(const char *name)
{
    return saga_relay_topics_state(&topics, producer, name);
}

static void test_state_when_a_topic_is_known_then_nobody_is_asked_again(void **state)
{
    (void)state;
    bus_miss("away");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_THERE);
        assert_int_equal(state_of("b"), SAGA_RELAY_TOPIC_THERE);
        assert_int_equal(state_of("away"), SAGA_RELAY_TOPIC_MISSING);
    }
    assert_int_equal(bus_asked(), 3);
    assert_int_equal(topics.missing, 1);
    /* Forgotten is what may have been deleted meanwhile. */
    saga_relay_topics_forget(&topics);
    assert_int_equal(topics.missing, 1);
    bus_find("away");
    assert_int_equal(state_of("away"), SAGA_RELAY_TOPIC_MISSING); /* until it is looked for */
    assert_int_equal(bus_asked(), 3);
    assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_THERE);
    assert_int_equal(state_of("b"), SAGA_RELAY_TOPIC_THERE);
    assert_int_equal(bus_asked(), 5);
}

static void test_state_when_nobody_answers_then_it_is_not_known(void **state)
{
    (void)state;
    bus_set_silent(true);
    assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_UNKNOWN);
    assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_UNKNOWN);
    assert_int_equal(bus_asked(), 2);
    assert_int_equal(topics.missing, 0);
    bus_set_silent(false);
    assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_THERE);
}

/* Tells whether a look is due at its planned time and not before. */
static bool planned(int64_t wait_ms)
{
    return topics.wait_ms == wait_ms && saga_relay_topics_due(&topics, topics.next_look_ms) &&
           !saga_relay_topics_due(&topics, topics.next_look_ms - 1);
}

static void test_look_when_topics_stay_missing_then_the_pauses_grow_to_a_bound(void **state)
{
    (void)state;
    assert_false(saga_relay_topics_due(&topics, INT64_MAX)); /* nothing is missing */
    bus_miss("a");
    int64_t before_ms = saga_clock_mono_us() / 1000;
    assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_MISSING);
    assert_in_range(topics.next_look_ms - 200, before_ms, saga_clock_mono_us() / 1000);
    static const int64_t waits_ms[] = {200, 400, 800, 1600, 3200, 5000, 5000};
    for (size_t i = 0; i < 7; i++) {
        assert_true(planned(waits_ms[i]));
        before_ms = saga_clock_mono_us() / 1000;
        assert_false(saga_relay_topics_look(&topics, producer));
        assert_int_equal(bus_asked(), i + 2);
        assert_in_range(topics.next_look_ms - topics.wait_ms, before_ms,
                        saga_clock_mono_us() / 1000);
    }
    /* One more that is missing does not hurry it; one that is found does. */
    bus_miss("b");
    assert_int_equal(state_of("b"), SAGA_RELAY_TOPIC_MISSING);
    assert_true(planned(5000));
    bus_find("a");
    assert_true(saga_relay_topics_look(&topics, producer));
    assert_true(planned(200));
    assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_THERE);
    assert_int_equal(state_of("b"), SAGA_RELAY_TOPIC_MISSING);
    assert_false(saga_relay_topics_look(&topics, producer));
    assert_true(planned(400));
    bus_find("b");
    assert_true(saga_relay_topics_look(&topics, producer));
    assert_int_equal(topics.missing, 0);
    assert_false(saga_relay_topics_due(&topics, INT64_MAX));
    /* The next one that is missing begins with a short pause, whatever was before. */
    topics.wait_ms = 5000;
    bus_miss("c");
    assert_int_equal(state_of("c"), SAGA_RELAY_TOPIC_MISSING);
    assert_true(planned(200));
}

static void test_look_when_nobody_answers_then_it_asks_for_one_only(void **state)
{
    (void)state;
    bus_miss("a");
    bus_miss("b");
    assert_int_equal(state_of("a"), SAGA_RELAY_TOPIC_MISSING);
    assert_int_equal(state_of("b"), SAGA_RELAY_TOPIC_MISSING);
    assert_int_equal(bus_asked(), 2);
    bus_set_silent(true);
    assert_false(saga_relay_topics_look(&topics, producer));
    assert_int_equal(bus_asked(), 3);
    assert_int_equal(topics.missing, 2);
    bus_set_silent(false);
    assert_false(saga_relay_topics_look(&topics, producer));
    assert_int_equal(bus_asked(), 5);
}

static void test_state_when_the_table_is_full_then_what_is_there_makes_room(void **state)
{
    (void)state;
    char name[BUS_TEXT_SIZE];
    bus_miss("away");
    assert_int_equal(state_of("away"), SAGA_RELAY_TOPIC_MISSING);
    for (size_t i = 0; i < SAGA_RELAY_TOPICS_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "t%zu", i);
        assert_int_equal(state_of(name), SAGA_RELAY_TOPIC_THERE);
    }
    assert_int_equal(topics.count, SAGA_RELAY_TOPICS_MAX);
    assert_int_equal(bus_asked(), SAGA_RELAY_TOPICS_MAX + 11);
    assert_int_equal(state_of(name), SAGA_RELAY_TOPIC_THERE);
    assert_int_equal(state_of("away"), SAGA_RELAY_TOPIC_MISSING); /* it keeps its place */
    assert_int_equal(bus_asked(), SAGA_RELAY_TOPICS_MAX + 11);
}

static void
test_state_when_the_table_is_full_of_missing_topics_then_more_are_not_known(void **state)
{
    (void)state;
    char name[BUS_TEXT_SIZE];
    for (size_t i = 0; i < SAGA_RELAY_TOPICS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "t%zu", i);
        bus_miss(name);
        assert_int_equal(state_of(name), SAGA_RELAY_TOPIC_MISSING);
        bus_find(name);
    }
    assert_int_equal(topics.missing, SAGA_RELAY_TOPICS_MAX);
    assert_int_equal(state_of("one more"), SAGA_RELAY_TOPIC_UNKNOWN);
    assert_true(saga_relay_topics_look(&topics, producer));
    assert_int_equal(topics.missing, 0);
    assert_int_equal(state_of("one more"), SAGA_RELAY_TOPIC_THERE);
}

static void test_text_when_names_are_many_then_as_many_as_fit_are_told(void **state)
{
    (void)state;
    char text[TEXT_SIZE] = "?";
    saga_relay_topics_text(&topics, text, sizeof(text));
    assert_string_equal(text, "");
    static const char *const names[] = {"orders", "there", "stock", "payments"};
    for (size_t i = 0; i < 4; i++) {
        if (i != 1) {
            bus_miss(names[i]);
        }
        (void)state_of(names[i]);
    }
    saga_relay_topics_text(&topics, text, sizeof(text));
    assert_string_equal(text, "orders, stock, payments");
    /* Whatever the size: whole names only, and it is said that there are more. */
    for (size_t size = 1; size <= sizeof(text); size++) {
        memset(text, '#', sizeof(text));
        saga_relay_topics_text(&topics, text, size);
        assert_true(strlen(text) < size);
        assert_true(size == sizeof(text) || text[size] == '#');
        bool whole = strcmp(text, "") == 0 || strcmp(text, ", ...") == 0 ||
                     strcmp(text, "orders, ...") == 0 || strcmp(text, "orders, stock, ...") == 0 ||
                     strcmp(text, "orders, stock, payments") == 0;
        assert_true(whole);
        assert_true(size < 20 || strcmp(text, "") != 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_state_when_a_topic_is_known_then_nobody_is_asked_again),
        TEST(test_state_when_nobody_answers_then_it_is_not_known),
        TEST(test_look_when_topics_stay_missing_then_the_pauses_grow_to_a_bound),
        TEST(test_look_when_nobody_answers_then_it_asks_for_one_only),
        TEST(test_state_when_the_table_is_full_then_what_is_there_makes_room),
        TEST(test_state_when_the_table_is_full_of_missing_topics_then_more_are_not_known),
        TEST(test_text_when_names_are_many_then_as_many_as_fit_are_told),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
