/* sagactl breaking: what a new schema breaks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/breaking.h"
#include "client/proto_file.h"
#include "client/proto_place.h"
#include "client/verbs.h"

static const struct saga_option breaking_options[] = {
    {"wire-only", NULL, "false", "messages, enums and services only", false},
    {"saga-only", NULL, "false", "sagas only", false},
    {"disable", "CODE", NULL, "leave out a code; docs/breaking.md lists them, --codes too", true},
    {"fail-on", "SEVERITY", "error", "exit with 1 on an error, or already on a warning", false},
    {"live", NULL, "false",
     "compare with what the orchestrator has, and tell which sagas in flight are hit", false},
    {"codes", NULL, "false", "list the codes", false},
    SAGA_PROTO_PATH_OPTION,
};

/* ---- Rows ---- */

/* What hits nothing in flight is the same of whatever version. */
static bool said_already(const struct saga_breaking *breaking,
                         const struct saga_compat_finding *finding, const char *version)
{
    for (size_t i = 0; i < breaking->row_count; i++) {
        const struct saga_breaking_row *row = &breaking->rows[i];
        if (saga_compat_same(row->finding, finding) &&
            (finding->hit == SAGA_COMPAT_HIT_NONE ||
             strcmp(row->version, version == NULL ? "" : version) == 0)) {
            return true;
        }
    }
    return false;
}

static bool is_source(const struct saga_breaking_source *source)
{
    return source->path != NULL && saga_proto_file_is_source(source->path);
}

/* Tells whether a file of a set is the .proto that was given. */
static bool is_given(const struct saga_breaking_source *source, const char *file)
{
    return is_source(source) && saga_proto_file_is_path_of(source->path, file);
}

/* Says where a finding is in the file that was given; protoc does not know the places of steps. */
static void place_row(const struct saga_breaking *breaking, struct saga_breaking_row *row)
{
    const struct saga_compat_finding *finding = row->finding;
    const struct saga_breaking_source *source =
        finding->in_old ? &breaking->old_source : &breaking->new_source;
    row->path = finding->file;
    row->line = finding->line;
    row->column = finding->column;
    /* The orchestrator's text is not that of the file that is OLD. */
    if (!is_given(source, finding->file) || (finding->in_old && row->of_daemon)) {
        return;
    }
    row->path = source->path;
    if (finding->saga != NULL) {
        struct saga_finding wanted = {
            .code = "",
            .file = finding->file,
            .line = finding->line,
            .column = finding->column,
            .step = finding->step_index,
            .where = finding->where,
            .message = "",
        };
        struct saga_proto_place place = saga_proto_place(
            saga_buf_view(&source->text), finding->refused == NULL ? &wanted : finding->refused);
        row->line = place.line;
        row->column = place.column;
    }
}

/* Keeps the text of a .proto; without it, places are those of the descriptor set. */
static void open_source(struct saga_breaking_source *source, const char *path)
{
    source->path = path;
    if (saga_proto_file_is_source(path) &&
        saga_proto_file_text(path, &source->text) != SAGA_ERR_OK) {
        saga_buf_clear(&source->text);
    }
}

static bool add_row(struct saga_breaking *breaking, const struct saga_compat_finding *finding,
                    struct saga_breaking_origin origin)
{
    if (breaking->row_count == breaking->row_capacity) {
        size_t capacity = breaking->row_capacity == 0 ? 64 : 2 * breaking->row_capacity;
        struct saga_breaking_row *rows = realloc(breaking->rows, capacity * sizeof *rows);
        if (rows == NULL) {
            return false;
        }
        breaking->rows = rows;
        breaking->row_capacity = capacity;
    }
    struct saga_breaking_row *row = &breaking->rows[breaking->row_count++];
    *row = (struct saga_breaking_row){
        .finding = finding,
        .severity = finding->severity,
        .of_daemon = origin.daemon,
    };
    place_row(breaking, row);
    (void)snprintf(row->version, sizeof row->version, "%s",
                   origin.version == NULL ? "" : origin.version);
    return true;
}

int saga_breaking_take(struct saga_breaking *breaking, struct saga_compat *report,
                       struct saga_breaking_origin origin)
{
    struct saga_compat **reports =
        realloc(breaking->reports, (breaking->report_count + 1) * sizeof *reports);
    if (reports == NULL) {
        saga_compat_free(report);
        return saga_client_fail("out of memory");
    }
    breaking->reports = reports;
    breaking->reports[breaking->report_count++] = report;
    breaking->dropped += saga_compat_dropped(report);
    for (size_t i = 0; i < saga_compat_count(report); i++) {
        const struct saga_compat_finding *finding = saga_compat_at(report, i);
        /* Two .proto that were given are meant to be one, whatever they are called. */
        if (finding->code == SAGA_COMPAT_FILE_REMOVED &&
            is_given(&breaking->old_source, finding->file) && is_source(&breaking->new_source)) {
            continue;
        }
        /* One comparison says nothing twice; those of several versions mostly say the same. */
        if (breaking->report_count > 1 && said_already(breaking, finding, origin.version)) {
            continue;
        }
        if (breaking->row_count >= SAGA_COMPAT_FINDINGS_MAX) {
            breaking->dropped++;
        } else if (!add_row(breaking, finding, origin)) {
            return saga_client_fail("out of memory");
        }
    }
    return SAGA_EXIT_OK;
}

