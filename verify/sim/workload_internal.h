/* Inside the workload. */
#ifndef SAGA_SIM_WORKLOAD_INTERNAL_H
#define SAGA_SIM_WORKLOAD_INTERNAL_H

#include "verify/sim/workload.h"

/* Makes one number of a seed and a command's identity: saga, step, op; not the attempt. */
uint64_t saga_workload_mix(uint64_t seed, const struct saga_workload_key *key);

#endif
