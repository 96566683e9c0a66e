/* Participants that misbehave, are slow, stopped, gone or not there yet: sagas wait and go on. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "saga/v1/audit.pb-c.h"
#include "tests/integration/orchestrator/sagad_fixture.h"

#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name

/* More than a client's contexts carry in full batches: the rest waits in sagad. */
enum { MANY = 8000 };

/* Sanitizers' own memory hides sagad's. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { GROWTH_KIB = 1024 * 1024 };
#else
enum { GROWTH_KIB = 16 * 1024 };
#endif

static int setup(void **state)
{
    (void)sagad_setup(state);
    sagad_start(*state);
    return 0;
}

struct attempts {
    struct sagad *sagad;
    struct saga_id id;
    size_t step;
    uint32_t wanted;
    uint32_t last_code;
};

static bool has_attempts(void *argument)
{
    struct attempts *attempts = argument;
    const Saga__V1__StepView *step =
        sagad_get(attempts->sagad, attempts->id, false)->saga->steps[attempts->step];
    attempts->last_code = step->last_status == NULL ? 0 : step->last_status->code;
    return step->call_attempts >= attempts->wanted;
}

/* Waits until the first step was tried so often; gives the code of its last failure. */
static uint32_t wait_attempts(struct sagad *sagad, struct saga_id id, uint32_t wanted)
{
    struct attempts attempts = {.sagad = sagad, .id = id, .wanted = wanted};
    if (!saga_test_until(has_attempts, &attempts, DEADLINE_MS)) {
        fail_msg("not %u attempts", wanted);
    }
    return attempts.last_code;
}

static struct saga_id begin_one(struct sagad *sagad)
{
    struct start start = {.key = "one", .n = 1};
    struct started started = sagad_begin(sagad, &start);
    assert_int_equal(started.code, SAGA_CODE_OK);
    return started.id;
}

/* ---- Answers that are none ---- */

static void expect_retried(struct sagad *sagad, enum fake_mode mode, enum saga_code code)
{
    fake_set(sagad->fakes, FAKE_LEFT, mode, SAGA_CODE_OK);
    struct saga_id id = begin_one(sagad);
    assert_int_equal(wait_attempts(sagad, id, 3), code);
    assert_int_equal(sagad_state(sagad, id), STATE(RUNNING)); /* no answer is no "no" */
    fakes_set(sagad->fakes, FAKE_OK);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 1);
    (void)sagad_check_events(sagad, id);
}

static void test_participant_when_it_answers_garbage_then_is_asked_again(void **state)
{
    expect_retried(*state, FAKE_GARBAGE, SAGA_CODE_INTERNAL);
}

static void test_participant_when_its_response_is_malformed_then_is_asked_again(void **state)
{
    expect_retried(*state, FAKE_BAD_OK, SAGA_CODE_INTERNAL);
}

static void test_participant_when_it_answers_too_little_then_is_asked_again(void **state)
{
    expect_retried(*state, FAKE_FEW, SAGA_CODE_INTERNAL);
}

static void test_participant_when_it_refuses_another_saga_then_is_asked_again(void **state)
{
    expect_retried(*state, FAKE_OTHER_SAGA, SAGA_CODE_INTERNAL);
}

static void test_participant_when_it_refuses_another_step_then_is_asked_again(void **state)
{
    expect_retried(*state, FAKE_OTHER_STEP, SAGA_CODE_INTERNAL);
}

static void test_participant_when_it_never_answers_then_is_asked_again(void **state)
{
    expect_retried(*state, FAKE_SILENT, SAGA_CODE_DEADLINE_EXCEEDED);
}

/* ---- Late, broken, stopped, away ---- */

static void test_participant_when_it_answers_late_then_the_answer_counts(void **state)
{
    struct sagad *sagad = *state;
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_HOLD, SAGA_CODE_OK);
    struct saga_id id = begin_one(sagad);
    (void)wait_attempts(sagad, id, 2); /* the first attempt's time is over */
    fake_release(sagad->fakes, FAKE_LEFT);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 1);
    const Saga__V1__GetSagaResponse *got = sagad_get(sagad, id, true);
    size_t successes = 0;
    for (size_t i = 0; i < got->n_events; i++) {
        const Saga__V1__AuditEvent *event = got->events[i];
        successes += event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY &&
                             strcmp(event->step, "left") == 0 && event->status == NULL
                         ? 1
                         : 0;
    }
    assert_int_equal(successes, 1); /* S3 */
}

