/* One durable event: run again (S7), and what it says about the other rules. */
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/envelope.h"
#include "common/wire/wire.h"
#include "orchestrator/codec/codec.h"
#include "saga/v1/audit.pb-c.h"
#include "verify/sim/judge_internal.h"

enum { EVENT_SAGA_ID = 1, EVENT_SEQ = 2 };

bool judge_peek(struct saga_bytes event, struct saga_id *id, uint64_t *seq)
{
    struct saga_wire_reader reader = saga_wire_read(event);
    struct saga_wire_field field;
    bool has_id = false;
    *seq = 0;
    /* The encoder writes fields in the order of their numbers: both come first. */
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD && field.number <= EVENT_SEQ) {
        if (field.number == EVENT_SAGA_ID && field.bytes.size == SAGA_ID_SIZE) {
            memcpy(id->b, field.bytes.data, SAGA_ID_SIZE);
            has_id = true;
        } else if (field.number == EVENT_SEQ) {
            *seq = field.value;
        }
    }
    return has_id && *seq > 0;
}

/* ---- S7: run again ---- */

static struct saga_audit_input make_input(const struct saga_judge *judge, const struct trail *trail,
                                          const Saga__V1__AuditEvent *event,
                                          const struct saga_event *ev)
{
    const Saga__V1__Status *status =
        event->cause != NULL && event->cause->status != NULL ? event->cause->status : event->status;
    struct saga_audit_input in = {
        .version = trail->version,
        .saga = &trail->saga,
        .ev = ev,
        .up = &judge->update,
        .reason = status == NULL ? "" : status->reason,
        .message = status == NULL ? "" : status->message,
        .payload = {.data = event->payload.data, .size = event->payload.len},
        .replayed = event->replayed,
        .empty = event->empty,
        .who = event->operator_ == NULL ? "" : event->operator_->who,
        .why = event->operator_ == NULL ? "" : event->operator_->why,
        .start_key = event->start_key,
        .parent_step = event->parent_step,
        .prev_hash = trail->last_hash,
    };
    if (event->parent_saga_id.len == SAGA_ID_SIZE) {
        memcpy(in.parent_id.b, event->parent_saga_id.data, SAGA_ID_SIZE);
    }
    return in;
}

/* Gives the event to the engine again; what it decides must be the very bytes. */
static bool run_again(struct saga_judge *judge, struct trail *trail,
                      const Saga__V1__AuditEvent *event, struct saga_bytes bytes,
                      struct saga_event *ev)
{
    struct saga_err_detail detail = {{0}};
    if (saga_event_from_audit(event, trail->version, ev, &detail) != SAGA_ERR_OK) {
        judge_tell(judge, SAGA_RULE_S7, trail, event->step, "event %llu cannot be run again: %s",
                   (unsigned long long)event->seq, detail.text);
        return false;
    }
    bool starts = ev->kind == SAGA_EVENT_START;
    if (starts != (trail->saga.state == SAGA_STATE_NONE)) {
        judge_tell(judge, SAGA_RULE_S7, trail, NULL, "event %llu is %s START",
                   (unsigned long long)event->seq, starts ? "a second" : "before");
        return false;
    }
    saga_step(&trail->version->def, &trail->saga, ev, &judge->update);
    if (judge->update.verdict != SAGA_VERDICT_TAKEN) {
        judge_tell(judge, SAGA_RULE_S7, trail, event->step,
                   "event %llu (%s) was recorded; run again, it is not taken",
                   (unsigned long long)event->seq, saga_event_kind_name(ev->kind));
        return false;
    }
    struct saga_audit_input in = make_input(judge, trail, event, ev);
    saga_buf_clear(&judge->encoded);
    uint8_t hash[SAGA_DIGEST_SIZE];
    if (saga_audit_encode(&in, &judge->encoded, hash) != SAGA_ERR_OK) {
        judge->err = SAGA_ERR_NO_MEMORY;
        return false;
    }
    if (!saga_bytes_equal(saga_buf_view(&judge->encoded), bytes)) {
        judge_tell(judge, SAGA_RULE_S7, trail, event->step,
                   "event %llu (%s) run again gives other bytes", (unsigned long long)event->seq,
                   saga_event_kind_name(ev->kind));
        return false;
    }
    return true;
}

