/* Commands from a turn to the network and their answers back, batched for each participant: the
 * rules of orchestrator/daemon/transport.c, whose threads and sockets cannot run here. */
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum {
    UNSENT_MARGIN_MS = 100, /* as in transport.c */
    MESSAGE_GRACE_MS = 1000,
};

void sim_orch_send(struct sim_orch *orch, const struct saga_outgoing *outgoing,
                   struct saga_bytes element)
{
    SAGA_ASSERT(outgoing->participant < orch->world->part_count);
    struct sim_pending *pending = &orch->pending[outgoing->participant];
    pending->commands = sim_grow(pending->commands, &pending->capacity, pending->count + 1,
                                 sizeof *pending->commands);
    pending->commands[pending->count++] =
        (struct sim_command){.outgoing = *outgoing, .element = sim_keep(orch->world, element)};
}

static struct sim_message *new_message(struct sim_orch *orch, uint16_t participant,
                                       const struct sim_command *commands, size_t count)
{
    struct sim_world *world = orch->world;
    struct sim_message *message = sim_take(world, sizeof *message);
    message->orch = orch;
    message->life = orch->process.life;
    message->participant = participant;
    message->count = count;
    message->outgoing = sim_take(world, count * sizeof *message->outgoing);
    message->over = sim_take(world, sizeof *message->over);
    for (size_t i = 0; i < count; i++) {
        message->outgoing[i] = commands[i].outgoing;
    }
    const struct saga_outgoing *first = &message->outgoing[0];
    message->identity =
        sim_command_identity(world, first->saga_id, first->step, first->op, first->attempt);
    return message;
}

/* Says of commands that they could not leave; the loop hears of it in a later turn. */
static void not_sent(struct sim_orch *orch, uint16_t participant,
                     const struct sim_command *commands, size_t count)
{
    struct sim_message *message = new_message(orch, participant, commands, count);
    message->outcome = SIM_NOT_SENT;
    struct sim_input *input = sim_take(orch->world, sizeof *input);
    input->kind = SIM_IN_ANSWER;
    input->message = message;
    input->identity = message->identity;
    sim_orch_put(orch, input);
}

static void send_batch(struct sim_orch *orch, uint16_t participant,
                       const struct sim_command *commands, size_t count)
{
    struct sim_world *world = orch->world;
    struct sim_message *message = new_message(orch, participant, commands, count);
    const struct sim_process *peer = &world->parts[participant].process;
    if (peer->state == SIM_DOWN || sim_fault(world, SAGA_SIM_REQUEST_REFUSED, message->identity,
                                             "%zu commands do not leave", count)) {
        not_sent(orch, participant, commands, count);
        return;
    }
    struct saga_buf *bytes = &world->scratch;
    saga_buf_clear(bytes);
    int64_t latest = 0;
    for (size_t i = 0; i < count; i++) {
        SAGA_ASSERT(saga_buf_append(bytes, commands[i].element) == SAGA_ERR_OK);
        int64_t deadline = commands[i].outgoing.deadline_unix_ms;
        latest = deadline > latest ? deadline : latest;
    }
    int64_t left_ms = latest - sim_clock_ms(world, &orch->process);
    message->timeout_us = ((left_ms > 0 ? left_ms : 0) + MESSAGE_GRACE_MS) * 1000;
    message->request = sim_keep(world, saga_buf_view(bytes));
    sim_tell_sent(world, message->request, orch->epoch);
    orch->pending[participant].outstanding++;
    sim_net_send(world, message);
}

/* What waited until its attempt's end is given back as not sent. */
static void give_back(struct sim_orch *orch, uint16_t participant, int64_t until_unix_ms)
{
    struct sim_pending *pending = &orch->pending[participant];
    size_t kept = 0;
    for (size_t i = 0; i < pending->count; i++) {
        const struct sim_command command = pending->commands[i];
        if (command.outgoing.deadline_unix_ms <= until_unix_ms) {
            not_sent(orch, participant, &command, 1);
        } else {
            pending->commands[kept++] = command;
        }
    }
    pending->count = kept;
}

static size_t cut_batch(const struct sim_pending *pending, size_t from)
{
    size_t count = 0;
    size_t size = 0;
    while (from + count < pending->count && count < SAGA_BATCH_COUNT_MAX &&
           (count == 0 ||
            size + pending->commands[from + count].element.size <= SAGA_MESSAGE_SIZE_MAX)) {
        size += pending->commands[from + count].element.size;
        count++;
    }
    return count;
}

