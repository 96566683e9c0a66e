/* The simulator: the real engine, runtime, codec, SQLite store and barrier in a world of which
 * everything else is made up: clock, network, Kafka, disk, processes, people.
 *
 * One seed is one world: it decides which faults happen, how often, and what everybody answers. The
 * same seed gives the same happenings, byte for byte; their hash is in the result. A world first
 * runs with faults, then it is healed (all faults off, everything up, what is parked is retried)
 * and every saga must end within a bound of virtual time (S1).
 *
 * Not for production: no thread, no real clock, no socket; the file system is verify/vfs in memory.
 * Thread: one world at a time in a process. */
#ifndef SAGA_SIM_SIM_H
#define SAGA_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

/* What can go wrong, or is done by people. X(name, text). A fault hits one thing, its identity. */
#define SAGA_SIM_FAULTS(X)                                                                         \
    /* The orchestrator's process dies at a place of a turn; identity: the event (saga, seq). */   \
    X(CRASH_BEFORE_BEGIN, "orchestrator dies before a transaction")                                \
    X(CRASH_IN_TRANSACTION, "orchestrator dies in a transaction")                                  \
    X(CRASH_BEFORE_COMMIT, "orchestrator dies in commit, nothing is durable")                      \
    X(CRASH_AFTER_COMMIT, "orchestrator dies in commit, all is durable")                           \
    X(CRASH_BEFORE_SENDS, "orchestrator dies after commit, before any send")                       \
    X(CRASH_BETWEEN_SENDS, "orchestrator dies between sends")                                      \
    X(CRASH_BEFORE_ANSWERS, "orchestrator dies before it answers")                                 \
    X(CRASH_IDLE, "orchestrator dies between turns")                                               \
    X(CRASH_IN_RECOVERY, "orchestrator dies while it recovers")                                    \
    X(POWER_LOSS, "with a crash: what was not synced is lost")                                     \
    X(TORN_WRITE, "with a power loss: a page is half written")                                     \
    /* A pause, and another orchestrator meanwhile. */                                             \
    X(ZOMBIE_BEFORE_SENDS, "orchestrator hangs after commit; a successor comes; it wakes later")   \
    X(ZOMBIE_IDLE, "orchestrator hangs between turns; a successor comes; it wakes later")          \
    X(PAUSE, "orchestrator hangs between turns and wakes later")                                   \
    X(TAKEOVER, "a second orchestrator is started while the first one runs")                       \
    /* The orchestrator's disk. */                                                                 \
    X(DISK_EIO_READ, "a read gives EIO")                                                           \
    X(DISK_EIO_WRITE, "a write gives EIO")                                                         \
    X(DISK_FULL, "a write gives ENOSPC")                                                           \
    X(DISK_SYNC, "fsync fails")                                                                    \
    X(DISK_SHORT_READ, "a read is short")                                                          \
    /* Participants. */                                                                            \
    X(PART_CRASH_BEFORE_COMMIT, "participant dies, its transaction is lost")                       \
    X(PART_CRASH_AFTER_COMMIT, "participant dies after commit, before it answers")                 \
    X(PART_CRASH_IDLE, "participant dies between turns")                                           \
    X(PART_STORE_BUSY, "participant's store refuses a turn")                                       \
    X(PART_PAUSE, "participant hangs")                                                             \
    /* Requests and replies (NNG); identity: command and copy. */                                  \
    X(REQUEST_LOST, "a request is lost")                                                           \
    X(REQUEST_DOUBLED, "a request comes twice")                                                    \
    X(REQUEST_REFUSED, "a request certainly does not leave")                                       \
    X(REQUEST_DELAYED, "a request is late")                                                        \
    X(REPLY_LOST, "a reply is lost")                                                               \
    X(REPLY_DOUBLED, "a reply comes twice")                                                        \
    X(REPLY_DELAYED, "a reply is late")                                                            \
    X(PARTITION, "no message passes to or from a participant")                                     \
    X(PARTITION_OUT, "no request passes to a participant")                                         \
    X(PARTITION_BACK, "no reply passes from a participant")                                        \
    /* Kafka. */                                                                                   \
    X(BROKER_DOWN, "Kafka is down")                                                                \
    X(RECORD_REFUSED, "records are not taken and are sent again")                                  \
    X(ACK_LOST, "records are there, the producer is not told and sends again")                     \
    X(RECORD_DELAYED, "records are seen late")                                                     \
    X(CONSUMER_REWIND, "a consumer goes back to its committed offset")                             \
    /* Clocks; identity: process and when. */                                                      \
    X(CLOCK_FORTH, "a wall clock jumps ahead")                                                     \
    X(CLOCK_BACK, "a wall clock jumps back")                                                       \
    X(CLOCK_DAYS, "a wall clock is days ahead for a moment")                                       \
    /* Those who start sagas. */                                                                   \
    X(START_REPEATED, "a start is sent again with the same key")                                   \
    X(START_OTHER, "a start with a used key and another payload")                                  \
    /* What handlers answer; identity: saga, step, op, time asked. */                              \
    X(ANSWER_REJECT, "a handler says no for good")                                                 \
    X(ANSWER_RETRY, "a handler says not now")                                                      \
    X(ANSWER_UNKNOWN, "a handler fails in an unknown way")                                         \
    X(ANSWER_PARK, "a handler says that the set-up is wrong")                                      \
    X(ANSWER_HIDDEN, "a handler has its effect, what arrives is unknown")                          \
    X(ANSWER_BAD, "a handler answers what the schema does not allow")                              \
    X(ANSWER_SLOW, "a handler is slow")                                                            \
    /* Operators. */                                                                               \
    X(ACT_RETRY, "an operator retries")                                                            \
    X(ACT_CANCEL, "an operator cancels")                                                           \
    X(ACT_SKIP, "an operator skips a step")                                                        \
    X(ACT_COMPENSATE, "an operator turns a saga back")                                             \
    X(ACT_RESOLVE, "an operator resolves a step")                                                  \
    X(ACT_PAUSE, "an operator pauses a definition for a while")

