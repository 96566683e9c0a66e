#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "common/wire/json/json.h"
#include "common/wire/json/json_internal.h"
#include "descriptor_set.h"

static struct saga_schema *schema;

static int load(void **state)
{
    (void)state;
    struct saga_bytes set = {.data = saga_descriptor_set, .size = saga_descriptor_set_size};
    return saga_schema_load(set, &schema, NULL) == SAGA_ERR_OK ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    saga_schema_free(schema);
    return 0;
}

static const struct saga_message_type *type_of(const char *name)
{
    const struct saga_message_type *type = saga_schema_message(schema, name);
    assert_non_null(type);
    return type;
}

static enum saga_err to_wire(const char *name, const char *json,
                             const struct saga_json_options *options, struct saga_buf *out,
                             struct saga_err_detail *detail)
{
    return saga_json_to_wire(schema, type_of(name), saga_bytes_text(json), options, out, detail);
}

/* Reads JSON that must be refused with a detail that begins so: jansson's own words are its
 * business. */
static void refused(const char *name, const char *json, const char *detail_text)
{
    struct saga_buf out = {0};
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_buf_append(&out, saga_bytes_text("before")), SAGA_ERR_OK);
    assert_int_equal(to_wire(name, json, NULL, &out, &detail), SAGA_ERR_INVALID);
    assert_memory_equal(detail.text, detail_text, strlen(detail_text));
    assert_true(saga_bytes_equal(saga_buf_view(&out), saga_bytes_text("before")));
    assert_int_equal(to_wire(name, json, NULL, &out, NULL), SAGA_ERR_INVALID);
    saga_buf_fini(&out);
}

