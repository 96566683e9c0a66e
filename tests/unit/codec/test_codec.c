/* Definitions, contexts and commands; and the codec's other groups of tests. */
#include "orchestrator/codec/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/wire/envelope.h"
#include "kitchen/v1/kitchen.pb-c.h"
#include "order/v1/create_order.pb-c.h"
#include "product/v1/product.pb-c.h"
#include "tests/unit/codec/suites.h"
#include "tests/unit/codec/walk.h"

enum { ORDER, CUSTOMER, STOCK, TICKET, PAYMENT, ACCEPT, CONFIRM, STEPS };

static struct saga_buf pack_context(int64_t order_id, const char *ticket_id)
{
    Order__V1__CreateOrder context = ORDER__V1__CREATE_ORDER__INIT;
    char ticket[64];
    (void)strcpy(ticket, ticket_id);
    context.order_id = order_id;
    context.customer_id = 5;
    context.total_cents = 990;
    context.ticket_id = ticket;
    struct saga_buf buf = {0};
    size_t size = order__v1__create_order__get_packed_size(&context);
    assert_int_equal(saga_buf_reserve(&buf, size), SAGA_ERR_OK);
    buf.size = order__v1__create_order__pack(&context, buf.data);
    return buf;
}

static void test_definition_when_compiled_then_as_declared(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    const struct saga_definition *def = &version.def;
    assert_int_equal(def->step_count, STEPS);
    assert_int_equal(def->deadline_ms, 60000);
    assert_string_equal(version.step_names[TICKET], "ticket");
    assert_false(def->steps[ORDER].has_call);
    assert_true(def->steps[ORDER].has_undo);
    assert_true(def->steps[CUSTOMER].read_only);
    assert_true(def->steps[ACCEPT].pivot);
    assert_int_equal(def->steps[TICKET].after_mask, (1U << CUSTOMER) | (1U << STOCK));
    assert_int_equal(def->retriable_mask, 1U << CONFIRM);
    assert_int_equal(def->steps[STOCK].call_via, SAGA_VIA_NNG);
    assert_int_equal(def->steps[STOCK].undo_via, SAGA_VIA_KAFKA);
    assert_int_equal(def->steps[STOCK].call_attempts_max, SAGA_RETRY_ATTEMPTS_DEFAULT);
    assert_int_equal(def->steps[STOCK].call_deadline_ms, SAGA_CALL_DEADLINE_MS_DEFAULT);
    assert_int_equal(def->steps[STOCK].undo_deadline_ms, SAGA_UNDO_DEADLINE_MS_DEFAULT);
    assert_int_equal(version.call_participants[STOCK], SAGA_NO_PARTICIPANT);
    struct saga_version async = walk_version(schema, "create-order-async");
    assert_int_equal(async.def.steps[STOCK].call_via, SAGA_VIA_KAFKA);
    assert_int_equal(async.def.deadline_ms, 120000);
    assert_memory_not_equal(async.hash, version.hash, SAGA_DIGEST_SIZE);
    saga_schema_free(schema);
}

static void test_definition_when_it_has_a_cycle_then_invalid(void **state)
{
    (void)state;
    struct saga_step_decl steps[2] = {{.name = "a", .after_mask = 2},
                                      {.name = "b", .after_mask = 1}};
    struct saga_decl decl = {.name = "d", .steps = steps, .step_count = 2, .deadline_ms = 1};
    struct saga_definition def;
    struct saga_err_detail detail = {.text = ""};
    assert_int_equal(saga_definition_compile(&decl, &def, &detail), SAGA_ERR_INVALID);
    assert_true(detail.text[0] != '\0');
    decl.step_count = 0;
    assert_int_equal(saga_definition_compile(&decl, &def, &detail), SAGA_ERR_INVALID);
}

