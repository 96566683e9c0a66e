#include "tests/unit/store/port_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct port_suite_factory *factory;

/* ---- A world with one open store that holds the lease ---- */

void ok(enum saga_err err, const struct saga_err_detail *detail)
{
    if (err != SAGA_ERR_OK) {
        fail_msg("%s: %s", saga_err_name(err), detail->text);
    }
}

void begin(const struct saga_store_port *port)
{
    struct saga_err_detail detail = {.text = ""};
    ok(port->ops->begin(port->store, &detail), &detail);
}

void commit(const struct saga_store_port *port)
{
    struct saga_err_detail detail = {.text = ""};
    ok(port->ops->commit(port->store, &detail), &detail);
}

uint64_t take_lease(const struct saga_store_port *port)
{
    uint64_t epoch = 0;
    begin(port);
    OK(port, take_lease, "test", &epoch);
    commit(port);
    return epoch;
}

void open_store(struct fixture *fx)
{
    struct saga_err_detail detail = {.text = ""};
    ok(factory->open(fx->world, &fx->port, &detail), &detail);
}

void reopen(struct fixture *fx)
{
    fx->port.ops->close(fx->port.store);
    open_store(fx);
    fx->epoch = take_lease(&fx->port);
}

int setup(void **state)
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

int teardown(void **state)
{
    struct fixture *fx = *state;
    fx->port.ops->close(fx->port.store);
    factory->world_free(fx->world);
    free(fx);
    return 0;
}

/* ---- Rows ---- */

/* Ids ascend with n, as those of the product ascend with time. */
struct saga_id id_of(unsigned n)
{
    return saga_id_make(1700000000000 + (int64_t)n, 0, n * 7919U);
}

struct saga_bytes text(const char *bytes)
{
    return saga_bytes_text(bytes);
}

struct saga_row row_of(unsigned n, struct row_space *space)
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

void assert_same_row(const struct saga_row *a, const struct saga_row *b)
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

void insert_row(const struct saga_store_port *port, const struct saga_row *row)
{
    OK(port, put_definition, row->definition_hash, "of-rows", text("of rows"), 1);
    OK(port, insert_saga, row);
}

void insert(const struct saga_store_port *port, unsigned n)
{
    struct row_space space;
    struct saga_row row = row_of(n, &space);
    insert_row(port, &row);
}

void end_saga(const struct saga_store_port *port, unsigned n, uint8_t state)
{
    struct row_space space;
    struct saga_row row = row_of(n, &space);
    row.state = state;
    row.live = state != COMPLETED && state != COMPENSATED;
    row.seq = 9;
    OK(port, update_saga, &row);
}

void append_audit(const struct saga_store_port *port, unsigned n, uint64_t seq)
{
    char event[48];
    (void)snprintf(event, sizeof event, "event-%u-%llu", n, (unsigned long long)seq);
    struct saga_audit_row row = {
        .id = id_of(n), .seq = seq, .time_unix_ms = 1000 + (int64_t)seq, .event = text(event)};
    OK(port, append_audit, &row);
}

int64_t append_outbox(const struct saga_store_port *port, unsigned n)
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

static bool seen_go_on(const struct seen *seen)
{
    assert_true(seen->count < SEEN_MAX);
    return seen->stop_at == 0 || seen->count < seen->stop_at;
}

bool see_row(void *user, const struct saga_row *row)
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

bool see_audit(void *user, const struct saga_audit_row *row)
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

bool see_outbox(void *user, const struct saga_outbox_row *row)
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

bool see_definition(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
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
