/* A broker of the test's own is killed and comes back: nothing is lost or overtaken, and everybody
 * knows who is up. */
#include "tests/integration/bus/kafka_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include "common/bus/kafka/client.h"
#include "tests/support/support.h"

enum { SCRIPT_MS = 120000 };

struct broker {
    struct saga_test_dir dir;
    char bootstrap[SAGA_TEST_PATH_MAX];
};

static void run_script(const struct broker *broker, const char *verb)
{
    struct saga_test_child child = {0};
    const char *const argv[] = {SAGA_SOURCE_DIR "/tests/support/kafka-broker", verb,
                                broker->dir.path, NULL};
    saga_test_spawn(&child, argv, NULL);
    assert_true(saga_test_wait(&child, SCRIPT_MS));
    assert_int_equal(child.status, 0);
}

static int setup(void **state)
{
    struct broker *broker = calloc(1, sizeof(*broker));
    assert_non_null(broker);
    saga_test_dir_open(&broker->dir);
    *state = broker;
    run_script(broker, "start");
    char path[SAGA_TEST_PATH_MAX];
    char *text = saga_test_read(saga_test_path(&broker->dir, "bootstrap", path), NULL);
    assert_non_null(text);
    text[strcspn(text, "\r\n")] = '\0';
    (void)snprintf(broker->bootstrap, sizeof(broker->bootstrap), "%s", text);
    free(text);
    return 0;
}

static int teardown(void **state)
{
    struct broker *broker = *state;
    run_script(broker, "remove");
    saga_test_dir_close(&broker->dir);
    free(broker);
    return 0;
}

/* Everything that watches the broker. */
struct watchers {
    struct saga_relay *relay;
    struct saga_kafka_consumer *consumer;
};

static bool all_up(void *arg)
{
    const struct watchers *watchers = arg;
    return saga_relay_up(watchers->relay) && saga_kafka_consumer_up(watchers->consumer);
}

static bool all_down(void *arg)
{
    const struct watchers *watchers = arg;
    return !saga_relay_up(watchers->relay) && !saga_kafka_consumer_up(watchers->consumer);
}

