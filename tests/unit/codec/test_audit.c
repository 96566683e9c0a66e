/* Audit events: what is written, and that the engine can be run again from it (S7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "saga/v1/audit.pb-c.h"
#include "tests/unit/codec/suites.h"
#include "tests/unit/codec/walk.h"

enum { EVENTS_MAX = 512 };

/* The log of one saga. */
struct log {
    const struct saga_version *version;
    struct saga_buf events[EVENTS_MAX];
    struct saga_buf states[EVENTS_MAX];
    size_t count;
    uint8_t last_hash[SAGA_DIGEST_SIZE];
};

static const struct saga_texts no_texts = {"", "", "", "", {{0}}};

static struct saga_audit_input input_of(const struct log *log, const struct saga_event *ev,
                                        const struct saga *saga, const struct saga_update *up)
{
    return (struct saga_audit_input){
        .version = log->version,
        .saga = saga,
        .ev = ev,
        .up = up,
        .reason = ev->key_reused  ? "KEY_REUSED"
                  : ev->code != 0 ? "SOME_REASON"
                                  : "",
        .message = ev->code != 0 ? "some message" : "",
        .payload = saga_bytes_text(ev->kind == SAGA_EVENT_START ? "the context" : "the reply"),
        .who = ev->kind == SAGA_EVENT_OPERATOR ? "ann" : "",
        .why = ev->kind == SAGA_EVENT_OPERATOR ? "because" : "",
        .start_key = "order-1",
        .parent_step = "goods",
        .parent_id = {{9}},
        .prev_hash = log->last_hash,
    };
}

static void record_event(void *user, const struct saga_event *ev, const struct saga *saga,
                         const struct saga_update *up)
{
    struct log *log = user;
    assert_true(log->count < EVENTS_MAX);
    struct saga_audit_input in = input_of(log, ev, saga, up);
    /* The same memory for both hashes, as the runtime does it. */
    assert_int_equal(saga_audit_encode(&in, &log->events[log->count], log->last_hash), SAGA_ERR_OK);
    assert_int_equal(saga_record_encode(saga, &no_texts, &log->states[log->count]), SAGA_ERR_OK);
    log->count++;
}

static void log_clear(struct log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        saga_buf_fini(&log->events[i]);
        saga_buf_fini(&log->states[i]);
    }
    log->count = 0;
}

static Saga__V1__AuditEvent *unpack(const struct saga_buf *buf)
{
    Saga__V1__AuditEvent *audit = saga__v1__audit_event__unpack(NULL, buf->size, buf->data);
    assert_non_null(audit);
    return audit;
}

static void free_audit(Saga__V1__AuditEvent *audit)
{
    saga__v1__audit_event__free_unpacked(audit, NULL);
}

/* ---- Replay ---- */

static void assert_same_decisions(const Saga__V1__AuditEvent *audit, const struct log *log,
                                  const struct saga_update *up)
{
    assert_int_equal(audit->n_transitions, up->move_count);
    for (size_t i = 0; i < audit->n_transitions; i++) {
        assert_string_equal(audit->transitions[i]->step,
                            log->version->step_names[up->moves[i].step]);
        assert_int_equal(audit->transitions[i]->from, up->moves[i].from);
        assert_int_equal(audit->transitions[i]->to, up->moves[i].to);
    }
    assert_int_equal(audit->n_decisions, up->send_count);
    for (size_t i = 0; i < audit->n_decisions; i++) {
        assert_string_equal(audit->decisions[i]->step, log->version->step_names[up->sends[i].step]);
        assert_int_equal(audit->decisions[i]->op, up->sends[i].op);
        assert_int_equal(audit->decisions[i]->attempt, up->sends[i].attempt);
        assert_int_equal(audit->decisions[i]->via, up->sends[i].via);
    }
}

static void replay(const struct log *log)
{
    struct saga saga = {0};
    static struct saga_update up;
    for (size_t i = 0; i < log->count; i++) {
        struct saga_event ev;
        struct saga_err_detail detail = {.text = ""};
        struct saga_buf state = {0};
        Saga__V1__AuditEvent *audit = unpack(&log->events[i]);
        if (saga_event_from_audit(audit, log->version, &ev, &detail) != SAGA_ERR_OK) {
            fail_msg("%s", detail.text);
        }
        saga_step(&log->version->def, &saga, &ev, &up);
        assert_int_equal(up.verdict, SAGA_VERDICT_TAKEN);
        assert_int_equal(audit->seq, saga.seq);
        assert_int_equal(audit->state, saga.state);
        assert_same_decisions(audit, log, &up);
        assert_int_equal(saga_record_encode(&saga, &no_texts, &state), SAGA_ERR_OK);
        assert_true(saga_bytes_equal(saga_buf_view(&state), saga_buf_view(&log->states[i])));
        saga_buf_fini(&state);
        free_audit(audit);
    }
}

