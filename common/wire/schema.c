/* The schema's door: load, find, walk. */
#include "common/wire/schema.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/message.h"
#include "common/wire/schema_internal.h"

void *saga_arena_take_zero(struct saga_arena *arena, size_t count, size_t size)
{
    SAGA_ASSERT(size > 0);
    if (count > SIZE_MAX / 2 / size) {
        return NULL;
    }
    void *memory = saga_arena_take(arena, count * size);
    if (memory != NULL) {
        memset(memory, 0, count * size);
    }
    return memory;
}

char *saga_arena_text(struct saga_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = saga_arena_take(arena, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

static enum saga_err load(struct saga_loader *loader, struct saga_bytes descriptor_set)
{
    const ProtobufCMessageDescriptor *type = &google__protobuf__file_descriptor_set__descriptor;
    if (descriptor_set.size > SAGA_DESCRIPTOR_SET_SIZE_MAX) {
        return saga_err_set(loader->detail, SAGA_ERR_LIMIT,
                            "descriptor set has %zu bytes, limit %d (SAGA_DESCRIPTOR_SET_SIZE_MAX)",
                            descriptor_set.size, SAGA_DESCRIPTOR_SET_SIZE_MAX);
    }
    ProtobufCMessage *set = NULL;
    enum saga_err err = saga_message_unpack(type, descriptor_set, &loader->scratch, &set);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(loader->detail, err, "not a FileDescriptorSet");
    }
    loader->set = (const Google__Protobuf__FileDescriptorSet *)set;
    err = loader->stored ? SAGA_ERR_OK : saga_load_files(loader);
    if (err == SAGA_ERR_OK) {
        err = saga_load_types(loader);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_load_links(loader);
    }
    return err == SAGA_ERR_OK ? saga_lint_all(loader) : err;
}

static enum saga_err load_as(bool stored, struct saga_bytes descriptor_set,
                             struct saga_schema **schema, struct saga_err_detail *detail)
{
    struct saga_loader loader = {
        .schema = calloc(1, sizeof *loader.schema), .detail = detail, .stored = stored};
    if (loader.schema == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "schema: out of memory");
    }
    enum saga_err err = load(&loader, descriptor_set);
    saga_arena_fini(&loader.scratch);
    if (err != SAGA_ERR_OK) {
        saga_schema_free(loader.schema);
        if (err == SAGA_ERR_NO_MEMORY) {
            (void)saga_err_set(detail, err, "out of memory");
        }
        return saga_err_wrap(detail, err, "schema");
    }
    *schema = loader.schema;
    return SAGA_ERR_OK;
}

enum saga_err saga_schema_load(struct saga_bytes descriptor_set, struct saga_schema **schema,
                               struct saga_err_detail *detail)
{
    return load_as(false, descriptor_set, schema, detail);
}

enum saga_err saga_schema_load_stored(struct saga_bytes descriptor_set, struct saga_schema **schema,
                                      struct saga_err_detail *detail)
{
    return load_as(true, descriptor_set, schema, detail);
}

void saga_schema_free(struct saga_schema *schema)
{
    if (schema != NULL) {
        saga_arena_fini(&schema->arena);
        free(schema);
    }
}

bool saga_schema_find(const struct saga_schema *schema, const char *name, enum saga_name_kind kind,
                      size_t *index)
{
    size_t low = 0;
    size_t high = schema->name_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(schema->names[middle].name, name);
        if (order == 0) {
            *index = schema->names[middle].index;
            return schema->names[middle].kind == kind;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

const struct saga_message_type *saga_schema_message(const struct saga_schema *schema,
                                                    const char *name)
{
    size_t index = 0;
    bool there = saga_schema_find(schema, name, SAGA_NAME_MESSAGE, &index);
    return there ? &schema->messages[index] : NULL;
}

const struct saga_enum_type *saga_schema_enum(const struct saga_schema *schema, const char *name)
{
    size_t index = 0;
    bool there = saga_schema_find(schema, name, SAGA_NAME_ENUM, &index);
    return there ? &schema->enums[index] : NULL;
}

const struct saga_service *saga_schema_service(const struct saga_schema *schema, const char *name)
{
    size_t index = 0;
    bool there = saga_schema_find(schema, name, SAGA_NAME_SERVICE, &index);
    return there ? &schema->services[index] : NULL;
}

const struct saga_method *saga_schema_method(const struct saga_schema *schema,
                                             const char *full_name)
{
    const char *slash = strchr(full_name, '/');
    char name[SAGA_METHOD_NAME_MAX + 1];
    if (slash == NULL || (size_t)(slash - full_name) >= sizeof name) {
        return NULL;
    }
    size_t size = (size_t)(slash - full_name);
    memcpy(name, full_name, size);
    name[size] = '\0';
    const struct saga_service *service = saga_schema_service(schema, name);
    for (size_t i = 0; service != NULL && i < service->method_count; i++) {
        if (strcmp(service->methods[i].name, slash + 1) == 0) {
            return &service->methods[i];
        }
    }
    return NULL;
}

const struct saga_field *saga_message_field(const struct saga_message_type *type, const char *name)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (strcmp(type->fields[i].name, name) == 0) {
            return &type->fields[i];
        }
    }
    return NULL;
}

const struct saga_field *saga_message_field_by_number(const struct saga_message_type *type,
                                                      uint32_t number)
{
    /* Most types number their fields from 1 in a row. */
    if (number >= 1 && number <= type->field_count && type->fields[number - 1].number == number) {
        return &type->fields[number - 1];
    }
    for (size_t i = 0; i < type->field_count; i++) {
        if (type->fields[i].number == number) {
            return &type->fields[i];
        }
    }
    return NULL;
}

size_t saga_schema_service_count(const struct saga_schema *schema)
{
    return schema->service_count;
}

const struct saga_service *saga_schema_service_at(const struct saga_schema *schema, size_t index)
{
    SAGA_ASSERT(index < schema->service_count);
    return &schema->services[index];
}

size_t saga_schema_message_count(const struct saga_schema *schema)
{
    return schema->message_count;
}

const struct saga_message_type *saga_schema_message_at(const struct saga_schema *schema,
                                                       size_t index)
{
    SAGA_ASSERT(index < schema->message_count);
    return &schema->messages[index];
}

size_t saga_schema_decl_count(const struct saga_schema *schema)
{
    return schema->decl_count;
}

const struct saga_decl *saga_schema_decl_at(const struct saga_schema *schema, size_t index)
{
    SAGA_ASSERT(index < schema->decl_count);
    return &schema->decls[index];
}

const struct saga_decl *saga_schema_decl(const struct saga_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->decl_count; i++) {
        if (strcmp(schema->decls[i].name, name) == 0) {
            return &schema->decls[i];
        }
    }
    return NULL;
}

size_t saga_schema_finding_count(const struct saga_schema *schema)
{
    return schema->finding_count;
}

const struct saga_finding *saga_schema_finding_at(const struct saga_schema *schema, size_t index)
{
    SAGA_ASSERT(index < schema->finding_count);
    return &schema->findings[index];
}
