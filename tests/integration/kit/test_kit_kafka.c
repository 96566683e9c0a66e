/* productd and a real Kafka: compensations in, replies, effects and dead letters out; crashes and
 * an absent broker in between. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "common/bus/kafka/kafka.h"
#include "common/sys/clock.h"
#include "saga/v1/audit.pb-c.h"
#include "tests/integration/kit/daemon.h"

#define SEED                                                                                       \
    "{\"products\":[{\"product_id\":1,\"name\":\"soup\",\"price_cents\":250,\"stock\":1000000}]}"
#define COMMANDS "order-to-product-product-stock"
#define REPLIES "product-to-order-product-stock"
#define EFFECTS "saga-effects"
#define LETTERS "saga-dead-letter"

enum {
    SERVING = 1,
    WAIT_MS = 60 * 1000,
    SEEN_MAX = 512,
    MANY = 100,
    MINE_SIZE = 13 /* of an id's text: its time */
};

/* What came out of Kafka, about the sagas of this test alone: the broker is shared. */
struct seen {
    char topic[64];
    char key[SAGA_ID_TEXT_SIZE + 1];
    char id[128]; /* ce_id */
    char reason[128];
    uint8_t value[512];
    size_t value_size;
};

struct world {
    struct daemon daemon;
    char bootstrap[SAGA_TEST_PATH_MAX];
    struct saga_kafka_producer *producer;
    struct saga_kafka_consumer *consumer;
    uint64_t first; /* the sagas of this run */
    pthread_mutex_t lock;
    struct seen seen[SEEN_MAX];
    size_t count;
};

static void copy(struct saga_bytes bytes, char *out, size_t size)
{
    (void)snprintf(out, size, "%.*s", (int)bytes.size,
                   bytes.data == NULL ? "" : (const char *)bytes.data);
}

static bool received(void *user, const struct saga_kafka_record *record)
{
    struct world *world = user;
    char mine[SAGA_ID_TEXT_SIZE];
    saga_id_format(id_of(world->first), mine);
    if (record->key.size < MINE_SIZE || memcmp(record->key.data, mine, MINE_SIZE) != 0) {
        return true;
    }
    pthread_mutex_lock(&world->lock);
    if (world->count < SEEN_MAX && record->value.size <= sizeof world->seen[0].value) {
        struct seen *seen = &world->seen[world->count++];
        (void)snprintf(seen->topic, sizeof seen->topic, "%s", record->topic);
        copy(record->key, seen->key, sizeof seen->key);
        copy(saga_kafka_header(record, "ce_id"), seen->id, sizeof seen->id);
        copy(saga_kafka_header(record, "dead-letter-reason"), seen->reason, sizeof seen->reason);
        memcpy(seen->value, record->value.data, record->value.size);
        seen->value_size = record->value.size;
    }
    pthread_mutex_unlock(&world->lock);
    return true;
}

static int64_t from_the_beginning(void *user, const char *topic, int32_t partition)
{
    (void)user;
    (void)topic;
    (void)partition;
    return -1;
}

/* Counts the records on a topic about a saga of this run. */
static size_t count_seen(struct world *world, const char *topic, uint64_t saga)
{
    char key[SAGA_ID_TEXT_SIZE];
    size_t count = 0;
    saga_id_format(id_of(world->first + saga), key);
    pthread_mutex_lock(&world->lock);
    for (size_t i = 0; i < world->count; i++) {
        count += strcmp(world->seen[i].topic, topic) == 0 && strcmp(world->seen[i].key, key) == 0
                     ? 1
                     : 0;
    }
    pthread_mutex_unlock(&world->lock);
    return count;
}

static struct seen find_seen(struct world *world, const char *topic, uint64_t saga)
{
    char key[SAGA_ID_TEXT_SIZE];
    struct seen found;
    memset(&found, 0, sizeof found);
    saga_id_format(id_of(world->first + saga), key);
    pthread_mutex_lock(&world->lock);
    for (size_t i = 0; i < world->count; i++) {
        if (strcmp(world->seen[i].topic, topic) == 0 && strcmp(world->seen[i].key, key) == 0) {
            found = world->seen[i];
        }
    }
    pthread_mutex_unlock(&world->lock);
    return found;
}