static void test_participant_when_it_closes_the_connection_then_is_asked_again(void **state)
{
    struct sagad *sagad = *state;
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_HOLD, SAGA_CODE_OK);
    struct saga_id id = begin_one(sagad);
    while (fake_held(sagad->fakes, FAKE_LEFT) == 0) {
        (void)sagad_state(sagad, id);
    }
    fake_down(sagad->fakes, FAKE_LEFT);
    (void)wait_attempts(sagad, id, 3);
    assert_int_equal(sagad_state(sagad, id), STATE(RUNNING));
    assert_int_equal(sagad_health(sagad, "breaker.v1.LeftService", NULL), 2); /* DEGRADED */
    assert_int_equal(sagad_http(sagad, "/readyz"), 200);
    fake_up(sagad->fakes, FAKE_LEFT);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 1);
    assert_int_equal(sagad_health(sagad, "breaker.v1.LeftService", NULL), 1);
}

static void test_participant_when_it_is_stopped_for_a_while_then_sagas_wait(void **state)
{
    struct sagad *sagad = *state;
    struct saga_test_child child;
    fake_down(sagad->fakes, FAKE_LEFT);
    const char *const argv[] = {"/proc/self/exe", "--fake", sagad->fakes->fakes[FAKE_LEFT].address,
                                NULL};
    sagad->fakes->forgetful = true; /* its effects are in another process */
    saga_test_spawn(&child, argv, NULL);
    struct start start = {.key = "before", .n = 1, .wait_ms = DEADLINE_MS};
    assert_int_equal(sagad_begin(sagad, &start).state, STATE(COMPLETED));
    saga_test_signal(&child, SIGSTOP);
    struct saga_id id = begin_one(sagad);
    assert_int_equal(wait_attempts(sagad, id, 3), SAGA_CODE_DEADLINE_EXCEEDED);
    saga_test_signal(&child, SIGCONT);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 1);
    saga_test_signal(&child, SIGKILL);
    assert_true(saga_test_wait(&child, DEADLINE_MS));
}

static void test_participant_when_it_comes_later_then_sagas_go_on(void **state)
{
    struct sagad *sagad = NULL;
    (void)state;
    (void)sagad_setup((void **)&sagad);
    fake_down(sagad->fakes, FAKE_LEFT);
    sagad_start(sagad);
    struct saga_id ids[100];
    sagad_begin_many(sagad, "later", 100, ids);
    assert_int_equal(wait_attempts(sagad, ids[99], 5), SAGA_CODE_UNAVAILABLE);
    fake_up(sagad->fakes, FAKE_LEFT);
    assert_int_equal(sagad_wait_ended(sagad, ids, 100, DEADLINE_MS), 100);
    assert_int_equal(sagad_teardown((void **)&sagad), 0);
}

static void
test_service_when_it_has_no_address_then_its_sagas_wait_until_their_deadline(void **state)
{
    struct sagad *sagad = NULL;
    char detail[256];
    (void)state;
    (void)sagad_setup((void **)&sagad);
    sagad->without = "breaker.v1.LeftService";
    fakes_set_brief(sagad->fakes, true);
    sagad_start(sagad);
    assert_int_equal(sagad_health(sagad, "breaker.v1.LeftService", detail), 2);
    assert_non_null(strstr(detail, "no address"));
    struct start brief = {.definition = "brief", .key = "brief", .n = 1, .wait_ms = DEADLINE_MS};
    struct started ended = sagad_begin(sagad, &brief);
    assert_int_equal(ended.state, STATE(COMPENSATED)); /* nothing had left: nothing to undo */
    assert_string_equal(sagad_get(sagad, ended.id, false)->saga->cause->status->reason,
                        "SAGA_DEADLINE");
    assert_int_equal(sagad_decisions(sagad, ended.id, "left", SAGA__V1__OP__OP_UNDO), 0);
    struct saga_id id = begin_one(sagad);
    sagad_stop(sagad, DEADLINE_MS);
    sagad->without = NULL;
    fakes_set_brief(sagad->fakes, false);
    sagad_start(sagad);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 1);
    assert_int_equal(sagad_teardown((void **)&sagad), 0);
}

