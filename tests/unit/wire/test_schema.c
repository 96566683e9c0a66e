/* Loading descriptor sets, good and hostile; finding; hashes; checking messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "common/wire/envelope.h"
#include "common/wire/schema.h"
#include "descriptor_set.h"
#include "tests/unit/wire/schema_set.h"

enum { MUTATIONS = 20000 };

/* ---- Taking the committed set apart and putting it together again ---- */

static void drop_source_info(file_set *set)
{
    for (size_t i = 0; i < set->n_file; i++) {
        if (set->file[i]->source_code_info != NULL) {
            google__protobuf__source_code_info__free_unpacked(set->file[i]->source_code_info, NULL);
            set->file[i]->source_code_info = NULL;
        }
    }
}

static void drop_google_imports(file_proto *file)
{
    size_t kept = 0;
    for (size_t i = 0; i < file->n_dependency; i++) {
        if (strncmp(file->dependency[i], "google/", 7) == 0) {
            free(file->dependency[i]);
        } else {
            file->dependency[kept++] = file->dependency[i];
        }
    }
    file->n_dependency = kept;
}

/* Keeps the files that are ours, without source info: a small set with everything that matters in
 * it. */
static void shrink(file_set *set)
{
    size_t kept = 0;
    drop_source_info(set);
    for (size_t i = 0; i < set->n_file; i++) {
        if (strncmp(set->file[i]->name, "google/", 7) == 0) {
            google__protobuf__file_descriptor_proto__free_unpacked(set->file[i], NULL);
        } else {
            drop_google_imports(set->file[i]);
            set->file[kept++] = set->file[i];
        }
    }
    set->n_file = kept;
}

/* ---- Good sets ---- */

