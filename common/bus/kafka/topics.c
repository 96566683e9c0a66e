/* Topics: made, found, probed. Each call has a client of its own for its time; for tools and
 * start-up, not for the hot path. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/bus/kafka/client.h"
#include "common/bus/kafka/kafka.h"
#include "common/sys/clock.h"

enum {
    RD_TEXT_SIZE = 512,
    EVENT_MS = 100,       /* for the answer's way through librdkafka */
    KNOWN_MS = 10,        /* between looks for a topic that was just made */
    CONTROLLER_MS = 1000, /* for the cluster to name its controller */
    TOPICS_MAX = 1024,
};

static int64_t now_ms(void)
{
    return saga_clock_mono_us() / 1000;
}

/* Gives the time left as librdkafka takes it. */
static int left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - now_ms();
    if (left < 0) {
        return 0;
    }
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

static enum saga_err open_client(rd_kafka_type_t type, const struct saga_kafka_config *config,
                                 const struct saga_kafka_property *own, size_t own_count,
                                 rd_kafka_t **rk, struct saga_err_detail *detail)
{
    rd_kafka_conf_t *conf = NULL;
    enum saga_err err = saga_kafka_conf_new(config, own, own_count, &conf, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    return saga_kafka_client_new(type, conf, rk, detail);
}

/* ---- Find ---- */

/* Reads the partition counts of all topics at once: asking for a topic by its name could create it.
 */
static enum saga_err find_once(rd_kafka_t *rk, const char *const *names, size_t count,
                               int32_t *partitions, int timeout_ms, struct saga_err_detail *detail)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &metadata, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: no broker answers: %s",
                            rd_kafka_err2str(code));
    }
    for (size_t i = 0; i < count; i++) {
        partitions[i] = 0;
        for (int j = 0; j < metadata->topic_cnt; j++) {
            if (strcmp(metadata->topics[j].topic, names[i]) == 0) {
                partitions[i] = metadata->topics[j].partition_cnt;
            }
        }
    }
    rd_kafka_metadata_destroy(metadata);
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_topics_find(const struct saga_kafka_config *config,
                                     const char *const *names, size_t count, int32_t *partitions,
                                     int64_t timeout_ms, struct saga_err_detail *detail)
{
    rd_kafka_t *rk = NULL;
    enum saga_err err = open_client(RD_KAFKA_PRODUCER, config, NULL, 0, &rk, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = find_once(rk, names, count, partitions, left_ms(now_ms() + timeout_ms), detail);
    rd_kafka_destroy(rk);
    return err;
}

/* ---- Create ---- */

/* One call of saga_kafka_topics_create. */
struct creation {
    rd_kafka_t *rk;
    const struct saga_kafka_topic *topics;
    size_t count;
    rd_kafka_NewTopic_t **requests; /* room for count */
    bool *created;                  /* or NULL */
    int64_t deadline_ms;
};

static enum saga_err describe(const struct saga_kafka_topic *topic, rd_kafka_NewTopic_t **request,
                              struct saga_err_detail *detail)
{
    char text[RD_TEXT_SIZE] = "";
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic->name, topic->partitions,
                                                      topic->replication, text, sizeof(text));
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: topic %s: %s", topic->name, text);
    }
    for (size_t i = 0; topic->configs != NULL && topic->configs[i] != NULL; i += 2) {
        SAGA_ASSERT(topic->configs[i + 1] != NULL);
        rd_kafka_resp_err_t code =
            rd_kafka_NewTopic_set_config(made, topic->configs[i], topic->configs[i + 1]);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_NewTopic_destroy(made);
            return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: topic %s: %s: %s", topic->name,
                                topic->configs[i], rd_kafka_err2str(code));
        }
    }
    *request = made;
    return SAGA_ERR_OK;
}

