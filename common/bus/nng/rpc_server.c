/* Server: one rep socket, one request slot per context. A slot goes round
 *
 *     RECEIVING -> HANDED (with the handler) -> SENDING -> RECEIVING …
 *         |            \--- dropped ------------------>--/
 *         \-> IDLE once the door is closed
 *
 * Each slot has an aio for receiving and one for sending, so that ending the receives (close_door)
 * never hits an answer. */
#include "common/bus/nng/rpc.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/bus/nng/endpoint.h"

enum {
    ANSWER_TIMEOUT_MS =
        1000,               /* a peer that does not read its answers for so long is disconnected */
    LARGE_SIZE = 64 * 1024, /* an answer that a socket's buffer may not take at once */
    LARGE_WRITE_MS = 200,   /* time to write one before the socket may be closed */
    CONTEXTS_MAX = 4096,
};

enum request_state {
    STATE_IDLE,
    STATE_RECEIVING,
    STATE_HANDED,
    STATE_SENDING,
    STATE_COUNT,
};

struct saga_rpc_request {
    struct saga_rpc_server *server;
    nng_ctx context;
    bool context_open;
    nng_aio *receive_aio;
    nng_aio *send_aio;
    nng_msg *message; /* while HANDED */
    nng_pipe pipe;    /* where it came from */
    enum request_state state;
    void *user;
};

struct saga_rpc_server {
    nng_socket socket;
    bool socket_open;
    saga_rpc_handler *handler;
    void *context;
    char addresses[SAGA_ADDRESSES_MAX][SAGA_ADDRESS_SIZE_MAX + 1];
    size_t address_count;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool door_closed;
    size_t handing; /* calls of the handler that have not returned */
    size_t state_count[STATE_COUNT];
    nng_time large_answer_ms; /* when the last large answer was given */

    size_t request_count;
    struct saga_rpc_request requests[];
};

/* Pre: the mutex is held. */
static void set_state(struct saga_rpc_request *request, enum request_state state)
{
    struct saga_rpc_server *server = request->server;
    SAGA_ASSERT(server->state_count[request->state] > 0);
    server->state_count[request->state]--;
    server->state_count[state]++;
    request->state = state;
    if (server->door_closed) {
        (void)pthread_cond_broadcast(&server->changed);
    }
}

static void lock(struct saga_rpc_server *server)
{
    int code = pthread_mutex_lock(&server->mutex);
    SAGA_ASSERT(code == 0);
}

static void unlock(struct saga_rpc_server *server)
{
    int code = pthread_mutex_unlock(&server->mutex);
    SAGA_ASSERT(code == 0);
}

static void receive(struct saga_rpc_request *request)
{
    struct saga_rpc_server *server = request->server;
    lock(server);
    bool closed = server->door_closed;
    set_state(request, closed ? STATE_IDLE : STATE_RECEIVING);
    unlock(server);
    if (closed) {
        return;
    }
    nng_ctx_recv(request->context, request->receive_aio);
    /* The door may have been closed between the look and the receive: then close_door's abort came
     * too early. */
    lock(server);
    closed = server->door_closed;
    unlock(server);
    if (closed) {
        nng_aio_abort(request->receive_aio, NNG_ECANCELED);
    }
}

static void on_received(void *argument)
{
    struct saga_rpc_request *request = argument;
    struct saga_rpc_server *server = request->server;
    int code = nng_aio_result(request->receive_aio);
    nng_msg *message = NULL;
    if (code == 0) {
        message = nng_aio_get_msg(request->receive_aio);
        nng_aio_set_msg(request->receive_aio, NULL);
    }
    lock(server);
    bool wanted = code == 0 && !server->door_closed;
    bool ended = server->door_closed || code == NNG_ECLOSED || code == NNG_ECANCELED;
    if (wanted) {
        request->message = message;
        request->pipe = nng_msg_get_pipe(message);
        request->user = NULL;
        server->handing++;
        set_state(request, STATE_HANDED);
    } else if (ended) {
        set_state(request, STATE_IDLE);
    }
    unlock(server);
    if (wanted) {
        server->handler(server->context, request);
        lock(server);
        server->handing--;
        if (server->door_closed) {
            (void)pthread_cond_broadcast(&server->changed);
        }
        unlock(server);
    } else if (message != NULL) {
        nng_msg_free(message);
    } else if (!ended) {
        receive(request);
    }
}

