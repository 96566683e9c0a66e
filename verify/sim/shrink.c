#include "verify/sim/shrink.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"

/* The search, with the shortest story so far. */
struct search {
    const struct saga_sim_shrink *shrink;
    struct saga_sim_shrunk *best;
    struct saga_err_detail *detail;
    char rule[sizeof((struct saga_sim_result *)0)->rule];
    struct saga_sim_hit *trial; /* room for as many faults as there were at first */
    uint32_t runs_max;
    bool used_up;
    bool died; /* its faults are not known */
};

/* A candidate: these faults, sagas and time. */
struct candidate {
    const struct saga_sim_hit *faults;
    size_t fault_count;
    uint32_t saga_count;
    int64_t safety_ms;
};

struct saga_sim_config saga_sim_shrunk_config(const struct saga_sim_config *base,
                                              const struct saga_sim_shrunk *shrunk)
{
    struct saga_sim_config config = *base;
    config.saga_count = shrunk->saga_count;
    config.safety_ms = shrunk->safety_ms;
    if (!shrunk->alone) {
        return config;
    }
    config.suppressed = NULL;
    config.suppressed_count = 0;
    config.has_only = true;
    config.only = shrunk->faults;
    config.only_count = shrunk->fault_count;
    return config;
}

static void tell(const struct search *search)
{
    if (search->shrink->tell == NULL) {
        return;
    }
    const struct saga_sim_shrink_progress progress = {
        .runs = search->best->runs,
        .runs_max = search->runs_max,
        .fault_count = search->best->fault_count,
        .saga_count = search->best->saga_count,
        .safety_ms = search->best->safety_ms,
    };
    search->shrink->tell(search->shrink->user, &progress);
}

/* Takes a run that broke the rule as the shortest story: only what happened in it, in the order of
 * happening, and nothing behind the violation that may be left out. */
static void take(struct search *search, const struct candidate *candidate,
                 struct saga_sim_result *result)
{
    struct saga_sim_shrunk *best = search->best;
    SAGA_ASSERT(result->fired_count <= candidate->fault_count);
    for (size_t i = 0; i < result->fired_count; i++) {
        best->faults[i] = result->fired[i].hit;
    }
    best->fault_count = result->fired_count;
    best->saga_count = candidate->saga_count;
    best->safety_ms = candidate->safety_ms;
    saga_sim_result_fini(&best->result);
    best->result = *result;
}

static enum saga_err run_world(struct search *search, const struct saga_sim_config *config,
                               struct saga_sim_result *result)
{
    const struct saga_sim_shrink *shrink = search->shrink;
    search->best->runs++;
    return shrink->run == NULL
               ? saga_sim_run(shrink->sim, config, result, search->detail)
               : shrink->run(shrink->user, shrink->sim, config, result, search->detail);
}

/* Runs a candidate; *taken tells that it breaks the same rule and is now the shortest story. */
static enum saga_err try_one(struct search *search, const struct candidate *candidate, bool *taken)
{
    *taken = false;
    if (search->best->runs >= search->runs_max) {
        search->used_up = true;
        return SAGA_ERR_OK;
    }
    const struct saga_sim_shrunk story = {
        .alone = !search->died,
        .fault_count = candidate->fault_count,
        .saga_count = candidate->saga_count,
        .safety_ms = candidate->safety_ms,
    };
    struct saga_sim_config config = saga_sim_shrunk_config(search->shrink->config, &story);
    if (!search->died) {
        config.only = candidate->faults;
    }
    struct saga_sim_result result = {0};
    enum saga_err err = run_world(search, &config, &result);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (result.violated && strcmp(result.rule, search->rule) == 0 &&
        result.fired_count <= candidate->fault_count) {
        take(search, candidate, &result);
        *taken = true;
    } else {
        saga_sim_result_fini(&result);
    }
    tell(search);
    return SAGA_ERR_OK;
}

/* The present story with other sagas and time. */
static enum saga_err try_size(struct search *search, uint32_t saga_count, int64_t safety_ms,
                              bool *taken)
{
    memcpy(search->trial, search->best->faults, search->best->fault_count * sizeof *search->trial);
    const struct candidate candidate = {search->trial, search->best->fault_count, saga_count,
                                        safety_ms};
    return try_one(search, &candidate, taken);
}

/* Fewer sagas. That n sagas do does not mean that n + 1 do, since with their number everything
 * comes at another time: so first the smallest numbers, then halves, then ever smaller steps. */
static enum saga_err fewer_sagas(struct search *search)
{
    enum saga_err err = SAGA_ERR_OK;
    bool found = false;
    for (uint32_t count = 1;
         count < search->best->saga_count && !found && err == SAGA_ERR_OK && !search->used_up;
         count += 1 + count / 2) {
        err = try_size(search, count, search->best->safety_ms, &found);
    }
    uint32_t step = search->best->saga_count / 2;
    while (err == SAGA_ERR_OK && step > 0 && !search->used_up) {
        bool taken = false;
        if (step < search->best->saga_count) {
            err =
                try_size(search, search->best->saga_count - step, search->best->safety_ms, &taken);
        }
        uint32_t half = search->best->saga_count / 2;
        step = taken ? (step < half ? step : half) : step / 2;
    }
    return err;
}

/* Less time for faults. First: none behind the violation. */
static enum saga_err less_time(struct search *search)
{
    bool taken = false;
    int64_t end_ms = search->best->result.violated_at_us / 1000 + 1;
    enum saga_err err = SAGA_ERR_OK;
    if (end_ms < search->best->safety_ms) {
        err = try_size(search, search->best->saga_count, end_ms, &taken);
    }
    taken = true;
    while (err == SAGA_ERR_OK && taken && search->best->safety_ms > 1 && !search->used_up) {
        err = try_size(search, search->best->saga_count, search->best->safety_ms / 2, &taken);
    }
    return err;
}

