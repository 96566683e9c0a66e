/* RPC over real sockets: what client and server promise each other while both live. */
#include "tests/integration/bus/rpc_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"

static struct saga_bytes bytes_of(const char *text)
{
    return saga_bytes_text(text);
}

static struct saga_rpc_client *dial_connected(const char *address, size_t contexts)
{
    struct saga_rpc_client *client = fixture_dial(address, contexts);
    assert_int_equal(saga_rpc_client_wait(client, FIXTURE_WAIT_MS), SAGA_ERR_OK);
    return client;
}

static void test_call_when_on_ipc_then_the_answer_comes_back(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_echo, NULL, 0);
    assert_string_equal(saga_rpc_server_address(server, 0), dir->address);
    struct saga_rpc_client *client = dial_connected(dir->address, 0);
    assert_true(saga_rpc_client_connected(client));
    assert_int_equal(saga_rpc_client_room(client), SAGA_CLIENT_CONTEXTS);
    fixture_assert_echo(client, "hello", 5);
    fixture_assert_echo(client, "", 0);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

static void test_call_when_on_tcp_port_0_then_the_address_has_the_real_port(void **state)
{
    (void)state;
    struct saga_rpc_server *server = fixture_serve("tcp://*:0", fixture_echo, NULL, 0);
    const char *address = saga_rpc_server_address(server, 0);
    int port = 0;
    assert_int_equal(sscanf(address, "tcp://127.0.0.1:%d", &port), 1);
    assert_in_range(port, 1, 65535);
    struct saga_rpc_client *client = dial_connected(address, 0);
    fixture_assert_echo(client, "hello", 5);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

static void test_start_when_the_address_is_bad_then_it_is_invalid(void **state)
{
    (void)state;
    char long_path[160] = "ipc:///tmp/";
    memset(long_path + 11, 'x', 140);
    long_path[151] = '\0';
    const char *const bad[] = {"",
                               "nonsense",
                               "http://127.0.0.1:1",
                               "ipc://",
                               "tcp://127.0.0.1",
                               "tls+tcp://127.0.0.1:1",
                               long_path,
                               "ipc:///nowhere-at-all/s"};
    size_t count = sizeof(bad) / sizeof(bad[0]);
    for (size_t i = 0; i < count; i++) {
        struct saga_rpc_server_config config = {
            .addresses = &bad[i], .address_count = 1, .handler = fixture_echo};
        struct saga_rpc_server *server = NULL;
        struct saga_err_detail detail = {0};
        assert_int_equal(saga_rpc_server_start(&config, &server, &detail), SAGA_ERR_INVALID);
        assert_null(server);
        assert_string_not_equal(detail.text, "");
    }
    /* A client may come before its peer's folder: only the last address is fine for it. */
    for (size_t i = 0; i < count - 1; i++) {
        struct saga_rpc_client_config config = {.addresses = &bad[i], .address_count = 1};
        struct saga_rpc_client *client = NULL;
        struct saga_err_detail detail = {0};
        assert_int_equal(saga_rpc_client_start(&config, &client, &detail), SAGA_ERR_INVALID);
        assert_null(client);
        assert_string_not_equal(detail.text, "");
    }
}

static void
test_server_when_the_socket_file_is_taken_then_only_a_living_owner_keeps_it(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_server *owner = fixture_serve(dir->address, fixture_echo, NULL, 0);
    const char *address = dir->address;
    struct saga_rpc_server_config config = {
        .addresses = &address, .address_count = 1, .handler = fixture_echo};
    struct saga_rpc_server *other = NULL;
    struct saga_err_detail detail = {0};
    assert_int_equal(saga_rpc_server_start(&config, &other, &detail), SAGA_ERR_UNAVAILABLE);
    assert_non_null(strstr(detail.text, dir->address));
    struct saga_rpc_client *client = dial_connected(dir->address, 0);
    fixture_assert_echo(client, "still here", 10);
    saga_rpc_client_free(client);
    saga_rpc_server_free(owner);
}

static void test_server_when_its_door_is_shut_then_requests_wait_until_it_is_opened(void **state)
{
    struct fixture_dir *dir = *state;
    struct fixture_keeper keeper;
    struct fixture_tally tally;
    fixture_keeper_init(&keeper);
    fixture_tally_init(&tally);
    const char *address = dir->address;
    struct saga_rpc_server_config config = {.addresses = &address,
                                            .address_count = 1,
                                            .handler = fixture_keep,
                                            .context = &keeper,
                                            .door_shut = true};
    struct saga_rpc_server *server = NULL;
    struct saga_err_detail detail = {0};
    assert_int_equal(saga_rpc_server_start(&config, &server, &detail), SAGA_ERR_OK);
    struct saga_rpc_client *client = dial_connected(dir->address, 0);
    assert_int_equal(saga_rpc_client_send(client, bytes_of("x"), 50, fixture_tally_done, &tally),
                     SAGA_ERR_OK);
    assert_true(fixture_tally_wait(&tally, 1)); /* its time is over; nobody had it */
    assert_int_equal(tally.no_reply, 1);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server); /* never opened */

    config.handler = fixture_echo;
    config.context = NULL;
    assert_int_equal(saga_rpc_server_start(&config, &server, &detail), SAGA_ERR_OK);
    client = dial_connected(dir->address, 0);
    assert_int_equal(
        saga_rpc_client_send(client, bytes_of("x"), FIXTURE_WAIT_MS, fixture_tally_done, &tally),
        SAGA_ERR_OK);
    saga_rpc_server_open_door(server);
    assert_true(fixture_tally_wait(&tally, 2));
    assert_int_equal(tally.replied, 1);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
    fixture_tally_fini(&tally);
    fixture_keeper_fini(&keeper);
}

