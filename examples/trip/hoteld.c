/* hoteld: the hotels. Rooms that are free, and the stays that hold one.
 * Always: free rooms + stays that are not CANCELLED is constant. */
#include <inttypes.h>
#include <stdio.h>

#include "hoteld_schema.h"
#include "services/kit/kit.h"
#include "trip/v1/trip.pb-c.h"

enum {
    RESERVED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_RESERVED,
    ISSUED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_ISSUED,
    CANCELLED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_CANCELLED,
};
enum { NIGHTS_MAX = 30, VOUCHER_SIZE = 32 };

static void reserve_room(Trip__V1__HotelService_Service *service,
                         const Trip__V1__ReserveRoomRequest *in,
                         Trip__V1__ReserveRoomResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (in->nights < 1 || in->nights > NIGHTS_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "NIGHTS_INVALID",
                         "%" PRId32 " nights, 1 to %d", in->nights, NIGHTS_MAX);
        return;
    }
    struct saga_sql_stmt *hotel = saga_call_sql(
        call, "SELECT price_cents, rooms FROM hotel WHERE hotel = ?1", "s", in->hotel);
    if (!saga_call_row(call, hotel)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "HOTEL_UNKNOWN", "there is no hotel %s",
                         in->hotel);
        return;
    }
    int64_t price_cents = saga_sql_int(hotel, 0);
    if (saga_sql_int(hotel, 1) == 0) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "HOTEL_FULL",
                         "hotel %s has no room left", in->hotel);
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO stay (trip_id, hotel, nights, state) VALUES (?1, ?2, ?3, ?4)"
                      " ON CONFLICT DO NOTHING",
                      "ssii", in->trip_id, in->hotel, (int64_t)in->nights,
                      (int64_t)RESERVED) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TRIP_EXISTS", "trip %s was booked before",
                         in->trip_id);
        return;
    }
    (void)saga_call_run(call, "UPDATE hotel SET rooms = rooms - 1 WHERE hotel = ?1", "s",
                        in->hotel);
    Trip__V1__ReserveRoomResponse out = TRIP__V1__RESERVE_ROOM_RESPONSE__INIT;
    out.hotel_cents = price_cents * in->nights;
    closure(&out, data);
}

static void cancel_room(Trip__V1__HotelService_Service *service,
                        const Trip__V1__CancelRoomRequest *in,
                        Trip__V1__CancelRoomResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call,
                        "UPDATE hotel SET rooms = rooms + 1 FROM stay AS s"
                        " WHERE s.trip_id = ?1 AND s.state = ?2 AND hotel.hotel = s.hotel",
                        "si", in->trip_id, (int64_t)RESERVED);
    (void)saga_call_run(call, "UPDATE stay SET state = ?3 WHERE trip_id = ?1 AND state = ?2", "sii",
                        in->trip_id, (int64_t)RESERVED, (int64_t)CANCELLED);
    Trip__V1__CancelRoomResponse out = TRIP__V1__CANCEL_ROOM_RESPONSE__INIT;
    closure(&out, data);
}

static void issue_voucher(Trip__V1__HotelService_Service *service,
                          const Trip__V1__IssueVoucherRequest *in,
                          Trip__V1__IssueVoucherResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    struct saga_sql_stmt *stay =
        saga_call_sql(call, "SELECT rowid FROM stay WHERE trip_id = ?1 AND state = ?2", "si",
                      in->trip_id, (int64_t)RESERVED);
    if (!saga_call_row(call, stay)) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "NOT_RESERVED", "trip %s has no room",
                         in->trip_id);
        return;
    }
    char voucher[VOUCHER_SIZE];
    (void)snprintf(voucher, sizeof voucher, "V-%06" PRId64, saga_sql_int(stay, 0));
    (void)saga_call_run(call, "UPDATE stay SET state = ?2, voucher = ?3 WHERE trip_id = ?1", "sis",
                        in->trip_id, (int64_t)ISSUED, voucher);
    Trip__V1__IssueVoucherResponse out = TRIP__V1__ISSUE_VOUCHER_RESPONSE__INIT;
    out.voucher = voucher;
    closure(&out, data);
}

static Trip__V1__HotelService_Service hotels = TRIP__V1__HOTEL_SERVICE__INIT();

/* state: trip.v1.BookingState. */
static const char *const migrations[] = {
    "CREATE TABLE hotel ("
    " hotel TEXT PRIMARY KEY,"
    " price_cents INTEGER NOT NULL CHECK (price_cents BETWEEN 0 AND 100000000),"
    " rooms INTEGER NOT NULL CHECK (rooms >= 0)) STRICT;"
    "CREATE TABLE stay ("
    " trip_id TEXT PRIMARY KEY CHECK (trip_id <> ''),"
    " hotel TEXT NOT NULL REFERENCES hotel (hotel),"
    " nights INTEGER NOT NULL CHECK (nights > 0),"
    " state INTEGER NOT NULL CHECK (state IN (1, 2, 3)),"
    " voucher TEXT NOT NULL DEFAULT '') STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "hotels",
     .sql = "INSERT INTO hotel (hotel, price_cents, rooms) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (hotel) DO NOTHING",
     .keys = (const char *const[]){"hotel", "price_cents", "rooms", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "hoteld",
        .summary = "The hotels: the participant trip.v1.HotelService.",
        .env_prefix = "HOTELD",
        .service = &hotels.base,
        .descriptor_set = {.data = hoteld_schema, .size = sizeof hoteld_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
