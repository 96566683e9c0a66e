/* The FILE of check and sim: a descriptor set, and the saga in it that is meant. */
#ifndef SAGA_CLIENT_DEFINITION_FILE_H
#define SAGA_CLIENT_DEFINITION_FILE_H

#include "client/client.h"
#include "common/wire/schema.h"

/* Opens a descriptor set (path NULL: the built-in one) and finds the saga by its name (NULL: the
 * only one). Findings of the static checks go to stderr as FILE:LINE:COLUMN: CODE: WHERE: MESSAGE;
 * with `json`, a set whose findings stand in the way is also told on stdout as an object with
 * "verdict":"refused" and "findings". Exit status, the message is printed: FAILED for a file that
 * cannot be read, is no descriptor set, declares no saga, or has findings; USAGE for a .proto, and
 * for a name that is missing or that no saga has. *schema is the caller's to free whatever is
 * returned; *decl is a part of it. */
int saga_definition_file_open(const char *path, const char *name, bool json,
                              struct saga_schema **schema, const struct saga_decl **decl);

/* Makes JSON of the findings: an array of objects with code, file, line, column (0: the set was
 * made without --include_source_info), where, message. NULL: out of memory. */
json_t *saga_definition_file_findings_json(const struct saga_schema *schema);

#endif
