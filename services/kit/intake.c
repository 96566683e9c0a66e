/* The doors: NNG requests and Kafka records become entries of the inbox. Threads: NNG's and the
 * consumer's; they copy and queue, no more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/sys/log.h"
#include "services/kit/room.h"

enum { RETRY_AFTER_MS = 50 };

/* ---- Requests ---- */

/* Builds the refusal of every command of a batch; one reply if it cannot be decoded. */
static enum saga_err refuse_each(struct saga_bytes bytes, struct saga_status status,
                                 struct saga_buf *out)
{
    struct saga_arena arena = {0};
    struct saga_command *commands = NULL;
    size_t count = 0;
    struct saga_status wrong = saga_status_ok();
    enum saga_err err = saga_command_batch_decode(bytes, &arena, &commands, &count, &wrong);
    if (err != SAGA_ERR_OK) {
        struct saga_reply reply = {.step = "", .status = wrong};
        err = saga_kit_reply_add(&reply, false, out);
    }
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        struct saga_reply reply = saga_kit_reply_to(&commands[i], status);
        err = saga_kit_reply_add(&reply, false, out);
    }
    saga_arena_fini(&arena);
    return err;
}

static void refuse_request(struct saga_rpc_request *request, struct saga_status status)
{
    struct saga_buf out = {0};
    if (refuse_each(saga_rpc_request_bytes(request), status, &out) == SAGA_ERR_OK) {
        saga_rpc_request_answer(request, saga_buf_view(&out));
    } else {
        saga_rpc_request_drop(request); /* no memory: the caller's deadline tells it */
    }
    saga_buf_fini(&out);
}

void saga_kit_request_refuse(struct saga_kit_entry *entry, struct saga_status status)
{
    refuse_request(entry->request, status);
    saga_buf_fini(&entry->replies);
    free(entry);
}

static struct saga_status full_status(enum saga_err err)
{
    struct saga_status status =
        err == SAGA_ERR_CLOSED
            ? saga_status_make(SAGA_CODE_UNAVAILABLE, "STOPPING", "the daemon is stopping")
            : saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "INBOX_FULL",
                               "the inbox is full (SAGA_INBOX_COUNT_MAX)");
    status.retry_after_ms = RETRY_AFTER_MS;
    return status;
}

void saga_kit_request_received(void *context, struct saga_rpc_request *request)
{
    struct saga_kit *kit = context;
    /* Oversized: the decoder refuses it by its size alone, and names the limit. It need not take a
     * place in the queue. */
    enum saga_err err = SAGA_ERR_LIMIT;
    struct saga_kit_entry *entry = NULL;
    if (saga_rpc_request_bytes(request).size <= SAGA_MESSAGE_SIZE_MAX) {
        entry = calloc(1, sizeof *entry);
        err = SAGA_ERR_NO_MEMORY;
    }
    if (entry != NULL) {
        entry->kind = SAGA_KIT_ENTRY_REQUEST;
        entry->request = request;
        err = saga_inbox_put(kit->inbox, &entry->link, SAGA_INBOX_REFUSE);
    }
    if (err != SAGA_ERR_OK) {
        free(entry);
        atomic_fetch_add_explicit(&kit->counters.refused, 1, memory_order_relaxed);
        refuse_request(request, full_status(err));
    }
}

/* ---- Records ---- */

static void *put(uint8_t **at, struct saga_bytes bytes)
{
    uint8_t *start = *at;
    if (bytes.size > 0) {
        memcpy(start, bytes.data, bytes.size);
    }
    start[bytes.size] = 0;
    *at += bytes.size + 1;
    return start;
}

static struct saga_bytes put_bytes(uint8_t **at, struct saga_bytes bytes)
{
    return (struct saga_bytes){.data = put(at, bytes), .size = bytes.size};
}

