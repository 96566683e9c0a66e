/* The relay on a bus that is made up (relay_bus.h): how often a record is produced, when a producer
 * is made anew, what waits for what. Real threads, no broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/support.h"
#include "tests/unit/bus/relay_outbox.h"

/* ---- Producers made anew ---- */

/* Judges a value that is told apart; others are taken. */
struct odd {
    const char *value;
    enum bus_verdict verdict;
    atomic_size_t times; /* so often, then it is taken */
};

static enum bus_verdict judge_odd(void *user, const char *topic, const char *value, size_t before)
{
    struct odd *odd = user;
    (void)topic;
    (void)before;
    if (strcmp(value, odd->value) != 0 || atomic_load(&odd->times) == 0) {
        return BUS_TAKEN;
    }
    (void)atomic_fetch_sub(&odd->times, 1);
    return odd->verdict;
}

static void test_relay_when_all_goes_well_then_each_record_is_produced_once(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, NULL, NULL);
    commit(&outbox, 3500);
    start_relay(&outbox, 0);
    assert_int_equal(saga_relay_drain(outbox.relay, BUS_WAIT_MS), SAGA_ERR_OK);
    commit(&outbox, 1);
    assert_int_equal(saga_relay_drain(outbox.relay, BUS_WAIT_MS), SAGA_ERR_OK);
    wait_advanced(&outbox, 3501);
    assert_true(each_came_once(1, 3501));
    assert_int_equal(bus_count(), 3501);
    assert_int_equal(bus_start_count(), 1);
    assert_true(bus.starts[0].in_order);
    assert_int_equal(bus.starts[0].batch_max, 0);
    assert_int_equal(bus_asked(), 1); /* its one topic */
    assert_int_equal(saga_relay_position(outbox.relay), 3501);
    assert_true(saga_relay_up(outbox.relay));
    close_outbox(&outbox);
}

/* The two records of row 2 leave in two batches: the first is acknowledged, the second refused. */
static void
test_relay_when_a_record_is_refused_then_what_came_before_it_is_not_sent_again(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "2+", .verdict = BUS_REFUSED, .times = 2};
    open_outbox(&outbox, judge_odd, &odd);
    outbox.specials[0] = (struct special){.position = 2, .topic = "t", .second_topic = "t"};
    commit(&outbox, 5);
    start_relay(&outbox, 0);
    wait_advanced(&outbox, 5);
    assert_int_equal(bus_produced("1"), 1);
    assert_int_equal(bus_produced("2"), 1);
    assert_int_equal(bus_produced("2+"), 3); /* in its batch, alone, and when it is taken */
    assert_int_equal(bus_acknowledged("2+"), 1);
    assert_true(each_came_once(3, 5));
    /* One for records that go one by one; it goes on after a refusal. */
    assert_int_equal(bus_start_count(), 2);
    assert_false(bus.starts[1].in_order);
    assert_int_equal(bus.starts[1].batch_max, 1);
    assert_true(saga_relay_up(outbox.relay));
    close_outbox(&outbox);
}

static bool is_not_up(void *arg)
{
    struct outbox *outbox = arg;
    return !saga_relay_up(outbox->relay);
}

static void test_relay_when_a_record_is_never_taken_then_all_behind_it_waits(void **state)
{
    (void)state;
    static const enum bus_verdict verdicts[] = {BUS_REFUSED, BUS_LARGE};
    for (size_t i = 0; i < 2; i++) {
        struct outbox outbox;
        struct odd odd = {.value = "2", .verdict = verdicts[i], .times = 1000000};
        open_outbox(&outbox, judge_odd, &odd);
        commit(&outbox, 3);
        start_relay(&outbox, 0);
        wait_count(bus_produced, "2", 2);
        assert_true(saga_test_until(is_not_up, &outbox, BUS_WAIT_MS));
        wait_advanced(&outbox, 1);
        wait_count(bus_produced, "2", 3);
        assert_int_equal(bus_acknowledged("3"), verdicts[i] == BUS_REFUSED ? bus_produced("3") : 0);
        assert_int_equal(saga_relay_drain(outbox.relay, 1), SAGA_ERR_TIMEOUT);
        assert_int_equal(bus_produced("1"), 1);
        assert_int_equal(bus_start_count(), 2);
        close_outbox(&outbox);
    }
}

