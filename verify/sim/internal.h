/* Inside the simulator: what the world's files, the judge, the workload and the swarm share.
 *
 *   world     clock, happenings, phases, trace hash            world.c
 *   faults    the one function that decides about each           fault.c
 *   facts     what the judge is told                             facts.c
 *   processes orchestrator, participants, clients, people        orch*.c part*.c client.c
 *   roads     NNG messages, Kafka                                net.c kafka.c relay.c
 *   workload  who starts what, what handlers answer              workload.c
 *   swarm     which faults are on in a seed, with which weights  swarm.c
 *   judge     the rules                                          judge*.c
 */
#ifndef SAGA_SIM_INTERNAL_H
#define SAGA_SIM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/base/op.h"
#include "common/wire/schema.h"
#include "orchestrator/engine/engine.h"
#include "orchestrator/runtime/port_client.h"
#include "orchestrator/runtime/port_codec.h"
#include "orchestrator/runtime/runtime.h"
#include "verify/sim/sim.h"

struct sim_world;
struct sim_workload;
struct sim_judge;

enum {
    SIM_PARTICIPANTS_MAX = SAGA_PARTICIPANTS_MAX,
    SIM_KEY_SIZE = 128,
    SIM_REASON_SIZE = 64,
};

/* ---- Swarm (swarm.c) ---- */

/* One seed's mood: which faults are on, how likely each is for one thing that it could hit, and how
 * slow the roads are. */
struct sim_swarm {
    uint32_t ppm[SAGA_SIM_FAULT_COUNT]; /* of a million; 0: off */
    int64_t latency_us_min;             /* of a message, one way */
    int64_t latency_us_max;
    int64_t delay_us_max;      /* of a message or record that is delayed by a fault */
    int64_t kafka_us_max;      /* of a record from producer to log, and from log to consumer */
    int64_t restart_us_max;    /* from a crash to the next start */
    int64_t pause_us_max;      /* of a process that hangs */
    int64_t outage_us_max;     /* of a partition, of a broker that is down */
    int64_t jump_ms_max;       /* of a clock */
    uint32_t kafka_partitions; /* of each topic */
};

/* Fills the swarm of a seed. Every fault is on in some seeds and off in others. */
void sim_swarm_draw(uint64_t seed, struct sim_swarm *swarm);

/* ---- Faults and chance (fault.c) ---- */

/* Tells whether a fault hits a thing. Each (kind, identity) happens at most once in a world; none
 * after healing. what (printf) is for people: only made when it happens. */
bool sim_fault(struct sim_world *world, enum saga_sim_fault kind, uint64_t identity,
               const char *what, ...) __attribute__((format(printf, 4, 5)));

/* A number below bound that depends on seed, salt and identity alone. bound 0: 0. */
uint64_t sim_draw(const struct sim_world *world, uint64_t salt, uint64_t identity, uint64_t bound);

/* Makes one number of two: identities. */
uint64_t sim_mix(uint64_t a, uint64_t b);

/* ---- Facts: what the judge is told, in the order of happening ---- */

/* A saga as everybody outside sees it, and as it is durable. Index: position in world->sagas; those
 * below saga_count are the workload's, those behind are children. */
struct sim_saga {
    uint32_t index;
    uint64_t name; /* stable identity: the index, or made of the parent's and its step */
    char key[SIM_KEY_SIZE];
    const struct saga_version *version;
    struct saga_bytes
        input; /* of its start; borrowed from the workload, of a child from the world */

    /* Starts. */
    bool acked;              /* some start was answered OK */
    struct saga_id acked_id; /* of the first such answer */
    int64_t acked_at_us;
    uint32_t ack_count;
    uint32_t
        refused_other_count; /* starts with another payload that were refused with KEY_REUSED */

    /* As last committed (decoded from the row as the store took it). */
    bool durable_there;
    struct saga durable;
    uint8_t durable_hash[SAGA_DIGEST_SIZE]; /* of its last audit event */
    bool in_doubt;                          /* a commit failed: it may be `doubt` instead */
    struct saga doubt;
    uint8_t doubt_hash[SAGA_DIGEST_SIZE];
    int64_t ended_at_us; /* 0: not ended */
};

/* A command that left the orchestrator (NNG: handed to the transport; Kafka: appended to a log). */
struct sim_sent {
    uint32_t saga;
    uint8_t step;
    enum saga_op op;
    enum saga_via via;
    uint32_t attempt;
    uint64_t epoch;
    bool zombie; /* its sender had lost the lease by then */
    int64_t at_us;
};

