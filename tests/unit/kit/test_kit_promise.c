/* What a participant promises: nothing is acknowledged that is not durable, and every definitive
 * answer is published, the noes too (S13). */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "saga/v1/audit.pb-c.h"
#include "tests/unit/kit/rig.h"

/* ---- Acknowledgements ---- */

struct job {
    struct saga_kit_job job; /* first */
    unsigned done;
    bool committed;
    uint32_t code;
};

static void run(struct saga_kit_job *job, struct saga_call *call)
{
    (void)job;
    (void)saga_call_run(call, "INSERT INTO effect (sign) VALUES (?1)", "i", INT64_C(1));
}

static void done(struct saga_kit_job *job, bool committed, const struct saga_status *status)
{
    struct job *mine = (struct job *)job;
    mine->done++;
    mine->committed = committed;
    mine->code = status->code;
}

/* Runs the worker until the inbox is empty; its giving up asks this thread to stop, which waits. */
static void work(struct rig *rig)
{
    sigset_t term;
    sigset_t before;
    rig->kit.main_thread = pthread_self();
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &term, &before), 0);
    atomic_store(&rig->kit.stopping, true);
    saga_inbox_close(rig->kit.inbox);
    assert_null(saga_kit_work(&rig->kit));
    sigset_t pending;
    sigemptyset(&pending);
    assert_int_equal(sigpending(&pending), 0);
    if (sigismember(&pending, SIGTERM) == 1) {
        int sig = 0;
        assert_int_equal(sigwait(&term, &sig), 0);
    }
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static void test_job_when_its_commit_fails_then_is_not_acknowledged(void **state)
{
    struct rig *rig = *state;
    struct job job = {.job = {.run = run, .done = done}};
    assert_int_equal(saga_kit_submit(&rig->kit, &job.job), SAGA_ERR_OK);
    atomic_store(&rig->kit.advanced, 5); /* the turn has the relay's cursor to write */
    assert_int_equal(saga_sql_exec(rig->kit.sql, "DROP TABLE relay_cursor", NULL), SAGA_ERR_OK);
    work(rig);
    assert_int_equal(job.done, 1);
    assert_false(job.committed);
    assert_int_equal(job.code, SAGA_CODE_UNAVAILABLE);
    assert_true(atomic_load(&rig->kit.failed));
    assert_int_equal(rig_effects(rig), 0);
}

static void test_job_when_its_commit_succeeds_then_is_acknowledged_once(void **state)
{
    struct rig *rig = *state;
    struct job job = {.job = {.run = run, .done = done}};
    assert_int_equal(saga_kit_submit(&rig->kit, &job.job), SAGA_ERR_OK);
    work(rig);
    assert_int_equal(job.done, 1);
    assert_true(job.committed);
    assert_int_equal(rig_effects(rig), 1);
}

/* ---- The second book ---- */

static void test_effects_when_the_answer_was_no_then_it_is_published_too(void **state)
{
    struct rig *rig = *state;
    struct saga_command call = rig_call(7);
    struct saga_relay_row rows[2];
    size_t count = 0;
    rig->mood = RIG_REJECT;
    (void)rig_run(rig, &call);
    assert_int_equal(saga_kit_effects_fetch(&rig->kit, 0, 2, rows, &count, NULL), SAGA_ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].record_count, 1);
    const struct saga_kafka_record *record = &rows[0].records[0];
    assert_string_equal(record->topic, "saga-effects");
    Saga__V1__EffectEvent *effect =
        saga__v1__effect_event__unpack(NULL, record->value.size, record->value.data);
    assert_non_null(effect);
    assert_int_equal(effect->status->code, SAGA_CODE_FAILED_PRECONDITION);
    assert_string_equal(effect->status->reason, "PAYMENT_DECLINED");
    saga__v1__effect_event__free_unpacked(effect, NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_job_when_its_commit_fails_then_is_not_acknowledged),
        CASE(test_job_when_its_commit_succeeds_then_is_acknowledged_once),
        CASE(test_effects_when_the_answer_was_no_then_it_is_published_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
