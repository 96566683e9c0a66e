/* The transport port: commands that leave after commit. Implemented by the daemon on bus/nng.
 * Thread: the loop's. */
#ifndef SAGA_RUNTIME_PORT_TRANSPORT_H
#define SAGA_RUNTIME_PORT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/id.h"
#include "common/base/op.h"

/* What the transport must know to say that a command was not sent or not answered. */
struct saga_outgoing {
    struct saga_id saga_id;
    uint8_t step;
    enum saga_op op;
    uint32_t attempt;
    uint16_t participant;
    int64_t deadline_unix_ms;
};

struct saga_transport_ops {
    /* Takes an encoded batch element (copied). The answer, or what stands for it, comes back as
     * saga_runtime_reply in a later turn. */
    void (*send)(void *transport, const struct saga_outgoing *outgoing, struct saga_bytes element);
    /* The turn is over: what was taken goes out, batched per participant. */
    void (*flush)(void *transport);
    /* Rows for Kafka were committed: outbox (commands), audit. */
    void (*committed)(void *transport, bool outbox, bool audit);
};

struct saga_transport_port {
    const struct saga_transport_ops *ops;
    void *transport;
};

#endif
