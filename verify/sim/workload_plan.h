/* Inside the workload: a random saga before it is written down as descriptors. */
#ifndef SAGA_SIM_WORKLOAD_PLAN_H
#define SAGA_SIM_WORKLOAD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/schema.h"
#include "verify/sim/workload.h"

enum {
    PLAN_STEPS_MAX = SAGA_WORKLOAD_STEPS_MAX,
    PLAN_INPUTS_MAX = 5,
    PLAN_RESULTS_MAX = 2, /* of one step */
    PLAN_FIELDS_MAX = PLAN_INPUTS_MAX + PLAN_STEPS_MAX * PLAN_RESULTS_MAX,
    PLAN_USES_MAX = 4, /* fields of one request */
    PLAN_NONE = -1,
};

/* A field of a context. */
struct plan_field {
    enum saga_field_type type;
    bool repeated;
    int writer; /* step, or PLAN_NONE: input */
};

/* One field of a request. */
struct plan_use {
    int field;
    bool renamed; /* by bind */
};

enum plan_role { PLAN_STARTER, PLAN_READ, PLAN_UNDOABLE, PLAN_PIVOT, PLAN_RETRIABLE };

struct plan_step {
    enum plan_role role;
    int child;            /* definition, or PLAN_NONE */
    uint32_t after_mask;  /* direct */
    uint32_t before_mask; /* all that come before */
    bool kafka;
    bool silent; /* READ: its method has no side effects */
    size_t service, undo_service;
    struct plan_use call_uses[PLAN_USES_MAX], undo_uses[PLAN_USES_MAX];
    size_t call_use_count, undo_use_count;
    int results[PLAN_RESULTS_MAX]; /* fields */
    size_t result_count;
    int when; /* field, or PLAN_NONE */
    bool when_set;
    uint32_t attempts_max;
    int64_t delay_ms, delay_ms_max, deadline_ms, undo_deadline_ms;
};

struct plan {
    struct plan_field fields[PLAN_FIELDS_MAX];
    size_t field_count;
    struct plan_step steps[PLAN_STEPS_MAX];
    size_t step_count;
    int64_t deadline_ms;
};

struct plans {
    struct plan list[SAGA_WORKLOAD_DEFINITIONS_MAX];
    size_t count;
    size_t service_count;
};

/* Draws all definitions of a set. */
void saga_workload_plan(uint64_t seed, const struct saga_workload_shape *shape,
                        struct plans *plans);

#endif
