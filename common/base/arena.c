#include "common/base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

enum { BLOCK_SIZE = 64 * 1024 };

struct saga_arena_block {
    struct saga_arena_block *next;
    size_t capacity;
    alignas(max_align_t) unsigned char data[];
};

void *saga_arena_take(struct saga_arena *arena, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size = (size + align - 1) / align * align;
    if (arena->blocks == NULL || arena->blocks->capacity - arena->used < size) {
        size_t capacity = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        struct saga_arena_block *block = malloc(sizeof *block + capacity);
        if (block == NULL) {
            return NULL;
        }
        block->next = arena->blocks;
        block->capacity = capacity;
        arena->blocks = block;
        arena->used = 0;
        arena->total += capacity;
    }
    void *memory = arena->blocks->data + arena->used;
    arena->used += size;
    return memory;
}

void saga_arena_clear(struct saga_arena *arena)
{
    struct saga_arena_block *kept = NULL;
    while (arena->blocks != NULL) {
        struct saga_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        if (kept == NULL && block->capacity == BLOCK_SIZE) {
            kept = block;
        } else {
            free(block);
        }
    }
    if (kept != NULL) {
        kept->next = NULL;
    }
    arena->blocks = kept;
    arena->used = 0;
    arena->total = kept == NULL ? 0 : kept->capacity;
}

void saga_arena_fini(struct saga_arena *arena)
{
    while (arena->blocks != NULL) {
        struct saga_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    *arena = (struct saga_arena){0};
}
