/* Inbox: a bounded queue from any thread to one loop thread. Entries are intrusive: the first
 * member of what is queued. */
#ifndef SAGA_SYS_INBOX_H
#define SAGA_SYS_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct saga_inbox;

struct saga_inbox_entry {
    struct saga_inbox_entry *next;
};

/* How an entry that finds the inbox full is treated. */
enum saga_inbox_door {
    SAGA_INBOX_REFUSE, /* work from outside: refused with FULL */
    SAGA_INBOX_ACCEPT, /* answers to what this process has asked: bounded by what is outstanding,
                          always taken */
};

/* Makes an inbox for capacity entries. Errors: NO_MEMORY. Owns: the caller, until free. */
enum saga_err saga_inbox_new(size_t capacity, struct saga_inbox **inbox) SAGA_WARN_UNUSED;

/* Frees an empty inbox. */
void saga_inbox_free(struct saga_inbox *inbox);

/* Puts an entry in and wakes the loop. Thread: any. Owns: the inbox on success, the caller on
 * failure. Errors: FULL; CLOSED after close. */
enum saga_err saga_inbox_put(struct saga_inbox *inbox, struct saga_inbox_entry *entry,
                             enum saga_inbox_door door) SAGA_WARN_UNUSED;

/* Takes up to count_max entries, oldest first, linked by next; waits up to wait_us for the first
 * (0: do not wait, -1: for ever). Returns NULL when none came, the wait was ended by wake, or the
 * inbox is closed and empty. Thread: the loop. */
struct saga_inbox_entry *saga_inbox_take(struct saga_inbox *inbox, size_t count_max,
                                         int64_t wait_us);

/* Ends a wait now or the next one. Thread: any. */
void saga_inbox_wake(struct saga_inbox *inbox);

/* Refuses further entries; those inside can still be taken. Thread: any. */
void saga_inbox_close(struct saga_inbox *inbox);

/* Gives the number of entries inside. Thread: any. */
size_t saga_inbox_count(struct saga_inbox *inbox);

#endif
