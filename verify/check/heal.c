/* S1: once faults have stopped, each state leads to an end, whichever of the ways on is taken.
 *
 * The ways on (heal_list.c) make a graph over the states that are known, since each is a run of
 * events that were explored. That graph must have no state without a way but the ends, and no
 * circle: then every walk in it ends, and the longest walk is the bound. It is shown by numbering
 * each state higher than all that it leads to; what cannot be numbered is on a circle, or leads to
 * one. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "verify/check/internal.h"

#define RANK_NONE UINT32_MAX
#define RANK_REACHED (UINT32_MAX - 1)

enum { WALK_MAX = 256 };

/* The ways of one shard's states. */
struct shard_ways {
    uint32_t *first; /* count + 1 */
    uint32_t *to;
    size_t count, capacity;
    uint32_t *ranks;
    uint32_t stuck;  /* a state that nothing leads out of; NO_STATE */
    uint32_t absent; /* a way leads to no known state */
    enum saga_err err;
};

struct heal_worker {
    struct trial trial;
    struct world base;
    struct heal_list list;
};

struct healing {
    struct exploration *exploration;
    struct shard_ways ways[SPACE_SHARDS];
    struct heal_worker *workers;
    atomic_uint next;
};

static bool sends_nothing(const struct trial *trial)
{
    return trial->ev.kind == CHECK_TIMER && trial->up.send_count == 0;
}

uint8_t go_way(const struct check *check, struct trial *trial, const struct world *base,
               const struct heal_way *way, bool when)
{
    uint8_t gone = 0;
    world_copy(check, &trial->from, base);
    while (gone < way->count) {
        trial->ev = way->events[gone];
        trial->ev.when_mask = when ? UINT64_MAX : 0;
        set_times(check, &trial->from, &trial->ev, LATER_MS);
        make_transition(check, trial);
        if (trial->asked && trial->ev.kind != CHECK_RESUME &&
            trial->up.verdict != SAGA_VERDICT_TAKEN) {
            return 0;
        }
        uint32_t key[KEY_WORDS_MAX]; /* only what is in it counts: times go back to rest */
        world_pack(check, &trial->to, key);
        world_unpack(check, key, &trial->from);
        gone++;
        if (sends_nothing(trial)) {
            break; /* what was to arrive and be answered has not left */
        }
    }
    return gone;
}

