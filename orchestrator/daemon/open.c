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
    return err == SAGA_ERR_OK ? add_participants(daemon, detail) : err;
}

static enum saga_err open_runtime(struct daemon *daemon, struct saga_err_detail *detail)
{
    struct admin_config admin = {
        .inbox = daemon->inbox,
        .store = daemon->store,
        .health = &daemon->health,
        .descriptor_set = saga_buf_view(&daemon->descriptor_set),
        .version = "sagad " SAGA_VERSION,
        .waiting_requests_max = WAITING_REQUESTS_MAX,
    };
    enum saga_err err = admin_new(&admin, &daemon->admin);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    char owner[64];
    (void)snprintf(owner, sizeof owner, "sagad/%ld", (long)getpid());
    int64_t live_max = 0;
    err = saga_options_int(daemon->options, "live-max", 1, SAGA_LIVE_COUNT_MAX, &live_max, detail);
    int64_t running_max = 0;
    if (err == SAGA_ERR_OK) {
        err = saga_options_int(daemon->options, "running-max", 1, SAGA_LIVE_COUNT_MAX, &running_max,
                               detail);
    }
    struct saga_runtime_config config = {
        .store = daemon->store,
        .transport = transport_port(daemon->transport),
        .client = admin_client_port(daemon->admin),
        .codec = saga_codec_port(),
        .owner = owner,
        .live_count_max = (size_t)live_max,
        .running_count_max = (size_t)running_max,
        .cursor_delay_ms = CURSOR_DELAY_MS,
    };
    saga_random_fill(&config.seed, sizeof config.seed);
    return err == SAGA_ERR_OK ? saga_runtime_new(&config, &daemon->runtime, detail) : err;
}

static enum saga_err open_kafka(struct daemon *daemon, struct saga_err_detail *detail)
{
    const char *bootstrap = saga_options_text(daemon->options, "kafka");
    if (bootstrap == NULL) {
        saga_log(SAGA_LOG_WARN, "kafka_not_configured",
                 "msg=\"undos and audit events wait in the outbox until --kafka is given\"");
        return SAGA_ERR_OK;
    }
    struct saga_kafka_config kafka = {
        .bootstrap = bootstrap, .client_id = "sagad", .properties = daemon->properties};
    const char *name = NULL;
    const char *value = NULL;
    while (saga_options_family(daemon->options, "kafka.", kafka.property_count, &name, &value)) {
        if (kafka.property_count == KAFKA_PROPERTIES_MAX) {
            return saga_err_set(detail, SAGA_ERR_LIMIT, "--kafka.*: at most %d properties",
                                KAFKA_PROPERTIES_MAX);
        }
        daemon->properties[kafka.property_count++] = (struct saga_kafka_property){name, value};
    }
    const char *topics[SAGA_REPLY_TOPICS_MAX];
    size_t topic_count = versions_reply_topics(daemon->versions, topics);
    enum saga_err err =
        relays_start(&kafka, &daemon->store, daemon->inbox, &daemon->relays, detail);
    if (err == SAGA_ERR_OK) {
        struct replies_config config = {kafka, topics, topic_count, daemon->store, daemon->inbox};
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

static enum saga_err write_ready_file(struct daemon *daemon, struct saga_err_detail *detail)
{
    const char *path = saga_options_text(daemon->options, "ready-file");
    if (path == NULL) {
        return SAGA_ERR_OK;
    }
    char temporary[4096];
    int size = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    FILE *file = size > 0 && (size_t)size < sizeof temporary ? fopen(temporary, "w") : NULL;
    if (file == NULL) {
        return saga_err_set(detail, SAGA_ERR_IO, "--ready-file: cannot write %s", path);
    }
    int written = fprintf(
        file, "{\"name\": \"sagad\", \"pid\": %ld, \"nng\": \"%s\", \"http\": \"http://%s:%u\"}\n",
        (long)getpid(), saga_rpc_server_address(daemon->server, 0),
        saga_options_text(daemon->options, "http-address"), (unsigned)saga_http_port(daemon->http));
    bool closed = fclose(file) == 0;
    if (written < 0 || !closed || rename(temporary, path) != 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "--ready-file: cannot write %s", path);
    }
    return SAGA_ERR_OK;
}

enum saga_err daemon_open(struct daemon *daemon, struct saga_err_detail *detail)
{
    enum saga_err err = saga_inbox_new(SAGA_INBOX_COUNT_MAX, &daemon->inbox);
    if (err == SAGA_ERR_OK) {
        err = load_descriptor_set(daemon, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_store_sqlite_open(saga_options_text(daemon->options, "data"), &daemon->store,
                                     detail);
    }
    if (err == SAGA_ERR_OK) {
        err = open_transport(daemon, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = open_runtime(daemon, detail);
    }
    if (err == SAGA_ERR_OK) {
        struct versions_config versions = {
            .descriptor_set = saga_buf_view(&daemon->descriptor_set),
            .store = daemon->store,
            .transport = daemon->transport,
            .runtime = daemon->runtime,
            .now_unix_ms = saga_clock_unix_ms(),
        };
        err = versions_load(&versions, &daemon->versions, detail);
    }
    if (err == SAGA_ERR_OK) {
        daemon->health.transport = daemon->transport;
        admin_set_versions(daemon->admin, daemon->versions);
        err = transport_start(daemon->transport, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = open_http(daemon, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = recover(daemon, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = open_kafka(daemon, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = open_server(daemon, detail);
    }
    if (err == SAGA_ERR_OK) {
        health_publish(&daemon->health, daemon->runtime, 0);
        atomic_store(&daemon->health.ready, true);
        err = write_ready_file(daemon, detail);
    }
    return err;
}

void daemon_close(struct daemon *daemon)
{
    const char *ready = saga_options_text(daemon->options, "ready-file");
    if (ready != NULL) {
        (void)unlink(ready);
    }
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
