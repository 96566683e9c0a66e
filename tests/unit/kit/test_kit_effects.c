/* B8: what the relay publishes; and records of Kafka: commands by another road, dead letters,
 * offsets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "saga/v1/audit.pb-c.h"
#include "tests/unit/kit/rig.h"

#define SERVICE "payment.v1.PaymentService"
#define ID_TEXT "01020304-0506-7008-800a-0b0c0d0e0f10"

enum { ROWS_MAX = 8 };

static size_t fetch(struct rig *rig, int64_t after, size_t count_max,
                    struct saga_relay_row rows[ROWS_MAX])
{
    size_t count = 99;
    struct saga_err_detail detail = {{0}};
    assert_in_range(count_max, 1, ROWS_MAX);
    assert_int_equal(saga_kit_effects_fetch(&rig->kit, after, count_max, rows, &count, &detail),
                     SAGA_ERR_OK);
    return count;
}

static void assert_text(struct saga_bytes bytes, const char *text)
{
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

static void assert_event(const struct saga_kafka_record *record, const char *topic,
                         const char *type, const char *id)
{
    assert_string_equal(record->topic, topic);
    assert_text(record->key, ID_TEXT);
    assert_text(saga_kafka_header(record, "ce_type"), type);
    assert_text(saga_kafka_header(record, "ce_id"), id);
    assert_text(saga_kafka_header(record, "ce_source"), "/rigd");
    assert_text(saga_kafka_header(record, "ce_specversion"), "1.0");
    assert_text(saga_kafka_header(record, "content-type"), "application/protobuf");
    assert_true(saga_kafka_header(record, "ce_time").size > 0);
}

static Saga__V1__EffectEvent *effect_of(const struct saga_kafka_record *record)
{
    Saga__V1__EffectEvent *effect =
        saga__v1__effect_event__unpack(NULL, record->value.size, record->value.data);
    assert_non_null(effect);
    return effect;
}

static void test_b8_rows_when_fetched_then_in_order_with_stable_ids(void **state)
{
    struct rig *rig = *state;
    struct saga_relay_row rows[ROWS_MAX];
    assert_int_equal(fetch(rig, 0, ROWS_MAX, rows), 0);
    struct saga_command call = rig_call(7);
    call.attempt = 3;
    call.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    struct saga_command undo = rig_undo(7);
    (void)rig_run(rig, &call);
    (void)rig_run(rig, &undo);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(fetch(rig, 0, ROWS_MAX, rows), 2);
        assert_int_equal(rows[0].position, 1);
        assert_int_equal(rows[0].record_count, 1);
        assert_event(&rows[0].records[0], "saga-effects", "saga.v1.EffectEvent", SERVICE "/1");
        assert_text(saga_kafka_header(&rows[0].records[0], "traceparent"), call.traceparent);
        Saga__V1__EffectEvent *effect = effect_of(&rows[0].records[0]);
        assert_string_equal(effect->event_id, SERVICE "/1");
        assert_string_equal(effect->service, SERVICE);
        assert_string_equal(effect->method, RIG_CALL);
        assert_string_equal(effect->step, "payment");
        assert_int_equal(effect->position, 1);
        assert_int_equal(effect->op, SAGA__V1__OP__OP_CALL);
        assert_int_equal(effect->attempt, 3);
        assert_int_equal(effect->status == NULL ? 0 : effect->status->code, SAGA_CODE_OK);
        assert_int_equal(effect->saga_id.len, SAGA_ID_SIZE);
        assert_memory_equal(effect->saga_id.data, call.saga_id.b, SAGA_ID_SIZE);
        assert_true(effect->time_unix_ms > 0);
        saga__v1__effect_event__free_unpacked(effect, NULL);
        assert_int_equal(rows[1].position, 2);
        assert_event(&rows[1].records[0], "saga-effects", "saga.v1.EffectEvent", SERVICE "/2");
    }
    assert_int_equal(fetch(rig, 1, ROWS_MAX, rows), 1);
    assert_int_equal(rows[0].position, 2);
    assert_int_equal(fetch(rig, 0, 1, rows), 1);
    assert_int_equal(rows[0].position, 1);
    assert_int_equal(fetch(rig, 2, ROWS_MAX, rows), 0);
}

static void test_b8_definitive_no_and_empty_undo_when_fetched_then_told_as_such(void **state)
{
    struct rig *rig = *state;
    struct saga_relay_row rows[ROWS_MAX];
    struct saga_command call = rig_call(7);
    struct saga_command undo = rig_undo(7);
    rig->mood = RIG_REJECT;
    (void)rig_run(rig, &call);
    (void)rig_run(rig, &undo);
    assert_int_equal(fetch(rig, 0, ROWS_MAX, rows), 2);
    Saga__V1__EffectEvent *effect = effect_of(&rows[0].records[0]);
    assert_int_equal(effect->status->code, SAGA_CODE_FAILED_PRECONDITION);
    assert_string_equal(effect->status->reason, "PAYMENT_DECLINED");
    assert_false(effect->empty);
    saga__v1__effect_event__free_unpacked(effect, NULL);
    effect = effect_of(&rows[1].records[0]);
    assert_true(effect->empty);
    assert_int_equal(effect->op, SAGA__V1__OP__OP_UNDO);
    saga__v1__effect_event__free_unpacked(effect, NULL);
}

/* ---- Records ---- */

