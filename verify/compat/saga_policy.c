/* Times, attempts, conditions, and the flow of data. */
#include <inttypes.h>
#include <string.h>

#include "verify/compat/internal.h"

/* ---- Flow ---- */

/* One of a step's bind tables on both sides, with the types at its two ends. */
struct flow {
    const char *what;
    const struct saga_bind_table *a, *b;
    const struct saga_message_type *a_from, *a_to, *b_from, *b_to;
};

static const char *name_at(const struct saga_message_type *type, uint32_t number)
{
    const struct saga_field *field = saga_message_field_by_number(type, number);
    return field == NULL ? "?" : field->name;
}

/* Finds where NEW takes a field from, by names; NULL: from nowhere. */
static const char *source_of(const struct flow *flow, const char *to)
{
    for (size_t i = 0; i < flow->b->count; i++) {
        if (strcmp(name_at(flow->b_to, flow->b->fields[i].to), to) == 0) {
            return name_at(flow->b_from, flow->b->fields[i].from);
        }
    }
    return NULL;
}

static void compare_flow(const struct compat_saga *saga, struct compat_step_pair pair,
                         const struct flow *flow)
{
    for (size_t i = 0; i < flow->a->count; i++) {
        const char *from = name_at(flow->a_from, flow->a->fields[i].from);
        const char *to = name_at(flow->a_to, flow->a->fields[i].to);
        const char *now = source_of(flow, to);
        /* A field that is gone is a matter of its message. */
        if ((now == NULL && saga_message_field(flow->b_to, to) == NULL) ||
            (now != NULL && strcmp(now, from) == 0)) {
            continue;
        }
        struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_FLOW_CHANGED,
                                        .step = pair.old_step};
        compat_saga_add(saga, what,
                        "%s %s was filled from %s and is %s%s: sagas in flight and new ones carry "
                        "other data in it; participants must bear both until they have drained",
                        flow->what, to, from, now == NULL ? "now left empty" : "filled from ",
                        compat_text(now));
    }
}

void compat_step_flow(const struct compat_saga *saga, struct compat_step_pair pair)
{
    const struct saga_step_decl *a = pair.old_step;
    const struct saga_step_decl *b = pair.new_step;
    const struct saga_message_type *old_context = saga->old_decl->context;
    const struct saga_message_type *new_context = saga->new_decl->context;
    if (a->call != NULL && b->call != NULL && strcmp(a->call->full_name, b->call->full_name) == 0) {
        struct flow request = {
            "the call's request field", &a->call_bind, &b->call_bind,    old_context,
            a->call->request,           new_context,   b->call->request,
        };
        struct flow result = {
            "context field", &a->result_bind,   &b->result_bind, a->call->response,
            old_context,     b->call->response, new_context,
        };
        compare_flow(saga, pair, &request);
        compare_flow(saga, pair, &result);
    }
    if (a->undo != NULL && b->undo != NULL && strcmp(a->undo->full_name, b->undo->full_name) == 0) {
        struct flow undo = {
            "the undo's request field", &a->undo_bind, &b->undo_bind,    old_context,
            a->undo->request,           new_context,   b->undo->request,
        };
        compare_flow(saga, pair, &undo);
    }
    if (a->child != NULL && b->child != NULL && strcmp(a->child->name, b->child->name) == 0) {
        struct flow input = {
            "the child's context field", &a->call_bind, &b->call_bind,     old_context,
            a->child->context,           new_context,   b->child->context,
        };
        struct flow result = {
            "context field", &a->result_bind,   &b->result_bind, a->child->context,
            old_context,     b->child->context, new_context,
        };
        compare_flow(saga, pair, &input);
        compare_flow(saga, pair, &result);
    }
}

/* ---- Conditions ---- */

static bool same_when(const struct compat_saga *saga, const struct saga_when *a,
                      const struct saga_when *b)
{
    if (!a->there || !b->there) {
        return a->there == b->there;
    }
    return strcmp(name_at(saga->old_decl->context, a->field),
                  name_at(saga->new_decl->context, b->field)) == 0 &&
           a->must_be_set == b->must_be_set && a->number == b->number &&
           saga_bytes_equal(a->bytes, b->bytes);
}

static void compare_when(const struct compat_saga *saga, struct compat_step_pair pair)
{
    const struct saga_when *a = &pair.old_step->when;
    const struct saga_when *b = &pair.new_step->when;
    if (same_when(saga, a, b)) {
        return;
    }
    struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_CONDITION_CHANGED,
                                    .step = pair.old_step};
    const char *was = a->there ? name_at(saga->old_decl->context, a->field) : "";
    const char *is = b->there ? name_at(saga->new_decl->context, b->field) : "";
    if (!a->there) {
        compat_saga_add(saga, what,
                        "it ran in any case and runs only when %s allows it: sagas in flight still "
                        "run it in any case",
                        is);
    } else if (!b->there) {
        compat_saga_add(saga, what,
                        "it ran only when %s allowed it and runs in any case: sagas in flight "
                        "still skip or run it by %s",
                        was, was);
    } else if (strcmp(was, is) == 0) {
        compat_saga_add(saga, what,
                        "its condition on %s is another: sagas in flight skip or run it by the old "
                        "one",
                        is);
    } else {
        compat_saga_add(saga, what,
                        "its condition was on %s and is on %s: sagas in flight skip or run it by "
                        "the old one",
                        was, is);
    }
}

/* ---- Times and attempts ---- */

static void compare_time(const struct compat_saga *saga, const struct saga_step_decl *step,
                         const char *what_for, int64_t was_ms, int64_t is_ms)
{
    if (is_ms >= was_ms) {
        return;
    }
    struct compat_saga_note what = {.code = SAGA_COMPAT_DEADLINE_SHORTENED, .step = step};
    compat_saga_add(saga, what,
                    "%s had %" PRId64 " ms and has %" PRId64 " ms: what has taken longer until now "
                    "is retried or turned back in new sagas; those in flight keep their time",
                    what_for, was_ms, is_ms);
}

static void compare_attempts(const struct compat_saga *saga, const struct saga_step_decl *step,
                             const char *what_for, uint32_t was, uint32_t is)
{
    if (is >= was) {
        return;
    }
    struct compat_saga_note what = {.code = SAGA_COMPAT_RETRY_REDUCED, .step = step};
    compat_saga_add(saga, what,
                    "%s had %" PRIu32 " attempts and has %" PRIu32 ": a participant that is slow "
                    "or away turns new sagas back sooner; those in flight keep theirs",
                    what_for, was, is);
}

void compat_saga_policy(const struct compat_saga *saga)
{
    compare_time(saga, NULL, "the saga", saga->old_decl->deadline_ms, saga->new_decl->deadline_ms);
    for (size_t i = 0; i < saga->old_decl->step_count; i++) {
        const struct saga_step_decl *a = &saga->old_decl->steps[i];
        const struct saga_step_decl *b = compat_step_now(saga, a);
        if (b == NULL) {
            continue;
        }
        compare_when(saga, (struct compat_step_pair){a, b});
        if (a->call != NULL && b->call != NULL) {
            compare_time(saga, a, "an attempt of its call", a->call_deadline_ms,
                         b->call_deadline_ms);
            compare_attempts(saga, a, "its call", a->call_attempts_max, b->call_attempts_max);
        }
        if (a->undo != NULL && b->undo != NULL) {
            compare_time(saga, a, "an attempt of its undo", a->undo_deadline_ms,
                         b->undo_deadline_ms);
            compare_attempts(saga, a, "its undo", a->undo_attempts_max, b->undo_attempts_max);
        }
    }
}
