/* Opens a daemon in the order in which it must not answer too early, closes it in the order in
 * which nothing is lost. Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/sys/log.h"
#include "services/kit/room.h"

enum { RELAY_DRAIN_MS = 2000 };

static enum saga_err open_store(struct saga_kit *kit, const struct saga_kit_config *config,
                                struct saga_err_detail *detail)
{
    const struct saga_kit_app *app = kit->app;
    enum saga_err err = saga_sql_open(config->data, SAGA_SQL_READ_WRITE, &kit->sql, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_barrier_migrate(kit->sql, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_migrate(kit->sql, app->migrations, app->migration_count, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_barrier_open(kit->sql, &kit->barrier);
    }
    struct saga_sql_stmt *nothing = NULL;
    if (err == SAGA_ERR_OK) { /* so that it can be had without memory later */
        err = saga_sql_prepare(kit->sql, SAGA_KIT_SQL_NOTHING, &nothing, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_kit_cursor_load(kit, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_kit_positions_load(kit, detail);
    }
    if (err != SAGA_ERR_OK || config->seed == NULL) {
        return err;
    }
    int64_t rows = 0;
    err = saga_kit_seed_load(kit->sql, app->seeds, app->seed_count, config->seed, &rows, detail);
    if (err == SAGA_ERR_OK) {
        saga_log(SAGA_LOG_INFO, "seeded", "file=\"%s\" rows=%lld", config->seed, (long long)rows);
    }
    return err;
}

enum {
    /* Effects gather, which saves the daemon and the broker half of their work; a reply to an undo
     * goes the same way, so it must not be long. */
    EFFECTS_LINGER_MS = 5,
};

static struct saga_kafka_config kafka_config(const struct saga_kit *kit,
                                             const struct saga_kit_config *config)
{
    return (struct saga_kafka_config){
        .bootstrap = config->bootstrap,
        .client_id = kit->app->name,
        .properties = config->properties,
        .property_count = config->property_count,
        .linger_ms = EFFECTS_LINGER_MS,
    };
}

static enum saga_err start_relay(struct saga_kit *kit, const struct saga_kit_config *config,
                                 struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_open(config->data, SAGA_SQL_READ_ONLY, &kit->sql_relay, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_relay_config relay = {
        .kafka = kafka_config(kit, config),
        .name = "effects",
        .position = kit->cursor,
        .fetch = saga_kit_effects_fetch,
        .advanced = saga_kit_effects_advanced,
        .user = kit,
    };
    return saga_relay_start(&relay, &kit->relay, detail);
}

static enum saga_err start_consumer(struct saga_kit *kit, const struct saga_kit_config *config,
                                    struct saga_err_detail *detail)
{
    const char *topics[] = {kit->command_topic};
    struct saga_kafka_consumer_config consumer = {
        .kafka = kafka_config(kit, config),
        .topics = topics,
        .topic_count = 1,
        .position = saga_kit_position_find,
        .received = saga_kit_record_received,
        .user = kit,
    };
    return saga_kafka_consumer_start(&consumer, &kit->consumer, detail);
}

/* The doors: after them requests wait in the inbox until the worker runs. */
static enum saga_err open_doors(struct saga_kit *kit, const struct saga_kit_config *config,
                                struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    if (config->bootstrap != NULL) {
        err = start_relay(kit, config, detail);
        if (err == SAGA_ERR_OK && kit->command_topic[0] != '\0') {
            err = start_consumer(kit, config, detail);
        }
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "kafka");
    }
    struct saga_rpc_server_config server = {
        .addresses = config->addresses,
        .address_count = config->address_count,
        .tls = config->tls,
        .handler = saga_kit_request_received,
        .context = kit,
    };
    return saga_rpc_server_start(&server, &kit->server, detail);
}

/* Closes the doors and waits until everything inside is done. */
static void drain(struct saga_kit *kit, bool working)
{
    if (kit->server != NULL) {
        saga_rpc_server_close_door(kit->server);
    }
    atomic_store(&kit->stopping, true);
    saga_inbox_close(kit->inbox);
    if (working) {
        (void)pthread_join(kit->worker, NULL);
    } else { /* the doors were open, but nobody worked */
        struct saga_inbox_entry *link = NULL;
        while ((link = saga_inbox_take(kit->inbox, 1, 0)) != NULL) {
            struct saga_kit_entry *entry = (struct saga_kit_entry *)link;
            if (entry->kind == SAGA_KIT_ENTRY_REQUEST) {
                saga_kit_request_refuse(entry, saga_status_make(SAGA_CODE_UNAVAILABLE, "STOPPING",
                                                                "the daemon is stopping"));
            } else {
                if (entry->kind == SAGA_KIT_ENTRY_JOB) {
                    struct saga_status status = saga_status_make(SAGA_CODE_UNAVAILABLE, "STOPPING",
                                                                 "the daemon is stopping");
                    entry->job->done(entry->job, false, &status);
                }
                saga_kit_entry_free(kit, entry);
            }
        }
    }
    saga_kafka_consumer_free(kit->consumer);
    kit->consumer = NULL;
}

