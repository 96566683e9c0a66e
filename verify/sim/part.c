/* Participants: one process for each service, with the kit's real dispatch, barrier, record intake
 * and effects (services/kit); its worker's thread and doors are mirrored in part_turn.c. The
 * database is SQLite in memory: what was committed survives the process, what was not is gone. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_RESTART = 0x7001 };

static const int64_t retention_ms = INT64_C(7) * 24 * 3600 * 1000;

static const char *const migrations[] = {
    /* The domain: what handlers have done. No constraint: a second effect must be seen. */
    "CREATE TABLE ledger (id INTEGER PRIMARY KEY, saga_id BLOB NOT NULL, step TEXT NOT NULL, "
    "op INTEGER NOT NULL)",
};

/* What a process knows when it begins: what its database holds. */
static enum saga_err load(struct sim_part *part, struct saga_err_detail *detail)
{
    struct saga_kit *kit = &part->kit;
    enum saga_err err = saga_barrier_open(kit->sql, &kit->barrier);
    kit->position_count = 0;
    if (err == SAGA_ERR_OK) {
        err = saga_kit_positions_load(kit, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_kit_cursor_load(kit, detail);
    }
    for (int32_t i = 0; i < SIM_PARTITIONS && part->commands != NULL; i++) {
        int64_t next = saga_kit_position_find(kit, part->commands->name, i);
        part->positions[i] = next < 0 ? 0 : next;
    }
    return err;
}

enum saga_err sim_part_open(struct sim_world *world, size_t number, struct saga_err_detail *detail)
{
    struct sim_part *part = &world->parts[number];
    const struct saga_service *service = world->view.sim->services[number];
    part->world = world;
    part->process.index = (uint32_t)number;
    part->app.name = service->name;
    struct saga_kit *kit = &part->kit;
    kit->app = &part->app;
    kit->service_name = service->name;
    kit->command_topic = service->command_topic;
    kit->reply_topic = service->reply_topic;
    kit->retention_ms = retention_ms;
    part->relay.kind = SIM_RELAY_EFFECTS;
    part->relay.owner = part;
    part->relay.world = world;
    part->commands =
        service->command_topic[0] == '\0' ? NULL : sim_topic(world, service->command_topic);
    part->replies = service->reply_topic[0] == '\0' ? NULL : sim_topic(world, service->reply_topic);
    if (pthread_mutex_init(&kit->positions_lock, NULL) != 0) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a participant");
    }
    enum saga_err err = sim_part_methods(part);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_open(":memory:", SAGA_SQL_READ_WRITE, &kit->sql, detail);
    }
    if (err == SAGA_ERR_OK) {
        kit->sql_relay = kit->sql; /* one connection: turns and relays never overlap here */
        err = saga_sql_migrate(kit->sql, migrations, sizeof migrations / sizeof migrations[0],
                               detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_barrier_migrate(kit->sql, detail);
    }
    struct saga_sql_stmt *stmt = NULL;
    if (err == SAGA_ERR_OK) { /* call.c counts on it */
        err = saga_sql_prepare(kit->sql, SAGA_KIT_SQL_NOTHING, &stmt, detail);
    }
    return err;
}

void sim_part_close(struct sim_part *part)
{
    struct saga_kit *kit = &part->kit;
    if (part->world == NULL) {
        return; /* never opened */
    }
    saga_barrier_close(kit->barrier);
    saga_sql_close(kit->sql);
    saga_arena_fini(&kit->turn.arena);
    saga_arena_fini(&kit->relay_arena);
    saga_buf_fini(&kit->turn.scratch);
    free(kit->methods);
    for (size_t i = 0; i < part->queue_count; i++) {
        saga_buf_fini(&part->queue[i].replies);
    }
    free(part->queue);
    free(part->deeds);
    sim_relay_fini(&part->relay);
    (void)pthread_mutex_destroy(&kit->positions_lock);
}

void sim_part_begin(struct sim_part *part)
{
    struct sim_world *world = part->world;
    struct saga_err_detail detail = {{0}};
    if (part->process.state != SIM_DOWN) {
        return;
    }
    part->process.state = SIM_UP;
    part->process.life = ++world->lives;
    part->turn_planned = false;
    part->chores_us = part->poll_us = part->busy_us = 0;
    if (load(part, &detail) != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "participant %" PRIu32 " does not come up: %s",
                    part->process.index, detail.text);
        return;
    }
    struct saga_kit_now now = {.unix_ms = sim_clock_ms(world, &part->process),
                               .mono_us = world->view.now_us};
    saga_kit_ages_begin(&part->kit.ages, now);
    sim_say(world, "participant %" PRIu32 " (%s) serves", part->process.index,
            part->kit.service_name);
    sim_relay_init(&part->relay, &part->process, part->kit.cursor);
    sim_relay_wake(&part->relay);
    if (part->commands != NULL) {
        sim_part_wants_poll(part, 1000);
    }
    sim_part_wants_chores(part, SAGA_KIT_PRUNE_INTERVAL_US);
}

/* Pre: no transaction is open, or it is to be lost. */
void sim_part_die(struct sim_part *part, const char *why)
{
    struct sim_world *world = part->world;
    SAGA_ASSERT(part->process.state != SIM_DOWN);
    sim_say(world, "participant %" PRIu32 " ends: %s", part->process.index, why);
    saga_sql_rollback(part->kit.sql);
    saga_barrier_close(part->kit.barrier);
    part->kit.barrier = NULL;
    for (size_t i = 0; i < part->queue_count; i++) {
        if (part->queue[i].message != NULL) {
            sim_net_break(world, part->queue[i].message);
        }
        saga_buf_fini(&part->queue[i].replies);
    }
    part->queue_count = 0;
    part->process.state = SIM_DOWN;
    part->process.life = 0;
    int64_t delay_us = sim_length_us(world, SALT_RESTART, sim_mix(part->process.index, part->turns),
                                     world->view.swarm.participant_restart_ms_max * 1000);
    sim_at(world, delay_us, (struct sim_event){.kind = SIM_PART_BEGIN, .data = part});
}
