/* Which faults happen. The one place where it is decided: by a hash of seed, kind and identity, so
 * that no fault moves when another is taken away. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/sim/world.h"

static const struct {
    const char *name, *text;
} kinds[] = {
#define ONE(name, text) {#name, text},
    SAGA_SIM_FAULTS(ONE)
#undef ONE
};

const char *saga_sim_fault_name(enum saga_sim_fault kind)
{
    return kind < SAGA_SIM_FAULT_COUNT ? kinds[kind].name : "NONE";
}

const char *saga_sim_fault_text(enum saga_sim_fault kind)
{
    return kind < SAGA_SIM_FAULT_COUNT ? kinds[kind].text : "none";
}

enum saga_sim_fault saga_sim_fault_find(const char *name)
{
    int kind = 0;
    while (kind < (int)SAGA_SIM_FAULT_COUNT && strcmp(kinds[kind].name, name) != 0) {
        kind++;
    }
    return (enum saga_sim_fault)kind;
}

/* ---- Chance ---- */

uint64_t sim_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6) + (a >> 2));
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t sim_text_mix(const char *text)
{
    uint64_t hash = 1;
    for (const char *at = text; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    }
    return sim_mix(hash, 0);
}

uint64_t sim_draw(const struct sim_world *world, uint64_t salt, uint64_t identity, uint64_t bound)
{
    return bound == 0 ? 0 : sim_mix(sim_mix(world->view.seed, salt), identity) % bound;
}

int64_t sim_length_us(const struct sim_world *world, uint64_t salt, uint64_t identity,
                      int64_t max_us)
{
    /* A shift by 0 to 6: each of the halvings is as likely. */
    uint64_t shift = sim_draw(world, sim_mix(salt, 1), identity, 7);
    uint64_t bound = max_us <= 0 ? 0 : (uint64_t)max_us >> shift;
    return 1 + (int64_t)sim_draw(world, salt, identity, bound);
}

/* ---- The decision ---- */

static bool in_list(const struct saga_sim_hit *hits, size_t count, enum saga_sim_fault kind,
                    uint64_t identity)
{
    for (size_t i = 0; i < count; i++) {
        if (hits[i].kind == kind && hits[i].identity == identity) {
            return true;
        }
    }
    return false;
}

static void note(struct sim_world *world, enum saga_sim_fault kind, uint64_t identity,
                 const char *text)
{
    struct saga_sim_result *result = world->view.result;
    world->hits =
        sim_grow(world->hits, &world->hit_capacity, world->hit_count + 1, sizeof *world->hits);
    result->fired = sim_grow(result->fired, &world->fired_capacity, result->fired_count + 1,
                             sizeof *result->fired);
    world->hits[world->hit_count++] = (struct saga_sim_hit){.kind = kind, .identity = identity};
    struct saga_sim_fired *fired = &result->fired[result->fired_count++];
    fired->hit = (struct saga_sim_hit){.kind = kind, .identity = identity};
    fired->at_us = world->view.now_us;
    (void)snprintf(fired->text, sizeof fired->text, "%s", text);
    result->fired_by_kind[kind]++;
}

bool sim_fault(struct sim_world *world, enum saga_sim_fault kind, uint64_t identity,
               const char *format, ...)
{
    const struct saga_sim_config *config = world->view.config;
    if (config->faults_off || world->view.healing || world->view.ppm[kind] == 0 ||
        sim_draw(world, (uint64_t)kind + 1, identity, 1000000) >= world->view.ppm[kind]) {
        return false;
    }
    if (in_list(config->suppressed, config->suppressed_count, kind, identity) ||
        (config->has_only && !in_list(config->only, config->only_count, kind, identity)) ||
        in_list(world->hits, world->hit_count, kind, identity)) {
        return false;
    }
    char text[SIM_SAY_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    note(world, kind, identity, text);
    sim_fold(world, sim_mix((uint64_t)kind, identity));
    sim_say(world, "FAULT %s: %s", kinds[kind].name, text);
    return true;
}