static void test_relay_when_records_went_one_by_one_then_batches_come_back_smaller(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "1", .verdict = BUS_REFUSED, .times = 1};
    open_outbox(&outbox, judge_odd, &odd);
    commit(&outbox, 3000);
    start_relay(&outbox, 0);
    wait_advanced(&outbox, 3000);
    assert_int_equal(bus_start_count(), 3);
    assert_int_equal(bus.starts[1].batch_max, 1);
    assert_true(bus.starts[2].in_order);
    assert_int_equal(bus.starts[2].batch_max, 2500);
    (void)pthread_mutex_lock(&bus.mutex);
    assert_int_equal(bus.records[bus.count - 1].start, 3);
    /* The one that was refused and 2,000 one by one. */
    assert_int_equal(bus.records[2000].start, 2);
    assert_int_equal(bus.records[2001].start, 3);
    (void)pthread_mutex_unlock(&bus.mutex);
    assert_true(each_came_once(2, 3000));
    /* A failure that is not one of size changes nothing of that. */
    odd.value = "3001";
    odd.verdict = BUS_LOST;
    atomic_store(&odd.times, 1);
    commit(&outbox, 500);
    wait_advanced(&outbox, 3500);
    assert_int_equal(bus_start_count(), 4);
    assert_true(bus.starts[3].in_order);
    assert_int_equal(bus.starts[3].batch_max, 2500);
    odd.value = "3501";
    odd.verdict = BUS_REFUSED;
    atomic_store(&odd.times, 1);
    commit(&outbox, 2500);
    wait_advanced(&outbox, 6000);
    assert_int_equal(bus_start_count(), 6);
    assert_int_equal(bus.starts[4].batch_max, 1);
    assert_int_equal(bus.starts[5].batch_max, 625);
    assert_true(each_came_once(3502, 6000));
    close_outbox(&outbox);
}

static enum bus_verdict judge_first_try(void *user, const char *topic, const char *value,
                                        size_t before)
{
    (void)user;
    (void)topic;
    long row = strtol(value, NULL, 10);
    if (before > 0 || row == 2 || row == 4) {
        return BUS_TAKEN;
    }
    return BUS_HELD;
}

/* Rows 2 and 4 are acknowledged, 1, 3 and 5 under way when the delivery of 3 fails. */
static void
test_relay_when_a_delivery_fails_then_only_what_is_not_acknowledged_comes_again(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, judge_first_try, NULL);
    commit(&outbox, 5);
    start_relay(&outbox, 0);
    wait_count(all_produced, NULL, 5);
    bus_release("3", BUS_LOST);
    wait_advanced(&outbox, 5);
    assert_int_equal(bus_start_count(), 2);
    assert_true(bus.starts[1].in_order);
    assert_int_equal(bus.starts[1].batch_max, 0);
    static const size_t produced[] = {2, 1, 2, 1, 2};
    for (size_t i = 0; i < 5; i++) {
        char value[BUS_TEXT_SIZE];
        (void)snprintf(value, sizeof(value), "%zu", i + 1);
        assert_int_equal(bus_produced(value), produced[i]);
        assert_int_equal(bus_acknowledged(value), 1);
    }
    close_outbox(&outbox);
}

static void test_relay_when_its_producer_ends_or_cannot_be_made_then_it_tries_again(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "2", .verdict = BUS_ENDED, .times = 1};
    open_outbox(&outbox, judge_odd, &odd);
    start_relay(&outbox, 0);
    (void)pthread_mutex_lock(&bus.mutex);
    bus.starts_to_fail = 1;
    (void)pthread_mutex_unlock(&bus.mutex);
    commit(&outbox, 3);
    wait_advanced(&outbox, 3);
    assert_int_equal(bus_start_count(), 2);
    assert_true(each_came_once(1, 3));
    close_outbox(&outbox);
}

static void test_relay_when_the_queue_is_full_or_a_fetch_fails_then_it_goes_on(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "2", .verdict = BUS_FULL, .times = 3};
    open_outbox(&outbox, judge_odd, &odd);
    outbox.fetches_to_fail = 1;
    commit(&outbox, 3);
    start_relay(&outbox, 0);
    wait_advanced(&outbox, 3);
    assert_int_equal(bus_start_count(), 1);
    assert_int_equal(atomic_load(&odd.times), 0);
    assert_true(each_came_once(1, 3));
    close_outbox(&outbox);
}

