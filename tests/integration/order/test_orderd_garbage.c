/* orderd against clients that are broken, slow or hostile: a clear answer or a closed connection,
 * never a crash, and orders go on. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "tests/integration/order/orderd_fixture.h"

static const char body[] = "{\"customer_id\":42,\"items\":[{\"product_id\":7,\"quantity\":2}]}";

/* Sends bytes on a connection of its own and gives the status of the answer; 0: closed without one.
 */
static unsigned throw_at(struct orderd *orderd, const void *data, size_t size)
{
    static struct reply reply;
    int fd = client_open(orderd->port);
    unsigned status = 0;
    if (client_send(fd, data, size) && client_read(fd, false, &reply)) {
        status = reply.status;
    }
    (void)close(fd);
    return status;
}

static unsigned throw_text(struct orderd *orderd, const char *text)
{
    return throw_at(orderd, text, strlen(text));
}

static void test_http_when_bytes_are_nonsense_then_refused(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    assert_in_range(throw_text(orderd, "\r\n\r\n\x01\x02\x03\r\n\r\n"), 0, 499);
    assert_in_range(throw_text(orderd, "POST\r\n\r\n"), 0, 499);
    assert_in_range(throw_text(orderd, "POST /orders HTTP/9.9\r\n\r\n"), 0, 505);
    assert_in_range(
        throw_text(orderd, "GET /orders/%00%ff?customer_id=%zz HTTP/1.1\r\nHost: a\r\n\r\n"), 0,
        499);
    assert_int_equal(
        throw_text(orderd, "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), 400);
    assert_int_equal(throw_text(orderd, "POST /orders HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 400);
    assert_int_equal(place(orderd), 1);
}

static void test_http_when_header_is_too_large_then_431(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    enum { SIZE = 256 * 1024 };
    char *text = malloc(SIZE);
    assert_non_null(text);
    int size = snprintf(text, SIZE, "GET /livez HTTP/1.1\r\nHost: a\r\nX: ");
    memset(text + size, 'x', SIZE - (size_t)size);
    unsigned status = throw_at(orderd, text, SIZE);
    assert_true(status == 431 || status == 0 || status == 400 || status == 413);
    size = snprintf(text, SIZE, "GET /");
    memset(text + size, 'y', SIZE - (size_t)size);
    status = throw_at(orderd, text, SIZE);
    assert_true(status == 414 || status == 431 || status == 0);
    free(text);
    assert_int_equal(place(orderd), 1);
}

static void test_http_when_body_is_too_large_then_413(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    enum { SIZE = 80 * 1024 };
    char *text = malloc(SIZE);
    assert_non_null(text);
    int size =
        snprintf(text, SIZE, "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n");
    memset(text + size, ' ', 70000);
    assert_int_equal(throw_at(orderd, text, (size_t)size + 70000), 413);
    /* One that promises more than it ever sends. */
    int fd = client_open(orderd->port);
    assert_true(client_send_text(
        fd, "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n{"));
    (void)close(fd);
    free(text);
    assert_int_equal(place(orderd), 1);
}

static void test_http_when_chunked_then_taken_or_refused_but_never_smuggled(void **state)
{
    struct orderd *orderd = *state;
    static struct reply reply;
    orderd_start(orderd);
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "10\r\n%.16s\r\n%zx\r\n%s\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
                   body, sizeof body - 1 - 16, body + 16);
    int fd = client_open(orderd->port);
    assert_true(client_send_text(fd, text));
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 201);
    assert_true(client_read(fd, false, &reply));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "ok\n");
    (void)close(fd);
    /* Chunks that are none, and a chunked body above the limit. */
    (void)throw_text(
        orderd,
        "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n");
    fd = client_open(orderd->port);
    assert_true(client_send_text(
        fd, "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    char chunk[1024 + 8];
    memcpy(chunk, "400\r\n", 5);
    memset(chunk + 5, ' ', 1024);
    memcpy(chunk + 5 + 1024, "\r\n", 2);
    for (int i = 0; i < 100 && client_send(fd, chunk, 5 + 1024 + 2); i++) {
    }
    if (client_send_text(fd, "0\r\n\r\n") && client_read(fd, false, &reply)) {
        assert_int_equal(reply.status, 413);
    }
    (void)close(fd);
    assert_int_equal(place(orderd), 2);
}

static void test_http_when_pipelined_then_answered_in_order(void **state)
{
    enum { REQUESTS = 20 };
    struct orderd *orderd = *state;
    static struct reply reply;
    orderd_start(orderd);
    char text[REQUESTS * 256];
    size_t size = 0;
    for (int i = 0; i < REQUESTS; i++) {
        size += (size_t)snprintf(
            text + size, sizeof text - size,
            "POST /orders?wait=1ms HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
            sizeof body - 1, body);
    }
    int fd = client_open(orderd->port);
    assert_true(client_send(fd, text, size));
    for (int i = 1; i <= REQUESTS; i++) {
        assert_true(client_read(fd, false, &reply));
        assert_int_equal(reply.status, 201);
        json_t *order = json_loads(reply.body, 0, NULL);
        assert_int_equal(number_of(order, "order_id"), i);
        json_decref(order);
    }
    (void)close(fd);
}

static void test_http_when_body_comes_slowly_then_taken_and_others_are_served(void **state)
{
    struct orderd *orderd = *state;
    static struct reply reply;
    orderd_start(orderd);
    char head[256];
    (void)snprintf(head, sizeof head,
                   "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                   sizeof body - 1);
    int slow = client_open(orderd->port);
    assert_true(client_send_text(slow, head));
    for (size_t i = 0; i < sizeof body - 1; i++) {
        assert_true(client_send(slow, body + i, 1));
        if (i % 16 == 0) {
            (void)place(orderd);
        }
    }
    assert_true(client_read(slow, false, &reply));
    assert_int_equal(reply.status, 201);
    (void)close(slow);
    /* Many who send half a request and go. */
    for (int i = 0; i < 100; i++) {
        int fd = client_open(orderd->port);
        assert_true(client_send(fd, head, 20 + (size_t)i % 40));
        (void)close(fd);
    }
    (void)place(orderd);
    orderd_stop(orderd);
}

/* Random damage to a sound request: whatever the answer, orderd lives, and saves only what is a
 * sound order. */
static void test_http_when_requests_are_damaged_then_orderd_lives(void **state)
{
    enum { ROUNDS = 600 };
    struct orderd *orderd = *state;
    orderd_start(orderd);
    char sound[512];
    int size = snprintf(sound, sizeof sound,
                        "POST /orders?wait=0 HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n"
                        "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                        sizeof body - 1, body);
    uint64_t seed = 7;
    for (int round = 0; round < ROUNDS; round++) {
        char text[512];
        memcpy(text, sound, (size_t)size);
        uint64_t count = 1 + saga_prng_below(&seed, 4);
        for (uint64_t i = 0; i < count; i++) {
            text[saga_prng_below(&seed, (uint64_t)size)] = (char)saga_prng_next(&seed);
        }
        int fd = client_open(orderd->port);
        (void)client_send(fd, text, (size_t)size);
        (void)client_readable(fd, 20);
        (void)close(fd);
        if (round % 100 == 0) {
            (void)place(orderd);
            assert_true(saga_test_running(&orderd->child));
        }
    }
    orderd_stop(orderd);
}

static void test_nng_when_messages_are_nonsense_then_answered_with_a_status(void **state)
{
    struct orderd *orderd = *state;
    orderd_start(orderd);
    uint64_t seed = 11;
    for (int round = 0; round < 200; round++) {
        uint8_t bytes[300];
        size_t size = (size_t)saga_prng_below(&seed, sizeof bytes);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)saga_prng_next(&seed);
        }
        struct saga_buf reply = {0};
        struct saga_err_detail detail;
        assert_int_equal(saga_rpc_client_call(orderd->client,
                                              (struct saga_bytes){.data = bytes, .size = size},
                                              DEADLINE_MS, &reply, &detail),
                         SAGA_ERR_OK);
        assert_true(reply.size > 0);
        saga_buf_fini(&reply);
    }
    assert_int_equal(place(orderd), 1);
    orderd_stop(orderd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, orderd_setup, orderd_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_http_when_bytes_are_nonsense_then_refused),
        TEST(test_http_when_header_is_too_large_then_431),
        TEST(test_http_when_body_is_too_large_then_413),
        TEST(test_http_when_chunked_then_taken_or_refused_but_never_smuggled),
        TEST(test_http_when_pipelined_then_answered_in_order),
        TEST(test_http_when_body_comes_slowly_then_taken_and_others_are_served),
        TEST(test_http_when_requests_are_damaged_then_orderd_lives),
        TEST(test_nng_when_messages_are_nonsense_then_answered_with_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
