/* The admin API's acts on definitions: pause, and go on. */
#include <string.h>

#include "common/base/limits.h"
#include "orchestrator/daemon/admin_internal.h"
#include "saga/v1/orchestrator.pb-c.h"

#define SERVICE "saga.v1.OrchestratorService/"

/* What both requests hold. */
struct request {
    const char *definition;
    const char *who;
    const char *why;
};

static bool decode_pause(struct slot *slot, struct request *request)
{
    const Saga__V1__PauseDefinitionRequest *in =
        (const Saga__V1__PauseDefinitionRequest *)saga_message_decode(
            &saga__v1__pause_definition_request__descriptor, slot->command->payload,
            &slot->batch->arena);
    if (in != NULL) {
        *request = (struct request){in->definition, in->who, in->why};
    }
    return in != NULL;
}

static bool decode_resume(struct slot *slot, struct request *request)
{
    const Saga__V1__ResumeDefinitionRequest *in =
        (const Saga__V1__ResumeDefinitionRequest *)saga_message_decode(
            &saga__v1__resume_definition_request__descriptor, slot->command->payload,
            &slot->batch->arena);
    if (in != NULL) {
        *request = (struct request){in->definition, in->who, in->why};
    }
    return in != NULL;
}

static const char *check(const struct request *request)
{
    if (request->definition[0] == '\0' || strlen(request->definition) > SAGA_DEFINITION_NAME_MAX) {
        return "definition: 1 to 63 bytes are required";
    }
    if (request->who[0] == '\0' || strlen(request->who) > SAGA_WHO_MAX) {
        return "who: 1 to 63 bytes are required";
    }
    if (request->why[0] == '\0' || strlen(request->why) > SAGA_WHY_MAX) {
        return "why: 1 to 255 bytes are required";
    }
    return NULL;
}

bool admin_takes_pause(const char *method)
{
    return strcmp(method, SERVICE "PauseDefinition") == 0 ||
           strcmp(method, SERVICE "ResumeDefinition") == 0;
}

void admin_take_pause(struct admin *admin, struct slot *slot, struct saga_runtime *runtime)
{
    struct request request;
    bool pause = strcmp(slot->command->method, SERVICE "PauseDefinition") == 0;
    if (!(pause ? decode_pause(slot, &request) : decode_resume(slot, &request))) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED",
                  "payload: is not the method's request message");
        return;
    }
    const char *wrong = check(&request);
    if (wrong != NULL) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "BAD_ACT", wrong);
        return;
    }
    slot->runtime = runtime;
    slot->definition = request.definition;
    struct saga_pause_act act = {
        .definition = request.definition,
        .act = pause ? SAGA_ACT_PAUSE : SAGA_ACT_RESUME,
        .who = request.who,
        .why = request.why,
        .ticket = slot,
    };
    saga_runtime_pause(runtime, &act);
}

bool admin_make_pause(const struct saga_runtime *runtime, const char *definition,
                      struct saga_arena *arena, struct Saga__V1__Pause **pause)
{
    struct saga_pause_look look;
    *pause = NULL;
    if (!saga_runtime_paused(runtime, definition, &look)) {
        return true;
    }
    size_t who_size = strlen(look.who) + 1;
    size_t why_size = strlen(look.why) + 1;
    Saga__V1__Pause *made = saga_arena_take(arena, sizeof *made);
    char *who = saga_arena_take(arena, who_size);
    char *why = saga_arena_take(arena, why_size);
    if (made == NULL || who == NULL || why == NULL) {
        return false;
    }
    memcpy(who, look.who, who_size);
    memcpy(why, look.why, why_size);
    saga__v1__pause__init(made);
    made->who = who;
    made->why = why;
    made->since_unix_ms = look.since_unix_ms;
    *pause = made;
    return true;
}

void admin_finish_pause(struct admin *admin, struct slot *slot, bool changed)
{
    Saga__V1__PauseDefinitionResponse paused = SAGA__V1__PAUSE_DEFINITION_RESPONSE__INIT;
    Saga__V1__ResumeDefinitionResponse resumed = SAGA__V1__RESUME_DEFINITION_RESPONSE__INIT;
    bool pause = strcmp(slot->command->method, SERVICE "PauseDefinition") == 0;
    struct saga_buf payload = {0};
    struct saga_status ok = saga_status_ok();
    paused.changed = changed;
    resumed.changed = changed;
    bool made = !pause || admin_make_pause(slot->runtime, slot->definition, &slot->batch->arena,
                                           &paused.pause);
    if (made &&
        saga_message_encode(pause ? &paused.base : &resumed.base, &payload) == SAGA_ERR_OK) {
        slot_finish(admin, slot, &ok, saga_buf_view(&payload));
    } else {
        slot_fail(admin, slot, SAGA_CODE_INTERNAL, "NO_MEMORY", "out of memory");
    }
    saga_buf_fini(&payload);
}
