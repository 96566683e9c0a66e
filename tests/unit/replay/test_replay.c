/* Replay: what the real runtime has recorded comes out again; what was changed since is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/assert.h"
#include "orchestrator/engine/engine.h"
#include "orchestrator/store/sqlite/store_sqlite.h"
#include "saga/v1/audit.pb-c.h"
#include "tests/unit/replay/drive.h"
#include "verify/replay/replay.h"

enum { TOLD_MAX = 8, TEXT_SIZE = 512 };

/* What was told, in words: the kinds and numbers, and of the first all. */
struct told {
    size_t count;
    enum saga_replay_kind kinds[TOLD_MAX];
    uint64_t seqs[TOLD_MAX];
    struct saga_id ids[TOLD_MAX];
    char message[TEXT_SIZE];
    char event[TEXT_SIZE];
    char fields[4 * TEXT_SIZE]; /* "name: recorded | now\n" */
    struct saga_replay_counts counts;
};

static void note(void *user, const struct saga_replay_finding *finding)
{
    struct told *told = user;
    if (told->count < TOLD_MAX) {
        told->kinds[told->count] = finding->kind;
        told->seqs[told->count] = finding->seq;
        told->ids[told->count] = finding->id;
    }
    if (told->count++ > 0) {
        return;
    }
    (void)snprintf(told->message, sizeof told->message, "%s", finding->message);
    (void)snprintf(told->event, sizeof told->event, "%s", finding->event);
    size_t size = 0;
    for (size_t i = 0; i < finding->field_count && size < sizeof told->fields; i++) {
        size += (size_t)snprintf(told->fields + size, sizeof told->fields - size, "%s: %s | %s\n",
                                 finding->fields[i].name, finding->fields[i].recorded,
                                 finding->fields[i].now);
    }
}

