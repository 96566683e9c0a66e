/* Every call of the store port with each of its operations failing in each way: the error is FATAL,
 * as the port says, and has words; after death and re-opening the store is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/sql/sql.h"
#include "orchestrator/store/sqlite/store_internal.h"
#include "orchestrator/store/sqlite/store_sqlite.h"
#include "verify/vfs/vfs.h"

#define PATH "/disk/store.db"

enum { SAGAS = 40 };

static struct saga_vfs_image *image; /* a store with rows of every kind */

struct rig {
    struct saga_vfs *vfs;
    struct saga_store_port port;
    uint64_t left; /* operations until the one that fails; 0: none fails */
    enum saga_vfs_outcome outcome;
    bool fired;
};

static enum saga_vfs_outcome on_io(void *user, const struct saga_vfs_io *io)
{
    struct rig *rig = user;
    (void)io;
    if (rig->left == 0 || --rig->left > 0) {
        return SAGA_VFS_OK;
    }
    rig->fired = true;
    return rig->outcome;
}

static struct saga_id id_of(unsigned n)
{
    return saga_id_make(1700000000000 + (int64_t)n, 0, n);
}

static struct saga_bytes large(void)
{
    static const uint8_t bytes[6000] = {1, 2, 3};
    return (struct saga_bytes){.data = bytes, .size = sizeof bytes};
}

/* ---- The calls ---- */

typedef enum saga_err call(const struct saga_store_port *port, struct saga_err_detail *detail);

static struct saga_row row_of(unsigned n, char key[32])
{
    (void)snprintf(key, 32, "key-%u", n);
    return (struct saga_row){.id = id_of(n),
                             .definition_name = "d",
                             .start_key = key,
                             .state = n % 2 == 0 ? 1 : 5,
                             .live = true,
                             .seq = 1,
                             .record = large(),
                             .context = large()};
}

static enum saga_err call_insert(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    char key[32];
    struct saga_row row = row_of(SAGAS + 1, key);
    return port->ops->insert_saga(port->store, &row, detail);
}

static enum saga_err call_update(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    char key[32];
    struct saga_row row = row_of(1, key);
    row.seq = 2;
    return port->ops->update_saga(port->store, &row, detail);
}

static enum saga_err call_audit(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    struct saga_audit_row row = {.id = id_of(1), .seq = 99, .event = large()};
    return port->ops->append_audit(port->store, &row, detail);
}

static enum saga_err call_outbox(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    struct saga_outbox_row row = {.id = id_of(1), .topic = "t", .value = large()};
    return port->ops->append_outbox(port->store, &row, NULL, detail);
}

static enum saga_err call_cursor(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    return port->ops->set_cursor(port->store, "outbox", 20, detail);
}

static enum saga_err call_definition(const struct saga_store_port *port,
                                     struct saga_err_detail *detail)
{
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {9};
    return port->ops->put_definition(port->store, hash, "d", large(), 1, detail);
}

static enum saga_err call_child(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {3};
    static const uint8_t parent[SAGA_DIGEST_SIZE] = {1};
    return port->ops->keep_child(port->store, hash, "child", parent, 1, detail);
}

static enum saga_err call_lease(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    uint64_t epoch = 0;
    return port->ops->take_lease(port->store, "other", &epoch, detail);
}

static enum saga_err call_find(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    struct saga_row row;
    return port->ops->find_saga(port->store, id_of(SAGAS / 2), &row, detail);
}

static enum saga_err call_key(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    struct saga_row row;
    return port->ops->find_key(port->store, "d", "key-7", &row, detail);
}

static bool see_row(void *user, const struct saga_row *row)
{
    (void)user;
    return row->record.size > 0;
}

static bool see_audit(void *user, const struct saga_audit_row *row)
{
    (void)user;
    return row->event.size > 0;
}

static bool see_outbox(void *user, const struct saga_outbox_row *row)
{
    (void)user;
    return row->value.size > 0;
}

