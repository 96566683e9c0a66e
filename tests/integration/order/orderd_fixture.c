#include "tests/integration/order/orderd_fixture.h"

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
#include "common/sys/clock.h"
#include "common/wire/envelope.h"
#include "order/v1/create_order.pb-c.h"
#include "saga/v1/orchestrator.pb-c.h"

/* ---- The orchestrator ---- */

static struct fake_start *start_find(struct fake *fake, int64_t order_id)
{
    assert_in_range(order_id, 1, STARTS_MAX - 1);
    struct fake_start *start = &fake->starts[order_id];
    return start->times == 0 ? NULL : start;
}

/* Takes one start as an orchestrator would: the key is what makes it the same. Pre: locked. */
static void start_take(struct fake *fake, const struct saga_command *wanted,
                       struct saga_arena *arena, struct saga_reply *reply, struct saga_buf *payload)
{
    const Saga__V1__StartSagaRequest *request =
        (const Saga__V1__StartSagaRequest *)(const void *)saga_message_decode(
            &saga__v1__start_saga_request__descriptor, wanted->payload, arena);
    assert_non_null(request);
    assert_string_equal(wanted->method, "saga.v1.OrchestratorService/StartSaga");
    assert_int_equal(wanted->op, SAGA_OP_NONE);
    struct saga_bytes input = {.data = request->input.data, .size = request->input.len};
    const Order__V1__CreateOrder *order =
        (const Order__V1__CreateOrder *)(const void *)saga_message_decode(
            &order__v1__create_order__descriptor, input, arena);
    assert_non_null(order);
    char key[32];
    (void)snprintf(key, sizeof key, "%" PRId64, order->order_id);
    assert_string_equal(request->key, key);
    (void)snprintf(fake->definition, sizeof fake->definition, "%s", request->definition);
    Saga__V1__StartSagaResponse response = SAGA__V1__START_SAGA_RESPONSE__INIT;
    struct fake_start *start = start_find(fake, order->order_id);
    if (start == NULL) {
        fake->start_count++;
        start = &fake->starts[order->order_id];
        *start = (struct fake_start){.order_id = order->order_id,
                                     .customer_id = order->customer_id,
                                     .line_count = order->n_items};
        start->saga_id = saga_id_make(saga_clock_unix_ms(), (uint16_t)fake->start_count,
                                      (uint64_t)order->order_id);
    } else {
        assert_int_equal(start->customer_id, order->customer_id);
        response.existing = true;
    }
    start->times++;
    response.saga_id.data = start->saga_id.b;
    response.saga_id.len = SAGA_ID_SIZE;
    response.state = SAGA__V1__SAGA_STATE__SAGA_STATE_RUNNING;
    assert_int_equal(saga_message_encode(&response.base, payload), SAGA_ERR_OK);
    reply->payload = saga_buf_view(payload);
}

/* Judges one command of a message. Pre: locked. */
static void start_judge(struct fake *fake, const struct saga_command *wanted,
                        struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_buf payload = {0};
    struct saga_reply reply = {.step = "", .status = saga_status_ok(), .attempt = wanted->attempt};
    if (fake->mode == FAKE_CODE) {
        reply.status = saga_status_make(fake->code, "SAID_SO", "the test said so");
    } else {
        const Saga__V1__StartSagaRequest *request =
            (const Saga__V1__StartSagaRequest *)(const void *)saga_message_decode(
                &saga__v1__start_saga_request__descriptor, wanted->payload, arena);
        if (request != NULL && strtoll(request->key, NULL, 10) == fake->refused_order) {
            reply.status = saga_status_make(SAGA_CODE_INVALID_ARGUMENT, "INPUT_INVALID", "no");
        } else {
            start_take(fake, wanted, arena, &reply, &payload);
        }
    }
    assert_int_equal(saga_reply_batch_add(&reply, out), SAGA_ERR_OK);
    saga_buf_fini(&payload);
}

