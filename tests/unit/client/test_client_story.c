/* The story of a saga, told from events made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/story.h"

enum { EVENTS_MAX = 32, MOVES_MAX = 8 };

/* An event with room for what it holds. */
struct room {
    Saga__V1__AuditEvent event;
    Saga__V1__Status status;
    Saga__V1__Failure cause;
    Saga__V1__Status cause_status;
    Saga__V1__Operator operator_;
    Saga__V1__Transition moves[MOVES_MAX];
    Saga__V1__Transition *move_list[MOVES_MAX];
    Saga__V1__Decision decisions[MOVES_MAX];
    Saga__V1__Decision *decision_list[MOVES_MAX];
};

struct tale {
    struct room rooms[EVENTS_MAX];
    Saga__V1__AuditEvent *events[EVENTS_MAX];
    size_t count;
    uint8_t id[16];
};

#define STEP(name) SAGA__V1__STEP_STATE__STEP_STATE_##name
#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name
#define KIND(name) SAGA__V1__EVENT_KIND__EVENT_KIND_##name

static char definition[] = "create-order";
static char key[] = "17";

static struct room *add(struct tale *tale, int64_t at_ms, Saga__V1__EventKind kind,
                        Saga__V1__SagaState state)
{
    struct room *room = &tale->rooms[tale->count];
    saga__v1__audit_event__init(&room->event);
    room->event.saga_id = (ProtobufCBinaryData){sizeof tale->id, tale->id};
    room->event.seq = tale->count + 1;
    room->event.time_unix_ms = INT64_C(1800000000000) + at_ms;
    room->event.definition = definition;
    room->event.kind = kind;
    room->event.state = state;
    room->event.transitions = room->move_list;
    room->event.decisions = room->decision_list;
    if (kind == KIND(START)) {
        room->event.start_key = key;
    }
    tale->events[tale->count++] = &room->event;
    return room;
}

static void move(struct room *room, const char *step, Saga__V1__StepState from,
                 Saga__V1__StepState to)
{
    Saga__V1__Transition *made = &room->moves[room->event.n_transitions];
    saga__v1__transition__init(made);
    made->step = (char *)(uintptr_t)step;
    made->from = from;
    made->to = to;
    room->move_list[room->event.n_transitions++] = made;
}

static void decide(struct room *room, const char *step, Saga__V1__Op op, uint32_t attempt)
{
    Saga__V1__Decision *made = &room->decisions[room->event.n_decisions];
    saga__v1__decision__init(made);
    made->step = (char *)(uintptr_t)step;
    made->op = op;
    made->attempt = attempt;
    room->decision_list[room->event.n_decisions++] = made;
}

static void by_kafka(struct room *room)
{
    room->decisions[room->event.n_decisions - 1].via = SAGA__V1__VIA__VIA_KAFKA;
}

static void operate(struct room *room, Saga__V1__OperatorAct act, const char *why)
{
    saga__v1__operator__init(&room->operator_);
    room->operator_.act = act;
    room->operator_.who = (char *)(uintptr_t) "alice";
    room->operator_.why = (char *)(uintptr_t)why;
    room->event.operator_ = &room->operator_;
}

static void set_status(Saga__V1__Status *status, uint32_t code, const char *reason,
                       const char *message)
{
    saga__v1__status__init(status);
    status->code = code;
    status->reason = (char *)(uintptr_t)reason;
    status->message = (char *)(uintptr_t)message;
}

static void reply(struct room *room, const char *step, Saga__V1__Op op)
{
    room->event.step = (char *)(uintptr_t)step;
    room->event.op = op;
}

static void refuse(struct room *room, uint32_t code, const char *reason, const char *message)
{
    set_status(&room->status, code, reason, message);
    room->event.status = &room->status;
}

static void blame(struct room *room, const char *step, uint32_t code, const char *reason)
{
    saga__v1__failure__init(&room->cause);
    set_status(&room->cause_status, code, reason, "");
    room->cause.step = (char *)(uintptr_t)step;
    room->cause.status = &room->cause_status;
    room->event.cause = &room->cause;
}

