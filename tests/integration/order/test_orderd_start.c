/* The start relay: every saved order's saga is started, once, whatever happens to the orchestrator
 * or to orderd. */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/limits.h"
#include "common/base/prng.h"
#include "common/wire/envelope.h"
#include "tests/integration/order/orderd_fixture.h"

static const char body[] = "{\"customer_id\":42,\"items\":[{\"product_id\":7,\"quantity\":2}]}";

/* Whether an order's saga id is known to orderd: the start was saved. */
static bool start_is_saved(struct orderd *orderd, int64_t order_id)
{
    char line[64];
    unsigned status = 0;
    (void)snprintf(line, sizeof line, "GET /orders/%" PRId64, order_id);
    json_t *order = ask(orderd, line, "", NULL, &status, NULL);
    assert_int_equal(status, 200);
    char saga[SAGA_ID_TEXT_SIZE];
    saga_id_format(fake_find(orderd, order_id).saga_id, saga);
    bool saved = strcmp(text_of(order, "saga_id"), saga) == 0;
    assert_true(saved || strcmp(text_of(order, "saga_id"), "") == 0);
    json_decref(order);
    return saved;
}

struct saved {
    struct orderd *orderd;
    int64_t count;
};

static bool all_are_saved(void *argument)
{
    const struct saved *saved = argument;
    for (int64_t i = saved->count; i >= 1; i--) {
        if (!start_is_saved(saved->orderd, i)) {
            return false;
        }
    }
    return true;
}

static void wait_saved(struct orderd *orderd, int64_t count)
{
    struct saved saved = {.orderd = orderd, .count = count};
    assert_true(saga_test_until(all_are_saved, &saved, DEADLINE_MS));
}

static void test_start_when_orchestrator_is_up_then_started_with_the_order(void **state)
{
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_ACCEPT);
    orderd_start(orderd);
    assert_int_equal(place(orderd), 1);
    fake_wait_started(orderd, 1);
    struct fake_start start = fake_find(orderd, 1);
    assert_int_equal(start.customer_id, 42);
    assert_int_equal(start.line_count, 1);
    assert_string_equal(orderd->fake.definition, "create-order");
    wait_saved(orderd, 1);
    /* What was saved as started is not started again. */
    orderd_stop(orderd);
    orderd_start(orderd);
    assert_int_equal(place(orderd), 2);
    fake_wait_started(orderd, 2);
    assert_int_equal(fake_find(orderd, 1).times, 1);
}

static void test_start_when_orchestrator_is_down_then_started_when_it_is_back(void **state)
{
    enum { ORDERS = 30 };
    struct orderd *orderd = *state;
    orderd_start(orderd);
    for (int i = 1; i <= ORDERS; i++) {
        assert_int_equal(place(orderd), i);
    }
    fake_up(orderd, FAKE_ACCEPT);
    fake_wait_started(orderd, ORDERS);
    wait_saved(orderd, ORDERS);
    /* It goes, and comes again. */
    fake_down(orderd);
    for (int i = 1; i <= ORDERS; i++) {
        assert_int_equal(place(orderd), ORDERS + i);
    }
    fake_up(orderd, FAKE_ACCEPT);
    fake_wait_started(orderd, 2 * ORDERS);
    wait_saved(orderd, 2 * ORDERS);
    orderd_stop(orderd);
}

static void test_start_when_refused_then_order_is_rejected(void **state)
{
    static const enum saga_code codes[] = {SAGA_CODE_INVALID_ARGUMENT, SAGA_CODE_NOT_FOUND,
                                           SAGA_CODE_ALREADY_EXISTS, SAGA_CODE_FAILED_PRECONDITION};
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_CODE);
    orderd_start(orderd);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        unsigned status = 0;
        fake_set(orderd, FAKE_CODE, codes[i]);
        json_t *order = ask(orderd, "POST /orders?wait=20s", "", body, &status, NULL);
        assert_int_equal(status, 201);
        assert_string_equal(text_of(order, "state"), "REJECTED");
        assert_string_equal(text_of(order, "reason"), "START_REFUSED");
        json_decref(order);
    }
    assert_int_equal(orderd->fake.start_count, 0);
}

