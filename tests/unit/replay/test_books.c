/* The books around the log: what the daemon leaves is in order; what a tamperer does to rows that
 * are not reached from a saga's row, or that the engine is never told, is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/store/sqlite/store_sqlite.h"
#include "tests/unit/replay/drive.h"
#include "verify/replay/replay.h"

enum { TEXT_SIZE = 1024 };

struct told {
    size_t count;
    enum saga_replay_kind kind; /* of the first, as are these */
    struct saga_id id;
    uint64_t seq;
    char definition[TEXT_SIZE];
    char message[TEXT_SIZE];
    struct saga_replay_counts counts;
};

static void note(void *user, const struct saga_replay_finding *finding)
{
    struct told *told = user;
    if (told->count++ > 0) {
        return;
    }
    told->kind = finding->kind;
    told->id = finding->id;
    told->seq = finding->seq;
    (void)snprintf(told->definition, sizeof told->definition, "%s", finding->definition);
    (void)snprintf(told->message, sizeof told->message, "%s", finding->message);
}

static struct told replay(const struct drive *drive)
{
    struct told told = {0};
    struct saga_store_port store;
    struct saga_err_detail detail = {{0}};
    if (saga_store_sqlite_inspect(drive->world.path, &store, NULL, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    struct saga_replay_store_config config = {
        .store = store, .path = drive->world.path, .told = note, .user = &told};
    if (saga_replay_store(&config, &told.counts, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    store.ops->close(store.store);
    return told;
}

static void expect_clean(const struct told *told)
{
    if (told->count > 0) {
        fail_msg("%s: event %llu: %s", told->definition, (unsigned long long)told->seq,
                 told->message);
    }
    assert_int_equal(told->counts.same, told->counts.sagas);
    for (int i = 0; i < SAGA_REPLAY_KIND_COUNT; i++) {
        assert_int_equal(told->counts.found[i], 0);
    }
}

enum { NNG = 0, KAFKA = 1, ENDED = 2 };

/* A saga by NNG, one by Kafka, one that has ended, one with a child; one definition is paused. */
static int setup(void **state)
{
    struct drive *drive = calloc(1, sizeof *drive);
    assert_non_null(drive);
    drive_open(drive, 1);
    assert_int_equal(drive_start(drive, "create-order"), NNG);
    drive_wait(drive, 5);
    drive_reply(drive, NNG, 2, SAGA_CODE_OK, "");
    assert_int_equal(drive_start(drive, "create-order-async"), KAFKA);
    assert_int_equal(drive_start(drive, "create-order"), ENDED);
    drive_finish(drive, ENDED);
    assert_true(drive_start(drive, "order-nested") < drive->count);
    drive_pause(drive, "create-order", SAGA_ACT_PAUSE);
    drive_pause(drive, "create-order", SAGA_ACT_RESUME);
    drive_pause(drive, "create-order", SAGA_ACT_PAUSE);
    world_close_runtime(&drive->world);
    *state = drive;
    return 0;
}

static int teardown(void **state)
{
    drive_close(*state);
    free(*state);
    return 0;
}

/* "x'0123…'" of a saga's id. */
static const char *blob(const struct drive *drive, size_t saga)
{
    static char text[2 * SAGA_ID_SIZE + 4];
    size_t size = (size_t)snprintf(text, sizeof text, "x'");
    for (size_t i = 0; i < SAGA_ID_SIZE; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "%02x", drive->ids[saga].b[i]);
    }
    (void)snprintf(text + size, sizeof text - size, "'");
    return text;
}

/* Changes the file by SQL in which "%s" stands for the saga's id; then there is one finding, of
 * this saga, with these words. */
static struct told expect(struct drive *drive, size_t saga, const char *before, const char *after,
                          const char *words)
{
    char sql[TEXT_SIZE];
    (void)snprintf(sql, sizeof sql, "%s%s%s", before, blob(drive, saga), after);
    struct told told = replay(drive);
    expect_clean(&told);
    uint64_t sagas = told.counts.sagas;
    drive_sql(drive, sql);
    told = replay(drive);
    if (told.count != 1 || strstr(told.message, words) == NULL) {
        fail_msg("%zu findings, the first: %s: %s", told.count, told.definition, told.message);
    }
    assert_int_equal(told.kind, SAGA_REPLAY_DIFFERENT);
    assert_int_equal(told.counts.found[SAGA_REPLAY_DIFFERENT], 1);
    assert_true(saga_id_equal(told.id, drive->ids[saga]));
    assert_true(told.counts.sagas == sagas || told.counts.sagas == sagas - 1);
    return told;
}

/* The same of the store as a whole, or of no saga in particular. */
static struct told expect_store(struct drive *drive, const char *sql, const char *words)
{
    struct told told = replay(drive);
    expect_clean(&told);
    drive_sql(drive, sql);
    told = replay(drive);
    if (told.count != 1 || strstr(told.message, words) == NULL) {
        fail_msg("%zu findings, the first: %s: %s", told.count, told.definition, told.message);
    }
    assert_int_equal(told.counts.found[SAGA_REPLAY_DIFFERENT], 1);
    assert_int_equal(told.counts.same, told.counts.sagas);
    return told;
}

/* ---- In order ---- */

/* What the relays do when Kafka has acknowledged. */
static void acknowledge(struct drive *drive, const char *name, int64_t position)
{
    struct saga_store_port *store = &drive->world.inner;
    assert_int_equal(store->ops->begin(store->store, NULL), SAGA_ERR_OK);
    assert_int_equal(store->ops->set_cursor(store->store, name, position, NULL), SAGA_ERR_OK);
    assert_int_equal(store->ops->commit(store->store, NULL), SAGA_ERR_OK);
}

static bool last_position(void *user, const struct saga_outbox_row *row)
{
    *(int64_t *)user = row->position;
    return true;
}

static bool last_event(void *user, const struct saga_audit_row *row)
{
    *(int64_t *)user = row->position;
    return true;
}

/* Lets the relays come as far as chance has it. */
static void relay(struct drive *drive, uint64_t round)
{
    struct saga_store_port *store = &drive->world.inner;
    int64_t outbox = store->ops->cursor(store->store, "outbox");
    int64_t audit = store->ops->cursor(store->store, "audit");
    assert_int_equal(
        store->ops->relay_outbox(store->store, outbox, 1 + round % 7, last_position, &outbox, NULL),
        SAGA_ERR_OK);
    assert_int_equal(
        store->ops->relay_audit(store->store, audit, 1 + round % 40, last_event, &audit, NULL),
        SAGA_ERR_OK);
    acknowledge(drive, "outbox", outbox);
    acknowledge(drive, "audit", audit);
}

static void test_books_when_the_daemon_wrote_them_then_nothing_is_found(void **state)
{
    (void)state;
    struct drive *drive = calloc(1, sizeof *drive);
    assert_non_null(drive);
    uint64_t streams = 0;
    int64_t relayed = 0;
    for (uint64_t seed = 21; seed <= 28; seed++) {
        drive_open(drive, seed);
        for (uint64_t round = 0; round < 12; round++) {
            drive_run(drive, 40);
            relay(drive, seed + round);
            if (round % 4 == 3) {
                struct told running = replay(drive); /* while the runtime has the file */
                expect_clean(&running);
            }
        }
        relayed += drive->world.inner.ops->cursor(drive->world.inner.store, "outbox");
        world_crash(&drive->world);
        struct told crashed = replay(drive);
        expect_clean(&crashed);
        world_close_runtime(&drive->world);
        struct told told = replay(drive);
        expect_clean(&told);
        streams += told.counts.streams;
        drive_close(drive);
    }
    free(drive);
    /* A drive that reaches nothing proves nothing. */
    assert_true(streams >= 3);
    assert_true(relayed >= 40);
}

static void test_books_when_the_outbox_was_emptied_then_nothing_is_found(void **state)
{
    struct drive *drive = *state;
    assert_int_equal(world_open_runtime(&drive->world), SAGA_ERR_OK);
    for (uint64_t i = 0; i < 20; i++) {
        relay(drive, 39);
    }
    assert_true(drive->world.inner.ops->cursor(drive->world.inner.store, "outbox") > 0);
    struct told told = replay(drive);
    expect_clean(&told);
    world_close_runtime(&drive->world);
    told = replay(drive);
    expect_clean(&told);
}

/* ---- Rows of sagas ---- */

static void test_row_when_its_definition_name_is_another_then_is_found(void **state)
{
    struct told told =
        expect(*state, ENDED, "UPDATE saga SET definition_name = 'prepare' WHERE id = ", "",
               "saga.definition_name: stored \"prepare\", recorded "
               "\"create-order\"");
    assert_int_equal(told.counts.same, told.counts.sagas - 1);
}

static void test_row_when_it_is_gone_then_its_events_tell(void **state)
{
    struct told told = expect(*state, ENDED, "DELETE FROM saga WHERE id = ", "",
                              "saga: stored no row, recorded events up to ");
    assert_string_equal(told.definition, "create-order");
    assert_int_equal(told.counts.same, told.counts.sagas);
}

static void test_row_when_it_is_the_newest_and_gone_then_its_events_tell(void **state)
{
    struct drive *drive = *state;
    (void)expect(drive, drive->count - 1, "DELETE FROM saga WHERE id = ", "",
                 "saga: stored no row");
}

static void test_row_when_its_time_is_another_then_is_found(void **state)
{
    struct told told =
        expect(*state, NNG, "UPDATE saga SET updated_unix_ms = updated_unix_ms + 1 WHERE id = ", "",
               "saga.updated_unix_ms: stored ");
    assert_int_equal(told.counts.same, told.counts.sagas - 1);
}

/* ---- Events ---- */

static void test_event_when_its_time_beside_it_is_another_then_is_found(void **state)
{
    struct told told =
        expect(*state, NNG, "UPDATE audit SET time_unix_ms = 7 WHERE saga_id = ", " AND seq = 2",
               "audit.time_unix_ms: stored 7, recorded ");
    assert_int_equal(told.seq, 2);
}

static void test_event_when_two_positions_are_exchanged_then_is_found(void **state)
{
    struct drive *drive = *state;
    char after[TEXT_SIZE];
    char id[2 * SAGA_ID_SIZE + 4];
    (void)snprintf(id, sizeof id, "%s", blob(drive, ENDED));
    (void)snprintf(after, sizeof after,
                   " AND seq IN (1, 2);"
                   "UPDATE audit SET position = (SELECT -position FROM audit b WHERE b.saga_id = %s"
                   " AND b.seq = 3 - audit.seq) WHERE saga_id = %s AND seq = 1;"
                   "UPDATE audit SET position = (SELECT x FROM swap WHERE seq = 1)"
                   " WHERE saga_id = %s AND seq = 2;"
                   "UPDATE audit SET position = -position WHERE position < 0;"
                   "DROP TABLE swap",
                   id, id, id);
    struct told told = expect(drive, ENDED,
                              "CREATE TABLE swap AS SELECT seq, position AS x FROM audit"
                              " WHERE saga_id = ",
                              after, "audit.position: stored ");
    assert_int_equal(told.seq, 2);
    assert_non_null(strstr(told.message, "S9"));
}

/* ---- Acts on definitions ---- */

static void test_pause_when_its_row_is_gone_then_its_events_tell(void **state)
{
    struct told told = expect_store(*state, "DELETE FROM definition_pause",
                                    "definition_pause: stored no row, recorded 3 acts");
    assert_string_equal(told.definition, "create-order");
}

static void test_pause_when_there_is_no_table_then_its_events_tell(void **state)
{
    (void)expect_store(*state, "DROP TABLE definition_pause", "definition_pause: stored no row");
}

/* ---- Cursors and the outbox ---- */

static void test_cursor_when_it_is_after_the_last_event_then_is_found(void **state)
{
    struct told told = expect_store(
        *state, "INSERT OR REPLACE INTO cursor SELECT 'audit', max(position) + 1 FROM audit",
        "cursor.position of \"audit\": stored ");
    assert_string_equal(told.definition, "");
}

static void test_cursor_when_it_is_at_the_last_event_then_is_in_order(void **state)
{
    drive_sql(*state, "INSERT OR REPLACE INTO cursor SELECT 'audit', max(position) FROM audit");
    struct told told = replay(*state);
    expect_clean(&told);
}

static void test_cursor_when_commands_are_behind_it_then_is_found(void **state)
{
    (void)expect_store(*state, "INSERT OR REPLACE INTO cursor VALUES('outbox', 1)",
                       "cursor.position of \"outbox\": stored 1 as published, but 1 commands");
}

static void test_cursor_when_it_is_after_all_commands_then_is_found(void **state)
{
    (void)expect_store(*state,
                       "INSERT OR REPLACE INTO cursor SELECT 'outbox', max(position) + 1"
                       " FROM outbox; DELETE FROM outbox",
                       "commands for Kafka in all");
}

static void test_outbox_when_a_command_is_gone_then_is_found(void **state)
{
    (void)expect_store(*state,
                       "DELETE FROM outbox WHERE position = (SELECT max(position) FROM outbox)",
                       "outbox: stored ");
}

static void test_outbox_when_its_saga_is_not_there_then_is_found(void **state)
{
    (void)expect_store(*state,
                       "UPDATE outbox SET saga_id = x'00112233445566778899aabbccddeeff'"
                       " WHERE position = 1",
                       "outbox, position 1: stored ");
}

static void test_outbox_when_a_command_was_not_decided_then_is_found(void **state)
{
    struct told told = expect_store(*state,
                                    "INSERT INTO outbox SELECT max(position) + 1, saga_id, step,"
                                    " op, attempt + 5, topic, traceparent, time_unix_ms, value"
                                    " FROM outbox",
                                    "recorded no decision of it for Kafka");
    assert_true(told.seq == 0);
}

static void test_outbox_when_a_command_is_there_twice_then_is_found(void **state)
{
    (void)expect_store(*state,
                       "INSERT INTO outbox SELECT (SELECT max(position) + 1 FROM outbox), saga_id,"
                       " step, op, attempt, topic, traceparent, time_unix_ms, value"
                       " FROM outbox WHERE position = 1",
                       "commands after its cursor");
}

static void test_outbox_when_its_value_is_another_then_is_found(void **state)
{
    (void)expect_store(*state, "UPDATE outbox SET value = x'0801' WHERE position = 1",
                       "its value is not that command");
}

static void test_outbox_when_its_topic_is_another_then_is_found(void **state)
{
    (void)expect_store(*state, "UPDATE outbox SET topic = 'elsewhere' WHERE position = 1",
                       "its topic is not that of the definition");
}

/* ---- Told once ---- */

static void test_saga_when_running_it_again_has_told_then_the_books_do_not(void **state)
{
    struct drive *drive = *state;
    char sql[TEXT_SIZE];
    (void)snprintf(sql, sizeof sql,
                   "UPDATE saga SET updated_unix_ms = 1, last_hash = zeroblob(32) WHERE id = %s",
                   blob(drive, ENDED));
    drive_sql(drive, sql);
    struct told told = replay(drive);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.counts.found[SAGA_REPLAY_DIFFERENT], 1);
    assert_int_equal(told.counts.same, told.counts.sagas - 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_books_when_the_daemon_wrote_them_then_nothing_is_found),
        T(test_books_when_the_outbox_was_emptied_then_nothing_is_found),
        T(test_row_when_its_definition_name_is_another_then_is_found),
        T(test_row_when_it_is_gone_then_its_events_tell),
        T(test_row_when_it_is_the_newest_and_gone_then_its_events_tell),
        T(test_row_when_its_time_is_another_then_is_found),
        T(test_event_when_its_time_beside_it_is_another_then_is_found),
        T(test_event_when_two_positions_are_exchanged_then_is_found),
        T(test_pause_when_its_row_is_gone_then_its_events_tell),
        T(test_pause_when_there_is_no_table_then_its_events_tell),
        T(test_cursor_when_it_is_after_the_last_event_then_is_found),
        T(test_cursor_when_it_is_at_the_last_event_then_is_in_order),
        T(test_cursor_when_commands_are_behind_it_then_is_found),
        T(test_cursor_when_it_is_after_all_commands_then_is_found),
        T(test_outbox_when_a_command_is_gone_then_is_found),
        T(test_outbox_when_its_saga_is_not_there_then_is_found),
        T(test_outbox_when_a_command_was_not_decided_then_is_found),
        T(test_outbox_when_a_command_is_there_twice_then_is_found),
        T(test_outbox_when_its_value_is_another_then_is_found),
        T(test_outbox_when_its_topic_is_another_then_is_found),
        T(test_saga_when_running_it_again_has_told_then_the_books_do_not),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