static void test_load_when_the_set_is_empty_then_an_empty_schema(void **state)
{
    (void)state;
    struct saga_schema *schema = NULL;
    struct saga_bytes none = {0};
    assert_int_equal(saga_schema_load(none, &schema, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_schema_message_count(schema), 0);
    assert_int_equal(saga_schema_decl_count(schema), 0);
    assert_int_equal(saga_schema_finding_count(schema), 0);
    assert_null(saga_schema_message(schema, ""));
    saga_schema_free(schema);
    saga_schema_free(NULL);
}

static struct saga_schema *load_committed(void)
{
    struct saga_schema *schema = NULL;
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    assert_int_equal(saga_schema_load(set, &schema, NULL), SAGA_ERR_OK);
    return schema;
}

static void test_find_when_there_then_what_was_declared(void **state)
{
    (void)state;
    struct saga_schema *schema = load_committed();
    const struct saga_message_type *order = saga_schema_message(schema, "order.v1.Order");
    assert_non_null(order);
    assert_string_equal(order->comment, "An order.");
    assert_string_equal(order->file, "order/v1/order.proto");
    const struct saga_field *items = saga_message_field(order, "items");
    assert_non_null(items);
    assert_int_equal(items->number, 3);
    assert_int_equal(items->type, SAGA_FIELD_MESSAGE);
    assert_true(items->repeated);
    assert_false(items->packed);
    assert_false(items->map);
    assert_ptr_equal(items->message, saga_schema_message(schema, "order.v1.OrderItem"));
    const struct saga_field *created = saga_message_field_by_number(order, 7);
    assert_string_equal(created->name, "created_unix_ms");
    assert_string_equal(created->json_name, "createdUnixMs");
    assert_string_equal(created->comment, "When it was placed, milliseconds since 1970.");
    const struct saga_field *how = saga_message_field(order, "state");
    assert_ptr_equal(how->enumeration, saga_schema_enum(schema, "order.v1.OrderState"));
    assert_int_equal(how->enumeration->value_count, 4);
    assert_string_equal(how->enumeration->values[2].name, "ORDER_STATE_APPROVED");
    const struct saga_service *service = saga_schema_service(schema, "order.v1.OrderService");
    assert_string_equal(service->command_topic, "saga-to-order-status");
    assert_string_equal(service->reply_topic, "order-to-saga-status");
    const struct saga_method *get = saga_schema_method(schema, "order.v1.OrderService/GetOrder");
    assert_true(get->no_side_effects);
    assert_string_equal(get->name, "GetOrder");
    assert_string_equal(get->comment, "Shows an order.");
    assert_false(saga_schema_method(schema, "order.v1.OrderService/PlaceOrder")->no_side_effects);
    const struct saga_service *health = saga_schema_service(schema, "saga.v1.HealthService");
    assert_string_equal(health->command_topic, "");
    saga_schema_free(schema);
}

static void test_find_when_not_there_then_null(void **state)
{
    (void)state;
    struct saga_schema *schema = load_committed();
    char long_name[400];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_null(saga_schema_message(schema, "order.v1.Nothing"));
    assert_null(saga_schema_message(schema, "order.v1.OrderService")); /* another kind */
    assert_null(saga_schema_service(schema, "order.v1.Order"));
    assert_null(saga_schema_enum(schema, "order.v1.Order"));
    assert_null(saga_schema_method(schema, "order.v1.OrderService"));
    assert_null(saga_schema_method(schema, "order.v1.OrderService/Nothing"));
    assert_null(saga_schema_method(schema, "/"));
    long_name[398] = '/';
    assert_null(saga_schema_method(schema, long_name));
    const struct saga_message_type *order = saga_schema_message(schema, "order.v1.Order");
    assert_null(saga_message_field(order, "nothing"));
    assert_null(saga_message_field_by_number(order, 0));
    assert_null(saga_message_field_by_number(order, 99));
    assert_null(saga_schema_decl(schema, "no-saga"));
    saga_schema_free(schema);
}

static void test_fields_when_packed_or_in_a_oneof_or_a_map_then_told(void **state)
{
    (void)state;
    /* descriptor.proto itself is proto2: repeated numbers are packed only when it says so. */
    struct saga_schema *schema = load_committed();
    const struct saga_message_type *location =
        saga_schema_message(schema, "google.protobuf.SourceCodeInfo.Location");
    assert_non_null(location);
    assert_true(saga_message_field(location, "path")->packed);
    assert_false(saga_message_field(location, "leading_detached_comments")->packed);
    const struct saga_message_type *file =
        saga_schema_message(schema, "google.protobuf.FileDescriptorProto");
    assert_false(saga_message_field(file, "public_dependency")->packed);
    assert_false(saga_message_field(file, "package")->oneof);
    saga_schema_free(schema);
}

/* ---- Hostile sets ---- */

static void test_load_when_not_a_set_then_malformed(void **state)
{
    (void)state;
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {""};
    struct saga_bytes noise = saga_bytes_text("\x0a\xff\xff");
    assert_int_equal(saga_schema_load(noise, &schema, &detail), SAGA_ERR_MALFORMED);
    assert_string_equal(detail.text, "schema: not a FileDescriptorSet");
    assert_null(schema);
}

static void test_load_when_too_large_then_limit(void **state)
{
    (void)state;
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {""};
    uint8_t *bytes = calloc(1, SAGA_DESCRIPTOR_SET_SIZE_MAX + 1);
    assert_non_null(bytes);
    struct saga_bytes large = {bytes, SAGA_DESCRIPTOR_SET_SIZE_MAX + 1};
    assert_int_equal(saga_schema_load(large, &schema, &detail), SAGA_ERR_LIMIT);
    assert_non_null(strstr(detail.text, "SAGA_DESCRIPTOR_SET_SIZE_MAX"));
    free(bytes);
}

static void test_load_when_there_are_absurdly_many_messages_then_malformed(void **state)
{
    (void)state;
    /* One file with 1.4 million empty messages in 4 MiB: field 4 of the file, each two bytes. */
    size_t size = SAGA_DESCRIPTOR_SET_SIZE_MAX;
    uint8_t *bytes = calloc(1, size);
    struct saga_schema *schema = NULL;
    assert_non_null(bytes);
    size_t content = size - 5;
    bytes[0] = 0x0a;
    for (size_t i = 0; i < 4; i++) {
        bytes[1 + i] = (uint8_t)((content >> (7 * i) & 0x7f) | (i < 3 ? 0x80 : 0));
    }
    for (size_t i = 5; i + 1 < size; i += 2) {
        bytes[i] = 0x22;
    }
    bytes[4] = (uint8_t)((content - 1) >> 21);
    bytes[1] = (uint8_t)(((content - 1) & 0x7f) | 0x80);
    bytes[2] = (uint8_t)(((content - 1) >> 7 & 0x7f) | 0x80);
    bytes[3] = (uint8_t)(((content - 1) >> 14 & 0x7f) | 0x80);
    struct saga_bytes view = {bytes, size - 1};
    assert_int_equal(saga_schema_load(view, &schema, NULL), SAGA_ERR_MALFORMED);
    free(bytes);
}

static void test_load_when_a_type_is_missing_then_it_is_named(void **state)
{
    (void)state;
    file_set *set = open_set();
    set_text(&find_message(set, "order/v1/order.proto", "OrderItem")->name, "OrderLine");
    expect_refused(set, SAGA_ERR_INVALID, ".order.v1.OrderItem, used by");
    close_set(set);
    set = open_set();
    field_proto *items = find_message(set, "order/v1/order.proto", "Order")->field[2];
    set_text(&items->type_name, "OrderItem"); /* not fully qualified */
    expect_refused(set, SAGA_ERR_INVALID, "OrderItem, used by order.v1.Order");
    set_text(&items->type_name, ".order.v1.OrderState"); /* another kind */
    expect_refused(set, SAGA_ERR_INVALID, ".order.v1.OrderState, used by order.v1.Order");
    set_text(&find_file(set, "order/v1/order.proto")->service[0]->method[0]->input_type, "");
    set_text(&items->type_name, ".order.v1.OrderItem");
    expect_refused(set, SAGA_ERR_INVALID, "(none), used by order.v1.OrderService/PlaceOrder");
    close_set(set);
}

static void test_load_when_a_name_is_wrong_then_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "1x", "a b", "a\nb", "a.b", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        file_set *set = open_set();
        set_text(&find_message(set, "order/v1/order.proto", "OrderItem")->field[0]->name, bad[i]);
        expect_refused(set, SAGA_ERR_INVALID, "a field has no good name in order.v1.OrderItem");
        close_set(set);
        set = open_set();
        set_text(&find_message(set, "order/v1/order.proto", "OrderItem")->name, bad[i]);
        expect_refused(set, SAGA_ERR_INVALID, "a name is missing or is not an identifier");
        close_set(set);
    }
    char long_name[SAGA_TYPE_NAME_MAX + 1];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    file_set *set = open_set();
    set_text(&find_message(set, "order/v1/order.proto", "OrderItem")->name, long_name);
    expect_refused(set, SAGA_ERR_LIMIT, "SAGA_TYPE_NAME_MAX");
    close_set(set);
    set = open_set();
    set_text(&find_file(set, "order/v1/order.proto")->package, "order..v1");
    expect_refused(set, SAGA_ERR_INVALID, "a package that is not a dotted name");
    set_text(&find_file(set, "order/v1/order.proto")->package, "order.v1");
    set_text(&find_file(set, "order/v1/order.proto")->syntax, "proto4");
    expect_refused(set, SAGA_ERR_INVALID, "neither proto2 nor proto3");
    set_text(&find_file(set, "order/v1/order.proto")->syntax, "proto3");
    long_name[240] = '\0';
    set_text(&find_file(set, "order/v1/order.proto")->service[0]->method[0]->name, long_name);
    expect_refused(set, SAGA_ERR_LIMIT, "SAGA_METHOD_NAME_MAX");
    close_set(set);
}