static enum saga_err put_way(struct healing *healing, struct shard_ways *ways, uint32_t to)
{
    if (ways->count == ways->capacity) {
        size_t capacity = ways->capacity == 0 ? 1024 : ways->capacity * 2;
        size_t more = (capacity - ways->capacity) * sizeof *ways->to;
        if (!space_take(&healing->exploration->space, more)) {
            return SAGA_ERR_LIMIT;
        }
        uint32_t *grown = realloc(ways->to, capacity * sizeof *ways->to);
        if (grown == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        ways->to = grown;
        ways->capacity = capacity;
    }
    ways->to[ways->count++] = to;
    return SAGA_ERR_OK;
}

static uint32_t state_of(const struct exploration *exploration, const struct world *world)
{
    uint32_t key[KEY_WORDS_MAX];
    world_pack(exploration->check, world, key);
    world_order(exploration->check, key);
    return space_find(&exploration->space, space_hash(exploration->check, key), key);
}

/* Lists where a state leads. */
static enum saga_err list_state(struct healing *healing, struct heal_worker *worker,
                                struct shard_ways *ways, uint32_t id)
{
    const struct exploration *exploration = healing->exploration;
    const struct check *check = exploration->check;
    size_t before = ways->count;
    world_unpack(check, space_state(&exploration->space, id), &worker->base);
    list_heals(check, &worker->base, &worker->list);
    for (size_t i = 0; i < worker->list.count; i++) {
        for (unsigned when = 0; when <= 1; when++) { /* no condition holds, or all do */
            if (go_way(check, &worker->trial, &worker->base, &worker->list.ways[i], when != 0) ==
                0) {
                continue;
            }
            uint32_t to = state_of(exploration, &worker->trial.from);
            if (to == NO_STATE) {
                ways->absent = id;
                return SAGA_ERR_OK;
            }
            bool twice = ways->count > before && ways->to[ways->count - 1] == to;
            enum saga_err err = twice ? SAGA_ERR_OK : put_way(healing, ways, to);
            if (err != SAGA_ERR_OK) {
                return err;
            }
        }
    }
    if (ways->count == before && !saga_ended(&worker->base.saga) && ways->stuck == NO_STATE) {
        ways->stuck = id;
    }
    return SAGA_ERR_OK;
}

static void list_shard(struct healing *healing, struct heal_worker *worker, uint32_t s)
{
    struct shard_ways *ways = &healing->ways[s];
    uint32_t count = healing->exploration->space.shards[s].count;
    size_t size = ((size_t)count * 2 + 1) * sizeof *ways->first;
    ways->stuck = NO_STATE;
    ways->absent = NO_STATE;
    if (!space_take(&healing->exploration->space, size)) {
        ways->err = SAGA_ERR_LIMIT;
        return;
    }
    ways->first = malloc(((size_t)count + 1) * sizeof *ways->first);
    ways->ranks = malloc(((size_t)count + 1) * sizeof *ways->ranks);
    ways->err = ways->first == NULL || ways->ranks == NULL ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
    const struct check *check = healing->exploration->check;
    for (uint32_t i = 0; i < count && ways->err == SAGA_ERR_OK && !is_stopped(check); i++) {
        ways->first[i] = (uint32_t)ways->count;
        ways->ranks[i] = RANK_NONE;
        ways->err = list_state(healing, worker, ways, space_id(s, i));
    }
    if (ways->first != NULL) {
        ways->first[count] = (uint32_t)ways->count;
    }
}

static void list_work(void *arg, uint32_t index)
{
    struct healing *healing = arg;
    for (;;) {
        unsigned shard = atomic_fetch_add(&healing->next, 1);
        if (shard >= SPACE_SHARDS) {
            return;
        }
        list_shard(healing, &healing->workers[index], shard);
    }
}

/* ---- numbering ---- */

/* Numbers a state if all that it leads to is numbered. Returns whether it did. */
static bool rank_state(struct healing *healing, uint32_t s, uint32_t i, uint32_t *most)
{
    struct shard_ways *ways = &healing->ways[s];
    uint32_t rank = 0;
    if (i >= healing->exploration->space.shards[s].count || ways->ranks[i] != RANK_NONE) {
        return false;
    }
    for (uint32_t k = ways->first[i]; k < ways->first[i + 1]; k++) {
        uint32_t to = ways->to[k];
        uint32_t there = healing->ways[to % SPACE_SHARDS].ranks[to / SPACE_SHARDS];
        if (there == RANK_NONE) {
            return false;
        }
        rank = there + 1 > rank ? there + 1 : rank;
    }
    ways->ranks[i] = rank;
    *most = rank > *most ? rank : *most;
    return true;
}

/* States that were found later lead less far, so that few rounds are enough. */
static void rank_all(struct healing *healing)
{
    uint32_t highest = 0;
    for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
        uint32_t count = healing->exploration->space.shards[s].count;
        highest = count > highest ? count : highest;
    }
    bool again = true;
    while (again) {
        again = false;
        for (uint32_t i = highest; i-- > 0;) {
            for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
                again = rank_state(healing, s, i, &healing->exploration->result->heal) || again;
            }
        }
    }
}

/* ---- what was found ---- */

static uint32_t depth_of(const struct exploration *exploration, uint32_t id)
{
    uint32_t depth = 0;
    for (; id != NO_STATE; id = space_parent(&exploration->space, id)) {
        depth++;
    }
    return depth;
}

static void find_nearest(struct exploration *exploration, uint32_t id, const char *wrong)
{
    uint32_t depth = depth_of(exploration, id);
    struct finding *finding = &exploration->finding;
    if (finding->wrong == NULL || depth < finding->position ||
        (depth == finding->position && id < finding->state)) {
        *finding =
            (struct finding){.wrong = wrong, .state = id, .ordinal = NO_STATE, .position = depth};
    }
}

/* A state that has no number leads to another one that has none: such a walk comes back to itself.
 */
