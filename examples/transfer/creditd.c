/* creditd: the payee's bank. Accounts, and credits that are announced: room for money that is to
 * come. Always: balances - POSTED credits is constant. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "creditd_schema.h"
#include "services/kit/kit.h"
#include "transfer/v1/transfer.pb-c.h"

enum {
    OPEN = TRANSFER__V1__ACCOUNT_STATE__ACCOUNT_STATE_OPEN,
    ANNOUNCED = TRANSFER__V1__CREDIT_STATE__CREDIT_STATE_ANNOUNCED,
    POSTED = TRANSFER__V1__CREDIT_STATE__CREDIT_STATE_POSTED,
    WITHDRAWN = TRANSFER__V1__CREDIT_STATE__CREDIT_STATE_WITHDRAWN,
};
enum { NAME_SIZE = 128, REFERENCE_SIZE_MAX = 140 };

/* Says whether the account has room for so much; gives its holder's name. False: refused. */
static bool has_room(struct saga_call *call, const char *account_id, int64_t cents,
                     char name[NAME_SIZE])
{
    struct saga_sql_stmt *account = saga_call_sql(
        call,
        "SELECT holder, state, limit_cents - balance_cents - (SELECT coalesce(sum(amount_cents), 0)"
        " FROM credit WHERE account_id = account.id AND state = ?2) FROM account WHERE id = ?1",
        "si", account_id, (int64_t)ANNOUNCED);
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
    int64_t room_cents = saga_sql_int(account, 2);
    if (cents > room_cents) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "BALANCE_LIMIT",
                         "account %s takes %" PRId64 " cents more, %" PRId64 " are to come",
                         account_id, room_cents, cents);
        return false;
    }
    (void)snprintf(name, NAME_SIZE, "%s", saga_sql_text(account, 0));
    return true;
}

static void announce_credit(Transfer__V1__CreditService_Service *service,
                            const Transfer__V1__AnnounceCreditRequest *in,
                            Transfer__V1__AnnounceCreditResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    char name[NAME_SIZE];
    (void)service;
    if (in->amount_cents < 1) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "AMOUNT_INVALID",
                         "amount_cents is %" PRId64 ", at least 1", in->amount_cents);
        return;
    }
    if (strlen(in->reference) > REFERENCE_SIZE_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "REFERENCE_TOO_LONG",
                         "the reference has %zu bytes, at most %d", strlen(in->reference),
                         REFERENCE_SIZE_MAX);
        return;
    }
    if (!has_room(call, in->to_account, in->amount_cents, name)) {
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO credit (transfer_id, account_id, amount_cents, payer, reference,"
                      " state) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                      "ssissi", in->transfer_id, in->to_account, in->amount_cents, in->payer_name,
                      in->reference, (int64_t)ANNOUNCED) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TRANSFER_EXISTS",
                         "transfer %s was announced before", in->transfer_id);
        return;
    }
    Transfer__V1__AnnounceCreditResponse out = TRANSFER__V1__ANNOUNCE_CREDIT_RESPONSE__INIT;
    out.payee_name = name;
    closure(&out, data);
}

/* The undo: nothing has come yet, the room is given back. */
static void withdraw_credit(Transfer__V1__CreditService_Service *service,
                            const Transfer__V1__WithdrawCreditRequest *in,
                            Transfer__V1__WithdrawCreditResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call, "UPDATE credit SET state = ?3 WHERE transfer_id = ?1 AND state = ?2",
                        "sii", in->transfer_id, (int64_t)ANNOUNCED, (int64_t)WITHDRAWN);
    Transfer__V1__WithdrawCreditResponse out = TRANSFER__V1__WITHDRAW_CREDIT_RESPONSE__INIT;
    closure(&out, data);
}

/* Behind the pivot: there is no way back, so it cannot say no. There is room: it was announced. */
static void post_credit(Transfer__V1__CreditService_Service *service,
                        const Transfer__V1__PostCreditRequest *in,
                        Transfer__V1__PostCreditResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (saga_call_run(call,
                      "UPDATE credit SET state = ?3, settled_unix_ms = ?4, posted_unix_ms = ?5"
                      " WHERE transfer_id = ?1 AND state = ?2",
                      "siiii", in->transfer_id, (int64_t)ANNOUNCED, (int64_t)POSTED,
                      in->settled_unix_ms, saga_call_now_unix_ms(call)) == 0) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "NOT_ANNOUNCED",
                         "transfer %s was not announced", in->transfer_id);
        return;
    }
    (void)saga_call_run(call,
                        "UPDATE account SET balance_cents = balance_cents + c.amount_cents"
                        " FROM credit AS c WHERE c.transfer_id = ?1 AND account.id = c.account_id",
                        "s", in->transfer_id);
    Transfer__V1__PostCreditResponse out = TRANSFER__V1__POST_CREDIT_RESPONSE__INIT;
    closure(&out, data);
}

static Transfer__V1__CreditService_Service credits = TRANSFER__V1__CREDIT_SERVICE__INIT();

/* States: transfer.v1.AccountState, transfer.v1.CreditState; in seeds by name. */
static const char *const migrations[] = {
    "CREATE TABLE account ("
    " id TEXT PRIMARY KEY,"
    " holder TEXT NOT NULL CHECK (length(CAST(holder AS BLOB)) < 128),"
    " state INTEGER NOT NULL CHECK (state IN (1, 2)),"
    " balance_cents INTEGER NOT NULL CHECK (balance_cents >= 0),"
    " limit_cents INTEGER NOT NULL CHECK (limit_cents >= balance_cents)) STRICT;"
    "CREATE TABLE credit ("
    " transfer_id TEXT PRIMARY KEY CHECK (transfer_id <> ''),"
    " account_id TEXT NOT NULL REFERENCES account (id),"
    " amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),"
    " payer TEXT NOT NULL,"
    " reference TEXT NOT NULL,"
    " state INTEGER NOT NULL CHECK (state IN (1, 2, 3)),"
    " settled_unix_ms INTEGER NOT NULL DEFAULT 0,"
    " posted_unix_ms INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX credit_by_account ON credit (account_id, state)",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "payees",
     .sql = "INSERT INTO account (id, holder, state, balance_cents, limit_cents)"
            " VALUES (?1, ?2, CASE ?3 WHEN 'OPEN' THEN 1 WHEN 'CLOSED' THEN 2 END, ?4, ?5)"
            " ON CONFLICT (id) DO NOTHING",
     .keys = (const char *const[]){"id", "holder", "state", "balance_cents", "limit_cents", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "creditd",
        .summary = "The payee's bank: the participant transfer.v1.CreditService.",
        .env_prefix = "CREDITD",
        .service = &credits.base,
        .descriptor_set = {.data = creditd_schema, .size = sizeof creditd_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
