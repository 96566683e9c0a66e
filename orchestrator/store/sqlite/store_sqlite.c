#include "orchestrator/store/sqlite/store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/store/sqlite/store_internal.h"

/* Rows that are written together lie together: ids and positions ascend with time, so all trees
 * grow at their right end, and sagas in flight are neighbours. The partial indexes hold only what
 * is searched for: what is in flight, and what did not end well. */
static const char *const migrations[] = {
    "CREATE TABLE descriptor_set("
    "  hash BLOB PRIMARY KEY,"
    "  bytes BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE definition("
    "  hash BLOB PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  descriptor_set BLOB NOT NULL REFERENCES descriptor_set(hash),"
    "  created_unix_ms INTEGER NOT NULL,"
    "  current INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX definition_current ON definition(name) WHERE current;"
    "CREATE TABLE saga("
    "  id BLOB NOT NULL,"
    "  definition_hash BLOB NOT NULL,"
    "  definition_name TEXT NOT NULL,"
    "  start_key TEXT NOT NULL,"
    "  start_digest BLOB NOT NULL,"
    "  state INTEGER NOT NULL,"
    "  live INTEGER NOT NULL,"
    "  seq INTEGER NOT NULL,"
    "  created_unix_ms INTEGER NOT NULL,"
    "  updated_unix_ms INTEGER NOT NULL,"
    "  ended_unix_ms INTEGER NOT NULL,"
    "  last_hash BLOB NOT NULL,"
    "  record BLOB NOT NULL,"
    "  context BLOB NOT NULL);"
    "CREATE UNIQUE INDEX saga_id ON saga(id);"
    "CREATE UNIQUE INDEX saga_key ON saga(definition_name, start_key);"
    "CREATE INDEX saga_definition ON saga(definition_name, id);"
    "CREATE INDEX saga_live ON saga(id) WHERE live;"
    "CREATE INDEX saga_turned ON saga(state, id) WHERE state >= 4;"
    "CREATE TABLE audit("
    "  position INTEGER PRIMARY KEY,"
    "  saga_id BLOB NOT NULL,"
    "  seq INTEGER NOT NULL,"
    "  time_unix_ms INTEGER NOT NULL,"
    "  event BLOB NOT NULL);"
    "CREATE UNIQUE INDEX audit_saga ON audit(saga_id, seq);"
    "CREATE TABLE outbox("
    "  position INTEGER PRIMARY KEY,"
    "  saga_id BLOB NOT NULL,"
    "  step INTEGER NOT NULL,"
    "  op INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL,"
    "  topic TEXT NOT NULL,"
    "  traceparent TEXT NOT NULL,"
    "  time_unix_ms INTEGER NOT NULL,"
    "  value BLOB NOT NULL);"
    "CREATE TABLE kafka_offset("
    "  topic TEXT NOT NULL,"
    "  partition INTEGER NOT NULL,"
    "  next_offset INTEGER NOT NULL,"
    "  PRIMARY KEY(topic, partition)) WITHOUT ROWID;"
    "CREATE TABLE cursor("
    "  name TEXT PRIMARY KEY,"
    "  position INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE lease("
    "  one INTEGER PRIMARY KEY CHECK(one = 1),"
    "  epoch INTEGER NOT NULL,"
    "  owner TEXT NOT NULL);",
    "CREATE TABLE definition_pause("
    "  name TEXT PRIMARY KEY,"
    "  paused INTEGER NOT NULL,"
    "  seq INTEGER NOT NULL,"
    "  last_hash BLOB NOT NULL,"
    "  who TEXT NOT NULL,"
    "  why TEXT NOT NULL,"
    "  since_unix_ms INTEGER NOT NULL) WITHOUT ROWID;",
    "ALTER TABLE definition_pause ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX definition_name ON definition(name, current, created_unix_ms);"
    "CREATE TABLE participant("
    "  service TEXT NOT NULL,"
    "  ordinal INTEGER NOT NULL,"
    "  address TEXT NOT NULL,"
    "  PRIMARY KEY(service, ordinal)) WITHOUT ROWID;",
    /* used: a saga began with it. Of sagas that are there already only the name is looked for. */
    "ALTER TABLE definition ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"
    "UPDATE definition SET used = EXISTS("
    "  SELECT 1 FROM saga WHERE definition_name = definition.name);"
    "CREATE INDEX definition_unused ON definition(hash) WHERE NOT used AND NOT current;"
    "CREATE TABLE definition_past("
    "  hash BLOB PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  created_unix_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX definition_past_name ON definition_past(name, created_unix_ms);",
};

