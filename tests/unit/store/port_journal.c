/* The store port: log, outbox, cursors, offsets, definitions, and the relays beside the loop. */
#include "tests/unit/store/port_fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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

static bool see_version(void *user, const struct saga_definition_row *row)
{
    struct seen *seen = user;
    seen->positions[seen->count] = row->hash[0];
    seen->flags[seen->count] = row->current;
    (void)snprintf(seen->texts[seen->count], sizeof seen->texts[0], "%s %lld", row->name,
                   (long long)row->created_unix_ms);
    seen->count += 1;
    return seen->stop_at == 0 || seen->count < seen->stop_at;
}

static bool see_hash(void *user, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    struct seen *seen = user;
    seen->positions[seen->count++] = hash[0];
    return seen->stop_at == 0 || seen->count < seen->stop_at;
}

static void put_versions(struct fixture *fx)
{
    static const uint8_t hashes[][SAGA_DIGEST_SIZE] = {{1}, {2}, {3}};
    begin(&fx->port);
    OK(&fx->port, put_definition, hashes[0], "a", text("set-1"), 10);
    OK(&fx->port, put_definition, hashes[1], "a", text("set-2"), 20);
    OK(&fx->port, put_definition, hashes[2], "b", text("set-3"), 30);
    commit(&fx->port);
}

static void test_versions_when_listed_then_the_current_one_and_the_newest_come_first(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t one[SAGA_DIGEST_SIZE] = {1};
    static const uint8_t none[SAGA_DIGEST_SIZE] = {9};
    put_versions(fx);
    for (int round = 0; round < 2; round++) {
        struct seen seen = {0};
        OK(&fx->port, list_versions, NULL, 100, see_version, &seen);
        assert_int_equal(seen.count, 3);
        assert_string_equal(seen.texts[0], "a 20");
        assert_string_equal(seen.texts[1], "a 10");
        assert_string_equal(seen.texts[2], "b 30");
        assert_true(seen.flags[0] && !seen.flags[1] && seen.flags[2]);
        seen.count = 0;
        OK(&fx->port, list_versions, "b", SIZE_MAX, see_version, &seen);
        assert_int_equal(seen.count, 1);
        seen.count = 0;
        OK(&fx->port, list_versions, NULL, 2, see_version, &seen);
        assert_int_equal(seen.count, 2);
        seen = (struct seen){.stop_at = 1};
        OK(&fx->port, list_versions, "a", 100, see_version, &seen);
        assert_int_equal(seen.count, 1);
        seen = (struct seen){0};
        OK(&fx->port, find_definition, one, see_definition, &seen);
        assert_string_equal(seen.texts[0], "set-1");
        assert_int_equal(seen.flags[0], 0);
        FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_definition, none, see_definition, &seen);
        assert_int_equal(seen.count, 1);
        reopen(fx);
    }
}

static void test_versions_when_there_are_many_then_the_newest_of_the_old_comes_first(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t hashes[][SAGA_DIGEST_SIZE] = {{4}, {1}, {3}, {2}};
    static const char *const expected[] = {"a 25", "a 40", "a 30", "a 10"};
    static const int64_t times[] = {30, 10, 40, 25}; /* of a clock that was set back */
    begin(&fx->port);
    for (size_t i = 0; i < 4; i++) {
        OK(&fx->port, put_definition, hashes[i], "a", text("set"), times[i]);
    }
    commit(&fx->port);
    struct seen seen = {0};
    OK(&fx->port, list_versions, "a", 100, see_version, &seen);
    assert_int_equal(seen.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(seen.texts[i], expected[i]);
    }
}

