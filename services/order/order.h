/* Orders: what they are, and the rules that they follow. The service's vtable, its tables, and the
 * functions that HTTP uses.
 *
 * Not here: JSON (order_json.h), HTTP (order_http.h), starting sagas (start_relay.h).
 * Thread: what takes a call runs on the kit's worker; what takes a connection on the connection's
 * thread. */
#ifndef SAGA_ORDER_ORDER_H
#define SAGA_ORDER_ORDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/sql/sql.h"
#include "order/v1/order.pb-c.h"
#include "services/kit/kit.h"

/* One line of an order. */
struct saga_order_line {
    int64_t product_id;
    int32_t quantity;
};

/* What somebody asks for: checked by saga_order_check before it is used. */
struct saga_order_request {
    int64_t customer_id;
    size_t line_count;
    struct saga_order_line lines[SAGA_ORDER_LINES_MAX];
    char idempotency_key[SAGA_ORDER_KEY_MAX + 1]; /* "": none */
};

/* What is wrong with a request. */
struct saga_order_fault {
    char field[48];    /* "items[3].quantity"; "body" when it is not one field */
    char message[160]; /* for people */
};

/* order.v1.OrderState */
enum saga_order_state {
    SAGA_ORDER_PENDING = 1,
    SAGA_ORDER_APPROVED = 2,
    SAGA_ORDER_REJECTED = 3,
};

enum {
    /* The items as they are stored: [{"product_id":N,"quantity":N},…], without spaces. */
    SAGA_ORDER_ITEM_TEXT_MAX = 64,
    SAGA_ORDER_ITEMS_TEXT_SIZE = SAGA_ORDER_LINES_MAX * SAGA_ORDER_ITEM_TEXT_MAX + 3,
    SAGA_ORDER_LIST_COUNT_DEFAULT = 100,
};

/* One order as it is stored. Texts are borrowed from where it was read. */
struct saga_order {
    int64_t order_id;
    int64_t customer_id;
    const char *items; /* JSON text, see SAGA_ORDER_ITEMS_TEXT_SIZE */
    enum saga_order_state state;
    const char *reason;
    struct saga_id saga_id;
    bool has_saga;
    int64_t created_unix_ms;
    int64_t decided_unix_ms;
};

/* Counts for /metrics. */
struct saga_order_counts {
    _Atomic int64_t placed, existing, key_reused; /* PlaceOrder and POST, by result */
    _Atomic int64_t approved, rejected;
    _Atomic int64_t pending;
};

/* The order service. */
struct saga_orders {
    Order__V1__OrderService_Service service; /* first: a handler finds the service by it */
    struct saga_order_counts counts;
    /* What follows a commit, on the worker; set before the doors open. placed: only for orders of
     * PlaceOrder, HTTP knows of its own. */
    void (*placed)(void *context, int64_t order_id);
    void (*decided)(void *context, int64_t order_id);
    void *context;
};

/* The tables, for struct saga_kit_app. */
extern const char *const saga_order_migrations[];
extern const size_t saga_order_migration_count;

/* Fills in the vtable; hooks are the caller's to set. */
void saga_orders_init(struct saga_orders *orders);

/* Counts the pending orders of the database: once, before the doors open. */
enum saga_err saga_orders_load(struct saga_orders *orders, struct saga_sql *sql,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Checks customer, lines and key of a request. Returns false with the fault of the first bad field.
 */
bool saga_order_check(const struct saga_order_request *request, struct saga_order_fault *fault);

/* Writes the lines as they are stored. */
void saga_order_items_write(const struct saga_order_line *lines, size_t count,
                            char text[SAGA_ORDER_ITEMS_TEXT_SIZE]);

/* Saves an order and its start; a used idempotency key gives the first order. Pre: the request was
 * checked. *order borrows items (and nothing else that can change). Returns false when the call was
 * refused: INVALID_ARGUMENT with reason IDEMPOTENCY_KEY_REUSED when the key's first order was
 * another. Counting what was committed is saga_orders_placed's. */
bool saga_order_place(struct saga_call *call, const struct saga_order_request *request,
                      const char *items, struct saga_order *order, bool *existing);

/* Counts a placed order, after its commit. */
void saga_orders_placed(struct saga_orders *orders, bool existing);

/* What is selected from orders to read one with saga_order_from_row. */
#define SAGA_ORDER_COLUMNS                                                                         \
    "order_id, customer_id, items, state, reason, saga_id, created_unix_ms, decided_unix_ms"

/* Reads an order from the present row. */
void saga_order_from_row(struct saga_sql_stmt *stmt, struct saga_order *order);

/* Reads one order; NOT_FOUND when there is none. Its texts are valid until *stmt is reset, which is
 * the caller's duty on OK. */
enum saga_err saga_order_read(struct saga_sql *sql, int64_t order_id, struct saga_order *order,
                              struct saga_sql_stmt **stmt,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Prepares the listing of a customer's orders, newest first, and steps through it. */
enum saga_err saga_order_list(struct saga_sql *sql, int64_t customer_id, int64_t limit,
                              struct saga_sql_stmt **stmt,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;
enum saga_err saga_order_list_next(struct saga_sql_stmt *stmt, struct saga_order *order, bool *row,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Saves that an order's saga was started: keeps its id, forgets the start. */
void saga_order_started(struct saga_call *call, int64_t order_id, struct saga_id saga_id);

/* Saves that an order's saga cannot be started: the order is REJECTED with reason START_REFUSED. */
void saga_order_start_refused(struct saga_orders *orders, struct saga_call *call, int64_t order_id);

#endif
