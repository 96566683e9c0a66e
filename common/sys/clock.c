#include "common/sys/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "common/base/assert.h"

int64_t saga_clock_unix_ms(void)
{
    struct timespec now;
    SAGA_ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t saga_clock_mono_us(void)
{
    struct timespec now;
    SAGA_ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void saga_random_fill(void *memory, size_t size)
{
    unsigned char *at = memory;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        SAGA_ASSERT(got > 0);
        at += got;
        size -= (size_t)got;
    }
}
