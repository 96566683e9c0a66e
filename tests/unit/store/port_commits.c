/* The store port: transactions, death, the lease. */
#include "tests/unit/store/port_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Transactions ---- */

static void test_transaction_when_rolled_back_then_nothing_is_left(void **state)
{
    struct fixture *fx = *state;
    struct saga_row found;
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {1};
    begin(&fx->port);
    insert(&fx->port, 2);
    append_audit(&fx->port, 2, 1);
    (void)append_outbox(&fx->port, 2);
    OK(&fx->port, set_offset, "topic", 3, 44);
    OK(&fx->port, set_cursor, "audit", 12);
    OK(&fx->port, put_definition, hash, "create-order", text("set"), 1);
    fx->port.ops->rollback(fx->port.store);
    fx->port.ops->rollback(fx->port.store); /* twice is nothing */

    struct seen seen = {0};
    FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_saga, id_of(2), &found);
    OK(&fx->port, relay_audit, 0, 10, see_audit, &seen);
    OK(&fx->port, list_audit, (&(struct saga_audit_range){id_of(2), 0, 10}), see_audit, &seen);
    OK(&fx->port, relay_outbox, 0, 10, see_outbox, &seen);
    OK(&fx->port, list_definitions, see_definition, &seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(fx->port.ops->offset(fx->port.store, "topic", 3), -1);
    assert_int_equal(fx->port.ops->cursor(fx->port.store, "audit"), 0);
}

static void test_write_when_outside_a_transaction_then_refused(void **state)
{
    struct fixture *fx = *state;
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    struct saga_err_detail detail = {.text = ""};
    FAILS(SAGA_ERR_INTERNAL, &fx->port, insert_saga, &row);
    FAILS(SAGA_ERR_INTERNAL, &fx->port, set_cursor, "audit", 1);
    assert_int_equal(fx->port.ops->commit(fx->port.store, &detail), SAGA_ERR_INTERNAL);
    begin(&fx->port);
    assert_int_equal(fx->port.ops->begin(fx->port.store, &detail), SAGA_ERR_INTERNAL);
    commit(&fx->port);
}

/* Runs `work` in a child, which then tells on a pipe that it is done and waits to be killed. */
static void run_and_kill(struct fixture *fx, void (*work)(const struct saga_store_port *port))
{
    if (factory->run_and_die != NULL) {
        factory->run_and_die(fx->world, work);
        return;
    }
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct saga_err_detail detail = {.text = ""};
        struct saga_store_port port;
        if (factory->open(fx->world, &port, &detail) != SAGA_ERR_OK) {
            _exit(1);
        }
        work(&port);
        (void)!write(pipe_fds[1], "x", 1);
        for (;;) {
            (void)pause();
        }
    }
    (void)close(pipe_fds[1]);
    char byte = 0;
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    (void)close(pipe_fds[0]);
    int status = 0;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void work_commit_and_begin(const struct saga_store_port *port)
{
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {1};
    (void)take_lease(port);
    begin(port);
    insert(port, 2);
    append_audit(port, 2, 1);
    (void)append_outbox(port, 2);
    OK(port, set_offset, "topic", 3, 44);
    OK(port, set_cursor, "audit", 1);
    OK(port, put_definition, hash, "create-order", text("set"), 1);
    commit(port);
    begin(port); /* not committed: must not be there afterwards */
    insert(port, 4);
    end_saga(port, 2, COMPLETED);
    append_audit(port, 2, 2);
    (void)append_outbox(port, 4);
    OK(port, set_offset, "topic", 3, 45);
}

