/* The steps of a saga, by name: gone, renamed, of another kind, undone otherwise; and the pivot. */
#include <stdio.h>
#include <string.h>

#include "verify/compat/internal.h"

enum { NAMES_SIZE = 512, KIND_COUNT = 6 };

/* What a step is to its saga. */
enum kind {
    KIND_STARTER,
    KIND_READ_ONLY,
    KIND_COMPENSATABLE,
    KIND_PIVOT,
    KIND_RETRIABLE,
    KIND_CHILD
};

static const char *kind_text(enum kind kind)
{
    static const char *const texts[KIND_COUNT] = {
        [KIND_STARTER] = "done by the starter",           [KIND_READ_ONLY] = "read-only",
        [KIND_COMPENSATABLE] = "compensatable",           [KIND_PIVOT] = "the pivot",
        [KIND_RETRIABLE] = "retriable, behind the pivot", [KIND_CHILD] = "a saga of its own",
    };
    return texts[kind];
}

/* Direct predecessors -> all, by index. */
static uint64_t ancestors(const struct saga_decl *decl, size_t index)
{
    uint64_t all = decl->steps[index].after_mask;
    for (size_t round = 0; round < decl->step_count; round++) {
        for (size_t i = 0; i < decl->step_count; i++) {
            if ((all >> i & 1) != 0) {
                all |= decl->steps[i].after_mask;
            }
        }
    }
    return all;
}

static const struct saga_step_decl *pivot_of(const struct saga_decl *decl)
{
    for (size_t i = 0; i < decl->step_count; i++) {
        if (decl->steps[i].pivot) {
            return &decl->steps[i];
        }
    }
    return NULL;
}

static enum kind kind_of(const struct saga_decl *decl, const struct saga_step_decl *step)
{
    const struct saga_step_decl *pivot = pivot_of(decl);
    if (step->pivot) {
        return KIND_PIVOT;
    }
    if (pivot != NULL &&
        (ancestors(decl, (size_t)(step - decl->steps)) >> (pivot - decl->steps) & 1) != 0) {
        return KIND_RETRIABLE;
    }
    if (step->child != NULL) {
        return KIND_CHILD;
    }
    return step->call == NULL ? KIND_STARTER
           : step->read_only  ? KIND_READ_ONLY
                              : KIND_COMPENSATABLE;
}

static const char *method_name(const struct saga_method *method)
{
    return method == NULL ? "" : method->full_name;
}

static bool same_method(const struct saga_method *a, const struct saga_method *b)
{
    return strcmp(method_name(a), method_name(b)) == 0;
}

static const char *child_name(const struct saga_step_decl *step)
{
    return step->child == NULL ? "" : step->child->name;
}

/* ---- Steps that are gone, and new ones ---- */

/* Tells whether a step of NEW, whose name OLD does not have, does what a step of OLD did. */
static bool does_the_same(const struct compat_saga *saga, const struct saga_step_decl *old_step,
                          const struct saga_step_decl *new_step)
{
    return compat_step_named(saga->old_decl, new_step->name) == NULL &&
           same_method(old_step->call, new_step->call) &&
           same_method(old_step->undo, new_step->undo) &&
           strcmp(child_name(old_step), child_name(new_step)) == 0;
}

const struct saga_step_decl *compat_step_now(const struct compat_saga *saga,
                                             const struct saga_step_decl *old_step)
{
    const struct saga_decl *decl = saga->new_decl;
    const struct saga_step_decl *found =
        decl == NULL ? NULL : compat_step_named(decl, old_step->name);
    for (size_t i = 0; decl != NULL && found == NULL && i < decl->step_count; i++) {
        if (does_the_same(saga, old_step, &decl->steps[i])) {
            found = &decl->steps[i];
        }
    }
    return found;
}

static void tell_removed(const struct compat_saga *saga, const struct saga_step_decl *step)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_REMOVED, .step = step};
    compat_saga_add(saga, what,
                    step->undo != NULL
                        ? "it is gone: sagas in flight still do it and may undo it; its "
                          "participant must serve both until they have drained"
                        : "it is gone: sagas in flight still do it; its participant must serve "
                          "it until they have drained");
}

static void compare_name(const struct compat_saga *saga, struct compat_step_pair pair)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_RENAMED, .step = pair.old_step};
    if (strcmp(pair.old_step->name, pair.new_step->name) != 0) {
        compat_saga_add(
            saga, what,
            "it is called \"%s\" now: steps are known by name, and sagas in flight keep "
            "the old one, in commands, in what they show, and for retry, skip and "
            "resolve; keep the name, or drain first",
            pair.new_step->name);
    }
}

