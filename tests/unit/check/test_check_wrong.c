/* Engines that are wrong, one for each rule, behind the door of the right one: the checker sees
 * each from outside, without the engine's own invariant, and tells the way there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/check/defs.h"

typedef void step_fn(const struct saga_definition *def, struct saga *saga,
                     const struct saga_event *ev, struct saga_update *up);

/* Gives an event no effect. */
static void ignore(const struct saga_definition *def, const struct saga *saga,
                   struct saga_update *up)
{
    *up = (struct saga_update){.verdict = SAGA_VERDICT_IGNORED, .refusal = ""};
    up->next_due_unix_ms = saga_next_due(def, saga);
}

/* ---- S1 ---- */

/* An undo that was refused is never tried again, though its time has come. */
static void forgets_retry(const struct saga_definition *def, struct saga *saga,
                          const struct saga_event *ev, struct saga_update *up)
{
    for (uint32_t i = 0; i < saga->step_count && ev->kind == SAGA_EVENT_TIMER; i++) {
        if (saga->steps[i].state == SAGA_STEP_UNDOING && saga->steps[i].wait == SAGA_WAIT_RETRY) {
            ignore(def, saga, up);
            return;
        }
    }
    saga_step(def, saga, ev, up);
}

/* An undo that fails is not waited for, so that nothing ever happens again. */
static void waits_for_nothing(const struct saga_definition *def, struct saga *saga,
                              const struct saga_event *ev, struct saga_update *up)
{
    saga_step(def, saga, ev, up);
    for (uint32_t i = 0; i < saga->step_count; i++) {
        struct saga_step_run *run = &saga->steps[i];
        if (run->state == SAGA_STEP_UNDOING && run->wait == SAGA_WAIT_RETRY) {
            run->wait = SAGA_WAIT_NONE;
            run->due_unix_ms = 0;
        }
    }
    up->next_due_unix_ms = saga_next_due(def, saga);
}

/* An undo that failed is put off again and again. */
static void goes_round(const struct saga_definition *def, struct saga *saga,
                       const struct saga_event *ev, struct saga_update *up)
{
    bool puts_off = false;
    for (uint32_t i = 0; i < saga->step_count && ev->kind == SAGA_EVENT_TIMER; i++) {
        struct saga_step_run *run = &saga->steps[i];
        if (run->state == SAGA_STEP_UNDOING && run->wait == SAGA_WAIT_RETRY &&
            run->due_unix_ms <= ev->now_unix_ms) {
            run->due_unix_ms = ev->now_unix_ms + 1000;
            puts_off = true;
        }
    }
    if (puts_off) {
        ignore(def, saga, up);
        saga->seq += 1;
        up->verdict = SAGA_VERDICT_TAKEN;
    } else {
        saga_step(def, saga, ev, up);
    }
}

/* ---- S2 ---- */

/* A pivot that is out does not keep a cancel away. */
static void cancels_pivot(const struct saga_definition *def, struct saga *saga,
                          const struct saga_event *ev, struct saga_update *up)
{
    struct saga_definition blind = *def;
    for (uint32_t i = 0; i < def->step_count; i++) {
        bool timer = ev->kind == SAGA_EVENT_TIMER && ev->now_unix_ms >= saga->deadline_unix_ms;
        blind.steps[i].pivot = def->steps[i].pivot && !timer;
    }
    saga_step(&blind, saga, ev, up);
}

/* ---- S3 ---- */

/* The failure of an earlier attempt is taken for the present one's. */
static void takes_late(const struct saga_definition *def, struct saga *saga,
                       const struct saga_event *ev, struct saga_update *up)
{
    struct saga_event changed = *ev;
    if (ev->kind == SAGA_EVENT_REPLY && saga_code_class(ev->code) == SAGA_CODE_CLASS_UNKNOWN) {
        const struct saga_step_run *run = &saga->steps[ev->step];
        changed.attempt = ev->op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    }
    saga_step(def, saga, &changed, up);
}

/* A no of an earlier attempt is a failure once more behind the pivot. */
static void takes_late_no(const struct saga_definition *def, struct saga *saga,
                          const struct saga_event *ev, struct saga_update *up)
{
    struct saga_event changed = *ev;
    bool no = ev->kind == SAGA_EVENT_REPLY && ev->op == SAGA_OP_CALL && !ev->key_reused &&
              saga_code_class(ev->code) == SAGA_CODE_CLASS_REJECT;
    if (no && (def->retriable_mask >> ev->step & 1) != 0) {
        changed.attempt = saga->steps[ev->step].call_attempts;
    }
    saga_step(def, saga, &changed, up);
}

/* ---- S4 ---- */

