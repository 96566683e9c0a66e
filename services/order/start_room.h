/* Inside of the start relay: what start_relay.c (where orders come from, the thread, beginning and
 * end) and start_batch.c (a batch on its way) share. Not for others. */
#ifndef SAGA_ORDER_START_ROOM_H
#define SAGA_ORDER_START_ROOM_H

#include <pthread.h>

#include "services/order/start_relay.h"

enum {
    SAGA_START_RETRY_US_MIN = 10 * 1000,
    SAGA_START_RETRY_US_MAX = 1000 * 1000,
};

/* One order whose start is not answered yet. */
struct saga_start_entry {
    struct saga_start_entry *next;
    int64_t order_id;
    int64_t customer_id;
    size_t line_count;
    struct saga_order_line lines[];
};

enum saga_start_verdict {
    SAGA_START_OPEN, /* to be sent (again) */
    SAGA_START_STARTED,
    SAGA_START_REFUSED,
};

enum saga_start_state {
    SAGA_START_FREE,
    SAGA_START_RESTING, /* until due_mono_us */
    SAGA_START_SENDING, /* the bus has it */
    SAGA_START_REPLIED, /* reply is there, or it is known that none will come */
    SAGA_START_SAVING,  /* the kit has its job */
    SAGA_START_SAVED,   /* the job has ended */
};

/* Orders that are sent in one message. state is under the relay's lock; the rest belongs to whoever
 * the state says. */
struct saga_start_batch {
    struct saga_kit_job job; /* first: the job finds its batch */
    struct saga_start_relay *relay;
    enum saga_start_state state;
    size_t count;
    size_t window; /* how many of the open ones are sent at once: 1 after the whole message was
                      refused */
    size_t sent;   /* of this attempt: entries[sent_at[0..sent-1]] */
    uint32_t attempt;
    int64_t delay_us;
    int64_t due_mono_us;
    bool committed;
    enum saga_rpc_outcome outcome;
    struct saga_buf reply;
    struct saga_start_entry *entries[SAGA_BATCH_COUNT_MAX];
    uint16_t sent_at[SAGA_BATCH_COUNT_MAX];
    enum saga_start_verdict verdicts[SAGA_BATCH_COUNT_MAX];
    struct saga_id saga_ids[SAGA_BATCH_COUNT_MAX];
};

struct saga_start_relay {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running;
    bool stopping;
    bool awake; /* the thread will look at everything again before it sleeps: no signal is needed */

    /* Fresh orders, under the lock. */
    struct saga_start_entry *first;
    struct saga_start_entry **last;
    size_t queued;

    /* The table, under the lock: while `behind`, orders come from it alone, those after `cursor`.
     */
    bool behind;
    bool noted; /* an order was saved since the last look into the table */
    int64_t cursor;
    int64_t cursor_from;       /* where this walk through the table began */
    int64_t table_due_mono_us; /* not before: the table could not be read */

    struct saga_start_batch *batches[SAGA_ORDER_START_BATCHES_MAX];
    size_t outstanding; /* batches SENDING, under the lock */

    /* The thread's own. */
    struct saga_rpc_client *client;
    struct saga_sql *sql;
    struct saga_buf message;
    struct saga_buf payload;
    struct saga_buf input;
    bool was_connected;
    int64_t complained_mono_us;

    char *definition;
    struct saga_kit *kit;
    struct saga_orders *orders;
    struct saga_start_counts counts;
};

/* Wakes the thread if it sleeps. Pre: locked. */
void saga_start_wake(struct saga_start_relay *relay);

/* Sends what is open in a batch, as far as its window and the message's size go. Pre: locked;
 * unlocks meanwhile. */
void saga_start_batch_send(struct saga_start_relay *relay, struct saga_start_batch *batch);

/* Moves a batch that is not free on as far as it goes without waiting. Pre: locked; unlocks
 * meanwhile. */
void saga_start_batch_move(struct saga_start_relay *relay, struct saga_start_batch *batch);

/* Tells whether a batch holds answers that are not saved yet. */
bool saga_start_batch_answered(const struct saga_start_batch *batch);

#endif
