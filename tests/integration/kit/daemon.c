#include "tests/integration/kit/daemon.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "common/sql/sql.h"
#include "product/v1/product.pb-c.h"
#include "saga/v1/health.pb-c.h"

enum { START_MS = 20 * 1000, CALL_MS = 20 * 1000 };

void daemon_prepare(struct daemon *daemon, const char *name, const char *seed)
{
    *daemon = (struct daemon){.name = name};
    saga_test_dir_open(&daemon->dir);
    char path[SAGA_TEST_PATH_MAX];
    (void)snprintf(daemon->address, sizeof daemon->address, "ipc://%s/s", daemon->dir.path);
    (void)saga_test_path(&daemon->dir, "data.db", daemon->data);
    (void)saga_test_path(&daemon->dir, "ready.json", daemon->ready);
    (void)saga_test_path(&daemon->dir, "log", daemon->log);
    if (seed != NULL) {
        (void)saga_test_path(&daemon->dir, "seed.json", path);
        saga_test_write(path, seed, strlen(seed));
        memcpy(daemon->seed, path, sizeof path);
    }
}

static bool is_ready(void *arg)
{
    struct daemon *daemon = arg;
    return access(daemon->ready, R_OK) == 0 || !saga_test_running(&daemon->child);
}

void daemon_start(struct daemon *daemon, const char *const extra[])
{
    char program[SAGA_TEST_PATH_MAX];
    (void)snprintf(program, sizeof program, "%s/%s", SAGA_BIN_DIR, daemon->name);
    const char *argv[DAEMON_ARGS_MAX] = {program,      "--listen",     daemon->address, "--data",
                                         daemon->data, "--ready-file", daemon->ready};
    size_t count = 7;
    if (daemon->seed[0] != '\0') {
        argv[count++] = "--seed";
        argv[count++] = daemon->seed;
    }
    for (size_t i = 0; extra != NULL && extra[i] != NULL; i++) {
        assert_in_range(count, 0, DAEMON_ARGS_MAX - 2);
        argv[count++] = extra[i];
    }
    (void)unlink(daemon->ready);
    saga_test_spawn(&daemon->child, argv, daemon->log);
    assert_true(saga_test_until(is_ready, daemon, START_MS));
    assert_true(saga_test_running(&daemon->child));
    if (daemon->client == NULL) {
        const char *addresses[] = {daemon->address};
        struct saga_rpc_client_config config = {
            .addresses = addresses, .address_count = 1, .contexts = 64};
        struct saga_err_detail detail = {{0}};
        assert_int_equal(saga_rpc_client_start(&config, &daemon->client, &detail), SAGA_ERR_OK);
    }
    assert_int_equal(saga_rpc_client_wait(daemon->client, CALL_MS), SAGA_ERR_OK);
}

static bool is_disconnected(void *arg)
{
    struct daemon *daemon = arg;
    return !saga_rpc_client_connected(daemon->client);
}

int daemon_end(struct daemon *daemon, int sig)
{
    saga_test_signal(&daemon->child, sig);
    assert_true(saga_test_wait(&daemon->child, START_MS));
    if (daemon->client != NULL) {
        /* Or the connection that broke would be taken for one to the next process. */
        assert_true(saga_test_until(is_disconnected, daemon, START_MS));
    }
    return daemon->child.status;
}

void daemon_remove(struct daemon *daemon)
{
    saga_rpc_client_free(daemon->client);
    daemon->client = NULL;
    if (saga_test_running(&daemon->child)) {
        (void)daemon_end(daemon, SIGKILL);
    }
    saga_arena_fini(&daemon->arena);
    saga_test_dir_close(&daemon->dir);
}

struct saga_reply *daemon_send(struct daemon *daemon, struct saga_bytes bytes, size_t *reply_count)
{
    struct saga_buf answer = {0};
    struct saga_err_detail detail = {{0}};
    struct saga_reply *replies = NULL;
    struct saga_status status;
    saga_arena_clear(&daemon->arena);
    enum saga_err err = saga_rpc_client_call(daemon->client, bytes, CALL_MS, &answer, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("%s: %s", saga_err_name(err), detail.text);
    }
    assert_int_equal(saga_reply_batch_decode(saga_buf_view(&answer), &daemon->arena, &replies,
                                             reply_count, &status),
                     SAGA_ERR_OK);
    saga_buf_fini(&answer);
    return replies;
}

struct saga_reply *daemon_batch(struct daemon *daemon, const struct saga_command *commands,
                                size_t count, size_t *reply_count)
{
    struct saga_buf batch = {0};
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(saga_command_batch_add(&commands[i], &batch), SAGA_ERR_OK);
    }
    struct saga_reply *replies = daemon_send(daemon, saga_buf_view(&batch), reply_count);
    saga_buf_fini(&batch);
    return replies;
}

