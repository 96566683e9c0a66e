/* The files of a set: each there once, all that they import there too, and no circle of imports.
 * protoc makes no other sets, except without --include_imports. */
#include <stdlib.h>
#include <string.h>

#include "common/wire/schema_internal.h"

typedef Google__Protobuf__FileDescriptorProto raw_file;

/* A file on its way through the walk. */
struct visit {
    const raw_file *file;
    size_t next; /* import to look at */
    enum { NEW, OPEN, DONE } state;
};

static const char *name_of(const raw_file *file)
{
    return file->name == NULL ? "" : file->name;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(name_of(((const struct visit *)a)->file),
                  name_of(((const struct visit *)b)->file));
}

static struct visit *find_file(struct visit *files, size_t count, const char *name)
{
    raw_file sought = {.name = (char *)(uintptr_t)name};
    struct visit key = {.file = &sought};
    return bsearch(&key, files, count, sizeof *files, compare_files);
}

static enum saga_err check_names(struct saga_loader *loader, const struct visit *files)
{
    for (size_t i = 0; i < loader->set->n_file; i++) {
        if (name_of(files[i].file)[0] == '\0') {
            return saga_err_set(loader->detail, SAGA_ERR_INVALID, "a file without a name");
        }
        if (i > 0 && compare_files(&files[i - 1], &files[i]) == 0) {
            return saga_err_set(loader->detail, SAGA_ERR_INVALID,
                                "the file %.150s is there twice: leave one out",
                                files[i].file->name);
        }
    }
    return SAGA_ERR_OK;
}

/* Goes down the imports of a file, without recursion: stack has room for all files. */
static enum saga_err walk(struct saga_loader *loader, struct visit *files, struct visit **stack)
{
    size_t depth = 1;
    stack[0]->state = OPEN;
    while (depth > 0) {
        struct visit *at = stack[depth - 1];
        if (at->next == at->file->n_dependency) {
            at->state = DONE;
            depth--;
            continue;
        }
        const char *name = at->file->dependency[at->next++];
        struct visit *import = find_file(files, loader->set->n_file, name);
        if (import == NULL) {
            return saga_err_set(loader->detail, SAGA_ERR_INVALID,
                                "%.100s imports %.100s, which is not in the set: make it with "
                                "protoc --include_imports",
                                at->file->name, name);
        }
        if (import->state == OPEN) {
            return saga_err_set(loader->detail, SAGA_ERR_INVALID,
                                "%.100s imports %.100s, which imports it, itself or by others: "
                                "move what both need to a third file",
                                at->file->name, name);
        }
        if (import->state == NEW) {
            import->state = OPEN;
            stack[depth++] = import;
        }
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_load_files(struct saga_loader *loader)
{
    size_t count = loader->set->n_file;
    struct visit *files = saga_arena_take_zero(&loader->scratch, count, sizeof *files);
    struct visit **stack = saga_arena_take_zero(&loader->scratch, count, sizeof(void *));
    if (files == NULL || stack == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        files[i].file = loader->set->file[i];
    }
    qsort(files, count, sizeof *files, compare_files);
    enum saga_err err = check_names(loader, files);
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        if (files[i].state == NEW) {
            stack[0] = &files[i];
            err = walk(loader, files, stack);
        }
    }
    return err;
}
