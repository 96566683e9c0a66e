/* What the simulated disk does, one by one: durability, names, faults, locks, time. Files are used
 * by their methods, as SQLite does, and databases by SQLite. */
#include "verify/vfs/vfs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/base/prng.h"

#define LOST (&(struct saga_vfs_loss){.lost_percent = 100})
#define KEPT (&(struct saga_vfs_loss){.lost_percent = 0})

/* ---- A disk, and what is to go wrong on it ---- */

struct rig {
    struct saga_vfs *vfs;
    enum saga_vfs_op op; /* what is hit */
    uint64_t skip;       /* so many of them first */
    enum saga_vfs_outcome outcome;
    int64_t now_unix_ms;
};

static enum saga_vfs_outcome on_io(void *user, const struct saga_vfs_io *io)
{
    struct rig *rig = user;
    assert_true(io->number > 0);
    if (io->op != rig->op || rig->outcome == SAGA_VFS_OK) {
        return SAGA_VFS_OK;
    }
    if (rig->skip > 0) {
        rig->skip--;
        return SAGA_VFS_OK;
    }
    enum saga_vfs_outcome outcome = rig->outcome;
    rig->outcome = SAGA_VFS_OK; /* once */
    return outcome;
}

static int64_t now_of(void *user)
{
    const struct rig *rig = user;
    return rig->now_unix_ms;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    const struct saga_vfs_config config = {
        .seed = 5, .now_unix_ms = now_of, .fault = on_io, .user = rig};
    assert_int_equal(saga_vfs_new(&config, &rig->vfs), SAGA_ERR_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    saga_vfs_free(rig->vfs);
    free(rig);
    return 0;
}

static void hit(struct rig *rig, enum saga_vfs_op op, enum saga_vfs_outcome outcome)
{
    rig->op = op;
    rig->skip = 0;
    rig->outcome = outcome;
}

/* ---- Files by their methods ---- */

static sqlite3_vfs *vfs_of(struct rig *rig, unsigned process)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(saga_vfs_name(rig->vfs, process));
    assert_non_null(vfs);
    return vfs;
}

static int try_open(struct rig *rig, const char *name, int flags, sqlite3_file **out)
{
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    *out = calloc(1, (size_t)vfs->szOsFile);
    assert_non_null(*out);
    int code = vfs->xOpen(vfs, name, *out, flags, NULL);
    if (code != SQLITE_OK) {
        assert_null((*out)->pMethods);
        free(*out);
        *out = NULL;
    }
    return code;
}

static sqlite3_file *file_open(struct rig *rig, const char *name)
{
    sqlite3_file *file = NULL;
    assert_int_equal(try_open(rig, name,
                              SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_CREATE | SQLITE_OPEN_READWRITE,
                              &file),
                     SQLITE_OK);
    return file;
}

/* A log: its first sync syncs the directory too. */
static sqlite3_file *log_open(struct rig *rig, const char *name)
{
    sqlite3_file *file = NULL;
    assert_int_equal(
        try_open(rig, name, SQLITE_OPEN_WAL | SQLITE_OPEN_CREATE | SQLITE_OPEN_READWRITE, &file),
        SQLITE_OK);
    return file;
}

static void file_close(sqlite3_file *file)
{
    assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);
    free(file);
}

static int file_fill(sqlite3_file *file, int byte, int size, int64_t offset)
{
    static uint8_t bytes[65536];
    assert_true((size_t)size <= sizeof bytes);
    memset(bytes, byte, (size_t)size);
    return file->pMethods->xWrite(file, bytes, size, offset);
}

static int file_sync(sqlite3_file *file)
{
    return file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
}

/* Reads a byte; -1: there is none. */
static int file_byte(sqlite3_file *file, int64_t offset)
{
    uint8_t byte = 0;
    int code = file->pMethods->xRead(file, &byte, 1, offset);
    return code == SQLITE_OK ? byte : -1;
}

static int64_t file_size(sqlite3_file *file)
{
    sqlite3_int64 size = -1;
    assert_int_equal(file->pMethods->xFileSize(file, &size), SQLITE_OK);
    return size;
}

