/* Timestamps and durations as text: RFC 3339 in UTC, and seconds with an 's'. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/json/json_internal.h"

enum { DAY_S = 86400, NANOS = 1000000000 };

/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z */
#define TIMESTAMP_SECONDS_MIN INT64_C(-62135596800)
#define TIMESTAMP_SECONDS_MAX INT64_C(253402300799)

/* ---- Reading ---- */

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static bool take(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != (uint8_t)c) {
        return false;
    }
    cursor->at++;
    return true;
}

static bool digit_next(const struct cursor *cursor)
{
    return cursor->at != cursor->end && *cursor->at >= '0' && *cursor->at <= '9';
}

/* Takes exactly count digits. */
static bool take_digits(struct cursor *cursor, int count, int *number)
{
    *number = 0;
    for (int i = 0; i < count; i++) {
        if (!digit_next(cursor)) {
            return false;
        }
        *number = *number * 10 + (*cursor->at++ - '0');
    }
    return true;
}

/* Takes ".123", 1 to 9 digits; nothing is 0. */
static bool take_fraction(struct cursor *cursor, int32_t *nanos)
{
    *nanos = 0;
    if (!take(cursor, '.')) {
        return true;
    }
    int count = 0;
    for (; count < 9 && digit_next(cursor); count++) {
        *nanos = *nanos * 10 + (*cursor->at++ - '0');
    }
    if (count == 0 || digit_next(cursor)) {
        return false;
    }
    for (; count < 9; count++) {
        *nanos *= 10;
    }
    return true;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to the first of January of a year from 1 to 9999. */
static int64_t days_to_year(int64_t year)
{
    int64_t before = year - 1;
    return before * 365 + before / 4 - before / 100 + before / 400 - 719162;
}

static bool take_date(struct cursor *cursor, int64_t *days)
{
    int year = 0;
    int month = 0;
    int day = 0;
    bool good = take_digits(cursor, 4, &year) && take(cursor, '-') &&
                take_digits(cursor, 2, &month) && take(cursor, '-') && take_digits(cursor, 2, &day);
    if (!good || year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month)) {
        return false;
    }
    *days = days_to_year(year) + day - 1;
    for (int i = 1; i < month; i++) {
        *days += days_in(year, i);
    }
    return true;
}

/* Takes "Z", "+02:00" or "-11:30": seconds to add for UTC. */
static bool take_zone(struct cursor *cursor, int64_t *seconds)
{
    *seconds = 0;
    if (take(cursor, 'Z')) {
        return true;
    }
    bool east = take(cursor, '+');
    int hours = 0;
    int minutes = 0;
    if ((!east && !take(cursor, '-')) || !take_digits(cursor, 2, &hours) || !take(cursor, ':') ||
        !take_digits(cursor, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *seconds = (int64_t)hours * 3600 + minutes * 60;
    *seconds = east ? -*seconds : *seconds;
    return true;
}

bool saga_json_timestamp_read(struct saga_bytes text, struct saga_json_time *time)
{
    struct cursor cursor = {text.data, text.data + text.size};
    int64_t days = 0;
    int64_t zone = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    bool good = take_date(&cursor, &days) && take(&cursor, 'T') && take_digits(&cursor, 2, &hour) &&
                take(&cursor, ':') && take_digits(&cursor, 2, &minute) && take(&cursor, ':') &&
                take_digits(&cursor, 2, &second) && take_fraction(&cursor, &time->nanos) &&
                take_zone(&cursor, &zone) && cursor.at == cursor.end;
    if (!good || hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    time->seconds = days * DAY_S + hour * 3600 + minute * 60 + second + zone;
    return time->seconds >= TIMESTAMP_SECONDS_MIN && time->seconds <= TIMESTAMP_SECONDS_MAX;
}

bool saga_json_duration_read(struct saga_bytes text, struct saga_json_time *time)
{
    struct cursor cursor = {text.data, text.data + text.size};
    bool negative = take(&cursor, '-');
    if (!digit_next(&cursor)) {
        return false;
    }
    time->seconds = 0;
    while (digit_next(&cursor)) {
        time->seconds = time->seconds * 10 + (*cursor.at++ - '0');
        if (time->seconds > SAGA_JSON_DURATION_SECONDS_MAX) {
            return false;
        }
    }
    if (!take_fraction(&cursor, &time->nanos) || !take(&cursor, 's') || cursor.at != cursor.end) {
        return false;
    }
    if (negative) {
        time->seconds = -time->seconds;
        time->nanos = -time->nanos;
    }
    return true;
}

/* ---- Printing ---- */

/* Writes 0, 3, 6 or 9 digits behind the point. */
static void print_fraction(int32_t nanos, char text[16])
{
    if (nanos == 0) {
        text[0] = '\0';
    } else if (nanos % 1000000 == 0) {
        (void)snprintf(text, 16, ".%03" PRId32, nanos / 1000000);
    } else if (nanos % 1000 == 0) {
        (void)snprintf(text, 16, ".%06" PRId32, nanos / 1000);
    } else {
        (void)snprintf(text, 16, ".%09" PRId32, nanos);
    }
}

bool saga_json_timestamp_print(struct saga_json_time time, char text[SAGA_JSON_TIME_SIZE])
{
    if (time.seconds < TIMESTAMP_SECONDS_MIN || time.seconds > TIMESTAMP_SECONDS_MAX ||
        time.nanos < 0 || time.nanos >= NANOS) {
        return false;
    }
    int64_t days = (time.seconds - TIMESTAMP_SECONDS_MIN) / DAY_S; /* since 0001-01-01 */
    int second = (int)((time.seconds - TIMESTAMP_SECONDS_MIN) % DAY_S);
    int64_t year = 1 + days / 366; /* too early by 21 years at most */
    while (days_to_year(year + 1) - days_to_year(1) <= days) {
        year++;
    }
    int64_t rest = days - (days_to_year(year) - days_to_year(1));
    int month = 1;
    while (rest >= days_in(year, month)) {
        rest -= days_in(year, month);
        month++;
    }
    char fraction[16];
    print_fraction(time.nanos, fraction);
    (void)snprintf(text, SAGA_JSON_TIME_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (int)year, month,
                   (int)rest + 1, second / 3600, second / 60 % 60, second % 60, fraction);
    return true;
}

bool saga_json_duration_print(struct saga_json_time time, char text[SAGA_JSON_TIME_SIZE])
{
    bool mixed = (time.seconds < 0 && time.nanos > 0) || (time.seconds > 0 && time.nanos < 0);
    if (mixed || time.seconds > SAGA_JSON_DURATION_SECONDS_MAX ||
        time.seconds < -SAGA_JSON_DURATION_SECONDS_MAX || time.nanos <= -NANOS ||
        time.nanos >= NANOS) {
        return false;
    }
    bool negative = time.seconds < 0 || time.nanos < 0;
    char fraction[16];
    print_fraction(negative ? -time.nanos : time.nanos, fraction);
    (void)snprintf(text, SAGA_JSON_TIME_SIZE, "%s%" PRId64 "%ss", negative ? "-" : "",
                   negative ? -time.seconds : time.seconds, fraction);
    return true;
}