static void test_load_when_declared_twice_then_refused(void **state)
{
    (void)state;
    file_set *set = open_set();
    set_text(&find_message(set, "order/v1/order.proto", "OrderItem")->name, "Order");
    expect_refused(set, SAGA_ERR_INVALID, "order.v1.Order is declared twice");
    close_set(set);
    set = open_set();
    message_proto *item = find_message(set, "order/v1/order.proto", "OrderItem");
    item->field[1]->number = item->field[0]->number;
    expect_refused(set, SAGA_ERR_INVALID, "the same number or name in order.v1.OrderItem");
    item->field[1]->number = 2;
    set_text(&item->field[1]->name, "product_id");
    expect_refused(set, SAGA_ERR_INVALID, "the same number or name in order.v1.OrderItem");
    close_set(set);
}

static void test_load_when_a_number_or_type_is_absurd_then_refused(void **state)
{
    (void)state;
    file_set *set = open_set();
    field_proto *field = find_message(set, "order/v1/order.proto", "OrderItem")->field[0];
    static const int32_t numbers[] = {0, -1, 536870912, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        field->number = numbers[i];
        expect_refused(set, SAGA_ERR_INVALID, "a field has no good number");
    }
    field->number = 1;
    field->type = (Google__Protobuf__FieldDescriptorProto__Type)19;
    expect_refused(set, SAGA_ERR_INVALID, "a field has no known type");
    field->type = (Google__Protobuf__FieldDescriptorProto__Type)-1;
    expect_refused(set, SAGA_ERR_INVALID, "a field has no known type");
    close_set(set);
}