/* A file whose name and content 'a' × 8192 are durable. */
static sqlite3_file *durable_file(struct rig *rig)
{
    sqlite3_file *file = log_open(rig, "f");
    assert_int_equal(file_fill(file, 'a', 8192, 0), SQLITE_OK);
    assert_int_equal(file_sync(file), SQLITE_OK);
    return file;
}

/* ---- Writes and power ---- */

static void test_write_when_not_synced_and_power_fails_then_lost(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = durable_file(rig);
    assert_int_equal(file_fill(file, 'b', 4096, 4096), SQLITE_OK);
    assert_int_equal(file_fill(file, 'c', 10, 9000), SQLITE_OK);
    assert_int_equal(file_byte(file, 4096), 'b');
    assert_int_equal(file_byte(file, 8500), 0); /* the gap reads as zeros */
    assert_int_equal(saga_vfs_pending(rig->vfs, "f"), 2);
    assert_int_equal(saga_vfs_file_size(rig->vfs, "f", false), 9010);
    assert_int_equal(saga_vfs_file_size(rig->vfs, "f", true), 8192);
    saga_vfs_crash(rig->vfs, LOST);
    file_close(file);
    file = file_open(rig, "f");
    assert_int_equal(file_size(file), 8192);
    assert_int_equal(file_byte(file, 4096), 'a');
    assert_int_equal(saga_vfs_stats(rig->vfs)->writes_lost, 2);
    file_close(file);
}

static void test_write_when_synced_or_kept_and_power_fails_then_there(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = durable_file(rig);
    assert_int_equal(file_fill(file, 'b', 4096, 4096), SQLITE_OK);
    assert_int_equal(file_sync(file), SQLITE_OK);
    assert_int_equal(saga_vfs_pending(rig->vfs, "f"), 0);
    assert_int_equal(file_fill(file, 'c', 1, 0), SQLITE_OK);
    saga_vfs_crash(rig->vfs, KEPT);
    file_close(file);
    file = file_open(rig, "f");
    assert_int_equal(file_byte(file, 0), 'c');
    assert_int_equal(file_byte(file, 1), 'a');
    assert_int_equal(file_byte(file, 8191), 'b');
    file_close(file);
}

static void test_truncate_when_power_fails_then_lost_or_kept(void **state)
{
    struct rig *rig = *state;
    for (int kept = 0; kept <= 1; kept++) {
        sqlite3_file *file = durable_file(rig);
        assert_int_equal(file->pMethods->xTruncate(file, 100), SQLITE_OK);
        assert_int_equal(file_size(file), 100);
        saga_vfs_crash(rig->vfs, kept == 1 ? KEPT : LOST);
        file_close(file);
        file = file_open(rig, "f");
        assert_int_equal(file_size(file), kept == 1 ? 100 : 8192);
        assert_int_equal(file_byte(file, 99), 'a');
        file_close(file);
    }
}

static void test_write_when_torn_then_whole_sectors_are_old_or_new(void **state)
{
    struct rig *rig = *state;
    uint64_t prng = 9;
    bool seen[17] = {false};
    for (int round = 0; round < 200; round++) {
        sqlite3_file *file = durable_file(rig);
        assert_int_equal(file_fill(file, 'b', 8192 - 100, 100), SQLITE_OK);
        saga_vfs_crash(rig->vfs, &(struct saga_vfs_loss){.prng = &prng, .torn_percent = 100});
        file_close(file);
        file = file_open(rig, "f");
        unsigned fresh = 0;
        assert_int_equal(file_byte(file, 99), 'a'); /* what was not written stays */
        for (int sector = 0; sector < 16; sector++) {
            int first = file_byte(file, sector == 0 ? 100 : sector * 512);
            assert_true(first == 'a' || first == 'b');
            assert_int_equal(file_byte(file, sector * 512 + 511), first);
            fresh += first == 'b' ? 1 : 0;
        }
        seen[fresh] = true;
        file_close(file);
    }
    assert_false(seen[16]); /* torn is not whole */
    assert_true(seen[6] && seen[7] && seen[8]);
    assert_int_equal(saga_vfs_stats(rig->vfs)->writes_torn, 200);
}