static bool see_definition(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                           struct saga_bytes set, bool current)
{
    (void)user;
    (void)current;
    return hash != NULL && name != NULL && set.size > 0;
}

static enum saga_err call_live(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    return port->ops->load_live(port->store, id_of(0), 1000, see_row, NULL, detail);
}

static enum saga_err call_list(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    const struct saga_list_filter filter = {.state = 5, .count_max = 1000};
    return port->ops->list_sagas(port->store, &filter, see_row, NULL, detail);
}

static enum saga_err call_list_audit(const struct saga_store_port *port,
                                     struct saga_err_detail *detail)
{
    const struct saga_audit_range range = {.id = id_of(3), .count_max = 100};
    return port->ops->list_audit(port->store, &range, see_audit, NULL, detail);
}

static enum saga_err call_definitions(const struct saga_store_port *port,
                                      struct saga_err_detail *detail)
{
    return port->ops->list_definitions(port->store, see_definition, NULL, detail);
}

static enum saga_err call_relay_audit(const struct saga_store_port *port,
                                      struct saga_err_detail *detail)
{
    return port->ops->relay_audit(port->store, 0, 1000, see_audit, NULL, detail);
}

static enum saga_err call_relay_outbox(const struct saga_store_port *port,
                                       struct saga_err_detail *detail)
{
    return port->ops->relay_outbox(port->store, 0, 1000, see_outbox, NULL, detail);
}

static enum saga_err call_remove(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    return port->ops->remove_definition(port->store, "d", detail);
}

static enum saga_err call_participant(const struct saga_store_port *port,
                                      struct saga_err_detail *detail)
{
    static const char *const addresses[] = {"tcp://a:1", "tcp://b:1"};
    return port->ops->put_participant(port->store, "x.v1.X", addresses, 2, detail);
}

static enum saga_err call_pause(const struct saga_store_port *port, struct saga_err_detail *detail)
{
    const struct saga_pause_row row = {
        .definition_name = "d", .paused = true, .who = "w", .why = "y"};
    return port->ops->put_pause(port->store, &row, detail);
}

static bool see_version(void *user, const struct saga_definition_row *row)
{
    (void)user;
    return row->name != NULL;
}

static bool see_hash(void *user, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    (void)user;
    return hash != NULL;
}

static bool see_participant(void *user, const struct saga_participant_row *row)
{
    (void)user;
    return row->service != NULL && row->address != NULL;
}

static enum saga_err call_find_definition(const struct saga_store_port *port,
                                          struct saga_err_detail *detail)
{
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {1};
    return port->ops->find_definition(port->store, hash, see_definition, NULL, detail);
}

static enum saga_err call_versions(const struct saga_store_port *port,
                                   struct saga_err_detail *detail)
{
    return port->ops->list_versions(port->store, NULL, 1000, see_version, NULL, detail);
}

static enum saga_err call_live_versions(const struct saga_store_port *port,
                                        struct saga_err_detail *detail)
{
    return port->ops->list_live_versions(port->store, see_hash, NULL, detail);
}

static enum saga_err call_participants(const struct saga_store_port *port,
                                       struct saga_err_detail *detail)
{
    return port->ops->list_participants(port->store, see_participant, NULL, detail);
}

struct operation {
    const char *name;
    call *call;
    bool write;
};

static const struct operation operations[] = {
    {"insert_saga", call_insert, true},
    {"update_saga", call_update, true},
    {"append_audit", call_audit, true},
    {"append_outbox", call_outbox, true},
    {"set_cursor", call_cursor, true},
    {"put_definition", call_definition, true},
    {"keep_child", call_child, true},
    {"remove_definition", call_remove, true},
    {"put_participant", call_participant, true},
    {"put_pause", call_pause, true},
    {"take_lease", call_lease, true},
    {"find_saga", call_find, false},
    {"find_key", call_key, false},
    {"load_live", call_live, false},
    {"list_sagas", call_list, false},
    {"list_audit", call_list_audit, false},
    {"list_definitions", call_definitions, false},
    {"find_definition", call_find_definition, false},
    {"list_versions", call_versions, false},
    {"list_live_versions", call_live_versions, false},
    {"list_participants", call_participants, false},
    {"relay_audit", call_relay_audit, false},
    {"relay_outbox", call_relay_outbox, false},
};

