/* A descriptor set with an index by name and by place. Recursion is over nested types and bounded:
 * the walk before decoding bounds the nesting (SAGA_MESSAGE_DEPTH_MAX). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/compat/internal.h"

/* ---- Counting, filling ---- */

static size_t count_in_message(const raw_message *message)
{
    size_t count = 1 + message->n_enum_type + message->n_extension;
    for (size_t i = 0; i < message->n_nested_type; i++) {
        count += count_in_message(message->nested_type[i]);
    }
    return count;
}

static size_t count_in_file(const raw_file *file)
{
    size_t count = file->n_enum_type + file->n_service + file->n_extension;
    for (size_t i = 0; i < file->n_message_type; i++) {
        count += count_in_message(file->message_type[i]);
    }
    return count;
}

struct filler {
    struct compat_set *set;
    struct saga_arena *arena;
    const struct compat_file *file;
    bool no_memory;
};

static const char *join(struct filler *filler, const char *scope, const char *name)
{
    size_t scope_size = strlen(scope);
    size_t name_size = strlen(compat_text(name));
    char *full = saga_arena_take(filler->arena, scope_size + name_size + 2);
    if (full == NULL) {
        filler->no_memory = true;
        return "";
    }
    memcpy(full, scope, scope_size);
    if (scope_size > 0) {
        full[scope_size++] = '.';
    }
    memcpy(full + scope_size, compat_text(name), name_size);
    full[scope_size + name_size] = '\0';
    return full;
}

/* Where an item is put: in what, and as which element of it. */
struct slot {
    const char *scope;
    const struct compat_item *parent;
    int32_t kind;
    size_t index;
};

static struct compat_item *add_item(struct filler *filler, struct slot slot, const char *name,
                                    enum compat_item_kind kind)
{
    struct compat_item *item = &filler->set->items[filler->set->item_count++];
    item->name = join(filler, slot.scope, name);
    item->kind = kind;
    item->file = filler->file;
    item->parent = slot.parent;
    item->path_kind = slot.kind;
    item->path_index = (int32_t)slot.index;
    return item;
}

static void fill_message(struct filler *filler, struct slot slot, const raw_message *raw)
{
    struct compat_item *item = add_item(filler, slot, raw->name, ITEM_MESSAGE);
    item->raw.message = raw;
    item->map_entry =
        raw->options != NULL && raw->options->has_map_entry && raw->options->map_entry;
    for (size_t i = 0; i < raw->n_enum_type; i++) {
        struct slot at = {item->name, item, PATH_MESSAGE_ENUM, i};
        add_item(filler, at, raw->enum_type[i]->name, ITEM_ENUM)->raw.enumeration =
            raw->enum_type[i];
    }
    for (size_t i = 0; i < raw->n_extension; i++) {
        struct slot at = {item->name, item, PATH_MESSAGE_EXTENSION, i};
        add_item(filler, at, raw->extension[i]->name, ITEM_EXTENSION)->raw.extension =
            raw->extension[i];
    }
    for (size_t i = 0; i < raw->n_nested_type; i++) {
        struct slot at = {item->name, item, PATH_MESSAGE_NESTED, i};
        fill_message(filler, at, raw->nested_type[i]);
    }
}

static void fill_file(struct filler *filler, const raw_file *raw)
{
    const char *scope = filler->file->package;
    for (size_t i = 0; i < raw->n_message_type; i++) {
        fill_message(filler, (struct slot){scope, NULL, PATH_FILE_MESSAGE, i},
                     raw->message_type[i]);
    }
    for (size_t i = 0; i < raw->n_enum_type; i++) {
        struct slot at = {scope, NULL, PATH_FILE_ENUM, i};
        add_item(filler, at, raw->enum_type[i]->name, ITEM_ENUM)->raw.enumeration =
            raw->enum_type[i];
    }
    for (size_t i = 0; i < raw->n_service; i++) {
        struct slot at = {scope, NULL, PATH_FILE_SERVICE, i};
        add_item(filler, at, raw->service[i]->name, ITEM_SERVICE)->raw.service = raw->service[i];
    }
    for (size_t i = 0; i < raw->n_extension; i++) {
        struct slot at = {scope, NULL, PATH_FILE_EXTENSION, i};
        add_item(filler, at, raw->extension[i]->name, ITEM_EXTENSION)->raw.extension =
            raw->extension[i];
    }
}

/* ---- Sorting ---- */