static struct told replay_file_by(const char *path, saga_replay_engine *engine)
{
    struct told told = {0};
    struct saga_store_port store;
    struct saga_err_detail detail = {{0}};
    uint64_t count = 0;
    if (saga_store_sqlite_inspect(path, &store, &count, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    struct saga_replay_store_config config = {
        .store = store, .told = note, .user = &told, .engine = engine};
    if (saga_replay_store(&config, &told.counts, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    assert_int_equal(told.counts.sagas, count);
    assert_int_equal(saga_store_sqlite_inspected(&store, &detail), SAGA_ERR_OK);
    store.ops->close(store.store);
    return told;
}

static struct told replay_file(const char *path)
{
    return replay_file_by(path, NULL);
}

static void expect_clean(const struct told *told)
{
    if (told->count > 0) {
        fail_msg("%s: event %llu: %s: %s\n%s", saga_replay_kind_name(told->kinds[0]),
                 (unsigned long long)told->seqs[0], told->event, told->message, told->fields);
    }
    assert_int_equal(told->counts.same, told->counts.sagas);
}

/* Three sagas, the middle one ended in the ordinary way; the runtime is closed. */
static int setup(void **state)
{
    struct drive *drive = calloc(1, sizeof *drive);
    assert_non_null(drive);
    drive_open(drive, 1);
    (void)drive_start(drive, "create-order");
    size_t ended = drive_start(drive, "create-order");
    drive_finish(drive, ended);
    size_t back = drive_start(drive, "create-order");
    drive_reply(drive, back, 2, SAGA_CODE_OK, "");
    drive_reply(drive, back, 1, SAGA_CODE_NOT_FOUND, "CUSTOMER_UNKNOWN");
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

enum { GOING = 0, ENDED = 1, BACK = 2 };

static void expect_one(const struct drive *drive, const struct told *told, size_t saga,
                       enum saga_replay_kind kind, uint64_t seq)
{
    assert_int_equal(told->count, 1);
    assert_int_equal(told->kinds[0], kind);
    assert_int_equal(told->seqs[0], seq);
    assert_true(saga_id_equal(told->ids[0], drive->ids[saga]));
    assert_int_equal(told->counts.sagas, drive->count);
    assert_int_equal(told->counts.same, drive->count - 1);
}

/* ---- What was recorded comes out ---- */

static void test_store_when_sagas_went_every_way_then_all_come_out_the_same(void **state)
{
    (void)state;
    struct drive *drive = calloc(1, sizeof *drive);
    assert_non_null(drive);
    uint64_t ended = 0;
    uint64_t streams = 0;
    uint64_t in_flight = 0;
    uint64_t events = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        drive_open(drive, seed);
        drive_run(drive, 450);
        struct told running = replay_file(drive->world.path); /* while the runtime has the file */
        expect_clean(&running);
        world_close_runtime(&drive->world);
        struct told told = replay_file(drive->world.path);
        expect_clean(&told);
        streams += told.counts.streams;
        ended += told.counts.ended;
        in_flight += told.counts.in_flight;
        events += told.counts.events;
        drive_close(drive);
    }
    free(drive);
    /* A drive that reaches nothing proves nothing. */
    assert_true(ended >= 50);
    assert_true(streams >= 5);
    assert_true(in_flight >= 30);
    assert_true(events >= 2000);
}

static void test_store_when_a_saga_was_parked_and_acted_on_then_comes_out_the_same(void **state)
{
    (void)state;
    struct drive *drive = calloc(1, sizeof *drive);
    assert_non_null(drive);
    drive_open(drive, 3);
    size_t saga = drive_start(drive, "create-order");
    drive_reply(drive, saga, 2, SAGA_CODE_PERMISSION_DENIED, "");
    drive_operate(drive, saga, SAGA_ACT_RETRY, "stock");
    drive_reply(drive, saga, 2, SAGA_CODE_INVALID_ARGUMENT, "KEY_REUSED");
    drive_operate(drive, saga, SAGA_ACT_RESOLVE, "stock");
    drive_finish(drive, saga);
    size_t late = drive_start(drive, "create-order-async");
    drive_wait(drive, 200000); /* past its deadline */
    drive_finish(drive, late);
    struct told told = replay_file(drive->world.path);
    expect_clean(&told);
    assert_int_equal(told.counts.ended, 2);
    drive_close(drive);
    free(drive);
}

static void test_store_when_it_is_replayed_then_is_not_written(void **state)
{
    struct drive *drive = *state;
    struct stat before;
    struct stat after;
    assert_int_equal(stat(drive->world.path, &before), 0);
    struct told told = replay_file(drive->world.path);
    expect_clean(&told);
    assert_int_equal(stat(drive->world.path, &after), 0);
    assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    assert_int_equal(told.counts.ended, 1);
    assert_int_equal(told.counts.in_flight, 2);
}

static bool is_beside(const struct drive *drive, const char *suffix)
{
    char path[sizeof drive->world.path + 8];
    (void)snprintf(path, sizeof path, "%s%s", drive->world.path, suffix);
    return access(path, F_OK) == 0;
}

static void test_store_when_it_was_closed_then_nothing_is_left_beside_it(void **state)
{
    struct drive *drive = *state;
    assert_false(is_beside(drive, "-wal"));
    struct told told = replay_file(drive->world.path);
    expect_clean(&told);
    assert_false(is_beside(drive, "-wal"));
    assert_false(is_beside(drive, "-shm"));
}

static void test_store_when_somebody_opens_it_meanwhile_then_is_to_be_read_again(void **state)
{
    struct drive *drive = *state;
    struct saga_store_port store;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_store_sqlite_inspect(drive->world.path, &store, NULL, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_store_sqlite_inspected(&store, &detail), SAGA_ERR_OK);
    assert_int_equal(world_open_runtime(&drive->world), SAGA_ERR_OK);
    assert_int_equal(saga_store_sqlite_inspected(&store, &detail), SAGA_ERR_BUSY);
    (void)drive_start(drive, "create-order");
    world_close_runtime(&drive->world); /* there is no log any more, but the file is another */
    assert_int_equal(saga_store_sqlite_inspected(&store, &detail), SAGA_ERR_BUSY);
    store.ops->close(store.store);
}

static void test_store_when_one_saga_is_meant_then_only_it_is_looked_at(void **state)
{
    struct drive *drive = *state;
    struct told told = {0};
    struct saga_store_port store;
    assert_int_equal(saga_store_sqlite_inspect(drive->world.path, &store, NULL, NULL), SAGA_ERR_OK);
    struct saga_replay_store_config config = {.store = store, .told = note, .user = &told};
    assert_int_equal(saga_replay_store_one(&config, drive->ids[BACK], &told.counts, NULL),
                     SAGA_ERR_OK);
    expect_clean(&told);
    assert_int_equal(told.counts.sagas, 1);
    assert_int_equal(saga_replay_store_one(&config, saga_id_make(1, 1, 1), &told.counts, NULL),
                     SAGA_ERR_NOT_FOUND);
    store.ops->close(store.store);
}

/* ---- A changed decision ---- */

static void attempt_two(Saga__V1__AuditEvent *event)
{
    assert_true(event->n_decisions > 0);
    event->decisions[0]->attempt = 2;
}

static void test_decision_when_it_is_another_then_is_told_with_both(void **state)
{
    struct drive *drive = *state;
    drive_rewrite(drive, ENDED, 1, attempt_two);
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, ENDED, SAGA_REPLAY_DIFFERENT, 1);
    assert_string_equal(told.event, "START");
    assert_string_equal(told.fields,
                        "decisions: CALL customer attempt 2 by NNG, CALL stock attempt "
                        "1 by NNG | CALL customer attempt 1 by NNG, CALL stock "
                        "attempt 1 by NNG\n");
}

static void refused(Saga__V1__AuditEvent *event)
{
    Saga__V1__Status *status = malloc(sizeof *status); /* freed with the event */
    assert_non_null(status);
    saga__v1__status__init(status);
    status->code = SAGA_CODE_NOT_FOUND;
    assert_int_equal(event->kind, SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY);
    assert_null(event->status);
    event->status = status;
}

static void test_reply_when_it_was_another_then_the_engine_decides_otherwise(void **state)
{
    struct drive *drive = *state;
    drive_rewrite(drive, BACK, 2, refused);
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, BACK, SAGA_REPLAY_DIFFERENT, 2);
    assert_non_null(strstr(told.fields, "state: RUNNING | COMPENSATING\n"));
    assert_non_null(strstr(told.fields, "transitions: "));
    assert_non_null(strstr(told.fields, "cause:  | stock: NOT_FOUND\n"));
    assert_non_null(strstr(told.event, "REPLY stock CALL attempt 1: NOT_FOUND"));
}

static void state_parked(Saga__V1__AuditEvent *event)
{
    event->state = SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED;
}

static void test_decision_when_many_sagas_differ_then_each_is_told_once(void **state)
{
    struct drive *drive = *state;
    drive_rewrite(drive, GOING, 1, state_parked);
    drive_rewrite(drive, BACK, 3, state_parked);
    struct told told = replay_file(drive->world.path);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.counts.found[SAGA_REPLAY_DIFFERENT], 2);
    assert_int_equal(told.counts.same, 1);
}

static void not_for_us(Saga__V1__AuditEvent *event)
{
    event->attempt = 7; /* of an attempt that never was: the engine ignores it */
}

static void test_event_when_it_would_be_ignored_then_is_told(void **state)
{
    struct drive *drive = *state;
    drive_rewrite(drive, BACK, 2, not_for_us);
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, BACK, SAGA_REPLAY_DIFFERENT, 2);
    assert_string_equal(told.fields, "verdict: taken | ignored\n");
}

