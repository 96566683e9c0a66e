/* Checks wire bytes against a type of the schema, without recursion and without memory. */
#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/wire/schema.h"
#include "common/wire/wire.h"

struct level {
    struct saga_wire_reader reader;
    const struct saga_message_type *type;
    const struct saga_field *field; /* that it stands in; NULL: the message itself */
};

/* Writes the path of a field: "items.quantity". */
static enum saga_err refuse(const struct level *levels, size_t depth,
                            const struct saga_field *field, const char *what,
                            struct saga_err_detail *detail)
{
    char path[SAGA_ERR_DETAIL_SIZE] = "";
    size_t at = 0;
    for (size_t i = 1; i < depth && at < sizeof path; i++) {
        at += (size_t)snprintf(path + at, sizeof path - at, "%s%s", at == 0 ? "" : ".",
                               levels[i].field->name);
    }
    if (field != NULL && at < sizeof path) {
        (void)snprintf(path + at, sizeof path - at, "%s%s", at == 0 ? "" : ".", field->name);
    }
    return saga_err_set(detail, SAGA_ERR_MALFORMED, "%s: %.120s %s", levels[0].type->name,
                        path[0] == '\0' ? "the message" : path, what);
}

enum saga_wire_type saga_field_wire_type(enum saga_field_type type)
{
    switch (type) {
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_SFIXED64:
        return SAGA_WIRE_FIXED64;
    case SAGA_FIELD_FLOAT:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_SFIXED32:
        return SAGA_WIRE_FIXED32;
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_BYTES:
    case SAGA_FIELD_MESSAGE:
        return SAGA_WIRE_LEN;
    case SAGA_FIELD_GROUP:
        return SAGA_WIRE_GROUP;
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_BOOL:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_ENUM:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_SINT64:
        break;
    }
    return SAGA_WIRE_VARINT;
}

static bool packed_good(enum saga_wire_type element, struct saga_bytes bytes)
{
    if (element == SAGA_WIRE_FIXED64 || element == SAGA_WIRE_FIXED32) {
        return bytes.size % (element == SAGA_WIRE_FIXED64 ? 8 : 4) == 0;
    }
    struct saga_wire_reader reader = saga_wire_read(bytes);
    while (reader.at != reader.end) {
        uint64_t value = 0;
        if (!saga_wire_varint(&reader, &value)) {
            return false;
        }
    }
    return true;
}

/* Returns NULL, or what is wrong with a known field, its nested message excepted. */
static const char *check_field(const struct saga_field *known, const struct saga_wire_field *field)
{
    enum saga_wire_type expected = saga_field_wire_type(known->type);
    if (field->type != expected) {
        bool packed = known->repeated && field->type == SAGA_WIRE_LEN &&
                      expected != SAGA_WIRE_GROUP && expected != SAGA_WIRE_LEN;
        return packed && packed_good(expected, field->bytes) ? NULL : "has another type";
    }
    if (known->type == SAGA_FIELD_STRING && !saga_wire_utf8(field->bytes)) {
        return "is not UTF-8";
    }
    return NULL;
}

enum saga_err saga_message_check(const struct saga_message_type *type, struct saga_bytes bytes,
                                 struct saga_err_detail *detail)
{
    struct level levels[SAGA_MESSAGE_DEPTH_MAX];
    size_t depth = 0;
    levels[depth++] = (struct level){saga_wire_read(bytes), type, NULL};
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        struct saga_wire_field field;
        enum saga_wire_next next = saga_wire_next(&level->reader, &field);
        if (next == SAGA_WIRE_NEXT_MALFORMED) {
            return refuse(levels, depth, NULL, "is malformed", detail);
        }
        if (next == SAGA_WIRE_NEXT_END) {
            depth--;
            continue;
        }
        const struct saga_field *known = saga_message_field_by_number(level->type, field.number);
        if (known == NULL) {
            continue;
        }
        const char *wrong = check_field(known, &field);
        if (wrong != NULL) {
            return refuse(levels, depth, known, wrong, detail);
        }
        if (known->message != NULL) {
            if (depth == SAGA_MESSAGE_DEPTH_MAX) {
                return refuse(levels, depth, NULL, "is nested too deep (SAGA_MESSAGE_DEPTH_MAX)",
                              detail);
            }
            levels[depth++] = (struct level){saga_wire_read(field.bytes), known->message, known};
        }
    }
    return SAGA_ERR_OK;
}
