/* Requests: from the headers to the handler, and to their end. All on the HTTP thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/base/assert.h"
#include "common/http/http_internal.h"
#include "common/sys/clock.h"

enum {
    ALLOW_SIZE = 128,
    SKIP_SIZE_MIN = 32 * 1024 * 1024, /* of a too large body, read so that its client can get the
                                         answer; then it is cut off */
};

static struct saga_http_peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

/* ---- The first line ---- */

void *saga_http_on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    (void)context;
    struct saga_http_peer *peer = peer_of(connection);
    if (peer == NULL) {
        return NULL;
    }
    peer->zero_byte = false;
    size_t count = 0;
    for (const char *at = strchr(uri, '?'); at != NULL; at = strchr(at + 1, '&')) {
        count++;
    }
    if (count > SAGA_HTTP_FIELDS_MAX) {
        /* libmicrohttpd leaves a connection hanging when its table of parameters outgrows its
         * memory, which happens before it asks anybody: answered here, past it. */
        static const char body[] = "{\"error\":{\"code\":\"HEADER_TOO_LARGE\",\"message\":\"the "
                                   "query has too many parameters\"}}";
        char text[512];
        int size = snprintf(text, sizeof text,
                            "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
                            "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
                            "Content-Length: %zu\r\n\r\n%s",
                            sizeof body - 1, body);
        SAGA_ASSERT(size > 0 && (size_t)size < sizeof text);
        (void)send(peer->fd, text, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)shutdown(peer->fd, SHUT_RDWR);
        peer->shut = true;
    }
    return NULL;
}

size_t saga_http_on_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    size_t size = MHD_http_unescape(text);
    struct saga_http_peer *peer = peer_of(connection);
    if (peer != NULL && strlen(text) != size) {
        peer->zero_byte = true;
    }
    return size;
}

/* ---- Routes ---- */

/* Tells whether a path fits a route's; gives how many bytes fit literally, and where the value is.
 */
static bool route_fits(const char *pattern, const char *path, size_t *literal, const char **value,
                       size_t *value_size)
{
    *literal = 0;
    *value = NULL;
    *value_size = 0;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            size_t size = strcspn(path, "/");
            if (size == 0) {
                return false;
            }
            *value = path;
            *value_size = size;
            path += size;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ == *path++) {
            *literal += 1;
        } else {
            return false;
        }
    }
    return *path == '\0';
}

static bool method_fits(const char *wanted, const char *method)
{
    return strcmp(wanted, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(wanted, "GET") == 0);
}

/* Finds the route, puts the path's value into the request. When only the method does not fit, allow
 * lists those that do. */
static const struct saga_http_route *route_find(struct saga_http_request *request,
                                                const char *method, char allow[ALLOW_SIZE])
{
    const struct saga_http *http = request->http;
    const struct saga_http_route *found = NULL;
    const char *found_value = NULL;
    size_t found_size = 0;
    size_t best = 0;
    allow[0] = '\0';
    for (size_t i = 0; i < http->route_count; i++) {
        const struct saga_http_route *route = &http->routes[i];
        const char *value = NULL;
        size_t literal = 0;
        size_t value_size = 0;
        if (!route_fits(route->path, request->path, &literal, &value, &value_size)) {
            continue;
        }
        size_t size = strlen(allow);
        (void)snprintf(allow + size, ALLOW_SIZE - size, "%s%s%s", size == 0 ? "Allow: " : ", ",
                       route->method, strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
        if (method_fits(route->method, method) && (found == NULL || literal > best)) {
            found = route;
            best = literal;
            found_value = value;
            found_size = value_size;
        }
    }
    if (found_value != NULL) {
        request->path_value = request->path + (found_value - request->path);
        request->path_value[found_size] = '\0';
    }
    return found;
}

/* ---- Making a request ---- */

/* First pass over headers and query: sizes; second pass: copies. */
struct copier {
    struct saga_http_request *request; /* NULL in the first pass */
    size_t count;
    size_t size;
    char *at;
    bool refused; /* a zero byte, which a C text would hide */
};

static const char *copy_text(struct copier *copier, const char *text, size_t size)
{
    char *copy = copier->at;
    if (size > 0) {
        memcpy(copy, text, size);
    }
    copy[size] = '\0';
    copier->at += size + 1;
    return copy;
}

static enum MHD_Result on_field(void *context, enum MHD_ValueKind kind, const char *name,
                                size_t name_size, const char *value, size_t value_size)
{
    struct copier *copier = context;
    if (value == NULL) {
        value_size = 0;
    }
    if ((name_size > 0 && memchr(name, '\0', name_size) != NULL) ||
        (value_size > 0 && memchr(value, '\0', value_size) != NULL)) {
        copier->refused = true;
    }
    if (copier->request != NULL) {
        struct saga_http_field *field = &copier->request->fields[copier->count];
        field->kind = kind;
        field->name = copy_text(copier, name, name_size);
        field->value = copy_text(copier, value, value_size);
    }
    copier->count++;
    copier->size += name_size + value_size + 2;
    return MHD_YES;
}

static void each_field(struct MHD_Connection *connection, struct copier *copier)
{
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_field, copier);
    (void)MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND, on_field, copier);
}

