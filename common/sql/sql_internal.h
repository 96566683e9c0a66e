/* What the two files of the room share; not for others. */
#ifndef SAGA_SQL_INTERNAL_H
#define SAGA_SQL_INTERNAL_H

#include <sqlite3.h>
#include <sys/stat.h>

#include "common/sql/sql.h"

enum {
    SAGA_SQL_STMTS_MAX = 256,  /* statements of one connection */
    SAGA_SQL_STMT_SLOTS = 256, /* direct-mapped cache by the address of the text */
};

struct saga_sql_stmt {
    struct saga_sql *sql;
    sqlite3_stmt *handle;
    char *text;
    int bind_code; /* the first error of binding; told by step */
    bool busy;     /* stepped and not yet reset */
};

/* The statements of transactions, prepared at open. */
enum control {
    CONTROL_BEGIN,
    CONTROL_COMMIT,
    CONTROL_ROLLBACK,
    CONTROL_SAVEPOINT,
    CONTROL_RELEASE,
    CONTROL_ROLLBACK_TO,
    CONTROL_COUNT,
};

struct saga_sql {
    sqlite3 *db;
    enum saga_sql_mode mode;
    bool in_transaction; /* between a begin and its commit or rollback, as the caller sees it */
    bool in_savepoint;
    char *still_path; /* of a file that was opened as one that does not change; else NULL */
    struct stat still_stat;
    sqlite3_stmt *controls[CONTROL_COUNT];
    struct saga_sql_stmt *stmts[SAGA_SQL_STMTS_MAX];
    size_t stmt_count;
    struct saga_sql_stmt *slots[SAGA_SQL_STMT_SLOTS];
};

/* Maps a code of SQLite, extended or not. */
enum saga_err saga_sql_map(int code);

/* Tells what went wrong, with SQLite's words and the start of the statement (may be NULL). */
enum saga_err saga_sql_fail(struct saga_sql *sql, int code, const char *text,
                            struct saga_err_detail *detail);

/* Makes durable what the file and its log show (sql_log.c). Pre: in WAL mode, no transaction.
 * Errors: IO, DISK_FULL, NO_MEMORY, BUSY. */
enum saga_err saga_sql_settle(struct saga_sql *sql,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
