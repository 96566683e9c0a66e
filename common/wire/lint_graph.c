/* Static checks of names, order and roles: what a definition is before any data moves. */
#include <stdio.h>
#include <string.h>

#include "common/wire/schema_internal.h"

/* Form of a name: [a-z][a-z0-9-]*, with underscores for steps. */
static bool name_good(const char *name, size_t size_max, bool underscore)
{
    if (name[0] < 'a' || name[0] > 'z' || strlen(name) > size_max) {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '-' ||
              (underscore && *at == '_'))) {
            return false;
        }
    }
    return true;
}

static void check_definition_name(struct saga_draft *draft)
{
    const char *name = draft->option->name;
    if (!name_good(name, SAGA_DEFINITION_NAME_MAX, false)) {
        saga_lint_add(draft, "SAGA001", SAGA_LINT_WHOLE,
                      "the saga's name \"%.64s\" is not good; write name: with [a-z][a-z0-9-]*, at "
                      "most %d bytes",
                      name, SAGA_DEFINITION_NAME_MAX);
    }
    for (const struct saga_found *other = draft->loader->found; other < draft->found; other++) {
        if (strcmp(other->option->name, name) == 0) {
            saga_lint_add(draft, "SAGA002", SAGA_LINT_WHOLE,
                          "the saga \"%.64s\" is declared already by %.200s; give one of them "
                          "another name",
                          name, other->context->name);
            return;
        }
    }
}

/* Option fields that this version does not know would be ignored without a word. */
static void check_unknown(struct saga_draft *draft, int step, const ProtobufCMessage *message)
{
    if (message != NULL && message->n_unknown_fields > 0) {
        saga_lint_add(draft, "SAGA035", step,
                      "%s has a field %u that this version does not know; use a newer version or "
                      "leave the field out",
                      message->descriptor->name, (unsigned)message->unknown_fields[0].tag);
    }
}

static void check_unknown_fields(struct saga_draft *draft)
{
    check_unknown(draft, SAGA_LINT_WHOLE, &draft->option->base);
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const Saga__V1__Step *step = draft->option->step[i];
        check_unknown(draft, (int)i, &step->base);
        check_unknown(draft, (int)i, step->retry == NULL ? NULL : &step->retry->base);
        check_unknown(draft, (int)i, step->undo_retry == NULL ? NULL : &step->undo_retry->base);
        check_unknown(draft, (int)i, step->when == NULL ? NULL : &step->when->base);
    }
}

void saga_lint_names(struct saga_draft *draft)
{
    check_definition_name(draft);
    check_unknown_fields(draft);
    if (draft->option->n_step == 0 || draft->option->n_step > SAGA_STEPS_MAX) {
        saga_lint_add(draft, "SAGA003", SAGA_LINT_WHOLE,
                      "the saga has %zu steps, and must have 1 to %d (SAGA_STEPS_MAX); %s",
                      draft->option->n_step, SAGA_STEPS_MAX,
                      draft->option->n_step == 0 ? "add step { name: \"...\" call: \"...\" }"
                                                 : "put some of them into a child saga");
    }
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const char *name = draft->steps[i].name;
        if (!name_good(name, SAGA_STEP_NAME_MAX, true)) {
            saga_lint_add(draft, "SAGA004", (int)i,
                          "the step's name \"%.64s\" is not good; write name: with "
                          "[a-z][a-z0-9_-]*, at most %d bytes",
                          name, SAGA_STEP_NAME_MAX);
        }
        for (size_t other = 0; other < i; other++) {
            if (strcmp(draft->steps[other].name, name) == 0) {
                saga_lint_add(draft, "SAGA005", (int)i,
                              "step %zu has this name already; steps are known by name, give one "
                              "of them another",
                              other + 1);
                break;
            }
        }
    }
}

/* ---- Order ---- */

