/* sagactl lint: the static checks of sagas, and the style rules, of .proto files or a descriptor
 * set, without a daemon. */
#include "client/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/findings.h"
#include "client/proto_file.h"
#include "common/wire/schema.h"
#include "descriptor_set.h"
#include "verify/style/style.h"

static const struct saga_option lint_options[] = {
    {"disable", "RULE", NULL, "switch a style rule off; SAGA codes cannot be", true},
    {"enable", "RULE", NULL, "switch on a style rule that is off by default (COMMENT_…)", true},
    {"only", "RULE", NULL, "judge these style rules, or SAGA codes, and no other", true},
    {"no-style", NULL, "false", "judge the sagas alone", false},
    {"imports", NULL, "false", "judge all files of the set, those too that are only imported",
     false},
    {"list-rules", NULL, "false", "print the style rules and end", false},
    SAGA_PROTO_PATH_OPTION,
};

/* A finding of either kind. */
struct item {
    const char *file;
    int line, column;
    const char *code, *where, *message;
    bool saga;
};

struct lint_run {
    const struct saga_options *options;
    bool json;
    struct saga_style_config style;
    bool only;          /* --only was given */
    bool only_saga;     /* it named SAGA codes */
    const char **paths; /* the operands */
    struct saga_findings findings;
    json_t *errors; /* protoc's; NULL: no JSON is wanted */
    struct saga_buf set;
    struct saga_bytes bytes;
    struct saga_schema *schema;
    struct saga_style_result *result;
    struct item *items;
    size_t item_count, saga_count;
};

/* ---- Settings ---- */

static bool is_saga_code(const char *name)
{
    return strncmp(name, "SAGA", 4) == 0 && strlen(name) == 7 &&
           strspn(name + 4, "0123456789") == 3;
}

/* Finds a rule; exit status, the message is printed. */
static int find_rule(const char *flag, const char *name, size_t *id)
{
    if (is_saga_code(name)) {
        return saga_client_usage("--%s %s: the checks of sagas cannot be switched: a saga that "
                                 "fails one is refused by the daemon too",
                                 flag, name);
    }
    if (!saga_style_rule_find(name, id)) {
        return saga_client_usage("--%s %s: there is no such rule; sagactl lint --list-rules prints "
                                 "all",
                                 flag, name);
    }
    return SAGA_EXIT_OK;
}

static int read_only(struct lint_run *run)
{
    size_t count = saga_options_count(run->options, "only");
    if (count == 0) {
        return SAGA_EXIT_OK;
    }
    run->only = true;
    memset(run->style.rules, 0, sizeof run->style.rules);
    for (size_t i = 0; i < count; i++) {
        const char *name = saga_options_at(run->options, "only", i);
        size_t id = 0;
        if (is_saga_code(name)) {
            continue;
        }
        int status = find_rule("only", name, &id);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
        run->style.rules[id] = true;
    }
    return SAGA_EXIT_OK;
}

static int switch_rules(struct lint_run *run, const char *flag, bool on)
{
    for (size_t i = 0; i < saga_options_count(run->options, flag); i++) {
        size_t id = 0;
        int status = find_rule(flag, saga_options_at(run->options, flag, i), &id);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
        run->style.rules[id] = on;
    }
    return SAGA_EXIT_OK;
}

static int read_rules(struct lint_run *run)
{
    for (size_t i = 0; i < SAGA_STYLE_RULE_COUNT; i++) {
        run->style.rules[i] = saga_style_rule(i)->on;
    }
    int status = read_only(run);
    if (status == SAGA_EXIT_OK) {
        status = switch_rules(run, "enable", true);
    }
    if (status == SAGA_EXIT_OK) {
        status = switch_rules(run, "disable", false);
    }
    if (saga_options_on(run->options, "no-style")) {
        memset(run->style.rules, 0, sizeof run->style.rules);
    }
    return status;
}

static int list_rules(bool json)
{
    if (json) {
        json_t *array = json_array();
        for (size_t i = 0; i < SAGA_STYLE_RULE_COUNT; i++) {
            const struct saga_style_rule *rule = saga_style_rule(i);
            (void)json_array_append_new(array, json_pack("{s:s,s:b,s:s}", "rule", rule->name, "on",
                                                         (int)rule->on, "summary", rule->summary));
        }
        return saga_client_print_json(array);
    }
    struct saga_table table = {.column_count = 3};
    saga_table_add(&table, "RULE");
    saga_table_add(&table, "DEFAULT");
    saga_table_add(&table, "WHAT IT WANTS");
    for (size_t i = 0; i < SAGA_STYLE_RULE_COUNT; i++) {
        const struct saga_style_rule *rule = saga_style_rule(i);
        saga_table_add(&table, "%s", rule->name);
        saga_table_add(&table, "%s", rule->on ? "on" : "off");
        saga_table_add(&table, "%s", rule->summary);
    }
    return saga_table_print(&table);
}

/* ---- Reading ---- */

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Takes the operands: .proto files, as many as there are, or one descriptor set. Exit status; the
 * message is printed. */
