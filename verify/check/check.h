/* The exhaustive checker: every way in which one saga of a definition can go, on the engine that
 * runs in production (saga_step), and a proof, or the shortest counterexample, of S1-S6 and S10-S12
 * of docs/semantics.md for that definition.
 *
 * What is explored. A state is the saga as the engine keeps it, and beside it a model of the world
 * that shares no code with the engine: for each step what its participant's barrier holds (B1-B4,
 * B6) and which of its commands may be on their way. From each state every one of these is tried:
 *   - a command reaches its participant, which takes effect or refuses, or undoes, or forbids;
 *   - a reply of every class reaches the engine, for the present attempt or an earlier one, once or
 *     again; "it certainly did not leave"; KEY_REUSED; an effect whose reply tells of a failure;
 *   - any set of due times passes; the saga's deadline passes;
 *   - Kafka has a command (DURABLE), said again, or said of an earlier attempt;
 *   - the orchestrator crashes and a new process takes the saga up (RECOVERED);
 *   - an operator retries, skips, resolves and compensates truthfully, cancels; the definition is
 *     paused and resumed; the start is asked for again.
 * A lost message, a lost reply, and a crash before the commit are ways in which nothing happens, so
 * they need no event of their own.
 *
 * What is left out, and why nothing is lost by it.
 *   Time. The engine asks of a due time and of the saga's deadline whether it has come, and nothing
 *   else (jitter only moves a due time). Any set of the times that are set may therefore come with
 *   the next TIMER: this contains every order in which they can come. The others lie a moment
 * ahead. (One that lies further ahead than anything is put off, since a clock was wrong, has come
 * to the engine: that is again a set that comes.) After each event times are written back to fixed
 *   values, the seed and the number of the event too.
 *   Messages. To a barrier a command that comes twice is a command that comes once, and all
 * attempts of a command have one key: what may be on its way is a set. A command that may have left
 * stays in it for ever: it may be doubled and late, and whether it was lost need not be decided. A
 *   command that was decided on may have left or not: that is decided when it matters (it arrives,
 *   or the runtime says that it did not leave). This contains every crash between the commit and
 *   some of its sends.
 *   Replies. A definitive reply can come whenever the barrier holds it. A failure tells nothing of
 *   the participant and can come whenever the attempt may have left.
 *   Numbers. The engine compares an attempt's number with the present one and with attempts_max.
 *   Numbers above both are the same to it: they are counted up to max(attempts, 2). So there is no
 *   bound on how often anything fails; attempts_max of every command is clamped to `attempts`, and
 *   with it after how many failures a compensatable step is given up.
 *   What the engine writes and never reads (last_code, cause, counters of a command that is over)
 *   is not part of a state.
 * None of this is taken on trust: each transition is made twice, the second time from a saga that
 * differs in all that is left out (other clock, seed, codes of the same class, higher counters),
 * and must come to the same state; otherwise nothing counts as proved.
 *
 * States are kept packed and whole, not as fingerprints: none is missed. Parallel steps that are
 * alike (same fields but for times, same neighbours) are put in a fixed order: exchanging them
 * exchanges nothing but names.
 *
 * What is not checked here: payloads and contexts (a condition may hold or not, each time anew),
 * the runtime, the store and the kit themselves, and everything that needs two sagas or two
 * orchestrators (S7-S9, S13).
 *
 * Memory is bounded. What is proved or found does not depend on the number of threads; how far a
 * search came that memory or somebody stopped, may. Thread: the caller's, and `threads` - 1 of its
 * own while it runs. */
#ifndef SAGA_CHECK_CHECK_H
#define SAGA_CHECK_CHECK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "orchestrator/engine/engine.h"

enum {
    SAGA_CHECK_ATTEMPTS_MAX = 14,
    SAGA_CHECK_THREADS_MAX = 64,
    SAGA_CHECK_TEXT_SIZE = 256,
    /* What one state may have; docs/limits.md states them. */
    SAGA_CHECK_DUE_MAX = 10,       /* due times at once: every set of them is tried */
    SAGA_CHECK_CONDITIONS_MAX = 6, /* open conditions: every set of them is tried */
    SAGA_CHECK_EVENTS_MAX = 8192,  /* events that can come next */
};

/* The engine under test; tests put wrong ones here. */
struct saga_check_engine {
    void (*step)(const struct saga_definition *def, struct saga *saga, const struct saga_event *ev,
                 struct saga_update *up);
    /* NULL: only what is seen from outside counts. */
    const char *(*invariant)(const struct saga_definition *def, const struct saga *saga);
    /* What is done with a start whose key has a saga (S10). NULL: as the runtime does, which
     * answers with the saga that is there or refuses, and does not ask the engine. */
    void (*start_again)(const struct saga_definition *def, struct saga *saga,
                        const struct saga_event *ev, struct saga_update *up);
};

