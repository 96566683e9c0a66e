#include "services/order/waiters.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/assert.h"
#include "common/sys/clock.h"

enum { NONE = -1 };

/* A place of the table. Free places are linked by next; used ones by next in their bucket, and
 * stand in the heap at heap_at. */
struct slot {
    int64_t order_id;
    int64_t due_mono_us;
    void *user;
    uint32_t generation; /* of the ticket: a place is used many times */
    int32_t next;
    int32_t heap_at; /* NONE: free */
};

struct saga_waiters {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the timer thread's */
    pthread_t timer;
    saga_waiter_out *expired;
    void *context;
    struct slot *slots;
    int32_t *buckets; /* first slot of each, or NONE */
    int32_t *heap;    /* slots, the earliest due first */
    size_t capacity;
    size_t bucket_mask;
    size_t count;
    int32_t free_first;
    int64_t armed_mono_us; /* when the timer thread wakes by itself */
    bool closed;
};

/* ---- The heap: a binary tree in an array, every parent due no later than its children ---- */

static void heap_put(struct saga_waiters *waiters, size_t at, int32_t slot)
{
    waiters->heap[at] = slot;
    waiters->slots[slot].heap_at = (int32_t)at;
}

static int64_t heap_due(const struct saga_waiters *waiters, size_t at)
{
    return waiters->slots[waiters->heap[at]].due_mono_us;
}

/* Moves what belongs at `at` towards the root. */
static void heap_up(struct saga_waiters *waiters, size_t at)
{
    int32_t slot = waiters->heap[at];
    int64_t due = waiters->slots[slot].due_mono_us;
    while (at > 0 && heap_due(waiters, (at - 1) / 2) > due) {
        heap_put(waiters, at, waiters->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(waiters, at, slot);
}

/* Moves what belongs at `at` towards the leaves. */
static void heap_down(struct saga_waiters *waiters, size_t at)
{
    int32_t slot = waiters->heap[at];
    int64_t due = waiters->slots[slot].due_mono_us;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= waiters->count) {
            break;
        }
        if (child + 1 < waiters->count && heap_due(waiters, child + 1) < heap_due(waiters, child)) {
            child++;
        }
        if (heap_due(waiters, child) >= due) {
            break;
        }
        heap_put(waiters, at, waiters->heap[child]);
        at = child;
    }
    heap_put(waiters, at, slot);
}

/* ---- The table ---- */

static int32_t *bucket_of(struct saga_waiters *waiters, int64_t order_id)
{
    uint64_t mixed = (uint64_t)order_id * UINT64_C(0x9e3779b97f4a7c15);
    return &waiters->buckets[(mixed >> 32) & waiters->bucket_mask];
}

/* Takes a used slot out of bucket and heap; gives its user. */
static void *slot_release(struct saga_waiters *waiters, int32_t index)
{
    struct slot *slot = &waiters->slots[index];
    int32_t *link = bucket_of(waiters, slot->order_id);
    while (*link != index) {
        SAGA_ASSERT(*link != NONE);
        link = &waiters->slots[*link].next;
    }
    *link = slot->next;
    size_t at = (size_t)slot->heap_at;
    int32_t last = waiters->heap[--waiters->count];
    if (last != index) {
        heap_put(waiters, at, last);
        heap_up(waiters, at);
        heap_down(waiters, (size_t)waiters->slots[last].heap_at);
    }
    void *user = slot->user;
    slot->heap_at = NONE;
    slot->user = NULL;
    slot->generation++;
    slot->next = waiters->free_first;
    waiters->free_first = index;
    return user;
}

