/* Those who start sagas, and operators. A starter asks until it is answered, as orderd's outbox
 * does: with the same key and input. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_REPEAT = 0x9001, SALT_OTHER, SALT_STEP, SALT_ACT, SALT_LEFT };
enum {
    LATE_US = 2 * 1000 * 1000,    /* so long an answer is waited for */
    AGAIN_US = 500 * 1000,        /* after a refusal */
    REPEAT_US = 20 * 1000 * 1000, /* a start comes again within this */
    ACT_US = 60 * 1000 * 1000,    /* an act on a saga comes within this after its start */
    LOOK_US = 2 * 1000 * 1000,    /* after healing: between looks for what is parked */
};

static uint64_t ask_identity(const struct sim_ask *ask)
{
    uint64_t kind = ask->start ? (ask->other ? 3 : ask->repeated ? 2 : 1) : 16 + (uint64_t)ask->act;
    uint64_t whose = ask->saga == NULL ? (uint64_t)ask->number : ask->saga->name;
    return sim_mix(sim_mix(whose, kind), ask->tries);
}

static const char *name(const struct sim_ask *ask)
{
    if (ask->saga == NULL) {
        return ask->other ? ask->version->name : "the definition";
    }
    return ask->saga->key;
}

/* What an operator does to a saga, a step or the definition. */
static const char *does(enum saga_act what)
{
    switch (what) {
    case SAGA_ACT_RETRY:
        return "retries";
    case SAGA_ACT_CANCEL:
        return "cancels";
    case SAGA_ACT_SKIP:
        return "skips";
    case SAGA_ACT_COMPENSATE:
        return "turns back";
    case SAGA_ACT_RESOLVE:
        return "resolves";
    case SAGA_ACT_PAUSE:
        return "pauses";
    case SAGA_ACT_RESUME:
        return "resumes";
    case SAGA_ACT_APPLY:
        return "applies";
    case SAGA_ACT_REMOVE:
        return "removes";
    }
    return "does something to";
}

/* ---- Starts ---- */

static struct sim_ask *new_start(struct sim_world *world, struct sim_saga *saga,
                                 struct saga_bytes input)
{
    struct sim_ask *ask = sim_take(world, sizeof *ask);
    ask->saga = saga;
    ask->start = true;
    ask->input = input;
    ask->step = ask->who = ask->why = "";
    world->waiting++;
    return ask;
}

static struct saga_bytes make_input(struct sim_world *world, uint64_t seed)
{
    saga_buf_clear(&world->scratch);
    SAGA_ASSERT(saga_workload_input(world->view.sim->decl, seed, &world->scratch) == SAGA_ERR_OK);
    return sim_keep(world, saga_buf_view(&world->scratch));
}

