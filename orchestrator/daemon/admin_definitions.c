/* The admin API's acts on definitions: apply and remove. */
#include <string.h>

#include "common/base/limits.h"
#include "orchestrator/daemon/admin_internal.h"
#include "orchestrator/daemon/versions.h"
#include "saga/v1/orchestrator.pb-c.h"

#define SERVICE "saga.v1.OrchestratorService/"

bool admin_takes_definition(const char *method)
{
    return strcmp(method, SERVICE "ApplyDefinitions") == 0 ||
           strcmp(method, SERVICE "RemoveDefinition") == 0;
}

static const char *check_who(const char *who, const char *why)
{
    if (who[0] == '\0' || strlen(who) > SAGA_WHO_MAX) {
        return "who: 1 to 63 bytes are required";
    }
    if (why[0] == '\0' || strlen(why) > SAGA_WHY_MAX) {
        return "why: 1 to 255 bytes are required";
    }
    return NULL;
}

static void fail_malformed(struct admin *admin, struct slot *slot)
{
    slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED",
              "payload: is not the method's request message");
}

static void fail_memory(struct admin *admin, struct slot *slot)
{
    slot_fail(admin, slot, SAGA_CODE_UNAVAILABLE, "NO_MEMORY", "out of memory");
}

/* ---- Remove ---- */

static void take_remove(struct admin *admin, struct slot *slot, struct saga_runtime *runtime)
{
    const Saga__V1__RemoveDefinitionRequest *in =
        (const Saga__V1__RemoveDefinitionRequest *)saga_message_decode(
            &saga__v1__remove_definition_request__descriptor, slot->command->payload,
            &slot->batch->arena);
    if (in == NULL) {
        fail_malformed(admin, slot);
        return;
    }
    const char *wrong = check_who(in->who, in->why);
    if (in->definition[0] == '\0' || strlen(in->definition) > SAGA_DEFINITION_NAME_MAX) {
        wrong = "definition: 1 to 63 bytes are required";
    }
    if (wrong != NULL) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "BAD_ACT", wrong);
        return;
    }
    slot->runtime = runtime;
    slot->definition = in->definition;
    struct saga_remove remove = {
        .definition = in->definition, .who = in->who, .why = in->why, .ticket = slot};
    saga_runtime_remove(runtime, &remove);
}

static void finish_remove(struct admin *admin, struct slot *slot, bool changed)
{
    Saga__V1__RemoveDefinitionResponse out = SAGA__V1__REMOVE_DEFINITION_RESPONSE__INIT;
    struct saga_buf payload = {0};
    struct saga_status ok = saga_status_ok();
    out.changed = changed;
    out.live_count = saga_runtime_live_of(slot->runtime, slot->definition);
    if (saga_message_encode(&out.base, &payload) == SAGA_ERR_OK) {
        slot_finish(admin, slot, &ok, saga_buf_view(&payload));
    } else {
        fail_memory(admin, slot);
    }
    saga_buf_fini(&payload);
}

/* ---- Apply ---- */

/* What a request asks for, in memory of the batch. */
struct asked {
    struct versions_apply apply;
    struct transport_addresses *places;
};

static const char *read_places(const Saga__V1__ApplyDefinitionsRequest *in, struct asked *asked)
{
    for (size_t i = 0; i < in->n_participants; i++) {
        const Saga__V1__ParticipantAddress *given = in->participants[i];
        struct transport_addresses *place = &asked->places[i];
        if (given->n_addresses == 0 || given->n_addresses > SAGA_ADDRESSES_MAX) {
            return "participants: each needs 1 to 8 addresses";
        }
        if (given->service[0] == '\0' || strlen(given->service) > SAGA_METHOD_NAME_MAX) {
            return "participants: service: 1 to 255 bytes are required";
        }
        *place = (struct transport_addresses){.service = given->service};
        for (size_t j = 0; j < given->n_addresses; j++) {
            place->addresses[place->count++] = given->addresses[j];
        }
    }
    return NULL;
}

static const char *read_apply(const Saga__V1__ApplyDefinitionsRequest *in, struct asked *asked)
{
    const char *wrong = check_who(in->who, in->why);
    if (in->n_definitions > SAGA_DEFINITIONS_MAX) {
        wrong = "definitions: at most 256 names";
    }
    wrong = wrong == NULL ? read_places(in, asked) : wrong;
    asked->apply = (struct versions_apply){
        .descriptor_set = {in->descriptor_set.data, in->descriptor_set.len},
        .names = (const char *const *)in->definitions,
        .name_count = in->n_definitions,
        .participants = asked->places,
        .participant_count = in->n_participants,
        .who = in->who,
        .why = in->why,
        .dry_run = in->dry_run,
    };
    return wrong;
}

static void fill_applied(const struct versions_applied *applied, Saga__V1__AppliedDefinition *out)
{
    saga__v1__applied_definition__init(out);
    out->name = (char *)(uintptr_t)applied->name;
    out->hash = (ProtobufCBinaryData){SAGA_DIGEST_SIZE, (uint8_t *)(uintptr_t)applied->hash};
    out->outcome = (Saga__V1__ApplyOutcome)applied->outcome;
    out->previous_live_count = applied->previous_live_count;
    if (applied->has_previous) {
        out->previous_hash =
            (ProtobufCBinaryData){SAGA_DIGEST_SIZE, (uint8_t *)(uintptr_t)applied->previous_hash};
    }
}

