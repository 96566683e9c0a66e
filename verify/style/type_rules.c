/* Rules of messages, fields, oneofs and enums. Recursion is over nested types and bounded: decoding
 * bounds the nesting (SAGA_MESSAGE_DEPTH_MAX). */
#include <stdlib.h>
#include <string.h>

#include "verify/style/style_internal.h"

enum { NAME_SIZE = SAGA_TYPE_NAME_MAX + 1 };

/* Gives whether a comment stands above the element; true where nobody can know. */
static bool has_comment(const struct saga_style_at *at)
{
    const struct saga_source *source = &at->run->sources[at->file];
    const saga_location *location = saga_source_find(source, &at->path);
    if (location == NULL) {
        return source->count == 0;
    }
    const char *text = saga_style_text(location->leading_comments);
    return text[strspn(text, " \t\r\n")] != '\0';
}

static void judge_comment(const struct saga_style_at *at, size_t rule, const char *what)
{
    if (!has_comment(at)) {
        saga_style_add(at, rule, 0,
                       "the %s has no comment; say above it what it means to those who use it",
                       what);
    }
}

/* ---- Enums ---- */

static void judge_value(struct saga_style_at *at, const char *name, const char *prefix)
{
    char wanted[NAME_SIZE];
    if (!saga_style_is_upper_snake(name)) {
        saga_style_snake(name, true, wanted, sizeof wanted);
        saga_style_add(at, SAGA_STYLE_ENUM_VALUE_UPPER_SNAKE_CASE, SAGA_STYLE_NAME,
                       "the value's name is not UPPER_SNAKE_CASE; call it %.200s", wanted);
    }
    size_t size = strlen(prefix);
    if (strncmp(name, prefix, size) != 0 || name[size] != '_') {
        saga_style_add(at, SAGA_STYLE_ENUM_VALUE_PREFIX, SAGA_STYLE_NAME,
                       "values of all enums of a scope share their names, and this one does not "
                       "begin with its enum's; call it %.200s_%.200s",
                       prefix, name);
    }
    judge_comment(at, SAGA_STYLE_COMMENT_ENUM_VALUE, "value");
}

static void judge_values(struct saga_style_at *at, const raw_enum *type, const char *prefix)
{
    bool zero_judged = false;
    for (size_t i = 0; i < type->n_value; i++) {
        const char *name = saga_style_text(type->value[i]->name);
        size_t size = saga_style_enter(at, SAGA_STYLE_ENUM_VALUE, i, name);
        judge_value(at, name, prefix);
        if (i == 0 && type->value[i]->number != 0) {
            saga_style_add(at, SAGA_STYLE_ENUM_FIRST_VALUE_ZERO, SAGA_STYLE_NAME,
                           "the first value is %d, and it is what a field has that was never set; "
                           "put %.200s_UNSPECIFIED = 0 before it",
                           (int)type->value[i]->number, prefix);
        }
        if (type->value[i]->number == 0 && !zero_judged) {
            zero_judged = true;
            if (!saga_style_ends_with(name, "_UNSPECIFIED")) {
                saga_style_add(at, SAGA_STYLE_ENUM_ZERO_VALUE_SUFFIX, SAGA_STYLE_NAME,
                               "0 is what a field has that was never set, so it should mean "
                               "nothing else; call it %.200s_UNSPECIFIED, and give %.200s a number "
                               "of its own",
                               prefix, name);
            }
        }
        saga_style_leave(at, size);
    }
}

static void judge_enum(struct saga_style_at *at, int kind, size_t index, const raw_enum *type)
{
    const char *name = saga_style_text(type->name);
    size_t size = saga_style_enter(at, kind, index, name);
    char wanted[NAME_SIZE];
    if (!saga_style_is_pascal(name)) {
        saga_style_pascal(name, wanted, sizeof wanted);
        saga_style_add(at, SAGA_STYLE_ENUM_PASCAL_CASE, SAGA_STYLE_NAME,
                       "the enum's name is not PascalCase; call it %.200s", wanted);
    }
    if (type->options != NULL && type->options->has_allow_alias && type->options->allow_alias) {
        size_t inner = saga_style_enter(at, SAGA_STYLE_ENUM_OPTIONS, SAGA_STYLE_ENUM_OPTIONS_ALIAS,
                                        "allow_alias");
        saga_style_add(at, SAGA_STYLE_ENUM_NO_ALLOW_ALIAS, 0,
                       "two names for one number cannot be told apart when read back; take "
                       "allow_alias and the second name out");
        saga_style_leave(at, inner);
    }
    judge_comment(at, SAGA_STYLE_COMMENT_ENUM, "enum");
    saga_style_snake(name, true, wanted, sizeof wanted);
    judge_values(at, type, wanted);
    saga_style_leave(at, size);
}

