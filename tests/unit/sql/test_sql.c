#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/sql/sql.h"
#include "tests/support/support.h"

struct fixture {
    struct saga_test_dir dir;
    char path[SAGA_TEST_PATH_MAX];
    struct saga_sql *sql;
    struct saga_err_detail detail;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    saga_test_dir_open(&fixture->dir);
    (void)saga_test_path(&fixture->dir, "test.db", fixture->path);
    assert_int_equal(
        saga_sql_open(fixture->path, SAGA_SQL_READ_WRITE, &fixture->sql, &fixture->detail),
        SAGA_ERR_OK);
    assert_int_equal(saga_sql_exec(fixture->sql,
                                   "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE,"
                                   " data BLOB, number INTEGER CHECK (number < 100));"
                                   "CREATE TABLE child (t_id INTEGER NOT NULL REFERENCES t (id)"
                                   " DEFERRABLE INITIALLY DEFERRED)",
                                   &fixture->detail),
                     SAGA_ERR_OK);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    saga_sql_close(fixture->sql);
    saga_test_dir_close(&fixture->dir);
    free(fixture);
    return 0;
}

static int64_t ask_int(struct saga_sql *sql, const char *text)
{
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(saga_sql_prepare(sql, text, &stmt, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, NULL), SAGA_ERR_OK);
    assert_true(row);
    int64_t value = saga_sql_int(stmt, 0);
    saga_sql_reset(stmt);
    return value;
}

static enum saga_err insert(struct fixture *fixture, const char *name, int64_t number)
{
    struct saga_sql_stmt *stmt = NULL;
    assert_int_equal(saga_sql_prepare(fixture->sql, "INSERT INTO t (name, number) VALUES (?, ?)",
                                      &stmt, &fixture->detail),
                     SAGA_ERR_OK);
    saga_sql_bind_text(stmt, 1, name);
    saga_sql_bind_int(stmt, 2, number);
    return saga_sql_run(stmt, NULL, &fixture->detail);
}

static void test_open_then_durable_settings(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(ask_int(fixture->sql, "PRAGMA synchronous"), 2);
    assert_int_equal(ask_int(fixture->sql, "PRAGMA wal_autocheckpoint"), 10000);
    assert_int_equal(ask_int(fixture->sql, "PRAGMA foreign_keys"), 1);
    assert_int_equal(ask_int(fixture->sql, "PRAGMA busy_timeout"), 5000);
    assert_int_equal(ask_int(fixture->sql, "PRAGMA cache_size"), -65536);
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(saga_sql_prepare(fixture->sql, "PRAGMA journal_mode", &stmt, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, NULL), SAGA_ERR_OK);
    assert_string_equal(saga_sql_text(stmt, 0), "wal");
    saga_sql_reset(stmt);
}

static void test_open_when_file_is_no_database_then_corrupt(void **state)
{
    struct fixture *fixture = *state;
    char path[SAGA_TEST_PATH_MAX];
    char junk[8192];
    memset(junk, 'x', sizeof junk);
    saga_test_write(saga_test_path(&fixture->dir, "junk.db", path), junk, sizeof junk);
    struct saga_sql *sql = NULL;
    assert_int_equal(saga_sql_open(path, SAGA_SQL_READ_WRITE, &sql, &fixture->detail),
                     SAGA_ERR_CORRUPT);
    assert_null(sql);
    assert_non_null(strstr(fixture->detail.text, "junk.db: "));
}

static void test_open_when_directory_is_missing_then_io(void **state)
{
    struct fixture *fixture = *state;
    char path[SAGA_TEST_PATH_MAX];
    struct saga_sql *sql = NULL;
    assert_int_equal(saga_sql_open(saga_test_path(&fixture->dir, "none/x.db", path),
                                   SAGA_SQL_READ_WRITE, &sql, &fixture->detail),
                     SAGA_ERR_IO);
    assert_non_null(strstr(fixture->detail.text, "none/x.db: "));
    assert_int_equal(saga_sql_open(saga_test_path(&fixture->dir, "x.db", path), SAGA_SQL_READ_ONLY,
                                   &sql, &fixture->detail),
                     SAGA_ERR_IO);
    assert_int_not_equal(access(path, F_OK), 0); /* a reader creates nothing */
}

