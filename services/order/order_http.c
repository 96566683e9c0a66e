#include "services/order/order_http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/http/http.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "services/order/order_http_room.h"
#include "services/order/order_json.h"

/* A request that is being worked on; freed when it is answered. */
struct exchange {
    struct saga_kit_job job; /* first: the job finds its exchange */
    struct saga_order_http *http;
    struct saga_http_request *request;
    enum saga_order_route route;
    int64_t begun_us;
    int64_t wait_ms;
    int64_t order_id;
    bool created; /* POST made a new order: 201 */
};

/* A POST. */
struct placing {
    struct exchange exchange; /* first */
    struct saga_order_request wanted;
    struct saga_order order;
    bool existing;
    char items[]; /* as they are stored */
};

/* ---- Answers ---- */

static void request_count(struct saga_order_http *http, enum saga_order_route route,
                          unsigned status, int64_t begun_us)
{
    size_t class = status < 400 ? 0 : status < 500 ? 1 : 2;
    atomic_fetch_add_explicit(&http->requests[route][class], 1, memory_order_relaxed);
    saga_histogram_add(&http->seconds[route], saga_clock_mono_us() - begun_us);
}

static void exchange_error(struct exchange *exchange, unsigned status, const char *code,
                           const char *field, const char *message)
{
    request_count(exchange->http, exchange->route, status, exchange->begun_us);
    saga_http_answer_error(exchange->request, status, code, field, "%s", message);
    free(exchange);
}

/* Answers 503: the client is asked to come back. */
static void exchange_overloaded(struct exchange *exchange, const char *code, const char *message)
{
    char body[160];
    int size = snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", code,
                        message);
    request_count(exchange->http, exchange->route, 503, exchange->begun_us);
    saga_http_answer(exchange->request, 503, SAGA_ORDER_JSON_TYPE,
                     (struct saga_bytes){.data = (const uint8_t *)body, .size = (size_t)size},
                     "Retry-After: 1");
    free(exchange);
}

/* Answers with an order. */
static void exchange_answer(struct exchange *exchange, const struct saga_order *order)
{
    struct saga_buf body = {0};
    if (saga_order_json_write(order, &body) != SAGA_ERR_OK) {
        saga_buf_fini(&body);
        exchange_overloaded(exchange, "RESOURCE_EXHAUSTED", "out of memory");
        return;
    }
    char location[64];
    (void)snprintf(location, sizeof location, "Location: /orders/%" PRId64, order->order_id);
    unsigned status = exchange->created ? 201 : 200;
    request_count(exchange->http, exchange->route, status, exchange->begun_us);
    saga_http_answer(exchange->request, status, SAGA_ORDER_JSON_TYPE, saga_buf_view(&body),
                     exchange->route == SAGA_ORDER_ROUTE_PLACE ? location : NULL);
    saga_buf_fini(&body);
    free(exchange);
}

/* Answers with what a connection sees of the exchange's order. */
static void exchange_answer_from(struct exchange *exchange, struct saga_sql *sql)
{
    struct saga_order order;
    struct saga_sql_stmt *stmt = NULL;
    struct saga_err_detail detail = {.text = ""};
    enum saga_err err = saga_order_read(sql, exchange->order_id, &order, &stmt, &detail);
    if (err == SAGA_ERR_OK) {
        exchange_answer(exchange, &order);
        saga_sql_reset(stmt);
    } else if (err == SAGA_ERR_NOT_FOUND) {
        exchange_error(exchange, 404, "NOT_FOUND", "order_id", detail.text);
    } else {
        saga_log(SAGA_LOG_ERROR, "order_unreadable", "order_id=%" PRId64 " err=%s detail=\"%s\"",
                 exchange->order_id, saga_err_name(err), detail.text);
        exchange_error(exchange, 500, "INTERNAL", NULL, "the order cannot be read");
    }
}

/* ---- Waiting ---- */

