/* Handlers: one for all methods. It is called by the kit's dispatch as any service's is, answers
 * what the workload says, and writes its effect into the ledger with the kit's own means. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "saga/v1/health.pb-c.h"
#include "verify/sim/world.h"

static uint8_t find_step(const struct sim_saga *saga, const char *name)
{
    for (uint32_t i = 0; saga != NULL && saga->version != NULL && i < saga->version->def.step_count;
         i++) {
        if (strcmp(saga->version->step_names[i], name) == 0) {
            return (uint8_t)i;
        }
    }
    return SAGA_STEP_ALL;
}

static enum saga_sim_fault kind_of(const struct saga_behaviour *behaviour)
{
    if (behaviour->effect) {
        return behaviour->bad_reply                      ? SAGA_SIM_ANSWER_BAD
               : behaviour->wire_code != behaviour->code ? SAGA_SIM_ANSWER_HIDDEN
                                                         : SAGA_SIM_FAULT_COUNT;
    }
    switch (saga_code_class((enum saga_code)behaviour->code)) {
    case SAGA_CODE_CLASS_REJECT:
        return SAGA_SIM_ANSWER_REJECT;
    case SAGA_CODE_CLASS_RETRY:
        return SAGA_SIM_ANSWER_RETRY;
    case SAGA_CODE_CLASS_PARK:
        return SAGA_SIM_ANSWER_PARK;
    case SAGA_CODE_CLASS_UNKNOWN:
    case SAGA_CODE_CLASS_SUCCESS:
        break;
    }
    return SAGA_SIM_ANSWER_UNKNOWN;
}

/* The workload has its own dice; a fault that is taken away becomes a plain yes. */
static void behave(struct sim_part *part, const struct saga_workload_key *key,
                   const struct sim_saga *saga, uint64_t identity)
{
    struct sim_world *world = part->world;
    struct saga_behaviour *behaviour = &part->behaviour;
    const struct sim_view *view = &world->view;
    static const struct saga_behaviour plain = {
        .effect = true, .code = SAGA_CODE_OK, .reason = "", .wire_code = SAGA_CODE_OK};
    saga_workload_behave(
        key, view->healing || view->config->faults_off ? &view->swarm_healed : &view->swarm,
        view->seed, behaviour);
    enum saga_sim_fault kind = kind_of(behaviour);
    int64_t slow_ms = behaviour->slow_ms;
    if (kind != SAGA_SIM_FAULT_COUNT &&
        !sim_fault(world, kind, identity, "%s, %s of %s, time %" PRIu32 ": %s", saga->key,
                   key->op == SAGA_OP_UNDO ? "undo" : "call", key->decl->steps[key->step].name,
                   key->attempt, saga_code_name(behaviour->wire_code))) {
        *behaviour = plain;
    }
    bool slow = slow_ms > 0 && sim_fault(world, SAGA_SIM_ANSWER_SLOW, identity,
                                         "%s by %" PRId64 " ms", saga->key, slow_ms);
    behaviour->slow_ms = slow ? slow_ms : 0;
}

/* Asks the workload; the response of a yes is in world->scratch. */
static void ask_workload(struct sim_part *part, const struct saga_command *command)
{
    struct sim_world *world = part->world;
    const struct sim_saga *saga = sim_find(world, command->saga_id);
    uint8_t step = find_step(saga, command->step);
    part->behaviour = (struct saga_behaviour){.code = SAGA_CODE_INTERNAL, .reason = "NOBODY"};
    if (saga == NULL || step == SAGA_STEP_ALL) {
        sim_violate(world, "S6", "a handler is asked for step \"%s\" of no saga", command->step);
        return;
    }
    uint32_t *times = &world->asked[saga->index][step][command->op == SAGA_OP_UNDO ? 1 : 0];
    struct saga_workload_key key = {
        .decl = saga->version->decl,
        .step = step,
        .op = command->op,
        .attempt = ++*times,
    };
    memcpy(key.saga_id.b, &saga->name, sizeof saga->name); /* not the id: that one is by chance */
    uint64_t identity = sim_command_identity(world, command->saga_id, step, command->op, *times);
    behave(part, &key, saga, identity);
    saga_buf_clear(&world->scratch);
    if (part->behaviour.effect) {
        SAGA_ASSERT(saga_workload_response(&key, world->view.seed, &world->scratch) == SAGA_ERR_OK);
    }
}

/* The vtable's door: message is only what protobuf-c made of the payload, the bytes are in the
 * command. */
static void invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *message,
                   ProtobufCClosure closure, void *data)
{
    struct saga_call *call = data;
    struct sim_part *part = (struct sim_part *)call->kit;
    const struct saga_service *of = part->world->view.sim->services[part->process.index];
    const struct saga_command *command = saga_call_command(call);
    (void)service;
    (void)message;
    (void)closure;
    part->ran = true;
    ask_workload(part, command);
    const struct saga_behaviour *behaviour = &part->behaviour;
    int64_t slow_us = behaviour->slow_ms * 1000;
    part->slow_us = slow_us > part->slow_us ? slow_us : part->slow_us;
    if (!of->methods[index].no_side_effects) { /* before a refusal too: it must take that back */
        struct saga_bytes id = {.data = command->saga_id.b, .size = SAGA_ID_SIZE};
        (void)saga_call_run(call, "INSERT INTO ledger (saga_id, step, op) VALUES (?1, ?2, ?3)",
                            "bsi", &id, command->step, (int64_t)command->op);
    }
    if (!behaviour->effect) {
        saga_call_refuse(call, (enum saga_code)behaviour->code, behaviour->reason, "simulated");
        call->status.retry_after_ms = behaviour->retry_after_ms;
        return;
    }
    /* What saga_kit_call_answer does, from bytes instead of a message. */
    saga_buf_clear(&part->kit.turn.scratch);
    SAGA_ASSERT(saga_buf_append(&part->kit.turn.scratch, saga_buf_view(&part->world->scratch)) ==
                SAGA_ERR_OK);
    call->answered = true;
}

/* Tells whether a method undoes a step that the starter does itself. */
static bool is_starter_undo(const struct saga_sim *sim, const struct saga_method *method)
{
    for (size_t i = 0; i < sim->version_count; i++) {
        const struct saga_decl *decl = sim->versions[i].decl;
        for (size_t j = 0; j < decl->step_count; j++) {
            const struct saga_step_decl *step = &decl->steps[j];
            if (step->undo == method && !sim->versions[i].def.steps[j].has_call) {
                return true;
            }
        }
    }
    return false;
}

static int method_order(const void *a, const void *b)
{
    const struct saga_kit_method *left = a;
    const struct saga_kit_method *right = b;
    return strcmp(left->full_name, right->full_name);
}

enum saga_err sim_part_methods(struct sim_part *part)
{
    const struct saga_sim *sim = part->world->view.sim;
    const struct saga_service *service = sim->services[part->process.index];
    struct saga_kit *kit = &part->kit;
    part->service.invoke = invoke;
    kit->methods = calloc(service->method_count + 1, sizeof *kit->methods);
    if (kit->methods == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < service->method_count; i++) {
        const struct saga_method *method = &service->methods[i];
        kit->methods[kit->method_count++] = (struct saga_kit_method){
            .full_name = method->full_name,
            .service = &part->service,
            .index = (unsigned)i,
            .input = &saga__v1__check_request__descriptor, /* empty: any message is one */
            .type = method->request,
            .read_only = method->no_side_effects,
            .starter_undo = is_starter_undo(sim, method),
        };
    }
    qsort(kit->methods, kit->method_count, sizeof *kit->methods, method_order);
    return SAGA_ERR_OK;
}
