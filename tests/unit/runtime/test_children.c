/* Child sagas on the real store, three sagas deep: forward, back, and at the doors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/runtime/family.h"

/* ---- Going forward ---- */

static void test_child_when_its_turn_comes_then_starts_in_the_parents_commit(void **state)
{
    struct world *world = *state;
    unsigned before = world->commits;
    struct saga_id order = family_start(world);
    struct saga_id prepare = family_child(world, "prepare", order, "prepare");
    assert_int_equal(world->commits, before + 1); /* both */
    assert_int_equal(saga_runtime_live_count(world->runtime), 2);
    assert_int_equal(world->sent_count, 1); /* the child's first call; none of the parent's */
    assert_true(saga_id_equal(world->sent[0].saga_id, prepare));
    struct saga_look look = family_look(world, order);
    assert_int_equal(look.saga.steps[PARENT_PREPARE].state, SAGA_STEP_CALLED);
    assert_int_equal(look.saga.steps[PARENT_PREPARE].wait, SAGA_WAIT_CHILD);
    assert_string_equal(look.texts.parent_step, "");
    look = family_look(world, prepare);
    assert_string_equal(look.texts.parent_step, "prepare");
    assert_true(saga_id_equal(look.texts.parent_id, order));
    assert_string_equal(look.texts.traceparent, "00-trace");
    static const uint8_t input[] = {0x08, 5, 0x10, 7}; /* number: 5, customer_id: 7 */
    assert_int_equal(look.context.size, sizeof input);
    assert_memory_equal(look.context.data, input, sizeof input);
}

static void test_parent_when_children_complete_then_takes_what_they_brought(void **state)
{
    struct world *world = *state;
    struct family family = family_prepare(world);
    family_assert_state(world, family.goods, SAGA_STATE_COMPLETED);
    family_assert_state(world, family.prepare, SAGA_STATE_COMPLETED);
    family_assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_SUCCEEDED);
    family_answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_OK, family_payment);
    family_answer_call(world, family.settle, SETTLE_ACCEPT, SAGA_CODE_OK, family_nothing);
    family_assert_state(world, family.settle, SAGA_STATE_COMPLETED);
    family_answer_call(world, family.order, PARENT_CONFIRM, SAGA_CODE_OK, family_nothing);
    struct saga_look look = family_look(world, family.order);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPLETED);
    static const uint8_t context[] = {0x08, 5,   0x10, 7,    0x20, 0x2a, 0x2a,
                                      0x02, 't', '1',  0x32, 0x02, 'p',  '1'};
    assert_int_equal(look.context.size, sizeof context);
    assert_memory_equal(look.context.data, context, sizeof context);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
    assert_int_equal(world->sends_before_commit, 0);
}

/* ---- Going back ---- */

static void test_parent_when_a_child_is_compensated_then_has_a_definitive_no(void **state)
{
    struct world *world = *state;
    struct family family = family_begin(world);
    family_answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_FAILED_PRECONDITION,
                       family_nothing);
    /* All the way up in one turn: nothing had happened below. */
    family_assert_state(world, family.goods, SAGA_STATE_COMPENSATED);
    family_assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    struct saga_look look = family_look(world, family.order);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPENSATING);
    assert_int_equal(look.saga.steps[PARENT_PREPARE].state, SAGA_STEP_REJECTED);
    assert_int_equal(look.saga.cause_step, PARENT_PREPARE);
    assert_string_equal(look.texts.cause_reason, "OUT_OF_STOCK");
    assert_string_equal(look.texts.cause_message, "0 left");
    family_answer_undo(world, family.order, PARENT_ORDER);
    family_assert_state(world, family.order, SAGA_STATE_COMPENSATED);
}

