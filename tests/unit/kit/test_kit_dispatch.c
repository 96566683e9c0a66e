/* One command, one job: what comes before and after the barrier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "descriptor_set.h"
#include "saga/v1/health.pb-c.h"
#include "saga/v1/reflection.pb-c.h"
#include "tests/unit/kit/rig.h"

#define HEALTH "saga.v1.HealthService/Check"
#define REFLECTION "saga.v1.ReflectionService/GetDescriptorSet"

static void test_dispatch_when_method_is_unknown_then_unimplemented(void **state)
{
    static const char *const names[] = {"payment.v1.PaymentService/Nothing",
                                        "order.v1.OrderService/ApproveOrder", "", "x"};
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        call.method = names[i];
        assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_UNIMPLEMENTED);
    }
    assert_int_equal(rig_rows(rig), 0);
}

static void test_dispatch_when_deadline_is_past_then_unexecuted(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    call.deadline_unix_ms = saga_clock_unix_ms() - 1000;
    assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_DEADLINE_EXCEEDED);
    assert_int_equal(rig->runs, 0);
    assert_int_equal(rig_rows(rig), 0);
    call.deadline_unix_ms = saga_clock_unix_ms() + 60 * 1000;
    assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_OK);
}

static void
test_dispatch_when_payload_is_malformed_then_definitive_no_that_names_the_message(void **state)
{
    static const uint8_t garbage[] = {0x08, 0xFF};
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    call.payload = (struct saga_bytes){.data = garbage, .size = sizeof garbage};
    for (int i = 0; i < 2; i++) {
        struct saga_reply reply = rig_run(rig, &call);
        assert_int_equal(reply.status.code, SAGA_CODE_INVALID_ARGUMENT);
        assert_string_equal(reply.status.reason, "MALFORMED_PAYLOAD");
        assert_non_null(strstr(reply.status.message, "payment.v1.AuthorizePaymentRequest"));
        assert_int_equal(reply.replayed, i == 1);
    }
    assert_int_equal(rig->runs, 0);
}

static void test_dispatch_when_undo_is_malformed_then_it_forbids_nothing(void **state)
{
    static const uint8_t garbage[] = {0xFF};
    struct rig *rig = *state;
    struct saga_command undo = rig_undo(7);
    undo.payload = (struct saga_bytes){.data = garbage, .size = sizeof garbage};
    assert_int_equal(rig_run(rig, &undo).status.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_int_equal(rig_rows(rig), 0);
    struct saga_command call = rig_call(7);
    assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_OK);
}

static void test_dispatch_when_op_is_none_then_no_barrier(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    call.op = SAGA_OP_NONE;
    (void)rig_run(rig, &call);
    assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_OK);
    assert_int_equal(rig->runs, 2);
    assert_int_equal(rig_effects(rig), 2);
    assert_int_equal(rig_rows(rig), 0);
    rig->mood = RIG_REJECT;
    assert_int_equal(rig_run(rig, &call).status.code, SAGA_CODE_FAILED_PRECONDITION);
    assert_int_equal(rig_effects(rig), 2);
}

static void test_dispatch_when_method_has_no_side_effects_then_no_barrier_and_no_write(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < rig->kit.method_count; i++) {
        rig->kit.methods[i].read_only = true;
    }
    struct saga_command call = rig_call(7);
    struct saga_reply reply = rig_run(rig, &call); /* the handler writes: a mistake of its author */
    assert_int_equal(reply.status.code, SAGA_CODE_INTERNAL);
    assert_non_null(strstr(reply.status.message, "NO_SIDE_EFFECTS"));
    assert_int_equal(rig_effects(rig), 0);
    assert_int_equal(rig_rows(rig), 0);
    assert_false(rig->kit.turn.wrote);
}

