/* kitchend: keeps tickets. Waiting (PENDING) tickets are limited by the kitchen's capacity; dishes
 * that are off the menu make it refuse a ticket when it is asked to take it on. */
#include <inttypes.h>
#include <stdio.h>

#include "common/base/limits.h"
#include "kitchen/v1/kitchen.pb-c.h"
#include "services/kit/kit.h"

enum {
    PENDING = KITCHEN__V1__TICKET_STATE__TICKET_STATE_PENDING,
    APPROVED = KITCHEN__V1__TICKET_STATE__TICKET_STATE_APPROVED,
    CANCELLED = KITCHEN__V1__TICKET_STATE__TICKET_STATE_CANCELLED,
};

enum { CAPACITY_DEFAULT = 100 };

/* Checks what is asked for. False: refused. */
static bool check_items(struct saga_call *call, const Kitchen__V1__CreateTicketRequest *in)
{
    if (in->n_items < 1 || in->n_items > SAGA_ORDER_LINES_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "LINES_INVALID",
                         "%zu lines, 1 to %d (SAGA_ORDER_LINES_MAX)", in->n_items,
                         SAGA_ORDER_LINES_MAX);
        return false;
    }
    for (size_t i = 0; i < in->n_items; i++) {
        if (in->items[i]->quantity < 1 || in->items[i]->quantity > SAGA_ORDER_QUANTITY_MAX) {
            saga_call_refuse(
                call, SAGA_CODE_INVALID_ARGUMENT, "QUANTITY_INVALID",
                "product %" PRId64 ": quantity %" PRId32 ", 1 to %d (SAGA_ORDER_QUANTITY_MAX)",
                in->items[i]->product_id, in->items[i]->quantity, SAGA_ORDER_QUANTITY_MAX);
            return false;
        }
    }
    return true;
}

/* Tells whether one more ticket may wait. Stops counting at the capacity. False: refused. */
static bool has_room(struct saga_call *call)
{
    int64_t capacity = CAPACITY_DEFAULT;
    struct saga_sql_stmt *kitchen = saga_call_sql(call, "SELECT capacity FROM kitchen", "");
    if (saga_call_row(call, kitchen)) {
        capacity = saga_sql_int(kitchen, 0);
    }
    struct saga_sql_stmt *waiting =
        saga_call_sql(call, "SELECT count(*) FROM (SELECT 1 FROM ticket WHERE state = 1 LIMIT ?1)",
                      "i", capacity);
    if (saga_call_row(call, waiting) && saga_sql_int(waiting, 0) < capacity) {
        return true;
    }
    saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "KITCHEN_FULL",
                     "%" PRId64 " tickets wait, as many as the kitchen takes", capacity);
    return false;
}

static void create_ticket(Kitchen__V1__KitchenService_Service *service,
                          const Kitchen__V1__CreateTicketRequest *in,
                          Kitchen__V1__CreateTicketResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    char ticket_id[32];
    (void)snprintf(ticket_id, sizeof ticket_id, "t-%" PRId64, in->order_id);
    if (!check_items(call, in) || !has_room(call)) {
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO ticket (order_id, ticket_id, state, created_unix_ms)"
                      " VALUES (?1, ?2, 1, ?3) ON CONFLICT DO NOTHING",
                      "isi", in->order_id, ticket_id, saga_call_now_unix_ms(call)) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "ORDER_EXISTS",
                         "order %" PRId64 " has a ticket already", in->order_id);
        return;
    }
    for (size_t i = 0; i < in->n_items; i++) {
        (void)saga_call_run(call,
                            "INSERT INTO ticket_item (order_id, line, product_id, quantity)"
                            " VALUES (?1, ?2, ?3, ?4)",
                            "iiii", in->order_id, (int64_t)i, in->items[i]->product_id,
                            (int64_t)in->items[i]->quantity);
    }
    Kitchen__V1__CreateTicketResponse out = KITCHEN__V1__CREATE_TICKET_RESPONSE__INIT;
    out.ticket_id = ticket_id;
    closure(&out, data);
}

/* An approved ticket is past the saga's point of no return: an undo of it is a mistake that a
 * person must see (S2). */