_Static_assert(sizeof migrations / sizeof migrations[0] == STORE_VERSION_PAST, "the last one");

void store_bind_id(struct saga_sql_stmt *stmt, int at, const struct saga_id *id)
{
    saga_sql_bind_bytes(stmt, at, (struct saga_bytes){.data = id->b, .size = SAGA_ID_SIZE});
}

void store_bind_digest(struct saga_sql_stmt *stmt, int at, const uint8_t digest[SAGA_DIGEST_SIZE])
{
    saga_sql_bind_bytes(stmt, at, (struct saga_bytes){.data = digest, .size = SAGA_DIGEST_SIZE});
}

static enum saga_err read_fixed(struct saga_sql_stmt *stmt, int at, uint8_t *to, size_t size,
                                struct saga_err_detail *detail)
{
    struct saga_bytes bytes = saga_sql_bytes(stmt, at);
    if (bytes.size != size) {
        return saga_err_set(detail, SAGA_ERR_CORRUPT, "column %d has %zu bytes, not %zu", at,
                            bytes.size, size);
    }
    memcpy(to, bytes.data, size);
    return SAGA_ERR_OK;
}

enum saga_err store_read_id(struct saga_sql_stmt *stmt, int at, struct saga_id *id,
                            struct saga_err_detail *detail)
{
    return read_fixed(stmt, at, id->b, SAGA_ID_SIZE, detail);
}

enum saga_err store_read_digest(struct saga_sql_stmt *stmt, int at,
                                uint8_t digest[SAGA_DIGEST_SIZE], struct saga_err_detail *detail)
{
    return read_fixed(stmt, at, digest, SAGA_DIGEST_SIZE, detail);
}

enum saga_err store_check_write(const struct saga_store *store, struct saga_err_detail *detail)
{
    if (!store->open) {
        return saga_err_set(detail, SAGA_ERR_INTERNAL, "store: write outside a transaction");
    }
    if (store->epoch == 0) {
        return saga_err_set(detail, SAGA_ERR_FENCED, "store: write without the lease");
    }
    return SAGA_ERR_OK;
}

enum saga_err store_number(struct saga_sql *sql, const char *text, int64_t *number,
                           struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    *number = 0;
    enum saga_err err = saga_sql_prepare(sql, text, &stmt, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, &row, detail);
    }
    if (err == SAGA_ERR_OK && row) {
        *number = saga_sql_int(stmt, 0);
        saga_sql_reset(stmt);
    }
    return err;
}

void store_let_go(struct saga_store *store)
{
    if (store->found != NULL) {
        saga_sql_reset(store->found);
        store->found = NULL;
    }
}

/* ---- Transactions and the lease ---- */

static void store_rollback(struct saga_store *store)
{
    if (!store->open) {
        return;
    }
    store_let_go(store);
    saga_sql_rollback(store->sql);
    store_offsets_end(store, false);
    store->used_count = 0; /* what was noted is not, after all */
    store->audit_position = store->audit_committed;
    store->outbox_position = store->outbox_committed;
    store->epoch = store->epoch_before;
    store->open = false;
}

static enum saga_err store_begin(struct saga_store *store, struct saga_err_detail *detail)
{
    if (store->open) {
        return saga_err_set(detail, SAGA_ERR_INTERNAL, "store: begin: a transaction is open");
    }
    store_let_go(store);
    enum saga_err err = saga_sql_begin(store->sql, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: begin");
    }
    store->open = true;
    store->epoch_before = store->epoch;
    int64_t epoch = 0;
    err = store_number(store->sql, "SELECT epoch FROM lease WHERE one = 1", &epoch, detail);
    /* S8: who lost the lease changes nothing. The check is inside the transaction, so nobody can
     * take it in between. */
    if (err == SAGA_ERR_OK && store->epoch != 0 && (uint64_t)epoch != store->epoch &&
        !SAGA_BROKEN(S8_STORE)) {
        err = saga_err_set(detail, SAGA_ERR_FENCED, "the lease has epoch %lld, ours was %llu",
                           (long long)epoch, (unsigned long long)store->epoch);
    }
    if (err != SAGA_ERR_OK) {
        store_rollback(store);
        return saga_err_wrap(detail, err, "store: begin");
    }
    return SAGA_ERR_OK;
}

