/* Participants that break one rule each: certify must find exactly that, and every case must have a
 * participant that fails it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "descriptor_set.h"
#include "tests/unit/certify/fake.h"

static const char values_text[] =
    "{\"payment.v1.PaymentService/AuthorizePayment\": ["
    "  {\"order_id\": \"${id}\", \"customer_id\": 1, \"total_cents\": 250},"
    "  {\"$expect\": \"no\", \"order_id\": \"${id}\", \"customer_id\": 1},"
    "  {\"$expect\": \"once\", \"order_id\": \"${id}\", \"customer_id\": 1, \"total_cents\": 77},"
    "  {\"$expect\": \"retry\", \"order_id\": \"${id}\", \"total_cents\": 99}]}";

struct world {
    struct saga_schema *schema;
    struct saga_certify_steps steps;
    struct saga_certify_values *values;
};

static const struct saga_method *method(const struct world *world, const char *name)
{
    const struct saga_method *found = saga_schema_method(world->schema, name);
    assert_non_null(found);
    return found;
}

static void add_step(struct world *world, const char *name, const char *call, const char *undo)
{
    assert_int_equal(saga_certify_steps_add(&world->steps, name, method(world, call),
                                            undo == NULL ? NULL : method(world, undo), NULL),
                     SAGA_ERR_OK);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct saga_err_detail detail = {{0}};
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    assert_non_null(world);
    assert_int_equal(saga_schema_load(set, &world->schema, &detail), SAGA_ERR_OK);
    add_step(world, "payment", "payment.v1.PaymentService/AuthorizePayment",
             "payment.v1.PaymentService/RefundPayment");
    add_step(world, "customer", "customer.v1.CustomerService/ValidateCustomer", NULL);
    assert_int_equal(saga_certify_values_make(world->schema, &world->steps,
                                              saga_bytes_text(values_text), 1, &world->values,
                                              &detail),
                     SAGA_ERR_OK);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    saga_certify_values_free(world->values);
    saga_schema_free(world->schema);
    free(world);
    return 0;
}

/* ---- What each fault breaks ---- */

#define PREFIX "CERT-"
enum { BROKEN_SIZE = 2048 };

struct row {
    enum fake_fault fault;
    const char *broken; /* ids, blank separated, in the table's order */
};

