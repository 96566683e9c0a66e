#include "services/kit/barrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/base/limits.h"

/* A saga has at most one call and one undo of each step. */
enum { ROWS_MAX = 2 * SAGA_STEPS_MAX };

struct saga_barrier {
    struct saga_sql *sql;
    EVP_MD *sha256; /* fetched once: a fetch costs more than the digest of a small payload */
    EVP_MD_CTX *digest;
};

/* `position` must never be used twice, not even after its row was pruned (it is the event's id and
 * the relay's cursor): hence AUTOINCREMENT. The key leads with the saga: UUIDv7, so that rows
 * written together lie together. Dead letters have no saga; NULLs do not collide. */
static const char *const migrations[] = {
    "CREATE TABLE barrier ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT,"
    " saga_id BLOB,"
    " step TEXT NOT NULL,"
    " op INTEGER NOT NULL,"
    " method TEXT NOT NULL,"
    " digest BLOB NOT NULL,"
    " code INTEGER NOT NULL,"
    " reason TEXT NOT NULL,"
    " message TEXT NOT NULL,"
    " payload BLOB NOT NULL,"
    " empty INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL,"
    " via INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL,"
    " traceparent TEXT NOT NULL,"
    " time_unix_ms INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX barrier_key ON barrier (saga_id, step, op);"
    "CREATE TABLE dead_letter ("
    " position INTEGER PRIMARY KEY REFERENCES barrier (position) ON DELETE CASCADE,"
    " key BLOB NOT NULL,"
    " value BLOB NOT NULL,"
    " headers BLOB NOT NULL) STRICT;"
    "CREATE TABLE relay_cursor (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL) "
    "STRICT;"
    "INSERT INTO relay_cursor VALUES (1, 0);"
    "CREATE TABLE kafka_position ("
    " topic TEXT NOT NULL,"
    " partition INTEGER NOT NULL,"
    " next_offset INTEGER NOT NULL,"
    " PRIMARY KEY (topic, partition)) STRICT, WITHOUT ROWID;",
};

/* The kit's tables have a version of their own, so that the domain's (PRAGMA user_version) and the
 * kit's can grow independently. */
enum saga_err saga_barrier_migrate(struct saga_sql *sql, struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_begin(sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    err = saga_sql_exec(
        sql, "CREATE TABLE IF NOT EXISTS kit_version (version INTEGER NOT NULL) STRICT", detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_prepare(sql, "SELECT coalesce(max(version), 0) FROM kit_version", &stmt,
                               detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, &row, detail);
    }
    const int64_t count = (int64_t)(sizeof migrations / sizeof migrations[0]);
    int64_t version = 0;
    if (stmt != NULL) {
        version = err == SAGA_ERR_OK && row ? saga_sql_int(stmt, 0) : 0;
        saga_sql_reset(stmt);
    }
    if (err == SAGA_ERR_OK && version > count) {
        err = saga_err_set(detail, SAGA_ERR_CONFLICT,
                           "the kit's tables have version %lld, this program knows %lld",
                           (long long)version, (long long)count);
    }
    for (; err == SAGA_ERR_OK && version < count; version++) {
        err = saga_sql_exec(sql, migrations[version], detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_exec(sql, "DELETE FROM kit_version", detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_prepare(sql, "INSERT INTO kit_version VALUES (?1)", &stmt, detail);
    }
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_int(stmt, 1, version);
        err = saga_sql_run(stmt, NULL, detail);
    }
    if (err == SAGA_ERR_OK) {
        return saga_sql_commit(sql, detail);
    }
    saga_sql_rollback(sql);
    return saga_err_wrap(detail, err, "kit tables");
}

enum saga_err saga_barrier_open(struct saga_sql *sql, struct saga_barrier **barrier)
{
    struct saga_barrier *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->sql = sql;
    made->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    made->digest = EVP_MD_CTX_new();
    if (made->sha256 == NULL || made->digest == NULL) {
        saga_barrier_close(made);
        return SAGA_ERR_NO_MEMORY;
    }
    *barrier = made;
    return SAGA_ERR_OK;
}

void saga_barrier_close(struct saga_barrier *barrier)
{
    if (barrier == NULL) {
        return;
    }
    EVP_MD_CTX_free(barrier->digest);
    EVP_MD_free(barrier->sha256);
    free(barrier);
}

bool saga_barrier_keeps(enum saga_op op, uint32_t code)
{
    switch (saga_code_class(code)) {
    case SAGA_CODE_CLASS_SUCCESS:
        return true;
    case SAGA_CODE_CLASS_REJECT:
        return op == SAGA_OP_CALL && !SAGA_BROKEN(B6_NO_FORGOTTEN);
    case SAGA_CODE_CLASS_RETRY:
        return op == SAGA_OP_CALL && SAGA_BROKEN(B6_RETRY_KEPT);
    case SAGA_CODE_CLASS_UNKNOWN:
    case SAGA_CODE_CLASS_PARK:
        return false;
    }
    return false;
}

/* SHA-256 over the method, a zero byte, and the payload. */
static enum saga_err digest_of(struct saga_barrier *barrier, const struct saga_command *command,
                               uint8_t digest[SAGA_BARRIER_DIGEST_SIZE],
                               struct saga_err_detail *detail)
{
    unsigned size = 0;
    bool ok =
        EVP_DigestInit_ex(barrier->digest, barrier->sha256, NULL) == 1 &&
        EVP_DigestUpdate(barrier->digest, command->method,
                         SAGA_BROKEN(B5_METHOD) ? 0 : strlen(command->method) + 1) == 1 &&
        EVP_DigestUpdate(barrier->digest, command->payload.data, command->payload.size) == 1 &&
        EVP_DigestFinal_ex(barrier->digest, digest, &size) == 1;
    if (!ok) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "barrier: SHA-256 failed");
    }
    SAGA_ASSERT(size == SAGA_BARRIER_DIGEST_SIZE);
    return SAGA_ERR_OK;
}

