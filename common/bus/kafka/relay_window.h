/* The rows that a relay has taken from its outbox and that are not yet all on Kafka, in order.
 * Acknowledgements come in any order; only the contiguous prefix of acknowledged rows counts. No
 * I/O, no lock. Private to this room.
 *
 *     head ........ resume ........ tail
 *     | in flight, or acknowledged out of order |
 *                   | after a rewind: to be produced again, unless acknowledged |
 *
 * Normally resume == tail. A rewind (the producer was restarted) sets resume to head: rows are
 * fetched again from the prefix and meet their entries; those that were acknowledged are not
 * produced twice. */
#ifndef SAGA_BUS_KAFKA_RELAY_WINDOW_H
#define SAGA_BUS_KAFKA_RELAY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct saga_relay_entry {
    int64_t position;
    uint32_t pending; /* records without acknowledgement */
    bool produced;    /* all records were handed to the producer since the last rewind */
};

struct saga_relay_window {
    struct saga_relay_entry *entries; /* a ring: sequence % capacity */
    size_t capacity;
    uint64_t head;   /* sequence of the first row that is not yet in the prefix */
    uint64_t resume; /* sequence of the next row to produce */
    uint64_t tail;   /* sequence of the next new row */
    int64_t prefix;  /* every row up to this position is acknowledged */
};

/* Makes a window after a position. Errors: NO_MEMORY. */
enum saga_err saga_relay_window_init(struct saga_relay_window *window, size_t capacity,
                                     int64_t position) SAGA_WARN_UNUSED;
void saga_relay_window_fini(struct saga_relay_window *window);

/* Gives the position after which rows are to be fetched. */
int64_t saga_relay_window_after(const struct saga_relay_window *window);

/* Gives how many rows can be taken. */
size_t saga_relay_window_room(const struct saga_relay_window *window);

/* Tells whether every row taken is acknowledged. */
bool saga_relay_window_empty(const struct saga_relay_window *window);

/* Takes the next row, in the order of fetching. Returns whether it is to be produced (no: it was
 * acknowledged before a rewind, or it has no records); then *sequence is its token, and
 * acknowledgements count from now on. Pre: there is room. */
bool saga_relay_window_take(struct saga_relay_window *window, int64_t position,
                            uint32_t record_count, uint64_t *sequence);

/* Tells that there are no rows after saga_relay_window_after: rows that a rewind expected are no
 * longer in the outbox. */
void saga_relay_window_caught_up(struct saga_relay_window *window);

/* Gives the position of a row that is acknowledged while one before it is not. Returns false when
 * it is not so. */
bool saga_relay_window_ahead(const struct saga_relay_window *window, uint64_t sequence,
                             int64_t *position);

/* Counts an acknowledgement of one record. Returns whether the prefix grew. A sequence that is not
 * in flight is ignored. */
bool saga_relay_window_acknowledge(struct saga_relay_window *window, uint64_t sequence);

/* Forgets what was produced and not acknowledged: it will be taken again. */
void saga_relay_window_rewind(struct saga_relay_window *window);

#endif
