/* Inside of the HTTP door: what order_http.c (orders) and order_ops.c (what operators ask for)
 * share. Not for others. */
#ifndef SAGA_ORDER_ORDER_HTTP_ROOM_H
#define SAGA_ORDER_ORDER_HTTP_ROOM_H

#include <stdatomic.h>

#include "common/http/http.h"
#include "common/sys/metrics.h"
#include "services/order/order_http.h"
#include "services/order/waiters.h"

#define SAGA_ORDER_JSON_TYPE "application/json"

enum saga_order_route {
    SAGA_ORDER_ROUTE_PLACE,
    SAGA_ORDER_ROUTE_GET,
    SAGA_ORDER_ROUTE_LIST,
    SAGA_ORDER_ROUTE_COUNT,
};

enum {
    SAGA_ORDER_CODE_CLASS_COUNT = 3, /* 2xx, 4xx, 5xx */
    SAGA_ORDER_METRICS_MAX = 64,
    SAGA_ORDER_LIST_SIZE_MAX = 8 * 1024 * 1024, /* 1000 orders of 100 lines fit */
};

struct saga_order_http {
    struct saga_http *http;
    struct saga_kit *kit;
    struct saga_orders *orders;
    struct saga_start_relay *relay;
    struct saga_waiters *waiters;
    struct saga_sql *sql_worker; /* the kit's; the worker's thread only */
    struct saga_sql *sql_http;   /* the HTTP thread's */
    struct saga_sql *sql_timer;  /* the timer thread's, and main's after it has ended */
    atomic_bool draining;
    char address[96];

    struct saga_histogram seconds[SAGA_ORDER_ROUTE_COUNT];
    _Atomic int64_t requests[SAGA_ORDER_ROUTE_COUNT][SAGA_ORDER_CODE_CLASS_COUNT];
    _Atomic int64_t invalid, overloaded, failed; /* POST, by result */
    _Atomic int64_t waiters_refused;
    _Atomic int64_t waiting; /* sampled when asked for */
    struct saga_metric metrics[SAGA_ORDER_METRICS_MAX];
    size_t metric_count;
};

/* Makes the table of metrics. */
void saga_order_http_metrics_init(struct saga_order_http *http);

/* Handlers; context is the door. */
void saga_order_http_livez(void *context, struct saga_http_request *request);
void saga_order_http_readyz(void *context, struct saga_http_request *request);
void saga_order_http_healthz(void *context, struct saga_http_request *request);
void saga_order_http_metrics(void *context, struct saga_http_request *request);

#endif
