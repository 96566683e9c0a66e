#include "tests/unit/store/port_suite.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static const struct port_suite_factory *factory;

/* ---- A world with one open store that holds the lease ---- */

struct fixture {
    void *world;
    struct saga_store_port port;
    uint64_t epoch;
};

static void ok(enum saga_err err, const struct saga_err_detail *detail)
{
    if (err != SAGA_ERR_OK) {
        fail_msg("%s: %s", saga_err_name(err), detail->text);
    }
}

/* Calls an operation of the fixture's store that must go well. */
#define OK(port_, op_, ...)                                                                        \
    do {                                                                                           \
        struct saga_err_detail detail_ = {.text = ""};                                             \
        ok((port_)->ops->op_((port_)->store, __VA_ARGS__, &detail_), &detail_);                    \
    } while (0)

/* Calls one that must fail so. */
#define FAILS(expected_, port_, op_, ...)                                                          \
    do {                                                                                           \
        struct saga_err_detail detail_ = {.text = ""};                                             \
        enum saga_err err_ = (port_)->ops->op_((port_)->store, __VA_ARGS__, &detail_);             \
        assert_string_equal(saga_err_name(err_), saga_err_name(expected_));                        \
        assert_true(detail_.text[0] != '\0');                                                      \
    } while (0)

static void begin(const struct saga_store_port *port)
{
    struct saga_err_detail detail = {.text = ""};
    ok(port->ops->begin(port->store, &detail), &detail);
}

static void commit(const struct saga_store_port *port)
{
    struct saga_err_detail detail = {.text = ""};
    ok(port->ops->commit(port->store, &detail), &detail);
}

static uint64_t take_lease(const struct saga_store_port *port)
{
    uint64_t epoch = 0;
    begin(port);
    OK(port, take_lease, "test", &epoch);
    commit(port);
    return epoch;
}

static void open_store(struct fixture *fx)
{
    struct saga_err_detail detail = {.text = ""};
    ok(factory->open(fx->world, &fx->port, &detail), &detail);
}

static void reopen(struct fixture *fx)
{
    fx->port.ops->close(fx->port.store);
    open_store(fx);
    fx->epoch = take_lease(&fx->port);
}

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    fx->world = factory->world_new();
    assert_non_null(fx->world);
    open_store(fx);
    fx->epoch = take_lease(&fx->port);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    fx->port.ops->close(fx->port.store);
    factory->world_free(fx->world);
    free(fx);
    return 0;
}

/* ---- Rows ---- */

enum { RUNNING = 1, COMPENSATING = 2, COMPLETED = 3, COMPENSATED = 4, PARKED = 5 };

/* Ids ascend with n, as those of the product ascend with time. */
static struct saga_id id_of(unsigned n)
{
    return saga_id_make(1700000000000 + (int64_t)n, 0, n * 7919U);
}

static struct saga_bytes text(const char *bytes)
{
    return saga_bytes_text(bytes);
}

/* A row whose texts live in `space`. */
struct row_space {
    char key[32];
    char record[32];
    char context[32];
};

static struct saga_row row_of(unsigned n, struct row_space *space)
{
    struct saga_row row = {
        .id = id_of(n),
        .definition_name = n % 2 == 0 ? "create-order" : "other",
        .start_key = space->key,
        .state = RUNNING,
        .live = true,
        .seq = 1,
        .created_unix_ms = 1700000000000 + (int64_t)n,
        .updated_unix_ms = 1700000000500 + (int64_t)n,
    };
    (void)snprintf(space->key, sizeof space->key, "key-%u", n);
    (void)snprintf(space->record, sizeof space->record, "record-%u", n);
    (void)snprintf(space->context, sizeof space->context, "context-%u", n);
    memset(row.definition_hash, (int)(n % 251), sizeof row.definition_hash);
    memset(row.start_digest, (int)(n % 13), sizeof row.start_digest);
    memset(row.last_hash, (int)(n % 17), sizeof row.last_hash);
    row.record = text(space->record);
    row.context = text(space->context);
    return row;
}

