/* What a benchmark counts, reads and draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/bench_http.h"
#include "client/bench_orders.h"
#include "client/bench_stats.h"

static void test_quantile_when_samples_are_1_to_1000_then_is_exact(void **state)
{
    (void)state;
    struct saga_bench_stats stats = {0};
    for (int64_t i = 1000; i >= 1; i--) {
        assert_int_equal(saga_bench_add(&stats, i), SAGA_ERR_OK);
    }
    assert_int_equal(saga_bench_quantile_us(&stats, 500), 500);
    assert_int_equal(saga_bench_quantile_us(&stats, 990), 990);
    assert_int_equal(saga_bench_quantile_us(&stats, 1000), 1000);
    assert_int_equal(saga_bench_quantile_us(&stats, 0), 1);
    assert_int_equal(saga_bench_add(&stats, 5000), SAGA_ERR_OK);
    assert_int_equal(saga_bench_quantile_us(&stats, 1000), 5000);
    saga_bench_fini(&stats);
}

static void test_quantile_when_there_are_none_or_one_then_is_that(void **state)
{
    (void)state;
    struct saga_bench_stats stats = {0};
    assert_int_equal(saga_bench_quantile_us(&stats, 500), 0);
    assert_int_equal(saga_bench_add(&stats, 7), SAGA_ERR_OK);
    assert_int_equal(saga_bench_quantile_us(&stats, 1), 7);
    assert_int_equal(saga_bench_quantile_us(&stats, 999), 7);
    saga_bench_fini(&stats);
}

static void test_results_when_there_are_too_many_then_the_rest_is_other(void **state)
{
    (void)state;
    struct saga_bench_stats stats = {0};
    char name[32];
    for (int i = 0; i < SAGA_BENCH_RESULTS_MAX + 5; i++) {
        snprintf(name, sizeof name, "result %d", i);
        saga_bench_add_result(&stats, name);
    }
    saga_bench_add_result(&stats, "result 0");
    assert_int_equal(stats.result_count, SAGA_BENCH_RESULTS_MAX);
    assert_int_equal(stats.results[0].count, 2);
    assert_string_equal(stats.results[SAGA_BENCH_RESULTS_MAX - 1].name, "other");
    assert_int_equal(stats.results[SAGA_BENCH_RESULTS_MAX - 1].count, 6);
    saga_bench_fini(&stats);
}

static void test_range_when_well_formed_then_is_read(void **state)
{
    (void)state;
    struct saga_bench_range range = {0};
    assert_int_equal(saga_bench_range_parse("1-90", &range), SAGA_ERR_OK);
    assert_int_equal(range.first, 1);
    assert_int_equal(range.last, 90);
    assert_int_equal(saga_bench_range_parse("7", &range), SAGA_ERR_OK);
    assert_int_equal(range.first, 7);
    assert_int_equal(range.last, 7);
}

static void test_range_when_malformed_then_is_refused(void **state)
{
    (void)state;
    struct saga_bench_range range = {3, 4};
    const char *const wrong[] = {"", "-", "a", "1-", "-1", "9-1", "1-2x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(saga_bench_range_parse(wrong[i], &range), SAGA_ERR_INVALID);
        assert_int_equal(range.first, 3);
    }
}

static void test_ticks_when_the_name_has_blanks_and_brackets_then_are_read(void **state)
{
    (void)state;
    uint64_t ticks = 0;
    const char *stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0 20 0 1 0 99\n";
    assert_int_equal(saga_bench_ticks_parse(stat, &ticks), SAGA_ERR_OK);
    assert_int_equal(ticks, 123);
    assert_int_equal(saga_bench_ticks_parse("nothing", &ticks), SAGA_ERR_MALFORMED);
    assert_int_equal(saga_bench_ticks_parse("1 (a) S 1 2", &ticks), SAGA_ERR_MALFORMED);
}

static void test_cpu_when_process_is_ours_then_is_known(void **state)
{
    (void)state;
    assert_true(saga_bench_cpu_ms(getpid()) >= 0);
    assert_int_equal(saga_bench_cpu_ms(INT32_MAX), -1);
}

static void feed(struct saga_bench_answer *answer, const char *text)
{
    size_t size = strlen(text);
    memcpy(answer->data + answer->size, text, size);
    answer->size += size;
}

static void test_answer_when_it_comes_in_pieces_then_is_whole_at_the_end(void **state)
{
    (void)state;
    static const char text[] =
        "HTTP/1.1 201 Created\r\ncontent-length: 5\r\nDate: now\r\n\r\nhello";
    struct saga_bench_answer *answer = calloc(1, sizeof *answer);
    bool whole = false;
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        const char piece[] = {text[i], 0};
        assert_false(whole);
        feed(answer, piece);
        assert_int_equal(saga_bench_answer_look(answer, &whole), SAGA_ERR_OK);
    }
    assert_true(whole);
    assert_int_equal(answer->status, 201);
    assert_false(answer->close);
    assert_memory_equal(saga_bench_answer_body(answer).data, "hello", 5);
    free(answer);
}

static void test_answer_when_the_server_closes_then_tells(void **state)
{
    (void)state;
    struct saga_bench_answer *answer = calloc(1, sizeof *answer);
    bool whole = false;
    feed(answer, "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(saga_bench_answer_look(answer, &whole), SAGA_ERR_OK);
    assert_true(whole);
    assert_true(answer->close);
    assert_int_equal(answer->status, 503);
    free(answer);
}

static void test_answer_when_it_is_not_ours_then_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum saga_err err;
    } wrong[] = {
        {"SSH-2.0-x\r\n\r\n", SAGA_ERR_MALFORMED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", SAGA_ERR_MALFORMED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", SAGA_ERR_LIMIT},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", SAGA_ERR_LIMIT},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", SAGA_ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct saga_bench_answer *answer = calloc(1, sizeof *answer);
        bool whole = false;
        feed(answer, wrong[i].text);
        assert_int_equal(saga_bench_answer_look(answer, &whole), wrong[i].err);
        free(answer);
    }
}

static void test_target_when_url_is_good_or_bad_then_is_told(void **state)
{
    (void)state;
    struct saga_bench_target target;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_bench_target_find("http://127.0.0.1:8080", &target, &detail),
                     SAGA_ERR_OK);
    assert_string_equal(target.host, "127.0.0.1:8080");
    assert_int_equal(saga_bench_target_find("http://[::1]:80/x", &target, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_bench_target_find("http://localhost", &target, &detail),
                     SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "HOST:PORT"));
}

static void test_orders_when_read_from_the_seed_file_then_refusals_are_known(void **state)
{
    (void)state;
    struct saga_bench_orders orders;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(
        saga_bench_orders_read(SAGA_SOURCE_DIR "/services/seed.json", &orders, &detail),
        SAGA_ERR_OK);
    assert_int_equal(orders.refusal_count, 5);
    assert_true(orders.customer_count > 10);
    assert_true(orders.product_count > 10);
    /* No one who is approved is among the refused customers, no product among the refused ones. */
    for (size_t i = 0; i < orders.customer_count; i++) {
        assert_int_not_equal(orders.customers[i], orders.refusals[0].customer_id);
        assert_int_not_equal(orders.customers[i], orders.refusals[1].customer_id);
    }
    for (size_t i = 0; i < orders.product_count; i++) {
        assert_int_not_equal(orders.products[i], orders.refusals[2].product_id);
        assert_int_not_equal(orders.products[i], orders.refusals[3].product_id);
    }
    saga_bench_orders_fini(&orders);
}

