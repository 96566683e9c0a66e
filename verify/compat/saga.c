/* The sagas of OLD, one by one. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "verify/compat/internal.h"

enum { TEXT_SIZE = 1024, HASH_TEXT_SIZE = 13 };

const struct saga_step_decl *compat_step_named(const struct saga_decl *decl, const char *name)
{
    for (size_t i = 0; i < decl->step_count; i++) {
        if (strcmp(decl->steps[i].name, name) == 0) {
            return &decl->steps[i];
        }
    }
    return NULL;
}

/* Gives the place of a step's declaration in NEW, else in OLD; step NULL: of the definition's. As
 * far as source info tells: protoc knows the places of steps only where each is an option of its
 * own. *place: 1 + the step's index in the definition that the place is in; 0: none. */
static struct compat_spot spot_of(const struct compat_saga *saga, const struct saga_step_decl *step,
                                  int *place)
{
    const struct compat_item *item = saga->new_item;
    const struct saga_decl *decl = item == NULL ? NULL : saga->new_decl;
    const struct saga_step_decl *found =
        decl == NULL || step == NULL ? NULL : compat_step_now(saga, step);
    if (item == NULL || (step != NULL && found == NULL)) {
        item = saga->old_item;
        decl = saga->old_decl;
        found = step == NULL ? NULL : compat_step_named(decl, step->name);
    }
    struct compat_tail tail = {{PATH_MESSAGE_OPTIONS, PATH_DEFINITION_OPTION}, 2};
    *place = 0;
    if (found != NULL) {
        *place = (int)(found - decl->steps) + 1;
        tail = (struct compat_tail){
            {PATH_MESSAGE_OPTIONS, PATH_DEFINITION_OPTION, PATH_DEFINITION_STEP, *place - 1}, 4};
    }
    return item == NULL ? (struct compat_spot){0} : compat_spot_item(saga->report, item, tail);
}

/* Gives the place of a finding of NEW's static checks. */
static struct compat_spot spot_refused(const struct compat_saga *saga,
                                       const struct saga_finding *finding, int *place)
{
    *place = finding->step + 1;
    return (struct compat_spot){
        .file = compat_set_file(&saga->report->new_set, finding->file),
        .line = finding->line,
        .column = finding->column,
    };
}

void compat_saga_add(const struct compat_saga *saga, struct compat_saga_note what,
                     const char *format, ...)
{
    char where[WHERE_SIZE];
    char message[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const char *context = saga->old_decl->context->name;
    bool of_new = false;
    if (what.step == NULL) {
        (void)snprintf(where, sizeof where, "%s",
                       what.refused == NULL ? context : what.refused->where);
    } else {
        (void)snprintf(where, sizeof where, "%s step \"%s\"", context, what.step->name);
        /* A step that only NEW has hits by the whole saga. */
        of_new = what.step < saga->old_decl->steps ||
                 what.step >= saga->old_decl->steps + saga->old_decl->step_count;
    }
    int place = 0;
    struct compat_spot spot = what.refused != NULL
                                  ? spot_refused(saga, what.refused, &place)
                                  : spot_of(saga, what.at == NULL ? what.step : what.at, &place);
    struct compat_note note = {
        .code = what.code,
        .spot = spot,
        .step_place = place,
        .where = where,
        .saga = saga->old_decl->name,
        .step = what.step == NULL || of_new ? NULL : what.step->name,
        .lower = what.lower,
        .refused = what.refused,
    };
    compat_add(saga->report, &note, "%s", message);
}

/* Finds the first finding of NEW's static checks about a context type, and their count; NULL: none.
 */
static const struct saga_finding *refusal(const struct saga_schema *schema, const char *context,
                                          size_t *count)
{
    const struct saga_finding *first = NULL;
    size_t size = strlen(context);
    *count = 0;
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        if (strncmp(finding->where, context, size) == 0 &&
            (finding->where[size] == '\0' || finding->where[size] == ' ')) {
            first = first == NULL ? finding : first;
            ++*count;
        }
    }
    return first;
}

