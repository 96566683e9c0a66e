/* The record: a saga's state as the store keeps it.
 *
 *     version  1 byte, RECORD_VERSION
 *     size     2 bytes, little endian: of the body
 *     body     see below; what follows the part that this program knows is passed over, so that a
 *              field can be added at its end without a new version
 *     check    4 bytes, little endian: FNV-1a of all bytes before
 *
 * Numbers in the body are varints. A time is 0 when there is none, else 1 + the zigzag of its
 * distance from the saga's creation: almost always one to four bytes.
 *
 *     state, resume, cause, cause step + 1 (0: none), cause code, seq, created (as it is),
 * deadline, ended, seed (8 bytes), three texts (size, bytes, a zero): cause reason, cause message,
 *     traceparent; step count, then of each step one byte:
 *         bits 0-3 state, bits 4-5 wait modulo 4, bit 6: a tail follows, bit 7: wait / 4
 *     and its tail: flags (1 maybe effect, 2 stalled, 4 parked), last code, call attempts, undo
 *     attempts, failures, due. A step without a tail has zeros for these. Behind the steps: 1 if
 * the saga is a child (0 or the end: it is not), then its parent's id (16 bytes) and step (a text).
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "orchestrator/codec/codec.h"

enum {
    RECORD_VERSION = 1,
    HEAD_SIZE = 3,
    CHECK_SIZE = 4,
    SEED_SIZE = 8,
    FLAG_MAYBE_EFFECT = 1,
    FLAG_STALLED = 2,
    FLAG_PARKED = 4,
    FLAGS_ALL = 7,
    STEP_STATE_MASK = 0x0f,
    STEP_WAIT_SHIFT = 4,
    STEP_WAIT_MASK = 0x03,
    STEP_TAIL = 0x40,
    STEP_WAIT_HIGH = 0x80,
    STEP_WAIT_HIGH_SHIFT = 5, /* from there to where it stands in the wait */
    /* Upper bounds of parts. */
    SCALARS_SIZE_MAX = 11 * SAGA_VARINT_SIZE_MAX + SEED_SIZE,
    STEP_SIZE_MAX = 1 + 6 * SAGA_VARINT_SIZE_MAX,
    TEXT_EXTRA = SAGA_VARINT_SIZE_MAX + 1,
    BODY_SIZE_MAX = SCALARS_SIZE_MAX + SAGA_STEPS_MAX * STEP_SIZE_MAX + 3 * TEXT_EXTRA +
                    SAGA_STATUS_REASON_MAX + SAGA_STATUS_MESSAGE_MAX + SAGA_TRACEPARENT_MAX +
                    SAGA_VARINT_SIZE_MAX + SAGA_ID_SIZE + TEXT_EXTRA + SAGA_STEP_NAME_MAX,
};

_Static_assert(BODY_SIZE_MAX <= UINT16_MAX, "the body's size fits into two bytes");

static uint32_t check_of(const uint8_t *bytes, size_t size)
{
    uint32_t check = 2166136261U;
    for (size_t i = 0; i < size; i++) {
        check = (check ^ bytes[i]) * 16777619U;
    }
    return check;
}

/* ---- Writing ---- */

static uint8_t *put_time(uint8_t *at, int64_t time, int64_t created)
{
    if (time == 0) {
        return saga_wire_put_varint(at, 0);
    }
    uint64_t distance = (uint64_t)time - (uint64_t)created;
    uint64_t sign = distance >> 63;
    return saga_wire_put_varint(at, ((distance << 1) ^ (0 - sign)) + 1);
}

static uint8_t *put_text(uint8_t *at, const char *text, size_t size_max)
{
    struct saga_bytes bytes = saga_wire_utf8_cut(saga_bytes_text(text), size_max);
    at = saga_wire_put_varint(at, bytes.size);
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    at += bytes.size;
    *at++ = 0;
    return at;
}

static uint8_t *put_step(uint8_t *at, const struct saga_step_run *run, int64_t created)
{
    unsigned flags = (run->maybe_effect ? FLAG_MAYBE_EFFECT : 0U) |
                     (run->stalled ? FLAG_STALLED : 0U) | (run->parked ? FLAG_PARKED : 0U);
    bool tail = flags != 0 || run->last_code != 0 || run->call_attempts != 0 ||
                run->undo_attempts != 0 || run->failures != 0 || run->due_unix_ms != 0;
    *at++ = (uint8_t)((run->state & STEP_STATE_MASK) |
                      ((unsigned)(run->wait & STEP_WAIT_MASK) << STEP_WAIT_SHIFT) |
                      (run->wait > STEP_WAIT_MASK ? STEP_WAIT_HIGH : 0U) | (tail ? STEP_TAIL : 0U));
    if (tail) {
        at = saga_wire_put_varint(at, flags);
        at = saga_wire_put_varint(at, run->last_code);
        at = saga_wire_put_varint(at, run->call_attempts);
        at = saga_wire_put_varint(at, run->undo_attempts);
        at = saga_wire_put_varint(at, run->failures);
        at = put_time(at, run->due_unix_ms, created);
    }
    return at;
}

