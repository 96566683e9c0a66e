/* The window of a relay: which position may be told, whatever comes back in whatever order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/bus/kafka/relay_window.h"

static struct saga_relay_window window_of(size_t capacity, int64_t position)
{
    struct saga_relay_window window;
    assert_int_equal(saga_relay_window_init(&window, capacity, position), SAGA_ERR_OK);
    return window;
}

/* Takes a row all of whose records have to be produced and gives its sequence. */
static uint64_t take(struct saga_relay_window *window, int64_t position, uint32_t records)
{
    uint64_t sequence = UINT64_MAX;
    assert_true(saga_relay_window_fits(window, position));
    assert_int_equal(saga_relay_window_take(window, position, records, 0, &sequence),
                     (1U << records) - 1);
    return sequence;
}

/* Takes a row of which some records wait, and gives which are wanted. */
static unsigned take_some(struct saga_relay_window *window, int64_t position, uint32_t records,
                          unsigned waits)
{
    uint64_t sequence = 0;
    assert_true(saga_relay_window_fits(window, position));
    return saga_relay_window_take(window, position, records, (uint8_t)waits, &sequence);
}

static void test_window_when_new_then_it_begins_after_the_cursor(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 100);
    assert_int_equal(saga_relay_window_after(&window), 100);
    assert_int_equal(saga_relay_window_room(&window), 4);
    assert_true(saga_relay_window_empty(&window));
    assert_false(saga_relay_window_acknowledge(&window, 0, 0));
    assert_false(saga_relay_window_acknowledge(&window, UINT64_MAX, 0));
    saga_relay_window_fini(&window);
}

static void test_acknowledge_when_out_of_order_then_only_the_prefix_counts(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    uint64_t a = take(&window, 10, 1);
    uint64_t b = take(&window, 20, 1);
    uint64_t c = take(&window, 30, 1);
    assert_int_equal(saga_relay_window_after(&window), 30);
    assert_false(saga_relay_window_acknowledge(&window, c, 0));
    assert_false(saga_relay_window_acknowledge(&window, b, 0));
    assert_int_equal(window.prefix, 0);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    assert_int_equal(window.prefix, 30);
    assert_true(saga_relay_window_empty(&window));
    /* Once more is ignored. */
    assert_false(saga_relay_window_acknowledge(&window, a, 0));
    saga_relay_window_fini(&window);
}

static void test_ahead_when_a_row_before_waits_then_gives_its_position(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    int64_t position = 0;
    uint64_t a = take(&window, 10, 1);
    uint64_t b = take(&window, 20, 2);
    (void)saga_relay_window_acknowledge(&window, b, 0);
    assert_false(saga_relay_window_ahead(&window, b, &position));
    (void)saga_relay_window_acknowledge(&window, b, 1);
    assert_true(saga_relay_window_ahead(&window, b, &position));
    assert_int_equal(position, 20);
    assert_false(saga_relay_window_ahead(&window, a, &position));
    assert_false(saga_relay_window_ahead(&window, b + 1, &position));
    (void)saga_relay_window_acknowledge(&window, a, 0);
    assert_false(saga_relay_window_ahead(&window, b, &position)); /* it is in the prefix */
    saga_relay_window_fini(&window);
}

static void test_acknowledge_when_a_row_has_two_records_then_both_count(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    uint64_t a = take(&window, 1, 2);
    assert_false(saga_relay_window_acknowledge(&window, a, 1));
    assert_false(saga_relay_window_acknowledge(&window, a, 1)); /* the same one, not the other */
    assert_int_equal(window.prefix, 0);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    assert_int_equal(window.prefix, 1);
    saga_relay_window_fini(&window);
}

static void test_take_when_a_row_has_no_records_then_it_is_done_in_its_turn(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    assert_int_equal(take_some(&window, 1, 0, 0), 0);
    assert_int_equal(window.prefix, 1);
    uint64_t b = take(&window, 2, 1);
    assert_int_equal(take_some(&window, 3, 0, 0), 0);
    assert_int_equal(window.prefix, 1);
    assert_true(saga_relay_window_acknowledge(&window, b, 0));
    assert_int_equal(window.prefix, 3);
    saga_relay_window_fini(&window);
}

