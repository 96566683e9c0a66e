/* Opening and closing the daemon's parts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "descriptor_set.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/daemon/daemon.h"
#include "orchestrator/daemon/http_api.h"
#include "orchestrator/store/sqlite/store_sqlite.h"

enum {
    /* A request that waits keeps its context; the rest is for those who only ask. */
    SERVER_CONTEXTS = 2048,
    WAITING_REQUESTS_MAX = SERVER_CONTEXTS - 256,
    CURSOR_DELAY_MS = 200,
    READY_PATH_SIZE = 4096,
};

static enum saga_err read_file(const char *path, struct saga_buf *out,
                               struct saga_err_detail *detail)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "--descriptor-set: cannot open %s", path);
    }
    uint8_t chunk[4096];
    size_t got = 0;
    enum saga_err err = SAGA_ERR_OK;
    while (err == SAGA_ERR_OK && (got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        err = saga_buf_append(out, (struct saga_bytes){chunk, got});
        if (out->size > SAGA_DESCRIPTOR_SET_SIZE_MAX) {
            err =
                saga_err_set(detail, SAGA_ERR_LIMIT, "--descriptor-set: %s is larger than %d bytes",
                             path, SAGA_DESCRIPTOR_SET_SIZE_MAX);
        }
    }
    (void)fclose(file);
    return err;
}

static enum saga_err load_descriptor_set(struct daemon *daemon, struct saga_err_detail *detail)
{
    const char *path = saga_options_text(daemon->options, "descriptor-set");
    if (path != NULL) {
        return read_file(path, &daemon->descriptor_set, detail);
    }
    return saga_buf_append(&daemon->descriptor_set,
                           (struct saga_bytes){saga_descriptor_set, saga_descriptor_set_size});
}

static struct saga_rpc_tls tls_of(const struct daemon *daemon)
{
    return (struct saga_rpc_tls){
        .ca_file = saga_options_text(daemon->options, "tls-ca"),
        .cert_file = saga_options_text(daemon->options, "tls-cert"),
        .key_file = saga_options_text(daemon->options, "tls-key"),
    };
}

/* Thread: the loop's. */
static void rows_committed(void *user, bool outbox, bool audit)
{
    struct daemon *daemon = user;
    relays_wake(daemon->relays, outbox, audit);
}

/* "SERVICE=URL" */
static enum saga_err add_participants(struct daemon *daemon, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < saga_options_count(daemon->options, "participant"); i++) {
        const char *text = saga_options_at(daemon->options, "participant", i);
        const char *equals = strchr(text, '=');
        char service[SAGA_METHOD_NAME_MAX + 1];
        if (equals == NULL || equals == text || equals[1] == '\0' ||
            (size_t)(equals - text) > SAGA_METHOD_NAME_MAX) {
            return saga_err_set(detail, SAGA_ERR_INVALID,
                                "--participant: \"%s\" is not SERVICE=URL", text);
        }
        memcpy(service, text, (size_t)(equals - text));
        service[equals - text] = '\0';
        enum saga_err err = transport_add_address(daemon->transport, service, equals + 1, detail);
        if (err != SAGA_ERR_OK) {
            return saga_err_wrap(detail, err, "--participant");
        }
    }
    return SAGA_ERR_OK;
}

static enum saga_err open_transport(struct daemon *daemon, struct saga_err_detail *detail)
{
    struct transport_config config = {
        .inbox = daemon->inbox, .tls = tls_of(daemon), .committed = rows_committed, .user = daemon};
    enum saga_err err = transport_new(&config, &daemon->transport);
    if (err == SAGA_ERR_OK) {
        err = add_participants(daemon, detail);
    }
    daemon->health.transport = daemon->transport;
    if (err == SAGA_ERR_OK) {
        err = transport_start(daemon->transport, detail);
        err = err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "--participant");
    }
    return err;
}

static enum saga_err open_admin(struct daemon *daemon, struct saga_err_detail *detail)
{
    struct admin_config admin = {
        .inbox = daemon->inbox,
        .health = &daemon->health,
        .descriptor_set = saga_buf_view(&daemon->descriptor_set),
        .version = "sagad " SAGA_VERSION,
        .waiting_requests_max = WAITING_REQUESTS_MAX,
    };
    enum saga_err err = admin_new(&admin, &daemon->admin);
    return err == SAGA_ERR_OK ? err : saga_err_set(detail, err, "admin API");
}

