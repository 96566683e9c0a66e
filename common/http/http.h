/* HTTP/1.1 server on libmicrohttpd: routes, limits, suspended requests, JSON errors.
 *
 * One internal thread (epoll). A handler runs on that thread and either answers at once or keeps
 * the request and answers later, from any thread. */
#ifndef SAGA_HTTP_HTTP_H
#define SAGA_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

enum { SAGA_HTTP_FIELDS_MAX = 256 }; /* headers, and parameters of the query, of a request */

struct saga_http;
struct saga_http_request;

/* A route. The path may hold one "{name}" segment; its text is saga_http_path_value(). The longest
 * match wins; a known path with another method answers 405 with Allow, an unknown path 404. */
struct saga_http_route {
    const char *method; /* "GET", "POST" */
    const char *path;   /* "/orders/{id}" */
    void (*handle)(void *context, struct saga_http_request *request);
};

struct saga_http_config {
    const char *address; /* "127.0.0.1" */
    uint16_t port;       /* 0: a free one, see saga_http_port */
    const struct saga_http_route *routes;
    size_t route_count;
    void *context;            /* given to the handlers */
    size_t body_size_max;     /* more: 413 */
    size_t header_size_max;   /* request line and headers, their last empty line included; more: 431
                                 (so are more than SAGA_HTTP_FIELDS_MAX headers or parameters) */
    unsigned connections_max; /* more wait in the listening socket until one closes */
    unsigned timeout_s; /* idle connection: closed; so is one that takes longer than twice this for
                           its headers, its body, or to read its answer, however busy it looks; kept
                           requests do not count */
    const char *token;  /* bearer token that methods other than GET and HEAD need (401 otherwise,
                           constant-time compare); NULL: none */
};

/* Starts the server. Errors: UNAVAILABLE (port taken), NO_MEMORY, INVALID; detail says. Owns: the
 * caller, until stop. */
enum saga_err saga_http_start(const struct saga_http_config *config, struct saga_http **http,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Gives the port it listens on. */
uint16_t saga_http_port(const struct saga_http *http);

/* Stops: refuses new connections, answers kept requests with 503, closes. A handler that keeps a
 * request still answers it, once: that then only frees it, also after stop has returned. Thread:
 * not the HTTP thread. */
void saga_http_stop(struct saga_http *http);

/* Reads a request. Valid until it is answered; copies are the handler's business when it keeps the
 * request. */
const char *saga_http_path_value(const struct saga_http_request *request);
const char *saga_http_query(const struct saga_http_request *request,
                            const char *name); /* NULL: not there */
/* Finds a parameter of the query that is none of the known ones (ended by NULL; NULL itself is
 * none), or that is given twice: then *twice. NULL: all are well. */
const char *saga_http_query_stray(const struct saga_http_request *request, const char *const *known,
                                  bool *twice);
const char *saga_http_header(const struct saga_http_request *request,
                             const char *name); /* NULL: not there */
struct saga_bytes saga_http_body(const struct saga_http_request *request);

/* Answers; the bytes are copied; the request is then gone. extra_header: "Name: value" or NULL.
 * Thread: any. Every request that reached a handler must be answered exactly once. */
void saga_http_answer(struct saga_http_request *request, unsigned status, const char *content_type,
                      struct saga_bytes body, const char *extra_header);

/* Answers with {"error":{"code":"…","message":"…","field":"…"}}. field may be NULL. Thread: any. */
void saga_http_answer_error(struct saga_http_request *request, unsigned status, const char *code,
                            const char *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
