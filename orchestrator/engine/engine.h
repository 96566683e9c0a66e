/* The engine: what a saga does next, as a pure function of what it is and what happened.
 *
 *     saga_step(definition, saga, event, update)
 *
 * It does no I/O, allocates nothing, reads no clock (time is in the event), has no globals; jitter
 * comes from the saga's seed. It knows steps by index and never sees names, payloads or contexts.
 *
 * The caller's duties, in this order: PERSIST the changed saga and the update's record, then SEND
 * the update's commands, then ACKNOWLEDGE whoever waits (S6). If persisting fails, nothing of the
 * update may leave the process.
 *
 * Rules are numbered in docs/semantics.md. Thread: any, one saga at a time. */
#ifndef SAGA_ENGINE_ENGINE_H
#define SAGA_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/base/op.h"
#include "common/base/status.h"

/* saga.v1.SagaState */
enum saga_state {
    SAGA_STATE_NONE = 0, /* not started */
    SAGA_STATE_RUNNING = 1,
    SAGA_STATE_COMPENSATING = 2,
    SAGA_STATE_COMPLETED = 3,
    SAGA_STATE_COMPENSATED = 4,
    SAGA_STATE_PARKED = 5,
};

/* saga.v1.StepState */
enum saga_step_state {
    SAGA_STEP_NONE = 0,
    SAGA_STEP_WAITING = 1,
    SAGA_STEP_CALLED = 2,
    SAGA_STEP_SUCCEEDED = 3,
    SAGA_STEP_REJECTED = 4,
    SAGA_STEP_UNKNOWN = 5,
    SAGA_STEP_UNDOING = 6,
    SAGA_STEP_UNDONE = 7,
    SAGA_STEP_SKIPPED = 8,
};

/* saga.v1.EventKind */
enum saga_event_kind {
    SAGA_EVENT_START = 1,     /* begins the saga: id, seed, when_mask */
    SAGA_EVENT_REPLY = 2,     /* step, op, attempt, code, retry_after_ms, key_reused, when_mask */
    SAGA_EVENT_TIMER = 3,     /* something may be due */
    SAGA_EVENT_DURABLE = 4,   /* step, op, attempt: Kafka has the command */
    SAGA_EVENT_RECOVERED = 5, /* a new process took the saga up */
    SAGA_EVENT_OPERATOR = 6,  /* act, step (or SAGA_STEP_ALL) */
    SAGA_EVENT_REVERSE = 7,   /* the saga that this one is a step of undoes it as a whole */
};

/* saga.v1.OperatorAct */
enum saga_act {
    SAGA_ACT_RETRY = 1,
    SAGA_ACT_CANCEL = 2,
    SAGA_ACT_SKIP = 3,
    SAGA_ACT_COMPENSATE = 4,
    SAGA_ACT_RESOLVE = 5,
    SAGA_ACT_PAUSE = 6,  /* of a definition, never of a saga */
    SAGA_ACT_RESUME = 7, /* its definition goes on: begins the steps that were held */
    SAGA_ACT_APPLY = 8,  /* of a definition, never of a saga: a version becomes current */
    SAGA_ACT_REMOVE = 9, /* of a definition, never of a saga: none is current any more */
};

enum { SAGA_STEP_ALL = 255 }; /* "no step in particular" where a step index stands */

/* One step, as far as the engine cares. Times in ms. */
struct saga_step_def {
    uint64_t after_mask; /* direct predecessors */
    bool has_call;       /* false: done by the starter */
    bool has_undo;
    bool read_only;
    bool pivot;
    bool conditional; /* has a `when` */
    enum saga_via call_via;
    enum saga_via undo_via;
    uint32_t call_attempts_max;
    uint32_t undo_attempts_max; /* stalled is raised after so many */
    int64_t call_delay_ms;
    int64_t call_delay_ms_max;
    int64_t undo_delay_ms;
    int64_t undo_delay_ms_max;
    int64_t call_deadline_ms;
    int64_t undo_deadline_ms;
};

/* A definition, as far as the engine cares. Immutable while sagas run on it. */
struct saga_definition {
    uint32_t step_count; /* 1 to SAGA_STEPS_MAX */
    int64_t deadline_ms;
    struct saga_step_def steps[SAGA_STEPS_MAX];
    uint64_t before_masks[SAGA_STEPS_MAX]; /* all predecessors, direct or not; by
                                              saga_definition_finish */
    uint64_t
        behind_masks[SAGA_STEPS_MAX]; /* all successors, direct or not; by saga_definition_finish */
    uint64_t retriable_mask;          /* steps behind the pivot; by saga_definition_finish */
};

/* Computes the masks. Returns false when there is a cycle, a bad index, more than one pivot, or a
 * step neither before nor behind the pivot; *def is then unusable. */
bool saga_definition_finish(struct saga_definition *def);

/* What a step waits for. */
enum saga_wait {
    SAGA_WAIT_NONE = 0,
    SAGA_WAIT_DURABLE = 1, /* its command is in the outbox; Kafka does not have it yet */
    SAGA_WAIT_REPLY = 2,   /* its command is out; due is the attempt's deadline */
    SAGA_WAIT_RETRY = 3,   /* due is when it is sent again */
    SAGA_WAIT_CHILD = 4,   /* a child saga is on it, for as long as that takes; no due */
};