static void condition(Saga__V1__AuditEvent *event)
{
    event->when_mask = 1;
}

static void test_condition_when_it_did_not_hold_then_is_told(void **state)
{
    struct drive *drive = *state;
    drive_rewrite(drive, ENDED, 2, condition);
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, ENDED, SAGA_REPLAY_DIFFERENT, 2);
    assert_string_equal(told.fields, "conditions: 0x1 | 0x0\n");
}

/* ---- An engine that gives up ---- */

static struct saga_id given_up;
static uint64_t given_up_seq;

static void frail_step(const struct saga_definition *def, struct saga *saga,
                       const struct saga_event *ev, struct saga_update *up)
{
    bool here = saga_id_equal(saga->id, given_up) && saga->seq + 1 == given_up_seq;
    saga_step(def, saga, ev, up);
    SAGA_ASSERT(!here);
}

static void
test_engine_when_it_gives_up_on_an_event_then_it_is_told_and_the_others_follow(void **state)
{
    struct drive *drive = *state;
    given_up = drive->ids[ENDED];
    given_up_seq = 2;
    struct told told = replay_file_by(drive->world.path, frail_step);
    expect_one(drive, &told, ENDED, SAGA_REPLAY_DIFFERENT, 2);
    assert_non_null(strstr(told.message, "gives up"));
    assert_non_null(strstr(told.message, "!here (test_replay.c:"));
    assert_non_null(strstr(told.event, "REPLY "));
    assert_non_null(strstr(told.fields, "state: RUNNING | (the engine gives up)\n"));
    assert_non_null(strstr(told.fields, "transitions: "));
    assert_int_equal(told.counts.ended, 1); /* as it is stored, though its replay was cut off */
    assert_int_equal(told.counts.in_flight, 2);
}

