/* rentald: the car rental. Classes of cars, and the rentals that hold one.
 * Always: free cars + rentals that are not CANCELLED is constant. */
#include <inttypes.h>

#include "rentald_schema.h"
#include "services/kit/kit.h"
#include "trip/v1/trip.pb-c.h"

enum {
    RESERVED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_RESERVED,
    CANCELLED = TRIP__V1__BOOKING_STATE__BOOKING_STATE_CANCELLED,
};
enum { DAYS_MAX = 30 };

static void reserve_car(Trip__V1__CarService_Service *service,
                        const Trip__V1__ReserveCarRequest *in,
                        Trip__V1__ReserveCarResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (in->days < 1 || in->days > DAYS_MAX) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "DAYS_INVALID",
                         "%" PRId32 " days, 1 to %d", in->days, DAYS_MAX);
        return;
    }
    struct saga_sql_stmt *car =
        saga_call_sql(call, "SELECT price_cents, cars FROM car WHERE car = ?1", "s", in->car);
    if (!saga_call_row(call, car)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "CAR_UNKNOWN", "there are no cars of class %s",
                         in->car);
        return;
    }
    int64_t price_cents = saga_sql_int(car, 0);
    if (saga_sql_int(car, 1) == 0) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "CARS_OUT",
                         "all cars of class %s are out", in->car);
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO rental (trip_id, car, days, state) VALUES (?1, ?2, ?3, ?4)"
                      " ON CONFLICT DO NOTHING",
                      "ssii", in->trip_id, in->car, (int64_t)in->days, (int64_t)RESERVED) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TRIP_EXISTS", "trip %s was booked before",
                         in->trip_id);
        return;
    }
    (void)saga_call_run(call, "UPDATE car SET cars = cars - 1 WHERE car = ?1", "s", in->car);
    Trip__V1__ReserveCarResponse out = TRIP__V1__RESERVE_CAR_RESPONSE__INIT;
    out.car_cents = price_cents * in->days;
    closure(&out, data);
}

static void cancel_car(Trip__V1__CarService_Service *service, const Trip__V1__CancelCarRequest *in,
                       Trip__V1__CancelCarResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call,
                        "UPDATE car SET cars = cars + 1 FROM rental AS r"
                        " WHERE r.trip_id = ?1 AND r.state = ?2 AND car.car = r.car",
                        "si", in->trip_id, (int64_t)RESERVED);
    (void)saga_call_run(call, "UPDATE rental SET state = ?3 WHERE trip_id = ?1 AND state = ?2",
                        "sii", in->trip_id, (int64_t)RESERVED, (int64_t)CANCELLED);
    Trip__V1__CancelCarResponse out = TRIP__V1__CANCEL_CAR_RESPONSE__INIT;
    closure(&out, data);
}

static Trip__V1__CarService_Service cars = TRIP__V1__CAR_SERVICE__INIT();

/* state: trip.v1.BookingState; a rental has no papers, it stays RESERVED. */
static const char *const migrations[] = {
    "CREATE TABLE car ("
    " car TEXT PRIMARY KEY,"
    " price_cents INTEGER NOT NULL CHECK (price_cents BETWEEN 0 AND 100000000),"
    " cars INTEGER NOT NULL CHECK (cars >= 0)) STRICT;"
    "CREATE TABLE rental ("
    " trip_id TEXT PRIMARY KEY CHECK (trip_id <> ''),"
    " car TEXT NOT NULL REFERENCES car (car),"
    " days INTEGER NOT NULL CHECK (days > 0),"
    " state INTEGER NOT NULL CHECK (state IN (1, 3))) STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "cars",
     .sql = "INSERT INTO car (car, price_cents, cars) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (car) DO NOTHING",
     .keys = (const char *const[]){"car", "price_cents", "cars", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "rentald",
        .summary = "The car rental: the participant trip.v1.CarService.",
        .env_prefix = "RENTALD",
        .service = &cars.base,
        .descriptor_set = {.data = rentald_schema, .size = sizeof rentald_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