static void test_values_when_bound_then_read_back(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql_stmt *stmt = NULL;
    static const uint8_t data[] = {0, 1, 0, 255};
    struct saga_bytes bytes = {.data = data, .size = sizeof data};
    int64_t changes = 0;
    assert_int_equal(saga_sql_prepare(fixture->sql,
                                      "INSERT INTO t (id, name, data, number) VALUES (?, ?, ?, ?)",
                                      &stmt, &fixture->detail),
                     SAGA_ERR_OK);
    saga_sql_bind_int(stmt, 1, INT64_MIN);
    saga_sql_bind_text(stmt, 2, "Zoë");
    saga_sql_bind_bytes(stmt, 3, bytes);
    saga_sql_bind_null(stmt, 4);
    assert_int_equal(saga_sql_run(stmt, &changes, &fixture->detail), SAGA_ERR_OK);
    assert_int_equal(changes, 1);
    assert_true(saga_sql_last_rowid(fixture->sql) == INT64_MIN);
    bool row = false;
    assert_int_equal(saga_sql_prepare(fixture->sql, "SELECT id, name, data, number FROM t", &stmt,
                                      &fixture->detail),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, &fixture->detail), SAGA_ERR_OK);
    assert_true(row);
    assert_true(saga_sql_int(stmt, 0) == INT64_MIN);
    assert_string_equal(saga_sql_text(stmt, 1), "Zoë");
    assert_true(saga_bytes_equal(saga_sql_bytes(stmt, 2), bytes));
    assert_int_equal(saga_sql_int(stmt, 3), 0);
    assert_string_equal(saga_sql_text(stmt, 3), "");
    assert_int_equal(saga_sql_bytes(stmt, 3).size, 0);
    assert_int_equal(saga_sql_step(stmt, &row, &fixture->detail), SAGA_ERR_OK);
    assert_false(row);
}

static void test_bytes_when_empty_then_stored_as_empty_not_null(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql_stmt *stmt = NULL;
    struct saga_bytes empty = {0};
    assert_int_equal(saga_sql_prepare(fixture->sql, "INSERT INTO t (data) VALUES (?)", &stmt, NULL),
                     SAGA_ERR_OK);
    saga_sql_bind_bytes(stmt, 1, empty);
    assert_int_equal(saga_sql_run(stmt, NULL, NULL), SAGA_ERR_OK);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t WHERE data IS NOT NULL"), 1);
}

