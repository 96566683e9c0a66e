/* The barrier's rules B1 to B7 and fencing, each by its name; B8 is in test_kit_effects.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "tests/unit/kit/rig.h"

enum { TEXT_MAX = 64 };

/* Copies a payload: the reply lives until the next command only. */
static size_t keep(struct saga_bytes bytes, uint8_t out[TEXT_MAX])
{
    assert_in_range(bytes.size, 0, TEXT_MAX);
    if (bytes.size > 0) {
        memcpy(out, bytes.data, bytes.size);
    }
    return bytes.size;
}

static void test_b1_duplicate_call_when_stored_then_same_reply_and_one_effect(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_reply first = rig_run(rig, &call);
    assert_int_equal(first.status.code, SAGA_CODE_OK);
    assert_false(first.replayed);
    uint8_t payload[TEXT_MAX];
    size_t size = keep(first.payload, payload);
    assert_int_equal(size, 7); /* "p-7-1" */

    call.attempt = 2;
    struct saga_reply second = rig_run(rig, &call);
    assert_int_equal(second.status.code, SAGA_CODE_OK);
    assert_true(second.replayed);
    assert_int_equal(second.attempt, 2);
    assert_int_equal(second.payload.size, size);
    assert_memory_equal(second.payload.data, payload, size);
    assert_int_equal(rig->runs, 1);
    assert_int_equal(rig_effects(rig), 1);
    assert_int_equal(rig_rows(rig), 1);
}

static void test_b1_other_step_when_same_saga_then_own_effect(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    (void)rig_run(rig, &call);
    call.step = "payment-two";
    assert_false(rig_run(rig, &call).replayed);
    call.saga_id.b[0] = 99;
    assert_false(rig_run(rig, &call).replayed);
    assert_int_equal(rig_effects(rig), 3);
}

static void test_b1_duplicate_in_the_same_transaction_when_not_committed_then_replayed(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_reply reply;
    bool stored = false;
    rig_begin(rig);
    assert_int_equal(saga_kit_dispatch(&rig->kit, &call, SAGA_VIA_NNG, &reply, &stored, NULL),
                     SAGA_ERR_OK);
    assert_true(stored);
    assert_int_equal(saga_kit_dispatch(&rig->kit, &call, SAGA_VIA_NNG, &reply, &stored, NULL),
                     SAGA_ERR_OK);
    assert_true(reply.replayed);
    assert_false(stored);
    rig_commit(rig);
    assert_int_equal(rig_effects(rig), 1);
}

static void test_b2_undo_when_no_call_came_then_empty_success_without_effect(void **state)
{
    struct rig *rig = *state;
    struct saga_command undo = rig_undo(7);
    struct saga_reply reply = rig_run(rig, &undo);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_true(reply.empty);
    assert_false(reply.replayed);
    assert_int_equal(rig->runs, 0);
    assert_int_equal(rig_rows(rig), 1);
    reply = rig_run(rig, &undo);
    assert_true(reply.replayed);
    assert_true(reply.empty);
}

static void test_b2_undo_when_call_was_a_definitive_no_then_empty_success(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    rig->mood = RIG_REJECT;
    (void)rig_run(rig, &call);
    rig->mood = RIG_OK;
    struct saga_reply reply = rig_run(rig, &undo);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_true(reply.empty);
    assert_int_equal(rig->runs, 1);
    assert_int_equal(rig_effects(rig), 0);
}

static void test_b2_undo_when_call_succeeded_then_runs(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &call);
    struct saga_reply reply = rig_run(rig, &undo);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_false(reply.empty);
    assert_int_equal(rig->runs, 2);
    assert_int_equal(rig_effects(rig), 0);
}

static void test_b2_undo_of_another_step_when_this_one_was_called_then_empty(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &call);
    undo.step = "other";
    assert_true(rig_run(rig, &undo).empty);
    assert_int_equal(rig_effects(rig), 1);
}

static void test_b2_starter_undo_when_no_call_came_then_runs(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < rig->kit.method_count; i++) {
        rig->kit.methods[i].starter_undo = strcmp(rig->kit.methods[i].full_name, RIG_UNDO) == 0;
    }
    struct saga_command undo = rig_undo(7);
    struct saga_reply reply = rig_run(rig, &undo);
    assert_false(reply.empty);
    assert_int_equal(rig->runs, 1);
    assert_true(rig_run(rig, &undo).replayed);
    assert_int_equal(rig->runs, 1);
}

static void test_b3_call_when_undone_before_then_refused_without_effect_and_not_stored(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &undo);
    for (int i = 0; i < 2; i++) {
        struct saga_reply reply = rig_run(rig, &call);
        assert_int_equal(reply.status.code, SAGA_CODE_FAILED_PRECONDITION);
        assert_string_equal(reply.status.reason, "SAGA_UNDONE");
        assert_false(reply.replayed);
    }
    assert_int_equal(rig->runs, 0);
    assert_int_equal(rig_effects(rig), 0);
    assert_int_equal(rig_rows(rig), 1);
}

