/* The real store on a simulated disk, through failing I/O, deaths and power failures.
 *
 * A run is a row of transactions that one seed decides. On a disk without faults they give a hash
 * of all that the store holds after each of them; on a disk with faults, whenever the store is
 * opened again, what it holds must have the hash of what was acknowledged, or, when the end of a
 * commit was not heard of, of one transaction more: so nothing acknowledged is missing and nothing
 * is half there. */
#ifndef SAGA_TESTS_SIM_VFS_TORTURE_H
#define SAGA_TESTS_SIM_VFS_TORTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/runtime/port_store.h"
#include "verify/vfs/vfs.h"

enum { TORTURE_TRANSACTIONS = 10, TORTURE_DEATHS_MAX = 4 };

/* How a process ends when an operation has failed or it was stopped. */
enum torture_end { END_POWER, END_KILL, END_EITHER };

struct torture_plan {
    uint64_t seed;                 /* of losses and later deaths */
    uint64_t at;                   /* the number of the operation that is hit, from 1 */
    bool syncs;                    /* only syncs are counted for that */
    enum saga_vfs_outcome outcome; /* what hits it */
    bool for_good;                 /* the same operations fail from then on, until the end */
    enum torture_end end;
    bool lying;              /* syncs do nothing */
    const char *synchronous; /* for the store's connection; NULL: its own */
};

/* What came of it. */
struct torture_result {
    char why[256]; /* "": nothing was wrong */
    bool hit;      /* the operation came */
    unsigned deaths;
    uint64_t ops;
};

/* Computes the hashes. Pre: once, before the others. */
void torture_begin(void);

/* Runs one plan to its end. */
void torture_run(const struct torture_plan *plan, struct torture_result *result);

#endif
