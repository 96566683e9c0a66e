#include "common/sys/inbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/assert.h"

struct saga_inbox {
    pthread_mutex_t lock;
    pthread_cond_t came; /* an entry, a wake, or the close */
    struct saga_inbox_entry *head;
    struct saga_inbox_entry *tail;
    size_t count;
    size_t capacity;
    bool waiting; /* the loop sleeps: only then a signal is needed */
    bool woken;   /* a wake that no take has seen yet */
    bool closed;
};

static void lock(struct saga_inbox *inbox)
{
    SAGA_ASSERT(pthread_mutex_lock(&inbox->lock) == 0);
}

static void unlock(struct saga_inbox *inbox)
{
    SAGA_ASSERT(pthread_mutex_unlock(&inbox->lock) == 0);
}

enum saga_err saga_inbox_new(size_t capacity, struct saga_inbox **out)
{
    struct saga_inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    inbox->capacity = capacity;
    if (pthread_mutex_init(&inbox->lock, NULL) != 0) {
        goto fail_free;
    }
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        goto fail_lock;
    }
    /* The wait must not follow jumps of the time of day. */
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&inbox->came, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    if (!ok) {
        goto fail_lock;
    }
    *out = inbox;
    return SAGA_ERR_OK;
fail_lock:
    (void)pthread_mutex_destroy(&inbox->lock);
fail_free:
    free(inbox);
    return SAGA_ERR_NO_MEMORY;
}

void saga_inbox_free(struct saga_inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    SAGA_ASSERT(inbox->count == 0);
    SAGA_ASSERT(!inbox->waiting);
    (void)pthread_cond_destroy(&inbox->came);
    (void)pthread_mutex_destroy(&inbox->lock);
    free(inbox);
}

enum saga_err saga_inbox_put(struct saga_inbox *inbox, struct saga_inbox_entry *entry,
                             enum saga_inbox_door door)
{
    enum saga_err err = SAGA_ERR_OK;
    lock(inbox);
    if (inbox->closed) {
        err = SAGA_ERR_CLOSED;
    } else if (inbox->count >= inbox->capacity && door == SAGA_INBOX_REFUSE) {
        err = SAGA_ERR_FULL;
    } else {
        entry->next = NULL;
        if (inbox->tail == NULL) {
            inbox->head = entry;
        } else {
            inbox->tail->next = entry;
        }
        inbox->tail = entry;
        inbox->count++;
        if (inbox->waiting) {
            SAGA_ASSERT(pthread_cond_signal(&inbox->came) == 0);
        }
    }
    unlock(inbox);
    return err;
}

static struct timespec deadline_after(int64_t wait_us)
{
    struct timespec at;
    SAGA_ASSERT(clock_gettime(CLOCK_MONOTONIC, &at) == 0);
    at.tv_sec += (time_t)(wait_us / 1000000);
    at.tv_nsec += (long)(wait_us % 1000000) * 1000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* Waits, under the lock, until there is something to see. */
static void wait_for_entry(struct saga_inbox *inbox, int64_t wait_us)
{
    if (wait_us == 0 || inbox->head != NULL || inbox->woken || inbox->closed) {
        return;
    }
    struct timespec deadline = {0};
    if (wait_us > 0) {
        deadline = deadline_after(wait_us);
    }
    inbox->waiting = true;
    int failed = 0;
    while (inbox->head == NULL && !inbox->woken && !inbox->closed && failed == 0) {
        failed = wait_us < 0 ? pthread_cond_wait(&inbox->came, &inbox->lock)
                             : pthread_cond_timedwait(&inbox->came, &inbox->lock, &deadline);
    }
    inbox->waiting = false;
}

struct saga_inbox_entry *saga_inbox_take(struct saga_inbox *inbox, size_t count_max,
                                         int64_t wait_us)
{
    SAGA_ASSERT(count_max > 0);
    lock(inbox);
    SAGA_ASSERT(!inbox->waiting); /* one loop thread */
    wait_for_entry(inbox, wait_us);
    inbox->woken = false;
    struct saga_inbox_entry *first = inbox->head;
    struct saga_inbox_entry *last = NULL;
    size_t taken = 0;
    for (struct saga_inbox_entry *entry = first; entry != NULL && taken < count_max;
         entry = entry->next) {
        last = entry;
        taken++;
    }
    if (last != NULL) {
        inbox->head = last->next;
        if (inbox->head == NULL) {
            inbox->tail = NULL;
        }
        last->next = NULL;
        inbox->count -= taken;
    }
    SAGA_ASSERT((inbox->head == NULL) == (inbox->count == 0));
    unlock(inbox);
    return first;
}

void saga_inbox_wake(struct saga_inbox *inbox)
{
    lock(inbox);
    inbox->woken = true;
    if (inbox->waiting) {
        SAGA_ASSERT(pthread_cond_signal(&inbox->came) == 0);
    }
    unlock(inbox);
}

void saga_inbox_close(struct saga_inbox *inbox)
{
    lock(inbox);
    inbox->closed = true;
    if (inbox->waiting) {
        SAGA_ASSERT(pthread_cond_signal(&inbox->came) == 0);
    }
    unlock(inbox);
}

size_t saga_inbox_count(struct saga_inbox *inbox)
{
    lock(inbox);
    size_t count = inbox->count;
    unlock(inbox);
    return count;
}