static void waiter_expired(void *context, void *user)
{
    struct saga_order_http *http = context;
    exchange_answer_from(user, http->sql_timer);
}

static void waiter_decided(void *order, void *user)
{
    exchange_answer(user, order);
}

void saga_order_http_decided(struct saga_order_http *http, int64_t order_id)
{
    if (!saga_waiters_any(http->waiters, order_id)) {
        return;
    }
    struct saga_order order;
    struct saga_sql_stmt *stmt = NULL;
    struct saga_err_detail detail = {.text = ""};
    enum saga_err err = saga_order_read(http->sql_worker, order_id, &order, &stmt, &detail);
    if (err != SAGA_ERR_OK) {
        /* They will be answered when their time is over. */
        saga_log(SAGA_LOG_ERROR, "order_unreadable", "order_id=%" PRId64 " err=%s detail=\"%s\"",
                 order_id, saga_err_name(err), detail.text);
        return;
    }
    if (order.state != SAGA_ORDER_PENDING) {
        saga_waiters_wake(http->waiters, order_id, waiter_decided, &order);
    }
    saga_sql_reset(stmt);
}

/* Lets an exchange wait for the decision on its order. Returns false when it cannot: the table is
 * full or closed. */
static bool exchange_wait(struct exchange *exchange, uint64_t *ticket)
{
    struct saga_order_http *http = exchange->http;
    int64_t due = saga_clock_mono_us() + exchange->wait_ms * 1000;
    enum saga_err err = saga_waiters_add(http->waiters, exchange->order_id, due, exchange, ticket);
    if (err == SAGA_ERR_FULL) {
        atomic_fetch_add_explicit(&http->waiters_refused, 1, memory_order_relaxed);
    }
    return err == SAGA_ERR_OK;
}

/* ---- POST /orders ---- */

static void place_run(struct saga_kit_job *job, struct saga_call *call)
{
    struct placing *placing = (struct placing *)job;
    (void)saga_order_place(call, &placing->wanted, placing->items, &placing->order,
                           &placing->existing);
}

/* Answers a POST whose order was not saved. */
static void place_failed(struct placing *placing, const struct saga_status *status)
{
    struct saga_order_http *http = placing->exchange.http;
    if (strcmp(status->reason, "IDEMPOTENCY_KEY_REUSED") == 0) {
        atomic_fetch_add_explicit(&http->orders->counts.key_reused, 1, memory_order_relaxed);
        exchange_error(&placing->exchange, 422, status->reason, "Idempotency-Key", status->message);
        return;
    }
    enum saga_code_class class = saga_code_class(status->code);
    atomic_fetch_add_explicit(&http->failed, 1, memory_order_relaxed);
    if (class == SAGA_CODE_CLASS_RETRY) {
        exchange_overloaded(&placing->exchange, "UNAVAILABLE",
                            "the order was not saved, try again");
    } else {
        /* What the database says is for the log, which the kit writes. */
        exchange_error(&placing->exchange, 500, "INTERNAL", NULL, "the order could not be saved");
    }
}

/* The order is durable. On the worker, which will run the decision later: a waiter that is put in
 * here misses nothing. */
static void place_done(struct saga_kit_job *job, bool committed, const struct saga_status *status)
{
    struct placing *placing = (struct placing *)job;
    struct exchange *exchange = &placing->exchange;
    struct saga_order_http *http = exchange->http;
    if (!committed) {
        place_failed(placing, status);
        return;
    }
    uint64_t ticket;
    exchange->order_id = placing->order.order_id;
    exchange->created = !placing->existing;
    saga_orders_placed(http->orders, placing->existing);
    if (exchange->created) {
        saga_start_relay_push(http->relay, placing->order.order_id, placing->wanted.customer_id,
                              placing->wanted.lines, placing->wanted.line_count);
        if (exchange->wait_ms == 0 || !exchange_wait(exchange, &ticket)) {
            exchange_answer(exchange, &placing->order);
        }
    } else if (exchange->wait_ms == 0 || !exchange_wait(exchange, &ticket)) {
        exchange_answer_from(exchange, http->sql_worker);
    } else {
        /* An older order may have been decided in this very commit, and its waiters woken already.
         */
        saga_order_http_decided(http, placing->order.order_id);
    }
}

