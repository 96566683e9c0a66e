/* Which saga is which, and what the orchestrators' store holds durably: the world's own account,
 * made of what went through the store port, told to the judge when it becomes durable. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/codec/codec.h"
#include "verify/sim/world.h"

/* ---- Sagas ---- */

static size_t slot_of(const struct sim_world *world, struct saga_id id)
{
    uint64_t hash;
    memcpy(&hash, id.b + 8, sizeof hash);
    size_t at = (size_t)sim_mix(hash, 0) & (world->id_capacity - 1);
    while (world->ids[at].saga != 0 && !saga_id_equal(world->ids[at].id, id)) {
        at = (at + 1) & (world->id_capacity - 1);
    }
    return at;
}

struct sim_saga *sim_find(struct sim_world *world, struct saga_id id)
{
    if (world->id_capacity == 0) {
        return NULL;
    }
    const struct sim_id_slot *slot = &world->ids[slot_of(world, id)];
    return slot->saga == 0 ? NULL : world->view.sagas[slot->saga - 1];
}

static void grow_ids(struct sim_world *world)
{
    struct sim_id_slot *before = world->ids;
    size_t count = world->id_capacity;
    world->id_capacity = count == 0 ? 1024 : count * 2;
    world->ids = calloc(world->id_capacity, sizeof *world->ids);
    SAGA_ASSERT(world->ids != NULL);
    for (size_t i = 0; i < count; i++) {
        if (before[i].saga != 0) {
            world->ids[slot_of(world, before[i].id)] = before[i];
        }
    }
    free(before);
}

void sim_remember(struct sim_world *world, struct saga_id id, struct sim_saga *saga)
{
    if (2 * (world->id_count + 1) > world->id_capacity) {
        grow_ids(world);
    }
    struct sim_id_slot *slot = &world->ids[slot_of(world, id)];
    if (slot->saga == 0) {
        world->id_count++;
        *slot = (struct sim_id_slot){.id = id, .saga = saga->index + 1};
    }
}

struct sim_saga *sim_saga_new(struct sim_world *world, const char *key)
{
    struct sim_view *view = &world->view;
    view->sagas = sim_grow(view->sagas, &world->saga_capacity, view->saga_total + 1,
                           sizeof(struct sim_saga *));
    world->asked =
        sim_grow(world->asked, &world->asked_capacity, view->saga_total + 1, sizeof *world->asked);
    struct sim_saga *saga = sim_take(world, sizeof *saga);
    saga->index = (uint32_t)view->saga_total;
    saga->name = saga->index;
    (void)snprintf(saga->key, sizeof saga->key, "%s", key);
    view->sagas[view->saga_total++] = saga;
    return saga;
}

uint64_t sim_name_of(struct sim_world *world, struct saga_id id)
{
    const struct sim_saga *saga = sim_find(world, id);
    return saga == NULL ? SIM_NOBODY : saga->name;
}

uint64_t sim_command_identity(struct sim_world *world, struct saga_id id, uint8_t step,
                              enum saga_op op, uint32_t attempt)
{
    uint64_t what = ((uint64_t)step << 40) ^ ((uint64_t)op << 32) ^ attempt;
    return sim_mix(sim_name_of(world, id), what);
}

/* Finds the saga of a row by its key: a workload's saga, or a child that is new to the book. */
static struct sim_saga *find_row(struct sim_world *world, const struct saga_row *row)
{
    struct sim_saga *saga = sim_find(world, row->id);
    if (saga != NULL) {
        return saga;
    }
    for (size_t i = 0; i < world->view.saga_total; i++) {
        if (strcmp(world->view.sagas[i]->key, row->start_key) == 0) {
            return world->view.sagas[i];
        }
    }
    return NULL;
}

