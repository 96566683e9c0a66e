/* Sagas in flight: whatever order due times come and change in, the earliest is first. A timer that
 * sinks in the heap is a saga that never ends (S1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "orchestrator/runtime/live.h"

enum { SAGAS = 97, CHANGES = 20000, DUE_MAX = 1000 };

static struct live *put_one(struct live_table *table, uint8_t number)
{
    static const struct saga_texts texts = {
        .cause_reason = "", .cause_message = "", .traceparent = "", .parent_step = ""};
    struct live *live = live_new(NULL, "key", &texts);
    assert_non_null(live);
    live->saga.id = (struct saga_id){{0}};
    live->saga.id.b[15] = number;
    live->saga.id.b[8] = (uint8_t)(number * 37);
    assert_int_equal(live_table_put(table, live), SAGA_ERR_OK);
    return live;
}

/* Asserts that the first one is due first; 0 is never. */
static void assert_first(const struct live_table *table, struct live *const *sagas, size_t count)
{
    int64_t earliest = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t due = sagas[i] == NULL ? 0 : sagas[i]->due_unix_ms;
        earliest = due != 0 && (earliest == 0 || due < earliest) ? due : earliest;
    }
    const struct live *first = live_table_first(table);
    assert_int_equal(first == NULL ? 0 : first->due_unix_ms, earliest);
}

static void test_timers_when_they_change_in_any_order_then_the_earliest_is_first(void **state)
{
    (void)state;
    struct live_table table = {0};
    struct live *sagas[SAGAS] = {0};
    uint64_t prng = 7;
    for (int i = 0; i < CHANGES; i++) {
        size_t at = (size_t)saga_prng_below(&prng, SAGAS);
        uint64_t act = saga_prng_below(&prng, 16);
        if (sagas[at] == NULL) {
            sagas[at] = put_one(&table, (uint8_t)at);
        } else if (act == 0) {
            live_table_take(&table, sagas[at]);
            live_free(sagas[at]);
            sagas[at] = NULL;
        } else {
            int64_t due = act == 1 ? 0 : 1 + (int64_t)saga_prng_below(&prng, DUE_MAX);
            live_table_set_due(&table, sagas[at], due);
        }
        assert_first(&table, sagas, SAGAS);
    }
    live_table_fini(&table);
}

static void test_timer_when_it_becomes_the_earliest_then_is_first_at_once(void **state)
{
    (void)state;
    struct live_table table = {0};
    struct live *sagas[3];
    for (uint8_t i = 0; i < 3; i++) {
        sagas[i] = put_one(&table, i);
        live_table_set_due(&table, sagas[i], 100 + i);
    }
    live_table_set_due(&table, sagas[2], 50); /* its retry comes before its deadline */
    assert_ptr_equal(live_table_first(&table), sagas[2]);
    live_table_set_due(&table, sagas[2], 0);
    assert_ptr_equal(live_table_first(&table), sagas[0]);
    live_table_fini(&table);
}

static void test_table_when_it_grows_then_every_saga_is_still_found(void **state)
{
    (void)state;
    struct live_table table = {0};
    static struct live *sagas[3000];
    for (size_t i = 0; i < 3000; i++) {
        static const struct saga_texts texts = {
            .cause_reason = "", .cause_message = "", .traceparent = "", .parent_step = ""};
        sagas[i] = live_new(NULL, "key", &texts);
        assert_non_null(sagas[i]);
        memcpy(sagas[i]->saga.id.b + 8, &i, sizeof i);
        assert_int_equal(live_table_put(&table, sagas[i]), SAGA_ERR_OK);
    }
    assert_int_equal(table.count, 3000);
    for (size_t i = 0; i < 3000; i++) {
        assert_ptr_equal(live_table_find(&table, sagas[i]->saga.id), sagas[i]);
    }
    live_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_when_they_change_in_any_order_then_the_earliest_is_first),
        cmocka_unit_test(test_timer_when_it_becomes_the_earliest_then_is_first_at_once),
        cmocka_unit_test(test_table_when_it_grows_then_every_saga_is_still_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
