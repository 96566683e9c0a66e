/* The envelope: round trips, limits, cut and broken input. What Google's protobuf makes of it:
 * tests/contract/wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/prng.h"
#include "common/wire/envelope.h"
#include "common/wire/wire.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "saga/v1/command.pb-c.h"

enum { MUTATIONS = 100000 };

static const struct saga_metadata metadata[] = {{"authorization", "Bearer x"}, {"k.1_a-b", ""}};

/* A command with every field set. */
static struct saga_command full_command(void)
{
    return (struct saga_command){
        .saga_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
        .step = "payment",
        .op = SAGA_OP_UNDO,
        .method = "payment.v1.PaymentService/RefundPayment",
        .payload = {(const uint8_t *)"\x08\x07", 2},
        .attempt = 300,
        .deadline_unix_ms = 1700000000000,
        .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        .cause_step = "accept",
        .cause_status = {.code = SAGA_CODE_FAILED_PRECONDITION,
                         .message = "the kitchen says no",
                         .reason = "TICKET_REFUSED",
                         .retry_after_ms = 5},
        .epoch = UINT64_MAX,
        .metadata = metadata,
        .metadata_count = 2,
    };
}

static struct saga_reply full_reply(void)
{
    return (struct saga_reply){
        .saga_id = {{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}},
        .step = "stock",
        .op = SAGA_OP_CALL,
        .status = {.code = SAGA_CODE_RESOURCE_EXHAUSTED,
                   .message = "later",
                   .reason = "BUSY",
                   .retry_after_ms = 250},
        .payload = {(const uint8_t *)"xyz", 3},
        .replayed = true,
        .empty = true,
        .attempt = 2,
    };
}

static void expect_status(struct saga_status got, struct saga_status expected)
{
    assert_int_equal(got.code, expected.code);
    assert_string_equal(got.message, expected.message);
    assert_string_equal(got.reason, expected.reason);
    assert_int_equal(got.retry_after_ms, expected.retry_after_ms);
}

static void expect_command(const struct saga_command *got, const struct saga_command *expected)
{
    assert_true(saga_id_equal(got->saga_id, expected->saga_id));
    assert_string_equal(got->step, expected->step);
    assert_int_equal(got->op, expected->op);
    assert_string_equal(got->method, expected->method);
    assert_true(saga_bytes_equal(got->payload, expected->payload));
    assert_int_equal(got->attempt, expected->attempt);
    assert_int_equal(got->deadline_unix_ms, expected->deadline_unix_ms);
    assert_string_equal(got->traceparent, expected->traceparent);
    assert_string_equal(got->cause_step, expected->cause_step);
    expect_status(got->cause_status, expected->cause_status);
    assert_true(got->epoch == expected->epoch);
    assert_int_equal(got->metadata_count, expected->metadata_count);
    for (size_t i = 0; i < got->metadata_count; i++) {
        assert_string_equal(got->metadata[i].key, expected->metadata[i].key);
        assert_string_equal(got->metadata[i].value, expected->metadata[i].value);
    }
}

static void expect_reply(const struct saga_reply *got, const struct saga_reply *expected)
{
    assert_true(saga_id_equal(got->saga_id, expected->saga_id));
    assert_string_equal(got->step, expected->step);
    assert_int_equal(got->op, expected->op);
    expect_status(got->status, expected->status);
    assert_true(saga_bytes_equal(got->payload, expected->payload));
    assert_int_equal(got->replayed, expected->replayed);
    assert_int_equal(got->empty, expected->empty);
    assert_int_equal(got->attempt, expected->attempt);
}

static void test_command_with_every_field_when_encoded_then_decodes_the_same(void **state)
{
    (void)state;
    struct saga_command command = full_command();
    struct saga_command got;
    struct saga_status status;
    struct saga_arena arena = {0};
    struct saga_buf buf = {0};
    assert_int_equal(saga_command_encode(&command, &buf), SAGA_ERR_OK);
    assert_int_equal(saga_command_decode(saga_buf_view(&buf), &arena, &got, &status), SAGA_ERR_OK);
    memset(buf.data, 0xee, buf.size); /* what was decoded does not borrow from the input */
    expect_command(&got, &command);
    assert_int_equal(status.code, SAGA_CODE_OK);
    saga_buf_fini(&buf);
    saga_arena_fini(&arena);
}

