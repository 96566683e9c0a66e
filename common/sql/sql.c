#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/sql/sql_internal.h"

enum { BUSY_TIMEOUT_MS = 5000 };

static const char *const control_texts[CONTROL_COUNT] = {
    [CONTROL_BEGIN] = "BEGIN IMMEDIATE", [CONTROL_COMMIT] = "COMMIT",
    [CONTROL_ROLLBACK] = "ROLLBACK",     [CONTROL_SAVEPOINT] = "SAVEPOINT one",
    [CONTROL_RELEASE] = "RELEASE one",   [CONTROL_ROLLBACK_TO] = "ROLLBACK TO one",
};

enum saga_err saga_sql_map(int code)
{
    if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
        code == SQLITE_CONSTRAINT_ROWID) {
        return SAGA_ERR_EXISTS;
    }
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return SAGA_ERR_OK;
    case SQLITE_CONSTRAINT:
        return SAGA_ERR_CONFLICT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return SAGA_ERR_BUSY;
    case SQLITE_NOMEM:
        return SAGA_ERR_NO_MEMORY;
    case SQLITE_FULL:
        return SAGA_ERR_DISK_FULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOLFS:
    case SQLITE_PROTOCOL:
    case SQLITE_AUTH:
        return SAGA_ERR_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return SAGA_ERR_CORRUPT;
    case SQLITE_TOOBIG:
        return SAGA_ERR_LIMIT;
    default: /* SQLITE_ERROR, MISUSE, SCHEMA, RANGE, …: a statement of ours is wrong */
        return SAGA_ERR_INTERNAL;
    }
}

enum saga_err saga_sql_fail(struct saga_sql *sql, int code, const char *text,
                            struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_map(code);
    SAGA_ASSERT(err != SAGA_ERR_OK);
    const char *words = sqlite3_errmsg(sql->db);
    if (text == NULL) {
        return saga_err_set(detail, err, "%s (%d)", words, code);
    }
    return saga_err_set(detail, err, "%s (%d) in: %.100s", words, code, text);
}

enum saga_err saga_sql_exec(struct saga_sql *sql, const char *text, struct saga_err_detail *detail)
{
    int code = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        return saga_sql_fail(sql, sqlite3_extended_errcode(sql->db), text, detail);
    }
    return SAGA_ERR_OK;
}

/* ---- Opening ---- */

/* A connection that is not in WAL mode would lose the durability and the concurrent reads that
 * callers count on. */
static enum saga_err set_wal(struct saga_sql *sql, struct saga_err_detail *detail)
{
    sqlite3_stmt *handle = NULL;
    int code = sqlite3_prepare_v2(sql->db, "PRAGMA journal_mode = WAL", -1, &handle, NULL);
    if (code != SQLITE_OK) {
        return saga_sql_fail(sql, sqlite3_extended_errcode(sql->db), NULL, detail);
    }
    enum saga_err err = SAGA_ERR_OK;
    if (sqlite3_step(handle) == SQLITE_ROW) {
        const char *mode = (const char *)sqlite3_column_text(handle, 0);
        if (mode == NULL || (strcmp(mode, "wal") != 0 && strcmp(mode, "memory") != 0)) {
            err = saga_err_set(detail, SAGA_ERR_IO, "the file system does not allow WAL mode");
        }
    } else {
        err = saga_sql_fail(sql, sqlite3_extended_errcode(sql->db), NULL, detail);
    }
    /* The change itself is committed behind the row, and may fail there. */
    if (err == SAGA_ERR_OK && sqlite3_step(handle) != SQLITE_DONE) {
        err = saga_sql_fail(sql, sqlite3_extended_errcode(sql->db), NULL, detail);
    }
    (void)sqlite3_finalize(handle);
    return err;
}