#define CALL SAGA__V1__OP__OP_CALL
#define UNDO SAGA__V1__OP__OP_UNDO

/* customer and stock go out together; both succeed; then a step is called. */
static void begin(struct tale *tale)
{
    memset(tale, 0, sizeof *tale);
    for (size_t i = 0; i < sizeof tale->id; i++) {
        tale->id[i] = (uint8_t)i;
    }
    struct room *start = add(tale, 0, KIND(START), STATE(RUNNING));
    move(start, "order", STEP(WAITING), STEP(SUCCEEDED));
    move(start, "customer", STEP(WAITING), STEP(CALLED));
    move(start, "stock", STEP(WAITING), STEP(CALLED));
    decide(start, "customer", CALL, 1);
    decide(start, "stock", CALL, 1);
    struct room *customer = add(tale, 4, KIND(REPLY), STATE(RUNNING));
    reply(customer, "customer", CALL);
    move(customer, "customer", STEP(CALLED), STEP(SUCCEEDED));
    struct room *stock = add(tale, 6, KIND(REPLY), STATE(RUNNING));
    reply(stock, "stock", CALL);
    move(stock, "stock", STEP(CALLED), STEP(SUCCEEDED));
    move(stock, "payment", STEP(WAITING), STEP(CALLED));
    decide(stock, "payment", CALL, 1);
}

static char *tell(struct tale *tale, const char *next_action, size_t width)
{
    Saga__V1__SagaView view = SAGA__V1__SAGA_VIEW__INIT;
    view.next_action = (char *)(uintptr_t)next_action;
    struct saga_story story = {
        .saga = &view,
        .events = tale->events,
        .event_count = tale->count,
        .now_unix_ms = INT64_C(1800000000000) + 9000,
        .width = width,
    };
    struct saga_buf out = {0};
    assert_int_equal(saga_story_tell(&story, &out), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&out, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    return (char *)out.data;
}

static void assert_tells(const char *story, const char *part)
{
    if (strstr(story, part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, story);
    }
}

static void test_story_when_all_succeed_then_tells_parallel_calls_and_end(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *end = add(&tale, 12, KIND(REPLY), STATE(COMPLETED));
    reply(end, "payment", CALL);
    move(end, "payment", STEP(CALLED), STEP(SUCCEEDED));
    char *story = tell(&tale, "", 0);
    assert_string_equal(
        story, "Saga 00010203-0405-0607-0809-0a0b0c0d0e0f (create-order, key 17) started at "
               "2027-01-15T08:00:00.000Z. Steps customer and stock were called at the same time: "
               "customer succeeded after 4 ms, and stock succeeded after 6 ms. Then payment "
               "succeeded after 6 ms. It ended COMPLETED after 12 ms.\n");
    free(story);
}

static void test_story_when_a_step_says_no_then_tells_who_why_and_the_undos(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *no = add(&tale, 13, KIND(REPLY), STATE(COMPENSATING));
    reply(no, "payment", CALL);
    refuse(no, 9, "PAYMENT_DECLINED", "balance 100, wanted 1250");
    blame(no, "payment", 9, "PAYMENT_DECLINED");
    move(no, "payment", STEP(CALLED), STEP(REJECTED));
    move(no, "stock", STEP(SUCCEEDED), STEP(UNDOING));
    decide(no, "stock", UNDO, 1);
    struct room *undone = add(&tale, 33, KIND(REPLY), STATE(COMPENSATING));
    reply(undone, "stock", UNDO);
    move(undone, "stock", STEP(UNDOING), STEP(UNDONE));
    move(undone, "order", STEP(SUCCEEDED), STEP(UNDOING));
    decide(undone, "order", UNDO, 1);
    decide(undone, "order", UNDO, 2);
    struct room *end = add(&tale, 45, KIND(REPLY), STATE(COMPENSATED));
    reply(end, "order", UNDO);
    end->event.empty = 1;
    move(end, "order", STEP(UNDOING), STEP(UNDONE));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "Then payment said no after 7 ms: FAILED_PRECONDITION, PAYMENT_DECLINED "
                        "(balance 100, wanted 1250).");
    assert_tells(story, "Because payment failed with PAYMENT_DECLINED, the saga turned back after "
                        "13 ms and undid stock (20 ms), then order (12 ms, there was nothing to "
                        "undo, 2 attempts).");
    assert_tells(story, "It ended COMPENSATED after 45 ms: nothing is held for it.");
    free(story);
}