static void test_relay_when_a_fetch_gives_less_than_there_is_then_it_fetches_on(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, NULL, NULL);
    outbox.fetch_max = 3;
    commit(&outbox, 10);
    start_relay(&outbox, 0); /* nobody wakes it */
    wait_advanced(&outbox, 10);
    assert_true(each_came_once(1, 10));
    close_outbox(&outbox);
    assert_int_equal(outbox.fetches, 5); /* the last one says that there are no more */
}

static void test_relay_when_a_record_of_no_outbox_is_lost_then_no_row_is_touched(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "letter", .verdict = BUS_LOST, .times = 1};
    open_outbox(&outbox, judge_odd, &odd);
    start_relay(&outbox, 0);
    struct saga_kafka_record letter = {.topic = "x", .value = saga_bytes_text("letter")};
    assert_int_equal(saga_relay_produce(outbox.relay, &letter), SAGA_ERR_OK);
    assert_int_equal(saga_relay_produce(outbox.relay, &letter), SAGA_ERR_OK);
    commit(&outbox, 3);
    wait_advanced(&outbox, 3);
    assert_int_equal(bus_produced("letter"), 2);
    assert_int_equal(bus_acknowledged("letter"), 1);
    assert_int_equal(bus_start_count(), 1);
    close_outbox(&outbox);
}

/* All but the first attempt at "1" are under way until the test says what becomes of them. */
static enum bus_verdict judge_slowly(void *user, const char *topic, const char *value,
                                     size_t before)
{
    (void)user;
    (void)topic;
    return strcmp(value, "1") == 0 && before == 0 ? BUS_REFUSED : BUS_HELD;
}

static void test_relay_when_it_is_careful_then_the_next_waits_for_the_one_before(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, judge_slowly, NULL);
    outbox.specials[0] = (struct special){.position = 2, .topic = "t", .second_topic = "t"};
    commit(&outbox, 3);
    start_relay(&outbox, 0);
    static const char *const values[] = {"1", "2", "2+", "3"};
    wait_count(starts, NULL, 2);
    for (size_t i = 0; i < 3; i++) {
        wait_count(bus_produced, values[i], i == 0 ? 2 : 1);
        assert_int_equal(bus_count(), i + 2);
        assert_int_equal(saga_relay_drain(outbox.relay, 1), SAGA_ERR_TIMEOUT);
        assert_int_equal(bus_count(), i + 2); /* the next one is not produced */
        bus_release(values[i], BUS_TAKEN);
    }
    wait_count(bus_produced, "3", 1);
    wait_advanced(&outbox, 2);
    assert_int_equal(bus_start_count(), 2);
    close_outbox(&outbox); /* in the midst of a wait */
}

static enum bus_verdict judge_both(void *user, const char *topic, const char *value, size_t before)
{
    (void)user;
    (void)topic;
    if (strcmp(value, "1") == 0 && before == 0) {
        return BUS_REFUSED;
    }
    return strcmp(value, "2") == 0 && before == 0 ? BUS_LOST : BUS_TAKEN;
}

static void test_relay_when_a_delivery_fails_one_by_one_then_the_producer_is_made_anew(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, judge_both, NULL);
    commit(&outbox, 3);
    start_relay(&outbox, 0);
    wait_advanced(&outbox, 3);
    assert_int_equal(bus_start_count(), 3);
    assert_int_equal(bus.starts[2].batch_max, 1); /* still one by one */
    assert_int_equal(bus_produced("1"), 2);
    assert_int_equal(bus_produced("2"), 2);
    assert_int_equal(bus_produced("3"), 1);
    close_outbox(&outbox);
}

/* Row 2 is no longer in the outbox when it is to be produced again. */
static void test_relay_when_the_last_row_is_gone_after_a_failure_then_it_is_passed(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "2", .verdict = BUS_HELD, .times = 1};
    open_outbox(&outbox, judge_odd, &odd);
    commit(&outbox, 2);
    start_relay(&outbox, 0);
    wait_count(bus_produced, "2", 1);
    (void)pthread_mutex_lock(&outbox.mutex);
    outbox.hidden = 2;
    (void)pthread_mutex_unlock(&outbox.mutex);
    bus_release("2", BUS_LOST);
    wait_advanced(&outbox, 2);
    assert_int_equal(bus_count(), 2);
    assert_int_equal(saga_relay_drain(outbox.relay, BUS_WAIT_MS), SAGA_ERR_OK);
    close_outbox(&outbox);
}

