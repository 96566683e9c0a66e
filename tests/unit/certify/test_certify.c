/* What certify makes of a schema, of values, and of what it found. */
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

#define AUTHORIZE "payment.v1.PaymentService/AuthorizePayment"
#define REFUND "payment.v1.PaymentService/RefundPayment"

static struct saga_schema *schema;
static struct saga_certify_steps payment;

static int set_up(void **state)
{
    struct saga_err_detail detail = {{0}};
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    (void)state;
    assert_int_equal(saga_schema_load(set, &schema, &detail), SAGA_ERR_OK);
    payment.count = 0;
    assert_int_equal(saga_certify_steps_add(&payment, "payment",
                                            saga_schema_method(schema, AUTHORIZE),
                                            saga_schema_method(schema, REFUND), &detail),
                     SAGA_ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    saga_schema_free(schema);
    return 0;
}

static struct saga_certify_values *make_values(const char *text)
{
    struct saga_err_detail detail = {{0}};
    struct saga_certify_values *values = NULL;
    enum saga_err err =
        saga_certify_values_make(schema, &payment, saga_bytes_text(text), 1, &values, &detail);
    if (err != SAGA_ERR_OK) {
        print_error("%s\n", detail.text);
    }
    assert_int_equal(err, SAGA_ERR_OK);
    return values;
}

/* ---- Steps ---- */

static void test_steps_when_a_service_is_found_then_each_pair_is_there_once(void **state)
{
    const char *const services[] = {"kitchen.v1.KitchenService"};
    struct saga_certify_steps steps = {.count = 0};
    struct saga_err_detail detail = {{0}};
    (void)state;
    assert_int_equal(saga_certify_steps_find(&steps, schema, NULL, services, 1, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(steps.count, 2);
    assert_string_equal(steps.list[0].name, "ticket");
    assert_non_null(steps.list[0].undo);
    assert_string_equal(steps.list[1].name, "accept");
    assert_null(steps.list[1].undo);
}

static void test_steps_when_the_starter_does_one_then_it_has_its_undo_alone(void **state)
{
    const char *const services[] = {"order.v1.OrderService"};
    struct saga_certify_steps steps = {.count = 0};
    struct saga_err_detail detail = {{0}};
    (void)state;
    assert_int_equal(saga_certify_steps_find(&steps, schema, "create-order", services, 1, &detail),
                     SAGA_ERR_OK);
    assert_int_equal(steps.count, 2);
    assert_null(steps.list[0].call);
    assert_string_equal(steps.list[0].undo->name, "RejectOrder");
}

static void test_steps_when_the_definition_is_unknown_then_not_found(void **state)
{
    const char *const services[] = {"order.v1.OrderService"};
    struct saga_certify_steps steps = {.count = 0};
    struct saga_err_detail detail = {{0}};
    (void)state;
    assert_int_equal(saga_certify_steps_find(&steps, schema, "nobody", services, 1, &detail),
                     SAGA_ERR_NOT_FOUND);
    assert_non_null(strstr(detail.text, "nobody"));
}

static void test_steps_when_a_name_is_made_of_a_method_then_it_is_a_steps_name(void **state)
{
    struct saga_certify_steps steps = {.count = 0};
    (void)state;
    assert_int_equal(
        saga_certify_steps_add(&steps, NULL, saga_schema_method(schema, AUTHORIZE), NULL, NULL),
        SAGA_ERR_OK);
    assert_string_equal(steps.list[0].name, "authorize-payment");
}

/* ---- Values ---- */

static void test_values_when_generated_then_what_ties_call_and_undo_is_fresh(void **state)
{
    struct saga_certify_values *values = make_values("");
    (void)state;
    const json_t *call =
        json_array_get(json_object_get(saga_certify_values_json(values), AUTHORIZE), 0);
    const json_t *undo =
        json_array_get(json_object_get(saga_certify_values_json(values), REFUND), 0);
    assert_string_equal(json_string_value(json_object_get(call, "order_id")), "${id}");
    assert_string_equal(json_string_value(json_object_get(undo, "order_id")), "${id}");
    assert_in_range(json_integer_value(json_object_get(call, "customer_id")), 1, 3);
    assert_in_range(json_integer_value(json_object_get(call, "total_cents")), 1, 3);
    saga_certify_values_free(values);
}

static void test_values_when_generated_of_one_seed_then_they_are_the_same(void **state)
{
    struct saga_certify_values *one = make_values("");
    struct saga_certify_values *two = make_values("");
    (void)state;
    assert_true(json_equal(saga_certify_values_json(one), saga_certify_values_json(two)));
    saga_certify_values_free(one);
    saga_certify_values_free(two);
}

static void
test_values_when_every_method_of_the_schema_is_generated_then_each_can_be_encoded(void **state)
{
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < saga_schema_service_count(schema); i++) {
        const struct saga_service *service = saga_schema_service_at(schema, i);
        for (size_t at = 0; at < service->method_count; at++) {
            struct saga_certify_steps steps = {.count = 0};
            struct saga_certify_values *values = NULL;
            struct saga_err_detail detail = {{0}};
            assert_int_equal(
                saga_certify_steps_add(&steps, NULL, &service->methods[at], NULL, &detail),
                SAGA_ERR_OK);
            assert_int_equal(saga_certify_values_make(schema, &steps, (struct saga_bytes){0}, 3,
                                                      &values, &detail),
                             SAGA_ERR_OK);
            saga_certify_values_free(values);
            count++;
        }
    }
    assert_true(count > 15);
}

static void test_values_when_wrong_then_the_message_names_method_and_place(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } rows[] = {
        {"{\"" AUTHORIZE "\": {\"order\": 1}}", "order"},
        {"{\"" AUTHORIZE "\": {\"order_id\": \"${nothing}\"}}", "${nothing}"},
        {"{\"" AUTHORIZE "\": {\"$expect\": \"perhaps\"}}", "$expect"},
        {"{\"" AUTHORIZE "\": 7}", "JSON object"},
        {"{\"" AUTHORIZE "\": []}", AUTHORIZE},
        {"{\"a.B/C\": {}}", "a.B/C"},
        {"{\"a.B/C\"", "line 1"},
        {"[]", "package.Service/Method"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct saga_err_detail detail = {{0}};
        struct saga_certify_values *values = NULL;
        assert_int_equal(saga_certify_values_make(schema, &payment, saga_bytes_text(rows[i].text),
                                                  1, &values, &detail),
                         SAGA_ERR_INVALID);
        if (strstr(detail.text, rows[i].says) == NULL) {
            print_error("%s: %s\n", rows[i].text, detail.text);
        }
        assert_non_null(strstr(detail.text, rows[i].says));
        assert_null(values);
    }
}

/* ---- Running ---- */

static void run(struct fake *fake, const struct saga_certify_values *values, const char *cases,
                bool restart, struct saga_certify_report *report)
{
    struct saga_err_detail detail = {{0}};
    struct saga_certify_config config = {
        .schema = schema,
        .steps = &payment,
        .values = values,
        .port = fake_port(fake),
        .seed = 7,
        .nonce = 11,
        .rounds = 2,
        .at_once = 4,
        .timeout_ms = 1000,
        .cases = cases,
        .probe_method = fake->probe,
        .probe_request = "{}",
        .balance_method = fake->balance,
        .balance_request = "{}",
        .reflection = true,
    };
    if (!restart) {
        config.port.restart = NULL;
    }
    assert_int_equal(saga_certify_run(&config, report, &detail), SAGA_ERR_OK);
}

static const struct saga_certify_result *find(const struct saga_certify_report *report,
                                              const char *id)
{
    for (size_t i = 0; i < report->count; i++) {
        if (strcmp(report->results[i].about->id, id) == 0) {
            return &report->results[i];
        }
    }
    fail_msg("%s did not run", id);
    return NULL;
}

static void test_run_when_all_values_are_refused_then_what_needs_them_is_skipped(void **state)
{
    struct fake fake = {.refuses = true};
    struct saga_certify_report report;
    struct saga_certify_values *values = make_values("");
    (void)state;
    run(&fake, values, NULL, true, &report);
    assert_int_equal(report.failed, 0);
    assert_int_equal(find(&report, "CERT-CALL")->verdict, SAGA_CERTIFY_SKIP);
    assert_non_null(strstr(find(&report, "CERT-CALL")->reason, "NO_MONEY"));
    assert_int_equal(find(&report, "CERT-B4-UNDO")->verdict, SAGA_CERTIFY_SKIP);
    assert_int_equal(find(&report, "CERT-B1-DUPLICATE")->verdict, SAGA_CERTIFY_PASS);
    assert_int_equal(find(&report, "CERT-B2-UNDO-FIRST")->verdict, SAGA_CERTIFY_PASS);
    assert_int_equal(find(&report, "CERT-B3-CALL-AFTER")->verdict, SAGA_CERTIFY_PASS);
    assert_int_equal(find(&report, "CERT-B6-NO")->verdict, SAGA_CERTIFY_PASS);
    saga_certify_report_fini(&report);
    saga_certify_values_free(values);
    fake_fini(&fake);
}

static void test_run_when_a_stored_no_is_lost_then_it_fails_though_all_is_refused(void **state)
{
    struct fake fake = {.fault = FAKE_NO_FORGOTTEN, .refuses = true};
    struct saga_certify_report report;
    struct saga_certify_values *values = make_values("");
    (void)state;
    run(&fake, values, "CERT-B1-DUPLICATE", true, &report);
    assert_int_equal(report.count, 1);
    assert_int_equal(report.failed, 1);
    saga_certify_report_fini(&report);
    saga_certify_values_free(values);
    fake_fini(&fake);
}

/* Runs one case; its verdict, and whether its reason has a text. */
static enum saga_certify_verdict verdict_of(struct fake *fake, const char *text, const char *id,
                                            const char *says)
{
    struct saga_certify_report report;
    struct saga_certify_values *values = make_values(text);
    run(fake, values, id, true, &report);
    assert_int_equal(report.count, 1);
    enum saga_certify_verdict verdict = report.results[0].verdict;
    if (says != NULL && strstr(report.results[0].reason, says) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", id, report.results[0].reason, says);
    }
    saga_certify_report_fini(&report);
    saga_certify_values_free(values);
    fake_fini(fake);
    return verdict;
}

#define ONCE                                                                                       \
    "{\"" AUTHORIZE "\": [{\"order_id\": \"${id}\", \"total_cents\": 250},"                        \
    "{\"$expect\": \"once\", \"order_id\": \"${id}\", \"total_cents\": 77}]}"
#define NOT_ONCE                                                                                   \
    "{\"" AUTHORIZE "\": [{\"$expect\": \"once\", \"order_id\": \"${id}\", \"total_cents\": 78}]}"
#define BEFORE                                                                                     \
    "{\"" AUTHORIZE "\": [{\"$before\": {\"op\": \"call\", \"method\": \"" AUTHORIZE               \
    "\", \"request\": "                                                                            \
    "{\"order_id\": \"${id}\", \"total_cents\": 1}}, \"order_id\": \"${id}\", \"total_cents\": "   \
    "2}]}"
#define GOOD_OR_NO                                                                                 \
    "{\"" AUTHORIZE "\": [{\"order_id\": \"${id}\", \"total_cents\": 250},"                        \
    "{\"$expect\": \"no\", \"order_id\": \"${id}\", \"total_cents\": 0}]}"
#define ORDERS_EVER "order.v1.OrderService/GetOrder"
#define ORDERS_NOW "order.v1.OrderService/ListOrders"

static void test_undo_when_it_undoes_nothing_then_what_there_is_once_tells(void **state)
{
    static const char id[] = "CERT-UNDO-EFFECT";
    struct fake good = {.fault = FAKE_NONE};
    struct fake idle = {.fault = FAKE_UNDO_IDLE};
    (void)state;
    assert_int_equal(verdict_of(&good, ONCE, id, NULL), SAGA_CERTIFY_PASS);
    assert_int_equal(good.taken, 0);
    assert_int_equal(verdict_of(&idle, ONCE, id, "instead of OK"), SAGA_CERTIFY_FAIL);
}

static void test_undo_when_it_undoes_nothing_then_a_balance_tells(void **state)
{
    static const char id[] = "CERT-UNDO-EFFECT";
    struct fake good = {.fault = FAKE_NONE, .balance = ORDERS_NOW};
    struct fake idle = {.fault = FAKE_UNDO_IDLE, .balance = ORDERS_NOW};
    struct fake more = {.fault = FAKE_UNDO_MORE, .balance = ORDERS_NOW, .open_calls = 5};
    (void)state;
    assert_int_equal(verdict_of(&good, "", id, NULL), SAGA_CERTIFY_PASS);
    assert_int_equal(verdict_of(&idle, "", id, "undone nothing"), SAGA_CERTIFY_FAIL);
    assert_int_equal(verdict_of(&more, "", id, "than before the call"), SAGA_CERTIFY_FAIL);
}

static void test_undo_when_nobody_can_tell_then_it_is_not_judged(void **state)
{
    static const char id[] = "CERT-UNDO-EFFECT";
    struct fake idle = {.fault = FAKE_UNDO_IDLE};
    struct fake blind = {.fault = FAKE_UNDO_IDLE,
                         .balance = "customer.v1.CustomerService/ValidateCustomer"};
    struct fake restless = {.fault = FAKE_READ_RESTLESS, .balance = ORDERS_NOW};
    struct fake many = {.fault = FAKE_NONE};
    (void)state;
    assert_int_equal(verdict_of(&idle, "", id, "--balance"), SAGA_CERTIFY_SKIP);
    assert_int_equal(verdict_of(&blind, "", id, "does not tell"), SAGA_CERTIFY_SKIP);
    assert_int_equal(verdict_of(&restless, "", id, "otherwise each time"), SAGA_CERTIFY_SKIP);
    assert_int_equal(verdict_of(&many, NOT_ONCE, id, "another one stood"), SAGA_CERTIFY_SKIP);
}

static void test_refusal_when_it_has_an_effect_then_the_probe_tells(void **state)
{
    static const char id[] = "CERT-B6-EFFECT";
    struct fake good = {.fault = FAKE_NONE, .probe = ORDERS_EVER};
    struct fake bad = {.fault = FAKE_NO_EFFECT, .probe = ORDERS_EVER};
    struct fake silent = {.fault = FAKE_NO_EFFECT};
    struct fake restless = {.fault = FAKE_READ_RESTLESS, .probe = ORDERS_EVER};
    (void)state;
    assert_int_equal(verdict_of(&good, GOOD_OR_NO, id, NULL), SAGA_CERTIFY_PASS);
    assert_int_equal(verdict_of(&bad, GOOD_OR_NO, id, "had an effect"), SAGA_CERTIFY_FAIL);
    assert_int_equal(verdict_of(&silent, GOOD_OR_NO, id, "--probe"), SAGA_CERTIFY_SKIP);
    assert_int_equal(verdict_of(&restless, GOOD_OR_NO, id, "otherwise each time"),
                     SAGA_CERTIFY_SKIP);
}

static void test_flight_when_there_is_room_for_few_then_it_is_judged_by_those(void **state)
{
    static const char *const ids[] = {"CERT-RESTART-FLIGHT", "CERT-RESTART-FLIGHT-UNDO"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fake good = {.fault = FAKE_NONE, .room = 3};
        struct fake none = {.fault = FAKE_NONE, .refuses = true};
        struct fake bad = {.fault = FAKE_LOST_LATE, .room = 3};
        struct fake full = {.fault = FAKE_NONE, .room = 3};
        struct fake shut = {.fault = FAKE_NONE, .refuses = true};
        assert_int_equal(verdict_of(&good, "", ids[i], NULL), SAGA_CERTIFY_PASS);
        assert_int_equal(good.open_calls, 0);
        assert_true(good.flights > 0);
        assert_int_equal(verdict_of(&bad, "", ids[i], NULL), SAGA_CERTIFY_FAIL);
        /* What must be done before takes room too. */
        assert_int_equal(verdict_of(&full, BEFORE, ids[i], NULL), SAGA_CERTIFY_PASS);
        assert_int_equal(full.open_calls, 0);
        assert_int_equal(verdict_of(&shut, BEFORE, ids[i], "before"), SAGA_CERTIFY_SKIP);
        /* Calls that are refused for good are answers like others; undos need one that was done. */
        assert_int_equal(verdict_of(&none, "", ids[i], NULL),
                         i == 0 ? SAGA_CERTIFY_PASS : SAGA_CERTIFY_SKIP);
    }
}

static void test_run_when_it_cannot_be_restarted_then_those_cases_are_skipped(void **state)
{
    struct fake fake = {.fault = FAKE_LOST_CALLS};
    struct saga_certify_report report;
    struct saga_certify_values *values = make_values("");
    (void)state;
    run(&fake, values, "CERT-RESTART-*", false, &report);
    assert_int_equal(report.count, 6);
    assert_int_equal(report.skipped, 6);
    assert_non_null(strstr(report.results[0].reason, "--restart"));
    saga_certify_report_fini(&report);
    saga_certify_values_free(values);
    fake_fini(&fake);
}

/* The value of a property in a JUnit report, in JSON's "rules" and in the text's lines. */
static void assert_rule_told(const struct saga_certify_report *report, const char *rule,
                             const char *word, const char *line)
{
    struct saga_certify_head head = {.address = "ipc://x", .seed = 1};
    struct saga_buf junit = {0};
    char text[32768] = "";
    char property[128];
    json_t *json = saga_certify_report_json(report, &head);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "rules"), rule)),
                        word);
    assert_int_equal(json_integer_value(json_object_get(json, "unjudged")), report->skipped);
    assert_int_equal(json_integer_value(json_object_get(json, "central_unjudged")),
                     saga_certify_unjudged(report));
    json_decref(json);
    assert_int_equal(saga_certify_report_junit(report, &head, &junit), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&junit, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    (void)snprintf(property, sizeof property, "<property name=\"%s\" value=\"%s\"/>", rule, word);
    assert_non_null(strstr((const char *)junit.data, property));
    saga_buf_fini(&junit);
    FILE *file = fmemopen(text, sizeof text, "w");
    assert_non_null(file);
    saga_certify_report_text(report, &head, file);
    assert_int_equal(fclose(file), 0);
    const char *found = strstr(text, line);
    assert_non_null(found);
    const char *end = strchr(found, '\n');
    const char *at = strstr(found, rule);
    assert_true(end != NULL && at != NULL && at < end);
}

