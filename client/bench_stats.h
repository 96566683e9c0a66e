/* What a benchmark counts: latencies, results, CPU time. Pure but for reading /proc. */
#ifndef SAGA_CLIENT_BENCH_STATS_H
#define SAGA_CLIENT_BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum {
    SAGA_BENCH_RESULTS_MAX = 32,           /* different results; further ones count as "other" */
    SAGA_BENCH_RESULT_SIZE = 64,           /* bytes of a result's name */
    SAGA_BENCH_SAMPLES_MAX = 64 * 1000000, /* latencies kept */
};

/* How often one result came. */
struct saga_bench_result {
    char name[SAGA_BENCH_RESULT_SIZE]; /* "APPROVED", "REJECTED OUT_OF_STOCK", "HTTP 503" */
    uint64_t count;
};

/* All zero is an empty one. */
struct saga_bench_stats {
    uint32_t *samples_us;
    size_t count;
    size_t capacity;
    bool sorted;
    struct saga_bench_result results[SAGA_BENCH_RESULTS_MAX];
    size_t result_count;
};

/* Counts one latency. Errors: NO_MEMORY; LIMIT. */
enum saga_err saga_bench_add(struct saga_bench_stats *stats, int64_t latency_us) SAGA_WARN_UNUSED;

/* Counts one result. */
void saga_bench_add_result(struct saga_bench_stats *stats, const char *name);

/* Gives the smallest latency that at least `permille` of all do not exceed; 0 when there is none.
 */
int64_t saga_bench_quantile_us(struct saga_bench_stats *stats, unsigned permille);

/* Frees; it is then empty. */
void saga_bench_fini(struct saga_bench_stats *stats);

/* A range of ids, both ends included. */
struct saga_bench_range {
    int64_t first;
    int64_t last;
};

/* Reads "1-90" or "7". Errors: INVALID. */
enum saga_err saga_bench_range_parse(const char *text,
                                     struct saga_bench_range *range) SAGA_WARN_UNUSED;

/* Reads the user and system time from the text of /proc/PID/stat, in clock ticks. The name in it
 * may hold blanks and brackets. Errors: MALFORMED. */
enum saga_err saga_bench_ticks_parse(const char *stat, uint64_t *ticks) SAGA_WARN_UNUSED;

/* Reads the CPU time of a process in milliseconds; -1 when it cannot be read. */
int64_t saga_bench_cpu_ms(int64_t pid);

#endif
