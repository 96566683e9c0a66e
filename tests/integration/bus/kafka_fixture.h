/* What the tests of Kafka share: topics of one's own, a consumer that collects, an outbox in
 * memory. */
#ifndef SAGA_TESTS_KAFKA_FIXTURE_H
#define SAGA_TESTS_KAFKA_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bus/kafka/kafka.h"

enum {
    COLLECT_VALUE_SIZE = 48,
    COLLECT_KEY_SIZE = 24,
    COLLECT_PARTITIONS_MAX = 16,
    KAFKA_WAIT_MS = 60000,
};

/* A topic name that no other test has. */
struct kafka_topic_name {
    char text[64];
};

struct kafka_topic_name kafka_topic_unique(const char *what);

/* Creates a topic; fails the test otherwise. */
void kafka_topic_make(const struct saga_kafka_config *config, const char *name, int32_t partitions);

/* Creates a topic with a limit on its batches; and changes that limit. */
void kafka_topic_make_limited(const struct saga_kafka_config *config, const char *name,
                              int32_t partitions, const char *bytes_max);
void kafka_topic_limit(const struct saga_kafka_config *config, const char *name,
                       const char *bytes_max);

/* Gives a topic more partitions. */
void kafka_topic_delete(const struct saga_kafka_config *config, const char *name);
void kafka_topic_grow(const struct saga_kafka_config *config, const char *name, int32_t partitions);

/* One record as it came. */
struct collected {
    char key[COLLECT_KEY_SIZE];
    char value[COLLECT_VALUE_SIZE];
    int32_t partition;
    int64_t offset;
};

/* Keeps every record in the order of coming; the user of a consumer. */
struct collector {
    pthread_mutex_t mutex;
    struct collected *records;
    size_t count;
    size_t capacity;
    size_t refuse; /* how many records are refused before one is taken */
    int64_t positions[COLLECT_PARTITIONS_MAX]; /* where to begin, by partition */
};

void collector_init(struct collector *collector);
void collector_fini(struct collector *collector);
bool collector_received(void *user, const struct saga_kafka_record *record);
int64_t collector_position(void *user, const char *topic, int32_t partition);
size_t collector_count(struct collector *collector);

/* Waits until `count` records came; gives false after KAFKA_WAIT_MS. */
bool collector_wait(struct collector *collector, size_t count);

/* Starts a consumer of one topic that fills a collector. */
struct saga_kafka_consumer *collector_start(struct collector *collector,
                                            const struct saga_kafka_config *config,
                                            const char *topic);

/* An outbox in memory: row i (1, 2, …) is the i-th record of key (i % keys), value "key/number in
 * the key". */
struct outbox {
    pthread_mutex_t mutex;
    const char *topic;
    const char *last_topic; /* of the last key's rows; NULL: as the others */
    size_t keys;
    int64_t committed;   /* rows that are there */
    int64_t advanced;    /* what the relay has told */
    bool went_back;      /* it told a lower position than before */
    size_t delivered;    /* rows told to be on Kafka before the prefix has them */
    bool delivered_last; /* one of the last key's was among them */
    size_t fetches;
    int64_t large;     /* a row of two records: "0/0", and its value padded with spaces; 0: none */
    size_t large_size; /* to this size */
    char *large_text;
    char (*keys_text)[COLLECT_KEY_SIZE];
    char (*values_text)[COLLECT_VALUE_SIZE];
};

void outbox_init(struct outbox *outbox, const char *topic, size_t keys);
void outbox_fini(struct outbox *outbox);
void outbox_commit(struct outbox *outbox, int64_t rows);
int64_t outbox_advanced(struct outbox *outbox);
size_t outbox_fetches(struct outbox *outbox);
bool outbox_wait_advanced(struct outbox *outbox, int64_t position);
struct saga_relay *outbox_relay(struct outbox *outbox, const struct saga_kafka_config *config,
                                size_t outstanding_max);

/* Checks what was collected against the outbox: each key's rows 1 … n all came, and their first
 * appearances are in order. Repeats are allowed and counted. */
size_t outbox_check(const struct outbox *outbox, struct collector *collector);

#endif