static void test_rewind_when_some_are_acknowledged_then_only_the_others_come_again(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    uint64_t a = take(&window, 1, 1);
    uint64_t b = take(&window, 2, 2);
    uint64_t c = take(&window, 3, 1);
    assert_false(saga_relay_window_acknowledge(&window, c, 0));
    assert_false(saga_relay_window_acknowledge(&window, b, 0)); /* one of the two */
    saga_relay_window_rewind(&window);
    assert_int_equal(saga_relay_window_after(&window), 0);
    assert_int_equal(saga_relay_window_room(&window), 4);
    /* What the old producer still says is not about what is produced now. */
    assert_false(saga_relay_window_acknowledge(&window, a, 0));
    assert_int_equal(window.prefix, 0);
    assert_int_equal(take(&window, 1, 1), a);
    assert_int_equal(take_some(&window, 2, 2, 0), 2); /* the record that was refused, alone */
    assert_int_equal(take_some(&window, 3, 1, 0), 0);
    uint64_t d = take(&window, 4, 1);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    assert_false(saga_relay_window_acknowledge(&window, b, 0));
    assert_int_equal(window.prefix, 1);
    assert_true(saga_relay_window_acknowledge(&window, b, 1));
    assert_int_equal(window.prefix, 3);
    assert_true(saga_relay_window_acknowledge(&window, d, 0));
    assert_int_equal(window.prefix, 4);
    saga_relay_window_fini(&window);
}

/* Rows 2 and 3 were acknowledged before a rewind. All three are fetched; row 1 is acknowledged
 * while it is produced: the prefix is past the others when they are to be taken. */
static void test_take_when_a_row_was_passed_since_it_was_fetched_then_it_is_done(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    uint64_t sequence = 0;
    uint64_t a = take(&window, 1, 1);
    uint64_t b = take(&window, 2, 1);
    uint64_t c = take(&window, 3, 1);
    assert_false(saga_relay_window_acknowledge(&window, b, 0));
    assert_false(saga_relay_window_acknowledge(&window, c, 0));
    saga_relay_window_rewind(&window);
    assert_int_equal(take(&window, 1, 1), a);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    assert_int_equal(window.prefix, 3);
    for (int64_t position = 2; position <= 3; position++) {
        int64_t ahead = 0;
        assert_true(saga_relay_window_fits(&window, position));
        assert_int_equal(saga_relay_window_take(&window, position, 1, 0, &sequence), 0);
        assert_int_equal(sequence, UINT64_MAX);
        assert_false(saga_relay_window_ahead(&window, sequence, &ahead));
    }
    assert_int_equal(window.prefix, 3);
    assert_int_equal(saga_relay_window_after(&window), 3);
    uint64_t d = take(&window, 4, 1);
    assert_true(saga_relay_window_acknowledge(&window, d, 0));
    assert_true(saga_relay_window_empty(&window));
    saga_relay_window_fini(&window);
}

static void test_rewind_when_rows_are_gone_from_the_outbox_then_they_are_passed(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    (void)take(&window, 1, 1);
    (void)take(&window, 2, 1);
    uint64_t c = take(&window, 3, 1);
    saga_relay_window_rewind(&window);
    assert_int_equal(take(&window, 3, 1), c);
    assert_int_equal(window.prefix, 2);
    saga_relay_window_rewind(&window);
    saga_relay_window_caught_up(&window);
    assert_int_equal(window.prefix, 3);
    assert_true(saga_relay_window_empty(&window));
    saga_relay_window_fini(&window);
}

static void test_rewind_when_a_row_appears_in_between_then_none_is_lost(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    uint64_t a = take(&window, 1, 1);
    uint64_t c = take(&window, 3, 1);
    assert_false(saga_relay_window_acknowledge(&window, c, 0));
    saga_relay_window_rewind(&window);
    assert_int_equal(take(&window, 1, 1), a);
    uint64_t b = take(&window, 2, 1);
    uint64_t again = take(&window, 3, 1);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    assert_true(saga_relay_window_acknowledge(&window, b, 0));
    assert_int_equal(window.prefix, 2);
    assert_true(saga_relay_window_acknowledge(&window, again, 0));
    assert_int_equal(window.prefix, 3);
    saga_relay_window_fini(&window);
}

/* Row 2's second record waits for its topic, row 3 is under way, row 4 acknowledged. */
static void test_again_when_a_record_waited_then_it_alone_is_wanted(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(8, 0);
    int64_t position = 0;
    uint64_t a = take(&window, 1, 1);
    assert_int_equal(take_some(&window, 2, 2, 2), 1);
    uint64_t c = take(&window, 3, 1);
    uint64_t d = take(&window, 4, 1);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    assert_false(saga_relay_window_acknowledge(&window, d, 0));
    /* It was never produced: nobody can say that it is there. */
    assert_false(saga_relay_window_acknowledge(&window, c - 1, 1));
    assert_false(saga_relay_window_acknowledge(&window, c - 1, 0));
    saga_relay_window_again(&window);
    assert_int_equal(saga_relay_window_after(&window), 1);
    assert_int_equal(saga_relay_window_room(&window), 8);
    assert_int_equal(take_some(&window, 2, 2, 0), 2);
    /* What is under way is acknowledged meanwhile, before its row comes by. */
    assert_false(saga_relay_window_acknowledge(&window, c, 0));
    assert_true(saga_relay_window_ahead(&window, c, &position));
    assert_int_equal(position, 3);
    assert_int_equal(take_some(&window, 3, 1, 0), 0);
    saga_relay_window_again(&window);
    assert_int_equal(take_some(&window, 2, 2, 0), 0); /* under way itself */
    assert_true(saga_relay_window_acknowledge(&window, c - 1, 1));
    assert_int_equal(window.prefix, 4);
    assert_true(saga_relay_window_empty(&window));
    saga_relay_window_fini(&window);
}

