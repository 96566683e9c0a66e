/* The rows that a relay has taken from its outbox and that are not yet all on Kafka, in order.
 * Acknowledgements come in any order; only the contiguous prefix of acknowledged rows counts. No
 * I/O, no lock. Private to this room.
 *
 *     head ........ resume ........ tail
 *     | in flight, or acknowledged out of order |
 *                   | after a rewind: to be produced again, unless acknowledged |
 *
 * Normally resume == tail. A rewind (the producer was made anew) and a second look (a topic was
 * found) set resume to head: rows are fetched again from the prefix and meet their entries. What is
 * known is known of each record: one that is acknowledged is never produced again while its row is
 * in the window, whatever became of the row's other record; one that is under way is not produced
 * again until a rewind says that its producer is no more.
 *
 * So a record comes twice only
 * - when the producer was made anew and nobody can tell whether what it had under way arrived;
 * - when a row appears before rows that were taken: those behind it are forgotten;
 * - after a restart of the process: the durable cursor is one position, and says nothing of what is
 *   acknowledged behind it. */
#ifndef SAGA_BUS_KAFKA_RELAY_WINDOW_H
#define SAGA_BUS_KAFKA_RELAY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* Records of one row are the bits of a byte: 1 << index. */
enum { SAGA_RELAY_WINDOW_RECORDS_MAX = 8 };

struct saga_relay_entry {
    int64_t position;
    uint8_t records;      /* those that the row has */
    uint8_t sent;         /* handed to the producer since the last rewind */
    uint8_t acknowledged; /* on Kafka */
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

/* Gives the position after which rows are to be fetched. Acknowledgements may move it on, also
 * while rows that were fetched are being taken. */
int64_t saga_relay_window_after(const struct saga_relay_window *window);

/* Gives how many rows can be taken. */
size_t saga_relay_window_room(const struct saga_relay_window *window);

/* Tells whether every row taken is acknowledged. */
bool saga_relay_window_empty(const struct saga_relay_window *window);

/* Tells whether the next row can be taken. It cannot when rows behind its place are under way:
 * their acknowledgements would count for others. Rewind with a new producer first. */
bool saga_relay_window_fits(const struct saga_relay_window *window, int64_t position);

/* Takes the next row, in the order of fetching, and gives which of its records are to be produced
 * now: not those of `waits`, nor what is acknowledged or under way. They count as under way from
 * now on, by the token *sequence (UINT64_MAX: the row was passed since it was fetched). Pre: it
 * fits, and there is room. */
uint8_t saga_relay_window_take(struct saga_relay_window *window, int64_t position,
                               uint32_t record_count, uint8_t waits, uint64_t *sequence);

/* Tells that there are no rows after saga_relay_window_after: rows that are expected once more are
 * no longer in the outbox. */
void saga_relay_window_caught_up(struct saga_relay_window *window);

/* Gives the position of a row that is acknowledged while one before it is not. Returns false when
 * it is not so. */
bool saga_relay_window_ahead(const struct saga_relay_window *window, uint64_t sequence,
                             int64_t *position);

/* Notes that a row's record (0, 1, …) is on Kafka. Returns whether the prefix grew. A record that
 * is not under way is ignored. */
bool saga_relay_window_acknowledge(struct saga_relay_window *window, uint64_t sequence,
                                   uint32_t record);

/* Forgets what is under way and not acknowledged: it will be taken again. */
void saga_relay_window_rewind(struct saga_relay_window *window);

/* Looks at all rows once more, for records that waited. What is under way stays so. */
void saga_relay_window_again(struct saga_relay_window *window);

#endif
