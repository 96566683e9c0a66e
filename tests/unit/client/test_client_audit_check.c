/* The checks of the audit streams: clean streams pass, each violation is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/audit_check.h"
#include "common/wire/envelope.h"
#include "common/wire/schema.h"
#include "descriptor_set.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/runtime/runtime.h"
#include "saga/v1/audit.pb-c.h"

#define STEP(name) SAGA__V1__STEP_STATE__STEP_STATE_##name
#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name
#define KIND(name) SAGA__V1__EVENT_KIND__EVENT_KIND_##name
#define CALL SAGA__V1__OP__OP_CALL
#define UNDO SAGA__V1__OP__OP_UNDO

enum { EVENTS_MAX = 16, EFFECTS_MAX = 8 };

struct world {
    struct saga_audit_check *check;
    struct saga_id id;
    char key[SAGA_ID_TEXT_SIZE];
    uint8_t last_hash[32];
    uint64_t seq;
    bool foreign;         /* events are of a version that the schema does not have */
    struct saga_buf last; /* bytes of the last event */
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->id = saga_id_make(1800000000000, 1, 42);
    saga_id_format(w->id, w->key);
    assert_int_equal(saga_audit_check_new(&(struct saga_audit_config){0}, &w->check), SAGA_ERR_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    saga_audit_check_free(w->check);
    saga_buf_fini(&w->last);
    free(w);
    return 0;
}

/* Makes the check anew. */
static void renew(struct world *w, bool allow_truncated, const struct saga_schema *schema)
{
    struct saga_audit_config config = {.allow_truncated = allow_truncated, .schema = schema};
    saga_audit_check_free(w->check);
    assert_int_equal(saga_audit_check_new(&config, &w->check), SAGA_ERR_OK);
}

/* What an event is to hold; at most one of each. */
struct telling {
    Saga__V1__EventKind kind;
    Saga__V1__SagaState state;
    const char *step; /* that a reply is of */
    Saga__V1__Op op;
    uint32_t code;
    const char *reason;
    const char *decided; /* step of a decision */
    Saga__V1__Op decided_op;
    Saga__V1__Via via; /* of the decision */
    const char *moved; /* step of a move */
    Saga__V1__StepState moved_to;
    Saga__V1__OperatorAct act;
    bool silent; /* an act without a why */
};

static void give(struct world *w)
{
    assert_int_equal(
        saga_audit_check_event(w->check, saga_bytes_text(w->key), saga_buf_view(&w->last)),
        SAGA_ERR_OK);
}

/* Encodes an event as the orchestrator does: chained and hashed. */
static void encode(struct world *w, const struct telling *t)
{
    Saga__V1__AuditEvent event = SAGA__V1__AUDIT_EVENT__INIT;
    Saga__V1__Status status = SAGA__V1__STATUS__INIT;
    Saga__V1__Decision decision = SAGA__V1__DECISION__INIT;
    Saga__V1__Decision *decisions[] = {&decision};
    Saga__V1__Transition transition = SAGA__V1__TRANSITION__INIT;
    Saga__V1__Transition *transitions[] = {&transition};
    event.saga_id = (ProtobufCBinaryData){sizeof w->id.b, w->id.b};
    event.seq = ++w->seq;
    event.definition = (char *)(uintptr_t) "create-order";
    uint8_t version[32] = {0xEE};
    if (w->foreign) {
        event.definition_hash = (ProtobufCBinaryData){sizeof version, version};
    }
    event.kind = t->kind;
    event.state = t->state;
    event.step = (char *)(uintptr_t)(t->step == NULL ? "" : t->step);
    event.op = t->op;
    if (t->code != 0) {
        status.code = t->code;
        status.reason = (char *)(uintptr_t)(t->reason == NULL ? "" : t->reason);
        event.status = &status;
    }
    if (t->decided != NULL) {
        decision.step = (char *)(uintptr_t)t->decided;
        decision.op = t->decided_op;
        decision.attempt = 1;
        decision.via = t->via;
        event.n_decisions = 1;
        event.decisions = decisions;
    }
    if (t->moved != NULL) {
        transition.step = (char *)(uintptr_t)t->moved;
        transition.to = t->moved_to;
        event.n_transitions = 1;
        event.transitions = transitions;
    }
    Saga__V1__Operator who = SAGA__V1__OPERATOR__INIT;
    if (t->act != 0) {
        who.act = t->act;
        who.who = (char *)(uintptr_t) "alice";
        who.why = (char *)(uintptr_t)(t->silent ? "" : "done by hand");
        event.operator_ = &who;
    }
    if (w->seq > 1) {
        event.prev_hash = (ProtobufCBinaryData){sizeof w->last_hash, w->last_hash};
    }
    saga_buf_clear(&w->last);
    assert_int_equal(saga_message_encode(&event.base, &w->last), SAGA_ERR_OK);
    uint8_t hash[32];
    assert_int_equal(saga_audit_hash(saga_buf_view(&w->last), hash), SAGA_ERR_OK);
    event.hash = (ProtobufCBinaryData){sizeof hash, hash};
    saga_buf_clear(&w->last);
    assert_int_equal(saga_message_encode(&event.base, &w->last), SAGA_ERR_OK);
    memcpy(w->last_hash, hash, sizeof hash);
}