static void test_story_when_undos_go_out_together_then_tells_so(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *no = add(&tale, 13, KIND(REPLY), STATE(COMPENSATING));
    reply(no, "payment", CALL);
    refuse(no, 9, "NO", "");
    move(no, "payment", STEP(CALLED), STEP(REJECTED));
    move(no, "stock", STEP(SUCCEEDED), STEP(UNDOING));
    move(no, "order", STEP(SUCCEEDED), STEP(UNDOING));
    struct room *end = add(&tale, 20, KIND(REPLY), STATE(COMPENSATED));
    move(end, "stock", STEP(UNDOING), STEP(UNDONE));
    move(end, "order", STEP(UNDOING), STEP(UNDONE));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "and undid order (7 ms) and stock (7 ms) at the same time.");
    free(story);
}

static void test_story_when_it_waits_then_tells_for_what_and_what_to_do(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *late = add(&tale, 5006, KIND(TIMER), STATE(RUNNING));
    decide(late, "payment", CALL, 2);
    struct room *late_reply = add(&tale, 5006, KIND(REPLY), STATE(RUNNING));
    reply(late_reply, "payment", CALL);
    refuse(late_reply, 14, "", "nobody listens");
    char *story = tell(&tale, "start paymentd", 0);
    assert_tells(story, "Then payment has not succeeded after 2 attempts, the last: UNAVAILABLE "
                        "(nobody listens).");
    assert_tells(story, "It has not ended. It waits for the call of payment, sent first 8.99 s "
                        "ago. What to do next: start paymentd.");
    free(story);
}

static void test_story_when_retried_then_tells_attempts_and_the_answer_before(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *busy = add(&tale, 10, KIND(REPLY), STATE(RUNNING));
    reply(busy, "payment", CALL);
    refuse(busy, 8, "BUSY", "");
    struct room *again = add(&tale, 60, KIND(TIMER), STATE(RUNNING));
    decide(again, "payment", CALL, 2);
    struct room *end = add(&tale, 66, KIND(REPLY), STATE(COMPLETED));
    reply(end, "payment", CALL);
    move(end, "payment", STEP(CALLED), STEP(SUCCEEDED));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "Then payment succeeded after 60 ms and 2 attempts (before that: "
                        "RESOURCE_EXHAUSTED, BUSY).");
    free(story);
}

static void test_story_when_parked_and_operated_then_tells_who_and_why(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *parked = add(&tale, 10, KIND(REPLY), STATE(PARKED));
    reply(parked, "payment", CALL);
    refuse(parked, 12, "", "no such method");
    blame(parked, "payment", 12, "");
    struct room *act = add(&tale, 3000, KIND(OPERATOR), STATE(PARKED));
    saga__v1__operator__init(&act->operator_);
    act->operator_.act = SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY;
    act->operator_.who = (char *)(uintptr_t) "alice";
    act->operator_.why = (char *)(uintptr_t) "deployed\n1.2";
    act->event.operator_ = &act->operator_;
    (void)add(&tale, 4000, KIND(RECOVERED), STATE(PARKED));
    char *story = tell(&tale, "look at payment.", 0);
    assert_tells(story, "After 3.00 s alice asked for a retry: “deployed?1.2”.");
    assert_tells(story, "The orchestrator was restarted and took the saga up again after 4.00 s.");
    assert_tells(story, "It was PARKED after 4.00 s because of payment: UNIMPLEMENTED and waits "
                        "for an operator. What to do next: look at payment.\n");
    free(story);
}

