/* Which orders a benchmark places: drawn from the seed file, so that it knows which will be
 * refused, and why. */
#ifndef SAGA_CLIENT_BENCH_ORDERS_H
#define SAGA_CLIENT_BENCH_ORDERS_H

#include <stddef.h>
#include <stdint.h>

#include "client/bench_stats.h"
#include "common/base/err.h"

enum { SAGA_BENCH_IDS_MAX = 65536, SAGA_BENCH_REFUSALS_MAX = 8 };

struct saga_bench_order {
    int64_t customer_id;
    int64_t product_id;
};

struct saga_bench_orders {
    int64_t *customers; /* whose orders are approved */
    size_t customer_count;
    int64_t *products; /* that can be had */
    size_t product_count;
    struct saga_bench_order refusals[SAGA_BENCH_REFUSALS_MAX];
    size_t refusal_count;
    unsigned refused_permille; /* how many orders are drawn from the refusals */
    uint64_t seed;             /* state of the draw */
};

/* Reads a seed file. Refusals are: a customer who is ABNORMAL, one who is unknown, a product
 * without stock, a product that the kitchen refuses, an account that is too small. Errors:
 * NOT_FOUND, MALFORMED, INVALID (nothing can be ordered), NO_MEMORY. Owns: the caller, until fini.
 */
enum saga_err saga_bench_orders_read(const char *path, struct saga_bench_orders *orders,
                                     struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Takes customers or products from a range instead. Errors: LIMIT, NO_MEMORY. */
enum saga_err saga_bench_orders_customers(struct saga_bench_orders *orders,
                                          struct saga_bench_range range) SAGA_WARN_UNUSED;
enum saga_err saga_bench_orders_products(struct saga_bench_orders *orders,
                                         struct saga_bench_range range) SAGA_WARN_UNUSED;

/* Draws the next order. */
struct saga_bench_order saga_bench_orders_next(struct saga_bench_orders *orders);

/* Frees. */
void saga_bench_orders_fini(struct saga_bench_orders *orders);

#endif
