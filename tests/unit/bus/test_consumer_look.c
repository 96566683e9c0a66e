/* When a consumer looks for its topics and for brokers: the clock, the cluster's answers and
 * librdkafka's waiting are made up here (the linker leads the consumer's calls through the test).
 * Time goes on only by what the consumer waits. */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/bus/kafka/client.h"
#include "common/bus/kafka/kafka.h"
#include "tests/support/support.h"

enum { WAIT_MS = 60000, ASKED_MAX = 64, TOPICS = 2, START_MS = 7000 };

struct seen_topic {
    char name[8];
    int partitions; /* 0: it is not there */
    int assigned;   /* of them */
    int64_t offset; /* of the partition that was assigned last */
};

/* The cluster, made up. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t now_us;
    int64_t asked_ms[ASKED_MAX];
    size_t asked;    /* the last one waits for its answer, unless all are allowed */
    size_t answered; /* may be answered */
    bool closing;    /* all may */
    bool away;       /* no broker answers */
    bool breaks;     /* the next wait for a record tells that all brokers are down */
    bool yields;     /* the next wait is over at once */
    size_t refusals; /* of assignments */
    struct seen_topic topics[TOPICS];
    struct rd_kafka_metadata metadata;
    struct rd_kafka_metadata_topic seen[TOPICS];
    void (*on_error)(rd_kafka_t *rk, int err, const char *reason, void *opaque);
    void *opaque;
} cluster;

static void lock(void)
{
    (void)pthread_mutex_lock(&cluster.mutex);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&cluster.mutex);
}

/* ---- What the consumer calls ---- */

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker wants these names */

int64_t __wrap_saga_clock_mono_us(void);
enum saga_err __wrap_saga_kafka_ask(rd_kafka_t *rk, int timeout_ms,
                                    const struct rd_kafka_metadata **metadata);
void __wrap_rd_kafka_metadata_destroy(const struct rd_kafka_metadata *metadata);
void __wrap_rd_kafka_queue_yield(rd_kafka_queue_t *queue);
rd_kafka_message_t *__wrap_rd_kafka_consumer_poll(rd_kafka_t *rk, int timeout_ms);
rd_kafka_error_t *__wrap_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list);
void __wrap_rd_kafka_conf_set_error_cb(rd_kafka_conf_t *conf,
                                       void (*on_error)(rd_kafka_t *rk, int err, const char *reason,
                                                        void *opaque));
void __wrap_rd_kafka_conf_set_opaque(rd_kafka_conf_t *conf, void *opaque);

int64_t __wrap_saga_clock_mono_us(void)
{
    lock();
    int64_t now_us = cluster.now_us;
    unlock();
    return now_us;
}

enum saga_err __wrap_saga_kafka_ask(rd_kafka_t *rk, int timeout_ms,
                                    const struct rd_kafka_metadata **metadata)
{
    (void)rk;
    (void)timeout_ms;
    lock();
    if (cluster.asked < ASKED_MAX) {
        cluster.asked_ms[cluster.asked] = cluster.now_us / 1000 - START_MS;
        cluster.asked++;
    }
    (void)pthread_cond_broadcast(&cluster.changed);
    while (!cluster.closing && cluster.asked > cluster.answered) {
        (void)pthread_cond_wait(&cluster.changed, &cluster.mutex);
    }
    bool away = cluster.away || cluster.closing;
    for (int i = 0; i < TOPICS; i++) {
        struct seen_topic *topic = &cluster.topics[i];
        cluster.seen[i] = (struct rd_kafka_metadata_topic){
            .topic = topic->name,
            .partition_cnt = topic->partitions,
            .err = topic->partitions > 0 ? RD_KAFKA_RESP_ERR_NO_ERROR
                                         : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART};
    }
    cluster.metadata = (struct rd_kafka_metadata){.topics = cluster.seen, .topic_cnt = TOPICS};
    *metadata = &cluster.metadata;
    unlock();
    return away ? SAGA_ERR_UNAVAILABLE : SAGA_ERR_OK;
}

void __wrap_rd_kafka_metadata_destroy(const struct rd_kafka_metadata *metadata)
{
    (void)metadata;
}

void __wrap_rd_kafka_queue_yield(rd_kafka_queue_t *queue)
{
    (void)queue;
    lock();
    cluster.yields = true;
    unlock();
}

rd_kafka_message_t *__wrap_rd_kafka_consumer_poll(rd_kafka_t *rk, int timeout_ms)
{
    lock();
    cluster.now_us += cluster.yields ? 0 : (int64_t)timeout_ms * 1000;
    cluster.yields = false;
    bool breaks = cluster.breaks;
    cluster.breaks = false;
    unlock();
    if (breaks) {
        cluster.on_error(rk, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "down", cluster.opaque);
    }
    return NULL;
}

