/* Pausing a definition on a real store: what is held, what goes on, what a crash leaves, the trail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/codec/codec.h"
#include "saga/v1/audit.pb-c.h"
#include "tests/unit/runtime/world.h"

enum { CUSTOMER = 1, STOCK = 2, TICKET = 3, MANY = 2500, A_TURN = 50 };

static const struct saga_bytes nothing = {NULL, 0};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
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

/* ---- Turns ---- */

static void begin(struct world *world)
{
    world->sent_count = 0;
    world->answer_count = 0;
    saga_runtime_turn_begin(world->runtime, world->now);
}

static void end(struct world *world)
{
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

static void act(struct world *world, enum saga_act what)
{
    begin(world);
    world_pause(world, "create-order", what);
    end(world);
}

/* An act that must be taken. */
static void act_ok(struct world *world, enum saga_act what)
{
    act(world, what);
    assert_int_equal(world->answer_count, 1);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    assert_false(world->answers[0].existing);
}

static struct saga_id start(struct world *world, const char *key)
{
    begin(world);
    world_start(world, key, 1);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    return world->answers[0].id;
}

static void reply(struct world *world, struct saga_id id, uint8_t step, enum saga_code code)
{
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    const struct saga_step_run *run = &look.saga.steps[step];
    bool undo = run->state == SAGA_STEP_UNDOING;
    struct saga_runtime_reply given = {
        .saga_id = id,
        .step = step,
        .op = undo ? SAGA_OP_UNDO : SAGA_OP_CALL,
        .attempt = undo ? run->undo_attempts : run->call_attempts,
        .code = code,
        .payload = nothing,
    };
    begin(world);
    saga_runtime_reply(world->runtime, &given);
    end(world);
}

static struct saga look_at(struct world *world, struct saga_id id)
{
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    return look.saga;
}

/* A saga whose ticket is held. */
static struct saga_id held(struct world *world, const char *key)
{
    struct saga_id id = start(world, key);
    act_ok(world, SAGA_ACT_PAUSE);
    reply(world, id, CUSTOMER, SAGA_CODE_OK);
    reply(world, id, STOCK, SAGA_CODE_OK);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(look_at(world, id).steps[TICKET].state, SAGA_STEP_WAITING);
    return id;
}

/* ---- The trail ---- */

struct trail {
    unsigned count;
    int acts[16]; /* of OPERATOR events; 0: of others */
    uint8_t hash[SAGA_DIGEST_SIZE];
    char definition[64];
};

static bool see_event(void *user, const struct saga_audit_row *row)
{
    struct trail *trail = user;
    uint8_t hash[SAGA_DIGEST_SIZE];
    assert_int_equal(saga_audit_verify(row->event, hash), SAGA_ERR_OK);
    Saga__V1__AuditEvent *event =
        saga__v1__audit_event__unpack(NULL, row->event.size, row->event.data);
    assert_non_null(event);
    assert_true(trail->count < 16);
    assert_int_equal(event->seq, trail->count + 1);
    if (trail->count > 0) {
        assert_int_equal(event->prev_hash.len, SAGA_DIGEST_SIZE);
        assert_memory_equal(event->prev_hash.data, trail->hash, SAGA_DIGEST_SIZE);
    }
    if (event->operator_ != NULL) {
        assert_string_equal(event->operator_->who, "ann");
        assert_string_equal(event->operator_->why, "because");
        trail->acts[trail->count] = (int)event->operator_->act;
    }
    (void)snprintf(trail->definition, sizeof trail->definition, "%s", event->definition);
    memcpy(trail->hash, hash, SAGA_DIGEST_SIZE);
    trail->count += 1;
    saga__v1__audit_event__free_unpacked(event, NULL);
    return true;
}

static struct trail trail_of(struct world *world, struct saga_id id)
{
    struct trail trail = {0};
    struct saga_audit_range range = {.id = id, .count_max = 100};
    assert_int_equal(
        world->inner.ops->list_audit(world->inner.store, &range, see_event, &trail, NULL),
        SAGA_ERR_OK);
    return trail;
}

/* ---- Starts ---- */

static void test_start_when_the_definition_is_paused_then_is_to_come_later(void **state)
{
    struct world *world = *state;
    act_ok(world, SAGA_ACT_PAUSE);
    begin(world);
    world_start(world, "1", 1);
    struct saga_start other = {
        .definition = "create-order-async", .key = "1", .traceparent = "", .ticket = world};
    saga_runtime_start(world->runtime, &other);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_UNAVAILABLE);
    assert_string_equal(world->reasons[0], "DEFINITION_PAUSED");
    assert_int_equal(world->answers[1].code, SAGA_CODE_OK);
    act_ok(world, SAGA_ACT_RESUME);
    (void)start(world, "1");
}

