/* What a broken rule is told with: the seed and how it is run again, the definitions if they are
 * random, the shortest story that still breaks the rule. */
#ifndef SAGA_TESTS_SIM_WORLD_STORY_H
#define SAGA_TESTS_SIM_WORLD_STORY_H

#include <stdio.h>

#include "common/base/bytes.h"
#include "verify/sim/sim.h"

struct story {
    struct saga_sim *sim;
    struct saga_sim_config config; /* of the world that broke a rule; without transcript */
    const char *definition;
    struct saga_bytes set; /* random definitions, to be written out; empty: none */
    const char *program;   /* argv[0] */
    bool quiet;            /* without the shortest story */
};

/* Writes it; what is known at once comes first. result: of the world. */
void story_tell(const struct story *story, const struct saga_sim_result *result, FILE *out);

/* Writes every definition of a descriptor set, a line for each step. */
void story_definitions(struct saga_bytes set, FILE *out);

#endif
