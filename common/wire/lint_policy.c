/* Static checks of deadlines, retry policies and conditions; defaults are filled in here. */
#include <string.h>

#include "common/wire/schema_internal.h"

/* ---- Deadlines ---- */

static bool deadline_good(struct saga_draft *draft, int step, const char *what, int64_t deadline_ms)
{
    if (deadline_ms >= 0 && deadline_ms <= SAGA_DEADLINE_MS_LIMIT) {
        return true;
    }
    saga_lint_add(draft, "SAGA028", step,
                  "%s: %lld is not a time; write 0 (the default) to %d (SAGA_DEADLINE_MS_LIMIT)",
                  what, (long long)deadline_ms, SAGA_DEADLINE_MS_LIMIT);
    return false;
}

static bool behind_pivot(const struct saga_draft *draft, size_t step)
{
    return (draft->ancestors[step] & draft->pivot_mask) != 0;
}

/* The time that a step may take at its first attempt. A child saga has its own deadline. */
static int64_t step_time_ms(const struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *option = draft->option->step[i];
    if (saga_lint_is_child(option)) {
        return draft->children[i] == NULL ? 0 : draft->children[i]->decl.deadline_ms;
    }
    return saga_lint_is_starter(option) ? 0 : draft->steps[i].call_deadline_ms;
}

static bool step_deadlines_good(struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *option = draft->option->step[i];
    struct saga_step_decl *step = &draft->steps[i];
    bool good = deadline_good(draft, (int)i, "deadline_ms", option->deadline_ms);
    good = deadline_good(draft, (int)i, "undo_deadline_ms", option->undo_deadline_ms) && good;
    step->call_deadline_ms =
        option->deadline_ms == 0 ? SAGA_CALL_DEADLINE_MS_DEFAULT : option->deadline_ms;
    step->undo_deadline_ms =
        option->undo_deadline_ms == 0 ? SAGA_UNDO_DEADLINE_MS_DEFAULT : option->undo_deadline_ms;
    if (!good || behind_pivot(draft, i) || step_time_ms(draft, i) <= draft->decl.deadline_ms) {
        return good;
    }
    if (saga_lint_is_child(option)) {
        saga_lint_add(draft, "SAGA028", (int)i,
                      "the saga \"%.64s\" may take %lld ms, the one that it is a step of %lld ms; "
                      "shorten the inner one's deadline_ms or raise the outer one's",
                      option->saga, (long long)step_time_ms(draft, i),
                      (long long)draft->decl.deadline_ms);
    } else {
        saga_lint_add(draft, "SAGA028", (int)i,
                      "one attempt may take %lld ms%s, the whole saga %lld ms; shorten the step's "
                      "deadline_ms or raise the saga's",
                      (long long)step->call_deadline_ms,
                      option->deadline_ms == 0 ? " (the default)" : "",
                      (long long)draft->decl.deadline_ms);
    }
    return false;
}

/* Gives how long the longest path up to the pivot takes if every first attempt takes all its time.
 */
static int64_t longest_path(const struct saga_draft *draft)
{
    int64_t end[SAGA_STEPS_MAX] = {0};
    int64_t longest = 0;
    size_t count = draft->decl.step_count;
    for (size_t round = 0; round < count; round++) {
        for (size_t i = 0; i < count; i++) {
            int64_t start = 0;
            for (size_t j = 0; j < count; j++) {
                if ((draft->steps[i].after_mask >> j & 1) != 0 && end[j] > start) {
                    start = end[j];
                }
            }
            end[i] = start + (behind_pivot(draft, i) ? 0 : step_time_ms(draft, i));
            longest = end[i] > longest ? end[i] : longest;
        }
    }
    return longest;
}

static void check_deadlines(struct saga_draft *draft)
{
    int64_t deadline_ms = draft->option->deadline_ms;
    bool good = deadline_good(draft, SAGA_LINT_WHOLE, "deadline_ms", deadline_ms);
    draft->decl.deadline_ms = deadline_ms == 0 ? SAGA_DEADLINE_MS_DEFAULT : deadline_ms;
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        bool step_good = good && step_deadlines_good(draft, i);
        good = good && step_good;
    }
    if (!good || !draft->graph_good) {
        return;
    }
    int64_t longest = longest_path(draft);
    if (longest > draft->decl.deadline_ms) {
        saga_lint_add(draft, "SAGA029", SAGA_LINT_WHOLE,
                      "the first attempts of the steps up to the pivot may take %lld ms, the saga "
                      "has %lld ms; raise its deadline_ms to at least that, or shorten the steps'",
                      (long long)longest, (long long)draft->decl.deadline_ms);
    }
}

/* ---- Retry policies ---- */

struct policy {
    uint32_t attempts_max;
    int64_t delay_ms, delay_ms_max;
};

