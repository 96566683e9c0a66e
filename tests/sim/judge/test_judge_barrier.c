/* The judge on what participants do: a story that breaks B1 to B8 is told by that rule. */
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

/* ---- B1 to B8 ---- */

static void test_b1_when_a_duplicate_is_answered_otherwise_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    struct stage_deed again = {
        .step = STOCK, .op = SAGA_OP_CALL, .not_run = true, .replayed = true, .not_stored = true};
    stage_deed(stage, again);
    stage_clean(stage);
    again.reply = other;
    stage_deed(stage, again);
    stage_broke(stage, SAGA_RULE_B1);
    again.reply = (struct saga_bytes){0};
    again.not_run = false;
    again.replayed = true;
    stage_deed(stage, again);
    stage_broke(stage, SAGA_RULE_B1);
}

static void test_b1_when_a_committed_row_or_effect_is_gone_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, TICKET);
    saga_judge_tables_begin(stage->judge, stage->now);
    saga_judge_table_effect(stage->judge, stage->rows[0].participant, stage->id, "stock",
                            SAGA_OP_CALL);
    saga_judge_tables_end(stage->judge);
    stage_broke(stage, SAGA_RULE_B1);
}

static void test_b2_when_an_undo_runs_without_its_call_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_act(stage, SAGA_ACT_CANCEL, SAGA_STEP_ALL);
    stage_clean(stage);
    stage_deed(stage, (struct stage_deed){.step = STOCK, .op = SAGA_OP_UNDO});
    stage_broke(stage, SAGA_RULE_B2);
}

static void test_b2_when_an_undo_is_empty_though_its_call_happened_then_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_deed(stage, (struct stage_deed){
                          .step = TICKET, .op = SAGA_OP_UNDO, .not_run = true, .empty = true});
    stage_broke(stage, SAGA_RULE_B2);
}

static void test_b3_when_a_call_after_its_undo_is_answered_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_act(stage, SAGA_ACT_CANCEL, SAGA_STEP_ALL);
    stage_deed(stage, (struct stage_deed){
                          .step = STOCK, .op = SAGA_OP_UNDO, .not_run = true, .empty = true});
    stage_clean(stage);
    stage_deed(stage, (struct stage_deed){.step = STOCK,
                                          .op = SAGA_OP_CALL,
                                          .code = SAGA_CODE_UNAVAILABLE,
                                          .not_run = true,
                                          .not_stored = true});
    stage_broke(stage, SAGA_RULE_B3);
}

static void test_b4_when_a_duplicate_undo_runs_then_told(void **state)
{
    struct stage *stage = *state;
    stage_turn_back(stage);
    stage_do(stage, TICKET, SAGA_OP_UNDO);
    stage_clean(stage);
    stage_deed(stage, (struct stage_deed){.step = TICKET, .op = SAGA_OP_UNDO});
    stage_broke(stage, SAGA_RULE_B4);
}

static void test_b5_when_another_payload_is_taken_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, STOCK);
    stage_deed(stage, (struct stage_deed){.step = STOCK,
                                          .op = SAGA_OP_CALL,
                                          .payload = other,
                                          .not_run = true,
                                          .replayed = true,
                                          .not_stored = true});
    stage_broke(stage, SAGA_RULE_B5);
}

static void test_b6_when_a_no_is_forgotten_or_a_maybe_kept_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_deed(stage, (struct stage_deed){.step = STOCK,
                                          .op = SAGA_OP_CALL,
                                          .code = SAGA_CODE_NOT_FOUND,
                                          .not_stored = true});
    stage_broke(stage, SAGA_RULE_B6);
    stage_deed(stage, (struct stage_deed){
                          .step = STOCK, .op = SAGA_OP_CALL, .code = SAGA_CODE_UNAVAILABLE});
    stage_broke(stage, SAGA_RULE_B6);
}

static void test_b7_when_a_row_is_gone_too_early_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, TICKET);
    saga_judge_tables_begin(stage->judge, stage->now);
    saga_judge_table_row(stage->judge, &stage->rows[0]);
    saga_judge_tables_end(stage->judge);
    stage_broke(stage, SAGA_RULE_B7);
}

static void test_b8_when_rows_are_published_out_of_order_or_not_at_all_then_told(void **state)
{
    struct stage *stage = *state;
    stage_start(stage);
    stage_forward(stage, CONFIRM);
    size_t ticket = 1; /* rows: stock, ticket, payment, accept, confirm */
    size_t accept = 3;
    assert_int_equal(stage->rows[ticket].participant, stage->rows[accept].participant);
    stage_publish_row(stage, accept);
    stage_clean(stage);
    stage_publish_row(stage, ticket);
    stage_broke(stage, SAGA_RULE_B8);
    stage_finish(stage);
    stage_broke(stage, SAGA_RULE_B8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_b1_when_a_duplicate_is_answered_otherwise_then_told),
        TEST(test_b1_when_a_committed_row_or_effect_is_gone_then_told),
        TEST(test_b2_when_an_undo_runs_without_its_call_then_told),
        TEST(test_b2_when_an_undo_is_empty_though_its_call_happened_then_told),
        TEST(test_b3_when_a_call_after_its_undo_is_answered_then_told),
        TEST(test_b4_when_a_duplicate_undo_runs_then_told),
        TEST(test_b5_when_another_payload_is_taken_then_told),
        TEST(test_b6_when_a_no_is_forgotten_or_a_maybe_kept_then_told),
        TEST(test_b7_when_a_row_is_gone_too_early_then_told),
        TEST(test_b8_when_rows_are_published_out_of_order_or_not_at_all_then_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
