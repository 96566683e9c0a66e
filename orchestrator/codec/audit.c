/* Writes saga.v1.AuditEvent directly: one is made for every event of every saga. Fields are written
 * in the order of their numbers and defaults are left out, as every protobuf library does it, so
 * that whoever decodes and encodes again gets the bytes that were hashed. */
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "orchestrator/codec/codec.h"

/* Field numbers, proto/saga/v1/audit.proto. */
enum {
    EVENT_SAGA_ID = 1,
    EVENT_SEQ = 2,
    EVENT_TIME = 3,
    EVENT_DEFINITION = 4,
    EVENT_DEFINITION_HASH = 5,
    EVENT_KIND = 6,
    EVENT_STEP = 7,
    EVENT_OP = 8,
    EVENT_STATUS = 9,
    EVENT_PAYLOAD = 10,
    EVENT_ATTEMPT = 11,
    EVENT_REPLAYED = 12,
    EVENT_EMPTY = 13,
    EVENT_OPERATOR = 14,
    EVENT_STATE = 15,
    EVENT_TRANSITIONS = 16,
    EVENT_DECISIONS = 17,
    EVENT_START_KEY = 18,
    EVENT_SEED = 19,
    EVENT_CAUSE = 20,
    EVENT_WHEN_MASK = 21,
    EVENT_NOT_SENT = 22,
    EVENT_PAUSED = 23,
    EVENT_PARENT_SAGA_ID = 24,
    EVENT_PARENT_STEP = 25,
    EVENT_PREV_HASH = 30,
    EVENT_HASH = 31,

    STATUS_CODE = 1,
    STATUS_MESSAGE = 2,
    STATUS_REASON = 3,
    STATUS_RETRY_AFTER = 4,

    FAILURE_STEP = 1,
    FAILURE_STATUS = 2,

    TRANSITION_STEP = 1,
    TRANSITION_FROM = 2,
    TRANSITION_TO = 3,

    DECISION_STEP = 1,
    DECISION_OP = 2,
    DECISION_ATTEMPT = 3,
    DECISION_VIA = 4,

    OPERATOR_ACT = 1,
    OPERATOR_WHO = 2,
    OPERATOR_WHY = 3,
};

/* Upper bounds of what is written. */
enum {
    NUMBER_SIZE_MAX = 2 + SAGA_VARINT_SIZE_MAX, /* tag and varint */
    TEXT_EXTRA = 2 + SAGA_VARINT_SIZE_MAX,      /* tag and size of bytes */
    STATUS_SIZE_MAX =
        2 * NUMBER_SIZE_MAX + 2 * TEXT_EXTRA + SAGA_STATUS_MESSAGE_MAX + SAGA_STATUS_REASON_MAX,
    STEP_MESSAGE_SIZE_MAX = TEXT_EXTRA + TEXT_EXTRA + SAGA_STEP_NAME_MAX +
                            3 * NUMBER_SIZE_MAX, /* Transition, Decision */
    FIXED_SIZE_MAX = 27 * NUMBER_SIZE_MAX + 2 * SAGA_ID_SIZE + 3 * SAGA_DIGEST_SIZE +
                     SAGA_DEFINITION_NAME_MAX + 3 * SAGA_STEP_NAME_MAX + SAGA_START_KEY_MAX +
                     2 * STATUS_SIZE_MAX + 3 * TEXT_EXTRA + SAGA_WHO_MAX + SAGA_WHY_MAX,
    HASH_FIELD_SIZE = 3 + SAGA_DIGEST_SIZE, /* tag (2), size, bytes */
};

/* ---- Fields; a default is left out ---- */

static uint8_t *put_number(uint8_t *at, uint32_t field, uint64_t value)
{
    if (value == 0) {
        return at;
    }
    at = saga_wire_put_tag(at, field, SAGA_WIRE_VARINT);
    return saga_wire_put_varint(at, value);
}

static uint8_t *put_bytes(uint8_t *at, uint32_t field, struct saga_bytes bytes)
{
    return bytes.size == 0 ? at : saga_wire_put_bytes(at, field, bytes);
}

