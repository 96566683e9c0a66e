/* customerd: keeps customers, says whether one may order. */
#include <inttypes.h>

#include "customer/v1/customer.pb-c.h"
#include "services/kit/kit.h"

static void validate_customer(Customer__V1__CustomerService_Service *service,
                              const Customer__V1__ValidateCustomerRequest *in,
                              Customer__V1__ValidateCustomerResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    struct saga_sql_stmt *customer = saga_call_sql(
        call, "SELECT state FROM customer WHERE customer_id = ?1", "i", in->customer_id);
    if (!saga_call_row(call, customer)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "CUSTOMER_UNKNOWN",
                         "there is no customer %" PRId64, in->customer_id);
    } else if (saga_sql_int(customer, 0) != CUSTOMER__V1__CUSTOMER_STATE__CUSTOMER_STATE_NORMAL) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "CUSTOMER_ABNORMAL",
                         "customer %" PRId64 " may not order", in->customer_id);
    } else {
        Customer__V1__ValidateCustomerResponse out = CUSTOMER__V1__VALIDATE_CUSTOMER_RESPONSE__INIT;
        closure(&out, data);
    }
}

static Customer__V1__CustomerService_Service customers = CUSTOMER__V1__CUSTOMER_SERVICE__INIT();

/* state: customer.v1.CustomerState; in seeds by its name. */
static const char *const migrations[] = {
    "CREATE TABLE customer ("
    " customer_id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL,"
    " state INTEGER NOT NULL CHECK (state IN (1, 2))) STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "customers",
     .sql = "INSERT INTO customer (customer_id, name, state)"
            " VALUES (?1, ?2, CASE ?3 WHEN 'NORMAL' THEN 1 WHEN 'ABNORMAL' THEN 2 END)"
            " ON CONFLICT (customer_id) DO NOTHING",
     .keys = (const char *const[]){"customer_id", "name", "state", NULL}},
};

int main(int argc, char **argv)
{
    static const struct saga_kit_app app = {
        .name = "customerd",
        .summary = "Keeps customers: the participant customer.v1.CustomerService.",
        .env_prefix = "CUSTOMERD",
        .service = &customers.base,
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
