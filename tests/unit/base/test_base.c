#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/prng.h"
#include "common/base/status.h"

/* ---- bytes ---- */

static void test_bytes_when_empty_or_null_then_equal(void **state)
{
    (void)state;
    struct saga_bytes none = saga_bytes_text(NULL);
    assert_int_equal(none.size, 0);
    assert_true(saga_bytes_equal(none, saga_bytes_text("")));
    assert_true(saga_bytes_equal(saga_bytes_text("ab"), saga_bytes_text("ab")));
    assert_false(saga_bytes_equal(saga_bytes_text("ab"), saga_bytes_text("abc")));
    assert_false(saga_bytes_equal(saga_bytes_text("ab"), saga_bytes_text("ac")));
}

static void test_buf_when_appended_then_grows_and_keeps_content(void **state)
{
    (void)state;
    struct saga_buf buf = {0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(saga_buf_append(&buf, saga_bytes_text("0123456789")), SAGA_ERR_OK);
    }
    assert_int_equal(buf.size, 10000);
    for (size_t i = 0; i < buf.size; i++) {
        assert_int_equal(buf.data[i], '0' + i % 10);
    }
    uint8_t *data = buf.data;
    saga_buf_clear(&buf);
    assert_int_equal(saga_buf_view(&buf).size, 0);
    assert_int_equal(saga_buf_append(&buf, saga_bytes_text("x")), SAGA_ERR_OK);
    assert_ptr_equal(buf.data, data);
    saga_buf_fini(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.capacity, 0);
}

static void test_buf_when_size_overflows_then_no_memory_and_unchanged(void **state)
{
    (void)state;
    struct saga_buf buf = {0};
    assert_int_equal(saga_buf_append(&buf, saga_bytes_text("abc")), SAGA_ERR_OK);
    assert_int_equal(saga_buf_reserve(&buf, SIZE_MAX), SAGA_ERR_NO_MEMORY);
    assert_int_equal(saga_buf_reserve(&buf, SIZE_MAX / 2), SAGA_ERR_NO_MEMORY);
    assert_true(saga_bytes_equal(saga_buf_view(&buf), saga_bytes_text("abc")));
    saga_buf_fini(&buf);
}

/* ---- arena ---- */

static void test_arena_when_taken_then_aligned_and_apart(void **state)
{
    (void)state;
    struct saga_arena arena = {0};
    unsigned char *before[200];
    for (size_t i = 0; i < 200; i++) {
        before[i] = saga_arena_take(&arena, i * 7);
        assert_non_null(before[i]);
        assert_int_equal((uintptr_t)before[i] % alignof(max_align_t), 0);
        memset(before[i], (int)i, i * 7);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < i * 7; j++) {
            assert_int_equal(before[i][j], i);
        }
    }
    saga_arena_fini(&arena);
}

static void test_arena_when_cleared_then_memory_is_used_again(void **state)
{
    (void)state;
    struct saga_arena arena = {0};
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 100; i++) {
            assert_non_null(saga_arena_take(&arena, 1000));
        }
        saga_arena_clear(&arena);
    }
    size_t total = arena.total;
    assert_non_null(saga_arena_take(&arena, 10));
    assert_int_equal(arena.total, total);
    assert_non_null(saga_arena_take(&arena, 1024 * 1024)); /* larger than any block so far */
    saga_arena_fini(&arena);
    assert_null(arena.blocks);
    saga_arena_clear(&arena);
    saga_arena_fini(&arena);
}

static void test_arena_when_size_is_impossible_then_null(void **state)
{
    (void)state;
    struct saga_arena arena = {0};
    volatile size_t huge = SIZE_MAX;
    assert_null(saga_arena_take(&arena, huge));
    assert_null(saga_arena_take(&arena, huge - 8));
    assert_non_null(saga_arena_take(&arena, 1));
    saga_arena_fini(&arena);
}

/* ---- err ---- */