static void on_sent(void *argument)
{
    struct saga_rpc_request *request = argument;
    int code = nng_aio_result(request->send_aio);
    if (code != 0) {
        nng_msg_free(nng_aio_get_msg(request->send_aio));
        nng_aio_set_msg(request->send_aio, NULL);
    }
    if (code == NNG_ETIMEDOUT) {
        (void)nng_pipe_close(request->pipe);
    }
    receive(request);
}

struct saga_bytes saga_rpc_request_bytes(const struct saga_rpc_request *request)
{
    SAGA_ASSERT(request->message != NULL);
    struct saga_bytes bytes = {.data = nng_msg_body(request->message),
                               .size = nng_msg_len(request->message)};
    return bytes;
}

void saga_rpc_request_set_user(struct saga_rpc_request *request, void *user)
{
    request->user = user;
}

void *saga_rpc_request_user(const struct saga_rpc_request *request)
{
    return request->user;
}

/* Takes the message from a request that was handed over. */
static nng_msg *take_message(struct saga_rpc_request *request)
{
    nng_msg *message = request->message;
    SAGA_ASSERT(message != NULL);
    SAGA_ASSERT(request->state == STATE_HANDED);
    request->message = NULL;
    return message;
}

void saga_rpc_request_answer(struct saga_rpc_request *request, struct saga_bytes bytes)
{
    nng_msg *answer = bytes.size > SAGA_MESSAGE_SIZE_HARD ? NULL : saga_rpc_message_new(bytes);
    if (answer == NULL) {
        saga_rpc_request_drop(request);
        return;
    }
    nng_msg_free(take_message(request));
    lock(request->server);
    set_state(request, STATE_SENDING);
    if (bytes.size > LARGE_SIZE) {
        request->server->large_answer_ms = nng_clock();
    }
    unlock(request->server);
    nng_aio_set_msg(request->send_aio, answer);
    nng_ctx_send(request->context, request->send_aio);
}

void saga_rpc_request_drop(struct saga_rpc_request *request)
{
    nng_msg_free(take_message(request));
    receive(request);
}

void saga_rpc_server_close_door(struct saga_rpc_server *server)
{
    lock(server);
    server->door_closed = true;
    unlock(server);
    for (size_t i = 0; i < server->request_count; i++) {
        nng_aio_abort(server->requests[i].receive_aio, NNG_ECANCELED);
    }
    lock(server);
    while (server->handing > 0 || server->state_count[STATE_RECEIVING] > 0) {
        (void)pthread_cond_wait(&server->changed, &server->mutex);
    }
    unlock(server);
}

/* Waits until nng has taken the answers, and until it should have written the large ones: nng drops
 * what it is writing when a socket closes, and tells nobody how far it is. Small answers go out in
 * one piece when they are given. */
static void wait_for_answers(struct saga_rpc_server *server)
{
    struct timespec until = saga_endpoint_deadline(ANSWER_TIMEOUT_MS);
    lock(server);
    SAGA_ASSERT(server->state_count[STATE_HANDED] == 0);
    int code = 0;
    while (server->state_count[STATE_SENDING] > 0 && code == 0) {
        code = pthread_cond_timedwait(&server->changed, &server->mutex, &until);
    }
    nng_time written_ms = server->large_answer_ms + LARGE_WRITE_MS;
    unlock(server);
    nng_time now_ms = nng_clock();
    if (now_ms < written_ms) {
        nng_msleep((nng_duration)(written_ms - now_ms));
    }
}

