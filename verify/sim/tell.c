/* What the world tells its judge. */
#include <inttypes.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

enum { PAGE = 1000 };

static const struct saga_version *find_version(void *user, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    const struct saga_sim *sim = ((const struct sim_world *)user)->view.sim;
    for (size_t i = 0; i < sim->version_count; i++) {
        if (memcmp(sim->versions[i].hash, hash, SAGA_DIGEST_SIZE) == 0) {
            return &sim->versions[i];
        }
    }
    return NULL;
}

static void told(void *user, const struct saga_violation_fact *fact)
{
    struct sim_world *world = user;
    const struct sim_saga *saga = sim_find(world, fact->saga_id);
    const char *key = saga == NULL ? "" : saga->key;
    bool step = fact->step[0] != '\0';
    sim_violate(world, saga_rule_name(fact->rule), "%s%s%s%s%s%s", key,
                key[0] != '\0' && step ? ", " : "", step ? "step " : "", fact->step,
                key[0] != '\0' || step ? ": " : "", fact->text);
}

enum saga_err sim_tell_new(struct sim_world *world)
{
    struct saga_judge_config config = {
        .version = find_version,
        .told = told,
        .user = world,
        .retention_ms = INT64_C(7) * 24 * 3600 * 1000,
    };
    return saga_judge_new(&config, &world->view.judge);
}

/* ---- Clients ---- */

static struct saga_judge_start start_of(const struct sim_world *world, const struct sim_ask *ask)
{
    return (struct saga_judge_start){
        .definition = world->view.sim->version->name, .key = ask->saga->key, .input = ask->input};
}

static struct saga_judge_act act_of(const struct sim_world *world, const struct sim_ask *ask)
{
    struct saga_judge_act act = {
        .definition = (ask->version != NULL ? ask->version : world->view.sim->version)->name,
        .act = ask->act,
        .step = ask->step,
        .who = ask->who,
        .why = ask->why,
    };
    if (ask->saga != NULL) {
        act.saga_id = ask->target;
    }
    return act;
}

void sim_tell_asked(struct sim_world *world, const struct sim_ask *ask)
{
    if (ask->start) {
        struct saga_judge_start start = start_of(world, ask);
        saga_judge_start_asked(world->view.judge, &start);
    } else {
        struct saga_judge_act act = act_of(world, ask);
        saga_judge_act_asked(world->view.judge, &act);
    }
}

void sim_tell_answered(struct sim_world *world, const struct sim_ask *ask,
                       const struct saga_answer *answer)
{
    if (ask->start) {
        struct saga_judge_start start = start_of(world, ask);
        saga_judge_start_answered(world->view.judge, &start, answer);
    } else {
        struct saga_judge_act act = act_of(world, ask);
        saga_judge_act_answered(world->view.judge, &act, answer);
    }
}

/* ---- The bus ---- */

/* S8: every command says whose it is. */
static void check_epoch(struct sim_world *world, const struct saga_command *command, uint64_t epoch)
{
    if (command->epoch != epoch) {
        sim_violate(world, "S8", "step %s: a command of epoch %" PRIu64 " says epoch %" PRIu64,
                    command->step, epoch, command->epoch);
    }
}

void sim_tell_sent(struct sim_world *world, struct saga_bytes batch, uint64_t epoch)
{
    struct saga_command *commands = NULL;
    size_t count = 0;
    struct saga_status status;
    struct saga_arena *arena = &world->tell_arena;
    saga_arena_clear(arena);
    if (saga_command_batch_decode(batch, arena, &commands, &count, &status) != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "a batch that cannot be decoded leaves: %s", status.message);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        check_epoch(world, &commands[i], epoch);
        saga_judge_command_sent(world->view.judge, &commands[i], SAGA_VIA_NNG);
    }
}

static bool is_command_topic(const struct sim_world *world, const struct sim_topic *topic)
{
    for (size_t i = 0; i < world->part_count; i++) {
        if (world->parts[i].commands == topic) {
            return true;
        }
    }
    return false;
}

void sim_tell_record(struct sim_world *world, const struct sim_topic *topic, int32_t partition,
                     const struct sim_produced *produced)
{
    struct saga_judge *judge = world->view.judge;
    if (topic == world->audit_topic) {
        saga_judge_topic_audit(judge, partition, produced->key, produced->value);
    } else if (topic == world->effects_topic) {
        saga_judge_topic_effect(judge, partition, produced->key, produced->value);
    } else if (is_command_topic(world, topic)) {
        struct saga_command command;
        struct saga_status status;
        saga_arena_clear(&world->tell_arena);
        if (saga_command_decode(produced->value, &world->tell_arena, &command, &status) !=
            SAGA_ERR_OK) {
            sim_violate(world, "SIM", "a record that cannot be decoded: %s", status.message);
            return;
        }
        saga_judge_command_sent(judge, &command, SAGA_VIA_KAFKA);
    }
}

/* ---- Participants ---- */

/* Who has decided an answer. */
static const char *how(const struct sim_deed *deed)
{
    if (deed->reply.replayed) {
        return ", as it was answered before";
    }
    if (deed->reply.empty) {
        return ", there is nothing to undo";
    }
    if (!deed->ran) {
        return ", the handler was not asked";
    }
    return deed->reply.status.code == SAGA_CODE_OK ? ", done" : ", by the handler";
}

