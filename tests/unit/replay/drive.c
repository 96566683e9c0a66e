#include "tests/unit/replay/drive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/sql/sql.h"
#include "orchestrator/codec/codec.h"
#include "saga/v1/audit.pb-c.h"

static uint64_t below(struct drive *drive, uint64_t bound)
{
    return saga_prng_below(&drive->prng, bound);
}

void drive_open(struct drive *drive, uint64_t seed)
{
    *drive = (struct drive){.prng = seed};
    world_open_with(&drive->world, SAGA_NESTED_SET);
    world_close_runtime(&drive->world);
    drive->world.live_max = 64;
    assert_int_equal(world_open_runtime(&drive->world), SAGA_ERR_OK);
}

void drive_close(struct drive *drive)
{
    world_fini(&drive->world);
}

static void begin(struct drive *drive)
{
    drive->world.sent_count = 0;
    drive->world.answer_count = 0;
    saga_runtime_turn_begin(drive->world.runtime, drive->world.now);
}

/* The place of a saga in ids, or count. */
static size_t place_of(const struct drive *drive, struct saga_id id)
{
    size_t at = drive->count;
    while (at > 0 && !saga_id_equal(drive->ids[at - 1], id)) {
        at--;
    }
    return at > 0 ? at - 1 : drive->count;
}

static size_t note(struct drive *drive, struct saga_id id)
{
    size_t at = place_of(drive, id);
    if (at == drive->count && at < DRIVE_SAGAS_MAX) {
        drive->ids[drive->count++] = id;
    }
    return at;
}

/* Ends a turn; sagas that the runtime has started itself, as steps of others, are driven too. */
static void end(struct drive *drive)
{
    assert_int_equal(saga_runtime_turn_end(drive->world.runtime, false, NULL), SAGA_ERR_OK);
    for (size_t i = 0; i < drive->world.sent_count; i++) {
        (void)note(drive, drive->world.sent[i].saga_id);
    }
}

size_t drive_start(struct drive *drive, const char *definition)
{
    struct world *world = &drive->world;
    char key[32];
    (void)snprintf(key, sizeof key, "order-%zu", drive->count);
    uint8_t input[] = {0x08, (uint8_t)(drive->count % 100 + 1), 0x10, 0x07};
    struct saga_start start = {.definition = definition,
                               .key = key,
                               .input = {input, sizeof input},
                               .traceparent =
                                   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                               .ticket = world};
    assert_true(drive->count < DRIVE_SAGAS_MAX);
    begin(drive);
    saga_runtime_start(world->runtime, &start);
    end(drive);
    assert_int_equal(world->answer_count, 1);
    return world->answers[0].code == SAGA_CODE_OK ? note(drive, world->answers[0].id)
                                                  : drive->count;
}

static bool look_at(struct drive *drive, size_t saga, struct saga_look *look)
{
    return saga_runtime_look(drive->world.runtime, drive->ids[saga], look, NULL) == SAGA_ERR_OK;
}

/* What a participant says when it says yes; some say it with bytes that fit nothing. */
static struct saga_bytes payload_of(struct drive *drive)
{
    static const uint8_t total[] = {0x08, 0x96, 0x01};
    static const uint8_t text[] = {0x0a, 0x03, 'a', 'b', 'c'};
    static const uint8_t garbage[] = {0xff, 0xff};
    switch (below(drive, 16)) {
    case 0:
        return (struct saga_bytes){garbage, sizeof garbage};
    case 1:
    case 2:
        return (struct saga_bytes){text, sizeof text};
    case 3:
    case 4:
        return (struct saga_bytes){total, sizeof total};
    default:
        return (struct saga_bytes){NULL, 0};
    }
}

