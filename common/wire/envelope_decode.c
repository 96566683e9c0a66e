/* Decodes the envelope straight from the wire into our structs: one pass, one arena, every limit
 * checked on the way. What a peer sends is copied into the arena, so that its message can be freed
 * at once. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/wire/envelope.h"
#include "common/wire/wire.h"

/* Where we are, for messages, and where they go. */
struct decoder {
    struct saga_arena *arena;
    struct saga_status *status;
    const char *list; /* "commands", "replies"; NULL: one message alone */
    size_t index;
};

static enum saga_err refuse(struct decoder *decoder, enum saga_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fills the status for the peer. */
static enum saga_err refuse(struct decoder *decoder, enum saga_err err, const char *format, ...)
{
    char text[SAGA_STATUS_MESSAGE_MAX + 1] = "";
    size_t at = 0;
    if (decoder->list != NULL) {
        at = (size_t)snprintf(text, sizeof text, "%s[%zu]: ", decoder->list, decoder->index);
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text + at, sizeof text - at, format, args);
    va_end(args);
    size_t size = strlen(text) + 1;
    char *message = saga_arena_take(decoder->arena, size);
    if (message != NULL) {
        memcpy(message, text, size);
    }
    const char *reason = "INVALID_FIELD";
    enum saga_code code = SAGA_CODE_INVALID_ARGUMENT;
    if (err == SAGA_ERR_LIMIT) {
        reason = "LIMIT_EXCEEDED";
        code = SAGA_CODE_RESOURCE_EXHAUSTED;
    } else if (err == SAGA_ERR_MALFORMED) {
        reason = "MALFORMED_MESSAGE";
    }
    *decoder->status = saga_status_make(code, reason, message == NULL ? "" : message);
    return err;
}

static enum saga_err no_memory(struct decoder *decoder)
{
    *decoder->status =
        saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory while decoding");
    return SAGA_ERR_NO_MEMORY;
}

static enum saga_err malformed(struct decoder *decoder, const char *field)
{
    return refuse(decoder, SAGA_ERR_MALFORMED, "%s is malformed", field);
}

static enum saga_err copy_text(struct decoder *decoder, struct saga_bytes bytes, const char **out)
{
    char *copy = saga_arena_take(decoder->arena, bytes.size + 1);
    if (copy == NULL) {
        return no_memory(decoder);
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    copy[bytes.size] = '\0';
    *out = copy;
    return SAGA_ERR_OK;
}

/* Takes a text field that must be there as its sender meant it. */
static enum saga_err take_text(struct decoder *decoder, const struct saga_wire_field *field,
                               const char *name, size_t size_max, const char **out)
{
    if (field->type != SAGA_WIRE_LEN) {
        return malformed(decoder, name);
    }
    if (field->bytes.size > size_max) {
        return refuse(decoder, SAGA_ERR_INVALID, "%s has %zu bytes, limit %zu", name,
                      field->bytes.size, size_max);
    }
    if (!saga_wire_utf8(field->bytes) ||
        (field->bytes.size > 0 && memchr(field->bytes.data, 0, field->bytes.size) != NULL)) {
        return refuse(decoder, SAGA_ERR_MALFORMED, "%s is not UTF-8 text", name);
    }
    return copy_text(decoder, field->bytes, out);
}

/* Takes a text for people: too long, it is cut, because the message that it stands in matters more.
 */
static enum saga_err take_cut(struct decoder *decoder, const struct saga_wire_field *field,
                              const char *name, size_t size_max, const char **out)
{
    struct saga_wire_field cut = *field;
    if (field->type == SAGA_WIRE_LEN && saga_wire_utf8(field->bytes)) {
        cut.bytes = saga_wire_utf8_cut(field->bytes, size_max);
    }
    return take_text(decoder, &cut, name, size_max, out);
}

static enum saga_err take_number(struct decoder *decoder, const struct saga_wire_field *field,
                                 const char *name, uint64_t *out)
{
    if (field->type != SAGA_WIRE_VARINT) {
        return malformed(decoder, name);
    }
    *out = field->value;
    return SAGA_ERR_OK;
}

static enum saga_err take_uint32(struct decoder *decoder, const struct saga_wire_field *field,
                                 const char *name, uint32_t *out)
{
    uint64_t value = 0;
    enum saga_err err = take_number(decoder, field, name, &value);
    *out = (uint32_t)value; /* protobuf: an int of 32 bits takes the low ones */
    return err;
}

static enum saga_err take_bool(struct decoder *decoder, const struct saga_wire_field *field,
                               const char *name, bool *out)
{
    uint64_t value = 0;
    enum saga_err err = take_number(decoder, field, name, &value);
    *out = value != 0;
    return err;
}

/* Takes a time or duration, which is never negative. */
static enum saga_err take_time(struct decoder *decoder, const struct saga_wire_field *field,
                               const char *name, int64_t *out)
{
    uint64_t value = 0;
    enum saga_err err = take_number(decoder, field, name, &value);
    if (err == SAGA_ERR_OK && value > INT64_MAX) {
        return refuse(decoder, SAGA_ERR_INVALID, "%s is negative", name);
    }
    *out = (int64_t)value;
    return err;
}

static enum saga_err take_op(struct decoder *decoder, const struct saga_wire_field *field,
                             enum saga_op *out)
{
    uint64_t value = 0;
    enum saga_err err = take_number(decoder, field, "op", &value);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    switch (value) {
    case SAGA_OP_NONE:
        *out = SAGA_OP_NONE;
        return SAGA_ERR_OK;
    case SAGA_OP_CALL:
        *out = SAGA_OP_CALL;
        return SAGA_ERR_OK;
    case SAGA_OP_UNDO:
        *out = SAGA_OP_UNDO;
        return SAGA_ERR_OK;
    default:
        return refuse(decoder, SAGA_ERR_INVALID, "op %lld is unknown", (long long)(int64_t)value);
    }
}

/* Takes a saga id; what else than 16 bytes it may be is known when op is. */
static enum saga_err take_id(struct decoder *decoder, const struct saga_wire_field *field,
                             struct saga_id *out, size_t *id_size)
{
    if (field->type != SAGA_WIRE_LEN) {
        return malformed(decoder, "saga_id");
    }
    *id_size = field->bytes.size;
    if (field->bytes.size == SAGA_ID_SIZE) {
        memcpy(out->b, field->bytes.data, SAGA_ID_SIZE);
    }
    return SAGA_ERR_OK;
}

static enum saga_err take_bytes(struct decoder *decoder, const struct saga_wire_field *field,
                                const char *name, struct saga_bytes *out)
{
    if (field->type != SAGA_WIRE_LEN) {
        return malformed(decoder, name);
    }
    *out = field->bytes;
    return SAGA_ERR_OK;
}

/* Merges a saga.v1.Status into *out, as protobuf does when a message field comes twice. */
static enum saga_err decode_status(struct decoder *decoder, const struct saga_wire_field *whole,
                                   struct saga_status *out)
{
    if (whole->type != SAGA_WIRE_LEN) {
        return malformed(decoder, "status");
    }
    struct saga_wire_reader reader = saga_wire_read(whole->bytes);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        enum saga_err err = SAGA_ERR_OK;
        switch (field.number) {
        case 1:
            err = take_uint32(decoder, &field, "status.code", &out->code);
            break;
        case 2:
            err =
                take_cut(decoder, &field, "status.message", SAGA_STATUS_MESSAGE_MAX, &out->message);
            break;
        case 3:
            err = take_cut(decoder, &field, "status.reason", SAGA_STATUS_REASON_MAX, &out->reason);
            break;
        case 4:
            err = take_time(decoder, &field, "status.retry_after_ms", &out->retry_after_ms);
            break;
        default:
            break;
        }
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return next == SAGA_WIRE_NEXT_END ? SAGA_ERR_OK : malformed(decoder, "status");
}

static enum saga_err decode_cause(struct decoder *decoder, const struct saga_wire_field *whole,
                                  struct saga_command *out)
{
    if (whole->type != SAGA_WIRE_LEN) {
        return malformed(decoder, "cause");
    }
    struct saga_wire_reader reader = saga_wire_read(whole->bytes);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        enum saga_err err = SAGA_ERR_OK;
        if (field.number == 1) {
            err = take_text(decoder, &field, "cause.step", SAGA_STEP_NAME_MAX, &out->cause_step);
        } else if (field.number == 2) {
            err = decode_status(decoder, &field, &out->cause_status);
        }
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return next == SAGA_WIRE_NEXT_END ? SAGA_ERR_OK : malformed(decoder, "cause");
}

static bool metadata_key_good(const char *key)
{
    for (const char *at = key; *at != '\0'; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '-' ||
              *at == '_' || *at == '.')) {
            return false;
        }
    }
    return key[0] != '\0';
}

