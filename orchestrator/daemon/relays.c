#include "orchestrator/daemon/relays.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/base/limits.h"
#include "common/sys/clock.h"

enum {
    EVENT_ID_SIZE = 64,
    /* A command should leave at once; audit events gather, which saves both sides most of their
     * work. */
    OUTBOX_LINGER_MS = 0,
    AUDIT_LINGER_MS = 20,
    /* Commands handed to Kafka and not acknowledged, or behind one that waits for its topic; their
     * runs are remembered. */
    OUTSTANDING_MAX = SAGA_RELAY_WINDOW_MAX,
};

/* What DURABLE needs of a command row. */
struct sent_row {
    int64_t position;
    struct saga_id id;
    uint8_t step;
    enum saga_op op;
    uint32_t attempt;
};

struct one_relay {
    struct saga_relay *relay;
    struct saga_store_port store;
    struct saga_inbox *inbox;
    const char *name;        /* of the cursor */
    struct saga_arena arena; /* what the fetched rows point to */
    pthread_mutex_t lock; /* of the ring: filled by the relay's thread, emptied by its producer's */
    struct sent_row *ring; /* NULL: the audit relay tells no one */
    size_t ring_first, ring_count;
};

struct relays {
    struct one_relay audit, outbox;
};

/* A relay's progress, in the inbox. */
struct advanced {
    struct input input;
    const char *name; /* NULL: the rows are on Kafka, and the cursor is where it was */
    int64_t position;
    size_t count;
    struct sent_row rows[];
};

/* A fetch being filled. */
struct filling {
    struct one_relay *one;
    struct saga_relay_row *rows;
    size_t count;
    size_t count_max;
    bool no_memory;
};

static const void *keep(struct filling *filling, const void *data, size_t size)
{
    void *copy = saga_arena_take(&filling->one->arena, size > 0 ? size : 1);
    if (copy == NULL) {
        filling->no_memory = true;
    } else if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

/* Makes the row's one record: key, value, CloudEvents headers. Returns false when there is no
 * memory. */
static bool fill_record(struct filling *filling, int64_t position, const char *topic,
                        struct saga_id id, struct saga_bytes value,
                        const struct saga_cloud_event *event)
{
    char key[SAGA_ID_TEXT_SIZE];
    saga_id_format(id, key);
    struct saga_relay_row *row = &filling->rows[filling->count];
    *row = (struct saga_relay_row){.position = position, .record_count = 1};
    struct saga_cloud_event kept = *event;
    kept.id = keep(filling, event->id, strlen(event->id) + 1);
    kept.traceparent = keep(filling, event->traceparent, strlen(event->traceparent) + 1);
    struct saga_cloud_event_space *space = saga_arena_take(&filling->one->arena, sizeof *space);
    struct saga_kafka_record *record = &row->records[0];
    record->topic = keep(filling, topic, strlen(topic) + 1);
    record->key =
        (struct saga_bytes){keep(filling, key, SAGA_ID_TEXT_SIZE - 1), SAGA_ID_TEXT_SIZE - 1};
    record->value = (struct saga_bytes){keep(filling, value.data, value.size), value.size};
    if (filling->no_memory || space == NULL) {
        filling->no_memory = true;
        return false;
    }
    saga_kafka_set_cloud_event(record, &kept, space);
    filling->count += 1;
    return filling->count < filling->count_max;
}

static bool visit_audit(void *user, const struct saga_audit_row *row)
{
    char id[SAGA_ID_TEXT_SIZE];
    char event_id[EVENT_ID_SIZE];
    saga_id_format(row->id, id);
    (void)snprintf(event_id, sizeof event_id, "%s/%" PRIu64, id,
                   SAGA_BROKEN(S9_EVENT_ID) ? SAGA_NOISE() : row->seq);
    struct saga_cloud_event event = {
        .id = event_id,
        .source = "/sagad",
        .type = "saga.v1.AuditEvent",
        .time_unix_ms = row->time_unix_ms,
        .traceparent = "",
    };
    return fill_record(user, row->position, "saga-audit", row->id, row->event, &event);
}

/* Remembers a row until it is told that it is on Kafka. The relay may read rows again, after a
 * failed producer or when a topic is found: they stay remembered, since those behind them may be
 * told before they are read once more. */
static void remember(struct one_relay *one, const struct saga_outbox_row *row)
{
    size_t capacity = OUTSTANDING_MAX + SAGA_RELAY_BATCH;
    pthread_mutex_lock(&one->lock);
    if (one->ring_count == 0 ||
        one->ring[(one->ring_first + one->ring_count - 1) % capacity].position < row->position) {
        SAGA_ASSERT(one->ring_count < capacity);
        one->ring[(one->ring_first + one->ring_count) % capacity] =
            (struct sent_row){row->position, row->id, row->step, row->op, row->attempt};
        one->ring_count += 1;
    }
    pthread_mutex_unlock(&one->lock);
}

static bool visit_outbox(void *user, const struct saga_outbox_row *row)
{
    struct filling *filling = user;
    struct one_relay *one = filling->one;
    char event_id[EVENT_ID_SIZE];
    (void)snprintf(event_id, sizeof event_id, "sagad/%" PRId64, row->position);
    struct saga_cloud_event event = {
        .id = event_id,
        .source = "/sagad",
        .type = "saga.v1.Command",
        .time_unix_ms = row->time_unix_ms,
        .traceparent = row->traceparent,
    };
    size_t before = filling->count;
    bool more = fill_record(filling, row->position, row->topic, row->id, row->value, &event);
    if (filling->count > before) {
        remember(one, row);
    }
    return more;
}

/* Thread: the relay's. */
static enum saga_err fetch(void *user, int64_t after, size_t count_max, struct saga_relay_row *rows,
                           size_t *count, struct saga_err_detail *detail)
{
    struct one_relay *one = user;
    struct filling filling = {.one = one, .rows = rows, .count_max = count_max};
    saga_arena_clear(&one->arena);
    enum saga_err err = SAGA_ERR_OK;
    if (one->ring == NULL) {
        err = one->store.ops->relay_audit(one->store.store, after, count_max, visit_audit, &filling,
                                          detail);
    } else {
        err = one->store.ops->relay_outbox(one->store.store, after, count_max, visit_outbox,
                                           &filling, detail);
    }
    *count = filling.count;
    if (err == SAGA_ERR_OK && filling.no_memory) {
        err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "fetch rows");
    }
    return err;
}

