/* The start relay: asks the orchestrator to start the saga of every order that was saved, until it
 * has answered for each.
 *
 * An order's start is a row of start_outbox, committed with the order. A fresh one comes by
 * saga_start_relay_push and is sent from memory; when memory is full, and after a restart, starts
 * are read from the table. Starting twice is harmless: the order's id is the key of the start
 * (S10).
 *
 *     push ─> queue ─┐
 *                    ├─> batch: SENDING ─> REPLIED ─> SAVING (a job of the kit) ─> free
 *     table ─────────┘              └──── RESTING <──────┘   (what is not answered definitively is
 * tried again)
 *
 * Threads: its own, which sends; the bus's, which bring replies; the kit's worker, which saves. */
#ifndef SAGA_ORDER_START_RELAY_H
#define SAGA_ORDER_START_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bus/nng/rpc.h"
#include "services/order/order.h"

struct saga_start_relay;

/* Counts for /metrics. */
struct saga_start_counts {
    _Atomic int64_t started, existing, refused; /* answers for one order each */
    _Atomic int64_t retried;                    /* orders sent again */
    _Atomic int64_t batches;                    /* messages sent */
    _Atomic int64_t waiting;                    /* orders in memory that are not answered yet */
};

struct saga_start_relay_config {
    const char *const *addresses; /* the orchestrator's */
    size_t address_count;
    struct saga_rpc_tls tls;
    const char *definition;    /* "create-order" */
    const char *database_path; /* read on the relay's own connection */
    struct saga_kit *kit;      /* saves what was answered */
    struct saga_orders *orders;
};

/* Opens its connections and starts its thread, which begins with what the table holds. Errors:
 * INVALID (a bad address), UNAVAILABLE and the database's; detail says. Owns: the caller, until
 * free. */
enum saga_err saga_start_relay_new(const struct saga_start_relay_config *config,
                                   struct saga_start_relay **relay,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Hands over an order that was just committed. Thread: the kit's worker. */
void saga_start_relay_push(struct saga_start_relay *relay, int64_t order_id, int64_t customer_id,
                           const struct saga_order_line *lines, size_t line_count);

/* Tells of an order that was just committed: its start is read from the table. Thread: the kit's
 * worker. */
void saga_start_relay_note(struct saga_start_relay *relay, int64_t order_id);

/* Tells whether the orchestrator is connected. Thread: any. */
bool saga_start_relay_connected(const struct saga_start_relay *relay);

const struct saga_start_counts *saga_start_relay_counts(const struct saga_start_relay *relay);

/* Ends its thread: sends no more; what was not answered stays in the table. Thread: main. */
void saga_start_relay_stop(struct saga_start_relay *relay);

/* Frees. Pre: stopped, and the kit's worker has ended. NULL is nothing. */
void saga_start_relay_free(struct saga_start_relay *relay);

#endif