static void event(struct world *w, const struct telling *t)
{
    encode(w, t);
    give(w);
}

static void effect(struct world *w, const char *step, Saga__V1__Op op, uint32_t code, bool empty,
                   uint64_t position)
{
    Saga__V1__EffectEvent message = SAGA__V1__EFFECT_EVENT__INIT;
    Saga__V1__Status status = SAGA__V1__STATUS__INIT;
    message.saga_id = (ProtobufCBinaryData){sizeof w->id.b, w->id.b};
    message.service = (char *)(uintptr_t) "product.v1.ProductService";
    message.step = (char *)(uintptr_t)step;
    message.op = op;
    message.position = position;
    message.empty = empty;
    if (code != 0) {
        status.code = code;
        message.status = &status;
    }
    struct saga_buf bytes = {0};
    assert_int_equal(saga_message_encode(&message.base, &bytes), SAGA_ERR_OK);
    assert_int_equal(
        saga_audit_check_effect(w->check, saga_bytes_text(w->key), saga_buf_view(&bytes)),
        SAGA_ERR_OK);
    saga_buf_fini(&bytes);
}

/* The beginning: stock is called. */
static void start(struct world *w)
{
    event(w, &(struct telling){.kind = KIND(START),
                               .state = STATE(RUNNING),
                               .decided = "stock",
                               .decided_op = CALL,
                               .moved = "stock",
                               .moved_to = STEP(CALLED)});
}

/* stock is answered OK, and the saga ends so. */
static void answer(struct world *w, Saga__V1__SagaState state)
{
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = state,
                               .step = "stock",
                               .op = CALL,
                               .moved = "stock",
                               .moved_to = STEP(SUCCEEDED)});
}

/* A saga whose stock was taken and is put back; nothing of it at the participant yet. */
static void compensate(struct world *w)
{
    start(w);
    answer(w, STATE(RUNNING));
    event(w, &(struct telling){.kind = KIND(TIMER),
                               .state = STATE(COMPENSATING),
                               .decided = "stock",
                               .decided_op = UNDO,
                               .moved = "stock",
                               .moved_to = STEP(UNDOING)});
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = STATE(COMPENSATED),
                               .step = "stock",
                               .op = UNDO,
                               .moved = "stock",
                               .moved_to = STEP(UNDONE)});
}

/* Ends the check and asserts that `count` violations of one kind were found, and no other. */
static struct saga_audit_counts assert_only(struct world *w, enum saga_violation violation,
                                            uint64_t count)
{
    struct saga_audit_counts counts = {0};
    saga_audit_check_finish(w->check, &counts);
    for (size_t i = 0; i < SAGA_VIOLATION_COUNT; i++) {
        uint64_t wanted = i == (size_t)violation ? count : 0;
        if (counts.violations[i] != wanted) {
            fail_msg("%s: %u times, not %u", saga_violation_name((enum saga_violation)i),
                     (unsigned)counts.violations[i], (unsigned)wanted);
        }
    }
    return counts;
}

static void test_audit_when_streams_agree_then_no_violation(void **state)
{
    struct world *w = *state;
    compensate(w);
    effect(w, "stock", CALL, 0, false, 1);
    effect(w, "stock", UNDO, 0, false, 2);
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.events, 4);
    assert_int_equal(counts.effects, 2);
    assert_int_equal(counts.sagas, 1);
    assert_int_equal(counts.compensated, 1);
    assert_int_equal(counts.redelivered, 0);
}