static void test_relay_when_the_broker_is_killed_then_nothing_is_lost_or_overtaken(void **state)
{
    struct broker *broker = *state;
    struct saga_kafka_config config = {.bootstrap = broker->bootstrap, .client_id = "test-outage"};
    struct kafka_topic_name topic = kafka_topic_unique("outage");
    kafka_topic_make(&config, topic.text, 4);
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 50);
    collector_init(&collector);
    struct watchers watchers = {.relay = outbox_relay(&outbox, &config, 500),
                                .consumer = collector_start(&collector, &config, topic.text)};
    assert_true(saga_test_until(all_up, &watchers, KAFKA_WAIT_MS));
    int64_t rows = 0;
    for (int round = 0; round < 2; round++) {
        /* Killed with many records under way. */
        outbox_commit(&outbox, 20000);
        rows += 20000;
        saga_relay_wake(watchers.relay);
        assert_true(outbox_wait_advanced(&outbox, rows - 19000));
        run_script(broker, "kill");
        assert_true(saga_test_until(all_down, &watchers, 10000));
        for (int i = 0; i < 20; i++) {
            outbox_commit(&outbox, 100);
            rows += 100;
            saga_relay_wake(watchers.relay);
        }
        size_t fetches = outbox_fetches(&outbox);
        assert_int_equal(saga_relay_drain(watchers.relay, 200), SAGA_ERR_TIMEOUT);
        /* A full window waits; it does not ask the store over and over. */
        assert_in_range(outbox_fetches(&outbox), fetches, fetches + 30);
        run_script(broker, "restart");
        assert_int_equal(saga_relay_drain(watchers.relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
        assert_int_equal(outbox_advanced(&outbox), rows);
        assert_true(saga_test_until(all_up, &watchers, 10000));
        assert_true(collector_wait(&collector, (size_t)rows));
    }
    size_t repeats = outbox_check(&outbox, &collector);
    assert_false(outbox.went_back);
    print_message("%lld rows, %zu repeated\n", (long long)rows, repeats);

    /* And when there is nothing to do. */
    run_script(broker, "kill");
    assert_true(saga_test_until(all_down, &watchers, 10000));
    run_script(broker, "restart");
    assert_true(saga_test_until(all_up, &watchers, 10000));
    saga_kafka_consumer_free(watchers.consumer);
    saga_relay_free(watchers.relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static void signal_broker(const struct broker *broker, int number)
{
    char path[SAGA_TEST_PATH_MAX];
    char *text = saga_test_read(saga_test_path(&broker->dir, "pid", path), NULL);
    assert_non_null(text);
    assert_int_equal(kill((pid_t)strtol(text, NULL, 10), number), 0);
    free(text);
}

static void test_clients_when_the_broker_hangs_then_they_are_down_until_it_goes_on(void **state)
{
    struct broker *broker = *state;
    struct saga_kafka_config config = {.bootstrap = broker->bootstrap, .client_id = "test-outage"};
    struct kafka_topic_name topic = kafka_topic_unique("hang");
    kafka_topic_make(&config, topic.text, 1);
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 10);
    collector_init(&collector);
    struct watchers watchers = {.relay = outbox_relay(&outbox, &config, 500),
                                .consumer = collector_start(&collector, &config, topic.text)};
    assert_true(saga_test_until(all_up, &watchers, KAFKA_WAIT_MS));
    /* Its connections stay open, it just does not answer: only asking tells. */
    signal_broker(broker, SIGSTOP);
    bool down = saga_test_until(all_down, &watchers, 15000);
    signal_broker(broker, SIGCONT);
    assert_true(down);
    assert_true(saga_test_until(all_up, &watchers, KAFKA_WAIT_MS));
    saga_kafka_consumer_free(watchers.consumer);
    saga_relay_free(watchers.relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static bool is_up(void *arg)
{
    return saga_relay_up(arg);
}

static void
test_relay_when_freed_while_the_broker_is_gone_then_its_successor_publishes(void **state)
{
    struct broker *broker = *state;
    struct saga_kafka_config config = {.bootstrap = broker->bootstrap, .client_id = "test-outage"};
    struct kafka_topic_name topic = kafka_topic_unique("gone");
    kafka_topic_make(&config, topic.text, 2);
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 10);
    collector_init(&collector);
    struct saga_relay *relay = outbox_relay(&outbox, &config, 0);
    assert_true(saga_test_until(is_up, relay, KAFKA_WAIT_MS));
    run_script(broker, "kill");
    outbox_commit(&outbox, 3000);
    saga_relay_wake(relay);
    assert_int_equal(saga_relay_drain(relay, 200), SAGA_ERR_TIMEOUT);
    int64_t start_ms = saga_test_now_ms();
    saga_relay_free(relay);
    assert_in_range(saga_test_now_ms() - start_ms, 0, 5000);
    run_script(broker, "restart");
    relay = outbox_relay(&outbox, &config, 0);
    assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &config, topic.text);
    assert_true(collector_wait(&collector, 3000));
    (void)outbox_check(&outbox, &collector);
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

static void on_delivered(void *user, uint64_t token, enum saga_err err)
{
    atomic_size_t *delivered = user;
    (void)token;
    (void)err;
    (void)atomic_fetch_add(delivered, 1);
}

struct producing {
    struct saga_kafka_producer *producer;
    struct saga_kafka_record record;
    size_t queued;
};

/* Asks for the topic first, so that the producer knows what became of it. */
static bool is_refused(void *arg)
{
    struct producing *producing = arg;
    if (saga_kafka_find_topic(producing->producer, producing->record.topic, KAFKA_WAIT_MS) !=
        SAGA_ERR_NOT_FOUND) {
        return false;
    }
    enum saga_err err = saga_kafka_produce(producing->producer, &producing->record, 0);
    producing->queued += err == SAGA_ERR_OK ? 1 : 0;
    return err == SAGA_ERR_NOT_FOUND;
}

static void
test_producer_when_it_knows_that_the_topic_is_gone_then_the_record_is_refused(void **state)
{
    const struct broker *broker = *state;
    struct kafka_topic_name topic = kafka_topic_unique("gone");
    const struct saga_kafka_property hurry = {"topic.metadata.propagation.max.ms", "200"};
    struct saga_kafka_config config = {.bootstrap = broker->bootstrap,
                                       .client_id = "test-gone",
                                       .properties = &hurry,
                                       .property_count = 1};
    struct producing producing = {
        .record = {.topic = topic.text,
                   .value = saga_bytes_text("v"),
                   .headers = {{"one", saga_bytes_text("1")}, {"none", saga_bytes_text("")}},
                   .header_count = 2},
        .queued = 1};
    atomic_size_t delivered = 0;
    struct saga_err_detail detail = {{0}};
    kafka_topic_make(&config, topic.text, 1);
    assert_int_equal(
        saga_kafka_producer_start(&config, on_delivered, &delivered, &producing.producer, &detail),
        SAGA_ERR_OK);
    assert_int_equal(saga_kafka_produce(producing.producer, &producing.record, 0), SAGA_ERR_OK);
    assert_int_equal(saga_kafka_flush(producing.producer, KAFKA_WAIT_MS), SAGA_ERR_OK);
    kafka_topic_delete(&config, topic.text);
    assert_true(saga_test_until(is_refused, &producing, KAFKA_WAIT_MS));
    assert_int_equal(saga_kafka_produce(producing.producer, &producing.record, 0),
                     SAGA_ERR_NOT_FOUND);
    /* What was refused is not waited for. */
    assert_int_equal(saga_kafka_flush(producing.producer, KAFKA_WAIT_MS), SAGA_ERR_OK);
    assert_int_equal(atomic_load(&delivered), producing.queued);
    saga_kafka_producer_free(producing.producer);
}

struct deleted {
    struct outbox *outbox;
    struct saga_relay *relay;
    const char *topic;
};

/* A row more, and whether the relay knows by now that the topic is gone. */
static bool is_known_gone(void *arg)
{
    struct deleted *deleted = arg;
    char names[256];
    bool full = false;
    outbox_commit(deleted->outbox, 1);
    saga_relay_wake(deleted->relay);
    saga_relay_missing(deleted->relay, names, sizeof(names), &full);
    return strcmp(names, deleted->topic) == 0;
}

/* While it is being found out, records meet a topic that is half gone: those may be lost with it.
 * What comes later is not. */
static void test_relay_when_its_topic_is_deleted_then_it_waits_until_it_is_there_again(void **state)
{
    const struct broker *broker = *state;
    struct kafka_topic_name topic = kafka_topic_unique("deleted");
    const struct saga_kafka_property hurry[] = {{"topic.metadata.propagation.max.ms", "200"},
                                                {"topic.metadata.refresh.interval.ms", "200"}};
    struct saga_kafka_config config = {.bootstrap = broker->bootstrap,
                                       .client_id = "test-deleted",
                                       .properties = hurry,
                                       .property_count = 2};
    struct outbox outbox;
    struct collector collector;
    kafka_topic_make(&config, topic.text, 3);
    outbox_init(&outbox, topic.text, 5);
    collector_init(&collector);
    outbox_commit(&outbox, 100);
    struct saga_relay *relay = outbox_relay(&outbox, &config, 0);
    assert_true(outbox_wait_advanced(&outbox, 100));
    kafka_topic_delete(&config, topic.text);
    struct deleted deleted = {.outbox = &outbox, .relay = relay, .topic = topic.text};
    assert_true(saga_test_until(is_known_gone, &deleted, KAFKA_WAIT_MS));
    outbox_commit(&outbox, 1000);
    saga_relay_wake(relay);
    kafka_topic_make(&config, topic.text, 3);
    assert_true(outbox_wait_advanced(&outbox, outbox.committed));
    struct saga_kafka_consumer *consumer = collector_start(&collector, &config, topic.text);
    assert_true(collector_wait(&collector, 1000));
    assert_false(outbox.went_back);
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

int main(void)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* how far it came is told even if it is aborted */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay_when_the_broker_is_killed_then_nothing_is_lost_or_overtaken),
        cmocka_unit_test(test_clients_when_the_broker_hangs_then_they_are_down_until_it_goes_on),
        cmocka_unit_test(
            test_relay_when_freed_while_the_broker_is_gone_then_its_successor_publishes),
        cmocka_unit_test(
            test_producer_when_it_knows_that_the_topic_is_gone_then_the_record_is_refused),
        cmocka_unit_test(
            test_relay_when_its_topic_is_deleted_then_it_waits_until_it_is_there_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
