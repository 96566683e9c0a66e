/* OrderService: the handlers, and the decision on an order. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "services/order/order.h"
#include "services/order/order_json.h"

/* ---- After a commit ---- */

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

/* ---- Deciding ---- */

static const char *state_name(int64_t state)
{
    return state == SAGA_ORDER_PENDING    ? "PENDING"
           : state == SAGA_ORDER_APPROVED ? "APPROVED"
                                          : "REJECTED";
}

enum verdict {
    DECIDED,
    NOT_CONCERNED, /* an undo whose saga has no part in the order: nothing to undo */
    REFUSED,       /* the call was refused */
};

/* Says why an order was not decided. An order belongs to one saga; the undo of another one, or of
 * an order that never was, finds nothing that its saga has done: it is done. Asked again for ever,
 * it would keep its saga from ending. */
static enum verdict not_decided(struct saga_call *call, int64_t order_id, struct saga_bytes saga_id)
{
    bool undo = saga_call_op(call) == SAGA_OP_UNDO;
    struct saga_sql_stmt *stmt =
        saga_call_sql(call, "SELECT state, saga_id FROM orders WHERE order_id = ?", "i", order_id);
    if (!saga_call_row(call, stmt)) {
        if (undo) {
            return NOT_CONCERNED;
        }
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "ORDER_UNKNOWN", "order %" PRId64 ": unknown",
                         order_id);
        return REFUSED;
    }
    int64_t state = saga_sql_int(stmt, 0);
    struct saga_bytes owner = saga_sql_bytes(stmt, 1);
    bool unowned = owner.size == 0;
    bool other = !unowned && saga_id.size > 0 && !saga_bytes_equal(owner, saga_id);
    saga_sql_reset(stmt);
    if (undo && (other || unowned)) { /* unowned: its start was refused */
        return NOT_CONCERNED;
    }
    if (other) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "ORDER_OF_OTHER_SAGA",
                         "order %" PRId64 ": belongs to another saga", order_id);
    } else {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "ORDER_NOT_PENDING",
                         "order %" PRId64 ": is %s, not PENDING", order_id, state_name(state));
    }
    return REFUSED;
}

/* PENDING -> APPROVED or REJECTED, by the order's own saga. An order without one is bound here: the
 * decision may come before the relay has saved that the saga started. What is bound stays. */
static enum verdict decide(struct saga_call *call, int64_t order_id, enum saga_order_state state,
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
        " saga_id = coalesce(saga_id, nullif(?, x'')) WHERE order_id = ? AND state = 1"
        " AND (saga_id IS NULL OR saga_id = coalesce(nullif(?, x''), saga_id))",
        "isibib", (int64_t)state, reason, saga_call_now_unix_ms(call), &bytes, order_id, &bytes);
    return changes == 0 ? not_decided(call, order_id, bytes) : DECIDED;
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
        call, "SELECT " SAGA_ORDER_COLUMNS " FROM orders WHERE order_id = ?", "i", order_id);
    if (!saga_call_row(call, stmt)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "ORDER_UNKNOWN", "order %" PRId64 ": unknown",
                         order_id);
        return NULL;
    }
    struct saga_order order;
    saga_order_from_row(stmt, &order);
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
                      "SELECT " SAGA_ORDER_COLUMNS " FROM orders WHERE customer_id = ?"
                      " ORDER BY order_id DESC LIMIT ?",
                      "ii", in->customer_id, limit);
    /* A response is bounded in bytes too: the newest orders that fit. */
    size_t room = SAGA_PAYLOAD_SIZE_MAX;
    while (saga_call_row(call, stmt)) {
        struct saga_order order;
        saga_order_from_row(stmt, &order);
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
    if (decide(call, in->order_id, SAGA_ORDER_APPROVED, "") != DECIDED) {
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
    enum verdict verdict = decide(call, in->order_id, SAGA_ORDER_REJECTED, reason);
    if (verdict == REFUSED) {
        return;
    }
    if (verdict == DECIDED) {
        saga_call_after_commit(call, rejected_committed, orders, in->order_id);
    }
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
