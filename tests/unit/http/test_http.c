#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/http/http.h"
#include "tests/support/support.h"
#include "tests/unit/http/http_client.h"

enum { BODY_MAX = 4096, KEPT_MAX = 256, DEADLINE_MS = 10000 };

/* What the handlers do with the requests that they keep. */
struct fixture {
    struct saga_http *http;
    uint16_t port;
    pthread_mutex_t lock;
    struct saga_http_request *kept[KEPT_MAX];
    size_t kept_count;
    pthread_t answerer;
    pthread_cond_t came;
    bool answering;
    bool ending;
};

/* ---- Handlers ---- */

static void handle_echo(void *context, struct saga_http_request *request)
{
    (void)context;
    char text[512];
    const char *query = saga_http_query(request, "q");
    const char *header = saga_http_header(request, "x-test");
    (void)snprintf(text, sizeof text, "value=%s q=%s header=%s body=%zu",
                   saga_http_path_value(request), query == NULL ? "(none)" : query,
                   header == NULL ? "(none)" : header, saga_http_body(request).size);
    saga_http_answer(request, 200, "text/plain", saga_bytes_text(text), "X-Extra: yes");
}

static void handle_mine(void *context, struct saga_http_request *request)
{
    (void)context;
    saga_http_answer(request, 200, "text/plain", saga_bytes_text("mine"), NULL);
}

static void handle_body(void *context, struct saga_http_request *request)
{
    (void)context;
    saga_http_answer(request, 201, "application/octet-stream", saga_http_body(request), NULL);
}

static void handle_error(void *context, struct saga_http_request *request)
{
    (void)context;
    saga_http_answer_error(request, 400, "INVALID_ARGUMENT", "items[0].quantity",
                           "must be \"%d\" or more", 1);
}

static void handle_keep(void *context, struct saga_http_request *request)
{
    struct fixture *fixture = context;
    (void)pthread_mutex_lock(&fixture->lock);
    assert_true(fixture->kept_count < KEPT_MAX);
    fixture->kept[fixture->kept_count++] = request;
    (void)pthread_cond_signal(&fixture->came);
    (void)pthread_mutex_unlock(&fixture->lock);
}

static const struct saga_http_route routes[] = {
    {"GET", "/echo/{id}", handle_echo}, {"GET", "/echo", handle_echo},
    {"GET", "/echo/mine", handle_mine}, {"GET", "/echo/{id}/part", handle_echo},
    {"POST", "/body", handle_body},     {"GET", "/error", handle_error},
    {"GET", "/keep", handle_keep},      {"DELETE", "/echo/{id}", handle_echo},
};

/* ---- Fixture ---- */

static struct saga_http_config config_of(struct fixture *fixture)
{
    struct saga_http_config config = {
        .address = "127.0.0.1",
        .routes = routes,
        .route_count = sizeof routes / sizeof routes[0],
        .context = fixture,
        .body_size_max = BODY_MAX,
        .header_size_max = 8192,
        .connections_max = 64,
        .timeout_s = 30,
    };
    return config;
}

static void start(struct fixture *fixture, const struct saga_http_config *config)
{
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_http_start(config, &fixture->http, &detail), SAGA_ERR_OK);
    fixture->port = saga_http_port(fixture->http);
    assert_true(fixture->port > 0);
}

static struct fixture *open_fixture(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    assert_int_equal(pthread_mutex_init(&fixture->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&fixture->came, NULL), 0);
    return fixture;
}

static struct fixture *started(void)
{
    struct fixture *fixture = open_fixture();
    struct saga_http_config config = config_of(fixture);
    start(fixture, &config);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    saga_http_stop(fixture->http);
    (void)pthread_cond_destroy(&fixture->came);
    (void)pthread_mutex_destroy(&fixture->lock);
    free(fixture);
}

static size_t kept_count(struct fixture *fixture)
{
    (void)pthread_mutex_lock(&fixture->lock);
    size_t count = fixture->kept_count;
    (void)pthread_mutex_unlock(&fixture->lock);
    return count;
}

static bool has_kept_one(void *context)
{
    return kept_count(context) > 0;
}

