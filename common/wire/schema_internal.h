/* Inside the room wire: what the parts of the schema share. */
#ifndef SAGA_WIRE_SCHEMA_INTERNAL_H
#define SAGA_WIRE_SCHEMA_INTERNAL_H

#include "common/base/arena.h"
#include "common/wire/schema.h"
#include "common/wire/source.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "saga/v1/options.pb-c.h"

/* Numbers of our extensions of google.protobuf options, and of the path elements of source info. */
enum {
    SAGA_OPTION_DEFINITION = 50100,
    SAGA_OPTION_TOPICS = 50101,
    SAGA_PATH_FILE_MESSAGE = 4,
    SAGA_PATH_FILE_SERVICE = 6,
    SAGA_PATH_MESSAGE_FIELD = 2,
    SAGA_PATH_MESSAGE_NESTED = 3,
    SAGA_PATH_MESSAGE_OPTIONS = 7,
    SAGA_PATH_SERVICE_METHOD = 2,
    SAGA_PATH_DEFINITION_STEP = 3,
};

/* What a full name stands for. */
enum saga_name_kind { SAGA_NAME_MESSAGE, SAGA_NAME_ENUM, SAGA_NAME_SERVICE };

struct saga_name {
    const char *name;
    enum saga_name_kind kind;
    size_t index; /* in the array of its kind */
};

/* All memory is in the arena. */
struct saga_schema {
    struct saga_arena arena;
    struct saga_message_type *messages;
    size_t message_count;
    struct saga_enum_type *enums;
    size_t enum_count;
    struct saga_service *services;
    size_t service_count;
    struct saga_name *names; /* sorted */
    size_t name_count;
    struct saga_decl *decls;
    size_t decl_count;
    struct saga_finding *findings;
    size_t finding_count;
};

/* Finds a name of a kind. Returns false when there is none. */
bool saga_schema_find(const struct saga_schema *schema, const char *name, enum saga_name_kind kind,
                      size_t *index);

/* Takes cleared memory for count things. */
void *saga_arena_take_zero(struct saga_arena *arena, size_t count, size_t size);

/* Copies a text; NULL: no memory. */
char *saga_arena_text(struct saga_arena *arena, const char *text);

/* ---- Loading ---- */

/* A definition as it was found. */
struct saga_found {
    const struct saga_message_type *context;
    const Saga__V1__Definition *option;
    const char *file;
    struct saga_place place;                 /* of the option, else of the message */
    struct saga_place steps[SAGA_STEPS_MAX]; /* of each step, else the option's */
};

struct saga_loader {
    struct saga_schema *schema;
    struct saga_arena scratch; /* what is not needed after loading */
    struct saga_err_detail *detail;
    const Google__Protobuf__FileDescriptorSet *set;
    bool stored; /* an earlier program has accepted it: what is checked since then does not count */
    struct saga_source *sources;                                   /* by file */
    const Google__Protobuf__DescriptorProto **raw;                 /* by message */
    const Google__Protobuf__ServiceDescriptorProto **raw_services; /* by service */
    struct saga_found *found;                                      /* SAGA_DEFINITIONS_MAX */
    size_t found_count;
};

/* Refuses a set with a file that is there twice, that imports one that is not there, or that
 * imports itself, be it by others. */
enum saga_err saga_load_files(struct saga_loader *loader);

/* Fills messages, enums and services of the schema. */
enum saga_err saga_load_types(struct saga_loader *loader);

/* Resolves the types of fields and methods. */
enum saga_err saga_load_links(struct saga_loader *loader);

/* Decodes our extension out of the unknown fields of an options message (NULL: there is none):
 * *message is NULL when it is not there. name is for the detail. */
enum saga_err saga_load_option(struct saga_loader *loader, const ProtobufCMessage *options,
                               uint32_t number, const ProtobufCMessageDescriptor *type,
                               const char *name, ProtobufCMessage **message);

/* ---- Definitions ---- */

/* A definition on its way through the checks. */
struct saga_draft {
    struct saga_loader *loader;
    const struct saga_found *found;
    const Saga__V1__Definition *option;
    struct saga_decl decl;
    struct saga_step_decl *steps;
    uint64_t ancestors[SAGA_STEPS_MAX];
    uint64_t pivot_mask;
    bool graph_good;
    /* Nesting. */
    struct saga_draft *children[SAGA_STEPS_MAX]; /* by step; NULL: no child, or no such saga */
    bool checked;                                /* this one is through its checks */
    bool in_circle;                              /* it is, by way of others, in itself */
    size_t nest_depth;                           /* 1: no step of it is a saga */
    size_t nest_count;                           /* sagas that one run of it comes to */
    struct saga_decl *accepted;                  /* the schema's; NULL: it was refused */
    size_t finding_count;
    struct saga_draft_finding *findings; /* newest first */
    bool no_memory;
};

struct saga_draft_finding {
    struct saga_finding finding;
    size_t order;
    struct saga_draft_finding *next;
};

enum { SAGA_LINT_WHOLE = -1 }; /* in place of a step's index */

/* Notes a finding about a step or the whole definition. */
void saga_lint_add(struct saga_draft *draft, const char *code, int step, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Tells whether a step runs a child saga; else whether whoever starts the saga has done it. */
static inline bool saga_lint_is_child(const Saga__V1__Step *step)
{
    return step->saga[0] != '\0';
}
static inline bool saga_lint_is_starter(const Saga__V1__Step *step)
{
    return step->saga[0] == '\0' && step->call[0] == '\0';
}

/* Finds the child sagas of all drafts, and an order in which children come before those that they
 * are in; what is in a circle comes last. */
void saga_lint_order(struct saga_draft **drafts, size_t count, struct saga_draft **order);

/* Checks all definitions that were found; those without findings become the schema's. */
enum saga_err saga_lint_all(struct saga_loader *loader);

/* The checks, in their order; each fills its part of the draft. */
void saga_lint_names(struct saga_draft *draft);
void saga_lint_children(struct saga_draft *draft);
void saga_lint_graph(struct saga_draft *draft);
void saga_lint_methods(struct saga_draft *draft);
void saga_lint_roles(struct saga_draft *draft);
void saga_lint_binds(struct saga_draft *draft);
void saga_lint_flow(struct saga_draft *draft);
void saga_lint_policies(struct saga_draft *draft);
void saga_lint_conditions(struct saga_draft *draft);
void saga_lint_topics(struct saga_draft *draft);

/* Compiles a condition. Returns NULL, or what is wrong with `equals`. */
const char *saga_when_compile(const struct saga_field *field, const char *equals,
                              struct saga_arena *arena, struct saga_when *when);

/* Tells whether values of two fields can be copied from one to the other. */
bool saga_fields_agree(const struct saga_field *a, const struct saga_field *b);

/* The forms that hashes are made of: those of types are made once for all definitions of a schema.
 */
struct saga_forms;

/* Opens the forms of a schema whose types are linked; their memory is the arena's. NULL: no memory.
 */
struct saga_forms *saga_forms_open(const struct saga_schema *schema, struct saga_arena *arena);

/* Computes the hash of a compiled definition. Pre: those of its children are computed. LIMIT: all
 * definitions together have more than SAGA_FORMS_SIZE_MAX to hash. */
enum saga_err saga_decl_hash(struct saga_forms *forms, struct saga_decl *decl);

#endif