static enum saga_err store_commit(struct saga_store *store, struct saga_err_detail *detail)
{
    if (!store->open) {
        return saga_err_set(detail, SAGA_ERR_INTERNAL, "store: commit outside a transaction");
    }
    store_let_go(store);
    enum saga_err err = store_offsets_write(store, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_commit(store->sql, detail);
    }
    if (err != SAGA_ERR_OK) {
        store_rollback(store);
        return saga_err_wrap(detail, err, "store: commit");
    }
    store_offsets_end(store, true);
    store->audit_committed = store->audit_position;
    store->outbox_committed = store->outbox_position;
    store->open = false;
    return SAGA_ERR_OK;
}

#define TAKE(next)                                                                                 \
    "INSERT INTO lease(one, epoch, owner) VALUES(1, 1, ?1)"                                        \
    " ON CONFLICT(one) DO UPDATE SET epoch = " next ", owner = ?1"

static enum saga_err store_take_lease(struct saga_store *store, const char *owner, uint64_t *epoch,
                                      struct saga_err_detail *detail)
{
    if (!store->open) {
        return saga_err_set(detail, SAGA_ERR_INTERNAL, "store: write outside a transaction");
    }
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        store->sql, SAGA_BROKEN(S8_LEASE) ? TAKE("epoch") : TAKE("epoch + 1"), &stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, owner);
        err = saga_sql_run(stmt, NULL, detail);
    }
    int64_t taken = 0;
    if (err == SAGA_ERR_OK) {
        err = store_number(store->sql, "SELECT epoch FROM lease WHERE one = 1", &taken, detail);
    }
    /* The owner before may have written since we opened. */
    if (err == SAGA_ERR_OK) {
        err = store_load_positions(store, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = store_offsets_load(store, detail);
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "store: take lease");
    }
    store->epoch = (uint64_t)taken;
    *epoch = store->epoch;
    return SAGA_ERR_OK;
}

/* ---- Open and close ---- */

static void store_close(struct saga_store *store)
{
    if (store == NULL) {
        return;
    }
    store_rollback(store);
    /* The loop's connection last: the last one of a file checkpoints it. */
    saga_sql_close(store->audit_sql);
    saga_sql_close(store->outbox_sql);
    saga_sql_close(store->sql);
    store_offsets_fini(&store->offsets);
    free(store);
}

static const struct saga_store_ops store_ops = {
    .begin = store_begin,
    .commit = store_commit,
    .rollback = store_rollback,
    .insert_saga = store_insert_saga,
    .update_saga = store_update_saga,
    .append_audit = store_append_audit,
    .append_outbox = store_append_outbox,
    .set_offset = store_set_offset,
    .set_cursor = store_set_cursor,
    .put_definition = store_put_definition,
    .keep_child = store_keep_child,
    .remove_definition = store_remove_definition,
    .drop_definition = store_drop_definition,
    .put_participant = store_put_participant,
    .put_pause = store_put_pause,
    .take_lease = store_take_lease,
    .find_saga = store_find_saga,
    .find_key = store_find_key,
    .load_live = store_load_live,
    .list_sagas = store_list_sagas,
    .list_audit = store_list_audit,
    .list_definitions = store_list_definitions,
    .find_definition = store_find_definition,
    .list_versions = store_list_versions,
    .list_live_versions = store_list_live_versions,
    .list_unused_versions = store_list_unused_versions,
    .list_participants = store_list_participants,
    .list_pauses = store_list_pauses,
    .offset = store_offset,
    .cursor = store_cursor,
    .relay_audit = store_relay_audit,
    .relay_outbox = store_relay_outbox,
    .close = store_close,
};

