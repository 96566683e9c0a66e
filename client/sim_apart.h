/* One simulated world in a process of its own, so that whoever asked survives its assertions. */
#ifndef SAGA_CLIENT_SIM_APART_H
#define SAGA_CLIENT_SIM_APART_H

#include <stdbool.h>

#include "verify/sim/shrink.h"

/* Runs a world as saga_sim_run does; user is a const bool *: true keeps the world's process from
 * writing to stderr. A process that dies gives a result with rule SAGA_SIM_DIED. What is written to
 * config->transcript, which must be line-buffered and unused, is there up to that moment. Errors:
 * also IO (no process, no pipe). */
enum saga_err saga_sim_apart(void *user, struct saga_sim *sim, const struct saga_sim_config *config,
                             struct saga_sim_result *result,
                             struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Read or write all of it, whatever interrupts; false: the other end is gone. */
bool saga_sim_move_all(int fd, void *data, size_t size, bool out);

#endif