static void test_reply_with_every_field_when_encoded_then_decodes_the_same(void **state)
{
    (void)state;
    struct saga_reply reply = full_reply();
    struct saga_reply got;
    struct saga_status status;
    struct saga_arena arena = {0};
    struct saga_buf buf = {0};
    assert_int_equal(saga_reply_encode(&reply, &buf), SAGA_ERR_OK);
    assert_int_equal(saga_reply_decode(saga_buf_view(&buf), &arena, &got, &status), SAGA_ERR_OK);
    expect_reply(&got, &reply);
    saga_buf_fini(&buf);
    saga_arena_fini(&arena);
}

static void test_command_ordinary_when_encoded_then_has_method_alone(void **state)
{
    (void)state;
    struct saga_command command = {.method = "a.B/C"};
    struct saga_buf buf = {0};
    assert_int_equal(saga_command_encode(&command, &buf), SAGA_ERR_OK);
    assert_true(saga_bytes_equal(saga_buf_view(&buf), saga_bytes_text("\x22\x05"
                                                                      "a.B/C")));
    saga_buf_fini(&buf);
}

static void test_batch_of_256_when_encoded_then_decodes_in_order_within_its_bound(void **state)
{
    (void)state;
    struct saga_command command = full_command();
    struct saga_reply reply = full_reply();
    struct saga_buf commands = {0};
    struct saga_buf replies = {0};
    for (uint32_t i = 1; i <= SAGA_BATCH_COUNT_MAX; i++) {
        size_t before = commands.size;
        command.attempt = i;
        assert_int_equal(saga_command_batch_add(&command, &commands), SAGA_ERR_OK);
        assert_true(commands.size - before <= saga_command_size_bound(&command));
        before = replies.size;
        reply.attempt = i;
        assert_int_equal(saga_reply_batch_add(&reply, &replies), SAGA_ERR_OK);
        assert_true(replies.size - before <= saga_reply_size_bound(&reply));
    }
    struct saga_arena arena = {0};
    struct saga_command *got_commands = NULL;
    struct saga_reply *got_replies = NULL;
    struct saga_status status;
    size_t count = 0;
    assert_int_equal(
        saga_command_batch_decode(saga_buf_view(&commands), &arena, &got_commands, &count, &status),
        SAGA_ERR_OK);
    assert_int_equal(count, SAGA_BATCH_COUNT_MAX);
    assert_int_equal(
        saga_reply_batch_decode(saga_buf_view(&replies), &arena, &got_replies, &count, &status),
        SAGA_ERR_OK);
    assert_int_equal(count, SAGA_BATCH_COUNT_MAX);
    for (uint32_t i = 1; i <= SAGA_BATCH_COUNT_MAX; i++) {
        command.attempt = i;
        reply.attempt = i;
        expect_command(&got_commands[i - 1], &command);
        expect_reply(&got_replies[i - 1], &reply);
    }
    assert_int_equal(saga_command_batch_add(&command, &commands), SAGA_ERR_OK);
    assert_int_equal(
        saga_command_batch_decode(saga_buf_view(&commands), &arena, &got_commands, &count, &status),
        SAGA_ERR_LIMIT);
    assert_int_equal(status.code, SAGA_CODE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "SAGA_BATCH_COUNT_MAX"));
    saga_buf_fini(&commands);
    saga_buf_fini(&replies);
    saga_arena_fini(&arena);
}

