/* Inside the room certify: a trial is one case on one step; a scope is one fresh key with its
 * values. */
#ifndef SAGA_CERTIFY_INTERNAL_H
#define SAGA_CERTIFY_INTERNAL_H

#include "common/base/arena.h"
#include "common/wire/envelope.h"
#include "verify/certify/certify.h"

enum {
    CERTIFY_TRIES_MAX = 20, /* of a command that is answered "later" */
    CERTIFY_KEPT_MAX = 4,   /* replies that a case keeps over a restart */
    CERTIFY_BEFORE_MAX = 8, /* commands that prepare a request */
    /* Under way while it is killed: for all cases together by round and at most, and for each. */
    CERTIFY_FLIGHT_BASE = 16,
    CERTIFY_FLIGHT_ROUND = 8,
    CERTIFY_FLIGHT_TOTAL = 192,
    CERTIFY_FLIGHT_MIN = 8,
    CERTIFY_FLIGHT_MAX = 128,
};

/* ---- Values ---- */

/* What the placeholders of one scope stand for. */
struct certify_names {
    uint64_t id;
    struct saga_id uuid;
    json_t *before; /* fields of the replies to what had to be done before */
};

/* What a variant of a method's values is for. */
enum certify_expect {
    CERTIFY_EXPECT_OK,    /* to be accepted, as far as anybody knows */
    CERTIFY_EXPECT_NO,    /* "$expect": "no": a definitive no */
    CERTIFY_EXPECT_RETRY, /* "$expect": "retry" */
    CERTIFY_EXPECT_ONCE,  /* "$expect": "once": accepted when no other one stands */
};

/* Finds the n-th variant of a method for a purpose; NULL: there is none. */
const json_t *certify_values_find(const struct saga_certify_values *values, const char *method,
                                  enum certify_expect expect, size_t n);

/* Tells whether a method's values came from the file. */
bool certify_values_given(const struct saga_certify_values *values, const char *method);

