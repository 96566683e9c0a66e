/* Flags, durations, endpoints, verbs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/client.h"
#include "client/endpoints.h"
#include "client/run.h"

static const struct saga_option options[] = {
    {"data", "JSON", NULL, "", false},
    {"output", "FORMAT", NULL, "", false},
    {"verbose", NULL, "false", "", false},
};

/* Expands and compares the words behind the program's name. */
static void assert_expands(const char *const *given, const char *const *wanted)
{
    char *argv[16] = {0};
    char *space = NULL;
    int argc = 1;
    argv[0] = (char *)(uintptr_t) "call";
    for (size_t i = 0; given[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)given[i];
    }
    assert_int_equal(saga_client_expand_shorts(argc, argv, "d=data o=output v=verbose", options,
                                               sizeof options / sizeof options[0], &space),
                     SAGA_ERR_OK);
    for (int i = 1; i < argc; i++) {
        assert_string_equal(argv[i], wanted[i - 1]);
    }
    free(space);
}

static void test_shorts_when_known_then_become_long(void **state)
{
    (void)state;
    assert_expands((const char *[]){"-o", "json", "-v", "x", NULL},
                   (const char *[]){"--output", "json", "--verbose", "x"});
    assert_expands((const char *[]){"-ojson", "-d={}", NULL},
                   (const char *[]){"--output=json", "--data={}"});
}

static void test_shorts_when_they_are_values_then_stay(void **state)
{
    (void)state;
    assert_expands((const char *[]){"-d", "-v", "--data", "-o", NULL},
                   (const char *[]){"--data", "-v", "--data", "-o"});
    assert_expands((const char *[]){"--data=-o", "-o", "-d", NULL},
                   (const char *[]){"--data=-o", "--output", "-d"});
    assert_expands((const char *[]){"--", "-o", NULL}, (const char *[]){"--", "-o"});
}

static void test_shorts_when_unknown_then_stay(void **state)
{
    (void)state;
    assert_expands((const char *[]){"-x", "-", "--verbose", "-o", "a", NULL},
                   (const char *[]){"-x", "-", "--verbose", "--output", "a"});
}

static void test_duration_when_well_formed_then_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"5s", 5000},  {"250ms", 250}, {"2m", 120000}, {"1h", 3600000},
                {"1.5", 1500}, {"0.0015s", 2}, {"0", 0},       {"24h", 86400000}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = -1;
        assert_int_equal(saga_client_duration_parse(good[i].text, &ms), SAGA_ERR_OK);
        assert_int_equal(ms, good[i].ms);
    }
}

static void test_duration_when_malformed_then_is_refused(void **state)
{
    (void)state;
    const char *const wrong[] = {"", "s", "-1s", "5 s", "5x", "inf", "nan", "25h", "1e99", " 1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t ms = -1;
        assert_int_not_equal(saga_client_duration_parse(wrong[i], &ms), SAGA_ERR_OK);
        assert_int_equal(ms, -1);
    }
}

static void test_texts_when_made_then_are_for_people(void **state)
{
    (void)state;
    char text[SAGA_DURATION_TEXT_SIZE];
    saga_client_duration_text(850, text);
    assert_string_equal(text, "850 ms");
    saga_client_duration_text(1234, text);
    assert_string_equal(text, "1.23 s");
    saga_client_duration_text(125000, text);
    assert_string_equal(text, "2 min 5 s");
    saga_client_duration_text(7260000, text);
    assert_string_equal(text, "2 h 1 min");
    char time[SAGA_TIME_TEXT_SIZE];
    saga_client_time_text(INT64_C(1800000000007), time);
    assert_string_equal(time, "2027-01-15T08:00:00.007Z");
    char dirty[] = "a\x1b[31mb\nc\x7f";
    saga_client_clean(dirty);
    assert_string_equal(dirty, "a?[31mb?c?");
}

