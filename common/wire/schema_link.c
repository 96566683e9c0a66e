/* The second pass of loading: type names become pointers. Names are looked up in the whole set, so
 * that the order of files, and cycles between types, do not matter. */
#include <string.h>

#include "common/wire/schema_internal.h"

static enum saga_err missing(struct saga_loader *loader, const char *type, const char *user)
{
    return saga_err_set(loader->detail, SAGA_ERR_INVALID,
                        "the type %.80s, used by %.100s, is not in the descriptor set",
                        type == NULL || type[0] == '\0' ? "(none)" : type, user);
}

/* Finds what a fully qualified name (".package.Type") stands for. */
static bool find_type(const struct saga_loader *loader, const char *name, enum saga_name_kind kind,
                      size_t *index)
{
    return name != NULL && name[0] == '.' &&
           saga_schema_find(loader->schema, name + 1, kind, index);
}

static bool map_entry(const struct saga_loader *loader, size_t message)
{
    const Google__Protobuf__DescriptorProto *raw = loader->raw[message];
    return raw->options != NULL && raw->options->has_map_entry && raw->options->map_entry;
}

/* A map entry has a key, 1, that is an integer, bool or string, and a value, 2. */
static bool map_good(const struct saga_message_type *entry)
{
    const struct saga_field *key = saga_message_field_by_number(entry, 1);
    const struct saga_field *value = saga_message_field_by_number(entry, 2);
    if (entry->field_count != 2 || key == NULL || value == NULL || key->repeated ||
        value->repeated) {
        return false;
    }
    return key->type != SAGA_FIELD_DOUBLE && key->type != SAGA_FIELD_FLOAT &&
           key->type != SAGA_FIELD_BYTES && key->type != SAGA_FIELD_ENUM &&
           key->type != SAGA_FIELD_MESSAGE && key->type != SAGA_FIELD_GROUP;
}

static enum saga_err link_field(struct saga_loader *loader, const char *type_name,
                                const struct saga_message_type *type, struct saga_field *field)
{
    size_t index = 0;
    if (field->type == SAGA_FIELD_MESSAGE || field->type == SAGA_FIELD_GROUP) {
        if (!find_type(loader, type_name, SAGA_NAME_MESSAGE, &index)) {
            return missing(loader, type_name, type->name);
        }
        field->message = &loader->schema->messages[index];
        field->map = field->repeated && map_entry(loader, index);
        if (map_entry(loader, index) && (!field->repeated || !map_good(field->message))) {
            return saga_err_set(loader->detail, SAGA_ERR_INVALID, "%.150s is not a good map entry",
                                field->message->name);
        }
    } else if (field->type == SAGA_FIELD_ENUM) {
        if (!find_type(loader, type_name, SAGA_NAME_ENUM, &index)) {
            return missing(loader, type_name, type->name);
        }
        field->enumeration = &loader->schema->enums[index];
    }
    return SAGA_ERR_OK;
}

/* The fields of a type while it is being loaded; afterwards they are const for everyone. */
static struct saga_field *fields_of(struct saga_loader *loader, size_t message)
{
    union {
        const struct saga_field *loaded;
        struct saga_field *loading;
    } fields = {.loaded = loader->schema->messages[message].fields};
    return fields.loading;
}

static struct saga_method *methods_of(struct saga_loader *loader, size_t service)
{
    union {
        const struct saga_method *loaded;
        struct saga_method *loading;
    } methods = {.loaded = loader->schema->services[service].methods};
    return methods.loading;
}

static enum saga_err link_method(struct saga_loader *loader,
                                 const Google__Protobuf__MethodDescriptorProto *raw,
                                 struct saga_method *method)
{
    size_t index = 0;
    if (!find_type(loader, raw->input_type, SAGA_NAME_MESSAGE, &index)) {
        return missing(loader, raw->input_type, method->full_name);
    }
    method->request = &loader->schema->messages[index];
    if (!find_type(loader, raw->output_type, SAGA_NAME_MESSAGE, &index)) {
        return missing(loader, raw->output_type, method->full_name);
    }
    method->response = &loader->schema->messages[index];
    return SAGA_ERR_OK;
}

enum saga_err saga_load_links(struct saga_loader *loader)
{
    const struct saga_schema *schema = loader->schema;
    for (size_t m = 0; m < schema->message_count; m++) {
        struct saga_field *fields = fields_of(loader, m);
        for (size_t f = 0; f < schema->messages[m].field_count; f++) {
            const char *type_name = loader->raw[m]->field[f]->type_name;
            enum saga_err err = link_field(loader, type_name, &schema->messages[m], &fields[f]);
            if (err != SAGA_ERR_OK) {
                return err;
            }
        }
    }
    for (size_t s = 0; s < schema->service_count; s++) {
        struct saga_method *methods = methods_of(loader, s);
        for (size_t m = 0; m < schema->services[s].method_count; m++) {
            enum saga_err err =
                link_method(loader, loader->raw_services[s]->method[m], &methods[m]);
            if (err != SAGA_ERR_OK) {
                return err;
            }
        }
    }
    return SAGA_ERR_OK;
}
