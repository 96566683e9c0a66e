/* The network between orchestrators and participants: whole messages that are late, lost, doubled,
 * overtaken, and links that are cut. */
#include <inttypes.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_LATENCY = 0x4001, SALT_DELAY, SALT_BREAK, SALT_DOUBLE };

enum { LATENCY_US_MIN = 40, LATENCY_US_RANGE = 3000 };

int64_t sim_latency_us(const struct sim_world *world, uint64_t identity)
{
    return LATENCY_US_MIN + (int64_t)sim_draw(world, SALT_LATENCY, identity, LATENCY_US_RANGE);
}

/* Nobody answers: the sender hears so when the connection breaks, or when its time is over. */
static void no_reply(struct sim_world *world, const struct sim_message *message)
{
    struct sim_message *end = sim_take(world, sizeof *end);
    *end = *message;
    end->outcome = SIM_NO_REPLY;
    bool breaks = sim_draw(world, SALT_BREAK, message->identity, 2) == 0;
    int64_t after_us = breaks ? sim_latency_us(world, message->identity + 1) : message->timeout_us;
    sim_at(world, after_us, (struct sim_event){.kind = SIM_ANSWER_ARRIVES, .data = end});
}

static void deliver(struct sim_world *world, struct sim_message *message, int64_t delay_us)
{
    sim_at(world, delay_us, (struct sim_event){.kind = SIM_REQUEST_ARRIVES, .data = message});
}

void sim_net_send(struct sim_world *world, struct sim_message *message)
{
    const struct sim_part *part = &world->parts[message->participant];
    uint64_t identity = message->identity;
    int64_t latency_us = sim_latency_us(world, identity);
    int64_t delay_max = world->view.swarm.nng_delay_ms_max * 1000;
    if (part->cut_out ||
        sim_fault(world, SAGA_SIM_REQUEST_LOST, identity, "%zu commands to participant %u",
                  message->count, (unsigned)message->participant)) {
        no_reply(world, message);
        return;
    }
    if (sim_fault(world, SAGA_SIM_REQUEST_DELAYED, identity, "%zu commands to participant %u",
                  message->count, (unsigned)message->participant)) {
        latency_us += sim_length_us(world, SALT_DELAY, identity, delay_max);
    }
    deliver(world, message, latency_us);
    if (sim_fault(world, SAGA_SIM_REQUEST_DOUBLED, identity, "%zu commands to participant %u",
                  message->count, (unsigned)message->participant)) {
        struct sim_message *copy = sim_take(world, sizeof *copy);
        *copy = *message;
        copy->copy++;
        copy->identity = sim_mix(identity, copy->copy);
        deliver(world, copy, latency_us + sim_length_us(world, SALT_DOUBLE, identity, delay_max));
    }
}

void sim_net_break(struct sim_world *world, const struct sim_message *message)
{
    no_reply(world, message);
}

void sim_net_answer(struct sim_world *world, const struct sim_message *message,
                    struct saga_bytes bytes, int64_t slow_us)
{
    const struct sim_part *part = &world->parts[message->participant];
    uint64_t identity = sim_mix(message->identity, 0xa05);
    int64_t latency_us = slow_us + sim_latency_us(world, identity);
    int64_t delay_max = world->view.swarm.nng_delay_ms_max * 1000;
    if (part->cut_back ||
        sim_fault(world, SAGA_SIM_REPLY_LOST, identity, "%zu replies of participant %u",
                  message->count, (unsigned)message->participant)) {
        no_reply(world, message);
        return;
    }
    struct sim_message *answer = sim_take(world, sizeof *answer);
    *answer = *message;
    answer->outcome = SIM_REPLIED;
    answer->answer = sim_keep(world, bytes);
    if (sim_fault(world, SAGA_SIM_REPLY_DELAYED, identity, "%zu replies of participant %u",
                  message->count, (unsigned)message->participant)) {
        latency_us += sim_length_us(world, SALT_DELAY, identity, delay_max);
    }
    sim_at(world, latency_us, (struct sim_event){.kind = SIM_ANSWER_ARRIVES, .data = answer});
    if (sim_fault(world, SAGA_SIM_REPLY_DOUBLED, identity, "%zu replies of participant %u",
                  message->count, (unsigned)message->participant)) {
        sim_at(world, latency_us + sim_length_us(world, SALT_DOUBLE, identity, delay_max),
               (struct sim_event){.kind = SIM_ANSWER_ARRIVES, .data = answer});
    }
}

/* ---- Arriving ---- */

static void request_arrives(struct sim_world *world, struct sim_message *message)
{
    struct sim_part *part = &world->parts[message->participant];
    if (part->process.state == SIM_DOWN) {
        no_reply(world, message);
        return;
    }
    sim_part_put(part, (struct sim_entry){.message = message});
}

/* A second answer to one request never reaches a loop by NNG; here it does: the engine must ignore
 * it. The place that the request took is free after the first. */
static void answer_arrives(struct sim_world *world, struct sim_message *message)
{
    struct sim_orch *orch = message->orch;
    if (orch->process.life != message->life) {
        return; /* whoever asked is gone */
    }
    if (!*message->over) {
        *message->over = true;
        struct sim_pending *pending = &orch->pending[message->participant];
        SAGA_ASSERT(pending->outstanding > 0);
        pending->outstanding--;
    } else if (message->outcome == SIM_NO_REPLY) {
        return;
    }
    struct sim_input *input = sim_take(world, sizeof *input);
    input->kind = SIM_IN_ANSWER;
    input->message = message;
    input->identity = sim_mix(message->identity, 0xa0e);
    sim_orch_put(orch, input);
}

static void ask_arrives(struct sim_world *world, struct sim_ask *ask)
{
    if (world->orch == NULL) {
        return; /* it will ask again */
    }
    struct sim_input *input = sim_take(world, sizeof *input);
    input->kind = SIM_IN_ASK;
    input->ask = ask;
    input->identity = sim_mix(ask->saga == NULL ? 0 : ask->saga->name, 0xa5c + ask->tries);
    sim_orch_put(world->orch, input);
}

void sim_net_arrives(struct sim_world *world, struct sim_event *ev)
{
    if (ev->kind == SIM_REQUEST_ARRIVES) {
        request_arrives(world, ev->data);
    } else if (ev->kind == SIM_ANSWER_ARRIVES) {
        answer_arrives(world, ev->data);
    } else {
        ask_arrives(world, ev->data);
    }
}

/* A link comes back. */
void sim_cut_end(struct sim_world *world, struct sim_part *part, uint64_t number)
{
    if (part->cut_number == number && (part->cut_out || part->cut_back)) {
        part->cut_out = part->cut_back = false;
        sim_say(world, "the link to participant %" PRIu32 " is whole", part->process.index);
    }
}