/* Reads JSON and prints it again. */
static void becomes(const char *name, const char *json, const struct saga_json_options *options,
                    const char *expected)
{
    struct saga_buf wire = {0};
    struct saga_buf text = {0};
    struct saga_err_detail detail = {{0}};
    assert_int_equal(to_wire(name, json, options, &wire, &detail), SAGA_ERR_OK);
    assert_int_equal(
        saga_wire_to_json(schema, type_of(name), saga_buf_view(&wire), options, &text, &detail),
        SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&text, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    assert_string_equal((const char *)text.data, expected);
    saga_buf_fini(&wire);
    saga_buf_fini(&text);
}

/* ---- Reading ---- */

static void test_read_then_wire_bytes_in_order_of_numbers_behind_what_was_there(void **state)
{
    (void)state;
    struct saga_buf out = {0};
    static const uint8_t expected[] = {'x', 8, 7, 18, 4, 8, 1, 16, 2, 18, 2, 8, 5, 26, 1, 'k'};
    assert_int_equal(saga_buf_append(&out, saga_bytes_text("x")), SAGA_ERR_OK);
    assert_int_equal(
        to_wire("order.v1.PlaceOrderRequest",
                "{\"idempotencyKey\": \"k\", \"items\": [{\"quantity\": 2, \"productId\": \"1\"},"
                " {\"product_id\": 5, \"quantity\": 0}], \"customer_id\": \"7\"}",
                NULL, &out, NULL),
        SAGA_ERR_OK);
    assert_int_equal(out.size, sizeof expected);
    assert_memory_equal(out.data, expected, sizeof expected);
    saga_buf_fini(&out);
}

static void test_read_when_a_value_is_wrong_then_detail_names_its_path(void **state)
{
    (void)state;
    static const char order[] = "order.v1.PlaceOrderRequest";
    refused(order, "{\"items\":[{\"quantity\":1},{\"quantity\":\"x\"}]}",
            "items[1].quantity: is not a whole number");
    refused(order, "{\"items\":[{\"quantity\":2147483648}]}",
            "items[0].quantity: is out of the range of int32");
    refused(order, "{\"customerId\":\"9223372036854775808\"}",
            "customer_id: is out of the range of int64");
    refused(order, "{\"customerId\":1.5}", "customer_id: is not a whole number");
    refused(order, "{\"customerId\":true}", "customer_id: is not a whole number");
    refused(order, "{\"items\":{}}", "items: is not an array");
    refused(order, "{\"items\":[5]}", "items[0]: is not an object");
    refused(order, "{\"items\":[null]}", "items[0]: null cannot stand among values");
    refused(order, "{\"idempotencyKey\":5}", "idempotency_key: is not a string");
    refused(order, "[]", "is not an object");
    refused("saga.v1.Reply", "{\"payload\":\"?\"}", "payload: is not base64");
    refused("saga.v1.Reply", "{\"replayed\":\"true\"}", "replayed: is neither true nor false");
    refused("saga.v1.Reply", "{\"attempt\":-1}", "attempt: is out of the range of uint32");
    refused("saga.v1.Reply", "{\"op\":\"OP_NO\"}", "op: \"OP_NO\" is not a name of saga.v1.Op");
    refused("saga.v1.Reply", "{\"status\":{\"code\":[]}}", "status.code: is not a whole number");
}

static void test_read_when_a_name_is_wrong_then_refused(void **state)
{
    (void)state;
    static const char order[] = "order.v1.PlaceOrderRequest";
    refused(order, "{\"customer\":1}", "order.v1.PlaceOrderRequest has no field \"customer\"");
    refused(order, "{\"items\":[{\"\":1}]}", "items[0]: order.v1.OrderItem has no field \"\"");
    refused(order, "{\"customerId\":1,\"customer_id\":1}",
            "\"customer_id\" and \"customerId\" are the same field");
    refused(order, "{\"customerId\":1,\"customerId\":1}", "line 1, column ");
}

static void test_read_when_it_is_no_json_then_detail_names_the_line(void **state)
{
    (void)state;
    static const char order[] = "order.v1.PlaceOrderRequest";
    refused(order, "", "line 1, column ");
    refused(order, "{\n\"items\": [}", "line 2, column ");
    refused(order, "{\"customerId\": 9223372036854775808,}", "line 1: ");
    refused(order, "{} x", "line 1, column ");
    refused(order, "{\"idempotencyKey\":\"\xff\"}", "line 1, column ");
    refused(order, "{\"idempotencyKey\":\"\\ud800\"}", "line 1, column ");
}

static void test_read_when_a_number_has_more_than_63_bits_then_nothing_is_lost(void **state)
{
    (void)state;
    const char *name = "google.protobuf.UninterpretedOption";
    becomes(name, "{\"positiveIntValue\":18446744073709551615}", NULL,
            "{\"positiveIntValue\":\"18446744073709551615\"}");
    becomes(name,
            " {\"identifierValue\" : \"12 \\\" 34\", \"positiveIntValue\":9223372036854775808,\n"
            "\"negativeIntValue\":-9223372036854775808,\"doubleValue\":2.5e-1}",
            NULL,
            "{\"identifierValue\":\"12 \\\" 34\",\"positiveIntValue\":\"9223372036854775808\","
            "\"negativeIntValue\":\"-9223372036854775808\",\"doubleValue\":0.25}");
    becomes(name, "{\"doubleValue\":100000000000000000000}", NULL, "{\"doubleValue\":1e+20}");
    refused(name, "{\"positiveIntValue\":18446744073709551616}",
            "positive_int_value: is out of the range of uint64");
    refused(name, "{\"negativeIntValue\":9223372036854775808}",
            "negative_int_value: is out of the range of int64");
    refused(name, "{\"negativeIntValue\":-9223372036854775809}",
            "negative_int_value: is out of the range of int64");
    refused(name, "{\"negativeIntValue\":1e400}",
            "negative_int_value: is out of the range of int64");
    refused(name, "{\"doubleValue\":1e400}", "double_value: is out of the range of double");
    refused(name, "{\"doubleValue\":-1e400}", "double_value: is out of the range of double");
    refused(name, "{\"identifierValue\":18446744073709551615}",
            "identifier_value: is not a string");
}

/* Once numbers are replaced, what is no number must still be refused. */
static void test_read_when_wrong_beside_a_large_number_then_refused_by_line(void **state)
{
    (void)state;
    static const char *const wrong[] = {"01",  "-",    "1.",    ".5",  "+1",   "1e",  "1e+",
                                        "1-2", "--1",  "1.2.3", "0x1", "NaN",  "1 2", "1e5e5",
                                        "\"",  "\"\\", "-01",   "1,",  "tru1", "1a"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "{\"positiveIntValue\":18446744073709551615,\n\"x\":%s}",
                       wrong[i]);
        refused("google.protobuf.UninterpretedOption", text, "line 2");
    }
}

