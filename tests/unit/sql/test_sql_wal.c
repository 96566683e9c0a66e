/* Opening a database while one operation of the disk fails, each of them once: it fails, or the
 * database is in WAL mode. Without it a commit may be taken back by a power failure (S6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/sql/sql.h"
#include "verify/vfs/vfs.h"

#define PATH "/disk/test.db"

struct disk {
    struct saga_vfs *vfs;
    unsigned left; /* operations until the one that fails; 0: none fails */
    bool fired;
    enum saga_vfs_outcome outcome;
};

static enum saga_vfs_outcome on_io(void *user, const struct saga_vfs_io *io)
{
    struct disk *disk = user;
    (void)io;
    if (disk->left == 0 || --disk->left > 0) {
        return SAGA_VFS_OK;
    }
    disk->fired = true;
    return disk->outcome;
}

static void assert_in_wal_mode(struct saga_sql *sql, unsigned at)
{
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(saga_sql_prepare(sql, "PRAGMA journal_mode", &stmt, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, NULL), SAGA_ERR_OK);
    assert_true(row);
    const char *mode = saga_sql_text(stmt, 0);
    if (strcmp(mode, "wal") != 0) {
        fail_msg("operation %u failed, the database is open in mode \"%s\"", at, mode);
    }
    saga_sql_reset(stmt);
}

/* Opens a new database with its nth operation failing. Returns whether there is such an operation.
 */
static bool open_with(enum saga_vfs_outcome outcome, unsigned at, bool *opened)
{
    struct disk disk = {.left = at, .outcome = outcome};
    struct saga_vfs_config config = {.seed = 1, .fault = on_io, .user = &disk};
    struct saga_err_detail detail = {.text = ""};
    struct saga_sql *sql = NULL;
    assert_int_equal(saga_vfs_new(&config, &disk.vfs), SAGA_ERR_OK);
    enum saga_err err =
        saga_sql_open_on(saga_vfs_name(disk.vfs, 0), PATH, SAGA_SQL_READ_WRITE, &sql, &detail);
    disk.left = 0;
    *opened = err == SAGA_ERR_OK;
    if (err == SAGA_ERR_OK) {
        assert_in_wal_mode(sql, at);
        saga_sql_close(sql);
    } else {
        assert_true(disk.fired);
        assert_string_not_equal(detail.text, "");
    }
    saga_vfs_free(disk.vfs);
    return disk.fired;
}

static void test_open_when_an_operation_fails_then_never_without_wal(void **state)
{
    (void)state;
    static const enum saga_vfs_outcome outcomes[] = {SAGA_VFS_EIO, SAGA_VFS_FULL, SAGA_VFS_SHORT};
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        unsigned at = 1;
        unsigned failures = 0;
        for (bool opened = false; open_with(outcomes[i], at, &opened); at++) {
            failures += opened ? 0 : 1;
        }
        assert_true(at > 10); /* the file, its journal, its log, its index */
        assert_true(failures > 5);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_when_an_operation_fails_then_never_without_wal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
