/* Inside the checker. */
#ifndef SAGA_CHECK_INTERNAL_H
#define SAGA_CHECK_INTERNAL_H

#include "verify/check/check.h"

enum {
    KEY_WORDS_MAX = SAGA_STEPS_MAX + 1,
    LATER_MS = 1, /* how far ahead lies what has not come; the twin's: */
    LATER_TWIN_MS = 37,
    HEAL_MAX = 8 * SAGA_STEPS_MAX, /* ways on from one state once faults have stopped */
};

/* A row of a participant's barrier. */
enum call_row { CALL_NONE = 0, CALL_DONE = 1, CALL_REFUSED = 2 };
enum undo_row { UNDO_NONE = 0, UNDO_EMPTY = 1, UNDO_DONE = 2 };

/* The attempt of a call that the engine waits for. */
enum present { PRESENT_NONE = 0, PRESENT_MAYBE = 1, PRESENT_LEFT = 2 };

/* What is true outside the orchestrator of one step. */
struct part {
    uint8_t call_row;
    uint8_t undo_row;
    uint8_t present; /* whether the attempt that is awaited has left */
    bool old;        /* an earlier attempt of the call may be on its way */
    bool undo_sent;  /* an undo may be on its way */
};

/* A saga and the world around it. */
struct world {
    struct saga saga;
    struct part parts[SAGA_STEPS_MAX];
    bool paused;
    int64_t now;
};

/* Kinds of events of the world. */
enum check_kind {
    CHECK_START,
    CHECK_START_AGAIN,
    CHECK_ARRIVE, /* a command reaches its participant: the engine does not see it */
    CHECK_REPLY,
    CHECK_TIMER,
    CHECK_DURABLE,
    CHECK_RECOVERED,
    CHECK_ACT,
    CHECK_PAUSE,
    CHECK_RESUME,
    CHECK_REVERSE,
};

/* Answers of participants, and what stands for one. */
enum answer {
    ANSWER_OK,
    ANSWER_NO,
    ANSWER_RETRY,
    ANSWER_UNKNOWN,
    ANSWER_PARK,
    ANSWER_REUSED,
    ANSWER_UNSENT,
};

/* The attempt that a reply is to. */
enum which { WHICH_PRESENT, WHICH_FIRST, WHICH_BEFORE };

struct check_event {
    uint8_t kind;
    uint8_t step;
    uint8_t op;
    uint8_t answer; /* ARRIVE: of a call, OK or NO */
    uint8_t which;
    uint8_t act;
    bool deadline;     /* TIMER: the saga's has passed */
    bool truth;        /* ACT: the operator has seen to it that what he says is so; RECOVERED: a
                          pause has ended meanwhile */
    bool other_bytes;  /* START_AGAIN */
    uint32_t due_mask; /* TIMER: steps whose due time has passed */
    uint64_t when_mask;
};

struct event_list {
    struct check_event events[SAGA_CHECK_EVENTS_MAX];
    size_t count;
    enum saga_check_width wide; /* what there is too much of */
    uint32_t wide_count;
};

/* Steps that are alike. */
struct group {
    uint8_t steps[SAGA_STEPS_MAX];
    uint8_t count;
};

struct check {
    struct saga_check_config config;
    struct saga_definition def; /* attempts clamped */
    struct saga_check_engine engine;
    uint32_t counted; /* attempts are counted up to here */
    uint32_t key_words;
    uint8_t pivot; /* or SAGA_STEP_ALL */
    struct group groups[SAGA_STEPS_MAX];
    uint32_t group_count;
    bool clamped;
};

/* One transition being made. */
struct trial {
    struct world from; /* before the engine, times set */
    struct world to;
    struct world twin; /* the same, from another saga that should not differ */
    struct saga_update up;
    struct saga_update twin_up;
    struct check_event ev;
    struct saga_event engine_ev;
    bool asked; /* the engine was asked */
};

/* ---- world.c ---- */

/* Prepares: clamps, masks, groups. Errors: INVALID. */
enum saga_err check_init(struct check *check, const struct saga_check_config *config);

/* The world before the start. */
void world_init(const struct check *check, struct world *world);

/* Packs a world into key_words words, and back. */
void world_pack(const struct check *check, const struct world *world, uint32_t *key);
void world_unpack(const struct check *check, const uint32_t *key, struct world *world);

/* Puts like steps in order. */
void world_order(const struct check *check, uint32_t *key);

/* Makes a world differ in everything that is left out of its key. */
void world_vary(const struct check *check, struct world *world);

/* Copies what is used. */
void world_copy(const struct check *check, struct world *to, const struct world *from);

/* ---- facts of the model ---- */

bool step_has_effects(const struct check *check, uint8_t step);
/* The effect is there. */
bool has_effect(const struct check *check, const struct world *world, uint8_t step);
/* A command is on its way that would have one. */
bool may_take_effect(const struct check *check, const struct world *world, uint8_t step);
bool may_answer(const struct world *world, uint8_t step);
enum saga_check_effect effect_of(const struct check *check, const struct world *world,
                                 uint8_t step);
/* Parallel and serial times. */
bool has_due(const struct saga_step_run *run);
bool is_retriable(const struct check *check, uint8_t step);
bool with(const struct check *check, unsigned part);
bool is_stopped(const struct check *check);

/* ---- events.c ---- */

/* Lists everything that can happen in a world. */
void list_events(const struct check *check, const struct world *world, struct event_list *list);