/* Thread: NNG's. */
static void fake_handle(void *context, struct saga_rpc_request *request)
{
    struct fake *fake = context;
    struct saga_arena arena = {0};
    struct saga_command *commands = NULL;
    size_t count = 0;
    struct saga_status status;
    struct saga_buf out = {0};
    assert_int_equal(saga_command_batch_decode(saga_rpc_request_bytes(request), &arena, &commands,
                                               &count, &status),
                     SAGA_ERR_OK);
    (void)pthread_mutex_lock(&fake->lock);
    enum fake_mode mode = fake->mode;
    fake->message_count++;
    fake->command_count_max = count > fake->command_count_max ? count : fake->command_count_max;
    if (mode == FAKE_WHOLE && count > 1) {
        const struct saga_reply reply = {
            .step = "",
            .status = saga_status_make(SAGA_CODE_INVALID_ARGUMENT, "BATCH", "as a whole")};
        assert_int_equal(saga_reply_batch_add(&reply, &out), SAGA_ERR_OK);
    } else if (mode == FAKE_GARBAGE) {
        assert_int_equal(saga_buf_append(&out, saga_bytes_text("\xff\xff\xff garbage")),
                         SAGA_ERR_OK);
    } else if (mode != FAKE_SILENT) {
        for (size_t i = 0; i < count; i++) {
            start_judge(fake, &commands[i], &arena, &out);
        }
    }
    (void)pthread_mutex_unlock(&fake->lock);
    if (mode == FAKE_SILENT) {
        saga_rpc_request_drop(request);
    } else {
        saga_rpc_request_answer(request, saga_buf_view(&out));
    }
    saga_buf_fini(&out);
    saga_arena_fini(&arena);
}

void fake_up(struct orderd *orderd, enum fake_mode mode)
{
    struct fake *fake = &orderd->fake;
    fake->mode = mode;
    const char *addresses[] = {fake->address};
    const struct saga_rpc_server_config config = {
        .addresses = addresses, .address_count = 1, .handler = fake_handle, .context = fake};
    struct saga_err_detail detail = {.text = ""};
    if (saga_rpc_server_start(&config, &fake->server, &detail) != SAGA_ERR_OK) {
        fail_msg("orchestrator: %s", detail.text);
    }
}

void fake_down(struct orderd *orderd)
{
    if (orderd->fake.server != NULL) {
        saga_rpc_server_close_door(orderd->fake.server);
        saga_rpc_server_free(orderd->fake.server);
        orderd->fake.server = NULL;
    }
}

void fake_set(struct orderd *orderd, enum fake_mode mode, enum saga_code code)
{
    (void)pthread_mutex_lock(&orderd->fake.lock);
    orderd->fake.mode = mode;
    orderd->fake.code = code;
    (void)pthread_mutex_unlock(&orderd->fake.lock);
}

struct started {
    struct fake *fake;
    size_t count;
};

static bool have_started(void *argument)
{
    const struct started *started = argument;
    (void)pthread_mutex_lock(&started->fake->lock);
    bool enough = started->fake->start_count >= started->count;
    (void)pthread_mutex_unlock(&started->fake->lock);
    return enough;
}

void fake_wait_started(struct orderd *orderd, size_t count)
{
    struct started started = {.fake = &orderd->fake, .count = count};
    if (!saga_test_until(have_started, &started, DEADLINE_MS)) {
        fail_msg("%zu sagas were started, not %zu", orderd->fake.start_count, count);
    }
    assert_int_equal(orderd->fake.start_count, count);
}

struct fake_start fake_find(struct orderd *orderd, int64_t order_id)
{
    (void)pthread_mutex_lock(&orderd->fake.lock);
    const struct fake_start *start = start_find(&orderd->fake, order_id);
    struct fake_start found = start == NULL ? (struct fake_start){0} : *start;
    (void)pthread_mutex_unlock(&orderd->fake.lock);
    return found;
}

/* ---- The daemon ---- */

