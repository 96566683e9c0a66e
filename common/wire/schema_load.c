/* FileDescriptorSet -> message, enum and service types: the first pass. Recursion is over nested
 * types and bounded, because the walk before decoding bounds the nesting (SAGA_MESSAGE_DEPTH_MAX).
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/message.h"
#include "common/wire/schema_internal.h"
#include "common/wire/wire.h"

typedef Google__Protobuf__DescriptorProto raw_message;
typedef Google__Protobuf__EnumDescriptorProto raw_enum;
typedef Google__Protobuf__FieldDescriptorProto raw_field;
typedef Google__Protobuf__FileDescriptorProto raw_file;
typedef Google__Protobuf__ServiceDescriptorProto raw_service;
typedef Google__Protobuf__MethodDescriptorProto raw_method;

/* Where the pass is. */
struct cursor {
    struct saga_loader *loader;
    const struct saga_source *source;
    struct saga_path path;
    const char *scope; /* package, or full name of the enclosing message */
    bool proto3;
};

static bool identifier_good(const char *name)
{
    if (name == NULL || name[0] == '\0' || (name[0] >= '0' && name[0] <= '9')) {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
              (*at >= '0' && *at <= '9') || *at == '_')) {
            return false;
        }
    }
    return true;
}

static bool package_good(const char *package)
{
    bool start = true;
    for (const char *at = package; *at != '\0'; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_';
        bool digit = *at >= '0' && *at <= '9';
        if (!(letter || (!start && (digit || *at == '.')))) {
            return false;
        }
        start = *at == '.';
    }
    return package[0] == '\0' || !start;
}

static enum saga_err no_memory(struct saga_loader *loader)
{
    return saga_err_set(loader->detail, SAGA_ERR_NO_MEMORY, "out of memory");
}

static enum saga_err invalid(struct saga_loader *loader, const char *what, const char *where)
{
    return saga_err_set(loader->detail, SAGA_ERR_INVALID, "%s in %.150s", what,
                        where == NULL || where[0] == '\0' ? "the descriptor set" : where);
}

/* ---- Counting ---- */

struct counts {
    size_t messages, enums, services;
};

static void count_messages(raw_message *const *messages, size_t count, struct counts *counts)
{
    for (size_t i = 0; i < count; i++) {
        counts->messages++;
        counts->enums += messages[i]->n_enum_type;
        count_messages(messages[i]->nested_type, messages[i]->n_nested_type, counts);
    }
}

static enum saga_err take_tables(struct saga_loader *loader)
{
    struct counts counts = {0};
    for (size_t i = 0; i < loader->set->n_file; i++) {
        const raw_file *file = loader->set->file[i];
        counts.enums += file->n_enum_type;
        counts.services += file->n_service;
        count_messages(file->message_type, file->n_message_type, &counts);
    }
    struct saga_schema *schema = loader->schema;
    struct saga_arena *arena = &schema->arena;
    struct saga_arena *scratch = &loader->scratch;
    size_t names = counts.messages + counts.enums + counts.services;
    schema->messages = saga_arena_take_zero(arena, counts.messages, sizeof *schema->messages);
    schema->enums = saga_arena_take_zero(arena, counts.enums, sizeof *schema->enums);
    schema->services = saga_arena_take_zero(arena, counts.services, sizeof *schema->services);
    schema->names = saga_arena_take_zero(arena, names, sizeof *schema->names);
    loader->sources = saga_arena_take_zero(scratch, loader->set->n_file, sizeof *loader->sources);
    loader->raw = saga_arena_take_zero(scratch, counts.messages, sizeof(void *));
    loader->raw_services = saga_arena_take_zero(scratch, counts.services, sizeof(void *));
    loader->found = saga_arena_take_zero(scratch, SAGA_DEFINITIONS_MAX, sizeof *loader->found);
    bool good = schema->messages != NULL && schema->enums != NULL && schema->services != NULL &&
                schema->names != NULL && loader->sources != NULL && loader->raw != NULL &&
                loader->raw_services != NULL && loader->found != NULL;
    return good ? SAGA_ERR_OK : no_memory(loader);
}