rd_kafka_error_t *__wrap_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list)
{
    (void)rk;
    lock();
    bool refuses = cluster.refusals > 0;
    cluster.refusals -= refuses;
    for (int i = 0; i < list->cnt && !refuses; i++) {
        for (size_t t = 0; t < TOPICS; t++) {
            struct seen_topic *topic = &cluster.topics[t];
            /* Each partition once, in order. */
            if (strcmp(topic->name, list->elems[i].topic) == 0 &&
                list->elems[i].partition == topic->assigned) {
                topic->assigned++;
                topic->offset = list->elems[i].offset;
            }
        }
    }
    unlock();
    return refuses ? rd_kafka_error_new(RD_KAFKA_RESP_ERR__STATE, "not now") : NULL;
}

void __wrap_rd_kafka_conf_set_error_cb(rd_kafka_conf_t *conf,
                                       void (*on_error)(rd_kafka_t *rk, int err, const char *reason,
                                                        void *opaque))
{
    (void)conf; /* what the real client says of a broker that is none is not heard */
    cluster.on_error = on_error;
}

void __wrap_rd_kafka_conf_set_opaque(rd_kafka_conf_t *conf, void *opaque)
{
    (void)conf;
    cluster.opaque = opaque;
}

/* NOLINTEND(bugprone-reserved-identifier) */

/* ---- The test's side ---- */

static int64_t position_of(void *user, const char *topic, int32_t partition)
{
    (void)user;
    (void)topic;
    return partition == 0 ? -1 : 100 + partition;
}

static bool receive(void *user, const struct saga_kafka_record *record)
{
    (void)user;
    (void)record;
    return true;
}

static bool asks_next(void *arg)
{
    (void)arg;
    lock();
    bool next = cluster.asked == cluster.answered + 1;
    unlock();
    return next;
}

/* Starts a consumer of the topic "a"; it waits for its first answer. */
static struct saga_kafka_consumer *start(void)
{
    memset(&cluster, 0, sizeof(cluster));
    cluster.topics[0] = (struct seen_topic){.name = "a"};
    cluster.topics[1] = (struct seen_topic){.name = "b"};
    cluster.now_us = (int64_t)START_MS * 1000;
    assert_int_equal(pthread_mutex_init(&cluster.mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&cluster.changed, NULL), 0);
    static const char *const names[] = {"a"};
    struct saga_kafka_consumer_config config = {
        .kafka = {.bootstrap = "127.0.0.1:1", .client_id = "test"},
        .topics = names,
        .topic_count = 1,
        .position = position_of,
        .received = receive,
    };
    struct saga_kafka_consumer *consumer = NULL;
    assert_int_equal(saga_kafka_consumer_start(&config, &consumer, NULL), SAGA_ERR_OK);
    assert_true(saga_test_until(asks_next, NULL, WAIT_MS));
    return consumer;
}

static void end(struct saga_kafka_consumer *consumer)
{
    lock();
    cluster.closing = true;
    (void)pthread_cond_broadcast(&cluster.changed);
    unlock();
    saga_kafka_consumer_free(consumer);
    (void)pthread_cond_destroy(&cluster.changed);
    (void)pthread_mutex_destroy(&cluster.mutex);
}

/* Answers so many more times, and waits until it asks once more. */
static void answer(size_t times)
{
    for (size_t i = 0; i < times; i++) {
        lock();
        cluster.answered++;
        (void)pthread_cond_broadcast(&cluster.changed);
        unlock();
        assert_true(saga_test_until(asks_next, NULL, WAIT_MS));
    }
}

/* Milliseconds between the last question and the one so many before it. */
static int64_t pause_before(size_t back)
{
    lock();
    int64_t pause_ms =
        cluster.asked_ms[cluster.asked - 1] - cluster.asked_ms[cluster.asked - 1 - back];
    unlock();
    return pause_ms;
}

static void set_partitions(size_t topic, int partitions)
{
    lock();
    cluster.topics[topic].partitions = partitions;
    unlock();
}

static void test_look_when_a_topic_stays_missing_then_the_pauses_grow_to_a_bound(void **state)
{
    (void)state;
    struct saga_kafka_consumer *consumer = start();
    answer(8);
    static const int64_t expected_ms[] = {0, 200, 600, 1400, 3000, 6200, 11200, 16200, 21200};
    assert_int_equal(cluster.asked, 9);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(cluster.asked_ms[i], expected_ms[i]);
    }
    assert_false(saga_kafka_consumer_up(consumer));
    end(consumer);
}

static void test_look_when_the_topic_comes_then_it_is_assigned_and_partitions_later(void **state)
{
    (void)state;
    struct saga_kafka_consumer *consumer = start();
    answer(4);
    set_partitions(0, 2);
    answer(1);
    assert_true(saga_kafka_consumer_up(consumer));
    assert_int_equal(pause_before(1), 5000);
    assert_int_equal(cluster.topics[0].assigned, 2);
    assert_int_equal(cluster.topics[0].offset, 101);
    answer(1);
    assert_int_equal(cluster.topics[0].assigned, 2);
    set_partitions(0, 3);
    answer(1);
    assert_int_equal(pause_before(1), 5000);
    assert_int_equal(cluster.topics[0].assigned, 3);
    assert_int_equal(cluster.topics[0].offset, 102);
    set_partitions(0, 1); /* an answer of a broker that is behind */
    answer(1);
    assert_int_equal(cluster.topics[0].assigned, 3);
    assert_true(saga_kafka_consumer_up(consumer));
    end(consumer);
}

