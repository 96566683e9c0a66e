#include "tests/sim/vfs/torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/sql/sql.h"
#include "orchestrator/store/sqlite/store_internal.h"
#include "orchestrator/store/sqlite/store_sqlite.h"

#define PATH "/disk/store.db"

enum { SAGAS_MAX = 64, BYTES_MAX = 9000, WORK_SEED = 77 };

/* ---- The transactions ---- */

static uint8_t noise[BYTES_MAX];
static uint64_t hashes[TORTURE_TRANSACTIONS + 1];

static struct saga_id id_of(uint64_t n)
{
    return saga_id_make(1700000000000 + (int64_t)n, 0, n * 7919U);
}

/* Some values are larger than a page. */
static struct saga_bytes bytes_of(uint64_t *prng)
{
    size_t size = saga_prng_below(prng, 8) == 0 ? saga_prng_below(prng, BYTES_MAX)
                                                : saga_prng_below(prng, 300);
    size_t from = saga_prng_below(prng, BYTES_MAX - size);
    return (struct saga_bytes){.data = noise + from, .size = size};
}

static enum saga_err put_saga(const struct saga_store_port *port, uint64_t n, bool insert,
                              uint64_t seq, uint64_t *prng, struct saga_err_detail *detail)
{
    char key[32];
    (void)snprintf(key, sizeof key, "key-%llu", (unsigned long long)n);
    struct saga_row row = {
        .id = id_of(n),
        .definition_name = "d",
        .start_key = key,
        .seq = seq,
    };
    /* One draw after the other: C leaves the order within an initialiser open. */
    row.state = (uint8_t)(1 + saga_prng_below(prng, 5));
    row.live = saga_prng_below(prng, 2) == 0;
    row.record = bytes_of(prng);
    row.context = bytes_of(prng);
    return insert ? port->ops->insert_saga(port->store, &row, detail)
                  : port->ops->update_saga(port->store, &row, detail);
}

static enum saga_err put_journal(const struct saga_store_port *port, unsigned index, uint64_t n,
                                 uint64_t *prng, struct saga_err_detail *detail)
{
    struct saga_audit_row audit = {
        .id = id_of(n), .seq = index, .time_unix_ms = (int64_t)index, .event = bytes_of(prng)};
    enum saga_err err = port->ops->append_audit(port->store, &audit, detail);
    if (err == SAGA_ERR_OK && saga_prng_below(prng, 2) == 0) {
        struct saga_outbox_row out = {
            .id = id_of(n), .topic = "t", .traceparent = "", .value = bytes_of(prng)};
        err = port->ops->append_outbox(port->store, &out, NULL, detail);
    }
    if (err == SAGA_ERR_OK && saga_prng_below(prng, 3) == 0) {
        err = port->ops->set_offset(port->store, "t", (int32_t)saga_prng_below(prng, 3),
                                    (int64_t)index, detail);
    }
    if (err == SAGA_ERR_OK && saga_prng_below(prng, 4) == 0) {
        err = port->ops->set_cursor(port->store, "outbox", (int64_t)saga_prng_below(prng, index),
                                    detail);
    }
    return err;
}

/* Does the writes of the index-th transaction (from 1), which depend on nothing else. */
static enum saga_err work(const struct saga_store_port *port, unsigned index,
                          struct saga_err_detail *detail)
{
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {0}; /* that the sagas begin with */
    uint64_t prng = WORK_SEED * 1000 + index;
    enum saga_err err = SAGA_ERR_OK;
    if (index == 1) {
        err = port->ops->put_definition(port->store, hash, "d", saga_bytes_text("set"), 1, detail);
    }
    for (uint64_t i = 0; i < 3 && err == SAGA_ERR_OK; i++) {
        uint64_t n = index * 3 + i;
        err = put_saga(port, n, true, 1, &prng, detail);
        if (err == SAGA_ERR_OK) {
            err = put_journal(port, index, n, &prng, detail);
        }
        if (err == SAGA_ERR_OK && index > 1 && saga_prng_below(&prng, 2) == 0) {
            uint64_t before = 3 + saga_prng_below(&prng, (uint64_t)(index - 1) * 3);
            err = put_saga(port, before, false, index, &prng, detail);
        }
    }
    return err;
}

/* ---- What the store holds ---- */

struct digest {
    uint64_t hash;
    unsigned sagas;
};

static void mix(struct digest *digest, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        digest->hash = (digest->hash ^ bytes[i]) * UINT64_C(1099511628211);
    }
    digest->hash = (digest->hash ^ size) * UINT64_C(1099511628211);
}

static void mix_number(struct digest *digest, int64_t number)
{
    mix(digest, &number, sizeof number);
}

static bool mix_saga(void *user, const struct saga_row *row)
{
    struct digest *digest = user;
    mix(digest, row->id.b, sizeof row->id.b);
    mix(digest, row->start_key, strlen(row->start_key));
    mix_number(digest, row->state);
    mix_number(digest, row->live ? 1 : 0);
    mix_number(digest, (int64_t)row->seq);
    mix(digest, row->record.data, row->record.size);
    mix(digest, row->context.data, row->context.size);
    digest->sagas++;
    return true;
}

