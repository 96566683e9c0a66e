/* Consumer: one thread that looks for partitions, fetches, and hands records over one by one.
 *
 * Partitions are assigned by hand, with offsets that the user keeps: no group, no rebalance, no
 * committed offsets. group.id is set because librdkafka wants one for assigning. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/bus/kafka/client.h"
#include "common/bus/kafka/kafka.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

enum {
    LOOK_MS = 5000, /* between looks for new partitions; also the proof of a living broker */
    LOOK_MISSING_MS =
        200, /* while a topic is missing; doubled up to LOOK_MS while nothing is found.
                While no broker answers not: a look then waits for LOOK_TIMEOUT_MS */
    LOOK_TIMEOUT_MS = 2000, /* how long a broker may take to answer */
    BATCH_COUNT = 500,      /* records taken from librdkafka at once */
    FULL_PAUSE_MS = 10,     /* after the user refused a record */
    WARN_EVERY_MS = 60000,  /* the same warning about a partition */
    FETCH_WAIT_MS = 100,
};

/* What is known of a partition that is read. */
struct partition {
    int64_t next_offset; /* the next that is expected; -1: any */
    int64_t next_warn_ms;
};

struct topic {
    const char *name;         /* the handle's */
    rd_kafka_topic_t *handle; /* makes librdkafka ask for it */
    struct partition *partitions;
    int32_t partition_count; /* assigned; partitions are numbered from 0 */
};

struct saga_kafka_consumer {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    saga_kafka_position *position;
    saga_kafka_received *received;
    void *user;
    pthread_t thread;
    atomic_bool stopping;
    atomic_bool broker_up;
    atomic_bool assigned; /* all topics */
    int64_t next_look_ms;
    int64_t look_wait_ms; /* to the next look while something is missing */
    int64_t next_error_log_ms;

    pthread_mutex_t mutex; /* guards the pause, and what is added */
    pthread_cond_t stopped;
    char **added; /* names of topics that the thread is to take */
    size_t added_count;
    atomic_bool any_added;

    rd_kafka_message_t *batch[BATCH_COUNT];
    /* The thread's, once it runs. */
    size_t topic_count;
    struct topic *topics;
};

static int64_t now_ms(void)
{
    return saga_clock_mono_us() / 1000;
}

static void set_broker_up(struct saga_kafka_consumer *consumer, bool up)
{
    if (atomic_exchange(&consumer->broker_up, up) != up) {
        saga_log(SAGA_LOG_INFO, up ? "kafka_up" : "kafka_down", "client=\"%s\"",
                 rd_kafka_name(consumer->rk));
    }
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct saga_kafka_consumer *consumer = opaque;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        set_broker_up(consumer, false);
        consumer->next_look_ms = 0;
    } else {
        saga_log(SAGA_LOG_DEBUG, "kafka_error", "client=\"%s\" code=%s msg=\"%s\"",
                 rd_kafka_name(rk), rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
    }
}

/* ---- Partitions ---- */

/* Assigns the partitions of a topic from `partition_count` up to count. Errors: NO_MEMORY,
 * UNAVAILABLE. */
static enum saga_err assign(struct saga_kafka_consumer *consumer, struct topic *topic,
                            int32_t count)
{
    struct partition *partitions =
        realloc(topic->partitions, (size_t)count * sizeof(*topic->partitions));
    if (partitions == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    topic->partitions = partitions;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(count - topic->partition_count);
    for (int32_t i = topic->partition_count; i < count; i++) {
        int64_t offset = consumer->position(consumer->user, topic->name, i);
        topic->partitions[i] = (struct partition){.next_offset = offset < 0 ? -1 : offset};
        rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, topic->name, i);
        entry->offset = offset < 0 ? RD_KAFKA_OFFSET_BEGINNING : offset;
    }
    rd_kafka_error_t *error = rd_kafka_incremental_assign(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (error != NULL) {
        saga_log(SAGA_LOG_WARN, "kafka_assign_failed", "topic=%s msg=\"%s\"", topic->name,
                 rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        return SAGA_ERR_UNAVAILABLE;
    }
    saga_log(SAGA_LOG_DEBUG, "kafka_assigned", "topic=%s partitions=%" PRId32, topic->name, count);
    topic->partition_count = count;
    return SAGA_ERR_OK;
}

static struct topic *find_topic(struct saga_kafka_consumer *consumer, const char *name)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        if (strcmp(consumer->topics[i].name, name) == 0) {
            return &consumer->topics[i];
        }
    }
    return NULL;
}

