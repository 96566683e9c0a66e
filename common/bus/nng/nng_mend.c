#include "common/bus/nng/nng_mend.h"

#include <dlfcn.h>
#include <errno.h>
#include <nng/nng.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/base/assert.h"

typedef ssize_t sendmsg_function(int, const struct msghdr *, int);
typedef void stream_function(nng_stream *, nng_aio *);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sendmsg_function *original_sendmsg;
static stream_function *original_send;
static stream_function *original_recv;
static bool discards; /* this nng refuses without a callback */

static void *find(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    SAGA_ASSERT(symbol != NULL);
    return symbol;
}

static void find_all(void)
{
    void *send_message = find("sendmsg");
    void *send = find("nng_stream_send");
    void *recv = find("nng_stream_recv");
    _Static_assert(sizeof(void *) == sizeof(stream_function *), "POSIX: a function fits a pointer");
    memcpy(&original_sendmsg, &send_message, sizeof(send_message));
    memcpy(&original_send, &send, sizeof(send));
    memcpy(&original_recv, &recv, sizeof(recv));
    discards = strcmp(nng_version(), "1.5.2") == 0;
}

void saga_nng_mend(void)
{
    (void)pthread_once(&once, find_all);
}

static bool is_unix_socket(int fd)
{
    int domain = 0;
    socklen_t size = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    saga_nng_mend();
    ssize_t count = original_sendmsg(fd, message, flags);
    if (count < 0 && errno == EPIPE) {
        errno = is_unix_socket(fd) ? ECONNRESET : EPIPE;
    }
    return count;
}

/* The transports call with their pipe's lock held, and their callbacks take it: so the result is
 * still that of this call. Only a refusal leaves NNG_ECANCELED: an operation under way is ended by
 * closing its pipe, with NNG_ECLOSED, before anything cancels it. */
static void call_back_if_refused(nng_aio *aio)
{
    if (discards && nng_aio_result(aio) == NNG_ECANCELED) {
        nng_aio_finish(aio, NNG_ECLOSED);
    }
}

void nng_stream_send(nng_stream *stream, nng_aio *aio)
{
    saga_nng_mend();
    original_send(stream, aio);
    call_back_if_refused(aio);
}

void nng_stream_recv(nng_stream *stream, nng_aio *aio)
{
    saga_nng_mend();
    original_recv(stream, aio);
    call_back_if_refused(aio);
}
