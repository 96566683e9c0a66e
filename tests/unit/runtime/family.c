#include "tests/unit/runtime/family.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct saga_bytes family_nothing = {NULL, 0};
static const uint8_t total_bytes[] = {0x08, 0x2a};            /* total_cents: 42 */
static const uint8_t ticket_bytes[] = {0x0a, 0x02, 't', '1'}; /* ticket_id: "t1" */
static const uint8_t payment_bytes[] = {0x0a, 0x02, 'p', '1'};
const struct saga_bytes family_total = {total_bytes, sizeof total_bytes};
const struct saga_bytes family_ticket = {ticket_bytes, sizeof ticket_bytes};
const struct saga_bytes family_payment = {payment_bytes, sizeof payment_bytes};

int family_setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world_open_with(world, SAGA_NESTED_SET);
    *state = world;
    return 0;
}

int family_teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

struct saga_id family_start_named(struct world *world, const char *definition, const char *key)
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

struct saga_id family_start(struct world *world)
{
    return family_start_named(world, "order-nested", "1");
}

/* The child of a saga's step, as the store has it. */
bool family_find_child(struct world *world, const char *definition, struct saga_id parent,
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

struct saga_id family_child(struct world *world, const char *definition, struct saga_id parent,
                            const char *step)
{
    struct saga_id id;
    assert_true(family_find_child(world, definition, parent, step, &id));
    return id;
}

struct saga_look family_look(struct world *world, struct saga_id id)
{
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    return look;
}

void family_assert_state(struct world *world, struct saga_id id, enum saga_state state)
{
    assert_int_equal(family_look(world, id).saga.state, state);
}

void family_assert_step(struct world *world, struct saga_id id, uint8_t step,
                        enum saga_step_state state)
{
    assert_int_equal(family_look(world, id).saga.steps[step].state, state);
}

void family_give_reply(struct world *world, const struct saga_runtime_reply *reply)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_reply(world->runtime, reply);
}

void family_answer_call(struct world *world, struct saga_id id, uint8_t step, enum saga_code code,
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
    family_give_reply(world, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

void family_answer_undo(struct world *world, struct saga_id id, uint8_t step)
{
    struct saga_runtime_reply reply = {.saga_id = id, .step = step, .op = SAGA_OP_UNDO};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_durable(world->runtime, id, step, SAGA_OP_UNDO, 1);
    saga_runtime_reply(world->runtime, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

void family_operate(struct world *world, struct saga_id id, enum saga_act act)
{
    struct saga_operate act_on = {
        .saga_id = id, .act = act, .step_name = "", .who = "me", .why = "test", .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_operate(world->runtime, &act_on);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

/* Brings the goods' child to where both its steps are out or done. */
struct family family_begin(struct world *world)
{
    struct family family = {.order = family_start(world)};
    family.prepare = family_child(world, "prepare", family.order, "prepare");
    family_answer_call(world, family.prepare, PREPARE_CUSTOMER, SAGA_CODE_OK, family_nothing);
    family.goods = family_child(world, "hold-goods", family.prepare, "goods");
    return family;
}

struct family family_prepare(struct world *world)
{
    struct family family = family_begin(world);
    family_answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, family_total);
    family_answer_call(world, family.goods, GOODS_TICKET, SAGA_CODE_OK, family_ticket);
    family.settle = family_child(world, "settle", family.order, "settle");
    return family;
}

void family_undo_prepared(struct world *world, const struct family *family)
{
    family_assert_state(world, family->prepare, SAGA_STATE_COMPENSATING);
    family_assert_state(world, family->goods, SAGA_STATE_COMPENSATING);
    family_answer_undo(world, family->goods, GOODS_TICKET);
    family_answer_undo(world, family->goods, GOODS_STOCK);
    family_assert_state(world, family->goods, SAGA_STATE_COMPENSATED);
    family_assert_state(world, family->prepare, SAGA_STATE_COMPENSATED);
    family_assert_step(world, family->order, PARENT_PREPARE, SAGA_STEP_UNDONE);
    family_answer_undo(world, family->order, PARENT_ORDER);
    family_assert_state(world, family->order, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}