/* ---- What it says ---- */

/* What is decided is what the log says, not what the engine would have decided: a command that
 * leaves without its decision in the log answers to nothing (S13). */
static void take_decisions(struct saga_judge *judge, struct trail *trail,
                           const Saga__V1__AuditEvent *event)
{
    for (size_t i = 0; i < event->n_decisions; i++) {
        const Saga__V1__Decision *decision = event->decisions[i];
        uint8_t step = judge_step(trail, decision->step);
        bool undo = decision->op == SAGA__V1__OP__OP_UNDO;
        struct side *side = step == SAGA_STEP_ALL
                                ? NULL
                                : judge_side(trail, step, undo ? SAGA_OP_UNDO : SAGA_OP_CALL);
        if (side == NULL) {
            continue;
        }
        /* S6: while Kafka is away a command waits in the outbox and is decided on once. */
        if (decision->via == SAGA__V1__VIA__VIA_KAFKA && side->sent_attempt < side->decided) {
            judge_tell(judge, SAGA_RULE_S6, trail, decision->step,
                       "attempt %u was decided on before Kafka had attempt %u",
                       (unsigned)decision->attempt, (unsigned)side->decided);
        }
        side->decided = decision->attempt;
    }
}

/* S6: an attempt's time begins when Kafka has the record, and it has. */
static void check_durable(struct saga_judge *judge, const struct trail *trail,
                          const struct saga_event *ev)
{
    const struct side *side = judge_side(trail, ev->step, ev->op);
    if (ev->attempt > side->sent_attempt) {
        judge_tell(judge, SAGA_RULE_S6, trail, judge_step_name(trail, ev->step),
                   "attempt %u was taken for durable before Kafka had it", (unsigned)ev->attempt);
    }
}

/* S1: past its deadline a saga goes back, unless the pivot may have happened. All that is due is
 * taken in one turn; so a commit that leaves a saga late must be its last one. */
static void check_deadline(struct saga_judge *judge, struct trail *trail,
                           const Saga__V1__AuditEvent *event)
{
    if (trail->late_commit != 0 && trail->late_commit != judge->commit_number) {
        judge_tell(judge, SAGA_RULE_S1, trail, NULL,
                   "still going forward past its deadline (event %llu)",
                   (unsigned long long)event->seq - 1);
    }
    uint8_t pivot = judge_pivot(trail);
    const struct side *call =
        pivot == SAGA_STEP_ALL ? NULL : judge_side(trail, pivot, SAGA_OP_CALL);
    bool forward =
        trail->saga.state == SAGA_STATE_RUNNING || trail->saga.state == SAGA_STATE_PARKED;
    bool bound = call == NULL || (call->decided <= call->not_sent && !call->by_hand);
    bool late = forward && bound && event->time_unix_ms > trail->saga.deadline_unix_ms;
    trail->late_commit = late ? judge->commit_number : 0;
}

/* S12: a pause that was taken holds what has not begun. */
static void check_held(struct saga_judge *judge, const struct trail *trail,
                       const Saga__V1__AuditEvent *event)
{
    for (size_t i = 0; event->paused && i < event->n_transitions; i++) {
        const Saga__V1__Transition *move = event->transitions[i];
        if ((int)move->from == (int)SAGA_STEP_WAITING && (int)move->to == (int)SAGA_STEP_CALLED) {
            judge_tell(judge, SAGA_RULE_S12, trail, move->step,
                       "it begins while its definition is paused (event %llu)",
                       (unsigned long long)event->seq);
        }
    }
}

/* A no that a participant gives without having looked at the command, or because of an earlier one,
 * is no effect of its own; nor is any no to an undo, which is tried until it succeeds. */
static bool leaves_row(enum saga_op op, uint32_t code, const char *reason)
{
    if (code == SAGA_CODE_OK) {
        return true;
    }
    return op == SAGA_OP_CALL && saga_code_class(code) == SAGA_CODE_CLASS_REJECT &&
           code != SAGA_CODE_INVALID_ARGUMENT && strcmp(reason, "SAGA_UNDONE") != 0 &&
           strcmp(reason, "KEY_REUSED") != 0;
}

/* S3: a failure counts once, for the attempt that is out; those of earlier ones have been counted.
 */
