/* What can happen in a world. */
#include <string.h>

#include "verify/check/internal.h"

static void set_wide(struct event_list *list, enum saga_check_width wide, uint32_t count)
{
    if (list->wide == SAGA_CHECK_WIDTH_NONE) {
        list->wide = wide;
        list->wide_count = count;
    }
}

static void add(struct event_list *list, struct check_event ev)
{
    if (list->count == SAGA_CHECK_EVENTS_MAX) {
        set_wide(list, SAGA_CHECK_WIDTH_EVENTS, SAGA_CHECK_EVENTS_MAX + 1);
        return;
    }
    list->events[list->count++] = ev;
}

/* Conditions that could be asked for with the next event. */
static uint64_t open_conditions(const struct check *check, const struct world *world)
{
    uint64_t mask = 0;
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        uint8_t state = world->saga.steps[i].state;
        bool waits = state == SAGA_STEP_NONE || state == SAGA_STEP_WAITING;
        mask |= check->def.steps[i].conditional && waits ? UINT64_C(1) << i : 0;
    }
    return mask;
}

/* Adds an event that may let steps begin: once for each set of conditions that may hold. */
static void add_beginning(const struct check *check, const struct world *world,
                          struct event_list *list, struct check_event ev)
{
    uint64_t open = open_conditions(check, world);
    uint64_t set = 0;
    unsigned count = 0;
    for (uint64_t rest = open; rest != 0; rest &= rest - 1) {
        count++;
    }
    if (count > SAGA_CHECK_CONDITIONS_MAX) {
        set_wide(list, SAGA_CHECK_WIDTH_CONDITIONS, count);
        return;
    }
    do {
        ev.when_mask = set;
        add(list, ev);
        set = (set - open) & open; /* the next subset */
    } while (set != 0);
}

static void add_answers(const struct check *check, struct event_list *list, struct check_event ev,
                        bool reused)
{
    static const struct {
        uint8_t answer;
        unsigned part;
    } answers[] = {{ANSWER_RETRY, SAGA_CHECK_RETRY},
                   {ANSWER_UNKNOWN, SAGA_CHECK_UNKNOWN},
                   {ANSWER_PARK, SAGA_CHECK_PARK},
                   {ANSWER_REUSED, SAGA_CHECK_PARK}};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        ev.answer = answers[i].answer;
        if (with(check, answers[i].part) && (ev.answer != ANSWER_REUSED || reused)) {
            add(list, ev);
        }
    }
}

/* A definitive answer, from the present attempt and from the first. */
static void add_definitive(const struct check *check, const struct world *world,
                           struct event_list *list, struct check_event ev)
{
    const struct saga_step_run *run = &world->saga.steps[ev.step];
    uint32_t attempts = ev.op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    add_beginning(check, world, list, ev);
    if (attempts > 1 && with(check, SAGA_CHECK_LATE)) {
        ev.which = WHICH_FIRST;
        add_beginning(check, world, list, ev);
    }
}

static void add_call_replies(const struct check *check, const struct world *world,
                             struct event_list *list, uint8_t step)
{
    const struct saga_step_run *run = &world->saga.steps[step];
    const struct part *part = &world->parts[step];
    bool read_only = !step_has_effects(check, step);
    bool awaited = part->present != PRESENT_NONE;
    struct check_event ev = {.kind = CHECK_REPLY, .step = step, .op = SAGA_OP_CALL};
    if (part->call_row == CALL_DONE || read_only) {
        ev.answer = ANSWER_OK;
        add_definitive(check, world, list, ev);
    }
    if (part->call_row == CALL_REFUSED || part->undo_row != UNDO_NONE || read_only) {
        ev.answer = ANSWER_NO;
        add_definitive(check, world, list, ev);
    }
    if (awaited || with(check, SAGA_CHECK_LATE)) {
        add_answers(check, list, ev, part->call_row != CALL_NONE);
    }
    if (run->call_attempts > 1 && with(check, SAGA_CHECK_LATE)) {
        ev.which = WHICH_BEFORE;
        add_answers(check, list, ev, part->call_row != CALL_NONE);
    }
}

