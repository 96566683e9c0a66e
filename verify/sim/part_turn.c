/* A participant's turn, as services/kit/worker.c takes it on its thread: everything that waits in
 * one transaction, a savepoint for each command (that is dispatch.c's), one commit, then answers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { SALT_TURN = 0x8001 };

/* ---- What is in the queue ---- */

static void plan_turn(struct sim_part *part)
{
    struct sim_world *world = part->world;
    if (!part->turn_planned) {
        int64_t at_us = world->view.now_us + 20;
        at_us = at_us < part->busy_us ? part->busy_us : at_us;
        part->turn_planned = true;
        sim_at(world, at_us - world->view.now_us,
               (struct sim_event){.kind = SIM_PART_TURN, .process = &part->process, .data = part});
    }
}

void sim_part_put(struct sim_part *part, struct sim_entry entry)
{
    part->queue =
        sim_grow(part->queue, &part->queue_capacity, part->queue_count + 1, sizeof *part->queue);
    part->queue[part->queue_count++] = entry;
    plan_turn(part);
}

static uint64_t entry_identity(const struct sim_part *part, const struct sim_entry *entry)
{
    if (entry->message != NULL) {
        return sim_mix(entry->message->identity, part->process.index);
    }
    const struct sim_entry_of_log *record =
        &entry->topic->logs[entry->partition].records[entry->offset];
    return sim_mix(sim_record_identity(part->world, record->key, record->event_id),
                   part->process.index);
}

/* ---- The transaction ---- */

static void turn_begin(struct sim_part *part)
{
    struct saga_kit_turn *turn = &part->kit.turn;
    saga_arena_clear(&turn->arena);
    turn->now_unix_ms = sim_clock_ms(part->world, &part->process);
    turn->command_count = 0;
    turn->wrote = turn->stored = turn->in_store = false;
    turn->done = NULL;
    turn->done_tail = &turn->done;
    turn->after = NULL;
    turn->after_tail = &turn->after;
    turn->direct = NULL;
    turn->direct_tail = &turn->direct;
    turn->position_count = 0;
    part->slow_us = 0;
    part->deed_count = 0;
}

static struct sim_deed *add_deed(struct sim_part *part, const struct saga_command *command)
{
    part->deeds =
        sim_grow(part->deeds, &part->deed_capacity, part->deed_count + 1, sizeof *part->deeds);
    const struct saga_kit_method *method = saga_kit_method_find(&part->kit, command->method);
    struct sim_deed *deed = &part->deeds[part->deed_count++];
    *deed = (struct sim_deed){
        .command = *command,
        .ran = part->ran,
        .read_only = method != NULL && method->read_only,
        .starter_undo = method != NULL && method->starter_undo,
    };
    return deed;
}

static struct saga_bytes keep(struct sim_part *part, struct saga_bytes bytes)
{
    uint8_t *copy = saga_arena_take(&part->kit.turn.arena, bytes.size + 1);
    SAGA_ASSERT(copy != NULL);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return (struct saga_bytes){.data = copy, .size = bytes.size};
}

/* What arrives may be another thing than what was answered and stored. */
static void spoil(const struct sim_part *part, struct saga_reply *reply)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff};
    const struct saga_behaviour *behaviour = &part->behaviour;
    if (!part->ran || !behaviour->effect) {
        return;
    }
    if (behaviour->bad_reply) {
        reply->payload = (struct saga_bytes){.data = garbage, .size = sizeof garbage};
    } else if (behaviour->wire_code != behaviour->code) {
        reply->status = saga_status_make((enum saga_code)behaviour->wire_code, "SIMULATED", "");
        reply->payload = (struct saga_bytes){0};
    }
}

static enum saga_err run_request(struct sim_part *part, struct sim_entry *entry,
                                 struct saga_err_detail *detail)
{
    struct saga_kit *kit = &part->kit;
    struct saga_command *commands = NULL;
    size_t count = 0;
    struct saga_status wrong = saga_status_ok();
    saga_buf_clear(&entry->replies);
    enum saga_err err = saga_command_batch_decode(entry->message->request, &kit->turn.arena,
                                                  &commands, &count, &wrong);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "a batch of ours: %s", wrong.message);
    }
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        struct saga_reply reply;
        bool stored = false;
        part->ran = false;
        err = saga_kit_dispatch(kit, &commands[i], SAGA_VIA_NNG, &reply, &stored, detail);
        if (err != SAGA_ERR_OK) {
            break;
        }
        struct sim_deed *deed = add_deed(part, &commands[i]);
        deed->reply = reply;
        deed->reply.payload = keep(part, reply.payload);
        deed->position = stored ? saga_sql_last_rowid(kit->sql) : 0;
        spoil(part, &reply);
        err = saga_kit_reply_add(&reply, deed->read_only, &entry->replies);
    }
    return err;
}

