/* Child sagas on the real store: tests/support/nested/v1/nested.proto, three sagas deep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/envelope.h"
#include "saga/v1/audit.pb-c.h"
#include "tests/unit/runtime/world.h"

static const struct saga_bytes nothing = {NULL, 0};
static const uint8_t total_bytes[] = {0x08, 0x2a};            /* total_cents: 42 */
static const uint8_t ticket_bytes[] = {0x0a, 0x02, 't', '1'}; /* ticket_id: "t1" */
static const uint8_t payment_bytes[] = {0x0a, 0x02, 'p', '1'};
static const struct saga_bytes total = {total_bytes, sizeof total_bytes};
static const struct saga_bytes ticket = {ticket_bytes, sizeof ticket_bytes};
static const struct saga_bytes payment = {payment_bytes, sizeof payment_bytes};

/* Steps by index. */
enum { PARENT_ORDER, PARENT_PREPARE, PARENT_SETTLE, PARENT_CONFIRM };
enum { PREPARE_CUSTOMER, PREPARE_GOODS };
enum { GOODS_STOCK, GOODS_TICKET };
enum { SETTLE_PAYMENT, SETTLE_ACCEPT };

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world_open_with(world, SAGA_NESTED_SET);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

/* ---- Driving ---- */

static struct saga_id start_named(struct world *world, const char *definition, const char *key)
{
    static const uint8_t input[] = {0x08, 5, 0x10, 7}; /* order_id: 5, customer_id: 7 */
    struct saga_start start = {.definition = definition,
                               .key = key,
                               .input = {input, sizeof input},
                               .traceparent = "00-trace",
                               .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_start(world->runtime, &start);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    return world->answers[world->answer_count - 1].id;
}

static struct saga_id start_order(struct world *world)
{
    return start_named(world, "order-nested", "1");
}

/* The child of a saga's step, as the store has it. */
static bool find_child(struct world *world, const char *definition, struct saga_id parent,
                       const char *step, struct saga_id *id)
{
    char text[SAGA_ID_TEXT_SIZE];
    char key[SAGA_START_KEY_MAX + 1];
    struct saga_row row;
    saga_id_format(parent, text);
    (void)snprintf(key, sizeof key, "child:%s/%s", text, step);
    enum saga_err err = world->inner.ops->find_key(world->inner.store, definition, key, &row, NULL);
    assert_true(err == SAGA_ERR_OK || err == SAGA_ERR_NOT_FOUND);
    if (err == SAGA_ERR_OK) {
        *id = row.id;
    }
    return err == SAGA_ERR_OK;
}

static struct saga_id child_of(struct world *world, const char *definition, struct saga_id parent,
                               const char *step)
{
    struct saga_id id;
    assert_true(find_child(world, definition, parent, step, &id));
    return id;
}

static struct saga_look look_at(struct world *world, struct saga_id id)
{
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    return look;
}

static void assert_state(struct world *world, struct saga_id id, enum saga_state state)
{
    assert_int_equal(look_at(world, id).saga.state, state);
}

static void assert_step(struct world *world, struct saga_id id, uint8_t step,
                        enum saga_step_state state)
{
    assert_int_equal(look_at(world, id).saga.steps[step].state, state);
}

static void give_reply(struct world *world, const struct saga_runtime_reply *reply)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_reply(world->runtime, reply);
}

