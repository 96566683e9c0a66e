/* The record of a saga's state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "tests/unit/codec/suites.h"
#include "tests/unit/codec/walk.h"

static const struct saga_texts some_texts = {
    .cause_reason = "OUT_OF_STOCK",
    .cause_message = "product 7: 0 left",
    .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    .parent_step = "goods",
    .parent_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
};
static const struct saga_texts no_texts = {"", "", "", "", {{0}}};

static void assert_same_step(const struct saga_step_run *a, const struct saga_step_run *b)
{
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->wait, b->wait);
    assert_int_equal(a->last_code, b->last_code);
    assert_int_equal(a->maybe_effect, b->maybe_effect);
    assert_int_equal(a->stalled, b->stalled);
    assert_int_equal(a->parked, b->parked);
    assert_int_equal(a->call_attempts, b->call_attempts);
    assert_int_equal(a->undo_attempts, b->undo_attempts);
    assert_int_equal(a->failures, b->failures);
    assert_int_equal(a->due_unix_ms, b->due_unix_ms);
}

static void assert_same_saga(const struct saga *a, const struct saga *b)
{
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->resume, b->resume);
    assert_int_equal(a->cause, b->cause);
    assert_int_equal(a->cause_step, b->cause_step);
    assert_int_equal(a->cause_code, b->cause_code);
    assert_int_equal(a->step_count, b->step_count);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->seed, b->seed);
    assert_int_equal(a->created_unix_ms, b->created_unix_ms);
    assert_int_equal(a->deadline_unix_ms, b->deadline_unix_ms);
    assert_int_equal(a->ended_unix_ms, b->ended_unix_ms);
    for (size_t i = 0; i < SAGA_STEPS_MAX; i++) {
        assert_same_step(&a->steps[i], &b->steps[i]);
    }
}

static void assert_round_trip(const struct saga *saga, const struct saga_texts *texts)
{
    struct saga_buf buf = {0};
    struct saga read = {.id = saga->id};
    struct saga_texts read_texts;
    assert_int_equal(saga_record_encode(saga, texts, &buf), SAGA_ERR_OK);
    assert_int_equal(saga_record_decode(saga_buf_view(&buf), &read, &read_texts), SAGA_ERR_OK);
    assert_same_saga(saga, &read);
    assert_string_equal(texts->cause_reason, read_texts.cause_reason);
    assert_string_equal(texts->cause_message, read_texts.cause_message);
    assert_string_equal(texts->traceparent, read_texts.traceparent);
    assert_string_equal(texts->parent_step, read_texts.parent_step);
    assert_true(saga_id_equal(texts->parent_id, read_texts.parent_id));
    saga_buf_fini(&buf);
}

/* ---- Round trips ---- */

struct walked {
    const struct saga_version *version;
    size_t count;
    size_t size_max;
};

static void see_round_trip(void *user, const struct saga_event *ev, const struct saga *saga,
                           const struct saga_update *up)
{
    (void)ev;
    (void)up;
    struct walked *walked = user;
    struct saga_buf buf = {0};
    struct saga read = {.id = saga->id};
    struct saga_texts texts;
    assert_round_trip(saga, &some_texts);
    assert_int_equal(saga_record_encode(saga, &no_texts, &buf), SAGA_ERR_OK);
    assert_int_equal(saga_record_decode(saga_buf_view(&buf), &read, &texts), SAGA_ERR_OK);
    assert_null(saga_invariant(&walked->version->def, &read));
    walked->size_max = buf.size > walked->size_max ? buf.size : walked->size_max;
    walked->count++;
    saga_buf_fini(&buf);
}

static void test_record_when_sagas_walk_then_every_state_comes_back(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    struct walked walked = {.version = &version};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        walk_saga(&version, seed, see_round_trip, &walked);
    }
    assert_true(walked.count > 3000);
    assert_true(walked.size_max < 160); /* compact: written with every event */
    saga_schema_free(schema);
}

static struct saga largest_saga(void)
{
    struct saga saga = {
        .state = SAGA_STATE_PARKED,
        .resume = SAGA_STATE_COMPENSATING,
        .cause = SAGA_CAUSE_OPERATOR,
        .cause_step = SAGA_STEPS_MAX - 1,
        .cause_code = UINT8_MAX,
        .step_count = SAGA_STEPS_MAX,
        .seq = UINT64_MAX,
        .seed = UINT64_MAX,
        .created_unix_ms = INT64_MAX,
        .deadline_unix_ms = 1,
        .ended_unix_ms = INT64_MIN + 1,
    };
    for (size_t i = 0; i < SAGA_STEPS_MAX; i++) {
        saga.steps[i] = (struct saga_step_run){
            .state = SAGA_STEP_SKIPPED,
            .wait = SAGA_WAIT_RETRY,
            .last_code = UINT8_MAX,
            .maybe_effect = true,
            .stalled = true,
            .parked = true,
            .call_attempts = UINT32_MAX,
            .undo_attempts = UINT32_MAX,
            .failures = UINT32_MAX,
            .due_unix_ms = INT64_MIN + 1,
        };
    }
    return saga;
}

