/* The order service's HTTP door: POST /orders, GET /orders/{id}, GET /orders?customer_id=, and what
 * operators ask for.
 *
 * Orders are placed by jobs of the kit, so that all that came in one turn are one commit. Reads use
 * their own read-only connections: they wait for no writer, no writer waits for them, and they
 * cause no fsync. Threads: the HTTP thread takes requests; the kit's worker answers those that wait
 * for a commit or a decision; the waiters' timer those whose wait is over. */
#ifndef SAGA_ORDER_ORDER_HTTP_H
#define SAGA_ORDER_ORDER_HTTP_H

#include <stdint.h>

#include "services/order/order.h"
#include "services/order/start_relay.h"

struct saga_order_http;

struct saga_order_http_config {
    const char *address;
    uint16_t port; /* 0: a free one */
    struct saga_kit *kit;
    struct saga_orders *orders;
    struct saga_start_relay *relay;
};

/* Opens the door. Pre: the database is open and no worker runs yet. Errors: UNAVAILABLE (port
 * taken), INVALID (bad address), and the database's; detail says. Owns: the caller, until free. */
enum saga_err saga_order_http_start(const struct saga_order_http_config *config,
                                    struct saga_order_http **http,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Gives "http://ADDRESS:PORT". */
const char *saga_order_http_address(const struct saga_order_http *http);

/* Answers all who wait for the decision on an order. Thread: the worker, after the commit of the
 * decision. */
void saga_order_http_decided(struct saga_order_http *http, int64_t order_id);

/* Refuses orders from now on and answers all who wait with what is known. Thread: main. */
void saga_order_http_drain(struct saga_order_http *http);

/* Closes the door and frees. Pre: drained; the worker has ended. NULL is nothing. */
void saga_order_http_free(struct saga_order_http *http);

#endif
