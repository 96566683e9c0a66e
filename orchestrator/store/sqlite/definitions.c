/* Versions of saga definitions. A descriptor set is stored once, however many definitions come from
 * it. Of a version that was dropped it stays known that there was one (definition_past): a daemon
 * that has it in its own set must not take it for new, and the history is told as it was. */
#include <string.h>

#include <openssl/sha.h>

#include "orchestrator/store/sqlite/store_internal.h"

#define DROP_SETS                                                                                  \
    "DELETE FROM descriptor_set WHERE hash NOT IN (SELECT descriptor_set FROM definition)"
#define FORGET_CURRENT "UPDATE definition SET current = 0 WHERE name = ?1 AND current"

static enum saga_err run_digests(struct saga_sql *sql, const char *text, const uint8_t *digest,
                                 struct saga_bytes bytes, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(sql, text, &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (digest != NULL) {
        store_bind_digest(stmt, 1, digest);
        saga_sql_bind_bytes(stmt, 2, bytes);
    }
    return saga_sql_run(stmt, NULL, detail);
}

static enum saga_err run_hash(struct saga_sql *sql, const char *text, const uint8_t *hash,
                              struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(sql, text, &stmt, detail);
    if (err == SAGA_ERR_OK) {
        store_bind_digest(stmt, 1, hash);
        err = saga_sql_run(stmt, NULL, detail);
    }
    return err;
}

static enum saga_err put_version(struct saga_store *store, const uint8_t *hash, const char *name,
                                 const uint8_t *set, int64_t now_unix_ms,
                                 struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(store->sql, FORGET_CURRENT, &stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, name);
        err = saga_sql_run(stmt, NULL, detail);
    }
    /* The same version with another set: comments or unrelated files changed; the newest is the one
     * to show. */
    if (err == SAGA_ERR_OK) {
        err = saga_sql_prepare(
            store->sql,
            "INSERT INTO definition(hash, name, descriptor_set, created_unix_ms, current)"
            " VALUES(?1, ?2, ?3, coalesce((SELECT created_unix_ms FROM definition_past"
            "   WHERE hash = ?1), ?4), 1) ON CONFLICT(hash) DO UPDATE"
            " SET descriptor_set = excluded.descriptor_set, current = 1",
            &stmt, detail);
    }
    if (err == SAGA_ERR_OK) {
        store_bind_digest(stmt, 1, hash);
        saga_sql_bind_text(stmt, 2, name);
        store_bind_digest(stmt, 3, set);
        saga_sql_bind_int(stmt, 4, now_unix_ms);
        err = saga_sql_run(stmt, NULL, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = run_hash(store->sql, "DELETE FROM definition_past WHERE hash = ?1", hash, detail);
    }
    return err;
}

enum saga_err store_put_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                   const char *name, struct saga_bytes descriptor_set,
                                   int64_t now_unix_ms, struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    store->used_count = 0; /* a row that is new is not noted yet */
    uint8_t set[SAGA_DIGEST_SIZE];
    if (SHA256(descriptor_set.data, descriptor_set.size, set) == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "store: put definition: no digest");
    }
    err = run_digests(
        store->sql, "INSERT INTO descriptor_set(hash, bytes) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
        set, descriptor_set, detail);
    if (err == SAGA_ERR_OK) {
        err = put_version(store, hash, name, set, now_unix_ms, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = run_digests(store->sql, DROP_SETS, NULL, (struct saga_bytes){0}, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: put definition");
}

/* A saga may have begun with it nevertheless: older programs did not keep it. */
#define CHILD                                                                                      \
    "INSERT INTO definition(hash, name, descriptor_set, created_unix_ms, current, used)"           \
    " SELECT ?1, ?2, descriptor_set, coalesce((SELECT created_unix_ms FROM definition_past"        \
    "   WHERE hash = ?1), ?4), 0, EXISTS(SELECT 1 FROM saga"                                       \
    "   WHERE definition_name = ?2 AND definition_hash = ?1)"                                      \
    " FROM definition WHERE hash = ?3 AND NOT EXISTS(SELECT 1 FROM definition WHERE hash = ?1)"

enum saga_err store_keep_child(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                               const char *name, const uint8_t parent_hash[SAGA_DIGEST_SIZE],
                               int64_t now_unix_ms, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    int64_t added = 0;
    enum saga_err err = store_check_write(store, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_prepare(store->sql, CHILD, &stmt, detail);
    }
    if (err == SAGA_ERR_OK) {
        store_bind_digest(stmt, 1, hash);
        saga_sql_bind_text(stmt, 2, name);
        store_bind_digest(stmt, 3, parent_hash);
        saga_sql_bind_int(stmt, 4, now_unix_ms);
        err = saga_sql_run(stmt, &added, detail);
    }
    if (err == SAGA_ERR_OK && added > 0) {
        store->used_count = 0;
        err = run_hash(store->sql, "DELETE FROM definition_past WHERE hash = ?1", hash, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: keep child");
}

enum saga_err store_list_definitions(struct saga_store *store, saga_definition_visit *visit,
                                     void *user, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err =
        saga_sql_prepare(store->sql,
                         "SELECT d.hash, d.name, s.bytes, d.current FROM definition d"
                         " JOIN descriptor_set s ON s.hash = d.descriptor_set"
                         " ORDER BY d.name, d.current, d.created_unix_ms",
                         &stmt, detail);
    while (err == SAGA_ERR_OK) {
        bool there = false;
        uint8_t hash[SAGA_DIGEST_SIZE];
        err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            break;
        }
        err = store_read_digest(stmt, 0, hash, detail);
        if (err != SAGA_ERR_OK || !visit(user, hash, saga_sql_text(stmt, 1),
                                         saga_sql_bytes(stmt, 2), saga_sql_int(stmt, 3) != 0)) {
            saga_sql_reset(stmt);
            break;
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list definitions");
}

enum saga_err store_remove_definition(struct saga_store *store, const char *name,
                                      struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = store_check_write(store, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_prepare(store->sql, FORGET_CURRENT, &stmt, detail);
    }
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, name);
        err = saga_sql_run(stmt, NULL, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: remove definition");
}

enum saga_err store_find_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                    saga_definition_visit *visit, void *user,
                                    struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    enum saga_err err =
        saga_sql_prepare(store->sql,
                         "SELECT d.name, s.bytes, d.current FROM definition d"
                         " JOIN descriptor_set s ON s.hash = d.descriptor_set WHERE d.hash = ?1",
                         &stmt, detail);
    if (err == SAGA_ERR_OK) {
        store_bind_digest(stmt, 1, hash);
        err = saga_sql_step(stmt, &there, detail);
    }
    if (err == SAGA_ERR_OK && !there) {
        err = saga_err_set(detail, SAGA_ERR_NOT_FOUND, "no definition has this hash");
    }
    if (err == SAGA_ERR_OK) {
        (void)visit(user, hash, saga_sql_text(stmt, 0), saga_sql_bytes(stmt, 1),
                    saga_sql_int(stmt, 2) != 0);
        saga_sql_reset(stmt);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: find definition");
}

#define VERSIONS                                                                                   \
    "SELECT hash, name, current, created_unix_ms, 0 FROM definition WHERE ?1 = '' OR name = ?1 "
#define PAST                                                                                       \
    " SELECT hash, name, 0, created_unix_ms, 1 FROM definition_past WHERE ?1 = '' OR name = ?1"
#define ORDERED " ORDER BY name, current DESC, created_unix_ms DESC, hash LIMIT ?2"

enum saga_err store_list_versions(struct saga_store *store, const char *name, size_t count_max,
                                  saga_definition_row_visit *visit, void *user,
                                  struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    /* An older file that is only looked at has no versions that were dropped. */
    enum saga_err err = saga_sql_prepare(store->sql,
                                         store->looked_at_version != 0 &&
                                                 store->looked_at_version < STORE_VERSION_PAST
                                             ? VERSIONS ORDERED
                                             : VERSIONS "UNION ALL" PAST ORDERED,
                                         &stmt, detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, name == NULL ? "" : name);
        saga_sql_bind_int(stmt, 2, (int64_t)count_max);
    }
    while (err == SAGA_ERR_OK) {
        bool there = false;
        uint8_t hash[SAGA_DIGEST_SIZE];
        err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            break;
        }
        err = store_read_digest(stmt, 0, hash, detail);
        struct saga_definition_row row = {
            .hash = hash,
            .name = saga_sql_text(stmt, 1),
            .current = saga_sql_int(stmt, 2) != 0,
            .created_unix_ms = saga_sql_int(stmt, 3),
            .dropped = saga_sql_int(stmt, 4) != 0,
        };
        if (err != SAGA_ERR_OK || !visit(user, &row)) {
            saga_sql_reset(stmt);
            break;
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list versions");
}

/* Gives the hashes of a query's first column. */
static enum saga_err visit_hashes(struct saga_sql_stmt *stmt, saga_hash_visit *visit, void *user,
                                  struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    while (err == SAGA_ERR_OK) {
        bool there = false;
        uint8_t hash[SAGA_DIGEST_SIZE];
        err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            break;
        }
        err = store_read_digest(stmt, 0, hash, detail);
        if (err != SAGA_ERR_OK || !visit(user, hash)) {
            saga_sql_reset(stmt);
            break;
        }
    }
    return err;
}

enum saga_err store_list_live_versions(struct saga_store *store, saga_hash_visit *visit, void *user,
                                       struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        store->sql, "SELECT DISTINCT definition_hash FROM saga WHERE live", &stmt, detail);
    if (err == SAGA_ERR_OK) {
        err = visit_hashes(stmt, visit, user, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list live versions");
}

/* ---- Versions that nobody began with ---- */

enum saga_err store_note_used(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                              struct saga_err_detail *detail)
{
    size_t known = store->used_count < STORE_USED_MAX ? store->used_count : STORE_USED_MAX;
    for (size_t i = 0; i < known; i++) {
        if (memcmp(store->used[i], hash, SAGA_DIGEST_SIZE) == 0) {
            return SAGA_ERR_OK;
        }
    }
    struct saga_sql_stmt *stmt = NULL;
    int64_t noted = 0;
    enum saga_err err = saga_sql_prepare(
        store->sql, "UPDATE definition SET used = 1 WHERE hash = ?1", &stmt, detail);
    if (err == SAGA_ERR_OK) {
        store_bind_digest(stmt, 1, hash);
        err = saga_sql_run(stmt, &noted, detail);
    }
    if (err == SAGA_ERR_OK && noted == 0) {
        err = saga_err_set(detail, SAGA_ERR_INTERNAL,
                           "the definition version that it begins with is not stored");
    }
    if (err == SAGA_ERR_OK) {
        memcpy(store->used[store->used_count++ % STORE_USED_MAX], hash, SAGA_DIGEST_SIZE);
    }
    return err;
}

enum saga_err store_list_unused_versions(struct saga_store *store, size_t count_max,
                                         saga_hash_visit *visit, void *user,
                                         struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        store->sql, "SELECT hash FROM definition WHERE NOT used AND NOT current LIMIT ?1", &stmt,
        detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_int(stmt, 1, (int64_t)count_max);
        err = visit_hashes(stmt, visit, user, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list unused versions");
}

#define UNUSED " FROM definition WHERE hash = ?1 AND NOT used AND NOT current"

enum saga_err store_drop_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                    struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err == SAGA_ERR_OK) {
        err = run_hash(store->sql,
                       "INSERT INTO definition_past(hash, name, created_unix_ms)"
                       " SELECT hash, name, created_unix_ms" UNUSED,
                       hash, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = run_hash(store->sql, "DELETE" UNUSED, hash, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = run_digests(store->sql, DROP_SETS, NULL, (struct saga_bytes){0}, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: drop definition");
}
