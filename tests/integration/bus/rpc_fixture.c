#include "tests/integration/bus/rpc_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int fixture_setup(void **state)
{
    struct fixture_dir *dir = calloc(1, sizeof(*dir));
    assert_non_null(dir);
    saga_test_dir_open(&dir->dir);
    int length = snprintf(dir->socket_path, sizeof(dir->socket_path), "%s/s", dir->dir.path);
    assert_in_range(length, 1,
                    sizeof(dir->socket_path) - 1); /* an ipc path has 107 bytes at most */
    (void)snprintf(dir->address, sizeof(dir->address), "ipc://%s", dir->socket_path);
    *state = dir;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture_dir *dir = *state;
    saga_test_dir_close(&dir->dir);
    free(dir);
    return 0;
}

void fixture_assert_echo(struct saga_rpc_client *client, const void *data, size_t size)
{
    struct saga_buf reply = {0};
    struct saga_err_detail detail = {0};
    struct saga_bytes bytes = {.data = data, .size = size};
    enum saga_err err = saga_rpc_client_call(client, bytes, FIXTURE_WAIT_MS, &reply, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("call: %s: %s", saga_err_name(err), detail.text);
    }
    assert_true(saga_bytes_equal(saga_buf_view(&reply), bytes));
    saga_buf_fini(&reply);
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    assert_int_equal(pthread_condattr_init(&attributes), 0);
    assert_int_equal(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), 0);
    assert_int_equal(pthread_cond_init(cond, &attributes), 0);
    (void)pthread_condattr_destroy(&attributes);
}

static struct timespec deadline(void)
{
    struct timespec at = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += FIXTURE_WAIT_MS / 1000;
    return at;
}

struct saga_rpc_server *fixture_serve(const char *address, saga_rpc_handler *handler, void *context,
                                      size_t contexts)
{
    struct saga_rpc_server_config config = {.addresses = &address,
                                            .address_count = 1,
                                            .handler = handler,
                                            .context = context,
                                            .contexts = contexts};
    struct saga_rpc_server *server = NULL;
    struct saga_err_detail detail = {0};
    enum saga_err err = saga_rpc_server_start(&config, &server, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("server: %s: %s", saga_err_name(err), detail.text);
    }
    return server;
}

struct saga_rpc_client *fixture_dial(const char *address, size_t contexts)
{
    struct saga_rpc_client_config config = {
        .addresses = &address, .address_count = 1, .contexts = contexts};
    struct saga_rpc_client *client = NULL;
    struct saga_err_detail detail = {0};
    enum saga_err err = saga_rpc_client_start(&config, &client, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("client: %s: %s", saga_err_name(err), detail.text);
    }
    return client;
}

void fixture_echo(void *context, struct saga_rpc_request *request)
{
    (void)context;
    saga_rpc_request_answer(request, saga_rpc_request_bytes(request));
}

void fixture_tally_init(struct fixture_tally *tally)
{
    memset(tally, 0, sizeof(*tally));
    assert_int_equal(pthread_mutex_init(&tally->mutex, NULL), 0);
    cond_init(&tally->changed);
}

void fixture_tally_fini(struct fixture_tally *tally)
{
    (void)pthread_cond_destroy(&tally->changed);
    (void)pthread_mutex_destroy(&tally->mutex);
}

void fixture_tally_add(struct fixture_tally *tally, enum saga_rpc_outcome outcome)
{
    (void)pthread_mutex_lock(&tally->mutex);
    tally->ended++;
    tally->replied += outcome == SAGA_RPC_REPLIED;
    tally->not_sent += outcome == SAGA_RPC_NOT_SENT;
    tally->no_reply += outcome == SAGA_RPC_NO_REPLY;
    (void)pthread_cond_broadcast(&tally->changed);
    (void)pthread_mutex_unlock(&tally->mutex);
}

void fixture_tally_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    (void)bytes;
    fixture_tally_add(user, outcome);
}

bool fixture_tally_wait(struct fixture_tally *tally, size_t count)
{
    struct timespec until = deadline();
    (void)pthread_mutex_lock(&tally->mutex);
    int code = 0;
    while (tally->ended < count && code == 0) {
        code = pthread_cond_timedwait(&tally->changed, &tally->mutex, &until);
    }
    bool reached = tally->ended >= count;
    (void)pthread_mutex_unlock(&tally->mutex);
    return reached;
}

void fixture_keeper_init(struct fixture_keeper *keeper)
{
    memset(keeper, 0, sizeof(*keeper));
    assert_int_equal(pthread_mutex_init(&keeper->mutex, NULL), 0);
    cond_init(&keeper->changed);
}

void fixture_keeper_fini(struct fixture_keeper *keeper)
{
    (void)pthread_cond_destroy(&keeper->changed);
    (void)pthread_mutex_destroy(&keeper->mutex);
}

void fixture_keep(void *context, struct saga_rpc_request *request)
{
    struct fixture_keeper *keeper = context;
    (void)pthread_mutex_lock(&keeper->mutex);
    bool room = keeper->count < KEEPER_MAX;
    if (room) {
        keeper->requests[keeper->count++] = request;
    }
    (void)pthread_cond_broadcast(&keeper->changed);
    (void)pthread_mutex_unlock(&keeper->mutex);
    if (!room) {
        saga_rpc_request_drop(request);
    }
}

bool fixture_keeper_wait(struct fixture_keeper *keeper, size_t count)
{
    struct timespec until = deadline();
    (void)pthread_mutex_lock(&keeper->mutex);
    int code = 0;
    while (keeper->count < count && code == 0) {
        code = pthread_cond_timedwait(&keeper->changed, &keeper->mutex, &until);
    }
    bool reached = keeper->count >= count;
    (void)pthread_mutex_unlock(&keeper->mutex);
    return reached;
}

size_t fixture_keeper_take(struct fixture_keeper *keeper,
                           struct saga_rpc_request *requests[KEEPER_MAX])
{
    (void)pthread_mutex_lock(&keeper->mutex);
    size_t count = keeper->count;
    memcpy(requests, keeper->requests, count * sizeof(struct saga_rpc_request *));
    keeper->count = 0;
    (void)pthread_mutex_unlock(&keeper->mutex);
    return count;
}

void fixture_peer_start(struct saga_test_child *child, const struct fixture_dir *dir,
                        const char *mode)
{
    char counted[SAGA_TEST_PATH_MAX];
    const char *const argv[] = {SAGA_RPC_PEER, mode, dir->address,
                                saga_test_path(&dir->dir, "count", counted), NULL};
    saga_test_spawn(child, argv, NULL);
}

void fixture_peer_kill(struct saga_test_child *child)
{
    saga_test_signal(child, SIGKILL);
    assert_true(saga_test_wait(child, FIXTURE_WAIT_MS));
}

size_t fixture_peer_count(const struct fixture_dir *dir)
{
    char counted[SAGA_TEST_PATH_MAX];
    struct stat status;
    if (stat(saga_test_path(&dir->dir, "count", counted), &status) != 0) {
        return 0;
    }
    return (size_t)status.st_size;
}

struct awaited_count {
    const struct fixture_dir *dir;
    size_t count;
};

static bool has_counted(void *arg)
{
    const struct awaited_count *awaited = arg;
    return fixture_peer_count(awaited->dir) >= awaited->count;
}

bool fixture_peer_wait(const struct fixture_dir *dir, size_t count)
{
    struct awaited_count awaited = {.dir = dir, .count = count};
    return saga_test_until(has_counted, &awaited, FIXTURE_WAIT_MS);
}
