/* Source info of a FileDescriptorSet: where things stand in the .proto, and their comments. */
#ifndef SAGA_WIRE_SOURCE_H
#define SAGA_WIRE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/limits.h"
#include "google/protobuf/descriptor.pb-c.h"

enum { SAGA_PATH_SIZE_MAX = 2 * SAGA_MESSAGE_DEPTH_MAX + 8 };

typedef Google__Protobuf__SourceCodeInfo__Location saga_location;

/* The locations of one file, sorted by path. */
struct saga_source {
    const char *file;
    saga_location **locations;
    size_t count;
};

struct saga_path {
    int32_t at[SAGA_PATH_SIZE_MAX];
    size_t size;
};

struct saga_place {
    int line, column; /* from 1; 0: not known */
};

/* Sorts the locations of a file. Returns false: no memory. */
bool saga_source_open(struct saga_source *source, const Google__Protobuf__FileDescriptorProto *file,
                      struct saga_arena *scratch);

/* Finds a place; all zero when it is not known. */
struct saga_place saga_source_place(const struct saga_source *source, const struct saga_path *path);

/* Copies the leading comment, trimmed; "" when there is none. NULL: no memory. */
const char *saga_source_comment(const struct saga_source *source, const struct saga_path *path,
                                struct saga_arena *arena);

/* Finds the location of a path; NULL when there is none. It lives as long as the set. */
const saga_location *saga_source_find(const struct saga_source *source,
                                      const struct saga_path *path);

#endif
