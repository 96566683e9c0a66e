/* sagad's reply records, with a producer and a consumer that are made up here: an offset goes on
 * only when its reply is with the loop, or its dead letter on Kafka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/envelope.h"
#include "orchestrator/daemon/replies.h"

/* ---- The bus, made up ---- */

/* What becomes of a dead letter. */
enum mood { DELIVERED, REFUSED, NOT_QUEUED, NO_ANSWER };

static struct {
    enum mood mood;
    saga_kafka_delivered *delivered;
    void *producer_user;
    struct saga_kafka_consumer_config consumer;
    unsigned letters;
    char letter_topic[64];
    unsigned added;
    bool add_fails;
    char added_topic[64]; /* the last */
} bus;

enum saga_err saga_kafka_producer_start(const struct saga_kafka_config *config,
                                        saga_kafka_delivered *delivered, void *user,
                                        struct saga_kafka_producer **producer,
                                        struct saga_err_detail *detail)
{
    (void)config;
    (void)detail;
    bus.delivered = delivered;
    bus.producer_user = user;
    *producer = NULL;
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_produce(struct saga_kafka_producer *producer,
                                 const struct saga_kafka_record *record, uint64_t token)
{
    (void)producer;
    if (bus.mood == NOT_QUEUED) {
        return SAGA_ERR_FULL;
    }
    bus.letters++;
    (void)snprintf(bus.letter_topic, sizeof bus.letter_topic, "%s", record->topic);
    if (bus.mood != NO_ANSWER) {
        bus.delivered(bus.producer_user, token,
                      bus.mood == DELIVERED ? SAGA_ERR_OK : SAGA_ERR_LIMIT);
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_flush(struct saga_kafka_producer *producer, int64_t timeout_ms)
{
    (void)producer;
    (void)timeout_ms;
    return bus.mood == NO_ANSWER ? SAGA_ERR_TIMEOUT : SAGA_ERR_OK;
}

void saga_kafka_producer_free(struct saga_kafka_producer *producer)
{
    (void)producer;
}

enum saga_err saga_kafka_consumer_start(const struct saga_kafka_consumer_config *config,
                                        struct saga_kafka_consumer **consumer,
                                        struct saga_err_detail *detail)
{
    (void)detail;
    bus.consumer = *config;
    *consumer = NULL;
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_consumer_add(struct saga_kafka_consumer *consumer, const char *topic)
{
    (void)consumer;
    if (bus.add_fails) {
        return SAGA_ERR_NO_MEMORY;
    }
    bus.added++;
    (void)snprintf(bus.added_topic, sizeof bus.added_topic, "%s", topic);
    return SAGA_ERR_OK;
}

bool saga_kafka_consumer_up(const struct saga_kafka_consumer *consumer)
{
    (void)consumer;
    return true;
}

void saga_kafka_consumer_free(struct saga_kafka_consumer *consumer)
{
    (void)consumer;
}

/* ---- The runtime, made up: what it is told ---- */

static unsigned reply_count;
static int64_t offset_next;
static char offset_topic[64];

void saga_runtime_reply(struct saga_runtime *runtime, const struct saga_runtime_reply *reply)
{
    (void)runtime;
    assert_string_equal(reply->step_name, "stock");
    assert_string_equal(reply->topic, "replies");
    assert_int_equal(reply->op, SAGA_OP_UNDO);
    reply_count++;
}

void saga_runtime_offset(struct saga_runtime *runtime, const char *topic, int32_t partition,
                         int64_t next_offset)
{
    (void)runtime;
    assert_int_equal(partition, 3);
    (void)snprintf(offset_topic, sizeof offset_topic, "%s", topic);
    offset_next = next_offset;
}

/* ---- Tests ---- */

struct fixture {
    struct saga_inbox *inbox;
    struct replies *replies;
};

static int setup(void **state)
{
    static const char *const topics[] = {"replies"};
    struct fixture *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    memset(&bus, 0, sizeof bus);
    reply_count = 0;
    offset_next = -1;
    assert_int_equal(saga_inbox_new(1, &fx->inbox), SAGA_ERR_OK);
    struct replies_config config = {
        .kafka = {.bootstrap = "nowhere", .client_id = "test"},
        .topics = topics,
        .topic_count = 1,
        .inbox = fx->inbox,
    };
    assert_int_equal(replies_start(&config, &fx->replies, NULL), SAGA_ERR_OK);
    assert_non_null(bus.consumer.received);
    *state = fx;
    return 0;
}

static bool receive(struct saga_bytes value, int64_t offset)
{
    struct saga_kafka_record record = {.topic = "replies",
                                       .key = saga_bytes_text("key"),
                                       .value = value,
                                       .partition = 3,
                                       .offset = offset};
    return bus.consumer.received(bus.consumer.user, &record);
}

static bool receive_garbage(int64_t offset)
{
    return receive(saga_bytes_text("\xff\xff\xff garbage"), offset);
}

/* Lets the loop take what is there; gives how many inputs there were. */
static unsigned take(struct fixture *fx)
{
    unsigned count = 0;
    struct saga_inbox_entry *entry = saga_inbox_take(fx->inbox, 16, 0);
    while (entry != NULL) {
        struct saga_inbox_entry *next = entry->next;
        replies_take((struct input *)entry, NULL);
        entry = next;
        count++;
    }
    return count;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    (void)take(fx); /* of a test that failed half-way */
    replies_free(fx->replies);
    saga_inbox_free(fx->inbox);
    free(fx);
    return 0;
}

static void test_garbage_when_its_letter_is_delivered_then_only_its_offset_moves(void **state)
{
    struct fixture *fx = *state;
    assert_true(receive_garbage(41));
    assert_int_equal(bus.letters, 1);
    assert_string_equal(bus.letter_topic, "saga-dead-letter");
    assert_int_equal(replies_dead_count(fx->replies), 1);
    assert_int_equal(take(fx), 1);
    assert_int_equal(reply_count, 0);
    assert_int_equal(offset_next, 42);
    assert_string_equal(offset_topic, "replies");
}

static void test_garbage_when_its_letter_is_not_delivered_then_is_given_again(void **state)
{
    static const enum mood moods[] = {REFUSED, NOT_QUEUED, NO_ANSWER};
    struct fixture *fx = *state;
    for (size_t i = 0; i < sizeof moods / sizeof moods[0]; i++) {
        bus.mood = moods[i];
        assert_false(receive_garbage(41)); /* the consumer gives it again */
        assert_int_equal(take(fx), 0);
        assert_int_equal(offset_next, -1);
        assert_int_equal(replies_dead_count(fx->replies), 0);
    }
    bus.mood = DELIVERED;
    assert_true(receive_garbage(41));
    assert_int_equal(take(fx), 1);
    assert_int_equal(offset_next, 42);
}

/* An acknowledgement of an earlier attempt must not stand for the present one. */
static void test_garbage_when_an_earlier_letter_was_delivered_then_the_next_waits_too(void **state)
{
    struct fixture *fx = *state;
    assert_true(receive_garbage(41));
    assert_int_equal(take(fx), 1);
    bus.mood = NO_ANSWER;
    assert_false(receive_garbage(42));
    assert_int_equal(take(fx), 0);
    assert_int_equal(offset_next, 42);
}

static void test_reply_when_it_is_one_then_comes_with_its_offset(void **state)
{
    struct fixture *fx = *state;
    struct saga_reply reply = {.saga_id = {{1}},
                               .step = "stock",
                               .op = SAGA_OP_UNDO,
                               .attempt = 2,
                               .status = saga_status_ok()};
    struct saga_buf value = {0};
    assert_int_equal(saga_reply_encode(&reply, &value), SAGA_ERR_OK);
    assert_true(receive(saga_buf_view(&value), 7));
    assert_false(receive(saga_buf_view(&value), 8)); /* the inbox is full: back-pressure */
    assert_int_equal(take(fx), 1);
    assert_int_equal(reply_count, 1);
    assert_int_equal(offset_next, 8);
    assert_int_equal(bus.letters, 0);
    saga_buf_fini(&value);
}

static void test_topics_when_more_are_wanted_then_each_is_added_once(void **state)
{
    static const char *const topics[] = {"replies", "second", "third"};
    struct fixture *fx = *state;
    replies_want(fx->replies, topics, 1);
    assert_int_equal(bus.added, 0);
    bus.add_fails = true;
    replies_want(fx->replies, topics, 2);
    assert_int_equal(bus.added, 0);
    bus.add_fails = false; /* with the next turn */
    replies_want(fx->replies, topics, 2);
    assert_int_equal(bus.added, 1);
    assert_string_equal(bus.added_topic, "second");
    replies_want(fx->replies, topics, 3);
    replies_want(fx->replies, topics, 3);
    assert_int_equal(bus.added, 2);
    assert_string_equal(bus.added_topic, "third");
    replies_want(NULL, topics, 3); /* no Kafka */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_garbage_when_its_letter_is_delivered_then_only_its_offset_moves),
        CASE(test_garbage_when_its_letter_is_not_delivered_then_is_given_again),
        CASE(test_garbage_when_an_earlier_letter_was_delivered_then_the_next_waits_too),
        CASE(test_reply_when_it_is_one_then_comes_with_its_offset),
        CASE(test_topics_when_more_are_wanted_then_each_is_added_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
