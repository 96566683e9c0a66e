/* What orderd does with orders: placing, showing, deciding, waiting; by HTTP and by NNG. */
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
#include "common/wire/envelope.h"
#include "tests/integration/order/orderd_fixture.h"

static const char body[] = "{\"customer_id\":42,\"items\":[{\"product_id\":7,\"quantity\":2}]}";
static const char other_body[] =
    "{\"customer_id\":42,\"items\":[{\"product_id\":7,\"quantity\":3}]}";

/* ---- Placing ---- */

static void test_post_when_sound_then_201_location_and_the_whole_order(void **state)
{
    struct orderd *orderd = *state;
    static struct reply reply;
    orderd_start(orderd);
    unsigned status = 0;
    json_t *order = ask(orderd, "POST /orders", "", body, &status, &reply);
    assert_int_equal(status, 201);
    assert_int_equal(number_of(order, "order_id"), 1);
    assert_int_equal(number_of(order, "customer_id"), 42);
    assert_string_equal(text_of(order, "state"), "PENDING");
    assert_string_equal(text_of(order, "reason"), "");
    assert_string_equal(text_of(order, "saga_id"), "");
    assert_true(number_of(order, "created_unix_ms") > 0);
    assert_int_equal(number_of(order, "decided_unix_ms"), 0);
    const json_t *line = json_array_get(json_object_get(order, "items"), 0);
    assert_int_equal(number_of(line, "product_id"), 7);
    assert_int_equal(number_of(line, "quantity"), 2);
    assert_string_equal(client_header(&reply, "Location"), "/orders/1");
    assert_string_equal(client_header(&reply, "Content-Type"), "application/json");
    json_t *again = ask(orderd, "GET /orders/1", "", NULL, &status, NULL);
    assert_int_equal(status, 200);
    assert_true(json_equal(order, again));
    json_decref(again);
    json_decref(order);
    assert_int_equal(place(orderd), 2);
    orderd_stop(orderd);
}

/* Expects an error, "400 INVALID_ARGUMENT", that names a field (NULL: none). */
static void expect_error(struct orderd *orderd, const char *line, const char *headers,
                         const char *sent, const char *wanted, const char *field)
{
    unsigned status = 0;
    json_t *root = ask(orderd, line, headers, sent, &status, NULL);
    const json_t *error = json_object_get(root, "error");
    char said[128];
    (void)snprintf(said, sizeof said, "%u %s", status, text_of(error, "code"));
    assert_string_equal(said, wanted);
    assert_true(strlen(text_of(error, "message")) > 0);
    if (field != NULL) {
        assert_string_equal(text_of(error, "field"), field);
    } else {
        assert_null(json_object_get(error, "field"));
    }
    json_decref(root);
}