static void test_report_when_a_rule_is_judged_in_part_then_text_json_and_junit_agree(void **state)
{
    struct fake fake = {.fault = FAKE_NONE};
    struct saga_certify_report report;
    struct saga_certify_values *values = make_values("");
    (void)state;
    run(&fake, values, NULL, false, &report);
    assert_int_equal(saga_certify_outcome(&report), SAGA_CERTIFY_CERTIFIED);
    assert_true(report.skipped > 6);
    assert_rule_told(&report, "B1", "PART", "judged in part:");
    assert_rule_told(&report, "B4", "PART", "judged in part:");
    assert_rule_told(&report, "B5", "PASS", "kept:");
    saga_certify_report_fini(&report);
    saga_certify_values_free(values);
    fake_fini(&fake);
}

static void test_restart_when_nothing_was_restarted_then_it_is_not_certified(void **state)
{
    struct fake idle = {.idle_restart = true};
    struct fake deadly = {.deadly_restart = true};
    struct fake *const fakes[] = {&idle, &deadly};
    struct saga_certify_values *values = make_values("");
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct saga_certify_report report;
        run(fakes[i], values, NULL, true, &report);
        assert_int_equal(report.failed, 0);
        assert_true(report.restart_void);
        assert_int_equal(find(&report, "CERT-RESTART-CALL")->verdict, SAGA_CERTIFY_SKIP);
        assert_string_equal(find(&report, "CERT-RESTART-CALL")->reason, "it was not restarted");
        assert_int_equal(find(&report, "CERT-RESTART-FLIGHT")->verdict, SAGA_CERTIFY_SKIP);
        /* One of six has no request that is refused: it matters all the same. */
        assert_int_equal(saga_certify_unjudged(&report), 6);
        assert_int_equal(saga_certify_outcome(&report), SAGA_CERTIFY_UNJUDGED);
        assert_rule_told(&report, "B4", "PART", "judged in part:");
        saga_certify_report_fini(&report);
        fake_fini(fakes[i]);
    }
    saga_certify_values_free(values);
}

