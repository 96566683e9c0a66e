/* Applying and removing definitions on a real store: which version a start takes, what each failing
 * call into the store and each crash leaves, what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/codec/codec.h"
#include "tests/unit/runtime/world.h"

static const struct saga_bytes set = {(const uint8_t *)"set", 3};

/* A version of create-order with another hash; what a saga does on it is the same. */
static struct saga_version other;

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_open(world);
    other = world->version;
    other.hash[0] ^= 0xff;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

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

static void apply(struct world *world, const struct saga_version *version)
{
    static const char *const addresses[] = {"tcp://here"};
    const struct saga_apply_item item = {version, set};
    const struct saga_apply_addresses place = {"a.v1.Service", addresses, 1};
    const struct saga_apply what = {.items = &item,
                                    .item_count = 1,
                                    .participants = &place,
                                    .participant_count = 1,
                                    .who = "ann",
                                    .why = "because",
                                    .ticket = world};
    saga_runtime_apply(world->runtime, &what);
}

static void remove_order(struct world *world)
{
    const struct saga_remove what = {
        .definition = "create-order", .who = "ann", .why = "because", .ticket = world};
    saga_runtime_remove(world->runtime, &what);
}

static struct saga_id start(struct world *world, const char *key)
{
    begin(world);
    world_start(world, key, 1);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_OK);
    return world->answers[0].id;
}

static const struct saga_version *version_of(struct world *world, struct saga_id id)
{
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    return look.version;
}

static bool note_current(void *user, const struct saga_definition_row *row)
{
    const struct saga_definition_row **current = user;
    static struct saga_definition_row kept;
    static uint8_t hash[SAGA_DIGEST_SIZE];
    if (row->current) {
        kept = *row;
        memcpy(hash, row->hash, sizeof hash);
        kept.hash = hash;
        *current = &kept;
    }
    return true;
}

/* What the store says is current; NULL: none. */
static const uint8_t *stored_current(struct world *world)
{
    const struct saga_definition_row *current = NULL;
    struct saga_err_detail detail;
    assert_int_equal(world->inner.ops->list_versions(world->inner.store, "create-order", 100,
                                                     note_current, &current, &detail),
                     SAGA_ERR_OK);
    return current == NULL ? NULL : current->hash;
}

static bool count_address(void *user, const struct saga_participant_row *row)
{
    (void)row;
    *(size_t *)user += 1;
    return true;
}

static size_t stored_addresses(struct world *world)
{
    size_t count = 0;
    struct saga_err_detail detail;
    assert_int_equal(
        world->inner.ops->list_participants(world->inner.store, count_address, &count, &detail),
        SAGA_ERR_OK);
    return count;
}

static bool count_event(void *user, const struct saga_audit_row *row)
{
    size_t *count = user;
    *count += 1;
    assert_int_equal(row->seq, *count);
    return true;
}

static size_t stream_events(struct world *world)
{
    size_t count = 0;
    struct saga_err_detail detail;
    const struct saga_audit_range range = {
        .id = saga_runtime_pause_stream(saga_codec_port(), "create-order"), .count_max = 100};
    assert_int_equal(
        world->inner.ops->list_audit(world->inner.store, &range, count_event, &count, &detail),
        SAGA_ERR_OK);
    return count;
}

/* ---- Versions ---- */

static void test_apply_when_taken_then_new_sagas_begin_on_it_and_others_keep_theirs(void **state)
{
    struct world *world = *state;
    struct saga_id old = start(world, "old");
    begin(world);
    world_start(world, "before", 1);
    apply(world, &other);
    world_start(world, "behind", 1);
    end(world);
    assert_int_equal(world->answer_count, 3);
    assert_int_equal(world->answers_before_commit, 0);
    assert_ptr_equal(version_of(world, old), &world->version);
    assert_ptr_equal(version_of(world, world->answers[0].id), &world->version);
    assert_ptr_equal(version_of(world, world->answers[2].id), &other);
    assert_int_equal(saga_runtime_live_of(world->runtime, "create-order"), 3);
    assert_int_equal(saga_runtime_live_at(world->runtime, &other), 1);
    assert_memory_equal(stored_current(world), other.hash, SAGA_DIGEST_SIZE);
    assert_int_equal(stored_addresses(world), 1);
    assert_int_equal(stream_events(world), 1);
    struct saga_id behind = world->answers[2].id;
    world->extras[0] = other;
    world->extra_count = 1;
    world_crash(world);
    assert_ptr_equal(version_of(world, old), &world->version);
    assert_ptr_equal(version_of(world, behind), &world->extras[0]);
}

