/* The judge: right stories pass; a story that breaks a rule is told by that rule's number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/judge/stage.h"

static const uint8_t other_bytes[] = {0x08, 0x09};
static const struct saga_bytes other = {.data = other_bytes, .size = sizeof other_bytes};

static int setup(void **state)
{
    static struct stage stage;
    stage_open(&stage);
    *state = &stage;
    return 0;
}

static int teardown(void **state)
{
    stage_close(*state);
    return 0;
}

/* ---- Right stories ---- */

static void test_story_when_completed_then_nothing_is_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    assert_int_equal(saga_judge_open_count(stage->judge), 1);
    stage_forward(stage, CONFIRM);
    stage_end(stage);
    stage_clean(stage);
    assert_int_equal(stage->saga.state, SAGA_STATE_COMPLETED);
    assert_int_equal(stage->counts.completed, 1);
    assert_int_equal(stage->counts.open, 0);
    assert_int_equal(saga_judge_open_count(stage->judge), 0);
    assert_true(saga_judge_pivot_done(stage->judge, stage->id));
    assert_true(saga_judge_effect_done(stage->judge, stage->id, "stock", SAGA_OP_CALL));
    assert_false(saga_judge_effect_done(stage->judge, stage->id, "stock", SAGA_OP_UNDO));
}

static void test_story_when_compensated_then_nothing_is_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_undo_all(stage);
    stage_end(stage);
    stage_clean(stage);
    assert_int_equal(stage->counts.compensated, 1);
}

static void test_story_when_duplicates_come_then_nothing_is_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    struct stage_deed again = {
        .step = STOCK, .op = SAGA_OP_CALL, .not_run = true, .replayed = true, .not_stored = true};
    stage_deed(stage, again); /* B1 */
    stage_undo_all(stage);
    again.op = SAGA_OP_UNDO;
    stage_deed(stage, again); /* B4 */
    stage_deed(stage, (struct stage_deed){.step = STOCK,
                                          .op = SAGA_OP_CALL,
                                          .payload = other,
                                          .code = SAGA_CODE_INVALID_ARGUMENT,
                                          .reason = "KEY_REUSED",
                                          .not_run = true,
                                          .not_stored = true});
    stage_publish_event(stage, 0);
    stage_publish_event(stage, 0);
    stage_publish_row(stage, 0);
    stage_publish_row(stage, 0);
    stage_end(stage);
    stage_clean(stage);
}

static void test_story_when_a_call_comes_after_its_undo_then_nothing_is_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_send(stage, STOCK, SAGA_OP_CALL);
    stage_act(stage, SAGA_ACT_CANCEL, SAGA_STEP_ALL);
    stage_send(stage, STOCK, SAGA_OP_UNDO);
    stage_deed(stage, (struct stage_deed){
                          .step = STOCK, .op = SAGA_OP_UNDO, .not_run = true, .empty = true});
    stage_reply(stage, STOCK, SAGA_OP_UNDO, SAGA_CODE_OK);
    stage_deed(stage, (struct stage_deed){.step = STOCK,
                                          .op = SAGA_OP_CALL,
                                          .code = SAGA_CODE_FAILED_PRECONDITION,
                                          .reason = "SAGA_UNDONE",
                                          .not_run = true,
                                          .not_stored = true});
    stage_do(stage, ORDER, SAGA_OP_UNDO);
    stage_end(stage);
    stage_clean(stage);
    assert_int_equal(stage->counts.compensated, 1);
}

/* ---- S1 ---- */

static void test_s1_when_a_saga_does_not_end_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    stage_end(stage);
    stage_broke(stage, SAGA_RULE_S1);
    assert_int_equal(stage->counts.open, 1);
}

