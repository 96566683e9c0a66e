/* The workload: what it makes is valid, the same each time, and not always the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/status.h"
#include "generated/descriptor_set.h"
#include "orchestrator/codec/codec.h"
#include "verify/sim/workload.h"

enum { SETS = 400, INPUTS = 200 };

static struct saga_schema *load(struct saga_bytes set)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {{0}};
    enum saga_err err = saga_schema_load(set, &schema, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    return schema;
}

static struct saga_schema *load_random(uint64_t seed, const struct saga_workload_shape *shape)
{
    struct saga_buf set = {0};
    assert_int_equal(saga_workload_definitions(seed, shape, &set), SAGA_ERR_OK);
    struct saga_schema *schema = load(saga_buf_view(&set));
    saga_buf_fini(&set);
    return schema;
}

static struct saga_schema *load_orders(void)
{
    return load((struct saga_bytes){.data = saga_descriptor_set, .size = saga_descriptor_set_size});
}

/* What the random sagas of many seeds come to. */
struct seen {
    size_t steps, pivots, none, conditions, readers, starters, children, kafka, branches, silent;
};

static void look_at(const struct saga_decl *decl, struct seen *seen)
{
    bool pivot = false;
    struct saga_version version;
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_version_compile(decl, &version, &detail), SAGA_ERR_OK);
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        seen->steps++;
        seen->conditions += step->when.there ? 1 : 0;
        seen->readers += step->read_only ? 1 : 0;
        seen->starters += step->call == NULL && step->child == NULL ? 1 : 0;
        seen->children += step->child != NULL ? 1 : 0;
        seen->kafka += step->call != NULL && step->call_via == SAGA_VIA_KAFKA ? 1 : 0;
        seen->branches += (step->after_mask & (step->after_mask - 1)) != 0 ? 1 : 0;
        seen->silent += step->call != NULL && step->call->no_side_effects ? 1 : 0;
        pivot = pivot || step->pivot;
    }
    seen->pivots += pivot ? 1 : 0;
    seen->none += pivot ? 0 : 1;
}

static void test_definitions_when_many_seeds_then_all_pass_the_static_checks(void **state)
{
    (void)state;
    struct seen seen = {0};
    for (uint64_t seed = 0; seed < SETS; seed++) {
        struct saga_workload_shape shape = {.definition_count = seed % 4};
        struct saga_schema *schema = load_random(seed, &shape);
        if (saga_schema_finding_count(schema) != 0) {
            const struct saga_finding *finding = saga_schema_finding_at(schema, 0);
            fail_msg("seed %llu: %s %s: %s", (unsigned long long)seed, finding->code,
                     finding->where, finding->message);
        }
        size_t wanted = seed % 4 == 0 ? SAGA_WORKLOAD_DEFINITIONS_MAX : seed % 4;
        assert_int_equal(saga_schema_decl_count(schema), wanted);
        assert_non_null(saga_schema_decl(schema, "sim-0"));
        for (size_t i = 0; i < wanted; i++) {
            look_at(saga_schema_decl_at(schema, i), &seen);
        }
        saga_schema_free(schema);
    }
    assert_true(seen.steps > 5 * SETS);
    assert_true(seen.pivots > SETS / 4 && seen.none > SETS / 4);
    assert_true(seen.conditions > SETS / 2 && seen.readers > SETS / 4);
    assert_true(seen.starters > SETS / 8 && seen.children > SETS / 8);
    assert_true(seen.kafka > SETS && seen.branches > SETS && seen.silent > SETS / 8);
}

static void test_definitions_when_repeated_then_the_same_bytes(void **state)
{
    (void)state;
    struct saga_workload_shape shape = {0};
    struct saga_buf a = {0};
    struct saga_buf b = {0};
    assert_int_equal(saga_workload_definitions(5, &shape, &a), SAGA_ERR_OK);
    assert_int_equal(saga_workload_definitions(5, &shape, &b), SAGA_ERR_OK);
    assert_true(saga_bytes_equal(saga_buf_view(&a), saga_buf_view(&b)));
    saga_buf_clear(&b);
    assert_int_equal(saga_workload_definitions(6, &shape, &b), SAGA_ERR_OK);
    assert_false(saga_bytes_equal(saga_buf_view(&a), saga_buf_view(&b)));
    saga_buf_fini(&a);
    saga_buf_fini(&b);
}