/* The story without those faults from `from` to `end`. */
static enum saga_err try_without(struct search *search, size_t from, size_t end, bool *taken)
{
    const struct saga_sim_shrunk *best = search->best;
    size_t behind = best->fault_count - end;
    memcpy(search->trial, best->faults, from * sizeof *search->trial);
    memcpy(search->trial + from, best->faults + end, behind * sizeof *search->trial);
    const struct candidate candidate = {search->trial, from + behind, best->saga_count,
                                        best->safety_ms};
    return try_one(search, &candidate, taken);
}

/* Delta debugging: leaves out one part of `parts` after the other, the last happenings first, since
 * what comes late is needed least. */
static enum saga_err fewer_faults(struct search *search)
{
    size_t parts = 1;
    enum saga_err err = SAGA_ERR_OK;
    search->best->minimal = search->best->fault_count == 0 && !search->died;
    while (err == SAGA_ERR_OK && search->best->fault_count > 0 && !search->used_up) {
        size_t count = search->best->fault_count;
        size_t size = (count + parts - 1) / parts;
        bool any = false;
        for (size_t end = count; end > 0 && err == SAGA_ERR_OK && !search->used_up;) {
            bool taken = false;
            size_t from = end > size ? end - size : 0;
            err = try_without(search, from, end, &taken);
            any |= taken;
            end = from < search->best->fault_count ? from : search->best->fault_count;
        }
        if (search->best->fault_count == 0 || (size == 1 && !any && !search->used_up)) {
            search->best->minimal = err == SAGA_ERR_OK;
            break;
        }
        if (!any || size > 1) {
            parts = size == 1 ? parts : parts * 2;
        }
        parts = parts > search->best->fault_count ? search->best->fault_count : parts;
    }
    return err;
}

/* Sagas and time first: whoever is not there needs no faults, and such runs are short. Sagas before
 * time: less time brings them closer together. */
static enum saga_err one_round(struct search *search, bool *smaller)
{
    uint32_t saga_count = search->best->saga_count;
    int64_t safety_ms = search->best->safety_ms;
    size_t fault_count = search->best->fault_count;
    enum saga_err err = fewer_sagas(search);
    if (err == SAGA_ERR_OK) {
        err = less_time(search);
    }
    if (err == SAGA_ERR_OK) {
        err = fewer_faults(search);
    }
    *smaller = search->best->saga_count < saga_count || search->best->safety_ms < safety_ms ||
               search->best->fault_count < fault_count;
    return err;
}

/* Runs the config as it was given: what happens in it is the first story. */
static enum saga_err begin(struct search *search)
{
    const struct saga_sim_config *config = search->shrink->config;
    struct saga_sim_shrunk *best = search->best;
    struct saga_sim_config first = *config;
    first.transcript = NULL;
    enum saga_err err = run_world(search, &first, &best->result);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    best->saga_count = config->saga_count == 0 ? SAGA_SIM_SAGAS_DEFAULT : config->saga_count;
    best->safety_ms = config->safety_ms == 0 ? SAGA_SIM_SAFETY_MS_DEFAULT : config->safety_ms;
    best->saga_count_before = best->saga_count;
    best->fault_count_before = best->result.fired_count;
    if (!best->result.violated) {
        return saga_err_set(search->detail, SAGA_ERR_NOT_FOUND,
                            "seed %llu breaks no rule: there is nothing to shrink",
                            (unsigned long long)config->seed);
    }
    memcpy(search->rule, best->result.rule, sizeof search->rule);
    search->died = strcmp(search->rule, SAGA_SIM_DIED) == 0;
    size_t count = best->result.fired_count;
    best->faults = malloc((count + 1) * sizeof *best->faults);
    search->trial = malloc((count + 1) * sizeof *search->trial);
    if (best->faults == NULL || search->trial == NULL) {
        return saga_err_set(search->detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        best->faults[i] = best->result.fired[i].hit;
    }
    best->fault_count = count;
    return SAGA_ERR_OK;
}

enum saga_err saga_sim_shrink(const struct saga_sim_shrink *shrink, struct saga_sim_shrunk *shrunk,
                              struct saga_err_detail *detail)
{
    memset(shrunk, 0, sizeof *shrunk);
    struct search search = {
        .shrink = shrink,
        .best = shrunk,
        .detail = detail,
        .runs_max = shrink->runs_max == 0 ? SAGA_SIM_SHRINK_RUNS_DEFAULT : shrink->runs_max,
    };
    enum saga_err err = begin(&search);
    if (err == SAGA_ERR_OK) {
        err = try_size(&search, shrunk->saga_count, shrunk->safety_ms, &shrunk->alone);
    }
    /* With fewer faults fewer sagas and less time may do, and then fewer faults again. */
    bool smaller = shrunk->alone;
    if (search.died) {
        shrunk->alone = false;
    }
    while (err == SAGA_ERR_OK && smaller && !search.used_up) {
        err = one_round(&search, &smaller);
    }
    free(search.trial);
    if (err != SAGA_ERR_OK) {
        saga_sim_shrunk_fini(shrunk);
    }
    return err;
}

void saga_sim_shrunk_fini(struct saga_sim_shrunk *shrunk)
{
    saga_sim_result_fini(&shrunk->result);
    free(shrunk->faults);
    memset(shrunk, 0, sizeof *shrunk);
}
