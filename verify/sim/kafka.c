/* Kafka: topics of a few partitions, each a log that only grows; consumers that go on from their
 * committed offsets. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_VISIBLE = 0x5001, SALT_LATE, SALT_POLL };
enum { POLL_COUNT_MAX = 256 }; /* records given at once */

struct sim_topic *sim_topic(struct sim_world *world, const char *name)
{
    for (size_t i = 0; i < world->topic_count; i++) {
        if (strcmp(world->topics[i].name, name) == 0) {
            return &world->topics[i];
        }
    }
    SAGA_ASSERT(world->topic_count < SIM_TOPICS_MAX);
    struct sim_topic *topic = &world->topics[world->topic_count++];
    size_t size = strlen(name) + 1;
    char *copy = sim_take(world, size);
    memcpy(copy, name, size);
    topic->name = copy;
    return topic;
}

void sim_topics_free(struct sim_world *world)
{
    for (size_t i = 0; i < world->topic_count; i++) {
        for (size_t j = 0; j < SIM_PARTITIONS; j++) {
            free(world->topics[i].logs[j].records);
        }
    }
}

/* ---- Producing ---- */

static uint64_t key_mix(struct saga_bytes key)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < key.size; i++) {
        hash = (hash ^ key.data[i]) * UINT64_C(0x100000001b3);
    }
    return sim_mix(hash, 0);
}

/* A record's identity: its event id, but by the saga's stable name instead of its id. */
uint64_t sim_record_identity(struct sim_world *world, struct saga_bytes key, const char *event_id)
{
    struct saga_id id;
    char text[SAGA_ID_TEXT_SIZE] = "";
    memcpy(text, key.data, key.size < sizeof text - 1 ? key.size : sizeof text - 1);
    uint64_t name = SIM_NOBODY;
    if (saga_id_parse(text, &id) == SAGA_ERR_OK) {
        name = sim_name_of(world, id);
    }
    const char *rest =
        strncmp(event_id, text, strlen(text)) == 0 ? event_id + strlen(text) : event_id;
    return sim_mix(name, sim_text_mix(rest));
}

/* Whoever reads a topic will look. */
static void wake_readers(struct sim_world *world, const struct sim_topic *topic, int64_t after_us)
{
    for (size_t i = 0; i < world->reply_topic_count; i++) {
        for (size_t j = 0; world->reply_topics[i] == topic && j < SIM_ORCHS_MAX; j++) {
            if (world->orchs[j].process.state != SIM_DOWN) {
                sim_orch_wants_poll(&world->orchs[j], after_us);
            }
        }
    }
    for (size_t i = 0; i < world->part_count; i++) {
        if (world->parts[i].commands == topic && world->parts[i].process.state != SIM_DOWN) {
            sim_part_wants_poll(&world->parts[i], after_us);
        }
    }
}

void sim_topic_append(struct sim_world *world, const struct sim_produced *produced)
{
    struct sim_topic *topic = produced->topic;
    int32_t partition = (int32_t)(key_mix(produced->key) % SIM_PARTITIONS);
    struct sim_log *log = &topic->logs[partition];
    uint64_t identity = sim_record_identity(world, produced->key, produced->event_id);
    int64_t after_us = 1 + (int64_t)sim_draw(world, SALT_VISIBLE, identity, SIM_KAFKA_US_MAX);
    bool read = topic != world->audit_topic && topic != world->effects_topic;
    if (read && sim_fault(world, SAGA_SIM_RECORD_DELAYED, identity, "%s %s", topic->name,
                          produced->event_id)) {
        after_us +=
            sim_length_us(world, SALT_LATE, identity, world->view.swarm.kafka_delay_ms_max * 1000);
    }
    log->records = sim_grow(log->records, &log->capacity, log->count + 1, sizeof *log->records);
    struct sim_entry_of_log *entry = &log->records[log->count];
    *entry = (struct sim_entry_of_log){
        .key = produced->key,
        .value = produced->value,
        .event_id = produced->event_id,
        .at_us = world->view.now_us,
        .visible_us = world->view.now_us + after_us,
        .order = ++world->records,
    };
    log->count++;
    world->view.result->records++;
    sim_tell_record(world, topic, partition, produced);
    wake_readers(world, topic, after_us);
}

/* ---- Consuming ---- */

/* Finds the record that a reader is to be given next; NULL: none yet, *next_us tells when. */
static const struct sim_entry_of_log *
visible(const struct sim_world *world, const struct sim_log *log, int64_t offset, int64_t *next_us)
{
    if (offset < 0 || (size_t)offset >= log->count) {
        return NULL;
    }
    const struct sim_entry_of_log *entry = &log->records[offset];
    if (entry->visible_us > world->view.now_us || world->broker_down_us > world->view.now_us) {
        int64_t at_us =
            entry->visible_us > world->broker_down_us ? entry->visible_us : world->broker_down_us;
        *next_us = *next_us == 0 || at_us < *next_us ? at_us : *next_us;
        return NULL;
    }
    return entry;
}