static void test_post_when_wrong_then_400_with_field_and_nothing_saved(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    static const char invalid[] = "400 INVALID_ARGUMENT";
    expect_error(orderd, "POST /orders", "", "{}", invalid, "customer_id");
    expect_error(orderd, "POST /orders", "", "{\"customer_id\":1,\"items\":[]}", invalid, "items");
    expect_error(orderd, "POST /orders", "",
                 "{\"customer_id\":1,\"items\":[{\"product_id\":1,\"quantity\":0}]}", invalid,
                 "items[0].quantity");
    expect_error(orderd, "POST /orders", "", "nonsense", invalid, "body");
    expect_error(orderd, "POST /orders", "", "", invalid, "body");
    expect_error(orderd, "POST /orders", "", "null", invalid, "body");
    expect_error(orderd, "POST /orders", "", "{\"customer_id\":1,\"customer_id\":1}", invalid,
                 "customer_id");
    expect_error(orderd, "POST /orders?wiat=5s", "", body, invalid, "wiat");
    expect_error(orderd, "POST /orders?wait=1s&wait=2s", "", body, invalid, "wait");
    expect_error(orderd, "GET /orders/1?limit=1", "", NULL, invalid, "limit");
    expect_error(orderd, "GET /orders?customer_id=1&wait=1s", "", NULL, invalid, "wait");
    expect_error(orderd, "GET /orders/1%00", "", NULL, "400 BAD_REQUEST", NULL);
    expect_error(orderd, "POST /orders?wait=soon", "", body, invalid, "wait");
    expect_error(orderd, "POST /orders?wait=61s", "", body, invalid, "wait");
    expect_error(orderd, "POST /orders", "Idempotency-Key: a b\r\n", body, invalid,
                 "Idempotency-Key");
    expect_error(orderd, "GET /orders", "", NULL, invalid, "customer_id");
    expect_error(orderd, "GET /orders?customer_id=x", "", NULL, invalid, "customer_id");
    expect_error(orderd, "GET /orders?customer_id=1&limit=1001", "", NULL, invalid, "limit");
    expect_error(orderd, "GET /orders/0", "", NULL, invalid, "order_id");
    expect_error(orderd, "GET /orders/17x", "", NULL, invalid, "order_id");
    expect_error(orderd, "GET /orders/1", "", NULL, "404 NOT_FOUND", "order_id");
    expect_error(orderd, "GET /orders/1?wait=5s", "", NULL, "404 NOT_FOUND", "order_id");
    unsigned status = 0;
    static struct reply reply;
    json_decref(ask(orderd, "DELETE /orders/1", "", NULL, &status, &reply));
    assert_int_equal(status, 405);
    assert_string_equal(client_header(&reply, "Allow"), "GET, HEAD");
    json_decref(ask(orderd, "PUT /orders", "", NULL, &status, &reply));
    assert_int_equal(status, 405);
    assert_string_equal(client_header(&reply, "Allow"), "POST, GET, HEAD");
    json_decref(ask(orderd, "GET /order", "", NULL, &status, NULL));
    assert_int_equal(status, 404);
    assert_int_equal(place(orderd), 1);
}

static void test_post_when_key_is_used_again_then_the_first_order_or_422(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    unsigned status = 0;
    static const char key[] = "Idempotency-Key: K-1\r\n";
    json_t *first = ask(orderd, "POST /orders", key, body, &status, NULL);
    assert_int_equal(status, 201);
    json_t *second = ask(
        orderd, "POST /orders", key,
        " {\"items\": [{\"quantity\": 2, \"product_id\": 7}], \"customer_id\": 42}", &status, NULL);
    assert_int_equal(status, 200);
    assert_true(json_equal(first, second));
    json_decref(second);
    json_decref(first);
    expect_error(orderd, "POST /orders", key, other_body, "422 IDEMPOTENCY_KEY_REUSED",
                 "Idempotency-Key");
    json_t *third =
        ask(orderd, "POST /orders", "Idempotency-Key: K-2\r\n", other_body, &status, NULL);
    assert_int_equal(status, 201);
    assert_int_equal(number_of(third, "order_id"), 2);
    json_decref(third);
    /* Decided, the order is shown as it is now; the key outlives a restart. */
    assert_int_equal(approve(orderd, 1, new_saga(orderd)), SAGA_CODE_OK);
    orderd_kill(orderd);
    orderd_start(orderd);
    json_t *fourth = ask(orderd, "POST /orders?wait=10s", key, body, &status, NULL);
    assert_int_equal(status, 200);
    assert_string_equal(text_of(fourth, "state"), "APPROVED");
    json_decref(fourth);
}

static void test_post_when_same_key_at_once_then_one_order(void **state)
{
    enum { CLIENTS = 16 };
    struct orderd *orderd = *state;
    orderd_start(orderd);
    int fds[CLIENTS];
    char request[512];
    (void)snprintf(
        request, sizeof request,
        "POST /orders HTTP/1.1\r\nHost: a\r\nIdempotency-Key: one\r\nContent-Length: %zu\r\n\r\n%s",
        sizeof body - 1, body);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(orderd->port);
        assert_true(client_send_text(fds[i], request));
    }
    int created = 0;
    for (int i = 0; i < CLIENTS; i++) {
        unsigned status = 0;
        json_t *order = finish_ask(fds[i], &status);
        assert_true(status == 200 || status == 201);
        created += status == 201;
        assert_int_equal(number_of(order, "order_id"), 1);
        json_decref(order);
    }
    assert_int_equal(created, 1);
}

