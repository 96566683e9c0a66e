#include "services/order/start_relay.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "common/wire/envelope.h"
#include "order/v1/create_order.pb-c.h"
#include "saga/v1/orchestrator.pb-c.h"
#include "services/order/order_json.h"

enum {
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 1000 * 1000,
    SEND_TIMEOUT_MS = 5 * 1000,
    CONNECT_WAIT_MS = 50, /* how long the thread looks away while there is no connection */
    COMPLAINT_US_MIN = 5 * 1000 * 1000, /* between two log lines about the same trouble */
};

static const char start_method[] = "saga.v1.OrchestratorService/StartSaga";

/* One order whose start is not answered yet. */
struct entry {
    struct entry *next;
    int64_t order_id;
    int64_t customer_id;
    size_t line_count;
    struct saga_order_line lines[];
};

enum verdict {
    VERDICT_OPEN, /* to be sent (again) */
    VERDICT_STARTED,
    VERDICT_REFUSED,
};

enum batch_state {
    BATCH_FREE,
    BATCH_RESTING, /* until due_mono_us */
    BATCH_SENDING, /* the bus has it */
    BATCH_REPLIED, /* reply is there, or it is known that none will come */
    BATCH_SAVING,  /* the kit has its job */
    BATCH_SAVED,   /* the job has ended */
};

/* Orders that are sent in one message. state is under the relay's lock; the rest belongs to whoever
 * the state says. */
struct batch {
    struct saga_kit_job job; /* first: the job finds its batch */
    struct saga_start_relay *relay;
    enum batch_state state;
    size_t count;
    size_t window; /* how many of the open ones are sent at once: 1 after the whole message was
                      refused */
    size_t sent;   /* of this attempt: entries[sent_at[0..sent-1]] */
    uint32_t attempt;
    int64_t delay_us;
    int64_t due_mono_us;
    bool committed;
    enum saga_rpc_outcome outcome;
    struct saga_buf reply;
    struct entry *entries[SAGA_BATCH_COUNT_MAX];
    uint16_t sent_at[SAGA_BATCH_COUNT_MAX];
    enum verdict verdicts[SAGA_BATCH_COUNT_MAX];
    struct saga_id saga_ids[SAGA_BATCH_COUNT_MAX];
};

struct saga_start_relay {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running;
    bool stopping;
    bool awake; /* the thread will look at everything again before it sleeps: no signal is needed */

    /* Fresh orders, under the lock. */
    struct entry *first;
    struct entry **last;
    size_t queued;

    /* The table, under the lock: while `behind`, orders come from it alone, those after `cursor`.
     */
    bool behind;
    bool noted; /* an order was saved since the last look into the table */
    int64_t cursor;
    int64_t cursor_from;       /* where this walk through the table began */
    int64_t table_due_mono_us; /* not before: the table could not be read */

    struct batch *batches[SAGA_ORDER_START_BATCHES_MAX];
    size_t outstanding; /* batches SENDING, under the lock */

    /* The thread's own. */
    struct saga_rpc_client *client;
    struct saga_sql *sql;
    struct saga_buf message;
    struct saga_buf payload;
    struct saga_buf input;
    bool was_connected;
    int64_t complained_mono_us;

    char *definition;
    struct saga_kit *kit;
    struct saga_orders *orders;
    struct saga_start_counts counts;
};

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
static void wake(struct saga_start_relay *relay)
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
    wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

