/* RPC over real sockets: peers that die, lie, flood, or do not read. */
#include "tests/integration/bus/rpc_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/limits.h"

static struct saga_bytes bytes_of(const char *text)
{
    return saga_bytes_text(text);
}

/* ---- Peers that die ---- */

static bool is_disconnected(void *arg)
{
    return !saga_rpc_client_connected(arg);
}

static void
test_peer_when_killed_mid_request_then_no_reply_soon_and_nothing_is_sent_again(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_test_child peer = {0};
    struct fixture_tally tally;
    fixture_tally_init(&tally);
    fixture_peer_start(&peer, dir, "keep");
    struct saga_rpc_client *client = fixture_dial(dir->address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(saga_rpc_client_send(client, bytes_of("x"), 10 * FIXTURE_WAIT_MS,
                                              fixture_tally_done, &tally),
                         SAGA_ERR_OK);
    }
    assert_true(fixture_peer_wait(dir, 3));
    int64_t start_ms = saga_test_now_ms();
    fixture_peer_kill(&peer);
    assert_true(fixture_tally_wait(&tally, 3)); /* not after the requests' own 200 s */
    assert_in_range(saga_test_now_ms() - start_ms, 0, 5000);
    assert_int_equal(tally.no_reply, 3);
    assert_true(saga_test_until(is_disconnected, client, FIXTURE_WAIT_MS));
    assert_int_equal(saga_rpc_client_send(client, bytes_of("x"), 100, fixture_tally_done, &tally),
                     SAGA_ERR_UNAVAILABLE);
    /* The dead process left its socket file; the next one takes it over. */
    assert_int_equal(access(dir->socket_path, F_OK), 0);
    fixture_peer_start(&peer, dir, "echo");
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    fixture_assert_echo(client, "again", 5);
    assert_int_equal(fixture_peer_count(dir), 4);
    fixture_peer_kill(&peer);
    saga_rpc_client_free(client);
    fixture_tally_fini(&tally);
}