/* Reads what the broker said about each topic. */
static enum saga_err read_results(const struct creation *creation, rd_kafka_event_t *event,
                                  struct saga_err_detail *detail)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: topics not created: %s",
                            rd_kafka_event_error_string(event));
    }
    size_t result_count = 0;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event), &result_count);
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < result_count; i++) {
        const char *name = rd_kafka_topic_result_name(results[i]);
        rd_kafka_resp_err_t topic_code = rd_kafka_topic_result_error(results[i]);
        for (size_t j = 0; creation->created != NULL && j < creation->count; j++) {
            if (strcmp(creation->topics[j].name, name) == 0) {
                creation->created[j] = topic_code == RD_KAFKA_RESP_ERR_NO_ERROR;
            }
        }
        if (topic_code != RD_KAFKA_RESP_ERR_NO_ERROR &&
            topic_code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS && err == SAGA_ERR_OK) {
            const char *text = rd_kafka_topic_result_error_string(results[i]);
            err = saga_kafka_err(topic_code) == SAGA_ERR_INVALID ? SAGA_ERR_INVALID
                                                                 : SAGA_ERR_UNAVAILABLE;
            (void)saga_err_set(detail, err, "kafka: topic %s: %s", name,
                               text == NULL ? rd_kafka_err2str(topic_code) : text);
        }
    }
    return err;
}

static enum saga_err request_topics(const struct creation *creation, struct saga_err_detail *detail)
{
    char text[RD_TEXT_SIZE] = "";
    rd_kafka_t *rk = creation->rk;
    int wait_ms = left_ms(creation->deadline_ms) + 1;
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    if (rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, text, sizeof(text)) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_AdminOptions_set_operation_timeout(options, wait_ms, text, sizeof(text)) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_AdminOptions_destroy(options);
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: %s", text);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, creation->requests, creation->count, options, queue);
    enum saga_err err;
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, wait_ms + EVENT_MS);
    if (event == NULL) {
        err = saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: no broker answers in time");
    } else {
        err = read_results(creation, event, detail);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return err;
}

/* A cluster without a controller (the embedded one) creates topics when they are asked for by name.
 */
static enum saga_err create_by_asking(const struct creation *creation,
                                      struct saga_err_detail *detail)
{
    for (size_t i = 0; i < creation->count; i++) {
        const char *name = creation->topics[i].name;
        rd_kafka_topic_t *handle = rd_kafka_topic_new(creation->rk, name, NULL);
        if (handle == NULL) {
            return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: topic %s: %s", name,
                                rd_kafka_err2str(rd_kafka_last_error()));
        }
        const struct rd_kafka_metadata *metadata = NULL;
        bool there = false;
        rd_kafka_resp_err_t code =
            rd_kafka_metadata(creation->rk, 0, handle, &metadata, left_ms(creation->deadline_ms));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            there = metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt > 0;
            rd_kafka_metadata_destroy(metadata);
        }
        rd_kafka_topic_destroy(handle);
        if (!there) {
            return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: topic %s: not created", name);
        }
    }
    return SAGA_ERR_OK;
}

/* Tells whether one of the cluster's brokers is its controller, who creates topics. The embedded
 * cluster names one that does not exist, and a request would wait for it until it times out.
 * Errors: UNAVAILABLE. */
static enum saga_err find_controller(const struct creation *creation, bool *has_controller,
                                     struct saga_err_detail *detail)
{
    const struct rd_kafka_metadata *metadata = NULL;
    if (saga_kafka_ask(creation->rk, left_ms(creation->deadline_ms), &metadata) != SAGA_ERR_OK) {
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: no broker answers in time");
    }
    int left = left_ms(creation->deadline_ms);
    int32_t controller =
        rd_kafka_controllerid(creation->rk, left < CONTROLLER_MS ? left : CONTROLLER_MS);
    *has_controller = false;
    for (int i = 0; i < metadata->broker_cnt; i++) {
        *has_controller = *has_controller || metadata->brokers[i].id == controller;
    }
    rd_kafka_metadata_destroy(metadata);
    return SAGA_ERR_OK;
}

