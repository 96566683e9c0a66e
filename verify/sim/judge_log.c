/* The orchestrator's store: commits, leases, and its log as it is found: S6, S8, S9. */
#include <string.h>

#include "orchestrator/codec/codec.h"
#include "verify/sim/judge_internal.h"

/* ---- Commits ---- */

void saga_judge_lease(struct saga_judge *judge, uint64_t epoch)
{
    if (epoch <= judge->epoch) {
        judge_tell(judge, SAGA_RULE_S8, NULL, NULL, "epoch %llu was taken after epoch %llu",
                   (unsigned long long)epoch, (unsigned long long)judge->epoch);
        return;
    }
    judge->epoch = epoch;
}

void saga_judge_commit_begin(struct saga_judge *judge, uint64_t epoch)
{
    judge->commit_epoch = epoch;
    judge->commit_number++;
    saga_buf_clear(&judge->commit);
}

/* Kept until the end: a commit is there as a whole or not at all. */
void saga_judge_commit_event(struct saga_judge *judge, struct saga_bytes event)
{
    uint64_t size = event.size;
    struct saga_bytes head = {.data = (const uint8_t *)&size, .size = sizeof size};
    if (saga_buf_append(&judge->commit, head) != SAGA_ERR_OK ||
        saga_buf_append(&judge->commit, event) != SAGA_ERR_OK) {
        judge->err = SAGA_ERR_NO_MEMORY;
    }
}

void saga_judge_commit_end(struct saga_judge *judge)
{
    if (judge->commit_epoch < judge->epoch) {
        judge_tell(judge, SAGA_RULE_S8, NULL, NULL,
                   "an orchestrator of epoch %llu has committed; the lease is at %llu",
                   (unsigned long long)judge->commit_epoch, (unsigned long long)judge->epoch);
    }
    size_t at = 0;
    while (at + sizeof(uint64_t) <= judge->commit.size) {
        uint64_t size = 0;
        memcpy(&size, judge->commit.data + at, sizeof size);
        at += sizeof size;
        if (size > judge->commit.size - at) {
            break; /* there was no memory for it */
        }
        judge_take_event(
            judge, (struct saga_bytes){.data = judge->commit.data + at, .size = (size_t)size});
        at += (size_t)size;
    }
    saga_buf_clear(&judge->commit);
}

void saga_judge_commit_lost(struct saga_judge *judge)
{
    judge->doubt = true;
    saga_buf_clear(&judge->commit);
}

/* ---- The log as it is found ---- */

void saga_judge_log_begin(struct saga_judge *judge)
{
    judge->log_generation++;
    judge->commit_number++; /* what a lost commit has brought is of one commit */
    judge->log_rows = false;
}

/* The saga's part in the present walk. */
static void enter_walk(const struct saga_judge *judge, struct trail *trail)
{
    if (trail->log_generation != judge->log_generation) {
        trail->log_generation = judge->log_generation;
        trail->log_next = 1;
        trail->row_there = false;
    }
}

void saga_judge_log_event(struct saga_judge *judge, struct saga_bytes event)
{
    struct saga_id id;
    uint64_t seq = 0;
    uint8_t hash[SAGA_DIGEST_SIZE];
    if (!judge_peek(event, &id, &seq) || saga_audit_verify(event, hash) != SAGA_ERR_OK) {
        judge_tell(judge, SAGA_RULE_S9, NULL, NULL, "the log holds an event that is corrupt");
        return;
    }
    struct trail *trail = judge_make(judge, id);
    if (trail == NULL) {
        return;
    }
    enter_walk(judge, trail);
    if (seq != trail->log_next) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL, "the log has event %llu where %llu belongs",
                   (unsigned long long)seq, (unsigned long long)trail->log_next);
    }
    trail->log_next = seq + 1;
    if (seq <= trail->hash_count) {
        if (memcmp(trail->hashes[seq - 1], hash, JUDGE_HASH_SIZE) != 0) {
            judge_tell(judge, SAGA_RULE_S6, trail, NULL,
                       "event %llu in the log is not the one that was committed",
                       (unsigned long long)seq);
        }
        return;
    }
    if (!judge->doubt) {
        judge_tell(judge, SAGA_RULE_S6, trail, NULL,
                   "the log has event %llu, which no commit has brought", (unsigned long long)seq);
    }
    judge_take_event(judge, event);
}