static void check_message(const struct saga_message_type *type, const struct saga_buf *buf)
{
    struct saga_err_detail detail = {{0}};
    assert_true(buf->size < 4 * SAGA_WORKLOAD_MESSAGE_SIZE_MAX);
    if (saga_message_check(type, saga_buf_view(buf), &detail) != SAGA_ERR_OK) {
        fail_msg("%s: %s", type->name, detail.text);
    }
}

static void check_inputs(const struct saga_decl *decl)
{
    size_t holds[SAGA_STEPS_MAX] = {0};
    struct saga_buf buf = {0};
    for (uint64_t seed = 0; seed < INPUTS; seed++) {
        saga_buf_clear(&buf);
        assert_int_equal(saga_workload_input(decl, seed, &buf), SAGA_ERR_OK);
        check_message(decl->context, &buf);
        for (size_t i = 0; i < decl->step_count; i++) {
            holds[i] += saga_when_holds(&decl->steps[i].when, saga_buf_view(&buf)) ? 1 : 0;
        }
    }
    for (size_t i = 0; i < decl->step_count; i++) {
        if (decl->steps[i].when.there) {
            /* Conditions that share a field stand in each other's way. */
            assert_in_range(holds[i], INPUTS / 50, INPUTS * 49 / 50);
        }
    }
    saga_buf_fini(&buf);
}

static void check_responses(const struct saga_decl *decl)
{
    struct saga_buf a = {0};
    struct saga_buf b = {0};
    for (uint8_t i = 0; i < decl->step_count; i++) {
        for (enum saga_op op = SAGA_OP_CALL; op <= SAGA_OP_UNDO; op++) {
            const struct saga_step_decl *step = &decl->steps[i];
            const struct saga_method *method = op == SAGA_OP_CALL ? step->call : step->undo;
            struct saga_workload_key key = {
                .decl = decl, .step = i, .op = op, .saga_id = {{1, 2, 3}}, .attempt = 1};
            if (method == NULL) {
                continue;
            }
            saga_buf_clear(&a);
            saga_buf_clear(&b);
            assert_int_equal(saga_workload_response(&key, 11, &a), SAGA_ERR_OK);
            check_message(method->response, &a);
            key.attempt = 2; /* one effect, one answer */
            assert_int_equal(saga_workload_response(&key, 11, &b), SAGA_ERR_OK);
            assert_true(saga_bytes_equal(saga_buf_view(&a), saga_buf_view(&b)));
        }
    }
    saga_buf_fini(&a);
    saga_buf_fini(&b);
}

static void test_messages_when_made_then_valid_and_conditions_hold_both_ways(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct saga_workload_shape shape = {0};
        struct saga_schema *schema = load_random(seed, &shape);
        for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
            check_inputs(saga_schema_decl_at(schema, i));
            check_responses(saga_schema_decl_at(schema, i));
        }
        saga_schema_free(schema);
    }
}

static void test_messages_when_of_every_type_of_the_product_then_valid(void **state)
{
    (void)state;
    struct saga_schema *schema = load_orders();
    struct saga_buf buf = {0};
    for (size_t i = 0; i < saga_schema_message_count(schema); i++) {
        const struct saga_message_type *type = saga_schema_message_at(schema, i);
        for (uint64_t seed = 0; seed < 20; seed++) {
            saga_buf_clear(&buf);
            assert_int_equal(saga_workload_message(type, seed, &buf), SAGA_ERR_OK);
            check_message(type, &buf);
        }
    }
    saga_buf_fini(&buf);
    saga_schema_free(schema);
}

static struct saga_swarm worst_answers(void)
{
    return (struct saga_swarm){
        .reject_ppm = 300000,
        .retry_ppm = 300000,
        .unknown_ppm = 300000,
        .unknown_done_ppm = 300000,
        .park_ppm = 50000,
        .bad_reply_ppm = 100000,
        .slow_ppm = 300000,
        .slow_ms_max = 1000,
        .failures_max = 4,
    };
}

