/* Clocks and randomness of the operating system. Any thread. */
#ifndef SAGA_SYS_CLOCK_H
#define SAGA_SYS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Gives the time of day, milliseconds since 1970. */
int64_t saga_clock_unix_ms(void);

/* Gives a time that never goes back, in microseconds since some start. */
int64_t saga_clock_mono_us(void);

/* Fills memory with random bytes (getrandom); aborts when the system has none. */
void saga_random_fill(void *memory, size_t size);

#endif