static void answer_call(struct world *world, struct saga_id id, uint8_t step, enum saga_code code,
                        struct saga_bytes payload)
{
    struct saga_runtime_reply reply = {
        .saga_id = id,
        .step = step,
        .op = SAGA_OP_CALL,
        .code = code,
        .reason = code == SAGA_CODE_OK ? "" : "OUT_OF_STOCK",
        .message = code == SAGA_CODE_OK ? "" : "0 left",
        .payload = payload,
    };
    give_reply(world, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

static void answer_undo(struct world *world, struct saga_id id, uint8_t step)
{
    struct saga_runtime_reply reply = {.saga_id = id, .step = step, .op = SAGA_OP_UNDO};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_durable(world->runtime, id, step, SAGA_OP_UNDO, 1);
    saga_runtime_reply(world->runtime, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

static void operate(struct world *world, struct saga_id id, enum saga_act act)
{
    struct saga_operate act_on = {
        .saga_id = id, .act = act, .step_name = "", .who = "me", .why = "test", .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_operate(world->runtime, &act_on);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

/* The sagas of one order. */
struct family {
    struct saga_id order, prepare, goods, settle;
};

/* Brings the goods' child to where both its steps are out or done. */
static struct family begin_family(struct world *world)
{
    struct family family = {.order = start_order(world)};
    family.prepare = child_of(world, "prepare", family.order, "prepare");
    answer_call(world, family.prepare, PREPARE_CUSTOMER, SAGA_CODE_OK, nothing);
    family.goods = child_of(world, "hold-goods", family.prepare, "goods");
    return family;
}

static struct family prepared_family(struct world *world)
{
    struct family family = begin_family(world);
    answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, total);
    answer_call(world, family.goods, GOODS_TICKET, SAGA_CODE_OK, ticket);
    family.settle = child_of(world, "settle", family.order, "settle");
    return family;
}

static void undo_prepared(struct world *world, const struct family *family)
{
    assert_state(world, family->prepare, SAGA_STATE_COMPENSATING);
    assert_state(world, family->goods, SAGA_STATE_COMPENSATING);
    answer_undo(world, family->goods, GOODS_TICKET);
    answer_undo(world, family->goods, GOODS_STOCK);
    assert_state(world, family->goods, SAGA_STATE_COMPENSATED);
    assert_state(world, family->prepare, SAGA_STATE_COMPENSATED);
    assert_step(world, family->order, PARENT_PREPARE, SAGA_STEP_UNDONE);
    answer_undo(world, family->order, PARENT_ORDER);
    assert_state(world, family->order, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* ---- Going forward ---- */

static void test_child_when_its_turn_comes_then_starts_in_the_parents_commit(void **state)
{
    struct world *world = *state;
    unsigned before = world->commits;
    struct saga_id order = start_order(world);
    struct saga_id prepare = child_of(world, "prepare", order, "prepare");
    assert_int_equal(world->commits, before + 1); /* both */
    assert_int_equal(saga_runtime_live_count(world->runtime), 2);
    assert_int_equal(world->sent_count, 1); /* the child's first call; none of the parent's */
    assert_true(saga_id_equal(world->sent[0].saga_id, prepare));
    struct saga_look look = look_at(world, order);
    assert_int_equal(look.saga.steps[PARENT_PREPARE].state, SAGA_STEP_CALLED);
    assert_int_equal(look.saga.steps[PARENT_PREPARE].wait, SAGA_WAIT_CHILD);
    assert_string_equal(look.texts.parent_step, "");
    look = look_at(world, prepare);
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
    struct family family = prepared_family(world);
    assert_state(world, family.goods, SAGA_STATE_COMPLETED);
    assert_state(world, family.prepare, SAGA_STATE_COMPLETED);
    assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_SUCCEEDED);
    answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_OK, payment);
    answer_call(world, family.settle, SETTLE_ACCEPT, SAGA_CODE_OK, nothing);
    assert_state(world, family.settle, SAGA_STATE_COMPLETED);
    answer_call(world, family.order, PARENT_CONFIRM, SAGA_CODE_OK, nothing);
    struct saga_look look = look_at(world, family.order);
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
    struct family family = begin_family(world);
    answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_FAILED_PRECONDITION, nothing);
    /* All the way up in one turn: nothing had happened below. */
    assert_state(world, family.goods, SAGA_STATE_COMPENSATED);
    assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    struct saga_look look = look_at(world, family.order);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPENSATING);
    assert_int_equal(look.saga.steps[PARENT_PREPARE].state, SAGA_STEP_REJECTED);
    assert_int_equal(look.saga.cause_step, PARENT_PREPARE);
    assert_string_equal(look.texts.cause_reason, "OUT_OF_STOCK");
    assert_string_equal(look.texts.cause_message, "0 left");
    answer_undo(world, family.order, PARENT_ORDER);
    assert_state(world, family.order, SAGA_STATE_COMPENSATED);
}

static void test_child_when_completed_and_the_parent_turns_back_then_is_undone(void **state)
{
    struct world *world = *state;
    struct family family = prepared_family(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2);
    answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_FAILED_PRECONDITION, nothing);
    assert_state(world, family.settle, SAGA_STATE_COMPENSATED);
    assert_step(world, family.order, PARENT_SETTLE, SAGA_STEP_REJECTED);
    struct saga_look look = look_at(world, family.goods);
    assert_int_equal(look.saga.cause, SAGA_CAUSE_PARENT);
    assert_int_equal(look.saga.ended_unix_ms, 0);
    undo_prepared(world, &family);
}

static void test_child_when_out_and_the_parents_deadline_passes_then_turns_back(void **state)
{
    struct world *world = *state;
    struct family family = {.order = start_order(world)};
    family.prepare = child_of(world, "prepare", family.order, "prepare");
    world->now += 60000; /* the child's own passes too: either way it is undone once */
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    assert_state(world, family.order, SAGA_STATE_COMPENSATING);
    answer_undo(world, family.order, PARENT_ORDER);
    assert_state(world, family.order, SAGA_STATE_COMPENSATED);
}

static void test_parent_when_cancelled_then_the_running_child_is_reversed(void **state)
{
    struct world *world = *state;
    struct family family = begin_family(world);
    answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, total);
    operate(world, family.order, SAGA_ACT_CANCEL);
    assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_UNDOING);
    assert_int_equal(look_at(world, family.prepare).saga.cause, SAGA_CAUSE_PARENT);
    undo_prepared(world, &family); /* the ticket's call was out */
}

