/* The barrier when what it stands on fails: each call into SQLite, OpenSSL or the allocator that
 * one operation makes is failed in turn - the first, the second, … until the operation makes no
 * more. Each failure must come out as that error, the transaction, once given up, must leave the
 * database as it was, and the same operation must then succeed.
 *
 * The calls are caught by the linker (--wrap, see CMakeLists.txt): the barrier itself is as it
 * ships. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "services/kit/barrier.h"
#include "tests/support/support.h"

enum { CALLS_MAX = 64, FAULT = SAGA_ERR_DISK_FULL };

/* ---- the calls that can fail ---- */

/* How many calls from now on one fails; 0: none does. */
static unsigned fuse;
static bool blown;
static bool no_row; /* the next step finds no row */

static bool fails(void)
{
    if (fuse == 0 || --fuse > 0) {
        return false;
    }
    blown = true;
    return true;
}

static enum saga_err fault(struct saga_err_detail *detail)
{
    return saga_err_set(detail, (enum saga_err)FAULT, "planted");
}

// NOLINTBEGIN(bugprone-reserved-identifier): the names are the linker's.
enum saga_err __real_saga_sql_begin(struct saga_sql *sql, struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_begin(struct saga_sql *sql, struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_begin(struct saga_sql *sql, struct saga_err_detail *detail)
{
    return fails() ? fault(detail) : __real_saga_sql_begin(sql, detail);
}

enum saga_err __real_saga_sql_commit(struct saga_sql *sql, struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_commit(struct saga_sql *sql, struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_commit(struct saga_sql *sql, struct saga_err_detail *detail)
{
    if (fails()) {
        saga_sql_rollback(sql); /* as a commit that failed does */
        return fault(detail);
    }
    return __real_saga_sql_commit(sql, detail);
}

enum saga_err __real_saga_sql_exec(struct saga_sql *sql, const char *text,
                                   struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_exec(struct saga_sql *sql, const char *text,
                                   struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_exec(struct saga_sql *sql, const char *text,
                                   struct saga_err_detail *detail)
{
    return fails() ? fault(detail) : __real_saga_sql_exec(sql, text, detail);
}

enum saga_err __real_saga_sql_prepare(struct saga_sql *sql, const char *text,
                                      struct saga_sql_stmt **stmt, struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_prepare(struct saga_sql *sql, const char *text,
                                      struct saga_sql_stmt **stmt, struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_prepare(struct saga_sql *sql, const char *text,
                                      struct saga_sql_stmt **stmt, struct saga_err_detail *detail)
{
    return fails() ? fault(detail) : __real_saga_sql_prepare(sql, text, stmt, detail);
}

enum saga_err __real_saga_sql_step(struct saga_sql_stmt *stmt, bool *row,
                                   struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_step(struct saga_sql_stmt *stmt, bool *row,
                                   struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_step(struct saga_sql_stmt *stmt, bool *row,
                                   struct saga_err_detail *detail)
{
    if (no_row) {
        no_row = false;
        *row = false;
        return SAGA_ERR_OK;
    }
    return fails() ? fault(detail) : __real_saga_sql_step(stmt, row, detail);
}

enum saga_err __real_saga_sql_run(struct saga_sql_stmt *stmt, int64_t *changes,
                                  struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_run(struct saga_sql_stmt *stmt, int64_t *changes,
                                  struct saga_err_detail *detail);
enum saga_err __wrap_saga_sql_run(struct saga_sql_stmt *stmt, int64_t *changes,
                                  struct saga_err_detail *detail)
{
    return fails() ? fault(detail) : __real_saga_sql_run(stmt, changes, detail);
}

void *__real_saga_arena_take(struct saga_arena *arena, size_t size);
void *__wrap_saga_arena_take(struct saga_arena *arena, size_t size);
void *__wrap_saga_arena_take(struct saga_arena *arena, size_t size)
{
    return fails() ? NULL : __real_saga_arena_take(arena, size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

EVP_MD *__real_EVP_MD_fetch(OSSL_LIB_CTX *context, const char *algorithm, const char *properties);
EVP_MD *__wrap_EVP_MD_fetch(OSSL_LIB_CTX *context, const char *algorithm, const char *properties);
EVP_MD *__wrap_EVP_MD_fetch(OSSL_LIB_CTX *context, const char *algorithm, const char *properties)
{
    return fails() ? NULL : __real_EVP_MD_fetch(context, algorithm, properties);
}

EVP_MD_CTX *__real_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void)
{
    return fails() ? NULL : __real_EVP_MD_CTX_new();
}

int __real_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine);
int __wrap_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine);
int __wrap_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine)
{
    return fails() ? 0 : __real_EVP_DigestInit_ex(context, type, engine);
}

int __real_EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t size);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t size);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t size)
{
    return fails() ? 0 : __real_EVP_DigestUpdate(context, data, size);
}

int __real_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *digest, unsigned *size);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *digest, unsigned *size);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *digest, unsigned *size)
{
    return fails() ? 0 : __real_EVP_DigestFinal_ex(context, digest, size);
}
// NOLINTEND(bugprone-reserved-identifier)

/* ---- a database with a barrier ---- */

struct bench {
    struct saga_test_dir dir;
    struct saga_sql *sql;
    struct saga_barrier *barrier;
    struct saga_arena arena;
    struct saga_err_detail detail;
    struct saga_barrier_pass pass;
    int64_t count;
};

static void open_empty(struct bench *bench)
{
    fuse = 0;
    blown = false;
    saga_test_dir_open(&bench->dir);
    char path[SAGA_TEST_PATH_MAX];
    assert_int_equal(saga_sql_open(saga_test_path(&bench->dir, "kit.db", path), SAGA_SQL_READ_WRITE,
                                   &bench->sql, &bench->detail),
                     SAGA_ERR_OK);
}

static int setup_empty(void **state)
{
    struct bench *bench = __real_calloc(1, sizeof *bench);
    assert_non_null(bench);
    open_empty(bench);
    *state = bench;
    return 0;
}

static int setup(void **state)
{
    assert_int_equal(setup_empty(state), 0);
    struct bench *bench = *state;
    assert_int_equal(saga_barrier_migrate(bench->sql, &bench->detail), SAGA_ERR_OK);
    assert_int_equal(saga_barrier_open(bench->sql, &bench->barrier), SAGA_ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fuse = 0;
    saga_barrier_close(bench->barrier);
    saga_sql_close(bench->sql);
    saga_arena_fini(&bench->arena);
    saga_test_dir_close(&bench->dir);
    free(bench);
    return 0;
}

static int64_t number(struct bench *bench, const char *text)
{
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(saga_sql_prepare(bench->sql, text, &stmt, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, NULL), SAGA_ERR_OK);
    int64_t value = row ? saga_sql_int(stmt, 0) : -1;
    saga_sql_reset(stmt);
    return value;
}

/* A number that changes with any row of the barrier. */
static int64_t print_of_rows(struct bench *bench)
{
    return number(bench,
                  "SELECT coalesce(sum(position * 1000003 + epoch * 7919 + op), 0) + count(*)"
                  " + (SELECT count(*) FROM dead_letter) * 104729 FROM barrier");
}

static struct saga_command command_of(enum saga_op op, const char *step, uint64_t epoch)
{
    static const uint8_t payload[] = {8, 7};
    return (struct saga_command){
        .saga_id = {{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16}},
        .step = step,
        .op = op,
        .method = op == SAGA_OP_CALL ? "payment.v1.PaymentService/AuthorizePayment"
                                     : "payment.v1.PaymentService/RefundPayment",
        .payload = {payload, sizeof payload},
        .attempt = 1,
        .traceparent = "",
        .cause_step = "",
        .cause_status = saga_status_ok(),
        .epoch = epoch,
    };
}

/* ---- operations; each in a transaction of its own, but for migrate and open ---- */

static enum saga_err enter(struct bench *bench, const struct saga_command *command)
{
    saga_arena_clear(&bench->arena);
    return saga_barrier_enter(bench->barrier, command, false, &bench->arena, &bench->pass,
                              &bench->detail);
}

static enum saga_err enter_first(struct bench *bench)
{
    struct saga_command call = command_of(SAGA_OP_CALL, "new", 1);
    return enter(bench, &call);
}

static enum saga_err enter_again(struct bench *bench)
{
    struct saga_command call = command_of(SAGA_OP_CALL, "old", 1);
    return enter(bench, &call);
}

static enum saga_err enter_newer(struct bench *bench)
{
    struct saga_command call = command_of(SAGA_OP_CALL, "old", 5);
    return enter(bench, &call);
}

static enum saga_err store(struct bench *bench, const struct saga_command *command)
{
    static const uint8_t digest[SAGA_BARRIER_DIGEST_SIZE] = {1};
    struct saga_reply reply = {.status = saga_status_ok()};
    struct saga_barrier_row row = {.command = command,
                                   .reply = &reply,
                                   .digest = {digest, sizeof digest},
                                   .via = SAGA_VIA_NNG,
                                   .now_unix_ms = 1000};
    return saga_barrier_store(bench->barrier, &row, &bench->detail);
}

static enum saga_err store_new(struct bench *bench)
{
    struct saga_command call = command_of(SAGA_OP_CALL, "new", 1);
    return store(bench, &call);
}

static enum saga_err store_letter(struct bench *bench)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct saga_barrier_letter letter = {
        .key = {bytes, 1}, .value = {bytes, 3}, .headers = {bytes, 0}, .reason = "not a command"};
    return saga_barrier_store_letter(bench->barrier, &letter, 1000, &bench->detail);
}

static enum saga_err prune(struct bench *bench)
{
    return saga_barrier_prune(bench->barrier, 1000, 5000, 10, &bench->count, &bench->detail);
}

static enum saga_err migrate(struct bench *bench)
{
    return saga_barrier_migrate(bench->sql, &bench->detail);
}

static enum saga_err open_barrier(struct bench *bench)
{
    struct saga_barrier *barrier = NULL;
    enum saga_err err = saga_barrier_open(bench->sql, &barrier);
    assert_true((err == SAGA_ERR_OK) == (barrier != NULL));
    saga_barrier_close(barrier);
    return err;
}

/* ---- the loop ---- */

/* Fails the first call of an operation, then the second, …; returns how many it makes at last. */
static unsigned fail_row(struct bench *bench, enum saga_err (*operation)(struct bench *),
                         bool in_transaction)
{
    for (unsigned at = 1; at < CALLS_MAX; at++) {
        int64_t before = in_transaction ? print_of_rows(bench) : 0;
        bench->detail.text[0] = '\0';
        if (in_transaction) {
            assert_int_equal(saga_sql_begin(bench->sql, &bench->detail), SAGA_ERR_OK);
        }
        fuse = at;
        blown = false;
        enum saga_err err = operation(bench);
        fuse = 0;
        if (in_transaction) {
            saga_sql_rollback(bench->sql);
            assert_int_equal(print_of_rows(bench), before);
        }
        if (!blown) {
            assert_int_equal(err, SAGA_ERR_OK);
            return at - 1;
        }
        assert_true(err == (enum saga_err)FAULT || err == SAGA_ERR_NO_MEMORY);
    }
    fail_msg("an operation makes more than %d calls", CALLS_MAX);
    return 0;
}

/* The row twice: a statement is allocated once and kept, so that in the first row the calls behind
 * it move up by one, and one of them is never failed. In the second none moves. */
static unsigned fail_each(struct bench *bench, enum saga_err (*operation)(struct bench *),
                          bool in_transaction)
{
    unsigned first = fail_row(bench, operation, in_transaction);
    unsigned second = fail_row(bench, operation, in_transaction);
    assert_true(second <= first);
    return second;
}

/* A row of step "old", committed. */
static void have_old(struct bench *bench)
{
    struct saga_command call = command_of(SAGA_OP_CALL, "old", 1);
    assert_int_equal(saga_sql_begin(bench->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(enter(bench, &call), SAGA_ERR_OK);
    struct saga_reply reply = {.status = saga_status_ok()};
    struct saga_barrier_row row = {.command = &call,
                                   .reply = &reply,
                                   .digest = {bench->pass.digest, SAGA_BARRIER_DIGEST_SIZE},
                                   .via = SAGA_VIA_NNG,
                                   .now_unix_ms = 1000};
    assert_int_equal(saga_barrier_store(bench->barrier, &row, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_commit(bench->sql, NULL), SAGA_ERR_OK);
}

static void test_enter_when_any_call_fails_then_that_error_and_no_change(void **state)
{
    struct bench *bench = *state;
    have_old(bench);
    assert_true(fail_each(bench, enter_first, true) >= 6);  /* digest 4, prepare, step */
    assert_true(fail_each(bench, enter_again, true) >= 9);  /* and three copies of the reply */
    assert_true(fail_each(bench, enter_newer, true) >= 11); /* and the epoch's row */
    assert_int_equal(bench->pass.verdict, SAGA_BARRIER_REPLAY);
}

static void test_store_when_any_call_fails_then_that_error_and_no_change(void **state)
{
    struct bench *bench = *state;
    assert_true(fail_each(bench, store_new, true) >= 2);    /* prepare, run */
    assert_true(fail_each(bench, store_letter, true) >= 4); /* the same of two rows */
}

static void test_store_when_it_fails_then_the_detail_says_where(void **state)
{
    struct bench *bench = *state;
    fuse = 1;
    assert_int_equal(store_new(bench), FAULT);
    assert_string_equal(bench->detail.text, "barrier: planted");
    fuse = 3;
    assert_int_equal(store_letter(bench), FAULT);
    assert_string_equal(bench->detail.text, "dead letter: planted");
    fuse = 1;
    assert_int_equal(prune(bench), FAULT);
    assert_string_equal(bench->detail.text, "barrier: prune: planted");
}

static void test_prune_when_any_call_fails_then_that_error_and_no_change(void **state)
{
    struct bench *bench = *state;
    have_old(bench);
    assert_true(fail_each(bench, prune, true) >= 2);
    assert_int_equal(bench->count, 1);
}

static void test_open_when_any_allocation_fails_then_no_memory_and_nothing_leaks(void **state)
{
    struct bench *bench = *state;
    /* Its own, the digest and its context. */
    assert_int_equal(fail_each(bench, open_barrier, false), 3);
    saga_barrier_close(NULL);
}

static void test_migrate_when_any_call_fails_then_nothing_is_made_and_later_all(void **state)
{
    struct bench *bench = *state;
    unsigned calls = 0;
    for (unsigned at = 1; at < CALLS_MAX && calls == 0; at++) {
        /* A database of its own: what one keeps (statements) is not made again. */
        saga_sql_close(bench->sql);
        saga_test_dir_close(&bench->dir);
        open_empty(bench);
        fuse = at;
        enum saga_err err = migrate(bench);
        fuse = 0;
        bool made = number(bench, "SELECT count(*) FROM sqlite_schema WHERE name = 'barrier'") == 1;
        assert_true(made == (err == SAGA_ERR_OK));
        assert_true(blown == (err != SAGA_ERR_OK));
        assert_true(!blown || err == (enum saga_err)FAULT || err == SAGA_ERR_NO_MEMORY);
        calls = blown ? 0 : at - 1;
    }
    /* begin, table, prepare, step, the script, delete, prepare, run, commit */
    assert_true(calls >= 9);
    assert_int_equal(number(bench, "SELECT version FROM kit_version"), 1);
    assert_int_equal(migrate(bench), SAGA_ERR_OK);
}

static void test_migrate_when_the_tables_are_newer_than_the_program_then_conflict(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(saga_sql_exec(bench->sql, "UPDATE kit_version SET version = 99", NULL),
                     SAGA_ERR_OK);
    assert_int_equal(migrate(bench), SAGA_ERR_CONFLICT);
    assert_string_equal(bench->detail.text,
                        "kit tables: the kit's tables have version 99, this program knows 1");
    assert_int_equal(number(bench, "SELECT version FROM kit_version"), 99);
}

static void test_migrate_when_the_version_is_not_told_then_begins_anew(void **state)
{
    struct bench *bench = *state;
    no_row = true;
    assert_int_equal(migrate(bench), SAGA_ERR_OK);
    assert_false(no_row);
    assert_int_equal(number(bench, "SELECT version FROM kit_version"), 1);
}

static void test_epoch_when_beyond_what_sqlite_holds_then_counts_as_the_greatest(void **state)
{
    struct bench *bench = *state;
    struct saga_command call = command_of(SAGA_OP_CALL, "old", UINT64_MAX);
    assert_int_equal(saga_sql_begin(bench->sql, NULL), SAGA_ERR_OK);
    assert_int_equal(enter(bench, &call), SAGA_ERR_OK);
    assert_int_equal(bench->pass.verdict, SAGA_BARRIER_RUN);
    assert_int_equal(store(bench, &call), SAGA_ERR_OK);
    assert_int_equal(number(bench, "SELECT epoch FROM barrier") == INT64_MAX, 1);
    struct saga_command older = command_of(SAGA_OP_UNDO, "old", INT64_MAX - 1);
    assert_int_equal(enter(bench, &older), SAGA_ERR_OK);
    assert_int_equal(bench->pass.verdict, SAGA_BARRIER_REFUSE);
    assert_string_equal(bench->pass.status.reason, "FENCED"); /* S8 */
    saga_sql_rollback(bench->sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_enter_when_any_call_fails_then_that_error_and_no_change, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_store_when_any_call_fails_then_that_error_and_no_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_when_it_fails_then_the_detail_says_where, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_prune_when_any_call_fails_then_that_error_and_no_change, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_open_when_any_allocation_fails_then_no_memory_and_nothing_leaks, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_migrate_when_any_call_fails_then_nothing_is_made_and_later_all, setup_empty,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_migrate_when_the_tables_are_newer_than_the_program_then_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_migrate_when_the_version_is_not_told_then_begins_anew,
                                        setup_empty, teardown),
        cmocka_unit_test_setup_teardown(
            test_epoch_when_beyond_what_sqlite_holds_then_counts_as_the_greatest, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
