/* What became of each step of a saga, gathered from its events. See story_internal.h. */
#include <string.h>

#include "client/story_internal.h"
#include "common/base/status.h"

static struct chapter *chapter_of(struct teller *t, const char *name)
{
    for (size_t i = 0; i < t->chapter_count; i++) {
        if (strcmp(t->chapters[i].name, name) == 0) {
            return &t->chapters[i];
        }
    }
    if (t->chapter_count == SAGA_STEPS_MAX) {
        t->err = t->err == SAGA_ERR_OK ? SAGA_ERR_LIMIT : t->err;
        return NULL;
    }
    struct chapter *made = &t->chapters[t->chapter_count++];
    *made = (struct chapter){
        .name = name,
        .called_ms = -1,
        .answered_ms = -1,
        .undo_ms = -1,
        .undone_ms = -1,
        .call = {.first_ms = -1},
        .undo = {.first_ms = -1},
    };
    return made;
}

static void has_left(struct effort *effort)
{
    effort->first_ms = effort->first_ms < 0 ? effort->open_ms : effort->first_ms;
    effort->outbox = false;
}

/* The attempt that is out was not answered in time. */
static void gather_late(struct teller *t, struct effort *effort)
{
    has_left(effort);
    effort->open = false;
    effort->last_unsent = false;
    effort->last = &t->late;
}

static void gather_decision(struct teller *t, size_t index, const Saga__V1__Decision *decision)
{
    const Saga__V1__AuditEvent *event = t->story->events[index];
    struct chapter *chapter = chapter_of(t, decision->step);
    if (chapter == NULL) {
        return;
    }
    bool undo = decision->op == SAGA__V1__OP__OP_UNDO;
    struct effort *effort = undo ? &chapter->undo : &chapter->call;
    bool recovered = event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_RECOVERED;
    if (effort->open && !effort->outbox && recovered) {
        has_left(effort);
    } else if (effort->open && !effort->outbox) {
        gather_late(t, effort);
    }
    effort->decided = decision->attempt;
    effort->open = true;
    effort->open_ms = event->time_unix_ms - t->start_ms;
    effort->outbox = decision->via == SAGA__V1__VIA__VIA_KAFKA;
    chapter->nested = decision->via == SAGA__V1__VIA__VIA_CHILD;
}

static void gather_durable(struct teller *t, const Saga__V1__AuditEvent *event)
{
    struct chapter *chapter = chapter_of(t, event->step);
    if (chapter != NULL) {
        struct effort *effort =
            event->op == SAGA__V1__OP__OP_UNDO ? &chapter->undo : &chapter->call;
        effort->open_ms = event->time_unix_ms - t->start_ms;
        has_left(effort);
    }
}

static void gather_reply(struct teller *t, const Saga__V1__AuditEvent *event)
{
    struct chapter *chapter = chapter_of(t, event->step);
    if (chapter == NULL) {
        return;
    }
    struct effort *effort = event->op == SAGA__V1__OP__OP_UNDO ? &chapter->undo : &chapter->call;
    bool failed = event->status != NULL && event->status->code != SAGA_CODE_OK;
    if (failed && event->attempt != 0 && event->attempt < effort->decided) {
        return; /* of an earlier attempt, which has been dealt with */
    }
    effort->open = false;
    effort->last_unsent = failed && event->not_sent;
    if (effort->last_unsent) {
        effort->unsent++;
        effort->outbox = false;
        return;
    }
    has_left(effort);
    effort->last = failed ? event->status : effort->last;
}

/* A timer that moves and decides nothing has ended an attempt: the one that is out longest. */
static void gather_timer(struct teller *t, const Saga__V1__AuditEvent *event)
{
    struct effort *oldest = NULL;
    if (event->n_transitions > 0 || event->n_decisions > 0) {
        return;
    }
    for (size_t i = 0; i < t->chapter_count; i++) {
        struct chapter *chapter = &t->chapters[i];
        struct effort *effort = chapter->undo_ms >= 0 ? &chapter->undo : &chapter->call;
        bool out = effort->open && !effort->outbox;
        oldest = out && (oldest == NULL || effort->open_ms < oldest->open_ms) ? effort : oldest;
    }
    if (oldest != NULL) {
        gather_late(t, oldest);
    }
}

/* A step that turned the saga back by not answering has no event of its own. */
static void gather_cause(struct teller *t, const Saga__V1__AuditEvent *event)
{
    t->cause = event->cause;
    struct chapter *chapter = event->cause->step[0] == 0 ? NULL : chapter_of(t, event->cause->step);
    if (chapter != NULL && chapter->call.open &&
        event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_TIMER) {
        gather_late(t, &chapter->call);
    }
}