/* What a participant has done, told when its transaction is durable. */
struct sim_effect {
    uint64_t order; /* over all participants */
    uint32_t saga;  /* UINT32_MAX: of no saga that is known */
    struct saga_id saga_id;
    uint8_t step; /* SAGA_STEP_ALL: a name that its definition does not have */
    enum saga_op op;
    uint16_t participant;
    uint32_t attempt;
    uint64_t epoch;
    uint32_t code;  /* OK: the handler's effect stands; a definitive no: stored, no effect */
    bool empty;     /* undo without its call: nothing was run */
    bool read_only; /* a method without effect: no row, no ledger */
    int64_t at_us;
};

/* An answer to a start or an act, when it leaves the orchestrator. */
struct sim_answered {
    uint32_t saga;
    bool start;         /* else an operator's act */
    bool other_payload; /* the start had another payload */
    enum saga_act act;
    struct saga_answer answer; /* texts are static or empty */
    char reason[SIM_REASON_SIZE];
    bool zombie;
    int64_t at_us;
};

/* A record that Kafka has. */
struct sim_record {
    uint32_t saga; /* by its key; UINT32_MAX: unknown */
    const char *topic;
    int32_t partition;
    int64_t offset;
    struct saga_bytes key;
    struct saga_bytes value;
    const char *event_id; /* ce_id */
    int64_t at_us;
};

/* ---- Judge (judge*.c). Each is told of a fact when it happens; what breaks a rule goes to
 * sim_violate. ---- */

enum saga_err sim_judge_new(struct sim_world *world, struct sim_judge **judge) SAGA_WARN_UNUSED;
void sim_judge_free(struct sim_judge *judge);

/* A transaction of the orchestrator became durable: every saga that it changed, one call each;
 * before is what was durable until now (before.state NONE: it is new). epoch: of the writer. */
void sim_judge_committed(struct sim_world *world, struct sim_saga *saga, const struct saga *before,
                         uint64_t epoch);
/* An audit event became durable (in order of position). event: encoded saga.v1.AuditEvent. */
void sim_judge_audit(struct sim_world *world, struct sim_saga *saga, uint64_t seq,
                     struct saga_bytes event);
/* A command leaves. S6: saga->durable must hold the intent. */
void sim_judge_sent(struct sim_world *world, const struct sim_sent *sent);
/* A participant's transaction with this effect is durable. S2, S3, S4, S5. */
void sim_judge_effect(struct sim_world *world, const struct sim_effect *effect);
/* An answer leaves. S6, S10, S11, S12. */
void sim_judge_answered(struct sim_world *world, const struct sim_answered *answered);
/* Kafka has a record (saga-audit, saga-effects, command and reply topics, dead letters). */
void sim_judge_record(struct sim_world *world, const struct sim_record *record);
/* An orchestrator has read its store after a crash: the rows as they are. durable tells what must
 * have survived, doubt what may have. */
void sim_judge_recovered(struct sim_world *world, struct sim_saga *saga, const struct saga *found,
                         const uint8_t found_hash[SAGA_DIGEST_SIZE]);
/* A commit of an orchestrator that had lost its lease was taken: S8. */
void sim_judge_unfenced(struct sim_world *world, uint64_t epoch, uint64_t current);
/* Everything has ended and is published: S1, S9, S13 and the books. */
void sim_judge_end(struct sim_world *world);

/* ---- Workload (workload.c) ---- */

/* When a saga is started, and with what. Bytes are the workload's. */
struct sim_plan {
    int64_t at_us;
    struct saga_bytes input;
    struct saga_bytes other; /* another valid input for the same key (S10) */
};

/* A handler is asked: the barrier let the command through. */
struct sim_asked {
    const struct sim_saga *saga; /* NULL: unknown */
    const struct saga_version *version;
    uint8_t step;
    enum saga_op op;
    const struct saga_method *method;
    uint32_t times; /* how often this handler was asked this before; from 0 */
    struct saga_bytes request;
    bool retriable; /* behind the pivot, or an undo: a no is not expected, only a nuisance */
};

/* What it says. Texts static; payload the workload's until the next call. */
struct sim_reply {
    uint32_t code;
    const char *reason;
    struct saga_bytes payload; /* with OK */
    int64_t retry_after_ms;
    int64_t slow_us; /* how much longer it takes */
};

