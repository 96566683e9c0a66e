/* The codes, their names, and who is hit. */
#include <string.h>

#include "common/base/assert.h"
#include "verify/compat/compat.h"

static const struct saga_compat_code_info infos[] = {
#define X(code, kind, severity, hit, summary)                                                      \
    {#code, SAGA_COMPAT_KIND_##kind, SAGA_COMPAT_##severity, SAGA_COMPAT_HIT_##hit, summary},
    SAGA_COMPAT_CODES(X)
#undef X
};

const struct saga_compat_code_info *saga_compat_code_info(enum saga_compat_code code)
{
    SAGA_ASSERT(code < SAGA_COMPAT_CODE_COUNT);
    return &infos[code];
}

bool saga_compat_code_find(const char *name, enum saga_compat_code *code)
{
    for (size_t i = 0; i < SAGA_COMPAT_CODE_COUNT; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            *code = (enum saga_compat_code)i;
            return true;
        }
    }
    return false;
}

const char *saga_compat_severity_name(enum saga_compat_severity severity)
{
    switch (severity) {
    case SAGA_COMPAT_NOTE:
        return "note";
    case SAGA_COMPAT_WARNING:
        return "warning";
    case SAGA_COMPAT_ERROR:
        break;
    }
    return "error";
}

const char *saga_compat_kind_name(enum saga_compat_kind kind)
{
    return kind == SAGA_COMPAT_KIND_WIRE ? "wire" : "saga";
}

const char *saga_compat_hit_name(enum saga_compat_hit hit)
{
    switch (hit) {
    case SAGA_COMPAT_HIT_NONE:
        break;
    case SAGA_COMPAT_HIT_CALL:
        return "call";
    case SAGA_COMPAT_HIT_UNDO:
        return "undo";
    case SAGA_COMPAT_HIT_OPEN:
        return "open";
    case SAGA_COMPAT_HIT_PIVOT:
        return "pivot";
    case SAGA_COMPAT_HIT_ALL:
        return "all";
    }
    return "none";
}

bool saga_compat_same(const struct saga_compat_finding *a, const struct saga_compat_finding *b)
{
    return a->code == b->code && strcmp(a->where, b->where) == 0 &&
           strcmp(a->message, b->message) == 0;
}

/* ---- Which sagas are hit ---- */

static const Saga__V1__StepView *find_step(const Saga__V1__SagaView *saga, const char *name)
{
    for (size_t i = 0; i < saga->n_steps; i++) {
        if (strcmp(saga->steps[i]->name, name) == 0) {
            return saga->steps[i];
        }
    }
    return NULL;
}

/* Past the pivot nothing is undone (S2), but by the saga that this one is a step of. */
static bool past_pivot(const Saga__V1__SagaView *saga)
{
    for (size_t i = 0; i < saga->n_steps; i++) {
        if (saga->steps[i]->pivot &&
            saga->steps[i]->state == SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED) {
            return true;
        }
    }
    return false;
}

static bool forward(const Saga__V1__SagaView *saga)
{
    return saga->state == SAGA__V1__SAGA_STATE__SAGA_STATE_RUNNING ||
           saga->state == SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED;
}

static bool call_ahead(const Saga__V1__SagaView *saga, const Saga__V1__StepView *step)
{
    return forward(saga) && (step->state == SAGA__V1__STEP_STATE__STEP_STATE_WAITING ||
                             step->state == SAGA__V1__STEP_STATE__STEP_STATE_CALLED);
}

static bool undo_ahead(const Saga__V1__SagaView *saga, const Saga__V1__StepView *step)
{
    switch (step->state) {
    case SAGA__V1__STEP_STATE__STEP_STATE_WAITING:
        return forward(saga) && !past_pivot(saga);
    case SAGA__V1__STEP_STATE__STEP_STATE_CALLED:
    case SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNKNOWN:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNDOING:
        return !past_pivot(saga);
    case SAGA__V1__STEP_STATE__STEP_STATE_UNSPECIFIED:
    case SAGA__V1__STEP_STATE__STEP_STATE_REJECTED:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNDONE:
    case SAGA__V1__STEP_STATE__STEP_STATE_SKIPPED:
    case _SAGA__V1__STEP_STATE_IS_INT_SIZE:
        break;
    }
    return false;
}

bool saga_compat_hits(const struct saga_compat_finding *finding, const Saga__V1__SagaView *saga,
                      bool held_by_parent)
{
    bool ended = saga->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED ||
                 (saga->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED && !held_by_parent);
    const Saga__V1__StepView *step = finding->step == NULL ? NULL : find_step(saga, finding->step);
    bool of_step = finding->hit == SAGA_COMPAT_HIT_CALL || finding->hit == SAGA_COMPAT_HIT_UNDO ||
                   finding->hit == SAGA_COMPAT_HIT_OPEN;
    if (ended || (of_step && step == NULL)) {
        return false;
    }
    switch (finding->hit) {
    case SAGA_COMPAT_HIT_NONE:
        break;
    case SAGA_COMPAT_HIT_CALL:
        return call_ahead(saga, step);
    case SAGA_COMPAT_HIT_UNDO:
        return undo_ahead(saga, step);
    case SAGA_COMPAT_HIT_OPEN:
        return call_ahead(saga, step) ||
               ((step->undo[0] != '\0' || step->saga[0] != '\0') && undo_ahead(saga, step));
    case SAGA_COMPAT_HIT_PIVOT:
        return forward(saga) && !past_pivot(saga);
    case SAGA_COMPAT_HIT_ALL:
        return true;
    }
    return false;
}
