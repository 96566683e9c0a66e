/* JSON values one after the other, however they come; names that may have been meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/call_data.h"
#include "client/conn.h"
#include "client/symbols.h"
#include "common/sys/clock.h"

/* Takes the next value and compares it. */
static void take_value(struct saga_call_data *data, const char *text, size_t line)
{
    struct saga_bytes value = {0};
    bool there = false;
    assert_int_equal(saga_call_data_next(data, &value, &there), SAGA_EXIT_OK);
    assert_true(there);
    assert_int_equal(value.size, strlen(text));
    assert_memory_equal(value.data, text, value.size);
    assert_int_equal(data->value_line, line);
}

static void take_end(struct saga_call_data *data, int status)
{
    struct saga_bytes value = {0};
    bool there = false;
    assert_int_equal(saga_call_data_next(data, &value, &there), status);
    assert_true(status != SAGA_EXIT_OK || !there);
    saga_call_data_close(data);
}

static void test_values_of_a_text_when_side_by_side_then_each_is_found(void **state)
{
    (void)state;
    struct saga_call_data data;
    assert_int_equal(
        saga_call_data_open(" {\"a\":\"}{\\\"]\\\\\"}{}\n[1,[2]]\"x\\\"y\"\r\n\t-1.5e3 true[]null",
                            &data),
        SAGA_EXIT_OK);
    take_value(&data, "{\"a\":\"}{\\\"]\\\\\"}", 1);
    take_value(&data, "{}", 1);
    take_value(&data, "[1,[2]]", 2);
    take_value(&data, "\"x\\\"y\"", 2);
    take_value(&data, "-1.5e3", 3);
    take_value(&data, "true", 3);
    take_value(&data, "[]", 3);
    take_value(&data, "null", 3);
    take_end(&data, SAGA_EXIT_OK);
}

static void test_values_when_there_is_none_then_the_end_is_told(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " \r\n\t "};
    for (size_t i = 0; i < 2; i++) {
        struct saga_call_data data;
        assert_int_equal(saga_call_data_open(texts[i], &data), SAGA_EXIT_OK);
        take_end(&data, SAGA_EXIT_OK);
    }
}

static void test_values_when_one_does_not_end_then_it_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"{", "[{}", "\"abc", "{\"a\":\"}", "\"\\\""};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct saga_call_data data;
        assert_int_equal(saga_call_data_open(texts[i], &data), SAGA_EXIT_OK);
        take_end(&data, SAGA_EXIT_USAGE);
    }
}

/* A pipe that holds a text, and whether its writer is gone. */
static void open_pipe(struct saga_call_data *data, int *writer)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    *data = (struct saga_call_data){.name = "a pipe", .fd = ends[0], .line = 1};
    *writer = ends[1];
}

static void
test_values_when_they_come_byte_by_byte_then_each_is_had_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    struct saga_call_data data;
    int writer = -1;
    open_pipe(&data, &writer);
    assert_false(saga_call_data_ready(&data));
    assert_int_equal(write(writer, "{\"a\":1}\n", 8), 8);
    assert_true(saga_call_data_ready(&data));
    take_value(&data, "{\"a\":1}", 1);
    assert_false(saga_call_data_ready(&data)); /* the line's end alone is no value */
    assert_int_equal(write(writer, "{\"b\":2}{\"c\"", 11), 11);
    take_value(&data, "{\"b\":2}", 2);
    assert_true(saga_call_data_ready(&data)); /* one has begun */
    assert_int_equal(write(writer, ":3}", 3), 3);
    take_value(&data, "{\"c\":3}", 2);
    (void)close(writer);
    assert_true(saga_call_data_ready(&data));
    take_end(&data, SAGA_EXIT_OK);
}

static void test_values_when_nothing_comes_in_time_then_that_is_told(void **state)
{
    (void)state;
    struct saga_call_data data;
    int writer = -1;
    open_pipe(&data, &writer);
    data.end_us = saga_clock_mono_us() + 1000;
    take_end(&data, SAGA_EXIT_STATUS + SAGA_CODE_DEADLINE_EXCEEDED);
    (void)close(writer);
}