/* Refuses a query with parameters besides the known ones, or with one of them twice: a typo would
 * silently change what is asked. Returns false when it was answered so. */
static bool query_check(struct saga_order_http *http, struct saga_http_request *request,
                        enum saga_order_route route, int64_t begun_us, const char *const *known)
{
    bool twice = false;
    const char *stray = saga_http_query_stray(request, known, &twice);
    if (stray == NULL) {
        return true;
    }
    char field[48]; /* it comes from outside */
    (void)snprintf(field, sizeof field, "%s", stray);
    for (char *at = field; *at != '\0'; at++) {
        *at = *at < 0x20 || *at > 0x7e ? '?' : *at;
    }
    request_count(http, route, 400, begun_us);
    if (twice) {
        saga_http_answer_error(request, 400, "INVALID_ARGUMENT", field, "is given twice");
    } else {
        saga_http_answer_error(request, 400, "INVALID_ARGUMENT", field,
                               "is not known here; known: %s%s%s", known[0],
                               known[1] == NULL ? "" : ", ", known[1] == NULL ? "" : known[1]);
    }
    return false;
}

static const char *const wait_only[] = {"wait", NULL};

/* Reads ?wait=. Returns false when it was answered with an error. */
static bool wait_take(struct saga_order_http *http, struct saga_http_request *request,
                      enum saga_order_route route, int64_t begun_us, int64_t *wait_ms)
{
    *wait_ms = 0;
    if (!query_check(http, request, route, begun_us, wait_only)) {
        return false;
    }
    const char *text = saga_http_query(request, "wait");
    if (text == NULL || saga_order_wait_read(text, wait_ms)) {
        return true;
    }
    request_count(http, route, 400, begun_us);
    saga_http_answer_error(request, 400, "INVALID_ARGUMENT", "wait",
                           "must be a time such as 5s or 500ms (a number alone is milliseconds),"
                           " at most %ds",
                           SAGA_WAIT_MS_MAX / 1000);
    return false;
}

/* Takes the Idempotency-Key header. Returns false when it is not a sound one. */
static bool key_take(struct saga_http_request *request, struct saga_order_request *wanted)
{
    const char *key = saga_http_header(request, "Idempotency-Key");
    wanted->idempotency_key[0] = '\0';
    if (key == NULL) {
        return true;
    }
    size_t size = strlen(key);
    if (size < 1 || size > SAGA_ORDER_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (key[i] < 0x21 || key[i] > 0x7e) {
            return false;
        }
    }
    memcpy(wanted->idempotency_key, key, size + 1);
    return true;
}

/* Refuses a POST before there is an exchange. */
static void place_refuse(struct saga_order_http *http, struct saga_http_request *request,
                         int64_t begun_us, const char *field, const char *message)
{
    atomic_fetch_add_explicit(&http->invalid, 1, memory_order_relaxed);
    request_count(http, SAGA_ORDER_ROUTE_PLACE, 400, begun_us);
    saga_http_answer_error(request, 400, "INVALID_ARGUMENT", field, "%s", message);
}

/* Makes the exchange of a POST; NULL when there is no memory. */
static struct placing *placing_new(struct saga_order_http *http, struct saga_http_request *request,
                                   const struct saga_order_request *wanted)
{
    char items[SAGA_ORDER_ITEMS_TEXT_SIZE];
    saga_order_items_write(wanted->lines, wanted->line_count, items);
    size_t items_size = strlen(items) + 1;
    struct placing *placing = malloc(sizeof *placing + items_size);
    if (placing != NULL) {
        placing->exchange = (struct exchange){
            .job = {.run = place_run, .done = place_done},
            .http = http,
            .request = request,
            .route = SAGA_ORDER_ROUTE_PLACE,
        };
        placing->wanted = *wanted;
        placing->existing = false;
        memcpy(placing->items, items, items_size);
    }
    return placing;
}

