#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sys/options.h"
#include "tests/support/support.h"

static const struct saga_option table[] = {
    {.name = "http-port",
     .argument = "PORT",
     .fallback = "8080",
     .help = "Port of the HTTP server."},
    {.name = "store-path", .argument = "FILE", .help = "Where the state is kept."},
    {.name = "listen",
     .argument = "URL",
     .fallback = "ipc:///a,tcp://b",
     .help = "An address.",
     .repeated = true},
    {.name = "quiet", .fallback = "false", .help = "Say less."},
    {.name = "o", .argument = "FORMAT", .fallback = "table", .help = "table or json."},
    {.name = "kafka.", .argument = "NAME=VALUE", .help = "Passed to the Kafka client."},
};

static const struct saga_program program = {
    .name = "prog",
    .summary = "a program to test with, whose summary is short",
    .usage = "[OPTION]... [FILE]",
    .epilog = "Signals: none.",
    .env_prefix = "SAGATEST",
    .options = table,
    .option_count = sizeof table / sizeof table[0],
};

/* One reading, with what it printed. */
struct reading {
    struct saga_options *options;
    enum saga_options_next next;
    char out[8192];
    char err[4096];
};

static void take_text(FILE *file, char *text, size_t size)
{
    rewind(file);
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    (void)fclose(file);
}

static void read_args(struct reading *reading, bool stop_at_operand, int argc, char **argv)
{
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    assert_non_null(out);
    assert_non_null(err);
    (void)fflush(stdout);
    int kept_out = dup(STDOUT_FILENO);
    int kept_err = dup(STDERR_FILENO);
    assert_true(dup2(fileno(out), STDOUT_FILENO) >= 0 && dup2(fileno(err), STDERR_FILENO) >= 0);
    reading->options = NULL;
    reading->next = saga_options_read(&program, argc, argv, stop_at_operand, &reading->options);
    (void)fflush(stdout);
    assert_true(dup2(kept_out, STDOUT_FILENO) >= 0 && dup2(kept_err, STDERR_FILENO) >= 0);
    (void)close(kept_out);
    (void)close(kept_err);
    take_text(out, reading->out, sizeof reading->out);
    take_text(err, reading->err, sizeof reading->err);
}

/* Reads arguments given as a list of texts. */
#define READ(reading, ...)                                                                         \
    do {                                                                                           \
        const char *list[] = {"prog", __VA_ARGS__};                                                \
        char *args[sizeof list / sizeof list[0] + 1] = {NULL};                                     \
        for (size_t n = 0; n < sizeof list / sizeof list[0]; n++) {                                \
            args[n] = strdup(list[n]);                                                             \
        }                                                                                          \
        read_args(reading, false, (int)(sizeof list / sizeof list[0]), args);                      \
        for (size_t n = 0; n < sizeof list / sizeof list[0]; n++) {                                \
            leftovers[leftover_count++] = args[n];                                                 \
        }                                                                                          \
    } while (0)

/* Operands are borrowed from argv: freed at the end of a test. */
static char *leftovers[256];
static size_t leftover_count;

static int tear_down(void **state)
{
    (void)state;
    while (leftover_count > 0) {
        free(leftovers[--leftover_count]);
    }
    static const char *const names[] = {"SAGATEST_HTTP_PORT",       "SAGATEST_LISTEN",
                                        "SAGATEST_CONFIG",          "SAGATEST_STORE_PATH",
                                        "SAGATEST_KAFKA_LINGER_MS", "SAGATEST_PORT",
                                        "SAGATEST_SERVICE_HOST",    "SAGATEST_NONE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)unsetenv(names[i]);
    }
    return 0;
}

static void refused(const struct reading *reading, const char *message)
{
    assert_int_equal(reading->next, SAGA_OPTIONS_EXIT_USAGE);
    assert_null(reading->options);
    assert_string_equal(reading->err, message);
    assert_string_equal(reading->out, "");
}