static void tell_refused(const struct compat_saga *saga, const struct saga_finding *finding,
                         size_t count)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_SAGA_REFUSED, .refused = finding};
    char more[64] = "";
    if (count > 1) {
        (void)snprintf(more, sizeof more, " (and %zu more, see `sagactl lint`)", count - 1);
    }
    compat_saga_add(saga, what,
                    "%s: %s%s: saga %s of the new schema would be refused; other breaks of this "
                    "saga were not judged",
                    finding->code, finding->message, more, saga->old_decl->name);
}

static const struct saga_decl *by_context(const struct saga_schema *schema, const char *context)
{
    for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        if (strcmp(decl->context->name, context) == 0) {
            return decl;
        }
    }
    return NULL;
}

static void tell_gone(const struct compat_saga *saga)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_SAGA_REMOVED};
    size_t count = 0;
    const struct saga_finding *finding =
        refusal(saga->report->new_schema, saga->old_decl->context->name, &count);
    if (finding != NULL) {
        tell_refused(saga, finding, count);
        return;
    }
    compat_saga_add(saga, what,
                    "saga %s is gone: who starts it is answered NOT_FOUND; those in flight go "
                    "on as they began and need their participants until the last has ended; "
                    "stop the starters, drain, then remove it",
                    saga->old_decl->name);
}

static void compare_name(const struct compat_saga *saga)
{
    const char *was = saga->old_decl->name;
    const char *is = saga->new_decl->name;
    struct compat_saga_note what = {.code = SAGA_COMPAT_SAGA_RENAMED};
    if (strcmp(was, is) != 0) {
        compat_saga_add(saga, what,
                        "saga %s is called %s: who starts the old name is answered NOT_FOUND, a "
                        "start key under the new one is not known and starts a second saga (S10), "
                        "tools look for those in flight under the old name; declare the new one "
                        "beside it and remove the old one when it has drained",
                        was, is);
    }
}

static void compare_whole(struct compat_saga *saga)
{
    const struct saga_decl *a = saga->old_decl;
    const struct saga_decl *b = saga->new_decl;
    if (strcmp(a->context->name, b->context->name) != 0) {
        const struct compat_item *mapped =
            saga->old_item == NULL ? NULL : compat_map(saga->report, saga->old_item);
        struct compat_saga_note what = {.code = SAGA_COMPAT_CONTEXT_TYPE_CHANGED};
        compat_saga_add(saga, what,
                        "the context of saga %s was %s and is %s%s: starters send the old one, and "
                        "contexts that are kept are of it; keep the message",
                        a->name, a->context->name, b->context->name,
                        mapped != NULL && strcmp(mapped->name, b->context->name) == 0
                            ? " (its package is another)"
                            : "");
    }
}

static void compare_saga(struct saga_compat *report, const struct saga_decl *decl)
{
    struct compat_saga saga = {
        .report = report,
        .old_decl = decl,
        .new_decl = saga_schema_decl(report->new_schema, decl->name),
        .old_item = compat_set_find(&report->old_set, decl->context->name, ITEM_MESSAGE),
    };
    if (saga.new_decl == NULL) {
        saga.new_decl = by_context(report->new_schema, decl->context->name);
    }
    if (saga.new_decl != NULL) {
        saga.new_item =
            compat_set_find(&report->new_set, saga.new_decl->context->name, ITEM_MESSAGE);
    }
    bool ours = saga.old_item == NULL || !saga.old_item->file->elsewhere ||
                compat_map(report, saga.old_item) != NULL;
    if (saga.new_decl != NULL) {
        compare_name(&saga);
        compare_whole(&saga);
        compat_saga_context(&saga);
        compat_saga_steps(&saga);
        compat_saga_policy(&saga);
    } else if (ours) {
        tell_gone(&saga);
    }
    compat_saga_served(&saga);
}

void compat_sagas(struct saga_compat *report)
{
    for (size_t i = 0; i < saga_schema_decl_count(report->old_schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(report->old_schema, i);
        if (report->config.saga == NULL || strcmp(report->config.saga, decl->name) == 0) {
            compare_saga(report, decl);
        }
    }
}
