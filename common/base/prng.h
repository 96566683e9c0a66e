/* A small deterministic generator (splitmix64, public domain by S. Vigna): jitter, simulation. Not
 * for secrets. */
#ifndef SAGA_BASE_PRNG_H
#define SAGA_BASE_PRNG_H

#include <stdint.h>

/* Advances *state and gives 64 bits. */
uint64_t saga_prng_next(uint64_t *state);

/* Gives a number from 0 to bound - 1. Pre: bound > 0. */
uint64_t saga_prng_below(uint64_t *state, uint64_t bound);

#endif
