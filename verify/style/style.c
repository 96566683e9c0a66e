/* The driver: reads the set, lets each rule judge, sorts the findings. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/message.h"
#include "verify/style/style_internal.h"

enum { MESSAGE_SIZE = 768 };

void *saga_style_take(struct saga_style_run *run, size_t count, size_t size)
{
    void *memory = NULL;
    if (count <= SIZE_MAX / 2 / size) {
        memory = saga_arena_take(&run->scratch, (count == 0 ? 1 : count) * size);
    }
    if (memory == NULL) {
        run->no_memory = true;
        return NULL;
    }
    memset(memory, 0, (count == 0 ? 1 : count) * size);
    return memory;
}

/* ---- Where the walk is ---- */

struct saga_style_at saga_style_at_file(struct saga_style_run *run, size_t file)
{
    struct saga_style_at at = {.run = run, .file = file};
    (void)snprintf(at.name, sizeof at.name, "%s", saga_style_text(run->set->file[file]->package));
    return at;
}

size_t saga_style_enter(struct saga_style_at *at, int kind, size_t index, const char *name)
{
    size_t size = strlen(at->name);
    SAGA_ASSERT(at->path.size + 4 <= SAGA_PATH_SIZE_MAX);
    at->path.at[at->path.size++] = kind;
    at->path.at[at->path.size++] = (int32_t)index;
    (void)snprintf(at->name + size, sizeof at->name - size, "%s%s", size == 0 ? "" : ".", name);
    return size;
}

void saga_style_leave(struct saga_style_at *at, size_t name_size)
{
    SAGA_ASSERT(at->path.size >= 2);
    at->path.size -= 2;
    at->name[name_size] = '\0';
}

/* ---- Findings ---- */

/* Names come from outside, cut at any byte: what is not plain ASCII does not stay. */
static const char *keep_text(struct saga_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = saga_arena_take(arena, size);
    if (copy != NULL) {
        for (size_t i = 0; i < size; i++) {
            bool plain = (text[i] >= ' ' && text[i] <= '~') || text[i] == '\0';
            copy[i] = plain ? text[i] : '?';
        }
    }
    return copy;
}

/* Tells whether a comment on the element, on what it is in, or on the file says so. */
static bool is_ignored(const struct saga_style_at *at, size_t rule)
{
    const struct saga_source *source = &at->run->sources[at->file];
    struct saga_path path = {.at = {SAGA_STYLE_FILE_SYNTAX}, .size = 1};
    if (rule == SAGA_STYLE_IGNORE_VALID || saga_style_ignored(source, &path, rule)) {
        return rule != SAGA_STYLE_IGNORE_VALID;
    }
    path.at[0] = SAGA_STYLE_FILE_PACKAGE;
    if (saga_style_ignored(source, &path, rule)) {
        return true;
    }
    path = at->path;
    for (; path.size >= 2; path.size -= 2) {
        if (saga_style_ignored(source, &path, rule)) {
            return true;
        }
    }
    return path.size == 1 && saga_style_ignored(source, &path, rule);
}

static struct saga_place place_of(const struct saga_style_at *at, int part)
{
    const struct saga_source *source = &at->run->sources[at->file];
    struct saga_path path = at->path;
    struct saga_place place = {0};
    if (part != 0) {
        path.at[path.size++] = part;
        place = saga_source_place(source, &path);
        path.size--;
    }
    if (place.line == 0) {
        place = saga_source_place(source, &path);
    }
    if (place.line == 0 && source->count > 0 && path.size == 0) {
        place = (struct saga_place){1, 1}; /* a file as a whole, and one without a word in it */
    }
    return place;
}