/* ---- Waiting ---- */

static void test_wait_when_decided_then_answered_at_once(void **state)
{
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_ACCEPT);
    orderd_start(orderd);
    int approved = begin_ask(orderd, "POST /orders?wait=30s", body);
    fake_wait_started(orderd, 1);
    int looking = begin_ask(orderd, "GET /orders/1?wait=30s", NULL);
    int rejected = begin_ask(orderd, "POST /orders?wait=30000ms", body);
    fake_wait_started(orderd, 2);
    assert_false(client_readable(approved, 0));
    int64_t before = saga_test_now_ms();
    struct fake_start start = fake_find(orderd, 1);
    assert_int_equal(approve(orderd, 1, start.saga_id), SAGA_CODE_OK);
    assert_int_equal(reject(orderd, 2, fake_find(orderd, 2).saga_id, "payment",
                            SAGA_CODE_FAILED_PRECONDITION, "PAYMENT_DECLINED"),
                     SAGA_CODE_OK);
    unsigned status = 0;
    json_t *order = finish_ask(approved, &status);
    assert_int_equal(status, 201);
    assert_string_equal(text_of(order, "state"), "APPROVED");
    char saga[SAGA_ID_TEXT_SIZE];
    saga_id_format(start.saga_id, saga);
    assert_string_equal(text_of(order, "saga_id"), saga);
    assert_true(number_of(order, "decided_unix_ms") >= number_of(order, "created_unix_ms"));
    json_decref(order);
    order = finish_ask(looking, &status);
    assert_int_equal(status, 200);
    assert_string_equal(text_of(order, "state"), "APPROVED");
    json_decref(order);
    order = finish_ask(rejected, &status);
    assert_int_equal(status, 201);
    assert_string_equal(text_of(order, "state"), "REJECTED");
    assert_string_equal(text_of(order, "reason"), "PAYMENT_DECLINED");
    json_decref(order);
    assert_true(saga_test_now_ms() - before < 10000);
    /* Decided orders are waited for by nobody. */
    order = ask(orderd, "GET /orders/1?wait=60s", "", NULL, &status, NULL);
    assert_string_equal(text_of(order, "state"), "APPROVED");
    json_decref(order);
}

static void test_wait_when_time_is_over_then_answered_as_it_is(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    unsigned status = 0;
    int64_t before = saga_test_now_ms();
    json_t *order = ask(orderd, "POST /orders?wait=150ms", "", body, &status, NULL);
    assert_int_equal(status, 201);
    assert_string_equal(text_of(order, "state"), "PENDING");
    json_decref(order);
    assert_true(saga_test_now_ms() - before >= 150);
    before = saga_test_now_ms();
    order = ask(orderd, "GET /orders/1?wait=150", "", NULL, &status, NULL);
    assert_int_equal(status, 200);
    assert_string_equal(text_of(order, "state"), "PENDING");
    json_decref(order);
    assert_true(saga_test_now_ms() - before >= 150);
}

static void test_wait_when_client_leaves_then_nothing_breaks(void **state)
{
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_ACCEPT);
    orderd_start(orderd);
    for (int i = 0; i < 20; i++) {
        (void)close(begin_ask(orderd, "POST /orders?wait=30s", body));
    }
    fake_wait_started(orderd, 20);
    for (int i = 1; i <= 20; i++) {
        assert_int_equal(approve(orderd, i, fake_find(orderd, i).saga_id), SAGA_CODE_OK);
    }
    expect_order(orderd, 20, "APPROVED", "");
    orderd_stop(orderd);
}

