/* Encodes the envelope straight into wire bytes, fields in the order of their numbers, defaults
 * left out: what protobuf's own encoders write. Sizes first, then bytes into reserved room. */
#include "common/wire/envelope.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/wire/wire.h"

struct saga_status saga_status_ok(void)
{
    return (struct saga_status){.message = "", .reason = ""};
}

struct saga_status saga_status_make(enum saga_code code, const char *reason, const char *message)
{
    return (struct saga_status){.code = (uint32_t)code,
                                .message = message == NULL ? "" : message,
                                .reason = reason == NULL ? "" : reason};
}

/* ---- Sizes; all field numbers are below 16: tags have one byte. ---- */

static size_t size_bytes(size_t size)
{
    return size == 0 ? 0 : 1 + saga_wire_varint_size(size) + size;
}

static size_t size_number(uint64_t value)
{
    return value == 0 ? 0 : 1 + saga_wire_varint_size(value);
}

static size_t size_part(bool there, size_t size)
{
    return there ? 1 + saga_wire_varint_size(size) + size : 0;
}

/* A status with its texts cut to their limits; a text that is not UTF-8 would make the whole
 * message unreadable and is left out. */
struct status_plan {
    bool there;
    uint32_t code;
    uint64_t retry_after_ms;
    struct saga_bytes message;
    struct saga_bytes reason;
    size_t size;
};

static struct saga_bytes status_text(const char *text, size_t size_max)
{
    struct saga_bytes bytes = saga_bytes_text(text);
    return saga_wire_utf8(bytes) ? saga_wire_utf8_cut(bytes, size_max) : saga_bytes_text("");
}

static struct status_plan plan_status(const struct saga_status *status)
{
    struct status_plan plan = {
        .code = status->code,
        .retry_after_ms = status->retry_after_ms > 0 ? (uint64_t)status->retry_after_ms : 0,
        .message = status_text(status->message, SAGA_STATUS_MESSAGE_MAX),
        .reason = status_text(status->reason, SAGA_STATUS_REASON_MAX),
    };
    plan.size = size_number(plan.code) + size_bytes(plan.message.size) +
                size_bytes(plan.reason.size) + size_number(plan.retry_after_ms);
    plan.there = plan.size > 0;
    return plan;
}

/* Everything that is measured once before a command is written. */
struct command_plan {
    struct saga_bytes step, method, traceparent, cause_step;
    struct status_plan cause_status;
    bool cause;
    size_t cause_size;
    size_t size;
};

static size_t metadata_size(const struct saga_metadata *metadata)
{
    return size_bytes(strlen(metadata->key)) + size_bytes(strlen(metadata->value));
}

static struct command_plan plan_command(const struct saga_command *command)
{
    struct command_plan plan = {
        .step = saga_bytes_text(command->step),
        .method = saga_bytes_text(command->method),
        .traceparent = saga_bytes_text(command->traceparent),
        .cause_step = saga_bytes_text(command->cause_step),
    };
    plan.cause = command->cause_status.code != 0 || plan.cause_step.size > 0;
    if (plan.cause) {
        plan.cause_status = plan_status(&command->cause_status);
        plan.cause_size = size_bytes(plan.cause_step.size) +
                          size_part(plan.cause_status.there, plan.cause_status.size);
    }
    plan.size = size_bytes(command->op == SAGA_OP_NONE ? 0 : SAGA_ID_SIZE) +
                size_bytes(plan.step.size) + size_number((uint64_t)command->op) +
                size_bytes(plan.method.size) + size_bytes(command->payload.size) +
                size_number(command->attempt) + size_number((uint64_t)command->deadline_unix_ms) +
                size_bytes(plan.traceparent.size) + size_part(plan.cause, plan.cause_size) +
                size_number(command->epoch);
    for (size_t i = 0; i < command->metadata_count; i++) {
        plan.size += size_part(true, metadata_size(&command->metadata[i]));
    }
    return plan;
}

struct reply_plan {
    struct saga_bytes step;
    struct status_plan status;
    size_t size;
};

static struct reply_plan plan_reply(const struct saga_reply *reply)
{
    struct reply_plan plan = {
        .step = saga_bytes_text(reply->step),
        .status = plan_status(&reply->status),
    };
    plan.size = size_bytes(reply->op == SAGA_OP_NONE ? 0 : SAGA_ID_SIZE) +
                size_bytes(plan.step.size) + size_number((uint64_t)reply->op) +
                size_part(plan.status.there, plan.status.size) + size_bytes(reply->payload.size) +
                size_number(reply->replayed) + size_number(reply->empty) +
                size_number(reply->attempt);
    return plan;
}

/* ---- Writing ---- */

static uint8_t *put_bytes(uint8_t *at, uint32_t number, struct saga_bytes bytes)
{
    return bytes.size == 0 ? at : saga_wire_put_bytes(at, number, bytes);
}

static uint8_t *put_number(uint8_t *at, uint32_t number, uint64_t value)
{
    if (value == 0) {
        return at;
    }
    at = saga_wire_put_tag(at, number, SAGA_WIRE_VARINT);
    return saga_wire_put_varint(at, value);
}

/* Begins a message field of a known size. */
static uint8_t *put_part(uint8_t *at, uint32_t number, size_t size)
{
    at = saga_wire_put_tag(at, number, SAGA_WIRE_LEN);
    return saga_wire_put_varint(at, size);
}

