/* The turn: one transaction, then sends, then answers (S6). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/runtime/internal.h"

void fail_runtime(struct saga_runtime *runtime, enum saga_err err, const char *what)
{
    if (!runtime->failed) {
        runtime->failed = true;
        runtime->failure_err = err;
        runtime->failure = runtime->detail;
        (void)saga_err_wrap(&runtime->failure, err, what);
    }
}

bool ensure_transaction(struct saga_runtime *runtime)
{
    if (!runtime->failed && !runtime->in_transaction) {
        enum saga_err err = runtime->store_ops->begin(runtime->store, &runtime->detail);
        if (err != SAGA_ERR_OK) {
            fail_runtime(runtime, err, "begin");
        } else {
            runtime->in_transaction = true;
        }
    }
    return !runtime->failed;
}

void queue_answer(struct saga_runtime *runtime, void *ticket, const struct saga_answer *answer)
{
    if (runtime->answer_count == runtime->answer_capacity) {
        size_t capacity = runtime->answer_capacity == 0 ? 64 : runtime->answer_capacity * 2;
        struct pending_answer *answers = realloc(runtime->answers, capacity * sizeof *answers);
        if (answers == NULL) {
            /* Nobody may be left without an answer: a process without memory for it must not go on.
             */
            SAGA_ASSERT(answers != NULL);
            return;
        }
        runtime->answers = answers;
        runtime->answer_capacity = capacity;
    }
    struct pending_answer *pending = &runtime->answers[runtime->answer_count++];
    pending->ticket = ticket;
    pending->answer = *answer;
    (void)snprintf(pending->reason, sizeof pending->reason, "%s", answer->reason);
    (void)snprintf(pending->message, sizeof pending->message, "%s", answer->message);
}

bool make_row(struct saga_runtime *runtime, const struct live *live, struct saga_row *row)
{
    struct saga_texts texts = live_texts(live);
    saga_buf_clear(&runtime->record);
    enum saga_err err = runtime->config.codec->encode_record(&live->saga, &texts, &runtime->record);
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "encode a record");
        return false;
    }
    *row = (struct saga_row){
        .id = live->saga.id,
        .definition_name = live->version->name,
        .start_key = live->start_key,
        .state = live->saga.state,
        .live = !saga_ended(&live->saga),
        .seq = live->saga.seq,
        .created_unix_ms = live->saga.created_unix_ms,
        .updated_unix_ms = live->updated_unix_ms,
        .ended_unix_ms = live->saga.ended_unix_ms,
        .record = saga_buf_view(&runtime->record),
        .context = saga_buf_view(&live->context),
    };
    memcpy(row->definition_hash, live->version->hash, SAGA_DIGEST_SIZE);
    memcpy(row->start_digest, live->start_digest, SAGA_DIGEST_SIZE);
    memcpy(row->last_hash, live->last_hash, SAGA_DIGEST_SIZE);
    return true;
}

void saga_runtime_turn_begin(struct saga_runtime *runtime, int64_t now_unix_ms)
{
    SAGA_ASSERT(!runtime->in_turn);
    SAGA_ASSERT(runtime->dirty == NULL && runtime->answer_count == 0 && runtime->send_count == 0);
    runtime->in_turn = true;
    note_clock(runtime, now_unix_ms);
    runtime->now_unix_ms = now_unix_ms;
}

static void note_pending(struct saga_runtime *runtime)
{
    if (runtime->pending_since_unix_ms == 0) {
        runtime->pending_since_unix_ms = runtime->now_unix_ms;
    }
}

void saga_runtime_cursor(struct saga_runtime *runtime, const char *name, int64_t position)
{
    SAGA_ASSERT(runtime->in_turn);
    for (size_t i = 0; i < CURSORS_MAX; i++) {
        struct cursor *cursor = &runtime->cursors[i];
        if (cursor->name != NULL && strcmp(cursor->name, name) == 0) {
            cursor->position = position;
            cursor->pending = true;
            note_pending(runtime);
            return;
        }
    }
    SAGA_ASSERT(!"a cursor that nobody knows");
}

/* Writes an offset into the turn's transaction. */
static void write_offset(struct saga_runtime *runtime, const char *topic, int32_t partition,
                         int64_t next)
{
    if (ensure_transaction(runtime)) {
        enum saga_err err = runtime->store_ops->set_offset(runtime->store, topic, partition, next,
                                                           &runtime->detail);
        if (err != SAGA_ERR_OK) {
            fail_runtime(runtime, err, "set an offset");
        }
        note_pending(runtime);
    }
}

