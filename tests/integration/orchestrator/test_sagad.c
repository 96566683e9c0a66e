/* sagad's admin API and its way of working: sagas that go well, starts, reads, acts, bytes that
 * mean nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/sys/clock.h"
#include "saga/v1/audit.pb-c.h"
#include "saga/v1/reflection.pb-c.h"
#include "tests/integration/orchestrator/sagad_fixture.h"

#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name
#define ACT(name) SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_##name

enum { WAITERS = 1024, LISTED = 25 };

static int setup(void **state)
{
    (void)sagad_setup(state);
    sagad_start(*state);
    return 0;
}

/* ---- Sagas that go well ---- */

static void test_saga_when_all_say_yes_then_completes_with_chained_events(void **state)
{
    struct sagad *sagad = *state;
    struct start start = {.key = "one", .n = 7, .wait_ms = DEADLINE_MS};
    struct started started = sagad_begin(sagad, &start);
    assert_int_equal(started.code, SAGA_CODE_OK);
    assert_int_equal(started.state, STATE(COMPLETED));
    assert_false(started.existing);
    assert_int_equal(sagad_check_events(sagad, started.id), 5); /* START, four replies */
    const Saga__V1__SagaView *saga = sagad_get(sagad, started.id, false)->saga;
    assert_string_equal(saga->definition, "pair");
    assert_string_equal(saga->key, "one");
    assert_string_equal(saga->context_type, "breaker.v1.Pair");
    assert_int_equal(saga->n_steps, 4);
    assert_true(saga->created_unix_ms <= saga->ended_unix_ms);
    /* The branches' fields come in the order of their replies. */
    static const uint8_t contexts[2][8] = {{0x08, 7, 0x12, 1, 'p', 0x1a, 1, 'p'},
                                           {0x08, 7, 0x1a, 1, 'p', 0x12, 1, 'p'}};
    assert_int_equal(saga->context.len, sizeof contexts[0]);
    assert_true(memcmp(saga->context.data, contexts[0], sizeof contexts[0]) == 0 ||
                memcmp(saga->context.data, contexts[1], sizeof contexts[1]) == 0);
    assert_int_equal(sagad_wait_ended(sagad, &started.id, 1, DEADLINE_MS), 1);
}

static bool both_hold(void *argument)
{
    struct fakes *fakes = argument;
    return fake_held(fakes, FAKE_LEFT) == 1 && fake_held(fakes, FAKE_RIGHT) == 1;
}

static void test_saga_when_branches_are_parallel_then_both_are_called_at_once(void **state)
{
    struct sagad *sagad = *state;
    fakes_set(sagad->fakes, FAKE_HOLD);
    struct start start = {.key = "one", .n = 7};
    struct started started = sagad_begin(sagad, &start);
    assert_true(saga_test_until(both_hold, sagad->fakes, 900)); /* within the first attempt */
    assert_int_equal(fake_commands(sagad->fakes, FAKE_END), 0);
    assert_int_equal(sagad_get(sagad, started.id, false)->saga->seq, 1); /* one event for both */
    fake_set(sagad->fakes, FAKE_END, FAKE_OK, SAGA_CODE_OK);
    fake_release(sagad->fakes, FAKE_LEFT);
    fake_release(sagad->fakes, FAKE_RIGHT);
    assert_int_equal(sagad_wait_ended(sagad, &started.id, 1, DEADLINE_MS), 1);
}

static void test_starts_when_they_come_together_then_commands_go_out_as_one_message(void **state)
{
    struct sagad *sagad = *state;
    struct saga_id ids[BATCH_MAX];
    sagad_begin_many(sagad, "batch", BATCH_MAX, ids);
    assert_int_equal(sagad_wait_ended(sagad, ids, BATCH_MAX, DEADLINE_MS), BATCH_MAX);
    assert_int_equal(sagad->fakes->fakes[FAKE_LEFT].batch_max, BATCH_MAX);
    assert_int_equal(sagad->fakes->fakes[FAKE_RIGHT].batch_max, BATCH_MAX);
    assert_int_equal(fake_messages(sagad->fakes, FAKE_LEFT), 1);
    assert_int_equal(fake_commands(sagad->fakes, FAKE_LEFT), BATCH_MAX);
    /* Group commit: 1,280 events in a handful of transactions. */
    assert_true(sagad_metric(sagad, "saga_events_total") >= 5.0 * BATCH_MAX);
    assert_true(sagad_metric(sagad, "saga_commits_total") <= 64);
    assert_true(sagad_metric(sagad, "saga_started_total") == (double)BATCH_MAX);
    assert_true(sagad_metric(sagad, "saga_ended_total{state=\"completed\"}") == (double)BATCH_MAX);
    assert_true(sagad_metric(sagad, "saga_live") == 0);
    assert_int_equal(sagad_http(sagad, "/readyz"), 200);
}

