#include "tests/unit/bus/relay_outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/support.h"

static const struct special *special_of(const struct outbox *outbox, int64_t position)
{
    for (size_t i = 0; i < ROWS_SPECIAL_MAX; i++) {
        if (outbox->specials[i].position == position) {
            return &outbox->specials[i];
        }
    }
    return NULL;
}

static void fill_row(struct outbox *outbox, int64_t position, size_t place,
                     struct saga_relay_row *row)
{
    const struct special *special = special_of(outbox, position);
    char *value = outbox->values[2 * place];
    char *second = outbox->values[2 * place + 1];
    (void)snprintf(value, BUS_TEXT_SIZE, "%lld", (long long)position);
    *row = (struct saga_relay_row){.position = position, .record_count = 1};
    row->records[0].topic = special == NULL ? "t" : special->topic;
    row->records[0].value = saga_bytes_text(value);
    if (special != NULL && special->second_topic != NULL) {
        (void)snprintf(second, BUS_TEXT_SIZE, "%lld+", (long long)position);
        row->records[1].topic = special->second_topic;
        row->records[1].value = saga_bytes_text(second);
        row->record_count = 2;
    }
}

static enum saga_err fetch(void *user, int64_t after, size_t count_max, struct saga_relay_row *rows,
                           size_t *count, struct saga_err_detail *detail)
{
    struct outbox *outbox = user;
    (void)detail;
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->fetches++;
    bool fails = outbox->fetches_to_fail > 0;
    outbox->fetches_to_fail -= fails;
    size_t found = 0;
    count_max = outbox->fetch_max > 0 ? outbox->fetch_max : count_max;
    for (int64_t i = after + 1; !fails && i <= outbox->committed && found < count_max; i++) {
        if (i != outbox->hidden) {
            fill_row(outbox, i, found, &rows[found]);
            found++;
        }
    }
    (void)pthread_mutex_unlock(&outbox->mutex);
    *count = found;
    return fails ? SAGA_ERR_UNAVAILABLE : SAGA_ERR_OK;
}

static void advanced(void *user, int64_t position)
{
    struct outbox *outbox = user;
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->went_back = outbox->went_back || position <= outbox->advanced;
    outbox->advanced = position;
    (void)pthread_mutex_unlock(&outbox->mutex);
}

static void delivered(void *user, int64_t position)
{
    struct outbox *outbox = user;
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->ahead++;
    outbox->went_back = outbox->went_back || position <= outbox->advanced;
    (void)pthread_mutex_unlock(&outbox->mutex);
}

void open_outbox(struct outbox *outbox, bus_judge *judge, void *user)
{
    bus_open(judge, user);
    *outbox = (struct outbox){.committed = 0};
    assert_int_equal(pthread_mutex_init(&outbox->mutex, NULL), 0);
    outbox->values = calloc(2 * (size_t)SAGA_RELAY_BATCH, sizeof(*outbox->values));
    assert_non_null(outbox->values);
}

void start_relay(struct outbox *outbox, size_t outstanding_max)
{
    struct saga_relay_config config = {
        .kafka = {.bootstrap = "nobody:1", .client_id = "test"},
        .name = "test",
        .outstanding_max = outstanding_max,
        .fetch = fetch,
        .advanced = advanced,
        .delivered = delivered,
        .user = outbox,
    };
    assert_int_equal(saga_relay_start(&config, &outbox->relay, NULL), SAGA_ERR_OK);
}

void close_outbox(struct outbox *outbox)
{
    saga_relay_free(outbox->relay);
    assert_false(outbox->went_back);
    bus_close();
    free(outbox->values);
    (void)pthread_mutex_destroy(&outbox->mutex);
}

void commit(struct outbox *outbox, int64_t rows)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->committed += rows;
    (void)pthread_mutex_unlock(&outbox->mutex);
    if (outbox->relay != NULL) {
        saga_relay_wake(outbox->relay);
    }
}

int64_t advanced_to(struct outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    int64_t position = outbox->advanced;
    (void)pthread_mutex_unlock(&outbox->mutex);
    return position;
}

size_t told_ahead(struct outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    size_t count = outbox->ahead;
    (void)pthread_mutex_unlock(&outbox->mutex);
    return count;
}

/* ---- Waiting ---- */

struct awaited {
    struct outbox *outbox;
    const char *value;
    size_t (*count)(const char *value);
    size_t number;
};

static bool has_advanced(void *arg)
{
    struct awaited *awaited = arg;
    return advanced_to(awaited->outbox) >= (int64_t)awaited->number;
}

void wait_advanced(struct outbox *outbox, size_t position)
{
    struct awaited awaited = {.outbox = outbox, .number = position};
    assert_true(saga_test_until(has_advanced, &awaited, BUS_WAIT_MS));
    assert_int_equal(advanced_to(outbox), position);
}

static bool has_count(void *arg)
{
    struct awaited *awaited = arg;
    return awaited->count(awaited->value) >= awaited->number;
}

void wait_count(size_t (*count)(const char *), const char *value, size_t number)
{
    struct awaited awaited = {.value = value, .count = count, .number = number};
    assert_true(saga_test_until(has_count, &awaited, BUS_WAIT_MS));
}

size_t all_produced(const char *value)
{
    (void)value;
    return bus_count();
}

size_t starts(const char *value)
{
    (void)value;
    return bus_start_count();
}

size_t asked(const char *value)
{
    (void)value;
    return bus_asked();
}

bool is_full(void *arg)
{
    struct outbox *outbox = arg;
    char names[BUS_TEXT_SIZE];
    bool full = false;
    saga_relay_missing(outbox->relay, names, sizeof(names), &full);
    return full;
}

bool each_came_once(int64_t first, int64_t last)
{
    char *seen = calloc((size_t)(last + 1), 1);
    assert_non_null(seen);
    bool once = true;
    (void)pthread_mutex_lock(&bus.mutex);
    for (size_t i = 0; i < bus.count; i++) {
        long long row = strtoll(bus.records[i].value, NULL, 10);
        if (row >= first && row <= last) {
            once = once && bus.records[i].verdict == BUS_TAKEN && seen[row] == 0;
            seen[row] = 1;
        }
    }
    (void)pthread_mutex_unlock(&bus.mutex);
    for (int64_t row = first; row <= last; row++) {
        once = once && seen[row] == 1;
    }
    free(seen);
    return once;
}
