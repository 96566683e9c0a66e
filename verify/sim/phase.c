/* Faults by time, healing, and the end. */
#include <inttypes.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_CUT = 0xa001, SALT_OUTAGE, SALT_JUMP, SALT_PAUSE, SALT_DAYS, SALT_HOLD, SALT_HELD };
enum { SLOT_US = 1000 * 1000, DAY_MS = 24 * 3600 * 1000, DAYS_US_MAX = 60 * 1000 * 1000 };

/* ---- Clocks ---- */

static void jump(struct sim_world *world, struct sim_process *process, int64_t by_ms)
{
    process->skew_ms += by_ms;
    sim_say(world, "the clock of %s %" PRIu32 " jumps by %" PRId64 " ms",
            process->orch ? "orchestrator" : "participant", process->index, by_ms);
    if (process->orch) {
        world->orch_skew_ms = process->skew_ms;
    }
}

static void clocks(struct sim_world *world, struct sim_process *process, uint64_t identity)
{
    int64_t max_ms = world->view.swarm.clock_jump_ms_max;
    if (process->days_ms != 0) {
        if (world->view.now_us >= process->days_until_us) {
            int64_t days_ms = process->days_ms;
            process->days_ms = 0;
            jump(world, process, -days_ms);
        }
        return;
    }
    if (sim_fault(world, SAGA_SIM_CLOCK_FORTH, identity, "process %" PRIu32, process->index)) {
        jump(world, process, sim_length_us(world, SALT_JUMP, identity, max_ms));
    }
    if (sim_fault(world, SAGA_SIM_CLOCK_BACK, identity, "process %" PRIu32, process->index)) {
        jump(world, process, -sim_length_us(world, SALT_JUMP, identity + 1, max_ms));
    }
    if (sim_fault(world, SAGA_SIM_CLOCK_DAYS, identity, "process %" PRIu32, process->index)) {
        process->days_ms = (1 + (int64_t)sim_draw(world, SALT_DAYS, identity, 10)) * DAY_MS;
        process->days_until_us =
            world->view.now_us + sim_length_us(world, SALT_DAYS, identity, DAYS_US_MAX);
        jump(world, process, process->days_ms);
    }
}

/* ---- One second ---- */

static void orch_slot(struct sim_world *world, uint64_t slot)
{
    struct sim_orch *orch = world->orch;
    uint64_t identity = sim_mix(slot, 0x0c4);
    if (orch == NULL || orch->process.state != SIM_UP) {
        return;
    }
    clocks(world, &orch->process, identity);
    if (sim_fault(world, SAGA_SIM_CRASH_IDLE, identity, "second %" PRIu64, slot)) {
        sim_orch_die(orch, true);
        sim_orch_restart(world);
        return;
    }
    if (sim_fault(world, SAGA_SIM_PAUSE, identity, "second %" PRIu64, slot)) {
        sim_orch_hang(orch, identity);
        int64_t half_us = (orch->process.wake_us - world->view.now_us) / 2;
        if (sim_fault(world, SAGA_SIM_ZOMBIE_IDLE, identity, "second %" PRIu64, slot)) {
            sim_orch_plan(world, half_us, true);
        }
        return;
    }
    if (sim_fault(world, SAGA_SIM_TAKEOVER, identity, "second %" PRIu64, slot)) {
        sim_orch_plan(world, 1000, true);
    }
}

static void cut(struct sim_world *world, struct sim_part *part, bool out, bool back,
                uint64_t identity)
{
    part->cut_out = part->cut_out || out;
    part->cut_back = part->cut_back || back;
    part->cut_number = identity;
    int64_t length_us =
        sim_length_us(world, SALT_CUT, identity, world->view.swarm.partition_ms_max * 1000);
    sim_at(world, length_us,
           (struct sim_event){.kind = SIM_CUT_ENDS, .data = part, .number = identity});
}