/* Thread: the producer's or the relay's. */
static void relay_advanced(void *user, int64_t position)
{
    struct one_relay *one = user;
    size_t capacity = OUTSTANDING_MAX + SAGA_RELAY_BATCH;
    size_t count = 0;
    if (one->ring != NULL) {
        pthread_mutex_lock(&one->lock);
        while (count < one->ring_count &&
               one->ring[(one->ring_first + count) % capacity].position <= position) {
            count += 1;
        }
    }
    struct advanced *advanced = malloc(sizeof *advanced + count * sizeof(struct sent_row));
    SAGA_ASSERT(advanced != NULL); /* without it commands would wait for ever for being durable */
    *advanced = (struct advanced){.input = {.kind = INPUT_ADVANCED},
                                  .name = one->name,
                                  .position = position + (SAGA_BROKEN(S9_CURSOR_AHEAD) ? 1 : 0),
                                  .count = count};
    if (one->ring != NULL) {
        for (size_t i = 0; i < count; i++) {
            advanced->rows[i] = one->ring[(one->ring_first + i) % capacity];
        }
        one->ring_first = (one->ring_first + count) % capacity;
        one->ring_count -= count;
        pthread_mutex_unlock(&one->lock);
    }
    if (saga_inbox_put(one->inbox, &advanced->input.entry, SAGA_INBOX_ACCEPT) != SAGA_ERR_OK) {
        free(advanced);
    }
}

/* Gives the place in the ring of a row at a position, or ring_count. Pre: the lock is held. */
static size_t ring_find(const struct one_relay *one, int64_t position)
{
    size_t capacity = OUTSTANDING_MAX + SAGA_RELAY_BATCH;
    size_t from = 0;
    size_t to = one->ring_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (one->ring[(one->ring_first + middle) % capacity].position < position) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    bool found = from < one->ring_count &&
                 one->ring[(one->ring_first + from) % capacity].position == position;
    return found ? from : one->ring_count;
}

/* A command is on Kafka while one before it waits for its topic: its attempt's time begins. Thread:
 * the producer's or the relay's. */
static void relay_delivered(void *user, int64_t position)
{
    struct one_relay *one = user;
    struct advanced *advanced = malloc(sizeof *advanced + sizeof(struct sent_row));
    SAGA_ASSERT(advanced != NULL);
    *advanced = (struct advanced){.input = {.kind = INPUT_ADVANCED}};
    pthread_mutex_lock(&one->lock);
    size_t at = ring_find(one, position);
    if (at < one->ring_count) {
        size_t capacity = OUTSTANDING_MAX + SAGA_RELAY_BATCH;
        advanced->rows[advanced->count++] = one->ring[(one->ring_first + at) % capacity];
    }
    pthread_mutex_unlock(&one->lock);
    if (advanced->count == 0 ||
        saga_inbox_put(one->inbox, &advanced->input.entry, SAGA_INBOX_ACCEPT) != SAGA_ERR_OK) {
        free(advanced);
    }
}

