/* What one turn does to what is beside the sagas: counts, offsets, times, those who ask while the
 * store has failed, words about sagas that are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/runtime/family.h"

enum { ORDER = 0, CUSTOMER = 1, STOCK = 2 };

/* More offsets than the runtime gathers partitions. */
enum { MANY = 1000 };

static struct saga_id start_order(struct world *world, const char *key)
{
    return family_start_named(world, "create-order", key);
}

static void end_turn(struct world *world, bool force)
{
    assert_int_equal(saga_runtime_turn_end(world->runtime, force, NULL), SAGA_ERR_OK);
}

/* ---- Counts ---- */

static void test_counts_when_things_happen_then_each_is_counted_once(void **state)
{
    struct world *world = *state;
    const struct saga_runtime_counts *counts = saga_runtime_counts(world->runtime);
    struct saga_runtime_counts before = *counts;
    struct saga_id id = start_order(world, "1");
    assert_int_equal(counts->started, before.started + 1);
    assert_int_equal(counts->turns, before.turns + 1);
    assert_int_equal(counts->commits, before.commits + 1);
    assert_int_equal(counts->commands, before.commands + 2);
    assert_int_equal(counts->events, before.events + 1);
    family_answer_call(world, id, STOCK, SAGA_CODE_PERMISSION_DENIED, family_nothing);
    assert_int_equal(counts->parked, before.parked + 1);
    assert_int_equal(counts->stalled, before.stalled);
    family_answer_call(world, id, CUSTOMER, SAGA_CODE_NOT_FOUND, family_nothing);
    family_assert_state(world, id, SAGA_STATE_COMPENSATING);
    /* The stock's undo is out as the order's will be: the first failures of one stall nothing. */
    for (int i = 0; i < 40 && counts->stalled == before.stalled; i++) {
        struct saga_runtime_reply busy = {
            .saga_id = id, .step = STOCK, .op = SAGA_OP_UNDO, .code = SAGA_CODE_UNAVAILABLE};
        family_give_reply(world, &busy);
        end_turn(world, false);
        world->now += 10 * 60 * 1000;
        assert_int_equal(world_turn(world), SAGA_ERR_OK);
    }
    assert_int_equal(counts->stalled, before.stalled + 1);
    family_answer_undo(world, id, STOCK);
    family_answer_undo(world, id, ORDER);
    family_assert_state(world, id, SAGA_STATE_COMPENSATED);
    assert_int_equal(counts->compensated, before.compensated + 1);
    assert_int_equal(counts->completed, before.completed);
    uint64_t ignored = counts->ignored;
    struct saga_runtime_reply late = {.saga_id = id, .step = STOCK, .op = SAGA_OP_UNDO};
    family_give_reply(world, &late);
    end_turn(world, false);
    assert_int_equal(counts->ignored, ignored + 1);
}

/* ---- Offsets ---- */

static void test_offsets_when_many_come_of_one_partition_then_take_one_place(void **state)
{
    struct world *world = *state;
    unsigned before = world->commits;
    saga_runtime_turn_begin(world->runtime, world->now);
    for (int64_t next = 1; next <= MANY; next++) {
        saga_runtime_offset(world->runtime, "topic", 3, next);
        saga_runtime_offset(world->runtime, "topic", 4, next + 1);
        saga_runtime_offset(world->runtime, "other", 3, next + 2);
    }
    end_turn(world, false);
    assert_int_equal(world->commits, before); /* they were gathered */
    saga_runtime_turn_begin(world->runtime, world->now);
    end_turn(world, true); /* as when a daemon stops: at once */
    assert_int_equal(world->commits, before + 1);
    world_crash(world);
    const struct saga_store_ops *ops = world->inner.ops;
    assert_int_equal(ops->offset(world->inner.store, "topic", 3), MANY);
    assert_int_equal(ops->offset(world->inner.store, "topic", 4), MANY + 1);
    assert_int_equal(ops->offset(world->inner.store, "other", 3), MANY + 2);
}

/* ---- What a saga is told to be ---- */

static void test_saga_when_nobody_is_its_parent_then_has_none(void **state)
{
    struct world *world = *state;
    static const struct saga_id nobody = {{0}};
    struct saga_id id = start_order(world, "1");
    for (int i = 0; i < 2; i++) {
        struct saga_look look = family_look(world, id);
        assert_memory_equal(&look.texts.parent_id, &nobody, sizeof nobody);
        assert_string_equal(look.texts.parent_step, "");
        world_crash(world);
    }
}

static void test_saga_when_loaded_again_then_its_last_change_is_when_it_was(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_order(world, "1");
    int64_t then = world->now;
    assert_int_equal(family_look(world, id).updated_unix_ms, then);
    /* By Kafka, so that recovery has nothing to send again. */
    family_answer_call(world, id, CUSTOMER, SAGA_CODE_NOT_FOUND, family_nothing);
    family_assert_state(world, id, SAGA_STATE_COMPENSATING);
    world->now += 1000;
    world_crash(world);
    assert_int_equal(family_look(world, id).updated_unix_ms, then);
}