enum saga_err saga_waiters_add(struct saga_waiters *waiters, int64_t order_id, int64_t due_mono_us,
                               void *user, uint64_t *ticket)
{
    enum saga_err err = SAGA_ERR_OK;
    (void)pthread_mutex_lock(&waiters->lock);
    if (waiters->closed) {
        err = SAGA_ERR_CLOSED;
    } else if (waiters->count == waiters->capacity) {
        err = SAGA_ERR_FULL;
    } else {
        int32_t index = waiters->free_first;
        struct slot *slot = &waiters->slots[index];
        waiters->free_first = slot->next;
        int32_t *bucket = bucket_of(waiters, order_id);
        slot->order_id = order_id;
        slot->due_mono_us = due_mono_us;
        slot->user = user;
        slot->next = *bucket;
        *bucket = index;
        *ticket = (uint64_t)slot->generation << 32 | (uint32_t)index;
        heap_put(waiters, waiters->count, index);
        heap_up(waiters, waiters->count++);
        if (due_mono_us < waiters->armed_mono_us) {
            (void)pthread_cond_signal(&waiters->changed);
        }
    }
    (void)pthread_mutex_unlock(&waiters->lock);
    return err;
}

bool saga_waiters_withdraw(struct saga_waiters *waiters, uint64_t ticket)
{
    uint32_t index = (uint32_t)ticket;
    bool ours = false;
    (void)pthread_mutex_lock(&waiters->lock);
    if (index < waiters->capacity && waiters->slots[index].heap_at != NONE &&
        waiters->slots[index].generation == (uint32_t)(ticket >> 32)) {
        (void)slot_release(waiters, (int32_t)index);
        ours = true;
    }
    (void)pthread_mutex_unlock(&waiters->lock);
    return ours;
}

/* Finds somebody who waits for an order. Pre: locked. */
static int32_t slot_find(struct saga_waiters *waiters, int64_t order_id)
{
    int32_t index = *bucket_of(waiters, order_id);
    while (index != NONE && waiters->slots[index].order_id != order_id) {
        index = waiters->slots[index].next;
    }
    return index;
}

bool saga_waiters_any(struct saga_waiters *waiters, int64_t order_id)
{
    (void)pthread_mutex_lock(&waiters->lock);
    bool any = slot_find(waiters, order_id) != NONE;
    (void)pthread_mutex_unlock(&waiters->lock);
    return any;
}

void saga_waiters_wake(struct saga_waiters *waiters, int64_t order_id, saga_waiter_out *out,
                       void *context)
{
    for (;;) {
        (void)pthread_mutex_lock(&waiters->lock);
        int32_t index = slot_find(waiters, order_id);
        void *user = index == NONE ? NULL : slot_release(waiters, index);
        (void)pthread_mutex_unlock(&waiters->lock);
        if (index == NONE) {
            return;
        }
        out(context, user);
    }
}

size_t saga_waiters_count(struct saga_waiters *waiters)
{
    (void)pthread_mutex_lock(&waiters->lock);
    size_t count = waiters->count;
    (void)pthread_mutex_unlock(&waiters->lock);
    return count;
}

/* ---- The timer thread ---- */

static void *timer_run(void *argument)
{
    struct saga_waiters *waiters = argument;
    (void)pthread_mutex_lock(&waiters->lock);
    while (!waiters->closed) {
        if (waiters->count > 0 && heap_due(waiters, 0) <= saga_clock_mono_us()) {
            void *user = slot_release(waiters, waiters->heap[0]);
            (void)pthread_mutex_unlock(&waiters->lock);
            waiters->expired(waiters->context, user);
            (void)pthread_mutex_lock(&waiters->lock);
            continue;
        }
        if (waiters->count == 0) {
            waiters->armed_mono_us = INT64_MAX;
            (void)pthread_cond_wait(&waiters->changed, &waiters->lock);
        } else {
            /* A waiter that is gone by then costs one wake-up; waking for each that goes would cost
             * one each. */
            waiters->armed_mono_us = heap_due(waiters, 0);
            struct timespec until = {.tv_sec = waiters->armed_mono_us / 1000000,
                                     .tv_nsec = waiters->armed_mono_us % 1000000 * 1000};
            (void)pthread_cond_timedwait(&waiters->changed, &waiters->lock, &until);
        }
        waiters->armed_mono_us = 0;
    }
    (void)pthread_mutex_unlock(&waiters->lock);
    return NULL;
}

