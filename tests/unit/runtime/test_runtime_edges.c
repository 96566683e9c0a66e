/* What the runtime tells and keeps: paused versions, counts, answers within a turn, what a bad
 * reply leaves, what a command in the outbox says. */
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
#include "tests/unit/runtime/family.h"

enum { CUSTOMER = 1, STOCK = 2, TICKET = 3 };

static struct saga_id start_order(struct world *world, const char *key)
{
    return family_start_named(world, "create-order", key);
}

static void pause(struct world *world, const char *definition, enum saga_act act)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    world_pause(world, definition, act);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->answers[world->answer_count - 1].code, SAGA_CODE_OK);
}

/* ---- Several versions of one definition ---- */

static int setup_versions(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_open(world);
    /* The same steps under another hash, as an added field makes it; from the next opening on. */
    world->extras[0] = world->version;
    world->extras[0].hash[0] ^= 1;
    world->extra_count = 1;
    *state = world;
    return 0;
}

/* Ids are made of the time and of a seed, which is every process's. */
static void next_process(struct world *world)
{
    world->now += 1;
    world_crash(world);
}

/* A saga of the first version, when the second is current. */
static struct saga_id start_on_the_older(struct world *world)
{
    struct saga_id id = start_order(world, "1");
    next_process(world);
    assert_memory_equal(saga_runtime_current(world->runtime, "create-order")->hash,
                        world->extras[0].hash, SAGA_DIGEST_SIZE);
    assert_memory_equal(family_look(world, id).definition_hash, world->version.hash,
                        SAGA_DIGEST_SIZE);
    return id;
}

static void bring_to_ticket(struct world *world, struct saga_id id)
{
    family_answer_call(world, id, CUSTOMER, SAGA_CODE_OK, family_nothing);
    family_answer_call(world, id, STOCK, SAGA_CODE_OK, family_total);
}

static void test_pause_when_there_are_two_versions_then_holds_both(void **state)
{
    struct world *world = *state;
    struct saga_id older = start_on_the_older(world);
    struct saga_id newer = start_order(world, "2");
    pause(world, "create-order", SAGA_ACT_PAUSE);
    bring_to_ticket(world, older);
    bring_to_ticket(world, newer);
    family_assert_step(world, older, TICKET, SAGA_STEP_WAITING);
    family_assert_step(world, newer, TICKET, SAGA_STEP_WAITING);
    pause(world, "create-order", SAGA_ACT_RESUME);
    family_assert_step(world, older, TICKET, SAGA_STEP_CALLED);
    family_assert_step(world, newer, TICKET, SAGA_STEP_CALLED);
}

static void test_pause_when_a_new_version_comes_with_a_restart_then_holds_all(void **state)
{
    struct world *world = *state;
    struct saga_id older = start_order(world, "1");
    pause(world, "create-order", SAGA_ACT_PAUSE);
    next_process(world);
    (void)start_order(world, "2"); /* of the new version */
    assert_string_equal(world->reasons[world->answer_count - 1], "DEFINITION_PAUSED");
    bring_to_ticket(world, older);
    family_assert_step(world, older, TICKET, SAGA_STEP_WAITING);
    pause(world, "create-order", SAGA_ACT_RESUME);
    struct saga_id newer = start_order(world, "2");
    pause(world, "create-order", SAGA_ACT_PAUSE);
    next_process(world);
    bring_to_ticket(world, newer);
    family_assert_step(world, newer, TICKET, SAGA_STEP_WAITING);
    family_assert_step(world, older, TICKET, SAGA_STEP_CALLED); /* was out before the pause */
}

/* ---- Counts ---- */

static uint64_t live_on(const struct world *world, const struct saga_version *version)
{
    for (size_t i = 0; i < saga_runtime_version_count(world->runtime); i++) {
        bool current = false;
        uint64_t live = 0;
        if (saga_runtime_version_at(world->runtime, i, &current, &live) == version) {
            return live;
        }
    }
    fail_msg("the version is not known");
    return 0;
}

