/* The FILE of check and sim. See definition_file.h. */
#include "client/definition_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/conn.h"

static bool is_proto(const char *path)
{
    size_t size = strlen(path);
    return size > 6 && strcmp(path + size - 6, ".proto") == 0;
}

/* Says how a descriptor set is made of a .proto. */
static void print_protoc(const char *proto)
{
    const char *slash = strrchr(proto, '/');
    const char *base = slash == NULL ? proto : slash + 1;
    int folder = slash == NULL ? 1 : slash == proto ? 1 : (int)(slash - proto);
    int stem = (int)(strlen(base) - strlen(".proto"));
    fprintf(stderr,
            "A descriptor set is made by (DIR: where saga/v1/options.proto is):\n"
            "  protoc -I %.*s -I DIR --include_imports --include_source_info "
            "--descriptor_set_out=%.*s.binpb %s\n",
            folder, slash == NULL ? "." : proto, stem, base, proto);
}

static void print_findings(const struct saga_schema *schema)
{
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        if (finding->line > 0) {
            fprintf(stderr, "%s:%d:%d: %s: %s: %s\n", finding->file, finding->line, finding->column,
                    finding->code, finding->where, finding->message);
        } else {
            fprintf(stderr, "%s: %s: %s: %s\n", finding->file, finding->code, finding->where,
                    finding->message);
        }
    }
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

int saga_definition_file_open(const char *path, const char *name, bool json,
                              struct saga_schema **schema, const struct saga_decl **decl)
{
    *schema = NULL;
    *decl = NULL;
    if (path != NULL && is_proto(path)) {
        saga_client_warn("%s: FILE is a descriptor set, and this is a .proto", path);
        print_protoc(path);
        return SAGA_EXIT_USAGE;
    }
    int status = saga_schema_open(path, schema);
    if (status != SAGA_EXIT_OK) {
        if (path != NULL && access(path, R_OK) == 0) {
            print_protoc("NAME.proto");
        }
        return status;
    }
    print_findings(*schema);
    if (name != NULL) {
        *decl = saga_schema_decl(*schema, name);
    } else if (saga_schema_decl_count(*schema) == 1 && saga_schema_finding_count(*schema) == 0) {
        *decl = saga_schema_decl_at(*schema, 0);
    }
    return *decl != NULL ? SAGA_EXIT_OK : tell_none(path, name, json, *schema);
}