int orderd_setup(void **state)
{
    struct orderd *orderd = calloc(1, sizeof *orderd);
    assert_non_null(orderd);
    saga_test_dir_open(&orderd->dir);
    (void)pthread_mutex_init(&orderd->fake.lock, NULL);
    char path[SAGA_TEST_PATH_MAX];
    (void)snprintf(orderd->fake.address, sizeof orderd->fake.address, "ipc://%.480s",
                   saga_test_path(&orderd->dir, "sagad.sock", path));
    (void)snprintf(orderd->nng, sizeof orderd->nng, "ipc://%.480s",
                   saga_test_path(&orderd->dir, "orderd.sock", path));
    *state = orderd;
    return 0;
}

int orderd_teardown(void **state)
{
    struct orderd *orderd = *state;
    if (orderd->child.pid != 0) {
        orderd_stop(orderd); /* and not killed: a sanitizer looks for leaks at the end */
    }
    fake_down(orderd);
    (void)pthread_mutex_destroy(&orderd->fake.lock);
    saga_test_dir_close(&orderd->dir);
    free(orderd);
    return 0;
}

static bool is_ready(void *argument)
{
    struct orderd *orderd = argument;
    char path[SAGA_TEST_PATH_MAX];
    char *text = saga_test_read(saga_test_path(&orderd->dir, "ready.json", path), NULL);
    if (text == NULL) {
        return !saga_test_running(&orderd->child);
    }
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    if (root == NULL) {
        return false;
    }
    unsigned port = 0;
    assert_int_equal(sscanf(text_of(root, "http"), "http://127.0.0.1:%u", &port), 1);
    assert_string_equal(text_of(root, "nng"), orderd->nng);
    orderd->port = (uint16_t)port;
    json_decref(root);
    return true;
}

void orderd_start(struct orderd *orderd)
{
    char ready[SAGA_TEST_PATH_MAX];
    char data[SAGA_TEST_PATH_MAX];
    char log[SAGA_TEST_PATH_MAX];
    (void)unlink(saga_test_path(&orderd->dir, "ready.json", ready));
    const char *argv[] = {ORDERD,
                          "--listen",
                          orderd->nng,
                          "--data",
                          saga_test_path(&orderd->dir, "order.db", data),
                          "--orchestrator",
                          orderd->fake.address,
                          "--http-port",
                          "0",
                          "--ready-file",
                          ready,
                          NULL};
    orderd->port = 0;
    saga_test_spawn(&orderd->child, argv, saga_test_path(&orderd->dir, "orderd.log", log));
    if (!saga_test_until(is_ready, orderd, DEADLINE_MS) || orderd->port == 0) {
        char *text = saga_test_read(log, NULL);
        fail_msg("orderd is not ready: %s", text == NULL ? "" : text);
    }
    const char *addresses[] = {orderd->nng};
    const struct saga_rpc_client_config config = {.addresses = addresses, .address_count = 1};
    struct saga_err_detail detail;
    assert_int_equal(saga_rpc_client_start(&config, &orderd->client, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_rpc_client_wait(orderd->client, DEADLINE_MS), SAGA_ERR_OK);
}

/* A sanitizer's complaint in the log fails the test, however orderd ended. */
static void check_log(struct orderd *orderd)
{
    char path[SAGA_TEST_PATH_MAX];
    char *text = saga_test_read(saga_test_path(&orderd->dir, "orderd.log", path), NULL);
    if (text != NULL &&
        (strstr(text, "Sanitizer") != NULL || strstr(text, "runtime error") != NULL)) {
        (void)fprintf(stderr, "%s\n", text); /* print_error would cut it */
        free(text);
        fail_msg("orderd's log tells of an error");
    }
    free(text);
}

void orderd_kill(struct orderd *orderd)
{
    saga_rpc_client_free(orderd->client);
    orderd->client = NULL;
    if (orderd->child.pid != 0) {
        saga_test_signal(&orderd->child, SIGKILL);
        (void)saga_test_wait(&orderd->child, DEADLINE_MS);
        check_log(orderd);
    }
}

void orderd_stop(struct orderd *orderd)
{
    saga_rpc_client_free(orderd->client);
    orderd->client = NULL;
    bool clean = saga_test_stop(&orderd->child, DEADLINE_MS);
    check_log(orderd);
    assert_true(clean);
}

/* ---- HTTP ---- */

const char *text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        fail_msg("there is no text %s", key);
    }
    return json_string_value(value);
}

