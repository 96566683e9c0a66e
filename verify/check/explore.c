/* Breadth first, batch by batch: all threads expand states and drop what is known; then all threads
 * put what is new, each into shards of its own. What a state's number and its parent are depends on
 * the order of states alone, so it is the same for any number of threads. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "verify/check/internal.h"

enum { CHUNK_STATES = 64, BATCH_CHUNKS = 128 };

/* What was found from a few states: rows of hash (two words) and state. */
struct chunk {
    uint64_t first, end; /* positions in the frontier */
    uint32_t *rows;
    size_t count, capacity; /* of rows */
    uint64_t transitions;
    struct finding finding;
    enum saga_check_width wide;
    uint32_t wide_count;
    bool inexact;
    bool full; /* memory is used up */
    enum saga_err err;
};

struct worker {
    struct batch *batch;
    struct world base;
    struct trial trial;
    struct event_list list;
    struct chunk *chunk; /* being expanded */
    uint64_t position;
    uint32_t state;
    uint32_t ordinal;
};

struct batch {
    struct exploration *exploration;
    uint64_t prefix[SPACE_SHARDS + 1]; /* of the frontier: states before each shard's */
    struct chunk chunks[BATCH_CHUNKS];
    uint32_t chunk_count;
    atomic_uint next;
    struct worker *workers;
    void (*phase)(struct worker *worker);
};

/* ---- expanding ---- */

