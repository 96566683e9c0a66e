/* One transition: what the world does, what the engine answers, what the world makes of that. */
#include <string.h>

#include "verify/check/internal.h"

enum { PATIENCE_MS = 1000000 };

void set_times(const struct check *check, struct world *world, const struct check_event *ev,
               int64_t later_ms)
{
    if (ev->kind != CHECK_TIMER) {
        return;
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        struct saga_step_run *run = &world->saga.steps[i];
        if (run->due_unix_ms != 0) {
            run->due_unix_ms = (ev->due_mask >> i & 1) != 0 ? world->now : world->now + later_ms;
        }
    }
    world->saga.deadline_unix_ms = ev->deadline ? world->now : world->now + later_ms;
}

/* Codes of one class; the twin takes the other. */
static const uint32_t codes[][2] = {
    [ANSWER_OK] = {SAGA_CODE_OK, SAGA_CODE_OK},
    [ANSWER_NO] = {SAGA_CODE_FAILED_PRECONDITION, SAGA_CODE_NOT_FOUND},
    [ANSWER_RETRY] = {SAGA_CODE_UNAVAILABLE, SAGA_CODE_RESOURCE_EXHAUSTED},
    [ANSWER_UNKNOWN] = {SAGA_CODE_INTERNAL, SAGA_CODE_CANCELLED},
    [ANSWER_PARK] = {SAGA_CODE_PERMISSION_DENIED, SAGA_CODE_DATA_LOSS},
    [ANSWER_REUSED] = {SAGA_CODE_INVALID_ARGUMENT, SAGA_CODE_INVALID_ARGUMENT},
    [ANSWER_UNSENT] = {SAGA_CODE_UNAVAILABLE, SAGA_CODE_UNAVAILABLE},
};

static uint32_t attempt_of(const struct world *world, const struct check_event *ev)
{
    const struct saga_step_run *run = &world->saga.steps[ev->step];
    uint32_t attempts = ev->op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    switch ((enum which)ev->which) {
    case WHICH_PRESENT:
        return attempts;
    case WHICH_FIRST:
        return 1;
    case WHICH_BEFORE:
        return attempts - 1;
    }
    return attempts;
}

/* Makes the engine's event of the world's; false when the engine does not see it. */
static bool to_engine(const struct world *world, const struct check_event *ev, bool twin,
                      struct saga_event *out)
{
    *out = (struct saga_event){
        .now_unix_ms = world->now,
        .step = ev->step,
        .op = (enum saga_op)ev->op,
        .when_mask = ev->when_mask,
        .paused = world->paused,
        .act = (enum saga_act)ev->act,
    };
    switch ((enum check_kind)ev->kind) {
    case CHECK_START:
    case CHECK_START_AGAIN:
        out->kind = SAGA_EVENT_START;
        out->seed = twin ? 12345 : 1;
        return true;
    case CHECK_REPLY:
        out->kind = SAGA_EVENT_REPLY;
        out->code = codes[ev->answer][twin ? 1 : 0];
        out->key_reused = ev->answer == ANSWER_REUSED;
        out->not_sent = ev->answer == ANSWER_UNSENT;
        out->retry_after_ms = twin && ev->answer == ANSWER_RETRY ? PATIENCE_MS : 0;
        out->attempt = attempt_of(world, ev);
        return true;
    case CHECK_TIMER:
        out->kind = SAGA_EVENT_TIMER;
        return true;
    case CHECK_DURABLE:
        out->kind = SAGA_EVENT_DURABLE;
        out->attempt = attempt_of(world, ev);
        return true;
    case CHECK_RECOVERED:
        out->kind = SAGA_EVENT_RECOVERED;
        return true;
    case CHECK_REVERSE:
        out->kind = SAGA_EVENT_REVERSE;
        return true;
    case CHECK_ACT:
        out->kind = SAGA_EVENT_OPERATOR;
        return true;
    case CHECK_RESUME:
        out->kind = SAGA_EVENT_OPERATOR;
        out->act = SAGA_ACT_RESUME;
        out->step = SAGA_STEP_ALL;
        return true;
    case CHECK_ARRIVE:
    case CHECK_PAUSE:
        break;
    }
    return false;
}

/* A command reaches its participant: B1-B4, B6. */
static void arrive(struct part *part, const struct check_event *ev)
{
    if (ev->op == SAGA_OP_UNDO) {
        if (part->undo_row == UNDO_NONE) {
            part->undo_row = part->call_row == CALL_DONE ? UNDO_DONE : UNDO_EMPTY;
        }
        return;
    }
    if (part->call_row == CALL_NONE && part->undo_row == UNDO_NONE) {
        part->call_row = ev->answer == ANSWER_OK ? CALL_DONE : CALL_REFUSED;
    }
    if (!part->old && part->present == PRESENT_MAYBE) {
        part->present = PRESENT_LEFT;
    }
}