/* Sends what can leave. Dies in between when the turn is to be cut there. */
static void flush_participant(struct sim_orch *orch, uint16_t participant)
{
    struct sim_pending *pending = &orch->pending[participant];
    size_t done = 0;
    while (done < pending->count && pending->outstanding < SAGA_CLIENT_CONTEXTS) {
        if (orch->cut == SIM_CUT_BETWEEN && orch->cut_after-- == 0) {
            orch->dead = true;
            return;
        }
        size_t count = cut_batch(pending, done);
        send_batch(orch, participant, pending->commands + done, count);
        done += count;
    }
    pending->count -= done;
    memmove(pending->commands, pending->commands + done,
            pending->count * sizeof *pending->commands);
    give_back(orch, participant, sim_clock_ms(orch->world, &orch->process) + UNSENT_MARGIN_MS);
}

void sim_orch_flush(struct sim_orch *orch)
{
    for (size_t i = 0; i < orch->world->part_count && !orch->dead; i++) {
        if (orch->pending[i].count > 0) {
            flush_participant(orch, (uint16_t)i);
        }
    }
}

int64_t sim_orch_send_due(const struct sim_orch *orch)
{
    int64_t due = 0;
    for (size_t i = 0; i < orch->world->part_count; i++) {
        const struct sim_pending *pending = &orch->pending[i];
        for (size_t j = 0; j < pending->count; j++) {
            int64_t at = pending->commands[j].outgoing.deadline_unix_ms - UNSENT_MARGIN_MS;
            due = due == 0 || at < due ? at : due;
        }
    }
    return due;
}

/* ---- Answers ---- */

static struct saga_runtime_reply stand_in(const struct saga_outgoing *outgoing, enum saga_code code,
                                          const char *reason)
{
    return (struct saga_runtime_reply){
        .saga_id = outgoing->saga_id,
        .step = outgoing->step,
        .op = outgoing->op,
        .attempt = outgoing->attempt,
        .code = code,
        .reason = reason,
        .message = "",
    };
}

static void take_all(struct sim_orch *orch, const struct sim_message *message, enum saga_code code,
                     const char *reason, bool not_sent_at_all)
{
    for (size_t i = 0; i < message->count; i++) {
        struct saga_runtime_reply reply = stand_in(&message->outgoing[i], code, reason);
        reply.not_sent = not_sent_at_all;
        saga_runtime_reply(orch->runtime, &reply);
    }
}

static void take_one(struct sim_orch *orch, const struct saga_outgoing *outgoing,
                     const struct saga_reply *given)
{
    static const struct saga_id none;
    struct saga_runtime_reply reply =
        stand_in(outgoing, (enum saga_code)given->status.code, given->status.reason);
    reply.message = given->status.message;
    reply.retry_after_ms = given->status.retry_after_ms;
    reply.payload = given->payload;
    reply.replayed = given->replayed;
    reply.empty = given->empty;
    reply.step_name = given->step;
    bool anonymous = given->status.code != SAGA_CODE_OK && saga_id_equal(given->saga_id, none);
    if (!anonymous &&
        (!saga_id_equal(given->saga_id, outgoing->saga_id) || given->op != outgoing->op)) {
        reply = stand_in(outgoing, SAGA_CODE_INTERNAL, "BAD_REPLY");
    }
    saga_runtime_reply(orch->runtime, &reply);
}

void sim_orch_take_answer(struct sim_orch *orch, struct sim_message *message)
{
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    if (message->outcome == SIM_NOT_SENT) {
        take_all(orch, message, SAGA_CODE_UNAVAILABLE, "NOT_CONNECTED", true);
        return;
    }
    if (message->outcome == SIM_NO_REPLY) {
        take_all(orch, message, SAGA_CODE_UNKNOWN, "NO_REPLY", false);
        return;
    }
    enum saga_err err = saga_reply_batch_decode(message->answer, &orch->world->turn_arena, &replies,
                                                &count, &status);
    if (err != SAGA_ERR_OK) {
        take_all(orch, message, SAGA_CODE_INTERNAL, "BAD_REPLY", false);
    } else if (count == message->count) {
        for (size_t i = 0; i < count; i++) {
            take_one(orch, &message->outgoing[i], &replies[i]);
        }
    } else if (count == 1 && replies[0].status.code != SAGA_CODE_OK) {
        take_all(orch, message, (enum saga_code)replies[0].status.code, replies[0].status.reason,
                 false);
    } else {
        take_all(orch, message, SAGA_CODE_INTERNAL, "BAD_REPLY", false);
    }
}
