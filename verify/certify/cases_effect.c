/* Effects, as far as the participant itself tells them: duplicates and refused calls have none,
 * undos take them back. */
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

/* ---- The methods that tell ---- */

/* A method that tells effects, and whether "there is no such thing" is an answer too: of what a
 * call makes nothing is known before it. */
struct teller {
    const char *name;
    const char *request;
    bool absent_ok;
};

static bool ask(struct certify_trial *trial, struct certify_scope *scope,
                const struct teller *teller, struct saga_bytes *out)
{
    const char *name = teller->name;
    const struct saga_certify_config *config = trial->run->config;
    const struct saga_method *method = saga_schema_method(config->schema, name);
    struct saga_err_detail detail = {{0}};
    struct saga_buf wire = {0};
    struct saga_reply reply;
    json_t *value = json_loads(teller->request, JSON_REJECT_DUPLICATES, NULL);
    enum saga_err err = value == NULL ? SAGA_ERR_INVALID
                                      : certify_values_encode(config->schema, method->request,
                                                              value, &scope->names, &wire, &detail);
    json_decref(value);
    struct saga_bytes payload = certify_keep(trial, saga_buf_view(&wire));
    saga_buf_fini(&wire);
    if (err != SAGA_ERR_OK) {
        certify_skip(trial, "the request of %s: %s", name, detail.text);
        return false;
    }
    struct certify_ask plain = certify_ask_plain(trial, method->full_name, payload);
    if (!certify_send(trial, &plain, &reply)) {
        return false;
    }
    if (teller->absent_ok && saga_code_class(reply.status.code) == SAGA_CODE_CLASS_REJECT) {
        *out = saga_bytes_text(saga_code_name(reply.status.code)); /* like no message's bytes */
        return true;
    }
    if (reply.status.code != SAGA_CODE_OK) {
        char text[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(&reply, text);
        certify_skip(trial, "%s does not answer: %s", name, text);
        return false;
    }
    *out = reply.payload;
    return true;
}

/* Asks twice: what changes by itself tells nothing. */
static bool ask_steady(struct certify_trial *trial, struct certify_scope *scope,
                       const struct teller *teller, struct saga_bytes *out)
{
    struct saga_bytes again;
    if (!ask(trial, scope, teller, out) || !ask(trial, scope, teller, &again)) {
        return false;
    }
    if (!saga_bytes_equal(*out, again)) {
        certify_skip(trial, "%s answers otherwise each time: it cannot tell", teller->name);
        return false;
    }
    return true;
}

bool certify_probe(struct certify_trial *trial, struct certify_scope *scope, struct saga_bytes *out)
{
    const struct saga_certify_config *config = trial->run->config;
    struct teller teller = {config->probe_method, config->probe_request, false};
    return ask_steady(trial, scope, &teller, out);
}

bool certify_balance(struct certify_trial *trial, struct certify_scope *scope,
                     struct saga_bytes *out)
{
    const struct saga_certify_config *config = trial->run->config;
    struct teller teller = {config->balance_method, config->balance_request, false};
    return ask_steady(trial, scope, &teller, out);
}

static bool can_probe(struct certify_trial *trial)
{
    if (trial->run->config->probe_method == NULL) {
        certify_skip(trial, "nobody tells what effects there are: give --probe");
        return false;
    }
    return true;
}

static bool probe_absent_ok(struct certify_trial *trial, struct certify_scope *scope,
                            struct saga_bytes *out)
{
    const struct saga_certify_config *config = trial->run->config;
    struct teller teller = {config->probe_method, config->probe_request, true};
    return ask_steady(trial, scope, &teller, out);
}

/* Does the scope's call between two looks; *after is what the probe tells then. A probe that does
 * not see a call that was done would see no second effect either: skipped. */
static bool call_seen(struct certify_trial *trial, struct certify_scope *scope,
                      struct saga_bytes *after)
{
    struct saga_reply reply;
    struct saga_bytes before;
    if (!probe_absent_ok(trial, scope, &before) || !certify_call_ok(trial, scope, &reply) ||
        !certify_probe(trial, scope, after)) {
        return false;
    }
    if (saga_bytes_equal(before, *after)) {
        certify_skip(trial,
                     "the probe does not tell of this call: %s answers the same before and after "
                     "it; look at the JSON of --probe (--balance)",
                     trial->run->config->probe_method);
        return false;
    }
    return true;
}

/* ---- B1: duplicates ---- */

static bool duplicates(struct certify_trial *trial, struct certify_scope *scope)
{
    struct certify_ask asks[SAGA_CERTIFY_AT_ONCE_MAX];
    struct saga_reply replies[SAGA_CERTIFY_AT_ONCE_MAX];
    size_t count = trial->run->config->at_once;
    for (size_t i = 0; i < count; i++) {
        asks[i] = certify_ask(trial, scope, SAGA_OP_CALL);
    }
    return certify_send_apart(trial, asks, count, replies);
}

void certify_b1_effect(struct certify_trial *trial)
{
    struct saga_bytes before;
    struct saga_bytes after;
    if (!can_probe(trial)) {
        return;
    }
    const char *name = trial->run->config->probe_method;
    certify_sent(trial, "%s; CALL %s; %s; duplicates; %s", name, trial->step->call->full_name, name,
                 name);
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !call_seen(trial, scope, &before) || !duplicates(trial, scope) ||
        !certify_probe(trial, scope, &after)) {
        return;
    }
    if (!saga_bytes_equal(before, after)) {
        certify_fail(trial, "the probe answers otherwise after the duplicates: they had an effect");
    }
}