static void test_story_when_the_saga_turns_back_before_an_answer_then_tells_so(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    tale.count = 1;
    struct room *no = add(&tale, 5, KIND(REPLY), STATE(COMPENSATING));
    reply(no, "customer", CALL);
    refuse(no, 5, "CUSTOMER_UNKNOWN", "");
    move(no, "customer", STEP(CALLED), STEP(REJECTED));
    move(no, "stock", STEP(CALLED), STEP(UNKNOWN));
    move(no, "stock", STEP(UNKNOWN), STEP(UNDOING));
    struct room *end = add(&tale, 20, KIND(REPLY), STATE(COMPENSATED));
    move(end, "stock", STEP(UNDOING), STEP(UNDONE));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "and stock had not answered yet when the saga turned back.");
    assert_tells(story, "and undid stock (15 ms).");
    free(story);
}

/* The call of payment cannot be sent, `count` times. */
static void cannot_send(struct tale *tale, uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++) {
        struct room *no = add(tale, 10 + 50 * i, KIND(REPLY), STATE(RUNNING));
        reply(no, "payment", CALL);
        no->event.attempt = i;
        no->event.not_sent = 1;
        refuse(no, 14, "NOT_CONNECTED", "the participant is not connected");
        if (i < count) {
            struct room *again = add(tale, 40 + 50 * i, KIND(TIMER), STATE(RUNNING));
            decide(again, "payment", CALL, i + 1);
        }
    }
}

static void test_story_when_cancelled_while_nothing_could_be_sent_then_tells_that(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    cannot_send(&tale, 3);
    struct room *act = add(&tale, 1000, KIND(OPERATOR), STATE(COMPENSATING));
    operate(act, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_CANCEL, "no money");
    move(act, "payment", STEP(CALLED), STEP(SKIPPED));
    move(act, "stock", STEP(SUCCEEDED), STEP(UNDOING));
    decide(act, "stock", UNDO, 1);
    struct room *end = add(&tale, 1020, KIND(REPLY), STATE(COMPENSATED));
    reply(end, "stock", UNDO);
    move(end, "stock", STEP(UNDOING), STEP(UNDONE));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "Then payment could not be sent: the participant was not connected (tried "
                        "3 times). After 1.00 s alice cancelled it: “no money”. At the wish of "
                        "alice, the saga turned back after 1.00 s and undid stock (20 ms).");
    free(story);
}

static void test_story_when_it_cannot_be_sent_then_says_whom_to_start(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    cannot_send(&tale, 2);
    char *story = tell(&tale, "", 0);
    assert_tells(story, "It waits for the call of payment, which cannot be sent: the participant "
                        "is not connected.");
    assert_tells(story, "What to do next: start the participant of step payment; the call is tried "
                        "again by itself, or at once by: sagactl retry ID --why TEXT.");
    assert_null(strstr(story, "resolve"));
    free(story);
}

static void test_story_when_some_attempts_left_then_counts_them_apart(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *busy = add(&tale, 10, KIND(REPLY), STATE(RUNNING));
    reply(busy, "payment", CALL);
    busy->event.attempt = 1;
    refuse(busy, 8, "BUSY", "");
    struct room *again = add(&tale, 60, KIND(TIMER), STATE(RUNNING));
    decide(again, "payment", CALL, 2);
    struct room *no = add(&tale, 61, KIND(REPLY), STATE(RUNNING));
    reply(no, "payment", CALL);
    no->event.attempt = 2;
    no->event.not_sent = 1;
    refuse(no, 14, "NOT_CONNECTED", "the participant is not connected");
    char *story = tell(&tale, "", 0);
    assert_tells(story, "Then payment has not succeeded after 1 attempt, the last: "
                        "RESOURCE_EXHAUSTED, BUSY; it could not be sent: the participant was not "
                        "connected (tried once).");
    free(story);
}

