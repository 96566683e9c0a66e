/* Commands on both roads say the same: who, what, until when, from which epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/wire/envelope.h"
#include "orchestrator/codec/codec.h"
#include "tests/unit/codec/walk.h"

enum { ORDER, CUSTOMER, STOCK, TICKET };

struct rig {
    struct saga_schema *schema;
    struct saga_version version;
    struct saga saga;
    struct saga_texts texts;
    struct saga_arena arena;
    struct saga_buf out;
};

static void rig_open(struct rig *rig)
{
    *rig = (struct rig){.texts = {"OUT_OF_STOCK", "0 left", "00-trace", "", {{0}}}};
    rig->schema = walk_schema();
    rig->version = walk_version(rig->schema, "create-order");
    rig->saga = (struct saga){.cause = SAGA_CAUSE_STEP,
                              .cause_step = STOCK,
                              .cause_code = SAGA_CODE_FAILED_PRECONDITION,
                              .step_count = (uint8_t)rig->version.def.step_count};
    memset(rig->saga.id.b, 0x42, SAGA_ID_SIZE);
}

static void rig_close(struct rig *rig)
{
    saga_arena_fini(&rig->arena);
    saga_buf_fini(&rig->out);
    saga_schema_free(rig->schema);
}

static struct saga_command encoded(struct rig *rig, const struct saga_send *send)
{
    static const uint8_t context[] = {0x08, 5, 0x10, 7};
    struct saga_command_input in = {.version = &rig->version,
                                    .saga = &rig->saga,
                                    .send = send,
                                    .texts = &rig->texts,
                                    .context = {context, sizeof context},
                                    .epoch = 6,
                                    .batch_element = send->via == SAGA_VIA_NNG};
    struct saga_command command;
    struct saga_command *commands = NULL;
    struct saga_status status;
    size_t count = 0;
    saga_buf_clear(&rig->out);
    assert_int_equal(saga_codec_port()->encode_command(&in, &rig->out), SAGA_ERR_OK);
    if (!in.batch_element) {
        assert_int_equal(
            saga_command_decode(saga_buf_view(&rig->out), &rig->arena, &command, &status),
            SAGA_ERR_OK);
        return command;
    }
    assert_int_equal(saga_command_batch_decode(saga_buf_view(&rig->out), &rig->arena, &commands,
                                               &count, &status),
                     SAGA_ERR_OK);
    assert_int_equal(count, 1);
    return commands[0];
}

/* Whichever way it goes, a command has all that its participant must know. */
static void test_command_when_it_goes_either_way_then_says_the_same(void **state)
{
    (void)state;
    static const enum saga_via vias[] = {SAGA_VIA_NNG, SAGA_VIA_KAFKA};
    static const enum saga_op ops[] = {SAGA_OP_CALL, SAGA_OP_UNDO};
    struct rig rig;
    rig_open(&rig);
    for (size_t i = 0; i < 4; i++) {
        struct saga_send send = {.step = STOCK,
                                 .via = vias[i / 2],
                                 .op = ops[i % 2],
                                 .attempt = 3,
                                 .deadline_unix_ms = INT64_C(1700000000123)};
        struct saga_command command = encoded(&rig, &send);
        assert_memory_equal(command.saga_id.b, rig.saga.id.b, SAGA_ID_SIZE);
        assert_string_equal(command.step, "stock");
        assert_int_equal(command.op, send.op);
        assert_string_equal(command.method, send.op == SAGA_OP_CALL
                                                ? "product.v1.ProductService/ReserveStock"
                                                : "product.v1.ProductService/ReleaseStock");
        assert_int_equal(command.attempt, 3);
        assert_int_equal(command.deadline_unix_ms, INT64_C(1700000000123));
        assert_int_equal(command.epoch, 6); /* S8 */
        assert_string_equal(command.traceparent, "00-trace");
        assert_true(command.payload.size > 0);
        bool undo = send.op == SAGA_OP_UNDO;
        assert_string_equal(command.cause_step, undo ? "stock" : "");
        assert_int_equal(command.cause_status.code, undo ? SAGA_CODE_FAILED_PRECONDITION : 0);
        assert_string_equal(command.cause_status.reason, undo ? "OUT_OF_STOCK" : "");
    }
    rig_close(&rig);
}

static void test_command_when_it_has_no_deadline_then_says_none(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct saga_send send = {
        .step = TICKET, .via = SAGA_VIA_KAFKA, .op = SAGA_OP_UNDO, .attempt = 1};
    assert_int_equal(encoded(&rig, &send).deadline_unix_ms, 0);
    rig_close(&rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_when_it_goes_either_way_then_says_the_same),
        cmocka_unit_test(test_command_when_it_has_no_deadline_then_says_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