static void test_batch_when_empty_then_invalid(void **state)
{
    (void)state;
    struct saga_arena arena = {0};
    struct saga_command *commands = NULL;
    struct saga_status status;
    size_t count = 0;
    struct saga_bytes none = {0};
    assert_int_equal(saga_command_batch_decode(none, &arena, &commands, &count, &status),
                     SAGA_ERR_INVALID);
    assert_int_equal(status.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(status.message, "batch is empty");
    saga_arena_fini(&arena);
}

static void test_message_when_over_the_limit_then_refused_unread(void **state)
{
    (void)state;
    struct saga_arena arena = {0};
    struct saga_command command;
    struct saga_reply *replies = NULL;
    struct saga_status status;
    size_t count = 0;
    uint8_t *zeros = calloc(1, SAGA_MESSAGE_SIZE_MAX + 1);
    assert_non_null(zeros);
    struct saga_bytes bytes = {zeros, SAGA_MESSAGE_SIZE_MAX + 1};
    assert_int_equal(saga_command_decode(bytes, &arena, &command, &status), SAGA_ERR_LIMIT);
    assert_int_equal(status.code, SAGA_CODE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "1048577 bytes, limit 1048576 (SAGA_MESSAGE_SIZE_MAX)"));
    assert_int_equal(saga_reply_batch_decode(bytes, &arena, &replies, &count, &status),
                     SAGA_ERR_LIMIT);
    bytes.size--;
    assert_int_equal(saga_command_decode(bytes, &arena, &command, &status), SAGA_ERR_MALFORMED);
    assert_true(arena.total <= 256 * 1024); /* nothing of the message was copied */
    free(zeros);
    saga_arena_fini(&arena);
}

/* Encodes with generated code, which does not know our limits, and decodes with ours. */
static void expect_refused(Saga__V1__Command *raw, enum saga_err expected, const char *message)
{
    struct saga_buf buf = {0};
    struct saga_arena arena = {0};
    struct saga_command command;
    struct saga_status status;
    assert_int_equal(saga_message_encode(&raw->base, &buf), SAGA_ERR_OK);
    enum saga_err err = saga_command_decode(saga_buf_view(&buf), &arena, &command, &status);
    if (expected == SAGA_ERR_OK) {
        assert_int_equal(err, SAGA_ERR_OK);
    } else {
        assert_int_equal(err, expected);
        assert_non_null(strstr(status.message, message));
        assert_int_equal(status.code, expected == SAGA_ERR_LIMIT ? SAGA_CODE_RESOURCE_EXHAUSTED
                                                                 : SAGA_CODE_INVALID_ARGUMENT);
        assert_true(status.reason[0] != '\0');
    }
    saga_buf_fini(&buf);
    saga_arena_fini(&arena);
}

static char long_text[SAGA_METADATA_VALUE_MAX + 2];
static uint8_t id_bytes[SAGA_ID_SIZE + 1];

static Saga__V1__Command raw_command(void)
{
    static char step[] = "pay";
    static char method[] = "a.B/C";
    Saga__V1__Command raw;
    saga__v1__command__init(&raw);
    raw.saga_id = (ProtobufCBinaryData){SAGA_ID_SIZE, id_bytes};
    raw.step = step;
    raw.method = method;
    raw.op = SAGA__V1__OP__OP_CALL;
    raw.attempt = 1;
    return raw;
}

/* The last size letters of the long text. */
static char *letters(size_t size)
{
    return long_text + sizeof long_text - 1 - size;
}