/* Looks for topics that were missing and partitions that were added. */
static void look(struct saga_kafka_consumer *consumer)
{
    const struct rd_kafka_metadata *metadata = NULL;
    if (saga_kafka_ask(consumer->rk, LOOK_TIMEOUT_MS, &metadata) != SAGA_ERR_OK) {
        set_broker_up(consumer, false);
        consumer->next_look_ms = now_ms() + LOOK_MISSING_MS;
        return;
    }
    bool found = !atomic_load(&consumer->broker_up);
    set_broker_up(consumer, true);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *seen = &metadata->topics[i];
        struct topic *topic = find_topic(consumer, seen->topic);
        if (topic != NULL && seen->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
            seen->partition_cnt > topic->partition_count) {
            /* What fails is tried again with the next look. */
            found = assign(consumer, topic, seen->partition_cnt) == SAGA_ERR_OK || found;
        }
    }
    rd_kafka_metadata_destroy(metadata);
    bool all = true;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        all = all && consumer->topics[i].partition_count > 0;
    }
    /* One that was added meanwhile was not asked for. */
    (void)pthread_mutex_lock(&consumer->mutex);
    atomic_store(&consumer->assigned, all && consumer->added_count == 0);
    (void)pthread_mutex_unlock(&consumer->mutex);
    /* Every look asks for every topic: one that stays missing must not cost that five times a
     * second. */
    int64_t longer_ms = consumer->look_wait_ms * 2 > LOOK_MS ? LOOK_MS : consumer->look_wait_ms * 2;
    consumer->look_wait_ms = found || longer_ms < LOOK_MISSING_MS ? LOOK_MISSING_MS : longer_ms;
    consumer->next_look_ms = now_ms() + (all ? LOOK_MS : consumer->look_wait_ms);
}

/* ---- Records ---- */

/* Warns when the broker went on elsewhere than asked: the topic was made anew, or records were
 * deleted before they were read. */
static void check_offset(struct saga_kafka_consumer *consumer, const rd_kafka_message_t *message)
{
    struct topic *topic = find_topic(consumer, rd_kafka_topic_name(message->rkt));
    if (topic == NULL || message->partition < 0 || message->partition >= topic->partition_count) {
        return;
    }
    struct partition *partition = &topic->partitions[message->partition];
    if (partition->next_offset >= 0 && message->offset != partition->next_offset) {
        int64_t now = now_ms();
        if (now >= partition->next_warn_ms) {
            partition->next_warn_ms = now + WARN_EVERY_MS;
            saga_log(SAGA_LOG_WARN, "kafka_offset_jump",
                     "topic=%s partition=%" PRId32 " expected=%" PRId64 " got=%" PRId64,
                     topic->name, message->partition, partition->next_offset, message->offset);
        }
    }
    partition->next_offset = message->offset + 1;
}

static void read_headers(const rd_kafka_message_t *message, struct saga_kafka_record *record)
{
    rd_kafka_headers_t *headers = NULL;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return; /* none */
    }
    const char *name = NULL;
    const void *value = NULL;
    size_t size = 0;
    /* Headers beyond our table come from elsewhere and mean nothing here. */
    while (record->header_count < SAGA_KAFKA_HEADERS_MAX &&
           rd_kafka_header_get_all(headers, record->header_count, &name, &value, &size) ==
               RD_KAFKA_RESP_ERR_NO_ERROR) {
        struct saga_kafka_header *header = &record->headers[record->header_count];
        header->name = name;
        header->value = (struct saga_bytes){.data = value, .size = size};
        record->header_count++;
    }
}

static void pause_full(struct saga_kafka_consumer *consumer)
{
    struct timespec until = saga_kafka_deadline(FULL_PAUSE_MS);
    (void)pthread_mutex_lock(&consumer->mutex);
    int code = 0;
    while (!atomic_load(&consumer->stopping) && code == 0) {
        code = pthread_cond_timedwait(&consumer->stopped, &consumer->mutex, &until);
    }
    (void)pthread_mutex_unlock(&consumer->mutex);
}

static void on_failed_fetch(struct saga_kafka_consumer *consumer, const rd_kafka_message_t *message)
{
    int64_t now = now_ms();
    if (now >= consumer->next_error_log_ms) {
        consumer->next_error_log_ms = now + 1000;
        saga_log(SAGA_LOG_WARN, "kafka_fetch_failed",
                 "topic=%s partition=%" PRId32 " code=%s msg=\"%s\"",
                 message->rkt == NULL ? "" : rd_kafka_topic_name(message->rkt), message->partition,
                 rd_kafka_err2name(message->err), rd_kafka_message_errstr(message));
    }
}