static void test_child_when_completed_and_the_parent_turns_back_then_is_undone(void **state)
{
    struct world *world = *state;
    struct family family = family_prepare(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2);
    family_answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_FAILED_PRECONDITION,
                       family_nothing);
    family_assert_state(world, family.settle, SAGA_STATE_COMPENSATED);
    family_assert_step(world, family.order, PARENT_SETTLE, SAGA_STEP_REJECTED);
    struct saga_look look = family_look(world, family.goods);
    assert_int_equal(look.saga.cause, SAGA_CAUSE_PARENT);
    assert_int_equal(look.saga.ended_unix_ms, 0);
    family_undo_prepared(world, &family);
}

static void test_child_when_out_and_the_parents_deadline_passes_then_turns_back(void **state)
{
    struct world *world = *state;
    struct family family = {.order = family_start(world)};
    family.prepare = family_child(world, "prepare", family.order, "prepare");
    world->now += 60000; /* the child's own passes too: either way it is undone once */
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    family_assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    family_assert_state(world, family.order, SAGA_STATE_COMPENSATING);
    family_answer_undo(world, family.order, PARENT_ORDER);
    family_assert_state(world, family.order, SAGA_STATE_COMPENSATED);
}

static void test_parent_when_cancelled_then_the_running_child_is_reversed(void **state)
{
    struct world *world = *state;
    struct family family = family_begin(world);
    family_answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, family_total);
    family_operate(world, family.order, SAGA_ACT_CANCEL);
    family_assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_UNDOING);
    assert_int_equal(family_look(world, family.prepare).saga.cause, SAGA_CAUSE_PARENT);
    family_undo_prepared(world, &family); /* the ticket's call was out */
}

static void test_child_when_cancelled_by_hand_then_is_a_definitive_no(void **state)
{
    struct world *world = *state;
    struct family family = family_begin(world);
    family_operate(world, family.goods, SAGA_ACT_CANCEL);
    family_answer_undo(world, family.goods, GOODS_STOCK);
    family_assert_state(world, family.goods, SAGA_STATE_COMPENSATED);
    family_assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    assert_string_equal(family_look(world, family.order).texts.cause_reason, "CANCELLED");
}

static void test_parent_when_cancelled_while_its_pivot_child_is_out_then_refused(void **state)
{
    struct world *world = *state;
    struct family family = family_prepare(world);
    family_operate(world, family.order, SAGA_ACT_CANCEL);
    assert_string_equal(world->reasons[world->answer_count - 1], "ACT_REFUSED"); /* S2 */
    family_operate(world, family.settle, SAGA_ACT_CANCEL); /* its own pivot is not reached */
    family_answer_undo(world, family.settle, SETTLE_PAYMENT);
    family_assert_step(world, family.order, PARENT_SETTLE, SAGA_STEP_REJECTED);
    family_undo_prepared(world, &family);
}

static void test_child_when_called_and_undone_in_one_turn_then_never_starts(void **state)
{
    struct world *world = *state;
    struct saga_id order = family_start_named(world, "prepare", "1");
    struct saga_runtime_reply yes = {
        .saga_id = order, .step = PREPARE_CUSTOMER, .op = SAGA_OP_CALL};
    struct saga_operate cancel = {.saga_id = order,
                                  .act = SAGA_ACT_CANCEL,
                                  .step_name = "",
                                  .who = "me",
                                  .why = "test",
                                  .ticket = world};
    family_give_reply(world, &yes); /* calls goods */
    saga_runtime_operate(world->runtime, &cancel);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    struct saga_id none;
    assert_false(family_find_child(world, "hold-goods", order, "goods", &none)); /* S4 */
    family_assert_state(world, order, SAGA_STATE_COMPENSATED);
    family_assert_step(world, order, PREPARE_GOODS, SAGA_STEP_UNDONE);
}