static void test_s1_when_parked_then_told_unless_that_is_allowed(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_PERMISSION_DENIED);
    assert_int_equal(saga_judge_parked_count(stage->judge), 1);
    size_t at = 0;
    struct saga_id id;
    enum saga_state open = SAGA_STATE_NONE;
    assert_true(saga_judge_open_next(stage->judge, &at, &id, &open));
    assert_int_equal(open, SAGA_STATE_PARKED);
    assert_true(saga_id_equal(id, stage->id));
    assert_false(saga_judge_open_next(stage->judge, &at, &id, &open));
    struct saga_judge_end end = {.healed = true, .parked_allowed = true};
    assert_int_equal(saga_judge_finish(stage->judge, &end, &stage->counts), SAGA_ERR_OK);
    stage_clean(stage);
    stage_end(stage);
    stage_broke(stage, SAGA_RULE_S1);
}

static void test_s1_when_a_deadline_is_not_looked_at_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage->now += 60001; /* create-order's deadline is a minute */
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_OK);
    stage_clean(stage); /* what is due may come in the same commit */
    stage_reply(stage, CUSTOMER, SAGA_OP_CALL, SAGA_CODE_OK);
    stage_broke(stage, SAGA_RULE_S1);
}

static void test_s1_when_a_deadline_is_taken_in_the_same_commit_then_nothing_is_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage->now += 60001;
    stage_event(stage,
                (struct saga_event){
                    .kind = SAGA_EVENT_REPLY, .step = STOCK, .op = SAGA_OP_CALL, .attempt = 1},
                NULL);
    stage_event(stage, (struct saga_event){.kind = SAGA_EVENT_TIMER}, NULL);
    stage_commit(stage);
    stage_send(stage, STOCK, SAGA_OP_UNDO);
    stage_reply(stage, STOCK, SAGA_OP_UNDO, SAGA_CODE_OK);
    stage_clean(stage);
}

/* ---- S2 ---- */

static void test_s2_when_turned_back_after_the_pivot_has_happened_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, PAYMENT);
    stage_send(stage, ACCEPT, SAGA_OP_CALL);
    stage_deed(stage, (struct stage_deed){.step = ACCEPT, .op = SAGA_OP_CALL});
    /* A transport that says that what has left has not. */
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_REPLY,
                                          .step = ACCEPT,
                                          .op = SAGA_OP_CALL,
                                          .attempt = 1,
                                          .code = SAGA_CODE_UNAVAILABLE,
                                          .not_sent = true});
    stage_clean(stage);
    stage_act(stage, SAGA_ACT_CANCEL, SAGA_STEP_ALL);
    stage_broke(stage, SAGA_RULE_S2);
}

static void test_s2_when_an_undo_leaves_after_the_pivot_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, ACCEPT);
    stage_clean(stage);
    stage_send(stage, PAYMENT, SAGA_OP_UNDO);
    stage_broke(stage, SAGA_RULE_S2);
    stage_deed(stage, (struct stage_deed){.step = PAYMENT, .op = SAGA_OP_UNDO});
    stage_broke(stage, SAGA_RULE_S2);
}

static void test_s2_when_the_pivot_happens_while_the_saga_goes_back_then_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_deed(stage, (struct stage_deed){.step = ACCEPT, .op = SAGA_OP_CALL});
    stage_broke(stage, SAGA_RULE_S2);
    stage_undo_all(stage);
    stage_end(stage);
    stage_broke(stage, SAGA_RULE_S2);
}

/* ---- S3 ---- */

static void test_s3_when_an_effect_happens_twice_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    stage_deed(stage, (struct stage_deed){.step = STOCK, .op = SAGA_OP_CALL});
    stage_broke(stage, SAGA_RULE_S3);
}

static void test_s3_when_the_ledger_has_an_effect_twice_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    saga_judge_tables_begin(stage->judge, stage->now);
    for (int i = 0; i < 2; i++) {
        saga_judge_table_effect(stage->judge, stage->rows[0].participant, stage->id, "stock",
                                SAGA_OP_CALL);
    }
    saga_judge_tables_end(stage->judge);
    stage_broke(stage, SAGA_RULE_S3);
}

static void test_s3_when_an_old_failure_counts_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_UNAVAILABLE);
    stage->now += 1000;
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_TIMER});
    stage_clean(stage);
    stage->saga.steps[STOCK].call_attempts = 1; /* so that the engine takes it */
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_UNAVAILABLE);
    assert_true(stage->broken[SAGA_RULE_S3] + stage->broken[SAGA_RULE_S7] > 0);
}

