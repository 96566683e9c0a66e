/* A turn of the orchestrator's loop, as orchestrator/daemon/loop.c drives it: what came in goes to
 * the runtime; one commit; then sends and answers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_TURN = 0x3001, SALT_FAILED };

enum {
    IDLE_WAIT_US = 1000 * 1000, /* the loop looks at the clock at least so often */
    FAILED_US_MAX = 5 * 1000 * 1000,
};

/* ---- Ports ---- */

static void port_send(void *user, const struct saga_outgoing *outgoing, struct saga_bytes element)
{
    struct sim_orch *orch = user;
    if (!orch->dead) {
        sim_orch_send(orch, outgoing, element);
    }
}

static void port_flush(void *user)
{
    struct sim_orch *orch = user;
    if (orch->cut == SIM_CUT_HANG && !orch->dead) {
        orch->hanging = true; /* what is committed waits for it to wake */
    }
    if (!orch->dead && !orch->hanging) {
        sim_orch_flush(orch);
    }
}

static void port_committed(void *user, bool outbox, bool audit)
{
    struct sim_orch *orch = user;
    if (!orch->serving) {
        return; /* relays begin after recovery, and look by themselves then */
    }
    if (!orch->dead && outbox) {
        sim_relay_wake(&orch->outbox);
    }
    if (!orch->dead && audit) {
        sim_relay_wake(&orch->audit);
    }
}

struct saga_transport_port sim_orch_transport(struct sim_orch *orch)
{
    static const struct saga_transport_ops ops = {port_send, port_flush, port_committed};
    return (struct saga_transport_port){.ops = &ops, .transport = orch};
}

static void port_answer(void *user, void *ticket, const struct saga_answer *answer)
{
    struct sim_orch *orch = user;
    struct sim_ask *ask = ticket;
    if (orch->cut == SIM_CUT_ANSWERS) {
        orch->dead = true;
    }
    if (orch->dead) {
        return;
    }
    struct sim_given *given = sim_take(orch->world, sizeof *given);
    given->ask = ask;
    given->answer = *answer;
    (void)snprintf(given->reason, sizeof given->reason, "%s", answer->reason);
    given->answer.reason = given->reason;
    given->answer.message = "";
    if (orch->hanging) {
        orch->answers = sim_grow(orch->answers, &orch->answer_capacity, orch->answer_count + 1,
                                 sizeof(struct sim_given *));
        orch->answers[orch->answer_count++] = given;
    } else {
        sim_client_answer(orch, given);
    }
}

static void port_changed(void *user, struct saga_id id, enum saga_state state, uint64_t seq,
                         bool ended)
{
    (void)user;
    (void)id;
    (void)state;
    (void)seq;
    (void)ended;
}

struct saga_client_port sim_orch_client(struct sim_orch *orch)
{
    static const struct saga_client_ops ops = {port_answer, port_changed};
    return (struct saga_client_port){.ops = &ops, .client = orch};
}

/* ---- Inputs ---- */

void sim_orch_put(struct sim_orch *orch, struct sim_input *input)
{
    input->next = NULL;
    *orch->tail = input;
    orch->tail = &input->next;
    orch->input_count++;
    sim_orch_wants_turn(orch);
}

static void plan_turn(struct sim_orch *orch, int64_t at_us)
{
    int64_t now_us = orch->world->view.now_us;
    at_us = at_us < orch->busy_us ? orch->busy_us : at_us;
    at_us = at_us <= now_us ? now_us + 1 : at_us;
    if (orch->turn_us == 0 || at_us < orch->turn_us) {
        orch->turn_us = at_us;
        sim_at(orch->world, at_us - now_us,
               (struct sim_event){.kind = SIM_ORCH_TURN,
                                  .process = &orch->process,
                                  .data = orch,
                                  .number = (uint64_t)at_us});
    }
}

void sim_orch_wants_turn(struct sim_orch *orch)
{
    plan_turn(orch, orch->world->view.now_us + 20);
}

static void take_ask(struct sim_orch *orch, struct sim_ask *ask)
{
    if (ask->start) {
        struct saga_start start = {.definition = orch->world->view.sim->version->name,
                                   .key = ask->saga->key,
                                   .input = ask->input,
                                   .traceparent = "",
                                   .ticket = ask};
        saga_runtime_start(orch->runtime, &start);
        return;
    }
    if (ask->act == SAGA_ACT_PAUSE || ask->act == SAGA_ACT_RESUME) {
        struct saga_pause_act act = {.definition = ask->version->name,
                                     .act = ask->act,
                                     .who = ask->who,
                                     .why = ask->why,
                                     .ticket = ask};
        saga_runtime_pause(orch->runtime, &act);
        return;
    }
    struct saga_operate operate = {.saga_id = ask->target,
                                   .act = ask->act,
                                   .step_name = ask->step,
                                   .who = ask->who,
                                   .why = ask->why,
                                   .ticket = ask};
    saga_runtime_operate(orch->runtime, &operate);
}

/* As orchestrator/daemon/replies.c. */
static void take_reply(struct sim_orch *orch, const struct sim_input *input)
{
    struct sim_world *world = orch->world;
    struct saga_bytes value = input->topic->logs[input->partition].records[input->offset].value;
    struct saga_arena *arena = &world->turn_arena;
    struct saga_reply reply;
    struct saga_status status;
    enum saga_err err = saga_reply_decode(value, arena, &reply, &status);
    if (err != SAGA_ERR_OK || (reply.op != SAGA_OP_CALL && reply.op != SAGA_OP_UNDO)) {
        sim_violate(world, "SIM", "%s: a record that is no reply: %s", input->topic->name,
                    err == SAGA_ERR_OK ? "op" : status.message);
        return;
    }
    struct saga_runtime_reply given = {
        .saga_id = reply.saga_id,
        .step = SAGA_STEP_ALL,
        .step_name = reply.step,
        .op = reply.op,
        .attempt = reply.attempt,
        .code = reply.status.code,
        .reason = reply.status.reason,
        .message = reply.status.message,
        .retry_after_ms = reply.status.retry_after_ms,
        .payload = reply.payload,
        .replayed = reply.replayed,
        .empty = reply.empty,
        .topic = input->topic->name,
    };
    saga_runtime_reply(orch->runtime, &given);
    saga_runtime_offset(orch->runtime, input->topic->name, input->partition, input->offset + 1);
}