static uint8_t *put_fixed(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        *at++ = (uint8_t)(value >> (8 * i));
    }
    return at;
}

static uint8_t *put_parent(uint8_t *at, const struct saga_texts *texts)
{
    bool child = texts->parent_step != NULL && texts->parent_step[0] != '\0';
    *at++ = child ? 1 : 0;
    if (child) {
        memcpy(at, texts->parent_id.b, SAGA_ID_SIZE);
        at = put_text(at + SAGA_ID_SIZE, texts->parent_step, SAGA_STEP_NAME_MAX);
    }
    return at;
}

static uint8_t *put_body(uint8_t *at, const struct saga *saga, const struct saga_texts *texts)
{
    at = saga_wire_put_varint(at, saga->state);
    at = saga_wire_put_varint(at, saga->resume);
    at = saga_wire_put_varint(at, saga->cause);
    at = saga_wire_put_varint(at, saga->cause_step == SAGA_STEP_ALL ? 0 : saga->cause_step + 1U);
    at = saga_wire_put_varint(at, saga->cause_code);
    at = saga_wire_put_varint(at, saga->seq);
    at = saga_wire_put_varint(at, (uint64_t)saga->created_unix_ms);
    at = put_time(at, saga->deadline_unix_ms, saga->created_unix_ms);
    at = put_time(at, saga->ended_unix_ms, saga->created_unix_ms);
    at = put_fixed(at, saga->seed, SEED_SIZE);
    at = put_text(at, texts->cause_reason, SAGA_STATUS_REASON_MAX);
    at = put_text(at, texts->cause_message, SAGA_STATUS_MESSAGE_MAX);
    at = put_text(at, texts->traceparent, SAGA_TRACEPARENT_MAX);
    at = saga_wire_put_varint(at, saga->step_count);
    for (uint8_t i = 0; i < saga->step_count; i++) {
        at = put_step(at, &saga->steps[i], saga->created_unix_ms);
    }
    return put_parent(at, texts);
}

enum saga_err saga_record_encode(const struct saga *saga, const struct saga_texts *texts,
                                 struct saga_buf *out)
{
    enum saga_err err = saga_buf_reserve(out, HEAD_SIZE + BODY_SIZE_MAX + CHECK_SIZE);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint8_t *begin = out->data + out->size;
    uint8_t *body = begin + HEAD_SIZE;
    uint8_t *end = put_body(body, saga, texts);
    *begin = RECORD_VERSION;
    (void)put_fixed(begin + 1, (uint64_t)(end - body), 2);
    end = put_fixed(end, check_of(begin, (size_t)(end - begin)), CHECK_SIZE);
    out->size += (size_t)(end - begin);
    return SAGA_ERR_OK;
}

/* ---- Reading ---- */

/* A reader that remembers whether all went well: what is read after a failure is 0. */
struct reading {
    struct saga_wire_reader reader;
    bool failed;
};

static uint64_t get_number(struct reading *in, uint64_t max)
{
    uint64_t value = 0;
    if (in->failed || !saga_wire_varint(&in->reader, &value) || value > max) {
        in->failed = true;
        return 0;
    }
    return value;
}

static int64_t get_time(struct reading *in, int64_t created)
{
    uint64_t value = get_number(in, UINT64_MAX);
    if (value == 0) {
        return 0;
    }
    value -= 1;
    uint64_t distance = (value >> 1) ^ (0 - (value & 1));
    return (int64_t)(distance + (uint64_t)created);
}

static uint64_t get_fixed(struct reading *in, unsigned size)
{
    if (in->failed || (size_t)(in->reader.end - in->reader.at) < size) {
        in->failed = true;
        return 0;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)in->reader.at[i] << (8 * i);
    }
    in->reader.at += size;
    return value;
}

static const char *get_text(struct reading *in, size_t size_max)
{
    size_t size = (size_t)get_number(in, size_max);
    if (in->failed || (size_t)(in->reader.end - in->reader.at) < size + 1) {
        in->failed = true;
        return "";
    }
    const uint8_t *text = in->reader.at;
    if (memchr(text, 0, size + 1) != text + size) {
        in->failed = true;
        return "";
    }
    in->reader.at += size + 1;
    return (const char *)text;
}