static void handle_place(void *context, struct saga_http_request *request)
{
    struct saga_order_http *http = context;
    int64_t begun_us = saga_clock_mono_us();
    struct saga_order_request wanted;
    struct saga_order_fault fault;
    int64_t wait_ms;
    if (!key_take(request, &wanted)) {
        place_refuse(http, request, begun_us, "Idempotency-Key",
                     "must have 1 to 127 printable ASCII characters without spaces");
        return;
    }
    if (!wait_take(http, request, SAGA_ORDER_ROUTE_PLACE, begun_us, &wait_ms)) {
        atomic_fetch_add_explicit(&http->invalid, 1, memory_order_relaxed);
        return;
    }
    if (!saga_order_request_read(saga_http_body(request), &wanted, &fault)) {
        place_refuse(http, request, begun_us, fault.field, fault.message);
        return;
    }
    struct placing *placing = placing_new(http, request, &wanted);
    if (placing == NULL) {
        request_count(http, SAGA_ORDER_ROUTE_PLACE, 503, begun_us);
        saga_http_answer_error(request, 503, "RESOURCE_EXHAUSTED", NULL, "out of memory");
        return;
    }
    placing->exchange.begun_us = begun_us;
    placing->exchange.wait_ms = wait_ms;
    enum saga_err err = atomic_load(&http->draining)
                            ? SAGA_ERR_CLOSED
                            : saga_kit_submit(http->kit, &placing->exchange.job);
    if (err != SAGA_ERR_OK) {
        atomic_fetch_add_explicit(&http->overloaded, 1, memory_order_relaxed);
        exchange_overloaded(&placing->exchange, err == SAGA_ERR_CLOSED ? "STOPPING" : "OVERLOADED",
                            err == SAGA_ERR_CLOSED ? "the order service is stopping"
                                                   : "too many orders at once, try again");
    }
}

/* ---- GET /orders/{id} ---- */

/* Answers now if the order is decided or cannot be read, else lets the exchange, which waits
 * already, wait on: put in before the look, so that a decision in between finds it. */
static void get_or_wait(struct exchange *exchange)
{
    struct saga_order_http *http = exchange->http;
    struct saga_order order;
    struct saga_sql_stmt *stmt = NULL;
    uint64_t ticket = 0;
    int64_t order_id = exchange->order_id;
    if (!exchange_wait(exchange, &ticket)) {
        exchange_answer_from(exchange, http->sql_http);
        return;
    }
    enum saga_err err = saga_order_read(http->sql_http, order_id, &order, &stmt, NULL);
    bool pending = err == SAGA_ERR_OK && order.state == SAGA_ORDER_PENDING;
    if (err == SAGA_ERR_OK) {
        saga_sql_reset(stmt);
    }
    if (!pending && saga_waiters_withdraw(http->waiters, ticket)) {
        exchange_answer_from(exchange, http->sql_http);
    }
}

static void handle_get(void *context, struct saga_http_request *request)
{
    struct saga_order_http *http = context;
    int64_t begun_us = saga_clock_mono_us();
    int64_t order_id;
    int64_t wait_ms;
    if (!saga_order_number_read(saga_http_path_value(request), 1, INT64_MAX, &order_id)) {
        request_count(http, SAGA_ORDER_ROUTE_GET, 400, begun_us);
        saga_http_answer_error(request, 400, "INVALID_ARGUMENT", "order_id",
                               "must be a whole number greater than 0");
        return;
    }
    if (!wait_take(http, request, SAGA_ORDER_ROUTE_GET, begun_us, &wait_ms)) {
        return;
    }
    struct exchange *exchange = malloc(sizeof *exchange);
    if (exchange == NULL) {
        request_count(http, SAGA_ORDER_ROUTE_GET, 503, begun_us);
        saga_http_answer_error(request, 503, "RESOURCE_EXHAUSTED", NULL, "out of memory");
        return;
    }
    *exchange = (struct exchange){
        .http = http,
        .request = request,
        .route = SAGA_ORDER_ROUTE_GET,
        .begun_us = begun_us,
        .wait_ms = wait_ms,
        .order_id = order_id,
    };
    if (wait_ms == 0) {
        exchange_answer_from(exchange, http->sql_http);
    } else {
        get_or_wait(exchange);
    }
}