/* ---- Beginning and end ---- */

static void waiters_release(struct saga_waiters *waiters)
{
    free(waiters->heap);
    free(waiters->buckets);
    free(waiters->slots);
    free(waiters);
}

/* Makes the tables of an empty set. Returns false when there is no memory. */
static bool tables_init(struct saga_waiters *waiters, size_t capacity)
{
    size_t bucket_count = 16;
    while (bucket_count < capacity * 2) {
        bucket_count *= 2;
    }
    waiters->capacity = capacity;
    waiters->bucket_mask = bucket_count - 1;
    waiters->slots = calloc(capacity, sizeof *waiters->slots);
    waiters->heap = calloc(capacity, sizeof *waiters->heap);
    waiters->buckets = calloc(bucket_count, sizeof *waiters->buckets);
    if (waiters->slots == NULL || waiters->heap == NULL || waiters->buckets == NULL) {
        return false;
    }
    for (size_t i = 0; i < bucket_count; i++) {
        waiters->buckets[i] = NONE;
    }
    for (size_t i = 0; i < capacity; i++) {
        waiters->slots[i].heap_at = NONE;
        waiters->slots[i].generation = 1; /* so that 0 is no ticket */
        waiters->slots[i].next = i + 1 < capacity ? (int32_t)(i + 1) : NONE;
    }
    waiters->free_first = 0;
    return true;
}

enum saga_err saga_waiters_new(size_t capacity, saga_waiter_out *expired, void *context,
                               struct saga_waiters **waiters_out)
{
    SAGA_ASSERT(capacity > 0 && capacity < INT32_MAX);
    struct saga_waiters *waiters = calloc(1, sizeof *waiters);
    if (waiters == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    waiters->expired = expired;
    waiters->context = context;
    pthread_condattr_t attributes;
    if (!tables_init(waiters, capacity) || pthread_condattr_init(&attributes) != 0) {
        goto fail_tables;
    }
    /* saga_clock_mono_us is CLOCK_MONOTONIC. */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&waiters->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (failed != 0) {
        goto fail_tables;
    }
    if (pthread_mutex_init(&waiters->lock, NULL) != 0) {
        goto fail_cond;
    }
    if (pthread_create(&waiters->timer, NULL, timer_run, waiters) != 0) {
        goto fail_mutex;
    }
    *waiters_out = waiters;
    return SAGA_ERR_OK;

fail_mutex:
    (void)pthread_mutex_destroy(&waiters->lock);
fail_cond:
    (void)pthread_cond_destroy(&waiters->changed);
fail_tables:
    waiters_release(waiters);
    return SAGA_ERR_NO_MEMORY;
}

void saga_waiters_close(struct saga_waiters *waiters, saga_waiter_out *out, void *context)
{
    (void)pthread_mutex_lock(&waiters->lock);
    bool first = !waiters->closed;
    waiters->closed = true;
    (void)pthread_cond_signal(&waiters->changed);
    (void)pthread_mutex_unlock(&waiters->lock);
    if (first) {
        (void)pthread_join(waiters->timer, NULL);
    }
    for (;;) {
        (void)pthread_mutex_lock(&waiters->lock);
        bool any = waiters->count > 0;
        void *user = any ? slot_release(waiters, waiters->heap[0]) : NULL;
        (void)pthread_mutex_unlock(&waiters->lock);
        if (!any) {
            return;
        }
        out(context, user);
    }
}

void saga_waiters_free(struct saga_waiters *waiters)
{
    if (waiters == NULL) {
        return;
    }
    SAGA_ASSERT(waiters->closed && waiters->count == 0);
    (void)pthread_mutex_destroy(&waiters->lock);
    (void)pthread_cond_destroy(&waiters->changed);
    waiters_release(waiters);
}