static void test_read_when_unknown_is_ignored_then_the_rest_counts(void **state)
{
    (void)state;
    const struct saga_json_options options = {.ignore_unknown = true};
    becomes("saga.v1.Reply",
            "{\"new\":{\"deep\":[1,null]},\"op\":\"OP_NEW\",\"step\":\"s\",\"status\":{\"x\":1}}",
            &options, "{\"step\":\"s\",\"status\":{}}");
}

static void test_read_when_null_or_default_then_absent(void **state)
{
    (void)state;
    struct saga_buf out = {0};
    assert_int_equal(to_wire("saga.v1.Reply",
                             "{\"sagaId\":null,\"step\":\"\",\"op\":0,\"status\":null,\"payload\":"
                             "\"\",\"replayed\":false,\"attempt\":\"0\"}",
                             NULL, &out, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(out.size, 0);
    saga_buf_fini(&out);
}

static void test_read_then_every_form_of_a_value(void **state)
{
    (void)state;
    becomes(
        "saga.v1.Reply",
        "{\"sagaId\":\"_-8\",\"step\":\"\\u0000\\ud83d\\ude00\\\"\",\"op\":\"2\",\"attempt\":1e3}",
        NULL,
        "{\"sagaId\":\"/+8=\",\"step\":\"\\u0000\xf0\x9f\x98\x80\\\"\",\"op\":\"OP_UNDO\","
        "\"attempt\":1000}");
    becomes("saga.v1.Reply", "{\"op\":77,\"attempt\":\"4294967295\"}", NULL,
            "{\"op\":77,\"attempt\":4294967295}");
    becomes("order.v1.OrderItem", "{\"productId\":-9223372036854775808,\"quantity\":-0.0}", NULL,
            "{\"productId\":\"-9223372036854775808\"}");
}

/* ---- Depth and size ---- */

/* A DescriptorProto in a DescriptorProto, count times. */
static char *nested_json(size_t count)
{
    static const char open[] = "{\"nestedType\":[";
    char *text = malloc(count * (sizeof open + 2) + 3);
    assert_non_null(text);
    char *at = text;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, open, sizeof open - 1);
        at += sizeof open - 1;
    }
    memcpy(at, "{}", 2);
    at += 2;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, "]}", 2);
        at += 2;
    }
    *at = '\0';
    return text;
}

static void test_depth_when_at_the_limit_then_both_ways_and_beyond_refused(void **state)
{
    (void)state;
    static const char name[] = "google.protobuf.DescriptorProto";
    struct saga_buf wire = {0};
    struct saga_buf text = {0};
    struct saga_err_detail detail = {{0}};
    char *json = nested_json(SAGA_JSON_DEPTH_MAX - 1);
    assert_int_equal(to_wire(name, json, NULL, &wire, &detail), SAGA_ERR_OK);
    assert_int_equal(
        saga_wire_to_json(schema, type_of(name), saga_buf_view(&wire), NULL, &text, &detail),
        SAGA_ERR_OK);
    assert_true(saga_bytes_equal(saga_buf_view(&text), saga_bytes_text(json)));
    free(json);
    saga_buf_clear(&wire);
    json = nested_json(SAGA_JSON_DEPTH_MAX);
    assert_int_equal(to_wire(name, json, NULL, &wire, &detail), SAGA_ERR_LIMIT);
    assert_non_null(strstr(detail.text, "SAGA_JSON_DEPTH_MAX"));
    free(json);
    json = nested_json(100000);
    assert_int_equal(to_wire(name, json, NULL, &wire, &detail), SAGA_ERR_LIMIT);
    free(json);
    assert_int_equal(wire.size, 0);
    saga_buf_fini(&wire);
    saga_buf_fini(&text);
}