static enum saga_err put_row(struct space *space, struct chunk *chunk, uint64_t hash,
                             const struct worker *worker, const uint32_t *key)
{
    size_t width = space->stride + 2;
    if (chunk->count == chunk->capacity) {
        size_t capacity = chunk->capacity == 0 ? 256 : chunk->capacity * 2;
        if (!space_take(space, (capacity - chunk->capacity) * width * sizeof *chunk->rows)) {
            chunk->full = true;
            return SAGA_ERR_OK;
        }
        uint32_t *rows = realloc(chunk->rows, capacity * width * sizeof *rows);
        if (rows == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        chunk->rows = rows;
        chunk->capacity = capacity;
    }
    uint32_t *row = chunk->rows + chunk->count++ * width;
    row[0] = (uint32_t)hash;
    row[1] = (uint32_t)(hash >> 32);
    memcpy(row + 2, key, space->check->key_words * sizeof *key);
    row[2 + space->check->key_words] = worker->state;
    row[3 + space->check->key_words] = worker->ordinal;
    return SAGA_ERR_OK;
}

static void find(struct worker *worker, const char *wrong)
{
    worker->chunk->finding = (struct finding){.wrong = wrong,
                                              .state = worker->state,
                                              .ordinal = worker->ordinal,
                                              .position = worker->position};
}

/* Tries one event. */
static void try_event(struct worker *worker)
{
    struct exploration *exploration = worker->batch->exploration;
    const struct check *check = exploration->check;
    struct trial *trial = &worker->trial;
    struct chunk *chunk = worker->chunk;
    uint32_t key[KEY_WORDS_MAX];
    trial->ev = worker->list.events[worker->ordinal];
    world_copy(check, &trial->from, &worker->base);
    set_times(check, &trial->from, &trial->ev, LATER_MS);
    make_transition(check, trial);
    chunk->transitions++;
    const char *wrong = judge(check, trial);
    if (wrong != NULL) {
        find(worker, wrong);
        return;
    }
    world_pack(check, &trial->to, key);
    if (!twin_agrees(check, trial, key)) {
        chunk->inexact = true;
        find(worker, "the engine decides by something that is not part of a state (check.h)");
        return;
    }
    world_order(check, key);
    uint64_t hash = space_hash(check, key);
    if (space_find(&exploration->space, hash, key) == NO_STATE) {
        chunk->err = put_row(&exploration->space, chunk, hash, worker, key);
    }
}

static bool chunk_ends(const struct chunk *chunk)
{
    return chunk->err != SAGA_ERR_OK || chunk->full || chunk->wide != SAGA_CHECK_WIDTH_NONE ||
           chunk->finding.wrong != NULL;
}

static void expand_chunk(void *arg)
{
    struct worker *worker = arg;
    struct batch *batch = worker->batch;
    const struct space *space = &batch->exploration->space;
    struct chunk *chunk = worker->chunk;
    uint32_t shard = 0;
    for (uint64_t at = chunk->first;
         at < chunk->end && !chunk_ends(chunk) && !is_stopped(space->check); at++) {
        while (at >= batch->prefix[shard + 1]) {
            shard++;
        }
        uint32_t index = space->shards[shard].level_first + (uint32_t)(at - batch->prefix[shard]);
        worker->state = space_id(shard, index);
        worker->position = at;
        world_unpack(space->check, space_state(space, worker->state), &worker->base);
        list_events(space->check, &worker->base, &worker->list);
        chunk->wide = worker->list.wide;
        chunk->wide_count = worker->list.wide_count;
        for (worker->ordinal = 0; worker->ordinal < worker->list.count && !chunk_ends(chunk);
             worker->ordinal++) {
            try_event(worker);
        }
    }
}

static void expand_phase(struct worker *worker)
{
    struct batch *batch = worker->batch;
    for (;;) {
        unsigned at = atomic_fetch_add(&batch->next, 1);
        if (at >= batch->chunk_count) {
            return;
        }
        worker->chunk = &batch->chunks[at];
        if (!guarded(expand_chunk, worker)) {
            find(worker, "an assertion of the engine failed (it is on the standard error)");
        }
    }
}

/* ---- putting ---- */

static void put_phase(struct worker *worker)
{
    struct batch *batch = worker->batch;
    struct space *space = &batch->exploration->space;
    size_t width = space->stride + 2;
    for (;;) {
        unsigned shard = atomic_fetch_add(&batch->next, 1);
        if (shard >= SPACE_SHARDS) {
            return;
        }
        for (uint32_t c = 0; c < batch->chunk_count; c++) {
            struct chunk *chunk = &batch->chunks[c];
            for (size_t i = 0; i < chunk->count; i++) {
                const uint32_t *row = chunk->rows + i * width;
                bool fresh = false;
                if (row[1] >> 26 == shard && space_put(space, (uint64_t)row[1] << 32 | row[0],
                                                       row + 2, &fresh) != SAGA_ERR_OK) {
                    space->shards[shard].failed = true;
                    return;
                }
            }
        }
    }
}

static void work(void *arg, uint32_t index)
{
    struct batch *batch = arg;
    batch->phase(&batch->workers[index]);
}

/* Runs a phase on as many threads as there is work for. */
static void run_phase(struct batch *batch, void (*phase)(struct worker *worker), uint32_t parts)
{
    uint32_t threads = batch->exploration->check->config.threads;
    batch->phase = phase;
    atomic_store(&batch->next, 0);
    run_parallel(threads < parts ? threads : parts, work, batch);
}

/* ---- levels ---- */

/* The next depth's states are those that were put during this one. */
static uint64_t next_level(struct batch *batch)
{
    struct space *space = &batch->exploration->space;
    uint64_t count = 0;
    for (uint32_t i = 0; i < SPACE_SHARDS; i++) {
        struct shard *shard = &space->shards[i];
        shard->level_first = shard->level_end;
        shard->level_end = shard->count;
        batch->prefix[i] = count;
        count += shard->level_end - shard->level_first;
    }
    batch->prefix[SPACE_SHARDS] = count;
    return count;
}

static size_t rows_memory(const struct batch *batch)
{
    size_t size = 0;
    for (uint32_t i = 0; i < BATCH_CHUNKS; i++) {
        size +=
            batch->chunks[i].capacity * (batch->exploration->space.stride + 2) * sizeof(uint32_t);
    }
    return size;
}

/* Takes what a batch came to. Returns whether to go on. */
static bool take_batch(struct batch *batch, enum saga_err *err)
{
    struct exploration *exploration = batch->exploration;
    struct saga_check_result *result = exploration->result;
    bool go_on = true;
    bool full = false;
    for (uint32_t i = 0; i < batch->chunk_count; i++) {
        struct chunk *chunk = &batch->chunks[i];
        result->transitions += chunk->transitions;
        *err = *err == SAGA_ERR_OK ? chunk->err : *err;
        full = full || chunk->full;
        if (go_on && chunk->wide != SAGA_CHECK_WIDTH_NONE) {
            result->verdict = SAGA_CHECK_TOO_WIDE;
            result->wide = chunk->wide;
            result->wide_count = chunk->wide_count;
            go_on = false;
        } else if (go_on && chunk->finding.wrong != NULL) {
            exploration->finding = chunk->finding;
            result->verdict = chunk->inexact ? SAGA_CHECK_INEXACT : SAGA_CHECK_VIOLATED;
            go_on = false;
        }
    }
    for (uint32_t i = 0; i < SPACE_SHARDS; i++) {
        full = full || exploration->space.shards[i].failed;
    }
    size_t memory = space_memory(&exploration->space);
    result->memory = memory > result->memory ? memory : result->memory;
    result->states = space_count(&exploration->space);
    if (go_on && (full || is_stopped(exploration->check))) {
        result->verdict = full ? SAGA_CHECK_OUT_OF_MEMORY : SAGA_CHECK_STOPPED;
        go_on = false;
    }
    return go_on && *err == SAGA_ERR_OK;
}

static void tell(const struct exploration *exploration, uint64_t frontier)
{
    const struct saga_check_config *config = &exploration->check->config;
    const struct saga_check_result *result = exploration->result;
    if (config->progress != NULL) {
        struct saga_check_progress progress = {.states = result->states,
                                               .transitions = result->transitions,
                                               .depth = result->depth,
                                               .frontier = frontier,
                                               .memory = result->memory};
        config->progress(config->user, &progress);
    }
}

/* Looks at one depth. Returns whether to go on. */
static bool run_level(struct batch *batch, uint64_t count, enum saga_err *err)
{
    uint64_t at = 0;
    bool go_on = true;
    while (at < count && go_on) {
        batch->chunk_count = 0;
        while (batch->chunk_count < BATCH_CHUNKS && at < count) {
            struct chunk *chunk = &batch->chunks[batch->chunk_count++];
            uint64_t end = at + CHUNK_STATES < count ? at + CHUNK_STATES : count;
            uint32_t *rows = chunk->rows;
            size_t capacity = chunk->capacity;
            *chunk = (struct chunk){.first = at, .end = end, .rows = rows, .capacity = capacity};
            at = end;
        }
        run_phase(batch, expand_phase, batch->chunk_count);
        run_phase(batch, put_phase, batch->chunk_count < 4 ? 1 : SPACE_SHARDS);
        go_on = take_batch(batch, err);
        tell(batch->exploration, count - at);
    }
    return go_on;
}

static enum saga_err put_first(struct exploration *exploration)
{
    const struct check *check = exploration->check;
    uint32_t state[KEY_WORDS_MAX + 2] = {0};
    bool fresh = false;
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    world_init(check, world);
    world_pack(check, world, state);
    world_order(check, state);
    state[check->key_words] = NO_STATE;
    free(world);
    return space_put(&exploration->space, space_hash(check, state), state, &fresh);
}

static void free_batch(struct batch *batch)
{
    for (uint32_t i = 0; i < BATCH_CHUNKS; i++) {
        free(batch->chunks[i].rows);
    }
    free(batch->workers);
    free(batch);
}

enum saga_err explore(struct exploration *exploration)
{
    uint32_t threads = exploration->check->config.threads;
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    batch->exploration = exploration;
    batch->workers = calloc(threads, sizeof *batch->workers);
    enum saga_err err = batch->workers == NULL ? SAGA_ERR_NO_MEMORY : put_first(exploration);
    for (uint32_t i = 0; i < threads && err == SAGA_ERR_OK; i++) {
        batch->workers[i].batch = batch;
    }
    bool go_on = err == SAGA_ERR_OK;
    uint64_t count = 0;
    while (go_on && (count = next_level(batch)) > 0) {
        go_on = run_level(batch, count, &err);
        exploration->result->depth += go_on ? 1 : 0;
    }
    space_give(&exploration->space, rows_memory(batch));
    free_batch(batch);
    return err;
}
