/* What clients ask and are answered: S6, S10, S11, S12. */
#include <string.h>

#include "verify/sim/judge_internal.h"

static uint64_t input_hash(struct saga_bytes input)
{
    return judge_hash(JUDGE_HASH_START, input.data, input.size);
}

void saga_judge_start_asked(struct saga_judge *judge, const struct saga_judge_start *start)
{
    struct keyed *keyed = judge_key(judge, start->definition, start->key);
    if (keyed != NULL) {
        keyed->asked = true;
    }
}

static bool is_key_reused(const struct saga_answer *answer)
{
    return answer->code == SAGA_CODE_INVALID_ARGUMENT && answer->reason != NULL &&
           strcmp(answer->reason, "KEY_REUSED") == 0;
}

void saga_judge_start_answered(struct saga_judge *judge, const struct saga_judge_start *start,
                               const struct saga_answer *answer)
{
    const struct keyed *keyed = judge_key(judge, start->definition, start->key);
    if (keyed == NULL) {
        return;
    }
    bool same = keyed->started && keyed->input_hash == input_hash(start->input);
    if (is_key_reused(answer)) {
        if (!keyed->started) {
            judge_tell(judge, SAGA_RULE_S10, NULL, NULL,
                       "key \"%s\" was refused as reused, but has started nothing durable",
                       start->key);
        } else if (same) {
            judge_tell(judge, SAGA_RULE_S10, judge_find(judge, keyed->id), NULL,
                       "key \"%s\" was refused as reused with the very input that it started",
                       start->key);
        }
        return;
    }
    if (answer->code != SAGA_CODE_OK) {
        return;
    }
    const struct trail *trail = judge_find(judge, answer->id);
    if (trail == NULL || trail->version == NULL) {
        judge_tell(judge, SAGA_RULE_S6, trail, NULL,
                   "the start of \"%s\" was acknowledged before it was durable", start->key);
    } else if (!keyed->started || !saga_id_equal(keyed->id, answer->id)) {
        judge_tell(judge, SAGA_RULE_S10, trail, NULL,
                   "key \"%s\" was answered with a saga that it has not started", start->key);
    } else if (!same) {
        judge_tell(judge, SAGA_RULE_S10, trail, NULL,
                   "key \"%s\" was answered OK with another input than it started", start->key);
    } else if (answer->seq > trail->hash_count) {
        judge_tell(judge, SAGA_RULE_S6, trail, NULL,
                   "a start was answered with event %llu, durable are %zu",
                   (unsigned long long)answer->seq, trail->hash_count);
    }
}

/* ---- Acts ---- */

static uint64_t act_hash(const struct saga_judge_act *act, const char *definition)
{
    uint64_t hash = judge_hash_text(JUDGE_HASH_START + (uint64_t)act->act, definition);
    hash = judge_hash_text(hash, act->step);
    hash = judge_hash_text(hash, act->who);
    return judge_hash_text(hash, act->why);
}

static struct act *find_act(struct saga_judge *judge, struct act **acts, size_t *count,
                            size_t *capacity, uint64_t hash)
{
    for (size_t i = 0; i < *count; i++) {
        if ((*acts)[i].hash == hash) {
            return &(*acts)[i];
        }
    }
    void *array = *acts;
    if (!judge_grow(judge, &array, *count, capacity, sizeof **acts)) {
        return NULL;
    }
    *acts = array;
    (*acts)[*count] = (struct act){.hash = hash};
    return &(*acts)[(*count)++];
}

static bool is_wide(const struct saga_judge_act *act)
{
    static const struct saga_id none;
    return saga_id_equal(act->saga_id, none);
}

static struct act *act_of(struct saga_judge *judge, struct trail *trail,
                          const struct saga_judge_act *act)
{
    if (trail == NULL) {
        return find_act(judge, &judge->wide, &judge->wide_count, &judge->wide_capacity,
                        act_hash(act, act->definition));
    }
    return find_act(judge, &trail->acts, &trail->act_count, &trail->act_capacity,
                    act_hash(act, ""));
}

void saga_judge_act_asked(struct saga_judge *judge, const struct saga_judge_act *act)
{
    struct trail *trail = is_wide(act) ? NULL : judge_make(judge, act->saga_id);
    if (trail == NULL && !is_wide(act)) {
        return; /* no memory */
    }
    struct act *entry = act_of(judge, trail, act);
    if (entry != NULL) {
        entry->asked++;
    }
}

/* S11: before the pivot a cancel is taken. */
static void check_refusal(struct saga_judge *judge, const struct trail *trail,
                          const struct saga_judge_act *act, const struct saga_answer *answer)
{
    bool refused = answer->code == SAGA_CODE_FAILED_PRECONDITION && answer->reason != NULL &&
                   strcmp(answer->reason, "ACT_REFUSED") == 0;
    bool going = trail->saga.state == SAGA_STATE_RUNNING || trail->saga.state == SAGA_STATE_PARKED;
    if (!refused || act->act != SAGA_ACT_CANCEL || !going) {
        return;
    }
    uint8_t pivot = judge_pivot(trail);
    if (pivot == SAGA_STEP_ALL || judge_side(trail, pivot, SAGA_OP_CALL)->decided == 0) {
        judge_tell(judge, SAGA_RULE_S11, trail, NULL,
                   "a cancel was refused though the pivot was never called");
    }
}

void saga_judge_act_answered(struct saga_judge *judge, const struct saga_judge_act *act,
                             const struct saga_answer *answer)
{
    if (is_wide(act)) {
        struct act *entry = act_of(judge, NULL, act);
        bool anew = answer->code == SAGA_CODE_OK && !answer->existing;
        if (entry != NULL && anew && ++entry->answered > entry->taken) {
            judge_tell(judge, SAGA_RULE_S12, NULL, NULL,
                       "an act on \"%s\" was acknowledged without a durable event of it",
                       act->definition);
        }
        return;
    }
    struct trail *trail = judge_find(judge, act->saga_id);
    if (trail == NULL || trail->version == NULL) {
        if (answer->code == SAGA_CODE_OK) {
            judge_tell(judge, SAGA_RULE_S12, trail, act->step,
                       "an act on a saga that is not durable was acknowledged");
        }
        return;
    }
    struct act *entry = act_of(judge, trail, act);
    if (entry == NULL) {
        return;
    }
    if (answer->code != SAGA_CODE_OK) {
        check_refusal(judge, trail, act, answer);
        return;
    }
    entry->answered++;
    if (entry->answered > entry->taken) {
        judge_tell(judge, SAGA_RULE_S12, trail, act->step,
                   "an act was acknowledged without a durable event of it (by \"%s\")", act->who);
    }
}

void judge_act_taken(struct saga_judge *judge, struct trail *trail,
                     const struct saga_judge_act *act)
{
    if (act->who[0] == '\0' || act->why[0] == '\0') {
        judge_tell(judge, SAGA_RULE_S12, trail, act->step,
                   "an act is recorded without who or without why");
    }
    struct act *entry = act_of(judge, trail->stream ? NULL : trail, act);
    if (entry == NULL) {
        return;
    }
    entry->taken++;
    /* What is done to a definition shows as an event of each of its sagas too. */
    const struct act *wide = entry->asked > 0 ? entry : act_of(judge, NULL, act);
    if (wide != NULL && wide->asked == 0) {
        judge_tell(judge, SAGA_RULE_S12, trail, act->step,
                   "an act is recorded that nobody has asked for (by \"%s\")", act->who);
    }
}