static void test_size_when_text_is_too_large_then_limit(void **state)
{
    (void)state;
    struct saga_buf out = {0};
    struct saga_err_detail detail = {{0}};
    char *text = malloc(SAGA_MESSAGE_SIZE_HARD + 1);
    assert_non_null(text);
    memset(text, ' ', SAGA_MESSAGE_SIZE_HARD + 1);
    struct saga_bytes json = {.data = (const uint8_t *)text, .size = SAGA_MESSAGE_SIZE_HARD + 1};
    assert_int_equal(
        saga_json_to_wire(schema, type_of("order.v1.Order"), json, NULL, &out, &detail),
        SAGA_ERR_LIMIT);
    assert_non_null(strstr(detail.text, "SAGA_MESSAGE_SIZE_HARD"));
    text[0] = '{';
    text[1] = '}';
    json.size--;
    assert_int_equal(
        saga_json_to_wire(schema, type_of("order.v1.Order"), json, NULL, &out, &detail),
        SAGA_ERR_OK);
    free(text);
    saga_buf_fini(&out);
}

/* ---- Printing ---- */

static void test_print_when_options_then_names_defaults_and_lines(void **state)
{
    (void)state;
    const struct saga_json_options options = {
        .proto_names = true, .print_defaults = true, .indent = 2};
    becomes("order.v1.PlaceOrderRequest", "{\"items\":[{\"productId\":1},{}]}", &options,
            "{\n"
            "  \"customer_id\": \"0\",\n"
            "  \"items\": [\n"
            "    {\n"
            "      \"product_id\": \"1\",\n"
            "      \"quantity\": 0\n"
            "    },\n"
            "    {\n"
            "      \"product_id\": \"0\",\n"
            "      \"quantity\": 0\n"
            "    }\n"
            "  ],\n"
            "  \"idempotency_key\": \"\"\n"
            "}");
    becomes("saga.v1.CommandBatch", "{}", &options, "{\n  \"commands\": []\n}");
    becomes(
        "saga.v1.Reply", "{}", &options,
        "{\n  \"saga_id\": \"\",\n  \"step\": \"\",\n  \"op\": \"OP_UNSPECIFIED\",\n"
        "  \"payload\": \"\",\n  \"replayed\": false,\n  \"empty\": false,\n  \"attempt\": 0\n}");
}

static void print(const char *name, const void *wire, size_t size, enum saga_err expected,
                  const char *text)
{
    struct saga_buf out = {0};
    struct saga_err_detail detail = {{0}};
    struct saga_bytes bytes = {.data = wire, .size = size};
    assert_int_equal(saga_wire_to_json(schema, type_of(name), bytes, NULL, &out, &detail),
                     expected);
    if (expected == SAGA_ERR_OK) {
        assert_true(saga_bytes_equal(saga_buf_view(&out), saga_bytes_text(text)));
    } else {
        assert_int_equal(out.size, 0);
        assert_non_null(strstr(detail.text, text));
    }
    saga_buf_fini(&out);
}

#define PRINT(name, wire, expected, text) print(name, "" wire, sizeof(wire) - 1, expected, text)

