/* outcomes VARIANT ATTEMPTS: the outcomes that the production engine reaches, found by the
 * exhaustive checker, for the definition that the model calls SEQ, PAR, PIVOT or TAIL. One line
 * each. Acts of operators other than cancel, and pausing, are left out: the model has none. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/check/check.h"

enum { A = 0, B = 1, MEMORY_MAX = 512 * 1024 * 1024 };

static bool make_definition(const char *variant, struct saga_definition *def)
{
    const struct saga_step_def step = {
        .has_call = true,
        .call_via = SAGA_VIA_NNG,
        .undo_via = SAGA_VIA_NNG,
        .call_attempts_max = SAGA_CHECK_ATTEMPTS_MAX,
        .undo_attempts_max = SAGA_CHECK_ATTEMPTS_MAX,
        .call_delay_ms = 50,
        .call_delay_ms_max = 1000,
        .undo_delay_ms = 50,
        .undo_delay_ms_max = 1000,
        .call_deadline_ms = 5000,
        .undo_deadline_ms = 5000,
    };
    *def = (struct saga_definition){.step_count = 2, .deadline_ms = 60000, .steps = {step, step}};
    def->steps[B].after_mask = strcmp(variant, "PAR") == 0 ? 0 : UINT64_C(1) << A;
    if (strcmp(variant, "TAIL") == 0) {
        def->steps[A].pivot = true;
    } else {
        def->steps[A].has_undo = true;
    }
    if (strcmp(variant, "PIVOT") == 0) {
        def->steps[B].pivot = true;
    } else if (strcmp(variant, "SEQ") == 0 || strcmp(variant, "PAR") == 0) {
        def->steps[B].has_undo = true;
    } else if (strcmp(variant, "TAIL") != 0) {
        return false;
    }
    return saga_definition_finish(def);
}

static bool print_outcomes(const struct saga_check_config *config,
                           const struct saga_check_result *result)
{
    for (size_t i = 0; i < result->outcome_count; i++) {
        struct saga_buf line = {0};
        enum saga_err err = saga_check_outcome_text(config, &result->outcomes[i], &line);
        if (err == SAGA_ERR_OK) {
            (void)printf("%.*s\n", (int)line.size, (const char *)line.data);
        }
        saga_buf_fini(&line);
        if (err != SAGA_ERR_OK) {
            return false;
        }
    }
    return fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"a", "b"};
    struct saga_definition def;
    long attempts = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (attempts < 1 || attempts > SAGA_CHECK_ATTEMPTS_MAX || !make_definition(argv[1], &def)) {
        (void)fprintf(stderr, "usage: outcomes SEQ|PAR|PIVOT|TAIL ATTEMPTS\n");
        return 2;
    }
    const struct saga_check_config config = {
        .def = &def,
        .step_names = names,
        .attempts = (uint32_t)attempts,
        .threads = 1,
        .memory_max = MEMORY_MAX,
        .without = SAGA_CHECK_OPERATOR | SAGA_CHECK_PAUSE,
    };
    struct saga_check_result result = {0};
    enum saga_err err = saga_check_run(&config, &result);
    bool ok = err == SAGA_ERR_OK && result.verdict == SAGA_CHECK_PROVED;
    if (!ok) {
        (void)fprintf(stderr, "outcomes: %s, verdict %d: %s\n%.*s\n", saga_err_name(err),
                      (int)result.verdict, result.wrong, (int)result.transcript.size,
                      (const char *)result.transcript.data);
    }
    ok = ok && print_outcomes(&config, &result);
    saga_check_result_fini(&result);
    return ok ? 0 : 1;
}