static bool find_step(const struct saga_draft *draft, const char *name, size_t *index)
{
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        if (strcmp(draft->steps[i].name, name) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

static void resolve_after(struct saga_draft *draft)
{
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const Saga__V1__Step *step = draft->option->step[i];
        for (size_t a = 0; a < step->n_after; a++) {
            size_t index = 0;
            if (find_step(draft, step->after[a], &index)) {
                draft->steps[i].after_mask |= UINT64_C(1) << index;
            } else {
                saga_lint_add(draft, "SAGA006", (int)i,
                              "after: \"%.64s\" is not a step of this saga; name one of its steps",
                              step->after[a]);
                draft->graph_good = false;
            }
        }
    }
}

/* Computes all predecessors: a path has at most as many edges as there are steps. */
static void compute_ancestors(struct saga_draft *draft)
{
    size_t count = draft->decl.step_count;
    for (size_t i = 0; i < count; i++) {
        draft->ancestors[i] = draft->steps[i].after_mask;
    }
    for (size_t round = 0; round < count; round++) {
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < count; j++) {
                if ((draft->ancestors[i] >> j & 1) != 0) {
                    draft->ancestors[i] |= draft->ancestors[j];
                }
            }
        }
    }
}

static void check_cycle(struct saga_draft *draft)
{
    char names[SAGA_STEPS_MAX * (SAGA_STEP_NAME_MAX + 3)] = "";
    size_t at = 0;
    for (size_t i = 0; i < draft->decl.step_count && at < sizeof names; i++) {
        if ((draft->ancestors[i] >> i & 1) != 0) {
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", at == 0 ? "" : ", ",
                                   SAGA_STEP_NAME_MAX, draft->steps[i].name);
        }
    }
    if (at > 0) {
        draft->graph_good = false;
        saga_lint_add(draft, "SAGA007", SAGA_LINT_WHOLE,
                      "steps wait for each other in a circle (%.300s); take one `after` out",
                      names);
    }
}

void saga_lint_graph(struct saga_draft *draft)
{
    draft->graph_good = true;
    resolve_after(draft);
    compute_ancestors(draft);
    check_cycle(draft);
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const Saga__V1__Step *step = draft->option->step[i];
        draft->steps[i].read_only = step->read_only;
        draft->steps[i].pivot = step->pivot;
        if (step->pivot) {
            draft->pivot_mask |= UINT64_C(1) << i;
        }
    }
}

/* ---- Roles ---- */

/* Where a step stands, seen from the pivot. */
enum role { ROLE_BEFORE, ROLE_PIVOT, ROLE_BEHIND, ROLE_BESIDE };

static enum role role_of(const struct saga_draft *draft, size_t step, size_t pivot)
{
    if (step == pivot) {
        return ROLE_PIVOT;
    }
    if ((draft->ancestors[step] >> pivot & 1) != 0) {
        return ROLE_BEHIND;
    }
    return (draft->ancestors[pivot] >> step & 1) != 0 ? ROLE_BEFORE : ROLE_BESIDE;
}

/* Finds the only pivot; false when there is none, or too many. */
static bool find_pivot(struct saga_draft *draft, size_t *pivot)
{
    bool there = false;
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        if (!draft->steps[i].pivot) {
            continue;
        }
        if (there) {
            saga_lint_add(draft, "SAGA008", (int)i,
                          "\"%.31s\" is the pivot already; a saga has one point of no return, "
                          "take pivot: from one of them",
                          draft->steps[*pivot].name);
            return false;
        }
        there = true;
        *pivot = i;
    }
    return there;
}

/* Checks a step that may have to be undone. `pivot_name`: which stands behind it; NULL: there is no
 * pivot. */
static void check_compensatable(struct saga_draft *draft, size_t i, const char *pivot_name)
{
    const Saga__V1__Step *step = draft->option->step[i];
    const struct saga_draft *child = draft->children[i];
    if (child != NULL && child->pivot_mask != 0) {
        saga_lint_add(draft, "SAGA042", (int)i,
                      "the saga \"%.64s\" has a pivot: once it completed it cannot be undone, but "
                      "this step may have to be; use a saga without a pivot, or make this step the "
                      "pivot%s%.31s%s",
                      child->option->name, pivot_name == NULL ? " (pivot: true)" : " instead of \"",
                      pivot_name == NULL ? "" : pivot_name, pivot_name == NULL ? "" : "\"");
    }
    if (step->call[0] == '\0' || step->undo[0] != '\0' || step->read_only ||
        saga_lint_is_child(step)) {
        return;
    }
    if (pivot_name != NULL) {
        saga_lint_add(draft, "SAGA010", (int)i,
                      "the step can be asked to compensate but has no undo; add undo:, or "
                      "read_only: true if it has no effect, or put it behind the pivot \"%.31s\"",
                      pivot_name);
    } else {
        saga_lint_add(draft, "SAGA010", (int)i,
                      "the step can be asked to compensate but has no undo; add undo:, or "
                      "read_only: true if it has no effect, or make it the pivot (pivot: true) if "
                      "nothing is to be undone once it succeeded");
    }
}

