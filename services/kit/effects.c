/* What the relay publishes of the barrier's rows (B8). Thread: the relay's, but for the framing of
 * headers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "saga/v1/audit.pb-c.h"
#include "services/kit/room.h"

/* A fetch stops here: the rest comes with the next one. */
enum { FETCH_SIZE_MAX = 8 * 1024 * 1024 };

/* ---- Headers of dead letters: name, 0, size (4 bytes, little endian), value ---- */

enum saga_err saga_kit_headers_encode(const struct saga_kafka_record *record, struct saga_buf *out)
{
    for (size_t i = 0; i < record->header_count; i++) {
        struct saga_bytes name = saga_bytes_text(record->headers[i].name);
        struct saga_bytes value = record->headers[i].value;
        uint8_t size[5] = {0, (uint8_t)value.size, (uint8_t)(value.size >> 8),
                           (uint8_t)(value.size >> 16), (uint8_t)(value.size >> 24)};
        enum saga_err err = saga_buf_append(out, name);
        if (err == SAGA_ERR_OK) {
            err = saga_buf_append(out, (struct saga_bytes){.data = size, .size = sizeof size});
        }
        if (err == SAGA_ERR_OK) {
            err = saga_buf_append(out, value);
        }
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return SAGA_ERR_OK;
}

bool saga_kit_headers_decode(struct saga_bytes bytes, struct saga_kafka_record *record)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.size;
    record->header_count = 0;
    while (left > 0 && record->header_count < SAGA_KAFKA_HEADERS_MAX) {
        const uint8_t *end = memchr(at, 0, left);
        if (end == NULL || left - (size_t)(end - at) < 5) {
            return false;
        }
        size_t name_size = (size_t)(end - at);
        size_t size =
            (size_t)end[1] | (size_t)end[2] << 8 | (size_t)end[3] << 16 | (size_t)end[4] << 24;
        left -= name_size + 5;
        if (size > left) {
            return false;
        }
        record->headers[record->header_count++] = (struct saga_kafka_header){
            .name = (const char *)at, .value = {.data = end + 5, .size = size}};
        at = end + 5 + size;
        left -= size;
    }
    return left == 0;
}

/* ---- Rows ---- */

/* One row, in the relay's arena. */
struct effect {
    int64_t position;
    struct saga_command command; /* its echo fields and method */
    struct saga_reply reply;
    enum saga_via via;
    int64_t time_unix_ms;
};