/* Waits until the brokers know the topics that their controller has made. */
static enum saga_err wait_until_known(const struct creation *creation,
                                      struct saga_err_detail *detail)
{
    for (size_t i = 0; i < creation->count;) {
        int32_t partitions = 0;
        const char *name = creation->topics[i].name;
        enum saga_err err =
            find_once(creation->rk, &name, 1, &partitions, left_ms(creation->deadline_ms), detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        if (partitions > 0) {
            i++;
        } else if (left_ms(creation->deadline_ms) == 0) {
            return saga_err_set(detail, SAGA_ERR_UNAVAILABLE,
                                "kafka: topic %s: created, but no broker knows it in time", name);
        } else {
            (void)rd_kafka_poll(creation->rk, KNOWN_MS);
        }
    }
    return SAGA_ERR_OK;
}

/* Describes the topics, and has them made by the controller, or by asking where there is none. */
static enum saga_err create_all(const struct creation *creation, struct saga_err_detail *detail)
{
    size_t described = 0;
    bool has_controller = false;
    enum saga_err err = SAGA_ERR_OK;
    while (err == SAGA_ERR_OK && described < creation->count) {
        err = describe(&creation->topics[described], &creation->requests[described], detail);
        described += err == SAGA_ERR_OK;
    }
    if (err == SAGA_ERR_OK) {
        err = find_controller(creation, &has_controller, detail);
    }
    if (err == SAGA_ERR_OK && !has_controller) {
        err = create_by_asking(creation, detail);
    } else if (err == SAGA_ERR_OK) {
        err = request_topics(creation, detail);
        if (err == SAGA_ERR_OK) {
            err = wait_until_known(creation, detail);
        }
    }
    rd_kafka_NewTopic_destroy_array(creation->requests, described);
    return err;
}

enum saga_err saga_kafka_topics_create(const struct saga_kafka_config *config,
                                       const struct saga_kafka_topic *topics, size_t count,
                                       bool *created, int64_t timeout_ms,
                                       struct saga_err_detail *detail)
{
    if (count == 0 || count > TOPICS_MAX) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: 1 to %d topics at once", TOPICS_MAX);
    }
    for (size_t i = 0; created != NULL && i < count; i++) {
        created[i] = false;
    }
    struct creation creation = {
        .topics = topics, .count = count, .created = created, .deadline_ms = now_ms() + timeout_ms};
    creation.requests = calloc(count, sizeof(rd_kafka_NewTopic_t *));
    if (creation.requests == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "kafka: topics");
    }
    enum saga_err err = open_client(RD_KAFKA_PRODUCER, config, NULL, 0, &creation.rk, detail);
    if (err == SAGA_ERR_OK) {
        err = create_all(&creation, detail);
        rd_kafka_destroy(creation.rk);
    }
    free(creation.requests);
    return err;
}

/* ---- Probe ---- */

/* Where the probe's record landed. */
struct landing {
    bool reported;
    rd_kafka_resp_err_t code;
    int32_t partition;
    int64_t offset;
};

static void on_landed(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct landing *landing = opaque;
    (void)rk;
    *landing = (struct landing){.reported = true,
                                .code = message->err,
                                .partition = message->partition,
                                .offset = message->offset};
}

static enum saga_err produce_probe(rd_kafka_t *rk, const char *topic, struct landing *landing,
                                   int64_t deadline_ms, struct saga_err_detail *detail)
{
    static const char text[] = "probe";
    rd_kafka_resp_err_t code =
        rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                          RD_KAFKA_V_KEY(text, sizeof(text) - 1),
                          RD_KAFKA_V_HEADER("probe", text, -1), RD_KAFKA_V_END);
    while (code == RD_KAFKA_RESP_ERR_NO_ERROR && !landing->reported && left_ms(deadline_ms) > 0) {
        (void)rd_kafka_poll(rk, left_ms(deadline_ms));
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && !landing->reported) {
        return saga_err_set(detail, SAGA_ERR_TIMEOUT, "kafka: %s: no acknowledgement in time",
                            topic);
    }
    code = code != RD_KAFKA_RESP_ERR_NO_ERROR ? code : landing->code;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: %s: %s", topic,
                            rd_kafka_err2str(code));
    }
    return SAGA_ERR_OK;
}