static bool mix_audit(void *user, const struct saga_audit_row *row)
{
    mix_number(user, row->position);
    mix(user, row->id.b, sizeof row->id.b);
    mix_number(user, (int64_t)row->seq);
    mix(user, row->event.data, row->event.size);
    return true;
}

static bool mix_outbox(void *user, const struct saga_outbox_row *row)
{
    mix_number(user, row->position);
    mix(user, row->value.data, row->value.size);
    return true;
}

static enum saga_err digest_of(const struct saga_store_port *port, uint64_t *hash,
                               struct saga_err_detail *detail)
{
    struct digest digest = {.hash = UINT64_C(14695981039346656037)};
    const struct saga_list_filter all = {.count_max = 1000};
    enum saga_err err = port->ops->list_sagas(port->store, &all, mix_saga, &digest, detail);
    if (err == SAGA_ERR_OK) {
        err = port->ops->relay_audit(port->store, 0, 1000, mix_audit, &digest, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = port->ops->relay_outbox(port->store, 0, 1000, mix_outbox, &digest, detail);
    }
    for (int32_t i = 0; i < 3; i++) {
        mix_number(&digest, port->ops->offset(port->store, "t", i));
    }
    mix_number(&digest, port->ops->cursor(port->store, "outbox"));
    *hash = digest.hash;
    return err;
}

/* ---- One run ---- */

struct run {
    const struct torture_plan *plan;
    struct torture_result *result;
    struct saga_vfs *vfs;
    uint64_t prng;
    uint64_t at;      /* the next operation to be hit; 0: none */
    uint64_t counted; /* operations, as `at` counts */
    enum saga_vfs_outcome outcome;
    bool broken; /* hit, for good */
    unsigned acknowledged;
    bool open_end; /* a commit may or may not have happened */
};

static void wrong(struct run *run, const char *what, const struct saga_err_detail *detail)
{
    if (run->result->why[0] == '\0') {
        (void)snprintf(run->result->why, sizeof run->result->why, "%.100s: %.120s", what,
                       detail == NULL ? "" : detail->text);
    }
}

static enum saga_vfs_outcome on_io(void *user, const struct saga_vfs_io *io)
{
    struct run *run = user;
    run->result->ops = io->number;
    run->counted += !run->plan->syncs || io->op == SAGA_VFS_SYNC ? 1 : 0;
    if ((run->at != 0 && run->counted == run->at) || run->broken) {
        run->at = 0;
        run->result->hit = true;
        run->broken = run->plan->for_good;
        return run->outcome;
    }
    return run->plan->lying && io->op == SAGA_VFS_SYNC ? SAGA_VFS_LIE : SAGA_VFS_OK;
}

static enum saga_err open_store(struct run *run, struct saga_store_port *port,
                                struct saga_err_detail *detail)
{
    enum saga_err err = saga_store_sqlite_open_on(saga_vfs_name(run->vfs, 0), PATH, port, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    /* A log of a few pages, so that checkpoints and restarts of the log are hit too. */
    err = saga_sql_exec(port->store->sql, "PRAGMA wal_autocheckpoint = 24", detail);
    if (err == SAGA_ERR_OK && run->plan->synchronous != NULL) {
        err = saga_sql_exec(port->store->sql, run->plan->synchronous, detail);
    }
    uint64_t epoch = 0;
    if (err == SAGA_ERR_OK) {
        err = port->ops->begin(port->store, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = port->ops->take_lease(port->store, "torture", &epoch, detail);
        if (err == SAGA_ERR_OK) {
            err = port->ops->commit(port->store, detail);
        } else {
            port->ops->rollback(port->store);
        }
    }
    if (err != SAGA_ERR_OK) {
        port->ops->close(port->store);
    }
    return err;
}

/* What the store holds must be what was acknowledged, or one more if that is open. */
static enum saga_err check(struct run *run, const struct saga_store_port *port,
                           struct saga_err_detail *detail)
{
    uint64_t hash = 0;
    enum saga_err err = digest_of(port, &hash, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    err = saga_sql_prepare(port->store->sql, "PRAGMA integrity_check", &stmt, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, &row, detail);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (run->result->hit) {
        saga_sql_reset(stmt); /* what it says of pages that it could not read counts for nothing */
        return saga_err_set(detail, SAGA_ERR_IO, "hit while it was checked");
    }
    if (!row || strcmp(saga_sql_text(stmt, 0), "ok") != 0) {
        (void)saga_err_set(detail, SAGA_ERR_CORRUPT, "%.100s", saga_sql_text(stmt, 0));
        wrong(run, "integrity", detail);
    }
    saga_sql_reset(stmt);
    if (run->open_end && run->acknowledged < TORTURE_TRANSACTIONS &&
        hash == hashes[run->acknowledged + 1]) {
        run->acknowledged++;
    } else if (hash != hashes[run->acknowledged]) {
        (void)saga_err_set(detail, SAGA_ERR_CORRUPT, "of %u acknowledged transactions, death %u",
                           run->acknowledged, run->result->deaths);
        wrong(run, "the store does not hold what was acknowledged", detail);
    }
    run->open_end = false;
    return SAGA_ERR_OK;
}

/* Begins, works and commits until something fails or all is done. */
static enum saga_err go_on(struct run *run, const struct saga_store_port *port,
                           struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    while (err == SAGA_ERR_OK && run->acknowledged < TORTURE_TRANSACTIONS) {
        err = port->ops->begin(port->store, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        err = work(port, run->acknowledged + 1, detail);
        if (err != SAGA_ERR_OK) {
            port->ops->rollback(port->store);
            return err;
        }
        run->open_end = true;
        err = port->ops->commit(port->store, detail);
        if (err == SAGA_ERR_OK) {
            run->acknowledged++;
            run->open_end = false;
        }
    }
    return err;
}

/* The process or the machine dies; maybe the next one soon does so too. */
static void die(struct run *run)
{
    const struct torture_plan *plan = run->plan;
    bool power =
        plan->end == END_POWER || (plan->end == END_EITHER && saga_prng_below(&run->prng, 2) == 0);
    run->broken = false;
    run->at = 0;
    if (power) {
        struct saga_vfs_loss loss = {.prng = &run->prng};
        loss.lost_percent = (unsigned)saga_prng_below(&run->prng, 101);
        loss.torn_percent = (unsigned)saga_prng_below(&run->prng, 60);
        saga_vfs_crash(run->vfs, &loss);
    } else {
        saga_vfs_kill(run->vfs, 0);
    }
    if (++run->result->deaths < TORTURE_DEATHS_MAX) {
        run->at = run->counted + 1 + saga_prng_below(&run->prng, plan->syncs ? 15 : 150);
        run->outcome =
            saga_prng_below(&run->prng, 2) == 0 ? SAGA_VFS_STOP_BEFORE : SAGA_VFS_STOP_AFTER;
    }
}

/* A life of the store, from open to death. Returns false when all is done. */
static bool live(struct run *run)
{
    struct saga_err_detail detail = {.text = ""};
    struct saga_store_port port = {0};
    bool hit = run->result->hit;
    run->result->hit = false;
    enum saga_err err = open_store(run, &port, &detail);
    bool open = err == SAGA_ERR_OK;
    if (open) {
        err = check(run, &port, &detail);
    }
    if (err == SAGA_ERR_OK) {
        err = go_on(run, &port, &detail);
    }
    if (err != SAGA_ERR_OK && !run->result->hit) {
        wrong(run, "failed without a cause", &detail);
    }
    if (err != SAGA_ERR_OK && saga_err_class(err) != SAGA_ERR_CLASS_FATAL) {
        wrong(run, "failed, but not for good", &detail);
    }
    run->result->hit |= hit;
    bool done = err == SAGA_ERR_OK || run->result->why[0] != '\0';
    die(run); /* also at the end: what was acknowledged must be there */
    if (open) {
        port.ops->close(port.store);
    }
    return !done;
}

void torture_run(const struct torture_plan *plan, struct torture_result *result)
{
    struct run run = {.plan = plan,
                      .result = result,
                      .prng = plan->seed * 2 + 1,
                      .at = plan->at,
                      .outcome = plan->outcome};
    memset(result, 0, sizeof *result);
    const struct saga_vfs_config config = {.seed = plan->seed, .fault = on_io, .user = &run};
    assert_int_equal(saga_vfs_new(&config, &run.vfs), SAGA_ERR_OK);
    for (unsigned i = 0; i <= TORTURE_DEATHS_MAX && live(&run); i++) {
    }
    /* Once more without faults. */
    run.at = 0;
    if (result->why[0] == '\0') {
        result->deaths = TORTURE_DEATHS_MAX;
        run.at = 0;
        (void)live(&run);
    }
    saga_vfs_free(run.vfs);
}

void torture_begin(void)
{
    static const struct torture_plan plan = {.seed = 1};
    struct torture_result result = {.why = ""};
    struct run run = {.plan = &plan, .result = &result};
    const struct saga_vfs_config config = {.seed = 1};
    struct saga_store_port port;
    struct saga_err_detail detail = {.text = ""};
    uint64_t prng = 3;
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)saga_prng_next(&prng);
    }
    assert_int_equal(saga_vfs_new(&config, &run.vfs), SAGA_ERR_OK);
    assert_int_equal(open_store(&run, &port, &detail), SAGA_ERR_OK);
    assert_int_equal(digest_of(&port, &hashes[0], &detail), SAGA_ERR_OK);
    for (unsigned i = 1; i <= TORTURE_TRANSACTIONS; i++) {
        assert_int_equal(port.ops->begin(port.store, &detail), SAGA_ERR_OK);
        assert_int_equal(work(&port, i, &detail), SAGA_ERR_OK);
        assert_int_equal(port.ops->commit(port.store, &detail), SAGA_ERR_OK);
        assert_int_equal(digest_of(&port, &hashes[i], &detail), SAGA_ERR_OK);
        assert_true(hashes[i] != hashes[i - 1]);
    }
    port.ops->close(port.store);
    saga_vfs_free(run.vfs);
}