static void test_audit_when_records_come_again_then_no_violation(void **state)
{
    struct world *w = *state;
    start(w);
    give(w);
    answer(w, STATE(COMPLETED));
    give(w);
    effect(w, "stock", CALL, 0, false, 1);
    effect(w, "stock", CALL, 0, false, 1);
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.redelivered, 3);
    assert_int_equal(counts.completed, 1);
}

static void test_audit_when_bytes_are_garbage_then_malformed(void **state)
{
    struct world *w = *state;
    struct saga_bytes garbage = {(const uint8_t *)"\xff\xff\xff", 3};
    assert_int_equal(saga_audit_check_event(w->check, saga_bytes_text(w->key), garbage),
                     SAGA_ERR_OK);
    assert_int_equal(saga_audit_check_effect(w->check, saga_bytes_text(w->key), garbage),
                     SAGA_ERR_OK);
    (void)assert_only(w, SAGA_VIOLATION_MALFORMED, 2);
}

static void test_audit_when_key_is_another_saga_then_key(void **state)
{
    struct world *w = *state;
    w->key[0] ^= 1;
    start(w);
    (void)assert_only(w, SAGA_VIOLATION_KEY, 1);
}

static void test_audit_when_an_event_is_missing_then_gap(void **state)
{
    struct world *w = *state;
    start(w);
    encode(w, &(struct telling){.kind = KIND(TIMER), .state = STATE(RUNNING)});
    answer(w, STATE(COMPLETED));
    assert_int_equal(assert_only(w, SAGA_VIOLATION_GAP, 1).beginnings, 0);
}

static void test_audit_when_the_first_event_is_missing_then_gap(void **state)
{
    struct world *w = *state;
    encode(w, &(struct telling){.kind = KIND(START), .state = STATE(RUNNING)});
    answer(w, STATE(COMPLETED));
    assert_int_equal(assert_only(w, SAGA_VIOLATION_GAP, 1).beginnings, 1);
}

static void test_audit_when_truncation_is_allowed_then_counts_it(void **state)
{
    struct world *w = *state;
    renew(w, true, NULL);
    encode(w, &(struct telling){.kind = KIND(START), .state = STATE(RUNNING)});
    answer(w, STATE(COMPLETED));
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.truncated, 1);
}

static void test_audit_when_one_number_has_two_events_then_fork(void **state)
{
    struct world *w = *state;
    start(w);
    answer(w, STATE(COMPLETED));
    effect(w, "stock", CALL, 0, false, 1);
    w->seq = 0;
    encode(w, &(struct telling){.kind = KIND(START), .state = STATE(COMPENSATING)});
    give(w);
    (void)assert_only(w, SAGA_VIOLATION_FORK, 1);
}

static void test_audit_when_an_event_was_changed_then_hash(void **state)
{
    struct world *w = *state;
    encode(w, &(struct telling){.kind = KIND(START), .state = STATE(RUNNING)});
    /* The state's byte: field 15, a varint, behind the kind's. */
    uint8_t *at = memchr(w->last.data + 18, 0x78, w->last.size - 18);
    assert_non_null(at);
    at[1] = (uint8_t)STATE(PARKED);
    give(w);
    (void)assert_only(w, SAGA_VIOLATION_HASH, 1);
}

static void test_audit_when_the_chain_is_broken_then_chain(void **state)
{
    struct world *w = *state;
    start(w);
    w->last_hash[0] ^= 1;
    answer(w, STATE(RUNNING));
    (void)assert_only(w, SAGA_VIOLATION_CHAIN, 1);
}

static void test_audit_when_nobody_decided_an_effect_then_undecided(void **state)
{
    struct world *w = *state;
    start(w);
    effect(w, "payment", CALL, 0, false, 1);
    (void)assert_only(w, SAGA_VIOLATION_UNDECIDED, 1);
}

static void test_audit_when_an_effect_is_of_an_unknown_saga_then_undecided(void **state)
{
    struct world *w = *state;
    effect(w, "payment", CALL, 0, false, 1);
    (void)assert_only(w, SAGA_VIOLATION_UNDECIDED, 1);
}