/* Makes a request with copies of all texts, so that they can be read from any thread until it is
 * answered. */
static struct saga_http_request *request_new(struct saga_http *http,
                                             struct MHD_Connection *connection, const char *url,
                                             bool *refused)
{
    struct copier copier = {0};
    each_field(connection, &copier);
    size_t url_size = strlen(url);
    struct saga_http_request *request = calloc(1, sizeof *request);
    struct saga_http_field *fields = calloc(copier.count + 1, sizeof *fields);
    char *texts = malloc(copier.size + url_size + 2);
    struct saga_http_peer *peer = peer_of(connection);
    if (request == NULL || fields == NULL || texts == NULL || peer == NULL) {
        free(request);
        free(fields);
        free(texts);
        return NULL;
    }
    request->http = http;
    request->peer = peer;
    request->connection = connection;
    request->fields = fields;
    request->field_count = copier.count;
    request->path = texts;
    memcpy(texts, url, url_size + 1);
    request->path_value = texts + url_size; /* empty */
    *refused = copier.refused;
    copier = (struct copier){.request = request, .at = texts + url_size + 1};
    each_field(connection, &copier);
    request->state = REQUEST_READING;
    request->held_by_mhd = true;
    saga_http_lock(http);
    http->request_count++;
    http->unsent_count++;
    peer->since_us = saga_clock_mono_us();
    saga_http_unlock(http);
    return request;
}

static void request_free(struct saga_http_request *request)
{
    if (request->response != NULL) {
        MHD_destroy_response(request->response);
    }
    saga_buf_fini(&request->body);
    free(request->path);
    free(request->fields);
    free(request);
}

void saga_http_drop(struct saga_http_request *request, bool *hold)
{
    struct saga_http *http = request->http;
    SAGA_ASSERT(*hold);
    *hold = false;
    bool gone = !request->held_by_mhd && !request->held_by_handler;
    bool last = false;
    if (gone) {
        SAGA_ASSERT(http->request_count > 0);
        http->request_count--;
        last = http->stopped && http->request_count == 0;
    }
    saga_http_unlock(http);
    if (gone) {
        request_free(request);
    }
    if (last) {
        saga_http_free(http);
    }
}

/* ---- Refusing at the door ---- */

static const char *field_find(const struct saga_http_request *request, enum MHD_ValueKind kind,
                              const char *name)
{
    for (size_t i = 0; i < request->field_count; i++) {
        const struct saga_http_field *field = &request->fields[i];
        bool same = kind == MHD_HEADER_KIND ? strcasecmp(field->name, name) == 0
                                            : strcmp(field->name, name) == 0;
        if (field->kind == kind && same) {
            return field->value;
        }
    }
    return NULL;
}

static size_t header_count(const struct saga_http_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->field_count; i++) {
        count += request->fields[i].kind == MHD_HEADER_KIND &&
                         strcasecmp(request->fields[i].name, name) == 0
                     ? 1U
                     : 0U;
    }
    return count;
}

/* Takes the same time wherever the texts differ. */
static bool token_fits(const char *token, const char *given)
{
    size_t token_size = strlen(token);
    size_t given_size = strlen(given);
    unsigned difference = token_size == given_size ? 0 : 1;
    for (size_t i = 0; i < given_size; i++) {
        difference |= (unsigned char)given[i] ^ (unsigned char)token[i % (token_size + 1)];
    }
    return difference == 0;
}

static bool is_allowed(const struct saga_http_request *request, const char *method)
{
    const char *token = request->http->token;
    if (token == NULL || strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        return true;
    }
    const char *given = field_find(request, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0) {
        return false;
    }
    given += 7;
    return token_fits(token, given + strspn(given, " "));
}

static enum MHD_Result queue(struct saga_http_request *request, unsigned status,
                             struct MHD_Response *response)
{
    if (response == NULL) {
        return MHD_NO; /* no memory for an answer: the connection is closed */
    }
    enum MHD_Result result = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response); /* libmicrohttpd holds it now */
    saga_http_lock(request->http);
    request->state = REQUEST_SENDING;
    request->peer->since_us = saga_clock_mono_us();
    saga_http_unlock(request->http);
    return result;
}

