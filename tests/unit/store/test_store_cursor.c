/* The outbox of the SQLite store: a command is thrown away only when the relay has said that Kafka
 * has it; one that is not there yet must outlive cursor, crash and restart (S6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/store/sqlite/store_sqlite.h"
#include "tests/support/support.h"

enum { ROWS = 5 };

struct fixture {
    struct saga_test_dir dir;
    char path[SAGA_TEST_PATH_MAX];
    struct saga_store_port port;
};

#define OPS fx->port.ops
#define STORE fx->port.store

static void take_lease(struct fixture *fx)
{
    uint64_t epoch = 0;
    assert_int_equal(saga_store_sqlite_open(fx->path, &fx->port, NULL), SAGA_ERR_OK);
    assert_int_equal(OPS->begin(STORE, NULL), SAGA_ERR_OK);
    assert_int_equal(OPS->take_lease(STORE, "test", &epoch, NULL), SAGA_ERR_OK);
    assert_int_equal(OPS->commit(STORE, NULL), SAGA_ERR_OK);
}

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    saga_test_dir_open(&fx->dir);
    (void)saga_test_path(&fx->dir, "store.db", fx->path);
    take_lease(fx);
    assert_int_equal(OPS->begin(STORE, NULL), SAGA_ERR_OK);
    for (int i = 0; i < ROWS; i++) {
        int64_t position = 0;
        struct saga_outbox_row row = {.id = {{1}},
                                      .step = 2,
                                      .op = SAGA_OP_UNDO,
                                      .attempt = 1,
                                      .topic = "topic",
                                      .traceparent = "",
                                      .value = saga_bytes_text("command")};
        assert_int_equal(OPS->append_outbox(STORE, &row, &position, NULL), SAGA_ERR_OK);
        assert_int_equal(position, i + 1);
    }
    assert_int_equal(OPS->commit(STORE, NULL), SAGA_ERR_OK);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    OPS->close(STORE);
    saga_test_dir_close(&fx->dir);
    free(fx);
    return 0;
}

struct seen {
    int64_t positions[ROWS + 1];
    size_t count;
};

static bool see(void *user, const struct saga_outbox_row *row)
{
    struct seen *seen = user;
    assert_true(seen->count <= ROWS);
    seen->positions[seen->count++] = row->position;
    return true;
}

static struct seen waiting(struct fixture *fx)
{
    struct seen seen = {.count = 0};
    assert_int_equal(OPS->relay_outbox(STORE, 0, ROWS + 1, see, &seen, NULL), SAGA_ERR_OK);
    return seen;
}

static void advance(struct fixture *fx, int64_t position)
{
    assert_int_equal(OPS->begin(STORE, NULL), SAGA_ERR_OK);
    assert_int_equal(OPS->set_cursor(STORE, "outbox", position, NULL), SAGA_ERR_OK);
    assert_int_equal(OPS->commit(STORE, NULL), SAGA_ERR_OK);
}

static void test_outbox_when_its_cursor_moves_then_what_is_behind_it_stays(void **state)
{
    struct fixture *fx = *state;
    for (int64_t at = 0; at <= ROWS; at++) {
        advance(fx, at);
        struct seen seen = waiting(fx);
        assert_int_equal(seen.count, ROWS - at);
        if (seen.count > 0) {
            assert_int_equal(seen.positions[0], at + 1);
        }
    }
}

static void test_outbox_when_opened_again_then_waits_from_its_cursor(void **state)
{
    struct fixture *fx = *state;
    advance(fx, 2);
    OPS->close(STORE);
    take_lease(fx);
    assert_int_equal(OPS->cursor(STORE, "outbox"), 2);
    assert_int_equal(waiting(fx).positions[0], 3);
    assert_int_equal(waiting(fx).count, 3);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_outbox_when_its_cursor_moves_then_what_is_behind_it_stays),
        CASE(test_outbox_when_opened_again_then_waits_from_its_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
