/* Conditions: compiled from text once, then compared with what stands on the wire. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/schema_internal.h"
#include "common/wire/wire.h"

/* Brings what stands on the wire into one form: protobuf cuts numbers of 32 bits to their low half,
 * and any bool but 0 is true. */
static uint64_t normal(enum saga_field_type type, uint64_t value)
{
    if (type == SAGA_FIELD_BOOL) {
        return value != 0;
    }
    if (type == SAGA_FIELD_INT32 || type == SAGA_FIELD_UINT32 || type == SAGA_FIELD_ENUM ||
        type == SAGA_FIELD_SINT32) {
        return value & UINT32_MAX;
    }
    return value;
}

static enum saga_wire_type wire_type(enum saga_field_type type)
{
    if (type == SAGA_FIELD_STRING || type == SAGA_FIELD_BYTES) {
        return SAGA_WIRE_LEN;
    }
    if (type == SAGA_FIELD_DOUBLE || type == SAGA_FIELD_FIXED64 || type == SAGA_FIELD_SFIXED64) {
        return SAGA_WIRE_FIXED64;
    }
    if (type == SAGA_FIELD_FLOAT || type == SAGA_FIELD_FIXED32 || type == SAGA_FIELD_SFIXED32) {
        return SAGA_WIRE_FIXED32;
    }
    return SAGA_WIRE_VARINT;
}

static bool parse_signed(const char *text, int64_t low, int64_t high, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    bool start_good = text[0] == '-' || (text[0] >= '0' && text[0] <= '9');
    *value = parsed;
    return start_good && errno == 0 && *end == '\0' && parsed >= low && parsed <= high;
}

static bool parse_unsigned(const char *text, uint64_t high, uint64_t *value)
{
    char *end = NULL;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    *value = parsed;
    return text[0] >= '0' && text[0] <= '9' && errno == 0 && *end == '\0' && parsed <= high;
}

static bool parse_enum(const struct saga_enum_type *type, const char *text, uint64_t *value)
{
    for (size_t i = 0; i < type->value_count; i++) {
        if (strcmp(type->values[i].name, text) == 0) {
            *value = (uint32_t)type->values[i].number;
            return true;
        }
    }
    return false;
}

static bool parse_bool(const char *text, uint64_t *value)
{
    *value = strcmp(text, "true") == 0;
    return *value == 1 || strcmp(text, "false") == 0;
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

/* Reads a number as it would stand on the wire, in its normal form. */
static const char *parse_number(const struct saga_field *field, const char *text, uint64_t *number)
{
    int64_t value = 0;
    switch (field->type) {
    case SAGA_FIELD_BOOL:
        return parse_bool(text, number) ? NULL : "must be true or false";
    case SAGA_FIELD_ENUM:
        return parse_enum(field->enumeration, text, number) ? NULL
                                                            : "must be the name of an enum value";
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_FIXED32:
        return parse_unsigned(text, UINT32_MAX, number) ? NULL
                                                        : "must be a number of 32 bits, from 0";
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_FIXED64:
        return parse_unsigned(text, UINT64_MAX, number) ? NULL
                                                        : "must be a number of 64 bits, from 0";
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_SFIXED32:
        if (!parse_signed(text, INT32_MIN, INT32_MAX, &value)) {
            return "must be a number of 32 bits";
        }
        *number = field->type == SAGA_FIELD_SINT32 ? zigzag(value) : (uint32_t)value;
        return NULL;
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_SINT64:
    case SAGA_FIELD_SFIXED64:
        if (!parse_signed(text, INT64_MIN, INT64_MAX, &value)) {
            return "must be a number of 64 bits";
        }
        *number = field->type == SAGA_FIELD_SINT64 ? zigzag(value) : (uint64_t)value;
        return NULL;
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
        return "cannot be compared with a floating-point field; leave it empty to ask whether it "
               "is set";
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_BYTES:
    case SAGA_FIELD_MESSAGE:
    case SAGA_FIELD_GROUP:
        break;
    }
    return "cannot be compared with this field";
}

const char *saga_when_compile(const struct saga_field *field, const char *equals,
                              struct saga_arena *arena, struct saga_when *when)
{
    *when = (struct saga_when){.there = true, .field = field->number, .type = field->type};
    when->is_bytes = field->type == SAGA_FIELD_STRING || field->type == SAGA_FIELD_BYTES;
    if (equals[0] == '\0') {
        when->must_be_set = true;
        return NULL;
    }
    if (when->is_bytes) {
        when->bytes = saga_bytes_text(saga_arena_text(arena, equals));
        return when->bytes.data == NULL ? "cannot be kept: out of memory" : NULL;
    }
    const char *wrong = parse_number(field, equals, &when->number);
    when->is_default = wrong == NULL && when->number == 0;
    return wrong;
}

bool saga_when_holds(const struct saga_when *when, struct saga_bytes context)
{
    if (!when->there) {
        return true;
    }
    /* Absent means default; of several the last one counts. */
    uint64_t number = 0;
    struct saga_bytes bytes = {0};
    struct saga_wire_reader reader = saga_wire_read(context);
    struct saga_wire_field field;
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number == when->field && field.type == wire_type(when->type)) {
            number = normal(when->type, field.value);
            bytes = field.bytes;
        }
    }
    if (when->must_be_set) {
        return when->is_bytes ? bytes.size > 0 : number != 0;
    }
    return when->is_bytes ? saga_bytes_equal(bytes, when->bytes) : number == when->number;
}
