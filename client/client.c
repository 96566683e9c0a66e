/* What the verbs share. See client.h. */
#include "client/client.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/limits.h"
#include "common/wire/wire.h"

/* --output stands first: it alone is told where no daemon is asked. */
const struct saga_option saga_client_options[] = {
    {"output", "table|json", "table", "how to print; short -o", false},
    {"address", "URL", NULL,
     "NNG address of the orchestrator; default: from endpoints.json in --dir", false},
    {"dir", "DIR", "run", "folder that `sagactl dev` runs in", false},
    {"kafka", "HOST:PORT", NULL,
     "Kafka bootstrap; default: from endpoints.json (dev: an embedded one)", false},
    {"kafka.", "PROPERTY=VALUE", NULL, "any librdkafka property", false},
    {"timeout", "TIME", "5s", "longest wait for an answer: 5s, 250ms, 1m; a bare number is seconds",
     false},
    {"tls-ca", "FILE", NULL, "PEM file with the CA of tls+tcp:// peers", false},
    {"tls-cert", "FILE", NULL, "PEM file with the certificate shown to tls+tcp:// peers", false},
    {"tls-key", "FILE", NULL, "PEM file with its key", false},
};
const size_t saga_client_option_count = sizeof saga_client_options / sizeof saga_client_options[0];

static void print_error(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static void print_error(const char *format, va_list args)
{
    fflush(stdout);
    fputs("sagactl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int saga_client_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    return SAGA_EXIT_FAILED;
}

int saga_client_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    fputs("Try --help behind the verb.\n", stderr);
    return SAGA_EXIT_USAGE;
}

int saga_client_usage_at(const char *what, const char *text)
{
    bool named = strncmp(text, what, strlen(what)) == 0;
    return saga_client_usage("%s%s%s", named ? "" : what, named ? "" : ": ", text);
}

void saga_client_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
}

int saga_client_output_json(const struct saga_options *options)
{
    const char *output = saga_options_text(options, "output");
    if (output == NULL || strcmp(output, "table") == 0) {
        return 0;
    }
    if (strcmp(output, "json") == 0) {
        return 1;
    }
    saga_client_usage("--output %s: it must be table or json", output);
    return -1;
}

enum saga_err saga_client_duration_parse(const char *text, int64_t *ms)
{
    char *end = NULL;
    errno = 0;
    if (!isdigit((unsigned char)text[0])) {
        return SAGA_ERR_INVALID;
    }
    double number = strtod(text, &end);
    double unit_ms = 0;
    if (strcmp(end, "ms") == 0) {
        unit_ms = 1;
    } else if (strcmp(end, "s") == 0 || *end == 0) {
        unit_ms = 1000;
    } else if (strcmp(end, "m") == 0) {
        unit_ms = 60 * 1000;
    } else if (strcmp(end, "h") == 0) {
        unit_ms = 3600 * 1000;
    } else {
        return SAGA_ERR_INVALID;
    }
    double value = number * unit_ms;
    if (errno != 0 || !(value >= 0 && value <= 24.0 * 3600 * 1000)) {
        return SAGA_ERR_LIMIT;
    }
    *ms = (int64_t)(value + 0.5);
    return SAGA_ERR_OK;
}

int saga_client_duration(const struct saga_options *options, const char *name, int64_t fallback_ms,
                         int64_t *ms)
{
    const char *text = saga_options_text(options, name);
    *ms = fallback_ms;
    if (text == NULL) {
        return SAGA_EXIT_OK;
    }
    if (saga_client_duration_parse(text, ms) != SAGA_ERR_OK) {
        return saga_client_usage(
            "--%s %s: it must be a time up to a day, for example 250ms, 5s or 2m", name, text);
    }
    if (*ms == 0 && strcmp(name, "timeout") == 0) {
        return saga_client_usage("--timeout %s: nothing can be answered in no time; it must be "
                                 "more than 0, for example 250ms",
                                 text);
    }
    return SAGA_EXIT_OK;
}

int saga_client_int(const struct saga_options *options, const char *name, int64_t min, int64_t max,
                    int64_t *value)
{
    struct saga_err_detail detail = {{0}};
    if (saga_options_int(options, name, min, max, value, &detail) != SAGA_ERR_OK) {
        return saga_client_usage("%s", detail.text);
    }
    return SAGA_EXIT_OK;
}

