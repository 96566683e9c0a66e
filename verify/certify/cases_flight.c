/* Commands that are under way while the participant is killed: calls, duplicates of calls, undos.
 * Whoever got an answer gets it again, replayed; whoever got none has one outcome from then on;
 * what was undone stays undone.
 *
 * All cases of a restart share one stream, so that it is as dense as can be (port_restart.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/certify/internal.h"

/* ---- Before the restart ---- */

static void add(struct certify_trial *trial, struct certify_scope *scope, enum saga_op op)
{
    SAGA_ASSERT(trial->flight_count < CERTIFY_FLIGHT_MAX);
    struct certify_flight *flight = &trial->flights[trial->flight_count];
    *flight = (struct certify_flight){.ask = certify_ask(trial, scope, op)};
    flight->ask.command.attempt = (uint32_t)++trial->flight_count; /* duplicates differ in it */
}

static bool begin(struct certify_trial *trial)
{
    trial->flights = saga_arena_take(&trial->arena, CERTIFY_FLIGHT_MAX * sizeof *trial->flights);
    if (trial->flights == NULL) {
        certify_skip(trial, "out of memory");
    }
    return trial->flights != NULL;
}

/* Who has no room for more is judged by what there is. */
static void settle_for_less(struct certify_trial *trial)
{
    if (trial->flight_count > 0 && trial->result.verdict == SAGA_CERTIFY_SKIP) {
        trial->judged = false;
        trial->result.verdict = SAGA_CERTIFY_PASS;
        trial->result.reason[0] = '\0';
    }
}

/* Every third call is sent twice. */
void certify_flight_call(struct certify_trial *trial)
{
    enum { TWICE = 3 };
    size_t share = trial->run->flight_share;
    if (!begin(trial)) {
        return;
    }
    for (size_t i = 0; trial->flight_count + 2 <= share; i++) {
        struct certify_scope *scope = certify_scope_new(trial);
        if (scope == NULL) {
            break;
        }
        add(trial, scope, SAGA_OP_CALL);
        if (i % TWICE == 0) {
            add(trial, scope, SAGA_OP_CALL);
        }
    }
    settle_for_less(trial);
    certify_sent(trial, "CALL %s, %zu commands, killed among them; each again, twice",
                 trial->step->call->full_name, trial->flight_count);
}

/* By turns: the undo of a call that was done, twice; a call with its undo behind it; an undo with
 * its call behind it; the undo of a call that was done, once. */
void certify_flight_undo(struct certify_trial *trial)
{
    enum { TWICE, UNDO_LAST, CALL_LAST, ONCE, KINDS };
    struct saga_reply reply;
    size_t share = trial->run->flight_share;
    if (!begin(trial)) {
        return;
    }
    for (size_t i = 0; trial->flight_count + 2 <= share; i++) {
        size_t kind = trial->step->call == NULL ? ONCE : i % KINDS;
        bool both = kind == UNDO_LAST || kind == CALL_LAST;
        struct certify_scope *scope = certify_scope_new(trial);
        if (scope == NULL || (!both && !certify_call_ok(trial, scope, &reply))) {
            break;
        }
        add(trial, scope, kind == UNDO_LAST ? SAGA_OP_CALL : SAGA_OP_UNDO);
        if (kind != ONCE) {
            add(trial, scope, kind == CALL_LAST ? SAGA_OP_CALL : SAGA_OP_UNDO);
        }
    }
    settle_for_less(trial);
    certify_sent(trial, "UNDO %s, %zu commands, killed among them; each again, twice",
                 trial->step->undo->full_name, trial->flight_count);
}

/* ---- The restart ---- */

/* Takes the n-th flights of all trials, then the next ones. */
static struct certify_flight *nth(struct certify_trial *trials, size_t count, size_t *trial,
                                  size_t *at)
{
    for (; *at < CERTIFY_FLIGHT_MAX; (*at)++, *trial = 0) {
        for (; *trial < count; (*trial)++) {
            if (!trials[*trial].judged && *at < trials[*trial].flight_count) {
                return &trials[(*trial)++].flights[*at];
            }
        }
    }
    return NULL;
}

