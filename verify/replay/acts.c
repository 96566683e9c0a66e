/* The stream of a definition's acts: paused, let go on, in turns; applied, removed (S9, S12). */
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/codec/codec.h"
#include "verify/replay/internal.h"

/* Reads the act of an event; 0: it is none that may stand here. */
static enum saga_act act_of(const Saga__V1__AuditEvent *event)
{
    bool operates = event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR;
    if (!operates || event->operator_ == NULL) {
        return (enum saga_act)0;
    }
    switch (event->operator_->act) {
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_PAUSE:
        return SAGA_ACT_PAUSE;
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESUME:
        return SAGA_ACT_RESUME;
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_APPLY:
        return SAGA_ACT_APPLY;
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_REMOVE:
        return SAGA_ACT_REMOVE;
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_UNSPECIFIED:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_CANCEL:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_COMPENSATE:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE:
    case _SAGA__V1__OPERATOR_ACT_IS_INT_SIZE:
    default:
        return (enum saga_act)0;
    }
}

/* Tells whether an act may come next. */
static bool may_follow(const struct saga_replay *replay, enum saga_act act)
{
    switch (act) {
    case SAGA_ACT_PAUSE:
        return !replay->paused;
    case SAGA_ACT_RESUME:
        return replay->paused;
    case SAGA_ACT_REMOVE:
        return !replay->removed;
    case SAGA_ACT_APPLY:
        return true;
    case SAGA_ACT_RETRY:
    case SAGA_ACT_CANCEL:
    case SAGA_ACT_SKIP:
    case SAGA_ACT_COMPENSATE:
    case SAGA_ACT_RESOLVE:
        break;
    }
    return false;
}

/* What holds after an act. Who has paused it, and why, is not changed by what else is done to it.
 */
static void take_act(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                     enum saga_act act)
{
    if (act == SAGA_ACT_APPLY || act == SAGA_ACT_REMOVE) {
        replay->removed = act == SAGA_ACT_REMOVE;
        return;
    }
    replay->paused = act == SAGA_ACT_PAUSE;
    replay->act_unix_ms = event->time_unix_ms;
    (void)snprintf(replay->who, sizeof replay->who, "%s", event->operator_->who);
    (void)snprintf(replay->why, sizeof replay->why, "%s", event->operator_->why);
}

/* The version that an act names; NULL: it is not there, and never was. */
static const struct saga_version *version_of(struct saga_replay *replay,
                                             const Saga__V1__AuditEvent *event)
{
    const struct saga_replay_config *config = &replay->config;
    const uint8_t *hash = event->definition_hash.data;
    if (event->definition_hash.len != SAGA_DIGEST_SIZE) {
        return NULL;
    }
    const struct saga_version *version = saga_catalog_find(config->catalog, hash);
    if (version == NULL && config->dropped != NULL && config->dropped(config->user, hash)) {
        replay->past = (struct saga_version){.name = replay->definition};
        memcpy(replay->past.hash, hash, SAGA_DIGEST_SIZE);
        version = &replay->past;
    }
    return version;
}

bool replay_act(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                struct saga_bytes bytes)
{
    enum saga_act act = act_of(event);
    if (!may_follow(replay, act)) {
        return replay_broken(replay, event->seq,
                             "a definition is paused and goes on in turns, and is removed when it "
                             "is there; this act is not the next");
    }
    replay->version = version_of(replay, event);
    if (replay->version == NULL) {
        return replay_broken(replay, event->seq,
                             "the version that was current then is not there, or cannot be used");
    }
    struct saga_event ev = {.kind = SAGA_EVENT_OPERATOR,
                            .act = act,
                            .step = SAGA_STEP_ALL,
                            .now_unix_ms = event->time_unix_ms};
    replay->update = (struct saga_update){.verdict = SAGA_VERDICT_TAKEN, .refusal = ""};
    replay->saga.seq += 1;
    replay->counts.events += 1;
    struct saga_audit_input in = replay_input(replay, event, &ev);
    take_act(replay, event, act);
    return replay_compare_event(replay, event, &in, bytes);
}

void saga_replay_pause_row(struct saga_replay *replay, const struct saga_pause_row *row)
{
    SAGA_ASSERT(replay->begun && replay->stream);
    if (replay->done) {
        return;
    }
    if (replay->saga.seq != row->seq) {
        (void)replay_broken(replay, replay->saga.seq + 1, "event %llu is missing; there are %llu",
                            (unsigned long long)replay->saga.seq + 1, (unsigned long long)row->seq);
        return;
    }
    saga_replay_compare(replay, "paused", row->paused ? "yes" : "no",
                        replay->paused ? "yes" : "no");
    saga_replay_compare(replay, "removed", row->removed ? "yes" : "no",
                        replay->removed ? "yes" : "no");
    saga_replay_compare(replay, "who", row->who, replay->who);
    saga_replay_compare(replay, "why", row->why, replay->why);
    replay_compare_number(replay, "since", row->since_unix_ms, replay->act_unix_ms);
    replay_compare_bytes(replay, "hash of the last event",
                         (struct saga_bytes){row->last_hash, SAGA_DIGEST_SIZE},
                         (struct saga_bytes){replay->last_hash, SAGA_DIGEST_SIZE});
}
