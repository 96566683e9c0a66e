/* Static checks of the saga definitions: the driver, and how findings are kept. docs/lint.md has
 * each code with examples. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/schema_internal.h"

enum { FINDING_TEXT_SIZE = 512 };

/* Names in findings come from outside, cut at any byte: what is not plain ASCII does not stay. */
static char *clean_text(struct saga_arena *arena, const char *text)
{
    char *copy = saga_arena_text(arena, text);
    for (char *at = copy; at != NULL && *at != '\0'; at++) {
        if (*at < ' ' || *at > '~') {
            *at = '?';
        }
    }
    return copy;
}

static const char *describe_where(struct saga_draft *draft, int step, struct saga_arena *arena)
{
    char where[FINDING_TEXT_SIZE + SAGA_TYPE_NAME_MAX];
    if (step == SAGA_LINT_WHOLE) {
        (void)snprintf(where, sizeof where, "%s", draft->found->context->name);
    } else if (draft->option->step[step]->name[0] == '\0') {
        (void)snprintf(where, sizeof where, "%s step %d", draft->found->context->name, step + 1);
    } else {
        (void)snprintf(where, sizeof where, "%s step \"%.*s\"", draft->found->context->name,
                       SAGA_STEP_NAME_MAX, draft->option->step[step]->name);
    }
    return clean_text(arena, where);
}

/* Tells whether a check came only after there were stores: what was accepted before it stands. */
static bool came_later(const char *code)
{
    static const char *const later[] = {"SAGA045"};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        if (strcmp(code, later[i]) == 0) {
            return true;
        }
    }
    return false;
}

