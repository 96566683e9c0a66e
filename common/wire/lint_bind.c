/* Static checks of how fields flow by name, and the bind tables that come of it. */
#include <stdlib.h>
#include <string.h>

#include "common/wire/schema_internal.h"

/* ---- Do two fields agree? ---- */

enum { PAIRS_MAX = 128 };

struct pair {
    const struct saga_message_type *a, *b;
};

/* Pairs of types still to be compared; a pair that is there is taken as the same, which ends
 * recursive types. */
struct pairs {
    struct pair list[PAIRS_MAX];
    size_t count;
};

static bool enums_same(const struct saga_enum_type *a, const struct saga_enum_type *b)
{
    if (a == b) {
        return true;
    }
    if (a->value_count != b->value_count) {
        return false;
    }
    for (size_t i = 0; i < a->value_count; i++) {
        if (a->values[i].number != b->values[i].number ||
            strcmp(a->values[i].name, b->values[i].name) != 0) {
            return false;
        }
    }
    return true;
}

static bool add_pair(struct pairs *pairs, const struct saga_message_type *a,
                     const struct saga_message_type *b)
{
    if (a == b) {
        return true;
    }
    for (size_t i = 0; i < pairs->count; i++) {
        if (pairs->list[i].a == a && pairs->list[i].b == b) {
            return true;
        }
    }
    if (pairs->count == PAIRS_MAX) {
        return false; /* too much to compare: then they must be the same type */
    }
    pairs->list[pairs->count++] = (struct pair){a, b};
    return true;
}

/* Compares the kinds of two fields; what they hold goes to the list. */
static bool kinds_agree(struct pairs *pairs, const struct saga_field *a, const struct saga_field *b)
{
    if (a->type != b->type || a->repeated != b->repeated || a->map != b->map) {
        return false;
    }
    if (a->message != NULL) {
        return add_pair(pairs, a->message, b->message);
    }
    return a->enumeration == NULL || enums_same(a->enumeration, b->enumeration);
}