static void test_start_when_it_was_taken_before_the_pause_then_answers_with_its_saga(void **state)
{
    struct world *world = *state;
    struct saga_id id = start(world, "1");
    act_ok(world, SAGA_ACT_PAUSE);
    begin(world);
    world_start(world, "1", 1);
    world_start(world, "1", 2);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    assert_true(world->answers[0].existing);
    assert_true(saga_id_equal(world->answers[0].id, id));
    assert_string_equal(world->reasons[1], "KEY_REUSED");
}

static void test_start_when_sagas_of_another_are_held_then_they_take_no_place(void **state)
{
    struct world *world = *state;
    static const char *const keys[] = {"1", "2", "3", "4", "5"};
    for (size_t i = 0; i < 5; i++) {
        (void)start(world, keys[i]);
    }
    struct saga_start other = {
        .definition = "create-order-async", .key = "1", .traceparent = "", .ticket = world};
    begin(world);
    saga_runtime_start(world->runtime, &other);
    end(world);
    assert_string_equal(world->reasons[0], "TOO_MANY_RUNNING");
    act_ok(world, SAGA_ACT_PAUSE);
    begin(world);
    saga_runtime_start(world->runtime, &other);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
}

static void test_start_when_those_of_another_are_held_then_there_is_room_for_all(void **state)
{
    struct world *world = *state;
    static const char *const keys[] = {"1", "2", "3", "4", "5"};
    for (size_t i = 0; i < 3; i++) {
        (void)start(world, keys[i]);
    }
    act_ok(world, SAGA_ACT_PAUSE);
    for (size_t i = 0; i < 5; i++) { /* as many as may go forward */
        struct saga_start other = {
            .definition = "create-order-async", .key = keys[i], .traceparent = "", .ticket = world};
        begin(world);
        saga_runtime_start(world->runtime, &other);
        end(world);
        assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    }
}

/* ---- Sagas in flight ---- */

static void
test_saga_when_its_definition_is_paused_then_no_step_begins_until_it_goes_on(void **state)
{
    struct world *world = *state;
    struct saga_id id = held(world, "1");
    world->now += 100;
    act_ok(world, SAGA_ACT_RESUME);
    assert_int_equal(world->sent_count, 1);
    assert_int_equal(world->sent[0].step, TICKET);
    assert_int_equal(world->sends_before_commit, 0); /* S6 */
    struct trail trail = trail_of(world, id);
    assert_int_equal(trail.count, 4); /* START, two REPLYs, RESUME */
    assert_int_equal(trail.acts[3], SAGA_ACT_RESUME);
}

static void test_saga_when_paused_then_what_is_out_is_tried_again(void **state)
{
    struct world *world = *state;
    struct saga_id id = start(world, "1");
    act_ok(world, SAGA_ACT_PAUSE);
    reply(world, id, STOCK, SAGA_CODE_UNAVAILABLE);
    world->now += 10000;
    begin(world);
    end(world);
    assert_true(world->sent_count >= 1);
    assert_int_equal(look_at(world, id).steps[STOCK].call_attempts, 2);
}

static void test_saga_when_paused_then_it_is_undone_and_its_deadline_counts(void **state)
{
    struct world *world = *state;
    struct saga_id refused = start(world, "1");
    struct saga_id late = start(world, "2");
    reply(world, refused, STOCK, SAGA_CODE_OK);
    act_ok(world, SAGA_ACT_PAUSE);
    reply(world, refused, CUSTOMER, SAGA_CODE_NOT_FOUND);
    assert_int_equal(look_at(world, refused).state, SAGA_STATE_COMPENSATING);
    assert_int_equal(look_at(world, refused).steps[STOCK].state, SAGA_STEP_UNDOING);
    world->now += 70000;
    begin(world);
    end(world);
    assert_int_equal(look_at(world, late).state, SAGA_STATE_COMPENSATING);
}

static void test_saga_when_nothing_of_it_was_held_then_a_resume_leaves_no_event(void **state)
{
    struct world *world = *state;
    struct saga_id id = start(world, "1");
    act_ok(world, SAGA_ACT_PAUSE);
    act_ok(world, SAGA_ACT_RESUME);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(trail_of(world, id).count, 1);
}

