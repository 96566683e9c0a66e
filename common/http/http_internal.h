/* What the files of the room share; not for others.
 *
 * A request is held twice: by libmicrohttpd, until it tells that the request is over, and by the
 * handler, until it answers. Whoever comes last frees it, so that neither a client that goes away
 * nor a late answer touches freed memory. */
#ifndef SAGA_HTTP_INTERNAL_H
#define SAGA_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>

#include "common/http/http.h"

/* A connection, watched so that a slow client cannot hold it for ever. Under the server's lock. */
struct saga_http_peer {
    struct saga_http_peer *next;
    struct saga_http_peer *previous;
    int fd;
    int64_t since_us; /* when the present phase began: waiting for a request, reading, sending; -1:
                         it is kept, not watched */
    /* Of the request whose first line was read last. HTTP thread only, not under the lock. */
    bool zero_byte; /* one is hidden in the path or the query: "%00" */
    bool shut;      /* answered and shut before it was a request */
};

enum saga_http_state {
    REQUEST_READING,  /* headers are there, the body comes */
    REQUEST_HANDLING, /* inside its handler, on the HTTP thread */
    REQUEST_KEPT,     /* suspended until it is answered */
    REQUEST_ANSWERED, /* the response is there and waits for the HTTP thread */
    REQUEST_SENDING,  /* libmicrohttpd has the response */
    REQUEST_OVER,     /* libmicrohttpd knows it no more */
};

struct saga_http_field {
    enum MHD_ValueKind kind; /* MHD_HEADER_KIND or MHD_GET_ARGUMENT_KIND */
    const char *name;
    const char *value; /* "" for a query name without '=' */
};

struct saga_http_request {
    struct saga_http *http;
    struct saga_http_peer *peer;
    struct MHD_Connection *connection; /* NULL once over */
    const struct saga_http_route *route;
    char *path;       /* of the URL, decoded, cut into its value */
    char *path_value; /* inside path; "" without one */
    struct saga_http_field *fields;
    size_t field_count;
    struct saga_buf body;
    bool too_large; /* the body passed its limit: read to its end, then refused */
    size_t skipped; /* bytes read since */

    /* Under the server's lock. */
    enum saga_http_state state;
    bool held_by_mhd;
    bool held_by_handler;
    struct MHD_Response *response;
    unsigned status;
    struct saga_http_request *next_kept;
    struct saga_http_request *previous_kept;
};

struct saga_http {
    struct MHD_Daemon *daemon;
    struct saga_http_route *routes; /* copies */
    size_t route_count;
    void *context;
    size_t body_size_max;
    size_t header_size_max;
    char *token;
    int64_t timeout_us;
    uint16_t port;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* stopping, or a request came to its end */
    pthread_t watch;
    bool stopping;
    bool stopped;          /* stop has returned: the last request frees the server */
    size_t request_count;  /* that libmicrohttpd or a handler holds */
    size_t unsent_count;   /* that libmicrohttpd holds */
    size_t resuming_count; /* answers on their way to libmicrohttpd: it must not be stopped before
                              they are there */
    struct saga_http_request *kept;
    struct saga_http_peer *peers;
};

void saga_http_lock(struct saga_http *http);
void saga_http_unlock(struct saga_http *http);

/* libmicrohttpd has read a request's first line; it decodes a piece of it. Thread: HTTP. */
void *saga_http_on_uri(void *context, const char *uri, struct MHD_Connection *connection);
size_t saga_http_on_unescape(void *context, struct MHD_Connection *connection, char *text);

/* The access handler of libmicrohttpd. Thread: HTTP. */
enum MHD_Result saga_http_on_access(void *context, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload, size_t *upload_size, void **slot);

/* libmicrohttpd is done with a request. Thread: HTTP. */
void saga_http_on_over(void *context, struct MHD_Connection *connection, void **slot,
                       enum MHD_RequestTerminationCode why);

/* Drops one hold of a request, frees it with the last, and a stopped server with its last request.
 * Under the lock, which it releases. */
void saga_http_drop(struct saga_http_request *request, bool *hold);

/* Frees a stopped server. */
void saga_http_free(struct saga_http *http);

/* Puts a request among those that are kept, takes it out. Under the lock. */
void saga_http_kept_add(struct saga_http_request *request);
void saga_http_kept_remove(struct saga_http_request *request);

/* Answers the kept requests with 503. Thread: the one that stops. */
void saga_http_answer_all_kept(struct saga_http *http);

/* Makes a response, with {"error":…} the second. NULL: no memory. */
struct MHD_Response *saga_http_response(const char *content_type, struct saga_bytes body,
                                        const char *extra_header);
struct MHD_Response *saga_http_error_response(const char *code, const char *field,
                                              const char *message, const char *extra_header);

/* A connection begins or ends. Thread: HTTP. */
void saga_http_on_connection(void *context, struct MHD_Connection *connection, void **slot,
                             enum MHD_ConnectionNotificationCode what);

/* The thread that shuts connections which take too long. */
void *saga_http_watch(void *context);

#endif