static void test_remove_when_taken_then_none_starts_and_keys_still_answer(void **state)
{
    struct world *world = *state;
    struct saga_id old = start(world, "old");
    begin(world);
    remove_order(world);
    remove_order(world);
    world_start(world, "old", 1);
    world_start(world, "old", 2);
    world_start(world, "new", 1);
    end(world);
    assert_false(world->answers[0].existing);
    assert_true(world->answers[1].existing);
    assert_int_equal(world->answers[2].code, SAGA_CODE_OK);
    assert_true(saga_id_equal(world->answers[2].id, old));
    assert_string_equal(world->reasons[3], "KEY_REUSED");
    assert_int_equal(world->answers[4].code, SAGA_CODE_NOT_FOUND);
    assert_string_equal(world->reasons[4], "DEFINITION_REMOVED");
    assert_null(stored_current(world));
    assert_true(saga_runtime_removed(world->runtime, "create-order"));
    begin(world); /* what drains can be held, and goes on */
    world_pause(world, "create-order", SAGA_ACT_PAUSE);
    world_pause(world, "create-order", SAGA_ACT_RESUME);
    apply(world, &other);
    end(world);
    assert_false(saga_runtime_removed(world->runtime, "create-order"));
    assert_int_equal(stream_events(world), 4);
}

static void test_remove_when_nobody_has_the_name_then_is_refused(void **state)
{
    struct world *world = *state;
    const struct saga_remove what = {
        .definition = "no-such", .who = "ann", .why = "because", .ticket = world};
    begin(world);
    saga_runtime_remove(world->runtime, &what);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_NOT_FOUND);
    assert_string_equal(world->reasons[0], "DEFINITION_UNKNOWN");
}

/* ---- Failures ---- */

static void test_apply_when_any_store_call_fails_then_all_of_it_or_nothing_is_stored(void **state)
{
    struct world *world = *state;
    bool failed = true;
    for (unsigned at = 1; failed; at++) {
        size_t events = stream_events(world);
        size_t addresses = stored_addresses(world);
        bool was = stored_current(world) != NULL &&
                   memcmp(stored_current(world), other.hash, SAGA_DIGEST_SIZE) == 0;
        begin(world);
        world->calls = 0;
        world->fail_at = at;
        apply(world, &other);
        failed = saga_runtime_turn_end(world->runtime, false, NULL) != SAGA_ERR_OK;
        world->fail_at = 0;
        assert_int_equal(world->answer_count, 1);
        assert_int_equal(world->answers[0].code, failed ? SAGA_CODE_UNAVAILABLE : SAGA_CODE_OK);
        bool stored = memcmp(stored_current(world), other.hash, SAGA_DIGEST_SIZE) == 0;
        assert_int_equal(stored, failed ? was : true);
        assert_int_equal(stream_events(world), events + (failed ? 0 : 1));
        assert_int_equal(stored_addresses(world), failed ? addresses : 1);
        assert_true(at < 20);
        if (failed) {
            world_crash(world);
        }
    }
}

static void test_remove_when_any_store_call_fails_then_it_is_there_after_the_crash(void **state)
{
    struct world *world = *state;
    bool failed = true;
    for (unsigned at = 1; failed; at++) {
        begin(world);
        world->calls = 0;
        world->fail_at = at;
        remove_order(world);
        failed = saga_runtime_turn_end(world->runtime, false, NULL) != SAGA_ERR_OK;
        world->fail_at = 0;
        assert_int_equal(world->answers[0].code, failed ? SAGA_CODE_UNAVAILABLE : SAGA_CODE_OK);
        assert_int_equal(stored_current(world) == NULL, !failed);
        assert_true(at < 20);
        if (failed) {
            world_crash(world);
            assert_false(saga_runtime_removed(world->runtime, "create-order"));
        }
    }
}