static enum saga_err configure(struct saga_sql *sql, struct saga_err_detail *detail)
{
    (void)sqlite3_busy_timeout(sql->db, BUSY_TIMEOUT_MS);
    if (sql->mode == SAGA_SQL_INSPECT) {
        return saga_sql_exec(sql,
                             "PRAGMA temp_store = MEMORY;"
                             "PRAGMA trusted_schema = OFF;"
                             "PRAGMA cache_size = -65536;"
                             "PRAGMA query_only = ON;"
                             "PRAGMA schema_version;", /* reads, so that what is none is told now */
                             detail);
    }
    enum saga_err err = set_wal(sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    /* 10,000 pages between checkpoints: the default of 1,000 costs milliseconds at the 99th
     * percentile. */
    err = saga_sql_exec(sql,
                        "PRAGMA synchronous = FULL;"
                        "PRAGMA wal_autocheckpoint = 10000;"
                        "PRAGMA journal_size_limit = 67108864;"
                        "PRAGMA foreign_keys = ON;"
                        "PRAGMA temp_store = MEMORY;"
                        "PRAGMA trusted_schema = OFF;"
                        "PRAGMA cache_size = -65536;",
                        detail);
    if (err == SAGA_ERR_OK && sql->mode == SAGA_SQL_READ_ONLY) {
        err = saga_sql_exec(sql, "PRAGMA query_only = ON", detail);
    }
    if (err == SAGA_ERR_OK && sql->mode == SAGA_SQL_READ_WRITE) {
        err = saga_sql_settle(sql, detail);
    }
    return err;
}

static enum saga_err prepare_controls(struct saga_sql *sql, struct saga_err_detail *detail)
{
    for (int i = 0; i < CONTROL_COUNT; i++) {
        const char *text = control_texts[i];
        if (i == CONTROL_BEGIN && sql->mode != SAGA_SQL_READ_WRITE) {
            text = "BEGIN"; /* a reader must not take the writer's lock */
        }
        if (sqlite3_prepare_v3(sql->db, text, -1, SQLITE_PREPARE_PERSISTENT, &sql->controls[i],
                               NULL) != SQLITE_OK) {
            return saga_sql_fail(sql, sqlite3_extended_errcode(sql->db), text, detail);
        }
    }
    return SAGA_ERR_OK;
}

static int open_flags(enum saga_sql_mode mode)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    switch (mode) {
    case SAGA_SQL_READ_WRITE:
        return flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    case SAGA_SQL_READ_ONLY:
        /* Opened for writing too and then kept from it: a reader of a WAL file must write its
         * index. */
        return flags | SQLITE_OPEN_READWRITE;
    case SAGA_SQL_INSPECT:
        break;
    }
    return flags | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
}

static enum saga_err open_one(struct saga_sql *sql, const char *vfs, const char *name,
                              struct saga_err_detail *detail)
{
    int code = sqlite3_open_v2(name, &sql->db, open_flags(sql->mode), vfs);
    if (sql->db == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    if (code != SQLITE_OK) {
        return saga_sql_fail(sql, code, NULL, detail);
    }
    return configure(sql, detail);
}

/* Writes a path as a URI, which can say that the file does not change. NULL: out of memory. */
static char *uri_of(const char *path, const char *query)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/";
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_str_appendall(text, "file:");
    for (const char *at = path; *at != '\0'; at++) {
        if (strchr(plain, *at) != NULL) {
            sqlite3_str_appendchar(text, 1, *at);
        } else {
            sqlite3_str_appendf(text, "%%%02X", (unsigned)(unsigned char)*at);
        }
    }
    sqlite3_str_appendall(text, query);
    return sqlite3_str_finish(text);
}

/* Tells whether a file is beside the database: its log, or what undoes a transaction that was cut
 * off. */
static bool beside(const char *path, const char *suffix)
{
    char *name = sqlite3_mprintf("%s%s", path, suffix);
    bool there = name == NULL || access(name, F_OK) == 0;
    sqlite3_free(name);
    return there;
}

/* A file in WAL mode wants a log and an index beside it, which cannot be made everywhere and would
 * stay there. Everybody who reads or writes such a file has its log; without one the file is all
 * there is, and nobody has it open, so that it can be read as one that nobody changes. */
static enum saga_err open_inspect(struct saga_sql *sql, const char *path,
                                  struct saga_err_detail *detail)
{
    bool still = !beside(path, "-wal") && !beside(path, "-journal");
    if (still && stat(path, &sql->still_stat) == 0) {
        sql->still_path = sqlite3_mprintf("%s", path);
        if (sql->still_path == NULL) {
            return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
        }
    }
    char *name = uri_of(path, still ? "?immutable=1" : "");
    enum saga_err err = name == NULL ? saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory")
                                     : open_one(sql, NULL, name, detail);
    if (err == SAGA_ERR_CORRUPT && (sqlite3_errcode(sql->db) & 0xff) == SQLITE_NOTADB) {
        err = saga_err_set(detail, SAGA_ERR_INVALID, "it is not an SQLite database");
    }
    sqlite3_free(name);
    return err;
}