static struct saga_runtime_reply reply_to(const struct saga_look *look, uint8_t step)
{
    const struct saga_step_run *run = &look->saga.steps[step];
    bool undo = run->state == SAGA_STEP_UNDOING;
    return (struct saga_runtime_reply){
        .saga_id = look->saga.id,
        .step = step,
        .op = undo ? SAGA_OP_UNDO : SAGA_OP_CALL,
        .attempt = undo ? run->undo_attempts : run->call_attempts,
        .reason = "",
        .message = "",
    };
}

void drive_reply(struct drive *drive, size_t saga, uint8_t step, enum saga_code code,
                 const char *reason)
{
    struct saga_look look;
    assert_true(look_at(drive, saga, &look));
    struct saga_runtime_reply reply = reply_to(&look, step);
    reply.code = code;
    reply.reason = reason;
    begin(drive);
    saga_runtime_reply(drive->world.runtime, &reply);
    end(drive);
}

static void happen_reply(struct drive *drive, size_t saga)
{
    static const enum saga_code codes[] = {
        SAGA_CODE_OK,
        SAGA_CODE_OK,
        SAGA_CODE_OK,
        SAGA_CODE_OK,
        SAGA_CODE_OK,
        SAGA_CODE_OK,
        SAGA_CODE_UNAVAILABLE,
        SAGA_CODE_UNAVAILABLE,
        SAGA_CODE_DEADLINE_EXCEEDED,
        SAGA_CODE_NOT_FOUND,
        SAGA_CODE_OUT_OF_RANGE,
        SAGA_CODE_PERMISSION_DENIED,
        SAGA_CODE_INTERNAL,
        SAGA_CODE_INVALID_ARGUMENT,
    };
    static const char *const reasons[] = {"", "OUT_OF_STOCK", "KEY_REUSED"};
    struct saga_look look;
    if (!look_at(drive, saga, &look)) {
        return;
    }
    struct saga_runtime_reply reply = reply_to(&look, (uint8_t)below(drive, look.saga.step_count));
    reply.code = codes[below(drive, sizeof codes / sizeof codes[0])];
    reply.reason = reasons[below(drive, 3)];
    reply.message = reply.code == SAGA_CODE_OK ? "" : "s\303\266 not";
    reply.retry_after_ms = below(drive, 8) == 0 ? 700 : 0;
    reply.payload = reply.code == SAGA_CODE_OK ? payload_of(drive) : (struct saga_bytes){NULL, 0};
    reply.replayed = below(drive, 8) == 0;
    reply.empty = reply.op == SAGA_OP_UNDO && below(drive, 4) == 0;
    if (below(drive, 10) == 0) {
        reply.code = SAGA_CODE_UNAVAILABLE;
        reply.not_sent = true;
    }
    if (below(drive, 6) == 0 && reply.attempt > 1) {
        reply.attempt -= 1;
    }
    unsigned times = below(drive, 8) == 0 ? 2 : 1; /* a duplicate */
    begin(drive);
    for (unsigned i = 0; i < times; i++) {
        saga_runtime_reply(drive->world.runtime, &reply);
    }
    end(drive);
}

static void happen_durable(struct drive *drive, size_t saga)
{
    struct saga_look look;
    if (!look_at(drive, saga, &look)) {
        return;
    }
    begin(drive);
    for (uint8_t i = 0; i < look.saga.step_count; i++) {
        const struct saga_step_run *run = &look.saga.steps[i];
        if (run->wait == SAGA_WAIT_DURABLE) {
            bool undo = run->state == SAGA_STEP_UNDOING;
            saga_runtime_durable(drive->world.runtime, drive->ids[saga], i,
                                 undo ? SAGA_OP_UNDO : SAGA_OP_CALL,
                                 undo ? run->undo_attempts : run->call_attempts);
        }
    }
    end(drive);
}

void drive_wait(struct drive *drive, int64_t ms)
{
    drive->world.now += ms;
    begin(drive);
    end(drive);
}

