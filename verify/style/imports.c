/* What is imported is used: by the type of a field or method, by an extension or an option that is
 * set, or by a saga that names a method or a child saga. Recursion is over nested types and
 * bounded: decoding bounds the nesting (SAGA_MESSAGE_DEPTH_MAX). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/message.h"
#include "common/wire/wire.h"
#include "saga/v1/options.pb-c.h"
#include "verify/style/style_internal.h"

enum {
    DEFINITION_NUMBER = 50100, /* saga.v1.definition */
    PUBLIC_MAX = 1024,         /* files that one import may hand on and that are looked at */
};

/* Something with a name, and the file that declares it. An extension's name is what it extends;
 * names of different kinds do not meet: a saga's has no dot, a file's a slash or a dot that no type
 * has. */
struct symbol {
    const char *name;
    uint32_t number; /* of an extension; else 0 */
    size_t file;
};

struct symbols {
    struct symbol *list;
    size_t count, capacity;
};

/* Where the walk over uses is. */
struct walk {
    struct saga_style_run *run;
    struct symbols types, extensions, sagas, files;
    size_t *used;    /* by file: 1 + the file that used it last */
    size_t *seen;    /* by file: the number of the search that saw it last */
    size_t *waiting; /* PUBLIC_MAX + 1 */
    size_t searches;
    size_t file;  /* whose uses are noted */
    bool unknown; /* it uses a name that nobody declares */
};

/* ---- Tables ---- */

static int compare_symbols(const void *a, const void *b)
{
    const struct symbol *left = a;
    const struct symbol *right = b;
    int order = strcmp(left->name, right->name);
    if (order == 0) {
        order = (left->number > right->number) - (left->number < right->number);
    }
    return order == 0 ? (left->file > right->file) - (left->file < right->file) : order;
}

static void add_symbol(struct walk *walk, struct symbols *symbols, struct symbol symbol)
{
    if (symbols->count == symbols->capacity) {
        size_t capacity = 2 * symbols->capacity + 64;
        struct symbol *list = saga_style_take(walk->run, capacity, sizeof *list);
        if (list == NULL) {
            return;
        }
        if (symbols->count > 0) {
            memcpy(list, symbols->list, symbols->count * sizeof *list);
        }
        symbols->list = list;
        symbols->capacity = capacity;
    }
    symbols->list[symbols->count++] = symbol;
}

static void sort_symbols(struct symbols *symbols)
{
    if (symbols->count > 0) {
        qsort(symbols->list, symbols->count, sizeof *symbols->list, compare_symbols);
    }
}

