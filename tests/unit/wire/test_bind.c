/* Bind tables and conditions on wire bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "common/wire/schema.h"

#define BYTES(...)                                                                                 \
    (struct saga_bytes)                                                                            \
    {                                                                                              \
        (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                     \
    }

/* A table of pairs from, to. */
static struct saga_bind_table table_of(const uint32_t (*pairs)[2], size_t count)
{
    struct saga_bind_table table = {.count = count};
    for (size_t i = 0; i < count; i++) {
        table.fields[i] = (struct saga_bind_field){pairs[i][0], pairs[i][1]};
    }
    return table;
}

static void expect_build(const struct saga_bind_table *table, struct saga_bytes source,
                         struct saga_bytes expected)
{
    struct saga_buf out = {0};
    assert_int_equal(saga_buf_append(&out, saga_bytes_text("kept")), SAGA_ERR_OK);
    assert_int_equal(saga_bind_build(table, source, &out), SAGA_ERR_OK);
    assert_int_equal(out.size, 4 + expected.size);
    assert_memory_equal(out.data, "kept", 4);
    if (expected.size > 0) {
        assert_memory_equal(out.data + 4, expected.data, expected.size);
    }
    saga_buf_fini(&out);
}

static void expect_merge(const struct saga_bind_table *table, struct saga_bytes context,
                         struct saga_bytes reply, struct saga_bytes expected)
{
    struct saga_buf out = {0};
    assert_int_equal(saga_bind_merge(table, context, reply, &out), SAGA_ERR_OK);
    assert_int_equal(out.size, expected.size);
    if (expected.size > 0) {
        assert_memory_equal(out.data, expected.data, expected.size);
    }
    saga_buf_fini(&out);
}

static void test_build_when_fields_are_known_then_copied_under_their_new_numbers(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 1}, {2, 300}, {2, 5}, {7, 2}};
    struct saga_bind_table table = table_of(pairs, 4);
    /* 1: varint, 2: text, 3: not known, 7: fixed64 */
    expect_build(&table,
                 BYTES(0x08, 0x96, 0x01, 0x12, 2, 'h', 'i', 0x18, 1, 0x39, 1, 2, 3, 4, 5, 6, 7, 8),
                 BYTES(0x08, 0x96, 0x01, 0xe2, 0x12, 2, 'h', 'i', 0x2a, 2, 'h', 'i', 0x11, 1, 2, 3,
                       4, 5, 6, 7, 8));
}

static void test_build_when_the_source_is_empty_then_nothing(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 1}};
    struct saga_bind_table table = table_of(pairs, 1);
    struct saga_bind_table none = {.count = 0};
    struct saga_bytes empty = {0};
    expect_build(&table, empty, empty);
    expect_build(&none, BYTES(0x08, 1), empty);
}

static void test_build_when_fields_repeat_then_their_order_is_kept(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 2}, {3, 4}};
    struct saga_bind_table table = table_of(pairs, 2);
    /* an unpacked element, packed elements, an element: packed or not is as the sender wrote it */
    expect_build(&table, BYTES(0x08, 1, 0x1a, 1, 'a', 0x0a, 2, 2, 3, 0x1a, 1, 'b', 0x08, 4),
                 BYTES(0x10, 1, 0x22, 1, 'a', 0x12, 2, 2, 3, 0x22, 1, 'b', 0x10, 4));
}

static void test_build_when_a_field_is_a_group_then_its_end_is_renumbered(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 20}};
    struct saga_bind_table table = table_of(pairs, 1);
    expect_build(&table, BYTES(0x0b, 0x08, 5, 0x0c), BYTES(0xa3, 0x01, 0x08, 5, 0xa4, 0x01));
}

static void test_build_when_values_are_not_well_formed_inside_then_nothing_is_decoded(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 2}};
    struct saga_bind_table table = table_of(pairs, 1);
    expect_build(&table, BYTES(0x0a, 3, 0xff, 0xff, 0xff), BYTES(0x12, 3, 0xff, 0xff, 0xff));
}

static void test_merge_when_the_reply_has_a_field_then_it_replaces_the_contexts(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 4}, {2, 5}};
    struct saga_bind_table table = table_of(pairs, 2);
    /* context: 1, 4 (old, twice), 9 (unknown to all), 5; reply: 1 and 3 (not bound) */
    expect_merge(&table, BYTES(0x08, 1, 0x20, 7, 0x20, 8, 0x48, 9, 0x2a, 1, 'x'),
                 BYTES(0x08, 42, 0x18, 3), BYTES(0x08, 1, 0x48, 9, 0x20, 42));
}

