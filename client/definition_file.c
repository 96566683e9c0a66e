/* The FILE of verbs that are about one saga. See definition_file.h. */
#include "client/definition_file.h"

#include <stdio.h>
#include <string.h>

#include "client/proto_file.h"
#include "client/proto_place.h"
#include "descriptor_set.h"

static void print_findings(const char *path, const struct saga_schema *schema)
{
    struct saga_buf text = {0};
    bool source = path != NULL && saga_proto_file_is_source(path) &&
                  saga_schema_finding_count(schema) > 0 &&
                  saga_proto_file_text(path, &text) == SAGA_ERR_OK;
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        struct saga_proto_place place = {finding->line, finding->column};
        const char *file = finding->file;
        if (source && saga_proto_file_is_path_of(path, file)) {
            place = saga_proto_place(saga_buf_view(&text), finding);
            file = path;
        }
        if (place.line > 0) {
            fprintf(stderr, "%s:%d:%d: %s: %s: %s\n", file, place.line, place.column, finding->code,
                    finding->where, finding->message);
        } else {
            fprintf(stderr, "%s: %s: %s: %s\n", file, finding->code, finding->where,
                    finding->message);
        }
    }
    saga_buf_fini(&text);
}

static void print_names(const struct saga_schema *schema)
{
    for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
        fprintf(stderr, "  %s\n", saga_schema_decl_at(schema, i)->name);
    }
}

json_t *saga_definition_file_findings_json(const struct saga_schema *schema)
{
    json_t *array = json_array();
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        (void)json_array_append_new(
            array, json_pack("{s:s,s:s,s:i,s:i,s:s,s:s}", "code", finding->code, "file",
                             finding->file, "line", finding->line, "column", finding->column,
                             "where", finding->where, "message", finding->message));
    }
    return array;
}

static int print_refused_json(const char *path, const char *name, const struct saga_schema *schema)
{
    json_t *object = json_pack("{s:s?,s:s?,s:s,s:o}", "file", path, "saga", name, "verdict",
                               "refused", "findings", saga_definition_file_findings_json(schema));
    (void)saga_client_print_json(object);
    return SAGA_EXIT_FAILED;
}

/* Says why no saga was found. */
static int tell_none(const char *path, const char *name, bool json,
                     const struct saga_schema *schema)
{
    const char *file = path == NULL ? "built-in descriptor set" : path;
    size_t count = saga_schema_decl_count(schema);
    size_t findings = saga_schema_finding_count(schema);
    if (findings > 0) {
        saga_client_warn("%s: %zu finding%s (above; docs/lint.md says what to do): %s%s%s", file,
                         findings, findings == 1 ? "" : "s", name == NULL ? "refused" : "no saga ",
                         name == NULL ? "" : name, name == NULL ? "" : " is without them");
        if (count > 0) {
            fputs("Without findings, to be named with --saga:\n", stderr);
            print_names(schema);
        }
        return json ? print_refused_json(path, name, schema) : SAGA_EXIT_FAILED;
    }
    if (count == 0) {
        return saga_client_fail("%s: it declares no saga; a saga is the option "
                                "(saga.v1.definition) of its context message "
                                "(saga/v1/options.proto, docs/lint.md)",
                                file);
    }
    if (name == NULL) {
        saga_client_warn("--saga NAME is needed; there are:");
    } else {
        saga_client_warn("%s: there is no saga %s; there are:", file, name);
    }
    print_names(schema);
    return SAGA_EXIT_USAGE;
}

/* Reads and loads. Exit status; the message is printed. */
static int load(const struct saga_options *options, const char *path,
                struct saga_definition_file *file)
{
    struct saga_bytes bytes = {saga_descriptor_set, saga_descriptor_set_size};
    struct saga_err_detail detail = {{0}};
    if (path != NULL) {
        int status = saga_proto_file_read(options, path, &file->set);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
        bytes = saga_buf_view(&file->set);
    }
    if (saga_schema_load(bytes, &file->schema, &detail) == SAGA_ERR_OK) {
        return SAGA_EXIT_OK;
    }
    file->schema = NULL;
    return saga_client_fail("%s: %s; FILE is a .proto, or what protoc makes of one by "
                            "--include_imports --include_source_info --descriptor_set_out",
                            path == NULL ? "built-in descriptor set" : path, detail.text);
}

int saga_definition_file_open(const struct saga_options *options, const char *path,
                              const char *name, bool json, struct saga_definition_file *file)
{
    *file = (struct saga_definition_file){0};
    int status = load(options, path, file);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const struct saga_schema *schema = file->schema;
    print_findings(path, schema);
    if (name != NULL) {
        file->decl = saga_schema_decl(schema, name);
    } else if (saga_schema_decl_count(schema) == 1 && saga_schema_finding_count(schema) == 0) {
        file->decl = saga_schema_decl_at(schema, 0);
    }
    return file->decl != NULL ? SAGA_EXIT_OK : tell_none(path, name, json, schema);
}

void saga_definition_file_fini(struct saga_definition_file *file)
{
    saga_schema_free(file->schema);
    saga_buf_fini(&file->set);
    *file = (struct saga_definition_file){0};
}
