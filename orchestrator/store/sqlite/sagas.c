/* Rows of sagas. */
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/store/sqlite/store_internal.h"

#define COLUMNS                                                                                    \
    "id, definition_hash, definition_name, start_key, start_digest, state, live, seq, "            \
    "created_unix_ms,"                                                                             \
    " updated_unix_ms, ended_unix_ms, last_hash, record, context"

/* enum saga_state, as far as an index depends on it (the engine is not this room's to know). */
enum { STATE_COMPENSATING = 2, STATE_COMPENSATED = 4 };

#define INSERT(verb)                                                                               \
    verb " INTO saga(" COLUMNS                                                                     \
         ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"

enum saga_err store_insert_saga(struct saga_store *store, const struct saga_row *row,
                                struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    err = saga_sql_prepare(store->sql,
                           SAGA_BROKEN(S10_SECOND) ? INSERT("INSERT OR REPLACE") : INSERT("INSERT"),
                           &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: insert saga");
    }
    store_bind_id(stmt, 1, &row->id);
    store_bind_digest(stmt, 2, row->definition_hash);
    saga_sql_bind_text(stmt, 3, row->definition_name);
    saga_sql_bind_text(stmt, 4, row->start_key);
    store_bind_digest(stmt, 5, row->start_digest);
    saga_sql_bind_int(stmt, 6, row->state);
    saga_sql_bind_int(stmt, 7, row->live ? 1 : 0);
    saga_sql_bind_int(stmt, 8, (int64_t)row->seq);
    saga_sql_bind_int(stmt, 9, row->created_unix_ms);
    saga_sql_bind_int(stmt, 10, row->updated_unix_ms);
    saga_sql_bind_int(stmt, 11, row->ended_unix_ms);
    store_bind_digest(stmt, 12, row->last_hash);
    saga_sql_bind_bytes(stmt, 13, row->record);
    saga_sql_bind_bytes(stmt, 14, row->context);
    err = saga_sql_run(stmt, NULL, detail);
    if (err == SAGA_ERR_OK) {
        err = store_note_used(store, row->definition_hash, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: insert saga");
}

enum saga_err store_update_saga(struct saga_store *store, const struct saga_row *row,
                                struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    err = saga_sql_prepare(
        store->sql,
        "UPDATE saga SET state = ?2, live = ?3, seq = ?4, updated_unix_ms = ?5, ended_unix_ms = ?6,"
        " last_hash = ?7, record = ?8, context = ?9 WHERE id = ?1 AND seq <= ?4",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: update saga");
    }
    store_bind_id(stmt, 1, &row->id);
    saga_sql_bind_int(stmt, 2, row->state);
    saga_sql_bind_int(stmt, 3, row->live ? 1 : 0);
    saga_sql_bind_int(stmt, 4, (int64_t)row->seq);
    saga_sql_bind_int(stmt, 5, row->updated_unix_ms);
    saga_sql_bind_int(stmt, 6, row->ended_unix_ms);
    store_bind_digest(stmt, 7, row->last_hash);
    saga_sql_bind_bytes(stmt, 8, row->record);
    saga_sql_bind_bytes(stmt, 9, row->context);
    int64_t changes = 0;
    err = saga_sql_run(stmt, &changes, detail);
    if (err == SAGA_ERR_OK && changes != 1) {
        err = saga_err_set(detail, SAGA_ERR_CONFLICT,
                           "the saga is not there, or its row is newer than seq %llu",
                           (unsigned long long)row->seq);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: update saga");
}

/* Reads the present row; texts and bytes point into the statement. */
static enum saga_err read_row(struct saga_sql_stmt *stmt, struct saga_row *row,
                              struct saga_err_detail *detail)
{
    enum saga_err err = store_read_id(stmt, 0, &row->id, detail);
    if (err == SAGA_ERR_OK) {
        err = store_read_digest(stmt, 1, row->definition_hash, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = store_read_digest(stmt, 4, row->start_digest, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = store_read_digest(stmt, 11, row->last_hash, detail);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    row->definition_name = saga_sql_text(stmt, 2);
    row->start_key = saga_sql_text(stmt, 3);
    row->state = (uint8_t)saga_sql_int(stmt, 5);
    row->live = saga_sql_int(stmt, 6) != 0;
    row->seq = (uint64_t)saga_sql_int(stmt, 7);
    row->created_unix_ms = saga_sql_int(stmt, 8);
    row->updated_unix_ms = saga_sql_int(stmt, 9);
    row->ended_unix_ms = saga_sql_int(stmt, 10);
    row->record = saga_sql_bytes(stmt, 12);
    row->context = saga_sql_bytes(stmt, 13);
    return SAGA_ERR_OK;
}

/* Steps a bound statement to its one row. The statement stays on it, so that the row lives until
 * the statement is used again. */
static enum saga_err find_row(struct saga_store *store, struct saga_sql_stmt *stmt,
                              struct saga_row *row, struct saga_err_detail *detail)
{
    bool there = false;
    enum saga_err err = saga_sql_step(stmt, &there, detail);
    if (err == SAGA_ERR_OK && !there) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "store: there is no such saga");
    }
    if (err == SAGA_ERR_OK) {
        store->found = stmt;
        err = read_row(stmt, row, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: find saga");
}

enum saga_err store_find_saga(struct saga_store *store, struct saga_id id, struct saga_row *row,
                              struct saga_err_detail *detail)
{
    store_let_go(store);
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err =
        saga_sql_prepare(store->sql, "SELECT " COLUMNS " FROM saga WHERE id = ?1", &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: find saga");
    }
    store->found_id = id; /* a bound value is borrowed until the statement is reset */
    store_bind_id(stmt, 1, &store->found_id);
    return find_row(store, stmt, row, detail);
}

enum saga_err store_find_key(struct saga_store *store, const char *definition_name,
                             const char *start_key, struct saga_row *row,
                             struct saga_err_detail *detail)
{
    store_let_go(store);
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        store->sql, "SELECT " COLUMNS " FROM saga WHERE definition_name = ?1 AND start_key = ?2",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: find saga");
    }
    saga_sql_bind_text(stmt, 1, definition_name);
    saga_sql_bind_text(stmt, 2, start_key);
    return find_row(store, stmt, row, detail);
}

/* Gives every row of a bound statement to a visitor. */
static enum saga_err visit_rows(struct saga_sql_stmt *stmt, saga_row_visit *visit, void *user,
                                struct saga_err_detail *detail)
{
    for (;;) {
        bool there = false;
        struct saga_row row;
        enum saga_err err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            return err;
        }
        err = read_row(stmt, &row, detail);
        if (err != SAGA_ERR_OK || !visit(user, &row)) {
            saga_sql_reset(stmt);
            return err;
        }
    }
}

static int64_t limit_of(size_t count_max)
{
    return count_max > INT64_MAX ? INT64_MAX : (int64_t)count_max;
}

enum saga_err store_load_live(struct saga_store *store, struct saga_id after, size_t count_max,
                              saga_row_visit *visit, void *user, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err =
        saga_sql_prepare(store->sql,
                         "SELECT " COLUMNS " FROM saga INDEXED BY saga_live WHERE live AND id > ?1"
                         " ORDER BY id LIMIT ?2",
                         &stmt, detail);
    if (err == SAGA_ERR_OK) {
        store_bind_id(stmt, 1, &after);
        saga_sql_bind_int(stmt, 2, limit_of(count_max));
        err = visit_rows(stmt, visit, user, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: load live sagas");
}

/* Newest first, by the index that has the fewest rows to pass over. ?1 before, ?2 limit, ?3 state,
 * ?4 name. */
#define LIST(index, condition)                                                                     \
    "SELECT " COLUMNS " FROM saga INDEXED BY " index " WHERE id < ?1 AND " condition               \
    " ORDER BY id DESC LIMIT ?2"

static const char *list_text(const struct saga_list_filter *filter)
{
    if (filter->state >= STATE_COMPENSATED) {
        return filter->definition_name == NULL
                   ? LIST("saga_turned", "state >= 4 AND state = ?3")
                   : LIST("saga_turned", "state >= 4 AND state = ?3 AND definition_name = ?4");
    }
    if (filter->state >= 1 && filter->state <= STATE_COMPENSATING) {
        return filter->definition_name == NULL
                   ? LIST("saga_live", "live AND state = ?3")
                   : LIST("saga_live", "live AND state = ?3 AND definition_name = ?4");
    }
    if (filter->state != 0) {
        return filter->definition_name == NULL
                   ? LIST("saga_id", "state = ?3")
                   : LIST("saga_definition", "state = ?3 AND definition_name = ?4");
    }
    return filter->definition_name == NULL ? LIST("saga_id", "TRUE")
                                           : LIST("saga_definition", "definition_name = ?4");
}

enum saga_err store_list_sagas(struct saga_store *store, const struct saga_list_filter *filter,
                               saga_row_visit *visit, void *user, struct saga_err_detail *detail)
{
    struct saga_id before;
    memset(before.b, 0xff, SAGA_ID_SIZE); /* no UUID is as high */
    if (filter->has_before) {
        before = filter->before;
    }
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(store->sql, list_text(filter), &stmt, detail);
    if (err == SAGA_ERR_OK) {
        store_bind_id(stmt, 1, &before);
        saga_sql_bind_int(stmt, 2, limit_of(filter->count_max));
        if (filter->state != 0) {
            saga_sql_bind_int(stmt, 3, filter->state);
        }
        if (filter->definition_name != NULL) {
            saga_sql_bind_text(stmt, 4, filter->definition_name);
        }
        err = visit_rows(stmt, visit, user, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list sagas");
}
