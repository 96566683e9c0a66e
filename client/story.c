/* The story of a saga. See story.h.
 *
 * First the events are gathered into what became of each step; then the story is told: the
 * beginning, the calls in the order in which they went out, what turned it back, the undos in their
 * order, who interfered, the end or what it waits for. */
#include "client/story.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "common/base/limits.h"
#include "common/base/status.h"

/* What became of one step. Times are milliseconds since the start; -1: did not happen. */
struct chapter {
    const char *name;
    int64_t called_ms;
    int64_t answered_ms;
    int64_t undo_ms;
    int64_t undone_ms;
    size_t call_event; /* event by which it was called: steps of one event went out together */
    size_t undo_event;
    uint32_t call_attempts;
    uint32_t undo_attempts;
    Saga__V1__StepState state;
    const Saga__V1__Status *last; /* last status other than OK of its call */
    const Saga__V1__Status *last_undo;
    bool uncertain; /* it was given up, or the saga turned back, before its call was answered */
    bool empty;     /* its undo found nothing */
    bool resolved;  /* moved by an operator's hand */
    bool told;
};

struct teller {
    const struct saga_story *story;
    struct saga_buf *out;
    enum saga_err err;
    size_t line; /* columns used of the present line */
    struct chapter chapters[SAGA_STEPS_MAX];
    size_t chapter_count;
    int64_t start_ms;
    int64_t turned_ms; /* when it turned back; -1: it did not */
    const Saga__V1__Failure *cause;
    const Saga__V1__Operator *turned_by;
    int64_t recovered_ms;
    size_t recovered_count;
};

/* ---- Writing ---- */

static void put(struct teller *t, const char *text, size_t size)
{
    if (t->err == SAGA_ERR_OK) {
        t->err = saga_buf_append(t->out, (struct saga_bytes){(const uint8_t *)text, size});
    }
}

static size_t columns(const char *text, size_t size)
{
    size_t width = 0;
    for (size_t i = 0; i < size; i++) {
        width += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return width;
}

/* Writes words and folds lines between them. A text that begins with a blank is a new word; one
 * that does not goes on with the last. */
static void say(struct teller *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct teller *t, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    saga_client_clean(text);
    const char *at = text;
    while (*at != 0) {
        bool blank = *at == ' ';
        at += blank;
        size_t size = strcspn(at, " ");
        size_t width = columns(at, size);
        if (blank && t->line > 0) {
            bool fold = t->story->width > 0 && t->line + 1 + width > t->story->width;
            put(t, fold ? "\n" : " ", 1);
            t->line = fold ? 0 : t->line + 1;
        }
        put(t, at, size);
        t->line += width;
        at += size;
    }
}

static void say_duration(struct teller *t, const char *before, int64_t ms)
{
    char text[SAGA_DURATION_TEXT_SIZE];
    saga_client_duration_text(ms, text);
    say(t, "%s %s", before, text);
}

/* Says a status: "FAILED_PRECONDITION, PAYMENT_DECLINED (balance 5, wanted 12)". */
static void say_status(struct teller *t, const Saga__V1__Status *status)
{
    say(t, " %s", saga_code_name(status->code));
    if (status->reason[0] != 0) {
        say(t, ", %s", status->reason);
    }
    if (status->message[0] != 0) {
        say(t, " (%s)", status->message);
    }
}

/* ---- Gathering ---- */

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
        .name = name, .called_ms = -1, .answered_ms = -1, .undo_ms = -1, .undone_ms = -1};
    return made;
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
        chapter->resolved = by_hand;
    } else if (move->from == SAGA__V1__STEP_STATE__STEP_STATE_CALLED || chapter->called_ms >= 0) {
        chapter->answered_ms = chapter->answered_ms < 0 ? at_ms : chapter->answered_ms;
        chapter->resolved = by_hand;
    }
}