enum saga_err certify_flight_restart(struct certify_run *run, struct certify_trial *trials,
                                     size_t count, struct saga_err_detail *detail)
{
    const struct saga_certify_port *port = &run->config->port;
    size_t total = 0;
    size_t trial = 0;
    size_t at = 0;
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < count; i++) {
        total += trials[i].judged ? 0 : trials[i].flight_count;
    }
    struct saga_certify_message *messages = calloc(total + 1, sizeof *messages);
    struct saga_buf *requests = calloc(total + 1, sizeof *requests);
    struct certify_flight **flights = calloc(total + 1, sizeof *flights);
    if (messages == NULL || requests == NULL || flights == NULL) {
        err = SAGA_ERR_NO_MEMORY;
        total = 0;
    }
    for (size_t i = 0; i < total && err == SAGA_ERR_OK; i++) {
        flights[i] = nth(trials, count, &trial, &at);
        SAGA_ASSERT(flights[i] != NULL);
        err = saga_command_batch_add(&flights[i]->ask.command, &requests[i]);
        messages[i].request = saga_buf_view(&requests[i]);
    }
    if (err == SAGA_ERR_OK) {
        err = port->restart(port->context, messages, total, run->config->timeout_ms, detail);
    }
    for (size_t i = 0; i < total; i++) {
        if (messages[i].answered) {
            flights[i]->answer = messages[i].answer; /* the flight's from here on */
            flights[i]->answered = true;
        } else {
            saga_buf_fini(&messages[i].answer);
        }
        saga_buf_fini(&requests[i]);
    }
    free(messages);
    free(requests);
    free(flights);
    return err;
}

/* ---- After the restart ---- */

/* What is known of one saga. */
struct known {
    struct certify_scope *scope;
    const struct saga_reply *call; /* stored, as the participant said itself; NULL: unknown */
    const struct saga_reply *undo;
    bool forbidden; /* the call was answered SAGA_UNDONE */
    bool undos;     /* its undo was sent */
};

static bool stored(const struct saga_reply *reply)
{
    enum saga_code_class class = saga_code_class(reply->status.code);
    return class == SAGA_CODE_CLASS_SUCCESS || class == SAGA_CODE_CLASS_REJECT;
}

static bool forbidden(const struct saga_reply *reply)
{
    return reply->status.code == SAGA_CODE_FAILED_PRECONDITION &&
           strcmp(reply->status.reason, "SAGA_UNDONE") == 0;
}

