/* What sagactl breaking has found, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/breaking.h"

size_t saga_breaking_count(const struct saga_breaking *breaking, enum saga_compat_severity severity)
{
    size_t count = 0;
    for (size_t i = 0; i < breaking->row_count; i++) {
        count += breaking->rows[i].severity == severity ? 1 : 0;
    }
    return count;
}

/* ---- For people ---- */

static void print_hits(const struct saga_breaking_row *row)
{
    if (row->finding->hit == SAGA_COMPAT_HIT_NONE || !row->judged) {
        return;
    }
    if (row->hit_count == 0) {
        printf("    no saga of %s in flight is hit\n", row->version);
        return;
    }
    printf("    %" PRIu64 " saga%s of %s %s hit: ", row->hit_count, row->hit_count == 1 ? "" : "s",
           row->version, row->hit_count == 1 ? "is" : "are");
    for (size_t i = 0; i < row->hit_count && i < SAGA_BREAKING_IDS_MAX; i++) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_id_format(row->ids[i], id);
        printf("%s%s", i == 0 ? "" : ", ", id);
    }
    puts(row->hit_count > SAGA_BREAKING_IDS_MAX ? ", …" : "");
}

static void print_row(const struct saga_breaking_row *row)
{
    const struct saga_compat_finding *finding = row->finding;
    if (row->line > 0) {
        printf("%s:%d:%d: ", row->path, row->line, row->column);
    } else {
        printf("%s: ", row->path);
    }
    const char *side = !finding->in_old ? ""
                       : row->of_daemon ? " (as the orchestrator has it)"
                                        : " (in OLD)";
    printf("%s: %s%s: %s: %s\n", saga_compat_severity_name(row->severity),
           saga_compat_code_info(finding->code)->name, side, finding->where, finding->message);
    print_hits(row);
}

static void print_summary(const struct saga_breaking *breaking)
{
    size_t errors = saga_breaking_count(breaking, SAGA_COMPAT_ERROR);
    size_t warnings = saga_breaking_count(breaking, SAGA_COMPAT_WARNING);
    size_t notes = saga_breaking_count(breaking, SAGA_COMPAT_NOTE);
    if (breaking->row_count == 0) {
        printf("compatible: nothing breaks");
    } else {
        printf("%zu error%s, %zu warning%s", errors, errors == 1 ? "" : "s", warnings,
               warnings == 1 ? "" : "s");
    }
    if (notes > 0) {
        printf(", %zu that hit nothing in flight", notes);
    }
    if (breaking->walked > 0) {
        printf("; %" PRIu64 " saga%s in flight looked at", breaking->walked,
               breaking->walked == 1 ? "" : "s");
    }
    if (breaking->dropped > 0) {
        printf("; %zu more findings are not shown (SAGA_COMPAT_FINDINGS_MAX)", breaking->dropped);
    }
    putchar('\n');
}

/* ---- JSON ---- */

static json_t *live_json(const struct saga_breaking_row *row)
{
    if (!row->judged) {
        return json_null();
    }
    json_t *ids = json_array();
    for (size_t i = 0; i < row->hit_count && i < SAGA_BREAKING_IDS_MAX; i++) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_id_format(row->ids[i], id);
        (void)json_array_append_new(ids, json_string(id));
    }
    return json_pack("{s:s,s:I,s:o}", "version", row->version, "count", (json_int_t)row->hit_count,
                     "first", ids);
}

static json_t *row_json(const struct saga_breaking_row *row)
{
    const struct saga_compat_finding *finding = row->finding;
    const struct saga_compat_code_info *info = saga_compat_code_info(finding->code);
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:b,s:s,s:s,s:s?,s:s?,s:s,s:o}", "code", info->name,
                     "kind", saga_compat_kind_name(info->kind), "severity",
                     saga_compat_severity_name(row->severity), "file", row->path, "line", row->line,
                     "column", row->column, "in_old", (int)finding->in_old, "where", finding->where,
                     "message", finding->message, "saga", finding->saga, "step", finding->step,
                     "hits", saga_compat_hit_name(finding->hit), "live", live_json(row));
}

/* Sagas of which a finding hides others. */
static json_t *not_judged_json(const struct saga_breaking *breaking)
{
    json_t *names = json_array();
    for (size_t i = 0; i < breaking->row_count; i++) {
        const struct saga_compat_finding *finding = breaking->rows[i].finding;
        bool known = finding->code != SAGA_COMPAT_SAGA_REFUSED;
        for (size_t k = 0; !known && k < json_array_size(names); k++) {
            known = strcmp(json_string_value(json_array_get(names, k)), finding->saga) == 0;
        }
        if (!known) {
            (void)json_array_append_new(names, json_string(finding->saga));
        }
    }
    return names;
}

/* Steals the findings. */
static int print_report(const struct saga_breaking *breaking, const char *verdict, size_t errors,
                        json_t *findings)
{
    size_t warnings = saga_breaking_count(breaking, SAGA_COMPAT_WARNING);
    size_t notes = saga_breaking_count(breaking, SAGA_COMPAT_NOTE);
    return saga_client_print_json(json_pack(
        "{s:s,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "verdict", verdict, "errors", (json_int_t)errors,
        "warnings", (json_int_t)warnings, "notes", (json_int_t)notes, "walked",
        (json_int_t)breaking->walked, "not_shown", (json_int_t)breaking->dropped,
        "sagas_not_judged", not_judged_json(breaking), "findings", findings));
}

static int print_json(const struct saga_breaking *breaking)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < breaking->row_count; i++) {
        (void)json_array_append_new(findings, row_json(&breaking->rows[i]));
    }
    size_t errors = saga_breaking_count(breaking, SAGA_COMPAT_ERROR);
    bool care = saga_breaking_count(breaking, SAGA_COMPAT_WARNING) > 0;
    return print_report(breaking,
                        errors > 0 ? "breaking"
                        : care     ? "care"
                                   : "compatible",
                        errors, findings);
}

int saga_breaking_print_refused(const struct saga_breaking *breaking)
{
    size_t count = json_array_size(breaking->errors);
    for (size_t i = 0; i < count; i++) {
        json_t *rest =
            json_pack("{s:s,s:s,s:b,s:n,s:n,s:s,s:n}", "kind", "protoc", "severity", "error",
                      "in_old", (int)breaking->reading_old, "saga", "step", "hits", "none", "live");
        (void)json_object_update(json_array_get(breaking->errors, i), rest);
        json_decref(rest);
    }
    if (count > 0) {
        (void)print_report(breaking, "refused", count, json_incref(breaking->errors));
    }
    return SAGA_EXIT_FAILED;
}

int saga_breaking_print(const struct saga_breaking *breaking)
{
    if (breaking->json) {
        return print_json(breaking);
    }
    for (size_t i = 0; i < breaking->row_count; i++) {
        print_row(&breaking->rows[i]);
    }
    print_summary(breaking);
    return SAGA_EXIT_OK;
}