static bool asked_more(void *argument)
{
    struct orderd *orderd = argument;
    (void)pthread_mutex_lock(&orderd->fake.lock);
    bool more = orderd->fake.message_count >= 3;
    (void)pthread_mutex_unlock(&orderd->fake.lock);
    return more;
}

static void test_start_when_put_off_then_tried_until_accepted(void **state)
{
    static const enum saga_code codes[] = {SAGA_CODE_UNAVAILABLE, SAGA_CODE_RESOURCE_EXHAUSTED,
                                           SAGA_CODE_INTERNAL, SAGA_CODE_PERMISSION_DENIED};
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_CODE);
    orderd_start(orderd);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        fake_set(orderd, FAKE_CODE, codes[i]);
        orderd->fake.message_count = 0;
        int64_t order_id = place(orderd);
        assert_true(saga_test_until(asked_more, orderd, DEADLINE_MS));
        expect_order(orderd, order_id, "PENDING", "");
        fake_set(orderd, FAKE_ACCEPT, SAGA_CODE_OK);
        fake_wait_started(orderd, i + 1);
    }
    fake_set(orderd, FAKE_GARBAGE, SAGA_CODE_OK);
    orderd->fake.message_count = 0;
    (void)place(orderd);
    assert_true(saga_test_until(asked_more, orderd, DEADLINE_MS));
    fake_set(orderd, FAKE_ACCEPT, SAGA_CODE_OK);
    fake_wait_started(orderd, sizeof codes / sizeof codes[0] + 1);
}

static void test_start_when_reply_is_lost_then_asked_again_and_one_saga(void **state)
{
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_SILENT);
    orderd_start(orderd);
    (void)place(orderd);
    /* The orchestrator dies with the request inside it, and comes back. */
    fake_down(orderd);
    fake_up(orderd, FAKE_ACCEPT);
    fake_wait_started(orderd, 1);
    wait_saved(orderd, 1);
}

static void test_start_when_message_is_refused_whole_then_one_by_one(void **state)
{
    enum { ORDERS = 20, BAD = 13 };
    struct orderd *orderd = *state;
    orderd_start(orderd);
    for (int i = 0; i < ORDERS; i++) {
        (void)place(orderd);
    }
    orderd->fake.refused_order = BAD;
    fake_up(orderd, FAKE_WHOLE);
    fake_wait_started(orderd, ORDERS - 1);
    wait_order(orderd, BAD, "REJECTED", "START_REFUSED");
    assert_int_equal(fake_find(orderd, BAD).times, 0);
    assert_true(orderd->fake.command_count_max > 1);
}

/* Places many orders in one message of commands. */
static void place_many(struct orderd *orderd, size_t count)
{
    Order__V1__OrderItem item = ORDER__V1__ORDER_ITEM__INIT;
    Order__V1__OrderItem *items[] = {&item};
    item.product_id = 7;
    item.quantity = 1;
    Order__V1__PlaceOrderRequest request = ORDER__V1__PLACE_ORDER_REQUEST__INIT;
    request.customer_id = 42;
    request.n_items = 1;
    request.items = items;
    struct saga_buf payload = {0};
    struct saga_buf message = {0};
    struct saga_buf reply = {0};
    struct saga_err_detail detail;
    assert_int_equal(saga_message_encode(&request.base, &payload), SAGA_ERR_OK);
    const struct saga_command wanted = {.step = "",
                                        .method = "order.v1.OrderService/PlaceOrder",
                                        .payload = saga_buf_view(&payload),
                                        .traceparent = "",
                                        .cause_step = "",
                                        .cause_status = saga_status_ok()};
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(saga_command_batch_add(&wanted, &message), SAGA_ERR_OK);
    }
    assert_int_equal(
        saga_rpc_client_call(orderd->client, saga_buf_view(&message), DEADLINE_MS, &reply, &detail),
        SAGA_ERR_OK);
    struct saga_arena arena = {0};
    struct saga_reply *replies = NULL;
    struct saga_status status;
    size_t replied = 0;
    assert_int_equal(
        saga_reply_batch_decode(saga_buf_view(&reply), &arena, &replies, &replied, &status),
        SAGA_ERR_OK);
    assert_int_equal(replied, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(replies[i].status.code, SAGA_CODE_OK);
    }
    saga_arena_fini(&arena);
    saga_buf_fini(&reply);
    saga_buf_fini(&message);
    saga_buf_fini(&payload);
}