/* An operator's act on one saga. */
struct sim_act {
    enum saga_act act;
    const char *step_name; /* "" or of a step */
    const char *who;
    const char *why;
};

enum saga_err sim_workload_new(struct sim_world *world, struct sim_workload **workload,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;
void sim_workload_free(struct sim_workload *workload);
/* The plan of a saga, index below saga_count; at_us within the safety phase. */
void sim_workload_plan(struct sim_world *world, uint32_t index, struct sim_plan *plan);
/* Draws a handler's answer by the faults ANSWER_*; while healing all say OK. A call's definitive no
 * is for compensatable and pivot steps; behind the pivot and for undos it must not last. */
void sim_workload_answer(struct sim_world *world, const struct sim_asked *asked,
                         struct sim_reply *reply);
/* Asked every SIM_ACT_SLOT_US of virtual time for each saga that is durable and not ended. Draws by
 * the faults ACT_*; identity: saga and slot. Returns false when nobody does anything. While healing
 * only RETRY of what is PARKED. */
bool sim_workload_act(struct sim_world *world, const struct sim_saga *saga, uint64_t slot,
                      struct sim_act *act);

enum { SIM_ACT_SLOT_US = 2 * 1000 * 1000 };

/* ---- The world (world.c) ---- */

/* What is prepared once for many worlds. */
struct saga_sim {
    struct saga_schema *schema;
    struct saga_bytes descriptor_set; /* owned */
    const struct saga_decl *decl;     /* of the saga that is run */
    struct saga_version *versions;    /* all of the schema; children are among them */
    size_t version_count;
    const struct saga_version *version; /* of the saga that is run */
    const struct saga_service *services[SIM_PARTICIPANTS_MAX];
    size_t service_count; /* participants' numbers are indexes */
    void *templates;      /* database images; the participants' */
};

/* The parts that judge, workload and swarm may read. The rest of the world is in world.h. */
struct sim_view {
    struct saga_sim *sim;
    const struct saga_sim_config *config;
    struct sim_swarm swarm;
    uint64_t seed;
    int64_t now_us;    /* virtual, from 0 */
    int64_t safety_us; /* end of the safety phase */
    bool healing;
    bool violated;
    uint32_t saga_count; /* of the workload */
    struct sim_saga **sagas;
    size_t saga_total; /* with children */
    struct sim_workload *workload;
    struct sim_judge *judge;
    struct saga_sim_result *result;
};

struct sim_view *sim_view(struct sim_world *world);

/* The present time of a wall clock without skew: what virtual 0 is. */
enum { SIM_EPOCH_S = 1700000000 };

/* Finds a saga by any id that it was ever given (a start whose transaction was lost has had another
 * one); NULL when unknown. */
struct sim_saga *sim_find(struct sim_world *world, struct saga_id id);

/* A rule is broken: the first one counts, the world stops. */
void sim_violate(struct sim_world *world, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line of the transcript, when one is kept. */
bool sim_talks(const struct sim_world *world);
void sim_say(struct sim_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- What the judge reads at the end ---- */

/* Walks the log as the store has it, in order of position. Returns false and violates when it
 * cannot be read. */
bool sim_walk_audit(struct sim_world *world,
                    void (*visit)(void *user, struct saga_id id, uint64_t seq,
                                  struct saga_bytes event),
                    void *user);

/* A barrier row of a participant. Texts are valid for the visit. */
struct sim_barrier_row {
    uint16_t participant;
    int64_t position;
    struct saga_id saga_id;
    const char *step;
    enum saga_op op;
    uint32_t code;
    bool empty;
    uint64_t epoch;
    const char *method;
};
bool sim_walk_barrier(struct sim_world *world,
                      void (*visit)(void *user, const struct sim_barrier_row *row), void *user);

/* A ledger row: a handler's effect, written by the handler itself in the barrier's transaction. */
struct sim_ledger_row {
    uint16_t participant;
    struct saga_id saga_id;
    const char *step;
    enum saga_op op;
};
bool sim_walk_ledger(struct sim_world *world,
                     void (*visit)(void *user, const struct sim_ledger_row *row), void *user);

/* Records of a topic in the order in which Kafka got them (bytes live as long as the world). */
bool sim_walk_topic(struct sim_world *world, const char *topic,
                    void (*visit)(void *user, const struct sim_record *record), void *user);

#endif