static void test_audit_when_a_command_has_two_effects_then_twice(void **state)
{
    struct world *w = *state;
    start(w);
    answer(w, STATE(COMPLETED));
    effect(w, "stock", CALL, 0, false, 1);
    effect(w, "stock", CALL, 0, false, 2);
    (void)assert_only(w, SAGA_VIOLATION_TWICE, 1);
}

static void test_audit_when_an_answer_has_no_effect_then_missing(void **state)
{
    struct world *w = *state;
    start(w);
    answer(w, STATE(COMPLETED));
    (void)assert_only(w, SAGA_VIOLATION_MISSING, 1);
}

/* The same story with a child saga for a step: its effects are told under its own id. */
static void test_audit_when_a_step_is_a_saga_then_no_effect_is_missing(void **state)
{
    struct world *w = *state;
    struct telling tale[] = {
        {.kind = KIND(START),
         .state = STATE(RUNNING),
         .decided = "stock",
         .decided_op = CALL,
         .via = SAGA__V1__VIA__VIA_CHILD,
         .moved = "stock",
         .moved_to = STEP(CALLED)},
        {.kind = KIND(REPLY),
         .state = STATE(RUNNING),
         .step = "stock",
         .op = CALL,
         .moved = "stock",
         .moved_to = STEP(SUCCEEDED)},
        {.kind = KIND(TIMER),
         .state = STATE(COMPENSATING),
         .decided = "stock",
         .decided_op = UNDO,
         .via = SAGA__V1__VIA__VIA_CHILD,
         .moved = "stock",
         .moved_to = STEP(UNDOING)},
        {.kind = KIND(REPLY),
         .state = STATE(COMPENSATED),
         .step = "stock",
         .op = UNDO,
         .moved = "stock",
         .moved_to = STEP(UNDONE)},
    };
    for (size_t i = 0; i < sizeof tale / sizeof tale[0]; i++) {
        event(w, &tale[i]);
    }
    (void)assert_only(w, SAGA_VIOLATION_COUNT, 0);
}

static void test_audit_when_the_saga_goes_on_then_the_effect_may_come_later(void **state)
{
    struct world *w = *state;
    start(w);
    answer(w, STATE(RUNNING));
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.open, 1);
}

static void test_audit_when_effect_and_answer_differ_then_differs(void **state)
{
    struct world *w = *state;
    start(w);
    answer(w, STATE(COMPLETED));
    effect(w, "stock", CALL, 9, false, 1);
    (void)assert_only(w, SAGA_VIOLATION_DIFFERS, 1);
}

static void test_audit_when_a_refusal_leaves_no_effect_then_no_violation(void **state)
{
    struct world *w = *state;
    start(w);
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = STATE(COMPENSATED),
                               .step = "stock",
                               .op = CALL,
                               .code = 9,
                               .reason = "SAGA_UNDONE"});
    (void)assert_only(w, SAGA_VIOLATION_COUNT, 0);
}

/* stock is taken, its undo refused, and an operator does `act` about it. */
static void undo_in_vain(struct world *w, Saga__V1__OperatorAct act)
{
    start(w);
    answer(w, STATE(RUNNING));
    effect(w, "stock", CALL, 0, false, 1);
    event(w, &(struct telling){.kind = KIND(TIMER),
                               .state = STATE(COMPENSATING),
                               .decided = "stock",
                               .decided_op = UNDO,
                               .moved = "stock",
                               .moved_to = STEP(UNDOING)});
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = STATE(COMPENSATING),
                               .step = "stock",
                               .op = UNDO,
                               .code = 5,
                               .reason = "UNKNOWN_RESERVATION"});
    event(w, &(struct telling){.kind = act == 0 ? KIND(TIMER) : KIND(OPERATOR),
                               .state = STATE(COMPENSATED),
                               .step = "stock",
                               .act = act,
                               .moved = "stock",
                               .moved_to = STEP(UNDONE)});
}

static void test_audit_when_an_operator_resolves_a_refused_undo_then_no_violation(void **state)
{
    struct world *w = *state;
    undo_in_vain(w, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE);
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.compensated, 1);
}

static void test_audit_when_nobody_resolved_a_refused_undo_then_held(void **state)
{
    struct world *w = *state;
    undo_in_vain(w, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_UNSPECIFIED);
    (void)assert_only(w, SAGA_VIOLATION_HELD, 1);
}