void saga_lint_add(struct saga_draft *draft, const char *code, int step, const char *format, ...)
{
    struct saga_arena *arena = &draft->loader->schema->arena;
    if (draft->loader->stored && came_later(code)) {
        return;
    }
    if (draft->finding_count == SAGA_FINDINGS_MAX) {
        return; /* enough to work on */
    }
    char message[FINDING_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct saga_draft_finding *entry = saga_arena_take_zero(arena, 1, sizeof *entry);
    if (entry == NULL) {
        draft->no_memory = true;
        return;
    }
    bool placed = step != SAGA_LINT_WHOLE && step < SAGA_STEPS_MAX;
    struct saga_place place = placed ? draft->found->steps[step] : draft->found->place;
    entry->finding = (struct saga_finding){
        .code = code,
        .file = draft->found->file,
        .line = place.line,
        .column = place.column,
        .step = step,
        .where = describe_where(draft, step, arena),
        .message = clean_text(arena, message),
    };
    entry->next = draft->findings;
    draft->findings = entry;
    draft->finding_count++;
    draft->no_memory =
        draft->no_memory || entry->finding.where == NULL || entry->finding.message == NULL;
}

/* Prepares what every check needs: a decl with as many steps as can be. */
static enum saga_err open_draft(struct saga_draft *draft, struct saga_loader *loader,
                                const struct saga_found *found)
{
    struct saga_arena *arena = &loader->schema->arena;
    size_t count = found->option->n_step;
    *draft = (struct saga_draft){.loader = loader, .found = found, .option = found->option};
    if (count > SAGA_STEPS_MAX) {
        count = SAGA_STEPS_MAX;
    }
    draft->steps = saga_arena_take_zero(arena, count, sizeof *draft->steps);
    draft->decl.name = saga_arena_text(arena, found->option->name);
    if (draft->steps == NULL || draft->decl.name == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    draft->decl.context = found->context;
    draft->decl.steps = draft->steps;
    draft->decl.step_count = count;
    for (size_t i = 0; i < count; i++) {
        draft->steps[i].name = saga_arena_text(arena, found->option->step[i]->name);
        if (draft->steps[i].name == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
    }
    return SAGA_ERR_OK;
}

static void check(struct saga_draft *draft)
{
    saga_lint_names(draft);
    saga_lint_children(draft);
    saga_lint_graph(draft);
    saga_lint_methods(draft);
    saga_lint_roles(draft);
    saga_lint_topics(draft);
    saga_lint_binds(draft);
    saga_lint_conditions(draft);
    saga_lint_flow(draft);
    saga_lint_policies(draft);
}

static int compare_findings(const void *a, const void *b)
{
    const struct saga_draft_finding *left = *(struct saga_draft_finding *const *)a;
    const struct saga_draft_finding *right = *(struct saga_draft_finding *const *)b;
    if (left->finding.line != right->finding.line) {
        return left->finding.line < right->finding.line ? -1 : 1;
    }
    return left->order < right->order ? -1 : left->order > right->order ? 1 : 0;
}

/* Puts findings into one list: files keep their order in the set, inside a file lines count. */
static enum saga_err collect(struct saga_loader *loader, struct saga_draft **drafts)
{
    struct saga_schema *schema = loader->schema;
    size_t count = 0;
    for (size_t i = 0; i < loader->found_count; i++) {
        count += drafts[i]->finding_count;
    }
    struct saga_draft_finding **sorted =
        saga_arena_take_zero(&loader->scratch, count, sizeof(void *));
    schema->findings = saga_arena_take_zero(&schema->arena, count, sizeof *schema->findings);
    if (sorted == NULL || schema->findings == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    size_t end_of_draft = 0;
    for (size_t i = 0; i < loader->found_count; i++) {
        end_of_draft += drafts[i]->finding_count;
        size_t at = end_of_draft;
        for (struct saga_draft_finding *entry = drafts[i]->findings; entry != NULL;
             entry = entry->next) {
            at--;
            entry->order = at;
            sorted[at] = entry;
        }
    }
    for (size_t start = 0; start < count;) {
        size_t end = start + 1;
        while (end < count && sorted[end]->finding.file == sorted[start]->finding.file) {
            end++;
        }
        qsort(sorted + start, end - start, sizeof(void *), compare_findings);
        start = end;
    }
    for (size_t i = 0; i < count; i++) {
        schema->findings[i] = sorted[i]->finding;
    }
    schema->finding_count = count;
    return SAGA_ERR_OK;
}

/* Makes a draft of each definition that was found. NULL: no memory. */
static struct saga_draft **open_drafts(struct saga_loader *loader)
{
    size_t count = loader->found_count;
    struct saga_draft **drafts = saga_arena_take_zero(&loader->scratch, count, sizeof(void *));
    struct saga_draft *all = saga_arena_take_zero(&loader->scratch, count, sizeof *all);
    if (drafts == NULL || all == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        drafts[i] = &all[i];
        if (open_draft(drafts[i], loader, &loader->found[i]) != SAGA_ERR_OK) {
            return NULL;
        }
    }
    return drafts;
}

/* Makes those without findings the schema's, in the order of the set; then, children first, what
 * depends on others. */
static enum saga_err accept(struct saga_loader *loader, struct saga_draft **drafts,
                            struct saga_draft **order)
{
    struct saga_schema *schema = loader->schema;
    struct saga_forms *forms = saga_forms_open(schema, &loader->scratch);
    if (forms == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < loader->found_count; i++) {
        if (drafts[i]->finding_count == 0) {
            drafts[i]->accepted = &schema->decls[schema->decl_count++];
            *drafts[i]->accepted = drafts[i]->decl;
        }
    }
    for (size_t i = 0; i < loader->found_count; i++) {
        struct saga_draft *draft = order[i];
        if (draft->accepted == NULL) {
            continue;
        }
        for (size_t s = 0; s < draft->decl.step_count; s++) {
            draft->steps[s].child =
                draft->children[s] == NULL ? NULL : draft->children[s]->accepted;
        }
        enum saga_err err = saga_decl_hash(forms, draft->accepted);
        if (err == SAGA_ERR_LIMIT) {
            return saga_err_set(loader->detail, err,
                                "the types that the sagas up to %.80s use have more than %d bytes "
                                "in all (SAGA_FORMS_SIZE_MAX): use smaller types, or apply the "
                                "sagas in more than one set",
                                draft->accepted->name, SAGA_FORMS_SIZE_MAX);
        }
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_lint_all(struct saga_loader *loader)
{
    struct saga_schema *schema = loader->schema;
    size_t count = loader->found_count;
    schema->decls = saga_arena_take_zero(&schema->arena, count, sizeof *schema->decls);
    struct saga_draft **order = saga_arena_take_zero(&loader->scratch, count, sizeof(void *));
    struct saga_draft **drafts = open_drafts(loader);
    if (schema->decls == NULL || order == NULL || drafts == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    saga_lint_order(drafts, count, order);
    for (size_t i = 0; i < count; i++) {
        check(order[i]);
        order[i]->checked = true;
        if (order[i]->no_memory) {
            return SAGA_ERR_NO_MEMORY;
        }
    }
    enum saga_err err = accept(loader, drafts, order);
    return err == SAGA_ERR_OK ? collect(loader, drafts) : err;
}
