/* The limits of the HTTP server, to the byte, and what a request may not hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/http/http.h"
#include "tests/support/support.h"
#include "tests/unit/http/http_client.h"

enum { DEADLINE_MS = 10000 };

struct fixture {
    struct saga_http *http;
    uint16_t port;
};

static void handle_echo(void *context, struct saga_http_request *request)
{
    (void)context;
    saga_http_answer(request, 200, "text/plain", saga_bytes_text(saga_http_path_value(request)),
                     NULL);
}

static void handle_strict(void *context, struct saga_http_request *request)
{
    (void)context;
    static const char *const known[] = {"a", "b", NULL};
    bool twice = false;
    const char *stray = saga_http_query_stray(request, known, &twice);
    if (stray == NULL) {
        saga_http_answer(request, 200, "text/plain", saga_bytes_text("well"), NULL);
    } else {
        saga_http_answer_error(request, 400, twice ? "TWICE" : "UNKNOWN", stray, "stray");
    }
}

static const struct saga_http_route routes[] = {
    {"GET", "/echo/{id}", handle_echo},
    {"GET", "/echo/{id}/part", handle_echo},
    {"GET", "/echo", handle_echo},
    {"GET", "/strict", handle_strict},
};

static struct fixture *started(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    const struct saga_http_config config = {
        .address = "127.0.0.1",
        .routes = routes,
        .route_count = sizeof routes / sizeof routes[0],
        .body_size_max = 4096,
        .header_size_max = 8192,
        .connections_max = 64,
        .timeout_s = 30,
    };
    struct saga_err_detail detail = {{0}};
    assert_int_equal(saga_http_start(&config, &fixture->http, &detail), SAGA_ERR_OK);
    fixture->port = saga_http_port(fixture->http);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    saga_http_stop(fixture->http);
    free(fixture);
}

/* Sends a request whose line and headers have so many bytes; gives the answer's status. */
static unsigned ask_with_head(struct fixture *fixture, size_t size, struct reply *reply)
{
    static const char begin[] = "GET /echo/mine HTTP/1.1\r\nHost: x\r\nX-Big: ";
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text, begin, sizeof begin - 1);
    memcpy(text + size - 4, "\r\n\r\n", 4);
    int fd = client_open(fixture->port);
    assert_true(client_send(fd, text, size));
    assert_true(client_read(fd, false, reply));
    (void)close(fd);
    free(text);
    return reply->status;
}

static void test_get_when_headers_pass_their_limit_by_one_byte_then_431_as_json(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    static struct reply reply;
    assert_int_equal(ask_with_head(fixture, 8192, &reply), 200);
    for (size_t size = 8193; size <= 20000; size += size < 8200 ? 1 : 811) {
        assert_int_equal(ask_with_head(fixture, size, &reply), 431);
        assert_string_equal(client_header(&reply, "Content-Type"), "application/json");
        assert_non_null(strstr(reply.body, "\"code\":\"HEADER_TOO_LARGE\""));
        assert_non_null(strstr(reply.body, "8192 bytes"));
    }
    /* Whatever is larger is answered too, if not by us. */
    for (size_t size = 20000; size <= 40000; size += 997) {
        assert_int_equal(ask_with_head(fixture, size, &reply), 431);
    }
    close_fixture(fixture);
}

/* Asks with so many headers, or parameters of the query. */
static unsigned ask_with_fields(struct fixture *fixture, size_t headers, size_t parameters,
                                struct reply *reply)
{
    char *text = calloc(1, 64 + headers * 5 + parameters * 2);
    assert_non_null(text);
    char *at = text + sprintf(text, "GET /echo/mine?");
    for (size_t i = 0; i < parameters; i++) {
        at += sprintf(at, "%s", i == 0 ? "a" : "&a");
    }
    at += sprintf(at, " HTTP/1.1\r\nHost: x\r\n");
    for (size_t i = 1; i < headers; i++) {
        at += sprintf(at, "a:b\r\n");
    }
    (void)sprintf(at, "\r\n");
    client_ask(fixture->port, text, reply);
    free(text);
    return reply->status;
}

static void test_get_when_there_are_too_many_fields_then_431_at_once(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    static struct reply reply;
    assert_int_equal(ask_with_fields(fixture, 2, 100, &reply), 200);
    assert_int_equal(ask_with_fields(fixture, SAGA_HTTP_FIELDS_MAX, 0, &reply), 200);
    assert_int_equal(ask_with_fields(fixture, SAGA_HTTP_FIELDS_MAX + 1, 0, &reply), 431);
    assert_non_null(strstr(reply.body, "\"code\":\"HEADER_TOO_LARGE\""));
    int64_t begin_ms = saga_test_now_ms();
    static const size_t parameters[] = {SAGA_HTTP_FIELDS_MAX, SAGA_HTTP_FIELDS_MAX + 1, 1000, 4000};
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
        assert_int_equal(ask_with_fields(fixture, 1, parameters[i], &reply), 431);
    }
    assert_int_equal(ask_with_fields(fixture, 1, 30000, &reply), 414); /* libmicrohttpd's own */
    assert_true(saga_test_now_ms() - begin_ms < DEADLINE_MS);
    assert_int_equal(ask_with_fields(fixture, 1, 1, &reply), 200);
    close_fixture(fixture);
}

static void test_get_when_path_or_query_hides_a_zero_byte_then_400(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    static struct reply reply;
    static const char *const targets[] = {"/echo/1%00", "/echo/1%00/part", "/echo%00/1",
                                          "/echo?q=1%00", "/echo?q%00=1"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i]);
        client_ask(fixture->port, text, &reply);
        assert_int_equal(reply.status, 400);
        assert_non_null(strstr(reply.body, "zero byte"));
    }
    client_ask(fixture->port, "GET /echo/1%2500 HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "1%00");
    close_fixture(fixture);
}

static void test_query_when_a_parameter_is_unknown_or_double_then_found(void **state)
{
    (void)state;
    struct fixture *fixture = started();
    static struct reply reply;
    static const struct {
        const char *query, *wanted;
    } cases[] = {
        {"", "well"},
        {"?a=1&b", "well"},
        {"?a=1&c=2", "\"code\":\"UNKNOWN\",\"message\":\"stray\",\"field\":\"c\""},
        {"?A=1", "\"field\":\"A\""},
        {"?b=1&b=1", "\"code\":\"TWICE\",\"message\":\"stray\",\"field\":\"b\""},
        {"?%ff=1", "\"field\":\"?\""}, /* no UTF-8 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "GET /strict%s HTTP/1.1\r\nHost: x\r\n\r\n",
                       cases[i].query);
        client_ask(fixture->port, text, &reply);
        assert_non_null(strstr(reply.body, cases[i].wanted));
    }
    close_fixture(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_when_headers_pass_their_limit_by_one_byte_then_431_as_json),
        cmocka_unit_test(test_get_when_there_are_too_many_fields_then_431_at_once),
        cmocka_unit_test(test_get_when_path_or_query_hides_a_zero_byte_then_400),
        cmocka_unit_test(test_query_when_a_parameter_is_unknown_or_double_then_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
