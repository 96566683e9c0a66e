/* Inside the room compat: descriptor sets with an index, and what notes a finding. */
#ifndef SAGA_COMPAT_INTERNAL_H
#define SAGA_COMPAT_INTERNAL_H

#include "common/base/arena.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "verify/compat/compat.h"

typedef Google__Protobuf__FileDescriptorSet raw_set;
typedef Google__Protobuf__FileDescriptorProto raw_file;
typedef Google__Protobuf__DescriptorProto raw_message;
typedef Google__Protobuf__FieldDescriptorProto raw_field;
typedef Google__Protobuf__EnumDescriptorProto raw_enum;
typedef Google__Protobuf__EnumValueDescriptorProto raw_value;
typedef Google__Protobuf__ServiceDescriptorProto raw_service;
typedef Google__Protobuf__MethodDescriptorProto raw_method;
typedef Google__Protobuf__SourceCodeInfo__Location raw_location;

/* Elements of a path in source info: field numbers of descriptor.proto. */
enum {
    PATH_FILE_SYNTAX = 12,
    PATH_FILE_PACKAGE = 2,
    PATH_FILE_MESSAGE = 4,
    PATH_FILE_ENUM = 5,
    PATH_FILE_SERVICE = 6,
    PATH_FILE_EXTENSION = 7,
    PATH_FILE_OPTIONS = 8,
    PATH_MESSAGE_FIELD = 2,
    PATH_MESSAGE_NESTED = 3,
    PATH_MESSAGE_ENUM = 4,
    PATH_MESSAGE_EXTENSION = 6,
    PATH_MESSAGE_OPTIONS = 7,
    PATH_MESSAGE_ONEOF = 8,
    PATH_ENUM_VALUE = 2,
    PATH_SERVICE_METHOD = 2,
    PATH_DEFINITION_OPTION = 50100,
    PATH_DEFINITION_STEP = 3,
    PATH_SIZE_MAX = 2 * SAGA_MESSAGE_DEPTH_MAX + 8,
    WHERE_SIZE = 2 * SAGA_TYPE_NAME_MAX + 64,
};

/* One .proto of a set. */
struct compat_file {
    const raw_file *raw;
    const char *name;    /* never NULL */
    const char *package; /* never NULL */
    bool proto3;
    bool foreign;   /* not ours to judge: google/protobuf/; of a part of the whole saga/v1/ too */
    bool elsewhere; /* OLD's: NEW is a part of the whole, and this is of another */
    const raw_location **locations; /* sorted by path */
    size_t location_count;
};

enum compat_item_kind { ITEM_MESSAGE, ITEM_ENUM, ITEM_SERVICE, ITEM_EXTENSION };

/* A thing with a full name. */
struct compat_item {
    const char *name; /* "order.v1.Order"; of an extension its own full name */
    enum compat_item_kind kind;
    const struct compat_file *file;
    const struct compat_item *parent; /* message that it is nested in; NULL: the file */
    int32_t path_kind;
    int32_t path_index;
    union {
        const raw_message *message;
        const raw_enum *enumeration;
        const raw_service *service;
        const raw_field *extension;
    } raw;
    bool map_entry;
};

struct compat_set {
    const raw_set *raw;
    const struct saga_schema *schema;
    struct compat_file *files; /* in the set's order */
    size_t file_count;
    struct compat_item *items; /* in the set's order */
    size_t item_count;
    const struct compat_item **by_name;
};

struct saga_compat {
    struct saga_arena arena;
    struct saga_compat_config config;
    struct saga_schema *old_schema, *new_schema;
    struct compat_set old_set, new_set;
    struct saga_compat_finding *findings; /* SAGA_COMPAT_FINDINGS_MAX */
    size_t finding_count;
    size_t dropped;
    bool no_memory;
};

/* ---- Sets ---- */

/* Indexes a set that the schema room has accepted. Returns false: no memory. */
bool compat_set_open(struct compat_set *set, const raw_set *raw, struct saga_arena *arena);

/* Finds by full name; NULL when there is none of that kind. */
const struct compat_item *compat_set_find(const struct compat_set *set, const char *name,
                                          enum compat_item_kind kind);
const struct compat_file *compat_set_file(const struct compat_set *set, const char *name);

/* Where NEW is a part of the whole, puts down which files of OLD are not its business. */
void compat_part(struct saga_compat *report);

/* Finds in NEW what an item of OLD has become: the same full name, or, where its file has got
 * another package, the name under that. NULL: it is gone. */
const struct compat_item *compat_map(const struct saga_compat *report,
                                     const struct compat_item *old_item);

/* Tells whether type names of OLD and NEW (with leading dot) mean the same. */
bool compat_same_type(const struct saga_compat *report, const char *old_type, const char *new_type);

/* ---- Places ---- */

/* Where something stands. */
struct compat_spot {
    const struct compat_file *file;
    int line, column;
    bool in_old;
};