static void test_writes_when_some_are_lost_then_any_of_them(void **state)
{
    struct rig *rig = *state;
    uint64_t prng = 1;
    bool seen[8] = {false};
    for (int round = 0; round < 100; round++) {
        sqlite3_file *file = durable_file(rig);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(file_fill(file, 'b', 512, i * 1024), SQLITE_OK);
        }
        saga_vfs_crash(rig->vfs, &(struct saga_vfs_loss){.prng = &prng, .lost_percent = 50});
        file_close(file);
        file = file_open(rig, "f");
        unsigned mask = 0;
        for (int i = 0; i < 3; i++) {
            mask |= file_byte(file, i * 1024) == 'b' ? 1U << i : 0;
        }
        seen[mask] = true;
        file_close(file);
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_true(seen[i]); /* the second without the first, too */
    }
}

static void test_same_seed_when_run_twice_then_same_disk(void **state)
{
    (void)state;
    uint8_t images[2][8192];
    for (int round = 0; round < 2; round++) {
        struct rig *rig = NULL;
        (void)setup((void **)&rig);
        uint64_t prng = 42;
        sqlite3_file *file = durable_file(rig);
        for (int i = 0; i < 50; i++) {
            assert_int_equal(file_fill(file, 'b' + i % 20, 700, i * 149), SQLITE_OK);
        }
        saga_vfs_crash(rig->vfs, &(struct saga_vfs_loss){
                                     .prng = &prng, .lost_percent = 40, .torn_percent = 40});
        file_close(file);
        file = file_open(rig, "f");
        assert_int_equal(file->pMethods->xRead(file, images[round], 8192, 0), SQLITE_OK);
        file_close(file);
        (void)teardown((void **)&rig);
    }
    assert_memory_equal(images[0], images[1], sizeof images[0]);
}

/* ---- Names ---- */

static void test_name_when_directory_is_not_synced_then_gone_after_power_failure(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = file_open(rig, "db"); /* a database: its sync is not the directory's */
    assert_int_equal(file_fill(file, 'a', 10, 0), SQLITE_OK);
    assert_int_equal(file_sync(file), SQLITE_OK);
    assert_int_equal(saga_vfs_file_size(rig->vfs, "db", true), -1);
    saga_vfs_crash(rig->vfs, LOST);
    file_close(file);
    assert_int_equal(saga_vfs_file_size(rig->vfs, "db", false), -1);
    assert_int_equal(try_open(rig, "db", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE, &file),
                     SQLITE_CANTOPEN);
    assert_int_equal(saga_vfs_stats(rig->vfs)->names_lost, 1);
}

static void test_name_when_deleted_without_sync_then_back_after_power_failure(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    sqlite3_file *file = durable_file(rig);
    file_close(file);
    assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_OK);
    assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_IOERR_DELETE_NOENT);
    saga_vfs_crash(rig->vfs, LOST);
    assert_int_equal(saga_vfs_file_size(rig->vfs, "f", false), 8192);
    assert_int_equal(vfs->xDelete(vfs, "f", 1), SQLITE_OK); /* with the directory's sync */
    saga_vfs_crash(rig->vfs, LOST);
    assert_int_equal(saga_vfs_file_size(rig->vfs, "f", false), -1);
}

static void
test_name_when_made_anew_many_times_then_one_of_its_states_after_power_failure(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    uint64_t prng = 3;
    bool seen[2] = {false};
    for (int round = 0; round < 60; round++) {
        sqlite3_file *file = durable_file(rig);
        file_close(file);
        for (int i = 0; i < 7; i++) {
            assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_OK);
            file = file_open(rig, "f");
            file_close(file);
        }
        saga_vfs_crash(rig->vfs, &(struct saga_vfs_loss){.prng = &prng, .lost_percent = 60});
        int64_t size = saga_vfs_file_size(rig->vfs, "f", true);
        assert_true(size == -1 || size == 0 || size == 8192);
        assert_int_equal(saga_vfs_file_size(rig->vfs, "f", false), size);
        seen[0] |= size == -1;
        seen[1] |= size == 8192;
        if (size != -1) {
            assert_int_equal(vfs->xDelete(vfs, "f", 1), SQLITE_OK);
        }
    }
    assert_true(seen[0] && seen[1]);
}