static void test_merge_when_the_reply_lacks_a_field_then_it_becomes_default(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 2}};
    struct saga_bind_table table = table_of(pairs, 1);
    struct saga_bytes empty = {0};
    expect_merge(&table, BYTES(0x10, 5, 0x08, 1), empty, BYTES(0x08, 1));
    expect_merge(&table, empty, BYTES(0x08, 6), BYTES(0x10, 6));
    expect_merge(&table, empty, empty, empty);
}

static void test_merge_when_repeated_then_all_are_replaced_by_all(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{3, 3}};
    struct saga_bind_table table = table_of(pairs, 1);
    expect_merge(&table, BYTES(0x1a, 1, 'a', 0x08, 1, 0x1a, 1, 'b', 0x10, 2),
                 BYTES(0x1a, 1, 'c', 0x1a, 1, 'd', 0x1a, 1, 'e'),
                 BYTES(0x08, 1, 0x10, 2, 0x1a, 1, 'c', 0x1a, 1, 'd', 0x1a, 1, 'e'));
}

static void test_bind_when_malformed_then_the_buffer_is_as_it_was(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 2}};
    struct saga_bind_table table = table_of(pairs, 1);
    struct saga_buf out = {0};
    struct saga_bytes good = BYTES(0x08, 1);
    struct saga_bytes bad = BYTES(0x08, 1, 0x0a, 9);
    assert_int_equal(saga_buf_append(&out, saga_bytes_text("ab")), SAGA_ERR_OK);
    assert_int_equal(saga_bind_build(&table, bad, &out), SAGA_ERR_MALFORMED);
    assert_int_equal(saga_bind_merge(&table, bad, good, &out), SAGA_ERR_MALFORMED);
    assert_int_equal(saga_bind_merge(&table, good, bad, &out), SAGA_ERR_MALFORMED);
    assert_int_equal(out.size, 2);
    assert_memory_equal(out.data, "ab", 2);
    saga_buf_fini(&out);
}

static void test_merge_when_the_context_grows_over_its_limit_then_refused(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 2}};
    struct saga_bind_table table = table_of(pairs, 1);
    size_t size = SAGA_CONTEXT_SIZE_MAX - 2;
    uint8_t *reply = calloc(1, size + 1);
    assert_non_null(reply);
    struct saga_buf out = {0};
    reply[0] = 0x0a; /* content: size - 4 bytes, whose size takes 3 */
    reply[1] = (uint8_t)(((size - 4) & 0x7f) | 0x80);
    reply[2] = (uint8_t)(((size - 4) >> 7 & 0x7f) | 0x80);
    reply[3] = (uint8_t)((size - 4) >> 14);
    assert_int_equal(
        saga_bind_merge(&table, BYTES(0x08, 1), (struct saga_bytes){reply, size}, &out),
        SAGA_ERR_OK);
    assert_int_equal(out.size, SAGA_CONTEXT_SIZE_MAX);
    saga_buf_clear(&out);
    assert_int_equal(
        saga_bind_merge(&table, BYTES(0x08, 0x80, 0x01), (struct saga_bytes){reply, size}, &out),
        SAGA_ERR_LIMIT);
    assert_int_equal(out.size, 0);
    free(reply);
    saga_buf_fini(&out);
}

static void test_bind_when_bytes_are_random_then_no_harm(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {{1, 2}, {2, 1}, {3, 1000}};
    struct saga_bind_table table = table_of(pairs, 3);
    uint64_t seed = 7;
    struct saga_buf out = {0};
    for (int i = 0; i < 100000; i++) {
        size_t size = (size_t)saga_prng_below(&seed, 24);
        uint8_t *bytes = malloc(size + 1);
        assert_non_null(bytes);
        for (size_t b = 0; b < size; b++) {
            uint64_t random = saga_prng_next(&seed);
            bytes[b] = (uint8_t)(random % 2 == 0 ? random >> 8 : (random >> 8) % 32);
        }
        struct saga_bytes view = {bytes, size};
        saga_buf_clear(&out);
        enum saga_err built = saga_bind_build(&table, view, &out);
        enum saga_err merged = saga_bind_merge(&table, view, view, &out);
        assert_int_equal(built, merged);
        assert_true(built == SAGA_ERR_OK || built == SAGA_ERR_MALFORMED);
        free(bytes);
    }
    saga_buf_fini(&out);
}

