/* The words in a graph: phrases, and what stands in a step's box. See graph.h. */
#include "client/graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/sagas.h"
#include "common/base/status.h"

void saga_graph_put_bytes(struct saga_graph_out *out, const char *text, size_t size)
{
    if (out->err == SAGA_ERR_OK) {
        out->err = saga_buf_append(&out->buf, (struct saga_bytes){(const uint8_t *)text, size});
    }
}

void saga_graph_put(struct saga_graph_out *out, const char *format, ...)
{
    char text[2 * SAGA_GRAPH_PHRASE_SIZE];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size > 0) {
        saga_graph_put_bytes(out, text, strlen(text));
    }
}

/* ---- Phrases ---- */

/* A text that is written piece by piece; what does not fit is cut. */
struct phrase {
    char *text;
    size_t size;
    size_t used;
};

static void say(struct phrase *phrase, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(struct phrase *phrase, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(phrase->text + phrase->used, phrase->size - phrase->used, format, args);
    va_end(args);
    if (size > 0) {
        size_t room = phrase->size - phrase->used - 1;
        phrase->used += (size_t)size < room ? (size_t)size : room;
    }
}

void saga_graph_time_text(int64_t ms, char *text, size_t size)
{
    if (ms >= 120000 && ms % 3600000 == 0) {
        snprintf(text, size, "%" PRId64 " h", ms / 3600000);
    } else if (ms >= 120000 && ms % 60000 == 0) {
        snprintf(text, size, "%" PRId64 " min", ms / 60000);
    } else if (ms >= 1000 && ms % 1000 == 0) {
        snprintf(text, size, "%" PRId64 " s", ms / 1000);
    } else {
        snprintf(text, size, "%" PRId64 " ms", ms);
    }
}

void saga_graph_steps_text(const struct saga_graph *graph, uint64_t mask, char *text, size_t size)
{
    struct phrase phrase = {text, size, 0};
    text[0] = 0;
    for (size_t i = 0; i < graph->step_count; i++) {
        if ((mask & UINT64_C(1) << i) != 0) {
            say(&phrase, "%s%s", phrase.used == 0 ? "" : ", ", graph->steps[i].decl->name);
        }
    }
}

void saga_graph_flows_text(const struct saga_graph *graph, const struct saga_graph_flows *flows,
                           char *text, size_t size)
{
    struct phrase phrase = {text, size, 0};
    text[0] = 0;
    for (size_t i = 0; i < flows->count; i++) {
        const struct saga_graph_flow *flow = &flows->at[i];
        char writers[SAGA_STEPS_MAX * (SAGA_STEP_NAME_MAX + 2) + 1];
        saga_graph_steps_text(graph, flow->writers, writers, sizeof writers);
        say(&phrase, "%s%s", i == 0 ? "" : ", ", flow->from);
        if (writers[0] != 0) {
            say(&phrase, " (%s)", writers);
        }
        if (strcmp(flow->from, flow->to) != 0) {
            say(&phrase, " -> %s", flow->to);
        }
    }
    if (flows->count == 0) {
        say(&phrase, "nothing");
    }
}

void saga_graph_policy_text(const struct saga_graph_step *step, bool undo, char *text, size_t size)
{
    const struct saga_step_decl *decl = step->decl;
    struct phrase phrase = {text, size, 0};
    char deadline[32];
    char delay[32];
    char delay_max[32];
    bool for_ever = undo || step->kind == SAGA_GRAPH_RETRIABLE;
    uint32_t attempts = undo ? decl->undo_attempts_max : decl->call_attempts_max;
    text[0] = 0;
    if (decl->child != NULL || (undo ? decl->undo == NULL : decl->call == NULL)) {
        return;
    }
    saga_graph_time_text(undo ? decl->undo_deadline_ms : decl->call_deadline_ms, deadline,
                         sizeof deadline);
    saga_graph_time_text(undo ? decl->undo_delay_ms : decl->call_delay_ms, delay, sizeof delay);
    saga_graph_time_text(undo ? decl->undo_delay_ms_max : decl->call_delay_ms_max, delay_max,
                         sizeof delay_max);
    say(&phrase, "%s, %s a try, ",
        (undo ? decl->undo_via : decl->call_via) == SAGA_VIA_KAFKA ? "Kafka" : "NNG", deadline);
    if (for_ever) {
        say(&phrase, "until done, ");
    } else {
        say(&phrase, "%" PRIu32 " %s, ", attempts, attempts == 1 ? "try" : "tries");
    }
    say(&phrase, "%s to %s apart", delay, delay_max);
    if (for_ever) {
        say(&phrase, ", stalled after %" PRIu32, attempts);
    }
}

void saga_graph_state_text(const struct saga_graph *graph, const struct saga_graph_step *step,
                           char *text, size_t size)
{
    const Saga__V1__StepView *view = step->view;
    struct phrase phrase = {text, size, 0};
    text[0] = 0;
    if (view == NULL) {
        if (graph->saga != NULL) {
            say(&phrase, "not known");
        }
        return;
    }
    say(&phrase, "%s", saga_view_step_state(view->state));
    if (view->stalled) {
        say(&phrase, ", STALLED");
    }
    if (view->call_attempts > 0) {
        say(&phrase, ", %" PRIu32 " call%s", view->call_attempts,
            view->call_attempts == 1 ? "" : "s");
    }
    if (view->undo_attempts > 0) {
        say(&phrase, ", %" PRIu32 " undo%s", view->undo_attempts,
            view->undo_attempts == 1 ? "" : "s");
    }
    const Saga__V1__Status *status = saga_view_last_status(graph->saga, view);
    if (status != NULL && status->code != SAGA_CODE_OK) {
        say(&phrase, ", last %s%s%s", saga_code_name(status->code),
            status->reason[0] != 0 ? " " : "", status->reason);
    }
    if (view->child_saga_id.len > 0) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&view->child_saga_id, id);
        say(&phrase, ", saga %s", id);
    }
    saga_client_clean(text);
}

