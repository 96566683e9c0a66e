/* JSON -> wire: messages, fields, repeated fields, maps. */
#include <stdlib.h>
#include <string.h>

#include "common/wire/json/json_internal.h"

static enum saga_err fail(struct saga_json_reader *reader, enum saga_err err, const char *what)
{
    return saga_json_fail(&reader->path, reader->detail, err, "%s", what);
}

static struct saga_bytes string_of(const json_t *value)
{
    struct saga_bytes bytes = {.data = (const uint8_t *)json_string_value(value),
                               .size = json_string_length(value)};
    return bytes;
}

/* ---- One value ---- */

static enum saga_err read_string(struct saga_json_reader *reader, const struct saga_field *field,
                                 const json_t *value, bool keep_default)
{
    if (!json_is_string(value)) {
        return fail(reader, SAGA_ERR_INVALID,
                    field->type == SAGA_FIELD_BYTES ? "is not a string with base64"
                                                    : "is not a string");
    }
    struct saga_bytes text = string_of(value);
    if (text.size == 0 && !keep_default) {
        return SAGA_ERR_OK;
    }
    if (field->type == SAGA_FIELD_STRING) {
        return saga_json_bytes_append(field->number, text, reader->out);
    }
    size_t mark = 0;
    enum saga_err err = saga_json_nest(field->number, reader->out, &mark);
    if (err == SAGA_ERR_OK) {
        err = saga_json_base64_read(text, reader->out);
    }
    if (err == SAGA_ERR_INVALID) {
        return fail(reader, err, "is not base64");
    }
    return err == SAGA_ERR_OK ? saga_json_unnest(mark, reader->out) : err;
}

static enum saga_err read_nested(struct saga_json_reader *reader, const struct saga_field *field,
                                 const json_t *value)
{
    size_t mark = 0;
    enum saga_err err = saga_json_nest(field->number, reader->out, &mark);
    if (err == SAGA_ERR_OK) {
        err = saga_json_read_message(reader, field->message, value);
    }
    return err == SAGA_ERR_OK ? saga_json_unnest(mark, reader->out) : err;
}

/* Reads a scalar, without its tag. *skip: an enum's unknown name that is passed over. */
static enum saga_err read_scalar(struct saga_json_reader *reader, const struct saga_field *field,
                                 const json_t *value, struct saga_json_scalar *scalar, bool *skip)
{
    bool unknown = false;
    const char *wrong = saga_json_scalar_read(field, value, reader->source, scalar, &unknown);
    *skip = unknown && reader->options.ignore_unknown;
    if (wrong == NULL || *skip) {
        return SAGA_ERR_OK;
    }
    if (unknown) {
        return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                              "\"%.60s\" is not a name of %.80s", json_string_value(value),
                              field->enumeration == NULL ? "the enum" : field->enumeration->name);
    }
    return fail(reader, SAGA_ERR_INVALID, wrong);
}

enum saga_err saga_json_read_value(struct saga_json_reader *reader, const struct saga_field *field,
                                   const json_t *value, bool keep_default)
{
    if (field->type == SAGA_FIELD_STRING || field->type == SAGA_FIELD_BYTES) {
        return read_string(reader, field, value, keep_default);
    }
    if (field->type == SAGA_FIELD_MESSAGE && field->message != NULL) {
        return read_nested(reader, field, value);
    }
    struct saga_json_scalar scalar = {0};
    bool skip = false;
    enum saga_err err = read_scalar(reader, field, value, &scalar, &skip);
    if (err != SAGA_ERR_OK || skip || (scalar.bits == 0 && !keep_default)) {
        return err;
    }
    err = saga_json_tag_append(field->number, scalar.type, reader->out);
    return err == SAGA_ERR_OK ? saga_json_scalar_append(scalar, reader->out) : err;
}

/* ---- Many values ---- */

/* Tells whether null is a value of a field, not its absence. */
static bool takes_null(const struct saga_field *field)
{
    return saga_json_is_null_value(field) ||
           (field->message != NULL && saga_json_known(field->message) == KNOWN_VALUE);
}

static enum saga_err read_element(struct saga_json_reader *reader, const struct saga_field *field,
                                  const json_t *value)
{
    if (json_is_null(value) && !takes_null(field)) {
        return fail(reader, SAGA_ERR_INVALID, "null cannot stand among values");
    }
    if (!field->packed) {
        return saga_json_read_value(reader, field, value, true);
    }
    struct saga_json_scalar scalar = {0};
    bool skip = false;
    enum saga_err err = read_scalar(reader, field, value, &scalar, &skip);
    return err == SAGA_ERR_OK && !skip ? saga_json_scalar_append(scalar, reader->out) : err;
}

