/* Events and states in words, to be compared and to be read. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/status.h"
#include "orchestrator/codec/codec.h"
#include "verify/replay/internal.h"

void replay_text_clear(struct replay_text *text)
{
    text->at[0] = '\0';
    text->size = 0;
}

void replay_text_add(struct replay_text *text, const char *format, ...)
{
    static const char cut[] = "…(cut)";
    size_t room = sizeof text->at - text->size - sizeof cut;
    if (text->size + sizeof cut >= sizeof text->at) {
        return; /* it was cut already */
    }
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text->at + text->size, room, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= room) {
        memcpy(text->at + text->size + room - 1, cut, sizeof cut);
        text->size = sizeof text->at;
        return;
    }
    text->size += (size_t)size;
}

/* ---- Parts ---- */

static void add_digest(struct replay_text *text, const uint8_t *data, size_t size)
{
    uint8_t digest[SAGA_DIGEST_SIZE];
    saga_digest((struct saga_bytes){data, size}, digest);
    replay_text_add(text, "%zu bytes", size);
    if (size > 0) {
        replay_text_add(text, ", SHA-256 %02x%02x%02x%02x%02x%02x…", digest[0], digest[1],
                        digest[2], digest[3], digest[4], digest[5]);
    }
}

static void add_hex(struct replay_text *text, const ProtobufCBinaryData *bytes)
{
    for (size_t i = 0; i < bytes->len && i < SAGA_DIGEST_SIZE; i++) {
        replay_text_add(text, "%02x", bytes->data[i]);
    }
    if (bytes->len > SAGA_DIGEST_SIZE) {
        replay_text_add(text, "… (%zu bytes)", bytes->len);
    }
}

static const char *op_name(int op)
{
    return op == SAGA_OP_CALL ? "CALL" : op == SAGA_OP_UNDO ? "UNDO" : "no op";
}

static const char *via_name(int via)
{
    switch (via) {
    case SAGA_VIA_NNG:
        return "NNG";
    case SAGA_VIA_KAFKA:
        return "KAFKA";
    case SAGA_VIA_CHILD:
        return "CHILD";
    default:
        return "no road";
    }
}

static const char *act_name(int act)
{
    static const char *const names[] = {"no act",     "RETRY",   "CANCEL", "SKIP",
                                        "COMPENSATE", "RESOLVE", "PAUSE",  "RESUME"};
    return act >= 0 && act < (int)(sizeof names / sizeof names[0]) ? names[act] : "unknown act";
}

static const char *wait_name(uint8_t wait)
{
    static const char *const names[] = {"nothing", "Kafka", "a reply", "its retry", "its child"};
    return wait < sizeof names / sizeof names[0] ? names[wait] : "?";
}

static void add_status(struct replay_text *text, const Saga__V1__Status *status)
{
    if (status == NULL) {
        replay_text_add(text, "OK");
        return;
    }
    replay_text_add(text, "%s", saga_code_name(status->code));
    if (status->reason[0] != '\0') {
        replay_text_add(text, " %s", status->reason);
    }
    if (status->message[0] != '\0') {
        replay_text_add(text, " \"%s\"", status->message);
    }
    if (status->retry_after_ms != 0) {
        replay_text_add(text, ", retry after %" PRId64 " ms", status->retry_after_ms);
    }
}

/* ---- Fields of an event ---- */

static void write_state(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    replay_text_add(text, "%s", saga_state_name((enum saga_state)event->state));
}

static void write_transitions(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    for (size_t i = 0; i < event->n_transitions; i++) {
        const Saga__V1__Transition *move = event->transitions[i];
        replay_text_add(text, "%s%s %s -> %s", i == 0 ? "" : ", ", move->step,
                        saga_step_state_name((enum saga_step_state)move->from),
                        saga_step_state_name((enum saga_step_state)move->to));
    }
}

static void write_decisions(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    for (size_t i = 0; i < event->n_decisions; i++) {
        const Saga__V1__Decision *decision = event->decisions[i];
        replay_text_add(text, "%s%s %s attempt %" PRIu32 " by %s", i == 0 ? "" : ", ",
                        op_name((int)decision->op), decision->step, decision->attempt,
                        via_name((int)decision->via));
    }
}

static void write_cause(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    if (event->cause != NULL) {
        replay_text_add(text, "%s%s", event->cause->step,
                        event->cause->step[0] == '\0' ? "the saga: " : ": ");
        add_status(text, event->cause->status);
    }
}

static void write_when_mask(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    replay_text_add(text, "0x%" PRIx64, event->when_mask);
}

static void write_status(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    add_status(text, event->status);
}

static void write_happening(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    replay_text_add(text, "%s step \"%s\" %s attempt %" PRIu32 "%s%s%s%s at %" PRId64,
                    saga_event_kind_name((enum saga_event_kind)event->kind), event->step,
                    op_name((int)event->op), event->attempt, event->replayed ? " replayed" : "",
                    event->empty ? " empty" : "", event->not_sent ? " not sent" : "",
                    event->paused ? " paused" : "", event->time_unix_ms);
}

static void write_payload(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    add_digest(text, event->payload.data, event->payload.len);
}

static void write_operator(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    if (event->operator_ != NULL) {
        replay_text_add(text, "%s by \"%s\": \"%s\"", act_name((int)event->operator_->act),
                        event->operator_->who, event->operator_->why);
    }
}

static void write_start(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    replay_text_add(text, "key \"%s\", seed %" PRIu64 ", parent \"%s\" ", event->start_key,
                    event->seed, event->parent_step);
    add_hex(text, &event->parent_saga_id);
}