static void test_child_when_cancelled_by_hand_then_is_a_definitive_no(void **state)
{
    struct world *world = *state;
    struct family family = begin_family(world);
    operate(world, family.goods, SAGA_ACT_CANCEL);
    answer_undo(world, family.goods, GOODS_STOCK);
    assert_state(world, family.goods, SAGA_STATE_COMPENSATED);
    assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    assert_string_equal(look_at(world, family.order).texts.cause_reason, "CANCELLED");
}

static void test_parent_when_cancelled_while_its_pivot_child_is_out_then_refused(void **state)
{
    struct world *world = *state;
    struct family family = prepared_family(world);
    operate(world, family.order, SAGA_ACT_CANCEL);
    assert_string_equal(world->reasons[world->answer_count - 1], "ACT_REFUSED"); /* S2 */
    operate(world, family.settle, SAGA_ACT_CANCEL); /* its own pivot is not reached */
    answer_undo(world, family.settle, SETTLE_PAYMENT);
    assert_step(world, family.order, PARENT_SETTLE, SAGA_STEP_REJECTED);
    undo_prepared(world, &family);
}

static void test_child_when_called_and_undone_in_one_turn_then_never_starts(void **state)
{
    struct world *world = *state;
    struct saga_id order = start_named(world, "prepare", "1");
    struct saga_runtime_reply yes = {
        .saga_id = order, .step = PREPARE_CUSTOMER, .op = SAGA_OP_CALL};
    struct saga_operate cancel = {.saga_id = order,
                                  .act = SAGA_ACT_CANCEL,
                                  .step_name = "",
                                  .who = "me",
                                  .why = "test",
                                  .ticket = world};
    give_reply(world, &yes); /* calls goods */
    saga_runtime_operate(world->runtime, &cancel);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    struct saga_id none;
    assert_false(find_child(world, "hold-goods", order, "goods", &none)); /* S4 */
    assert_state(world, order, SAGA_STATE_COMPENSATED);
    assert_step(world, order, PREPARE_GOODS, SAGA_STEP_UNDONE);
}