static void part_slot(struct sim_world *world, struct sim_part *part, uint64_t slot)
{
    uint32_t index = part->process.index;
    uint64_t identity = sim_mix(slot, 0x9a47 + index);
    if (sim_fault(world, SAGA_SIM_PARTITION, identity, "participant %" PRIu32, index)) {
        cut(world, part, true, true, identity);
    }
    if (sim_fault(world, SAGA_SIM_PARTITION_OUT, identity, "participant %" PRIu32, index)) {
        cut(world, part, true, false, identity);
    }
    if (sim_fault(world, SAGA_SIM_PARTITION_BACK, identity, "participant %" PRIu32, index)) {
        cut(world, part, false, true, identity);
    }
    if (part->process.state != SIM_UP) {
        return;
    }
    clocks(world, &part->process, identity);
    if (sim_fault(world, SAGA_SIM_PART_CRASH_IDLE, identity, "participant %" PRIu32, index)) {
        sim_part_die(part, "between turns");
        return;
    }
    if (sim_fault(world, SAGA_SIM_PART_PAUSE, identity, "participant %" PRIu32, index)) {
        part->process.state = SIM_HUNG;
        part->process.wake_us =
            world->view.now_us + sim_length_us(world, SALT_PAUSE, identity,
                                               world->view.swarm.participant_pause_ms_max * 1000);
    }
}

/* ---- The end ---- */

static bool part_rests(const struct sim_part *part)
{
    return part->process.state == SIM_UP && part->queue_count == 0 &&
           part->relay.position >= part->stored;
}

static bool all_ended(const struct sim_world *world)
{
    for (size_t i = 0; i < world->view.saga_total; i++) {
        const struct sim_saga *saga = world->view.sagas[i];
        bool wanted = i < world->view.saga_count || saga->durable_there;
        if (wanted && saga->ended_at_us == 0) {
            return false;
        }
    }
    return world->waiting == 0;
}

static bool all_rests(const struct sim_world *world)
{
    const struct sim_orch *orch = world->orch;
    if (orch == NULL || orch->process.state != SIM_UP || orch->stopped || orch->first != NULL ||
        orch->audit.position < world->logged || orch->outbox.busy) {
        return false;
    }
    for (size_t i = 0; i < world->part_count; i++) {
        if (!part_rests(&world->parts[i])) {
            return false;
        }
    }
    return true;
}

static const char *wait_text(uint8_t wait)
{
    switch ((enum saga_wait)wait) {
    case SAGA_WAIT_NONE:
        return "";
    case SAGA_WAIT_DURABLE:
        return "(outbox)";
    case SAGA_WAIT_REPLY:
        return "(reply)";
    case SAGA_WAIT_RETRY:
        return "(retry)";
    case SAGA_WAIT_CHILD:
        return "(child)";
    }
    return "(?)";
}

/* When the saga's clock would move it. */
static void due_text(const struct sim_world *world, const struct sim_saga *saga, char text[48])
{
    int64_t due_ms = 0;
    if (saga->durable_there) {
        due_ms = saga_next_due(&saga->version->def, &saga->durable);
    }
    int64_t in_ms = due_ms - SIM_EPOCH_MS - world->view.now_us / 1000;
    if (due_ms <= 0) {
        (void)snprintf(text, 48, "nothing is due");
    } else {
        (void)snprintf(text, 48, in_ms < 0 ? "due %" PRId64 " ms ago" : "due in %" PRId64 " ms",
                       in_ms < 0 ? -in_ms : in_ms);
    }
}

static void complain(struct sim_world *world)
{
    const struct sim_saga *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < world->view.saga_total; i++) {
        const struct sim_saga *saga = world->view.sagas[i];
        if (saga->ended_at_us == 0 && (i < world->view.saga_count || saga->durable_there)) {
            first = first == NULL ? saga : first;
            count++;
        }
    }
    if (first == NULL) {
        if (world->waiting > 0) {
            sim_violate(world, "S1",
                        "all sagas have ended, but %" PRIu32 " starts are not answered",
                        world->waiting);
        } else {
            sim_violate(world, "S1",
                        "all sagas have ended, but not all is published, or a process hangs");
        }
        return;
    }
    char steps[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < first->durable.step_count && at + 40 < sizeof steps; i++) {
        const struct saga_step_run *run = &first->durable.steps[i];
        at += (size_t)snprintf(
            steps + at, sizeof steps - at, " %s:%s%s", first->version->step_names[i],
            saga_step_state_name((enum saga_step_state)run->state), wait_text(run->wait));
    }
    char due[48];
    due_text(world, first, due);
    int64_t after_s = (world->view.now_us - world->view.safety_us) / 1000000;
    const char *is = first->durable_there ? saga_state_name((enum saga_state)first->durable.state)
                                          : "not started";
    sim_violate(world, "S1", "%zu saga%s not ended %" PRId64 " s after healing; %s is %s, %s%s%s",
                count, count == 1 ? " has" : "s have", after_s, first->key, is, due,
                steps[0] == '\0' ? "" : ":", steps);
}