/* What is out when the saga turns back counts as never sent. */
static void forgets_what_is_out(const struct saga_definition *def, struct saga *saga,
                                const struct saga_event *ev, struct saga_update *up)
{
    bool back = ev->kind == SAGA_EVENT_TIMER && saga->deadline_unix_ms <= ev->now_unix_ms;
    for (uint32_t i = 0; i < saga->step_count && back; i++) {
        struct saga_step_run *run = &saga->steps[i];
        if (run->state == SAGA_STEP_CALLED && !def->steps[i].pivot) {
            run->wait = SAGA_WAIT_RETRY;
            run->maybe_effect = false;
        }
    }
    saga_step(def, saga, ev, up);
}

/* ---- S5 ---- */

/* Undo in any order. */
static void undoes_in_any_order(const struct saga_definition *def, struct saga *saga,
                                const struct saga_event *ev, struct saga_update *up)
{
    struct saga_definition loose = *def;
    memset(loose.behind_masks, 0, sizeof loose.behind_masks);
    saga_step(&loose, saga, ev, up);
}

/* A step whose outcome is not known is not undone. */
static void leaves_unknown(const struct saga_definition *def, struct saga *saga,
                           const struct saga_event *ev, struct saga_update *up)
{
    struct saga_definition loose = *def;
    for (uint32_t i = 0; i < def->step_count; i++) {
        loose.steps[i].has_undo =
            def->steps[i].has_undo && saga->steps[i].state != SAGA_STEP_CALLED;
    }
    saga_step(&loose, saga, ev, up);
}

/* ---- S6 ---- */

/* A new process sends nothing again. */
static void sends_nothing_again(const struct saga_definition *def, struct saga *saga,
                                const struct saga_event *ev, struct saga_update *up)
{
    if (ev->kind == SAGA_EVENT_RECOVERED) {
        ignore(def, saga, up);
    } else {
        saga_step(def, saga, ev, up);
    }
}

/* What is tried again leaves without a record. */
static void sends_unrecorded(const struct saga_definition *def, struct saga *saga,
                             const struct saga_event *ev, struct saga_update *up)
{
    struct saga before = *saga;
    saga_step(def, saga, ev, up);
    if (ev->kind == SAGA_EVENT_TIMER && up->send_count > 0 && saga->state == SAGA_STATE_RUNNING) {
        *saga = before;
        up->verdict = SAGA_VERDICT_IGNORED;
        up->next_due_unix_ms = saga_next_due(def, saga);
    }
}

/* ---- S11, S12 ---- */

/* A cancelled saga ends at once. */
static void kills(const struct saga_definition *def, struct saga *saga, const struct saga_event *ev,
                  struct saga_update *up)
{
    saga_step(def, saga, ev, up);
    if (ev->kind == SAGA_EVENT_OPERATOR && ev->act == SAGA_ACT_CANCEL &&
        saga->state == SAGA_STATE_COMPENSATING) {
        saga->state = SAGA_STATE_COMPENSATED;
        saga->ended_unix_ms = ev->now_unix_ms;
        up->send_count = 0;
        up->ended = true;
    }
}

/* No cancel while anything is out. */
static void refuses_cancel(const struct saga_definition *def, struct saga *saga,
                           const struct saga_event *ev, struct saga_update *up)
{
    bool out = false;
    for (uint32_t i = 0; i < saga->step_count; i++) {
        out = out || saga->steps[i].wait == SAGA_WAIT_REPLY;
    }
    if (out && ev->kind == SAGA_EVENT_OPERATOR && ev->act == SAGA_ACT_CANCEL) {
        ignore(def, saga, up);
        up->verdict = SAGA_VERDICT_REFUSED;
        up->refusal = "not now";
        return;
    }
    saga_step(def, saga, ev, up);
}

/* A resolve is done and not recorded. */
static void hides_act(const struct saga_definition *def, struct saga *saga,
                      const struct saga_event *ev, struct saga_update *up)
{
    uint64_t seq = saga->seq;
    saga_step(def, saga, ev, up);
    if (ev->kind == SAGA_EVENT_OPERATOR && ev->act == SAGA_ACT_RESOLVE) {
        saga->seq = seq;
    }
}

/* ---- S10 ---- */

/* A start whose key is taken starts another saga in its place. */
static void starts_twice(const struct saga_definition *def, struct saga *saga,
                         const struct saga_event *ev, struct saga_update *up)
{
    memset(saga, 0, sizeof *saga);
    saga_step(def, saga, ev, up);
}

/* ---- the engine's own voice ---- */

static void asserts(const struct saga_definition *def, struct saga *saga,
                    const struct saga_event *ev, struct saga_update *up)
{
    if (ev->kind == SAGA_EVENT_RECOVERED) {
        abort();
    }
    saga_step(def, saga, ev, up);
}

/* Decides by the clock's last digit. */
static void decides_by_the_clock(const struct saga_definition *def, struct saga *saga,
                                 const struct saga_event *ev, struct saga_update *up)
{
    if (ev->kind == SAGA_EVENT_OPERATOR && ev->act == SAGA_ACT_RETRY && ev->now_unix_ms % 10 != 0) {
        ignore(def, saga, up);
        up->verdict = SAGA_VERDICT_REFUSED;
        up->refusal = "not now";
        return;
    }
    saga_step(def, saga, ev, up);
}

