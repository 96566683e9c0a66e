/* Which messages have a form of their own. */
#include <string.h>

#include "common/wire/json/json_internal.h"

static const char prefix[] = "google.protobuf.";

/* A field that the special form relies on. */
static bool has_field(const struct saga_message_type *type, uint32_t number,
                      enum saga_field_type field_type, bool repeated)
{
    const struct saga_field *field = saga_message_field_by_number(type, number);
    return field != NULL && field->type == field_type && field->repeated == repeated;
}

static bool is_wrapper(const struct saga_message_type *type, const char *name)
{
    static const char *const names[] = {"BoolValue",   "BytesValue",  "DoubleValue",
                                        "FloatValue",  "Int32Value",  "Int64Value",
                                        "StringValue", "UInt32Value", "UInt64Value"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return type->field_count == 1 && type->fields[0].number == 1 &&
                   !type->fields[0].repeated && type->fields[0].message == NULL;
        }
    }
    return false;
}

enum saga_json_known saga_json_known(const struct saga_message_type *type)
{
    if (strncmp(type->name, prefix, sizeof prefix - 1) != 0) {
        return KNOWN_NONE;
    }
    const char *name = type->name + sizeof prefix - 1;
    bool time = has_field(type, TIME_SECONDS, SAGA_FIELD_INT64, false) &&
                has_field(type, TIME_NANOS, SAGA_FIELD_INT32, false);
    if (strcmp(name, "Timestamp") == 0 && time) {
        return KNOWN_TIMESTAMP;
    }
    if (strcmp(name, "Duration") == 0 && time) {
        return KNOWN_DURATION;
    }
    if (strcmp(name, "Any") == 0 && has_field(type, ANY_TYPE_URL, SAGA_FIELD_STRING, false) &&
        has_field(type, ANY_VALUE, SAGA_FIELD_BYTES, false)) {
        return KNOWN_ANY;
    }
    if (strcmp(name, "FieldMask") == 0 && has_field(type, MASK_PATHS, SAGA_FIELD_STRING, true)) {
        return KNOWN_FIELD_MASK;
    }
    if (strcmp(name, "Struct") == 0 && has_field(type, STRUCT_FIELDS, SAGA_FIELD_MESSAGE, true)) {
        return KNOWN_STRUCT;
    }
    if (strcmp(name, "ListValue") == 0 && has_field(type, LIST_VALUES, SAGA_FIELD_MESSAGE, true)) {
        return KNOWN_LIST_VALUE;
    }
    if (strcmp(name, "Value") == 0 && has_field(type, VALUE_NULL, SAGA_FIELD_ENUM, false) &&
        has_field(type, VALUE_NUMBER, SAGA_FIELD_DOUBLE, false) &&
        has_field(type, VALUE_STRING, SAGA_FIELD_STRING, false) &&
        has_field(type, VALUE_BOOL, SAGA_FIELD_BOOL, false) &&
        has_field(type, VALUE_STRUCT, SAGA_FIELD_MESSAGE, false) &&
        has_field(type, VALUE_LIST, SAGA_FIELD_MESSAGE, false)) {
        return KNOWN_VALUE;
    }
    return is_wrapper(type, name) ? KNOWN_WRAPPER : KNOWN_NONE;
}

bool saga_json_is_null_value(const struct saga_field *field)
{
    return field->enumeration != NULL &&
           strcmp(field->enumeration->name, "google.protobuf.NullValue") == 0;
}

bool saga_json_entry(const struct saga_message_type *entry, const struct saga_field **key,
                     const struct saga_field **value)
{
    *key = saga_message_field_by_number(entry, MAP_KEY);
    *value = saga_message_field_by_number(entry, MAP_VALUE);
    if (*key == NULL || *value == NULL || (*key)->repeated || (*value)->repeated) {
        return false;
    }
    switch ((*key)->type) {
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
    case SAGA_FIELD_GROUP:
    case SAGA_FIELD_MESSAGE:
    case SAGA_FIELD_BYTES:
    case SAGA_FIELD_ENUM:
        return false;
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_BOOL:
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_SINT64:
        break;
    }
    return true;
}

const struct saga_message_type *saga_json_any_type(const struct saga_schema *schema,
                                                   struct saga_bytes url)
{
    char name[SAGA_TYPE_NAME_MAX + 1];
    size_t slash = url.size;
    while (slash > 0 && url.data[slash - 1] != '/') {
        slash--;
    }
    size_t size = url.size - slash;
    if (slash == 0 || size == 0 || size >= sizeof name) {
        return NULL;
    }
    memcpy(name, url.data + slash, size);
    name[size] = '\0';
    return strlen(name) == size ? saga_schema_message(schema, name) : NULL;
}