static enum saga_err decode_metadata(struct decoder *decoder, const struct saga_wire_field *whole,
                                     struct saga_metadata *out)
{
    if (whole->type != SAGA_WIRE_LEN) {
        return malformed(decoder, "metadata");
    }
    *out = (struct saga_metadata){"", ""};
    struct saga_wire_reader reader = saga_wire_read(whole->bytes);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        enum saga_err err = SAGA_ERR_OK;
        if (field.number == 1) {
            err = take_text(decoder, &field, "metadata.key", SAGA_METADATA_KEY_MAX, &out->key);
        } else if (field.number == 2) {
            err =
                take_text(decoder, &field, "metadata.value", SAGA_METADATA_VALUE_MAX, &out->value);
        }
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    if (next != SAGA_WIRE_NEXT_END) {
        return malformed(decoder, "metadata");
    }
    if (!metadata_key_good(out->key)) {
        return refuse(decoder, SAGA_ERR_INVALID, "metadata.key must be [a-z0-9._-]+");
    }
    return SAGA_ERR_OK;
}

/* What is gathered beside the command itself while its fields come in. */
struct command_parts {
    size_t id_size;
    struct saga_bytes payload;
    struct saga_metadata metadata[SAGA_METADATA_COUNT_MAX];
    size_t metadata_count;
};

