/* JSON -> wire: messages with a form of their own, Any excepted. */
#include <ctype.h>
#include <string.h>

#include "common/wire/json/json_internal.h"

static enum saga_err fail(struct saga_json_reader *reader, const char *what)
{
    return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID, "%s", what);
}

static struct saga_bytes string_of(const json_t *value)
{
    struct saga_bytes bytes = {.data = (const uint8_t *)json_string_value(value),
                               .size = json_string_length(value)};
    return bytes;
}

/* Appends a varint field, a default of 0 only if it is to be kept. */
static enum saga_err append_varint(uint32_t number, int64_t value, bool keep_default,
                                   struct saga_buf *out)
{
    if (value == 0 && !keep_default) {
        return SAGA_ERR_OK;
    }
    struct saga_json_scalar scalar = {SAGA_WIRE_VARINT, (uint64_t)value};
    enum saga_err err = saga_json_tag_append(number, SAGA_WIRE_VARINT, out);
    return err == SAGA_ERR_OK ? saga_json_scalar_append(scalar, out) : err;
}

static enum saga_err read_time(struct saga_json_reader *reader, bool is_duration,
                               const json_t *value)
{
    struct saga_json_time time = {0};
    bool good =
        json_is_string(value) && (is_duration ? saga_json_duration_read(string_of(value), &time)
                                              : saga_json_timestamp_read(string_of(value), &time));
    if (!good) {
        return fail(reader, is_duration ? "is not a duration like \"1.5s\""
                                        : "is not a time like \"2026-01-31T10:00:00.5Z\"");
    }
    enum saga_err err = append_varint(TIME_SECONDS, time.seconds, false, reader->out);
    return err == SAGA_ERR_OK ? append_varint(TIME_NANOS, time.nanos, false, reader->out) : err;
}

/* "userName.id" -> "user_name.id" */
static enum saga_err append_path(struct saga_json_reader *reader, struct saga_bytes path)
{
    size_t mark = 0;
    if (path.size == 0) {
        return fail(reader, "a path of a field mask is empty");
    }
    enum saga_err err = saga_json_nest(MASK_PATHS, reader->out, &mark);
    if (err == SAGA_ERR_OK) {
        err = saga_buf_reserve(reader->out, 2 * path.size);
    }
    for (size_t i = 0; i < path.size && err == SAGA_ERR_OK; i++) {
        uint8_t c = path.data[i];
        if (!saga_json_is_path_char(c)) {
            return fail(reader, "a path of a field mask is names in lowerCamelCase with dots "
                                "between them");
        }
        if (c >= 'A' && c <= 'Z') {
            reader->out->data[reader->out->size++] = '_';
            c = (uint8_t)(c - 'A' + 'a');
        }
        reader->out->data[reader->out->size++] = c;
    }
    return err == SAGA_ERR_OK ? saga_json_unnest(mark, reader->out) : err;
}

static enum saga_err read_mask(struct saga_json_reader *reader, const json_t *value)
{
    if (!json_is_string(value)) {
        return fail(reader, "is not a string with paths");
    }
    struct saga_bytes text = string_of(value);
    size_t start = 0;
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i <= text.size && text.size > 0 && err == SAGA_ERR_OK; i++) {
        if (i == text.size || text.data[i] == ',') {
            err = append_path(reader, (struct saga_bytes){text.data + start, i - start});
            start = i + 1;
        }
    }
    return err;
}

static enum saga_err read_value_number(struct saga_json_reader *reader, const json_t *value)
{
    double number = 0;
    const char *wrong = saga_json_double_read(value, reader->source, &number);
    if (wrong != NULL) {
        return fail(reader, wrong);
    }
    struct saga_json_scalar scalar = {.type = SAGA_WIRE_FIXED64};
    memcpy(&scalar.bits, &number, sizeof scalar.bits);
    enum saga_err err = saga_json_tag_append(VALUE_NUMBER, scalar.type, reader->out);
    return err == SAGA_ERR_OK ? saga_json_scalar_append(scalar, reader->out) : err;
}

/* Reads a google.protobuf.Value: any JSON. */
static enum saga_err read_value(struct saga_json_reader *reader,
                                const struct saga_message_type *type, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return append_varint(VALUE_NULL, 0, true, reader->out);
    case JSON_TRUE:
    case JSON_FALSE:
        return append_varint(VALUE_BOOL, json_is_true(value) ? 1 : 0, true, reader->out);
    case JSON_INTEGER:
    case JSON_REAL:
        return read_value_number(reader, value);
    case JSON_STRING:
        return saga_json_bytes_append(VALUE_STRING, string_of(value), reader->out);
    case JSON_OBJECT:
        return saga_json_read_value(reader, saga_message_field_by_number(type, VALUE_STRUCT), value,
                                    true);
    case JSON_ARRAY:
        return saga_json_read_value(reader, saga_message_field_by_number(type, VALUE_LIST), value,
                                    true);
    }
    return fail(reader, "is no JSON");
}

/* Reads a Struct or a ListValue: its only field, without its name. */
static enum saga_err read_only_field(struct saga_json_reader *reader,
                                     const struct saga_message_type *type, const json_t *value,
                                     bool is_list)
{
    if (is_list ? !json_is_array(value) : !json_is_object(value)) {
        return fail(reader, is_list ? "is not an array" : "is not an object");
    }
    const struct saga_field *field = saga_message_field_by_number(type, 1);
    json_t *object = json_object();
    json_t *inner = (json_t *)(uintptr_t)value;
    if (object == NULL || json_object_set(object, field->name, inner) != 0) {
        json_decref(object);
        return SAGA_ERR_NO_MEMORY;
    }
    size_t path = reader->path.size;
    enum saga_err err = saga_json_read_object(reader, type, object, false);
    if (err == SAGA_ERR_OK) {
        saga_json_path_leave(&reader->path, path);
    }
    json_decref(object);
    return err;
}

enum saga_err saga_json_read_known(struct saga_json_reader *reader, enum saga_json_known known,
                                   const struct saga_message_type *type, const json_t *value)
{
    switch (known) {
    case KNOWN_TIMESTAMP:
    case KNOWN_DURATION:
        return read_time(reader, known == KNOWN_DURATION, value);
    case KNOWN_FIELD_MASK:
        return read_mask(reader, value);
    case KNOWN_STRUCT:
    case KNOWN_LIST_VALUE:
        return read_only_field(reader, type, value, known == KNOWN_LIST_VALUE);
    case KNOWN_VALUE:
        return read_value(reader, type, value);
    case KNOWN_WRAPPER:
        return saga_json_read_value(reader, &type->fields[0], value, false);
    case KNOWN_ANY:
        return saga_json_read_any(reader, value);
    case KNOWN_NONE:
        break;
    }
    return saga_json_read_object(reader, type, value, false);
}
