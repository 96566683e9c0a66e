/* Records of the command topic: the same commands by another road, and what cannot be used of them.
 * Thread: the worker. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/sys/log.h"
#include "services/kit/room.h"

/* ---- Dead letters ---- */

/* Keeps of a letter what a broker takes: with our headers it would be larger than the record that
 * was just let through. */
static void shrink(struct saga_kafka_record *letter, char *full_size, size_t full_size_size)
{
    size_t size = 0;
    for (size_t i = 0; i < letter->header_count; i++) {
        size += strlen(letter->headers[i].name) + letter->headers[i].value.size;
    }
    bool cut = letter->value.size > SAGA_KIT_DEAD_LETTER_SIZE_MAX;
    if (cut) {
        (void)snprintf(full_size, full_size_size, "%zu", letter->value.size);
        letter->value.size = SAGA_KIT_DEAD_LETTER_SIZE_MAX;
    }
    if (letter->key.size > SAGA_KIT_DEAD_LETTER_SIDE_SIZE_MAX) {
        letter->key.size = SAGA_KIT_DEAD_LETTER_SIDE_SIZE_MAX;
    }
    if (size > SAGA_KIT_DEAD_LETTER_SIDE_SIZE_MAX ||
        (cut && letter->header_count == SAGA_KAFKA_HEADERS_MAX)) {
        size_t kept = 0; /* where it came from and why matters more than the sender's headers */
        for (size_t i = 0; i < letter->header_count; i++) {
            if (strncmp(letter->headers[i].name, "dead-letter-", strlen("dead-letter-")) == 0) {
                letter->headers[kept++] = letter->headers[i];
            }
        }
        letter->header_count = kept;
    }
    if (cut && letter->header_count < SAGA_KAFKA_HEADERS_MAX) {
        letter->headers[letter->header_count++] = (struct saga_kafka_header){
            .name = "dead-letter-full-size", .value = saga_bytes_text(full_size)};
    }
}

/* The letter is a row of the outbox in the transaction that moves the offset: it is never lost and
 * never blocks the partition. */
static enum saga_err bury(struct saga_kit *kit, const struct saga_kafka_record *record,
                          const char *reason, struct saga_err_detail *detail)
{
    if (SAGA_BROKEN(S6_KIT_LETTER_LOST)) {
        return SAGA_ERR_OK;
    }
    struct saga_kafka_record letter;
    struct saga_dead_letter_space space;
    saga_kafka_dead_letter(record, reason, &space, &letter);
    char full_size[24];
    shrink(&letter, full_size, sizeof full_size);
    struct saga_buf headers = {0};
    enum saga_err err = saga_kit_headers_encode(&letter, &headers);
    if (err == SAGA_ERR_OK) {
        struct saga_barrier_letter row = {.key = letter.key,
                                          .value = letter.value,
                                          .headers = saga_buf_view(&headers),
                                          .reason = reason};
        err = saga_barrier_store_letter(kit->barrier, &row, kit->turn.now_unix_ms, detail);
    }
    saga_buf_fini(&headers);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    kit->turn.wrote = true;
    kit->turn.stored = true;
    atomic_fetch_add_explicit(&kit->counters.dead_letters, 1, memory_order_relaxed);
    saga_log(SAGA_LOG_WARN, "dead_letter",
             "topic=%s partition=%" PRId32 " offset=%" PRId64 " reason=\"%s\"", record->topic,
             record->partition, record->offset, reason);
    return SAGA_ERR_OK;
}

/* Says why a decoded command has no business on our topic; NULL: it has. */
static const char *misplaced(const struct saga_kit *kit, const struct saga_command *command)
{
    if (command->op != SAGA_OP_CALL && command->op != SAGA_OP_UNDO) {
        return "not a command of a saga (op)";
    }
    size_t size = strlen(kit->service_name);
    if (strncmp(command->method, kit->service_name, size) != 0 || command->method[size] != '/') {
        return "method of another service";
    }
    return NULL;
}

/* ---- Replies that are in no outbox ---- */

static enum saga_err add_direct(struct saga_kit *kit, const struct saga_command *command,
                                const struct saga_reply *reply, struct saga_err_detail *detail)
{
    struct saga_kit_turn *turn = &kit->turn;
    struct saga_buf encoded = {0};
    enum saga_err err = saga_reply_encode(reply, &encoded);
    struct saga_kit_direct *direct = saga_arena_take(&turn->arena, sizeof *direct);
    uint8_t *value = saga_arena_take(&turn->arena, encoded.size + 1);
    char id[SAGA_ID_TEXT_SIZE];
    saga_id_format(command->saga_id, id);
    char event[SAGA_ID_TEXT_SIZE + SAGA_STEP_NAME_MAX + 64];
    int event_size = snprintf(event, sizeof event, "%s/%s/%s/%" PRIu32 "/%" PRId64, id,
                              command->step, command->op == SAGA_OP_UNDO ? "undo" : "call",
                              command->attempt, turn->now_unix_ms);
    char *event_id = saga_arena_take(&turn->arena, (size_t)event_size + 1);
    if (err != SAGA_ERR_OK || direct == NULL || value == NULL || event_id == NULL) {
        saga_buf_fini(&encoded);
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "reply to a record");
    }
    if (encoded.size > 0) {
        memcpy(value, encoded.data, encoded.size);
    }
    memcpy(event_id, event, (size_t)event_size + 1);
    *direct = (struct saga_kit_direct){
        .saga_id = command->saga_id,
        .event_id = event_id,
        .traceparent = command->traceparent,
        .value = {.data = value, .size = encoded.size},
    };
    saga_buf_fini(&encoded);
    *turn->direct_tail = direct;
    turn->direct_tail = &direct->next;
    return SAGA_ERR_OK;
}