static void test_file_when_deleted_while_open_then_usable_until_closed(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    sqlite3_file *file = durable_file(rig);
    assert_int_equal(vfs->xDelete(vfs, "f", 1), SQLITE_OK);
    assert_int_equal(file_byte(file, 5), 'a');
    sqlite3_file *other = file_open(rig, "f");
    assert_int_equal(file_size(other), 0);
    file_close(file);
    file_close(other);
}

static void test_access_when_file_is_empty_then_counts_as_none(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    int there = 1;
    sqlite3_file *file = file_open(rig, "f");
    assert_int_equal(vfs->xAccess(vfs, "f", SQLITE_ACCESS_EXISTS, &there), SQLITE_OK);
    assert_int_equal(there, 0);
    assert_int_equal(file_fill(file, 'a', 1, 0), SQLITE_OK);
    assert_int_equal(vfs->xAccess(vfs, "f", SQLITE_ACCESS_EXISTS, &there), SQLITE_OK);
    assert_int_equal(there, 1);
    file_close(file);
}

/* ---- Faults ---- */

static void test_operation_when_eio_then_its_error_and_nothing_is_done(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    sqlite3_file *file = durable_file(rig);
    sqlite3_file *other = NULL;
    uint8_t byte = 0;
    hit(rig, SAGA_VFS_READ, SAGA_VFS_EIO);
    assert_int_equal(file->pMethods->xRead(file, &byte, 1, 0), SQLITE_IOERR_READ);
    hit(rig, SAGA_VFS_WRITE, SAGA_VFS_EIO);
    assert_int_equal(file_fill(file, 'b', 10, 0), SQLITE_IOERR_WRITE);
    hit(rig, SAGA_VFS_WRITE, SAGA_VFS_FULL);
    assert_int_equal(file_fill(file, 'b', 10, 0), SQLITE_FULL);
    hit(rig, SAGA_VFS_TRUNCATE, SAGA_VFS_EIO);
    assert_int_equal(file->pMethods->xTruncate(file, 1), SQLITE_IOERR_TRUNCATE);
    hit(rig, SAGA_VFS_DELETE, SAGA_VFS_EIO);
    assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_IOERR_DELETE);
    hit(rig, SAGA_VFS_OPEN, SAGA_VFS_EIO);
    assert_int_equal(try_open(rig, "f", SQLITE_OPEN_MAIN_DB, &other), SQLITE_CANTOPEN);
    assert_int_equal(file_byte(file, 0), 'a');
    assert_int_equal(file_size(file), 8192);
    assert_int_equal(saga_vfs_pending(rig->vfs, "f"), 0);
    assert_int_equal(saga_vfs_stats(rig->vfs)->outcomes[SAGA_VFS_EIO], 5);
    file_close(file);
}

static void test_transfer_when_short_then_part_and_error(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = durable_file(rig);
    uint8_t bytes[100];
    hit(rig, SAGA_VFS_READ, SAGA_VFS_SHORT);
    assert_int_equal(file->pMethods->xRead(file, bytes, 100, 0), SQLITE_IOERR_READ);
    hit(rig, SAGA_VFS_READ, SAGA_VFS_CUT);
    assert_int_equal(file->pMethods->xRead(file, bytes, 100, 0), SQLITE_IOERR_SHORT_READ);
    assert_int_equal(bytes[49], 'a');
    assert_int_equal(bytes[50], 0);
    hit(rig, SAGA_VFS_WRITE, SAGA_VFS_SHORT);
    assert_int_equal(file_fill(file, 'b', 100, 0), SQLITE_FULL);
    assert_int_equal(file_byte(file, 49), 'b');
    assert_int_equal(file_byte(file, 50), 'a');
    memset(bytes, 1, sizeof bytes);
    assert_int_equal(file->pMethods->xRead(file, bytes, 100, 8150), SQLITE_IOERR_SHORT_READ);
    assert_int_equal(bytes[41], 'a'); /* the real end */
    assert_int_equal(bytes[42], 0);
    file_close(file);
}

