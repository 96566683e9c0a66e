#include "tests/unit/check/defs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MEMORY = 256 * 1024 * 1024 };

void defs_init(struct defs *defs)
{
    memset(defs, 0, sizeof *defs);
    defs->def.deadline_ms = 60000;
    defs->config = (struct saga_check_config){
        .def = &defs->def,
        .step_names = defs->names,
        .attempts = 1,
        .threads = 1,
        .memory_max = MEMORY,
    };
}

uint64_t defs_add(struct defs *defs, const char *name, unsigned traits, uint64_t after)
{
    uint32_t at = defs->def.step_count++;
    bool child = (traits & CHILD) != 0;
    defs->names[at] = name;
    defs->def.steps[at] = (struct saga_step_def){
        .after_mask = after,
        .has_call = (traits & STARTER) == 0,
        .has_undo = (traits & (UNDO | UNDO_NNG)) != 0,
        .read_only = (traits & READ_ONLY) != 0,
        .pivot = (traits & PIVOT) != 0,
        .conditional = (traits & WHEN) != 0,
        .call_via = child                   ? SAGA_VIA_CHILD
                    : (traits & KAFKA) != 0 ? SAGA_VIA_KAFKA
                                            : SAGA_VIA_NNG,
        .undo_via = child                      ? SAGA_VIA_CHILD
                    : (traits & UNDO_NNG) != 0 ? SAGA_VIA_NNG
                                               : SAGA_VIA_KAFKA,
        .call_attempts_max = ATTEMPTS,
        .undo_attempts_max = ATTEMPTS,
        .call_delay_ms = 50,
        .call_delay_ms_max = 1000,
        .undo_delay_ms = 50,
        .undo_delay_ms_max = 1000,
        .call_deadline_ms = 5000,
        .undo_deadline_ms = 10000,
    };
    return UINT64_C(1) << at;
}

void defs_order(struct defs *defs, unsigned road)
{
    defs_init(defs);
    uint64_t order = defs_add(defs, "order", STARTER | UNDO, 0);
    uint64_t customer = defs_add(defs, "customer", READ_ONLY | road, order);
    uint64_t stock = defs_add(defs, "stock", UNDO | road, order);
    uint64_t ticket = defs_add(defs, "ticket", UNDO | road, customer | stock);
    uint64_t payment = defs_add(defs, "payment", UNDO | road, ticket);
    uint64_t accept = defs_add(defs, "accept", PIVOT | road, payment);
    (void)defs_add(defs, "confirm", road, accept);
}

void defs_diamond(struct defs *defs)
{
    defs_init(defs);
    uint64_t begin = defs_add(defs, "begin", STARTER | UNDO, 0);
    uint64_t left = defs_add(defs, "left", UNDO, begin);
    uint64_t right = defs_add(defs, "right", UNDO, begin);
    (void)defs_add(defs, "pay", PIVOT, left | right);
}

void defs_run(struct defs *defs, struct saga_check_result *result)
{
    enum saga_err err = saga_check_run(&defs->config, result);
    if (err != SAGA_ERR_OK) {
        print_error("%s\n", saga_err_name(err));
    }
    assert_int_equal(err, SAGA_ERR_OK);
}

void defs_prove(struct defs *defs, struct saga_check_result *result)
{
    defs_run(defs, result);
    if (result->verdict != SAGA_CHECK_PROVED) {
        print_error("verdict %d, %s\n%.*s\n", (int)result->verdict, result->wrong,
                    (int)result->transcript.size,
                    result->transcript.size > 0 ? (const char *)result->transcript.data : "");
    }
    assert_int_equal(result->verdict, SAGA_CHECK_PROVED);
    assert_int_equal(result->transcript.size, 0);
    assert_true(result->states > 0 && result->ended > 0 && result->heal > 0);
}