void saga_kit_direct_produce(struct saga_kit *kit)
{
    for (const struct saga_kit_direct *direct = kit->turn.direct;
         direct != NULL && kit->relay != NULL; direct = direct->next) {
        char key[SAGA_ID_TEXT_SIZE];
        saga_id_format(direct->saga_id, key);
        char source[128];
        (void)snprintf(source, sizeof source, "/%s", kit->app->name);
        struct saga_kafka_record record = {
            .topic = kit->reply_topic, .key = saga_bytes_text(key), .value = direct->value};
        struct saga_cloud_event event = {.id = direct->event_id,
                                         .source = source,
                                         .type = "saga.v1.Reply",
                                         .time_unix_ms = kit->turn.now_unix_ms,
                                         .traceparent = direct->traceparent};
        struct saga_cloud_event_space space;
        saga_kafka_set_cloud_event(&record, &event, &space);
        enum saga_err err = saga_relay_produce(kit->relay, &record);
        if (err != SAGA_ERR_OK) { /* it is asked for again when the command is sent again */
            saga_log(SAGA_LOG_WARN, "reply_not_produced", "saga=%s error=%s", key,
                     saga_err_name(err));
        }
    }
}

/* ---- Offsets ---- */

static struct saga_kit_position *position_of(struct saga_kit_position *positions, size_t *count,
                                             int32_t partition)
{
    for (size_t i = 0; i < *count; i++) {
        if (positions[i].partition == partition) {
            return &positions[i];
        }
    }
    if (*count == SAGA_KIT_PARTITIONS_MAX) {
        return NULL;
    }
    positions[*count].partition = partition;
    return &positions[(*count)++];
}

static enum saga_err move(struct saga_kit *kit, const struct saga_kafka_record *record,
                          struct saga_err_detail *detail)
{
    struct saga_kit_position *position =
        position_of(kit->turn.positions, &kit->turn.position_count, record->partition);
    if (position == NULL) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "%s has more than %d partitions (SAGA_KIT_PARTITIONS_MAX)",
                            record->topic, SAGA_KIT_PARTITIONS_MAX);
    }
    position->next_offset = record->offset + (SAGA_BROKEN(S6_KIT_OFFSET) ? 2 : 1);
    kit->turn.wrote = true;
    return SAGA_ERR_OK;
}

enum saga_err saga_kit_positions_store(struct saga_kit *kit, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < kit->turn.position_count; i++) {
        struct saga_sql_stmt *stmt = NULL;
        enum saga_err err = saga_sql_prepare(
            kit->sql,
            "INSERT INTO kafka_position (topic, partition, next_offset) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
            &stmt, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        saga_sql_bind_text(stmt, 1, kit->command_topic);
        saga_sql_bind_int(stmt, 2, kit->turn.positions[i].partition);
        saga_sql_bind_int(stmt, 3, kit->turn.positions[i].next_offset);
        err = saga_sql_run(stmt, NULL, detail);
        if (err != SAGA_ERR_OK) {
            return saga_err_wrap(detail, err, "kafka_position");
        }
    }
    return SAGA_ERR_OK;
}

void saga_kit_positions_commit(struct saga_kit *kit)
{
    if (kit->turn.position_count == 0) {
        return;
    }
    pthread_mutex_lock(&kit->positions_lock);
    for (size_t i = 0; i < kit->turn.position_count; i++) {
        const struct saga_kit_position *moved = &kit->turn.positions[i];
        struct saga_kit_position *position =
            position_of(kit->positions, &kit->position_count, moved->partition);
        if (position != NULL) {
            position->next_offset = moved->next_offset;
        }
    }
    pthread_mutex_unlock(&kit->positions_lock);
}

/* ---- Running ---- */

enum saga_err saga_kit_record_run(struct saga_kit *kit, const struct saga_kafka_record *record,
                                  struct saga_err_detail *detail)
{
    struct saga_command command;
    struct saga_status wrong = saga_status_ok();
    enum saga_err err = saga_command_decode(record->value, &kit->turn.arena, &command, &wrong);
    if (err == SAGA_ERR_NO_MEMORY) {
        return saga_err_set(detail, err, "decoding a record");
    }
    if (err != SAGA_ERR_OK) {
        kit->turn.command_count++;
        err = bury(kit, record, wrong.message, detail);
        return err == SAGA_ERR_OK ? move(kit, record, detail) : err;
    }
    const char *reason = misplaced(kit, &command);
    if (reason != NULL) {
        err = bury(kit, record, reason, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    if (command.op != SAGA_OP_NONE) { /* whoever waits is told, also that this is the wrong door */
        struct saga_reply reply;
        bool stored = false;
        err = saga_kit_dispatch(kit, &command, SAGA_VIA_KAFKA, &reply, &stored, detail);
        if (err == SAGA_ERR_OK && !stored) {
            err = add_direct(kit, &command, &reply, detail);
        }
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return move(kit, record, detail);
}