/* Runs a record as the worker does; gives the number of replies to be produced directly. */
static size_t receive(struct rig *rig, struct saga_bytes value, int64_t offset)
{
    struct saga_kafka_record record = {
        .topic = rig->kit.command_topic,
        .key = saga_bytes_text("key"),
        .value = value,
        .headers = {{.name = "ce_id", .value = saga_bytes_text("some-id")}},
        .header_count = 1,
        .partition = 2,
        .offset = offset,
    };
    struct saga_err_detail detail = {{0}};
    rig_begin(rig);
    assert_int_equal(saga_kit_record_run(&rig->kit, &record, &detail), SAGA_ERR_OK);
    size_t count = 0;
    for (const struct saga_kit_direct *direct = rig->kit.turn.direct; direct != NULL;
         direct = direct->next) {
        count++;
    }
    rig_commit(rig);
    assert_int_equal(saga_kit_position_find(&rig->kit, rig->kit.command_topic, 2), offset + 1);
    assert_int_equal(rig_number(rig, "SELECT next_offset FROM kafka_position WHERE partition = 2"),
                     offset + 1);
    return count;
}

static size_t receive_command(struct rig *rig, const struct saga_command *command, int64_t offset)
{
    struct saga_buf value = {0};
    assert_int_equal(saga_command_encode(command, &value), SAGA_ERR_OK);
    size_t count = receive(rig, saga_buf_view(&value), offset);
    saga_buf_fini(&value);
    return count;
}

static void test_b8_command_by_kafka_when_stored_then_its_row_is_effect_and_reply(void **state)
{
    struct rig *rig = *state;
    struct saga_relay_row rows[ROWS_MAX];
    assert_int_equal(saga_kit_position_find(&rig->kit, rig->kit.command_topic, 2), -1);
    struct saga_command undo = rig_undo(7);
    assert_int_equal(receive_command(rig, &undo, 41), 0);
    assert_int_equal(fetch(rig, 0, ROWS_MAX, rows), 1);
    assert_int_equal(rows[0].record_count, 2);
    assert_event(&rows[0].records[0], "saga-effects", "saga.v1.EffectEvent", SERVICE "/1");
    assert_event(&rows[0].records[1], "payment-to-order-payment-status", "saga.v1.Reply",
                 SERVICE "/1/reply");
    struct saga_arena arena = {0};
    struct saga_reply reply;
    struct saga_status status;
    assert_int_equal(saga_reply_decode(rows[0].records[1].value, &arena, &reply, &status),
                     SAGA_ERR_OK);
    assert_true(saga_id_equal(reply.saga_id, undo.saga_id));
    assert_int_equal(reply.op, SAGA_OP_UNDO);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_int_equal(reply.attempt, 1);
    assert_true(reply.empty);
    assert_false(reply.replayed);
    saga_arena_fini(&arena);
}

static void test_record_when_reply_is_not_stored_then_it_is_produced_directly(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    rig->mood = RIG_RETRY;
    assert_int_equal(receive_command(rig, &call, 0), 1);
    rig->mood = RIG_OK;
    assert_int_equal(receive_command(rig, &call, 1), 0); /* stored */
    assert_int_equal(receive_command(rig, &call, 2), 1); /* replayed */
    assert_int_equal(rig_effects(rig), 1);
    assert_int_equal(rig_rows(rig), 1);
}

static void assert_letter(struct rig *rig, int64_t position, struct saga_bytes value,
                          const char *reason, const char *offset)
{
    struct saga_relay_row rows[ROWS_MAX];
    assert_int_equal(fetch(rig, position - 1, 1, rows), 1);
    assert_int_equal(rows[0].position, position);
    assert_int_equal(rows[0].record_count, 1);
    const struct saga_kafka_record *letter = &rows[0].records[0];
    assert_string_equal(letter->topic, "saga-dead-letter");
    assert_text(letter->key, "key");
    assert_int_equal(letter->value.size, value.size);
    assert_memory_equal(letter->value.data, value.data, value.size);
    assert_text(saga_kafka_header(letter, "ce_id"), "some-id");
    assert_text(saga_kafka_header(letter, "dead-letter-topic"), "order-to-payment-status");
    assert_text(saga_kafka_header(letter, "dead-letter-partition"), "2");
    assert_text(saga_kafka_header(letter, "dead-letter-offset"), offset);
    struct saga_bytes why = saga_kafka_header(letter, "dead-letter-reason");
    assert_true(why.size > 0);
    if (reason != NULL) {
        assert_text(why, reason);
    }
}

