/* A template of a message: what could be written into each field. Names are those of the .proto,
 * by which a saga's data flows. */
#include <string.h>

#include "common/wire/json/json_internal.h"

enum { TEMPLATE_DEPTH_MAX = 3, TEMPLATE_INDENT = 2 };

static void print_type(struct saga_json_writer *writer, const struct saga_message_type *type,
                       unsigned depth);

/* The first value that says something. */
static void print_enum(struct saga_json_writer *writer, const struct saga_field *field)
{
    const struct saga_enum_type *type = field->enumeration;
    if (saga_json_is_null_value(field)) {
        saga_json_literal(writer, "null");
        return;
    }
    const char *name = NULL;
    for (size_t i = 0; type != NULL && i < type->value_count; i++) {
        if (name == NULL || type->values[i].number != 0) {
            name = type->values[i].name;
        }
        if (type->values[i].number != 0) {
            break;
        }
    }
    if (name == NULL) {
        saga_json_literal(writer, "0");
    } else {
        saga_json_quoted(writer, name);
    }
}

static void print_value(struct saga_json_writer *writer, const struct saga_field *field,
                        unsigned depth)
{
    switch (field->type) {
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_BYTES:
        saga_json_quoted(writer, "");
        break;
    case SAGA_FIELD_BOOL:
        saga_json_literal(writer, "false");
        break;
    case SAGA_FIELD_ENUM:
        print_enum(writer, field);
        break;
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_SINT64:
        saga_json_quoted(writer, "0");
        break;
    case SAGA_FIELD_MESSAGE:
        print_type(writer, field->message, depth + 1);
        break;
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_GROUP: /* left out before */
        saga_json_literal(writer, "0");
        break;
    }
}

static void print_map(struct saga_json_writer *writer, const struct saga_field *field,
                      unsigned depth)
{
    const struct saga_field *key = NULL;
    const struct saga_field *value = NULL;
    saga_json_open(writer, '{');
    if (saga_json_entry(field->message, &key, &value)) {
        const char *name = key->type == SAGA_FIELD_STRING ? "key" : "0";
        saga_json_key(writer, saga_bytes_text(key->type == SAGA_FIELD_BOOL ? "true" : name));
        print_value(writer, value, depth);
    }
    saga_json_close(writer, '}');
}

/* Tells whether a field is shown: no group, of a oneof only the first, no message deeper than the
 * bound. */
static bool is_shown(const struct saga_message_type *type, size_t index, unsigned depth)
{
    const struct saga_field *field = &type->fields[index];
    if (field->type == SAGA_FIELD_GROUP ||
        (field->message != NULL && depth >= TEMPLATE_DEPTH_MAX)) {
        return false;
    }
    for (size_t i = 0; field->oneof && i < index; i++) {
        if (type->fields[i].oneof && type->fields[i].oneof_index == field->oneof_index) {
            return false;
        }
    }
    return true;
}

static void print_fields(struct saga_json_writer *writer, const struct saga_message_type *type,
                         unsigned depth)
{
    saga_json_open(writer, '{');
    for (size_t i = 0; i < type->field_count; i++) {
        const struct saga_field *field = &type->fields[i];
        if (!is_shown(type, i, depth)) {
            continue;
        }
        saga_json_key(writer, saga_bytes_text(field->name));
        if (field->map && field->message != NULL) {
            print_map(writer, field, depth);
        } else if (field->repeated) {
            saga_json_open(writer, '[');
            print_value(writer, field, depth);
            saga_json_close(writer, ']');
        } else {
            print_value(writer, field, depth);
        }
    }
    saga_json_close(writer, '}');
}

static void print_type(struct saga_json_writer *writer, const struct saga_message_type *type,
                       unsigned depth)
{
    switch (saga_json_known(type)) {
    case KNOWN_TIMESTAMP:
        saga_json_quoted(writer, "2026-01-31T10:00:00Z");
        return;
    case KNOWN_DURATION:
        saga_json_quoted(writer, "1.5s");
        return;
    case KNOWN_FIELD_MASK:
        saga_json_quoted(writer, "");
        return;
    case KNOWN_VALUE:
        saga_json_literal(writer, "null");
        return;
    case KNOWN_LIST_VALUE:
        saga_json_open(writer, '[');
        saga_json_close(writer, ']');
        return;
    case KNOWN_STRUCT:
    case KNOWN_ANY:
        saga_json_open(writer, '{');
        saga_json_close(writer, '}');
        return;
    case KNOWN_WRAPPER:
        print_value(writer, &type->fields[0], depth);
        return;
    case KNOWN_NONE:
        break;
    }
    print_fields(writer, type, depth);
}

enum saga_err saga_json_template(const struct saga_schema *schema,
                                 const struct saga_message_type *type, struct saga_buf *out)
{
    (void)schema; /* the types know each other */
    struct saga_json_writer writer = {.out = out, .indent = TEMPLATE_INDENT};
    size_t start = out->size;
    print_type(&writer, type, 0);
    if (writer.err != SAGA_ERR_OK) {
        out->size = start;
    }
    return writer.err;
}
