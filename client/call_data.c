/* JSON values one after the other. See call_data.h. */
#include "client/call_data.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/limits.h"
#include "common/base/status.h"
#include "common/sys/clock.h"

enum { CHUNK = 64 * 1024 };

int saga_call_data_open(const char *given, struct saga_call_data *data)
{
    *data = (struct saga_call_data){.name = "the data", .fd = -1, .line = 1};
    if (given[0] != '@') {
        data->ended = true;
        return saga_buf_append(&data->buf, saga_bytes_text(given)) == SAGA_ERR_OK
                   ? SAGA_EXIT_OK
                   : saga_client_fail("out of memory");
    }
    if (given[1] == 0 || strcmp(given, "@-") == 0) {
        data->name = "stdin";
        data->fd = STDIN_FILENO;
        return SAGA_EXIT_OK;
    }
    data->name = given + 1;
    data->fd = open(data->name, O_RDONLY | O_CLOEXEC);
    return data->fd >= 0 ? SAGA_EXIT_OK : saga_client_fail("%s: %s", data->name, strerror(errno));
}

void saga_call_data_close(struct saga_call_data *data)
{
    if (data->fd > STDIN_FILENO) {
        (void)close(data->fd);
    }
    saga_buf_fini(&data->buf);
}

bool saga_call_data_ready(const struct saga_call_data *data)
{
    struct pollfd look = {.fd = data->fd, .events = POLLIN};
    for (size_t i = data->at; i < data->buf.size; i++) {
        if (memchr(" \t\r\n", data->buf.data[i], 4) == NULL) {
            return true; /* or the beginning of one: whoever wrote it goes on */
        }
    }
    return data->ended || poll(&look, 1, 0) != 0;
}

/* Waits until there is something to read, or the time is over. Exit status. */
static int wait_more(const struct saga_call_data *data)
{
    while (data->end_us != 0) {
        struct pollfd look = {.fd = data->fd, .events = POLLIN};
        int64_t left_us = data->end_us - saga_clock_mono_us();
        if (left_us <= 0) {
            saga_client_warn("%s: nothing more came in the time given", data->name);
            return SAGA_EXIT_STATUS + SAGA_CODE_DEADLINE_EXCEEDED;
        }
        if (poll(&look, 1, (int)(left_us / 1000) + 1) > 0) {
            break;
        }
    }
    return SAGA_EXIT_OK;
}

/* Reads some more behind what there is. */
static int read_more(struct saga_call_data *data)
{
    if (data->at > 0) { /* what was taken makes room */
        memmove(data->buf.data, data->buf.data + data->at, data->buf.size - data->at);
        data->buf.size -= data->at;
        data->at = 0;
    }
    if (saga_buf_reserve(&data->buf, CHUNK) != SAGA_ERR_OK) {
        return saga_client_fail("out of memory");
    }
    int status = wait_more(data);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    ssize_t size = 0;
    do {
        size = read(data->fd, data->buf.data + data->buf.size, CHUNK);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return saga_client_fail("%s: %s", data->name, strerror(errno));
    }
    data->ended = size == 0;
    data->buf.size += (size_t)size;
    return SAGA_EXIT_OK;
}

/* Where we are in a value: brackets are counted and strings passed over. */
struct scan {
    size_t at;
    size_t depth;
    bool in_string;
    bool escaped;
    bool begun;
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Goes on to the end of the value; true: it is behind scan->at. What is neither a string nor in
 * brackets (a number, true) ends before a blank or the beginning of another value. */
static bool scan_on(const struct saga_call_data *data, struct scan *scan)
{
    for (; scan->at < data->buf.size; scan->at++) {
        uint8_t byte = data->buf.data[scan->at];
        if (scan->in_string) {
            scan->in_string = scan->escaped || byte != '"';
            scan->escaped = !scan->escaped && byte == '\\';
            if (!scan->in_string && scan->depth == 0) {
                scan->at++;
                return true;
            }
            continue;
        }
        bool opens = byte == '{' || byte == '[';
        bool bare = scan->begun && scan->depth == 0;
        if (bare && (is_blank(byte) || opens || byte == '"')) {
            return true;
        }
        scan->begun = true;
        scan->in_string = byte == '"';
        scan->depth += opens;
        if ((byte == '}' || byte == ']') && scan->depth > 0) {
            scan->depth--;
            if (scan->depth == 0) {
                scan->at++;
                return true;
            }
        }
    }
    /* The end ends what is bare. */
    return data->ended && scan->begun && scan->depth == 0 && !scan->in_string;
}

static void count_lines(struct saga_call_data *data, size_t end)
{
    for (; data->at < end; data->at++) {
        data->line += data->buf.data[data->at] == '\n';
    }
}

/* Passes over blanks, reading on; *there is false at the end. */
static int skip_blanks(struct saga_call_data *data, bool *there)
{
    for (;;) {
        size_t end = data->at;
        while (end < data->buf.size && is_blank(data->buf.data[end])) {
            end++;
        }
        count_lines(data, end);
        *there = end < data->buf.size;
        if (*there || data->ended) {
            return SAGA_EXIT_OK;
        }
        int status = read_more(data);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
    }
}

int saga_call_data_next(struct saga_call_data *data, struct saga_bytes *value, bool *there)
{
    int status = skip_blanks(data, there);
    if (status != SAGA_EXIT_OK || !*there) {
        return status;
    }
    data->value_line = data->line;
    struct scan scan = {.at = data->at};
    while (!scan_on(data, &scan)) {
        if (scan.at - data->at > SAGA_MESSAGE_SIZE_HARD) {
            return saga_client_fail("%s, line %zu: a value of more than %d bytes", data->name,
                                    data->value_line, SAGA_MESSAGE_SIZE_HARD);
        }
        if (data->ended) {
            return saga_client_usage("%s, line %zu: the value that begins here does not end",
                                     data->name, data->value_line);
        }
        scan.at -= data->at; /* reading moves what is there to the front */
        status = read_more(data);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
    }
    size_t begin = data->at;
    count_lines(data, scan.at);
    *value = (struct saga_bytes){data->buf.data + begin, scan.at - begin};
    return SAGA_EXIT_OK;
}
