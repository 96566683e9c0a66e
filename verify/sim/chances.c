/* The swarm's knobs become chances of kinds of faults. */
#include "verify/sim/world.h"

static void chance(struct sim_world *world, enum saga_sim_fault kind, int64_t ppm)
{
    world->view.ppm[kind] = ppm < 0 ? 0 : ppm > 1000000 ? 1000000 : (uint32_t)ppm;
}

/* What happens every so many milliseconds in the mean, as a chance in each slot of a second. */
static int64_t by_time(int64_t every_ms)
{
    return every_ms == 0 ? 0 : every_ms <= 1000 ? 900000 : INT64_C(1000000000) / every_ms;
}

static void process_chances(struct sim_world *world)
{
    const struct saga_swarm *swarm = &world->view.swarm;
    /* They are rolled for each event of a turn, and there are many in one. */
    for (int kind = SAGA_SIM_CRASH_BEFORE_BEGIN; kind <= SAGA_SIM_CRASH_BEFORE_ANSWERS; kind++) {
        chance(world, (enum saga_sim_fault)kind, swarm->crash_ppm / 8);
    }
    chance(world, SAGA_SIM_CRASH_IDLE, swarm->crash_ppm * 4);
    chance(world, SAGA_SIM_CRASH_IN_RECOVERY, swarm->crash_ppm * 8);
    chance(world, SAGA_SIM_POWER_LOSS, swarm->crash_power_ppm);
    chance(world, SAGA_SIM_TORN_WRITE, swarm->store_torn_ppm);
    int64_t pauses = by_time(swarm->pause_every_ms);
    chance(world, SAGA_SIM_PAUSE, pauses / 2);
    chance(world, SAGA_SIM_ZOMBIE_IDLE, swarm->zombie_ppm);
    chance(world, SAGA_SIM_ZOMBIE_BEFORE_SENDS, pauses / 200);
    chance(world, SAGA_SIM_TAKEOVER, pauses / 10);
    chance(world, SAGA_SIM_DISK_EIO_WRITE, swarm->store_eio_ppm / 4);
    chance(world, SAGA_SIM_DISK_SYNC, swarm->store_eio_ppm * 8);
    chance(world, SAGA_SIM_DISK_FULL, swarm->store_full_ppm / 4);
    chance(world, SAGA_SIM_DISK_EIO_READ, swarm->store_read_ppm);
    chance(world, SAGA_SIM_DISK_SHORT_READ, swarm->store_read_ppm);
    chance(world, SAGA_SIM_PART_CRASH_BEFORE_COMMIT, swarm->participant_crash_ppm / 2);
    chance(world, SAGA_SIM_PART_CRASH_AFTER_COMMIT, swarm->participant_crash_ppm / 2);
    chance(world, SAGA_SIM_PART_CRASH_IDLE, swarm->participant_crash_ppm / 2);
    chance(world, SAGA_SIM_PART_STORE_BUSY, swarm->participant_crash_ppm / 2);
    chance(world, SAGA_SIM_PART_PAUSE,
           by_time(swarm->participant_pause_every_ms) / (int64_t)(world->part_count + 1));
}

static void road_chances(struct sim_world *world)
{
    const struct saga_swarm *swarm = &world->view.swarm;
    chance(world, SAGA_SIM_REQUEST_LOST, swarm->nng_lose_request_ppm);
    chance(world, SAGA_SIM_REQUEST_DOUBLED, swarm->nng_double_ppm);
    chance(world, SAGA_SIM_REQUEST_REFUSED, swarm->nng_refuse_ppm);
    chance(world, SAGA_SIM_REQUEST_DELAYED, swarm->nng_delay_ppm / 2);
    chance(world, SAGA_SIM_REPLY_LOST, swarm->nng_lose_reply_ppm);
    chance(world, SAGA_SIM_REPLY_DOUBLED, swarm->nng_double_ppm);
    chance(world, SAGA_SIM_REPLY_DELAYED, swarm->nng_delay_ppm / 2);
    int64_t cuts = by_time(swarm->partition_every_ms) / (int64_t)(world->part_count + 1);
    int64_t one_way = cuts / 1000 * swarm->partition_one_way_ppm / 1000;
    chance(world, SAGA_SIM_PARTITION, cuts - one_way);
    chance(world, SAGA_SIM_PARTITION_OUT, one_way / 2);
    chance(world, SAGA_SIM_PARTITION_BACK, one_way / 2);
    chance(world, SAGA_SIM_BROKER_DOWN, by_time(swarm->kafka_away_every_ms));
    chance(world, SAGA_SIM_RECORD_REFUSED, swarm->kafka_refuse_ppm / 2);
    chance(world, SAGA_SIM_ACK_LOST, swarm->kafka_refuse_ppm / 2);
    chance(world, SAGA_SIM_RECORD_DELAYED, swarm->kafka_delay_ppm);
    chance(world, SAGA_SIM_CONSUMER_REWIND, swarm->kafka_rewind_ppm * 4);
    int64_t jumps = by_time(swarm->clock_jump_every_ms) / (int64_t)(world->part_count + 1);
    chance(world, SAGA_SIM_CLOCK_FORTH, jumps / 2);
    chance(world, SAGA_SIM_CLOCK_BACK, jumps / 2);
    chance(world, SAGA_SIM_CLOCK_DAYS, jumps / 5);
}

void sim_chances(struct sim_world *world)
{
    const struct saga_swarm *swarm = &world->view.swarm;
    if (world->view.config->faults_off) {
        return;
    }
    process_chances(world);
    road_chances(world);
    chance(world, SAGA_SIM_START_REPEATED, swarm->start_again_ppm);
    chance(world, SAGA_SIM_START_OTHER, swarm->start_other_ppm);
    chance(world, SAGA_SIM_ACT_CANCEL, swarm->cancel_ppm);
    chance(world, SAGA_SIM_ACT_RETRY, swarm->act_ppm / 2);
    chance(world, SAGA_SIM_ACT_SKIP, swarm->act_ppm / 2);
    chance(world, SAGA_SIM_ACT_COMPENSATE, swarm->act_ppm / 2);
    chance(world, SAGA_SIM_ACT_RESOLVE, swarm->act_ppm / 2);
    chance(world, SAGA_SIM_ACT_PAUSE, by_time(swarm->hold_every_ms) / 2);
    /* Their dice are the workload's; what is left to decide is whether one is taken away. */
    for (int kind = SAGA_SIM_ANSWER_REJECT; kind <= SAGA_SIM_ANSWER_SLOW; kind++) {
        chance(world, (enum saga_sim_fault)kind, 1000000);
    }
}