/* ---- S4, S5 ---- */

static void test_s4_when_a_call_takes_effect_after_its_undo_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_send(stage, STOCK, SAGA_OP_CALL);
    stage_act(stage, SAGA_ACT_CANCEL, SAGA_STEP_ALL);
    stage_send(stage, STOCK, SAGA_OP_UNDO);
    stage_deed(stage, (struct stage_deed){
                          .step = STOCK, .op = SAGA_OP_UNDO, .not_run = true, .empty = true});
    stage_clean(stage);
    stage_deed(stage, (struct stage_deed){.step = STOCK, .op = SAGA_OP_CALL});
    assert_true(stage->broken[SAGA_RULE_B3] > 0);
    stage_broke(stage, SAGA_RULE_S4);
}

static void test_s5_when_undone_out_of_order_then_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_clean(stage);
    stage_deed(stage, (struct stage_deed){.step = STOCK, .op = SAGA_OP_UNDO});
    stage_broke(stage, SAGA_RULE_S5);
}

static void test_s5_when_compensated_with_an_effect_left_then_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_deed(stage, (struct stage_deed){.step = PAYMENT, .op = SAGA_OP_CALL, .payload = other});
    memset(stage->broken, 0, sizeof stage->broken);
    stage_undo_all(stage);
    memset(stage->broken, 0, sizeof stage->broken);
    stage_finish(stage);
    stage_broke(stage, SAGA_RULE_S5);
}

static void test_s5_when_an_undo_was_only_said_then_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_do(stage, TICKET, SAGA_OP_UNDO);
    stage_do(stage, STOCK, SAGA_OP_UNDO);
    stage_reply(stage, ORDER, SAGA_OP_UNDO, SAGA_CODE_OK); /* what the starter did */
    stage_end(stage);
    assert_true(stage->broken[SAGA_RULE_S13] > 0);
    stage_broke(stage, SAGA_RULE_S5);
}

/* ---- S6 ---- */

static void test_s6_when_a_command_leaves_undecided_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    struct saga_command command = stage_command(stage, STOCK, SAGA_OP_CALL);
    command.attempt = 2;
    saga_judge_command_sent(stage->judge, &command, SAGA_VIA_NNG);
    stage_broke(stage, SAGA_RULE_S6);
    command.saga_id.b[0] ^= 1;
    saga_judge_command_sent(stage->judge, &command, SAGA_VIA_NNG);
    stage_broke(stage, SAGA_RULE_S6);
}

static void test_s6_when_a_decision_is_not_committed_yet_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_do(stage, CUSTOMER, SAGA_OP_CALL);
    stage_send(stage, STOCK, SAGA_OP_CALL);
    stage_deed(stage, (struct stage_deed){.step = STOCK, .op = SAGA_OP_CALL});
    stage_event(stage,
                (struct saga_event){
                    .kind = SAGA_EVENT_REPLY, .step = STOCK, .op = SAGA_OP_CALL, .attempt = 1},
                NULL);
    stage_clean(stage);
    stage_send(stage, TICKET, SAGA_OP_CALL);
    stage_broke(stage, SAGA_RULE_S6);
}

static void test_s6_when_a_start_is_acknowledged_too_early_then_told(void **state)
{
    struct stage *stage = *state;
    struct saga_judge_start start = stage_start_of();
    saga_judge_start_asked(stage->judge, &start);
    struct saga_answer answer = stage_answer_of(stage);
    saga_judge_start_answered(stage->judge, &start, &answer);
    stage_broke(stage, SAGA_RULE_S6);
}

static void test_s6_when_committed_events_are_gone_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    saga_judge_log_begin(stage->judge);
    saga_judge_log_event(stage->judge, saga_buf_view(&stage->events[0]));
    saga_judge_log_end(stage->judge);
    stage_broke(stage, SAGA_RULE_S6);
    saga_judge_log_begin(stage->judge);
    saga_judge_log_end(stage->judge);
    stage_broke(stage, SAGA_RULE_S6);
}