static void hand_over(struct saga_kafka_consumer *consumer, const rd_kafka_message_t *message)
{
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        on_failed_fetch(consumer, message);
        return;
    }
    check_offset(consumer, message);
    struct saga_kafka_record record = {
        .topic = rd_kafka_topic_name(message->rkt),
        .key = {.data = message->key, .size = message->key_len},
        .value = {.data = message->payload, .size = message->len},
        .partition = message->partition,
        .offset = message->offset,
    };
    read_headers(message, &record);
    while (!atomic_load(&consumer->stopping) && !consumer->received(consumer->user, &record)) {
        pause_full(consumer);
    }
}

/* Waits for records and hands them over. librdkafka's batch call waits until its batch is full: so
 * the wait is for one record, and the batch takes what has come with it. */
static void fetch(struct saga_kafka_consumer *consumer)
{
    int64_t wait_ms = consumer->next_look_ms - now_ms();
    rd_kafka_message_t *first =
        rd_kafka_consumer_poll(consumer->rk, wait_ms > 0 ? (int)wait_ms : 0);
    if (first == NULL) {
        return;
    }
    hand_over(consumer, first);
    rd_kafka_message_destroy(first);
    ssize_t count = rd_kafka_consume_batch_queue(consumer->queue, 0, consumer->batch, BATCH_COUNT);
    for (ssize_t i = 0; i < count; i++) {
        hand_over(consumer, consumer->batch[i]);
        rd_kafka_message_destroy(consumer->batch[i]);
    }
}

/* Makes librdkafka ask for a topic. Errors: INVALID, NO_MEMORY. */
static enum saga_err open_topic(struct saga_kafka_consumer *consumer, const char *name,
                                struct saga_err_detail *detail)
{
    struct topic *topics =
        realloc(consumer->topics, (consumer->topic_count + 1) * sizeof *consumer->topics);
    if (topics == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "kafka: topic %s", name);
    }
    consumer->topics = topics;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(consumer->rk, name, NULL);
    if (handle == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: topic %s: %s", name,
                            rd_kafka_err2str(rd_kafka_last_error()));
    }
    topics[consumer->topic_count++] =
        (struct topic){.name = rd_kafka_topic_name(handle), .handle = handle};
    return SAGA_ERR_OK;
}

static void take_added(struct saga_kafka_consumer *consumer)
{
    (void)pthread_mutex_lock(&consumer->mutex);
    for (size_t i = 0; i < consumer->added_count; i++) {
        struct saga_err_detail detail = {.text = ""};
        if (find_topic(consumer, consumer->added[i]) == NULL &&
            open_topic(consumer, consumer->added[i], &detail) != SAGA_ERR_OK) {
            saga_log(SAGA_LOG_ERROR, "kafka_topic_failed", "topic=%s msg=\"%s\"",
                     consumer->added[i], detail.text);
        }
        free(consumer->added[i]);
    }
    consumer->added_count = 0;
    (void)pthread_mutex_unlock(&consumer->mutex);
    consumer->look_wait_ms = 0;
    consumer->next_look_ms = 0;
}

static void *consumer_run(void *argument)
{
    struct saga_kafka_consumer *consumer = argument;
    while (!atomic_load(&consumer->stopping)) {
        if (atomic_exchange(&consumer->any_added, false)) {
            take_added(consumer);
        }
        if (now_ms() >= consumer->next_look_ms) {
            look(consumer);
        }
        fetch(consumer);
    }
    return NULL;
}

/* ---- Start and end ---- */

