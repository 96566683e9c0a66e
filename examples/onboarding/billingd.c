/* billingd: who pays, and for what. A subscription is the pivot: it is never given back.
 * Always: money + first months of a customer is constant. */
#include <inttypes.h>
#include <stdio.h>

#include "billingd_schema.h"
#include "onboarding/v1/onboarding.pb-c.h"
#include "services/kit/kit.h"

enum { TEAM_CENTS = 4900, BUSINESS_CENTS = 49900, SUBSCRIPTION_SIZE = 32 };

/* What a month of the plan costs; 0: there is no such plan. */
static int64_t cents_of(Onboarding__V1__Plan plan)
{
    return plan == ONBOARDING__V1__PLAN__PLAN_TEAM       ? TEAM_CENTS
           : plan == ONBOARDING__V1__PLAN__PLAN_BUSINESS ? BUSINESS_CENTS
                                                         : 0;
}

/* Takes the first month. False: refused. */
static bool take(struct saga_call *call, const char *customer, int64_t cents)
{
    struct saga_sql_stmt *payer =
        saga_call_sql(call, "SELECT money_cents FROM customer WHERE customer = ?1", "s", customer);
    if (!saga_call_row(call, payer)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "CUSTOMER_UNKNOWN", "there is no customer %s",
                         customer);
        return false;
    }
    int64_t money_cents = saga_sql_int(payer, 0);
    if (money_cents < cents) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "PAYMENT_DECLINED",
                         "%s has %" PRId64 " cents, %" PRId64 " are asked for", customer,
                         money_cents, cents);
        return false;
    }
    (void)saga_call_run(call,
                        "UPDATE customer SET money_cents = money_cents - ?2 WHERE customer = ?1",
                        "si", customer, cents);
    return true;
}

static void subscribe(Onboarding__V1__BillingService_Service *service,
                      const Onboarding__V1__SubscribeRequest *in,
                      Onboarding__V1__SubscribeResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    int64_t cents = cents_of(in->plan);
    if (cents == 0) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "PLAN_INVALID", "there is no plan %d",
                         (int)in->plan);
        return;
    }
    if (!take(call, in->customer, cents)) {
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO subscription (tenant, customer, month_cents)"
                      " VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                      "ssi", in->tenant, in->customer, cents) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TENANT_EXISTS",
                         "%s has a subscription already", in->tenant);
        return;
    }
    struct saga_sql_stmt *made =
        saga_call_sql(call, "SELECT rowid FROM subscription WHERE tenant = ?1", "s", in->tenant);
    char subscription[SUBSCRIPTION_SIZE];
    (void)snprintf(subscription, sizeof subscription, "sub-%" PRId64,
                   saga_call_row(call, made) ? saga_sql_int(made, 0) : 0);
    Onboarding__V1__SubscribeResponse out = ONBOARDING__V1__SUBSCRIBE_RESPONSE__INIT;
    out.subscription = subscription;
    closure(&out, data);
}

static Onboarding__V1__BillingService_Service billing = ONBOARDING__V1__BILLING_SERVICE__INIT();

static const char *const migrations[] = {
    "CREATE TABLE customer ("
    " customer TEXT PRIMARY KEY,"
    " money_cents INTEGER NOT NULL CHECK (money_cents >= 0)) STRICT;"
    "CREATE TABLE subscription ("
    " tenant TEXT PRIMARY KEY CHECK (tenant <> ''),"
    " customer TEXT NOT NULL REFERENCES customer (customer),"
    " month_cents INTEGER NOT NULL CHECK (month_cents > 0)) STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "customers",
     .sql = "INSERT INTO customer (customer, money_cents) VALUES (?1, ?2)"
            " ON CONFLICT (customer) DO NOTHING",
     .keys = (const char *const[]){"customer", "money_cents", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "billingd",
        .summary = "Subscriptions: the participant onboarding.v1.BillingService.",
        .env_prefix = "BILLINGD",
        .service = &billing.base,
        .descriptor_set = {.data = billingd_schema, .size = sizeof billingd_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