static void test_s6_when_the_log_has_what_no_commit_brought_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_event(stage,
                (struct saga_event){
                    .kind = SAGA_EVENT_REPLY, .step = STOCK, .op = SAGA_OP_CALL, .attempt = 1},
                NULL);
    stage_log(stage);
    stage_broke(stage, SAGA_RULE_S6);
}

static void test_s6_when_a_commit_was_lost_then_the_log_may_have_it_or_not(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    saga_judge_commit_lost(stage->judge);
    stage_log(stage); /* it does not */
    stage_clean(stage);
    stage_event(stage,
                (struct saga_event){
                    .kind = SAGA_EVENT_REPLY, .step = STOCK, .op = SAGA_OP_CALL, .attempt = 1},
                NULL);
    saga_judge_commit_lost(stage->judge);
    stage_log(stage); /* it does */
    stage_clean(stage);
    stage_log(stage); /* and now it must */
    stage_clean(stage);
}

static void test_s6_when_a_record_is_called_durable_before_kafka_has_it_then_told(void **state)
{
    struct stage *stage = *state;
    struct saga_event durable = {
        .kind = SAGA_EVENT_DURABLE, .step = TICKET, .op = SAGA_OP_UNDO, .attempt = 1};
    stage_turn_back(stage);
    stage_clean(stage);
    stage_take(stage, durable);
    stage_broke(stage, SAGA_RULE_S6);
}

static void test_s6_when_decided_again_before_kafka_has_it_then_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_reply(stage, TICKET, SAGA_OP_UNDO, SAGA_CODE_UNAVAILABLE);
    stage->now += 1000;
    stage_clean(stage);
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_TIMER});
    stage_broke(stage, SAGA_RULE_S6);
}

/* ---- S7 ---- */

static void test_s7_when_an_event_run_again_differs_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_UNAVAILABLE);
    stage->saga.steps[STOCK].call_attempts = 7; /* something that is not from the log */
    stage->now += 1000;
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_TIMER});
    stage_broke(stage, SAGA_RULE_S7);
}

static void test_s7_when_the_row_is_not_what_the_log_says_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage->saga.state = SAGA_STATE_COMPENSATING;
    stage_log(stage);
    stage_broke(stage, SAGA_RULE_S7);
}

/* ---- S8 ---- */

static void test_s8_when_an_older_epoch_commits_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    saga_judge_lease(stage->judge, 2);
    stage_clean(stage);
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_OK);
    stage_broke(stage, SAGA_RULE_S8);
}

static void test_s8_when_the_lease_goes_back_then_told(void **state)
{
    struct stage *stage = *state;
    saga_judge_lease(stage->judge, 3);
    stage_clean(stage);
    saga_judge_lease(stage->judge, 3);
    stage_broke(stage, SAGA_RULE_S8);
}

static void test_s8_when_a_fenced_command_takes_effect_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage->epoch = 2;
    saga_judge_lease(stage->judge, 2);
    stage_forward(stage, TICKET);
    stage_clean(stage);
    stage_send(stage, PAYMENT, SAGA_OP_CALL);
    struct stage_deed late = {.step = ACCEPT, .op = SAGA_OP_CALL, .epoch = 1};
    late.code = SAGA_CODE_ABORTED;
    late.reason = "FENCED";
    late.not_run = true;
    late.not_stored = true;
    stage_deed(stage, late); /* the kitchen has heard epoch 2 */
    stage_clean(stage);
    stage_deed(stage, (struct stage_deed){.step = ACCEPT, .op = SAGA_OP_CALL, .epoch = 1});
    stage_broke(stage, SAGA_RULE_S8);
}

/* ---- S9 ---- */

static void test_s9_when_the_topic_has_a_gap_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    stage_publish_event(stage, 0);
    stage_publish_event(stage, 2);
    stage_broke(stage, SAGA_RULE_S9);
}

static void test_s9_when_the_topic_is_not_complete_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, CONFIRM);
    stage_finish(stage);
    stage_broke(stage, SAGA_RULE_S9);
}

