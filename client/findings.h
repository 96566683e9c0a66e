/* Findings of the static checks as verbs print them: with the path that the file was given by, and
 * at the step and field that is meant.
 *
 * A descriptor set names its files from a folder of imports on, and knows where a saga's option
 * begins, nothing behind it: neither can be jumped to. Main thread. */
#ifndef SAGA_CLIENT_FINDINGS_H
#define SAGA_CLIENT_FINDINGS_H

#include <stdio.h>

#include "client/proto_file.h"
#include "common/wire/schema.h"

/* Files that findings are in. Set `given`; the rest all zero. */
struct saga_findings {
    struct saga_proto_given given;
    struct saga_findings_file *files; /* that were met */
    size_t file_count, file_capacity;
};

/* Where a finding is. */
struct saga_findings_place {
    const char *path; /* lives until fini, or as long as the finding */
    int line, column; /* from 1; 0: the set has no source info */
};

/* Gives the path of a file of the set (saga_proto_file_find), or its name, where no path is known
 * or memory is short. It lives until fini; the name as long as the caller's. */
const char *saga_findings_path(struct saga_findings *findings, const char *name);

/* Gives the place of a finding about a saga: of its step and field, where the text is at hand
 * (client/proto_place.h), else of the option. */
struct saga_findings_place saga_findings_place(struct saga_findings *findings,
                                               const struct saga_finding *finding);

/* Prints all findings of a schema as lines FILE:LINE:COLUMN: CODE: WHERE: MESSAGE. */
void saga_findings_print(struct saga_findings *findings, const struct saga_schema *schema,
                         FILE *out);

/* Makes JSON of all findings of a schema: an array of objects with code, file, line, column (0: the
 * set has no source info), where, message. NULL: out of memory. */
json_t *saga_findings_json(struct saga_findings *findings, const struct saga_schema *schema);

/* Frees what was read; not `given`. */
void saga_findings_fini(struct saga_findings *findings);

#endif