void relays_take(struct input *input, struct saga_runtime *runtime)
{
    struct advanced *advanced = (struct advanced *)input;
    for (size_t i = 0; i < advanced->count; i++) {
        const struct sent_row *row = &advanced->rows[i];
        saga_runtime_durable(runtime, row->id, row->step, row->op, row->attempt);
    }
    if (advanced->name != NULL) {
        saga_runtime_cursor(runtime, advanced->name, advanced->position);
    }
    free(advanced);
}

static enum saga_err start_one(struct one_relay *one, const struct saga_kafka_config *kafka,
                               int linger_ms, struct saga_err_detail *detail)
{
    struct saga_kafka_config own = *kafka;
    own.linger_ms = linger_ms;
    int64_t position = one->store.ops->cursor(one->store.store, one->name);
    if (position < 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "store: the cursor of %s cannot be read",
                            one->name);
    }
    struct saga_relay_config config = {
        .kafka = own,
        .name = one->name,
        .position = position,
        .outstanding_max = OUTSTANDING_MAX,
        .fetch = fetch,
        .advanced = relay_advanced,
        .delivered = one->ring == NULL ? NULL : relay_delivered,
        .user = one,
    };
    return saga_relay_start(&config, &one->relay, detail);
}

enum saga_err relays_start(const struct saga_kafka_config *kafka,
                           const struct saga_store_port *store, struct saga_inbox *inbox,
                           struct relays **relays, struct saga_err_detail *detail)
{
    struct relays *made = calloc(1, sizeof *made);
    struct sent_row *ring = calloc(OUTSTANDING_MAX + SAGA_RELAY_BATCH, sizeof *ring);
    if (made == NULL || ring == NULL) {
        free(made);
        free(ring);
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "relays");
    }
    made->audit = (struct one_relay){.store = *store, .inbox = inbox, .name = "audit"};
    made->outbox =
        (struct one_relay){.store = *store, .inbox = inbox, .name = "outbox", .ring = ring};
    pthread_mutex_init(&made->audit.lock, NULL);
    pthread_mutex_init(&made->outbox.lock, NULL);
    enum saga_err err = start_one(&made->audit, kafka, AUDIT_LINGER_MS, detail);
    if (err == SAGA_ERR_OK) {
        err = start_one(&made->outbox, kafka, OUTBOX_LINGER_MS, detail);
    }
    if (err != SAGA_ERR_OK) {
        relays_free(made);
        return err;
    }
    *relays = made;
    return SAGA_ERR_OK;
}

void relays_wake(struct relays *relays, bool outbox, bool audit)
{
    if (relays != NULL && outbox) {
        saga_relay_wake(relays->outbox.relay);
    }
    if (relays != NULL && audit) {
        saga_relay_wake(relays->audit.relay);
    }
}

bool relays_up(const struct relays *relays)
{
    return relays != NULL && saga_relay_up(relays->outbox.relay) &&
           saga_relay_up(relays->audit.relay);
}

void relays_missing(const struct relays *relays, char *names, size_t size, bool *full)
{
    bool audit_full = false;
    names[0] = '\0';
    *full = false;
    if (relays != NULL) {
        saga_relay_missing(relays->outbox.relay, names, size, full);
    }
    if (relays != NULL && names[0] == '\0') {
        saga_relay_missing(relays->audit.relay, names, size, &audit_full);
    }
}

int64_t relays_position(const struct relays *relays, bool outbox)
{
    return relays == NULL
               ? 0
               : saga_relay_position(outbox ? relays->outbox.relay : relays->audit.relay);
}

enum saga_err relays_drain(struct relays *relays, int64_t timeout_ms)
{
    enum saga_err err = SAGA_ERR_OK;
    if (relays != NULL) {
        int64_t until_us = saga_clock_mono_us() + timeout_ms * 1000;
        err = saga_relay_drain(relays->outbox.relay, timeout_ms);
        int64_t left_ms = (until_us - saga_clock_mono_us()) / 1000;
        enum saga_err other = saga_relay_drain(relays->audit.relay, left_ms > 1 ? left_ms : 1);
        err = err == SAGA_ERR_OK ? other : err;
    }
    return err;
}

static void free_one(struct one_relay *one)
{
    saga_relay_free(one->relay);
    saga_arena_fini(&one->arena);
    pthread_mutex_destroy(&one->lock);
    free(one->ring);
}

void relays_free(struct relays *relays)
{
    if (relays != NULL) {
        free_one(&relays->audit);
        free_one(&relays->outbox);
        free(relays);
    }
}