static void test_version_when_its_sagas_end_then_counts_them_no_longer(void **state)
{
    struct world *world = *state;
    struct saga_id first = start_order(world, "1");
    (void)start_order(world, "2");
    assert_int_equal(live_on(world, &world->version), 2);
    family_answer_call(world, first, STOCK, SAGA_CODE_FAILED_PRECONDITION, family_nothing);
    family_answer_call(world, first, CUSTOMER, SAGA_CODE_NOT_FOUND, family_nothing);
    family_answer_undo(world, first, 0);
    family_assert_state(world, first, SAGA_STATE_COMPENSATED);
    assert_int_equal(live_on(world, &world->version), 1);
    world_crash(world);
    assert_int_equal(live_on(world, &world->version), 1);
}

/* More than may go forward at once, one after the other, to either end. */
static void test_start_when_those_that_went_forward_have_ended_then_there_is_room(void **state)
{
    struct world *world = *state;
    static const char *const keys[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct saga_id id = family_start_named(world, "settle", keys[i]);
        assert_int_equal(world->answers[world->answer_count - 1].code, SAGA_CODE_OK);
        if (i % 2 == 0) {
            family_answer_call(world, id, SETTLE_PAYMENT, SAGA_CODE_FAILED_PRECONDITION,
                               family_nothing);
        } else {
            family_answer_call(world, id, SETTLE_PAYMENT, SAGA_CODE_OK, family_payment);
            family_answer_call(world, id, SETTLE_ACCEPT, SAGA_CODE_OK, family_nothing);
        }
        assert_int_equal(saga_runtime_live_count(world->runtime), 0);
    }
}

/* ---- Answers ---- */

static void test_start_when_its_saga_has_moved_in_this_turn_then_tells_where_it_is(void **state)
{
    struct world *world = *state;
    saga_runtime_turn_begin(world->runtime, world->now);
    world_start(world, "1", 1);
    world_start(world, "1", 1);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_true(world->answers[1].existing);
    assert_int_equal(world->answers[1].state, SAGA_STATE_RUNNING);
    assert_int_equal(world->answers[1].seq, 1);
    struct saga_runtime_reply no = {.saga_id = world->answers[0].id,
                                    .step = CUSTOMER,
                                    .op = SAGA_OP_CALL,
                                    .code = SAGA_CODE_NOT_FOUND};
    family_give_reply(world, &no);
    world_start(world, "1", 1);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->answers[2].state, SAGA_STATE_COMPENSATING);
    assert_int_equal(world->answers[2].seq, 2);
}

/* ---- Replies ---- */

static void test_reply_when_it_asks_for_time_then_the_step_waits_that_long(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_order(world, "1");
    struct saga_runtime_reply later = {.saga_id = id,
                                       .step = STOCK,
                                       .op = SAGA_OP_CALL,
                                       .code = SAGA_CODE_UNAVAILABLE,
                                       .retry_after_ms = 20000};
    family_give_reply(world, &later);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    struct saga_look look = family_look(world, id);
    assert_int_equal(look.saga.steps[STOCK].wait, SAGA_WAIT_RETRY);
    assert_int_equal(look.saga.steps[STOCK].due_unix_ms, world->now + 20000);
}

/* B5: the key has an effect, but not of these bytes. That is no answer to be undone on: a person
 * must look. */
static void test_reply_when_the_key_was_used_for_other_bytes_then_the_saga_is_parked(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_order(world, "1");
    struct saga_runtime_reply reused = {.saga_id = id,
                                        .step = STOCK,
                                        .op = SAGA_OP_CALL,
                                        .code = SAGA_CODE_INVALID_ARGUMENT,
                                        .reason = "KEY_REUSED"};
    family_give_reply(world, &reused);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    family_assert_state(world, id, SAGA_STATE_PARKED);
    assert_true(family_look(world, id).saga.steps[STOCK].parked);
}