/* Up to four elements of a path behind an item; `count` of them. */
struct compat_tail {
    int32_t at[4];
    size_t count;
};

/* Finds the place of a part of an item, else of the item itself. */
struct compat_spot compat_spot_item(const struct saga_compat *report,
                                    const struct compat_item *item, struct compat_tail tail);

/* Finds the place of a part of a file. */
struct compat_spot compat_spot_file(const struct saga_compat *report,
                                    const struct compat_file *file, struct compat_tail tail);

/* ---- Findings ---- */

/* What a finding is, but for its message. */
struct compat_note {
    enum saga_compat_code code;
    struct compat_spot spot;
    const char *where; /* copied */
    const char *saga;  /* borrowed from OLD's schema; NULL: of no saga */
    const char *step;
    int step_place;                     /* 1 + the index of the step that the spot is of; 0: none */
    bool lower;                         /* a warning, although its code is an error */
    const struct saga_finding *refused; /* of NEW's static checks; NULL: none */
};

/* Notes a finding, unless its code is disabled. */
void compat_add(struct saga_compat *report, const struct compat_note *note, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Takes cleared memory; NULL: no memory, and the report knows. */
void *compat_take(struct saga_compat *report, size_t count, size_t size);

/* Gives `"text"`, or "none" for an empty one; of the report's memory. */
const char *compat_quote(struct saga_compat *report, const char *text);

/* Gives "a text" or "" for NULL. */
static inline const char *compat_text(const char *text)
{
    return text == NULL ? "" : text;
}

/* Gives a type name without its leading dot. */
static inline const char *compat_bare(const char *type_name)
{
    const char *text = compat_text(type_name);
    return text[0] == '.' ? text + 1 : text;
}

/* Gives the name of a field's type for people: "int64", "order.v1.Order". */
const char *compat_type_name(const raw_field *field);

/* ---- The comparisons, in their order ---- */

void compat_files(struct saga_compat *report);
void compat_message(struct saga_compat *report, const struct compat_item *old_item,
                    const struct compat_item *new_item);
void compat_extension(struct saga_compat *report, const struct compat_item *old_item,
                      const struct compat_item *new_item);
void compat_enum(struct saga_compat *report, const struct compat_item *old_item,
                 const struct compat_item *new_item);
void compat_service(struct saga_compat *report, const struct compat_item *old_item,
                    const struct compat_item *new_item);

/* One field on both sides, whether of a message or an extension. */
struct compat_pair {
    const struct compat_item *old_item, *new_item;
    const raw_field *old_field, *new_field;
    struct compat_spot spot;
    char where[WHERE_SIZE];
};
void compat_field(struct saga_compat *report, const struct compat_pair *pair);

/* A half-open range of numbers. */
struct compat_range {
    int64_t begin, end;
};
/* Finds the first number of a range that none of the others covers. Returns false: all are. */
bool compat_range_gap(struct compat_range range, const struct compat_range *others, size_t count,
                      int64_t *number);

/* ---- Sagas ---- */

/* A saga of OLD on its way through the comparisons. */
struct compat_saga {
    struct saga_compat *report;
    const struct saga_decl *old_decl;
    const struct saga_decl *new_decl;   /* of its name, or its context; NULL: NEW has none */
    const struct compat_item *new_item; /* its context in NEW; NULL with new_decl NULL */
    const struct compat_item *old_item;
};

/* What the room says of one saga; step NULL: of the whole. */
struct compat_saga_note {
    enum saga_compat_code code;
    const struct saga_step_decl *step;
    const struct saga_step_decl *at; /* whose place it has, of OLD or NEW; NULL: that of `step` */
    const struct saga_finding *refused; /* of NEW's static checks, whose place it has; NULL: none */
    bool lower;
};
void compat_saga_add(const struct compat_saga *saga, struct compat_saga_note what,
                     const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Finds a step by its name; NULL: there is none. */
const struct saga_step_decl *compat_step_named(const struct saga_decl *decl, const char *name);
/* Finds what a step of OLD is in NEW: the one of its name, or else one that does the same under a
 * name that OLD does not have. NULL: it is gone. */
const struct saga_step_decl *compat_step_now(const struct compat_saga *saga,
                                             const struct saga_step_decl *old_step);

/* What participants of NEW cannot do for sagas in flight. */
void compat_saga_served(const struct compat_saga *saga);
/* The context: what starters send, what steps have written. Pre: NEW has the saga. */
void compat_saga_context(const struct compat_saga *saga);
/* The steps, the pivot, the times. Pre: NEW has the saga. */
void compat_saga_steps(const struct compat_saga *saga);
void compat_saga_policy(const struct compat_saga *saga);

/* Tells of a step that both have. */
struct compat_step_pair {
    const struct saga_step_decl *old_step, *new_step;
};
void compat_step_flow(const struct compat_saga *saga, struct compat_step_pair pair);

/* All sagas of OLD. */
void compat_sagas(struct saga_compat *report);

#endif