static void test_sync_when_eio_then_fate_stays_open_until_one_succeeds(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = durable_file(rig);
    assert_int_equal(file_fill(file, 'b', 10, 0), SQLITE_OK);
    hit(rig, SAGA_VFS_SYNC, SAGA_VFS_EIO);
    assert_int_equal(file_sync(file), SQLITE_IOERR_FSYNC);
    assert_int_equal(saga_vfs_pending(rig->vfs, "f"), 1);
    assert_int_equal(file_sync(file), SQLITE_OK);
    saga_vfs_crash(rig->vfs, LOST);
    file_close(file);
    file = file_open(rig, "f");
    assert_int_equal(file_byte(file, 0), 'b');
    file_close(file);
}

static void test_sync_when_gate_then_later_sync_says_ok_and_data_is_gone(void **state)
{
    struct rig *rig = *state;
    unsigned lost = 0;
    for (int round = 0; round < 50; round++) {
        sqlite3_file *file = durable_file(rig);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(file_fill(file, 'b', 512, i * 512), SQLITE_OK);
        }
        hit(rig, SAGA_VFS_SYNC, SAGA_VFS_GATE);
        assert_int_equal(file_sync(file), SQLITE_IOERR_FSYNC);
        assert_int_equal(file_sync(file), SQLITE_OK);
        assert_int_equal(file_byte(file, 0), 'b'); /* the page cache still shows it */
        saga_vfs_crash(rig->vfs, KEPT);
        file_close(file);
        file = file_open(rig, "f");
        for (int i = 0; i < 4; i++) {
            lost += file_byte(file, i * 512) == 'a' ? 1 : 0;
        }
        file_close(file);
    }
    assert_in_range(lost, 40, 160);
}

static void test_sync_when_it_lies_then_lost_by_power_failure(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = durable_file(rig);
    assert_int_equal(file_fill(file, 'b', 10, 0), SQLITE_OK);
    hit(rig, SAGA_VFS_SYNC, SAGA_VFS_LIE);
    assert_int_equal(file_sync(file), SQLITE_OK);
    saga_vfs_crash(rig->vfs, LOST);
    file_close(file);
    file = file_open(rig, "f");
    assert_int_equal(file_byte(file, 0), 'a');
    file_close(file);
}

static void test_quota_when_reached_then_full_until_space_is_made(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    saga_vfs_set_quota(rig->vfs, 10000);
    sqlite3_file *file = durable_file(rig);
    sqlite3_file *other = file_open(rig, "g");
    assert_int_equal(file_fill(other, 'b', 1809, 0), SQLITE_FULL);
    assert_int_equal(file_fill(other, 'b', 1808, 0), SQLITE_OK);
    assert_int_equal(file_fill(other, 'c', 1808, 0), SQLITE_OK); /* it does not grow */
    assert_int_equal(file->pMethods->xTruncate(file, 9000), SQLITE_FULL);
    file_close(file);
    assert_int_equal(vfs->xDelete(vfs, "f", 1), SQLITE_OK);
    assert_int_equal(file_fill(other, 'b', 10000, 0), SQLITE_OK);
    assert_int_equal(saga_vfs_stats(rig->vfs)->full, 2);
    file_close(other);
}