static void check_late(struct saga_judge *judge, const struct trail *trail,
                       const struct saga_event *ev)
{
    const struct side *side = judge_side(trail, ev->step, ev->op);
    enum saga_code_class class = saga_code_class(ev->code);
    bool retriable = (trail->version->def.retriable_mask >> ev->step & 1) != 0;
    bool no = class == SAGA_CODE_CLASS_REJECT && !ev->key_reused && ev->op == SAGA_OP_CALL;
    bool definitive = class == SAGA_CODE_CLASS_SUCCESS || (no && !retriable);
    if (!definitive && ev->attempt != side->decided) {
        judge_tell(judge, SAGA_RULE_S3, trail, judge_step_name(trail, ev->step),
                   "a failure of attempt %u was taken while attempt %u was the last",
                   (unsigned)ev->attempt, (unsigned)side->decided);
    }
}

static void take_reply(struct saga_judge *judge, struct trail *trail,
                       const Saga__V1__AuditEvent *event, const struct saga_event *ev)
{
    struct side *side = judge_side(trail, ev->step, ev->op);
    check_late(judge, trail, ev);
    const char *reason = event->status == NULL ? "" : event->status->reason;
    side->not_sent += ev->not_sent ? 1 : 0;
    if (leaves_row(ev->op, ev->code, reason)) {
        side->answered = true;
        side->answer_code = (uint8_t)ev->code;
    }
    bool no = saga_code_class(ev->code) == SAGA_CODE_CLASS_REJECT && !ev->key_reused;
    if (no && ev->op == SAGA_OP_CALL && trail->version->def.steps[ev->step].pivot) {
        trail->pivot_refused = true;
    }
}

static void take_act(struct saga_judge *judge, struct trail *trail,
                     const Saga__V1__AuditEvent *event, const struct saga_event *ev)
{
    struct saga_judge_act act = {
        .saga_id = trail->id,
        .definition = trail->version->name,
        .act = ev->act,
        .step = event->step,
        .who = event->operator_->who,
        .why = event->operator_->why,
    };
    judge_act_taken(judge, trail, &act);
    bool answers = ev->act == SAGA_ACT_RESOLVE || ev->act == SAGA_ACT_SKIP;
    for (uint32_t i = 0; answers && i < judge->update.move_count; i++) {
        const struct saga_move *move = &judge->update.moves[i];
        if (move->step == ev->step) {
            enum saga_op op = move->to == SAGA_STEP_UNDONE ? SAGA_OP_UNDO : SAGA_OP_CALL;
            judge_side(trail, move->step, op)->by_hand = true;
        }
    }
    bool pivot = ev->step != SAGA_STEP_ALL && trail->version->def.steps[ev->step].pivot;
    trail->pivot_given_up = trail->pivot_given_up || (ev->act == SAGA_ACT_COMPENSATE && pivot);
    if (ev->act == SAGA_ACT_CANCEL) {
        trail->cancelled = true;
        if (trail->saga.state != SAGA_STATE_COMPENSATING &&
            trail->saga.state != SAGA_STATE_COMPENSATED) {
            judge_tell(judge, SAGA_RULE_S11, trail, NULL, "a cancel was taken; the saga is %s",
                       saga_state_name((enum saga_state)trail->saga.state));
        }
    }
}

/* S2: whether a saga may go back is seen from what had been decided, left and answered. */
static void check_turning(struct saga_judge *judge, struct trail *trail, uint8_t before)
{
    bool turned = (trail->saga.state == SAGA_STATE_COMPENSATING ||
                   trail->saga.state == SAGA_STATE_COMPENSATED) &&
                  before != SAGA_STATE_COMPENSATING && before != SAGA_STATE_COMPENSATED;
    uint8_t pivot = judge_pivot(trail);
    if (!turned || pivot == SAGA_STEP_ALL) {
        return;
    }
    const struct side *call = judge_side(trail, pivot, SAGA_OP_CALL);
    bool left = call->decided > call->not_sent || call->effect || call->by_hand;
    if (left && !trail->pivot_refused && !trail->pivot_given_up) {
        judge_tell(judge, SAGA_RULE_S2, trail, judge_step_name(trail, pivot),
                   "turned back after %u attempts of the pivot, of which %u never left",
                   (unsigned)call->decided, (unsigned)call->not_sent);
    }
}

