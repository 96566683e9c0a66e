/* Descriptor sets that are cut, changed at random, or well-formed with numbers and names that no
 * compiler would write: the checks of sagas and of style end without harm, whatever they say. What
 * they say has places and texts that can be printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "common/wire/schema.h"
#include "descriptor_set.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "verify/style/style.h"

enum { CUTS = 400, CHANGES = 3000, TWISTS = 1500, CHANGES_AT_ONCE = 8 };

typedef Google__Protobuf__FileDescriptorSet raw_set;

static struct saga_buf base; /* sagas, services and their options, with source info */

static raw_set *unpack(struct saga_bytes bytes)
{
    raw_set *set = google__protobuf__file_descriptor_set__unpack(NULL, bytes.size, bytes.data);
    assert_non_null(set);
    return set;
}

static struct saga_buf pack(const raw_set *set)
{
    struct saga_buf buf = {0};
    size_t size = google__protobuf__file_descriptor_set__get_packed_size(set);
    assert_int_equal(saga_buf_reserve(&buf, size), SAGA_ERR_OK);
    buf.size = google__protobuf__file_descriptor_set__pack(set, buf.data);
    return buf;
}

/* Makes the set small: what the sagas need, and source info of the first files alone. */
static int make_base(void **state)
{
    (void)state;
    raw_set *set = unpack((struct saga_bytes){saga_descriptor_set, saga_descriptor_set_size});
    size_t kept = 0;
    size_t all = set->n_file;
    for (size_t i = 0; i < all; i++) {
        Google__Protobuf__FileDescriptorProto *file = set->file[i];
        bool wanted = strncmp(file->name, "order/", 6) == 0 ||
                      strncmp(file->name, "kitchen/", 8) == 0 ||
                      strncmp(file->name, "google/protobuf/", 16) == 0 ||
                      strcmp(file->name, "saga/v1/options.proto") == 0;
        if (strncmp(file->name, "google/", 7) == 0 && file->source_code_info != NULL) {
            google__protobuf__source_code_info__free_unpacked(file->source_code_info, NULL);
            file->source_code_info = NULL;
        }
        if (wanted) {
            set->file[i] = set->file[kept];
            set->file[kept++] = file;
        }
    }
    set->n_file = kept;
    base = pack(set);
    set->n_file = all;
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    return 0;
}

static int free_base(void **state)
{
    (void)state;
    saga_buf_fini(&base);
    return 0;
}

static void assert_printable(const char *text)
{
    assert_non_null(text);
    for (const char *c = text; *c != '\0'; c++) {
        assert_true(*c >= ' ' && *c <= '~');
    }
}

static void check_style(struct saga_bytes bytes, size_t *judged)
{
    struct saga_style_config config = {0};
    struct saga_style_result *result = NULL;
    struct saga_err_detail detail = {""};
    memset(config.rules, 1, sizeof config.rules);
    enum saga_err err = saga_style_check(bytes, &config, &result, &detail);
    if (err != SAGA_ERR_OK) {
        assert_true(err == SAGA_ERR_MALFORMED || err == SAGA_ERR_LIMIT);
        assert_true(strlen(detail.text) > 0);
        return;
    }
    ++*judged;
    for (size_t i = 0; i < saga_style_finding_count(result); i++) {
        const struct saga_style_finding *finding = saga_style_finding_at(result, i);
        assert_true(finding->rule < SAGA_STYLE_RULE_COUNT);
        assert_true(finding->line >= 0 && finding->column >= 0);
        assert_printable(finding->file);
        assert_printable(finding->where);
        assert_printable(finding->message);
    }
    saga_style_free(result);
}

/* Runs both checks. Gives whether the schema could be loaded. */
static bool check_both(struct saga_bytes bytes, size_t *judged)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {""};
    check_style(bytes, judged);
    if (saga_schema_load(bytes, &schema, &detail) != SAGA_ERR_OK) {
        assert_true(strlen(detail.text) > 0);
        return false;
    }
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        assert_true(finding->line >= 0 && finding->column >= 0);
        assert_printable(finding->where);
        assert_printable(finding->message);
    }
    saga_schema_free(schema);
    return true;
}

static struct saga_buf copy_base(void)
{
    struct saga_buf buf = {0};
    assert_int_equal(saga_buf_append(&buf, saga_buf_view(&base)), SAGA_ERR_OK);
    return buf;
}

static void test_style_broken_cut_set_does_no_harm(void **state)
{
    (void)state;
    uint64_t random = 1;
    size_t judged = 0;
    for (int i = 0; i < CUTS; i++) {
        /* A block of its own, so that a read behind its end is seen. */
        size_t size = (size_t)saga_prng_below(&random, base.size);
        uint8_t *cut = malloc(size == 0 ? 1 : size);
        assert_non_null(cut);
        memcpy(cut, base.data, size);
        (void)check_both((struct saga_bytes){cut, size}, &judged);
        free(cut);
    }
    assert_true(judged < CUTS / 2);
}

static void test_style_broken_changed_bytes_do_no_harm(void **state)
{
    (void)state;
    uint64_t random = 2;
    size_t judged = 0;
    for (int i = 0; i < CHANGES; i++) {
        struct saga_buf set = copy_base();
        uint64_t count = 1 + saga_prng_below(&random, CHANGES_AT_ONCE);
        for (uint64_t k = 0; k < count; k++) {
            size_t at = (size_t)saga_prng_below(&random, set.size);
            if (saga_prng_below(&random, 2) == 0) {
                set.data[at] ^= (uint8_t)(1u << saga_prng_below(&random, 8));
            } else {
                /* Numbers on the wire: small, largest, a name's letter. */
                static const uint8_t values[] = {0, 1, 0x7f, 0xff, 'A', '_', '.', '/'};
                set.data[at] = values[saga_prng_below(&random, sizeof values)];
            }
        }
        (void)check_both(saga_buf_view(&set), &judged);
        saga_buf_fini(&set);
    }
    assert_true(judged > CHANGES / 10); /* not all of them fail at the door */
}

