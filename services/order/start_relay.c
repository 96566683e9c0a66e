#include "services/order/start_relay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/assert.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "services/order/order_json.h"
#include "services/order/start_room.h"

enum { CONNECT_WAIT_MS = 50 }; /* how long the thread looks away while there is no connection */

/* ---- Fresh orders ---- */

/* Lets orders come from the table. Pre: locked. */
static void fall_behind(struct saga_start_relay *relay, int64_t order_id)
{
    if (!relay->behind) {
        relay->behind = true;
        relay->cursor = order_id - 1;
        relay->cursor_from = relay->cursor;
    } else if (order_id <= relay->cursor_from) {
        /* An older one after all: begin there. Sending some twice is harmless. */
        relay->cursor = order_id - 1;
        relay->cursor_from = relay->cursor;
    }
    relay->noted = true;
}

/* Wakes the thread if it sleeps. Pre: locked. */
void saga_start_wake(struct saga_start_relay *relay)
{
    if (!relay->awake) {
        relay->awake = true;
        (void)pthread_cond_signal(&relay->changed);
    }
}

void saga_start_relay_note(struct saga_start_relay *relay, int64_t order_id)
{
    (void)pthread_mutex_lock(&relay->lock);
    fall_behind(relay, order_id);
    saga_start_wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

static struct saga_start_entry *entry_new(int64_t order_id, int64_t customer_id,
                                          const struct saga_order_line *lines, size_t line_count)
{
    struct saga_start_entry *entry = malloc(sizeof *entry + line_count * sizeof entry->lines[0]);
    if (entry != NULL) {
        entry->next = NULL;
        entry->order_id = order_id;
        entry->customer_id = customer_id;
        entry->line_count = line_count;
        memcpy(entry->lines, lines, line_count * sizeof lines[0]);
    }
    return entry;
}

void saga_start_relay_push(struct saga_start_relay *relay, int64_t order_id, int64_t customer_id,
                           const struct saga_order_line *lines, size_t line_count)
{
    struct saga_start_entry *entry = entry_new(order_id, customer_id, lines, line_count);
    (void)pthread_mutex_lock(&relay->lock);
    if (relay->behind || relay->queued == SAGA_ORDER_START_QUEUE_MAX || entry == NULL) {
        fall_behind(relay, order_id);
        free(entry);
    } else {
        *relay->last = entry;
        relay->last = &entry->next;
        relay->queued++;
        atomic_fetch_add_explicit(&relay->counts.waiting, 1, memory_order_relaxed);
    }
    saga_start_wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

/* Takes orders out of the queue into an empty batch. Pre: locked. */
static void batch_fill_from_queue(struct saga_start_relay *relay, struct saga_start_batch *batch)
{
    while (relay->first != NULL && batch->count < SAGA_BATCH_COUNT_MAX) {
        struct saga_start_entry *entry = relay->first;
        relay->first = entry->next;
        relay->queued--;
        batch->entries[batch->count] = entry;
        batch->verdicts[batch->count++] = SAGA_START_OPEN;
    }
    if (relay->first == NULL) {
        relay->last = &relay->first;
    }
}

/* ---- The table ---- */

/* Makes an entry of the present row; NULL when it makes none: *err says why. */
static struct saga_start_entry *entry_from_row(struct saga_sql_stmt *stmt, enum saga_err *err)
{
    struct saga_order_line lines[SAGA_ORDER_LINES_MAX];
    size_t line_count = 0;
    int64_t order_id = saga_sql_int(stmt, 0);
    if (!saga_order_items_read(saga_sql_text(stmt, 2), lines, &line_count)) {
        *err = SAGA_ERR_CORRUPT;
        return NULL;
    }
    struct saga_start_entry *entry = entry_new(order_id, saga_sql_int(stmt, 1), lines, line_count);
    if (entry == NULL) {
        *err = SAGA_ERR_NO_MEMORY;
    }
    return entry;
}

/* Reads the next orders of the table into an empty batch. *cursor moves to the last one. */
static enum saga_err batch_read(struct saga_start_relay *relay, struct saga_start_batch *batch,
                                int64_t *cursor, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt;
    enum saga_err err = saga_sql_prepare(
        relay->sql,
        "SELECT s.order_id, o.customer_id, o.items FROM start_outbox s JOIN orders o"
        " ON o.order_id = s.order_id WHERE s.order_id > ? ORDER BY s.order_id LIMIT ?",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(stmt, 1, *cursor);
    saga_sql_bind_int(stmt, 2, SAGA_BATCH_COUNT_MAX);
    for (;;) {
        bool row = false;
        err = saga_sql_step(stmt, &row, detail);
        if (err != SAGA_ERR_OK || !row) {
            return err;
        }
        struct saga_start_entry *entry = entry_from_row(stmt, &err);
        if (err == SAGA_ERR_CORRUPT) {
            /* One order that cannot be read must not hold up the others. */
            saga_log(SAGA_LOG_ERROR, "start_unreadable", "order_id=%" PRId64,
                     saga_sql_int(stmt, 0));
            *cursor = saga_sql_int(stmt, 0);
            err = SAGA_ERR_OK;
            continue;
        }
        if (entry == NULL) {
            saga_sql_reset(stmt);
            return batch->count > 0 ? SAGA_ERR_OK : err;
        }
        *cursor = entry->order_id;
        batch->entries[batch->count] = entry;
        batch->verdicts[batch->count++] = SAGA_START_OPEN;
        SAGA_ASSERT(batch->count <= SAGA_BATCH_COUNT_MAX);
    }
}

/* Fills an empty batch from the table. When the table holds no more, orders come from memory again.
 * Pre: locked; unlocks meanwhile. */
static void batch_fill_from_table(struct saga_start_relay *relay, struct saga_start_batch *batch)
{
    struct saga_err_detail detail = {.text = ""};
    int64_t cursor = relay->cursor;
    int64_t begun = cursor;
    relay->noted = false;
    (void)pthread_mutex_unlock(&relay->lock);
    enum saga_err err = batch_read(relay, batch, &cursor, &detail);
    (void)pthread_mutex_lock(&relay->lock);
    if (err != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_ERROR, "start_outbox_unreadable", "err=%s detail=\"%s\"",
                 saga_err_name(err), detail.text);
        relay->table_due_mono_us = saga_clock_mono_us() + SAGA_START_RETRY_US_MAX;
    }
    atomic_fetch_add_explicit(&relay->counts.waiting, (int64_t)batch->count, memory_order_relaxed);
    if (relay->cursor == begun) {
        relay->cursor = cursor;
    }
    /* Orders are committed in the order of their ids, so none before the cursor can still appear.
     */
    if (err == SAGA_ERR_OK && cursor == begun && relay->cursor == begun && !relay->noted) {
        relay->behind = false;
    }
}

/* ---- The thread ---- */

/* Fills and sends a free batch if there are orders for it. Pre: locked; unlocks meanwhile. */
static void batch_begin(struct saga_start_relay *relay, struct saga_start_batch *batch)
{
    batch->count = 0;
    batch->window = SAGA_BATCH_COUNT_MAX;
    batch->attempt = 0;
    batch->delay_us = SAGA_START_RETRY_US_MIN;
    if (relay->first != NULL) {
        batch_fill_from_queue(relay, batch);
    } else if (relay->behind && relay->table_due_mono_us <= saga_clock_mono_us()) {
        batch->state = SAGA_START_SAVING; /* ours while unlocked */
        batch_fill_from_table(relay, batch);
        batch->state = SAGA_START_FREE;
    }
    if (batch->count > 0) {
        saga_start_batch_send(relay, batch);
    }
}

/* Tells whether any batch waits to be sent, or any order to get into one. Pre: locked. */
static bool work_waits(const struct saga_start_relay *relay)
{
    if (relay->first != NULL || relay->behind) {
        return true;
    }
    for (size_t i = 0; i < SAGA_ORDER_START_BATCHES_MAX; i++) {
        if (relay->batches[i]->state == SAGA_START_RESTING) {
            return true;
        }
    }
    return false;
}

/* Looks at the connection; waits a little for one when there is work. Pre: locked; unlocks
 * meanwhile. */
static void connection_look(struct saga_start_relay *relay)
{
    (void)pthread_mutex_unlock(&relay->lock);
    bool connected = saga_rpc_client_connected(relay->client) ||
                     saga_rpc_client_wait(relay->client, CONNECT_WAIT_MS) == SAGA_ERR_OK;
    (void)pthread_mutex_lock(&relay->lock);
    if (connected && !relay->was_connected) {
        for (size_t i = 0; i < SAGA_ORDER_START_BATCHES_MAX; i++) {
            struct saga_start_batch *batch = relay->batches[i];
            if (batch->state == SAGA_START_RESTING) {
                batch->due_mono_us = 0;
                batch->delay_us = SAGA_START_RETRY_US_MIN;
            }
        }
    }
    relay->was_connected = connected;
}

/* Sleeps until something changes or a batch has rested. Pre: locked. */
static void relay_sleep(struct saga_start_relay *relay)
{
    /* With enough messages on their way there is nothing to send before a reply, which wakes the
     * thread. */
    bool may_send = relay->outstanding < SAGA_ORDER_START_OUTSTANDING_MAX;
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < SAGA_ORDER_START_BATCHES_MAX; i++) {
        const struct saga_start_batch *batch = relay->batches[i];
        int64_t batch_due = INT64_MAX;
        if (batch->state == SAGA_START_RESTING && (may_send || saga_start_batch_answered(batch))) {
            batch_due = batch->due_mono_us;
        } else if (batch->state == SAGA_START_FREE && may_send && relay->behind) {
            batch_due = relay->table_due_mono_us;
        }
        due = batch_due < due ? batch_due : due;
    }
    if (due == INT64_MAX) {
        (void)pthread_cond_wait(&relay->changed, &relay->lock);
        return;
    }
    struct timespec until = {.tv_sec = due / 1000000, .tv_nsec = due % 1000000 * 1000};
    (void)pthread_cond_timedwait(&relay->changed, &relay->lock, &until);
}

static void *relay_run(void *argument)
{
    struct saga_start_relay *relay = argument;
    (void)pthread_mutex_lock(&relay->lock);
    while (!relay->stopping) {
        relay->awake = true;
        if (work_waits(relay)) {
            connection_look(relay);
        }
        relay->awake = false; /* whatever changes from here on wakes the sleep below */
        for (size_t i = 0; i < SAGA_ORDER_START_BATCHES_MAX && !relay->stopping; i++) {
            struct saga_start_batch *batch = relay->batches[i];
            if (batch->state == SAGA_START_FREE) {
                if (relay->was_connected && relay->outstanding < SAGA_ORDER_START_OUTSTANDING_MAX) {
                    batch_begin(relay, batch);
                }
            } else {
                saga_start_batch_move(relay, batch);
            }
        }
        bool waits_for_connection = !relay->was_connected && work_waits(relay);
        if (!relay->awake && !relay->stopping && !waits_for_connection) {
            relay_sleep(relay);
        }
    }
    (void)pthread_mutex_unlock(&relay->lock);
    return NULL;
}

/* ---- Beginning and end ---- */

static void relay_release(struct saga_start_relay *relay)
{
    saga_rpc_client_free(relay->client);
    saga_sql_close(relay->sql);
    for (size_t i = 0; i < SAGA_ORDER_START_BATCHES_MAX; i++) {
        struct saga_start_batch *batch = relay->batches[i];
        if (batch == NULL) {
            continue;
        }
        for (size_t j = 0; j < batch->count; j++) {
            free(batch->entries[j]);
        }
        saga_buf_fini(&batch->reply);
        free(batch);
    }
    while (relay->first != NULL) {
        struct saga_start_entry *entry = relay->first;
        relay->first = entry->next;
        free(entry);
    }
    saga_buf_fini(&relay->message);
    saga_buf_fini(&relay->payload);
    saga_buf_fini(&relay->input);
    free(relay->definition);
    (void)pthread_cond_destroy(&relay->changed);
    (void)pthread_mutex_destroy(&relay->lock);
    free(relay);
}

/* Makes what the thread works with. */
static enum saga_err parts_new(struct saga_start_relay *relay,
                               const struct saga_start_relay_config *config,
                               struct saga_err_detail *detail)
{
    relay->definition = strdup(config->definition);
    if (relay->definition == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "start relay");
    }
    for (size_t i = 0; i < SAGA_ORDER_START_BATCHES_MAX; i++) {
        relay->batches[i] = calloc(1, sizeof *relay->batches[i]);
        if (relay->batches[i] == NULL) {
            return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "start relay");
        }
        relay->batches[i]->relay = relay;
    }
    enum saga_err err =
        saga_sql_open(config->database_path, SAGA_SQL_READ_ONLY, &relay->sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    const struct saga_rpc_client_config client = {
        .addresses = config->addresses,
        .address_count = config->address_count,
        .tls = config->tls,
    };
    return saga_rpc_client_start(&client, &relay->client, detail);
}