static void test_definition_when_removed_then_none_is_current_until_put_again(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t one[SAGA_DIGEST_SIZE] = {1};
    struct saga_err_detail detail = {.text = ""};
    put_versions(fx);
    assert_int_equal(fx->port.ops->remove_definition(fx->port.store, "a", &detail),
                     SAGA_ERR_INTERNAL); /* outside a transaction */
    begin(&fx->port);
    OK(&fx->port, remove_definition, "a");
    fx->port.ops->rollback(fx->port.store);
    struct seen seen = {0};
    OK(&fx->port, list_versions, "a", 100, see_version, &seen);
    assert_true(seen.flags[0]);
    begin(&fx->port);
    OK(&fx->port, remove_definition, "a");
    OK(&fx->port, remove_definition, "no-such");
    commit(&fx->port);
    reopen(fx);
    seen.count = 0;
    OK(&fx->port, list_versions, NULL, 100, see_version, &seen);
    assert_int_equal(seen.count, 3);
    assert_true(!seen.flags[0] && !seen.flags[1] && seen.flags[2]);
    begin(&fx->port);
    OK(&fx->port, put_definition, one, "a", text("set-1"), 99);
    commit(&fx->port);
    seen.count = 0;
    OK(&fx->port, list_versions, "a", 100, see_version, &seen);
    assert_string_equal(seen.texts[0], "a 10"); /* it was made then */
    assert_true(seen.flags[0] && !seen.flags[1]);
}

/* Version two of "a" is the current one, one is not. */
static void test_version_when_nobody_began_with_it_then_it_is_dropped_and_still_told(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t one[SAGA_DIGEST_SIZE] = {1};
    static const uint8_t two[SAGA_DIGEST_SIZE] = {2};
    struct saga_err_detail detail = {.text = ""};
    struct seen seen = {0};
    put_versions(fx);
    OK(&fx->port, list_unused_versions, 100, see_hash, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.positions[0], 1);
    assert_int_equal(fx->port.ops->drop_definition(fx->port.store, one, &detail),
                     SAGA_ERR_INTERNAL); /* outside a transaction */
    begin(&fx->port);
    OK(&fx->port, drop_definition, one);
    fx->port.ops->rollback(fx->port.store);
    OK(&fx->port, find_definition, one, see_definition, &seen);
    begin(&fx->port);
    OK(&fx->port, drop_definition, two); /* it is current: it stays */
    OK(&fx->port, drop_definition, one);
    OK(&fx->port, drop_definition, one);
    commit(&fx->port);
    for (int round = 0; round < 2; round++) {
        seen = (struct seen){0};
        FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_definition, one, see_definition, &seen);
        OK(&fx->port, list_unused_versions, 100, see_hash, &seen);
        OK(&fx->port, find_definition, two, see_definition, &seen);
        assert_int_equal(seen.count, 1);
        seen.count = 0;
        OK(&fx->port, list_versions, "a", 100, see_version, &seen);
        assert_int_equal(seen.count, 2);
        assert_string_equal(seen.texts[0], "a 20");
        assert_string_equal(seen.texts[1], "a 10");
        assert_true(seen.flags[0] && !seen.flags[1]);
        reopen(fx);
    }
    begin(&fx->port);
    OK(&fx->port, put_definition, one, "a", text("set-1"), 99);
    commit(&fx->port);
    seen.count = 0;
    OK(&fx->port, list_versions, NULL, 100, see_version, &seen);
    assert_int_equal(seen.count, 3); /* once, with the time of then */
    assert_string_equal(seen.texts[0], "a 10");
    assert_true(seen.flags[0] && !seen.flags[1]);
}

static void start_on(struct fixture *fx, unsigned n, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    struct row_space space;
    struct saga_row row = row_of(n, &space);
    memcpy(row.definition_hash, hash, SAGA_DIGEST_SIZE);
    OK(&fx->port, insert_saga, &row);
}