void saga_runtime_offset(struct saga_runtime *runtime, const char *topic, int32_t partition,
                         int64_t next_offset)
{
    SAGA_ASSERT(runtime->in_turn);
    struct offset *offset = NULL;
    for (size_t i = 0; i < runtime->offset_count && offset == NULL; i++) {
        if (runtime->offsets[i].partition == partition &&
            strcmp(runtime->offsets[i].topic, topic) == 0) {
            offset = &runtime->offsets[i];
        }
    }
    if (offset == NULL && runtime->offset_count == OFFSETS_MAX) {
        write_offset(runtime, topic, partition,
                     next_offset); /* more partitions than are worth gathering */
        return;
    }
    if (offset == NULL) {
        offset = &runtime->offsets[runtime->offset_count++];
        offset->partition = partition;
        (void)snprintf(offset->topic, sizeof offset->topic, "%s", topic);
    }
    offset->next = next_offset;
    offset->pending = true;
    note_pending(runtime);
}

static void fire_timers(struct saga_runtime *runtime)
{
    for (int i = 0; i < SAGA_TURN_COUNT_MAX && !runtime->failed; i++) {
        struct live *live = live_table_first(&runtime->table);
        if (live == NULL || live->due_unix_ms > runtime->now_unix_ms) {
            return;
        }
        struct happening happening = {.ev = {.kind = SAGA_EVENT_TIMER}};
        apply_event(runtime, live, &happening);
        SAGA_ASSERT(runtime->failed || runtime->update.verdict == SAGA_VERDICT_TAKEN);
    }
}

static enum saga_err write_rows(struct saga_runtime *runtime)
{
    for (struct live *live = runtime->dirty; live != NULL; live = live->dirty_next) {
        struct saga_row row;
        if (live->recorded) {
            continue;
        }
        if (!make_row(runtime, live, &row)) {
            return SAGA_ERR_INTERNAL;
        }
        enum saga_err err = runtime->store_ops->update_saga(runtime->store, &row, &runtime->detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        live->recorded = true;
    }
    return SAGA_ERR_OK;
}

static enum saga_err write_pending(struct saga_runtime *runtime)
{
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < CURSORS_MAX && err == SAGA_ERR_OK; i++) {
        struct cursor *cursor = &runtime->cursors[i];
        if (cursor->pending) {
            err = runtime->store_ops->set_cursor(runtime->store, cursor->name, cursor->position,
                                                 &runtime->detail);
            cursor->pending = false;
        }
    }
    for (size_t i = 0; i < runtime->offset_count && err == SAGA_ERR_OK; i++) {
        struct offset *offset = &runtime->offsets[i];
        if (offset->pending) {
            err = runtime->store_ops->set_offset(runtime->store, offset->topic, offset->partition,
                                                 offset->next, &runtime->detail);
            offset->pending = false;
        }
    }
    runtime->pending_since_unix_ms = 0;
    return err;
}

static bool pending_is_old(const struct saga_runtime *runtime)
{
    int64_t age_ms = runtime->now_unix_ms - runtime->pending_since_unix_ms;
    bool rewound = age_ms < 0; /* the clock has gone back: nobody knows how old */
    return runtime->pending_since_unix_ms != 0 &&
           (rewound || age_ms >= runtime->config.cursor_delay_ms);
}

static void commit(struct saga_runtime *runtime, bool force)
{
    bool pending = runtime->pending_since_unix_ms != 0;
    if (pending && (force || pending_is_old(runtime))) {
        (void)ensure_transaction(runtime);
    }
    if (!runtime->in_transaction) {
        return;
    }
    bool writes = runtime->dirty != NULL || runtime->audit_written || runtime->forgotten || pending;
    if (!runtime->failed && writes) {
        enum saga_err err = write_rows(runtime);
        if (err == SAGA_ERR_OK) {
            err = write_pending(runtime);
        }
        if (err == SAGA_ERR_OK) {
            err = runtime->store_ops->commit(runtime->store, &runtime->detail);
        }
        if (err != SAGA_ERR_OK) {
            fail_runtime(runtime, err, "commit");
        } else {
            runtime->counts.commits += 1;
        }
    }
    if (runtime->failed || !writes) {
        runtime->store_ops->rollback(runtime->store);
    }
    runtime->in_transaction = false;
}

