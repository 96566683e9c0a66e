/* Waiters: a bounded table of those who wait for an order to be decided, each with a time at which
 * it gives up.
 *
 * A waiter is taken out exactly once: by wake, by withdraw, by its time, or by close; whoever takes
 * it out owns its user pointer again. Thread: any; callbacks run without a lock held. */
#ifndef SAGA_ORDER_WAITERS_H
#define SAGA_ORDER_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct saga_waiters;

/* Takes a waiter's user pointer over. */
typedef void saga_waiter_out(void *context, void *user);

/* Makes a table for capacity waiters, and its timer thread, which calls expired(context, user) for
 * those whose time has come. Errors: NO_MEMORY. Owns: the caller, until free. */
enum saga_err saga_waiters_new(size_t capacity, saga_waiter_out *expired, void *context,
                               struct saga_waiters **waiters) SAGA_WARN_UNUSED;

/* Puts a waiter in until due_mono_us. *ticket, never 0, is for withdraw; it is written before the
 * waiter can be taken out. Errors: FULL; CLOSED. */
enum saga_err saga_waiters_add(struct saga_waiters *waiters, int64_t order_id, int64_t due_mono_us,
                               void *user, uint64_t *ticket) SAGA_WARN_UNUSED;

/* Takes a waiter out again. Returns false when somebody else has. */
bool saga_waiters_withdraw(struct saga_waiters *waiters, uint64_t ticket);

/* Tells whether anybody waits for an order. */
bool saga_waiters_any(struct saga_waiters *waiters, int64_t order_id);

/* Takes out all who wait for an order. */
void saga_waiters_wake(struct saga_waiters *waiters, int64_t order_id, saga_waiter_out *out,
                       void *context);

/* Gives the number of waiters. */
size_t saga_waiters_count(struct saga_waiters *waiters);

/* Refuses further waiters, takes out all, ends the timer thread. */
void saga_waiters_close(struct saga_waiters *waiters, saga_waiter_out *out, void *context);

/* Frees a closed table. NULL is nothing. */
void saga_waiters_free(struct saga_waiters *waiters);

#endif