static uint8_t *put_message_head(uint8_t *at, uint32_t field, size_t size)
{
    at = saga_wire_put_tag(at, field, SAGA_WIRE_LEN);
    return saga_wire_put_varint(at, size);
}

static size_t number_size(uint32_t field, uint64_t value)
{
    return value == 0 ? 0
                      : saga_wire_varint_size((uint64_t)field << 3) + saga_wire_varint_size(value);
}

static size_t bytes_size(uint32_t field, size_t size)
{
    return size == 0
               ? 0
               : saga_wire_varint_size((uint64_t)field << 3) + saga_wire_varint_size(size) + size;
}

/* A text as it can stand in a string field. */
static struct saga_bytes text_of(const char *text, size_t size_max)
{
    struct saga_bytes bytes = saga_bytes_text(text);
    if (!saga_wire_utf8(bytes)) {
        bytes = saga_bytes_text("(not UTF-8)");
    }
    return saga_wire_utf8_cut(bytes, size_max);
}

/* ---- Messages inside the event ---- */

struct status {
    uint32_t code;
    struct saga_bytes message;
    struct saga_bytes reason;
    int64_t retry_after_ms;
};

static struct status status_of(const struct saga_audit_input *in, uint32_t code,
                               int64_t retry_after_ms)
{
    return (struct status){
        .code = code,
        .message = text_of(in->message, SAGA_STATUS_MESSAGE_MAX),
        .reason = text_of(in->reason, SAGA_STATUS_REASON_MAX),
        .retry_after_ms = retry_after_ms,
    };
}

static size_t status_size(const struct status *status)
{
    return number_size(STATUS_CODE, status->code) +
           bytes_size(STATUS_MESSAGE, status->message.size) +
           bytes_size(STATUS_REASON, status->reason.size) +
           number_size(STATUS_RETRY_AFTER, (uint64_t)status->retry_after_ms);
}

static uint8_t *put_status(uint8_t *at, uint32_t field, const struct status *status)
{
    at = put_message_head(at, field, status_size(status));
    at = put_number(at, STATUS_CODE, status->code);
    at = put_bytes(at, STATUS_MESSAGE, status->message);
    at = put_bytes(at, STATUS_REASON, status->reason);
    return put_number(at, STATUS_RETRY_AFTER, (uint64_t)status->retry_after_ms);
}

static struct saga_bytes step_name(const struct saga_audit_input *in, uint8_t step)
{
    if (step == SAGA_STEP_ALL) {
        return (struct saga_bytes){0};
    }
    SAGA_ASSERT(step < in->version->def.step_count);
    return saga_bytes_text(in->version->step_names[step]);
}

static uint8_t *put_cause(uint8_t *at, const struct saga_audit_input *in)
{
    const struct saga *saga = in->saga;
    struct saga_bytes step = step_name(in, saga->cause_step);
    struct status status = status_of(in, saga->cause_code, 0);
    size_t inner = status_size(&status);
    size_t status_field = 1 + saga_wire_varint_size(inner) + inner; /* there even when empty */
    at = put_message_head(at, EVENT_CAUSE, bytes_size(FAILURE_STEP, step.size) + status_field);
    at = put_bytes(at, FAILURE_STEP, step);
    return put_status(at, FAILURE_STATUS, &status);
}

static uint8_t *put_operator(uint8_t *at, const struct saga_audit_input *in)
{
    struct saga_bytes who = text_of(SAGA_BROKEN(S12_WHO) ? "" : in->who, SAGA_WHO_MAX);
    struct saga_bytes why = text_of(SAGA_BROKEN(S12_WHY) ? "" : in->why, SAGA_WHY_MAX);
    uint64_t act = (uint64_t)in->ev->act;
    at = put_message_head(at, EVENT_OPERATOR,
                          number_size(OPERATOR_ACT, act) + bytes_size(OPERATOR_WHO, who.size) +
                              bytes_size(OPERATOR_WHY, why.size));
    at = put_number(at, OPERATOR_ACT, act);
    at = put_bytes(at, OPERATOR_WHO, who);
    return put_bytes(at, OPERATOR_WHY, why);
}