static void test_stop_when_some_wait_then_they_are_answered_and_it_ends_cleanly(void **state)
{
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_ACCEPT);
    orderd_start(orderd);
    int waiting = begin_ask(orderd, "POST /orders?wait=60s", body);
    fake_wait_started(orderd, 1);
    orderd_stop(orderd);
    unsigned status = 0;
    json_t *order = finish_ask(waiting, &status);
    assert_int_equal(status, 201);
    assert_string_equal(text_of(order, "state"), "PENDING");
    json_decref(order);
}

/* ---- Deciding ---- */

static void test_decide_when_repeated_or_late_then_once(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    int64_t order_id = place(orderd);
    struct saga_id saga = new_saga(orderd);
    assert_int_equal(approve(orderd, order_id, saga), SAGA_CODE_OK);
    assert_int_equal(approve(orderd, order_id, saga),
                     SAGA_CODE_OK); /* B1: as it was answered before */
    assert_int_equal(approve(orderd, order_id, new_saga(orderd)), SAGA_CODE_FAILED_PRECONDITION);
    expect_order(orderd, order_id, "APPROVED", "");
    assert_int_equal(approve(orderd, 999, new_saga(orderd)), SAGA_CODE_NOT_FOUND);
    assert_int_equal(approve(orderd, -1, new_saga(orderd)), SAGA_CODE_NOT_FOUND);
}

/* Approves for a saga, as its step "confirm"; the answer has the reason. */
static void approve_for(struct orderd *orderd, int64_t order_id, struct saga_id saga,
                        struct order_answer *answer)
{
    Order__V1__ApproveOrderRequest request = ORDER__V1__APPROVE_ORDER_REQUEST__INIT;
    request.order_id = order_id;
    const struct order_command wanted = {.method = "ApproveOrder",
                                         .op = SAGA_OP_CALL,
                                         .saga_id = saga,
                                         .step = "confirm",
                                         .message = &request.base};
    command(orderd, &wanted, answer);
}

/* Expects an order to be shown with a saga. */
static void expect_saga(struct orderd *orderd, int64_t order_id, struct saga_id saga)
{
    char line[64];
    char wanted[SAGA_ID_TEXT_SIZE];
    saga_id_format(saga, wanted);
    (void)snprintf(line, sizeof line, "GET /orders/%" PRId64, order_id);
    json_t *order = ask(orderd, line, "", NULL, NULL, NULL);
    assert_string_equal(text_of(order, "saga_id"), wanted);
    json_decref(order);
}

static void test_decide_when_saga_is_not_the_orders_then_order_is_untouched(void **state)
{
    struct orderd *orderd = *state;
    static struct order_answer answer;
    static struct reply metrics;
    fake_up(orderd, FAKE_ACCEPT);
    orderd_start(orderd);
    json_decref(ask(orderd, "POST /orders", "", body, NULL, NULL));
    fake_wait_started(orderd, 1);
    struct saga_id own = fake_find(orderd, 1).saga_id;
    struct saga_id other = new_saga(orderd);
    /* The start is saved by a later commit than the one that the orchestrator answered. */
    char shown[SAGA_ID_TEXT_SIZE] = "";
    int64_t until_ms = saga_test_now_ms() + DEADLINE_MS;
    while (shown[0] == '\0' && saga_test_now_ms() < until_ms) {
        json_t *order = ask(orderd, "GET /orders/1?wait=10ms", "", NULL, NULL, NULL);
        (void)snprintf(shown, sizeof shown, "%s", text_of(order, "saga_id"));
        json_decref(order);
    }
    expect_saga(orderd, 1, own);
    /* Pending: a foreign undo has nothing to undo, and says so as often as it is asked. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reject(orderd, 1, other, "payment", SAGA_CODE_CANCELLED, "X"),
                         SAGA_CODE_OK);
    }
    approve_for(orderd, 1, new_saga(orderd), &answer);
    assert_int_equal(answer.code, SAGA_CODE_FAILED_PRECONDITION);
    assert_string_equal(answer.reason, "ORDER_OF_OTHER_SAGA");
    expect_order(orderd, 1, "PENDING", "");
    expect_saga(orderd, 1, own);
    /* Decided by its own saga: still nobody else's. */
    assert_int_equal(approve(orderd, 1, own), SAGA_CODE_OK);
    assert_int_equal(reject(orderd, 1, new_saga(orderd), "payment", SAGA_CODE_CANCELLED, "X"),
                     SAGA_CODE_OK);
    approve_for(orderd, 1, new_saga(orderd), &answer);
    assert_string_equal(answer.reason, "ORDER_OF_OTHER_SAGA");
    expect_order(orderd, 1, "APPROVED", "");
    expect_saga(orderd, 1, own);
    /* Its own undo is too late. */
    assert_int_equal(reject(orderd, 1, own, "payment", SAGA_CODE_CANCELLED, "X"),
                     SAGA_CODE_FAILED_PRECONDITION);
    /* An order that never was: nothing to undo either. */
    assert_int_equal(reject(orderd, 999, new_saga(orderd), "payment", SAGA_CODE_CANCELLED, "X"),
                     SAGA_CODE_OK);
    (void)ask(orderd, "GET /metrics", "", NULL, NULL, &metrics);
    assert_non_null(strstr(metrics.body, "saga_orders_decided_total{state=\"rejected\"} 0\n"));
    assert_non_null(strstr(metrics.body, "saga_orders_pending 0\n"));
}