static const struct row rows[] = {
    {FAKE_NONE, ""},
    {FAKE_HEALTH_STATE, "HEALTH"},
    {FAKE_REFLECTION_EMPTY, "REFLECTION"},
    {FAKE_ECHO_SAGA, "ECHO"},
    {FAKE_ECHO_STEP, "ECHO"},
    {FAKE_ECHO_ATTEMPT, "ECHO"},
    {FAKE_ORDER_REVERSED, "ORDER BATCH-MIXED"},
    {FAKE_REPLY_MISSING, "ORDER"},
    {FAKE_METHOD_NOT_FOUND, "METHOD-UNKNOWN BATCH-MIXED"},
    {FAKE_EMPTY_OK, "EMPTY"},
    {FAKE_GARBAGE_DROPPED, "GARBAGE"},
    {FAKE_GARBAGE_DEADLY, "GARBAGE"},
    {FAKE_TRUNCATED_OK, "TRUNCATED"},
    {FAKE_WIRE_TYPE_OK, "WIRE-TYPE"},
    {FAKE_UNKNOWN_REFUSED, "UNKNOWN-FIELD"},
    {FAKE_BATCH_SHORT, "BATCH-FULL"},
    {FAKE_BATCH_LONG_OK, "BATCH-LONG"},
    {FAKE_OVERSIZED_DROPPED, "OVERSIZED"},
    {FAKE_FLOOD_DEADLY, "FLOOD"},
    {FAKE_PAYLOAD_LARGE_OK, "PAYLOAD-LARGE"},
    {FAKE_SAGA_ID_OK, "SAGA-ID"},
    {FAKE_STEP_OK, "WIRE-TYPE STEP OP"},
    {FAKE_OP_OK, "OP"},
    {FAKE_ATTEMPT_OK, "ATTEMPT"},
    {FAKE_METADATA_OK, "METADATA"},
    {FAKE_READ_RESTLESS, ""},
    {FAKE_READ_INTERNAL, "READ"},
    {FAKE_CALL_RESPONSE, "CALL"},
    {FAKE_CALL_REPLAYED, "CALL CALL-DEADLINE B1-OTHER-STEP B1-OTHER-SAGA S8-FENCE B6-RETRY"},
    {FAKE_PAYLOAD_INTERNAL, "CALL-PAYLOAD BATCH-MIXED UNDO-PAYLOAD"},
    {FAKE_LATE_DONE, "CALL-DEADLINE BATCH-MIXED"},
    {FAKE_LATE_STORED, "CALL-DEADLINE B6-RETRY"},
    {FAKE_LATE_UNDO_STORED, "UNDO-DEADLINE"},
    {FAKE_BATCH_ONE_FATE, "BATCH-MIXED"},
    {FAKE_CALL_TWICE, "B1-DUPLICATE B1-ATTEMPT B1-BATCH B1-CONCURRENT B1-EFFECT "
                      "B5-CALL B5-METHOD B6-NO S8-FENCE-REPLAY RESTART-CALL "
                      "RESTART-NO RESTART-FLIGHT"},
    {FAKE_KEY_ATTEMPT, "B1-ATTEMPT B1-CONCURRENT RESTART-FLIGHT"},
    {FAKE_BATCH_BLIND, "B1-BATCH"},
    {FAKE_AT_ONCE_BLIND, "B1-CONCURRENT"},
    {FAKE_EFFECT_TWICE, "B1-EFFECT RESTART-FLIGHT-UNDO RESTART-FLIGHT"},
    {FAKE_BYTES_CHANGE, "B1-DUPLICATE B1-ATTEMPT B1-BATCH B1-CONCURRENT B5-CALL "
                        "S8-FENCE-REPLAY B3-LATE S4-RACE RESTART-CALL "
                        "RESTART-FLIGHT-UNDO RESTART-FLIGHT"},
    {FAKE_KEY_NO_STEP, "B1-OTHER-STEP"},
    {FAKE_KEY_SAGA_CUT, "B1-OTHER-SAGA"},
    {FAKE_REUSED_CALL, "B5-CALL"},
    {FAKE_REUSED_REASON, "B5-CALL B5-METHOD B5-UNDO"},
    {FAKE_REUSED_KEPT, "B5-CALL"},
    {FAKE_REUSED_METHOD, "B5-METHOD"},
    {FAKE_REUSED_UNDO, "B5-UNDO"},
    {FAKE_NO_FORGOTTEN, "B6-NO RESTART-NO"},
    {FAKE_NO_UNDO_FULL, "B6-UNDO"},
    {FAKE_RETRY_STORED, "B6-RETRY"},
    {FAKE_EPOCH_IGNORED, "S8-FENCE S8-FENCE-REPLAY"},
    {FAKE_EPOCH_STORED, "S8-FENCE B6-RETRY"},
    {FAKE_EPOCH_REPLAY, "S8-FENCE-REPLAY"},
    {FAKE_UNDO_PAYLOAD_KEPT, "UNDO-PAYLOAD"},
    {FAKE_EMPTY_REFUSED, "UNDO-PAYLOAD B2-UNDO-FIRST B3-CALL-AFTER B4-EMPTY "
                         "RESTART-FORBIDDEN RESTART-FLIGHT-UNDO"},
    {FAKE_EMPTY_UNSAID, "B2-UNDO-FIRST S4-RACE"},
    {FAKE_EMPTY_FORGOTTEN, "B3-CALL-AFTER B3-BATCH B4-EMPTY S4-RACE RESTART-FORBIDDEN "
                           "RESTART-FLIGHT-UNDO"},
    {FAKE_FORBIDDEN_DONE, "B3-CALL-AFTER B3-BATCH S4-RACE RESTART-FORBIDDEN "
                          "RESTART-FLIGHT-UNDO"},
    {FAKE_FORBIDDEN_ONCE, "B3-CALL-AFTER S4-RACE RESTART-FLIGHT-UNDO"},
    {FAKE_FORBIDDEN_REASON, "B3-CALL-AFTER B3-BATCH RESTART-FORBIDDEN RESTART-FLIGHT-UNDO"},
    {FAKE_FORBIDDEN_IN_BATCH, "B3-BATCH"},
    {FAKE_LATE_DUPLICATE, "B3-LATE S4-RACE RESTART-FLIGHT-UNDO"},
    {FAKE_LATE_ANEW, "B3-LATE S4-RACE RESTART-FLIGHT-UNDO"},
    {FAKE_UNDO_IDLE, "UNDO-EFFECT"},
    {FAKE_UNDO_MORE, "UNDO-EFFECT"},
    {FAKE_NO_EFFECT, "B6-EFFECT"},
    {FAKE_UNDO_RESPONSE, "B4-UNDO"},
    {FAKE_UNDO_SAYS_EMPTY, "B4-UNDO S4-RACE RESTART-FLIGHT-UNDO"},
    {FAKE_UNDO_EMPTY_SOON, "B4-UNDO RESTART-FLIGHT-UNDO"},
    {FAKE_UNDO_TWICE, "B4-TWICE B4-EMPTY B4-CAUSE B4-CONCURRENT B5-UNDO S4-RACE "
                      "RESTART-UNDO RESTART-FLIGHT-UNDO"},
    {FAKE_EMPTY_ONCE, "B4-EMPTY S4-RACE RESTART-FLIGHT-UNDO"},
    {FAKE_KEY_CAUSE, "B4-CAUSE"},
    {FAKE_UNDO_AT_ONCE, "B4-CONCURRENT S4-RACE"},
    {FAKE_RACE_BLIND, "S4-RACE"},
    {FAKE_LOST_CALLS, "RESTART-CALL RESTART-FLIGHT"},
    {FAKE_LOST_NOES, "RESTART-NO"},
    {FAKE_LOST_UNDOS, "RESTART-UNDO RESTART-FLIGHT-UNDO"},
    {FAKE_LOST_FORBIDDEN, "RESTART-FORBIDDEN RESTART-FLIGHT-UNDO"},
    {FAKE_LOST_LATE_CALLS, "RESTART-FLIGHT"},
    {FAKE_LOST_LATE_UNDOS, "RESTART-FLIGHT-UNDO"},
    {FAKE_LOST_LATE, "RESTART-FLIGHT-UNDO RESTART-FLIGHT"},
    {FAKE_ANSWER_CUT, "RESTART-FLIGHT-UNDO RESTART-FLIGHT"},
    {FAKE_UNANSWERED_ANEW, "RESTART-FLIGHT"},
    {FAKE_UNANSWERED_EFFECT, "RESTART-FLIGHT-UNDO RESTART-FLIGHT"},
    {FAKE_RESTART_NEVER,
     "RESTART-CALL RESTART-NO RESTART-UNDO RESTART-FORBIDDEN RESTART-FLIGHT-UNDO "
     "RESTART-FLIGHT"},
};

