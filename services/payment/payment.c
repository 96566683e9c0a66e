/* paymentd: keeps accounts, and the payments taken from them.
 * At rest: an account's balance + its AUTHORIZED payments is constant. */
#include <inttypes.h>
#include <stdio.h>

#include "payment/v1/payment.pb-c.h"
#include "services/kit/kit.h"

enum {
    AUTHORIZED = PAYMENT__V1__PAYMENT_STATE__PAYMENT_STATE_AUTHORIZED,
    REFUNDED = PAYMENT__V1__PAYMENT_STATE__PAYMENT_STATE_REFUNDED,
};

/* Takes money from an account. False: refused. */
static bool take(struct saga_call *call, int64_t customer_id, int64_t cents)
{
    struct saga_sql_stmt *account = saga_call_sql(
        call, "SELECT balance_cents FROM account WHERE customer_id = ?1", "i", customer_id);
    if (!saga_call_row(call, account)) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "PAYMENT_DECLINED",
                         "customer %" PRId64 " has no account", customer_id);
        return false;
    }
    int64_t balance_cents = saga_sql_int(account, 0);
    if (balance_cents < cents) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "PAYMENT_DECLINED",
                         "customer %" PRId64 " has %" PRId64 " cents, %" PRId64 " are asked for",
                         customer_id, balance_cents, cents);
        return false;
    }
    (void)saga_call_run(
        call, "UPDATE account SET balance_cents = balance_cents - ?2 WHERE customer_id = ?1", "ii",
        customer_id, cents);
    return true;
}

static void authorize_payment(Payment__V1__PaymentService_Service *service,
                              const Payment__V1__AuthorizePaymentRequest *in,
                              Payment__V1__AuthorizePaymentResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (in->total_cents < 0) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "AMOUNT_INVALID",
                         "total_cents is %" PRId64 ", at least 0", in->total_cents);
        return;
    }
    char payment_id[32];
    (void)snprintf(payment_id, sizeof payment_id, "p-%" PRId64, in->order_id);
    if (saga_call_run(call,
                      "INSERT INTO payment (order_id, payment_id, customer_id, amount_cents, state)"
                      " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                      "isiii", in->order_id, payment_id, in->customer_id, in->total_cents,
                      (int64_t)AUTHORIZED) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "ORDER_EXISTS",
                         "order %" PRId64 " was paid before", in->order_id);
        return;
    }
    if (take(call, in->customer_id, in->total_cents)) {
        Payment__V1__AuthorizePaymentResponse out = PAYMENT__V1__AUTHORIZE_PAYMENT_RESPONSE__INIT;
        out.payment_id = payment_id;
        closure(&out, data);
    }
}

static void refund_payment(Payment__V1__PaymentService_Service *service,
                           const Payment__V1__RefundPaymentRequest *in,
                           Payment__V1__RefundPaymentResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call,
                        "UPDATE account SET balance_cents = balance_cents + p.amount_cents"
                        " FROM payment AS p WHERE p.order_id = ?1 AND p.state = ?2"
                        " AND account.customer_id = p.customer_id",
                        "ii", in->order_id, (int64_t)AUTHORIZED);
    (void)saga_call_run(call, "UPDATE payment SET state = ?2 WHERE order_id = ?1", "ii",
                        in->order_id, (int64_t)REFUNDED);
    Payment__V1__RefundPaymentResponse out = PAYMENT__V1__REFUND_PAYMENT_RESPONSE__INIT;
    closure(&out, data);
}

static Payment__V1__PaymentService_Service payments = PAYMENT__V1__PAYMENT_SERVICE__INIT();

/* state: payment.v1.PaymentState. */
static const char *const migrations[] = {
    "CREATE TABLE account ("
    " customer_id INTEGER PRIMARY KEY,"
    " balance_cents INTEGER NOT NULL CHECK (balance_cents >= 0)) STRICT;"
    "CREATE TABLE payment ("
    " order_id INTEGER PRIMARY KEY,"
    " payment_id TEXT NOT NULL UNIQUE,"
    " customer_id INTEGER NOT NULL,"
    " amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0),"
    " state INTEGER NOT NULL CHECK (state IN (1, 2))) STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "accounts",
     .sql = "INSERT INTO account (customer_id, balance_cents) VALUES (?1, ?2)"
            " ON CONFLICT (customer_id) DO NOTHING",
     .keys = (const char *const[]){"customer_id", "balance_cents", NULL}},
};

int main(int argc, char **argv)
{
    static const struct saga_kit_app app = {
        .name = "paymentd",
        .summary = "Keeps accounts and payments: the participant payment.v1.PaymentService.",
        .env_prefix = "PAYMENTD",
        .service = &payments.base,
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