static void test_children_when_two_are_out_and_one_says_no_then_the_other_is_reversed(void **state)
{
    struct world *world = *state;
    struct saga_id both = start_named(world, "hold-twice", "1");
    struct saga_id left = child_of(world, "hold-goods", both, "left");
    struct saga_id right = child_of(world, "hold-goods", both, "right");
    assert_false(saga_id_equal(left, right));
    answer_call(world, left, GOODS_STOCK, SAGA_CODE_OK, total);
    answer_call(world, right, GOODS_STOCK, SAGA_CODE_FAILED_PRECONDITION, nothing);
    assert_state(world, right, SAGA_STATE_COMPENSATED);
    assert_state(world, left, SAGA_STATE_COMPENSATING);
    answer_undo(world, left, GOODS_TICKET);
    answer_undo(world, left, GOODS_STOCK);
    assert_state(world, both, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

static void test_child_when_it_parks_then_the_parent_waits_and_can_turn_it_back(void **state)
{
    struct world *world = *state;
    struct family family = begin_family(world);
    answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_PERMISSION_DENIED, nothing);
    assert_state(world, family.goods, SAGA_STATE_PARKED);
    assert_state(world, family.prepare, SAGA_STATE_RUNNING);
    operate(world, family.order, SAGA_ACT_CANCEL);
    assert_state(world, family.goods, SAGA_STATE_COMPENSATING);
    answer_undo(world, family.goods, GOODS_STOCK);
    answer_undo(world, family.order, PARENT_ORDER);
    assert_state(world, family.order, SAGA_STATE_COMPENSATED);
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
    struct family family = begin_family(world);
    assert_state(world, family.goods, SAGA_STATE_RUNNING);
    assert_step(world, family.goods, GOODS_STOCK, SAGA_STEP_WAITING);
    assert_step(world, family.prepare, PREPARE_GOODS, SAGA_STEP_CALLED);
    hold(world, SAGA_ACT_RESUME, "hold-goods");
    assert_step(world, family.goods, GOODS_STOCK, SAGA_STEP_CALLED);
    hold(world, SAGA_ACT_PAUSE, "prepare"); /* its child's end is heard all the same */
    answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, total);
    answer_call(world, family.goods, GOODS_TICKET, SAGA_CODE_OK, ticket);
    assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_SUCCEEDED);
    assert_step(world, family.order, PARENT_SETTLE, SAGA_STEP_CALLED);
}

/* ---- Doors ---- */

static void test_start_when_its_key_is_a_childs_then_is_refused(void **state)
{
    struct world *world = *state;
    (void)start_named(world, "hold-goods", "child:1/goods");
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
        struct saga_id id = start_named(world, "prepare", key);
        first = i == 1 ? id : first;
    }
    (void)start_named(world, "prepare", "5");
    assert_int_equal(world->answers[4].code, SAGA_CODE_OK); /* running_count_max is 5 */
    (void)start_named(world, "prepare", "6");
    assert_string_equal(world->reasons[5], "TOO_MANY_RUNNING");
    answer_call(world, first, PREPARE_CUSTOMER, SAGA_CODE_OK, nothing);
    assert_state(world, child_of(world, "hold-goods", first, "goods"), SAGA_STATE_RUNNING);
}

