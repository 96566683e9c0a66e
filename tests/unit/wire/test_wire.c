/* The wire format, field by field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/wire/wire.h"

#define BYTES(...)                                                                                 \
    (struct saga_bytes)                                                                            \
    {                                                                                              \
        (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                     \
    }

static enum saga_wire_next read_one(struct saga_bytes bytes, struct saga_wire_field *field)
{
    struct saga_wire_reader reader = saga_wire_read(bytes);
    return saga_wire_next(&reader, field);
}

static void test_varint_of_every_size_when_written_then_reads_back(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t values[2] = {UINT64_C(1) << bit, (UINT64_C(1) << bit) - 1};
        for (size_t i = 0; i < 2; i++) {
            uint8_t bytes[SAGA_VARINT_SIZE_MAX];
            size_t size = (size_t)(saga_wire_put_varint(bytes, values[i]) - bytes);
            assert_int_equal(size, saga_wire_varint_size(values[i]));
            struct saga_wire_reader reader = saga_wire_read((struct saga_bytes){bytes, size});
            uint64_t value = 0;
            assert_true(saga_wire_varint(&reader, &value));
            assert_true(value == values[i]);
            assert_ptr_equal(reader.at, reader.end);
            reader = saga_wire_read((struct saga_bytes){bytes, size - 1});
            assert_false(saga_wire_varint(&reader, &value));
        }
    }
    assert_int_equal(saga_wire_varint_size(UINT64_MAX), SAGA_VARINT_SIZE_MAX);
}

static void test_varint_when_longer_than_64_bits_then_malformed(void **state)
{
    (void)state;
    struct saga_bytes ten = BYTES(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02);
    struct saga_bytes eleven =
        BYTES(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00);
    struct saga_wire_reader reader = saga_wire_read(ten);
    uint64_t value = 0;
    assert_false(saga_wire_varint(&reader, &value));
    reader = saga_wire_read(eleven);
    assert_false(saga_wire_varint(&reader, &value));
}

static void test_field_of_every_type_when_read_then_value_and_body(void **state)
{
    (void)state;
    struct saga_wire_field field;
    assert_int_equal(read_one(BYTES(0x08, 0x96, 0x01), &field), SAGA_WIRE_NEXT_FIELD);
    assert_int_equal(field.number, 1);
    assert_int_equal(field.type, SAGA_WIRE_VARINT);
    assert_int_equal(field.value, 150);
    assert_int_equal(field.body.size, 2);
    assert_int_equal(read_one(BYTES(0x15, 1, 0, 0, 0x80), &field), SAGA_WIRE_NEXT_FIELD);
    assert_int_equal(field.value, 0x80000001);
    assert_int_equal(read_one(BYTES(0x19, 1, 0, 0, 0, 0, 0, 0, 0x80), &field),
                     SAGA_WIRE_NEXT_FIELD);
    assert_true(field.value == UINT64_C(0x8000000000000001));
    assert_int_equal(read_one(BYTES(0x22, 3, 'a', 'b', 'c'), &field), SAGA_WIRE_NEXT_FIELD);
    assert_true(saga_bytes_equal(field.bytes, saga_bytes_text("abc")));
    assert_int_equal(field.body.size, 4);
    /* Tag and size in five bytes each. */
    assert_int_equal(
        read_one(BYTES(0xa2, 0x80, 0x80, 0x80, 0x00, 0x81, 0x80, 0x80, 0x80, 0x00, 'a'), &field),
        SAGA_WIRE_NEXT_FIELD);
    assert_true(saga_bytes_equal(field.bytes, saga_bytes_text("a")));
    assert_int_equal(read_one((struct saga_bytes){NULL, 0}, &field), SAGA_WIRE_NEXT_END);
}

static void test_field_when_malformed_then_says_so(void **state)
{
    (void)state;
    struct saga_wire_field field;
    const struct saga_bytes wrong[] = {
        BYTES(0x80),            /* tag cut */
        BYTES(0x08),            /* value missing */
        BYTES(0x00, 0x01),      /* number 0 */
        BYTES(0x0e, 0x01),      /* type 6 */
        BYTES(0x0f, 0x01),      /* type 7 */
        BYTES(0x0c),            /* end without a group */
        BYTES(0x0a, 0x02, 'a'), /* size beyond the end */
        BYTES(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), /* huge size */
        BYTES(0x0d, 1, 2, 3),                                                    /* fixed32 cut */
        BYTES(0x09, 1, 2, 3, 4, 5, 6, 7),                                        /* fixed64 cut */
        BYTES(0x80, 0x80, 0x80, 0x80, 0x10, 0x00),            /* number above 2^29 - 1 */
        BYTES(0x88, 0x80, 0x80, 0x80, 0x80, 0x00, 0x01),      /* tag in six bytes */
        BYTES(0x0a, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 'a'), /* size in six bytes */
        BYTES(0x0b),                                          /* group without end */
        BYTES(0x0b, 0x14),                                    /* group ended by another number */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(read_one(wrong[i], &field), SAGA_WIRE_NEXT_MALFORMED);
    }
}