static void test_children_when_two_are_out_and_one_says_no_then_the_other_is_reversed(void **state)
{
    struct world *world = *state;
    struct saga_id both = family_start_named(world, "hold-twice", "1");
    struct saga_id left = family_child(world, "hold-goods", both, "left");
    struct saga_id right = family_child(world, "hold-goods", both, "right");
    assert_false(saga_id_equal(left, right));
    family_answer_call(world, left, GOODS_STOCK, SAGA_CODE_OK, family_total);
    family_answer_call(world, right, GOODS_STOCK, SAGA_CODE_FAILED_PRECONDITION, family_nothing);
    family_assert_state(world, right, SAGA_STATE_COMPENSATED);
    family_assert_state(world, left, SAGA_STATE_COMPENSATING);
    family_answer_undo(world, left, GOODS_TICKET);
    family_answer_undo(world, left, GOODS_STOCK);
    family_assert_state(world, both, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

static void test_child_when_it_parks_then_the_parent_waits_and_can_turn_it_back(void **state)
{
    struct world *world = *state;
    struct family family = family_begin(world);
    family_answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_PERMISSION_DENIED,
                       family_nothing);
    family_assert_state(world, family.goods, SAGA_STATE_PARKED);
    family_assert_state(world, family.prepare, SAGA_STATE_RUNNING);
    family_operate(world, family.order, SAGA_ACT_CANCEL);
    family_assert_state(world, family.goods, SAGA_STATE_COMPENSATING);
    family_answer_undo(world, family.goods, GOODS_STOCK);
    family_answer_undo(world, family.order, PARENT_ORDER);
    family_assert_state(world, family.order, SAGA_STATE_COMPENSATED);
}

static void hold(struct world *world, enum saga_act act, const char *definition)
{
    struct saga_pause_act pause = {
        .definition = definition, .act = act, .who = "me", .why = "test", .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_pause(world->runtime, &pause);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

/* No start of it is taken, but a parent's step may not fail for that: the child is there, held. */
static void test_child_when_its_definition_is_paused_then_it_is_held_until_it_goes_on(void **state)
{
    struct world *world = *state;
    hold(world, SAGA_ACT_PAUSE, "hold-goods");
    struct family family = family_begin(world);
    family_assert_state(world, family.goods, SAGA_STATE_RUNNING);
    family_assert_step(world, family.goods, GOODS_STOCK, SAGA_STEP_WAITING);
    family_assert_step(world, family.prepare, PREPARE_GOODS, SAGA_STEP_CALLED);
    hold(world, SAGA_ACT_RESUME, "hold-goods");
    family_assert_step(world, family.goods, GOODS_STOCK, SAGA_STEP_CALLED);
    hold(world, SAGA_ACT_PAUSE, "prepare"); /* its child's end is heard all the same */
    family_answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, family_total);
    family_answer_call(world, family.goods, GOODS_TICKET, SAGA_CODE_OK, family_ticket);
    family_assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_SUCCEEDED);
    family_assert_step(world, family.order, PARENT_SETTLE, SAGA_STEP_CALLED);
}

/* ---- Doors ---- */

static void test_start_when_its_key_is_a_childs_then_is_refused(void **state)
{
    struct world *world = *state;
    (void)family_start_named(world, "hold-goods", "child:1/goods");
    assert_int_equal(world->answers[0].code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(world->reasons[0], "BAD_KEY");
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* A house that is full of parents would never empty if their children had to wait at the door. */
static void test_child_when_the_house_is_full_then_starts_all_the_same(void **state)
{
    struct world *world = *state;
    struct saga_id first = {{0}};
    for (int i = 1; i <= 4; i++) {
        char key[2] = {(char)('0' + i), 0};
        struct saga_id id = family_start_named(world, "prepare", key);
        first = i == 1 ? id : first;
    }
    (void)family_start_named(world, "prepare", "5");
    assert_int_equal(world->answers[4].code, SAGA_CODE_OK); /* running_count_max is 5 */
    (void)family_start_named(world, "prepare", "6");
    assert_string_equal(world->reasons[5], "TOO_MANY_RUNNING");
    family_answer_call(world, first, PREPARE_CUSTOMER, SAGA_CODE_OK, family_nothing);
    family_assert_state(world, family_child(world, "hold-goods", first, "goods"),
                        SAGA_STATE_RUNNING);
}

static void test_reply_when_a_participant_speaks_for_a_child_then_is_ignored(void **state)
{
    struct world *world = *state;
    struct saga_id order = family_start(world);
    family_answer_call(world, order, PARENT_PREPARE, SAGA_CODE_OK, family_nothing);
    family_assert_step(world, order, PARENT_PREPARE, SAGA_STEP_CALLED);
}

static void test_child_when_its_definition_is_missing_then_the_parent_parks(void **state)
{
    struct world *world = *state;
    static const uint8_t unknown[SAGA_DIGEST_SIZE] = {1};
    for (size_t i = 0; i < world->extra_count; i++) {
        if (strcmp(world->extras[i].name, "prepare") == 0) {
            world->extras[i].child_hashes[PREPARE_GOODS] = unknown;
        }
    }
    struct saga_id id = family_start_named(world, "prepare", "1");
    family_answer_call(world, id, PREPARE_CUSTOMER, SAGA_CODE_OK, family_nothing);
    struct saga_look look = family_look(world, id);
    assert_int_equal(look.saga.state, SAGA_STATE_PARKED);
    assert_string_equal(look.texts.cause_reason, "DEFINITION_UNKNOWN");
}

/* Starts the saga "swollen" with a text of a size. */
static struct saga_id start_swollen(struct world *world, size_t size)
{
    struct saga_buf input = {0};
    assert_int_equal(saga_buf_reserve(&input, size + 8), SAGA_ERR_OK);
    uint8_t *at = input.data;
    *at++ = 0x1a; /* text */
    *at++ = (uint8_t)((size & 0x7f) | 0x80);
    *at++ = (uint8_t)((size >> 7 & 0x7f) | 0x80);
    *at++ = (uint8_t)(size >> 14);
    memset(at, 'x', size);
    input.size = (size_t)(at - input.data) + size;
    struct saga_start start = {.definition = "swollen",
                               .key = "1",
                               .input = saga_buf_view(&input),
                               .traceparent = "",
                               .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_start(world->runtime, &start);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    saga_buf_fini(&input);
    assert_int_equal(world->answers[world->answer_count - 1].code, SAGA_CODE_OK);
    return world->answers[world->answer_count - 1].id;
}

static void test_child_when_its_input_is_too_large_then_a_definitive_no(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_swollen(world, 40000); /* twice that for the child */
    struct saga_look look = family_look(world, id);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPENSATED);
    assert_int_equal(look.saga.steps[0].state, SAGA_STEP_REJECTED);
    assert_int_equal(look.saga.cause_code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(look.texts.cause_reason, "BAD_INPUT");
    struct saga_id none;
    assert_false(family_find_child(world, "two-texts", id, "twice", &none));
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* It completed, but its parent cannot take what it brings: asked again it says the same, and in the
 * end it is undone. */
static void test_parent_when_a_child_brings_too_much_then_it_is_undone(void **state)
{
    struct world *world = *state;
    static uint8_t large[40000 + 4] = {0x0a, 0xc0, 0xb8, 0x02}; /* ticket_id: 40000 bytes */
    memset(large + 4, 't', sizeof large - 4);
    struct saga_id id = start_swollen(world, 32000);
    struct saga_id texts = family_child(world, "two-texts", id, "twice");
    family_answer_call(world, texts, 0, SAGA_CODE_OK, family_nothing);
    struct saga_id goods = family_child(world, "hold-goods", id, "goods");
    family_answer_call(world, goods, GOODS_STOCK, SAGA_CODE_OK, family_total);
    family_answer_call(world, goods, GOODS_TICKET, SAGA_CODE_OK,
                       (struct saga_bytes){large, sizeof large});
    family_assert_state(world, goods, SAGA_STATE_COMPLETED);
    assert_int_equal(family_look(world, id).saga.steps[1].last_code, SAGA_CODE_INTERNAL);
    for (int i = 0; i < 10 && family_look(world, id).saga.state == SAGA_STATE_RUNNING; i++) {
        world->now = saga_runtime_next_due(world->runtime);
        assert_int_equal(world_turn(world), SAGA_ERR_OK);
    }
    assert_string_equal(family_look(world, id).texts.cause_reason, "BAD_REPLY");
    family_assert_state(world, goods, SAGA_STATE_COMPENSATING);
    family_answer_undo(world, goods, GOODS_TICKET);
    family_answer_undo(world, goods, GOODS_STOCK);
    family_assert_state(world, id, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* No checked definition has such a child. If there were one, nothing of it is undone (S2). */
static void test_child_when_its_pivot_is_reached_then_it_is_not_reversed(void **state)
{
    struct world *world = *state;
    for (size_t i = 0; i < world->extra_count; i++) {
        if (strcmp(world->extras[i].name, "hold-goods") == 0) {
            world->extras[i].def.steps[GOODS_TICKET].pivot = true;
            world->extras[i].def.steps[GOODS_TICKET].has_undo = false;
            assert_true(saga_definition_finish(&world->extras[i].def));
        }
    }
    struct family family = family_prepare(world);
    family_operate(world, family.settle, SAGA_ACT_CANCEL);
    family_answer_undo(world, family.settle, SETTLE_PAYMENT);
    family_assert_state(world, family.goods, SAGA_STATE_COMPLETED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2); /* order and prepare */
    struct saga_look look = family_look(world, family.prepare);
    assert_int_equal(look.saga.steps[PREPARE_GOODS].state, SAGA_STEP_UNDOING);
    assert_int_equal(look.saga.steps[PREPARE_GOODS].wait, SAGA_WAIT_RETRY);
    assert_int_equal(look.saga.steps[PREPARE_GOODS].last_code, SAGA_CODE_FAILED_PRECONDITION);
    struct saga_operate resolve = {.saga_id = family.prepare,
                                   .act = SAGA_ACT_RESOLVE,
                                   .step_name = "goods",
                                   .who = "me",
                                   .why = "by hand",
                                   .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_operate(world->runtime, &resolve);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    family_assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    family_assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_UNDONE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, family_setup, family_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_child_when_its_turn_comes_then_starts_in_the_parents_commit),
        CASE(test_parent_when_children_complete_then_takes_what_they_brought),
        CASE(test_parent_when_a_child_is_compensated_then_has_a_definitive_no),
        CASE(test_child_when_completed_and_the_parent_turns_back_then_is_undone),
        CASE(test_child_when_out_and_the_parents_deadline_passes_then_turns_back),
        CASE(test_parent_when_cancelled_then_the_running_child_is_reversed),
        CASE(test_child_when_cancelled_by_hand_then_is_a_definitive_no),
        CASE(test_parent_when_cancelled_while_its_pivot_child_is_out_then_refused),
        CASE(test_child_when_called_and_undone_in_one_turn_then_never_starts),
        CASE(test_children_when_two_are_out_and_one_says_no_then_the_other_is_reversed),
        CASE(test_child_when_it_parks_then_the_parent_waits_and_can_turn_it_back),
        CASE(test_child_when_its_definition_is_paused_then_it_is_held_until_it_goes_on),
        CASE(test_start_when_its_key_is_a_childs_then_is_refused),
        CASE(test_child_when_the_house_is_full_then_starts_all_the_same),
        CASE(test_reply_when_a_participant_speaks_for_a_child_then_is_ignored),
        CASE(test_child_when_its_definition_is_missing_then_the_parent_parks),
        CASE(test_child_when_its_input_is_too_large_then_a_definitive_no),
        CASE(test_parent_when_a_child_brings_too_much_then_it_is_undone),
        CASE(test_child_when_its_pivot_is_reached_then_it_is_not_reversed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