static void test_load_when_a_message_has_too_many_fields_then_limit(void **state)
{
    (void)state;
    file_set *set = open_set();
    message_proto *item = find_message(set, "order/v1/order.proto", "OrderItem");
    field_proto **before = item->field;
    size_t before_count = item->n_field;
    field_proto **fields = calloc(SAGA_FIELDS_MAX + 1, sizeof(void *));
    assert_non_null(fields);
    for (size_t i = 0; i < SAGA_FIELDS_MAX + 1; i++) {
        fields[i] = before[0];
    }
    item->field = fields;
    item->n_field = SAGA_FIELDS_MAX + 1;
    expect_refused(set, SAGA_ERR_LIMIT, "SAGA_FIELDS_MAX");
    item->field = before;
    item->n_field = before_count;
    free(fields);
    close_set(set);
}

static void test_load_when_types_go_in_circles_then_no_harm(void **state)
{
    (void)state;
    file_set *set = open_set();
    /* An item holds an order, which holds items. */
    field_proto *field = find_message(set, "order/v1/order.proto", "OrderItem")->field[0];
    field->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE;
    set_text(&field->type_name, ".order.v1.Order");
    struct saga_schema *schema = NULL;
    assert_int_equal(load_set(set, &schema, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_schema_decl_count(schema), 2); /* and their hashes came to an end */
    saga_schema_free(schema);
    close_set(set);
}

/* Walks everything that a schema shows, so that a pointer gone wrong is noticed. */
static size_t walk(const struct saga_schema *schema)
{
    size_t sum = 0;
    struct saga_buf out = {0};
    for (size_t i = 0; i < saga_schema_message_count(schema); i++) {
        const struct saga_message_type *type = saga_schema_message_at(schema, i);
        sum += strlen(type->name) + strlen(type->comment) + strlen(type->file);
        for (size_t f = 0; f < type->field_count; f++) {
            const struct saga_field *field = &type->fields[f];
            sum += strlen(field->name) + strlen(field->json_name) + strlen(field->comment);
            sum += field->message != NULL ? strlen(field->message->name) : 0;
            sum += field->enumeration != NULL ? field->enumeration->value_count : 0;
        }
    }
    for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        for (size_t s = 0; s < decl->step_count; s++) {
            struct saga_bytes context = saga_bytes_text("\x08\x01\x10\x02");
            assert_int_equal(saga_bind_build(&decl->steps[s].call_bind, context, &out),
                             SAGA_ERR_OK);
            sum += saga_when_holds(&decl->steps[s].when, context);
        }
    }
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        sum += strlen(finding->code) + strlen(finding->where) + strlen(finding->message);
    }
    saga_buf_fini(&out);
    return sum;
}