static void gather_move(struct teller *t, size_t index, const Saga__V1__Transition *move)
{
    const Saga__V1__AuditEvent *event = t->story->events[index];
    int64_t at_ms = event->time_unix_ms - t->start_ms;
    struct chapter *chapter = chapter_of(t, move->step);
    if (chapter == NULL) {
        return;
    }
    chapter->state = move->to;
    chapter->uncertain = chapter->uncertain || move->to == SAGA__V1__STEP_STATE__STEP_STATE_UNKNOWN;
    bool by_hand = event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR;
    if (move->to == SAGA__V1__STEP_STATE__STEP_STATE_CALLED && chapter->called_ms < 0) {
        chapter->called_ms = at_ms;
        chapter->call_event = index;
    } else if (move->to == SAGA__V1__STEP_STATE__STEP_STATE_UNDOING) {
        chapter->undo_ms = chapter->undo_ms < 0 ? at_ms : chapter->undo_ms;
        chapter->undo_event = chapter->undo_ms == at_ms ? index : chapter->undo_event;
    } else if (move->to == SAGA__V1__STEP_STATE__STEP_STATE_UNDONE) {
        chapter->undone_ms = at_ms;
        chapter->empty = event->empty && strcmp(event->step, move->step) == 0;
        chapter->undo_by = by_hand ? event->operator_ : NULL;
    } else if (move->from == SAGA__V1__STEP_STATE__STEP_STATE_CALLED || chapter->called_ms >= 0) {
        chapter->answered_ms = chapter->answered_ms < 0 ? at_ms : chapter->answered_ms;
    }
    if (by_hand && strcmp(event->step, move->step) == 0 &&
        (move->to == SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED ||
         move->to == SAGA__V1__STEP_STATE__STEP_STATE_SKIPPED)) {
        chapter->call_by = event->operator_;
    }
}

static void gather_event(struct teller *t, size_t index)
{
    const Saga__V1__AuditEvent *event = t->story->events[index];
    int64_t at_ms = event->time_unix_ms - t->start_ms;
    for (size_t i = 0; i < event->n_transitions; i++) {
        gather_move(t, index, event->transitions[i]);
    }
    switch (event->kind) {
    case SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY:
        gather_reply(t, event);
        break;
    case SAGA__V1__EVENT_KIND__EVENT_KIND_DURABLE:
        gather_durable(t, event);
        break;
    case SAGA__V1__EVENT_KIND__EVENT_KIND_TIMER:
        gather_timer(t, event);
        break;
    case SAGA__V1__EVENT_KIND__EVENT_KIND_RECOVERED:
        t->recovered_ms = at_ms;
        t->recovered_count++;
        break;
    case SAGA__V1__EVENT_KIND__EVENT_KIND_START:
    case SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR:
    case SAGA__V1__EVENT_KIND__EVENT_KIND_REVERSE:
    case SAGA__V1__EVENT_KIND__EVENT_KIND_UNSPECIFIED:
    case _SAGA__V1__EVENT_KIND_IS_INT_SIZE:
    default:
        break;
    }
    if (event->cause != NULL) {
        gather_cause(t, event);
    }
    for (size_t i = 0; i < event->n_decisions; i++) {
        gather_decision(t, index, event->decisions[i]);
    }
    bool compensating = event->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATING ||
                        event->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED;
    if (compensating && t->turned_ms < 0) {
        t->turned_ms = at_ms;
        t->turned_event = index;
        t->turned_by = event->operator_;
    }
}

uint32_t story_left_count(const struct effort *effort)
{
    uint32_t out = effort->unsent + (effort->outbox ? 1 : 0);
    return effort->decided > out ? effort->decided - out : 0;
}

void story_gather(struct teller *t)
{
    static const char words[] = "no answer in time";
    saga__v1__status__init(&t->late);
    memcpy(t->late_words, words, sizeof words);
    t->late.code = SAGA_CODE_DEADLINE_EXCEEDED;
    t->late.message = t->late_words;
    for (size_t i = 0; i < t->story->event_count; i++) {
        gather_event(t, i);
    }
    for (size_t i = 0; i < t->chapter_count; i++) {
        struct effort *efforts[] = {&t->chapters[i].call, &t->chapters[i].undo};
        for (size_t k = 0; k < 2; k++) {
            if (efforts[k]->open && !efforts[k]->outbox) {
                has_left(efforts[k]);
            }
        }
    }
}