static void test_command_when_a_field_is_wrong_then_the_status_names_it(void **state)
{
    (void)state;
    memset(long_text, 'a', sizeof long_text - 1);
    Saga__V1__Command raw = raw_command();
    expect_refused(&raw, SAGA_ERR_OK, "");
    raw.saga_id.len = 15;
    expect_refused(&raw, SAGA_ERR_INVALID, "saga_id has 15 bytes, must have 16");
    raw.saga_id.len = 17;
    expect_refused(&raw, SAGA_ERR_INVALID, "saga_id");
    raw = raw_command();
    raw.step = letters(SAGA_STEP_NAME_MAX + 1);
    expect_refused(&raw, SAGA_ERR_INVALID, "step has 32 bytes, limit 31");
    raw.step = letters(SAGA_STEP_NAME_MAX);
    expect_refused(&raw, SAGA_ERR_OK, "");
    static char capital[] = "Pay";
    raw.step = capital;
    expect_refused(&raw, SAGA_ERR_INVALID, "step must be");
    raw = raw_command();
    raw.op = (Saga__V1__Op)3;
    expect_refused(&raw, SAGA_ERR_INVALID, "op 3 is unknown");
    raw.op = SAGA__V1__OP__OP_UNSPECIFIED;
    expect_refused(&raw, SAGA_ERR_INVALID, "must be empty when op is OP_UNSPECIFIED");
    raw = raw_command();
    raw.method = letters(0);
    expect_refused(&raw, SAGA_ERR_INVALID, "method");
    raw.method = letters(SAGA_METHOD_NAME_MAX + 1);
    expect_refused(&raw, SAGA_ERR_INVALID, "method has 256 bytes");
    static char newline[] = "a.B/C\n";
    raw.method = newline;
    expect_refused(&raw, SAGA_ERR_INVALID, "method must be");
    static char bad[] = "\xc3\x28";
    raw.method = bad;
    expect_refused(&raw, SAGA_ERR_MALFORMED, "method is not UTF-8");
    raw = raw_command();
    raw.attempt = 0;
    expect_refused(&raw, SAGA_ERR_INVALID, "attempt");
    raw = raw_command();
    raw.deadline_unix_ms = -1;
    expect_refused(&raw, SAGA_ERR_INVALID, "deadline_unix_ms is negative");
    raw = raw_command();
    raw.traceparent = letters(SAGA_TRACEPARENT_MAX + 1);
    expect_refused(&raw, SAGA_ERR_INVALID, "traceparent has 64 bytes");
}

static void test_command_when_payload_is_too_large_then_only_sagas_are_refused(void **state)
{
    (void)state;
    Saga__V1__Command raw = raw_command();
    uint8_t *payload = calloc(1, SAGA_PAYLOAD_SIZE_MAX + 1);
    assert_non_null(payload);
    raw.payload = (ProtobufCBinaryData){SAGA_PAYLOAD_SIZE_MAX, payload};
    expect_refused(&raw, SAGA_ERR_OK, "");
    raw.payload.len++;
    expect_refused(&raw, SAGA_ERR_LIMIT, "payload has 65537 bytes, limit 65536");
    raw.op = SAGA__V1__OP__OP_UNSPECIFIED;
    raw.saga_id.len = 0;
    raw.step = letters(0);
    expect_refused(&raw, SAGA_ERR_OK, "");
    free(payload);
}

static void test_metadata_when_over_its_limits_then_refused(void **state)
{
    (void)state;
    static char key[] = "key";
    static char upper[] = "Key";
    Saga__V1__Command raw = raw_command();
    Saga__V1__Metadata pair;
    saga__v1__metadata__init(&pair);
    Saga__V1__Metadata *pairs[SAGA_METADATA_COUNT_MAX + 1];
    for (size_t i = 0; i < SAGA_METADATA_COUNT_MAX + 1; i++) {
        pairs[i] = &pair;
    }
    pair.key = key;
    raw.metadata = pairs;
    raw.n_metadata = SAGA_METADATA_COUNT_MAX;
    expect_refused(&raw, SAGA_ERR_OK, "");
    raw.n_metadata++;
    expect_refused(&raw, SAGA_ERR_LIMIT, "SAGA_METADATA_COUNT_MAX");
    raw.n_metadata = 1;
    pair.key = upper;
    expect_refused(&raw, SAGA_ERR_INVALID, "metadata.key must be");
    pair.key = letters(0);
    expect_refused(&raw, SAGA_ERR_INVALID, "metadata.key must be");
    pair.key = letters(SAGA_METADATA_KEY_MAX + 1);
    expect_refused(&raw, SAGA_ERR_INVALID, "metadata.key has 64 bytes");
    pair.key = key;
    pair.value = letters(SAGA_METADATA_VALUE_MAX + 1);
    expect_refused(&raw, SAGA_ERR_INVALID, "metadata.value has 1025 bytes");
    pair.value = letters(SAGA_METADATA_VALUE_MAX);
    expect_refused(&raw, SAGA_ERR_OK, "");
}