static uint8_t *put_transition(uint8_t *at, const struct saga_audit_input *in,
                               const struct saga_move *move)
{
    struct saga_bytes step = step_name(in, move->step);
    at = put_message_head(at, EVENT_TRANSITIONS,
                          bytes_size(TRANSITION_STEP, step.size) +
                              number_size(TRANSITION_FROM, move->from) +
                              number_size(TRANSITION_TO, move->to));
    at = put_bytes(at, TRANSITION_STEP, step);
    at = put_number(at, TRANSITION_FROM, move->from);
    return put_number(at, TRANSITION_TO, move->to);
}

static uint8_t *put_decision(uint8_t *at, const struct saga_audit_input *in,
                             const struct saga_send *send)
{
    struct saga_bytes step = step_name(in, send->step);
    uint64_t op = (uint64_t)send->op;
    uint64_t via = (uint64_t)send->via;
    at = put_message_head(at, EVENT_DECISIONS,
                          bytes_size(DECISION_STEP, step.size) + number_size(DECISION_OP, op) +
                              number_size(DECISION_ATTEMPT, send->attempt) +
                              number_size(DECISION_VIA, via));
    at = put_bytes(at, DECISION_STEP, step);
    at = put_number(at, DECISION_OP, op);
    at = put_number(at, DECISION_ATTEMPT, send->attempt);
    return put_number(at, DECISION_VIA, via);
}

/* ---- The event ---- */

/* The step of the event; SAGA_STEP_ALL when it is of the saga as a whole. */
static uint8_t event_step(const struct saga_event *ev)
{
    switch (ev->kind) {
    case SAGA_EVENT_REPLY:
    case SAGA_EVENT_DURABLE:
    case SAGA_EVENT_OPERATOR:
        return ev->step;
    case SAGA_EVENT_START:
    case SAGA_EVENT_TIMER:
    case SAGA_EVENT_RECOVERED:
    case SAGA_EVENT_REVERSE:
        break;
    }
    return SAGA_STEP_ALL;
}

/* Fields 1 to 14: what happened. */
static uint8_t *put_happening(uint8_t *at, const struct saga_audit_input *in)
{
    const struct saga_event *ev = in->ev;
    const struct saga_version *version = in->version;
    bool reply = ev->kind == SAGA_EVENT_REPLY;
    bool durable = ev->kind == SAGA_EVENT_DURABLE;
    at = put_bytes(at, EVENT_SAGA_ID,
                   (struct saga_bytes){.data = in->saga->id.b, .size = SAGA_ID_SIZE});
    at = put_number(at, EVENT_SEQ, in->saga->seq);
    at = put_number(at, EVENT_TIME, (uint64_t)ev->now_unix_ms);
    at = put_bytes(at, EVENT_DEFINITION, saga_bytes_text(version->name));
    at = put_bytes(at, EVENT_DEFINITION_HASH,
                   (struct saga_bytes){.data = version->hash, .size = SAGA_DIGEST_SIZE});
    at = put_number(at, EVENT_KIND, (uint64_t)ev->kind);
    at = put_bytes(at, EVENT_STEP, step_name(in, event_step(ev)));
    if (reply || durable) {
        at = put_number(at, EVENT_OP, (uint64_t)ev->op);
    }
    if (reply && ev->code != SAGA_CODE_OK) {
        struct status status = status_of(in, ev->code, ev->retry_after_ms);
        at = put_status(at, EVENT_STATUS, &status);
    }
    if (reply || ev->kind == SAGA_EVENT_START) {
        at = put_bytes(at, EVENT_PAYLOAD, in->payload);
    }
    if (reply || durable) {
        at = put_number(at, EVENT_ATTEMPT, ev->attempt);
    }
    if (reply) {
        at = put_number(at, EVENT_REPLAYED, in->replayed ? 1 : 0);
        at = put_number(at, EVENT_EMPTY, in->empty ? 1 : 0);
    }
    if (ev->kind == SAGA_EVENT_OPERATOR) {
        at = put_operator(at, in);
    }
    return at;
}

