/* Metrics: counters, gauges and log-linear histograms with Prometheus names. Updates are lock-free,
 * any thread. */
#ifndef SAGA_SYS_METRICS_H
#define SAGA_SYS_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

/* Histogram of microseconds: 8 linear parts per power of two, 1 µs to about 1 hour. */
enum { SAGA_HISTOGRAM_BUCKETS = 256 };

struct saga_histogram {
    _Atomic uint64_t count;
    _Atomic uint64_t sum_us;
    _Atomic uint64_t buckets[SAGA_HISTOGRAM_BUCKETS];
};

/* Counts one duration. */
void saga_histogram_add(struct saga_histogram *histogram, int64_t duration_us);

/* Gives the duration below which `permille` of the counted lie, in µs; 0 when none was counted. */
int64_t saga_histogram_quantile_us(const struct saga_histogram *histogram, unsigned permille);

enum saga_metric_kind { SAGA_METRIC_COUNTER, SAGA_METRIC_GAUGE, SAGA_METRIC_HISTOGRAM };

/* One metric of a table; the table is static, its values are pointed to. */
struct saga_metric {
    enum saga_metric_kind kind;
    const char *name;   /* "saga_started_total", "saga_turn_seconds" */
    const char *labels; /* "state=\"running\"" or NULL; bounded, fixed at build time */
    const char *help;
    const _Atomic int64_t *value;           /* counter, gauge */
    const struct saga_histogram *histogram; /* histogram */
};

/* Appends the table in Prometheus' text format 0.0.4. Errors: NO_MEMORY. */
enum saga_err saga_metrics_render(const struct saga_metric *metrics, size_t count,
                                  struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