static struct entry *entry_new(int64_t order_id, int64_t customer_id,
                               const struct saga_order_line *lines, size_t line_count)
{
    struct entry *entry = malloc(sizeof *entry + line_count * sizeof entry->lines[0]);
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
    struct entry *entry = entry_new(order_id, customer_id, lines, line_count);
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
    wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

/* Takes orders out of the queue into an empty batch. Pre: locked. */
static void batch_fill_from_queue(struct saga_start_relay *relay, struct batch *batch)
{
    while (relay->first != NULL && batch->count < SAGA_BATCH_COUNT_MAX) {
        struct entry *entry = relay->first;
        relay->first = entry->next;
        relay->queued--;
        batch->entries[batch->count] = entry;
        batch->verdicts[batch->count++] = VERDICT_OPEN;
    }
    if (relay->first == NULL) {
        relay->last = &relay->first;
    }
}

/* ---- The table ---- */

/* Makes an entry of the present row; NULL when it makes none: *err says why. */
static struct entry *entry_from_row(struct saga_sql_stmt *stmt, enum saga_err *err)
{
    struct saga_order_line lines[SAGA_ORDER_LINES_MAX];
    size_t line_count = 0;
    int64_t order_id = saga_sql_int(stmt, 0);
    if (!saga_order_items_read(saga_sql_text(stmt, 2), lines, &line_count)) {
        *err = SAGA_ERR_CORRUPT;
        return NULL;
    }
    struct entry *entry = entry_new(order_id, saga_sql_int(stmt, 1), lines, line_count);
    if (entry == NULL) {
        *err = SAGA_ERR_NO_MEMORY;
    }
    return entry;
}

/* Reads the next orders of the table into an empty batch. *cursor moves to the last one. */
static enum saga_err batch_read(struct saga_start_relay *relay, struct batch *batch,
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
        struct entry *entry = entry_from_row(stmt, &err);
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
        batch->verdicts[batch->count++] = VERDICT_OPEN;
        SAGA_ASSERT(batch->count <= SAGA_BATCH_COUNT_MAX);
    }
}

/* Fills an empty batch from the table. When the table holds no more, orders come from memory again.
 * Pre: locked; unlocks meanwhile. */
static void batch_fill_from_table(struct saga_start_relay *relay, struct batch *batch)
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
        relay->table_due_mono_us = saga_clock_mono_us() + RETRY_US_MAX;
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

/* ---- Sending ---- */

/* Appends the command that starts one order's saga to the message. Returns false when there is no
 * memory, or no room. */
static bool command_add(struct saga_start_relay *relay, const struct batch *batch,
                        const struct entry *entry, int64_t deadline_unix_ms)
{
    Order__V1__OrderItem items[SAGA_ORDER_LINES_MAX];
    Order__V1__OrderItem *item_list[SAGA_ORDER_LINES_MAX];
    for (size_t i = 0; i < entry->line_count; i++) {
        order__v1__order_item__init(&items[i]);
        items[i].product_id = entry->lines[i].product_id;
        items[i].quantity = entry->lines[i].quantity;
        item_list[i] = &items[i];
    }
    /* Every saga that can be named by --saga begins with these three fields. */
    Order__V1__CreateOrder context = ORDER__V1__CREATE_ORDER__INIT;
    context.order_id = entry->order_id;
    context.customer_id = entry->customer_id;
    context.n_items = entry->line_count;
    context.items = item_list;
    saga_buf_clear(&relay->input);
    if (saga_message_encode(&context.base, &relay->input) != SAGA_ERR_OK) {
        return false;
    }
    char key[24];
    (void)snprintf(key, sizeof key, "%" PRId64, entry->order_id);
    Saga__V1__StartSagaRequest request = SAGA__V1__START_SAGA_REQUEST__INIT;
    request.definition = relay->definition;
    request.key = key;
    request.input.data = relay->input.data;
    request.input.len = relay->input.size;
    saga_buf_clear(&relay->payload);
    if (saga_message_encode(&request.base, &relay->payload) != SAGA_ERR_OK) {
        return false;
    }
    const struct saga_command command = {
        .step = "",
        .op = SAGA_OP_NONE,
        .method = start_method,
        .payload = saga_buf_view(&relay->payload),
        .attempt = batch->attempt,
        .deadline_unix_ms = deadline_unix_ms,
        .traceparent = "",
        .cause_step = "",
        .cause_status = saga_status_ok(),
    };
    return relay->message.size + saga_command_size_bound(&command) <= SAGA_MESSAGE_SIZE_MAX &&
           saga_command_batch_add(&command, &relay->message) == SAGA_ERR_OK;
}

