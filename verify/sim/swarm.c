#include "verify/sim/swarm.h"

#include <stddef.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/prng.h"

enum {
    PPM = 1000000,
    GROUP_OFF_PERCENT = 45,  /* of the seeds, each group for itself */
    CHANCE_OFF_PERCENT = 50, /* of the seeds in which its group is on, each chance for itself */
    QUIET_PERCENT = 4,       /* of the seeds have no faults at all: what is wrong there is simple */
    LENGTH_SHORT_SHIFT_MAX = 8,
};

struct entry {
    struct saga_swarm_knob knob;
    size_t offset;
};

static const struct entry entries[] = {
#define X(name, group, low, high, text)                                                            \
    {{#name, SAGA_SWARM_##group, (low), (high), text}, offsetof(struct saga_swarm, name)},
    SAGA_SWARM_LIST(X)
#undef X
};

enum { ENTRY_COUNT = sizeof entries / sizeof entries[0] };

static const char *const group_names[] = {
    [SAGA_SWARM_LOAD] = "LOAD",           [SAGA_SWARM_NNG] = "NNG",
    [SAGA_SWARM_PARTITION] = "PARTITION", [SAGA_SWARM_KAFKA] = "KAFKA",
    [SAGA_SWARM_CRASH] = "CRASH",         [SAGA_SWARM_ZOMBIE] = "ZOMBIE",
    [SAGA_SWARM_STORE] = "STORE",         [SAGA_SWARM_PARTICIPANT] = "PARTICIPANT",
    [SAGA_SWARM_CLOCK] = "CLOCK",         [SAGA_SWARM_ANSWERS] = "ANSWERS",
    [SAGA_SWARM_CLIENTS] = "CLIENTS",
};

static void put(struct saga_swarm *swarm, size_t index, int64_t value)
{
    memcpy((char *)swarm + entries[index].offset, &value, sizeof value);
}

/* A chance may be 0 while its group is on; a length or a number goes with the chances. */
static bool is_chance(const struct saga_swarm_knob *knob)
{
    size_t size = strlen(knob->name);
    return size > 4 && strcmp(knob->name + size - 4, "_ppm") == 0;
}

/* Between low and high, each doubling as likely as the next. Pre: 0 < low <= high. */
static int64_t draw_between(uint64_t *prng, int64_t low, int64_t high)
{
    SAGA_ASSERT(low > 0 && low <= high);
    unsigned doublings = 0;
    while (low << doublings <= high / 2) {
        doublings++;
    }
    int64_t base = low << saga_prng_below(prng, doublings + 1U);
    int64_t top = base > high / 2 ? high : base * 2;
    return base + (int64_t)saga_prng_below(prng, (uint64_t)(top - base) + 1);
}

void saga_swarm_draw(uint64_t seed, struct saga_swarm *swarm)
{
    uint64_t prng = seed ^ UINT64_C(0x5357a2d1c0ffee01);
    *swarm = (struct saga_swarm){.seed = seed, .groups_mask = 1U << SAGA_SWARM_LOAD};
    bool quiet = saga_prng_below(&prng, 100) < QUIET_PERCENT;
    for (unsigned group = SAGA_SWARM_LOAD + 1U; group < SAGA_SWARM_GROUP_COUNT; group++) {
        bool on = saga_prng_below(&prng, 100) >= GROUP_OFF_PERCENT && !quiet;
        swarm->groups_mask |= on ? 1U << group : 0;
    }
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        const struct saga_swarm_knob *knob = &entries[i].knob;
        /* Always drawn, so that what is off changes nothing about the others. */
        int64_t value = draw_between(&prng, knob->low, knob->high);
        bool out = saga_prng_below(&prng, 100) < CHANCE_OFF_PERCENT && is_chance(knob);
        bool on = (swarm->groups_mask >> knob->group & 1U) != 0;
        put(swarm, i, on && !out ? value : 0);
    }
}

void saga_swarm_heal(struct saga_swarm *swarm)
{
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        if (entries[i].knob.group != SAGA_SWARM_LOAD) {
            put(swarm, i, 0);
        }
    }
    swarm->groups_mask = 1U << SAGA_SWARM_LOAD;
}

size_t saga_swarm_knob_count(void)
{
    return ENTRY_COUNT;
}

const struct saga_swarm_knob *saga_swarm_knob_at(size_t index)
{
    SAGA_ASSERT(index < ENTRY_COUNT);
    return &entries[index].knob;
}

int64_t saga_swarm_value(const struct saga_swarm *swarm, size_t index)
{
    SAGA_ASSERT(index < ENTRY_COUNT);
    int64_t value = 0;
    memcpy(&value, (const char *)swarm + entries[index].offset, sizeof value);
    return value;
}

enum saga_err saga_swarm_set(struct saga_swarm *swarm, const char *name, int64_t value,
                             struct saga_err_detail *detail)
{
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        const struct saga_swarm_knob *knob = &entries[i].knob;
        if (strcmp(knob->name, name) != 0) {
            continue;
        }
        int64_t low = knob->group == SAGA_SWARM_LOAD ? knob->low : 0;
        int64_t high = is_chance(knob) ? PPM : knob->high;
        if (value < low || value > high) {
            return saga_err_set(detail, SAGA_ERR_LIMIT, "%s: %lld is not in %lld to %lld", name,
                                (long long)value, (long long)low, (long long)high);
        }
        put(swarm, i, value);
        swarm->groups_mask |= value != 0 ? 1U << knob->group : 0;
        return SAGA_ERR_OK;
    }
    return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "there is no knob \"%.64s\"", name);
}

enum saga_err saga_swarm_group_off(struct saga_swarm *swarm, const char *name)
{
    for (unsigned group = SAGA_SWARM_LOAD + 1U; group < SAGA_SWARM_GROUP_COUNT; group++) {
        if (strcmp(group_names[group], name) != 0) {
            continue;
        }
        for (size_t i = 0; i < ENTRY_COUNT; i++) {
            if (entries[i].knob.group == group) {
                put(swarm, i, 0);
            }
        }
        swarm->groups_mask &= ~(1U << group);
        return SAGA_ERR_OK;
    }
    return SAGA_ERR_NOT_FOUND;
}

const char *saga_swarm_group_name(enum saga_swarm_group group)
{
    return group < SAGA_SWARM_GROUP_COUNT ? group_names[group] : "";
}

bool saga_swarm_strikes(uint64_t *prng, int64_t ppm)
{
    return ppm > 0 && (int64_t)saga_prng_below(prng, PPM) < ppm;
}

int64_t saga_swarm_length_ms(uint64_t *prng, int64_t ms_max)
{
    if (ms_max <= 0) {
        return 0;
    }
    int64_t bound = ms_max >> saga_prng_below(prng, LENGTH_SHORT_SHIFT_MAX + 1U);
    return 1 + (int64_t)saga_prng_below(prng, (uint64_t)(bound > 0 ? bound : 1));
}

int64_t saga_swarm_next_ms(uint64_t *prng, int64_t every_ms)
{
    /* Evenly between nothing and twice the mean: no floats, and no long tail to wait for. */
    return every_ms <= 0 ? 0 : 1 + (int64_t)saga_prng_below(prng, (uint64_t)every_ms * 2);
}