static void add_unsent(const struct check *check, const struct world *world,
                       struct event_list *list, uint8_t step, enum saga_op op)
{
    const struct saga_step_run *run = &world->saga.steps[step];
    const struct part *part = &world->parts[step];
    enum saga_via via =
        op == SAGA_OP_CALL ? check->def.steps[step].call_via : check->def.steps[step].undo_via;
    if (via != SAGA_VIA_NNG || !with(check, SAGA_CHECK_UNSENT)) {
        return;
    }
    struct check_event ev = {
        .kind = CHECK_REPLY, .step = step, .op = (uint8_t)op, .answer = ANSWER_UNSENT};
    bool truth = op == SAGA_OP_UNDO ? run->wait == SAGA_WAIT_REPLY : part->present == PRESENT_MAYBE;
    bool late = with(check, SAGA_CHECK_LATE) && run->wait != SAGA_WAIT_REPLY;
    uint32_t attempts = op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    if (attempts > 0 && (truth || late)) {
        add(list, ev);
    }
    if (attempts > 1 && with(check, SAGA_CHECK_LATE)) {
        ev.which = WHICH_BEFORE;
        add(list, ev);
    }
}

static void add_call(const struct check *check, const struct world *world, struct event_list *list,
                     uint8_t step)
{
    if (may_take_effect(check, world, step)) {
        struct check_event ev = {.kind = CHECK_ARRIVE, .step = step, .op = SAGA_OP_CALL};
        ev.answer = ANSWER_OK;
        add(list, ev);
        ev.answer = ANSWER_NO;
        add(list, ev);
    }
    if (may_answer(world, step)) {
        add_call_replies(check, world, list, step);
    }
    add_unsent(check, world, list, step, SAGA_OP_CALL);
}

static void add_undo(const struct check *check, const struct world *world, struct event_list *list,
                     uint8_t step)
{
    const struct saga_step_run *run = &world->saga.steps[step];
    const struct part *part = &world->parts[step];
    struct check_event ev = {.kind = CHECK_ARRIVE, .step = step, .op = SAGA_OP_UNDO};
    if (part->undo_row == UNDO_NONE) {
        add(list, ev);
    }
    ev.kind = CHECK_REPLY;
    if (part->undo_row != UNDO_NONE) {
        ev.answer = ANSWER_OK;
        add_definitive(check, world, list, ev);
    }
    bool awaited = run->state == SAGA_STEP_UNDOING && run->wait != SAGA_WAIT_RETRY;
    for (uint8_t late = 0; late <= 1; late++) {
        ev.which = late != 0 ? WHICH_BEFORE : WHICH_PRESENT;
        if (late != 0 ? run->undo_attempts > 1 && with(check, SAGA_CHECK_LATE)
                      : awaited || with(check, SAGA_CHECK_LATE)) {
            ev.answer = ANSWER_NO; /* no barrier stores it, but a handler may say so */
            add(list, ev);
            add_answers(check, list, ev, part->undo_row != UNDO_NONE);
        }
    }
    add_unsent(check, world, list, step, SAGA_OP_UNDO);
}

static void add_durable(const struct check *check, const struct world *world,
                        struct event_list *list, uint8_t step)
{
    const struct saga_step_run *run = &world->saga.steps[step];
    const struct saga_step_def *def = &check->def.steps[step];
    const uint32_t attempts[] = {run->call_attempts, run->undo_attempts};
    const enum saga_via vias[] = {def->call_via, def->undo_via};
    for (uint8_t i = 0; i < 2; i++) {
        struct check_event ev = {.kind = CHECK_DURABLE, .step = step};
        ev.op = i == 0 ? SAGA_OP_CALL : SAGA_OP_UNDO;
        if (vias[i] != SAGA_VIA_KAFKA || attempts[i] == 0) {
            continue;
        }
        if (run->wait == SAGA_WAIT_DURABLE || with(check, SAGA_CHECK_LATE)) {
            add(list, ev);
        }
        if (attempts[i] > 1 && with(check, SAGA_CHECK_LATE)) {
            ev.which = WHICH_BEFORE;
            add(list, ev);
        }
    }
}

/* Every set of due times, without and with the saga's deadline; and a timer that is due to nobody.
 * Beside the saga's deadline, which comes first, only none and all. */
static void add_timers(const struct check *check, const struct world *world,
                       struct event_list *list)
{
    uint32_t due = 0;
    unsigned count = 0;
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        const struct saga_step_run *run = &world->saga.steps[i];
        bool passes = run->wait == SAGA_WAIT_RETRY || with(check, SAGA_CHECK_TIMEOUT);
        if (has_due(run) && passes) {
            due |= UINT32_C(1) << i;
            count++;
        }
    }
    if (count > SAGA_CHECK_DUE_MAX) {
        set_wide(list, SAGA_CHECK_WIDTH_DUE, count);
        return;
    }
    struct check_event ev = {.kind = CHECK_TIMER, .step = SAGA_STEP_ALL};
    do {
        add(list, ev);
        ev.due_mask = (ev.due_mask - due) & due;
    } while (ev.due_mask != 0);
    if (with(check, SAGA_CHECK_DEADLINE)) {
        ev.deadline = true;
        add(list, ev);
        ev.due_mask = due;
        if (due != 0) {
            add(list, ev);
        }
    }
}

