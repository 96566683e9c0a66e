/* gRPC status codes and what each means to a saga: the one table (docs/semantics.md, "Status
 * codes"). */
#ifndef SAGA_BASE_STATUS_H
#define SAGA_BASE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/* X(name, number, class): gRPC's numbers; the class of a status that a participant gives. */
#define SAGA_CODE_LIST(X)                                                                          \
    X(OK, 0, SUCCESS)                                                                              \
    X(CANCELLED, 1, UNKNOWN)                                                                       \
    X(UNKNOWN, 2, UNKNOWN)                                                                         \
    X(INVALID_ARGUMENT, 3, REJECT)                                                                 \
    X(DEADLINE_EXCEEDED, 4, UNKNOWN)                                                               \
    X(NOT_FOUND, 5, REJECT)                                                                        \
    X(ALREADY_EXISTS, 6, REJECT)                                                                   \
    X(PERMISSION_DENIED, 7, PARK)                                                                  \
    X(RESOURCE_EXHAUSTED, 8, RETRY)                                                                \
    X(FAILED_PRECONDITION, 9, REJECT)                                                              \
    X(ABORTED, 10, RETRY)                                                                          \
    X(OUT_OF_RANGE, 11, REJECT)                                                                    \
    X(UNIMPLEMENTED, 12, PARK)                                                                     \
    X(INTERNAL, 13, UNKNOWN)                                                                       \
    X(UNAVAILABLE, 14, RETRY)                                                                      \
    X(DATA_LOSS, 15, PARK)                                                                         \
    X(UNAUTHENTICATED, 16, PARK)

enum saga_code {
#define X(name, number, class) SAGA_CODE_##name = (number),
    SAGA_CODE_LIST(X)
#undef X
};

/* What a status means to a saga. */
enum saga_code_class {
    SAGA_CODE_CLASS_SUCCESS, /* effect done, durable */
    SAGA_CODE_CLASS_REJECT,  /* a definitive no; no effect */
    SAGA_CODE_CLASS_RETRY,   /* no effect, try later */
    SAGA_CODE_CLASS_UNKNOWN, /* may or may not have happened */
    SAGA_CODE_CLASS_PARK,    /* wrong set-up: a person must look */
};

/* Gives the name of a code, for example "NOT_FOUND"; "UNLISTED" above 16. */
const char *saga_code_name(uint32_t code);

/* Finds a code by its name. Gives false when there is none. */
bool saga_code_find(const char *name, uint32_t *code);

/* Gives the class of a code; codes above 16 are UNKNOWN. */
enum saga_code_class saga_code_class(uint32_t code);

#endif