static void gather_event(struct teller *t, size_t index)
{
    const Saga__V1__AuditEvent *event = t->story->events[index];
    int64_t at_ms = event->time_unix_ms - t->start_ms;
    for (size_t i = 0; i < event->n_transitions; i++) {
        gather_move(t, index, event->transitions[i]);
    }
    for (size_t i = 0; i < event->n_decisions; i++) {
        struct chapter *chapter = chapter_of(t, event->decisions[i]->step);
        if (chapter != NULL && event->decisions[i]->op == SAGA__V1__OP__OP_CALL) {
            chapter->call_attempts = event->decisions[i]->attempt;
        } else if (chapter != NULL) {
            chapter->undo_attempts = event->decisions[i]->attempt;
        }
    }
    if (event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY && event->status != NULL &&
        event->status->code != 0) {
        struct chapter *chapter = chapter_of(t, event->step);
        if (chapter != NULL && event->op == SAGA__V1__OP__OP_CALL) {
            chapter->last = event->status;
        } else if (chapter != NULL) {
            chapter->last_undo = event->status;
        }
    }
    if (event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_RECOVERED) {
        t->recovered_ms = at_ms;
        t->recovered_count++;
    }
    t->cause = event->cause != NULL ? event->cause : t->cause;
    bool compensating = event->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATING ||
                        event->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED;
    if (compensating && t->turned_ms < 0) {
        t->turned_ms = at_ms;
        t->turned_by = event->operator_;
    }
}

/* ---- Telling ---- */

/* Names a step at the beginning of a sentence or inside one: "step payment" reads well in both. */
static void say_names(struct teller *t, const char *before, struct chapter *const *group,
                      size_t count)
{
    say(t, "%s", before);
    for (size_t i = 0; i < count; i++) {
        say(t, "%s %s", i == 0 ? "" : i + 1 == count ? " and" : ",", group[i]->name);
    }
}

static void tell_beginning(struct teller *t)
{
    const Saga__V1__AuditEvent *first = t->story->events[0];
    struct saga_id id;
    char id_text[SAGA_ID_TEXT_SIZE] = "?";
    char time_text[SAGA_TIME_TEXT_SIZE];
    if (saga_client_id(first->saga_id.data, first->saga_id.len, &id) == SAGA_ERR_OK) {
        saga_id_format(id, id_text);
    }
    saga_client_time_text(first->time_unix_ms, time_text);
    say(t, "Saga %s (%s", id_text, first->definition);
    if (first->start_key[0] != 0) {
        say(t, ", key %s", first->start_key);
    }
    say(t, ") started at %s.", time_text);
}

static void tell_outcome(struct teller *t, const struct chapter *chapter)
{
    int64_t took_ms = chapter->answered_ms - chapter->called_ms;
    bool answered = chapter->answered_ms >= 0;
    bool succeeded = false;
    switch (chapter->state) {
    case SAGA__V1__STEP_STATE__STEP_STATE_REJECTED:
        say_duration(t, " said no after", took_ms);
        if (chapter->last != NULL) {
            say(t, ":");
            say_status(t, chapter->last);
        }
        return;
    case SAGA__V1__STEP_STATE__STEP_STATE_UNKNOWN:
        say(t, " gave no certain answer in %" PRIu32 " %s", chapter->call_attempts,
            chapter->call_attempts == 1 ? "attempt" : "attempts");
        if (chapter->last != NULL) {
            say(t, ", the last:");
            say_status(t, chapter->last);
        }
        return;
    case SAGA__V1__STEP_STATE__STEP_STATE_UNDOING:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNDONE:
        /* Undone later: it had succeeded, or nobody knew. The last refusal tells which. */
        if (chapter->uncertain && chapter->last == NULL) {
            say(t, " had not answered yet when the saga turned back");
            return;
        }
        succeeded = answered && !chapter->uncertain;
        break;
    case SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED:
        succeeded = true;
        break;
    case SAGA__V1__STEP_STATE__STEP_STATE_SKIPPED:
        say(t, " was skipped");
        return;
    case SAGA__V1__STEP_STATE__STEP_STATE_CALLED:
    case SAGA__V1__STEP_STATE__STEP_STATE_WAITING:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNSPECIFIED:
    case _SAGA__V1__STEP_STATE_IS_INT_SIZE:
    default:
        break;
    }
    if (!succeeded) {
        say(t, " has not succeeded after %" PRIu32 " %s", chapter->call_attempts,
            chapter->call_attempts == 1 ? "attempt" : "attempts");
        if (chapter->last != NULL) {
            say(t, ", the last:");
            say_status(t, chapter->last);
        }
        return;
    }
    say(t, chapter->resolved ? " was settled by hand after" : " succeeded after");
    say_duration(t, "", took_ms);
    if (chapter->call_attempts > 1) {
        say(t, " and %" PRIu32 " attempts", chapter->call_attempts);
        if (chapter->last != NULL) {
            say(t, " (before that:");
            say_status(t, chapter->last);
            say(t, ")");
        }
    }
}

/* Finds the next steps that were called (or undone) by one event, the earliest that was not told
 * yet. */