/* Reads the record back from where it landed. */
static enum saga_err read_probe(rd_kafka_t *rk, const char *topic, const struct landing *landing,
                                int64_t deadline_ms, struct saga_err_detail *detail)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, landing->partition)->offset = landing->offset;
    rd_kafka_resp_err_t code = rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: %s: %s", topic,
                            rd_kafka_err2str(code));
    }
    bool found = false;
    while (!found && left_ms(deadline_ms) > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, left_ms(deadline_ms));
        if (message != NULL) {
            found =
                message->err == RD_KAFKA_RESP_ERR_NO_ERROR && message->offset == landing->offset;
            rd_kafka_message_destroy(message);
        }
    }
    (void)rd_kafka_consumer_close(rk);
    if (!found) {
        return saga_err_set(detail, SAGA_ERR_TIMEOUT, "kafka: %s: not read back in time", topic);
    }
    return SAGA_ERR_OK;
}

static enum saga_err open_probe_producer(const struct saga_kafka_config *config,
                                         struct landing *landing, rd_kafka_t **rk,
                                         struct saga_err_detail *detail)
{
    static const struct saga_kafka_property own[] = {{"acks", "all"}, {"linger.ms", "0"}};
    rd_kafka_conf_t *conf = NULL;
    enum saga_err err = saga_kafka_conf_new(config, own, 2, &conf, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    rd_kafka_conf_set_opaque(conf, landing);
    rd_kafka_conf_set_dr_msg_cb(conf, on_landed);
    return saga_kafka_client_new(RD_KAFKA_PRODUCER, conf, rk, detail);
}

enum saga_err saga_kafka_topic_probe(const struct saga_kafka_config *config, const char *topic,
                                     int64_t timeout_ms, int64_t *round_trip_us,
                                     struct saga_err_detail *detail)
{
    const struct saga_kafka_property own[] = {
        {"group.id", config->client_id == NULL ? "probe" : config->client_id},
        {"enable.auto.commit", "false"},
        {"fetch.wait.max.ms", "10"},
    };
    int64_t deadline_ms = now_ms() + timeout_ms;
    struct landing landing = {0};
    rd_kafka_t *producer = NULL;
    rd_kafka_t *consumer = NULL;
    const struct rd_kafka_metadata *metadata = NULL;
    enum saga_err err = open_probe_producer(config, &landing, &producer, detail);
    if (err == SAGA_ERR_OK) {
        err = open_client(RD_KAFKA_CONSUMER, config, own, sizeof(own) / sizeof(own[0]), &consumer,
                          detail);
    }
    if (err == SAGA_ERR_OK) {
        /* Connections are made before the clock runs. */
        err = saga_kafka_ask(producer, left_ms(deadline_ms), &metadata);
        if (err != SAGA_ERR_OK) {
            (void)saga_err_set(detail, err, "kafka: no broker answers in time");
        } else {
            rd_kafka_metadata_destroy(metadata);
        }
    }
    int64_t start_us = saga_clock_mono_us();
    if (err == SAGA_ERR_OK) {
        (void)rd_kafka_poll_set_consumer(consumer);
        err = produce_probe(producer, topic, &landing, deadline_ms, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = read_probe(consumer, topic, &landing, deadline_ms, detail);
    }
    *round_trip_us = saga_clock_mono_us() - start_us;
    if (consumer != NULL) {
        rd_kafka_destroy(consumer);
    }
    if (producer != NULL) {
        (void)rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(producer);
    }
    return err;
}