static void test_probe_when_it_does_not_see_the_call_then_nothing_is_judged_by_it(void **state)
{
    static const char blind[] = "customer.v1.CustomerService/ValidateCustomer";
    static const char *const ids[] = {"CERT-B1-EFFECT", "CERT-B6-EFFECT"};
    static const enum fake_fault faults[] = {FAKE_EFFECT_TWICE, FAKE_NO_EFFECT};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fake unseen = {.fault = faults[i], .probe = blind};
        struct fake seen = {.fault = faults[i], .probe = ORDERS_EVER};
        struct fake good = {.fault = FAKE_NONE, .probe = ORDERS_EVER};
        struct fake balanced = {.fault = FAKE_NONE, .probe = ORDERS_NOW};
        assert_int_equal(verdict_of(&unseen, GOOD_OR_NO, ids[i], "does not tell of this call"),
                         SAGA_CERTIFY_SKIP);
        assert_int_equal(verdict_of(&seen, GOOD_OR_NO, ids[i], "had an effect"), SAGA_CERTIFY_FAIL);
        assert_int_equal(verdict_of(&good, GOOD_OR_NO, ids[i], NULL), SAGA_CERTIFY_PASS);
        assert_int_equal(verdict_of(&balanced, GOOD_OR_NO, ids[i], NULL), SAGA_CERTIFY_PASS);
        assert_int_equal(balanced.open_calls, 0);
    }
}

