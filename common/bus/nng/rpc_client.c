/* Client: one req socket per participant, one slot per context. A slot goes
 *
 *     FREE -> sending (in nng's queue) -> waiting (the message has left) -> FREE, then `done`
 *
 * While a request is sending, its message is ours: whatever ends it then is NOT_SENT. Afterwards it
 * is NO_REPLY. Sending and waiting have an aio each, so that ending the sends when the last peer is
 * gone never hits a reply. */
#include "common/bus/nng/rpc.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/bus/nng/endpoint.h"

enum {
    RECONNECT_MS_MIN = 10,
    RECONNECT_MS_MAX = 1000,
    CONTEXTS_MAX = 4096,
};

struct slot {
    struct saga_rpc_client *client;
    struct slot *next_free;
    nng_ctx context;
    bool context_open;
    nng_aio *send_aio;
    nng_aio *receive_aio;
    nng_time deadline_ms;
    saga_rpc_done *done;
    void *user;
};

struct saga_rpc_client {
    nng_socket socket;
    bool socket_open;

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a peer came or went, a request ended */
    bool closing;
    atomic_size_t peer_count;  /* written with the mutex held */
    atomic_size_t break_count; /* connections that ended, ever */
    atomic_size_t free_count;  /* written with the mutex held */
    size_t outstanding;        /* requests whose done has not returned */
    struct slot *free_slots;

    size_t slot_count;
    struct slot slots[];
};

static void lock(struct saga_rpc_client *client)
{
    int code = pthread_mutex_lock(&client->mutex);
    SAGA_ASSERT(code == 0);
}

static void unlock(struct saga_rpc_client *client)
{
    int code = pthread_mutex_unlock(&client->mutex);
    SAGA_ASSERT(code == 0);
}

/* Pre: the mutex is held. */
static void put_free(struct saga_rpc_client *client, struct slot *slot)
{
    slot->next_free = client->free_slots;
    client->free_slots = slot;
    atomic_fetch_add(&client->free_count, 1);
}

/* Ends a request. The slot is free before done runs, so that done can send again. */
static void finish(struct slot *slot, enum saga_rpc_outcome outcome, nng_msg *reply)
{
    struct saga_rpc_client *client = slot->client;
    saga_rpc_done *done = slot->done;
    void *user = slot->user;
    lock(client);
    put_free(client, slot);
    unlock(client);

    struct saga_bytes bytes = {0};
    if (reply != NULL) {
        bytes = (struct saga_bytes){.data = nng_msg_body(reply), .size = nng_msg_len(reply)};
    }
    done(user, outcome, bytes);
    if (reply != NULL) {
        nng_msg_free(reply);
    }

    lock(client);
    client->outstanding--;
    (void)pthread_cond_broadcast(&client->changed);
    unlock(client);
}

static void on_received(void *argument)
{
    struct slot *slot = argument;
    if (nng_aio_result(slot->receive_aio) != 0) {
        finish(slot, SAGA_RPC_NO_REPLY, NULL);
        return;
    }
    nng_msg *reply = nng_aio_get_msg(slot->receive_aio);
    nng_aio_set_msg(slot->receive_aio, NULL);
    finish(slot, SAGA_RPC_REPLIED, reply);
}

static void on_sent(void *argument)
{
    struct slot *slot = argument;
    if (nng_aio_result(slot->send_aio) != 0) {
        nng_msg_free(nng_aio_get_msg(slot->send_aio));
        nng_aio_set_msg(slot->send_aio, NULL);
        finish(slot, SAGA_RPC_NOT_SENT, NULL);
        return;
    }
    nng_time now_ms = nng_clock();
    nng_duration rest_ms =
        slot->deadline_ms > now_ms ? (nng_duration)(slot->deadline_ms - now_ms) : 1;
    nng_aio_set_timeout(slot->receive_aio, rest_ms);
    nng_ctx_recv(slot->context, slot->receive_aio);
}

/* Ends the requests that wait for a peer; idle slots and those that wait for a reply are not
 * touched by this. */
static void end_sends(struct saga_rpc_client *client)
{
    for (size_t i = 0; i < client->slot_count; i++) {
        nng_aio_abort(client->slots[i].send_aio, NNG_ECONNRESET);
    }
}