static void heal_slot(struct sim_world *world)
{
    const struct saga_sim_config *config = world->view.config;
    int64_t bound_ms = config->heal_ms == 0 ? SAGA_SIM_HEAL_MS_DEFAULT : config->heal_ms;
    if (all_ended(world) && all_rests(world)) {
        sim_tell_end(world);
        world->over = true;
    } else if (world->view.now_us - world->view.safety_us > bound_ms * 1000) {
        complain(world);
    }
}

void sim_slot(struct sim_world *world, uint64_t slot)
{
    sim_at(world, SLOT_US, (struct sim_event){.kind = SIM_SLOT, .number = slot + 1});
    if (world->view.healing) {
        heal_slot(world);
        return;
    }
    orch_slot(world, slot);
    for (size_t i = 0; i < world->part_count; i++) {
        part_slot(world, &world->parts[i], slot);
    }
    uint64_t identity = sim_mix(slot, 0xb40);
    if (sim_fault(world, SAGA_SIM_ACT_PAUSE, identity, "second %" PRIu64, slot)) {
        int64_t length_us =
            sim_length_us(world, SALT_HOLD, identity, world->view.swarm.hold_ms_max * 1000);
        const struct saga_sim *sim = world->view.sim;
        const struct saga_version *version =
            &sim->versions[sim_draw(world, SALT_HELD, identity, sim->version_count)];
        sim_hold(world, version, SAGA_ACT_PAUSE);
        struct sim_ask *ask = sim_take(world, sizeof *ask);
        ask->act = SAGA_ACT_RESUME;
        ask->version = version;
        ask->other = version != sim->version;
        ask->step = "";
        sim_at(world, length_us, (struct sim_event){.kind = SIM_OPERATOR, .data = ask});
    }
    if (sim_fault(world, SAGA_SIM_BROKER_DOWN, identity, "second %" PRIu64, slot)) {
        int64_t length_us =
            sim_length_us(world, SALT_OUTAGE, identity, world->view.swarm.kafka_away_ms_max * 1000);
        int64_t until_us = world->view.now_us + length_us;
        world->broker_down_us = until_us > world->broker_down_us ? until_us : world->broker_down_us;
    }
}

/* All faults stop: links are whole, clocks right, the broker is there, who has lost the lease is
 * stopped, everybody else is started. What hangs wakes in its own time. */
void sim_heal(struct sim_world *world)
{
    sim_say(world, "---- healed ----");
    world->view.healing = true;
    world->broker_down_us = 0;
    world->orch_skew_ms = 0;
    for (size_t i = 0; i < world->part_count; i++) {
        struct sim_part *part = &world->parts[i];
        part->cut_out = part->cut_back = false;
        part->process.skew_ms = part->process.days_ms = 0;
        if (part->process.state == SIM_DOWN) {
            sim_at(world, 0, (struct sim_event){.kind = SIM_PART_BEGIN, .data = part});
        }
    }
    for (size_t i = 0; i < SIM_ORCHS_MAX; i++) {
        struct sim_orch *orch = &world->orchs[i];
        orch->process.skew_ms = orch->process.days_ms = 0;
        if (orch->process.state != SIM_DOWN && orch != world->orch) {
            sim_orch_die(orch, false);
        }
    }
    sim_orch_plan(world, 0, false);
    for (size_t i = 0; i < world->view.sim->version_count; i++) {
        sim_hold(world, &world->view.sim->versions[i], SAGA_ACT_RESUME);
    }
}
