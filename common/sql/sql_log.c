/* What is found at open is made durable before anybody acts on it.
 *
 * Two things may be visible and yet not be on disk. (1) Transactions in the log: their process died
 * between write and fsync, or its fsync failed; after a failed fsync Linux takes the pages for
 * clean, so that a later fsync says OK and writes nothing. Whoever reads such a transaction at
 * start, acts on it and then commits behind it loses both with the next power failure: recovery
 * stops at the hole. So the log's bytes are written once more, which makes the pages dirty, and
 * synced. (2) Names: SQLite syncs the directory when it has created a log, but not when it finds
 * one whose creator died before. Without that sync the log's name may be gone after a power
 * failure, and a journal that was deleted may be back and roll the database back. So the directory
 * is synced at every open. (S6) */
#include <string.h>

#include "common/base/assert.h"
#include "common/sql/sql_internal.h"

enum { CHUNK_SIZE = 64 * 1024 };

static enum saga_err fail(int code, const char *what, struct saga_err_detail *detail)
{
    return saga_err_set(detail, saga_sql_map(code), "%s: %s (%d)", what, sqlite3_errstr(code),
                        code);
}

static enum saga_err rewrite(sqlite3_file *file, struct saga_err_detail *detail)
{
    sqlite3_int64 size = 0;
    int code = file->pMethods->xFileSize(file, &size);
    if (code == SQLITE_OK && size == 0) {
        return SAGA_ERR_OK;
    }
    void *chunk = sqlite3_malloc(CHUNK_SIZE);
    if (chunk == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size; at += CHUNK_SIZE) {
        int count = size - at < CHUNK_SIZE ? (int)(size - at) : CHUNK_SIZE;
        code = file->pMethods->xRead(file, chunk, count, at);
        if (code == SQLITE_OK) {
            code = file->pMethods->xWrite(file, chunk, count, at);
        }
    }
    if (code == SQLITE_OK) {
        code = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    }
    sqlite3_free(chunk);
    return code == SQLITE_OK ? SAGA_ERR_OK : fail(code, "make the log durable", detail);
}

/* SQLite's file systems sync a directory when asked to while they delete a file of it. */
static enum saga_err sync_directory(sqlite3_vfs *vfs, const char *path,
                                    struct saga_err_detail *detail)
{
    char *name = sqlite3_mprintf("%s-sync", path);
    sqlite3_file *file = sqlite3_malloc(vfs->szOsFile);
    int code = SQLITE_NOMEM;
    if (name != NULL && file != NULL) {
        memset(file, 0, (size_t)vfs->szOsFile);
        code =
            vfs->xOpen(vfs, name, file,
                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_JOURNAL, NULL);
        if (file->pMethods != NULL) {
            (void)file->pMethods->xClose(file);
        }
        if (code == SQLITE_OK) {
            code = vfs->xDelete(vfs, name, 1);
        }
    }
    sqlite3_free(file);
    sqlite3_free(name);
    return code == SQLITE_OK ? SAGA_ERR_OK : fail(code, "sync the directory", detail);
}

enum saga_err saga_sql_settle(struct saga_sql *sql, struct saga_err_detail *detail)
{
    const char *path = sqlite3_db_filename(sql->db, "main");
    if (path == NULL || path[0] == '\0') {
        return SAGA_ERR_OK; /* in memory */
    }
    /* Nobody else may write to the log meanwhile. */
    enum saga_err err = saga_sql_exec(sql, "BEGIN IMMEDIATE", detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    sqlite3_file *log = NULL;
    sqlite3_vfs *vfs = NULL;
    int code = sqlite3_file_control(sql->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (code == SQLITE_OK) {
        code = sqlite3_file_control(sql->db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs);
    }
    if (code != SQLITE_OK || vfs == NULL) {
        err = fail(code == SQLITE_OK ? SQLITE_ERROR : code, "find the log", detail);
    }
    if (err == SAGA_ERR_OK && log != NULL && log->pMethods != NULL) {
        err = rewrite(log, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = sync_directory(vfs, path, detail);
    }
    (void)sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}
