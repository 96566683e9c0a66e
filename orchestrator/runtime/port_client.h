/* The client port: answers to those who asked, after commit. Implemented by the daemon. Thread: the
 * loop's. */
#ifndef SAGA_RUNTIME_PORT_CLIENT_H
#define SAGA_RUNTIME_PORT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/status.h"
#include "orchestrator/engine/engine.h"

/* Outcome of a start or of an operator's act. */
struct saga_answer {
    enum saga_code code; /* OK: what follows counts */
    const char *reason;  /* UPPER_SNAKE, or "" */
    const char *message; /* for people, or "" */
    struct saga_id id;
    enum saga_state state;
    uint64_t seq;
    bool existing; /* a start: the key had been used */
};

struct saga_client_ops {
    /* Answers a start or an act; the ticket is what the client gave with it. What the answer says
     * is durable. */
    void (*answer)(void *client, void *ticket, const struct saga_answer *answer);
    /* Tells that a saga has changed, once per turn, after commit. */
    void (*changed)(void *client, struct saga_id id, enum saga_state state, uint64_t seq,
                    bool ended);
};

struct saga_client_port {
    const struct saga_client_ops *ops;
    void *client;
};

#endif
