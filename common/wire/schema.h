/* Schemas at run time: a FileDescriptorSet, the saga definitions declared in it, their static
 * checks, and bind tables.
 *
 * A schema is immutable once loaded and may be read by any thread. */
#ifndef SAGA_WIRE_SCHEMA_H
#define SAGA_WIRE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/op.h"
#include "common/wire/wire.h"

struct saga_schema;

/* protobuf field types, descriptor.proto's numbers. */
enum saga_field_type {
    SAGA_FIELD_DOUBLE = 1,
    SAGA_FIELD_FLOAT,
    SAGA_FIELD_INT64,
    SAGA_FIELD_UINT64,
    SAGA_FIELD_INT32,
    SAGA_FIELD_FIXED64,
    SAGA_FIELD_FIXED32,
    SAGA_FIELD_BOOL,
    SAGA_FIELD_STRING,
    SAGA_FIELD_GROUP,
    SAGA_FIELD_MESSAGE,
    SAGA_FIELD_BYTES,
    SAGA_FIELD_UINT32,
    SAGA_FIELD_ENUM,
    SAGA_FIELD_SFIXED32,
    SAGA_FIELD_SFIXED64,
    SAGA_FIELD_SINT32,
    SAGA_FIELD_SINT64,
};

/* Gives how a field's elements stand on the wire; numbers are VARINT or FIXED also where they are
 * packed. Thread: any. */
enum saga_wire_type saga_field_wire_type(enum saga_field_type type);

struct saga_message_type;
struct saga_enum_type;

struct saga_field {
    const char *name;
    const char *json_name; /* lowerCamelCase */
    uint32_t number;
    enum saga_field_type type;
    bool repeated;
    bool packed;
    bool map; /* repeated message that is a map entry */
    bool
        presence; /* a value that is the default differs from none: message, oneof member, proto2 */
    bool oneof;   /* member of a oneof */
    uint32_t oneof_index;
    const struct saga_message_type *message;  /* with MESSAGE */
    const struct saga_enum_type *enumeration; /* with ENUM */
    const char *comment;                      /* leading comment, or "" */
};

struct saga_enum_value {
    const char *name;
    int32_t number;
};
struct saga_enum_type {
    const char *name;
    const struct saga_enum_value *values;
    size_t value_count;
};

struct saga_message_type {
    const char *name; /* full name "order.v1.CreateOrder", without leading dot */
    const struct saga_field *fields;
    size_t field_count;
    const char *comment;
    const char *file;
};

struct saga_method {
    const char *name;      /* "ReserveStock" */
    const char *full_name; /* "product.v1.ProductService/ReserveStock" */
    const struct saga_message_type *request;
    const struct saga_message_type *response;
    bool no_side_effects; /* option idempotency_level = NO_SIDE_EFFECTS */
    bool streaming;       /* of requests or responses: sagad cannot call it */
    const char *comment;
};

struct saga_service {
    const char *name; /* "product.v1.ProductService" */
    const struct saga_method *methods;
    size_t method_count;
    const char *command_topic; /* "" when it has none */
    const char *reply_topic;
    const char *comment;
};

/* Loads a FileDescriptorSet (copied). Errors: LIMIT, MALFORMED, INVALID (a type is missing, …);
 * detail says. Sagas that fail a static check are no error here: see the findings. */