static void test_audit_when_an_undo_is_refused_and_then_succeeds_then_no_violation(void **state)
{
    struct world *w = *state;
    start(w);
    answer(w, STATE(RUNNING));
    effect(w, "stock", CALL, 0, false, 1);
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = STATE(COMPENSATING),
                               .step = "stock",
                               .op = UNDO,
                               .code = 5,
                               .decided = "stock",
                               .decided_op = UNDO});
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = STATE(COMPENSATED),
                               .step = "stock",
                               .op = UNDO,
                               .moved = "stock",
                               .moved_to = STEP(UNDONE)});
    effect(w, "stock", UNDO, 0, false, 2);
    (void)assert_only(w, SAGA_VIOLATION_COUNT, 0);
}

/* The call of stock is refused again and again, and an operator moves the step on. */
static void call_in_vain(struct world *w, Saga__V1__OperatorAct act, Saga__V1__StepState to)
{
    start(w);
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = STATE(RUNNING),
                               .step = "stock",
                               .op = CALL,
                               .code = 5,
                               .reason = "NO_SUCH_THING"});
    event(w, &(struct telling){.kind = act == 0 ? KIND(TIMER) : KIND(OPERATOR),
                               .state = STATE(COMPLETED),
                               .step = "stock",
                               .act = act,
                               .moved = "stock",
                               .moved_to = to});
}

static void test_audit_when_an_operator_resolves_or_skips_a_call_then_no_violation(void **state)
{
    struct world *w = *state;
    call_in_vain(w, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE, STEP(SUCCEEDED));
    w->id.b[15] ^= 1;
    saga_id_format(w->id, w->key);
    w->seq = 0;
    call_in_vain(w, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP, STEP(SKIPPED));
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.completed, 2);
}

static void test_audit_when_an_operator_only_retries_then_the_effect_is_missing(void **state)
{
    struct world *w = *state;
    call_in_vain(w, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY, STEP(SUCCEEDED));
    (void)assert_only(w, SAGA_VIOLATION_MISSING, 1);
}

static void test_audit_when_a_call_acts_after_its_undo_then_forbidden(void **state)
{
    struct world *w = *state;
    compensate(w);
    effect(w, "stock", UNDO, 0, true, 1);
    effect(w, "stock", CALL, 0, false, 2);
    (void)assert_only(w, SAGA_VIOLATION_FORBIDDEN, 1);
}

static void test_audit_when_a_compensated_saga_holds_something_then_held(void **state)
{
    struct world *w = *state;
    start(w);
    event(w, &(struct telling){.kind = KIND(TIMER),
                               .state = STATE(COMPENSATED),
                               .moved = "stock",
                               .moved_to = STEP(UNKNOWN)});
    effect(w, "stock", CALL, 0, false, 1);
    (void)assert_only(w, SAGA_VIOLATION_HELD, 1);
}

static void test_audit_when_a_read_only_step_succeeded_then_nothing_is_held(void **state)
{
    struct world *w = *state;
    start(w);
    answer(w, STATE(COMPENSATED));
    effect(w, "stock", CALL, 0, false, 1);
    (void)assert_only(w, SAGA_VIOLATION_COUNT, 0);
}

/* What follows is of another saga. */
static void next_saga(struct world *w)
{
    w->id.b[15] += 1;
    saga_id_format(w->id, w->key);
    w->seq = 0;
}

static void test_audit_when_a_method_has_no_side_effects_then_nothing_is_missing(void **state)
{
    struct world *w = *state;
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {{0}};
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    assert_int_equal(saga_schema_load(set, &schema, &detail), SAGA_ERR_OK);
    renew(w, false, schema);
    event(w, &(struct telling){.kind = KIND(START),
                               .state = STATE(RUNNING),
                               .decided = "customer",
                               .decided_op = CALL,
                               .moved = "customer",
                               .moved_to = STEP(CALLED)});
    event(w, &(struct telling){.kind = KIND(REPLY),
                               .state = STATE(COMPLETED),
                               .step = "customer",
                               .op = CALL,
                               .decided = "stock",
                               .decided_op = CALL});
    (void)assert_only(w, SAGA_VIOLATION_COUNT, 0);
    next_saga(w);
    start(w);
    answer(w, STATE(COMPLETED));
    assert_int_equal(assert_only(w, SAGA_VIOLATION_MISSING, 1).not_judged, 0);
    /* Of a version that nobody has it may be a read-only step. Each end counts those before. */
    next_saga(w);
    w->foreign = true;
    start(w);
    answer(w, STATE(COMPLETED));
    assert_int_equal(assert_only(w, SAGA_VIOLATION_MISSING, 2).not_judged, 1);
    next_saga(w);
    compensate(w); /* an undo always leaves an effect */
    assert_int_equal(assert_only(w, SAGA_VIOLATION_MISSING, 4).not_judged, 3);
    saga_schema_free(schema);
}

