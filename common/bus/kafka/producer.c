/* Producer: librdkafka does the sending; a poll thread of our own takes its delivery reports and
 * watches whether a broker answers. `up` turns false when librdkafka has lost every broker or a
 * probe (every 5 s when nothing was delivered) is not answered, and true with a delivery or an
 * answered probe. */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/bus/kafka/client.h"
#include "common/bus/kafka/kafka.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

enum {
    PROBE_UP_MS = 5000,         /* between probes while a broker is known to answer */
    PROBE_DOWN_MS = 200,        /* and while none does */
    PROBE_TIMEOUT_UP_MS = 2000, /* how long a broker may take to answer */
    PROBE_TIMEOUT_DOWN_MS = 300,
    VALUES_MAX = 6, /* topic, key, value, opaque, copy flag, headers */
};

struct saga_kafka_producer {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* its main queue, to end a poll */
    saga_kafka_delivered *delivered;
    void *user;
    pthread_t thread;
    atomic_bool stopping;
    atomic_bool up;
    atomic_bool fatal;
    int64_t next_probe_ms; /* poll thread */

    pthread_mutex_t mutex;
    pthread_cond_t emptied;
    atomic_size_t outstanding; /* records whose delivered has not returned */
};

static int64_t now_ms(void)
{
    return saga_clock_mono_us() / 1000;
}

static void set_up(struct saga_kafka_producer *producer, bool up)
{
    if (atomic_exchange(&producer->up, up) != up) {
        saga_log(SAGA_LOG_INFO, up ? "kafka_up" : "kafka_down", "client=\"%s\"",
                 rd_kafka_name(producer->rk));
    }
}

static void release_outstanding(struct saga_kafka_producer *producer)
{
    if (atomic_fetch_sub(&producer->outstanding, 1) == 1) {
        (void)pthread_mutex_lock(&producer->mutex);
        (void)pthread_cond_broadcast(&producer->emptied);
        (void)pthread_mutex_unlock(&producer->mutex);
    }
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct saga_kafka_producer *producer = opaque;
    (void)rk;
    enum saga_err err = saga_kafka_err(message->err);
    if (err == SAGA_ERR_OK) {
        set_up(producer, true);
        producer->next_probe_ms = now_ms() + PROBE_UP_MS;
    }
    producer->delivered(producer->user, (uint64_t)(uintptr_t)message->_private, err);
    release_outstanding(producer);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct saga_kafka_producer *producer = opaque;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[SAGA_ERR_DETAIL_SIZE] = "";
        (void)rd_kafka_fatal_error(rk, text, sizeof(text));
        atomic_store(&producer->fatal, true);
        saga_log(SAGA_LOG_ERROR, "kafka_fatal", "client=\"%s\" msg=\"%s\"", rd_kafka_name(rk),
                 text);
        /* What is queued would wait for ever without a word. */
        (void)rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
    } else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        set_up(producer, false);
        producer->next_probe_ms = 0;
    } else {
        saga_log(SAGA_LOG_DEBUG, "kafka_error", "client=\"%s\" code=%s msg=\"%s\"",
                 rd_kafka_name(rk), rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
    }
}

static void probe(struct saga_kafka_producer *producer)
{
    bool was_up = atomic_load(&producer->up);
    const struct rd_kafka_metadata *metadata = NULL;
    enum saga_err err = saga_kafka_ask(
        producer->rk, was_up ? PROBE_TIMEOUT_UP_MS : PROBE_TIMEOUT_DOWN_MS, &metadata);
    if (err == SAGA_ERR_OK) {
        rd_kafka_metadata_destroy(metadata);
    }
    set_up(producer, err == SAGA_ERR_OK);
    producer->next_probe_ms = now_ms() + (err == SAGA_ERR_OK ? PROBE_UP_MS : PROBE_DOWN_MS);
}

static void *poll_run(void *argument)
{
    struct saga_kafka_producer *producer = argument;
    while (!atomic_load(&producer->stopping)) {
        int64_t wait_ms = producer->next_probe_ms - now_ms();
        if (wait_ms > 0) {
            (void)rd_kafka_poll(producer->rk, (int)wait_ms);
        } else {
            probe(producer);
            (void)rd_kafka_poll(producer->rk, 0);
        }
    }
    return NULL;
}

static enum saga_err set(rd_kafka_conf_t *conf, const char *name, const char *value,
                         struct saga_err_detail *detail)
{
    char text[SAGA_ERR_DETAIL_SIZE] = "";
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka.%s: %s", name, text);
    }
    return SAGA_ERR_OK;
}