static int compare_paths(const int32_t *a, size_t a_size, const int32_t *b, size_t b_size)
{
    size_t size = a_size < b_size ? a_size : b_size;
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return a_size < b_size ? -1 : a_size > b_size ? 1 : 0;
}

static int compare_locations(const void *a, const void *b)
{
    const raw_location *left = *(const raw_location *const *)a;
    const raw_location *right = *(const raw_location *const *)b;
    return compare_paths(left->path, left->n_path, right->path, right->n_path);
}

static int compare_items(const void *a, const void *b)
{
    const struct compat_item *left = *(const struct compat_item *const *)a;
    const struct compat_item *right = *(const struct compat_item *const *)b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : left->kind < right->kind ? -1 : left->kind > right->kind ? 1 : 0;
}

static bool open_file(struct compat_file *file, const raw_file *raw, struct saga_arena *arena)
{
    file->raw = raw;
    file->name = compat_text(raw->name);
    file->package = compat_text(raw->package);
    file->proto3 = strcmp(compat_text(raw->syntax), "proto3") == 0;
    file->foreign = strncmp(file->name, "google/protobuf/", 16) == 0;
    size_t count = raw->source_code_info == NULL ? 0 : raw->source_code_info->n_location;
    if (count == 0) {
        return true;
    }
    file->locations = saga_arena_take(arena, count * sizeof(raw_location *));
    if (file->locations == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        file->locations[i] = raw->source_code_info->location[i];
    }
    qsort(file->locations, count, sizeof(raw_location *), compare_locations);
    file->location_count = count;
    return true;
}

static void *take_zero(struct saga_arena *arena, size_t count, size_t size)
{
    count = count == 0 ? 1 : count;
    void *memory = saga_arena_take(arena, count * size);
    if (memory != NULL) {
        memset(memory, 0, count * size);
    }
    return memory;
}

bool compat_set_open(struct compat_set *set, const raw_set *raw, struct saga_arena *arena)
{
    size_t count = 0;
    for (size_t i = 0; i < raw->n_file; i++) {
        count += count_in_file(raw->file[i]);
    }
    set->raw = raw;
    set->files = take_zero(arena, raw->n_file, sizeof *set->files);
    set->items = take_zero(arena, count, sizeof *set->items);
    set->by_name = take_zero(arena, count, sizeof(struct compat_item *));
    struct filler filler = {.set = set, .arena = arena};
    if (set->files == NULL || set->items == NULL || set->by_name == NULL) {
        return false;
    }
    for (size_t i = 0; i < raw->n_file; i++) {
        if (!open_file(&set->files[i], raw->file[i], arena)) {
            return false;
        }
        set->file_count = i + 1;
        filler.file = &set->files[i];
        fill_file(&filler, raw->file[i]);
    }
    SAGA_ASSERT(set->item_count == count);
    for (size_t i = 0; i < count; i++) {
        set->by_name[i] = &set->items[i];
    }
    qsort(set->by_name, count, sizeof(struct compat_item *), compare_items);
    return !filler.no_memory;
}

/* ---- Finding ---- */