struct wish {
    struct world *world;
    const char *topic;
    uint64_t saga;
    size_t count;
};

static bool is_seen(void *arg)
{
    struct wish *wish = arg;
    return count_seen(wish->world, wish->topic, wish->saga) >= wish->count;
}

static void wait_seen(struct world *world, const char *topic, uint64_t saga, size_t count)
{
    struct wish wish = {.world = world, .topic = topic, .saga = saga, .count = count};
    if (!saga_test_until(is_seen, &wish, WAIT_MS)) {
        fail_msg("saga %llu: %zu of %zu records on %s", (unsigned long long)saga,
                 count_seen(world, topic, saga), count, topic);
    }
}

static bool is_up(void *arg)
{
    struct world *world = arg;
    return daemon_part(&world->daemon, "kafka") == SERVING;
}

static bool is_reading(void *arg)
{
    struct world *world = arg;
    return saga_kafka_consumer_up(world->consumer);
}

static void start_daemon(struct world *world)
{
    daemon_start(&world->daemon, (const char *const[]){"--kafka", world->bootstrap, NULL});
}

static void delivered(void *user, uint64_t token, enum saga_err err)
{
    (void)user;
    (void)token;
    (void)err;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    (void)saga_test_kafka(world->bootstrap);
    pthread_mutex_init(&world->lock, NULL);
    world->first = (uint64_t)saga_clock_unix_ms() << 12;
    struct saga_kafka_config kafka = {.bootstrap = world->bootstrap, .client_id = "test"};
    static const char *const names[] = {COMMANDS, REPLIES, EFFECTS, LETTERS};
    struct saga_kafka_topic topics[4];
    bool created[4];
    struct saga_err_detail detail = {{0}};
    for (size_t i = 0; i < 4; i++) {
        topics[i] = (struct saga_kafka_topic){.name = names[i], .partitions = 4, .replication = -1};
    }
    assert_int_equal(saga_kafka_topics_create(&kafka, topics, 4, created, WAIT_MS, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(saga_kafka_producer_start(&kafka, delivered, NULL, &world->producer, &detail),
                     SAGA_ERR_OK);
    struct saga_kafka_consumer_config consumer = {
        .kafka = kafka,
        .topics = names + 1,
        .topic_count = 3,
        .position = from_the_beginning,
        .received = received,
        .user = world,
    };
    assert_int_equal(saga_kafka_consumer_start(&consumer, &world->consumer, &detail), SAGA_ERR_OK);
    assert_true(saga_test_until(is_reading, world, WAIT_MS));
    daemon_prepare(&world->daemon, "productd", SEED);
    start_daemon(world);
    assert_true(saga_test_until(is_up, world, WAIT_MS));
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    daemon_remove(&world->daemon);
    saga_kafka_consumer_free(world->consumer);
    saga_kafka_producer_free(world->producer);
    pthread_mutex_destroy(&world->lock);
    free(world);
    pool_clear();
    return 0;
}

static void produce(struct world *world, uint64_t saga, struct saga_bytes value)
{
    char key[SAGA_ID_TEXT_SIZE];
    saga_id_format(id_of(world->first + saga), key);
    struct saga_kafka_record record = {
        .topic = COMMANDS, .key = saga_bytes_text(key), .value = value};
    assert_int_equal(saga_kafka_produce(world->producer, &record, 0), SAGA_ERR_OK);
}

static void produce_command(struct world *world, uint64_t saga, const struct saga_command *command)
{
    struct saga_buf value = {0};
    assert_int_equal(saga_command_encode(command, &value), SAGA_ERR_OK);
    produce(world, saga, saga_buf_view(&value));
    saga_buf_fini(&value);
}

static int64_t order_of(const struct world *world, uint64_t saga)
{
    return (int64_t)((world->first + saga) & INT64_MAX);
}

static struct saga_command reserve(const struct world *world, uint64_t saga)
{
    return reserve_of(world->first + saga, order_of(world, saga), 1, 2);
}

static struct saga_command release(const struct world *world, uint64_t saga)
{
    return release_of(world->first + saga, order_of(world, saga));
}

static struct saga_reply decode_reply(const struct seen *seen, struct saga_arena *arena)
{
    struct saga_reply reply;
    struct saga_status status;
    struct saga_bytes bytes = {.data = seen->value, .size = seen->value_size};
    assert_int_equal(saga_reply_decode(bytes, arena, &reply, &status), SAGA_ERR_OK);
    return reply;
}

/* The broker is shared: there are orders of other runs in the database too. */
static int64_t count_mine(const struct world *world, int released)
{
    char sql[256];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT count(*) FROM reservation WHERE released = %d AND order_id BETWEEN %lld AND %lld",
        released, (long long)order_of(world, 0), (long long)order_of(world, 4095));
    return daemon_number(&world->daemon, sql);
}

#define BALANCE                                                                                    \
    "SELECT stock + (SELECT coalesce(sum(quantity), 0) FROM reservation WHERE released = 0) FROM " \
    "product"

static void
test_kafka_when_call_by_nng_and_undo_by_kafka_then_effects_and_reply_come_out(void **state)
{
    struct world *world = *state;
    struct saga_command call = reserve(world, 1);
    assert_int_equal(daemon_call(&world->daemon, &call).status.code, SAGA_CODE_OK);
    wait_seen(world, EFFECTS, 1, 1);
    assert_int_equal(count_seen(world, REPLIES, 1), 0); /* it was answered over NNG */
    struct saga_command undo = release(world, 1);
    produce_command(world, 1, &undo);
    wait_seen(world, REPLIES, 1, 1);
    wait_seen(world, EFFECTS, 1, 2);
    struct saga_arena arena = {0};
    struct seen seen = find_seen(world, REPLIES, 1);
    struct saga_reply reply = decode_reply(&seen, &arena);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_int_equal(reply.op, SAGA_OP_UNDO);
    assert_false(reply.empty);
    assert_false(reply.replayed);
    produce_command(world, 1, &undo); /* again: answered again, not done again */
    wait_seen(world, REPLIES, 1, 2);
    seen = find_seen(world, REPLIES, 1);
    reply = decode_reply(&seen, &arena);
    assert_true(reply.replayed);
    saga_arena_fini(&arena);
    assert_int_equal(count_seen(world, EFFECTS, 1), 2);
    assert_int_equal(count_mine(world, 0), 0);
    assert_int_equal(count_mine(world, 1), 1);
    assert_int_equal(daemon_number(&world->daemon, BALANCE), 1000000);
}

static void
test_kafka_when_many_calls_and_undos_come_then_each_is_done_told_and_answered_once(void **state)
{
    struct world *world = *state;
    for (uint64_t i = 0; i < MANY; i++) {
        struct saga_command call = reserve(world, i);
        struct saga_command undo = release(world, i);
        produce_command(world, i, &call);
        produce_command(world, i, &undo);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        wait_seen(world, REPLIES, i, 2);
        wait_seen(world, EFFECTS, i, 2);
    }
    assert_int_equal(count_mine(world, 0), 0);
    assert_int_equal(count_mine(world, 1), MANY);
    assert_int_equal(daemon_number(&world->daemon, BALANCE), 1000000);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(count_seen(world, EFFECTS, i), 2);
    }
}

