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
#include "client/story_internal.h"
#include "common/base/status.h"

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
    if (first->parent_step[0] != 0 &&
        saga_client_id(first->parent_saga_id.data, first->parent_saga_id.len, &id) == SAGA_ERR_OK) {
        saga_id_format(id, id_text);
        say(t, ", step %s of saga %s", first->parent_step, id_text);
    } else if (first->start_key[0] != 0) {
        say(t, ", key %s", first->start_key);
    }
    say(t, ") started at %s.", time_text);
}

/* Says which saga a step is: " (saga prepare 018f…)". */
static void say_nested(struct teller *t, const struct chapter *chapter)
{
    const Saga__V1__SagaView *saga = t->story->saga;
    for (size_t i = 0; chapter->nested && saga != NULL && i < saga->n_steps; i++) {
        const Saga__V1__StepView *step = saga->steps[i];
        struct saga_id id;
        char text[SAGA_ID_TEXT_SIZE];
        if (strcmp(step->name, chapter->name) == 0 &&
            saga_client_id(step->child_saga_id.data, step->child_saga_id.len, &id) == SAGA_ERR_OK) {
            saga_id_format(id, text);
            say(t, " (saga %s %s)", step->saga, text);
        }
    }
}

/* Says how often a command left and with what it ended, and how often it could not leave. `words`
 * go before the number of attempts. */
static void say_effort(struct teller *t, const char *words, const struct effort *effort)
{
    uint32_t left = story_left_count(effort);
    if (left > 0) {
        say(t, "%s %" PRIu32 " %s", words, left, left == 1 ? "attempt" : "attempts");
        if (effort->last != NULL) {
            say(t, ", the last:");
            say_status(t, effort->last);
        }
    }
    if (effort->unsent > 0) {
        say(t, "%s could not be sent: the participant was not connected (tried",
            left > 0 ? "; it" : "");
        say(t, effort->unsent == 1 ? " once)" : " %" PRIu32 " times)", effort->unsent);
    }
    if (effort->outbox) {
        say(t, "%s waits in the outbox until Kafka can be reached",
            left > 0 || effort->unsent > 0 ? "; it" : "");
    }
}

/* Says who settled a step's command by hand, when and why. */
static void say_hand(struct teller *t, const struct chapter *chapter)
{
    bool skipped = chapter->call_by->act == SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP;
    if (chapter->called_ms < 0) {
        say(t, " was skipped by %s", chapter->call_by->who);
    } else {
        say(t, " was %s by %s after", skipped ? "skipped" : "resolved by hand",
            chapter->call_by->who);
        say_duration(t, "", chapter->answered_ms - chapter->called_ms);
    }
    say(t, " (“%s”)", chapter->call_by->why);
    if (chapter->call.unsent > 0 || chapter->call.last != NULL) {
        say(t, "; before that it");
        say_effort(t, " had not succeeded in", &chapter->call);
    }
}

static void tell_success(struct teller *t, const struct chapter *chapter)
{
    const struct effort *call = &chapter->call;
    uint32_t left = story_left_count(call);
    say_duration(t, " succeeded after", chapter->answered_ms - chapter->called_ms);
    if (left > 1) {
        say(t, " and %" PRIu32 " attempts", left);
        if (call->last != NULL) {
            say(t, " (before that:");
            say_status(t, call->last);
            say(t, ")");
        }
    }
    if (call->unsent > 0) {
        say(t, ", as soon as its participant was connected");
    }
}

