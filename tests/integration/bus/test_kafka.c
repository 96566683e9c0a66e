/* Producer, consumer, topics and relay against the shared broker; and against the embedded cluster
 * where that is what is tested. */
#include "tests/integration/bus/kafka_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/support.h"

/* The broker that a group of tests talks to. */
static struct saga_kafka_config shared = {.client_id = "test-bus"};

static int group_setup_broker(void **state)
{
    (void)state;
    static char bootstrap[SAGA_TEST_PATH_MAX];
    shared.bootstrap = saga_test_kafka(bootstrap);
    return 0;
}

static int group_setup_mock(void **state)
{
    struct saga_kafka_mock *mock = NULL;
    struct saga_err_detail detail = {0};
    if (saga_kafka_mock_start(&mock, &detail) != SAGA_ERR_OK) {
        return -1;
    }
    *state = mock;
    shared.bootstrap = saga_kafka_mock_bootstrap(mock);
    return 0;
}

static int group_teardown_mock(void **state)
{
    saga_kafka_mock_free(*state);
    return 0;
}

static void test_relay_when_rows_are_there_then_each_key_comes_in_order(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("relay");
    kafka_topic_make(&shared, topic.text, 4);
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 7);
    collector_init(&collector);
    outbox_commit(&outbox, 2500);
    struct saga_relay *relay = outbox_relay(&outbox, &shared, 0);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_true(outbox_wait_advanced(&outbox, 2500));
    outbox_commit(&outbox, 100);
    saga_relay_wake(relay);
    assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
    assert_int_equal(outbox_advanced(&outbox), 2600);
    assert_int_equal(saga_relay_position(relay), 2600);
    assert_true(saga_relay_up(relay));
    assert_true(collector_wait(&collector, 2600));
    assert_int_equal(outbox_check(&outbox, &collector), 0);
    assert_false(outbox.went_back);
    assert_true(saga_kafka_consumer_up(consumer));
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static void test_topics_when_created_then_they_are_found_and_not_created_again(void **state)
{
    (void)state;
    struct kafka_topic_name one = kafka_topic_unique("one");
    struct kafka_topic_name two = kafka_topic_unique("two");
    struct kafka_topic_name none = kafka_topic_unique("none");
    static const char *const configs[] = {"retention.ms", "86400000", NULL};
    struct saga_kafka_topic topics[] = {
        {.name = one.text, .partitions = 3, .replication = -1, .configs = configs},
        {.name = two.text, .partitions = 1, .replication = 1},
    };
    bool created[2] = {false, false};
    struct saga_err_detail detail = {0};
    assert_int_equal(saga_kafka_topics_create(&shared, topics, 1, created, KAFKA_WAIT_MS, &detail),
                     SAGA_ERR_OK);
    assert_true(created[0]);
    assert_int_equal(saga_kafka_topics_create(&shared, topics, 2, created, KAFKA_WAIT_MS, &detail),
                     SAGA_ERR_OK);
    assert_false(created[0]);
    assert_true(created[1]);
    const char *const names[] = {one.text, none.text, two.text};
    int32_t partitions[3] = {-1, -1, -1};
    assert_int_equal(saga_kafka_topics_find(&shared, names, 3, partitions, KAFKA_WAIT_MS, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(partitions[0], 3);
    assert_int_equal(partitions[1], 0);
    assert_int_equal(partitions[2], 1);
}

static void test_topics_when_a_description_is_bad_then_the_topic_is_named(void **state)
{
    (void)state;
    static const char *const configs[] = {"retention.msec", "1", NULL};
    struct kafka_topic_name odd = kafka_topic_unique("odd");
    const struct saga_kafka_topic bad[] = {
        {.name = "no spaces allowed", .partitions = 1, .replication = -1},
        {.name = odd.text, .partitions = 1, .replication = -1, .configs = configs},
    };
    for (size_t i = 0; i < 2; i++) {
        struct saga_err_detail detail = {0};
        assert_int_equal(
            saga_kafka_topics_create(&shared, &bad[i], 1, NULL, KAFKA_WAIT_MS, &detail),
            SAGA_ERR_INVALID);
        assert_non_null(strstr(detail.text, bad[i].name));
    }
}

static void test_probe_when_the_topic_is_there_then_it_gives_the_time(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("probe");
    kafka_topic_make(&shared, topic.text, 2);
    int64_t round_trip_us = 0;
    struct saga_err_detail detail = {0};
    assert_int_equal(
        saga_kafka_topic_probe(&shared, topic.text, KAFKA_WAIT_MS, &round_trip_us, &detail),
        SAGA_ERR_OK);
    assert_in_range(round_trip_us, 1, (int64_t)KAFKA_WAIT_MS * 1000);
}

static void test_probe_when_the_topic_is_not_there_then_it_fails_in_time(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("missing");
    int64_t round_trip_us = 0;
    struct saga_err_detail detail = {0};
    int64_t start_ms = saga_test_now_ms();
    assert_int_not_equal(saga_kafka_topic_probe(&shared, topic.text, 1000, &round_trip_us, &detail),
                         SAGA_ERR_OK);
    assert_in_range(saga_test_now_ms() - start_ms, 0, 10000);
    assert_non_null(strstr(detail.text, topic.text));
}

/* ---- Producer and consumer ---- */

struct deliveries {
    _Atomic size_t ok;
    _Atomic size_t failed;
    _Atomic uint64_t tokens; /* their sum */
};

static void on_delivered(void *user, uint64_t token, enum saga_err err)
{
    struct deliveries *deliveries = user;
    (void)atomic_fetch_add(&deliveries->tokens, token);
    (void)atomic_fetch_add(err == SAGA_ERR_OK ? &deliveries->ok : &deliveries->failed, 1);
}

static struct saga_kafka_producer *start_producer(const struct saga_kafka_config *config,
                                                  struct deliveries *deliveries)
{
    struct saga_kafka_producer *producer = NULL;
    struct saga_err_detail detail = {0};
    enum saga_err err =
        saga_kafka_producer_start(config, on_delivered, deliveries, &producer, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("producer: %s: %s", saga_err_name(err), detail.text);
    }
    return producer;
}

/* Produces `count` records, keys k0 to k4 in turn, values `first`, `first` + 1 … and waits until
 * they are there. */
static void produce_numbers(const char *topic, size_t first, size_t count)
{
    struct deliveries deliveries = {0};
    struct saga_kafka_producer *producer = start_producer(&shared, &deliveries);
    for (size_t i = first; i < first + count; i++) {
        char key[32];
        char value[32];
        (void)snprintf(key, sizeof(key), "k%zu", i % 5);
        (void)snprintf(value, sizeof(value), "%zu", i);
        struct saga_kafka_record record = {
            .topic = topic, .key = saga_bytes_text(key), .value = saga_bytes_text(value)};
        assert_int_equal(saga_kafka_produce(producer, &record, i), SAGA_ERR_OK);
    }
    assert_int_equal(saga_kafka_flush(producer, KAFKA_WAIT_MS), SAGA_ERR_OK);
    assert_int_equal(atomic_load(&deliveries.ok), count);
    assert_int_equal(atomic_load(&deliveries.tokens), count * (2 * first + count - 1) / 2);
    assert_true(saga_kafka_producer_up(producer));
    saga_kafka_producer_free(producer);
}

/* Keeps the headers of one record as text. */
struct kept_record {
    _Atomic bool there;
    char topic[80];
    char id[32];
    char type[32];
    size_t header_count;
    size_t key_size;
    size_t value_size;
};

static bool keep_record(void *user, const struct saga_kafka_record *record)
{
    struct kept_record *kept = user;
    struct saga_bytes id = saga_kafka_header(record, "ce_id");
    struct saga_bytes type = saga_kafka_header(record, "ce_type");
    (void)snprintf(kept->topic, sizeof(kept->topic), "%s", record->topic);
    (void)snprintf(kept->id, sizeof(kept->id), "%.*s", (int)id.size, (const char *)id.data);
    (void)snprintf(kept->type, sizeof(kept->type), "%.*s", (int)type.size, (const char *)type.data);
    kept->header_count = record->header_count;
    kept->key_size = record->key.size;
    kept->value_size = record->value.size;
    atomic_store(&kept->there, true);
    return true;
}

static int64_t from_the_beginning(void *user, const char *topic, int32_t partition)
{
    (void)user;
    (void)topic;
    (void)partition;
    return -1;
}

static bool is_there(void *arg)
{
    struct kept_record *kept = arg;
    return atomic_load(&kept->there);
}

static void test_record_when_it_has_headers_and_no_value_then_it_arrives_so(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("headers");
    kafka_topic_make(&shared, topic.text, 1);
    struct kept_record kept = {.there = false};
    const char *name = topic.text;
    struct saga_kafka_consumer_config config = {.kafka = shared,
                                                .topics = &name,
                                                .topic_count = 1,
                                                .position = from_the_beginning,
                                                .received = keep_record,
                                                .user = &kept};
    struct saga_kafka_consumer *consumer = NULL;
    assert_int_equal(saga_kafka_consumer_start(&config, &consumer, NULL), SAGA_ERR_OK);
    struct deliveries deliveries = {0};
    struct saga_kafka_producer *producer = start_producer(&shared, &deliveries);
    struct saga_kafka_record record = {.topic = topic.text, .key = saga_bytes_text("a key")};
    struct saga_cloud_event_space space;
    struct saga_cloud_event event = {.id = "e-1", .source = "/test", .type = "saga.v1.Command"};
    saga_kafka_set_cloud_event(&record, &event, &space);
    assert_int_equal(saga_kafka_produce(producer, &record, 1), SAGA_ERR_OK);
    assert_true(saga_test_until(is_there, &kept, KAFKA_WAIT_MS));
    assert_string_equal(kept.topic, topic.text);
    assert_string_equal(kept.id, "e-1");
    assert_string_equal(kept.type, "saga.v1.Command");
    assert_int_equal(kept.header_count, 6);
    assert_int_equal(kept.key_size, 5);
    assert_int_equal(kept.value_size, 0);
    saga_kafka_producer_free(producer);
    saga_kafka_consumer_free(consumer);
}

static void
test_consumer_when_started_before_its_topic_then_it_reads_it_once_it_is_there(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("later");
    struct collector collector;
    collector_init(&collector);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_false(saga_kafka_consumer_up(consumer));
    kafka_topic_make(&shared, topic.text, 2);
    produce_numbers(topic.text, 0, 10);
    assert_true(collector_wait(&collector, 10));
    assert_true(saga_kafka_consumer_up(consumer));
    saga_kafka_consumer_free(consumer);
    collector_fini(&collector);
}

static void test_consumer_when_restarted_then_it_goes_on_where_the_user_says(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("resume");
    kafka_topic_make(&shared, topic.text, 3);
    struct collector first;
    struct collector second;
    collector_init(&first);
    collector_init(&second);
    produce_numbers(topic.text, 0, 500);
    struct saga_kafka_consumer *consumer = collector_start(&first, &shared, topic.text);
    assert_true(collector_wait(&first, 200)); /* stopped in the middle of things */
    saga_kafka_consumer_free(consumer);
    bool seen[1000] = {false};
    for (size_t i = 0; i < first.count; i++) {
        const struct collected *record = &first.records[i];
        second.positions[record->partition] = record->offset + 1;
        seen[strtoul(record->value, NULL, 10)] = true;
    }
    produce_numbers(topic.text, 500, 500);
    consumer = collector_start(&second, &shared, topic.text);
    assert_true(collector_wait(&second, 1000 - first.count));
    saga_kafka_consumer_free(consumer);
    assert_int_equal(second.count, 1000 - first.count);
    for (size_t i = 0; i < second.count; i++) {
        unsigned long number = strtoul(second.records[i].value, NULL, 10);
        assert_in_range(number, 0, 999);
        assert_false(seen[number]);
        seen[number] = true;
    }
    collector_fini(&first);
    collector_fini(&second);
}

static void
test_consumer_when_the_offset_is_out_of_range_then_it_begins_at_the_earliest(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("range");
    kafka_topic_make(&shared, topic.text, 1);
    produce_numbers(topic.text, 0, 20);
    struct collector collector;
    collector_init(&collector);
    collector.positions[0] =
        1000000; /* the topic was made anew, the database remembers the old one */
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_true(collector_wait(&collector, 20));
    assert_int_equal(collector.records[0].offset, 0);
    saga_kafka_consumer_free(consumer);
    collector_fini(&collector);
}

static void test_consumer_when_records_are_refused_then_none_is_lost_or_overtaken(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("refuse");
    kafka_topic_make(&shared, topic.text, 1);
    produce_numbers(topic.text, 0, 50);
    struct collector collector;
    collector_init(&collector);
    collector.refuse = 20;
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_true(collector_wait(&collector, 50));
    saga_kafka_consumer_free(consumer);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(strtoul(collector.records[i].value, NULL, 10), i);
    }
    collector_fini(&collector);
}

static void test_consumer_when_freed_while_it_is_refused_then_it_ends(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("stuck");
    kafka_topic_make(&shared, topic.text, 1);
    produce_numbers(topic.text, 0, 5);
    struct collector collector;
    collector_init(&collector);
    collector.refuse = SIZE_MAX;
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    saga_kafka_consumer_free(consumer);
    assert_int_equal(collector.count, 0);
    collector_fini(&collector);
}

static void test_consumer_when_partitions_are_added_then_it_reads_them(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("grow");
    kafka_topic_make(&shared, topic.text, 1);
    struct collector collector;
    collector_init(&collector);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    produce_numbers(topic.text, 0, 10);
    assert_true(collector_wait(&collector, 10));
    kafka_topic_grow(&shared, topic.text, 4);
    produce_numbers(topic.text, 10, 40);
    assert_true(collector_wait(&collector, 50));
    bool seen[4] = {false};
    for (size_t i = 0; i < 50; i++) {
        seen[collector.records[i].partition] = true;
    }
    assert_true(seen[1] || seen[2] || seen[3]);
    assert_int_equal(collector_count(&collector), 50);
    saga_kafka_consumer_free(consumer);
    collector_fini(&collector);
}

static bool reads_all(void *consumer)
{
    return saga_kafka_consumer_up(consumer);
}

static void test_consumer_when_a_topic_is_added_that_it_reads_then_it_is_there_once(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("again");
    kafka_topic_make(&shared, topic.text, 1);
    struct collector collector;
    collector_init(&collector);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_int_equal(saga_kafka_consumer_add(consumer, topic.text), SAGA_ERR_OK);
    assert_int_equal(saga_kafka_consumer_add(consumer, topic.text), SAGA_ERR_OK);
    assert_true(saga_test_until(reads_all, consumer, KAFKA_WAIT_MS)); /* a second one never is */
    produce_numbers(topic.text, 0, 10);
    assert_true(collector_wait(&collector, 10));
    saga_kafka_consumer_free(consumer);
    collector_fini(&collector);
}

/* ---- Without a broker ---- */

/* Port 1 of the loopback: nobody listens there. */
static const char nobody[] = "127.0.0.1:1";

static void test_producer_when_no_broker_then_records_wait_until_the_queue_is_full(void **state)
{
    (void)state;
    const struct saga_kafka_property small = {"queue.buffering.max.messages", "10"};
    struct saga_kafka_config config = {
        .bootstrap = nobody, .client_id = "test", .properties = &small, .property_count = 1};
    struct deliveries deliveries = {0};
    struct saga_kafka_producer *producer = start_producer(&config, &deliveries);
    struct saga_kafka_record record = {
        .topic = "t", .key = saga_bytes_text("k"), .value = saga_bytes_text("v")};
    for (int i = 0; i < 10; i++) {
        assert_int_equal(saga_kafka_produce(producer, &record, 0), SAGA_ERR_OK);
    }
    assert_int_equal(saga_kafka_produce(producer, &record, 0), SAGA_ERR_FULL);
    assert_false(saga_kafka_producer_up(producer));
    assert_int_equal(saga_kafka_flush(producer, 50), SAGA_ERR_TIMEOUT);
    int64_t start_ms = saga_test_now_ms();
    saga_kafka_producer_free(producer);
    assert_in_range(saga_test_now_ms() - start_ms, 0, 5000);
    assert_int_equal(atomic_load(&deliveries.ok) + atomic_load(&deliveries.failed), 0);
}

static void test_clients_when_no_broker_then_they_start_and_end_and_say_so(void **state)
{
    (void)state;
    struct saga_kafka_config config = {.bootstrap = nobody, .client_id = "test"};
    struct collector collector;
    struct outbox outbox;
    collector_init(&collector);
    outbox_init(&outbox, "t", 3);
    outbox_commit(&outbox, 100);
    int64_t start_ms = saga_test_now_ms();
    struct saga_kafka_consumer *consumer = collector_start(&collector, &config, "t");
    struct saga_relay *relay = outbox_relay(&outbox, &config, 0);
    assert_int_equal(saga_relay_drain(relay, 50), SAGA_ERR_TIMEOUT);
    assert_false(saga_kafka_consumer_up(consumer));
    assert_false(saga_relay_up(relay));
    assert_int_equal(saga_relay_position(relay), 0);
    saga_relay_free(relay);
    saga_kafka_consumer_free(consumer);
    struct saga_kafka_topic topic = {.name = "t", .partitions = 1, .replication = -1};
    const char *name = "t";
    int32_t partitions = 0;
    int64_t round_trip_us = 0;
    struct saga_err_detail detail = {0};
    assert_int_equal(saga_kafka_topics_create(&config, &topic, 1, NULL, 200, &detail),
                     SAGA_ERR_UNAVAILABLE);
    assert_int_equal(saga_kafka_topics_find(&config, &name, 1, &partitions, 200, &detail),
                     SAGA_ERR_UNAVAILABLE);
    assert_int_equal(saga_kafka_topic_probe(&config, name, 200, &round_trip_us, &detail),
                     SAGA_ERR_UNAVAILABLE);
    assert_in_range(saga_test_now_ms() - start_ms, 0, 15000);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

/* ---- Relay ---- */

static bool relay_is_full(void *arg)
{
    char name[8];
    bool full = false;
    saga_relay_missing(arg, name, sizeof(name), &full);
    return full;
}

static void test_relay_when_its_topic_is_missing_then_it_publishes_once_it_is_there(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("missing");
    /* How long librdkafka hopes for a topic before it fails the record: 30 s by default. */
    const struct saga_kafka_property hope = {"topic.metadata.propagation.max.ms", "200"};
    struct saga_kafka_config config = shared;
    config.properties = &hope;
    config.property_count = 1;
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 5);
    collector_init(&collector);
    outbox_commit(&outbox, 1000);
    struct saga_relay *relay = outbox_relay(&outbox, &config, 100);
    assert_int_equal(saga_relay_drain(relay, 1500), SAGA_ERR_TIMEOUT);
    assert_true(saga_test_until(relay_is_full, relay, KAFKA_WAIT_MS));
    assert_int_equal(outbox_advanced(&outbox), 0);
    kafka_topic_make(&shared, topic.text, 3);
    assert_true(outbox_wait_advanced(&outbox, 1000));
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_true(collector_wait(&collector, 1000));
    (void)outbox_check(&outbox, &collector);
    assert_false(outbox.went_back);
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static bool relay_is_up(void *arg)
{
    return saga_relay_up(arg);
}

/* Waits until so many rows are told to be on Kafka ahead of the prefix. */
struct told {
    struct outbox *outbox;
    size_t count;
};

static bool all_are_told(void *arg)
{
    struct told *told = arg;
    (void)pthread_mutex_lock(&told->outbox->mutex);
    bool all = told->outbox->delivered >= told->count;
    (void)pthread_mutex_unlock(&told->outbox->mutex);
    return all;
}

/* Rows 4, 9, 14, … of five keys go to a topic that is not there. */
static void test_relay_when_one_topic_is_missing_then_records_of_others_go_on(void **state)
{
    (void)state;
    struct kafka_topic_name there = kafka_topic_unique("there");
    struct kafka_topic_name missing = kafka_topic_unique("absent");
    kafka_topic_make(&shared, there.text, 3);
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, there.text, 5);
    outbox.last_topic = missing.text;
    collector_init(&collector);
    struct saga_kafka_consumer *first = collector_start(&collector, &shared, there.text);
    outbox_commit(&outbox, 1000);
    struct saga_relay *relay = outbox_relay(&outbox, &shared, 3000);
    assert_true(collector_wait(&collector, 800));
    assert_true(outbox_wait_advanced(&outbox, 3)); /* told later than they can be read */
    /* What comes later goes on too. */
    outbox_commit(&outbox, 1000);
    saga_relay_wake(relay);
    assert_true(collector_wait(&collector, 1600));
    assert_int_equal(outbox_advanced(&outbox), 3);
    char names[256];
    bool full = true;
    saga_relay_missing(relay, names, sizeof(names), &full);
    assert_string_equal(names, missing.text);
    assert_false(full);
    assert_false(saga_relay_up(relay));
    struct told told = {.outbox = &outbox, .count = 1600 - 3};
    assert_true(saga_test_until(all_are_told, &told, KAFKA_WAIT_MS));
    assert_false(outbox.delivered_last);
    kafka_topic_make(&shared, missing.text, 3);
    struct saga_kafka_consumer *second = collector_start(&collector, &shared, missing.text);
    assert_true(outbox_wait_advanced(&outbox, 2000));
    assert_true(collector_wait(&collector, 2000));
    assert_int_equal(outbox_check(&outbox, &collector), 0);
    assert_false(outbox.went_back);
    assert_true(saga_test_until(relay_is_up, relay, KAFKA_WAIT_MS));
    saga_relay_missing(relay, names, sizeof(names), &full);
    assert_string_equal(names, "");
    saga_kafka_consumer_free(second);
    saga_kafka_consumer_free(first);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static void test_relay_when_the_queue_is_small_then_rows_wait_and_none_is_lost(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("small");
    kafka_topic_make(&shared, topic.text, 2);
    const struct saga_kafka_property small = {"queue.buffering.max.messages", "7"};
    struct saga_kafka_config config = shared;
    config.properties = &small;
    config.property_count = 1;
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 5);
    collector_init(&collector);
    outbox_commit(&outbox, 500);
    struct saga_relay *relay = outbox_relay(&outbox, &config, 0);
    assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_true(collector_wait(&collector, 500));
    assert_int_equal(outbox_check(&outbox, &collector), 0);
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static void test_relay_when_restarted_then_it_goes_on_behind_its_cursor(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("cursor");
    kafka_topic_make(&shared, topic.text, 2);
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 5);
    collector_init(&collector);
    for (int i = 0; i < 5; i++) {
        outbox_commit(&outbox, 100);
        struct saga_relay *relay = outbox_relay(&outbox, &shared, 0);
        assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
        /* A record that is in no outbox goes along. */
        struct saga_kafka_record record = {
            .topic = topic.text, .key = saga_bytes_text("x"), .value = saga_bytes_text("0/0")};
        assert_int_equal(saga_relay_produce(relay, &record), SAGA_ERR_OK);
        struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
        assert_true(collector_wait(&collector, collector_count(&collector) + 1));
        saga_kafka_consumer_free(consumer);
        saga_relay_free(relay);
    }
    assert_int_equal(outbox_advanced(&outbox), 500);
    assert_false(outbox.went_back);
    /* One fetch that finds rows and one that finds none, and one more for the wait: not a loop. */
    assert_in_range(outbox_fetches(&outbox), 5, 20);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

/* ---- Topics with a small max.message.bytes ---- */

static bool is_up(void *arg)
{
    return saga_relay_up(arg);
}

static void test_relay_when_batches_are_too_large_then_small_records_all_arrive(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("limited");
    kafka_topic_make_limited(&shared, topic.text, 1, "16384");
    struct saga_kafka_config config = shared;
    config.linger_ms = 50; /* batches as large as they get */
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 7);
    collector_init(&collector);
    outbox_commit(&outbox, 2000);
    struct saga_relay *relay = outbox_relay(&outbox, &config, 0);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &config, topic.text);
    assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
    assert_int_equal(outbox_advanced(&outbox), 2000);
    assert_true(saga_test_until(is_up, relay, KAFKA_WAIT_MS)); /* its producer is a new one */
    /* Back to batches, refused again, smaller ones. */
    outbox_commit(&outbox, 8000);
    saga_relay_wake(relay);
    assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
    assert_int_equal(outbox_advanced(&outbox), 10000);
    assert_true(collector_wait(&collector, 10000));
    assert_int_equal(outbox_check(&outbox, &collector), 0);
    assert_false(outbox.went_back);
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

struct outbox_and_relay {
    struct outbox *outbox;
    struct saga_relay *relay;
    size_t fetches;
};

static bool is_blocked(void *arg)
{
    struct outbox_and_relay *both = arg;
    return outbox_advanced(both->outbox) == both->outbox->large - 1 && !saga_relay_up(both->relay);
}

static bool has_tried_often(void *arg)
{
    struct outbox_and_relay *both = arg;
    return outbox_fetches(both->outbox) >= both->fetches;
}

static void test_relay_when_a_record_is_too_large_then_it_waits_and_nothing_overtakes(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("large");
    kafka_topic_make_limited(&shared, topic.text, 1, "16384");
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 7);
    collector_init(&collector);
    outbox.large = 300;
    outbox.large_size = 20000;
    outbox_commit(&outbox, 1000);
    struct saga_relay *relay = outbox_relay(&outbox, &shared, 0);
    struct outbox_and_relay both = {.outbox = &outbox, .relay = relay};
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_true(saga_test_until(is_blocked, &both, KAFKA_WAIT_MS));
    both.fetches = outbox_fetches(&outbox) + 3;
    assert_true(saga_test_until(has_tried_often, &both, KAFKA_WAIT_MS));
    assert_true(is_blocked(&both));
    assert_int_equal(saga_relay_drain(relay, 100), SAGA_ERR_TIMEOUT);
    /* 299 rows, and once what comes before the large record in its row. A record that is in no
     * outbox comes last. */
    struct saga_kafka_record record = {
        .topic = topic.text, .key = saga_bytes_text("x"), .value = saga_bytes_text("0/0")};
    assert_int_equal(saga_relay_produce(relay, &record), SAGA_ERR_OK);
    assert_true(collector_wait(&collector, 301));
    assert_int_equal(collector_count(&collector), 301);
    kafka_topic_limit(&shared, topic.text, "32768");
    assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
    assert_true(saga_relay_up(relay));
    assert_int_equal(outbox_advanced(&outbox), 1000);
    assert_true(collector_wait(&collector, 1002));
    /* Those with the value 0/0; the one of the outbox is acknowledged once and not sent again. */
    assert_int_equal(outbox_check(&outbox, &collector), 2);
    assert_int_equal(collector_count(&collector), 1002);
    assert_false(outbox.went_back);
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static void test_relay_when_a_record_is_larger_than_the_producer_takes_then_it_waits(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("huge");
    kafka_topic_make(&shared, topic.text, 1);
    struct outbox outbox;
    outbox_init(&outbox, topic.text, 7);
    outbox.large = 30;
    outbox.large_size = 2000000;
    outbox_commit(&outbox, 100);
    struct saga_relay *relay = outbox_relay(&outbox, &shared, 0);
    struct outbox_and_relay both = {.outbox = &outbox, .relay = relay};
    assert_true(saga_test_until(is_blocked, &both, KAFKA_WAIT_MS));
    both.fetches = outbox_fetches(&outbox) + 3;
    assert_true(saga_test_until(has_tried_often, &both, KAFKA_WAIT_MS));
    assert_true(is_blocked(&both));
    saga_relay_free(relay);
    outbox_fini(&outbox);
}

int main(void)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* how far it came is told even if it is aborted */
    const struct CMUnitTest embedded[] = {
        cmocka_unit_test(test_relay_when_rows_are_there_then_each_key_comes_in_order),
        cmocka_unit_test(test_record_when_it_has_headers_and_no_value_then_it_arrives_so),
        cmocka_unit_test(test_consumer_when_restarted_then_it_goes_on_where_the_user_says),
        cmocka_unit_test(test_consumer_when_a_topic_is_added_that_it_reads_then_it_is_there_once),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(test_producer_when_no_broker_then_records_wait_until_the_queue_is_full),
        cmocka_unit_test(test_clients_when_no_broker_then_they_start_and_end_and_say_so),
    };
    const struct CMUnitTest broker[] = {
        cmocka_unit_test(test_relay_when_rows_are_there_then_each_key_comes_in_order),
        cmocka_unit_test(test_topics_when_created_then_they_are_found_and_not_created_again),
        cmocka_unit_test(test_topics_when_a_description_is_bad_then_the_topic_is_named),
        cmocka_unit_test(test_probe_when_the_topic_is_there_then_it_gives_the_time),
        cmocka_unit_test(test_probe_when_the_topic_is_not_there_then_it_fails_in_time),
        cmocka_unit_test(test_record_when_it_has_headers_and_no_value_then_it_arrives_so),
        cmocka_unit_test(
            test_consumer_when_started_before_its_topic_then_it_reads_it_once_it_is_there),
        cmocka_unit_test(test_consumer_when_restarted_then_it_goes_on_where_the_user_says),
        cmocka_unit_test(
            test_consumer_when_the_offset_is_out_of_range_then_it_begins_at_the_earliest),
        cmocka_unit_test(test_consumer_when_records_are_refused_then_none_is_lost_or_overtaken),
        cmocka_unit_test(test_consumer_when_freed_while_it_is_refused_then_it_ends),
        cmocka_unit_test(test_consumer_when_partitions_are_added_then_it_reads_them),
        cmocka_unit_test(test_relay_when_its_topic_is_missing_then_it_publishes_once_it_is_there),
        cmocka_unit_test(test_relay_when_one_topic_is_missing_then_records_of_others_go_on),
        cmocka_unit_test(test_relay_when_the_queue_is_small_then_rows_wait_and_none_is_lost),
        cmocka_unit_test(test_relay_when_restarted_then_it_goes_on_behind_its_cursor),
        cmocka_unit_test(test_relay_when_batches_are_too_large_then_small_records_all_arrive),
        cmocka_unit_test(test_relay_when_a_record_is_too_large_then_it_waits_and_nothing_overtakes),
        cmocka_unit_test(test_relay_when_a_record_is_larger_than_the_producer_takes_then_it_waits),
    };
    int failed =
        cmocka_run_group_tests_name("embedded", embedded, group_setup_mock, group_teardown_mock);
    failed += cmocka_run_group_tests_name("alone", alone, NULL, NULL);
    failed += cmocka_run_group_tests_name("broker", broker, group_setup_broker, NULL);
    return failed;
}