static void test_record_when_it_is_garbage_then_dead_letter_and_the_offset_moves_on(void **state)
{
    struct rig *rig = *state;
    struct saga_bytes garbage = saga_bytes_text("\xff\xff\xff not a command");
    assert_int_equal(receive(rig, garbage, 5), 0);
    assert_true(rig->kit.turn.stored); /* the relay is woken */
    assert_letter(rig, 1, garbage, NULL, "5");
    assert_int_equal(receive(rig, (struct saga_bytes){0}, 6), 0); /* empty: no method */
    assert_int_equal(rig_rows(rig), 2);
    struct saga_command call = rig_call(7);
    assert_int_equal(receive_command(rig, &call, 7), 0);
    assert_int_equal(rig_effects(rig), 1);
}

static void
test_record_when_it_has_no_business_here_then_dead_letter_and_the_sender_is_told(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_buf value = {0};
    call.method = "kitchen.v1.KitchenService/CreateTicket";
    assert_int_equal(saga_command_encode(&call, &value), SAGA_ERR_OK);
    assert_int_equal(receive(rig, saga_buf_view(&value), 5), 1); /* UNIMPLEMENTED */
    assert_letter(rig, 1, saga_buf_view(&value), "method of another service", "5");
    saga_buf_clear(&value);
    struct saga_command ask = {.step = "", .method = RIG_CALL, .traceparent = "", .cause_step = ""};
    assert_int_equal(saga_command_encode(&ask, &value), SAGA_ERR_OK);
    assert_int_equal(receive(rig, saga_buf_view(&value), 6), 0);
    assert_letter(rig, 2, saga_buf_view(&value), "not a command of a saga (op)", "6");
    saga_buf_fini(&value);
    assert_int_equal(rig->runs, 0);
}

static void test_record_when_it_is_oversized_then_its_letter_is_cut(void **state)
{
    static uint8_t large[SAGA_MESSAGE_SIZE_MAX + 1];
    struct rig *rig = *state;
    struct saga_relay_row rows[ROWS_MAX];
    assert_int_equal(receive(rig, (struct saga_bytes){.data = large, .size = sizeof large}, 5), 0);
    assert_int_equal(fetch(rig, 0, ROWS_MAX, rows), 1);
    assert_int_equal(rows[0].records[0].value.size, SAGA_KIT_DEAD_LETTER_SIZE_MAX);
    assert_text(saga_kafka_header(&rows[0].records[0], "dead-letter-full-size"), "1048577");
}

static void test_record_when_its_key_and_headers_are_huge_then_the_letter_still_fits(void **state)
{
    static uint8_t large[SAGA_MESSAGE_SIZE_MAX / 2];
    struct rig *rig = *state;
    struct saga_relay_row rows[ROWS_MAX];
    struct saga_bytes huge = {.data = large, .size = sizeof large};
    struct saga_kafka_record record = {
        .topic = rig->kit.command_topic,
        .key = huge,
        .value = huge,
        .headers = {{.name = "huge", .value = huge}},
        .header_count = 1,
    };
    rig_begin(rig);
    assert_int_equal(saga_kit_record_run(&rig->kit, &record, NULL), SAGA_ERR_OK);
    rig_commit(rig);
    assert_int_equal(fetch(rig, 0, ROWS_MAX, rows), 1);
    const struct saga_kafka_record *letter = &rows[0].records[0];
    assert_int_equal(letter->key.size, SAGA_KIT_DEAD_LETTER_SIDE_SIZE_MAX);
    assert_int_equal(saga_kafka_header(letter, "huge").size, 0);
    assert_text(saga_kafka_header(letter, "dead-letter-offset"), "0");
    assert_true(saga_kafka_header(letter, "dead-letter-reason").size > 0);
}

/* A letter is found by the position of its row, wherever that lies. */
static void test_letter_when_other_rows_came_before_then_is_still_found(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    assert_int_equal(receive_command(rig, &call, 4), 0);
    call = rig_undo(7);
    assert_int_equal(receive_command(rig, &call, 5), 0);
    assert_int_equal(receive(rig, saga_bytes_text("\xff"), 6), 0);
    assert_int_equal(rig_number(rig, "SELECT position FROM dead_letter"), 3);
    assert_letter(rig, 3, saga_bytes_text("\xff"), NULL, "6");
}