/* Row 2 was fetched anew, and passed when row 1 was acknowledged; row 3 is under way behind it. */
static void test_again_when_a_row_is_passed_before_one_under_way_then_it_fits(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(4, 0);
    assert_int_equal(take_some(&window, 1, 1, 1), 0);
    uint64_t b = take(&window, 2, 1);
    (void)take(&window, 3, 1);
    assert_false(saga_relay_window_acknowledge(&window, b, 0));
    saga_relay_window_again(&window);
    assert_int_equal(take(&window, 1, 1), b - 1);
    assert_true(saga_relay_window_acknowledge(&window, b - 1, 0));
    assert_int_equal(saga_relay_window_after(&window), 2);
    assert_int_equal(take_some(&window, 2, 1, 0), 0);
    assert_int_equal(take_some(&window, 3, 1, 0), 0);
    assert_int_equal(window.prefix, 2);
    saga_relay_window_fini(&window);
}

/* What is told of a row that is no longer in the window, or not yet, is not about the row that has
 * its place. */
static void test_acknowledge_when_the_row_left_the_window_then_no_other_counts(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(2, 0);
    uint64_t a = take(&window, 1, 1);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    uint64_t b = take(&window, 2, 1);
    assert_false(saga_relay_window_acknowledge(&window, b + 1, 0));
    assert_false(saga_relay_window_acknowledge(&window, b + 2, 0));
    uint64_t c = take(&window, 3, 1);
    assert_false(saga_relay_window_acknowledge(&window, a, 0));
    assert_false(saga_relay_window_acknowledge(&window, c + 1, 0));
    assert_int_equal(window.prefix, 1);
    assert_true(saga_relay_window_acknowledge(&window, b, 0));
    assert_int_equal(window.prefix, 2);
    assert_true(saga_relay_window_acknowledge(&window, c, 0));
    assert_int_equal(window.prefix, 3);
    saga_relay_window_fini(&window);
}

/* Whether a row is published as one record or two may be another version's decision. */
static void test_take_when_a_row_comes_again_with_other_records_then_those_count(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(2, 0);
    uint64_t a = take(&window, 1, 2);
    assert_false(saga_relay_window_acknowledge(&window, a, 1));
    saga_relay_window_rewind(&window);
    assert_int_equal(take(&window, 1, 1), a);
    assert_true(saga_relay_window_acknowledge(&window, a, 0));
    assert_int_equal(window.prefix, 1);
    uint64_t b = take(&window, 2, 1);
    saga_relay_window_rewind(&window);
    assert_int_equal(take(&window, 2, SAGA_RELAY_WINDOW_RECORDS_MAX), b);
    for (uint32_t i = 0; i < SAGA_RELAY_WINDOW_RECORDS_MAX; i++) {
        assert_int_equal(window.prefix, 1);
        (void)saga_relay_window_acknowledge(&window, b, i);
    }
    assert_int_equal(window.prefix, 2);
    saga_relay_window_fini(&window);
}

/* A row that appears before rows under way: their acknowledgements would count for it. */
static void test_again_when_a_row_appears_before_one_under_way_then_it_does_not_fit(void **state)
{
    (void)state;
    struct saga_relay_window window = window_of(8, 0);
    assert_int_equal(take_some(&window, 2, 1, 1), 0);
    uint64_t b = take(&window, 5, 1);
    uint64_t c = take(&window, 6, 1);
    assert_false(saga_relay_window_acknowledge(&window, c, 0));
    saga_relay_window_again(&window);
    assert_true(saga_relay_window_fits(&window, 2));
    assert_false(saga_relay_window_fits(&window, 1));
    assert_false(saga_relay_window_fits(&window, 4));
    assert_true(saga_relay_window_fits(&window, 5));
    assert_true(saga_relay_window_fits(&window, 7)); /* behind all */
    saga_relay_window_rewind(&window);
    assert_true(saga_relay_window_fits(&window, 4));
    saga_relay_window_again(&window);
    assert_int_equal(take_some(&window, 2, 1, 1), 0);
    assert_int_equal(take(&window, 5, 1), b);
    assert_false(saga_relay_window_acknowledge(&window, b, 0));
    saga_relay_window_again(&window);
    assert_int_equal(take_some(&window, 2, 1, 1), 0);
    assert_int_equal(take(&window, 4, 1), b); /* what was known behind it is forgotten */
    assert_int_equal(take(&window, 5, 1), b + 1);
    saga_relay_window_fini(&window);
}

