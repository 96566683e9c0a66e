/* The door of the checker. */
#include "verify/check/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/check/internal.h"

unsigned saga_check_part_find(const char *name)
{
    static const struct {
        const char *name;
        unsigned part;
    } parts[] = {
        {"operator", SAGA_CHECK_OPERATOR}, {"cancel", SAGA_CHECK_CANCEL},
        {"pause", SAGA_CHECK_PAUSE},       {"crash", SAGA_CHECK_CRASH},
        {"deadline", SAGA_CHECK_DEADLINE}, {"unsent", SAGA_CHECK_UNSENT},
        {"park", SAGA_CHECK_PARK},         {"timeout", SAGA_CHECK_TIMEOUT},
        {"late", SAGA_CHECK_LATE},         {"retry", SAGA_CHECK_RETRY},
        {"unknown", SAGA_CHECK_UNKNOWN},   {"start", SAGA_CHECK_START},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strcmp(parts[i].name, name) == 0) {
            return parts[i].part;
        }
    }
    return 0;
}

static enum saga_err run(struct exploration *exploration)
{
    struct saga_check_result *result = exploration->result;
    const struct saga_check_config *config = &exploration->check->config;
    enum saga_err err = explore(exploration);
    if (err == SAGA_ERR_OK && result->verdict == SAGA_CHECK_PROVED) {
        if (config->progress != NULL) {
            struct saga_check_progress progress = {.states = result->states,
                                                   .transitions = result->transitions,
                                                   .depth = result->depth,
                                                   .memory = result->memory,
                                                   .ending = true};
            config->progress(config->user, &progress);
        }
        err = check_heals(exploration);
    }
    if (err == SAGA_ERR_OK) {
        err = gather_outcomes(exploration);
    }
    if (err == SAGA_ERR_OK && exploration->finding.wrong != NULL) {
        (void)snprintf(result->wrong, sizeof result->wrong, "%s", exploration->finding.wrong);
        err = write_transcript(exploration, &result->transcript);
    }
    return err;
}

enum saga_err saga_check_run(const struct saga_check_config *config,
                             struct saga_check_result *result)
{
    memset(result, 0, sizeof *result);
    struct check *check = calloc(1, sizeof *check);
    struct exploration *exploration = calloc(1, sizeof *exploration);
    enum saga_err err =
        check == NULL || exploration == NULL ? SAGA_ERR_NO_MEMORY : check_init(check, config);
    if (err == SAGA_ERR_OK) {
        exploration->check = check;
        exploration->result = result;
        result->alike = check->group_count;
        result->clamped = check->clamped;
        err = space_init(&exploration->space, check);
    }
    if (err == SAGA_ERR_OK) {
        err = guard_install();
    }
    if (err == SAGA_ERR_OK) {
        err = run(exploration);
        guard_remove();
    }
    if (exploration != NULL) {
        space_fini(&exploration->space);
        free(exploration->walk);
    }
    free(exploration);
    free(check);
    return err;
}

void saga_check_result_fini(struct saga_check_result *result)
{
    free(result->outcomes);
    saga_buf_fini(&result->transcript);
    memset(result, 0, sizeof *result);
}
