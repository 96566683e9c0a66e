/* SQLite as this project uses it: open with the durable settings, prepared statements, mapped
 * errors. One thread per connection. */
#ifndef SAGA_SQL_SQL_H
#define SAGA_SQL_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct sqlite3;
struct sqlite3_stmt;

/* A prepared statement with its text; finalized by close of its database. */
struct saga_sql_stmt;

/* One connection. */
struct saga_sql;

enum saga_sql_mode { SAGA_SQL_READ_WRITE, SAGA_SQL_READ_ONLY, SAGA_SQL_INSPECT };

/* Opens (creates) a database file in WAL mode, synchronous=FULL, wal_autocheckpoint=10000,
 * foreign_keys=ON, busy timeout 5 s, cache 64 MiB. READ_WRITE also makes durable what it finds,
 * whatever happened to those who wrote it: what the caller reads may be acted upon (S6). READ_ONLY
 * is for relays on another thread, beside a READ_WRITE.
 * INSPECT is for tools that look at a file of another program, which may be running: the file must
 * be there and is never written, also not by recovery or a checkpoint; it may lie where nothing can
 * be written. One without a log, which therefore nobody has open, is read as one that does not
 * change: nothing is made beside it, and saga_sql_stood_still tells whether that was so.
 * Errors: IO, CORRUPT, DISK_FULL, NO_MEMORY; of INSPECT also INVALID (it is not SQLite's); detail
 * names the path. */
enum saga_err saga_sql_open(const char *path, enum saga_sql_mode mode, struct saga_sql **sql,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* As saga_sql_open, on a VFS that SQLite knows by this name (a simulated disk); NULL: the system's.
 * INSPECT is for the system's alone. */
enum saga_err saga_sql_open_on(const char *vfs, const char *path, enum saga_sql_mode mode,
                               struct saga_sql **sql,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells of an INSPECT whether a file that was read as one that does not change has not changed
 * since it was opened. Errors: BUSY: somebody has opened it; what was read may be wrong. */
enum saga_err saga_sql_stood_still(const struct saga_sql *sql,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Finalizes all statements, checkpoints and closes. NULL is nothing. */
void saga_sql_close(struct saga_sql *sql);

/* Runs one or more statements without parameters or rows. */
enum saga_err saga_sql_exec(struct saga_sql *sql, const char *text,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Brings the schema up: scripts[i] takes PRAGMA user_version from i to i + 1, each in a
 * transaction. CONFLICT when the file is newer than this program. */
enum saga_err saga_sql_migrate(struct saga_sql *sql, const char *const *scripts, size_t count,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Prepares a statement that lives as long as the connection; prepared once per text (found again by
 * the text's address, then by its content), reset and with its bindings cleared. */
enum saga_err saga_sql_prepare(struct saga_sql *sql, const char *text, struct saga_sql_stmt **stmt,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Binds parameter `at` (from 1). Bytes and text are borrowed until the statement is reset. */
void saga_sql_bind_int(struct saga_sql_stmt *stmt, int at, int64_t value);
void saga_sql_bind_text(struct saga_sql_stmt *stmt, int at, const char *text);
void saga_sql_bind_bytes(struct saga_sql_stmt *stmt, int at, struct saga_bytes bytes);
void saga_sql_bind_null(struct saga_sql_stmt *stmt, int at);

/* Steps to the next row: *row tells whether there is one. Errors of binding come out here. At the
 * end and on error the statement is reset. Errors: EXISTS (unique constraint), CONFLICT (other
 * constraint), BUSY, DISK_FULL, IO, CORRUPT, NO_MEMORY. */
enum saga_err saga_sql_step(struct saga_sql_stmt *stmt, bool *row,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Steps a statement that gives no rows, to its end. changes (may be NULL): rows changed. */
enum saga_err saga_sql_run(struct saga_sql_stmt *stmt, int64_t *changes,
                           struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Resets a statement before its last row. */
void saga_sql_reset(struct saga_sql_stmt *stmt);

/* Read column `at` (from 0) of the present row; text and bytes are valid until the next step or
 * reset. NULL reads as 0, "" and empty. */
int64_t saga_sql_int(struct saga_sql_stmt *stmt, int at);
const char *saga_sql_text(struct saga_sql_stmt *stmt, int at);
struct saga_bytes saga_sql_bytes(struct saga_sql_stmt *stmt, int at);

/* Gives the rowid of the last insert. */
int64_t saga_sql_last_rowid(struct saga_sql *sql);

/* Begins (IMMEDIATE), commits, rolls back. A failed commit is rolled back. Errors as step. */
enum saga_err saga_sql_begin(struct saga_sql *sql, struct saga_err_detail *detail) SAGA_WARN_UNUSED;
enum saga_err saga_sql_commit(struct saga_sql *sql,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;
void saga_sql_rollback(struct saga_sql *sql);

/* A savepoint inside a transaction (one name is enough: they do not nest here). Release keeps what
 * was done since, rollback_to undoes it; either ends the savepoint. A rollback ends it too. Errors:
 * as step; INTERNAL when SQLite has given the transaction up by itself (disk full, …): only
 * rollback is left then. */
enum saga_err saga_sql_savepoint(struct saga_sql *sql,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;
enum saga_err saga_sql_release(struct saga_sql *sql,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;
enum saga_err saga_sql_rollback_to(struct saga_sql *sql,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
