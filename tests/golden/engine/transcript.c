#include "tests/golden/engine/transcript.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/engine/engine.h"
#include "tests/golden/engine/rows.h"

enum { WORDS_MAX = 32, LINE_MAX_SIZE = 512, BEGIN = 1000000 };

struct transcript {
    struct saga_definition def;
    char names[SAGA_STEPS_MAX][32];
    struct saga saga;
    struct saga_update up;
    int64_t now;
    bool started;
    struct saga_buf *out;
    struct rows *rows;
    const char *wrong;
};

static void emit(struct transcript *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void emit(struct transcript *t, const char *format, ...)
{
    char line[LINE_MAX_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (saga_buf_append(t->out, saga_bytes_text(line)) != SAGA_ERR_OK) {
        t->wrong = "out of memory";
    }
}

static const char *step_name(const struct transcript *t, uint8_t step)
{
    return step < t->def.step_count ? t->names[step] : "-";
}

static uint8_t find_step(struct transcript *t, const char *name)
{
    for (uint8_t i = 0; i < t->def.step_count; i++) {
        if (strcmp(t->names[i], name) == 0) {
            return i;
        }
    }
    t->wrong = "no such step";
    return 0;
}

static void take_step_line(struct transcript *t, char **words, size_t count)
{
    struct saga_step_def step = {
        .has_call = true,
        .call_via = SAGA_VIA_NNG,
        .undo_via = SAGA_VIA_KAFKA,
        .call_attempts_max = 3,
        .undo_attempts_max = 3,
        .call_delay_ms = 50,
        .call_delay_ms_max = 10000,
        .undo_delay_ms = 50,
        .undo_delay_ms_max = 10000,
        .call_deadline_ms = 5000,
        .undo_deadline_ms = 10000,
    };
    for (size_t i = 2; i < count; i++) {
        if (strcmp(words[i], "starter") == 0) {
            step.has_call = false;
        } else if (strcmp(words[i], "ro") == 0) {
            step.read_only = true;
        } else if (strcmp(words[i], "pivot") == 0) {
            step.pivot = true;
        } else if (strcmp(words[i], "when") == 0) {
            step.conditional = true;
        } else if (strcmp(words[i], "undo") == 0) {
            step.has_undo = true;
        } else if (strcmp(words[i], "undo-nng") == 0) {
            step.has_undo = true;
            step.undo_via = SAGA_VIA_NNG;
        } else if (strcmp(words[i], "child") == 0) {
            step.call_via = SAGA_VIA_CHILD;
            step.undo_via = SAGA_VIA_CHILD;
        } else if (strcmp(words[i], "kafka") == 0) {
            step.call_via = SAGA_VIA_KAFKA;
        } else if (strcmp(words[i], "attempts") == 0 && i + 1 < count) {
            step.call_attempts_max = (uint32_t)atoi(words[++i]);
        } else if (strcmp(words[i], "delay") == 0 && i + 2 < count) {
            step.call_delay_ms = step.undo_delay_ms = atoi(words[++i]);
            step.call_delay_ms_max = step.undo_delay_ms_max = atoi(words[++i]);
        } else if (strcmp(words[i], "after") == 0 && i + 1 < count) {
            step.after_mask |= UINT64_C(1) << find_step(t, words[++i]);
        } else {
            t->wrong = "a word of a step line is not known";
        }
    }
    (void)snprintf(t->names[t->def.step_count], sizeof t->names[0], "%s", words[1]);
    t->def.steps[t->def.step_count++] = step;
}

static const char *via_name(enum saga_via via)
{
    return via == SAGA_VIA_NNG ? "nng" : via == SAGA_VIA_KAFKA ? "kafka" : "child";
}

static const char *wait_text(uint8_t wait)
{
    static const char *const texts[] = {[SAGA_WAIT_NONE] = "nothing",
                                        [SAGA_WAIT_DURABLE] = "kafka",
                                        [SAGA_WAIT_REPLY] = "a reply",
                                        [SAGA_WAIT_RETRY] = "a retry",
                                        [SAGA_WAIT_CHILD] = "a child"};
    return wait < sizeof texts / sizeof texts[0] ? texts[wait] : "?";
}

/* What no move and no command says of a step: all of it, when any of it has changed. */
static void emit_step(struct transcript *t, uint8_t step, const struct saga_step_run *before)
{
    const struct saga_step_run *run = &t->saga.steps[step];
    if (run->wait == before->wait && run->due_unix_ms == before->due_unix_ms &&
        run->last_code == before->last_code && run->failures == before->failures &&
        run->maybe_effect == before->maybe_effect && run->stalled == before->stalled &&
        run->parked == before->parked) {
        return;
    }
    emit(t, "  %s waits for %s", step_name(t, step), wait_text(run->wait));
    if (run->due_unix_ms != 0) {
        emit(t, " until %" PRId64, run->due_unix_ms);
    }
    emit(t, ", last %s", saga_code_name(run->last_code));
    if (run->failures != 0) {
        emit(t, ", %" PRIu32 " failed", run->failures);
    }
    emit(t, "%s%s%s\n", run->maybe_effect ? ", may have an effect" : "",
         run->stalled ? ", stalled" : "", run->parked ? ", parked" : "");
}

/* The same of the saga; its cause only when the update does not tell it. */
static void emit_saga(struct transcript *t, const struct saga *before)
{
    const struct saga *saga = &t->saga;
    if (saga->created_unix_ms != before->created_unix_ms) {
        emit(t, "  saga: created %" PRId64 "\n", saga->created_unix_ms);
    }
    if (saga->deadline_unix_ms != before->deadline_unix_ms) {
        emit(t, "  saga: deadline %" PRId64 "\n", saga->deadline_unix_ms);
    }
    if (saga->ended_unix_ms != before->ended_unix_ms) {
        emit(t, "  saga: ended %" PRId64 "\n", saga->ended_unix_ms);
    }
    if (saga->resume != before->resume) {
        emit(t, "  saga: resumes %s\n", saga_state_name((enum saga_state)saga->resume));
    }
    if (!t->up.cause_set &&
        (saga->cause != before->cause || saga->cause_step != before->cause_step ||
         saga->cause_code != before->cause_code)) {
        emit(t, "  saga: cause is %d step %s code %s\n", saga->cause,
             step_name(t, saga->cause_step), saga_code_name(saga->cause_code));
    }
}

static void emit_update(struct transcript *t, const struct saga *before)
{
    const struct saga_update *up = &t->up;
    /* Copied byte by byte, so that what pads it counts too.
     * NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
    bool same = memcmp(before, &t->saga, sizeof t->saga) == 0;
    if (up->verdict != SAGA_VERDICT_TAKEN && !same) {
        t->wrong = "an event that was not taken has changed the saga";
    }
    if (up->verdict != SAGA_VERDICT_REFUSED && up->refusal[0] != '\0') {
        t->wrong = "an event that was not refused has a refusal";
    }
    if (up->verdict == SAGA_VERDICT_IGNORED) {
        emit(t, "  ignored\n");
        return;
    }
    if (up->verdict == SAGA_VERDICT_REFUSED) {
        emit(t, "  refused: %s\n", up->refusal);
        return;
    }
    for (uint32_t i = 0; i < up->move_count; i++) {
        const struct saga_move *move = &up->moves[i];
        if (move->from != SAGA_STEP_NONE) {
            emit(t, "  %s: %s -> %s\n", step_name(t, move->step),
                 saga_step_state_name((enum saga_step_state)move->from),
                 saga_step_state_name((enum saga_step_state)move->to));
        }
    }
    for (uint32_t i = 0; i < up->send_count; i++) {
        const struct saga_send *send = &up->sends[i];
        char until[32] = "for ever";
        if (send->deadline_unix_ms != 0) {
            (void)snprintf(until, sizeof until, "until %" PRId64, send->deadline_unix_ms);
        }
        emit(t, "  send %s %s attempt %" PRIu32 " by %s %s\n", step_name(t, send->step),
             send->op == SAGA_OP_CALL ? "call" : "undo", send->attempt, via_name(send->via), until);
    }
    for (uint8_t i = 0; i < t->saga.step_count; i++) {
        emit_step(t, i, &before->steps[i]);
    }
    if (t->saga.state != before->state) {
        emit(t, "  saga: %s -> %s\n", saga_state_name((enum saga_state)before->state),
             saga_state_name((enum saga_state)t->saga.state));
    }
    if (up->cause_set) {
        emit(t, "  cause: %d step %s code %s\n", t->saga.cause, step_name(t, t->saga.cause_step),
             saga_code_name(t->saga.cause_code));
    }
    emit_saga(t, before);
    emit(t, "  seq %" PRIu64 "%s%s%s%s", t->saga.seq, up->merge_reply ? ", merge" : "",
         up->stalled ? ", stalled" : "", up->parked ? ", parked" : "", up->ended ? ", ended" : "");
    if (up->next_due_unix_ms != 0) {
        emit(t, ", due %" PRId64, up->next_due_unix_ms);
    }
    emit(t, "\n");
}

static void run_event(struct transcript *t, struct saga_event *ev)
{
    if (!t->started && ev->kind != SAGA_EVENT_START) {
        t->wrong = "an event before start";
    }
    if (t->wrong != NULL) {
        return;
    }
    struct saga before;
    memcpy(&before, &t->saga, sizeof before); /* with what pads it: it is compared so */
    char row[ROW_SIZE];
    ev->now_unix_ms = t->now;
    memset(&t->up, 0x5a, sizeof t->up); /* nothing of it may be what the last event left */
    t->up.refusal = "left from before";
    saga_step(&t->def, &t->saga, ev, &t->up);
    emit_update(t, &before);
    if (t->rows != NULL && row_of(&t->def, &before, ev, &t->saga, t->up.verdict, row)) {
        (void)rows_put(t->rows, row);
    }
}

/* Words behind the fixed ones of a line. */
static void take_options(struct transcript *t, struct saga_event *ev, char **words, size_t from,
                         size_t count)
{
    for (size_t i = from; i < count; i++) {
        if (strcmp(words[i], "attempt") == 0 && i + 1 < count) {
            ev->attempt = (uint32_t)atoi(words[++i]);
        } else if (strcmp(words[i], "unsent") == 0) {
            ev->not_sent = true;
        } else if (strcmp(words[i], "paused") == 0) {
            ev->paused = true;
        } else if (strcmp(words[i], "reused") == 0) {
            ev->key_reused = true;
        } else if (strcmp(words[i], "after") == 0 && i + 1 < count) {
            ev->retry_after_ms = atoi(words[++i]);
        } else if (strcmp(words[i], "when") == 0 && i + 1 < count) {
            ev->when_mask |= UINT64_C(1) << find_step(t, words[++i]);
        } else {
            t->wrong = "a word of an event line is not known";
        }
    }
}

static void take_start_line(struct transcript *t, char **words, size_t count)
{
    struct saga_event ev = {.kind = SAGA_EVENT_START, .seed = 1, .step = SAGA_STEP_ALL};
    take_options(t, &ev, words, 1, count);
    if (t->started || !saga_definition_finish(&t->def)) {
        t->wrong = "the definition cannot be, or it was started already";
        return;
    }
    t->started = true;
    run_event(t, &ev);
}

static void take_command_line(struct transcript *t, enum saga_event_kind kind, char **words,
                              size_t count)
{
    struct saga_event ev = {.kind = kind};
    size_t from = kind == SAGA_EVENT_REPLY ? 4 : 3;
    if (count < from) {
        t->wrong = "a word is missing";
        return;
    }
    ev.step = find_step(t, words[1]);
    ev.op = strcmp(words[2], "undo") == 0 ? SAGA_OP_UNDO : SAGA_OP_CALL;
    const struct saga_step_run *run = &t->saga.steps[ev.step];
    ev.attempt = ev.op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    if (kind == SAGA_EVENT_REPLY && !saga_code_find(words[3], &ev.code)) {
        t->wrong = "no such code";
    }
    take_options(t, &ev, words, from, count);
    run_event(t, &ev);
}

static void take_operator_line(struct transcript *t, char **words, size_t count)
{
    static const char *const acts[] = {"",           "retry",   "cancel", "skip",
                                       "compensate", "resolve", "pause",  "resume"};
    struct saga_event ev = {.kind = SAGA_EVENT_OPERATOR, .step = SAGA_STEP_ALL};
    for (unsigned i = 1; i < sizeof acts / sizeof acts[0]; i++) {
        if (count > 1 && strcmp(words[1], acts[i]) == 0) {
            ev.act = (enum saga_act)i;
        }
    }
    if (ev.act == 0) {
        t->wrong = "no such act";
        return;
    }
    size_t from = 2;
    if (count > 2 && strcmp(words[2], "paused") != 0) {
        ev.step = find_step(t, words[2]);
        from = 3;
    }
    take_options(t, &ev, words, from, count);
    run_event(t, &ev);
}

static void take_words(struct transcript *t, char **words, size_t count)
{
    struct saga_event plain = {.kind = SAGA_EVENT_TIMER};
    if (strcmp(words[0], "step") == 0 && count > 1 && !t->started &&
        t->def.step_count < SAGA_STEPS_MAX) {
        take_step_line(t, words, count);
    } else if (strcmp(words[0], "after") == 0 && count == 3 && !t->started) {
        /* the first comes after the second, which may be the later line */
        t->def.steps[find_step(t, words[1])].after_mask |= UINT64_C(1) << find_step(t, words[2]);
    } else if (strcmp(words[0], "deadline") == 0 && count == 2) {
        t->def.deadline_ms = atoi(words[1]);
    } else if (strcmp(words[0], "start") == 0) {
        take_start_line(t, words, count);
    } else if (strcmp(words[0], "again") == 0 && t->started) {
        memset(&t->saga, 0, sizeof t->saga);
        t->started = false;
        t->now = BEGIN;
    } else if (words[0][0] == '+') {
        t->now += atoi(words[0] + 1);
    } else if (strcmp(words[0], "timer") == 0) {
        take_options(t, &plain, words, 1, count);
        run_event(t, &plain);
    } else if (strcmp(words[0], "recovered") == 0 || strcmp(words[0], "reverse") == 0) {
        plain.kind = words[0][2] == 'c' ? SAGA_EVENT_RECOVERED : SAGA_EVENT_REVERSE;
        take_options(t, &plain, words, 1, count);
        run_event(t, &plain);
    } else if (strcmp(words[0], "reply") == 0) {
        take_command_line(t, SAGA_EVENT_REPLY, words, count);
    } else if (strcmp(words[0], "durable") == 0) {
        take_command_line(t, SAGA_EVENT_DURABLE, words, count);
    } else if (strcmp(words[0], "operator") == 0) {
        take_operator_line(t, words, count);
    } else {
        t->wrong = "a line is not known";
    }
}

static void take_line(struct transcript *t, const char *line)
{
    char copy[LINE_MAX_SIZE];
    char *words[WORDS_MAX];
    size_t count = 0;
    char *rest = NULL;
    if (strncmp(line, "  ", 2) == 0) {
        return; /* an answer: made anew */
    }
    emit(t, "%s\n", line);
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
    }
    if (count > 0 && words[0][0] != '#') {
        take_words(t, words, count);
    }
}

static const char *run_text(struct transcript *t, struct saga_bytes text)
{
    t->now = BEGIN;
    t->def.deadline_ms = 60000;
    const char *at = (const char *)text.data;
    const char *end = at + text.size;
    while (at < end && t->wrong == NULL) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t size = newline == NULL ? (size_t)(end - at) : (size_t)(newline - at);
        char line[LINE_MAX_SIZE];
        (void)snprintf(line, sizeof line, "%.*s", (int)size, at);
        take_line(t, line);
        at += size + 1;
    }
    return t->wrong;
}

const char *transcript_run(struct saga_bytes text, struct saga_buf *out, struct rows *rows)
{
    struct transcript *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return "out of memory";
    }
    t->out = out;
    t->rows = rows;
    const char *wrong = run_text(t, text);
    free(t);
    return wrong;
}

const char *transcript_definition(const char *text, struct saga_definition *def)
{
    struct transcript *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return "out of memory";
    }
    struct saga_buf out = {0};
    t->out = &out;
    const char *wrong = run_text(t, saga_bytes_text(text));
    *def = t->def;
    if (wrong == NULL && !saga_definition_finish(def)) {
        wrong = "the definition cannot be";
    }
    saga_buf_fini(&out);
    free(t);
    return wrong;
}
