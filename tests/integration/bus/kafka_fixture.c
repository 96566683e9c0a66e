#include "tests/integration/bus/kafka_fixture.h"

#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/support.h"

struct kafka_topic_name kafka_topic_unique(const char *what)
{
    static unsigned counter;
    struct kafka_topic_name name;
    (void)snprintf(name.text, sizeof(name.text), "t-%s-%d-%lld-%u", what, (int)getpid(),
                   (long long)saga_test_now_ms(), counter++);
    return name;
}

static void make_topic(const struct saga_kafka_config *config, const struct saga_kafka_topic *topic)
{
    struct saga_err_detail detail = {0};
    enum saga_err err = saga_kafka_topics_create(config, topic, 1, NULL, KAFKA_WAIT_MS, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("topic %s: %s: %s", topic->name, saga_err_name(err), detail.text);
    }
}

void kafka_topic_make(const struct saga_kafka_config *config, const char *name, int32_t partitions)
{
    struct saga_kafka_topic topic = {.name = name, .partitions = partitions, .replication = -1};
    make_topic(config, &topic);
}

void kafka_topic_make_limited(const struct saga_kafka_config *config, const char *name,
                              int32_t partitions, const char *bytes_max)
{
    const char *const configs[] = {"max.message.bytes", bytes_max, NULL};
    struct saga_kafka_topic topic = {
        .name = name, .partitions = partitions, .replication = -1, .configs = configs};
    make_topic(config, &topic);
}

static void delete_topic(rd_kafka_t *rk, const char *name)
{
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    assert_non_null(topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_WAIT_MS);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteTopic_destroy(topic);
}

/* A client for the administration. */
static rd_kafka_t *open_admin(const struct saga_kafka_config *config)
{
    char text[512] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(
        rd_kafka_conf_set(conf, "bootstrap.servers", config->bootstrap, text, sizeof(text)),
        RD_KAFKA_CONF_OK);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    assert_non_null(rk);
    return rk;
}

void kafka_topic_delete(const struct saga_kafka_config *config, const char *name)
{
    rd_kafka_t *rk = open_admin(config);
    delete_topic(rk, name);
    rd_kafka_destroy(rk);
}