static struct saga_http_request *take_kept(struct fixture *fixture)
{
    assert_true(saga_test_until(has_kept_one, fixture, DEADLINE_MS));
    (void)pthread_mutex_lock(&fixture->lock);
    struct saga_http_request *request = fixture->kept[--fixture->kept_count];
    (void)pthread_mutex_unlock(&fixture->lock);
    return request;
}

/* Another thread that answers what is kept, at once. */
static void *answer_all(void *context)
{
    struct fixture *fixture = context;
    (void)pthread_mutex_lock(&fixture->lock);
    while (!fixture->ending) {
        if (fixture->kept_count == 0) {
            (void)pthread_cond_wait(&fixture->came, &fixture->lock);
            continue;
        }
        struct saga_http_request *request = fixture->kept[--fixture->kept_count];
        (void)pthread_mutex_unlock(&fixture->lock);
        saga_http_answer(request, 200, "text/plain", saga_bytes_text("kept"), NULL);
        (void)pthread_mutex_lock(&fixture->lock);
    }
    (void)pthread_mutex_unlock(&fixture->lock);
    return NULL;
}

static void end_answerer(struct fixture *fixture)
{
    (void)pthread_mutex_lock(&fixture->lock);
    fixture->ending = true;
    (void)pthread_cond_signal(&fixture->came);
    (void)pthread_mutex_unlock(&fixture->lock);
    assert_int_equal(pthread_join(fixture->answerer, NULL), 0);
}

/* ---- Routes ---- */

