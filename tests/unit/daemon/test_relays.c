/* sagad's relays between the store and the bus. The bus's relay is made up here, so that a test
 * decides what Kafka has: the durable cursor must never be ahead of that (S9, S6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/daemon/relays.h"

enum { RELAYS = 2, FETCHED_MAX = 8 };

/* ---- The bus, made up ---- */

struct saga_relay {
    struct saga_relay_config config;
};

static struct saga_relay made[RELAYS];
static size_t made_count;

enum saga_err saga_relay_start(const struct saga_relay_config *config, struct saga_relay **relay,
                               struct saga_err_detail *detail)
{
    (void)detail;
    assert_true(made_count < RELAYS);
    made[made_count].config = *config;
    *relay = &made[made_count++];
    return SAGA_ERR_OK;
}

void saga_relay_wake(struct saga_relay *relay)
{
    (void)relay;
}

bool saga_relay_up(const struct saga_relay *relay)
{
    (void)relay;
    return true;
}

void saga_relay_missing(struct saga_relay *relay, char *names, size_t size, bool *full)
{
    (void)snprintf(names, size, "%s", relay == &made[1] ? "" : "saga-audit");
    *full = false;
}

int64_t saga_relay_position(const struct saga_relay *relay)
{
    return relay->config.position;
}

enum saga_err saga_relay_drain(struct saga_relay *relay, int64_t timeout_ms)
{
    (void)relay;
    (void)timeout_ms;
    return SAGA_ERR_OK;
}

void saga_relay_free(struct saga_relay *relay)
{
    (void)relay;
}

/* ---- The runtime, made up: what it is told ---- */

static char cursor_name[16];
static int64_t cursor_position;
static unsigned cursor_count;
static uint32_t durable_attempts[FETCHED_MAX];
static unsigned durable_count;

void saga_runtime_cursor(struct saga_runtime *runtime, const char *name, int64_t position)
{
    (void)runtime;
    (void)snprintf(cursor_name, sizeof cursor_name, "%s", name);
    cursor_position = position;
    cursor_count++;
}

void saga_runtime_durable(struct saga_runtime *runtime, struct saga_id id, uint8_t step,
                          enum saga_op op, uint32_t attempt)
{
    (void)runtime;
    (void)id;
    (void)step;
    assert_int_equal(op, SAGA_OP_UNDO);
    assert_true(durable_count < FETCHED_MAX);
    durable_attempts[durable_count++] = attempt;
}

/* ---- The store, made up: rows 11 to 14 ---- */

enum { ROW_FIRST = 11, ROW_LAST = 14 };

static bool cursor_fails;

static int64_t cursor_of(struct saga_store *store, const char *name)
{
    (void)store;
    (void)name;
    return cursor_fails ? -1 : ROW_FIRST - 1;
}

static enum saga_err relay_audit(struct saga_store *store, int64_t after, size_t count_max,
                                 saga_audit_visit *visit, void *user,
                                 struct saga_err_detail *detail)
{
    (void)store;
    (void)count_max;
    (void)detail;
    for (int64_t at = after + 1; at <= ROW_LAST; at++) {
        struct saga_audit_row row = {.position = at,
                                     .id = {{7}},
                                     .seq = (uint64_t)(at - ROW_FIRST + 1),
                                     .event = saga_bytes_text("event")};
        if (!visit(user, &row)) {
            break;
        }
    }
    return SAGA_ERR_OK;
}

static enum saga_err relay_outbox(struct saga_store *store, int64_t after, size_t count_max,
                                  bool (*visit)(void *user, const struct saga_outbox_row *row),
                                  void *user, struct saga_err_detail *detail)
{
    (void)store;
    (void)count_max;
    (void)detail;
    for (int64_t at = after + 1; at <= ROW_LAST; at++) {
        struct saga_outbox_row row = {.position = at,
                                      .id = {{7}},
                                      .step = 2,
                                      .op = SAGA_OP_UNDO,
                                      .attempt = (uint32_t)at,
                                      .topic = "topic",
                                      .traceparent = "",
                                      .value = saga_bytes_text("command")};
        if (!visit(user, &row)) {
            break;
        }
    }
    return SAGA_ERR_OK;
}