/* One step of a running saga. */
struct saga_step_run {
    uint8_t state;          /* enum saga_step_state */
    uint8_t wait;           /* enum saga_wait */
    uint8_t last_code;      /* status of the last reply, or of what stands for one */
    bool maybe_effect;      /* an attempt of the call has left this process and no definitive answer
                               came: it may have an effect */
    bool stalled;           /* tried more often than its policy expects */
    bool parked;            /* a person must look */
    uint32_t call_attempts; /* sent so far */
    uint32_t undo_attempts;
    uint32_t
        failures; /* attempts of the present op that count towards attempts_max: those that left */
    int64_t due_unix_ms; /* 0: nothing due */
};

/* Why a saga turned back or was parked. */
enum saga_cause {
    SAGA_CAUSE_NONE = 0,
    SAGA_CAUSE_STEP = 1,     /* cause_step failed with cause_code */
    SAGA_CAUSE_DEADLINE = 2, /* the saga's deadline passed */
    SAGA_CAUSE_CANCEL = 3,   /* an operator or client cancelled it */
    SAGA_CAUSE_OPERATOR = 4, /* an operator turned it back */
    SAGA_CAUSE_PARENT = 5,   /* the saga that it is a step of undoes it */
};

/* One run of a definition. All zero before START. */
struct saga {
    struct saga_id id;
    uint8_t state;      /* enum saga_state */
    uint8_t resume;     /* with PARKED: the state to go back to (RUNNING or COMPENSATING) */
    uint8_t cause;      /* enum saga_cause */
    uint8_t cause_step; /* index or SAGA_STEP_ALL */
    uint8_t cause_code;
    uint8_t step_count; /* of its definition */
    uint64_t seq;       /* number of the last event that changed it */
    uint64_t seed;      /* state of its jitter */
    int64_t created_unix_ms;
    int64_t deadline_unix_ms;
    int64_t ended_unix_ms; /* 0: not ended */
    struct saga_step_run steps[SAGA_STEPS_MAX];
};

/* What happened. Fields beyond those named at the kind are ignored. */
struct saga_event {
    enum saga_event_kind kind;
    int64_t now_unix_ms;
    struct saga_id id; /* START */
    uint64_t seed;     /* START */
    uint8_t step;
    enum saga_op op;
    uint32_t attempt;
    uint32_t code;   /* REPLY: gRPC status */
    bool key_reused; /* REPLY: the participant's reason is KEY_REUSED: the key has an effect, with
                        other bytes */
    bool not_sent;   /* REPLY: made up by the runtime, the command certainly did not leave (code
                        UNAVAILABLE) */
    int64_t retry_after_ms; /* REPLY: the participant's wish */
    enum saga_act act;      /* OPERATOR */
    bool paused; /* the saga's definition is paused: no step begins with this event; what has begun
                    goes on */
    uint64_t when_mask; /* bit i: the condition of step i holds in the context as it is after this
                           event */
};

/* A command to send, after persisting. */
struct saga_send {
    uint8_t step;
    enum saga_op op;
    enum saga_via via;
    uint32_t attempt;
    int64_t deadline_unix_ms; /* of the attempt */
};

/* A step that moved. */
struct saga_move {
    uint8_t step;
    uint8_t from; /* enum saga_step_state */
    uint8_t to;
};

enum { SAGA_MOVES_MAX = 3 * SAGA_STEPS_MAX };

/* How an event was taken. */
enum saga_verdict {
    SAGA_VERDICT_IGNORED, /* nothing changed: late, duplicate, nothing due. Nothing to persist */
    SAGA_VERDICT_TAKEN,   /* changed: persist, send, acknowledge */
    SAGA_VERDICT_REFUSED, /* OPERATOR, REVERSE: the act is not possible now (refusal says why).
                             Nothing to persist */
};

/* What follows from an event. */
struct saga_update {
    enum saga_verdict verdict;
    const char *refusal; /* with REFUSED: why, static text */
    uint32_t move_count;
    uint32_t send_count;
    int64_t next_due_unix_ms; /* when a TIMER is wanted; 0: none */
    bool merge_reply;         /* the reply's payload belongs into the context */
    bool cause_set;           /* this event is the cause of the turning back or parking */
    bool ended;
    bool parked;  /* newly PARKED */
    bool stalled; /* a step became stalled */
    struct saga_move moves[SAGA_MOVES_MAX];
    struct saga_send sends[SAGA_STEPS_MAX];
};

/* Takes an event. On TAKEN, *saga is the new state, seq one higher. Pre: saga->step_count equals
 * the definition's (or the event is START on a zeroed saga); step indexes are below it. */
void saga_step(const struct saga_definition *def, struct saga *saga, const struct saga_event *ev,
               struct saga_update *up);

/* Checks that a saga could have come about (an invariant after every move; also for what was read
 * from a store). Returns NULL, or what is wrong. */
const char *saga_invariant(const struct saga_definition *def, const struct saga *saga);

/* When a TIMER is wanted next; 0: never. */
int64_t saga_next_due(const struct saga_definition *def, const struct saga *saga);

/* Tells whether it has ended (COMPLETED, COMPENSATED). */
bool saga_ended(const struct saga *saga);

/* Names, for logs and tests: "RUNNING", "UNDOING", "REPLY". */
const char *saga_state_name(enum saga_state state);
const char *saga_step_state_name(enum saga_step_state state);
const char *saga_event_kind_name(enum saga_event_kind kind);

#endif
