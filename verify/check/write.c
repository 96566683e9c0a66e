/* Lines of the language of tests/golden/engine. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "verify/check/internal.h"

enum { LINE_SIZE = 512 };

void write_text(struct writer *writer, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (writer->err == SAGA_ERR_OK) {
        writer->err = saga_buf_append(writer->out, saga_bytes_text(line));
    }
}

static const char *name_of(const struct writer *writer, uint8_t step)
{
    return step < writer->check->def.step_count ? writer->check->config.step_names[step] : "-";
}

void write_definition(struct writer *writer)
{
    const struct saga_definition *def = &writer->check->def;
    write_text(writer, "deadline %" PRId64 "\n", def->deadline_ms);
    for (uint8_t i = 0; i < def->step_count; i++) {
        const struct saga_step_def *step = &def->steps[i];
        write_text(writer, "step %s%s%s%s%s%s%s attempts %" PRIu32, name_of(writer, i),
                   step->has_call ? "" : " starter", step->read_only ? " ro" : "",
                   step->pivot ? " pivot" : "", step->conditional ? " when" : "",
                   !step->has_undo                    ? ""
                   : step->undo_via == SAGA_VIA_KAFKA ? " undo"
                   : step->undo_via == SAGA_VIA_NNG   ? " undo-nng"
                                                      : " undo child",
                   step->call_via == SAGA_VIA_KAFKA   ? " kafka"
                   : step->call_via == SAGA_VIA_CHILD ? " child"
                                                      : "",
                   step->call_attempts_max);
        for (uint8_t k = 0; k < def->step_count; k++) {
            if ((step->after_mask >> k & 1) != 0) {
                write_text(writer, " after %s", name_of(writer, k));
            }
        }
        write_text(writer, "\n");
    }
}

static const char *op_name(unsigned op)
{
    return op == SAGA_OP_CALL ? "call" : "undo";
}

/* What the engine does not see is a comment. */
static void write_arrival(struct writer *writer, const struct trial *trial)
{
    const struct check_event *ev = &trial->ev;
    const struct part *part = &trial->to.parts[ev->step];
    if (ev->op == SAGA_OP_CALL) {
        write_text(writer, "# %s: its call arrives and %s.\n", name_of(writer, ev->step),
                   ev->answer == ANSWER_OK ? "takes effect" : "is refused; it has no effect");
    } else {
        write_text(writer, "# %s: its undo arrives and %s.\n", name_of(writer, ev->step),
                   part->undo_row == UNDO_DONE ? "takes the effect back"
                                               : "forbids the call, which has no effect");
    }
}

static void write_answer(struct writer *writer, const struct trial *trial)
{
    const struct check_event *ev = &trial->ev;
    const struct saga_event *engine = &trial->engine_ev;
    bool reply = ev->kind == CHECK_REPLY;
    write_text(writer, "%s %s %s%s%s", reply ? "reply" : "durable", name_of(writer, ev->step),
               op_name(ev->op), reply ? " " : "", reply ? saga_code_name(engine->code) : "");
    if (ev->which != WHICH_PRESENT) {
        write_text(writer, " attempt %" PRIu32, engine->attempt);
    }
    write_text(writer, "%s%s", engine->not_sent ? " unsent" : "",
               engine->key_reused ? " reused" : "");
}

static void write_act(struct writer *writer, const struct trial *trial)
{
    static const char *const acts[] = {"?",          "retry",   "cancel", "skip",
                                       "compensate", "resolve", "pause",  "resume"};
    const struct check_event *ev = &trial->ev;
    if (ev->truth && ev->act == SAGA_ACT_RESOLVE) {
        write_text(writer, "# %s: a person does it by hand.\n", name_of(writer, ev->step));
    } else if (ev->truth) {
        write_text(writer, "# %s: a person makes sure that it has not happened and will not.\n",
                   name_of(writer, ev->step));
    }
    write_text(writer, "operator %s", acts[trial->engine_ev.act]);
    if (ev->kind == CHECK_ACT && ev->step != SAGA_STEP_ALL) {
        write_text(writer, " %s", name_of(writer, ev->step));
    }
}