static enum MHD_Result refuse(struct saga_http_request *request, unsigned status, const char *code,
                              const char *message, const char *extra_header)
{
    return queue(request, status, saga_http_error_response(code, NULL, message, extra_header));
}

/* Tells whether the request's line and headers are within their limits. */
static bool headers_fit(const struct saga_http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info != NULL && info->header_size <= request->http->header_size_max &&
           request->field_count <= SAGA_HTTP_FIELDS_MAX;
}

static enum MHD_Result refuse_headers(struct saga_http_request *request)
{
    char message[128];
    (void)snprintf(message, sizeof message,
                   "the headers have more than %zu bytes, or are more than %d with the query's "
                   "parameters",
                   request->http->header_size_max, SAGA_HTTP_FIELDS_MAX);
    return refuse(request, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADER_TOO_LARGE", message,
                  "Connection: close");
}

static enum MHD_Result refuse_too_large(struct saga_http_request *request)
{
    char message[96];
    (void)snprintf(message, sizeof message, "the body is larger than %zu bytes",
                   request->http->body_size_max);
    return queue(request, MHD_HTTP_CONTENT_TOO_LARGE,
                 saga_http_error_response("BODY_TOO_LARGE", "body", message, "Connection: close"));
}

/* Content-Length as a number; SIZE_MAX when it is too large for one, 0 when there is none. */
static bool announced_size(const struct saga_http_request *request, size_t *size)
{
    const char *text = field_find(request, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    *size = 0;
    if (text == NULL) {
        return true;
    }
    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        size_t digit = (size_t)(*text - '0');
        if (*size > (SIZE_MAX - digit) / 10) {
            *size = SIZE_MAX;
            return true;
        }
        *size = *size * 10 + digit;
    }
    return true;
}

/* The first call for a request: its headers are there. */
static enum MHD_Result begin(struct saga_http *http, struct MHD_Connection *connection,
                             const char *url, const char *method, void **slot)
{
    bool refused = false;
    struct saga_http_request *request = request_new(http, connection, url, &refused);
    if (request == NULL) {
        return MHD_NO;
    }
    *slot = request;
    if (request->peer->shut) {
        return MHD_NO;
    }
    saga_http_lock(http);
    bool stopping = http->stopping;
    saga_http_unlock(http);
    if (stopping) {
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "UNAVAILABLE",
                      "the server is stopping", "Connection: close");
    }
    if (!headers_fit(request)) {
        return refuse_headers(request);
    }
    refused = refused || request->peer->zero_byte;
    size_t size = 0;
    size_t lengths = header_count(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    /* Two ways to tell a body's end, and a proxy before us that takes the other one: a smuggled
     * request. */
    bool ambiguous = lengths > 1 || (lengths == 1 && field_find(request, MHD_HEADER_KIND,
                                                                MHD_HTTP_HEADER_TRANSFER_ENCODING));
    if (refused || ambiguous || !announced_size(request, &size)) {
        return refuse(request, MHD_HTTP_BAD_REQUEST, "BAD_REQUEST",
                      refused ? "a zero byte in the path, the query or a header"
                              : "the length of the body is not clear",
                      "Connection: close");
    }
    char allow[ALLOW_SIZE];
    request->route = route_find(request, method, allow);
    if (request->route == NULL && allow[0] == '\0') {
        return refuse(request, MHD_HTTP_NOT_FOUND, "NOT_FOUND", "there is nothing at this path",
                      NULL);
    }
    if (request->route == NULL) {
        return refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED",
                      "this path has no such method", allow);
    }
    if (!is_allowed(request, method)) {
        return refuse(request, MHD_HTTP_UNAUTHORIZED, "UNAUTHENTICATED", "a bearer token is needed",
                      "WWW-Authenticate: Bearer");
    }
    if (size > http->body_size_max) {
        return refuse_too_large(request);
    }
    return MHD_YES;
}

/* ---- Body and handler ---- */

static enum MHD_Result take_body(struct saga_http_request *request, const char *upload,
                                 size_t *upload_size)
{
    size_t size = *upload_size;
    size_t size_max = request->http->body_size_max;
    *upload_size = 0;
    if (!request->too_large && size <= size_max - request->body.size) {
        struct saga_bytes bytes = {.data = (const uint8_t *)upload, .size = size};
        return saga_buf_append(&request->body, bytes) == SAGA_ERR_OK ? MHD_YES : MHD_NO;
    }
    if (!request->too_large) {
        request->too_large = true;
        saga_buf_fini(&request->body);
    }
    /* An answer can only be queued behind the body. */
    request->skipped += size;
    size_t skip_max = size_max < SKIP_SIZE_MIN ? SKIP_SIZE_MIN : size_max;
    return request->skipped <= skip_max ? MHD_YES : MHD_NO;
}