/* What is known of the saga in this service. */
struct view {
    int64_t rows;
    int64_t epoch_max;
    bool has_call; /* of this step */
    bool has_undo;
    bool call_ok;
    int64_t own_position; /* of the row with the command's own key; 0: none */
    int64_t own_epoch;
    bool own_same; /* its digest is the command's */
};

static const char *copy_text(struct saga_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = saga_arena_take(arena, size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

/* Takes the stored reply into the arena. */
static enum saga_err take_reply(struct saga_sql_stmt *stmt, struct saga_arena *arena,
                                struct saga_barrier_pass *pass)
{
    struct saga_bytes payload = saga_sql_bytes(stmt, 7);
    payload.size = SAGA_BROKEN(B1_REPLY_LOST) ? 0 : payload.size;
    uint8_t *copy = saga_arena_take(arena, payload.size + 1);
    const char *reason = copy_text(arena, saga_sql_text(stmt, 5));
    const char *message = copy_text(arena, saga_sql_text(stmt, 6));
    if (copy == NULL || reason == NULL || message == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    if (payload.size > 0) {
        memcpy(copy, payload.data, payload.size);
    }
    pass->payload = (struct saga_bytes){.data = copy, .size = payload.size};
    pass->status = (struct saga_status){.code = (uint32_t)saga_sql_int(stmt, 4),
                                        .reason = reason,
                                        .message = message,
                                        .retry_after_ms = 0};
    pass->empty = saga_sql_int(stmt, 8) != 0;
    return SAGA_ERR_OK;
}

static enum saga_err look(struct saga_barrier *barrier, const struct saga_command *command,
                          struct saga_arena *arena, struct saga_barrier_pass *pass,
                          struct view *view, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        barrier->sql,
        "SELECT step, op, epoch, digest, code, reason, message, payload, empty, position"
        " FROM barrier WHERE saga_id = ?1 LIMIT ?2",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_bytes(stmt, 1,
                        (struct saga_bytes){.data = command->saga_id.b, .size = SAGA_ID_SIZE});
    saga_sql_bind_int(stmt, 2, ROWS_MAX);
    bool row = false;
    while ((err = saga_sql_step(stmt, &row, detail)) == SAGA_ERR_OK && row) {
        int64_t epoch = saga_sql_int(stmt, 2);
        view->rows++;
        view->epoch_max = epoch > view->epoch_max ? epoch : view->epoch_max;
        if (strcmp(saga_sql_text(stmt, 0), command->step) != 0) {
            continue;
        }
        int64_t op = saga_sql_int(stmt, 1);
        if (op == SAGA_OP_CALL) {
            view->has_call = true;
            view->call_ok = saga_sql_int(stmt, 4) == SAGA_CODE_OK;
        } else {
            view->has_undo = true;
        }
        if (op == (int64_t)command->op) {
            struct saga_bytes digest = {.data = pass->digest, .size = SAGA_BARRIER_DIGEST_SIZE};
            view->own_position = saga_sql_int(stmt, 9);
            view->own_epoch = epoch;
            view->own_same = saga_bytes_equal(saga_sql_bytes(stmt, 3), digest);
            err = take_reply(stmt, arena, pass);
            if (err != SAGA_ERR_OK || SAGA_BROKEN(S8_LATER_ROWS)) {
                break;
            }
        }
    }
    saga_sql_reset(stmt);
    return err;
}

/* A stale orchestrator must not act through a replay either: the row remembers the newest epoch
 * that has asked. */
static enum saga_err raise_epoch(struct saga_barrier *barrier, int64_t position, int64_t epoch,
                                 struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        barrier->sql, "UPDATE barrier SET epoch = ?2 WHERE position = ?1", &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(stmt, 1, position);
    saga_sql_bind_int(stmt, 2, epoch);
    return saga_sql_run(stmt, NULL, detail);
}

static void refuse(struct saga_barrier_pass *pass, enum saga_code code, const char *reason,
                   const char *message)
{
    pass->verdict = SAGA_BARRIER_REFUSE;
    pass->status = saga_status_make(code, reason, message);
}

enum saga_err saga_barrier_enter(struct saga_barrier *barrier, const struct saga_command *command,
                                 bool starter_undo, struct saga_arena *arena,
                                 struct saga_barrier_pass *pass, struct saga_err_detail *detail)
{
    SAGA_ASSERT(command->op == SAGA_OP_CALL || command->op == SAGA_OP_UNDO);
    *pass = (struct saga_barrier_pass){.verdict = SAGA_BARRIER_RUN, .status = saga_status_ok()};
    struct view view = {0};
    enum saga_err err = digest_of(barrier, command, pass->digest, detail);
    if (err == SAGA_ERR_OK) {
        err = look(barrier, command, arena, pass, &view, detail);
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "barrier");
    }
    int64_t epoch = command->epoch > INT64_MAX ? INT64_MAX : (int64_t)command->epoch;
    if (epoch < view.epoch_max && !SAGA_BROKEN(S8_PARTICIPANT)) { /* S8 */
        refuse(pass, SAGA_CODE_ABORTED, "FENCED", "a newer orchestrator owns this saga");
    } else if (view.own_position != 0 && !view.own_same && !SAGA_BROKEN(B5_PAYLOAD)) { /* B5 */
        refuse(pass, SAGA_CODE_INVALID_ARGUMENT, "KEY_REUSED",
               "the same saga, step and op were used with another method or payload");
    } else if (view.own_position != 0 && !(command->op == SAGA_OP_CALL && SAGA_BROKEN(B1_TWICE)) &&
               !(command->op == SAGA_OP_UNDO && SAGA_BROKEN(B4_TWICE))) { /* B1, B4, B6 */
        pass->verdict = SAGA_BARRIER_REPLAY;
        if (epoch > view.own_epoch && !SAGA_BROKEN(S8_REPLAY)) {
            pass->wrote = true;
            err = raise_epoch(barrier, view.own_position, epoch, detail);
        }
    } else if (command->op == SAGA_OP_CALL && view.has_undo &&
               !SAGA_BROKEN(B3_CALL_AFTER_UNDO)) { /* B3 */
        refuse(pass, SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE",
               "this step was undone before its call came");
    } else if (view.rows >= ROWS_MAX) {
        refuse(pass, SAGA_CODE_INVALID_ARGUMENT, "LIMIT_EXCEEDED",
               "this saga has as many steps here as a saga can have (SAGA_STEPS_MAX)");
    } else if (command->op == SAGA_OP_UNDO && !starter_undo && !(view.has_call && view.call_ok) &&
               !SAGA_BROKEN(B2_RUNS)) {
        /* B2; and a call that was answered with a definitive no left nothing to undo. */
        pass->verdict = SAGA_BARRIER_EMPTY;
    }
    return err;
}

/* Gives empty bytes an address: they are an empty value, not NULL. */
static struct saga_bytes solid(struct saga_bytes bytes)
{
    static const uint8_t nothing[1] = {0};
    return bytes.size == 0 ? (struct saga_bytes){.data = nothing, .size = 0} : bytes;
}

#define INSERT(verb)                                                                               \
    verb                                                                                           \
        " INTO barrier (saga_id, step, op, method, digest, code, reason, message, payload, empty," \
        " attempt, via, epoch, traceparent, time_unix_ms)"                                         \
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"

/* Inserts a row; saga_id NULL: a dead letter. */
static enum saga_err insert_row(struct saga_barrier *barrier, const struct saga_barrier_row *row,
                                struct saga_err_detail *detail)
{
    const struct saga_command *command = row->command;
    const struct saga_reply *reply = row->reply;
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(barrier->sql,
                                         SAGA_BROKEN_TOO(B1_TWICE) || SAGA_BROKEN_TOO(B4_TWICE)
                                             ? INSERT("INSERT OR IGNORE")
                                             : INSERT("INSERT"),
                                         &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (command->op == SAGA_OP_NONE) {
        saga_sql_bind_null(stmt, 1);
    } else {
        saga_sql_bind_bytes(stmt, 1,
                            (struct saga_bytes){.data = command->saga_id.b, .size = SAGA_ID_SIZE});
    }
    saga_sql_bind_text(stmt, 2, command->step);
    saga_sql_bind_int(stmt, 3, (int64_t)command->op);
    saga_sql_bind_text(stmt, 4, command->method);
    saga_sql_bind_bytes(stmt, 5, solid(row->digest));
    saga_sql_bind_int(stmt, 6, (int64_t)reply->status.code);
    saga_sql_bind_text(stmt, 7, reply->status.reason);
    saga_sql_bind_text(stmt, 8, reply->status.message);
    saga_sql_bind_bytes(stmt, 9, solid(reply->payload));
    saga_sql_bind_int(stmt, 10, reply->empty ? 1 : 0);
    saga_sql_bind_int(stmt, 11, (int64_t)command->attempt);
    saga_sql_bind_int(stmt, 12, (int64_t)row->via);
    saga_sql_bind_int(stmt, 13, command->epoch > INT64_MAX ? INT64_MAX : (int64_t)command->epoch);
    saga_sql_bind_text(stmt, 14, command->traceparent);
    saga_sql_bind_int(stmt, 15, row->now_unix_ms);
    return saga_sql_run(stmt, NULL, detail);
}

enum saga_err saga_barrier_store(struct saga_barrier *barrier, const struct saga_barrier_row *row,
                                 struct saga_err_detail *detail)
{
    SAGA_ASSERT(row->command->op != SAGA_OP_NONE);
    SAGA_ASSERT(row->digest.size == SAGA_BARRIER_DIGEST_SIZE);
    SAGA_ASSERT(saga_barrier_keeps(row->command->op, row->reply->status.code));
    enum saga_err err = insert_row(barrier, row, detail);
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "barrier");
}

static enum saga_err insert_letter(struct saga_barrier *barrier,
                                   const struct saga_barrier_letter *letter,
                                   struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        barrier->sql,
        "INSERT INTO dead_letter (position, key, value, headers) VALUES (?1, ?2, ?3, ?4)", &stmt,
        detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(stmt, 1, saga_sql_last_rowid(barrier->sql));
    saga_sql_bind_bytes(stmt, 2, solid(letter->key));
    saga_sql_bind_bytes(stmt, 3, solid(letter->value));
    saga_sql_bind_bytes(stmt, 4, solid(letter->headers));
    return saga_sql_run(stmt, NULL, detail);
}

enum saga_err saga_barrier_store_letter(struct saga_barrier *barrier,
                                        const struct saga_barrier_letter *letter,
                                        int64_t now_unix_ms, struct saga_err_detail *detail)
{
    struct saga_command command = {.step = "", .op = SAGA_OP_NONE, .method = "", .traceparent = ""};
    struct saga_reply reply = {
        .status = saga_status_make(SAGA_CODE_INVALID_ARGUMENT, "DEAD_LETTER", letter->reason)};
    struct saga_barrier_row row = {
        .command = &command, .reply = &reply, .via = SAGA_VIA_KAFKA, .now_unix_ms = now_unix_ms};
    enum saga_err err = insert_row(barrier, &row, detail);
    if (err == SAGA_ERR_OK) {
        err = insert_letter(barrier, letter, detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "dead letter");
}

enum saga_err saga_barrier_prune(struct saga_barrier *barrier, int64_t position_max,
                                 int64_t before_unix_ms, size_t count_max, int64_t *count,
                                 struct saga_err_detail *detail)
{
    /* Positions ascend with time, so the oldest rows are the first: only those are looked at. */
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        barrier->sql,
        "DELETE FROM barrier WHERE position IN (SELECT position FROM (SELECT position, time_unix_ms"
        " FROM barrier WHERE position <= ?1 ORDER BY position LIMIT ?3) WHERE time_unix_ms < ?2)",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "barrier: prune");
    }
    saga_sql_bind_int(stmt, 1, SAGA_BROKEN(B7_UNPUBLISHED) ? INT64_MAX : position_max);
    saga_sql_bind_int(stmt, 2, SAGA_BROKEN(B7_YOUNG) ? INT64_MAX : before_unix_ms);
    saga_sql_bind_int(stmt, 3, (int64_t)count_max);
    err = saga_sql_run(stmt, count, detail);
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "barrier: prune");
}
