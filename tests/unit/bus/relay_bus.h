/* A bus made up for tests of the relay: the room's producer, in memory. A test decides what becomes
 * of each record, which topics there are, and sees every record that was produced, in order. */
#ifndef SAGA_TESTS_RELAY_BUS_H
#define SAGA_TESTS_RELAY_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bus/kafka/kafka.h"

enum {
    BUS_WAIT_MS = 60000,
    BUS_TEXT_SIZE = 24,
    BUS_STARTS_MAX = 32,
    BUS_TOPIC_MISSING_MAX = 4,
};

/* What becomes of a record when it is produced. */
enum bus_verdict {
    BUS_TAKEN,   /* acknowledged at once, before produce returns */
    BUS_HELD,    /* under way until the test says so */
    BUS_REFUSED, /* its delivery fails: too large */
    BUS_LOST,    /* its delivery fails: for another reason */
    BUS_FULL,    /* not queued: no room */
    BUS_LARGE,   /* not queued: larger than a producer takes */
    BUS_ENDED,   /* not queued: the producer is at its end */
};

struct bus_record {
    char topic[BUS_TEXT_SIZE];
    char value[BUS_TEXT_SIZE];
    uint64_t token;
    size_t start; /* the how manyth producer it went to: 1, 2, … */
    enum bus_verdict verdict;
};

/* A producer as it was made. */
struct bus_start {
    bool in_order;
    int batch_max;
};

/* Judges a record. Called under the bus's mutex, with how often it was produced before. */
typedef enum bus_verdict bus_judge(void *user, const char *topic, const char *value, size_t before);

struct bus {
    pthread_mutex_t mutex;
    bus_judge *judge; /* NULL: all are taken */
    void *user;
    struct bus_record *records;
    size_t count;
    size_t capacity;
    struct bus_start starts[BUS_STARTS_MAX];
    size_t start_count;
    size_t starts_to_fail; /* so many more */
    size_t live;           /* producers that were not freed */
    struct saga_kafka_producer *producer;
    const char *missing[BUS_TOPIC_MISSING_MAX]; /* topics that are not there */
    bool silent;                                /* nobody answers who asks for a topic */
    size_t asked;
};

/* The one bus; made empty by bus_open. */
extern struct bus bus;

void bus_open(bus_judge *judge, void *user);
void bus_close(void);

/* Makes a topic missing, or there. */
void bus_miss(const char *topic);
void bus_find(const char *topic);
void bus_set_silent(bool silent);

/* Counts what was produced with a value, and how much of that was acknowledged. */
size_t bus_produced(const char *value);
size_t bus_acknowledged(const char *value);

size_t bus_count(void);
size_t bus_start_count(void);
size_t bus_asked(void);

/* Ends the wait of all that is held with a value: acknowledged, or lost. */
void bus_release(const char *value, enum bus_verdict verdict);

#endif