void saga_rpc_server_free(struct saga_rpc_server *server)
{
    if (server == NULL) {
        return;
    }
    saga_rpc_server_close_door(server);
    wait_for_answers(server);
    for (size_t i = 0; i < server->request_count; i++) {
        if (server->requests[i].context_open) {
            (void)nng_ctx_close(server->requests[i].context);
        }
    }
    /* A closed context ends what it was doing; every slot comes to rest. */
    lock(server);
    while (server->state_count[STATE_IDLE] < server->request_count) {
        (void)pthread_cond_wait(&server->changed, &server->mutex);
    }
    unlock(server);
    for (size_t i = 0; i < server->request_count; i++) {
        nng_aio_free(server->requests[i].receive_aio);
        nng_aio_free(server->requests[i].send_aio);
    }
    if (server->socket_open) {
        (void)nng_close(server->socket);
    }
    (void)pthread_cond_destroy(&server->changed);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}

const char *saga_rpc_server_address(const struct saga_rpc_server *server, size_t index)
{
    SAGA_ASSERT(index < server->address_count);
    return server->addresses[index];
}

/* Writes the address with the port that was taken and, for a wildcard, a host that can be dialled.
 */
static enum saga_err dialable(nng_listener listener, const char *address,
                              char text[SAGA_ADDRESS_SIZE_MAX + 1], struct saga_err_detail *detail)
{
    int port = 0;
    nng_url *url = NULL;
    int code = nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port);
    if (code == 0) {
        code = nng_url_parse(&url, address);
    }
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "%s: %s", address, nng_strerror(code));
    }
    const char *host = url->u_hostname;
    if (host[0] == '\0' || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0) {
        host = "127.0.0.1";
    } else if (strcmp(host, "::") == 0) {
        host = "::1";
    }
    bool in_brackets = strchr(host, ':') != NULL; /* IPv6 */
    int length = snprintf(text, SAGA_ADDRESS_SIZE_MAX + 1, "%s://%s%s%s:%d", url->u_scheme,
                          in_brackets ? "[" : "", host, in_brackets ? "]" : "", port);
    nng_url_free(url);
    if (length < 0 || length > SAGA_ADDRESS_SIZE_MAX) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: too long", address);
    }
    return SAGA_ERR_OK;
}

static enum saga_err set_listener_options(nng_listener listener, enum saga_endpoint_kind kind,
                                          const struct saga_rpc_tls *tls,
                                          struct saga_err_detail *detail)
{
    if (kind == SAGA_ENDPOINT_LOCAL) {
        return SAGA_ERR_OK;
    }
    int code = nng_listener_set_bool(listener, NNG_OPT_TCP_NODELAY, true);
    if (code == 0) {
        code = nng_listener_set_bool(listener, NNG_OPT_TCP_KEEPALIVE, true);
    }
    enum saga_err err = SAGA_ERR_OK;
    if (code == 0 && kind == SAGA_ENDPOINT_TLS) {
        nng_tls_config *config = NULL;
        err = saga_endpoint_tls(tls, NULL, &config, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        code = nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config);
        nng_tls_config_free(config); /* the listener holds it */
    }
    if (code != 0) {
        err = saga_err_set(detail, saga_endpoint_err(code), "listener: %s", nng_strerror(code));
    }
    return err;
}

static enum saga_err listen_on(struct saga_rpc_server *server, const char *address,
                               const struct saga_rpc_tls *tls, struct saga_err_detail *detail)
{
    enum saga_endpoint_kind kind;
    enum saga_err err = saga_endpoint_check(address, tls, &kind, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    nng_listener listener;
    int code = nng_listener_create(&listener, server->socket, address);
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "%s: %s", address, nng_strerror(code));
    }
    err = set_listener_options(listener, kind, tls, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, address);
    }
    code = nng_listener_start(listener, 0);
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "%s: %s", address, nng_strerror(code));
    }
    char *text = server->addresses[server->address_count];
    if (kind == SAGA_ENDPOINT_LOCAL) {
        (void)snprintf(text, SAGA_ADDRESS_SIZE_MAX + 1, "%s", address);
    } else {
        err = dialable(listener, address, text, detail);
    }
    server->address_count++;
    return err;
}

