#include "tests/unit/kit/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "payment/v1/payment.pb-c.h"

static const char *const migrations[] = {
    "CREATE TABLE effect (id INTEGER PRIMARY KEY, sign INTEGER NOT NULL)"};
static const char *const starter_undos[] = {NULL};

/* Does the mood; true: answer. The effect is written first: a refusal must take it back. */
static bool act(struct saga_call *call, int64_t sign)
{
    struct rig *rig = saga_call_user(call);
    rig->runs++;
    (void)saga_call_run(call, "INSERT INTO effect (sign) VALUES (?1)", "i", sign);
    switch (rig->mood) {
    case RIG_OK:
    case RIG_LARGE:
        return true;
    case RIG_REJECT:
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "PAYMENT_DECLINED", "run %d says no",
                         rig->runs);
        return false;
    case RIG_RETRY:
        saga_call_refuse(call, SAGA_CODE_UNAVAILABLE, "LATER", "run %d", rig->runs);
        return false;
    case RIG_PARK:
        saga_call_refuse(call, SAGA_CODE_PERMISSION_DENIED, "NEVER", "run %d", rig->runs);
        return false;
    case RIG_SILENT:
        return false;
    case RIG_BAD_SQL:
        (void)saga_call_row(call, saga_call_sql(call, "SELECT * FROM nowhere", ""));
        return true;
    }
    return false;
}

static void authorize_payment(Payment__V1__PaymentService_Service *service,
                              const Payment__V1__AuthorizePaymentRequest *in,
                              Payment__V1__AuthorizePaymentResponse_Closure closure, void *data)
{
    static char large[SAGA_PAYLOAD_SIZE_MAX + 2];
    struct saga_call *call = data;
    struct rig *rig = saga_call_user(call);
    (void)service;
    if (!act(call, 1)) {
        return;
    }
    char id[64];
    (void)snprintf(id, sizeof id, "p-%lld-%d", (long long)in->order_id, rig->runs);
    Payment__V1__AuthorizePaymentResponse out = PAYMENT__V1__AUTHORIZE_PAYMENT_RESPONSE__INIT;
    out.payment_id = id;
    if (rig->mood == RIG_LARGE) {
        memset(large, 'x', sizeof large - 1);
        out.payment_id = large;
    }
    closure(&out, data);
}

static void refund_payment(Payment__V1__PaymentService_Service *service,
                           const Payment__V1__RefundPaymentRequest *in,
                           Payment__V1__RefundPaymentResponse_Closure closure, void *data)
{
    (void)service;
    (void)in;
    if (act(data, -1)) {
        Payment__V1__RefundPaymentResponse out = PAYMENT__V1__REFUND_PAYMENT_RESPONSE__INIT;
        closure(&out, data);
    }
}

static Payment__V1__PaymentService_Service payments = PAYMENT__V1__PAYMENT_SERVICE__INIT();

