/* Clock, log, metrics. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "common/sys/metrics.h"

/* ---- clock ---- */

static void test_clock_then_goes_on_and_is_this_century(void **state)
{
    (void)state;
    int64_t before_us = saga_clock_mono_us();
    assert_true(saga_clock_mono_us() >= before_us);
    assert_true(saga_clock_unix_ms() > INT64_C(1600000000000));
    assert_true(saga_clock_unix_ms() < INT64_C(4102444800000));
}

static void test_random_then_fills_and_differs(void **state)
{
    (void)state;
    unsigned char a[600] = {0};
    unsigned char b[600] = {0};
    saga_random_fill(a, sizeof a);
    saga_random_fill(b, sizeof b);
    saga_random_fill(NULL, 0);
    assert_memory_not_equal(a, b, sizeof a);
    unsigned zeros = 0;
    for (size_t i = sizeof a - 100; i < sizeof a; i++) {
        zeros += a[i] == 0 ? 1U : 0U;
    }
    assert_in_range(zeros, 0, 20);
}

/* ---- log ---- */

/* Takes what is written on stderr between begin and end. */
struct capture {
    FILE *file;
    int kept;
    char text[8192];
};

static void capture_begin(struct capture *capture)
{
    capture->file = tmpfile();
    assert_non_null(capture->file);
    capture->kept = dup(STDERR_FILENO);
    assert_true(capture->kept >= 0);
    assert_true(dup2(fileno(capture->file), STDERR_FILENO) >= 0);
}

static const char *capture_end(struct capture *capture)
{
    assert_true(dup2(capture->kept, STDERR_FILENO) >= 0);
    (void)close(capture->kept);
    rewind(capture->file);
    size_t size = fread(capture->text, 1, sizeof capture->text - 1, capture->file);
    capture->text[size] = '\0';
    (void)fclose(capture->file);
    return capture->text;
}

/* What follows the event's name. */
static const char *pairs_of(const char *line)
{
    const char *pairs = strstr(line, "event=e");
    assert_non_null(pairs);
    return pairs + 7;
}

static void test_log_then_one_line_with_time_level_program_event(void **state)
{
    (void)state;
    struct capture capture;
    capture_begin(&capture);
    errno = ENOENT;
    saga_log(SAGA_LOG_WARN, "e", "n=%d u=%u big=%" PRId64 " z=%zu s=%s", -1, 2U,
             INT64_C(9000000000), (size_t)3, "word");
    assert_int_equal(errno, ENOENT);
    const char *line = capture_end(&capture);
    assert_int_equal(strncmp(line, "time=2", 6), 0);
    assert_int_equal(line[strlen("time=2026-01-01T00:00:00.000")], 'Z');
    assert_non_null(strstr(line, " level=warn program=test event=e "));
    assert_string_equal(pairs_of(line), " n=-1 u=2 big=9000000000 z=3 s=word\n");
}

static void test_log_when_below_level_then_nothing(void **state)
{
    (void)state;
    struct capture capture;
    capture_begin(&capture);
    saga_log(SAGA_LOG_DEBUG, "e", "n=%d", 1);
    assert_string_equal(capture_end(&capture), "");
    assert_int_equal(saga_log_level_parse("debug"), SAGA_LOG_DEBUG);
    assert_int_equal(saga_log_level_parse("error"), SAGA_LOG_ERROR);
    assert_int_equal(saga_log_level_parse("loud"), -1);
}

static void test_log_when_value_has_quotes_and_lines_then_cannot_forge(void **state)
{
    (void)state;
    struct capture capture;
    capture_begin(&capture);
    saga_log(SAGA_LOG_ERROR, "e", "msg=\"%s\" next=%s", "a\" level=info\nb\\\x01\x7f", "x");
    assert_string_equal(pairs_of(capture_end(&capture)),
                        " msg=\"a\\\" level=info\\nb\\\\\\x01\\x7f\" next=x\n");
}

static void test_log_when_bare_value_has_spaces_then_quoted(void **state)
{
    (void)state;
    struct capture capture;
    const char *volatile none = NULL; /* or the compiler sees it coming */
    capture_begin(&capture);
    saga_log(SAGA_LOG_ERROR, "e", "err=%s empty=%s null=%s at=%s:%d", "out of memory", "", none,
             "host", 5);
    assert_string_equal(pairs_of(capture_end(&capture)),
                        " err=\"out of memory\" empty=\"\" null=(null) at=host:5\n");
}

static void test_log_when_format_has_widths_then_kept(void **state)
{
    (void)state;
    struct capture capture;
    capture_begin(&capture);
    saga_log(SAGA_LOG_ERROR, "e", "a=%.*s b=%05d c=%.2f d=%x e=%lu f=%c g=%d%% h=%.3s", 2, "abcdef",
             42, 1.5, 255U, 7UL, 'q', 50, "abcdef");
    assert_string_equal(pairs_of(capture_end(&capture)),
                        " a=ab b=00042 c=1.50 d=ff e=7 f=q g=50% h=abc\n");
    capture_begin(&capture);
    saga_log(SAGA_LOG_ERROR, "e", "%s", "");
    assert_string_equal(pairs_of(capture_end(&capture)), " \n");
}