static enum saga_err open_requests(struct saga_rpc_server *server, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < server->request_count; i++) {
        struct saga_rpc_request *request = &server->requests[i];
        int code = nng_ctx_open(&request->context, server->socket);
        request->context_open = code == 0;
        if (code == 0) {
            code = nng_aio_alloc(&request->receive_aio, on_received, request);
        }
        if (code == 0) {
            code = nng_aio_alloc(&request->send_aio, on_sent, request);
        }
        if (code != 0) {
            return saga_err_set(detail, saga_endpoint_err(code), "context: %s", nng_strerror(code));
        }
        nng_aio_set_timeout(request->receive_aio, NNG_DURATION_INFINITE);
        nng_aio_set_timeout(request->send_aio, ANSWER_TIMEOUT_MS);
    }
    return SAGA_ERR_OK;
}

static struct saga_rpc_server *server_new(const struct saga_rpc_server_config *config,
                                          size_t contexts)
{
    struct saga_rpc_server *server =
        calloc(1, sizeof(*server) + contexts * sizeof(struct saga_rpc_request));
    if (server == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&server->mutex, NULL) != 0) {
        free(server);
        return NULL;
    }
    if (saga_endpoint_cond_init(&server->changed) != SAGA_ERR_OK) {
        (void)pthread_mutex_destroy(&server->mutex);
        free(server);
        return NULL;
    }
    server->handler = config->handler;
    server->context = config->context;
    server->request_count = contexts;
    server->state_count[STATE_IDLE] = contexts;
    for (size_t i = 0; i < contexts; i++) {
        server->requests[i].server = server;
    }
    return server;
}

enum saga_err saga_rpc_server_start(const struct saga_rpc_server_config *config,
                                    struct saga_rpc_server **server, struct saga_err_detail *detail)
{
    size_t contexts = config->contexts == 0 ? SAGA_RPC_CONTEXTS : config->contexts;
    if (config->handler == NULL || config->address_count == 0 ||
        config->address_count > SAGA_ADDRESSES_MAX || contexts > CONTEXTS_MAX) {
        return saga_err_set(detail, SAGA_ERR_INVALID,
                            "1 to %d addresses (not %zu) and at most %d contexts",
                            SAGA_ADDRESSES_MAX, config->address_count, CONTEXTS_MAX);
    }
    struct saga_rpc_server *made = server_new(config, contexts);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "server");
    }
    enum saga_err err = SAGA_ERR_OK;
    int code = nng_rep0_open(&made->socket);
    made->socket_open = code == 0;
    if (code != 0) {
        err = saga_err_set(detail, saga_endpoint_err(code), "socket: %s", nng_strerror(code));
    }
    if (err == SAGA_ERR_OK) {
        err = saga_endpoint_prepare(made->socket, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = open_requests(made, detail);
    }
    for (size_t i = 0; err == SAGA_ERR_OK && i < config->address_count; i++) {
        err = listen_on(made, config->addresses[i], &config->tls, detail);
    }
    if (err != SAGA_ERR_OK) {
        saga_rpc_server_free(made);
        return err;
    }
    /* Requests are taken only once every address is listened on: a start that fails has handed over
     * nothing. */
    if (!config->door_shut) {
        saga_rpc_server_open_door(made);
    }
    *server = made;
    return SAGA_ERR_OK;
}

void saga_rpc_server_open_door(struct saga_rpc_server *server)
{
    for (size_t i = 0; i < server->request_count; i++) {
        receive(&server->requests[i]);
    }
}