static void test_decide_when_start_is_not_saved_then_order_is_bound(void **state)
{
    struct orderd *orderd = *state;
    static struct order_answer answer;
    orderd_start(orderd); /* without an orchestrator: no start is ever saved */
    int64_t order_id = place(orderd);
    struct saga_id first = new_saga(orderd);
    assert_int_equal(reject(orderd, order_id, first, "payment", SAGA_CODE_CANCELLED, "X"),
                     SAGA_CODE_OK);
    expect_order(orderd, order_id, "REJECTED", "X");
    expect_saga(orderd, order_id, first);
    approve_for(orderd, order_id, new_saga(orderd), &answer);
    assert_string_equal(answer.reason, "ORDER_OF_OTHER_SAGA");
    approve_for(orderd, order_id, first, &answer);
    assert_string_equal(answer.reason, "ORDER_NOT_PENDING");
    assert_int_equal(reject(orderd, order_id, new_saga(orderd), "", SAGA_CODE_CANCELLED, "Y"),
                     SAGA_CODE_OK);
    expect_order(orderd, order_id, "REJECTED", "X");
    expect_saga(orderd, order_id, first);
    /* The orchestrator comes back late with another saga: the first stays. */
    fake_up(orderd, FAKE_ACCEPT);
    fake_wait_started(orderd, 1);
    (void)place(orderd);
    fake_wait_started(orderd, 2);
    expect_saga(orderd, order_id, first);
}

static void test_reject_when_start_was_refused_then_nothing_to_undo(void **state)
{
    struct orderd *orderd = *state;
    fake_up(orderd, FAKE_CODE);
    fake_set(orderd, FAKE_CODE, SAGA_CODE_INVALID_ARGUMENT);
    orderd_start(orderd);
    int64_t order_id = place(orderd);
    wait_order(orderd, order_id, "REJECTED", "START_REFUSED");
    assert_int_equal(reject(orderd, order_id, new_saga(orderd), "", SAGA_CODE_CANCELLED, "Y"),
                     SAGA_CODE_OK);
    expect_order(orderd, order_id, "REJECTED", "START_REFUSED");
}