/* ---- Names, places, options ---- */

/* Joins scope and name. NULL: no memory, or too long (detail is set). */
static const char *full_name(struct cursor *cursor, const char *name, enum saga_err *err)
{
    struct saga_loader *loader = cursor->loader;
    if (!identifier_good(name)) {
        *err = invalid(loader, "a name is missing or is not an identifier", cursor->scope);
        return NULL;
    }
    size_t scope_size = strlen(cursor->scope);
    size_t name_size = strlen(name);
    if (scope_size + 1 + name_size > SAGA_TYPE_NAME_MAX) {
        *err = saga_err_set(loader->detail, SAGA_ERR_LIMIT,
                            "a full name has %zu bytes, limit %d (SAGA_TYPE_NAME_MAX)",
                            scope_size + 1 + name_size, SAGA_TYPE_NAME_MAX);
        return NULL;
    }
    char *full = saga_arena_take(&loader->schema->arena, scope_size + name_size + 2);
    if (full == NULL) {
        *err = no_memory(loader);
        return NULL;
    }
    memcpy(full, cursor->scope, scope_size);
    if (scope_size > 0) {
        full[scope_size++] = '.';
    }
    memcpy(full + scope_size, name, name_size + 1);
    return full;
}

static void add_name(struct saga_schema *schema, const char *name, enum saga_name_kind kind,
                     size_t index)
{
    schema->names[schema->name_count++] = (struct saga_name){name, kind, index};
}

static void push(struct saga_path *path, int32_t kind, size_t index)
{
    SAGA_ASSERT(path->size + 2 <= SAGA_PATH_SIZE_MAX);
    path->at[path->size++] = kind;
    path->at[path->size++] = (int32_t)index;
}

static void pop(struct saga_path *path)
{
    path->size -= 2;
}

static const char *comment_here(struct cursor *cursor)
{
    return saga_source_comment(cursor->source, &cursor->path, &cursor->loader->schema->arena);
}

/* Sums up the occurrences of an unknown field: a message field that comes more than once is merged
 * by being appended. */