/* What an undo answers is no part of the context, though it looks like what the call answers. */
static void test_context_when_an_undo_answers_with_a_payload_then_stays_as_it_is(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_order(world, "1");
    family_answer_call(world, id, CUSTOMER, SAGA_CODE_NOT_FOUND, family_nothing);
    struct saga_look look = family_look(world, id);
    assert_int_equal(look.saga.steps[STOCK].state, SAGA_STEP_UNDOING);
    uint8_t before[256];
    size_t size = look.context.size;
    assert_in_range(size, 1, sizeof before);
    memcpy(before, look.context.data, size);
    struct saga_runtime_reply reply = {
        .saga_id = id, .step = STOCK, .op = SAGA_OP_UNDO, .payload = family_total};
    family_give_reply(world, &reply);
    end_turn(world, false);
    family_assert_step(world, id, STOCK, SAGA_STEP_UNDONE);
    look = family_look(world, id);
    assert_int_equal(look.context.size, size);
    assert_memory_equal(look.context.data, before, size);
}

/* What comes with a no, or with the answer to an undo, is not looked at: it cannot change what it
 * says. */
static void test_reply_when_it_needs_no_payload_then_a_bad_one_changes_nothing(void **state)
{
    struct world *world = *state;
    static const uint8_t bytes[] = {0xff, 0xff};
    const struct saga_bytes garbage = {bytes, sizeof bytes};
    struct saga_id id = start_order(world, "1");
    family_answer_call(world, id, CUSTOMER, SAGA_CODE_NOT_FOUND, garbage);
    family_assert_step(world, id, CUSTOMER, SAGA_STEP_REJECTED);
    struct saga_runtime_reply undone = {
        .saga_id = id, .step = STOCK, .op = SAGA_OP_UNDO, .payload = garbage};
    family_give_reply(world, &undone);
    end_turn(world, false);
    family_assert_step(world, id, STOCK, SAGA_STEP_UNDONE);
}

/* ---- Words about sagas that are gone, and steps that are not ---- */

static void test_durable_when_its_saga_or_step_is_not_there_then_is_ignored(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_order(world, "1");
    struct saga_id gone = id;
    gone.b[15] ^= 1;
    const struct saga_runtime_counts *counts = saga_runtime_counts(world->runtime);
    uint64_t ignored = counts->ignored;
    uint64_t seq = family_look(world, id).saga.seq;
    uint8_t step_count = family_look(world, id).saga.step_count;
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_durable(world->runtime, gone, STOCK, SAGA_OP_UNDO, 1);
    saga_runtime_durable(world->runtime, id, step_count, SAGA_OP_CALL, 1);
    end_turn(world, false);
    assert_int_equal(counts->ignored, ignored + 2);
    assert_int_equal(family_look(world, id).saga.seq, seq);
}

static void test_act_when_its_saga_or_step_is_not_there_then_is_refused_once(void **state)
{
    struct world *world = *state;
    struct saga_operate act = {.saga_id = start_order(world, "1"),
                               .act = SAGA_ACT_SKIP,
                               .step_name = "nothing",
                               .who = "me",
                               .why = "test",
                               .ticket = world};
    world->answer_count = 0;
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_operate(world->runtime, &act);
    act.saga_id.b[15] ^= 1;
    saga_runtime_operate(world->runtime, &act);
    act.step_name = "";
    saga_runtime_operate(world->runtime, &act);
    end_turn(world, false);
    assert_int_equal(world->answer_count, 3);
    assert_string_equal(world->reasons[0], "STEP_UNKNOWN");
    assert_string_equal(world->reasons[1], "SAGA_NOT_LIVE");
    assert_string_equal(world->reasons[2], "SAGA_NOT_LIVE");
}

/* ---- While the store has failed ---- */

static void test_act_when_the_store_has_failed_then_is_answered_once(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_order(world, "1");
    world->answer_count = 0;
    world->calls = 0;
    world->fail_at = 1;
    struct saga_operate cancel = {.saga_id = id,
                                  .act = SAGA_ACT_CANCEL,
                                  .step_name = "",
                                  .who = "me",
                                  .why = "test",
                                  .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    world_start(world, "2", 2); /* finds the disk full */
    saga_runtime_operate(world->runtime, &cancel);
    cancel.saga_id.b[15] ^= 1;
    saga_runtime_operate(world->runtime, &cancel);
    assert_int_not_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->answer_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(world->answers[i].code, SAGA_CODE_UNAVAILABLE);
        assert_string_equal(world->reasons[i], "STORE_FAILED");
    }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, family_setup, family_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_counts_when_things_happen_then_each_is_counted_once),
        WITH(test_offsets_when_many_come_of_one_partition_then_take_one_place),
        WITH(test_saga_when_nobody_is_its_parent_then_has_none),
        WITH(test_saga_when_loaded_again_then_its_last_change_is_when_it_was),
        WITH(test_context_when_an_undo_answers_with_a_payload_then_stays_as_it_is),
        WITH(test_reply_when_it_needs_no_payload_then_a_bad_one_changes_nothing),
        WITH(test_durable_when_its_saga_or_step_is_not_there_then_is_ignored),
        WITH(test_act_when_its_saga_or_step_is_not_there_then_is_refused_once),
        WITH(test_act_when_the_store_has_failed_then_is_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