static void test_record_when_all_is_at_its_limit_then_it_comes_back(void **state)
{
    (void)state;
    struct saga saga = largest_saga();
    char reason[SAGA_STATUS_REASON_MAX + 1];
    char message[SAGA_STATUS_MESSAGE_MAX + 1];
    char traceparent[SAGA_TRACEPARENT_MAX + 1];
    memset(reason, 'R', sizeof reason);
    memset(message, 'm', sizeof message);
    memset(traceparent, 't', sizeof traceparent);
    reason[sizeof reason - 1] = '\0';
    message[sizeof message - 1] = '\0';
    traceparent[sizeof traceparent - 1] = '\0';
    char step[SAGA_STEP_NAME_MAX + 1];
    memset(step, 's', sizeof step);
    step[sizeof step - 1] = '\0';
    const struct saga_texts texts = {reason, message, traceparent, step, {{0xff}}};
    assert_round_trip(&saga, &texts);
    struct saga nothing = {.cause_step = SAGA_STEP_ALL};
    assert_round_trip(&nothing, &no_texts);
}

static void test_record_when_texts_are_too_long_then_cut_between_characters(void **state)
{
    (void)state;
    struct saga saga = {.cause_step = SAGA_STEP_ALL};
    struct saga read = {0};
    struct saga_buf buf = {0};
    char message[2001];
    for (size_t i = 0; i < 1000; i++) {
        memcpy(message + 2 * i, "\xc3\xa9", 2); /* é: 511 bytes would split one */
    }
    message[2000] = '\0';
    const struct saga_texts texts = {"R", message, "", "", {{0}}};
    struct saga_texts read_texts;
    assert_int_equal(saga_record_encode(&saga, &texts, &buf), SAGA_ERR_OK);
    assert_int_equal(saga_record_decode(saga_buf_view(&buf), &read, &read_texts), SAGA_ERR_OK);
    assert_int_equal(strlen(read_texts.cause_message), SAGA_STATUS_MESSAGE_MAX - 1);
    saga_buf_fini(&buf);
}

/* ---- Damage ---- */

/* FNV-1a, as in record.c: damage that the check does not find. */
static void mend_check(uint8_t *record, size_t size)
{
    uint32_t check = 2166136261U;
    for (size_t i = 0; i < size - 4; i++) {
        check = (check ^ record[i]) * 16777619U;
    }
    for (size_t i = 0; i < 4; i++) {
        record[size - 4 + i] = (uint8_t)(check >> (8 * i));
    }
}

static struct saga_buf encoded(void)
{
    struct saga saga = largest_saga();
    struct saga_buf buf = {0};
    saga.step_count = 7;
    saga.cause_step = 3;
    assert_int_equal(saga_record_encode(&saga, &some_texts, &buf), SAGA_ERR_OK);
    return buf;
}

/* Decodes from memory of exactly the size, so that reading past it is found by ASan. */
static enum saga_err decode_exact(const uint8_t *bytes, size_t size, struct saga *saga)
{
    struct saga_texts texts = {0};
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    enum saga_err err =
        saga_record_decode((struct saga_bytes){.data = copy, .size = size}, saga, &texts);
    if (err == SAGA_ERR_OK) { /* what comes out is within its bounds */
        assert_true(strlen(texts.cause_reason) <= SAGA_STATUS_REASON_MAX);
        assert_true(strlen(texts.cause_message) <= SAGA_STATUS_MESSAGE_MAX);
        assert_true(strlen(texts.traceparent) <= SAGA_TRACEPARENT_MAX);
        assert_true(strlen(texts.parent_step) <= SAGA_STEP_NAME_MAX);
        assert_true(saga->step_count <= SAGA_STEPS_MAX && saga->state <= SAGA_STATE_PARKED);
        assert_true(saga->cause_step == SAGA_STEP_ALL || saga->cause_step < saga->step_count);
        for (size_t i = 0; i < saga->step_count; i++) {
            assert_true(saga->steps[i].state <= SAGA_STEP_SKIPPED);
            assert_true(saga->steps[i].wait <= SAGA_WAIT_CHILD);
        }
    } else {
        assert_string_equal(saga_err_name(err), "CORRUPT");
    }
    free(copy);
    return err;
}

static void test_record_when_one_bit_is_flipped_then_corrupt(void **state)
{
    (void)state;
    struct saga_buf buf = encoded();
    struct saga saga = {0};
    for (size_t i = 0; i < buf.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf.data[i] ^= (uint8_t)(1U << bit);
            assert_int_equal(decode_exact(buf.data, buf.size, &saga), SAGA_ERR_CORRUPT);
            buf.data[i] ^= (uint8_t)(1U << bit);
        }
    }
    assert_int_equal(decode_exact(buf.data, buf.size, &saga), SAGA_ERR_OK);
    saga_buf_fini(&buf);
}