static void test_version_when_a_saga_began_with_it_then_it_is_never_dropped(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t one[SAGA_DIGEST_SIZE] = {1};
    static const uint8_t two[SAGA_DIGEST_SIZE] = {2};
    struct seen seen = {0};
    put_versions(fx);
    begin(&fx->port);
    start_on(fx, 7, one);
    fx->port.ops->rollback(fx->port.store); /* it never began */
    OK(&fx->port, list_unused_versions, 100, see_hash, &seen);
    assert_int_equal(seen.count, 1);
    for (unsigned round = 0; round < 2; round++) {
        begin(&fx->port);
        start_on(fx, 7 + 2 * round, one);
        start_on(fx, 8 + 2 * round, two);
        end_saga(&fx->port, 7 + 2 * round, COMPLETED);
        commit(&fx->port);
        begin(&fx->port);
        OK(&fx->port, remove_definition, "a");
        OK(&fx->port, drop_definition, one);
        OK(&fx->port, drop_definition, two);
        commit(&fx->port);
        seen.count = 0;
        OK(&fx->port, list_unused_versions, 100, see_hash, &seen);
        assert_int_equal(seen.count, 0);
        OK(&fx->port, find_definition, one, see_definition, &seen);
        OK(&fx->port, find_definition, two, see_definition, &seen);
        assert_int_equal(seen.count, 2);
        begin(&fx->port); /* put again it is still one that sagas began with */
        OK(&fx->port, put_definition, one, "a", text("set-1b"), 99);
        OK(&fx->port, put_definition, two, "a", text("set-2b"), 99);
        commit(&fx->port);
        reopen(fx);
    }
}

static void test_saga_when_its_version_is_not_stored_then_it_cannot_begin(void **state)
{
    struct fixture *fx = *state;
    struct row_space space;
    struct saga_row row = row_of(7, &space);
    struct saga_row found;
    static const uint8_t hash[SAGA_DIGEST_SIZE] = {1};
    put_versions(fx); /* 2 is current, nothing began with 1 */
    memcpy(row.definition_hash, hash, sizeof hash);
    begin(&fx->port);
    OK(&fx->port, drop_definition, hash);
    commit(&fx->port);
    begin(&fx->port);
    FAILS(SAGA_ERR_INTERNAL, &fx->port, insert_saga, &row);
    fx->port.ops->rollback(fx->port.store);
    FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_saga, row.id, &found);
    begin(&fx->port); /* a row that was there and is not, after all */
    OK(&fx->port, put_definition, hash, "a", text("set-1"), 99);
    OK(&fx->port, insert_saga, &row);
    fx->port.ops->rollback(fx->port.store);
    begin(&fx->port);
    FAILS(SAGA_ERR_INTERNAL, &fx->port, insert_saga, &row);
    fx->port.ops->rollback(fx->port.store);
}

static void test_child_when_kept_then_it_has_its_parents_set_and_is_not_current(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t one[SAGA_DIGEST_SIZE] = {1};
    static const uint8_t two[SAGA_DIGEST_SIZE] = {2};
    static const uint8_t parent[SAGA_DIGEST_SIZE] = {3};
    static const uint8_t none[SAGA_DIGEST_SIZE] = {9};
    struct saga_err_detail detail = {.text = ""};
    struct seen seen = {0};
    put_versions(fx);
    assert_int_equal(fx->port.ops->keep_child(fx->port.store, one, "a", parent, 99, &detail),
                     SAGA_ERR_INTERNAL); /* outside a transaction */
    begin(&fx->port);
    OK(&fx->port, drop_definition, one);
    commit(&fx->port);
    for (unsigned round = 0; round < 2; round++) {
        begin(&fx->port);
        OK(&fx->port, keep_child, one, "a", parent, 99 + (int64_t)round);
        OK(&fx->port, keep_child, two, "a", parent, 99); /* stays current, with a set of its own */
        OK(&fx->port, keep_child, none, "c", none, 99);  /* there is no such parent */
        commit(&fx->port);
        reopen(fx);
    }
    OK(&fx->port, find_definition, one, see_definition, &seen);
    OK(&fx->port, find_definition, two, see_definition, &seen);
    assert_string_equal(seen.texts[0], "set-3");
    assert_string_equal(seen.texts[1], "set-2");
    FAILS(SAGA_ERR_NOT_FOUND, &fx->port, find_definition, none, see_definition, &seen);
    seen.count = 0;
    OK(&fx->port, list_versions, "a", 100, see_version, &seen);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.texts[1], "a 10"); /* the time of then */
    assert_true(seen.flags[0] && !seen.flags[1]);
    begin(&fx->port);
    start_on(fx, 7, one);
    OK(&fx->port, drop_definition, one); /* a saga began with it */
    commit(&fx->port);
    OK(&fx->port, find_definition, one, see_definition, &seen);
}

