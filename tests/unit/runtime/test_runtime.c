/* The runtime on a real store: S6, S8, S10, recovery, and a failing store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/runtime/world.h"

static const struct saga_bytes nothing = {NULL, 0};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world_open(world);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

static void start_one(struct world *world, const char *key, int64_t order_id)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    world_start(world, key, order_id);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

/* Finds the newest command to a step. */
static size_t sent_to(const struct world *world, uint8_t step)
{
    for (size_t i = world->sent_count; i > 0; i--) {
        if (world->sent[i - 1].step == step) {
            return i - 1;
        }
    }
    fail_msg("nothing was sent to step %u", step);
    return 0;
}

static void reply_to(struct world *world, uint8_t step, enum saga_code code,
                     struct saga_bytes payload)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    world_reply(world, sent_to(world, step), code, payload);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

static void test_start_when_taken_then_commits_before_it_sends_and_answers(void **state)
{
    struct world *world = *state;
    start_one(world, "1", 1);
    assert_int_equal(world->commits, 1 + 1); /* the lease, the turn */
    assert_int_equal(world->sent_count, 2);  /* customer and stock, in parallel */
    assert_int_equal(world->answer_count, 1);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    assert_int_equal(world->sends_before_commit, 0); /* S6 */
    assert_int_equal(world->answers_before_commit, 0);
}

static void test_turn_when_many_start_then_one_commit_is_enough(void **state)
{
    struct world *world = *state;
    unsigned before = world->commits;
    saga_runtime_turn_begin(world->runtime, world->now);
    for (int i = 1; i <= 5; i++) {
        char key[2] = {(char)('0' + i), 0};
        world_start(world, key, i);
    }
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->commits, before + 1);
    assert_int_equal(world->sent_count, 10);
    assert_int_equal(saga_runtime_live_count(world->runtime), 5);
}

static void test_start_when_its_key_was_used_then_answers_with_that_saga(void **state)
{
    struct world *world = *state;
    saga_runtime_turn_begin(world->runtime, world->now);
    world_start(world, "same", 1);
    world_start(world, "same", 1); /* in the same turn */
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    start_one(world, "same", 1);
    world_crash(world);
    start_one(world, "same", 1); /* and after a restart */
    assert_int_equal(saga_runtime_live_count(world->runtime), 1);
    assert_true(world->answers[0].existing);
    start_one(world, "same", 2); /* with another input */
    assert_int_equal(world->answers[1].code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(world->reasons[1], "KEY_REUSED");
    assert_int_equal(saga_runtime_live_count(world->runtime), 1);
}

static void test_start_when_it_is_wrong_then_is_refused_with_the_field(void **state)
{
    struct world *world = *state;
    uint8_t bad[] = {0x0a, 0x01, 0x00}; /* order_id as bytes */
    struct saga_start starts[] = {
        {.definition = "no-such-saga", .key = "1", .traceparent = ""},
        {.definition = "create-order", .key = "", .traceparent = ""},
        {.definition = "create-order", .key = "1", .input = {bad, sizeof bad}, .traceparent = ""},
    };
    static const char *const reasons[] = {"DEFINITION_UNKNOWN", "BAD_KEY", "BAD_INPUT"};
    saga_runtime_turn_begin(world->runtime, world->now);
    for (size_t i = 0; i < 3; i++) {
        saga_runtime_start(world->runtime, &starts[i]);
    }
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_not_equal(world->answers[i].code, SAGA_CODE_OK);
        assert_string_equal(world->reasons[i], reasons[i]);
    }
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

static void test_start_when_too_many_are_in_flight_then_is_refused(void **state)
{
    struct world *world = *state;
    for (int i = 1; i <= 9; i++) {
        char key[2] = {(char)('0' + i), 0};
        start_one(world, key, i);
        if (i <= 8) {
            reply_to(world, 1, SAGA_CODE_NOT_FOUND, nothing); /* turned back, still in flight */
        }
    }
    assert_int_equal(world->answers[7].code, SAGA_CODE_OK);
    assert_int_equal(world->answers[8].code, SAGA_CODE_RESOURCE_EXHAUSTED);
    assert_string_equal(world->reasons[8], "TOO_MANY_SAGAS");
    assert_int_equal(saga_runtime_live_count(world->runtime), 8);
}

static void test_saga_when_everybody_says_yes_then_completes_and_leaves_memory(void **state)
{
    struct world *world = *state;
    static const uint8_t total[] = {0x08, 0x2a};            /* total_cents: 42 */
    static const uint8_t ticket[] = {0x0a, 0x02, 't', '1'}; /* ticket_id: "t1" */
    start_one(world, "1", 1);
    struct saga_id id = world->answers[0].id;
    reply_to(world, 1, SAGA_CODE_OK, nothing);
    reply_to(world, 2, SAGA_CODE_OK, (struct saga_bytes){total, sizeof total});
    reply_to(world, 3, SAGA_CODE_OK, (struct saga_bytes){ticket, sizeof ticket});
    reply_to(world, 4, SAGA_CODE_OK, nothing);
    reply_to(world, 5, SAGA_CODE_OK, nothing);
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    static const uint8_t context[] = {0x08, 1, 0x10, 7, 0x20, 0x2a, 0x2a, 0x02, 't', '1'};
    assert_int_equal(look.context.size, sizeof context);
    assert_memory_equal(look.context.data, context, sizeof context);
    reply_to(world, 6, SAGA_CODE_OK, nothing);
    assert_int_equal(world->ended_count, 1);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPLETED);
    assert_string_equal(look.start_key, "1");
    struct saga_row row;
    assert_int_equal(world->inner.ops->find_saga(world->inner.store, id, &row, NULL), SAGA_ERR_OK);
    assert_int_equal(row.created_unix_ms, 1000000);
    assert_int_equal(row.ended_unix_ms, 1000000);
}