static void test_b3_call_when_done_and_undone_then_replayed(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &call);
    (void)rig_run(rig, &undo);
    struct saga_reply reply = rig_run(rig, &call);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_true(reply.replayed);
    assert_int_equal(rig_effects(rig), 0);
}

static void test_b4_duplicate_undo_when_stored_then_same_reply_and_one_effect(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &call);
    (void)rig_run(rig, &undo);
    struct saga_reply reply = rig_run(rig, &undo);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_true(reply.replayed);
    assert_false(reply.empty);
    assert_int_equal(rig->runs, 2);
    assert_int_equal(rig_effects(rig), 0);
}

static void assert_key_reused(const struct saga_reply *reply)
{
    assert_int_equal(reply->status.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(reply->status.reason, "KEY_REUSED");
    assert_false(reply->replayed);
}

static void test_b5_same_key_when_other_payload_or_method_then_refused(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &call);
    struct saga_command other = rig_call(8);
    struct saga_reply reply = rig_run(rig, &other);
    assert_key_reused(&reply);
    other = call;
    other.method = RIG_UNDO;
    reply = rig_run(rig, &other);
    assert_key_reused(&reply);
    (void)rig_run(rig, &undo);
    other = rig_undo(8);
    reply = rig_run(rig, &other);
    assert_key_reused(&reply);
    assert_int_equal(rig->runs, 2);
    assert_int_equal(rig_effects(rig), 0);
}

static void test_b6_definitive_no_when_asked_again_then_same_no(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    rig->mood = RIG_REJECT;
    struct saga_reply reply = rig_run(rig, &call);
    assert_int_equal(reply.status.code, SAGA_CODE_FAILED_PRECONDITION);
    assert_string_equal(reply.status.reason, "PAYMENT_DECLINED");
    rig->mood = RIG_OK; /* it would say yes now */
    reply = rig_run(rig, &call);
    assert_int_equal(reply.status.code, SAGA_CODE_FAILED_PRECONDITION);
    assert_string_equal(reply.status.reason, "PAYMENT_DECLINED");
    assert_string_equal(reply.status.message, "run 1 says no");
    assert_true(reply.replayed);
    assert_int_equal(rig->runs, 1);
    assert_int_equal(rig_effects(rig), 0);
}

static void test_b6_retryable_no_when_asked_again_then_runs_again(void **state)
{
    static const enum rig_mood moods[] = {RIG_RETRY, RIG_PARK, RIG_SILENT, RIG_BAD_SQL, RIG_LARGE};
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    for (size_t i = 0; i < sizeof moods / sizeof moods[0]; i++) {
        rig->mood = moods[i];
        assert_int_not_equal(rig_run(rig, &call).status.code, SAGA_CODE_OK);
        assert_int_equal(rig->runs, (int)i + 1);
        assert_int_equal(rig_rows(rig), 0);
        assert_int_equal(rig_effects(rig), 0);
    }
    rig->mood = RIG_OK;
    assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_OK);
    assert_int_equal(rig_effects(rig), 1);
}

static void test_b6_refused_undo_when_asked_again_then_runs_again(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &call);
    rig->mood = RIG_REJECT;
    assert_int_equal(rig_run(rig, &undo).status.code, SAGA_CODE_FAILED_PRECONDITION);
    assert_int_equal(rig_rows(rig), 1);
    assert_int_equal(rig_effects(rig), 1);
    rig->mood = RIG_OK;
    assert_int_equal(rig_run(rig, &undo).status.code, SAGA_CODE_OK);
    assert_int_equal(rig_effects(rig), 0);
}

/* ---- B7 ---- */

static int64_t prune(struct rig *rig, int64_t position_max, int64_t before, size_t count_max)
{
    int64_t count = -1;
    assert_int_equal(saga_sql_begin(rig->kit.sql, NULL), SAGA_ERR_OK);
    assert_int_equal(
        saga_barrier_prune(rig->kit.barrier, position_max, before, count_max, &count, NULL),
        SAGA_ERR_OK);
    assert_int_equal(saga_sql_commit(rig->kit.sql, NULL), SAGA_ERR_OK);
    return count;
}

static void add_rows(struct rig *rig, int count)
{
    struct saga_command call = rig_call(7);
    for (int i = 0; i < count; i++) {
        call.saga_id.b[1] = (uint8_t)(100 + i);
        (void)rig_run(rig, &call);
    }
}

static void test_b7_prune_when_young_or_unpublished_then_stays(void **state)
{
    struct rig *rig = *state;
    int64_t now = saga_clock_unix_ms();
    add_rows(rig, 4);
    assert_int_equal(prune(rig, 4, now - 60 * 1000, 100), 0); /* all are young */
    assert_int_equal(prune(rig, 0, now + 60 * 1000, 100), 0); /* none is published */
    assert_int_equal(prune(rig, 2, now + 60 * 1000, 100), 2); /* 1 and 2 are both */
    assert_int_equal(rig_number(rig, "SELECT min(position) FROM barrier"), 3);
    assert_int_equal(rig_rows(rig), 2);
}