static void replay_walks(const char *name, uint64_t seeds)
{
    static struct log log;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, name);
    size_t ended[SAGA_STATE_PARKED + 1] = {0};
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        log = (struct log){.version = &version};
        walk_saga(&version, seed, record_event, &log);
        replay(&log);
        Saga__V1__AuditEvent *last = unpack(&log.events[log.count - 1]);
        ended[last->state]++;
        free_audit(last);
        log_clear(&log);
    }
    assert_true(ended[SAGA_STATE_COMPLETED] > 10); /* both ends were seen */
    assert_true(ended[SAGA_STATE_COMPENSATED] > 10);
    saga_schema_free(schema);
}

static void test_replay_when_the_log_is_given_to_the_engine_then_same_states(void **state)
{
    (void)state;
    replay_walks("create-order", 500);
    replay_walks("create-order-async", 300);
}

/* ---- The chain and the form ---- */

static void test_chain_when_verified_then_each_hash_is_of_its_event(void **state)
{
    (void)state;
    static struct log log;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    log = (struct log){.version = &version};
    walk_saga(&version, 7, record_event, &log);
    assert_true(log.count > 5);
    uint8_t prev[SAGA_DIGEST_SIZE] = {0};
    for (size_t i = 0; i < log.count; i++) {
        uint8_t hash[SAGA_DIGEST_SIZE];
        struct saga_buf *buf = &log.events[i];
        Saga__V1__AuditEvent *audit = unpack(buf);
        assert_int_equal(saga_audit_verify(saga_buf_view(buf), hash), SAGA_ERR_OK);
        assert_int_equal(audit->hash.len, SAGA_DIGEST_SIZE);
        assert_memory_equal(audit->hash.data, hash, SAGA_DIGEST_SIZE);
        assert_int_equal(audit->seq, i + 1);
        assert_int_equal(audit->prev_hash.len, i == 0 ? 0 : SAGA_DIGEST_SIZE);
        assert_string_equal(audit->parent_step, i == 0 ? "goods" : ""); /* START alone */
        assert_int_equal(audit->parent_saga_id.len, i == 0 ? SAGA_ID_SIZE : 0);
        assert_true(i == 0 || memcmp(audit->prev_hash.data, prev, SAGA_DIGEST_SIZE) == 0);
        memcpy(prev, hash, SAGA_DIGEST_SIZE);
        free_audit(audit);
        buf->data[buf->size / 2] ^= 1;
        assert_int_equal(saga_audit_verify(saga_buf_view(buf), hash), SAGA_ERR_CORRUPT);
        buf->size = 10;
        assert_int_equal(saga_audit_verify(saga_buf_view(buf), hash), SAGA_ERR_CORRUPT);
    }
    assert_memory_equal(prev, log.last_hash, SAGA_DIGEST_SIZE);
    log_clear(&log);
    saga_schema_free(schema);
}

static void test_event_when_decoded_and_packed_again_then_same_bytes(void **state)
{
    (void)state;
    static struct log log;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    for (uint64_t seed = 1; seed <= 50; seed++) {
        log = (struct log){.version = &version};
        walk_saga(&version, seed, record_event, &log);
        for (size_t i = 0; i < log.count; i++) {
            Saga__V1__AuditEvent *audit = unpack(&log.events[i]);
            size_t size = saga__v1__audit_event__get_packed_size(audit);
            assert_int_equal(size, log.events[i].size);
            uint8_t *packed = malloc(size);
            assert_non_null(packed);
            (void)saga__v1__audit_event__pack(audit, packed);
            assert_memory_equal(packed, log.events[i].data, size);
            free(packed);
            free_audit(audit);
        }
        log_clear(&log);
    }
    saga_schema_free(schema);
}

/* Encodes one event and decodes it. */
static Saga__V1__AuditEvent *encode_one(const struct saga_audit_input *in)
{
    struct saga_buf buf = {0};
    uint8_t hash[SAGA_DIGEST_SIZE];
    assert_int_equal(saga_audit_encode(in, &buf, hash), SAGA_ERR_OK);
    Saga__V1__AuditEvent *audit = unpack(&buf);
    saga_buf_fini(&buf);
    return audit;
}