/* ---- Acts ---- */

static void test_act_when_it_is_so_already_then_says_so_and_records_nothing(void **state)
{
    struct world *world = *state;
    struct saga_pause_look look;
    act(world, SAGA_ACT_RESUME);
    assert_true(world->answers[0].existing);
    assert_false(saga_runtime_paused(world->runtime, "create-order", &look));
    act_ok(world, SAGA_ACT_PAUSE);
    int64_t since = world->now;
    world->now += 5000;
    act(world, SAGA_ACT_PAUSE);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    assert_true(world->answers[0].existing);
    assert_true(saga_runtime_paused(world->runtime, "create-order", &look));
    assert_string_equal(look.who, "ann");
    assert_string_equal(look.why, "because");
    assert_int_equal(look.since_unix_ms, since);
    assert_int_equal(saga_runtime_paused_count(world->runtime), 1);
    assert_int_equal(trail_of(world, world->answers[0].id).count, 1);
}

static void test_act_when_nobody_has_the_name_then_is_refused(void **state)
{
    struct world *world = *state;
    begin(world);
    world_pause(world, "no-such-saga", SAGA_ACT_PAUSE);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_NOT_FOUND);
    assert_string_equal(world->reasons[0], "DEFINITION_UNKNOWN");
}

static void test_acts_when_taken_then_are_a_chained_stream_of_the_definition(void **state)
{
    struct world *world = *state;
    act_ok(world, SAGA_ACT_PAUSE);
    struct saga_id stream = world->answers[0].id;
    assert_int_equal(stream.b[6] >> 4, 8); /* a UUIDv8 */
    assert_true(
        saga_id_equal(stream, saga_runtime_pause_stream(saga_codec_port(), "create-order")));
    act_ok(world, SAGA_ACT_RESUME);
    world_crash(world);
    act_ok(world, SAGA_ACT_PAUSE);
    struct trail trail = trail_of(world, stream);
    assert_int_equal(trail.count, 3);
    assert_int_equal(trail.acts[0], SAGA_ACT_PAUSE);
    assert_int_equal(trail.acts[1], SAGA_ACT_RESUME);
    assert_int_equal(trail.acts[2], SAGA_ACT_PAUSE);
    assert_string_equal(trail.definition, "create-order");
}

/* ---- Crashes ---- */

static void test_pause_when_the_process_dies_then_still_holds(void **state)
{
    struct world *world = *state;
    struct saga_id id = held(world, "1");
    world_crash(world);
    struct saga_pause_look look;
    assert_true(saga_runtime_paused(world->runtime, "create-order", &look));
    assert_int_equal(world->sent_count, 0);
    begin(world);
    world_start(world, "2", 1);
    end(world);
    assert_string_equal(world->reasons[0], "DEFINITION_PAUSED");
    act_ok(world, SAGA_ACT_RESUME);
    assert_int_equal(world->sent_count, 1);
    assert_int_equal(look_at(world, id).steps[TICKET].state, SAGA_STEP_CALLED);
}

/* Holds many sagas: all are started, the definition is paused, their first steps succeed. Many in a
 * turn, since each costs a commit. */
static void hold_many(struct world *world, struct saga_id ids[MANY])
{
    char key[16];
    for (size_t i = 0; i < MANY; i += A_TURN) {
        begin(world);
        for (size_t j = i; j < i + A_TURN; j++) {
            (void)snprintf(key, sizeof key, "%zu", j);
            world_start(world, key, 1);
        }
        end(world);
        for (size_t j = 0; j < A_TURN; j++) {
            assert_int_equal(world->answers[j].code, SAGA_CODE_OK);
            ids[i + j] = world->answers[j].id;
        }
    }
    act_ok(world, SAGA_ACT_PAUSE);
    begin(world);
    for (size_t i = 0; i < MANY; i++) {
        struct saga_runtime_reply given = {
            .saga_id = ids[i], .op = SAGA_OP_CALL, .attempt = 1, .payload = nothing};
        given.step = CUSTOMER;
        saga_runtime_reply(world->runtime, &given);
        given.step = STOCK;
        saga_runtime_reply(world->runtime, &given);
    }
    end(world);
    assert_int_equal(world->sent_count, 0);
}

static size_t called_count(struct world *world, const struct saga_id ids[MANY])
{
    size_t count = 0;
    for (size_t i = 0; i < MANY; i++) {
        count += look_at(world, ids[i]).steps[TICKET].state == SAGA_STEP_CALLED ? 1 : 0;
    }
    return count;
}