static void assert_same_row(const struct saga_row *a, const struct saga_row *b)
{
    assert_memory_equal(a->id.b, b->id.b, SAGA_ID_SIZE);
    assert_memory_equal(a->definition_hash, b->definition_hash, SAGA_DIGEST_SIZE);
    assert_string_equal(a->definition_name, b->definition_name);
    assert_string_equal(a->start_key, b->start_key);
    assert_memory_equal(a->start_digest, b->start_digest, SAGA_DIGEST_SIZE);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->live, b->live);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->created_unix_ms, b->created_unix_ms);
    assert_int_equal(a->updated_unix_ms, b->updated_unix_ms);
    assert_int_equal(a->ended_unix_ms, b->ended_unix_ms);
    assert_true(saga_bytes_equal(a->record, b->record));
    assert_true(saga_bytes_equal(a->context, b->context));
    assert_memory_equal(a->last_hash, b->last_hash, SAGA_DIGEST_SIZE);
}

static void insert(const struct saga_store_port *port, unsigned n)
{
    struct row_space space;
    struct saga_row row = row_of(n, &space);
    OK(port, insert_saga, &row);
}

static void end_saga(const struct saga_store_port *port, unsigned n, uint8_t state)
{
    struct row_space space;
    struct saga_row row = row_of(n, &space);
    row.state = state;
    row.live = state != COMPLETED && state != COMPENSATED;
    row.seq = 9;
    OK(port, update_saga, &row);
}

static void append_audit(const struct saga_store_port *port, unsigned n, uint64_t seq)
{
    char event[48];
    (void)snprintf(event, sizeof event, "event-%u-%llu", n, (unsigned long long)seq);
    struct saga_audit_row row = {
        .id = id_of(n), .seq = seq, .time_unix_ms = 1000 + (int64_t)seq, .event = text(event)};
    OK(port, append_audit, &row);
}

static int64_t append_outbox(const struct saga_store_port *port, unsigned n)
{
    char value[32];
    (void)snprintf(value, sizeof value, "command-%u", n);
    struct saga_outbox_row row = {
        .id = id_of(n),
        .step = (uint8_t)(n % 32),
        .op = SAGA_OP_UNDO,
        .attempt = n + 1,
        .topic = "a-topic",
        .traceparent = "00-trace",
        .time_unix_ms = (int64_t)n,
        .value = text(value),
    };
    int64_t position = 0;
    OK(port, append_outbox, &row, &position);
    return position;
}

/* ---- What visitors saw ---- */

enum { SEEN_MAX = 512 };

struct seen {
    size_t count;
    size_t stop_at; /* 0: never */
    struct saga_id ids[SEEN_MAX];
    int64_t positions[SEEN_MAX];
    uint64_t seqs[SEEN_MAX];
    char texts[SEEN_MAX][32];
    int flags[SEEN_MAX];
};

static bool seen_go_on(const struct seen *seen)
{
    assert_true(seen->count < SEEN_MAX);
    return seen->stop_at == 0 || seen->count < seen->stop_at;
}

static bool see_row(void *user, const struct saga_row *row)
{
    struct seen *seen = user;
    seen->ids[seen->count] = row->id;
    seen->seqs[seen->count] = row->seq;
    seen->flags[seen->count] = row->state;
    seen->count++;
    return seen_go_on(seen);
}

static void see_text(struct seen *seen, struct saga_bytes bytes)
{
    assert_true(bytes.size < sizeof seen->texts[0]);
    memcpy(seen->texts[seen->count], bytes.data, bytes.size);
    seen->texts[seen->count][bytes.size] = '\0';
}

static bool see_audit(void *user, const struct saga_audit_row *row)
{
    struct seen *seen = user;
    seen->ids[seen->count] = row->id;
    seen->positions[seen->count] = row->position;
    seen->seqs[seen->count] = row->seq;
    see_text(seen, row->event);
    assert_int_equal(row->time_unix_ms, 1000 + (int64_t)row->seq);
    seen->count++;
    return seen_go_on(seen);
}