/* S3: what an earlier attempt came to says nothing of the one that is out. */
static void test_reply_when_it_is_of_an_earlier_attempt_then_only_a_yes_counts(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_order(world, "1");
    struct saga_runtime_reply reply = {.saga_id = id,
                                       .step = STOCK,
                                       .op = SAGA_OP_CALL,
                                       .attempt = 1,
                                       .code = SAGA_CODE_UNAVAILABLE};
    family_give_reply(world, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    world->now = family_look(world, id).saga.steps[STOCK].due_unix_ms;
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    struct saga before = family_look(world, id).saga;
    assert_int_equal(before.steps[STOCK].call_attempts, 2);
    assert_int_equal(before.steps[STOCK].wait, SAGA_WAIT_REPLY);
    family_give_reply(world, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    struct saga after = family_look(world, id).saga;
    assert_int_equal(after.seq, before.seq);
    assert_int_equal(after.steps[STOCK].wait, SAGA_WAIT_REPLY);
    reply.attempt = 0; /* not told: of the one that is out */
    family_give_reply(world, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(family_look(world, id).saga.steps[STOCK].wait, SAGA_WAIT_RETRY);
    reply.attempt = 1;
    reply.code = SAGA_CODE_OK;
    reply.payload = family_total;
    family_give_reply(world, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    family_assert_step(world, id, STOCK, SAGA_STEP_SUCCEEDED);
}

/* ---- Times ---- */

static void test_next_due_when_nothing_waits_then_is_none(void **state)
{
    struct world *world = *state;
    assert_int_equal(saga_runtime_next_due(world->runtime), 0);
    struct saga_id id = start_order(world, "1");
    assert_int_equal(saga_runtime_next_due(world->runtime),
                     family_look(world, id).saga.steps[STOCK].due_unix_ms);
    family_answer_call(world, id, STOCK, SAGA_CODE_NOT_FOUND, family_nothing);
    family_assert_state(world, id, SAGA_STATE_COMPENSATING);
    family_answer_undo(world, id, 0); /* the starter's own */
    family_assert_state(world, id, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
    assert_int_equal(saga_runtime_next_due(world->runtime), 0);
}

struct last_event {
    uint64_t seq;
    uint32_t payload_size;
    Saga__V1__Op op;
    char reason[32];
};

static bool see_last(void *user, const struct saga_audit_row *row)
{
    struct last_event *last = user;
    Saga__V1__AuditEvent *event =
        saga__v1__audit_event__unpack(NULL, row->event.size, row->event.data);
    assert_non_null(event);
    *last = (struct last_event){.seq = event->seq};
    last->payload_size = (uint32_t)event->payload.len;
    last->op = event->op;
    if (event->status != NULL) {
        (void)snprintf(last->reason, sizeof last->reason, "%s", event->status->reason);
    }
    saga__v1__audit_event__free_unpacked(event, NULL);
    return true;
}

static struct last_event last_of(struct world *world, struct saga_id id)
{
    struct last_event last = {0};
    struct saga_audit_range range = {.id = id, .count_max = 100};
    assert_int_equal(
        world->inner.ops->list_audit(world->inner.store, &range, see_last, &last, NULL),
        SAGA_ERR_OK);
    return last;
}

/* What the log holds is readable by all: what nobody could read is not in it. */
static void test_reply_when_it_cannot_be_read_then_the_log_has_none_of_it(void **state)
{
    struct world *world = *state;
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff};
    struct saga_bytes bytes = {garbage, sizeof garbage};
    struct saga_id id = start_order(world, "1");
    family_answer_call(world, id, STOCK, SAGA_CODE_OK, bytes);
    struct last_event last = last_of(world, id);
    assert_int_equal(last.seq, 2);
    assert_string_equal(last.reason, "BAD_REPLY");
    assert_int_equal(last.payload_size, 0);
    struct saga_runtime_reply other = {.saga_id = id,
                                       .step = CUSTOMER,
                                       .step_name = "stock",
                                       .op = SAGA_OP_CALL,
                                       .payload = family_total};
    family_give_reply(world, &other);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    last = last_of(world, id);
    assert_int_equal(last.seq, 3);
    assert_string_equal(last.reason, "BAD_REPLY");
    assert_int_equal(last.payload_size, 0);
    family_answer_call(world, id, STOCK, SAGA_CODE_OK, family_total);
}

/* ---- Commands ---- */

struct outbox_look {
    unsigned count;
    uint64_t epoch;
    int64_t deadline_unix_ms;
    uint8_t step;
};

static bool see_command(void *user, const struct saga_outbox_row *row)
{
    struct outbox_look *look = user;
    struct saga_arena arena = {0};
    struct saga_command command;
    struct saga_status status;
    assert_int_equal(saga_command_decode(row->value, &arena, &command, &status), SAGA_ERR_OK);
    *look = (struct outbox_look){.count = look->count + 1,
                                 .epoch = command.epoch,
                                 .deadline_unix_ms = command.deadline_unix_ms,
                                 .step = row->step};
    saga_arena_fini(&arena);
    return true;
}

static void test_outbox_when_a_command_is_in_it_then_has_the_writers_epoch(void **state)
{
    struct world *world = *state;
    world_crash(world);
    world_crash(world);
    assert_int_equal(saga_runtime_epoch(world->runtime), 3);
    struct saga_id id = start_order(world, "1");
    family_answer_call(world, id, STOCK, SAGA_CODE_OK, family_total);
    family_answer_call(world, id, CUSTOMER, SAGA_CODE_NOT_FOUND, family_nothing);
    struct outbox_look look = {0};
    assert_int_equal(
        world->inner.ops->relay_outbox(world->inner.store, 0, 100, see_command, &look, NULL),
        SAGA_ERR_OK);
    assert_int_equal(look.count, 1);
    assert_int_equal(look.step, STOCK);
    assert_int_equal(look.epoch, 3); /* S8 */
}

/* ---- Children ---- */

/* It completes and its parent turns back in one turn: that it COMPLETED is no answer to the undo.
 */
static void test_child_when_it_completes_as_its_parent_turns_back_then_it_is_undone(void **state)
{
    struct world *world = *state;
    struct saga_id parent = family_start_named(world, "prepare", "1");
    family_answer_call(world, parent, PREPARE_CUSTOMER, SAGA_CODE_OK, family_nothing);
    struct saga_id goods = family_child(world, "hold-goods", parent, "goods");
    family_answer_call(world, goods, GOODS_STOCK, SAGA_CODE_OK, family_total);
    struct saga_runtime_reply yes = {
        .saga_id = goods, .step = GOODS_TICKET, .op = SAGA_OP_CALL, .payload = family_ticket};
    struct saga_operate cancel = {.saga_id = parent,
                                  .act = SAGA_ACT_CANCEL,
                                  .step_name = "",
                                  .who = "me",
                                  .why = "test",
                                  .ticket = world};
    family_give_reply(world, &yes);
    saga_runtime_operate(world->runtime, &cancel);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    family_assert_state(world, goods, SAGA_STATE_COMPENSATING);
    family_assert_step(world, parent, PREPARE_GOODS, SAGA_STEP_UNDOING);
    family_answer_undo(world, goods, GOODS_TICKET);
    family_answer_undo(world, goods, GOODS_STOCK);
    family_assert_state(world, parent, SAGA_STATE_COMPENSATED);
    assert_int_equal(last_of(world, parent).op, SAGA__V1__OP__OP_UNDO); /* of the step's undo */
}

#define WITH(name, setup) cmocka_unit_test_setup_teardown(name, setup, family_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_pause_when_there_are_two_versions_then_holds_both, setup_versions),
        WITH(test_pause_when_a_new_version_comes_with_a_restart_then_holds_all, setup_versions),
        WITH(test_version_when_its_sagas_end_then_counts_them_no_longer, family_setup),
        WITH(test_start_when_those_that_went_forward_have_ended_then_there_is_room, family_setup),
        WITH(test_start_when_its_saga_has_moved_in_this_turn_then_tells_where_it_is, family_setup),
        WITH(test_reply_when_it_asks_for_time_then_the_step_waits_that_long, family_setup),
        WITH(test_reply_when_the_key_was_used_for_other_bytes_then_the_saga_is_parked,
             family_setup),
        WITH(test_reply_when_it_is_of_an_earlier_attempt_then_only_a_yes_counts, family_setup),
        WITH(test_next_due_when_nothing_waits_then_is_none, family_setup),
        WITH(test_reply_when_it_cannot_be_read_then_the_log_has_none_of_it, family_setup),
        WITH(test_outbox_when_a_command_is_in_it_then_has_the_writers_epoch, family_setup),
        WITH(test_child_when_it_completes_as_its_parent_turns_back_then_it_is_undone, family_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
