/* What the files of this room share; not for others. Recursion is bounded by SAGA_JSON_DEPTH_MAX
 * everywhere. */
#ifndef SAGA_WIRE_JSON_INTERNAL_H
#define SAGA_WIRE_JSON_INTERNAL_H

#include <jansson.h>

#include "common/base/arena.h"
#include "common/wire/json/json.h"
#include "common/wire/wire.h"

_Static_assert(SAGA_JSON_DEPTH_MAX <= SAGA_MESSAGE_DEPTH_MAX, "what is read can be checked");

/* ---- Messages with a form of their own ---- */

enum saga_json_known {
    KNOWN_NONE,
    KNOWN_ANY,
    KNOWN_DURATION,
    KNOWN_FIELD_MASK,
    KNOWN_LIST_VALUE,
    KNOWN_STRUCT,
    KNOWN_TIMESTAMP,
    KNOWN_VALUE,
    KNOWN_WRAPPER, /* Int64Value, StringValue, …: its only field stands for it */
};

/* Field numbers of google.protobuf's messages. */
enum {
    ANY_TYPE_URL = 1,
    ANY_VALUE = 2,
    TIME_SECONDS = 1,
    TIME_NANOS = 2,
    MASK_PATHS = 1,
    LIST_VALUES = 1,
    STRUCT_FIELDS = 1,
    MAP_KEY = 1,
    MAP_VALUE = 2,
    VALUE_NULL = 1,
    VALUE_NUMBER = 2,
    VALUE_STRING = 3,
    VALUE_BOOL = 4,
    VALUE_STRUCT = 5,
    VALUE_LIST = 6,
};

/* Tells whether a byte may stand in a path of a FieldMask in JSON: names in lowerCamelCase, dots.
 */
static inline bool saga_json_is_path_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
}

/* Tells which of them a type is. A type that only has the name is none. */
enum saga_json_known saga_json_known(const struct saga_message_type *type);

/* Tells whether an enum is google.protobuf.NullValue. */
bool saga_json_is_null_value(const struct saga_field *field);

/* Finds the key and value fields of a map entry's type; false: it is no map entry. */
bool saga_json_entry(const struct saga_message_type *entry, const struct saga_field **key,
                     const struct saga_field **value);

/* Finds the type that an Any's URL names ("type.googleapis.com/order.v1.Order"); NULL: none. url
 * need not end in a zero. */
const struct saga_message_type *saga_json_any_type(const struct saga_schema *schema,
                                                   struct saga_bytes url);

/* ---- Where we are, for errors: "items[0].quantity" ---- */

enum { SAGA_JSON_PATH_SIZE = 160 };

struct saga_json_path {
    char text[SAGA_JSON_PATH_SIZE];
    size_t size; /* may pass the text's size: then the end is not shown */
};

/* Goes into a field, an element, a map's value; gives what leave() takes to come back. */
size_t saga_json_path_field(struct saga_json_path *path, const char *name);
size_t saga_json_path_index(struct saga_json_path *path, size_t index);
size_t saga_json_path_key(struct saga_json_path *path, struct saga_bytes key);
void saga_json_path_leave(struct saga_json_path *path, size_t size);