static size_t next_group(struct teller *t, bool undo, struct chapter **group)
{
    size_t earliest = SIZE_MAX;
    size_t count = 0;
    for (size_t i = 0; i < t->chapter_count; i++) {
        const struct chapter *chapter = &t->chapters[i];
        bool happened = undo ? chapter->undo_ms >= 0 : chapter->called_ms >= 0;
        size_t event = undo ? chapter->undo_event : chapter->call_event;
        if (happened && !chapter->told && event < earliest) {
            earliest = event;
        }
    }
    for (size_t i = 0; i < t->chapter_count && earliest != SIZE_MAX; i++) {
        struct chapter *chapter = &t->chapters[i];
        bool happened = undo ? chapter->undo_ms >= 0 : chapter->called_ms >= 0;
        size_t event = undo ? chapter->undo_event : chapter->call_event;
        if (happened && !chapter->told && event == earliest) {
            chapter->told = true;
            group[count++] = chapter;
        }
    }
    return count;
}

static void forget_told(struct teller *t)
{
    for (size_t i = 0; i < t->chapter_count; i++) {
        t->chapters[i].told = false;
    }
}

static void tell_calls(struct teller *t)
{
    struct chapter *group[SAGA_STEPS_MAX];
    size_t count;
    forget_told(t);
    for (bool first = true; (count = next_group(t, false, group)) > 0; first = false) {
        if (count == 1) {
            say(t, " %s", first ? "Step" : "Then");
            say(t, " %s", group[0]->name);
            tell_outcome(t, group[0]);
            say(t, ".");
            continue;
        }
        say_names(t, first ? " Steps" : " Then", group, count);
        say(t, " were called at the same time:");
        for (size_t i = 0; i < count; i++) {
            say(t, "%s %s", i == 0 ? "" : i + 1 == count ? ", and" : ",", group[i]->name);
            tell_outcome(t, group[i]);
        }
        say(t, ".");
    }
}

static void tell_recovery(struct teller *t)
{
    if (t->recovered_count == 1) {
        say_duration(t, " The orchestrator was restarted and took the saga up again after",
                     t->recovered_ms);
        say(t, ".");
    } else if (t->recovered_count > 1) {
        say(t,
            " The orchestrator was restarted %zu times; it took the saga up again, at last after",
            t->recovered_count);
        say_duration(t, "", t->recovered_ms);
        say(t, ".");
    }
}

static const char *act_words(Saga__V1__OperatorAct act)
{
    switch (act) {
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY:
        return "asked for a retry";
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_CANCEL:
        return "cancelled it";
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP:
        return "skipped";
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_COMPENSATE:
        return "turned it back";
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE:
        return "resolved by hand";
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_UNSPECIFIED:
    case _SAGA__V1__OPERATOR_ACT_IS_INT_SIZE:
    default:
        return "acted on it";
    }
}

static void tell_operators(struct teller *t)
{
    for (size_t i = 0; i < t->story->event_count; i++) {
        const Saga__V1__AuditEvent *event = t->story->events[i];
        if (event->operator_ == NULL) {
            continue;
        }
        say_duration(t, " After", event->time_unix_ms - t->start_ms);
        say(t, " %s %s", event->operator_->who, act_words(event->operator_->act));
        if (event->step[0] != 0) {
            say(t, " step %s", event->step);
        }
        say(t, ": “%s”.", event->operator_->why);
    }
}

static void tell_turn(struct teller *t)
{
    if (t->turned_ms < 0) {
        return;
    }
    if (t->cause != NULL && t->cause->step[0] != 0) {
        say(t, " Because %s failed", t->cause->step);
        if (t->cause->status != NULL && t->cause->status->reason[0] != 0) {
            say(t, " with %s", t->cause->status->reason);
        } else if (t->cause->status != NULL) {
            say(t, " with %s", saga_code_name(t->cause->status->code));
        }
        say(t, ", the saga turned back");
    } else if (t->turned_by != NULL) {
        say(t, " At the wish of %s, the saga turned back", t->turned_by->who);
    } else if (t->cause != NULL && t->cause->status != NULL &&
               t->cause->status->code == SAGA_CODE_DEADLINE_EXCEEDED) {
        say(t, " Its deadline passed, so the saga turned back");
    } else {
        say(t, " The saga turned back");
    }
    say_duration(t, " after", t->turned_ms);
}