static enum saga_err open_connections(struct saga_store *store, const char *vfs, const char *path,
                                      struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_open_on(vfs, path, SAGA_SQL_READ_WRITE, &store->sql, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_migrate(store->sql, migrations, sizeof migrations / sizeof migrations[0],
                               detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_open_on(vfs, path, SAGA_SQL_READ_ONLY, &store->audit_sql, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_open_on(vfs, path, SAGA_SQL_READ_ONLY, &store->outbox_sql, detail);
    }
    return err;
}

enum saga_err saga_store_sqlite_open(const char *path, struct saga_store_port *port,
                                     struct saga_err_detail *detail)
{
    return saga_store_sqlite_open_on(NULL, path, port, detail);
}

enum saga_err saga_store_sqlite_open_on(const char *vfs, const char *path,
                                        struct saga_store_port *port,
                                        struct saga_err_detail *detail)
{
    struct saga_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "store: open %s", path);
    }
    enum saga_err err = store_offsets_init(&store->offsets);
    if (err != SAGA_ERR_OK) {
        free(store);
        return saga_err_set(detail, err, "store: open %s", path);
    }
    err = open_connections(store, vfs, path, detail);
    if (err == SAGA_ERR_OK) {
        err = store_load_positions(store, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = store_offsets_load(store, detail);
    }
    if (err != SAGA_ERR_OK) {
        store_close(store);
        return saga_err_wrap(detail, err, "store: open");
    }
    port->ops = &store_ops;
    port->store = store;
    return SAGA_ERR_OK;
}

enum saga_err saga_store_sqlite_checkpoint_at(const struct saga_store_port *port, unsigned pages,
                                              struct saga_err_detail *detail)
{
    char text[64];
    SAGA_ASSERT(pages > 0);
    (void)snprintf(text, sizeof text, "PRAGMA wal_autocheckpoint = %u", pages);
    return saga_sql_exec(port->store->sql, text, detail);
}

/* ---- Looking into a file ---- */

static enum saga_err check_store(struct saga_store *store, uint64_t *saga_count,
                                 struct saga_err_detail *detail)
{
    int64_t version = 0;
    int64_t tables = 0;
    int64_t count = 0;
    enum saga_err err = store_number(store->sql, "PRAGMA user_version", &version, detail);
    if (err == SAGA_ERR_OK) {
        err = store_number(store->sql,
                           "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
                           " AND name IN ('saga', 'audit', 'definition', 'descriptor_set')",
                           &tables, detail);
    }
    if (err == SAGA_ERR_OK && (version < 1 || tables != 4)) {
        err = saga_err_set(detail, SAGA_ERR_INVALID,
                           "it is not a store of sagad (an SQLite database with other tables)");
    }
    if (err == SAGA_ERR_OK && (size_t)version > sizeof migrations / sizeof migrations[0]) {
        err = saga_err_set(detail, SAGA_ERR_CONFLICT,
                           "a newer program wrote it (schema %lld, this one knows up to %zu)",
                           (long long)version, sizeof migrations / sizeof migrations[0]);
    }
    store->looked_at_version = version;
    if (err == SAGA_ERR_OK && saga_count != NULL) {
        err = store_number(store->sql, "SELECT count(*) FROM saga", &count, detail);
        *saga_count = (uint64_t)count;
    }
    return err;
}

enum saga_err saga_store_sqlite_inspect(const char *path, struct saga_store_port *port,
                                        uint64_t *saga_count, struct saga_err_detail *detail)
{
    if (access(path, F_OK) != 0) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "%s: there is no such file", path);
    }
    struct saga_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "store: open %s", path);
    }
    enum saga_err err = store_offsets_init(&store->offsets);
    if (err != SAGA_ERR_OK) {
        free(store);
        return saga_err_set(detail, err, "store: open %s", path);
    }
    err = saga_sql_open(path, SAGA_SQL_INSPECT, &store->sql, detail);
    if (err == SAGA_ERR_INVALID) {
        (void)saga_err_set(detail, err, "%s: it is not a store of sagad (not an SQLite database)",
                           path);
    }
    if (err == SAGA_ERR_OK) {
        err = check_store(store, saga_count, detail);
        err = err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, path);
    }
    if (err != SAGA_ERR_OK) {
        store_close(store);
        return err;
    }
    port->ops = &store_ops;
    port->store = store;
    return SAGA_ERR_OK;
}

enum saga_err saga_store_sqlite_inspected(const struct saga_store_port *port,
                                          struct saga_err_detail *detail)
{
    return saga_sql_stood_still(port->store->sql, detail);
}
