/* wire -> JSON: messages, fields, repeated fields, maps. The wire bytes have been checked against
 * the type before. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/json/json_internal.h"

enum { NUMBER_SIZE = 32 };

static enum saga_err fail(struct saga_json_printer *printer, enum saga_err err, const char *what)
{
    return saga_json_fail(&printer->path, printer->detail, err, "%s", what);
}

/* ---- One value ---- */

static int64_t unzigzag(uint64_t bits)
{
    return (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
}

/* Writes a whole number as text; gives whether JSON must have it in quotes. */
static bool whole_text(enum saga_field_type type, uint64_t bits, char text[NUMBER_SIZE])
{
    int64_t number = (int64_t)bits;
    bool wide = true;
    switch (type) {
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_FIXED64:
        (void)snprintf(text, NUMBER_SIZE, "%" PRIu64, bits);
        return true;
    case SAGA_FIELD_SINT64:
        number = unzigzag(bits);
        break;
    case SAGA_FIELD_SINT32:
        number = unzigzag((uint32_t)bits);
        wide = false;
        break;
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_FIXED32:
        number = (uint32_t)bits;
        wide = false;
        break;
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_ENUM:
        number = (int32_t)(uint32_t)bits; /* more than 32 bits on the wire are cut, as everywhere */
        wide = false;
        break;
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
    case SAGA_FIELD_BOOL:
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_GROUP:
    case SAGA_FIELD_MESSAGE:
    case SAGA_FIELD_BYTES:
        break;
    }
    (void)snprintf(text, NUMBER_SIZE, "%" PRId64, number);
    return wide;
}

static void print_enum(struct saga_json_printer *printer, const struct saga_field *field,
                       uint64_t bits)
{
    int32_t number = (int32_t)(uint32_t)bits;
    if (saga_json_is_null_value(field)) {
        saga_json_literal(&printer->writer, "null");
        return;
    }
    const struct saga_enum_type *type = field->enumeration;
    for (size_t i = 0; type != NULL && i < type->value_count; i++) {
        if (type->values[i].number == number) {
            saga_json_string(&printer->writer, saga_bytes_text(type->values[i].name));
            return;
        }
    }
    char text[NUMBER_SIZE];
    (void)whole_text(SAGA_FIELD_ENUM, bits, text);
    saga_json_literal(&printer->writer, text);
}

static void print_whole(struct saga_json_printer *printer, enum saga_field_type type, uint64_t bits)
{
    char text[NUMBER_SIZE];
    if (whole_text(type, bits, text)) {
        saga_json_quoted(&printer->writer, text);
    } else {
        saga_json_literal(&printer->writer, text);
    }
}

static void print_real(struct saga_json_printer *printer, enum saga_field_type type, uint64_t bits)
{
    if (type == SAGA_FIELD_DOUBLE) {
        double number = 0;
        memcpy(&number, &bits, sizeof number);
        saga_json_double(&printer->writer, number);
    } else {
        uint32_t narrow = (uint32_t)bits;
        float number = 0;
        memcpy(&number, &narrow, sizeof number);
        saga_json_float(&printer->writer, number);
    }
}

enum saga_err saga_json_print_value(struct saga_json_printer *printer,
                                    const struct saga_field *field,
                                    const struct saga_wire_field *value)
{
    switch (field->type) {
    case SAGA_FIELD_STRING:
        saga_json_string(&printer->writer, value->bytes);
        return SAGA_ERR_OK;
    case SAGA_FIELD_BYTES:
        saga_json_base64(&printer->writer, value->bytes);
        return SAGA_ERR_OK;
    case SAGA_FIELD_MESSAGE:
        return saga_json_print_message(printer, field->message, value->bytes);
    case SAGA_FIELD_GROUP:
        return fail(printer, SAGA_ERR_INVALID, "is a group, which has no JSON form");
    case SAGA_FIELD_BOOL:
        saga_json_literal(&printer->writer, value->value != 0 ? "true" : "false");
        return SAGA_ERR_OK;
    case SAGA_FIELD_ENUM:
        print_enum(printer, field, value->value);
        return SAGA_ERR_OK;
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
        print_real(printer, field->type, value->value);
        return SAGA_ERR_OK;
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
        break;
    }
    print_whole(printer, field->type, value->value);
    return SAGA_ERR_OK;
}

/* ---- Where the fields of a message are ---- */

/* The occurrences of one field. */
struct slot {
    const uint8_t *first; /* tag of the first */
    const uint8_t *end;   /* behind the last */
    size_t count;
    size_t leader;  /* of a oneof: its first member in the type */
    size_t current; /* in the leader: the member that came last, plus 1 */
};

static struct saga_bytes range_of(const struct slot *slot)
{
    struct saga_bytes bytes = {.data = slot->first, .size = (size_t)(slot->end - slot->first)};
    return bytes;
}

/* Of a oneof the last member counts, whatever stands before. */
static void note_oneof(const struct saga_message_type *type, struct slot *slots, size_t index)
{
    const struct saga_field *field = &type->fields[index];
    if (slots[index].count == 0) {
        size_t leader = 0;
        while (!type->fields[leader].oneof ||
               type->fields[leader].oneof_index != field->oneof_index) {
            leader++;
        }
        slots[index].leader = leader;
    }
    size_t *current = &slots[slots[index].leader].current;
    if (*current != 0 && *current != index + 1) {
        slots[*current - 1].count = 0;
    }
    *current = index + 1;
}

/* A packed field without elements says no more than its absence. */
static bool empty_packed(const struct saga_field *known, const struct saga_wire_field *field)
{
    return known->repeated && field->type == SAGA_WIRE_LEN && field->bytes.size == 0 &&
           saga_field_wire_type(known->type) != SAGA_WIRE_LEN;
}

/* Finds the fields of a message. Owns: the caller frees *out. */
static enum saga_err find_slots(const struct saga_message_type *type, struct saga_bytes wire,
                                struct slot **out)
{
    struct slot *slots = calloc(type->field_count + 1, sizeof *slots);
    if (slots == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    const uint8_t *start = reader.at;
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        const struct saga_field *known = saga_message_field_by_number(type, field.number);
        if (known != NULL && !empty_packed(known, &field)) {
            size_t index = (size_t)(known - type->fields);
            if (known->oneof) {
                note_oneof(type, slots, index);
            }
            if (slots[index].count == 0) {
                slots[index].first = start;
            }
            slots[index].count++;
            slots[index].end = reader.at;
        }
        start = reader.at;
    }
    *out = slots;
    return SAGA_ERR_OK;
}

/* Gives the next occurrence of a field. */
static bool next_of(struct saga_wire_reader *reader, uint32_t number, struct saga_wire_field *found)
{
    while (saga_wire_next(reader, found) == SAGA_WIRE_NEXT_FIELD) {
        if (found->number == number) {
            return true;
        }
    }
    return false;
}

/* ---- Singular and repeated fields ---- */

/* Finds the value of a field that is there. A message that comes in parts is their sum; of all else
 * the last counts. */
static enum saga_err singular_value(struct saga_json_printer *printer,
                                    const struct saga_field *field, const struct slot *slot,
                                    struct saga_wire_field *value)
{
    struct saga_wire_reader reader = saga_wire_read(range_of(slot));
    struct saga_wire_field part = {0};
    uint8_t *sum = NULL;
    if (field->type == SAGA_FIELD_MESSAGE && slot->count > 1) {
        sum = saga_arena_take(&printer->scratch, (size_t)(slot->end - slot->first));
        if (sum == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
    }
    size_t size = 0;
    while (next_of(&reader, field->number, &part)) {
        *value = part;
        if (sum != NULL && part.bytes.size > 0) {
            memcpy(sum + size, part.bytes.data, part.bytes.size);
            size += part.bytes.size;
        }
    }
    if (sum != NULL) {
        value->bytes = (struct saga_bytes){.data = sum, .size = size};
    }
    return SAGA_ERR_OK;
}

/* Tells whether a value says no more than its absence: some write defaults that they need not. */
static bool says_nothing(const struct saga_field *field, const struct saga_wire_field *value)
{
    if (field->presence) {
        return false;
    }
    switch (field->type) {
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_BYTES:
        return value->bytes.size == 0;
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_ENUM:
        return (uint32_t)value->value == 0; /* the rest of a varint is cut */
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_BOOL:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_SINT64:
        return value->value == 0;
    case SAGA_FIELD_GROUP:
    case SAGA_FIELD_MESSAGE:
        break;
    }
    return false;
}

static enum saga_err print_element(struct saga_json_printer *printer,
                                   const struct saga_field *field,
                                   const struct saga_wire_field *value, size_t index)
{
    size_t path = saga_json_path_index(&printer->path, index);
    enum saga_err err = saga_json_print_value(printer, field, value);
    if (err == SAGA_ERR_OK) {
        saga_json_path_leave(&printer->path, path);
    }
    return err;
}

/* Takes one element out of a packed field. */
static bool next_packed(struct saga_wire_reader *reader, enum saga_wire_type type, uint64_t *value)
{
    if (reader->at == reader->end) {
        return false;
    }
    if (type == SAGA_WIRE_VARINT) {
        return saga_wire_varint(reader, value);
    }
    size_t size = type == SAGA_WIRE_FIXED64 ? 8 : 4;
    *value = 0;
    for (size_t i = 0; i < size; i++) {
        *value |= (uint64_t)*reader->at++ << (8 * i);
    }
    return true;
}

static enum saga_err print_array(struct saga_json_printer *printer, const struct saga_field *field,
                                 const struct slot *slot)
{
    enum saga_wire_type type = saga_field_wire_type(field->type);
    struct saga_wire_reader reader = saga_wire_read(range_of(slot));
    struct saga_wire_field part = {0};
    size_t index = 0;
    enum saga_err err = SAGA_ERR_OK;
    saga_json_open(&printer->writer, '[');
    while (err == SAGA_ERR_OK && next_of(&reader, field->number, &part)) {
        if (part.type == type) {
            err = print_element(printer, field, &part, index++);
            continue;
        }
        SAGA_ASSERT(part.type == SAGA_WIRE_LEN); /* packed: checked before */
        struct saga_wire_reader packed = saga_wire_read(part.bytes);
        struct saga_wire_field element = {.type = type};
        while (err == SAGA_ERR_OK && next_packed(&packed, type, &element.value)) {
            err = print_element(printer, field, &element, index++);
        }
    }
    saga_json_close(&printer->writer, ']');
    return err;
}

/* ---- Maps ---- */

struct entry {
    struct saga_bytes key; /* as text */
    struct saga_wire_field value;
    size_t order;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    size_t size = left->key.size < right->key.size ? left->key.size : right->key.size;
    int order = size == 0 ? 0 : memcmp(left->key.data, right->key.data, size);
    if (order != 0) {
        return order;
    }
    if (left->key.size != right->key.size) {
        return left->key.size < right->key.size ? -1 : 1;
    }
    return left->order < right->order ? -1 : 1;
}

/* Takes an entry apart: the last key and the last value count, and neither need be there. */
static enum saga_err read_entry(struct saga_json_printer *printer, struct saga_bytes wire,
                                const struct saga_field *key_field, struct entry *entry)
{
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    struct saga_wire_field key = {0};
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number == MAP_KEY) {
            key = field;
        } else if (field.number == MAP_VALUE) {
            entry->value = field;
        }
    }
    if (key_field->type == SAGA_FIELD_STRING) {
        entry->key = key.bytes;
        return SAGA_ERR_OK;
    }
    char *text = saga_arena_take(&printer->scratch, NUMBER_SIZE);
    if (text == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    if (key_field->type == SAGA_FIELD_BOOL) {
        (void)snprintf(text, NUMBER_SIZE, "%s", key.value != 0 ? "true" : "false");
    } else {
        (void)whole_text(key_field->type, key.value, text);
    }
    entry->key = saga_bytes_text(text);
    return SAGA_ERR_OK;
}

static enum saga_err print_entry(struct saga_json_printer *printer,
                                 const struct saga_field *value_field, const struct entry *entry)
{
    size_t path = saga_json_path_key(&printer->path, entry->key);
    saga_json_key(&printer->writer, entry->key);
    enum saga_err err = saga_json_print_value(printer, value_field, &entry->value);
    if (err == SAGA_ERR_OK) {
        saga_json_path_leave(&printer->path, path);
    }
    return err;
}

/* Sorts the entries: one map has one text, and of two entries with one key the last counts. */
static enum saga_err print_map(struct saga_json_printer *printer, const struct saga_field *field,
                               const struct slot *slot)
{
    const struct saga_field *key_field = NULL;
    const struct saga_field *value_field = NULL;
    if (!saga_json_entry(field->message, &key_field, &value_field)) {
        return fail(printer, SAGA_ERR_INVALID, "the schema's type of this map is wrong");
    }
    if (printer->depth >= SAGA_JSON_DEPTH_MAX) {
        return fail(printer, SAGA_ERR_LIMIT, "is nested too deep (SAGA_JSON_DEPTH_MAX)");
    }
    struct entry *entries = saga_arena_take(&printer->scratch, (slot->count + 1) * sizeof *entries);
    if (entries == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    struct saga_wire_reader reader = saga_wire_read(range_of(slot));
    struct saga_wire_field part;
    size_t count = 0;
    enum saga_err err = SAGA_ERR_OK;
    while (err == SAGA_ERR_OK && next_of(&reader, field->number, &part)) {
        SAGA_ASSERT(count < slot->count);
        entries[count] = (struct entry){.order = count};
        err = read_entry(printer, part.bytes, key_field, &entries[count]);
        count++;
    }
    qsort(entries, count, sizeof *entries, compare_entries);
    printer->depth++;
    saga_json_open(&printer->writer, '{');
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        if (i + 1 == count || !saga_bytes_equal(entries[i].key, entries[i + 1].key)) {
            err = print_entry(printer, value_field, &entries[i]);
        }
    }
    saga_json_close(&printer->writer, '}');
    printer->depth--;
    return err;
}

enum saga_err saga_json_print_struct(struct saga_json_printer *printer,
                                     const struct saga_message_type *type, struct saga_bytes wire)
{
    struct slot *slots = NULL;
    enum saga_err err = find_slots(type, wire, &slots);
    if (err == SAGA_ERR_OK) {
        const struct saga_field *field = saga_message_field_by_number(type, STRUCT_FIELDS);
        err = print_map(printer, field, &slots[field - type->fields]);
    }
    free(slots);
    return err;
}

/* ---- A message ---- */

static enum saga_err print_default(struct saga_json_printer *printer,
                                   const struct saga_field *field)
{
    if (field->repeated) {
        saga_json_open(&printer->writer, field->map ? '{' : '[');
        saga_json_close(&printer->writer, field->map ? '}' : ']');
        return SAGA_ERR_OK;
    }
    const struct saga_wire_field none = {0};
    return saga_json_print_value(printer, field, &none);
}

static enum saga_err print_field(struct saga_json_printer *printer, const struct saga_field *field,
                                 const struct slot *slot)
{
    bool by_default = slot->count == 0;
    struct saga_wire_field value = {0};
    enum saga_err err = SAGA_ERR_OK;
    if (!by_default && !field->repeated) {
        err = singular_value(printer, field, slot, &value);
        by_default = says_nothing(field, &value);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (by_default && (!printer->options.print_defaults || field->presence)) {
        return SAGA_ERR_OK;
    }
    size_t path = saga_json_path_field(&printer->path, field->name);
    saga_json_key(&printer->writer,
                  saga_bytes_text(printer->options.proto_names ? field->name : field->json_name));
    if (by_default) {
        err = print_default(printer, field);
    } else if (field->map && field->message != NULL) {
        err = print_map(printer, field, slot);
    } else if (field->repeated) {
        err = print_array(printer, field, slot);
    } else {
        err = saga_json_print_value(printer, field, &value);
    }
    if (err == SAGA_ERR_OK) {
        saga_json_path_leave(&printer->path, path);
    }
    return err;
}

enum saga_err saga_json_print_fields(struct saga_json_printer *printer,
                                     const struct saga_message_type *type, struct saga_bytes wire)
{
    struct slot *slots = NULL;
    enum saga_err err = find_slots(type, wire, &slots);
    for (size_t i = 0; i < type->field_count && err == SAGA_ERR_OK; i++) {
        err = print_field(printer, &type->fields[i], &slots[i]);
    }
    free(slots);
    return err;
}

enum saga_err saga_json_print_message(struct saga_json_printer *printer,
                                      const struct saga_message_type *type, struct saga_bytes wire)
{
    if (printer->depth >= SAGA_JSON_DEPTH_MAX) {
        return fail(printer, SAGA_ERR_LIMIT, "is nested too deep (SAGA_JSON_DEPTH_MAX)");
    }
    printer->depth++;
    enum saga_json_known known = saga_json_known(type);
    enum saga_err err = SAGA_ERR_OK;
    if (known != KNOWN_NONE) {
        err = saga_json_print_known(printer, known, type, wire);
    } else {
        saga_json_open(&printer->writer, '{');
        err = saga_json_print_fields(printer, type, wire);
        saga_json_close(&printer->writer, '}');
    }
    printer->depth--;
    return err == SAGA_ERR_OK ? printer->writer.err : err;
}

enum saga_err saga_wire_to_json(const struct saga_schema *schema,
                                const struct saga_message_type *type, struct saga_bytes wire,
                                const struct saga_json_options *options, struct saga_buf *out,
                                struct saga_err_detail *detail)
{
    enum saga_err err = saga_message_check(type, wire, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_json_printer printer = {.schema = schema, .detail = detail};
    if (options != NULL) {
        printer.options = *options;
    }
    printer.writer = (struct saga_json_writer){.out = out, .indent = printer.options.indent};
    size_t start = out->size;
    err = saga_json_print_message(&printer, type, wire);
    saga_arena_fini(&printer.scratch);
    if (err != SAGA_ERR_OK) {
        out->size = start;
    }
    if (err == SAGA_ERR_NO_MEMORY) {
        (void)saga_err_set(detail, err, "out of memory");
    }
    return err;
}