/* Fields 15 to 30: what was decided. */
static uint8_t *put_outcome(uint8_t *at, const struct saga_audit_input *in)
{
    const struct saga_event *ev = in->ev;
    at = put_number(at, EVENT_STATE, in->saga->state);
    for (uint32_t i = 0; i < in->up->move_count; i++) {
        at = put_transition(at, in, &in->up->moves[i]);
    }
    for (uint32_t i = 0; i < in->up->send_count && !SAGA_BROKEN(S13_NO_DECISION); i++) {
        at = put_decision(at, in, &in->up->sends[i]);
    }
    if (ev->kind == SAGA_EVENT_START) {
        at = put_bytes(at, EVENT_START_KEY, text_of(in->start_key, SAGA_START_KEY_MAX));
        at = put_number(at, EVENT_SEED, SAGA_BROKEN(S7_NO_SEED) ? 0 : ev->seed);
    }
    if (in->up->cause_set) {
        at = put_cause(at, in);
    }
    at = put_number(at, EVENT_WHEN_MASK, SAGA_BROKEN(S7_NO_CONDITIONS) ? 0 : ev->when_mask);
    if (ev->kind == SAGA_EVENT_REPLY) {
        at = put_number(at, EVENT_NOT_SENT, ev->not_sent && !SAGA_BROKEN(S7_NO_NOT_SENT) ? 1 : 0);
    }
    at = put_number(at, EVENT_PAUSED, ev->paused ? 1 : 0);
    if (ev->kind == SAGA_EVENT_START && in->parent_step != NULL && in->parent_step[0] != '\0') {
        at = put_bytes(at, EVENT_PARENT_SAGA_ID,
                       (struct saga_bytes){.data = in->parent_id.b, .size = SAGA_ID_SIZE});
        at = put_bytes(at, EVENT_PARENT_STEP, text_of(in->parent_step, SAGA_STEP_NAME_MAX));
    }
    if (in->saga->seq > 1 && !SAGA_BROKEN(S9_CHAIN)) {
        at = put_bytes(at, EVENT_PREV_HASH,
                       (struct saga_bytes){.data = in->prev_hash, .size = SAGA_DIGEST_SIZE});
    }
    return at;
}

enum saga_err saga_audit_encode(const struct saga_audit_input *in, struct saga_buf *out,
                                uint8_t hash[SAGA_DIGEST_SIZE])
{
    SAGA_ASSERT(in->up->move_count <= SAGA_MOVES_MAX && in->up->send_count <= SAGA_STEPS_MAX);
    size_t messages = (size_t)in->up->move_count + in->up->send_count;
    size_t bound = FIXED_SIZE_MAX + in->payload.size + messages * STEP_MESSAGE_SIZE_MAX;
    enum saga_err err = saga_buf_reserve(out, bound);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint8_t *begin = out->data + out->size;
    uint8_t *end = put_outcome(put_happening(begin, in), in);
    /* The hash is the last field, so what was written until now is the event with `hash` empty. */
    size_t hashed = (size_t)(end - begin) - (SAGA_BROKEN(S9_HASH) ? 1 : 0);
    saga_digest((struct saga_bytes){.data = begin, .size = hashed}, hash);
    end = put_bytes(end, EVENT_HASH, (struct saga_bytes){.data = hash, .size = SAGA_DIGEST_SIZE});
    SAGA_ASSERT((size_t)(end - begin) <= bound);
    out->size += (size_t)(end - begin);
    return SAGA_ERR_OK;
}

enum saga_err saga_audit_verify(struct saga_bytes event, uint8_t hash[SAGA_DIGEST_SIZE])
{
    uint8_t head[3];
    uint8_t *end = saga_wire_put_tag(head, EVENT_HASH, SAGA_WIRE_LEN);
    *end = SAGA_DIGEST_SIZE;
    if (event.size < HASH_FIELD_SIZE) {
        return SAGA_ERR_CORRUPT;
    }
    size_t hashed = event.size - HASH_FIELD_SIZE;
    uint8_t digest[SAGA_DIGEST_SIZE];
    saga_digest((struct saga_bytes){.data = event.data, .size = hashed}, digest);
    if (memcmp(event.data + hashed, head, sizeof head) != 0 ||
        memcmp(event.data + hashed + sizeof head, digest, SAGA_DIGEST_SIZE) != 0) {
        return SAGA_ERR_CORRUPT;
    }
    memcpy(hash, digest, SAGA_DIGEST_SIZE);
    return SAGA_ERR_OK;
}
