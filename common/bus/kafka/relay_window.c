#include "common/bus/kafka/relay_window.h"

#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/canary.h"

static struct saga_relay_entry *entry_at(const struct saga_relay_window *window, uint64_t sequence)
{
    return &window->entries[sequence % window->capacity];
}

static bool is_acknowledged(const struct saga_relay_entry *entry)
{
    return entry->acknowledged == entry->records;
}

static void check(const struct saga_relay_window *window)
{
    SAGA_ASSERT(window->head <= window->resume);
    SAGA_ASSERT(window->resume <= window->tail);
    SAGA_ASSERT(window->tail - window->head <= window->capacity);
}

enum saga_err saga_relay_window_init(struct saga_relay_window *window, size_t capacity,
                                     int64_t position)
{
    SAGA_ASSERT(capacity > 0);
    *window = (struct saga_relay_window){.capacity = capacity, .prefix = position};
    window->entries = calloc(capacity, sizeof(struct saga_relay_entry));
    return window->entries == NULL ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
}

void saga_relay_window_fini(struct saga_relay_window *window)
{
    free(window->entries);
    window->entries = NULL;
}

int64_t saga_relay_window_after(const struct saga_relay_window *window)
{
    return window->resume == window->head ? window->prefix
                                          : entry_at(window, window->resume - 1)->position;
}

size_t saga_relay_window_room(const struct saga_relay_window *window)
{
    return window->capacity - (size_t)(window->resume - window->head);
}

bool saga_relay_window_empty(const struct saga_relay_window *window)
{
    return window->head == window->tail;
}

/* Moves the head over acknowledged rows. */
static bool advance(struct saga_relay_window *window)
{
    uint64_t head = window->head;
    while (window->head < window->tail &&
           (is_acknowledged(entry_at(window, window->head)) || SAGA_BROKEN(B8_PREFIX))) {
        window->prefix = entry_at(window, window->head)->position;
        window->head++;
    }
    if (window->resume < window->head) {
        window->resume = window->head;
    }
    check(window);
    return window->head != head;
}

/* After a rewind: passes the rows before a position that are no longer in the outbox; nothing is
 * left to publish for them. */
static void pass_vanished(struct saga_relay_window *window, int64_t position)
{
    while (window->resume < window->tail && entry_at(window, window->resume)->position < position) {
        struct saga_relay_entry *entry = entry_at(window, window->resume);
        entry->acknowledged = entry->records;
        window->resume++;
    }
}

bool saga_relay_window_fits(const struct saga_relay_window *window, int64_t position)
{
    uint64_t place = window->resume;
    while (place < window->tail && entry_at(window, place)->position < position) {
        place++;
    }
    if (place == window->tail || entry_at(window, place)->position == position ||
        position <= saga_relay_window_after(window)) {
        return true;
    }
    bool idle = true;
    for (uint64_t i = place; i < window->tail; i++) {
        const struct saga_relay_entry *entry = entry_at(window, i);
        idle = idle && (entry->sent & ~entry->acknowledged) == 0;
    }
    return idle;
}

uint8_t saga_relay_window_take(struct saga_relay_window *window, int64_t position,
                               uint32_t record_count, uint8_t waits, uint64_t *sequence)
{
    SAGA_ASSERT(record_count <= SAGA_RELAY_WINDOW_RECORDS_MAX);
    *sequence = UINT64_MAX;
    if (position <= saga_relay_window_after(window)) {
        /* While it was fetched a row before it was acknowledged, and it was so already. */
        return 0;
    }
    SAGA_ASSERT(saga_relay_window_room(window) > 0);
    pass_vanished(window, position);
    if (window->resume < window->tail && entry_at(window, window->resume)->position != position) {
        /* A row has appeared before known ones. What was known behind it is forgotten and produced
         * once more: better twice than out of order. */
        SAGA_ASSERT(saga_relay_window_fits(window, position));
        window->tail = window->resume;
    }
    struct saga_relay_entry *entry = entry_at(window, window->resume);
    if (window->resume == window->tail) {
        *entry = (struct saga_relay_entry){.position = position};
        window->tail++;
    }
    entry->records = (uint8_t)((1U << record_count) - 1);
    entry->acknowledged &= entry->records;
    uint8_t wanted = (uint8_t)(entry->records & ~waits & ~entry->acknowledged & ~entry->sent);
    entry->sent |= wanted;
    *sequence = window->resume;
    window->resume++;
    (void)advance(window);
    return wanted;
}

void saga_relay_window_caught_up(struct saga_relay_window *window)
{
    pass_vanished(window, INT64_MAX);
    (void)advance(window);
}

bool saga_relay_window_ahead(const struct saga_relay_window *window, uint64_t sequence,
                             int64_t *position)
{
    if (sequence < window->head || sequence >= window->tail ||
        !is_acknowledged(entry_at(window, sequence))) {
        return false;
    }
    *position = entry_at(window, sequence)->position;
    return true;
}

bool saga_relay_window_acknowledge(struct saga_relay_window *window, uint64_t sequence,
                                   uint32_t record)
{
    SAGA_ASSERT(record < SAGA_RELAY_WINDOW_RECORDS_MAX);
    if (sequence < window->head || sequence >= window->tail) {
        return false;
    }
    struct saga_relay_entry *entry = entry_at(window, sequence);
    entry->acknowledged |= (uint8_t)(entry->sent & (1U << record));
    return is_acknowledged(entry) && advance(window);
}

void saga_relay_window_rewind(struct saga_relay_window *window)
{
    for (uint64_t i = window->head; i < window->tail; i++) {
        entry_at(window, i)->sent = 0;
    }
    saga_relay_window_again(window);
}

void saga_relay_window_again(struct saga_relay_window *window)
{
    window->resume = window->head;
    check(window);
}