static void test_send_when_no_peer_then_it_is_unavailable_at_once(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_client *client = fixture_dial(dir->address, 0);
    assert_false(saga_rpc_client_connected(client));
    int64_t start_ms = saga_test_now_ms();
    assert_int_equal(
        saga_rpc_client_send(client, bytes_of("x"), FIXTURE_WAIT_MS, fixture_tally_done, NULL),
        SAGA_ERR_UNAVAILABLE);
    struct saga_buf reply = {0};
    struct saga_err_detail detail = {0};
    assert_int_equal(saga_rpc_client_call(client, bytes_of("x"), FIXTURE_WAIT_MS, &reply, &detail),
                     SAGA_ERR_UNAVAILABLE);
    assert_in_range(saga_test_now_ms() - start_ms, 0, 1000);
    assert_int_equal(saga_rpc_client_wait(client, 10), SAGA_ERR_TIMEOUT);
    saga_rpc_client_free(client);
}

static void test_send_when_all_contexts_are_used_then_it_is_full_until_one_is_answered(void **state)
{
    struct fixture_dir *dir = *state;
    struct fixture_keeper keeper;
    struct fixture_tally tally;
    fixture_keeper_init(&keeper);
    fixture_tally_init(&tally);
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_keep, &keeper, 0);
    struct saga_rpc_client *client = dial_connected(dir->address, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(saga_rpc_client_send(client, bytes_of("x"), FIXTURE_WAIT_MS,
                                              fixture_tally_done, &tally),
                         SAGA_ERR_OK);
    }
    assert_int_equal(saga_rpc_client_room(client), 0);
    assert_int_equal(
        saga_rpc_client_send(client, bytes_of("x"), FIXTURE_WAIT_MS, fixture_tally_done, &tally),
        SAGA_ERR_FULL);
    assert_true(fixture_keeper_wait(&keeper, 4));
    struct saga_rpc_request *requests[KEEPER_MAX];
    assert_int_equal(fixture_keeper_take(&keeper, requests), 4);
    for (int i = 0; i < 4; i++) {
        saga_rpc_request_answer(requests[i], bytes_of("y"));
    }
    assert_true(fixture_tally_wait(&tally, 4));
    assert_int_equal(tally.replied, 4);
    assert_int_equal(saga_rpc_client_room(client), 4);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
    fixture_tally_fini(&tally);
    fixture_keeper_fini(&keeper);
}

