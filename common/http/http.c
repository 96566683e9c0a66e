/* Start and stop. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/http/http_internal.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

enum {
    BACKLOG = 1024,
    /* A connection's memory, in which libmicrohttpd keeps the request's line and headers, a table
     * of them, and the answer's headers. It is more than the limit on headers, so that what is just
     * above that limit is still answered by this room, in JSON; far above it, libmicrohttpd answers
     * by itself. */
    HEADER_SHARES = 3,
    RESPONSE_ROOM = 4096,
    STOP_WAIT_S = 2, /* for answers to reach their clients when the server stops */
};

void saga_http_lock(struct saga_http *http)
{
    SAGA_ASSERT(pthread_mutex_lock(&http->lock) == 0);
}

void saga_http_unlock(struct saga_http *http)
{
    SAGA_ASSERT(pthread_mutex_unlock(&http->lock) == 0);
}

/* libmicrohttpd's own words, about clients mostly. */
static void on_log(void *context, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void on_log(void *context, const char *format, va_list args)
{
    (void)context;
    char text[256];
    int size = vsnprintf(text, sizeof text, format, args);
    if (size > 0) {
        text[strcspn(text, "\n")] = '\0';
        saga_log(SAGA_LOG_DEBUG, "http", "msg=\"%s\"", text);
    }
}

/* ---- The listening socket ---- */

static int open_socket(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    info->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int kept = errno;
        (void)close(fd);
        errno = kept;
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    SAGA_ASSERT(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, &address, sizeof six);
        return ntohs(six.sin6_port);
    }
    struct sockaddr_in four;
    memcpy(&four, &address, sizeof four);
    return ntohs(four.sin_port);
}

static enum saga_err listen_on(const struct saga_http_config *config, int *fd,
                               struct saga_err_detail *detail)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)config->port);
    int code = getaddrinfo(config->address, port, &hints, &found);
    if (code != 0) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "http: address \"%s\": %s", config->address,
                            gai_strerror(code));
    }
    int failed = EADDRNOTAVAIL;
    *fd = -1;
    for (const struct addrinfo *info = found; info != NULL && *fd < 0; info = info->ai_next) {
        *fd = open_socket(info);
        failed = errno;
    }
    freeaddrinfo(found);
    if (*fd < 0) {
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "http: %s:%u: %s", config->address,
                            (unsigned)config->port, strerror(failed));
    }
    return SAGA_ERR_OK;
}

/* ---- Start ---- */

static struct saga_http *http_new(const struct saga_http_config *config)
{
    struct saga_http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        return NULL;
    }
    http->routes = calloc(config->route_count + 1, sizeof *http->routes);
    http->token = config->token == NULL ? NULL : strdup(config->token);
    if (http->routes == NULL || (config->token != NULL && http->token == NULL)) {
        goto fail;
    }
    for (size_t i = 0; i < config->route_count; i++) {
        http->routes[i] = config->routes[i];
    }
    http->route_count = config->route_count;
    http->context = config->context;
    http->body_size_max = config->body_size_max;
    http->header_size_max = config->header_size_max;
    http->timeout_us = (int64_t)config->timeout_s * 1000000;
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&http->lock, NULL) != 0) {
        goto fail;
    }
    SAGA_ASSERT(pthread_condattr_init(&attributes) == 0);
    SAGA_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    SAGA_ASSERT(pthread_cond_init(&http->changed, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes);
    return http;
fail:
    free(http->token);
    free(http->routes);
    free(http);
    return NULL;
}

void saga_http_free(struct saga_http *http)
{
    SAGA_ASSERT(http->request_count == 0);
    SAGA_ASSERT(http->kept == NULL && http->peers == NULL);
    (void)pthread_cond_destroy(&http->changed);
    (void)pthread_mutex_destroy(&http->lock);
    if (http->token != NULL) {
        memset(http->token, 0, strlen(http->token));
    }
    free(http->token);
    free(http->routes);
    free(http);
}