/* Gives false when there is no memory. */
static bool fill_changes(struct saga_arena *arena, const struct versions_report *report,
                         Saga__V1__ApplyDefinitionsResponse *out)
{
    size_t count = report->moved_count;
    Saga__V1__AddressChange *changes = saga_arena_take(arena, (count + 1) * sizeof *changes);
    out->address_changes = saga_arena_take(arena, (count + 1) * sizeof *out->address_changes);
    if (changes == NULL || out->address_changes == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct versions_moved *moved = &report->moved[i];
        Saga__V1__AddressChange *change = &changes[i];
        saga__v1__address_change__init(change);
        change->service = (char *)(uintptr_t)moved->after->service;
        change->after = (char **)(uintptr_t)moved->after->addresses;
        change->n_after = moved->after->count;
        change->before = saga_arena_take(arena, SAGA_ADDRESSES_MAX * sizeof *change->before);
        if (change->before == NULL) {
            return false;
        }
        for (size_t j = 0; j < moved->before_count; j++) {
            change->before[change->n_before++] = (char *)(uintptr_t)moved->before[j];
        }
        out->address_changes[out->n_address_changes++] = change;
    }
    return true;
}

/* Encodes the answer now: what it tells of lives only until the next request. */
static bool keep_report(struct slot *slot, const struct versions_report *report)
{
    struct saga_arena *arena = &slot->batch->arena;
    Saga__V1__ApplyDefinitionsResponse out = SAGA__V1__APPLY_DEFINITIONS_RESPONSE__INIT;
    size_t count = report->applied_count;
    Saga__V1__AppliedDefinition *views = saga_arena_take(arena, (count + 1) * sizeof *views);
    out.definitions = saga_arena_take(arena, (count + 1) * sizeof *out.definitions);
    if (views == NULL || out.definitions == NULL || !fill_changes(arena, report, &out)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        fill_applied(&report->applied[i], &views[i]);
        out.definitions[out.n_definitions++] = &views[i];
    }
    out.services_without_address = (char **)(uintptr_t)report->nowhere;
    out.n_services_without_address = report->nowhere_count;
    out.services_overruled = (char **)(uintptr_t)report->overruled;
    out.n_services_overruled = report->overruled_count;
    struct saga_buf bytes = {0};
    uint8_t *copy = NULL;
    if (saga_message_encode(&out.base, &bytes) == SAGA_ERR_OK) {
        copy = saga_arena_take(arena, bytes.size + 1);
    }
    if (copy != NULL && bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    slot->payload = (struct saga_bytes){copy, copy == NULL ? 0 : bytes.size};
    saga_buf_fini(&bytes);
    return copy != NULL;
}

static void take_apply(struct admin *admin, struct slot *slot)
{
    struct saga_arena *arena = &slot->batch->arena;
    const Saga__V1__ApplyDefinitionsRequest *in =
        (const Saga__V1__ApplyDefinitionsRequest *)saga_message_decode(
            &saga__v1__apply_definitions_request__descriptor, slot->command->payload, arena);
    if (in == NULL) {
        fail_malformed(admin, slot);
        return;
    }
    if (in->n_participants > SAGA_PARTICIPANTS_MAX) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "BAD_PARTICIPANT",
                  "participants: at most 64 services");
        return;
    }
    struct asked asked = {
        .places = saga_arena_take(arena, (in->n_participants + 1) * sizeof *asked.places)};
    if (asked.places == NULL) {
        fail_memory(admin, slot);
        return;
    }
    const char *wrong = read_apply(in, &asked);
    if (wrong != NULL) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT,
                  strncmp(wrong, "participants", 12) == 0 ? "BAD_PARTICIPANT" : "BAD_ACT", wrong);
        return;
    }
    struct versions_report report;
    struct saga_status status;
    struct saga_err_detail detail = {{0}};
    asked.apply.ticket = slot;
    if (!versions_apply(admin->versions, &asked.apply, &report, &status, &detail)) {
        slot_finish(admin, slot, &status, (struct saga_bytes){0});
    } else if (!keep_report(slot, &report)) {
        slot->payload = (struct saga_bytes){0}; /* it is applied all the same */
    }
}

void admin_take_definition(struct admin *admin, struct slot *slot, struct saga_runtime *runtime)
{
    if (strcmp(slot->command->method, SERVICE "ApplyDefinitions") == 0) {
        take_apply(admin, slot);
    } else {
        take_remove(admin, slot, runtime);
    }
}

void admin_finish_definition(struct admin *admin, struct slot *slot, bool changed)
{
    struct saga_status ok = saga_status_ok();
    if (strcmp(slot->command->method, SERVICE "ApplyDefinitions") == 0) {
        slot_finish(admin, slot, &ok, slot->payload);
    } else {
        finish_remove(admin, slot, changed);
    }
}
