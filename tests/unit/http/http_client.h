/* A client that sends exactly the bytes that a test wants to send. */
#ifndef SAGA_TESTS_UNIT_HTTP_CLIENT_H
#define SAGA_TESTS_UNIT_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLIENT_HEAD_MAX = 8192, CLIENT_BODY_MAX = 64 * 1024, CLIENT_DEADLINE_MS = 10000 };

struct reply {
    unsigned status;
    char head[CLIENT_HEAD_MAX]; /* status line and headers */
    char body[CLIENT_BODY_MAX]; /* ended by a zero */
    size_t body_size;
};

/* Connects to 127.0.0.1. */
int client_open(uint16_t port);

/* Sends all bytes; false when the server closed before. */
bool client_send(int fd, const void *data, size_t size);
bool client_send_text(int fd, const char *text);

/* Reads one reply, without a body when it answers a HEAD. False: the connection was closed before.
 */
bool client_read(int fd, bool head_only, struct reply *reply);

/* Waits until the server closes; what comes before is read and forgotten. False: not within
 * deadline_ms. */
bool client_closed(int fd, int deadline_ms);

/* Tells whether something can be read within deadline_ms. */
bool client_readable(int fd, int deadline_ms);

/* Sends a request on a connection of its own and reads the reply. */
void client_ask(uint16_t port, const char *text, struct reply *reply);

/* Finds a header's value in the reply's head, in any case; NULL: not there. The result lives until
 * the next call of the thread.
 */
const char *client_header(const struct reply *reply, const char *name);

#endif