/* Sets the detail "path: …" and gives err back. */
enum saga_err saga_json_fail(const struct saga_json_path *path, struct saga_err_detail *detail,
                             enum saga_err err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- Numbers that jansson cannot hold ---- */

/* Tells whether text is a number as RFC 8259, section 6 has them, and nothing else. */
bool saga_json_is_number(struct saga_bytes text);

/* Appends JSON in which every number is its own offset in the text. */
enum saga_err saga_json_numbers_replace(struct saga_bytes json, struct saga_buf *out);

/* Gives the number that stands where a replaced one says. False: source.data is NULL, no number was
 * replaced, and the value is what jansson says. */
bool saga_json_number_text(struct saga_bytes source, const json_t *value, struct saga_bytes *text);

/* ---- Scalars ---- */

/* A number, bool or enum value as it stands on the wire. */
struct saga_json_scalar {
    enum saga_wire_type type;
    uint64_t bits;
};

/* Reads a number, bool or enum value; source: as saga_json_number_text. NULL, or what is wrong.
 * *unknown: a name that the enum does not have. */
const char *saga_json_scalar_read(const struct saga_field *field, const json_t *value,
                                  struct saga_bytes source, struct saga_json_scalar *scalar,
                                  bool *unknown);

/* Reads a JSON number as a double. NULL, or what is wrong. */
const char *saga_json_double_read(const json_t *value, struct saga_bytes source, double *number);

/* Reads a map's key, which is always a string in JSON. As above, for keys that are not strings. */
const char *saga_json_key_read(const struct saga_field *field, struct saga_bytes key,
                               struct saga_json_scalar *scalar);

/* Appends a scalar without its tag. */
enum saga_err saga_json_scalar_append(struct saga_json_scalar scalar, struct saga_buf *out);

/* Appends a tag; a tag with a size and bytes. */
enum saga_err saga_json_tag_append(uint32_t number, enum saga_wire_type type, struct saga_buf *out);
enum saga_err saga_json_bytes_append(uint32_t number, struct saga_bytes bytes,
                                     struct saga_buf *out);

/* Begins a nested message, gives its mark; ends it by putting its size in before it. */
enum saga_err saga_json_nest(uint32_t number, struct saga_buf *out, size_t *mark);
enum saga_err saga_json_unnest(size_t mark, struct saga_buf *out);

/* Decodes base64, standard or URL-safe, padded or not (appended). INVALID: it is none. */
enum saga_err saga_json_base64_read(struct saga_bytes text, struct saga_buf *out);

/* ---- Time ---- */

/* The bounds of google.protobuf.Duration: about 10,000 years. */
#define SAGA_JSON_DURATION_SECONDS_MAX INT64_C(315576000000)

enum { SAGA_JSON_TIME_SIZE = 80 };

struct saga_json_time {
    int64_t seconds;
    int32_t nanos;
};

/* Reads and writes "2026-01-31T10:00:00.5Z" and "-1.5s". False: out of range, or not of this form.
 */
bool saga_json_timestamp_read(struct saga_bytes text, struct saga_json_time *time);
bool saga_json_duration_read(struct saga_bytes text, struct saga_json_time *time);
bool saga_json_timestamp_print(struct saga_json_time time, char text[SAGA_JSON_TIME_SIZE]);
bool saga_json_duration_print(struct saga_json_time time, char text[SAGA_JSON_TIME_SIZE]);

/* ---- Reading JSON ---- */

struct saga_json_reader {
    const struct saga_schema *schema;
    struct saga_json_options options;
    struct saga_err_detail *detail;
    struct saga_buf *out;
    struct saga_json_path path;
    struct saga_bytes source; /* data not NULL: numbers are offsets in it (json_number.c) */
    unsigned depth;           /* messages in messages */
};

/* Reads a message's fields; of_any: "@type" is not one of them. */
enum saga_err saga_json_read_message(struct saga_json_reader *reader,
                                     const struct saga_message_type *type, const json_t *value);
enum saga_err saga_json_read_object(struct saga_json_reader *reader,
                                    const struct saga_message_type *type, const json_t *value,
                                    bool of_any);

/* Reads one value of a field with its tag: an element, a map's value, a singular field. A default
 * is left out unless it tells something. */
enum saga_err saga_json_read_value(struct saga_json_reader *reader, const struct saga_field *field,
                                   const json_t *value, bool keep_default);

/* Reads a message that has a form of its own. */
enum saga_err saga_json_read_known(struct saga_json_reader *reader, enum saga_json_known known,
                                   const struct saga_message_type *type, const json_t *value);
enum saga_err saga_json_read_any(struct saga_json_reader *reader, const json_t *value);

/* ---- Writing text ---- */

struct saga_json_writer {
    struct saga_buf *out;
    int indent;
    unsigned level;
    bool behind;       /* an element was written on this level: a comma comes before the next */
    bool after_key;    /* the next value stands behind its key */
    enum saga_err err; /* the first; nothing is written after it */
};

void saga_json_open(struct saga_json_writer *writer, char bracket);
void saga_json_close(struct saga_json_writer *writer, char bracket);
void saga_json_key(struct saga_json_writer *writer, struct saga_bytes key);
void saga_json_string(struct saga_json_writer *writer, struct saga_bytes text);
void saga_json_base64(struct saga_json_writer *writer, struct saga_bytes bytes);
void saga_json_literal(struct saga_json_writer *writer,
                       const char *text);                                 /* a number, true, null */
void saga_json_quoted(struct saga_json_writer *writer, const char *text); /* the same as a string */

/* Writes a number with as few digits as give it back; NaN and infinities as strings. */
void saga_json_double(struct saga_json_writer *writer, double number);
void saga_json_float(struct saga_json_writer *writer, float number);

/* ---- Printing messages ---- */

struct saga_json_printer {
    const struct saga_schema *schema;
    struct saga_json_options options;
    struct saga_err_detail *detail;
    struct saga_json_writer writer;
    struct saga_arena scratch;
    struct saga_json_path path;
    unsigned depth;
};

/* Prints a message; prints its fields only (an Any's, into the object that is open). */
enum saga_err saga_json_print_message(struct saga_json_printer *printer,
                                      const struct saga_message_type *type, struct saga_bytes wire);
enum saga_err saga_json_print_fields(struct saga_json_printer *printer,
                                     const struct saga_message_type *type, struct saga_bytes wire);

/* Prints one value of a field from its wire form; printing a default: all zero. */
enum saga_err saga_json_print_value(struct saga_json_printer *printer,
                                    const struct saga_field *field,
                                    const struct saga_wire_field *value);

/* Prints a message that has a form of its own. */
enum saga_err saga_json_print_known(struct saga_json_printer *printer, enum saga_json_known known,
                                    const struct saga_message_type *type, struct saga_bytes wire);
enum saga_err saga_json_print_any(struct saga_json_printer *printer, struct saga_bytes wire);

/* Prints a Struct: its map. */
enum saga_err saga_json_print_struct(struct saga_json_printer *printer,
                                     const struct saga_message_type *type, struct saga_bytes wire);

#endif
