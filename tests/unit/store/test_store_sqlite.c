/* The SQLite store: the port's suite, and files that are full, foreign or broken. */
#include "orchestrator/store/sqlite/store_sqlite.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sql/sql.h"
#include "tests/unit/store/port_suite.h"

struct world {
    char dir[128];
    char path[160];
};

static void *world_new(void)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        return NULL;
    }
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(world->dir, sizeof world->dir, "%s/saga-store-XXXXXX",
                   tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(world->dir) == NULL) {
        free(world);
        return NULL;
    }
    (void)snprintf(world->path, sizeof world->path, "%s/store.db", world->dir);
    return world;
}

static void world_free(void *user)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct world *world = user;
    for (size_t i = 0; i < 3; i++) {
        char path[200];
        (void)snprintf(path, sizeof path, "%s%s", world->path, suffixes[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(world->dir), 0);
    free(world);
}

static enum saga_err world_open(void *user, struct saga_store_port *port,
                                struct saga_err_detail *detail)
{
    const struct world *world = user;
    return saga_store_sqlite_open(world->path, port, detail);
}

static const struct port_suite_factory sqlite_factory = {
    .world_new = world_new,
    .world_free = world_free,
    .open = world_open,
};

/* ---- A full disk ---- */

static struct saga_id id_of(unsigned n)
{
    return saga_id_make(1700000000000 + (int64_t)n, 0, n);
}

/* Writes one saga with a context of 16 KiB in a transaction of its own. */
static enum saga_err write_one(const struct saga_store_port *port, unsigned n,
                               struct saga_err_detail *detail)
{
    static const uint8_t context[16 * 1024] = {1, 2, 3};
    char key[32];
    (void)snprintf(key, sizeof key, "%u", n);
    struct saga_row row = {
        .id = id_of(n),
        .definition_name = "d",
        .start_key = key,
        .state = 1,
        .live = true,
        .seq = 1,
        .context = {.data = context, .size = sizeof context},
    };
    enum saga_err err = port->ops->begin(port->store, detail);
    if (err == SAGA_ERR_OK) {
        err = port->ops->insert_saga(port->store, &row, detail);
        if (err != SAGA_ERR_OK) {
            port->ops->rollback(port->store);
        } else {
            err = port->ops->commit(port->store, detail);
        }
    }
    return err;
}

enum { FILE_SIZE_LIMIT = 400 * 1024, CHILD_FAILED = 200 };

/* Takes the lease, and stores the version that the rows begin with. */
static enum saga_err own(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {0};
    uint64_t epoch = 0;
    enum saga_err err = port->ops->begin(port->store, detail);
    if (err == SAGA_ERR_OK) {
        err = port->ops->take_lease(port->store, "test", &epoch, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = port->ops->put_definition(port->store, hash, "d", saga_bytes_text("set"), 1, detail);
    }
    return err == SAGA_ERR_OK ? port->ops->commit(port->store, detail) : err;
}

/* The child: writes until the file cannot grow; its status is the number of sagas that it was told
 * are on disk. */
static int fill(const struct world *world)
{
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    const struct rlimit limit = {.rlim_cur = FILE_SIZE_LIMIT, .rlim_max = FILE_SIZE_LIMIT};
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
        saga_store_sqlite_open(world->path, &port, &detail) != SAGA_ERR_OK ||
        own(&port, &detail) != SAGA_ERR_OK) {
        return CHILD_FAILED;
    }
    unsigned count = 0;
    enum saga_err err = SAGA_ERR_OK;
    while (err == SAGA_ERR_OK && count < CHILD_FAILED) {
        err = write_one(&port, count + 1, &detail);
        count += err == SAGA_ERR_OK ? 1 : 0;
    }
    /* FATAL: whoever gets it stops. */
    if (saga_err_class(err) != SAGA_ERR_CLASS_FATAL || detail.text[0] == '\0') {
        (void)fprintf(stderr, "%s: %s\n", saga_err_name(err), detail.text);
        return CHILD_FAILED;
    }
    return (int)count; /* as if killed: the store is not closed */
}

static void test_commit_when_disk_is_full_then_fatal_and_acknowledged_rows_are_there(void **state)
{
    (void)state;
    struct world *world = world_new();
    assert_non_null(world);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(fill(world));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    int count = WEXITSTATUS(status);
    assert_true(count > 0 && count < CHILD_FAILED);

    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    struct saga_row row;
    assert_int_equal(world_open(world, &port, &detail), SAGA_ERR_OK);
    for (unsigned n = 1; n <= (unsigned)count; n++) {
        assert_int_equal(port.ops->find_saga(port.store, id_of(n), &row, &detail), SAGA_ERR_OK);
        assert_int_equal(row.context.size, 16 * 1024);
    }
    port.ops->close(port.store);
    world_free(world);
}

/* ---- Files that are not ours ---- */

static void test_open_when_file_is_no_database_then_corrupt(void **state)
{
    (void)state;
    struct world *world = world_new();
    assert_non_null(world);
    FILE *file = fopen(world->path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) {
        assert_true(fputs("this is not a database\n", file) >= 0);
    }
    assert_int_equal(fclose(file), 0);
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    enum saga_err err = world_open(world, &port, &detail);
    assert_string_equal(saga_err_name(err), "CORRUPT");
    assert_non_null(strstr(detail.text, "store.db"));
    world_free(world);
}

static void test_open_when_file_is_newer_then_conflict(void **state)
{
    (void)state;
    struct world *world = world_new();
    assert_non_null(world);
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    struct saga_sql *sql = NULL;
    assert_int_equal(world_open(world, &port, &detail), SAGA_ERR_OK);
    port.ops->close(port.store);
    assert_int_equal(saga_sql_open(world->path, SAGA_SQL_READ_WRITE, &sql, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_exec(sql, "PRAGMA user_version = 1000", &detail), SAGA_ERR_OK);
    saga_sql_close(sql);
    assert_string_equal(saga_err_name(world_open(world, &port, &detail)), "CONFLICT");
    world_free(world);
}

static void test_open_when_folder_is_missing_then_error_names_the_path(void **state)
{
    (void)state;
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    enum saga_err err = saga_store_sqlite_open("/nonexistent/folder/store.db", &port, &detail);
    assert_int_not_equal(err, SAGA_ERR_OK);
    assert_non_null(strstr(detail.text, "/nonexistent/folder/store.db"));
}

static void test_row_when_a_digest_is_cut_then_corrupt(void **state)
{
    (void)state;
    struct world *world = world_new();
    assert_non_null(world);
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    struct saga_sql *sql = NULL;
    struct saga_row row;
    assert_int_equal(world_open(world, &port, &detail), SAGA_ERR_OK);
    assert_int_equal(own(&port, &detail), SAGA_ERR_OK);
    assert_int_equal(write_one(&port, 1, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_open(world->path, SAGA_SQL_READ_WRITE, &sql, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_exec(sql, "UPDATE saga SET last_hash = x'0102'", &detail),
                     SAGA_ERR_OK);
    saga_sql_close(sql);
    assert_string_equal(saga_err_name(port.ops->find_saga(port.store, id_of(1), &row, &detail)),
                        "CORRUPT");
    port.ops->close(port.store);
    world_free(world);
}

/* What a query of one number gives. */
static int64_t ask_number(const struct world *world, const char *query)
{
    struct saga_err_detail detail = {.text = ""};
    struct saga_sql *sql = NULL;
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    assert_int_equal(saga_sql_open(world->path, SAGA_SQL_READ_WRITE, &sql, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_prepare(sql, query, &stmt, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &there, &detail), SAGA_ERR_OK);
    assert_true(there);
    int64_t number = saga_sql_int(stmt, 0);
    saga_sql_reset(stmt);
    saga_sql_close(sql);
    return number;
}

static void test_definition_when_its_set_is_replaced_then_the_unused_one_goes(void **state)
{
    (void)state;
    static const char *const sets[] = {"set-1", "set-1 with comments", "set-1 with others"};
    static const uint8_t one[SAGA_DIGEST_SIZE] = {1};
    static const uint8_t two[SAGA_DIGEST_SIZE] = {2};
    struct world *world = world_new();
    assert_non_null(world);
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    uint64_t epoch = 0;
    assert_int_equal(world_open(world, &port, &detail), SAGA_ERR_OK);
    assert_int_equal(port.ops->begin(port.store, &detail), SAGA_ERR_OK);
    assert_int_equal(port.ops->take_lease(port.store, "test", &epoch, &detail), SAGA_ERR_OK);
    for (int64_t i = 0; i < 3; i++) {
        assert_int_equal(
            port.ops->put_definition(port.store, one, "a", saga_bytes_text(sets[i]), i, &detail),
            SAGA_ERR_OK);
        assert_int_equal(
            port.ops->put_definition(port.store, two, "b", saga_bytes_text(sets[0]), i, &detail),
            SAGA_ERR_OK);
    }
    assert_int_equal(port.ops->commit(port.store, &detail), SAGA_ERR_OK);
    assert_int_equal(ask_number(world, "SELECT count(*) FROM descriptor_set"), 2);
    port.ops->close(port.store);
    world_free(world);
}

/* Takes a store back to the form before versions were dropped. */
static void make_older(struct world *world)
{
    static const char back[] =
        "DROP TABLE definition_past; DROP INDEX definition_unused;"
        "ALTER TABLE definition DROP COLUMN used; PRAGMA user_version = 3;"
        "INSERT INTO descriptor_set VALUES(x'00', x'01');"
        "INSERT INTO definition VALUES(zeroblob(32), 'began', x'00', 1, 0);"
        "INSERT INTO definition VALUES(zeroblob(31) || x'01', 'never', x'00', 1, 0);"
        "INSERT INTO definition VALUES(zeroblob(31) || x'02', 'never', x'00', 2, 1);"
        "INSERT INTO saga VALUES(x'01', zeroblob(32), 'began', 'k', x'', 3, 0, 1, 1, 1, 1, x'', "
        "x'',"
        " x'');";
    struct saga_err_detail detail = {.text = ""};
    struct saga_sql *sql = NULL;
    assert_int_equal(saga_sql_open(world->path, SAGA_SQL_READ_WRITE, &sql, &detail), SAGA_ERR_OK);
    if (saga_sql_exec(sql, back, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    saga_sql_close(sql);
}

static void test_open_when_the_file_is_older_then_versions_of_names_with_sagas_stay(void **state)
{
    (void)state;
    struct world *world = world_new();
    assert_non_null(world);
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    assert_int_equal(world_open(world, &port, &detail), SAGA_ERR_OK);
    port.ops->close(port.store);
    make_older(world);
    assert_int_equal(world_open(world, &port, &detail), SAGA_ERR_OK);
    port.ops->close(port.store);
    assert_int_equal(ask_number(world, "SELECT count(*) FROM definition WHERE used"), 1);
    assert_int_equal(ask_number(world, "SELECT used FROM definition WHERE name = 'began'"), 1);
    world_free(world);
}

static void test_definition_when_dropped_then_its_set_goes_unless_another_has_it(void **state)
{
    (void)state;
    static const uint8_t hashes[][SAGA_DIGEST_SIZE] = {{1}, {2}, {3}};
    static const char *const sets[] = {"own", "shared", "shared"};
    struct world *world = world_new();
    assert_non_null(world);
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port;
    uint64_t epoch = 0;
    assert_int_equal(world_open(world, &port, &detail), SAGA_ERR_OK);
    assert_int_equal(port.ops->begin(port.store, &detail), SAGA_ERR_OK);
    assert_int_equal(port.ops->take_lease(port.store, "test", &epoch, &detail), SAGA_ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(port.ops->put_definition(port.store, hashes[i], "a",
                                                  saga_bytes_text(sets[i]), (int64_t)i, &detail),
                         SAGA_ERR_OK);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(port.ops->drop_definition(port.store, hashes[i], &detail), SAGA_ERR_OK);
    }
    assert_int_equal(port.ops->commit(port.store, &detail), SAGA_ERR_OK);
    assert_int_equal(ask_number(world, "SELECT count(*) FROM descriptor_set"), 1);
    assert_int_equal(ask_number(world, "SELECT count(*) FROM definition"), 1);
    assert_int_equal(ask_number(world, "SELECT count(*) FROM definition_past"), 2);
    port.ops->close(port.store);
    world_free(world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_when_disk_is_full_then_fatal_and_acknowledged_rows_are_there),
        cmocka_unit_test(test_open_when_file_is_no_database_then_corrupt),
        cmocka_unit_test(test_open_when_file_is_newer_then_conflict),
        cmocka_unit_test(test_open_when_folder_is_missing_then_error_names_the_path),
        cmocka_unit_test(test_row_when_a_digest_is_cut_then_corrupt),
        cmocka_unit_test(test_definition_when_its_set_is_replaced_then_the_unused_one_goes),
        cmocka_unit_test(test_definition_when_dropped_then_its_set_goes_unless_another_has_it),
        cmocka_unit_test(test_open_when_the_file_is_older_then_versions_of_names_with_sagas_stay),
    };
    int failed = port_suite_run("sqlite", &sqlite_factory);
    failed += cmocka_run_group_tests_name("sqlite files", tests, NULL, NULL);
    return failed == 0 ? 0 : 1;
}