static void test_reply_when_its_payload_is_garbage_then_counts_as_unknown(void **state)
{
    struct world *world = *state;
    static const uint8_t garbage[] = {0xff, 0xff};
    start_one(world, "1", 1);
    reply_to(world, 2, SAGA_CODE_OK, (struct saga_bytes){garbage, sizeof garbage});
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, world->answers[0].id, &look, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(look.saga.steps[2].state, SAGA_STEP_CALLED);
    assert_int_equal(look.saga.steps[2].last_code, SAGA_CODE_INTERNAL);
}

static void
test_saga_when_turned_back_then_its_undo_is_in_the_outbox_with_the_decision(void **state)
{
    struct world *world = *state;
    start_one(world, "1", 1);
    reply_to(world, 2, SAGA_CODE_OK, nothing);
    assert_false(world->outbox_woken);
    reply_to(world, 1, SAGA_CODE_NOT_FOUND, nothing);
    assert_true(world->outbox_woken);
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, world->answers[0].id, &look, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPENSATING);
    assert_string_equal(look.texts.cause_reason, "SOME_REASON");
    struct saga_id id = world->answers[0].id;
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_durable(world->runtime, id, 2, SAGA_OP_UNDO, 1);
    saga_runtime_cursor(world->runtime, "outbox", 1);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    world_crash(world);
    assert_int_equal(world->sent_count, 0); /* Kafka has it: nothing is sent anew */
    assert_int_equal(world->inner.ops->cursor(world->inner.store, "outbox"), 1);
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    assert_int_equal(look.saga.steps[2].wait, SAGA_WAIT_REPLY);
}