/* ---- Fields ---- */

static void judge_field(struct saga_style_at *at, int kind, size_t index, const raw_field *field)
{
    const char *name = saga_style_text(field->name);
    size_t size = saga_style_enter(at, kind, index, name);
    if (!saga_style_is_lower_snake(name, strlen(name))) {
        char wanted[NAME_SIZE];
        saga_style_snake(name, false, wanted, sizeof wanted);
        saga_style_add(at, SAGA_STYLE_FIELD_LOWER_SNAKE_CASE, SAGA_STYLE_NAME,
                       "the field's name is not lower_snake_case; call it %.200s", wanted);
    }
    if (field->has_label &&
        field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED) {
        saga_style_add(at, SAGA_STYLE_FIELD_NOT_REQUIRED, SAGA_STYLE_FIELD_LABEL,
                       "a required field can never be taken out again, whoever is without it "
                       "cannot be read; make it optional");
    }
    judge_comment(at, SAGA_STYLE_COMMENT_FIELD, "field");
    saga_style_leave(at, size);
}

static void judge_fields(struct saga_style_at *at, const raw_message *type)
{
    for (size_t i = 0; i < type->n_field; i++) {
        judge_field(at, SAGA_STYLE_MESSAGE_FIELD, i, type->field[i]);
    }
    for (size_t i = 0; i < type->n_extension; i++) {
        judge_field(at, SAGA_STYLE_MESSAGE_EXTENSION, i, type->extension[i]);
    }
}

/* protoc makes a oneof of each `optional` of proto3: nobody wrote its name. Gives by index, for
 * those of `count` that it can hold, whether a oneof is such a one. */
static bool is_synthetic(const raw_message *type, size_t oneof)
{
    for (size_t i = 0; i < type->n_field; i++) {
        const raw_field *field = type->field[i];
        if (field->has_oneof_index && field->oneof_index >= 0 &&
            (size_t)field->oneof_index == oneof) {
            return field->has_proto3_optional && field->proto3_optional;
        }
    }
    return false;
}

static void judge_oneofs(struct saga_style_at *at, const raw_message *type)
{
    for (size_t i = 0; i < type->n_oneof_decl; i++) {
        const char *name = saga_style_text(type->oneof_decl[i]->name);
        if (is_synthetic(type, i)) {
            continue;
        }
        size_t size = saga_style_enter(at, SAGA_STYLE_MESSAGE_ONEOF, i, name);
        if (!saga_style_is_lower_snake(name, strlen(name))) {
            char wanted[NAME_SIZE];
            saga_style_snake(name, false, wanted, sizeof wanted);
            saga_style_add(at, SAGA_STYLE_ONEOF_LOWER_SNAKE_CASE, SAGA_STYLE_NAME,
                           "the oneof's name is not lower_snake_case; call it %.200s", wanted);
        }
        judge_comment(at, SAGA_STYLE_COMMENT_ONEOF, "oneof");
        saga_style_leave(at, size);
    }
}

/* ---- Messages ---- */

static void judge_message(struct saga_style_at *at, int kind, size_t index, const raw_message *type)
{
    const char *name = saga_style_text(type->name);
    if (type->options != NULL && type->options->has_map_entry && type->options->map_entry) {
        return; /* protoc's */
    }
    size_t size = saga_style_enter(at, kind, index, name);
    if (!saga_style_is_pascal(name)) {
        char wanted[NAME_SIZE];
        saga_style_pascal(name, wanted, sizeof wanted);
        saga_style_add(at, SAGA_STYLE_MESSAGE_PASCAL_CASE, SAGA_STYLE_NAME,
                       "the message's name is not PascalCase; call it %.200s", wanted);
    }
    judge_comment(at, SAGA_STYLE_COMMENT_MESSAGE, "message");
    judge_fields(at, type);
    judge_oneofs(at, type);
    for (size_t i = 0; i < type->n_enum_type; i++) {
        judge_enum(at, SAGA_STYLE_MESSAGE_ENUM, i, type->enum_type[i]);
    }
    for (size_t i = 0; i < type->n_nested_type; i++) {
        judge_message(at, SAGA_STYLE_MESSAGE_NESTED, i, type->nested_type[i]);
    }
    saga_style_leave(at, size);
}