static void write_kind(struct writer *writer, const struct trial *trial)
{
    switch ((enum check_kind)trial->ev.kind) {
    case CHECK_START:
        write_text(writer, "start");
        break;
    case CHECK_START_AGAIN:
        write_text(writer, "# The start is asked for again, with %s bytes.",
                   trial->ev.other_bytes ? "other" : "the same");
        break;
    case CHECK_ARRIVE:
        write_arrival(writer, trial);
        break;
    case CHECK_REPLY:
    case CHECK_DURABLE:
        write_answer(writer, trial);
        break;
    case CHECK_TIMER:
        write_text(writer, "timer");
        break;
    case CHECK_RECOVERED:
        write_text(writer, "recovered");
        break;
    case CHECK_REVERSE:
        write_text(writer, "reverse");
        break;
    case CHECK_ACT:
    case CHECK_RESUME:
        write_act(writer, trial);
        break;
    case CHECK_PAUSE:
        write_text(writer, "# The definition is paused.\n");
        break;
    }
}

void write_event(struct writer *writer, const struct trial *trial)
{
    write_kind(writer, trial);
    if (!trial->asked) {
        return;
    }
    if (trial->engine_ev.paused && trial->ev.kind != CHECK_START_AGAIN) {
        write_text(writer, " paused");
    }
    for (uint8_t i = 0; i < writer->check->def.step_count; i++) {
        bool asked = writer->check->def.steps[i].conditional &&
                     trial->from.saga.steps[i].state <= SAGA_STEP_WAITING;
        if (asked && (trial->ev.when_mask >> i & 1) != 0) {
            write_text(writer, " when %s", name_of(writer, i));
        }
    }
    write_text(writer, "\n");
}

static const char *via_name(enum saga_via via)
{
    return via == SAGA_VIA_NNG ? "nng" : via == SAGA_VIA_KAFKA ? "kafka" : "child";
}

static void write_sends(struct writer *writer, const struct saga_update *up)
{
    for (uint32_t i = 0; i < up->send_count; i++) {
        const struct saga_send *send = &up->sends[i];
        write_text(writer, "  send %s %s attempt %" PRIu32 " by %s", name_of(writer, send->step),
                   op_name(send->op), send->attempt, via_name(send->via));
        if (send->deadline_unix_ms != 0) {
            write_text(writer, " until %" PRId64 "\n", send->deadline_unix_ms);
        } else {
            write_text(writer, " for ever\n");
        }
    }
}

void write_update(struct writer *writer, const struct trial *trial)
{
    const struct saga_update *up = &trial->up;
    const struct saga *saga = &trial->to.saga;
    if (up->verdict != SAGA_VERDICT_TAKEN) {
        bool refused = up->verdict == SAGA_VERDICT_REFUSED;
        write_text(writer, "  %s%s\n", refused ? "refused: " : "ignored",
                   refused ? up->refusal : "");
        return;
    }
    for (uint32_t i = 0; i < up->move_count; i++) {
        const struct saga_move *move = &up->moves[i];
        if (move->from != SAGA_STEP_NONE) {
            write_text(writer, "  %s: %s -> %s\n", name_of(writer, move->step),
                       saga_step_state_name((enum saga_step_state)move->from),
                       saga_step_state_name((enum saga_step_state)move->to));
        }
    }
    write_sends(writer, up);
    if (saga->state != trial->from.saga.state) {
        write_text(writer, "  saga: %s -> %s\n",
                   saga_state_name((enum saga_state)trial->from.saga.state),
                   saga_state_name((enum saga_state)saga->state));
    }
    if (up->cause_set) {
        write_text(writer, "  cause: %d step %s code %s\n", saga->cause,
                   name_of(writer, saga->cause_step), saga_code_name(saga->cause_code));
    }
    write_text(writer, "  seq %" PRIu64 "%s%s%s%s", saga->seq, up->merge_reply ? ", merge" : "",
               up->stalled ? ", stalled" : "", up->parked ? ", parked" : "",
               up->ended ? ", ended" : "");
    if (up->next_due_unix_ms != 0) {
        write_text(writer, ", due %" PRId64, up->next_due_unix_ms);
    }
    write_text(writer, "\n");
}