static void test_event_when_everything_is_set_then_all_fields_are_written(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    const struct log log = {.version = &version};
    struct saga saga = {
        .state = SAGA_STATE_COMPENSATING,
        .cause = SAGA_CAUSE_STEP,
        .cause_step = 4,
        .cause_code = 9,
        .step_count = 7,
        .seq = 12,
    };
    struct saga_event ev = {
        .kind = SAGA_EVENT_REPLY,
        .now_unix_ms = 1700000000123,
        .step = 4,
        .op = SAGA_OP_CALL,
        .attempt = 3,
        .code = 9,
        .retry_after_ms = 250,
        .not_sent = true,
        .when_mask = 5,
    };
    static struct saga_update up;
    up = (struct saga_update){.move_count = 1, .send_count = 1, .cause_set = true};
    up.moves[0] = (struct saga_move){.step = 4, .from = SAGA_STEP_CALLED, .to = SAGA_STEP_REJECTED};
    up.sends[0] =
        (struct saga_send){.step = 3, .op = SAGA_OP_UNDO, .via = SAGA_VIA_KAFKA, .attempt = 1};
    memset(saga.id.b, 0x11, SAGA_ID_SIZE);
    struct saga_audit_input in = input_of(&log, &ev, &saga, &up);
    in.reason = "PAYMENT_DECLINED";
    in.message = "not enough money";
    in.replayed = true;
    in.empty = true;
    Saga__V1__AuditEvent *audit = encode_one(&in);
    assert_memory_equal(audit->saga_id.data, saga.id.b, SAGA_ID_SIZE);
    assert_int_equal(audit->seq, 12);
    assert_int_equal(audit->time_unix_ms, 1700000000123);
    assert_string_equal(audit->definition, "create-order");
    assert_memory_equal(audit->definition_hash.data, version.hash, SAGA_DIGEST_SIZE);
    assert_int_equal(audit->kind, SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY);
    assert_string_equal(audit->step, "payment");
    assert_int_equal(audit->op, SAGA__V1__OP__OP_CALL);
    assert_int_equal(audit->status->code, 9);
    assert_string_equal(audit->status->reason, "PAYMENT_DECLINED");
    assert_string_equal(audit->status->message, "not enough money");
    assert_int_equal(audit->status->retry_after_ms, 250);
    assert_int_equal(audit->payload.len, strlen("the reply"));
    assert_int_equal(audit->attempt, 3);
    assert_true(audit->replayed && audit->empty && audit->not_sent);
    assert_int_equal(audit->state, SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATING);
    assert_string_equal(audit->transitions[0]->step, "payment");
    assert_string_equal(audit->decisions[0]->step, "ticket");
    assert_string_equal(audit->cause->step, "payment");
    assert_string_equal(audit->cause->status->reason, "PAYMENT_DECLINED");
    assert_int_equal(audit->when_mask, 5);
    assert_int_equal(audit->prev_hash.len, SAGA_DIGEST_SIZE);
    assert_null(audit->operator_);
    assert_string_equal(audit->start_key, "");
    free_audit(audit);
    saga_schema_free(schema);
}

static void test_event_when_texts_are_long_or_not_utf8_then_within_the_schema(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    const struct log log = {.version = &version};
    struct saga saga = {
        .state = SAGA_STATE_RUNNING, .cause_step = SAGA_STEP_ALL, .step_count = 7, .seq = 2};
    struct saga_event ev = {
        .kind = SAGA_EVENT_OPERATOR, .act = SAGA_ACT_RETRY, .step = SAGA_STEP_ALL};
    static struct saga_update up;
    up = (struct saga_update){.verdict = SAGA_VERDICT_TAKEN};
    char why[1000];
    memset(why, 'y', sizeof why);
    why[sizeof why - 1] = '\0';
    struct saga_audit_input in = input_of(&log, &ev, &saga, &up);
    in.who = "\xff\xfe";
    in.why = why;
    Saga__V1__AuditEvent *audit = encode_one(&in);
    assert_string_equal(audit->operator_->who, "(not UTF-8)");
    assert_int_equal(strlen(audit->operator_->why), SAGA_WHY_MAX);
    assert_int_equal(audit->operator_->act, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY);
    assert_string_equal(audit->step, "");
    free_audit(audit);
    saga_schema_free(schema);
}

static void test_replay_when_an_event_cannot_be_then_refused_with_its_field(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    struct saga_event ev;
    struct saga_err_detail detail = {.text = ""};
    uint8_t id[SAGA_ID_SIZE] = {1};
    uint8_t other[SAGA_DIGEST_SIZE] = {2};
    char nowhere[] = "nowhere";
    Saga__V1__AuditEvent audit = SAGA__V1__AUDIT_EVENT__INIT;
    assert_int_equal(saga_event_from_audit(&audit, &version, &ev, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "saga_id"));
    audit.saga_id = (ProtobufCBinaryData){.data = id, .len = sizeof id};
    audit.definition_hash = (ProtobufCBinaryData){.data = other, .len = sizeof other};
    assert_int_equal(saga_event_from_audit(&audit, &version, &ev, &detail), SAGA_ERR_CONFLICT);
    audit.definition_hash.data = version.hash;
    assert_int_equal(saga_event_from_audit(&audit, &version, &ev, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "kind"));
    audit.kind = SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY;
    assert_int_equal(saga_event_from_audit(&audit, &version, &ev, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "op"));
    audit.step = nowhere;
    assert_int_equal(saga_event_from_audit(&audit, &version, &ev, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "nowhere"));
    audit.kind = SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR;
    audit.step = nowhere + 7;
    assert_int_equal(saga_event_from_audit(&audit, &version, &ev, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "operator"));
    saga_schema_free(schema);
}

int audit_tests(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_when_the_log_is_given_to_the_engine_then_same_states),
        cmocka_unit_test(test_chain_when_verified_then_each_hash_is_of_its_event),
        cmocka_unit_test(test_event_when_decoded_and_packed_again_then_same_bytes),
        cmocka_unit_test(test_event_when_everything_is_set_then_all_fields_are_written),
        cmocka_unit_test(test_event_when_texts_are_long_or_not_utf8_then_within_the_schema),
        cmocka_unit_test(test_replay_when_an_event_cannot_be_then_refused_with_its_field),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
