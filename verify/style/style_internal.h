/* Inside the room style. */
#ifndef SAGA_STYLE_INTERNAL_H
#define SAGA_STYLE_INTERNAL_H

#include "common/base/arena.h"
#include "common/wire/source.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "verify/style/style.h"

typedef Google__Protobuf__DescriptorProto raw_message;
typedef Google__Protobuf__EnumDescriptorProto raw_enum;
typedef Google__Protobuf__FieldDescriptorProto raw_field;
typedef Google__Protobuf__FileDescriptorProto raw_file;
typedef Google__Protobuf__ServiceDescriptorProto raw_service;
typedef Google__Protobuf__MethodDescriptorProto raw_method;

/* Numbers of fields of descriptor.proto, as source info's paths have them. */
enum {
    SAGA_STYLE_FILE_PACKAGE = 2,
    SAGA_STYLE_FILE_DEPENDENCY = 3,
    SAGA_STYLE_FILE_MESSAGE = 4,
    SAGA_STYLE_FILE_ENUM = 5,
    SAGA_STYLE_FILE_SERVICE = 6,
    SAGA_STYLE_FILE_EXTENSION = 7,
    SAGA_STYLE_FILE_OPTIONS = 8,
    SAGA_STYLE_FILE_SYNTAX = 12,
    SAGA_STYLE_NAME = 1, /* of a message, field, oneof, enum, value, service, method */
    SAGA_STYLE_MESSAGE_FIELD = 2,
    SAGA_STYLE_MESSAGE_NESTED = 3,
    SAGA_STYLE_MESSAGE_ENUM = 4,
    SAGA_STYLE_MESSAGE_EXTENSION = 6,
    SAGA_STYLE_MESSAGE_ONEOF = 8,
    SAGA_STYLE_FIELD_LABEL = 4,
    SAGA_STYLE_ENUM_VALUE = 2,
    SAGA_STYLE_ENUM_OPTIONS = 3,
    SAGA_STYLE_ENUM_OPTIONS_ALIAS = 2,
    SAGA_STYLE_SERVICE_METHOD = 2,
    SAGA_STYLE_METHOD_INPUT = 2,
    SAGA_STYLE_METHOD_OUTPUT = 3,
};

/* One run over a set. */
struct saga_style_run {
    const struct saga_style_config *config;
    const Google__Protobuf__FileDescriptorSet *set;
    struct saga_source *sources; /* by file */
    bool *judged;                /* by file */
    struct saga_arena scratch;
    struct saga_style_result *result;
    bool no_memory;
};

/* Findings, on their way into an array. */
struct saga_style_entry {
    struct saga_style_finding finding;
    struct saga_style_entry *next;
};

struct saga_style_result {
    struct saga_arena arena;
    struct saga_style_entry *entries; /* newest first */
    struct saga_style_finding *findings;
    size_t finding_count, left_out, file_count;
};

enum { SAGA_STYLE_SCOPE_SIZE = 2 * SAGA_TYPE_NAME_MAX };

/* An element of a file. */
struct saga_style_at {
    struct saga_style_run *run;
    size_t file;
    struct saga_path path;
    char name[SAGA_STYLE_SCOPE_SIZE]; /* in full */
};

/* Gives a text that protoc always sets, "" for NULL. */
static inline const char *saga_style_text(const char *text)
{
    return text == NULL ? "" : text;
}

/* Notes a finding about an element; `part` is the field of its descriptor that is meant (its name,
 * for one), which places it more exactly, 0: the whole. */
void saga_style_add(const struct saga_style_at *at, size_t rule, int part, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Gives an element of the file as a whole, whose path is empty. */
struct saga_style_at saga_style_at_file(struct saga_style_run *run, size_t file);

/* Goes into an element: its kind (field of the descriptor) and index, and its name; and out again,
 * given the size that the name had. */
size_t saga_style_enter(struct saga_style_at *at, int kind, size_t index, const char *name);
void saga_style_leave(struct saga_style_at *at, size_t name_size);

/* The rules of one file each, of what is in it, and of all files together. */
void saga_style_file(struct saga_style_run *run, size_t file);
void saga_style_types(struct saga_style_run *run, size_t file);
void saga_style_services(struct saga_style_run *run, size_t file);
void saga_style_packages(struct saga_style_run *run);
void saga_style_imports(struct saga_style_run *run);
void saga_style_unique(struct saga_style_run *run);
void saga_style_ignores(struct saga_style_run *run, size_t file);

/* Rules that a comment switches off: true when `rule` is among them. */
bool saga_style_ignored(const struct saga_source *source, const struct saga_path *path,
                        size_t rule);

/* Judges names. */
bool saga_style_is_pascal(const char *name);
bool saga_style_is_lower_snake(const char *name, size_t size);
bool saga_style_is_upper_snake(const char *name);
bool saga_style_is_version(const char *name, size_t size);
bool saga_style_ends_with(const char *text, const char *tail);

/* Writes "OrderItem" as "ORDER_ITEM" or, lower, "order_item"; cut at size. */
void saga_style_snake(const char *name, bool upper, char *out, size_t size);

/* Writes "order_item" as "OrderItem"; cut at size. */
void saga_style_pascal(const char *name, char *out, size_t size);

/* Takes cleared memory that lives as long as the run; NULL: none, and the run knows. */
void *saga_style_take(struct saga_style_run *run, size_t count, size_t size);

#endif
