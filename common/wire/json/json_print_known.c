/* wire -> JSON: messages with a form of their own, Any excepted. */
#include <math.h>
#include <string.h>

#include "common/wire/json/json_internal.h"

static enum saga_err fail(struct saga_json_printer *printer, const char *what)
{
    return saga_json_fail(&printer->path, printer->detail, SAGA_ERR_INVALID, "%s", what);
}

static enum saga_err print_time(struct saga_json_printer *printer, bool is_duration,
                                struct saga_bytes wire)
{
    struct saga_json_time time = {0};
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number == TIME_SECONDS) {
            time.seconds = (int64_t)field.value;
        } else if (field.number == TIME_NANOS) {
            time.nanos = (int32_t)(uint32_t)field.value;
        }
    }
    char text[SAGA_JSON_TIME_SIZE];
    bool good =
        is_duration ? saga_json_duration_print(time, text) : saga_json_timestamp_print(time, text);
    if (!good) {
        return fail(printer, is_duration ? "the duration is out of range: 315576000000 s, "
                                           "999999999 nanoseconds, both of one sign"
                                         : "the time is out of range: the years 1 to 9999, 0 to "
                                           "999999999 nanoseconds");
    }
    saga_json_quoted(&printer->writer, text);
    return SAGA_ERR_OK;
}

/* "user_name.id" -> "userName.id"; false when it would not come back the same. */
static bool append_path(struct saga_bytes path, struct saga_buf *out)
{
    bool upper = false;
    for (size_t i = 0; i < path.size; i++) {
        uint8_t c = path.data[i];
        if ((c >= 'A' && c <= 'Z') || (c != '_' && !saga_json_is_path_char(c))) {
            return false;
        }
        if (upper) {
            if (c < 'a' || c > 'z') {
                return false;
            }
            c = (uint8_t)(c - 'a' + 'A');
            upper = false;
        } else if (c == '_') {
            upper = true;
            continue;
        }
        out->data[out->size++] = c; /* there is room: never longer than the mask */
    }
    return path.size > 0 && !upper;
}

static enum saga_err print_mask(struct saga_json_printer *printer, struct saga_bytes wire)
{
    struct saga_buf text = {0};
    enum saga_err err = saga_buf_reserve(&text, wire.size + 1);
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    bool behind = false;
    while (err == SAGA_ERR_OK && saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number != MASK_PATHS) {
            continue;
        }
        if (behind) {
            text.data[text.size++] = ',';
        }
        behind = true;
        if (!append_path(field.bytes, &text)) {
            err = fail(printer, "a path of the field mask has no lowerCamelCase form");
        }
    }
    if (err == SAGA_ERR_OK) {
        saga_json_string(&printer->writer, saga_buf_view(&text));
    }
    saga_buf_fini(&text);
    return err;
}

/* Finds what a Value holds: the last kind; the parts of a struct or list that follow each other are
 * one. */
static enum saga_err find_kind(struct saga_json_printer *printer, struct saga_bytes wire,
                               struct saga_wire_field *kind)
{
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    uint8_t *sum = NULL;
    memset(kind, 0, sizeof *kind);
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number < VALUE_NULL || field.number > VALUE_LIST) {
            continue;
        }
        if (field.number != kind->number || field.number < VALUE_STRUCT) {
            *kind = field;
            continue;
        }
        if (sum == NULL) {
            sum = saga_arena_take(&printer->scratch, wire.size);
            if (sum == NULL) {
                return SAGA_ERR_NO_MEMORY;
            }
        }
        size_t size = kind->bytes.size;
        if (size > 0 && kind->bytes.data != sum) {
            memcpy(sum, kind->bytes.data, size);
        }
        if (field.bytes.size > 0) {
            memcpy(sum + size, field.bytes.data, field.bytes.size);
        }
        kind->bytes = (struct saga_bytes){.data = sum, .size = size + field.bytes.size};
    }
    return SAGA_ERR_OK;
}

static enum saga_err print_value(struct saga_json_printer *printer,
                                 const struct saga_message_type *type, struct saga_bytes wire)
{
    struct saga_wire_field kind;
    enum saga_err err = find_kind(printer, wire, &kind);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (kind.number == 0 || kind.number == VALUE_NULL) {
        saga_json_literal(&printer->writer, "null");
        return SAGA_ERR_OK;
    }
    if (kind.number == VALUE_NUMBER) {
        double number = 0;
        memcpy(&number, &kind.value, sizeof number);
        if (!isfinite(number)) {
            return fail(printer, "a google.protobuf.Value can be neither NaN nor infinite in JSON");
        }
    }
    return saga_json_print_value(printer, saga_message_field_by_number(type, kind.number), &kind);
}

/* Prints a ListValue: its elements. */
static enum saga_err print_list(struct saga_json_printer *printer,
                                const struct saga_message_type *type, struct saga_bytes wire)
{
    const struct saga_field *values = saga_message_field_by_number(type, LIST_VALUES);
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    size_t index = 0;
    saga_json_open(&printer->writer, '[');
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number != LIST_VALUES) {
            continue;
        }
        size_t path = saga_json_path_index(&printer->path, index++);
        enum saga_err err = saga_json_print_value(printer, values, &field);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        saga_json_path_leave(&printer->path, path);
    }
    saga_json_close(&printer->writer, ']');
    return SAGA_ERR_OK;
}

static enum saga_err print_wrapper(struct saga_json_printer *printer,
                                   const struct saga_message_type *type, struct saga_bytes wire)
{
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    struct saga_wire_field value = {0};
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number == type->fields[0].number) {
            value = field;
        }
    }
    return saga_json_print_value(printer, &type->fields[0], &value);
}

enum saga_err saga_json_print_known(struct saga_json_printer *printer, enum saga_json_known known,
                                    const struct saga_message_type *type, struct saga_bytes wire)
{
    switch (known) {
    case KNOWN_TIMESTAMP:
    case KNOWN_DURATION:
        return print_time(printer, known == KNOWN_DURATION, wire);
    case KNOWN_FIELD_MASK:
        return print_mask(printer, wire);
    case KNOWN_STRUCT:
        return saga_json_print_struct(printer, type, wire);
    case KNOWN_LIST_VALUE:
        return print_list(printer, type, wire);
    case KNOWN_VALUE:
        return print_value(printer, type, wire);
    case KNOWN_WRAPPER:
        return print_wrapper(printer, type, wire);
    case KNOWN_ANY:
        return saga_json_print_any(printer, wire);
    case KNOWN_NONE:
        break;
    }
    return fail(printer, "has no form of its own");
}
