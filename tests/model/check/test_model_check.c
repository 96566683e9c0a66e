/* The sagas that ship, proved: every way in which create-order and create-order-async can go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/schema.h"
#include "descriptor_set.h"
#include "orchestrator/codec/codec.h"
#include "verify/check/check.h"

enum { THREADS = 2, MEMORY = 512 * 1024 * 1024, ORDER_STEPS = 7 };

struct shipped {
    struct saga_schema *schema;
    struct saga_definition def;
    const char *names[SAGA_STEPS_MAX];
    struct saga_check_config config;
};

static void open_saga(struct shipped *shipped, const char *name)
{
    struct saga_err_detail detail = {{0}};
    memset(shipped, 0, sizeof *shipped);
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    assert_int_equal(saga_schema_load(set, &shipped->schema, &detail), SAGA_ERR_OK);
    const struct saga_decl *decl = saga_schema_decl(shipped->schema, name);
    assert_non_null(decl);
    assert_int_equal(saga_definition_compile(decl, &shipped->def, &detail), SAGA_ERR_OK);
    for (size_t i = 0; i < decl->step_count; i++) {
        shipped->names[i] = decl->steps[i].name;
    }
    shipped->config = (struct saga_check_config){
        .def = &shipped->def,
        .step_names = shipped->names,
        .attempts = SAGA_MODEL_ATTEMPTS,
        .threads = THREADS,
        .memory_max = MEMORY,
    };
}

static bool has_outcome(const struct shipped *shipped, const struct saga_check_result *result,
                        const char *line)
{
    bool found = false;
    for (size_t i = 0; i < result->outcome_count && !found; i++) {
        struct saga_buf text = {0};
        assert_int_equal(saga_check_outcome_text(&shipped->config, &result->outcomes[i], &text),
                         SAGA_ERR_OK);
        found = saga_bytes_equal(saga_buf_view(&text), saga_bytes_text(line));
        saga_buf_fini(&text);
    }
    return found;
}

static void prove(const char *name, unsigned without)
{
    struct shipped shipped;
    struct saga_check_result result;
    open_saga(&shipped, name);
    shipped.config.without = without;
    assert_int_equal(saga_check_run(&shipped.config, &result), SAGA_ERR_OK);
    if (result.verdict != SAGA_CHECK_PROVED) {
        print_error("%s: verdict %d, %s\n%.*s\n", name, (int)result.verdict, result.wrong,
                    (int)result.transcript.size,
                    result.transcript.size > 0 ? (const char *)result.transcript.data : "");
    }
    assert_int_equal(result.verdict, SAGA_CHECK_PROVED);
    print_message("%s: %llu states, %llu transitions, %zu outcomes\n", name,
                  (unsigned long long)result.states, (unsigned long long)result.transitions,
                  result.outcome_count);
    assert_true(has_outcome(&shipped, &result,
                            "COMPLETED order=done customer=none stock=done ticket=done "
                            "payment=done accept=done confirm=done"));
    assert_true(has_outcome(&shipped, &result,
                            "COMPENSATED order=undone customer=none stock=undone ticket=undone "
                            "payment=undone accept=none confirm=none"));
    if ((without & SAGA_CHECK_OPERATOR) != 0) {
        /* All or nothing: one way to complete, and as many to compensate as the chain has links. */
        size_t completed = 0;
        for (size_t i = 0; i < result.outcome_count; i++) {
            completed += result.outcomes[i].state == SAGA_STATE_COMPLETED ? 1 : 0;
        }
        assert_int_equal(completed, 1);
    }
    saga_check_result_fini(&result);
    saga_schema_free(shipped.schema);
}

static void test_model_create_order_when_all_ways_are_gone_then_the_rules_hold(void **state)
{
    (void)state;
    prove("create-order", 0);
}

static void test_model_create_order_when_no_operator_helps_then_it_is_all_or_nothing(void **state)
{
    (void)state;
    prove("create-order", SAGA_CHECK_OPERATOR);
}

static void test_model_create_order_async_when_all_ways_are_gone_then_the_rules_hold(void **state)
{
    (void)state;
    prove("create-order-async", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_create_order_when_all_ways_are_gone_then_the_rules_hold),
        cmocka_unit_test(test_model_create_order_when_no_operator_helps_then_it_is_all_or_nothing),
        cmocka_unit_test(test_model_create_order_async_when_all_ways_are_gone_then_the_rules_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