static void test_process_when_stopped_then_nothing_works_until_crash_or_kill(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    for (int after = 0; after <= 1; after++) {
        sqlite3_file *file = durable_file(rig);
        sqlite3_file *other = NULL;
        int there = 0;
        hit(rig, SAGA_VFS_WRITE, after == 1 ? SAGA_VFS_STOP_AFTER : SAGA_VFS_STOP_BEFORE);
        assert_int_equal(file_fill(file, 'b', 10, 0), SQLITE_IOERR_WRITE);
        assert_true(saga_vfs_stopped(rig->vfs, 0));
        assert_false(saga_vfs_stopped(rig->vfs, 1));
        assert_int_equal(file_byte(file, 0), -1);
        assert_int_equal(file_fill(file, 'b', 10, 0), SQLITE_IOERR_WRITE);
        assert_int_equal(file_sync(file), SQLITE_IOERR_FSYNC);
        assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_IOERR_DELETE);
        assert_int_equal(vfs->xAccess(vfs, "f", SQLITE_ACCESS_EXISTS, &there), SQLITE_IOERR_ACCESS);
        assert_int_equal(try_open(rig, "f", SQLITE_OPEN_MAIN_DB, &other), SQLITE_IOERR);
        saga_vfs_kill(rig->vfs, 0);
        assert_false(saga_vfs_stopped(rig->vfs, 0));
        other = file_open(rig, "f");
        assert_int_equal(file_byte(other, 0), after == 1 ? 'b' : 'a');
        assert_int_equal(file_byte(file, 0), -1); /* the dead stay dead */
        assert_int_equal(file_fill(file, 'z', 10, 0), SQLITE_IOERR_WRITE);
        file_close(other);
        file_close(file);
    }
}

static void test_fault_when_it_may_not_apply_then_counts_as_eio(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = durable_file(rig);
    hit(rig, SAGA_VFS_WRITE, SAGA_VFS_GATE);
    assert_int_equal(file_fill(file, 'b', 10, 0), SQLITE_IOERR_WRITE);
    hit(rig, SAGA_VFS_SYNC, SAGA_VFS_CUT);
    assert_int_equal(file_sync(file), SQLITE_IOERR_FSYNC);
    file_close(file);
}

/* ---- Time and chance ---- */

static void test_time_when_asked_then_the_simulated_one_and_sleep_does_not_sleep(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    sqlite3_int64 now = 0;
    double days = 0;
    rig->now_unix_ms = INT64_C(1700000000000);
    assert_int_equal(vfs->xCurrentTimeInt64(vfs, &now), SQLITE_OK);
    assert_int_equal(now, INT64_C(210866760000000) + INT64_C(1700000000000));
    assert_int_equal(vfs->xCurrentTime(vfs, &days), SQLITE_OK);
    assert_true(days > 2460263.4 && days < 2460263.5);
    assert_int_equal(vfs->xSleep(vfs, 60000000), 60000000);
    assert_int_equal(saga_vfs_stats(rig->vfs)->slept_us, 60000000);
}

static void test_randomness_when_same_seed_then_same_bytes(void **state)
{
    struct rig *rig = *state;
    const struct saga_vfs_config config = {.seed = 5};
    struct saga_vfs *twin = NULL;
    char bytes[2][32];
    assert_int_equal(saga_vfs_new(&config, &twin), SAGA_ERR_OK);
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    sqlite3_vfs *other = sqlite3_vfs_find(saga_vfs_name(twin, 0));
    assert_int_equal(vfs->xRandomness(vfs, 32, bytes[0]), 32);
    assert_int_equal(other->xRandomness(other, 32, bytes[1]), 32);
    assert_memory_equal(bytes[0], bytes[1], 32);
    saga_vfs_free(twin);
    assert_null(sqlite3_vfs_find("saga-none"));
}

/* ---- Databases ---- */

static sqlite3 *db_open(struct rig *rig, unsigned process)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2("/d/x.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                     saga_vfs_name(rig->vfs, process)),
                     SQLITE_OK);
    return db;
}

static void db_run(sqlite3 *db, const char *text)
{
    char *why = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK) {
        fail_msg("%s: %s", text, why);
    }
}

static int db_try(sqlite3 *db, const char *text)
{
    return sqlite3_exec(db, text, NULL, NULL, NULL);
}

static int64_t db_number(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(stmt, 0);
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    return number;
}

/* The same with a rollback journal and with a log. */
static const char *const modes[] = {"PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = WAL"};