static enum saga_err read_limits(struct daemon *daemon, struct saga_err_detail *detail)
{
    enum saga_err err = saga_options_int(daemon->options, "live-max", 1, SAGA_LIVE_COUNT_MAX,
                                         &daemon->live_max, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_options_int(daemon->options, "running-max", 1, SAGA_LIVE_COUNT_MAX,
                               &daemon->running_max, detail);
    }
    return err;
}

static enum saga_err open_runtime(struct daemon *daemon, struct saga_err_detail *detail)
{
    char owner[64];
    (void)snprintf(owner, sizeof owner, "sagad/%ld", (long)getpid());
    struct saga_runtime_config config = {
        .store = daemon->store,
        .transport = transport_port(daemon->transport),
        .client = admin_client_port(daemon->admin),
        .codec = saga_codec_port(),
        .owner = owner,
        .live_count_max = (size_t)daemon->live_max,
        .running_count_max = (size_t)daemon->running_max,
        .cursor_delay_ms = CURSOR_DELAY_MS,
    };
    saga_random_fill(&config.seed, sizeof config.seed);
    return saga_runtime_new(&config, &daemon->runtime, detail);
}

static void ignore_delivered(void *user, uint64_t token, enum saga_err err)
{
    (void)user, (void)token, (void)err;
}

/* Reads what was given of Kafka. librdkafka refuses settings, and files they name, only when a
 * client is made of them: one is, and let go again. */
static enum saga_err check_kafka(struct daemon *daemon, struct saga_err_detail *detail)
{
    const char *bootstrap = saga_options_text(daemon->options, "kafka");
    if (bootstrap == NULL) {
        saga_log(SAGA_LOG_WARN, "kafka_not_configured",
                 "msg=\"undos and audit events wait in the outbox until --kafka is given\"");
        return SAGA_ERR_OK;
    }
    struct saga_kafka_config *kafka = &daemon->kafka;
    *kafka = (struct saga_kafka_config){
        .bootstrap = bootstrap, .client_id = "sagad", .properties = daemon->properties};
    const char *name = NULL;
    const char *value = NULL;
    while (saga_options_family(daemon->options, "kafka.", kafka->property_count, &name, &value)) {
        if (kafka->property_count == KAFKA_PROPERTIES_MAX) {
            return saga_err_set(detail, SAGA_ERR_LIMIT, "--kafka.*: at most %d properties",
                                KAFKA_PROPERTIES_MAX);
        }
        daemon->properties[kafka->property_count++] = (struct saga_kafka_property){name, value};
    }
    struct saga_kafka_config as_relay = *kafka;
    struct saga_kafka_producer *producer = NULL;
    as_relay.in_order = true;
    enum saga_err err =
        saga_kafka_producer_start(&as_relay, ignore_delivered, NULL, &producer, detail);
    saga_kafka_producer_free(producer);
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "kafka");
}

static enum saga_err open_kafka(struct daemon *daemon, struct saga_err_detail *detail)
{
    if (daemon->kafka.bootstrap == NULL) {
        return SAGA_ERR_OK;
    }
    const char *topics[SAGA_REPLY_TOPICS_MAX];
    size_t topic_count = versions_reply_topics(daemon->versions, topics);
    enum saga_err err =
        relays_start(&daemon->kafka, &daemon->store, daemon->inbox, &daemon->relays, detail);
    if (err == SAGA_ERR_OK) {
        struct replies_config config = {daemon->kafka, topics, topic_count, daemon->store,
                                        daemon->inbox};
        err = replies_start(&config, &daemon->replies, detail);
    }
    daemon->health.relays = daemon->relays;
    daemon->health.replies = daemon->replies;
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "kafka");
}