void saga_breaking_fini(struct saga_breaking *breaking)
{
    for (size_t i = 0; i < breaking->report_count; i++) {
        saga_compat_free(breaking->reports[i]);
    }
    free(breaking->reports);
    free(breaking->rows);
    json_decref(breaking->errors);
    saga_buf_fini(&breaking->new_set);
    saga_buf_fini(&breaking->old_source.text);
    saga_buf_fini(&breaking->new_source.text);
}

/* ---- Settings ---- */

static int read_disabled(struct saga_breaking *breaking)
{
    for (size_t i = 0; i < saga_options_count(breaking->options, "disable"); i++) {
        const char *name = saga_options_at(breaking->options, "disable", i);
        enum saga_compat_code code = SAGA_COMPAT_CODE_COUNT;
        if (!saga_compat_code_find(name, &code)) {
            return saga_client_usage("--disable %s: there is no such code; `sagactl breaking "
                                     "--codes` lists them",
                                     name);
        }
        breaking->config.disabled[code] = true;
    }
    return SAGA_EXIT_OK;
}

static int read_settings(struct saga_breaking *breaking, enum saga_compat_severity *fail_on)
{
    const struct saga_options *options = breaking->options;
    const char *severity = saga_options_text(options, "fail-on");
    int json = saga_client_output_json(options);
    if (json < 0) {
        return SAGA_EXIT_USAGE;
    }
    breaking->json = json == 1;
    breaking->errors = breaking->json ? json_array() : NULL;
    breaking->config.without_sagas = saga_options_on(options, "wire-only");
    breaking->config.without_wire = saga_options_on(options, "saga-only");
    if (breaking->config.without_sagas && breaking->config.without_wire) {
        return saga_client_usage("--wire-only and --saga-only leave nothing");
    }
    if (strcmp(severity, "error") != 0 && strcmp(severity, "warning") != 0) {
        return saga_client_usage("--fail-on %s: it must be error or warning", severity);
    }
    *fail_on = strcmp(severity, "error") == 0 ? SAGA_COMPAT_ERROR : SAGA_COMPAT_WARNING;
    return read_disabled(breaking);
}

static int list_codes(bool json)
{
    json_t *array = json ? json_array() : NULL;
    struct saga_table table = {.column_count = 4};
    static const char *const heads[] = {"CODE", "KIND", "SEVERITY", "SAYS"};
    for (size_t i = 0; i < table.column_count && !json; i++) {
        saga_table_add(&table, "%s", heads[i]);
    }
    for (size_t i = 0; i < SAGA_COMPAT_CODE_COUNT; i++) {
        const struct saga_compat_code_info *info = saga_compat_code_info((enum saga_compat_code)i);
        const char *kind = saga_compat_kind_name(info->kind);
        const char *severity = saga_compat_severity_name(info->severity);
        if (json) {
            (void)json_array_append_new(
                array, json_pack("{s:s,s:s,s:s,s:s,s:s}", "code", info->name, "kind", kind,
                                 "severity", severity, "hits", saga_compat_hit_name(info->hit),
                                 "summary", info->summary));
            continue;
        }
        saga_table_add(&table, "%s", info->name);
        saga_table_add(&table, "%s", kind);
        saga_table_add(&table, "%s", severity);
        saga_table_add(&table, "%s", info->summary);
    }
    return json ? saga_client_print_json(array) : saga_table_print(&table);
}

/* ---- Running ---- */

/* Reads OLD or NEW. Exit status; the message is printed, with -o json what protoc refuses too. */
static int read_set(struct saga_breaking *breaking, const char *path, struct saga_buf *set)
{
    int status = saga_proto_file_read_noting(breaking->options, path, set, breaking->errors);
    return status == SAGA_EXIT_OK ? status : saga_breaking_print_refused(breaking);
}

/* Definitions of OLD that fail a check run nowhere, and are not compared. */
static void tell_refused(const struct saga_compat *report, const char *old_path)
{
    const struct saga_schema *schema = saga_compat_old_schema(report);
    if (saga_schema_finding_count(schema) > 0) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, 0);
        saga_client_warn("%s: %zu finding%s of the static checks, %s: %s the first; sagas with one "
                         "are not compared (`sagactl lint`)",
                         old_path, saga_schema_finding_count(schema),
                         saga_schema_finding_count(schema) == 1 ? "" : "s", finding->where,
                         finding->code);
    }
}