void drive_operate(struct drive *drive, size_t saga, enum saga_act act, const char *step)
{
    struct saga_operate operate = {
        .saga_id = drive->ids[saga],
        .act = act,
        .step_name = step,
        .who = "ann",
        .why = "because",
        .ticket = &drive->world,
    };
    begin(drive);
    saga_runtime_operate(drive->world.runtime, &operate);
    end(drive);
}

static void happen_operator(struct drive *drive, size_t saga)
{
    struct saga_look look;
    if (!look_at(drive, saga, &look)) {
        return;
    }
    uint64_t step = below(drive, look.saga.step_count + 1U);
    enum saga_act act = (enum saga_act)(SAGA_ACT_RETRY + below(drive, 5));
    drive_operate(drive, saga, act,
                  step == look.saga.step_count ? "" : look.version->step_names[step]);
}

/* What sagas are started of: those of the ordering system, and sagas in sagas. */
static const char *const definitions[] = {"create-order", "create-order-async", "order-nested",
                                          "hold-twice", "prepare"};
enum { DEFINITIONS = sizeof definitions / sizeof definitions[0] };

void drive_pause(struct drive *drive, const char *definition, enum saga_act act)
{
    begin(drive);
    world_pause(&drive->world, definition, act);
    end(drive);
}

static void happen_pause(struct drive *drive)
{
    drive_pause(drive, definitions[below(drive, DEFINITIONS)],
                below(drive, 3) == 0 ? SAGA_ACT_PAUSE : SAGA_ACT_RESUME);
}

void drive_run(struct drive *drive, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        uint64_t what = below(drive, 100);
        bool full = drive->count == DRIVE_SAGAS_MAX;
        size_t saga = drive->count == 0 ? 0 : (size_t)below(drive, drive->count);
        if (drive->count > 12 && below(drive, 4) != 0) {
            saga = drive->count - 1 - (size_t)below(drive, 12); /* mostly those still in flight */
        }
        drive->world.now += (int64_t)below(drive, 40);
        if ((what < 8 || drive->count == 0) && !full) {
            (void)drive_start(drive, definitions[below(drive, DEFINITIONS)]);
        } else if (drive->count == 0) {
            continue;
        } else if (what < 70) {
            happen_reply(drive, saga);
        } else if (what < 82) {
            happen_durable(drive, saga);
        } else if (what < 94) {
            drive_wait(drive, (int64_t)below(drive, 12000));
        } else if (what < 97) {
            happen_operator(drive, saga);
        } else if (what < 98) {
            happen_pause(drive);
        } else {
            world_crash(&drive->world);
        }
    }
}

void drive_finish(struct drive *drive, size_t saga)
{
    struct saga_look look;
    for (unsigned round = 0; round < 200; round++) {
        assert_true(look_at(drive, saga, &look));
        if (saga_ended(&look.saga)) {
            return;
        }
        happen_durable(drive, saga);
        for (uint8_t i = 0; i < look.saga.step_count; i++) {
            assert_true(look_at(drive, saga, &look));
            if (look.saga.steps[i].wait == SAGA_WAIT_REPLY) {
                drive_reply(drive, saga, i, SAGA_CODE_OK, "");
            }
        }
        drive_wait(drive, 100);
    }
    fail_msg("the saga does not end");
}

/* ---- On the file ---- */

static struct saga_sql *open_file(struct drive *drive)
{
    struct saga_sql *sql = NULL;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_sql_open(drive->world.path, SAGA_SQL_READ_WRITE, &sql, &detail),
                     SAGA_ERR_OK);
    return sql;
}

