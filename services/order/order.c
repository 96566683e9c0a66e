#include "services/order/order.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"

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

void saga_order_from_row(struct saga_sql_stmt *stmt, struct saga_order *order)
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
        saga_call_sql(call, "SELECT " SAGA_ORDER_COLUMNS " FROM orders WHERE idempotency_key = ?",
                      "s", request->idempotency_key);
    if (!saga_call_row(call, stmt)) {
        return false;
    }
    saga_order_from_row(stmt, order);
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

/* ---- Reading ---- */

enum saga_err saga_order_read(struct saga_sql *sql, int64_t order_id, struct saga_order *order,
                              struct saga_sql_stmt **stmt, struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_prepare(
        sql, "SELECT " SAGA_ORDER_COLUMNS " FROM orders WHERE order_id = ?", stmt, detail);
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
    saga_order_from_row(*stmt, order);
    return SAGA_ERR_OK;
}

enum saga_err saga_order_list(struct saga_sql *sql, int64_t customer_id, int64_t limit,
                              struct saga_sql_stmt **stmt, struct saga_err_detail *detail)
{
    enum saga_err err =
        saga_sql_prepare(sql,
                         "SELECT " SAGA_ORDER_COLUMNS " FROM orders WHERE customer_id"
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
        saga_order_from_row(stmt, order);
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

/* ---- Starting ---- */

void saga_order_started(struct saga_call *call, int64_t order_id, struct saga_id saga_id)
{
    struct saga_bytes bytes = {.data = saga_id.b, .size = SAGA_ID_SIZE};
    (void)saga_call_run(call,
                        "UPDATE orders SET saga_id = ? WHERE order_id = ? AND saga_id IS NULL",
                        "bi", &bytes, order_id);
    (void)saga_call_run(call, "DELETE FROM start_outbox WHERE order_id = ?", "i", order_id);
}