static void tell_undo(struct teller *t, const struct chapter *chapter)
{
    if (chapter->undone_ms < 0) {
        say(t, " %s (not yet done after %" PRIu32 " %s", chapter->name, chapter->undo_attempts,
            chapter->undo_attempts == 1 ? "attempt" : "attempts");
        if (chapter->last_undo != NULL) {
            say(t, ", the last:");
            say_status(t, chapter->last_undo);
        }
        say(t, ")");
        return;
    }
    char took[SAGA_DURATION_TEXT_SIZE];
    saga_client_duration_text(chapter->undone_ms - chapter->undo_ms, took);
    say(t, " %s (%s%s%s", chapter->name, took, chapter->empty ? ", there was nothing to undo" : "",
        chapter->resolved ? ", by hand" : "");
    if (chapter->undo_attempts > 1) {
        say(t, ", %" PRIu32 " attempts", chapter->undo_attempts);
    }
    say(t, ")");
}

static void tell_undos(struct teller *t)
{
    struct chapter *group[SAGA_STEPS_MAX];
    size_t count;
    bool first = true;
    if (t->turned_ms < 0) {
        return;
    }
    forget_told(t);
    while ((count = next_group(t, true, group)) > 0) {
        say(t, first ? " and undid" : ", then");
        for (size_t i = 0; i < count; i++) {
            say(t, "%s", i == 0 ? "" : i + 1 == count ? " and" : ",");
            tell_undo(t, group[i]);
        }
        say(t, count > 1 ? " at the same time" : "");
        first = false;
    }
    say(t, first ? "; there was nothing to undo." : ".");
}

/* Tells which commands are out or wait to be sent again. */
static void tell_waiting(struct teller *t)
{
    bool any = false;
    for (size_t i = 0; i < t->chapter_count; i++) {
        const struct chapter *chapter = &t->chapters[i];
        bool calling = chapter->state == SAGA__V1__STEP_STATE__STEP_STATE_CALLED;
        bool undoing = chapter->state == SAGA__V1__STEP_STATE__STEP_STATE_UNDOING;
        if (calling || undoing) {
            say(t, "%s the %s of %s", any ? " and" : " It waits for", calling ? "call" : "undo",
                chapter->name);
            say_duration(t, ", sent first",
                         t->story->now_unix_ms - t->start_ms -
                             (calling ? chapter->called_ms : chapter->undo_ms));
            say(t, " ago");
            any = true;
        }
    }
    if (any) {
        say(t, ".");
    }
}

static void tell_end(struct teller *t)
{
    const Saga__V1__AuditEvent *last = t->story->events[t->story->event_count - 1];
    int64_t whole_ms = last->time_unix_ms - t->start_ms;
    switch (last->state) {
    case SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED:
        say_duration(t, " It ended COMPLETED after", whole_ms);
        say(t, ".");
        break;
    case SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED:
        say_duration(t, " It ended COMPENSATED after", whole_ms);
        say(t, ": nothing is held for it.");
        break;
    case SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED:
        say_duration(t, " It was PARKED after", whole_ms);
        if (t->cause != NULL) {
            say(t, " because of");
            say(t, " %s:", t->cause->step[0] != 0 ? t->cause->step : "the saga itself");
            if (t->cause->status != NULL) {
                say_status(t, t->cause->status);
            }
        }
        say(t, " and waits for an operator.");
        break;
    case SAGA__V1__SAGA_STATE__SAGA_STATE_RUNNING:
    case SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATING:
    case SAGA__V1__SAGA_STATE__SAGA_STATE_UNSPECIFIED:
    case _SAGA__V1__SAGA_STATE_IS_INT_SIZE:
    default:
        say(t, " It has not ended.");
        tell_waiting(t);
        break;
    }
    if (t->story->saga != NULL && t->story->saga->next_action[0] != 0) {
        say(t, " What to do next: %s", t->story->saga->next_action);
        size_t size = strlen(t->story->saga->next_action);
        say(t, t->story->saga->next_action[size - 1] == '.' ? "" : ".");
    }
}

enum saga_err saga_story_tell(const struct saga_story *story, struct saga_buf *out)
{
    if (story->event_count == 0) {
        return SAGA_ERR_INVALID;
    }
    struct teller t = {
        .story = story,
        .out = out,
        .start_ms = story->events[0]->time_unix_ms,
        .turned_ms = -1,
    };
    for (size_t i = 0; i < story->event_count; i++) {
        gather_event(&t, i);
    }
    tell_beginning(&t);
    tell_calls(&t);
    tell_operators(&t);
    tell_recovery(&t);
    tell_turn(&t);
    tell_undos(&t);
    tell_end(&t);
    put(&t, "\n", 1);
    return t.err;
}