static void test_orders_when_mixed_then_the_share_is_about_right(void **state)
{
    (void)state;
    struct saga_bench_orders orders;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(
        saga_bench_orders_read(SAGA_SOURCE_DIR "/services/seed.json", &orders, &detail),
        SAGA_ERR_OK);
    struct saga_bench_range range = {1, 3};
    assert_int_equal(saga_bench_orders_customers(&orders, range), SAGA_ERR_OK);
    assert_int_equal(saga_bench_orders_products(&orders, range), SAGA_ERR_OK);
    orders.refused_permille = 333;
    int refused = 0;
    for (int i = 0; i < 10000; i++) {
        struct saga_bench_order order = saga_bench_orders_next(&orders);
        refused += order.customer_id > 3 || order.product_id > 3;
    }
    assert_in_range(refused, 3000, 3600);
    saga_bench_orders_fini(&orders);
}

static void test_orders_when_the_file_is_missing_then_not_found(void **state)
{
    (void)state;
    struct saga_bench_orders orders;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_bench_orders_read("/nonexistent", &orders, &detail), SAGA_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantile_when_samples_are_1_to_1000_then_is_exact),
        cmocka_unit_test(test_quantile_when_there_are_none_or_one_then_is_that),
        cmocka_unit_test(test_results_when_there_are_too_many_then_the_rest_is_other),
        cmocka_unit_test(test_range_when_well_formed_then_is_read),
        cmocka_unit_test(test_range_when_malformed_then_is_refused),
        cmocka_unit_test(test_ticks_when_the_name_has_blanks_and_brackets_then_are_read),
        cmocka_unit_test(test_cpu_when_process_is_ours_then_is_known),
        cmocka_unit_test(test_answer_when_it_comes_in_pieces_then_is_whole_at_the_end),
        cmocka_unit_test(test_answer_when_the_server_closes_then_tells),
        cmocka_unit_test(test_answer_when_it_is_not_ours_then_is_refused),
        cmocka_unit_test(test_target_when_url_is_good_or_bad_then_is_told),
        cmocka_unit_test(test_orders_when_read_from_the_seed_file_then_refusals_are_known),
        cmocka_unit_test(test_orders_when_mixed_then_the_share_is_about_right),
        cmocka_unit_test(test_orders_when_the_file_is_missing_then_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