static void *keep(struct saga_kit *kit, const void *data, size_t size)
{
    uint8_t *copy = saga_arena_take(&kit->relay_arena, size + 1);
    if (copy == NULL) {
        return NULL;
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = 0;
    return copy;
}

static char *keep_text(struct saga_kit *kit, const char *text)
{
    return keep(kit, text, strlen(text));
}

/* Encodes into the arena what append writes into a buffer. */
static bool keep_buf(struct saga_kit *kit, struct saga_buf *buf, struct saga_bytes *out)
{
    out->size = buf->size;
    out->data = keep(kit, buf->data, buf->size);
    saga_buf_fini(buf);
    return out->data != NULL;
}

static bool read_row(struct saga_kit *kit, struct saga_sql_stmt *stmt, struct effect *effect)
{
    *effect = (struct effect){
        .position = saga_sql_int(stmt, 0),
        .command = {.step = keep_text(kit, saga_sql_text(stmt, 2)),
                    .op = (enum saga_op)saga_sql_int(stmt, 3),
                    .method = keep_text(kit, saga_sql_text(stmt, 4)),
                    .attempt = (uint32_t)saga_sql_int(stmt, 10),
                    .traceparent = keep_text(kit, saga_sql_text(stmt, 12))},
        .via = (enum saga_via)saga_sql_int(stmt, 11),
        .time_unix_ms = saga_sql_int(stmt, 13),
    };
    struct saga_bytes id = saga_sql_bytes(stmt, 1);
    if (id.size == SAGA_ID_SIZE) {
        memcpy(effect->command.saga_id.b, id.data, SAGA_ID_SIZE);
    }
    struct saga_status status = {.code = (uint32_t)saga_sql_int(stmt, 5),
                                 .reason = keep_text(kit, saga_sql_text(stmt, 6)),
                                 .message = keep_text(kit, saga_sql_text(stmt, 7))};
    struct saga_bytes payload = saga_sql_bytes(stmt, 8);
    effect->reply = saga_kit_reply_to(&effect->command, status);
    effect->reply.payload =
        (struct saga_bytes){.data = keep(kit, payload.data, payload.size), .size = payload.size};
    effect->reply.empty = saga_sql_int(stmt, 9) != 0;
    return effect->command.step != NULL && effect->command.method != NULL &&
           effect->command.traceparent != NULL && status.reason != NULL && status.message != NULL &&
           effect->reply.payload.data != NULL;
}

/* Fills a record that carries a message about a saga. */
static bool fill(struct saga_kit *kit, const struct effect *effect, const char *topic,
                 const char *type, const char *event_id, struct saga_kafka_record *record)
{
    char key[SAGA_ID_TEXT_SIZE];
    saga_id_format(effect->command.saga_id, key);
    char source[128];
    (void)snprintf(source, sizeof source, "/%s", kit->app->name);
    struct saga_cloud_event_space *space = saga_arena_take(&kit->relay_arena, sizeof *space);
    struct saga_cloud_event event = {.id = keep_text(kit, event_id),
                                     .source = keep_text(kit, source),
                                     .type = type,
                                     .time_unix_ms = effect->time_unix_ms,
                                     .traceparent = effect->command.traceparent};
    record->topic = topic;
    record->key = saga_bytes_text(keep_text(kit, key));
    if (space == NULL || event.id == NULL || event.source == NULL || record->key.data == NULL) {
        return false;
    }
    saga_kafka_set_cloud_event(record, &event, space);
    return true;
}

static bool effect_record(struct saga_kit *kit, const struct effect *effect,
                          struct saga_kafka_record *record)
{
    char event_id[SAGA_METHOD_NAME_MAX + 32];
    int64_t number = SAGA_BROKEN(B8_EVENT_ID) ? (int64_t)(SAGA_NOISE() >> 1) : effect->position;
    (void)snprintf(event_id, sizeof event_id, "%s/%" PRId64, kit->service_name, number);
    Saga__V1__Status status = SAGA__V1__STATUS__INIT;
    status.code = effect->reply.status.code;
    status.reason = keep_text(kit, effect->reply.status.reason);
    status.message = keep_text(kit, effect->reply.status.message);
    Saga__V1__EffectEvent message = SAGA__V1__EFFECT_EVENT__INIT;
    message.event_id = event_id;
    message.service = keep_text(kit, kit->service_name);
    message.position = (uint64_t)effect->position;
    message.saga_id.len = SAGA_ID_SIZE;
    message.saga_id.data = keep(kit, effect->command.saga_id.b, SAGA_ID_SIZE);
    message.step = keep_text(kit, effect->command.step);
    message.op = (Saga__V1__Op)effect->command.op;
    message.method = keep_text(kit, effect->command.method);
    message.status = &status;
    message.empty = effect->reply.empty;
    message.time_unix_ms = effect->time_unix_ms;
    message.attempt = effect->command.attempt;
    if (status.reason == NULL || status.message == NULL || message.service == NULL ||
        message.saga_id.data == NULL || message.step == NULL || message.method == NULL) {
        return false;
    }
    struct saga_buf buf = {0};
    if (saga_message_encode(&message.base, &buf) != SAGA_ERR_OK) {
        saga_buf_fini(&buf);
        return false;
    }
    return keep_buf(kit, &buf, &record->value) &&
           fill(kit, effect, "saga-effects", "saga.v1.EffectEvent", event_id, record);
}

static bool reply_record(struct saga_kit *kit, const struct effect *effect,
                         struct saga_kafka_record *record)
{
    char event_id[SAGA_METHOD_NAME_MAX + 32];
    (void)snprintf(event_id, sizeof event_id, "%s/%" PRId64 "/reply", kit->service_name,
                   effect->position);
    struct saga_buf buf = {0};
    if (saga_reply_encode(&effect->reply, &buf) != SAGA_ERR_OK) {
        saga_buf_fini(&buf);
        return false;
    }
    return keep_buf(kit, &buf, &record->value) &&
           fill(kit, effect, kit->reply_topic, "saga.v1.Reply", event_id, record);
}

static enum saga_err letter_record(struct saga_kit *kit, int64_t position,
                                   struct saga_kafka_record *record, bool *there,
                                   struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        kit->sql_relay, "SELECT key, value, headers FROM dead_letter WHERE position = ?1", &stmt,
        detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(stmt, 1, position);
    err = saga_sql_step(stmt, there, detail);
    if (err != SAGA_ERR_OK || !*there) {
        return err;
    }
    struct saga_bytes parts[3];
    for (int i = 0; i < 3; i++) {
        struct saga_bytes part = saga_sql_bytes(stmt, i);
        parts[i] = (struct saga_bytes){.data = keep(kit, part.data, part.size), .size = part.size};
        if (parts[i].data == NULL) {
            err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "dead letter");
        }
    }
    saga_sql_reset(stmt);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    record->topic = "saga-dead-letter";
    record->key = parts[0];
    record->value = parts[1];
    if (!saga_kit_headers_decode(parts[2], record)) {
        return saga_err_set(detail, SAGA_ERR_CORRUPT, "headers of dead letter %" PRId64, position);
    }
    return SAGA_ERR_OK;
}