static void test_values_of_a_large_file_when_read_then_memory_stays_small(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    char path[] = "/tmp/saga-call-data-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "wb");
    assert_non_null(file);
    for (int i = 0; i < COUNT; i++) {
        assert_true(fprintf(file, "{\"number\":%d,\"text\":\"{[\\\"\"}\n", i) > 0);
    }
    assert_int_equal(fclose(file), 0);
    char given[64];
    (void)snprintf(given, sizeof given, "@%s", path);
    struct saga_call_data data;
    assert_int_equal(saga_call_data_open(given, &data), SAGA_EXIT_OK);
    for (int i = 0; i < COUNT; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "{\"number\":%d,\"text\":\"{[\\\"\"}", i);
        take_value(&data, text, (size_t)i + 1);
    }
    assert_true(data.buf.capacity <= 512 * 1024);
    take_end(&data, SAGA_EXIT_OK);
    assert_int_equal(unlink(path), 0);
}

static void test_names_when_written_in_any_way_then_the_method_is_found(void **state)
{
    (void)state;
    struct saga_schema *schema = NULL;
    assert_int_equal(saga_schema_open(NULL, &schema), SAGA_EXIT_OK);
    const struct saga_method *method =
        saga_schema_method(schema, "product.v1.ProductService/ReserveStock");
    assert_non_null(method);
    assert_ptr_equal(saga_symbol_method(schema, "product.v1.ProductService/ReserveStock"), method);
    assert_ptr_equal(saga_symbol_method(schema, "product.v1.ProductService.ReserveStock"), method);
    assert_ptr_equal(saga_symbol_method(schema, ".product.v1.ProductService.ReserveStock"), method);
    assert_ptr_equal(saga_symbol_method(schema, "/product.v1.ProductService/ReserveStock"), method);
    static const char *const none[] = {
        "",     ".", "/", "ReserveStock", "product.v1.ProductService", "product.v1.ProductService/",
        "a/b.c"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_null(saga_symbol_method(schema, none[i]));
    }
    char *longest = calloc(1, 70000);
    assert_non_null(longest);
    memset(longest, 'a', 69999);
    assert_null(saga_symbol_method(schema, longest));
    char hint[SAGA_SYMBOL_HINT_SIZE];
    saga_symbol_hint(schema, SAGA_SYMBOL_ALL, longest, hint);
    assert_string_equal(hint, "");
    free(longest);
    saga_schema_free(schema);
}

static void test_hint_when_a_name_is_near_then_it_is_told_the_nearest_first(void **state)
{
    (void)state;
    struct saga_schema *schema = NULL;
    assert_int_equal(saga_schema_open(NULL, &schema), SAGA_EXIT_OK);
    char hint[SAGA_SYMBOL_HINT_SIZE];
    saga_symbol_hint(schema, SAGA_SYMBOL_METHOD, "reservestock", hint);
    assert_int_equal(strncmp(hint, "; did you mean product.v1.ProductService/ReserveStock", 53), 0);
    saga_symbol_hint(schema, SAGA_SYMBOL_MESSAGE, "order.v1.OrderItm", hint);
    assert_string_equal(hint, "; did you mean order.v1.OrderItem or order.v1.Order?");
    saga_symbol_hint(schema, SAGA_SYMBOL_SERVICE, "order.v1.OrderItm", hint);
    assert_string_equal(hint, "");
    saga_symbol_hint(schema, SAGA_SYMBOL_ALL, "", hint);
    assert_string_equal(hint, "");
    saga_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_of_a_text_when_side_by_side_then_each_is_found),
        cmocka_unit_test(test_values_when_there_is_none_then_the_end_is_told),
        cmocka_unit_test(test_values_when_one_does_not_end_then_it_is_refused),
        cmocka_unit_test(
            test_values_when_they_come_byte_by_byte_then_each_is_had_as_soon_as_it_is_whole),
        cmocka_unit_test(test_values_when_nothing_comes_in_time_then_that_is_told),
        cmocka_unit_test(test_values_of_a_large_file_when_read_then_memory_stays_small),
        cmocka_unit_test(test_names_when_written_in_any_way_then_the_method_is_found),
        cmocka_unit_test(test_hint_when_a_name_is_near_then_it_is_told_the_nearest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