static void test_reply_when_a_participant_speaks_for_a_child_then_is_ignored(void **state)
{
    struct world *world = *state;
    struct saga_id order = start_order(world);
    answer_call(world, order, PARENT_PREPARE, SAGA_CODE_OK, nothing);
    assert_step(world, order, PARENT_PREPARE, SAGA_STEP_CALLED);
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
    struct saga_id id = start_named(world, "prepare", "1");
    answer_call(world, id, PREPARE_CUSTOMER, SAGA_CODE_OK, nothing);
    struct saga_look look = look_at(world, id);
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
    struct saga_look look = look_at(world, id);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPENSATED);
    assert_int_equal(look.saga.steps[0].state, SAGA_STEP_REJECTED);
    assert_int_equal(look.saga.cause_code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(look.texts.cause_reason, "BAD_INPUT");
    struct saga_id none;
    assert_false(find_child(world, "two-texts", id, "twice", &none));
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
    struct saga_id texts = child_of(world, "two-texts", id, "twice");
    answer_call(world, texts, 0, SAGA_CODE_OK, nothing);
    struct saga_id goods = child_of(world, "hold-goods", id, "goods");
    answer_call(world, goods, GOODS_STOCK, SAGA_CODE_OK, total);
    answer_call(world, goods, GOODS_TICKET, SAGA_CODE_OK, (struct saga_bytes){large, sizeof large});
    assert_state(world, goods, SAGA_STATE_COMPLETED);
    assert_int_equal(look_at(world, id).saga.steps[1].last_code, SAGA_CODE_INTERNAL);
    for (int i = 0; i < 10 && look_at(world, id).saga.state == SAGA_STATE_RUNNING; i++) {
        world->now = saga_runtime_next_due(world->runtime);
        assert_int_equal(world_turn(world), SAGA_ERR_OK);
    }
    assert_string_equal(look_at(world, id).texts.cause_reason, "BAD_REPLY");
    assert_state(world, goods, SAGA_STATE_COMPENSATING);
    answer_undo(world, goods, GOODS_TICKET);
    answer_undo(world, goods, GOODS_STOCK);
    assert_state(world, id, SAGA_STATE_COMPENSATED);
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
    struct family family = prepared_family(world);
    operate(world, family.settle, SAGA_ACT_CANCEL);
    answer_undo(world, family.settle, SETTLE_PAYMENT);
    assert_state(world, family.goods, SAGA_STATE_COMPLETED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2); /* order and prepare */
    struct saga_look look = look_at(world, family.prepare);
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
    assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_UNDONE);
}

/* ---- Crashes ---- */

static void test_recovery_when_children_are_out_then_goes_on_without_a_second_one(void **state)
{
    struct world *world = *state;
    struct family family = begin_family(world);
    answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, total);
    world_crash(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 3);
    assert_int_equal(world->sent_count, 1); /* the ticket's call; nothing else was out */
    answer_call(world, family.goods, GOODS_TICKET, SAGA_CODE_OK, ticket);
    assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_SUCCEEDED);
    family.settle = child_of(world, "settle", family.order, "settle");
    world_crash(world);
    answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_OK, payment);
    answer_call(world, family.settle, SETTLE_ACCEPT, SAGA_CODE_OK, nothing);
    answer_call(world, family.order, PARENT_CONFIRM, SAGA_CODE_OK, nothing);
    assert_state(world, family.order, SAGA_STATE_COMPLETED);
}

static void test_recovery_when_a_reversed_child_is_out_then_it_is_still_undone(void **state)
{
    struct world *world = *state;
    struct family family = prepared_family(world);
    answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_FAILED_PRECONDITION, nothing);
    world_crash(world); /* goods had COMPLETED, and is in flight again */
    assert_int_equal(saga_runtime_live_count(world->runtime), 3);
    undo_prepared(world, &family);
}