static void test_prepare_when_same_text_then_same_statement_without_bindings(void **state)
{
    struct fixture *fixture = *state;
    static const char text[] = "SELECT ?";
    char copy[] = "SELECT ?";
    struct saga_sql_stmt *first = NULL;
    struct saga_sql_stmt *second = NULL;
    bool row = false;
    assert_int_equal(saga_sql_prepare(fixture->sql, text, &first, NULL), SAGA_ERR_OK);
    saga_sql_bind_int(first, 1, 7);
    assert_int_equal(saga_sql_step(first, &row, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_int(first, 0), 7);
    assert_int_equal(saga_sql_prepare(fixture->sql, copy, &second, NULL), SAGA_ERR_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(saga_sql_step(second, &row, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_int(second, 0), 0);
    saga_sql_reset(second);
    /* The same memory with another text is another statement. */
    copy[7] = '5';
    assert_int_equal(saga_sql_prepare(fixture->sql, copy, &second, NULL), SAGA_ERR_OK);
    assert_ptr_not_equal(first, second);
    assert_int_equal(ask_int(fixture->sql, copy), 5);
}

static void test_prepare_when_text_is_wrong_then_internal(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql_stmt *stmt = NULL;
    assert_int_equal(saga_sql_prepare(fixture->sql, "SELEC 1", &stmt, &fixture->detail),
                     SAGA_ERR_INTERNAL);
    assert_non_null(strstr(fixture->detail.text, "SELEC 1"));
    assert_int_equal(saga_sql_prepare(fixture->sql, "  ", &stmt, &fixture->detail),
                     SAGA_ERR_INTERNAL);
    assert_null(stmt);
}

static void test_bind_when_there_is_no_such_parameter_then_step_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(saga_sql_prepare(fixture->sql, "SELECT ?", &stmt, NULL), SAGA_ERR_OK);
    saga_sql_bind_int(stmt, 2, 1);
    assert_int_equal(saga_sql_step(stmt, &row, &fixture->detail), SAGA_ERR_INTERNAL);
    assert_int_equal(saga_sql_prepare(fixture->sql, "SELECT ?", &stmt, NULL), SAGA_ERR_OK);
    saga_sql_bind_int(stmt, 1, 1);
    assert_int_equal(saga_sql_step(stmt, &row, &fixture->detail), SAGA_ERR_OK);
    saga_sql_reset(stmt);
}

static void test_constraint_when_broken_then_exists_or_conflict(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_EXISTS);
    assert_int_equal(insert(fixture, "b", 100), SAGA_ERR_CONFLICT);
    assert_int_equal(insert(fixture, "b", 99), SAGA_ERR_OK);
    struct saga_sql_stmt *stmt = NULL;
    int64_t changes = -1;
    assert_int_equal(saga_sql_prepare(fixture->sql, "UPDATE t SET number = 5", &stmt, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_run(stmt, &changes, NULL), SAGA_ERR_OK);
    assert_int_equal(changes, 2);
    assert_int_equal(saga_sql_prepare(fixture->sql, "SELECT 1", &stmt, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_run(stmt, &changes, NULL), SAGA_ERR_OK);
    assert_int_equal(changes, 0);
}

static void test_commit_when_it_fails_then_rolled_back_and_usable(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_OK);
    assert_int_equal(saga_sql_exec(fixture->sql, "INSERT INTO child VALUES (99)", NULL),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_commit(fixture->sql, &fixture->detail), SAGA_ERR_CONFLICT);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 0);
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_OK);
    assert_int_equal(saga_sql_commit(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 1);
}

static void test_rollback_when_a_statement_is_not_at_its_end_then_clean(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "b", 1), SAGA_ERR_OK);
    assert_int_equal(saga_sql_prepare(fixture->sql, "SELECT id FROM t", &stmt, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, NULL), SAGA_ERR_OK);
    saga_sql_rollback(fixture->sql);
    saga_sql_rollback(fixture->sql); /* nothing */
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 0);
}

