#include "services/order/order.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "services/order/order_json.h"

/* Items are JSON text, so that HTTP answers copy them and people can query them: order_item is that
 * query, ready made. The index of pending orders is small and always in the cache; it makes
 * counting them at start independent of the history. */
const char *const saga_order_migrations[] = {
    "CREATE TABLE orders ("
    " order_id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " customer_id INTEGER NOT NULL,"
    " items TEXT NOT NULL,"
    " state INTEGER NOT NULL," /* order.v1.OrderState */
    " reason TEXT NOT NULL DEFAULT '',"
    " saga_id BLOB,"
    " created_unix_ms INTEGER NOT NULL,"
    " decided_unix_ms INTEGER NOT NULL DEFAULT 0,"
    " idempotency_key TEXT);"
    "CREATE UNIQUE INDEX orders_by_key ON orders(idempotency_key) WHERE idempotency_key IS NOT "
    "NULL;"
    "CREATE INDEX orders_by_customer ON orders(customer_id, order_id);"
    "CREATE INDEX orders_pending ON orders(order_id) WHERE state = 1;"
    "CREATE TABLE start_outbox (order_id INTEGER PRIMARY KEY);"
    "CREATE VIEW order_item AS SELECT o.order_id AS order_id, j.key AS line,"
    " json_extract(j.value, '$.product_id') AS product_id,"
    " json_extract(j.value, '$.quantity') AS quantity FROM orders o, json_each(o.items) j;",
};
const size_t saga_order_migration_count =
    sizeof saga_order_migrations / sizeof saga_order_migrations[0];

#define ORDER_COLUMNS                                                                              \
    "order_id, customer_id, items, state, reason, saga_id, created_unix_ms, decided_unix_ms"

/* Reads the present row of a SELECT of ORDER_COLUMNS. */
static void order_from_row(struct saga_sql_stmt *stmt, struct saga_order *order)
{
    *order = (struct saga_order){
        .order_id = saga_sql_int(stmt, 0),
        .customer_id = saga_sql_int(stmt, 1),
        .items = saga_sql_text(stmt, 2),
        .state = (enum saga_order_state)saga_sql_int(stmt, 3),
        .reason = saga_sql_text(stmt, 4),
        .created_unix_ms = saga_sql_int(stmt, 6),
        .decided_unix_ms = saga_sql_int(stmt, 7),
    };
    struct saga_bytes saga_id = saga_sql_bytes(stmt, 5);
    if (saga_id.size == SAGA_ID_SIZE) {
        memcpy(order->saga_id.b, saga_id.data, SAGA_ID_SIZE);
        order->has_saga = true;
    }
}

/* ---- What is a sound order ---- */

static bool fault_set(struct saga_order_fault *fault, const char *field, const char *message)
{
    (void)snprintf(fault->field, sizeof fault->field, "%s", field);
    (void)snprintf(fault->message, sizeof fault->message, "%s", message);
    return false;
}

static bool line_check(const struct saga_order_line *line, size_t index,
                       struct saga_order_fault *fault)
{
    if (line->product_id <= 0) {
        (void)snprintf(fault->field, sizeof fault->field, "items[%zu].product_id", index);
        (void)snprintf(fault->message, sizeof fault->message, "must be greater than 0, is %" PRId64,
                       line->product_id);
        return false;
    }
    if (line->quantity < 1 || line->quantity > SAGA_ORDER_QUANTITY_MAX) {
        (void)snprintf(fault->field, sizeof fault->field, "items[%zu].quantity", index);
        (void)snprintf(fault->message, sizeof fault->message, "must be 1 to %d, is %" PRId32,
                       SAGA_ORDER_QUANTITY_MAX, line->quantity);
        return false;
    }
    return true;
}

