/* RPC over real sockets: what a request can meet. */
#include "tests/integration/bus/rpc_fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/limits.h"

static int setup(void **state)
{
    struct fixture_dir *dir = calloc(1, sizeof(*dir));
    assert_non_null(dir);
    fixture_dir_make(dir);
    *state = dir;
    return 0;
}

static int teardown(void **state)
{
    fixture_dir_remove(*state);
    free(*state);
    return 0;
}

static void assert_echo(struct saga_rpc_client *client, const void *data, size_t size)
{
    struct saga_buf reply = {0};
    struct saga_err_detail detail = {0};
    struct saga_bytes bytes = {.data = data, .size = size};
    enum saga_err err = saga_rpc_client_call(client, bytes, 5000, &reply, &detail);
    if (err != SAGA_ERR_OK) {
        fail_msg("call: %s: %s", saga_err_name(err), detail.text);
    }
    assert_true(saga_bytes_equal(saga_buf_view(&reply), bytes));
    saga_buf_fini(&reply);
}

static void test_call_when_on_ipc_then_the_answer_comes_back(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_echo, NULL, 0);
    assert_string_equal(saga_rpc_server_address(server, 0), dir->address);
    struct saga_rpc_client *client = fixture_dial(dir->address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    assert_true(saga_rpc_client_connected(client));
    assert_int_equal(saga_rpc_client_room(client), SAGA_CLIENT_CONTEXTS);
    assert_echo(client, "hello", 5);
    assert_echo(client, "", 0);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

static void test_call_when_on_tcp_port_0_then_the_address_has_the_real_port(void **state)
{
    (void)state;
    struct saga_rpc_server *server = fixture_serve("tcp://127.0.0.1:0", fixture_echo, NULL, 0);
    const char *address = saga_rpc_server_address(server, 0);
    int port = 0;
    assert_int_equal(sscanf(address, "tcp://127.0.0.1:%d", &port), 1);
    assert_in_range(port, 1, 65535);
    struct saga_rpc_client *client = fixture_dial(address, 0);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    assert_echo(client, "hello", 5);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_call_when_on_ipc_then_the_answer_comes_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_call_when_on_tcp_port_0_then_the_address_has_the_real_port, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