static void test_reject_when_undone_twice_then_rejected_once(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    int64_t order_id = place(orderd);
    struct saga_id saga = new_saga(orderd);
    /* No call came before this undo, and yet it is not empty: whoever starts the saga has done the
     * step. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reject(orderd, order_id, saga, "customer", SAGA_CODE_FAILED_PRECONDITION,
                                "CUSTOMER_ABNORMAL"),
                         SAGA_CODE_OK);
    }
    expect_order(orderd, order_id, "REJECTED", "CUSTOMER_ABNORMAL");
}

static void test_reject_when_cause_has_no_reason_then_the_best_there_is(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    static const struct {
        const char *step;
        enum saga_code code;
        const char *reason, *wanted;
    } cases[] = {
        {"stock", SAGA_CODE_FAILED_PRECONDITION, "OUT_OF_STOCK", "OUT_OF_STOCK"},
        {"payment", SAGA_CODE_DEADLINE_EXCEEDED, "", "PAYMENT_DEADLINE_EXCEEDED"},
        {"", SAGA_CODE_DEADLINE_EXCEEDED, "", "SAGA_DEADLINE"},
        {"", SAGA_CODE_DEADLINE_EXCEEDED, "SAGA_DEADLINE", "SAGA_DEADLINE"},
        {"", SAGA_CODE_CANCELLED, "", "CANCELLED"},
        {"", SAGA_CODE_CANCELLED, "OPERATOR_SAID_SO", "OPERATOR_SAID_SO"},
        {"", SAGA_CODE_OK, "", "UNSPECIFIED"},
        {"tick-et", SAGA_CODE_UNKNOWN, "", "TICK_ET_UNKNOWN"},
        {"x", SAGA_CODE_UNKNOWN, "a \"quoted\" one", "A__QUOTED__ONE"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t order_id = place(orderd);
        assert_int_equal(reject(orderd, order_id, new_saga(orderd), cases[i].step, cases[i].code,
                                cases[i].reason),
                         SAGA_CODE_OK);
        expect_order(orderd, order_id, "REJECTED", cases[i].wanted);
    }
}

/* ---- By NNG, and lists ---- */

static const Order__V1__PlaceOrderResponse *place_by_command(struct orderd *orderd, const char *key,
                                                             int32_t quantity,
                                                             struct order_answer *answer,
                                                             struct saga_arena *arena)
{
    Order__V1__OrderItem item = ORDER__V1__ORDER_ITEM__INIT;
    Order__V1__OrderItem *items[] = {&item};
    item.product_id = 7;
    item.quantity = quantity;
    Order__V1__PlaceOrderRequest request = ORDER__V1__PLACE_ORDER_REQUEST__INIT;
    request.customer_id = 42;
    request.n_items = 1;
    request.items = items;
    char copy[256];
    (void)snprintf(copy, sizeof copy, "%s", key);
    request.idempotency_key = copy;
    const struct order_command wanted = {
        .method = "PlaceOrder", .op = SAGA_OP_NONE, .step = "", .message = &request.base};
    command(orderd, &wanted, answer);
    if (answer->code != SAGA_CODE_OK) {
        return NULL;
    }
    struct saga_bytes payload = {.data = answer->payload, .size = answer->payload_size};
    const ProtobufCMessage *message =
        saga_message_decode(&order__v1__place_order_response__descriptor, payload, arena);
    assert_non_null(message);
    return (const Order__V1__PlaceOrderResponse *)(const void *)message;
}

static void test_place_by_command_when_sound_then_as_by_http(void **state)
{
    struct orderd *orderd = *state;
    static struct order_answer answer;
    struct saga_arena arena = {0};
    fake_up(orderd, FAKE_ACCEPT);
    orderd_start(orderd);
    const Order__V1__PlaceOrderResponse *placed = place_by_command(orderd, "K", 2, &answer, &arena);
    assert_non_null(placed);
    assert_false(placed->existing);
    assert_int_equal(placed->order->order_id, 1);
    assert_int_equal(placed->order->state, ORDER__V1__ORDER_STATE__ORDER_STATE_PENDING);
    assert_int_equal(placed->order->n_items, 1);
    assert_int_equal(placed->order->items[0]->quantity, 2);
    placed = place_by_command(orderd, "K", 2, &answer, &arena);
    assert_true(placed->existing);
    assert_int_equal(placed->order->order_id, 1);
    assert_null(place_by_command(orderd, "K", 3, &answer, &arena));
    assert_int_equal(answer.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(answer.reason, "IDEMPOTENCY_KEY_REUSED");
    assert_null(place_by_command(orderd, "", 0, &answer, &arena));
    assert_int_equal(answer.code, SAGA_CODE_INVALID_ARGUMENT);
    char key[200];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    assert_null(place_by_command(orderd, key, 1, &answer, &arena));
    assert_int_equal(answer.code, SAGA_CODE_INVALID_ARGUMENT);
    /* The key is one, whichever the door. */
    expect_error(orderd, "POST /orders", "Idempotency-Key: K\r\n", other_body,
                 "422 IDEMPOTENCY_KEY_REUSED", "Idempotency-Key");
    fake_wait_started(orderd, 1);
    wait_order(orderd, 1, "PENDING", "");
    saga_arena_fini(&arena);
}

static void test_list_when_many_then_newest_first_and_bounded(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    for (int i = 0; i < 5; i++) {
        (void)place(orderd);
    }
    unsigned status = 0;
    json_t *root = ask(orderd, "GET /orders?customer_id=42&limit=3", "", NULL, &status, NULL);
    assert_int_equal(status, 200);
    const json_t *orders = json_object_get(root, "orders");
    assert_int_equal(json_array_size(orders), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(number_of(json_array_get(orders, i), "order_id"), 5 - (int64_t)i);
    }
    json_decref(root);
    root = ask(orderd, "GET /orders?customer_id=43", "", NULL, &status, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "orders")), 0);
    json_decref(root);

    static struct order_answer answer;
    Order__V1__ListOrdersRequest request = ORDER__V1__LIST_ORDERS_REQUEST__INIT;
    request.customer_id = 42;
    const struct order_command wanted = {
        .method = "ListOrders", .op = SAGA_OP_NONE, .step = "", .message = &request.base};
    command(orderd, &wanted, &answer);
    assert_int_equal(answer.code, SAGA_CODE_OK);
    struct saga_arena arena = {0};
    struct saga_bytes payload = {.data = answer.payload, .size = answer.payload_size};
    const Order__V1__ListOrdersResponse *list =
        (const Order__V1__ListOrdersResponse *)(const void *)saga_message_decode(
            &order__v1__list_orders_response__descriptor, payload, &arena);
    assert_non_null(list);
    assert_int_equal(list->n_orders, 5);
    assert_int_equal(list->orders[0]->order_id, 5);
    saga_arena_fini(&arena);

    Order__V1__GetOrderRequest one = ORDER__V1__GET_ORDER_REQUEST__INIT;
    one.order_id = 6;
    const struct order_command get = {
        .method = "GetOrder", .op = SAGA_OP_NONE, .step = "", .message = &one.base};
    command(orderd, &get, &answer);
    assert_int_equal(answer.code, SAGA_CODE_NOT_FOUND);
    one.order_id = 5;
    command(orderd, &get, &answer);
    assert_int_equal(answer.code, SAGA_CODE_OK);
}

