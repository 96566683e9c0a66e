/* proto3 JSON <-> wire bytes, for any message of a schema, on jansson. */
#ifndef SAGA_WIRE_JSON_H
#define SAGA_WIRE_JSON_H

#include "common/wire/schema.h"

struct saga_json_options {
    bool proto_names;    /* print field names as in the .proto instead of lowerCamelCase; both are always read */
    bool print_defaults; /* print fields that have their default */
    bool ignore_unknown; /* reading: skip unknown fields instead of refusing them */
    int indent;          /* spaces; 0: one line */
};

/* Reads JSON text into wire bytes (appended). Errors: INVALID, LIMIT; detail names line or path and field: "items[0].quantity: …". */
enum saga_err saga_json_to_wire(const struct saga_schema *schema, const struct saga_message_type *type, struct saga_bytes json,
                                const struct saga_json_options *options, struct saga_buf *out, struct saga_err_detail *detail)
    SAGA_WARN_UNUSED;

/* Writes wire bytes as JSON text (appended). Errors: MALFORMED, LIMIT. */
enum saga_err saga_wire_to_json(const struct saga_schema *schema, const struct saga_message_type *type, struct saga_bytes wire,
                                const struct saga_json_options *options, struct saga_buf *out, struct saga_err_detail *detail)
    SAGA_WARN_UNUSED;

/* Writes a template of a message: every field with an example value, nested messages to a depth of 3. */
enum saga_err saga_json_template(const struct saga_schema *schema, const struct saga_message_type *type, struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