/* ---- Forgetting ---- */

static bool is_known(struct world *world, const struct saga_version *version)
{
    return saga_runtime_version(world->runtime, version->hash) == version;
}

static void test_forget_when_a_version_is_neither_current_nor_live_then_it_goes(void **state)
{
    struct world *world = *state;
    struct saga_id old = start(world, "old");
    assert_false(saga_runtime_forget_idle(world->runtime));
    begin(world);
    apply(world, &other);
    end(world);
    assert_false(saga_runtime_forget_idle(world->runtime)); /* a saga in flight holds it */
    assert_true(is_known(world, &world->version));
    begin(world);
    const struct saga_operate cancel = {.saga_id = old,
                                        .act = SAGA_ACT_CANCEL,
                                        .step_name = "",
                                        .who = "ann",
                                        .why = "because",
                                        .ticket = world};
    saga_runtime_operate(world->runtime, &cancel);
    end(world);
    for (int i = 0; i < 4 && saga_runtime_live_of(world->runtime, "create-order") > 0; i++) {
        for (uint8_t step = (uint8_t)world->version.def.step_count; step-- > 0;) {
            begin(world);
            struct saga_runtime_reply given = {
                .saga_id = old, .step = step, .op = SAGA_OP_UNDO, .code = SAGA_CODE_OK};
            const struct saga_step_def *def = &world->version.def.steps[step];
            given.topic = def->undo_via == SAGA_VIA_KAFKA
                              ? saga_codec_port()->reply_topic(&world->version, step, SAGA_OP_UNDO)
                              : NULL;
            saga_runtime_reply(world->runtime, &given);
            end(world);
        }
    }
    assert_int_equal(saga_runtime_live_of(world->runtime, "create-order"), 0);
    assert_true(saga_runtime_forget_idle(world->runtime));
    assert_false(is_known(world, &world->version));
    assert_true(is_known(world, &other) && is_known(world, &world->async));
    assert_null(version_of(world, old)); /* it has ended */
}

static void test_forget_when_a_parent_is_kept_then_all_that_run_below_it_are(void **state)
{
    struct world *world = *state;
    static const char *const names[] = {"grandchild", "child", "parent"}; /* the leaf first */
    struct saga_version family[3];
    for (size_t i = 0; i < 3; i++) {
        family[i] = world->version;
        family[i].name = names[i];
        family[i].hash[0] = (uint8_t)i;
        family[i].hash[1] = 0xee;
        family[i].child_hashes[0] = i == 0 ? NULL : family[i - 1].hash;
        assert_int_equal(saga_runtime_add_version(world->runtime, &family[i], i == 2), SAGA_ERR_OK);
    }
    begin(world);
    apply(world, &other);
    end(world);
    assert_true(saga_runtime_forget_idle(world->runtime));
    assert_false(is_known(world, &world->version));
    for (size_t i = 0; i < 3; i++) {
        assert_true(is_known(world, &family[i]));
    }
}

static void test_forget_when_addresses_are_forgotten_then_the_turn_commits_it(void **state)
{
    struct world *world = *state;
    begin(world);
    apply(world, &other);
    end(world);
    assert_int_equal(stored_addresses(world), 1);
    begin(world);
    saga_runtime_forget_addresses(world->runtime, "no.such.Service");
    end(world);
    assert_int_equal(stored_addresses(world), 1);
    begin(world);
    saga_runtime_forget_addresses(world->runtime, "a.v1.Service");
    end(world);
    world_crash(world);
    assert_int_equal(stored_addresses(world), 0);
}

static bool keep_set(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                     struct saga_bytes descriptor_set, bool current)
{
    (void)hash, (void)name, (void)descriptor_set;
    *(bool *)user = current;
    return true;
}

static bool is_stored(struct world *world, const struct saga_version *version)
{
    bool current = false;
    struct saga_err_detail detail;
    return world->inner.ops->find_definition(world->inner.store, version->hash, keep_set, &current,
                                             &detail) == SAGA_ERR_OK;
}