static void test_print_when_wire_is_unusual_then_as_protobuf_reads_it(void **state)
{
    (void)state;
    /* The last of a number counts; unknown fields are left out. */
    PRINT("order.v1.OrderItem", "\x10\x05\x10\x07\x28\x01\x08\x03", SAGA_ERR_OK,
          "{\"productId\":\"3\",\"quantity\":7}");
    /* A message in parts is their sum. */
    PRINT("saga.v1.Reply", "\x22\x02\x08\x05\x22\x03\x12\x01x", SAGA_ERR_OK,
          "{\"status\":{\"code\":5,\"message\":\"x\"}}");
    /* More than 32 bits are cut. */
    PRINT("order.v1.OrderItem", "\x10\x81\x80\x80\x80\x10", SAGA_ERR_OK, "{\"quantity\":1}");
    PRINT("order.v1.OrderItem", "", SAGA_ERR_OK, "{}");
    /* A default that need not be there says nothing; -0 and what has presence do. */
    PRINT("order.v1.OrderItem", "\x08\x00\x10\x00", SAGA_ERR_OK, "{}");
    PRINT("order.v1.OrderItem", "\x10\x80\x80\x80\x80\x10", SAGA_ERR_OK, "{}");
    PRINT("saga.v1.Reply", "\x0a\x00\x12\x00\x18\x00\x22\x00", SAGA_ERR_OK, "{\"status\":{}}");
    PRINT("google.protobuf.UninterpretedOption", "\x20\x00", SAGA_ERR_OK,
          "{\"positiveIntValue\":\"0\"}");
    PRINT("google.protobuf.SourceCodeInfo.Location", "\x0a\x00\x12\x01\x07", SAGA_ERR_OK,
          "{\"span\":[7]}");
}

static void test_read_when_a_zero_byte_is_in_the_text_then_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"quantity\":1}\0{";
    struct saga_buf out = {0};
    struct saga_err_detail detail = {{0}};
    struct saga_bytes json = {(const uint8_t *)text, sizeof text - 1};
    assert_int_equal(
        saga_json_to_wire(schema, type_of("order.v1.OrderItem"), json, NULL, &out, &detail),
        SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "zero byte"));
    refused("order.v1.OrderItem", "{\"quantity\":\"1\\u0000\"}", "quantity: is not a whole number");
    refused("order.v1.OrderItem", "{\"quantity\":\"1.0 \"}", "quantity: is not a whole number");
    saga_buf_fini(&out);
}

static void test_print_when_wire_is_malformed_then_refused(void **state)
{
    (void)state;
    PRINT("order.v1.OrderItem", "\x10", SAGA_ERR_MALFORMED, "order.v1.OrderItem");
    PRINT("order.v1.OrderItem", "\x12\x01x", SAGA_ERR_MALFORMED, "quantity");
    PRINT("saga.v1.Reply", "\x12\x01\xff", SAGA_ERR_MALFORMED, "step is not UTF-8");
    PRINT("saga.v1.Reply", "\x22\x05\x08\x05", SAGA_ERR_MALFORMED, "saga.v1.Reply");
}

static void test_template_then_every_message_has_one_that_can_be_read(void **state)
{
    (void)state;
    assert_true(saga_schema_message_count(schema) > 50);
    for (size_t i = 0; i < saga_schema_message_count(schema); i++) {
        const struct saga_message_type *type = saga_schema_message_at(schema, i);
        struct saga_buf text = {0};
        struct saga_buf wire = {0};
        assert_int_equal(saga_json_template(schema, type, &text), SAGA_ERR_OK);
        assert_int_equal(saga_json_to_wire(schema, type, saga_buf_view(&text), NULL, &wire, NULL),
                         SAGA_ERR_OK);
        saga_buf_fini(&text);
        saga_buf_fini(&wire);
    }
    struct saga_buf text = {0};
    assert_int_equal(saga_json_template(schema, type_of("order.v1.PlaceOrderRequest"), &text),
                     SAGA_ERR_OK);
    assert_true(
        saga_bytes_equal(saga_buf_view(&text), saga_bytes_text("{\n"
                                                               "  \"customer_id\": \"0\",\n"
                                                               "  \"items\": [\n"
                                                               "    {\n"
                                                               "      \"product_id\": \"0\",\n"
                                                               "      \"quantity\": 0\n"
                                                               "    }\n"
                                                               "  ],\n"
                                                               "  \"idempotency_key\": \"\"\n"
                                                               "}")));
    saga_buf_fini(&text);
}