/* Takes one answer that came before the kill, or after it. */
static bool learn(struct certify_trial *trial, struct known *known, enum saga_op op,
                  const struct saga_reply *reply)
{
    const struct saga_reply **first = op == SAGA_OP_CALL ? &known->call : &known->undo;
    if (op == SAGA_OP_CALL && forbidden(reply)) {
        known->forbidden = true; /* it is not stored: the undo's row says it each time */
        return true;
    }
    if (!stored(reply)) {
        return true;
    }
    if (*first != NULL && !certify_same(*first, reply)) {
        char one[CERTIFY_REPLY_TEXT_SIZE];
        char two[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(*first, one);
        certify_reply_text(reply, two);
        certify_fail(trial, "one key has two answers: %s; and: %s", one, two);
        return false;
    }
    if (*first != NULL && !(*first)->replayed && !reply->replayed) {
        certify_fail(trial, "two answers to one key are not replayed: it was done twice");
        return false;
    }
    *first = *first == NULL || !reply->replayed ? reply : *first;
    return true;
}

/* Copies an answer into the trial's arena. */
static struct saga_reply *kept(struct certify_trial *trial, const struct saga_reply *reply)
{
    struct saga_reply *copy = saga_arena_take(&trial->arena, sizeof *copy);
    if (copy == NULL) {
        certify_skip(trial, "out of memory");
        return NULL;
    }
    *copy = *reply;
    return copy;
}

static struct saga_reply *kept_answer(struct certify_trial *trial,
                                      const struct certify_flight *flight)
{
    struct saga_reply reply;
    bool good = certify_read_answer(trial, &flight->ask, saga_buf_view(&flight->answer), &reply);
    return good ? kept(trial, &reply) : NULL;
}

/* An undo that found nothing, and a call that was done. */
static bool agree(struct certify_trial *trial, const struct known *known)
{
    bool done = known->call != NULL ? known->call->status.code == SAGA_CODE_OK
                                    : known->scope->effect || known->scope->step->call == NULL;
    if (known->undo != NULL && known->undo->empty && done) {
        certify_fail(trial, "the call was answered OK, but its undo found nothing (`empty`): what "
                            "the call did was lost, or stays for ever");
        return false;
    }
    return true;
}

static bool ask_undo(struct certify_trial *trial, struct known *known)
{
    struct saga_reply reply;
    if (!certify_undo_ok(trial, known->scope, &reply)) {
        return false;
    }
    if (known->undo != NULL) {
        return certify_want_replay(trial, "the undo after the restart", known->undo, &reply);
    }
    known->undo = kept(trial, &reply);
    return known->undo != NULL && agree(trial, known);
}

static bool ask_call(struct certify_trial *trial, struct known *known)
{
    struct saga_reply reply;
    struct certify_ask ask = certify_ask(trial, known->scope, SAGA_OP_CALL);
    if (!certify_send(trial, &ask, &reply)) {
        return false;
    }
    if (known->undos && forbidden(&reply)) {
        known->forbidden = true;
        return true; /* also when the call was done: B3 */
    }
    if (known->call != NULL) {
        return certify_want_replay(trial, "the call after the restart", known->call, &reply);
    }
    if (known->forbidden ||
        (known->undos && reply.status.code == SAGA_CODE_OK && !reply.replayed)) {
        return certify_want_status(trial, "the call after its undo and the restart", &reply,
                                   SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE");
    }
    if (!stored(&reply)) {
        char text[CERTIFY_REPLY_TEXT_SIZE];
        certify_reply_text(&reply, text);
        certify_skip(trial, "after the restart the call has no definitive answer: %s", text);
        return false;
    }
    known->call = kept(trial, &reply);
    return known->call != NULL && agree(trial, known);
}

/* Asks again what was under way: the undo first, so that a call after it is a late one. */
static bool ask_again(struct certify_trial *trial, struct known *known)
{
    return (!known->undos || ask_undo(trial, known)) &&
           (known->scope->step->call == NULL || ask_call(trial, known));
}

/* Lists the sagas of the flights, which stand together. */
static size_t list(const struct certify_trial *trial, struct known *knowns)
{
    size_t count = 0;
    for (size_t i = 0; i < trial->flight_count; i++) {
        const struct certify_ask *ask = &trial->flights[i].ask;
        if (count == 0 || knowns[count - 1].scope != ask->scope) {
            knowns[count++] = (struct known){.scope = ask->scope};
        }
        struct known *known = &knowns[count - 1];
        known->undos = known->undos || ask->command.op == SAGA_OP_UNDO;
    }
    return count;
}

/* Gathers what came before the kill. */
static bool gather(struct certify_trial *trial, struct known *knowns, size_t *came)
{
    struct known *known = knowns;
    for (size_t i = 0; i < trial->flight_count; i++) {
        struct certify_flight *flight = &trial->flights[i];
        if (known->scope != flight->ask.scope) {
            known++;
        }
        if (!flight->answered) {
            continue;
        }
        struct saga_reply *reply = kept_answer(trial, flight);
        if (reply == NULL || !learn(trial, known, flight->ask.command.op, reply)) {
            return false;
        }
        (*came)++;
    }
    return true;
}

static void judge(struct certify_trial *trial, struct known *knowns, size_t count)
{
    bool probes = trial->run->config->probe_method != NULL;
    struct saga_bytes before = {0};
    struct saga_bytes after = {0};
    for (size_t i = 0; i < count; i++) {
        if (!agree(trial, &knowns[i]) || !ask_again(trial, &knowns[i])) {
            return;
        }
    }
    if (probes && !certify_probe(trial, knowns[0].scope, &before)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!ask_again(trial, &knowns[i])) {
            return;
        }
    }
    if (probes && certify_probe(trial, knowns[0].scope, &after) &&
        !saga_bytes_equal(before, after)) {
        certify_fail(trial, "the probe answers otherwise after the commands came once more: they "
                            "had an effect again");
    }
}

void certify_flight_after(struct certify_trial *trial)
{
    size_t came = 0;
    struct known *knowns = saga_arena_take(&trial->arena, CERTIFY_FLIGHT_MAX * sizeof *knowns);
    if (knowns == NULL) {
        certify_skip(trial, "out of memory");
        return;
    }
    size_t count = list(trial, knowns);
    if (!gather(trial, knowns, &came)) {
        return;
    }
    size_t used = strlen(trial->result.sent);
    (void)snprintf(trial->result.sent + used, sizeof trial->result.sent - used,
                   " (%zu were answered before)", came);
    if (came == 0) {
        certify_skip(trial, "nothing was answered before the restart");
        return;
    }
    judge(trial, knowns, count);
}