struct wrong_engine {
    const char *name;
    step_fn *step;
    step_fn *start_again;
    const char *rule;   /* how what is wrong begins */
    const char *within; /* in the transcript */
    bool small;         /* with the definition of one step and a pivot */
};

static const struct wrong_engine wrong_engines[] = {
    {.name = "forgets_retry", .step = forgets_retry, .rule = "S1", .within = "timer"},
    {.name = "waits_for_nothing",
     .step = waits_for_nothing,
     .rule = "S1",
     .within = "nothing will ever happen"},
    {.name = "goes_round", .step = goes_round, .rule = "S1", .within = "it goes round"},
    {.name = "cancels_pivot", .step = cancels_pivot, .rule = "S2", .within = "timer"},
    {.name = "takes_late", .step = takes_late, .rule = "S3", .within = "attempt 1"},
    {.name = "takes_late_no", .step = takes_late_no, .rule = "S3", .within = "attempt 1"},
    {.name = "forgets_what_is_out",
     .step = forgets_what_is_out,
     .rule = "S4",
     .within = "timer",
     .small = true},
    {.name = "undoes_in_any_order", .step = undoes_in_any_order, .rule = "S5", .within = "send"},
    {.name = "leaves_unknown", .step = leaves_unknown, .rule = "S5", .within = "UNKNOWN"},
    {.name = "sends_nothing_again",
     .step = sends_nothing_again,
     .rule = "S6",
     .within = "recovered"},
    {.name = "sends_unrecorded", .step = sends_unrecorded, .rule = "S6", .within = "timer"},
    {.name = "kills", .step = kills, .rule = "S11", .within = "operator cancel"},
    {.name = "refuses_cancel", .step = refuses_cancel, .rule = "S11", .within = "refused: not now"},
    {.name = "hides_act", .step = hides_act, .rule = "S12", .within = "operator resolve"},
    {.name = "starts_twice",
     .step = saga_step,
     .start_again = starts_twice,
     .rule = "S10",
     .within = "The start is asked for again"},
    {.name = "asserts", .step = asserts, .rule = "an assertion", .within = "recovered"},
};

static void check_wrong(const struct wrong_engine *wrong, uint32_t threads)
{
    struct defs defs;
    struct saga_check_result result;
    struct saga_check_engine engine = {.step = wrong->step, .start_again = wrong->start_again};
    if (wrong->small) {
        defs_init(&defs);
        (void)defs_add(&defs, "pay", PIVOT, defs_add(&defs, "stock", UNDO, 0));
    } else {
        defs_order(&defs, 0);
    }
    defs.config.threads = threads;
    defs.config.engine = &engine;
    defs_run(&defs, &result);
    assert_int_equal(
        saga_buf_append(&result.transcript, (struct saga_bytes){(const uint8_t *)"", 1}),
        SAGA_ERR_OK);
    const char *text = (const char *)result.transcript.data;
    if (getenv("SAGA_CHECK_PRINT") != NULL) {
        printf("%s (%llu states): %s\n%s\n", wrong->name, (unsigned long long)result.states,
               result.wrong, text);
    }
    if (result.verdict != SAGA_CHECK_VIOLATED ||
        strncmp(result.wrong, wrong->rule, strlen(wrong->rule)) != 0 ||
        strstr(text, wrong->within) == NULL || strstr(text, "\n# violated: ") == NULL) {
        print_error("%s: verdict %d, %s\n%s\n", wrong->name, (int)result.verdict, result.wrong,
                    text);
        fail();
    }
    saga_check_result_fini(&result);
}

/* The thread sanitizer is slow, and threads do the same whatever the engine's mistake is. */
#if defined(__SANITIZE_THREAD__)
enum { STRIDE = 4 };
#else
enum { STRIDE = 1 };
#endif

static void test_check_wrong_engines_when_explored_then_each_is_caught(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_engines / sizeof wrong_engines[0]; i += STRIDE) {
        check_wrong(&wrong_engines[i], 1);
    }
}

static void test_check_wrong_engines_when_two_threads_explore_then_each_is_caught(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_engines / sizeof wrong_engines[0]; i += STRIDE) {
        check_wrong(&wrong_engines[i], 2);
    }
}

static void test_check_engine_when_it_reads_the_clock_then_nothing_counts_as_proved(void **state)
{
    (void)state;
    struct defs defs;
    struct saga_check_result result;
    struct saga_check_engine engine = {.step = decides_by_the_clock};
    defs_diamond(&defs);
    defs.config.engine = &engine;
    defs_run(&defs, &result);
    assert_int_equal(result.verdict, SAGA_CHECK_INEXACT);
    saga_check_result_fini(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_wrong_engines_when_explored_then_each_is_caught),
        cmocka_unit_test(test_check_wrong_engines_when_two_threads_explore_then_each_is_caught),
        cmocka_unit_test(test_check_engine_when_it_reads_the_clock_then_nothing_counts_as_proved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