/* ---- Starts ---- */

static void test_start_when_its_key_is_used_again_then_is_that_saga_or_refused(void **state)
{
    struct sagad *sagad = *state;
    struct start start = {.key = "key", .n = 1, .wait_ms = DEADLINE_MS};
    struct started first = sagad_begin(sagad, &start);
    struct started second = sagad_begin(sagad, &start);
    assert_int_equal(second.code, SAGA_CODE_OK);
    assert_true(second.existing);
    assert_int_equal(second.state, STATE(COMPLETED));
    assert_memory_equal(first.id.b, second.id.b, SAGA_ID_SIZE);
    start.n = 2;
    struct started third = sagad_begin(sagad, &start);
    assert_int_equal(third.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(third.reason, "KEY_REUSED");
    /* The key belongs to the definition; and it holds within one batch too. */
    fakes_set_brief(sagad->fakes, true);
    struct saga_buf batch = {0};
    struct start brief = {.definition = "brief", .key = "key", .n = 9};
    start_add(&brief, &batch);
    start_add(&brief, &batch);
    brief.n = 10;
    start_add(&brief, &batch);
    size_t count = 0;
    struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &count);
    saga_buf_fini(&batch);
    assert_int_equal(count, 3);
    struct started a = started_of(&replies[0], &sagad->arena);
    struct started b = started_of(&replies[1], &sagad->arena);
    struct started c = started_of(&replies[2], &sagad->arena);
    assert_int_equal(a.code, SAGA_CODE_OK);
    assert_false(a.existing);
    assert_true(b.existing);
    assert_memory_equal(a.id.b, b.id.b, SAGA_ID_SIZE);
    assert_int_equal(c.code, SAGA_CODE_INVALID_ARGUMENT);
    sagad_wait_state(sagad, a.id, STATE(COMPLETED), DEADLINE_MS);
}

