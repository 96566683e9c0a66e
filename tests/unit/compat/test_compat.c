/* The comparison by itself: types, ranges of what is kept, sets that are none, and which sagas in
 * flight a finding hits. Code by code it is tested in tests/contract/baseline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "descriptor_set.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "verify/compat/compat.h"

typedef Google__Protobuf__FileDescriptorSet raw_set;
typedef Google__Protobuf__FileDescriptorProto raw_file;
typedef Google__Protobuf__DescriptorProto raw_message;
typedef Google__Protobuf__FieldDescriptorProto raw_field;

enum { NAME_SIZE = 16, FIELD_TYPES = 18 };

static struct saga_bytes own_set(void)
{
    return (struct saga_bytes){saga_descriptor_set, saga_descriptor_set_size};
}

/* ---- Sets made here ---- */

/* Packs a set of one file with `messages` messages of `fields` int64 fields each. */
static struct saga_bytes make_set(size_t messages, size_t fields)
{
    raw_set set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
    raw_file file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    raw_file *files[] = {&file};
    char(*names)[NAME_SIZE] = calloc(fields + messages + 1, NAME_SIZE);
    raw_field *field_space = calloc(fields + 1, sizeof *field_space);
    raw_field **field_list = calloc(fields + 1, sizeof *field_list);
    raw_message *message_space = calloc(messages, sizeof *message_space);
    raw_message **message_list = calloc(messages, sizeof *message_list);
    assert_true(names != NULL && field_space != NULL && field_list != NULL &&
                message_space != NULL && message_list != NULL);
    for (size_t i = 0; i < fields; i++) {
        raw_field *field = &field_space[i];
        google__protobuf__field_descriptor_proto__init(field);
        (void)snprintf(names[i], NAME_SIZE, "f%zu", i);
        field->name = names[i];
        field->has_number = 1;
        field->number = (int32_t)i + 1;
        field->has_type = 1;
        field->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT64;
        field_list[i] = field;
    }
    for (size_t i = 0; i < messages; i++) {
        google__protobuf__descriptor_proto__init(&message_space[i]);
        (void)snprintf(names[fields + i], NAME_SIZE, "M%zu", i);
        message_space[i].name = names[fields + i];
        message_space[i].field = field_list;
        message_space[i].n_field = fields;
        message_list[i] = &message_space[i];
    }
    char name[] = "made.proto";
    char syntax[] = "proto3";
    file.name = name;
    file.syntax = syntax;
    file.message_type = message_list;
    file.n_message_type = messages;
    set.file = files;
    set.n_file = 1;
    size_t size = google__protobuf__file_descriptor_set__get_packed_size(&set);
    uint8_t *data = malloc(size);
    assert_non_null(data);
    assert_int_equal(google__protobuf__file_descriptor_set__pack(&set, data), size);
    free(message_list);
    free(message_space);
    free(field_list);
    free(field_space);
    free(names);
    return (struct saga_bytes){data, size};
}

static void free_set(struct saga_bytes set)
{
    free((void *)(uintptr_t)set.data);
}