/* ---- Well-formed and wrong ---- */

static int32_t odd_number(uint64_t *random)
{
    static const int32_t numbers[] = {0, 1, 2, 3, 4, 7, 63, 1000, -1, INT32_MIN, INT32_MAX};
    return numbers[saga_prng_below(random, sizeof numbers / sizeof numbers[0])];
}

static char *odd_text(uint64_t *random)
{
    static const char *const texts[] = {"",
                                        ".",
                                        "..",
                                        "/",
                                        "a/",
                                        "_",
                                        "__",
                                        "A",
                                        "\xc3\xa9",
                                        "v1",
                                        "a.b",
                                        ".order.v1.Order",
                                        "order/v1/order.proto",
                                        "sagactl:lint-ignore",
                                        "sagactl:lint-ignore A, FIELD_LOWER_SNAKE_CASE\n"};
    char *text = strdup(texts[saga_prng_below(random, sizeof texts / sizeof texts[0])]);
    assert_non_null(text);
    return text;
}

/* protobuf-c's empty text is one that must not be freed. */
static void twist_text(uint64_t *random, char **text)
{
    if (*text != NULL && *text != (const char *)protobuf_c_empty_string) {
        free(*text);
        *text = odd_text(random);
    }
}

static void twist_message(uint64_t *random, Google__Protobuf__DescriptorProto *type)
{
    if (type->n_field > 0) {
        Google__Protobuf__FieldDescriptorProto *field =
            type->field[saga_prng_below(random, type->n_field)];
        switch (saga_prng_below(random, 5)) {
        case 0:
            twist_text(random, &field->name);
            break;
        case 1:
            twist_text(random, &field->type_name);
            break;
        case 2:
            field->has_oneof_index = true;
            field->oneof_index = odd_number(random);
            break;
        case 3:
            field->number = odd_number(random);
            break;
        default:
            field->has_type = saga_prng_below(random, 2) == 0;
            break;
        }
    }
    if (saga_prng_below(random, 4) == 0) {
        twist_text(random, &type->name);
    }
}

static void twist_source(uint64_t *random, Google__Protobuf__SourceCodeInfo *info)
{
    if (info == NULL || info->n_location == 0) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        Google__Protobuf__SourceCodeInfo__Location *location =
            info->location[saga_prng_below(random, info->n_location)];
        if (location->n_path > 0) {
            location->path[saga_prng_below(random, location->n_path)] = odd_number(random);
        }
        if (location->n_span > 0) {
            location->span[saga_prng_below(random, location->n_span)] = odd_number(random);
            location->n_span = saga_prng_below(random, 3) == 0 ? 0 : location->n_span;
        }
        twist_text(random, &location->leading_comments);
    }
}

static void twist_file(uint64_t *random, Google__Protobuf__FileDescriptorProto *file)
{
    switch (saga_prng_below(random, 7)) {
    case 0:
        twist_text(random, &file->name);
        break;
    case 1:
        twist_text(random, &file->package);
        break;
    case 2:
        if (file->n_dependency > 0) {
            twist_text(random, &file->dependency[saga_prng_below(random, file->n_dependency)]);
        }
        break;
    case 3:
        if (file->public_dependency == NULL) {
            file->public_dependency = malloc(sizeof *file->public_dependency);
            assert_non_null(file->public_dependency);
            file->n_public_dependency = 1;
            file->public_dependency[0] = odd_number(random);
        }
        break;
    case 4:
        if (file->n_message_type > 0) {
            twist_message(random,
                          file->message_type[saga_prng_below(random, file->n_message_type)]);
        }
        break;
    case 5:
        if (file->n_service > 0 && file->service[0]->n_method > 0) {
            twist_text(random, &file->service[0]->method[0]->input_type);
            twist_text(random, &file->service[0]->name);
        }
        break;
    default:
        twist_source(random, file->source_code_info);
        break;
    }
}

static void test_style_broken_well_formed_set_does_no_harm(void **state)
{
    (void)state;
    uint64_t random = 3;
    size_t judged = 0;
    size_t loaded = 0;
    for (int i = 0; i < TWISTS; i++) {
        raw_set *set = unpack(saga_buf_view(&base));
        uint64_t count = 1 + saga_prng_below(&random, 3);
        for (uint64_t k = 0; k < count; k++) {
            twist_file(&random, set->file[saga_prng_below(&random, set->n_file)]);
        }
        struct saga_buf bytes = pack(set);
        loaded += check_both(saga_buf_view(&bytes), &judged) ? 1 : 0;
        saga_buf_fini(&bytes);
        google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    }
    assert_int_equal(judged, TWISTS); /* style is told of anything that can be decoded */
    assert_true(loaded > TWISTS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_style_broken_cut_set_does_no_harm),
        cmocka_unit_test(test_style_broken_changed_bytes_do_no_harm),
        cmocka_unit_test(test_style_broken_well_formed_set_does_no_harm),
    };
    return cmocka_run_group_tests(tests, make_base, free_base);
}