/* Settings that are not the user's to change. */
static enum saga_err set_batches(const struct saga_kafka_config *config, rd_kafka_conf_t *conf,
                                 struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    if (config->batch_max > 0) {
        char count[16];
        (void)snprintf(count, sizeof(count), "%d", config->batch_max);
        err = set(conf, "batch.num.messages", count, detail);
    }
    if (err == SAGA_ERR_OK && config->batch_max == 1) {
        err = set(conf, "linger.ms", "0", detail);
    }
    char idempotence[8] = "";
    size_t size = sizeof(idempotence);
    if (err == SAGA_ERR_OK && config->in_order &&
        rd_kafka_conf_get(conf, "enable.idempotence", idempotence, &size) == RD_KAFKA_CONF_OK &&
        strcmp(idempotence, "true") == 0) {
        /* Without it the batches behind a refused one are sent, and overtake it. */
        err = set(conf, "enable.gapless.guarantee", "true", detail);
    }
    return err;
}

static enum saga_err open_client(const struct saga_kafka_config *config,
                                 struct saga_kafka_producer *producer,
                                 struct saga_err_detail *detail)
{
    char linger[16];
    (void)snprintf(linger, sizeof(linger), "%d", config->linger_ms);
    const struct saga_kafka_property own[] = {
        {"enable.idempotence", "true"}, /* with it: acks=all, and endless retries in order */
        /* A broker takes any first sequence of a producer that is new to a partition. With two
         * requests under way the first may fail (not yet leader) and the second succeed; librdkafka
         * 2.0.2 then takes the first for acknowledged, and its records are lost. */
        {"max.in.flight.requests.per.connection", "1"},
        {"acks", "all"},
        {"message.timeout.ms", "0"},
        {"partitioner", "murmur2_random"},
        {"linger.ms", linger},
        {"queue.buffering.max.messages", "100000"},
        {"queue.buffering.max.kbytes", "65536"},
        {"retry.backoff.ms", "50"},
        {"message.max.bytes", "1048588"}, /* a broker's own default: a value of 1 MiB */
        {"batch.size", "262144"},         /* well below it: a topic's limit is one of batches */
    };
    rd_kafka_conf_t *conf = NULL;
    enum saga_err err =
        saga_kafka_conf_new(config, own, sizeof(own) / sizeof(own[0]), &conf, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = set_batches(config, conf, detail);
    if (err != SAGA_ERR_OK) {
        rd_kafka_conf_destroy(conf);
        return err;
    }
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    err = saga_kafka_client_new(RD_KAFKA_PRODUCER, conf, &producer->rk, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    producer->queue = rd_kafka_queue_get_main(producer->rk);
    return SAGA_ERR_OK;
}

static void close_client(struct saga_kafka_producer *producer)
{
    rd_kafka_queue_destroy(producer->queue);
    (void)rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                           RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_destroy(producer->rk);
}

enum saga_err saga_kafka_producer_start(const struct saga_kafka_config *config,
                                        saga_kafka_delivered *delivered, void *user,
                                        struct saga_kafka_producer **producer,
                                        struct saga_err_detail *detail)
{
    struct saga_kafka_producer *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "kafka: producer");
    }
    made->delivered = delivered;
    made->user = user;
    enum saga_err err = SAGA_ERR_NO_MEMORY;
    if (pthread_mutex_init(&made->mutex, NULL) != 0) {
        goto fail_mutex;
    }
    if (saga_kafka_cond_init(&made->emptied) != SAGA_ERR_OK) {
        goto fail_cond;
    }
    err = open_client(config, made, detail);
    if (err != SAGA_ERR_OK) {
        goto fail_client;
    }
    if (pthread_create(&made->thread, NULL, poll_run, made) != 0) {
        err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "kafka: thread");
        goto fail_thread;
    }
    *producer = made;
    return SAGA_ERR_OK;
fail_thread:
    close_client(made);
fail_client:
    (void)pthread_cond_destroy(&made->emptied);
fail_cond:
    (void)pthread_mutex_destroy(&made->mutex);
fail_mutex:
    free(made);
    return err;
}

/* librdkafka takes its arguments as pointers to non-const, and copies what they point to. */
static void *unconst(const void *pointer)
{
    union {
        const void *in;
        void *out;
    } both = {.in = pointer};
    return both.out;
}

/* Gives a record's headers, or NULL when there is no memory. They are the caller's: those
 * that librdkafka makes of single headers it frees twice (2.0.2, and later ones) when a record's
 * topic is known to be gone. */
static rd_kafka_headers_t *make_headers(const struct saga_kafka_record *record)
{
    static const char nothing[] = "";
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (size_t i = 0; headers != NULL && i < record->header_count; i++) {
        const struct saga_kafka_header *header = &record->headers[i];
        const void *value = header->value.size > 0 ? header->value.data : (const void *)nothing;
        if (rd_kafka_header_add(headers, header->name, -1, value, (ssize_t)header->value.size) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_headers_destroy(headers);
            headers = NULL;
        }
    }
    return headers;
}

/* Lists what makes up a record. An empty value is empty bytes, not a null (which deletes in
 * compacted topics). */