static void check_added(const struct compat_saga *saga)
{
    for (size_t i = 0; i < saga->new_decl->step_count; i++) {
        const struct saga_step_decl *step = &saga->new_decl->steps[i];
        bool known = false;
        for (size_t k = 0; !known && k < saga->old_decl->step_count; k++) {
            known = compat_step_now(saga, &saga->old_decl->steps[k]) == step;
        }
        if (!known) {
            struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_ADDED, .step = step};
            compat_saga_add(saga, what,
                            "it is new: sagas in flight end without it; what relies on it must do "
                            "without until they have drained");
        }
    }
}

/* ---- Steps that both have ---- */

static void compare_undo(const struct compat_saga *saga, struct compat_step_pair pair)
{
    const struct saga_method *a = pair.old_step->undo;
    const struct saga_method *b = pair.new_step->undo;
    struct compat_saga_note what = {.code = SAGA_COMPAT_UNDO_CHANGED, .step = pair.old_step};
    /* A child saga is turned back by itself: see compare_call. */
    if (same_method(a, b) || pair.old_step->child != NULL || pair.new_step->child != NULL) {
        return;
    }
    if (b == NULL) {
        what.code = SAGA_COMPAT_UNDO_REMOVED;
        compat_saga_add(
            saga, what,
            "it was undone by %s and is undone no longer: sagas in flight still send "
            "that undo, in new ones what the step did stays; serve it until they have drained",
            a->full_name);
    } else if (a == NULL) {
        what.code = SAGA_COMPAT_UNDO_ADDED;
        compat_saga_add(saga, what,
                        "it was not undone and is undone by %s: sagas in flight do not send that, "
                        "and what the step did in them stays when they turn back; look after those "
                        "by hand",
                        b->full_name);
    } else {
        compat_saga_add(saga, what,
                        "it was undone by %s and is undone by %s: until those in flight have "
                        "drained either may come for what the call did; serve both until then",
                        a->full_name, b->full_name);
    }
}

/* Tells whether a step is undone when its saga turns back. */
static bool undone(enum kind kind, const struct saga_step_decl *step)
{
    return step->undo != NULL || kind == KIND_CHILD;
}

static void compare_kind(const struct compat_saga *saga, struct compat_step_pair pair)
{
    enum kind a = kind_of(saga->old_decl, pair.old_step);
    enum kind b = kind_of(saga->new_decl, pair.new_step);
    if (a == b) {
        return;
    }
    struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_KIND_CHANGED, .step = pair.old_step};
    /* To give up what could be undone breaks; the reverse needs care. */
    what.lower = !undone(a, pair.old_step) || undone(b, pair.new_step);
    compat_saga_add(saga, what,
                    "it was %s and is %s: sagas in flight treat a no, a deadline and a cancel as "
                    "they did, new ones otherwise; its participant must bear both until they have "
                    "drained",
                    kind_text(a), kind_text(b));
}

static void compare_call(const struct compat_saga *saga, struct compat_step_pair pair)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_CALL_CHANGED, .step = pair.old_step};
    const char *was = child_name(pair.old_step);
    const char *is = child_name(pair.new_step);
    if (!same_method(pair.old_step->call, pair.new_step->call) && was[0] == '\0' && is[0] == '\0') {
        compat_saga_add(saga, what,
                        "it called %s and calls %s: sagas in flight go on the old way; both must "
                        "be served until they have drained",
                        pair.old_step->call == NULL ? "nothing (the starter did it)"
                                                    : pair.old_step->call->full_name,
                        pair.new_step->call == NULL ? "nothing (the starter does it)"
                                                    : pair.new_step->call->full_name);
    }
    if (strcmp(was, is) != 0) {
        what.code = SAGA_COMPAT_STEP_CHILD_CHANGED;
        compat_saga_add(
            saga, what, "it ran %s%s and runs %s%s: sagas in flight %s until they have drained",
            was[0] == '\0' ? "no saga" : "saga ", was, is[0] == '\0' ? "no saga" : "saga ", is,
            was[0] == '\0' ? "go on the old way; what it did before must be served"
                           : "start, await and turn back the old one, in the version "
                             "that they were declared with; keep its participants");
    }
}

static const char *via_text(enum saga_via via)
{
    return via == SAGA_VIA_KAFKA ? "Kafka" : "NNG";
}