static void test_batch_when_one_command_is_wrong_then_the_status_says_which(void **state)
{
    (void)state;
    struct saga_command command = full_command();
    struct saga_buf buf = {0};
    struct saga_arena arena = {0};
    struct saga_command *commands = NULL;
    struct saga_status status;
    size_t count = 77;
    assert_int_equal(saga_command_batch_add(&command, &buf), SAGA_ERR_OK);
    command.method = "";
    assert_int_equal(saga_command_batch_add(&command, &buf), SAGA_ERR_OK);
    assert_int_equal(
        saga_command_batch_decode(saga_buf_view(&buf), &arena, &commands, &count, &status),
        SAGA_ERR_INVALID);
    assert_string_equal(status.message, "commands[1]: method must be \"package.Service/Method\"");
    assert_string_equal(status.reason, "INVALID_FIELD");
    assert_null(commands);
    assert_int_equal(count, 77);
    saga_buf_fini(&buf);
    saga_arena_fini(&arena);
}

static void test_decode_when_fields_are_repeated_or_unknown_then_as_protobuf_says(void **state)
{
    (void)state;
    /* op twice: the last counts; status in two parts: merged; fields 99 and a group 50: skipped. */
    static const uint8_t bytes[] = {
        0x0a, 16,   1,    2,   3,    4,    5,   6,    7,    8,    9,    10,   11,   12,   13, 14,
        15,   16,   0x12, 3,   'p',  'a',  'y', 0x18, 2,    0x18, 1,    0x22, 2,    0x08, 9,  0x22,
        3,    0x1a, 1,    'R', 0x9a, 0x06, 1,   'x',  0x93, 0x03, 0x08, 1,    0x94, 0x03};
    struct saga_arena arena = {0};
    struct saga_reply reply;
    struct saga_status status;
    assert_int_equal(
        saga_reply_decode((struct saga_bytes){bytes, sizeof bytes}, &arena, &reply, &status),
        SAGA_ERR_OK);
    assert_int_equal(reply.op, SAGA_OP_CALL);
    assert_int_equal(reply.status.code, 9);
    assert_string_equal(reply.status.reason, "R");
    assert_string_equal(reply.status.message, "");
    saga_arena_fini(&arena);
}

static void test_status_text_when_too_long_or_not_text_then_the_reply_still_goes(void **state)
{
    (void)state;
    char message[1024];
    memset(message, 'm', sizeof message - 1);
    memcpy(message + SAGA_STATUS_MESSAGE_MAX - 1, "\xe2\x82\xac", 3); /* the limit falls into it */
    message[sizeof message - 1] = '\0';
    struct saga_reply reply = {.step = "",
                               .status = saga_status_make(SAGA_CODE_NOT_FOUND, "R", message)};
    struct saga_arena arena = {0};
    struct saga_buf buf = {0};
    struct saga_reply got;
    struct saga_status status;
    assert_int_equal(saga_reply_encode(&reply, &buf), SAGA_ERR_OK);
    assert_int_equal(saga_reply_decode(saga_buf_view(&buf), &arena, &got, &status), SAGA_ERR_OK);
    assert_int_equal(strlen(got.status.message), SAGA_STATUS_MESSAGE_MAX - 1);
    reply.status.message = "\xff";
    saga_buf_clear(&buf);
    assert_int_equal(saga_reply_encode(&reply, &buf), SAGA_ERR_OK);
    assert_int_equal(saga_reply_decode(saga_buf_view(&buf), &arena, &got, &status), SAGA_ERR_OK);
    assert_string_equal(got.status.message, "");
    assert_int_equal(got.status.code, SAGA_CODE_NOT_FOUND);
    saga_buf_fini(&buf);
    saga_arena_fini(&arena);
}