static void test_start_when_thousands_wait_then_all_in_full_batches(void **state)
{
    enum { MESSAGES = 16, PER_MESSAGE = 250 };
    struct orderd *orderd = *state;
    orderd_start(orderd);
    for (int i = 0; i < MESSAGES; i++) {
        place_many(orderd, PER_MESSAGE);
    }
    (void)place(orderd);
    fake_up(orderd, FAKE_ACCEPT);
    fake_wait_started(orderd, MESSAGES * PER_MESSAGE + 1);
    assert_int_equal(orderd->fake.command_count_max, 256);
    wait_saved(orderd, 3); /* the rest is looked at from the other end below */
    place_many(orderd, 10);
    fake_wait_started(orderd, MESSAGES * PER_MESSAGE + 11);
    wait_order(orderd, MESSAGES * PER_MESSAGE + 11, "PENDING", "");
    orderd_stop(orderd);
}

/* Places orders by HTTP, by many clients at once. */
static void place_by_http(struct orderd *orderd, size_t count)
{
    enum { CLIENTS = 100 };
    static struct reply reply;
    char text[256];
    (void)snprintf(text, sizeof text,
                   "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
                   sizeof body - 1, body);
    int fds[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(orderd->port);
    }
    for (size_t done = 0; done < count; done += CLIENTS) {
        for (size_t i = 0; i < CLIENTS; i++) {
            assert_true(client_send_text(fds[i], text));
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            assert_true(client_read(fds[i], false, &reply));
            assert_int_equal(reply.status, 201);
        }
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        (void)close(fds[i]);
    }
}

/* More than memory holds: the rest comes from the table, then from
 * memory again. */
static void test_start_when_memory_is_full_then_the_rest_from_the_table(void **state)
{
    enum { ORDERS = SAGA_ORDER_START_QUEUE_MAX + 1000 - SAGA_ORDER_START_QUEUE_MAX % 100 };
    struct orderd *orderd = *state;
    orderd_start(orderd);
    place_by_http(orderd, ORDERS);
    fake_up(orderd, FAKE_ACCEPT);
    fake_wait_started(orderd, ORDERS);
    assert_int_equal(orderd->fake.command_count_max, 256);
    place_by_http(orderd, 100);
    fake_wait_started(orderd, ORDERS + 100);
    wait_saved(orderd, 3);
    assert_int_equal(fake_find(orderd, 1).times, 1);
}

static void test_start_when_orderd_is_killed_then_every_saved_order_starts_once(void **state)
{
    enum { ROUNDS = 6 };
    struct orderd *orderd = *state;
    uint64_t seed = (uint64_t)saga_test_now_ms();
    print_message("seed %" PRIu64 "\n", seed);
    size_t orders = 0;
    for (int round = 0; round < ROUNDS; round++) {
        orderd_start(orderd);
        if (round % 2 == 1) {
            fake_up(orderd, FAKE_ACCEPT);
        }
        size_t count = 1 + (size_t)saga_prng_below(&seed, 12);
        for (size_t i = 0; i < count; i++) {
            (void)place(orderd);
            orders++;
        }
        /* At any moment: before the start was sent, before its answer was saved, after both. */
        struct timespec pause = {.tv_nsec = (long)saga_prng_below(&seed, 4000000)};
        (void)nanosleep(&pause, NULL);
        orderd_kill(orderd);
        fake_down(orderd);
    }
    fake_up(orderd, FAKE_ACCEPT);
    orderd_start(orderd);
    fake_wait_started(orderd, orders);
    wait_saved(orderd, (int64_t)orders);
    orderd_stop(orderd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, orderd_setup, orderd_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start_when_orchestrator_is_up_then_started_with_the_order),
        TEST(test_start_when_orchestrator_is_down_then_started_when_it_is_back),
        TEST(test_start_when_refused_then_order_is_rejected),
        TEST(test_start_when_put_off_then_tried_until_accepted),
        TEST(test_start_when_reply_is_lost_then_asked_again_and_one_saga),
        TEST(test_start_when_message_is_refused_whole_then_one_by_one),
        TEST(test_start_when_thousands_wait_then_all_in_full_batches),
        TEST(test_start_when_memory_is_full_then_the_rest_from_the_table),
        TEST(test_start_when_orderd_is_killed_then_every_saved_order_starts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
