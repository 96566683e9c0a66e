#include "common/bus/kafka/client.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/sys/log.h"

/* librdkafka writes errors here. */
enum { RD_TEXT_SIZE = 512 };

enum saga_err saga_kafka_err(rd_kafka_resp_err_t code)
{
    /* librdkafka has some 150 codes; those that a caller can tell apart are named. */
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return SAGA_ERR_OK;
    }
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        return SAGA_ERR_FULL;
    }
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
        code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE) {
        return SAGA_ERR_LIMIT;
    }
    if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
        code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
        return SAGA_ERR_NOT_FOUND;
    }
    if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        return SAGA_ERR_EXISTS;
    }
    if (code == RD_KAFKA_RESP_ERR__INVALID_ARG || code == RD_KAFKA_RESP_ERR_INVALID_CONFIG ||
        code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION || code == RD_KAFKA_RESP_ERR_INVALID_PARTITIONS ||
        code == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR ||
        code == RD_KAFKA_RESP_ERR_POLICY_VIOLATION) {
        return SAGA_ERR_INVALID;
    }
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT) {
        return SAGA_ERR_TIMEOUT;
    }
    return SAGA_ERR_UNAVAILABLE;
}

/* Thread: any of librdkafka's. */
static void on_log(const rd_kafka_t *rk, int syslog_level, const char *facility, const char *text)
{
    enum saga_log_level level = SAGA_LOG_DEBUG;
    if (syslog_level <= 2) {
        level = SAGA_LOG_ERROR;
    } else if (syslog_level <= 4) {
        level = SAGA_LOG_WARN; /* librdkafka calls every broken connection an error, and retries */
    } else if (syslog_level <= 6) {
        level = SAGA_LOG_INFO;
    }
    if (strcmp(facility, "CONFWARN") == 0 && strstr(text, "enable.gapless.guarantee") != NULL) {
        level = SAGA_LOG_DEBUG; /* "experimental": our own choice, not the user's to mend */
    }
    saga_log(level, "kafka", "client=\"%s\" facility=%s msg=\"%s\"",
             rk == NULL ? "" : rd_kafka_name(rk), facility, text);
}

