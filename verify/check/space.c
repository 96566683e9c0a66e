/* The states that are known: shards by hash, each with its own table, so that threads put without
 * locks. A state keeps the one that it was first reached from. */
#include <stdlib.h>
#include <string.h>

#include "verify/check/internal.h"

enum { SLOTS_FIRST = 1024 };

enum saga_err space_init(struct space *space, const struct check *check)
{
    memset(space, 0, sizeof *space);
    space->check = check;
    space->stride = check->key_words + 2;
    space->memory_max = check->config.memory_max;
    atomic_init(&space->memory, 0);
    for (uint32_t i = 0; i < SPACE_SHARDS; i++) {
        size_t size = SLOTS_FIRST * sizeof *space->shards[i].slots;
        space->shards[i].slots = space_take(space, size) ? calloc(1, size) : NULL;
        if (space->shards[i].slots == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        space->shards[i].slot_count = SLOTS_FIRST;
    }
    return SAGA_ERR_OK;
}

void space_fini(struct space *space)
{
    for (uint32_t i = 0; i < SPACE_SHARDS; i++) {
        struct shard *shard = &space->shards[i];
        for (uint32_t k = 0; k < shard->block_count; k++) {
            free(shard->blocks[k]);
        }
        free(shard->blocks);
        free(shard->slots);
    }
    memset(space, 0, sizeof *space);
}

uint64_t space_hash(const struct check *check, const uint32_t *key)
{
    uint64_t hash = UINT64_C(0x2545f4914f6cdd1d);
    for (uint32_t i = 0; i < check->key_words; i++) {
        hash = (hash ^ key[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    hash *= UINT64_C(0xbf58476d1ce4e5b9);
    return hash ^ hash >> 32;
}

bool space_take(struct space *space, size_t size)
{
    if (atomic_fetch_add(&space->memory, size) + size > space->memory_max) {
        (void)atomic_fetch_sub(&space->memory, size);
        return false;
    }
    return true;
}

void space_give(struct space *space, size_t size)
{
    (void)atomic_fetch_sub(&space->memory, size);
}

static const uint32_t *shard_state(const struct space *space, const struct shard *shard,
                                   uint32_t index)
{
    return shard->blocks[index / SPACE_BLOCK] + (size_t)(index % SPACE_BLOCK) * space->stride;
}

/* The slot that holds the key, or the free one where it belongs. */
static uint32_t find_slot(const struct space *space, const struct shard *shard, uint64_t hash,
                          const uint32_t *key)
{
    size_t size = space->check->key_words * sizeof *key;
    uint32_t at = (uint32_t)hash & (shard->slot_count - 1);
    while (shard->slots[at] != 0 &&
           memcmp(shard_state(space, shard, shard->slots[at] - 1), key, size) != 0) {
        at = (at + 1) & (shard->slot_count - 1);
    }
    return at;
}

static uint32_t shard_of(uint64_t hash)
{
    return (uint32_t)(hash >> 58);
}

_Static_assert(SPACE_SHARDS == 64, "six bits of the hash name a shard");

uint32_t space_find(const struct space *space, uint64_t hash, const uint32_t *key)
{
    const struct shard *shard = &space->shards[shard_of(hash)];
    uint32_t slot = shard->slots[find_slot(space, shard, hash, key)];
    return slot == 0 ? (uint32_t)NO_STATE : space_id(shard_of(hash), slot - 1);
}

static enum saga_err grow_slots(struct space *space, struct shard *shard)
{
    if (shard->count + 1 <= shard->slot_count / 4 * 3) {
        return SAGA_ERR_OK;
    }
    if (!space_take(space, shard->slot_count * sizeof *shard->slots)) {
        return SAGA_ERR_NO_MEMORY;
    }
    struct shard grown = *shard;
    grown.slot_count *= 2;
    grown.slots = calloc(grown.slot_count, sizeof *grown.slots);
    if (grown.slots == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < shard->count; i++) {
        const uint32_t *state = shard_state(space, shard, i);
        grown.slots[find_slot(space, &grown, space_hash(space->check, state), state)] = i + 1;
    }
    free(shard->slots);
    shard->slots = grown.slots;
    shard->slot_count = grown.slot_count;
    return SAGA_ERR_OK;
}

static enum saga_err grow_blocks(struct space *space, struct shard *shard)
{
    if (shard->count < shard->block_count * SPACE_BLOCK) {
        return SAGA_ERR_OK;
    }
    if (shard->count > (NO_STATE - 1) / SPACE_SHARDS - SPACE_BLOCK) {
        return SAGA_ERR_NO_MEMORY; /* ids have 32 bits */
    }
    if (shard->block_count == shard->block_capacity) {
        uint32_t capacity = shard->block_capacity == 0 ? 16 : shard->block_capacity * 2;
        uint32_t **blocks = realloc(shard->blocks, capacity * sizeof *blocks);
        if (blocks == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        shard->blocks = blocks;
        shard->block_capacity = capacity;
    }
    size_t size = sizeof **shard->blocks * SPACE_BLOCK * space->stride;
    uint32_t *block = space_take(space, size) ? malloc(size) : NULL;
    if (block == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    shard->blocks[shard->block_count++] = block;
    return SAGA_ERR_OK;
}

enum saga_err space_put(struct space *space, uint64_t hash, const uint32_t *state, bool *fresh)
{
    struct shard *shard = &space->shards[shard_of(hash)];
    *fresh = false;
    enum saga_err err = grow_slots(space, shard);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint32_t slot = find_slot(space, shard, hash, state);
    if (shard->slots[slot] != 0) {
        return SAGA_ERR_OK;
    }
    err = grow_blocks(space, shard);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint32_t *place = shard->blocks[shard->count / SPACE_BLOCK] +
                      (size_t)(shard->count % SPACE_BLOCK) * space->stride;
    memcpy(place, state, space->stride * sizeof *state);
    shard->slots[slot] = ++shard->count;
    *fresh = true;
    return SAGA_ERR_OK;
}

const uint32_t *space_state(const struct space *space, uint32_t id)
{
    return shard_state(space, &space->shards[id % SPACE_SHARDS], id / SPACE_SHARDS);
}

uint32_t space_parent(const struct space *space, uint32_t id)
{
    return space_state(space, id)[space->check->key_words];
}

uint32_t space_ordinal(const struct space *space, uint32_t id)
{
    return space_state(space, id)[space->check->key_words + 1];
}

size_t space_memory(const struct space *space)
{
    return atomic_load(&space->memory);
}

uint64_t space_count(const struct space *space)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < SPACE_SHARDS; i++) {
        count += space->shards[i].count;
    }
    return count;
}