static void test_log_when_too_long_then_cut_and_closed(void **state)
{
    (void)state;
    struct capture capture;
    char text[4096];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    capture_begin(&capture);
    saga_log(SAGA_LOG_ERROR, "e", "a=\"%s\" b=\"%s\" c=\"%s\" d=%d", text, text, text, 5);
    const char *line = capture_end(&capture);
    size_t size = strlen(line);
    assert_in_range(size, 1900, 2048);
    assert_string_equal(line + size - 3, "x\"\n");
    assert_null(strstr(line, "d=5"));
    assert_ptr_equal(strchr(line, '\n'), line + size - 1);
}

/* ---- metrics ---- */

static void test_histogram_when_filled_then_quantiles_within_an_eighth(void **state)
{
    (void)state;
    static struct saga_histogram histogram;
    assert_int_equal(saga_histogram_quantile_us(&histogram, 500), 0);
    for (int64_t i = 1; i <= 10000; i++) {
        saga_histogram_add(&histogram, i);
    }
    static const unsigned permilles[] = {1, 10, 100, 500, 900, 990, 999, 1000};
    for (size_t i = 0; i < sizeof permilles / sizeof permilles[0]; i++) {
        int64_t exact = (int64_t)permilles[i] * 10;
        int64_t got = saga_histogram_quantile_us(&histogram, permilles[i]);
        assert_true(got >= exact);
        assert_true(got <= exact + exact / 8 + 1);
    }
    assert_int_equal(histogram.count, 10000);
    assert_int_equal(histogram.sum_us, 50005000);
}

static void test_histogram_when_extreme_then_counted(void **state)
{
    (void)state;
    static struct saga_histogram histogram;
    saga_histogram_add(&histogram, -5);
    saga_histogram_add(&histogram, 0);
    assert_int_equal(saga_histogram_quantile_us(&histogram, 1000), 0);
    saga_histogram_add(&histogram, INT64_MAX);
    assert_true(saga_histogram_quantile_us(&histogram, 1000) > INT64_C(3600) * 1000000);
    assert_int_equal(histogram.count, 3);
    for (int bits = 0; bits < 63; bits++) {
        saga_histogram_add(&histogram, INT64_C(1) << bits);
        saga_histogram_add(&histogram, (INT64_C(1) << bits) - 1);
    }
    assert_int_equal(histogram.count, 3 + 2 * 63);
}

static void test_render_then_prometheus_text(void **state)
{
    (void)state;
    static _Atomic int64_t running = 3;
    static _Atomic int64_t started = 12;
    static struct saga_histogram turn;
    saga_histogram_add(&turn, 10);
    saga_histogram_add(&turn, 1000);
    saga_histogram_add(&turn, INT64_C(400000000));
    const struct saga_metric metrics[] = {
        {.kind = SAGA_METRIC_COUNTER,
         .name = "saga_started_total",
         .help = "Started \\ \nnow.",
         .value = &started},
        {.kind = SAGA_METRIC_GAUGE,
         .name = "saga_live",
         .labels = "state=\"running\"",
         .help = "Live.",
         .value = &running},
        {.kind = SAGA_METRIC_GAUGE,
         .name = "saga_live",
         .labels = "state=\"compensating\"",
         .help = "Live.",
         .value = &running},
        {.kind = SAGA_METRIC_HISTOGRAM,
         .name = "saga_turn_seconds",
         .help = "Turn.",
         .histogram = &turn},
    };
    struct saga_buf out = {0};
    assert_int_equal(saga_metrics_render(metrics, 4, &out), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&out, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    const char *text = (const char *)out.data;
    static const char expected[] = "# HELP saga_started_total Started \\\\ \\nnow.\n"
                                   "# TYPE saga_started_total counter\n"
                                   "saga_started_total 12\n"
                                   "# HELP saga_live Live.\n"
                                   "# TYPE saga_live gauge\n"
                                   "saga_live{state=\"running\"} 3\n"
                                   "saga_live{state=\"compensating\"} 3\n"
                                   "# HELP saga_turn_seconds Turn.\n"
                                   "# TYPE saga_turn_seconds histogram\n"
                                   "saga_turn_seconds_bucket{le=\"0.000016\"} 1\n";
    assert_int_equal(strncmp(text, expected, sizeof expected - 1), 0);
    assert_non_null(strstr(text, "saga_turn_seconds_bucket{le=\"0.000512\"} 1\n"));
    assert_non_null(strstr(text, "saga_turn_seconds_bucket{le=\"0.001024\"} 2\n"));
    assert_non_null(strstr(text, "saga_turn_seconds_bucket{le=\"134.217728\"} 2\n"));
    assert_non_null(strstr(text, "saga_turn_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "saga_turn_seconds_sum 400.001010\n"));
    assert_non_null(strstr(text, "saga_turn_seconds_count 3\n"));
    saga_buf_fini(&out);
}

int main(void)
{
    saga_log_init("test", SAGA_LOG_INFO);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_then_goes_on_and_is_this_century),
        cmocka_unit_test(test_random_then_fills_and_differs),
        cmocka_unit_test(test_log_then_one_line_with_time_level_program_event),
        cmocka_unit_test(test_log_when_below_level_then_nothing),
        cmocka_unit_test(test_log_when_value_has_quotes_and_lines_then_cannot_forge),
        cmocka_unit_test(test_log_when_bare_value_has_spaces_then_quoted),
        cmocka_unit_test(test_log_when_format_has_widths_then_kept),
        cmocka_unit_test(test_log_when_too_long_then_cut_and_closed),
        cmocka_unit_test(test_histogram_when_filled_then_quantiles_within_an_eighth),
        cmocka_unit_test(test_histogram_when_extreme_then_counted),
        cmocka_unit_test(test_render_then_prometheus_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