void saga_style_types(struct saga_style_run *run, size_t index)
{
    const raw_file *file = run->set->file[index];
    struct saga_style_at at = saga_style_at_file(run, index);
    for (size_t i = 0; i < file->n_message_type; i++) {
        judge_message(&at, SAGA_STYLE_FILE_MESSAGE, i, file->message_type[i]);
    }
    for (size_t i = 0; i < file->n_enum_type; i++) {
        judge_enum(&at, SAGA_STYLE_FILE_ENUM, i, file->enum_type[i]);
    }
    for (size_t i = 0; i < file->n_extension; i++) {
        judge_field(&at, SAGA_STYLE_FILE_EXTENSION, i, file->extension[i]);
    }
}

/* ---- Services ---- */

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot == NULL ? name : dot + 1;
}

/* Tells whether a type is called METHODRequest or SERVICEMETHODRequest. */
static bool is_standard(const char *type, const char *service, const char *method, const char *tail)
{
    const char *rest = last_part(type);
    size_t service_size = strlen(service);
    size_t method_size = strlen(method);
    for (int round = 0; round < 2; round++) {
        if (strncmp(rest, method, method_size) == 0 && strcmp(rest + method_size, tail) == 0) {
            return true;
        }
        if (strncmp(rest, service, service_size) != 0) {
            return false;
        }
        rest += service_size;
    }
    return false;
}

static void judge_method(struct saga_style_at *at, const char *service, const raw_method *method)
{
    const char *name = saga_style_text(method->name);
    const char *input = saga_style_text(method->input_type);
    const char *output = saga_style_text(method->output_type);
    char wanted[NAME_SIZE];
    saga_style_pascal(name, wanted, sizeof wanted);
    if (!saga_style_is_pascal(name)) {
        saga_style_add(at, SAGA_STYLE_RPC_PASCAL_CASE, SAGA_STYLE_NAME,
                       "the method's name is not PascalCase; call it %.200s", wanted);
    }
    if (!is_standard(input, service, wanted, "Request")) {
        saga_style_add(at, SAGA_STYLE_RPC_REQUEST_STANDARD_NAME, SAGA_STYLE_METHOD_INPUT,
                       "the request is %.200s; call it %.200sRequest, so that it can grow with "
                       "this method alone",
                       last_part(input), wanted);
    }
    if (!is_standard(output, service, wanted, "Response")) {
        saga_style_add(at, SAGA_STYLE_RPC_RESPONSE_STANDARD_NAME, SAGA_STYLE_METHOD_OUTPUT,
                       "the response is %.200s; call it %.200sResponse, so that it can grow with "
                       "this method alone",
                       last_part(output), wanted);
    }
    judge_comment(at, SAGA_STYLE_COMMENT_RPC, "method");
}

void saga_style_services(struct saga_style_run *run, size_t index)
{
    const raw_file *file = run->set->file[index];
    struct saga_style_at at = saga_style_at_file(run, index);
    for (size_t i = 0; i < file->n_service; i++) {
        const raw_service *service = file->service[i];
        const char *name = saga_style_text(service->name);
        char wanted[NAME_SIZE];
        size_t size = saga_style_enter(&at, SAGA_STYLE_FILE_SERVICE, i, name);
        saga_style_pascal(name, wanted, sizeof wanted);
        if (!saga_style_is_pascal(name)) {
            saga_style_add(&at, SAGA_STYLE_SERVICE_PASCAL_CASE, SAGA_STYLE_NAME,
                           "the service's name is not PascalCase; call it %.200s", wanted);
        }
        if (!saga_style_ends_with(name, "Service")) {
            saga_style_add(&at, SAGA_STYLE_SERVICE_SUFFIX, SAGA_STYLE_NAME,
                           "the service's name does not end in Service, which tells it from "
                           "messages; call it %.200sService",
                           wanted);
        }
        judge_comment(&at, SAGA_STYLE_COMMENT_SERVICE, "service");
        for (size_t k = 0; k < service->n_method; k++) {
            const char *method = saga_style_text(service->method[k]->name);
            size_t inner = saga_style_enter(&at, SAGA_STYLE_SERVICE_METHOD, k, method);
            judge_method(&at, name, service->method[k]);
            saga_style_leave(&at, inner);
        }
        saga_style_leave(&at, size);
    }
}

