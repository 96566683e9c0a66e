/* RPC over real sockets: many requests, many clients, servers that come and go. */
#include "tests/integration/bus/rpc_fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS = 16,
    REQUESTS_PER_CLIENT = 1000,
    CHAINS = 8, /* requests that each client keeps under way */
    RESTARTS = 60,
    CALLERS = 8,
    KILLS = 20,
};

/* A client that sends its next request from within the end of the last. */
struct chain {
    struct load *load;
    size_t index;
    uint64_t number;
};

struct load {
    struct saga_rpc_client *client;
    struct fixture_tally tally;
    _Atomic uint64_t next;
    _Atomic size_t refused;
    uint64_t last; /* no request after this one */
    struct chain chains[CHAINS];
};

static void on_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes);

static void send_next(struct chain *chain)
{
    struct load *load = chain->load;
    uint64_t number = atomic_fetch_add(&load->next, 1);
    if (number >= load->last) {
        return;
    }
    chain->number = number;
    struct saga_bytes bytes = {.data = (const uint8_t *)&chain->number,
                               .size = sizeof(chain->number)};
    /* Each chain has a context of its own: only a client that is being freed refuses. */
    enum saga_err err = saga_rpc_client_send(load->client, bytes, FIXTURE_WAIT_MS, on_done, chain);
    if (err == SAGA_ERR_CLOSED) {
        (void)atomic_fetch_add(&load->refused, 1);
    } else if (err != SAGA_ERR_OK) {
        abort();
    }
}

static void on_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct chain *chain = user;
    struct load *load = chain->load;
    if (outcome == SAGA_RPC_REPLIED &&
        (bytes.size != sizeof(chain->number) ||
         memcmp(bytes.data, &chain->number, sizeof(chain->number)) != 0)) {
        abort();
    }
    fixture_tally_add(&load->tally, outcome);
    send_next(chain);
}

