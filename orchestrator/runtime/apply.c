/* One event: through the engine into the turn's transaction. */
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/runtime/internal.h"

void mark_dirty(struct saga_runtime *runtime, struct live *live)
{
    live->recorded = false;
    if (!live->dirty) {
        live->dirty = true;
        live->dirty_next = runtime->dirty;
        runtime->dirty = live;
    }
}

/* The texts of a cause that no participant has given. */
static const char *cause_reason(const struct live *live, const struct happening *happening)
{
    switch ((enum saga_cause)live->saga.cause) {
    case SAGA_CAUSE_DEADLINE:
        return "SAGA_DEADLINE";
    case SAGA_CAUSE_CANCEL:
        return "CANCELLED";
    case SAGA_CAUSE_OPERATOR:
        return "OPERATOR";
    case SAGA_CAUSE_PARENT:
        return "PARENT";
    case SAGA_CAUSE_STEP:
    case SAGA_CAUSE_NONE:
        break;
    }
    const char *given = text_or_empty(happening->reason);
    return given[0] != '\0' ? given : happening->ev.kind == SAGA_EVENT_TIMER ? "NO_REPLY" : "";
}

static const char *cause_message(const struct live *live, const struct happening *happening)
{
    switch ((enum saga_cause)live->saga.cause) {
    case SAGA_CAUSE_DEADLINE:
        return "the saga's deadline passed before its pivot";
    case SAGA_CAUSE_CANCEL:
    case SAGA_CAUSE_OPERATOR:
        return text_or_empty(happening->why);
    case SAGA_CAUSE_PARENT:
        return "the saga that this one is a step of undoes it";
    case SAGA_CAUSE_STEP:
    case SAGA_CAUSE_NONE:
        break;
    }
    const char *given = text_or_empty(happening->message);
    return given[0] != '\0'                         ? given
           : happening->ev.kind == SAGA_EVENT_TIMER ? "no reply came in time"
                                                    : "";
}

static enum saga_err set_cause_texts(struct live *live, const struct happening *happening)
{
    enum saga_err err = live_set_text(&live->cause_reason, cause_reason(live, happening));
    if (err == SAGA_ERR_OK) {
        err = live_set_text(&live->cause_message, cause_message(live, happening));
    }
    return err;
}

static enum saga_err write_audit(struct saga_runtime *runtime, struct live *live,
                                 const struct happening *happening)
{
    bool cause = runtime->update.cause_set;
    if ((happening->ev.kind == SAGA_EVENT_DURABLE && SAGA_BROKEN(S9_GAP)) ||
        (happening->ev.kind == SAGA_EVENT_OPERATOR && SAGA_BROKEN(S12_NOT_RECORDED))) {
        return SAGA_ERR_OK;
    }
    struct saga_audit_input in = {
        .version = live->version,
        .saga = &live->saga,
        .ev = &happening->ev,
        .up = &runtime->update,
        .reason = cause ? live->cause_reason : text_or_empty(happening->reason),
        .message = cause ? live->cause_message : text_or_empty(happening->message),
        .payload = happening->payload,
        .replayed = happening->replayed,
        .empty = happening->empty,
        .who = text_or_empty(happening->who),
        .why = text_or_empty(happening->why),
        .start_key = live->start_key,
        .parent_step = live->parent_step,
        .parent_id = live->parent_id,
        .prev_hash = live->last_hash,
    };
    saga_buf_clear(&runtime->audit);
    enum saga_err err = runtime->config.codec->encode_audit(&in, &runtime->audit, live->last_hash);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(&runtime->detail, err, "encode an audit event");
    }
    struct saga_audit_row row = {
        .id = live->saga.id,
        .seq = live->saga.seq,
        .time_unix_ms = happening->ev.now_unix_ms,
        .event = saga_buf_view(&runtime->audit),
    };
    runtime->audit_written = true;
    return runtime->store_ops->append_audit(runtime->store, &row, &runtime->detail);
}

static enum saga_err write_outbox(struct saga_runtime *runtime, struct live *live,
                                  const struct saga_command_input *in)
{
    saga_buf_clear(&runtime->value);
    enum saga_err err = runtime->config.codec->encode_command(in, &runtime->value);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(&runtime->detail, err, "encode a command");
    }
    struct saga_outbox_row row = {
        .id = live->saga.id,
        .step = in->send->step,
        .op = in->send->op,
        .attempt = in->send->attempt,
        .topic = runtime->config.codec->command_topic(live->version, in->send->step, in->send->op),
        .traceparent = live->traceparent,
        .time_unix_ms = runtime->now_unix_ms,
        .value = saga_buf_view(&runtime->value),
    };
    int64_t position = 0;
    if (SAGA_BROKEN(S6_NOT_IN_OUTBOX)) {
        return SAGA_ERR_OK;
    }
    runtime->outbox_written = true;
    return runtime->store_ops->append_outbox(runtime->store, &row, &position, &runtime->detail);
}