static void check_pivot(struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *step = draft->option->step[i];
    if (step->undo[0] != '\0') {
        saga_lint_add(draft, "SAGA013", (int)i,
                      "the pivot is never undone once it succeeded; take its undo: out, or make "
                      "another step the pivot");
    }
    if (step->read_only) {
        saga_lint_add(draft, "SAGA014", (int)i,
                      "the pivot is the step whose effect decides, so it cannot be read_only; "
                      "take read_only: or pivot: out");
    }
}

/* Says what is wrong with a step that is done by whoever starts the saga; NULL: nothing. */
static const char *starter_wrong(const Saga__V1__Step *step)
{
    if (step->undo[0] == '\0') {
        return "the step has neither call nor undo and would do nothing; name a method or take the "
               "step out";
    }
    if (step->pivot) {
        return "the pivot has no call; what the starter has done can not be the point of no return";
    }
    if (step->n_after > 0) {
        return "the step has no call: the starter has done it before the saga begins, so it cannot "
               "come after other steps; take its after: out, or add call:";
    }
    if (step->read_only || step->retry != NULL || step->deadline_ms != 0 ||
        step->via != SAGA__V1__VIA__VIA_UNSPECIFIED) {
        return "the step has no call, so read_only, retry, deadline_ms and via mean nothing; take "
               "them out, or add call:";
    }
    return NULL;
}

/* Checks what a step may have, whatever its place in the order. */
static void check_step(struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *step = draft->option->step[i];
    if (saga_lint_is_child(step)) {
        return; /* see saga_lint_children */
    }
    if (step->call[0] == '\0') {
        const char *wrong = starter_wrong(step);
        if (wrong != NULL) {
            saga_lint_add(draft, "SAGA017", (int)i, "%s", wrong);
        }
        return;
    }
    if (step->read_only && step->undo[0] != '\0') {
        saga_lint_add(draft, "SAGA011", (int)i,
                      "a read_only step has nothing to undo; take undo: or read_only: out");
    }
}

/* Checks what a step may have at its place in the order. */
static void check_role(struct saga_draft *draft, size_t i, enum role role, const char *pivot_name)
{
    bool is_child = saga_lint_is_child(draft->option->step[i]);
    bool has_call = !is_child && draft->option->step[i]->call[0] != '\0';
    switch (role) {
    case ROLE_BEFORE:
        check_compensatable(draft, i, pivot_name);
        return;
    case ROLE_PIVOT:
        if (has_call) {
            check_pivot(draft, i);
        }
        return;
    case ROLE_BEHIND:
        if (is_child) {
            saga_lint_add(draft, "SAGA043", (int)i,
                          "the step comes after the pivot \"%.31s\" and must succeed in the end, "
                          "but a saga that was compensated never does; put it before the pivot, "
                          "or call methods here",
                          pivot_name);
        } else if (has_call && draft->option->step[i]->undo[0] != '\0') {
            saga_lint_add(draft, "SAGA012", (int)i,
                          "the step comes after the pivot \"%.31s\" and is never undone; take its "
                          "undo: out, or put it before the pivot",
                          pivot_name);
        }
        return;
    case ROLE_BESIDE:
        saga_lint_add(draft, "SAGA009", (int)i,
                      "the step is neither before nor after the pivot \"%.31s\", so it is open "
                      "whether it can be undone; order them with after:",
                      pivot_name);
        return;
    }
}

void saga_lint_roles(struct saga_draft *draft)
{
    size_t pivot = 0;
    bool one_pivot = find_pivot(draft, &pivot);
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        check_step(draft, i);
        if (!draft->graph_good) {
            continue; /* what is before and behind is not known */
        }
        if (one_pivot) {
            check_role(draft, i, role_of(draft, i, pivot), draft->steps[pivot].name);
        } else if (draft->pivot_mask == 0) {
            check_compensatable(draft, i, NULL);
        }
    }
}
