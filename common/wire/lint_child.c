/* Static checks of sagas in sagas: which child a step runs, in what order definitions are checked,
 * how deep they go. What a child may be at its place in the order is checked with the roles. */
#include <string.h>

#include "common/wire/schema_internal.h"

/* The first of a name stands, as everywhere. */
static struct saga_draft *find_draft(struct saga_draft **drafts, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(drafts[i]->option->name, name) == 0) {
            return drafts[i];
        }
    }
    return NULL;
}

static void find_children(struct saga_draft **drafts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct saga_draft *draft = drafts[i];
        for (size_t s = 0; s < draft->decl.step_count; s++) {
            const Saga__V1__Step *step = draft->option->step[s];
            draft->children[s] =
                saga_lint_is_child(step) ? find_draft(drafts, count, step->saga) : NULL;
        }
    }
}

/* Tells whether a draft runs a child; NULL: any that may be in a circle. */
static bool has_child(const struct saga_draft *draft, const struct saga_draft *child)
{
    for (size_t s = 0; s < draft->decl.step_count; s++) {
        if (draft->children[s] != NULL &&
            (child == NULL ? draft->children[s]->in_circle : draft->children[s] == child)) {
            return true;
        }
    }
    return false;
}

/* Tells whether one that may be in a circle runs this one. */
static bool has_parent(struct saga_draft **drafts, size_t count, const struct saga_draft *child)
{
    for (size_t i = 0; i < count; i++) {
        if (drafts[i]->in_circle && has_child(drafts[i], child)) {
            return true;
        }
    }
    return false;
}

void saga_lint_order(struct saga_draft **drafts, size_t count, struct saga_draft **order)
{
    size_t ordered = 0;
    find_children(drafts, count);
    for (size_t i = 0; i < count; i++) {
        drafts[i]->in_circle = true; /* until it is shown not to be */
    }
    /* Who has no child left is not in a circle, and comes next; at most one round a draft. */
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < count; i++) {
            if (drafts[i]->in_circle && !has_child(drafts[i], NULL)) {
                drafts[i]->in_circle = false;
                order[ordered++] = drafts[i];
                again = true;
            }
        }
    }
    /* Nor is, of the rest, who is in none of them: it only leads to a circle. */
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < count; i++) {
            if (drafts[i]->in_circle && !has_parent(drafts, count, drafts[i])) {
                drafts[i]->in_circle = false;
                order[ordered++] = drafts[i];
                again = true;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (drafts[i]->in_circle) {
            order[ordered++] = drafts[i];
        }
    }
}

/* Says which option means nothing for a child saga; NULL: none is there. */
static const char *foreign_option(const Saga__V1__Step *step)
{
    const struct {
        const char *name;
        bool there;
    } options[] = {
        {"call", step->call[0] != '\0'},
        {"undo", step->undo[0] != '\0'},
        {"undo_bind", step->n_undo_bind > 0},
        {"via", step->via != SAGA__V1__VIA__VIA_UNSPECIFIED},
        {"read_only", step->read_only},
        {"retry", step->retry != NULL},
        {"undo_retry", step->undo_retry != NULL},
        {"deadline_ms", step->deadline_ms != 0},
        {"undo_deadline_ms", step->undo_deadline_ms != 0},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (options[i].there) {
            return options[i].name;
        }
    }
    return NULL;
}

static void check_child(struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *step = draft->option->step[i];
    const struct saga_draft *child = draft->children[i];
    const char *foreign = foreign_option(step);
    if (foreign != NULL) {
        saga_lint_add(draft, "SAGA041", (int)i,
                      "the step runs the saga \"%.64s\", so %s: means nothing; take it out (the "
                      "child has its own steps, deadlines and retries), or take saga: out",
                      step->saga, foreign);
    }
    if (child == NULL) {
        saga_lint_add(draft, "SAGA038", (int)i,
                      "saga: there is no saga \"%.64s\" in the descriptor set; mend the name, or "
                      "import the file that declares it",
                      step->saga);
    } else if (draft->in_circle && child->in_circle) {
        saga_lint_add(draft, "SAGA039", (int)i,
                      "the saga \"%.64s\" comes, by its own steps, back to this one, and would "
                      "never end; take one saga: of the circle out",
                      step->saga);
    } else if (!child->checked || child->finding_count > 0) {
        saga_lint_add(draft, "SAGA038", (int)i,
                      "saga: the saga \"%.64s\" is refused by its own findings; mend those first",
                      step->saga);
    } else {
        draft->nest_count += child->nest_count;
        if (draft->nest_depth <= child->nest_depth) {
            draft->nest_depth = child->nest_depth + 1;
        }
        return;
    }
    draft->children[i] = NULL; /* nothing can be said about it */
}

void saga_lint_children(struct saga_draft *draft)
{
    draft->nest_depth = 1;
    draft->nest_count = 1;
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        if (saga_lint_is_child(draft->option->step[i])) {
            check_child(draft, i);
        }
    }
    if (draft->nest_depth > SAGA_NEST_DEPTH_MAX) {
        saga_lint_add(draft, "SAGA040", SAGA_LINT_WHOLE,
                      "sagas in sagas are %zu deep, limit %d (SAGA_NEST_DEPTH_MAX); put the steps "
                      "of an inner one into the one that runs it",
                      draft->nest_depth, SAGA_NEST_DEPTH_MAX);
    }
    if (draft->nest_count > SAGA_NEST_COUNT_MAX) {
        saga_lint_add(draft, "SAGA040", SAGA_LINT_WHOLE,
                      "one run comes to %zu sagas, limit %d (SAGA_NEST_COUNT_MAX); put the steps "
                      "of inner ones into those that run them",
                      draft->nest_count, SAGA_NEST_COUNT_MAX);
    }
}