static bool see_outbox(void *user, const struct saga_outbox_row *row)
{
    struct seen *seen = user;
    seen->ids[seen->count] = row->id;
    seen->positions[seen->count] = row->position;
    seen->flags[seen->count] = (int)row->attempt;
    see_text(seen, row->value);
    assert_int_equal(row->op, SAGA_OP_UNDO);
    assert_string_equal(row->topic, "a-topic");
    assert_string_equal(row->traceparent, "00-trace");
    assert_int_equal(row->step, (row->attempt - 1) % 32);
    assert_int_equal(row->time_unix_ms, row->attempt - 1);
    seen->count++;
    return seen_go_on(seen);
}

static bool see_definition(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                           struct saga_bytes descriptor_set, bool current)
{
    struct seen *seen = user;
    seen->positions[seen->count] = hash[0];
    seen->flags[seen->count] = current ? 1 : 0;
    see_text(seen, descriptor_set);
    assert_true(name[0] != '\0');
    seen->count++;
    return seen_go_on(seen);
}

/* ---- Sagas ---- */

static void test_saga_when_inserted_then_found_by_id_and_key(void **state)
{
    struct fixture *fx = *state;
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    struct saga_row found;
    begin(&fx->port);
    OK(&fx->port, insert_saga, &row);
    OK(&fx->port, find_saga, row.id, &found); /* seen inside its own transaction */
    assert_same_row(&row, &found);
    commit(&fx->port);
    OK(&fx->port, find_saga, row.id, &found);
    assert_same_row(&row, &found);
    OK(&fx->port, find_key, "create-order", "key-2", &found);
    assert_same_row(&row, &found);
    FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_saga, id_of(3), &found);
    FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_key, "other", "key-2", &found);
    FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_key, "create-order", "key-3", &found);
}

static void test_saga_when_bytes_are_empty_or_binary_then_kept(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t binary[] = {0, 1, 0, 255, 0};
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    struct saga_row found;
    row.context = (struct saga_bytes){0};
    row.record = (struct saga_bytes){.data = binary, .size = sizeof binary};
    begin(&fx->port);
    OK(&fx->port, insert_saga, &row);
    commit(&fx->port);
    OK(&fx->port, find_saga, row.id, &found);
    assert_same_row(&row, &found);
}

static void test_saga_when_key_is_used_then_exists_and_transaction_goes_on(void **state)
{
    struct fixture *fx = *state;
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    struct saga_row found;
    begin(&fx->port);
    OK(&fx->port, insert_saga, &row);
    commit(&fx->port);
    begin(&fx->port);
    insert(&fx->port, 4);
    row.id = id_of(6);
    FAILS(SAGA_ERR_EXISTS, &fx->port, insert_saga, &row); /* S10 */
    insert(&fx->port, 8);
    row.definition_name = "other"; /* keys are of a definition */
    OK(&fx->port, insert_saga, &row);
    commit(&fx->port);
    OK(&fx->port, find_saga, id_of(4), &found);
    OK(&fx->port, find_saga, id_of(8), &found);
    OK(&fx->port, find_saga, id_of(6), &found);
    assert_string_equal(found.definition_name, "other");
    OK(&fx->port, find_key, "create-order", "key-2", &found);
    assert_true(saga_id_equal(found.id, id_of(2)));
}

static void test_saga_when_updated_then_new_values_and_old_seq_refused(void **state)
{
    struct fixture *fx = *state;
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    struct saga_row found;
    begin(&fx->port);
    OK(&fx->port, insert_saga, &row);
    commit(&fx->port);
    row.state = COMPENSATED;
    row.live = false;
    row.seq = 5;
    row.updated_unix_ms = 77;
    row.ended_unix_ms = 78;
    row.record = text("a longer record than before");
    row.context = text("c");
    memset(row.last_hash, 0xaa, sizeof row.last_hash);
    begin(&fx->port);
    OK(&fx->port, update_saga, &row);
    commit(&fx->port);
    OK(&fx->port, find_saga, row.id, &found);
    assert_same_row(&row, &found);
    begin(&fx->port);
    row.seq = 4;
    FAILS(SAGA_ERR_CONFLICT, &fx->port, update_saga, &row);
    row.id = id_of(3);
    FAILS(SAGA_ERR_CONFLICT, &fx->port, update_saga, &row);
    fx->port.ops->rollback(fx->port.store);
}