/* Counts peers. ADD_PRE and not ADD_POST: nng calls REM_POST for every pipe that had ADD_PRE, also
 * when the pipe broke before ADD_POST or was refused as no reply socket; only this pair is exact.
 */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *argument)
{
    struct saga_rpc_client *client = argument;
    (void)pipe;
    lock(client);
    size_t count = atomic_load(&client->peer_count);
    if (event == NNG_PIPE_EV_ADD_PRE) {
        count++;
    } else {
        SAGA_ASSERT(count > 0);
        count--;
        atomic_fetch_add(&client->break_count, 1);
    }
    atomic_store(&client->peer_count, count);
    (void)pthread_cond_broadcast(&client->changed);
    unlock(client);
    if (count == 0) {
        end_sends(client);
    }
}

bool saga_rpc_client_connected(const struct saga_rpc_client *client)
{
    return atomic_load(&client->peer_count) > 0;
}

size_t saga_rpc_client_breaks(const struct saga_rpc_client *client)
{
    return atomic_load(&client->break_count);
}

size_t saga_rpc_client_room(const struct saga_rpc_client *client)
{
    return atomic_load(&client->free_count);
}

enum saga_err saga_rpc_client_wait(struct saga_rpc_client *client, int64_t timeout_ms)
{
    struct timespec until = saga_endpoint_deadline(timeout_ms);
    lock(client);
    int code = 0;
    while (atomic_load(&client->peer_count) == 0 && code == 0) {
        code = pthread_cond_timedwait(&client->changed, &client->mutex, &until);
    }
    bool connected = atomic_load(&client->peer_count) > 0;
    unlock(client);
    return connected ? SAGA_ERR_OK : SAGA_ERR_TIMEOUT;
}

static enum saga_err take_slot(struct saga_rpc_client *client, struct slot **slot)
{
    enum saga_err err = SAGA_ERR_OK;
    lock(client);
    if (client->closing) {
        err = SAGA_ERR_CLOSED;
    } else if (atomic_load(&client->peer_count) == 0) {
        err = SAGA_ERR_UNAVAILABLE;
    } else if (client->free_slots == NULL) {
        err = SAGA_ERR_FULL;
    } else {
        *slot = client->free_slots;
        client->free_slots = (*slot)->next_free;
        (*slot)->next_free = NULL;
        atomic_fetch_sub(&client->free_count, 1);
        client->outstanding++;
    }
    unlock(client);
    return err;
}

enum saga_err saga_rpc_client_send(struct saga_rpc_client *client, struct saga_bytes bytes,
                                   int64_t timeout_ms, saga_rpc_done *done, void *user)
{
    if (bytes.size > SAGA_MESSAGE_SIZE_HARD) {
        return SAGA_ERR_LIMIT;
    }
    struct slot *slot = NULL;
    enum saga_err err = take_slot(client, &slot);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    nng_msg *message = saga_rpc_message_new(bytes);
    if (message == NULL) {
        lock(client);
        put_free(client, slot);
        client->outstanding--;
        (void)pthread_cond_broadcast(&client->changed);
        unlock(client);
        return SAGA_ERR_NO_MEMORY;
    }
    nng_duration wait_ms = timeout_ms < 1           ? 1
                           : timeout_ms > INT32_MAX ? INT32_MAX
                                                    : (nng_duration)timeout_ms;
    slot->done = done;
    slot->user = user;
    slot->deadline_ms = nng_clock() + (nng_time)wait_ms;
    nng_aio *aio = slot->send_aio;
    nng_aio_set_timeout(aio, wait_ms);
    nng_aio_set_msg(aio, message);
    nng_ctx_send(slot->context, aio);
    /* The last peer may have gone between the look and the send: then end_sends came too early. */
    if (atomic_load(&client->peer_count) == 0) {
        nng_aio_abort(aio, NNG_ECONNRESET);
    }
    return SAGA_ERR_OK;
}

/* What a call waits for; on the caller's stack. */
struct call {
    pthread_mutex_t mutex;
    pthread_cond_t ended_changed;
    bool ended;
    enum saga_rpc_outcome outcome;
    struct saga_buf *reply;
    enum saga_err err;
};

static void on_call_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct call *call = user;
    (void)pthread_mutex_lock(&call->mutex);
    call->outcome = outcome;
    if (outcome == SAGA_RPC_REPLIED) {
        call->err = saga_buf_append(call->reply, bytes);
    }
    call->ended = true;
    (void)pthread_cond_signal(&call->ended_changed);
    (void)pthread_mutex_unlock(&call->mutex);
}