bool saga_order_check(const struct saga_order_request *request, struct saga_order_fault *fault)
{
    if (request->customer_id <= 0) {
        (void)snprintf(fault->field, sizeof fault->field, "customer_id");
        (void)snprintf(fault->message, sizeof fault->message, "must be greater than 0, is %" PRId64,
                       request->customer_id);
        return false;
    }
    if (request->line_count < 1) {
        return fault_set(fault, "items", "must have at least 1 line");
    }
    for (size_t i = 0; i < request->line_count; i++) {
        if (!line_check(&request->lines[i], i, fault)) {
            return false;
        }
    }
    for (const char *at = request->idempotency_key; *at != '\0'; at++) {
        if (*at < 0x21 || *at > 0x7e) {
            return fault_set(fault, "idempotency_key", "must be printable ASCII without spaces");
        }
    }
    return true;
}

void saga_order_items_write(const struct saga_order_line *lines, size_t count,
                            char text[SAGA_ORDER_ITEMS_TEXT_SIZE])
{
    SAGA_ASSERT(count <= SAGA_ORDER_LINES_MAX);
    char *at = text;
    *at++ = '[';
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(at, SAGA_ORDER_ITEM_TEXT_MAX,
                            "%s{\"product_id\":%" PRId64 ",\"quantity\":%" PRId32 "}",
                            i == 0 ? "" : ",", lines[i].product_id, lines[i].quantity);
        SAGA_ASSERT(size > 0 && size < SAGA_ORDER_ITEM_TEXT_MAX);
        at += size;
    }
    *at++ = ']';
    *at = '\0';
}

/* ---- Placing ---- */

/* Answers with the order that has the key, if there is one. Returns false when there is none. */
static bool place_existing(struct saga_call *call, const struct saga_order_request *request,
                           const char *items, struct saga_order *order, bool *refused)
{
    struct saga_sql_stmt *stmt =
        saga_call_sql(call, "SELECT " ORDER_COLUMNS " FROM orders WHERE idempotency_key = ?", "s",
                      request->idempotency_key);
    if (!saga_call_row(call, stmt)) {
        return false;
    }
    order_from_row(stmt, order);
    *refused = order->customer_id != request->customer_id || strcmp(order->items, items) != 0;
    order->items = items;
    /* A state that may still change is read again by whoever needs it: no text of the row outlives
     * it. */
    order->reason = "";
    saga_sql_reset(stmt);
    if (*refused) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED",
                         "idempotency key of order %" PRId64 ", which asked for something else",
                         order->order_id);
    }
    return true;
}

bool saga_order_place(struct saga_call *call, const struct saga_order_request *request,
                      const char *items, struct saga_order *order, bool *existing)
{
    *existing = false;
    if (request->idempotency_key[0] != '\0') {
        bool refused = false;
        if (place_existing(call, request, items, order, &refused)) {
            *existing = true;
            return !refused;
        }
    }
    int64_t now = saga_call_now_unix_ms(call);
    (void)saga_call_run(call,
                        "INSERT INTO orders (customer_id, items, state, created_unix_ms,"
                        " idempotency_key) VALUES (?, ?, 1, ?, nullif(?, ''))",
                        "isis", request->customer_id, items, now, request->idempotency_key);
    int64_t order_id = saga_sql_last_rowid(saga_call_database(call));
    (void)saga_call_run(call, "INSERT INTO start_outbox (order_id) VALUES (?)", "i", order_id);
    *order = (struct saga_order){
        .order_id = order_id,
        .customer_id = request->customer_id,
        .items = items,
        .state = SAGA_ORDER_PENDING,
        .reason = "",
        .created_unix_ms = now,
    };
    return true;
}

void saga_orders_placed(struct saga_orders *orders, bool existing)
{
    if (existing) {
        atomic_fetch_add_explicit(&orders->counts.existing, 1, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&orders->counts.placed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&orders->counts.pending, 1, memory_order_relaxed);
    }
}

static void placed_committed(void *user, int64_t order_id)
{
    struct saga_orders *orders = user;
    saga_orders_placed(orders, false);
    if (orders->placed != NULL) {
        orders->placed(orders->context, order_id);
    }
}

static void existing_committed(void *user, int64_t order_id)
{
    (void)order_id;
    saga_orders_placed(user, true);
}

/* ---- Reading ---- */