static void plan_poll(struct sim_world *world, struct sim_process *process, void *owner,
                      int64_t *planned_us, int64_t delay_us)
{
    int64_t at_us = world->view.now_us + (delay_us > 0 ? delay_us : 1);
    if (*planned_us == 0 || at_us < *planned_us) {
        *planned_us = at_us;
        sim_at(world, at_us - world->view.now_us,
               (struct sim_event){.kind = process->orch ? SIM_ORCH_POLL : SIM_PART_POLL,
                                  .process = process,
                                  .data = owner,
                                  .number = (uint64_t)at_us});
    }
}

void sim_orch_wants_poll(struct sim_orch *orch, int64_t delay_us)
{
    plan_poll(orch->world, &orch->process, orch, &orch->poll_us, delay_us);
}

void sim_part_wants_poll(struct sim_part *part, int64_t delay_us)
{
    plan_poll(part->world, &part->process, part, &part->poll_us, delay_us);
}

static void orch_reads(struct sim_orch *orch, size_t index, int64_t *next_us)
{
    struct sim_world *world = orch->world;
    struct sim_topic *topic = world->reply_topics[index / SIM_PARTITIONS];
    int32_t partition = (int32_t)(index % SIM_PARTITIONS);
    int64_t *position = &orch->positions[index];
    const struct sim_entry_of_log *entry = NULL;
    for (int i = 0; i < POLL_COUNT_MAX; i++) {
        entry = visible(world, &topic->logs[partition], *position, next_us);
        if (entry == NULL) {
            return;
        }
        uint64_t identity = sim_record_identity(world, entry->key, entry->event_id);
        if (sim_fault(world, SAGA_SIM_CONSUMER_REWIND, identity, "%s at %" PRId64, topic->name,
                      *position)) {
            int64_t stored = orch->inner.ops->offset(orch->inner.store, topic->name, partition);
            *position = stored < 0 ? 0 : stored;
            *next_us = world->view.now_us + 1000;
            return;
        }
        struct sim_input *input = sim_take(world, sizeof *input);
        input->kind = SIM_IN_REPLY;
        input->identity = identity;
        input->topic = topic;
        input->partition = partition;
        input->offset = (*position)++;
        sim_orch_put(orch, input);
    }
    *next_us = world->view.now_us + 1;
}

void sim_orch_poll(struct sim_orch *orch, uint64_t number)
{
    if (number != (uint64_t)orch->poll_us) {
        return;
    }
    orch->poll_us = 0;
    int64_t next_us = 0;
    for (size_t i = 0; i < orch->world->reply_topic_count * SIM_PARTITIONS; i++) {
        orch_reads(orch, i, &next_us);
    }
    if (next_us != 0) {
        sim_orch_wants_poll(orch, next_us - orch->world->view.now_us);
    }
}

static void part_reads(struct sim_part *part, int32_t partition, int64_t *next_us)
{
    struct sim_world *world = part->world;
    int64_t *position = &part->positions[partition];
    for (int i = 0; i < POLL_COUNT_MAX; i++) {
        const struct sim_entry_of_log *entry =
            visible(world, &part->commands->logs[partition], *position, next_us);
        if (entry == NULL) {
            return;
        }
        uint64_t identity = sim_record_identity(world, entry->key, entry->event_id);
        if (sim_fault(world, SAGA_SIM_CONSUMER_REWIND, identity, "%s at %" PRId64,
                      part->commands->name, *position)) {
            int64_t stored = saga_kit_position_find(&part->kit, part->commands->name, partition);
            *position = stored < 0 ? 0 : stored;
            *next_us = world->view.now_us + 1000;
            return;
        }
        sim_part_put(part, (struct sim_entry){.topic = part->commands,
                                              .partition = partition,
                                              .offset = (*position)++});
    }
    *next_us = world->view.now_us + 1;
}

void sim_part_poll(struct sim_part *part, uint64_t number)
{
    if (number != (uint64_t)part->poll_us) {
        return;
    }
    part->poll_us = 0;
    int64_t next_us = 0;
    for (int32_t i = 0; part->commands != NULL && i < SIM_PARTITIONS; i++) {
        part_reads(part, i, &next_us);
    }
    if (next_us != 0) {
        sim_part_wants_poll(part, next_us - part->world->view.now_us);
    }
}
