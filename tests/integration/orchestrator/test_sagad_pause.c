/* A paused definition of a running sagad: what is held, what a kill leaves, who is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/orchestrator/sagad_fixture.h"

#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name

enum { MANY = 300 };

static struct saga_id ids[MANY];

static int setup(void **state)
{
    (void)sagad_setup(state);
    sagad_start(*state);
    return 0;
}

static int teardown(void **state)
{
    return sagad_teardown(state);
}

static struct saga_reply ask_pause(struct sagad *sagad, const char *definition, const char *who)
{
    Saga__V1__PauseDefinitionRequest request = SAGA__V1__PAUSE_DEFINITION_REQUEST__INIT;
    request.definition = (char *)(uintptr_t)definition;
    request.who = (char *)(uintptr_t)who;
    request.why = (char *)(uintptr_t) "to see";
    return sagad_ask(sagad, ORCHESTRATOR "PauseDefinition", &request.base);
}

/* Tells whether it was changed by this. */
static bool pause_pair(struct sagad *sagad)
{
    struct saga_reply reply = ask_pause(sagad, "pair", "tester");
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__PauseDefinitionResponse *response =
        (const Saga__V1__PauseDefinitionResponse *)(const void *)saga_message_decode(
            &saga__v1__pause_definition_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    assert_non_null(response->pause);
    assert_string_equal(response->pause->who, "tester");
    assert_string_equal(response->pause->why, "to see");
    assert_true(response->pause->since_unix_ms > 0);
    return response->changed;
}

static bool resume_pair(struct sagad *sagad)
{
    Saga__V1__ResumeDefinitionRequest request = SAGA__V1__RESUME_DEFINITION_REQUEST__INIT;
    request.definition = (char *)(uintptr_t) "pair";
    request.who = (char *)(uintptr_t) "tester";
    request.why = (char *)(uintptr_t) "seen";
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "ResumeDefinition", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__ResumeDefinitionResponse *response =
        (const Saga__V1__ResumeDefinitionResponse *)(const void *)saga_message_decode(
            &saga__v1__resume_definition_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    return response->changed;
}

/* Who has paused "pair"; "": nobody. */
static void paused_by(struct sagad *sagad, char who[64])
{
    Saga__V1__ListDefinitionsRequest request = SAGA__V1__LIST_DEFINITIONS_REQUEST__INIT;
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "ListDefinitions", &request.base);
    const Saga__V1__ListDefinitionsResponse *response =
        (const Saga__V1__ListDefinitionsResponse *)(const void *)saga_message_decode(
            &saga__v1__list_definitions_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    who[0] = '\0';
    for (size_t i = 0; i < response->n_definitions; i++) {
        const Saga__V1__DefinitionView *view = response->definitions[i];
        bool pair = strcmp(view->name, "pair") == 0;
        assert_true(pair || view->pause == NULL);
        if (pair && view->pause != NULL) {
            (void)snprintf(who, 64, "%s", view->pause->who);
        }
    }
}

static void assert_start_is_held(struct sagad *sagad)
{
    struct start start = {.key = "held", .n = 1};
    struct started started = sagad_begin(sagad, &start);
    assert_int_equal(started.code, SAGA_CODE_UNAVAILABLE);
    assert_string_equal(started.reason, "DEFINITION_PAUSED");
}

/* Waits until both first steps of all are done. */
static void wait_held(struct sagad *sagad)
{
    for (size_t i = 0; i < MANY; i++) {
        sagad_wait_seq(sagad, ids[i], 3);
    }
    assert_int_equal(fake_commands(sagad->fakes, FAKE_END), 0);
}

static void test_pause_when_sagas_are_in_flight_then_holds_them_over_a_kill(void **state)
{
    struct sagad *sagad = *state;
    char who[64];
    char detail[256];
    fake_down(sagad->fakes, FAKE_LEFT);
    fake_down(sagad->fakes, FAKE_RIGHT);
    sagad_begin_many(sagad, "many", MANY, ids);
    assert_true(pause_pair(sagad));
    assert_false(pause_pair(sagad));
    fake_up(sagad->fakes, FAKE_LEFT);
    fake_up(sagad->fakes, FAKE_RIGHT);
    wait_held(sagad);
    assert_start_is_held(sagad);
    const Saga__V1__SagaView *view = sagad_get(sagad, ids[0], false)->saga;
    assert_non_null(view->pause);
    assert_non_null(strstr(view->next_action, "sagactl resume pair"));
    assert_int_equal(sagad_health(sagad, "definitions", detail),
                     SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING);
    assert_non_null(strstr(detail, "1 paused"));
    assert_true(sagad_metric(sagad, "saga_definitions_paused") == 1.0);

    sagad_kill(sagad);
    sagad_start(sagad);
    paused_by(sagad, who);
    assert_string_equal(who, "tester");
    assert_start_is_held(sagad);
    assert_int_equal(fake_commands(sagad->fakes, FAKE_END), 0);

    assert_true(resume_pair(sagad));
    assert_false(resume_pair(sagad));
    assert_int_equal(sagad_wait_ended(sagad, ids, MANY, DEADLINE_MS), MANY);
    paused_by(sagad, who);
    assert_string_equal(who, "");
    for (size_t i = 0; i < MANY; i += 50) {
        (void)sagad_check_events(sagad, ids[i]);
    }
}

static void test_resume_when_a_step_was_held_then_the_saga_tells_who_let_it_go_on(void **state)
{
    struct sagad *sagad = *state;
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_HOLD, SAGA_CODE_OK);
    struct start start = {.key = "one", .n = 1};
    struct saga_id id = sagad_begin(sagad, &start).id;
    assert_true(pause_pair(sagad));
    fake_release(sagad->fakes, FAKE_LEFT);
    sagad_wait_seq(sagad, id, 3);
    assert_true(resume_pair(sagad));
    sagad_wait_state(sagad, id, STATE(COMPLETED), DEADLINE_MS);
    const Saga__V1__GetSagaResponse *got = sagad_get(sagad, id, true);
    unsigned told = 0;
    for (size_t i = 0; i < got->n_events; i++) {
        const Saga__V1__Operator *by = got->events[i]->operator_;
        told += by != NULL && by->act == SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESUME &&
                        strcmp(by->who, "tester") == 0 && strcmp(by->why, "seen") == 0
                    ? 1
                    : 0;
    }
    assert_int_equal(told, 1); /* S12 */
    assert_null(got->saga->pause);
    (void)sagad_check_events(sagad, id);
}

static void test_pause_when_the_request_is_wrong_then_is_refused_with_a_reason(void **state)
{
    struct sagad *sagad = *state;
    char who[64];
    char long_who[128];
    memset(long_who, 'x', sizeof long_who);
    long_who[64] = '\0';
    assert_int_equal(ask_pause(sagad, "nobody", "tester").status.code, SAGA_CODE_NOT_FOUND);
    assert_int_equal(ask_pause(sagad, "", "tester").status.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_int_equal(ask_pause(sagad, "pair", "").status.code, SAGA_CODE_INVALID_ARGUMENT);
    struct saga_reply reply = ask_pause(sagad, "pair", long_who);
    assert_int_equal(reply.status.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(reply.status.reason, "BAD_ACT");
    Saga__V1__ResumeDefinitionRequest request = SAGA__V1__RESUME_DEFINITION_REQUEST__INIT;
    request.definition = (char *)(uintptr_t) "pair";
    request.who = (char *)(uintptr_t) "tester"; /* without why */
    assert_int_equal(sagad_ask(sagad, ORCHESTRATOR "ResumeDefinition", &request.base).status.code,
                     SAGA_CODE_INVALID_ARGUMENT);
    paused_by(sagad, who);
    assert_string_equal(who, "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_pause_when_sagas_are_in_flight_then_holds_them_over_a_kill),
        T(test_resume_when_a_step_was_held_then_the_saga_tells_who_let_it_go_on),
        T(test_pause_when_the_request_is_wrong_then_is_refused_with_a_reason),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
