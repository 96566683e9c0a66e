/* From an outbox to Kafka, as common/bus/kafka/relay.c does it with threads: rows in order, one
 * batch out at a time; the position moves when the batch is acknowledged; after a failure of the
 * producer everything behind the position is read and sent again. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_PRODUCE = 0x6001, SALT_ACK, SALT_AGAIN };
enum {
    LINGER_US = 20 * 1000,        /* audit events and effects gather */
    CURSOR_DELAY_US = 200 * 1000, /* as in services/kit/worker.c */
    FETCH_FAILED_US = 1000 * 1000,
};

void sim_relay_init(struct sim_relay *relay, struct sim_process *process, int64_t position)
{
    relay->process = process;
    relay->position = position;
    relay->busy = relay->again = false;
    relay->count = relay->durable_count = 0;
}

void sim_relay_fini(struct sim_relay *relay)
{
    free(relay->batch);
    free(relay->durable);
}

static void plan(struct sim_relay *relay, enum sim_kind kind, int64_t delay_us)
{
    relay->busy = true;
    sim_at(relay->world, delay_us,
           (struct sim_event){.kind = kind, .process = relay->process, .data = relay});
}

void sim_relay_wake(struct sim_relay *relay)
{
    if (relay->busy) {
        relay->again = true;
    } else {
        plan(relay, SIM_RELAY_LOOK, relay->kind == SIM_RELAY_OUTBOX ? 0 : LINGER_US);
    }
}

static uint64_t batch_identity(const struct sim_relay *relay)
{
    return sim_record_identity(relay->world, relay->batch[0].key, relay->batch[0].event_id);
}

static int64_t trip_us(const struct sim_relay *relay, uint64_t salt, uint64_t identity)
{
    return 1 + (int64_t)sim_draw(relay->world, salt, identity, SIM_KAFKA_US_MAX);
}

void sim_relay_look(struct sim_relay *relay)
{
    relay->busy = relay->again = false;
    relay->count = relay->durable_count = 0;
    if (!sim_relay_fetch(relay)) {
        plan(relay, SIM_RELAY_LOOK, FETCH_FAILED_US);
        return;
    }
    if (relay->count > 0) {
        plan(relay, SIM_RELAY_APPEND, trip_us(relay, SALT_PRODUCE, batch_identity(relay)));
    } else if (relay->again) {
        sim_relay_wake(relay);
    }
}

void sim_relay_append(struct sim_relay *relay)
{
    struct sim_world *world = relay->world;
    if (world->broker_down_us > world->view.now_us) {
        plan(relay, SIM_RELAY_APPEND, world->broker_down_us - world->view.now_us + 1000);
        return;
    }
    uint64_t identity = batch_identity(relay);
    if (sim_fault(world, SAGA_SIM_RECORD_REFUSED, identity, "%zu records from %s", relay->count,
                  relay->batch[0].event_id)) {
        plan(relay, SIM_RELAY_LOOK, 1000 * 1000);
        return;
    }
    for (size_t i = 0; i < relay->count; i++) {
        sim_topic_append(world, &relay->batch[i]);
    }
    if (sim_fault(world, SAGA_SIM_ACK_LOST, identity, "%zu records from %s", relay->count,
                  relay->batch[0].event_id)) {
        plan(relay, SIM_RELAY_LOOK,
             sim_length_us(world, SALT_AGAIN, identity,
                           world->view.swarm.kafka_delay_ms_max * 1000));
        return;
    }
    plan(relay, SIM_RELAY_ACK, trip_us(relay, SALT_ACK, identity));
}

static void tell_orch(struct sim_relay *relay)
{
    struct sim_world *world = relay->world;
    struct sim_orch *orch = relay->owner;
    struct sim_input *input = sim_take(world, sizeof *input);
    input->kind = SIM_IN_ADVANCED;
    input->identity = sim_mix(batch_identity(relay), 0xad5);
    input->relay = relay->kind == SIM_RELAY_AUDIT ? "audit" : "outbox";
    input->position = relay->position;
    input->durable_count = relay->durable_count;
    if (relay->durable_count > 0) {
        input->durable = sim_take(world, relay->durable_count * sizeof *input->durable);
        memcpy(input->durable, relay->durable, relay->durable_count * sizeof *input->durable);
    }
    sim_orch_put(orch, input);
}

void sim_relay_ack(struct sim_relay *relay)
{
    relay->position = relay->last;
    if (relay->kind == SIM_RELAY_EFFECTS) {
        struct sim_part *part = relay->owner;
        atomic_store(&part->kit.advanced, relay->position);
        sim_part_wants_chores(part, CURSOR_DELAY_US);
    } else {
        tell_orch(relay);
    }
    plan(relay, SIM_RELAY_LOOK, 0);
}

/* A reply that is in no outbox: produced once, lost when the process dies before. */
void sim_direct_append(struct sim_world *world, struct sim_process *process,
                       struct sim_produced *produced)
{
    if (world->broker_down_us > world->view.now_us) {
        sim_at(world, world->broker_down_us - world->view.now_us + 1000,
               (struct sim_event){.kind = SIM_DIRECT_APPEND, .process = process, .data = produced});
        return;
    }
    sim_topic_append(world, produced);
}