/* Lets a batch rest before it is tried again. Pre: locked. */
static void batch_rest(struct batch *batch)
{
    batch->state = BATCH_RESTING;
    batch->due_mono_us = saga_clock_mono_us() + batch->delay_us;
    batch->delay_us = batch->delay_us * 2 > RETRY_US_MAX ? RETRY_US_MAX : batch->delay_us * 2;
}

/* Takes a reply, or its absence. Thread: the bus's, or the relay's. */
static void batch_replied(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct batch *batch = user;
    struct saga_start_relay *relay = batch->relay;
    saga_buf_clear(&batch->reply);
    if (outcome == SAGA_RPC_REPLIED && saga_buf_append(&batch->reply, bytes) != SAGA_ERR_OK) {
        outcome = SAGA_RPC_NO_REPLY;
    }
    (void)pthread_mutex_lock(&relay->lock);
    batch->outcome = outcome;
    batch->state = BATCH_REPLIED;
    relay->outstanding--;
    wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

/* Sends what is open in a batch, as far as its window and the message's size go. Pre: locked;
 * unlocks meanwhile. */
static void batch_send(struct saga_start_relay *relay, struct batch *batch)
{
    batch->state = BATCH_SENDING;
    batch->attempt++;
    batch->sent = 0;
    relay->outstanding++;
    (void)pthread_mutex_unlock(&relay->lock);
    saga_buf_clear(&relay->message);
    int64_t deadline = saga_clock_unix_ms() + SEND_TIMEOUT_MS;
    for (size_t i = 0; i < batch->count && batch->sent < batch->window; i++) {
        if (batch->verdicts[i] == VERDICT_OPEN) {
            if (!command_add(relay, batch, batch->entries[i], deadline)) {
                break;
            }
            batch->sent_at[batch->sent++] = (uint16_t)i;
        }
    }
    if (batch->attempt > 1) {
        atomic_fetch_add_explicit(&relay->counts.retried, (int64_t)batch->sent,
                                  memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&relay->counts.batches, 1, memory_order_relaxed);
    enum saga_err err = batch->sent == 0
                            ? SAGA_ERR_NO_MEMORY
                            : saga_rpc_client_send(relay->client, saga_buf_view(&relay->message),
                                                   SEND_TIMEOUT_MS, batch_replied, batch);
    if (err != SAGA_ERR_OK) {
        batch_replied(batch, SAGA_RPC_NOT_SENT, (struct saga_bytes){0});
    }
    (void)pthread_mutex_lock(&relay->lock);
}

/* ---- Replies ---- */

/* Writes a log line about starts that fail, not for every one of them. */
static void complain(struct saga_start_relay *relay, const struct batch *batch,
                     const struct saga_status *status)
{
    int64_t now = saga_clock_mono_us();
    if (now - relay->complained_mono_us < COMPLAINT_US_MIN) {
        return;
    }
    relay->complained_mono_us = now;
    saga_log(SAGA_LOG_WARN, "start_retried",
             "orders=%zu attempt=%" PRIu32 " code=%s reason=%s msg=\"%s\"", batch->sent,
             batch->attempt, saga_code_name(status->code), status->reason, status->message);
}

/* Judges the reply for one order. */
static enum verdict entry_judge(struct saga_start_relay *relay, const struct entry *entry,
                                const struct saga_reply *reply, struct saga_arena *arena,
                                struct saga_id *saga_id)
{
    if (saga_code_class(reply->status.code) == SAGA_CODE_CLASS_REJECT) {
        saga_log(SAGA_LOG_ERROR, "start_refused",
                 "order_id=%" PRId64 " code=%s reason=%s msg=\"%s\"", entry->order_id,
                 saga_code_name(reply->status.code), reply->status.reason, reply->status.message);
        atomic_fetch_add_explicit(&relay->counts.refused, 1, memory_order_relaxed);
        return VERDICT_REFUSED;
    }
    if (reply->status.code != SAGA_CODE_OK) {
        return VERDICT_OPEN;
    }
    const Saga__V1__StartSagaResponse *response =
        (const Saga__V1__StartSagaResponse *)(const void *)saga_message_decode(
            &saga__v1__start_saga_response__descriptor, reply->payload, arena);
    if (response == NULL || response->saga_id.len != SAGA_ID_SIZE) {
        saga_log(SAGA_LOG_ERROR, "start_reply_malformed", "order_id=%" PRId64, entry->order_id);
        return VERDICT_OPEN;
    }
    memcpy(saga_id->b, response->saga_id.data, SAGA_ID_SIZE);
    atomic_fetch_add_explicit(response->existing ? &relay->counts.existing : &relay->counts.started,
                              1, memory_order_relaxed);
    return VERDICT_STARTED;
}

/* Judges a reply. Returns the number of orders that are answered now. */
static size_t batch_judge(struct saga_start_relay *relay, struct batch *batch)
{
    struct saga_arena arena = {0};
    struct saga_reply *replies = NULL;
    struct saga_status status = saga_status_make(SAGA_CODE_UNAVAILABLE, "", "no reply");
    size_t count = 0;
    size_t answered = 0;
    if (batch->outcome == SAGA_RPC_REPLIED) {
        enum saga_err err = saga_reply_batch_decode(saga_buf_view(&batch->reply), &arena, &replies,
                                                    &count, &status);
        if (err == SAGA_ERR_OK && count != batch->sent) {
            /* The message was refused as a whole. One order alone gets a status that is meant for
             * it. */
            status = count == 1
                         ? replies[0].status
                         : saga_status_make(SAGA_CODE_INTERNAL, "", "wrong number of replies");
            batch->window = 1;
            count = 0;
        } else if (err != SAGA_ERR_OK) {
            count = 0;
        }
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = batch->sent_at[i];
        batch->verdicts[at] =
            entry_judge(relay, batch->entries[at], &replies[i], &arena, &batch->saga_ids[at]);
        if (batch->verdicts[at] != VERDICT_OPEN) {
            answered++;
        } else {
            status = replies[i].status;
        }
    }
    if (answered < batch->sent && batch->outcome != SAGA_RPC_NOT_SENT) {
        complain(relay, batch, &status);
    }
    saga_arena_fini(&arena);
    return answered;
}

/* ---- Saving ---- */

static void batch_save_run(struct saga_kit_job *job, struct saga_call *call)
{
    struct batch *batch = (struct batch *)job;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i] == VERDICT_STARTED) {
            saga_order_started(call, batch->entries[i]->order_id, batch->saga_ids[i]);
        } else if (batch->verdicts[i] == VERDICT_REFUSED) {
            saga_order_start_refused(batch->relay->orders, call, batch->entries[i]->order_id);
        }
    }
}