/* ---- Conditions ---- */

static void test_when_must_be_set_then_any_value_but_the_default(void **state)
{
    (void)state;
    struct saga_when number = {
        .there = true, .field = 2, .type = SAGA_FIELD_INT64, .must_be_set = true};
    struct saga_bytes empty = {0};
    assert_false(saga_when_holds(&number, empty));
    assert_false(saga_when_holds(&number, BYTES(0x08, 1)));
    assert_false(saga_when_holds(&number, BYTES(0x10, 0)));
    assert_true(saga_when_holds(&number, BYTES(0x10, 1)));
    assert_false(saga_when_holds(&number, BYTES(0x10, 1, 0x10, 0))); /* the last counts */
    struct saga_when text = {.there = true,
                             .field = 2,
                             .type = SAGA_FIELD_STRING,
                             .must_be_set = true,
                             .is_bytes = true};
    assert_false(saga_when_holds(&text, empty));
    assert_false(saga_when_holds(&text, BYTES(0x12, 0)));
    assert_true(saga_when_holds(&text, BYTES(0x12, 1, 'a')));
}

static void test_when_equals_then_only_that_value(void **state)
{
    (void)state;
    struct saga_bytes empty = {0};
    struct saga_when text = {.there = true,
                             .field = 1,
                             .type = SAGA_FIELD_STRING,
                             .is_bytes = true,
                             .bytes = saga_bytes_text("ab")};
    assert_true(saga_when_holds(&text, BYTES(0x0a, 2, 'a', 'b')));
    assert_false(saga_when_holds(&text, BYTES(0x0a, 1, 'a')));
    assert_false(saga_when_holds(&text, empty));
    struct saga_when zero = {
        .there = true, .field = 1, .type = SAGA_FIELD_INT32, .is_default = true};
    assert_true(saga_when_holds(&zero, empty));
    assert_true(saga_when_holds(&zero, BYTES(0x08, 0)));
    assert_false(saga_when_holds(&zero, BYTES(0x08, 1)));
    struct saga_when minus = {
        .there = true, .field = 1, .type = SAGA_FIELD_INT32, .number = UINT32_MAX};
    assert_true(saga_when_holds(
        &minus, BYTES(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)));
    assert_true(saga_when_holds(&minus, BYTES(0x08, 0xff, 0xff, 0xff, 0xff, 0x0f)));
    struct saga_when yes = {.there = true, .field = 1, .type = SAGA_FIELD_BOOL, .number = 1};
    assert_true(saga_when_holds(&yes, BYTES(0x08, 2)));
    assert_false(saga_when_holds(&yes, empty));
    struct saga_when fixed = {.there = true, .field = 1, .type = SAGA_FIELD_FIXED32, .number = 5};
    assert_true(saga_when_holds(&fixed, BYTES(0x0d, 5, 0, 0, 0)));
    assert_false(saga_when_holds(&fixed, BYTES(0x08, 5))); /* another type on the wire */
}

static void test_when_absent_then_it_holds(void **state)
{
    (void)state;
    struct saga_when none = {.there = false};
    assert_true(saga_when_holds(&none, (struct saga_bytes){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build_when_fields_are_known_then_copied_under_their_new_numbers),
        cmocka_unit_test(test_build_when_the_source_is_empty_then_nothing),
        cmocka_unit_test(test_build_when_fields_repeat_then_their_order_is_kept),
        cmocka_unit_test(test_build_when_a_field_is_a_group_then_its_end_is_renumbered),
        cmocka_unit_test(test_build_when_values_are_not_well_formed_inside_then_nothing_is_decoded),
        cmocka_unit_test(test_merge_when_the_reply_has_a_field_then_it_replaces_the_contexts),
        cmocka_unit_test(test_merge_when_the_reply_lacks_a_field_then_it_becomes_default),
        cmocka_unit_test(test_merge_when_repeated_then_all_are_replaced_by_all),
        cmocka_unit_test(test_bind_when_malformed_then_the_buffer_is_as_it_was),
        cmocka_unit_test(test_merge_when_the_context_grows_over_its_limit_then_refused),
        cmocka_unit_test(test_bind_when_bytes_are_random_then_no_harm),
        cmocka_unit_test(test_when_must_be_set_then_any_value_but_the_default),
        cmocka_unit_test(test_when_equals_then_only_that_value),
        cmocka_unit_test(test_when_absent_then_it_holds),
    };
    return cmocka_run_group_tests_name("bind", tests, NULL, NULL);
}
