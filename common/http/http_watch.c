/* Connections that take too long: libmicrohttpd closes idle ones, but one byte a second keeps a
 * connection from being idle. */
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "common/base/assert.h"
#include "common/http/http_internal.h"
#include "common/sys/clock.h"

void saga_http_on_connection(void *context, struct MHD_Connection *connection, void **slot,
                             enum MHD_ConnectionNotificationCode what)
{
    struct saga_http *http = context;
    struct saga_http_peer *peer = *slot;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        peer = calloc(1, sizeof *peer);
        if (peer == NULL || info == NULL) {
            free(peer); /* not watched; its requests are refused */
            return;
        }
        peer->fd = info->connect_fd;
        peer->since_us = saga_clock_mono_us();
        saga_http_lock(http);
        peer->next = http->peers;
        if (peer->next != NULL) {
            peer->next->previous = peer;
        }
        http->peers = peer;
        saga_http_unlock(http);
        *slot = peer;
    } else if (peer != NULL) {
        saga_http_lock(http);
        if (peer->previous == NULL) {
            http->peers = peer->next;
        } else {
            peer->previous->next = peer->next;
        }
        if (peer->next != NULL) {
            peer->next->previous = peer->previous;
        }
        saga_http_unlock(http);
        free(peer);
        *slot = NULL;
    }
}

void *saga_http_watch(void *context)
{
    struct saga_http *http = context;
    saga_http_lock(http);
    while (!http->stopping) {
        struct timespec next;
        SAGA_ASSERT(clock_gettime(CLOCK_MONOTONIC, &next) == 0);
        next.tv_sec += 1;
        (void)pthread_cond_timedwait(&http->changed, &http->lock, &next);
        int64_t oldest_us = saga_clock_mono_us() - 2 * http->timeout_us;
        for (struct saga_http_peer *peer = http->peers; peer != NULL; peer = peer->next) {
            if (peer->since_us >= 0 && peer->since_us < oldest_us) {
                /* The HTTP thread then sees the end of the connection; it closes the socket only
                 * after taking the peer out of the list, under the lock. */
                (void)shutdown(peer->fd, SHUT_RDWR);
                peer->since_us = -1;
            }
        }
    }
    saga_http_unlock(http);
    return NULL;
}
