/* flightd: the airline. Flights with free seats, and the bookings that hold them.
 * Always: free seats + seats of bookings that are not CANCELLED is constant. */
#include <inttypes.h>
#include <stdio.h>

#include "flightd_schema.h"
#include "services/kit/kit.h"
#include "trip/v1/trip.pb-c.h"

enum {
    RESERVED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_RESERVED,
    ISSUED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_ISSUED,
    CANCELLED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_CANCELLED,
};
enum { TRAVELLERS_MAX = 9, TICKET_SIZE = 32 };

static void reserve_seats(Trip__V1__FlightService_Service *service,
                          const Trip__V1__ReserveSeatsRequest *in,
                          Trip__V1__ReserveSeatsResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (in->travellers < 1 || in->travellers > TRAVELLERS_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "TRAVELLERS_INVALID",
                         "%" PRId32 " travellers, 1 to %d", in->travellers, TRAVELLERS_MAX);
        return;
    }
    struct saga_sql_stmt *flight = saga_call_sql(
        call, "SELECT price_cents, seats FROM flight WHERE flight = ?1", "s", in->flight);
    if (!saga_call_row(call, flight)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "FLIGHT_UNKNOWN", "there is no flight %s",
                         in->flight);
        return;
    }
    int64_t price_cents = saga_sql_int(flight, 0);
    int64_t seats = saga_sql_int(flight, 1);
    if (seats < in->travellers) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "FLIGHT_FULL",
                         "flight %s: %" PRId32 " seats wanted, %" PRId64 " free", in->flight,
                         in->travellers, seats);
        return;
    }
    /* The barrier keeps one saga from doing this twice; this, two sagas from booking one trip. */
    if (saga_call_run(call,
                      "INSERT INTO booking (trip_id, flight, seats, state) VALUES (?1, ?2, ?3, ?4)"
                      " ON CONFLICT DO NOTHING",
                      "ssii", in->trip_id, in->flight, (int64_t)in->travellers,
                      (int64_t)RESERVED) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TRIP_EXISTS", "trip %s was booked before",
                         in->trip_id);
        return;
    }
    (void)saga_call_run(call, "UPDATE flight SET seats = seats - ?2 WHERE flight = ?1", "si",
                        in->flight, (int64_t)in->travellers);
    Trip__V1__ReserveSeatsResponse out = TRIP__V1__RESERVE_SEATS_RESPONSE__INIT;
    out.flight_cents = price_cents * in->travellers;
    closure(&out, data);
}

/* The undo. The barrier lets it in once, and only if this saga's reserve_seats was done. */
static void cancel_seats(Trip__V1__FlightService_Service *service,
                         const Trip__V1__CancelSeatsRequest *in,
                         Trip__V1__CancelSeatsResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call,
                        "UPDATE flight SET seats = flight.seats + b.seats FROM booking AS b"
                        " WHERE b.trip_id = ?1 AND b.state = ?2 AND flight.flight = b.flight",
                        "si", in->trip_id, (int64_t)RESERVED);
    (void)saga_call_run(call, "UPDATE booking SET state = ?3 WHERE trip_id = ?1 AND state = ?2",
                        "sii", in->trip_id, (int64_t)RESERVED, (int64_t)CANCELLED);
    Trip__V1__CancelSeatsResponse out = TRIP__V1__CANCEL_SEATS_RESPONSE__INIT;
    closure(&out, data);
}

/* Behind the pivot: what was reserved and paid cannot be refused any more. */
static void issue_ticket(Trip__V1__FlightService_Service *service,
                         const Trip__V1__IssueTicketRequest *in,
                         Trip__V1__IssueTicketResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    struct saga_sql_stmt *booking =
        saga_call_sql(call, "SELECT rowid FROM booking WHERE trip_id = ?1 AND state = ?2", "si",
                      in->trip_id, (int64_t)RESERVED);
    if (!saga_call_row(call, booking)) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "NOT_RESERVED",
                         "trip %s has no seats", in->trip_id);
        return;
    }
    char ticket[TICKET_SIZE];
    (void)snprintf(ticket, sizeof ticket, "T-%06" PRId64, saga_sql_int(booking, 0));
    (void)saga_call_run(call, "UPDATE booking SET state = ?2, ticket = ?3 WHERE trip_id = ?1",
                        "sis", in->trip_id, (int64_t)ISSUED, ticket);
    Trip__V1__IssueTicketResponse out = TRIP__V1__ISSUE_TICKET_RESPONSE__INIT;
    out.ticket = ticket;
    closure(&out, data);
}

static Trip__V1__FlightService_Service flights = TRIP__V1__FLIGHT_SERVICE__INIT();

/* state: trip.v1.BookingState. */
static const char *const migrations[] = {
    "CREATE TABLE flight ("
    " flight TEXT PRIMARY KEY,"
    " price_cents INTEGER NOT NULL CHECK (price_cents BETWEEN 0 AND 100000000),"
    " seats INTEGER NOT NULL CHECK (seats >= 0)) STRICT;"
    "CREATE TABLE booking ("
    " trip_id TEXT PRIMARY KEY CHECK (trip_id <> ''),"
    " flight TEXT NOT NULL REFERENCES flight (flight),"
    " seats INTEGER NOT NULL CHECK (seats > 0),"
    " state INTEGER NOT NULL CHECK (state IN (1, 2, 3)),"
    " ticket TEXT NOT NULL DEFAULT '') STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "flights",
     .sql = "INSERT INTO flight (flight, price_cents, seats) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (flight) DO NOTHING",
     .keys = (const char *const[]){"flight", "price_cents", "seats", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "flightd",
        .summary = "The airline: the participant trip.v1.FlightService.",
        .env_prefix = "FLIGHTD",
        .service = &flights.base,
        .descriptor_set = {.data = flightd_schema, .size = sizeof flightd_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