static enum saga_err add_metadata(struct decoder *decoder, const struct saga_wire_field *field,
                                  struct command_parts *parts)
{
    if (parts->metadata_count == SAGA_METADATA_COUNT_MAX) {
        return refuse(decoder, SAGA_ERR_LIMIT,
                      "metadata has more than %d pairs (SAGA_METADATA_COUNT_MAX)",
                      SAGA_METADATA_COUNT_MAX);
    }
    return decode_metadata(decoder, field, &parts->metadata[parts->metadata_count++]);
}

static enum saga_err command_field(struct decoder *decoder, const struct saga_wire_field *field,
                                   struct saga_command *out, struct command_parts *parts)
{
    switch (field->number) {
    case 1:
        return take_id(decoder, field, &out->saga_id, &parts->id_size);
    case 2:
        return take_text(decoder, field, "step", SAGA_STEP_NAME_MAX, &out->step);
    case 3:
        return take_op(decoder, field, &out->op);
    case 4:
        return take_text(decoder, field, "method", SAGA_METHOD_NAME_MAX, &out->method);
    case 5:
        return take_bytes(decoder, field, "payload", &parts->payload);
    case 6:
        return take_uint32(decoder, field, "attempt", &out->attempt);
    case 7:
        return take_time(decoder, field, "deadline_unix_ms", &out->deadline_unix_ms);
    case 8:
        return take_text(decoder, field, "traceparent", SAGA_TRACEPARENT_MAX, &out->traceparent);
    case 9:
        return decode_cause(decoder, field, out);
    case 10:
        return take_number(decoder, field, "epoch", &out->epoch);
    case 11:
        return add_metadata(decoder, field, parts);
    default:
        return SAGA_ERR_OK; /* of a newer peer */
    }
}

static bool step_name_good(const char *name)
{
    if (name[0] < 'a' || name[0] > 'z') {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '-' ||
              *at == '_')) {
            return false;
        }
    }
    return true;
}

/* Checks saga id, step and attempt against op: they are the idempotency key, or they are not there.
 */
static enum saga_err check_key(struct decoder *decoder, enum saga_op op, size_t id_size,
                               const char *step)
{
    if (op == SAGA_OP_NONE) {
        if (id_size != 0 || step[0] != '\0') {
            return refuse(decoder, SAGA_ERR_INVALID,
                          "saga_id and step must be empty when op is OP_UNSPECIFIED");
        }
        return SAGA_ERR_OK;
    }
    if (id_size != SAGA_ID_SIZE) {
        return refuse(decoder, SAGA_ERR_INVALID, "saga_id has %zu bytes, must have %d", id_size,
                      SAGA_ID_SIZE);
    }
    if (!step_name_good(step)) {
        return refuse(decoder, SAGA_ERR_INVALID, "step must be [a-z][a-z0-9_-]*, 1 to %d bytes",
                      SAGA_STEP_NAME_MAX);
    }
    return SAGA_ERR_OK;
}

/* Checks a payload's size (of sagas only: an ordinary request or reply is bounded by its message)
 * and copies it. */
