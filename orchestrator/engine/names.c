#include "orchestrator/engine/engine.h"

const char *saga_state_name(enum saga_state state)
{
    switch (state) {
    case SAGA_STATE_NONE:
        return "NONE";
    case SAGA_STATE_RUNNING:
        return "RUNNING";
    case SAGA_STATE_COMPENSATING:
        return "COMPENSATING";
    case SAGA_STATE_COMPLETED:
        return "COMPLETED";
    case SAGA_STATE_COMPENSATED:
        return "COMPENSATED";
    case SAGA_STATE_PARKED:
        return "PARKED";
    }
    return "UNLISTED";
}

const char *saga_step_state_name(enum saga_step_state state)
{
    switch (state) {
    case SAGA_STEP_NONE:
        return "NONE";
    case SAGA_STEP_WAITING:
        return "WAITING";
    case SAGA_STEP_CALLED:
        return "CALLED";
    case SAGA_STEP_SUCCEEDED:
        return "SUCCEEDED";
    case SAGA_STEP_REJECTED:
        return "REJECTED";
    case SAGA_STEP_UNKNOWN:
        return "UNKNOWN";
    case SAGA_STEP_UNDOING:
        return "UNDOING";
    case SAGA_STEP_UNDONE:
        return "UNDONE";
    case SAGA_STEP_SKIPPED:
        return "SKIPPED";
    }
    return "UNLISTED";
}

const char *saga_event_kind_name(enum saga_event_kind kind)
{
    switch (kind) {
    case SAGA_EVENT_START:
        return "START";
    case SAGA_EVENT_REPLY:
        return "REPLY";
    case SAGA_EVENT_TIMER:
        return "TIMER";
    case SAGA_EVENT_DURABLE:
        return "DURABLE";
    case SAGA_EVENT_RECOVERED:
        return "RECOVERED";
    case SAGA_EVENT_OPERATOR:
        return "OPERATOR";
    case SAGA_EVENT_REVERSE:
        return "REVERSE";
    }
    return "UNLISTED";
}