static void test_relay_when_freed_while_the_queue_is_full_then_it_ends(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "2", .verdict = BUS_FULL, .times = 1000000};
    open_outbox(&outbox, judge_odd, &odd);
    commit(&outbox, 3);
    start_relay(&outbox, 0);
    wait_advanced(&outbox, 1); /* told while it waits for room */
    close_outbox(&outbox);
    assert_true(atomic_load(&odd.times) < 1000000);
}

static bool missing_is_told(void *arg)
{
    struct outbox *outbox = arg;
    char names[BUS_TEXT_SIZE];
    bool full = false;
    saga_relay_missing(outbox->relay, names, sizeof(names), &full);
    return strcmp(names, "a") == 0 && !saga_relay_up(outbox->relay);
}

/* ---- Topics that are missing ---- */

static void test_relay_when_its_only_row_waits_for_its_topic_then_that_is_told(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, NULL, NULL);
    outbox.specials[0] = (struct special){.position = 1, .topic = "a"};
    bus_miss("a");
    commit(&outbox, 1);
    start_relay(&outbox, 0);
    assert_true(saga_test_until(missing_is_told, &outbox, BUS_WAIT_MS));
    bus_find("a");
    wait_advanced(&outbox, 1);
    assert_true(saga_relay_up(outbox.relay));
    close_outbox(&outbox);
}

/* "t" was there; a delivery fails, and it no longer is. */
static void test_relay_when_a_topic_is_deleted_then_its_records_wait(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "2", .verdict = BUS_HELD, .times = 1};
    open_outbox(&outbox, judge_odd, &odd);
    outbox.specials[0] = (struct special){.position = 1, .topic = "a"};
    outbox.specials[1] = (struct special){.position = 2, .topic = "a"};
    commit(&outbox, 3);
    start_relay(&outbox, 0);
    wait_count(bus_produced, "3", 1);
    bus_miss("a");
    bus_release("2", BUS_LOST);
    assert_true(saga_test_until(missing_is_told, &outbox, BUS_WAIT_MS));
    assert_int_equal(bus_produced("2"), 1);
    bus_find("a");
    wait_advanced(&outbox, 3);
    assert_int_equal(bus_produced("2"), 2);
    assert_int_equal(bus_count(), 4);
    close_outbox(&outbox);
}

static bool one_is_told(void *arg)
{
    return told_ahead(arg) >= 1;
}

/* The window of sagad's relay of commands: 49,999 rows go on behind the one that waits, then all
 * waits; when the topic is there, it alone is produced, and what did not fit before. */
static void test_relay_when_the_window_is_full_behind_a_missing_topic_then_all_waits(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, NULL, NULL);
    outbox.specials[0] = (struct special){.position = 1, .topic = "missing"};
    bus_miss("missing");
    commit(&outbox, SAGA_RELAY_WINDOW_MAX + 2500);
    start_relay(&outbox, SAGA_RELAY_WINDOW_MAX);
    assert_true(saga_test_until(is_full, &outbox, BUS_WAIT_MS));
    wait_count(all_produced, NULL, SAGA_RELAY_WINDOW_MAX - 1);
    /* It looks for the topic and takes nothing more, also when it is woken. */
    commit(&outbox, 500);
    wait_count(asked, NULL, bus_asked() + 1);
    assert_int_equal(bus_count(), SAGA_RELAY_WINDOW_MAX - 1);
    assert_int_equal(told_ahead(&outbox), SAGA_RELAY_WINDOW_MAX - 1);
    assert_int_equal(advanced_to(&outbox), 0);
    assert_false(saga_relay_up(outbox.relay));
    assert_int_equal(saga_relay_drain(outbox.relay, 1), SAGA_ERR_TIMEOUT);
    char names[BUS_TEXT_SIZE];
    bool full = false;
    saga_relay_missing(outbox.relay, names, sizeof(names), &full);
    assert_string_equal(names, "missing");
    assert_true(full);
    bus_find("missing");
    wait_advanced(&outbox, SAGA_RELAY_WINDOW_MAX + 3000);
    assert_true(each_came_once(1, SAGA_RELAY_WINDOW_MAX + 3000));
    assert_int_equal(bus_start_count(), 1);
    assert_true(saga_relay_up(outbox.relay));
    saga_relay_missing(outbox.relay, names, sizeof(names), &full);
    assert_string_equal(names, "");
    assert_false(full);
    close_outbox(&outbox);
}