static int compare_files(struct saga_breaking *breaking, const char *old_path)
{
    struct saga_err_detail detail = {{0}};
    struct saga_buf old_set = {0};
    struct saga_compat *report = NULL;
    breaking->reading_old = true;
    int status = read_set(breaking, old_path, &old_set);
    open_source(&breaking->old_source, old_path);
    if (status == SAGA_EXIT_OK) {
        enum saga_err err =
            saga_compat_compare(saga_buf_view(&old_set), saga_buf_view(&breaking->new_set),
                                &breaking->config, &report, &detail);
        status = err == SAGA_ERR_OK
                     ? saga_breaking_take(breaking, report, (struct saga_breaking_origin){0})
                     : saga_client_fail("%s", detail.text);
        if (status == SAGA_EXIT_OK && !breaking->config.without_sagas) {
            tell_refused(report, old_path);
        }
    }
    saga_buf_fini(&old_set);
    return status;
}

static int run_all(struct saga_breaking *breaking, enum saga_compat_severity fail_on)
{
    bool live = saga_options_on(breaking->options, "live");
    size_t count = saga_options_operand_count(breaking->options);
    const char *new_path = saga_options_operand(breaking->options, count - 1);
    int status = read_set(breaking, new_path, &breaking->new_set);
    open_source(&breaking->new_source, new_path);
    if (status == SAGA_EXIT_OK && count == 2) {
        status = compare_files(breaking, saga_options_operand(breaking->options, 0));
    }
    if (status == SAGA_EXIT_OK && live) {
        status = saga_breaking_live(breaking);
    }
    if (status == SAGA_EXIT_OK) {
        status = saga_breaking_print(breaking);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    bool fails =
        saga_breaking_count(breaking, SAGA_COMPAT_ERROR) > 0 ||
        (fail_on == SAGA_COMPAT_WARNING && saga_breaking_count(breaking, SAGA_COMPAT_WARNING) > 0);
    return fails ? SAGA_EXIT_FAILED : SAGA_EXIT_OK;
}

static int run_breaking(const struct saga_options *options)
{
    struct saga_breaking breaking = {.options = options};
    enum saga_compat_severity fail_on = SAGA_COMPAT_ERROR;
    int status = read_settings(&breaking, &fail_on);
    if (status == SAGA_EXIT_OK && saga_options_on(options, "codes")) {
        return list_codes(breaking.json);
    }
    if (status == SAGA_EXIT_OK) {
        bool live = saga_options_on(options, "live");
        status = saga_client_operands(options, live ? 1 : 2, 2,
                                      live ? "NEW, or OLD and NEW"
                                           : "OLD and NEW; or --live NEW, to compare with what the "
                                             "orchestrator has");
    }
    if (status == SAGA_EXIT_OK) {
        status = run_all(&breaking, fail_on);
    }
    saga_breaking_fini(&breaking);
    return status;
}

const struct saga_verb saga_verb_breaking = {
    .name = "breaking",
    .usage = "OLD NEW | --live [OLD] NEW",
    .summary = "tells what a new schema breaks, on the wire and for sagas in flight",
    .epilog =
        "  sagactl breaking baseline.binpb shop.proto          what a change breaks\n"
        "  sagactl breaking --live shop.proto                  what it breaks here and now\n"
        "  sagactl breaking --live --saga-only -o json shop.proto\n"
        "  sagactl breaking --disable FIELD_RENAMED OLD NEW\n"
        "\n" SAGA_PROTO_FILE_HELP
        "OLD and NEW are taken to be alive at once. Sagas in flight keep the version that they "
        "began with, while\ntheir participants are deployed from NEW: what they will still send "
        "and read must be served.\n"
        "With --live the orchestrator is asked for each version that sagas begin on or are in "
        "flight on, and what would hit\nnone of them is a note. Files that NEW does not have are "
        "left alone. With OLD too its wire and its sagas are\ncompared as well, a break that both "
        "have is told once. It is a look at one moment: pause the definition\n(`sagactl pause`) "
        "if it is to stay true.\n"
        "docs/breaking.md says of each code what it means and the safe way to do it.\n"
        "-o json: an object with verdict (compatible, care, breaking; refused: protoc refuses OLD "
        "or "
        "NEW, its errors are the\nfindings, with the code PROTOC) and findings.\n"
        "Exit status: 0 compatible; 1 something breaks (--fail-on), or FILE cannot be read or "
        "compiled (stdout is\nempty then, but for a refusal in JSON); 2 wrong usage; 64 + N the "
        "orchestrator answered with gRPC status N.",
    .options = breaking_options,
    .option_count = sizeof breaking_options / sizeof breaking_options[0],
    .shorts = "o=output " SAGA_PROTO_PATH_SHORT,
    .run = run_breaking,
};
