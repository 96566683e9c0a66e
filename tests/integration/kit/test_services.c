/* The business rules of customerd, productd, kitchend and paymentd, through their sockets, and what
 * their databases hold afterwards. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "customer/v1/customer.pb-c.h"
#include "kitchen/v1/kitchen.pb-c.h"
#include "payment/v1/payment.pb-c.h"
#include "product/v1/product.pb-c.h"
#include "tests/integration/kit/daemon.h"

#define SEED                                                                                       \
    "{\"customers\":[{\"customer_id\":1,\"name\":\"a\",\"state\":\"NORMAL\"},{\"customer_id\":2,"  \
    "\"name\":\"b\",\"state\":\"ABNORMAL\"}],"                                                     \
    "\"products\":[{\"product_id\":1,\"name\":\"soup\",\"price_cents\":250,\"stock\":10},"         \
    "{\"product_id\":2,\"name\":\"tea\",\"price_cents\":1000000000000,\"stock\":100000000}],"      \
    "\"kitchen\":[{\"capacity\":2}],\"refused_products\":[{\"product_id\":50}],"                   \
    "\"accounts\":[{\"customer_id\":1,\"balance_cents\":1000}]}"

static struct daemon daemon_here;

static struct daemon *start(const char *name)
{
    daemon_prepare(&daemon_here, name, SEED);
    daemon_start(&daemon_here, NULL);
    return &daemon_here;
}

static void stop(struct daemon *daemon)
{
    assert_int_equal(daemon_end(daemon, SIGTERM), 0);
    daemon_remove(daemon);
    pool_clear();
}

static struct saga_reply ask(struct daemon *daemon, enum saga_op op, uint64_t saga,
                             const char *method, const struct ProtobufCMessage *in)
{
    struct saga_command command = command_of(op, saga, "step", method, payload_of(in));
    return daemon_call(daemon, &command);
}

static void assert_refused(const struct saga_reply *reply, uint32_t code, const char *reason)
{
    assert_string_equal(reply->status.reason, reason);
    assert_int_equal(reply->status.code, code);
}

/* ---- customer ---- */

static struct saga_reply validate(struct daemon *daemon, uint64_t saga, int64_t customer_id)
{
    Customer__V1__ValidateCustomerRequest in = CUSTOMER__V1__VALIDATE_CUSTOMER_REQUEST__INIT;
    in.customer_id = customer_id;
    return ask(daemon, SAGA_OP_CALL, saga, "customer.v1.CustomerService/ValidateCustomer",
               &in.base);
}

static void test_customer_when_validated_then_normal_abnormal_or_unknown(void **state)
{
    (void)state;
    struct daemon *daemon = start("customerd");
    assert_int_equal(validate(daemon, 1, 1).status.code, SAGA_CODE_OK);
    assert_false(validate(daemon, 1, 1).replayed); /* no side effects: no barrier */
    struct saga_reply reply = validate(daemon, 2, 2);
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "CUSTOMER_ABNORMAL");
    reply = validate(daemon, 3, 3);
    assert_refused(&reply, SAGA_CODE_NOT_FOUND, "CUSTOMER_UNKNOWN");
    assert_int_equal(daemon_number(daemon, "SELECT count(*) FROM barrier"), 0);
    stop(daemon);
}

/* ---- product ---- */

static struct saga_reply reserve_lines(struct daemon *daemon, uint64_t saga, int64_t order_id,
                                       const int64_t (*lines)[2], size_t count)
{
    static Order__V1__OrderItem items[128];
    static Order__V1__OrderItem *pointers[128];
    for (size_t i = 0; i < count; i++) {
        order__v1__order_item__init(&items[i]);
        items[i].product_id = lines[i][0];
        items[i].quantity = (int32_t)lines[i][1];
        pointers[i] = &items[i];
    }
    Product__V1__ReserveStockRequest in = PRODUCT__V1__RESERVE_STOCK_REQUEST__INIT;
    in.order_id = order_id;
    in.n_items = count;
    in.items = pointers;
    return ask(daemon, SAGA_OP_CALL, saga, RESERVE, &in.base);
}

static int64_t total_of(const struct saga_reply *reply)
{
    assert_int_equal(reply->status.code, SAGA_CODE_OK);
    Product__V1__ReserveStockResponse *out =
        product__v1__reserve_stock_response__unpack(NULL, reply->payload.size, reply->payload.data);
    assert_non_null(out);
    int64_t total = out->total_cents;
    product__v1__reserve_stock_response__free_unpacked(out, NULL);
    return total;
}