static void test_database_when_two_connections_then_locks_and_views_as_on_linux(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    for (size_t i = 0; i < 2; i++) {
        sqlite3 *one = db_open(rig, 0);
        db_run(one, modes[i]);
        db_run(one, "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
        sqlite3 *two = db_open(rig, 1);
        db_run(one, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)");
        assert_int_equal(db_try(two, "BEGIN IMMEDIATE"), SQLITE_BUSY);
        assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 1); /* not committed */
        db_run(one, "COMMIT");
        assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 2);
        db_run(two, "BEGIN; SELECT count(*) FROM t"); /* a reader stays */
        /* Without a log the writer waits for the reader; with one it does not. */
        int code = db_try(one, "INSERT INTO t VALUES(3)");
        assert_int_equal(code, i == 0 ? SQLITE_BUSY : SQLITE_OK);
        assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 2);
        db_run(two, "COMMIT");
        assert_int_equal(db_number(two, "SELECT count(*) FROM t"), i == 0 ? 2 : 3);
        assert_int_equal(sqlite3_close(one), SQLITE_OK);
        assert_int_equal(sqlite3_close(two), SQLITE_OK);
        assert_int_equal(saga_vfs_file_size(rig->vfs, "/d/x.db-wal", false), -1);
        assert_int_equal(vfs->xDelete(vfs, "/d/x.db", 1), SQLITE_OK);
    }
}

static void
test_database_when_a_process_is_killed_in_a_transaction_then_the_other_goes_on(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = vfs_of(rig, 0);
    for (size_t i = 0; i < 2; i++) {
        sqlite3 *one = db_open(rig, 0);
        db_run(one, modes[i]);
        db_run(one, "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
        sqlite3 *two = db_open(rig, 1);
        assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 1);
        db_run(one, "PRAGMA cache_size = 1; BEGIN IMMEDIATE; INSERT INTO t WITH RECURSIVE"
                    " n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
                    " SELECT randomblob(1000) FROM n"); /* spills */
        saga_vfs_kill(rig->vfs, 0);
        assert_int_equal(sqlite3_close(one), SQLITE_OK);
        assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 1);
        db_run(two, "INSERT INTO t VALUES(2)");
        one = db_open(rig, 0); /* the process is started again */
        assert_int_equal(db_number(one, "SELECT count(*) FROM t"), 2);
        assert_int_equal(sqlite3_close(one), SQLITE_OK);
        assert_int_equal(sqlite3_close(two), SQLITE_OK);
        assert_int_equal(vfs->xDelete(vfs, "/d/x.db", 1), SQLITE_OK);
    }
}

static void
test_database_when_power_fails_then_dead_connections_can_be_closed_any_time(void **state)
{
    struct rig *rig = *state;
    sqlite3 *one = db_open(rig, 0);
    db_run(one, modes[1]);
    db_run(one, "PRAGMA synchronous = FULL; CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    db_run(one, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)");
    saga_vfs_crash(rig->vfs, LOST);
    sqlite3 *two = db_open(rig, 0);
    assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 1);
    db_run(two, "INSERT INTO t VALUES(3)");
    assert_int_equal(db_try(one, "COMMIT") & 0xff, SQLITE_IOERR);
    (void)db_try(one, "ROLLBACK");
    db_run(two, "INSERT INTO t VALUES(4)");
    assert_int_equal(sqlite3_close(one), SQLITE_OK);
    assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 3);
    db_run(two, "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_int_equal(db_number(two, "SELECT count(*) FROM t"), 3);
    assert_int_equal(sqlite3_close(two), SQLITE_OK);
}