static void test_clean_when_a_text_acts_or_is_none_then_it_is_made_harmless(void **state)
{
    static const char *const texts[][2] = {
        {"", ""},
        {"é語\xf0\x9f\x98\x80 \"<&>", "é語\xf0\x9f\x98\x80 \"<&>"}, /* stays */
        {"\xc2\x9b"
         "1m",
         "??1m"}, /* CSI of C1 */
        {"a\xe2\x80\xae"
         "b",
         "a???b"}, /* right to left */
        {"a\xe2\x81\xa6"
         "b",
         "a???b"},
        {"a\xe2\x80\xa8"
         "b",
         "a???b"}, /* a line's end */
        {"\xef\xbf\xbe\xef\xbf\xbf\xef\xbf\xbd", "??????\xef\xbf\xbd"},
        {"a\xff\x80"
         "b",
         "a??b"},                          /* no UTF-8 */
        {"\xc0\x80\xed\xa0\x80", "?????"}, /* overlong, a surrogate */
        {"a\xe8\xaa", "a??"},              /* cut off */
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%s", texts[i][0]);
        saga_client_clean(text);
        assert_string_equal(text, texts[i][1]);
    }
}

static void test_endpoints_when_written_then_are_read_back(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-client-XXXXXX";
    char path[64];
    struct saga_err_detail detail = {{0}};
    struct saga_endpoints written = {0};
    struct saga_endpoints read = {0};
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < SAGA_DAEMON_COUNT; i++) {
        snprintf(written.daemons[i].nng, sizeof written.daemons[i].nng, "ipc:///x/%d.ipc", i);
        written.daemons[i].pid = 100 + i;
    }
    snprintf(written.daemons[SAGA_DAEMON_ORDERD].http, 64, "http://127.0.0.1:8080");
    snprintf(written.kafka, sizeof written.kafka, "127.0.0.1:9092");
    written.dev_pid = 77;
    assert_int_equal(saga_endpoints_read(dir, &read, &detail), SAGA_ERR_NOT_FOUND);
    assert_int_equal(saga_endpoints_write(dir, &written, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_endpoints_read(dir, &read, &detail), SAGA_ERR_OK);
    assert_memory_equal(&read, &written, sizeof read);
    snprintf(path, sizeof path, "%s/.endpoints.json.new", dir);
    assert_int_not_equal(access(path, F_OK), 0);
    saga_endpoints_remove(dir);
    assert_int_equal(saga_endpoints_read(dir, &read, &detail), SAGA_ERR_NOT_FOUND);
    assert_int_equal(rmdir(dir), 0);
}

static void test_endpoints_when_the_file_is_garbage_then_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/test-client-XXXXXX";
    struct saga_err_detail detail = {{0}};
    struct saga_endpoint endpoint;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"pid\":", 7), 7);
    assert_int_equal(saga_endpoint_read_ready(path, &endpoint, &detail), SAGA_ERR_MALFORMED);
    assert_int_equal(write(fd, "1}", 2), 2);
    assert_int_equal(saga_endpoint_read_ready(path, &endpoint, &detail), SAGA_ERR_MALFORMED);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

/* Runs sagactl with words; its output goes to nowhere. */
static int run(const char *const *words)
{
    char *argv[16] = {0};
    int argc = 1;
    argv[0] = (char *)(uintptr_t) "sagactl";
    for (size_t i = 0; words[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)words[i];
    }
    return saga_client_run(argc, argv);
}

static void test_verbs_when_asked_for_help_then_each_gives_it(void **state)
{
    (void)state;
    for (size_t i = 0; saga_verbs[i] != NULL; i++) {
        assert_ptr_equal(saga_verb_find(saga_verbs[i]->name), saga_verbs[i]);
        assert_int_equal(run((const char *[]){saga_verbs[i]->name, "--help", NULL}), SAGA_EXIT_OK);
        assert_int_equal(run((const char *[]){"help", saga_verbs[i]->name, NULL}), SAGA_EXIT_OK);
    }
    assert_int_equal(run((const char *[]){"--help", NULL}), SAGA_EXIT_OK);
    assert_int_equal(run((const char *[]){"--version", NULL}), SAGA_EXIT_OK);
}

