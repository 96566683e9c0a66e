/* The FILE of verbs that read a schema: a FileDescriptorSet as protoc writes it, or a .proto, for
 * which protoc is run.
 *
 * How a verb takes both: SAGA_PROTO_PATH_OPTION is a row of its option table, SAGA_PROTO_PATH_SHORT
 * stands among its shorts ("o=output " SAGA_PROTO_PATH_SHORT), and instead of reading FILE by
 * itself it calls saga_proto_file_read and gives the bytes to saga_schema_load (or calls
 * saga_proto_file_schema, which does both). Main thread. */
#ifndef SAGA_CLIENT_PROTO_FILE_H
#define SAGA_CLIENT_PROTO_FILE_H

#include "client/client.h"
#include "common/wire/schema.h"

/* The row of a verb's option table: --proto-path DIR, repeated. */
#define SAGA_PROTO_PATH_OPTION                                                                     \
    {                                                                                              \
        "proto-path", "DIR", NULL,                                                                 \
            "where what a .proto imports is looked for (-I); default: the folder that its "        \
            "package "                                                                             \
            "lies in, and the working directory",                                                  \
            true                                                                                   \
    }
/* For a verb's shorts. */
#define SAGA_PROTO_PATH_SHORT "I=proto-path"

/* What help says of FILE. */
#define SAGA_PROTO_FILE_HELP                                                                       \
    "FILE is a .proto (protoc is run for it; package protobuf-compiler) or a descriptor set "      \
    "(protoc --include_imports\n--include_source_info --descriptor_set_out=FILE). "                \
    "saga/v1/*.proto "                                                                             \
    "need not be installed to be imported.\n"

/* Tells whether a path ends in .proto. */
bool saga_proto_file_is_source(const char *path);

/* Tells whether a path is that of a file of a set, whose name begins at a folder of imports. */
bool saga_proto_file_is_path_of(const char *path, const char *name);

/* Appends the text of a .proto to *text. Errors: IO; LIMIT (SAGA_DESCRIPTOR_SET_SIZE_MAX). */
enum saga_err saga_proto_file_text(const char *path, struct saga_buf *text) SAGA_WARN_UNUSED;

/* What a verb was given, in which files of a set are looked for. */
struct saga_proto_given {
    const struct saga_options *options; /* has SAGA_PROTO_PATH_OPTION; NULL: none */
    const char *const *paths;           /* .proto files; borrowed */
    size_t count;                       /* of a descriptor set, and of what is built in: 0 */
};

/* Finds the path of a file that a set, or protoc, names: as it was given, or in the folders that
 * imports were looked for in; of a set that was made elsewhere, those of --proto-path alone.
 * Appends it to *path, ended by NUL. Returns false: it is nowhere; *path may then be half. */
bool saga_proto_file_find(const struct saga_proto_given *given, const char *name,
                          struct saga_buf *path);

/* Appends to *set the FileDescriptorSet that is in the file ("-": stdin), or that protoc makes of a
 * .proto, with imports and source info. A .proto is looked up as protoc does: in the directories of
 * --proto-path; behind them, or without any, in the folder that its package lies in (a/b.proto of
 * package a: the folder above a), in its own if package and folder differ, and without --proto-path
 * in the working directory. What is in saga/v1 and google/protobuf can be imported whatever is
 * installed. `options` has the row above; NULL: no --proto-path. Owns: *set is the caller's, also
 * after an error. Exit status, the message is printed, protoc's own with file, line and column:
 * FAILED for a file that cannot be read, protoc refusing it, or no protoc. */
int saga_proto_file_read(const struct saga_options *options, const char *path,
                         struct saga_buf *set);

/* The same; what protoc refuses is appended to `errors` too (client/proto_messages.h; NULL: it is
 * only printed), an array that stays the caller's. */
int saga_proto_file_read_noting(const struct saga_options *options, const char *path,
                                struct saga_buf *set, json_t *errors);

/* The same for several .proto files at once, as one set. Pre: given->count > 0, all of them end in
 * .proto. */
int saga_proto_files_read(const struct saga_proto_given *given, struct saga_buf *set,
                          json_t *errors);

/* Reads and loads; path NULL: the built-in set. Exit status, the message is printed. *schema is the
 * caller's to free; NULL after an error. */
int saga_proto_file_schema(const struct saga_options *options, const char *path,
                           struct saga_schema **schema);

#endif