static void test_audit_when_truncation_is_allowed_then_effects_may_be_gone(void **state)
{
    struct world *w = *state;
    renew(w, true, NULL);
    start(w);
    answer(w, STATE(COMPLETED));
    (void)assert_only(w, SAGA_VIOLATION_COUNT, 0);
}

static void test_audit_when_there_are_many_sagas_then_each_is_kept(void **state)
{
    struct world *w = *state;
    enum { MANY = 5000 };
    for (unsigned i = 0; i < MANY; i++) {
        w->id = saga_id_make(1800000000000 + i, 0, i);
        saga_id_format(w->id, w->key);
        w->seq = 0;
        start(w);
        answer(w, STATE(COMPLETED));
        effect(w, "stock", CALL, 0, false, i + 1);
    }
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.sagas, MANY);
    assert_int_equal(counts.completed, MANY);
}

static void test_hash_when_bytes_are_cut_then_malformed(void **state)
{
    struct world *w = *state;
    uint8_t hash[32];
    encode(w, &(struct telling){.kind = KIND(START), .state = STATE(RUNNING)});
    struct saga_bytes cut = {w->last.data, w->last.size - 1};
    assert_int_equal(saga_audit_hash(cut, hash), SAGA_ERR_MALFORMED);
}

/* ---- Acts on definitions ---- */

#define ACT(name) SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_##name

/* What comes is of the stream of create-order. */
static void be_definition(struct world *w)
{
    w->id = saga_runtime_pause_stream(saga_codec_port(), "create-order");
    saga_id_format(w->id, w->key);
}

static void act(struct world *w, Saga__V1__OperatorAct what)
{
    event(w, &(struct telling){.kind = KIND(OPERATOR), .act = what});
}

static void test_audit_when_a_definition_is_paused_and_goes_on_then_no_violation(void **state)
{
    struct world *w = *state;
    be_definition(w);
    act(w, ACT(PAUSE));
    act(w, ACT(RESUME));
    act(w, ACT(PAUSE));
    give(w); /* again */
    struct saga_audit_counts counts = assert_only(w, SAGA_VIOLATION_COUNT, 0);
    assert_int_equal(counts.definitions, 1);
    assert_int_equal(counts.sagas, 0);
    assert_int_equal(counts.open, 0);
    assert_int_equal(counts.redelivered, 1);
}

static void test_audit_when_a_definition_goes_on_unpaused_then_act(void **state)
{
    struct world *w = *state;
    be_definition(w);
    act(w, ACT(RESUME));
    (void)assert_only(w, SAGA_VIOLATION_ACT, 1);
}

static void test_audit_when_a_definition_is_paused_twice_then_act(void **state)
{
    struct world *w = *state;
    be_definition(w);
    act(w, ACT(PAUSE));
    act(w, ACT(PAUSE));
    (void)assert_only(w, SAGA_VIOLATION_ACT, 1);
}

static void test_audit_when_a_definition_is_applied_and_removed_then_no_violation(void **state)
{
    struct world *w = *state;
    static const Saga__V1__OperatorAct acts[] = {ACT(APPLY),  ACT(APPLY), ACT(PAUSE),  ACT(APPLY),
                                                 ACT(REMOVE), ACT(APPLY), ACT(RESUME), ACT(REMOVE)};
    be_definition(w);
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        act(w, acts[i]);
    }
    assert_int_equal(assert_only(w, SAGA_VIOLATION_COUNT, 0).definitions, 1);
}

static void test_audit_when_a_definition_is_removed_twice_then_act(void **state)
{
    struct world *w = *state;
    be_definition(w);
    act(w, ACT(REMOVE));
    act(w, ACT(PAUSE));
    act(w, ACT(REMOVE));
    (void)assert_only(w, SAGA_VIOLATION_ACT, 1);
}