static void test_template_when_given_back_then_it_judges_what_is_judged_without_values(void **state)
{
    (void)state;
    struct saga_certify_values *none = make_values("");
    json_t *made = saga_certify_values_template(none, &payment);
    assert_non_null(made);
    assert_non_null(strstr(json_string_value(json_object_get(made, "$comment")), "$expect"));
    assert_int_equal(json_array_size(json_object_get(made, AUTHORIZE)), 2);
    assert_int_equal(json_array_size(json_object_get(made, REFUND)), 1);
    char *text = json_dumps(made, 0);
    assert_non_null(text);
    struct saga_certify_values *given = make_values(text);
    struct fake fakes[2] = {{.probe = ORDERS_EVER}, {.probe = ORDERS_EVER}};
    struct saga_certify_report reports[2];
    run(&fakes[0], none, NULL, true, &reports[0]);
    run(&fakes[1], given, NULL, true, &reports[1]);
    assert_int_equal(find(&reports[1], "CERT-B6-NO")->verdict, SAGA_CERTIFY_PASS);
    assert_int_equal(reports[0].count, reports[1].count);
    for (size_t i = 0; i < reports[0].count; i++) {
        assert_int_equal(reports[0].results[i].verdict, reports[1].results[i].verdict);
    }
    /* What was given is told as it was given. */
    json_t *again = saga_certify_values_template(given, &payment);
    assert_true(json_equal(json_object_get(again, AUTHORIZE), json_object_get(made, AUTHORIZE)));
    json_decref(again);
    for (size_t i = 0; i < 2; i++) {
        saga_certify_report_fini(&reports[i]);
        fake_fini(&fakes[i]);
    }
    saga_certify_values_free(given);
    saga_certify_values_free(none);
    json_decref(made);
    free(text);
}

