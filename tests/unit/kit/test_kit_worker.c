/* What the worker does around commands: positions that are durable with their effects, and pruning
 * that neither a clock nor a late relay can mislead (B7). */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "tests/unit/kit/rig.h"

#define DAY_MS (24 * 60 * 60 * INT64_C(1000))
#define RETENTION_MS (7 * DAY_MS)

/* ---- Positions ---- */

static void receive(struct rig *rig, const struct saga_command *command, int64_t offset)
{
    struct saga_buf value = {0};
    assert_int_equal(saga_command_encode(command, &value), SAGA_ERR_OK);
    struct saga_kafka_record record = {.topic = rig->kit.command_topic,
                                       .key = saga_bytes_text("key"),
                                       .value = saga_buf_view(&value),
                                       .partition = 2,
                                       .offset = offset};
    assert_true(saga_kit_record_received(&rig->kit, &record));
    saga_buf_fini(&value);
}

/* Runs the worker until the inbox is empty. */
static void work(struct rig *rig)
{
    atomic_store(&rig->kit.stopping, true);
    saga_inbox_close(rig->kit.inbox);
    assert_null(saga_kit_work(&rig->kit));
    assert_false(atomic_load(&rig->kit.failed));
}

static int64_t stored_position(struct rig *rig)
{
    return rig_number(
        rig, "SELECT coalesce(max(next_offset), -1) FROM kafka_position WHERE partition = 2");
}

static void test_worker_when_records_were_taken_then_their_positions_are_durable(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    receive(rig, &call, 41);
    receive(rig, &call, 42); /* again: no effect, but its position moves */
    work(rig);
    assert_int_equal(rig_effects(rig), 1);
    assert_int_equal(stored_position(rig), 43);
    assert_int_equal(saga_kit_position_find(&rig->kit, rig->kit.command_topic, 2), 43);
    rig->kit.position_count = 0; /* as after a start */
    assert_int_equal(saga_kit_position_find(&rig->kit, rig->kit.command_topic, 2), -1);
    assert_int_equal(saga_kit_positions_load(&rig->kit, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_kit_position_find(&rig->kit, rig->kit.command_topic, 2), 43);
}

static void test_worker_when_a_turn_fails_then_neither_effect_nor_position_moves(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    receive(rig, &call, 41);
    assert_int_equal(saga_sql_exec(rig->kit.sql, "DROP TABLE kafka_position", NULL), SAGA_ERR_OK);
    rig->kit.main_thread = pthread_self();
    sigset_t term;
    sigset_t before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM); /* giving up asks the main thread, which is this one, to stop */
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &term, &before), 0);
    atomic_store(&rig->kit.stopping, true);
    saga_inbox_close(rig->kit.inbox);
    assert_null(saga_kit_work(&rig->kit));
    int sig = 0;
    assert_int_equal(sigwait(&term, &sig), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    assert_true(atomic_load(&rig->kit.failed));
    assert_int_equal(rig_effects(rig), 0);
    assert_int_equal(rig_rows(rig), 0);
    assert_int_equal(saga_kit_position_find(&rig->kit, rig->kit.command_topic, 2), -1);
}

/* ---- B7 ---- */

struct times {
    struct saga_kit_now now; /* the true time */
    int64_t ahead_ms;        /* what the wall clock shows more */
};

static void begin(struct rig *rig, struct times *times)
{
    struct saga_kit_now now = times->now;
    rig->kit.retention_ms = RETENTION_MS;
    now.unix_ms += times->ahead_ms;
    saga_kit_ages_begin(&rig->kit.ages, now);
}

/* Lets time pass, prunes; gives the number of rows deleted. */
static int64_t prune(struct rig *rig, struct times *times, int64_t later_ms)
{
    times->now.unix_ms += later_ms;
    times->now.mono_us += later_ms * 1000;
    struct saga_kit_now now = times->now;
    now.unix_ms += times->ahead_ms;
    int64_t count = -1;
    assert_int_equal(saga_kit_prune(&rig->kit, now, &count, NULL), SAGA_ERR_OK);
    return count;
}