static void test_verbs_when_used_wrongly_then_exit_2(void **state)
{
    (void)state;
    const char *const *const wrong[] = {
        (const char *[]){NULL},
        (const char *[]){"nonsense", NULL},
        (const char *[]){"help", "nonsense", NULL},
        (const char *[]){"get", "not-an-id", "--address", "ipc:///nowhere", "--timeout", "1ms",
                         NULL},
        (const char *[]){"list", "--output", "yaml", NULL},
        (const char *[]){"list", "--limit", "0", NULL},
        (const char *[]){"list", "--address", "ipc:///nowhere", "--timeout", "0", NULL},
        (const char *[]){"list", "--address", "ipc:///nowhere", "--timeout", "0.1ms", NULL},
        (const char *[]){"--dir", "run", "list", NULL},
        (const char *[]){"lst", NULL},
        (const char *[]){"get", "018f3c1e-8a5b-7c00-9d3e-0123456789ab", "--events", NULL},
        (const char *[]){"breaking", "new.proto", NULL},
        (const char *[]){"lint", "/", NULL},
        (const char *[]){"list", "--state", "asleep", NULL},
        (const char *[]){"watch", NULL},
        (const char *[]){"cancel", "018f3c1e-8a5b-7c00-9d3e-0123456789ab", NULL},
        (const char *[]){"skip", "018f3c1e-8a5b-7c00-9d3e-0123456789ab", "--why", "x", NULL},
        (const char *[]){"call", "ipc:///nowhere", NULL},
        (const char *[]){"call", "ipc:///nowhere", "a.B/C", "-H", "novalue", NULL},
        (const char *[]){"topics", NULL},
        (const char *[]){"topics", "destroy", NULL},
        (const char *[]){"audit", "cook", NULL},
        (const char *[]){"bench", "--clients", "many", NULL},
        (const char *[]){"dev", "extra", NULL},
        (const char *[]){"completion", "tcsh", NULL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int status = run(wrong[i]);
        if (status != SAGA_EXIT_USAGE) {
            fail_msg("case %u gave %d", (unsigned)i, status);
        }
    }
}

static void test_verbs_when_nobody_listens_then_exit_78(void **state)
{
    (void)state;
    assert_int_equal(run((const char *[]){"list", "--address", "ipc:///tmp/nobody-is-here.ipc",
                                          "--timeout", "50ms", NULL}),
                     SAGA_EXIT_STATUS + 14);
}

static void test_verbs_when_there_is_no_system_then_exit_1(void **state)
{
    (void)state;
    assert_int_equal(run((const char *[]){"health", "--dir", "/nonexistent", NULL}),
                     SAGA_EXIT_FAILED);
    assert_int_equal(run((const char *[]){"topics", "list", "--dir", "/nonexistent", NULL}),
                     SAGA_EXIT_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shorts_when_known_then_become_long),
        cmocka_unit_test(test_shorts_when_they_are_values_then_stay),
        cmocka_unit_test(test_shorts_when_unknown_then_stay),
        cmocka_unit_test(test_duration_when_well_formed_then_is_read),
        cmocka_unit_test(test_duration_when_malformed_then_is_refused),
        cmocka_unit_test(test_texts_when_made_then_are_for_people),
        cmocka_unit_test(test_clean_when_a_text_acts_or_is_none_then_it_is_made_harmless),
        cmocka_unit_test(test_endpoints_when_written_then_are_read_back),
        cmocka_unit_test(test_endpoints_when_the_file_is_garbage_then_is_refused),
        cmocka_unit_test(test_verbs_when_asked_for_help_then_each_gives_it),
        cmocka_unit_test(test_verbs_when_used_wrongly_then_exit_2),
        cmocka_unit_test(test_verbs_when_nobody_listens_then_exit_78),
        cmocka_unit_test(test_verbs_when_there_is_no_system_then_exit_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