static struct world *open_large(void)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_open(world);
    world_close_runtime(world);
    world->live_max = MANY + 10;
    assert_int_equal(world_open_runtime(world), SAGA_ERR_OK);
    return world;
}

static void test_resume_when_many_are_held_then_they_begin_a_page_a_turn(void **state)
{
    (void)state;
    struct world *world = open_large();
    struct saga_id *ids = calloc(MANY, sizeof *ids);
    assert_non_null(ids);
    hold_many(world, ids);
    act_ok(world, SAGA_ACT_RESUME);
    unsigned turns = 1;
    size_t sent = world->sent_count;
    while (saga_runtime_next_due(world->runtime) == world->now) {
        assert_in_range(world->sent_count, 1, SAGA_TURN_COUNT_MAX + 64); /* to the bucket's end */
        begin(world);
        end(world);
        sent += world->sent_count;
        turns += 1;
        assert_true(turns < 10);
    }
    assert_int_equal(sent, MANY);
    assert_in_range(turns, 3, 4);
    assert_int_equal(called_count(world, ids), MANY);
    free(ids);
    world_fini(world);
    free(world);
}

static void test_resume_when_the_process_dies_between_pages_then_the_rest_begins_too(void **state)
{
    (void)state;
    struct world *world = open_large();
    struct saga_id *ids = calloc(MANY, sizeof *ids);
    assert_non_null(ids);
    hold_many(world, ids);
    act_ok(world, SAGA_ACT_RESUME);
    size_t before = called_count(world, ids);
    assert_in_range(before, 1, MANY - 1);
    world_crash(world);
    assert_int_equal(called_count(world, ids), MANY);
    free(ids);
    world_fini(world);
    free(world);
}

static void test_resume_when_paused_again_between_pages_then_the_rest_stays_held(void **state)
{
    (void)state;
    struct world *world = open_large();
    struct saga_id *ids = calloc(MANY, sizeof *ids);
    assert_non_null(ids);
    hold_many(world, ids);
    act_ok(world, SAGA_ACT_RESUME);
    size_t before = called_count(world, ids);
    act_ok(world, SAGA_ACT_PAUSE);
    assert_int_not_equal(saga_runtime_next_due(world->runtime), world->now);
    assert_int_equal(called_count(world, ids), before);
    free(ids);
    world_fini(world);
    free(world);
}

/* ---- Sagas in sagas ---- */

static struct world *open_nested(void)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_open_with(world, SAGA_NESTED_SET);
    return world;
}

static void act_on(struct world *world, const char *definition, enum saga_act what)
{
    begin(world);
    world_pause(world, definition, what);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
}

static struct saga_id start_nested(struct world *world)
{
    static const uint8_t input[] = {0x08, 5, 0x10, 7};
    struct saga_start nested = {.definition = "order-nested",
                                .key = "1",
                                .input = {input, sizeof input},
                                .traceparent = "",
                                .ticket = world};
    begin(world);
    saga_runtime_start(world->runtime, &nested);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    return world->answers[0].id;
}

/* Answers all that went out in the last turn with OK, in a turn of its own. Gives how many. */
static size_t answer_sent(struct world *world)
{
    static struct saga_outgoing sent[WORLD_SENT_MAX];
    size_t count = world->sent_count;
    memcpy(sent, world->sent, count * sizeof *sent);
    begin(world);
    for (size_t i = 0; i < count; i++) {
        struct saga_runtime_reply given = {.saga_id = sent[i].saga_id,
                                           .step = sent[i].step,
                                           .op = sent[i].op,
                                           .attempt = sent[i].attempt,
                                           .payload = nothing};
        saga_runtime_reply(world->runtime, &given);
    }
    end(world);
    return count;
}

static void test_child_when_its_definition_is_paused_then_starts_and_is_held(void **state)
{
    (void)state;
    struct world *world = open_nested();
    act_on(world, "prepare", SAGA_ACT_PAUSE);
    (void)start_nested(world);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2); /* it is there */
    world_crash(world);
    assert_int_equal(world->sent_count, 0);
    act_on(world, "prepare", SAGA_ACT_RESUME);
    assert_int_equal(world->sent_count, 1); /* its customer */
    world_fini(world);
    free(world);
}