static struct saga_reply release(struct daemon *daemon, uint64_t saga, int64_t order_id)
{
    Product__V1__ReleaseStockRequest in = PRODUCT__V1__RELEASE_STOCK_REQUEST__INIT;
    in.order_id = order_id;
    return ask(daemon, SAGA_OP_UNDO, saga, RELEASE, &in.base);
}

#define STOCK "SELECT stock FROM product WHERE product_id = 1"

static void test_product_when_reserved_then_all_or_nothing_and_lines_add_up(void **state)
{
    (void)state;
    struct daemon *daemon = start("productd");
    struct saga_reply reply = reserve_lines(daemon, 1, 1, (const int64_t[][2]){{1, 2}, {1, 3}}, 2);
    assert_int_equal(total_of(&reply), 5 * 250);
    assert_int_equal(daemon_number(daemon, STOCK), 5);
    reply = reserve_lines(daemon, 2, 2, (const int64_t[][2]){{1, 3}, {1, 3}},
                          2); /* together too many */
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "OUT_OF_STOCK");
    reply = reserve_lines(daemon, 3, 3, (const int64_t[][2]){{1, 3}, {77, 1}}, 2);
    assert_refused(&reply, SAGA_CODE_NOT_FOUND, "PRODUCT_UNKNOWN");
    assert_int_equal(daemon_number(daemon, STOCK), 5);
    assert_int_equal(daemon_number(daemon, "SELECT count(*) FROM reservation"), 1);
    reply = reserve_lines(daemon, 4, 1, (const int64_t[][2]){{1, 1}},
                          1); /* the order of another saga */
    assert_refused(&reply, SAGA_CODE_ALREADY_EXISTS, "ORDER_EXISTS");
    assert_true(release(daemon, 4, 1).empty); /* whose undo must not touch it */
    assert_int_equal(daemon_number(daemon, STOCK), 5);
    reply = release(daemon, 1, 1);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_false(reply.empty);
    assert_int_equal(daemon_number(daemon, STOCK), 10);
    assert_int_equal(daemon_number(daemon, "SELECT released FROM reservation"), 1);
    assert_true(release(daemon, 1, 1).replayed);
    assert_int_equal(daemon_number(daemon, STOCK), 10);
    stop(daemon);
}

static void test_product_when_lines_or_quantities_are_out_of_bounds_then_invalid(void **state)
{
    (void)state;
    static int64_t lines[101][2];
    struct daemon *daemon = start("productd");
    for (size_t i = 0; i < 101; i++) {
        lines[i][0] = 2;
        lines[i][1] = 10000;
    }
    struct saga_reply reply = reserve_lines(daemon, 1, 1, (const int64_t(*)[2])lines, 101);
    assert_refused(&reply, SAGA_CODE_INVALID_ARGUMENT, "LINES_INVALID");
    reply = reserve_lines(daemon, 2, 1, (const int64_t(*)[2])lines, 0);
    assert_refused(&reply, SAGA_CODE_INVALID_ARGUMENT, "LINES_INVALID");
    reply = reserve_lines(daemon, 3, 1, (const int64_t[][2]){{1, 0}}, 1);
    assert_refused(&reply, SAGA_CODE_INVALID_ARGUMENT, "QUANTITY_INVALID");
    reply = reserve_lines(daemon, 4, 1, (const int64_t[][2]){{1, -1}}, 1);
    assert_refused(&reply, SAGA_CODE_INVALID_ARGUMENT, "QUANTITY_INVALID");
    reply = reserve_lines(daemon, 5, 1, (const int64_t[][2]){{1, 10001}}, 1);
    assert_refused(&reply, SAGA_CODE_INVALID_ARGUMENT, "QUANTITY_INVALID");
    reply = reserve_lines(daemon, 6, 1, (const int64_t(*)[2])lines,
                          100); /* the dearest order there is */
    assert_true(total_of(&reply) == INT64_C(1000000) * INT64_C(1000000000000));
    stop(daemon);
}

/* ---- kitchen ---- */

