/* The least of an HTTP/1.1 client that a benchmark of our own server needs: one request at a time
 * on a kept connection, never blocking. Answers must have a Content-Length, as the server's have.
 * Not for other servers. */
#ifndef SAGA_CLIENT_BENCH_HTTP_H
#define SAGA_CLIENT_BENCH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

enum { SAGA_BENCH_BUFFER_SIZE = 16384 };

/* An answer as it comes in. All zero is an empty one. */
struct saga_bench_answer {
    char data[SAGA_BENCH_BUFFER_SIZE];
    size_t size;
    size_t head_size; /* with the empty line; 0: not complete */
    size_t body_size;
    unsigned status;
    bool close; /* the server closes the connection behind it */
};

/* Looks whether what came is a whole answer: *whole. Errors: MALFORMED (not ours), LIMIT (too
 * large). */
enum saga_err saga_bench_answer_look(struct saga_bench_answer *answer,
                                     bool *whole) SAGA_WARN_UNUSED;

/* Views the body of a whole answer. */
struct saga_bytes saga_bench_answer_body(const struct saga_bench_answer *answer);

/* Where the server is. */
struct saga_bench_target {
    struct sockaddr_storage address;
    socklen_t address_size;
    char host[256]; /* "127.0.0.1:8080" */
};

/* Resolves "http://host:port". Errors: INVALID, UNAVAILABLE; detail says. */
enum saga_err saga_bench_target_find(const char *url, struct saga_bench_target *target,
                                     struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Begins to connect without blocking; the socket, or -1. */
int saga_bench_connect(const struct saga_bench_target *target);

#endif