static void check_states(struct saga_judge *judge, struct trail *trail,
                         const Saga__V1__AuditEvent *event, uint8_t before)
{
    uint8_t now = trail->saga.state;
    bool ended_before = before == SAGA_STATE_COMPLETED || before == SAGA_STATE_COMPENSATED;
    bool counted_before = before != SAGA_STATE_NONE && !ended_before;
    judge->open += saga_ended(&trail->saga) ? 0 : 1;
    judge->open -= counted_before ? 1 : 0;
    judge->parked += now == SAGA_STATE_PARKED ? 1 : 0;
    judge->parked -= before == SAGA_STATE_PARKED ? 1 : 0;
    if (now == SAGA_STATE_PARKED && before != SAGA_STATE_PARKED &&
        (event->cause == NULL || event->cause->status == NULL || event->cause->status->code == 0)) {
        judge_tell(judge, SAGA_RULE_S1, trail, NULL, "PARKED without a reason (event %llu)",
                   (unsigned long long)event->seq);
    }
    const char *wrong = saga_invariant(&trail->version->def, &trail->saga);
    if (wrong != NULL) {
        judge_tell(judge, SAGA_RULE_S7, trail, NULL, "event %llu: %s",
                   (unsigned long long)event->seq, wrong);
    }
    check_turning(judge, trail, before);
}

/* ---- START ---- */

/* S10: one saga for one key. */
static void take_key(struct saga_judge *judge, struct trail *trail,
                     const Saga__V1__AuditEvent *event)
{
    struct keyed *keyed = judge_key(judge, event->definition, event->start_key);
    if (keyed == NULL) {
        return;
    }
    if (keyed->started) {
        judge_tell(judge, SAGA_RULE_S10, trail, NULL, "key \"%s\" has started a second saga",
                   event->start_key);
    } else if (!keyed->asked && trail->parent == NULL) {
        judge_tell(judge, SAGA_RULE_S10, trail, NULL,
                   "a saga was started by key \"%s\", which nobody has sent", event->start_key);
    }
    keyed->started = true;
    keyed->id = trail->id;
    keyed->input_hash = judge_hash(JUDGE_HASH_START, event->payload.data, event->payload.len);
}

static void take_parent(struct saga_judge *judge, struct trail *trail,
                        const Saga__V1__AuditEvent *event)
{
    struct saga_id id;
    if (event->parent_saga_id.len != SAGA_ID_SIZE) {
        return;
    }
    memcpy(id.b, event->parent_saga_id.data, SAGA_ID_SIZE);
    struct trail *parent = judge_find(judge, id);
    uint8_t step = parent == NULL ? SAGA_STEP_ALL : judge_step(parent, event->parent_step);
    if (step == SAGA_STEP_ALL) {
        judge_tell(judge, SAGA_RULE_S6, trail, event->parent_step,
                   "a child saga was started before its parent's decision was durable");
        return;
    }
    trail->parent = parent;
    if (parent->children[step] != NULL) {
        judge_tell(judge, SAGA_RULE_S3, trail, event->parent_step,
                   "a second child saga of one step");
    }
    parent->children[step] = trail;
    if (judge_side(parent, step, SAGA_OP_CALL)->decided == 0) {
        judge_tell(judge, SAGA_RULE_S6, trail, event->parent_step,
                   "a child saga was started that its parent has not decided on");
    }
}

static bool take_version(struct saga_judge *judge, struct trail *trail,
                         const Saga__V1__AuditEvent *event)
{
    if (trail->version != NULL) {
        return true;
    }
    if (event->definition_hash.len == SAGA_DIGEST_SIZE) {
        trail->version = judge->config.version(judge->config.user, event->definition_hash.data);
    }
    if (trail->version == NULL) {
        judge_tell(judge, SAGA_RULE_FACT, trail, NULL, "no version of \"%s\" has this hash",
                   event->definition);
        return false;
    }
    trail->sides = calloc(2U * (size_t)trail->version->def.step_count, sizeof *trail->sides);
    if (trail->sides == NULL) {
        trail->version = NULL;
        judge->err = SAGA_ERR_NO_MEMORY;
        return false;
    }
    return true;
}

/* ---- The event ---- */