static struct saga_reply create(struct daemon *daemon, uint64_t saga, int64_t order_id,
                                int64_t product_id)
{
    Order__V1__OrderItem item = ORDER__V1__ORDER_ITEM__INIT;
    Order__V1__OrderItem *items[] = {&item};
    item.product_id = product_id;
    item.quantity = 1;
    Kitchen__V1__CreateTicketRequest in = KITCHEN__V1__CREATE_TICKET_REQUEST__INIT;
    in.order_id = order_id;
    in.n_items = 1;
    in.items = items;
    return ask(daemon, SAGA_OP_CALL, saga, "kitchen.v1.KitchenService/CreateTicket", &in.base);
}

static struct saga_reply cancel(struct daemon *daemon, uint64_t saga, int64_t order_id)
{
    Kitchen__V1__CancelTicketRequest in = KITCHEN__V1__CANCEL_TICKET_REQUEST__INIT;
    in.order_id = order_id;
    return ask(daemon, SAGA_OP_UNDO, saga, "kitchen.v1.KitchenService/CancelTicket", &in.base);
}

static struct saga_reply approve(struct daemon *daemon, uint64_t saga, const char *ticket_id)
{
    char id[64] = "";
    strncpy(id, ticket_id, sizeof id - 1);
    Kitchen__V1__ApproveTicketRequest in = KITCHEN__V1__APPROVE_TICKET_REQUEST__INIT;
    in.ticket_id = id;
    struct saga_command command =
        command_of(SAGA_OP_CALL, saga, "accept", "kitchen.v1.KitchenService/ApproveTicket",
                   payload_of(&in.base));
    return daemon_call(daemon, &command);
}

static void test_kitchen_when_tickets_come_then_capacity_menu_and_states_hold(void **state)
{
    (void)state;
    struct daemon *daemon = start("kitchend");
    struct saga_reply reply = create(daemon, 1, 1, 7);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    Kitchen__V1__CreateTicketResponse *out =
        kitchen__v1__create_ticket_response__unpack(NULL, reply.payload.size, reply.payload.data);
    assert_non_null(out);
    assert_string_equal(out->ticket_id, "t-1");
    kitchen__v1__create_ticket_response__free_unpacked(out, NULL);
    reply = create(daemon, 2, 1, 7);
    assert_refused(&reply, SAGA_CODE_ALREADY_EXISTS, "ORDER_EXISTS");
    assert_int_equal(create(daemon, 3, 3, 50).status.code, SAGA_CODE_OK);
    reply = create(daemon, 4, 4, 7);
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "KITCHEN_FULL");
    assert_int_equal(approve(daemon, 1, "t-1").status.code, SAGA_CODE_OK);
    reply = approve(daemon, 3, "t-3");
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "TICKET_REFUSED");
    reply = approve(daemon, 5, "t-1");
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "TICKET_NOT_PENDING");
    reply = approve(daemon, 6, "nonsense");
    assert_refused(&reply, SAGA_CODE_NOT_FOUND, "TICKET_UNKNOWN");
    assert_int_equal(create(daemon, 7, 7, 7).status.code,
                     SAGA_CODE_OK); /* an approved one does not wait */
    reply = create(daemon, 8, 8, 7);
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "KITCHEN_FULL");
    assert_int_equal(cancel(daemon, 3, 3).status.code, SAGA_CODE_OK);
    assert_int_equal(create(daemon, 9, 9, 7).status.code,
                     SAGA_CODE_OK); /* nor does a cancelled one */
    reply = cancel(daemon, 1, 1);   /* past the point of no return */
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "TICKET_APPROVED");
    assert_int_equal(
        daemon_number(
            daemon,
            "SELECT group_concat(state, '') FROM (SELECT state FROM ticket ORDER BY order_id)"),
        2311);
    assert_int_equal(daemon_number(daemon, "SELECT count(*) FROM ticket_item"), 4);
    stop(daemon);
}

/* ---- payment ---- */

static struct saga_reply pay(struct daemon *daemon, uint64_t saga, int64_t order_id,
                             int64_t customer_id, int64_t cents)
{
    Payment__V1__AuthorizePaymentRequest in = PAYMENT__V1__AUTHORIZE_PAYMENT_REQUEST__INIT;
    in.order_id = order_id;
    in.customer_id = customer_id;
    in.total_cents = cents;
    return ask(daemon, SAGA_OP_CALL, saga, "payment.v1.PaymentService/AuthorizePayment", &in.base);
}