static void test_err_when_named_then_name_text_and_class(void **state)
{
    (void)state;
    assert_string_equal(saga_err_name(SAGA_ERR_OK), "OK");
    assert_string_equal(saga_err_name(SAGA_ERR_DISK_FULL), "DISK_FULL");
    assert_string_equal(saga_err_text(SAGA_ERR_DISK_FULL), "disk full");
    assert_int_equal(saga_err_class(SAGA_ERR_OK), SAGA_ERR_CLASS_NONE);
    assert_int_equal(saga_err_class(SAGA_ERR_BUSY), SAGA_ERR_CLASS_RETRY);
    assert_int_equal(saga_err_class(SAGA_ERR_LIMIT), SAGA_ERR_CLASS_REJECT);
    assert_int_equal(saga_err_class(SAGA_ERR_CORRUPT), SAGA_ERR_CLASS_FATAL);
    assert_string_equal(saga_err_name((enum saga_err)999), "UNLISTED");
    assert_int_equal(saga_err_class((enum saga_err)999), SAGA_ERR_CLASS_FATAL);
}

static void test_err_when_wrapped_then_prefix_stands_before(void **state)
{
    (void)state;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_err_set(&detail, SAGA_ERR_BUSY, "database is %s", "locked"),
                     SAGA_ERR_BUSY);
    assert_int_equal(saga_err_wrap(&detail, SAGA_ERR_BUSY, "begin"), SAGA_ERR_BUSY);
    assert_int_equal(saga_err_wrap(&detail, SAGA_ERR_BUSY, "store"), SAGA_ERR_BUSY);
    assert_string_equal(detail.text, "store: begin: database is locked");
    assert_int_equal(saga_err_set(NULL, SAGA_ERR_IO, "x"), SAGA_ERR_IO);
    assert_int_equal(saga_err_wrap(NULL, SAGA_ERR_IO, "x"), SAGA_ERR_IO);
}

static void test_err_when_detail_is_too_long_then_cut_and_ended(void **state)
{
    (void)state;
    struct saga_err_detail detail = {{0}};
    char prefix[400];
    memset(prefix, 'p', sizeof prefix);
    prefix[sizeof prefix - 1] = '\0';
    (void)saga_err_set(&detail, SAGA_ERR_IO, "%0500d", 0);
    assert_int_equal(strlen(detail.text), SAGA_ERR_DETAIL_SIZE - 1);
    (void)saga_err_wrap(&detail, SAGA_ERR_IO, "short");
    assert_int_equal(strlen(detail.text), SAGA_ERR_DETAIL_SIZE - 1);
    assert_int_equal(strncmp(detail.text, "short: 000", 10), 0);
    (void)saga_err_wrap(&detail, SAGA_ERR_IO, prefix);
    assert_true(strlen(detail.text) < SAGA_ERR_DETAIL_SIZE);
    assert_int_equal(detail.text[0], 'p');
}

/* ---- id ---- */

static void test_id_when_made_then_uuid_version_7(void **state)
{
    (void)state;
    struct saga_id id = saga_id_make(0x0123456789ab, 0x0cde, UINT64_MAX);
    char text[SAGA_ID_TEXT_SIZE];
    saga_id_format(id, text);
    assert_string_equal(text, "01234567-89ab-7cde-bfff-ffffffffffff");
    saga_id_format(saga_id_make(0x0123456789ab, 0xffff, 0), text);
    assert_string_equal(text, "01234567-89ab-7fff-8000-000000000000");
}

static void test_id_when_made_later_then_sorts_later(void **state)
{
    (void)state;
    uint64_t seed = 7;
    struct saga_id last = saga_id_make(1000, 0, UINT64_MAX);
    for (uint16_t counter = 1; counter < 4096; counter++) {
        struct saga_id id = saga_id_make(1000, counter, saga_prng_next(&seed));
        assert_true(memcmp(last.b, id.b, SAGA_ID_SIZE) < 0);
        last = id;
    }
    struct saga_id next = saga_id_make(1001, 0, 0);
    assert_true(memcmp(last.b, next.b, SAGA_ID_SIZE) < 0);
}

static void test_id_when_parsed_then_same_in_either_case(void **state)
{
    (void)state;
    struct saga_id id = saga_id_make(1700000000000, 5, 0x1234567890abcdef);
    struct saga_id back = {{0}};
    char text[SAGA_ID_TEXT_SIZE];
    saga_id_format(id, text);
    assert_int_equal(saga_id_parse(text, &back), SAGA_ERR_OK);
    assert_true(saga_id_equal(id, back));
    assert_int_equal(saga_id_parse("0123ABCD-EF01-7234-8567-89ABCDEF0123", &back), SAGA_ERR_OK);
    saga_id_format(back, text);
    assert_string_equal(text, "0123abcd-ef01-7234-8567-89abcdef0123");
}

