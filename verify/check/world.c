/* A saga and the world around it, and how both become a key. */
#include <string.h>

#include "verify/check/internal.h"

enum { NOW = 1000000000 };

/* ---- the key: a word for the saga, then one for each step ---- */

enum {
    STATE_BITS = 4,
    WAIT_BITS = 3,
    COUNT_BITS = 4,
    ROW_BITS = 2,
};

static uint32_t take_bits(uint32_t *word, unsigned bits)
{
    uint32_t value = *word & ((1U << bits) - 1);
    *word >>= bits;
    return value;
}

/* Fields are put in the reverse order of taking. */
static void put_bits(uint32_t *word, unsigned bits, uint32_t value)
{
    *word = *word << bits | value;
}

static uint32_t at_most(uint32_t value, uint32_t max)
{
    return value < max ? value : max;
}

static bool is_live(const struct saga_step_run *run)
{
    return run->state == SAGA_STEP_CALLED || run->state == SAGA_STEP_UNDOING;
}

static uint32_t pack_step(const struct check *check, const struct world *world, uint8_t step)
{
    const struct saga_step_run *run = &world->saga.steps[step];
    const struct part *part = &world->parts[step];
    uint32_t attempts = run->state == SAGA_STEP_CALLED    ? run->call_attempts
                        : run->state == SAGA_STEP_UNDOING ? run->undo_attempts
                                                          : 0;
    uint32_t word = 0;
    put_bits(&word, 1, part->undo_sent ? 1 : 0);
    put_bits(&word, 1, part->old ? 1 : 0);
    put_bits(&word, ROW_BITS, part->present);
    put_bits(&word, ROW_BITS, part->undo_row);
    put_bits(&word, ROW_BITS, part->call_row);
    put_bits(&word, COUNT_BITS, is_live(run) ? at_most(run->failures, check->config.attempts) : 0);
    put_bits(&word, COUNT_BITS, at_most(attempts, check->counted));
    put_bits(&word, 1, run->parked ? 1 : 0);
    put_bits(&word, 1, run->stalled ? 1 : 0);
    put_bits(&word, 1, run->state == SAGA_STEP_CALLED && run->maybe_effect ? 1 : 0);
    put_bits(&word, WAIT_BITS, run->wait);
    put_bits(&word, STATE_BITS, run->state);
    return word;
}

static void unpack_step(const struct check *check, uint32_t word, struct world *world, uint8_t step)
{
    struct saga_step_run *run = &world->saga.steps[step];
    struct part *part = &world->parts[step];
    *run = (struct saga_step_run){.state = (uint8_t)take_bits(&word, STATE_BITS)};
    run->wait = (uint8_t)take_bits(&word, WAIT_BITS);
    run->maybe_effect = take_bits(&word, 1) != 0;
    run->stalled = take_bits(&word, 1) != 0;
    run->parked = take_bits(&word, 1) != 0;
    uint32_t attempts = take_bits(&word, COUNT_BITS);
    run->failures = take_bits(&word, COUNT_BITS);
    part->call_row = (uint8_t)take_bits(&word, ROW_BITS);
    part->undo_row = (uint8_t)take_bits(&word, ROW_BITS);
    part->present = (uint8_t)take_bits(&word, ROW_BITS);
    part->old = take_bits(&word, 1) != 0;
    part->undo_sent = take_bits(&word, 1) != 0;
    run->due_unix_ms = has_due(run) ? NOW + LATER_MS : 0;
    bool called = part->old || part->present != PRESENT_NONE;
    run->call_attempts = run->state == SAGA_STEP_CALLED ? attempts : called ? check->counted : 0;
    run->undo_attempts = run->state == SAGA_STEP_UNDOING  ? attempts
                         : run->state == SAGA_STEP_UNDONE ? check->counted
                                                          : 0;
}

void world_pack(const struct check *check, const struct world *world, uint32_t *key)
{
    uint32_t word = 0;
    put_bits(&word, 1, world->paused ? 1 : 0);
    put_bits(&word, 1, world->saga.cause != SAGA_CAUSE_NONE ? 1 : 0);
    put_bits(&word, STATE_BITS, world->saga.resume);
    put_bits(&word, STATE_BITS, world->saga.state);
    key[0] = word;
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        key[i + 1] = pack_step(check, world, i);
    }
}