/* Sends as soon as a context is free. */
static enum saga_err send_when_free(struct saga_rpc_client *client, struct saga_bytes bytes,
                                    int64_t timeout_ms, struct call *call)
{
    struct timespec until = saga_endpoint_deadline(timeout_ms);
    for (;;) {
        enum saga_err err = saga_rpc_client_send(client, bytes, timeout_ms, on_call_done, call);
        if (err != SAGA_ERR_FULL) {
            return err;
        }
        lock(client);
        int code = 0;
        while (client->free_slots == NULL && code == 0) {
            code = pthread_cond_timedwait(&client->changed, &client->mutex, &until);
        }
        unlock(client);
        if (code != 0) {
            return SAGA_ERR_FULL;
        }
    }
}

static enum saga_err call_result(const struct call *call, struct saga_err_detail *detail)
{
    switch (call->outcome) {
    case SAGA_RPC_REPLIED:
        return call->err;
    case SAGA_RPC_NOT_SENT:
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "not sent: the peer is gone or busy");
    case SAGA_RPC_NO_REPLY:
        return saga_err_set(detail, SAGA_ERR_TIMEOUT,
                            "no reply: timed out or the connection broke");
    }
    return SAGA_ERR_INTERNAL;
}

enum saga_err saga_rpc_client_call(struct saga_rpc_client *client, struct saga_bytes bytes,
                                   int64_t timeout_ms, struct saga_buf *reply,
                                   struct saga_err_detail *detail)
{
    struct call call = {.reply = reply, .err = SAGA_ERR_OK};
    if (pthread_mutex_init(&call.mutex, NULL) != 0) {
        return SAGA_ERR_NO_MEMORY;
    }
    if (pthread_cond_init(&call.ended_changed, NULL) != 0) {
        (void)pthread_mutex_destroy(&call.mutex);
        return SAGA_ERR_NO_MEMORY;
    }
    enum saga_err err = send_when_free(client, bytes, timeout_ms, &call);
    if (err == SAGA_ERR_OK) {
        (void)pthread_mutex_lock(&call.mutex);
        while (!call.ended) {
            (void)pthread_cond_wait(&call.ended_changed, &call.mutex);
        }
        (void)pthread_mutex_unlock(&call.mutex);
        err = call_result(&call, detail);
    } else if (err == SAGA_ERR_UNAVAILABLE) {
        (void)saga_err_set(detail, err, "no peer is connected");
    } else if (err == SAGA_ERR_FULL) {
        err = saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "not sent: all contexts are busy");
    } else if (err == SAGA_ERR_LIMIT) {
        (void)saga_err_set(detail, err, "message has %zu bytes, at most %d are sent", bytes.size,
                           SAGA_MESSAGE_SIZE_HARD);
    }
    (void)pthread_cond_destroy(&call.ended_changed);
    (void)pthread_mutex_destroy(&call.mutex);
    return err;
}

void saga_rpc_client_free(struct saga_rpc_client *client)
{
    if (client == NULL) {
        return;
    }
    lock(client);
    client->closing = true;
    unlock(client);
    /* A closed context ends what it was doing; whatever is started on it from now on ends at once.
     */
    for (size_t i = 0; i < client->slot_count; i++) {
        if (client->slots[i].context_open) {
            (void)nng_ctx_close(client->slots[i].context);
        }
    }
    lock(client);
    while (client->outstanding > 0) {
        (void)pthread_cond_wait(&client->changed, &client->mutex);
    }
    unlock(client);
    /* Callbacks that still run are within calls on their context, which must have returned before
     * the socket closes; and pipe callbacks may look at the aios until it is closed. */
    for (size_t i = 0; i < client->slot_count; i++) {
        nng_aio_stop(client->slots[i].send_aio);
        nng_aio_stop(client->slots[i].receive_aio);
    }
    if (client->socket_open) {
        (void)nng_close(client->socket);
    }
    for (size_t i = 0; i < client->slot_count; i++) {
        nng_aio_free(client->slots[i].send_aio);
        nng_aio_free(client->slots[i].receive_aio);
    }
    (void)pthread_cond_destroy(&client->changed);
    (void)pthread_mutex_destroy(&client->mutex);
    free(client);
}

/* A dialer's certificate check is against the host that its address names. */
static enum saga_err set_dialer_tls(nng_dialer dialer, const char *address,
                                    const struct saga_rpc_tls *tls, struct saga_err_detail *detail)
{
    nng_url *url = NULL;
    int code = nng_url_parse(&url, address);
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "not an address");
    }
    nng_tls_config *config = NULL;
    enum saga_err err = saga_endpoint_tls(tls, url->u_hostname, &config, detail);
    nng_url_free(url);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    code = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config);
    nng_tls_config_free(config); /* the dialer holds it */
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "tls: %s", nng_strerror(code));
    }
    return SAGA_ERR_OK;
}

