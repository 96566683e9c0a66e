/* productd: keeps products, their prices and stock, and what is reserved for orders.
 * At rest: stock + reserved units (released = 0) of a product is constant. */
#include <inttypes.h>

#include "common/base/canary.h"
#include "common/base/limits.h"
#include "product/v1/product.pb-c.h"
#include "services/kit/kit.h"

/* The schema below keeps prices under this; so the total of an order cannot overflow. */
#define PRICE_CENTS_MAX INT64_C(1000000000000)
_Static_assert(PRICE_CENTS_MAX <= INT64_MAX / SAGA_ORDER_LINES_MAX / SAGA_ORDER_QUANTITY_MAX,
               "the total of an order fits");

/* Takes one line out of stock; gives its price. False: refused. */
static bool reserve_line(struct saga_call *call, int64_t order_id, const Order__V1__OrderItem *item,
                         int64_t *price_cents)
{
    if (item->quantity < 1 || item->quantity > SAGA_ORDER_QUANTITY_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "QUANTITY_INVALID",
                         "product %" PRId64 ": quantity %" PRId32
                         ", 1 to %d (SAGA_ORDER_QUANTITY_MAX)",
                         item->product_id, item->quantity, SAGA_ORDER_QUANTITY_MAX);
        return false;
    }
    struct saga_sql_stmt *product =
        saga_call_sql(call, "SELECT price_cents, stock FROM product WHERE product_id = ?1", "i",
                      item->product_id);
    if (!saga_call_row(call, product)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "PRODUCT_UNKNOWN",
                         "there is no product %" PRId64, item->product_id);
        return false;
    }
    *price_cents = saga_sql_int(product, 0) * item->quantity;
    int64_t stock = saga_sql_int(product, 1);
    if (stock < item->quantity) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "OUT_OF_STOCK",
                         "product %" PRId64 ": %" PRId32 " wanted, %" PRId64 " left",
                         item->product_id, item->quantity, stock);
        return false;
    }
    (void)saga_call_run(call, "UPDATE product SET stock = stock - ?2 WHERE product_id = ?1", "ii",
                        item->product_id, (int64_t)item->quantity);
    (void)saga_call_run(
        call,
        "INSERT INTO reservation (order_id, product_id, quantity) VALUES (?1, ?2, ?3)"
        " ON CONFLICT (order_id, product_id)"
        " DO UPDATE SET quantity = quantity + excluded.quantity",
        "iii", order_id, item->product_id, (int64_t)item->quantity);
    return true;
}

static void reserve_stock(Product__V1__ProductService_Service *service,
                          const Product__V1__ReserveStockRequest *in,
                          Product__V1__ReserveStockResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (in->n_items < 1 || in->n_items > SAGA_ORDER_LINES_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "LINES_INVALID",
                         "%zu lines, 1 to %d (SAGA_ORDER_LINES_MAX)", in->n_items,
                         SAGA_ORDER_LINES_MAX);
        return;
    }
    if (saga_call_row(call, saga_call_sql(call, "SELECT 1 FROM reservation WHERE order_id = ?1",
                                          "i", in->order_id))) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "ORDER_EXISTS",
                         "order %" PRId64 " has reserved before", in->order_id);
        return;
    }
    Product__V1__ReserveStockResponse out = PRODUCT__V1__RESERVE_STOCK_RESPONSE__INIT;
    for (size_t i = 0; i < in->n_items; i++) {
        int64_t price_cents = 0;
        if (!reserve_line(call, in->order_id, in->items[i], &price_cents)) {
            return;
        }
        out.total_cents += price_cents;
    }
    closure(&out, data);
}

#define RELEASE(once)                                                                              \
    "UPDATE product SET stock = stock + r.quantity FROM reservation AS r"                          \
    " WHERE r.order_id = ?1" once " AND product.product_id = r.product_id"

static void release_stock(Product__V1__ProductService_Service *service,
                          const Product__V1__ReleaseStockRequest *in,
                          Product__V1__ReleaseStockResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(
        call, SAGA_BROKEN(S3_RELEASED_TWICE) ? RELEASE("") : RELEASE(" AND r.released = 0"), "i",
        in->order_id);
    (void)saga_call_run(call, "UPDATE reservation SET released = 1 WHERE order_id = ?1", "i",
                        in->order_id);
    Product__V1__ReleaseStockResponse out = PRODUCT__V1__RELEASE_STOCK_RESPONSE__INIT;
    closure(&out, data);
}

static Product__V1__ProductService_Service products = PRODUCT__V1__PRODUCT_SERVICE__INIT();

static const char *const migrations[] = {
    "CREATE TABLE product ("
    " product_id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL,"
    " price_cents INTEGER NOT NULL CHECK (price_cents BETWEEN 0 AND 1000000000000),"
    " stock INTEGER NOT NULL CHECK (stock >= 0)) STRICT;"
    "CREATE TABLE reservation ("
    " order_id INTEGER NOT NULL,"
    " product_id INTEGER NOT NULL REFERENCES product (product_id),"
    " quantity INTEGER NOT NULL CHECK (quantity > 0),"
    " released INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (order_id, product_id)) STRICT, WITHOUT ROWID",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "products",
     .sql = "INSERT INTO product (product_id, name, price_cents, stock) VALUES (?1, ?2, ?3, ?4)"
            " ON CONFLICT (product_id) DO NOTHING",
     .keys = (const char *const[]){"product_id", "name", "price_cents", "stock", NULL}},
};

int main(int argc, char **argv)
{
    static const struct saga_kit_app app = {
        .name = "productd",
        .summary = "Keeps products and stock: the participant product.v1.ProductService.",
        .env_prefix = "PRODUCTD",
        .service = &products.base,
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