static void tell_outcome(struct teller *t, const struct chapter *chapter)
{
    const struct effort *call = &chapter->call;
    bool turned = chapter->undo_ms >= 0;
    if (chapter->call_by != NULL) {
        say_hand(t, chapter);
    } else if (chapter->state == SAGA__V1__STEP_STATE__STEP_STATE_REJECTED) {
        say_duration(t, " said no after", chapter->answered_ms - chapter->called_ms);
        if (call->last != NULL) {
            say(t, ":");
            say_status(t, call->last);
        }
    } else if (chapter->state == SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED ||
               (turned && chapter->answered_ms >= 0 && !chapter->uncertain)) {
        tell_success(t, chapter);
    } else if (call->open && call->last == NULL && !call->outbox && t->turned_ms >= 0) {
        say(t, " had not answered yet when the saga turned back");
    } else if (chapter->state == SAGA__V1__STEP_STATE__STEP_STATE_UNKNOWN) {
        say_effort(t, " gave no certain answer in", call);
    } else if (chapter->nested && call->open) {
        say(t, " has not ended yet");
    } else if (call->decided == 0) {
        say(t, " was skipped");
    } else {
        say_effort(t, " has not succeeded after", call);
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
            say_nested(t, group[0]);
            tell_outcome(t, group[0]);
            say(t, ".");
            continue;
        }
        say_names(t, first ? " Steps" : " Then", group, count);
        say(t, " were called at the same time:");
        for (size_t i = 0; i < count; i++) {
            say(t, "%s %s", i == 0 ? "" : i + 1 == count ? ", and" : ",", group[i]->name);
            say_nested(t, group[i]);
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
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESUME:
        return "let its definition go on";
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_PAUSE:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_APPLY:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_REMOVE:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_UNSPECIFIED:
    case _SAGA__V1__OPERATOR_ACT_IS_INT_SIZE:
    default:
        return "acted on it";
    }
}

/* Acts that settle a step are told with the step. */
static bool is_told_with_step(const struct teller *t, const Saga__V1__Operator *by)
{
    for (size_t i = 0; i < t->chapter_count; i++) {
        if (t->chapters[i].undo_by == by ||
            (t->chapters[i].call_by == by && t->chapters[i].called_ms >= 0)) {
            return true;
        }
    }
    return false;
}

