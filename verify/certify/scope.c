/* Scopes: fresh keys, with the values that go with them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "common/wire/json/json.h"
#include "verify/certify/internal.h"

struct saga_id certify_saga_id(struct certify_run *run)
{
    const struct saga_certify_port *port = &run->config->port;
    run->counter++;
    return saga_id_make(port->now_unix_ms(port->context), run->counter,
                        saga_prng_next(&run->nonce));
}

/* Encodes one request of a scope; variant NULL: an empty request. */
static bool encode(struct certify_trial *trial, struct certify_scope *scope,
                   const struct saga_method *method, const json_t *variant, struct saga_bytes *out)
{
    struct saga_buf buf = {0};
    struct saga_err_detail detail = {{0}};
    enum saga_err err = SAGA_ERR_OK;
    if (variant != NULL) {
        err = certify_values_encode(trial->run->config->schema, method->request, variant,
                                    &scope->names, &buf, &detail);
    }
    if (err == SAGA_ERR_OK) {
        *out = certify_keep(trial, saga_buf_view(&buf));
    } else {
        certify_skip(trial, "the values of %s: %s", method->full_name, detail.text);
    }
    saga_buf_fini(&buf);
    return err == SAGA_ERR_OK;
}

/* ---- What must be done before ---- */

/* Notes that a preparing call was done, so that it is undone in the end. */
static void note_before(struct certify_trial *trial, const struct certify_scope *scope,
                        const struct saga_method *method, const struct saga_command *command)
{
    const struct saga_certify_steps *steps = trial->run->config->steps;
    for (size_t i = 0; i < steps->count; i++) {
        const struct saga_certify_step *step = &steps->list[i];
        if (step->call != method || step->undo == NULL) {
            continue;
        }
        struct certify_scope *done = saga_arena_take(&trial->arena, sizeof *done);
        if (done == NULL) {
            return;
        }
        *done = *scope;
        done->names.before = NULL;
        done->step = step;
        done->saga = command->saga_id;
        done->step_name = command->step;
        done->effect = true;
        done->undone = false;
        if (encode(trial, done, step->undo,
                   certify_values_find(trial->run->config->values, step->undo->full_name,
                                       CERTIFY_EXPECT_OK, 0),
                   &done->undo)) {
            done->next = trial->scopes;
            trial->scopes = done;
        }
        return;
    }
    trial->run->report->effects_left++;
}

/* Takes the fields of a reply for "${before.…}". */
static bool take_fields(struct certify_trial *trial, struct certify_scope *scope,
                        const struct saga_method *method, const struct saga_reply *reply)
{
    struct saga_json_options style = {.proto_names = true, .print_defaults = true};
    struct saga_err_detail detail = {{0}};
    struct saga_buf text = {0};
    json_t *value = NULL;
    enum saga_err err = saga_wire_to_json(trial->run->config->schema, method->response,
                                          reply->payload, &style, &text, &detail);
    if (err == SAGA_ERR_OK) {
        value = json_loadb((const char *)text.data, text.size, 0, NULL);
    }
    saga_buf_fini(&text);
    if (value == NULL || json_object_update(scope->names.before, value) != 0) {
        json_decref(value);
        certify_skip(trial, "$before: the reply of %s: %s", method->full_name, detail.text);
        return false;
    }
    json_decref(value);
    return true;
}

