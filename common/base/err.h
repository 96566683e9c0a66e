/* Errors: one list for the whole project. A participant saying "no" is not an error but an event.
 *
 * Foreign codes (errno, SQLite, nng, Kafka) are mapped to these at the edge and go no further. */
#ifndef SAGA_BASE_ERR_H
#define SAGA_BASE_ERR_H

/* What the caller can do about an error. */
enum saga_err_class {
    SAGA_ERR_CLASS_NONE,   /* no error */
    SAGA_ERR_CLASS_RETRY,  /* the same call may go well later */
    SAGA_ERR_CLASS_REJECT, /* the input is wrong; the same call will fail again */
    SAGA_ERR_CLASS_FATAL,  /* durability or consistency may be lost: stop taking work */
};

/* X(name, text, class) */
#define SAGA_ERR_LIST(X)                                                                           \
    X(OK, "ok", NONE)                                                                              \
    X(INVALID, "invalid input", REJECT)                                                            \
    X(MALFORMED, "malformed bytes", REJECT)                                                        \
    X(LIMIT, "limit exceeded", REJECT)                                                             \
    X(NOT_FOUND, "not found", REJECT)                                                              \
    X(EXISTS, "already exists", REJECT)                                                            \
    X(CONFLICT, "conflicts with what is there", REJECT)                                            \
    X(FULL, "queue is full", RETRY)                                                                \
    X(BUSY, "busy", RETRY)                                                                         \
    X(UNAVAILABLE, "unavailable", RETRY)                                                           \
    X(TIMEOUT, "timed out", RETRY)                                                                 \
    X(CLOSED, "closed", RETRY)                                                                     \
    X(NO_MEMORY, "out of memory", RETRY)                                                           \
    X(IO, "input/output error", FATAL)                                                             \
    X(DISK_FULL, "disk full", FATAL)                                                               \
    X(CORRUPT, "stored data is corrupt", FATAL)                                                    \
    X(FENCED, "another owner has taken over", FATAL)                                               \
    X(INTERNAL, "internal error", FATAL)

enum saga_err {
#define X(name, text, class) SAGA_ERR_##name,
    SAGA_ERR_LIST(X)
#undef X
};

/* Size of a detail text, with its terminating zero. */
enum { SAGA_ERR_DETAIL_SIZE = 256 };

/* Detail of an error, in the caller's memory; wrapped outwards: "store: begin: database is locked".
 */
struct saga_err_detail {
    char text[SAGA_ERR_DETAIL_SIZE];
};

/* Gives the name of an error, for example "DISK_FULL". Never NULL. */
const char *saga_err_name(enum saga_err err);

/* Gives the text of an error for people. Never NULL. */
const char *saga_err_text(enum saga_err err);

/* Gives the class of an error. */
enum saga_err_class saga_err_class(enum saga_err err);

/* Writes a formatted detail (cut at its size) and gives err back, so that a function can end with
 * `return saga_err_set(detail, SAGA_ERR_LIMIT, "…")`. detail may be NULL. */
enum saga_err saga_err_set(struct saga_err_detail *detail, enum saga_err err, const char *format,
                           ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the detail that is there and gives err back. detail may be NULL. */
enum saga_err saga_err_wrap(struct saga_err_detail *detail, enum saga_err err, const char *prefix);

#define SAGA_WARN_UNUSED __attribute__((warn_unused_result))

#if defined(__clang_analyzer__) || defined(SAGA_ANALYZER)
/* The analyzer looks at one file at a time and cannot know that the error given comes back. */
static inline enum saga_err saga_err_given(enum saga_err err, ...)
{
    return err;
}
#define saga_err_set(detail, err, ...) saga_err_given(err, detail, __VA_ARGS__)
#define saga_err_wrap(detail, err, prefix) saga_err_given(err, detail, prefix)
#endif

#endif
