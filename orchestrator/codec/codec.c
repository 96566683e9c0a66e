/* The codec port: definitions, contexts, commands. */
#include "orchestrator/codec/codec.h"

#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/wire/envelope.h"

enum saga_err saga_definition_compile(const struct saga_decl *decl, struct saga_definition *def,
                                      struct saga_err_detail *detail)
{
    memset(def, 0, sizeof *def);
    if (decl->step_count == 0 || decl->step_count > SAGA_STEPS_MAX) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "saga \"%s\" has %zu steps, not 1 to %d",
                            decl->name, decl->step_count, SAGA_STEPS_MAX);
    }
    def->step_count = (uint32_t)decl->step_count;
    def->deadline_ms = decl->deadline_ms;
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        def->steps[i] = (struct saga_step_def){
            .after_mask = step->after_mask,
            .has_call = step->call != NULL || step->child != NULL,
            .has_undo = step->undo != NULL || (step->child != NULL && !step->pivot),
            .read_only = step->read_only,
            .pivot = step->pivot,
            .conditional = step->when.there,
            .call_via = step->call_via,
            .undo_via = step->undo_via,
            .call_attempts_max = step->call_attempts_max,
            .undo_attempts_max = step->undo_attempts_max,
            .call_delay_ms = step->call_delay_ms,
            .call_delay_ms_max = step->call_delay_ms_max,
            .undo_delay_ms = step->undo_delay_ms,
            .undo_delay_ms_max = step->undo_delay_ms_max,
            .call_deadline_ms = step->call_deadline_ms,
            .undo_deadline_ms = step->undo_deadline_ms,
        };
    }
    if (!saga_definition_finish(def)) {
        return saga_err_set(detail, SAGA_ERR_INVALID,
                            "saga \"%s\": its steps have a cycle, or more than one pivot",
                            decl->name);
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_version_compile(const struct saga_decl *decl, struct saga_version *version,
                                   struct saga_err_detail *detail)
{
    memset(version, 0, sizeof *version);
    enum saga_err err = saga_definition_compile(decl, &version->def, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    version->name = decl->name;
    memcpy(version->hash, decl->hash, SAGA_DIGEST_SIZE);
    version->decl = decl;
    for (size_t i = 0; i < SAGA_STEPS_MAX; i++) {
        version->step_names[i] = i < decl->step_count ? decl->steps[i].name : "";
        version->call_participants[i] = SAGA_NO_PARTICIPANT;
        version->undo_participants[i] = SAGA_NO_PARTICIPANT;
        bool nests = i < decl->step_count && decl->steps[i].child != NULL;
        version->child_hashes[i] = nests ? decl->steps[i].child->hash : NULL;
        version->child_names[i] = nests ? decl->steps[i].child->name : NULL;
    }
    return SAGA_ERR_OK;
}

_Static_assert((int)SAGA_DIGEST_SIZE == (int)SAGA_HASH_SIZE, "a definition's hash is a digest");

static const struct saga_step_decl *step_of(const struct saga_version *version, uint8_t step)
{
    const struct saga_decl *decl = version->decl;
    SAGA_ASSERT(step < decl->step_count);
    return &decl->steps[step];
}

static enum saga_err check_input(const struct saga_version *version, struct saga_bytes input,
                                 struct saga_err_detail *detail)
{
    const struct saga_decl *decl = version->decl;
    if (input.size > SAGA_CONTEXT_SIZE_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "input: has %zu bytes; at most %d are allowed",
                            input.size, SAGA_CONTEXT_SIZE_MAX);
    }
    return saga_message_check(decl->context, input, detail);
}

static enum saga_err check_reply(const struct saga_version *version, uint8_t step, enum saga_op op,
                                 struct saga_bytes reply, struct saga_err_detail *detail)
{
    const struct saga_step_decl *decl = step_of(version, step);
    const struct saga_method *method = op == SAGA_OP_CALL ? decl->call : decl->undo;
    if (method == NULL && decl->child == NULL) {
        return saga_err_set(detail, SAGA_ERR_MALFORMED, "step \"%s\" has no such command",
                            decl->name);
    }
    if (reply.size > SAGA_PAYLOAD_SIZE_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "reply: has %zu bytes; at most %d are allowed",
                            reply.size, SAGA_PAYLOAD_SIZE_MAX);
    }
    /* A child saga answers with its context. */
    return saga_message_check(method != NULL ? method->response : decl->child->context, reply,
                              detail);
}