/* Random play against a plain model: an array of what is acknowledged. */
enum { PLAY_ROWS = 2000, PLAY_CAPACITY = 32 };

struct play {
    struct saga_relay_window window;
    uint64_t random;
    bool acknowledged[PLAY_ROWS + 1];
    bool under_way[PLAY_ROWS + 1];
    int64_t position_of[PLAY_ROWS * 8]; /* by token */
    uint64_t flying[PLAY_CAPACITY];
    size_t flying_count;
    int64_t told;
};

static void play_take(struct play *play)
{
    int64_t position = saga_relay_window_after(&play->window) + 1;
    if (position > PLAY_ROWS || saga_relay_window_room(&play->window) == 0) {
        return;
    }
    uint64_t sequence = 0;
    uint8_t waits = saga_prng_below(&play->random, 10) == 0;
    bool wanted = saga_relay_window_take(&play->window, position, 1, waits, &sequence) != 0;
    assert_int_equal(wanted,
                     !play->acknowledged[position] && !play->under_way[position] && waits == 0);
    if (wanted) {
        play->under_way[position] = true;
        play->position_of[sequence] = position;
        play->flying[play->flying_count++] = sequence;
    }
}

static void play_acknowledge(struct play *play)
{
    if (play->flying_count == 0) {
        return;
    }
    size_t i = (size_t)saga_prng_below(&play->random, play->flying_count);
    uint64_t sequence = play->flying[i];
    play->flying[i] = play->flying[--play->flying_count];
    play->acknowledged[play->position_of[sequence]] = true;
    play->under_way[play->position_of[sequence]] = false;
    (void)saga_relay_window_acknowledge(&play->window, sequence, 0);
}

static void test_window_when_played_at_random_then_the_prefix_is_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static struct play play;
        play = (struct play){.window = window_of(PLAY_CAPACITY, 0), .random = seed};
        int64_t prefix = 0;
        while (prefix < PLAY_ROWS) {
            uint64_t act = saga_prng_below(&play.random, 100);
            if (act < 50) {
                play_take(&play);
            } else if (act < 98) {
                play_acknowledge(&play);
            } else if (act == 98) {
                saga_relay_window_rewind(&play.window);
                play.flying_count = 0;
                memset(play.under_way, 0, sizeof(play.under_way));
            } else {
                saga_relay_window_again(&play.window);
            }
            while (prefix < PLAY_ROWS && play.acknowledged[prefix + 1]) {
                prefix++;
            }
            assert_int_equal(play.window.prefix, prefix);
        }
        assert_true(saga_relay_window_empty(&play.window));
        saga_relay_window_fini(&play.window);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_when_new_then_it_begins_after_the_cursor),
        cmocka_unit_test(test_acknowledge_when_out_of_order_then_only_the_prefix_counts),
        cmocka_unit_test(test_ahead_when_a_row_before_waits_then_gives_its_position),
        cmocka_unit_test(test_acknowledge_when_a_row_has_two_records_then_both_count),
        cmocka_unit_test(test_take_when_a_row_has_no_records_then_it_is_done_in_its_turn),
        cmocka_unit_test(test_rewind_when_some_are_acknowledged_then_only_the_others_come_again),
        cmocka_unit_test(test_take_when_a_row_was_passed_since_it_was_fetched_then_it_is_done),
        cmocka_unit_test(test_again_when_a_record_waited_then_it_alone_is_wanted),
        cmocka_unit_test(test_again_when_a_row_is_passed_before_one_under_way_then_it_fits),
        cmocka_unit_test(test_acknowledge_when_the_row_left_the_window_then_no_other_counts),
        cmocka_unit_test(test_take_when_a_row_comes_again_with_other_records_then_those_count),
        cmocka_unit_test(test_again_when_a_row_appears_before_one_under_way_then_it_does_not_fit),
        cmocka_unit_test(test_rewind_when_rows_are_gone_from_the_outbox_then_they_are_passed),
        cmocka_unit_test(test_rewind_when_a_row_appears_in_between_then_none_is_lost),
        cmocka_unit_test(test_window_when_played_at_random_then_the_prefix_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