/* ---- GET /orders ---- */

static enum saga_err list_write(struct saga_order_http *http, int64_t customer_id, int64_t limit,
                                struct saga_buf *body, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_buf_append(body, saga_bytes_text("{\"orders\":["));
    if (err == SAGA_ERR_OK) {
        err = saga_order_list(http->sql_http, customer_id, limit, &stmt, detail);
    }
    bool first = true;
    while (err == SAGA_ERR_OK) {
        struct saga_order order;
        bool row = false;
        err = saga_order_list_next(stmt, &order, &row, detail);
        if (err != SAGA_ERR_OK || !row) {
            break;
        }
        SAGA_ASSERT(body->size < SAGA_ORDER_LIST_SIZE_MAX); /* 1000 orders of 100 lines fit */
        if (!first) {
            err = saga_buf_append(body, saga_bytes_text(","));
        }
        first = false;
        if (err == SAGA_ERR_OK) {
            err = saga_order_json_write(&order, body);
        }
        if (err != SAGA_ERR_OK) {
            saga_sql_reset(stmt);
        }
    }
    return err == SAGA_ERR_OK ? saga_buf_append(body, saga_bytes_text("]}")) : err;
}

/* Reads customer_id and limit. Returns false when it was answered with an error. */
static bool list_take(struct saga_order_http *http, struct saga_http_request *request,
                      int64_t begun_us, int64_t *customer_id, int64_t *limit)
{
    static const char *const known[] = {"customer_id", "limit", NULL};
    if (!query_check(http, request, SAGA_ORDER_ROUTE_LIST, begun_us, known)) {
        return false;
    }
    const char *customer = saga_http_query(request, "customer_id");
    const char *count = saga_http_query(request, "limit");
    *limit = SAGA_ORDER_LIST_COUNT_DEFAULT;
    if (customer == NULL || !saga_order_number_read(customer, 1, INT64_MAX, customer_id)) {
        request_count(http, SAGA_ORDER_ROUTE_LIST, 400, begun_us);
        saga_http_answer_error(request, 400, "INVALID_ARGUMENT", "customer_id",
                               customer == NULL ? "is missing"
                                                : "must be a whole number greater than 0");
        return false;
    }
    if (count != NULL && !saga_order_number_read(count, 1, SAGA_LIST_COUNT_MAX, limit)) {
        request_count(http, SAGA_ORDER_ROUTE_LIST, 400, begun_us);
        saga_http_answer_error(request, 400, "INVALID_ARGUMENT", "limit",
                               "must be a whole number from 1 to %d", SAGA_LIST_COUNT_MAX);
        return false;
    }
    return true;
}

static void handle_list(void *context, struct saga_http_request *request)
{
    struct saga_order_http *http = context;
    int64_t begun_us = saga_clock_mono_us();
    int64_t customer_id;
    int64_t limit;
    if (!list_take(http, request, begun_us, &customer_id, &limit)) {
        return;
    }
    struct saga_buf body = {0};
    struct saga_err_detail detail = {.text = ""};
    enum saga_err err = list_write(http, customer_id, limit, &body, &detail);
    if (err == SAGA_ERR_OK) {
        request_count(http, SAGA_ORDER_ROUTE_LIST, 200, begun_us);
        saga_http_answer(request, 200, SAGA_ORDER_JSON_TYPE, saga_buf_view(&body), NULL);
    } else {
        saga_log(SAGA_LOG_ERROR, "orders_unreadable", "err=%s detail=\"%s\"", saga_err_name(err),
                 detail.text);
        request_count(http, SAGA_ORDER_ROUTE_LIST, 500, begun_us);
        saga_http_answer_error(request, 500, "INTERNAL", NULL, "the orders cannot be read");
    }
    saga_buf_fini(&body);
}