static size_t list_values(const struct saga_kafka_record *record, uint64_t token,
                          rd_kafka_headers_t *headers, rd_kafka_vu_t values[VALUES_MAX])
{
    static const char nothing[] = "";
    size_t count = 0;
    values[count].vtype = RD_KAFKA_VTYPE_TOPIC;
    values[count++].u.cstr = record->topic;
    values[count].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    values[count++].u.i = RD_KAFKA_MSG_F_COPY;
    values[count].vtype = RD_KAFKA_VTYPE_OPAQUE;
    values[count++].u.ptr = (void *)(uintptr_t)token;
    values[count].vtype = RD_KAFKA_VTYPE_VALUE;
    values[count].u.mem.ptr =
        unconst(record->value.size > 0 ? (const void *)record->value.data : (const void *)nothing);
    values[count++].u.mem.size = record->value.size;
    if (record->key.size > 0) {
        values[count].vtype = RD_KAFKA_VTYPE_KEY;
        values[count].u.mem.ptr = unconst(record->key.data);
        values[count++].u.mem.size = record->key.size;
    }
    if (headers != NULL) {
        values[count].vtype = RD_KAFKA_VTYPE_HEADERS;
        values[count++].u.headers = headers;
    }
    return count;
}

enum saga_err saga_kafka_produce(struct saga_kafka_producer *producer,
                                 const struct saga_kafka_record *record, uint64_t token)
{
    SAGA_ASSERT(record->header_count <= SAGA_KAFKA_HEADERS_MAX);
    _Static_assert(sizeof(void *) >= sizeof(uint64_t), "a token travels in a pointer");
    if (atomic_load(&producer->fatal)) {
        return SAGA_ERR_UNAVAILABLE;
    }
    rd_kafka_vu_t values[VALUES_MAX];
    rd_kafka_headers_t *headers = NULL;
    if (record->header_count > 0) {
        headers = make_headers(record);
        if (headers == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
    }
    size_t count = list_values(record, token, headers, values);
    (void)atomic_fetch_add(&producer->outstanding, 1);
    rd_kafka_error_t *error = rd_kafka_produceva(producer->rk, values, count);
    if (error == NULL) {
        return SAGA_ERR_OK; /* the headers are librdkafka's now */
    }
    if (headers != NULL) {
        rd_kafka_headers_destroy(headers);
    }
    enum saga_err err = saga_kafka_err(rd_kafka_error_code(error));
    rd_kafka_error_destroy(error);
    release_outstanding(producer);
    return err;
}

enum saga_err saga_kafka_find_topic(struct saga_kafka_producer *producer, const char *topic,
                                    int timeout_ms)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(producer->rk, topic, NULL);
    if (handle == NULL) {
        return SAGA_ERR_NOT_FOUND; /* no name of a topic */
    }
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(producer->rk, 0, handle, &metadata, timeout_ms);
    enum saga_err err = SAGA_ERR_UNAVAILABLE;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        /* A topic without a leader is there: its records wait in the producer. */
        rd_kafka_resp_err_t topic_code = metadata->topic_cnt == 1
                                             ? metadata->topics[0].err
                                             : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        bool there = topic_code == RD_KAFKA_RESP_ERR_NO_ERROR ||
                     topic_code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        err = there ? SAGA_ERR_OK : SAGA_ERR_NOT_FOUND;
        if (!there) {
            saga_log(SAGA_LOG_DEBUG, "kafka_topic_not_found", "topic=%s code=%s", topic,
                     rd_kafka_err2name(topic_code));
        }
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
    return err;
}

bool saga_kafka_producer_up(const struct saga_kafka_producer *producer)
{
    return atomic_load(&producer->up) && !atomic_load(&producer->fatal);
}

enum saga_err saga_kafka_flush(struct saga_kafka_producer *producer, int64_t timeout_ms)
{
    /* Not rd_kafka_flush: that would call delivered on this thread. */
    struct timespec until = saga_kafka_deadline(timeout_ms);
    (void)pthread_mutex_lock(&producer->mutex);
    int code = 0;
    while (atomic_load(&producer->outstanding) > 0 && code == 0) {
        code = pthread_cond_timedwait(&producer->emptied, &producer->mutex, &until);
    }
    bool empty = atomic_load(&producer->outstanding) == 0;
    (void)pthread_mutex_unlock(&producer->mutex);
    return empty ? SAGA_ERR_OK : SAGA_ERR_TIMEOUT;
}

void saga_kafka_producer_free(struct saga_kafka_producer *producer)
{
    if (producer == NULL) {
        return;
    }
    atomic_store(&producer->stopping, true);
    rd_kafka_queue_yield(producer->queue);
    (void)pthread_join(producer->thread, NULL);
    close_client(producer);
    (void)pthread_cond_destroy(&producer->emptied);
    (void)pthread_mutex_destroy(&producer->mutex);
    free(producer);
}
