/* What the runtime leaves on disk: the log of every saga without a gap (S9), each decision and each
 * act in it (S12, S13), and all that is unfinished taken up again, however much it is (S1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "orchestrator/codec/codec.h"
#include "saga/v1/audit.pb-c.h"
#include "tests/unit/runtime/world.h"

static const struct saga_bytes nothing = {NULL, 0};

/* Steps of create-order. */
enum { CUSTOMER = 1, STOCK = 2 };

enum { EVENTS_MAX = 32 };

struct log {
    Saga__V1__AuditEvent *events[EVENTS_MAX];
    uint64_t seqs[EVENTS_MAX];
    size_t count;
    uint8_t hash[SAGA_DIGEST_SIZE]; /* of the last one */
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_open(world);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

static bool take_event(void *user, const struct saga_audit_row *row)
{
    struct log *log = user;
    uint8_t hash[SAGA_DIGEST_SIZE];
    assert_true(log->count < EVENTS_MAX);
    Saga__V1__AuditEvent *event =
        saga__v1__audit_event__unpack(NULL, row->event.size, row->event.data);
    assert_non_null(event);
    assert_int_equal(saga_audit_verify(row->event, hash), SAGA_ERR_OK);
    if (log->count > 0) { /* S9: each names the one before */
        assert_int_equal(event->prev_hash.len, SAGA_DIGEST_SIZE);
        assert_memory_equal(event->prev_hash.data, log->hash, SAGA_DIGEST_SIZE);
    }
    memcpy(log->hash, hash, sizeof hash);
    log->seqs[log->count] = row->seq;
    log->events[log->count++] = event;
    return true;
}

/* Reads a saga's log and asserts that it is whole: numbered from 1 to what the saga says. */
static void read_log(struct world *world, struct saga_id id, struct log *log)
{
    struct saga_audit_range range = {.id = id, .count_max = EVENTS_MAX};
    *log = (struct log){.count = 0};
    assert_int_equal(
        world->inner.ops->list_audit(world->inner.store, &range, take_event, log, NULL),
        SAGA_ERR_OK);
    struct saga_look look;
    assert_int_equal(saga_runtime_look(world->runtime, id, &look, NULL), SAGA_ERR_OK);
    for (size_t i = 0; i < log->count; i++) {
        assert_int_equal(log->seqs[i], i + 1);
        assert_int_equal(log->events[i]->seq, i + 1);
    }
    assert_int_equal(log->count, look.saga.seq);
}

static void free_log(struct log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        saga__v1__audit_event__free_unpacked(log->events[i], NULL);
    }
}

static struct saga_id start_one(struct world *world)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    world_start(world, "1", 1);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    return world->answers[0].id;
}

static void answer(struct world *world, uint8_t step, enum saga_code code)
{
    size_t at = world->sent_count;
    while (at > 0 && world->sent[at - 1].step != step) {
        at--;
    }
    assert_true(at > 0);
    saga_runtime_turn_begin(world->runtime, world->now);
    world_reply(world, at - 1, code, nothing);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

static void durable(struct world *world, struct saga_id id, uint8_t step)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_durable(world->runtime, id, step, SAGA_OP_UNDO, 1);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
}

static void test_log_when_a_saga_turns_back_then_every_event_is_in_it(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_one(world);
    answer(world, STOCK, SAGA_CODE_OK);
    answer(world, CUSTOMER, SAGA_CODE_NOT_FOUND);
    durable(world, id, STOCK);
    struct log log;
    read_log(world, id, &log);
    assert_int_equal(log.count, 4);
    assert_int_equal(log.events[3]->kind, SAGA_EVENT_DURABLE);
    free_log(&log);
}

static void test_log_when_commands_leave_then_each_is_a_decision_in_it(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_one(world);
    answer(world, STOCK, SAGA_CODE_OK);
    answer(world, CUSTOMER, SAGA_CODE_NOT_FOUND);
    struct log log;
    read_log(world, id, &log);
    assert_int_equal(log.count, 3);
    assert_int_equal(log.events[0]->n_decisions, 2);
    assert_string_equal(log.events[0]->decisions[0]->step, "customer");
    assert_string_equal(log.events[0]->decisions[1]->step, "stock");
    assert_int_equal(log.events[1]->n_decisions, 0);
    assert_int_equal(log.events[2]->n_decisions, 1); /* S13: the undo answers to this one */
    assert_string_equal(log.events[2]->decisions[0]->step, "stock");
    assert_int_equal(log.events[2]->decisions[0]->op, SAGA_OP_UNDO);
    free_log(&log);
}

static void test_log_when_an_operator_acts_then_who_and_why_are_in_it(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_one(world);
    struct saga_operate cancel = {.saga_id = id,
                                  .step_name = "",
                                  .act = SAGA_ACT_CANCEL,
                                  .who = "ann",
                                  .why = "changed her mind",
                                  .ticket = world};
    saga_runtime_turn_begin(world->runtime, world->now);
    saga_runtime_operate(world->runtime, &cancel);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    assert_int_equal(world->answers[1].code, SAGA_CODE_OK);
    struct log log;
    read_log(world, id, &log);
    assert_int_equal(log.count, 2);
    assert_int_equal(log.events[1]->kind, SAGA_EVENT_OPERATOR);
    assert_non_null(log.events[1]->operator_);
    assert_int_equal(log.events[1]->operator_->act, SAGA_ACT_CANCEL);
    assert_string_equal(log.events[1]->operator_->who, "ann");
    assert_string_equal(log.events[1]->operator_->why, "changed her mind");
    free_log(&log);
}

/* Puts rows beside the one of a saga, alike but for id and key. */
static void multiply(struct world *world, struct saga_id id, size_t count)
{
    const struct saga_store_ops *ops = world->inner.ops;
    struct saga_row row;
    assert_int_equal(ops->begin(world->inner.store, NULL), SAGA_ERR_OK);
    for (size_t i = 1; i <= count; i++) {
        assert_int_equal(ops->find_saga(world->inner.store, id, &row, NULL), SAGA_ERR_OK);
        char key[16];
        (void)snprintf(key, sizeof key, "copy %zu", i);
        row.start_key = key;
        row.id.b[0] = 0xf0; /* behind the first */
        row.id.b[1] = (uint8_t)(i >> 8);
        row.id.b[2] = (uint8_t)i;
        assert_int_equal(ops->insert_saga(world->inner.store, &row, NULL), SAGA_ERR_OK);
    }
    assert_int_equal(ops->commit(world->inner.store, NULL), SAGA_ERR_OK);
}

static void test_recovery_when_there_is_more_than_a_page_then_all_are_taken_up(void **state)
{
    struct world *world = *state;
    struct saga_id id = start_one(world);
    answer(world, STOCK, SAGA_CODE_OK);
    answer(world, CUSTOMER, SAGA_CODE_NOT_FOUND); /* its undo waits for Kafka: nothing is sent */
    const size_t count = 2 * SAGA_TURN_COUNT_MAX + 7;
    multiply(world, id, count - 1);
    world_crash(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), count);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_log_when_a_saga_turns_back_then_every_event_is_in_it),
        CASE(test_log_when_commands_leave_then_each_is_a_decision_in_it),
        CASE(test_log_when_an_operator_acts_then_who_and_why_are_in_it),
        CASE(test_recovery_when_there_is_more_than_a_page_then_all_are_taken_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