static void test_run_when_repeated_with_another_nonce_then_no_key_is_met_again(void **state)
{
    struct fake fake = {.fault = FAKE_NONE};
    struct saga_certify_report report;
    struct saga_certify_values *values = make_values("");
    (void)state;
    run(&fake, values, NULL, true, &report);
    assert_int_equal(report.failed, 0);
    saga_certify_report_fini(&report);
    struct saga_err_detail detail = {{0}};
    struct saga_certify_config config = {
        .schema = schema,
        .steps = &payment,
        .values = values,
        .port = fake_port(&fake),
        .seed = 7,
        .nonce = 12,
        .rounds = 2,
        .at_once = 4,
        .timeout_ms = 1000,
    };
    assert_int_equal(saga_certify_run(&config, &report, &detail), SAGA_ERR_OK);
    assert_int_equal(report.failed, 0);
    saga_certify_report_fini(&report);
    saga_certify_values_free(values);
    fake_fini(&fake);
}

static void test_run_when_the_probe_has_effects_then_it_is_refused(void **state)
{
    struct fake fake = {.fault = FAKE_NONE};
    struct saga_certify_report report;
    struct saga_err_detail detail = {{0}};
    struct saga_certify_config config = {
        .schema = schema,
        .steps = &payment,
        .port = fake_port(&fake),
        .probe_method = AUTHORIZE,
        .probe_request = "{}",
    };
    (void)state;
    assert_int_equal(saga_certify_run(&config, &report, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "NO_SIDE_EFFECTS"));
}