void sim_tell_deeds(struct sim_part *part)
{
    struct sim_world *world = part->world;
    for (size_t i = 0; i < part->deed_count; i++) {
        const struct sim_deed *from = &part->deeds[i];
        struct saga_judge_deed deed = {
            .participant = (uint16_t)part->process.index,
            .command = &from->command,
            .reply = &from->reply,
            .ran = from->ran,
            .read_only = from->read_only,
            .starter_undo = from->starter_undo,
            .position = from->position,
            .now_unix_ms = part->kit.turn.now_unix_ms,
        };
        if (sim_talks(world)) {
            const struct sim_saga *saga = sim_find(world, from->command.saga_id);
            const char *reason = from->reply.status.reason;
            sim_say(world, "%s: %s of %s for %s: %s%s%s%s", part->kit.service_name,
                    from->command.op == SAGA_OP_CALL ? "call" : "undo", from->command.step,
                    saga == NULL ? "?" : saga->key, saga_code_name(from->reply.status.code),
                    reason[0] == '\0' ? "" : " ", reason, how(from));
        }
        sim_fold(world,
                 sim_mix(sim_name_of(world, from->command.saga_id),
                         ((uint64_t)from->command.op << 48) ^
                             ((uint64_t)from->command.attempt << 32) ^ from->reply.status.code));
        part->stored = from->position > part->stored ? from->position : part->stored;
        world->view.result->effects += from->position != 0 ? 1 : 0;
        saga_judge_deed(world->view.judge, &deed);
    }
}

/* ---- The store as it is found ---- */

struct walking {
    struct sim_world *world;
    int64_t position;
    size_t count;
};

static bool visit_event(void *user, const struct saga_audit_row *row)
{
    struct walking *walking = user;
    saga_judge_log_event(walking->world->view.judge, row->event);
    walking->position = row->position;
    walking->count++;
    return true;
}

void sim_tell_log(struct sim_orch *orch)
{
    struct sim_world *world = orch->world;
    const struct saga_store_ops *ops = orch->inner.ops;
    struct walking walking = {.world = world};
    struct saga_err_detail detail = {{0}};
    enum saga_err err = SAGA_ERR_OK;
    saga_judge_log_begin(world->view.judge);
    do {
        walking.count = 0;
        err = ops->relay_audit(orch->inner.store, walking.position, PAGE, visit_event, &walking,
                               &detail);
    } while (err == SAGA_ERR_OK && walking.count == PAGE);
    world->logged = walking.position;
    struct saga_list_filter all = {.count_max = SIZE_MAX};
    if (err == SAGA_ERR_OK) {
        err = ops->list_sagas(orch->inner.store, &all, sim_book_found, world, &detail);
    }
    if (err != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "the store cannot be read: %s", detail.text);
        return;
    }
    saga_judge_log_end(world->view.judge);
}

/* ---- The end ---- */

static bool tell_rows(struct sim_part *part)
{
    struct sim_world *world = part->world;
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    enum saga_err err = saga_sql_prepare(
        part->kit.sql,
        "SELECT position, saga_id, step, op, code, empty FROM barrier WHERE saga_id IS NOT NULL "
        "ORDER BY position",
        &stmt, NULL);
    while (err == SAGA_ERR_OK && (err = saga_sql_step(stmt, &there, NULL)) == SAGA_ERR_OK &&
           there) {
        struct saga_judge_row row = {
            .participant = (uint16_t)part->process.index,
            .position = saga_sql_int(stmt, 0),
            .step = saga_sql_text(stmt, 2),
            .op = (enum saga_op)saga_sql_int(stmt, 3),
            .code = (uint32_t)saga_sql_int(stmt, 4),
            .empty = saga_sql_int(stmt, 5) != 0,
        };
        struct saga_bytes id = saga_sql_bytes(stmt, 1);
        memcpy(row.saga_id.b, id.data, id.size < SAGA_ID_SIZE ? id.size : SAGA_ID_SIZE);
        saga_judge_table_row(world->view.judge, &row);
    }
    return err == SAGA_ERR_OK;
}

static bool tell_ledger(struct sim_part *part)
{
    struct sim_world *world = part->world;
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    enum saga_err err = saga_sql_prepare(
        part->kit.sql, "SELECT saga_id, step, op FROM ledger ORDER BY id", &stmt, NULL);
    while (err == SAGA_ERR_OK && (err = saga_sql_step(stmt, &there, NULL)) == SAGA_ERR_OK &&
           there) {
        struct saga_id saga_id = {{0}};
        struct saga_bytes id = saga_sql_bytes(stmt, 0);
        memcpy(saga_id.b, id.data, id.size < SAGA_ID_SIZE ? id.size : SAGA_ID_SIZE);
        saga_judge_table_effect(world->view.judge, (uint16_t)part->process.index, saga_id,
                                saga_sql_text(stmt, 1), (enum saga_op)saga_sql_int(stmt, 2));
    }
    return err == SAGA_ERR_OK;
}

void sim_tell_end(struct sim_world *world)
{
    struct saga_judge *judge = world->view.judge;
    SAGA_ASSERT(world->orch != NULL);
    sim_tell_log(world->orch);
    saga_judge_tables_begin(judge, SIM_EPOCH_MS + world->view.now_us / 1000);
    for (size_t i = 0; i < world->part_count; i++) {
        if (!tell_rows(&world->parts[i]) || !tell_ledger(&world->parts[i])) {
            sim_violate(world, "SIM", "participant %zu cannot be read", i);
            return;
        }
    }
    saga_judge_tables_end(judge);
    struct saga_judge_end end = {.healed = true, .audit_drained = true, .effects_drained = true};
    struct saga_judge_counts counts;
    if (saga_judge_finish(judge, &end, &counts) != SAGA_ERR_OK) {
        sim_violate(world, "SIM", "the judge has had no memory");
    }
}