/* ---- trial.c ---- */

/* Sets the times so that what the event says has passed and nothing else has: that comes later_ms
 * from now. */
void set_times(const struct check *check, struct world *world, const struct check_event *ev,
               int64_t later_ms);

/* Makes a transition: trial->from and ->ev are given; to, up are made. */
void make_transition(const struct check *check, struct trial *trial);

/* Makes it once more from a varied saga and tells whether it comes to the same key. */
bool twin_agrees(const struct check *check, struct trial *trial, const uint32_t *key);

/* ---- rules.c, rules_act.c ---- */

/* Tells what rule a transition breaks, or NULL. */
const char *judge(const struct check *check, const struct trial *trial);
const char *judge_act(const struct check *check, const struct trial *trial);
const char *judge_start_again(const struct trial *trial);

/* ---- space.c: the states that are known ---- */

enum { SPACE_SHARDS = 64, SPACE_BLOCK = 1024 };
#define NO_STATE UINT32_MAX

struct shard {
    uint32_t **blocks; /* of SPACE_BLOCK states each: key, parent, ordinal of the event */
    uint32_t block_count, block_capacity;
    uint32_t count;
    uint32_t level_first, level_end; /* the depth that is being looked at */
    bool failed;                     /* memory is out */
    uint32_t *slots;                 /* index + 1; 0: free */
    uint32_t slot_count;
};

struct space {
    const struct check *check;
    uint32_t stride; /* words of a state */
    size_t memory_max;
    atomic_size_t memory; /* taken of it */
    struct shard shards[SPACE_SHARDS];
};

enum saga_err space_init(struct space *space, const struct check *check);
void space_fini(struct space *space);
uint64_t space_hash(const struct check *check, const uint32_t *key);
/* Finds a state; NO_STATE. Thread: any, while nobody puts. */
uint32_t space_find(const struct space *space, uint64_t hash, const uint32_t *key);
/* Puts a state that may be there; *fresh tells. Thread: one for each shard. Errors: NO_MEMORY. */
enum saga_err space_put(struct space *space, uint64_t hash, const uint32_t *state, bool *fresh);
const uint32_t *space_state(const struct space *space, uint32_t id);
/* Takes of the memory that is allowed; false when that is used up. Thread: any. */
bool space_take(struct space *space, size_t size);
void space_give(struct space *space, size_t size);
size_t space_memory(const struct space *space);
uint64_t space_count(const struct space *space);
uint32_t space_parent(const struct space *space, uint32_t id);
uint32_t space_ordinal(const struct space *space, uint32_t id);
static inline uint32_t space_id(uint32_t shard, uint32_t index)
{
    return index * SPACE_SHARDS + shard;
}

/* ---- explore.c ---- */

/* What was found, and where. */
struct finding {
    const char *wrong; /* NULL: nothing */
    uint32_t state;    /* from which */
    uint32_t ordinal;  /* by which event; NO_STATE: by none, in the state itself */
    uint64_t position; /* the smallest counts */
};

struct exploration {
    const struct check *check;
    struct space space;
    struct saga_check_result *result;
    struct finding finding;
    uint32_t *walk; /* a way without an end: states; or NULL */
    size_t walk_count;
};

/* Explores from the start until nothing is new. result->verdict is set. Errors: NO_MEMORY,
 * UNAVAILABLE. */
enum saga_err explore(struct exploration *exploration);

/* ---- thread.c ---- */

/* Runs work(arg, 0 … threads - 1), the first on the caller's thread, and waits for all; on fewer
 * threads when the system gives no more, so work must not depend on their number. */
void run_parallel(uint32_t threads, void (*work)(void *arg, uint32_t index), void *arg);

/* Runs a call under the watch of SIGABRT; false when it ended in an assertion. Thread: any, between
 * install and remove. */
bool guarded(void (*run)(void *arg), void *arg);
enum saga_err guard_install(void);
void guard_remove(void);

/* ---- outcome.c ---- */

/* Gathers the outcomes of all states. Errors: NO_MEMORY. */
enum saga_err gather_outcomes(const struct exploration *exploration);

/* ---- heal.c ---- */

/* A way on once faults have stopped: events that belong together. */
struct heal_way {
    struct check_event events[3];
    uint8_t count;
};
struct heal_list {
    struct heal_way ways[HEAL_MAX];
    size_t count;
};
void list_heals(const struct check *check, const struct world *world, struct heal_list *list);

/* Goes a way from base; trial->from is where it leads. Gives how many of its events were gone: 0,
 * it cannot be gone; a time that passes and sends nothing is a way by itself. */
uint8_t go_way(const struct check *check, struct trial *trial, const struct world *base,
               const struct heal_way *way, bool when);

/* S1: from each state, however it goes on once faults have stopped, an end is reached. Errors:
 * NO_MEMORY. */
enum saga_err check_heals(struct exploration *exploration);

/* ---- transcript.c ---- */

/* Writes the way to a finding. Errors: NO_MEMORY, INTERNAL. */
enum saga_err write_transcript(const struct exploration *exploration, struct saga_buf *out);

/* Appends lines of the language. */
struct writer {
    const struct check *check;
    struct saga_buf *out;
    enum saga_err err;
};
void write_text(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void write_definition(struct writer *writer);
void write_event(struct writer *writer, const struct trial *trial);
void write_update(struct writer *writer, const struct trial *trial);

#endif
