#include "tests/unit/bus/relay_bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/bus/kafka/client.h"

struct saga_kafka_producer {
    saga_kafka_delivered *delivered;
    void *user;
    size_t start;
    size_t held;
};

struct bus bus;

static void lock(void)
{
    (void)pthread_mutex_lock(&bus.mutex);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&bus.mutex);
}

void bus_open(bus_judge *judge, void *user)
{
    bus = (struct bus){.judge = judge, .user = user};
    assert_int_equal(pthread_mutex_init(&bus.mutex, NULL), 0);
}

void bus_close(void)
{
    assert_int_equal(bus.live, 0);
    free(bus.records);
    (void)pthread_mutex_destroy(&bus.mutex);
}

void bus_miss(const char *topic)
{
    lock();
    size_t place = 0;
    while (place < BUS_TOPIC_MISSING_MAX - 1 && bus.missing[place] != NULL) {
        place++;
    }
    bus.missing[place] = topic;
    unlock();
}

void bus_find(const char *topic)
{
    lock();
    for (size_t i = 0; i < BUS_TOPIC_MISSING_MAX; i++) {
        if (bus.missing[i] != NULL && strcmp(bus.missing[i], topic) == 0) {
            bus.missing[i] = NULL;
        }
    }
    unlock();
}

void bus_set_silent(bool silent)
{
    lock();
    bus.silent = silent;
    unlock();
}

/* Pre: the mutex is held. */
static size_t count_of(const char *value, bool acknowledged)
{
    size_t count = 0;
    for (size_t i = 0; i < bus.count; i++) {
        count += strcmp(bus.records[i].value, value) == 0 &&
                 (!acknowledged || bus.records[i].verdict == BUS_TAKEN);
    }
    return count;
}

size_t bus_produced(const char *value)
{
    lock();
    size_t count = count_of(value, false);
    unlock();
    return count;
}

size_t bus_acknowledged(const char *value)
{
    lock();
    size_t count = count_of(value, true);
    unlock();
    return count;
}

static size_t get(const size_t *number)
{
    lock();
    size_t value = *number;
    unlock();
    return value;
}

size_t bus_count(void)
{
    return get(&bus.count);
}

size_t bus_start_count(void)
{
    return get(&bus.start_count);
}

size_t bus_asked(void)
{
    return get(&bus.asked);
}

static enum saga_err err_of(enum bus_verdict verdict)
{
    if (verdict == BUS_TAKEN) {
        return SAGA_ERR_OK;
    }
    return verdict == BUS_REFUSED ? SAGA_ERR_LIMIT : SAGA_ERR_UNAVAILABLE;
}

void bus_release(const char *value, enum bus_verdict verdict)
{
    for (size_t i = 0; i < bus_count(); i++) {
        lock();
        struct bus_record *record = &bus.records[i];
        struct saga_kafka_producer *producer = bus.producer;
        bool waits = record->verdict == BUS_HELD && strcmp(record->value, value) == 0 &&
                     producer != NULL && producer->start == record->start;
        uint64_t token = record->token;
        if (waits) {
            record->verdict = verdict;
            producer->held--;
        }
        unlock();
        if (waits) {
            producer->delivered(producer->user, token, err_of(verdict));
        }
    }
}

/* ---- The producer of the room ---- */

enum saga_err saga_kafka_producer_start(const struct saga_kafka_config *config,
                                        saga_kafka_delivered *delivered, void *user,
                                        struct saga_kafka_producer **producer,
                                        struct saga_err_detail *detail)
{
    (void)detail;
    struct saga_kafka_producer *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        abort();
    }
    lock();
    bool fails = bus.starts_to_fail > 0;
    if (fails) {
        bus.starts_to_fail--;
    } else {
        if (bus.start_count < BUS_STARTS_MAX) {
            bus.starts[bus.start_count] =
                (struct bus_start){.in_order = config->in_order, .batch_max = config->batch_max};
        }
        bus.start_count++;
        bus.live++;
        *made = (struct saga_kafka_producer){
            .delivered = delivered, .user = user, .start = bus.start_count};
        bus.producer = made;
    }
    unlock();
    if (fails) {
        free(made);
        return SAGA_ERR_NO_MEMORY;
    }
    *producer = made;
    return SAGA_ERR_OK;
}

void saga_kafka_producer_free(struct saga_kafka_producer *producer)
{
    if (producer != NULL) {
        lock();
        bus.live--;
        bus.producer = NULL;
        unlock();
        free(producer);
    }
}

static void copy_text(char *text, const void *data, size_t size)
{
    size_t count = size < BUS_TEXT_SIZE - 1 ? size : BUS_TEXT_SIZE - 1;
    memcpy(text, data, count);
    text[count] = '\0';
}

/* Pre: the mutex is held. */
static void append(const struct bus_record *record)
{
    if (bus.count == bus.capacity) {
        bus.capacity = bus.capacity == 0 ? 1024 : bus.capacity * 2;
        bus.records = realloc(bus.records, bus.capacity * sizeof(*bus.records));
        if (bus.records == NULL) {
            abort();
        }
    }
    bus.records[bus.count++] = *record;
}

enum saga_err saga_kafka_produce(struct saga_kafka_producer *producer,
                                 const struct saga_kafka_record *record, uint64_t token)
{
    struct bus_record kept = {.token = token, .start = producer->start, .verdict = BUS_TAKEN};
    copy_text(kept.topic, record->topic, strlen(record->topic));
    copy_text(kept.value, record->value.data, record->value.size);
    lock();
    if (bus.judge != NULL) {
        kept.verdict = bus.judge(bus.user, kept.topic, kept.value, count_of(kept.value, false));
    }
    bool queued =
        kept.verdict != BUS_FULL && kept.verdict != BUS_LARGE && kept.verdict != BUS_ENDED;
    if (queued || kept.verdict == BUS_LARGE) {
        append(&kept);
    }
    producer->held += kept.verdict == BUS_HELD;
    unlock();
    if (kept.verdict == BUS_FULL) {
        return SAGA_ERR_FULL;
    }
    if (!queued) {
        return kept.verdict == BUS_LARGE ? SAGA_ERR_LIMIT : SAGA_ERR_UNAVAILABLE;
    }
    if (kept.verdict != BUS_HELD) {
        producer->delivered(producer->user, token, err_of(kept.verdict));
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_kafka_find_topic(struct saga_kafka_producer *producer, const char *topic,
                                    int timeout_ms)
{
    (void)producer;
    (void)timeout_ms;
    enum saga_err err = SAGA_ERR_OK;
    lock();
    bus.asked++;
    for (size_t i = 0; i < BUS_TOPIC_MISSING_MAX; i++) {
        if (bus.missing[i] != NULL && strcmp(bus.missing[i], topic) == 0) {
            err = SAGA_ERR_NOT_FOUND;
        }
    }
    if (bus.silent) {
        err = SAGA_ERR_UNAVAILABLE;
    }
    unlock();
    return err;
}

bool saga_kafka_producer_up(const struct saga_kafka_producer *producer)
{
    (void)producer;
    return true;
}

/* Nothing that is held is delivered by waiting. */
enum saga_err saga_kafka_flush(struct saga_kafka_producer *producer, int64_t timeout_ms)
{
    (void)timeout_ms;
    lock();
    size_t held = producer->held;
    unlock();
    return held == 0 ? SAGA_ERR_OK : SAGA_ERR_TIMEOUT;
}