static struct policy fill_policy(struct saga_draft *draft, int step, const char *what,
                                 const Saga__V1__RetryPolicy *option)
{
    struct policy policy = {SAGA_RETRY_ATTEMPTS_DEFAULT, SAGA_RETRY_DELAY_MS_DEFAULT,
                            SAGA_RETRY_DELAY_MS_MAX_DEFAULT};
    if (option == NULL) {
        return policy;
    }
    if (option->attempts_max > SAGA_RETRY_ATTEMPTS_LIMIT) {
        saga_lint_add(draft, "SAGA030", step,
                      "%s: attempts_max: %u is more than %d (SAGA_RETRY_ATTEMPTS_LIMIT); lower it, "
                      "or leave it out (%d)",
                      what, (unsigned)option->attempts_max, SAGA_RETRY_ATTEMPTS_LIMIT,
                      SAGA_RETRY_ATTEMPTS_DEFAULT);
        return policy;
    }
    if (option->delay_ms < 0 || option->delay_ms_max < 0 ||
        option->delay_ms > SAGA_RETRY_DELAY_MS_LIMIT ||
        option->delay_ms_max > SAGA_RETRY_DELAY_MS_LIMIT) {
        saga_lint_add(draft, "SAGA030", step,
                      "%s: a delay is not a time; write 0 (the default) to %d "
                      "(SAGA_RETRY_DELAY_MS_LIMIT)",
                      what, SAGA_RETRY_DELAY_MS_LIMIT);
        return policy;
    }
    policy.attempts_max = option->attempts_max == 0 ? policy.attempts_max : option->attempts_max;
    policy.delay_ms = option->delay_ms == 0 ? policy.delay_ms : option->delay_ms;
    policy.delay_ms_max = option->delay_ms_max == 0 ? policy.delay_ms_max : option->delay_ms_max;
    if (policy.delay_ms > policy.delay_ms_max) {
        saga_lint_add(draft, "SAGA030", step,
                      "%s: the first delay, %lld ms, is longer than the longest, %lld ms%s; raise "
                      "delay_ms_max or lower delay_ms",
                      what, (long long)policy.delay_ms, (long long)policy.delay_ms_max,
                      option->delay_ms_max == 0 ? " (the default)" : "");
    }
    return policy;
}

void saga_lint_policies(struct saga_draft *draft)
{
    check_deadlines(draft);
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const Saga__V1__Step *option = draft->option->step[i];
        struct saga_step_decl *step = &draft->steps[i];
        struct policy call = fill_policy(draft, (int)i, "retry", option->retry);
        struct policy undo = fill_policy(draft, (int)i, "undo_retry", option->undo_retry);
        step->call_attempts_max = call.attempts_max;
        step->call_delay_ms = call.delay_ms;
        step->call_delay_ms_max = call.delay_ms_max;
        step->undo_attempts_max = undo.attempts_max;
        step->undo_delay_ms = undo.delay_ms;
        step->undo_delay_ms_max = undo.delay_ms_max;
    }
}

/* ---- Conditions ---- */

static void compile_condition(struct saga_draft *draft, size_t i)
{
    const Saga__V1__When *option = draft->option->step[i]->when;
    const struct saga_field *field = saga_message_field(draft->decl.context, option->field);
    if (field == NULL) {
        saga_lint_add(draft, "SAGA031", (int)i,
                      "when: \"%.64s\" is not a field of the context; name one of its fields",
                      option->field);
        return;
    }
    if (field->repeated || field->message != NULL) {
        saga_lint_add(draft, "SAGA031", (int)i,
                      "when: %.64s is %s; a condition reads one number, bool, text or enum",
                      field->name, field->repeated ? "repeated" : "a message");
        return;
    }
    const char *wrong = saga_when_compile(field, option->equals, &draft->loader->schema->arena,
                                          &draft->steps[i].when);
    if (wrong != NULL && draft->steps[i].when.is_bytes) {
        draft->no_memory = true; /* any text is good: there was no memory to keep it */
    } else if (wrong != NULL) {
        saga_lint_add(draft, "SAGA031", (int)i, "when: equals: \"%.64s\" %s", option->equals,
                      wrong);
    }
}

void saga_lint_conditions(struct saga_draft *draft)
{
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const Saga__V1__Step *option = draft->option->step[i];
        if (option->when == NULL) {
            continue;
        }
        if (option->pivot) {
            saga_lint_add(draft, "SAGA032", (int)i,
                          "the pivot cannot have when: a saga that skipped it would have no point "
                          "of no return; take one of them out");
        } else if (saga_lint_is_starter(option)) {
            saga_lint_add(draft, "SAGA032", (int)i,
                          "the step has no call: the starter has done it before the saga begins, "
                          "so when: comes too late; take it out");
        } else {
            compile_condition(draft, i);
        }
    }
}