enum saga_graph_tone saga_graph_tone(const struct saga_graph_step *step)
{
    if (step->view == NULL) {
        return SAGA_GRAPH_TONE_NONE;
    }
    if (step->view->stalled) {
        return SAGA_GRAPH_TONE_BAD;
    }
    switch (step->view->state) {
    case SAGA__V1__STEP_STATE__STEP_STATE_CALLED:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNDOING:
        return SAGA_GRAPH_TONE_BUSY;
    case SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED:
        return SAGA_GRAPH_TONE_GOOD;
    case SAGA__V1__STEP_STATE__STEP_STATE_REJECTED:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNKNOWN:
        return SAGA_GRAPH_TONE_BAD;
    case SAGA__V1__STEP_STATE__STEP_STATE_UNDONE:
        return SAGA_GRAPH_TONE_UNDONE;
    case SAGA__V1__STEP_STATE__STEP_STATE_SKIPPED:
        return SAGA_GRAPH_TONE_SKIPPED;
    case SAGA__V1__STEP_STATE__STEP_STATE_WAITING:
    case SAGA__V1__STEP_STATE__STEP_STATE_UNSPECIFIED:
    case _SAGA__V1__STEP_STATE_IS_INT_SIZE:
        break;
    }
    return SAGA_GRAPH_TONE_WAITING;
}

const char *saga_graph_tone_name(enum saga_graph_tone tone)
{
    static const char *const names[SAGA_GRAPH_TONE_COUNT] = {
        "none", "waiting", "busy", "good", "bad", "undone", "skipped",
    };
    return names[tone];
}

/* ---- A box ---- */

static size_t char_size(const char *at)
{
    size_t size = 1;
    while (((unsigned char)at[size] & 0xC0) == 0x80) {
        size++;
    }
    return size;
}

size_t saga_graph_columns(const char *text)
{
    size_t columns = 0;
    while (*text != 0) {
        columns += ((unsigned char)*text & 0x80) == 0 ? 1 : 2;
        text += char_size(text);
    }
    return columns;
}

/* Gives how many bytes of a text go on a line: to the last blank that fits; a word that is longer
 * than a line is cut. */