static enum saga_err recover(struct daemon *daemon, struct saga_err_detail *detail)
{
    bool more = true;
    enum saga_err err = SAGA_ERR_OK;
    int64_t begun_us = saga_clock_mono_us();
    while (more && err == SAGA_ERR_OK) {
        err = saga_runtime_recover(daemon->runtime, saga_clock_unix_ms(), &more, detail);
        if (more) {
            saga_log(SAGA_LOG_INFO, "recovering", "sagas=%zu",
                     saga_runtime_live_count(daemon->runtime));
        }
    }
    if (err == SAGA_ERR_OK) {
        saga_log(SAGA_LOG_INFO, "recovered", "sagas=%zu ms=%lld epoch=%llu",
                 saga_runtime_live_count(daemon->runtime),
                 (long long)(saga_clock_mono_us() - begun_us) / 1000,
                 (unsigned long long)saga_runtime_epoch(daemon->runtime));
    }
    return err;
}

static enum saga_err open_server(struct daemon *daemon, struct saga_err_detail *detail)
{
    const char *addresses[SAGA_ADDRESSES_MAX];
    size_t count = saga_options_count(daemon->options, "listen");
    if (count > SAGA_ADDRESSES_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "--listen: at most %d addresses",
                            SAGA_ADDRESSES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        addresses[i] = saga_options_at(daemon->options, "listen", i);
    }
    struct saga_rpc_server_config config = {
        .addresses = addresses,
        .address_count = count,
        .tls = tls_of(daemon),
        .handler = admin_handle,
        .context = daemon->admin,
        .contexts = SERVER_CONTEXTS,
        .door_shut = true,
    };
    return saga_rpc_server_start(&config, &daemon->server, detail);
}

static enum saga_err open_http(struct daemon *daemon, struct saga_err_detail *detail)
{
    int64_t port = 0;
    enum saga_err err = saga_options_int(daemon->options, "http-port", 0, 65535, &port, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    return http_api_start(saga_options_text(daemon->options, "http-address"), (uint16_t)port,
                          &daemon->health, &daemon->http, detail);
}

/* Names the file that becomes the ready file. False: its name is too long. */
static bool ready_temporary(const char *path, char out[READY_PATH_SIZE])
{
    int size = snprintf(out, READY_PATH_SIZE, "%s.tmp", path);
    return size > 0 && size < READY_PATH_SIZE;
}

/* Writes what the ready file will say; show_ready_file puts it in its place. */
static enum saga_err write_ready_file(struct daemon *daemon, struct saga_err_detail *detail)
{
    const char *path = saga_options_text(daemon->options, "ready-file");
    char temporary[READY_PATH_SIZE];
    if (path == NULL) {
        return SAGA_ERR_OK;
    }
    (void)unlink(path); /* of one that was killed: its addresses are ours now */
    FILE *file = ready_temporary(path, temporary) ? fopen(temporary, "w") : NULL;
    if (file == NULL) {
        return saga_err_set(detail, SAGA_ERR_IO, "--ready-file: cannot write %s", path);
    }
    int written = fprintf(
        file, "{\"name\": \"sagad\", \"pid\": %ld, \"nng\": \"%s\", \"http\": \"http://%s:%u\"}\n",
        (long)getpid(), saga_rpc_server_address(daemon->server, 0),
        saga_options_text(daemon->options, "http-address"), (unsigned)saga_http_port(daemon->http));
    bool closed = fclose(file) == 0;
    daemon->ready_file = READY_FILE_WRITTEN;
    if (written < 0 || !closed) {
        return saga_err_set(detail, SAGA_ERR_IO, "--ready-file: cannot write %s", path);
    }
    return SAGA_ERR_OK;
}

static enum saga_err show_ready_file(struct daemon *daemon, struct saga_err_detail *detail)
{
    const char *path = saga_options_text(daemon->options, "ready-file");
    char temporary[READY_PATH_SIZE];
    if (path != NULL && (!ready_temporary(path, temporary) || rename(temporary, path) != 0)) {
        return saga_err_set(detail, SAGA_ERR_IO, "--ready-file: cannot write %s", path);
    }
    daemon->ready_file = READY_FILE_SHOWN;
    return SAGA_ERR_OK;
}

/* Takes away what of it is there: another daemon's is left alone. */
static void remove_ready_file(const struct daemon *daemon)
{
    const char *path = saga_options_text(daemon->options, "ready-file");
    char temporary[READY_PATH_SIZE];
    if (daemon->ready_file == READY_FILE_SHOWN) {
        (void)unlink(path);
    } else if (daemon->ready_file == READY_FILE_WRITTEN && ready_temporary(path, temporary)) {
        (void)unlink(temporary);
    }
}

/* ---- All of it ---- */

static enum saga_err open_inbox(struct daemon *daemon, struct saga_err_detail *detail)
{
    enum saga_err err = saga_inbox_new(SAGA_INBOX_COUNT_MAX, &daemon->inbox);
    return err == SAGA_ERR_OK ? err : saga_err_set(detail, err, "inbox");
}

static enum saga_err make_versions(struct daemon *daemon, struct saga_err_detail *detail)
{
    return versions_new(saga_buf_view(&daemon->descriptor_set), &daemon->versions, detail);
}

static enum saga_err open_store(struct daemon *daemon, struct saga_err_detail *detail)
{
    return saga_store_sqlite_open(saga_options_text(daemon->options, "data"), &daemon->store,
                                  detail);
}

static enum saga_err load_versions(struct daemon *daemon, struct saga_err_detail *detail)
{
    struct versions_config config = {
        .store = daemon->store,
        .transport = daemon->transport,
        .runtime = daemon->runtime,
        .now_unix_ms = saga_clock_unix_ms(),
    };
    admin_set_store(daemon->admin, daemon->store, daemon->versions);
    return versions_load(daemon->versions, &config, detail);
}

static enum saga_err keep_versions(struct daemon *daemon, struct saga_err_detail *detail)
{
    return versions_keep(daemon->versions, detail);
}

static enum saga_err open_door(struct daemon *daemon, struct saga_err_detail *detail)
{
    health_publish(&daemon->health, daemon->runtime, 0);
    atomic_store(&daemon->health.ready, true);
    saga_rpc_server_open_door(daemon->server);
    return show_ready_file(daemon, detail);
}

typedef enum saga_err step(struct daemon *daemon, struct saga_err_detail *detail);

/* What can be refused by the options alone, and what somebody else may have already. None of it
 * touches the store: a second daemon started by mistake does not take the lease from the first. */
static step *const first_steps[] = {
    open_inbox,  load_descriptor_set, make_versions, open_transport, read_limits,
    check_kafka, open_admin,          open_http,     open_server,    write_ready_file,
};

/* Its own definitions are kept last, so that a start that fails leaves those that were current; and
 * nobody is served before they are. */
static step *const then_steps[] = {
    open_store, open_runtime, load_versions, recover, open_kafka, keep_versions, open_door,
};

static enum saga_err do_steps(struct daemon *daemon, step *const *steps, size_t count,
                              struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        err = steps[i](daemon, detail);
    }
    return err;
}