static void hasty_step(const struct saga_definition *def, struct saga *saga,
                       const struct saga_event *ev, struct saga_update *up)
{
    saga_step(def, saga, ev, up);
    if (saga_id_equal(saga->id, given_up) && saga->seq == given_up_seq) {
        saga->state = SAGA_STATE_COMPLETED; /* decides too much, and then sees it */
        SAGA_ASSERT(saga_invariant(def, saga) == NULL);
    }
}

static void test_engine_when_it_gives_up_on_what_it_decided_then_both_are_told(void **state)
{
    struct drive *drive = *state;
    given_up = drive->ids[BACK];
    given_up_seq = 2;
    struct told told = replay_file_by(drive->world.path, hasty_step);
    expect_one(drive, &told, BACK, SAGA_REPLAY_DIFFERENT, 2);
    assert_non_null(strstr(told.message, "saga_invariant(def, saga) == NULL (test_replay.c:"));
    assert_string_equal(told.fields, "state: RUNNING | COMPLETED\n");
}

static void spoiling_step(const struct saga_definition *def, struct saga *saga,
                          const struct saga_event *ev, struct saga_update *up)
{
    saga_step(def, saga, ev, up);
    saga->step_count += 1; /* the engine itself notices at the next event */
}

static void test_engine_when_it_gives_up_on_every_saga_then_each_is_told(void **state)
{
    struct drive *drive = *state;
    struct told told = replay_file_by(drive->world.path, spoiling_step);
    assert_int_equal(told.counts.found[SAGA_REPLAY_DIFFERENT], drive->count);
    assert_int_equal(told.counts.sagas, drive->count);
    assert_int_equal(told.counts.same, 0);
    assert_int_equal(told.counts.ended, 1);
    assert_non_null(strstr(told.message, "saga->step_count == def->step_count"));
}

/* ---- Acts on definitions ---- */

static void pause_twice(struct drive *drive)
{
    assert_int_equal(world_open_runtime(&drive->world), SAGA_ERR_OK);
    drive_pause(drive, "create-order", SAGA_ACT_PAUSE);
    drive_pause(drive, "create-order", SAGA_ACT_RESUME);
    drive_pause(drive, "create-order", SAGA_ACT_PAUSE);
    world_close_runtime(&drive->world);
}

/* Changes an event of the stream of create-order. */
static void expect_act(struct drive *drive, const char *sql, enum saga_replay_kind kind,
                       uint64_t seq, const char *part)
{
    pause_twice(drive);
    struct told told = replay_file(drive->world.path);
    expect_clean(&told);
    assert_int_equal(told.counts.streams, 1);
    drive_sql(drive, sql);
    told = replay_file(drive->world.path);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.kinds[0], kind);
    assert_int_equal(told.seqs[0], seq);
    assert_int_equal(told.counts.same, told.counts.sagas);
    if (strstr(told.message, part) == NULL && strstr(told.fields, part) == NULL) {
        fail_msg("%s is neither in %s nor in %s", part, told.message, told.fields);
    }
}

