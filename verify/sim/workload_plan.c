/* Draws random sagas: steps in an order, what each is, which data it takes and gives. */
#include "verify/sim/workload_plan.h"

#include "common/base/assert.h"
#include "common/base/prng.h"

struct drawing {
    uint64_t prng;
    struct plans *plans;
    struct plan *plan;
    int index; /* of the plan */
};

static uint64_t draw(struct drawing *drawing, uint64_t bound)
{
    return saga_prng_below(&drawing->prng, bound);
}

static bool chance(struct drawing *drawing, unsigned percent)
{
    return draw(drawing, 100) < percent;
}

static int64_t between(struct drawing *drawing, int64_t low, int64_t high)
{
    return low + (int64_t)draw(drawing, (uint64_t)(high - low) + 1);
}

/* ---- Fields ---- */

static const enum saga_field_type field_types[] = {
    SAGA_FIELD_INT64,  SAGA_FIELD_INT32,   SAGA_FIELD_UINT32,   SAGA_FIELD_UINT64,
    SAGA_FIELD_BOOL,   SAGA_FIELD_STRING,  SAGA_FIELD_STRING,   SAGA_FIELD_BYTES,
    SAGA_FIELD_ENUM,   SAGA_FIELD_DOUBLE,  SAGA_FIELD_FLOAT,    SAGA_FIELD_SINT64,
    SAGA_FIELD_SINT32, SAGA_FIELD_FIXED64, SAGA_FIELD_SFIXED32, SAGA_FIELD_MESSAGE,
};

static int add_field(struct drawing *drawing, int writer)
{
    struct plan *plan = drawing->plan;
    SAGA_ASSERT(plan->field_count < PLAN_FIELDS_MAX);
    struct plan_field field = {.writer = writer};
    /* One draw after the other: C leaves the order within an initialiser open. */
    field.type = field_types[draw(drawing, sizeof field_types / sizeof field_types[0])];
    field.repeated = chance(drawing, 15);
    plan->fields[plan->field_count] = field;
    return (int)plan->field_count++;
}

/* Tells whether a step may read a field: an input, or what came before it. */
static bool is_known(const struct plan *plan, size_t step, size_t field)
{
    int writer = plan->fields[field].writer;
    return writer == PLAN_NONE || (plan->steps[step].before_mask >> writer & 1) != 0;
}

static size_t draw_uses(struct drawing *drawing, size_t step, struct plan_use uses[PLAN_USES_MAX])
{
    const struct plan *plan = drawing->plan;
    size_t count = 0;
    for (size_t i = 0; i < plan->field_count && count < PLAN_USES_MAX; i++) {
        if (is_known(plan, step, i) && chance(drawing, 50)) {
            uses[count++] = (struct plan_use){.field = (int)i, .renamed = chance(drawing, 20)};
        }
    }
    return count;
}

/* ---- Order ---- */

static void close_order(struct plan *plan, size_t step)
{
    uint32_t before = plan->steps[step].after_mask;
    for (size_t i = 0; i < step; i++) {
        before |= (before >> i & 1) != 0 ? plan->steps[i].before_mask : 0;
    }
    plan->steps[step].before_mask = before;
}

/* Steps are in an order in which each comes after some of those before it. */
static void draw_order(struct drawing *drawing, size_t first, size_t end, uint32_t base_mask,
                       unsigned percent)
{
    struct plan *plan = drawing->plan;
    for (size_t i = first; i < end; i++) {
        struct plan_step *step = &plan->steps[i];
        for (size_t j = first; j < i; j++) {
            step->after_mask |= chance(drawing, percent) ? UINT32_C(1) << j : 0;
        }
        if (step->after_mask == 0) {
            step->after_mask = base_mask;
        }
        close_order(plan, i);
    }
}

/* What nothing comes after, of those below end. */
static uint32_t loose_ends(const struct plan *plan, size_t end)
{
    uint32_t covered = 0;
    for (size_t i = 0; i < end; i++) {
        covered |= plan->steps[i].before_mask;
    }
    return ((UINT32_C(1) << end) - 1) & ~covered;
}

/* ---- Roles ---- */

static bool has_pivot(const struct plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].role == PLAN_PIVOT) {
            return true;
        }
    }
    return false;
}

/* A later definition that this step can run; PLAN_NONE. */
static int draw_child(struct drawing *drawing, const struct plan_step *step)
{
    size_t later = drawing->plans->count - (size_t)drawing->index - 1;
    bool may = step->role == PLAN_UNDOABLE || step->role == PLAN_PIVOT;
    if (later == 0 || !may || !chance(drawing, 20)) {
        return PLAN_NONE;
    }
    int child = drawing->index + 1 + (int)draw(drawing, later);
    bool undoable = !has_pivot(&drawing->plans->list[child]);
    return undoable || step->role == PLAN_PIVOT ? child : PLAN_NONE;
}

static void draw_roles(struct drawing *drawing, size_t pivot)
{
    struct plan *plan = drawing->plan;
    size_t children = 0;
    for (size_t i = 0; i < plan->step_count; i++) {
        struct plan_step *step = &plan->steps[i];
        step->role = i == pivot            ? PLAN_PIVOT
                     : i > pivot           ? PLAN_RETRIABLE
                     : chance(drawing, 20) ? PLAN_READ
                                           : PLAN_UNDOABLE;
        bool alone = i == 0 && pivot != 0 && chance(drawing, 40);
        step->role = alone ? PLAN_STARTER : step->role;
        step->silent = step->role == PLAN_READ && chance(drawing, 50);
        int child = draw_child(drawing, step);
        step->child = children < 2 ? child : PLAN_NONE;
        children += step->child == PLAN_NONE ? 0 : 1;
    }
}