/* Gives the relay a moment, keeps its cursor: what is published twice is the same event, but why.
 */
static void stop_relay(struct saga_kit *kit)
{
    if (kit->relay == NULL) {
        return;
    }
    if (!atomic_load(&kit->failed) && saga_relay_drain(kit->relay, RELAY_DRAIN_MS) != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_INFO, "effects_wait",
                 "published=%lld note=\"the rest is published after the next start\"",
                 (long long)saga_relay_position(kit->relay));
    }
    saga_relay_free(kit->relay);
    kit->relay = NULL;
    struct saga_err_detail detail = {{0}};
    if (!atomic_load(&kit->failed) && saga_kit_cursor_save(kit, &detail) != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_WARN, "cursor_not_saved", "msg=\"%s\"", detail.text);
    }
}

static void release(struct saga_kit *kit)
{
    saga_rpc_server_free(kit->server);
    saga_sql_close(kit->sql_relay);
    saga_barrier_close(kit->barrier);
    saga_sql_close(kit->sql);
    if (kit->inbox != NULL) {
        saga_inbox_free(kit->inbox);
    }
    saga_schema_free(kit->schema);
    free(kit->methods);
    saga_arena_fini(&kit->turn.arena);
    saga_buf_fini(&kit->turn.scratch);
    saga_arena_fini(&kit->relay_arena);
    (void)pthread_mutex_destroy(&kit->positions_lock);
    free(kit->path);
    free(kit);
}

static struct saga_kit *kit_new(const struct saga_kit_app *app,
                                const struct saga_kit_config *config)
{
    struct saga_kit *kit = calloc(1, sizeof *kit);
    if (kit == NULL) {
        return NULL;
    }
    (void)pthread_mutex_init(&kit->positions_lock, NULL);
    kit->app = app;
    kit->main_thread = pthread_self();
    kit->retention_ms = config->retention_ms;
    kit->path = strdup(config->data);
    if (kit->path == NULL || saga_inbox_new(SAGA_INBOX_COUNT_MAX, &kit->inbox) != SAGA_ERR_OK) {
        release(kit);
        return NULL;
    }
    return kit;
}

enum saga_err saga_kit_open(const struct saga_kit_app *app, const struct saga_kit_config *config,
                            const struct saga_options *options, struct saga_kit **out,
                            struct saga_err_detail *detail)
{
    struct saga_kit *kit = kit_new(app, config);
    if (kit == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "starting");
    }
    enum saga_err err = saga_kit_methods_load(kit, detail);
    if (err == SAGA_ERR_OK) {
        err = open_store(kit, config, detail);
    }
    bool started = false;
    if (err == SAGA_ERR_OK && app->started != NULL) {
        err = app->started(kit, app->user, options, detail);
        started = err == SAGA_ERR_OK;
    }
    if (err == SAGA_ERR_OK) {
        err = open_doors(kit, config, detail);
    }
    if (err == SAGA_ERR_OK && pthread_create(&kit->worker, NULL, saga_kit_work, kit) != 0) {
        err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "no thread");
    }
    if (err == SAGA_ERR_OK) {
        *out = kit;
        return SAGA_ERR_OK;
    }
    if (started && app->stopping != NULL) {
        app->stopping(kit, app->user);
    }
    drain(kit, false);
    if (started && app->stopped != NULL) {
        app->stopped(kit, app->user);
    }
    stop_relay(kit);
    release(kit);
    return err;
}

enum saga_err saga_kit_close(struct saga_kit *kit, struct saga_err_detail *detail)
{
    const struct saga_kit_app *app = kit->app;
    if (app->stopping != NULL) {
        app->stopping(kit, app->user);
    }
    drain(kit, true);
    if (app->stopped != NULL) {
        app->stopped(kit, app->user);
    }
    stop_relay(kit);
    enum saga_err err = SAGA_ERR_OK;
    if (atomic_load(&kit->failed)) {
        err = saga_err_set(detail, SAGA_ERR_IO, "%s", kit->failure.text);
    }
    release(kit);
    return err;
}

/* ---- For hooks and jobs ---- */

enum saga_err saga_kit_submit(struct saga_kit *kit, struct saga_kit_job *job)
{
    struct saga_kit_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        return SAGA_ERR_FULL;
    }
    entry->kind = SAGA_KIT_ENTRY_JOB;
    entry->job = job;
    enum saga_err err = saga_inbox_put(kit->inbox, &entry->link, SAGA_INBOX_REFUSE);
    if (err != SAGA_ERR_OK) {
        free(entry);
    }
    return err;
}

struct saga_sql *saga_kit_database(struct saga_kit *kit)
{
    return kit->sql;
}

const char *saga_kit_database_path(const struct saga_kit *kit)
{
    return kit->path;
}