static void test_read_when_nothing_is_given_then_defaults(void **state)
{
    (void)state;
    struct reading reading;
    READ(&reading, "operand");
    assert_int_equal(reading.next, SAGA_OPTIONS_RUN);
    assert_string_equal(saga_options_text(reading.options, "http-port"), "8080");
    assert_null(saga_options_text(reading.options, "store-path"));
    assert_int_equal(saga_options_count(reading.options, "listen"), 2);
    assert_string_equal(saga_options_at(reading.options, "listen", 1), "tcp://b");
    assert_null(saga_options_at(reading.options, "listen", 2));
    assert_false(saga_options_on(reading.options, "quiet"));
    assert_int_equal(saga_options_operand_count(reading.options), 1);
    assert_string_equal(saga_options_operand(reading.options, 0), "operand");
    assert_null(saga_options_operand(reading.options, 1));
    saga_options_free(reading.options);
}

static void test_read_when_flags_then_all_forms(void **state)
{
    (void)state;
    struct reading reading;
    READ(&reading, "a", "--http-port", "1", "--store-path=x=y", "--quiet", "-o", "json", "-", "b",
         "--listen", "one", "--listen=two,three", "--http-port=2", "--", "--quiet=no");
    assert_int_equal(reading.next, SAGA_OPTIONS_RUN);
    assert_string_equal(saga_options_text(reading.options, "http-port"), "2");
    assert_string_equal(saga_options_text(reading.options, "store-path"), "x=y");
    assert_string_equal(saga_options_text(reading.options, "o"), "json");
    assert_true(saga_options_on(reading.options, "quiet"));
    assert_int_equal(saga_options_count(reading.options, "listen"), 2);
    assert_string_equal(saga_options_at(reading.options, "listen", 1), "two,three");
    assert_int_equal(saga_options_operand_count(reading.options), 4);
    assert_string_equal(saga_options_operand(reading.options, 1), "-");
    assert_string_equal(saga_options_operand(reading.options, 3), "--quiet=no");
    saga_options_free(reading.options);
    READ(&reading, "--quiet", "--quiet=false");
    assert_false(saga_options_on(reading.options, "quiet"));
    saga_options_free(reading.options);
}

static void test_read_when_told_to_stop_then_rest_are_operands(void **state)
{
    (void)state;
    struct reading reading;
    char *args[] = {strdup("prog"), strdup("--quiet"), strdup("verb"), strdup("--whatever"), NULL};
    read_args(&reading, true, 4, args);
    assert_int_equal(reading.next, SAGA_OPTIONS_RUN);
    assert_int_equal(saga_options_operand_count(reading.options), 2);
    assert_string_equal(saga_options_operand(reading.options, 1), "--whatever");
    saga_options_free(reading.options);
    for (size_t i = 0; i < 4; i++) {
        free(args[i]);
    }
}

static void test_read_when_several_sources_then_flag_environment_file_default(void **state)
{
    (void)state;
    struct saga_test_dir dir;
    char path[SAGA_TEST_PATH_MAX];
    static const char text[] = "; a comment\n# another\n\nhttp-port = 1\nstore-path=/file ; here\n"
                               "listen = x, y ,z\nkafka.linger.ms = 1\nkafka.acks = all\n"
                               "kafka.bootstrap.servers=a:9092,b:9092\nquiet = true\n";
    saga_test_dir_open(&dir);
    saga_test_write(saga_test_path(&dir, "conf", path), text, sizeof text - 1);
    (void)setenv("SAGATEST_CONFIG", path, 1);
    (void)setenv("SAGATEST_HTTP_PORT", "2", 1);
    (void)setenv("SAGATEST_KAFKA_LINGER_MS", "2", 1);
    (void)setenv("SAGATEST_STORE_PATH", "", 1);
    struct reading reading;
    READ(&reading, "--kafka.linger.ms=3");
    assert_int_equal(reading.next, SAGA_OPTIONS_RUN);
    assert_string_equal(saga_options_text(reading.options, "http-port"), "2");
    assert_string_equal(saga_options_text(reading.options, "store-path"), "/file");
    assert_string_equal(saga_options_text(reading.options, "o"), "table");
    assert_true(saga_options_on(reading.options, "quiet"));
    assert_int_equal(saga_options_count(reading.options, "listen"), 3);
    assert_string_equal(saga_options_at(reading.options, "listen", 1), "y");
    const char *key = NULL;
    const char *value = NULL;
    size_t found = 0;
    for (size_t i = 0; saga_options_family(reading.options, "kafka.", i, &key, &value); i++) {
        found++;
        if (strcmp(key, "linger.ms") == 0) {
            assert_string_equal(value, "3");
        } else if (strcmp(key, "acks") == 0) {
            assert_string_equal(value, "all");
        } else {
            assert_string_equal(key, "bootstrap.servers");
            assert_string_equal(value, "a:9092,b:9092");
        }
    }
    assert_int_equal(found, 3);
    saga_options_free(reading.options);
    READ(&reading, "--http-port=3");
    assert_string_equal(saga_options_text(reading.options, "http-port"), "3");
    saga_options_free(reading.options);
    saga_test_dir_close(&dir);
}