/* ---- Reports ---- */

static struct saga_certify_report made_report(struct saga_certify_result results[3])
{
    results[0] = (struct saga_certify_result){
        .about = saga_certify_case(0), .verdict = SAGA_CERTIFY_PASS, .took_ms = 1234};
    results[1] = (struct saga_certify_result){.about = saga_certify_case(25),
                                              .step = &payment.list[0],
                                              .verdict = SAGA_CERTIFY_FAIL,
                                              .reason = "<\"it's\" & \x01\xff>",
                                              .sent = "CALL",
                                              .got = "OK"};
    results[2] = (struct saga_certify_result){
        .about = saga_certify_case(1), .verdict = SAGA_CERTIFY_SKIP, .reason = "no & nothing"};
    return (struct saga_certify_report){
        .results = results, .count = 3, .passed = 1, .failed = 1, .skipped = 1, .commands = 5};
}

static void test_junit_when_texts_have_markup_then_they_are_escaped(void **state)
{
    struct saga_certify_result results[3];
    struct saga_certify_report report = made_report(results);
    struct saga_certify_head head = {.address = "tcp://a<b>", .seed = 42};
    struct saga_buf out = {0};
    (void)state;
    assert_int_equal(saga_certify_report_junit(&report, &head, &out), SAGA_ERR_OK);
    assert_int_equal(saga_buf_append(&out, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "name=\"tcp://a&lt;b&gt;\""));
    assert_non_null(strstr(text, "tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""));
    assert_non_null(strstr(text, "message=\"&lt;&quot;it&apos;s&quot; &amp; ??&gt;\""));
    assert_non_null(strstr(text, "<skipped message=\"no &amp; nothing\"/>"));
    assert_non_null(strstr(text, "time=\"1.234\""));
    assert_non_null(strstr(text, "name=\"seed\" value=\"42\""));
    saga_buf_fini(&out);
}

static void test_json_when_a_case_failed_then_it_says_so_and_why(void **state)
{
    struct saga_certify_result results[3];
    struct saga_certify_report report = made_report(results);
    struct saga_certify_head head = {.address = "tcp://a", .seed = 42};
    (void)state;
    (void)snprintf(results[1].reason, sizeof results[1].reason, "it was done anew");
    json_t *json = saga_certify_report_json(&report, &head);
    assert_non_null(json);
    assert_true(json_is_false(json_object_get(json, "certified")));
    const json_t *rules = json_object_get(json, "rules");
    assert_string_equal(json_string_value(json_object_get(rules, "B1")), "FAIL");
    assert_string_equal(json_string_value(json_object_get(rules, "B2")), "INAPPLICABLE");
    const json_t *one = json_array_get(json_object_get(json, "cases"), 1);
    assert_string_equal(json_string_value(json_object_get(one, "verdict")), "FAIL");
    assert_string_equal(json_string_value(json_object_get(one, "reason")), "it was done anew");
    assert_string_equal(json_string_value(json_object_get(one, "call")), AUTHORIZE);
    json_decref(json);
}

static void test_text_when_a_case_failed_then_rule_and_hint_are_told(void **state)
{
    struct saga_certify_result results[3];
    struct saga_certify_report report = made_report(results);
    struct saga_certify_head head = {.address = "tcp://a", .seed = 42};
    char text[8192] = "";
    (void)state;
    FILE *file = fmemopen(text, sizeof text, "w");
    assert_non_null(file);
    saga_certify_report_text(&report, &head, file);
    assert_int_equal(fclose(file), 0);
    assert_non_null(strstr(text, "FAIL CERT-B1-DUPLICATE payment"));
    assert_non_null(strstr(text, "to mend"));
    assert_non_null(strstr(text, "not certified: tcp://a: 1 passed, 1 failed, 1 not judged"));
    assert_non_null(strstr(text, "broken: B1"));
    assert_null(strstr(text, "PASS"));
}

/* ---- The table and its document ---- */

static char *read_document(void)
{
    FILE *file = fopen(SAGA_SOURCE_DIR "/docs/certify.md", "rb");
    assert_non_null(file);
    enum { SIZE_MAX_READ = 256 * 1024 };
    char *text = calloc(1, SIZE_MAX_READ);
    assert_non_null(text);
    size_t size = fread(text, 1, SIZE_MAX_READ - 1, file);
    assert_true(size > 0 && size < SIZE_MAX_READ - 1);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void test_cases_when_compared_with_the_document_then_each_is_told_there(void **state)
{
    char *text = read_document();
    (void)state;
    size_t count = 0;
    for (const struct saga_certify_about *about = saga_certify_case(0); about != NULL;
         about = saga_certify_case(++count)) {
        char cells[1024];
        char begin[64];
        (void)snprintf(begin, sizeof begin, "| `%s` |", about->id);
        (void)snprintf(cells, sizeof cells, "| %s | %s | %s |\n", about->title, about->expected,
                       about->hint);
        const char *row = strstr(text, begin);
        const char *end = row == NULL ? NULL : strchr(row, '\n');
        const char *found = row == NULL ? NULL : strstr(row, cells);
        if (found == NULL || end == NULL || found > end) {
            fail_msg("docs/certify.md: no row %s … %s", begin, cells);
        }
    }
    assert_true(count > 50);
    free(text);
}

static void test_cases_when_walked_then_no_id_is_there_twice(void **state)
{
    (void)state;
    for (size_t i = 0; saga_certify_case(i) != NULL; i++) {
        for (size_t other = 0; other < i; other++) {
            assert_string_not_equal(saga_certify_case(i)->id, saga_certify_case(other)->id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_when_a_service_is_found_then_each_pair_is_there_once),
        cmocka_unit_test(test_steps_when_the_starter_does_one_then_it_has_its_undo_alone),
        cmocka_unit_test(test_steps_when_the_definition_is_unknown_then_not_found),
        cmocka_unit_test(test_steps_when_a_name_is_made_of_a_method_then_it_is_a_steps_name),
        cmocka_unit_test(test_values_when_generated_then_what_ties_call_and_undo_is_fresh),
        cmocka_unit_test(test_values_when_generated_of_one_seed_then_they_are_the_same),
        cmocka_unit_test(
            test_values_when_every_method_of_the_schema_is_generated_then_each_can_be_encoded),
        cmocka_unit_test(test_values_when_wrong_then_the_message_names_method_and_place),
        cmocka_unit_test(test_run_when_all_values_are_refused_then_what_needs_them_is_skipped),
        cmocka_unit_test(test_run_when_a_stored_no_is_lost_then_it_fails_though_all_is_refused),
        cmocka_unit_test(test_undo_when_it_undoes_nothing_then_what_there_is_once_tells),
        cmocka_unit_test(test_undo_when_it_undoes_nothing_then_a_balance_tells),
        cmocka_unit_test(test_undo_when_nobody_can_tell_then_it_is_not_judged),
        cmocka_unit_test(test_refusal_when_it_has_an_effect_then_the_probe_tells),
        cmocka_unit_test(test_flight_when_there_is_room_for_few_then_it_is_judged_by_those),
        cmocka_unit_test(test_run_when_it_cannot_be_restarted_then_those_cases_are_skipped),
        cmocka_unit_test(test_report_when_a_rule_is_judged_in_part_then_text_json_and_junit_agree),
        cmocka_unit_test(test_restart_when_nothing_was_restarted_then_it_is_not_certified),
        cmocka_unit_test(test_probe_when_it_does_not_see_the_call_then_nothing_is_judged_by_it),
        cmocka_unit_test(
            test_template_when_given_back_then_it_judges_what_is_judged_without_values),
        cmocka_unit_test(test_run_when_repeated_with_another_nonce_then_no_key_is_met_again),
        cmocka_unit_test(test_run_when_the_probe_has_effects_then_it_is_refused),
        cmocka_unit_test(test_junit_when_texts_have_markup_then_they_are_escaped),
        cmocka_unit_test(test_json_when_a_case_failed_then_it_says_so_and_why),
        cmocka_unit_test(test_cases_when_compared_with_the_document_then_each_is_told_there),
        cmocka_unit_test(test_cases_when_walked_then_no_id_is_there_twice),
        cmocka_unit_test(test_text_when_a_case_failed_then_rule_and_hint_are_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