static enum saga_err keep_payload(struct decoder *decoder, enum saga_op op,
                                  struct saga_bytes payload, struct saga_bytes *out)
{
    if (op != SAGA_OP_NONE && payload.size > SAGA_PAYLOAD_SIZE_MAX) {
        return refuse(decoder, SAGA_ERR_LIMIT,
                      "payload has %zu bytes, limit %d (SAGA_PAYLOAD_SIZE_MAX)", payload.size,
                      SAGA_PAYLOAD_SIZE_MAX);
    }
    *out = (struct saga_bytes){0};
    if (payload.size == 0) {
        return SAGA_ERR_OK;
    }
    uint8_t *copy = saga_arena_take(decoder->arena, payload.size);
    if (copy == NULL) {
        return no_memory(decoder);
    }
    memcpy(copy, payload.data, payload.size);
    out->data = copy;
    out->size = payload.size;
    return SAGA_ERR_OK;
}

static bool graphic(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~') {
            return false;
        }
    }
    return true;
}

static enum saga_err finish_command(struct decoder *decoder, struct saga_command *out,
                                    const struct command_parts *parts)
{
    enum saga_err err = check_key(decoder, out->op, parts->id_size, out->step);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (out->method[0] == '\0' || !graphic(out->method)) {
        return refuse(decoder, SAGA_ERR_INVALID, "method must be \"package.Service/Method\"");
    }
    if (!graphic(out->traceparent)) {
        return refuse(decoder, SAGA_ERR_INVALID, "traceparent must be printable ASCII");
    }
    if (out->op != SAGA_OP_NONE && out->attempt == 0) {
        return refuse(decoder, SAGA_ERR_INVALID, "attempt must be 1 or more");
    }
    if (parts->metadata_count > 0) {
        size_t size = parts->metadata_count * sizeof parts->metadata[0];
        struct saga_metadata *metadata = saga_arena_take(decoder->arena, size);
        if (metadata == NULL) {
            return no_memory(decoder);
        }
        memcpy(metadata, parts->metadata, size);
        out->metadata = metadata;
        out->metadata_count = parts->metadata_count;
    }
    return keep_payload(decoder, out->op, parts->payload, &out->payload);
}

static enum saga_err decode_command(struct decoder *decoder, struct saga_bytes bytes,
                                    struct saga_command *out)
{
    struct command_parts parts;
    parts.id_size = 0;
    parts.payload = (struct saga_bytes){0};
    parts.metadata_count = 0;
    *out = (struct saga_command){.step = "",
                                 .method = "",
                                 .traceparent = "",
                                 .cause_step = "",
                                 .cause_status = saga_status_ok()};
    struct saga_wire_reader reader = saga_wire_read(bytes);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        enum saga_err err = command_field(decoder, &field, out, &parts);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    if (next != SAGA_WIRE_NEXT_END) {
        return malformed(decoder, "command");
    }
    return finish_command(decoder, out, &parts);
}

static enum saga_err reply_field(struct decoder *decoder, const struct saga_wire_field *field,
                                 struct saga_reply *out, size_t *id_size,
                                 struct saga_bytes *payload)
{
    switch (field->number) {
    case 1:
        return take_id(decoder, field, &out->saga_id, id_size);
    case 2:
        return take_text(decoder, field, "step", SAGA_STEP_NAME_MAX, &out->step);
    case 3:
        return take_op(decoder, field, &out->op);
    case 4:
        return decode_status(decoder, field, &out->status);
    case 5:
        return take_bytes(decoder, field, "payload", payload);
    case 6:
        return take_bool(decoder, field, "replayed", &out->replayed);
    case 7:
        return take_bool(decoder, field, "empty", &out->empty);
    case 8:
        return take_uint32(decoder, field, "attempt", &out->attempt);
    default:
        return SAGA_ERR_OK;
    }
}

static enum saga_err decode_reply(struct decoder *decoder, struct saga_bytes bytes,
                                  struct saga_reply *out)
{
    size_t id_size = 0;
    struct saga_bytes payload = {0};
    *out = (struct saga_reply){.step = "", .status = saga_status_ok()};
    struct saga_wire_reader reader = saga_wire_read(bytes);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        enum saga_err err = reply_field(decoder, &field, out, &id_size, &payload);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    if (next != SAGA_WIRE_NEXT_END) {
        return malformed(decoder, "reply");
    }
    enum saga_err err = check_key(decoder, out->op, id_size, out->step);
    return err != SAGA_ERR_OK ? err : keep_payload(decoder, out->op, payload, &out->payload);
}

