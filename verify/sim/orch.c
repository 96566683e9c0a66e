/* The orchestrator's processes: how they begin, recover, hang and die. What sagad does at start and
 * end is mirrored from orchestrator/daemon/open.c: open the store, take the lease, make the
 * definitions known, recover page by page, then serve. The definitions are in the database from the
 * start (a daemon would write the same rows again). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/store/sqlite/store_sqlite.h"
#include "verify/sim/world.h"

enum {
    SALT_RESTART = 0x1001,
    SALT_PAUSE,
    SALT_LOSS,
    SALT_SUCCESSOR,
    SALT_RUNNING,
    SALT_CHECKPOINT,
    SALT_OPENING,
    SALT_PAGE,
    SALT_PAGES
};

/* ---- The end ---- */

static void free_process(struct sim_orch *orch)
{
    saga_runtime_free(orch->runtime);
    orch->runtime = NULL;
    if (orch->inner.ops != NULL) {
        orch->inner.ops->close(orch->inner.store);
    }
    orch->inner = (struct saga_store_port){0};
    orch->process.state = SIM_DOWN;
    orch->process.life = 0;
    sim_book_clear(orch);
    if (orch->world->orch == orch) {
        orch->world->orch = NULL;
    }
}

static void lose_power(struct sim_world *world, uint64_t identity)
{
    uint64_t prng = sim_mix(world->view.seed, identity);
    bool torn = sim_fault(world, SAGA_SIM_TORN_WRITE, identity, "after %" PRIu64 " commits",
                          world->view.result->commits);
    struct saga_vfs_loss loss = {
        .prng = &prng,
        .lost_percent = (unsigned)sim_draw(world, SALT_LOSS, identity, 101),
        .torn_percent = torn ? 50 : 0,
    };
    saga_vfs_crash(world->disk, &loss);
    for (size_t i = 0; i < SIM_ORCHS_MAX; i++) {
        if (world->orchs[i].process.state != SIM_DOWN) {
            sim_say(world, "orchestrator %zu is without power", i);
            free_process(&world->orchs[i]);
        }
    }
}

void sim_orch_die(struct sim_orch *orch, bool power)
{
    struct sim_world *world = orch->world;
    SAGA_ASSERT(orch->process.state != SIM_DOWN);
    sim_say(world, "orchestrator %" PRIu32 " ends", orch->process.index);
    world->view.result->crashes++;
    uint64_t identity = sim_mix(orch->epoch, world->view.result->crashes);
    if (power && sim_fault(world, SAGA_SIM_POWER_LOSS, identity, "orchestrator of epoch %" PRIu64,
                           orch->epoch)) {
        lose_power(world, identity);
        return;
    }
    saga_vfs_kill(world->disk, orch->vfs_process);
    free_process(orch);
}

void sim_orch_fini(struct sim_orch *orch)
{
    if (orch->process.state != SIM_DOWN) {
        free_process(orch);
    }
    for (size_t i = 0; i < SAGA_PARTICIPANTS_MAX; i++) {
        free(orch->pending[i].commands);
    }
    free(orch->answers);
    free(orch->changes);
    free(orch->positions);
    saga_buf_fini(&orch->events);
    sim_relay_fini(&orch->audit);
    sim_relay_fini(&orch->outbox);
}

/* ---- Hanging ---- */

void sim_orch_hang(struct sim_orch *orch, uint64_t identity)
{
    struct sim_world *world = orch->world;
    int64_t length_us =
        sim_length_us(world, SALT_PAUSE, identity, world->view.swarm.pause_ms_max * 1000);
    orch->process.state = SIM_HUNG;
    orch->process.wake_us = world->view.now_us + length_us;
    sim_say(world, "orchestrator %" PRIu32 " hangs for %" PRId64 " ms", orch->process.index,
            length_us / 1000);
    /* What was asked of it waits; and there is nobody who would wake it when nothing is. */
    sim_orch_wants_turn(orch);
}

void sim_orch_plan(struct sim_world *world, int64_t delay_us, bool successor)
{
    if (!world->orch_planned && (successor || world->orch == NULL)) {
        world->orch_planned = true;
        sim_at(world, delay_us,
               (struct sim_event){.kind = SIM_ORCH_BEGIN, .number = successor ? 1 : 0});
    }
}

/* After a crash somebody starts it again. */
void sim_orch_restart(struct sim_world *world)
{
    uint64_t identity = world->view.result->crashes;
    int64_t max_us =
        world->view.healing ? 100 * 1000 : world->view.swarm.crash_restart_ms_max * 1000;
    sim_orch_plan(world, sim_length_us(world, SALT_RESTART, identity, max_us), false);
}

