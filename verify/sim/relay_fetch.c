/* What relays read: the orchestrator's rows through the store port (records as
 * orchestrator/daemon/relays.c makes them), a participant's barrier through the kit itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

static struct sim_produced *add(struct sim_relay *relay, const char *topic, struct saga_bytes key,
                                const char *event_id)
{
    struct sim_world *world = relay->world;
    relay->batch = sim_grow(relay->batch, &relay->capacity, relay->count + 1, sizeof *relay->batch);
    struct sim_produced *produced = &relay->batch[relay->count++];
    *produced = (struct sim_produced){
        .topic = sim_topic(world, topic),
        .key = sim_keep(world, key),
        .event_id = (const char *)sim_keep(world, saga_bytes_text(event_id)).data,
    };
    return produced;
}

static bool visit_audit(void *user, const struct saga_audit_row *row)
{
    struct sim_relay *relay = user;
    char id[SAGA_ID_TEXT_SIZE];
    char event_id[SAGA_ID_TEXT_SIZE + 24];
    saga_id_format(row->id, id);
    (void)snprintf(event_id, sizeof event_id, "%s/%" PRIu64, id, row->seq);
    struct sim_produced *produced = add(relay, "saga-audit", saga_bytes_text(id), event_id);
    produced->value = sim_keep(relay->world, row->event);
    relay->last = row->position;
    return true;
}

static bool visit_outbox(void *user, const struct saga_outbox_row *row)
{
    struct sim_relay *relay = user;
    char id[SAGA_ID_TEXT_SIZE];
    char event_id[64];
    saga_id_format(row->id, id);
    (void)snprintf(event_id, sizeof event_id, "sagad/%" PRId64, row->position);
    struct sim_produced *produced = add(relay, row->topic, saga_bytes_text(id), event_id);
    produced->value = sim_keep(relay->world, row->value);
    relay->durable = sim_grow(relay->durable, &relay->durable_capacity, relay->durable_count + 1,
                              sizeof *relay->durable);
    relay->durable[relay->durable_count++] =
        (struct sim_durable){row->position, row->id, row->step, row->op, row->attempt};
    relay->last = row->position;
    return true;
}

static bool fetch_effects(struct sim_relay *relay)
{
    static _Thread_local struct saga_relay_row rows[SIM_FETCH_MAX]; /* too large for the stack */
    struct sim_part *part = relay->owner;
    struct saga_err_detail detail = {{0}};
    size_t count = 0;
    if (saga_kit_effects_fetch(&part->kit, relay->position, SIM_FETCH_MAX, rows, &count, &detail) !=
        SAGA_ERR_OK) {
        sim_violate(relay->world, "SIM", "effects: %s", detail.text);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < rows[i].record_count; j++) {
            const struct saga_kafka_record *record = &rows[i].records[j];
            struct saga_bytes id = saga_kafka_header(record, "ce_id");
            char event_id[SAGA_METHOD_NAME_MAX + 64];
            (void)snprintf(event_id, sizeof event_id, "%.*s", (int)id.size, (const char *)id.data);
            struct sim_produced *produced = add(relay, record->topic, record->key, event_id);
            produced->value = sim_keep(relay->world, record->value);
        }
        relay->last = rows[i].position;
    }
    return true;
}

bool sim_relay_fetch(struct sim_relay *relay)
{
    if (relay->kind == SIM_RELAY_EFFECTS) {
        return fetch_effects(relay);
    }
    const struct sim_orch *orch = relay->owner;
    const struct saga_store_ops *ops = orch->inner.ops;
    struct saga_err_detail detail = {{0}};
    enum saga_err err = relay->kind == SIM_RELAY_AUDIT
                            ? ops->relay_audit(orch->inner.store, relay->position, SIM_FETCH_MAX,
                                               visit_audit, relay, &detail)
                            : ops->relay_outbox(orch->inner.store, relay->position, SIM_FETCH_MAX,
                                                visit_outbox, relay, &detail);
    if (err != SAGA_ERR_OK) {
        sim_say(relay->world, "a relay cannot read: %s", detail.text);
        relay->count = relay->durable_count = 0;
    }
    return err == SAGA_ERR_OK;
}