static void load_start(struct load *load, const char *address, uint64_t count)
{
    memset(load, 0, sizeof(*load));
    fixture_tally_init(&load->tally);
    load->client = fixture_dial(address, CHAINS);
    load->last = count;
    assert_int_equal(saga_rpc_client_wait(load->client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    for (size_t i = 0; i < CHAINS; i++) {
        load->chains[i] = (struct chain){.load = load, .index = i};
        send_next(&load->chains[i]);
    }
}

static void load_end(struct load *load)
{
    saga_rpc_client_free(load->client);
    fixture_tally_fini(&load->tally);
}

static void test_clients_when_there_are_many_then_each_gets_its_own_answers(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_echo, NULL, 0);
    struct load *loads = calloc(CLIENTS, sizeof(*loads));
    assert_non_null(loads);
    for (size_t i = 0; i < CLIENTS; i++) {
        load_start(&loads[i], dir->address, REQUESTS_PER_CLIENT);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_true(fixture_tally_wait(&loads[i].tally, REQUESTS_PER_CLIENT));
        assert_int_equal(loads[i].tally.replied, REQUESTS_PER_CLIENT);
        load_end(&loads[i]);
    }
    saga_rpc_server_free(server);
    free(loads);
}

/* A server whose answers come from a thread of their own. */
struct worker {
    struct fixture_keeper keeper;
    pthread_t thread;
    atomic_bool stopping;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct fixture_keeper *keeper = &worker->keeper;
    (void)pthread_mutex_lock(&keeper->mutex);
    while (!atomic_load(&worker->stopping) || keeper->count > 0) {
        if (keeper->count == 0) {
            (void)pthread_cond_wait(&keeper->changed, &keeper->mutex);
            continue;
        }
        struct saga_rpc_request *request = keeper->requests[--keeper->count];
        (void)pthread_mutex_unlock(&keeper->mutex);
        saga_rpc_request_answer(request, saga_rpc_request_bytes(request));
        (void)pthread_mutex_lock(&keeper->mutex);
    }
    (void)pthread_mutex_unlock(&keeper->mutex);
    return NULL;
}

static void worker_start(struct worker *worker)
{
    fixture_keeper_init(&worker->keeper);
    atomic_store(&worker->stopping, false);
    assert_int_equal(pthread_create(&worker->thread, NULL, work, worker), 0);
}

static void worker_stop(struct worker *worker)
{
    (void)pthread_mutex_lock(&worker->keeper.mutex);
    atomic_store(&worker->stopping, true);
    (void)pthread_cond_broadcast(&worker->keeper.changed);
    (void)pthread_mutex_unlock(&worker->keeper.mutex);
    assert_int_equal(pthread_join(worker->thread, NULL), 0);
    fixture_keeper_fini(&worker->keeper);
}

/* Threads that share a client and call without end. */
struct callers {
    struct saga_rpc_client *client;
    pthread_t threads[CALLERS];
    atomic_bool stopping;
    _Atomic size_t replied;
    _Atomic size_t lost;
    _Atomic uint64_t next;
    size_t mark; /* of has_progress */
};

static void *call_on(void *argument)
{
    struct callers *callers = argument;
    struct saga_buf reply = {0};
    while (!atomic_load(&callers->stopping)) {
        uint64_t number = atomic_fetch_add(&callers->next, 1);
        struct saga_bytes bytes = {.data = (const uint8_t *)&number, .size = sizeof(number)};
        saga_buf_clear(&reply);
        enum saga_err err =
            saga_rpc_client_call(callers->client, bytes, FIXTURE_WAIT_MS, &reply, NULL);
        if (err == SAGA_ERR_OK) {
            if (!saga_bytes_equal(saga_buf_view(&reply), bytes)) {
                abort();
            }
            (void)atomic_fetch_add(&callers->replied, 1);
        } else {
            (void)atomic_fetch_add(&callers->lost, 1);
            enum saga_err waited = saga_rpc_client_wait(callers->client, 100);
            (void)waited;
        }
    }
    saga_buf_fini(&reply);
    return NULL;
}

static bool has_progress(void *arg)
{
    struct callers *callers = arg;
    return atomic_load(&callers->replied) >= callers->mark + 50;
}

static void restart_under_load(const char *address)
{
    struct worker worker;
    struct callers *callers = calloc(1, sizeof(*callers));
    assert_non_null(callers);
    worker_start(&worker);
    struct saga_rpc_server *server = fixture_serve(address, fixture_keep, &worker.keeper, 4);
    char dialled[160];
    (void)snprintf(dialled, sizeof(dialled), "%s", saga_rpc_server_address(server, 0));
    callers->client = fixture_dial(dialled, CALLERS / 2);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&callers->threads[i], NULL, call_on, callers), 0);
    }
    for (int i = 0; i < RESTARTS; i++) {
        callers->mark = atomic_load(&callers->replied);
        assert_true(saga_test_until(has_progress, callers, FIXTURE_WAIT_MS));
        saga_rpc_server_close_door(server);
        worker_stop(&worker);
        saga_rpc_server_free(server);
        worker_start(&worker);
        server = fixture_serve(dialled, fixture_keep, &worker.keeper, 4);
    }
    callers->mark = atomic_load(&callers->replied);
    assert_true(saga_test_until(has_progress, callers, FIXTURE_WAIT_MS));
    atomic_store(&callers->stopping, true);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(callers->threads[i], NULL), 0);
    }
    saga_rpc_client_free(callers->client);
    saga_rpc_server_close_door(server);
    worker_stop(&worker);
    saga_rpc_server_free(server);
    free(callers);
}

static void test_server_when_restarted_under_load_on_ipc_then_clients_go_on(void **state)
{
    struct fixture_dir *dir = *state;
    restart_under_load(dir->address);
}

static void test_server_when_restarted_under_load_on_tcp_then_clients_go_on(void **state)
{
    (void)state;
    restart_under_load("tcp://127.0.0.1:0");
}