enum saga_err saga_order_read(struct saga_sql *sql, int64_t order_id, struct saga_order *order,
                              struct saga_sql_stmt **stmt, struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_prepare(
        sql, "SELECT " ORDER_COLUMNS " FROM orders WHERE order_id = ?", stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(*stmt, 1, order_id);
    bool row = false;
    err = saga_sql_step(*stmt, &row, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (!row) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "no order %" PRId64, order_id);
    }
    order_from_row(*stmt, order);
    return SAGA_ERR_OK;
}

enum saga_err saga_order_list(struct saga_sql *sql, int64_t customer_id, int64_t limit,
                              struct saga_sql_stmt **stmt, struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_prepare(sql,
                                         "SELECT " ORDER_COLUMNS " FROM orders WHERE customer_id"
                                         " = ? ORDER BY order_id DESC LIMIT ?",
                                         stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_int(*stmt, 1, customer_id);
        saga_sql_bind_int(*stmt, 2, limit);
    }
    return err;
}

enum saga_err saga_order_list_next(struct saga_sql_stmt *stmt, struct saga_order *order, bool *row,
                                   struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_step(stmt, row, detail);
    if (err == SAGA_ERR_OK && *row) {
        order_from_row(stmt, order);
    }
    return err;
}

enum saga_err saga_orders_load(struct saga_orders *orders, struct saga_sql *sql,
                               struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt;
    enum saga_err err =
        saga_sql_prepare(sql, "SELECT count(*) FROM orders WHERE state = 1", &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    bool row = false;
    err = saga_sql_step(stmt, &row, detail);
    if (err == SAGA_ERR_OK && row) {
        atomic_store(&orders->counts.pending, saga_sql_int(stmt, 0));
        saga_sql_reset(stmt);
    }
    return err;
}

/* ---- Deciding ---- */

static void approved_committed(void *user, int64_t order_id)
{
    struct saga_orders *orders = user;
    atomic_fetch_add_explicit(&orders->counts.approved, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&orders->counts.pending, 1, memory_order_relaxed);
    if (orders->decided != NULL) {
        orders->decided(orders->context, order_id);
    }
}

static void rejected_committed(void *user, int64_t order_id)
{
    struct saga_orders *orders = user;
    atomic_fetch_add_explicit(&orders->counts.rejected, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&orders->counts.pending, 1, memory_order_relaxed);
    if (orders->decided != NULL) {
        orders->decided(orders->context, order_id);
    }
}

static const char *state_name(int64_t state)
{
    return state == SAGA_ORDER_PENDING    ? "PENDING"
           : state == SAGA_ORDER_APPROVED ? "APPROVED"
                                          : "REJECTED";
}

/* Says why an order was not PENDING. */
static void refuse_decision(struct saga_call *call, int64_t order_id)
{
    struct saga_sql_stmt *stmt =
        saga_call_sql(call, "SELECT state FROM orders WHERE order_id = ?", "i", order_id);
    if (!saga_call_row(call, stmt)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "ORDER_UNKNOWN", "order %" PRId64 ": unknown",
                         order_id);
        return;
    }
    int64_t state = saga_sql_int(stmt, 0);
    saga_sql_reset(stmt);
    saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "ORDER_NOT_PENDING",
                     "order %" PRId64 ": is %s, not PENDING", order_id, state_name(state));
}

/* PENDING -> APPROVED or REJECTED. The saga's id is kept too: its decision may come before the
 * relay has saved that it started. */
static bool decide(struct saga_call *call, int64_t order_id, enum saga_order_state state,
                   const char *reason)
{
    struct saga_id saga_id = saga_call_saga_id(call);
    struct saga_bytes bytes = {.data = saga_id.b, .size = SAGA_ID_SIZE};
    if (saga_call_op(call) == SAGA_OP_NONE) {
        bytes = (struct saga_bytes){0};
    }
    int64_t changes = saga_call_run(
        call,
        "UPDATE orders SET state = ?, reason = ?, decided_unix_ms = ?,"
        " saga_id = coalesce(nullif(?, x''), saga_id) WHERE order_id = ? AND state = 1",
        "isibi", (int64_t)state, reason, saga_call_now_unix_ms(call), &bytes, order_id);
    if (changes == 0) {
        refuse_decision(call, order_id);
        return false;
    }
    return true;
}

