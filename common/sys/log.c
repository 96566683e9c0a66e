#include "common/sys/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_SIZE = 2048, /* with its newline */
    TEXT_SIZE = 1024, /* one formatted number or text before escapes */
    SPEC_SIZE = 32,   /* one conversion of a format */
};

static const char *log_program = "saga";
static enum saga_log_level log_level = SAGA_LOG_INFO;

static const char *const level_names[] = {
    [SAGA_LOG_DEBUG] = "debug",
    [SAGA_LOG_INFO] = "info",
    [SAGA_LOG_WARN] = "warn",
    [SAGA_LOG_ERROR] = "error",
};

enum { LEVEL_COUNT = sizeof level_names / sizeof level_names[0] };

void saga_log_init(const char *program, enum saga_log_level level)
{
    log_program = program;
    log_level = level;
}

int saga_log_level_parse(const char *name)
{
    for (int i = 0; i < LEVEL_COUNT; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

struct line {
    char text[LINE_SIZE];
    size_t size;
    bool full;
    bool quoted; /* inside a quoted value */
};

/* Room is kept for a closing quote and the newline. */
static void line_add(struct line *line, const char *text, size_t size)
{
    if (line->full || size > LINE_SIZE - 2 - line->size) {
        line->full = true; /* nothing is added after a gap */
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

/* Adds a character of a value so that it can neither end the value nor the line. */
static void line_add_escaped(struct line *line, char c, bool quoted)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char byte = (unsigned char)c;
    if (c == '\n') {
        line_add(line, "\\n", 2);
    } else if (c == '\t') {
        line_add(line, "\\t", 2);
    } else if (c == '\r') {
        line_add(line, "\\r", 2);
    } else if (byte < 0x20 || byte == 0x7f) {
        const char escape[4] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
        line_add(line, escape, sizeof escape);
    } else if (quoted && (c == '"' || c == '\\')) {
        const char escape[2] = {'\\', c};
        line_add(line, escape, sizeof escape);
    } else {
        line_add(line, &c, 1);
    }
}

/* Adds the text of one conversion. A text that stands alone behind '=' and would not read back as
 * one value is quoted. */
static void line_add_value(struct line *line, const char *text, bool alone)
{
    bool quote = !line->quoted && alone && (text[0] == '\0' || strpbrk(text, " \"=\t\n\r") != NULL);
    if (quote) {
        line_add(line, "\"", 1);
    }
    for (const char *p = text; *p != '\0' && !line->full; p++) {
        line_add_escaped(line, *p, line->quoted || quote);
    }
    if (quote) {
        if (line->full) {
            line->quoted = true; /* closed at the end of the line */
        } else {
            line_add(line, "\"", 1);
        }
    }
}

/* One conversion of a format. */
struct conversion {
    char spec[SPEC_SIZE]; /* with its widths filled in */
    char kind;            /* 'd', 's', … */
    char length[3];       /* "", "l", "ll", "z", … */
    int precision;        /* of %s; -1: none */
};

/* Reads the conversion behind '%' and gives what follows it; NULL when it is none that we know. */
static const char *conversion_read(const char *p, struct conversion *conversion, va_list *args)
{
    char fixed[SPEC_SIZE];
    size_t size = 0;
    fixed[size++] = '%';
    conversion->precision = -1;
    conversion->length[0] = '\0';
    bool dot = false;
    for (; *p != '\0' && strchr("-+ #0123456789.*", *p) != NULL; p++) {
        if (size + 12 > sizeof fixed) {
            return NULL;
        }
        if (*p == '*') {
            int number = va_arg(*args, int);
            int wrote = snprintf(fixed + size, sizeof fixed - size, "%d", number);
            size += wrote > 0 ? (size_t)wrote : 0;
            if (dot) {
                conversion->precision = number;
            }
            continue;
        }
        if (*p == '.') {
            dot = true;
            conversion->precision = 0;
        } else if (dot && *p >= '0' && *p <= '9' && conversion->precision < TEXT_SIZE) {
            conversion->precision = conversion->precision * 10 + (*p - '0');
        }
        fixed[size++] = *p;
    }
    size_t length = 0;
    for (; *p != '\0' && strchr("hljzt", *p) != NULL && length < 2; p++) {
        conversion->length[length++] = *p;
    }
    conversion->length[length] = '\0';
    conversion->kind = *p;
    if (*p == '\0') {
        return NULL;
    }
    const char *modifier = strchr("diuxXo", *p) != NULL ? "j" : "";
    (void)snprintf(conversion->spec, sizeof conversion->spec, "%.*s%s%c", (int)size, fixed,
                   modifier, *p);
    return p + 1;
}

static intmax_t take_signed(const char *length, va_list *args)
{
    if (strcmp(length, "ll") == 0) {
        return va_arg(*args, long long);
    }
    switch (length[0]) {
    case 'l':
        return va_arg(*args, long);
    case 'j':
        return va_arg(*args, intmax_t);
    case 'z':
    case 't':
        return va_arg(*args, ptrdiff_t);
    default:
        return va_arg(*args, int);
    }
}

static uintmax_t take_unsigned(const char *length, va_list *args)
{
    if (strcmp(length, "ll") == 0) {
        return va_arg(*args, unsigned long long);
    }
    switch (length[0]) {
    case 'l':
        return va_arg(*args, unsigned long);
    case 'j':
        return va_arg(*args, uintmax_t);
    case 'z':
    case 't':
        return va_arg(*args, size_t);
    default:
        return va_arg(*args, unsigned);
    }
}

/* The formats come from literals that the compiler has checked (see the attribute of saga_log). */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static bool conversion_print(const struct conversion *conversion, va_list *args,
                             char text[TEXT_SIZE])
{
    const char *spec = conversion->spec;
    switch (conversion->kind) {
    case 'd':
    case 'i':
        (void)snprintf(text, TEXT_SIZE, spec, take_signed(conversion->length, args));
        return true;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        (void)snprintf(text, TEXT_SIZE, spec, take_unsigned(conversion->length, args));
        return true;
    case 'c':
        (void)snprintf(text, TEXT_SIZE, spec, va_arg(*args, int));
        return true;
    case 'f':
    case 'e':
    case 'g':
        (void)snprintf(text, TEXT_SIZE, spec, va_arg(*args, double));
        return true;
    case 'p':
        (void)snprintf(text, TEXT_SIZE, spec, va_arg(*args, void *));
        return true;
    case 's': {
        const char *value = va_arg(*args, const char *);
        (void)snprintf(text, TEXT_SIZE, spec, value == NULL ? "(null)" : value);
        return true;
    }
    default:
        return false;
    }
}
#pragma GCC diagnostic pop

/* Formats by hand, because a value's quotes must be told from those of the format. */
static void line_format(struct line *line, const char *format, va_list *args)
{
    char before = ' ';
    for (const char *p = format; *p != '\0' && !line->full;) {
        if (*p != '%' || p[1] == '%') {
            if (*p == '"') {
                line->quoted = !line->quoted;
            }
            line_add(line, p, 1);
            before = *p;
            p += *p == '%' ? 2 : 1;
            continue;
        }
        struct conversion conversion;
        char text[TEXT_SIZE];
        const char *next = conversion_read(p + 1, &conversion, args);
        if (next == NULL || !conversion_print(&conversion, args, text)) {
            line_add(line, "?", 1); /* the arguments behind it cannot be found */
            return;
        }
        line_add_value(line, text, before == '=' && (*next == ' ' || *next == '\0'));
        before = conversion.kind;
        p = next;
    }
}

static void line_head(struct line *line, enum saga_log_level level, const char *event)
{
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    char day[24];
    size_t size = strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
    char head[256];
    int wrote =
        snprintf(head, sizeof head, "time=%.*s.%03dZ level=%s program=%s event=%s", (int)size, day,
                 (int)(now.tv_nsec / 1000000), level_names[level], log_program, event);
    if (wrote > 0) {
        line_add(line, head, (size_t)wrote < sizeof head ? (size_t)wrote : sizeof head - 1);
    }
}

void saga_log(enum saga_log_level level, const char *event, const char *format, ...)
{
    if (level < log_level) {
        return;
    }
    int kept = errno; /* a log line must not change what the caller is about to look at */
    struct line line;
    line.size = 0;
    line.full = false;
    line.quoted = false;
    line_head(&line, level, event);
    if (format[0] != '\0') {
        line_add(&line, " ", 1);
        va_list args;
        va_start(args, format);
        line_format(&line, format, &args);
        va_end(args);
    }
    if (line.quoted) {
        line.text[line.size++] = '"';
    }
    line.text[line.size++] = '\n';
    size_t done = 0;
    while (done < line.size) {
        ssize_t wrote = write(STDERR_FILENO, line.text + done, line.size - done);
        if (wrote < 0 && errno != EINTR) {
            break; /* nowhere to say it */
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    errno = kept;
}