static void test_dispatch_when_schema_says_no_side_effects_then_method_is_read_only(void **state)
{
    struct rig *rig = *state;
    assert_false(saga_kit_method_find(&rig->kit, RIG_CALL)->read_only);
    assert_true(saga_kit_method_find(&rig->kit, HEALTH)->read_only);
    assert_string_equal(rig->kit.command_topic, "order-to-payment-status");
    assert_string_equal(rig->kit.reply_topic, "payment-to-order-payment-status");
}

static void
test_dispatch_when_handler_fails_then_its_effect_is_taken_back_and_the_others_stay(void **state)
{
    static const enum rig_mood moods[] = {RIG_REJECT, RIG_RETRY,   RIG_PARK,
                                          RIG_SILENT, RIG_BAD_SQL, RIG_LARGE};
    static const uint32_t codes[] = {SAGA_CODE_FAILED_PRECONDITION,
                                     SAGA_CODE_UNAVAILABLE,
                                     SAGA_CODE_PERMISSION_DENIED,
                                     SAGA_CODE_INTERNAL,
                                     SAGA_CODE_INTERNAL,
                                     SAGA_CODE_INTERNAL};
    struct rig *rig = *state;
    bool stored = false;
    rig_begin(rig);
    for (size_t i = 0; i < sizeof moods / sizeof moods[0]; i++) {
        struct saga_command call = rig_call(7);
        struct saga_reply reply;
        call.saga_id.b[0] = (uint8_t)(2 * i);
        rig->mood = RIG_OK;
        assert_int_equal(saga_kit_dispatch(&rig->kit, &call, SAGA_VIA_NNG, &reply, &stored, NULL),
                         SAGA_ERR_OK);
        call.saga_id.b[0] = (uint8_t)(2 * i + 1);
        rig->mood = moods[i];
        assert_int_equal(saga_kit_dispatch(&rig->kit, &call, SAGA_VIA_NNG, &reply, &stored, NULL),
                         SAGA_ERR_OK);
        assert_int_equal(reply.status.code, codes[i]);
        assert_int_equal(reply.payload.size, 0);
    }
    rig_commit(rig);
    assert_int_equal(rig_effects(rig), 6);
}

static void test_dispatch_when_store_has_failed_then_unavailable_but_health_answers(void **state)
{
    struct rig *rig = *state;
    atomic_store(&rig->kit.failed, true);
    (void)saga_err_set(&rig->kit.failure, SAGA_ERR_DISK_FULL, "disk is full");
    struct saga_command call = rig_call(7);
    struct saga_reply reply = rig_run(rig, &call);
    assert_int_equal(reply.status.code, SAGA_CODE_UNAVAILABLE);
    assert_string_equal(reply.status.message, "disk is full");
    assert_int_equal(rig->runs, 0);
    struct saga_command check = {.step = "", .method = HEALTH, .traceparent = "", .cause_step = ""};
    reply = rig_run(rig, &check);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    Saga__V1__CheckResponse *health =
        saga__v1__check_response__unpack(NULL, reply.payload.size, reply.payload.data);
    assert_non_null(health);
    assert_int_equal(health->state, SAGA__V1__HEALTH_STATE__HEALTH_STATE_NOT_SERVING);
    assert_string_equal(health->parts[0]->name, "store");
    assert_string_equal(health->parts[0]->detail, "disk is full");
    saga__v1__check_response__free_unpacked(health, NULL);
}

static void test_reflection_when_asked_then_schema_and_services(void **state)
{
    struct rig *rig = *state;
    struct saga_command ask = {
        .step = "", .method = REFLECTION, .traceparent = "", .cause_step = ""};
    struct saga_reply reply = rig_run(rig, &ask);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    Saga__V1__GetDescriptorSetResponse *set =
        saga__v1__get_descriptor_set_response__unpack(NULL, reply.payload.size, reply.payload.data);
    assert_non_null(set);
    assert_int_equal(set->n_services, 3);
    assert_string_equal(set->services[0], "payment.v1.PaymentService");
    struct saga_schema *schema = NULL;
    struct saga_bytes bytes = {.data = set->descriptor_set.data, .size = set->descriptor_set.len};
    assert_int_equal(saga_schema_load(bytes, &schema, NULL), SAGA_ERR_OK);
    saga_schema_free(schema);
    saga__v1__get_descriptor_set_response__free_unpacked(set, NULL);
}