static void reply_by_topic(struct world *world, struct saga_id id, const char *step,
                           enum saga_op op, const char *topic)
{
    struct saga_runtime_reply reply = {.saga_id = id,
                                       .step = SAGA_STEP_ALL,
                                       .step_name = step,
                                       .op = op,
                                       .code = SAGA_CODE_OK,
                                       .topic = topic};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_reply(world->runtime, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

static uint8_t state_of(struct world *world, struct saga_id id, uint8_t step)
{
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    return look.saga.steps[step].state;
}

static void test_reply_when_it_comes_by_another_topic_or_road_then_is_ignored(void **state)
{
    struct world *world = *state;
    start_one(world, "1", 1);
    struct saga_id id = world->answers[0].id;
    reply_by_topic(world, id, "stock", SAGA_OP_CALL,
                   "product-to-order-product-stock"); /* it went by NNG */
    assert_int_equal(state_of(world, id, 2), SAGA_STEP_CALLED);
    reply_to(world, 2, SAGA_CODE_OK, nothing);
    reply_to(world, 1, SAGA_CODE_NOT_FOUND, nothing);
    reply_by_topic(world, id, "stock", SAGA_OP_UNDO, "payment-to-order-payment-status");
    assert_int_equal(state_of(world, id, 2), SAGA_STEP_UNDOING);
    reply_by_topic(world, id, "stock", SAGA_OP_UNDO, "product-to-order-product-stock");
    assert_int_equal(state_of(world, id, 2), SAGA_STEP_UNDONE);
}

static void test_start_when_too_many_go_forward_then_is_refused_until_one_has_passed(void **state)
{
    struct world *world = *state;
    for (int i = 1; i <= 6; i++) {
        char key[2] = {(char)('0' + i), 0};
        start_one(world, key, i);
    }
    assert_int_equal(world->answers[4].code, SAGA_CODE_OK);
    assert_int_equal(world->answers[5].code, SAGA_CODE_RESOURCE_EXHAUSTED);
    assert_string_equal(world->reasons[5], "TOO_MANY_RUNNING");
    reply_to(world, 1, SAGA_CODE_NOT_FOUND, nothing); /* one turns back */
    start_one(world, "again", 7);
    assert_int_equal(world->answers[6].code, SAGA_CODE_OK);
    world_crash(world);
    start_one(world, "more", 8);
    assert_int_equal(world->answers[0].code, SAGA_CODE_RESOURCE_EXHAUSTED);
    world->now += 1; /* ids are made of the time, and of a seed that is every process's */
    reply_to(world, 1, SAGA_CODE_NOT_FOUND, nothing); /* exactly one has room now */
    start_one(world, "room", 9);
    assert_int_equal(world->answers[1].code, SAGA_CODE_OK);
    start_one(world, "none", 10);
    assert_int_equal(world->answers[2].code, SAGA_CODE_RESOURCE_EXHAUSTED);
}

static void test_recovery_when_commands_were_out_then_sends_them_again(void **state)
{
    struct world *world = *state;
    start_one(world, "1", 1);
    start_one(world, "2", 2);
    world_crash(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2);
    assert_int_equal(world->sent_count, 4);
    assert_int_equal(world->sent[0].attempt, 2);
    assert_int_equal(world->sends_before_commit, 0);
}

static void test_timer_when_no_reply_comes_then_the_step_is_tried_again(void **state)
{
    struct world *world = *state;
    start_one(world, "1", 1);
    int64_t due = saga_runtime_next_due(world->runtime);
    assert_int_equal(due, world->now + 5000);
    world->now = due;
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    due = saga_runtime_next_due(world->runtime);
    assert_true(due > world->now && due <= world->now + 50);
    world->now = due + 100;
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    assert_int_equal(world->sent_count, 4);
    assert_int_equal(world->sent[3].attempt, 2);
}

enum { WRONG_MS = 5 * 24 * 3600 * 1000 };

/* Starts a saga while the clock is days ahead, and lets both its steps wait to be tried again. */
static void start_by_a_wrong_clock(struct world *world)
{
    world->now += WRONG_MS;
    start_one(world, "1", 1);
    reply_to(world, 1, SAGA_CODE_UNAVAILABLE, (struct saga_bytes){0});
    reply_to(world, 2, SAGA_CODE_UNAVAILABLE, (struct saga_bytes){0});
    assert_int_equal(world->sent_count, 2);
    assert_true(saga_runtime_next_due(world->runtime) > world->now);
}

static void test_clock_when_it_was_days_ahead_then_what_waits_goes_on_at_once(void **state)
{
    struct world *world = *state;
    start_by_a_wrong_clock(world);
    world->now -= WRONG_MS;
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    assert_int_equal(world->sent_count, 4);
    assert_int_equal(world->sent[3].attempt, 2);
    assert_true(saga_runtime_next_due(world->runtime) <= world->now + 60000);
    world->now -= 1000; /* not worth a look */
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    assert_int_equal(world->sent_count, 4);
}

static void
test_clock_when_it_is_set_right_between_two_processes_then_recovery_sees_it(void **state)
{
    struct world *world = *state;
    start_by_a_wrong_clock(world);
    world->now -= WRONG_MS;
    world_crash(world); /* forgets what was sent */
    assert_int_equal(world->sent_count, 2);
    assert_int_equal(world->sent[0].attempt, 2);
    assert_true(saga_runtime_next_due(world->runtime) <= world->now + 60000);
}

static void test_clock_when_only_one_of_two_steps_waits_for_it_then_recovery_sees_that(void **state)
{
    struct world *world = *state;
    world->now += WRONG_MS;
    start_one(world, "1", 1);
    reply_to(world, 1, SAGA_CODE_UNAVAILABLE, (struct saga_bytes){0});
    world->now -= WRONG_MS;
    world_crash(world); /* the other step's call goes out again, and is due soon */
    assert_int_equal(world->sent_count, 2);
    assert_int_equal(world->sent[sent_to(world, 1)].attempt, 2);
    assert_int_equal(world->sent[sent_to(world, 2)].attempt, 2);
}

static void test_clock_when_it_goes_back_then_offsets_do_not_wait_for_it(void **state)
{
    struct world *world = *state;
    world->now += WRONG_MS;
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_offset(world->runtime, "topic", 3, 17);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    world->now -= WRONG_MS;
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    world_crash(world);
    assert_int_equal(world->inner.ops->offset(world->inner.store, "topic", 3), 17);
}

static void test_offsets_when_nothing_else_commits_then_are_durable_after_a_while(void **state)
{
    struct world *world = *state;
    unsigned before = world->commits;
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_offset(world->runtime, "topic", 3, 17);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->commits, before);
    world->now = saga_runtime_next_due(world->runtime);
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    assert_int_equal(world->commits, before + 1);
    world_crash(world);
    assert_int_equal(world->inner.ops->offset(world->inner.store, "topic", 3), 17);
}

static void test_lease_when_another_has_taken_it_then_nothing_is_changed(void **state)
{
    struct world *first = *state;
    struct world second = {.now = first->now,
                           .schema = first->schema,
                           .version = first->version,
                           .async = first->async};
    memcpy(second.path, first->path, sizeof second.path);
    start_one(first, "1", 1);
    assert_int_equal(world_open_runtime(&second), SAGA_ERR_OK);
    world_close_runtime(&second);
    /* The first is a zombie now (S8). Its own store is asked, not the second's. */
    struct saga_err_detail detail = {{0}};
    assert_int_equal(first->inner.ops->begin(first->inner.store, &detail), SAGA_ERR_FENCED);
    saga_runtime_free(first->runtime);
    first->runtime = NULL;
    first->inner.ops->close(first->inner.store);
}

/* Whatever call into the store fails: nothing leaves, nobody is told OK, and a new process goes on
 * from what is durable. */
static void test_store_when_any_call_fails_then_nothing_leaves(void **state)
{
    struct world *world = *state;
    bool failed = true;
    unsigned failures = 0;
    for (unsigned nth = 1; failed; nth++) {
        size_t live_before = saga_runtime_live_count(world->runtime);
        char key[16] = {(char)('A' + (char)nth), 0};
        world->calls = 0;
        world->fail_at = nth;
        saga_runtime_turn_begin(world->runtime, world->now);
        world_start(world, key, 1);
        failed = saga_runtime_turn_end(world->runtime, false, NULL) != SAGA_ERR_OK;
        if (failed) {
            failures += 1;
            assert_true(saga_runtime_failed(world->runtime));
            assert_int_equal(world->sent_count, 0);
            assert_int_equal(world->answer_count, 1); /* nobody is left without an answer */
            assert_int_equal(world->answers[0].code, SAGA_CODE_UNAVAILABLE);
            assert_string_equal(world->reasons[0], "STORE_FAILED");
            saga_runtime_turn_begin(world->runtime, world->now);
            world_start(world, "later", 1); /* it takes nothing further */
            assert_int_not_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
            assert_int_equal(world->answers[world->answer_count - 1].code, SAGA_CODE_UNAVAILABLE);
            world_crash(world);
            assert_int_equal(saga_runtime_live_count(world->runtime), live_before);
        } else {
            assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
        }
    }
    assert_true(failures >= 4); /* begin, insert, audit, update, commit */
}

/* A refusal may rest on a row of the very turn that was rolled back: it must not be told. */
static void test_turn_when_its_commit_fails_then_refusals_of_it_are_not_told(void **state)
{
    struct world *world = *state;
    world->calls = 0;
    world->fail_at = 5; /* begin, insert, audit, insert of the same key, update */
    saga_runtime_turn_begin(world->runtime, world->now);
    world_start(world, "same", 1);
    world_start(world, "same", 2);
    assert_int_not_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->answer_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(world->answers[i].code, SAGA_CODE_UNAVAILABLE);
        assert_string_equal(world->reasons[i], "STORE_FAILED");
    }
    assert_int_equal(saga_runtime_failure(world->runtime), SAGA_ERR_IO);
}

