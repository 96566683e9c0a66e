/* JSON of orders: requests in, orders out; and the small texts of a URL (ids, times to wait). Any
 * thread. */
#ifndef SAGA_ORDER_ORDER_JSON_H
#define SAGA_ORDER_ORDER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "services/order/order.h"

/* Reads and checks the body of POST /orders. Keys that are not known, given twice, missing or of
 * the wrong type are refused. Returns false with the fault, whose field is "body" when it is not
 * one field's. request->idempotency_key is not touched. */
bool saga_order_request_read(struct saga_bytes body, struct saga_order_request *request,
                             struct saga_order_fault *fault);

/* Reads items as they are stored. Returns false when they are not. */
bool saga_order_items_read(const char *items, struct saga_order_line lines[SAGA_ORDER_LINES_MAX],
                           size_t *count);

/* Appends an order. Errors: NO_MEMORY. */
enum saga_err saga_order_json_write(const struct saga_order *order,
                                    struct saga_buf *out) SAGA_WARN_UNUSED;

/* Appends text as a JSON string, with its quotes. Errors: NO_MEMORY. */
enum saga_err saga_order_json_string(const char *text, struct saga_buf *out) SAGA_WARN_UNUSED;

/* Reads a whole number from min to max, nothing but digits. Returns false when it is not one. */
bool saga_order_number_read(const char *text, int64_t min, int64_t max, int64_t *value);

/* Reads a time to wait: "5s", "500ms", or milliseconds "500"; at most SAGA_WAIT_MS_MAX. Returns
 * false when it is not one. */
bool saga_order_wait_read(const char *text, int64_t *wait_ms);

#endif