void drive_sql(struct drive *drive, const char *text)
{
    struct saga_sql *sql = open_file(drive);
    struct saga_err_detail detail = {{0}};
    if (saga_sql_exec(sql, text, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    saga_sql_close(sql);
}

static struct saga_sql_stmt *prepare(struct saga_sql *sql, const char *text)
{
    struct saga_sql_stmt *stmt = NULL;
    assert_int_equal(saga_sql_prepare(sql, text, &stmt, NULL), SAGA_ERR_OK);
    return stmt;
}

/* Packs an event with the hash that belongs to it. */
static void pack(Saga__V1__AuditEvent *event, const struct saga_bytes prev, struct saga_buf *out,
                 uint8_t hash[SAGA_DIGEST_SIZE])
{
    ProtobufCBinaryData old_prev = event->prev_hash;
    ProtobufCBinaryData old_hash = event->hash;
    uint8_t bytes[SAGA_DIGEST_SIZE];
    if (prev.size > 0) {
        memcpy(bytes, prev.data, prev.size);
    }
    event->prev_hash = (ProtobufCBinaryData){prev.size, bytes};
    event->hash = (ProtobufCBinaryData){0, NULL};
    saga_buf_clear(out);
    size_t size = saga__v1__audit_event__get_packed_size(event);
    assert_int_equal(saga_buf_reserve(out, size + 64), SAGA_ERR_OK);
    out->size = saga__v1__audit_event__pack(event, out->data);
    saga_digest(saga_buf_view(out), hash);
    event->hash = (ProtobufCBinaryData){SAGA_DIGEST_SIZE, hash};
    saga_buf_clear(out);
    out->size = saga__v1__audit_event__pack(event, out->data);
    event->prev_hash = old_prev;
    event->hash = old_hash;
}

void drive_rewrite(struct drive *drive, size_t saga, uint64_t seq,
                   void (*change)(Saga__V1__AuditEvent *event))
{
    struct saga_bytes id = {drive->ids[saga].b, SAGA_ID_SIZE};
    struct saga_sql *sql = open_file(drive);
    struct saga_buf packed = {0};
    uint8_t hash[SAGA_DIGEST_SIZE];
    uint8_t prev[SAGA_DIGEST_SIZE];
    for (uint64_t at = seq;; at++) {
        struct saga_sql_stmt *find =
            prepare(sql, "SELECT event FROM audit WHERE saga_id = ?1 AND seq = ?2");
        saga_sql_bind_bytes(find, 1, id);
        saga_sql_bind_int(find, 2, (int64_t)at);
        bool there = false;
        assert_int_equal(saga_sql_step(find, &there, NULL), SAGA_ERR_OK);
        if (!there) {
            assert_true(at > seq);
            break;
        }
        struct saga_bytes bytes = saga_sql_bytes(find, 0);
        Saga__V1__AuditEvent *event = saga__v1__audit_event__unpack(NULL, bytes.size, bytes.data);
        assert_non_null(event);
        saga_sql_reset(find);
        struct saga_bytes before = {event->prev_hash.data, event->prev_hash.len};
        if (at == seq) {
            change(event);
        } else {
            memcpy(prev, hash, sizeof prev);
            before = (struct saga_bytes){prev, sizeof prev};
        }
        pack(event, before, &packed, hash);
        saga__v1__audit_event__free_unpacked(event, NULL);
        struct saga_sql_stmt *put =
            prepare(sql, "UPDATE audit SET event = ?3 WHERE saga_id = ?1 AND seq = ?2");
        saga_sql_bind_bytes(put, 1, id);
        saga_sql_bind_int(put, 2, (int64_t)at);
        saga_sql_bind_bytes(put, 3, saga_buf_view(&packed));
        assert_int_equal(saga_sql_run(put, NULL, NULL), SAGA_ERR_OK);
    }
    struct saga_sql_stmt *row = prepare(sql, "UPDATE saga SET last_hash = ?2 WHERE id = ?1");
    saga_sql_bind_bytes(row, 1, id);
    saga_sql_bind_bytes(row, 2, (struct saga_bytes){hash, sizeof hash});
    assert_int_equal(saga_sql_run(row, NULL, NULL), SAGA_ERR_OK);
    saga_buf_fini(&packed);
    saga_sql_close(sql);
}