static void load_exact(const uint8_t *data, size_t size, size_t *loaded)
{
    uint8_t *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {""};
    enum saga_err err = saga_schema_load((struct saga_bytes){copy, size}, &schema, &detail);
    free(copy);
    if (err == SAGA_ERR_OK) {
        assert_true(walk(schema) + 1 > 0);
        saga_schema_free(schema);
        (*loaded)++;
    } else {
        assert_true(err == SAGA_ERR_MALFORMED || err == SAGA_ERR_INVALID || err == SAGA_ERR_LIMIT);
        assert_true(detail.text[0] != '\0');
    }
}

static void small_set(struct saga_buf *bytes)
{
    file_set *set = open_set();
    shrink(set);
    assert_int_equal(saga_message_encode(&set->base, bytes), SAGA_ERR_OK);
    close_set(set);
}

static void test_load_when_cut_at_any_byte_then_no_harm(void **state)
{
    (void)state;
    struct saga_buf bytes = {0};
    size_t loaded = 0;
    small_set(&bytes);
    assert_true(bytes.size > 5000);
    for (size_t size = 0; size < bytes.size; size += size % 7 + 1) {
        load_exact(bytes.data, size, &loaded);
    }
    assert_true(loaded < 20); /* only between files */
    saga_buf_fini(&bytes);
}

static void test_load_when_bytes_are_mutated_then_no_harm(void **state)
{
    (void)state;
    struct saga_buf bytes = {0};
    uint64_t seed = 99;
    size_t loaded = 0;
    small_set(&bytes);
    for (int i = 0; i < MUTATIONS; i++) {
        size_t at[4];
        uint8_t old[4];
        size_t count = 1 + (size_t)saga_prng_below(&seed, 4);
        for (size_t m = 0; m < count; m++) {
            at[m] = (size_t)saga_prng_below(&seed, bytes.size);
            old[m] = bytes.data[at[m]];
            bytes.data[at[m]] = (uint8_t)saga_prng_next(&seed);
        }
        load_exact(bytes.data, bytes.size, &loaded);
        for (size_t m = count; m > 0; m--) {
            bytes.data[at[m - 1]] = old[m - 1];
        }
    }
    assert_true(loaded > 0); /* some bytes are only text */
    saga_buf_fini(&bytes);
}

/* ---- Hashes and the option ---- */

static void hash_of(const file_set *set, uint8_t hash[SAGA_HASH_SIZE])
{
    struct saga_schema *schema = NULL;
    assert_int_equal(load_set(set, &schema, NULL), SAGA_ERR_OK);
    const struct saga_decl *decl = saga_schema_decl(schema, "create-order");
    assert_non_null(decl);
    memcpy(hash, decl->hash, SAGA_HASH_SIZE);
    saga_schema_free(schema);
}

static void expect_hash(const file_set *set, const uint8_t *before, bool same)
{
    uint8_t hash[SAGA_HASH_SIZE];
    hash_of(set, hash);
    assert_int_equal(memcmp(hash, before, SAGA_HASH_SIZE) == 0, same);
}

static void test_hash_when_what_does_not_count_changes_then_the_same(void **state)
{
    (void)state;
    uint8_t before[SAGA_HASH_SIZE];
    file_set *set = open_set();
    hash_of(set, before);
    file_proto *first = set->file[0]; /* the order of files */
    set->file[0] = set->file[set->n_file - 1];
    set->file[set->n_file - 1] = first;
    expect_hash(set, before, true);
    message_proto *item = find_message(set, "order/v1/order.proto", "OrderItem");
    field_proto *field = item->field[0]; /* the order of fields */
    item->field[0] = item->field[1];
    item->field[1] = field;
    expect_hash(set, before, true);
    drop_source_info(set); /* comments and places */
    expect_hash(set, before, true);
    set_text(&find_message(set, "order/v1/order.proto", "ListOrdersRequest")->field[1]->name,
             "most");
    expect_hash(set, before, true); /* a message that the saga does not use */
    close_set(set);
}

