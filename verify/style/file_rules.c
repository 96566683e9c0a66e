/* Rules of a file by itself, and of the files of a package. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/style/style_internal.h"

/* Gives how much of a file's name is its folder; 0: none. */
static size_t folder_size(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash == NULL ? 0 : (size_t)(slash - name);
}

static const char *folder_text(const char *name)
{
    return folder_size(name) == 0 ? "." : name;
}

static int folder_width(const char *name)
{
    size_t size = folder_size(name);
    return size == 0 ? 1 : size > SAGA_TYPE_NAME_MAX ? SAGA_TYPE_NAME_MAX : (int)size;
}

/* ---- One file ---- */

static struct saga_style_at at_package(struct saga_style_run *run, size_t file)
{
    struct saga_style_at at = saga_style_at_file(run, file);
    at.path = (struct saga_path){.at = {SAGA_STYLE_FILE_PACKAGE}, .size = 1};
    return at;
}

static void judge_package(struct saga_style_at *at, const char *package)
{
    for (const char *part = package;;) {
        const char *dot = strchr(part, '.');
        size_t size = dot == NULL ? strlen(part) : (size_t)(dot - part);
        if (!saga_style_is_lower_snake(part, size)) {
            saga_style_add(at, SAGA_STYLE_PACKAGE_LOWER_SNAKE_CASE, 0,
                           "the part \"%.*s\" of the package is not lower_snake_case; write small "
                           "letters, digits and single '_'",
                           (int)(size > 64 ? 64 : size), part);
        }
        if (dot == NULL) {
            if (!saga_style_is_version(part, size)) {
                saga_style_add(at, SAGA_STYLE_PACKAGE_VERSION_SUFFIX, 0,
                               "the package has no version, so that the next one would have no "
                               "place beside it; call it %.200s.v1",
                               package);
            }
            return;
        }
        part = dot + 1;
    }
}

static void judge_folder(struct saga_style_at *at, const char *name, const char *package)
{
    char wanted[SAGA_TYPE_NAME_MAX + 1];
    (void)snprintf(wanted, sizeof wanted, "%s", package);
    for (char *c = wanted; *c != '\0'; c++) {
        *c = *c == '.' ? '/' : *c;
    }
    size_t size = folder_size(name);
    if (size != strlen(wanted) || memcmp(name, wanted, size) != 0) {
        saga_style_add(at, SAGA_STYLE_PACKAGE_DIRECTORY_MATCH, 0,
                       "the file is in the folder %.*s, its package belongs into %.200s; move the "
                       "file, or mend the package (folders count from --proto-path)",
                       folder_width(name), folder_text(name), wanted);
    }
}

static void judge_file_name(struct saga_style_at *at, const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash == NULL ? name : slash + 1;
    size_t size = strlen(base);
    if (saga_style_ends_with(base, ".proto")) {
        size -= strlen(".proto");
    }
    if (!saga_style_is_lower_snake(base, size)) {
        char stem[256];
        char wanted[256];
        (void)snprintf(stem, sizeof stem, "%.*s", (int)(size > 200 ? 200 : size), base);
        saga_style_snake(stem, false, wanted, sizeof wanted);
        saga_style_add(at, SAGA_STYLE_FILE_LOWER_SNAKE_CASE, 0,
                       "the file's name is not lower_snake_case; call it %s.proto", wanted);
    }
}

/* protoc keeps "proto2" silent: only source info tells whether it was written. */
static bool syntax_missing(const struct saga_style_run *run, size_t file)
{
    const struct saga_path path = {.at = {SAGA_STYLE_FILE_SYNTAX}, .size = 1};
    const struct saga_source *source = &run->sources[file];
    return saga_style_text(run->set->file[file]->syntax)[0] == '\0' && source->count > 0 &&
           saga_source_find(source, &path) == NULL;
}