static void test_look_when_one_partition_then_it_begins_at_the_beginning(void **state)
{
    (void)state;
    struct saga_kafka_consumer *consumer = start();
    set_partitions(0, 1);
    answer(1);
    assert_int_equal(cluster.topics[0].assigned, 1);
    assert_int_equal(cluster.topics[0].offset, RD_KAFKA_OFFSET_BEGINNING);
    end(consumer);
}

static void test_look_when_a_topic_is_added_then_it_is_looked_for_at_once(void **state)
{
    (void)state;
    struct saga_kafka_consumer *consumer = start();
    set_partitions(0, 1);
    answer(1);
    assert_true(saga_kafka_consumer_up(consumer));
    assert_int_equal(saga_kafka_consumer_add(consumer, "b"), SAGA_ERR_OK);
    assert_false(saga_kafka_consumer_up(consumer));
    /* What is answered now was asked before it was added, and knows nothing of it. */
    answer(1);
    assert_int_equal(pause_before(1), 0);
    assert_false(saga_kafka_consumer_up(consumer));
    static const int64_t pauses_ms[] = {200, 400, 800};
    for (size_t i = 0; i < 3; i++) {
        answer(1);
        assert_int_equal(pause_before(1), pauses_ms[i]);
    }
    /* Anything that is found makes them short again. */
    set_partitions(0, 2);
    answer(1);
    assert_int_equal(pause_before(1), 200);
    answer(1);
    assert_int_equal(pause_before(1), 400);
    assert_false(saga_kafka_consumer_up(consumer));
    set_partitions(1, 1);
    answer(1);
    assert_int_equal(pause_before(1), 5000);
    assert_int_equal(cluster.topics[1].assigned, 1);
    assert_true(saga_kafka_consumer_up(consumer));
    end(consumer);
}

/* Each question waits in librdkafka until a broker answers or two seconds are over: so the pauses
 * between them need not grow. */
static void test_look_when_no_broker_answers_then_it_asks_again_soon(void **state)
{
    (void)state;
    struct saga_kafka_consumer *consumer = start();
    answer(4);
    assert_int_equal(pause_before(1), 1600);
    cluster.away = true;
    for (size_t i = 0; i < 6; i++) {
        answer(1);
        assert_int_equal(pause_before(1), 200);
        assert_false(saga_kafka_consumer_up(consumer));
    }
    /* It is back: that is a find, the pauses begin anew. */
    cluster.away = false;
    answer(1);
    assert_int_equal(pause_before(1), 200);
    answer(1);
    assert_int_equal(pause_before(1), 400);
    set_partitions(0, 1);
    answer(1);
    assert_true(saga_kafka_consumer_up(consumer));
    end(consumer);
}

static void test_look_when_all_brokers_are_down_then_it_is_told_and_looked_at_once(void **state)
{
    (void)state;
    struct saga_kafka_consumer *consumer = start();
    set_partitions(0, 1);
    answer(2);
    assert_true(saga_kafka_consumer_up(consumer));
    lock();
    cluster.breaks = true; /* at the end of the next wait, which would have been of 5 s */
    unlock();
    answer(1);
    assert_int_equal(pause_before(1), 5000);
    cluster.away = true;
    answer(1);
    assert_false(saga_kafka_consumer_up(consumer));
    assert_int_equal(pause_before(1), 200);
    cluster.away = false;
    answer(1);
    assert_true(saga_kafka_consumer_up(consumer));
    assert_int_equal(pause_before(1), 5000);
    assert_int_equal(cluster.topics[0].assigned, 1); /* not once more */
    end(consumer);
}

static void test_look_when_an_assignment_fails_then_the_next_look_tries_again(void **state)
{
    (void)state;
    struct saga_kafka_consumer *consumer = start();
    cluster.refusals = 2;
    set_partitions(0, 2);
    answer(2);
    assert_false(saga_kafka_consumer_up(consumer));
    assert_int_equal(cluster.topics[0].assigned, 0);
    assert_int_equal(pause_before(1), 400); /* nothing was found */
    answer(1);
    assert_true(saga_kafka_consumer_up(consumer));
    assert_int_equal(cluster.topics[0].assigned, 2);
    assert_int_equal(pause_before(1), 5000);
    end(consumer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_when_a_topic_stays_missing_then_the_pauses_grow_to_a_bound),
        cmocka_unit_test(test_look_when_the_topic_comes_then_it_is_assigned_and_partitions_later),
        cmocka_unit_test(test_look_when_one_partition_then_it_begins_at_the_beginning),
        cmocka_unit_test(test_look_when_a_topic_is_added_then_it_is_looked_for_at_once),
        cmocka_unit_test(test_look_when_no_broker_answers_then_it_asks_again_soon),
        cmocka_unit_test(test_look_when_all_brokers_are_down_then_it_is_told_and_looked_at_once),
        cmocka_unit_test(test_look_when_an_assignment_fails_then_the_next_look_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