/* ---- B6: refused calls ---- */

void certify_b6_effect(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct saga_bytes before;
    struct saga_bytes after;
    if (!can_probe(trial)) {
        return;
    }
    struct certify_scope *scope = certify_scope_refused(trial);
    struct certify_scope *good = scope == NULL ? NULL : certify_scope_new(trial);
    if (good == NULL || !call_seen(trial, good, &before) ||
        !probe_absent_ok(trial, scope, &before) || !certify_call_refused(trial, scope, &reply) ||
        !probe_absent_ok(trial, scope, &after)) {
        return;
    }
    if (!saga_bytes_equal(before, after)) {
        certify_fail(trial, "the probe answers otherwise after a call that was refused for good: "
                            "it had an effect");
    }
}

/* ---- Undos ---- */

/* By a balance: after the undo it is what it was before the call. False: it does not tell of this
 * call. */
static bool by_balance(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct saga_bytes before;
    struct saga_bytes called;
    struct saga_bytes after;
    const char *name = trial->run->config->balance_method;
    certify_sent(trial, "%s; CALL %s; %s; UNDO %s; %s", name, trial->step->call->full_name, name,
                 trial->step->undo->full_name, name);
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL || !certify_balance(trial, scope, &before) ||
        !certify_call_ok(trial, scope, &reply) || !certify_balance(trial, scope, &called)) {
        return true; /* judged */
    }
    if (saga_bytes_equal(before, called)) {
        return false;
    }
    if (!certify_undo_ok(trial, scope, &reply) || !certify_balance(trial, scope, &after)) {
        return true;
    }
    if (saga_bytes_equal(called, after)) {
        certify_fail(trial,
                     "the undo was answered OK and has undone nothing: %s answers as it did "
                     "before it",
                     name);
    } else if (!saga_bytes_equal(before, after)) {
        certify_fail(trial, "after the undo %s answers otherwise than before the call", name);
    }
    return true;
}

/* By something that there is once: who takes it leaves nothing for others, until it is undone. */
static void by_taking(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct saga_reply other;
    certify_sent(trial,
                 "CALL %s that leaves no room for another; another; UNDO %s of the first; a "
                 "third one",
                 trial->step->call->full_name, trial->step->undo->full_name);
    struct certify_scope *first = certify_scope_for(trial, CERTIFY_EXPECT_ONCE);
    struct certify_scope *second = certify_scope_for(trial, CERTIFY_EXPECT_ONCE);
    struct certify_scope *third = certify_scope_for(trial, CERTIFY_EXPECT_ONCE);
    if (first == NULL || second == NULL || third == NULL ||
        !certify_call_ok(trial, first, &reply)) {
        return;
    }
    struct certify_ask ask_second = certify_ask(trial, second, SAGA_OP_CALL);
    struct certify_ask ask_third = certify_ask(trial, third, SAGA_OP_CALL);
    if (!certify_send(trial, &ask_second, &other)) {
        return;
    }
    if (saga_code_class(other.status.code) != SAGA_CODE_CLASS_REJECT) {
        certify_skip(trial, "a request with \"$expect\": \"once\" was not refused though another "
                            "one stood");
        return;
    }
    if (!certify_undo_ok(trial, first, &reply) || !certify_send(trial, &ask_third, &reply)) {
        return;
    }
    if (saga_code_class(reply.status.code) == SAGA_CODE_CLASS_REJECT) {
        (void)certify_want_status(trial, "the call behind the undo", &reply, SAGA_CODE_OK, NULL);
    } else if (reply.status.code != SAGA_CODE_OK) {
        certify_skip(trial, "the call behind the undo has no definitive answer");
    }
}

void certify_undo_effect(struct certify_trial *trial)
{
    const struct saga_certify_values *values = trial->run->config->values;
    bool tells = trial->run->config->balance_method != NULL && by_balance(trial);
    if (!trial->judged &&
        certify_values_find(values, trial->step->call->full_name, CERTIFY_EXPECT_ONCE, 0) != NULL) {
        by_taking(trial);
        tells = true;
    }
    if (!tells) {
        certify_skip(trial,
                     "%s: give --balance METHOD=JSON, or a request with \"$expect\": "
                     "\"once\" (--values)",
                     trial->run->config->balance_method == NULL
                         ? "nobody tells whether an undo undoes anything"
                         : "the balance does not tell of this call");
    }
}
