/* Records without a broker: CloudEvents attributes, headers, dead letters, settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/bus/kafka/kafka.h"

static void assert_header(const struct saga_kafka_record *record, const char *name,
                          const char *value)
{
    struct saga_bytes found = saga_kafka_header(record, name);
    if (!saga_bytes_equal(found, saga_bytes_text(value))) {
        fail_msg("%s is \"%.*s\", not \"%s\"", name, (int)found.size, (const char *)found.data,
                 value);
    }
}

static void test_cloud_event_when_set_then_all_attributes_are_headers(void **state)
{
    (void)state;
    struct saga_kafka_record record = {0};
    struct saga_cloud_event_space space;
    struct saga_cloud_event event = {.id = "0190-1",
                                     .source = "/sagad",
                                     .type = "saga.v1.Command",
                                     .time_unix_ms = 1700000000123,
                                     .traceparent =
                                         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"};
    saga_kafka_set_cloud_event(&record, &event, &space);
    assert_int_equal(record.header_count, 7);
    assert_header(&record, "ce_specversion", "1.0");
    assert_header(&record, "ce_id", "0190-1");
    assert_header(&record, "ce_source", "/sagad");
    assert_header(&record, "ce_type", "saga.v1.Command");
    assert_header(&record, "ce_time", "2023-11-14T22:13:20.123Z");
    assert_header(&record, "content-type", "application/protobuf");
    assert_header(&record, "traceparent", event.traceparent);
}

static void test_cloud_event_when_there_is_no_trace_then_no_header_says_so(void **state)
{
    (void)state;
    const char *const none[] = {NULL, ""};
    for (size_t i = 0; i < 2; i++) {
        struct saga_kafka_record record = {0};
        struct saga_cloud_event_space space;
        struct saga_cloud_event event = {
            .id = "1", .source = "/s", .type = "t", .time_unix_ms = 0, .traceparent = none[i]};
        saga_kafka_set_cloud_event(&record, &event, &space);
        assert_int_equal(record.header_count, 6);
        assert_null(saga_kafka_header(&record, "traceparent").data);
        assert_header(&record, "ce_time", "1970-01-01T00:00:00.000Z");
    }
}

static void test_cloud_event_when_headers_are_there_then_it_adds_to_them(void **state)
{
    (void)state;
    struct saga_kafka_record record = {.header_count = 1};
    record.headers[0].name = "x";
    record.headers[0].value = saga_bytes_text("y");
    struct saga_cloud_event_space space;
    struct saga_cloud_event event = {.id = "1", .source = "/s", .type = "t", .time_unix_ms = -1};
    saga_kafka_set_cloud_event(&record, &event, &space);
    assert_int_equal(record.header_count, 7);
    assert_header(&record, "x", "y");
    assert_header(&record, "ce_time", "1969-12-31T23:59:59.999Z");
}

static void test_dead_letter_when_built_then_it_keeps_the_record_and_tells_its_origin(void **state)
{
    (void)state;
    struct saga_kafka_record record = {.topic = "order-to-payment-status",
                                       .key = saga_bytes_text("key"),
                                       .value = saga_bytes_text("garbage"),
                                       .partition = 3,
                                       .offset = 9007199254740993,
                                       .header_count = 1};
    record.headers[0].name = "ce_id";
    record.headers[0].value = saga_bytes_text("7");
    struct saga_kafka_record letter;
    struct saga_dead_letter_space space;
    saga_kafka_dead_letter(&record, "not a Command", &space, &letter);
    assert_string_equal(letter.topic, "saga-dead-letter");
    assert_int_equal(letter.partition, -1); /* it is on none yet */
    assert_int_equal(letter.offset, -1);
    assert_true(saga_bytes_equal(letter.key, record.key));
    assert_true(saga_bytes_equal(letter.value, record.value));
    assert_header(&letter, "ce_id", "7");
    assert_header(&letter, "dead-letter-reason", "not a Command");
    assert_header(&letter, "dead-letter-topic", "order-to-payment-status");
    assert_header(&letter, "dead-letter-partition", "3");
    assert_header(&letter, "dead-letter-offset", "9007199254740993");
}

static void test_dead_letter_when_the_headers_are_full_then_the_origin_still_fits(void **state)
{
    (void)state;
    struct saga_kafka_record record = {.topic = "t", .header_count = SAGA_KAFKA_HEADERS_MAX};
    char names[SAGA_KAFKA_HEADERS_MAX][8];
    for (size_t i = 0; i < SAGA_KAFKA_HEADERS_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "h%zu", i);
        record.headers[i].name = names[i];
        record.headers[i].value = saga_bytes_text("v");
    }
    struct saga_kafka_record letter;
    struct saga_dead_letter_space space;
    saga_kafka_dead_letter(&record, "r", &space, &letter);
    assert_int_equal(letter.header_count, SAGA_KAFKA_HEADERS_MAX);
    assert_header(&letter, "h0", "v");
    assert_header(&letter, "h11", "v");
    assert_null(saga_kafka_header(&letter, "h12").data);
    assert_header(&letter, "dead-letter-offset", "0");
    /* As many as just fit are all kept. */
    record.header_count = SAGA_KAFKA_HEADERS_MAX - 4;
    saga_kafka_dead_letter(&record, "r", &space, &letter);
    assert_int_equal(letter.header_count, SAGA_KAFKA_HEADERS_MAX);
    assert_header(&letter, "h11", "v");
}

static void ignore_delivery(void *user, uint64_t token, enum saga_err err)
{
    (void)user;
    (void)token;
    (void)err;
}

static void test_producer_when_a_property_is_unknown_then_it_is_named(void **state)
{
    (void)state;
    struct saga_kafka_property property = {"linger.msec", "5"};
    struct saga_kafka_config config = {.bootstrap = "127.0.0.1:1",
                                       .client_id = "test",
                                       .properties = &property,
                                       .property_count = 1};
    struct saga_kafka_producer *producer = NULL;
    struct saga_err_detail detail = {0};
    assert_int_equal(saga_kafka_producer_start(&config, ignore_delivery, NULL, &producer, &detail),
                     SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "linger.msec"));
    assert_null(producer);
    /* Known, but at odds with what the producer must keep. */
    property = (struct saga_kafka_property){"acks", "0"};
    assert_int_equal(saga_kafka_producer_start(&config, ignore_delivery, NULL, &producer, &detail),
                     SAGA_ERR_INVALID);
    config = (struct saga_kafka_config){.client_id = "test"};
    assert_int_equal(saga_kafka_producer_start(&config, ignore_delivery, NULL, &producer, &detail),
                     SAGA_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cloud_event_when_set_then_all_attributes_are_headers),
        cmocka_unit_test(test_cloud_event_when_there_is_no_trace_then_no_header_says_so),
        cmocka_unit_test(test_cloud_event_when_headers_are_there_then_it_adds_to_them),
        cmocka_unit_test(test_dead_letter_when_built_then_it_keeps_the_record_and_tells_its_origin),
        cmocka_unit_test(test_dead_letter_when_the_headers_are_full_then_the_origin_still_fits),
        cmocka_unit_test(test_producer_when_a_property_is_unknown_then_it_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
