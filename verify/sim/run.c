/* One world from its seed to its end. */
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

static int64_t disk_clock_ms(void *user)
{
    const struct sim_world *world = user;
    return SIM_EPOCH_MS + world->view.now_us / 1000;
}

static enum saga_err make_disk(struct sim_world *world, struct saga_err_detail *detail)
{
    struct saga_vfs_config config = {
        .seed = sim_mix(world->view.seed, 0xd15c),
        .now_unix_ms = disk_clock_ms,
        .fault = sim_disk_fault,
        .user = world,
    };
    enum saga_err err = saga_vfs_new(&config, &world->disk);
    if (err == SAGA_ERR_OK) {
        err = saga_vfs_image_put(world->disk, world->view.sim->store);
    }
    return err == SAGA_ERR_OK ? err : saga_err_set(detail, err, "a disk");
}

static enum saga_err make_parts(struct sim_world *world, struct saga_err_detail *detail)
{
    size_t count = world->view.sim->service_count;
    world->parts = calloc(count + 1, sizeof *world->parts);
    if (world->parts == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "participants");
    }
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        world->part_count = i + 1;
        err = sim_part_open(world, i, detail);
    }
    return err;
}

static void find_topics(struct sim_world *world)
{
    const struct saga_sim *sim = world->view.sim;
    world->audit_topic = sim_topic(world, "saga-audit");
    world->effects_topic = sim_topic(world, "saga-effects");
    for (size_t i = 0; i < sim->service_count; i++) {
        if (sim->services[i]->reply_topic[0] != '\0') {
            struct sim_topic *topic = sim_topic(world, sim->services[i]->reply_topic);
            bool there = false;
            for (size_t j = 0; j < world->reply_topic_count; j++) {
                there = there || world->reply_topics[j] == topic;
            }
            if (!there) {
                world->reply_topics[world->reply_topic_count++] = topic;
            }
        }
    }
}

static enum saga_err begin(struct sim_world *world, struct saga_err_detail *detail)
{
    const struct sim_view *view = &world->view;
    find_topics(world);
    enum saga_err err = make_disk(world, detail);
    if (err == SAGA_ERR_OK) {
        err = make_parts(world, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = sim_tell_new(world);
    }
    sim_chances(world);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    for (size_t i = 0; i < world->part_count; i++) {
        sim_part_begin(&world->parts[i]);
    }
    sim_at(world, 0, (struct sim_event){.kind = SIM_ORCH_BEGIN});
    world->orch_planned = true;
    sim_clients_begin(world);
    sim_at(world, 500 * 1000, (struct sim_event){.kind = SIM_SLOT});
    sim_at(world, view->safety_us, (struct sim_event){.kind = SIM_OPERATORS});
    sim_at(world, view->safety_us, (struct sim_event){.kind = SIM_HEAL});
    return SAGA_ERR_OK;
}

static void end(struct sim_world *world)
{
    saga_judge_free(world->view.judge);
    for (size_t i = 0; i < SIM_ORCHS_MAX && world->orchs[i].world != NULL; i++) {
        sim_orch_fini(&world->orchs[i]);
    }
    for (size_t i = 0; i < world->part_count; i++) {
        sim_part_close(&world->parts[i]);
    }
    free(world->parts);
    saga_vfs_free(world->disk);
    sim_topics_free(world);
    saga_arena_fini(&world->arena);
    saga_arena_fini(&world->turn_arena);
    saga_arena_fini(&world->tell_arena);
    saga_buf_fini(&world->scratch);
    free(world->heap);
    free(world->view.sagas);
    free(world->asked);
    free(world->ids);
    free(world->hits);
    free(world);
}

static void sum_up(const struct sim_world *world, struct saga_sim_result *result)
{
    result->trace_hash = world->hash;
    result->saga_count = world->view.saga_count;
    result->virtual_ms = world->view.now_us / 1000;
    for (size_t i = 0; i < world->view.saga_total; i++) {
        const struct sim_saga *saga = world->view.sagas[i];
        result->started += saga->durable_there ? 1 : 0;
        result->children += saga->durable_there && i >= world->view.saga_count ? 1 : 0;
        result->completed +=
            saga->durable_there && saga->durable.state == SAGA_STATE_COMPLETED ? 1 : 0;
        result->compensated +=
            saga->durable_there && saga->durable.state == SAGA_STATE_COMPENSATED ? 1 : 0;
    }
}

/* S1 once more, by counting: what has started has ended. */
static void count_ends(struct sim_world *world, const struct saga_sim_result *result)
{
    uint32_t ended = result->completed + result->compensated;
    if (!result->violated && result->started != ended) {
        sim_violate(world, "S1", "%u sagas have started, %u have ended", (unsigned)result->started,
                    (unsigned)ended);
    }
}

enum saga_err saga_sim_run(struct saga_sim *sim, const struct saga_sim_config *config,
                           struct saga_sim_result *result, struct saga_err_detail *detail)
{
    *result = (struct saga_sim_result){0};
    if (config->saga_count > SAGA_SIM_SAGAS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "at most %d sagas (SAGA_SIM_SAGAS_MAX)",
                            SAGA_SIM_SAGAS_MAX);
    }
    struct sim_world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a world");
    }
    struct sim_view *view = &world->view;
    view->sim = sim;
    view->config = config;
    view->seed = sim_mix(config->seed, 0x5a6a);
    view->result = result;
    view->saga_count = config->saga_count == 0 ? SAGA_SIM_SAGAS_DEFAULT : config->saga_count;
    int64_t safety_ms = config->safety_ms == 0 ? SAGA_SIM_SAFETY_MS_DEFAULT : config->safety_ms;
    view->safety_us = safety_ms * 1000;
    saga_swarm_draw(config->seed, &view->swarm);
    view->swarm_healed = view->swarm;
    saga_swarm_heal(&view->swarm_healed);
    enum saga_err err = begin(world, detail);
    if (err == SAGA_ERR_OK) {
        sim_run(world);
    }
    sum_up(world, result);
    if (err == SAGA_ERR_OK) {
        count_ends(world, result);
    }
    end(world);
    if (err != SAGA_ERR_OK) {
        saga_sim_result_fini(result);
    }
    return err;
}

void saga_sim_result_fini(struct saga_sim_result *result)
{
    free(result->fired);
    *result = (struct saga_sim_result){0};
}