static struct saga_compat *compare(struct saga_bytes old_set, struct saga_bytes new_set,
                                   const struct saga_compat_config *config)
{
    static const struct saga_compat_config all;
    struct saga_compat *report = NULL;
    struct saga_err_detail detail = {{0}};
    enum saga_err err =
        saga_compat_compare(old_set, new_set, config == NULL ? &all : config, &report, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    return report;
}

/* ---- Comparing ---- */

static void test_compare_of_a_set_with_itself_finds_nothing(void **state)
{
    (void)state;
    struct saga_compat *report = compare(own_set(), own_set(), NULL);
    assert_int_equal(saga_compat_count(report), 0);
    assert_int_equal(saga_compat_dropped(report), 0);
    assert_non_null(saga_schema_decl(saga_compat_old_schema(report), "create-order"));
    assert_non_null(saga_schema_decl(saga_compat_new_schema(report), "create-order"));
    saga_compat_free(report);
    saga_compat_free(NULL);
}

static void test_compare_with_nothing_when_partial_leaves_everything_alone(void **state)
{
    (void)state;
    struct saga_bytes other = make_set(1, 1);
    struct saga_compat_config config = {.partial = true};
    struct saga_compat *report = compare(own_set(), other, &config);
    /* No file of the one is in the other. */
    assert_int_equal(saga_compat_count(report), 0);
    saga_compat_free(report);

    report = compare(own_set(), other, NULL);
    assert_true(saga_compat_count(report) > 50);
    saga_compat_free(report);
    free_set(other);
}

static void test_compare_of_one_saga_is_about_that_saga_alone(void **state)
{
    (void)state;
    struct saga_bytes other = make_set(1, 1);
    struct saga_compat_config config = {.saga = "create-order", .without_wire = true};
    struct saga_compat *report = compare(own_set(), other, &config);
    assert_true(saga_compat_count(report) > 0);
    for (size_t i = 0; i < saga_compat_count(report); i++) {
        const struct saga_compat_finding *finding = saga_compat_at(report, i);
        assert_string_equal(finding->saga, "create-order");
        assert_int_equal(saga_compat_code_info(finding->code)->kind, SAGA_COMPAT_KIND_SAGA);
        assert_true(finding->in_old);
        assert_true(finding->line > 0);
    }
    saga_compat_free(report);
    free_set(other);
}

static void test_compare_of_more_than_is_kept_counts_the_rest(void **state)
{
    (void)state;
    enum { MESSAGES = 3 };
    struct saga_bytes old_set = make_set(MESSAGES, SAGA_FIELDS_MAX);
    struct saga_bytes new_set = make_set(MESSAGES, 0);
    struct saga_compat *report = compare(old_set, new_set, NULL);
    /* Of each field the number and the name are free. */
    size_t all = 2 * MESSAGES * (size_t)SAGA_FIELDS_MAX;
    assert_int_equal(saga_compat_count(report), SAGA_COMPAT_FINDINGS_MAX);
    assert_int_equal(saga_compat_count(report) + saga_compat_dropped(report), all);
    saga_compat_free(report);
    free_set(old_set);
    free_set(new_set);
}

static void test_compare_of_what_is_no_set_says_which_one(void **state)
{
    (void)state;
    static const uint8_t garbage[] = {0xff, 0xff, 0xff};
    struct saga_bytes bad = {garbage, sizeof garbage};
    struct saga_compat_config config = {0};
    for (int side = 0; side < 2; side++) {
        struct saga_compat *report = NULL;
        struct saga_err_detail detail = {{0}};
        enum saga_err err = saga_compat_compare(
            side == 0 ? bad : own_set(), side == 0 ? own_set() : bad, &config, &report, &detail);
        assert_int_equal(err, SAGA_ERR_MALFORMED);
        assert_null(report);
        assert_int_equal(strncmp(detail.text, side == 0 ? "OLD: " : "NEW: ", 5), 0);
    }
}

/* Every prefix and every changed byte of a set is refused or compared, never more. */
static void test_compare_of_damaged_sets_ends_in_order(void **state)
{
    (void)state;
    struct saga_bytes good = make_set(2, 8);
    uint8_t *bytes = malloc(good.size);
    assert_non_null(bytes);
    struct saga_compat_config config = {0};
    for (size_t i = 0; i < good.size * 4; i++) {
        struct saga_compat *report = NULL;
        memcpy(bytes, good.data, good.size);
        bytes[i / 4] = (uint8_t)(bytes[i / 4] ^ (1U << (2 * (i % 4))));
        struct saga_bytes bad = {bytes, good.size};
        if (saga_compat_compare(good, bad, &config, &report, NULL) == SAGA_ERR_OK) {
            saga_compat_free(report);
        }
        if (saga_compat_compare(bad, good, &config, &report, NULL) == SAGA_ERR_OK) {
            saga_compat_free(report);
        }
    }
    free(bytes);
    free_set(good);
}

/* ---- Codes and types ---- */

static void test_code_find_of_every_code_gives_it_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAGA_COMPAT_CODE_COUNT; i++) {
        enum saga_compat_code code = SAGA_COMPAT_CODE_COUNT;
        const struct saga_compat_code_info *info = saga_compat_code_info((enum saga_compat_code)i);
        assert_true(saga_compat_code_find(info->name, &code));
        assert_int_equal(code, i);
        assert_true(strlen(info->summary) > 0);
        /* What hits no saga in flight may still be about sagas; what is on the wire never hits. */
        assert_true(info->kind == SAGA_COMPAT_KIND_SAGA || info->hit == SAGA_COMPAT_HIT_NONE);
    }
    enum saga_compat_code code = SAGA_COMPAT_CODE_COUNT;
    assert_false(saga_compat_code_find("field_renamed", &code));
    assert_false(saga_compat_code_find("", &code));
}

