/* A message that no client of ours would send: beyond the hard limit, by a socket of its own.
 *
 * It speaks just enough of SP over TCP and ipc (docs/wire.md): the greeting, a length, bytes. */
#include "verify/certify/internal.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 3, CHUNK = 64 * 1024, GREETING_SIZE = 8 };

static int connect_ipc(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >=
        (int)sizeof address.sun_path) {
        return -1;
    }
    int made = socket(AF_UNIX, SOCK_STREAM, 0);
    if (made >= 0 && connect(made, (const struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(made);
        return -1;
    }
    return made;
}

static int connect_any(const struct addrinfo *list)
{
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        int made = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (made >= 0 && connect(made, at->ai_addr, at->ai_addrlen) == 0) {
            return made;
        }
        if (made >= 0) {
            (void)close(made);
        }
    }
    return -1;
}

/* HOST:PORT, [V6]:PORT. */
static int connect_tcp(const char *text)
{
    char host[SAGA_ADDRESS_SIZE_MAX + 1];
    const char *colon = strrchr(text, ':');
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);
    if (size == 0 || size >= sizeof host) {
        return -1;
    }
    bool bracketed = text[0] == '[' && text[size - 1] == ']' && size > 2;
    (void)snprintf(host, sizeof host, "%.*s", (int)(bracketed ? size - 2 : size),
                   bracketed ? text + 1 : text);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &list) != 0) {
        return -1;
    }
    int made = connect_any(list);
    freeaddrinfo(list);
    return made;
}

static bool send_all(int to, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(to, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false; /* it hung up, as it may */
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool greet(int to)
{
    static const uint8_t req[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    uint8_t theirs[GREETING_SIZE];
    return send_all(to, req, sizeof req) &&
           recv(to, theirs, sizeof theirs, MSG_WAITALL) == (ssize_t)sizeof theirs;
}

/* A length and as many bytes, of which the first four are a request's id. */
static void pour(int to, bool ipc, uint64_t size)
{
    static const uint8_t chunk[CHUNK] = {0x80, 0, 0, 1};
    uint8_t head[9] = {1};
    size_t at = ipc ? 1 : 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        head[at++] = (uint8_t)(size >> shift);
    }
    bool good = send_all(to, head, at);
    for (uint64_t left = size; good && left > 0;) {
        size_t part = left < CHUNK ? (size_t)left : CHUNK;
        good = send_all(to, chunk, part);
        left -= part;
    }
}

bool certify_flood(const char *address, uint64_t size)
{
    bool ipc = strncmp(address, "ipc://", 6) == 0;
    bool tcp = strncmp(address, "tcp://", 6) == 0;
    int to = ipc ? connect_ipc(address + 6) : tcp ? connect_tcp(address + 6) : -1;
    if (to < 0) {
        return false;
    }
    struct timeval patience = {.tv_sec = PATIENCE_S};
    (void)setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    (void)setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    bool greeted = greet(to);
    if (greeted) {
        pour(to, ipc, size);
    }
    (void)close(to);
    return greeted;
}