static void
test_client_when_its_peer_is_killed_under_load_then_it_goes_on_with_the_next(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_test_child peer = {0};
    struct callers *callers = calloc(1, sizeof(*callers));
    assert_non_null(callers);
    callers->client = fixture_dial(dir->address, CALLERS / 2);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&callers->threads[i], NULL, call_on, callers), 0);
    }
    for (int i = 0; i < KILLS; i++) {
        fixture_peer_start(&peer, dir, "echo");
        callers->mark = atomic_load(&callers->replied);
        assert_true(saga_test_until(has_progress, callers, FIXTURE_WAIT_MS));
        fixture_peer_kill(&peer);
    }
    atomic_store(&callers->stopping, true);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(callers->threads[i], NULL), 0);
    }
    saga_rpc_client_free(callers->client);
    free(callers);
}

static void test_server_when_its_clients_are_killed_under_load_then_it_serves_the_next(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_test_child peers[2] = {{0}, {0}};
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_echo, NULL, 0);
    for (int i = 0; i < KILLS; i++) {
        fixture_peer_start(&peers[0], dir, "flood");
        fixture_peer_start(&peers[1], dir, "flood");
        assert_true(fixture_peer_wait(dir, fixture_peer_count(dir) + 300));
        fixture_peer_kill(&peers[0]);
        fixture_peer_kill(&peers[1]);
    }
    struct saga_rpc_client *client = fixture_dial(dir->address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    fixture_assert_echo(client, "served", 6);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

/* An answer larger than a socket's buffer, and the server goes away right after giving it. */
static void test_free_when_an_answer_was_just_given_then_it_arrives(void **state)
{
    struct fixture_dir *dir = *state;
    size_t size = 1024 * 1024;
    uint8_t *large = calloc(1, size);
    assert_non_null(large);
    size_t arrived = 0;
    for (int i = 0; i < KILLS; i++) {
        struct fixture_keeper keeper;
        struct fixture_tally tally;
        fixture_keeper_init(&keeper);
        fixture_tally_init(&tally);
        struct saga_rpc_server *server = fixture_serve(dir->address, fixture_keep, &keeper, 0);
        struct saga_rpc_client *client = fixture_dial(dir->address, 0);
        assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
        assert_int_equal(saga_rpc_client_send(client, saga_bytes_text("x"), FIXTURE_WAIT_MS,
                                              fixture_tally_done, &tally),
                         SAGA_ERR_OK);
        assert_true(fixture_keeper_wait(&keeper, 1));
        saga_rpc_server_close_door(server);
        saga_rpc_request_answer(keeper.requests[0],
                                (struct saga_bytes){.data = large, .size = size});
        saga_rpc_server_free(server);
        assert_true(fixture_tally_wait(&tally, 1));
        arrived += tally.replied;
        saga_rpc_client_free(client);
        fixture_tally_fini(&tally);
        fixture_keeper_fini(&keeper);
    }
    assert_in_range(arrived, KILLS / 2,
                    KILLS); /* a matter of time, which a busy machine may lack */
    free(large);
}

static void test_client_when_freed_under_load_then_every_request_has_ended(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_echo, NULL, 0);
    for (int i = 0; i < RESTARTS; i++) {
        struct load *load = calloc(1, sizeof(*load));
        assert_non_null(load);
        load_start(load, dir->address, 1000000);
        assert_true(fixture_tally_wait(&load->tally, 20));
        saga_rpc_client_free(load->client);
        /* Each number drawn was sent and ended, or was refused because the client was being freed.
         */
        assert_int_equal(load->tally.ended + atomic_load(&load->refused), atomic_load(&load->next));
        fixture_tally_fini(&load->tally);
        free(load);
    }
    saga_rpc_server_free(server);
}

int main(void)
{
#define RPC_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        RPC_TEST(test_clients_when_there_are_many_then_each_gets_its_own_answers),
        RPC_TEST(test_server_when_restarted_under_load_on_ipc_then_clients_go_on),
        RPC_TEST(test_server_when_restarted_under_load_on_tcp_then_clients_go_on),
        RPC_TEST(test_client_when_its_peer_is_killed_under_load_then_it_goes_on_with_the_next),
        RPC_TEST(test_server_when_its_clients_are_killed_under_load_then_it_serves_the_next),
        RPC_TEST(test_free_when_an_answer_was_just_given_then_it_arrives),
        RPC_TEST(test_client_when_freed_under_load_then_every_request_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
