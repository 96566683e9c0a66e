/* The path of an error, and appending nested messages. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/json/json_internal.h"

static size_t path_add(struct saga_json_path *path, const char *text, size_t size)
{
    size_t before = path->size;
    for (size_t i = 0; i < size; i++) {
        if (path->size < SAGA_JSON_PATH_SIZE - 1) {
            path->text[path->size] = text[i];
        }
        path->size++;
    }
    return before;
}

size_t saga_json_path_field(struct saga_json_path *path, const char *name)
{
    size_t before = path->size;
    if (before > 0) {
        (void)path_add(path, ".", 1);
    }
    (void)path_add(path, name, strlen(name));
    return before;
}

size_t saga_json_path_index(struct saga_json_path *path, size_t index)
{
    char text[32];
    int size = snprintf(text, sizeof text, "[%zu]", index);
    return path_add(path, text, size > 0 ? (size_t)size : 0);
}

size_t saga_json_path_key(struct saga_json_path *path, struct saga_bytes key)
{
    size_t before = path_add(path, "[\"", 2);
    struct saga_bytes shown = saga_wire_utf8_cut(key, 40);
    (void)path_add(path, (const char *)shown.data, shown.size);
    (void)path_add(path, "\"]", 2);
    return before;
}

void saga_json_path_leave(struct saga_json_path *path, size_t size)
{
    path->size = size;
}

enum saga_err saga_json_fail(const struct saga_json_path *path, struct saga_err_detail *detail,
                             enum saga_err err, const char *format, ...)
{
    if (detail == NULL) {
        return err;
    }
    size_t shown = path->size < SAGA_JSON_PATH_SIZE - 1 ? path->size : SAGA_JSON_PATH_SIZE - 1;
    int size = snprintf(detail->text, sizeof detail->text, "%.*s%s", (int)shown, path->text,
                        shown > 0 ? ": " : "");
    size_t used = size > 0 ? (size_t)size : 0;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail->text + used, sizeof detail->text - used, format, args);
    va_end(args);
    return err;
}

/* ---- Appending to the wire ---- */

enum saga_err saga_json_scalar_append(struct saga_json_scalar scalar, struct saga_buf *out)
{
    enum saga_err err = saga_buf_reserve(out, SAGA_VARINT_SIZE_MAX);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (scalar.type == SAGA_WIRE_VARINT) {
        out->size = (size_t)(saga_wire_put_varint(out->data + out->size, scalar.bits) - out->data);
        return SAGA_ERR_OK;
    }
    size_t size = scalar.type == SAGA_WIRE_FIXED64 ? 8 : 4;
    for (size_t i = 0; i < size; i++) {
        out->data[out->size++] = (uint8_t)(scalar.bits >> (8 * i));
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_json_tag_append(uint32_t number, enum saga_wire_type type, struct saga_buf *out)
{
    struct saga_json_scalar tag = {SAGA_WIRE_VARINT, ((uint64_t)number << 3) | (uint64_t)type};
    return saga_json_scalar_append(tag, out);
}

enum saga_err saga_json_bytes_append(uint32_t number, struct saga_bytes bytes, struct saga_buf *out)
{
    enum saga_err err = saga_buf_reserve(out, bytes.size + 2 * SAGA_VARINT_SIZE_MAX);
    if (err == SAGA_ERR_OK) {
        out->size = (size_t)(saga_wire_put_bytes(out->data + out->size, number, bytes) - out->data);
    }
    return err;
}

enum saga_err saga_json_nest(uint32_t number, struct saga_buf *out, size_t *mark)
{
    enum saga_err err = saga_json_tag_append(number, SAGA_WIRE_LEN, out);
    *mark = out->size;
    return err;
}

enum saga_err saga_json_unnest(size_t mark, struct saga_buf *out)
{
    size_t size = out->size - mark;
    size_t prefix = saga_wire_varint_size(size);
    enum saga_err err = saga_buf_reserve(out, prefix);
    if (err == SAGA_ERR_OK) {
        memmove(out->data + mark + prefix, out->data + mark, size);
        (void)saga_wire_put_varint(out->data + mark, size);
        out->size += prefix;
    }
    return err;
}