static int read_stream(FILE *file, const char *name, struct saga_buf *out)
{
    char chunk[16384];
    size_t count;
    while ((count = fread(chunk, 1, sizeof chunk, file)) > 0) {
        if (out->size + count > 16 * (size_t)SAGA_MESSAGE_SIZE_HARD) {
            return saga_client_fail("%s: more than %d bytes", name, 16 * SAGA_MESSAGE_SIZE_HARD);
        }
        struct saga_bytes bytes = {(const uint8_t *)chunk, count};
        if (saga_buf_append(out, bytes) != SAGA_ERR_OK) {
            return saga_client_fail("out of memory");
        }
    }
    if (ferror(file)) {
        return saga_client_fail("%s: %s", name, strerror(errno));
    }
    return SAGA_EXIT_OK;
}

int saga_client_data(const char *given, struct saga_buf *out)
{
    if (given[0] != '@') {
        if (saga_buf_append(out, saga_bytes_text(given)) != SAGA_ERR_OK) {
            return saga_client_fail("out of memory");
        }
        return SAGA_EXIT_OK;
    }
    if (given[1] == 0 || strcmp(given, "@-") == 0) {
        return read_stream(stdin, "stdin", out);
    }
    FILE *file = fopen(given + 1, "rb");
    if (file == NULL) {
        return saga_client_fail("%s: %s", given + 1, strerror(errno));
    }
    int status = read_stream(file, given + 1, out);
    fclose(file);
    return status;
}

int saga_client_operands(const struct saga_options *options, size_t min, size_t max,
                         const char *what)
{
    size_t count = saga_options_operand_count(options);
    if (count < min) {
        return saga_client_usage("missing: %s", what);
    }
    if (count > max) {
        return saga_client_usage("too many arguments: %s", saga_options_operand(options, max));
    }
    return SAGA_EXIT_OK;
}

int saga_client_print_json(json_t *value)
{
    if (value == NULL) {
        return saga_client_fail("out of memory");
    }
    int failed =
        json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    json_decref(value);
    putchar('\n');
    int status = saga_client_flush();
    return status == SAGA_EXIT_OK && failed != 0 ? saga_client_fail("out of memory") : status;
}

int saga_client_flush(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    struct pollfd look = {.fd = STDOUT_FILENO, .events = POLLOUT};
    errno = 0;
    int failed = fflush(stdout);
    if (failed == 0 && ferror(stdout) == 0) {
        return SAGA_EXIT_OK;
    }
    int error = errno;
    if (error == EPIPE || (poll(&look, 1, 0) == 1 && (look.revents & POLLERR) != 0)) {
        (void)sigaction(SIGPIPE, &standard, NULL);
        (void)raise(SIGPIPE);
    }
    return saga_client_fail("stdout cannot be written%s%s", error == 0 ? "" : ": ",
                            error == 0 ? "" : strerror(error));
}

void saga_client_time_text(int64_t unix_ms, char text[SAGA_TIME_TEXT_SIZE])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    text[0] = 0;
    if (unix_ms < 0 || gmtime_r(&seconds, &parts) == NULL) {
        return;
    }
    size_t used = strftime(text, SAGA_TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, SAGA_TIME_TEXT_SIZE - used, ".%03dZ", (int)(unix_ms % 1000));
}

void saga_client_duration_text(int64_t ms, char text[SAGA_DURATION_TEXT_SIZE])
{
    if (ms < 1000) {
        snprintf(text, SAGA_DURATION_TEXT_SIZE, "%" PRId64 " ms", ms < 0 ? 0 : ms);
    } else if (ms < 60 * 1000) {
        snprintf(text, SAGA_DURATION_TEXT_SIZE, "%.2f s", (double)ms / 1000);
    } else if (ms < 3600 * 1000) {
        snprintf(text, SAGA_DURATION_TEXT_SIZE, "%" PRId64 " min %" PRId64 " s", ms / 60000,
                 ms / 1000 % 60);
    } else {
        snprintf(text, SAGA_DURATION_TEXT_SIZE, "%" PRId64 " h %" PRId64 " min", ms / 3600000,
                 ms / 60000 % 60);
    }
}

const char *saga_client_who(const struct saga_options *options)
{
    const char *who = saga_options_text(options, "who");
    who = who != NULL ? who : getenv("USER");
    who = who != NULL && who[0] != 0 ? who : getenv("LOGNAME");
    if (who == NULL || who[0] == 0) {
        const struct passwd *user = getpwuid(getuid());
        who = user == NULL ? NULL : user->pw_name;
    }
    return who;
}

/* Bytes of the character that text begins with, and which it is; 0: none, a byte that is not UTF-8.
 */
