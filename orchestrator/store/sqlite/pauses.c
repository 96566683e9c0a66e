/* What was done last to definitions: paused, or let go on. */
#include "orchestrator/store/sqlite/store_internal.h"

enum saga_err store_put_pause(struct saga_store *store, const struct saga_pause_row *row,
                              struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    err = saga_sql_prepare(
        store->sql,
        "INSERT INTO definition_pause(name, paused, seq, last_hash, who, why, since_unix_ms, "
        "removed)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(name) DO UPDATE SET"
        " paused = excluded.paused, seq = excluded.seq, last_hash = excluded.last_hash,"
        " who = excluded.who, why = excluded.why, since_unix_ms = excluded.since_unix_ms,"
        " removed = excluded.removed"
        " WHERE seq < excluded.seq",
        &stmt, detail);
    int64_t changes = 0;
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, row->definition_name);
        saga_sql_bind_int(stmt, 2, row->paused ? 1 : 0);
        saga_sql_bind_int(stmt, 3, (int64_t)row->seq);
        store_bind_digest(stmt, 4, row->last_hash);
        saga_sql_bind_text(stmt, 5, row->who);
        saga_sql_bind_text(stmt, 6, row->why);
        saga_sql_bind_int(stmt, 7, row->since_unix_ms);
        saga_sql_bind_int(stmt, 8, row->removed ? 1 : 0);
        err = saga_sql_run(stmt, &changes, detail);
    }
    if (err == SAGA_ERR_OK && changes != 1) {
        err = saga_err_set(detail, SAGA_ERR_CONFLICT, "\"%s\": an act as new as seq %llu is there",
                           row->definition_name, (unsigned long long)row->seq);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: put pause");
}

/* How a file that is only looked into tells of acts: it may be of a program that knew no pauses, or
 * no removal. NULL: not at all. */
static enum saga_err find_query(struct saga_store *store, const char **query,
                                struct saga_err_detail *detail)
{
    int64_t columns = 0;
    int64_t removed = 0;
    enum saga_err err = store_number(
        store->sql, "SELECT count(*) FROM pragma_table_info('definition_pause')", &columns, detail);
    if (err == SAGA_ERR_OK) {
        err = store_number(store->sql,
                           "SELECT count(*) FROM pragma_table_info('definition_pause')"
                           " WHERE name = 'removed'",
                           &removed, detail);
    }
#define QUERY(removed)                                                                             \
    "SELECT name, paused, seq, last_hash, who, why, since_unix_ms, " removed                       \
    " FROM definition_pause ORDER BY name"
    *query = columns == 0 ? NULL : removed == 0 ? QUERY("0") : QUERY("removed");
#undef QUERY
    return err;
}

static enum saga_err visit_rows(struct saga_sql_stmt *stmt, saga_pause_visit *visit, void *user,
                                struct saga_err_detail *detail)
{
    for (;;) {
        bool there = false;
        struct saga_pause_row row;
        enum saga_err err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            return err;
        }
        row = (struct saga_pause_row){
            .definition_name = saga_sql_text(stmt, 0),
            .paused = saga_sql_int(stmt, 1) != 0,
            .seq = (uint64_t)saga_sql_int(stmt, 2),
            .who = saga_sql_text(stmt, 4),
            .why = saga_sql_text(stmt, 5),
            .since_unix_ms = saga_sql_int(stmt, 6),
            .removed = saga_sql_int(stmt, 7) != 0,
        };
        err = store_read_digest(stmt, 3, row.last_hash, detail);
        if (err != SAGA_ERR_OK || !visit(user, &row)) {
            saga_sql_reset(stmt);
            return err;
        }
    }
}

enum saga_err store_list_pauses(struct saga_store *store, saga_pause_visit *visit, void *user,
                                struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    const char *query = NULL;
    enum saga_err err = find_query(store, &query, detail);
    if (err == SAGA_ERR_OK && query != NULL) {
        err = saga_sql_prepare(store->sql, query, &stmt, detail);
        if (err == SAGA_ERR_OK) {
            err = visit_rows(stmt, visit, user, detail);
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list pauses");
}
