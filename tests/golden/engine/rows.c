#include "tests/golden/engine/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"

static size_t place(const struct rows *rows, const char *text, bool *there)
{
    size_t low = 0;
    size_t high = rows->count;
    *there = false;
    while (low < high && !*there) {
        size_t middle = (low + high) / 2;
        int order = strcmp(rows->texts[middle], text);
        *there = order == 0;
        low = order < 0 ? middle + 1 : low;
        high = order > 0 ? middle : high;
    }
    return low;
}

bool rows_have(const struct rows *rows, const char *text)
{
    bool there = false;
    (void)place(rows, text, &there);
    return there;
}

bool rows_put(struct rows *rows, const char *text)
{
    bool there = false;
    size_t at = place(rows, text, &there);
    if (there) {
        return false;
    }
    SAGA_ASSERT(rows->count < ROWS_MAX);
    memmove(rows->texts[at + 1], rows->texts[at], (rows->count - at) * sizeof rows->texts[0]);
    (void)snprintf(rows->texts[at], sizeof rows->texts[0], "%s", text);
    rows->count++;
    return true;
}

/* ---- words ---- */

static const char *kind_of(const struct saga_definition *def, uint8_t step)
{
    const struct saga_step_def *own = &def->steps[step];
    return own->pivot                               ? "pivot"
           : (def->retriable_mask >> step & 1) != 0 ? "retriable"
           : !own->has_call                         ? "starter"
           : own->read_only                         ? "read-only"
           : own->has_undo                          ? "compensatable"
                                                    : "without-undo";
}

static void step_words(const struct saga_step_run *run, char *out, size_t size)
{
    static const char *const waits[] = {"", "/durable", "/reply", "/retry", "/child"};
    (void)snprintf(out, size, "%s%s%s", saga_step_state_name((enum saga_step_state)run->state),
                   waits[run->wait], run->parked ? "/parked" : "");
}

static const char *class_of(const struct saga_event *ev)
{
    static const char *const names[] = {
        [SAGA_CODE_CLASS_SUCCESS] = "success", [SAGA_CODE_CLASS_REJECT] = "reject",
        [SAGA_CODE_CLASS_RETRY] = "retry",     [SAGA_CODE_CLASS_UNKNOWN] = "unknown",
        [SAGA_CODE_CLASS_PARK] = "park",
    };
    return ev->not_sent ? "unsent" : ev->key_reused ? "reused" : names[saga_code_class(ev->code)];
}

static const char *act_of(enum saga_act act)
{
    static const char *const acts[] = {"?",          "retry",   "cancel", "skip",
                                       "compensate", "resolve", "pause",  "resume"};
    return acts[act];
}

static bool deadline_passes(const struct saga_definition *def, const struct saga *saga,
                            const struct saga_event *ev)
{
    struct saga idle = *saga;
    for (uint8_t i = 0; i < idle.step_count; i++) {
        idle.steps[i].due_unix_ms = 0;
    }
    int64_t due = saga_next_due(def, &idle); /* the saga's own */
    return due != 0 && due <= ev->now_unix_ms;
}

/* A timer that takes what is not due: what it waits for was set by a clock that has gone back
 * since. */
static bool clock_went_back(const struct saga *saga, const struct saga_event *ev)
{
    for (uint8_t i = 0; i < saga->step_count; i++) {
        int64_t due = saga->steps[i].due_unix_ms;
        if (due != 0 && due <= ev->now_unix_ms) {
            return false;
        }
    }
    return true;
}

static void event_words(const struct saga_definition *def, const struct saga *before,
                        const struct saga_event *ev, char *out, size_t size)
{
    const char *op = ev->op == SAGA_OP_UNDO ? "undo" : "call";
    const char *paused = ev->paused ? " paused" : "";
    switch (ev->kind) {
    case SAGA_EVENT_START:
        (void)snprintf(out, size, "start%s", paused);
        break;
    case SAGA_EVENT_REPLY: {
        const struct saga_step_run *run = &before->steps[ev->step];
        uint32_t present = ev->op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
        (void)snprintf(out, size, "reply %s %s%s%s", op, class_of(ev),
                       ev->attempt < present ? " to an earlier attempt" : "", paused);
        break;
    }
    case SAGA_EVENT_TIMER:
        (void)snprintf(out, size, "%s%s",
                       deadline_passes(def, before, ev) ? "deadline"
                       : clock_went_back(before, ev)    ? "timer and the clock went back"
                                                        : "timer",
                       paused);
        break;
    case SAGA_EVENT_DURABLE:
        (void)snprintf(out, size, "durable %s", op);
        break;
    case SAGA_EVENT_RECOVERED:
        (void)snprintf(out, size, "recovered%s", paused);
        break;
    case SAGA_EVENT_OPERATOR:
        (void)snprintf(out, size, "operator %s%s%s", act_of(ev->act),
                       ev->step < before->step_count ? " of the step" : "", paused);
        break;
    case SAGA_EVENT_REVERSE:
        (void)snprintf(out, size, "reverse");
        break;
    }
}

/* The one step that an event is about. Returns -1: none; -2: more than one. */
static int subject_of(const struct saga_definition *def, const struct saga *before,
                      const struct saga_event *ev)
{
    if (ev->kind == SAGA_EVENT_REPLY || ev->kind == SAGA_EVENT_DURABLE ||
        (ev->kind == SAGA_EVENT_OPERATOR && ev->step < before->step_count)) {
        return ev->step;
    }
    bool timer = ev->kind == SAGA_EVENT_TIMER && !deadline_passes(def, before, ev);
    bool back = clock_went_back(before, ev);
    int subject = -1;
    for (uint8_t i = 0; i < before->step_count; i++) {
        const struct saga_step_run *run = &before->steps[i];
        bool live = run->state == SAGA_STEP_CALLED || run->state == SAGA_STEP_UNDOING;
        bool due = run->due_unix_ms != 0 && (back || run->due_unix_ms <= ev->now_unix_ms);
        if (timer ? due : live) {
            subject = subject == -1 ? i : -2;
        }
        if (subject == -2) {
            return -2;
        }
    }
    return subject;
}

bool row_of(const struct saga_definition *def, const struct saga *before,
            const struct saga_event *ev, const struct saga *after, enum saga_verdict verdict,
            char out[static ROW_SIZE])
{
    int subject = subject_of(def, before, ev);
    if (verdict == SAGA_VERDICT_IGNORED || subject == -2) {
        return false;
    }
    char event[64];
    char from[64] = "";
    char to[64] = "";
    event_words(def, before, ev, event, sizeof event);
    if (subject >= 0) {
        char state[40];
        step_words(&before->steps[subject], state, sizeof state);
        (void)snprintf(from, sizeof from, " %s %s", kind_of(def, (uint8_t)subject), state);
        step_words(&after->steps[subject], state, sizeof state);
        (void)snprintf(to, sizeof to, " %s", state);
    }
    if (verdict == SAGA_VERDICT_REFUSED) {
        (void)snprintf(out, ROW_SIZE, "%s%s | %s -> refused",
                       saga_state_name((enum saga_state)before->state), from, event);
    } else {
        (void)snprintf(out, ROW_SIZE, "%s%s | %s -> %s%s",
                       saga_state_name((enum saga_state)before->state), from, event,
                       saga_state_name((enum saga_state)after->state), to);
    }
    return true;
}