static int read_set(struct lint_run *run)
{
    size_t count = saga_options_operand_count(run->options);
    run->bytes = (struct saga_bytes){saga_descriptor_set, saga_descriptor_set_size};
    if (count == 0) {
        return SAGA_EXIT_OK;
    }
    run->paths = calloc(count, sizeof *run->paths);
    if (run->paths == NULL) {
        return saga_client_fail("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        run->paths[i] = saga_options_operand(run->options, i);
        if (is_folder(run->paths[i])) {
            return saga_client_usage("%s: a folder, but files are due; all of its own: sagactl "
                                     "lint $(find %s -name '*.proto')",
                                     run->paths[i], run->paths[i]);
        }
        if (count > 1 && !saga_proto_file_is_source(run->paths[i])) {
            return saga_client_usage("%s: a descriptor set is judged alone; give one set, or "
                                     ".proto files",
                                     run->paths[i]);
        }
    }
    int status = SAGA_EXIT_OK;
    if (saga_proto_file_is_source(run->paths[0])) {
        run->findings.given.paths = run->paths;
        run->findings.given.count = count;
        status = saga_proto_files_read(&run->findings.given, &run->set, run->errors);
    } else {
        status = saga_proto_file_read(run->options, run->paths[0], &run->set);
    }
    run->bytes = saga_buf_view(&run->set);
    return status;
}

/* Only what the set was made for is judged. */
static bool is_judged(void *user, const char *file)
{
    const struct lint_run *run = user;
    const struct saga_proto_given *given = &run->findings.given;
    for (size_t i = 0; i < given->count; i++) {
        if (saga_proto_file_is_path_of(given->paths[i], file)) {
            return true;
        }
    }
    return saga_options_on(run->options, "imports") ||
           (given->count == 0 && strncmp(file, "saga/v1/", 8) != 0 &&
            strncmp(file, "google/protobuf/", 16) != 0);
}

static int judge(struct lint_run *run)
{
    struct saga_err_detail detail = {{0}};
    const char *what = run->paths == NULL              ? "built-in descriptor set"
                       : run->findings.given.count > 1 ? "FILE"
                                                       : run->paths[0];
    enum saga_err err = saga_schema_load(run->bytes, &run->schema, &detail);
    if (err != SAGA_ERR_OK) {
        run->schema = NULL;
        return saga_client_fail("%s: %s", what, detail.text);
    }
    run->style.judged = is_judged;
    run->style.user = run;
    err = saga_style_check(run->bytes, &run->style, &run->result, &detail);
    if (err != SAGA_ERR_OK) {
        run->result = NULL;
        return saga_client_fail("%s: %s", what, detail.text);
    }
    return SAGA_EXIT_OK;
}

/* ---- Findings ---- */

static bool saga_wanted(const struct lint_run *run, const char *code)
{
    for (size_t i = 0; i < saga_options_count(run->options, "only"); i++) {
        if (strcmp(saga_options_at(run->options, "only", i), code) == 0) {
            return true;
        }
    }
    return !run->only;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *left = a;
    const struct item *right = b;
    int order = strcmp(left->file, right->file);
    if (order == 0) {
        order = (left->line > right->line) - (left->line < right->line);
    }
    if (order == 0) {
        order = (left->column > right->column) - (left->column < right->column);
    }
    if (order == 0) {
        order = strcmp(left->code, right->code);
    }
    if (order == 0) {
        order = strcmp(left->where, right->where);
    }
    return order == 0 ? strcmp(left->message, right->message) : order;
}

static int gather(struct lint_run *run)
{
    size_t sagas = saga_schema_finding_count(run->schema);
    size_t styles = saga_style_finding_count(run->result);
    run->items = calloc(sagas + styles + 1, sizeof *run->items);
    if (run->items == NULL) {
        return saga_client_fail("out of memory");
    }
    for (size_t i = 0; i < sagas; i++) {
        const struct saga_finding *finding = saga_schema_finding_at(run->schema, i);
        if (saga_wanted(run, finding->code)) {
            struct saga_findings_place place = saga_findings_place(&run->findings, finding);
            run->items[run->item_count++] =
                (struct item){place.path,     place.line,       place.column, finding->code,
                              finding->where, finding->message, true};
        }
    }
    run->saga_count = run->item_count;
    for (size_t i = 0; i < styles; i++) {
        const struct saga_style_finding *finding = saga_style_finding_at(run->result, i);
        run->items[run->item_count++] =
            (struct item){saga_findings_path(&run->findings, finding->file),
                          finding->line,
                          finding->column,
                          saga_style_rule(finding->rule)->name,
                          finding->where,
                          finding->message,
                          false};
    }
    qsort(run->items, run->item_count, sizeof *run->items, compare_items);
    return SAGA_EXIT_OK;
}

static int print_findings_json(const struct lint_run *run)
{
    json_t *array = json_array();
    for (size_t i = 0; i < run->item_count; i++) {
        const struct item *item = &run->items[i];
        (void)json_array_append_new(array, json_pack("{s:s,s:s,s:s,s:i,s:i,s:s,s:s}", "severity",
                                                     item->saga ? "error" : "style", "code",
                                                     item->code, "file", item->file, "line",
                                                     item->line, "column", item->column, "where",
                                                     item->where, "message", item->message));
    }
    return saga_client_print_json(array);
}

/* Says what protoc refuses, as findings. */
static void print_errors(struct lint_run *run)
{
    for (size_t i = 0; i < json_array_size(run->errors); i++) {
        (void)json_object_set_new(json_array_get(run->errors, i), "severity", json_string("error"));
    }
    if (json_array_size(run->errors) > 0) {
        (void)saga_client_print_json(json_incref(run->errors));
    }
}

static int print_findings(const struct lint_run *run)
{
    for (size_t i = 0; i < run->item_count; i++) {
        const struct item *item = &run->items[i];
        if (item->line > 0) {
            printf("%s:%d:%d: %s: %s: %s\n", item->file, item->line, item->column, item->code,
                   item->where, item->message);
        } else {
            printf("%s: %s: %s: %s\n", item->file, item->code, item->where, item->message);
        }
    }
    size_t files = saga_style_file_count(run->result);
    size_t sagas = saga_schema_decl_count(run->schema);
    size_t left_out = saga_style_left_out(run->result);
    printf("%zu file%s, %zu good saga%s: ", files, files == 1 ? "" : "s", sagas,
           sagas == 1 ? "" : "s");
    if (run->item_count == 0) {
        puts("no findings");
    } else {
        printf("%zu finding%s, %zu of sagas and %zu of style", run->item_count,
               run->item_count == 1 ? "" : "s", run->saga_count, run->item_count - run->saga_count);
        if (left_out > 0) {
            printf("; %zu more of style are not shown", left_out);
        }
        puts(" (docs/lint.md says what to do)");
    }
    return saga_client_flush();
}

static int lint(struct lint_run *run)
{
    int status = read_rules(run);
    if (status == SAGA_EXIT_OK) {
        status = read_set(run);
        if (status != SAGA_EXIT_OK) {
            print_errors(run);
        }
    }
    if (status == SAGA_EXIT_OK) {
        status = judge(run);
    }
    if (status == SAGA_EXIT_OK) {
        status = gather(run);
    }
    if (status == SAGA_EXIT_OK) {
        status = run->json ? print_findings_json(run) : print_findings(run);
    }
    if (status == SAGA_EXIT_OK && run->item_count > 0) {
        status = SAGA_EXIT_FAILED;
    }
    return status;
}

static int run_lint(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0) {
        return SAGA_EXIT_USAGE;
    }
    if (saga_options_on(options, "list-rules")) {
        return list_rules(json == 1);
    }
    struct lint_run run = {.options = options, .json = json == 1};
    run.findings.given.options = options;
    run.errors = run.json ? json_array() : NULL;
    int status = lint(&run);
    saga_findings_fini(&run.findings);
    json_decref(run.errors);
    saga_style_free(run.result);
    saga_schema_free(run.schema);
    saga_buf_fini(&run.set);
    free(run.items);
    free(run.paths);
    return status;
}