static struct MHD_Daemon *daemon_start(struct saga_http *http,
                                       const struct saga_http_config *config, int fd)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    return MHD_start_daemon(flags, 0, NULL, NULL, saga_http_on_access, http, /* */
                            MHD_OPTION_EXTERNAL_LOGGER, on_log,
                            NULL, /* first, so that it hears of the others */
                            MHD_OPTION_LISTEN_SOCKET, fd,                                /* */
                            MHD_OPTION_NOTIFY_COMPLETED, saga_http_on_over, http,        /* */
                            MHD_OPTION_NOTIFY_CONNECTION, saga_http_on_connection, http, /* */
                            MHD_OPTION_CONNECTION_LIMIT, config->connections_max,        /* */
                            MHD_OPTION_CONNECTION_TIMEOUT, config->timeout_s,            /* */
                            MHD_OPTION_URI_LOG_CALLBACK, saga_http_on_uri, http,         /* */
                            MHD_OPTION_UNESCAPE_CALLBACK, saga_http_on_unescape, http,   /* */
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            config->header_size_max * HEADER_SHARES + RESPONSE_ROOM, /* */
                            MHD_OPTION_STRICT_FOR_CLIENT, 1,                         /* */
                            MHD_OPTION_END);
}

enum saga_err saga_http_start(const struct saga_http_config *config, struct saga_http **out,
                              struct saga_err_detail *detail)
{
    SAGA_ASSERT(config->timeout_s > 0 && config->connections_max > 0);
    SAGA_ASSERT(config->header_size_max >= 1024 && config->body_size_max > 0);
    struct saga_http *http = http_new(config);
    if (http == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "http: out of memory");
    }
    int fd = -1;
    enum saga_err err = listen_on(config, &fd, detail);
    if (err != SAGA_ERR_OK) {
        goto fail_free;
    }
    http->port = port_of(fd);
    /* Signals are for the program's main thread: the threads started here take none. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    SAGA_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    bool watched = pthread_create(&http->watch, NULL, saga_http_watch, http) == 0;
    if (watched) {
        http->daemon = daemon_start(http, config, fd);
    }
    SAGA_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (http->daemon == NULL) {
        err = saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "http: cannot start the server");
        goto fail_close;
    }
    *out = http;
    return SAGA_ERR_OK;
fail_close:
    if (watched) {
        saga_http_lock(http);
        http->stopping = true;
        SAGA_ASSERT(pthread_cond_broadcast(&http->changed) == 0);
        saga_http_unlock(http);
        SAGA_ASSERT(pthread_join(http->watch, NULL) == 0);
    }
    (void)close(fd);
fail_free:
    saga_http_free(http);
    return err;
}

uint16_t saga_http_port(const struct saga_http *http)
{
    return http->port;
}

/* ---- Stop ---- */

/* Waits for the answers to be sent, but for a slow client not for ever. */
static void wait_for_answers(struct saga_http *http)
{
    struct timespec until;
    SAGA_ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += STOP_WAIT_S;
    saga_http_lock(http);
    int failed = 0;
    while (http->unsent_count > 0 && failed == 0) {
        failed = pthread_cond_timedwait(&http->changed, &http->lock, &until);
    }
    /* Stopping libmicrohttpd with a suspended connection is undefined. From here on none is
     * suspended again. */
    while (http->resuming_count > 0 || http->kept != NULL) {
        SAGA_ASSERT(pthread_cond_wait(&http->changed, &http->lock) == 0);
    }
    saga_http_unlock(http);
}

void saga_http_stop(struct saga_http *http)
{
    if (http == NULL) {
        return;
    }
    saga_http_lock(http);
    SAGA_ASSERT(!http->stopping);
    http->stopping = true;
    SAGA_ASSERT(pthread_cond_broadcast(&http->changed) == 0);
    saga_http_unlock(http);
    SAGA_ASSERT(pthread_join(http->watch, NULL) == 0);
    int fd = MHD_quiesce_daemon(http->daemon);
    saga_http_answer_all_kept(http);
    wait_for_answers(http);
    MHD_stop_daemon(http->daemon);
    if (fd >= 0) {
        (void)close(fd);
    }
    saga_http_lock(http);
    SAGA_ASSERT(http->unsent_count == 0);
    http->daemon = NULL;
    http->stopped = true;
    bool last = http->request_count == 0;
    saga_http_unlock(http);
    if (last) {
        saga_http_free(http);
    }
}
