/* The context: what starters send, what steps have written, what undos are built from. */
#include <string.h>

#include "verify/compat/internal.h"

/* What has become of a field. */
enum fate { FATE_SAME, FATE_GONE, FATE_RENUMBERED, FATE_RENAMED, FATE_RETYPED };

static const char *fate_text(enum fate fate)
{
    switch (fate) {
    case FATE_SAME:
        break;
    case FATE_GONE:
        return "is gone";
    case FATE_RENUMBERED:
        return "has another number";
    case FATE_RENAMED:
        return "has another name";
    case FATE_RETYPED:
        return "has another type";
    }
    return "is as it was";
}

static bool same_type(const struct compat_saga *saga, const struct saga_field *a,
                      const struct saga_field *b)
{
    enum saga_compat_fit fit = saga_compat_types_fit(a->type, b->type);
    if (fit == SAGA_COMPAT_FIT_BROKEN || fit == SAGA_COMPAT_FIT_NARROWED ||
        a->repeated != b->repeated) {
        return false;
    }
    if (a->message != NULL && b->message != NULL) {
        return compat_same_type(saga->report, a->message->name, b->message->name);
    }
    return true;
}

static enum fate fate_of(const struct compat_saga *saga, const struct saga_field *field)
{
    const struct saga_message_type *context = saga->new_decl->context;
    const struct saga_field *number = saga_message_field_by_number(context, field->number);
    const struct saga_field *name = saga_message_field(context, field->name);
    if (number != NULL && number == name) {
        return same_type(saga, field, number) ? FATE_SAME : FATE_RETYPED;
    }
    return name != NULL ? FATE_RENUMBERED : number != NULL ? FATE_RENAMED : FATE_GONE;
}

/* Tells whether a step of the saga writes a context field. */
static bool written(const struct saga_decl *decl, uint32_t number)
{
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_bind_table *bind = &decl->steps[i].result_bind;
        for (size_t k = 0; k < bind->count; k++) {
            if (bind->fields[k].to == number) {
                return true;
            }
        }
    }
    return false;
}

static bool table_reads(const struct saga_bind_table *bind, uint32_t number)
{
    for (size_t i = 0; i < bind->count; i++) {
        if (bind->fields[i].from == number) {
            return true;
        }
    }
    return false;
}

/* Names a step that needs a context field; NULL: none. */
static const char *reader_of(const struct saga_decl *decl, uint32_t number)
{
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        if (table_reads(&step->call_bind, number) || table_reads(&step->undo_bind, number) ||
            (step->when.there && step->when.field == number)) {
            return step->name;
        }
    }
    return NULL;
}

static void compare_field(const struct compat_saga *saga, const struct saga_field *field)
{
    const struct saga_decl *a = saga->old_decl;
    enum fate fate = fate_of(saga, field);
    if (fate == FATE_SAME) {
        return;
    }
    struct compat_saga_note what = {0};
    if (written(a, field->number)) {
        what.code = SAGA_COMPAT_CONTEXT_FIELD_CHANGED;
        compat_saga_add(saga, what,
                        "context field %s (number %u), which steps write, %s: the saga itself runs "
                        "on, contexts that are kept are shown wrongly by whoever reads them with "
                        "the new schema; keep the field",
                        field->name, (unsigned)field->number, fate_text(fate));
    } else {
        what.code = SAGA_COMPAT_INPUT_FIELD_CHANGED;
        compat_saga_add(saga, what,
                        "input field %s (number %u) %s: starters of the old schema send it as it "
                        "was, and a start that is repeated in another form is refused "
                        "(KEY_REUSED, S10); add a field and keep this one until all starters are "
                        "new",
                        field->name, (unsigned)field->number, fate_text(fate));
    }
    for (size_t i = 0; i < a->step_count; i++) {
        const struct saga_step_decl *step = &a->steps[i];
        if (step->undo != NULL && table_reads(&step->undo_bind, field->number)) {
            what.code = SAGA_COMPAT_CONTEXT_UNDO_FIELD_CHANGED;
            what.step = step;
            compat_saga_add(saga, what,
                            "context field %s (number %u), from which the undo %s is built, %s: "
                            "sagas in flight name by it what is to be undone, and nothing that is "
                            "made from the new schema can; keep the field until they have drained",
                            field->name, (unsigned)field->number, step->undo->full_name,
                            fate_text(fate));
        }
    }
}

/* A new input that steps rely on: old starters do not send it. */
static void check_added(const struct compat_saga *saga)
{
    const struct saga_decl *b = saga->new_decl;
    const struct saga_message_type *was = saga->old_decl->context;
    for (size_t i = 0; i < b->context->field_count; i++) {
        const struct saga_field *field = &b->context->fields[i];
        const char *step = reader_of(b, field->number);
        if (step == NULL || written(b, field->number) ||
            saga_message_field_by_number(was, field->number) != NULL ||
            saga_message_field(was, field->name) != NULL) {
            continue;
        }
        struct compat_saga_note what = {.code = SAGA_COMPAT_INPUT_FIELD_ADDED};
        compat_saga_add(saga, what,
                        "input field %s (number %u) is new and step \"%s\" needs it: starters of "
                        "the old schema leave it empty; let the participant take an empty one "
                        "until all starters are new",
                        field->name, (unsigned)field->number, step);
    }
}

void compat_saga_context(const struct compat_saga *saga)
{
    const struct saga_message_type *context = saga->old_decl->context;
    for (size_t i = 0; i < context->field_count; i++) {
        compare_field(saga, &context->fields[i]);
    }
    check_added(saga);
}