/* ---- Tests ---- */

struct fixture {
    struct saga_inbox *inbox;
    struct relays *relays;
    struct saga_relay *audit;
    struct saga_relay *outbox;
};

static int setup(void **state)
{
    static const struct saga_store_ops ops = {
        .cursor = cursor_of, .relay_audit = relay_audit, .relay_outbox = relay_outbox};
    struct fixture *fx = calloc(1, sizeof *fx);
    struct saga_kafka_config kafka = {.bootstrap = "nowhere", .client_id = "test"};
    struct saga_store_port store = {.ops = &ops};
    assert_non_null(fx);
    made_count = 0;
    cursor_count = 0;
    durable_count = 0;
    assert_int_equal(saga_inbox_new(16, &fx->inbox), SAGA_ERR_OK);
    assert_int_equal(relays_start(&kafka, &store, fx->inbox, &fx->relays, NULL), SAGA_ERR_OK);
    for (size_t i = 0; i < made_count; i++) {
        bool audit = strcmp(made[i].config.name, "audit") == 0;
        *(audit ? &fx->audit : &fx->outbox) = &made[i];
    }
    assert_non_null(fx->audit);
    assert_non_null(fx->outbox);
    *state = fx;
    return 0;
}

static void test_start_when_a_cursor_cannot_be_read_then_fails_and_publishes_nothing(void **state)
{
    struct fixture *fx = *state;
    static const struct saga_store_ops ops = {
        .cursor = cursor_of, .relay_audit = relay_audit, .relay_outbox = relay_outbox};
    struct saga_kafka_config kafka = {.bootstrap = "nowhere", .client_id = "test"};
    struct saga_store_port store = {.ops = &ops};
    struct relays *relays = NULL;
    size_t made_before = made_count;
    cursor_fails = true;
    assert_int_equal(relays_start(&kafka, &store, fx->inbox, &relays, NULL), SAGA_ERR_IO);
    cursor_fails = false;
    assert_null(relays);
    assert_int_equal(made_count, made_before);
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    relays_free(fx->relays);
    saga_inbox_free(fx->inbox);
    free(fx);
    return 0;
}

static size_t fetch(struct saga_relay *relay, int64_t after,
                    struct saga_relay_row rows[FETCHED_MAX])
{
    size_t count = 0;
    assert_int_equal(
        relay->config.fetch(relay->config.user, after, FETCHED_MAX, rows, &count, NULL),
        SAGA_ERR_OK);
    return count;
}

/* Kafka has everything up to a position; the loop takes what it is told. */
static void advance(struct fixture *fx, struct saga_relay *relay, int64_t position)
{
    relay->config.advanced(relay->config.user, position);
    struct saga_inbox_entry *entry = saga_inbox_take(fx->inbox, 16, 0);
    assert_non_null(entry);
    assert_null(entry->next);
    relays_take((struct input *)entry, NULL);
}

static void test_cursor_when_kafka_has_some_rows_then_is_not_ahead_of_them(void **state)
{
    struct fixture *fx = *state;
    struct saga_relay_row rows[FETCHED_MAX];
    assert_int_equal(fx->audit->config.position, ROW_FIRST - 1);
    assert_int_equal(fetch(fx->audit, ROW_FIRST - 1, rows), 4);
    advance(fx, fx->audit, 12);
    assert_int_equal(cursor_count, 1);
    assert_string_equal(cursor_name, "audit");
    assert_int_equal(cursor_position, 12); /* 13 and 14 are not on Kafka yet */
    assert_int_equal(fetch(fx->outbox, ROW_FIRST - 1, rows), 4);
    advance(fx, fx->outbox, 13);
    assert_string_equal(cursor_name, "outbox");
    assert_int_equal(cursor_position, 13);
}

