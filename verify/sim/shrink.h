/* From a seed that breaks a rule to the shortest story that still breaks it.
 *
 * What can be taken away: faults (each has an identity, so that taking one away leaves the others
 * where they are), sagas, and the time in which faults may happen. The search is delta debugging:
 * halves, quarters, … of the faults are left out, what breaks the same rule all the same is kept
 * and searched on, until no single fault can be left out, or the budget is used up. It is a
 * function of its inputs: no clock, no chance. Every run is a whole world, so that what is found is
 * a real run, not a guess. */
#ifndef SAGA_SIM_SHRINK_H
#define SAGA_SIM_SHRINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "verify/sim/sim.h"

enum { SAGA_SIM_SHRINK_RUNS_DEFAULT = 600, SAGA_SIM_SHRINK_RUNS_MAX = 1000000 };

/* How far it is; told after every run. */
struct saga_sim_shrink_progress {
    uint32_t runs, runs_max;
    size_t fault_count; /* of the shortest story so far */
    uint32_t saga_count;
    int64_t safety_ms;
};

typedef void saga_sim_shrink_tell(void *user, const struct saga_sim_shrink_progress *progress);

/* The shortest story found. */
struct saga_sim_shrunk {
    struct saga_sim_hit *faults; /* owned; in the order of happening */
    size_t fault_count;
    uint32_t saga_count;
    int64_t safety_ms;
    struct saga_sim_result result; /* of running it; owned */
    uint32_t runs;
    size_t fault_count_before;
    uint32_t saga_count_before;
    bool alone;   /* the faults alone break the rule again; else it takes the seed as it is */
    bool minimal; /* no single fault can be left out; else the budget was used up */
};

/* The rule of a world whose process died: its faults are not known, so that only sagas and time can
 * be left out. */
#define SAGA_SIM_DIED "DIED"

/* Runs a world as saga_sim_run does, maybe in a process of its own. */
typedef enum saga_err saga_sim_shrink_run(void *user, struct saga_sim *sim,
                                          const struct saga_sim_config *config,
                                          struct saga_sim_result *result,
                                          struct saga_err_detail *detail);

/* What to shrink. */
struct saga_sim_shrink {
    struct saga_sim *sim;
    const struct saga_sim_config *config; /* of the run that broke a rule; without transcript */
    uint32_t runs_max;                    /* 0: SAGA_SIM_SHRINK_RUNS_DEFAULT */
    saga_sim_shrink_run *run;             /* NULL: saga_sim_run */
    saga_sim_shrink_tell *tell;           /* NULL: nobody */
    void *user;                           /* of both */
};

/* Shrinks. Owns: the caller gives *shrunk back with saga_sim_shrunk_fini. Errors: NOT_FOUND when
 * the config breaks no rule; those of saga_sim_run; NO_MEMORY. */
enum saga_err saga_sim_shrink(const struct saga_sim_shrink *shrink, struct saga_sim_shrunk *shrunk,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;

void saga_sim_shrunk_fini(struct saga_sim_shrunk *shrunk);

/* Makes the config that runs the story again: base with the story's faults, sagas and time (and all
 * of base's faults when the story's alone do not do). The config borrows from both. */
struct saga_sim_config saga_sim_shrunk_config(const struct saga_sim_config *base,
                                              const struct saga_sim_shrunk *shrunk);

#endif