int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    saga_test_dir_open(&rig->dir);
    rig->app = (struct saga_kit_app){
        .name = "rigd",
        .service = &payments.base,
        .user = rig,
        .starter_undos = starter_undos,
    };
    struct saga_kit *kit = &rig->kit;
    struct saga_err_detail detail = {{0}};
    char path[SAGA_TEST_PATH_MAX];
    kit->app = &rig->app;
    kit->path = strdup(saga_test_path(&rig->dir, "rig.db", path));
    pthread_mutex_init(&kit->positions_lock, NULL);
    assert_int_equal(saga_inbox_new(16, &kit->inbox), SAGA_ERR_OK);
    assert_int_equal(saga_kit_methods_load(kit, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_open(kit->path, SAGA_SQL_READ_WRITE, &kit->sql, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(saga_barrier_migrate(kit->sql, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_barrier_migrate(kit->sql, &detail), SAGA_ERR_OK); /* again: nothing */
    assert_int_equal(saga_sql_migrate(kit->sql, migrations, 1, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_open(kit->path, SAGA_SQL_READ_ONLY, &kit->sql_relay, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(saga_barrier_open(kit->sql, &kit->barrier), SAGA_ERR_OK);
    *state = rig;
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    struct saga_kit *kit = &rig->kit;
    saga_sql_close(kit->sql_relay);
    saga_barrier_close(kit->barrier);
    saga_sql_close(kit->sql);
    saga_inbox_free(kit->inbox);
    saga_schema_free(kit->schema);
    saga_arena_fini(&kit->turn.arena);
    saga_arena_fini(&kit->relay_arena);
    saga_buf_fini(&kit->turn.scratch);
    pthread_mutex_destroy(&kit->positions_lock);
    free(kit->methods);
    free(kit->path);
    saga_test_dir_close(&rig->dir);
    free(rig);
    return 0;
}

/* order_id = 1 as a varint field: the same field in both requests. */
static struct saga_bytes payload_of(int64_t order_id)
{
    static uint8_t payloads[128][2];
    assert_in_range(order_id, 1, 127);
    payloads[order_id][0] = 0x08;
    payloads[order_id][1] = (uint8_t)order_id;
    return (struct saga_bytes){.data = payloads[order_id], .size = 2};
}

static struct saga_command command_of(enum saga_op op, const char *method, int64_t order_id)
{
    return (struct saga_command){
        .saga_id = {{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16}},
        .step = "payment",
        .op = op,
        .method = method,
        .payload = payload_of(order_id),
        .attempt = 1,
        .traceparent = "",
        .cause_step = "",
        .cause_status = saga_status_ok(),
        .epoch = 1,
    };
}

struct saga_command rig_call(int64_t order_id)
{
    return command_of(SAGA_OP_CALL, RIG_CALL, order_id);
}

struct saga_command rig_undo(int64_t order_id)
{
    return command_of(SAGA_OP_UNDO, RIG_UNDO, order_id);
}

void rig_begin(struct rig *rig)
{
    struct saga_kit_turn *turn = &rig->kit.turn;
    saga_arena_clear(&turn->arena);
    turn->now_unix_ms = saga_clock_unix_ms();
    turn->wrote = false;
    turn->stored = false;
    turn->after = NULL;
    turn->after_tail = &turn->after;
    turn->direct = NULL;
    turn->direct_tail = &turn->direct;
    turn->position_count = 0;
    assert_int_equal(saga_sql_begin(rig->kit.sql, NULL), SAGA_ERR_OK);
}

void rig_commit(struct rig *rig)
{
    struct saga_err_detail detail = {{0}};
    if (rig->kit.turn.wrote) {
        assert_int_equal(saga_kit_positions_store(&rig->kit, &detail), SAGA_ERR_OK);
        assert_int_equal(saga_sql_commit(rig->kit.sql, &detail), SAGA_ERR_OK);
        saga_kit_positions_commit(&rig->kit);
    } else {
        saga_sql_rollback(rig->kit.sql);
    }
}

struct saga_reply rig_run_via(struct rig *rig, const struct saga_command *command,
                              enum saga_via via, bool *stored)
{
    struct saga_reply reply;
    struct saga_err_detail detail = {{0}};
    rig_begin(rig);
    enum saga_err err = saga_kit_dispatch(&rig->kit, command, via, &reply, stored, &detail);
    assert_string_equal(detail.text, "");
    assert_int_equal(err, SAGA_ERR_OK);
    rig_commit(rig);
    return reply;
}

struct saga_reply rig_run(struct rig *rig, const struct saga_command *command)
{
    bool stored = false;
    return rig_run_via(rig, command, SAGA_VIA_NNG, &stored);
}

int64_t rig_number(struct rig *rig, const char *sql)
{
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(saga_sql_prepare(rig->kit.sql, sql, &stmt, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, NULL), SAGA_ERR_OK);
    assert_true(row);
    int64_t number = saga_sql_int(stmt, 0);
    saga_sql_reset(stmt);
    return number;
}

int64_t rig_effects(struct rig *rig)
{
    return rig_number(rig, "SELECT coalesce(sum(sign), 0) FROM effect");
}

int64_t rig_rows(struct rig *rig)
{
    return rig_number(rig, "SELECT count(*) FROM barrier");
}