static size_t record_size(const struct saga_kafka_record *record)
{
    size_t size =
        sizeof *record + strlen(record->topic) + record->key.size + record->value.size + 3;
    for (size_t i = 0; i < record->header_count; i++) {
        size += strlen(record->headers[i].name) + record->headers[i].value.size + 2;
    }
    return size;
}

/* Copies a record into one piece of memory. */
static struct saga_kafka_record *record_dup(const struct saga_kafka_record *record, size_t size)
{
    struct saga_kafka_record *copy = malloc(size);
    if (copy == NULL) {
        return NULL;
    }
    *copy = *record;
    uint8_t *at = (uint8_t *)(copy + 1);
    copy->topic = put(&at, saga_bytes_text(record->topic));
    copy->key = put_bytes(&at, record->key);
    copy->value = put_bytes(&at, record->value);
    for (size_t i = 0; i < record->header_count; i++) {
        copy->headers[i].name = put(&at, saga_bytes_text(record->headers[i].name));
        copy->headers[i].value = put_bytes(&at, record->headers[i].value);
    }
    return copy;
}

void saga_kit_entry_free(struct saga_kit *kit, struct saga_kit_entry *entry)
{
    if (entry->record != NULL) {
        atomic_fetch_sub(&kit->records_count, 1);
        atomic_fetch_sub(&kit->records_size, entry->record_size);
        free(entry->record);
    }
    saga_buf_fini(&entry->replies);
    free(entry);
}

bool saga_kit_record_received(void *user, const struct saga_kafka_record *record)
{
    struct saga_kit *kit = user;
    size_t size = record_size(record);
    if (atomic_load(&kit->records_count) >= SAGA_KIT_RECORDS_MAX ||
        atomic_load(&kit->records_size) > SAGA_KIT_RECORDS_SIZE_MAX) {
        return false;
    }
    struct saga_kit_entry *entry = calloc(1, sizeof *entry);
    struct saga_kafka_record *copy = record_dup(record, size);
    if (entry == NULL || copy == NULL) {
        free(entry);
        free(copy);
        return false;
    }
    entry->kind = SAGA_KIT_ENTRY_RECORD;
    entry->record = copy;
    entry->record_size = size;
    atomic_fetch_add(&kit->records_count, 1);
    atomic_fetch_add(&kit->records_size, size);
    if (saga_inbox_put(kit->inbox, &entry->link, SAGA_INBOX_REFUSE) != SAGA_ERR_OK) {
        saga_kit_entry_free(kit, entry);
        return false;
    }
    return true;
}

/* ---- Offsets ---- */

int64_t saga_kit_position_find(void *user, const char *topic, int32_t partition)
{
    struct saga_kit *kit = user;
    int64_t next_offset = -1;
    (void)topic; /* one command topic */
    pthread_mutex_lock(&kit->positions_lock);
    for (size_t i = 0; i < kit->position_count; i++) {
        if (kit->positions[i].partition == partition) {
            next_offset = kit->positions[i].next_offset;
        }
    }
    pthread_mutex_unlock(&kit->positions_lock);
    return next_offset;
}

enum saga_err saga_kit_positions_load(struct saga_kit *kit, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        kit->sql,
        "SELECT partition, next_offset FROM kafka_position WHERE topic = ?1 ORDER BY partition",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_text(stmt, 1, kit->command_topic);
    bool row = false;
    while ((err = saga_sql_step(stmt, &row, detail)) == SAGA_ERR_OK && row) {
        if (kit->position_count == SAGA_KIT_PARTITIONS_MAX) {
            err = saga_err_set(detail, SAGA_ERR_LIMIT,
                               "%s has more than %d partitions (SAGA_KIT_PARTITIONS_MAX)",
                               kit->command_topic, SAGA_KIT_PARTITIONS_MAX);
            break;
        }
        kit->positions[kit->position_count++] = (struct saga_kit_position){
            .partition = (int32_t)saga_sql_int(stmt, 0), .next_offset = saga_sql_int(stmt, 1)};
    }
    saga_sql_reset(stmt);
    return err;
}