static void test_story_when_attempts_time_out_then_tells_deadline(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    (void)add(&tale, 5006, KIND(TIMER), STATE(RUNNING)); /* attempt 1 is over */
    struct room *again = add(&tale, 5100, KIND(TIMER), STATE(RUNNING));
    decide(again, "payment", CALL, 2);
    char *story = tell(&tale, "", 0);
    assert_tells(story, "Then payment has not succeeded after 2 attempts, the last: "
                        "DEADLINE_EXCEEDED (no answer in time).");
    assert_tells(story, "What to do next: start or mend the participant of step payment;");
    free(story);
}

static void test_story_when_a_step_turns_back_by_silence_then_tells_deadline(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *turn = add(&tale, 5006, KIND(TIMER), STATE(COMPENSATING));
    blame(turn, "payment", 4, "");
    move(turn, "payment", STEP(CALLED), STEP(UNKNOWN));
    move(turn, "payment", STEP(UNKNOWN), STEP(UNDOING));
    decide(turn, "payment", UNDO, 1);
    char *story = tell(&tale, "", 0);
    assert_tells(story, "Then payment has not succeeded after 1 attempt, the last: "
                        "DEADLINE_EXCEEDED (no answer in time).");
    assert_tells(story, "Because payment failed with DEADLINE_EXCEEDED, the saga turned back");
    free(story);
}

static void test_story_when_kafka_is_away_then_the_undo_waits_in_the_outbox(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *no = add(&tale, 13, KIND(REPLY), STATE(COMPENSATING));
    reply(no, "payment", CALL);
    refuse(no, 9, "NO", "");
    blame(no, "payment", 9, "NO");
    move(no, "payment", STEP(CALLED), STEP(REJECTED));
    move(no, "stock", STEP(SUCCEEDED), STEP(UNDOING));
    decide(no, "stock", UNDO, 1);
    by_kafka(no);
    char *story = tell(&tale, "", 0);
    assert_tells(story, "and undid stock (not yet done: it waits in the outbox until Kafka can be "
                        "reached).");
    assert_tells(story, "It waits for the undo of stock, which waits in the outbox until Kafka can "
                        "be reached. What to do next: start Kafka");
    assert_null(strstr(story, "sent first"));
    free(story);
    struct room *durable = add(&tale, 4000, KIND(DURABLE), STATE(COMPENSATING));
    reply(durable, "stock", UNDO);
    story = tell(&tale, "", 0);
    assert_tells(story, "It waits for the undo of stock, sent first 5.00 s ago.");
    assert_null(strstr(story, "outbox"));
    free(story);
}

static void test_story_when_a_step_is_skipped_then_tells_who_before_what_follows(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    cannot_send(&tale, 2);
    struct room *act = add(&tale, 1100, KIND(OPERATOR), STATE(RUNNING));
    operate(act, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP, "paid in cash");
    reply(act, "payment", SAGA__V1__OP__OP_UNSPECIFIED);
    move(act, "payment", STEP(CALLED), STEP(SKIPPED));
    move(act, "accept", STEP(WAITING), STEP(CALLED));
    decide(act, "accept", CALL, 1);
    struct room *end = add(&tale, 1110, KIND(REPLY), STATE(COMPLETED));
    reply(end, "accept", CALL);
    move(end, "accept", STEP(CALLED), STEP(SUCCEEDED));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "Then payment was skipped by alice after 1.09 s (“paid in cash”); before "
                        "that it could not be sent: the participant was not connected (tried 2 "
                        "times). Then accept succeeded after 10 ms. It ended COMPLETED");
    free(story);
}