static void test_status_of_a_peer_when_its_message_is_long_then_cut_not_refused(void **state)
{
    (void)state;
    uint8_t bytes[700] = {0x22, 0xb8, 0x05, 0x08,
                          5,    0x12, 0xb3, 0x05}; /* status 696, message 691 */
    memset(bytes + 8, 'x', 691);
    struct saga_arena arena = {0};
    struct saga_reply got;
    struct saga_status status;
    struct saga_bytes view = {bytes, 8 + 691};
    assert_int_equal(saga_reply_decode(view, &arena, &got, &status), SAGA_ERR_OK);
    assert_int_equal(strlen(got.status.message), SAGA_STATUS_MESSAGE_MAX);
    assert_int_equal(got.status.code, SAGA_CODE_NOT_FOUND);
    saga_arena_fini(&arena);
}

static void test_encode_when_over_a_limit_then_nothing_is_appended(void **state)
{
    (void)state;
    struct saga_buf buf = {0};
    uint8_t *payload = calloc(1, SAGA_PAYLOAD_SIZE_MAX + 1);
    assert_non_null(payload);
    struct saga_command command = full_command();
    command.payload = (struct saga_bytes){payload, SAGA_PAYLOAD_SIZE_MAX + 1};
    assert_int_equal(saga_command_batch_add(&command, &buf), SAGA_ERR_LIMIT);
    command = full_command();
    command.step = "12345678901234567890123456789012";
    assert_int_equal(saga_command_encode(&command, &buf), SAGA_ERR_LIMIT);
    struct saga_reply reply = full_reply();
    reply.payload = (struct saga_bytes){payload, SAGA_PAYLOAD_SIZE_MAX + 1};
    assert_int_equal(saga_reply_batch_add(&reply, &buf), SAGA_ERR_LIMIT);
    assert_int_equal(buf.size, 0);
    saga_buf_fini(&buf);
    free(payload);
}

/* ---- Cut and broken input ---- */

static void sample(struct saga_buf *commands, struct saga_buf *replies)
{
    struct saga_command command = full_command();
    struct saga_command plain = {.method = "saga.v1.HealthService/Check", .step = ""};
    struct saga_reply reply = full_reply();
    assert_int_equal(saga_command_batch_add(&command, commands), SAGA_ERR_OK);
    assert_int_equal(saga_command_batch_add(&plain, commands), SAGA_ERR_OK);
    assert_int_equal(saga_command_batch_add(&command, commands), SAGA_ERR_OK);
    assert_int_equal(saga_reply_batch_add(&reply, replies), SAGA_ERR_OK);
    reply.op = SAGA_OP_NONE;
    reply.step = "";
    assert_int_equal(saga_reply_batch_add(&reply, replies), SAGA_ERR_OK);
}

/* Decodes bytes in every way; what passes must be good enough to be encoded and decoded again. */
static void decode_all(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *scratch)
{
    struct saga_command *commands = NULL;
    struct saga_reply *replies = NULL;
    struct saga_command command;
    struct saga_reply reply;
    struct saga_status status;
    size_t count = 0;
    enum saga_err err = saga_command_batch_decode(bytes, arena, &commands, &count, &status);
    assert_true((err == SAGA_ERR_OK) == (status.code == SAGA_CODE_OK));
    assert_true(err == SAGA_ERR_OK || status.message[0] != '\0');
    saga_buf_clear(scratch);
    for (size_t i = 0; err == SAGA_ERR_OK && i < count; i++) {
        assert_int_equal(saga_command_batch_add(&commands[i], scratch), SAGA_ERR_OK);
    }
    if (err == SAGA_ERR_OK) {
        size_t again = 0;
        assert_int_equal(
            saga_command_batch_decode(saga_buf_view(scratch), arena, &commands, &again, &status),
            SAGA_ERR_OK);
        assert_int_equal(again, count);
    }
    err = saga_reply_batch_decode(bytes, arena, &replies, &count, &status);
    assert_true((err == SAGA_ERR_OK) == (status.code == SAGA_CODE_OK));
    saga_buf_clear(scratch);
    for (size_t i = 0; err == SAGA_ERR_OK && i < count; i++) {
        assert_int_equal(saga_reply_batch_add(&replies[i], scratch), SAGA_ERR_OK);
    }
    err = saga_command_decode(bytes, arena, &command, &status);
    assert_true((err == SAGA_ERR_OK) == (status.code == SAGA_CODE_OK));
    err = saga_reply_decode(bytes, arena, &reply, &status);
    assert_true((err == SAGA_ERR_OK) == (status.code == SAGA_CODE_OK));
}