static struct saga_reply refund(struct daemon *daemon, uint64_t saga, int64_t order_id)
{
    Payment__V1__RefundPaymentRequest in = PAYMENT__V1__REFUND_PAYMENT_REQUEST__INIT;
    in.order_id = order_id;
    return ask(daemon, SAGA_OP_UNDO, saga, "payment.v1.PaymentService/RefundPayment", &in.base);
}

#define MONEY "SELECT balance_cents FROM account"

static void test_payment_when_taken_and_refunded_then_the_money_is_where_it_belongs(void **state)
{
    (void)state;
    struct daemon *daemon = start("paymentd");
    struct saga_reply reply = pay(daemon, 1, 1, 1, 600);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    Payment__V1__AuthorizePaymentResponse *out = payment__v1__authorize_payment_response__unpack(
        NULL, reply.payload.size, reply.payload.data);
    assert_non_null(out);
    assert_string_equal(out->payment_id, "p-1");
    payment__v1__authorize_payment_response__free_unpacked(out, NULL);
    assert_int_equal(daemon_number(daemon, MONEY), 400);
    reply = pay(daemon, 2, 2, 1, 401);
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "PAYMENT_DECLINED");
    reply = pay(daemon, 3, 3, 99, 1);
    assert_refused(&reply, SAGA_CODE_FAILED_PRECONDITION, "PAYMENT_DECLINED");
    reply = pay(daemon, 4, 4, 1, -1);
    assert_refused(&reply, SAGA_CODE_INVALID_ARGUMENT, "AMOUNT_INVALID");
    reply = pay(daemon, 5, 1, 1, 1);
    assert_refused(&reply, SAGA_CODE_ALREADY_EXISTS, "ORDER_EXISTS");
    assert_int_equal(daemon_number(daemon, MONEY), 400);
    assert_int_equal(daemon_number(daemon, "SELECT count(*) FROM payment"), 1);
    assert_int_equal(pay(daemon, 6, 6, 1, 400).status.code, SAGA_CODE_OK); /* to the last cent */
    assert_int_equal(pay(daemon, 7, 7, 1, 0).status.code, SAGA_CODE_OK);
    assert_int_equal(daemon_number(daemon, MONEY), 0);
    assert_true(refund(daemon, 5, 1).empty);
    assert_int_equal(refund(daemon, 1, 1).status.code, SAGA_CODE_OK);
    assert_true(refund(daemon, 1, 1).replayed);
    assert_int_equal(daemon_number(daemon, MONEY), 600);
    assert_int_equal(daemon_number(daemon, "SELECT state FROM payment WHERE order_id = 1"), 2);
    assert_int_equal(daemon_number(daemon, "SELECT sum(amount_cents) FROM payment WHERE state = 1"),
                     400);
    stop(daemon);
}

/* ---- The seed that is shipped ---- */

static void test_seed_file_when_loaded_by_each_daemon_then_its_rows_are_there(void **state)
{
    static const struct {
        const char *name;
        const char *sql;
        int64_t number;
    } cases[] = {
        {"customerd", "SELECT count(*) * 1000 + sum(state = 2) FROM customer", 100001},
        {"productd", "SELECT count(*) * 1000 + sum(stock = 0) FROM product", 50001},
        {"kitchend",
         "SELECT capacity * 1000 + (SELECT product_id FROM refused_product) FROM kitchen",
         10000050},
        {"paymentd", "SELECT count(*) * 1000 + sum(balance_cents < 1000) FROM account", 100001},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daemon_prepare(&daemon_here, cases[i].name, NULL);
        daemon_start(&daemon_here,
                     (const char *const[]){"--seed", SAGA_SOURCE_DIR "/services/seed.json", NULL});
        assert_int_equal(daemon_number(&daemon_here, cases[i].sql), cases[i].number);
        stop(&daemon_here);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_customer_when_validated_then_normal_abnormal_or_unknown),
        cmocka_unit_test(test_product_when_reserved_then_all_or_nothing_and_lines_add_up),
        cmocka_unit_test(test_product_when_lines_or_quantities_are_out_of_bounds_then_invalid),
        cmocka_unit_test(test_kitchen_when_tickets_come_then_capacity_menu_and_states_hold),
        cmocka_unit_test(test_payment_when_taken_and_refunded_then_the_money_is_where_it_belongs),
        cmocka_unit_test(test_seed_file_when_loaded_by_each_daemon_then_its_rows_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
