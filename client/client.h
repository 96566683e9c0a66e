/* What the verbs of sagactl share: verbs, exit statuses, errors, settings that every verb has,
 * output.
 *
 * A verb is a function of the settings that were read for it; it prints on stdout what was asked
 * for, on stderr what went wrong, and gives the exit status back. One thread, but for the callbacks
 * of the bus. */
#ifndef SAGA_CLIENT_CLIENT_H
#define SAGA_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/sys/options.h"

/* Exit statuses; docs/man/sagactl.1 tells them. */
enum saga_exit {
    SAGA_EXIT_OK = 0,
    SAGA_EXIT_FAILED = 1, /* anything without a status of its own */
    SAGA_EXIT_USAGE = 2,
    SAGA_EXIT_PARKED = 3,     /* watch, start --wait: the saga was parked */
    SAGA_EXIT_GOING = 4,      /* they too: the saga had not ended in the time given */
    SAGA_EXIT_NOT_JUDGED = 5, /* audit verify: no violation, but not all could be judged */
    SAGA_EXIT_STATUS = 64,    /* plus the gRPC status that a daemon answered */
};

/* One verb. */
struct saga_verb {
    const char *name;
    const char *usage;   /* what follows the name */
    const char *summary; /* one line */
    const char *epilog;  /* examples, exit statuses; may be NULL */
    const struct saga_option *options;
    size_t option_count;
    const char *shorts; /* pairs "d=data H=header", blank separated; may be NULL */
    bool offline; /* it asks no daemon: of the settings that every verb has, --output is told */
    int (*run)(const struct saga_options *options);
};

/* The verbs, in the order of the help; ended by NULL. */
extern const struct saga_verb *const saga_verbs[];

/* Finds a verb by name; NULL when there is none. */
const struct saga_verb *saga_verb_find(const char *name);

/* The settings that every verb has (--address, --dir, --output, --timeout, --tls-…). */
extern const struct saga_option saga_client_options[];
extern const size_t saga_client_option_count;

/* Rewrites short flags ("-o json", "-ojson") to the long ones that the tables know. argv gets
 * pointers into *space, which the caller frees with free() after the last use of argv. Errors:
 * NO_MEMORY. */
enum saga_err saga_client_expand_shorts(int argc, char **argv, const char *shorts,
                                        const struct saga_option *options, size_t option_count,
                                        char **space) SAGA_WARN_UNUSED;

/* Prints "sagactl: …" on stderr and gives SAGA_EXIT_FAILED back. */
int saga_client_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "sagactl: …" and where help is, and gives SAGA_EXIT_USAGE back. */
int saga_client_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Like saga_client_usage, with "WHAT: TEXT"; a text that begins with WHAT is enough by itself. */
int saga_client_usage_at(const char *what, const char *text);

/* Prints "sagactl: …" on stderr. */
void saga_client_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Flushes stdout; what earlier writes ran into counts too. Exit status: FAILED with a message. A
 * reader that went away (`| head -1`) ends the program without a word, as SIGPIPE does. */
int saga_client_flush(void);

/* Tells whether -o json was asked for. Returns -1 after an error message when the value is neither.
 */
int saga_client_output_json(const struct saga_options *options);

/* Reads a duration: "5s", "250ms", "2m", "1h", or a number of seconds ("1.5"). Errors: INVALID;
 * LIMIT above a day. */
enum saga_err saga_client_duration_parse(const char *text, int64_t *ms) SAGA_WARN_UNUSED;

/* Reads the duration of a setting; exit status; the message is printed. An unset one gives
 * fallback_ms. */
int saga_client_duration(const struct saga_options *options, const char *name, int64_t fallback_ms,
                         int64_t *ms);

/* Reads a whole-number setting; exit status; the message is printed. */
int saga_client_int(const struct saga_options *options, const char *name, int64_t min, int64_t max,
                    int64_t *value);

/* Reads data that was given as text, as "@file", or as "@" or "@-" (stdin), into *out. Exit status;
 * the message is printed. */
int saga_client_data(const char *given, struct saga_buf *out);

/* Checks the number of operands; exit status; the message is printed. */
int saga_client_operands(const struct saga_options *options, size_t min, size_t max,
                         const char *what);

/* Prints a JSON value on stdout, indented, and drops the reference. A NULL value is out of memory.
 * Exit status. */
int saga_client_print_json(json_t *value);

/* Writes a time as "2026-11-23T16:47:32.123Z". */
enum { SAGA_TIME_TEXT_SIZE = 32 };
void saga_client_time_text(int64_t unix_ms, char text[SAGA_TIME_TEXT_SIZE]);

/* Writes a duration for people: "850 us" is never needed here: "4 ms", "1.23 s", "2 min 5 s". */
enum { SAGA_DURATION_TEXT_SIZE = 32 };
void saga_client_duration_text(int64_t ms, char text[SAGA_DURATION_TEXT_SIZE]);

/* Tells who acts: the setting `who`, else USER, LOGNAME, the user's name; NULL: nobody knows. */
const char *saga_client_who(const struct saga_options *options);

/* Replaces by '?' what would act on a terminal or spoil a drawing: control characters, ends of
 * lines, changes of direction, what no XML may have, bytes that are not UTF-8. */
void saga_client_clean(char *text);

/* Reads a saga id from wire bytes. Errors: MALFORMED when there are not 16. */
enum saga_err saga_client_id(const uint8_t *data, size_t size, struct saga_id *id) SAGA_WARN_UNUSED;

/* ---- A table for people ---- */

enum { SAGA_TABLE_COLUMNS_MAX = 12 };

/* Rows of texts, printed in columns as wide as needed. All zero but column_count is an empty one.
 */
struct saga_table {
    size_t column_count;
    char **cells;
    size_t cell_count;
    size_t cell_capacity;
    bool failed; /* out of memory */
};

/* Adds one cell (copied); rows fill from left to right. */
void saga_table_add(struct saga_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints and frees. Exit status. */
int saga_table_print(struct saga_table *table);

#endif