static enum saga_err check_size(struct decoder *decoder, struct saga_bytes bytes)
{
    if (bytes.size > SAGA_MESSAGE_SIZE_MAX) {
        return refuse(decoder, SAGA_ERR_LIMIT,
                      "message has %zu bytes, limit %d (SAGA_MESSAGE_SIZE_MAX)", bytes.size,
                      SAGA_MESSAGE_SIZE_MAX);
    }
    return SAGA_ERR_OK;
}

/* Walks a batch without looking into its elements: is it well formed, and how many are there? */
static enum saga_err count_elements(struct decoder *decoder, struct saga_bytes bytes, size_t *count)
{
    enum saga_err err = check_size(decoder, bytes);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_wire_reader reader = saga_wire_read(bytes);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    *count = 0;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number == 1 && field.type != SAGA_WIRE_LEN) {
            return malformed(decoder, "batch");
        }
        *count += field.number == 1 ? 1 : 0;
    }
    if (next != SAGA_WIRE_NEXT_END) {
        return malformed(decoder, "batch");
    }
    if (*count > SAGA_BATCH_COUNT_MAX) {
        return refuse(decoder, SAGA_ERR_LIMIT,
                      "batch has %zu elements, limit %d (SAGA_BATCH_COUNT_MAX)", *count,
                      SAGA_BATCH_COUNT_MAX);
    }
    if (*count == 0) {
        return refuse(decoder, SAGA_ERR_INVALID, "batch is empty");
    }
    return SAGA_ERR_OK;
}

/* Finds the next element of a batch that was walked before. */
static bool next_element(struct saga_wire_reader *reader, struct saga_wire_field *field)
{
    while (saga_wire_next(reader, field) == SAGA_WIRE_NEXT_FIELD) {
        if (field->number == 1) {
            return true;
        }
    }
    return false;
}

enum saga_err saga_command_batch_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                        struct saga_command **commands, size_t *count,
                                        struct saga_status *status)
{
    struct decoder decoder = {.arena = arena, .status = status};
    size_t found = 0;
    *status = saga_status_ok();
    enum saga_err err = count_elements(&decoder, bytes, &found);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_command *list = saga_arena_take(arena, found * sizeof *list);
    if (list == NULL) {
        return no_memory(&decoder);
    }
    decoder.list = "commands";
    struct saga_wire_reader reader = saga_wire_read(bytes);
    struct saga_wire_field field;
    while (err == SAGA_ERR_OK && next_element(&reader, &field)) {
        err = decode_command(&decoder, field.bytes, &list[decoder.index]);
        decoder.index++;
    }
    if (err == SAGA_ERR_OK) {
        *commands = list;
        *count = found;
    }
    return err;
}

enum saga_err saga_reply_batch_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                      struct saga_reply **replies, size_t *count,
                                      struct saga_status *status)
{
    struct decoder decoder = {.arena = arena, .status = status};
    size_t found = 0;
    *status = saga_status_ok();
    enum saga_err err = count_elements(&decoder, bytes, &found);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_reply *list = saga_arena_take(arena, found * sizeof *list);
    if (list == NULL) {
        return no_memory(&decoder);
    }
    decoder.list = "replies";
    struct saga_wire_reader reader = saga_wire_read(bytes);
    struct saga_wire_field field;
    while (err == SAGA_ERR_OK && next_element(&reader, &field)) {
        err = decode_reply(&decoder, field.bytes, &list[decoder.index]);
        decoder.index++;
    }
    if (err == SAGA_ERR_OK) {
        *replies = list;
        *count = found;
    }
    return err;
}

enum saga_err saga_command_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                  struct saga_command *command, struct saga_status *status)
{
    struct decoder decoder = {.arena = arena, .status = status};
    *status = saga_status_ok();
    enum saga_err err = check_size(&decoder, bytes);
    return err != SAGA_ERR_OK ? err : decode_command(&decoder, bytes, command);
}

enum saga_err saga_reply_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                struct saga_reply *reply, struct saga_status *status)
{
    struct decoder decoder = {.arena = arena, .status = status};
    *status = saga_status_ok();
    enum saga_err err = check_size(&decoder, bytes);
    return err != SAGA_ERR_OK ? err : decode_reply(&decoder, bytes, reply);
}