static void test_b7_prune_when_many_are_old_then_in_small_batches(void **state)
{
    struct rig *rig = *state;
    int64_t before = saga_clock_unix_ms() + 60 * 1000;
    add_rows(rig, 5);
    assert_int_equal(prune(rig, 5, before, 2), 2);
    assert_int_equal(prune(rig, 5, before, 2), 2);
    assert_int_equal(prune(rig, 5, before, 2), 1);
    assert_int_equal(prune(rig, 5, before, 2), 0);
}

static void test_b7_position_when_all_were_pruned_then_never_used_again(void **state)
{
    struct rig *rig = *state;
    add_rows(rig, 3);
    assert_int_equal(prune(rig, 3, saga_clock_unix_ms() + 60 * 1000, 100), 3);
    add_rows(rig, 1);
    assert_int_equal(rig_number(rig, "SELECT min(position) FROM barrier"), 4);
}

/* ---- Fencing, limit ---- */

static void test_s8_command_when_epoch_is_older_then_fenced_without_effect(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    call.epoch = 5;
    (void)rig_run(rig, &call);
    struct saga_command late = call;
    late.epoch = 4;
    struct saga_reply reply = rig_run(rig, &late);
    assert_int_equal(reply.status.code, SAGA_CODE_ABORTED);
    assert_string_equal(reply.status.reason, "FENCED");
    late.step = "other"; /* any step of the saga */
    assert_int_equal(rig_run(rig, &late).status.code, SAGA_CODE_ABORTED);
    late.saga_id.b[0] = 77; /* another saga */
    assert_int_equal(rig_run(rig, &late).status.code, SAGA_CODE_OK);
    assert_int_equal(rig_effects(rig), 2);
}

static void test_s8_replay_when_epoch_is_newer_then_the_older_is_fenced_from_then_on(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    (void)rig_run(rig, &call);
    struct saga_command newer = call;
    newer.epoch = 9;
    assert_true(rig_run(rig, &newer).replayed);
    assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_ABORTED);
}

/* Every row of the saga counts, not only those before the command's own. */
static void test_s8_replay_when_its_undo_came_from_a_newer_one_then_fenced(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    call.epoch = 1;
    undo.epoch = 9;
    (void)rig_run(rig, &call);
    (void)rig_run(rig, &undo);
    call.epoch = 5;
    struct saga_reply reply = rig_run(rig, &call);
    assert_int_equal(reply.status.code, SAGA_CODE_ABORTED);
    assert_string_equal(reply.status.reason, "FENCED");
    call.epoch = 9;
    assert_true(rig_run(rig, &call).replayed);
}

static void
test_limit_of_steps_when_reached_then_new_ones_are_refused_and_old_ones_replayed(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    char step[16];
    call.step = step;
    for (int i = 0; i < 2 * SAGA_STEPS_MAX; i++) {
        (void)snprintf(step, sizeof step, "s%02d", i);
        assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_OK);
    }
    assert_true(rig_run(rig, &call).replayed);
    call.step = "more";
    assert_string_equal(rig_run(rig, &call).status.reason, "LIMIT_EXCEEDED");
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(test_b1_duplicate_call_when_stored_then_same_reply_and_one_effect),
        RULE(test_b1_other_step_when_same_saga_then_own_effect),
        RULE(test_b1_duplicate_in_the_same_transaction_when_not_committed_then_replayed),
        RULE(test_b2_undo_when_no_call_came_then_empty_success_without_effect),
        RULE(test_b2_undo_when_call_was_a_definitive_no_then_empty_success),
        RULE(test_b2_undo_when_call_succeeded_then_runs),
        RULE(test_b2_undo_of_another_step_when_this_one_was_called_then_empty),
        RULE(test_b2_starter_undo_when_no_call_came_then_runs),
        RULE(test_b3_call_when_undone_before_then_refused_without_effect_and_not_stored),
        RULE(test_b3_call_when_done_and_undone_then_replayed),
        RULE(test_b4_duplicate_undo_when_stored_then_same_reply_and_one_effect),
        RULE(test_b5_same_key_when_other_payload_or_method_then_refused),
        RULE(test_b6_definitive_no_when_asked_again_then_same_no),
        RULE(test_b6_retryable_no_when_asked_again_then_runs_again),
        RULE(test_b6_refused_undo_when_asked_again_then_runs_again),
        RULE(test_b7_prune_when_young_or_unpublished_then_stays),
        RULE(test_b7_prune_when_many_are_old_then_in_small_batches),
        RULE(test_b7_position_when_all_were_pruned_then_never_used_again),
        RULE(test_s8_command_when_epoch_is_older_then_fenced_without_effect),
        RULE(test_s8_replay_when_epoch_is_newer_then_the_older_is_fenced_from_then_on),
        RULE(test_s8_replay_when_its_undo_came_from_a_newer_one_then_fenced),
        RULE(test_limit_of_steps_when_reached_then_new_ones_are_refused_and_old_ones_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