/* The reply to a record that was stored is in its row only. */
static enum saga_err read_reply(struct sim_part *part, struct sim_deed *deed,
                                struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    bool row = false;
    deed->position = saga_sql_last_rowid(part->kit.sql);
    enum saga_err err = saga_sql_prepare(
        part->kit.sql, "SELECT code, payload, empty, reason FROM barrier WHERE position = ?1",
        &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(stmt, 1, deed->position);
    err = saga_sql_step(stmt, &row, detail);
    if (err == SAGA_ERR_OK && row) {
        deed->reply = saga_kit_reply_to(&deed->command, saga_status_ok());
        deed->reply.status.code = (uint32_t)saga_sql_int(stmt, 0);
        deed->reply.payload = keep(part, saga_sql_bytes(stmt, 1));
        deed->reply.empty = saga_sql_int(stmt, 2) != 0;
        struct saga_bytes reason = saga_bytes_text(saga_sql_text(stmt, 3));
        reason.size++;
        deed->reply.status.reason = (const char *)keep(part, reason).data;
        saga_sql_reset(stmt);
    }
    return err;
}

static enum saga_err run_record(struct sim_part *part, const struct sim_entry *entry,
                                struct saga_err_detail *detail)
{
    const struct sim_entry_of_log *from =
        &entry->topic->logs[entry->partition].records[entry->offset];
    struct saga_kit_turn *turn = &part->kit.turn;
    struct saga_kafka_record record = {
        .topic = entry->topic->name,
        .key = from->key,
        .value = from->value,
        .partition = entry->partition,
        .offset = entry->offset,
    };
    struct saga_command command;
    struct saga_status status = saga_status_ok();
    if (saga_command_decode(from->value, &turn->arena, &command, &status) != SAGA_ERR_OK) {
        return saga_err_set(detail, SAGA_ERR_MALFORMED, "a record of ours: %s", status.message);
    }
    struct saga_kit_direct **tail = turn->direct_tail;
    part->ran = false;
    enum saga_err err = saga_kit_record_run(&part->kit, &record, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct sim_deed *deed = add_deed(part, &command);
    if (*tail == NULL) {
        return read_reply(part, deed, detail);
    }
    return saga_reply_decode((*tail)->value, &turn->arena, &deed->reply, &status);
}

static enum saga_err commit(struct sim_part *part, struct saga_err_detail *detail)
{
    struct saga_kit *kit = &part->kit;
    if (!kit->turn.wrote) {
        saga_sql_rollback(kit->sql);
        return SAGA_ERR_OK;
    }
    enum saga_err err = saga_kit_positions_store(kit, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_commit(kit->sql, detail);
    }
    if (err == SAGA_ERR_OK) {
        saga_kit_positions_commit(kit);
    }
    return err;
}

/* ---- After the transaction ---- */

/* Replies that are in no outbox leave once. */
static void produce_direct(struct sim_part *part)
{
    struct sim_world *world = part->world;
    for (const struct saga_kit_direct *direct = part->kit.turn.direct; direct != NULL;
         direct = direct->next) {
        char key[SAGA_ID_TEXT_SIZE];
        saga_id_format(direct->saga_id, key);
        struct sim_produced *produced = sim_take(world, sizeof *produced);
        SAGA_ASSERT(part->replies != NULL);
        produced->topic = part->replies;
        produced->key = sim_keep(world, saga_bytes_text(key));
        produced->value = sim_keep(world, direct->value);
        produced->event_id = (const char *)sim_keep(world, saga_bytes_text(direct->event_id)).data;
        uint64_t identity = sim_record_identity(world, produced->key, produced->event_id);
        int64_t delay_us = 1 + (int64_t)sim_draw(world, SALT_TURN, identity, SIM_KAFKA_US_MAX);
        sim_at(world, delay_us,
               (struct sim_event){
                   .kind = SIM_DIRECT_APPEND, .process = &part->process, .data = produced});
    }
}

static void drop_front(struct sim_part *part, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        saga_buf_fini(&part->queue[i].replies);
    }
    part->queue_count -= count;
    memmove(part->queue, part->queue + count, part->queue_count * sizeof *part->queue);
}

static void finish(struct sim_part *part, size_t count)
{
    struct sim_world *world = part->world;
    if (part->kit.turn.stored) {
        sim_relay_wake(&part->relay);
    }
    for (size_t i = 0; i < count; i++) {
        struct sim_entry *entry = &part->queue[i];
        if (entry->message != NULL) {
            sim_net_answer(world, entry->message, saga_buf_view(&entry->replies), part->slow_us);
        }
    }
    produce_direct(part);
    drop_front(part, count);
    part->busy_us =
        world->view.now_us + 200 + (int64_t)sim_draw(world, SALT_TURN, part->turns, 1500);
    if (part->queue_count > 0) {
        plan_turn(part);
    }
}

/* Nothing of the turn has happened: requests are refused, records run again. */
static void refuse(struct sim_part *part, size_t count)
{
    struct sim_world *world = part->world;
    struct saga_status status = saga_status_make(SAGA_CODE_UNAVAILABLE, "STORE_FAILED", "busy");
    size_t kept = 0;
    for (size_t i = 0; i < part->queue_count; i++) {
        struct sim_entry entry = part->queue[i];
        struct saga_command *commands = NULL;
        size_t command_count = 0;
        if (i >= count || entry.message == NULL) {
            part->queue[kept++] = entry;
            continue;
        }
        saga_buf_clear(&entry.replies);
        SAGA_ASSERT(saga_command_batch_decode(entry.message->request, &part->kit.turn.arena,
                                              &commands, &command_count, &status) == SAGA_ERR_OK);
        for (size_t j = 0; j < command_count; j++) {
            struct saga_reply reply = saga_kit_reply_to(
                &commands[j], saga_status_make(SAGA_CODE_UNAVAILABLE, "STORE_FAILED", "busy"));
            SAGA_ASSERT(saga_kit_reply_add(&reply, false, &entry.replies) == SAGA_ERR_OK);
        }
        sim_net_answer(world, entry.message, saga_buf_view(&entry.replies), 0);
        saga_buf_fini(&entry.replies);
    }
    part->queue_count = kept;
    part->busy_us = world->view.now_us + 10 * 1000;
    if (kept > 0) {
        plan_turn(part);
    }
}

void sim_part_turn(struct sim_part *part)
{
    struct sim_world *world = part->world;
    struct saga_kit *kit = &part->kit;
    struct saga_err_detail detail = {{0}};
    part->turn_planned = false;
    part->turns++;
    if (part->queue_count == 0) {
        return;
    }
    size_t count = 0;
    uint64_t identity = entry_identity(part, &part->queue[0]);
    turn_begin(part);
    enum saga_err err = saga_sql_begin(kit->sql, &detail);
    while (err == SAGA_ERR_OK && count < part->queue_count &&
           kit->turn.command_count < SAGA_TURN_COUNT_MAX) {
        struct sim_entry *entry = &part->queue[count++];
        err = entry->message != NULL ? run_request(part, entry, &detail)
                                     : run_record(part, entry, &detail);
    }
    if (err != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "participant %" PRIu32 ": %s", part->process.index, detail.text);
        return;
    }
    if (sim_fault(world, SAGA_SIM_PART_STORE_BUSY, identity, "participant %" PRIu32,
                  part->process.index)) {
        saga_sql_rollback(kit->sql);
        refuse(part, count);
        return;
    }
    if (sim_fault(world, SAGA_SIM_PART_CRASH_BEFORE_COMMIT, identity, "participant %" PRIu32,
                  part->process.index)) {
        sim_part_die(part, "before commit");
        return;
    }
    err = commit(part, &detail);
    if (err != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "participant %" PRIu32 ": %s", part->process.index, detail.text);
        return;
    }
    sim_tell_deeds(part);
    if (sim_fault(world, SAGA_SIM_PART_CRASH_AFTER_COMMIT, identity, "participant %" PRIu32,
                  part->process.index)) {
        sim_part_die(part, "after commit");
        return;
    }
    finish(part, count);
}