enum saga_err daemon_open(struct daemon *daemon, struct saga_err_detail *detail)
{
    enum saga_err err =
        do_steps(daemon, first_steps, sizeof first_steps / sizeof first_steps[0], detail);
    if (err == SAGA_ERR_OK) {
        err = do_steps(daemon, then_steps, sizeof then_steps / sizeof then_steps[0], detail);
    }
    return err;
}

void daemon_close(struct daemon *daemon)
{
    remove_ready_file(daemon);
    if (daemon->server != NULL && !daemon->server_closed) {
        saga_rpc_server_close_door(daemon->server);
    }
    saga_http_stop(daemon->http);
    replies_free(daemon->replies);
    relays_free(daemon->relays);
    daemon->health.relays = NULL;
    daemon->health.replies = NULL;
    daemon->replies = NULL;
    daemon->relays = NULL; /* what commits from here on is published after the next start */
    transport_stop(daemon->transport);
    if (daemon->inbox != NULL) {
        daemon_empty_inbox(daemon);
        saga_inbox_close(daemon->inbox);
    }
    saga_rpc_server_free(daemon->server);
    saga_runtime_free(daemon->runtime);
    versions_free(daemon->versions);
    transport_free(daemon->transport);
    admin_free(daemon->admin);
    if (daemon->store.ops != NULL) {
        daemon->store.ops->close(daemon->store.store);
    }
    if (daemon->inbox != NULL) {
        saga_inbox_free(daemon->inbox);
    }
    saga_buf_fini(&daemon->descriptor_set);
}