static enum saga_err queue_send(struct saga_runtime *runtime, struct live *live,
                                const struct saga_command_input *in)
{
    if (runtime->send_count == runtime->send_capacity) {
        size_t capacity = runtime->send_capacity == 0 ? 256 : runtime->send_capacity * 2;
        struct pending_send *sends = realloc(runtime->sends, capacity * sizeof *sends);
        if (sends == NULL) {
            return saga_err_set(&runtime->detail, SAGA_ERR_NO_MEMORY, "queue a command");
        }
        runtime->sends = sends;
        runtime->send_capacity = capacity;
    }
    size_t before = runtime->elements.size;
    enum saga_err err = runtime->config.codec->encode_command(in, &runtime->elements);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(&runtime->detail, err, "encode a command");
    }
    const struct saga_send *send = in->send;
    const uint16_t *participants = send->op == SAGA_OP_CALL ? live->version->call_participants
                                                            : live->version->undo_participants;
    runtime->sends[runtime->send_count++] = (struct pending_send){
        .outgoing = {.saga_id = live->saga.id,
                     .step = send->step,
                     .op = send->op,
                     .attempt = send->attempt,
                     .participant = participants[send->step],
                     .deadline_unix_ms = live->saga.steps[send->step].due_unix_ms},
        .offset = before,
        .size = runtime->elements.size - before,
    };
    return SAGA_ERR_OK;
}

static enum saga_err take_sends(struct saga_runtime *runtime, struct live *live)
{
    struct saga_texts texts = live_texts(live);
    for (uint32_t i = 0; i < runtime->update.send_count; i++) {
        const struct saga_send *send = &runtime->update.sends[i];
        if (send->via == SAGA_VIA_CHILD) {
            note_child_command(runtime, live, send);
            continue;
        }
        struct saga_command_input in = {
            .version = live->version,
            .saga = &live->saga,
            .send = send,
            .texts = &texts,
            .context = saga_buf_view(&live->context),
            .epoch = runtime->epoch,
            .batch_element = send->via == SAGA_VIA_NNG,
        };
        enum saga_err err = send->via == SAGA_VIA_KAFKA ? write_outbox(runtime, live, &in)
                                                        : queue_send(runtime, live, &in);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        runtime->counts.commands += 1;
    }
    return SAGA_ERR_OK;
}

static void count_update(struct saga_runtime *runtime, const struct live *live)
{
    const struct saga_update *up = &runtime->update;
    runtime->counts.events += 1;
    runtime->counts.parked += up->parked ? 1 : 0;
    runtime->counts.stalled += up->stalled ? 1 : 0;
    runtime->counts.completed += up->ended && live->saga.state == SAGA_STATE_COMPLETED ? 1 : 0;
    runtime->counts.compensated += up->ended && live->saga.state == SAGA_STATE_COMPENSATED ? 1 : 0;
}

/* A reply that would be taken as a success must fit the schema and the context; else nobody knows
 * what has happened. Gives the context as it is after the event. */
static struct saga_bytes merge_payload(struct saga_runtime *runtime, struct live *live,
                                       struct happening *happening)
{
    struct saga_event *ev = &happening->ev;
    saga_buf_clear(&runtime->merged);
    if (ev->kind != SAGA_EVENT_REPLY || ev->op != SAGA_OP_CALL || ev->code != SAGA_CODE_OK) {
        return saga_buf_view(&live->context);
    }
    const struct saga_codec_ops *codec = runtime->config.codec;
    enum saga_err err =
        codec->check_reply(live->version, ev->step, ev->op, happening->payload, &runtime->detail);
    if (err == SAGA_ERR_OK) {
        err = codec->merge_reply(live->version, ev->step, saga_buf_view(&live->context),
                                 happening->payload, &runtime->merged, &runtime->detail);
    }
    if (err != SAGA_ERR_OK) {
        ev->code = SAGA_CODE_INTERNAL;
        happening->reason = "BAD_REPLY";
        happening->message = runtime->detail.text;
        happening->payload = (struct saga_bytes){0};
        return saga_buf_view(&live->context);
    }
    return saga_buf_view(&runtime->merged); /* may be empty: every field has its default */
}

void apply_event(struct saga_runtime *runtime, struct live *live, struct happening *happening)
{
    runtime->update.verdict = SAGA_VERDICT_IGNORED;
    if (!ensure_transaction(runtime)) {
        return;
    }
    happening->ev.now_unix_ms = runtime->now_unix_ms;
    struct known_version *known = &runtime->versions[live->version_index];
    struct saga_bytes context = merge_payload(runtime, live, happening);
    happening->ev.paused = known->paused;
    happening->ev.when_mask = runtime->config.codec->when_mask(live->version, context);
    known->running -= live->saga.state == SAGA_STATE_RUNNING ? 1 : 0;
    saga_step(&live->version->def, &live->saga, &happening->ev, &runtime->update);
    known->running += live->saga.state == SAGA_STATE_RUNNING ? 1 : 0;
    live_table_set_due(&runtime->table, live, runtime->update.next_due_unix_ms);
    if (runtime->update.verdict != SAGA_VERDICT_TAKEN) {
        runtime->counts.ignored += 1;
        return;
    }
    if (runtime->update.merge_reply) {
        struct saga_buf before = live->context;
        live->context = runtime->merged;
        runtime->merged = before;
    }
    enum saga_err err = SAGA_ERR_OK;
    if (runtime->update.cause_set) {
        err = set_cause_texts(live, happening);
    }
    live->updated_unix_ms = runtime->now_unix_ms;
    mark_dirty(runtime, live);
    count_update(runtime, live);
    if (err == SAGA_ERR_OK) {
        err = write_audit(runtime, live, happening);
    }
    if (err == SAGA_ERR_OK) {
        err = take_sends(runtime, live);
    }
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "take an event");
    } else if (runtime->update.ended && live->parent_step[0] != '\0') {
        note_child_end(runtime, live);
    }
}