/* ---- A store with rows ---- */

static void rig_open(struct rig *rig)
{
    const struct saga_vfs_config config = {.seed = 1, .fault = on_io, .user = rig};
    struct saga_err_detail detail = {.text = ""};
    memset(rig, 0, sizeof *rig);
    assert_int_equal(saga_vfs_new(&config, &rig->vfs), SAGA_ERR_OK);
    if (image != NULL) {
        assert_int_equal(saga_vfs_image_put(rig->vfs, image), SAGA_ERR_OK);
    }
    assert_int_equal(
        saga_store_sqlite_open_on(saga_vfs_name(rig->vfs, 0), PATH, &rig->port, &detail),
        SAGA_ERR_OK);
    assert_int_equal(rig->port.ops->begin(rig->port.store, &detail), SAGA_ERR_OK);
    assert_int_equal(call_lease(&rig->port, &detail), SAGA_ERR_OK);
    assert_int_equal(rig->port.ops->commit(rig->port.store, &detail), SAGA_ERR_OK);
}

static int image_make(void **state)
{
    (void)state;
    struct rig rig;
    struct saga_err_detail detail = {.text = ""};
    rig_open(&rig);
    const struct saga_store_ops *ops = rig.port.ops;
    static const uint8_t of_rows[SAGA_DIGEST_SIZE] = {0};
    assert_int_equal(ops->begin(rig.port.store, &detail), SAGA_ERR_OK);
    assert_int_equal(ops->put_definition(rig.port.store, of_rows, "of-rows", large(), 1, &detail),
                     SAGA_ERR_OK);
    for (unsigned n = 1; n <= SAGAS; n++) {
        char key[32];
        struct saga_row row = row_of(n, key);
        struct saga_audit_row audit = {.id = row.id, .seq = 1, .event = large()};
        assert_int_equal(ops->insert_saga(rig.port.store, &row, &detail), SAGA_ERR_OK);
        assert_int_equal(ops->append_audit(rig.port.store, &audit, &detail), SAGA_ERR_OK);
        assert_int_equal(call_outbox(&rig.port, &detail), SAGA_ERR_OK);
    }
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {1};
    assert_int_equal(ops->put_definition(rig.port.store, hash, "d", large(), 1, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(call_participant(&rig.port, &detail), SAGA_ERR_OK);
    assert_int_equal(ops->commit(rig.port.store, &detail), SAGA_ERR_OK);
    ops->close(rig.port.store);
    assert_int_equal(saga_vfs_image_take(rig.vfs, &image), SAGA_ERR_OK);
    saga_vfs_free(rig.vfs);
    return 0;
}

static int image_drop(void **state)
{
    (void)state;
    saga_vfs_image_free(image);
    return 0;
}

/* ---- The tests ---- */

/* A write, from begin to commit; a read alone. */
static enum saga_err perform(struct rig *rig, const struct operation *operation,
                             struct saga_err_detail *detail)
{
    const struct saga_store_ops *ops = rig->port.ops;
    if (!operation->write) {
        return operation->call(&rig->port, detail);
    }
    enum saga_err err = ops->begin(rig->port.store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = operation->call(&rig->port, detail);
    if (err == SAGA_ERR_OK) {
        err = ops->commit(rig->port.store, detail);
    } else {
        ops->rollback(rig->port.store);
    }
    return err;
}

/* The store is opened by a process that comes after and is whole. */
static void check_whole(struct rig *rig)
{
    struct saga_err_detail detail = {.text = ""};
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    uint64_t prng = 11;
    saga_vfs_crash(rig->vfs,
                   &(struct saga_vfs_loss){.prng = &prng, .lost_percent = 40, .torn_percent = 20});
    rig->port.ops->close(rig->port.store);
    assert_int_equal(
        saga_store_sqlite_open_on(saga_vfs_name(rig->vfs, 0), PATH, &rig->port, &detail),
        SAGA_ERR_OK);
    assert_int_equal(
        saga_sql_prepare(rig->port.store->sql, "PRAGMA integrity_check", &stmt, &detail),
        SAGA_ERR_OK);
    assert_int_equal(saga_sql_step(stmt, &row, &detail), SAGA_ERR_OK);
    assert_string_equal(saga_sql_text(stmt, 0), "ok");
    saga_sql_reset(stmt);
    assert_int_equal(call_find(&rig->port, &detail), SAGA_ERR_OK);
}

/* Fails one operation after another; gives how many there are. */
static unsigned fail_each(const struct operation *operation, enum saga_vfs_outcome outcome)
{
    for (unsigned at = 1;; at++) {
        struct rig rig;
        struct saga_err_detail detail = {.text = ""};
        rig_open(&rig);
        rig.left = at;
        rig.outcome = outcome;
        enum saga_err err = perform(&rig, operation, &detail);
        rig.left = 0;
        if (rig.fired && saga_err_class(err) != SAGA_ERR_CLASS_FATAL) {
            fail_msg("%s, %s at operation %u: %s: %s", operation->name,
                     saga_vfs_outcome_name(outcome), at, saga_err_name(err), detail.text);
        }
        assert_true(!rig.fired || detail.text[0] != '\0');
        assert_true(rig.fired || err == SAGA_ERR_OK);
        check_whole(&rig);
        rig.port.ops->close(rig.port.store);
        saga_vfs_free(rig.vfs);
        if (!rig.fired) {
            return at - 1;
        }
    }
}

static void test_call_when_any_operation_fails_then_fatal(void **state)
{
    (void)state;
    static const enum saga_vfs_outcome outcomes[] = {SAGA_VFS_EIO, SAGA_VFS_FULL, SAGA_VFS_SHORT};
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        unsigned count = 0;
        for (size_t k = 0; k < sizeof outcomes / sizeof outcomes[0]; k++) {
            count = fail_each(&operations[i], outcomes[k]);
            assert_true(count > 0);
        }
        print_message("%-16s %u operations\n", operations[i].name, count);
    }
}

static void
test_commit_when_quota_is_reached_then_disk_full_and_acknowledged_rows_stay(void **state)
{
    (void)state;
    struct rig rig;
    struct saga_err_detail detail = {.text = ""};
    unsigned count = 0;
    enum saga_err err = SAGA_ERR_OK;
    rig_open(&rig);
    saga_vfs_set_quota(rig.vfs, 1500000);
    while (err == SAGA_ERR_OK) {
        char key[32];
        struct saga_row row = row_of(SAGAS + 1 + count, key);
        err = rig.port.ops->begin(rig.port.store, &detail);
        if (err == SAGA_ERR_OK) {
            err = rig.port.ops->insert_saga(rig.port.store, &row, &detail);
            if (err == SAGA_ERR_OK) {
                err = rig.port.ops->commit(rig.port.store, &detail);
            } else {
                rig.port.ops->rollback(rig.port.store);
            }
        }
        count += err == SAGA_ERR_OK ? 1 : 0;
    }
    assert_string_equal(saga_err_name(err), "DISK_FULL");
    assert_true(count > 5);
    saga_vfs_set_quota(rig.vfs, 0);
    check_whole(&rig);
    for (unsigned n = 0; n < count; n++) {
        struct saga_row row;
        assert_int_equal(
            rig.port.ops->find_saga(rig.port.store, id_of(SAGAS + 1 + n), &row, &detail),
            SAGA_ERR_OK);
    }
    rig.port.ops->close(rig.port.store);
    saga_vfs_free(rig.vfs);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_when_any_operation_fails_then_fatal),
        cmocka_unit_test(
            test_commit_when_quota_is_reached_then_disk_full_and_acknowledged_rows_stay),
    };
    return cmocka_run_group_tests(tests, image_make, image_drop);
}