static void get_step(struct reading *in, struct saga_step_run *run, int64_t created)
{
    unsigned first = (unsigned)get_fixed(in, 1);
    run->state = (uint8_t)(first & STEP_STATE_MASK);
    run->wait = (uint8_t)(((first >> STEP_WAIT_SHIFT) & STEP_WAIT_MASK) |
                          ((first & STEP_WAIT_HIGH) >> STEP_WAIT_HIGH_SHIFT));
    if (run->state > SAGA_STEP_SKIPPED || run->wait > SAGA_WAIT_CHILD) {
        in->failed = true;
    }
    if ((first & STEP_TAIL) == 0) {
        return;
    }
    unsigned flags = (unsigned)get_number(in, FLAGS_ALL);
    run->maybe_effect = (flags & FLAG_MAYBE_EFFECT) != 0;
    run->stalled = (flags & FLAG_STALLED) != 0;
    run->parked = (flags & FLAG_PARKED) != 0;
    run->last_code = (uint8_t)get_number(in, UINT8_MAX);
    run->call_attempts = (uint32_t)get_number(in, UINT32_MAX);
    run->undo_attempts = (uint32_t)get_number(in, UINT32_MAX);
    run->failures = (uint32_t)get_number(in, UINT32_MAX);
    run->due_unix_ms = get_time(in, created);
}

/* Records of sagas that began before there were children end before this. */
static void get_parent(struct reading *in, struct saga_texts *texts)
{
    texts->parent_step = "";
    texts->parent_id = (struct saga_id){{0}};
    if (in->failed || in->reader.at == in->reader.end || get_number(in, 1) == 0) {
        return;
    }
    if ((size_t)(in->reader.end - in->reader.at) < SAGA_ID_SIZE) {
        in->failed = true;
        return;
    }
    memcpy(texts->parent_id.b, in->reader.at, SAGA_ID_SIZE);
    in->reader.at += SAGA_ID_SIZE;
    texts->parent_step = get_text(in, SAGA_STEP_NAME_MAX);
    in->failed = in->failed || texts->parent_step[0] == '\0';
}

static void get_body(struct reading *in, struct saga *saga, struct saga_texts *texts)
{
    saga->state = (uint8_t)get_number(in, SAGA_STATE_PARKED);
    saga->resume = (uint8_t)get_number(in, SAGA_STATE_PARKED);
    saga->cause = (uint8_t)get_number(in, SAGA_CAUSE_PARENT);
    uint64_t cause_step = get_number(in, SAGA_STEPS_MAX);
    saga->cause_step = cause_step == 0 ? SAGA_STEP_ALL : (uint8_t)(cause_step - 1);
    saga->cause_code = (uint8_t)get_number(in, UINT8_MAX);
    saga->seq = get_number(in, UINT64_MAX);
    saga->created_unix_ms = (int64_t)get_number(in, UINT64_MAX);
    saga->deadline_unix_ms = get_time(in, saga->created_unix_ms);
    saga->ended_unix_ms = get_time(in, saga->created_unix_ms);
    saga->seed = get_fixed(in, SEED_SIZE);
    texts->cause_reason = get_text(in, SAGA_STATUS_REASON_MAX);
    texts->cause_message = get_text(in, SAGA_STATUS_MESSAGE_MAX);
    texts->traceparent = get_text(in, SAGA_TRACEPARENT_MAX);
    saga->step_count = (uint8_t)get_number(in, SAGA_STEPS_MAX);
    for (uint8_t i = 0; i < saga->step_count && !in->failed; i++) {
        get_step(in, &saga->steps[i], saga->created_unix_ms);
    }
    get_parent(in, texts);
    if (cause_step > saga->step_count) {
        in->failed = true;
    }
}

enum saga_err saga_record_decode(struct saga_bytes record, struct saga *saga,
                                 struct saga_texts *texts)
{
    if (record.size < HEAD_SIZE + CHECK_SIZE || record.data[0] != RECORD_VERSION) {
        return SAGA_ERR_CORRUPT;
    }
    size_t body_size = (size_t)record.data[1] | ((size_t)record.data[2] << 8);
    if (record.size != HEAD_SIZE + body_size + CHECK_SIZE) {
        return SAGA_ERR_CORRUPT;
    }
    struct saga_bytes body = {.data = record.data + HEAD_SIZE, .size = body_size};
    struct reading check = {.reader = saga_wire_read((struct saga_bytes){
                                .data = body.data + body_size, .size = CHECK_SIZE})};
    if (get_fixed(&check, CHECK_SIZE) != check_of(record.data, HEAD_SIZE + body_size)) {
        return SAGA_ERR_CORRUPT;
    }
    struct saga read = {.id = saga->id};
    struct saga_texts read_texts;
    struct reading in = {.reader = saga_wire_read(body)};
    get_body(&in, &read, &read_texts);
    if (in.failed) {
        return SAGA_ERR_CORRUPT;
    }
    *saga = read;
    *texts = read_texts;
    return SAGA_ERR_OK;
}
