/* Child sagas on the real store: what is there after a crash, and when the store fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/envelope.h"
#include "saga/v1/audit.pb-c.h"
#include "tests/unit/runtime/family.h"

/* ---- Crashes ---- */

static void test_recovery_when_children_are_out_then_goes_on_without_a_second_one(void **state)
{
    struct world *world = *state;
    struct family family = family_begin(world);
    family_answer_call(world, family.goods, GOODS_STOCK, SAGA_CODE_OK, family_total);
    world_crash(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 3);
    assert_int_equal(world->sent_count, 1); /* the ticket's call; nothing else was out */
    family_answer_call(world, family.goods, GOODS_TICKET, SAGA_CODE_OK, family_ticket);
    family_assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_SUCCEEDED);
    family.settle = family_child(world, "settle", family.order, "settle");
    world_crash(world);
    family_answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_OK, family_payment);
    family_answer_call(world, family.settle, SETTLE_ACCEPT, SAGA_CODE_OK, family_nothing);
    family_answer_call(world, family.order, PARENT_CONFIRM, SAGA_CODE_OK, family_nothing);
    family_assert_state(world, family.order, SAGA_STATE_COMPLETED);
}

static void test_recovery_when_a_reversed_child_is_out_then_it_is_still_undone(void **state)
{
    struct world *world = *state;
    struct family family = family_prepare(world);
    family_answer_call(world, family.settle, SETTLE_PAYMENT, SAGA_CODE_FAILED_PRECONDITION,
                       family_nothing);
    world_crash(world); /* goods had COMPLETED, and is in flight again */
    assert_int_equal(saga_runtime_live_count(world->runtime), 3);
    family_undo_prepared(world, &family);
}