/* Finds the first of its name and number; NULL: none. */
static const struct symbol *find_symbol(const struct symbols *symbols, const char *name,
                                        uint32_t number)
{
    size_t low = 0;
    size_t high = symbols->count;
    const struct symbol wanted = {name, number, 0};
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_symbols(&symbols->list[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool there = low < symbols->count && strcmp(symbols->list[low].name, name) == 0 &&
                 symbols->list[low].number == number;
    return there ? &symbols->list[low] : NULL;
}

/* Copies SCOPE.NAME. */
static const char *join(struct walk *walk, const char *scope, const char *name)
{
    size_t size = strlen(scope) + strlen(name) + 2;
    char *full = saga_style_take(walk->run, size, 1);
    if (full != NULL) {
        (void)snprintf(full, size, "%s%s%s", scope, scope[0] == '\0' ? "" : ".", name);
    }
    return full == NULL ? "" : full;
}

static const char *without_dot(const char *name)
{
    return name[0] == '.' ? name + 1 : name;
}

/* ---- What is declared ---- */

/* Decodes one occurrence of the option (saga.v1.definition). NULL: it is none. */
static const Saga__V1__Definition *decode_definition(struct walk *walk,
                                                     const ProtobufCMessageUnknownField *unknown)
{
    if (unknown->tag != DEFINITION_NUMBER ||
        unknown->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) {
        return NULL;
    }
    struct saga_wire_reader reader =
        saga_wire_read((struct saga_bytes){unknown->data, unknown->len});
    uint64_t size = 0;
    ProtobufCMessage *message = NULL;
    if (!saga_wire_varint(&reader, &size) || size != (uint64_t)(reader.end - reader.at) ||
        saga_message_unpack(&saga__v1__definition__descriptor,
                            (struct saga_bytes){reader.at, (size_t)size}, &walk->run->scratch,
                            &message) != SAGA_ERR_OK) {
        return NULL;
    }
    return (const Saga__V1__Definition *)message;
}

static void declare_extensions(struct walk *walk, raw_field *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct symbol symbol = {without_dot(saga_style_text(fields[i]->extendee)),
                                (uint32_t)fields[i]->number, walk->file};
        add_symbol(walk, &walk->extensions, symbol);
    }
}

static void declare_message(struct walk *walk, const char *scope, const raw_message *type)
{
    const char *name = join(walk, scope, saga_style_text(type->name));
    add_symbol(walk, &walk->types, (struct symbol){name, 0, walk->file});
    declare_extensions(walk, type->extension, type->n_extension);
    for (size_t i = 0; i < type->n_enum_type; i++) {
        const char *inner = join(walk, name, saga_style_text(type->enum_type[i]->name));
        add_symbol(walk, &walk->types, (struct symbol){inner, 0, walk->file});
    }
    for (size_t i = 0; i < type->n_nested_type; i++) {
        declare_message(walk, name, type->nested_type[i]);
    }
    const ProtobufCMessage *options = type->options == NULL ? NULL : &type->options->base;
    for (unsigned i = 0; options != NULL && i < options->n_unknown_fields; i++) {
        const Saga__V1__Definition *definition =
            decode_definition(walk, &options->unknown_fields[i]);
        if (definition != NULL) {
            add_symbol(walk, &walk->sagas, (struct symbol){definition->name, 0, walk->file});
        }
    }
}

static void declare_file(struct walk *walk, const raw_file *file)
{
    const char *package = saga_style_text(file->package);
    add_symbol(walk, &walk->files, (struct symbol){saga_style_text(file->name), 0, walk->file});
    for (size_t i = 0; i < file->n_message_type; i++) {
        declare_message(walk, package, file->message_type[i]);
    }
    for (size_t i = 0; i < file->n_enum_type; i++) {
        const char *name = join(walk, package, saga_style_text(file->enum_type[i]->name));
        add_symbol(walk, &walk->types, (struct symbol){name, 0, walk->file});
    }
    for (size_t i = 0; i < file->n_service; i++) {
        const char *name = join(walk, package, saga_style_text(file->service[i]->name));
        add_symbol(walk, &walk->types, (struct symbol){name, 0, walk->file});
    }
    declare_extensions(walk, file->extension, file->n_extension);
}

/* ---- What is used ---- */

static void note(struct walk *walk, const struct symbol *symbol)
{
    if (symbol == NULL) {
        walk->unknown = true; /* then nothing can be said of what is not used */
    } else {
        walk->used[symbol->file] = walk->file + 1;
    }
}

static void use_type(struct walk *walk, const char *name)
{
    if (name != NULL && name[0] != '\0') {
        note(walk, find_symbol(&walk->types, without_dot(name), 0));
    }
}

/* A method named by a saga; SAGA016 is about those that are not there. */
static void use_method(struct walk *walk, const char *full)
{
    char service[SAGA_METHOD_NAME_MAX + 1];
    size_t size = strcspn(full, "/");
    if (size > 0 && size < sizeof service) {
        memcpy(service, full, size);
        service[size] = '\0';
        const struct symbol *symbol = find_symbol(&walk->types, service, 0);
        if (symbol != NULL) {
            note(walk, symbol);
        }
    }
}

static void use_definition(struct walk *walk, const Saga__V1__Definition *definition)
{
    for (size_t i = 0; i < definition->n_step; i++) {
        use_method(walk, definition->step[i]->call);
        use_method(walk, definition->step[i]->undo);
        const struct symbol *saga = find_symbol(&walk->sagas, definition->step[i]->saga, 0);
        if (saga != NULL) {
            note(walk, saga);
        }
    }
}

/* An option that protobuf itself does not know is an extension; its file is used. */
static void use_options(struct walk *walk, const ProtobufCMessage *options)
{
    for (unsigned i = 0; options != NULL && i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *unknown = &options->unknown_fields[i];
        const struct symbol *extension =
            find_symbol(&walk->extensions, options->descriptor->name, unknown->tag);
        const Saga__V1__Definition *definition = NULL;
        if (strcmp(options->descriptor->name, "google.protobuf.MessageOptions") == 0) {
            definition = decode_definition(walk, unknown);
        }
        if (definition != NULL) {
            use_definition(walk, definition);
        }
        note(walk, extension);
    }
}

static void use_fields(struct walk *walk, raw_field *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        use_type(walk, fields[i]->type_name);
        use_type(walk, fields[i]->extendee);
        use_options(walk, fields[i]->options == NULL ? NULL : &fields[i]->options->base);
    }
}

static void use_enum(struct walk *walk, const raw_enum *type)
{
    use_options(walk, type->options == NULL ? NULL : &type->options->base);
    for (size_t i = 0; i < type->n_value; i++) {
        const Google__Protobuf__EnumValueOptions *options = type->value[i]->options;
        use_options(walk, options == NULL ? NULL : &options->base);
    }
}

