/* What participants do: S2, S3, S4, S5, S8, B1 to B6. */
#include <string.h>

#include "verify/sim/judge_internal.h"

static uint64_t command_hash(const struct saga_command *command)
{
    uint64_t hash = judge_hash_text(JUDGE_HASH_START, command->method);
    return judge_hash(hash, command->payload.data, command->payload.size);
}

static uint64_t reply_hash(const struct saga_reply *reply)
{
    uint64_t hash = judge_hash(JUDGE_HASH_START, reply->payload.data, reply->payload.size);
    return judge_hash_text(hash, reply->status.reason == NULL ? "" : reply->status.reason);
}

static bool says(const struct saga_reply *reply, enum saga_code code, const char *reason)
{
    return reply->status.code == (uint32_t)code && reply->status.reason != NULL &&
           strcmp(reply->status.reason, reason) == 0;
}

/* Refused before the barrier was asked: nothing is known of the key. */
static bool is_unheard(const struct saga_reply *reply)
{
    return says(reply, SAGA_CODE_DEADLINE_EXCEEDED, "DEADLINE_PAST") ||
           says(reply, SAGA_CODE_UNAVAILABLE, "STORE_FAILED") ||
           says(reply, SAGA_CODE_UNAVAILABLE, "STOPPING") ||
           says(reply, SAGA_CODE_UNIMPLEMENTED, "METHOD_UNKNOWN") ||
           says(reply, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED_PAYLOAD");
}

/* ---- S8 ---- */

/* The newest epoch by which a participant has kept or repeated anything of a saga. */
static uint64_t *epoch_of(struct saga_judge *judge, struct trail *trail, uint16_t participant)
{
    for (size_t i = 0; i < trail->epoch_count; i++) {
        if (trail->epochs[i].participant == participant) {
            return &trail->epochs[i].epoch;
        }
    }
    void *epochs = trail->epochs;
    if (!judge_grow(judge, &epochs, trail->epoch_count, &trail->epoch_capacity,
                    sizeof *trail->epochs)) {
        return NULL;
    }
    trail->epochs = epochs;
    trail->epochs[trail->epoch_count] = (struct known_epoch){.participant = participant};
    return &trail->epochs[trail->epoch_count++].epoch;
}

/* Returns true when the command comes from an orchestrator that has lost its lease, as far as the
 * participant can know. */
static bool check_epoch(struct saga_judge *judge, struct trail *trail,
                        const struct saga_judge_deed *deed)
{
    uint64_t *known = epoch_of(judge, trail, deed->participant);
    bool acted = deed->ran || deed->position != 0 || deed->reply->replayed || deed->reply->empty;
    if (known == NULL) {
        return false;
    }
    if (deed->command->epoch < *known) {
        if (acted) {
            judge_tell(judge, SAGA_RULE_S8, trail, deed->command->step,
                       "a command of epoch %llu was heard after one of epoch %llu",
                       (unsigned long long)deed->command->epoch, (unsigned long long)*known);
        }
        return true;
    }
    if (deed->position != 0 || deed->reply->replayed) {
        *known = deed->command->epoch;
    }
    return false;
}

/* ---- The barrier ---- */

static void check_replay(struct saga_judge *judge, struct trail *trail, const struct side *side,
                         const struct saga_judge_deed *deed)
{
    enum saga_rule rule = deed->command->op == SAGA_OP_CALL ? SAGA_RULE_B1 : SAGA_RULE_B4;
    judge->counts.replays++;
    if (!side->row) {
        judge_tell(judge, rule, trail, deed->command->step, "a replay of what was never stored");
    } else if (side->command_hash != command_hash(deed->command)) {
        judge_tell(judge, SAGA_RULE_B5, trail, deed->command->step,
                   "another payload got the stored reply");
    } else if (side->code != deed->reply->status.code || side->empty != deed->reply->empty ||
               side->reply_hash != reply_hash(deed->reply)) {
        judge_tell(judge, rule, trail, deed->command->step,
                   "a duplicate was answered otherwise than the first time");
    }
    if (deed->ran) {
        judge_tell(judge, rule, trail, deed->command->step, "a duplicate ran the handler");
    }
}

/* A key that has a row: only its reply comes back. */
static void check_known(struct saga_judge *judge, struct trail *trail, const struct side *side,
                        const struct saga_judge_deed *deed)
{
    bool same = side->command_hash == command_hash(deed->command);
    if (!same && !says(deed->reply, SAGA_CODE_INVALID_ARGUMENT, "KEY_REUSED")) {
        judge_tell(judge, SAGA_RULE_B5, trail, deed->command->step,
                   "another payload for a used key was not refused (%s)",
                   saga_code_name(deed->reply->status.code));
    } else if (same) {
        judge_tell(judge, deed->command->op == SAGA_OP_CALL ? SAGA_RULE_B1 : SAGA_RULE_B4, trail,
                   deed->command->step, "a duplicate did not get the stored reply (%s)",
                   saga_code_name(deed->reply->status.code));
    }
}

/* A key that has no row yet. */
static void check_new(struct saga_judge *judge, struct trail *trail, uint8_t step,
                      const struct saga_judge_deed *deed)
{
    const struct side *call = judge_side(trail, step, SAGA_OP_CALL);
    const struct side *undo = judge_side(trail, step, SAGA_OP_UNDO);
    const struct saga_reply *reply = deed->reply;
    if (deed->command->op == SAGA_OP_CALL) {
        if (undo->row &&
            (deed->ran || !says(reply, SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE"))) {
            judge_tell(judge, SAGA_RULE_B3, trail, deed->command->step,
                       "a call after its undo was not refused (%s)",
                       saga_code_name(reply->status.code));
        }
        return;
    }
    bool nothing = !deed->starter_undo && !(call->row && call->code == SAGA_CODE_OK);
    if (nothing && (deed->ran || !reply->empty || reply->status.code != SAGA_CODE_OK)) {
        judge_tell(judge, SAGA_RULE_B2, trail, deed->command->step,
                   "an undo without its call was not an empty success (%s)",
                   saga_code_name(reply->status.code));
    } else if (!nothing && reply->empty) {
        judge_tell(judge, SAGA_RULE_B2, trail, deed->command->step,
                   "an undo found nothing though its call has happened");
    }
}

static bool must_keep(enum saga_op op, uint32_t code)
{
    return code == SAGA_CODE_OK ||
           (op == SAGA_OP_CALL && saga_code_class(code) == SAGA_CODE_CLASS_REJECT);
}

/* B6, for what the handler or the barrier has just decided. */
static void check_kept(struct saga_judge *judge, struct trail *trail,
                       const struct saga_judge_deed *deed)
{
    bool decided = deed->ran || deed->reply->empty;
    bool kept = deed->position != 0;
    if (decided && kept != must_keep(deed->command->op, deed->reply->status.code)) {
        judge_tell(judge, SAGA_RULE_B6, trail, deed->command->step, "%s was %s",
                   saga_code_name(deed->reply->status.code), kept ? "stored" : "not stored");
    }
}

static void check_barrier(struct saga_judge *judge, struct trail *trail, uint8_t step, bool fenced,
                          const struct saga_judge_deed *deed)
{
    const struct side *side = judge_side(trail, step, deed->command->op);
    if (deed->reply->replayed) {
        check_replay(judge, trail, side, deed);
    } else if (is_unheard(deed->reply) && !deed->ran) {
        judge->counts.refusals++;
    } else if (!fenced && side->row) {
        judge->counts.refusals++;
        check_known(judge, trail, side, deed);
    } else if (!fenced) {
        check_new(judge, trail, step, deed);
        check_kept(judge, trail, deed);
    }
}

/* ---- Effects ---- */

/* S5: what comes behind is undone first. */
static void check_order(struct saga_judge *judge, struct trail *trail, uint8_t step)
{
    const struct saga_definition *def = &trail->version->def;
    for (uint8_t i = 0; i < def->step_count; i++) {
        if ((def->behind_masks[step] >> i & 1) == 0 || !def->steps[i].has_undo) {
            continue;
        }
        const struct side *call = judge_side(trail, i, SAGA_OP_CALL);
        const struct side *undo = judge_side(trail, i, SAGA_OP_UNDO);
        bool left = call->effect && !undo->effect && !undo->by_hand;
        const struct trail *child = trail->children[i];
        bool child_left =
            child != NULL && child->saga.state != SAGA_STATE_COMPENSATED && !undo->by_hand;
        if (left || child_left) {
            judge_tell(judge, SAGA_RULE_S5, trail, judge_step_name(trail, step),
                       "undone before \"%s\", which comes behind it", judge_step_name(trail, i));
        }
    }
}

static void take_call_effect(struct saga_judge *judge, struct trail *trail, uint8_t step)
{
    const char *name = judge_step_name(trail, step);
    if (judge_side(trail, step, SAGA_OP_UNDO)->row) {
        judge_tell(judge, SAGA_RULE_S4, trail, name, "a call took effect after its undo");
    }
    bool back =
        trail->saga.state == SAGA_STATE_COMPENSATING || trail->saga.state == SAGA_STATE_COMPENSATED;
    if (trail->version->def.steps[step].pivot && back && !trail->pivot_given_up) {
        judge_tell(judge, SAGA_RULE_S2, trail, name,
                   "the pivot has happened, and the saga goes back");
    }
}

static void take_undo_effect(struct saga_judge *judge, struct trail *trail, uint8_t step)
{
    uint8_t pivot = judge_pivot(trail);
    if (pivot != SAGA_STEP_ALL && judge_side(trail, pivot, SAGA_OP_CALL)->effect &&
        !trail->pivot_given_up) {
        judge_tell(judge, SAGA_RULE_S2, trail, judge_step_name(trail, step),
                   "undone though the pivot has happened");
    }
    check_order(judge, trail, step);
}

static void take_effect(struct saga_judge *judge, struct trail *trail, uint8_t step,
                        enum saga_op op)
{
    struct side *side = judge_side(trail, step, op);
    judge->counts.effects++;
    if (side->effect) {
        judge_tell(judge, SAGA_RULE_S3, trail, judge_step_name(trail, step),
                   "a second effect of one %s", op == SAGA_OP_UNDO ? "undo" : "call");
    }
    side->effect = true;
    if (op == SAGA_OP_CALL) {
        take_call_effect(judge, trail, step);
    } else {
        take_undo_effect(judge, trail, step);
    }
}

/* ---- Rows ---- */

static void take_row(struct saga_judge *judge, struct trail *trail, uint8_t step,
                     const struct saga_judge_deed *deed)
{
    struct side *side = judge_side(trail, step, deed->command->op);
    struct journal *journal = &judge->journals[deed->participant];
    const char *method = deed->command->method;
    const char *slash = strchr(method, '/');
    uint64_t service = judge_hash(JUDGE_HASH_START, method,
                                  slash == NULL ? strlen(method) : (size_t)(slash - method));
    if (side->row) {
        judge_tell(judge, SAGA_RULE_S3, trail, deed->command->step, "a second row of one key");
    }
    if (journal->used && journal->service != service) {
        judge_tell(judge, SAGA_RULE_FACT, trail, deed->command->step,
                   "participant %u is of two services", (unsigned)deed->participant);
    }
    journal->used = true;
    journal->service = service;
    if (journal->count > 0 && journal->places[journal->count - 1].position >= deed->position) {
        judge_tell(judge, SAGA_RULE_B8, trail, deed->command->step,
                   "position %lld was given after position %lld", (long long)deed->position,
                   (long long)journal->places[journal->count - 1].position);
        return;
    }
    void *places = journal->places;
    if (!judge_grow(judge, &places, journal->count, &journal->capacity, sizeof(struct place))) {
        return;
    }
    journal->places = places;
    journal->places[journal->count++] = (struct place){
        .position = deed->position, .trail = trail, .side = (uint32_t)(side - trail->sides)};
    side->row = true;
    side->published = false;
    side->empty = deed->reply->empty;
    side->code = (uint8_t)deed->reply->status.code;
    side->participant = deed->participant;
    side->position = deed->position;
    side->stored_unix_ms = deed->now_unix_ms;
    side->attempt = deed->command->attempt;
    side->command_hash = command_hash(deed->command);
    side->reply_hash = reply_hash(deed->reply);
}

void saga_judge_deed(struct saga_judge *judge, const struct saga_judge_deed *deed)
{
    const struct saga_command *command = deed->command;
    judge->counts.deeds++;
    struct trail *trail = judge_find(judge, command->saga_id);
    uint8_t step =
        trail == NULL || trail->version == NULL ? SAGA_STEP_ALL : judge_step(trail, command->step);
    bool known = step != SAGA_STEP_ALL && deed->participant < SAGA_JUDGE_PARTICIPANTS_MAX &&
                 (command->op == SAGA_OP_CALL || command->op == SAGA_OP_UNDO);
    if (!known) {
        judge_tell(judge, SAGA_RULE_S6, trail, command->step,
                   "a participant got a command of a saga or step that is not durable");
        return;
    }
    if (deed->read_only) {
        return; /* no barrier, no effect */
    }
    bool fenced = check_epoch(judge, trail, deed);
    check_barrier(judge, trail, step, fenced, deed);
    bool effect = deed->ran && !deed->reply->replayed && deed->reply->status.code == SAGA_CODE_OK;
    if (deed->position != 0) {
        take_row(judge, trail, step, deed);
    }
    if (effect) {
        take_effect(judge, trail, step, command->op);
    } else if (command->op == SAGA_OP_UNDO && deed->position != 0) {
        check_order(judge, trail, step); /* an empty one keeps the order too */
    }
    if (effect && command->attempt > judge_side(trail, step, command->op)->decided) {
        judge_tell(judge, SAGA_RULE_S13, trail, command->step, "an effect that nobody decided on");
    }
}