static void test_group_when_nested_then_skipped_whole(void **state)
{
    (void)state;
    struct saga_wire_field field;
    struct saga_bytes bytes = BYTES(0x0b, 0x13, 0x18, 0x05, 0x14, 0x0c, 0x28, 0x01);
    struct saga_wire_reader reader = saga_wire_read(bytes);
    assert_int_equal(saga_wire_next(&reader, &field), SAGA_WIRE_NEXT_FIELD);
    assert_int_equal(field.type, SAGA_WIRE_GROUP);
    assert_int_equal(field.bytes.size, 4);
    assert_int_equal(field.body.size, 5);
    assert_int_equal(saga_wire_next(&reader, &field), SAGA_WIRE_NEXT_FIELD);
    assert_int_equal(field.number, 5);
    assert_int_equal(saga_wire_next(&reader, &field), SAGA_WIRE_NEXT_END);
}

static void test_group_when_too_deep_then_malformed(void **state)
{
    (void)state;
    uint8_t bytes[2 * (SAGA_WIRE_GROUP_DEPTH_MAX + 1)];
    struct saga_wire_field field;
    for (size_t depth = SAGA_WIRE_GROUP_DEPTH_MAX; depth <= SAGA_WIRE_GROUP_DEPTH_MAX + 1;
         depth++) {
        memset(bytes, 0x0b, depth);
        memset(bytes + depth, 0x0c, depth);
        enum saga_wire_next next = read_one((struct saga_bytes){bytes, 2 * depth}, &field);
        assert_int_equal(next, depth == SAGA_WIRE_GROUP_DEPTH_MAX ? SAGA_WIRE_NEXT_FIELD
                                                                  : SAGA_WIRE_NEXT_MALFORMED);
    }
}

static void test_utf8_when_valid_then_true(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       ("a\xe2\x82\xac"
                                        "b")};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(saga_wire_utf8(saga_bytes_text(good[i])));
    }
    assert_true(saga_wire_utf8(BYTES('a', 0, 'b')));
}

static void test_utf8_when_invalid_then_false(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xc2",
        "\xc2\x20",     "\xe0\x9f\xbf",     "\xed\xa0\x80",     "\xe2\x82",
        "\xe2\x82\x20", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "a\xf0\x90\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(saga_wire_utf8(saga_bytes_text(bad[i])));
    }
}

static void test_utf8_when_a_bad_byte_stands_anywhere_in_long_text_then_false(void **state)
{
    (void)state;
    char text[40];
    for (size_t at = 0; at < sizeof text; at++) {
        struct saga_bytes bytes = {(const uint8_t *)text, sizeof text};
        memset(text, 'a', sizeof text);
        assert_true(saga_wire_utf8(bytes));
        text[at] = '\x80';
        assert_false(saga_wire_utf8(bytes));
        text[at] = '\xc3';
        assert_false(saga_wire_utf8(bytes));
        if (at + 1 < sizeof text) {
            text[at + 1] = '\xa4';
            assert_true(saga_wire_utf8(bytes));
        }
    }
}

static void test_utf8_cut_when_inside_a_character_then_leaves_it_out(void **state)
{
    (void)state;
    struct saga_bytes text = saga_bytes_text("ab\xe2\x82\xac"
                                             "c");
    assert_int_equal(saga_wire_utf8_cut(text, 6).size, 6);
    assert_int_equal(saga_wire_utf8_cut(text, 5).size, 5);
    assert_int_equal(saga_wire_utf8_cut(text, 4).size, 2);
    assert_int_equal(saga_wire_utf8_cut(text, 3).size, 2);
    assert_int_equal(saga_wire_utf8_cut(text, 0).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint_of_every_size_when_written_then_reads_back),
        cmocka_unit_test(test_varint_when_longer_than_64_bits_then_malformed),
        cmocka_unit_test(test_field_of_every_type_when_read_then_value_and_body),
        cmocka_unit_test(test_field_when_malformed_then_says_so),
        cmocka_unit_test(test_group_when_nested_then_skipped_whole),
        cmocka_unit_test(test_group_when_too_deep_then_malformed),
        cmocka_unit_test(test_utf8_when_valid_then_true),
        cmocka_unit_test(test_utf8_when_invalid_then_false),
        cmocka_unit_test(test_utf8_when_a_bad_byte_stands_anywhere_in_long_text_then_false),
        cmocka_unit_test(test_utf8_cut_when_inside_a_character_then_leaves_it_out),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