static void test_versions_when_sagas_are_live_then_each_hash_comes_once(void **state)
{
    struct fixture *fx = *state;
    begin(&fx->port);
    for (unsigned i = 1; i <= 4; i++) {
        insert(&fx->port, i);
    }
    end_saga(&fx->port, 2, COMPLETED);
    commit(&fx->port);
    struct seen seen = {0};
    OK(&fx->port, list_live_versions, see_hash, &seen);
    assert_int_equal(seen.count, 3); /* each row of the fixture has a hash of its own */
    for (size_t i = 0; i < seen.count; i++) {
        assert_int_not_equal(seen.positions[i], seen.positions[(i + 1) % seen.count]);
    }
    begin(&fx->port);
    end_saga(&fx->port, 1, COMPLETED);
    end_saga(&fx->port, 3, COMPENSATED);
    end_saga(&fx->port, 4, COMPLETED);
    commit(&fx->port);
    seen.count = 0;
    OK(&fx->port, list_live_versions, see_hash, &seen);
    assert_int_equal(seen.count, 0);
}

static bool see_participant(void *user, const struct saga_participant_row *row)
{
    struct seen *seen = user;
    (void)snprintf(seen->texts[seen->count++], sizeof seen->texts[0], "%s %s", row->service,
                   row->address);
    return seen->stop_at == 0 || seen->count < seen->stop_at;
}

static void test_participant_when_put_again_then_its_addresses_are_replaced(void **state)
{
    struct fixture *fx = *state;
    const char *two[] = {"tcp://z", "tcp://a"};
    const char *one[] = {"tcp://b"};
    begin(&fx->port);
    OK(&fx->port, put_participant, "s", two, 2);
    OK(&fx->port, put_participant, "r", one, 1);
    commit(&fx->port);
    begin(&fx->port);
    OK(&fx->port, put_participant, "s", one, 1);
    fx->port.ops->rollback(fx->port.store);
    struct seen seen = {0};
    OK(&fx->port, list_participants, see_participant, &seen);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.texts[0], "r tcp://b");
    assert_string_equal(seen.texts[1], "s tcp://z"); /* as given */
    assert_string_equal(seen.texts[2], "s tcp://a");
    begin(&fx->port);
    OK(&fx->port, put_participant, "s", one, 1);
    commit(&fx->port);
    reopen(fx);
    seen = (struct seen){.stop_at = 2};
    OK(&fx->port, list_participants, see_participant, &seen);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.texts[1], "s tcp://b");
    begin(&fx->port);
    OK(&fx->port, put_participant, "s", NULL, 0);
    OK(&fx->port, put_participant, "no-such", NULL, 0);
    commit(&fx->port);
    reopen(fx);
    seen = (struct seen){0};
    OK(&fx->port, list_participants, see_participant, &seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.texts[0], "r tcp://b");
}

static bool see_pause(void *user, const struct saga_pause_row *row)
{
    struct seen *seen = user;
    assert_true(seen->count < SEEN_MAX);
    seen->seqs[seen->count] = row->seq;
    seen->flags[seen->count] = row->paused ? 1 : 0;
    assert_int_equal(row->removed, !row->paused);
    seen->positions[seen->count] = row->last_hash[0];
    (void)snprintf(seen->texts[seen->count], sizeof seen->texts[0], "%s %s %s %lld",
                   row->definition_name, row->who, row->why, (long long)row->since_unix_ms);
    seen->count += 1;
    return seen->stop_at == 0 || seen->count < seen->stop_at;
}

