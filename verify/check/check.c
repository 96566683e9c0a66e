/* The door of the checker. */
#include "verify/check/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/check/internal.h"

/* In the order of their bits, with the rules that cannot be judged without them: what these say is
 * about nothing else, or about nothing without it. */
static const struct {
    const char *name;
    unsigned rules; /* 1 << number */
} parts[] = {
    {"operator", 1U << 12}, /* acts are recorded: only cancel would be left */
    {"cancel", 1U << 11},   {"pause", 0},   {"crash", 1U << 6}, /* what was decided before it is
                                                                   sent by the next process */
    {"deadline", 0},        {"unsent", 0},  {"park", 0},         {"timeout", 0},
    {"late", 1U << 3}, /* an outcome is taken once, however often it comes */
    {"retry", 0},           {"unknown", 0}, {"start", 1U << 10},
};

enum { PART_COUNT = sizeof parts / sizeof parts[0] };

_Static_assert(SAGA_CHECK_START == 1 << (PART_COUNT - 1), "one entry for each bit");

unsigned saga_check_part_find(const char *name)
{
    for (unsigned i = 0; i < PART_COUNT; i++) {
        if (strcmp(parts[i].name, name) == 0) {
            return 1U << i;
        }
    }
    return 0;
}

const char *saga_check_part_name(unsigned bit)
{
    return bit < PART_COUNT ? parts[bit].name : NULL;
}

bool saga_check_judges(unsigned without, unsigned number)
{
    bool checked = (number >= 1 && number <= 6) || (number >= 10 && number <= SAGA_CHECK_RULE_MAX);
    for (unsigned i = 0; i < PART_COUNT && checked; i++) {
        checked = (without >> i & 1) == 0 || (parts[i].rules >> number & 1) == 0;
    }
    return checked;
}

bool is_stopped(const struct check *check)
{
    return check->config.stop != NULL && atomic_load(check->config.stop) != 0;
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
