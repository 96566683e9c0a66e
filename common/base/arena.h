/* Arena: memory for one batch, freed at once. Not for threads. */
#ifndef SAGA_BASE_ARENA_H
#define SAGA_BASE_ARENA_H

#include <stddef.h>

struct saga_arena_block;

/* All zero is an empty arena. */
struct saga_arena {
    struct saga_arena_block *blocks; /* newest first */
    size_t used;                     /* bytes used of the newest block */
    size_t total;                    /* bytes of all blocks */
};

/* Gives memory, aligned for any type, not cleared; it lives until clear or fini. NULL: no memory.
 */
void *saga_arena_take(struct saga_arena *arena, size_t size);

/* Frees all but one block; memory taken before is invalid. */
void saga_arena_clear(struct saga_arena *arena);

/* Frees all memory. */
void saga_arena_fini(struct saga_arena *arena);

#endif