static void test_savepoint_when_rolled_back_then_only_its_part_is_gone(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_savepoint(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "kept", 1), SAGA_ERR_OK);
    assert_int_equal(saga_sql_release(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_savepoint(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "undone", 1), SAGA_ERR_OK);
    assert_int_equal(saga_sql_rollback_to(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_release(fixture->sql, NULL), SAGA_ERR_OK); /* ended already */
    assert_int_equal(saga_sql_savepoint(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "kept too", 1), SAGA_ERR_OK);
    assert_int_equal(saga_sql_release(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_commit(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 2);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t WHERE name = 'undone'"), 0);
}

static void test_disk_when_full_then_disk_full_and_nothing_is_half_done(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql_stmt *stmt = NULL;
    assert_int_equal(insert(fixture, "before", 1), SAGA_ERR_OK);
    (void)ask_int(fixture->sql, "PRAGMA max_page_count = 40");
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    enum saga_err err = SAGA_ERR_OK;
    for (int i = 0; i < 1000 && err == SAGA_ERR_OK; i++) {
        assert_int_equal(saga_sql_prepare(fixture->sql,
                                          "INSERT INTO t (data) VALUES (zeroblob(4000))", &stmt,
                                          NULL),
                         SAGA_ERR_OK);
        err = saga_sql_run(stmt, NULL, &fixture->detail);
    }
    assert_int_equal(err, SAGA_ERR_DISK_FULL);
    saga_sql_rollback(fixture->sql);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 1);
}

static void test_statement_when_sqlite_gave_the_transaction_up_then_refused(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql_stmt *stmt = NULL;
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_OK);
    assert_int_equal(saga_sql_prepare(fixture->sql,
                                      "INSERT OR ROLLBACK INTO t (name, number) VALUES ('a', 1)",
                                      &stmt, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_run(stmt, NULL, NULL), SAGA_ERR_EXISTS);
    assert_int_equal(insert(fixture, "alone", 1), SAGA_ERR_INTERNAL);
    assert_int_equal(saga_sql_savepoint(fixture->sql, NULL), SAGA_ERR_INTERNAL);
    assert_int_equal(saga_sql_commit(fixture->sql, NULL), SAGA_ERR_INTERNAL);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 0);
    assert_int_equal(insert(fixture, "alone", 1), SAGA_ERR_OK);
}

static void test_reader_when_writer_commits_then_sees_it_and_cannot_write(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql *reader = NULL;
    assert_int_equal(saga_sql_open(fixture->path, SAGA_SQL_READ_ONLY, &reader, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_OK);
    assert_int_equal(ask_int(reader, "SELECT count(*) FROM t"), 0);
    assert_int_equal(saga_sql_begin(reader, NULL), SAGA_ERR_OK); /* beside the writer */
    assert_int_equal(ask_int(reader, "SELECT count(*) FROM t"), 0);
    assert_int_equal(saga_sql_commit(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(ask_int(reader, "SELECT count(*) FROM t"), 0); /* its snapshot */
    assert_int_equal(saga_sql_commit(reader, NULL), SAGA_ERR_OK);
    assert_int_equal(ask_int(reader, "SELECT count(*) FROM t"), 1);
    assert_int_equal(saga_sql_exec(reader, "DELETE FROM t", &fixture->detail), SAGA_ERR_IO);
    saga_sql_close(reader);
}

static void test_begin_when_another_writes_then_busy(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql *other = NULL;
    assert_int_equal(saga_sql_open(fixture->path, SAGA_SQL_READ_WRITE, &other, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_exec(other, "PRAGMA busy_timeout = 1", NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_begin(other, &fixture->detail), SAGA_ERR_BUSY);
    saga_sql_rollback(fixture->sql);
    assert_int_equal(saga_sql_begin(other, NULL), SAGA_ERR_OK);
    saga_sql_close(other); /* with its transaction open */
    assert_int_equal(saga_sql_begin(fixture->sql, NULL), SAGA_ERR_OK);
}

static void test_migrate_then_each_script_once_and_newer_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const scripts[] = {
        "CREATE TABLE one (x); INSERT INTO one VALUES (1)",
        "ALTER TABLE one ADD COLUMN y; INSERT INTO one VALUES (2, 2)",
        "INSERT INTO one VALUES (3, 3); SELECT no_such_function()",
    };
    assert_int_equal(saga_sql_migrate(fixture->sql, scripts, 1, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_migrate(fixture->sql, scripts, 2, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_migrate(fixture->sql, scripts, 2, NULL), SAGA_ERR_OK);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM one"), 2);
    assert_int_equal(ask_int(fixture->sql, "PRAGMA user_version"), 2);
    assert_int_equal(saga_sql_migrate(fixture->sql, scripts, 3, &fixture->detail),
                     SAGA_ERR_INTERNAL);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM one"), 2);
    assert_int_equal(ask_int(fixture->sql, "PRAGMA user_version"), 2);
    assert_int_equal(saga_sql_migrate(fixture->sql, scripts, 1, &fixture->detail),
                     SAGA_ERR_CONFLICT);
}

static void test_close_then_wal_is_checkpointed(void **state)
{
    struct fixture *fixture = *state;
    char wal[SAGA_TEST_PATH_MAX];
    assert_int_equal(insert(fixture, "a", 1), SAGA_ERR_OK);
    (void)saga_test_path(&fixture->dir, "test.db-wal", wal);
    assert_int_equal(access(wal, F_OK), 0);
    saga_sql_close(fixture->sql);
    assert_int_not_equal(access(wal, F_OK), 0);
    assert_int_equal(saga_sql_open(fixture->path, SAGA_SQL_READ_WRITE, &fixture->sql, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 1);
    saga_sql_close(NULL);
}

/* What it finds in the log is written once more; nobody who uses the file meanwhile is harmed. */
static void test_open_when_there_is_a_log_then_same_rows_and_nothing_left_beside(void **state)
{
    struct fixture *fixture = *state;
    char beside[SAGA_TEST_PATH_MAX];
    struct saga_sql *other = NULL;
    for (int i = 0; i < 50; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "row %d", i);
        assert_int_equal(insert(fixture, name, i), SAGA_ERR_OK);
    }
    assert_int_equal(saga_sql_open(fixture->path, SAGA_SQL_READ_WRITE, &other, NULL), SAGA_ERR_OK);
    assert_int_not_equal(access(saga_test_path(&fixture->dir, "test.db-sync", beside), F_OK), 0);
    assert_int_equal(ask_int(other, "SELECT count(*) FROM t"), 50);
    assert_int_equal(insert(fixture, "one more", 50), SAGA_ERR_OK);
    assert_int_equal(ask_int(other, "SELECT count(*) FROM t"), 51);
    saga_sql_close(other);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 51);
}

/* ---- Looking in ---- */

static void test_inspect_when_the_file_is_in_use_then_reads_and_never_writes(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql *looker = NULL;
    assert_int_equal(saga_sql_exec(fixture->sql, "INSERT INTO t (id, name) VALUES (1, 'a')", NULL),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_open(fixture->path, SAGA_SQL_INSPECT, &looker, &fixture->detail),
                     SAGA_ERR_OK);
    assert_int_equal(ask_int(looker, "SELECT count(*) FROM t"), 1);
    assert_int_equal(saga_sql_exec(fixture->sql, "INSERT INTO t (id, name) VALUES (2, 'b')", NULL),
                     SAGA_ERR_OK);
    assert_int_equal(ask_int(looker, "SELECT count(*) FROM t"), 2);
    assert_int_not_equal(saga_sql_exec(looker, "DELETE FROM t", &fixture->detail), SAGA_ERR_OK);
    saga_sql_close(looker);
    assert_int_equal(ask_int(fixture->sql, "SELECT count(*) FROM t"), 2);
}

static void test_inspect_when_the_file_is_not_in_wal_mode_then_leaves_it_so(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql *looker = NULL;
    char path[SAGA_TEST_PATH_MAX];
    sqlite3 *other = NULL;
    struct stat before;
    struct stat after;
    /* A name that a URI would read otherwise. */
    (void)saga_test_path(&fixture->dir, "a b?c=%41#d.db", path);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(other, "CREATE TABLE x (y); INSERT INTO x VALUES (7)", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(saga_sql_open(path, SAGA_SQL_INSPECT, &looker, &fixture->detail), SAGA_ERR_OK);
    assert_int_equal(ask_int(looker, "SELECT y FROM x"), 7);
    saga_sql_close(looker);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
}

static void test_inspect_when_there_is_no_file_then_fails_and_makes_none(void **state)
{
    struct fixture *fixture = *state;
    struct saga_sql *looker = NULL;
    char path[SAGA_TEST_PATH_MAX];
    (void)saga_test_path(&fixture->dir, "none.db", path);
    assert_int_equal(saga_sql_open(path, SAGA_SQL_INSPECT, &looker, &fixture->detail), SAGA_ERR_IO);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
#define EACH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        EACH(test_inspect_when_the_file_is_in_use_then_reads_and_never_writes),
        EACH(test_inspect_when_the_file_is_not_in_wal_mode_then_leaves_it_so),
        EACH(test_inspect_when_there_is_no_file_then_fails_and_makes_none),
        EACH(test_open_then_durable_settings),
        EACH(test_open_when_file_is_no_database_then_corrupt),
        EACH(test_open_when_directory_is_missing_then_io),
        EACH(test_values_when_bound_then_read_back),
        EACH(test_bytes_when_empty_then_stored_as_empty_not_null),
        EACH(test_prepare_when_same_text_then_same_statement_without_bindings),
        EACH(test_prepare_when_text_is_wrong_then_internal),
        EACH(test_bind_when_there_is_no_such_parameter_then_step_says_so),
        EACH(test_constraint_when_broken_then_exists_or_conflict),
        EACH(test_commit_when_it_fails_then_rolled_back_and_usable),
        EACH(test_rollback_when_a_statement_is_not_at_its_end_then_clean),
        EACH(test_savepoint_when_rolled_back_then_only_its_part_is_gone),
        EACH(test_disk_when_full_then_disk_full_and_nothing_is_half_done),
        EACH(test_statement_when_sqlite_gave_the_transaction_up_then_refused),
        EACH(test_reader_when_writer_commits_then_sees_it_and_cannot_write),
        EACH(test_begin_when_another_writes_then_busy),
        EACH(test_migrate_then_each_script_once_and_newer_file_is_refused),
        EACH(test_close_then_wal_is_checkpointed),
        EACH(test_open_when_there_is_a_log_then_same_rows_and_nothing_left_beside),
    };
#undef EACH
    return cmocka_run_group_tests(tests, NULL, NULL);
}