/* Goes to an import; false: the set has no such one. */
static bool enter_import(struct saga_style_at *at, const raw_file *file, int32_t index)
{
    if (index < 0 || (size_t)index >= file->n_dependency) {
        return false;
    }
    at->name[0] = '\0';
    (void)saga_style_enter(at, SAGA_STYLE_FILE_DEPENDENCY, (size_t)index, file->dependency[index]);
    return true;
}

static void judge_import_kinds(struct saga_style_run *run, size_t index)
{
    const raw_file *file = run->set->file[index];
    for (size_t i = 0; i < file->n_public_dependency; i++) {
        struct saga_style_at at = saga_style_at_file(run, index);
        if (enter_import(&at, file, file->public_dependency[i])) {
            saga_style_add(&at, SAGA_STYLE_IMPORT_NO_PUBLIC, 0,
                           "a public import hands on what others should import by themselves; "
                           "leave out the word public, and let them import it");
        }
    }
    for (size_t i = 0; i < file->n_weak_dependency; i++) {
        struct saga_style_at at = saga_style_at_file(run, index);
        if (enter_import(&at, file, file->weak_dependency[i])) {
            saga_style_add(&at, SAGA_STYLE_IMPORT_NO_WEAK, 0,
                           "a weak import may be missing when it is needed; leave out the word "
                           "weak");
        }
    }
}

void saga_style_file(struct saga_style_run *run, size_t index)
{
    const raw_file *file = run->set->file[index];
    const char *name = saga_style_text(file->name);
    const char *package = saga_style_text(file->package);
    struct saga_style_at at = saga_style_at_file(run, index);
    (void)snprintf(at.name, sizeof at.name, "%s", name);
    judge_file_name(&at, name);
    if (syntax_missing(run, index)) {
        saga_style_add(&at, SAGA_STYLE_SYNTAX_SPECIFIED, 0,
                       "the file does not say its syntax, and is taken for proto2; begin it with "
                       "syntax = \"proto3\";");
    }
    judge_import_kinds(run, index);
    if (package[0] == '\0') {
        saga_style_add(&at, SAGA_STYLE_PACKAGE_DEFINED, 0,
                       "the file has no package, so that its names may meet those of others; add "
                       "one, such as package shop.v1;");
        return;
    }
    at = at_package(run, index);
    judge_package(&at, package);
    judge_folder(&at, name, package);
}

/* ---- Files together ---- */

/* A file among the others. */
struct member {
    size_t file;
    const char *name, *package;
};