static void put_pause(const struct saga_store_port *port, const char *name, bool paused,
                      uint64_t seq)
{
    struct saga_pause_row row = {
        .definition_name = name,
        .paused = paused,
        .removed = !paused,
        .seq = seq,
        .last_hash = {(uint8_t)(10 + seq)},
        .who = "ann",
        .why = paused ? "stop" : "go",
        .since_unix_ms = (int64_t)(100 * seq),
    };
    OK(port, put_pause, &row);
}

static void test_pause_when_put_then_the_last_act_of_each_is_kept(void **state)
{
    struct fixture *fx = *state;
    struct saga_pause_row older = {
        .definition_name = "b", .paused = true, .seq = 1, .who = "x", .why = "y"};
    begin(&fx->port);
    put_pause(&fx->port, "b", true, 1);
    put_pause(&fx->port, "a", true, 1);
    put_pause(&fx->port, "b", false, 2);
    commit(&fx->port);
    begin(&fx->port);
    put_pause(&fx->port, "a", false, 2);
    fx->port.ops->rollback(fx->port.store);
    begin(&fx->port);
    FAILS(SAGA_ERR_CONFLICT, &fx->port, put_pause, &older);
    fx->port.ops->rollback(fx->port.store);
    for (int i = 0; i < 2; i++) {
        struct seen seen = {0};
        OK(&fx->port, list_pauses, see_pause, &seen);
        assert_int_equal(seen.count, 2);
        assert_string_equal(seen.texts[0], "a ann stop 100");
        assert_string_equal(seen.texts[1], "b ann go 200");
        assert_int_equal(seen.flags[0], 1);
        assert_int_equal(seen.flags[1], 0);
        assert_int_equal(seen.seqs[1], 2);
        assert_int_equal(seen.positions[1], 12);
        seen = (struct seen){.stop_at = 1};
        OK(&fx->port, list_pauses, see_pause, &seen);
        assert_int_equal(seen.count, 1);
        reopen(fx);
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

int port_journal_tests(void)
{
    static const struct CMUnitTest tests[] = {
        PORT_CASE(test_audit_when_appended_then_relayed_in_order_and_listed_by_saga),
        PORT_CASE(test_audit_when_a_seq_comes_twice_then_refused),
        PORT_CASE(test_outbox_when_cursor_is_set_then_rows_go_and_positions_ascend),
        PORT_CASE(test_outbox_when_rolled_back_then_relay_never_saw_it),
        PORT_CASE(test_cursor_when_set_back_then_it_stays),
        PORT_CASE(test_offset_when_committed_then_seen_and_kept),
        PORT_CASE(test_definition_when_put_then_newest_is_current_and_set_stored),
        PORT_CASE(test_versions_when_listed_then_the_current_one_and_the_newest_come_first),
        PORT_CASE(test_versions_when_there_are_many_then_the_newest_of_the_old_comes_first),
        PORT_CASE(test_definition_when_removed_then_none_is_current_until_put_again),
        PORT_CASE(test_version_when_nobody_began_with_it_then_it_is_dropped_and_still_told),
        PORT_CASE(test_version_when_a_saga_began_with_it_then_it_is_never_dropped),
        PORT_CASE(test_saga_when_its_version_is_not_stored_then_it_cannot_begin),
        PORT_CASE(test_child_when_kept_then_it_has_its_parents_set_and_is_not_current),
        PORT_CASE(test_versions_when_sagas_are_live_then_each_hash_comes_once),
        PORT_CASE(test_participant_when_put_again_then_its_addresses_are_replaced),
        PORT_CASE(test_pause_when_put_then_the_last_act_of_each_is_kept),
    };
    static const struct CMUnitTest threaded[] = {
        PORT_CASE(test_relays_when_reading_while_writing_then_every_row_once_in_order),
    };
    int failed = cmocka_run_group_tests_name("port_journal_tests", tests, NULL, NULL);
    if (!factory->one_thread) {
        failed += cmocka_run_group_tests_name("port_journal_threads", threaded, NULL, NULL);
    }
    return failed;
}
