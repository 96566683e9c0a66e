/* Sagas in sagas, as they are compiled: tests/support/nested/v1/nested.proto. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/envelope.h"
#include "common/wire/schema.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__FileDescriptorSet file_set;
typedef Google__Protobuf__FileDescriptorProto file_proto;

static struct saga_buf read_set(void)
{
    struct saga_buf bytes = {0};
    uint8_t piece[4096];
    FILE *file = fopen(SAGA_NESTED_SET, "rb");
    assert_non_null(file);
    for (size_t size = 1; size > 0;) {
        size = fread(piece, 1, sizeof piece, file);
        assert_int_equal(saga_buf_append(&bytes, (struct saga_bytes){piece, size}), SAGA_ERR_OK);
    }
    assert_int_equal(fclose(file), 0);
    return bytes;
}

static struct saga_schema *load(struct saga_bytes set)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {""};
    assert_int_equal(saga_schema_load(set, &schema, &detail), SAGA_ERR_OK);
    return schema;
}

static struct saga_schema *load_nested(void)
{
    struct saga_buf set = read_set();
    struct saga_schema *schema = load(saga_buf_view(&set));
    saga_buf_fini(&set);
    assert_int_equal(saga_schema_finding_count(schema), 0);
    return schema;
}

static void test_child_when_declared_then_points_to_its_declaration(void **state)
{
    (void)state;
    struct saga_schema *schema = load_nested();
    const struct saga_decl *order = saga_schema_decl(schema, "order-nested");
    const struct saga_decl *prepare = saga_schema_decl(schema, "prepare");
    assert_ptr_equal(order->steps[1].child, prepare);
    assert_ptr_equal(order->steps[2].child, saga_schema_decl(schema, "settle"));
    assert_ptr_equal(prepare->steps[1].child, saga_schema_decl(schema, "hold-goods"));
    assert_null(order->steps[0].child);
    assert_null(order->steps[3].child);
    assert_int_equal(order->steps[1].call_via, SAGA_VIA_CHILD);
    assert_int_equal(order->steps[1].undo_via, SAGA_VIA_CHILD);
    assert_null(order->steps[1].call);
    assert_null(order->steps[1].undo);
    saga_schema_free(schema);
}

static bool moves(const struct saga_bind_table *table, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->fields[i].from == from && table->fields[i].to == to) {
            return true;
        }
    }
    return false;
}

/* In go the input fields, out come those that the child's steps write. */
static void test_child_when_bound_then_inputs_go_in_and_outputs_come_out(void **state)
{
    (void)state;
    struct saga_schema *schema = load_nested();
    const struct saga_step_decl *prepare = &saga_schema_decl(schema, "order-nested")->steps[1];
    assert_int_equal(prepare->call_bind.count, 3);
    assert_true(moves(&prepare->call_bind, 1, 1)); /* order_id, renamed */
    assert_true(moves(&prepare->call_bind, 2, 2)); /* customer_id */
    assert_true(moves(&prepare->call_bind, 3, 3)); /* items */
    assert_int_equal(prepare->result_bind.count, 2);
    assert_true(moves(&prepare->result_bind, 4, 4)); /* price_cents -> total_cents */
    assert_true(moves(&prepare->result_bind, 5, 5)); /* ticket_id */
    const struct saga_step_decl *settle = &saga_schema_decl(schema, "order-nested")->steps[2];
    assert_int_equal(settle->call_bind.count, 4); /* all but payment_id */
    assert_true(moves(&settle->call_bind, 5, 4)); /* ticket_id */
    assert_int_equal(settle->result_bind.count, 1);
    assert_true(moves(&settle->result_bind, 5, 6)); /* payment_id */
    saga_schema_free(schema);
}

static void hash_of(const struct saga_schema *schema, const char *name, uint8_t *hash)
{
    memcpy(hash, saga_schema_decl(schema, name)->hash, SAGA_HASH_SIZE);
}

/* A version pins those of its children: what changes in the innermost changes all around it. */
static void test_hash_when_a_child_changes_then_those_around_it_change(void **state)
{
    (void)state;
    static const char *const names[] = {"hold-goods", "prepare", "order-nested", "hold-twice",
                                        "settle"};
    struct saga_buf bytes = read_set();
    file_set *set = google__protobuf__file_descriptor_set__unpack(NULL, bytes.size, bytes.data);
    assert_non_null(set);
    file_proto *product = NULL;
    for (size_t i = 0; i < set->n_file; i++) {
        product =
            strcmp(set->file[i]->name, "product/v1/product.proto") == 0 ? set->file[i] : product;
    }
    assert_non_null(product);
    struct saga_schema *before = load(saga_buf_view(&bytes));
    for (size_t i = 0; i < product->n_message_type; i++) {
        if (strcmp(product->message_type[i]->name, "ReleaseStockRequest") == 0) {
            product->message_type[i]->field[0]->number = 7; /* of an undo of hold-goods */
        }
    }
    saga_buf_clear(&bytes);
    assert_int_equal(saga_message_encode(&set->base, &bytes), SAGA_ERR_OK);
    struct saga_schema *after = load(saga_buf_view(&bytes));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint8_t old[SAGA_HASH_SIZE];
        uint8_t new[SAGA_HASH_SIZE];
        hash_of(before, names[i], old);
        hash_of(after, names[i], new);
        bool same = memcmp(old, new, sizeof old) == 0;
        assert_int_equal(same, strcmp(names[i], "settle") == 0);
    }
    saga_schema_free(before);
    saga_schema_free(after);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    saga_buf_fini(&bytes);
}

/* A saga that runs a refused one is refused itself; those beside it stand. */
static void test_load_when_a_child_is_refused_then_so_are_those_around_it(void **state)
{
    (void)state;
    struct saga_buf bytes = read_set();
    file_set *set = google__protobuf__file_descriptor_set__unpack(NULL, bytes.size, bytes.data);
    assert_non_null(set);
    for (size_t i = 0; i < set->n_file; i++) {
        if (strcmp(set->file[i]->name, "kitchen/v1/kitchen.proto") == 0) {
            google__protobuf__service_descriptor_proto__free_unpacked(
                set->file[i]->service[--set->file[i]->n_service], NULL);
        }
    }
    saga_buf_clear(&bytes);
    assert_int_equal(saga_message_encode(&set->base, &bytes), SAGA_ERR_OK);
    struct saga_schema *schema = load(saga_buf_view(&bytes));
    assert_int_equal(saga_schema_decl_count(schema), 1); /* all others need the kitchen */
    assert_non_null(saga_schema_decl(schema, "two-texts"));
    size_t refused = 0;
    int line = 0;
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        refused += strcmp(finding->code, "SAGA038") == 0 ? 1 : 0;
        assert_true(finding->line >= line); /* by lines, though children are checked first */
        line = finding->line;
    }
    /* prepare; order-nested: prepare, settle; hold-twice: both; swollen: goods */
    assert_int_equal(refused, 6);
    saga_schema_free(schema);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    saga_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_when_declared_then_points_to_its_declaration),
        cmocka_unit_test(test_child_when_bound_then_inputs_go_in_and_outputs_come_out),
        cmocka_unit_test(test_hash_when_a_child_changes_then_those_around_it_change),
        cmocka_unit_test(test_load_when_a_child_is_refused_then_so_are_those_around_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
