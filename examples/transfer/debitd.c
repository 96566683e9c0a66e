/* debitd: the payer's bank. Accounts, and holds on them: money that its owner cannot spend any more
 * and that is not gone yet. Always: balances + holds that are HELD or SETTLED is constant. */
#include <inttypes.h>
#include <stdio.h>

#include "debitd_schema.h"
#include "services/kit/kit.h"
#include "transfer/v1/transfer.pb-c.h"

enum {
    OPEN = TRANSFER__V1__ACCOUNT_STATE__ACCOUNT_STATE_OPEN,
    HELD = TRANSFER__V1__HOLD_STATE__HOLD_STATE_HELD,
    SETTLED = TRANSFER__V1__HOLD_STATE__HOLD_STATE_SETTLED,
    RELEASED = TRANSFER__V1__HOLD_STATE__HOLD_STATE_RELEASED,
};
enum { NAME_SIZE = 128 };
#define DAY_MS INT64_C(86400000)

/* Says whether the account may pay so much today; gives its holder's name. False: refused. */
static bool may_pay(struct saga_call *call, const char *account_id, int64_t cents,
                    char name[NAME_SIZE])
{
    struct saga_sql_stmt *account = saga_call_sql(
        call, "SELECT holder, state, balance_cents, daily_limit_cents FROM account WHERE id = ?1",
        "s", account_id);
    if (!saga_call_row(call, account)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no account %s",
                         account_id);
        return false;
    }
    if (saga_sql_int(account, 1) != OPEN) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "ACCOUNT_CLOSED",
                         "account %s is closed", account_id);
        return false;
    }
    int64_t balance_cents = saga_sql_int(account, 2);
    if (balance_cents < cents) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "NOT_ENOUGH_MONEY",
                         "account %s has %" PRId64 " cents, %" PRId64 " are asked for", account_id,
                         balance_cents, cents);
        return false;
    }
    int64_t limit_cents = saga_sql_int(account, 3);
    struct saga_sql_stmt *sent =
        saga_call_sql(call,
                      "SELECT coalesce(sum(amount_cents), 0) FROM hold"
                      " WHERE account_id = ?1 AND day = ?2 AND state <> ?3",
                      "sii", account_id, saga_call_now_unix_ms(call) / DAY_MS, (int64_t)RELEASED);
    int64_t sent_cents = saga_call_row(call, sent) ? saga_sql_int(sent, 0) : 0;
    if (cents > limit_cents - sent_cents) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "DAILY_LIMIT",
                         "account %s has sent %" PRId64 " of %" PRId64 " cents today", account_id,
                         sent_cents, limit_cents);
        return false;
    }
    (void)snprintf(name, NAME_SIZE, "%s", saga_sql_text(account, 0));
    return true;
}

static void hold_money(Transfer__V1__DebitService_Service *service,
                       const Transfer__V1__HoldMoneyRequest *in,
                       Transfer__V1__HoldMoneyResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    char name[NAME_SIZE];
    (void)service;
    if (in->amount_cents < 1) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "AMOUNT_INVALID",
                         "amount_cents is %" PRId64 ", at least 1", in->amount_cents);
        return;
    }
    if (!may_pay(call, in->from_account, in->amount_cents, name)) {
        return;
    }
    /* The barrier keeps one saga from doing this twice; this, two sagas from doing one transfer. */
    if (saga_call_run(call,
                      "INSERT INTO hold (transfer_id, account_id, amount_cents, state, day)"
                      " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                      "ssiii", in->transfer_id, in->from_account, in->amount_cents, (int64_t)HELD,
                      saga_call_now_unix_ms(call) / DAY_MS) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TRANSFER_EXISTS",
                         "transfer %s was made before", in->transfer_id);
        return;
    }
    (void)saga_call_run(call, "UPDATE account SET balance_cents = balance_cents - ?2 WHERE id = ?1",
                        "si", in->from_account, in->amount_cents);
    Transfer__V1__HoldMoneyResponse out = TRANSFER__V1__HOLD_MONEY_RESPONSE__INIT;
    out.payer_name = name;
    closure(&out, data);
}