static void test_b7_prune_when_dead_letters_are_old_then_they_go_with_their_rows(void **state)
{
    struct rig *rig = *state;
    int64_t count = 0;
    (void)receive(rig, saga_bytes_text("\xff"), 5);
    assert_int_equal(rig_number(rig, "SELECT count(*) FROM dead_letter"), 1);
    assert_int_equal(saga_sql_begin(rig->kit.sql, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_barrier_prune(rig->kit.barrier, 1, INT64_MAX, 10, &count, NULL),
                     SAGA_ERR_OK);
    assert_int_equal(saga_sql_commit(rig->kit.sql, NULL), SAGA_ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(rig_number(rig, "SELECT count(*) FROM dead_letter"), 0);
}

/* ---- Doors, cursor, headers ---- */

static void test_intake_when_the_inbox_is_full_then_the_record_comes_again(void **state)
{
    struct rig *rig = *state;
    struct saga_kafka_record record = {.topic = "t", .value = saga_bytes_text("v")};
    for (int i = 0; i < 16; i++) {
        assert_true(saga_kit_record_received(&rig->kit, &record));
    }
    assert_false(saga_kit_record_received(&rig->kit, &record));
    struct saga_inbox_entry *link = saga_inbox_take(rig->kit.inbox, 100, 0);
    struct saga_inbox_entry *next = NULL;
    for (; link != NULL; link = next) {
        next = link->next;
        struct saga_kit_entry *entry = (struct saga_kit_entry *)link;
        assert_memory_equal(entry->record->value.data, "v", 1);
        saga_kit_entry_free(&rig->kit, entry);
    }
    assert_int_equal(atomic_load(&rig->kit.records_count), 0);
    assert_int_equal(atomic_load(&rig->kit.records_size), 0);
}

static void test_cursor_when_saved_then_loaded_and_never_goes_back(void **state)
{
    struct rig *rig = *state;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_kit_cursor_load(&rig->kit, &detail), SAGA_ERR_OK);
    assert_int_equal(rig->kit.cursor, 0);
    saga_kit_effects_advanced(&rig->kit, 12);
    assert_true(atomic_load(&rig->kit.cursor_dirty));
    assert_int_equal(saga_kit_cursor_save(&rig->kit, &detail), SAGA_ERR_OK);
    assert_false(atomic_load(&rig->kit.cursor_dirty));
    rig->kit.cursor = 0;
    assert_int_equal(saga_kit_cursor_load(&rig->kit, &detail), SAGA_ERR_OK);
    assert_int_equal(rig->kit.cursor, 12);
}

static void test_headers_when_framed_then_read_back_and_never_past_the_end(void **state)
{
    (void)state;
    struct saga_kafka_record record = {
        .headers = {{.name = "a", .value = saga_bytes_text("")},
                    {.name = "bc", .value = {.data = (const uint8_t *)"\0x", .size = 2}}},
        .header_count = 2,
    };
    struct saga_buf out = {0};
    assert_int_equal(saga_kit_headers_encode(&record, &out), SAGA_ERR_OK);
    struct saga_kafka_record read = {0};
    assert_true(saga_kit_headers_decode(saga_buf_view(&out), &read));
    assert_int_equal(read.header_count, 2);
    assert_int_equal(saga_kafka_header(&read, "bc").size, 2);
    for (size_t size = 1; size < out.size; size++) {
        uint8_t *cut = malloc(size); /* so that a sanitizer sees a step too far */
        assert_non_null(cut);
        memcpy(cut, out.data, size);
        bool whole = saga_kit_headers_decode((struct saga_bytes){.data = cut, .size = size}, &read);
        assert_int_equal(whole, size == 6);
        free(cut);
    }
    saga_buf_fini(&out);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_b8_rows_when_fetched_then_in_order_with_stable_ids),
        CASE(test_b8_definitive_no_and_empty_undo_when_fetched_then_told_as_such),
        CASE(test_b8_command_by_kafka_when_stored_then_its_row_is_effect_and_reply),
        CASE(test_record_when_reply_is_not_stored_then_it_is_produced_directly),
        CASE(test_record_when_it_is_garbage_then_dead_letter_and_the_offset_moves_on),
        CASE(test_record_when_it_has_no_business_here_then_dead_letter_and_the_sender_is_told),
        CASE(test_record_when_it_is_oversized_then_its_letter_is_cut),
        CASE(test_record_when_its_key_and_headers_are_huge_then_the_letter_still_fits),
        CASE(test_letter_when_other_rows_came_before_then_is_still_found),
        CASE(test_b7_prune_when_dead_letters_are_old_then_they_go_with_their_rows),
        CASE(test_intake_when_the_inbox_is_full_then_the_record_comes_again),
        CASE(test_cursor_when_saved_then_loaded_and_never_goes_back),
        CASE(test_headers_when_framed_then_read_back_and_never_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