static void test_kafka_when_record_is_garbage_then_dead_letter_and_the_next_is_taken(void **state)
{
    struct world *world = *state;
    static const uint8_t garbage[] = {0xFF, 0xFF, 0x01, 'x'};
    produce(world, 5, (struct saga_bytes){.data = garbage, .size = sizeof garbage});
    struct saga_command undo = release(world, 5); /* the same key: the same partition, behind it */
    produce_command(world, 5, &undo);
    wait_seen(world, LETTERS, 5, 1);
    wait_seen(world, REPLIES, 5, 1);
    struct seen letter = find_seen(world, LETTERS, 5);
    assert_int_equal(letter.value_size, sizeof garbage);
    assert_memory_equal(letter.value, garbage, sizeof garbage);
    assert_true(letter.reason[0] != '\0');
}

static void test_kafka_when_killed_at_any_moment_then_offset_and_effect_are_one(void **state)
{
    struct world *world = *state;
    for (uint64_t i = 0; i < MANY; i++) {
        struct saga_command call = reserve(world, i);
        produce_command(world, i, &call);
        if (i % 25 == 24) {
            assert_int_equal(daemon_end(&world->daemon, SIGKILL), SIGKILL);
            start_daemon(world);
        }
    }
    for (uint64_t i = 0; i < MANY; i++) {
        wait_seen(world, REPLIES, i, 1);
        wait_seen(world, EFFECTS, i, 1);
    }
    assert_int_equal(count_mine(world, 0), MANY);
    assert_int_equal(daemon_number(&world->daemon, BALANCE), 1000000);
    assert_int_equal(daemon_end(&world->daemon, SIGTERM), 0);
    assert_int_equal(
        daemon_number(&world->daemon,
                      "SELECT position - (SELECT max(position) FROM barrier) FROM relay_cursor"),
        0);
}