/* What may be left out of the world, as bits. */
enum saga_check_part {
    SAGA_CHECK_OPERATOR = 1 << 0, /* acts that no saga needs to end */
    SAGA_CHECK_CANCEL = 1 << 1,
    SAGA_CHECK_PAUSE = 1 << 2,
    SAGA_CHECK_CRASH = 1 << 3,
    SAGA_CHECK_DEADLINE = 1 << 4, /* the saga's */
    SAGA_CHECK_UNSENT = 1 << 5,
    SAGA_CHECK_PARK = 1 << 6, /* answers of the class park, and KEY_REUSED */
    SAGA_CHECK_TIMEOUT = 1 << 7,
    SAGA_CHECK_LATE = 1 << 8, /* doubled and late replies */
    SAGA_CHECK_RETRY = 1 << 9,
    SAGA_CHECK_UNKNOWN = 1 << 10,
    SAGA_CHECK_START = 1 << 11, /* the start asked for again */
};

/* Finds a part by its name ("operator", "pause"); 0 when there is none. */
unsigned saga_check_part_find(const char *name);

/* Names the part of a bit, counted from 0; NULL behind the last. */
const char *saga_check_part_name(unsigned bit);

enum { SAGA_CHECK_RULE_MAX = 12 };

/* Tells whether a search without these parts can judge rule S<number>: S1 to S6 and S10 to S12,
 * but those that are about something that is left out. */
bool saga_check_judges(unsigned without, unsigned number);

struct saga_check_progress {
    uint64_t states;
    uint64_t transitions;
    uint32_t depth;
    uint64_t frontier; /* states of the present depth that are still to be looked at */
    size_t memory;
    bool ending; /* all states are known; now whether each leads to an end */
};

struct saga_check_config {
    const struct saga_definition *def;
    const char *const *step_names;
    const struct saga_check_engine *engine; /* NULL: the one that ships */
    uint32_t attempts;                      /* 1 to SAGA_CHECK_ATTEMPTS_MAX */
    uint32_t threads;                       /* 1 to SAGA_CHECK_THREADS_MAX */
    size_t memory_max;                      /* bytes, of states and what leads on from them */
    unsigned without;                       /* of enum saga_check_part */
    bool no_symmetry;                       /* do not exchange like steps */
    bool child;                             /* another saga may have it as a step: REVERSE */
    const atomic_int *stop;                 /* not 0: stop soon; may be NULL */
    void (*progress)(void *user, const struct saga_check_progress *progress); /* may be NULL */
    void *user;
};

enum saga_check_verdict {
    SAGA_CHECK_PROVED,
    SAGA_CHECK_VIOLATED,
    SAGA_CHECK_OUT_OF_MEMORY, /* memory_max reached: nothing found so far */
    SAGA_CHECK_TOO_WIDE, /* more than can be told apart in one state: too many parallel steps */
    SAGA_CHECK_INEXACT,  /* the engine reads what is left out of states */
    SAGA_CHECK_STOPPED,  /* *stop was set: nothing found so far */
};

/* What is too much in one state. */
enum saga_check_width {
    SAGA_CHECK_WIDTH_NONE,
    SAGA_CHECK_WIDTH_DUE,
    SAGA_CHECK_WIDTH_CONDITIONS,
    SAGA_CHECK_WIDTH_EVENTS,
};

/* What is there at an end: two bits for each step (enum saga_check_effect), and the saga's state.
 */
enum saga_check_effect { SAGA_CHECK_NONE = 0, SAGA_CHECK_DONE = 1, SAGA_CHECK_UNDONE = 2 };
struct saga_check_outcome {
    uint64_t effects;
    uint8_t state;
};

struct saga_check_result {
    enum saga_check_verdict verdict;
    uint64_t states;
    uint64_t transitions; /* events tried */
    uint32_t depth;
    uint64_t ended;                      /* states in which the saga has ended */
    uint32_t heal;                       /* most events to an end once faults stop */
    size_t memory;                       /* bytes at most; never above memory_max */
    uint32_t alike;                      /* groups of steps that are alike */
    bool clamped;                        /* some attempts_max is above `attempts` */
    enum saga_check_width wide;          /* TOO_WIDE: of what */
    uint32_t wide_count;                 /* and how many there are */
    struct saga_check_outcome *outcomes; /* sorted; of all states that were looked at */
    size_t outcome_count;
    char wrong[SAGA_CHECK_TEXT_SIZE]; /* VIOLATED, INEXACT: the rule and what is wrong */
    struct saga_buf transcript;       /* VIOLATED, INEXACT: the way there, in the language of
                                         tests/golden/engine */
};

/* Checks. Errors: INVALID (config), NO_MEMORY, UNAVAILABLE (no threads). Whatever is returned,
 * *result is to be given to fini. It takes SIGABRT over while it runs, so that an assertion of the
 * engine is a finding. */
enum saga_err saga_check_run(const struct saga_check_config *config,
                             struct saga_check_result *result) SAGA_WARN_UNUSED;

void saga_check_result_fini(struct saga_check_result *result);

/* Appends an outcome as one line without its newline: "COMPENSATED order=undone customer=none".
 * Errors: NO_MEMORY. */
enum saga_err saga_check_outcome_text(const struct saga_check_config *config,
                                      const struct saga_check_outcome *outcome,
                                      struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
