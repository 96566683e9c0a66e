/* Producer, consumer, topics and relay against the shared broker; and against the embedded cluster
 * where that is what is tested. */
#include "tests/integration/bus/kafka_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/support.h"

/* The broker that a group of tests talks to. */
static struct saga_kafka_config shared = {.client_id = "test-bus"};

static int group_setup_broker(void **state)
{
    (void)state;
    static char bootstrap[SAGA_TEST_PATH_MAX];
    shared.bootstrap = saga_test_kafka(bootstrap);
    return 0;
}

static int group_setup_mock(void **state)
{
    struct saga_kafka_mock *mock = NULL;
    struct saga_err_detail detail = {0};
    if (saga_kafka_mock_start(&mock, &detail) != SAGA_ERR_OK) {
        return -1;
    }
    *state = mock;
    shared.bootstrap = saga_kafka_mock_bootstrap(mock);
    return 0;
}

static int group_teardown_mock(void **state)
{
    saga_kafka_mock_free(*state);
    return 0;
}

static void test_relay_when_rows_are_there_then_each_key_comes_in_order(void **state)
{
    (void)state;
    struct kafka_topic_name topic = kafka_topic_unique("relay");
    kafka_topic_make(&shared, topic.text, 4);
    struct outbox outbox;
    struct collector collector;
    outbox_init(&outbox, topic.text, 7);
    collector_init(&collector);
    outbox_commit(&outbox, 2500);
    struct saga_relay *relay = outbox_relay(&outbox, &shared, 0);
    struct saga_kafka_consumer *consumer = collector_start(&collector, &shared, topic.text);
    assert_true(outbox_wait_advanced(&outbox, 2500));
    outbox_commit(&outbox, 100);
    saga_relay_wake(relay);
    assert_int_equal(saga_relay_drain(relay, KAFKA_WAIT_MS), SAGA_ERR_OK);
    assert_int_equal(outbox_advanced(&outbox), 2600);
    assert_int_equal(saga_relay_position(relay), 2600);
    assert_true(saga_relay_up(relay));
    assert_true(collector_wait(&collector, 2600));
    assert_int_equal(outbox_check(&outbox, &collector), 0);
    assert_false(outbox.went_back);
    assert_true(saga_kafka_consumer_up(consumer));
    saga_kafka_consumer_free(consumer);
    saga_relay_free(relay);
    collector_fini(&collector);
    outbox_fini(&outbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay_when_rows_are_there_then_each_key_comes_in_order),
    };
    int failed =
        cmocka_run_group_tests_name("embedded", tests, group_setup_mock, group_teardown_mock);
    failed += cmocka_run_group_tests_name("broker", tests, group_setup_broker, NULL);
    return failed;
}