#define OF_STREAM "saga_id NOT IN (SELECT id FROM saga)"

static void test_acts_when_the_row_says_otherwise_then_is_told(void **state)
{
    expect_act(*state, "UPDATE definition_pause SET paused = 0", SAGA_REPLAY_DIFFERENT, 0,
               "paused: no | yes\n");
}

static void test_acts_when_one_is_missing_then_is_broken(void **state)
{
    expect_act(*state, "DELETE FROM audit WHERE seq = 2 AND " OF_STREAM, SAGA_REPLAY_BROKEN, 2,
               "event 2 is missing");
}

static void test_acts_when_one_is_changed_then_is_broken(void **state)
{
    expect_act(*state,
               "UPDATE audit SET event = CAST(substr(event, 1, 30) || x'7f' || substr(event, 32)"
               " AS BLOB) WHERE seq = 3 AND " OF_STREAM,
               SAGA_REPLAY_BROKEN, 3, "its hash is not that of its bytes");
}

static void test_acts_when_there_is_one_too_few_then_is_broken(void **state)
{
    expect_act(*state, "DELETE FROM audit WHERE seq = 3 AND " OF_STREAM, SAGA_REPLAY_BROKEN, 3,
               "event 3 is missing; there are 3");
}

static void test_store_when_it_knows_no_pauses_then_is_replayed_and_brought_up(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "DROP TABLE definition_pause; DROP TABLE participant; DROP INDEX "
                     "definition_name; DROP TABLE definition_past; DROP INDEX definition_unused; "
                     "ALTER TABLE definition DROP COLUMN used; PRAGMA user_version = 1");
    struct told told = replay_file(drive->world.path);
    expect_clean(&told);
    assert_int_equal(told.counts.sagas, 3);
    assert_int_equal(world_open_runtime(&drive->world), SAGA_ERR_OK); /* the new program */
    drive_pause(drive, "create-order", SAGA_ACT_PAUSE);
    world_close_runtime(&drive->world);
    told = replay_file(drive->world.path);
    expect_clean(&told);
    assert_int_equal(told.counts.streams, 1);
}

/* ---- A changed state ---- */

static void test_row_when_its_context_is_another_then_is_told(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "UPDATE saga SET context = x'0801' WHERE start_key = 'order-1'");
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, ENDED, SAGA_REPLAY_DIFFERENT, 0);
    assert_non_null(strstr(told.fields, "context: 2 bytes"));
}

static void test_row_when_its_record_is_of_another_saga_then_each_field_is_told(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "UPDATE saga SET record = (SELECT record FROM saga WHERE start_key = "
                     "'order-2') WHERE start_key = 'order-0'");
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, GOING, SAGA_REPLAY_DIFFERENT, 0);
    assert_non_null(strstr(told.fields, "state: COMPENSATING | RUNNING\n"));
    assert_non_null(strstr(told.fields, "step customer: REJECTED"));
}

static void test_row_when_its_record_is_corrupt_then_is_broken(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "UPDATE saga SET record = x'01' WHERE start_key = 'order-0'");
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, GOING, SAGA_REPLAY_BROKEN, 0);
}

/* ---- A broken log ---- */

static void test_event_when_a_byte_is_another_then_is_broken(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "UPDATE audit SET event = CAST(substr(event, 1, 20) || x'7f' ||"
                     " substr(event, 22) AS BLOB) WHERE seq = 3 AND saga_id ="
                     " (SELECT id FROM saga WHERE start_key = 'order-1')");
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, ENDED, SAGA_REPLAY_BROKEN, 3);
    assert_non_null(strstr(told.message, "its hash is not that of its bytes"));
}

static void test_event_when_it_is_missing_then_is_broken(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "DELETE FROM audit WHERE seq = 2 AND saga_id ="
                     " (SELECT id FROM saga WHERE start_key = 'order-1')");
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, ENDED, SAGA_REPLAY_BROKEN, 2);
    assert_string_equal(told.message, "event 2 is missing; 3 comes next");
}