static void
test_send_when_not_answered_in_time_then_no_reply_and_a_late_answer_is_lost(void **state)
{
    struct fixture_dir *dir = *state;
    struct fixture_keeper keeper;
    struct fixture_tally tally;
    fixture_keeper_init(&keeper);
    fixture_tally_init(&tally);
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_keep, &keeper, 0);
    struct saga_rpc_client *client = dial_connected(dir->address, 1);
    int64_t start_ms = saga_test_now_ms();
    assert_int_equal(saga_rpc_client_send(client, bytes_of("one"), 100, fixture_tally_done, &tally),
                     SAGA_ERR_OK);
    assert_true(fixture_tally_wait(&tally, 1));
    assert_in_range(saga_test_now_ms() - start_ms, 90, 5000);
    assert_int_equal(tally.no_reply, 1);
    assert_true(fixture_keeper_wait(&keeper, 1));
    struct saga_rpc_request *requests[KEEPER_MAX];
    assert_int_equal(fixture_keeper_take(&keeper, requests), 1);
    assert_true(saga_bytes_equal(saga_rpc_request_bytes(requests[0]), bytes_of("one")));
    saga_rpc_request_answer(requests[0], bytes_of("late"));
    /* The next request on the same context gets its own answer. */
    assert_int_equal(
        saga_rpc_client_send(client, bytes_of("two"), FIXTURE_WAIT_MS, fixture_tally_done, &tally),
        SAGA_ERR_OK);
    assert_true(fixture_keeper_wait(&keeper, 1));
    assert_int_equal(fixture_keeper_take(&keeper, requests), 1);
    assert_true(saga_bytes_equal(saga_rpc_request_bytes(requests[0]), bytes_of("two")));
    assert_int_equal(tally.ended, 1);
    saga_rpc_request_answer(requests[0], bytes_of("in time"));
    assert_true(fixture_tally_wait(&tally, 2));
    assert_int_equal(tally.replied, 1);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
    fixture_tally_fini(&tally);
    fixture_keeper_fini(&keeper);
}

static void
test_drop_when_a_request_is_dropped_then_no_reply_and_the_context_serves_again(void **state)
{
    struct fixture_dir *dir = *state;
    struct fixture_keeper keeper;
    struct fixture_tally tally;
    fixture_keeper_init(&keeper);
    fixture_tally_init(&tally);
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_keep, &keeper, 1);
    struct saga_rpc_client *client = dial_connected(dir->address, 0);
    struct saga_rpc_request *requests[KEEPER_MAX];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(
            saga_rpc_client_send(client, bytes_of("x"), 50, fixture_tally_done, &tally),
            SAGA_ERR_OK);
        assert_true(fixture_keeper_wait(&keeper, 1));
        assert_int_equal(fixture_keeper_take(&keeper, requests), 1);
        assert_null(saga_rpc_request_user(requests[0]));
        saga_rpc_request_set_user(requests[0], &keeper);
        assert_ptr_equal(saga_rpc_request_user(requests[0]), &keeper);
        saga_rpc_request_drop(requests[0]);
        assert_true(fixture_tally_wait(&tally, i + 1));
    }
    assert_int_equal(tally.no_reply, 3);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
    fixture_tally_fini(&tally);
    fixture_keeper_fini(&keeper);
}

static void
test_close_door_when_requests_are_out_then_they_are_answered_and_no_more_come(void **state)
{
    struct fixture_dir *dir = *state;
    struct fixture_keeper keeper;
    struct fixture_tally tally;
    fixture_keeper_init(&keeper);
    fixture_tally_init(&tally);
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_keep, &keeper, 0);
    struct saga_rpc_client *client = dial_connected(dir->address, 8);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(saga_rpc_client_send(client, bytes_of("x"), FIXTURE_WAIT_MS,
                                              fixture_tally_done, &tally),
                         SAGA_ERR_OK);
    }
    assert_true(fixture_keeper_wait(&keeper, 3));
    saga_rpc_server_close_door(server);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(saga_rpc_client_send(client, bytes_of("x"), FIXTURE_WAIT_MS,
                                              fixture_tally_done, &tally),
                         SAGA_ERR_OK);
    }
    struct saga_rpc_request *requests[KEEPER_MAX];
    assert_int_equal(fixture_keeper_take(&keeper, requests), 3);
    for (int i = 0; i < 3; i++) {
        saga_rpc_request_answer(requests[i], bytes_of("y"));
    }
    saga_rpc_server_free(server);
    assert_true(fixture_tally_wait(&tally, 5));
    assert_int_equal(tally.replied, 3);
    assert_int_equal(tally.no_reply + tally.not_sent, 2);
    assert_int_equal(keeper.count, 0);
    saga_rpc_client_free(client);
    fixture_tally_fini(&tally);
    fixture_keeper_fini(&keeper);
}

