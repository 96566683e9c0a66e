/* A batch of starts on its way: sent, judged by its reply, saved, and sent again where it was not
 * answered. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "common/wire/envelope.h"
#include "order/v1/create_order.pb-c.h"
#include "saga/v1/orchestrator.pb-c.h"
#include "services/order/start_room.h"

enum {
    SEND_TIMEOUT_MS = 5 * 1000,
    COMPLAINT_US_MIN = 5 * 1000 * 1000, /* between two log lines about the same trouble */
};

static const char start_method[] = "saga.v1.OrchestratorService/StartSaga";

/* ---- Sending ---- */

/* Appends the command that starts one order's saga to the message. Returns false when there is no
 * memory, or no room. */
static bool command_add(struct saga_start_relay *relay, const struct saga_start_batch *batch,
                        const struct saga_start_entry *entry, int64_t deadline_unix_ms)
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
static void batch_rest(struct saga_start_batch *batch)
{
    batch->state = SAGA_START_RESTING;
    batch->due_mono_us = saga_clock_mono_us() + batch->delay_us;
    batch->delay_us = batch->delay_us * 2 > SAGA_START_RETRY_US_MAX ? SAGA_START_RETRY_US_MAX
                                                                    : batch->delay_us * 2;
}

/* Takes a reply, or its absence. Thread: the bus's, or the relay's. */
static void batch_replied(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct saga_start_batch *batch = user;
    struct saga_start_relay *relay = batch->relay;
    saga_buf_clear(&batch->reply);
    if (outcome == SAGA_RPC_REPLIED && saga_buf_append(&batch->reply, bytes) != SAGA_ERR_OK) {
        outcome = SAGA_RPC_NO_REPLY;
    }
    (void)pthread_mutex_lock(&relay->lock);
    batch->outcome = outcome;
    batch->state = SAGA_START_REPLIED;
    relay->outstanding--;
    saga_start_wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

/* Sends what is open in a batch, as far as its window and the message's size go. Pre: locked;
 * unlocks meanwhile. */
void saga_start_batch_send(struct saga_start_relay *relay, struct saga_start_batch *batch)
{
    batch->state = SAGA_START_SENDING;
    batch->attempt++;
    batch->sent = 0;
    relay->outstanding++;
    (void)pthread_mutex_unlock(&relay->lock);
    saga_buf_clear(&relay->message);
    int64_t deadline = saga_clock_unix_ms() + SEND_TIMEOUT_MS;
    for (size_t i = 0; i < batch->count && batch->sent < batch->window; i++) {
        if (batch->verdicts[i] == SAGA_START_OPEN) {
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
static void complain(struct saga_start_relay *relay, const struct saga_start_batch *batch,
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
static enum saga_start_verdict entry_judge(struct saga_start_relay *relay,
                                           const struct saga_start_entry *entry,
                                           const struct saga_reply *reply, struct saga_arena *arena,
                                           struct saga_id *saga_id)
{
    if (saga_code_class(reply->status.code) == SAGA_CODE_CLASS_REJECT) {
        saga_log(SAGA_LOG_ERROR, "start_refused",
                 "order_id=%" PRId64 " code=%s reason=%s msg=\"%s\"", entry->order_id,
                 saga_code_name(reply->status.code), reply->status.reason, reply->status.message);
        atomic_fetch_add_explicit(&relay->counts.refused, 1, memory_order_relaxed);
        return SAGA_START_REFUSED;
    }
    if (reply->status.code != SAGA_CODE_OK) {
        return SAGA_START_OPEN;
    }
    const Saga__V1__StartSagaResponse *response =
        (const Saga__V1__StartSagaResponse *)(const void *)saga_message_decode(
            &saga__v1__start_saga_response__descriptor, reply->payload, arena);
    if (response == NULL || response->saga_id.len != SAGA_ID_SIZE) {
        saga_log(SAGA_LOG_ERROR, "start_reply_malformed", "order_id=%" PRId64, entry->order_id);
        return SAGA_START_OPEN;
    }
    memcpy(saga_id->b, response->saga_id.data, SAGA_ID_SIZE);
    atomic_fetch_add_explicit(response->existing ? &relay->counts.existing : &relay->counts.started,
                              1, memory_order_relaxed);
    return SAGA_START_STARTED;
}

/* Judges a reply. Returns the number of orders that are answered now. */
static size_t batch_judge(struct saga_start_relay *relay, struct saga_start_batch *batch)
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
        if (batch->verdicts[at] != SAGA_START_OPEN) {
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
    struct saga_start_batch *batch = (struct saga_start_batch *)job;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i] == SAGA_START_STARTED) {
            saga_order_started(call, batch->entries[i]->order_id, batch->saga_ids[i]);
        } else if (batch->verdicts[i] == SAGA_START_REFUSED) {
            saga_order_start_refused(batch->relay->orders, call, batch->entries[i]->order_id);
        }
    }
}

static void batch_save_done(struct saga_kit_job *job, bool committed,
                            const struct saga_status *status)
{
    struct saga_start_batch *batch = (struct saga_start_batch *)job;
    struct saga_start_relay *relay = batch->relay;
    if (!committed) {
        saga_log(SAGA_LOG_WARN, "start_unsaved", "code=%s msg=\"%s\"", saga_code_name(status->code),
                 status->message);
    }
    (void)pthread_mutex_lock(&relay->lock);
    batch->committed = committed;
    batch->state = SAGA_START_SAVED;
    saga_start_wake(relay);
    (void)pthread_mutex_unlock(&relay->lock);
}

/* Hands what was answered to the kit. Pre: locked; unlocks meanwhile. */
static void batch_save(struct saga_start_relay *relay, struct saga_start_batch *batch)
{
    batch->state = SAGA_START_SAVING;
    batch->job = (struct saga_kit_job){.run = batch_save_run, .done = batch_save_done};
    (void)pthread_mutex_unlock(&relay->lock);
    enum saga_err err = saga_kit_submit(relay->kit, &batch->job);
    (void)pthread_mutex_lock(&relay->lock);
    if (err != SAGA_ERR_OK) {
        /* Full: later. Closed: the row stays in the table, and the orchestrator will say that it
         * exists. */
        batch->state = SAGA_START_SAVED;
        batch->committed = false;
    }
}

/* Forgets what was saved; gives the number of orders that are left. */
static size_t batch_compact(struct saga_start_relay *relay, struct saga_start_batch *batch)
{
    size_t left = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i] == SAGA_START_OPEN) {
            batch->entries[left] = batch->entries[i];
            batch->verdicts[left++] = SAGA_START_OPEN;
        } else {
            free(batch->entries[i]);
        }
    }
    atomic_fetch_sub_explicit(&relay->counts.waiting, (int64_t)(batch->count - left),
                              memory_order_relaxed);
    batch->count = left;
    return left;
}