static size_t character(const char *text, uint32_t *code)
{
    static const uint8_t masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint8_t first = (uint8_t)text[0];
    size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (strnlen(text, size) < size ||
        !saga_wire_utf8((struct saga_bytes){(const uint8_t *)text, size})) {
        return 0;
    }
    *code = first & masks[size];
    for (size_t i = 1; i < size; i++) {
        *code = *code << 6 | ((uint8_t)text[i] & 0x3F);
    }
    return size;
}

/* Controls (of C0, C1), line ends and changes of direction, and what no XML may have. */
static bool is_unfit(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xFFFE || code == 0xFFFF;
}

void saga_client_clean(char *text)
{
    while (*text != 0) {
        uint32_t code = 0;
        size_t size = character(text, &code);
        if (size == 0 || is_unfit(code)) {
            memset(text, '?', size == 0 ? 1 : size);
        }
        text += size == 0 ? 1 : size;
    }
}

enum saga_err saga_client_id(const uint8_t *data, size_t size, struct saga_id *id)
{
    if (data == NULL || size != SAGA_ID_SIZE) {
        return SAGA_ERR_MALFORMED;
    }
    memcpy(id->b, data, SAGA_ID_SIZE);
    return SAGA_ERR_OK;
}

/* ---- Short flags ---- */

/* Finds what a short letter stands for; gives the length of the long name, 0 when there is none. */
static size_t long_name(const char *shorts, char letter, const char **name)
{
    for (const char *at = shorts; at != NULL && *at != 0;) {
        size_t size = strcspn(at, " ");
        if (size > 2 && at[0] == letter && at[1] == '=') {
            *name = at + 2;
            return size - 2;
        }
        at += size;
        at += strspn(at, " ");
    }
    return 0;
}

static const struct saga_option *find_option(const struct saga_option *options, size_t count,
                                             const char *name, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(options[i].name) == size && strncmp(options[i].name, name, size) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

enum saga_err saga_client_expand_shorts(int argc, char **argv, const char *shorts,
                                        const struct saga_option *options, size_t option_count,
                                        char **space)
{
    size_t size = 1;
    for (int i = 0; i < argc; i++) {
        size += strlen(argv[i]) + 64;
    }
    char *out = malloc(size);
    *space = out;
    if (out == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const struct saga_option *option = NULL;
        const char *arg = argv[i];
        if (arg[0] == '-' && arg[1] == '-') {
            option = find_option(options, option_count, arg + 2, strlen(arg + 2));
        } else if (arg[0] == '-' && arg[1] != 0) {
            const char *name = NULL;
            size_t length = long_name(shorts, arg[1], &name);
            option = length == 0 ? NULL : find_option(options, option_count, name, length);
            if (length > 48 || option == NULL) {
                continue; /* unknown: the reader of settings complains */
            }
            argv[i] = out;
            const char *glued = arg + 2 + (arg[2] == '=');
            out += sprintf(out, "--%.*s%s%s", (int)length, name, arg[2] != 0 ? "=" : "", glued) + 1;
            if (arg[2] != 0) {
                continue;
            }
        }
        if (option != NULL && option->argument != NULL) {
            i++; /* its value is no flag */
        }
    }
    return SAGA_ERR_OK;
}

/* ---- Tables ---- */

void saga_table_add(struct saga_table *table, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    saga_client_clean(text);
    if (table->cell_count == table->cell_capacity) {
        size_t capacity = table->cell_capacity == 0 ? 64 : table->cell_capacity * 2;
        char **cells = realloc(table->cells, capacity * sizeof *cells);
        if (cells == NULL) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->cell_capacity = capacity;
    }
    char *copy = strdup(text);
    table->failed = table->failed || copy == NULL;
    table->cells[table->cell_count++] = copy;
}

/* Columns that people see: bytes that begin a UTF-8 character. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != 0; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

int saga_table_print(struct saga_table *table)
{
    size_t widths[SAGA_TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; !table->failed && i < table->cell_count; i++) {
        size_t width = text_width(table->cells[i]);
        size_t column = i % table->column_count;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    for (size_t i = 0; !table->failed && i < table->cell_count; i++) {
        size_t column = i % table->column_count;
        bool last = column + 1 == table->column_count || i + 1 == table->cell_count;
        fputs(table->cells[i], stdout);
        if (last) {
            putchar('\n');
        } else {
            printf("%*s", (int)(widths[column] - text_width(table->cells[i]) + 2), "");
        }
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    bool failed = table->failed;
    *table = (struct saga_table){.column_count = table->column_count};
    return failed ? saga_client_fail("out of memory") : SAGA_EXIT_OK;
}