void kafka_topic_limit(const struct saga_kafka_config *config, const char *name,
                       const char *bytes_max)
{
    rd_kafka_t *rk = open_admin(config);
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    assert_non_null(resource);
    assert_int_equal(rd_kafka_ConfigResource_set_config(resource, "max.message.bytes", bytes_max),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AlterConfigs(rk, &resource, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_WAIT_MS);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_destroy(rk);
}

void kafka_topic_grow(const struct saga_kafka_config *config, const char *name, int32_t partitions)
{
    char text[512] = "";
    rd_kafka_t *rk = open_admin(config);
    rd_kafka_NewPartitions_t *request =
        rd_kafka_NewPartitions_new(name, (size_t)partitions, text, sizeof(text));
    assert_non_null(request);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreatePartitions(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_WAIT_MS);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewPartitions_destroy(request);
    rd_kafka_destroy(rk);
}

void collector_init(struct collector *collector)
{
    memset(collector, 0, sizeof(*collector));
    assert_int_equal(pthread_mutex_init(&collector->mutex, NULL), 0);
    for (size_t i = 0; i < COLLECT_PARTITIONS_MAX; i++) {
        collector->positions[i] = -1;
    }
}

void collector_fini(struct collector *collector)
{
    free(collector->records);
    (void)pthread_mutex_destroy(&collector->mutex);
}

static void copy_text(char *text, size_t size, struct saga_bytes bytes)
{
    size_t count = bytes.size < size - 1 ? bytes.size : size - 1;
    if (count > 0) {
        memcpy(text, bytes.data, count);
    }
    text[count] = '\0';
}

bool collector_received(void *user, const struct saga_kafka_record *record)
{
    struct collector *collector = user;
    bool taken = false;
    (void)pthread_mutex_lock(&collector->mutex);
    if (collector->refuse > 0) {
        collector->refuse--;
    } else {
        if (collector->count == collector->capacity) {
            collector->capacity = collector->capacity == 0 ? 1024 : collector->capacity * 2;
            collector->records =
                realloc(collector->records, collector->capacity * sizeof(struct collected));
            if (collector->records == NULL) {
                abort();
            }
        }
        struct collected *kept = &collector->records[collector->count];
        copy_text(kept->key, sizeof(kept->key), record->key);
        copy_text(kept->value, sizeof(kept->value), record->value);
        kept->partition = record->partition;
        kept->offset = record->offset;
        collector->count++;
        taken = true;
    }
    (void)pthread_mutex_unlock(&collector->mutex);
    return taken;
}

int64_t collector_position(void *user, const char *topic, int32_t partition)
{
    struct collector *collector = user;
    (void)topic;
    return partition < COLLECT_PARTITIONS_MAX ? collector->positions[partition] : -1;
}

size_t collector_count(struct collector *collector)
{
    (void)pthread_mutex_lock(&collector->mutex);
    size_t count = collector->count;
    (void)pthread_mutex_unlock(&collector->mutex);
    return count;
}

struct awaited_count {
    struct collector *collector;
    size_t count;
};

static bool has_count(void *arg)
{
    struct awaited_count *awaited = arg;
    return collector_count(awaited->collector) >= awaited->count;
}

bool collector_wait(struct collector *collector, size_t count)
{
    struct awaited_count awaited = {.collector = collector, .count = count};
    return saga_test_until(has_count, &awaited, KAFKA_WAIT_MS);
}

struct saga_kafka_consumer *collector_start(struct collector *collector,
                                            const struct saga_kafka_config *config,
                                            const char *topic)
{
    struct saga_kafka_consumer_config consumer_config = {.kafka = *config,
                                                         .topics = &topic,
                                                         .topic_count = 1,
                                                         .position = collector_position,
                                                         .received = collector_received,
                                                         .user = collector};
    struct saga_kafka_consumer *consumer = NULL;
    struct saga_err_detail detail = {0};
    enum saga_err err = saga_kafka_consumer_start(&consumer_config, &consumer, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("consumer: %s: %s", saga_err_name(err), detail.text);
    }
    return consumer;
}

void outbox_init(struct outbox *outbox, const char *topic, size_t keys)
{
    memset(outbox, 0, sizeof(*outbox));
    assert_int_equal(pthread_mutex_init(&outbox->mutex, NULL), 0);
    outbox->topic = topic;
    outbox->keys = keys;
    outbox->keys_text = calloc(SAGA_RELAY_BATCH, sizeof(*outbox->keys_text));
    outbox->values_text = calloc(SAGA_RELAY_BATCH, sizeof(*outbox->values_text));
    assert_non_null(outbox->keys_text);
    assert_non_null(outbox->values_text);
}

void outbox_fini(struct outbox *outbox)
{
    free(outbox->keys_text);
    free(outbox->values_text);
    free(outbox->large_text);
    (void)pthread_mutex_destroy(&outbox->mutex);
}

void outbox_commit(struct outbox *outbox, int64_t rows)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->committed += rows;
    (void)pthread_mutex_unlock(&outbox->mutex);
}

int64_t outbox_advanced(struct outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    int64_t advanced = outbox->advanced;
    (void)pthread_mutex_unlock(&outbox->mutex);
    return advanced;
}

size_t outbox_fetches(struct outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    size_t fetches = outbox->fetches;
    (void)pthread_mutex_unlock(&outbox->mutex);
    return fetches;
}

struct awaited_position {
    struct outbox *outbox;
    int64_t position;
};

static bool has_advanced(void *arg)
{
    struct awaited_position *awaited = arg;
    return outbox_advanced(awaited->outbox) >= awaited->position;
}

bool outbox_wait_advanced(struct outbox *outbox, int64_t position)
{
    struct awaited_position awaited = {.outbox = outbox, .position = position};
    return saga_test_until(has_advanced, &awaited, KAFKA_WAIT_MS);
}

static struct saga_bytes pad(struct outbox *outbox, const char *value)
{
    if (outbox->large_text == NULL) {
        outbox->large_text = malloc(outbox->large_size);
        if (outbox->large_text == NULL) {
            abort();
        }
        memset(outbox->large_text, ' ', outbox->large_size);
        memcpy(outbox->large_text, value, strlen(value));
    }
    return (struct saga_bytes){(const uint8_t *)outbox->large_text, outbox->large_size};
}

