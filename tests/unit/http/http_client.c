#include "tests/unit/http/http_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

int client_open(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

bool client_send(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

bool client_send_text(int fd, const char *text)
{
    return client_send(fd, text, strlen(text));
}

bool client_readable(int fd, int deadline_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, deadline_ms) == 1;
}

/* Reads up to size bytes; 0: closed. */
static size_t read_some(int fd, char *data, size_t size)
{
    assert_true(client_readable(fd, CLIENT_DEADLINE_MS));
    ssize_t got = recv(fd, data, size, 0);
    return got > 0 ? (size_t)got : 0;
}

const char *client_header(const struct reply *reply, const char *name)
{
    static _Thread_local char value[512];
    size_t size = strlen(name);
    for (const char *line = strchr(reply->head, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, size) == 0 && line[size] == ':') {
            line += size + 1;
            line += strspn(line, " ");
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r\n"), line);
            return value;
        }
    }
    return NULL;
}

bool client_read(int fd, bool head_only, struct reply *reply)
{
    memset(reply, 0, sizeof *reply);
    size_t size = 0;
    while (strstr(reply->head, "\r\n\r\n") == NULL) {
        assert_true(size + 1 < sizeof reply->head);
        if (read_some(fd, reply->head + size, 1) == 0) {
            return false;
        }
        size++;
    }
    assert_int_equal(sscanf(reply->head, "HTTP/1.1 %u", &reply->status), 1);
    const char *length = client_header(reply, "Content-Length");
    size_t expected = head_only || length == NULL ? 0 : strtoul(length, NULL, 10);
    assert_true(expected < sizeof reply->body);
    while (reply->body_size < expected) {
        size_t got = read_some(fd, reply->body + reply->body_size, expected - reply->body_size);
        if (got == 0) {
            return false;
        }
        reply->body_size += got;
    }
    return true;
}

bool client_closed(int fd, int deadline_ms)
{
    char rest[1024];
    while (client_readable(fd, deadline_ms)) {
        if (recv(fd, rest, sizeof rest, 0) <= 0) {
            return true;
        }
    }
    return false;
}

void client_ask(uint16_t port, const char *text, struct reply *reply)
{
    int fd = client_open(port);
    assert_true(client_send_text(fd, text));
    assert_true(client_read(fd, strncmp(text, "HEAD ", 5) == 0, reply));
    (void)close(fd);
}