static void compare_via(const struct compat_saga *saga, struct compat_step_pair pair)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_VIA_CHANGED, .step = pair.old_step};
    const struct saga_step_decl *a = pair.old_step;
    const struct saga_step_decl *b = pair.new_step;
    /* Undos go by Kafka, all of them. */
    if (a->call != NULL && b->call != NULL && a->call_via != b->call_via) {
        compat_saga_add(saga, what,
                        "its call went by %s and goes by %s: sagas in flight keep the old road, "
                        "the participant must listen on both until they have drained",
                        via_text(a->call_via), via_text(b->call_via));
    }
}

/* Writes the names of the steps in a set, of those that the other version has too ("a, b"), and
 * gives them as a set of NEW's steps. */
static uint64_t names_of(const struct compat_saga *saga, const struct saga_decl *decl,
                         uint64_t mask, char text[NAMES_SIZE])
{
    size_t used = 0;
    uint64_t common = 0;
    text[0] = '\0';
    for (size_t i = 0; i < saga->new_decl->step_count; i++) {
        const char *name = saga->new_decl->steps[i].name;
        const struct saga_step_decl *step = compat_step_named(decl, name);
        if (compat_step_named(saga->old_decl, name) == NULL || step == NULL ||
            (mask >> (step - decl->steps) & 1) == 0) {
            continue;
        }
        common |= UINT64_C(1) << i;
        if (used < NAMES_SIZE) {
            int count =
                snprintf(text + used, NAMES_SIZE - used, "%s%s", used == 0 ? "" : ", ", name);
            used += count > 0 ? (size_t)count : 0;
        }
    }
    return common;
}

static void compare_order(const struct compat_saga *saga, struct compat_step_pair pair)
{
    const struct saga_decl *a = saga->old_decl;
    const struct saga_decl *b = saga->new_decl;
    char was[NAMES_SIZE];
    char is[NAMES_SIZE];
    uint64_t before = names_of(saga, a, ancestors(a, (size_t)(pair.old_step - a->steps)), was);
    uint64_t after = names_of(saga, b, ancestors(b, (size_t)(pair.new_step - b->steps)), is);
    if (before != after) {
        struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_ORDER_CHANGED,
                                        .step = pair.old_step};
        compat_saga_add(saga, what,
                        "it came after %s and comes after %s, and is undone in the reverse order: "
                        "sagas in flight keep the old order; participants must bear both until "
                        "they have drained",
                        was[0] == '\0' ? "no other step" : was,
                        is[0] == '\0' ? "no other step" : is);
    }
}

/* ---- The pivot ---- */

/* Returns true when it moved: the kinds of the steps follow from that. */
static bool compare_pivot(const struct compat_saga *saga)
{
    const struct saga_step_decl *a = pivot_of(saga->old_decl);
    const struct saga_step_decl *b = pivot_of(saga->new_decl);
    const char *was = a == NULL ? "" : a->name;
    const char *is = b == NULL ? "" : b->name;
    if (a != NULL && b != NULL ? compat_step_now(saga, a) == b : a == b) {
        return false;
    }
    struct compat_saga_note what = {.code = SAGA_COMPAT_PIVOT_MOVED, .at = b == NULL ? a : b};
    compat_saga_add(
        saga, what,
        "the point of no return was %s%s%s and is %s%s%s: what could be undone no longer "
        "can, or the reverse; until those in flight have drained, participants see "
        "undos and retries by both rules",
        was[0] == '\0' ? "nowhere" : "step \"", was, was[0] == '\0' ? "" : "\"",
        is[0] == '\0' ? "nowhere" : "step \"", is, is[0] == '\0' ? "" : "\"");
    return true;
}

void compat_saga_steps(const struct compat_saga *saga)
{
    bool pivot_moved = compare_pivot(saga);
    for (size_t i = 0; i < saga->old_decl->step_count; i++) {
        struct compat_step_pair pair = {.old_step = &saga->old_decl->steps[i]};
        pair.new_step = compat_step_now(saga, pair.old_step);
        if (pair.new_step == NULL) {
            tell_removed(saga, pair.old_step);
            continue;
        }
        compare_name(saga, pair);
        compare_undo(saga, pair);
        if (!pivot_moved) {
            compare_kind(saga, pair);
        }
        compare_call(saga, pair);
        compare_via(saga, pair);
        compare_order(saga, pair);
        compat_step_flow(saga, pair);
    }
    check_added(saga);
}
