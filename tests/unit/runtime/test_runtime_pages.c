/* What takes more than one turn, with pages of one saga: recovery and a clock that went back; and a
 * row that cannot be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/sql/sql.h"
#include "tests/unit/runtime/family.h"

enum { CUSTOMER = 1, STOCK = 2, WRONG_MS = 5 * 24 * 3600 * 1000 };

static struct saga_id start_order(struct world *world, const char *key)
{
    return family_start_named(world, "create-order", key);
}

/* ---- A row that cannot be read ---- */

/* Changes the file while nobody has it open. */
static void change_rows(const struct world *world, const char *text)
{
    struct saga_sql *sql = NULL;
    assert_int_equal(saga_sql_open(world->path, SAGA_SQL_READ_WRITE, &sql, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_sql_exec(sql, text, NULL), SAGA_ERR_OK);
    saga_sql_close(sql);
}

/* Recovers three sagas of which the second's row is damaged. */
static void assert_recovery_tells(struct world *world, const char *damage)
{
    struct saga_err_detail detail = {{0}};
    char id[SAGA_ID_TEXT_SIZE];
    bool more = false;
    (void)start_order(world, "1");
    world->now += 1;
    saga_id_format(start_order(world, "2"), id);
    world->now += 1;
    (void)start_order(world, "3");
    world_close_runtime(world);
    change_rows(world, damage);
    assert_int_equal(world_open_runtime(world), SAGA_ERR_CORRUPT);
    assert_int_equal(saga_runtime_recover(world->runtime, world->now, &more, &detail),
                     SAGA_ERR_CORRUPT);
    assert_non_null(strstr(detail.text, id));
    assert_non_null(strstr(detail.text, "create-order"));
}

static void test_recovery_when_a_record_cannot_be_read_then_fails_and_names_the_saga(void **state)
{
    assert_recovery_tells(*state, "UPDATE saga SET record = x'ff' WHERE start_key = '2'");
}

static void test_recovery_when_a_definition_is_missing_then_fails_and_names_the_saga(void **state)
{
    assert_recovery_tells(*state,
                          "UPDATE saga SET definition_hash = zeroblob(32) WHERE start_key = '2'");
}

static void test_recovery_when_pages_are_small_then_a_damaged_row_is_not_passed_over(void **state)
{
    struct world *world = *state;
    world->page_max = 1;
    assert_recovery_tells(world, "UPDATE saga SET record = x'ff' WHERE start_key = '2'");
    assert_int_equal(saga_runtime_live_count(world->runtime), 1);
}

/* ---- Pages of recovery ---- */

static void test_recovery_when_pages_are_small_then_all_are_taken_up_once(void **state)
{
    struct world *world = *state;
    static const char *const keys[] = {"1", "2", "3", "4", "5"};
    for (size_t i = 0; i < 5; i++) {
        (void)start_order(world, keys[i]);
    }
    world->page_max = 2;
    world_crash(world);
    assert_int_equal(saga_runtime_live_count(world->runtime), 5);
    assert_int_equal(world->sent_count, 10); /* customer and stock of each */
}

/* The child's page comes after its parent's and ends it, and it has left the memory before the last
 * page is there: only what its parent asked for on the first page tells how it ended. */
static void test_recovery_when_a_child_ends_on_its_page_then_its_parent_hears_of_it(void **state)
{
    struct world *world = *state;
    struct family family = {.order = family_start(world)};
    family.prepare = family_child(world, "prepare", family.order, "prepare");
    world->now += 26000; /* the child's deadline, not its parent's */
    world->page_max = 1;
    world_crash(world);
    family_assert_state(world, family.prepare, SAGA_STATE_COMPENSATED);
    family_assert_step(world, family.order, PARENT_PREPARE, SAGA_STEP_REJECTED);
    family_assert_state(world, family.order, SAGA_STATE_COMPENSATING);
    family_answer_undo(world, family.order, PARENT_ORDER);
    family_assert_state(world, family.order, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* The clock went back between the two, so that the child is loaded first. */
static void test_recovery_when_a_child_comes_before_its_parent_then_it_is_told_too(void **state)
{
    struct world *world = *state;
    world->now += WRONG_MS;
    struct saga_id order = family_start_named(world, "prepare", "1");
    world->now -= WRONG_MS;
    family_answer_call(world, order, PREPARE_CUSTOMER, SAGA_CODE_OK, family_nothing);
    struct saga_id goods = family_child(world, "hold-goods", order, "goods");
    assert_true(memcmp(goods.b, order.b, SAGA_ID_SIZE) < 0);
    family_answer_call(world, goods, GOODS_STOCK, SAGA_CODE_UNAVAILABLE, family_nothing);
    world->page_max = 1;
    world_crash(world);
    family_answer_call(world, goods, GOODS_STOCK, SAGA_CODE_FAILED_PRECONDITION, family_nothing);
    family_assert_state(world, order, SAGA_STATE_COMPENSATED);
    assert_int_equal(saga_runtime_live_count(world->runtime), 0);
}

/* ---- A clock that goes back ---- */

static void test_clock_when_many_wait_for_it_then_each_page_is_followed_by_the_next(void **state)
{
    struct world *world = *state;
    static const char *const keys[] = {"1", "2", "3", "4", "5"};
    struct saga_id ids[5];
    world->page_max = 1;
    world_crash(world);
    world->now += WRONG_MS;
    for (size_t i = 0; i < 5; i++) {
        ids[i] = start_order(world, keys[i]);
        family_answer_call(world, ids[i], CUSTOMER, SAGA_CODE_UNAVAILABLE, family_nothing);
        family_answer_call(world, ids[i], STOCK, SAGA_CODE_UNAVAILABLE, family_nothing);
    }
    assert_int_equal(world->sent_count, 10);
    world->now -= WRONG_MS;
    assert_int_equal(world_turn(world), SAGA_ERR_OK);
    assert_true(world->sent_count < 20); /* a page */
    for (int turns = 0; turns < 10000 && saga_runtime_next_due(world->runtime) == world->now;
         turns++) {
        assert_int_equal(world_turn(world), SAGA_ERR_OK);
    }
    assert_int_equal(world->sent_count, 20); /* each step of each saga once more */
    for (size_t i = 0; i < 5; i++) {
        struct saga_look look = family_look(world, ids[i]);
        assert_int_equal(look.saga.steps[CUSTOMER].call_attempts, 2);
        assert_int_equal(look.saga.steps[STOCK].call_attempts, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_recovery_when_a_record_cannot_be_read_then_fails_and_names_the_saga, family_setup,
            family_teardown),
        cmocka_unit_test_setup_teardown(
            test_recovery_when_a_definition_is_missing_then_fails_and_names_the_saga, family_setup,
            family_teardown),
        cmocka_unit_test_setup_teardown(
            test_recovery_when_pages_are_small_then_a_damaged_row_is_not_passed_over, family_setup,
            family_teardown),
        cmocka_unit_test_setup_teardown(
            test_recovery_when_pages_are_small_then_all_are_taken_up_once, family_setup,
            family_teardown),
        cmocka_unit_test_setup_teardown(
            test_recovery_when_a_child_ends_on_its_page_then_its_parent_hears_of_it, family_setup,
            family_teardown),
        cmocka_unit_test_setup_teardown(
            test_recovery_when_a_child_comes_before_its_parent_then_it_is_told_too, family_setup,
            family_teardown),
        cmocka_unit_test_setup_teardown(
            test_clock_when_many_wait_for_it_then_each_page_is_followed_by_the_next, family_setup,
            family_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
