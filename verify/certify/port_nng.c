/* The port to a real participant: a few connections, so that what is sent at once comes at once.
 *
 * Thread: one; the answers come on NNG's and are waited for. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/bus/nng/rpc.h"
#include "common/sys/clock.h"
#include "verify/certify/internal.h"

enum {
    CONNECTIONS = 4,
    CONTEXTS = SAGA_CERTIFY_AT_ONCE_MAX / CONNECTIONS,
    MORE_MS = 250,  /* for the connections behind the first, which a small server may not take */
    POLL_MS = 20,   /* between looks at the command */
    CHECK_MS = 500, /* for one sign of life */
};

struct saga_certify_nng {
    struct saga_rpc_client *clients[CONNECTIONS];
    size_t client_count;
    struct saga_certify_nng_config config;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t waiting;
};

/* One message on its way. */
struct flight {
    struct saga_certify_nng *nng;
    struct saga_certify_message *message;
};

static int64_t mono_ms(void)
{
    return saga_clock_mono_us() / 1000;
}

static void pause_ms(int64_t ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

static void port_pause(void *context, int64_t ms)
{
    (void)context;
    pause_ms(ms);
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
    struct flight *flight = user;
    struct saga_certify_nng *nng = flight->nng;
    (void)pthread_mutex_lock(&nng->mutex);
    flight->message->answered = outcome == SAGA_RPC_REPLIED &&
                                saga_buf_append(&flight->message->answer, bytes) == SAGA_ERR_OK;
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

static void launch(struct saga_certify_nng *nng, struct flight *flight, size_t n,
                   int64_t timeout_ms)
{
    struct saga_rpc_client *client = pick(nng, n);
    /* A participant that dropped the connection may take another. */
    if (saga_rpc_client_wait(client, timeout_ms) != SAGA_ERR_OK) {
        return;
    }
    (void)pthread_mutex_lock(&nng->mutex);
    nng->waiting++;
    (void)pthread_mutex_unlock(&nng->mutex);
    enum saga_err err =
        saga_rpc_client_send(client, flight->message->request, timeout_ms, on_done, flight);
    if (err != SAGA_ERR_OK) {
        (void)pthread_mutex_lock(&nng->mutex);
        nng->waiting--;
        (void)pthread_mutex_unlock(&nng->mutex);
    }
}

static void exchange(void *context, struct saga_certify_message *messages, size_t count,
                     int64_t timeout_ms)
{
    struct saga_certify_nng *nng = context;
    struct flight flights[SAGA_CERTIFY_AT_ONCE_MAX];
    for (size_t i = 0; i < count; i++) {
        flights[i] = (struct flight){.nng = nng, .message = &messages[i]};
        messages[i].answered = false;
        launch(nng, &flights[i], i, timeout_ms);
    }
    (void)pthread_mutex_lock(&nng->mutex);
    while (nng->waiting > 0) { /* each ends by its time-out at the latest */
        (void)pthread_cond_wait(&nng->changed, &nng->mutex);
    }
    (void)pthread_mutex_unlock(&nng->mutex);
}

/* ---- Restarting ---- */

static enum saga_err start_command(const char *command, pid_t *pid, struct saga_err_detail *detail)
{
    *pid = fork();
    if (*pid < 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "fork: %s", strerror(errno));
    }
    if (*pid == 0) {
        (void)setpgid(0, 0);
        /* What it prints is for people: stdout is the report's. */
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return SAGA_ERR_OK;
}

static enum saga_err run_command(const char *command, int64_t end_ms,
                                 struct saga_err_detail *detail)
{
    pid_t pid = 0;
    int status = 0;
    enum saga_err err = start_command(command, &pid, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    pid_t ended = 0;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && mono_ms() < end_ms) {
        pause_ms(POLL_MS);
    }
    if (ended == 0) {
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
        return saga_err_set(detail, SAGA_ERR_TIMEOUT,
                            "the command does not end (start the participant in the background)");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "the command failed with status %d",
                            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    return SAGA_ERR_OK;
}

static bool answers(struct saga_certify_nng *nng)
{
    struct saga_command command = {.step = "",
                                   .op = SAGA_OP_NONE,
                                   .method = "saga.v1.HealthService/Check",
                                   .attempt = 1,
                                   .traceparent = "",
                                   .cause_step = "",
                                   .cause_status = saga_status_ok()};
    struct saga_buf request = {0};
    struct saga_certify_message message = {0};
    if (saga_command_batch_add(&command, &request) == SAGA_ERR_OK) {
        message.request = saga_buf_view(&request);
        exchange(nng, &message, 1, CHECK_MS);
    }
    saga_buf_fini(&message.answer);
    saga_buf_fini(&request);
    return message.answered;
}

static bool port_flood(void *context, uint64_t size)
{
    const struct saga_certify_nng *nng = context;
    return certify_flood(nng->config.address, size);
}

static enum saga_err port_restart(void *context, struct saga_err_detail *detail)
{
    struct saga_certify_nng *nng = context;
    int64_t end_ms = mono_ms() + nng->config.restart_ms_max;
    enum saga_err err = run_command(nng->config.restart_command, end_ms, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    while (!answers(nng)) {
        if (mono_ms() >= end_ms) {
            return saga_err_set(detail, SAGA_ERR_TIMEOUT,
                                "the participant does not answer again within %lld ms",
                                (long long)nng->config.restart_ms_max);
        }
        pause_ms(POLL_MS);
    }
    return SAGA_ERR_OK;
}

/* ---- Opening ---- */

static enum saga_err open_clients(struct saga_certify_nng *nng, struct saga_err_detail *detail)
{
    const char *address = nng->config.address;
    struct saga_rpc_client_config config = {
        .addresses = &address,
        .address_count = 1,
        .tls = {nng->config.tls_ca, nng->config.tls_cert, nng->config.tls_key},
        .contexts = CONTEXTS,
    };
    for (size_t i = 0; i < CONNECTIONS; i++) {
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
        .exchange = exchange,
        .restart = config->restart_command == NULL ? NULL : port_restart,
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
