/* Two sets in, findings out. See compat.h. */
#include "verify/compat/compat.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/message.h"
#include "verify/compat/internal.h"

enum { MESSAGE_SIZE = 2048 };

void *compat_take(struct saga_compat *report, size_t count, size_t size)
{
    count = count == 0 ? 1 : count;
    void *memory = saga_arena_take(&report->arena, count * size);
    if (memory == NULL) {
        report->no_memory = true;
        return NULL;
    }
    memset(memory, 0, count * size);
    return memory;
}

static const char *copy_text(struct saga_compat *report, const char *text)
{
    size_t size = strlen(text);
    char *copy = compat_take(report, size + 1, 1);
    if (copy == NULL) {
        return "";
    }
    memcpy(copy, text, size);
    return copy;
}

const char *compat_quote(struct saga_compat *report, const char *text)
{
    size_t size = strlen(text);
    char *quoted = size == 0 ? NULL : compat_take(report, size + 3, 1);
    if (quoted == NULL) {
        return "none";
    }
    (void)snprintf(quoted, size + 3, "\"%s\"", text);
    return quoted;
}

void compat_add(struct saga_compat *report, const struct compat_note *note, const char *format, ...)
{
    if (report->config.disabled[note->code]) {
        return;
    }
    if (report->finding_count == SAGA_COMPAT_FINDINGS_MAX) {
        report->dropped++;
        return;
    }
    char message[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const struct saga_compat_code_info *info = saga_compat_code_info(note->code);
    report->findings[report->finding_count++] = (struct saga_compat_finding){
        .code = note->code,
        .severity = note->lower ? SAGA_COMPAT_WARNING : info->severity,
        .file = note->spot.file == NULL ? "" : note->spot.file->name,
        .line = note->spot.line,
        .column = note->spot.column,
        .in_old = note->spot.in_old,
        .where = copy_text(report, note->where),
        .message = copy_text(report, message),
        .saga = note->saga,
        .step = note->step,
        .step_index = note->step_place - 1,
        .hit = info->hit,
        .refused = note->refused,
    };
}

/* ---- Opening ---- */

static enum saga_err open_set(struct saga_compat *report, struct saga_bytes bytes,
                              struct compat_set *set, struct saga_schema **schema,
                              struct saga_err_detail *detail)
{
    enum saga_err err = saga_schema_load(bytes, schema, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    ProtobufCMessage *raw = NULL;
    err = saga_message_unpack(&google__protobuf__file_descriptor_set__descriptor, bytes,
                              &report->arena, &raw);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "%s", saga_err_text(err));
    }
    set->schema = *schema;
    if (!compat_set_open(set, (const raw_set *)raw, &report->arena)) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    return SAGA_ERR_OK;
}

static enum saga_err fill(struct saga_compat *report, struct saga_bytes old_set,
                          struct saga_bytes new_set, struct saga_err_detail *detail)
{
    enum saga_err err = open_set(report, old_set, &report->old_set, &report->old_schema, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "OLD");
    }
    err = open_set(report, new_set, &report->new_set, &report->new_schema, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "NEW");
    }
    report->findings =
        compat_take(report, SAGA_COMPAT_FINDINGS_MAX, sizeof(struct saga_compat_finding));
    compat_part(report);
    if (report->findings != NULL && !report->config.without_wire) {
        compat_files(report);
    }
    if (report->findings != NULL && !report->config.without_sagas) {
        compat_sagas(report);
    }
    return report->no_memory ? saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory")
                             : SAGA_ERR_OK;
}

enum saga_err saga_compat_compare(struct saga_bytes old_set, struct saga_bytes new_set,
                                  const struct saga_compat_config *config,
                                  struct saga_compat **report, struct saga_err_detail *detail)
{
    *report = NULL;
    struct saga_compat *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    made->config = *config;
    enum saga_err err = fill(made, old_set, new_set, detail);
    if (err != SAGA_ERR_OK) {
        saga_compat_free(made);
        return err;
    }
    *report = made;
    return SAGA_ERR_OK;
}

void saga_compat_free(struct saga_compat *report)
{
    if (report != NULL) {
        saga_schema_free(report->old_schema);
        saga_schema_free(report->new_schema);
        saga_arena_fini(&report->arena);
        free(report);
    }
}

size_t saga_compat_count(const struct saga_compat *report)
{
    return report->finding_count;
}

const struct saga_compat_finding *saga_compat_at(const struct saga_compat *report, size_t index)
{
    SAGA_ASSERT(index < report->finding_count);
    return &report->findings[index];
}

size_t saga_compat_dropped(const struct saga_compat *report)
{
    return report->dropped;
}

const struct saga_schema *saga_compat_old_schema(const struct saga_compat *report)
{
    return report->old_schema;
}

const struct saga_schema *saga_compat_new_schema(const struct saga_compat *report)
{
    return report->new_schema;
}
