/* The schema that is built into every daemon: it loads, its sagas pass, its methods are whole,
 * everything has a comment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/schema.h"
#include "descriptor_set.h"

static struct saga_schema *schema;

static int open_schema(void **state)
{
    (void)state;
    struct saga_err_detail detail = {""};
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    return saga_schema_load(set, &schema, &detail) == SAGA_ERR_OK ? 0 : -1;
}

static int close_schema(void **state)
{
    (void)state;
    saga_schema_free(schema);
    return 0;
}

static void test_schema_committed_has_no_findings(void **state)
{
    (void)state;
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        print_error("%s:%d:%d: %s %s: %s\n", finding->file, finding->line, finding->column,
                    finding->code, finding->where, finding->message);
    }
    assert_int_equal(saga_schema_finding_count(schema), 0);
}

static void test_schema_committed_declares_the_sagas_of_an_order(void **state)
{
    (void)state;
    assert_int_equal(saga_schema_decl_count(schema), 2);
    static const char *const sagas[] = {"create-order", "create-order-async"};
    for (size_t i = 0; i < 2; i++) {
        const struct saga_decl *decl = saga_schema_decl(schema, sagas[i]);
        assert_non_null(decl);
        assert_int_equal(decl->step_count, 7);
        assert_string_equal(decl->steps[5].name, "accept");
        assert_true(decl->steps[5].pivot);
        assert_int_equal(decl->steps[1].call_via, i == 0 ? SAGA_VIA_NNG : SAGA_VIA_KAFKA);
        assert_int_equal(decl->steps[2].undo_via, SAGA_VIA_KAFKA);
        assert_int_equal(decl->steps[3].after_mask, 6); /* customer, stock */
        assert_int_equal(decl->steps[4].call_bind.count, 3);
        assert_int_equal(decl->steps[4].result_bind.fields[0].to, 6); /* payment_id */
        assert_int_equal(decl->steps[2].call_attempts_max, SAGA_RETRY_ATTEMPTS_DEFAULT);
        assert_int_equal(decl->steps[2].undo_deadline_ms, SAGA_UNDO_DEADLINE_MS_DEFAULT);
        assert_string_equal(decl->steps[2].call_service->name, "product.v1.ProductService");
    }
    assert_memory_not_equal(saga_schema_decl(schema, sagas[0])->hash,
                            saga_schema_decl(schema, sagas[1])->hash, SAGA_HASH_SIZE);
}

static bool google(const char *name)
{
    return strncmp(name, "google.", 7) == 0;
}

/* Stores hold these: a definition that did not change must have its hash of before. What changes it
 * on purpose (a field of a request, a step) changes it here too. */
static void test_schema_committed_hashes_are_those_that_stores_hold(void **state)
{
    (void)state;
    static const struct {
        const char *saga;
        const char *hash;
    } rows[] = {
        {"create-order", "7ed108f2ffbc03b54a4379726b66c189e8a8e644e027de84a911f300549c5fba"},
        {"create-order-async", "01fe598b35e924c83a0c76c8e6237dda4fbb5654565b34623261a5180b2d34cb"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct saga_decl *decl = saga_schema_decl(schema, rows[i].saga);
        char text[2 * SAGA_HASH_SIZE + 1];
        assert_non_null(decl);
        for (size_t k = 0; k < SAGA_HASH_SIZE; k++) {
            (void)snprintf(text + 2 * k, 3, "%02x", decl->hash[k]);
        }
        assert_string_equal(text, rows[i].hash);
    }
}

static void test_schema_committed_every_method_has_request_and_response(void **state)
{
    (void)state;
    size_t methods = 0;
    for (size_t i = 0; i < saga_schema_service_count(schema); i++) {
        const struct saga_service *service = saga_schema_service_at(schema, i);
        assert_ptr_equal(saga_schema_service(schema, service->name), service);
        assert_true(service->method_count > 0);
        for (size_t m = 0; m < service->method_count; m++) {
            const struct saga_method *method = &service->methods[m];
            methods++;
            assert_ptr_equal(saga_schema_method(schema, method->full_name), method);
            assert_ptr_equal(saga_schema_message(schema, method->request->name), method->request);
            assert_ptr_equal(saga_schema_message(schema, method->response->name), method->response);
            assert_false(method->streaming);
        }
    }
    assert_true(methods >= 18);
}

static void expect_comment(const char *comment, const char *what)
{
    if (comment[0] == '\0') {
        fail_msg("%s has no comment", what);
    }
}

static void test_schema_committed_types_and_methods_have_comments(void **state)
{
    (void)state;
    size_t fields = 0;
    for (size_t i = 0; i < saga_schema_message_count(schema); i++) {
        const struct saga_message_type *type = saga_schema_message_at(schema, i);
        if (google(type->name)) {
            continue;
        }
        expect_comment(type->comment, type->name);
        for (size_t f = 0; f < type->field_count; f++) {
            expect_comment(type->fields[f].comment, type->fields[f].name);
            fields++;
        }
    }
    assert_true(fields > 100);
    for (size_t i = 0; i < saga_schema_service_count(schema); i++) {
        const struct saga_service *service = saga_schema_service_at(schema, i);
        expect_comment(service->comment, service->name);
        for (size_t m = 0; m < service->method_count; m++) {
            expect_comment(service->methods[m].comment, service->methods[m].full_name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_committed_has_no_findings),
        cmocka_unit_test(test_schema_committed_declares_the_sagas_of_an_order),
        cmocka_unit_test(test_schema_committed_hashes_are_those_that_stores_hold),
        cmocka_unit_test(test_schema_committed_every_method_has_request_and_response),
        cmocka_unit_test(test_schema_committed_types_and_methods_have_comments),
    };
    return cmocka_run_group_tests_name("committed schema", tests, open_schema, close_schema);
}