static void test_commands_when_kafka_has_them_then_just_those_are_durable(void **state)
{
    struct fixture *fx = *state;
    struct saga_relay_row rows[FETCHED_MAX];
    assert_int_equal(fetch(fx->outbox, ROW_FIRST - 1, rows), 4);
    advance(fx, fx->outbox, 12);
    assert_int_equal(durable_count, 2);
    assert_int_equal(durable_attempts[0], 11);
    assert_int_equal(durable_attempts[1], 12);
    assert_int_equal(fetch(fx->outbox, 12, rows), 2); /* read again: remembered once */
    advance(fx, fx->outbox, 14);
    assert_int_equal(durable_count, 4);
    assert_int_equal(durable_attempts[2], 13);
    assert_int_equal(durable_attempts[3], 14);
}

/* The relay reads again from its cursor, as much as fits; then it tells of more than that: what it
 * had read before was on Kafka already. */
static void test_commands_when_read_again_in_part_then_all_that_are_told_are_durable(void **state)
{
    struct fixture *fx = *state;
    struct saga_relay_row rows[FETCHED_MAX];
    assert_int_equal(fetch(fx->outbox, ROW_FIRST - 1, rows), 4);
    size_t count = 0;
    assert_int_equal(
        fx->outbox->config.fetch(fx->outbox->config.user, ROW_FIRST - 1, 1, rows, &count, NULL),
        SAGA_ERR_OK);
    assert_int_equal(count, 1);
    advance(fx, fx->outbox, 14);
    assert_int_equal(durable_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(durable_attempts[i], ROW_FIRST + i);
    }
}

static void
test_command_when_ahead_of_one_that_waits_then_is_durable_and_the_cursor_stays(void **state)
{
    struct fixture *fx = *state;
    struct saga_relay_row rows[FETCHED_MAX];
    assert_null(fx->audit->config.delivered);
    assert_int_equal(fetch(fx->outbox, ROW_FIRST - 1, rows), 4);
    fx->outbox->config.delivered(fx->outbox->config.user, 13);
    struct saga_inbox_entry *entry = saga_inbox_take(fx->inbox, 16, 0);
    assert_non_null(entry);
    relays_take((struct input *)entry, NULL);
    assert_int_equal(durable_count, 1);
    assert_int_equal(durable_attempts[0], 13);
    assert_int_equal(cursor_count, 0);
    fx->outbox->config.delivered(fx->outbox->config.user, 15); /* nobody knows it */
    assert_null(saga_inbox_take(fx->inbox, 16, 0));
    advance(fx, fx->outbox, 12);
    assert_int_equal(cursor_position, 12);
    assert_int_equal(durable_count, 3);
}

static void test_missing_when_a_topic_is_missing_then_it_is_named(void **state)
{
    struct fixture *fx = *state;
    char names[32];
    bool full = true;
    relays_missing(fx->relays, names, sizeof names, &full);
    assert_string_equal(names, "saga-audit");
    assert_false(full);
    relays_missing(NULL, names, sizeof names, &full);
    assert_string_equal(names, "");
}

static void test_event_when_published_again_then_has_the_same_id(void **state)
{
    struct fixture *fx = *state;
    struct saga_relay_row rows[FETCHED_MAX];
    for (int again = 0; again < 2; again++) {
        assert_int_equal(fetch(fx->audit, 12, rows), 2);
        struct saga_bytes id = saga_kafka_header(&rows[0].records[0], "ce_id");
        static const char expected[] = "07000000-0000-0000-0000-000000000000/3";
        assert_int_equal(id.size, sizeof expected - 1);
        assert_memory_equal(id.data, expected, sizeof expected - 1);
        assert_int_equal(fetch(fx->outbox, 12, rows), 2);
        id = saga_kafka_header(&rows[1].records[0], "ce_id");
        assert_int_equal(id.size, strlen("sagad/14"));
        assert_memory_equal(id.data, "sagad/14", id.size);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_start_when_a_cursor_cannot_be_read_then_fails_and_publishes_nothing),
        CASE(test_cursor_when_kafka_has_some_rows_then_is_not_ahead_of_them),
        CASE(test_commands_when_kafka_has_them_then_just_those_are_durable),
        CASE(test_commands_when_read_again_in_part_then_all_that_are_told_are_durable),
        CASE(test_command_when_ahead_of_one_that_waits_then_is_durable_and_the_cursor_stays),
        CASE(test_missing_when_a_topic_is_missing_then_it_is_named),
        CASE(test_event_when_published_again_then_has_the_same_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