static void test_audit_when_a_pause_stands_under_another_id_then_act(void **state)
{
    struct world *w = *state;
    act(w, ACT(PAUSE));
    (void)assert_only(w, SAGA_VIOLATION_ACT, 1);
}

static void test_audit_when_an_act_tells_no_reason_then_act(void **state)
{
    struct world *w = *state;
    start(w);
    event(w,
          &(struct telling){
              .kind = KIND(OPERATOR), .state = STATE(RUNNING), .act = ACT(RETRY), .silent = true});
    (void)assert_only(w, SAGA_VIOLATION_ACT, 1);
}

static void test_audit_when_an_act_on_a_definition_is_missing_then_gap(void **state)
{
    struct world *w = *state;
    be_definition(w);
    act(w, ACT(PAUSE));
    encode(w, &(struct telling){.kind = KIND(OPERATOR), .act = ACT(RESUME)});
    act(w, ACT(PAUSE));
    struct saga_audit_counts counts = {0};
    saga_audit_check_finish(w->check, &counts);
    assert_int_equal(counts.violations[SAGA_VIOLATION_GAP], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_audit_when_streams_agree_then_no_violation),
        TEST(test_audit_when_a_definition_is_paused_and_goes_on_then_no_violation),
        TEST(test_audit_when_a_definition_goes_on_unpaused_then_act),
        TEST(test_audit_when_a_definition_is_paused_twice_then_act),
        TEST(test_audit_when_a_definition_is_applied_and_removed_then_no_violation),
        TEST(test_audit_when_a_definition_is_removed_twice_then_act),
        TEST(test_audit_when_a_pause_stands_under_another_id_then_act),
        TEST(test_audit_when_an_act_tells_no_reason_then_act),
        TEST(test_audit_when_an_act_on_a_definition_is_missing_then_gap),
        TEST(test_audit_when_records_come_again_then_no_violation),
        TEST(test_audit_when_bytes_are_garbage_then_malformed),
        TEST(test_audit_when_key_is_another_saga_then_key),
        TEST(test_audit_when_an_event_is_missing_then_gap),
        TEST(test_audit_when_the_first_event_is_missing_then_gap),
        TEST(test_audit_when_truncation_is_allowed_then_counts_it),
        TEST(test_audit_when_one_number_has_two_events_then_fork),
        TEST(test_audit_when_an_event_was_changed_then_hash),
        TEST(test_audit_when_the_chain_is_broken_then_chain),
        TEST(test_audit_when_nobody_decided_an_effect_then_undecided),
        TEST(test_audit_when_an_effect_is_of_an_unknown_saga_then_undecided),
        TEST(test_audit_when_a_command_has_two_effects_then_twice),
        TEST(test_audit_when_an_answer_has_no_effect_then_missing),
        TEST(test_audit_when_a_step_is_a_saga_then_no_effect_is_missing),
        TEST(test_audit_when_the_saga_goes_on_then_the_effect_may_come_later),
        TEST(test_audit_when_effect_and_answer_differ_then_differs),
        TEST(test_audit_when_a_refusal_leaves_no_effect_then_no_violation),
        TEST(test_audit_when_an_operator_resolves_a_refused_undo_then_no_violation),
        TEST(test_audit_when_nobody_resolved_a_refused_undo_then_held),
        TEST(test_audit_when_an_undo_is_refused_and_then_succeeds_then_no_violation),
        TEST(test_audit_when_an_operator_resolves_or_skips_a_call_then_no_violation),
        TEST(test_audit_when_an_operator_only_retries_then_the_effect_is_missing),
        TEST(test_audit_when_a_call_acts_after_its_undo_then_forbidden),
        TEST(test_audit_when_a_compensated_saga_holds_something_then_held),
        TEST(test_audit_when_a_read_only_step_succeeded_then_nothing_is_held),
        TEST(test_audit_when_a_method_has_no_side_effects_then_nothing_is_missing),
        TEST(test_audit_when_truncation_is_allowed_then_effects_may_be_gone),
        TEST(test_audit_when_there_are_many_sagas_then_each_is_kept),
        TEST(test_hash_when_bytes_are_cut_then_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
