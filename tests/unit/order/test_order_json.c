/* What orderd reads from bodies and URLs, and what it writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/order/order_json.h"

static bool read_body(const char *body, struct saga_order_request *request,
                      struct saga_order_fault *fault)
{
    memset(request, 0, sizeof *request);
    memset(fault, 0, sizeof *fault);
    return saga_order_request_read(saga_bytes_text(body), request, fault);
}

/* Expects a refusal that names a field and says something like `part`. */
static void expect_fault(const char *body, const char *field, const char *part)
{
    struct saga_order_request request;
    struct saga_order_fault fault;
    assert_false(read_body(body, &request, &fault));
    assert_string_equal(fault.field, field);
    if (strstr(fault.message, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", fault.message, part);
    }
}

static void test_request_when_sound_then_taken(void **state)
{
    (void)state;
    struct saga_order_request request;
    struct saga_order_fault fault;
    assert_true(read_body("{\"customer_id\": 42, \"items\": [{\"product_id\": 7, \"quantity\": 2},"
                          " {\"quantity\": 10000, \"product_id\": 9223372036854775807}]}",
                          &request, &fault));
    assert_int_equal(request.customer_id, 42);
    assert_int_equal(request.line_count, 2);
    assert_int_equal(request.lines[0].product_id, 7);
    assert_int_equal(request.lines[0].quantity, 2);
    assert_true(request.lines[1].product_id == INT64_MAX);
    assert_int_equal(request.lines[1].quantity, 10000);
}

static void test_request_when_customer_is_wrong_then_named(void **state)
{
    (void)state;
    static const char items[] = "\"items\":[{\"product_id\":1,\"quantity\":1}]}";
    static const struct {
        const char *value, *part;
    } cases[] = {
        {"0", "greater than 0"},   {"-1", "greater than 0"}, {"1.0", "whole number"},
        {"\"1\"", "whole number"}, {"null", "whole number"}, {"true", "whole number"},
        {"[1]", "whole number"},   {"{}", "whole number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        (void)snprintf(body, sizeof body, "{\"customer_id\":%s,%s", cases[i].value, items);
        expect_fault(body, "customer_id", cases[i].part);
    }
    char body[256];
    (void)snprintf(body, sizeof body, "{%s", items);
    expect_fault(body, "customer_id", "missing");
}

static void test_request_when_items_are_wrong_then_named(void **state)
{
    (void)state;
    expect_fault("{\"customer_id\":1}", "items", "missing");
    expect_fault("{\"customer_id\":1,\"items\":[]}", "items", "1 to 100 lines, has 0");
    expect_fault("{\"customer_id\":1,\"items\":{}}", "items", "array");
    expect_fault("{\"customer_id\":1,\"items\":null}", "items", "array");
    expect_fault("{\"customer_id\":1,\"items\":[1]}", "items[0]", "object");
    expect_fault("{\"customer_id\":1,\"items\":[{\"product_id\":1,\"quantity\":1},[]]}", "items[1]",
                 "object");
}

static void test_request_when_lines_are_many_then_bounded(void **state)
{
    (void)state;
    char *body = malloc(16384);
    assert_non_null(body);
    for (int count = 100; count <= 101; count++) {
        size_t size = (size_t)sprintf(body, "{\"customer_id\":1,\"items\":[");
        for (int i = 0; i < count; i++) {
            size += (size_t)sprintf(body + size, "%s{\"product_id\":%d,\"quantity\":1}",
                                    i == 0 ? "" : ",", i + 1);
        }
        (void)sprintf(body + size, "]}");
        if (count == 101) {
            expect_fault(body, "items", "1 to 100 lines, has 101");
        } else {
            struct saga_order_request request;
            struct saga_order_fault fault;
            assert_true(read_body(body, &request, &fault));
            assert_int_equal(request.line_count, 100);
            assert_int_equal(request.lines[99].product_id, 100);
        }
    }
    free(body);
}

static void test_request_when_line_is_wrong_then_field_with_index(void **state)
{
    (void)state;
    static const struct {
        const char *line, *field, *part;
    } cases[] = {
        {"{\"quantity\":1}", "items[1].product_id", "missing"},
        {"{\"product_id\":1}", "items[1].quantity", "missing"},
        {"{\"product_id\":0,\"quantity\":1}", "items[1].product_id", "greater than 0"},
        {"{\"product_id\":-5,\"quantity\":1}", "items[1].product_id", "greater than 0"},
        {"{\"product_id\":\"1\",\"quantity\":1}", "items[1].product_id", "whole number"},
        {"{\"product_id\":1,\"quantity\":0}", "items[1].quantity", "1 to 10000"},
        {"{\"product_id\":1,\"quantity\":-1}", "items[1].quantity", "1 to 10000"},
        {"{\"product_id\":1,\"quantity\":10001}", "items[1].quantity", "1 to 10000"},
        {"{\"product_id\":1,\"quantity\":4294967297}", "items[1].quantity", "1 to 10000"},
        {"{\"product_id\":1,\"quantity\":1.5}", "items[1].quantity", "whole number"},
        {"{\"product_id\":1,\"quantity\":1,\"price\":1}", "items[1].price", "not known"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "{\"customer_id\":1,\"items\":[{\"product_id\":1,\"quantity\":1},%s]}",
                       cases[i].line);
        expect_fault(body, cases[i].field, cases[i].part);
    }
}

static void test_request_when_keys_are_unknown_or_double_then_refused(void **state)
{
    (void)state;
    static const char rest[] = "\"customer_id\":1,\"items\":[{\"product_id\":1,\"quantity\":1}]}";
    char body[512];
    (void)snprintf(body, sizeof body, "{\"coupon\":1,%s", rest);
    expect_fault(body, "coupon", "not known");
    (void)snprintf(body, sizeof body, "{\"customer_id\":1,%s", rest);
    expect_fault(body, "customer_id", "twice");
    expect_fault("{\"items\":[{\"product_id\":1,\"quantity\":1},"
                 "{\"quantity\" : 1,\"product_id\":1,\"quantity\":2}],\"customer_id\":1}",
                 "items[1].quantity", "twice");
    expect_fault("{\"a\":{\"b\\\"\\n,:[\":1,\"b\\\"\\n,:[\":2}}", "a.b\\\"\\n,:[", "twice");
    expect_fault("{\"\":1,\"\":2}", "body", "twice");
    (void)snprintf(body, sizeof body, "{\"%0200d\":1,\"%0200d\":2}", 0, 0);
    expect_fault(body, "000000000000000000000000000000", "twice");
    expect_fault("{\"\xc3\xa9\":1,\"\xc3\xa9\":2}", "??", "twice");
    /* A name that is long or not plain is shown cut and harmless. */
    (void)snprintf(body, sizeof body,
                   "{\"a\\n\\u00e9bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\":1,%s", rest);
    struct saga_order_request request;
    struct saga_order_fault fault;
    assert_false(read_body(body, &request, &fault));
    assert_true(strlen(fault.field) <= 30);
    assert_int_equal(fault.field[1], '?');
}

static void test_request_when_number_is_out_of_range_then_named(void **state)
{
    (void)state;
    expect_fault("{\"customer_id\":99999999999999999999}", "customer_id", "out of range");
    expect_fault("{\"customer_id\": -99999999999999999999 , \"items\":[]}", "customer_id",
                 "out of range");
    expect_fault("{\"customer_id\":1,\"items\":[{\"product_id\":\"a,b:\",\"quantity\":1e999}]}",
                 "items[0].quantity", "out of range");
    expect_fault("{\"items\":[1,[2,3],99999999999999999999]}", "items[2]", "out of range");
    expect_fault("[99999999999999999999]", "[0]", "out of range");
    expect_fault("99999999999999999999", "body", "out of range");
}

static void test_request_when_not_json_then_refused_as_a_whole(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{",
        "}",
        "[",
        "nonsense",
        "{\"customer_id\":1,}",
        "{\"customer_id\":1} x",
        "\"",
        "{\"a\":\"\\u0000\"}",
        "\xff\xfe",
        "{'customer_id':1}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        expect_fault(bodies[i], "body", "not JSON");
    }
    expect_fault("", "body", "empty");
    static const char zero[] = "{\"customer_id\":1}\0{";
    struct saga_order_request request;
    struct saga_order_fault fault;
    assert_false(saga_order_request_read(
        (struct saga_bytes){(const uint8_t *)zero, sizeof zero - 1}, &request, &fault));
    assert_non_null(strstr(fault.message, "zero byte"));
    static const char *const others[] = {"[]", "17", "null", "true", "\"text\"", "1.5"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        expect_fault(others[i], "body", "must be a JSON object");
    }
}

static void test_request_when_nested_deeply_then_refused_before_the_parser(void **state)
{
    (void)state;
    static char deep[SAGA_ORDER_BODY_SIZE_MAX + 1];
    memset(deep, '[', sizeof deep - 1);
    expect_fault(deep, "body", "nests deeper");
    memcpy(deep, "{\"items\":", 9);
    expect_fault(deep, "body", "nests deeper");
    /* Brackets in a text nest nothing, nor do escaped quotes end it. */
    expect_fault("{\"\\\"[[[[[[[[[[[[[[[[[\":1}", "\"[[[[[[[[[[[[[[[[[", "not known");
}

static void test_request_when_too_large_then_refused(void **state)
{
    (void)state;
    static char large[SAGA_ORDER_BODY_SIZE_MAX + 2];
    memset(large, ' ', sizeof large - 1);
    expect_fault(large, "body", "at most");
}

static void test_check_when_key_is_not_plain_then_named(void **state)
{
    (void)state;
    struct saga_order_request request = {
        .customer_id = 1, .line_count = 1, .lines = {{.product_id = 1, .quantity = 1}}};
    struct saga_order_fault fault;
    (void)strcpy(request.idempotency_key, "a-key_1.2:3");
    assert_true(saga_order_check(&request, &fault));
    (void)strcpy(request.idempotency_key, "a key");
    assert_false(saga_order_check(&request, &fault));
    assert_string_equal(fault.field, "idempotency_key");
    (void)strcpy(request.idempotency_key, "schl\xc3\xbcssel");
    assert_false(saga_order_check(&request, &fault));
}

static void test_items_when_written_then_read_again(void **state)
{
    (void)state;
    struct saga_order_line lines[SAGA_ORDER_LINES_MAX];
    for (size_t i = 0; i < SAGA_ORDER_LINES_MAX; i++) {
        lines[i] = (struct saga_order_line){.product_id = INT64_MAX - (int64_t)i,
                                            .quantity = SAGA_ORDER_QUANTITY_MAX};
    }
    char text[SAGA_ORDER_ITEMS_TEXT_SIZE];
    saga_order_items_write(lines, 1, text);
    assert_string_equal(text, "[{\"product_id\":9223372036854775807,\"quantity\":10000}]");
    saga_order_items_write(lines, SAGA_ORDER_LINES_MAX, text);
    struct saga_order_line again[SAGA_ORDER_LINES_MAX];
    size_t count = 0;
    assert_true(saga_order_items_read(text, again, &count));
    assert_int_equal(count, SAGA_ORDER_LINES_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_true(again[i].product_id == lines[i].product_id);
        assert_int_equal(again[i].quantity, lines[i].quantity);
    }
    assert_false(saga_order_items_read("[]", again, &count));
    assert_false(saga_order_items_read("", again, &count));
    assert_false(saga_order_items_read("{}", again, &count));
}

static void test_order_when_written_then_every_key(void **state)
{
    (void)state;
    struct saga_order order = {
        .order_id = 17,
        .customer_id = 42,
        .items = "[{\"product_id\":7,\"quantity\":2}]",
        .state = SAGA_ORDER_PENDING,
        .reason = "",
        .created_unix_ms = 1700000000000,
    };
    struct saga_buf out = {0};
    assert_int_equal(saga_order_json_write(&order, &out), SAGA_ERR_OK);
    assert_true(saga_bytes_equal(
        saga_buf_view(&out),
        saga_bytes_text(
            "{\"order_id\":17,\"customer_id\":42,\"items\":[{\"product_id\":7,\"quantity\":2}],"
            "\"state\":\"PENDING\",\"reason\":\"\",\"saga_id\":\"\","
            "\"created_unix_ms\":1700000000000,\"decided_unix_ms\":0}")));
    saga_buf_clear(&out);
    order.state = SAGA_ORDER_REJECTED;
    order.reason = "A\"B\\C\n\x01";
    order.has_saga = true;
    memset(order.saga_id.b, 0xab, SAGA_ID_SIZE);
    order.decided_unix_ms = 1700000000001;
    assert_int_equal(saga_order_json_write(&order, &out), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&out, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    assert_non_null(strstr((char *)out.data, "\"reason\":\"A\\\"B\\\\C\\u000a\\u0001\""));
    assert_non_null(
        strstr((char *)out.data, "\"saga_id\":\"abababab-abab-abab-abab-abababababab\""));
    assert_non_null(strstr((char *)out.data, "\"state\":\"REJECTED\""));
    assert_non_null(strstr((char *)out.data, "\"decided_unix_ms\":1700000000001}"));
    saga_buf_fini(&out);
}

static void test_number_when_not_only_digits_in_bounds_then_refused(void **state)
{
    (void)state;
    int64_t value = -1;
    assert_true(saga_order_number_read("1", 1, 1000, &value));
    assert_int_equal(value, 1);
    assert_true(saga_order_number_read("9223372036854775807", 1, INT64_MAX, &value));
    assert_true(value == INT64_MAX);
    static const char *const bad[] = {"",
                                      "0",
                                      "1001",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "1e2",
                                      "99999999999999999999",
                                      "9223372036854775808"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        value = -1;
        assert_false(saga_order_number_read(bad[i], 1, 1000, &value));
        assert_int_equal(value, -1);
    }
}

static void test_wait_when_read_then_milliseconds_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t wait_ms;
    } good[] = {{"5s", 5000}, {"500ms", 500}, {"750", 750},
                {"0", 0},     {"60s", 60000}, {"60000", 60000}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t wait_ms = -1;
        assert_true(saga_order_wait_read(good[i].text, &wait_ms));
        assert_int_equal(wait_ms, good[i].wait_ms);
    }
    static const char *const bad[] = {
        "", "s", "5 s", "-5s", "61s", "60001", "5m", "5ss", "1.5s", "5sms", "9999999999999999999s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t wait_ms = -1;
        assert_false(saga_order_wait_read(bad[i], &wait_ms));
        assert_int_equal(wait_ms, -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_when_sound_then_taken),
        cmocka_unit_test(test_request_when_customer_is_wrong_then_named),
        cmocka_unit_test(test_request_when_items_are_wrong_then_named),
        cmocka_unit_test(test_request_when_lines_are_many_then_bounded),
        cmocka_unit_test(test_request_when_line_is_wrong_then_field_with_index),
        cmocka_unit_test(test_request_when_keys_are_unknown_or_double_then_refused),
        cmocka_unit_test(test_request_when_number_is_out_of_range_then_named),
        cmocka_unit_test(test_request_when_not_json_then_refused_as_a_whole),
        cmocka_unit_test(test_request_when_nested_deeply_then_refused_before_the_parser),
        cmocka_unit_test(test_request_when_too_large_then_refused),
        cmocka_unit_test(test_check_when_key_is_not_plain_then_named),
        cmocka_unit_test(test_items_when_written_then_read_again),
        cmocka_unit_test(test_order_when_written_then_every_key),
        cmocka_unit_test(test_number_when_not_only_digits_in_bounds_then_refused),
        cmocka_unit_test(test_wait_when_read_then_milliseconds_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
