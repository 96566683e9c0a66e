/* What a benchmark counts. See bench_stats.h. */
#include "client/bench_stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum saga_err saga_bench_add(struct saga_bench_stats *stats, int64_t latency_us)
{
    if (stats->count == stats->capacity) {
        size_t capacity = stats->capacity == 0 ? 65536 : stats->capacity * 2;
        if (capacity > SAGA_BENCH_SAMPLES_MAX) {
            return SAGA_ERR_LIMIT;
        }
        uint32_t *samples = realloc(stats->samples_us, capacity * sizeof *samples);
        if (samples == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        stats->samples_us = samples;
        stats->capacity = capacity;
    }
    latency_us = latency_us < 0 ? 0 : latency_us;
    stats->samples_us[stats->count++] = latency_us > UINT32_MAX ? UINT32_MAX : (uint32_t)latency_us;
    stats->sorted = false;
    return SAGA_ERR_OK;
}

void saga_bench_add_result(struct saga_bench_stats *stats, const char *name)
{
    size_t i = 0;
    while (i < stats->result_count &&
           strncmp(stats->results[i].name, name, SAGA_BENCH_RESULT_SIZE - 1) != 0) {
        i++;
    }
    if (i == SAGA_BENCH_RESULTS_MAX) {
        i = SAGA_BENCH_RESULTS_MAX - 1;
        snprintf(stats->results[i].name, sizeof stats->results[i].name, "other");
    } else if (i == stats->result_count) {
        snprintf(stats->results[i].name, sizeof stats->results[i].name, "%s", name);
        stats->result_count++;
    }
    stats->results[i].count++;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int64_t saga_bench_quantile_us(struct saga_bench_stats *stats, unsigned permille)
{
    if (stats->count == 0) {
        return 0;
    }
    if (!stats->sorted) {
        qsort(stats->samples_us, stats->count, sizeof *stats->samples_us, compare);
        stats->sorted = true;
    }
    /* The rank of the nearest-rank method, from 1. */
    size_t rank = (stats->count * permille + 999) / 1000;
    rank = rank == 0 ? 1 : rank;
    rank = rank > stats->count ? stats->count : rank;
    return stats->samples_us[rank - 1];
}

void saga_bench_fini(struct saga_bench_stats *stats)
{
    free(stats->samples_us);
    *stats = (struct saga_bench_stats){0};
}

static bool read_number(const char **at, int64_t *value)
{
    char *end = NULL;
    if (**at < '0' || **at > '9') {
        return false;
    }
    errno = 0;
    *value = strtoll(*at, &end, 10);
    *at = end;
    return errno == 0;
}

enum saga_err saga_bench_range_parse(const char *text, struct saga_bench_range *range)
{
    struct saga_bench_range read = {0};
    if (!read_number(&text, &read.first)) {
        return SAGA_ERR_INVALID;
    }
    read.last = read.first;
    if (*text == '-') {
        text++;
        if (!read_number(&text, &read.last)) {
            return SAGA_ERR_INVALID;
        }
    }
    if (*text != 0 || read.last < read.first || read.last - read.first > INT32_MAX) {
        return SAGA_ERR_INVALID;
    }
    *range = read;
    return SAGA_ERR_OK;
}

enum saga_err saga_bench_ticks_parse(const char *stat, uint64_t *ticks)
{
    enum { USER_FIELD = 12, SYSTEM_FIELD = 13 }; /* counted from the one behind the name: 1 */
    const char *at = strrchr(stat, ')');         /* the name ends at the last bracket */
    uint64_t sum = 0;
    if (at == NULL) {
        return SAGA_ERR_MALFORMED;
    }
    at++;
    for (int field = 1; field <= SYSTEM_FIELD; field++) {
        at += strspn(at, " ");
        size_t size = strcspn(at, " \n");
        char *end = NULL;
        if (field >= USER_FIELD) {
            sum += strtoull(at, &end, 10);
        }
        if (size == 0 || (field >= USER_FIELD && end != at + size)) {
            return SAGA_ERR_MALFORMED;
        }
        at += size;
    }
    *ticks = sum;
    return SAGA_ERR_OK;
}

int64_t saga_bench_cpu_ms(int64_t pid)
{
    char path[64];
    char text[1024];
    uint64_t ticks = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return -1;
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    long per_second = sysconf(_SC_CLK_TCK);
    if (per_second <= 0 || saga_bench_ticks_parse(text, &ticks) != SAGA_ERR_OK) {
        return -1;
    }
    return (int64_t)(ticks * 1000 / (uint64_t)per_second);
}
