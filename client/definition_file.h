/* The FILE of verbs that are about one saga: a descriptor set or a .proto, and the saga in it that
 * is meant. */
#ifndef SAGA_CLIENT_DEFINITION_FILE_H
#define SAGA_CLIENT_DEFINITION_FILE_H

#include "client/client.h"
#include "common/wire/schema.h"

/* What was opened. All zero is nothing. */
struct saga_definition_file {
    struct saga_buf set; /* the descriptor set; empty: the built-in one */
    struct saga_schema *schema;
    const struct saga_decl *decl; /* a part of the schema */
};

/* Opens a descriptor set or a .proto (client/proto_file.h; path NULL: the built-in set) and finds
 * the saga by its name (NULL: the only one). `options` has SAGA_PROTO_PATH_OPTION. Findings of the
 * static checks go to stderr as FILE:LINE:COLUMN: CODE: WHERE: MESSAGE (client/findings.h); with
 * `json`, a set whose findings stand in the way, or a .proto that protoc refuses, is also told on
 * stdout as an object with "verdict":"refused" and "findings". Exit status, the message is printed:
 * FAILED for a file that cannot be read, that protoc refuses, is no descriptor set, declares no
 * saga, or has findings; USAGE for a name that is missing or that no saga has. Owns: *file is the
 * caller's whatever is returned, until fini. */
int saga_definition_file_open(const struct saga_options *options, const char *path,
                              const char *name, bool json, struct saga_definition_file *file);

/* Frees what was opened. */
void saga_definition_file_fini(struct saga_definition_file *file);

#endif