int64_t number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        fail_msg("there is no number %s", key);
    }
    return json_integer_value(value);
}

static void send_request(int fd, const char *line, const char *headers, const char *body)
{
    size_t body_size = body == NULL ? 0 : strlen(body);
    char head[4096];
    int size = snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: localhost\r\n%s", line, headers);
    if (body != NULL) {
        size += snprintf(head + size, sizeof head - (size_t)size,
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_size);
    }
    size += snprintf(head + size, sizeof head - (size_t)size, "\r\n");
    assert_true(client_send(fd, head, (size_t)size));
    assert_true(client_send(fd, body, body_size));
}

json_t *ask(struct orderd *orderd, const char *line, const char *headers, const char *body,
            unsigned *status, struct reply *reply)
{
    static struct reply own;
    struct reply *to = reply == NULL ? &own : reply;
    int fd = client_open(orderd->port);
    send_request(fd, line, headers, body);
    assert_true(client_read(fd, false, to));
    (void)close(fd);
    if (status != NULL) {
        *status = to->status;
    }
    return json_loadb(to->body, to->body_size, 0, NULL);
}

int begin_ask(struct orderd *orderd, const char *line, const char *body)
{
    int fd = client_open(orderd->port);
    send_request(fd, line, "", body);
    return fd;
}

json_t *finish_ask(int fd, unsigned *status)
{
    static struct reply reply;
    assert_true(client_read(fd, false, &reply));
    (void)close(fd);
    *status = reply.status;
    return json_loadb(reply.body, reply.body_size, 0, NULL);
}

int64_t place(struct orderd *orderd)
{
    unsigned status = 0;
    json_t *order =
        ask(orderd, "POST /orders", "",
            "{\"customer_id\":42,\"items\":[{\"product_id\":7,\"quantity\":2}]}", &status, NULL);
    assert_int_equal(status, 201);
    int64_t order_id = number_of(order, "order_id");
    json_decref(order);
    return order_id;
}

static bool order_is(struct orderd *orderd, int64_t order_id, const char *state, const char *reason,
                     char said[256])
{
    char line[64];
    unsigned status = 0;
    (void)snprintf(line, sizeof line, "GET /orders/%" PRId64, order_id);
    json_t *order = ask(orderd, line, "", NULL, &status, NULL);
    assert_int_equal(status, 200);
    (void)snprintf(said, 256, "%s %s", text_of(order, "state"), text_of(order, "reason"));
    bool same = strcmp(text_of(order, "state"), state) == 0 &&
                (reason == NULL || strcmp(text_of(order, "reason"), reason) == 0);
    json_decref(order);
    return same;
}

void expect_order(struct orderd *orderd, int64_t order_id, const char *state, const char *reason)
{
    char said[256];
    if (!order_is(orderd, order_id, state, reason, said)) {
        fail_msg("order %" PRId64 " is %s, not %s %s", order_id, said, state, reason);
    }
}

struct awaited {
    struct orderd *orderd;
    int64_t order_id;
    const char *state, *reason;
    char said[256];
};

static bool order_became(void *argument)
{
    struct awaited *awaited = argument;
    return order_is(awaited->orderd, awaited->order_id, awaited->state, awaited->reason,
                    awaited->said);
}