static void send_all(struct saga_runtime *runtime)
{
    const struct saga_transport_port *transport = &runtime->config.transport;
    for (size_t i = 0; i < runtime->send_count; i++) {
        const struct pending_send *send = &runtime->sends[i];
        struct saga_bytes element = {runtime->elements.data + send->offset, send->size};
        transport->ops->send(transport->transport, &send->outgoing, element);
    }
    transport->ops->flush(transport->transport);
    if (runtime->outbox_written || runtime->audit_written) {
        transport->ops->committed(transport->transport, runtime->outbox_written,
                                  runtime->audit_written);
    }
}

/* When the turn failed, nobody is told anything but that: refusals too may rest on what was never
 * committed. */
static void answer_all(struct saga_runtime *runtime)
{
    const struct saga_client_port *client = &runtime->config.client;
    for (size_t i = 0; i < runtime->answer_count; i++) {
        struct pending_answer *pending = &runtime->answers[i];
        pending->answer.reason = pending->reason;
        pending->answer.message = pending->message;
        if (runtime->failed && !SAGA_BROKEN(S6_ACK_FAILED)) {
            bool fenced = runtime->failure_err == SAGA_ERR_FENCED;
            pending->answer = (struct saga_answer){
                .code = SAGA_CODE_UNAVAILABLE,
                .reason = fenced ? "FENCED" : "STORE_FAILED",
                .message = fenced ? FENCED_TEXT : STORE_FAILED_TEXT,
            };
        }
        client->ops->answer(client->client, pending->ticket, &pending->answer);
    }
}

static void leave_dirty(struct saga_runtime *runtime)
{
    const struct saga_client_port *client = &runtime->config.client;
    while (runtime->dirty != NULL) {
        struct live *live = runtime->dirty;
        runtime->dirty = live->dirty_next;
        live->dirty_next = NULL;
        live->dirty = false;
        if (runtime->failed) {
            continue;
        }
        bool ended = saga_ended(&live->saga);
        client->ops->changed(client->client, live->saga.id, (enum saga_state)live->saga.state,
                             live->saga.seq, ended);
        if (ended) {
            struct known_version *known = &runtime->versions[live->version_index];
            known->live -= 1;
            runtime->idle_versions |= known->live == 0 && !known->current;
            live_table_take(&runtime->table, live);
            live_free(live);
        }
    }
}

enum saga_err saga_runtime_turn_end(struct saga_runtime *runtime, bool force_cursors,
                                    struct saga_err_detail *detail)
{
    SAGA_ASSERT(runtime->in_turn);
    resume_pages(runtime);
    rewind_page(runtime);
    fire_timers(runtime);
    settle_children(runtime);
    if (runtime->send_count > 0 && SAGA_BROKEN(S6_SEND_FIRST)) {
        send_all(runtime);
        runtime->send_count = 0;
    }
    if (runtime->answer_count > 0 && SAGA_BROKEN(S6_ACK_FIRST)) {
        answer_all(runtime);
        runtime->answer_count = 0;
    }
    commit(runtime, force_cursors);
    SAGA_ASSERT(!runtime->in_transaction);
    if (!runtime->failed || SAGA_BROKEN(S6_SEND_FAILED)) {
        send_all(runtime); /* S6: what is sent is durable */
    }
    answer_all(runtime);
    leave_dirty(runtime);
    runtime->send_count = 0;
    runtime->answer_count = 0;
    runtime->outbox_written = false;
    runtime->audit_written = false;
    runtime->forgotten = false;
    saga_buf_clear(&runtime->elements);
    runtime->counts.turns += 1;
    runtime->in_turn = false;
    if (runtime->failed) {
        if (detail != NULL) {
            *detail = runtime->failure;
        }
        return runtime->failure_err;
    }
    return SAGA_ERR_OK;
}

int64_t saga_runtime_next_due(const struct saga_runtime *runtime)
{
    const struct live *first = live_table_first(&runtime->table);
    int64_t due = first == NULL ? 0 : first->due_unix_ms;
    if (runtime->pending_since_unix_ms != 0) {
        int64_t pending_due = runtime->pending_since_unix_ms + runtime->config.cursor_delay_ms;
        due = due == 0 || pending_due < due ? pending_due : due;
    }
    if (is_resuming(runtime) || runtime->rewinding) {
        due = runtime->now_unix_ms; /* at once */
    }
    return runtime->failed ? 0 : due;
}