/* ---- The beginning ---- */

static struct sim_orch *free_slot(struct sim_world *world)
{
    struct sim_orch *oldest = NULL;
    for (size_t i = 0; i < SIM_ORCHS_MAX; i++) {
        struct sim_orch *orch = &world->orchs[i];
        if (orch->process.state == SIM_DOWN) {
            return orch;
        }
        if (oldest == NULL || orch->process.life < oldest->process.life) {
            oldest = orch;
        }
    }
    sim_orch_die(oldest, false);
    return oldest;
}

static void reset(struct sim_world *world, struct sim_orch *orch)
{
    size_t index = (size_t)(orch - world->orchs);
    orch->world = world;
    orch->vfs_process = (unsigned)index;
    orch->process = (struct sim_process){.state = SIM_UP,
                                         .life = ++world->lives,
                                         .index = (uint32_t)index,
                                         .orch = true,
                                         .skew_ms = world->orch_skew_ms};
    orch->epoch = orch->io_identity = orch->transactions = 0;
    orch->io_life = sim_mix(sim_mix(world->epoch, world->failed_starts), SALT_OPENING);
    orch->io_event = orch->committing = false;
    orch->io_count = orch->stop_after = 0;
    orch->lost = orch->stopped = orch->dead = orch->hanging = orch->taking = false;
    orch->serving = false;
    orch->cut = SIM_CUT_NONE;
    orch->first = NULL;
    orch->tail = &orch->first;
    orch->input_count = 0;
    orch->turn_us = orch->busy_us = orch->poll_us = 0;
    orch->answer_count = 0;
    for (size_t i = 0; i < SAGA_PARTICIPANTS_MAX; i++) {
        orch->pending[i].count = 0;
        orch->pending[i].outstanding = 0;
    }
    sim_book_clear(orch);
}

/* Sagas that recovery loads in one turn; 0: as many as sagad does. */
static size_t page_max(const struct sim_world *world)
{
    uint64_t drawn = sim_draw(world, SALT_PAGES, 0, 16);
    return drawn < 8 ? 1 + (size_t)drawn : 0;
}

static enum saga_err recover(struct sim_orch *orch, struct saga_err_detail *detail)
{
    struct sim_world *world = orch->world;
    bool more = true;
    /* With many pages the chance of each is less, that it comes up at last. */
    size_t small = page_max(world);
    uint64_t pages = small == 0 ? 1 : 1 + world->view.saga_total / (4 * small);
    enum saga_err err = SAGA_ERR_OK;
    for (uint64_t page = 0; more && err == SAGA_ERR_OK; page++) {
        uint64_t identity = sim_mix(orch->epoch, page);
        orch->io_identity = sim_mix(identity, SALT_PAGE); /* of what it reads */
        orch->io_count = 0;
        if (sim_draw(world, SALT_PAGES, identity, pages) == 0 &&
            sim_fault(world, SAGA_SIM_CRASH_IN_RECOVERY, identity,
                      "epoch %" PRIu64 " page %" PRIu64, orch->epoch, page)) {
            orch->dead = true;
            return SAGA_ERR_OK;
        }
        err =
            saga_runtime_recover(orch->runtime, sim_clock_ms(world, &orch->process), &more, detail);
    }
    return err;
}

