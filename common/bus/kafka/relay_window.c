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
    return entry->produced && entry->pending == 0;
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
        entry->produced = true;
        entry->pending = 0;
        window->resume++;
    }
}

/* Appends a row that was not known. */
static void append(struct saga_relay_window *window, int64_t position)
{
    SAGA_ASSERT(window->resume == window->tail);
    *entry_at(window, window->tail) = (struct saga_relay_entry){.position = position};
    window->tail++;
}

bool saga_relay_window_take(struct saga_relay_window *window, int64_t position,
                            uint32_t record_count, uint64_t *sequence)
{
    SAGA_ASSERT(saga_relay_window_room(window) > 0);
    SAGA_ASSERT(position > saga_relay_window_after(window));
    pass_vanished(window, position);
    if (window->resume < window->tail && entry_at(window, window->resume)->position != position) {
        /* A row has appeared before known ones. What was known behind it is forgotten and produced
         * once more: better twice than out of order. */
        window->tail = window->resume;
    }
    if (window->resume == window->tail) {
        append(window, position);
    }
    struct saga_relay_entry *entry = entry_at(window, window->resume);
    bool wanted = !is_acknowledged(entry);
    if (wanted) {
        entry->pending = record_count;
        entry->produced = true;
    }
    *sequence = window->resume;
    window->resume++;
    (void)advance(window);
    return wanted && record_count > 0;
}

void saga_relay_window_caught_up(struct saga_relay_window *window)
{
    pass_vanished(window, INT64_MAX);
    (void)advance(window);
}

bool saga_relay_window_ahead(const struct saga_relay_window *window, uint64_t sequence,
                             int64_t *position)
{
    if (sequence < window->head || sequence >= window->resume ||
        !is_acknowledged(entry_at(window, sequence))) {
        return false;
    }
    *position = entry_at(window, sequence)->position;
    return true;
}

bool saga_relay_window_acknowledge(struct saga_relay_window *window, uint64_t sequence)
{
    if (sequence < window->head || sequence >= window->resume) {
        return false;
    }
    struct saga_relay_entry *entry = entry_at(window, sequence);
    if (!entry->produced || entry->pending == 0) {
        return false;
    }
    entry->pending--;
    return entry->pending == 0 && advance(window);
}

void saga_relay_window_rewind(struct saga_relay_window *window)
{
    for (uint64_t i = window->head; i < window->tail; i++) {
        struct saga_relay_entry *entry = entry_at(window, i);
        if (!is_acknowledged(entry)) {
            entry->produced = false;
            entry->pending = 0;
        }
    }
    window->resume = window->head;
    check(window);
}