/* Appends text to a reason, in the letters of a reason. */
static void reason_append(char reason[SAGA_STATUS_REASON_MAX + 1], const char *text)
{
    size_t size = strlen(reason);
    for (; *text != '\0' && size < SAGA_STATUS_REASON_MAX; text++) {
        int letter = toupper((unsigned char)*text);
        bool plain = (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9');
        reason[size++] = plain ? (char)letter : '_';
    }
    reason[size] = '\0';
}

/* Tells why an order is rejected: the reason that the failed step gave, or the best that can be
 * said instead. */
static void reason_of_cause(const struct saga_command *command,
                            char reason[SAGA_STATUS_REASON_MAX + 1])
{
    reason[0] = '\0';
    if (command == NULL) {
        reason_append(reason, "UNSPECIFIED");
    } else if (command->cause_status.reason[0] != '\0') {
        reason_append(reason, command->cause_status.reason);
    } else if (command->cause_step[0] != '\0') {
        reason_append(reason, command->cause_step);
        reason_append(reason, "_");
        reason_append(reason, saga_code_name(command->cause_status.code));
    } else if (command->cause_status.code == SAGA_CODE_DEADLINE_EXCEEDED) {
        reason_append(reason, "SAGA_DEADLINE");
    } else if (command->cause_status.code != SAGA_CODE_OK) {
        reason_append(reason, saga_code_name(command->cause_status.code));
    } else {
        reason_append(reason, "UNSPECIFIED");
    }
}

void saga_order_started(struct saga_call *call, int64_t order_id, struct saga_id saga_id)
{
    struct saga_bytes bytes = {.data = saga_id.b, .size = SAGA_ID_SIZE};
    (void)saga_call_run(call,
                        "UPDATE orders SET saga_id = ? WHERE order_id = ? AND saga_id IS NULL",
                        "bi", &bytes, order_id);
    (void)saga_call_run(call, "DELETE FROM start_outbox WHERE order_id = ?", "i", order_id);
}

void saga_order_start_refused(struct saga_orders *orders, struct saga_call *call, int64_t order_id)
{
    int64_t changes = saga_call_run(call,
                                    "UPDATE orders SET state = 3, reason = 'START_REFUSED',"
                                    " decided_unix_ms = ? WHERE order_id = ? AND state = 1",
                                    "ii", saga_call_now_unix_ms(call), order_id);
    (void)saga_call_run(call, "DELETE FROM start_outbox WHERE order_id = ?", "i", order_id);
    if (changes > 0) {
        saga_call_after_commit(call, rejected_committed, orders, order_id);
    }
}

/* ---- The service ---- */

/* Takes the lines of a message over. Returns false when there are too many or too few. */
static bool request_from_message(const Order__V1__PlaceOrderRequest *in,
                                 struct saga_order_request *request, struct saga_order_fault *fault)
{
    if (in->n_items > SAGA_ORDER_LINES_MAX) {
        (void)snprintf(fault->field, sizeof fault->field, "items");
        (void)snprintf(fault->message, sizeof fault->message, "must have at most %d lines, has %zu",
                       SAGA_ORDER_LINES_MAX, in->n_items);
        return false;
    }
    size_t key_size = strlen(in->idempotency_key);
    if (key_size > SAGA_ORDER_KEY_MAX) {
        (void)snprintf(fault->field, sizeof fault->field, "idempotency_key");
        (void)snprintf(fault->message, sizeof fault->message, "must have at most %d bytes, has %zu",
                       SAGA_ORDER_KEY_MAX, key_size);
        return false;
    }
    request->customer_id = in->customer_id;
    request->line_count = in->n_items;
    for (size_t i = 0; i < in->n_items; i++) {
        request->lines[i] = (struct saga_order_line){.product_id = in->items[i]->product_id,
                                                     .quantity = in->items[i]->quantity};
    }
    memcpy(request->idempotency_key, in->idempotency_key, key_size + 1);
    return saga_order_check(request, fault);
}

/* Makes the message of an order in the arena; NULL when there is no memory. The texts are copied.
 */
static Order__V1__Order *order_message(const struct saga_order *order, struct saga_arena *arena)
{
    struct saga_order_line lines[SAGA_ORDER_LINES_MAX];
    size_t count = 0;
    if (!saga_order_items_read(order->items, lines, &count)) {
        return NULL;
    }
    size_t reason_size = strlen(order->reason) + 1;
    Order__V1__Order *message = saga_arena_take(arena, sizeof *message);
    Order__V1__OrderItem **items = saga_arena_take(arena, count * sizeof *items);
    Order__V1__OrderItem *item = saga_arena_take(arena, count * sizeof *item);
    char *texts = saga_arena_take(arena, SAGA_ID_TEXT_SIZE + reason_size);
    if (message == NULL || items == NULL || item == NULL || texts == NULL) {
        return NULL;
    }
    order__v1__order__init(message);
    for (size_t i = 0; i < count; i++) {
        order__v1__order_item__init(&item[i]);
        item[i].product_id = lines[i].product_id;
        item[i].quantity = lines[i].quantity;
        items[i] = &item[i];
    }
    message->n_items = count;
    message->items = items;
    message->order_id = order->order_id;
    message->customer_id = order->customer_id;
    message->state = (Order__V1__OrderState)order->state;
    message->created_unix_ms = order->created_unix_ms;
    message->decided_unix_ms = order->decided_unix_ms;
    if (order->has_saga) {
        saga_id_format(order->saga_id, texts);
        message->saga_id = texts;
    }
    message->reason = memcpy(texts + SAGA_ID_TEXT_SIZE, order->reason, reason_size);
    return message;
}

/* Reads an order inside the call's transaction. *order_out NULL: the call was refused. */
static Order__V1__Order *order_find(struct saga_call *call, int64_t order_id,
                                    struct saga_arena *arena)
{
    struct saga_sql_stmt *stmt = saga_call_sql(
        call, "SELECT " ORDER_COLUMNS " FROM orders WHERE order_id = ?", "i", order_id);
    if (!saga_call_row(call, stmt)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "ORDER_UNKNOWN", "order %" PRId64 ": unknown",
                         order_id);
        return NULL;
    }
    struct saga_order order;
    order_from_row(stmt, &order);
    Order__V1__Order *message = order_message(&order, arena);
    saga_sql_reset(stmt);
    if (message == NULL) {
        saga_call_refuse(call, SAGA_CODE_RESOURCE_EXHAUSTED, "", "order %" PRId64 ": out of memory",
                         order_id);
    }
    return message;
}

