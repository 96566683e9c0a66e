/* cardd: the bank of the cards. A charge is the pivot of a trip: it is never given back.
 * Always: open limit + charges of a card is constant. */
#include <inttypes.h>

#include "cardd_schema.h"
#include "services/kit/kit.h"
#include "trip/v1/trip.pb-c.h"

/* Of one part of a trip; so the sum of all parts fits. */
#define PART_CENTS_MAX INT64_C(1000000000000)

/* Says whether the card may be charged so much. False: refused. */
static bool may_charge(struct saga_call *call, const char *card, int64_t cents)
{
    struct saga_sql_stmt *found =
        saga_call_sql(call, "SELECT open_cents, blocked FROM card WHERE card = ?1", "s", card);
    if (!saga_call_row(call, found)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "CARD_UNKNOWN", "there is no card %s", card);
        return false;
    }
    if (saga_sql_int(found, 1) != 0) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "CARD_BLOCKED", "card %s is blocked",
                         card);
        return false;
    }
    int64_t open_cents = saga_sql_int(found, 0);
    if (open_cents < cents) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "CARD_LIMIT",
                         "card %s: %" PRId64 " cents are open, %" PRId64 " are asked for", card,
                         open_cents, cents);
        return false;
    }
    return true;
}

static bool is_amount(int64_t cents)
{
    return cents >= 0 && cents <= PART_CENTS_MAX;
}

static void charge_card(Trip__V1__CardService_Service *service,
                        const Trip__V1__ChargeCardRequest *in,
                        Trip__V1__ChargeCardResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (!is_amount(in->flight_cents) || !is_amount(in->hotel_cents) || !is_amount(in->car_cents)) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "AMOUNT_INVALID",
                         "an amount is not within 0 to %" PRId64 " cents", PART_CENTS_MAX);
        return;
    }
    int64_t total_cents = in->flight_cents + in->hotel_cents + in->car_cents;
    if (!may_charge(call, in->card, total_cents)) {
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO charge (trip_id, card, amount_cents) VALUES (?1, ?2, ?3)"
                      " ON CONFLICT DO NOTHING",
                      "ssi", in->trip_id, in->card, total_cents) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TRIP_EXISTS", "trip %s was paid before",
                         in->trip_id);
        return;
    }
    (void)saga_call_run(call, "UPDATE card SET open_cents = open_cents - ?2 WHERE card = ?1", "si",
                        in->card, total_cents);
    Trip__V1__ChargeCardResponse out = TRIP__V1__CHARGE_CARD_RESPONSE__INIT;
    out.total_cents = total_cents;
    closure(&out, data);
}

static Trip__V1__CardService_Service cards = TRIP__V1__CARD_SERVICE__INIT();

static const char *const migrations[] = {
    "CREATE TABLE card ("
    " card TEXT PRIMARY KEY,"
    " open_cents INTEGER NOT NULL CHECK (open_cents >= 0),"
    " blocked INTEGER NOT NULL CHECK (blocked IN (0, 1))) STRICT;"
    "CREATE TABLE charge ("
    " trip_id TEXT PRIMARY KEY CHECK (trip_id <> ''),"
    " card TEXT NOT NULL REFERENCES card (card),"
    " amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0)) STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "cards",
     .sql = "INSERT INTO card (card, open_cents, blocked) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (card) DO NOTHING",
     .keys = (const char *const[]){"card", "open_cents", "blocked", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "cardd",
        .summary = "The bank of the cards: the participant trip.v1.CardService.",
        .env_prefix = "CARDD",
        .service = &cards.base,
        .descriptor_set = {.data = cardd_schema, .size = sizeof cardd_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