void world_unpack(const struct check *check, const uint32_t *key, struct world *world)
{
    uint32_t word = key[0];
    memset(&world->saga, 0, offsetof(struct saga, steps));
    world->saga.state = (uint8_t)take_bits(&word, STATE_BITS);
    world->saga.resume = (uint8_t)take_bits(&word, STATE_BITS);
    world->saga.cause = take_bits(&word, 1) != 0 ? SAGA_CAUSE_CANCEL : SAGA_CAUSE_NONE;
    world->paused = take_bits(&word, 1) != 0;
    world->now = NOW;
    if (world->saga.state != SAGA_STATE_NONE) {
        world->saga.step_count = (uint8_t)check->def.step_count;
        world->saga.cause_step = SAGA_STEP_ALL;
        world->saga.seq = 1000;
        world->saga.seed = 1;
        world->saga.created_unix_ms = NOW;
        world->saga.deadline_unix_ms = NOW + LATER_MS;
    }
    world->saga.ended_unix_ms = saga_ended(&world->saga) ? NOW : 0;
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        unpack_step(check, key[i + 1], world, i);
    }
}

void world_copy(const struct check *check, struct world *to, const struct world *from)
{
    size_t steps = check->def.step_count;
    memcpy(&to->saga, &from->saga,
           offsetof(struct saga, steps) + steps * sizeof from->saga.steps[0]);
    memcpy(to->parts, from->parts, steps * sizeof from->parts[0]);
    to->paused = from->paused;
    to->now = from->now;
}

void world_init(const struct check *check, struct world *world)
{
    memset(world, 0, sizeof *world);
    world->now = NOW;
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        /* What the starter does itself is done before it asks for the saga. */
        world->parts[i].call_row = check->def.steps[i].has_call ? CALL_NONE : CALL_DONE;
    }
}

void world_order(const struct check *check, uint32_t *key)
{
    for (uint32_t g = 0; g < check->group_count; g++) {
        const struct group *group = &check->groups[g];
        for (uint8_t i = 1; i < group->count; i++) {
            uint32_t word = key[group->steps[i] + 1];
            uint8_t at = i;
            for (; at > 0 && key[group->steps[at - 1] + 1] > word; at--) {
                key[group->steps[at] + 1] = key[group->steps[at - 1] + 1];
            }
            key[group->steps[at] + 1] = word;
        }
    }
}

void world_vary(const struct check *check, struct world *world)
{
    enum { SHIFT = 777777, MORE = 5 };
    struct saga *saga = &world->saga;
    world->now += SHIFT;
    if (saga->state == SAGA_STATE_NONE) {
        return;
    }
    saga->seq += SHIFT;
    saga->seed = UINT64_C(0x9e3779b97f4a7c15);
    saga->created_unix_ms -= SHIFT;
    saga->deadline_unix_ms += SHIFT;
    saga->ended_unix_ms += saga->ended_unix_ms != 0 ? 1 : 0;
    if (saga->cause != SAGA_CAUSE_NONE) {
        saga->cause = SAGA_CAUSE_STEP;
        saga->cause_step = 0;
        saga->cause_code = SAGA_CODE_OUT_OF_RANGE;
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        struct saga_step_run *run = &saga->steps[i];
        bool call = run->state == SAGA_STEP_CALLED;
        bool undo = run->state == SAGA_STEP_UNDOING;
        run->last_code = SAGA_CODE_DATA_LOSS;
        run->due_unix_ms += run->due_unix_ms != 0 ? SHIFT + LATER_TWIN_MS - LATER_MS : 0;
        run->call_attempts += run->call_attempts == check->counted ? MORE : 0;
        run->undo_attempts += run->undo_attempts == check->counted ? MORE : 0;
        bool over = run->state > SAGA_STEP_CALLED && !undo;
        run->failures = over                                      ? 1
                        : run->failures == check->config.attempts ? run->failures + MORE
                                                                  : run->failures;
        run->maybe_effect = run->maybe_effect || (!call && run->state > SAGA_STEP_CALLED);
    }
}

/* ---- facts ---- */

bool has_due(const struct saga_step_run *run)
{
    return run->wait == SAGA_WAIT_REPLY || run->wait == SAGA_WAIT_RETRY;
}

bool is_retriable(const struct check *check, uint8_t step)
{
    return (check->def.retriable_mask >> step & 1) != 0;
}

