#include "common/bus/nng/epipe.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/base/assert.h"

typedef ssize_t send_function(int, const struct msghdr *, int);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static send_function *system_sendmsg;

static void find_system_sendmsg(void)
{
    void *symbol = dlsym(RTLD_NEXT, "sendmsg");
    SAGA_ASSERT(symbol != NULL);
    _Static_assert(sizeof(symbol) == sizeof(system_sendmsg), "POSIX: a function fits a pointer");
    memcpy(&system_sendmsg, &symbol, sizeof(symbol));
}

void saga_epipe_arm(void)
{
    (void)pthread_once(&once, find_system_sendmsg);
}

static bool is_unix_socket(int fd)
{
    int domain = 0;
    socklen_t size = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    saga_epipe_arm();
    ssize_t count = system_sendmsg(fd, message, flags);
    if (count < 0 && errno == EPIPE) {
        errno = is_unix_socket(fd) ? ECONNRESET : EPIPE;
    }
    return count;
}