/* What people will do to a saga at some time, if it is possible then. */
static void plan_acts(struct sim_world *world, struct sim_saga *saga, int64_t at_us)
{
    static const struct {
        enum saga_sim_fault kind;
        enum saga_act act;
    } rows[] = {
        {SAGA_SIM_ACT_CANCEL, SAGA_ACT_CANCEL},
        {SAGA_SIM_ACT_RETRY, SAGA_ACT_RETRY},
        {SAGA_SIM_ACT_SKIP, SAGA_ACT_SKIP},
        {SAGA_SIM_ACT_RESOLVE, SAGA_ACT_RESOLVE},
        {SAGA_SIM_ACT_COMPENSATE, SAGA_ACT_COMPENSATE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (sim_fault(world, rows[i].kind, saga->name, "%s", saga->key)) {
            struct sim_ask *ask = sim_take(world, sizeof *ask);
            ask->saga = saga;
            ask->act = rows[i].act;
            int64_t after_us = sim_length_us(world, SALT_ACT + i, saga->name, ACT_US);
            sim_at(world, at_us + after_us, (struct sim_event){.kind = SIM_OPERATOR, .data = ask});
        }
    }
}

void sim_clients_begin(struct sim_world *world)
{
    /* All of them come while faults are on. */
    int64_t every_us = world->view.swarm.start_every_ms * 1000;
    for (uint32_t i = 0; i < world->view.saga_count; i++) {
        char key[SIM_KEY_SIZE];
        (void)snprintf(key, sizeof key, "saga-%" PRIu32, i);
        struct sim_saga *saga = sim_saga_new(world, key);
        saga->version = world->view.sim->version;
        saga->input = make_input(world, sim_mix(world->view.seed, i));
        struct sim_ask *ask = new_start(world, saga, saga->input);
        ask->other_input = make_input(world, sim_mix(world->view.seed, i + 0x100000));
        int64_t at_us = every_us * i % (world->view.safety_us / 2);
        sim_at(world, at_us, (struct sim_event){.kind = SIM_CLIENT_SENDS, .data = ask});
        if (sim_fault(world, SAGA_SIM_START_REPEATED, saga->name, "%s", saga->key)) {
            struct sim_ask *again = new_start(world, saga, saga->input);
            again->repeated = true;
            int64_t after_us = (int64_t)sim_draw(world, SALT_REPEAT, saga->name, REPEAT_US);
            sim_at(world, at_us + after_us,
                   (struct sim_event){.kind = SIM_CLIENT_SENDS, .data = again});
        }
        plan_acts(world, saga, at_us);
    }
}

/* ---- Asking and hearing ---- */

void sim_client_sends(struct sim_world *world, struct sim_ask *ask)
{
    ask->tries++;
    uint64_t identity = ask_identity(ask);
    sim_at(world, LATE_US,
           (struct sim_event){.kind = SIM_CLIENT_LATE, .data = ask, .number = ask->tries});
    sim_tell_asked(world, ask);
    if (sim_fault(world, SAGA_SIM_REQUEST_LOST, identity, "a client's, about %s", name(ask))) {
        return;
    }
    sim_at(world, sim_latency_us(world, identity),
           (struct sim_event){.kind = SIM_START_ARRIVES, .data = ask});
}

void sim_client_late(struct sim_world *world, struct sim_ask *ask, uint64_t tries)
{
    if (ask->heard || ask->tries != tries) {
        return;
    }
    if (ask->start || ask->sure) {
        sim_client_sends(world, ask);
    } else {
        ask->heard = true; /* people give up */
    }
}

/* An answer leaves the orchestrator. */
void sim_client_answer(struct sim_orch *orch, struct sim_given *given)
{
    struct sim_world *world = orch->world;
    const struct sim_ask *ask = given->ask;
    sim_say(world, "%s %s is answered: %s%s%s%s",
            ask->start ? "the start of" : "what an operator asked about", name(ask),
            saga_code_name((uint32_t)given->answer.code), given->reason[0] == '\0' ? "" : " ",
            given->reason, given->answer.existing ? ", it was there already" : "");
    sim_fold(world, sim_mix(ask_identity(ask), (uint64_t)given->answer.code));
    sim_tell_answered(world, ask, &given->answer);
    uint64_t identity = sim_mix(ask_identity(ask), 0xc11);
    if (sim_fault(world, SAGA_SIM_REPLY_LOST, identity, "a client's, about %s", name(ask))) {
        return;
    }
    sim_at(world, sim_latency_us(world, identity),
           (struct sim_event){.kind = SIM_CLIENT_HEARS, .data = given});
}

/* The same key with another input must be refused, whenever it comes. */
static void maybe_other(struct sim_world *world, const struct sim_ask *ask)
{
    if (!ask->other && !ask->repeated &&
        sim_fault(world, SAGA_SIM_START_OTHER, ask->saga->name, "%s", ask->saga->key)) {
        struct sim_ask *other = new_start(world, ask->saga, ask->other_input);
        other->other = true;
        sim_at(world, (int64_t)sim_draw(world, SALT_OTHER, ask->saga->name, REPEAT_US),
               (struct sim_event){.kind = SIM_CLIENT_SENDS, .data = other});
    }
}

void sim_client_hears(struct sim_world *world, struct sim_given *given)
{
    struct sim_ask *ask = given->ask;
    if (ask->heard) {
        return;
    }
    bool again = given->answer.code == SAGA_CODE_UNAVAILABLE ||
                 given->answer.code == SAGA_CODE_RESOURCE_EXHAUSTED;
    if ((ask->start || ask->sure) && again) {
        ask->tries++; /* so that the time-out of the last try is none of this one */
        sim_at(world, AGAIN_US, (struct sim_event){.kind = SIM_CLIENT_SENDS, .data = ask});
        return;
    }
    ask->heard = true;
    if (ask->start) {
        SAGA_ASSERT(world->waiting > 0);
        world->waiting--;
        maybe_other(world, ask);
    }
}

/* ---- Operators ---- */

/* Tells whether an act fits a step now. People say that something has happened only when it has. */
static bool fits(const struct sim_world *world, const struct sim_ask *ask, uint32_t step)
{
    const struct saga *state = &ask->saga->durable;
    const char *text = ask->saga->version->step_names[step];
    uint8_t is = state->steps[step].state;
    if (ask->act == SAGA_ACT_SKIP) {
        return is == SAGA_STEP_WAITING || is == SAGA_STEP_CALLED;
    }
    bool undoing = is == SAGA_STEP_UNDOING;
    return (undoing || is == SAGA_STEP_CALLED) &&
           saga_judge_effect_done(world->view.judge, state->id, text,
                                  undoing ? SAGA_OP_UNDO : SAGA_OP_CALL);
}

/* Finds what an act is about. Returns false when there is nothing to do. */
static bool aim(struct sim_world *world, struct sim_ask *ask)
{
    const struct sim_saga *saga = ask->saga;
    uint32_t count = saga->durable.step_count;
    uint64_t first = sim_draw(world, SALT_STEP, saga->name, 64);
    ask->target = saga->durable.id;
    ask->step = "";
    if (ask->act == SAGA_ACT_CANCEL || ask->act == SAGA_ACT_RETRY ||
        ask->act == SAGA_ACT_COMPENSATE) {
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t step = (uint32_t)((first + i) % count);
        if (fits(world, ask, step)) {
            ask->step = saga->version->step_names[step];
            return true;
        }
    }
    return false;
}

static void act(struct sim_world *world, struct sim_ask *ask)
{
    char why[64];
    ask->number = ++world->acts;
    (void)snprintf(why, sizeof why, "reason %" PRId64, ask->number);
    ask->who = "somebody";
    ask->why = (const char *)sim_keep(world, saga_bytes_text(why)).data;
    bool step = ask->step[0] != '\0';
    sim_say(world, "an operator %s %s%s%s%s", does(ask->act), step ? "step " : "", ask->step,
            step ? " of " : "", name(ask));
    sim_client_sends(world, ask);
}

void sim_operator(struct sim_world *world, struct sim_ask *ask)
{
    if (ask->saga == NULL ||
        (ask->saga->durable_there && ask->saga->ended_at_us == 0 && aim(world, ask))) {
        act(world, ask);
    }
}

/* A child that is parked is sometimes left so: it is its parent that is turned back. */
static bool turn_parent(struct sim_world *world, struct sim_saga *child)
{
    struct sim_saga *parent = child->parent;
    if (parent == NULL || child->parent_cancelled ||
        sim_draw(world, SALT_LEFT, child->name, 2) != 0) {
        return false;
    }
    child->parent_cancelled = true; /* once: it may be too late for that */
    struct sim_ask *ask = sim_take(world, sizeof *ask);
    ask->saga = parent;
    ask->act = parent->durable.state == SAGA_STATE_PARKED ? SAGA_ACT_COMPENSATE : SAGA_ACT_CANCEL;
    sim_operator(world, ask);
    return true;
}

/* After healing: what is parked is retried. */
void sim_operators(struct sim_world *world)
{
    for (size_t i = 0; i < world->view.saga_total; i++) {
        struct sim_saga *saga = world->view.sagas[i];
        if (saga->durable_there && saga->durable.state == SAGA_STATE_PARKED &&
            !turn_parent(world, saga)) {
            struct sim_ask *ask = sim_take(world, sizeof *ask);
            ask->saga = saga;
            ask->act = SAGA_ACT_RETRY;
            sim_operator(world, ask);
        }
    }
    sim_at(world, LOOK_US, (struct sim_event){.kind = SIM_OPERATORS});
}

/* Pauses a definition or lets it go on. */
void sim_hold(struct sim_world *world, const struct saga_version *version, enum saga_act what)
{
    struct sim_ask *ask = sim_take(world, sizeof *ask);
    ask->act = what;
    ask->version = version;
    ask->other = version != world->view.sim->version;
    ask->step = "";
    ask->sure = what == SAGA_ACT_RESUME;
    act(world, ask);
}