static void test_input_when_checked_then_only_the_context_type_passes(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    const struct saga_codec_ops *codec = saga_codec_port();
    struct saga_err_detail detail = {.text = ""};
    struct saga_buf context = pack_context(1, "");
    assert_int_equal(codec->check_input(&version, saga_buf_view(&context), &detail), SAGA_ERR_OK);
    assert_int_equal(codec->check_input(&version, saga_bytes_text("\x08"), &detail),
                     SAGA_ERR_MALFORMED);
    assert_int_equal(codec->check_input(&version, saga_bytes_text("\x0a\x01x"), &detail),
                     SAGA_ERR_MALFORMED);
    static const uint8_t big[SAGA_CONTEXT_SIZE_MAX + 1];
    struct saga_bytes too_big = {.data = big, .size = sizeof big};
    assert_int_equal(codec->check_input(&version, too_big, &detail), SAGA_ERR_LIMIT);
    saga_buf_fini(&context);
    saga_schema_free(schema);
}

static void test_reply_when_merged_then_the_context_has_its_fields(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    const struct saga_codec_ops *codec = saga_codec_port();
    struct saga_err_detail detail = {.text = ""};
    struct saga_buf context = pack_context(77, "old");
    struct saga_buf merged = {0};
    char ticket[] = "T-1";
    uint8_t reply[32];
    Kitchen__V1__CreateTicketResponse response = KITCHEN__V1__CREATE_TICKET_RESPONSE__INIT;
    response.ticket_id = ticket;
    struct saga_bytes bytes = {.data = reply,
                               .size = kitchen__v1__create_ticket_response__pack(&response, reply)};
    assert_int_equal(codec->check_reply(&version, TICKET, SAGA_OP_CALL, bytes, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(
        codec->merge_reply(&version, TICKET, saga_buf_view(&context), bytes, &merged, &detail),
        SAGA_ERR_OK);
    Order__V1__CreateOrder *read = order__v1__create_order__unpack(NULL, merged.size, merged.data);
    assert_non_null(read);
    assert_string_equal(read->ticket_id, "T-1");
    assert_int_equal(read->order_id, 77);
    assert_int_equal(read->total_cents, 990);
    order__v1__create_order__free_unpacked(read, NULL);

    struct saga_bytes garbage = saga_bytes_text("\x0a\xff");
    assert_int_equal(codec->check_reply(&version, TICKET, SAGA_OP_CALL, garbage, &detail),
                     SAGA_ERR_MALFORMED);
    assert_int_equal(codec->check_reply(&version, ORDER, SAGA_OP_CALL, bytes, &detail),
                     SAGA_ERR_MALFORMED); /* it has no call */
    saga_buf_fini(&context);
    saga_buf_fini(&merged);
    saga_schema_free(schema);
}

/* The undo of the step ticket, as the test below has made it. */
static void assert_is_cancel(const struct saga_command *command)
{
    assert_string_equal(command->step, "ticket");
    assert_string_equal(command->method, "kitchen.v1.KitchenService/CancelTicket");
    assert_int_equal(command->op, SAGA_OP_UNDO);
    assert_int_equal(command->attempt, 2);
    assert_int_equal(command->deadline_unix_ms, 99);
    assert_int_equal(command->epoch, 6);
    assert_string_equal(command->traceparent, "00-trace");
    assert_string_equal(command->cause_step, "accept");
    assert_int_equal(command->cause_status.code, 9);
    assert_string_equal(command->cause_status.reason, "TICKET_REFUSED");
    Kitchen__V1__CancelTicketRequest *cancel = kitchen__v1__cancel_ticket_request__unpack(
        NULL, command->payload.size, command->payload.data);
    assert_non_null(cancel);
    assert_int_equal(cancel->order_id, 77);
    kitchen__v1__cancel_ticket_request__free_unpacked(cancel, NULL);
}

static void assert_is_approve(const struct saga_command *command)
{
    assert_string_equal(command->method, "kitchen.v1.KitchenService/ApproveTicket");
    assert_int_equal(command->cause_status.code, 0);
    Kitchen__V1__ApproveTicketRequest *approve = kitchen__v1__approve_ticket_request__unpack(
        NULL, command->payload.size, command->payload.data);
    assert_non_null(approve);
    assert_string_equal(approve->ticket_id, "T-9");
    kitchen__v1__approve_ticket_request__free_unpacked(approve, NULL);
}

static void test_command_when_encoded_then_envelope_and_request_from_the_context(void **state)
{
    (void)state;
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    struct saga_buf context = pack_context(77, "T-9");
    struct saga saga = {
        .cause = SAGA_CAUSE_STEP, .cause_step = ACCEPT, .cause_code = 9, .step_count = STEPS};
    memset(saga.id.b, 0x42, SAGA_ID_SIZE);
    const struct saga_texts texts = {"TICKET_REFUSED", "not today", "00-trace", "", {{0}}};
    struct saga_send send = {.step = TICKET,
                             .op = SAGA_OP_UNDO,
                             .via = SAGA_VIA_KAFKA,
                             .attempt = 2,
                             .deadline_unix_ms = 99};
    struct saga_command_input in = {.version = &version,
                                    .saga = &saga,
                                    .send = &send,
                                    .texts = &texts,
                                    .context = saga_buf_view(&context),
                                    .epoch = 6};
    const struct saga_codec_ops *codec = saga_codec_port();
    struct saga_arena arena = {0};
    struct saga_buf out = {0};
    struct saga_command command;
    struct saga_status status;
    assert_int_equal(codec->encode_command(&in, &out), SAGA_ERR_OK);
    assert_int_equal(saga_command_decode(saga_buf_view(&out), &arena, &command, &status),
                     SAGA_ERR_OK);
    assert_memory_equal(command.saga_id.b, saga.id.b, SAGA_ID_SIZE);
    assert_is_cancel(&command);
    assert_string_equal(codec->command_topic(&version, TICKET, SAGA_OP_UNDO),
                        "order-to-kitchen-status");

    /* As elements of a batch; a call has no cause. */
    struct saga_command *commands = NULL;
    size_t count = 0;
    send = (struct saga_send){.step = ACCEPT, .op = SAGA_OP_CALL, .attempt = 1};
    in.batch_element = true;
    saga_buf_clear(&out);
    assert_int_equal(codec->encode_command(&in, &out), SAGA_ERR_OK);
    assert_int_equal(codec->encode_command(&in, &out), SAGA_ERR_OK);
    assert_int_equal(
        saga_command_batch_decode(saga_buf_view(&out), &arena, &commands, &count, &status),
        SAGA_ERR_OK);
    assert_int_equal(count, 2);
    assert_is_approve(&commands[1]);
    saga_arena_fini(&arena);
    saga_buf_fini(&out);
    saga_buf_fini(&context);
    saga_schema_free(schema);
}

static void test_digest_when_bytes_are_known_then_sha256(void **state)
{
    (void)state;
    /* FIPS 180-2, appendix B.1 */
    static const uint8_t abc[SAGA_DIGEST_SIZE] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                                  0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                                  0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                                  0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t digest[SAGA_DIGEST_SIZE];
    saga_digest(saga_bytes_text("abc"), digest);
    assert_memory_equal(digest, abc, SAGA_DIGEST_SIZE);
    saga_digest((struct saga_bytes){0}, digest);
    assert_int_equal(digest[0], 0xe3);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition_when_compiled_then_as_declared),
        cmocka_unit_test(test_definition_when_it_has_a_cycle_then_invalid),
        cmocka_unit_test(test_input_when_checked_then_only_the_context_type_passes),
        cmocka_unit_test(test_reply_when_merged_then_the_context_has_its_fields),
        cmocka_unit_test(test_command_when_encoded_then_envelope_and_request_from_the_context),
        cmocka_unit_test(test_digest_when_bytes_are_known_then_sha256),
    };
    int failed = cmocka_run_group_tests_name("codec", tests, NULL, NULL);
    failed += record_tests();
    failed += audit_tests();
    return failed == 0 ? 0 : 1;
}
