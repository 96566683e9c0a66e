/* The report as JUnit XML, which build servers show. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/wire.h"
#include "verify/certify/internal.h"

struct writer {
    struct saga_buf *out;
    enum saga_err err;
};

static void put(struct writer *writer, const char *text)
{
    if (writer->err == SAGA_ERR_OK) {
        writer->err = saga_buf_append(writer->out, saga_bytes_text(text));
    }
}

static void put_format(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Numbers only: short. */
static void put_format(struct writer *writer, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(writer, text);
}

/* Gives the size of the character that begins a text: 0 when it is none that XML 1.0 can hold. */
static size_t character(struct saga_bytes text)
{
    uint8_t lead = text.data[0];
    size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if ((lead < ' ' && lead != '\n') || lead == 0x7f || size > text.size ||
        !saga_wire_utf8((struct saga_bytes){text.data, size})) {
        return 0;
    }
    /* U+FFFE and U+FFFF are UTF-8, but no characters. */
    bool none = size == 3 && lead == 0xef && text.data[1] == 0xbf && text.data[2] >= 0xbe;
    return none ? 0 : size;
}

static const char *escape_of(uint8_t byte)
{
    switch (byte) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&apos;";
    case '\n':
        return "&#10;";
    default:
        return NULL;
    }
}

/* Writes text for XML 1.0: markup is escaped, what XML cannot hold becomes '?'. */
static void put_escaped(struct writer *writer, const char *text)
{
    struct saga_bytes rest = saga_bytes_text(text);
    while (rest.size > 0 && writer->err == SAGA_ERR_OK) {
        size_t size = character(rest);
        const char *escape = escape_of(rest.data[0]);
        if (escape != NULL || size == 0) {
            put(writer, escape != NULL ? escape : "?");
            size = 1;
        } else {
            writer->err = saga_buf_append(writer->out, (struct saga_bytes){rest.data, size});
        }
        rest.data += size;
        rest.size -= size;
    }
}

static void put_attribute(struct writer *writer, const char *name, const char *value)
{
    put(writer, " ");
    put(writer, name);
    put(writer, "=\"");
    put_escaped(writer, value);
    put(writer, "\"");
}

static void put_line(struct writer *writer, const char *name, const char *value)
{
    put_escaped(writer, name);
    put(writer, ": ");
    put_escaped(writer, value);
    put(writer, "\n");
}

static void put_failure(struct writer *writer, const struct saga_certify_result *result)
{
    put(writer, ">\n      <failure");
    put_attribute(writer, "type", result->about->rule);
    put_attribute(writer, "message", result->reason);
    put(writer, ">");
    put_line(writer, "sent", result->sent);
    put_line(writer, "expected", result->about->expected);
    put_line(writer, "got", result->got);
    put_line(writer, "to mend", result->about->hint);
    put(writer, "</failure>\n    </testcase>\n");
}

static void put_case(struct writer *writer, const struct saga_certify_result *result)
{
    char class[64];
    (void)snprintf(class, sizeof class, "certify.%s",
                   result->step == NULL ? "participant" : result->step->name);
    put(writer, "    <testcase");
    put_attribute(writer, "classname", class);
    put_attribute(writer, "name", result->about->id);
    put_format(writer, " time=\"%" PRId64 ".%03" PRId64 "\"", result->took_ms / 1000,
               result->took_ms % 1000);
    switch (result->verdict) {
    case SAGA_CERTIFY_PASS:
        put(writer, "/>\n");
        break;
    case SAGA_CERTIFY_FAIL:
        put_failure(writer, result);
        break;
    case SAGA_CERTIFY_SKIP:
        put(writer, ">\n      <skipped");
        put_attribute(writer, "message", result->reason);
        put(writer, "/>\n    </testcase>\n");
        break;
    }
}

/* What each rule has come to, in the words of the JSON report; and how many cases matter that were
 * not judged. */
static void put_rules(struct writer *writer, const struct saga_certify_report *report)
{
    const char *rule = NULL;
    const char *word = NULL;
    for (size_t i = 0; (word = certify_rule_word(report, i, &rule)) != NULL; i++) {
        put(writer, "      <property");
        put_attribute(writer, "name", rule);
        put_attribute(writer, "value", word);
        put(writer, "/>\n");
    }
    put_format(writer, "      <property name=\"central_unjudged\" value=\"%zu\"/>\n",
               saga_certify_unjudged(report));
}

enum saga_err saga_certify_report_junit(const struct saga_certify_report *report,
                                        const struct saga_certify_head *head, struct saga_buf *out)
{
    struct writer writer = {.out = out, .err = SAGA_ERR_OK};
    int64_t took_ms = 0;
    for (size_t i = 0; i < report->count; i++) {
        took_ms += report->results[i].took_ms;
    }
    put(&writer, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite");
    put_attribute(&writer, "name", head->address);
    put_format(&writer,
               " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\" time=\"%" PRId64
               ".%03" PRId64 "\">\n",
               report->count, report->failed, report->skipped, took_ms / 1000, took_ms % 1000);
    put_format(&writer,
               "    <properties>\n      <property name=\"seed\" value=\"%" PRIu64
               "\"/>\n      <property name=\"outcome\"",
               head->seed);
    put_attribute(&writer, "value", saga_certify_outcome_name(saga_certify_outcome(report)));
    put(&writer, "/>\n");
    put_rules(&writer, report);
    put(&writer, "    </properties>\n");
    for (size_t i = 0; i < report->count; i++) {
        put_case(&writer, &report->results[i]);
    }
    put(&writer, "  </testsuite>\n</testsuites>\n");
    return writer.err;
}