/* ---- Requests and responses of one method alone ---- */

/* A use of a type by a method. */
struct use {
    const char *type;
    size_t file, service, method;
    int part; /* SAGA_STYLE_METHOD_INPUT, or OUTPUT */
};

static int compare_uses(const void *a, const void *b)
{
    const struct use *left = a;
    const struct use *right = b;
    int order = strcmp(left->type, right->type);
    if (order == 0) {
        order = (left->file > right->file) - (left->file < right->file);
    }
    if (order == 0) {
        order = (left->service > right->service) - (left->service < right->service);
    }
    if (order == 0) {
        order = (left->method > right->method) - (left->method < right->method);
    }
    return order == 0 ? (left->part > right->part) - (left->part < right->part) : order;
}

static size_t count_methods(const struct saga_style_run *run)
{
    size_t count = 0;
    for (size_t i = 0; i < run->set->n_file; i++) {
        for (size_t k = 0; k < run->set->file[i]->n_service; k++) {
            count += run->set->file[i]->service[k]->n_method;
        }
    }
    return count;
}

static void tell_shared(struct saga_style_run *run, const struct use *use, const struct use *other)
{
    const raw_service *service = run->set->file[use->file]->service[use->service];
    const raw_service *others = run->set->file[other->file]->service[other->service];
    struct saga_style_at at = saga_style_at_file(run, use->file);
    (void)saga_style_enter(&at, SAGA_STYLE_FILE_SERVICE, use->service,
                           saga_style_text(service->name));
    (void)saga_style_enter(&at, SAGA_STYLE_SERVICE_METHOD, use->method,
                           saga_style_text(service->method[use->method]->name));
    saga_style_add(&at, SAGA_STYLE_RPC_REQUEST_RESPONSE_UNIQUE, use->part,
                   "%.200s is the %s here and the %s of %.100s.%.100s too, so that neither can "
                   "change alone; give each a message of its own",
                   use->type[0] == '.' ? use->type + 1 : use->type,
                   use->part == SAGA_STYLE_METHOD_INPUT ? "request" : "response",
                   other->part == SAGA_STYLE_METHOD_INPUT ? "request" : "response",
                   saga_style_text(others->name),
                   saga_style_text(others->method[other->method]->name));
}

void saga_style_unique(struct saga_style_run *run)
{
    struct use *uses = saga_style_take(run, 2 * count_methods(run), sizeof *uses);
    size_t count = 0;
    if (uses == NULL) {
        return;
    }
    for (size_t i = 0; i < run->set->n_file; i++) {
        for (size_t k = 0; k < run->set->file[i]->n_service; k++) {
            const raw_service *service = run->set->file[i]->service[k];
            for (size_t m = 0; m < service->n_method; m++) {
                uses[count++] = (struct use){saga_style_text(service->method[m]->input_type), i, k,
                                             m, SAGA_STYLE_METHOD_INPUT};
                uses[count++] = (struct use){saga_style_text(service->method[m]->output_type), i, k,
                                             m, SAGA_STYLE_METHOD_OUTPUT};
            }
        }
    }
    qsort(uses, count, sizeof *uses, compare_uses);
    for (size_t i = 0; i < count; i++) {
        bool before = i > 0 && strcmp(uses[i - 1].type, uses[i].type) == 0;
        bool behind = i + 1 < count && strcmp(uses[i + 1].type, uses[i].type) == 0;
        if (before || behind) {
            tell_shared(run, &uses[i], before ? &uses[i - 1] : &uses[i + 1]);
        }
    }
}