enum saga_sim_fault {
#define SAGA_SIM_ONE(name, text) SAGA_SIM_##name,
    SAGA_SIM_FAULTS(SAGA_SIM_ONE)
#undef SAGA_SIM_ONE
        SAGA_SIM_FAULT_COUNT
};

/* Names: "REQUEST_LOST", "a request is lost". */
const char *saga_sim_fault_name(enum saga_sim_fault kind);
const char *saga_sim_fault_text(enum saga_sim_fault kind);

/* Finds a kind by name; SAGA_SIM_FAULT_COUNT when there is none. */
enum saga_sim_fault saga_sim_fault_find(const char *name);

/* A fault by what it hits, not by when: taking one away does not move the others. */
struct saga_sim_hit {
    enum saga_sim_fault kind;
    uint64_t identity;
};

/* A fault that happened. */
struct saga_sim_fired {
    struct saga_sim_hit hit;
    int64_t at_us; /* virtual time */
    char text[96]; /* what it hit, for people */
};

enum {
    SAGA_SIM_SAGAS_DEFAULT = 128,
    SAGA_SIM_SAGAS_MAX = 4096,
    SAGA_SIM_SAFETY_MS_DEFAULT = 60 * 1000,
    SAGA_SIM_HEAL_MS_DEFAULT = 30 * 60 * 1000,
};

/* What to run. All borrowed for the call. */
struct saga_sim_config {
    struct saga_bytes descriptor_set; /* empty: the one built in (the ordering system) */
    const char *definition;           /* NULL or "": "create-order" */
    uint64_t seed;
    uint32_t saga_count; /* 0: SAGA_SIM_SAGAS_DEFAULT; 1 to SAGA_SIM_SAGAS_MAX */
    int64_t safety_ms;   /* virtual; 0: SAGA_SIM_SAFETY_MS_DEFAULT */
    int64_t heal_ms;     /* bound for ending after healing; virtual; 0: SAGA_SIM_HEAL_MS_DEFAULT */
    bool faults_off;     /* no fault at all */
    /* Faults that do not happen though the seed has them: what the shrinker takes away. */
    const struct saga_sim_hit *suppressed;
    size_t suppressed_count;
    /* When given: of the faults of this seed only these happen. */
    const struct saga_sim_hit *only;
    size_t only_count;
    bool has_only;
    FILE *transcript; /* one line for each happening; NULL: none */
};

/* What came of it. */
struct saga_sim_result {
    uint64_t trace_hash;
    bool violated;
    char rule[16];       /* "S5", "S1", …; "SIM": the simulator itself could not go on */
    char violation[512]; /* what was seen, with saga and step */
    int64_t violated_at_us;
    uint32_t saga_count; /* asked for */
    uint32_t started;    /* durably; child sagas are among them, those below too */
    uint32_t completed, compensated;
    uint32_t children;
    int64_t virtual_ms;
    uint64_t happenings, events, commits, effects, records;
    uint32_t crashes, takeovers;
    uint64_t fired_by_kind[SAGA_SIM_FAULT_COUNT];
    struct saga_sim_fired *fired; /* owned by the result */
    size_t fired_count;
};

/* Definitions prepared for many runs. */
struct saga_sim;

/* Loads a schema and compiles its sagas once. descriptor_set: as in the config. Owns: the caller.
 * Errors: of loading and compiling; NOT_FOUND when no saga has that name; detail says. */
enum saga_err saga_sim_new(struct saga_bytes descriptor_set, const char *definition,
                           struct saga_sim **sim, struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Frees. NULL is nothing. */
void saga_sim_free(struct saga_sim *sim);

/* Runs one world. A violation is no error: see the result. config->descriptor_set and definition
 * are not looked at: they are sim's. Owns: the caller gives the result back with
 * saga_sim_result_fini. Errors: NO_MEMORY, LIMIT, INVALID; those of setting up. */
enum saga_err saga_sim_run(struct saga_sim *sim, const struct saga_sim_config *config,
                           struct saga_sim_result *result,
                           struct saga_err_detail *detail) SAGA_WARN_UNUSED;

void saga_sim_result_fini(struct saga_sim_result *result);

#endif
