/* Inside the admin API: batches, their slots, who waits. */
#ifndef SAGA_DAEMON_ADMIN_INTERNAL_H
#define SAGA_DAEMON_ADMIN_INTERNAL_H

#include "common/wire/envelope.h"
#include "orchestrator/daemon/admin.h"

struct batch;

/* One command of a batch; the ticket of starts and acts. */
struct slot {
    struct batch *batch;
    const struct saga_command *command;
    struct saga_buf reply; /* encoded, when done */
    bool done;
    struct slot *next; /* in the list of reads, or of a waiter bucket */
    /* Who waits. */
    struct saga_id wait_id;
    int64_t wait_until_unix_ms;
    int64_t wait_ms;
    uint64_t after_seq;
    bool watch;    /* waits for an event after after_seq; else for the end */
    bool existing; /* of the start's answer */
    /* An act on a definition. */
    const struct saga_runtime *runtime;
    const char *definition;    /* in the batch's arena */
    struct saga_bytes payload; /* of its answer, in the batch's arena */
};

/* One request, from decoding to its answer. */
struct batch {
    struct input input;
    struct saga_rpc_request *request;
    struct saga_arena arena;
    struct saga_command *commands;
    struct slot *slots;
    size_t count;
    size_t open;       /* slots not done */
    size_t waiting;    /* slots that wait */
    size_t reply_size; /* bytes of the replies so far */
};

enum { WAITER_BUCKETS = 4096 };

struct admin {
    struct admin_config config;
    struct saga_store_port store;
    struct versions *versions;
    struct slot *reads; /* wait for the end of the turn */
    struct slot *waiters[WAITER_BUCKETS];
    size_t waiter_count;
    size_t waiting_batches;      /* requests that are kept because of them */
    int64_t first_until_unix_ms; /* no waiter's time is over before */
    struct saga_buf out;
    struct health_report report; /* large, so not on the stack */
};

/* Ends a slot with a status; with OK and a payload. The batch is answered, and gone, with its last
 * slot. */
void slot_finish(struct admin *admin, struct slot *slot, const struct saga_status *status,
                 struct saga_bytes payload);

/* Ends a slot with a failure. */
void slot_fail(struct admin *admin, struct slot *slot, enum saga_code code, const char *reason,
               const char *message);

/* Acts on definitions (admin_pause.c): tells whether a method is one, takes it into the turn, and
 * answers it. */
bool admin_takes_pause(const char *method);
void admin_take_pause(struct admin *admin, struct slot *slot, struct saga_runtime *runtime);
void admin_finish_pause(struct admin *admin, struct slot *slot, bool changed);

/* Applying and removing definitions (admin_definitions.c), likewise. */
bool admin_takes_definition(const char *method);
void admin_take_definition(struct admin *admin, struct slot *slot, struct saga_runtime *runtime);
void admin_finish_definition(struct admin *admin, struct slot *slot, bool changed);

struct Saga__V1__Pause;

/* Makes the message that says by whom a definition is paused; *pause is NULL when it is not.
 * Returns false when there is no memory. */
bool admin_make_pause(const struct saga_runtime *runtime, const char *definition,
                      struct saga_arena *arena, struct Saga__V1__Pause **pause);

/* Answers a read. Between turns. */
void admin_read(struct admin *admin, struct slot *slot, struct saga_runtime *runtime);

#endif