static enum saga_err make_runtime(struct sim_orch *orch, struct saga_err_detail *detail)
{
    struct sim_world *world = orch->world;
    uint64_t running = sim_draw(world, SALT_RUNNING, 0, 4); /* in one seed of four it is tight */
    struct saga_runtime_config config = {
        .store = {.ops = &orch->ops, .store = orch->inner.store},
        .transport = sim_orch_transport(orch),
        .client = sim_orch_client(orch),
        .codec = saga_codec_port(),
        .owner = "simulated",
        .seed = sim_mix(world->view.seed, orch->process.life),
        /* In half of the seeds recovery, and what goes on after a pause, takes many turns. */
        .recover_page_max = page_max(world),
        .running_count_max = running == 0 ? 1 + world->view.saga_count / 3 : 0,
        .cursor_delay_ms = 200,
    };
    enum saga_err err = saga_runtime_new(&config, &orch->runtime, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    for (size_t i = 0; i < world->view.sim->version_count && err == SAGA_ERR_OK; i++) {
        err = saga_runtime_add_version(orch->runtime, &world->view.sim->versions[i], true);
    }
    return err == SAGA_ERR_OK ? recover(orch, detail) : err;
}

/* Where relays and consumers go on. */
static void open_roads(struct sim_orch *orch)
{
    orch->serving = true;
    struct sim_world *world = orch->world;
    const struct saga_store_ops *ops = orch->inner.ops;
    size_t count = world->reply_topic_count * SIM_PARTITIONS;
    size_t capacity = orch->position_capacity;
    orch->positions = sim_grow(orch->positions, &capacity, count + 1, sizeof *orch->positions);
    orch->position_capacity = capacity;
    for (size_t i = 0; i < count; i++) {
        int64_t offset =
            ops->offset(orch->inner.store, world->reply_topics[i / SIM_PARTITIONS]->name,
                        (int32_t)(i % SIM_PARTITIONS));
        orch->positions[i] = offset < 0 ? 0 : offset;
    }
    orch->audit.kind = SIM_RELAY_AUDIT;
    orch->outbox.kind = SIM_RELAY_OUTBOX;
    orch->audit.owner = orch->outbox.owner = orch;
    orch->audit.world = orch->outbox.world = world;
    sim_relay_init(&orch->audit, &orch->process, ops->cursor(orch->inner.store, "audit"));
    sim_relay_init(&orch->outbox, &orch->process, ops->cursor(orch->inner.store, "outbox"));
    sim_relay_wake(&orch->audit);
    sim_relay_wake(&orch->outbox);
    sim_orch_wants_poll(orch, 1000);
}

/* Opens the store. Its disk may fail or the process die meanwhile. */
static enum saga_err open_store(struct sim_orch *orch, struct saga_err_detail *detail)
{
    struct sim_world *world = orch->world;
    orch->io_identity = orch->io_life;
    if (sim_fault(world, SAGA_SIM_CRASH_IN_RECOVERY, orch->io_life,
                  "while the store is opened, after epoch %" PRIu64, world->epoch)) {
        orch->stop_after = 1 + (uint32_t)sim_draw(world, SALT_OPENING, orch->io_life, 40);
    }
    orch->committing = true;
    enum saga_err err = saga_store_sqlite_open_on(saga_vfs_name(world->disk, orch->vfs_process),
                                                  "sagad.db", &orch->inner, detail);
    if (err == SAGA_ERR_OK) {
        /* Logs so short that checkpoints come, and are hit; how short, the seed decides. */
        err = saga_store_sqlite_checkpoint_at(
            &orch->inner, 16U << sim_draw(world, SALT_CHECKPOINT, 0, 7), detail);
    }
    orch->committing = false;
    orch->stop_after = 0;
    orch->io_identity = 0; /* what the judge is told is read without faults */
    return err;
}

void sim_orch_begin(struct sim_world *world, bool successor)
{
    world->orch_planned = false;
    struct sim_orch *orch = free_slot(world);
    reset(world, orch);
    sim_say(world, "orchestrator %" PRIu32 " is started%s", orch->process.index,
            successor ? " as a successor" : "");
    struct saga_err_detail detail = {{0}};
    sim_orch_enter(orch);
    enum saga_err err = open_store(orch, &detail);
    if (err == SAGA_ERR_OK && !orch->dead) {
        sim_orch_wrap(orch);
        sim_tell_log(orch);
        orch->io_identity = sim_mix(orch->io_life, 1);
    }
    if (err == SAGA_ERR_OK && !orch->dead) {
        err = make_runtime(orch, &detail);
    }
    sim_orch_leave(orch);
    if (err != SAGA_ERR_OK || orch->dead) {
        sim_say(world, "orchestrator %" PRIu32 " does not come up: %s", orch->process.index,
                err == SAGA_ERR_OK ? "it died" : detail.text);
        if (world->view.healing || ++world->failed_starts > SIM_FAILED_STARTS_MAX) {
            sim_violate(world, "S1", "no orchestrator comes up: %s", detail.text);
        }
        if (orch->process.state != SIM_DOWN) {
            sim_orch_die(orch, orch->dead);
        }
        sim_orch_plan(world, 1000 * 1000, successor);
        return;
    }
    world->failed_starts = 0;
    world->view.result->takeovers += successor ? 1 : 0;
    world->orch = orch;
    sim_say(world, "orchestrator %" PRIu32 " serves: epoch %" PRIu64 ", %zu sagas",
            orch->process.index, orch->epoch, saga_runtime_live_count(orch->runtime));
    open_roads(orch);
    sim_orch_flush(orch);
    sim_orch_wants_turn(orch);
}