static void place_order(Order__V1__OrderService_Service *service,
                        const Order__V1__PlaceOrderRequest *in,
                        Order__V1__PlaceOrderResponse_Closure closure, void *data)
{
    struct saga_orders *orders = (struct saga_orders *)service;
    struct saga_call *call = data;
    struct saga_order_request request;
    struct saga_order_fault fault;
    if (!request_from_message(in, &request, &fault)) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "FIELD_INVALID", "%s: %s", fault.field,
                         fault.message);
        return;
    }
    char items[SAGA_ORDER_ITEMS_TEXT_SIZE];
    saga_order_items_write(request.lines, request.line_count, items);
    struct saga_order order;
    Order__V1__PlaceOrderResponse response = ORDER__V1__PLACE_ORDER_RESPONSE__INIT;
    bool existing = false;
    if (!saga_order_place(call, &request, items, &order, &existing)) {
        atomic_fetch_add_explicit(&orders->counts.key_reused, 1, memory_order_relaxed);
        return;
    }
    struct saga_arena arena = {0};
    response.existing = existing;
    response.order = order_find(call, order.order_id, &arena);
    if (response.order != NULL) {
        saga_call_after_commit(call, existing ? existing_committed : placed_committed, orders,
                               order.order_id);
        closure(&response, call);
    }
    saga_arena_fini(&arena);
}

