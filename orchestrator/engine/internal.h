/* Inside the engine: one event being taken. */
#ifndef SAGA_ENGINE_INTERNAL_H
#define SAGA_ENGINE_INTERNAL_H

#include "orchestrator/engine/engine.h"

enum {
    /* A command that could not leave (no peer) is tried again at least this often. Not more: each
       time costs two events in the log. */
    NOT_SENT_DELAY_MS_MAX = 5000,
    /* A participant's wish for patience is heard up to here. */
    RETRY_AFTER_MS_MAX = 10 * 60 * 1000,
};

/* One event being taken: what saga_step was given. */
struct turn {
    const struct saga_definition *def;
    struct saga *saga;
    const struct saga_event *ev;
    struct saga_update *up;
};

/* ---- move.c: changes of one step ---- */

/* Moves a step to a state that the transition table allows, and records it. */
void move_step(struct turn *turn, uint8_t step, enum saga_step_state to);

/* Decides on an attempt of a step's call or undo, now. */
void send_command(struct turn *turn, uint8_t step, enum saga_op op);

/* Lets a step wait before its next attempt. delay_ms_min: the participant's wish; delay_ms_cap: 0
 * for the policy's. */
void wait_retry(struct turn *turn, uint8_t step, enum saga_op op, int64_t delay_ms_min,
                int64_t delay_ms_cap);

/* Nothing is awaited of a step any more. */
void wait_nothing(struct turn *turn, uint8_t step);

/* Says that the event was taken. */
void taken(struct turn *turn);

/* ---- forward.c: a saga that is RUNNING or PARKED ---- */

/* Calls what can be called, completes the saga when all is done. */
void advance_forward(struct turn *turn);

/* Takes the outcome of an attempt of a call; class as of its code. */
void take_call_outcome(struct turn *turn, uint8_t step, uint32_t code, enum saga_code_class class);

/* Tells whether a step's command is out: it has left, or may have, and no answer has come. */
bool is_out(const struct saga_step_run *run);

/* Leaves PARKED when no step is parked any more. */
void unpark(struct turn *turn);

/* Tells whether the pivot has happened or may have happened: from then on there is no way back
 * (S2). */
bool pivot_reached(const struct saga_definition *def, const struct saga *saga);

/* ---- backward.c: a saga that is COMPENSATING ---- */

/* Turns a saga back: nothing further is called, what has or may have an effect is undone. Pre: the
 * pivot was not reached; it does not go back already. */
void turn_back(struct turn *turn, enum saga_cause cause, uint8_t cause_step, uint32_t cause_code);

/* Undoes what can be undone now (S5), ends the saga when nothing is left. */
void advance_backward(struct turn *turn);

/* Takes the outcome of an attempt of an undo. */
void take_undo_outcome(struct turn *turn, uint8_t step, uint32_t code);

/* Tells whether a step has or may have an effect that is yet to be undone. */
bool needs_undo(const struct saga_definition *def, const struct saga *saga, uint8_t step);

/* ---- operator.c ---- */

void take_operator(struct turn *turn);

#endif
