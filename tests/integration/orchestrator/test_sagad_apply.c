/* Definitions that are applied to a running sagad and removed from it: versions side by side, what
 * a kill and a restart leave, what is refused, addresses, what is let go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "saga/v1/audit.pb-c.h"
#include "saga/v1/reflection.pb-c.h"
#include "tests/integration/orchestrator/sagad_fixture.h"

#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name
#define OUTCOME(name) SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_##name

enum { SOME = 40, MANY_APPLIES = 1010, PAGE = 1000 };

static struct saga_id ids[SOME];

static int setup(void **state)
{
    (void)sagad_setup(state);
    sagad_start(*state);
    return 0;
}

/* Without having started it. */
static int setup_only(void **state)
{
    return sagad_setup(state);
}

/* ---- Sets ---- */

/* The fixture's set with another deadline of "pair": another version. The number has three bytes on
 * the wire whatever the variant. */
static struct saga_bytes set_of(struct sagad *sagad, unsigned variant)
{
    static const uint8_t name[] = {0x0a, 4, 'p', 'a', 'i', 'r'};
    static const uint8_t deadline[] = {0xe0, 0xd4, 0x03}; /* 60000 */
    size_t size = 0;
    char *text = saga_test_read(sagad->set, &size);
    assert_non_null(text);
    uint8_t *bytes = saga_arena_take(&sagad->arena, size);
    memcpy(bytes, text, size);
    free(text);
    size_t found = 0;
    for (size_t i = 0; i + sizeof name + 1 + sizeof deadline <= size; i++) {
        uint8_t *number = bytes + i + sizeof name + 1;
        if (memcmp(bytes + i, name, sizeof name) == 0 &&
            memcmp(number, deadline, sizeof deadline) == 0) {
            unsigned value = 60000 + variant;
            number[0] = (uint8_t)(0x80 | (value & 0x7f));
            number[1] = (uint8_t)(0x80 | (value >> 7 & 0x7f));
            number[2] = (uint8_t)(value >> 14);
            found += 1;
        }
    }
    assert_int_equal(found, 1);
    return (struct saga_bytes){bytes, size};
}

/* ---- Asking ---- */

struct apply {
    unsigned variant;
    struct saga_bytes set; /* instead of the variant, if there is one */
    const char *only;
    const char *service;
    const char *address;
    bool dry_run;
    const char *who; /* NULL: "tester" */
};

static void fill(struct sagad *sagad, const struct apply *apply,
                 Saga__V1__ApplyDefinitionsRequest *request, Saga__V1__ParticipantAddress *place)
{
    static char *names[1];
    static char *addresses[1];
    static Saga__V1__ParticipantAddress *places[1];
    struct saga_bytes set = apply->set.data != NULL ? apply->set : set_of(sagad, apply->variant);
    saga__v1__apply_definitions_request__init(request);
    saga__v1__participant_address__init(place);
    request->descriptor_set = (ProtobufCBinaryData){set.size, (uint8_t *)(uintptr_t)set.data};
    request->who = (char *)(uintptr_t)(apply->who == NULL ? "tester" : apply->who);
    request->why = (char *)(uintptr_t) "to see";
    request->dry_run = apply->dry_run;
    if (apply->only != NULL) {
        names[0] = (char *)(uintptr_t)apply->only;
        request->definitions = names;
        request->n_definitions = 1;
    }
    if (apply->service != NULL) {
        addresses[0] = (char *)(uintptr_t)apply->address;
        places[0] = place;
        place->service = (char *)(uintptr_t)apply->service;
        place->addresses = addresses;
        place->n_addresses = 1;
        request->participants = places;
        request->n_participants = 1;
    }
}

static struct saga_reply ask_apply(struct sagad *sagad, const struct apply *apply)
{
    Saga__V1__ApplyDefinitionsRequest request;
    Saga__V1__ParticipantAddress place;
    fill(sagad, apply, &request, &place);
    return sagad_ask(sagad, ORCHESTRATOR "ApplyDefinitions", &request.base);
}

