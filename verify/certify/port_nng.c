/* The port to a real participant: a few connections, so that what is sent at once comes at once.
 *
 * Thread: one; the answers come on NNG's and are waited for. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bus/nng/rpc.h"
#include "common/sys/clock.h"
#include "verify/certify/internal.h"
#include "verify/certify/port_nng.h"

enum {
    CONTEXTS = SAGA_CERTIFY_AT_ONCE_MAX / CERTIFY_CONNECTIONS,
    MORE_MS = 250, /* for the connections behind the first, which a small server may not take */
};

void certify_nng_pause_us(int64_t us)
{
    struct timespec rest = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000L};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

static void port_pause(void *context, int64_t ms)
{
    (void)context;
    certify_nng_pause_us(ms * 1000);
}

static int64_t port_now(void *context)
{
    (void)context;
    return saga_clock_unix_ms();
}

/* ---- Sending ---- */

/* Thread: NNG's. */
static void on_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct certify_nng_flight *flight = user;
    struct saga_certify_nng *nng = flight->nng;
    (void)pthread_mutex_lock(&nng->mutex);
    flight->message->answered = outcome == SAGA_RPC_REPLIED &&
                                saga_buf_append(&flight->message->answer, bytes) == SAGA_ERR_OK;
    nng->broken = nng->broken || !flight->message->answered;
    nng->ended++;
    nng->waiting--;
    (void)pthread_cond_signal(&nng->changed);
    (void)pthread_mutex_unlock(&nng->mutex);
}

/* Picks a connection that stands, beginning with the n-th. */
static struct saga_rpc_client *pick(struct saga_certify_nng *nng, size_t n)
{
    for (size_t i = 0; i < nng->client_count; i++) {
        struct saga_rpc_client *client = nng->clients[(n + i) % nng->client_count];
        if (saga_rpc_client_connected(client) && saga_rpc_client_room(client) > 0) {
            return client;
        }
    }
    return nng->clients[0];
}

bool certify_nng_launch(struct certify_nng_flight *flight, size_t n, int64_t timeout_ms)
{
    struct saga_certify_nng *nng = flight->nng;
    (void)pthread_mutex_lock(&nng->mutex);
    nng->waiting++;
    (void)pthread_mutex_unlock(&nng->mutex);
    enum saga_err err =
        saga_rpc_client_send(pick(nng, n), flight->message->request, timeout_ms, on_done, flight);
    if (err != SAGA_ERR_OK) {
        (void)pthread_mutex_lock(&nng->mutex);
        nng->waiting--;
        (void)pthread_mutex_unlock(&nng->mutex);
    }
    return err == SAGA_ERR_OK;
}

void certify_nng_land(struct saga_certify_nng *nng)
{
    (void)pthread_mutex_lock(&nng->mutex);
    while (nng->waiting > 0) { /* each ends by its time-out at the latest */
        (void)pthread_cond_wait(&nng->changed, &nng->mutex);
    }
    (void)pthread_mutex_unlock(&nng->mutex);
}

void certify_nng_exchange(void *context, struct saga_certify_message *messages, size_t count,
                          int64_t timeout_ms)
{
    struct saga_certify_nng *nng = context;
    struct certify_nng_flight flights[SAGA_CERTIFY_AT_ONCE_MAX];
    for (size_t i = 0; i < count; i++) {
        flights[i] = (struct certify_nng_flight){.nng = nng, .message = &messages[i]};
        messages[i].answered = false;
        /* A participant that dropped the connection may take another. */
        if (saga_rpc_client_wait(pick(nng, i), timeout_ms) == SAGA_ERR_OK) {
            (void)certify_nng_launch(&flights[i], i, timeout_ms);
        }
    }
    certify_nng_land(nng);
}

/* ---- Opening ---- */

static bool port_flood(void *context, uint64_t size)
{
    const struct saga_certify_nng *nng = context;
    return certify_flood(nng->config.address, size);
}

static enum saga_err open_clients(struct saga_certify_nng *nng, struct saga_err_detail *detail)
{
    const char *address = nng->config.address;
    struct saga_rpc_client_config config = {
        .addresses = &address,
        .address_count = 1,
        .tls = {nng->config.tls_ca, nng->config.tls_cert, nng->config.tls_key},
        .contexts = CONTEXTS,
    };
    for (size_t i = 0; i < CERTIFY_CONNECTIONS; i++) {
        enum saga_err err = saga_rpc_client_start(&config, &nng->clients[i], detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        nng->client_count++;
        err = saga_rpc_client_wait(nng->clients[i], i == 0 ? nng->config.connect_ms_max : MORE_MS);
        if (err != SAGA_ERR_OK && i == 0) {
            return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "nobody answers there");
        }
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_certify_nng_open(const struct saga_certify_nng_config *config,
                                    struct saga_certify_nng **nng, struct saga_certify_port *port,
                                    struct saga_err_detail *detail)
{
    struct saga_certify_nng *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->config = *config;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_cond_init(&made->changed, NULL);
    enum saga_err err = open_clients(made, detail);
    if (err != SAGA_ERR_OK) {
        saga_certify_nng_close(made);
        return err;
    }
    *nng = made;
    *port = (struct saga_certify_port){
        .context = made,
        .exchange = certify_nng_exchange,
        .restart = config->restart_command == NULL ? NULL : certify_nng_restart,
        .flood = port_flood,
        .now_unix_ms = port_now,
        .pause = port_pause,
    };
    return SAGA_ERR_OK;
}

void saga_certify_nng_close(struct saga_certify_nng *nng)
{
    if (nng == NULL) {
        return;
    }
    for (size_t i = 0; i < nng->client_count; i++) {
        saga_rpc_client_free(nng->clients[i]);
    }
    (void)pthread_cond_destroy(&nng->changed);
    (void)pthread_mutex_destroy(&nng->mutex);
    free(nng);
}
