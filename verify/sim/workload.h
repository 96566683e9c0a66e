/* The workload: what sagas are started with, what participants answer, and random sagas to do it
 * with.
 *
 * Everything is a function of a seed and of what is asked, so that a run is the same each time and
 * one effect is answered in one way whoever asks and whenever. No I/O, no globals. Thread: any, one
 * buffer at a time. */
#ifndef SAGA_SIM_WORKLOAD_H
#define SAGA_SIM_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/op.h"
#include "common/wire/schema.h"
#include "verify/sim/swarm.h"

enum {
    SAGA_WORKLOAD_REPEATED_MAX = 3,        /* elements of a repeated field */
    SAGA_WORKLOAD_TEXT_MAX = 24,           /* bytes of a string or bytes field */
    SAGA_WORKLOAD_DEPTH_MAX = 3,           /* messages in messages that are filled */
    SAGA_WORKLOAD_MESSAGE_SIZE_MAX = 2048, /* bytes of a message, about */
    SAGA_WORKLOAD_DEFINITIONS_MAX = 3,
    SAGA_WORKLOAD_STEPS_MAX = 10,
    SAGA_WORKLOAD_SERVICES_MAX = 5,
};

/* ---- Messages ---- */

/* Appends a random valid message of a type. Errors: NO_MEMORY. */
enum saga_err saga_workload_message(const struct saga_message_type *type, uint64_t seed,
                                    struct saga_buf *out) SAGA_WARN_UNUSED;

/* Appends the input of a start: a valid context message. Conditions (`when`) on input fields hold
 * for about half of the seeds. Errors: NO_MEMORY. */
enum saga_err saga_workload_input(const struct saga_decl *decl, uint64_t seed,
                                  struct saga_buf *out) SAGA_WARN_UNUSED;

/* Which command is asked about. */
struct saga_workload_key {
    const struct saga_decl *decl;
    uint8_t step; /* index */
    enum saga_op op;
    struct saga_id saga_id;
    uint32_t attempt;
};

/* Appends the response that the method of a step gives: the same for every attempt. Conditions on
 * fields that it brings hold for about half of the sagas. Errors: NO_MEMORY. */
enum saga_err saga_workload_response(const struct saga_workload_key *key, uint64_t seed,
                                     struct saga_buf *out) SAGA_WARN_UNUSED;

/* ---- Participants' behaviour ---- */

/* What a participant does when its handler is asked (the barrier has let the command through). */
struct saga_behaviour {
    bool effect;            /* the handler answers OK, and the effect stays */
    uint32_t code;          /* what the handler answers; OK exactly when effect */
    const char *reason;     /* static; "" with OK */
    int64_t retry_after_ms; /* 0: no wish */
    uint32_t wire_code; /* what arrives of it: `code`, or an unknown one after the effect (a proxy
                           that gave up); only of this reply, the stored one is OK */
    bool bad_reply;     /* the response that arrives does not fit the type */
    int64_t slow_ms;    /* the participant takes so long */
};

/* Draws the behaviour of an attempt. Retriable steps and undos never get a no that is kept, and
 * succeed after at most swarm->failures_max attempts that went wrong; the pivot too, or it gets its
 * definitive no. With a swarm that is healed everything is OK. */
void saga_workload_behave(const struct saga_workload_key *key, const struct saga_swarm *swarm,
                          uint64_t seed, struct saga_behaviour *behaviour);

/* ---- Random sagas ---- */

/* Shape of the random definitions of one set; 0 in a field: the most. */
struct saga_workload_shape {
    size_t definition_count; /* 1 to SAGA_WORKLOAD_DEFINITIONS_MAX */
    size_t step_count_max;   /* 1 to SAGA_WORKLOAD_STEPS_MAX */
    size_t service_count;    /* 1 to SAGA_WORKLOAD_SERVICES_MAX */
};

/* Appends a FileDescriptorSet with random services, messages and saga definitions ("sim-0", …) that
 * pass all static checks: chains, diamonds, branches, conditions, a pivot or none, read-only steps,
 * steps of the starter, child sagas, NNG and Kafka. Services are "sim.v1.S0", … The same seed and
 * shape give the same bytes. Errors: NO_MEMORY. */
enum saga_err saga_workload_definitions(uint64_t seed, const struct saga_workload_shape *shape,
                                        struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
