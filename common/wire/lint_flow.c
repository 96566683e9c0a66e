/* Static checks of when fields are known: a command must have the same bytes at each attempt, and
 * an undo must be buildable from what was known before its call was sent, because the reply may
 * never have come. */
#include "common/wire/schema_internal.h"

static bool before(const struct saga_draft *draft, size_t first, size_t second)
{
    return (draft->ancestors[second] >> first & 1) != 0;
}

static bool ordered(const struct saga_draft *draft, size_t a, size_t b)
{
    return before(draft, a, b) || before(draft, b, a);
}

static bool table_writes(const struct saga_bind_table *table, uint32_t field)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->fields[i].to == field) {
            return true;
        }
    }
    return false;
}

static const char *field_name(const struct saga_draft *draft, uint32_t number)
{
    return saga_message_field_by_number(draft->decl.context, number)->name;
}

/* Calls and conditions: what they read must not be written by a step that may run at the same time.
 */
static void check_race(struct saga_draft *draft, size_t reader, uint32_t field, const char *what)
{
    for (size_t writer = 0; writer < draft->decl.step_count; writer++) {
        if (writer == reader || ordered(draft, writer, reader) ||
            !table_writes(&draft->steps[writer].result_bind, field)) {
            continue;
        }
        saga_lint_add(draft, "SAGA024", (int)reader,
                      "%s reads %.64s, which \"%.31s\" writes and which may or may not have run by "
                      "then; order the two steps with after:",
                      what, field_name(draft, field), draft->steps[writer].name);
    }
}

/* Undos: what they read must be an input, or come from a step that was over before. */
static void check_undo(struct saga_draft *draft, size_t reader, uint32_t field)
{
    for (size_t writer = 0; writer < draft->decl.step_count; writer++) {
        if (before(draft, writer, reader) ||
            !table_writes(&draft->steps[writer].result_bind, field)) {
            continue;
        }
        if (writer == reader) {
            saga_lint_add(draft, "SAGA023", (int)reader,
                          "the undo reads %.64s, which the step's own reply brings; the reply may "
                          "never come, so let the undo find its work by a field that is known "
                          "before the call",
                          field_name(draft, field));
        } else {
            saga_lint_add(draft, "SAGA023", (int)reader,
                          "the undo reads %.64s, which \"%.31s\" writes without being before this "
                          "step; read a field that is known before the call, or put \"%.31s\" "
                          "first with after:",
                          field_name(draft, field), draft->steps[writer].name,
                          draft->steps[writer].name);
        }
    }
}

/* Two steps that may run at the same time must not write the same field: the last reply would win.
 */
static void check_writers(struct saga_draft *draft, size_t second)
{
    const struct saga_bind_table *table = &draft->steps[second].result_bind;
    for (size_t first = 0; first < second; first++) {
        if (ordered(draft, first, second)) {
            continue;
        }
        for (size_t i = 0; i < table->count; i++) {
            if (table_writes(&draft->steps[first].result_bind, table->fields[i].to)) {
                saga_lint_add(draft, "SAGA025", (int)second,
                              "both this step and \"%.31s\" write %.64s, in no order; order them "
                              "with after:, or rename one with result:",
                              draft->steps[first].name, field_name(draft, table->fields[i].to));
            }
        }
    }
}

void saga_lint_flow(struct saga_draft *draft)
{
    if (!draft->graph_good) {
        return; /* what is before what is not known */
    }
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const struct saga_step_decl *step = &draft->steps[i];
        for (size_t f = 0; f < step->call_bind.count; f++) {
            check_race(draft, i, step->call_bind.fields[f].from, "the call");
        }
        if (step->when.there) {
            check_race(draft, i, step->when.field, "when:");
        }
        for (size_t f = 0; f < step->undo_bind.count; f++) {
            check_undo(draft, i, step->undo_bind.fields[f].from);
        }
        check_writers(draft, i);
    }
}