/* What the event says of the world, before the engine hears of it. */
static void before_engine(struct world *world, const struct check_event *ev)
{
    struct part *part = ev->step < SAGA_STEPS_MAX ? &world->parts[ev->step] : NULL;
    switch ((enum check_kind)ev->kind) {
    case CHECK_ARRIVE:
        arrive(part, ev);
        break;
    case CHECK_REPLY:
        if (ev->answer == ANSWER_UNSENT && ev->which == WHICH_PRESENT && ev->op == SAGA_OP_CALL &&
            part->present == PRESENT_MAYBE) {
            part->present = PRESENT_NONE;
        }
        break;
    case CHECK_ACT:
        if (ev->act == SAGA_ACT_RESOLVE && ev->truth) {
            part->call_row = CALL_DONE; /* a person has done it by hand */
        } else if (ev->act == SAGA_ACT_COMPENSATE && ev->truth) {
            part->old = false; /* that it has not happened is true if nothing is on its way */
            part->present = PRESENT_NONE;
        }
        break;
    case CHECK_PAUSE:
        world->paused = true;
        break;
    case CHECK_RESUME:
        world->paused = false;
        break;
    case CHECK_RECOVERED:
        world->paused = world->paused && !ev->truth;
        break;
    case CHECK_START:
    case CHECK_START_AGAIN:
    case CHECK_TIMER:
    case CHECK_DURABLE:
    case CHECK_REVERSE:
        break;
    }
}

/* Writes every fact of a step in the one way in which it is written. */
static void settle(const struct check *check, struct world *world, uint8_t step)
{
    struct part *part = &world->parts[step];
    const struct saga_step_run *run = &world->saga.steps[step];
    bool awaited = run->state == SAGA_STEP_CALLED && run->wait != SAGA_WAIT_RETRY &&
                   run->wait != SAGA_WAIT_NONE;
    if (!awaited && part->present != PRESENT_NONE) {
        part->old = true;
        part->present = PRESENT_NONE;
    }
    if (!check->def.steps[step].has_call) {
        return;
    }
    part->old = part->old || (part->call_row != CALL_NONE && part->present == PRESENT_NONE);
    if (part->call_row == CALL_REFUSED && part->undo_row != UNDO_NONE) {
        part->call_row = CALL_NONE; /* both answer a call with no, and neither lets it through */
    }
}

static void after_engine(const struct check *check, struct world *world,
                         const struct saga_update *up)
{
    for (uint32_t i = 0; i < up->send_count; i++) {
        const struct saga_send *send = &up->sends[i];
        struct part *part = &world->parts[send->step];
        if (send->op == SAGA_OP_UNDO) {
            part->undo_sent = true;
        } else {
            part->old = part->old || part->present != PRESENT_NONE;
            part->present = send->via == SAGA_VIA_NNG ? PRESENT_MAYBE : PRESENT_LEFT;
        }
    }
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        settle(check, world, i);
    }
    world->paused = world->paused && !saga_ended(&world->saga);
}

/* The runtime looks the key up and does not come to the engine. */
static void ask(const struct check *check, struct world *world, const struct check_event *ev,
                const struct saga_event *engine_ev, struct saga_update *up)
{
    if (ev->kind != CHECK_START_AGAIN) {
        check->engine.step(&check->def, &world->saga, engine_ev, up);
    } else if (check->engine.start_again != NULL) {
        check->engine.start_again(&check->def, &world->saga, engine_ev, up);
    } else {
        up->verdict = ev->other_bytes ? SAGA_VERDICT_REFUSED : SAGA_VERDICT_IGNORED;
        up->refusal = "KEY_REUSED";
        up->next_due_unix_ms = saga_next_due(&check->def, &world->saga);
    }
}

static void clear(struct saga_update *up)
{
    up->verdict = SAGA_VERDICT_IGNORED;
    up->refusal = "";
    up->move_count = 0;
    up->send_count = 0;
    up->next_due_unix_ms = 0;
    up->merge_reply = false;
    up->cause_set = false;
    up->ended = false;
    up->parked = false;
    up->stalled = false;
}

void make_transition(const struct check *check, struct trial *trial)
{
    world_copy(check, &trial->to, &trial->from);
    before_engine(&trial->to, &trial->ev);
    clear(&trial->up);
    trial->asked = to_engine(&trial->to, &trial->ev, false, &trial->engine_ev);
    if (trial->asked) {
        ask(check, &trial->to, &trial->ev, &trial->engine_ev, &trial->up);
    }
    after_engine(check, &trial->to, &trial->up);
}

bool twin_agrees(const struct check *check, struct trial *trial, const uint32_t *key)
{
    if (!trial->asked || trial->ev.kind == CHECK_START_AGAIN) {
        return true;
    }
    uint32_t other[KEY_WORDS_MAX];
    struct saga_event engine_ev;
    world_copy(check, &trial->twin, &trial->from);
    world_vary(check, &trial->twin);
    set_times(check, &trial->twin, &trial->ev, LATER_TWIN_MS);
    before_engine(&trial->twin, &trial->ev);
    clear(&trial->twin_up);
    (void)to_engine(&trial->twin, &trial->ev, true, &engine_ev);
    check->engine.step(&check->def, &trial->twin.saga, &engine_ev, &trial->twin_up);
    after_engine(check, &trial->twin, &trial->twin_up);
    world_pack(check, &trial->twin, other);
    return trial->up.verdict == trial->twin_up.verdict &&
           memcmp(key, other, check->key_words * sizeof *key) == 0;
}