static void batch_save_done(struct saga_kit_job *job, bool committed,
                            const struct saga_status *status)
{
    struct batch *batch = (struct batch *)job;
    struct saga_start_relay *relay = batch->relay;
    if (!committed) {
        saga_log(SAGA_LOG_WARN, "start_unsaved", "code=%s msg=\"%s\"", saga_code_name(status->code),
                 status->message);
    }
    (void)pthread_mutex_lock(&relay->lock);
    batch->committed = committed;
    batch->state = BATCH_SAVED;
    wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

/* Hands what was answered to the kit. Pre: locked; unlocks meanwhile. */
static void batch_save(struct saga_start_relay *relay, struct batch *batch)
{
    batch->state = BATCH_SAVING;
    batch->job = (struct saga_kit_job){.run = batch_save_run, .done = batch_save_done};
    (void)pthread_mutex_unlock(&relay->lock);
    enum saga_err err = saga_kit_submit(relay->kit, &batch->job);
    (void)pthread_mutex_lock(&relay->lock);
    if (err != SAGA_ERR_OK) {
        /* Full: later. Closed: the row stays in the table, and the orchestrator will say that it
         * exists. */
        batch->state = BATCH_SAVED;
        batch->committed = false;
    }
}

/* Forgets what was saved; gives the number of orders that are left. */
static size_t batch_compact(struct saga_start_relay *relay, struct batch *batch)
{
    size_t left = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i] == VERDICT_OPEN) {
            batch->entries[left] = batch->entries[i];
            batch->verdicts[left++] = VERDICT_OPEN;
        } else {
            free(batch->entries[i]);
        }
    }
    atomic_fetch_sub_explicit(&relay->counts.waiting, (int64_t)(batch->count - left),
                              memory_order_relaxed);
    batch->count = left;
    return left;
}

