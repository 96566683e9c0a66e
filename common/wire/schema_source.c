/* Source info of a FileDescriptorSet: places and comments. */
#include <stdlib.h>
#include <string.h>

#include "common/wire/source.h"

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
    const saga_location *left = *(saga_location *const *)a;
    const saga_location *right = *(saga_location *const *)b;
    return compare_paths(left->path, left->n_path, right->path, right->n_path);
}

bool saga_source_open(struct saga_source *source, const Google__Protobuf__FileDescriptorProto *file,
                      struct saga_arena *scratch)
{
    source->file = file->name;
    source->count = 0;
    source->locations = NULL;
    if (file->source_code_info == NULL || file->source_code_info->n_location == 0) {
        return true;
    }
    size_t count = file->source_code_info->n_location;
    source->locations = saga_arena_take(scratch, count * sizeof(saga_location *));
    if (source->locations == NULL) {
        return false;
    }
    memcpy(source->locations, file->source_code_info->location, count * sizeof(saga_location *));
    qsort(source->locations, count, sizeof(saga_location *), compare_locations);
    source->count = count;
    return true;
}

const saga_location *saga_source_find(const struct saga_source *source,
                                      const struct saga_path *path)
{
    size_t low = 0;
    size_t high = source->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const saga_location *location = source->locations[middle];
        int order = compare_paths(location->path, location->n_path, path->at, path->size);
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

struct saga_place saga_source_place(const struct saga_source *source, const struct saga_path *path)
{
    const saga_location *location = saga_source_find(source, path);
    if (location == NULL || location->n_span < 3 || location->span[0] < 0 ||
        location->span[0] == INT32_MAX || location->span[1] < 0 || location->span[1] == INT32_MAX) {
        return (struct saga_place){0};
    }
    return (struct saga_place){.line = location->span[0] + 1, .column = location->span[1] + 1};
}

const char *saga_source_comment(const struct saga_source *source, const struct saga_path *path,
                                struct saga_arena *arena)
{
    const saga_location *location = saga_source_find(source, path);
    if (location == NULL || location->leading_comments == NULL) {
        return "";
    }
    const char *text = location->leading_comments;
    char *comment = saga_arena_take(arena, strlen(text) + 1);
    if (comment == NULL) {
        return NULL;
    }
    /* protoc keeps the blank that stands between // and the text. */
    size_t size = 0;
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (!(line_start && *text == ' ')) {
            comment[size++] = *text;
        }
        line_start = *text == '\n';
    }
    while (size > 0 && (comment[size - 1] == '\n' || comment[size - 1] == ' ')) {
        size--;
    }
    comment[size] = '\0';
    return comment;
}