/* A parent is loaded with an earlier page than its child: what it asks for waits. */
static void test_recovery_when_children_are_on_a_later_page_then_each_is_taken_up_once(void **state)
{
    struct world *world = *state;
    enum { MANY = 600 };
    static struct saga_id parents[MANY];
    world->live_max = 2 * MANY;
    world_crash(world);
    saga_runtime_turn_begin(world->runtime, world->now);
    for (int i = 0; i < MANY; i++) {
        static const uint8_t input[] = {0x08, 5, 0x10, 7};
        char key[8];
        (void)snprintf(key, sizeof key, "%d", i);
        struct saga_start start = {.definition = "prepare",
                                   .key = key,
                                   .input = {input, sizeof input},
                                   .traceparent = "",
                                   .ticket = world};
        saga_runtime_start(world->runtime, &start);
        if (i % WORLD_ANSWERS_MAX == WORLD_ANSWERS_MAX - 1 || i == MANY - 1) {
            assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
            for (size_t a = 0; a < world->answer_count; a++) {
                parents[(size_t)i + 1 - world->answer_count + a] = world->answers[a].id;
            }
            world->answer_count = 0;
            world->sent_count = 0;
            saga_runtime_turn_begin(world->runtime, world->now);
        }
    }
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    world->now += 1; /* children have later ids */
    for (int i = 0; i < MANY; i++) {
        family_answer_call(world, parents[i], PREPARE_CUSTOMER, SAGA_CODE_OK, family_nothing);
        family_operate(world, parents[i], SAGA_ACT_CANCEL);
        world->answer_count = 0;
        world->sent_count = 0;
    }
    assert_int_equal(saga_runtime_live_count(world->runtime), 2 * MANY);
    world_crash(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 2 * MANY);
    for (int i = 0; i < MANY; i++) {
        family_answer_undo(world, family_child(world, "hold-goods", parents[i], "goods"),
                           GOODS_STOCK);
        family_assert_state(world, parents[i], SAGA_STATE_COMPENSATED);
    }
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* Every event of a tree's sagas, from the log: chained (S9), and a child's START names its parent.
 */
struct told {
    struct saga_id parent;
    char step[SAGA_STEP_NAME_MAX + 1];
    uint64_t seq;
};

static bool visit_event(void *user, const struct saga_audit_row *row)
{
    struct told *told = user;
    struct saga_arena arena = {0};
    const Saga__V1__AuditEvent *event = (const Saga__V1__AuditEvent *)saga_message_decode(
        &saga__v1__audit_event__descriptor, row->event, &arena);
    assert_non_null(event);
    assert_int_equal(event->seq, told->seq + 1);
    told->seq = event->seq;
    if (event->seq == 1) {
        assert_int_equal(event->parent_saga_id.len, SAGA_ID_SIZE);
        memcpy(told->parent.b, event->parent_saga_id.data, SAGA_ID_SIZE);
        (void)snprintf(told->step, sizeof told->step, "%s", event->parent_step);
    }
    saga_arena_fini(&arena);
    return true;
}

static void test_log_when_a_saga_is_a_child_then_its_start_names_its_parent(void **state)
{
    struct world *world = *state;
    struct family family = family_begin(world);
    struct saga_audit_range range = {family.goods, 0, 10};
    struct told told = {.seq = 0};
    assert_int_equal(
        world->inner.ops->list_audit(world->inner.store, &range, visit_event, &told, NULL),
        SAGA_ERR_OK);
    assert_true(told.seq > 0);
    assert_true(saga_id_equal(told.parent, family.prepare));
    assert_string_equal(told.step, "goods");
}

/* ---- A failing store ---- */

/* One turn that starts, ends, tells or reverses sagas; world is where it is about to happen. */
typedef void scene(struct world *world, struct family *family);
typedef void turn_of(struct world *world, const struct family *family);

static void scene_started(struct world *world, struct family *family)
{
    *family = family_begin(world);
    family_answer_call(world, family->goods, GOODS_STOCK, SAGA_CODE_OK, family_total);
}

static void turn_ticket(struct world *world, const struct family *family)
{
    struct saga_runtime_reply reply = {.saga_id = family->goods,
                                       .step = GOODS_TICKET,
                                       .op = SAGA_OP_CALL,
                                       .payload = family_ticket};
    family_give_reply(world, &reply);
}

static void scene_prepared(struct world *world, struct family *family)
{
    *family = family_prepare(world);
}

static void turn_declined(struct world *world, const struct family *family)
{
    struct saga_runtime_reply reply = {.saga_id = family->settle,
                                       .step = SETTLE_PAYMENT,
                                       .op = SAGA_OP_CALL,
                                       .code = SAGA_CODE_FAILED_PRECONDITION,
                                       .reason = "PAYMENT_DECLINED",
                                       .message = ""};
    family_give_reply(world, &reply);
}

static void scene_undone(struct world *world, struct family *family)
{
    *family = family_prepare(world);
    turn_declined(world, family);
    assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
    family_answer_undo(world, family->goods, GOODS_TICKET);
}

static void turn_released(struct world *world, const struct family *family)
{
    struct saga_runtime_reply reply = {
        .saga_id = family->goods, .step = GOODS_STOCK, .op = SAGA_OP_UNDO};
    family_give_reply(world, &reply);
}

/* The states of a family, to be compared. */
static void read_family(struct world *world, const struct family *family, struct saga_look looks[3])
{
    looks[0] = family_look(world, family->order);
    looks[1] = family_look(world, family->prepare);
    looks[2] = family_look(world, family->goods);
}

/* Lets every store call of a turn fail, each in a world of its own: after it nothing of the turn is
 * there, and a new process does all of it. */
static void fail_each_call(scene *before, turn_of *turn, unsigned failures_min)
{
    bool failed = true;
    unsigned failures = 0;
    for (unsigned nth = 1; failed; nth++) {
        struct world *world = calloc(1, sizeof *world);
        struct family family = {{{0}}, {{0}}, {{0}}, {{0}}};
        struct saga_look was[3];
        struct saga_look is[3];
        assert_non_null(world);
        world_open_with(world, SAGA_NESTED_SET);
        before(world, &family);
        read_family(world, &family, was);
        size_t live = saga_runtime_live_count(world->runtime);
        world->sent_count = 0;
        world->calls = 0;
        world->fail_at = nth;
        world->reads_fail = true;
        turn(world, &family);
        failed = saga_runtime_turn_end(world->runtime, false, NULL) != SAGA_ERR_OK;
        world->reads_fail = false;
        if (failed) {
            failures += 1;
            assert_int_equal(world->sent_count, 0);
            world_crash(world);
            assert_int_equal(saga_runtime_live_count(world->runtime), live);
            read_family(world, &family, is);
            for (size_t i = 0; i < 3; i++) {
                assert_int_equal(is[i].saga.state, was[i].saga.state);
            }
            turn(world, &family);
            assert_int_equal(saga_runtime_turn_end(world->runtime, false, NULL), SAGA_ERR_OK);
        }
        read_family(world, &family, is);
        assert_int_not_equal(is[2].saga.state, was[2].saga.state);
        world_fini(world);
        free(world);
    }
    assert_true(failures >= failures_min);
}

static void
test_store_when_any_call_of_a_childs_end_fails_then_all_of_it_is_done_again(void **state)
{
    (void)state;
    /* begin; audit of goods, prepare, order; settle: insert, audit; five rows; commit */
    fail_each_call(scene_started, turn_ticket, 10);
}

static void test_store_when_any_call_of_a_reversal_fails_then_all_of_it_is_done_again(void **state)
{
    (void)state;
    fail_each_call(scene_prepared, turn_declined, 10);
}

static void
test_store_when_any_call_of_an_undos_end_fails_then_all_of_it_is_done_again(void **state)
{
    (void)state;
    fail_each_call(scene_undone, turn_released, 8);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, family_setup, family_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_recovery_when_children_are_out_then_goes_on_without_a_second_one),
        CASE(test_recovery_when_a_reversed_child_is_out_then_it_is_still_undone),
        CASE(test_recovery_when_children_are_on_a_later_page_then_each_is_taken_up_once),
        CASE(test_log_when_a_saga_is_a_child_then_its_start_names_its_parent),
        cmocka_unit_test(
            test_store_when_any_call_of_a_childs_end_fails_then_all_of_it_is_done_again),
        cmocka_unit_test(test_store_when_any_call_of_a_reversal_fails_then_all_of_it_is_done_again),
        cmocka_unit_test(
            test_store_when_any_call_of_an_undos_end_fails_then_all_of_it_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