static void test_event_when_the_last_is_missing_then_is_broken(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "DELETE FROM audit WHERE seq = 3 AND saga_id ="
                     " (SELECT id FROM saga WHERE start_key = 'order-2')");
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, BACK, SAGA_REPLAY_BROKEN, 3);
    assert_string_equal(told.message, "event 3 is missing; the saga has 3");
}

static void test_event_when_it_is_of_another_saga_then_is_broken(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "UPDATE audit SET event = (SELECT event FROM audit WHERE seq = 1 AND saga_id ="
                     " (SELECT id FROM saga WHERE start_key = 'order-1')) WHERE seq = 1 AND"
                     " saga_id = (SELECT id FROM saga WHERE start_key = 'order-2')");
    struct told told = replay_file(drive->world.path);
    expect_one(drive, &told, BACK, SAGA_REPLAY_BROKEN, 1);
    assert_string_equal(told.message, "it is of another saga");
}

static void begins_again(Saga__V1__AuditEvent *event)
{
    event->kind = SAGA__V1__EVENT_KIND__EVENT_KIND_START;
}

static void no_kind(Saga__V1__AuditEvent *event)
{
    event->kind = (Saga__V1__EventKind)99;
}

static void far_away(Saga__V1__AuditEvent *event)
{
    event->time_unix_ms = INT64_MAX;
}

static void test_event_when_it_cannot_be_then_is_broken_and_nothing_aborts(void **state)
{
    struct drive *drive = *state;
    static void (*const changes[])(Saga__V1__AuditEvent *) = {begins_again, no_kind, far_away};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        drive_rewrite(drive, ENDED, 2 + i, changes[i]);
        struct told told = replay_file(drive->world.path);
        assert_int_equal(told.count, 1);
        assert_int_equal(told.kinds[0], SAGA_REPLAY_BROKEN);
        assert_int_equal(told.seqs[0], 2);
    }
}

static void test_chain_when_one_link_is_another_then_is_broken(void **state)
{
    struct drive *drive = *state;
    /* An event with a hash of its own, but not the one that the next one names. */
    drive_rewrite(drive, ENDED, 2, condition);
    drive_rewrite(drive, ENDED, 1, state_parked);
    drive_sql(drive, "UPDATE audit SET event = (SELECT event FROM audit a WHERE a.seq = 2 AND"
                     " a.saga_id = (SELECT id FROM saga WHERE start_key = 'order-2'))"
                     " WHERE seq = 3 AND saga_id = (SELECT id FROM saga WHERE start_key ="
                     " 'order-2')");
    struct told told = replay_file(drive->world.path);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.kinds[0], SAGA_REPLAY_BROKEN); /* the newest saga comes first */
    assert_int_equal(told.seqs[0], 3);
    assert_int_equal(told.kinds[1], SAGA_REPLAY_DIFFERENT);
}

/* ---- Definitions and files ---- */

static void test_definition_when_it_is_gone_then_its_sagas_are_told(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "DELETE FROM definition WHERE name = 'create-order'");
    struct told told = replay_file(drive->world.path);
    assert_int_equal(told.count, 3);
    assert_int_equal(told.counts.found[SAGA_REPLAY_DEFINITION], 3);
    assert_non_null(strstr(told.message, "is not there"));
}

static void test_definition_when_its_set_declares_another_then_the_reason_is_told(void **state)
{
    struct drive *drive = *state;
    drive_sql(drive, "UPDATE definition SET name = 'create-order-async', current = 0"
                     " WHERE name = 'create-order'");
    struct told told = replay_file(drive->world.path);
    assert_int_equal(told.counts.found[SAGA_REPLAY_DEFINITION], 3);
    assert_non_null(strstr(told.message, "cannot be used"));
    assert_non_null(strstr(told.message, "this program makes hash"));
}