/* ---- Replies of a batch ---- */

static void
test_reply_when_batch_grows_too_large_then_short_reply_and_the_message_stays_in_its_limit(
    void **state)
{
    (void)state;
    static uint8_t payload[SAGA_PAYLOAD_SIZE_MAX];
    struct saga_command call = rig_call(7);
    struct saga_reply reply = saga_kit_reply_to(&call, saga_status_ok());
    reply.payload = (struct saga_bytes){.data = payload, .size = sizeof payload};
    struct saga_buf out = {0};
    for (int i = 0; i < SAGA_BATCH_COUNT_MAX; i++) {
        assert_int_equal(saga_kit_reply_add(&reply, false, &out), SAGA_ERR_OK);
    }
    assert_in_range(out.size, SAGA_MESSAGE_SIZE_MAX / 2, SAGA_MESSAGE_SIZE_MAX);
    struct saga_arena arena = {0};
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    assert_int_equal(
        saga_reply_batch_decode(saga_buf_view(&out), &arena, &replies, &count, &status),
        SAGA_ERR_OK);
    assert_int_equal(count, SAGA_BATCH_COUNT_MAX);
    assert_int_equal(replies[0].status.code, SAGA_CODE_OK);
    assert_int_equal(replies[count - 1].status.code, SAGA_CODE_UNKNOWN);
    assert_string_equal(replies[count - 1].status.reason, "REPLY_TOO_LARGE");
    saga_arena_fini(&arena);
    saga_buf_fini(&out);
}

/* ---- Jobs, after commit ---- */

struct tale {
    struct saga_kit_job job; /* first */
    bool refuse;
    int64_t told;
};

static void tell(void *user, int64_t value)
{
    struct tale *tale = user;
    tale->told += value;
}

static void run_tale(struct saga_kit_job *job, struct saga_call *call)
{
    struct tale *tale = (struct tale *)job;
    (void)saga_call_run(call, "INSERT INTO effect (sign) VALUES (?1)", "i", INT64_C(1));
    saga_call_after_commit(call, tell, tale, 20);
    saga_call_after_commit(call, tell, tale, 22);
    if (tale->refuse) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "NONE", "none");
    }
}

static void test_job_when_it_runs_then_effect_and_callbacks_come_together(void **state)
{
    struct rig *rig = *state;
    for (int refuse = 0; refuse < 2; refuse++) {
        struct tale tale = {.job = {.run = run_tale}, .refuse = refuse == 1};
        struct saga_kit_entry entry = {.kind = SAGA_KIT_ENTRY_JOB, .job = &tale.job};
        rig_begin(rig);
        assert_int_equal(saga_kit_dispatch_job(&rig->kit, &entry, NULL), SAGA_ERR_OK);
        rig_commit(rig);
        for (const struct saga_kit_after *after = rig->kit.turn.after; after != NULL;
             after = after->next) {
            after->done(after->user, after->value);
        }
        assert_int_equal(entry.status.code, refuse ? SAGA_CODE_NOT_FOUND : SAGA_CODE_OK);
        assert_int_equal(tale.told, refuse ? 0 : 42);
        assert_int_equal(rig_effects(rig), 1);
    }
}

static void test_methods_when_a_handler_is_missing_then_the_daemon_does_not_start(void **state)
{
    struct rig *rig = *state;
    struct saga_kit kit = {.app = &rig->app};
    struct {
        ProtobufCService base;
        void (*handlers[2])(void);
    } empty = {.base = *rig->app.service};
    struct saga_kit_app app = {.name = "rigd", .service = &empty.base};
    struct saga_err_detail detail;
    kit.app = &app;
    assert_int_equal(saga_kit_methods_load(&kit, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "no handler"));
    saga_schema_free(kit.schema);
    free(kit.methods);
}