static void test_live_when_paged_then_every_live_saga_once_in_order(void **state)
{
    struct fixture *fx = *state;
    begin(&fx->port);
    for (unsigned n = 100; n > 0; n--) {
        insert(&fx->port, n);
    }
    for (unsigned n = 3; n <= 100; n += 3) {
        end_saga(&fx->port, n, n % 2 == 0 ? COMPLETED : COMPENSATED);
    }
    end_saga(&fx->port, 50, PARKED); /* waits for a person: live */
    commit(&fx->port);
    struct saga_id after = {{0}};
    unsigned n = 1;
    for (;;) {
        struct seen seen = {0};
        OK(&fx->port, load_live, after, 7, see_row, &seen);
        assert_true(seen.count <= 7);
        for (size_t i = 0; i < seen.count; i++) {
            n += n % 3 == 0 ? 1 : 0;
            assert_true(saga_id_equal(seen.ids[i], id_of(n)));
            n++;
        }
        if (seen.count < 7) {
            break;
        }
        after = seen.ids[seen.count - 1];
    }
    assert_int_equal(n, 101);
}

static void test_live_when_visitor_stops_then_no_more_rows(void **state)
{
    struct fixture *fx = *state;
    begin(&fx->port);
    for (unsigned n = 1; n <= 10; n++) {
        insert(&fx->port, n);
    }
    commit(&fx->port);
    struct seen seen = {.stop_at = 3};
    OK(&fx->port, load_live, (struct saga_id){{0}}, 100, see_row, &seen);
    assert_int_equal(seen.count, 3);
    struct seen all = {0}; /* the stopped statement does not stand in the way */
    OK(&fx->port, load_live, (struct saga_id){{0}}, 100, see_row, &all);
    assert_int_equal(all.count, 10);
}

static size_t list(const struct fixture *fx, int saga_state, const char *name, unsigned before,
                   size_t count_max, struct seen *seen)
{
    struct saga_list_filter filter = {
        .state = saga_state,
        .definition_name = name,
        .has_before = before != 0,
        .before = id_of(before),
        .count_max = count_max,
    };
    *seen = (struct seen){0};
    OK(&fx->port, list_sagas, &filter, see_row, seen);
    for (size_t i = 0; i < seen->count; i++) {
        assert_true(saga_state == 0 || seen->flags[i] == saga_state);
        assert_true(i == 0 || memcmp(seen->ids[i].b, seen->ids[i - 1].b, SAGA_ID_SIZE) < 0);
    }
    return seen->count;
}

static void test_list_when_filtered_and_paged_then_newest_first(void **state)
{
    struct fixture *fx = *state;
    struct seen seen;
    begin(&fx->port);
    for (unsigned n = 1; n <= 60; n++) {
        insert(&fx->port, n);
    }
    for (unsigned n = 1; n <= 50; n++) {
        end_saga(&fx->port, n, (uint8_t)(RUNNING + n % 5)); /* ten of each state */
    }
    commit(&fx->port);
    assert_int_equal(list(fx, 0, NULL, 0, 100, &seen), 60);
    assert_true(saga_id_equal(seen.ids[0], id_of(60)));
    assert_int_equal(list(fx, RUNNING, NULL, 0, 100, &seen), 20);
    assert_int_equal(list(fx, COMPENSATING, NULL, 0, 100, &seen), 10);
    assert_int_equal(list(fx, COMPLETED, NULL, 0, 100, &seen), 10);
    assert_int_equal(list(fx, COMPENSATED, NULL, 0, 100, &seen), 10);
    assert_int_equal(list(fx, PARKED, NULL, 0, 100, &seen), 10);
    assert_int_equal(list(fx, 0, "create-order", 0, 100, &seen), 30);
    assert_int_equal(list(fx, 0, "none", 0, 100, &seen), 0);
    for (int s = COMPENSATING; s <= PARKED; s++) {
        assert_int_equal(list(fx, s, "other", 0, 100, &seen), 5);
    }
    assert_int_equal(list(fx, COMPENSATED, "create-order", 14, 100, &seen), 1);
    assert_true(saga_id_equal(seen.ids[0], id_of(8)));
    /* Pages. */
    assert_int_equal(list(fx, 0, NULL, 0, 25, &seen), 25);
    assert_int_equal(list(fx, 0, NULL, 36, 25, &seen), 25);
    assert_true(saga_id_equal(seen.ids[0], id_of(35)));
    assert_int_equal(list(fx, 0, NULL, 11, 25, &seen), 10);
    assert_true(saga_id_equal(seen.ids[9], id_of(1)));
}

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
    assert_int_equal(seen.count, 3);
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
    OK(&fx->port, insert_saga, &row);
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