static const Saga__V1__ApplyDefinitionsResponse *applied(struct sagad *sagad,
                                                         const struct apply *apply)
{
    struct saga_reply reply = ask_apply(sagad, apply);
    if (reply.status.code != SAGA_CODE_OK) {
        fail_msg("not applied: %s: %s", reply.status.reason, reply.status.message);
    }
    const Saga__V1__ApplyDefinitionsResponse *response =
        (const Saga__V1__ApplyDefinitionsResponse *)(const void *)saga_message_decode(
            &saga__v1__apply_definitions_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    return response;
}

/* What was done to "pair". */
static const Saga__V1__AppliedDefinition *apply_pair(struct sagad *sagad, const struct apply *apply)
{
    const Saga__V1__ApplyDefinitionsResponse *response = applied(sagad, apply);
    for (size_t i = 0; i < response->n_definitions; i++) {
        if (strcmp(response->definitions[i]->name, "pair") == 0) {
            return response->definitions[i];
        }
    }
    fail_msg("\"pair\" was not applied");
    return NULL;
}

static Saga__V1__ApplyOutcome apply_variant(struct sagad *sagad, unsigned variant)
{
    struct apply apply = {.variant = variant};
    return apply_pair(sagad, &apply)->outcome;
}

/* A page behind a version; NULL: the first one. */
static const Saga__V1__ListDefinitionsResponse *page(struct sagad *sagad, bool history,
                                                     const Saga__V1__DefinitionView *after)
{
    Saga__V1__ListDefinitionsRequest request = SAGA__V1__LIST_DEFINITIONS_REQUEST__INIT;
    request.definition = (char *)(uintptr_t) "pair";
    request.history = history;
    if (after != NULL) {
        request.after_name = after->name;
        request.after_hash = after->hash;
    }
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "ListDefinitions", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__ListDefinitionsResponse *response =
        (const Saga__V1__ListDefinitionsResponse *)(const void *)saga_message_decode(
            &saga__v1__list_definitions_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    return response;
}

static const Saga__V1__ListDefinitionsResponse *list(struct sagad *sagad, bool history)
{
    return page(sagad, history, NULL);
}

static bool one_version_is_left(void *argument)
{
    return list(argument, false)->n_definitions == 1;
}

/* Gives whether it was changed by this, and how many are in flight. */
static bool remove_pair(struct sagad *sagad, uint64_t *live)
{
    Saga__V1__RemoveDefinitionRequest request = SAGA__V1__REMOVE_DEFINITION_REQUEST__INIT;
    request.definition = (char *)(uintptr_t) "pair";
    request.who = (char *)(uintptr_t) "tester";
    request.why = (char *)(uintptr_t) "to see";
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "RemoveDefinition", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__RemoveDefinitionResponse *response =
        (const Saga__V1__RemoveDefinitionResponse *)(const void *)saga_message_decode(
            &saga__v1__remove_definition_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    *live = response->live_count;
    return response->changed;
}

static void pause_pair(struct sagad *sagad, bool pause)
{
    Saga__V1__PauseDefinitionRequest request = SAGA__V1__PAUSE_DEFINITION_REQUEST__INIT;
    Saga__V1__ResumeDefinitionRequest resume = SAGA__V1__RESUME_DEFINITION_REQUEST__INIT;
    request.definition = resume.definition = (char *)(uintptr_t) "pair";
    request.who = resume.who = (char *)(uintptr_t) "tester";
    request.why = resume.why = (char *)(uintptr_t) "to see";
    struct saga_reply reply =
        sagad_ask(sagad, pause ? ORCHESTRATOR "PauseDefinition" : ORCHESTRATOR "ResumeDefinition",
                  pause ? &request.base : &resume.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
}

static struct saga_id begin(struct sagad *sagad, const char *key)
{
    struct start start = {.key = key, .n = 1};
    struct started started = sagad_begin(sagad, &start);
    if (started.code != SAGA_CODE_OK) {
        fail_msg("%s: %s", key, started.reason);
    }
    return started.id;
}

/* How long the version that a saga began with gives it: tells the variants apart. */
static unsigned variant_of(struct sagad *sagad, struct saga_id id)
{
    const Saga__V1__SagaView *view = sagad_get(sagad, id, false)->saga;
    return (unsigned)(view->deadline_unix_ms - view->created_unix_ms) - 60000;
}

static void assert_refused(struct sagad *sagad, const struct apply *apply, uint32_t code,
                           const char *reason)
{
    struct saga_reply reply = ask_apply(sagad, apply);
    if (reply.status.code != code || strcmp(reply.status.reason, reason) != 0) {
        fail_msg("%u %s: %s; expected %u %s", reply.status.code, reply.status.reason,
                 reply.status.message, code, reason);
    }
    assert_true(reply.status.message[0] != '\0');
}

/* ---- Versions ---- */

static void test_apply_when_sagas_are_in_flight_then_each_ends_on_its_own_version(void **state)
{
    struct sagad *sagad = *state;
    fake_down(sagad->fakes, FAKE_END);
    sagad_begin_many(sagad, "old", SOME, ids);
    struct apply apply = {.variant = 7};
    const Saga__V1__AppliedDefinition *done = apply_pair(sagad, &apply);
    assert_int_equal(done->outcome, OUTCOME(REPLACED));
    assert_int_equal(done->previous_live_count, SOME);
    assert_int_equal(done->previous_hash.len, 32);
    assert_memory_not_equal(done->previous_hash.data, done->hash.data, 32);
    struct saga_id new = begin(sagad, "new");
    assert_int_equal(variant_of(sagad, new), 7);
    const Saga__V1__ListDefinitionsResponse *both = list(sagad, false);
    assert_int_equal(both->n_definitions, 2);
    assert_true(both->definitions[0]->current);
    assert_int_equal(both->definitions[0]->live_count, 1);
    assert_int_equal(both->definitions[1]->live_count, SOME);
    assert_false(both->definitions[1]->removed);
    assert_int_equal(both->definitions[1]->n_steps, 4);
    assert_true(both->definitions[1]->created_unix_ms > 0);
    fake_up(sagad->fakes, FAKE_END);
    assert_int_equal(sagad_wait_ended(sagad, ids, SOME, DEADLINE_MS), SOME);
    sagad_wait_state(sagad, new, STATE(COMPLETED), DEADLINE_MS);
    assert_true(saga_test_until(one_version_is_left, sagad, DEADLINE_MS));
    assert_int_equal(list(sagad, true)->n_definitions, 2);
    /* What has ended is shown as before, though its version was let go. */
    assert_int_equal(variant_of(sagad, ids[0]), 0);
    const Saga__V1__SagaView *view = sagad_get(sagad, ids[0], false)->saga;
    assert_string_equal(view->context_type, "breaker.v1.Pair");
    assert_string_equal(view->steps[0]->name, "left");
    assert_string_equal(view->steps[0]->call, "breaker.v1.LeftService/Reserve");
}

static void test_apply_when_asked_again_then_the_outcome_tells_what_it_did(void **state)
{
    struct sagad *sagad = *state;
    assert_int_equal(apply_variant(sagad, 0), OUTCOME(UNCHANGED));
    assert_int_equal(apply_variant(sagad, 1), OUTCOME(REPLACED));
    assert_int_equal(apply_variant(sagad, 1), OUTCOME(UNCHANGED));
    assert_int_equal(variant_of(sagad, begin(sagad, "one")), 1);
    assert_int_equal(apply_variant(sagad, 0), OUTCOME(REPLACED)); /* back to the older one */
    assert_int_equal(variant_of(sagad, begin(sagad, "zero")), 0);
    struct apply dry = {.variant = 2, .dry_run = true};
    assert_int_equal(apply_pair(sagad, &dry)->outcome, OUTCOME(REPLACED));
    assert_int_equal(apply_pair(sagad, &dry)->outcome, OUTCOME(REPLACED));
    assert_int_equal(list(sagad, true)->n_definitions, 2);
    struct apply only = {.variant = 3, .only = "brief"};
    const Saga__V1__ApplyDefinitionsResponse *response = applied(sagad, &only);
    assert_int_equal(response->n_definitions, 1);
    assert_string_equal(response->definitions[0]->name, "brief");
    assert_int_equal(response->definitions[0]->outcome, OUTCOME(UNCHANGED));
}

/* Copies the fixture's schema with every int64 made a fixed64. */
static void write_fixed(struct sagad *sagad)
{
    char path[SAGA_TEST_PATH_MAX];
    char *text = saga_test_read(saga_test_path(&sagad->dir, "breaker.proto", path), NULL);
    assert_non_null(text);
    FILE *file = fopen(saga_test_path(&sagad->dir, "fixed.proto", path), "w");
    assert_non_null(file);
    const char *at = text;
    const char *mark = NULL;
    while ((mark = strstr(at, "int64 ")) != NULL) {
        (void)fprintf(file, "%.*sfixed64 ", (int)(mark - at), at);
        at = mark + strlen("int64 ");
    }
    (void)fputs(at, file);
    assert_int_equal(fclose(file), 0);
    free(text);
}

/* A set that no input of the version before fits any more. */
static struct saga_bytes fixed_set(struct sagad *sagad)
{
    char folder[SAGA_TEST_PATH_MAX + 8];
    char out[SAGA_TEST_PATH_MAX + 32];
    char set[SAGA_TEST_PATH_MAX];
    struct saga_test_child child;
    size_t size = 0;
    write_fixed(sagad);
    (void)snprintf(folder, sizeof folder, "-I%s", sagad->dir.path);
    (void)snprintf(out, sizeof out, "--descriptor_set_out=%s",
                   saga_test_path(&sagad->dir, "fixed.binpb", set));
    const char *const argv[] = {
        "protoc", "-I" SAGA_SOURCE_DIR "/proto", folder, "--include_imports", out, "fixed.proto",
        NULL};
    saga_test_spawn(&child, argv, NULL);
    assert_true(saga_test_wait(&child, DEADLINE_MS));
    assert_int_equal(child.status, 0);
    char *bytes = saga_test_read(set, &size);
    assert_non_null(bytes);
    uint8_t *copy = saga_arena_take(&sagad->arena, size);
    memcpy(copy, bytes, size);
    free(bytes);
    return (struct saga_bytes){copy, size};
}

static void
test_apply_when_the_input_of_a_start_fits_no_more_then_its_key_still_answers(void **state)
{
    struct sagad *sagad = *state;
    struct saga_id id = begin(sagad, "once");
    struct start again = {.key = "once", .n = 1};
    struct start fresh = {.key = "another", .n = 1};
    struct apply apply = {.set = fixed_set(sagad)};
    assert_int_equal(apply_pair(sagad, &apply)->outcome, OUTCOME(REPLACED));
    struct started started = sagad_begin(sagad, &again);
    assert_int_equal(started.code, SAGA_CODE_OK);
    assert_true(started.existing);
    assert_true(saga_id_equal(started.id, id));
    started = sagad_begin(sagad, &fresh);
    assert_int_equal(started.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(started.reason, "BAD_INPUT");
}

static void test_apply_when_two_come_in_one_message_then_the_last_holds(void **state)
{
    struct sagad *sagad = *state;
    struct saga_buf batch = {0};
    size_t count = 0;
    for (unsigned i = 1; i <= 2; i++) {
        Saga__V1__ApplyDefinitionsRequest request;
        Saga__V1__ParticipantAddress place;
        struct apply apply = {.variant = i};
        struct saga_buf payload = {0};
        fill(sagad, &apply, &request, &place);
        assert_int_equal(saga_message_encode(&request.base, &payload), SAGA_ERR_OK);
        struct saga_command command = {.step = "",
                                       .method = ORCHESTRATOR "ApplyDefinitions",
                                       .payload = saga_buf_view(&payload),
                                       .traceparent = "",
                                       .cause_step = "",
                                       .cause_status = saga_status_ok()};
        assert_int_equal(saga_command_batch_add(&command, &batch), SAGA_ERR_OK);
        saga_buf_fini(&payload);
    }
    const struct start start = {.key = "behind", .n = 1};
    start_add(&start, &batch);
    struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &count);
    saga_buf_fini(&batch);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(replies[i].status.code, SAGA_CODE_OK);
    }
    struct saga_id id = started_of(&replies[2], &sagad->arena).id;
    assert_int_equal(variant_of(sagad, id), 2);
}

/* ---- What a kill leaves ---- */

static void test_apply_when_killed_and_started_with_the_old_set_then_it_holds(void **state)
{
    struct sagad *sagad = *state;
    fake_down(sagad->fakes, FAKE_END);
    sagad_begin_many(sagad, "old", SOME, ids);
    assert_int_equal(apply_variant(sagad, 9), OUTCOME(REPLACED));
    struct saga_id new = begin(sagad, "new");
    sagad_kill(sagad);
    sagad_start(sagad);
    assert_int_equal(variant_of(sagad, ids[0]), 0);
    assert_int_equal(variant_of(sagad, new), 9);
    assert_int_equal(variant_of(sagad, begin(sagad, "newer")), 9);
    assert_true(sagad_log_has(sagad, "definition_not_current"));
    assert_int_equal(list(sagad, false)->n_definitions, 2);
    fake_up(sagad->fakes, FAKE_END);
    assert_int_equal(sagad_wait_ended(sagad, ids, SOME, DEADLINE_MS), SOME);
    sagad_wait_state(sagad, new, STATE(COMPLETED), DEADLINE_MS);
    (void)sagad_check_events(sagad, ids[0]);
}

static void test_remove_when_sagas_are_in_flight_then_they_drain_and_none_starts(void **state)
{
    struct sagad *sagad = *state;
    uint64_t live = 0;
    fake_down(sagad->fakes, FAKE_END);
    sagad_begin_many(sagad, "old", SOME, ids);
    assert_true(remove_pair(sagad, &live));
    assert_int_equal(live, SOME);
    assert_false(remove_pair(sagad, &live));
    for (int round = 0; round < 2; round++) {
        struct start start = {.key = "new", .n = 1};
        struct started refused = sagad_begin(sagad, &start);
        assert_int_equal(refused.code, SAGA_CODE_NOT_FOUND);
        assert_string_equal(refused.reason, "DEFINITION_REMOVED");
        struct start again = {.key = "old0", .n = 0};
        struct started known = sagad_begin(sagad, &again); /* S10 */
        assert_int_equal(known.code, SAGA_CODE_OK);
        assert_true(known.existing && saga_id_equal(known.id, ids[0]));
        struct start other = {.key = "old0", .n = 99};
        assert_string_equal(sagad_begin(sagad, &other).reason, "KEY_REUSED");
        assert_true(list(sagad, false)->definitions[0]->removed);
        assert_false(list(sagad, false)->definitions[0]->current);
        sagad_kill(sagad);
        sagad_start(sagad); /* with a set that has it */
    }
    fake_up(sagad->fakes, FAKE_END);
    assert_int_equal(sagad_wait_ended(sagad, ids, SOME, DEADLINE_MS), SOME);
    const Saga__V1__ListDefinitionsResponse *left = list(sagad, false);
    assert_int_equal(left->n_definitions, 1);
    assert_int_equal(left->definitions[0]->live_count, 0);
    assert_int_equal(apply_variant(sagad, 0), OUTCOME(RESTORED));
    sagad_wait_state(sagad, begin(sagad, "new"), STATE(COMPLETED), DEADLINE_MS);
}

static void test_apply_when_paused_then_the_new_version_is_held_too(void **state)
{
    struct sagad *sagad = *state;
    uint64_t live = 0;
    fake_down(sagad->fakes, FAKE_LEFT);
    struct saga_id old = begin(sagad, "old");
    pause_pair(sagad, true);
    assert_int_equal(apply_variant(sagad, 4), OUTCOME(REPLACED));
    assert_non_null(list(sagad, false)->definitions[0]->pause);
    struct start start = {.key = "new", .n = 1};
    assert_string_equal(sagad_begin(sagad, &start).reason, "DEFINITION_PAUSED");
    assert_true(remove_pair(sagad, &live)); /* what is held must be able to go on and drain */
    sagad_kill(sagad);
    sagad_start(sagad);
    fake_up(sagad->fakes, FAKE_LEFT);
    pause_pair(sagad, false);
    sagad_wait_state(sagad, old, STATE(COMPLETED), DEADLINE_MS);
    assert_int_equal(apply_variant(sagad, 4), OUTCOME(RESTORED));
    assert_int_equal(variant_of(sagad, begin(sagad, "new")), 4);
}

/* ---- What is refused ---- */

static void test_apply_when_the_set_is_wrong_then_nothing_is_applied(void **state)
{
    struct sagad *sagad = *state;
    static uint8_t large[SAGA_MESSAGE_SIZE_MAX - 4096];
    struct apply garbage = {.set = saga_bytes_text("\xff\xff no set")};
    assert_refused(sagad, &garbage, SAGA_CODE_INVALID_ARGUMENT, "BAD_DESCRIPTOR_SET");
    struct apply nothing = {.set = {(const uint8_t *)"", 0}};
    assert_refused(sagad, &nothing, SAGA_CODE_INVALID_ARGUMENT, "NO_DEFINITION");
    struct apply zeros = {.set = {large, sizeof large}};
    assert_refused(sagad, &zeros, SAGA_CODE_INVALID_ARGUMENT, "BAD_DESCRIPTOR_SET");
    struct apply unknown = {.variant = 1, .only = "no-such"};
    assert_refused(sagad, &unknown, SAGA_CODE_NOT_FOUND, "DEFINITION_UNKNOWN");
    struct apply nobody = {.variant = 1, .who = ""};
    assert_refused(sagad, &nobody, SAGA_CODE_INVALID_ARGUMENT, "BAD_ACT");
    struct apply stranger = {.variant = 1, .service = "a.v1.B", .address = "tcp://127.0.0.1:1"};
    assert_refused(sagad, &stranger, SAGA_CODE_INVALID_ARGUMENT, "BAD_PARTICIPANT");
    assert_int_equal(list(sagad, true)->n_definitions, 1);
    assert_int_equal(variant_of(sagad, begin(sagad, "still")), 0);
}

static void test_apply_when_truncated_anywhere_then_is_refused_and_nothing_breaks(void **state)
{
    struct sagad *sagad = *state;
    size_t size = set_of(sagad, 1).size;
    for (size_t cut = 1; cut < size; cut += size / 40) {
        struct saga_bytes set = set_of(sagad, 1);
        struct apply apply = {.set = {set.data, size - cut}};
        assert_int_not_equal(ask_apply(sagad, &apply).status.code, SAGA_CODE_OK);
    }
    assert_int_equal(list(sagad, true)->n_definitions, 1);
}

/* ---- Addresses ---- */

static void test_apply_when_it_tells_an_address_then_what_waits_goes_on(void **state)
{
    struct sagad *sagad = *state;
    const char *right = "breaker.v1.RightService";
    sagad->without = right;
    sagad_start(sagad);
    struct saga_id id = begin(sagad, "waits");
    struct apply apply = {.variant = 0};
    const Saga__V1__ApplyDefinitionsResponse *response = applied(sagad, &apply);
    assert_int_equal(response->n_services_without_address, 1);
    assert_string_equal(response->services_without_address[0], right);
    struct apply wrong = {.service = right, .address = "nowhere"};
    assert_refused(sagad, &wrong, SAGA_CODE_INVALID_ARGUMENT, "BAD_PARTICIPANT");
    struct apply away = {.service = right, .address = "ipc:///nonexistent/right"};
    assert_int_equal(applied(sagad, &away)->n_services_without_address, 0);
    struct apply place = {.service = right, .address = sagad->fakes->fakes[FAKE_RIGHT].address};
    (void)applied(sagad, &place);
    sagad_wait_state(sagad, id, STATE(COMPLETED), DEADLINE_MS);
    sagad_kill(sagad);
    sagad_start(sagad); /* it is stored */
    sagad_wait_state(sagad, begin(sagad, "after"), STATE(COMPLETED), DEADLINE_MS);
    struct apply fixed = {.service = "breaker.v1.LeftService", .address = "ipc:///nonexistent/l"};
    response = applied(sagad, &fixed);
    assert_int_equal(response->n_services_overruled, 1);
    assert_string_equal(response->services_overruled[0], "breaker.v1.LeftService");
    sagad_wait_state(sagad, begin(sagad, "fixed"), STATE(COMPLETED), DEADLINE_MS);
}

/* The addresses in use that the listing tells of a service of "pair"; "" is none. */
static const char *listed_address(struct sagad *sagad, const char *service)
{
    const Saga__V1__ListDefinitionsResponse *response = list(sagad, false);
    const Saga__V1__DefinitionView *view = response->definitions[0];
    for (size_t i = 0; i < view->n_participants; i++) {
        if (strcmp(view->participants[i]->service, service) == 0) {
            return view->participants[i]->n_addresses == 0 ? ""
                                                           : view->participants[i]->addresses[0];
        }
    }
    fail_msg("%s is not listed", service);
    return NULL;
}

static void test_apply_when_only_an_address_moves_then_it_is_told_listed_and_logged(void **state)
{
    struct sagad *sagad = *state;
    const char *right = "breaker.v1.RightService";
    const char *there = sagad->fakes->fakes[FAKE_RIGHT].address;
    sagad->without = right;
    sagad_start(sagad);
    assert_string_equal(listed_address(sagad, right), "");
    struct apply first = {.service = right, .address = "ipc:///nonexistent/right"};
    const Saga__V1__ApplyDefinitionsResponse *response = applied(sagad, &first);
    assert_int_equal(response->n_address_changes, 1);
    assert_int_equal(response->address_changes[0]->n_before, 0);
    assert_string_equal(listed_address(sagad, right), "ipc:///nonexistent/right");
    /* Nobody listens at the dry run's: nng 1.5.2 loses a connection that is closed while it is
     * made. */
    struct apply move = {.service = right, .address = "ipc:///nonexistent/dry", .dry_run = true};
    for (int again = 0; again < 2; again++) {
        response = applied(sagad, &move);
        assert_int_equal(response->n_address_changes, 1);
        const Saga__V1__AddressChange *change = response->address_changes[0];
        assert_string_equal(change->service, right);
        assert_int_equal(change->n_before, 1);
        assert_string_equal(change->before[0], "ipc:///nonexistent/right");
        assert_int_equal(change->n_after, 1);
        assert_string_equal(change->after[0], move.address);
        if (move.dry_run) { /* it has told it, and done nothing */
            assert_string_equal(listed_address(sagad, right), "ipc:///nonexistent/right");
        }
        move = (struct apply){.service = right, .address = there};
    }
    assert_string_equal(listed_address(sagad, right), there);
    assert_true(sagad_log_has(sagad, "participant_moved"));
    assert_true(sagad_log_has(sagad, "old=\"ipc:///nonexistent/right\""));
    assert_true(sagad_log_has(sagad, "who=\"tester\""));
    /* The same again moves nothing, and neither does what the daemon was started with. */
    assert_int_equal(applied(sagad, &move)->n_address_changes, 0);
    struct apply fixed = {.service = "breaker.v1.LeftService", .address = "ipc:///nonexistent/l"};
    assert_int_equal(applied(sagad, &fixed)->n_address_changes, 0);
    assert_string_equal(listed_address(sagad, "breaker.v1.LeftService"),
                        sagad->fakes->fakes[FAKE_LEFT].address);
    sagad_wait_state(sagad, begin(sagad, "moved"), STATE(COMPLETED), DEADLINE_MS);
}

static void test_apply_when_addresses_move_while_commands_are_out_then_nothing_is_lost(void **state)
{
    struct sagad *sagad = *state;
    const char *right = "breaker.v1.RightService";
    const char *there = sagad->fakes->fakes[FAKE_RIGHT].address;
    sagad->without = right;
    sagad_start(sagad);
    struct apply place = {.service = right, .address = there};
    (void)applied(sagad, &place);
    for (size_t i = 0; i < SOME; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "moves%zu", i);
        ids[i] = begin(sagad, key);
        struct apply move = {.service = right,
                             .address = i % 2 == 0 ? "ipc:///nonexistent/right" : there};
        (void)applied(sagad, &move);
    }
    assert_int_equal(sagad_wait_ended(sagad, ids, SOME, 2 * DEADLINE_MS), SOME);
}

/* ---- What is let go ---- */

static void test_apply_when_it_is_done_hundreds_of_times_then_what_nothing_needs_goes(void **state)
{
    struct sagad *sagad = *state;
    fake_down(sagad->fakes, FAKE_END);
    struct saga_id first = begin(sagad, "first");
    for (unsigned i = 1; i <= MANY_APPLIES; i++) {
        assert_int_equal(apply_variant(sagad, i), OUTCOME(REPLACED));
    }
    assert_int_equal(list(sagad, false)->n_definitions, 2);
    /* Those in flight, the oldest too, stand on one page; all that were, on two. */
    assert_false(list(sagad, false)->more);
    const Saga__V1__ListDefinitionsResponse *all = list(sagad, true);
    assert_int_equal(all->n_definitions, PAGE);
    assert_true(all->more);
    all = page(sagad, true, all->definitions[PAGE - 1]);
    assert_int_equal(all->n_definitions, MANY_APPLIES + 1 - PAGE);
    assert_false(all->more);
    assert_int_equal(all->definitions[MANY_APPLIES - PAGE]->live_count, 1); /* the oldest */
    assert_int_equal(page(sagad, true, all->definitions[MANY_APPLIES - PAGE])->n_definitions, 0);
    struct saga_id last = begin(sagad, "last");
    sagad_kill(sagad);
    sagad_start(sagad);
    assert_int_equal(variant_of(sagad, first), 0);
    assert_int_equal(variant_of(sagad, last), MANY_APPLIES);
    fake_up(sagad->fakes, FAKE_END);
    sagad_wait_state(sagad, first, STATE(COMPLETED), DEADLINE_MS);
    sagad_wait_state(sagad, last, STATE(COMPLETED), DEADLINE_MS);
    assert_true(saga_test_until(one_version_is_left, sagad, DEADLINE_MS));
}

static void test_list_when_the_place_to_begin_behind_is_wrong_then_refused(void **state)
{
    struct sagad *sagad = *state;
    static uint8_t hash[32];
    Saga__V1__ListDefinitionsRequest request = SAGA__V1__LIST_DEFINITIONS_REQUEST__INIT;
    request.after_hash = (ProtobufCBinaryData){sizeof hash, hash};
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "ListDefinitions", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_INVALID_ARGUMENT);
    request.after_name = (char *)(uintptr_t) "pair";
    request.after_hash.len = 31;
    reply = sagad_ask(sagad, ORCHESTRATOR "ListDefinitions", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_INVALID_ARGUMENT);
    /* Behind a version that there is not: behind all of its name. */
    request.after_hash.len = 32;
    reply = sagad_ask(sagad, ORCHESTRATOR "ListDefinitions", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__ListDefinitionsResponse *response =
        (const Saga__V1__ListDefinitionsResponse *)(const void *)saga_message_decode(
            &saga__v1__list_definitions_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    for (size_t i = 0; i < response->n_definitions; i++) {
        assert_true(strcmp(response->definitions[i]->name, "pair") > 0);
    }
}

/* ---- Reflection ---- */

static void test_schema_when_a_definition_was_applied_then_its_set_is_told(void **state)
{
    struct sagad *sagad = *state;
    assert_int_equal(apply_variant(sagad, 3), OUTCOME(REPLACED));
    Saga__V1__GetDescriptorSetRequest request = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    request.definition = (char *)(uintptr_t) "pair";
    struct saga_reply reply =
        sagad_ask(sagad, "saga.v1.ReflectionService/GetDescriptorSet", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__GetDescriptorSetResponse *response =
        (const Saga__V1__GetDescriptorSetResponse *)(const void *)saga_message_decode(
            &saga__v1__get_descriptor_set_response__descriptor, reply.payload, &sagad->arena);
    struct saga_bytes set = set_of(sagad, 3);
    assert_int_equal(response->descriptor_set.len, set.size);
    assert_memory_equal(response->descriptor_set.data, set.data, set.size);
    request.definition = (char *)(uintptr_t) "no-such";
    reply = sagad_ask(sagad, "saga.v1.ReflectionService/GetDescriptorSet", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_NOT_FOUND);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, sagad_teardown)
#define STOPPED(test) cmocka_unit_test_setup_teardown(test, setup_only, sagad_teardown)
    const struct CMUnitTest tests[] = {
        T(test_apply_when_sagas_are_in_flight_then_each_ends_on_its_own_version),
        T(test_apply_when_asked_again_then_the_outcome_tells_what_it_did),
        T(test_apply_when_the_input_of_a_start_fits_no_more_then_its_key_still_answers),
        T(test_apply_when_two_come_in_one_message_then_the_last_holds),
        T(test_apply_when_killed_and_started_with_the_old_set_then_it_holds),
        T(test_remove_when_sagas_are_in_flight_then_they_drain_and_none_starts),
        T(test_apply_when_paused_then_the_new_version_is_held_too),
        T(test_apply_when_the_set_is_wrong_then_nothing_is_applied),
        T(test_apply_when_truncated_anywhere_then_is_refused_and_nothing_breaks),
        STOPPED(test_apply_when_it_tells_an_address_then_what_waits_goes_on),
        STOPPED(test_apply_when_only_an_address_moves_then_it_is_told_listed_and_logged),
        STOPPED(test_apply_when_addresses_move_while_commands_are_out_then_nothing_is_lost),
        T(test_apply_when_it_is_done_hundreds_of_times_then_what_nothing_needs_goes),
        T(test_list_when_the_place_to_begin_behind_is_wrong_then_refused),
        T(test_schema_when_a_definition_was_applied_then_its_set_is_told),
    };
#undef STOPPED
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