static enum bus_verdict judge_held(void *user, const char *topic, const char *value, size_t before)
{
    (void)user;
    (void)topic;
    (void)before;
    return strcmp(value, "3") == 0 || strcmp(value, "4+") == 0 ? BUS_HELD : BUS_TAKEN;
}

/* Row 2 and the first record of row 4 wait for topics; row 3 and the second of row 4 are under way,
 * and stay so, when they are found. */
/* Row 4 is acknowledged before row 3 while no topic is missing, so nobody is told of it. */
static void
test_relay_when_a_row_is_ahead_before_a_topic_is_missing_then_it_is_told_later(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, judge_held, NULL);
    outbox.specials[0] = (struct special){.position = 5, .topic = "a"};
    bus_miss("a");
    commit(&outbox, 5);
    start_relay(&outbox, 0);
    assert_true(saga_test_until(missing_is_told, &outbox, BUS_WAIT_MS));
    assert_int_equal(told_ahead(&outbox), 0);
    bus_release("3", BUS_LOST);
    assert_true(saga_test_until(one_is_told, &outbox, BUS_WAIT_MS));
    wait_count(bus_produced, "3", 2);
    assert_int_equal(told_ahead(&outbox), 1);
    assert_int_equal(bus_produced("4"), 1);
    close_outbox(&outbox);
}

static void test_relay_when_a_topic_is_found_then_what_is_under_way_is_left_alone(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, judge_held, NULL);
    outbox.specials[0] = (struct special){.position = 2, .topic = "a"};
    outbox.specials[1] = (struct special){.position = 4, .topic = "b", .second_topic = "t"};
    bus_miss("a");
    bus_miss("b");
    commit(&outbox, 6);
    start_relay(&outbox, 0);
    wait_count(bus_produced, "6", 1);
    wait_advanced(&outbox, 1);
    bus_find("b");
    wait_count(bus_produced, "4", 1);
    assert_int_equal(bus_produced("2"), 0);
    char names[BUS_TEXT_SIZE];
    bool full = true;
    saga_relay_missing(outbox.relay, names, sizeof(names), &full);
    assert_string_equal(names, "a");
    assert_false(full);
    bus_find("a");
    wait_advanced(&outbox, 2);
    assert_int_equal(saga_relay_drain(outbox.relay, 1), SAGA_ERR_TIMEOUT);
    bus_release("4+", BUS_TAKEN);
    bus_release("3", BUS_TAKEN);
    wait_advanced(&outbox, 6);
    assert_int_equal(bus_count(), 7); /* each once */
    assert_int_equal(bus_start_count(), 1);
    assert_true(saga_relay_up(outbox.relay));
    close_outbox(&outbox);
}

/* As above, and a row appears before one that is under way. */
static void test_relay_when_a_row_appears_before_one_under_way_then_none_is_lost(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, judge_first_try, NULL);
    outbox.specials[0] = (struct special){.position = 2, .topic = "a"};
    outbox.hidden = 4;
    bus_miss("a");
    commit(&outbox, 6);
    start_relay(&outbox, 0);
    wait_count(all_produced, NULL, 4);
    bus_release("1", BUS_TAKEN);
    (void)pthread_mutex_lock(&outbox.mutex);
    outbox.hidden = 0;
    (void)pthread_mutex_unlock(&outbox.mutex);
    bus_find("a");
    wait_advanced(&outbox, 6);
    assert_int_equal(bus_start_count(), 2);
    for (int row = 1; row <= 6; row++) {
        char value[BUS_TEXT_SIZE];
        (void)snprintf(value, sizeof(value), "%d", row);
        assert_int_equal(bus_acknowledged(value), 1);
    }
    close_outbox(&outbox);
}

static void test_relay_when_nobody_can_be_asked_for_a_topic_then_it_asks_again(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, NULL, NULL);
    bus_set_silent(true);
    commit(&outbox, 2);
    start_relay(&outbox, 0);
    wait_count(asked, NULL, 2);
    assert_int_equal(bus_count(), 0);
    char names[BUS_TEXT_SIZE];
    bool full = true;
    saga_relay_missing(outbox.relay, names, sizeof(names), &full);
    assert_string_equal(names, ""); /* nobody said that it is missing */
    assert_false(full);
    bus_set_silent(false);
    wait_advanced(&outbox, 2);
    assert_true(each_came_once(1, 2));
    assert_int_equal(bus_start_count(), 1);
    close_outbox(&outbox);
}