static void test_s9_when_published_before_it_is_durable_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_event(stage,
                (struct saga_event){
                    .kind = SAGA_EVENT_REPLY, .step = STOCK, .op = SAGA_OP_CALL, .attempt = 1},
                NULL);
    stage_publish_event(stage, 0);
    stage_clean(stage);
    stage_publish_event(stage, 1);
    stage_broke(stage, SAGA_RULE_S9);
}

static void test_s9_when_a_record_is_changed_or_misplaced_then_told(void **state)
{
    struct stage *stage = *state;
    char text[SAGA_ID_TEXT_SIZE];
    stage_start(stage);
    saga_id_format(stage->id, text);
    struct saga_bytes key = saga_bytes_text(text);
    struct saga_bytes value = saga_buf_view(&stage->events[0]);
    saga_judge_topic_audit(stage->judge, 0, key, value);
    stage_clean(stage);
    saga_judge_topic_audit(stage->judge, 1, key, value);
    stage_broke(stage, SAGA_RULE_S9);
    text[0] ^= 1;
    saga_judge_topic_audit(stage->judge, 0, key, value);
    stage_broke(stage, SAGA_RULE_S9);
    stage->events[0].data[30] ^= 1;
    saga_judge_topic_audit(stage->judge, 0, key, value);
    stage_broke(stage, SAGA_RULE_S9);
}

static void test_s9_when_the_chain_of_the_log_is_broken_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage->hash[0] ^= 1;
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_OK);
    stage_broke(stage, SAGA_RULE_S9);
}

/* ---- S10 ---- */

static void test_s10_when_a_key_starts_two_sagas_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage->saga = (struct saga){0};
    memset(stage->hash, 0, sizeof stage->hash);
    stage->id.b[0] ^= 1;
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_START, .id = stage->id, .seed = 9});
    stage_broke(stage, SAGA_RULE_S10);
}

static void test_s10_when_answers_disagree_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    struct saga_judge_start start = stage_start_of();
    struct saga_answer answer = stage_answer_of(stage);
    start.input = other;
    saga_judge_start_answered(stage->judge, &start, &answer);
    stage_broke(stage, SAGA_RULE_S10);
    answer = (struct saga_answer){
        .code = SAGA_CODE_INVALID_ARGUMENT, .reason = "KEY_REUSED", .message = ""};
    saga_judge_start_answered(stage->judge, &start, &answer);
    stage_clean(stage);
    start = stage_start_of();
    saga_judge_start_answered(stage->judge, &start, &answer);
    stage_broke(stage, SAGA_RULE_S10);
    start.key = "order-2";
    saga_judge_start_answered(stage->judge, &start, &answer);
    stage_broke(stage, SAGA_RULE_S10);
    answer = stage_answer_of(stage);
    saga_judge_start_answered(stage->judge, &start, &answer);
    stage_broke(stage, SAGA_RULE_S10);
}

static void test_s10_when_nobody_has_sent_the_key_then_told(void **state)
{
    struct stage *stage = *state;
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_START, .id = stage->id, .seed = 9});
    stage_broke(stage, SAGA_RULE_S10);
}

/* ---- S11, S12 ---- */

static struct saga_judge_act cancel_of(const struct stage *stage)
{
    return (struct saga_judge_act){.saga_id = stage->id,
                                   .definition = "create-order",
                                   .act = SAGA_ACT_CANCEL,
                                   .step = "",
                                   .who = "bob",
                                   .why = "so"};
}

static void test_s11_when_a_cancel_is_refused_before_the_pivot_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    struct saga_judge_act act = cancel_of(stage);
    struct saga_answer answer = {
        .code = SAGA_CODE_FAILED_PRECONDITION, .reason = "ACT_REFUSED", .message = ""};
    saga_judge_act_asked(stage->judge, &act);
    saga_judge_act_answered(stage->judge, &act, &answer);
    stage_broke(stage, SAGA_RULE_S11);
    stage_forward(stage, ACCEPT);
    saga_judge_act_answered(stage->judge, &act, &answer);
    stage_clean(stage);
}