/* ---- For operators ---- */

static const char *health_of(const json_t *root, const char *name)
{
    const json_t *parts = json_object_get(root, "parts");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        if (strcmp(text_of(part, "name"), name) == 0) {
            return text_of(part, "state");
        }
    }
    return "";
}

static bool orchestrator_serves(void *argument)
{
    unsigned status = 0;
    json_t *root = ask(argument, "GET /healthz", "", NULL, &status, NULL);
    assert_int_equal(status, 200);
    bool serves = strcmp(health_of(root, "orchestrator"), "SERVING") == 0;
    json_decref(root);
    return serves;
}

static void test_health_when_orchestrator_comes_then_no_longer_degraded(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    unsigned status = 0;
    json_t *root = ask(orderd, "GET /healthz", "", NULL, &status, NULL);
    assert_int_equal(status, 200);
    assert_string_equal(text_of(root, "state"), "DEGRADED");
    assert_string_equal(health_of(root, "orchestrator"), "DEGRADED");
    assert_string_equal(health_of(root, "store"), "SERVING");
    json_decref(root);
    fake_up(orderd, FAKE_ACCEPT);
    assert_true(saga_test_until(orchestrator_serves, orderd, DEADLINE_MS));
    json_decref(ask(orderd, "GET /livez", "", NULL, &status, NULL));
    assert_int_equal(status, 200);
    json_decref(ask(orderd, "GET /readyz", "", NULL, &status, NULL));
    assert_int_equal(status, 200);
}

