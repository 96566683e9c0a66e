/* Which orders a benchmark places. See bench_orders.h. */
#include "client/bench_orders.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/prng.h"

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Finds the object of an array whose key has a value; NULL when there is none. */
static const json_t *find(const json_t *array, const char *key, int64_t value)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *object = json_array_get(array, i);
        if (number(object, key) == value) {
            return object;
        }
    }
    return NULL;
}

static void add_refusal(struct saga_bench_orders *orders, int64_t customer_id, int64_t product_id)
{
    if (orders->refusal_count < SAGA_BENCH_REFUSALS_MAX) {
        orders->refusals[orders->refusal_count++] =
            (struct saga_bench_order){customer_id, product_id};
    }
}

/* What a seed file tells of who cannot order and what cannot be had; 0: none. */
struct odd {
    int64_t abnormal;
    int64_t poor;
    int64_t sold_out;
    int64_t refused;
    int64_t highest_customer;
    int64_t highest_price;
};

static void read_products(const json_t *root, struct saga_bench_orders *orders, struct odd *odd)
{
    const json_t *products = json_object_get(root, "products");
    const json_t *refused = json_object_get(root, "refused_products");
    for (size_t i = 0; i < json_array_size(products) && orders->product_count < SAGA_BENCH_IDS_MAX;
         i++) {
        const json_t *product = json_array_get(products, i);
        int64_t id = number(product, "product_id");
        int64_t price = number(product, "price_cents");
        odd->highest_price = price > odd->highest_price ? price : odd->highest_price;
        if (number(product, "stock") == 0) {
            odd->sold_out = id;
        } else if (find(refused, "product_id", id) != NULL) {
            odd->refused = id;
        } else {
            orders->products[orders->product_count++] = id;
        }
    }
}

static void read_customers(const json_t *root, struct saga_bench_orders *orders, struct odd *odd)
{
    const json_t *customers = json_object_get(root, "customers");
    const json_t *accounts = json_object_get(root, "accounts");
    for (size_t i = 0;
         i < json_array_size(customers) && orders->customer_count < SAGA_BENCH_IDS_MAX; i++) {
        const json_t *customer = json_array_get(customers, i);
        int64_t id = number(customer, "customer_id");
        const char *state = json_string_value(json_object_get(customer, "state"));
        const json_t *account = find(accounts, "customer_id", id);
        odd->highest_customer = id > odd->highest_customer ? id : odd->highest_customer;
        if (state == NULL || strcmp(state, "NORMAL") != 0) {
            odd->abnormal = id;
        } else if (account == NULL || number(account, "balance_cents") < odd->highest_price) {
            odd->poor = id;
        } else {
            orders->customers[orders->customer_count++] = id;
        }
    }
}

static enum saga_err read_all(const json_t *root, struct saga_bench_orders *orders)
{
    struct odd odd = {0};
    orders->customers = calloc(SAGA_BENCH_IDS_MAX, sizeof *orders->customers);
    orders->products = calloc(SAGA_BENCH_IDS_MAX, sizeof *orders->products);
    if (orders->customers == NULL || orders->products == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    read_products(root, orders, &odd);
    read_customers(root, orders, &odd);
    if (orders->customer_count == 0 || orders->product_count == 0) {
        return SAGA_ERR_INVALID;
    }
    int64_t customer = orders->customers[0];
    int64_t product = orders->products[0];
    if (odd.abnormal != 0) {
        add_refusal(orders, odd.abnormal, product);
    }
    if (odd.poor != 0) {
        add_refusal(orders, odd.poor, product);
    }
    if (odd.sold_out != 0) {
        add_refusal(orders, customer, odd.sold_out);
    }
    if (odd.refused != 0) {
        add_refusal(orders, customer, odd.refused);
    }
    add_refusal(orders, odd.highest_customer + 1000000, product);
    return SAGA_ERR_OK;
}

enum saga_err saga_bench_orders_read(const char *path, struct saga_bench_orders *orders,
                                     struct saga_err_detail *detail)
{
    json_error_t error;
    *orders = (struct saga_bench_orders){.seed = 1};
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL) {
        enum saga_err err = json_error_code(&error) == json_error_cannot_open_file
                                ? SAGA_ERR_NOT_FOUND
                                : SAGA_ERR_MALFORMED;
        return saga_err_set(detail, err, "%s: line %d: %s", path, error.line, error.text);
    }
    enum saga_err err = read_all(root, orders);
    json_decref(root);
    if (err != SAGA_ERR_OK) {
        saga_bench_orders_fini(orders);
        return saga_err_set(detail, err,
                            "%s: there is no customer who can order, or no product that can be had",
                            path);
    }
    return SAGA_ERR_OK;
}

static enum saga_err fill(struct saga_bench_range range, int64_t **ids, size_t *count)
{
    size_t wanted = (size_t)(range.last - range.first) + 1;
    if (wanted > SAGA_BENCH_IDS_MAX) {
        return SAGA_ERR_LIMIT;
    }
    for (size_t i = 0; i < wanted; i++) {
        (*ids)[i] = range.first + (int64_t)i;
    }
    *count = wanted;
    return SAGA_ERR_OK;
}

enum saga_err saga_bench_orders_customers(struct saga_bench_orders *orders,
                                          struct saga_bench_range range)
{
    return fill(range, &orders->customers, &orders->customer_count);
}

enum saga_err saga_bench_orders_products(struct saga_bench_orders *orders,
                                         struct saga_bench_range range)
{
    return fill(range, &orders->products, &orders->product_count);
}

struct saga_bench_order saga_bench_orders_next(struct saga_bench_orders *orders)
{
    if (orders->refusal_count > 0 &&
        saga_prng_below(&orders->seed, 1000) < orders->refused_permille) {
        return orders->refusals[saga_prng_below(&orders->seed, orders->refusal_count)];
    }
    return (struct saga_bench_order){
        .customer_id = orders->customers[saga_prng_below(&orders->seed, orders->customer_count)],
        .product_id = orders->products[saga_prng_below(&orders->seed, orders->product_count)],
    };
}

void saga_bench_orders_fini(struct saga_bench_orders *orders)
{
    free(orders->customers);
    free(orders->products);
    *orders = (struct saga_bench_orders){0};
}