static void test_file_when_it_is_no_store_then_is_refused_and_not_made(void **state)
{
    struct drive *drive = *state;
    struct saga_store_port store;
    struct saga_err_detail detail = {{0}};
    char path[256];
    (void)snprintf(path, sizeof path, "%s-none", drive->world.path);
    assert_int_equal(saga_store_sqlite_inspect(path, &store, NULL, &detail), SAGA_ERR_NOT_FOUND);
    assert_int_not_equal(access(path, F_OK), 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("# Words, and no database\n", file) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(saga_store_sqlite_inspect(path, &store, NULL, &detail), SAGA_ERR_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_non_null(strstr(detail.text, "it is not a store of sagad (not an SQLite database)"));
    assert_null(strstr(detail.text, "PRAGMA"));
    drive_sql(drive, "PRAGMA user_version = 0");
    assert_int_equal(saga_store_sqlite_inspect(drive->world.path, &store, NULL, &detail),
                     SAGA_ERR_INVALID);
    drive_sql(drive, "PRAGMA user_version = 9999");
    assert_int_equal(saga_store_sqlite_inspect(drive->world.path, &store, NULL, &detail),
                     SAGA_ERR_CONFLICT);
}

static bool stop(void *user, const struct saga_replay_counts *counts)
{
    (void)user;
    return counts->sagas == 0;
}

static void test_progress_when_it_says_stop_then_the_walk_ends(void **state)
{
    struct drive *drive = *state;
    struct saga_store_port store;
    struct saga_replay_counts counts;
    assert_int_equal(saga_store_sqlite_inspect(drive->world.path, &store, NULL, NULL), SAGA_ERR_OK);
    struct saga_replay_store_config config = {.store = store, .progress = stop};
    assert_int_equal(saga_replay_store(&config, &counts, NULL), SAGA_ERR_CLOSED);
    assert_int_equal(counts.sagas, 3);
    store.ops->close(store.store);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_when_sagas_went_every_way_then_all_come_out_the_same),
        cmocka_unit_test(test_store_when_a_saga_was_parked_and_acted_on_then_comes_out_the_same),
        T(test_store_when_it_is_replayed_then_is_not_written),
        T(test_store_when_it_was_closed_then_nothing_is_left_beside_it),
        T(test_store_when_somebody_opens_it_meanwhile_then_is_to_be_read_again),
        T(test_engine_when_it_gives_up_on_an_event_then_it_is_told_and_the_others_follow),
        T(test_engine_when_it_gives_up_on_what_it_decided_then_both_are_told),
        T(test_engine_when_it_gives_up_on_every_saga_then_each_is_told),
        T(test_store_when_one_saga_is_meant_then_only_it_is_looked_at),
        T(test_decision_when_it_is_another_then_is_told_with_both),
        T(test_reply_when_it_was_another_then_the_engine_decides_otherwise),
        T(test_decision_when_many_sagas_differ_then_each_is_told_once),
        T(test_event_when_it_would_be_ignored_then_is_told),
        T(test_condition_when_it_did_not_hold_then_is_told),
        T(test_acts_when_the_row_says_otherwise_then_is_told),
        T(test_acts_when_one_is_missing_then_is_broken),
        T(test_acts_when_one_is_changed_then_is_broken),
        T(test_acts_when_there_is_one_too_few_then_is_broken),
        T(test_store_when_it_knows_no_pauses_then_is_replayed_and_brought_up),
        T(test_row_when_its_context_is_another_then_is_told),
        T(test_row_when_its_record_is_of_another_saga_then_each_field_is_told),
        T(test_row_when_its_record_is_corrupt_then_is_broken),
        T(test_event_when_a_byte_is_another_then_is_broken),
        T(test_event_when_it_is_missing_then_is_broken),
        T(test_event_when_the_last_is_missing_then_is_broken),
        T(test_event_when_it_is_of_another_saga_then_is_broken),
        T(test_event_when_it_cannot_be_then_is_broken_and_nothing_aborts),
        T(test_chain_when_one_link_is_another_then_is_broken),
        T(test_definition_when_it_is_gone_then_its_sagas_are_told),
        T(test_definition_when_its_set_declares_another_then_the_reason_is_told),
        T(test_file_when_it_is_no_store_then_is_refused_and_not_made),
        T(test_progress_when_it_says_stop_then_the_walk_ends),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