static size_t line_fit(const char *text, size_t columns)
{
    size_t at = 0;
    size_t used = 0;
    size_t blank = 0;
    while (text[at] != 0) {
        size_t width = ((unsigned char)text[at] & 0x80) == 0 ? 1 : 2;
        if (used + width > columns || at + 8 > SAGA_GRAPH_LINE_SIZE - 16) {
            return blank > 0 ? blank : at;
        }
        blank = text[at] == ' ' ? at : blank;
        used += width;
        at += char_size(text + at);
    }
    return at;
}

/* Adds a text, folded; all lines but the first begin with two blanks. */
static void box_add(struct saga_graph_lines *lines, enum saga_graph_line_kind kind,
                    const char *text)
{
    for (bool first = true; *text != 0; first = false) {
        if (lines->count == SAGA_GRAPH_LINES_MAX) {
            snprintf(lines->at[lines->count - 1].text, SAGA_GRAPH_LINE_SIZE, "…");
            return;
        }
        size_t size = line_fit(text, SAGA_GRAPH_COLUMNS - (first ? 0 : 2));
        struct saga_graph_line *line = &lines->at[lines->count++];
        line->kind = kind;
        snprintf(line->text, sizeof line->text, "%s%.*s", first ? "" : "  ", (int)size, text);
        text += size;
        text += strspn(text, " ");
    }
}

static void box_add_prefixed(struct saga_graph_lines *lines, enum saga_graph_line_kind kind,
                             const char *prefix, const char *text)
{
    char whole[SAGA_GRAPH_PHRASE_SIZE + 32];
    if (text[0] != 0) {
        snprintf(whole, sizeof whole, "%s%s", prefix, text);
        box_add(lines, kind, whole);
    }
}

void saga_graph_box(const struct saga_graph *graph, size_t step_index,
                    struct saga_graph_lines *lines)
{
    const struct saga_graph_step *step = &graph->steps[step_index];
    const struct saga_step_decl *decl = step->decl;
    char text[SAGA_GRAPH_PHRASE_SIZE];
    lines->count = 0;
    box_add(lines, SAGA_GRAPH_LINE_NAME, decl->name);
    snprintf(text, sizeof text, "%s%s%s%s", saga_graph_kind_name(step->kind),
             decl->child != NULL ? ", child saga" : "", step->when[0] != 0 ? ", when " : "",
             step->when);
    box_add(lines, SAGA_GRAPH_LINE_KIND, text);
    saga_graph_state_text(graph, step, text, sizeof text);
    box_add(lines, SAGA_GRAPH_LINE_STATE, text);
    if (decl->child != NULL) {
        box_add_prefixed(lines, SAGA_GRAPH_LINE_CALL, "saga ", decl->child->name);
    } else {
        box_add_prefixed(lines, SAGA_GRAPH_LINE_CALL, "",
                         decl->call != NULL ? decl->call->full_name : "done by the starter");
    }
    if (step->request.count > 0) {
        saga_graph_flows_text(graph, &step->request, text, sizeof text);
        box_add_prefixed(lines, SAGA_GRAPH_LINE_DATA, "in: ", text);
    }
    if (step->reply.count > 0) {
        saga_graph_flows_text(graph, &step->reply, text, sizeof text);
        box_add_prefixed(lines, SAGA_GRAPH_LINE_DATA, "out: ", text);
    }
    saga_graph_policy_text(step, false, text, sizeof text);
    box_add(lines, SAGA_GRAPH_LINE_POLICY, text);
    if (decl->undo != NULL) {
        box_add_prefixed(lines, SAGA_GRAPH_LINE_UNDO, "undo: ", decl->undo->full_name);
    } else if (step->undoable) {
        box_add(lines, SAGA_GRAPH_LINE_UNDO, "undo: the child saga is turned back");
    }
    if (step->undo_request.count > 0) {
        saga_graph_flows_text(graph, &step->undo_request, text, sizeof text);
        box_add_prefixed(lines, SAGA_GRAPH_LINE_DATA, "in: ", text);
    }
    saga_graph_policy_text(step, true, text, sizeof text);
    box_add(lines, SAGA_GRAPH_LINE_POLICY, text);
}