static void
test_child_when_its_parents_definition_goes_on_then_begins_in_the_same_turn(void **state)
{
    (void)state;
    struct world *world = open_nested();
    struct saga_id id = start_nested(world);
    begin(world);
    struct saga_pause_act pause = {.definition = "order-nested",
                                   .act = SAGA_ACT_PAUSE,
                                   .who = "ann",
                                   .why = "because",
                                   .ticket = world};
    struct saga_runtime_reply first = {
        .saga_id = world->sent[0].saga_id, .op = SAGA_OP_CALL, .attempt = 1};
    saga_runtime_pause(world->runtime, &pause);
    saga_runtime_reply(world->runtime, &first); /* the customer of its first child */
    end(world);
    while (answer_sent(world) > 0) {
    }
    /* The child has ended and said so; the next one, which is the pivot, is held. */
    assert_int_equal(saga_runtime_live_count(world->runtime), 1);
    assert_int_equal(look_at(world, id).steps[1].state, SAGA_STEP_SUCCEEDED);
    assert_int_equal(look_at(world, id).steps[2].state, SAGA_STEP_WAITING);
    act_on(world, "order-nested", SAGA_ACT_RESUME);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2);
    assert_int_equal(world->sent_count, 1); /* its payment */
    while (answer_sent(world) > 0) {
    }
    assert_int_equal(look_at(world, id).state, SAGA_STATE_COMPLETED);
    world_fini(world);
    free(world);
}

/* Whatever call into the store fails: nobody is told OK, nothing leaves, and a new process finds
 * the definition as it was, or as it was to be. */
static void check_failing(struct world *world, enum saga_act what, bool paused_before)
{
    struct saga_pause_look look;
    for (unsigned n = 1; n < 20; n++) {
        world->calls = 0;
        world->fail_at = n;
        begin(world);
        world_pause(world, "create-order", what);
        enum saga_err err = saga_runtime_turn_end(world->runtime, false, NULL);
        assert_int_equal(world->answer_count, 1);
        if (err == SAGA_ERR_OK) {
            assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
            assert_true(n > 3); /* begin, event, row, commit can fail */
            world->fail_at = 0;
            return;
        }
        assert_int_equal(world->answers[0].code, SAGA_CODE_UNAVAILABLE);
        assert_string_equal(world->reasons[0], "STORE_FAILED");
        assert_int_equal(world->sent_count, 0);
        world_crash(world);
        assert_int_equal(saga_runtime_paused(world->runtime, "create-order", &look), paused_before);
    }
    fail_msg("the act never goes well");
}

static void test_act_when_any_call_into_the_store_fails_then_nothing_is_half_done(void **state)
{
    struct world *world = *state;
    check_failing(world, SAGA_ACT_PAUSE, false);
    struct saga_pause_look look;
    assert_true(saga_runtime_paused(world->runtime, "create-order", &look));
    check_failing(world, SAGA_ACT_RESUME, true);
    assert_false(saga_runtime_paused(world->runtime, "create-order", &look));
    assert_int_equal(
        trail_of(world, saga_runtime_pause_stream(saga_codec_port(), "create-order")).count, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_start_when_the_definition_is_paused_then_is_to_come_later),
        T(test_start_when_it_was_taken_before_the_pause_then_answers_with_its_saga),
        T(test_start_when_sagas_of_another_are_held_then_they_take_no_place),
        T(test_start_when_those_of_another_are_held_then_there_is_room_for_all),
        T(test_saga_when_its_definition_is_paused_then_no_step_begins_until_it_goes_on),
        T(test_saga_when_paused_then_what_is_out_is_tried_again),
        T(test_saga_when_paused_then_it_is_undone_and_its_deadline_counts),
        T(test_saga_when_nothing_of_it_was_held_then_a_resume_leaves_no_event),
        T(test_act_when_it_is_so_already_then_says_so_and_records_nothing),
        T(test_act_when_nobody_has_the_name_then_is_refused),
        T(test_acts_when_taken_then_are_a_chained_stream_of_the_definition),
        T(test_pause_when_the_process_dies_then_still_holds),
        cmocka_unit_test(test_resume_when_many_are_held_then_they_begin_a_page_a_turn),
        cmocka_unit_test(test_resume_when_the_process_dies_between_pages_then_the_rest_begins_too),
        cmocka_unit_test(test_resume_when_paused_again_between_pages_then_the_rest_stays_held),
        cmocka_unit_test(test_child_when_its_definition_is_paused_then_starts_and_is_held),
        cmocka_unit_test(
            test_child_when_its_parents_definition_goes_on_then_begins_in_the_same_turn),
        T(test_act_when_any_call_into_the_store_fails_then_nothing_is_half_done),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