/* S9 of the log itself: number, hash, chain. */
static bool take_place(struct saga_judge *judge, struct trail *trail,
                       const Saga__V1__AuditEvent *event, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    bool first = event->seq == 1;
    bool chained = first
                       ? event->prev_hash.len == 0
                       : event->prev_hash.len == SAGA_DIGEST_SIZE &&
                             memcmp(event->prev_hash.data, trail->last_hash, SAGA_DIGEST_SIZE) == 0;
    if (event->seq != trail->hash_count + 1) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL, "event %llu was committed after event %zu",
                   (unsigned long long)event->seq, trail->hash_count);
        return false;
    }
    if (!chained) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL, "event %llu does not follow the one before",
                   (unsigned long long)event->seq);
    }
    void *hashes = trail->hashes;
    if (!judge_grow(judge, &hashes, trail->hash_count, &trail->hash_capacity, JUDGE_HASH_SIZE)) {
        return false;
    }
    trail->hashes = hashes;
    memcpy(trail->hashes[trail->hash_count++], hash, JUDGE_HASH_SIZE);
    return true;
}

/* S12: an act on a definition is an event of a stream of its own, which no engine runs. Returns
 * false when the event is a saga's. */
static bool take_stream(struct saga_judge *judge, struct trail *trail,
                        const Saga__V1__AuditEvent *event)
{
    if (event->seq == 1) {
        trail->stream = event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR &&
                        event->state == SAGA__V1__SAGA_STATE__SAGA_STATE_UNSPECIFIED;
    }
    if (!trail->stream) {
        return false;
    }
    if (event->operator_ == NULL) {
        judge_tell(judge, SAGA_RULE_S12, trail, NULL, "an act on a definition says not by whom");
        return true;
    }
    struct saga_judge_act act = {
        .definition = event->definition,
        .act = (enum saga_act)event->operator_->act,
        .step = event->step,
        .who = event->operator_->who,
        .why = event->operator_->why,
    };
    judge_act_taken(judge, trail, &act);
    return true;
}

static void take_story(struct saga_judge *judge, struct trail *trail,
                       const Saga__V1__AuditEvent *event, struct saga_bytes bytes)
{
    uint8_t before = trail->saga.state;
    struct saga_event ev;
    if (take_stream(judge, trail, event) || trail->broken || !take_version(judge, trail, event)) {
        return;
    }
    if (event->seq == 1) {
        take_parent(judge, trail, event);
        take_key(judge, trail, event);
    }
    trail->broken = !run_again(judge, trail, event, bytes, &ev);
    if (trail->broken) {
        return;
    }
    if (ev.kind == SAGA_EVENT_REPLY) {
        take_reply(judge, trail, event, &ev);
    } else if (ev.kind == SAGA_EVENT_DURABLE) {
        check_durable(judge, trail, &ev);
    } else if (ev.kind == SAGA_EVENT_OPERATOR) {
        take_act(judge, trail, event, &ev);
    }
    take_decisions(judge, trail, event);
    check_deadline(judge, trail, event);
    check_held(judge, trail, event);
    check_states(judge, trail, event, before);
}

void judge_take_event(struct saga_judge *judge, struct saga_bytes bytes)
{
    uint8_t hash[SAGA_DIGEST_SIZE];
    judge->counts.events++;
    saga_arena_clear(&judge->arena);
    if (saga_audit_verify(bytes, hash) != SAGA_ERR_OK) {
        judge_tell(judge, SAGA_RULE_S9, NULL, NULL, "a committed event has not the hash it says");
        return;
    }
    const ProtobufCMessage *message =
        saga_message_decode(&saga__v1__audit_event__descriptor, bytes, &judge->arena);
    const Saga__V1__AuditEvent *event = (const Saga__V1__AuditEvent *)message;
    if (event == NULL || event->saga_id.len != SAGA_ID_SIZE) {
        judge_tell(judge, SAGA_RULE_S9, NULL, NULL, "a committed event cannot be decoded");
        return;
    }
    struct saga_id id;
    memcpy(id.b, event->saga_id.data, SAGA_ID_SIZE);
    struct trail *trail = judge_make(judge, id);
    if (trail == NULL) {
        return;
    }
    if (take_place(judge, trail, event, hash)) {
        take_story(judge, trail, event, bytes);
    }
    memcpy(trail->last_hash, hash, SAGA_DIGEST_SIZE);
}