/* Tells the acts of the events from `begin` up to `end`. Gives how many. */
static size_t tell_operators(struct teller *t, size_t begin, size_t end)
{
    size_t count = 0;
    for (size_t i = begin; i < end; i++) {
        const Saga__V1__AuditEvent *event = t->story->events[i];
        if (event->operator_ == NULL || is_told_with_step(t, event->operator_)) {
            continue;
        }
        say(t, "%s", begin > 0 && count == 0 ? "." : "");
        say_duration(t, " After", event->time_unix_ms - t->start_ms);
        say(t, " %s %s", event->operator_->who, act_words(event->operator_->act));
        if (event->step[0] != 0) {
            bool retry = event->operator_->act == SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY;
            say(t, "%s step %s", retry ? " of" : "", event->step);
        }
        say(t, ": “%s”.", event->operator_->why);
        count++;
    }
    return count;
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
    } else if (t->story->events[t->turned_event]->kind ==
               SAGA__V1__EVENT_KIND__EVENT_KIND_REVERSE) {
        say(t, " The saga that it is a step of undid it as a whole: it turned back");
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
    const struct effort *undo = &chapter->undo;
    if (chapter->undone_ms < 0) {
        say(t, " %s (not yet done", chapter->name);
        if (undo->unsent == 0 && story_left_count(undo) > 0) {
            say_effort(t, " after", undo);
        } else {
            say(t, ": it");
            say_effort(t, " has had", undo);
        }
        say(t, ")");
        return;
    }
    char took[SAGA_DURATION_TEXT_SIZE];
    saga_client_duration_text(chapter->undone_ms - chapter->undo_ms, took);
    say(t, " %s (%s%s", chapter->name, took, chapter->empty ? ", there was nothing to undo" : "");
    if (story_left_count(undo) > 1) {
        say(t, ", %" PRIu32 " attempts", story_left_count(undo));
    }
    if (chapter->undo_by != NULL) {
        if (undo->last != NULL) {
            say(t, ", the last:");
            say_status(t, undo->last);
        }
        say(t, ", resolved by hand by %s: “%s”", chapter->undo_by->who, chapter->undo_by->why);
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
    bool apart = tell_operators(t, t->turned_event + 1, t->story->event_count) > 0;
    forget_told(t);
    while ((count = next_group(t, true, group)) > 0) {
        say(t, !first ? ", then" : apart ? " It undid" : " and undid");
        for (size_t i = 0; i < count; i++) {
            say(t, "%s", i == 0 ? "" : i + 1 == count ? " and" : ",");
            tell_undo(t, group[i]);
        }
        say(t, count > 1 ? " at the same time" : "");
        first = false;
    }
    if (!first) {
        say(t, ".");
    } else {
        say(t, apart ? " There was nothing to undo." : "; there was nothing to undo.");
    }
}

/* Gives the command that a step waits for; NULL: it waits for none. */
static const struct effort *waits_for(const struct chapter *chapter)
{
    return chapter->state == SAGA__V1__STEP_STATE__STEP_STATE_CALLED    ? &chapter->call
           : chapter->state == SAGA__V1__STEP_STATE__STEP_STATE_UNDOING ? &chapter->undo
                                                                        : NULL;
}

/* Tells which commands are out or wait to be sent again. */
static void tell_waiting(struct teller *t)
{
    bool any = false;
    for (size_t i = 0; i < t->chapter_count; i++) {
        const struct chapter *chapter = &t->chapters[i];
        const struct effort *effort = waits_for(chapter);
        if (effort == NULL) {
            continue;
        }
        say(t, "%s the %s of %s", any ? " and" : " It waits for",
            effort == &chapter->call ? "call" : "undo", chapter->name);
        if (effort->outbox) {
            say(t, ", which waits in the outbox until Kafka can be reached");
        } else if (effort->last_unsent) {
            say(t, ", which cannot be sent: the participant is not connected");
        } else if (chapter->nested) {
            say_nested(t, chapter);
            say_duration(t, ", begun", t->story->now_unix_ms - t->start_ms - effort->first_ms);
            say(t, " ago");
        } else {
            say_duration(t, ", sent first", t->story->now_unix_ms - t->start_ms - effort->first_ms);
            say(t, " ago");
        }
        any = true;
    }
    if (any) {
        say(t, ".");
    }
}

/* Says who is to do a step's present command: its service, when that is known. */
static void say_participant(struct teller *t, const struct chapter *chapter, bool undo)
{
    const Saga__V1__SagaView *saga = t->story->saga;
    for (size_t i = 0; saga != NULL && i < saga->n_steps; i++) {
        const char *method = undo ? saga->steps[i]->undo : saga->steps[i]->call;
        if (strcmp(saga->steps[i]->name, chapter->name) == 0 && method[0] != 0) {
            say(t, " %.*s", (int)strcspn(method, "/"), method);
            return;
        }
    }
    say(t, " the participant of step %s", chapter->name);
}

/* Tells what to do next: the orchestrator's advice, or what the waiting command asks for. */
static void tell_next(struct teller *t)
{
    const char *advice = t->story->saga == NULL ? "" : t->story->saga->next_action;
    if (advice[0] != 0) {
        say(t, " What to do next: %s", advice);
        say(t, advice[strlen(advice) - 1] == '.' ? "" : ".");
        return;
    }
    for (size_t i = 0; i < t->chapter_count; i++) {
        const struct chapter *chapter = &t->chapters[i];
        const struct effort *effort = waits_for(chapter);
        bool undo = effort == &chapter->undo;
        if (effort == NULL || (!effort->outbox && !effort->last_unsent && effort->last == NULL)) {
            continue;
        }
        if (effort->outbox) {
            say(t, " What to do next: start Kafka if it stays away (sagactl health tells); the "
                   "command is sent by itself then.");
            return;
        }
        say(t, " What to do next: %s", effort->last_unsent ? "start" : "start or mend");
        say_participant(t, chapter, undo);
        say(t, "; the %s is tried again by itself, or at once by: sagactl retry ID --why TEXT.",
            undo ? "undo" : "call");
        return;
    }
}

/* A saga may wait for nothing but for its definition to go on. */
static void tell_pause(struct teller *t)
{
    const Saga__V1__Pause *pause = t->story->saga == NULL ? NULL : t->story->saga->pause;
    if (pause == NULL) {
        return;
    }
    say(t, " Its definition is paused:");
    say_duration(t, "", t->story->now_unix_ms - pause->since_unix_ms);
    say(t, " ago %s held it, “%s”; no step of it begins until it goes on.", pause->who, pause->why);
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
        tell_pause(t);
        break;
    }
    tell_next(t);
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
    story_gather(&t);
    tell_beginning(&t);
    tell_calls(&t);
    (void)tell_operators(&t, 0, t.turned_ms < 0 ? story->event_count : t.turned_event + 1);
    tell_recovery(&t);
    tell_turn(&t);
    tell_undos(&t);
    tell_end(&t);
    put(&t, "\n", 1);
    return t.err;
}
