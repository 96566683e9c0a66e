/* Commands to participants over NNG: batches by themselves, one pending list per participant.
 *
 * Implements the runtime's transport port. What is ready for one participant in one turn goes out
 * as one message; while all of its contexts are in use, commands gather and go out together.
 * Answers come back into the inbox. Thread: the loop's; completions on NNG's. */
#ifndef SAGA_DAEMON_TRANSPORT_H
#define SAGA_DAEMON_TRANSPORT_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/base/limits.h"
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

/* Adds an address of a service ("kitchen.v1.KitchenService"), as the daemon was started with: what
 * is applied later does not replace it. Before start. Errors: LIMIT. */
enum saga_err transport_add_address(struct transport *transport, const char *service,
                                    const char *address,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Where services are, in the order in which their addresses were given. */
struct transport_addresses {
    const char *service;
    const char *addresses[SAGA_ADDRESSES_MAX];
    size_t count;
};

/* Connections that are being dialed, for addresses that are yet to be set: all or none of them. */
struct transport_dialed {
    struct saga_rpc_client
        *clients[SAGA_PARTICIPANTS_MAX]; /* one for each set; NULL: none needed */
};

/* Checks addresses, of services with or without a number, and begins to dial those that are others
 * than before. After start. Nothing is changed; *dialed is for transport_set_addresses or
 * transport_hang_up, unless there is an error. Errors: LIMIT, INVALID (an address; detail says),
 * NO_MEMORY. */
enum saga_err transport_dial(const struct transport *transport,
                             const struct transport_addresses *sets, size_t count,
                             struct transport_dialed *dialed,
                             struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Gives services other addresses than they have, by what was dialed for the same sets, and empties
 * *dialed. What is out on the connections before may still be answered; what waits goes by the new
 * ones. A service that the daemon was started with addresses of is left as it is, and so is one
 * that nothing has a number of. */
void transport_set_addresses(struct transport *transport, const struct transport_addresses *sets,
                             size_t count, struct transport_dialed *dialed);

/* Lets go of what was dialed. Emptied is nothing. */
void transport_hang_up(struct transport_dialed *dialed);

/* What is known of a service's place. */
enum transport_place {
    TRANSPORT_UNNUMBERED, /* nothing here calls it */
    TRANSPORT_NOWHERE,    /* it has no address */
    TRANSPORT_APPLIED,    /* addresses by transport_set_addresses */
    TRANSPORT_FIXED,      /* addresses that the daemon was started with */
};
enum transport_place transport_place(const struct transport *transport, const char *service);

/* Gives the addresses in use of a service. Returns how many; 0: it has none, or nothing here calls
 * it. Texts live until its addresses are set otherwise. Thread: the loop's. */
size_t transport_addresses_of(const struct transport *transport, const char *service,
                              const char *addresses[SAGA_ADDRESSES_MAX]);

/* Tells how many more services can have a number. */
size_t transport_room(const struct transport *transport);

/* Forgets services for which `keep` says no, unless commands wait for them or the daemon was
 * started with addresses of them. Their numbers are given to others. */
typedef bool transport_keep(void *user, uint16_t number);
void transport_sweep(struct transport *transport, transport_keep *keep, void *user);

/* Gives the number of a service, making one up for a service without address (its commands are
 * never sent, until it is configured). Errors: LIMIT. */
enum saga_err transport_number(struct transport *transport, const char *service,
                               uint16_t *number) SAGA_WARN_UNUSED;

/* Begins to dial what was added. Before any service is numbered otherwise. Errors: INVALID (an
 * address, or a TLS file; detail says), NO_MEMORY. */
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

/* Looks at a participant. Gives false behind the last; *there is false where a number is free.
 * Thread: any after start. */
struct transport_look {
    bool there;
    char service[SAGA_METHOD_NAME_MAX + 1];
    char address[SAGA_ADDRESS_SIZE_MAX + 1]; /* the first; "": none */
    bool connected;
};
bool transport_participant(struct transport *transport, size_t index, struct transport_look *look);

/* Sends nothing any more: what was not sent is left to the next process, what is out may still be
 * answered. */
void transport_hold(struct transport *transport);

/* Tells how many messages are out. */
size_t transport_outstanding(const struct transport *transport);

/* Ends what is out (its inputs still come into the inbox), frees. NULL is nothing. */
void transport_stop(struct transport *transport);
void transport_free(struct transport *transport);

#endif
