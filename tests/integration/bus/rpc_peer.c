/* A peer in a process of its own, so that a test can kill it.
 *
 * rpc_peer echo|keep ADDRESS COUNT_FILE: a server; it appends one byte per request to the file, and
 * with "keep" never answers. rpc_peer flood ADDRESS COUNT_FILE: a client that sends without end;
 * one byte per answer.
 *
 * Runs until it is killed. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/bus/nng/rpc.h"

struct peer {
    int count_file;
    int keep;
};

static void handle(void *context, struct saga_rpc_request *request)
{
    struct peer *peer = context;
    if (write(peer->count_file, ".", 1) != 1) {
        _exit(3);
    }
    if (!peer->keep) {
        saga_rpc_request_answer(request, saga_rpc_request_bytes(request));
    }
}

/* ---- Client ---- */

static struct saga_rpc_client *client;

static void on_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct peer *peer = user;
    static uint8_t payload[2000];
    (void)bytes;
    if (outcome == SAGA_RPC_REPLIED && write(peer->count_file, ".", 1) != 1) {
        _exit(3);
    }
    struct saga_bytes next = {.data = payload, .size = sizeof(payload)};
    if (saga_rpc_client_send(client, next, 10000, on_done, peer) != SAGA_ERR_OK) {
        _exit(4); /* the server under test does not go away */
    }
}

static int flood(struct peer *peer, const char *address)
{
    struct saga_rpc_client_config config = {.addresses = &address, .address_count = 1};
    if (saga_rpc_client_start(&config, &client, NULL) != SAGA_ERR_OK ||
        saga_rpc_client_wait(client, 10000) != SAGA_ERR_OK) {
        return 1;
    }
    size_t room = saga_rpc_client_room(client);
    for (size_t i = 0; i < room; i++) {
        on_done(peer, SAGA_RPC_NO_REPLY, (struct saga_bytes){0});
    }
    for (;;) {
        (void)pause();
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    struct peer peer = {.keep = strcmp(argv[1], "keep") == 0};
    peer.count_file = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    const char *address = argv[2];
    if (peer.count_file >= 0 && strcmp(argv[1], "flood") == 0) {
        return flood(&peer, address);
    }
    struct saga_rpc_server_config config = {
        .addresses = &address, .address_count = 1, .handler = handle, .context = &peer};
    struct saga_rpc_server *server = NULL;
    struct saga_err_detail detail = {0};
    if (peer.count_file < 0 || saga_rpc_server_start(&config, &server, &detail) != SAGA_ERR_OK) {
        (void)fprintf(stderr, "rpc_peer: %s\n", detail.text);
        return 1;
    }
    for (;;) {
        (void)pause();
    }
}