static void test_free_when_requests_are_outstanding_then_each_ends_once(void **state)
{
    struct fixture_dir *dir = *state;
    struct fixture_keeper keeper;
    struct fixture_tally tally;
    fixture_keeper_init(&keeper);
    fixture_tally_init(&tally);
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_keep, &keeper, 0);
    struct saga_rpc_client *client = dial_connected(dir->address, 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(saga_rpc_client_send(client, bytes_of("x"), FIXTURE_WAIT_MS,
                                              fixture_tally_done, &tally),
                         SAGA_ERR_OK);
    }
    assert_true(fixture_keeper_wait(&keeper, 8));
    saga_rpc_client_free(client);
    assert_int_equal(tally.ended, 8);
    assert_int_equal(tally.no_reply, 8);
    struct saga_rpc_request *requests[KEEPER_MAX];
    size_t count = fixture_keeper_take(&keeper, requests);
    for (size_t i = 0; i < count; i++) {
        saga_rpc_request_answer(requests[i], bytes_of("nobody reads this"));
    }
    saga_rpc_server_free(server);
    fixture_tally_fini(&tally);
    fixture_keeper_fini(&keeper);
}

static void test_send_when_the_size_is_at_the_limit_then_it_passes_and_above_not(void **state)
{
    struct fixture_dir *dir = *state;
    struct saga_rpc_server *server = fixture_serve(dir->address, fixture_echo, NULL, 0);
    struct saga_rpc_client *client = dial_connected(dir->address, 0);
    uint8_t *large = malloc((size_t)SAGA_MESSAGE_SIZE_HARD + 1);
    assert_non_null(large);
    memset(large, 0x5a, (size_t)SAGA_MESSAGE_SIZE_HARD + 1);
    fixture_assert_echo(client, large, SAGA_MESSAGE_SIZE_HARD);
    struct saga_bytes above = {.data = large, .size = (size_t)SAGA_MESSAGE_SIZE_HARD + 1};
    struct saga_buf reply = {0};
    struct saga_err_detail detail = {0};
    assert_int_equal(saga_rpc_client_call(client, above, FIXTURE_WAIT_MS, &reply, &detail),
                     SAGA_ERR_LIMIT);
    fixture_assert_echo(client, "goes on", 7);
    free(large);
    saga_rpc_client_free(client);
    saga_rpc_server_free(server);
}

int main(void)
{
#define RPC_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        RPC_TEST(test_call_when_on_ipc_then_the_answer_comes_back),
        RPC_TEST(test_call_when_on_tcp_port_0_then_the_address_has_the_real_port),
        RPC_TEST(test_start_when_the_address_is_bad_then_it_is_invalid),
        RPC_TEST(test_server_when_the_socket_file_is_taken_then_only_a_living_owner_keeps_it),
        RPC_TEST(test_server_when_its_door_is_shut_then_requests_wait_until_it_is_opened),
        RPC_TEST(test_send_when_no_peer_then_it_is_unavailable_at_once),
        RPC_TEST(test_send_when_all_contexts_are_used_then_it_is_full_until_one_is_answered),
        RPC_TEST(test_send_when_not_answered_in_time_then_no_reply_and_a_late_answer_is_lost),
        RPC_TEST(test_drop_when_a_request_is_dropped_then_no_reply_and_the_context_serves_again),
        RPC_TEST(test_close_door_when_requests_are_out_then_they_are_answered_and_no_more_come),
        RPC_TEST(test_free_when_requests_are_outstanding_then_each_ends_once),
        RPC_TEST(test_send_when_the_size_is_at_the_limit_then_it_passes_and_above_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