static void test_start_when_it_is_wrong_then_is_refused_with_a_reason(void **state)
{
    struct sagad *sagad = *state;
    char long_key[200];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    const struct {
        struct start start;
        uint32_t code;
        const char *reason;
    } cases[] = {
        {{.definition = "no-such", .key = "k"}, SAGA_CODE_NOT_FOUND, "DEFINITION_UNKNOWN"},
        {{.definition = "", .key = "k"}, SAGA_CODE_NOT_FOUND, "DEFINITION_UNKNOWN"},
        {{.key = ""}, SAGA_CODE_INVALID_ARGUMENT, "BAD_KEY"},
        {{.key = long_key}, SAGA_CODE_INVALID_ARGUMENT, "BAD_KEY"},
        {{.key = "k", .wait_ms = -1}, SAGA_CODE_INVALID_ARGUMENT, "BAD_WAIT"},
        {{.key = "k", .wait_ms = 60001}, SAGA_CODE_INVALID_ARGUMENT, "BAD_WAIT"},
        {{.key = "k\xff"}, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct started started = sagad_begin(sagad, &cases[i].start);
        assert_int_equal(started.code, cases[i].code);
        assert_string_equal(started.reason, cases[i].reason);
    }
    Saga__V1__StartSagaRequest request = SAGA__V1__START_SAGA_REQUEST__INIT;
    static uint8_t garbage[] = {0xff, 0xff};
    static uint8_t huge[70000];
    request.definition = (char *)(uintptr_t) "pair";
    request.key = (char *)(uintptr_t) "k";
    request.input = (ProtobufCBinaryData){sizeof garbage, garbage};
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "StartSaga", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(reply.status.reason, "BAD_INPUT");
    request.input = (ProtobufCBinaryData){sizeof huge, huge};
    reply = sagad_ask(sagad, ORCHESTRATOR "StartSaga", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(reply.status.reason, "INPUT_TOO_LARGE");
    assert_true(sagad_metric(sagad, "saga_started_total") == 0);
}

static void test_start_when_it_waits_too_long_then_answers_with_what_is(void **state)
{
    struct sagad *sagad = *state;
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_CODE, SAGA_CODE_UNAVAILABLE);
    struct start start = {.key = "slow", .n = 1, .wait_ms = 300};
    int64_t begun = saga_test_now_ms();
    struct started started = sagad_begin(sagad, &start);
    assert_true(saga_test_now_ms() - begun >= 300);
    assert_int_equal(started.code, SAGA_CODE_OK);
    assert_int_equal(started.state, STATE(RUNNING));
    /* The same again joins the wait and sees the end. */
    start.wait_ms = DEADLINE_MS;
    fakes_set(sagad->fakes, FAKE_OK);
    started = sagad_begin(sagad, &start);
    assert_true(started.existing);
    assert_int_equal(started.state, STATE(COMPLETED));
}

static void test_start_when_too_many_are_in_flight_then_is_refused(void **state)
{
    struct sagad *sagad = *state;
    (void)sagad_setup((void **)&sagad);
    sagad->live_max = "10";
    fake_down(sagad->fakes, FAKE_LEFT);
    sagad_start(sagad);
    struct saga_id ids[10];
    sagad_begin_many(sagad, "key", 10, ids);
    struct start start = {.key = "more", .n = 1};
    struct started started = sagad_begin(sagad, &start);
    assert_int_equal(started.code, SAGA_CODE_RESOURCE_EXHAUSTED);
    assert_string_equal(started.reason, "TOO_MANY_SAGAS");
    fake_up(sagad->fakes, FAKE_LEFT);
    assert_int_equal(sagad_wait_ended(sagad, ids, 10, DEADLINE_MS), 10);
    assert_int_equal(sagad_begin(sagad, &start).code, SAGA_CODE_OK);
    assert_int_equal(sagad_teardown((void **)&sagad), 0);
}

struct waits {
    pthread_mutex_t lock;
    size_t answered;
    size_t completed;
};

/* Thread: NNG's. */
static void wait_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct waits *waits = user;
    struct saga_arena arena = {0};
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    bool good = outcome == SAGA_RPC_REPLIED &&
                saga_reply_batch_decode(bytes, &arena, &replies, &count, &status) == SAGA_ERR_OK &&
                count == 1 && replies[0].status.code == SAGA_CODE_OK &&
                started_of(&replies[0], &arena).state == STATE(COMPLETED);
    (void)pthread_mutex_lock(&waits->lock);
    waits->answered += 1;
    waits->completed += good ? 1 : 0;
    (void)pthread_mutex_unlock(&waits->lock);
    saga_arena_fini(&arena);
}

static size_t answered(struct waits *waits)
{
    (void)pthread_mutex_lock(&waits->lock);
    size_t count = waits->answered;
    (void)pthread_mutex_unlock(&waits->lock);
    return count;
}

static bool all_wait(void *argument)
{
    return sagad_metric(argument, "saga_live") == (double)WAITERS;
}

static bool all_answered(void *argument)
{
    return answered(argument) == WAITERS;
}

static void test_clients_when_a_thousand_wait_then_others_are_still_answered(void **state)
{
    struct sagad *sagad = *state;
    struct waits waits = {.answered = 0};
    (void)pthread_mutex_init(&waits.lock, NULL);
    fakes_set(sagad->fakes, FAKE_HOLD);
    fake_down(sagad->fakes, FAKE_END); /* nothing ends before it is up */
    fakes_set(sagad->fakes, FAKE_OK);
    for (size_t i = 0; i < WAITERS; i++) {
        char key[32];
        struct saga_buf batch = {0};
        (void)snprintf(key, sizeof key, "w%zu", i);
        struct start start = {.key = key, .n = (int64_t)i, .wait_ms = 60000};
        start_add(&start, &batch);
        assert_int_equal(
            saga_rpc_client_send(sagad->client, saga_buf_view(&batch), 60000, wait_done, &waits),
            SAGA_ERR_OK);
        saga_buf_fini(&batch);
    }
    assert_true(saga_test_until(all_wait, sagad, DEADLINE_MS));
    assert_int_equal(answered(&waits), 0);
    int64_t begun = saga_test_now_ms();
    assert_true(sagad_health(sagad, "store", NULL) == 1);
    assert_true(saga_test_now_ms() - begun < 2000);
    fake_up(sagad->fakes, FAKE_END);
    assert_true(saga_test_until(all_answered, &waits, DEADLINE_MS));
    assert_int_equal(waits.completed, WAITERS);
    (void)pthread_mutex_destroy(&waits.lock);
}