static void test_image_when_put_on_a_fresh_disk_then_durable_there_and_apart(void **state)
{
    struct rig *rig = *state;
    struct saga_vfs_image *image = NULL;
    sqlite3 *db = db_open(rig, 0);
    db_run(db, modes[1]);
    db_run(db, "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(saga_vfs_image_take(rig->vfs, &image), SAGA_ERR_OK);
    for (int round = 0; round < 2; round++) {
        struct rig *other = NULL;
        (void)setup((void **)&other);
        assert_int_equal(saga_vfs_image_put(other->vfs, image), SAGA_ERR_OK);
        saga_vfs_crash(other->vfs, LOST);
        db = db_open(other, 0);
        assert_int_equal(db_number(db, "SELECT count(*) FROM t"), 1);
        db_run(db, "INSERT INTO t VALUES(2)");
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        (void)teardown((void **)&other);
    }
    saga_vfs_image_free(image);
    saga_vfs_image_free(NULL);
    saga_vfs_free(NULL);
}

static void test_disks_when_thousands_then_each_has_its_own_name(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static struct saga_vfs *disks[COUNT];
    const struct saga_vfs_config config = {.seed = 1};
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(saga_vfs_new(&config, &disks[i]), SAGA_ERR_OK);
        const char *name = saga_vfs_name(disks[i], 0);
        assert_ptr_equal(saga_vfs_name(disks[i], 0), name);
        assert_string_not_equal(saga_vfs_name(disks[i], 1), name);
        assert_true(i == 0 || strcmp(saga_vfs_name(disks[i - 1], 0), name) != 0);
        assert_non_null(sqlite3_vfs_find(name));
    }
    for (size_t i = 0; i < COUNT; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s", saga_vfs_name(disks[i], 0));
        saga_vfs_free(disks[i]);
        assert_null(sqlite3_vfs_find(name));
    }
}

static void test_names_when_of_any_value_then_texts(void **state)
{
    (void)state;
    assert_string_equal(saga_vfs_op_name(SAGA_VFS_MAP), "MAP");
    assert_string_equal(saga_vfs_op_name((enum saga_vfs_op)99), "?");
    assert_string_equal(saga_vfs_outcome_name(SAGA_VFS_STOP_AFTER), "STOP_AFTER");
    assert_string_equal(saga_vfs_outcome_name((enum saga_vfs_outcome)99), "?");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE(test_write_when_not_synced_and_power_fails_then_lost),
        CASE(test_write_when_synced_or_kept_and_power_fails_then_there),
        CASE(test_truncate_when_power_fails_then_lost_or_kept),
        CASE(test_write_when_torn_then_whole_sectors_are_old_or_new),
        CASE(test_writes_when_some_are_lost_then_any_of_them),
        CASE(test_same_seed_when_run_twice_then_same_disk),
        CASE(test_name_when_directory_is_not_synced_then_gone_after_power_failure),
        CASE(test_name_when_deleted_without_sync_then_back_after_power_failure),
        CASE(test_name_when_made_anew_many_times_then_one_of_its_states_after_power_failure),
        CASE(test_file_when_deleted_while_open_then_usable_until_closed),
        CASE(test_access_when_file_is_empty_then_counts_as_none),
        CASE(test_operation_when_eio_then_its_error_and_nothing_is_done),
        CASE(test_transfer_when_short_then_part_and_error),
        CASE(test_sync_when_eio_then_fate_stays_open_until_one_succeeds),
        CASE(test_sync_when_gate_then_later_sync_says_ok_and_data_is_gone),
        CASE(test_sync_when_it_lies_then_lost_by_power_failure),
        CASE(test_quota_when_reached_then_full_until_space_is_made),
        CASE(test_process_when_stopped_then_nothing_works_until_crash_or_kill),
        CASE(test_fault_when_it_may_not_apply_then_counts_as_eio),
        CASE(test_time_when_asked_then_the_simulated_one_and_sleep_does_not_sleep),
        CASE(test_randomness_when_same_seed_then_same_bytes),
        CASE(test_database_when_two_connections_then_locks_and_views_as_on_linux),
        CASE(test_database_when_a_process_is_killed_in_a_transaction_then_the_other_goes_on),
        CASE(test_database_when_power_fails_then_dead_connections_can_be_closed_any_time),
        CASE(test_image_when_put_on_a_fresh_disk_then_durable_there_and_apart),
        cmocka_unit_test(test_disks_when_thousands_then_each_has_its_own_name),
        cmocka_unit_test(test_names_when_of_any_value_then_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
