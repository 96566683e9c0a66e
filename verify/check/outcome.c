/* Outcomes: what is there at an end. */
#include <stdlib.h>
#include <string.h>

#include "verify/check/internal.h"

static int compare(const void *a, const void *b)
{
    const struct saga_check_outcome *x = a;
    const struct saga_check_outcome *y = b;
    if (x->state != y->state) {
        return x->state < y->state ? -1 : 1;
    }
    return x->effects < y->effects ? -1 : x->effects > y->effects;
}

/* A sorted list without doubles, that grows. */
static enum saga_err put(struct saga_check_result *result, struct saga_check_outcome outcome)
{
    size_t low = 0;
    size_t high = result->outcome_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(&result->outcomes[middle], &outcome);
        if (order == 0) {
            return SAGA_ERR_OK;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    if ((result->outcome_count & (result->outcome_count - 1)) == 0) {
        size_t capacity = result->outcome_count == 0 ? 1 : result->outcome_count * 2;
        struct saga_check_outcome *grown =
            realloc(result->outcomes, capacity * sizeof *result->outcomes);
        if (grown == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        result->outcomes = grown;
    }
    memmove(&result->outcomes[low + 1], &result->outcomes[low],
            (result->outcome_count - low) * sizeof *result->outcomes);
    result->outcomes[low] = outcome;
    result->outcome_count++;
    return SAGA_ERR_OK;
}

static unsigned effect_at(uint64_t effects, uint8_t step)
{
    return (unsigned)(effects >> 2 * step & 3);
}

static uint64_t exchange(uint64_t effects, uint8_t a, uint8_t b)
{
    uint64_t x = effect_at(effects, a);
    uint64_t y = effect_at(effects, b);
    effects &= ~(UINT64_C(3) << 2 * a | UINT64_C(3) << 2 * b);
    return effects | x << 2 * b | y << 2 * a;
}

/* A state stands for all exchanges of like steps: closes the list over exchanges of two. */
static enum saga_err put_alike(const struct check *check, struct saga_check_result *result)
{
    bool again = true;
    enum saga_err err = SAGA_ERR_OK;
    while (again && err == SAGA_ERR_OK) {
        size_t before = result->outcome_count;
        for (uint32_t g = 0; g < check->group_count; g++) {
            const struct group *group = &check->groups[g];
            for (size_t i = 0; i < result->outcome_count && err == SAGA_ERR_OK; i++) {
                for (uint8_t k = 1; k < group->count && err == SAGA_ERR_OK; k++) {
                    struct saga_check_outcome outcome = result->outcomes[i];
                    outcome.effects =
                        exchange(outcome.effects, group->steps[k - 1], group->steps[k]);
                    err = put(result, outcome);
                }
            }
        }
        again = result->outcome_count != before;
    }
    return err;
}

enum saga_err gather_outcomes(const struct exploration *exploration)
{
    const struct check *check = exploration->check;
    struct saga_check_result *result = exploration->result;
    struct world *world = calloc(1, sizeof *world);
    enum saga_err err = world == NULL ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
    for (uint32_t s = 0; s < SPACE_SHARDS; s++) {
        for (uint32_t i = 0; i < exploration->space.shards[s].count && err == SAGA_ERR_OK; i++) {
            world_unpack(check, space_state(&exploration->space, space_id(s, i)), world);
            if (!saga_ended(&world->saga)) {
                continue;
            }
            result->ended++;
            struct saga_check_outcome outcome = {.state = world->saga.state};
            for (uint8_t k = 0; k < check->def.step_count; k++) {
                outcome.effects |= (uint64_t)effect_of(check, world, k) << 2 * k;
            }
            err = put(result, outcome);
        }
    }
    free(world);
    return err == SAGA_ERR_OK ? put_alike(check, result) : err;
}

enum saga_err saga_check_outcome_text(const struct saga_check_config *config,
                                      const struct saga_check_outcome *outcome,
                                      struct saga_buf *out)
{
    static const char *const words[] = {"none", "done", "undone", "?"};
    enum saga_err err =
        saga_buf_append(out, saga_bytes_text(saga_state_name((enum saga_state)outcome->state)));
    for (uint8_t i = 0; i < config->def->step_count && err == SAGA_ERR_OK; i++) {
        const char *const parts[] = {" ", config->step_names[i], "=",
                                     words[effect_at(outcome->effects, i)]};
        for (size_t k = 0; k < sizeof parts / sizeof parts[0] && err == SAGA_ERR_OK; k++) {
            err = saga_buf_append(out, saga_bytes_text(parts[k]));
        }
    }
    return err;
}