static void test_hash_when_what_counts_changes_then_another(void **state)
{
    (void)state;
    uint8_t before[SAGA_HASH_SIZE];
    file_set *set = open_set();
    hash_of(set, before);
    field_proto *quantity = find_message(set, "order/v1/order.proto", "OrderItem")->field[1];
    quantity->number = 9; /* deep in the context */
    expect_hash(set, before, false);
    quantity->number = 2;
    expect_hash(set, before, true);
    quantity->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SINT32;
    expect_hash(set, before, false);
    quantity->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT32;
    set_text(&quantity->name, "amount");
    expect_hash(set, before, false);
    set_text(&quantity->name, "quantity");
    expect_hash(set, before, true);
    find_message(set, "payment/v1/payment.proto", "RefundPaymentRequest")->field[0]->number = 2;
    expect_hash(set, before, false); /* an undo's request */
    close_set(set);
}

/* The option of a message as protobuf-c keeps it: an unknown field whose data begins with its size.
 */
static Google__Protobuf__MessageOptions *context_options(file_set *set)
{
    message_proto *context = find_message(set, "order/v1/create_order.proto", "CreateOrder");
    assert_int_equal(context->options->base.n_unknown_fields, 1);
    assert_int_equal(context->options->base.unknown_fields[0].tag, 50100);
    return context->options;
}

static void test_option_when_it_comes_in_parts_then_merged(void **state)
{
    (void)state;
    uint8_t before[SAGA_HASH_SIZE];
    file_set *set = open_set();
    hash_of(set, before);
    ProtobufCMessage *options = &context_options(set)->base;
    ProtobufCMessageUnknownField *whole = options->unknown_fields;
    /* name: "create-order" is the first field: 2 + 12 bytes; behind a size of 2 bytes. */
    assert_memory_equal(whole->data + 2,
                        "\x0a\x0c"
                        "create-order",
                        14);
    size_t rest = whole->len - 2 - 14;
    uint8_t *first = malloc(15);
    uint8_t *second = malloc(rest + 2);
    assert_non_null(first);
    assert_non_null(second);
    first[0] = 14;
    memcpy(first + 1, whole->data + 2, 14);
    second[0] = (uint8_t)((rest & 0x7f) | 0x80);
    second[1] = (uint8_t)(rest >> 7);
    memcpy(second + 2, whole->data + 16, rest);
    ProtobufCMessageUnknownField parts[2] = {
        {.tag = 50100, .wire_type = whole->wire_type, .len = 15, .data = first},
        {.tag = 50100, .wire_type = whole->wire_type, .len = rest + 2, .data = second},
    };
    options->unknown_fields = parts;
    options->n_unknown_fields = 2;
    expect_hash(set, before, true);
    options->unknown_fields = whole;
    options->n_unknown_fields = 1;
    free(first);
    free(second);
    close_set(set);
}

static void test_option_when_malformed_then_refused(void **state)
{
    (void)state;
    file_set *set = open_set();
    ProtobufCMessageUnknownField *field = context_options(set)->base.unknown_fields;
    field->data[2] = 0x0f; /* no such wire type */
    expect_refused(set, SAGA_ERR_MALFORMED, "of order.v1.CreateOrder is malformed");
    close_set(set);
}