/* The undo. The barrier lets it in once, and only if this saga's hold_money was done. */
static void release_hold(Transfer__V1__DebitService_Service *service,
                         const Transfer__V1__ReleaseHoldRequest *in,
                         Transfer__V1__ReleaseHoldResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call,
                        "UPDATE account SET balance_cents = balance_cents + h.amount_cents"
                        " FROM hold AS h WHERE h.transfer_id = ?1 AND h.state = ?2"
                        " AND account.id = h.account_id",
                        "si", in->transfer_id, (int64_t)HELD);
    (void)saga_call_run(call, "UPDATE hold SET state = ?3 WHERE transfer_id = ?1 AND state = ?2",
                        "sii", in->transfer_id, (int64_t)HELD, (int64_t)RELEASED);
    Transfer__V1__ReleaseHoldResponse out = TRANSFER__V1__RELEASE_HOLD_RESPONSE__INIT;
    closure(&out, data);
}

/* The pivot. An account that was closed in between still pays what it has promised: it may say no
 * only when there is nothing to settle. */
static void settle_hold(Transfer__V1__DebitService_Service *service,
                        const Transfer__V1__SettleHoldRequest *in,
                        Transfer__V1__SettleHoldResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    int64_t now_unix_ms = saga_call_now_unix_ms(call);
    if (saga_call_run(call,
                      "UPDATE hold SET state = ?3, settled_unix_ms = ?4"
                      " WHERE transfer_id = ?1 AND state = ?2",
                      "siii", in->transfer_id, (int64_t)HELD, (int64_t)SETTLED, now_unix_ms) == 0) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "NOTHING_HELD",
                         "transfer %s holds nothing", in->transfer_id);
        return;
    }
    Transfer__V1__SettleHoldResponse out = TRANSFER__V1__SETTLE_HOLD_RESPONSE__INIT;
    out.settled_unix_ms = now_unix_ms;
    closure(&out, data);
}

static Transfer__V1__DebitService_Service debits = TRANSFER__V1__DEBIT_SERVICE__INIT();

/* States: transfer.v1.AccountState, transfer.v1.HoldState; in seeds by name. */
static const char *const migrations[] = {
    "CREATE TABLE account ("
    " id TEXT PRIMARY KEY,"
    " holder TEXT NOT NULL CHECK (length(CAST(holder AS BLOB)) < 128),"
    " state INTEGER NOT NULL CHECK (state IN (1, 2)),"
    " balance_cents INTEGER NOT NULL CHECK (balance_cents >= 0),"
    " daily_limit_cents INTEGER NOT NULL CHECK (daily_limit_cents >= 0)) STRICT;"
    "CREATE TABLE hold ("
    " transfer_id TEXT PRIMARY KEY CHECK (transfer_id <> ''),"
    " account_id TEXT NOT NULL REFERENCES account (id),"
    " amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),"
    " state INTEGER NOT NULL CHECK (state IN (1, 2, 3)),"
    " day INTEGER NOT NULL,"
    " settled_unix_ms INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX hold_by_account ON hold (account_id, day)",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "payers",
     .sql = "INSERT INTO account (id, holder, state, balance_cents, daily_limit_cents)"
            " VALUES (?1, ?2, CASE ?3 WHEN 'OPEN' THEN 1 WHEN 'CLOSED' THEN 2 END, ?4, ?5)"
            " ON CONFLICT (id) DO NOTHING",
     .keys = (const char *const[]){"id", "holder", "state", "balance_cents", "daily_limit_cents",
                                   NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "debitd",
        .summary = "The payer's bank: the participant transfer.v1.DebitService.",
        .env_prefix = "DEBITD",
        .service = &debits.base,
        .descriptor_set = {.data = debitd_schema, .size = sizeof debitd_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
