/* The store port: rows of sagas, the live ones, listings. */
#include "tests/unit/store/port_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- Sagas ---- */

static void test_saga_when_inserted_then_found_by_id_and_key(void **state)
{
    struct fixture *fx = *state;
    struct row_space space;
    struct saga_row row = row_of(2, &space);
    struct saga_row found;
    begin(&fx->port);
    insert_row(&fx->port, &row);
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
    insert_row(&fx->port, &row);
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
    insert_row(&fx->port, &row);
    commit(&fx->port);
    begin(&fx->port);
    insert(&fx->port, 4);
    row.id = id_of(6);
    FAILS(SAGA_ERR_EXISTS, &fx->port, insert_saga, &row); /* S10 */
    insert(&fx->port, 8);
    row.definition_name = "other"; /* keys are of a definition */
    insert_row(&fx->port, &row);
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
    insert_row(&fx->port, &row);
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

int port_saga_tests(void)
{
    static const struct CMUnitTest tests[] = {
        PORT_CASE(test_saga_when_inserted_then_found_by_id_and_key),
        PORT_CASE(test_saga_when_bytes_are_empty_or_binary_then_kept),
        PORT_CASE(test_saga_when_key_is_used_then_exists_and_transaction_goes_on),
        PORT_CASE(test_saga_when_updated_then_new_values_and_old_seq_refused),
        PORT_CASE(test_live_when_paged_then_every_live_saga_once_in_order),
        PORT_CASE(test_live_when_visitor_stops_then_no_more_rows),
        PORT_CASE(test_list_when_filtered_and_paged_then_newest_first),
    };
    return cmocka_run_group_tests_name("port_saga_tests", tests, NULL, NULL);
}
