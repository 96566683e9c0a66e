#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/sql/sql_internal.h"

/* ---- Preparing ---- */

static size_t slot_of(const char *text)
{
    uintptr_t address = (uintptr_t)text;
    return (address ^ (address >> 8)) % SAGA_SQL_STMT_SLOTS;
}

static struct saga_sql_stmt *stmt_find(struct saga_sql *sql, const char *text)
{
    /* The address is only a guess: memory of another text may have been used again. */
    struct saga_sql_stmt *stmt = sql->slots[slot_of(text)];
    if (stmt != NULL && strcmp(stmt->text, text) == 0) {
        return stmt;
    }
    for (size_t i = 0; i < sql->stmt_count; i++) {
        if (strcmp(sql->stmts[i]->text, text) == 0) {
            return sql->stmts[i];
        }
    }
    return NULL;
}

static enum saga_err stmt_new(struct saga_sql *sql, const char *text, struct saga_sql_stmt **out,
                              struct saga_err_detail *detail)
{
    if (sql->stmt_count == SAGA_SQL_STMTS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "more than %d statements on a connection",
                            SAGA_SQL_STMTS_MAX);
    }
    struct saga_sql_stmt *stmt = calloc(1, sizeof *stmt);
    char *copy = strdup(text);
    if (stmt == NULL || copy == NULL) {
        free(stmt);
        free(copy);
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    int code =
        sqlite3_prepare_v3(sql->db, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, NULL);
    if (code != SQLITE_OK || stmt->handle == NULL) {
        enum saga_err err = code == SQLITE_OK
                                ? saga_err_set(detail, SAGA_ERR_INTERNAL, "empty statement")
                                : saga_sql_fail(sql, code, text, detail);
        free(stmt);
        free(copy);
        return err;
    }
    stmt->sql = sql;
    stmt->text = copy;
    sql->stmts[sql->stmt_count++] = stmt;
    *out = stmt;
    return SAGA_ERR_OK;
}

enum saga_err saga_sql_prepare(struct saga_sql *sql, const char *text, struct saga_sql_stmt **out,
                               struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = stmt_find(sql, text);
    if (stmt == NULL) {
        enum saga_err err = stmt_new(sql, text, &stmt, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    SAGA_ASSERT(stmt != NULL);
    sql->slots[slot_of(text)] = stmt;
    if (stmt->busy) {
        saga_sql_reset(stmt);
    }
    (void)sqlite3_clear_bindings(stmt->handle);
    stmt->bind_code = SQLITE_OK;
    *out = stmt;
    return SAGA_ERR_OK;
}

/* ---- Binding ---- */

static void bound(struct saga_sql_stmt *stmt, int code)
{
    if (stmt->bind_code == SQLITE_OK) {
        stmt->bind_code = code;
    }
}

void saga_sql_bind_int(struct saga_sql_stmt *stmt, int at, int64_t value)
{
    bound(stmt, sqlite3_bind_int64(stmt->handle, at, value));
}

void saga_sql_bind_text(struct saga_sql_stmt *stmt, int at, const char *text)
{
    bound(stmt, sqlite3_bind_text(stmt->handle, at, text, -1, SQLITE_STATIC));
}

void saga_sql_bind_bytes(struct saga_sql_stmt *stmt, int at, struct saga_bytes bytes)
{
    if (bytes.size == 0) {
        bound(stmt,
              sqlite3_bind_zeroblob(stmt->handle, at, 0)); /* a NULL pointer would bind NULL */
    } else {
        bound(stmt, sqlite3_bind_blob64(stmt->handle, at, bytes.data, bytes.size, SQLITE_STATIC));
    }
}

void saga_sql_bind_null(struct saga_sql_stmt *stmt, int at)
{
    bound(stmt, sqlite3_bind_null(stmt->handle, at));
}

/* ---- Stepping ---- */

enum saga_err saga_sql_step(struct saga_sql_stmt *stmt, bool *row, struct saga_err_detail *detail)
{
    struct saga_sql *sql = stmt->sql;
    *row = false;
    if (stmt->bind_code != SQLITE_OK) {
        enum saga_err err = saga_sql_map(stmt->bind_code);
        saga_sql_reset(stmt);
        return saga_err_set(detail, err, "%s in: %.100s", sqlite3_errstr(stmt->bind_code),
                            stmt->text);
    }
    if (sql->in_transaction && sqlite3_get_autocommit(sql->db) != 0) {
        /* After some errors SQLite gives the whole transaction up. What came next would be
         * committed by itself. */
        saga_sql_reset(stmt);
        return saga_err_set(detail, SAGA_ERR_INTERNAL,
                            "the transaction was rolled back before: %.100s", stmt->text);
    }
    stmt->busy = true;
    int code = sqlite3_step(stmt->handle);
    if (code == SQLITE_ROW) {
        *row = true;
        return SAGA_ERR_OK;
    }
    enum saga_err err = SAGA_ERR_OK;
    if (code != SQLITE_DONE) {
        err = saga_sql_fail(sql, code, stmt->text, detail);
    }
    saga_sql_reset(stmt);
    return err;
}

enum saga_err saga_sql_run(struct saga_sql_stmt *stmt, int64_t *changes,
                           struct saga_err_detail *detail)
{
    /* sqlite3_changes() keeps its old value over statements that change nothing by their kind. */
    int64_t before = sqlite3_total_changes64(stmt->sql->db);
    bool row = true;
    while (row) {
        enum saga_err err = saga_sql_step(stmt, &row, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    if (changes != NULL) {
        bool changed = sqlite3_total_changes64(stmt->sql->db) != before;
        *changes = changed ? sqlite3_changes64(stmt->sql->db) : 0;
    }
    return SAGA_ERR_OK;
}

void saga_sql_reset(struct saga_sql_stmt *stmt)
{
    (void)sqlite3_reset(stmt->handle); /* repeats the code that step gave */
    stmt->busy = false;
}

/* ---- Reading ---- */

int64_t saga_sql_int(struct saga_sql_stmt *stmt, int at)
{
    return sqlite3_column_int64(stmt->handle, at);
}

const char *saga_sql_text(struct saga_sql_stmt *stmt, int at)
{
    const char *text = (const char *)sqlite3_column_text(stmt->handle, at);
    return text == NULL ? "" : text;
}

struct saga_bytes saga_sql_bytes(struct saga_sql_stmt *stmt, int at)
{
    const uint8_t *data = sqlite3_column_blob(stmt->handle, at);
    int size = sqlite3_column_bytes(stmt->handle, at);
    struct saga_bytes bytes = {.data = data, .size = data == NULL || size < 0 ? 0 : (size_t)size};
    return bytes;
}

int64_t saga_sql_last_rowid(struct saga_sql *sql)
{
    return sqlite3_last_insert_rowid(sql->db);
}