static int compare_folders(const char *a, const char *b)
{
    size_t a_size = folder_size(a);
    size_t b_size = folder_size(b);
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int by_package(const void *a, const void *b)
{
    const struct member *left = a;
    const struct member *right = b;
    int order = strcmp(left->package, right->package);
    return order != 0 ? order : (left->file > right->file) - (left->file < right->file);
}

static int by_folder(const void *a, const void *b)
{
    const struct member *left = a;
    const struct member *right = b;
    int order = compare_folders(left->name, right->name);
    return order != 0 ? order : (left->file > right->file) - (left->file < right->file);
}

/* An option that the files of a package agree on. */
struct agreement {
    size_t rule;
    const char *option;
    int number; /* in FileOptions */
    const char *(*value)(const Google__Protobuf__FileOptions *options);
};

static const char *csharp(const Google__Protobuf__FileOptions *options)
{
    return options->csharp_namespace;
}
static const char *go(const Google__Protobuf__FileOptions *options)
{
    return options->go_package;
}
static const char *java_files(const Google__Protobuf__FileOptions *options)
{
    return options->has_java_multiple_files && options->java_multiple_files ? "true" : NULL;
}
static const char *java(const Google__Protobuf__FileOptions *options)
{
    return options->java_package;
}
static const char *php(const Google__Protobuf__FileOptions *options)
{
    return options->php_namespace;
}
static const char *ruby(const Google__Protobuf__FileOptions *options)
{
    return options->ruby_package;
}
static const char *swift(const Google__Protobuf__FileOptions *options)
{
    return options->swift_prefix;
}

static const struct agreement agreements[] = {
    {SAGA_STYLE_PACKAGE_SAME_CSHARP_NAMESPACE, "csharp_namespace", 37, csharp},
    {SAGA_STYLE_PACKAGE_SAME_GO_PACKAGE, "go_package", 11, go},
    {SAGA_STYLE_PACKAGE_SAME_JAVA_MULTIPLE_FILES, "java_multiple_files", 10, java_files},
    {SAGA_STYLE_PACKAGE_SAME_JAVA_PACKAGE, "java_package", 1, java},
    {SAGA_STYLE_PACKAGE_SAME_PHP_NAMESPACE, "php_namespace", 41, php},
    {SAGA_STYLE_PACKAGE_SAME_RUBY_PACKAGE, "ruby_package", 45, ruby},
    {SAGA_STYLE_PACKAGE_SAME_SWIFT_PREFIX, "swift_prefix", 39, swift},
};

static const char *option_of(const raw_file *file, const struct agreement *agreement)
{
    return saga_style_text(file->options == NULL ? NULL : agreement->value(file->options));
}

/* Compares a file with the first one of its package. */
static void judge_same_package(struct saga_style_run *run, const struct member *first,
                               const struct member *other)
{
    struct saga_style_at at = at_package(run, other->file);
    if (compare_folders(first->name, other->name) != 0) {
        saga_style_add(&at, SAGA_STYLE_PACKAGE_SAME_DIRECTORY, 0,
                       "the package has files in %.*s and in %.*s; keep them in one folder",
                       folder_width(first->name), folder_text(first->name),
                       folder_width(other->name), folder_text(other->name));
    }
    for (size_t i = 0; i < sizeof agreements / sizeof agreements[0]; i++) {
        const char *wanted = option_of(run->set->file[first->file], &agreements[i]);
        const char *value = option_of(run->set->file[other->file], &agreements[i]);
        if (strcmp(wanted, value) != 0) {
            struct saga_style_at option = saga_style_at_file(run, other->file);
            option.path = (struct saga_path){.at = {SAGA_STYLE_FILE_OPTIONS, agreements[i].number},
                                             .size = 2};
            saga_style_add(value[0] == '\0' ? &at : &option, agreements[i].rule, 0,
                           "%s is \"%.100s\" here and \"%.100s\" in %.100s, of the same package; "
                           "write the same in both",
                           agreements[i].option, value, wanted, first->name);
        }
    }
}

static void judge_same_folder(struct saga_style_run *run, const struct member *first,
                              const struct member *other)
{
    if (strcmp(first->package, other->package) != 0) {
        struct saga_style_at at = at_package(run, other->file);
        saga_style_add(&at, SAGA_STYLE_DIRECTORY_SAME_PACKAGE, 0,
                       "the folder %.*s has files of the packages %.100s (%.100s) and %.100s; give "
                       "each package a folder of its own",
                       folder_width(other->name), folder_text(other->name),
                       first->package[0] == '\0' ? "(none)" : first->package, first->name,
                       other->package[0] == '\0' ? "(none)" : other->package);
    }
}

void saga_style_packages(struct saga_style_run *run)
{
    struct member *members = saga_style_take(run, run->set->n_file, sizeof *members);
    size_t count = 0;
    if (members == NULL) {
        return;
    }
    for (size_t i = 0; i < run->set->n_file; i++) {
        const raw_file *file = run->set->file[i];
        if (run->judged[i]) {
            members[count++] =
                (struct member){i, saga_style_text(file->name), saga_style_text(file->package)};
        }
    }
    qsort(members, count, sizeof *members, by_package);
    for (size_t i = 1, first = 0; i < count; i++) {
        first = strcmp(members[first].package, members[i].package) == 0 ? first : i;
        if (first != i && members[i].package[0] != '\0') {
            judge_same_package(run, &members[first], &members[i]);
        }
    }
    qsort(members, count, sizeof *members, by_folder);
    for (size_t i = 1, first = 0; i < count; i++) {
        first = compare_folders(members[first].name, members[i].name) == 0 ? first : i;
        if (first != i) {
            judge_same_folder(run, &members[first], &members[i]);
        }
    }
}