static uint8_t *put_id(uint8_t *at, enum saga_op op, const struct saga_id *id)
{
    struct saga_bytes bytes = {id->b, SAGA_ID_SIZE};
    return op == SAGA_OP_NONE ? at : saga_wire_put_bytes(at, 1, bytes);
}

static uint8_t *put_status(uint8_t *at, uint32_t number, const struct status_plan *plan)
{
    if (!plan->there) {
        return at;
    }
    at = put_part(at, number, plan->size);
    at = put_number(at, 1, plan->code);
    at = put_bytes(at, 2, plan->message);
    at = put_bytes(at, 3, plan->reason);
    return put_number(at, 4, plan->retry_after_ms);
}

static uint8_t *put_command(uint8_t *at, const struct saga_command *command,
                            const struct command_plan *plan)
{
    at = put_id(at, command->op, &command->saga_id);
    at = put_bytes(at, 2, plan->step);
    at = put_number(at, 3, (uint64_t)command->op);
    at = put_bytes(at, 4, plan->method);
    at = put_bytes(at, 5, command->payload);
    at = put_number(at, 6, command->attempt);
    at = put_number(at, 7, (uint64_t)command->deadline_unix_ms);
    at = put_bytes(at, 8, plan->traceparent);
    if (plan->cause) {
        at = put_part(at, 9, plan->cause_size);
        at = put_bytes(at, 1, plan->cause_step);
        at = put_status(at, 2, &plan->cause_status);
    }
    at = put_number(at, 10, command->epoch);
    for (size_t i = 0; i < command->metadata_count; i++) {
        const struct saga_metadata *metadata = &command->metadata[i];
        at = put_part(at, 11, metadata_size(metadata));
        at = put_bytes(at, 1, saga_bytes_text(metadata->key));
        at = put_bytes(at, 2, saga_bytes_text(metadata->value));
    }
    return at;
}

static uint8_t *put_reply(uint8_t *at, const struct saga_reply *reply,
                          const struct reply_plan *plan)
{
    at = put_id(at, reply->op, &reply->saga_id);
    at = put_bytes(at, 2, plan->step);
    at = put_number(at, 3, (uint64_t)reply->op);
    at = put_status(at, 4, &plan->status);
    at = put_bytes(at, 5, reply->payload);
    at = put_number(at, 6, reply->replayed);
    at = put_number(at, 7, reply->empty);
    return put_number(at, 8, reply->attempt);
}

/* A peer refuses what is over these limits, so it must not leave. */
static bool within_limits(enum saga_op op, size_t step_size, size_t payload_size)
{
    return step_size <= SAGA_STEP_NAME_MAX && payload_size <= SAGA_MESSAGE_SIZE_MAX &&
           (op == SAGA_OP_NONE || payload_size <= SAGA_PAYLOAD_SIZE_MAX);
}

static enum saga_err encode_command(const struct saga_command *command, struct saga_buf *out,
                                    bool element)
{
    struct command_plan plan = plan_command(command);
    if (!within_limits(command->op, plan.step.size, command->payload.size) ||
        plan.method.size > SAGA_METHOD_NAME_MAX || plan.traceparent.size > SAGA_TRACEPARENT_MAX ||
        plan.cause_step.size > SAGA_STEP_NAME_MAX ||
        command->metadata_count > SAGA_METADATA_COUNT_MAX) {
        return SAGA_ERR_LIMIT;
    }
    enum saga_err err = saga_buf_reserve(out, plan.size + 1 + SAGA_VARINT_SIZE_MAX);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint8_t *at = out->data + out->size;
    if (element) {
        at = put_part(at, 1, plan.size);
    }
    at = put_command(at, command, &plan);
    out->size = (size_t)(at - out->data);
    return SAGA_ERR_OK;
}

static enum saga_err encode_reply(const struct saga_reply *reply, struct saga_buf *out,
                                  bool element)
{
    struct reply_plan plan = plan_reply(reply);
    if (!within_limits(reply->op, plan.step.size, reply->payload.size)) {
        return SAGA_ERR_LIMIT;
    }
    enum saga_err err = saga_buf_reserve(out, plan.size + 1 + SAGA_VARINT_SIZE_MAX);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint8_t *at = out->data + out->size;
    if (element) {
        at = put_part(at, 1, plan.size);
    }
    at = put_reply(at, reply, &plan);
    out->size = (size_t)(at - out->data);
    return SAGA_ERR_OK;
}

enum saga_err saga_command_encode(const struct saga_command *command, struct saga_buf *out)
{
    return encode_command(command, out, false);
}

enum saga_err saga_reply_encode(const struct saga_reply *reply, struct saga_buf *out)
{
    return encode_reply(reply, out, false);
}

enum saga_err saga_command_batch_add(const struct saga_command *command, struct saga_buf *out)
{
    return encode_command(command, out, true);
}

enum saga_err saga_reply_batch_add(const struct saga_reply *reply, struct saga_buf *out)
{
    return encode_reply(reply, out, true);
}

size_t saga_command_size_bound(const struct saga_command *command)
{
    return size_part(true, plan_command(command).size);
}

size_t saga_reply_size_bound(const struct saga_reply *reply)
{
    return size_part(true, plan_reply(reply).size);
}