const struct compat_item *compat_set_find(const struct compat_set *set, const char *name,
                                          enum compat_item_kind kind)
{
    size_t low = 0;
    size_t high = set->item_count;
    const struct compat_item wanted = {.name = name, .kind = kind};
    const struct compat_item *key = &wanted;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_items(&set->by_name[middle], &key);
        if (order == 0) {
            return set->by_name[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const struct compat_file *compat_set_file(const struct compat_set *set, const char *name)
{
    for (size_t i = 0; i < set->file_count; i++) {
        if (strcmp(set->files[i].name, name) == 0) {
            return &set->files[i];
        }
    }
    return NULL;
}

const struct compat_item *compat_map(const struct saga_compat *report,
                                     const struct compat_item *old_item)
{
    const struct compat_item *same =
        compat_set_find(&report->new_set, old_item->name, old_item->kind);
    if (same != NULL) {
        return same;
    }
    const struct compat_file *file = compat_set_file(&report->new_set, old_item->file->name);
    if (file == NULL || strcmp(file->package, old_item->file->package) == 0) {
        return NULL;
    }
    size_t skip = strlen(old_item->file->package);
    const char *rest = old_item->name + skip + (skip > 0 ? 1 : 0);
    char name[WHERE_SIZE];
    int size =
        snprintf(name, sizeof name, "%s%s%s", file->package, file->package[0] ? "." : "", rest);
    if (size < 0 || (size_t)size >= sizeof name) {
        return NULL;
    }
    return compat_set_find(&report->new_set, name, old_item->kind);
}

bool compat_same_type(const struct saga_compat *report, const char *old_type, const char *new_type)
{
    const char *old_name = compat_bare(old_type);
    const char *new_name = compat_bare(new_type);
    if (strcmp(old_name, new_name) == 0) {
        return true;
    }
    static const enum compat_item_kind kinds[] = {ITEM_MESSAGE, ITEM_ENUM};
    for (size_t i = 0; i < 2; i++) {
        const struct compat_item *old_item = compat_set_find(&report->old_set, old_name, kinds[i]);
        const struct compat_item *mapped = old_item == NULL ? NULL : compat_map(report, old_item);
        if (mapped != NULL && strcmp(mapped->name, new_name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- Parts ---- */

static bool imported(const struct compat_set *set, const struct compat_file *file)
{
    for (size_t i = 0; i < set->file_count; i++) {
        const raw_file *raw = set->files[i].raw;
        for (size_t k = 0; k < raw->n_dependency; k++) {
            if (strcmp(raw->dependency[k], file->name) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Under which path a file is known depends on how protoc was run. */
static bool has_new_path(const struct saga_compat *report, const struct compat_file *file)
{
    for (size_t i = 0; i < report->old_set.item_count; i++) {
        const struct compat_item *item = &report->old_set.items[i];
        const struct compat_item *now =
            item->file == file ? compat_set_find(&report->new_set, item->name, item->kind) : NULL;
        if (now != NULL && strcmp(now->file->package, file->package) == 0 &&
            !imported(&report->new_set, now->file)) {
            return true;
        }
    }
    return false;
}

void compat_part(struct saga_compat *report)
{
    for (size_t i = 0; report->config.partial && i < report->old_set.file_count; i++) {
        struct compat_file *file = &report->old_set.files[i];
        file->foreign = file->foreign || strncmp(file->name, "saga/v1/", 8) == 0;
        file->elsewhere =
            compat_set_file(&report->new_set, file->name) == NULL && !has_new_path(report, file);
    }
}

/* ---- Places ---- */

static const raw_location *find_location(const struct compat_file *file, const int32_t *path,
                                         size_t size)
{
    size_t low = 0;
    size_t high = file->location_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const raw_location *location = file->locations[middle];
        int order = compare_paths(location->path, location->n_path, path, size);
        if (order == 0) {
            return location;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* Finds the place of the longest beginning of a path, at least `least` long, that is known. */
static void place(struct compat_spot *spot, const int32_t *path, size_t size, size_t least)
{
    for (size_t at = size; at + 1 > least && at > 0; at--) {
        const raw_location *location = find_location(spot->file, path, at);
        if (location != NULL && location->n_span >= 3 && location->span[0] >= 0 &&
            location->span[0] < INT32_MAX && location->span[1] >= 0 &&
            location->span[1] < INT32_MAX) {
            spot->line = location->span[0] + 1;
            spot->column = location->span[1] + 1;
            return;
        }
    }
}

static bool in_old(const struct saga_compat *report, const struct compat_file *file)
{
    return file >= report->old_set.files &&
           file < report->old_set.files + report->old_set.file_count;
}

struct compat_spot compat_spot_item(const struct saga_compat *report,
                                    const struct compat_item *item, struct compat_tail tail)
{
    struct compat_spot spot = {.file = item->file, .in_old = in_old(report, item->file)};
    int32_t path[PATH_SIZE_MAX];
    size_t size = PATH_SIZE_MAX;
    SAGA_ASSERT(tail.count <= sizeof tail.at / sizeof tail.at[0]);
    for (size_t i = tail.count; i > 0; i--) {
        path[--size] = tail.at[i - 1];
    }
    size_t own = 0;
    for (const struct compat_item *at = item; at != NULL && size >= 2; at = at->parent) {
        path[--size] = at->path_index;
        path[--size] = at->path_kind;
        own += 2;
    }
    place(&spot, path + size, PATH_SIZE_MAX - size, own);
    return spot;
}

struct compat_spot compat_spot_file(const struct saga_compat *report,
                                    const struct compat_file *file, struct compat_tail tail)
{
    struct compat_spot spot = {.file = file, .in_old = in_old(report, file)};
    place(&spot, tail.at, tail.count, 1);
    return spot;
}
