#include "common/sys/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"

/* A bucket holds the durations that share their highest bit and the 3 bits below it; those under 8
 * have one each. */
enum { LINEAR_BITS = 3, LINEAR = 1 << LINEAR_BITS };

/* What is shown of a histogram: one bucket per power of two, 16 µs to 134 s. */
enum { SHOWN_BITS_MIN = 4, SHOWN_BITS_MAX = 27 };

static unsigned bucket_of(uint64_t value)
{
    if (value < LINEAR) {
        return (unsigned)value;
    }
    unsigned high = 63U - (unsigned)__builtin_clzll(value);
    unsigned part = (unsigned)(value >> (high - LINEAR_BITS)) & (LINEAR - 1);
    unsigned bucket = (high - LINEAR_BITS + 1) * LINEAR + part;
    return bucket < SAGA_HISTOGRAM_BUCKETS ? bucket : SAGA_HISTOGRAM_BUCKETS - 1;
}

/* The highest value that falls into a bucket. */
static uint64_t bucket_top(unsigned bucket)
{
    if (bucket < LINEAR) {
        return bucket;
    }
    unsigned high = bucket / LINEAR + LINEAR_BITS - 1;
    uint64_t part = bucket % LINEAR;
    return ((LINEAR + part + 1) << (high - LINEAR_BITS)) - 1;
}

void saga_histogram_add(struct saga_histogram *histogram, int64_t duration_us)
{
    uint64_t value = duration_us < 0 ? 0 : (uint64_t)duration_us;
    atomic_fetch_add_explicit(&histogram->buckets[bucket_of(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, value, memory_order_relaxed);
}

static uint64_t bucket_count(const struct saga_histogram *histogram, unsigned bucket)
{
    return atomic_load_explicit(&histogram->buckets[bucket], memory_order_relaxed);
}

int64_t saga_histogram_quantile_us(const struct saga_histogram *histogram, unsigned permille)
{
    SAGA_ASSERT(permille <= 1000);
    /* Not `count`: the buckets are read one after the other while others add. */
    uint64_t total = 0;
    for (unsigned i = 0; i < SAGA_HISTOGRAM_BUCKETS; i++) {
        total += bucket_count(histogram, i);
    }
    if (total == 0) {
        return 0;
    }
    uint64_t rank = total / 1000 * permille + (total % 1000 * permille + 999) / 1000;
    if (rank == 0) {
        rank = 1;
    }
    uint64_t seen = 0;
    unsigned last = 0;
    for (unsigned i = 0; i < SAGA_HISTOGRAM_BUCKETS; i++) {
        uint64_t here = bucket_count(histogram, i);
        seen += here;
        if (here > 0) {
            last = i;
        }
        if (seen >= rank) {
            break;
        }
    }
    return (int64_t)bucket_top(last);
}

/* ---- Prometheus' text format ---- */

struct writer {
    struct saga_buf *out;
    enum saga_err err; /* the first; nothing is written after it */
};

static void put(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct writer *writer, const char *format, ...)
{
    if (writer->err != SAGA_ERR_OK) {
        return;
    }
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    SAGA_ASSERT(size >= 0);
    writer->err = saga_buf_reserve(writer->out, (size_t)size + 1);
    if (writer->err == SAGA_ERR_OK) {
        (void)vsnprintf((char *)writer->out->data + writer->out->size, (size_t)size + 1, format,
                        again);
        writer->out->size += (size_t)size;
    }
    va_end(again);
}

/* HELP text: the format knows two escapes. */
static void put_help(struct writer *writer, const struct saga_metric *metric)
{
    put(writer, "# HELP %s ", metric->name);
    for (const char *p = metric->help; *p != '\0'; p++) {
        if (*p == '\\') {
            put(writer, "\\\\");
        } else if (*p == '\n') {
            put(writer, "\\n");
        } else {
            put(writer, "%c", *p);
        }
    }
    static const char *const kinds[] = {
        [SAGA_METRIC_COUNTER] = "counter",
        [SAGA_METRIC_GAUGE] = "gauge",
        [SAGA_METRIC_HISTOGRAM] = "histogram",
    };
    put(writer, "\n# TYPE %s %s\n", metric->name, kinds[metric->kind]);
}

static void put_histogram(struct writer *writer, const struct saga_metric *metric)
{
    const struct saga_histogram *histogram = metric->histogram;
    const char *labels = metric->labels == NULL ? "" : metric->labels;
    const char *comma = labels[0] == '\0' ? "" : ",";
    uint64_t sum_us = atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
    uint64_t seen = 0;
    unsigned next = 0;
    for (unsigned bits = SHOWN_BITS_MIN; bits <= SHOWN_BITS_MAX; bits++) {
        uint64_t bound = UINT64_C(1) << bits;
        while (next < SAGA_HISTOGRAM_BUCKETS && bucket_top(next) < bound) {
            seen += bucket_count(histogram, next);
            next++;
        }
        put(writer, "%s_bucket{%s%sle=\"%" PRIu64 ".%06" PRIu64 "\"} %" PRIu64 "\n", metric->name,
            labels, comma, bound / 1000000, bound % 1000000, seen);
    }
    for (; next < SAGA_HISTOGRAM_BUCKETS; next++) {
        seen += bucket_count(histogram, next);
    }
    put(writer, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", metric->name, labels, comma, seen);
    const char *open = labels[0] == '\0' ? "" : "{";
    const char *close = labels[0] == '\0' ? "" : "}";
    put(writer, "%s_sum%s%s%s %" PRIu64 ".%06" PRIu64 "\n", metric->name, open, labels, close,
        sum_us / 1000000, sum_us % 1000000);
    put(writer, "%s_count%s%s%s %" PRIu64 "\n", metric->name, open, labels, close, seen);
}

static void put_value(struct writer *writer, const struct saga_metric *metric)
{
    int64_t value = atomic_load_explicit(metric->value, memory_order_relaxed);
    if (metric->labels == NULL || metric->labels[0] == '\0') {
        put(writer, "%s %" PRId64 "\n", metric->name, value);
    } else {
        put(writer, "%s{%s} %" PRId64 "\n", metric->name, metric->labels, value);
    }
}

enum saga_err saga_metrics_render(const struct saga_metric *metrics, size_t count,
                                  struct saga_buf *out)
{
    struct writer writer = {.out = out, .err = SAGA_ERR_OK};
    const char *name = "";
    for (size_t i = 0; i < count; i++) {
        const struct saga_metric *metric = &metrics[i];
        /* Rows of one name follow each other and differ in their labels. */
        if (strcmp(name, metric->name) != 0) {
            put_help(&writer, metric);
            name = metric->name;
        }
        if (metric->kind == SAGA_METRIC_HISTOGRAM) {
            put_histogram(&writer, metric);
        } else {
            put_value(&writer, metric);
        }
    }
    return writer.err;
}
