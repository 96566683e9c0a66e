/* proto3 JSON <-> wire bytes, for any message of a schema, on jansson.
 *
 * The mapping is protobuf's own (protobuf.dev, "ProtoJSON Format"), with google.protobuf's Any,
 * Duration, Empty, FieldMask, ListValue, NullValue, Struct, Timestamp, Value and wrappers in their
 * special forms; docs/json.md says where we are stricter than others. A key of an object holds no
 * zero character, because of jansson. Any thread; nothing is kept. */
#ifndef SAGA_WIRE_JSON_JSON_H
#define SAGA_WIRE_JSON_JSON_H

#include "common/wire/schema.h"

struct saga_json_options {
    bool proto_names;    /* print field names as in the .proto instead of lowerCamelCase; both are
                            always read */
    bool print_defaults; /* print fields that have their default */
    bool ignore_unknown; /* reading: skip unknown fields and unknown names of enum values instead of
                            refusing them */
    int indent;          /* spaces; 0: one line */
};

/* Reads JSON text into wire bytes (appended; on failure out is as it was). Fields come in the order
 * of their numbers. Errors: INVALID, LIMIT (text larger than SAGA_MESSAGE_SIZE_HARD, nested deeper
 * than SAGA_JSON_DEPTH_MAX), NO_MEMORY; detail names the line or the path: "items[0].quantity: …".
 * options may be NULL: all off. */
enum saga_err saga_json_to_wire(const struct saga_schema *schema,
                                const struct saga_message_type *type, struct saga_bytes json,
                                const struct saga_json_options *options, struct saga_buf *out,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Writes wire bytes as JSON text (appended; on failure out is as it was). Unknown fields are left
 * out. Errors: MALFORMED (not a message of the type), INVALID (a message that has no JSON form: a
 * Timestamp out of range, an Any of a type that the schema does not have, a group), LIMIT (nested
 * too deep), NO_MEMORY; detail names the path. options may be NULL. */
enum saga_err saga_wire_to_json(const struct saga_schema *schema,
                                const struct saga_message_type *type, struct saga_bytes wire,
                                const struct saga_json_options *options, struct saga_buf *out,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Writes a template of a message: every field with an example value (of a oneof the first), nested
 * messages to a depth of 3; it can be read back. Errors: NO_MEMORY. */
enum saga_err saga_json_template(const struct saga_schema *schema,
                                 const struct saga_message_type *type,
                                 struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