/* ---- Reads ---- */

static struct saga_reply watch(struct sagad *sagad, struct saga_id id, uint64_t after, int64_t wait)
{
    Saga__V1__WatchSagaRequest request = SAGA__V1__WATCH_SAGA_REQUEST__INIT;
    request.saga_id = (ProtobufCBinaryData){SAGA_ID_SIZE, id.b};
    request.after_seq = after;
    request.wait_ms = wait;
    return sagad_ask(sagad, ORCHESTRATOR "WatchSaga", &request.base);
}

static const Saga__V1__WatchSagaResponse *watched(struct sagad *sagad, struct saga_reply reply)
{
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__WatchSagaResponse *response =
        (const Saga__V1__WatchSagaResponse *)(const void *)saga_message_decode(
            &saga__v1__watch_saga_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    return response;
}

static void test_watch_when_nothing_is_new_then_waits_for_the_next_event(void **state)
{
    struct sagad *sagad = *state;
    fakes_set(sagad->fakes, FAKE_HOLD);
    struct start start = {.key = "one", .n = 1};
    struct started started = sagad_begin(sagad, &start);
    const Saga__V1__WatchSagaResponse *seen =
        watched(sagad, watch(sagad, started.id, 0, DEADLINE_MS));
    assert_int_equal(seen->n_events, 1);
    assert_int_equal(seen->state, STATE(RUNNING));
    int64_t begun = saga_test_now_ms();
    seen = watched(sagad, watch(sagad, started.id, 1, 200)); /* the attempt ends after 1000 */
    assert_int_equal(seen->n_events, 0);
    assert_true(saga_test_now_ms() - begun >= 200);
    seen = watched(sagad, watch(sagad, started.id, 1, DEADLINE_MS));
    assert_int_equal(seen->n_events, 1);
    assert_int_equal(seen->events[0]->kind, SAGA__V1__EVENT_KIND__EVENT_KIND_TIMER);
    fakes_set(sagad->fakes, FAKE_OK);
    uint64_t after = seen->events[0]->seq;
    while (seen->state != STATE(COMPLETED)) {
        seen = watched(sagad, watch(sagad, started.id, after, DEADLINE_MS));
        assert_true(seen->n_events > 0);
        assert_int_equal(seen->events[0]->seq, after + 1);
        after = seen->events[seen->n_events - 1]->seq;
    }
    seen = watched(sagad, watch(sagad, started.id, after, DEADLINE_MS)); /* ended: no wait */
    assert_int_equal(seen->n_events, 0);
    static const struct saga_id nobody = {.b = {1, 2, 3}};
    assert_int_equal(watch(sagad, nobody, 0, 1000).status.code, SAGA_CODE_NOT_FOUND);
    assert_int_equal(watch(sagad, started.id, 0, 60001).status.code, SAGA_CODE_INVALID_ARGUMENT);
}

static const Saga__V1__ListSagasResponse *list(struct sagad *sagad,
                                               Saga__V1__ListSagasRequest *request)
{
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "ListSagas", &request->base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__ListSagasResponse *response =
        (const Saga__V1__ListSagasResponse *)(const void *)saga_message_decode(
            &saga__v1__list_sagas_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    return response;
}

static void test_list_when_paged_and_filtered_then_shows_each_saga_once(void **state)
{
    struct sagad *sagad = *state;
    int64_t begun = saga_clock_unix_ms();
    struct saga_id ids[LISTED];
    sagad_begin_many(sagad, "done", LISTED, ids);
    assert_int_equal(sagad_wait_ended(sagad, ids, LISTED, DEADLINE_MS), LISTED);
    fake_down(sagad->fakes, FAKE_LEFT);
    struct start start = {.key = "live", .n = 1};
    struct started live = sagad_begin(sagad, &start);
    size_t seen = 0;
    struct saga_id before;
    Saga__V1__ListSagasRequest request = SAGA__V1__LIST_SAGAS_REQUEST__INIT;
    request.limit = 10;
    const Saga__V1__ListSagasResponse *page = list(sagad, &request);
    assert_memory_equal(page->sagas[0]->saga_id.data, live.id.b, SAGA_ID_SIZE); /* newest first */
    while (page->n_sagas > 0) {
        for (size_t i = 0; i < page->n_sagas; i++) {
            const Saga__V1__SagaView *saga = page->sagas[i];
            assert_true(seen == 0 || memcmp(saga->saga_id.data, before.b, SAGA_ID_SIZE) < 0);
            assert_true(saga->created_unix_ms >= begun);
            assert_true(saga->created_unix_ms <= saga_clock_unix_ms());
            assert_true(saga->updated_unix_ms >= saga->created_unix_ms);
            memcpy(before.b, saga->saga_id.data, SAGA_ID_SIZE);
            seen += 1;
        }
        request.before = (ProtobufCBinaryData){SAGA_ID_SIZE, before.b};
        page = list(sagad, &request);
    }
    assert_int_equal(seen, LISTED + 1);
    request = (Saga__V1__ListSagasRequest)SAGA__V1__LIST_SAGAS_REQUEST__INIT;
    request.state = STATE(RUNNING);
    assert_int_equal(list(sagad, &request)->n_sagas, 1);
    request.state = STATE(COMPLETED);
    assert_int_equal(list(sagad, &request)->n_sagas, LISTED);
    request.definition = (char *)(uintptr_t) "brief";
    assert_int_equal(list(sagad, &request)->n_sagas, 0);
    request.limit = 1001;
    assert_int_equal(sagad_ask(sagad, ORCHESTRATOR "ListSagas", &request.base).status.code,
                     SAGA_CODE_INVALID_ARGUMENT);
    fake_up(sagad->fakes, FAKE_LEFT);
}

static void test_get_when_asked_by_key_then_finds_the_saga(void **state)
{
    struct sagad *sagad = *state;
    struct start start = {.key = "one", .n = 1, .wait_ms = DEADLINE_MS};
    struct started started = sagad_begin(sagad, &start);
    Saga__V1__GetSagaRequest request = SAGA__V1__GET_SAGA_REQUEST__INIT;
    request.definition = (char *)(uintptr_t) "pair";
    request.key = (char *)(uintptr_t) "one";
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "GetSaga", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__GetSagaResponse *got =
        (const Saga__V1__GetSagaResponse *)(const void *)saga_message_decode(
            &saga__v1__get_saga_response__descriptor, reply.payload, &sagad->arena);
    assert_memory_equal(got->saga->saga_id.data, started.id.b, SAGA_ID_SIZE);
    assert_int_equal(got->n_events, 0);
    request.key = (char *)(uintptr_t) "two";
    assert_int_equal(sagad_ask(sagad, ORCHESTRATOR "GetSaga", &request.base).status.code,
                     SAGA_CODE_NOT_FOUND);
    uint8_t half[8] = {0};
    request.saga_id = (ProtobufCBinaryData){sizeof half, half};
    assert_int_equal(sagad_ask(sagad, ORCHESTRATOR "GetSaga", &request.base).status.code,
                     SAGA_CODE_INVALID_ARGUMENT);
}

static void test_definitions_when_listed_then_tell_what_is_in_flight(void **state)
{
    struct sagad *sagad = *state;
    fake_down(sagad->fakes, FAKE_LEFT);
    sagad_begin_many(sagad, "live", 3, NULL);
    Saga__V1__ListDefinitionsRequest request = SAGA__V1__LIST_DEFINITIONS_REQUEST__INIT;
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "ListDefinitions", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__ListDefinitionsResponse *response =
        (const Saga__V1__ListDefinitionsResponse *)(const void *)saga_message_decode(
            &saga__v1__list_definitions_response__descriptor, reply.payload, &sagad->arena);
    assert_int_equal(response->n_definitions, 2);
    for (size_t i = 0; i < 2; i++) {
        bool pair = strcmp(response->definitions[i]->name, "pair") == 0;
        assert_int_equal(response->definitions[i]->live_count, pair ? 3 : 0);
        assert_int_equal(response->definitions[i]->n_steps, pair ? 4 : 2);
        assert_true(response->definitions[i]->current);
        assert_int_equal(response->definitions[i]->hash.len, 32);
    }
    Saga__V1__GetDescriptorSetRequest schema = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    reply = sagad_ask(sagad, "saga.v1.ReflectionService/GetDescriptorSet", &schema.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    assert_true(reply.payload.size > 1000);
    fake_up(sagad->fakes, FAKE_LEFT);
}

/* ---- Acts ---- */

static void test_operator_when_the_act_is_not_possible_then_is_refused(void **state)
{
    struct sagad *sagad = *state;
    char reason[64];
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_CODE, SAGA_CODE_UNAVAILABLE);
    struct start start = {.key = "one", .n = 1};
    struct saga_id id = sagad_begin(sagad, &start).id;
    static const struct saga_id nobody = {.b = {1}};
    assert_int_equal(sagad_operate(sagad, nobody, ACT(RETRY), "", reason), SAGA_CODE_NOT_FOUND);
    assert_int_equal(sagad_operate(sagad, id, ACT(SKIP), "nowhere", reason),
                     SAGA_CODE_INVALID_ARGUMENT);
    assert_string_equal(reason, "STEP_UNKNOWN");
    assert_int_equal(sagad_operate(sagad, id, (Saga__V1__OperatorAct)9, "", reason),
                     SAGA_CODE_INVALID_ARGUMENT);
    assert_int_equal(sagad_operate(sagad, id, ACT(COMPENSATE), "", reason),
                     SAGA_CODE_FAILED_PRECONDITION); /* only a parked one */
    assert_int_equal(sagad_operate(sagad, id, ACT(RESOLVE), "pivot", reason),
                     SAGA_CODE_FAILED_PRECONDITION); /* its turn has not come */
    assert_string_equal(reason, "ACT_REFUSED");
    Saga__V1__OperateSagaRequest request = SAGA__V1__OPERATE_SAGA_REQUEST__INIT;
    request.saga_id = (ProtobufCBinaryData){SAGA_ID_SIZE, id.b};
    request.act = ACT(RETRY);
    request.why = (char *)(uintptr_t) "nobody says who";
    assert_int_equal(sagad_ask(sagad, ORCHESTRATOR "OperateSaga", &request.base).status.code,
                     SAGA_CODE_INVALID_ARGUMENT);
    fakes_set(sagad->fakes, FAKE_OK);
    sagad_wait_state(sagad, id, STATE(COMPLETED), DEADLINE_MS);
    assert_int_equal(sagad_operate(sagad, id, ACT(CANCEL), "", reason), SAGA_CODE_NOT_FOUND);
    assert_string_equal(reason, "SAGA_NOT_LIVE");
}

static void test_operator_when_parked_then_retry_goes_on(void **state)
{
    struct sagad *sagad = *state;
    fake_set(sagad->fakes, FAKE_RIGHT, FAKE_CODE, SAGA_CODE_PERMISSION_DENIED);
    struct start start = {.key = "one", .n = 1};
    struct saga_id id = sagad_begin(sagad, &start).id;
    sagad_wait_state(sagad, id, STATE(PARKED), DEADLINE_MS);
    const Saga__V1__SagaView *saga = sagad_get(sagad, id, false)->saga;
    assert_string_equal(saga->cause->step, "right");
    assert_int_equal(saga->cause->status->code, SAGA_CODE_PERMISSION_DENIED);
    assert_true(strlen(saga->next_action) > 0);
    fakes_set(sagad->fakes, FAKE_OK);
    assert_int_equal(sagad_operate(sagad, id, ACT(RETRY), "", NULL), SAGA_CODE_OK);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 1);
    const Saga__V1__GetSagaResponse *got = sagad_get(sagad, id, true);
    bool told = false;
    for (size_t i = 0; i < got->n_events; i++) {
        told = told || (got->events[i]->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR &&
                        strcmp(got->events[i]->operator_->who, "tester") == 0 &&
                        strcmp(got->events[i]->operator_->why, "to see") == 0);
    }
    assert_true(told); /* S12 */
    (void)sagad_check_events(sagad, id);
}

/* An act that is possible only while no attempt is out: tried until it is. */
struct patient_act {
    struct sagad *sagad;
    struct saga_id id;
    const char *step;
};

static bool resolve_is_taken(void *user)
{
    const struct patient_act *act = user;
    char reason[64];
    return sagad_operate(act->sagad, act->id, ACT(RESOLVE), act->step, reason) == SAGA_CODE_OK;
}

static void
test_operator_when_behind_the_pivot_then_cancel_is_refused_and_resolve_ends(void **state)
{
    struct sagad *sagad = *state;
    char reason[64];
    struct start start = {.key = "one", .n = 1};
    fake_set(sagad->fakes, FAKE_END, FAKE_CODE, SAGA_CODE_UNAVAILABLE);
    struct saga_id id = sagad_begin(sagad, &start).id;
    sagad_wait_seq(sagad, id, 4); /* the pivot has left */
    assert_int_equal(sagad_operate(sagad, id, ACT(CANCEL), "", reason),
                     SAGA_CODE_FAILED_PRECONDITION); /* S11 */
    struct patient_act pivot = {sagad, id, "pivot"};
    assert_true(saga_test_until(resolve_is_taken, &pivot, DEADLINE_MS));
    /* S5: its call has left, so it is not skipped; by hand it can be resolved. */
    assert_int_equal(sagad_operate(sagad, id, ACT(SKIP), "last", reason),
                     SAGA_CODE_FAILED_PRECONDITION);
    struct patient_act last = {sagad, id, "last"};
    assert_true(saga_test_until(resolve_is_taken, &last, DEADLINE_MS));
    sagad_wait_state(sagad, id, STATE(COMPLETED), DEADLINE_MS);
}

/* ---- Bytes that mean nothing ---- */

static struct saga_status send_one(struct sagad *sagad, const void *data, size_t size)
{
    size_t count = 0;
    struct saga_reply *replies = sagad_send(sagad, (struct saga_bytes){data, size}, &count);
    assert_true(count >= 1);
    return replies[0].status;
}

static void test_bytes_when_they_are_no_batch_then_are_refused_and_sagad_goes_on(void **state)
{
    struct sagad *sagad = *state;
    uint64_t seed = (uint64_t)saga_clock_unix_ms();
    print_message("seed %llu\n", (unsigned long long)seed);
    assert_int_equal(send_one(sagad, "", 0).code, SAGA_CODE_INVALID_ARGUMENT);
    assert_int_equal(send_one(sagad, "\xff\xff\xff", 3).code, SAGA_CODE_INVALID_ARGUMENT);
    struct saga_buf whole = {0};
    struct start start = {.key = "whole", .n = 300};
    start_add(&start, &whole);
    for (size_t size = 1; size < whole.size; size++) {
        assert_int_equal(send_one(sagad, whole.data, size).code, SAGA_CODE_INVALID_ARGUMENT);
    }
    for (int i = 0; i < 500; i++) {
        struct saga_buf bent = {0};
        assert_int_equal(saga_buf_append(&bent, saga_buf_view(&whole)), SAGA_ERR_OK);
        bent.data[saga_prng_below(&seed, bent.size)] ^= (uint8_t)(1 + saga_prng_below(&seed, 255));
        (void)send_one(sagad, bent.data, bent.size);
        saga_buf_fini(&bent);
    }
    saga_buf_fini(&whole);
    size_t large = 1024 * 1024 + 1;
    uint8_t *bytes = calloc(1, large);
    assert_non_null(bytes);
    assert_int_equal(send_one(sagad, bytes, large).code, SAGA_CODE_RESOURCE_EXHAUSTED);
    free(bytes);
    assert_int_equal(sagad_health(sagad, "orchestrator", NULL), 1);
}

static struct saga_status send_command(struct sagad *sagad, const struct saga_command *command)
{
    struct saga_buf batch = {0};
    assert_int_equal(saga_command_batch_add(command, &batch), SAGA_ERR_OK);
    struct saga_status status = send_one(sagad, batch.data, batch.size);
    saga_buf_fini(&batch);
    return status;
}

static void test_command_when_it_is_not_for_sagad_then_is_refused(void **state)
{
    struct sagad *sagad = *state;
    static const uint8_t garbage[] = {0xff, 0xff};
    struct saga_command command = {.step = "",
                                   .method = "saga.v1.OrchestratorService/NoSuch",
                                   .traceparent = "",
                                   .cause_step = "",
                                   .cause_status = saga_status_ok()};
    assert_int_equal(send_command(sagad, &command).code, SAGA_CODE_UNIMPLEMENTED);
    static const char *const known[] = {"StartSaga", "OperateSaga", "GetSaga", "ListSagas",
                                        "WatchSaga"};
    command.payload = (struct saga_bytes){garbage, sizeof garbage};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char method[128];
        (void)snprintf(method, sizeof method, ORCHESTRATOR "%s", known[i]);
        command.method = method;
        assert_int_equal(send_command(sagad, &command).code, SAGA_CODE_INVALID_ARGUMENT);
    }
    command.method = ORCHESTRATOR "StartSaga";
    command.deadline_unix_ms = 1;
    assert_int_equal(send_command(sagad, &command).code, SAGA_CODE_DEADLINE_EXCEEDED);
    command.deadline_unix_ms = 0;
    command.op = SAGA_OP_CALL;
    command.saga_id.b[0] = 1;
    command.step = "left";
    command.attempt = 1;
    command.payload = (struct saga_bytes){0};
    assert_string_equal(send_command(sagad, &command).reason, "NOT_A_PARTICIPANT");
}