enum saga_err saga_sql_stood_still(const struct saga_sql *sql, struct saga_err_detail *detail)
{
    struct stat now;
    if (sql->still_path == NULL) {
        return SAGA_ERR_OK;
    }
    const struct stat *then = &sql->still_stat;
    bool same = stat(sql->still_path, &now) == 0 && now.st_ino == then->st_ino &&
                now.st_dev == then->st_dev && now.st_size == then->st_size &&
                now.st_mtim.tv_sec == then->st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == then->st_mtim.tv_nsec && !beside(sql->still_path, "-wal");
    return same ? SAGA_ERR_OK
                : saga_err_set(detail, SAGA_ERR_BUSY,
                               "somebody opened the file while it was read; once more, please");
}

enum saga_err saga_sql_open(const char *path, enum saga_sql_mode mode, struct saga_sql **out,
                            struct saga_err_detail *detail)
{
    return saga_sql_open_on(NULL, path, mode, out, detail);
}

enum saga_err saga_sql_open_on(const char *vfs, const char *path, enum saga_sql_mode mode,
                               struct saga_sql **out, struct saga_err_detail *detail)
{
    struct saga_sql *sql = calloc(1, sizeof *sql);
    if (sql == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "%s: out of memory", path);
    }
    sql->mode = mode;
    enum saga_err err = mode == SAGA_SQL_INSPECT ? open_inspect(sql, path, detail)
                                                 : open_one(sql, vfs, path, detail);
    if (err == SAGA_ERR_OK) {
        err = prepare_controls(sql, detail);
    }
    if (err != SAGA_ERR_OK) {
        saga_sql_close(sql);
        return saga_err_wrap(detail, err, path);
    }
    *out = sql;
    return SAGA_ERR_OK;
}

void saga_sql_close(struct saga_sql *sql)
{
    if (sql == NULL) {
        return;
    }
    saga_sql_rollback(sql);
    for (size_t i = 0; i < sql->stmt_count; i++) {
        (void)sqlite3_finalize(sql->stmts[i]->handle);
        free(sql->stmts[i]->text);
        free(sql->stmts[i]);
    }
    for (int i = 0; i < CONTROL_COUNT; i++) {
        (void)sqlite3_finalize(sql->controls[i]);
    }
    /* The last connection to close checkpoints; with others open this moves what it can. */
    if (sql->db != NULL && sql->mode == SAGA_SQL_READ_WRITE) {
        (void)sqlite3_wal_checkpoint_v2(sql->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    SAGA_ASSERT(sqlite3_close(sql->db) == SQLITE_OK);
    sqlite3_free(sql->still_path);
    free(sql);
}

/* ---- Schema ---- */

static enum saga_err read_version(struct saga_sql *sql, int64_t *version,
                                  struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(sql, "PRAGMA user_version", &stmt, detail);
    bool row = false;
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, &row, detail);
    }
    if (err == SAGA_ERR_OK) {
        *version = row ? saga_sql_int(stmt, 0) : 0;
        saga_sql_reset(stmt);
    }
    return err;
}

/* The version is read again under the lock: two programs may start at once. */
static enum saga_err migrate_one(struct saga_sql *sql, const char *const *scripts, int64_t *version,
                                 struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_begin(sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    int64_t seen = *version;
    err = read_version(sql, version, detail);
    if (err == SAGA_ERR_OK && *version == seen) {
        err = saga_sql_exec(sql, scripts[seen], detail);
        if (err == SAGA_ERR_OK) {
            char text[64];
            (void)sqlite3_snprintf((int)sizeof text, text, "PRAGMA user_version = %lld",
                                   (long long)seen + 1);
            err = saga_sql_exec(sql, text, detail);
        }
        *version = seen + 1;
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_commit(sql, detail);
    } else {
        saga_sql_rollback(sql);
    }
    return err;
}

enum saga_err saga_sql_migrate(struct saga_sql *sql, const char *const *scripts, size_t count,
                               struct saga_err_detail *detail)
{
    int64_t version = 0;
    enum saga_err err = read_version(sql, &version, detail);
    while (err == SAGA_ERR_OK && version >= 0 && version < (int64_t)count) {
        err = migrate_one(sql, scripts, &version, detail);
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "schema");
    }
    if (version != (int64_t)count) {
        return saga_err_set(detail, SAGA_ERR_CONFLICT,
                            "the file has schema version %lld, this program knows up to %zu",
                            (long long)version, count);
    }
    return SAGA_ERR_OK;
}