static void test_reply_when_it_names_another_step_then_counts_as_unknown(void **state)
{
    struct world *world = *state;
    start_one(world, "1", 1);
    struct saga_runtime_reply reply = {.saga_id = world->answers[0].id,
                                       .step = 2,
                                       .step_name = "customer",
                                       .op = SAGA_OP_CALL,
                                       .attempt = 1,
                                       .code = SAGA_CODE_NOT_FOUND,
                                       .reason = "",
                                       .message = ""};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_reply(world->runtime, &reply);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, world->answers[0].id, &look, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(look.saga.state, SAGA_STATE_RUNNING);
    assert_int_equal(look.saga.steps[2].last_code, SAGA_CODE_INTERNAL);
}

/* Starts the saga with a condition and answers its first step; looks at what came of it. */
static struct saga_look run_conditions(struct world *world, struct saga_bytes input,
                                       struct saga_bytes answer)
{
    world_open_with(world, CONDITIONS_SET);
    struct saga_start start = {
        .definition = "conditions", .key = "1", .input = input, .traceparent = "", .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_start(world->runtime, &start);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    reply_to(world, 0, SAGA_CODE_OK, answer);
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, world->answers[0].id, &look, NULL),
                     SAGA_ERR_OK);
    return look;
}

/* A reply that puts every field back to its default leaves an empty context, and the conditions are
 * those of that, not of the one before. */
