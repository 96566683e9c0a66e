/* Style rules: forms of names, the table of rules, settings, the bound of findings, and each
 * allocation failing once (the linker's --wrap puts our functions in place of malloc's). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "verify/style/style.h"
#include "verify/style/style_internal.h"

enum { ALLOCATIONS_MAX = 1000 };

static size_t left; /* allocations until one fails; 0: none does */
static size_t failed;

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker wants these names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static bool fails(void)
{
    if (left > 0 && --left == 0) {
        failed++;
        return true;
    }
    return false;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

/* NOLINTEND(bugprone-reserved-identifier) */

/* ---- Names ---- */

static void test_style_pascal_when_words_begin_in_capitals_then_good(void **state)
{
    (void)state;
    assert_true(saga_style_is_pascal("OrderItem"));
    assert_true(saga_style_is_pascal("HTTPStatus2"));
    assert_false(saga_style_is_pascal(""));
    assert_false(saga_style_is_pascal("orderItem"));
    assert_false(saga_style_is_pascal("Order_Item"));
    assert_false(saga_style_is_pascal("2Order"));
}

static void test_style_snake_when_single_underscores_then_good(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool lower, upper;
    } rows[] = {
        {"order_item", true, false},
        {"order2_item3", true, false},
        {"o", true, false},
        {"order_2", true, false},
        {"ORDER_ITEM", false, true},
        {"Order", false, false},
        {"order__item", false, false},
        {"order_", false, false},
        {"_order", false, false},
        {"", false, false},
        {"order-item", false, false},
        {"2order", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(saga_style_is_lower_snake(rows[i].name, strlen(rows[i].name)),
                         rows[i].lower);
        assert_int_equal(saga_style_is_upper_snake(rows[i].name), rows[i].upper);
    }
}

static void test_style_version_when_stable_or_not_then_good(void **state)
{
    (void)state;
    static const char *const good[] = {"v1",       "v12",    "v1alpha",    "v1alpha1",  "v1beta2",
                                       "v1p1beta", "v1test", "v1testing9", "v2p3alpha4"};
    static const char *const bad[] = {"",     "v",         "v0",      "v01", "version1",
                                      "1",    "v1x",       "v1gamma", "v1p", "v1pbeta",
                                      "v1p1", "v1alpha_1", "v1beta1x"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(saga_style_is_version(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(saga_style_is_version(bad[i], strlen(bad[i])));
    }
}

static void test_style_wanted_name_when_made_then_is_good(void **state)
{
    (void)state;
    static const struct {
        const char *name, *upper, *pascal;
    } rows[] = {
        {"OrderItem", "ORDER_ITEM", "OrderItem"},    {"HTTPStatus", "HTTP_STATUS", "HTTPStatus"},
        {"order_item", "ORDER_ITEM", "OrderItem"},   {"v2Item", "V2_ITEM", "V2Item"},
        {"Order__Item_", "ORDER_ITEM", "OrderItem"},
    };
    char text[64];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        saga_style_snake(rows[i].name, true, text, sizeof text);
        assert_string_equal(text, rows[i].upper);
        assert_true(saga_style_is_upper_snake(text));
        saga_style_pascal(rows[i].name, text, sizeof text);
        assert_string_equal(text, rows[i].pascal);
        assert_true(saga_style_is_pascal(text));
    }
    saga_style_snake("OrderItem", false, text, 6);
    assert_true(strlen(text) < 6);
    saga_style_pascal("order_item", text, 6);
    assert_string_equal(text, "Order");
}

/* ---- Rules ---- */

static void test_style_rules_when_listed_then_named_and_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAGA_STYLE_RULE_COUNT; i++) {
        const struct saga_style_rule *rule = saga_style_rule(i);
        size_t id = SAGA_STYLE_RULE_COUNT;
        assert_non_null(rule->name);
        assert_true(saga_style_is_upper_snake(rule->name));
        assert_true(strlen(rule->summary) > 10);
        assert_true(saga_style_rule_find(rule->name, &id));
        assert_int_equal(id, i);
        assert_int_equal(rule->on, strncmp(rule->name, "COMMENT_", 8) != 0);
    }
    size_t id = 0;
    assert_false(saga_style_rule_find("NO_SUCH_RULE", &id));
}

/* A set of one file with `count` messages whose names are wrong. */
static struct saga_buf make_set(size_t count)
{
    Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
    Google__Protobuf__FileDescriptorProto file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__FileDescriptorProto *files[] = {&file};
    static Google__Protobuf__DescriptorProto message = GOOGLE__PROTOBUF__DESCRIPTOR_PROTO__INIT;
    static char name[] = "shop/v1/shop.proto";
    static char package[] = "shop.v1";
    static char syntax[] = "proto3";
    static char wrong[] = "wrong";
    message.name = wrong;
    Google__Protobuf__DescriptorProto **messages = calloc(count, sizeof(void *));
    assert_non_null(messages);
    for (size_t i = 0; i < count; i++) {
        messages[i] = &message;
    }
    file.name = name;
    file.package = package;
    file.syntax = syntax;
    file.n_message_type = count;
    file.message_type = messages;
    set.n_file = 1;
    set.file = files;
    struct saga_buf buf = {0};
    size_t size = google__protobuf__file_descriptor_set__get_packed_size(&set);
    assert_int_equal(saga_buf_reserve(&buf, size), SAGA_ERR_OK);
    buf.size = google__protobuf__file_descriptor_set__pack(&set, buf.data);
    free(messages);
    return buf;
}