/* ---- Transactions ---- */

static enum saga_err run_control(struct saga_sql *sql, enum control control,
                                 struct saga_err_detail *detail)
{
    sqlite3_stmt *handle = sql->controls[control];
    int code = sqlite3_step(handle);
    enum saga_err err = SAGA_ERR_OK;
    if (code != SQLITE_DONE) {
        err = saga_sql_fail(sql, code, control_texts[control], detail);
    }
    (void)sqlite3_reset(handle);
    return err;
}

enum saga_err saga_sql_begin(struct saga_sql *sql, struct saga_err_detail *detail)
{
    SAGA_ASSERT(!sql->in_transaction);
    enum saga_err err = run_control(sql, CONTROL_BEGIN, detail);
    sql->in_transaction = err == SAGA_ERR_OK;
    sql->in_savepoint = false;
    return err;
}

enum saga_err saga_sql_commit(struct saga_sql *sql, struct saga_err_detail *detail)
{
    SAGA_ASSERT(sql->in_transaction);
    if (sqlite3_get_autocommit(sql->db) != 0) {
        /* SQLite gave the transaction up by itself, after an error that the caller has passed over.
         */
        sql->in_transaction = false;
        return saga_err_set(detail, SAGA_ERR_INTERNAL, "commit: the transaction was rolled back");
    }
    enum saga_err err = run_control(sql, CONTROL_COMMIT, detail);
    if (err != SAGA_ERR_OK) {
        saga_sql_rollback(sql); /* a failed COMMIT may leave it open */
    }
    sql->in_transaction = false;
    return err;
}

void saga_sql_rollback(struct saga_sql *sql)
{
    sql->in_transaction = false;
    sql->in_savepoint = false;
    if (sql->db == NULL || sqlite3_get_autocommit(sql->db) != 0) {
        return;
    }
    for (size_t i = 0; i < sql->stmt_count; i++) {
        if (sql->stmts[i]->busy) {
            saga_sql_reset(sql->stmts[i]);
        }
    }
    (void)run_control(sql, CONTROL_ROLLBACK, NULL);
    SAGA_ASSERT(sqlite3_get_autocommit(sql->db) != 0);
}

/* Outside a transaction SAVEPOINT would begin one of its own. */
static enum saga_err still_in_transaction(struct saga_sql *sql, const char *what,
                                          struct saga_err_detail *detail)
{
    SAGA_ASSERT(sql->in_transaction);
    if (sqlite3_get_autocommit(sql->db) != 0) {
        return saga_err_set(detail, SAGA_ERR_INTERNAL, "%s: the transaction was rolled back", what);
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_sql_savepoint(struct saga_sql *sql, struct saga_err_detail *detail)
{
    enum saga_err err = still_in_transaction(sql, "savepoint", detail);
    if (err == SAGA_ERR_OK) {
        SAGA_ASSERT(!sql->in_savepoint);
        err = run_control(sql, CONTROL_SAVEPOINT, detail);
        sql->in_savepoint = err == SAGA_ERR_OK;
    }
    return err;
}

enum saga_err saga_sql_release(struct saga_sql *sql, struct saga_err_detail *detail)
{
    enum saga_err err = still_in_transaction(sql, "release", detail);
    if (err == SAGA_ERR_OK && sql->in_savepoint) {
        err = run_control(sql, CONTROL_RELEASE, detail);
        sql->in_savepoint = err != SAGA_ERR_OK;
    }
    return err;
}

enum saga_err saga_sql_rollback_to(struct saga_sql *sql, struct saga_err_detail *detail)
{
    enum saga_err err = still_in_transaction(sql, "rollback to", detail);
    if (err == SAGA_ERR_OK) {
        SAGA_ASSERT(sql->in_savepoint);
        err = run_control(sql, CONTROL_ROLLBACK_TO, detail);
    }
    return err == SAGA_ERR_OK ? saga_sql_release(sql, detail) : err;
}
