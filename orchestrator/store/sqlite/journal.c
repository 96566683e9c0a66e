/* The log of events (audit) and the outbox of commands for Kafka, and how far the relays are. */
#include <string.h>

#include "orchestrator/store/sqlite/store_internal.h"

#include "common/base/canary.h"

enum saga_err store_load_positions(struct saga_store *store, struct saga_err_detail *detail)
{
    /* Rows behind a cursor may be gone, so the cursor counts too. */
    enum saga_err err =
        store_number(store->sql,
                     "SELECT max(coalesce((SELECT max(position) FROM audit), 0),"
                     " coalesce((SELECT position FROM cursor WHERE name = 'audit'), 0))",
                     &store->audit_position, detail);
    if (err == SAGA_ERR_OK) {
        err = store_number(store->sql,
                           "SELECT max(coalesce((SELECT max(position) FROM outbox), 0),"
                           " coalesce((SELECT position FROM cursor WHERE name = 'outbox'), 0))",
                           &store->outbox_position, detail);
    }
    if (err == SAGA_ERR_OK) {
        store->audit_committed = store->audit_position;
        store->outbox_committed = store->outbox_position;
    }
    return err;
}

enum saga_err store_append_audit(struct saga_store *store, const struct saga_audit_row *row,
                                 struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    err = saga_sql_prepare(
        store->sql,
        "INSERT INTO audit(position, saga_id, seq, time_unix_ms, event) VALUES(?1, ?2, ?3, ?4, ?5)",
        &stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_int(stmt, 1, store->audit_position + 1);
        store_bind_id(stmt, 2, &row->id);
        saga_sql_bind_int(stmt, 3, (int64_t)row->seq);
        saga_sql_bind_int(stmt, 4, row->time_unix_ms);
        saga_sql_bind_bytes(stmt, 5, row->event);
        err = saga_sql_run(stmt, NULL, detail);
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: append audit");
    }
    store->audit_position++;
    return SAGA_ERR_OK;
}

enum saga_err store_append_outbox(struct saga_store *store, const struct saga_outbox_row *row,
                                  int64_t *position, struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    err = saga_sql_prepare(
        store->sql,
        "INSERT INTO outbox(position, saga_id, step, op, attempt, topic, traceparent, time_unix_ms,"
        " value) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_int(stmt, 1, store->outbox_position + 1);
        store_bind_id(stmt, 2, &row->id);
        saga_sql_bind_int(stmt, 3, row->step);
        saga_sql_bind_int(stmt, 4, row->op);
        saga_sql_bind_int(stmt, 5, row->attempt);
        saga_sql_bind_text(stmt, 6, row->topic);
        saga_sql_bind_text(stmt, 7, row->traceparent == NULL ? "" : row->traceparent);
        saga_sql_bind_int(stmt, 8, row->time_unix_ms);
        saga_sql_bind_bytes(stmt, 9, row->value);
        err = saga_sql_run(stmt, NULL, detail);
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: append outbox");
    }
    store->outbox_position++;
    if (position != NULL) {
        *position = store->outbox_position;
    }
    return SAGA_ERR_OK;
}