/* ---- Housekeeping ---- */

void sim_part_wants_chores(struct sim_part *part, int64_t delay_us)
{
    int64_t at_us = part->world->view.now_us + delay_us;
    if (part->chores_us == 0 || at_us < part->chores_us) {
        part->chores_us = at_us;
        sim_at(part->world, delay_us,
               (struct sim_event){.kind = SIM_PART_CHORES,
                                  .process = &part->process,
                                  .data = part,
                                  .number = (uint64_t)at_us});
    }
}

void sim_part_chores(struct sim_part *part, uint64_t number)
{
    struct sim_world *world = part->world;
    struct saga_err_detail detail = {{0}};
    struct saga_kit_now now = {.unix_ms = sim_clock_ms(world, &part->process),
                               .mono_us = world->view.now_us};
    if (number != (uint64_t)part->chores_us) {
        return;
    }
    part->chores_us = 0;
    int64_t pruned = 0;
    enum saga_err err = saga_kit_cursor_save(&part->kit, &detail);
    if (err == SAGA_ERR_OK && now.mono_us >= part->prune_us) {
        err = saga_kit_prune(&part->kit, now, &pruned, &detail);
        part->prune_us = now.mono_us + SAGA_KIT_PRUNE_INTERVAL_US;
    }
    if (err != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "participant %" PRIu32 ": %s", part->process.index, detail.text);
        return;
    }
    if (pruned > 0) {
        sim_violate(world, "B7",
                    "participant %" PRIu32 " pruned %" PRId64 " rows after %" PRId64 " s",
                    part->process.index, pruned, world->view.now_us / 1000000);
    }
    sim_part_wants_chores(part, SAGA_KIT_PRUNE_INTERVAL_US);
}