static enum saga_err set(rd_kafka_conf_t *conf, const char *name, const char *value,
                         struct saga_err_detail *detail)
{
    char text[RD_TEXT_SIZE] = "";
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka.%s: %s", name, text);
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_conf_new_local(const char *client_id, rd_kafka_conf_t **conf,
                                        struct saga_err_detail *detail)
{
    rd_kafka_conf_t *made = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(made, on_log);
    enum saga_err err = set(made, "client.id", client_id, detail);
    if (err != SAGA_ERR_OK) {
        rd_kafka_conf_destroy(made);
        return err;
    }
    *conf = made;
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_conf_new(const struct saga_kafka_config *config,
                                  const struct saga_kafka_property *own, size_t own_count,
                                  rd_kafka_conf_t **conf, struct saga_err_detail *detail)
{
    if (config->bootstrap == NULL || config->bootstrap[0] == '\0' || config->client_id == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: bootstrap and client id are needed");
    }
    rd_kafka_conf_t *made = NULL;
    enum saga_err err = saga_kafka_conf_new_local(config->client_id, &made, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = set(made, "bootstrap.servers", config->bootstrap, detail);
    if (err == SAGA_ERR_OK) {
        /* By default a client looks for a broker that came back only every 10 s. */
        err = set(made, "reconnect.backoff.max.ms", "1000", detail);
    }
    for (size_t i = 0; err == SAGA_ERR_OK && i < own_count; i++) {
        err = set(made, own[i].name, own[i].value, detail);
    }
    for (size_t i = 0; err == SAGA_ERR_OK && i < config->property_count; i++) {
        err = set(made, config->properties[i].name, config->properties[i].value, detail);
    }
    if (err != SAGA_ERR_OK) {
        rd_kafka_conf_destroy(made);
        return err;
    }
    *conf = made;
    return SAGA_ERR_OK;
}

/* Appends a text with its zero and gives its place. Pre: there is room. */
static const char *keep(struct saga_buf *texts, const char *text)
{
    size_t at = texts->size;
    struct saga_bytes bytes = {.data = (const uint8_t *)text, .size = strlen(text) + 1};
    enum saga_err err = saga_buf_append(texts, bytes);
    SAGA_ASSERT(err == SAGA_ERR_OK);
    return (const char *)texts->data + at;
}

/* A copy is one piece of memory for the structs and one for the texts. */
struct config_copy {
    struct saga_kafka_config config; /* first: what the user sees */
    struct saga_buf texts;
    struct saga_kafka_property properties[];
};

static size_t text_size(const struct saga_kafka_config *config)
{
    size_t size = strlen(config->bootstrap) + strlen(config->client_id) + 2;
    for (size_t i = 0; i < config->property_count; i++) {
        size += strlen(config->properties[i].name) + strlen(config->properties[i].value) + 2;
    }
    return size;
}

enum saga_err saga_kafka_config_dup(const struct saga_kafka_config *config,
                                    struct saga_kafka_config **copy)
{
    if (config->bootstrap == NULL || config->client_id == NULL) {
        return SAGA_ERR_INVALID;
    }
    struct config_copy *made =
        calloc(1, sizeof(*made) + config->property_count * sizeof(struct saga_kafka_property));
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    if (saga_buf_reserve(&made->texts, text_size(config)) != SAGA_ERR_OK) {
        free(made);
        return SAGA_ERR_NO_MEMORY;
    }
    made->config.bootstrap = keep(&made->texts, config->bootstrap);
    made->config.client_id = keep(&made->texts, config->client_id);
    for (size_t i = 0; i < config->property_count; i++) {
        made->properties[i].name = keep(&made->texts, config->properties[i].name);
        made->properties[i].value = keep(&made->texts, config->properties[i].value);
    }
    made->config.properties = made->properties;
    made->config.property_count = config->property_count;
    made->config.linger_ms = config->linger_ms;
    made->config.batch_max = config->batch_max;
    made->config.in_order = config->in_order;
    *copy = &made->config;
    return SAGA_ERR_OK;
}

void saga_kafka_config_free(struct saga_kafka_config *config)
{
    if (config == NULL) {
        return;
    }
    struct config_copy *copy = (struct config_copy *)config;
    saga_buf_fini(&copy->texts);
    free(copy);
}

enum saga_err saga_kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **rk,
                                    struct saga_err_detail *detail)
{
    char text[RD_TEXT_SIZE] = "";
    rd_kafka_t *made = rd_kafka_new(type, conf, text, sizeof(text));
    if (made == NULL) {
        /* It refuses settings that do not go together; the settings are then still ours. */
        rd_kafka_conf_destroy(conf);
        return saga_err_set(detail, SAGA_ERR_INVALID, "kafka: %s", text);
    }
    *rk = made;
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_ask(rd_kafka_t *rk, int timeout_ms,
                             const struct rd_kafka_metadata **metadata)
{
    const struct rd_kafka_metadata *answer = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, NULL, &answer, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return SAGA_ERR_UNAVAILABLE;
    }
    *metadata = answer;
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return SAGA_ERR_NO_MEMORY;
    }
    int code = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (code == 0) {
        code = pthread_cond_init(cond, &attributes);
    }
    (void)pthread_condattr_destroy(&attributes);
    return code == 0 ? SAGA_ERR_OK : SAGA_ERR_NO_MEMORY;
}

struct timespec saga_kafka_deadline(int64_t timeout_ms)
{
    struct timespec at = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t wait_ms = timeout_ms < 0 ? 0 : timeout_ms;
    at.tv_sec += (time_t)(wait_ms / 1000);
    at.tv_nsec += (long)(wait_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec += 1;
    }
    return at;
}