/* ---- Log, outbox, cursors, offsets ---- */

static void test_audit_when_appended_then_relayed_in_order_and_listed_by_saga(void **state)
{
    struct fixture *fx = *state;
    begin(&fx->port);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        append_audit(&fx->port, 1 + (unsigned)(seq % 2), 1 + (seq - 1) / 2);
    }
    commit(&fx->port);
    struct seen seen = {0};
    int64_t after = 0;
    for (;;) {
        size_t before = seen.count;
        OK(&fx->port, relay_audit, after, 3, see_audit, &seen);
        if (seen.count == before) {
            break;
        }
        assert_true(seen.count - before <= 3);
        after = seen.positions[seen.count - 1];
    }
    assert_int_equal(seen.count, 20);
    for (size_t i = 0; i < seen.count; i++) {
        assert_true(i == 0 || seen.positions[i] > seen.positions[i - 1]);
        assert_true(saga_id_equal(seen.ids[i], id_of(i % 2 == 0 ? 2 : 1)));
        assert_int_equal(seen.seqs[i], 1 + i / 2);
    }
    struct seen one = {0};
    OK(&fx->port, list_audit, (&(struct saga_audit_range){id_of(1), 4, 100}), see_audit, &one);
    assert_int_equal(one.count, 6);
    assert_int_equal(one.seqs[0], 5);
    assert_string_equal(one.texts[5], "event-1-10");
    one.count = 0;
    OK(&fx->port, list_audit, (&(struct saga_audit_range){id_of(1), 0, 4}), see_audit, &one);
    assert_int_equal(one.count, 4);
    assert_int_equal(one.seqs[3], 4);
}

static void test_audit_when_a_seq_comes_twice_then_refused(void **state)
{
    struct fixture *fx = *state;
    begin(&fx->port);
    append_audit(&fx->port, 2, 1);
    struct saga_audit_row row = {
        .id = id_of(2), .seq = 1, .time_unix_ms = 1001, .event = text("again")};
    FAILS(SAGA_ERR_EXISTS, &fx->port, append_audit, &row);
    append_audit(&fx->port, 2, 2); /* the position was not used up */
    commit(&fx->port);
    struct seen seen = {0};
    OK(&fx->port, relay_audit, 0, 10, see_audit, &seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.positions[1], seen.positions[0] + 1);
}

static void test_outbox_when_cursor_is_set_then_rows_go_and_positions_ascend(void **state)
{
    struct fixture *fx = *state;
    int64_t positions[10];
    begin(&fx->port);
    for (unsigned n = 0; n < 10; n++) {
        positions[n] = append_outbox(&fx->port, n);
        assert_true(n == 0 || positions[n] > positions[n - 1]);
    }
    commit(&fx->port);
    struct seen seen = {0};
    OK(&fx->port, relay_outbox, positions[3], 100, see_outbox, &seen);
    assert_int_equal(seen.count, 6);
    assert_string_equal(seen.texts[0], "command-4");
    begin(&fx->port);
    OK(&fx->port, set_cursor, "outbox", positions[9]);
    commit(&fx->port);
    seen.count = 0;
    OK(&fx->port, relay_outbox, 0, 100, see_outbox, &seen);
    assert_int_equal(seen.count, 0);
    reopen(fx); /* the outbox is empty, yet positions must not start anew: the relay would pass over
                   them */
    assert_int_equal(fx->port.ops->cursor(fx->port.store, "outbox"), positions[9]);
    begin(&fx->port);
    int64_t next = append_outbox(&fx->port, 10);
    commit(&fx->port);
    assert_true(next > positions[9]);
    OK(&fx->port, relay_outbox, positions[9], 100, see_outbox, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.positions[0], next);
}

