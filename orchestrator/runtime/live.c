#include "orchestrator/runtime/live.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"

enum { BUCKETS_FIRST = 1024 };

static char *dup_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

struct live *live_new(const struct saga_version *version, const char *start_key,
                      const struct saga_texts *texts)
{
    struct live *live = calloc(1, sizeof *live);
    if (live == NULL) {
        return NULL;
    }
    live->version = version;
    live->start_key = dup_text(start_key);
    live->cause_reason = dup_text(texts->cause_reason);
    live->cause_message = dup_text(texts->cause_message);
    live->traceparent = dup_text(texts->traceparent);
    live->parent_step = dup_text(texts->parent_step);
    live->parent_id = texts->parent_id;
    if (live->start_key == NULL || live->cause_reason == NULL || live->cause_message == NULL ||
        live->traceparent == NULL || live->parent_step == NULL) {
        live_free(live);
        return NULL;
    }
    return live;
}

void live_free(struct live *live)
{
    if (live == NULL) {
        return;
    }
    saga_buf_fini(&live->context);
    free(live->start_key);
    free(live->cause_reason);
    free(live->cause_message);
    free(live->traceparent);
    free(live->parent_step);
    free(live);
}

enum saga_err live_set_text(char **text, const char *to)
{
    char *copy = dup_text(to);
    if (copy == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    free(*text);
    *text = copy;
    return SAGA_ERR_OK;
}

struct saga_texts live_texts(const struct live *live)
{
    return (struct saga_texts){
        .cause_reason = live->cause_reason,
        .cause_message = live->cause_message,
        .traceparent = live->traceparent,
        .parent_step = live->parent_step,
        .parent_id = live->parent_id,
    };
}

/* The random half of a UUIDv7 is hash enough. */
static size_t bucket_of(const struct live_table *table, struct saga_id id)
{
    uint64_t hash;
    memcpy(&hash, id.b + 8, sizeof hash);
    hash ^= hash >> 32;
    return (size_t)hash & (table->bucket_count - 1);
}

static enum saga_err grow_buckets(struct live_table *table)
{
    size_t count = table->bucket_count == 0 ? BUCKETS_FIRST : table->bucket_count * 2;
    struct live **buckets = calloc(count, sizeof(struct live *));
    if (buckets == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    struct live_table grown = *table;
    grown.buckets = buckets;
    grown.bucket_count = count;
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct live *live = table->buckets[i];
        while (live != NULL) {
            struct live *next = live->chain;
            size_t at = bucket_of(&grown, live->saga.id);
            live->chain = buckets[at];
            buckets[at] = live;
            live = next;
        }
    }
    free(table->buckets);
    *table = grown;
    return SAGA_ERR_OK;
}

static enum saga_err grow_heap(struct live_table *table)
{
    size_t capacity = table->heap_capacity == 0 ? BUCKETS_FIRST : table->heap_capacity * 2;
    struct live **heap = realloc(table->heap, capacity * sizeof(struct live *));
    if (heap == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    table->heap = heap;
    table->heap_capacity = capacity;
    return SAGA_ERR_OK;
}

enum saga_err live_table_put(struct live_table *table, struct live *live)
{
    enum saga_err err = SAGA_ERR_OK;
    if (table->count >= table->bucket_count) {
        err = grow_buckets(table);
    }
    if (err == SAGA_ERR_OK && table->count >= table->heap_capacity) {
        err = grow_heap(table);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    SAGA_ASSERT(live_table_find(table, live->saga.id) == NULL);
    size_t at = bucket_of(table, live->saga.id);
    live->chain = table->buckets[at];
    table->buckets[at] = live;
    table->count += 1;
    return SAGA_ERR_OK;
}

struct live *live_table_find(const struct live_table *table, struct saga_id id)
{
    if (table->bucket_count == 0) {
        return NULL;
    }
    struct live *live = table->buckets[bucket_of(table, id)];
    while (live != NULL && !saga_id_equal(live->saga.id, id)) {
        live = live->chain;
    }
    return live;
}

void live_table_take(struct live_table *table, struct live *live)
{
    live_table_set_due(table, live, 0);
    struct live **link = &table->buckets[bucket_of(table, live->saga.id)];
    while (*link != live) {
        SAGA_ASSERT(*link != NULL);
        link = &(*link)->chain;
    }
    *link = live->chain;
    table->count -= 1;
}

void live_table_fini(struct live_table *table)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        while (table->buckets[i] != NULL) {
            struct live *live = table->buckets[i];
            table->buckets[i] = live->chain;
            live_free(live);
        }
    }
    free(table->buckets);
    free(table->heap);
    *table = (struct live_table){0};
}

static void heap_set(struct live_table *table, size_t at, struct live *live)
{
    table->heap[at] = live;
    live->heap_index = at;
}

static void heap_up(struct live_table *table, size_t at, struct live *live)
{
    while (at > 0 && table->heap[(at - 1) / 2]->due_unix_ms > live->due_unix_ms) {
        heap_set(table, at, table->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(table, at, live);
}

static void heap_down(struct live_table *table, size_t at, struct live *live)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= table->heap_count) {
            break;
        }
        if (child + 1 < table->heap_count &&
            table->heap[child + 1]->due_unix_ms < table->heap[child]->due_unix_ms) {
            child += 1;
        }
        if (table->heap[child]->due_unix_ms >= live->due_unix_ms) {
            break;
        }
        heap_set(table, at, table->heap[child]);
        at = child;
    }
    heap_set(table, at, live);
}

void live_table_set_due(struct live_table *table, struct live *live, int64_t due_unix_ms)
{
    if (live->due_unix_ms == due_unix_ms) {
        return;
    }
    int64_t before = live->due_unix_ms;
    live->due_unix_ms = due_unix_ms;
    if (before == 0) {
        SAGA_ASSERT(table->heap_count < table->heap_capacity);
        table->heap_count += 1;
        heap_up(table, table->heap_count - 1, live);
    } else if (due_unix_ms == 0) {
        size_t at = live->heap_index;
        struct live *last = table->heap[--table->heap_count];
        if (last != live) {
            heap_down(table, at, last);
            heap_up(table, last->heap_index, last);
        }
    } else if (due_unix_ms < before && !SAGA_BROKEN(S1_TIMER_LOST)) {
        heap_up(table, live->heap_index, live);
    } else {
        heap_down(table, live->heap_index, live);
    }
}

struct live *live_table_first(const struct live_table *table)
{
    return table->heap_count == 0 ? NULL : table->heap[0];
}