static enum saga_err make_row(struct saga_kit *kit, struct saga_sql_stmt *stmt,
                              struct saga_relay_row *row, struct saga_err_detail *detail)
{
    struct effect effect;
    bool made = read_row(kit, stmt, &effect);
    *row = (struct saga_relay_row){.position = effect.position};
    if (made && effect.command.op == SAGA_OP_NONE) {
        bool there = false;
        enum saga_err err = letter_record(kit, effect.position, &row->records[0], &there, detail);
        row->record_count = there ? 1 : 0;
        return err;
    }
    if (effect.reply.status.code != SAGA_CODE_OK && SAGA_BROKEN(S13_NO_UNPUBLISHED)) {
        return SAGA_ERR_OK;
    }
    made = made && effect_record(kit, &effect, &row->records[row->record_count++]);
    if (made && effect.via == SAGA_VIA_KAFKA && kit->reply_topic[0] != '\0') {
        made = reply_record(kit, &effect, &row->records[row->record_count++]);
    }
    return made ? SAGA_ERR_OK : saga_err_set(detail, SAGA_ERR_NO_MEMORY, "effects");
}

enum saga_err saga_kit_effects_fetch(void *user, int64_t after, size_t count_max,
                                     struct saga_relay_row *rows, size_t *count,
                                     struct saga_err_detail *detail)
{
    struct saga_kit *kit = user;
    saga_arena_clear(&kit->relay_arena);
    *count = 0;
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        kit->sql_relay,
        "SELECT position, saga_id, step, op, method, code, reason, message, payload, empty, "
        "attempt, via,"
        " traceparent, time_unix_ms FROM barrier WHERE position > ?1 ORDER BY position LIMIT ?2",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(stmt, 1, after + (after > 0 && SAGA_BROKEN(B8_SKIPS) ? 1 : 0));
    saga_sql_bind_int(stmt, 2, (int64_t)count_max);
    bool there = false;
    while (*count < count_max && kit->relay_arena.total < FETCH_SIZE_MAX &&
           (err = saga_sql_step(stmt, &there, detail)) == SAGA_ERR_OK && there) {
        err = make_row(kit, stmt, &rows[*count], detail);
        if (err != SAGA_ERR_OK) {
            break;
        }
        (*count)++;
    }
    saga_sql_reset(stmt);
    return err;
}

void saga_kit_effects_advanced(void *user, int64_t position)
{
    struct saga_kit *kit = user;
    atomic_store(&kit->advanced, position);
    if (!atomic_exchange(&kit->cursor_dirty, true)) {
        saga_inbox_wake(kit->inbox);
    }
}