static void test_behave_when_a_step_must_succeed_then_it_does_after_a_few_attempts(void **state)
{
    (void)state;
    struct saga_schema *schema = load_orders();
    const struct saga_decl *decl = saga_schema_decl(schema, "create-order");
    assert_non_null(decl);
    struct saga_swarm swarm = worst_answers();
    size_t last = decl->step_count - 1; /* confirm: behind the pivot */
    assert_string_equal(decl->steps[last].name, "confirm");
    for (uint64_t seed = 0; seed < 2000; seed++) {
        for (uint32_t attempt = 1; attempt < 9; attempt++) {
            struct saga_workload_key key = {
                .decl = decl, .step = (uint8_t)last, .op = SAGA_OP_CALL, .attempt = attempt};
            struct saga_behaviour behaviour;
            saga_workload_behave(&key, &swarm, seed, &behaviour);
            assert_true(saga_code_class(behaviour.code) != SAGA_CODE_CLASS_REJECT);
            assert_false(behaviour.bad_reply);
            assert_int_equal(behaviour.effect, behaviour.code == SAGA_CODE_OK);
            assert_true(attempt <= 4 || behaviour.wire_code == SAGA_CODE_OK);
            key.step = 2; /* stock */
            key.op = SAGA_OP_UNDO;
            saga_workload_behave(&key, &swarm, seed, &behaviour);
            assert_true(attempt <= 4 || behaviour.wire_code == SAGA_CODE_OK);
        }
    }
    saga_schema_free(schema);
}

static void test_behave_when_many_calls_then_every_class_comes(void **state)
{
    (void)state;
    struct saga_schema *schema = load_orders();
    const struct saga_decl *decl = saga_schema_decl(schema, "create-order");
    struct saga_swarm swarm = worst_answers();
    size_t classes[SAGA_CODE_CLASS_PARK + 1] = {0};
    size_t hidden = 0;
    size_t bad = 0;
    size_t slow = 0;
    for (uint64_t seed = 0; seed < 5000; seed++) {
        struct saga_workload_key key = {.decl = decl, .step = 2, .op = SAGA_OP_CALL, .attempt = 1};
        struct saga_behaviour behaviour;
        struct saga_behaviour again;
        saga_workload_behave(&key, &swarm, seed, &behaviour);
        saga_workload_behave(&key, &swarm, seed, &again);
        assert_int_equal(behaviour.code, again.code);
        assert_int_equal(behaviour.wire_code, again.wire_code);
        classes[saga_code_class(behaviour.code)]++;
        hidden += behaviour.effect && behaviour.wire_code != SAGA_CODE_OK ? 1 : 0;
        bad += behaviour.bad_reply ? 1 : 0;
        slow += behaviour.slow_ms > 0 ? 1 : 0;
    }
    for (size_t i = 0; i <= SAGA_CODE_CLASS_PARK; i++) {
        assert_true(classes[i] > 50);
    }
    assert_true(hidden > 50 && bad > 50 && slow > 500);
    saga_schema_free(schema);
}

static void test_behave_when_healed_then_ok(void **state)
{
    (void)state;
    struct saga_schema *schema = load_orders();
    const struct saga_decl *decl = saga_schema_decl(schema, "create-order");
    struct saga_swarm swarm = worst_answers();
    saga_swarm_heal(&swarm);
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct saga_workload_key key = {.decl = decl, .step = 2, .op = SAGA_OP_CALL, .attempt = 1};
        struct saga_behaviour behaviour;
        saga_workload_behave(&key, &swarm, seed, &behaviour);
        assert_true(behaviour.effect);
        assert_int_equal(behaviour.wire_code, SAGA_CODE_OK);
        assert_int_equal(behaviour.slow_ms, 0);
        assert_false(behaviour.bad_reply);
    }
    saga_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions_when_many_seeds_then_all_pass_the_static_checks),
        cmocka_unit_test(test_definitions_when_repeated_then_the_same_bytes),
        cmocka_unit_test(test_messages_when_made_then_valid_and_conditions_hold_both_ways),
        cmocka_unit_test(test_messages_when_of_every_type_of_the_product_then_valid),
        cmocka_unit_test(test_behave_when_a_step_must_succeed_then_it_does_after_a_few_attempts),
        cmocka_unit_test(test_behave_when_many_calls_then_every_class_comes),
        cmocka_unit_test(test_behave_when_healed_then_ok),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