/* ---- Time and numbers ---- */

static void test_timestamp_when_every_few_days_then_dates_follow_each_other(void **state)
{
    (void)state;
    enum { STEP_DAYS = 13 };
    char last[SAGA_JSON_TIME_SIZE] = "";
    for (int64_t seconds = -62135596800; seconds <= 253402300799;
         seconds += STEP_DAYS * 86400 + 86399) {
        struct saga_json_time time = {.seconds = seconds, .nanos = 120000000};
        struct saga_json_time back = {0};
        char text[SAGA_JSON_TIME_SIZE];
        assert_true(saga_json_timestamp_print(time, text));
        assert_true(strcmp(last, text) < 0);
        assert_true(saga_json_timestamp_read(saga_bytes_text(text), &back));
        assert_true(back.seconds == seconds && back.nanos == time.nanos);
        memcpy(last, text, sizeof last);
    }
}

static void test_timestamp_when_known_then_as_the_calendar_says(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {-62135596800, "0001-01-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59Z"},
        {0, "1970-01-01T00:00:00Z"},
        {951782400, "2000-02-29T00:00:00Z"},
        {951868800, "2000-03-01T00:00:00Z"},
        {1709164800, "2024-02-29T00:00:00Z"},
        {4107542400, "2100-03-01T00:00:00Z"},
        {253402300799, "9999-12-31T23:59:59Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[SAGA_JSON_TIME_SIZE];
        assert_true(saga_json_timestamp_print((struct saga_json_time){cases[i].seconds, 0}, text));
        assert_string_equal(text, cases[i].text);
    }
    static const char *const bad[] = {"",
                                      "2024-01-01",
                                      "2023-02-29T00:00:00Z",
                                      "2100-02-29T00:00:00Z",
                                      "2024-13-01T00:00:00Z",
                                      "2024-00-01T00:00:00Z",
                                      "2024-01-32T00:00:00Z",
                                      "2024-01-01T00:00:00.Z",
                                      "2024-01-01T00:00:00.1234567890Z",
                                      "2024-01-01t00:00:00Z",
                                      "2024-01-01T00:00:00+24:00",
                                      "9999-12-31T23:59:59-00:01",
                                      "0001-01-01T00:00:00+00:01",
                                      "2024-01-01T00:00:00ZZ"};
    struct saga_json_time time;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(saga_json_timestamp_read(saga_bytes_text(bad[i]), &time));
    }
    char text[SAGA_JSON_TIME_SIZE];
    assert_false(saga_json_timestamp_print((struct saga_json_time){253402300800, 0}, text));
    assert_false(saga_json_timestamp_print((struct saga_json_time){0, -1}, text));
    assert_false(saga_json_timestamp_print((struct saga_json_time){0, 1000000000}, text));
}

static void test_duration_when_odd_then_sign_and_bounds(void **state)
{
    (void)state;
    struct saga_json_time time = {0};
    char text[SAGA_JSON_TIME_SIZE];
    assert_true(saga_json_duration_read(saga_bytes_text("-0.5s"), &time));
    assert_true(time.seconds == 0 && time.nanos == -500000000);
    assert_true(saga_json_duration_print(time, text));
    assert_string_equal(text, "-0.500s");
    assert_true(saga_json_duration_read(saga_bytes_text("315576000000s"), &time));
    static const char *const bad[] = {"",
                                      "s",
                                      "1",
                                      ".5s",
                                      "1.s",
                                      "+1s",
                                      "--1s",
                                      "1.0000000001s",
                                      "315576000001s",
                                      "99999999999999999999s",
                                      "1 s",
                                      "1S"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(saga_json_duration_read(saga_bytes_text(bad[i]), &time));
    }
    assert_false(saga_json_duration_print((struct saga_json_time){1, -1}, text));
    assert_false(saga_json_duration_print((struct saga_json_time){INT64_MIN, 0}, text));
}