static enum saga_err walk_round(struct healing *healing)
{
    struct exploration *exploration = healing->exploration;
    uint32_t at = exploration->finding.state;
    exploration->walk = calloc(WALK_MAX, sizeof *exploration->walk);
    if (exploration->walk == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    bool again = false;
    while (!again && exploration->walk_count < WALK_MAX) {
        for (size_t i = 0; i < exploration->walk_count; i++) {
            again = again || exploration->walk[i] == at;
        }
        exploration->walk[exploration->walk_count++] = at;
        const struct shard_ways *ways = &healing->ways[at % SPACE_SHARDS];
        uint32_t from = at;
        for (uint32_t k = ways->first[from / SPACE_SHARDS];
             k < ways->first[from / SPACE_SHARDS + 1]; k++) {
            uint32_t to = ways->to[k];
            if (healing->ways[to % SPACE_SHARDS].ranks[to / SPACE_SHARDS] == RANK_NONE) {
                at = to;
                break;
            }
        }
    }
    return SAGA_ERR_OK;
}

static void find_wrong(struct healing *healing)
{
    struct exploration *exploration = healing->exploration;
    for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
        if (healing->ways[s].stuck != NO_STATE) {
            find_nearest(exploration, healing->ways[s].stuck,
                         "S1: nothing will ever happen to this saga, and it has not ended");
        }
    }
    for (uint32_t s = 0; s < SPACE_SHARDS && exploration->finding.wrong == NULL; s++) {
        if (healing->ways[s].absent != NO_STATE) {
            find_nearest(exploration, healing->ways[s].absent,
                         "a way to an end leads out of what was explored");
            exploration->result->verdict = SAGA_CHECK_INEXACT;
            return;
        }
    }
}

/* Marks what states without a number lead to. */
static void mark_reached(struct healing *healing)
{
    const struct space *space = &healing->exploration->space;
    for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
        const struct shard_ways *ways = &healing->ways[s];
        for (uint32_t i = 0; i < space->shards[s].count; i++) {
            bool none = ways->ranks[i] >= RANK_REACHED;
            for (uint32_t k = ways->first[i]; none && k < ways->first[i + 1]; k++) {
                uint32_t *there =
                    &healing->ways[ways->to[k] % SPACE_SHARDS].ranks[ways->to[k] / SPACE_SHARDS];
                *there = *there == RANK_NONE ? RANK_REACHED : *there;
            }
        }
    }
}

/* Drops states that only lead to a circle: what none without a number leads to. */
static void drop_forerunners(struct healing *healing)
{
    const struct space *space = &healing->exploration->space;
    bool again = true;
    while (again) {
        again = false;
        mark_reached(healing);
        for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
            for (uint32_t i = 0; i < space->shards[s].count; i++) {
                uint32_t *rank = &healing->ways[s].ranks[i];
                again = again || *rank == RANK_NONE;
                *rank = *rank == RANK_NONE ? 0 : *rank == RANK_REACHED ? RANK_NONE : *rank;
            }
        }
    }
}

static void find_round(struct healing *healing)
{
    struct exploration *exploration = healing->exploration;
    drop_forerunners(healing);
    for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
        for (uint32_t i = 0; i < exploration->space.shards[s].count; i++) {
            if (healing->ways[s].ranks[i] == RANK_NONE) {
                find_nearest(exploration, space_id(s, i),
                             "S1: faults have stopped, and the saga can go on for ever without an "
                             "end");
                break;
            }
        }
    }
}

static enum saga_err take_ways(struct healing *healing)
{
    struct exploration *exploration = healing->exploration;
    struct saga_check_result *result = exploration->result;
    size_t memory = space_memory(&exploration->space);
    result->memory = memory > result->memory ? memory : result->memory;
    for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
        if (healing->ways[s].err == SAGA_ERR_LIMIT) {
            result->verdict = SAGA_CHECK_OUT_OF_MEMORY;
            return SAGA_ERR_OK;
        }
        if (healing->ways[s].err != SAGA_ERR_OK) {
            return healing->ways[s].err;
        }
    }
    if (is_stopped(exploration->check)) { /* what was listed may end in the middle */
        result->verdict = SAGA_CHECK_STOPPED;
        return SAGA_ERR_OK;
    }
    find_wrong(healing);
    if (exploration->finding.wrong == NULL) {
        rank_all(healing);
        find_round(healing);
        if (exploration->finding.wrong != NULL) {
            result->verdict = SAGA_CHECK_VIOLATED;
            return walk_round(healing);
        }
    } else if (result->verdict == SAGA_CHECK_PROVED) {
        result->verdict = SAGA_CHECK_VIOLATED;
    }
    return SAGA_ERR_OK;
}

enum saga_err check_heals(struct exploration *exploration)
{
    const struct saga_check_config *config = &exploration->check->config;
    struct healing *healing = calloc(1, sizeof *healing);
    if (healing == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    healing->exploration = exploration;
    healing->workers = calloc(config->threads, sizeof *healing->workers);
    enum saga_err err = SAGA_ERR_NO_MEMORY;
    if (healing->workers != NULL) {
        run_parallel(config->threads, list_work, healing);
        err = take_ways(healing);
    }
    for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
        free(healing->ways[s].first);
        free(healing->ways[s].to);
        free(healing->ways[s].ranks);
    }
    free(healing->workers);
    free(healing);
    return err;
}