static struct times add_rows(struct rig *rig, int count)
{
    struct saga_command call = rig_call(7);
    for (int i = 0; i < count; i++) {
        call.saga_id.b[1] = (uint8_t)(100 + i);
        (void)rig_run(rig, &call);
    }
    rig->kit.cursor = count;
    return (struct times){
        .now = {.unix_ms = saga_clock_unix_ms(), .mono_us = INT64_C(5) * 1000 * 1000}};
}

enum { INTERVAL_MS = SAGA_KIT_PRUNE_INTERVAL_US / 1000, ROWS = 4 };

static void test_b7_prune_when_rows_are_old_and_published_then_they_go(void **state)
{
    struct rig *rig = *state;
    struct times times = add_rows(rig, ROWS);
    begin(rig, &times);
    assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
    assert_int_equal(prune(rig, &times, RETENTION_MS), 0); /* seen as old for the first time */
    assert_int_equal(prune(rig, &times, INTERVAL_MS - 1), 0);
    assert_int_equal(prune(rig, &times, 1), ROWS);
    assert_int_equal(rig_rows(rig), 0);
}

static void test_b7_prune_when_rows_are_old_but_not_published_then_they_stay(void **state)
{
    struct rig *rig = *state;
    struct times times = add_rows(rig, ROWS);
    begin(rig, &times);
    rig->kit.cursor = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(prune(rig, &times, 2 * RETENTION_MS), 0);
    }
    rig->kit.cursor = 3;
    assert_int_equal(prune(rig, &times, INTERVAL_MS), 3);
    assert_int_equal(rig_number(rig, "SELECT min(position) FROM barrier"), ROWS);
    assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
}

static void test_b7_prune_when_the_clock_jumps_ahead_then_the_undo_is_not_forgotten(void **state)
{
    struct rig *rig = *state;
    struct times times = add_rows(rig, ROWS);
    begin(rig, &times);
    assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
    times.ahead_ms = 9 * DAY_MS;
    for (int i = 0; i < 10; i++) { /* however long it lasts */
        assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
    }
    times.ahead_ms = 0;
    assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
    struct saga_command undo = rig_undo(7);
    undo.saga_id.b[1] = 100;
    struct saga_reply reply = rig_run(rig, &undo);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_false(reply.empty);
    assert_int_equal(rig_effects(rig), ROWS - 1);
}

static void
test_b7_prune_when_started_with_the_clock_ahead_then_one_sighting_is_not_enough(void **state)
{
    struct rig *rig = *state;
    struct times times = add_rows(rig, ROWS);
    times.ahead_ms = 9 * DAY_MS;
    begin(rig, &times);
    assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
    assert_int_equal(prune(rig, &times, 200), 0); /* soon again: the same sighting */
    times.ahead_ms = 0;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
    }
    assert_int_equal(rig_rows(rig), ROWS);
}

static void test_b7_prune_when_the_clock_goes_back_then_rows_stay(void **state)
{
    struct rig *rig = *state;
    struct times times = add_rows(rig, ROWS);
    begin(rig, &times);
    times.ahead_ms = -9 * DAY_MS;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(prune(rig, &times, RETENTION_MS / 3), 0);
    }
    times.ahead_ms = 0;
    assert_int_equal(prune(rig, &times, INTERVAL_MS), 0);
    assert_int_equal(prune(rig, &times, INTERVAL_MS), ROWS); /* now they are old */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_worker_when_records_were_taken_then_their_positions_are_durable),
        CASE(test_worker_when_a_turn_fails_then_neither_effect_nor_position_moves),
        CASE(test_b7_prune_when_rows_are_old_and_published_then_they_go),
        CASE(test_b7_prune_when_rows_are_old_but_not_published_then_they_stay),
        CASE(test_b7_prune_when_the_clock_jumps_ahead_then_the_undo_is_not_forgotten),
        CASE(test_b7_prune_when_started_with_the_clock_ahead_then_one_sighting_is_not_enough),
        CASE(test_b7_prune_when_the_clock_goes_back_then_rows_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
