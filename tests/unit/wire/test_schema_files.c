/* Sets whose files do not belong together, and sets that are too much to hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire/schema_set.h"

/* An enum counts with each field that has it, and so do the types of a saga with each saga. */
static void test_load_when_there_is_too_much_to_hash_then_limit(void **state)
{
    (void)state;
    enum { VALUES = 60000, FIELDS = 400, NAME_SIZE = 16 };
    file_set *set = open_set();
    Google__Protobuf__EnumDescriptorProto *states =
        find_file(set, "order/v1/order.proto")->enum_type[0];
    message_proto *item = find_message(set, "order/v1/order.proto", "OrderItem");
    Google__Protobuf__EnumValueDescriptorProto **old_values = states->value;
    field_proto **old_fields = item->field;
    size_t old_count = item->n_field;
    size_t old_value_count = states->n_value;
    states->value = calloc(VALUES, sizeof(void *));
    item->field = calloc(FIELDS, sizeof(void *));
    field_proto *space = calloc(FIELDS, sizeof *space);
    char(*names)[NAME_SIZE] = calloc(FIELDS, sizeof *names);
    char type_name[64];
    assert_true(states->value != NULL && item->field != NULL && space != NULL && names != NULL);
    (void)snprintf(type_name, sizeof type_name, ".order.v1.%s", states->name);
    for (size_t i = 0; i < VALUES; i++) {
        states->value[i] = old_values[0];
    }
    for (size_t i = 0; i < FIELDS; i++) {
        space[i] = *old_fields[0];
        (void)snprintf(names[i], NAME_SIZE, "f%zu", i);
        space[i].name = names[i];
        space[i].json_name = names[i];
        space[i].number = (int32_t)i + 1;
        space[i].type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_ENUM;
        space[i].type_name = type_name;
        item->field[i] = &space[i];
    }
    states->n_value = VALUES;
    item->n_field = FIELDS;
    expect_refused(set, SAGA_ERR_LIMIT, "SAGA_FORMS_SIZE_MAX");
    free(states->value);
    free(item->field);
    free(space);
    free(names);
    states->value = old_values;
    states->n_value = old_value_count;
    item->field = old_fields;
    item->n_field = old_count;
    close_set(set);
}

static void test_load_when_imports_go_in_a_circle_then_refused(void **state)
{
    (void)state;
    file_set *set = open_set();
    file_proto *file = find_file(set, "order/v1/order.proto");
    set_text(&file->dependency[0], "order/v1/order.proto");
    expect_refused(set, SAGA_ERR_INVALID, "order/v1/order.proto imports order/v1/order.proto");
    set_text(&file->dependency[0], "order/v1/create_order.proto"); /* which imports it */
    expect_refused(set, SAGA_ERR_INVALID, "move what both need to a third file");
    close_set(set);
}

static void test_load_when_an_import_is_missing_then_refused_and_named(void **state)
{
    (void)state;
    file_set *set = open_set();
    set_text(&find_file(set, "order/v1/order.proto")->dependency[0], "none.proto");
    expect_refused(set, SAGA_ERR_INVALID,
                   "order/v1/order.proto imports none.proto, which is not in the set: make it with "
                   "protoc --include_imports");
    close_set(set);
}

static void test_load_when_a_file_is_there_twice_or_has_no_name_then_refused(void **state)
{
    (void)state;
    file_set *set = open_set();
    set_text(&set->file[0]->name, set->file[1]->name);
    expect_refused(set, SAGA_ERR_INVALID, "is there twice");
    set_text(&set->file[0]->name, "");
    expect_refused(set, SAGA_ERR_INVALID, "a file without a name");
    close_set(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_when_there_is_too_much_to_hash_then_limit),
        cmocka_unit_test(test_load_when_imports_go_in_a_circle_then_refused),
        cmocka_unit_test(test_load_when_an_import_is_missing_then_refused_and_named),
        cmocka_unit_test(test_load_when_a_file_is_there_twice_or_has_no_name_then_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
