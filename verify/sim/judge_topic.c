/* What stands on saga-audit and saga-effects: S9, S13, B8. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/envelope.h"
#include "orchestrator/codec/codec.h"
#include "saga/v1/audit.pb-c.h"
#include "verify/sim/judge_internal.h"

static bool is_key_of(struct saga_bytes key, struct saga_id id)
{
    char text[SAGA_ID_TEXT_SIZE];
    saga_id_format(id, text);
    return saga_bytes_equal(key, saga_bytes_text(text)) ||
           saga_bytes_equal(key, (struct saga_bytes){.data = id.b, .size = sizeof id.b});
}

/* ---- saga-audit ---- */

static void check_audit_order(struct saga_judge *judge, struct trail *trail, uint64_t seq)
{
    if (seq > trail->topic_next) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL,
                   "saga-audit has event %" PRIu64 " where %" PRIu64 " belongs", seq,
                   trail->topic_next);
    }
    if (seq >= trail->topic_next) {
        trail->topic_next = seq + 1;
    }
}

void saga_judge_topic_audit(struct saga_judge *judge, int32_t partition, struct saga_bytes key,
                            struct saga_bytes value)
{
    struct saga_id id;
    uint64_t seq = 0;
    uint8_t hash[SAGA_DIGEST_SIZE];
    if (!judge_peek(value, &id, &seq) || saga_audit_verify(value, hash) != SAGA_ERR_OK) {
        judge_tell(judge, SAGA_RULE_S9, NULL, NULL, "saga-audit has a record that is corrupt");
        return;
    }
    struct trail *trail = judge_find(judge, id);
    if (trail == NULL || seq > trail->hash_count) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL,
                   "saga-audit has event %" PRIu64 ", which is not durable", seq);
        return;
    }
    if (!is_key_of(key, id)) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL, "a record's key is not its saga");
    }
    if (trail->topic_partition >= 0 && trail->topic_partition != partition) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL, "a saga's events are on two partitions");
    }
    trail->topic_partition = partition;
    if (memcmp(trail->hashes[seq - 1], hash, JUDGE_HASH_SIZE) != 0) {
        judge_tell(judge, SAGA_RULE_S9, trail, NULL,
                   "saga-audit has another event %" PRIu64 " than the log", seq);
    }
    check_audit_order(judge, trail, seq);
}

/* ---- saga-effects ---- */

static struct place *find_place(struct saga_judge *judge, const Saga__V1__EffectEvent *effect,
                                uint16_t *participant)
{
    uint64_t service = judge_hash(JUDGE_HASH_START, effect->service, strlen(effect->service));
    struct journal *journal = NULL;
    for (unsigned i = 0; i < SAGA_JUDGE_PARTICIPANTS_MAX; i++) {
        if (judge->journals[i].used && judge->journals[i].service == service) {
            journal = &judge->journals[i];
            *participant = (uint16_t)i;
        }
    }
    size_t low = 0;
    size_t high = journal == NULL ? 0 : journal->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uint64_t)journal->places[middle].position < effect->position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = journal != NULL && low < journal->count &&
                 (uint64_t)journal->places[low].position == effect->position;
    return found ? &journal->places[low] : NULL;
}

/* B8: what is published for the first time comes in the order of the rows. */
static void check_effect_order(struct saga_judge *judge, const struct trail *trail,
                               int32_t partition, uint16_t participant, int64_t position)
{
    for (size_t i = 0; i < judge->published_count; i++) {
        struct published *last = &judge->published[i];
        if (last->partition != partition || last->participant != participant) {
            continue;
        }
        if (position < last->position) {
            judge_tell(judge, SAGA_RULE_B8, trail, NULL,
                       "position %" PRId64 " was published after position %" PRId64, position,
                       last->position);
        }
        last->position = position;
        return;
    }
    void *published = judge->published;
    if (judge_grow(judge, &published, judge->published_count, &judge->published_capacity,
                   sizeof *judge->published)) {
        judge->published = published;
        judge->published[judge->published_count++] = (struct published){
            .partition = partition, .participant = participant, .position = position};
    }
}

static void check_effect(struct saga_judge *judge, const struct place *place,
                         const Saga__V1__EffectEvent *effect)
{
    const struct trail *trail = place->trail;
    const struct side *side = &trail->sides[place->side];
    uint8_t step = (uint8_t)(place->side / 2);
    bool undo = place->side % 2 != 0;
    uint32_t code = effect->status == NULL ? 0 : effect->status->code;
    char event_id[SAGA_METHOD_NAME_MAX + 32];
    (void)snprintf(event_id, sizeof event_id, "%s/%" PRIu64, effect->service, effect->position);
    bool same = memcmp(effect->saga_id.data, trail->id.b, SAGA_ID_SIZE) == 0 &&
                strcmp(effect->step, judge_step_name(trail, step)) == 0 &&
                (effect->op == SAGA__V1__OP__OP_UNDO) == undo && code == side->code &&
                (effect->empty != 0) == side->empty && effect->attempt == side->attempt;
    if (!same) {
        judge_tell(judge, SAGA_RULE_S13, trail, effect->step,
                   "saga-effects tells something else than the participant has done");
    }
    if (strcmp(event_id, effect->event_id) != 0) {
        judge_tell(judge, SAGA_RULE_B8, trail, effect->step, "event id \"%.64s\" is not \"%.64s\"",
                   effect->event_id, event_id);
    }
    if (effect->attempt == 0 || effect->attempt > side->decided) {
        judge_tell(judge, SAGA_RULE_S13, trail, effect->step,
                   "an effect of attempt %u; durably decided are %u", (unsigned)effect->attempt,
                   (unsigned)side->decided);
    }
}

void saga_judge_topic_effect(struct saga_judge *judge, int32_t partition, struct saga_bytes key,
                             struct saga_bytes value)
{
    saga_arena_clear(&judge->arena);
    const ProtobufCMessage *message =
        saga_message_decode(&saga__v1__effect_event__descriptor, value, &judge->arena);
    const Saga__V1__EffectEvent *effect = (const Saga__V1__EffectEvent *)message;
    struct saga_id id;
    if (effect == NULL || effect->saga_id.len != SAGA_ID_SIZE) {
        judge_tell(judge, SAGA_RULE_S13, NULL, NULL, "saga-effects has a record that is corrupt");
        return;
    }
    memcpy(id.b, effect->saga_id.data, SAGA_ID_SIZE);
    uint16_t participant = 0;
    const struct place *place = find_place(judge, effect, &participant);
    if (place == NULL) {
        judge_tell(judge, SAGA_RULE_S13, judge_find(judge, id), effect->step,
                   "saga-effects tells of an effect that no participant has (position %" PRIu64 ")",
                   effect->position);
        return;
    }
    if (!is_key_of(key, id)) {
        judge_tell(judge, SAGA_RULE_S13, place->trail, effect->step,
                   "a record's key is not its saga");
    }
    check_effect(judge, place, effect);
    struct side *side = &place->trail->sides[place->side];
    if (!side->published) {
        check_effect_order(judge, place->trail, partition, participant, place->position);
        side->published = true;
    }
}
