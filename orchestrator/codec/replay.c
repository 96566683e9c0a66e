/* From the log back to the engine (S7). */
#include <string.h>

#include "orchestrator/codec/codec.h"
#include "saga/v1/audit.pb-c.h"

/* A participant's word that the key has an effect with other bytes; the engine is told so. */
static const char key_reused[] = "KEY_REUSED";

static enum saga_err find_step(const struct saga_version *version, const char *name, uint8_t *step,
                               struct saga_err_detail *detail)
{
    *step = SAGA_STEP_ALL;
    if (name[0] == '\0') {
        return SAGA_ERR_OK;
    }
    for (uint32_t i = 0; i < version->def.step_count; i++) {
        if (strcmp(version->step_names[i], name) == 0) {
            *step = (uint8_t)i;
            return SAGA_ERR_OK;
        }
    }
    return saga_err_set(detail, SAGA_ERR_INVALID, "step: \"%.64s\" is not in \"%s\"", name,
                        version->name);
}

static enum saga_err take_reply(const Saga__V1__AuditEvent *audit, struct saga_event *ev,
                                struct saga_err_detail *detail)
{
    if (ev->step == SAGA_STEP_ALL ||
        (audit->op != SAGA__V1__OP__OP_CALL && audit->op != SAGA__V1__OP__OP_UNDO)) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "op: a reply is to a step's call or undo");
    }
    ev->op = (enum saga_op)audit->op;
    ev->attempt = audit->attempt;
    ev->not_sent = audit->not_sent;
    if (audit->status != NULL) {
        ev->code = audit->status->code;
        ev->retry_after_ms = audit->status->retry_after_ms;
        ev->key_reused = strcmp(audit->status->reason, key_reused) == 0;
    }
    return SAGA_ERR_OK;
}

static enum saga_err take_operator(const Saga__V1__AuditEvent *audit, struct saga_event *ev,
                                   struct saga_err_detail *detail)
{
    int act = audit->operator_ == NULL ? 0 : (int)audit->operator_->act;
    if (act < (int)SAGA_ACT_RETRY || act > (int)SAGA_ACT_RESUME) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "operator: there is no such act");
    }
    ev->act = (enum saga_act)act;
    return SAGA_ERR_OK;
}

enum saga_err saga_event_from_audit(const Saga__V1__AuditEvent *audit,
                                    const struct saga_version *version, struct saga_event *ev,
                                    struct saga_err_detail *detail)
{
    if (audit->saga_id.len != SAGA_ID_SIZE) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "saga_id: has %zu bytes, not %d",
                            audit->saga_id.len, SAGA_ID_SIZE);
    }
    if (audit->definition_hash.len != SAGA_DIGEST_SIZE ||
        memcmp(audit->definition_hash.data, version->hash, SAGA_DIGEST_SIZE) != 0) {
        return saga_err_set(detail, SAGA_ERR_CONFLICT,
                            "definition_hash: the event is of another version of \"%s\"",
                            version->name);
    }
    *ev = (struct saga_event){
        .kind = (enum saga_event_kind)audit->kind,
        .now_unix_ms = audit->time_unix_ms,
        .when_mask = audit->when_mask,
        .paused = audit->paused,
    };
    memcpy(ev->id.b, audit->saga_id.data, SAGA_ID_SIZE);
    enum saga_err err = find_step(version, audit->step, &ev->step, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    switch (ev->kind) {
    case SAGA_EVENT_START:
        ev->seed = audit->seed;
        return SAGA_ERR_OK;
    case SAGA_EVENT_REPLY:
    case SAGA_EVENT_DURABLE:
        return take_reply(audit, ev, detail);
    case SAGA_EVENT_TIMER:
    case SAGA_EVENT_RECOVERED:
    case SAGA_EVENT_REVERSE:
        return SAGA_ERR_OK;
    case SAGA_EVENT_OPERATOR:
        return take_operator(audit, ev, detail);
    }
    return saga_err_set(detail, SAGA_ERR_INVALID, "kind: %d is none", (int)audit->kind);
}