static enum MHD_Result send_answer(struct saga_http_request *request)
{
    struct MHD_Response *response = request->response;
    request->response = NULL;
    return queue(request, request->status, response);
}

/* Suspends the connection until there is an answer, which another thread may give at any moment. */
static enum MHD_Result keep(struct saga_http_request *request)
{
    struct saga_http *http = request->http;
    MHD_suspend_connection(request->connection);
    saga_http_lock(http);
    bool resume = request->state == REQUEST_ANSWERED;
    if (!resume && http->stopping) {
        request->state = REQUEST_ANSWERED;
        request->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        request->response = saga_http_error_response("UNAVAILABLE", NULL, "the server is stopping",
                                                     "Connection: close");
        resume = true;
    }
    if (!resume) {
        request->state = REQUEST_KEPT;
        request->peer->since_us = -1;
        saga_http_kept_add(request);
    }
    saga_http_unlock(http);
    if (resume) {
        MHD_resume_connection(request->connection);
    }
    return MHD_YES;
}

static enum MHD_Result handle(struct saga_http_request *request)
{
    struct saga_http *http = request->http;
    if (request->too_large) {
        return refuse_too_large(request);
    }
    saga_http_lock(http);
    request->state = REQUEST_HANDLING;
    request->held_by_handler = true;
    saga_http_unlock(http);
    request->route->handle(http->context, request);
    saga_http_lock(http);
    bool answered = request->state == REQUEST_ANSWERED;
    saga_http_unlock(http);
    return answered ? send_answer(request) : keep(request);
}

// NOLINTNEXTLINE(readability-function-size): the signature is libmicrohttpd's.
enum MHD_Result saga_http_on_access(void *context, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload, size_t *upload_size, void **slot)
{
    (void)version;
    struct saga_http_request *request = *slot;
    if (request == NULL) {
        return begin(context, connection, url, method, slot);
    }
    saga_http_lock(request->http);
    enum saga_http_state state = request->state;
    saga_http_unlock(request->http);
    switch (state) {
    case REQUEST_READING:
        return *upload_size > 0 ? take_body(request, upload, upload_size) : handle(request);
    case REQUEST_ANSWERED:
        return send_answer(request);
    case REQUEST_KEPT:
    case REQUEST_SENDING:
        return MHD_YES;
    case REQUEST_HANDLING:
    case REQUEST_OVER:
        break;
    }
    SAGA_ASSERT(!"a request that is being handled or over is not called");
    return MHD_NO;
}

void saga_http_on_over(void *context, struct MHD_Connection *connection, void **slot,
                       enum MHD_RequestTerminationCode why)
{
    (void)connection;
    (void)why;
    struct saga_http *http = context;
    struct saga_http_request *request = *slot;
    if (request == NULL) {
        return;
    }
    *slot = NULL;
    saga_http_lock(http);
    if (request->state == REQUEST_KEPT) {
        saga_http_kept_remove(request);
    }
    request->state = REQUEST_OVER;
    request->connection = NULL;
    request->peer->since_us = saga_clock_mono_us();
    request->peer = NULL;
    SAGA_ASSERT(http->unsent_count > 0);
    http->unsent_count--;
    if (http->stopping) {
        SAGA_ASSERT(pthread_cond_broadcast(&http->changed) == 0);
    }
    saga_http_drop(request, &request->held_by_mhd);
}

/* ---- Reading ---- */

const char *saga_http_path_value(const struct saga_http_request *request)
{
    return request->path_value;
}

const char *saga_http_query(const struct saga_http_request *request, const char *name)
{
    return field_find(request, MHD_GET_ARGUMENT_KIND, name);
}

const char *saga_http_query_stray(const struct saga_http_request *request, const char *const *known,
                                  bool *twice)
{
    *twice = false;
    for (size_t i = 0; i < request->field_count; i++) {
        const struct saga_http_field *field = &request->fields[i];
        if (field->kind != MHD_GET_ARGUMENT_KIND) {
            continue;
        }
        const char *const *name = known;
        while (name != NULL && *name != NULL && strcmp(*name, field->name) != 0) {
            name++;
        }
        if (name == NULL || *name == NULL) {
            return field->name;
        }
        if (field_find(request, MHD_GET_ARGUMENT_KIND, field->name) != field->value) {
            *twice = true;
            return field->name;
        }
    }
    return NULL;
}

const char *saga_http_header(const struct saga_http_request *request, const char *name)
{
    return field_find(request, MHD_HEADER_KIND, name);
}

struct saga_bytes saga_http_body(const struct saga_http_request *request)
{
    return saga_buf_view(&request->body);
}