/* ---- Bounds ---- */

/* What could not leave because everything before it hangs is no attempt. */
static bool was_not_sent(struct sagad *sagad, struct saga_id id)
{
    const Saga__V1__GetSagaResponse *got = sagad_get(sagad, id, true);
    bool told = false;
    for (size_t i = 0; i < got->n_events; i++) {
        told = told || got->events[i]->not_sent;
    }
    return told;
}

/* More messages than a client has out at once, as each is started in a turn of its own. */
enum { APART = 64 };

struct unsent {
    struct sagad *sagad;
    struct saga_id ids[APART];
    size_t at; /* the saga that is looked at next: which of them find no place is up to chance */
};

static bool one_was_not_sent(void *argument)
{
    struct unsent *unsent = argument;
    unsent->at = (unsent->at + APART - 1) % APART;
    return was_not_sent(unsent->sagad, unsent->ids[unsent->at]);
}

static void test_participant_when_it_hangs_then_what_finds_no_place_is_no_attempt(void **state)
{
    struct unsent unsent = {.sagad = *state};
    fake_set(unsent.sagad->fakes, FAKE_LEFT, FAKE_SILENT, SAGA_CODE_OK);
    for (size_t i = 0; i < APART; i++) {
        char prefix[16];
        (void)snprintf(prefix, sizeof prefix, "apart%zu-", i);
        sagad_begin_many(unsent.sagad, prefix, 1, &unsent.ids[i]);
    }
    assert_true(saga_test_until(one_was_not_sent, &unsent, DEADLINE_MS));
    fakes_set(unsent.sagad->fakes, FAKE_OK);
    assert_int_equal(sagad_wait_ended(unsent.sagad, unsent.ids, APART, DEADLINE_MS), APART);
}

static void test_participant_when_it_hangs_under_load_then_memory_is_bounded(void **state)
{
    struct sagad *sagad = *state;
    static struct saga_id ids[MANY];
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_SILENT, SAGA_CODE_OK);
    sagad_begin_many(sagad, "hang", MANY, ids);
    struct attempts attempts = {.sagad = sagad, .id = ids[MANY - 1], .wanted = 3};
    assert_true(saga_test_until(has_attempts, &attempts, DEADLINE_MS));
    size_t before = sagad_rss_kib(sagad);
    attempts.wanted = 6;
    assert_true(saga_test_until(has_attempts, &attempts, DEADLINE_MS));
    size_t after = sagad_rss_kib(sagad);
    print_message("resident: %zu KiB after 3 attempts, %zu KiB after 6\n", before, after);
    assert_true(after < before + GROWTH_KIB);
    fakes_set(sagad->fakes, FAKE_OK);
    assert_int_equal(sagad_wait_ended(sagad, ids, MANY, DEADLINE_MS), MANY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sagad_teardown)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--fake") == 0) {
        return fake_main(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        TEST(test_participant_when_it_answers_garbage_then_is_asked_again),
        TEST(test_participant_when_its_response_is_malformed_then_is_asked_again),
        TEST(test_participant_when_it_answers_too_little_then_is_asked_again),
        TEST(test_participant_when_it_refuses_another_saga_then_is_asked_again),
        TEST(test_participant_when_it_refuses_another_step_then_is_asked_again),
        TEST(test_participant_when_it_never_answers_then_is_asked_again),
        TEST(test_participant_when_it_answers_late_then_the_answer_counts),
        TEST(test_participant_when_it_closes_the_connection_then_is_asked_again),
        TEST(test_participant_when_it_is_stopped_for_a_while_then_sagas_wait),
        cmocka_unit_test(test_participant_when_it_comes_later_then_sagas_go_on),
        cmocka_unit_test(
            test_service_when_it_has_no_address_then_its_sagas_wait_until_their_deadline),
        TEST(test_participant_when_it_hangs_then_what_finds_no_place_is_no_attempt),
        TEST(test_participant_when_it_hangs_under_load_then_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