static void take_input(struct sim_orch *orch, const struct sim_input *input)
{
    switch (input->kind) {
    case SIM_IN_ASK:
        take_ask(orch, input->ask);
        break;
    case SIM_IN_ANSWER:
        sim_orch_take_answer(orch, input->message);
        break;
    case SIM_IN_REPLY:
        take_reply(orch, input);
        break;
    case SIM_IN_ADVANCED:
        for (size_t i = 0; i < input->durable_count; i++) {
            const struct sim_durable *row = &input->durable[i];
            saga_runtime_durable(orch->runtime, row->id, row->step, row->op, row->attempt);
        }
        saga_runtime_cursor(orch->runtime, input->relay, input->position);
        break;
    }
}

/* ---- The turn ---- */

static int64_t due_us(const struct sim_orch *orch)
{
    const struct sim_world *world = orch->world;
    int64_t due = saga_runtime_next_due(orch->runtime);
    int64_t send_due = sim_orch_send_due(orch);
    due = send_due != 0 && (due == 0 || send_due < due) ? send_due : due;
    if (due == 0) {
        return world->view.now_us + IDLE_WAIT_US;
    }
    int64_t wait_us = (due - sim_clock_ms(world, &orch->process)) * 1000;
    wait_us = wait_us > IDLE_WAIT_US ? IDLE_WAIT_US : wait_us;
    return world->view.now_us + (wait_us < 0 ? 0 : wait_us);
}

/* It was hanging after a commit: what it had begun goes on, however late. */
static void go_on(struct sim_orch *orch)
{
    orch->hanging = false;
    orch->cut = SIM_CUT_NONE;
    sim_orch_flush(orch);
    for (size_t i = 0; i < orch->answer_count; i++) {
        sim_client_answer(orch, orch->answers[i]);
    }
    orch->answer_count = 0;
}

static void turn_failed(struct sim_orch *orch, enum saga_err err, const char *text)
{
    struct sim_world *world = orch->world;
    if (orch->stopped) {
        return;
    }
    orch->stopped = true;
    sim_say(world, "orchestrator %" PRIu32 " has failed: %s: %s", orch->process.index,
            saga_err_name(err), text);
    if (world->view.healing && !orch->lost) {
        sim_violate(world, "SIM", "the store fails though all is well: %s", text);
    }
    int64_t delay_us = sim_length_us(world, SALT_FAILED, world->view.result->crashes,
                                     world->view.healing ? 1000 : FAILED_US_MAX);
    sim_at(world, delay_us,
           (struct sim_event){.kind = SIM_ORCH_END, .process = &orch->process, .data = orch});
}

static enum saga_err run_turn(struct sim_orch *orch, struct sim_input *inputs,
                              struct saga_err_detail *detail)
{
    struct sim_world *world = orch->world;
    saga_arena_clear(&world->turn_arena);
    orch->cut = SIM_CUT_NONE;
    orch->stop_after = 0;
    sim_orch_enter(orch);
    saga_runtime_turn_begin(orch->runtime, sim_clock_ms(world, &orch->process));
    for (const struct sim_input *input = inputs; input != NULL; input = input->next) {
        take_input(orch, input);
    }
    enum saga_err err = saga_runtime_turn_end(orch->runtime, false, detail);
    if (!orch->dead && !orch->hanging) {
        sim_orch_flush(orch); /* answers of the turn have made room for what waits */
    }
    sim_orch_leave(orch);
    return err;
}

void sim_orch_turn(struct sim_orch *orch, uint64_t number)
{
    struct sim_world *world = orch->world;
    if (number != (uint64_t)orch->turn_us) {
        return; /* another one was planned before it */
    }
    orch->turn_us = 0;
    if (orch->hanging) {
        go_on(orch);
    }
    struct sim_input *inputs = orch->first;
    orch->first = NULL;
    orch->tail = &orch->first;
    orch->input_count = 0;
    if (inputs != NULL && sim_fault(world, SAGA_SIM_CRASH_BEFORE_BEGIN, inputs->identity,
                                    "epoch %" PRIu64, orch->epoch)) {
        sim_orch_die(orch, true);
        sim_orch_restart(world);
        return;
    }
    struct saga_err_detail detail = {{0}};
    enum saga_err err = run_turn(orch, inputs, &detail);
    if (orch->dead) {
        sim_orch_die(orch, true);
        sim_orch_restart(world);
        return;
    }
    if (err != SAGA_ERR_OK) {
        turn_failed(orch, err, detail.text);
    }
    /* A turn that commits takes as long as its sync: meanwhile what comes gathers. */
    orch->busy_us = world->view.now_us + 300 +
                    (int64_t)sim_draw(world, SALT_TURN, world->view.result->commits, 3000);
    plan_turn(orch, orch->first != NULL ? world->view.now_us : due_us(orch));
    if (orch->hanging) {
        sim_orch_hang(orch, orch->cut_identity);
        sim_orch_plan(world, orch->process.wake_us - world->view.now_us - 1000, true);
    }
}