static void get_order(Order__V1__OrderService_Service *service,
                      const Order__V1__GetOrderRequest *in,
                      Order__V1__GetOrderResponse_Closure closure, void *data)
{
    (void)service;
    struct saga_call *call = data;
    struct saga_arena arena = {0};
    Order__V1__GetOrderResponse response = ORDER__V1__GET_ORDER_RESPONSE__INIT;
    response.order = order_find(call, in->order_id, &arena);
    if (response.order != NULL) {
        closure(&response, call);
    }
    saga_arena_fini(&arena);
}

static void list_orders(Order__V1__OrderService_Service *service,
                        const Order__V1__ListOrdersRequest *in,
                        Order__V1__ListOrdersResponse_Closure closure, void *data)
{
    (void)service;
    struct saga_call *call = data;
    int64_t limit = in->limit == 0 ? SAGA_ORDER_LIST_COUNT_DEFAULT : (int64_t)in->limit;
    if (limit > SAGA_LIST_COUNT_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "FIELD_INVALID",
                         "limit: must be at most %d, is %" PRId64, SAGA_LIST_COUNT_MAX, limit);
        return;
    }
    Order__V1__Order *found[SAGA_LIST_COUNT_MAX];
    Order__V1__ListOrdersResponse response = ORDER__V1__LIST_ORDERS_RESPONSE__INIT;
    response.orders = found;
    struct saga_arena arena = {0};
    struct saga_sql_stmt *stmt =
        saga_call_sql(call,
                      "SELECT " ORDER_COLUMNS " FROM orders WHERE customer_id = ?"
                      " ORDER BY order_id DESC LIMIT ?",
                      "ii", in->customer_id, limit);
    /* A response is bounded in bytes too: the newest orders that fit. */
    size_t room = SAGA_PAYLOAD_SIZE_MAX;
    while (saga_call_row(call, stmt)) {
        struct saga_order order;
        order_from_row(stmt, &order);
        Order__V1__Order *message = order_message(&order, &arena);
        size_t size = message == NULL ? room : order__v1__order__get_packed_size(message) + 8;
        if (size >= room) {
            saga_sql_reset(stmt);
            break;
        }
        room -= size;
        found[response.n_orders++] = message;
    }
    closure(&response, call);
    saga_arena_fini(&arena);
}

static void approve_order(Order__V1__OrderService_Service *service,
                          const Order__V1__ApproveOrderRequest *in,
                          Order__V1__ApproveOrderResponse_Closure closure, void *data)
{
    struct saga_orders *orders = (struct saga_orders *)service;
    struct saga_call *call = data;
    if (!decide(call, in->order_id, SAGA_ORDER_APPROVED, "")) {
        return;
    }
    saga_call_after_commit(call, approved_committed, orders, in->order_id);
    Order__V1__ApproveOrderResponse response = ORDER__V1__APPROVE_ORDER_RESPONSE__INIT;
    closure(&response, call);
}

static void reject_order(Order__V1__OrderService_Service *service,
                         const Order__V1__RejectOrderRequest *in,
                         Order__V1__RejectOrderResponse_Closure closure, void *data)
{
    struct saga_orders *orders = (struct saga_orders *)service;
    struct saga_call *call = data;
    char reason[SAGA_STATUS_REASON_MAX + 1];
    reason_of_cause(saga_call_command(call), reason);
    if (!decide(call, in->order_id, SAGA_ORDER_REJECTED, reason)) {
        return;
    }
    saga_call_after_commit(call, rejected_committed, orders, in->order_id);
    Order__V1__RejectOrderResponse response = ORDER__V1__REJECT_ORDER_RESPONSE__INIT;
    closure(&response, call);
}

void saga_orders_init(struct saga_orders *orders)
{
    *orders = (struct saga_orders){
        .service = {ORDER__V1__ORDER_SERVICE__BASE_INIT, place_order, get_order, list_orders,
                    approve_order, reject_order},
    };
}