void saga_judge_log_saga(struct saga_judge *judge, struct saga_id id, enum saga_state state,
                         uint64_t seq)
{
    struct trail *trail = judge_make(judge, id);
    if (trail == NULL) {
        return;
    }
    enter_walk(judge, trail);
    judge->log_rows = true;
    trail->row_there = true;
    trail->row_state = (uint8_t)state;
    trail->row_seq = seq;
}

static void check_row(struct saga_judge *judge, const struct trail *trail)
{
    if (!trail->row_there) {
        judge_tell(judge, SAGA_RULE_S6, trail, NULL,
                   "the saga's row is gone, its log has %zu events", trail->hash_count);
    } else if (trail->row_seq != trail->hash_count ||
               (!trail->broken && trail->row_state != trail->saga.state)) {
        judge_tell(judge, SAGA_RULE_S7, trail, NULL,
                   "the row says %s after %llu events, the log %s after %zu",
                   saga_state_name((enum saga_state)trail->row_state),
                   (unsigned long long)trail->row_seq,
                   saga_state_name((enum saga_state)trail->saga.state), trail->hash_count);
    }
}

void saga_judge_log_end(struct saga_judge *judge)
{
    for (size_t i = 0; i < judge->trail_count; i++) {
        struct trail *trail = judge->trails[i];
        enter_walk(judge, trail);
        if (trail->log_next != trail->hash_count + 1) {
            judge_tell(judge, SAGA_RULE_S6, trail, NULL,
                       "%zu events were committed, the log ends with event %llu", trail->hash_count,
                       (unsigned long long)(trail->log_next - 1));
        }
        if (judge->log_rows && trail->hash_count > 0 && !trail->stream) {
            check_row(judge, trail);
        }
    }
    judge->doubt = false;
}

/* ---- Commands ---- */

void saga_judge_command_sent(struct saga_judge *judge, const struct saga_command *command,
                             enum saga_via via)
{
    judge->counts.commands++;
    struct trail *trail = judge_find(judge, command->saga_id);
    uint8_t step =
        trail == NULL || trail->version == NULL ? SAGA_STEP_ALL : judge_step(trail, command->step);
    if (step == SAGA_STEP_ALL || (command->op != SAGA_OP_CALL && command->op != SAGA_OP_UNDO)) {
        judge_tell(judge, SAGA_RULE_S6, trail, command->step,
                   "a command left for a saga or step that is not durable");
        return;
    }
    struct side *side = judge_side(trail, step, command->op);
    side->sent++;
    side->sent_attempt =
        command->attempt > side->sent_attempt ? command->attempt : side->sent_attempt;
    if (command->attempt == 0 || command->attempt > side->decided) {
        judge_tell(judge, SAGA_RULE_S6, trail, command->step,
                   "attempt %u left; durably decided are %u", (unsigned)command->attempt,
                   (unsigned)side->decided);
    }
    if (command->epoch == 0 || command->epoch > judge->epoch) {
        judge_tell(judge, SAGA_RULE_S8, trail, command->step,
                   "a command of epoch %llu left; the lease is at %llu",
                   (unsigned long long)command->epoch, (unsigned long long)judge->epoch);
    }
    const struct saga_step_def *def = &trail->version->def.steps[step];
    enum saga_via declared = command->op == SAGA_OP_CALL ? def->call_via : def->undo_via;
    if (via != declared) {
        judge_tell(judge, SAGA_RULE_FACT, trail, command->step, "a command left by another road");
    }
    uint8_t pivot = judge_pivot(trail);
    if (command->op == SAGA_OP_UNDO && pivot != SAGA_STEP_ALL &&
        judge_side(trail, pivot, SAGA_OP_CALL)->effect && !trail->pivot_given_up) {
        judge_tell(judge, SAGA_RULE_S2, trail, command->step,
                   "an undo left after the pivot has had its effect");
    }
}