static void test_types_fit_of_every_pair_agrees_both_ways(void **state)
{
    (void)state;
    for (int a = 1; a <= FIELD_TYPES; a++) {
        for (int b = 1; b <= FIELD_TYPES; b++) {
            enum saga_field_type from = (enum saga_field_type)a;
            enum saga_field_type to = (enum saga_field_type)b;
            enum saga_compat_fit there = saga_compat_types_fit(from, to);
            enum saga_compat_fit back = saga_compat_types_fit(to, from);
            assert_int_equal(there == SAGA_COMPAT_FIT_BROKEN, back == SAGA_COMPAT_FIT_BROKEN);
            assert_int_equal(there == SAGA_COMPAT_FIT_SAME, back == SAGA_COMPAT_FIT_SAME);
            assert_true(there != SAGA_COMPAT_FIT_WIDENED || back == SAGA_COMPAT_FIT_NARROWED);
            assert_true(a != b || there == SAGA_COMPAT_FIT_SAME);
            assert_int_equal(saga_compat_types_fit_json(from, to),
                             saga_compat_types_fit_json(to, from));
        }
    }
    assert_int_equal(saga_compat_types_fit(SAGA_FIELD_MESSAGE, SAGA_FIELD_BYTES),
                     SAGA_COMPAT_FIT_WIDENED);
    assert_int_equal(saga_compat_types_fit(SAGA_FIELD_BYTES, SAGA_FIELD_MESSAGE),
                     SAGA_COMPAT_FIT_NARROWED);
    assert_int_equal(saga_compat_types_fit(SAGA_FIELD_STRING, SAGA_FIELD_MESSAGE),
                     SAGA_COMPAT_FIT_BROKEN);
    assert_int_equal(saga_compat_types_fit(SAGA_FIELD_GROUP, SAGA_FIELD_MESSAGE),
                     SAGA_COMPAT_FIT_BROKEN);
}

/* ---- Who is hit ---- */

static char empty[] = "";
static char undo_name[] = "s.v1.S/Undo";
static char step_name[] = "a";
static char pivot_name[] = "p";

/* A saga of a step "a" that can be undone and a pivot "p". */
static bool hits(enum saga_compat_hit hit, Saga__V1__SagaState state, Saga__V1__StepState a,
                 Saga__V1__StepState p, bool held)
{
    Saga__V1__StepView step = SAGA__V1__STEP_VIEW__INIT;
    Saga__V1__StepView pivot = SAGA__V1__STEP_VIEW__INIT;
    Saga__V1__StepView *steps[] = {&step, &pivot};
    Saga__V1__SagaView saga = SAGA__V1__SAGA_VIEW__INIT;
    step.name = step_name;
    step.undo = undo_name;
    step.saga = empty;
    step.state = a;
    pivot.name = pivot_name;
    pivot.pivot = 1;
    pivot.state = p;
    saga.state = state;
    saga.steps = steps;
    saga.n_steps = 2;
    struct saga_compat_finding finding = {.step = "a", .hit = hit};
    return saga_compat_hits(&finding, &saga, held);
}

#define SAGA(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name
#define STEP(name) SAGA__V1__STEP_STATE__STEP_STATE_##name

struct row {
    Saga__V1__SagaState state;
    Saga__V1__StepState a, p;
    bool held;
    bool call, undo, open, pivot, all;
};