static void test_story_when_acted_on_after_the_turn_then_tells_it_before_the_undos(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    struct room *no = add(&tale, 13, KIND(REPLY), STATE(COMPENSATING));
    reply(no, "payment", CALL);
    refuse(no, 9, "NO", "");
    blame(no, "payment", 9, "NO");
    move(no, "payment", STEP(CALLED), STEP(REJECTED));
    move(no, "stock", STEP(SUCCEEDED), STEP(UNDOING));
    decide(no, "stock", UNDO, 1);
    struct room *refused = add(&tale, 20, KIND(REPLY), STATE(COMPENSATING));
    reply(refused, "stock", UNDO);
    refuse(refused, 5, "", "");
    struct room *again = add(&tale, 2000, KIND(OPERATOR), STATE(COMPENSATING));
    operate(again, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY, "once more");
    reply(again, "stock", SAGA__V1__OP__OP_UNSPECIFIED);
    decide(again, "stock", UNDO, 2);
    struct room *refused_again = add(&tale, 2010, KIND(REPLY), STATE(COMPENSATING));
    reply(refused_again, "stock", UNDO);
    refuse(refused_again, 5, "", "");
    struct room *act = add(&tale, 3013, KIND(OPERATOR), STATE(COMPENSATED));
    operate(act, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE, "put back");
    reply(act, "stock", SAGA__V1__OP__OP_UNSPECIFIED);
    move(act, "stock", STEP(UNDOING), STEP(UNDONE));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "the saga turned back after 13 ms. After 2.00 s alice asked for a retry of "
                        "step stock: “once more”. It undid stock (3.00 s, 2 attempts, the last: "
                        "NOT_FOUND, resolved by hand by alice: “put back”). It ended COMPENSATED");
    free(story);
}

static void test_story_when_folded_then_no_line_is_wider(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    char *story = tell(&tale, "", 60);
    size_t lines = 0;
    for (const char *at = story; *at != 0;) {
        size_t size = strcspn(at, "\n");
        assert_true(size <= 60);
        assert_true(size > 0);
        at += size + 1;
        lines++;
    }
    assert_true(lines > 3);
    free(story);
}

/* A child saga: completed, then undone as a whole. */
static void test_story_when_it_is_a_step_of_another_then_tells_of_which(void **state)
{
    (void)state;
    struct tale tale;
    uint8_t parent[16] = {0xaa};
    begin(&tale);
    tale.events[0]->parent_saga_id = (ProtobufCBinaryData){sizeof parent, parent};
    tale.events[0]->parent_step = (char *)(uintptr_t) "prepare";
    struct room *end = add(&tale, 12, KIND(REPLY), STATE(COMPLETED));
    reply(end, "payment", CALL);
    move(end, "payment", STEP(CALLED), STEP(SUCCEEDED));
    struct room *back = add(&tale, 40, KIND(REVERSE), STATE(COMPENSATING));
    blame(back, "", 1, "PARENT");
    move(back, "payment", STEP(SUCCEEDED), STEP(UNDOING));
    decide(back, "payment", UNDO, 1);
    struct room *undone = add(&tale, 50, KIND(REPLY), STATE(COMPENSATED));
    reply(undone, "payment", UNDO);
    move(undone, "payment", STEP(UNDOING), STEP(UNDONE));
    char *story = tell(&tale, "", 0);
    assert_tells(story, "(create-order, step prepare of saga "
                        "aa000000-0000-0000-0000-000000000000) started at");
    assert_tells(story, "The saga that it is a step of undid it as a whole: it turned back after "
                        "40 ms and undid payment (10 ms).");
    free(story);
}