bool with(const struct check *check, unsigned part)
{
    return (check->config.without & part) == 0;
}

bool step_has_effects(const struct check *check, uint8_t step)
{
    return !check->def.steps[step].read_only;
}

bool has_effect(const struct check *check, const struct world *world, uint8_t step)
{
    const struct part *part = &world->parts[step];
    return step_has_effects(check, step) && part->call_row == CALL_DONE &&
           part->undo_row != UNDO_DONE;
}

bool may_answer(const struct world *world, uint8_t step)
{
    return world->parts[step].old || world->parts[step].present != PRESENT_NONE;
}

bool may_take_effect(const struct check *check, const struct world *world, uint8_t step)
{
    const struct part *part = &world->parts[step];
    return step_has_effects(check, step) && may_answer(world, step) &&
           part->call_row == CALL_NONE && part->undo_row == UNDO_NONE;
}

enum saga_check_effect effect_of(const struct check *check, const struct world *world, uint8_t step)
{
    return has_effect(check, world, step)             ? SAGA_CHECK_DONE
           : world->parts[step].undo_row == UNDO_DONE ? SAGA_CHECK_UNDONE
                                                      : SAGA_CHECK_NONE;
}

/* ---- preparing ---- */

static bool alike(const struct saga_definition *def, uint8_t a, uint8_t b)
{
    const struct saga_step_def *x = &def->steps[a];
    const struct saga_step_def *y = &def->steps[b];
    bool same = x->after_mask == y->after_mask && x->has_call == y->has_call &&
                x->has_undo == y->has_undo && x->read_only == y->read_only && !x->pivot &&
                !y->pivot && x->conditional == y->conditional && x->call_via == y->call_via &&
                x->undo_via == y->undo_via && x->call_attempts_max == y->call_attempts_max &&
                x->undo_attempts_max == y->undo_attempts_max;
    for (uint32_t i = 0; same && i < def->step_count; i++) {
        same = (def->steps[i].after_mask >> a & 1) == (def->steps[i].after_mask >> b & 1);
    }
    return same;
}

static void find_groups(struct check *check)
{
    uint64_t seen = 0;
    uint8_t count = (uint8_t)check->def.step_count;
    for (uint8_t i = 0; i < count; i++) {
        struct group group = {.steps = {i}, .count = 1};
        for (uint8_t j = (uint8_t)(i + 1); j < count && (seen >> i & 1) == 0; j++) {
            if ((seen >> j & 1) == 0 && alike(&check->def, i, j)) {
                group.steps[group.count++] = j;
                seen |= UINT64_C(1) << j;
            }
        }
        if (group.count > 1) {
            check->groups[check->group_count++] = group;
        }
    }
}

enum saga_err check_init(struct check *check, const struct saga_check_config *config)
{
    static const struct saga_check_engine shipped = {.step = saga_step,
                                                     .invariant = saga_invariant};
    memset(check, 0, sizeof *check);
    if (config->def->step_count == 0 || config->def->step_count > SAGA_STEPS_MAX ||
        config->attempts == 0 || config->attempts > SAGA_CHECK_ATTEMPTS_MAX ||
        config->threads == 0 || config->threads > SAGA_CHECK_THREADS_MAX) {
        return SAGA_ERR_INVALID;
    }
    check->config = *config;
    check->def = *config->def;
    check->engine = config->engine != NULL ? *config->engine : shipped;
    check->counted = config->attempts > 2 ? config->attempts : 2;
    check->pivot = SAGA_STEP_ALL;
    uint8_t count = (uint8_t)check->def.step_count;
    for (uint8_t i = 0; i < count; i++) {
        struct saga_step_def *step = &check->def.steps[i];
        check->clamped = check->clamped || step->call_attempts_max > config->attempts ||
                         step->undo_attempts_max > config->attempts;
        step->call_attempts_max = at_most(step->call_attempts_max, config->attempts);
        step->undo_attempts_max = at_most(step->undo_attempts_max, config->attempts);
        check->pivot = step->pivot ? i : check->pivot;
    }
    if (!saga_definition_finish(&check->def)) {
        return SAGA_ERR_INVALID;
    }
    check->key_words = check->def.step_count + 1;
    if (!config->no_symmetry) {
        find_groups(check);
    }
    return SAGA_ERR_OK;
}