static void test_s12_when_an_act_is_acknowledged_without_its_event_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    struct saga_judge_act act = cancel_of(stage);
    struct saga_answer answer = stage_answer_of(stage);
    saga_judge_act_asked(stage->judge, &act);
    saga_judge_act_answered(stage->judge, &act, &answer);
    stage_broke(stage, SAGA_RULE_S12);
}

static void test_s12_when_an_act_has_no_author_or_nobody_asked_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    struct saga_judge_act act = cancel_of(stage);
    act.why = "";
    saga_judge_act_asked(stage->judge, &act);
    stage_event(stage,
                (struct saga_event){
                    .kind = SAGA_EVENT_OPERATOR, .act = SAGA_ACT_CANCEL, .step = SAGA_STEP_ALL},
                &act);
    stage_commit(stage);
    stage_broke(stage, SAGA_RULE_S12);
    act = cancel_of(stage);
    act.act = SAGA_ACT_RETRY;
    stage_send(stage, ORDER, SAGA_OP_UNDO);
    stage_reply(stage, STOCK, SAGA_OP_UNDO, SAGA_CODE_UNAVAILABLE);
    memset(stage->broken, 0, sizeof stage->broken);
    stage_event(stage,
                (struct saga_event){
                    .kind = SAGA_EVENT_OPERATOR, .act = SAGA_ACT_RETRY, .step = SAGA_STEP_ALL},
                &act);
    stage_commit(stage);
    stage_broke(stage, SAGA_RULE_S12);
}

static void test_s12_when_a_definition_is_paused_then_its_stream_is_no_saga(void **state)
{
    struct stage *stage = *state;
    struct saga_judge_act act = stage_pause_of();
    struct saga_answer answer = {.code = SAGA_CODE_OK, .reason = "", .message = "", .seq = 1};
    struct saga_buf event = {0};
    char key[SAGA_ID_TEXT_SIZE];
    saga_id_format((struct saga_id){{0xde, 0xf1}}, key);
    saga_judge_act_asked(stage->judge, &act);
    stage_pause(stage, &event);
    saga_judge_act_answered(stage->judge, &act, &answer);
    saga_judge_log_begin(stage->judge);
    saga_judge_log_event(stage->judge, saga_buf_view(&event));
    saga_judge_log_end(stage->judge);
    saga_judge_topic_audit(stage->judge, 0, saga_bytes_text(key), saga_buf_view(&event));
    stage_finish(stage);
    stage_clean(stage);
    assert_int_equal(stage->counts.sagas, 0);
    saga_buf_fini(&event);
}

static void test_s12_when_a_pause_is_not_recorded_or_not_asked_for_then_told(void **state)
{
    struct stage *stage = *state;
    struct saga_judge_act act = stage_pause_of();
    struct saga_answer answer = {.code = SAGA_CODE_OK, .reason = "", .message = "", .seq = 1};
    struct saga_buf event = {0};
    stage_pause(stage, &event);
    saga_buf_fini(&event);
    stage_broke(stage, SAGA_RULE_S12);
    saga_judge_act_answered(stage->judge, &act, &answer);
    stage_clean(stage);
    saga_judge_act_answered(stage->judge, &act, &answer);
    stage_broke(stage, SAGA_RULE_S12);
    answer.existing = true; /* it was paused already: nothing is recorded */
    saga_judge_act_answered(stage->judge, &act, &answer);
    stage_clean(stage);
}

/* ---- S13 ---- */

static void test_s13_when_an_effect_is_told_that_nobody_has_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    stage->rows[0].position = 17;
    stage_publish_row(stage, 0);
    stage_broke(stage, SAGA_RULE_S13);
    stage->rows[0].position = 1;
    stage->rows[0].code = SAGA_CODE_NOT_FOUND;
    stage_publish_row(stage, 0);
    stage_broke(stage, SAGA_RULE_S13);
}

static void test_s13_when_an_answered_command_left_no_effect_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_send(stage, STOCK, SAGA_OP_CALL);
    stage_reply(stage, STOCK, SAGA_OP_CALL, SAGA_CODE_OK);
    stage_end(stage);
    stage_broke(stage, SAGA_RULE_S13);
}