/* A parent is loaded with an earlier page than its child: what it asks for waits. */
static void test_recovery_when_children_are_on_a_later_page_then_each_is_taken_up_once(void **state)
{
    struct world *world = *state;
    enum { MANY = 600 };
    static struct saga_id parents[MANY];
    world->live_max = 2 * MANY;
    world_crash(world);
    saga_runtime_turn_begin(world->runtime, world->now);
    for (int i = 0; i < MANY; i++) {
        static const uint8_t input[] = {0x08, 5, 0x10, 7};
        char key[8];
        (void)snprintf(key, sizeof key, "%d", i);
        struct saga_start start = {.definition = "prepare",
                                   .key = key,
                                   .input = {input, sizeof input},
                                   .traceparent = "",
                                   .ticket = world};
        saga_runtime_start(world->runtime, &start);
        if (i % WORLD_ANSWERS_MAX == WORLD_ANSWERS_MAX - 1 || i == MANY - 1) {
            assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
            for (size_t a = 0; a < world->answer_count; a++) {
                parents[(size_t)i + 1 - world->answer_count + a] = world->answers[a].id;
            }
            world->answer_count = 0;
            world->sent_count = 0;
            saga_runtime_turn_begin(world->runtime, world->now);
        }
    }
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    world->now += 1; /* children have later ids */
    for (int i = 0; i < MANY; i++) {
        answer_call(world, parents[i], PREPARE_CUSTOMER, SAGA_CODE_OK, nothing);
        operate(world, parents[i], SAGA_ACT_CANCEL);
        world->answer_count = 0;
        world->sent_count = 0;
    }
    assert_int_equal(saga_runtime_live_count(world->runtime), 2 * MANY);
    world_crash(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2 * MANY);
    for (int i = 0; i < MANY; i++) {
        answer_undo(world, child_of(world, "hold-goods", parents[i], "goods"), GOODS_STOCK);
        assert_state(world, parents[i], SAGA_STATE_COMPENSATED);
    }
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* Every event of a tree's sagas, from the log: chained (S9), and a child's START names its parent.
 */
struct told {
    struct saga_id parent;
    char step[SAGA_STEP_NAME_MAX + 1];
    uint64_t seq;
};

static bool visit_event(void *user, const struct saga_audit_row *row)
{
    struct told *told = user;
    struct saga_arena arena = {0};
    const Saga__V1__AuditEvent *event = (const Saga__V1__AuditEvent *)saga_message_decode(
        &saga__v1__audit_event__descriptor, row->event, &arena);
    assert_non_null(event);
    assert_int_equal(event->seq, told->seq + 1);
    told->seq = event->seq;
    if (event->seq == 1) {
        assert_int_equal(event->parent_saga_id.len, SAGA_ID_SIZE);
        memcpy(told->parent.b, event->parent_saga_id.data, SAGA_ID_SIZE);
        (void)snprintf(told->step, sizeof told->step, "%s", event->parent_step);
    }
    saga_arena_fini(&arena);
    return true;
}

static void test_log_when_a_saga_is_a_child_then_its_start_names_its_parent(void **state)
{
    struct world *world = *state;
    struct family family = begin_family(world);
    struct saga_audit_range range = {family.goods, 0, 10};
    struct told told = {.seq = 0};
    assert_int_equal(
        world->inner.ops->list_audit(world->inner.store, &range, visit_event, &told, NULL),
        SAGA_ERR_OK);
    assert_true(told.seq > 0);
    assert_true(saga_id_equal(told.parent, family.prepare));
    assert_string_equal(told.step, "goods");
}

/* ---- A failing store ---- */

/* One turn that starts, ends, tells or reverses sagas; world is where it is about to happen. */
typedef void scene(struct world *world, struct family *family);
typedef void turn_of(struct world *world, const struct family *family);

static void scene_started(struct world *world, struct family *family)
{
    *family = begin_family(world);
    answer_call(world, family->goods, GOODS_STOCK, SAGA_CODE_OK, total);
}

static void turn_ticket(struct world *world, const struct family *family)
{
    struct saga_runtime_reply reply = {
        .saga_id = family->goods, .step = GOODS_TICKET, .op = SAGA_OP_CALL, .payload = ticket};
    give_reply(world, &reply);
}

static void scene_prepared(struct world *world, struct family *family)
{
    *family = prepared_family(world);
}

static void turn_declined(struct world *world, const struct family *family)
{
    struct saga_runtime_reply reply = {.saga_id = family->settle,
                                       .step = SETTLE_PAYMENT,
                                       .op = SAGA_OP_CALL,
                                       .code = SAGA_CODE_FAILED_PRECONDITION,
                                       .reason = "PAYMENT_DECLINED",
                                       .message = ""};
    give_reply(world, &reply);
}

static void scene_undone(struct world *world, struct family *family)
{
    *family = prepared_family(world);
    turn_declined(world, family);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    answer_undo(world, family->goods, GOODS_TICKET);
}

static void turn_released(struct world *world, const struct family *family)
{
    struct saga_runtime_reply reply = {
        .saga_id = family->goods, .step = GOODS_STOCK, .op = SAGA_OP_UNDO};
    give_reply(world, &reply);
}

/* The states of a family, to be compared. */
static void read_family(struct world *world, const struct family *family, struct saga_look looks[3])
{
    looks[0] = look_at(world, family->order);
    looks[1] = look_at(world, family->prepare);
    looks[2] = look_at(world, family->goods);
}

/* Lets every store call of a turn fail, each in a world of its own: after it nothing of the turn is
 * there, and a new process does all of it. */
static void fail_each_call(scene *before, turn_of *turn, unsigned failures_min)
{
    bool failed = true;
    unsigned failures = 0;
    for (unsigned nth = 1; failed; nth++) {
        struct world *world = calloc(1, sizeof *world);
        struct family family = {{{0}}, {{0}}, {{0}}, {{0}}};
        struct saga_look was[3];
        struct saga_look is[3];
        assert_non_null(world);
        world_open_with(world, SAGA_NESTED_SET);
        before(world, &family);
        read_family(world, &family, was);
        size_t live = saga_runtime_live_count(world->runtime);
        world->sent_count = 0;
        world->calls = 0;
        world->fail_at = nth;
        world->reads_fail = true;
        turn(world, &family);
        failed = saga_runtime_turn_end(world->runtime, false, NULL) != SAGA_ERR_OK;
        world->reads_fail = false;
        if (failed) {
            failures += 1;
            assert_int_equal(world->sent_count, 0);
            world_crash(world);
            assert_int_equal(saga_runtime_live_count(world->runtime), live);
            read_family(world, &family, is);
            for (size_t i = 0; i < 3; i++) {
                assert_int_equal(is[i].saga.state, was[i].saga.state);
            }
            turn(world, &family);
            assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
        }
        read_family(world, &family, is);
        assert_int_not_equal(is[2].saga.state, was[2].saga.state);
        world_fini(world);
        free(world);
    }
    assert_true(failures >= failures_min);
}

static void
test_store_when_any_call_of_a_childs_end_fails_then_all_of_it_is_done_again(void **state)
{
    (void)state;
    /* begin; audit of goods, prepare, order; settle: insert, audit; five rows; commit */
    fail_each_call(scene_started, turn_ticket, 10);
}

static void test_store_when_any_call_of_a_reversal_fails_then_all_of_it_is_done_again(void **state)
{
    (void)state;
    fail_each_call(scene_prepared, turn_declined, 10);
}

static void
test_store_when_any_call_of_an_undos_end_fails_then_all_of_it_is_done_again(void **state)
{
    (void)state;
    fail_each_call(scene_undone, turn_released, 8);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        CASE(test_recovery_when_children_are_out_then_goes_on_without_a_second_one),
        CASE(test_recovery_when_a_reversed_child_is_out_then_it_is_still_undone),
        CASE(test_recovery_when_children_are_on_a_later_page_then_each_is_taken_up_once),
        CASE(test_log_when_a_saga_is_a_child_then_its_start_names_its_parent),
        cmocka_unit_test(
            test_store_when_any_call_of_a_childs_end_fails_then_all_of_it_is_done_again),
        cmocka_unit_test(test_store_when_any_call_of_a_reversal_fails_then_all_of_it_is_done_again),
        cmocka_unit_test(
            test_store_when_any_call_of_an_undos_end_fails_then_all_of_it_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
