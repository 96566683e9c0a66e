/* Simulated worlds, many at once: each worker is a process of its own, since a world is a process's
 * one and only. Seeds are handed out in their order, so that the first one that breaks a rule is
 * the same however many workers there are. */
#ifndef SAGA_CLIENT_SIM_FARM_H
#define SAGA_CLIENT_SIM_FARM_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "verify/sim/sim.h"

enum { SAGA_FARM_WORKERS_MAX = 256, SAGA_FARM_SEEDS_MAX = 16 };

/* What came of all worlds so far. */
struct saga_farm_totals {
    uint64_t runs;
    uint64_t begun; /* worlds: seeds below the first and this are taken */
    uint64_t sagas; /* started, children too */
    uint64_t completed, compensated;
    uint64_t children; /* of sagas */
    uint64_t happenings, events, commits, effects, records, crashes, takeovers;
    uint64_t fired_by_kind[SAGA_SIM_FAULT_COUNT];
    uint64_t virtual_ms;
    double cpu_s;        /* processor time of all workers; known at the end */
    uint64_t trace_hash; /* of one world: its own; of many: of all, in whatever order they came */
    uint64_t violations;
    uint64_t bad_seeds[SAGA_FARM_SEEDS_MAX]; /* the first ones that came, ascending */
    bool interrupted;                        /* worlds that had begun were ended */
    /* The first seed that broke a rule. */
    uint64_t bad_seed;
    struct saga_sim_result bad; /* without its faults */
    int bad_signal;             /* its process died by this; 0: it did not */
};

typedef void saga_farm_tell(void *user, const struct saga_farm_totals *totals);

struct saga_farm {
    struct saga_sim *sim;
    const struct saga_sim_config *config; /* of every world, but for its seed */
    uint64_t seed;                        /* the first; the others follow */
    uint64_t runs_max;
    int64_t duration_ms;  /* no world begins later; 0: no bound */
    unsigned workers;     /* 1 to SAGA_FARM_WORKERS_MAX */
    bool keep_going;      /* behind a violation */
    saga_farm_tell *tell; /* a few times a second; NULL: nobody */
    void *user;
    const volatile sig_atomic_t *stop; /* not 0: end all at once; NULL: nobody says so */
};

/* Runs worlds until there are enough, the time is over, or one breaks a rule. Violations are no
 * errors. Errors: those of saga_sim_run; NO_MEMORY, IO (no process, no pipe). Ends all that it has
 * started. Its processes do not hear SIGINT: whoever asked does, and says so with stop. */
enum saga_err saga_farm_run(const struct saga_farm *farm, struct saga_farm_totals *totals,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
