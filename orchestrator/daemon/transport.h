/* Commands to participants over NNG: batches by themselves, one pending list per participant.
 *
 * Implements the runtime's transport port. What is ready for one participant in one turn goes out
 * as one message; while all of its contexts are in use, commands gather and go out together.
 * Answers come back into the inbox. Thread: the loop's; completions on NNG's. */
#ifndef SAGA_DAEMON_TRANSPORT_H
#define SAGA_DAEMON_TRANSPORT_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/bus/nng/rpc.h"
#include "common/sys/inbox.h"
#include "orchestrator/daemon/input.h"
#include "orchestrator/runtime/runtime.h"

struct transport;

struct transport_config {
    struct saga_inbox *inbox;
    struct saga_rpc_tls tls;
    /* Called by committed(): wakes the relays. */
    void (*committed)(void *user, bool outbox, bool audit);
    void *user;
};

enum saga_err transport_new(const struct transport_config *config,
                            struct transport **transport) SAGA_WARN_UNUSED;

/* Adds an address of a service ("kitchen.v1.KitchenService"). Before start. Errors: LIMIT. */
enum saga_err transport_add_address(struct transport *transport, const char *service,
                                    const char *address,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Gives the number of a service, making one up for a service without address (its commands are
 * never sent, until it is configured). Errors: LIMIT. */
enum saga_err transport_number(struct transport *transport, const char *service,
                               uint16_t *number) SAGA_WARN_UNUSED;

/* Begins to dial. */
enum saga_err transport_start(struct transport *transport,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* The port. */
struct saga_transport_port transport_port(struct transport *transport);

/* Takes an INPUT_ANSWERED apart into the runtime's present turn, and frees it. Returns the number
 * of replies. */
size_t transport_take(struct transport *transport, struct input *input,
                      struct saga_runtime *runtime);

/* When transport_flush is wanted although nothing happens; 0: never. */
int64_t transport_next_due(const struct transport *transport);

/* Sends what contexts that became free can carry; gives back, as not sent, what has waited for as
 * long as its attempt lasts. */
void transport_flush(struct transport *transport);

/* Looks at the i-th participant: its service, its first address or "", whether it is connected.
 * NULL behind the last. Thread: any after start. */
const char *transport_participant(const struct transport *transport, size_t index,
                                  const char **address, bool *connected);

/* Sends nothing any more: what was not sent is left to the next process, what is out may still be
 * answered. */
void transport_hold(struct transport *transport);

/* Tells how many messages are out. */
size_t transport_outstanding(const struct transport *transport);

/* Ends what is out (its inputs still come into the inbox), frees. NULL is nothing. */
void transport_stop(struct transport *transport);
void transport_free(struct transport *transport);

#endif