/* Runs certify on a fake; the ids of what failed, in the order of the table. */
static enum saga_err judge(const struct world *world, struct fake *fake, char *broken, size_t size)
{
    struct saga_certify_report report = {0};
    struct saga_err_detail detail = {{0}};
    struct saga_certify_config config = {
        .schema = world->schema,
        .steps = &world->steps,
        .values = world->values,
        .port = fake_port(fake),
        .seed = 7,
        .nonce = 11,
        .rounds = 3,
        .at_once = 6,
        .timeout_ms = 1000,
        .probe_method = "order.v1.OrderService/GetOrder",
        .probe_request = "{\"order_id\": \"${id}\"}",
        .balance_method = "order.v1.OrderService/ListOrders",
        .balance_request = "{\"customer_id\": 1}",
        .reflection = true,
    };
    broken[0] = '\0';
    enum saga_err err = saga_certify_run(&config, &report, &detail);
    for (size_t i = 0; i < report.count; i++) {
        const struct saga_certify_result *result = &report.results[i];
        if (result->verdict == SAGA_CERTIFY_FAIL) {
            size_t used = strlen(broken);
            (void)snprintf(broken + used, size - used, "%s%s", used == 0 ? "" : " ",
                           result->about->id + strlen(PREFIX));
            assert_int_not_equal(strlen(result->reason), 0);
        }
    }
    saga_certify_report_fini(&report);
    return err;
}

static void
test_participant_that_breaks_a_rule_when_certified_then_its_cases_fail_and_no_others(void **state)
{
    assert_int_equal(sizeof rows / sizeof rows[0], FAKE_FAULT_COUNT - 1); /* all but SILENT */
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake fake = {.fault = rows[i].fault};
        char broken[BROKEN_SIZE];
        assert_int_equal(judge(*state, &fake, broken, sizeof broken), SAGA_ERR_OK);
        if (strcmp(broken, rows[i].broken) != 0) {
            print_error("%s: broken \"%s\", expected \"%s\"\n", fake_fault_name(rows[i].fault),
                        broken, rows[i].broken);
            wrong++;
        }
        fake_fini(&fake);
    }
    assert_int_equal(wrong, 0);
}

static bool listed(const char *list, const char *id)
{
    size_t size = strlen(id);
    for (const char *at = strstr(list, id); at != NULL; at = strstr(at + 1, id)) {
        bool begins = at == list || at[-1] == ' ';
        if (begins && (at[size] == ' ' || at[size] == '\0')) {
            return true;
        }
    }
    return false;
}

static void test_case_when_looked_for_among_bad_participants_then_one_fails_it(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct saga_certify_about *about = saga_certify_case(0); about != NULL;
         about = saga_certify_case(++count)) {
        bool found = false;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            found = found || listed(rows[i].broken, about->id + strlen(PREFIX));
        }
        if (!found) {
            print_error("%s: no participant fails it\n", about->id);
        }
        assert_true(found);
    }
    assert_true(count > 50);
}

static void test_participant_that_answers_nothing_when_certified_then_unavailable(void **state)
{
    struct fake fake = {.fault = FAKE_SILENT};
    char broken[BROKEN_SIZE];
    assert_int_equal(judge(*state, &fake, broken, sizeof broken), SAGA_ERR_UNAVAILABLE);
    fake_fini(&fake);
}

static void test_good_participant_when_certified_then_nothing_of_it_is_left(void **state)
{
    struct fake fake = {.fault = FAKE_NONE};
    char broken[BROKEN_SIZE];
    assert_int_equal(judge(*state, &fake, broken, sizeof broken), SAGA_ERR_OK);
    assert_string_equal(broken, "");
    assert_int_equal(fake.open_calls, 0);
    assert_int_equal(fake.restarts, 1);
    assert_true(fake.effects > 20);
    fake_fini(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_participant_that_breaks_a_rule_when_certified_then_its_cases_fail_and_no_others),
        cmocka_unit_test(test_case_when_looked_for_among_bad_participants_then_one_fails_it),
        cmocka_unit_test(test_participant_that_answers_nothing_when_certified_then_unavailable),
        cmocka_unit_test(test_good_participant_when_certified_then_nothing_of_it_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