static enum saga_err dial(struct saga_rpc_client *client, const char *address,
                          const struct saga_rpc_tls *tls, struct saga_err_detail *detail)
{
    enum saga_endpoint_kind kind;
    enum saga_err err = saga_endpoint_check(address, tls, &kind, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    nng_dialer dialer;
    int code = nng_dialer_create(&dialer, client->socket, address);
    if (code == 0 && kind != SAGA_ENDPOINT_LOCAL) {
        code = nng_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true);
    }
    if (code == 0 && kind != SAGA_ENDPOINT_LOCAL) {
        code = nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
    }
    if (code == 0 && kind == SAGA_ENDPOINT_TLS) {
        err = set_dialer_tls(dialer, address, tls, detail);
        if (err != SAGA_ERR_OK) {
            return saga_err_wrap(detail, err, address);
        }
    }
    if (code == 0) {
        code = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    }
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "%s: %s", address, nng_strerror(code));
    }
    return SAGA_ERR_OK;
}

static enum saga_err open_socket(struct saga_rpc_client *client, struct saga_err_detail *detail)
{
    int code = nng_req0_open(&client->socket);
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "socket: %s", nng_strerror(code));
    }
    client->socket_open = true;
    enum saga_err err = saga_endpoint_prepare(client->socket, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    /* nng sends a request again after a minute and on reconnection unless it is told not to:
     * retries are the engine's. */
    code = nng_socket_set_ms(client->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (code == 0) {
        code = nng_socket_set_ms(client->socket, NNG_OPT_RECONNMINT, RECONNECT_MS_MIN);
    }
    if (code == 0) {
        code = nng_socket_set_ms(client->socket, NNG_OPT_RECONNMAXT, RECONNECT_MS_MAX);
    }
    if (code == 0) {
        code = nng_pipe_notify(client->socket, NNG_PIPE_EV_ADD_PRE, on_pipe, client);
    }
    if (code == 0) {
        code = nng_pipe_notify(client->socket, NNG_PIPE_EV_REM_POST, on_pipe, client);
    }
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "socket: %s", nng_strerror(code));
    }
    return SAGA_ERR_OK;
}

static enum saga_err open_slots(struct saga_rpc_client *client, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < client->slot_count; i++) {
        struct slot *slot = &client->slots[i];
        int code = nng_ctx_open(&slot->context, client->socket);
        slot->context_open = code == 0;
        if (code == 0) {
            code = nng_aio_alloc(&slot->send_aio, on_sent, slot);
        }
        if (code == 0) {
            code = nng_aio_alloc(&slot->receive_aio, on_received, slot);
        }
        if (code != 0) {
            return saga_err_set(detail, saga_endpoint_err(code), "context: %s", nng_strerror(code));
        }
        put_free(client, slot);
    }
    return SAGA_ERR_OK;
}

static struct saga_rpc_client *client_new(size_t contexts)
{
    struct saga_rpc_client *client = calloc(1, sizeof(*client) + contexts * sizeof(struct slot));
    if (client == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&client->mutex, NULL) != 0) {
        free(client);
        return NULL;
    }
    if (saga_endpoint_cond_init(&client->changed) != SAGA_ERR_OK) {
        (void)pthread_mutex_destroy(&client->mutex);
        free(client);
        return NULL;
    }
    atomic_init(&client->peer_count, 0);
    atomic_init(&client->free_count, 0);
    client->slot_count = contexts;
    for (size_t i = 0; i < contexts; i++) {
        client->slots[i].client = client;
    }
    return client;
}

enum saga_err saga_rpc_client_start(const struct saga_rpc_client_config *config,
                                    struct saga_rpc_client **client, struct saga_err_detail *detail)
{
    size_t contexts = config->contexts == 0 ? SAGA_CLIENT_CONTEXTS : config->contexts;
    if (config->address_count == 0 || config->address_count > SAGA_ADDRESSES_MAX ||
        contexts > CONTEXTS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "1 to %d addresses (not %zu) and at most %d contexts",
                            SAGA_ADDRESSES_MAX, config->address_count, CONTEXTS_MAX);
    }
    struct saga_rpc_client *made = client_new(contexts);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "client");
    }
    enum saga_err err = open_socket(made, detail);
    if (err == SAGA_ERR_OK) {
        err = open_slots(made, detail);
    }
    for (size_t i = 0; err == SAGA_ERR_OK && i < config->address_count; i++) {
        err = dial(made, config->addresses[i], &config->tls, detail);
    }
    if (err != SAGA_ERR_OK) {
        saga_rpc_client_free(made);
        return err;
    }
    *client = made;
    return SAGA_ERR_OK;
}