static void use_message(struct walk *walk, const raw_message *type)
{
    use_options(walk, type->options == NULL ? NULL : &type->options->base);
    use_fields(walk, type->field, type->n_field);
    use_fields(walk, type->extension, type->n_extension);
    for (size_t i = 0; i < type->n_oneof_decl; i++) {
        const Google__Protobuf__OneofOptions *options = type->oneof_decl[i]->options;
        use_options(walk, options == NULL ? NULL : &options->base);
    }
    for (size_t i = 0; i < type->n_extension_range; i++) {
        const Google__Protobuf__ExtensionRangeOptions *options = type->extension_range[i]->options;
        use_options(walk, options == NULL ? NULL : &options->base);
    }
    for (size_t i = 0; i < type->n_enum_type; i++) {
        use_enum(walk, type->enum_type[i]);
    }
    for (size_t i = 0; i < type->n_nested_type; i++) {
        use_message(walk, type->nested_type[i]);
    }
}

static void use_service(struct walk *walk, const raw_service *service)
{
    use_options(walk, service->options == NULL ? NULL : &service->options->base);
    for (size_t i = 0; i < service->n_method; i++) {
        const raw_method *method = service->method[i];
        use_type(walk, method->input_type);
        use_type(walk, method->output_type);
        use_options(walk, method->options == NULL ? NULL : &method->options->base);
    }
}

static void use_file(struct walk *walk, const raw_file *file)
{
    use_options(walk, file->options == NULL ? NULL : &file->options->base);
    for (size_t i = 0; i < file->n_message_type; i++) {
        use_message(walk, file->message_type[i]);
    }
    for (size_t i = 0; i < file->n_enum_type; i++) {
        use_enum(walk, file->enum_type[i]);
    }
    for (size_t i = 0; i < file->n_service; i++) {
        use_service(walk, file->service[i]);
    }
    use_fields(walk, file->extension, file->n_extension);
}

/* ---- Imports ---- */

static void wait_for(struct walk *walk, size_t *count, size_t file)
{
    if (*count < PUBLIC_MAX && walk->seen[file] != walk->searches) {
        walk->seen[file] = walk->searches;
        walk->waiting[(*count)++] = file;
    }
}

/* Tells whether a file, or one that it hands on by a public import, is used. */
static bool is_used(struct walk *walk, size_t file)
{
    size_t count = 0;
    walk->searches++;
    wait_for(walk, &count, file);
    for (size_t i = 0; i < count; i++) {
        const raw_file *at = walk->run->set->file[walk->waiting[i]];
        if (walk->used[walk->waiting[i]] == walk->file + 1) {
            return true;
        }
        for (size_t k = 0; k < at->n_public_dependency; k++) {
            int32_t index = at->public_dependency[k];
            if (index >= 0 && (size_t)index < at->n_dependency) {
                const struct symbol *next = find_symbol(&walk->files, at->dependency[index], 0);
                if (next != NULL) {
                    wait_for(walk, &count, next->file);
                }
            }
        }
    }
    return count == PUBLIC_MAX; /* too many to know */
}

/* A public import is there for others. */
static bool is_public(const raw_file *file, size_t dependency)
{
    for (size_t i = 0; i < file->n_public_dependency; i++) {
        if (file->public_dependency[i] >= 0 && (size_t)file->public_dependency[i] == dependency) {
            return true;
        }
    }
    return false;
}

static void judge_file(struct walk *walk, const raw_file *file)
{
    use_file(walk, file);
    for (size_t i = 0; i < file->n_dependency && !walk->unknown; i++) {
        const struct symbol *import = find_symbol(&walk->files, file->dependency[i], 0);
        if (import == NULL || is_public(file, i) || is_used(walk, import->file)) {
            continue;
        }
        struct saga_style_at at = saga_style_at_file(walk->run, walk->file);
        at.name[0] = '\0';
        (void)saga_style_enter(&at, SAGA_STYLE_FILE_DEPENDENCY, i, file->dependency[i]);
        saga_style_add(&at, SAGA_STYLE_IMPORT_USED, 0,
                       "nothing of the imported file is used here; take the import out");
    }
}

void saga_style_imports(struct saga_style_run *run)
{
    struct walk walk = {.run = run};
    size_t count = run->set->n_file;
    walk.used = saga_style_take(run, count, sizeof *walk.used);
    walk.seen = saga_style_take(run, count, sizeof *walk.seen);
    walk.waiting = saga_style_take(run, PUBLIC_MAX + 1, sizeof *walk.waiting);
    if (run->no_memory || !run->config->rules[SAGA_STYLE_IMPORT_USED]) {
        return;
    }
    for (walk.file = 0; walk.file < count; walk.file++) {
        declare_file(&walk, run->set->file[walk.file]);
    }
    if (run->no_memory) {
        return;
    }
    sort_symbols(&walk.types);
    sort_symbols(&walk.extensions);
    sort_symbols(&walk.sagas);
    sort_symbols(&walk.files);
    for (walk.file = 0; walk.file < count; walk.file++) {
        walk.unknown = false;
        if (run->judged[walk.file]) {
            judge_file(&walk, run->set->file[walk.file]);
        }
    }
}
