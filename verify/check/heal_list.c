/* What goes on by itself once faults have stopped: participants answer definitively, Kafka has what
 * it was given, what is due comes, and a person retries what is parked, resumes what is paused, and
 * does by hand what a participant refuses for ever. A command that was out when faults stopped may
 * have been lost; one that is sent from now on arrives and is answered. */
#include "verify/check/internal.h"

static void add_way(struct heal_list *list, struct heal_way way)
{
    if (list->count < HEAL_MAX) {
        list->ways[list->count++] = way;
    }
}

static void then(struct heal_way *way, struct check_event ev)
{
    way->events[way->count++] = ev;
}

/* The ways of a call's answer, each after what comes before it. */
static void add_answered_call(const struct check *check, const struct world *world,
                              struct heal_list *list, uint8_t step, struct heal_way before)
{
    const struct part *part = &world->parts[step];
    struct check_event arrive = {.kind = CHECK_ARRIVE, .step = step, .op = SAGA_OP_CALL};
    struct check_event reply = {.kind = CHECK_REPLY, .step = step, .op = SAGA_OP_CALL};
    bool read_only = !step_has_effects(check, step);
    bool free = part->call_row == CALL_NONE && part->undo_row == UNDO_NONE;
    static const uint8_t answers[] = {ANSWER_OK, ANSWER_NO};
    for (size_t i = 0; i < sizeof answers; i++) {
        uint8_t answer = answers[i];
        bool held = answer == ANSWER_OK
                        ? part->call_row == CALL_DONE
                        : part->call_row == CALL_REFUSED || part->undo_row != UNDO_NONE;
        if (!held && (!free || (answer == ANSWER_NO && is_retriable(check, step)))) {
            continue; /* a healthy participant does what nobody can undo any more */
        }
        struct heal_way way = before;
        arrive.answer = answer;
        reply.answer = answer;
        if (free && !read_only) {
            then(&way, arrive);
        }
        then(&way, reply);
        add_way(list, way);
    }
}

static void add_answered_undo(const struct world *world, struct heal_list *list, uint8_t step,
                              struct heal_way way)
{
    struct check_event ev = {.kind = CHECK_ARRIVE, .step = step, .op = SAGA_OP_UNDO};
    if (world->parts[step].undo_row == UNDO_NONE) {
        then(&way, ev);
    }
    ev.kind = CHECK_REPLY;
    then(&way, ev);
    add_way(list, way);
}

static void add_answered(const struct check *check, const struct world *world,
                         struct heal_list *list, uint8_t step, struct heal_way before)
{
    if (world->saga.steps[step].state == SAGA_STEP_CALLED) {
        add_answered_call(check, world, list, step, before);
    } else {
        add_answered_undo(world, list, step, before);
    }
}

static void add_step(const struct check *check, const struct world *world, struct heal_list *list,
                     uint8_t step)
{
    const struct saga_step_run *run = &world->saga.steps[step];
    bool call = run->state == SAGA_STEP_CALLED;
    struct check_event timer = {
        .kind = CHECK_TIMER, .step = SAGA_STEP_ALL, .due_mask = UINT32_C(1) << step};
    struct check_event durable = {
        .kind = CHECK_DURABLE, .step = step, .op = call ? SAGA_OP_CALL : SAGA_OP_UNDO};
    struct check_event by_hand = {
        .kind = CHECK_ACT, .act = SAGA_ACT_RESOLVE, .step = step, .truth = true};
    bool out = call ? may_answer(world, step) : world->parts[step].undo_sent;
    switch ((enum saga_wait)run->wait) {
    case SAGA_WAIT_NONE:
        break;
    case SAGA_WAIT_DURABLE:
        add_way(list, (struct heal_way){.events = {durable}, .count = 1});
        add_answered(check, world, list, step, (struct heal_way){.count = 0});
        break;
    case SAGA_WAIT_REPLY:
        if (with(check, SAGA_CHECK_TIMEOUT)) {
            add_way(list, (struct heal_way){.events = {timer}, .count = 1});
        }
        if (out) {
            add_answered(check, world, list, step, (struct heal_way){.count = 0});
        }
        break;
    case SAGA_WAIT_CHILD:
        add_answered(check, world, list, step, (struct heal_way){.count = 0});
        break;
    case SAGA_WAIT_RETRY:
        if (call && is_retriable(check, step) && world->parts[step].call_row == CALL_REFUSED) {
            add_way(list, (struct heal_way){.events = {by_hand}, .count = 1});
        } else {
            add_answered(check, world, list, step,
                         (struct heal_way){.events = {timer}, .count = 1});
        }
        break;
    }
}

void list_heals(const struct check *check, const struct world *world, struct heal_list *list)
{
    list->count = 0;
    const struct saga *saga = &world->saga;
    struct check_event ev = {.kind = CHECK_START, .step = SAGA_STEP_ALL};
    if (saga_ended(saga)) {
        return;
    }
    if (saga->state == SAGA_STATE_NONE) {
        add_way(list, (struct heal_way){.events = {ev}, .count = 1});
        return;
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        add_step(check, world, list, i);
    }
    if (saga->state == SAGA_STATE_PARKED) {
        ev.kind = CHECK_ACT;
        ev.act = SAGA_ACT_RETRY;
        add_way(list, (struct heal_way){.events = {ev}, .count = 1});
    }
    if (world->paused) {
        ev.kind = CHECK_RESUME;
        add_way(list, (struct heal_way){.events = {ev}, .count = 1});
    }
    if (with(check, SAGA_CHECK_DEADLINE)) {
        ev.kind = CHECK_TIMER;
        ev.deadline = true;
        add_way(list, (struct heal_way){.events = {ev}, .count = 1});
    }
}