static enum saga_err merge_reply(const struct saga_version *version, uint8_t step,
                                 struct saga_bytes context, struct saga_bytes reply,
                                 struct saga_buf *out, struct saga_err_detail *detail)
{
    const struct saga_step_decl *decl = step_of(version, step);
    enum saga_err err = saga_bind_merge(&decl->result_bind, context, reply, out);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "step \"%s\": merge its reply into the context: %s",
                            decl->name, saga_err_text(err));
    }
    return SAGA_ERR_OK;
}

static uint64_t when_mask(const struct saga_version *version, struct saga_bytes context)
{
    const struct saga_decl *decl = version->decl;
    uint64_t mask = 0;
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_when *when = &decl->steps[i].when;
        if (when->there && saga_when_holds(when, context)) {
            mask |= UINT64_C(1) << i;
        }
    }
    return mask;
}

static enum saga_err child_input(const struct saga_version *version, uint8_t step,
                                 struct saga_bytes context, struct saga_buf *out)
{
    const struct saga_step_decl *decl = step_of(version, step);
    SAGA_ASSERT(decl->child != NULL);
    return saga_bind_build(&decl->call_bind, context, out);
}

static enum saga_err encode_command(const struct saga_command_input *in, struct saga_buf *out)
{
    const struct saga_send *send = in->send;
    const struct saga_step_decl *decl = step_of(in->version, send->step);
    bool undo = send->op == SAGA_OP_UNDO;
    const struct saga_method *method = undo ? decl->undo : decl->call;
    SAGA_ASSERT(method != NULL);

    struct saga_buf payload = {0};
    enum saga_err err =
        saga_bind_build(undo ? &decl->undo_bind : &decl->call_bind, in->context, &payload);
    if (err == SAGA_ERR_OK) {
        struct saga_command command = {
            .saga_id = in->saga->id,
            .step = decl->name,
            .op = send->op,
            .method = method->full_name,
            .payload = saga_buf_view(&payload),
            .attempt = send->attempt,
            .deadline_unix_ms = send->deadline_unix_ms,
            .traceparent = in->texts->traceparent,
            .cause_step = "",
            .cause_status = saga_status_ok(),
            .epoch = SAGA_BROKEN(S8_COMMAND) ? 0 : in->epoch,
        };
        if (undo && in->saga->cause != SAGA_CAUSE_NONE) {
            command.cause_step = in->saga->cause_step == SAGA_STEP_ALL
                                     ? ""
                                     : in->version->step_names[in->saga->cause_step];
            command.cause_status =
                saga_status_make((enum saga_code)in->saga->cause_code, in->texts->cause_reason,
                                 in->texts->cause_message);
        }
        err = in->batch_element ? saga_command_batch_add(&command, out)
                                : saga_command_encode(&command, out);
    }
    saga_buf_fini(&payload);
    return err;
}

static const char *command_topic(const struct saga_version *version, uint8_t step, enum saga_op op)
{
    const struct saga_step_decl *decl = step_of(version, step);
    const struct saga_service *service =
        op == SAGA_OP_CALL ? decl->call_service : decl->undo_service;
    SAGA_ASSERT(service != NULL);
    return service->command_topic;
}

static const char *reply_topic(const struct saga_version *version, uint8_t step, enum saga_op op)
{
    const struct saga_step_decl *decl = step_of(version, step);
    const struct saga_service *service =
        op == SAGA_OP_CALL ? decl->call_service : decl->undo_service;
    return service == NULL ? "" : service->reply_topic;
}

static enum saga_err decode_record(struct saga_bytes record, struct saga *saga,
                                   struct saga_texts *texts, struct saga_buf *space)
{
    (void)space; /* the texts stand in the record with their zeros */
    return saga_record_decode(record, saga, texts);
}

const struct saga_codec_ops *saga_codec_port(void)
{
    static const struct saga_codec_ops ops = {
        .check_input = check_input,
        .digest = saga_digest,
        .merge_reply = merge_reply,
        .check_reply = check_reply,
        .when_mask = when_mask,
        .child_input = child_input,
        .encode_command = encode_command,
        .encode_audit = saga_audit_encode,
        .encode_record = saga_record_encode,
        .decode_record = decode_record,
        .command_topic = command_topic,
        .reply_topic = reply_topic,
    };
    return &ops;
}
