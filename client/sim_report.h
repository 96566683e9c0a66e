/* What `sagactl sim` says. */
#ifndef SAGA_CLIENT_SIM_REPORT_H
#define SAGA_CLIENT_SIM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/sim_farm.h"
#include "common/base/bytes.h"
#include "verify/sim/shrink.h"

/* All of it. */
struct saga_sim_report {
    const char *file;              /* NULL: built in */
    char *definition;              /* owned by whoever made it */
    struct saga_sim_config config; /* of every world, but for its seed */
    uint64_t seed;                 /* the first */
    unsigned workers;
    double wall_s;
    struct saga_farm_totals totals;
    bool shrinking;    /* it was tried */
    bool shrunk_there; /* it was done */
    struct saga_sim_shrunk shrunk;
    char shrink_error[SAGA_ERR_DETAIL_SIZE]; /* "": none */
    struct saga_bytes transcript;            /* of the shortest story; empty: none */
    const char *transcript_file;             /* where it is; NULL: to be printed */
};

/* Writes the command that runs the bad seed again; with the shortest story's faults alone when it
 * is known and short. The text is to be freed. NULL: out of memory. */
char *saga_sim_report_command(const struct saga_sim_report *report);

/* Print on stdout. Exit status. */
int saga_sim_report_text(const struct saga_sim_report *report);
int saga_sim_report_json(const struct saga_sim_report *report);

/* Writes a fault as --only takes it, "REQUEST_LOST:1f", and reads it back; false: it is none. */
enum { SAGA_SIM_HIT_TEXT_SIZE = 64 };
void saga_sim_hit_text(const struct saga_sim_hit *hit, char text[SAGA_SIM_HIT_TEXT_SIZE]);
bool saga_sim_hit_parse(const char *text, struct saga_sim_hit *hit);

#endif