static void write_number(struct saga_buf *out, double number, bool narrow)
{
    struct saga_json_writer writer = {.out = out};
    saga_buf_clear(out);
    if (narrow) {
        saga_json_float(&writer, (float)number);
    } else {
        saga_json_double(&writer, number);
    }
    assert_int_equal(writer.err, SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(out, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
}

static void test_number_when_printed_then_shortest_that_comes_back(void **state)
{
    (void)state;
    static const struct {
        double number;
        bool narrow;
        const char *text;
    } cases[] = {
        {0.1, false, "0.1"},
        {0.1, true, "0.1"},
        {1.0 / 3, false, "0.3333333333333333"},
        {1.0 / 3, true, "0.33333334"},
        {1e300, false, "1e+300"},
        {-0.0, false, "-0.0"},
        {5e-324, false, "5e-324"},
        {3.4028234663852886e38, true, "3.402823466e+38"},
        {(double)INFINITY, false, "\"Infinity\""},
        {-(double)INFINITY, true, "\"-Infinity\""},
        {(double)NAN, false, "\"NaN\""},
    };
    struct saga_buf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_number(&out, cases[i].number, cases[i].narrow);
        assert_string_equal((const char *)out.data, cases[i].text);
    }
    saga_buf_fini(&out);
}

static void test_base64_when_read_then_both_alphabets_and_strict(void **state)
{
    (void)state;
    static const char *const good[] = {"", "AA==", "AA", "AAA=", "AAA", "AAAA", "-_+/"};
    static const size_t sizes[] = {0, 1, 1, 2, 2, 3, 3};
    static const char *const bad[] = {"A", "A===", "AA=", "=", "====", "AA==AA==", "A A=", "AAAAA"};
    struct saga_buf out = {0};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        saga_buf_clear(&out);
        assert_int_equal(saga_json_base64_read(saga_bytes_text(good[i]), &out), SAGA_ERR_OK);
        assert_int_equal(out.size, sizes[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(saga_json_base64_read(saga_bytes_text(bad[i]), &out), SAGA_ERR_INVALID);
    }
    saga_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_then_wire_bytes_in_order_of_numbers_behind_what_was_there),
        cmocka_unit_test(test_read_when_a_value_is_wrong_then_detail_names_its_path),
        cmocka_unit_test(test_read_when_a_name_is_wrong_then_refused),
        cmocka_unit_test(test_read_when_it_is_no_json_then_detail_names_the_line),
        cmocka_unit_test(test_read_when_a_number_has_more_than_63_bits_then_nothing_is_lost),
        cmocka_unit_test(test_read_when_wrong_beside_a_large_number_then_refused_by_line),
        cmocka_unit_test(test_read_when_unknown_is_ignored_then_the_rest_counts),
        cmocka_unit_test(test_read_when_null_or_default_then_absent),
        cmocka_unit_test(test_read_then_every_form_of_a_value),
        cmocka_unit_test(test_depth_when_at_the_limit_then_both_ways_and_beyond_refused),
        cmocka_unit_test(test_size_when_text_is_too_large_then_limit),
        cmocka_unit_test(test_print_when_options_then_names_defaults_and_lines),
        cmocka_unit_test(test_print_when_wire_is_unusual_then_as_protobuf_reads_it),
        cmocka_unit_test(test_read_when_a_zero_byte_is_in_the_text_then_refused),
        cmocka_unit_test(test_print_when_wire_is_malformed_then_refused),
        cmocka_unit_test(test_template_then_every_message_has_one_that_can_be_read),
        cmocka_unit_test(test_timestamp_when_every_few_days_then_dates_follow_each_other),
        cmocka_unit_test(test_timestamp_when_known_then_as_the_calendar_says),
        cmocka_unit_test(test_duration_when_odd_then_sign_and_bounds),
        cmocka_unit_test(test_number_when_printed_then_shortest_that_comes_back),
        cmocka_unit_test(test_base64_when_read_then_both_alphabets_and_strict),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