static void write_identity(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    add_hex(text, &event->saga_id);
    replay_text_add(text, " seq %" PRIu64 " of \"%s\" ", event->seq, event->definition);
    add_hex(text, &event->definition_hash);
}

static void write_prev_hash(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    add_hex(text, &event->prev_hash);
}

const struct replay_event_field replay_event_fields[] = {
    {"state", true, write_state},
    {"transitions", true, write_transitions},
    {"decisions", true, write_decisions},
    {"cause", true, write_cause},
    {"conditions", false, write_when_mask},
    {"status", false, write_status},
    {"event", false, write_happening},
    {"payload", false, write_payload},
    {"operator", false, write_operator},
    {"start", false, write_start},
    {"saga", false, write_identity},
    {"prev_hash", false, write_prev_hash},
    {NULL, false, NULL},
};

void replay_write_event(const Saga__V1__AuditEvent *event, struct replay_text *text)
{
    replay_text_clear(text);
    replay_text_add(text, "%s", saga_event_kind_name((enum saga_event_kind)event->kind));
    if (event->step[0] != '\0') {
        replay_text_add(text, " %s", event->step);
    }
    if (event->op == SAGA__V1__OP__OP_CALL || event->op == SAGA__V1__OP__OP_UNDO) {
        replay_text_add(text, " %s attempt %" PRIu32, op_name((int)event->op), event->attempt);
    }
    if (event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY) {
        replay_text_add(text, ": ");
        add_status(text, event->status);
    }
    if (event->operator_ != NULL) {
        replay_text_add(text, ": ");
        write_operator(event, text);
    }
}

/* ---- States ---- */

static void write_step(const struct saga_step_run *run, struct replay_text *text)
{
    replay_text_clear(text);
    replay_text_add(text, "%s", saga_step_state_name((enum saga_step_state)run->state));
    if (run->wait != SAGA_WAIT_NONE) {
        replay_text_add(text, " waiting for %s", wait_name(run->wait));
    }
    if (run->due_unix_ms != 0) {
        replay_text_add(text, " until %" PRId64, run->due_unix_ms);
    }
    replay_text_add(text, ", calls %" PRIu32 ", undos %" PRIu32 ", failures %" PRIu32 ", last %s",
                    run->call_attempts, run->undo_attempts, run->failures,
                    saga_code_name(run->last_code));
    replay_text_add(text, "%s%s%s", run->maybe_effect ? ", may have an effect" : "",
                    run->stalled ? ", stalled" : "", run->parked ? ", parked" : "");
}

void replay_compare_number(struct saga_replay *replay, const char *name, int64_t recorded,
                           int64_t now)
{
    char texts[2][32];
    (void)snprintf(texts[0], sizeof texts[0], "%" PRId64, recorded);
    (void)snprintf(texts[1], sizeof texts[1], "%" PRId64, now);
    saga_replay_compare(replay, name, texts[0], texts[1]);
}

void replay_compare_bytes(struct saga_replay *replay, const char *name, struct saga_bytes recorded,
                          struct saga_bytes now)
{
    if (saga_bytes_equal(recorded, now)) {
        return;
    }
    replay_text_clear(&replay->texts[0]);
    replay_text_clear(&replay->texts[1]);
    add_digest(&replay->texts[0], recorded.data, recorded.size);
    add_digest(&replay->texts[1], now.data, now.size);
    saga_replay_compare(replay, name, replay->texts[0].at, replay->texts[1].at);
}

static const char *step_name(const struct saga_version *version, uint8_t step)
{
    return step < version->def.step_count ? version->step_names[step] : "(the saga)";
}

void replay_compare_states(struct saga_replay *replay, const struct saga_version *version,
                           const struct saga *recorded, const struct saga *now)
{
    saga_replay_compare(replay, "state", saga_state_name((enum saga_state)recorded->state),
                        saga_state_name((enum saga_state)now->state));
    saga_replay_compare(replay, "state to go back to",
                        saga_state_name((enum saga_state)recorded->resume),
                        saga_state_name((enum saga_state)now->resume));
    replay_compare_number(replay, "kind of cause", recorded->cause, now->cause);
    saga_replay_compare(replay, "step of the cause", step_name(version, recorded->cause_step),
                        step_name(version, now->cause_step));
    saga_replay_compare(replay, "status of the cause", saga_code_name(recorded->cause_code),
                        saga_code_name(now->cause_code));
    replay_compare_number(replay, "seq", (int64_t)recorded->seq, (int64_t)now->seq);
    replay_compare_number(replay, "seed of the jitter", (int64_t)recorded->seed,
                          (int64_t)now->seed);
    replay_compare_number(replay, "created", recorded->created_unix_ms, now->created_unix_ms);
    replay_compare_number(replay, "deadline", recorded->deadline_unix_ms, now->deadline_unix_ms);
    replay_compare_number(replay, "ended", recorded->ended_unix_ms, now->ended_unix_ms);
    replay_compare_number(replay, "steps", recorded->step_count, now->step_count);
    for (uint8_t i = 0; i < now->step_count && i < recorded->step_count; i++) {
        char name[SAGA_STEP_NAME_MAX + 8];
        (void)snprintf(name, sizeof name, "step %s", step_name(version, i));
        write_step(&recorded->steps[i], &replay->texts[0]);
        write_step(&now->steps[i], &replay->texts[1]);
        saga_replay_compare(replay, name, replay->texts[0].at, replay->texts[1].at);
    }
}