static void test_read_when_flag_is_wrong_then_error_names_it(void **state)
{
    (void)state;
    struct reading reading;
    READ(&reading, "--nothing-like-it", "x");
    refused(&reading, "prog: --nothing-like-it: no such setting (try --help)\n");
    READ(&reading, "--htp-port=1");
    refused(&reading, "prog: --htp-port: no such setting; is http-port meant? (try --help)\n");
    READ(&reading, "-x");
    refused(&reading, "prog: -x: no such setting (try --help)\n");
    READ(&reading, "-quiet");
    refused(&reading, "prog: -quiet: no such setting; is quiet meant? (try --help)\n");
    READ(&reading, "--store-path");
    refused(&reading, "prog: --store-path: a value is missing: FILE (try --help)\n");
    READ(&reading, "--quiet=maybe");
    refused(&reading, "prog: --quiet: \"maybe\" is neither true nor false (try --help)\n");
    READ(&reading, "--kafka.", "x");
    refused(&reading, "prog: --kafka.: no such setting; is kafka. meant? (try --help)\n");
}

static void test_read_when_environment_is_wrong_then_error_names_it(void **state)
{
    (void)state;
    struct reading reading;
    (void)setenv("SAGATEST_NONE", "1", 1);
    READ(&reading, "x");
    refused(&reading, "prog: SAGATEST_NONE: no such setting (try --help)\n");
    (void)unsetenv("SAGATEST_NONE");
    /* What container platforms put there is not ours. */
    (void)setenv("SAGATEST_PORT", "tcp://10.0.0.1:80", 1);
    (void)setenv("SAGATEST_SERVICE_HOST", "10.0.0.1", 1);
    READ(&reading, "x");
    assert_int_equal(reading.next, SAGA_OPTIONS_RUN);
    saga_options_free(reading.options);
}

static void read_file(struct reading *reading, const char *text, char path[SAGA_TEST_PATH_MAX])
{
    struct saga_test_dir dir;
    saga_test_dir_open(&dir);
    saga_test_write(saga_test_path(&dir, "conf", path), text, strlen(text));
    READ(reading, "--config", path);
    saga_test_dir_close(&dir);
}

static void test_read_when_file_is_wrong_then_error_names_the_line(void **state)
{
    (void)state;
    struct reading reading;
    char path[SAGA_TEST_PATH_MAX];
    char expected[SAGA_TEST_PATH_MAX + 200];
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"\n\nport = 1\n", ":3: port: no such setting (try --help)\n"},
        {"http-port = 1\n[a]\nquiet = true\n",
         ":3: quiet: the file has no sections, but [a] (try --help)\n"},
        {"http-port\n", ":1: not a line \"name = value\" (try --help)\n"},
        {"quiet = yes\n", ":1: quiet: \"yes\" is neither true nor false (try --help)\n"},
        {"quiet = true\n  http-port 5\n", ":2: not a line \"name = value\" (try --help)\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        read_file(&reading, cases[i].text, path);
        (void)snprintf(expected, sizeof expected, "prog: %s%s", path, cases[i].message);
        refused(&reading, expected);
    }
    READ(&reading, "--config", "/no/such/file");
    refused(&reading, "prog: --config: /no/such/file: No such file or directory (try --help)\n");
    char text[600];
    (void)snprintf(text, sizeof text, "quiet = true\nstore-path = %0500d\n", 0);
    read_file(&reading, text, path);
    assert_int_equal(reading.next, SAGA_OPTIONS_EXIT_USAGE);
    assert_non_null(strstr(reading.err, ":2: the line is longer than "));
}