bool saga_start_batch_answered(const struct saga_start_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i] != SAGA_START_OPEN) {
            return true;
        }
    }
    return false;
}

/* ---- The way ---- */

/* Moves one batch on as far as it goes without waiting. Pre: locked; unlocks meanwhile. */
void saga_start_batch_move(struct saga_start_relay *relay, struct saga_start_batch *batch)
{
    if (batch->state == SAGA_START_REPLIED) {
        batch->state = SAGA_START_SAVING;
        (void)pthread_mutex_unlock(&relay->lock);
        size_t answered = batch_judge(relay, batch);
        (void)pthread_mutex_lock(&relay->lock);
        if (answered > 0) {
            batch->delay_us = SAGA_START_RETRY_US_MIN;
            batch_save(relay, batch);
        } else {
            batch_rest(batch);
        }
    }
    if (batch->state == SAGA_START_SAVED) {
        if (!batch->committed) {
            batch_rest(batch);
        } else if (batch_compact(relay, batch) == 0) {
            batch->state = SAGA_START_FREE;
            relay->awake = true; /* look again: orders may wait for a free batch */
        } else {
            batch_rest(batch);
            if (batch->window == 1) {
                batch->due_mono_us = 0; /* one by one, but without resting in between */
            }
        }
    }
    if (batch->state == SAGA_START_RESTING && batch->due_mono_us <= saga_clock_mono_us()) {
        if (saga_start_batch_answered(batch)) {
            batch_save(relay, batch);
        } else if (relay->was_connected && relay->outstanding < SAGA_ORDER_START_OUTSTANDING_MAX) {
            saga_start_batch_send(relay, batch);
        }
    }
}