static void test_hits_by_where_a_saga_is(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* Before the step, in it, behind it, and behind the pivot. */
        {SAGA(RUNNING), STEP(WAITING), STEP(WAITING), false, true, true, true, true, true},
        {SAGA(RUNNING), STEP(CALLED), STEP(WAITING), false, true, true, true, true, true},
        {SAGA(RUNNING), STEP(SUCCEEDED), STEP(WAITING), false, false, true, true, true, true},
        {SAGA(RUNNING), STEP(SUCCEEDED), STEP(CALLED), false, false, true, true, true, true},
        {SAGA(RUNNING), STEP(SUCCEEDED), STEP(SUCCEEDED), false, false, false, false, false, true},
        {SAGA(RUNNING), STEP(SKIPPED), STEP(WAITING), false, false, false, false, true, true},
        {SAGA(PARKED), STEP(CALLED), STEP(WAITING), false, true, true, true, true, true},
        /* Turning back: nothing is called any more. */
        {SAGA(COMPENSATING), STEP(WAITING), STEP(SKIPPED), false, false, false, false, false, true},
        {SAGA(COMPENSATING), STEP(SUCCEEDED), STEP(SKIPPED), false, false, true, true, false, true},
        {SAGA(COMPENSATING), STEP(UNKNOWN), STEP(SKIPPED), false, false, true, true, false, true},
        {SAGA(COMPENSATING), STEP(UNDOING), STEP(SKIPPED), false, false, true, true, false, true},
        {SAGA(COMPENSATING), STEP(UNDONE), STEP(SKIPPED), false, false, false, false, false, true},
        {SAGA(COMPENSATING), STEP(REJECTED), STEP(SKIPPED), false, false, false, false, false,
         true},
        /* Ended; a child that has is turned back with its parent. */
        {SAGA(COMPENSATED), STEP(UNDONE), STEP(SKIPPED), false, false, false, false, false, false},
        {SAGA(COMPLETED), STEP(SUCCEEDED), STEP(SKIPPED), false, false, false, false, false, false},
        {SAGA(COMPLETED), STEP(SUCCEEDED), STEP(SKIPPED), true, false, true, true, false, true},
        {SAGA(COMPENSATED), STEP(UNDONE), STEP(SKIPPED), true, false, false, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        const struct {
            enum saga_compat_hit hit;
            bool expected;
        } columns[] = {
            {SAGA_COMPAT_HIT_NONE, false},       {SAGA_COMPAT_HIT_CALL, row->call},
            {SAGA_COMPAT_HIT_UNDO, row->undo},   {SAGA_COMPAT_HIT_OPEN, row->open},
            {SAGA_COMPAT_HIT_PIVOT, row->pivot}, {SAGA_COMPAT_HIT_ALL, row->all},
        };
        for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
            if (hits(columns[k].hit, row->state, row->a, row->p, row->held) !=
                columns[k].expected) {
                fail_msg("row %zu, %s", i, saga_compat_hit_name(columns[k].hit));
            }
        }
    }
}

static void test_hits_of_a_step_that_the_saga_does_not_have_is_none(void **state)
{
    (void)state;
    Saga__V1__SagaView saga = SAGA__V1__SAGA_VIEW__INIT;
    saga.state = SAGA(RUNNING);
    struct saga_compat_finding finding = {.step = "a", .hit = SAGA_COMPAT_HIT_UNDO};
    assert_false(saga_compat_hits(&finding, &saga, false));
    finding.step = NULL;
    assert_false(saga_compat_hits(&finding, &saga, false));
    finding.hit = SAGA_COMPAT_HIT_ALL;
    assert_true(saga_compat_hits(&finding, &saga, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare_of_a_set_with_itself_finds_nothing),
        cmocka_unit_test(test_compare_with_nothing_when_partial_leaves_everything_alone),
        cmocka_unit_test(test_compare_of_one_saga_is_about_that_saga_alone),
        cmocka_unit_test(test_compare_of_more_than_is_kept_counts_the_rest),
        cmocka_unit_test(test_compare_of_what_is_no_set_says_which_one),
        cmocka_unit_test(test_compare_of_damaged_sets_ends_in_order),
        cmocka_unit_test(test_code_find_of_every_code_gives_it_back),
        cmocka_unit_test(test_types_fit_of_every_pair_agrees_both_ways),
        cmocka_unit_test(test_hits_by_where_a_saga_is),
        cmocka_unit_test(test_hits_of_a_step_that_the_saga_does_not_have_is_none),
    };
    return cmocka_run_group_tests_name("compat", tests, NULL, NULL);
}