void saga_style_add(const struct saga_style_at *at, size_t rule, int part, const char *format, ...)
{
    struct saga_style_run *run = at->run;
    struct saga_style_result *result = run->result;
    if (!run->config->rules[rule] || !run->judged[at->file] || is_ignored(at, rule)) {
        return;
    }
    if (result->finding_count == SAGA_STYLE_FINDINGS_MAX) {
        result->left_out++;
        return;
    }
    char message[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct saga_place place = place_of(at, part);
    const char *file = saga_style_text(run->set->file[at->file]->name);
    struct saga_style_entry *entry = saga_arena_take(&result->arena, sizeof *entry);
    if (entry == NULL) {
        run->no_memory = true;
        return;
    }
    entry->finding = (struct saga_style_finding){
        .rule = rule,
        .file = keep_text(&result->arena, file),
        .line = place.line,
        .column = place.column,
        .where = keep_text(&result->arena, at->name[0] == '\0' ? file : at->name),
        .message = keep_text(&result->arena, message),
    };
    entry->next = result->entries;
    result->entries = entry;
    result->finding_count++;
    run->no_memory = run->no_memory || entry->finding.file == NULL ||
                     entry->finding.where == NULL || entry->finding.message == NULL;
}

static int compare_findings(const void *a, const void *b)
{
    const struct saga_style_finding *left = a;
    const struct saga_style_finding *right = b;
    int order = strcmp(left->file, right->file);
    if (order == 0) {
        order = (left->line > right->line) - (left->line < right->line);
    }
    if (order == 0) {
        order = (left->column > right->column) - (left->column < right->column);
    }
    if (order == 0) {
        order = (left->rule > right->rule) - (left->rule < right->rule);
    }
    if (order == 0) {
        order = strcmp(left->where, right->where);
    }
    return order == 0 ? strcmp(left->message, right->message) : order;
}

static bool sort_findings(struct saga_style_result *result)
{
    result->findings =
        saga_arena_take(&result->arena, (result->finding_count + 1) * sizeof *result->findings);
    if (result->findings == NULL) {
        return false;
    }
    size_t count = 0;
    for (const struct saga_style_entry *entry = result->entries; entry != NULL;
         entry = entry->next) {
        result->findings[count++] = entry->finding;
    }
    SAGA_ASSERT(count == result->finding_count);
    qsort(result->findings, count, sizeof *result->findings, compare_findings);
    return true;
}

/* ---- A run ---- */

static bool prepare(struct saga_style_run *run)
{
    size_t count = run->set->n_file;
    run->sources = saga_style_take(run, count, sizeof *run->sources);
    run->judged = saga_style_take(run, count, sizeof *run->judged);
    if (run->sources == NULL || run->judged == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct saga_style_config *config = run->config;
        const char *name = saga_style_text(run->set->file[i]->name);
        run->judged[i] = config->judged == NULL || config->judged(config->user, name);
        run->result->file_count += run->judged[i] ? 1 : 0;
        if (!saga_source_open(&run->sources[i], run->set->file[i], &run->scratch)) {
            return false;
        }
    }
    return true;
}

static void judge(struct saga_style_run *run)
{
    for (size_t i = 0; i < run->set->n_file && !run->no_memory; i++) {
        if (run->judged[i]) {
            saga_style_file(run, i);
            saga_style_types(run, i);
            saga_style_services(run, i);
            saga_style_ignores(run, i);
        }
    }
    saga_style_packages(run);
    saga_style_imports(run);
    saga_style_unique(run);
}

static enum saga_err check(struct saga_style_run *run, struct saga_bytes descriptor_set,
                           struct saga_err_detail *detail)
{
    ProtobufCMessage *set = NULL;
    if (descriptor_set.size > SAGA_DESCRIPTOR_SET_SIZE_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "descriptor set has %zu bytes, limit %d (SAGA_DESCRIPTOR_SET_SIZE_MAX)",
                            descriptor_set.size, SAGA_DESCRIPTOR_SET_SIZE_MAX);
    }
    enum saga_err err = saga_message_unpack(&google__protobuf__file_descriptor_set__descriptor,
                                            descriptor_set, &run->scratch, &set);
    if (err == SAGA_ERR_MALFORMED) {
        return saga_err_set(detail, err, "not a FileDescriptorSet");
    }
    if (err == SAGA_ERR_OK) {
        run->set = (const Google__Protobuf__FileDescriptorSet *)set;
        run->no_memory = !prepare(run);
    }
    if (err == SAGA_ERR_OK && !run->no_memory) {
        judge(run);
    }
    if (err != SAGA_ERR_OK || run->no_memory || !sort_findings(run->result)) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_style_check(struct saga_bytes descriptor_set,
                               const struct saga_style_config *config,
                               struct saga_style_result **result, struct saga_err_detail *detail)
{
    struct saga_style_run run = {.config = config, .result = calloc(1, sizeof *run.result)};
    if (run.result == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    enum saga_err err = check(&run, descriptor_set, detail);
    saga_arena_fini(&run.scratch);
    if (err != SAGA_ERR_OK) {
        saga_style_free(run.result);
        return err;
    }
    *result = run.result;
    return SAGA_ERR_OK;
}

void saga_style_free(struct saga_style_result *result)
{
    if (result != NULL) {
        saga_arena_fini(&result->arena);
        free(result);
    }
}

size_t saga_style_finding_count(const struct saga_style_result *result)
{
    return result->finding_count;
}

const struct saga_style_finding *saga_style_finding_at(const struct saga_style_result *result,
                                                       size_t index)
{
    SAGA_ASSERT(index < result->finding_count);
    return &result->findings[index];
}

size_t saga_style_left_out(const struct saga_style_result *result)
{
    return result->left_out;
}

size_t saga_style_file_count(const struct saga_style_result *result)
{
    return result->file_count;
}