static enum saga_err read_array(struct saga_json_reader *reader, const struct saga_field *field,
                                const json_t *value)
{
    if (!json_is_array(value)) {
        return fail(reader, SAGA_ERR_INVALID, "is not an array");
    }
    size_t start = reader->out->size;
    size_t mark = 0;
    size_t count = json_array_size(value);
    enum saga_err err = SAGA_ERR_OK;
    if (field->packed) {
        err = saga_json_nest(field->number, reader->out, &mark);
    }
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        size_t path = saga_json_path_index(&reader->path, i);
        err = read_element(reader, field, json_array_get(value, i));
        if (err == SAGA_ERR_OK) {
            saga_json_path_leave(&reader->path, path);
        }
    }
    if (err != SAGA_ERR_OK || !field->packed) {
        return err;
    }
    if (reader->out->size == mark) {
        reader->out->size = start; /* nothing came: no field */
        return SAGA_ERR_OK;
    }
    return saga_json_unnest(mark, reader->out);
}

static enum saga_err read_entry(struct saga_json_reader *reader, const struct saga_field *field,
                                struct saga_bytes key, const json_t *value)
{
    const struct saga_field *key_field = NULL;
    const struct saga_field *value_field = NULL;
    if (!saga_json_entry(field->message, &key_field, &value_field)) {
        return fail(reader, SAGA_ERR_INVALID, "the schema's type of this map is wrong");
    }
    if (json_is_null(value) && !takes_null(value_field)) {
        return fail(reader, SAGA_ERR_INVALID, "null cannot stand among values");
    }
    size_t start = reader->out->size;
    size_t mark = 0;
    enum saga_err err = saga_json_nest(field->number, reader->out, &mark);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (key_field->type == SAGA_FIELD_STRING) {
        err = saga_json_bytes_append(MAP_KEY, key, reader->out);
    } else {
        struct saga_json_scalar scalar = {0};
        const char *wrong = saga_json_key_read(key_field, key, &scalar);
        if (wrong != NULL) {
            return fail(reader, SAGA_ERR_INVALID, wrong);
        }
        err = saga_json_tag_append(MAP_KEY, scalar.type, reader->out);
        err = err == SAGA_ERR_OK ? saga_json_scalar_append(scalar, reader->out) : err;
    }
    size_t before = reader->out->size;
    if (err == SAGA_ERR_OK) {
        err = saga_json_read_value(reader, value_field, value, true);
    }
    if (err == SAGA_ERR_OK && reader->out->size == before) {
        reader->out->size = start; /* an unknown name of an enum, passed over with its key */
        return SAGA_ERR_OK;
    }
    return err == SAGA_ERR_OK ? saga_json_unnest(mark, reader->out) : err;
}

/* A key as it is on the wire. */
struct key {
    uint64_t bits;
    const char *text;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *left = a;
    const struct key *right = b;
    return left->bits < right->bits ? -1 : left->bits > right->bits ? 1 : 0;
}

/* Refuses two texts of one number ("0" and "-0"): they would be two entries with one key. */
static enum saga_err check_keys(struct saga_json_reader *reader, const struct saga_field *field,
                                json_t *object)
{
    const struct saga_field *key_field = NULL;
    const struct saga_field *value_field = NULL;
    size_t size = json_object_size(object);
    if (!saga_json_entry(field->message, &key_field, &value_field) ||
        key_field->type == SAGA_FIELD_STRING || size < 2) {
        return SAGA_ERR_OK;
    }
    struct key *keys = calloc(size, sizeof *keys);
    size_t count = 0;
    if (keys == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        struct saga_json_scalar scalar = {0};
        const char *text = json_object_iter_key(at);
        if (count < size && saga_json_key_read(key_field, saga_bytes_text(text), &scalar) == NULL) {
            keys[count++] = (struct key){scalar.bits, text};
        } /* what is none is refused with its entry */
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 1; i < count && err == SAGA_ERR_OK; i++) {
        if (keys[i - 1].bits == keys[i].bits) {
            err = saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                                 "\"%.30s\" and \"%.30s\" are the same key", keys[i - 1].text,
                                 keys[i].text);
        }
    }
    free(keys);
    return err;
}