static void test_record_when_cut_or_grown_then_corrupt(void **state)
{
    (void)state;
    struct saga_buf buf = encoded();
    struct saga saga = {0};
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_equal(decode_exact(buf.data, size, &saga), SAGA_ERR_CORRUPT);
    }
    assert_int_equal(saga_buf_append(&buf, saga_bytes_text("x")), SAGA_ERR_OK);
    assert_int_equal(decode_exact(buf.data, buf.size, &saga), SAGA_ERR_CORRUPT);
    saga_buf_fini(&buf);
}

static void test_record_when_failed_then_outputs_are_untouched(void **state)
{
    (void)state;
    struct saga_buf buf = encoded();
    struct saga saga = {.seq = 42};
    struct saga_texts texts = {"a", "b", "c", "", {{0}}};
    buf.data[10] ^= 1;
    assert_int_equal(saga_record_decode(saga_buf_view(&buf), &saga, &texts), SAGA_ERR_CORRUPT);
    assert_int_equal(saga.seq, 42);
    assert_string_equal(texts.traceparent, "c");
    saga_buf_fini(&buf);
}

static void test_record_when_a_newer_program_added_fields_then_passed_over(void **state)
{
    (void)state;
    struct saga_buf buf = encoded();
    struct saga before = {0};
    struct saga after = {0};
    assert_int_equal(decode_exact(buf.data, buf.size, &before), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&buf, saga_bytes_text("added")), SAGA_ERR_OK);
    size_t body_size = buf.size - 7;
    buf.data[1] = (uint8_t)body_size;
    buf.data[2] = (uint8_t)(body_size >> 8);
    mend_check(buf.data, buf.size);
    assert_int_equal(decode_exact(buf.data, buf.size, &after), SAGA_ERR_OK);
    assert_same_saga(&before, &after);
    buf.data[0] = 2; /* another layout */
    mend_check(buf.data, buf.size);
    assert_int_equal(decode_exact(buf.data, buf.size, &after), SAGA_ERR_CORRUPT);
    saga_buf_fini(&buf);
}

/* Records from before there were child sagas end with the steps. */
static void test_record_when_it_ends_before_the_parent_then_it_is_no_child(void **state)
{
    (void)state;
    struct saga saga = largest_saga();
    struct saga read = {.id = saga.id};
    struct saga_texts texts = some_texts;
    struct saga_buf buf = {0};
    assert_int_equal(saga_record_encode(&saga, &no_texts, &buf), SAGA_ERR_OK);
    buf.size -= 1; /* the last byte of the body said that there is no parent */
    size_t body_size = buf.size - 7;
    buf.data[1] = (uint8_t)body_size;
    buf.data[2] = (uint8_t)(body_size >> 8);
    mend_check(buf.data, buf.size);
    assert_int_equal(saga_record_decode(saga_buf_view(&buf), &read, &texts), SAGA_ERR_OK);
    assert_same_saga(&saga, &read);
    assert_string_equal(texts.parent_step, "");
    saga_buf_fini(&buf);
}

static void test_record_when_mutated_at_random_then_corrupt_or_within_bounds(void **state)
{
    (void)state;
    struct saga_buf buf = encoded();
    uint8_t *copy = malloc(buf.size);
    assert_non_null(copy);
    uint64_t prng = 20260101;
    size_t taken = 0;
    for (int round = 0; round < 60000; round++) {
        struct saga saga = {0};
        memcpy(copy, buf.data, buf.size);
        uint64_t changes = 1 + saga_prng_below(&prng, 4);
        for (uint64_t i = 0; i < changes; i++) {
            copy[3 + saga_prng_below(&prng, buf.size - 7)] = (uint8_t)saga_prng_next(&prng);
        }
        mend_check(copy, buf.size); /* else nearly all damage ends at the check */
        taken += decode_exact(copy, buf.size, &saga) == SAGA_ERR_OK ? 1 : 0;
    }
    assert_true(taken > 1000 && taken < 59000); /* both ways were gone */
    for (int round = 0; round < 20000; round++) {
        struct saga saga = {0};
        size_t body = (size_t)saga_prng_below(&prng, 64);
        for (size_t i = 0; i < body; i++) {
            copy[3 + i] = (uint8_t)saga_prng_next(&prng);
        }
        copy[0] = 1;
        copy[1] = (uint8_t)body;
        copy[2] = 0;
        mend_check(copy, body + 7);
        (void)decode_exact(copy, body + 7, &saga);
    }
    free(copy);
    saga_buf_fini(&buf);
}

int record_tests(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_when_sagas_walk_then_every_state_comes_back),
        cmocka_unit_test(test_record_when_all_is_at_its_limit_then_it_comes_back),
        cmocka_unit_test(test_record_when_texts_are_too_long_then_cut_between_characters),
        cmocka_unit_test(test_record_when_one_bit_is_flipped_then_corrupt),
        cmocka_unit_test(test_record_when_cut_or_grown_then_corrupt),
        cmocka_unit_test(test_record_when_failed_then_outputs_are_untouched),
        cmocka_unit_test(test_record_when_a_newer_program_added_fields_then_passed_over),
        cmocka_unit_test(test_record_when_it_ends_before_the_parent_then_it_is_no_child),
        cmocka_unit_test(test_record_when_mutated_at_random_then_corrupt_or_within_bounds),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