/* Puts names into a variant and encodes it. Errors: INVALID, NO_MEMORY. */
enum saga_err certify_values_encode(const struct saga_schema *schema,
                                    const struct saga_message_type *type, const json_t *variant,
                                    const struct certify_names *names, struct saga_buf *out,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Copies a value with its placeholders replaced. NULL: no memory, or *detail says what is wrong. */
json_t *certify_values_expand(const json_t *value, const struct certify_names *names,
                              struct saga_err_detail *detail);

/* Makes a request's values from its type; shared: of the request that undoes it (or that it
 * undoes): a field that both have is what ties them, and gets ${id}. NULL: no memory. */
json_t *certify_values_generate(const struct saga_message_type *type,
                                const struct saga_message_type *shared, uint64_t *random);

/* ---- A run ---- */

struct certify_run {
    const struct saga_certify_config *config;
    struct saga_certify_report *report;
    uint64_t random; /* of the seed */
    uint64_t nonce;  /* of what is fresh */
    uint16_t counter;
    bool retry_seen;     /* a retryable refusal came */
    bool retry_replayed; /* and one was replayed: B6 */
    size_t flight_share; /* commands that each case sends into the restart */
    const char *dead;    /* the case after which the participant answered no more; NULL: it does */
};

struct certify_trial;

enum certify_scope_of {
    CERTIFY_OF_PARTICIPANT, /* once */
    CERTIFY_OF_CALL,        /* each step with a call that has effects */
    CERTIFY_OF_UNDO,        /* each step with an undo */
    CERTIFY_OF_PAIR,        /* each step with both */
    CERTIFY_OF_READ,        /* each step whose call has no effects */
};

struct certify_case {
    struct saga_certify_about about;
    enum certify_scope_of of;
    void (*run)(struct certify_trial *trial);
    void (*after)(struct certify_trial *trial); /* after a restart; NULL: no restart needed */
};

extern const struct certify_case certify_cases[];
extern const size_t certify_case_count;

/* One fresh saga with one step and its requests. */
struct certify_scope {
    struct certify_scope *next;
    const struct saga_certify_step *step;
    struct saga_id saga;
    const char *step_name;
    struct certify_names names;
    struct saga_bytes call, undo; /* requests, in the trial's arena */
    bool effect;                  /* the call was done, as far as its replies tell */
    bool undone;
};

/* One command to be sent. */
struct certify_ask {
    struct certify_scope *scope; /* NULL: command alone counts */
    struct saga_command command;
};

/* A command that is under way while the participant is killed. */
struct certify_flight {
    struct certify_ask ask;
    struct saga_buf answer;
    bool answered; /* before the kill, or behind it */
};

struct certify_trial {
    struct certify_run *run;
    const struct certify_case *about;
    const struct saga_certify_step *step;
    struct saga_arena arena;
    struct certify_scope *scopes;
    struct saga_certify_result result;
    bool judged; /* the verdict stands */
    struct certify_scope *kept_scope;
    struct saga_reply kept[CERTIFY_KEPT_MAX];
    struct certify_flight *flights; /* CERTIFY_FLIGHT_MAX, in the arena; NULL: none */
    size_t flight_count;
};

/* Begins and ends a trial; end undoes what was done. */
void certify_trial_begin(struct certify_trial *trial, struct certify_run *run,
                         const struct certify_case *about, const struct saga_certify_step *step);
void certify_trial_end(struct certify_trial *trial);

/* Gives the verdict; the first one stands. */
void certify_fail(struct certify_trial *trial, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void certify_skip(struct certify_trial *trial, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says what was sent, for the report. */
void certify_sent(struct certify_trial *trial, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes a scope: fresh saga, fresh values for a purpose; what must be done before is done. NULL:
 * the trial was judged (skipped). */
struct certify_scope *certify_scope_new(struct certify_trial *trial);
struct certify_scope *certify_scope_for(struct certify_trial *trial, enum certify_expect expect);

/* Makes a scope with values of its own in a saga that is there. */
struct certify_scope *certify_scope_beside(struct certify_trial *trial,
                                           const struct certify_scope *other,
                                           const char *step_name);

/* A fresh id. */
struct saga_id certify_saga_id(struct certify_run *run);

/* A scope's call or undo, as an orchestrator would send it first. */
struct certify_ask certify_ask(struct certify_trial *trial, struct certify_scope *scope,
                               enum saga_op op);

/* An ordinary request. */
struct certify_ask certify_ask_plain(struct certify_trial *trial, const char *method,
                                     struct saga_bytes payload);

/* Sends one batch; as many replies, or the trial has failed. */
bool certify_send_batch(struct certify_trial *trial, const struct certify_ask *asks, size_t count,
                        struct saga_reply *replies);

/* Sends each ask in a message of its own, all at once. answered[i] tells whether replies[i] is
 * there. False: the trial was judged. */
bool certify_send_apart(struct certify_trial *trial, const struct certify_ask *asks, size_t count,
                        struct saga_reply *replies);

/* Sends one command once; until the answer is not "later". */
bool certify_send_once(struct certify_trial *trial, const struct certify_ask *ask,
                       struct saga_reply *reply);
bool certify_send(struct certify_trial *trial, const struct certify_ask *ask,
                  struct saga_reply *reply);

/* Sends bytes; *replies, *count are what came. False: the trial has failed (no answer, or it is no
 * ReplyBatch). */
bool certify_send_bytes(struct certify_trial *trial, struct saga_bytes bytes, const char *what,
                        struct saga_reply **replies, size_t *count);

/* Sends bytes that must be refused as a whole by one reply with one of two codes. */
bool certify_refused(struct certify_trial *trial, struct saga_bytes bytes, const char *what,
                     enum saga_code code, enum saga_code or_code);

/* Reads the answer to a command that was sent alone. False: the trial was judged. */
bool certify_read_answer(struct certify_trial *trial, const struct certify_ask *ask,
                         struct saga_bytes answer, struct saga_reply *reply);

/* Asks the probe (the balance), with a scope's names. False: the trial was judged. */
bool certify_probe(struct certify_trial *trial, struct certify_scope *scope,
                   struct saga_bytes *out);
bool certify_balance(struct certify_trial *trial, struct certify_scope *scope,
                     struct saga_bytes *out);

/* Makes a scope whose call should be refused for good, and sends it. False: the trial was judged
 * (skipped). */
struct certify_scope *certify_scope_refused(struct certify_trial *trial);
bool certify_call_refused(struct certify_trial *trial, struct certify_scope *scope,
                          struct saga_reply *reply);

/* Restarts the participant while the trials' flights are under way. Errors: NO_MEMORY, and those of
 * the port's restart. */
enum saga_err certify_flight_restart(struct certify_run *run, struct certify_trial *trials,
                                     size_t count, struct saga_err_detail *detail);

/* Tells whether the participant answers a health check now. */
bool certify_alive(struct certify_run *run);

/* Sends the scope's call: true when it was done (OK). A definitive no: skipped. */
bool certify_call_ok(struct certify_trial *trial, struct certify_scope *scope,
                     struct saga_reply *reply);

/* Sends the scope's undo: true when OK; else failed. */
bool certify_undo_ok(struct certify_trial *trial, struct certify_scope *scope,
                     struct saga_reply *reply);

/* Connects, greets, sends the beginning of a request of so many bytes, hangs up. False: no
 * connection (nobody there, or an address of another kind than ipc and tcp). */
bool certify_flood(const char *address, uint64_t size);

/* ---- Judging ---- */

enum { CERTIFY_REPLY_TEXT_SIZE = 240 };

/* Writes a reply for people: "OK replayed, payload 4 bytes 08011203". */
void certify_reply_text(const struct saga_reply *reply, char text[CERTIFY_REPLY_TEXT_SIZE]);

/* Each notes the reply as what was got and fails the trial when it is not as it must be. */
bool certify_want_status(struct certify_trial *trial, const char *what,
                         const struct saga_reply *reply, enum saga_code code, const char *reason);
bool certify_want_replay(struct certify_trial *trial, const char *what,
                         const struct saga_reply *first, const struct saga_reply *reply);
bool certify_want_fresh(struct certify_trial *trial, const char *what,
                        const struct saga_reply *reply);

/* Tells whether two replies say the same: status and payload. */
bool certify_same(const struct saga_reply *a, const struct saga_reply *b);

/* Copies bytes and text into the trial's arena. */
struct saga_bytes certify_keep(struct certify_trial *trial, struct saga_bytes bytes);

/* ---- Reports ---- */

/* Gives the index-th rule of a report, and what it has come to: "PASS", "PART" (some of its cases
 * were not judged, the others passed), "FAIL", "SKIP", "INAPPLICABLE". NULL behind the last one. */
const char *certify_rule_word(const struct saga_certify_report *report, size_t index,
                              const char **rule);

/* ---- Cases ---- */

void certify_b1_answer(struct certify_trial *trial);
void certify_b1_duplicate(struct certify_trial *trial);
void certify_b1_attempt(struct certify_trial *trial);
void certify_b1_batch(struct certify_trial *trial);
void certify_b1_concurrent(struct certify_trial *trial);
void certify_b1_effect(struct certify_trial *trial);
void certify_read(struct certify_trial *trial);
void certify_b6_no(struct certify_trial *trial);
void certify_b6_undo(struct certify_trial *trial);
void certify_b6_effect(struct certify_trial *trial);
void certify_undo_effect(struct certify_trial *trial);
void certify_b6_retry(struct certify_trial *trial);
void certify_key_step(struct certify_trial *trial);
void certify_key_saga(struct certify_trial *trial);
void certify_b5_call(struct certify_trial *trial);
void certify_b5_undo(struct certify_trial *trial);
void certify_b5_method(struct certify_trial *trial);
void certify_b2_undo_first(struct certify_trial *trial);
void certify_b3_call_after(struct certify_trial *trial);
void certify_b3_late(struct certify_trial *trial);
void certify_b3_batch(struct certify_trial *trial);
void certify_b4_undo(struct certify_trial *trial);
void certify_b4_twice(struct certify_trial *trial);
void certify_b4_empty(struct certify_trial *trial);
void certify_b4_cause(struct certify_trial *trial);
void certify_b4_concurrent(struct certify_trial *trial);
void certify_race(struct certify_trial *trial);
void certify_deadline_call(struct certify_trial *trial);
void certify_deadline_undo(struct certify_trial *trial);
void certify_fence(struct certify_trial *trial);
void certify_fence_replay(struct certify_trial *trial);
void certify_payload_call(struct certify_trial *trial);
void certify_payload_undo(struct certify_trial *trial);
void certify_batch_mixed(struct certify_trial *trial);

void certify_env_health(struct certify_trial *trial);
void certify_env_reflection(struct certify_trial *trial);
void certify_env_empty(struct certify_trial *trial);
void certify_env_garbage(struct certify_trial *trial);
void certify_env_truncated(struct certify_trial *trial);
void certify_env_wire_type(struct certify_trial *trial);
void certify_env_many(struct certify_trial *trial);
void certify_env_full(struct certify_trial *trial);
void certify_env_large(struct certify_trial *trial);
void certify_env_flood(struct certify_trial *trial);
void certify_env_payload_large(struct certify_trial *trial);
void certify_env_method(struct certify_trial *trial);
void certify_env_saga_id(struct certify_trial *trial);
void certify_env_step(struct certify_trial *trial);
void certify_env_op(struct certify_trial *trial);
void certify_env_attempt(struct certify_trial *trial);
void certify_env_metadata(struct certify_trial *trial);
void certify_env_echo(struct certify_trial *trial);
void certify_env_order(struct certify_trial *trial);
void certify_env_unknown_field(struct certify_trial *trial);

void certify_restart_call(struct certify_trial *trial);
void certify_restart_call_after(struct certify_trial *trial);
void certify_restart_no(struct certify_trial *trial);
void certify_restart_no_after(struct certify_trial *trial);
void certify_restart_undo(struct certify_trial *trial);
void certify_restart_undo_after(struct certify_trial *trial);
void certify_restart_forbidden(struct certify_trial *trial);
void certify_restart_forbidden_after(struct certify_trial *trial);
void certify_flight_call(struct certify_trial *trial);
void certify_flight_undo(struct certify_trial *trial);
void certify_flight_after(struct certify_trial *trial);

#endif
