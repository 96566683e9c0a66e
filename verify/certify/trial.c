/* The verdict of a trial, and the ways to judge a reply. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/wire.h"
#include "verify/certify/internal.h"

void certify_trial_begin(struct certify_trial *trial, struct certify_run *run,
                         const struct certify_case *about, const struct saga_certify_step *step)
{
    *trial = (struct certify_trial){.run = run, .about = about, .step = step};
    trial->result = (struct saga_certify_result){
        .about = &about->about, .step = step, .verdict = SAGA_CERTIFY_PASS};
}

/* What a case has done is undone, so that the participant is left as it was. */
static void undo_scope(struct certify_trial *trial, struct certify_scope *scope)
{
    struct saga_reply reply;
    bool undone = false;
    if (scope->step->undo != NULL) {
        struct certify_ask ask = certify_ask(trial, scope, SAGA_OP_UNDO);
        ask.command.epoch = UINT32_MAX; /* above what the cases of fencing have used */
        undone = certify_send(trial, &ask, &reply) && reply.status.code == SAGA_CODE_OK;
    }
    trial->run->report->effects_left += undone ? 0 : 1;
}

/* What a participant has said is shown: nothing that acts on a terminal, and whole characters. */
static void clean(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        *at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
    }
    size_t size = strlen(text);
    while (size > 0 && !saga_wire_utf8((struct saga_bytes){(const uint8_t *)text, size})) {
        text[--size] = '\0'; /* cut in the middle of a character */
    }
}

void certify_trial_end(struct certify_trial *trial)
{
    struct saga_certify_result result = trial->result;
    trial->judged = true; /* nothing from here on changes it */
    for (struct certify_scope *scope = trial->scopes; scope != NULL; scope = scope->next) {
        if (scope->effect && !scope->undone && trial->run->dead == NULL) {
            undo_scope(trial, scope);
        }
        json_decref(scope->names.before);
    }
    for (size_t i = 0; i < trial->flight_count; i++) {
        saga_buf_fini(&trial->flights[i].answer);
    }
    trial->result = result;
    clean(trial->result.reason);
    clean(trial->result.sent);
    clean(trial->result.got);
    saga_arena_fini(&trial->arena);
}

static void judge(struct certify_trial *trial, enum saga_certify_verdict verdict,
                  const char *format, va_list args)
{
    if (trial->judged) {
        return;
    }
    trial->judged = true;
    trial->result.verdict = verdict;
    (void)vsnprintf(trial->result.reason, sizeof trial->result.reason, format, args);
}

void certify_fail(struct certify_trial *trial, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    judge(trial, SAGA_CERTIFY_FAIL, format, args);
    va_end(args);
}

void certify_skip(struct certify_trial *trial, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    judge(trial, SAGA_CERTIFY_SKIP, format, args);
    va_end(args);
}

void certify_sent(struct certify_trial *trial, const char *format, ...)
{
    if (trial->judged) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(trial->result.sent, sizeof trial->result.sent, format, args);
    va_end(args);
}

struct saga_bytes certify_keep(struct certify_trial *trial, struct saga_bytes bytes)
{
    static const uint8_t nothing[1] = {0};
    uint8_t *copy = saga_arena_take(&trial->arena, bytes.size + 1);
    if (copy == NULL) {
        certify_skip(trial, "out of memory");
        return (struct saga_bytes){nothing, 0};
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return (struct saga_bytes){copy, bytes.size};
}

/* ---- Replies ---- */

void certify_reply_text(const struct saga_reply *reply, char text[CERTIFY_REPLY_TEXT_SIZE])
{
    enum { HEX_MAX = 16, SAID_MAX = 80 };
    char hex[HEX_MAX * 2 + 8] = "";
    size_t shown = reply->payload.size < HEX_MAX ? reply->payload.size : HEX_MAX;
    for (size_t i = 0; i < shown; i++) {
        (void)snprintf(hex + i * 2, 3, "%02x", (unsigned)reply->payload.data[i]);
    }
    if (shown < reply->payload.size) {
        (void)snprintf(hex + shown * 2, 8, "…");
    }
    bool reason = reply->status.reason[0] != '\0';
    char said[SAID_MAX + 1] = "";
    struct saga_bytes cut = saga_wire_utf8_cut(saga_bytes_text(reply->status.message), SAID_MAX);
    if (cut.size > 0) {
        memcpy(said, cut.data, cut.size);
    }
    (void)snprintf(text, CERTIFY_REPLY_TEXT_SIZE, "%s%s%s%s%s%s%s%s%s",
                   saga_code_name(reply->status.code), reason ? " " : "", reply->status.reason,
                   reply->replayed ? ", replayed" : "",
                   reply->status.message[0] != '\0' ? ", \"" : "", said,
                   reply->status.message[0] != '\0' ? "\"" : "", reply->empty ? ", empty" : "",
                   reply->payload.size == 0 ? "" : ", payload ");
    size_t used = strlen(text);
    if (reply->payload.size > 0) {
        (void)snprintf(text + used, CERTIFY_REPLY_TEXT_SIZE - used, "%zu bytes %s",
                       reply->payload.size, hex);
    }
}

static void note_got(struct certify_trial *trial, const char *what, const struct saga_reply *reply)
{
    char text[CERTIFY_REPLY_TEXT_SIZE];
    if (trial->judged) {
        return;
    }
    certify_reply_text(reply, text);
    (void)snprintf(trial->result.got, sizeof trial->result.got, "%s: %s", what, text);
}

bool certify_same(const struct saga_reply *a, const struct saga_reply *b)
{
    return a->status.code == b->status.code && strcmp(a->status.reason, b->status.reason) == 0 &&
           strcmp(a->status.message, b->status.message) == 0 && a->empty == b->empty &&
           saga_bytes_equal(a->payload, b->payload);
}

bool certify_want_status(struct certify_trial *trial, const char *what,
                         const struct saga_reply *reply, enum saga_code code, const char *reason)
{
    note_got(trial, what, reply);
    if (reply->status.code != code) {
        certify_fail(trial, "%s was answered with %s instead of %s", what,
                     saga_code_name(reply->status.code), saga_code_name(code));
        return false;
    }
    if (reason != NULL && strcmp(reply->status.reason, reason) != 0) {
        certify_fail(trial, "%s was answered with the reason \"%s\" instead of \"%s\"", what,
                     reply->status.reason, reason);
        return false;
    }
    return true;
}

bool certify_want_replay(struct certify_trial *trial, const char *what,
                         const struct saga_reply *first, const struct saga_reply *reply)
{
    char text[CERTIFY_REPLY_TEXT_SIZE];
    note_got(trial, what, reply);
    certify_reply_text(first, text);
    if (reply->status.code == first->status.code && !reply->replayed) {
        certify_fail(trial, "%s was done anew: `replayed` is not set (the first answer was: %s)",
                     what, text);
        return false;
    }
    if (!certify_same(first, reply)) {
        certify_fail(trial, "%s was answered otherwise than the first time (%s)", what, text);
        return false;
    }
    return true;
}

bool certify_want_fresh(struct certify_trial *trial, const char *what,
                        const struct saga_reply *reply)
{
    note_got(trial, what, reply);
    if (reply->replayed) {
        certify_fail(trial, "%s has a key that was never used, and was answered as replayed", what);
        return false;
    }
    return true;
}