static void test_s13_when_a_table_holds_more_than_was_done_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    saga_judge_tables_begin(stage->judge, stage->now);
    saga_judge_table_effect(stage->judge, 0, stage->id, "stock", SAGA_OP_CALL);
    saga_judge_tables_end(stage->judge);
    stage_broke(stage, SAGA_RULE_S13);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_story_when_completed_then_nothing_is_told),
        TEST(test_story_when_compensated_then_nothing_is_told),
        TEST(test_story_when_duplicates_come_then_nothing_is_told),
        TEST(test_story_when_a_call_comes_after_its_undo_then_nothing_is_told),
        TEST(test_s1_when_a_saga_does_not_end_then_told),
        TEST(test_s1_when_parked_then_told_unless_that_is_allowed),
        TEST(test_s1_when_a_deadline_is_taken_in_the_same_commit_then_nothing_is_told),
        TEST(test_s1_when_a_deadline_is_not_looked_at_then_told),
        TEST(test_s2_when_turned_back_after_the_pivot_has_happened_then_told),
        TEST(test_s2_when_an_undo_leaves_after_the_pivot_then_told),
        TEST(test_s2_when_the_pivot_happens_while_the_saga_goes_back_then_told),
        TEST(test_s3_when_an_effect_happens_twice_then_told),
        TEST(test_s3_when_the_ledger_has_an_effect_twice_then_told),
        TEST(test_s3_when_an_old_failure_counts_then_told),
        TEST(test_s4_when_a_call_takes_effect_after_its_undo_then_told),
        TEST(test_s5_when_undone_out_of_order_then_told),
        TEST(test_s5_when_compensated_with_an_effect_left_then_told),
        TEST(test_s5_when_an_undo_was_only_said_then_told),
        TEST(test_s6_when_a_command_leaves_undecided_then_told),
        TEST(test_s6_when_a_decision_is_not_committed_yet_then_told),
        TEST(test_s6_when_a_start_is_acknowledged_too_early_then_told),
        TEST(test_s6_when_committed_events_are_gone_then_told),
        TEST(test_s6_when_the_log_has_what_no_commit_brought_then_told),
        TEST(test_s6_when_a_commit_was_lost_then_the_log_may_have_it_or_not),
        TEST(test_s6_when_decided_again_before_kafka_has_it_then_told),
        TEST(test_s6_when_a_record_is_called_durable_before_kafka_has_it_then_told),
        TEST(test_s7_when_an_event_run_again_differs_then_told),
        TEST(test_s7_when_the_row_is_not_what_the_log_says_then_told),
        TEST(test_s8_when_an_older_epoch_commits_then_told),
        TEST(test_s8_when_the_lease_goes_back_then_told),
        TEST(test_s8_when_a_fenced_command_takes_effect_then_told),
        TEST(test_s9_when_the_topic_has_a_gap_then_told),
        TEST(test_s9_when_the_topic_is_not_complete_then_told),
        TEST(test_s9_when_published_before_it_is_durable_then_told),
        TEST(test_s9_when_a_record_is_changed_or_misplaced_then_told),
        TEST(test_s9_when_the_chain_of_the_log_is_broken_then_told),
        TEST(test_s10_when_a_key_starts_two_sagas_then_told),
        TEST(test_s10_when_answers_disagree_then_told),
        TEST(test_s10_when_nobody_has_sent_the_key_then_told),
        TEST(test_s11_when_a_cancel_is_refused_before_the_pivot_then_told),
        TEST(test_s12_when_an_act_is_acknowledged_without_its_event_then_told),
        TEST(test_s12_when_an_act_has_no_author_or_nobody_asked_then_told),
        TEST(test_s12_when_a_definition_is_paused_then_its_stream_is_no_saga),
        TEST(test_s12_when_a_pause_is_not_recorded_or_not_asked_for_then_told),
        TEST(test_s13_when_an_effect_is_told_that_nobody_has_then_told),
        TEST(test_s13_when_an_answered_command_left_no_effect_then_told),
        TEST(test_s13_when_a_table_holds_more_than_was_done_then_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