static bool prepare_one(struct certify_trial *trial, struct certify_scope *scope,
                        const json_t *entry, size_t index)
{
    const struct saga_schema *schema = trial->run->config->schema;
    const char *name = json_string_value(json_object_get(entry, "method"));
    const char *op = json_string_value(json_object_get(entry, "op"));
    const struct saga_method *method = name == NULL ? NULL : saga_schema_method(schema, name);
    struct saga_bytes payload = {0};
    struct saga_reply reply;
    if (method == NULL) {
        certify_skip(trial, "$before: there is no method \"%s\"", name == NULL ? "" : name);
        return false;
    }
    if (!encode(trial, scope, method, json_object_get(entry, "request"), &payload)) {
        return false;
    }
    struct certify_ask ask = certify_ask_plain(trial, method->full_name, payload);
    char *step_name = saga_arena_take(&trial->arena, SAGA_STEP_NAME_MAX + 1);
    bool plain = op != NULL && strcmp(op, "none") == 0;
    if (step_name == NULL) {
        certify_skip(trial, "out of memory");
        return false;
    }
    (void)snprintf(step_name, SAGA_STEP_NAME_MAX + 1, "before-%zu", index + 1);
    if (!plain) {
        ask.command.op = SAGA_OP_CALL;
        ask.command.saga_id =
            certify_saga_id(trial->run); /* what is judged has a saga of its own */
        ask.command.epoch = 1;
        ask.command.step = step_name;
    }
    if (!certify_send(trial, &ask, &reply)) {
        return false;
    }
    if (reply.status.code != SAGA_CODE_OK) {
        char text[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(&reply, text);
        certify_skip(trial, "what must be done before was refused: %s: %s", method->full_name,
                     text);
        return false;
    }
    if (!plain && !method->no_side_effects) {
        note_before(trial, scope, method, &ask.command);
    }
    return take_fields(trial, scope, method, &reply);
}

/* Does what a variant's "$before" says. */
static bool prepare(struct certify_trial *trial, struct certify_scope *scope, const json_t *variant)
{
    const json_t *before = json_object_get(variant, "$before");
    if (json_is_object(before)) {
        return prepare_one(trial, scope, before, 0);
    }
    for (size_t i = 0; i < json_array_size(before); i++) {
        if (!prepare_one(trial, scope, json_array_get(before, i), i)) {
            return false;
        }
    }
    return true;
}

/* ---- Scopes ---- */

static const json_t *variant_of(struct certify_trial *trial, const struct saga_method *method,
                                enum certify_expect expect)
{
    if (method == NULL) {
        return NULL;
    }
    size_t n = (size_t)trial->run->counter;
    return certify_values_find(trial->run->config->values, method->full_name, expect, n);
}

static struct certify_scope *make(struct certify_trial *trial, struct saga_id saga,
                                  const char *step_name, enum certify_expect expect)
{
    const struct saga_certify_step *step = trial->step;
    struct certify_scope *scope = saga_arena_take(&trial->arena, sizeof *scope);
    if (scope == NULL) {
        certify_skip(trial, "out of memory");
        return NULL;
    }
    *scope = (struct certify_scope){.step = step, .saga = saga, .step_name = step_name};
    scope->names = (struct certify_names){
        .id = saga_prng_next(&trial->run->nonce),
        .uuid = certify_saga_id(trial->run),
        .before = json_object(),
    };
    scope->next = trial->scopes;
    trial->scopes = scope;
    if (scope->names.before == NULL) {
        certify_skip(trial, "out of memory");
        return NULL;
    }
    const json_t *call = variant_of(trial, step->call, expect);
    const json_t *undo = variant_of(trial, step->undo, CERTIFY_EXPECT_OK);
    if (!prepare(trial, scope, step->call == NULL ? undo : call)) {
        return NULL;
    }
    if (step->call != NULL && !encode(trial, scope, step->call, call, &scope->call)) {
        return NULL;
    }
    if (step->undo != NULL && !encode(trial, scope, step->undo, undo, &scope->undo)) {
        return NULL;
    }
    return scope;
}

struct certify_scope *certify_scope_new(struct certify_trial *trial)
{
    return make(trial, certify_saga_id(trial->run), trial->step->name, CERTIFY_EXPECT_OK);
}

struct certify_scope *certify_scope_for(struct certify_trial *trial, enum certify_expect expect)
{
    return make(trial, certify_saga_id(trial->run), trial->step->name, expect);
}

struct certify_scope *certify_scope_beside(struct certify_trial *trial,
                                           const struct certify_scope *other, const char *step_name)
{
    return make(trial, other->saga, step_name, CERTIFY_EXPECT_OK);
}