const struct saga_verb saga_verb_lint = {
    .name = "lint",
    .usage = "[FILE…] [--disable RULE] [--only RULE] [--no-style] [-o json]",
    .summary = "check the sagas and the style of .proto files, without a daemon",
    .epilog =
        "Each FILE is a .proto (protoc is run for them, package protobuf-compiler), or there is "
        "one descriptor set\n(protoc --include_imports --include_source_info "
        "--descriptor_set_out=FILE); without FILE, what sagad ships with is judged.\n"
        "Sagas have codes, SAGA001 and on; a saga with such a finding is refused by the daemon "
        "too. "
        "Style rules have names,\nand are switched off by --disable NAME, or by a comment above "
        "an element, // sagactl:lint-ignore NAME. Both, with what\nis wrong and right: "
        "docs/lint.md. Files that are only imported are read, and not judged by style.\n\n"
        "  sagactl lint shop/v1/*.proto\n"
        "  sagactl lint --proto-path proto --enable COMMENT_FIELD proto/shop/v1/shop.proto\n"
        "  sagactl lint --disable PACKAGE_VERSION_SUFFIX -o json shop.binpb\n\n"
        "Findings are lines FILE:LINE:COLUMN: CODE: WHERE: MESSAGE, in that order, FILE as given "
        "or "
        "found by --proto-path; -o json: an\narray of objects with severity (error: of a saga; "
        "style), code (PROTOC: protoc refuses the file), file, line,\ncolumn (0: no source info), "
        "where, message.\n"
        "Exit status: 0 no findings; 1 findings, or FILE cannot be read or compiled; 2 wrong "
        "usage.",
    .options = lint_options,
    .option_count = sizeof lint_options / sizeof lint_options[0],
    .shorts = "o=output " SAGA_PROTO_PATH_SHORT,
    .offline = true,
    .run = run_lint,
};
