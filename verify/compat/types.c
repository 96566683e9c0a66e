/* Pairs of field types: who reads whose values. The facts are protobuf's encoding; a test compares
 * the table with what Google's own implementation does. */
#include <stdint.h>

#include "verify/compat/internal.h"

/* Types that share a wire form and its meaning; what differs is which values they hold. */
enum family {
    FAMILY_VARINT, /* two's complement, 64 bits, cut to the type's own */
    FAMILY_ZIGZAG,
    FAMILY_FIXED32,
    FAMILY_FIXED64,
    FAMILY_FLOAT,
    FAMILY_DOUBLE,
    FAMILY_BYTES, /* size and bytes: string within bytes, a message within bytes */
    FAMILY_GROUP,
};

struct traits {
    enum family family;
    int64_t min;
    uint64_t max;
};

static struct traits traits_of(enum saga_field_type type)
{
    switch (type) {
    case SAGA_FIELD_DOUBLE:
        return (struct traits){FAMILY_DOUBLE, 0, 0};
    case SAGA_FIELD_FLOAT:
        return (struct traits){FAMILY_FLOAT, 0, 0};
    case SAGA_FIELD_INT64:
        return (struct traits){FAMILY_VARINT, INT64_MIN, INT64_MAX};
    case SAGA_FIELD_UINT64:
        return (struct traits){FAMILY_VARINT, 0, UINT64_MAX};
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_ENUM:
        return (struct traits){FAMILY_VARINT, INT32_MIN, INT32_MAX};
    case SAGA_FIELD_UINT32:
        return (struct traits){FAMILY_VARINT, 0, UINT32_MAX};
    case SAGA_FIELD_BOOL:
        return (struct traits){FAMILY_VARINT, 0, 1};
    case SAGA_FIELD_FIXED64:
        return (struct traits){FAMILY_FIXED64, 0, UINT64_MAX};
    case SAGA_FIELD_SFIXED64:
        return (struct traits){FAMILY_FIXED64, INT64_MIN, INT64_MAX};
    case SAGA_FIELD_FIXED32:
        return (struct traits){FAMILY_FIXED32, 0, UINT32_MAX};
    case SAGA_FIELD_SFIXED32:
        return (struct traits){FAMILY_FIXED32, INT32_MIN, INT32_MAX};
    case SAGA_FIELD_SINT32:
        return (struct traits){FAMILY_ZIGZAG, INT32_MIN, INT32_MAX};
    case SAGA_FIELD_SINT64:
        return (struct traits){FAMILY_ZIGZAG, INT64_MIN, INT64_MAX};
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_BYTES:
    case SAGA_FIELD_MESSAGE:
        return (struct traits){FAMILY_BYTES, 0, 0};
    case SAGA_FIELD_GROUP:
        break;
    }
    return (struct traits){FAMILY_GROUP, 0, 0};
}

static bool holds(struct traits inner, struct traits outer)
{
    return outer.min <= inner.min && inner.max <= outer.max;
}

enum saga_compat_fit saga_compat_types_fit(enum saga_field_type from, enum saga_field_type to)
{
    struct traits a = traits_of(from);
    struct traits b = traits_of(to);
    if (from == to) {
        return SAGA_COMPAT_FIT_SAME;
    }
    if (a.family != b.family) {
        return SAGA_COMPAT_FIT_BROKEN;
    }
    if (a.family == FAMILY_BYTES) {
        /* Bytes take any text or message; not any bytes are UTF-8, or a message. */
        return to == SAGA_FIELD_BYTES     ? SAGA_COMPAT_FIT_WIDENED
               : from == SAGA_FIELD_BYTES ? SAGA_COMPAT_FIT_NARROWED
                                          : SAGA_COMPAT_FIT_BROKEN;
    }
    if (!holds(a, b)) {
        return SAGA_COMPAT_FIT_NARROWED;
    }
    return holds(b, a) ? SAGA_COMPAT_FIT_SAME : SAGA_COMPAT_FIT_WIDENED;
}

/* Types whose JSON is read as that of one another: numbers, in quotes or not. */
static int json_family(enum saga_field_type type)
{
    switch (type) {
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_SINT64:
        return 0;
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
        return -1;
    case SAGA_FIELD_BOOL:
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_GROUP:
    case SAGA_FIELD_MESSAGE:
    case SAGA_FIELD_BYTES:
    case SAGA_FIELD_ENUM:
        break;
    }
    return (int)type;
}

bool saga_compat_types_fit_json(enum saga_field_type from, enum saga_field_type to)
{
    return json_family(from) == json_family(to);
}

const char *compat_type_name(const raw_field *field)
{
    static const char *const names[] = {
        "?",       "double",   "float",    "int64",  "uint64", "int32", "fixed64",
        "fixed32", "bool",     "string",   "group",  "",       "bytes", "uint32",
        "",        "sfixed32", "sfixed64", "sint32", "sint64",
    };
    int type = (int)field->type;
    if (type < 1 || type > SAGA_FIELD_SINT64) {
        return names[0];
    }
    return names[type][0] != '\0' ? names[type] : compat_bare(field->type_name);
}