static enum saga_err fetch(void *user, int64_t after, size_t count_max, struct saga_relay_row *rows,
                           size_t *count, struct saga_err_detail *detail)
{
    struct outbox *outbox = user;
    (void)detail;
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->fetches++;
    int64_t last = outbox->committed;
    (void)pthread_mutex_unlock(&outbox->mutex);
    size_t found = 0;
    for (int64_t i = after + 1; i <= last && found < count_max; i++) {
        size_t key = (size_t)i % outbox->keys;
        long long number = (long long)((size_t)i / outbox->keys);
        (void)snprintf(outbox->keys_text[found], COLLECT_KEY_SIZE, "k%zu", key);
        (void)snprintf(outbox->values_text[found], COLLECT_VALUE_SIZE, "%zu/%lld", key, number);
        struct saga_relay_row *row = &rows[found];
        *row = (struct saga_relay_row){.position = i, .record_count = 1};
        bool last_key = outbox->last_topic != NULL && key == outbox->keys - 1;
        row->records[0].topic = last_key ? outbox->last_topic : outbox->topic;
        row->records[0].key = saga_bytes_text(outbox->keys_text[found]);
        row->records[0].value = saga_bytes_text(outbox->values_text[found]);
        row->records[0].headers[0] = (struct saga_kafka_header){"type", saga_bytes_text("test")};
        row->records[0].header_count = 1;
        if (i == outbox->large && outbox->large_size > 0) {
            row->records[row->record_count] = row->records[0];
            row->records[row->record_count++].value = pad(outbox, outbox->values_text[found]);
            row->records[0].value = saga_bytes_text("0/0");
        }
        found++;
    }
    *count = found;
    return SAGA_ERR_OK;
}

static void advanced(void *user, int64_t position)
{
    struct outbox *outbox = user;
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->went_back = outbox->went_back || position <= outbox->advanced;
    outbox->advanced = position;
    (void)pthread_mutex_unlock(&outbox->mutex);
}

static void delivered(void *user, int64_t position)
{
    struct outbox *outbox = user;
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->delivered++;
    outbox->delivered_last =
        outbox->delivered_last || (size_t)position % outbox->keys == outbox->keys - 1;
    (void)pthread_mutex_unlock(&outbox->mutex);
}

struct saga_relay *outbox_relay(struct outbox *outbox, const struct saga_kafka_config *config,
                                size_t outstanding_max)
{
    struct saga_relay_config relay_config = {.kafka = *config,
                                             .name = "test",
                                             .position = outbox_advanced(outbox),
                                             .outstanding_max = outstanding_max,
                                             .fetch = fetch,
                                             .advanced = advanced,
                                             .delivered = delivered,
                                             .user = outbox};
    struct saga_relay *relay = NULL;
    struct saga_err_detail detail = {0};
    enum saga_err err = saga_relay_start(&relay_config, &relay, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("relay: %s: %s", saga_err_name(err), detail.text);
    }
    return relay;
}

size_t outbox_check(const struct outbox *outbox, struct collector *collector)
{
    /* Per key: the highest number seen, beginning with 0 (row `keys` is number 1 of key 0). */
    long long *seen = calloc(outbox->keys, sizeof(*seen));
    assert_non_null(seen);
    for (size_t key = 0; key < outbox->keys; key++) {
        seen[key] = key == 0 ? 0 : -1;
    }
    size_t repeats = 0;
    (void)pthread_mutex_lock(&collector->mutex);
    for (size_t i = 0; i < collector->count; i++) {
        size_t key = 0;
        long long number = 0;
        assert_int_equal(sscanf(collector->records[i].value, "%zu/%lld", &key, &number), 2);
        assert_in_range(key, 0, outbox->keys - 1);
        if (number <= seen[key]) {
            repeats++;
        } else {
            assert_int_equal(number, seen[key] + 1);
            seen[key] = number;
        }
    }
    (void)pthread_mutex_unlock(&collector->mutex);
    for (size_t key = 0; key < outbox->keys; key++) {
        long long last = ((long long)outbox->committed - (long long)key) / (long long)outbox->keys;
        assert_int_equal(seen[key], last);
    }
    free(seen);
    return repeats;
}
