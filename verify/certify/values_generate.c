/* Values made of nothing but a request's type. They look valid: texts are not empty, numbers are
 * small and positive, an enum has its first value that is not 0, a list has one element.
 *
 * A field that call and undo have both (same name, same type) is what ties the undo to its call: it
 * gets a placeholder, so that each saga has another. */
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "verify/certify/internal.h"

enum { NEST_MAX = 4, SMALL_MAX = 3 };

/* Messages whose JSON is no object of their fields. */
struct known {
    const char *name;
    const char *json; /* NULL: left out */
};

static const struct known known_types[] = {
    {"google.protobuf.Timestamp", "\"2026-01-31T10:00:00Z\""},
    {"google.protobuf.Duration", "\"1s\""},
    {"google.protobuf.FieldMask", "\"\""},
    {"google.protobuf.Struct", "{}"},
    {"google.protobuf.Value", "\"certify\""},
    {"google.protobuf.ListValue", "[]"},
    {"google.protobuf.Empty", "{}"},
    {"google.protobuf.Any", NULL},
    {"google.protobuf.StringValue", "\"certify\""},
    {"google.protobuf.BytesValue", "\"Y2VydGlmeQ==\""},
    {"google.protobuf.BoolValue", "true"},
    {"google.protobuf.Int32Value", "1"},
    {"google.protobuf.UInt32Value", "1"},
    {"google.protobuf.Int64Value", "\"1\""},
    {"google.protobuf.UInt64Value", "\"1\""},
    {"google.protobuf.DoubleValue", "1"},
    {"google.protobuf.FloatValue", "1"},
};

static const struct known *known_find(const char *name)
{
    for (size_t i = 0; i < sizeof known_types / sizeof known_types[0]; i++) {
        if (strcmp(known_types[i].name, name) == 0) {
            return &known_types[i];
        }
    }
    return NULL;
}

static json_t *enum_value(const struct saga_enum_type *type)
{
    for (size_t i = 0; i < type->value_count; i++) {
        if (type->values[i].number != 0) {
            return json_string(type->values[i].name);
        }
    }
    return json_integer(0);
}

/* A number or text; NULL for a message. */
static json_t *scalar(const struct saga_field *field, bool tied, uint64_t *random)
{
    switch (field->type) {
    case SAGA_FIELD_BOOL:
        return json_true();
    case SAGA_FIELD_STRING:
        return json_string(tied ? "${text}" : "certify");
    case SAGA_FIELD_BYTES:
        return json_string("Y2VydGlmeQ==");
    case SAGA_FIELD_ENUM:
        return enum_value(field->enumeration);
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
        return json_real(1.0 + (double)saga_prng_below(random, SMALL_MAX));
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_SINT64:
        return tied ? json_string("${id}")
                    : json_integer(1 + (json_int_t)saga_prng_below(random, SMALL_MAX));
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_SINT32:
        return tied ? json_string("${id32}")
                    : json_integer(1 + (json_int_t)saga_prng_below(random, SMALL_MAX));
    case SAGA_FIELD_GROUP:
    case SAGA_FIELD_MESSAGE:
        break;
    }
    return NULL;
}

static json_t *message(const struct saga_message_type *type, const struct saga_message_type *shared,
                       unsigned depth, uint64_t *random);

static bool is_message(const struct saga_field *field)
{
    return field->type == SAGA_FIELD_MESSAGE || field->type == SAGA_FIELD_GROUP;
}

/* Gives one value; *left_out: the field is better not there. */
static json_t *element(const struct saga_field *field, bool tied, unsigned depth, uint64_t *random,
                       bool *left_out)
{
    if (!is_message(field)) {
        return scalar(field, tied, random);
    }
    const struct known *known = known_find(field->message->name);
    if (known != NULL && known->json != NULL) {
        return json_loads(known->json, JSON_DECODE_ANY, NULL);
    }
    if (known != NULL || depth + 1 >= NEST_MAX || field->type == SAGA_FIELD_GROUP) {
        *left_out = true;
        return NULL;
    }
    return message(field->message, NULL, depth + 1, random);
}

static bool is_tied(const struct saga_field *field, const struct saga_message_type *shared)
{
    const struct saga_field *other =
        shared == NULL ? NULL : saga_message_field(shared, field->name);
    return other != NULL && !field->repeated && !other->repeated && other->type == field->type;
}

/* Adds a field's value; false: no memory. */
static bool add_field(json_t *made, const struct saga_field *field, bool tied, unsigned depth,
                      uint64_t *random)
{
    bool left_out = false;
    if (field->map) {
        return true; /* an empty map is as good as any */
    }
    json_t *value = element(field, tied, depth, random, &left_out);
    if (left_out) {
        return true;
    }
    if (value != NULL && field->repeated) {
        value = json_pack("[o]", value);
    }
    return value != NULL && json_object_set_new(made, field->name, value) == 0;
}

/* At most NEST_MAX deep. */
static json_t *message(const struct saga_message_type *type, const struct saga_message_type *shared,
                       unsigned depth, uint64_t *random)
{
    json_t *made = json_object();
    uint64_t oneofs = 0; /* those that have a member already */
    for (size_t i = 0; made != NULL && i < type->field_count; i++) {
        const struct saga_field *field = &type->fields[i];
        if (field->oneof && field->oneof_index < 64) {
            uint64_t bit = UINT64_C(1) << field->oneof_index;
            if ((oneofs & bit) != 0) {
                continue;
            }
            oneofs |= bit;
        }
        if (!add_field(made, field, is_tied(field, shared), depth, random)) {
            json_decref(made);
            made = NULL;
        }
    }
    return made;
}

json_t *certify_values_generate(const struct saga_message_type *type,
                                const struct saga_message_type *shared, uint64_t *random)
{
    const struct known *known = known_find(type->name);
    return known == NULL ? message(type, shared, 0, random) : json_object();
}
