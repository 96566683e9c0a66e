/* What the tests of the RPC share: a folder for sockets, a server that echoes, a client's waiting
 * place. */
#ifndef SAGA_TESTS_RPC_FIXTURE_H
#define SAGA_TESTS_RPC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "common/bus/nng/rpc.h"
#include "tests/support/support.h"

enum { FIXTURE_WAIT_MS = 20000 };

/* A temporary folder and an ipc address in it. */
struct fixture_dir {
    struct saga_test_dir dir;
    char socket_path[108];
    char address[128];
};

/* cmocka's setup and teardown: *state is a struct fixture_dir. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Calls with `data` and demands it back. */
void fixture_assert_echo(struct saga_rpc_client *client, const void *data, size_t size);

/* Starts a server or a client on one address; fails the test when it does not start. contexts 0:
 * the default. */
struct saga_rpc_server *fixture_serve(const char *address, saga_rpc_handler *handler, void *context,
                                      size_t contexts);
struct saga_rpc_client *fixture_dial(const char *address, size_t contexts);

/* A handler that answers with what it got. */
void fixture_echo(void *context, struct saga_rpc_request *request);

/* Counts the ends of requests; wait until a number of them has ended. */
struct fixture_tally {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t ended;
    size_t replied;
    size_t not_sent;
    size_t no_reply;
};

void fixture_tally_init(struct fixture_tally *tally);
void fixture_tally_fini(struct fixture_tally *tally);
void fixture_tally_add(struct fixture_tally *tally, enum saga_rpc_outcome outcome);

/* A `done` whose user is a tally. */
void fixture_tally_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes);

/* Waits until `count` requests have ended; gives false after FIXTURE_WAIT_MS. */
bool fixture_tally_wait(struct fixture_tally *tally, size_t count);

/* A handler that keeps requests; the context is a keeper. */
enum { KEEPER_MAX = 128 };
struct fixture_keeper {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct saga_rpc_request *requests[KEEPER_MAX];
    size_t count;
};

void fixture_keeper_init(struct fixture_keeper *keeper);
void fixture_keeper_fini(struct fixture_keeper *keeper);
void fixture_keep(void *context, struct saga_rpc_request *request);

/* Waits until `count` requests are kept; gives false after FIXTURE_WAIT_MS. */
bool fixture_keeper_wait(struct fixture_keeper *keeper, size_t count);

/* Takes the requests out: gives how many were kept. */
size_t fixture_keeper_take(struct fixture_keeper *keeper,
                           struct saga_rpc_request *requests[KEEPER_MAX]);

/* A peer in another process (rpc_peer); the address is the fixture's. */
void fixture_peer_start(struct saga_test_child *child, const struct fixture_dir *dir,
                        const char *mode);
void fixture_peer_kill(struct saga_test_child *child);

/* Gives how many requests, or answers, peers have counted in this folder; and waits until there are
 * so many. */
size_t fixture_peer_count(const struct fixture_dir *dir);
bool fixture_peer_wait(const struct fixture_dir *dir, size_t count);

#endif