static void test_get_when_route_has_value_then_handler_reads_path_query_and_header(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    client_ask(fixture->port,
               "GET /echo/a%20b?q=1%262&r HTTP/1.1\r\nHost: x\r\nX-TEST: yes\r\n\r\n", &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "value=a b q=1&2 header=yes body=0");
    assert_string_equal(client_header(&reply, "X-Extra"), "yes");
    assert_string_equal(client_header(&reply, "Content-Type"), "text/plain");
    client_ask(fixture->port, "GET /echo/7/part HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_string_equal(reply.body, "value=7 q=(none) header=(none) body=0");
    client_ask(fixture->port, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_string_equal(reply.body, "value= q=(none) header=(none) body=0");
    close_fixture(fixture);
}

static void test_get_when_two_routes_fit_then_longest_literal_wins(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    client_ask(fixture->port, "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_string_equal(reply.body, "mine");
    close_fixture(fixture);
}

static void test_head_when_route_has_get_then_headers_without_body(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    int fd = client_open(fixture->port);
    assert_true(client_send_text(fd, "HEAD /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n"
                                     "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(client_read(fd, true, &reply));
    assert_int_equal(reply.status, 200);
    assert_string_equal(client_header(&reply, "Content-Length"), "4");
    /* The next bytes are the next reply, not a body. */
    assert_true(client_read(fd, false, &reply));
    assert_string_equal(reply.body, "mine");
    (void)close(fd);
    close_fixture(fixture);
}

static void test_unknown_path_and_method_then_404_and_405_with_allow(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    client_ask(fixture->port, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 404);
    assert_non_null(strstr(reply.body, "\"code\":\"NOT_FOUND\""));
    client_ask(fixture->port, "GET /echo/a/b HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 404);
    client_ask(fixture->port, "GET /echo/ HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 404);
    client_ask(fixture->port, "PUT /echo/5 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
               &reply);
    assert_int_equal(reply.status, 405);
    assert_string_equal(client_header(&reply, "Allow"), "GET, HEAD, DELETE");
    close_fixture(fixture);
}

static void test_answer_error_then_json_with_code_field_and_escaped_message(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    client_ask(fixture->port, "GET /error HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 400);
    assert_string_equal(client_header(&reply, "Content-Type"), "application/json");
    assert_string_equal(reply.body,
                        "{\"error\":{\"code\":\"INVALID_ARGUMENT\",\"message\":\"must be \\\"1\\\" "
                        "or more\",\"field\":\"items[0].quantity\"}}");
    close_fixture(fixture);
}

static void test_token_when_set_then_needed_for_writes_only(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    struct saga_http_config config = config_of(fixture);
    config.token = "s3cret";
    start(fixture, &config);
    struct reply reply;
    client_ask(fixture->port, "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 200);
    static const char *const refused[] = {"",
                                          "Authorization: Bearer s3cre\r\n",
                                          "Authorization: Bearer s3crets\r\n",
                                          "Authorization: Bearer \r\n",
                                          "Authorization: Basic s3cret\r\n",
                                          "Authorization: Bearer S3CRET\r\n",
                                          "Authorization: Bearer s3cret s3cret\r\n"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "POST /body HTTP/1.1\r\nHost: x\r\n%sContent-Length: 2\r\n\r\nhi",
                       refused[i]);
        client_ask(fixture->port, text, &reply);
        assert_int_equal(reply.status, 401);
        assert_string_equal(client_header(&reply, "WWW-Authenticate"), "Bearer");
    }
    client_ask(fixture->port,
               "POST /body HTTP/1.1\r\nHost: x\r\nAuthorization: bearer s3cret\r\n"
               "Content-Length: 2\r\n\r\nhi",
               &reply);
    assert_int_equal(reply.status, 201);
    close_fixture(fixture);
}

/* ---- Bodies and limits ---- */

static void test_post_when_body_is_at_its_limit_then_whole(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    char body[BODY_MAX];
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (char)('a' + i % 26);
    }
    char head[128];
    (void)snprintf(head, sizeof head,
                   "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", BODY_MAX);
    int fd = client_open(fixture->port);
    for (int i = 0; i < 3; i++) {
        assert_true(client_send_text(fd, head));
        assert_true(client_send(fd, body, 100));
        assert_true(client_send(fd, body + 100, sizeof body - 100));
        assert_true(client_read(fd, false, &reply));
        assert_int_equal(reply.status, 201);
        assert_int_equal(reply.body_size, BODY_MAX);
        assert_memory_equal(reply.body, body, BODY_MAX);
    }
    (void)close(fd);
    close_fixture(fixture);
}

static void test_post_when_announced_body_is_too_large_then_413_before_it_is_sent(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    client_ask(fixture->port, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4097\r\n\r\n",
               &reply);
    assert_int_equal(reply.status, 413);
    assert_non_null(strstr(reply.body, "larger than 4096 bytes"));
    assert_non_null(strstr(reply.body, "\"field\":\"body\""));
    client_ask(fixture->port,
               "POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
               "Content-Length: 5000\r\n\r\n",
               &reply);
    assert_int_equal(reply.status, 413);
    close_fixture(fixture);
}

/* Sends a chunked body; false when the server closed meanwhile. */
static bool send_chunks(int fd, size_t chunk_count)
{
    char chunk[1024 + 8];
    int head = snprintf(chunk, sizeof chunk, "400\r\n");
    memset(chunk + head, 'x', 1024);
    memcpy(chunk + head + 1024, "\r\n", 2);
    if (!client_send_text(fd,
                          "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")) {
        return false;
    }
    for (size_t i = 0; i < chunk_count; i++) {
        if (!client_send(fd, chunk, (size_t)head + 1026)) {
            return false;
        }
    }
    return client_send_text(fd, "0\r\n\r\n");
}

static void test_post_when_body_is_chunked_then_same_limit(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    int fd = client_open(fixture->port);
    assert_true(send_chunks(fd, 4));
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 201);
    assert_int_equal(reply.body_size, 4096);
    assert_true(send_chunks(fd, 5));
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 413);
    (void)close(fd);
    /* Far above it too: the client can read why. */
    fd = client_open(fixture->port);
    assert_true(send_chunks(fd, 20 * 1024));
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 413);
    assert_non_null(strstr(reply.body, "\"field\":\"body\""));
    (void)close(fd);
    close_fixture(fixture);
}

static void test_post_when_chunked_body_never_ends_then_cut_off(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    int fd = client_open(fixture->port);
    (void)send_chunks(fd, 40 * 1024);
    assert_true(client_closed(fd, DEADLINE_MS));
    (void)close(fd);
    close_fixture(fixture);
}

static void test_post_when_client_expects_100_then_continue_comes_first(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    int fd = client_open(fixture->port);
    assert_true(client_send_text(fd, "POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                                     "Content-Length: 3\r\n\r\n"));
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 100);
    assert_true(client_send_text(fd, "abc"));
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply.body, "abc");
    (void)close(fd);
    close_fixture(fixture);
}

static void test_get_when_headers_are_too_large_then_431(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    char *text = calloc(1, 32768);
    assert_non_null(text);
    (void)snprintf(text, 32768, "GET /echo HTTP/1.1\r\nHost: x\r\nX-Big: %016000d\r\n\r\n", 0);
    int fd = client_open(fixture->port);
    (void)client_send_text(fd, text);
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 431);
    (void)close(fd);
    free(text);
    close_fixture(fixture);
}

static void test_request_when_length_of_body_is_ambiguous_then_400_and_closed(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    static const char *const heads[] = {
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct reply reply;
        char text[256];
        (void)snprintf(text, sizeof text, "POST /body HTTP/1.1\r\nHost: x\r\n%s\r\nabc", heads[i]);
        int fd = client_open(fixture->port);
        assert_true(client_send_text(fd, text));
        assert_true(client_read(fd, false, &reply));
        assert_true(reply.status == 400 || reply.status == 413);
        assert_true(client_closed(fd, DEADLINE_MS));
        (void)close(fd);
    }
    close_fixture(fixture);
}

static void test_request_when_it_is_garbage_then_server_goes_on(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    static const char *const garbage[] = {
        "\x16\x03\x01\x02",        "GET\r\n\r\n",
        "\r\n\r\n\r\n\r\n",        "GET / HTTP/9.9\r\n\r\n",
        "A B C D E\r\n: \r\n\r\n", "GET /echo?%00=%00 HTTP/1.1\r\nHost: x\r\n\r\n"};
    struct reply reply;
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        int fd = client_open(fixture->port);
        (void)client_send_text(fd, garbage[i]);
        (void)close(fd);
        client_ask(fixture->port, "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
        assert_int_equal(reply.status, 200);
    }
    client_ask(fixture->port, "GET /echo?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 400);
    close_fixture(fixture);
}

static void test_connection_when_kept_alive_then_serves_many_requests(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    int fd = client_open(fixture->port);
    for (int i = 0; i < 100; i++) {
        assert_true(client_send_text(fd, "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_true(client_read(fd, false, &reply));
        assert_int_equal(reply.status, 200);
    }
    (void)close(fd);
    close_fixture(fixture);
}

/* ---- Time ---- */

static void test_connection_when_headers_come_byte_by_byte_then_closed(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    struct saga_http_config config = config_of(fixture);
    config.timeout_s = 1;
    start(fixture, &config);
    int fd = client_open(fixture->port);
    int64_t end_ms = saga_test_now_ms() + DEADLINE_MS;
    bool closed = false;
    /* A byte every 50 ms: the connection is never idle. */
    assert_true(client_send_text(fd, "GET /echo HTTP/1.1\r\nX: "));
    while (!closed && saga_test_now_ms() < end_ms) {
        closed = !client_send_text(fd, "x") || client_closed(fd, 50);
    }
    assert_true(closed);
    (void)close(fd);
    close_fixture(fixture);
}

static void test_connection_when_idle_then_closed(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    struct saga_http_config config = config_of(fixture);
    config.timeout_s = 1;
    start(fixture, &config);
    int fd = client_open(fixture->port);
    assert_true(client_closed(fd, DEADLINE_MS));
    (void)close(fd);
    close_fixture(fixture);
}

static void test_kept_when_longer_than_timeout_then_still_answered(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    struct saga_http_config config = config_of(fixture);
    config.timeout_s = 1;
    start(fixture, &config);
    struct reply reply;
    int fd = client_open(fixture->port);
    assert_true(client_send_text(fd, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct saga_http_request *request = take_kept(fixture);
    assert_false(client_readable(fd, 3500)); /* not closed meanwhile */
    saga_http_answer(request, 200, "text/plain", saga_bytes_text("late"), NULL);
    assert_true(client_read(fd, false, &reply));
    assert_string_equal(reply.body, "late");
    assert_true(client_send_text(fd, "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(client_read(fd, false, &reply));
    assert_string_equal(reply.body, "mine");
    (void)close(fd);
    close_fixture(fixture);
}

/* ---- Kept requests ---- */

static void test_kept_when_answered_by_another_thread_then_client_gets_it(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    assert_int_equal(pthread_create(&fixture->answerer, NULL, answer_all, fixture), 0);
    enum { CLIENTS = 16, ROUNDS = 200 };
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(fixture->port);
    }
    struct reply reply;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            assert_true(client_send_text(fds[i], "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        for (int i = 0; i < CLIENTS; i++) {
            assert_true(client_read(fds[i], false, &reply));
            assert_int_equal(reply.status, 200);
            assert_string_equal(reply.body, "kept");
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        (void)close(fds[i]);
    }
    end_answerer(fixture);
    close_fixture(fixture);
}

static void test_kept_when_client_went_away_then_answer_is_harmless(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    for (int i = 0; i < 20; i++) {
        int fd = client_open(fixture->port);
        assert_true(client_send_text(fd, "GET /keep?q=there HTTP/1.1\r\nHost: x\r\n\r\n"));
        struct saga_http_request *request = take_kept(fixture);
        (void)close(fd);
        client_ask(fixture->port, "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
        assert_string_equal(saga_http_query(request, "q"), "there");
        saga_http_answer(request, 200, "text/plain", saga_bytes_text("nobody"), NULL);
    }
    client_ask(fixture->port, "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 200);
    close_fixture(fixture);
}

static void test_kept_when_pipelined_then_answers_in_order(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct reply reply;
    int fd = client_open(fixture->port);
    assert_true(client_send_text(fd, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"
                                     "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct saga_http_request *request = take_kept(fixture);
    assert_false(client_readable(fd, 50));
    saga_http_answer(request, 200, "text/plain", saga_bytes_text("first"), NULL);
    assert_true(client_read(fd, false, &reply));
    assert_string_equal(reply.body, "first");
    assert_true(client_read(fd, false, &reply));
    assert_string_equal(reply.body, "mine");
    (void)close(fd);
    close_fixture(fixture);
}

/* ---- Start and stop ---- */

static void test_stop_when_requests_are_kept_then_503_and_late_answers_are_harmless(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    enum { CLIENTS = 8 };
    int fds[CLIENTS];
    struct saga_http_request *requests[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(fixture->port);
        assert_true(client_send_text(fds[i], "GET /keep?q=x HTTP/1.1\r\nHost: x\r\n\r\n"));
        requests[i] = take_kept(fixture);
    }
    saga_http_stop(fixture->http);
    struct reply reply;
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(client_read(fds[i], false, &reply));
        assert_int_equal(reply.status, 503);
        assert_true(client_closed(fds[i], DEADLINE_MS));
        (void)close(fds[i]);
        assert_string_equal(saga_http_query(requests[i], "q"), "x");
        saga_http_answer_error(requests[i], 500, "INTERNAL", NULL, "too late");
    }
    fixture->http = NULL;
    close_fixture(fixture);
}

static void test_stop_when_connections_are_open_then_does_not_wait_for_them(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    int idle = client_open(fixture->port);
    int half = client_open(fixture->port);
    assert_true(
        client_send_text(half, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"));
    int gone = client_open(fixture->port);
    assert_true(client_send_text(gone, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct saga_http_request *request = take_kept(fixture);
    (void)close(gone);
    int64_t begin_ms = saga_test_now_ms();
    saga_http_stop(fixture->http);
    assert_true(saga_test_now_ms() - begin_ms < 5000);
    saga_http_answer(request, 200, "text/plain", saga_bytes_text(""), NULL);
    assert_true(client_closed(idle, DEADLINE_MS));
    assert_true(client_closed(half, DEADLINE_MS));
    (void)close(idle);
    (void)close(half);
    fixture->http = NULL;
    close_fixture(fixture);
}

/* Asks again and again until the server is gone. No assertions: they belong to the test's own
 * thread. */
static void *ask_until_closed(void *context)
{
    const int *fd = context;
    char rest[1024];
    while (client_send_text(*fd, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n") &&
           recv(*fd, rest, sizeof rest, 0) > 0) {
    }
    return NULL;
}

static void test_stop_when_under_load_then_clean(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct fixture *fixture = started();
        assert_int_equal(pthread_create(&fixture->answerer, NULL, answer_all, fixture), 0);
        enum { CLIENTS = 4 };
        pthread_t clients[CLIENTS];
        int fds[CLIENTS];
        for (int i = 0; i < CLIENTS; i++) {
            fds[i] = client_open(fixture->port);
            assert_int_equal(pthread_create(&clients[i], NULL, ask_until_closed, &fds[i]), 0);
        }
        struct reply reply;
        client_ask(fixture->port, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
        assert_int_equal(reply.status, 200);
        saga_http_stop(fixture->http);
        for (int i = 0; i < CLIENTS; i++) {
            assert_int_equal(pthread_join(clients[i], NULL), 0);
            (void)close(fds[i]);
        }
        end_answerer(fixture);
        /* What the handler still holds is answered into nothing. */
        while (kept_count(fixture) > 0) {
            saga_http_answer(take_kept(fixture), 200, "text/plain", saga_bytes_text(""), NULL);
        }
        fixture->http = NULL;
        close_fixture(fixture);
    }
}

static void test_start_when_port_is_taken_or_address_is_none_then_error(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    struct saga_http_config config = config_of(fixture);
    struct saga_err_detail detail = {{0}};
    struct saga_http *other = NULL;
    config.port = fixture->port;
    assert_int_equal(saga_http_start(&config, &other, &detail), SAGA_ERR_UNAVAILABLE);
    assert_non_null(strstr(detail.text, "in use"));
    config.address = "no such address";
    assert_int_equal(saga_http_start(&config, &other, &detail), SAGA_ERR_INVALID);
    assert_null(other);
    close_fixture(fixture);
}

static void test_connections_when_more_than_the_limit_then_wait_until_one_closes(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    struct saga_http_config config = config_of(fixture);
    config.connections_max = 2;
    start(fixture, &config);
    struct reply reply;
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(fixture->port);
        assert_true(client_send_text(fds[i], "GET /echo/mine HTTP/1.1\r\nHost: x\r\n\r\n"));
        if (i < 2) {
            assert_true(client_read(fds[i], false, &reply));
        }
    }
    assert_false(client_readable(fds[2], 100));
    (void)close(fds[0]);
    assert_true(client_read(fds[2], false, &reply));
    assert_int_equal(reply.status, 200);
    (void)close(fds[1]);
    (void)close(fds[2]);
    close_fixture(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_when_route_has_value_then_handler_reads_path_query_and_header),
        cmocka_unit_test(test_get_when_two_routes_fit_then_longest_literal_wins),
        cmocka_unit_test(test_head_when_route_has_get_then_headers_without_body),
        cmocka_unit_test(test_unknown_path_and_method_then_404_and_405_with_allow),
        cmocka_unit_test(test_answer_error_then_json_with_code_field_and_escaped_message),
        cmocka_unit_test(test_token_when_set_then_needed_for_writes_only),
        cmocka_unit_test(test_post_when_body_is_at_its_limit_then_whole),
        cmocka_unit_test(test_post_when_announced_body_is_too_large_then_413_before_it_is_sent),
        cmocka_unit_test(test_post_when_body_is_chunked_then_same_limit),
        cmocka_unit_test(test_post_when_chunked_body_never_ends_then_cut_off),
        cmocka_unit_test(test_post_when_client_expects_100_then_continue_comes_first),
        cmocka_unit_test(test_get_when_headers_are_too_large_then_431),
        cmocka_unit_test(test_request_when_length_of_body_is_ambiguous_then_400_and_closed),
        cmocka_unit_test(test_request_when_it_is_garbage_then_server_goes_on),
        cmocka_unit_test(test_connection_when_kept_alive_then_serves_many_requests),
        cmocka_unit_test(test_connection_when_headers_come_byte_by_byte_then_closed),
        cmocka_unit_test(test_connection_when_idle_then_closed),
        cmocka_unit_test(test_kept_when_longer_than_timeout_then_still_answered),
        cmocka_unit_test(test_kept_when_answered_by_another_thread_then_client_gets_it),
        cmocka_unit_test(test_kept_when_client_went_away_then_answer_is_harmless),
        cmocka_unit_test(test_kept_when_pipelined_then_answers_in_order),
        cmocka_unit_test(test_stop_when_requests_are_kept_then_503_and_late_answers_are_harmless),
        cmocka_unit_test(test_stop_when_connections_are_open_then_does_not_wait_for_them),
        cmocka_unit_test(test_stop_when_under_load_then_clean),
        cmocka_unit_test(test_start_when_port_is_taken_or_address_is_none_then_error),
        cmocka_unit_test(test_connections_when_more_than_the_limit_then_wait_until_one_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