/* One by one, with a record in the midst that waits for its topic. */
static void test_relay_when_it_is_careful_and_a_topic_is_missing_then_each_comes_once(void **state)
{
    (void)state;
    struct outbox outbox;
    struct odd odd = {.value = "1", .verdict = BUS_REFUSED, .times = 1};
    open_outbox(&outbox, judge_odd, &odd);
    outbox.specials[0] = (struct special){.position = 2, .topic = "t", .second_topic = "a"};
    outbox.specials[1] = (struct special){.position = 3, .topic = "a", .second_topic = "t"};
    bus_miss("a");
    commit(&outbox, 4);
    start_relay(&outbox, 0);
    wait_count(bus_produced, "4", 1);
    wait_advanced(&outbox, 1);
    assert_int_equal(bus_produced("3+"), 1);
    bus_find("a");
    wait_advanced(&outbox, 4);
    assert_int_equal(bus_produced("1"), 2);
    assert_int_equal(bus_count(), 7);
    assert_int_equal(bus_start_count(), 2);
    close_outbox(&outbox);
}

/* What waits, or is refused, keeps no relay from ending. */
static void test_relay_when_freed_with_much_to_do_then_it_ends(void **state)
{
    (void)state;
    struct outbox outbox;
    open_outbox(&outbox, judge_held, NULL);
    outbox.specials[0] = (struct special){.position = 1, .topic = "a"};
    bus_miss("a");
    commit(&outbox, 10);
    start_relay(&outbox, 0);
    wait_count(starts, NULL, 1);
    wait_count(bus_produced, "10", 1);
    close_outbox(&outbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay_when_all_goes_well_then_each_record_is_produced_once),
        cmocka_unit_test(
            test_relay_when_a_record_is_refused_then_what_came_before_it_is_not_sent_again),
        cmocka_unit_test(test_relay_when_a_record_is_never_taken_then_all_behind_it_waits),
        cmocka_unit_test(test_relay_when_records_went_one_by_one_then_batches_come_back_smaller),
        cmocka_unit_test(
            test_relay_when_a_delivery_fails_then_only_what_is_not_acknowledged_comes_again),
        cmocka_unit_test(test_relay_when_its_producer_ends_or_cannot_be_made_then_it_tries_again),
        cmocka_unit_test(test_relay_when_the_queue_is_full_or_a_fetch_fails_then_it_goes_on),
        cmocka_unit_test(test_relay_when_a_fetch_gives_less_than_there_is_then_it_fetches_on),
        cmocka_unit_test(test_relay_when_a_record_of_no_outbox_is_lost_then_no_row_is_touched),
        cmocka_unit_test(test_relay_when_the_window_is_full_behind_a_missing_topic_then_all_waits),
        cmocka_unit_test(test_relay_when_it_is_careful_then_the_next_waits_for_the_one_before),
        cmocka_unit_test(test_relay_when_the_last_row_is_gone_after_a_failure_then_it_is_passed),
        cmocka_unit_test(
            test_relay_when_a_delivery_fails_one_by_one_then_the_producer_is_made_anew),
        cmocka_unit_test(test_relay_when_a_topic_is_deleted_then_its_records_wait),
        cmocka_unit_test(test_relay_when_freed_while_the_queue_is_full_then_it_ends),
        cmocka_unit_test(test_relay_when_its_only_row_waits_for_its_topic_then_that_is_told),
        cmocka_unit_test(
            test_relay_when_a_row_is_ahead_before_a_topic_is_missing_then_it_is_told_later),
        cmocka_unit_test(test_relay_when_a_topic_is_found_then_what_is_under_way_is_left_alone),
        cmocka_unit_test(test_relay_when_a_row_appears_before_one_under_way_then_none_is_lost),
        cmocka_unit_test(test_relay_when_nobody_can_be_asked_for_a_topic_then_it_asks_again),
        cmocka_unit_test(test_relay_when_it_is_careful_and_a_topic_is_missing_then_each_comes_once),
        cmocka_unit_test(test_relay_when_freed_with_much_to_do_then_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
