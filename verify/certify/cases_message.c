/* One command's own conditions: its deadline, its payload, its place in a batch. */
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

static int64_t past(const struct certify_trial *trial)
{
    const struct saga_certify_port *port = &trial->run->config->port;
    return port->now_unix_ms(port->context) - 60 * 1000;
}

void certify_deadline_call(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    struct certify_ask late = ask;
    late.command.deadline_unix_ms = past(trial);
    certify_sent(trial, "CALL %s with a deadline a minute ago; then with one to come",
                 ask.command.method);
    if (!certify_send_once(trial, &late, &reply) ||
        !certify_want_status(trial, "the call past its deadline", &reply,
                             SAGA_CODE_DEADLINE_EXCEEDED, NULL) ||
        !certify_send(trial, &ask, &reply)) {
        return;
    }
    (void)certify_want_fresh(trial, "the same call in time", &reply);
}

void certify_deadline_undo(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    struct certify_ask late = certify_ask(trial, scope, SAGA_OP_UNDO);
    late.command.deadline_unix_ms = past(trial);
    certify_sent(trial, "UNDO %s with a deadline a minute ago; then the call", late.command.method);
    if (!certify_send_once(trial, &late, &reply) ||
        !certify_want_status(trial, "the undo past its deadline", &reply,
                             SAGA_CODE_DEADLINE_EXCEEDED, NULL)) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    if (!certify_send(trial, &ask, &reply)) {
        return;
    }
    if (strcmp(reply.status.reason, "SAGA_UNDONE") == 0) {
        certify_fail(trial, "the undo was refused as too late, and has forbidden the call");
    }
}

/* A field of length 5 with one byte: no parser of any language takes it. */
static const uint8_t broken[] = {0x0a, 0x05, 0x01};

void certify_payload_call(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_CALL);
    ask.command.payload = (struct saga_bytes){broken, sizeof broken};
    certify_sent(trial, "CALL %s with a payload that is cut off", ask.command.method);
    if (certify_send_once(trial, &ask, &reply)) {
        (void)certify_want_status(trial, "the malformed payload", &reply,
                                  SAGA_CODE_INVALID_ARGUMENT, NULL);
    }
}

void certify_payload_undo(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_scope *scope = certify_scope_new(trial);
    if (scope == NULL) {
        return;
    }
    struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_UNDO);
    ask.command.payload = (struct saga_bytes){broken, sizeof broken};
    certify_sent(trial, "UNDO %s with a payload that is cut off; then a good one",
                 ask.command.method);
    if (!certify_send_once(trial, &ask, &reply) ||
        !certify_want_status(trial, "the malformed payload", &reply, SAGA_CODE_INVALID_ARGUMENT,
                             NULL)) {
        return;
    }
    /* It must not stand in the way of the undo itself, which is tried until it succeeds. */
    (void)certify_undo_ok(trial, scope, &reply);
}

void certify_batch_mixed(struct certify_trial *trial)
{
    enum { COUNT = 5 };
    static const char *const names[COUNT] = {"the first good command", "the unknown method",
                                             "the late command", "the malformed payload",
                                             "the last good command"};
    struct saga_reply replies[COUNT];
    struct certify_ask asks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        struct certify_scope *scope = certify_scope_new(trial);
        if (scope == NULL) {
            return;
        }
        asks[i] = certify_ask(trial, scope, SAGA_OP_CALL);
    }
    asks[1].command.method = "certify.v1.Nobody/Nothing";
    asks[2].command.deadline_unix_ms = past(trial);
    asks[3].command.payload = (struct saga_bytes){broken, sizeof broken};
    certify_sent(trial, "one batch: good, unknown method, past deadline, malformed payload, good");
    if (!certify_send_batch(trial, asks, COUNT, replies) ||
        !certify_want_status(trial, names[1], &replies[1], SAGA_CODE_UNIMPLEMENTED, NULL) ||
        !certify_want_status(trial, names[2], &replies[2], SAGA_CODE_DEADLINE_EXCEEDED, NULL) ||
        !certify_want_status(trial, names[3], &replies[3], SAGA_CODE_INVALID_ARGUMENT, NULL)) {
        return;
    }
    for (size_t i = 0; i < COUNT; i += COUNT - 1) {
        if (saga_code_class(replies[i].status.code) == SAGA_CODE_CLASS_REJECT) {
            certify_skip(trial, "the values are refused: give others (--values)");
            return;
        }
        if (!certify_want_status(trial, names[i], &replies[i], SAGA_CODE_OK, NULL)) {
            return;
        }
    }
}