/* Acts upon one step. */
static void add_step_acts(const struct check *check, const struct world *world,
                          struct event_list *list, uint8_t step)
{
    const struct saga_step_run *run = &world->saga.steps[step];
    const struct part *part = &world->parts[step];
    struct check_event ev = {.kind = CHECK_ACT, .step = step};
    /* "It has happened": true when the barrier has it, or a person has done it. */
    bool call_true = part->call_row == CALL_DONE || !step_has_effects(check, step);
    bool undo_true = part->undo_row != UNDO_NONE;
    ev.act = SAGA_ACT_RESOLVE;
    if (is_retriable(check, step) && part->call_row == CALL_REFUSED &&
        run->state == SAGA_STEP_CALLED && run->wait == SAGA_WAIT_RETRY) {
        ev.truth = true; /* the only way on for what its participant refuses for ever */
        add_beginning(check, world, list, ev);
        ev.truth = false;
    }
    if (!with(check, SAGA_CHECK_OPERATOR)) {
        return;
    }
    if (run->state == SAGA_STEP_UNDOING ? undo_true : call_true) {
        add_beginning(check, world, list, ev);
    }
    ev.act = SAGA_ACT_SKIP;
    add_beginning(check, world, list, ev);
    ev.act = SAGA_ACT_RETRY;
    add_beginning(check, world, list, ev);
}

static void add_acts(const struct check *check, const struct world *world, struct event_list *list)
{
    struct check_event all = {.kind = CHECK_ACT, .step = SAGA_STEP_ALL};
    all.act = SAGA_ACT_RETRY;
    if (with(check, SAGA_CHECK_OPERATOR) || world->saga.state == SAGA_STATE_PARKED) {
        add_beginning(check, world, list, all);
    }
    all.act = SAGA_ACT_CANCEL;
    if (with(check, SAGA_CHECK_CANCEL)) {
        add(list, all);
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        add_step_acts(check, world, list, i);
    }
    if (!with(check, SAGA_CHECK_OPERATOR)) {
        return;
    }
    all.act = SAGA_ACT_COMPENSATE;
    add(list, all);
    /* "The pivot has not happened": true when it has no effect and nothing of it is on its way. */
    if (check->pivot != SAGA_STEP_ALL && world->saga.state == SAGA_STATE_PARKED &&
        !has_effect(check, world, check->pivot)) {
        all.step = check->pivot;
        all.truth = true;
        add(list, all);
    }
}

static void add_start_again(const struct check *check, struct event_list *list)
{
    if (with(check, SAGA_CHECK_START)) {
        struct check_event ev = {.kind = CHECK_START_AGAIN, .step = SAGA_STEP_ALL};
        add(list, ev);
        ev.other_bytes = true;
        add(list, ev);
    }
}

void list_events(const struct check *check, const struct world *world, struct event_list *list)
{
    list->count = 0;
    list->wide = SAGA_CHECK_WIDTH_NONE;
    list->wide_count = 0;
    struct check_event plain = {.kind = CHECK_START, .step = SAGA_STEP_ALL};
    if (world->saga.state == SAGA_STATE_NONE) {
        add_beginning(check, world, list, plain);
    } else {
        for (uint8_t i = 0; i < check->def.step_count; i++) {
            if (check->def.steps[i].has_call) {
                add_call(check, world, list, i);
            }
            if (world->parts[i].undo_sent) {
                add_undo(check, world, list, i);
            }
            add_durable(check, world, list, i);
        }
        add_timers(check, world, list);
        add_acts(check, world, list);
        add_start_again(check, list);
        plain.kind = CHECK_RECOVERED;
        if (with(check, SAGA_CHECK_CRASH)) {
            add_beginning(check, world, list, plain);
        }
        if (with(check, SAGA_CHECK_CRASH) && world->paused) {
            plain.truth = true; /* the pause ended, and the process before it told this saga */
            add_beginning(check, world, list, plain);
            plain.truth = false;
        }
        plain.kind = CHECK_REVERSE;
        if (check->config.child) {
            add(list, plain);
        }
    }
    plain.kind = world->paused ? CHECK_RESUME : CHECK_PAUSE;
    if (with(check, SAGA_CHECK_PAUSE) && !saga_ended(&world->saga)) {
        if (world->paused && world->saga.state != SAGA_STATE_NONE) {
            add_beginning(check, world, list, plain);
        } else if (!world->paused) {
            add(list, plain);
        }
    }
}