static enum saga_err open_client(const struct saga_kafka_consumer_config *config,
                                 struct saga_kafka_consumer *consumer,
                                 struct saga_err_detail *detail)
{
    char wait_text[16];
    (void)snprintf(wait_text, sizeof(wait_text), "%d",
                   config->fetch_wait_ms > 0 ? config->fetch_wait_ms : FETCH_WAIT_MS);
    const struct saga_kafka_property own[] = {
        {"group.id", config->kafka.client_id}, {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"}, {"auto.offset.reset", "earliest"},
        {"fetch.wait.max.ms", wait_text},      {"fetch.error.backoff.ms", "100"},
        {"queued.min.messages", "10000"},      {"queued.max.messages.kbytes", "16384"},
    };
    rd_kafka_conf_t *conf = NULL;
    enum saga_err err =
        saga_kafka_conf_new(&config->kafka, own, sizeof(own) / sizeof(own[0]), &conf, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_error_cb(conf, on_error);
    err = saga_kafka_client_new(RD_KAFKA_CONSUMER, conf, &consumer->rk, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    (void)rd_kafka_poll_set_consumer(consumer->rk);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    return SAGA_ERR_OK;
}

static enum saga_err open_topics(struct saga_kafka_consumer *consumer,
                                 const struct saga_kafka_consumer_config *config,
                                 struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < config->topic_count && err == SAGA_ERR_OK; i++) {
        err = open_topic(consumer, config->topics[i], detail);
    }
    return err;
}

static void close_client(struct saga_kafka_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        rd_kafka_topic_destroy(consumer->topics[i].handle);
    }
    rd_kafka_queue_destroy(consumer->queue);
    (void)rd_kafka_consumer_close(consumer->rk);
    rd_kafka_destroy(consumer->rk);
}

static void consumer_destroy(struct saga_kafka_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        free(consumer->topics[i].partitions);
    }
    for (size_t i = 0; i < consumer->added_count; i++) {
        free(consumer->added[i]);
    }
    free(consumer->added);
    free(consumer->topics);
    free(consumer);
}

static struct saga_kafka_consumer *consumer_new(const struct saga_kafka_consumer_config *config)
{
    struct saga_kafka_consumer *consumer = calloc(1, sizeof(*consumer));
    if (consumer == NULL) {
        return NULL;
    }
    consumer->position = config->position;
    consumer->received = config->received;
    consumer->user = config->user;
    return consumer;
}

enum saga_err saga_kafka_consumer_start(const struct saga_kafka_consumer_config *config,
                                        struct saga_kafka_consumer **consumer,
                                        struct saga_err_detail *detail)
{
    if (config->position == NULL || config->received == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: a consumer of nobody");
    }
    struct saga_kafka_consumer *made = consumer_new(config);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "kafka: consumer");
    }
    enum saga_err err = SAGA_ERR_NO_MEMORY;
    if (pthread_mutex_init(&made->mutex, NULL) != 0) {
        goto fail_mutex;
    }
    if (saga_kafka_cond_init(&made->stopped) != SAGA_ERR_OK) {
        goto fail_cond;
    }
    err = open_client(config, made, detail);
    if (err != SAGA_ERR_OK) {
        goto fail_client;
    }
    err = open_topics(made, config, detail);
    if (err != SAGA_ERR_OK) {
        goto fail_topics;
    }
    if (pthread_create(&made->thread, NULL, consumer_run, made) != 0) {
        err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "kafka: thread");
        goto fail_topics;
    }
    *consumer = made;
    return SAGA_ERR_OK;
fail_topics:
    close_client(made);
fail_client:
    (void)pthread_cond_destroy(&made->stopped);
fail_cond:
    (void)pthread_mutex_destroy(&made->mutex);
fail_mutex:
    consumer_destroy(made);
    return err;
}

enum saga_err saga_kafka_consumer_add(struct saga_kafka_consumer *consumer, const char *topic)
{
    size_t size = strlen(topic) + 1;
    char *copy = malloc(size);
    if (copy == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    memcpy(copy, topic, size);
    (void)pthread_mutex_lock(&consumer->mutex);
    char **added = realloc(consumer->added, (consumer->added_count + 1) * sizeof(*added));
    if (added != NULL) {
        consumer->added = added;
        consumer->added[consumer->added_count++] = copy;
        atomic_store(&consumer->assigned, false);
        atomic_store(&consumer->any_added, true);
    }
    (void)pthread_mutex_unlock(&consumer->mutex);
    if (added == NULL) {
        free(copy);
        return SAGA_ERR_NO_MEMORY;
    }
    rd_kafka_queue_yield(consumer->queue);
    // cppcheck-suppress memleak ; the list has it
    return SAGA_ERR_OK;
}

bool saga_kafka_consumer_up(const struct saga_kafka_consumer *consumer)
{
    return atomic_load(&consumer->assigned) && atomic_load(&consumer->broker_up);
}

void saga_kafka_consumer_free(struct saga_kafka_consumer *consumer)
{
    if (consumer == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&consumer->mutex);
    atomic_store(&consumer->stopping, true);
    (void)pthread_cond_broadcast(&consumer->stopped);
    (void)pthread_mutex_unlock(&consumer->mutex);
    rd_kafka_queue_yield(consumer->queue);
    (void)pthread_join(consumer->thread, NULL);
    close_client(consumer);
    (void)pthread_cond_destroy(&consumer->stopped);
    (void)pthread_mutex_destroy(&consumer->mutex);
    consumer_destroy(consumer);
}