static void cancel_ticket(Kitchen__V1__KitchenService_Service *service,
                          const Kitchen__V1__CancelTicketRequest *in,
                          Kitchen__V1__CancelTicketResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    struct saga_sql_stmt *ticket =
        saga_call_sql(call, "SELECT state FROM ticket WHERE order_id = ?1", "i", in->order_id);
    if (saga_call_row(call, ticket) && saga_sql_int(ticket, 0) == APPROVED) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "TICKET_APPROVED",
                         "the ticket of order %" PRId64 " is approved", in->order_id);
        return;
    }
    (void)saga_call_run(call, "UPDATE ticket SET state = ?2 WHERE order_id = ?1", "ii",
                        in->order_id, (int64_t)CANCELLED);
    Kitchen__V1__CancelTicketResponse out = KITCHEN__V1__CANCEL_TICKET_RESPONSE__INIT;
    closure(&out, data);
}

static void approve_ticket(Kitchen__V1__KitchenService_Service *service,
                           const Kitchen__V1__ApproveTicketRequest *in,
                           Kitchen__V1__ApproveTicketResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    struct saga_sql_stmt *ticket = saga_call_sql(
        call, "SELECT order_id, state FROM ticket WHERE ticket_id = ?1", "s", in->ticket_id);
    if (!saga_call_row(call, ticket)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "TICKET_UNKNOWN", "there is no such ticket");
        return;
    }
    int64_t order_id = saga_sql_int(ticket, 0);
    if (saga_sql_int(ticket, 1) != PENDING) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "TICKET_NOT_PENDING",
                         "ticket %s is approved or cancelled already", in->ticket_id);
        return;
    }
    struct saga_sql_stmt *refused =
        saga_call_sql(call,
                      "SELECT product_id FROM ticket_item JOIN refused_product USING (product_id)"
                      " WHERE order_id = ?1 ORDER BY line LIMIT 1",
                      "i", order_id);
    if (saga_call_row(call, refused)) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "TICKET_REFUSED",
                         "product %" PRId64 " is off the menu", saga_sql_int(refused, 0));
        return;
    }
    (void)saga_call_run(call, "UPDATE ticket SET state = ?2 WHERE order_id = ?1", "ii", order_id,
                        (int64_t)APPROVED);
    Kitchen__V1__ApproveTicketResponse out = KITCHEN__V1__APPROVE_TICKET_RESPONSE__INIT;
    closure(&out, data);
}

static Kitchen__V1__KitchenService_Service kitchen = KITCHEN__V1__KITCHEN_SERVICE__INIT();

/* state: kitchen.v1.TicketState. */
static const char *const migrations[] = {
    "CREATE TABLE kitchen ("
    " id INTEGER PRIMARY KEY CHECK (id = 1),"
    " capacity INTEGER NOT NULL CHECK (capacity >= 0)) STRICT;"
    "CREATE TABLE refused_product (product_id INTEGER PRIMARY KEY) STRICT;"
    "CREATE TABLE ticket ("
    " order_id INTEGER PRIMARY KEY,"
    " ticket_id TEXT NOT NULL UNIQUE,"
    " state INTEGER NOT NULL CHECK (state IN (1, 2, 3)),"
    " created_unix_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX ticket_waiting ON ticket (state) WHERE state = 1;"
    "CREATE TABLE ticket_item ("
    " order_id INTEGER NOT NULL REFERENCES ticket (order_id),"
    " line INTEGER NOT NULL,"
    " product_id INTEGER NOT NULL,"
    " quantity INTEGER NOT NULL,"
    " PRIMARY KEY (order_id, line)) STRICT, WITHOUT ROWID",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "kitchen",
     .sql = "INSERT INTO kitchen (id, capacity) VALUES (1, ?1) ON CONFLICT (id) DO NOTHING",
     .keys = (const char *const[]){"capacity", NULL}},
    {.array = "refused_products",
     .sql = "INSERT INTO refused_product (product_id) VALUES (?1) ON CONFLICT DO NOTHING",
     .keys = (const char *const[]){"product_id", NULL}},
};

int main(int argc, char **argv)
{
    static const struct saga_kit_app app = {
        .name = "kitchend",
        .summary = "Keeps the kitchen's tickets: the participant kitchen.v1.KitchenService.",
        .env_prefix = "KITCHEND",
        .service = &kitchen.base,
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