static enum saga_err read_map(struct saga_json_reader *reader, const struct saga_field *field,
                              const json_t *value)
{
    if (!json_is_object(value)) {
        return fail(reader, SAGA_ERR_INVALID, "is not an object");
    }
    if (reader->depth >= SAGA_JSON_DEPTH_MAX) {
        return fail(reader, SAGA_ERR_LIMIT, "is nested too deep (SAGA_JSON_DEPTH_MAX)");
    }
    reader->depth++;                             /* an entry is a message */
    json_t *object = (json_t *)(uintptr_t)value; /* jansson walks no constant object */
    enum saga_err err = check_keys(reader, field, object);
    for (void *at = json_object_iter(object); at != NULL && err == SAGA_ERR_OK;
         at = json_object_iter_next(object, at)) {
        struct saga_bytes key = saga_bytes_text(json_object_iter_key(at));
        size_t path = saga_json_path_key(&reader->path, key);
        err = read_entry(reader, field, key, json_object_iter_value(at));
        if (err == SAGA_ERR_OK) {
            saga_json_path_leave(&reader->path, path);
        }
    }
    reader->depth--;
    return err;
}

/* ---- A message ---- */

static enum saga_err read_field(struct saga_json_reader *reader, const struct saga_field *field,
                                const json_t *value)
{
    if (json_is_null(value) && (field->repeated || !takes_null(field))) {
        return SAGA_ERR_OK; /* the default */
    }
    if (field->map && field->message != NULL) {
        return read_map(reader, field, value);
    }
    if (field->repeated) {
        return read_array(reader, field, value);
    }
    return saga_json_read_value(reader, field, value, field->presence);
}

/* Finds a field's value under either of its names. *twice: under both. */
static const json_t *member(const struct saga_field *field, const json_t *object, bool *twice)
{
    const json_t *value = json_object_get(object, field->json_name);
    *twice = false;
    if (strcmp(field->name, field->json_name) != 0) {
        const json_t *other = json_object_get(object, field->name);
        *twice = value != NULL && other != NULL;
        value = value == NULL ? other : value;
    }
    return value;
}

static bool is_name(const struct saga_message_type *type, const char *key)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (strcmp(type->fields[i].json_name, key) == 0 || strcmp(type->fields[i].name, key) == 0) {
            return true;
        }
    }
    return false;
}

static enum saga_err check_names(struct saga_json_reader *reader,
                                 const struct saga_message_type *type, const json_t *value,
                                 bool of_any)
{
    json_t *object = (json_t *)(uintptr_t)value;
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);
        if (!is_name(type, key) && !(of_any && strcmp(key, "@type") == 0)) {
            struct saga_bytes shown = saga_wire_utf8_cut(saga_bytes_text(key), 60);
            return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                                  "%.100s has no field \"%.*s\"", type->name, (int)shown.size,
                                  (const char *)shown.data);
        }
    }
    return SAGA_ERR_OK;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = (*(const struct saga_field *const *)a)->number;
    uint32_t right = (*(const struct saga_field *const *)b)->number;
    return left < right ? -1 : left > right ? 1 : 0;
}

/* The fields that have a value, in the order of their numbers: one message has one form on the
 * wire. */
struct members {
    const struct saga_field **fields;
    size_t count;
};

static enum saga_err find_members(struct saga_json_reader *reader,
                                  const struct saga_message_type *type, const json_t *value,
                                  struct members *members)
{
    members->fields = malloc((type->field_count + 1) * sizeof(const struct saga_field *));
    members->count = 0;
    if (members->fields == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < type->field_count; i++) {
        const struct saga_field *field = &type->fields[i];
        bool twice = false;
        const json_t *found = member(field, value, &twice);
        if (twice) {
            return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                                  "\"%.80s\" and \"%.80s\" are the same field", field->name,
                                  field->json_name);
        }
        if (found == NULL || (json_is_null(found) && !takes_null(field))) {
            continue;
        }
        for (size_t j = 0; field->oneof && j < members->count; j++) {
            const struct saga_field *other = members->fields[j];
            if (other->oneof && other->oneof_index == field->oneof_index) {
                return saga_json_fail(&reader->path, reader->detail, SAGA_ERR_INVALID,
                                      "\"%.80s\" and \"%.80s\" cannot both be set", other->name,
                                      field->name);
            }
        }
        members->fields[members->count++] = field;
    }
    qsort(members->fields, members->count, sizeof(const struct saga_field *), compare_numbers);
    return SAGA_ERR_OK;
}