static void test_outbox_when_rolled_back_then_relay_never_saw_it(void **state)
{
    struct fixture *fx = *state;
    struct seen seen = {0};
    begin(&fx->port);
    (void)append_outbox(&fx->port, 1);
    append_audit(&fx->port, 1, 1);
    OK(&fx->port, relay_outbox, 0, 100, see_outbox,
       &seen); /* its own connection: committed rows only */
    OK(&fx->port, relay_audit, 0, 100, see_audit, &seen);
    assert_int_equal(seen.count, 0);
    fx->port.ops->rollback(fx->port.store);
    begin(&fx->port);
    (void)append_outbox(&fx->port, 2);
    commit(&fx->port);
    OK(&fx->port, relay_outbox, 0, 100, see_outbox, &seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.texts[0], "command-2");
}

static void test_cursor_when_set_back_then_it_stays(void **state)
{
    struct fixture *fx = *state;
    begin(&fx->port);
    OK(&fx->port, set_cursor, "audit", 100);
    OK(&fx->port, set_cursor, "other", 5);
    OK(&fx->port, set_cursor, "audit", 50); /* acknowledgements may come late */
    commit(&fx->port);
    assert_int_equal(fx->port.ops->cursor(fx->port.store, "audit"), 100);
    assert_int_equal(fx->port.ops->cursor(fx->port.store, "other"), 5);
    reopen(fx);
    assert_int_equal(fx->port.ops->cursor(fx->port.store, "audit"), 100);
    assert_int_equal(fx->port.ops->cursor(fx->port.store, "nothing"), 0);
}

static void test_offset_when_committed_then_seen_and_kept(void **state)
{
    struct fixture *fx = *state;
    begin(&fx->port);
    OK(&fx->port, set_offset, "a", 0, 1);
    OK(&fx->port, set_offset, "a", 0, 2);
    OK(&fx->port, set_offset, "a", 1, 10);
    OK(&fx->port, set_offset, "b", 0, 20);
    assert_int_equal(fx->port.ops->offset(fx->port.store, "a", 0), -1); /* not yet durable */
    commit(&fx->port);
    begin(&fx->port);
    OK(&fx->port, set_offset, "a", 1, 11);
    fx->port.ops->rollback(fx->port.store);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(fx->port.ops->offset(fx->port.store, "a", 0), 2);
        assert_int_equal(fx->port.ops->offset(fx->port.store, "a", 1), 10);
        assert_int_equal(fx->port.ops->offset(fx->port.store, "b", 0), 20);
        assert_int_equal(fx->port.ops->offset(fx->port.store, "b", 1), -1);
        reopen(fx);
    }
}

static void test_definition_when_put_then_newest_is_current_and_set_stored(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t one[SAGA_DIGEST_SIZE] = {1};
    static const uint8_t two[SAGA_DIGEST_SIZE] = {2};
    static const uint8_t three[SAGA_DIGEST_SIZE] = {3};
    begin(&fx->port);
    OK(&fx->port, put_definition, one, "a", text("set-1"), 1);
    OK(&fx->port, put_definition, three, "b", text("set-1"), 1);
    OK(&fx->port, put_definition, two, "a", text("set-2"), 2);
    commit(&fx->port);
    struct seen seen = {0};
    OK(&fx->port, list_definitions, see_definition, &seen);
    assert_int_equal(seen.count, 3);
    for (size_t i = 0; i < seen.count; i++) {
        assert_int_equal(seen.flags[i], seen.positions[i] != 1);
        assert_string_equal(seen.texts[i], seen.positions[i] == 2 ? "set-2" : "set-1");
    }
    begin(&fx->port); /* back to the first version; its set has new comments */
    OK(&fx->port, put_definition, one, "a", text("set-1b"), 3);
    commit(&fx->port);
    reopen(fx);
    seen.count = 0;
    OK(&fx->port, list_definitions, see_definition, &seen);
    assert_int_equal(seen.count, 3);
    for (size_t i = 0; i < seen.count; i++) {
        assert_int_equal(seen.flags[i], seen.positions[i] != 2);
        const char *sets[] = {"", "set-1b", "set-2", "set-1"};
        assert_string_equal(seen.texts[i], sets[seen.positions[i]]);
    }
}

