/* Settings of a program: flag > environment > file > default. Unknown names are errors.
 *
 * A setting "store-path" is the flag --store-path VALUE or --store-path=VALUE, the variable
 * PREFIX_STORE_PATH, and the line "store-path = VALUE" of the file given by --config (inih syntax,
 * without sections). A table entry whose name ends in '.'
 * ("kafka.") takes every name that begins so (--kafka.security.protocol=…,
 * PREFIX_KAFKA_SECURITY_PROTOCOL, kafka.linger.ms = 5).
 * --help, --version and --config are there for every program. */
#ifndef SAGA_SYS_OPTIONS_H
#define SAGA_SYS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* One setting. */
struct saga_option {
    const char
        *name; /* lower case, words joined by '-'; ending in '.': a family that is passed through */
    const char
        *argument; /* how --help names the value ("HOST:PORT"); NULL: a switch, "true" or "false" */
    const char *fallback; /* default as text; NULL: not set */
    const char *help;     /* one sentence */
    bool repeated; /* may be given several times; each value is kept (comma separated in environment
                      and file) */
};

struct saga_options;

/* What the program is, for --help and errors. */
struct saga_program {
    const char *name;       /* "sagad" */
    const char *summary;    /* one line */
    const char *usage;      /* after the name: "[OPTION]…" */
    const char *epilog;     /* text after the options: examples, files, signals; may be NULL */
    const char *env_prefix; /* "SAGAD" */
    const struct saga_option *options;
    size_t option_count;
    size_t hidden_count; /* the last of them: read as the others, left out of --help */
};

/* What to do after reading the settings. */
enum saga_options_next { SAGA_OPTIONS_RUN, SAGA_OPTIONS_EXIT_OK, SAGA_OPTIONS_EXIT_USAGE };

/* Reads the settings from argv, environment and file. Prints --help and --version on stdout, errors
 * on stderr (naming the setting, where it came from, and "try --help"). With RUN, *options is the
 * caller's, until free; argv operands (not options) are kept too. Stops at the first operand when
 * stop_at_operand (for programs with verbs). */
enum saga_options_next saga_options_read(const struct saga_program *program, int argc, char **argv,
                                         bool stop_at_operand, struct saga_options **options);

/* Frees settings. */
void saga_options_free(struct saga_options *options);

/* Gives a setting's value, or NULL when it is not set. Pre: the name is in the table. */
const char *saga_options_text(const struct saga_options *options, const char *name);

/* Gives whether a switch is on. */
bool saga_options_on(const struct saga_options *options, const char *name);

/* Reads a whole number; detail names the setting, the value and the bounds. Errors: INVALID; LIMIT.
 */
enum saga_err saga_options_int(const struct saga_options *options, const char *name, int64_t min,
                               int64_t max, int64_t *value,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Gives the number of values of a repeated setting, and its i-th value. */
size_t saga_options_count(const struct saga_options *options, const char *name);
const char *saga_options_at(const struct saga_options *options, const char *name, size_t index);

/* Walks the pairs of a family ("kafka."): gives false at the end. *key is without the family's
 * prefix. */
bool saga_options_family(const struct saga_options *options, const char *family, size_t index,
                         const char **key, const char **value);

/* Operands. */
size_t saga_options_operand_count(const struct saga_options *options);
const char *saga_options_operand(const struct saga_options *options, size_t index);

#endif