/* Copies bytes to memory of just their size, so that ASan sees a read beyond. */
static struct saga_bytes exact(struct saga_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size == 0 ? 1 : bytes.size);
    assert_non_null(copy);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return (struct saga_bytes){copy, bytes.size};
}

static void release(struct saga_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

static void test_decode_when_cut_at_any_byte_then_refused_or_whole_elements(void **state)
{
    (void)state;
    struct saga_buf samples[2] = {{0}, {0}};
    struct saga_buf scratch = {0};
    struct saga_arena arena = {0};
    sample(&samples[0], &samples[1]);
    size_t taken = 0;
    for (size_t s = 0; s < 2; s++) {
        for (size_t size = 0; size < samples[s].size; size++) {
            struct saga_bytes cut = exact((struct saga_bytes){samples[s].data, size});
            struct saga_command *commands = NULL;
            struct saga_status status;
            size_t count = 0;
            decode_all(cut, &arena, &scratch);
            taken += s == 0 && saga_command_batch_decode(cut, &arena, &commands, &count, &status) ==
                                   SAGA_ERR_OK;
            release(cut);
            saga_arena_clear(&arena);
        }
    }
    assert_int_equal(taken, 2); /* after the first and the second command */
    saga_buf_fini(&samples[0]);
    saga_buf_fini(&samples[1]);
    saga_buf_fini(&scratch);
    saga_arena_fini(&arena);
}

static void mutate(struct saga_buf *bytes, uint64_t *seed)
{
    uint64_t kinds = 1 + saga_prng_below(seed, 4);
    for (uint64_t i = 0; i < kinds && bytes->size > 0; i++) {
        size_t at = (size_t)saga_prng_below(seed, bytes->size);
        switch (saga_prng_below(seed, 4)) {
        case 0:
            bytes->data[at] = (uint8_t)saga_prng_next(seed);
            break;
        case 1:
            bytes->data[at] ^= (uint8_t)(1u << saga_prng_below(seed, 8));
            break;
        case 2:
            bytes->size = at;
            break;
        default:
            memmove(bytes->data + at, bytes->data + at + 1, bytes->size - at - 1);
            bytes->size--;
            break;
        }
    }
}

static void test_decode_when_bytes_are_mutated_then_no_harm(void **state)
{
    (void)state;
    struct saga_buf samples[2] = {{0}, {0}};
    struct saga_buf work = {0};
    struct saga_buf scratch = {0};
    struct saga_arena arena = {0};
    uint64_t seed = 20240229;
    sample(&samples[0], &samples[1]);
    for (size_t i = 0; i < MUTATIONS; i++) {
        saga_buf_clear(&work);
        assert_int_equal(saga_buf_append(&work, saga_buf_view(&samples[i % 2])), SAGA_ERR_OK);
        mutate(&work, &seed);
        struct saga_bytes bytes = exact(saga_buf_view(&work));
        decode_all(bytes, &arena, &scratch);
        release(bytes);
        saga_arena_clear(&arena);
    }
    for (size_t i = 0; i < MUTATIONS / 10; i++) {
        uint8_t noise[64];
        for (size_t b = 0; b < sizeof noise; b++) {
            noise[b] = (uint8_t)saga_prng_next(&seed);
        }
        struct saga_bytes bytes =
            exact((struct saga_bytes){noise, (size_t)saga_prng_below(&seed, sizeof noise)});
        decode_all(bytes, &arena, &scratch);
        release(bytes);
        saga_arena_clear(&arena);
    }
    saga_buf_fini(&samples[0]);
    saga_buf_fini(&samples[1]);
    saga_buf_fini(&work);
    saga_buf_fini(&scratch);
    saga_arena_fini(&arena);
}

/* ---- Generated messages ---- */

static void test_message_when_nested_too_deep_then_refused(void **state)
{
    (void)state;
    /* FileDescriptorProto.message_type = 4; DescriptorProto.nested_type = 3. */
    struct saga_buf inner = {0};
    struct saga_buf outer = {0};
    struct saga_arena arena = {0};
    const ProtobufCMessageDescriptor *type = &google__protobuf__descriptor_proto__descriptor;
    size_t depth = 1; /* an empty message */
    while (depth <= SAGA_MESSAGE_DEPTH_MAX) {
        struct saga_bytes view = saga_buf_view(&inner);
        assert_non_null(saga_message_decode(type, view, &arena));
        saga_buf_clear(&outer);
        assert_int_equal(saga_buf_reserve(&outer, view.size + 20), SAGA_ERR_OK);
        outer.size = (size_t)(saga_wire_put_bytes(outer.data, 3, view) - outer.data);
        struct saga_buf swap = inner;
        inner = outer;
        outer = swap;
        depth++;
    }
    assert_null(saga_message_decode(type, saga_buf_view(&inner), &arena));
    saga_buf_fini(&inner);
    saga_buf_fini(&outer);
    saga_arena_fini(&arena);
}

static void test_message_when_it_holds_too_many_messages_then_refused(void **state)
{
    (void)state;
    size_t size = 2 * ((size_t)SAGA_MESSAGE_NODES_MAX + 1);
    uint8_t *bytes = calloc(1, size);
    struct saga_arena arena = {0};
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = 0x0a;
    }
    const ProtobufCMessageDescriptor *type = &saga__v1__command_batch__descriptor;
    assert_null(saga_message_decode(type, (struct saga_bytes){bytes, size}, &arena));
    assert_int_equal(arena.total, 0);
    assert_non_null(saga_message_decode(type, (struct saga_bytes){bytes, 2000}, &arena));
    free(bytes);
    saga_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_with_every_field_when_encoded_then_decodes_the_same),
        cmocka_unit_test(test_reply_with_every_field_when_encoded_then_decodes_the_same),
        cmocka_unit_test(test_command_ordinary_when_encoded_then_has_method_alone),
        cmocka_unit_test(test_batch_of_256_when_encoded_then_decodes_in_order_within_its_bound),
        cmocka_unit_test(test_batch_when_empty_then_invalid),
        cmocka_unit_test(test_message_when_over_the_limit_then_refused_unread),
        cmocka_unit_test(test_command_when_a_field_is_wrong_then_the_status_names_it),
        cmocka_unit_test(test_command_when_payload_is_too_large_then_only_sagas_are_refused),
        cmocka_unit_test(test_metadata_when_over_its_limits_then_refused),
        cmocka_unit_test(test_batch_when_one_command_is_wrong_then_the_status_says_which),
        cmocka_unit_test(test_decode_when_fields_are_repeated_or_unknown_then_as_protobuf_says),
        cmocka_unit_test(test_status_text_when_too_long_or_not_text_then_the_reply_still_goes),
        cmocka_unit_test(test_status_of_a_peer_when_its_message_is_long_then_cut_not_refused),
        cmocka_unit_test(test_encode_when_over_a_limit_then_nothing_is_appended),
        cmocka_unit_test(test_decode_when_cut_at_any_byte_then_refused_or_whole_elements),
        cmocka_unit_test(test_decode_when_bytes_are_mutated_then_no_harm),
        cmocka_unit_test(test_message_when_nested_too_deep_then_refused),
        cmocka_unit_test(test_message_when_it_holds_too_many_messages_then_refused),
    };
    return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}
