/* The FILE of verbs that are about one saga. See definition_file.h. */
#include "client/definition_file.h"

#include <stdio.h>
#include <string.h>

#include "client/findings.h"
#include "client/proto_file.h"
#include "descriptor_set.h"

static void print_names(const struct saga_schema *schema)
{
    for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
        fprintf(stderr, "  %s\n", saga_schema_decl_at(schema, i)->name);
    }
}

/* Steals the findings. */
static int print_refused_json(const char *path, const char *name, json_t *findings)
{
    (void)saga_client_print_json(json_pack("{s:s?,s:s?,s:s,s:o}", "file", path, "saga", name,
                                           "verdict", "refused", "findings", findings));
    return SAGA_EXIT_FAILED;
}

/* Says why no saga was found. */
static int tell_none(struct saga_findings *findings, const char *path, const char *name, bool json,
                     const struct saga_schema *schema)
{
    const char *file = path == NULL ? "built-in descriptor set" : path;
    size_t count = saga_schema_decl_count(schema);
    size_t refused = saga_schema_finding_count(schema);
    if (refused > 0) {
        saga_client_warn("%s: %zu finding%s (above; docs/lint.md says what to do): %s%s%s", file,
                         refused, refused == 1 ? "" : "s", name == NULL ? "refused" : "no saga ",
                         name == NULL ? "" : name, name == NULL ? "" : " is without them");
        if (count > 0) {
            fputs("Without findings, to be named with --saga:\n", stderr);
            print_names(schema);
        }
        return json ? print_refused_json(path, name, saga_findings_json(findings, schema))
                    : SAGA_EXIT_FAILED;
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

/* Reads the file, and says as JSON what protoc refuses. Exit status; the message is printed. */
static int read_set(const struct saga_options *options, const char *path, const char *name,
                    bool json, struct saga_buf *set)
{
    json_t *errors = json ? json_array() : NULL;
    int status = saga_proto_file_read_noting(options, path, set, errors);
    if (status != SAGA_EXIT_OK && json_array_size(errors) > 0) {
        return print_refused_json(path, name, errors);
    }
    json_decref(errors);
    return status;
}

/* Loads what was read. Exit status; the message is printed. */
static int load(const char *path, struct saga_definition_file *file)
{
    struct saga_bytes bytes = {saga_descriptor_set, saga_descriptor_set_size};
    struct saga_err_detail detail = {{0}};
    if (path != NULL) {
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
    int status = path == NULL ? SAGA_EXIT_OK : read_set(options, path, name, json, &file->set);
    if (status == SAGA_EXIT_OK) {
        status = load(path, file);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    bool source = path != NULL && saga_proto_file_is_source(path);
    struct saga_findings findings = {.given = {options, &path, source ? 1 : 0}};
    const struct saga_schema *schema = file->schema;
    saga_findings_print(&findings, schema, stderr);
    if (name != NULL) {
        file->decl = saga_schema_decl(schema, name);
    } else if (saga_schema_decl_count(schema) == 1 && saga_schema_finding_count(schema) == 0) {
        file->decl = saga_schema_decl_at(schema, 0);
    }
    if (file->decl == NULL) {
        status = tell_none(&findings, path, name, json, schema);
    }
    saga_findings_fini(&findings);
    return status;
}

void saga_definition_file_fini(struct saga_definition_file *file)
{
    saga_schema_free(file->schema);
    saga_buf_fini(&file->set);
    *file = (struct saga_definition_file){0};
}