enum saga_err saga_schema_load(struct saga_bytes descriptor_set, struct saga_schema **schema,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;
/* The same for a set that this program, or an earlier one, has accepted before: sagas may be in
 * flight on it, so checks that have come since (docs/lint.md says which) do not refuse it. */
enum saga_err saga_schema_load_stored(struct saga_bytes descriptor_set, struct saga_schema **schema,
                                      struct saga_err_detail *detail) SAGA_WARN_UNUSED;

void saga_schema_free(struct saga_schema *schema);

/* Finds by full name (of a field: its own name); NULL when there is none. */
const struct saga_message_type *saga_schema_message(const struct saga_schema *schema,
                                                    const char *name);
const struct saga_service *saga_schema_service(const struct saga_schema *schema, const char *name);
const struct saga_method *saga_schema_method(const struct saga_schema *schema,
                                             const char *full_name);
const struct saga_field *saga_message_field(const struct saga_message_type *type, const char *name);
const struct saga_field *saga_message_field_by_number(const struct saga_message_type *type,
                                                      uint32_t number);

const struct saga_enum_type *saga_schema_enum(const struct saga_schema *schema, const char *name);

/* Walks services and messages in the file's order. */
size_t saga_schema_service_count(const struct saga_schema *schema);
const struct saga_service *saga_schema_service_at(const struct saga_schema *schema, size_t index);
size_t saga_schema_message_count(const struct saga_schema *schema);
const struct saga_message_type *saga_schema_message_at(const struct saga_schema *schema,
                                                       size_t index);

/* ---- Bind tables: data moves by copying wire bytes, no message is decoded. ---- */

struct saga_bind_field {
    uint32_t from; /* field number that is read */
    uint32_t to;   /* field number that is written */
};

struct saga_bind_table {
    struct saga_bind_field fields[SAGA_BINDS_MAX]; /* by from, ascending */
    size_t count;
};

/* Appends to out, for every top-level field of source (wire bytes) that the table knows, the same
 * value under its new number: builds a request from a context. Errors: MALFORMED, NO_MEMORY. */
enum saga_err saga_bind_build(const struct saga_bind_table *table, struct saga_bytes source,
                              struct saga_buf *out) SAGA_WARN_UNUSED;

/* Appends to out the context with every field that the table writes replaced by what the reply has
 * (a field that the reply does not have becomes default, that is absent): merges a reply into a
 * context. Errors: MALFORMED, LIMIT (context too large), NO_MEMORY. */
enum saga_err saga_bind_merge(const struct saga_bind_table *table, struct saga_bytes context,
                              struct saga_bytes reply, struct saga_buf *out) SAGA_WARN_UNUSED;

/* ---- Saga definitions ---- */

/* A `when` condition, compiled: field number and the wire form that the value must have. */
struct saga_when {
    bool there; /* the step has a condition */
    uint32_t field;
    enum saga_field_type type;
    bool must_be_set; /* any value but the default */
    bool is_default;  /* it must equal the default: absent on the wire counts */
    bool is_bytes;    /* compare bytes, else compare the number */
    uint64_t number;
    struct saga_bytes bytes;
};

struct saga_decl;

struct saga_step_decl {
    const char *name;
    const struct saga_method *call; /* NULL: done by the starter, or by a child saga */
    const struct saga_method *undo; /* NULL: none, or done by a child saga */
    const struct saga_decl *child; /* the saga that the step runs, in the same schema; NULL: none */
    const struct saga_service *call_service;
    const struct saga_service *undo_service;
    uint64_t after_mask; /* direct predecessors, by index */
    bool read_only;
    bool pivot;
    enum saga_via call_via;
    enum saga_via undo_via;
    uint32_t call_attempts_max, undo_attempts_max; /* defaults filled in */
    int64_t call_delay_ms, call_delay_ms_max, undo_delay_ms, undo_delay_ms_max;
    int64_t call_deadline_ms, undo_deadline_ms;
    /* With a child: call_bind fills its context, result_bind reads from it. */
    struct saga_bind_table call_bind, undo_bind, result_bind;
    struct saga_when when;
};

enum { SAGA_HASH_SIZE = 32 };

struct saga_decl {
    const char *name;
    const struct saga_message_type *context;
    int64_t deadline_ms; /* default filled in */
    const struct saga_step_decl *steps;
    size_t step_count;
    uint8_t hash[SAGA_HASH_SIZE]; /* SHA-256 over everything that the run of a saga depends on: its
                                     definition option, context, request and response types in a
                                     canonical form; the hashes of its child sagas are in it, so
                                     that a version pins theirs; comments and unrelated files do not
                                     count */
};

/* Walks the definitions that compiled; those that failed a check are not there. */
size_t saga_schema_decl_count(const struct saga_schema *schema);
const struct saga_decl *saga_schema_decl_at(const struct saga_schema *schema, size_t index);
const struct saga_decl *saga_schema_decl(const struct saga_schema *schema, const char *name);

/* A finding of the static checks. */
struct saga_finding {
    const char *code; /* "SAGA001" */
    const char *file;
    int line, column;    /* from 1; 0 without source info */
    int step;            /* its index; -1: the definition as a whole */
    const char *where;   /* "order.v1.CreateOrder step \"payment\"" */
    const char *message; /* what is wrong and how to mend it */
};

/* Walks the findings of all definitions in the schema, in the order of files and lines. A
 * definition with any finding is refused. */
size_t saga_schema_finding_count(const struct saga_schema *schema);
const struct saga_finding *saga_schema_finding_at(const struct saga_schema *schema, size_t index);

/* Tells whether a condition holds for a context. */
bool saga_when_holds(const struct saga_when *when, struct saga_bytes context);

/* Checks that bytes are a well-formed message of a type: known fields have their wire type, nested
 * messages and UTF-8 included. Errors: MALFORMED; detail names the field. */
enum saga_err saga_message_check(const struct saga_message_type *type, struct saga_bytes bytes,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