static void test_batch_when_its_answers_are_too_large_then_the_rest_is_refused(void **state)
{
    struct sagad *sagad = *state;
    Saga__V1__GetDescriptorSetRequest request = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_reply one =
        sagad_ask(sagad, "saga.v1.ReflectionService/GetDescriptorSet", &request.base);
    size_t size = one.payload.size;
    struct saga_command command = {.step = "",
                                   .method = "saga.v1.ReflectionService/GetDescriptorSet",
                                   .traceparent = "",
                                   .cause_step = "",
                                   .cause_status = saga_status_ok()};
    struct saga_buf batch = {0};
    for (int i = 0; i < BATCH_MAX; i++) {
        assert_int_equal(saga_command_batch_add(&command, &batch), SAGA_ERR_OK);
    }
    size_t count = 0;
    struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &count);
    assert_int_equal(count, BATCH_MAX);
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        good += replies[i].status.code == SAGA_CODE_OK ? 1 : 0;
        assert_true(replies[i].status.code == SAGA_CODE_OK ||
                    replies[i].status.code == SAGA_CODE_RESOURCE_EXHAUSTED);
    }
    assert_in_range(good, 1, 1024 * 1024 / size);
    assert_int_equal(saga_command_batch_add(&command, &batch), SAGA_ERR_OK);
    replies = sagad_send(sagad, saga_buf_view(&batch), &count); /* 257 */
    assert_int_equal(replies[0].status.code, SAGA_CODE_RESOURCE_EXHAUSTED);
    saga_buf_fini(&batch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sagad_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_saga_when_all_say_yes_then_completes_with_chained_events),
        TEST(test_saga_when_branches_are_parallel_then_both_are_called_at_once),
        TEST(test_starts_when_they_come_together_then_commands_go_out_as_one_message),
        TEST(test_start_when_its_key_is_used_again_then_is_that_saga_or_refused),
        TEST(test_start_when_it_is_wrong_then_is_refused_with_a_reason),
        TEST(test_start_when_it_waits_too_long_then_answers_with_what_is),
        cmocka_unit_test(test_start_when_too_many_are_in_flight_then_is_refused),
        TEST(test_clients_when_a_thousand_wait_then_others_are_still_answered),
        TEST(test_watch_when_nothing_is_new_then_waits_for_the_next_event),
        TEST(test_list_when_paged_and_filtered_then_shows_each_saga_once),
        TEST(test_get_when_asked_by_key_then_finds_the_saga),
        TEST(test_definitions_when_listed_then_tell_what_is_in_flight),
        TEST(test_operator_when_the_act_is_not_possible_then_is_refused),
        TEST(test_operator_when_parked_then_retry_goes_on),
        TEST(test_operator_when_behind_the_pivot_then_cancel_is_refused_and_resolve_ends),
        TEST(test_bytes_when_they_are_no_batch_then_are_refused_and_sagad_goes_on),
        TEST(test_command_when_it_is_not_for_sagad_then_is_refused),
        TEST(test_batch_when_its_answers_are_too_large_then_the_rest_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