static void test_definitions_when_more_than_the_limit_then_refused(void **state)
{
    (void)state;
    file_set *set = open_set();
    file_proto *file = find_file(set, "order/v1/create_order.proto");
    message_proto **before = file->message_type;
    size_t before_count = file->n_message_type;
    message_proto copies[SAGA_DEFINITIONS_MAX + 1];
    message_proto *list[SAGA_DEFINITIONS_MAX + 1];
    char names[SAGA_DEFINITIONS_MAX + 1][16];
    for (size_t i = 0; i < SAGA_DEFINITIONS_MAX + 1; i++) {
        copies[i] = *before[0];
        (void)snprintf(names[i], sizeof names[i], "Saga%zu", i);
        copies[i].name = names[i];
        list[i] = &copies[i];
    }
    file->message_type = list;
    file->n_message_type = SAGA_DEFINITIONS_MAX + 1;
    expect_refused(set, SAGA_ERR_LIMIT, "SAGA_DEFINITIONS_MAX");
    file->n_message_type = SAGA_DEFINITIONS_MAX; /* they all have one name: one stands */
    struct saga_schema *schema = NULL;
    assert_int_equal(load_set(set, &schema, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_schema_decl_count(schema), 1);
    assert_int_equal(saga_schema_finding_count(schema), SAGA_DEFINITIONS_MAX - 1);
    saga_schema_free(schema);
    file->message_type = before;
    file->n_message_type = before_count;
    close_set(set);
}

static void test_findings_when_there_is_no_source_info_then_without_place(void **state)
{
    (void)state;
    file_set *set = open_set();
    drop_source_info(set);
    field_proto *field =
        find_message(set, "payment/v1/payment.proto", "AuthorizePaymentRequest")->field[2];
    set_text(&field->name, "cents");
    struct saga_schema *schema = NULL;
    assert_int_equal(load_set(set, &schema, NULL), SAGA_ERR_OK);
    assert_int_equal(saga_schema_decl_count(schema), 0);
    assert_int_equal(saga_schema_finding_count(schema), 2);
    const struct saga_finding *finding = saga_schema_finding_at(schema, 0);
    assert_string_equal(finding->code, "SAGA018");
    assert_string_equal(finding->file, "order/v1/create_order.proto");
    assert_int_equal(finding->line, 0);
    assert_string_equal(finding->where, "order.v1.CreateOrder step \"payment\"");
    saga_schema_free(schema);
    close_set(set);
}

/* ---- Checking messages ---- */

static void check_message(const struct saga_schema *schema, const char *type,
                          struct saga_bytes bytes, const char *wrong)
{
    struct saga_err_detail detail = {""};
    enum saga_err err = saga_message_check(saga_schema_message(schema, type), bytes, &detail);
    if (wrong == NULL) {
        assert_int_equal(err, SAGA_ERR_OK);
    } else {
        assert_int_equal(err, SAGA_ERR_MALFORMED);
        assert_string_equal(detail.text, wrong);
    }
}

static void test_message_check_when_wrong_then_the_field_is_named(void **state)
{
    (void)state;
    struct saga_schema *schema = load_committed();
    const char *order = "order.v1.CreateOrder";
    struct saga_bytes none = {0};
    check_message(schema, order, none, NULL);
    check_message(schema, order, saga_bytes_text("\x08\x01\x1a\x04\x08\x01\x10\x02"), NULL);
    check_message(schema, order, saga_bytes_text("\x78\x01"), NULL); /* unknown field */
    check_message(schema, order, saga_bytes_text("\x08"),
                  "order.v1.CreateOrder: the message is malformed");
    check_message(schema, order, saga_bytes_text("\x0a\x01x"),
                  "order.v1.CreateOrder: order_id has another type");
    check_message(schema, order, saga_bytes_text("\x1a\x02\x0a\x01"),
                  "order.v1.CreateOrder: items is malformed");
    check_message(schema, order, saga_bytes_text("\x1a\x03\x12\x01x"),
                  "order.v1.CreateOrder: items.quantity has another type");
    check_message(schema, order, saga_bytes_text("\x2a\x01\xff"),
                  "order.v1.CreateOrder: ticket_id is not UTF-8");
    saga_schema_free(schema);
}

static void test_message_check_when_packed_then_elements_are_checked(void **state)
{
    (void)state;
    struct saga_schema *schema = load_committed();
    const char *location = "google.protobuf.SourceCodeInfo.Location";
    check_message(schema, location, saga_bytes_text("\x0a\x03\x01\x96\x01\x08\x05"), NULL);
    check_message(schema, location, saga_bytes_text("\x0a\x02\x01\x96"),
                  "google.protobuf.SourceCodeInfo.Location: path has another type");
    saga_schema_free(schema);
}

static void test_message_check_when_nested_too_deep_then_refused(void **state)
{
    (void)state;
    struct saga_schema *schema = load_committed();
    uint8_t bytes[4 * SAGA_MESSAGE_DEPTH_MAX];
    size_t size = 0;
    /* DescriptorProto.nested_type = 3, from the inside out */
    for (size_t depth = 1; depth <= SAGA_MESSAGE_DEPTH_MAX; depth++) {
        size_t head = size < 0x80 ? 2 : 3;
        struct saga_err_detail detail = {""};
        const struct saga_message_type *type =
            saga_schema_message(schema, "google.protobuf.DescriptorProto");
        assert_int_equal(saga_message_check(type, (struct saga_bytes){bytes, size}, &detail),
                         SAGA_ERR_OK);
        memmove(bytes + head, bytes, size);
        bytes[0] = 0x1a;
        bytes[1] = (uint8_t)(head == 2 ? size : (size & 0x7f) | 0x80);
        if (head == 3) {
            bytes[2] = (uint8_t)(size >> 7);
        }
        size += head;
    }
    struct saga_err_detail detail = {""};
    assert_int_equal(
        saga_message_check(saga_schema_message(schema, "google.protobuf.DescriptorProto"),
                           (struct saga_bytes){bytes, size}, &detail),
        SAGA_ERR_MALFORMED);
    assert_non_null(strstr(detail.text, "too deep"));
    saga_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_when_the_set_is_empty_then_an_empty_schema),
        cmocka_unit_test(test_find_when_there_then_what_was_declared),
        cmocka_unit_test(test_find_when_not_there_then_null),
        cmocka_unit_test(test_fields_when_packed_or_in_a_oneof_or_a_map_then_told),
        cmocka_unit_test(test_load_when_not_a_set_then_malformed),
        cmocka_unit_test(test_load_when_too_large_then_limit),
        cmocka_unit_test(test_load_when_there_are_absurdly_many_messages_then_malformed),
        cmocka_unit_test(test_load_when_a_type_is_missing_then_it_is_named),
        cmocka_unit_test(test_load_when_a_name_is_wrong_then_refused),
        cmocka_unit_test(test_load_when_declared_twice_then_refused),
        cmocka_unit_test(test_load_when_a_number_or_type_is_absurd_then_refused),
        cmocka_unit_test(test_load_when_a_message_has_too_many_fields_then_limit),
        cmocka_unit_test(test_load_when_types_go_in_circles_then_no_harm),
        cmocka_unit_test(test_load_when_cut_at_any_byte_then_no_harm),
        cmocka_unit_test(test_load_when_bytes_are_mutated_then_no_harm),
        cmocka_unit_test(test_hash_when_what_does_not_count_changes_then_the_same),
        cmocka_unit_test(test_hash_when_what_counts_changes_then_another),
        cmocka_unit_test(test_option_when_it_comes_in_parts_then_merged),
        cmocka_unit_test(test_option_when_malformed_then_refused),
        cmocka_unit_test(test_definitions_when_more_than_the_limit_then_refused),
        cmocka_unit_test(test_findings_when_there_is_no_source_info_then_without_place),
        cmocka_unit_test(test_message_check_when_wrong_then_the_field_is_named),
        cmocka_unit_test(test_message_check_when_packed_then_elements_are_checked),
        cmocka_unit_test(test_message_check_when_nested_too_deep_then_refused),
    };
    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