static void test_methods_when_the_set_is_ones_own_then_it_counts_and_must_hold_all(void **state)
{
    /* An empty file more makes it another set: FileDescriptorSet { file { name: "x.proto" } }. */
    static const uint8_t more[] = {0x0A, 0x09, 0x0A, 0x07, 'x', '.', 'p', 'r', 'o', 't', 'o'};
    struct rig *rig = *state;
    struct saga_kit_app app = rig->app;
    struct saga_kit kit = {.app = &app};
    struct saga_err_detail detail;
    struct saga_buf own = {0};
    struct saga_bytes built_in = {.data = saga_descriptor_set, .size = saga_descriptor_set_size};
    assert_int_equal(saga_buf_append(&own, built_in), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&own, (struct saga_bytes){more, sizeof more}), SAGA_ERR_OK);
    app.descriptor_set = saga_buf_view(&own);
    assert_int_equal(saga_kit_methods_load(&kit, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_kit_descriptor_set(&kit).size, own.size);
    assert_int_equal(saga_kit_descriptor_set(&rig->kit).size, built_in.size);
    saga_schema_free(kit.schema);
    free(kit.methods);
    kit = (struct saga_kit){.app = &app};
    app.descriptor_set = (struct saga_bytes){more, sizeof more};
    assert_int_equal(saga_kit_methods_load(&kit, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "payment.v1.PaymentService is not in the embedded schema"));
    saga_schema_free(kit.schema);
    free(kit.methods);
    saga_buf_fini(&own);
}

/* A message is cut between characters, or the whole reply could not be read. */
static void test_refusal_when_its_message_is_too_long_then_no_character_is_cut(void **state)
{
    static const struct {
        const char *character;
        size_t size;
    } cases[] = {{"a", 1},
                 {"\xc3\xa4", 2},
                 {"\xe2\x82\xac", 3},
                 {"\xe0\xa0\x80", 3},
                 {"\xf0\x9f\x8d\x95", 4}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2 * SAGA_STATUS_MESSAGE_MAX] = "abc";
            size_t size = shift;
            while (size + cases[i].size < sizeof text) {
                memcpy(text + size, cases[i].character, cases[i].size);
                size += cases[i].size;
            }
            text[size] = '\0';
            struct saga_call call = {.refused = false};
            saga_call_refuse(&call, SAGA_CODE_NOT_FOUND, "WHY", "%s", text);
            size_t whole =
                shift + (SAGA_STATUS_MESSAGE_MAX - shift) / cases[i].size * cases[i].size;
            assert_int_equal(strlen(call.message), whole);
            assert_memory_equal(call.message, text, whole);
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_dispatch_when_method_is_unknown_then_unimplemented),
        CASE(test_dispatch_when_deadline_is_past_then_unexecuted),
        CASE(test_dispatch_when_payload_is_malformed_then_definitive_no_that_names_the_message),
        CASE(test_dispatch_when_undo_is_malformed_then_it_forbids_nothing),
        CASE(test_dispatch_when_op_is_none_then_no_barrier),
        CASE(test_dispatch_when_method_has_no_side_effects_then_no_barrier_and_no_write),
        CASE(test_dispatch_when_schema_says_no_side_effects_then_method_is_read_only),
        CASE(test_dispatch_when_handler_fails_then_its_effect_is_taken_back_and_the_others_stay),
        CASE(test_dispatch_when_store_has_failed_then_unavailable_but_health_answers),
        CASE(test_reflection_when_asked_then_schema_and_services),
        CASE(
            test_reply_when_batch_grows_too_large_then_short_reply_and_the_message_stays_in_its_limit),
        CASE(test_job_when_it_runs_then_effect_and_callbacks_come_together),
        CASE(test_refusal_when_its_message_is_too_long_then_no_character_is_cut),
        CASE(test_methods_when_a_handler_is_missing_then_the_daemon_does_not_start),
        CASE(test_methods_when_the_set_is_ones_own_then_it_counts_and_must_hold_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