struct saga_reply daemon_call(struct daemon *daemon, const struct saga_command *command)
{
    size_t count = 0;
    struct saga_reply *replies = daemon_batch(daemon, command, 1, &count);
    assert_int_equal(count, 1);
    return replies[0];
}

int64_t daemon_number(const struct daemon *daemon, const char *sql)
{
    struct saga_sql *database = NULL;
    struct saga_sql_stmt *stmt = NULL;
    struct saga_err_detail detail = {{0}};
    bool row = false;
    assert_int_equal(saga_sql_open(daemon->data, SAGA_SQL_READ_ONLY, &database, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_prepare(database, sql, &stmt, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, &detail), SAGA_ERR_OK);
    assert_true(row);
    int64_t number = saga_sql_int(stmt, 0);
    saga_sql_close(database);
    return number;
}

static Saga__V1__CheckResponse *check(struct daemon *daemon)
{
    struct saga_command ask = {.step = "",
                               .method = "saga.v1.HealthService/Check",
                               .traceparent = "",
                               .cause_step = "",
                               .cause_status = saga_status_ok()};
    struct saga_reply reply = daemon_call(daemon, &ask);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    Saga__V1__CheckResponse *health =
        saga__v1__check_response__unpack(NULL, reply.payload.size, reply.payload.data);
    assert_non_null(health);
    return health;
}

static const Saga__V1__HealthPart *part_of(const Saga__V1__CheckResponse *health, const char *name)
{
    for (size_t i = 0; i < health->n_parts; i++) {
        if (strcmp(health->parts[i]->name, name) == 0) {
            return health->parts[i];
        }
    }
    fail_msg("no health part %s", name);
    return NULL;
}

int daemon_part(struct daemon *daemon, const char *name)
{
    Saga__V1__CheckResponse *health = check(daemon);
    int state = (int)part_of(health, name)->state;
    saga__v1__check_response__free_unpacked(health, NULL);
    return state;
}

int64_t daemon_counter(struct daemon *daemon, const char *name)
{
    Saga__V1__CheckResponse *health = check(daemon);
    char key[64];
    (void)snprintf(key, sizeof key, "%s=", name);
    const char *at = strstr(part_of(health, "store")->detail, key);
    assert_non_null(at);
    int64_t value = strtoll(at + strlen(key), NULL, 10);
    saga__v1__check_response__free_unpacked(health, NULL);
    return value;
}

struct saga_id id_of(uint64_t number)
{
    return saga_id_make(1700000000000 + (int64_t)(number >> 12), (uint16_t)(number & 0xFFF),
                        number);
}

static struct saga_arena pool;

struct saga_bytes payload_of(const struct ProtobufCMessage *message)
{
    struct saga_buf buf = {0};
    assert_int_equal(saga_message_encode(message, &buf), SAGA_ERR_OK);
    uint8_t *copy = saga_arena_take(&pool, buf.size + 1);
    assert_non_null(copy);
    if (buf.size > 0) {
        memcpy(copy, buf.data, buf.size);
    }
    struct saga_bytes bytes = {.data = copy, .size = buf.size};
    saga_buf_fini(&buf);
    return bytes;
}

void pool_clear(void)
{
    saga_arena_fini(&pool);
}

struct saga_command command_of(enum saga_op op, uint64_t saga, const char *step, const char *method,
                               struct saga_bytes payload)
{
    return (struct saga_command){
        .saga_id = id_of(saga),
        .step = step,
        .op = op,
        .method = method,
        .payload = payload,
        .attempt = 1,
        .traceparent = "",
        .cause_step = "",
        .cause_status = saga_status_ok(),
        .epoch = 1,
    };
}

struct saga_command reserve_of(uint64_t saga, int64_t order_id, int64_t product_id,
                               int32_t quantity)
{
    Order__V1__OrderItem item = ORDER__V1__ORDER_ITEM__INIT;
    Order__V1__OrderItem *items[] = {&item};
    item.product_id = product_id;
    item.quantity = quantity;
    Product__V1__ReserveStockRequest in = PRODUCT__V1__RESERVE_STOCK_REQUEST__INIT;
    in.order_id = order_id;
    in.n_items = 1;
    in.items = items;
    return command_of(SAGA_OP_CALL, saga, "stock", RESERVE, payload_of(&in.base));
}

struct saga_command release_of(uint64_t saga, int64_t order_id)
{
    Product__V1__ReleaseStockRequest in = PRODUCT__V1__RELEASE_STOCK_REQUEST__INIT;
    in.order_id = order_id;
    return command_of(SAGA_OP_UNDO, saga, "stock", RELEASE, payload_of(&in.base));
}
