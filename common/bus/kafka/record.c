/* Records: headers, CloudEvents attributes, dead letters. No I/O. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/assert.h"
#include "common/bus/kafka/kafka.h"

enum { DEAD_LETTER_HEADERS = 4 };

static const char dead_letter_topic[] = "saga-dead-letter";

static void add_header(struct saga_kafka_record *record, const char *name, const char *value)
{
    SAGA_ASSERT(record->header_count < SAGA_KAFKA_HEADERS_MAX);
    struct saga_kafka_header *header = &record->headers[record->header_count];
    header->name = name;
    header->value = saga_bytes_text(value);
    record->header_count++;
}

/* RFC 3339 in UTC with milliseconds. */
static void format_time(int64_t unix_ms, char *text, size_t size)
{
    int64_t ms = unix_ms % 1000;
    int64_t seconds = unix_ms / 1000;
    if (ms < 0) {
        ms += 1000;
        seconds -= 1;
    }
    time_t moment = (time_t)seconds;
    struct tm parts = {0};
    (void)gmtime_r(&moment, &parts);
    size_t length = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + length, size - length, ".%03dZ", (int)ms);
}

void saga_kafka_set_cloud_event(struct saga_kafka_record *record,
                                const struct saga_cloud_event *event,
                                struct saga_cloud_event_space *space)
{
    format_time(event->time_unix_ms, space->time, sizeof(space->time));
    add_header(record, "ce_specversion", "1.0");
    add_header(record, "ce_id", event->id);
    add_header(record, "ce_source", event->source);
    add_header(record, "ce_type", event->type);
    add_header(record, "ce_time", space->time);
    add_header(record, "content-type", "application/protobuf");
    if (event->traceparent != NULL && event->traceparent[0] != '\0') {
        add_header(record, "traceparent", event->traceparent);
    }
}

struct saga_bytes saga_kafka_header(const struct saga_kafka_record *record, const char *name)
{
    for (size_t i = 0; i < record->header_count; i++) {
        if (strcmp(record->headers[i].name, name) == 0) {
            return record->headers[i].value;
        }
    }
    return (struct saga_bytes){0};
}

void saga_kafka_dead_letter(const struct saga_kafka_record *record, const char *reason,
                            struct saga_dead_letter_space *space, struct saga_kafka_record *letter)
{
    *letter = *record;
    letter->topic = dead_letter_topic;
    letter->partition = -1;
    letter->offset = -1;
    /* A foreign record may fill the table; where it came from and why matters more than its last
     * headers. */
    if (letter->header_count > SAGA_KAFKA_HEADERS_MAX - DEAD_LETTER_HEADERS) {
        letter->header_count = SAGA_KAFKA_HEADERS_MAX - DEAD_LETTER_HEADERS;
    }
    (void)snprintf(space->partition, sizeof(space->partition), "%" PRId32, record->partition);
    (void)snprintf(space->offset, sizeof(space->offset), "%" PRId64, record->offset);
    add_header(letter, "dead-letter-reason", reason);
    add_header(letter, "dead-letter-topic", record->topic);
    add_header(letter, "dead-letter-partition", space->partition);
    add_header(letter, "dead-letter-offset", space->offset);
}
