#include "common/base/prng.h"

#include "common/base/assert.h"

uint64_t saga_prng_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t saga_prng_below(uint64_t *state, uint64_t bound)
{
    SAGA_ASSERT(bound > 0);
    return saga_prng_next(state) % bound;
}