enum saga_err store_set_cursor(struct saga_store *store, const char *name, int64_t position,
                               struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    err = saga_sql_prepare(
        store->sql,
        "INSERT INTO cursor(name, position) VALUES(?1, ?2)"
        " ON CONFLICT(name) DO UPDATE SET position = max(position, excluded.position)",
        &stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, name);
        saga_sql_bind_int(stmt, 2, position);
        err = saga_sql_run(stmt, NULL, detail);
    }
    if (err == SAGA_ERR_OK && strcmp(name, "outbox") == 0) {
        err =
            saga_sql_prepare(store->sql, "DELETE FROM outbox WHERE position <= ?1", &stmt, detail);
        if (err == SAGA_ERR_OK) {
            saga_sql_bind_int(stmt, 1, position + (SAGA_BROKEN(S6_OUTBOX_PRUNED) ? 1 : 0));
            err = saga_sql_run(stmt, NULL, detail);
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: set cursor");
}

int64_t store_cursor(struct saga_store *store, const char *name)
{
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    int64_t position = 0;
    if (saga_sql_prepare(store->sql, "SELECT position FROM cursor WHERE name = ?1", &stmt, NULL) !=
        SAGA_ERR_OK) {
        return -1;
    }
    saga_sql_bind_text(stmt, 1, name);
    if (saga_sql_step(stmt, &there, NULL) != SAGA_ERR_OK) {
        return -1; /* 0 would publish everything again */
    }
    if (there) {
        position = saga_sql_int(stmt, 0);
        saga_sql_reset(stmt);
    }
    return position;
}

/* Gives every row of a bound statement to a visitor. Columns: position, saga_id, seq, time_unix_ms,
 * event. */
static enum saga_err visit_audit(struct saga_sql_stmt *stmt, saga_audit_visit *visit, void *user,
                                 struct saga_err_detail *detail)
{
    for (;;) {
        bool there = false;
        struct saga_audit_row row;
        enum saga_err err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            return err;
        }
        err = store_read_id(stmt, 1, &row.id, detail);
        row.position = saga_sql_int(stmt, 0);
        row.seq = (uint64_t)saga_sql_int(stmt, 2);
        row.time_unix_ms = saga_sql_int(stmt, 3);
        row.event = saga_sql_bytes(stmt, 4);
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

enum saga_err store_list_audit(struct saga_store *store, const struct saga_audit_range *range,
                               saga_audit_visit *visit, void *user, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err =
        saga_sql_prepare(store->sql,
                         "SELECT position, saga_id, seq, time_unix_ms, event FROM audit"
                         " WHERE saga_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                         &stmt, detail);
    if (err == SAGA_ERR_OK) {
        int64_t after = range->after_seq > INT64_MAX ? INT64_MAX : (int64_t)range->after_seq;
        store_bind_id(stmt, 1, &range->id);
        saga_sql_bind_int(stmt, 2, after);
        saga_sql_bind_int(stmt, 3, limit_of(range->count_max));
        err = visit_audit(stmt, visit, user, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list audit");
}

enum saga_err store_relay_audit(struct saga_store *store, int64_t after, size_t count_max,
                                saga_audit_visit *visit, void *user, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err =
        saga_sql_prepare(store->audit_sql,
                         "SELECT position, saga_id, seq, time_unix_ms, event FROM audit"
                         " WHERE position > ?1 ORDER BY position LIMIT ?2",
                         &stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_int(stmt, 1, after + (after > 0 && SAGA_BROKEN(S9_ROW_SKIPPED) ? 1 : 0));
        saga_sql_bind_int(stmt, 2, limit_of(count_max));
        err = visit_audit(stmt, visit, user, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: relay audit");
}

enum saga_err store_relay_outbox(struct saga_store *store, int64_t after, size_t count_max,
                                 bool (*visit)(void *user, const struct saga_outbox_row *row),
                                 void *user, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err =
        saga_sql_prepare(store->outbox_sql,
                         "SELECT position, saga_id, step, op, attempt, topic, traceparent,"
                         " time_unix_ms, value FROM outbox WHERE position > ?1"
                         " ORDER BY position LIMIT ?2",
                         &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: relay outbox");
    }
    saga_sql_bind_int(stmt, 1, after);
    saga_sql_bind_int(stmt, 2, limit_of(count_max));
    for (;;) {
        bool there = false;
        err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            break;
        }
        struct saga_outbox_row row = {
            .position = saga_sql_int(stmt, 0),
            .step = (uint8_t)saga_sql_int(stmt, 2),
            .op = (enum saga_op)saga_sql_int(stmt, 3),
            .attempt = (uint32_t)saga_sql_int(stmt, 4),
            .topic = saga_sql_text(stmt, 5),
            .traceparent = saga_sql_text(stmt, 6),
            .time_unix_ms = saga_sql_int(stmt, 7),
            .value = saga_sql_bytes(stmt, 8),
        };
        err = store_read_id(stmt, 1, &row.id, detail);
        if (err != SAGA_ERR_OK || !visit(user, &row)) {
            saga_sql_reset(stmt);
            break;
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: relay outbox");
}