enum saga_err saga_json_read_object(struct saga_json_reader *reader,
                                    const struct saga_message_type *type, const json_t *value,
                                    bool of_any)
{
    if (!json_is_object(value)) {
        return fail(reader, SAGA_ERR_INVALID, "is not an object");
    }
    if (!reader->options.ignore_unknown) {
        enum saga_err err = check_names(reader, type, value, of_any);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    struct members members;
    enum saga_err err = find_members(reader, type, value, &members);
    for (size_t i = 0; i < members.count && err == SAGA_ERR_OK; i++) {
        const struct saga_field *field = members.fields[i];
        bool twice = false;
        size_t path = saga_json_path_field(&reader->path, field->name);
        err = read_field(reader, field, member(field, value, &twice));
        if (err == SAGA_ERR_OK) {
            saga_json_path_leave(&reader->path, path);
        }
    }
    free(members.fields);
    return err;
}

enum saga_err saga_json_read_message(struct saga_json_reader *reader,
                                     const struct saga_message_type *type, const json_t *value)
{
    if (reader->depth >= SAGA_JSON_DEPTH_MAX) {
        return fail(reader, SAGA_ERR_LIMIT, "is nested too deep (SAGA_JSON_DEPTH_MAX)");
    }
    reader->depth++;
    enum saga_json_known known = saga_json_known(type);
    enum saga_err err = known == KNOWN_NONE ? saga_json_read_object(reader, type, value, false)
                                            : saga_json_read_known(reader, known, type, value);
    reader->depth--;
    return err;
}

/* ---- The door ---- */

static enum saga_err refuse_text(const json_error_t *error, bool replaced,
                                 struct saga_err_detail *detail)
{
    if (json_error_code(error) == json_error_out_of_memory) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    if (json_error_code(error) == json_error_stack_overflow) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "line %d, column %d: nested too deep",
                            error->line, error->column);
    }
    if (replaced) {
        /* The column, and what stands near it, are those of another text. */
        const char *near = strstr(error->text, " near ");
        int size = near == NULL ? (int)strlen(error->text) : (int)(near - error->text);
        return saga_err_set(detail, SAGA_ERR_INVALID, "line %d: %.*s", error->line, size,
                            error->text);
    }
    return saga_err_set(detail, SAGA_ERR_INVALID, "line %d, column %d: %s", error->line,
                        error->column, error->text);
}

static json_t *parse(struct saga_bytes json, json_error_t *error)
{
    return json_loadb(json.data == NULL ? "" : (const char *)json.data, json.size,
                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
}

/* Parses the text; *source as in the reader. Owns: the caller drops *value. */
static enum saga_err parse_text(struct saga_bytes json, json_t **value, struct saga_bytes *source,
                                struct saga_err_detail *detail)
{
    json_error_t error;
    *value = NULL;
    *source = (struct saga_bytes){0};
    if (json.size > 0 && memchr(json.data, 0, json.size) != NULL) {
        /* jansson takes one behind the text for its end, whatever follows. */
        return saga_err_set(detail, SAGA_ERR_INVALID, "the text has a zero byte");
    }
    *value = parse(json, &error);
    if (*value != NULL) {
        return SAGA_ERR_OK;
    }
    if (json_error_code(&error) != json_error_numeric_overflow) {
        return refuse_text(&error, false, detail);
    }
    struct saga_buf replaced = {0};
    enum saga_err err = saga_json_numbers_replace(json, &replaced);
    if (err == SAGA_ERR_OK) {
        *value = parse(saga_buf_view(&replaced), &error);
    }
    saga_buf_fini(&replaced);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "out of memory");
    }
    *source = json;
    return *value == NULL ? refuse_text(&error, true, detail) : SAGA_ERR_OK;
}

enum saga_err saga_json_to_wire(const struct saga_schema *schema,
                                const struct saga_message_type *type, struct saga_bytes json,
                                const struct saga_json_options *options, struct saga_buf *out,
                                struct saga_err_detail *detail)
{
    if (json.size > SAGA_MESSAGE_SIZE_HARD) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "the text has %zu bytes, limit %d (SAGA_MESSAGE_SIZE_HARD)", json.size,
                            SAGA_MESSAGE_SIZE_HARD);
    }
    struct saga_json_reader reader = {.schema = schema, .detail = detail, .out = out};
    json_t *value = NULL;
    enum saga_err err = parse_text(json, &value, &reader.source, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (options != NULL) {
        reader.options = *options;
    }
    size_t start = out->size;
    err = saga_json_read_message(&reader, type, value);
    json_decref(value);
    if (err != SAGA_ERR_OK) {
        out->size = start;
    }
    if (err == SAGA_ERR_NO_MEMORY) {
        (void)saga_err_set(detail, err, "out of memory");
    }
    return err;
}
