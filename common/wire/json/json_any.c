/* google.protobuf.Any, both ways: {"@type": URL, fields…}, or "value" for a message with a form of
 * its own. */
#include <string.h>

#include "common/wire/json/json_internal.h"

/* ---- Reading ---- */

/* Reads the one member beside "@type". */
static enum saga_err read_special(struct saga_json_reader *reader,
                                  const struct saga_message_type *type, const json_t *value)
{
    const json_t *inner = json_object_get(value, "value");
    if (inner == NULL) {
        return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                              "\"value\" is missing beside \"@type\"");
    }
    if (json_object_size(value) != 2 && !reader->options.ignore_unknown) {
        return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                              "more than \"@type\" and \"value\" for %.100s", type->name);
    }
    size_t path = saga_json_path_field(&reader->path, "value");
    enum saga_err err = saga_json_read_message(reader, type, inner);
    if (err == SAGA_ERR_OK) {
        saga_json_path_leave(&reader->path, path);
    }
    return err;
}

static enum saga_err read_content(struct saga_json_reader *reader,
                                  const struct saga_message_type *type, const json_t *value)
{
    if (saga_json_known(type) != KNOWN_NONE) {
        return read_special(reader, type, value);
    }
    if (reader->depth >= SAGA_JSON_DEPTH_MAX) {
        return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_LIMIT,
                              "is nested too deep (SAGA_JSON_DEPTH_MAX)");
    }
    reader->depth++;
    enum saga_err err = saga_json_read_object(reader, type, value, true);
    reader->depth--;
    return err;
}

enum saga_err saga_json_read_any(struct saga_json_reader *reader, const json_t *value)
{
    if (!json_is_object(value)) {
        return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID, "is not an object");
    }
    if (json_object_size(value) == 0) {
        return SAGA_ERR_OK;
    }
    const json_t *url = json_object_get(value, "@type");
    struct saga_bytes text = {.data = (const uint8_t *)json_string_value(url),
                              .size = json_string_length(url)};
    if (text.data == NULL) {
        return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                              "\"@type\" is missing");
    }
    const struct saga_message_type *type = saga_json_any_type(reader->schema, text);
    if (type == NULL) {
        return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                              "\"@type\": the schema has no type \"%.100s\"",
                              (const char *)text.data);
    }
    enum saga_err err = saga_json_bytes_append(ANY_TYPE_URL, text, reader->out);
    size_t start = reader->out->size;
    size_t mark = 0;
    if (err == SAGA_ERR_OK) {
        err = saga_json_nest(ANY_VALUE, reader->out, &mark);
    }
    if (err == SAGA_ERR_OK) {
        err = read_content(reader, type, value);
    }
    if (err == SAGA_ERR_OK && reader->out->size == mark) {
        reader->out->size = start; /* empty is the default */
        return SAGA_ERR_OK;
    }
    return err == SAGA_ERR_OK ? saga_json_unnest(mark, reader->out) : err;
}

/* ---- Printing ---- */

static enum saga_err print_content(struct saga_json_printer *printer,
                                   const struct saga_message_type *type, struct saga_bytes wire)
{
    if (saga_json_known(type) != KNOWN_NONE) {
        saga_json_key(&printer->writer, saga_bytes_text("value"));
        return saga_json_print_message(printer, type, wire);
    }
    if (printer->depth >= SAGA_JSON_DEPTH_MAX) {
        return saga_json_fail(&printer->path, printer->detail, SAGA_ERR_LIMIT,
                              "is nested too deep (SAGA_JSON_DEPTH_MAX)");
    }
    printer->depth++;
    enum saga_err err = saga_json_print_fields(printer, type, wire);
    printer->depth--;
    return err;
}

enum saga_err saga_json_print_any(struct saga_json_printer *printer, struct saga_bytes wire)
{
    struct saga_bytes url = {0};
    struct saga_bytes value = {0};
    struct saga_wire_reader reader = saga_wire_read(wire);
    struct saga_wire_field field;
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number == ANY_TYPE_URL && field.type == SAGA_WIRE_LEN) {
            url = field.bytes;
        } else if (field.number == ANY_VALUE && field.type == SAGA_WIRE_LEN) {
            value = field.bytes;
        }
    }
    saga_json_open(&printer->writer, '{');
    if (url.size > 0 || value.size > 0) {
        const struct saga_message_type *type = saga_json_any_type(printer->schema, url);
        struct saga_bytes shown = saga_wire_utf8_cut(url, 100);
        if (type == NULL) {
            return saga_json_fail(&printer->path, printer->detail, SAGA_ERR_INVALID,
                                  "the schema has no type \"%.*s\"", (int)shown.size,
                                  shown.size == 0 ? "" : (const char *)shown.data);
        }
        struct saga_err_detail inner = {{0}};
        enum saga_err err = saga_message_check(type, value, &inner);
        if (err != SAGA_ERR_OK) {
            return saga_json_fail(&printer->path, printer->detail, err, "%s", inner.text);
        }
        saga_json_key(&printer->writer, saga_bytes_text("@type"));
        saga_json_string(&printer->writer, url);
        err = print_content(printer, type, value);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    saga_json_close(&printer->writer, '}');
    return SAGA_ERR_OK;
}