struct sim_saga *sim_book_row(struct sim_world *world, const struct saga_row *row)
{
    struct sim_saga *saga = find_row(world, row);
    if (saga == NULL) { /* a child: its key names its parent, whose id is by chance */
        saga = sim_saga_new(world, row->start_key);
        static const char prefix[] = "child:";
        struct saga_id parent;
        char text[SAGA_ID_TEXT_SIZE] = "";
        const char *at = row->start_key;
        at += strncmp(at, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;
        (void)snprintf(text, sizeof text, "%s", at);
        saga->name = sim_text_mix(row->start_key);
        if (saga_id_parse(text, &parent) == SAGA_ERR_OK) {
            saga->parent = sim_find(world, parent);
            saga->name = sim_mix(sim_name_of(world, parent), sim_text_mix(at + strlen(text)));
        }
    }
    if (saga->version == NULL) {
        const struct saga_sim *sim = world->view.sim;
        for (size_t i = 0; i < sim->version_count; i++) {
            if (memcmp(sim->versions[i].hash, row->definition_hash, SAGA_DIGEST_SIZE) == 0) {
                saga->version = &sim->versions[i];
            }
        }
        if (saga->version == NULL) {
            sim_violate(world, "SIM", "%s: a row of an unknown definition", row->start_key);
        }
    }
    sim_remember(world, row->id, saga);
    return saga;
}

/* ---- Transactions ---- */

void sim_book_clear(struct sim_orch *orch)
{
    orch->change_count = 0;
    saga_buf_clear(&orch->events);
}

static void take_state(struct sim_world *world, struct sim_saga *saga, const struct saga *state)
{
    saga->durable = *state;
    saga->durable_there = true;
    if (saga->ended_at_us == 0 && saga_ended(state)) {
        saga->ended_at_us = world->view.now_us > 0 ? world->view.now_us : 1;
        sim_say(world, "%s ends %s", saga->key, saga_state_name((enum saga_state)state->state));
    }
}

void sim_book_event(struct sim_orch *orch, struct saga_bytes event)
{
    uint32_t size = (uint32_t)event.size;
    struct saga_bytes head = {.data = (const uint8_t *)&size, .size = sizeof size};
    SAGA_ASSERT(saga_buf_append(&orch->events, head) == SAGA_ERR_OK);
    SAGA_ASSERT(saga_buf_append(&orch->events, event) == SAGA_ERR_OK);
}

void sim_book_commit(struct sim_orch *orch)
{
    struct sim_world *world = orch->world;
    struct saga_judge *judge = world->view.judge;
    struct saga_bytes rest = saga_buf_view(&orch->events);
    world->view.result->commits++;
    saga_judge_commit_begin(judge, orch->epoch);
    while (rest.size > 0) {
        uint32_t size = 0;
        memcpy(&size, rest.data, sizeof size);
        struct saga_bytes event = {.data = rest.data + sizeof size, .size = size};
        sim_fold_bytes(world, event);
        saga_judge_commit_event(judge, event);
        world->view.result->events++;
        world->logged++;
        rest.data += sizeof size + size;
        rest.size -= sizeof size + size;
    }
    saga_judge_commit_end(judge);
    for (size_t i = 0; i < orch->change_count; i++) {
        take_state(world, orch->changes[i].saga, &orch->changes[i].state);
    }
    sim_book_clear(orch);
}

/* A commit failed, so nobody knows. */
void sim_book_doubt(struct sim_orch *orch)
{
    saga_judge_commit_lost(orch->world->view.judge);
    sim_book_clear(orch);
}

/* What a new process has found in its store counts from now on; the judge was told of it. */
bool sim_book_found(void *user, const struct saga_row *row)
{
    struct sim_world *world = user;
    struct saga state = {.id = row->id};
    struct saga_texts texts;
    struct sim_saga *saga = sim_book_row(world, row);
    saga_judge_log_saga(world->view.judge, row->id, (enum saga_state)row->state, row->seq);
    if (saga_record_decode(row->record, &state, &texts) != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "%s: its record cannot be read", saga->key);
        return false;
    }
    take_state(world, saga, &state);
    return true;
}