/* ---- Beginning and end ---- */

static const struct saga_http_route routes[] = {
    {"POST", "/orders", handle_place},
    {"GET", "/orders", handle_list},
    {"GET", "/orders/{id}", handle_get},
    {"GET", "/livez", saga_order_http_livez},
    {"GET", "/readyz", saga_order_http_readyz},
    {"GET", "/healthz", saga_order_http_healthz},
    {"GET", "/metrics", saga_order_http_metrics},
};

static enum saga_err door_open(struct saga_order_http *http,
                               const struct saga_order_http_config *config,
                               struct saga_err_detail *detail)
{
    const struct saga_http_config door = {
        .address = config->address,
        .port = config->port,
        .routes = routes,
        .route_count = sizeof routes / sizeof routes[0],
        .context = http,
        .body_size_max = SAGA_ORDER_BODY_SIZE_MAX,
        .header_size_max = SAGA_ORDER_HEADER_SIZE_MAX,
        .connections_max = SAGA_ORDER_CONNECTIONS_MAX,
        .timeout_s = SAGA_ORDER_TIMEOUT_S,
    };
    enum saga_err err = saga_http_start(&door, &http->http, detail);
    if (err == SAGA_ERR_OK) {
        bool six = strchr(config->address, ':') != NULL;
        (void)snprintf(http->address, sizeof http->address, six ? "http://[%s]:%u" : "http://%s:%u",
                       config->address, (unsigned)saga_http_port(http->http));
    }
    return err;
}

static void http_release(struct saga_order_http *http)
{
    if (http->http != NULL) {
        saga_http_stop(http->http);
    }
    saga_waiters_free(http->waiters);
    saga_sql_close(http->sql_timer);
    saga_sql_close(http->sql_http);
    free(http);
}

enum saga_err saga_order_http_start(const struct saga_order_http_config *config,
                                    struct saga_order_http **http_out,
                                    struct saga_err_detail *detail)
{
    struct saga_order_http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "http");
    }
    http->kit = config->kit;
    http->orders = config->orders;
    http->relay = config->relay;
    http->sql_worker = saga_kit_database(config->kit);
    saga_order_http_metrics_init(http);
    const char *path = saga_kit_database_path(config->kit);
    enum saga_err err = saga_sql_open(path, SAGA_SQL_READ_ONLY, &http->sql_http, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_open(path, SAGA_SQL_READ_ONLY, &http->sql_timer, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_waiters_new(SAGA_WAITERS_MAX, waiter_expired, http, &http->waiters);
    }
    if (err == SAGA_ERR_OK) {
        err = door_open(http, config, detail);
        if (err != SAGA_ERR_OK) {
            saga_waiters_close(http->waiters, waiter_expired, http);
        }
    }
    if (err != SAGA_ERR_OK) {
        http_release(http);
        return err;
    }
    *http_out = http;
    return SAGA_ERR_OK;
}

const char *saga_order_http_address(const struct saga_order_http *http)
{
    return http->address;
}

void saga_order_http_drain(struct saga_order_http *http)
{
    atomic_store(&http->draining, true);
    /* The timer thread has ended when its connection is used here. */
    saga_waiters_close(http->waiters, waiter_expired, http);
}

void saga_order_http_free(struct saga_order_http *http)
{
    if (http != NULL) {
        SAGA_ASSERT(atomic_load(&http->draining));
        http_release(http);
    }
}