/* Whether /metrics tells what the test has done. Counts follow the answers of commands, they do not
 * precede them. */
static bool metrics_tell(void *argument)
{
    static struct reply reply;
    static const char *const wanted[] = {
        "saga_orders_placed_total{result=\"placed\"} 3\n",
        "saga_orders_placed_total{result=\"invalid\"} 1\n",
        "saga_orders_decided_total{state=\"approved\"} 1\n",
        "saga_orders_decided_total{state=\"rejected\"} 1\n",
        "saga_orders_pending 1\n",
        "saga_http_requests_total{route=\"place\",code=\"2xx\"} 3\n",
        "saga_http_requests_total{route=\"place\",code=\"4xx\"} 1\n",
        "saga_http_request_seconds_count{route=\"place\"} 4\n",
    };
    assert_null(ask(argument, "GET /metrics", "", NULL, NULL, &reply));
    assert_int_equal(reply.status, 200);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (strstr(reply.body, wanted[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static void test_metrics_when_asked_then_what_was_done(void **state)
{
    struct orderd *orderd = *state;
    static struct reply reply;
    orderd_start(orderd);
    for (int i = 0; i < 3; i++) {
        (void)place(orderd);
    }
    assert_int_equal(approve(orderd, 1, new_saga(orderd)), SAGA_CODE_OK);
    assert_int_equal(reject(orderd, 2, new_saga(orderd), "", SAGA_CODE_CANCELLED, ""),
                     SAGA_CODE_OK);
    expect_error(orderd, "POST /orders", "", "{}", "400 INVALID_ARGUMENT", "customer_id");
    if (!saga_test_until(metrics_tell, orderd, DEADLINE_MS)) {
        (void)ask(orderd, "GET /metrics", "", NULL, NULL, &reply);
        fail_msg("not what was done:\n%s", reply.body);
    }
    /* What is pending is counted again after a restart. */
    orderd_kill(orderd);
    orderd_start(orderd);
    assert_null(ask(orderd, "GET /metrics", "", NULL, NULL, &reply));
    assert_non_null(strstr(reply.body, "saga_orders_pending 1\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, orderd_setup, orderd_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_post_when_sound_then_201_location_and_the_whole_order),
        TEST(test_post_when_wrong_then_400_with_field_and_nothing_saved),
        TEST(test_post_when_key_is_used_again_then_the_first_order_or_422),
        TEST(test_post_when_same_key_at_once_then_one_order),
        TEST(test_wait_when_decided_then_answered_at_once),
        TEST(test_wait_when_time_is_over_then_answered_as_it_is),
        TEST(test_wait_when_client_leaves_then_nothing_breaks),
        TEST(test_stop_when_some_wait_then_they_are_answered_and_it_ends_cleanly),
        TEST(test_decide_when_repeated_or_late_then_once),
        TEST(test_decide_when_saga_is_not_the_orders_then_order_is_untouched),
        TEST(test_decide_when_start_is_not_saved_then_order_is_bound),
        TEST(test_reject_when_start_was_refused_then_nothing_to_undo),
        TEST(test_reject_when_undone_twice_then_rejected_once),
        TEST(test_reject_when_cause_has_no_reason_then_the_best_there_is),
        TEST(test_place_by_command_when_sound_then_as_by_http),
        TEST(test_list_when_many_then_newest_first_and_bounded),
        TEST(test_health_when_orchestrator_comes_then_no_longer_degraded),
        TEST(test_metrics_when_asked_then_what_was_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
