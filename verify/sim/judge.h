/* The judge: watches what a world shows from outside and tells every rule of docs/semantics.md that
 * is broken, by its number.
 *
 * The world tells it facts in the order in which they happen: what clients asked and were answered,
 * what the orchestrator's store holds from which moment on, which commands left, what participants
 * did and committed, what stands on the topics. The judge never looks into the runtime or a
 * participant; of the product it uses the engine and the codec (S7) and the decoders. It keeps one
 * entry for each saga and costs a few microseconds a fact. Thread: one.
 *
 * A fact may break several rules; each is told once for each place. No memory is an error of the
 * judge, kept and told by saga_judge_finish. */
#ifndef SAGA_SIM_JUDGE_H
#define SAGA_SIM_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/op.h"
#include "common/wire/envelope.h"
#include "orchestrator/runtime/port_client.h"
#include "orchestrator/runtime/port_codec.h"

enum {
    SAGA_JUDGE_TEXT_SIZE = 192,
    SAGA_JUDGE_PARTICIPANTS_MAX = 64, /* numbers of participants are below */
};

/* X(name, text): the rules, docs/semantics.md. */
#define SAGA_RULE_LIST(X)                                                                          \
    X(S1, "every saga ends, or is parked with a reason")                                           \
    X(S2, "nothing is undone after the pivot")                                                     \
    X(S3, "at most one effect")                                                                    \
    X(S4, "an undo forbids its call")                                                              \
    X(S5, "undone in reverse order, all of it")                                                    \
    X(S6, "durable before sent, before acknowledged")                                              \
    X(S7, "run again, the log is the same")                                                        \
    X(S8, "who lost the lease changes nothing")                                                    \
    X(S9, "saga-audit is the log")                                                                 \
    X(S10, "one saga for one key")                                                                 \
    X(S11, "cancel means compensate")                                                              \
    X(S12, "an act is an event with who and why")                                                  \
    X(S13, "effects answer to decisions")                                                          \
    X(B1, "a duplicate call gets the stored reply")                                                \
    X(B2, "an undo without its call is empty")                                                     \
    X(B3, "a call after its undo is refused")                                                      \
    X(B4, "a duplicate undo gets the stored reply")                                                \
    X(B5, "another payload is refused")                                                            \
    X(B6, "a no is kept, a maybe is not")                                                          \
    X(B7, "rows are kept long enough")                                                             \
    X(B8, "rows are published in order")                                                           \
    X(FACT, "the world contradicts itself: a bug of the world")

enum saga_rule {
#define X(name, text) SAGA_RULE_##name,
    SAGA_RULE_LIST(X)
#undef X
        SAGA_RULE_COUNT,
};

/* Gives "S1". */
const char *saga_rule_name(enum saga_rule rule);

/* A broken rule. */
struct saga_violation_fact {
    enum saga_rule rule;
    struct saga_id saga_id; /* all zero: of no saga in particular */
    const char *step;       /* "" : of no step in particular */
    const char *text;       /* what was seen, and what should have been */
};

typedef void saga_judge_told(void *user, const struct saga_violation_fact *violation);

/* Finds a definition's version by its hash; NULL: there is none. */
typedef const struct saga_version *saga_judge_version(void *user,
                                                      const uint8_t hash[SAGA_DIGEST_SIZE]);

struct saga_judge_config {
    saga_judge_version *version;
    saga_judge_told *told; /* may be NULL: counts only */
    void *user;            /* of both */
    int64_t retention_ms;  /* B7: of barrier rows; 0: nothing is pruned */
};

struct saga_judge;

/* Makes a judge. Errors: NO_MEMORY. */
enum saga_err saga_judge_new(const struct saga_judge_config *config,
                             struct saga_judge **judge) SAGA_WARN_UNUSED;
void saga_judge_free(struct saga_judge *judge);

/* ---- Clients (S6, S10, S11, S12) ---- */

/* A start. The same struct for what was asked and what was answered. */
struct saga_judge_start {
    const char *definition;
    const char *key;
    struct saga_bytes input;
};

/* A client sends a start (each time that it does); its answer has reached the client. An answer
 * that is lost is told all the same, at the moment at which the orchestrator gave it. */
void saga_judge_start_asked(struct saga_judge *judge, const struct saga_judge_start *start);
void saga_judge_start_answered(struct saga_judge *judge, const struct saga_judge_start *start,
                               const struct saga_answer *answer);

/* An operator's act. A zero saga_id: on a definition (PAUSE, RESUME), of which each of its sagas
 * may show events. */
struct saga_judge_act {
    struct saga_id saga_id;
    const char *definition; /* with a zero saga_id */
    enum saga_act act;
    const char *step; /* "": none */
    const char *who;
    const char *why;
};
void saga_judge_act_asked(struct saga_judge *judge, const struct saga_judge_act *act);
void saga_judge_act_answered(struct saga_judge *judge, const struct saga_judge_act *act,
                             const struct saga_answer *answer);

/* ---- The orchestrator's store (S6, S7, S8, S9, S12) ---- */

/* An orchestrator has taken the lease, durably. */
void saga_judge_lease(struct saga_judge *judge, uint64_t epoch);

