/* Inside sagactl breaking: what was found, of one comparison or of one per version in flight, and
 * which sagas in flight are hit. */
#ifndef SAGA_CLIENT_BREAKING_H
#define SAGA_CLIENT_BREAKING_H

#include "client/client.h"
#include "verify/compat/compat.h"

enum {
    SAGA_BREAKING_IDS_MAX = 5,       /* ids told of one finding */
    SAGA_BREAKING_VERSION_SIZE = 96, /* "create-order@ab12cd34ef56" */
};

/* One finding, and whom it hits. */
struct saga_breaking_row {
    const struct saga_compat_finding *finding;
    const char *path; /* of the file as it was given, else as the descriptor set names it */
    int line, column; /* of the step, where the text is at hand */
    enum saga_compat_severity severity;       /* NOTE: nothing in flight is hit by it */
    char version[SAGA_BREAKING_VERSION_SIZE]; /* "": of no version of the daemon's */
    bool of_daemon;                           /* OLD is what the orchestrator has */
    bool judged;                              /* the sagas in flight were looked at */
    uint64_t hit_count;
    struct saga_id ids[SAGA_BREAKING_IDS_MAX]; /* the first that were met: the newest */
};

/* A file that was given: the text of a .proto, in which steps have places. */
struct saga_breaking_source {
    const char *path; /* NULL: none was given */
    struct saga_buf text;
};

/* All zero is an empty one. */
struct saga_breaking {
    const struct saga_options *options;
    bool json;
    struct saga_buf new_set;
    struct saga_breaking_source old_source, new_source;
    json_t *errors;   /* what protoc refuses; NULL: no JSON is wanted */
    bool reading_old; /* of OLD; else of NEW */
    struct saga_compat_config config;
    struct saga_compat **reports; /* the rows point into them */
    size_t report_count;
    struct saga_breaking_row *rows;
    size_t row_count;
    size_t row_capacity;
    size_t dropped;
    uint64_t walked; /* sagas in flight that were looked at */
};

/* What was compared. */
struct saga_breaking_origin {
    bool daemon;         /* OLD is what the orchestrator has, not a file */
    const char *version; /* of a definition; NULL: of none */
};

/* Takes over a report and makes rows of its findings. Findings that a row says already are left
 * out. Exit status; the message
 * is printed; the report is freed in any case, at the latest by saga_breaking_fini. */
int saga_breaking_take(struct saga_breaking *breaking, struct saga_compat *report,
                       struct saga_breaking_origin origin);

/* Compares what an orchestrator has with NEW, and walks its sagas in flight. A finding of OLD's
 * file that one of its versions has as well is told of the version alone. Exit status; the message
 * is printed. */
int saga_breaking_live(struct saga_breaking *breaking);

/* Prints everything. Exit status: of printing. */
int saga_breaking_print(const struct saga_breaking *breaking);

/* Prints as JSON what protoc refuses, in the form of what is found; nothing, if that is not wanted
 * or protoc has said nothing. Exit status: FAILED. */
int saga_breaking_print_refused(const struct saga_breaking *breaking);

/* Counts the rows of a severity. */
size_t saga_breaking_count(const struct saga_breaking *breaking,
                           enum saga_compat_severity severity);

void saga_breaking_fini(struct saga_breaking *breaking);

#endif