static void test_commit_when_process_is_killed_then_all_of_it_is_there(void **state)
{
    struct fixture *fx = *state;
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    struct saga_row found;
    fx->port.ops->close(fx->port.store);
    run_and_kill(fx, work_commit_and_begin);
    open_store(fx);
    assert_int_equal(take_lease(&fx->port), 3);
    OK(&fx->port, find_saga, row.id, &found);
    assert_same_row(&row, &found);
    FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_saga, id_of(4), &found);
    struct seen seen = {0};
    OK(&fx->port, relay_audit, 0, 10, see_audit, &seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.texts[0], "event-2-1");
    OK(&fx->port, relay_outbox, 0, 10, see_outbox, &seen);
    assert_int_equal(seen.count, 2);
    OK(&fx->port, list_definitions, see_definition, &seen);
    assert_int_equal(seen.count, 4); /* of them the one that the saga began with */
    assert_int_equal(fx->port.ops->offset(fx->port.store, "topic", 3), 44);
    assert_int_equal(fx->port.ops->cursor(fx->port.store, "audit"), 1);
}

/* ---- The lease (S8) ---- */

static void test_lease_when_taken_by_another_then_begin_is_fenced(void **state)
{
    struct fixture *fx = *state;
    struct saga_store_port other;
    struct saga_row found;
    struct saga_err_detail detail = {.text = ""};
    assert_int_equal(fx->epoch, 1);
    ok(factory->open(fx->world, &other, &detail), &detail);
    begin(&fx->port);
    insert(&fx->port, 2);
    commit(&fx->port);
    assert_int_equal(take_lease(&other), 2);

    enum saga_err err = fx->port.ops->begin(fx->port.store, &detail);
    assert_string_equal(saga_err_name(err), "FENCED");
    assert_int_equal(saga_err_class(err), SAGA_ERR_CLASS_FATAL);
    OK(&fx->port, find_saga, id_of(2), &found); /* it may still read */

    begin(&other);
    insert(&other, 4);
    commit(&other);
    OK(&fx->port, find_saga, id_of(4), &found);
    other.ops->close(other.store);
}

static void test_lease_when_its_transaction_is_rolled_back_then_not_held(void **state)
{
    struct fixture *fx = *state;
    struct saga_store_port other;
    struct saga_err_detail detail = {.text = ""};
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    uint64_t epoch = 0;
    ok(factory->open(fx->world, &other, &detail), &detail);
    begin(&other);
    OK(&other, take_lease, "other", &epoch);
    assert_int_equal(epoch, 2);
    other.ops->rollback(other.store);
    begin(&other);
    FAILS(SAGA_ERR_FENCED, &other, insert_saga, &row); /* never had the lease */
    other.ops->rollback(other.store);
    begin(&fx->port);
    insert_row(&fx->port, &row);
    commit(&fx->port);
    other.ops->close(other.store);
}

static void test_lease_when_taken_over_then_positions_and_offsets_go_on(void **state)
{
    struct fixture *fx = *state;
    struct saga_store_port other;
    struct saga_err_detail detail = {.text = ""};
    ok(factory->open(fx->world, &other, &detail), &detail); /* opened before the first one writes */
    begin(&fx->port);
    append_audit(&fx->port, 2, 1);
    int64_t first = append_outbox(&fx->port, 2);
    OK(&fx->port, set_offset, "topic", 0, 7);
    commit(&fx->port);
    (void)take_lease(&other);
    assert_int_equal(other.ops->offset(other.store, "topic", 0), 7);
    begin(&other);
    append_audit(&other, 2, 2);
    assert_true(append_outbox(&other, 4) > first);
    commit(&other);
    struct seen seen = {0};
    OK(&other, relay_audit, 0, 10, see_audit, &seen);
    assert_int_equal(seen.count, 2);
    assert_true(seen.positions[1] > seen.positions[0]);
    other.ops->close(other.store);
}

int port_commit_tests(void)
{
    static const struct CMUnitTest tests[] = {
        PORT_CASE(test_transaction_when_rolled_back_then_nothing_is_left),
        PORT_CASE(test_write_when_outside_a_transaction_then_refused),
        PORT_CASE(test_commit_when_process_is_killed_then_all_of_it_is_there),
        PORT_CASE(test_lease_when_taken_by_another_then_begin_is_fenced),
        PORT_CASE(test_lease_when_its_transaction_is_rolled_back_then_not_held),
        PORT_CASE(test_lease_when_taken_over_then_positions_and_offsets_go_on),
    };
    return cmocka_run_group_tests_name("port_commit_tests", tests, NULL, NULL);
}