static void test_int_when_out_of_bounds_or_no_number_then_detail_names_all(void **state)
{
    (void)state;
    struct reading reading;
    struct saga_err_detail detail;
    int64_t value = -7;
    READ(&reading, "--http-port=abc", "--store-path=70000");
    assert_int_equal(saga_options_int(reading.options, "http-port", 0, 65535, &value, &detail),
                     SAGA_ERR_INVALID);
    assert_string_equal(detail.text,
                        "--http-port: \"abc\" is not a whole number from 0 to 65535 (try --help)");
    assert_int_equal(saga_options_int(reading.options, "store-path", 0, 65535, &value, &detail),
                     SAGA_ERR_LIMIT);
    assert_int_equal(value, -7);
    saga_options_free(reading.options);
    static const char *const bad[] = {"", " 1", "1 ", "+1", "0x10", "1.0", "-", "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        READ(&reading, "--store-path", bad[i]);
        assert_int_equal(saga_options_int(reading.options, "store-path", -10, 10, &value, &detail),
                         SAGA_ERR_INVALID);
        saga_options_free(reading.options);
    }
    READ(&reading, "--store-path=99999999999999999999999");
    assert_int_equal(
        saga_options_int(reading.options, "store-path", INT64_MIN, INT64_MAX, &value, &detail),
        SAGA_ERR_LIMIT);
    saga_options_free(reading.options);
    READ(&reading, "--store-path=-9223372036854775808");
    assert_int_equal(
        saga_options_int(reading.options, "store-path", INT64_MIN, INT64_MAX, &value, &detail),
        SAGA_ERR_OK);
    assert_true(value == INT64_MIN);
    saga_options_free(reading.options);
    (void)setenv("SAGATEST_HTTP_PORT", "no", 1);
    READ(&reading, "x");
    assert_int_equal(saga_options_int(reading.options, "http-port", 0, 1, &value, &detail),
                     SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "SAGATEST_HTTP_PORT: \"no\""));
    assert_int_equal(saga_options_int(reading.options, "store-path", 0, 1, &value, &detail),
                     SAGA_ERR_INVALID);
    assert_string_equal(detail.text, "--store-path: a value is missing");
    saga_options_free(reading.options);
}

static void test_help_then_columns_with_defaults_and_exit_ok(void **state)
{
    (void)state;
    struct reading reading;
    READ(&reading, "--help", "--no-such");
    assert_int_equal(reading.next, SAGA_OPTIONS_EXIT_OK);
    assert_string_equal(reading.err, "");
    assert_non_null(strstr(reading.out, "prog: a program to test with, whose summary is short\n\n"
                                        "Usage: prog [OPTION]... [FILE]\n\n"));
    assert_non_null(strstr(reading.out, "  --http-port PORT    Port of the HTTP server. [8080]\n"));
    assert_non_null(strstr(reading.out, "  --quiet             Say less.\n"));
    assert_non_null(strstr(reading.out, "  -o FORMAT           table or json. [table]\n"));
    assert_non_null(strstr(reading.out, "  --kafka.NAME=VALUE  Passed"));
    assert_non_null(strstr(reading.out, "  --version "));
    assert_non_null(strstr(reading.out, "\nSignals: none.\n"));
    for (const char *line = reading.out; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        assert_in_range(size, 0, 100);
        line += size + (line[size] == '\n' ? 1U : 0U);
    }
    READ(&reading, "--version");
    assert_int_equal(reading.next, SAGA_OPTIONS_EXIT_OK);
    assert_string_equal(reading.out, "prog " SAGA_VERSION "\n");
}

int main(void)
{
#define EACH(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        EACH(test_read_when_nothing_is_given_then_defaults),
        EACH(test_read_when_flags_then_all_forms),
        EACH(test_read_when_told_to_stop_then_rest_are_operands),
        EACH(test_read_when_several_sources_then_flag_environment_file_default),
        EACH(test_read_when_flag_is_wrong_then_error_names_it),
        EACH(test_read_when_environment_is_wrong_then_error_names_it),
        EACH(test_read_when_file_is_wrong_then_error_names_the_line),
        EACH(test_int_when_out_of_bounds_or_no_number_then_detail_names_all),
        EACH(test_help_then_columns_with_defaults_and_exit_ok),
    };
#undef EACH
    return cmocka_run_group_tests(tests, NULL, NULL);
}