static void test_condition_when_the_reply_empties_the_context_then_does_not_hold(void **state)
{
    (void)state;
    static const uint8_t input[] = {0x18, 0x05}; /* total_cents: 5 */
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    struct saga_look look =
        run_conditions(world, (struct saga_bytes){input, sizeof input}, nothing); /* 0 */
    assert_int_equal(look.context.size, 0);
    assert_int_equal(look.saga.steps[1].state, SAGA_STEP_SKIPPED);
    assert_int_equal(look.saga.state, SAGA_STATE_COMPLETED);
    world_fini(world);
    free(world);
}

static void test_condition_when_the_reply_fills_the_context_then_its_step_is_called(void **state)
{
    (void)state;
    static const uint8_t total[] = {0x08, 0x2a}; /* total_cents: 42 */
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    struct saga_look look =
        run_conditions(world, nothing, (struct saga_bytes){total, sizeof total});
    assert_int_equal(look.saga.steps[0].state, SAGA_STEP_SUCCEEDED);
    assert_int_equal(look.saga.steps[1].state, SAGA_STEP_CALLED);
    assert_int_equal(world->sent_count, 2);
    assert_int_equal(world->sent[1].step, 1);
    world_fini(world);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_condition_when_the_reply_empties_the_context_then_does_not_hold),
        cmocka_unit_test(test_condition_when_the_reply_fills_the_context_then_its_step_is_called),
        cmocka_unit_test_setup_teardown(
            test_start_when_taken_then_commits_before_it_sends_and_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turn_when_many_start_then_one_commit_is_enough, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_start_when_its_key_was_used_then_answers_with_that_saga, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_when_it_is_wrong_then_is_refused_with_the_field,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_when_too_many_are_in_flight_then_is_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_saga_when_everybody_says_yes_then_completes_and_leaves_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reply_when_its_payload_is_garbage_then_counts_as_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_saga_when_turned_back_then_its_undo_is_in_the_outbox_with_the_decision, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_reply_when_it_comes_by_another_topic_or_road_then_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_start_when_too_many_go_forward_then_is_refused_until_one_has_passed, setup,
            teardown),
        cmocka_unit_test_setup_teardown(test_recovery_when_commands_were_out_then_sends_them_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_clock_when_it_was_days_ahead_then_what_waits_goes_on_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_clock_when_it_is_set_right_between_two_processes_then_recovery_sees_it, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_clock_when_only_one_of_two_steps_waits_for_it_then_recovery_sees_that, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_clock_when_it_goes_back_then_offsets_do_not_wait_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_when_no_reply_comes_then_the_step_is_tried_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_offsets_when_nothing_else_commits_then_are_durable_after_a_while, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_lease_when_another_has_taken_it_then_nothing_is_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_when_any_call_fails_then_nothing_leaves, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_turn_when_its_commit_fails_then_refusals_of_it_are_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reply_when_it_names_another_step_then_counts_as_unknown, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