/* The audit events of one transaction, in their order, at the moment at which its commit returned
 * OK; epoch: of the orchestrator that committed. Between begin and end. */
void saga_judge_commit_begin(struct saga_judge *judge, uint64_t epoch);
void saga_judge_commit_event(struct saga_judge *judge, struct saga_bytes event);
void saga_judge_commit_end(struct saga_judge *judge);

/* A commit has failed, or the process died inside of it: its events may be found later or not. */
void saga_judge_commit_lost(struct saga_judge *judge);

/* The store's log, all of it, by ascending (saga, seq) or by position: at any recovery and at the
 * end. What was committed must be there, byte for byte; what a lost commit held may be, and then
 * counts as committed from now on. The rows of sagas say in which state each is. */
void saga_judge_log_begin(struct saga_judge *judge);
void saga_judge_log_event(struct saga_judge *judge, struct saga_bytes event);
void saga_judge_log_saga(struct saga_judge *judge, struct saga_id id, enum saga_state state,
                         uint64_t seq);
void saga_judge_log_end(struct saga_judge *judge);

/* ---- The bus (S6, S9, S13, B8) ---- */

/* A command leaves the orchestrator: by NNG when it is handed to the network, by Kafka when the
 * broker has the record. */
void saga_judge_command_sent(struct saga_judge *judge, const struct saga_command *command,
                             enum saga_via via);

/* A record is on saga-audit / on saga-effects, in the order of each partition. */
void saga_judge_topic_audit(struct saga_judge *judge, int32_t partition, struct saga_bytes key,
                            struct saga_bytes value);
void saga_judge_topic_effect(struct saga_judge *judge, int32_t partition, struct saga_bytes key,
                             struct saga_bytes value);

/* ---- Participants (S2, S3, S4, S5, S8, B1-B6) ---- */

/* A command of a saga that a participant has worked on, told when its transaction has committed, in
 * the order in which the commands were worked on. */
struct saga_judge_deed {
    uint16_t participant;               /* number of the participant's database */
    const struct saga_command *command; /* as it arrived */
    const struct saga_reply *reply;     /* as the kit answers it */
    bool ran;                           /* the handler was asked */
    bool read_only;                     /* a method without side effects: no barrier */
    bool starter_undo;                  /* the step has no call */
    int64_t position;                   /* of the barrier's row that was stored for it; 0: none */
    int64_t now_unix_ms;
};
void saga_judge_deed(struct saga_judge *judge, const struct saga_judge_deed *deed);

/* The participants' databases at the end (or whenever they are at rest): every row of the barrier
 * (dead letters left out), every entry of the domain's ledger: one for each effect that is in the
 * domain's tables. */
struct saga_judge_row {
    uint16_t participant;
    int64_t position;
    struct saga_id saga_id;
    const char *step;
    enum saga_op op;
    uint32_t code;
    bool empty;
};
void saga_judge_tables_begin(struct saga_judge *judge, int64_t now_unix_ms);
void saga_judge_table_row(struct saga_judge *judge, const struct saga_judge_row *row);
void saga_judge_table_effect(struct saga_judge *judge, uint16_t participant, struct saga_id id,
                             const char *step, enum saga_op op);
void saga_judge_tables_end(struct saga_judge *judge);

/* ---- Looking ---- */

/* What the world's operators may know of a saga: whether its pivot has had its effect (they tell
 * the truth when they give a parked pivot up), and whether a step's call or undo has. */
bool saga_judge_pivot_done(const struct saga_judge *judge, struct saga_id id);
bool saga_judge_effect_done(const struct saga_judge *judge, struct saga_id id, const char *step,
                            enum saga_op op);

/* Sagas that are durably started and have not ended; of those, PARKED ones. */
size_t saga_judge_open_count(const struct saga_judge *judge);
size_t saga_judge_parked_count(const struct saga_judge *judge);

/* Walks the sagas that have not ended, for who must decide what to do about them. *at: 0 to begin
 * with. Returns false at the end. */
bool saga_judge_open_next(const struct saga_judge *judge, size_t *at, struct saga_id *id,
                          enum saga_state *state);

/* ---- The end ---- */

struct saga_judge_counts {
    uint64_t sagas, completed, compensated, parked, open;
    uint64_t events, commands, deeds, effects, replays, refusals;
    uint64_t violations[SAGA_RULE_COUNT];
    uint64_t violation_count; /* of all rules */
};

/* Which parts of the world are complete, so that what is missing there is a violation. */
struct saga_judge_end {
    bool healed;          /* faults have stopped for long enough: every saga must have ended (S1) */
    bool parked_allowed;  /* PARKED counts as ended: nobody decided about it */
    bool audit_drained;   /* saga-audit holds all of the log (S9) */
    bool effects_drained; /* saga-effects holds every barrier row (S13, B8) */
};

/* Says what is wrong with the whole. Errors: NO_MEMORY: of the judge, at any time; what it has told
 * is true, but it has not seen all. */
enum saga_err saga_judge_finish(struct saga_judge *judge, const struct saga_judge_end *end,
                                struct saga_judge_counts *counts) SAGA_WARN_UNUSED;

#endif