static void test_client_when_one_of_two_peers_dies_then_the_other_serves(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_test_child peer = {0};
    fixture_peer_start(&peer, dir, "echo");
    struct saga_rpc_server *server = fixture_serve("tcp://127.0.0.1:0", fixture_echo, NULL, 0);
    const char *addresses[] = {dir->address, saga_rpc_server_address(server, 0)};
    struct saga_rpc_client_config config = {.addresses = addresses, .address_count = 2};
    struct saga_rpc_client *client = NULL;
    assert_int_equal(saga_rpc_client_start(&config, &client, NULL), SAGA_ERR_OK);
    for (int i = 0; i < 1000000 && fixture_peer_count(dir) == 0; i++) {
        assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
        fixture_assert_echo(client, "either", 6);
    }
    assert_true(fixture_peer_count(dir) > 0); /* both take part */
    fixture_peer_kill(&peer);
    size_t served = 0;
    for (int i = 0; i < 20; i++) {
        struct saga_buf reply = {0};
        struct saga_err_detail detail = {0};
        served += saga_rpc_client_call(client, bytes_of("x"), FIXTURE_WAIT_MS, &reply, &detail) ==
                  SAGA_ERR_OK;
        saga_buf_fini(&reply);
    }
    assert_in_range(served, 19, 20); /* the one that met the breaking connection may be lost */
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

/* ---- Peers that do not speak the protocol ---- */

static int connect_ipc(const struct fixture_dir *dir)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", dir->socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static int connect_tcp(const char *address)
{
    int port = 0;
    assert_int_equal(sscanf(address, "tcp://127.0.0.1:%d", &port), 1);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    struct timeval wait = {.tv_sec = FIXTURE_WAIT_MS / 1000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    return fd;
}

/* SP's greeting of a requester. */
static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

static void send_all(int fd, const void *data, size_t size)
{
    assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Reads until the other side closes; fails when it does not. */
static void assert_closed(int fd)
{
    char dump[4096];
    ssize_t count;
    do {
        count = recv(fd, dump, sizeof(dump), 0);
    } while (count > 0);
    assert_true(count == 0 || errno == ECONNRESET);
}

static void test_server_when_peers_vanish_during_the_greeting_then_it_still_serves(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_echo, NULL, 0);
    for (int i = 0; i < 200; i++) {
        int fd = connect_ipc(dir);
        if (i % 2 == 1) {
            send_all(fd, greeting, (size_t)(i % 9));
        }
        assert_int_equal(close(fd), 0);
    }
    struct saga_rpc_client *client = fixture_dial(dir->address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    fixture_assert_echo(client, "served", 6);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

static void test_server_when_it_gets_garbage_then_it_hangs_up_and_still_serves(void **state)
{
    (void)state;
    struct saga_rpc_server *server = fixture_serve("tcp://127.0.0.1:0", fixture_echo, NULL, 0);
    const char *address = saga_rpc_server_address(server, 0);
    /* Another protocol. */
    int fd = connect_tcp(address);
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    send_all(fd, http, sizeof(http) - 1);
    assert_closed(fd);
    (void)close(fd);
    /* A greeting, then a message too short for a request's id. */
    fd = connect_tcp(address);
    static const uint8_t tiny[10] = {0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b'};
    send_all(fd, greeting, sizeof(greeting));
    send_all(fd, tiny, sizeof(tiny));
    assert_closed(fd);
    (void)close(fd);
    /* A message that claims to be larger than the limit by one. */
    fd = connect_tcp(address);
    uint64_t claimed = (uint64_t)SAGA_MESSAGE_SIZE_HARD + 4 + 1;
    uint8_t header[8];
    for (int i = 0; i < 8; i++) {
        header[i] = (uint8_t)(claimed >> (8 * (7 - i)));
    }
    send_all(fd, greeting, sizeof(greeting));
    send_all(fd, header, sizeof(header));
    assert_closed(fd);
    (void)close(fd);
    struct saga_rpc_client *client = fixture_dial(address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    fixture_assert_echo(client, "served", 6);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

static void test_server_when_a_peer_does_not_read_then_others_are_served(void **state)
{
    (void)state;
    /* Two contexts, both caught by answers that nobody reads. */
    struct saga_rpc_server *server = fixture_serve("tcp://127.0.0.1:0", fixture_echo, NULL, 2);
    const char *address = saga_rpc_server_address(server, 0);
    int fd = connect_tcp(address);
    struct timeval wait = {.tv_usec = 200000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)), 0);
    size_t size = 256 * 1024;
    uint8_t *message = calloc(1, 8 + size);
    assert_non_null(message);
    message[5] = (uint8_t)(size >> 16);
    message[8] = 0x80; /* a request's id */
    send_all(fd, greeting, sizeof(greeting));
    ssize_t sent;
    do { /* until nothing more is taken: the server waits for its answers to be read */
        sent = send(fd, message, 8 + size, MSG_NOSIGNAL);
    } while (sent == (ssize_t)(8 + size));
    struct saga_rpc_client *client = fixture_dial(address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    fixture_assert_echo(client, "served", 6);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
    free(message);
    (void)close(fd);
}

/* A server that greets like a replier and then answers garbage. */
static void *run_liar(void *argument)
{
    int listener = *(int *)argument;
    static const uint8_t liar_greeting[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    static const uint8_t tiny[10] = {0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b'};
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0) {
        char dump[4096];
        (void)send(fd, liar_greeting, sizeof(liar_greeting), MSG_NOSIGNAL);
        if (recv(fd, dump, 8, MSG_WAITALL) == 8 && recv(fd, dump, sizeof(dump), 0) > 0) {
            (void)send(fd, tiny, sizeof(tiny), MSG_NOSIGNAL);
            while (recv(fd, dump, sizeof(dump), 0) > 0) {
            }
        }
        (void)close(fd);
    }
    return NULL;
}

static void test_client_when_the_answer_is_garbage_then_no_reply(void **state)
{
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name = {.sin_family = AF_INET};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    assert_int_equal(bind(listener, (struct sockaddr *)&name, size), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&name, &size), 0);
    char address[64];
    (void)snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", (int)ntohs(name.sin_port));
    pthread_t liar;
    assert_int_equal(pthread_create(&liar, NULL, run_liar, &listener), 0);
    struct saga_rpc_client *client = fixture_dial(address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    struct saga_buf reply = {0};
    struct saga_err_detail detail = {0};
    int64_t start_ms = saga_test_now_ms();
    assert_int_equal(saga_rpc_client_call(client, bytes_of("x"), 60000, &reply, &detail),
                     SAGA_ERR_TIMEOUT);
    assert_in_range(saga_test_now_ms() - start_ms, 0, 10000);
    assert_int_equal(reply.size, 0);
    assert_int_equal(pthread_join(liar, NULL), 0);
    (void)close(listener);
    saga_rpc_client_free(client);
}

/* ---- TLS ---- */

static void run_openssl(const struct fixture_dir *dir, const char *line)
{
    char command[1024];
    char log[SAGA_TEST_PATH_MAX];
    struct saga_test_child child = {0};
    (void)snprintf(command, sizeof(command), "cd '%s' && %s", dir->dir.path, line);
    const char *const argv[] = {"sh", "-c", command, NULL};
    saga_test_spawn(&child, argv, saga_test_path(&dir->dir, "openssl.log", log));
    assert_true(saga_test_wait(&child, FIXTURE_WAIT_MS));
    assert_int_equal(child.status, 0);
}

static void make_certificates(const struct fixture_dir *dir, const char *ca, const char *peer)
{
    char line[900];
    (void)snprintf(line, sizeof(line),
                   "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
                   "-keyout %s.key -out %s.pem -days 2 -subj /CN=%s",
                   ca, ca, ca);
    run_openssl(dir, line);
    (void)snprintf(line, sizeof(line),
                   "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key "
                   "-out %s.csr -subj /CN=localhost && openssl x509 -req -in %s.csr -CA %s.pem "
                   "-CAkey %s.key -CAcreateserial -days 2 -out %s.pem",
                   peer, peer, peer, ca, ca, peer);
    run_openssl(dir, line);
}

struct tls_files {
    char ca[SAGA_TEST_PATH_MAX + 32];
    char cert[SAGA_TEST_PATH_MAX + 32];
    char key[SAGA_TEST_PATH_MAX + 32];
};

static struct saga_rpc_tls tls_of(const struct fixture_dir *dir, const char *ca, const char *peer,
                                  struct tls_files *files)
{
    (void)snprintf(files->ca, sizeof(files->ca), "%s/%s.pem", dir->dir.path, ca);
    (void)snprintf(files->cert, sizeof(files->cert), "%s/%s.pem", dir->dir.path, peer);
    (void)snprintf(files->key, sizeof(files->key), "%s/%s.key", dir->dir.path, peer);
    return (struct saga_rpc_tls){
        .ca_file = files->ca, .cert_file = files->cert, .key_file = files->key};
}

static struct saga_rpc_client *dial_tls(const char *address, struct saga_rpc_tls tls)
{
    struct saga_rpc_client_config config = {.addresses = &address, .address_count = 1, .tls = tls};
    struct saga_rpc_client *client = NULL;
    struct saga_err_detail detail = {0};
    if (saga_rpc_client_start(&config, &client, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    return client;
}

static void test_tls_when_the_peer_has_no_certificate_of_the_ca_then_it_is_refused(void **state)
{
    struct fixture_dir *dir = *state;
    make_certificates(dir, "ca", "peer");
    make_certificates(dir, "rogue", "stranger");
    struct tls_files good;
    struct tls_files bad;
    const char *listen = "tls+tcp://localhost:0";
    struct saga_rpc_server_config config = {.addresses = &listen,
                                            .address_count = 1,
                                            .tls = tls_of(dir, "ca", "peer", &good),
                                            .handler = fixture_echo};
    struct saga_rpc_server *server = NULL;
    struct saga_err_detail detail = {0};
    if (saga_rpc_server_start(&config, &server, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    const char *address = saga_rpc_server_address(server, 0);
    /* A stranger who even trusts the right CA; one without TLS; one who says nothing and goes. */
    struct saga_rpc_tls strange = tls_of(dir, "rogue", "stranger", &bad);
    strange.ca_file = good.ca;
    struct saga_rpc_client *stranger = dial_tls(address, strange);
    char plain[64];
    (void)snprintf(plain, sizeof(plain), "tcp://127.0.0.1:%s", strrchr(address, ':') + 1);
    for (int i = 0; i < 20; i++) {
        int fd = connect_tcp(plain);
        if (i % 2 == 1) {
            send_all(fd, greeting, sizeof(greeting));
        }
        (void)close(fd);
    }
    struct saga_rpc_client *client = dial_tls(address, config.tls);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    fixture_assert_echo(client, "in confidence", 13);
    struct saga_buf reply = {0};
    assert_int_not_equal(saga_rpc_client_call(stranger, bytes_of("x"), 300, &reply, &detail),
                         SAGA_ERR_OK);
    assert_int_equal(reply.size, 0);
    saga_rpc_client_free(client);
    saga_rpc_client_free(stranger);
    saga_rpc_server_free(server);
    /* A file that is no key. */
    config.tls.key_file = good.cert;
    assert_int_equal(saga_rpc_server_start(&config, &server, &detail), SAGA_ERR_INVALID);
    config.tls.key_file = "/nowhere";
    assert_int_equal(saga_rpc_server_start(&config, &server, &detail), SAGA_ERR_INVALID);
    assert_non_null(strstr(detail.text, "/nowhere"));
}

int main(void)
{
#define RPC_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        RPC_TEST(test_peer_when_killed_mid_request_then_no_reply_soon_and_nothing_is_sent_again),
        RPC_TEST(test_client_when_one_of_two_peers_dies_then_the_other_serves),
        RPC_TEST(test_server_when_peers_vanish_during_the_greeting_then_it_still_serves),
        RPC_TEST(test_server_when_it_gets_garbage_then_it_hangs_up_and_still_serves),
        RPC_TEST(test_server_when_a_peer_does_not_read_then_others_are_served),
        RPC_TEST(test_client_when_the_answer_is_garbage_then_no_reply),
        RPC_TEST(test_tls_when_the_peer_has_no_certificate_of_the_ca_then_it_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