static bool batch_answered(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i] != VERDICT_OPEN) {
            return true;
        }
    }
    return false;
}

/* ---- The thread ---- */

/* Moves one batch on as far as it goes without waiting. Pre: locked; unlocks meanwhile. */
static void batch_move(struct saga_start_relay *relay, struct batch *batch)
{
    if (batch->state == BATCH_REPLIED) {
        batch->state = BATCH_SAVING;
        (void)pthread_mutex_unlock(&relay->lock);
        size_t answered = batch_judge(relay, batch);
        (void)pthread_mutex_lock(&relay->lock);
        if (answered > 0) {
            batch->delay_us = RETRY_US_MIN;
            batch_save(relay, batch);
        } else {
            batch_rest(batch);
        }
    }
    if (batch->state == BATCH_SAVED) {
        if (!batch->committed) {
            batch_rest(batch);
        } else if (batch_compact(relay, batch) == 0) {
            batch->state = BATCH_FREE;
            relay->awake = true; /* look again: orders may wait for a free batch */
        } else {
            batch_rest(batch);
            if (batch->window == 1) {
                batch->due_mono_us = 0; /* one by one, but without resting in between */
            }
        }
    }
    if (batch->state == BATCH_RESTING && batch->due_mono_us <= saga_clock_mono_us()) {
        if (batch_answered(batch)) {
            batch_save(relay, batch);
        } else if (relay->was_connected && relay->outstanding < SAGA_ORDER_START_OUTSTANDING_MAX) {
            batch_send(relay, batch);
        }
    }
}

/* Fills and sends a free batch if there are orders for it. Pre: locked; unlocks meanwhile. */
static void batch_begin(struct saga_start_relay *relay, struct batch *batch)
{
    batch->count = 0;
    batch->window = SAGA_BATCH_COUNT_MAX;
    batch->attempt = 0;
    batch->delay_us = RETRY_US_MIN;
    if (relay->first != NULL) {
        batch_fill_from_queue(relay, batch);
    } else if (relay->behind && relay->table_due_mono_us <= saga_clock_mono_us()) {
        batch->state = BATCH_SAVING; /* ours while unlocked */
        batch_fill_from_table(relay, batch);
        batch->state = BATCH_FREE;
    }
    if (batch->count > 0) {
        batch_send(relay, batch);
    }
}

/* Tells whether any batch waits to be sent, or any order to get into one. Pre: locked. */
static bool work_waits(const struct saga_start_relay *relay)
{
    if (relay->first != NULL || relay->behind) {
        return true;
    }
    for (size_t i = 0; i < SAGA_ORDER_START_BATCHES_MAX; i++) {
        if (relay->batches[i]->state == BATCH_RESTING) {
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
            struct batch *batch = relay->batches[i];
            if (batch->state == BATCH_RESTING) {
                batch->due_mono_us = 0;
                batch->delay_us = RETRY_US_MIN;
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
        const struct batch *batch = relay->batches[i];
        int64_t batch_due = INT64_MAX;
        if (batch->state == BATCH_RESTING && (may_send || batch_answered(batch))) {
            batch_due = batch->due_mono_us;
        } else if (batch->state == BATCH_FREE && may_send && relay->behind) {
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
            struct batch *batch = relay->batches[i];
            if (batch->state == BATCH_FREE) {
                if (relay->was_connected && relay->outstanding < SAGA_ORDER_START_OUTSTANDING_MAX) {
                    batch_begin(relay, batch);
                }
            } else {
                batch_move(relay, batch);
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
        struct batch *batch = relay->batches[i];
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
        struct entry *entry = relay->first;
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
    relay->complained_mono_us = -COMPLAINT_US_MIN;
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
    wake(relay);
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
