/* Answers, from any thread. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/http/http_internal.h"

enum { HEADER_NAME_SIZE = 128, MESSAGE_SIZE = 512 };

/* ---- Responses ---- */

static bool add_header(struct MHD_Response *response, const char *header)
{
    const char *colon = strchr(header, ':');
    char name[HEADER_NAME_SIZE];
    SAGA_ASSERT(colon != NULL && (size_t)(colon - header) < sizeof name);
    (void)snprintf(name, sizeof name, "%.*s", (int)(colon - header), header);
    const char *value = colon + 1;
    value += strspn(value, " ");
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

struct MHD_Response *saga_http_response(const char *content_type, struct saga_bytes body,
                                        const char *extra_header)
{
    /* MUST_COPY reads only; its parameter is not const for the sake of the other modes. */
    void *data = malloc(body.size + 1);
    if (data == NULL) {
        return NULL;
    }
    if (body.size > 0) {
        memcpy(data, body.data, body.size);
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.size, data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(data);
        return NULL;
    }
    bool ok =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) == MHD_YES &&
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
        (extra_header == NULL || add_header(response, extra_header));
    if (!ok) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

struct MHD_Response *saga_http_error_response(const char *code, const char *field,
                                              const char *message, const char *extra_header)
{
    json_t *error = json_object();
    bool ok = error != NULL && json_object_set_new(error, "code", json_string(code)) == 0;
    json_t *text = json_string(message);
    if (text == NULL) {
        text = json_string("(the message is not UTF-8)"); /* it may quote what a client sent */
    }
    ok = json_object_set_new(error, "message", text) == 0 && ok;
    if (field != NULL) {
        json_t *name = json_string(field);
        ok = json_object_set_new(error, "field", name == NULL ? json_string("?") : name) == 0 && ok;
    }
    json_t *root = ok ? json_pack("{s:O}", "error", error) : NULL;
    char *dump = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    struct MHD_Response *response = NULL;
    if (dump != NULL) {
        response = saga_http_response("application/json", saga_bytes_text(dump), extra_header);
    }
    free(dump);
    json_decref(root);
    json_decref(error);
    return response;
}

/* ---- Kept requests ---- */

void saga_http_kept_add(struct saga_http_request *request)
{
    struct saga_http *http = request->http;
    request->previous_kept = NULL;
    request->next_kept = http->kept;
    if (http->kept != NULL) {
        http->kept->previous_kept = request;
    }
    http->kept = request;
}

void saga_http_kept_remove(struct saga_http_request *request)
{
    struct saga_http *http = request->http;
    if (request->previous_kept == NULL) {
        SAGA_ASSERT(http->kept == request);
        http->kept = request->next_kept;
    } else {
        request->previous_kept->next_kept = request->next_kept;
    }
    if (request->next_kept != NULL) {
        request->next_kept->previous_kept = request->previous_kept;
    }
    request->next_kept = NULL;
    request->previous_kept = NULL;
}

/* Gives a kept request its response. Under the lock, which is released for the call into
 * libmicrohttpd and taken again: libmicrohttpd has a lock of its own. */
static void answer_kept(struct saga_http_request *request, unsigned status,
                        struct MHD_Response *response)
{
    struct saga_http *http = request->http;
    struct MHD_Connection *connection = request->connection;
    SAGA_ASSERT(request->state == REQUEST_KEPT && connection != NULL);
    saga_http_kept_remove(request);
    request->state = REQUEST_ANSWERED;
    request->status = status;
    request->response = response;
    http->resuming_count++;
    saga_http_unlock(http);
    MHD_resume_connection(connection);
    saga_http_lock(http);
    http->resuming_count--;
    if (http->stopping) {
        SAGA_ASSERT(pthread_cond_broadcast(&http->changed) == 0);
    }
}

void saga_http_answer_all_kept(struct saga_http *http)
{
    saga_http_lock(http);
    while (http->kept != NULL) {
        answer_kept(http->kept, MHD_HTTP_SERVICE_UNAVAILABLE,
                    saga_http_error_response("UNAVAILABLE", NULL, "the server is stopping",
                                             "Connection: close"));
    }
    saga_http_unlock(http);
}

/* ---- The public calls ---- */

static void answer(struct saga_http_request *request, unsigned status,
                   struct MHD_Response *response)
{
    struct saga_http *http = request->http;
    saga_http_lock(http);
    SAGA_ASSERT(request->held_by_handler); /* answered exactly once */
    if (request->state == REQUEST_HANDLING) {
        request->state = REQUEST_ANSWERED;
        request->status = status;
        request->response = response; /* NULL (no memory): the connection is closed */
    } else if (request->state == REQUEST_KEPT) {
        answer_kept(request, status, response);
    } else if (response != NULL) {
        MHD_destroy_response(response); /* the server answered for it when it stopped */
    }
    saga_http_drop(request, &request->held_by_handler);
}

void saga_http_answer(struct saga_http_request *request, unsigned status, const char *content_type,
                      struct saga_bytes body, const char *extra_header)
{
    answer(request, status, saga_http_response(content_type, body, extra_header));
}

void saga_http_answer_error(struct saga_http_request *request, unsigned status, const char *code,
                            const char *field, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    answer(request, status, saga_http_error_response(code, field, message, NULL));
}