static void test_drop_when_any_store_call_fails_then_the_version_is_there_or_gone(void **state)
{
    struct world *world = *state;
    struct saga_version third = world->version;
    third.hash[1] ^= 0xff;
    begin(world);
    apply(world, &other);
    end(world);
    begin(world);
    apply(world, &third);
    end(world);
    assert_true(saga_runtime_forget_idle(world->runtime));
    assert_true(is_stored(world, &other));
    bool failed = true;
    for (unsigned at = 1; failed; at++) {
        uint8_t current[SAGA_DIGEST_SIZE];
        memcpy(current, stored_current(world), sizeof current);
        begin(world);
        world->calls = 0;
        world->fail_at = at;
        saga_runtime_drop_version(world->runtime, other.hash);
        failed = saga_runtime_turn_end(world->runtime, false, NULL) != SAGA_ERR_OK;
        world->fail_at = 0;
        assert_int_equal(is_stored(world, &other), failed);
        assert_memory_equal(stored_current(world), current, sizeof current);
        assert_true(at < 20);
        if (failed) {
            world_crash(world);
        }
    }
    world_crash(world);
    assert_false(is_stored(world, &other));
}

static void test_drop_when_a_saga_began_with_the_version_then_it_stays(void **state)
{
    struct world *world = *state;
    begin(world);
    apply(world, &other);
    end(world);
    struct saga_id id = start(world, "1");
    struct saga_version third = world->version;
    third.hash[1] ^= 0xff;
    begin(world);
    apply(world, &third);
    end(world);
    assert_ptr_equal(version_of(world, id), &other);
    struct saga_err_detail detail;
    assert_int_equal(world->inner.ops->begin(world->inner.store, &detail), SAGA_ERR_OK);
    assert_int_equal(world->inner.ops->drop_definition(world->inner.store, other.hash, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(world->inner.ops->commit(world->inner.store, &detail), SAGA_ERR_OK);
    assert_true(is_stored(world, &other));
}

static void test_apply_when_the_table_is_full_then_is_refused_and_nothing_changes(void **state)
{
    struct world *world = *state;
    static struct saga_version many[SAGA_DEFINITIONS_MAX];
    static char names[SAGA_DEFINITIONS_MAX][16];
    size_t room = saga_runtime_version_room(world->runtime);
    assert_int_equal(room, SAGA_DEFINITIONS_MAX - 2);
    for (size_t i = 0; i < room; i++) {
        many[i] = world->version;
        (void)snprintf(names[i], sizeof names[i], "name-%zu", i);
        many[i].name = names[i];
        many[i].hash[0] = (uint8_t)i;
        many[i].hash[1] = 0xee;
        assert_int_equal(saga_runtime_add_version(world->runtime, &many[i], true), SAGA_ERR_OK);
    }
    begin(world);
    apply(world, &other);
    end(world);
    assert_int_equal(world->answers[0].code, SAGA_CODE_RESOURCE_EXHAUSTED);
    assert_string_equal(world->reasons[0], "TOO_MANY_DEFINITIONS");
    assert_int_equal(stream_events(world), 0);
    assert_int_equal(stored_addresses(world), 0);
    assert_ptr_equal(saga_runtime_current(world->runtime, "create-order"), &world->version);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_apply_when_taken_then_new_sagas_begin_on_it_and_others_keep_theirs),
        T(test_remove_when_taken_then_none_starts_and_keys_still_answer),
        T(test_remove_when_nobody_has_the_name_then_is_refused),
        T(test_apply_when_any_store_call_fails_then_all_of_it_or_nothing_is_stored),
        T(test_remove_when_any_store_call_fails_then_it_is_there_after_the_crash),
        T(test_drop_when_any_store_call_fails_then_the_version_is_there_or_gone),
        T(test_drop_when_a_saga_began_with_the_version_then_it_stays),
        T(test_forget_when_a_version_is_neither_current_nor_live_then_it_goes),
        T(test_forget_when_a_parent_is_kept_then_all_that_run_below_it_are),
        T(test_forget_when_addresses_are_forgotten_then_the_turn_commits_it),
        T(test_apply_when_the_table_is_full_then_is_refused_and_nothing_changes),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