static struct saga_style_config all_rules(void)
{
    struct saga_style_config config = {0};
    for (size_t i = 0; i < SAGA_STYLE_RULE_COUNT; i++) {
        config.rules[i] = saga_style_rule(i)->on;
    }
    return config;
}

static void test_style_findings_when_more_than_the_bound_then_counted(void **state)
{
    (void)state;
    struct saga_buf set = make_set(SAGA_STYLE_FINDINGS_MAX + 7);
    struct saga_style_config config = all_rules();
    struct saga_style_result *result = NULL;
    struct saga_err_detail detail = {""};
    assert_int_equal(saga_style_check(saga_buf_view(&set), &config, &result, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_style_finding_count(result), SAGA_STYLE_FINDINGS_MAX);
    assert_int_equal(saga_style_left_out(result), 7);
    assert_int_equal(saga_style_file_count(result), 1);
    saga_style_free(result);
    saga_buf_fini(&set);
}

static bool judge_nothing(void *user, const char *file)
{
    size_t *asked = user;
    ++*asked;
    assert_string_equal(file, "shop/v1/shop.proto");
    return false;
}

static void test_style_file_when_not_judged_then_nothing_is_found(void **state)
{
    (void)state;
    size_t asked = 0;
    struct saga_buf set = make_set(3);
    struct saga_style_config config = all_rules();
    struct saga_style_result *result = NULL;
    struct saga_err_detail detail = {""};
    config.judged = judge_nothing;
    config.user = &asked;
    assert_int_equal(saga_style_check(saga_buf_view(&set), &config, &result, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_style_finding_count(result), 0);
    assert_int_equal(saga_style_file_count(result), 0);
    assert_int_equal(asked, 1);
    saga_style_free(result);
    saga_buf_fini(&set);
}

static void test_style_set_when_too_large_or_none_then_refused(void **state)
{
    (void)state;
    struct saga_style_config config = all_rules();
    struct saga_style_result *result = NULL;
    struct saga_err_detail detail = {""};
    uint8_t *large = calloc(1, SAGA_DESCRIPTOR_SET_SIZE_MAX + 1);
    assert_non_null(large);
    assert_int_equal(saga_style_check((struct saga_bytes){large, SAGA_DESCRIPTOR_SET_SIZE_MAX + 1},
                                      &config, &result, &detail),
                     SAGA_ERR_LIMIT);
    assert_non_null(strstr(detail.text, "SAGA_DESCRIPTOR_SET_SIZE_MAX"));
    free(large);
    assert_int_equal(saga_style_check(saga_bytes_text("no set"), &config, &result, &detail),
                     SAGA_ERR_MALFORMED);
    assert_null(result);
}

static void test_style_memory_when_each_allocation_fails_then_it_is_told(void **state)
{
    (void)state;
    struct saga_buf set = make_set(40);
    struct saga_style_config config = all_rules();
    struct saga_err_detail detail = {""};
    for (size_t n = 1; n < ALLOCATIONS_MAX; n++) {
        struct saga_style_result *result = NULL;
        failed = 0;
        left = n;
        enum saga_err err = saga_style_check(saga_buf_view(&set), &config, &result, &detail);
        left = 0;
        if (failed == 0) {
            assert_int_equal(err, SAGA_ERR_OK);
            assert_int_equal(saga_style_finding_count(result), 40);
            assert_true(n > 3);
            saga_style_free(result);
            saga_buf_fini(&set);
            return;
        }
        assert_int_equal(err, SAGA_ERR_NO_MEMORY);
        assert_null(result);
    }
    fail_msg("no end of allocations");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_style_pascal_when_words_begin_in_capitals_then_good),
        cmocka_unit_test(test_style_snake_when_single_underscores_then_good),
        cmocka_unit_test(test_style_version_when_stable_or_not_then_good),
        cmocka_unit_test(test_style_wanted_name_when_made_then_is_good),
        cmocka_unit_test(test_style_rules_when_listed_then_named_and_found),
        cmocka_unit_test(test_style_findings_when_more_than_the_bound_then_counted),
        cmocka_unit_test(test_style_file_when_not_judged_then_nothing_is_found),
        cmocka_unit_test(test_style_set_when_too_large_or_none_then_refused),
        cmocka_unit_test(test_style_memory_when_each_allocation_fails_then_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