static void test_id_when_text_is_none_then_invalid_and_unchanged(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0123abcd",
        "0123abcd-ef01-7234-8567-89abcdef012",
        "0123abcd-ef01-7234-8567-89abcdef01234",
        "0123abcdxef01-7234-8567-89abcdef0123",
        "0123abcg-ef01-7234-8567-89abcdef0123",
        "0123abcd-ef01-7234-856789-abcdef0123",
        "{123abcd-ef01-7234-8567-89abcdef0123",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct saga_id id = {.b = {9}};
        assert_int_equal(saga_id_parse(bad[i], &id), SAGA_ERR_INVALID);
        assert_int_equal(id.b[0], 9);
    }
}

/* ---- prng ---- */

static void test_prng_when_same_seed_then_same_numbers(void **state)
{
    (void)state;
    uint64_t a = 42;
    uint64_t b = 42;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(saga_prng_next(&a), saga_prng_next(&b));
    }
    /* The first numbers of splitmix64 from 0, as its author's code gives them. */
    uint64_t zero = 0;
    assert_true(saga_prng_next(&zero) == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(saga_prng_next(&zero) == UINT64_C(0x6e789e6aa1b965f4));
}

static void test_prng_when_below_then_all_and_only_those_below(void **state)
{
    (void)state;
    uint64_t seed = 1;
    unsigned seen[10] = {0};
    for (int i = 0; i < 10000; i++) {
        uint64_t number = saga_prng_below(&seed, 10);
        assert_true(number < 10);
        seen[number]++;
    }
    for (size_t i = 0; i < 10; i++) {
        assert_in_range(seen[i], 800, 1200);
    }
    assert_int_equal(saga_prng_below(&seed, 1), 0);
}

/* ---- status ---- */

static void test_code_when_named_then_found_again(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 16; code++) {
        uint32_t found = 99;
        assert_true(saga_code_find(saga_code_name(code), &found));
        assert_int_equal(found, code);
    }
    uint32_t found = 99;
    assert_false(saga_code_find("NO_SUCH", &found));
    assert_false(saga_code_find("", &found));
    assert_int_equal(found, 99);
    assert_string_equal(saga_code_name(17), "UNLISTED");
}

static void test_code_when_classified_then_as_the_table_says(void **state)
{
    (void)state;
    assert_int_equal(saga_code_class(SAGA_CODE_OK), SAGA_CODE_CLASS_SUCCESS);
    assert_int_equal(saga_code_class(SAGA_CODE_NOT_FOUND), SAGA_CODE_CLASS_REJECT);
    assert_int_equal(saga_code_class(SAGA_CODE_UNAVAILABLE), SAGA_CODE_CLASS_RETRY);
    assert_int_equal(saga_code_class(SAGA_CODE_DEADLINE_EXCEEDED), SAGA_CODE_CLASS_UNKNOWN);
    assert_int_equal(saga_code_class(SAGA_CODE_UNIMPLEMENTED), SAGA_CODE_CLASS_PARK);
    assert_int_equal(saga_code_class(17), SAGA_CODE_CLASS_UNKNOWN);
    assert_int_equal(saga_code_class(UINT32_MAX), SAGA_CODE_CLASS_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_when_empty_or_null_then_equal),
        cmocka_unit_test(test_buf_when_appended_then_grows_and_keeps_content),
        cmocka_unit_test(test_buf_when_size_overflows_then_no_memory_and_unchanged),
        cmocka_unit_test(test_arena_when_taken_then_aligned_and_apart),
        cmocka_unit_test(test_arena_when_cleared_then_memory_is_used_again),
        cmocka_unit_test(test_arena_when_size_is_impossible_then_null),
        cmocka_unit_test(test_err_when_named_then_name_text_and_class),
        cmocka_unit_test(test_err_when_wrapped_then_prefix_stands_before),
        cmocka_unit_test(test_err_when_detail_is_too_long_then_cut_and_ended),
        cmocka_unit_test(test_id_when_made_then_uuid_version_7),
        cmocka_unit_test(test_id_when_made_later_then_sorts_later),
        cmocka_unit_test(test_id_when_parsed_then_same_in_either_case),
        cmocka_unit_test(test_id_when_text_is_none_then_invalid_and_unchanged),
        cmocka_unit_test(test_prng_when_same_seed_then_same_numbers),
        cmocka_unit_test(test_prng_when_below_then_all_and_only_those_below),
        cmocka_unit_test(test_code_when_named_then_found_again),
        cmocka_unit_test(test_code_when_classified_then_as_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
