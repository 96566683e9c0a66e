/* An outbox in memory with its relay, on the bus that is made up. */
#ifndef SAGA_TESTS_RELAY_OUTBOX_H
#define SAGA_TESTS_RELAY_OUTBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bus/kafka/kafka.h"
#include "tests/unit/bus/relay_bus.h"

enum { ROWS_SPECIAL_MAX = 4 };

/* An outbox in memory. Row i has one record of the topic "t" with the value "i"; a special row has
 * a second one with the value "i+", and topics of its own. */
struct special {
    int64_t position;
    const char *topic;
    const char *second_topic; /* NULL: one record */
};

struct outbox {
    pthread_mutex_t mutex;
    int64_t committed;
    int64_t hidden; /* a row that is not there yet; 0: none */
    struct special specials[ROWS_SPECIAL_MAX];
    int64_t advanced;
    bool went_back;
    size_t ahead; /* rows told to be on Kafka ahead of the prefix */
    size_t fetches;
    size_t fetches_to_fail;
    size_t fetch_max; /* rows in one fetch; 0: as many as are asked for */
    struct saga_relay *relay;
    char (*values)[BUS_TEXT_SIZE];
};

/* Opens the bus with a judge, an empty outbox; starts its relay; ends all. */
void open_outbox(struct outbox *outbox, bus_judge *judge, void *user);
void start_relay(struct outbox *outbox, size_t outstanding_max);
void close_outbox(struct outbox *outbox);

/* Adds rows and wakes the relay, if there is one. */
void commit(struct outbox *outbox, int64_t rows);

/* What the relay has told: its position, and how many rows ahead of it. */
int64_t advanced_to(struct outbox *outbox);
size_t told_ahead(struct outbox *outbox);

/* Waits until the relay has told exactly this position; until a count is reached. */
void wait_advanced(struct outbox *outbox, size_t position);
void wait_count(size_t (*count)(const char *), const char *value, size_t number);

/* Counts for wait_count; the value does not matter. */
size_t all_produced(const char *value);
size_t starts(const char *value);
size_t asked(const char *value);

/* Tells whether nothing goes on behind what waits for its topic. arg: the outbox. */
bool is_full(void *arg);

/* Tells whether each of the rows was acknowledged once, and produced no oftener. */
bool each_came_once(int64_t first, int64_t last);

#endif