/* ---- Threads: the relays read while the loop writes ---- */

enum { WRITTEN = 2000 };

struct reader {
    const struct saga_store_port *port;
    int64_t after;
    size_t count;
    bool audit;
    bool failed;
};

static bool read_audit(void *user, const struct saga_audit_row *row)
{
    struct reader *reader = user;
    reader->failed =
        reader->failed || row->position <= reader->after || row->seq != reader->count + 1;
    reader->after = row->position;
    reader->count++;
    return true;
}

static bool read_outbox(void *user, const struct saga_outbox_row *row)
{
    struct reader *reader = user;
    reader->failed =
        reader->failed || row->position <= reader->after || row->attempt != reader->count + 1;
    reader->after = row->position;
    reader->count++;
    return true;
}

static void *reader_main(void *user)
{
    struct reader *reader = user;
    struct saga_err_detail detail;
    while (reader->count < WRITTEN && !reader->failed) {
        enum saga_err err =
            reader->audit ? reader->port->ops->relay_audit(reader->port->store, reader->after, 100,
                                                           read_audit, reader, &detail)
                          : reader->port->ops->relay_outbox(reader->port->store, reader->after, 100,
                                                            read_outbox, reader, &detail);
        (void)reader->port->ops->offset(reader->port->store, "t", 0);
        reader->failed = reader->failed || err != SAGA_ERR_OK;
    }
    return NULL;
}

static void test_relays_when_reading_while_writing_then_every_row_once_in_order(void **state)
{
    struct fixture *fx = *state;
    struct reader readers[2] = {{.port = &fx->port, .audit = true}, {.port = &fx->port}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &readers[i]), 0);
    }
    for (unsigned n = 0; n < WRITTEN;) {
        begin(&fx->port);
        for (unsigned i = 0; i < 20; i++, n++) {
            append_audit(&fx->port, 1, n + 1);
            (void)append_outbox(&fx->port, n);
            OK(&fx->port, set_offset, "t", (int32_t)(n % 100), (int64_t)n);
        }
        commit(&fx->port);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(readers[i].failed);
        assert_int_equal(readers[i].count, WRITTEN);
    }
}

int port_suite_run(const char *name, const struct port_suite_factory *of)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    static const struct CMUnitTest tests[] = {
        CASE(test_saga_when_inserted_then_found_by_id_and_key),
        CASE(test_saga_when_bytes_are_empty_or_binary_then_kept),
        CASE(test_saga_when_key_is_used_then_exists_and_transaction_goes_on),
        CASE(test_saga_when_updated_then_new_values_and_old_seq_refused),
        CASE(test_live_when_paged_then_every_live_saga_once_in_order),
        CASE(test_live_when_visitor_stops_then_no_more_rows),
        CASE(test_list_when_filtered_and_paged_then_newest_first),
        CASE(test_transaction_when_rolled_back_then_nothing_is_left),
        CASE(test_write_when_outside_a_transaction_then_refused),
        CASE(test_commit_when_process_is_killed_then_all_of_it_is_there),
        CASE(test_lease_when_taken_by_another_then_begin_is_fenced),
        CASE(test_lease_when_its_transaction_is_rolled_back_then_not_held),
        CASE(test_lease_when_taken_over_then_positions_and_offsets_go_on),
        CASE(test_audit_when_appended_then_relayed_in_order_and_listed_by_saga),
        CASE(test_audit_when_a_seq_comes_twice_then_refused),
        CASE(test_outbox_when_cursor_is_set_then_rows_go_and_positions_ascend),
        CASE(test_outbox_when_rolled_back_then_relay_never_saw_it),
        CASE(test_cursor_when_set_back_then_it_stays),
        CASE(test_offset_when_committed_then_seen_and_kept),
        CASE(test_definition_when_put_then_newest_is_current_and_set_stored),
        CASE(test_relays_when_reading_while_writing_then_every_row_once_in_order),
    };
#undef CASE
    factory = of;
    print_message("store port suite: %s, %zu tests\n", name, ARRAY_SIZE(tests));
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
