/* Placeholders in values:
 *
 *   ${id}       a positive number of up to 48 bits, another for each saga
 *   ${id32}     the same in 31 bits
 *   ${uuid}     a UUID, ${text} a short text: another for each saga
 *   ${before.a} field a of the replies to "$before"; ${before.a.b} a field in it
 *
 * They are the same in the call and in the undo of a saga. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/json/json.h"
#include "verify/certify/internal.h"

enum { PATH_SIZE_MAX = 256, TEXT_SIZE_MAX = 64 };

static uint64_t id48(const struct certify_names *names)
{
    uint64_t id = names->id & UINT64_C(0xFFFFFFFFFFFF);
    return id == 0 ? 1 : id;
}

/* Finds "a.b" in the replies. */
static const json_t *find_before(const json_t *at, const char *path, size_t size)
{
    char copy[PATH_SIZE_MAX];
    if (size >= sizeof copy) {
        return NULL;
    }
    memcpy(copy, path, size);
    copy[size] = '\0';
    char *rest = copy;
    while (at != NULL && rest != NULL) {
        char *dot = strchr(rest, '.');
        if (dot != NULL) {
            *dot = '\0';
        }
        at = json_object_get(at, rest);
        rest = dot == NULL ? NULL : dot + 1;
    }
    return at;
}

/* Gives what one placeholder stands for. */
static json_t *lookup(const struct certify_names *names, const char *name, size_t size,
                      struct saga_err_detail *detail)
{
    char text[TEXT_SIZE_MAX] = "";
    if (size == 2 && memcmp(name, "id", 2) == 0) {
        (void)snprintf(text, sizeof text, "%" PRIu64, id48(names));
    } else if (size == 4 && memcmp(name, "id32", 4) == 0) {
        uint64_t id = names->id & 0x7FFFFFFFu;
        (void)snprintf(text, sizeof text, "%" PRIu64, id == 0 ? 1 : id);
    } else if (size == 4 && memcmp(name, "uuid", 4) == 0) {
        saga_id_format(names->uuid, text);
    } else if (size == 4 && memcmp(name, "text", 4) == 0) {
        (void)snprintf(text, sizeof text, "certify-%" PRIx64, id48(names));
    } else if (size > 7 && memcmp(name, "before.", 7) == 0) {
        const json_t *found = find_before(names->before, name + 7, size - 7);
        if (found != NULL) {
            return json_deep_copy(found);
        }
        (void)saga_err_set(detail, SAGA_ERR_INVALID, "${%.*s}: no reply of $before has it",
                           (int)(size < 100 ? size : 100), name);
        return NULL;
    } else {
        (void)saga_err_set(
            detail, SAGA_ERR_INVALID,
            "${%.*s} stands for nothing; there are ${id} ${id32} ${uuid} ${text} ${before.FIELD}",
            (int)(size < 100 ? size : 100), name);
        return NULL;
    }
    return json_string(text);
}

static enum saga_err append(struct saga_buf *out, const char *text, size_t size)
{
    return saga_buf_append(out, (struct saga_bytes){(const uint8_t *)text, size});
}

static enum saga_err append_value(struct saga_buf *out, const json_t *value)
{
    if (json_is_string(value)) {
        return append(out, json_string_value(value), json_string_length(value));
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    enum saga_err err = text == NULL ? SAGA_ERR_NO_MEMORY : append(out, text, strlen(text));
    free(text);
    return err;
}

static json_t *expand_text(const char *text, const struct certify_names *names,
                           struct saga_err_detail *detail)
{
    struct saga_buf out = {0};
    enum saga_err err = SAGA_ERR_OK;
    json_t *made = NULL;
    while (err == SAGA_ERR_OK) {
        const char *mark = strstr(text, "${");
        const char *end = mark == NULL ? NULL : strchr(mark, '}');
        if (end == NULL) {
            err = append(&out, text, strlen(text));
            break;
        }
        json_t *value = lookup(names, mark + 2, (size_t)(end - mark) - 2, detail);
        if (value == NULL) {
            err = SAGA_ERR_INVALID;
            break;
        }
        if (mark == text && end[1] == '\0' && out.size == 0) {
            return value; /* the whole text: the value itself, of its own type */
        }
        err = append(&out, text, (size_t)(mark - text));
        if (err == SAGA_ERR_OK) {
            err = append_value(&out, value);
        }
        json_decref(value);
        text = end + 1;
    }
    if (err == SAGA_ERR_OK) {
        made = json_stringn(out.size == 0 ? "" : (const char *)out.data, out.size);
    }
    saga_buf_fini(&out);
    return made;
}

static json_t *expand(const json_t *value, const struct certify_names *names, unsigned depth,
                      struct saga_err_detail *detail);

static json_t *expand_array(const json_t *value, const struct certify_names *names, unsigned depth,
                            struct saga_err_detail *detail)
{
    json_t *made = json_array();
    for (size_t i = 0; made != NULL && i < json_array_size(value); i++) {
        json_t *item = expand(json_array_get(value, i), names, depth + 1, detail);
        if (item == NULL || json_array_append_new(made, item) != 0) {
            json_decref(made);
            made = NULL;
        }
    }
    return made;
}

static json_t *expand_object(const json_t *value, const struct certify_names *names, unsigned depth,
                             struct saga_err_detail *detail)
{
    json_t *made = json_object();
    const char *name = NULL;
    json_t *item = NULL;
    json_t *from = json_copy((json_t *)(uintptr_t)value); /* jansson's walk wants it writable */
    json_object_foreach(from, name, item)
    {
        if (made == NULL || (depth == 0 && name[0] == '$')) {
            continue; /* "$expect", "$before": no fields */
        }
        json_t *copy = expand(item, names, depth + 1, detail);
        if (copy == NULL || json_object_set_new(made, name, copy) != 0) {
            json_decref(made);
            made = NULL;
        }
    }
    json_decref(from);
    return made;
}

/* As deep as a message may be in JSON. */
static json_t *expand(const json_t *value, const struct certify_names *names, unsigned depth,
                      struct saga_err_detail *detail)
{
    if (depth > SAGA_JSON_DEPTH_MAX) {
        (void)saga_err_set(detail, SAGA_ERR_LIMIT, "nested deeper than %d", SAGA_JSON_DEPTH_MAX);
        return NULL;
    }
    if (json_is_string(value)) {
        return expand_text(json_string_value(value), names, detail);
    }
    if (json_is_array(value)) {
        return expand_array(value, names, depth, detail);
    }
    if (json_is_object(value)) {
        return expand_object(value, names, depth, detail);
    }
    return json_deep_copy(value);
}

json_t *certify_values_expand(const json_t *value, const struct certify_names *names,
                              struct saga_err_detail *detail)
{
    return expand(value, names, 0, detail);
}

enum saga_err certify_values_encode(const struct saga_schema *schema,
                                    const struct saga_message_type *type, const json_t *variant,
                                    const struct certify_names *names, struct saga_buf *out,
                                    struct saga_err_detail *detail)
{
    json_t *value = certify_values_expand(variant, names, detail);
    if (value == NULL) {
        return detail->text[0] == '\0' ? SAGA_ERR_NO_MEMORY : SAGA_ERR_INVALID;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
    if (text == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    enum saga_err err = saga_json_to_wire(schema, type, saga_bytes_text(text), NULL, out, detail);
    free(text);
    return err;
}