bool saga_fields_agree(const struct saga_field *a, const struct saga_field *b)
{
    struct pairs pairs = {.count = 0};
    if (!kinds_agree(&pairs, a, b)) {
        return false;
    }
    for (size_t i = 0; i < pairs.count; i++) {
        const struct saga_message_type *left = pairs.list[i].a;
        const struct saga_message_type *right = pairs.list[i].b;
        if (left->field_count != right->field_count) {
            return false;
        }
        for (size_t f = 0; f < left->field_count; f++) {
            const struct saga_field *field = &left->fields[f];
            const struct saga_field *other = saga_message_field_by_number(right, field->number);
            if (other == NULL || strcmp(field->name, other->name) != 0 ||
                !kinds_agree(&pairs, field, other)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Tables ---- */

/* One flow of fields: what is read, what is written, and the words for it. */
struct flow {
    struct saga_draft *draft;
    int step;
    const char *option;    /* "bind", "result", "undo_bind" */
    const char *from_side; /* "the context", "the response of x" */
    const char *to_side;
    const struct saga_message_type *from;
    const struct saga_message_type *to;
    const struct saga_draft *child; /* whose context is read or written; NULL: a method's message */
    Saga__V1__Bind *const *binds;
    size_t bind_count;
    struct saga_bind_table *table;
};

static const char *type_word(const struct saga_field *field)
{
    static const char *const words[] = {
        "?",       "double",   "float",    "int64",  "uint64",  "int32", "fixed64",
        "fixed32", "bool",     "string",   "group",  "message", "bytes", "uint32",
        "enum",    "sfixed32", "sfixed64", "sint32", "sint64",
    };
    if (field->message != NULL) {
        return field->map ? "map" : field->message->name;
    }
    return field->enumeration != NULL ? field->enumeration->name : words[field->type];
}

static void add_entry(struct flow *flow, const struct saga_field *from, const struct saga_field *to)
{
    struct saga_bind_table *table = flow->table;
    if (!saga_fields_agree(from, to)) {
        saga_lint_add(flow->draft, "SAGA022", flow->step,
                      "%.64s of %s is %s%.100s, but %.64s of %s is %s%.100s; give them the same "
                      "type, or bind another field",
                      from->name, flow->from_side, from->repeated ? "repeated " : "",
                      type_word(from), to->name, flow->to_side, to->repeated ? "repeated " : "",
                      type_word(to));
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        if (table->fields[i].to == to->number) {
            saga_lint_add(flow->draft, "SAGA021", flow->step,
                          "%.64s of %s is written twice; leave one %s: out, or rename a field",
                          to->name, flow->to_side, flow->option);
            return;
        }
    }
    if (table->count == SAGA_BINDS_MAX) {
        saga_lint_add(flow->draft, "SAGA037", flow->step,
                      "more than %d fields flow to %s (SAGA_BINDS_MAX); put them into a message",
                      SAGA_BINDS_MAX, flow->to_side);
        return;
    }
    table->fields[table->count++] = (struct saga_bind_field){from->number, to->number};
}

static int compare_entries(const void *a, const void *b)
{
    const struct saga_bind_field *left = a;
    const struct saga_bind_field *right = b;
    if (left->from != right->from) {
        return left->from < right->from ? -1 : 1;
    }
    return left->to < right->to ? -1 : left->to > right->to ? 1 : 0;
}

static void sort_table(struct saga_bind_table *table)
{
    qsort(table->fields, table->count, sizeof table->fields[0], compare_entries);
}

/* Adds what is bound by name in so many words. */
static void add_explicit(struct flow *flow)
{
    for (size_t i = 0; i < flow->bind_count; i++) {
        const Saga__V1__Bind *bind = flow->binds[i];
        const struct saga_field *from = saga_message_field(flow->from, bind->from);
        const struct saga_field *to = saga_message_field(flow->to, bind->to);
        if (from == NULL) {
            saga_lint_add(flow->draft, "SAGA020", flow->step,
                          "%s: from: \"%.64s\" is not a field of %s; name one of its fields",
                          flow->option, bind->from, flow->from_side);
        }
        if (to == NULL) {
            saga_lint_add(flow->draft, "SAGA020", flow->step,
                          "%s: to: \"%.64s\" is not a field of %s; name one of its fields",
                          flow->option, bind->to, flow->to_side);
        }
        if (from != NULL && to != NULL) {
            add_entry(flow, from, to);
        }
    }
}

static bool bound_to(const struct flow *flow, const char *name)
{
    for (size_t i = 0; i < flow->bind_count; i++) {
        if (strcmp(flow->binds[i]->to, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool bound_from(const struct flow *flow, const char *name)
{
    for (size_t i = 0; i < flow->bind_count; i++) {
        if (strcmp(flow->binds[i]->from, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool defaulted(const Saga__V1__Step *step, const char *name)
{
    for (size_t i = 0; i < step->n_defaulted; i++) {
        if (strcmp(step->defaulted[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Tells whether a step of a child saga writes a field of its context. What none writes is input. */
static bool is_output(const struct saga_draft *child, const struct saga_field *field)
{
    for (size_t i = 0; i < child->decl.step_count; i++) {
        const struct saga_bind_table *table = &child->steps[i].result_bind;
        for (size_t f = 0; f < table->count; f++) {
            if (table->fields[f].to == field->number) {
                return true;
            }
        }
    }
    return false;
}

/* Context -> request: every field of the request must have a source. */
static void bind_request(struct flow *flow)
{
    const Saga__V1__Step *step = flow->draft->option->step[flow->step];
    add_explicit(flow);
    for (size_t i = 0; i < flow->to->field_count; i++) {
        const struct saga_field *to = &flow->to->fields[i];
        bool bound = bound_to(flow, to->name);
        if (flow->child != NULL && !bound && is_output(flow->child, to)) {
            continue; /* the child's own steps fill it */
        }
        if (defaulted(step, to->name)) {
            if (bound) {
                saga_lint_add(flow->draft, "SAGA019", flow->step,
                              "%.64s is both defaulted and bound by %s:; take one of them out",
                              to->name, flow->option);
            }
            continue;
        }
        if (bound) {
            continue;
        }
        const struct saga_field *from = saga_message_field(flow->from, to->name);
        if (from == NULL) {
            saga_lint_add(flow->draft, "SAGA018", flow->step,
                          "nothing fills %.64s of %s; give the context a field of that name, or "
                          "write %s: { from: \"...\" to: \"%.64s\" }, or defaulted: \"%.64s\"",
                          to->name, flow->to_side, flow->option, to->name, to->name);
            continue;
        }
        add_entry(flow, from, to);
    }
    sort_table(flow->table);
}

/* A member of a oneof is replaced by its siblings, which a table that copies fields does not see.
 */
static void check_oneof(struct flow *flow)
{
    for (size_t i = 0; i < flow->table->count; i++) {
        const struct saga_field *field =
            saga_message_field_by_number(flow->to, flow->table->fields[i].to);
        for (size_t f = 0; field->oneof && f < flow->to->field_count; f++) {
            const struct saga_field *other = &flow->to->fields[f];
            if (other != field && other->oneof && other->oneof_index == field->oneof_index) {
                saga_lint_add(flow->draft, "SAGA033", flow->step,
                              "the reply writes %.64s of the context, which is in a oneof with "
                              "%.64s; take it out of the oneof",
                              field->name, other->name);
                break;
            }
        }
    }
}

/* Response -> context: what has no place in the context is dropped. */
static void bind_result(struct flow *flow)
{
    add_explicit(flow);
    for (size_t i = 0; i < flow->from->field_count; i++) {
        const struct saga_field *from = &flow->from->fields[i];
        const struct saga_field *to = saga_message_field(flow->to, from->name);
        bool told = flow->child == NULL || is_output(flow->child, from);
        if (to != NULL && told && !bound_from(flow, from->name)) {
            add_entry(flow, from, to);
        }
    }
    sort_table(flow->table);
    check_oneof(flow);
}

static void check_stray(struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *step = draft->option->step[i];
    if (saga_lint_is_starter(step) && (step->n_bind > 0 || step->n_result > 0)) {
        saga_lint_add(draft, "SAGA020", (int)i,
                      "bind: and result: are for a call, and the step has none; take them out");
    }
    if (!saga_lint_is_child(step) && step->undo[0] == '\0' && step->n_undo_bind > 0) {
        saga_lint_add(draft, "SAGA020", (int)i,
                      "undo_bind: is for an undo, and the step has none; take it out");
    }
}

static void check_defaulted(struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *option = draft->option->step[i];
    const struct saga_step_decl *step = &draft->steps[i];
    const struct saga_draft *child = draft->children[i];
    if (saga_lint_is_child(option) ? child == NULL
                                   : (option->call[0] != '\0' && step->call == NULL) ||
                                         (option->undo[0] != '\0' && step->undo == NULL)) {
        return; /* a method, or the child, is wrong: that comes first */
    }
    for (size_t d = 0; d < option->n_defaulted; d++) {
        const char *name = option->defaulted[d];
        bool of_call = step->call != NULL && saga_message_field(step->call->request, name) != NULL;
        bool of_undo = step->undo != NULL && saga_message_field(step->undo->request, name) != NULL;
        bool of_child = child != NULL && saga_message_field(child->decl.context, name) != NULL;
        if (!of_call && !of_undo && !of_child) {
            saga_lint_add(draft, "SAGA019", (int)i,
                          "defaulted: \"%.64s\" is not a field of the step's requests, or of its "
                          "child's context; mend the name or take it out",
                          name);
        }
    }
}

/* Context -> call's request, or child's context. */
static void bind_there(struct saga_draft *draft, size_t i, const struct saga_message_type *to)
{
    const Saga__V1__Step *option = draft->option->step[i];
    struct flow flow = {
        .draft = draft,
        .step = (int)i,
        .option = "bind",
        .from_side = "the context",
        .to_side = to->name,
        .from = draft->decl.context,
        .to = to,
        .child = draft->children[i],
        .binds = option->bind,
        .bind_count = option->n_bind,
        .table = &draft->steps[i].call_bind,
    };
    bind_request(&flow);
}

/* Call's response, or child's context -> context. */
static void bind_back(struct saga_draft *draft, size_t i, const struct saga_message_type *from)
{
    const Saga__V1__Step *option = draft->option->step[i];
    struct flow flow = {
        .draft = draft,
        .step = (int)i,
        .option = "result",
        .from_side = from->name,
        .to_side = "the context",
        .from = from,
        .to = draft->decl.context,
        .child = draft->children[i],
        .binds = option->result,
        .bind_count = option->n_result,
        .table = &draft->steps[i].result_bind,
    };
    bind_result(&flow);
}

static void bind_undo(struct saga_draft *draft, size_t i)
{
    const Saga__V1__Step *option = draft->option->step[i];
    struct saga_step_decl *step = &draft->steps[i];
    struct flow flow = {
        .draft = draft,
        .step = (int)i,
        .option = "undo_bind",
        .from_side = "the context",
        .to_side = step->undo->request->name,
        .from = draft->decl.context,
        .to = step->undo->request,
        .binds = option->undo_bind,
        .bind_count = option->n_undo_bind,
        .table = &step->undo_bind,
    };
    bind_request(&flow);
}

void saga_lint_binds(struct saga_draft *draft)
{
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const struct saga_step_decl *step = &draft->steps[i];
        const struct saga_draft *child = draft->children[i];
        check_stray(draft, i);
        check_defaulted(draft, i);
        if (child != NULL) {
            bind_there(draft, i, child->decl.context);
            bind_back(draft, i, child->decl.context);
        } else if (step->call != NULL) {
            bind_there(draft, i, step->call->request);
            bind_back(draft, i, step->call->response);
        }
        if (step->undo != NULL) {
            bind_undo(draft, i);
        }
    }
}