void wait_order(struct orderd *orderd, int64_t order_id, const char *state, const char *reason)
{
    struct awaited awaited = {
        .orderd = orderd, .order_id = order_id, .state = state, .reason = reason};
    if (!saga_test_until(order_became, &awaited, DEADLINE_MS)) {
        fail_msg("order %" PRId64 " is %s, not %s", order_id, awaited.said, state);
    }
}

/* ---- Commands ---- */

struct saga_id new_saga(struct orderd *orderd)
{
    return saga_id_make(saga_clock_unix_ms(), (uint16_t)orderd->sagas++, UINT64_C(0x5eed));
}

void command(struct orderd *orderd, const struct order_command *wanted, struct order_answer *answer)
{
    struct saga_buf payload = {0};
    struct saga_buf message = {0};
    struct saga_buf reply = {0};
    struct saga_arena arena = {0};
    char method[128];
    (void)snprintf(method, sizeof method, "order.v1.OrderService/%s", wanted->method);
    assert_int_equal(saga_message_encode(wanted->message, &payload), SAGA_ERR_OK);
    const struct saga_command to_send = {
        .saga_id = wanted->saga_id,
        .step = wanted->step,
        .op = wanted->op,
        .method = method,
        .payload = saga_buf_view(&payload),
        .attempt = 1,
        .traceparent = "",
        .cause_step = wanted->cause_step == NULL ? "" : wanted->cause_step,
        .cause_status = saga_status_make(
            wanted->cause_code, wanted->cause_reason == NULL ? "" : wanted->cause_reason, ""),
        .epoch = 1,
    };
    assert_int_equal(saga_command_batch_add(&to_send, &message), SAGA_ERR_OK);
    struct saga_err_detail detail = {.text = ""};
    if (saga_rpc_client_call(orderd->client, saga_buf_view(&message), DEADLINE_MS, &reply,
                             &detail) != SAGA_ERR_OK) {
        fail_msg("%s: %s", method, detail.text);
    }
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    assert_int_equal(
        saga_reply_batch_decode(saga_buf_view(&reply), &arena, &replies, &count, &status),
        SAGA_ERR_OK);
    assert_int_equal(count, 1);
    answer->code = replies[0].status.code;
    (void)snprintf(answer->reason, sizeof answer->reason, "%s", replies[0].status.reason);
    answer->replayed = replies[0].replayed;
    answer->empty = replies[0].empty;
    assert_true(replies[0].payload.size <= sizeof answer->payload);
    answer->payload_size = replies[0].payload.size;
    if (answer->payload_size > 0) {
        memcpy(answer->payload, replies[0].payload.data, answer->payload_size);
    }
    saga_arena_fini(&arena);
    saga_buf_fini(&reply);
    saga_buf_fini(&message);
    saga_buf_fini(&payload);
}

uint32_t approve(struct orderd *orderd, int64_t order_id, struct saga_id saga_id)
{
    static struct order_answer answer;
    Order__V1__ApproveOrderRequest request = ORDER__V1__APPROVE_ORDER_REQUEST__INIT;
    request.order_id = order_id;
    const struct order_command wanted = {.method = "ApproveOrder",
                                         .op = SAGA_OP_CALL,
                                         .saga_id = saga_id,
                                         .step = "confirm",
                                         .message = &request.base};
    command(orderd, &wanted, &answer);
    return answer.code;
}

uint32_t reject(struct orderd *orderd, int64_t order_id, struct saga_id saga_id,
                const char *cause_step, enum saga_code code, const char *reason)
{
    static struct order_answer answer;
    Order__V1__RejectOrderRequest request = ORDER__V1__REJECT_ORDER_REQUEST__INIT;
    request.order_id = order_id;
    const struct order_command wanted = {.method = "RejectOrder",
                                         .op = SAGA_OP_UNDO,
                                         .saga_id = saga_id,
                                         .step = "order",
                                         .message = &request.base,
                                         .cause_step = cause_step,
                                         .cause_code = code,
                                         .cause_reason = reason};
    command(orderd, &wanted, &answer);
    return answer.code;
}