enum saga_err saga_start_relay_new(const struct saga_start_relay_config *config,
                                   struct saga_start_relay **relay_out,
                                   struct saga_err_detail *detail)
{
    struct saga_start_relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "start relay");
    }
    relay->last = &relay->first;
    relay->behind = true; /* what the last run left in the table */
    relay->kit = config->kit;
    relay->orders = config->orders;
    relay->complained_mono_us = INT64_MIN / 2;
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    /* saga_clock_mono_us is CLOCK_MONOTONIC. */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&relay->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&relay->lock, NULL);
    enum saga_err err = parts_new(relay, config, detail);
    if (err == SAGA_ERR_OK && pthread_create(&relay->thread, NULL, relay_run, relay) != 0) {
        err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "start relay: no thread");
    }
    if (err != SAGA_ERR_OK) {
        relay_release(relay);
        return saga_err_wrap(detail, err, "start relay");
    }
    relay->running = true;
    *relay_out = relay;
    return SAGA_ERR_OK;
}

bool saga_start_relay_connected(const struct saga_start_relay *relay)
{
    return saga_rpc_client_connected(relay->client);
}

const struct saga_start_counts *saga_start_relay_counts(const struct saga_start_relay *relay)
{
    return &relay->counts;
}

void saga_start_relay_stop(struct saga_start_relay *relay)
{
    if (!relay->running) {
        return;
    }
    (void)pthread_mutex_lock(&relay->lock);
    relay->stopping = true;
    saga_start_wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
    (void)pthread_join(relay->thread, NULL);
    relay->running = false;
    /* The connection itself is closed by free: health may still look at it. */
}

void saga_start_relay_free(struct saga_start_relay *relay)
{
    if (relay == NULL) {
        return;
    }
    SAGA_ASSERT(!relay->running);
    relay_release(relay);
}
