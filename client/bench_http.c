/* The least of an HTTP/1.1 client. See bench_http.h. */
#include "client/bench_http.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Reads the head: status line, Content-Length, Connection. */
static enum saga_err read_head(struct saga_bench_answer *answer)
{
    bool has_length = false;
    char *status_end = NULL;
    if (strncmp(answer->data, "HTTP/1.", 7) != 0 || answer->data[8] != ' ') {
        return SAGA_ERR_MALFORMED;
    }
    answer->status = (unsigned)strtoul(answer->data + 9, &status_end, 10);
    if (status_end != answer->data + 12 || answer->status < 100) {
        return SAGA_ERR_MALFORMED;
    }
    char *line = strstr(answer->data, "\r\n") + 2;
    for (; strncmp(line, "\r\n", 2) != 0; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, "Content-Length:", 15) == 0) {
            char *end = NULL;
            unsigned long long size = strtoull(line + 15, &end, 10);
            if (end == line + 15 || size >= SAGA_BENCH_BUFFER_SIZE) {
                return SAGA_ERR_LIMIT;
            }
            answer->body_size = (size_t)size;
            has_length = true;
        } else if (strncasecmp(line, "Connection: close", 17) == 0) {
            answer->close = true;
        }
    }
    return has_length || answer->status == 204 ? SAGA_ERR_OK : SAGA_ERR_MALFORMED;
}

enum saga_err saga_bench_answer_look(struct saga_bench_answer *answer, bool *whole)
{
    *whole = false;
    if (answer->head_size == 0) {
        answer->data[answer->size] = 0;
        const char *end = strstr(answer->data, "\r\n\r\n");
        if (end == NULL) {
            return answer->size + 1 >= sizeof answer->data ? SAGA_ERR_LIMIT : SAGA_ERR_OK;
        }
        enum saga_err err = read_head(answer);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        answer->head_size = (size_t)(end - answer->data) + 4;
        if (answer->head_size + answer->body_size >= sizeof answer->data) {
            return SAGA_ERR_LIMIT;
        }
    }
    size_t total = answer->head_size + answer->body_size;
    if (answer->size > total) {
        return SAGA_ERR_MALFORMED; /* nobody asked for more */
    }
    *whole = answer->size == total;
    return SAGA_ERR_OK;
}

struct saga_bytes saga_bench_answer_body(const struct saga_bench_answer *answer)
{
    return (struct saga_bytes){(const uint8_t *)answer->data + answer->head_size,
                               answer->body_size};
}

enum saga_err saga_bench_target_find(const char *url, struct saga_bench_target *target,
                                     struct saga_err_detail *detail)
{
    char host[256];
    const char *begin = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    size_t size = strcspn(begin, "/");
    if (size >= sizeof host) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: the address is too long", url);
    }
    memcpy(host, begin, size);
    host[size] = 0;
    snprintf(target->host, sizeof target->host, "%s", host);
    char *colon = strrchr(host, ':');
    if (colon == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: it must be http://HOST:PORT", url);
    }
    *colon = 0;
    char *name = host;
    if (name[0] == '[' && colon > name + 1 && colon[-1] == ']') {
        colon[-1] = 0; /* [::1] */
        name++;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(name, colon + 1, &hints, &found);
    if (failed != 0) {
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "%s: %s", url, gai_strerror(failed));
    }
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return SAGA_ERR_OK;
}

int saga_bench_connect(const struct saga_bench_target *target)
{
    int one = 1;
    int fd = socket(target->address.ss_family, SOCK_STREAM, 0);
    if (fd < 0) {
        return -1;
    }
    bool set = fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
               setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0;
    if (!set ||
        (connect(fd, (const struct sockaddr *)&target->address, target->address_size) != 0 &&
         errno != EINPROGRESS)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}