static void test_story_when_a_step_is_a_saga_then_names_it(void **state)
{
    (void)state;
    struct tale tale;
    uint8_t child[16] = {0xbb};
    begin(&tale);
    tale.rooms[0].decisions[1].via = SAGA__V1__VIA__VIA_CHILD; /* stock */
    tale.count = 2;
    Saga__V1__StepView step = SAGA__V1__STEP_VIEW__INIT;
    Saga__V1__StepView *steps[] = {&step};
    Saga__V1__SagaView view = SAGA__V1__SAGA_VIEW__INIT;
    step.name = (char *)(uintptr_t) "stock";
    step.saga = (char *)(uintptr_t) "hold-goods";
    step.child_saga_id = (ProtobufCBinaryData){sizeof child, child};
    view.n_steps = 1;
    view.steps = steps;
    struct saga_story told = {
        .saga = &view,
        .events = tale.events,
        .event_count = tale.count,
        .now_unix_ms = INT64_C(1800000000000) + 9000,
    };
    struct saga_buf out = {0};
    assert_int_equal(saga_story_tell(&told, &out), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&out, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    assert_tells((const char *)out.data,
                 "It waits for the call of stock (saga hold-goods "
                 "bb000000-0000-0000-0000-000000000000), begun 9.00 s ago.");
    saga_buf_fini(&out);
}

static void test_story_when_its_definition_is_paused_then_tells_who_holds_it(void **state)
{
    (void)state;
    struct tale tale;
    begin(&tale);
    Saga__V1__Pause pause = SAGA__V1__PAUSE__INIT;
    Saga__V1__SagaView view = SAGA__V1__SAGA_VIEW__INIT;
    pause.who = (char *)(uintptr_t) "ann";
    pause.why = (char *)(uintptr_t) "new prices";
    pause.since_unix_ms = INT64_C(1800000000000) + 5000;
    view.pause = &pause;
    view.next_action = (char *)(uintptr_t) "sagactl resume create-order --why TEXT";
    struct saga_story told = {
        .saga = &view,
        .events = tale.events,
        .event_count = tale.count,
        .now_unix_ms = INT64_C(1800000000000) + 9000,
    };
    struct saga_buf out = {0};
    assert_int_equal(saga_story_tell(&told, &out), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&out, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    assert_tells((const char *)out.data,
                 "Its definition is paused: 4.00 s ago ann held it, “new prices”; no step of it "
                 "begins until it goes on. What to do next: sagactl resume create-order");
    saga_buf_fini(&out);
}

static void test_story_when_there_are_no_events_then_refuses(void **state)
{
    (void)state;
    struct saga_story story = {0};
    struct saga_buf out = {0};
    assert_int_equal(saga_story_tell(&story, &out), SAGA_ERR_INVALID);
    assert_int_equal(out.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_story_when_all_succeed_then_tells_parallel_calls_and_end),
        cmocka_unit_test(test_story_when_a_step_says_no_then_tells_who_why_and_the_undos),
        cmocka_unit_test(test_story_when_undos_go_out_together_then_tells_so),
        cmocka_unit_test(test_story_when_it_waits_then_tells_for_what_and_what_to_do),
        cmocka_unit_test(test_story_when_retried_then_tells_attempts_and_the_answer_before),
        cmocka_unit_test(test_story_when_parked_and_operated_then_tells_who_and_why),
        cmocka_unit_test(test_story_when_the_saga_turns_back_before_an_answer_then_tells_so),
        cmocka_unit_test(test_story_when_cancelled_while_nothing_could_be_sent_then_tells_that),
        cmocka_unit_test(test_story_when_it_cannot_be_sent_then_says_whom_to_start),
        cmocka_unit_test(test_story_when_some_attempts_left_then_counts_them_apart),
        cmocka_unit_test(test_story_when_attempts_time_out_then_tells_deadline),
        cmocka_unit_test(test_story_when_a_step_turns_back_by_silence_then_tells_deadline),
        cmocka_unit_test(test_story_when_kafka_is_away_then_the_undo_waits_in_the_outbox),
        cmocka_unit_test(test_story_when_a_step_is_skipped_then_tells_who_before_what_follows),
        cmocka_unit_test(test_story_when_acted_on_after_the_turn_then_tells_it_before_the_undos),
        cmocka_unit_test(test_story_when_folded_then_no_line_is_wider),
        cmocka_unit_test(test_story_when_it_is_a_step_of_another_then_tells_of_which),
        cmocka_unit_test(test_story_when_a_step_is_a_saga_then_names_it),
        cmocka_unit_test(test_story_when_its_definition_is_paused_then_tells_who_holds_it),
        cmocka_unit_test(test_story_when_there_are_no_events_then_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