static enum saga_err gather_option(const ProtobufCMessage *options, uint32_t number,
                                   struct saga_buf *bytes, bool *there)
{
    for (unsigned i = 0; i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *unknown = &options->unknown_fields[i];
        if (unknown->tag != number) {
            continue;
        }
        /* protobuf-c keeps the size prefix with the data. */
        struct saga_wire_reader reader =
            saga_wire_read((struct saga_bytes){unknown->data, unknown->len});
        uint64_t size = 0;
        if (unknown->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED ||
            !saga_wire_varint(&reader, &size) || size != (uint64_t)(reader.end - reader.at)) {
            return SAGA_ERR_MALFORMED;
        }
        *there = true;
        enum saga_err err = saga_buf_append(bytes, (struct saga_bytes){reader.at, (size_t)size});
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_load_option(struct saga_loader *loader, const ProtobufCMessage *options,
                               uint32_t number, const ProtobufCMessageDescriptor *type,
                               const char *name, ProtobufCMessage **message)
{
    struct saga_buf bytes = {0};
    bool there = false;
    *message = NULL;
    enum saga_err err =
        options == NULL ? SAGA_ERR_OK : gather_option(options, number, &bytes, &there);
    if (err == SAGA_ERR_OK && there) {
        err = saga_message_unpack(type, saga_buf_view(&bytes), &loader->scratch, message);
    }
    saga_buf_fini(&bytes);
    if (err == SAGA_ERR_MALFORMED) {
        return saga_err_set(loader->detail, err, "the option %s of %.150s is malformed", type->name,
                            name);
    }
    return err == SAGA_ERR_OK ? err : no_memory(loader);
}

/* ---- Messages ---- */

/* Writes the JSON name that protoc would give: a letter behind an underscore becomes upper case. */
static char *make_json_name(const char *name, struct saga_arena *arena)
{
    char *json = saga_arena_text(arena, name);
    size_t size = 0;
    bool upper = false;
    for (; json != NULL && *name != '\0'; name++) {
        if (*name == '_') {
            upper = true;
        } else {
            json[size++] = upper ? (char)toupper((unsigned char)*name) : *name;
            upper = false;
        }
    }
    if (json != NULL) {
        json[size] = '\0';
    }
    return json;
}

static bool packable(enum saga_field_type type)
{
    return type != SAGA_FIELD_STRING && type != SAGA_FIELD_BYTES && type != SAGA_FIELD_MESSAGE &&
           type != SAGA_FIELD_GROUP;
}

static bool scalar(enum saga_field_type type)
{
    return type != SAGA_FIELD_MESSAGE && type != SAGA_FIELD_GROUP;
}

static enum saga_err load_field(struct cursor *cursor, const raw_field *raw,
                                struct saga_field *field)
{
    struct saga_loader *loader = cursor->loader;
    struct saga_arena *arena = &loader->schema->arena;
    if (!identifier_good(raw->name) || strlen(raw->name) > SAGA_TYPE_NAME_MAX) {
        return invalid(loader, "a field has no good name", cursor->scope);
    }
    if (!raw->has_number || raw->number < 1 || raw->number > SAGA_FIELD_NUMBER_MAX) {
        return invalid(loader, "a field has no good number", cursor->scope);
    }
    if (!raw->has_type || (int)raw->type < SAGA_FIELD_DOUBLE ||
        (int)raw->type > SAGA_FIELD_SINT64) {
        return invalid(loader, "a field has no known type", cursor->scope);
    }
    field->number = (uint32_t)raw->number;
    field->type = (enum saga_field_type)raw->type;
    field->repeated = raw->has_label &&
                      raw->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
    if (field->repeated && packable(field->type)) {
        bool told = raw->options != NULL && raw->options->has_packed;
        field->packed = told ? raw->options->packed : cursor->proto3;
    }
    if (raw->has_oneof_index) {
        field->oneof = true;
        field->oneof_index = (uint32_t)raw->oneof_index;
    }
    field->presence = !field->repeated && (!cursor->proto3 || field->oneof || !scalar(field->type));
    field->name = saga_arena_text(arena, raw->name);
    bool json_told = raw->json_name != NULL && raw->json_name[0] != '\0';
    field->json_name =
        json_told ? saga_arena_text(arena, raw->json_name) : make_json_name(raw->name, arena);
    field->comment = comment_here(cursor);
    bool good = field->name != NULL && field->json_name != NULL && field->comment != NULL;
    return good ? SAGA_ERR_OK : no_memory(loader);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = (*(const struct saga_field *const *)a)->number;
    uint32_t right = (*(const struct saga_field *const *)b)->number;
    return left < right ? -1 : left > right ? 1 : 0;
}

static int compare_field_names(const void *a, const void *b)
{
    return strcmp((*(const struct saga_field *const *)a)->name,
                  (*(const struct saga_field *const *)b)->name);
}

/* Refuses two fields with one number or one name: what follows relies on either. */
static enum saga_err check_unique(struct saga_loader *loader, const struct saga_message_type *type)
{
    const struct saga_field **fields =
        saga_arena_take_zero(&loader->scratch, type->field_count, sizeof(void *));
    if (fields == NULL) {
        return no_memory(loader);
    }
    for (size_t i = 0; i < type->field_count; i++) {
        fields[i] = &type->fields[i];
    }
    for (int round = 0; round < 2; round++) {
        int (*compare)(const void *, const void *) =
            round == 0 ? compare_numbers : compare_field_names;
        qsort(fields, type->field_count, sizeof(void *), compare);
        for (size_t i = 1; i < type->field_count; i++) {
            if (compare(&fields[i - 1], &fields[i]) == 0) {
                return invalid(loader, "two fields have the same number or name", type->name);
            }
        }
    }
    return SAGA_ERR_OK;
}

static enum saga_err load_fields(struct cursor *cursor, const raw_message *raw,
                                 struct saga_message_type *type)
{
    struct saga_loader *loader = cursor->loader;
    if (raw->n_field > SAGA_FIELDS_MAX) {
        return saga_err_set(loader->detail, SAGA_ERR_LIMIT,
                            "%.100s has %zu fields, limit %d (SAGA_FIELDS_MAX)", type->name,
                            raw->n_field, SAGA_FIELDS_MAX);
    }
    struct saga_field *fields =
        saga_arena_take_zero(&loader->schema->arena, raw->n_field, sizeof *fields);
    if (fields == NULL) {
        return no_memory(loader);
    }
    type->fields = fields;
    for (size_t i = 0; i < raw->n_field; i++) {
        push(&cursor->path, SAGA_PATH_MESSAGE_FIELD, i);
        enum saga_err err = load_field(cursor, raw->field[i], &fields[i]);
        pop(&cursor->path);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        type->field_count = i + 1;
    }
    return check_unique(loader, type);
}

/* Notes where the definition and its steps stand; protoc knows the place of the option, and of its
 * parts only when they are written one by one. */
static void place_definition(struct cursor *cursor, struct saga_found *found)
{
    struct saga_place message = saga_source_place(cursor->source, &cursor->path);
    push(&cursor->path, SAGA_PATH_MESSAGE_OPTIONS, SAGA_OPTION_DEFINITION);
    found->place = saga_source_place(cursor->source, &cursor->path);
    if (found->place.line == 0) {
        found->place = message;
    }
    for (size_t i = 0; i < SAGA_STEPS_MAX; i++) {
        push(&cursor->path, SAGA_PATH_DEFINITION_STEP, i);
        found->steps[i] = saga_source_place(cursor->source, &cursor->path);
        pop(&cursor->path);
        if (found->steps[i].line == 0) {
            found->steps[i] = found->place;
        }
    }
    pop(&cursor->path);
}

static enum saga_err load_definition(struct cursor *cursor, const raw_message *raw,
                                     const struct saga_message_type *type)
{
    struct saga_loader *loader = cursor->loader;
    ProtobufCMessage *option = NULL;
    enum saga_err err = saga_load_option(loader, raw->options == NULL ? NULL : &raw->options->base,
                                         SAGA_OPTION_DEFINITION, &saga__v1__definition__descriptor,
                                         type->name, &option);
    if (err != SAGA_ERR_OK || option == NULL) {
        return err;
    }
    if (loader->found_count == SAGA_DEFINITIONS_MAX) {
        return saga_err_set(loader->detail, SAGA_ERR_LIMIT,
                            "more than %d definitions (SAGA_DEFINITIONS_MAX)",
                            SAGA_DEFINITIONS_MAX);
    }
    struct saga_found *found = &loader->found[loader->found_count++];
    found->context = type;
    found->option = (const Saga__V1__Definition *)option;
    found->file = type->file;
    place_definition(cursor, found);
    return SAGA_ERR_OK;
}

static enum saga_err load_enums(struct cursor *cursor, raw_enum *const *raw, size_t count)
{
    struct saga_loader *loader = cursor->loader;
    struct saga_schema *schema = loader->schema;
    for (size_t i = 0; i < count; i++) {
        enum saga_err err = SAGA_ERR_OK;
        struct saga_enum_type *type = &schema->enums[schema->enum_count];
        type->name = full_name(cursor, raw[i]->name, &err);
        if (type->name == NULL) {
            return err;
        }
        struct saga_enum_value *values =
            saga_arena_take_zero(&schema->arena, raw[i]->n_value, sizeof *values);
        if (values == NULL) {
            return no_memory(loader);
        }
        for (size_t v = 0; v < raw[i]->n_value; v++) {
            const Google__Protobuf__EnumValueDescriptorProto *value = raw[i]->value[v];
            if (!identifier_good(value->name) || !value->has_number) {
                return invalid(loader, "an enum value has no good name or number", type->name);
            }
            values[v].name = saga_arena_text(&schema->arena, value->name);
            values[v].number = value->number;
            if (values[v].name == NULL) {
                return no_memory(loader);
            }
        }
        if (raw[i]->n_value == 0) {
            return invalid(loader, "an enum without values", type->name);
        }
        type->values = values;
        type->value_count = raw[i]->n_value;
        add_name(schema, type->name, SAGA_NAME_ENUM, schema->enum_count++);
    }
    return SAGA_ERR_OK;
}

static enum saga_err load_message(struct cursor *cursor, const raw_message *raw)
{
    struct saga_loader *loader = cursor->loader;
    struct saga_schema *schema = loader->schema;
    enum saga_err err = SAGA_ERR_OK;
    size_t index = schema->message_count++;
    struct saga_message_type *type = &schema->messages[index];
    loader->raw[index] = raw;
    type->file = cursor->source->file;
    type->name = full_name(cursor, raw->name, &err);
    if (type->name == NULL) {
        return err;
    }
    add_name(schema, type->name, SAGA_NAME_MESSAGE, index);
    type->comment = comment_here(cursor);
    if (type->comment == NULL) {
        return no_memory(loader);
    }
    const char *scope = cursor->scope;
    cursor->scope = type->name;
    err = load_fields(cursor, raw, type);
    if (err == SAGA_ERR_OK) {
        err = load_definition(cursor, raw, type);
    }
    if (err == SAGA_ERR_OK) {
        err = load_enums(cursor, raw->enum_type, raw->n_enum_type);
    }
    for (size_t i = 0; err == SAGA_ERR_OK && i < raw->n_nested_type; i++) {
        push(&cursor->path, SAGA_PATH_MESSAGE_NESTED, i);
        err = load_message(cursor, raw->nested_type[i]);
        pop(&cursor->path);
    }
    cursor->scope = scope;
    return err;
}

/* ---- Services ---- */

static enum saga_err load_method(struct cursor *cursor, const raw_method *raw,
                                 const char *service_name, struct saga_method *method)
{
    struct saga_loader *loader = cursor->loader;
    struct saga_arena *arena = &loader->schema->arena;
    if (!identifier_good(raw->name)) {
        return invalid(loader, "a method has no good name", service_name);
    }
    size_t service_size = strlen(service_name);
    size_t name_size = strlen(raw->name);
    if (service_size + 1 + name_size > SAGA_METHOD_NAME_MAX) {
        return saga_err_set(loader->detail, SAGA_ERR_LIMIT,
                            "a method's name has %zu bytes, limit %d (SAGA_METHOD_NAME_MAX)",
                            service_size + 1 + name_size, SAGA_METHOD_NAME_MAX);
    }
    char *full = saga_arena_take(arena, service_size + name_size + 2);
    method->comment = comment_here(cursor);
    if (full == NULL || method->comment == NULL) {
        return no_memory(loader);
    }
    memcpy(full, service_name, service_size);
    full[service_size] = '/';
    memcpy(full + service_size + 1, raw->name, name_size + 1);
    method->full_name = full;
    method->name = full + service_size + 1;
    method->streaming = (raw->has_client_streaming && raw->client_streaming) ||
                        (raw->has_server_streaming && raw->server_streaming);
    method->no_side_effects =
        raw->options != NULL && raw->options->has_idempotency_level &&
        raw->options->idempotency_level ==
            GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__NO_SIDE_EFFECTS;
    return SAGA_ERR_OK;
}

static enum saga_err load_topics(struct saga_loader *loader, const raw_service *raw,
                                 struct saga_service *service)
{
    ProtobufCMessage *option = NULL;
    service->command_topic = "";
    service->reply_topic = "";
    enum saga_err err =
        saga_load_option(loader, raw->options == NULL ? NULL : &raw->options->base,
                         SAGA_OPTION_TOPICS, &saga__v1__topics__descriptor, service->name, &option);
    if (err != SAGA_ERR_OK || option == NULL) {
        return err;
    }
    const Saga__V1__Topics *topics = (const Saga__V1__Topics *)option;
    service->command_topic = saga_arena_text(&loader->schema->arena, topics->command);
    service->reply_topic = saga_arena_text(&loader->schema->arena, topics->reply);
    bool good = service->command_topic != NULL && service->reply_topic != NULL;
    return good ? SAGA_ERR_OK : no_memory(loader);
}

static enum saga_err load_service(struct cursor *cursor, const raw_service *raw)
{
    struct saga_loader *loader = cursor->loader;
    struct saga_schema *schema = loader->schema;
    size_t index = schema->service_count++;
    struct saga_service *service = &schema->services[index];
    enum saga_err err = SAGA_ERR_OK;
    loader->raw_services[index] = raw;
    service->name = full_name(cursor, raw->name, &err);
    if (service->name == NULL) {
        return err;
    }
    add_name(schema, service->name, SAGA_NAME_SERVICE, index);
    service->comment = comment_here(cursor);
    struct saga_method *methods =
        saga_arena_take_zero(&schema->arena, raw->n_method, sizeof *methods);
    if (service->comment == NULL || methods == NULL) {
        return no_memory(loader);
    }
    service->methods = methods;
    for (size_t i = 0; err == SAGA_ERR_OK && i < raw->n_method; i++) {
        push(&cursor->path, SAGA_PATH_SERVICE_METHOD, i);
        err = load_method(cursor, raw->method[i], service->name, &methods[i]);
        pop(&cursor->path);
        service->method_count = i + 1;
    }
    return err == SAGA_ERR_OK ? load_topics(loader, raw, service) : err;
}

/* ---- Files ---- */

static enum saga_err load_file(struct saga_loader *loader, const raw_file *file,
                               struct saga_source *source)
{
    if (!saga_source_open(source, file, &loader->scratch)) {
        return no_memory(loader);
    }
    const char *package = file->package == NULL ? "" : file->package;
    bool proto3 = file->syntax != NULL && strcmp(file->syntax, "proto3") == 0;
    if (!proto3 && file->syntax != NULL && strcmp(file->syntax, "proto2") != 0) {
        return invalid(loader, "a syntax that is neither proto2 nor proto3", file->name);
    }
    if (!package_good(package) || strlen(package) > SAGA_TYPE_NAME_MAX) {
        return invalid(loader, "a package that is not a dotted name", file->name);
    }
    source->file = saga_arena_text(&loader->schema->arena, file->name == NULL ? "" : file->name);
    if (source->file == NULL) {
        return no_memory(loader);
    }
    struct cursor cursor = {.loader = loader, .source = source, .scope = package, .proto3 = proto3};
    enum saga_err err = load_enums(&cursor, file->enum_type, file->n_enum_type);
    for (size_t i = 0; err == SAGA_ERR_OK && i < file->n_message_type; i++) {
        push(&cursor.path, SAGA_PATH_FILE_MESSAGE, i);
        err = load_message(&cursor, file->message_type[i]);
        pop(&cursor.path);
    }
    for (size_t i = 0; err == SAGA_ERR_OK && i < file->n_service; i++) {
        push(&cursor.path, SAGA_PATH_FILE_SERVICE, i);
        err = load_service(&cursor, file->service[i]);
        pop(&cursor.path);
    }
    return err;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct saga_name *)a)->name, ((const struct saga_name *)b)->name);
}

enum saga_err saga_load_types(struct saga_loader *loader)
{
    enum saga_err err = take_tables(loader);
    for (size_t i = 0; err == SAGA_ERR_OK && i < loader->set->n_file; i++) {
        err = load_file(loader, loader->set->file[i], &loader->sources[i]);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_schema *schema = loader->schema;
    qsort(schema->names, schema->name_count, sizeof *schema->names, compare_names);
    for (size_t i = 1; i < schema->name_count; i++) {
        if (strcmp(schema->names[i - 1].name, schema->names[i].name) == 0) {
            return saga_err_set(loader->detail, SAGA_ERR_INVALID, "%.150s is declared twice",
                                schema->names[i].name);
        }
    }
    return SAGA_ERR_OK;
}
