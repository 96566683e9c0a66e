/* Small definitions for the tests of the checker. */
#ifndef SAGA_TESTS_CHECK_DEFS_H
#define SAGA_TESTS_CHECK_DEFS_H

#include "verify/check/check.h"

/* What a step is like. */
enum trait {
    STARTER = 1 << 0,
    READ_ONLY = 1 << 1,
    PIVOT = 1 << 2,
    WHEN = 1 << 3,
    UNDO = 1 << 4, /* by Kafka */
    UNDO_NNG = 1 << 5,
    KAFKA = 1 << 6, /* the call */
    CHILD = 1 << 7, /* both */
};

/* A definition with names of its own. */
struct defs {
    struct saga_definition def;
    const char *names[SAGA_STEPS_MAX];
    struct saga_check_config config;
};

enum { ATTEMPTS = 3 };

/* Begins a definition; config: one attempt, one thread, 256 MiB. */
void defs_init(struct defs *defs);

/* Adds a step; after: its direct predecessors, as bits. Returns its bit. */
uint64_t defs_add(struct defs *defs, const char *name, unsigned traits, uint64_t after);

/* create-order, with calls by NNG or Kafka. */
void defs_order(struct defs *defs, unsigned road);

/* Two like branches between a starter and a pivot. */
void defs_diamond(struct defs *defs);

/* Runs; the test fails on an error. */
void defs_run(struct defs *defs, struct saga_check_result *result);

/* Runs and asserts that it is proved; prints the transcript if not. */
void defs_prove(struct defs *defs, struct saga_check_result *result);

#endif