/* A record that comes again is answered again, before what follows it on its partition. */
static void test_kafka_when_restarted_then_a_taken_record_is_not_delivered_again(void **state)
{
    struct world *world = *state;
    struct saga_command call = reserve(world, 8);
    struct saga_command undo = release(world, 8);
    produce_command(world, 8, &call);
    wait_seen(world, REPLIES, 8, 1);
    assert_int_equal(daemon_end(&world->daemon, SIGTERM), 0);
    assert_in_range(
        daemon_number(&world->daemon, "SELECT count(*) FROM kafka_position WHERE next_offset > 0"),
        1, SAGA_KIT_PARTITIONS_MAX);
    start_daemon(world);
    produce_command(world, 8, &undo);
    wait_seen(world, REPLIES, 8, 2);
    produce_command(world, 8, &undo);
    wait_seen(world, REPLIES, 8, 3);
    struct saga_arena arena = {0};
    struct seen seen = find_seen(world, REPLIES, 8);
    struct saga_reply reply = decode_reply(&seen, &arena);
    assert_int_equal(reply.op, SAGA_OP_UNDO);
    assert_true(reply.replayed);
    saga_arena_fini(&arena);
    assert_int_equal(count_seen(world, REPLIES, 8), 3); /* none for the call but the first */
    assert_int_equal(count_seen(world, EFFECTS, 8), 2);
}

static void test_kafka_when_down_then_effects_wait_and_are_told_when_it_is_back(void **state)
{
    struct world *world = *state;
    assert_int_equal(daemon_end(&world->daemon, SIGTERM), 0);
    daemon_start(&world->daemon, (const char *const[]){"--kafka", "127.0.0.1:1", NULL});
    struct saga_command call = reserve(world, 9);
    assert_int_equal(daemon_call(&world->daemon, &call).status.code, SAGA_CODE_OK);
    assert_false(is_up(world));
    assert_int_equal(daemon_end(&world->daemon, SIGTERM), 0);
    assert_int_equal(count_seen(world, EFFECTS, 9), 0);
    start_daemon(world);
    wait_seen(world, EFFECTS, 9, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_kafka_when_call_by_nng_and_undo_by_kafka_then_effects_and_reply_come_out),
        CASE(test_kafka_when_many_calls_and_undos_come_then_each_is_done_told_and_answered_once),
        CASE(test_kafka_when_record_is_garbage_then_dead_letter_and_the_next_is_taken),
        CASE(test_kafka_when_killed_at_any_moment_then_offset_and_effect_are_one),
        CASE(test_kafka_when_restarted_then_a_taken_record_is_not_delivered_again),
        CASE(test_kafka_when_down_then_effects_wait_and_are_told_when_it_is_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
