/* Findings as verbs print them. See findings.h. */
#include "client/findings.h"

#include <stdlib.h>
#include <string.h>

#include "client/proto_place.h"

/* A file of the set. Both buffers stay where they are when the table grows. */
struct saga_findings_file {
    char *name;
    struct saga_buf path; /* ended by NUL; empty: not known */
    struct saga_buf text; /* empty: not read, or not there */
    bool read;
};

/* Finds a file of the set, or notes it. NULL: out of memory. */
static struct saga_findings_file *file_of(struct saga_findings *findings, const char *name)
{
    for (size_t i = 0; i < findings->file_count; i++) {
        if (strcmp(findings->files[i].name, name) == 0) {
            return &findings->files[i];
        }
    }
    if (findings->file_count == findings->file_capacity) {
        size_t capacity = 2 * findings->file_capacity + 8;
        struct saga_findings_file *files = realloc(findings->files, capacity * sizeof *files);
        if (files == NULL) {
            return NULL;
        }
        findings->files = files;
        findings->file_capacity = capacity;
    }
    size_t size = strlen(name) + 1;
    struct saga_findings_file file = {.name = malloc(size)};
    if (file.name == NULL) {
        return NULL;
    }
    memcpy(file.name, name, size);
    if (!saga_proto_file_find(&findings->given, name, &file.path)) {
        saga_buf_clear(&file.path);
    }
    findings->files[findings->file_count] = file;
    return &findings->files[findings->file_count++];
}

const char *saga_findings_path(struct saga_findings *findings, const char *name)
{
    const struct saga_findings_file *file = file_of(findings, name);
    return file == NULL || file->path.size == 0 ? name : (const char *)file->path.data;
}

struct saga_findings_place saga_findings_place(struct saga_findings *findings,
                                               const struct saga_finding *finding)
{
    struct saga_findings_file *file = file_of(findings, finding->file);
    struct saga_findings_place place = {finding->file, finding->line, finding->column};
    if (file == NULL || file->path.size == 0) {
        return place;
    }
    place.path = (const char *)file->path.data;
    if (!file->read) {
        file->read = true;
        if (saga_proto_file_text(place.path, &file->text) != SAGA_ERR_OK) {
            saga_buf_clear(&file->text); /* then the option's place is all that is known */
        }
    }
    struct saga_proto_place exact = saga_proto_place(saga_buf_view(&file->text), finding);
    place.line = exact.line;
    place.column = exact.column;
    return place;
}

void saga_findings_print(struct saga_findings *findings, const struct saga_schema *schema,
                         FILE *out)
{
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        struct saga_findings_place place = saga_findings_place(findings, finding);
        if (place.line > 0) {
            fprintf(out, "%s:%d:%d: %s: %s: %s\n", place.path, place.line, place.column,
                    finding->code, finding->where, finding->message);
        } else {
            fprintf(out, "%s: %s: %s: %s\n", place.path, finding->code, finding->where,
                    finding->message);
        }
    }
}

json_t *saga_findings_json(struct saga_findings *findings, const struct saga_schema *schema)
{
    json_t *array = json_array();
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        struct saga_findings_place place = saga_findings_place(findings, finding);
        (void)json_array_append_new(array, json_pack("{s:s,s:s,s:i,s:i,s:s,s:s}", "code",
                                                     finding->code, "file", place.path, "line",
                                                     place.line, "column", place.column, "where",
                                                     finding->where, "message", finding->message));
    }
    return array;
}

void saga_findings_fini(struct saga_findings *findings)
{
    for (size_t i = 0; i < findings->file_count; i++) {
        free(findings->files[i].name);
        saga_buf_fini(&findings->files[i].path);
        saga_buf_fini(&findings->files[i].text);
    }
    free(findings->files);
    findings->files = NULL;
    findings->file_count = 0;
    findings->file_capacity = 0;
}
