/* A server in a process of its own, so that a test can kill it: rpc_peer echo|keep ADDRESS
 * COUNT_FILE. It appends one byte per request to the file; with "keep" it never answers. Runs until
 * it is killed. */
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

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    struct peer peer = {.keep = strcmp(argv[1], "keep") == 0};
    peer.count_file = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    const char *address = argv[2];
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