/* ---- One step ---- */

static void draw_condition(struct drawing *drawing, size_t at)
{
    struct plan_step *step = &drawing->plan->steps[at];
    bool may = step->role != PLAN_PIVOT && step->role != PLAN_STARTER && chance(drawing, 20);
    step->when = PLAN_NONE;
    for (size_t i = 0; may && i < drawing->plan->field_count; i++) {
        const struct plan_field *field = &drawing->plan->fields[i];
        bool plain = !field->repeated && field->type != SAGA_FIELD_MESSAGE;
        if (plain && is_known(drawing->plan, at, i) && chance(drawing, 50)) {
            bool floats = field->type == SAGA_FIELD_DOUBLE || field->type == SAGA_FIELD_FLOAT;
            step->when = (int)i;
            step->when_set = floats || field->type == SAGA_FIELD_BYTES || chance(drawing, 50);
            return;
        }
    }
}

/* What a child saga brings is taken into fields of its own; see workload_def.c. */
static void draw_results(struct drawing *drawing, size_t at)
{
    struct plan_step *step = &drawing->plan->steps[at];
    step->result_count = 0;
    if (step->role == PLAN_STARTER) {
        return;
    }
    if (step->child == PLAN_NONE) {
        size_t count = draw(drawing, PLAN_RESULTS_MAX + 1);
        for (size_t i = 0; i < count; i++) {
            step->results[step->result_count++] = add_field(drawing, (int)at);
        }
        return;
    }
    const struct plan *child = &drawing->plans->list[step->child];
    for (size_t i = 0; i < child->field_count && step->result_count < PLAN_RESULTS_MAX; i++) {
        if (child->fields[i].writer != PLAN_NONE) {
            int field = add_field(drawing, (int)at);
            drawing->plan->fields[field].type = child->fields[i].type;
            drawing->plan->fields[field].repeated = child->fields[i].repeated;
            step->results[step->result_count++] = field;
        }
    }
}

static void draw_policy(struct drawing *drawing, struct plan_step *step)
{
    step->kafka = chance(drawing, 30);
    step->service = (size_t)draw(drawing, drawing->plans->service_count);
    step->undo_service = step->service;
    step->attempts_max = 1 + (uint32_t)draw(drawing, 5);
    step->delay_ms = between(drawing, 1, 300);
    step->delay_ms_max = step->delay_ms * between(drawing, 1, 20);
    step->deadline_ms = between(drawing, 100, 5000);
    step->undo_deadline_ms = between(drawing, 100, 10000);
}

static void draw_step(struct drawing *drawing, size_t at)
{
    struct plan_step *step = &drawing->plan->steps[at];
    draw_policy(drawing, step);
    draw_condition(drawing, at);
    step->call_use_count = draw_uses(drawing, at, step->call_uses);
    step->undo_use_count = draw_uses(drawing, at, step->undo_uses);
    draw_results(drawing, at);
}

static void draw_plan(struct drawing *drawing, const struct saga_workload_shape *shape)
{
    struct plan *plan = drawing->plan;
    size_t steps_max = shape->step_count_max == 0 || shape->step_count_max > PLAN_STEPS_MAX
                           ? PLAN_STEPS_MAX
                           : shape->step_count_max;
    plan->step_count = 1 + (size_t)draw(drawing, steps_max);
    /* Without a pivot all can be undone; then it can be a child of any step. */
    bool last = drawing->index + 1 == (int)drawing->plans->count;
    bool pivots = !(last && drawing->plans->count > 1) && chance(drawing, 75);
    size_t pivot = pivots ? (size_t)draw(drawing, plan->step_count) : plan->step_count;
    draw_roles(drawing, pivot);
    /* From chains over diamonds to steps that all begin at once. */
    unsigned percent = (unsigned)draw(drawing, 101);
    draw_order(drawing, 0, pivot, 0, percent);
    if (pivot < plan->step_count) {
        plan->steps[pivot].after_mask = loose_ends(plan, pivot);
        close_order(plan, pivot);
        draw_order(drawing, pivot + 1, plan->step_count, UINT32_C(1) << pivot, percent);
    }
    size_t inputs = 1 + (size_t)draw(drawing, PLAN_INPUTS_MAX);
    for (size_t i = 0; i < inputs; i++) {
        (void)add_field(drawing, PLAN_NONE);
    }
    int64_t longest = 0;
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        draw_step(drawing, i);
        longest += step->child == PLAN_NONE ? step->deadline_ms
                                            : drawing->plans->list[step->child].deadline_ms;
    }
    plan->deadline_ms = longest * between(drawing, 1, 4);
}

static size_t or_most(size_t asked, size_t most)
{
    return asked == 0 || asked > most ? most : asked;
}

void saga_workload_plan(uint64_t seed, const struct saga_workload_shape *shape, struct plans *plans)
{
    struct drawing drawing = {.prng = seed ^ UINT64_C(0xdef1d1f1de5e11e5), .plans = plans};
    *plans = (struct plans){
        .count = or_most(shape->definition_count, SAGA_WORKLOAD_DEFINITIONS_MAX),
        .service_count = or_most(shape->service_count, SAGA_WORKLOAD_SERVICES_MAX),
    };
    /* The last one first: those before it may run it. */
    for (size_t i = plans->count; i > 0; i--) {
        drawing.index = (int)i - 1;
        drawing.plan = &plans->list[i - 1];
        draw_plan(&drawing, shape);
    }
}
