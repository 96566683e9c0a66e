#include "tests/sim/world/story.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/schema.h"
#include "verify/sim/shrink.h"

enum { LINES_MAX = 400 };

/* ---- Definitions ---- */

static const char *via_name(enum saga_via via)
{
    return via == SAGA_VIA_KAFKA ? " by Kafka" : via == SAGA_VIA_NNG ? " by NNG" : "";
}

static void put_when(const struct saga_decl *decl, const struct saga_when *when, FILE *out)
{
    if (!when->there) {
        return;
    }
    const struct saga_field *field = saga_message_field_by_number(decl->context, when->field);
    fprintf(out, ", when %s ", field == NULL ? "?" : field->name);
    if (when->must_be_set) {
        fputs("is set", out);
    } else if (when->is_default) {
        fputs("is not set", out);
    } else if (when->is_bytes) {
        fprintf(out, "is \"%.*s\"", (int)when->bytes.size, (const char *)when->bytes.data);
    } else {
        fprintf(out, "is %" PRIu64, when->number);
    }
}

static void put_after(const struct saga_decl *decl, uint64_t mask, FILE *out)
{
    const char *between = ", after ";
    for (size_t i = 0; i < decl->step_count; i++) {
        if ((mask >> i & 1) != 0) {
            fprintf(out, "%s%s", between, decl->steps[i].name);
            between = " and ";
        }
    }
}

static void put_step(const struct saga_decl *decl, const struct saga_step_decl *step, FILE *out)
{
    fprintf(out, "  %s:", step->name);
    if (step->child != NULL) {
        fprintf(out, " child saga %s", step->child->name);
    } else if (step->call == NULL) {
        fputs(" done by the starter", out);
    } else {
        fprintf(out, " call %s%s, at most %" PRIu32 " times, deadline %" PRId64 " ms",
                step->call->full_name, via_name(step->call_via), step->call_attempts_max,
                step->call_deadline_ms);
    }
    if (step->undo != NULL) {
        fprintf(out, ", undo %s%s", step->undo->full_name, via_name(step->undo_via));
    }
    fprintf(out, "%s%s", step->pivot ? ", pivot" : "", step->read_only ? ", read-only" : "");
    put_after(decl, step->after_mask, out);
    put_when(decl, &step->when, out);
    fputc('\n', out);
}

void story_definitions(struct saga_bytes set, FILE *out)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {{0}};
    if (saga_schema_load(set, &schema, &detail) != SAGA_ERR_OK) {
        fprintf(out, "the definitions cannot be read: %s\n", detail.text);
        return;
    }
    for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        fprintf(out, "%s, deadline %" PRId64 " ms:\n", decl->name, decl->deadline_ms);
        for (size_t j = 0; j < decl->step_count; j++) {
            put_step(decl, &decl->steps[j], out);
        }
    }
    saga_schema_free(schema);
}

/* ---- The shortest story ---- */

/* The last lines of a file. */
static void put_tail(FILE *file, FILE *out)
{
    long lines = 0;
    rewind(file);
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) {
        lines += c == '\n' ? 1 : 0;
    }
    if (lines > LINES_MAX) {
        fprintf(out, "(%ld lines before)\n", lines - LINES_MAX);
    }
    rewind(file);
    long line = 0;
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) {
        if (line >= lines - LINES_MAX) {
            (void)fputc(c, out);
        }
        line += c == '\n' ? 1 : 0;
    }
}

static void put_transcript(const struct story *story, struct saga_sim_config config, FILE *out)
{
    struct saga_err_detail detail = {{0}};
    struct saga_sim_result result = {0};
    config.transcript = tmpfile();
    if (config.transcript == NULL) {
        return;
    }
    if (saga_sim_run(story->sim, &config, &result, &detail) == SAGA_ERR_OK) {
        saga_sim_result_fini(&result);
        put_tail(config.transcript, out);
    }
    (void)fclose(config.transcript);
}

static void put_shortest(const struct story *story, FILE *out)
{
    const struct saga_sim_shrink wanted = {.sim = story->sim, .config = &story->config};
    struct saga_sim_shrunk shrunk;
    struct saga_err_detail detail = {{0}};
    if (saga_sim_shrink(&wanted, &shrunk, &detail) != SAGA_ERR_OK) {
        fprintf(out, "it could not be shrunk: %s\n", detail.text);
        return;
    }
    fprintf(out, "shrunk in %" PRIu32 " runs: from %zu faults and %" PRIu32 " sagas to ",
            shrunk.runs, shrunk.fault_count_before, shrunk.saga_count_before);
    if (shrunk.alone) {
        fprintf(out, "%zu and %" PRIu32 "\n", shrunk.fault_count, shrunk.saga_count);
    } else {
        fprintf(out, "%" PRIu32 " sagas with all faults of the seed\n", shrunk.saga_count);
    }
    for (size_t i = 0; shrunk.alone && i < shrunk.result.fired_count; i++) {
        const struct saga_sim_fired *fired = &shrunk.result.fired[i];
        fprintf(out, "  %12.6f s  %-26s %s\n", (double)fired->at_us / 1e6,
                saga_sim_fault_name(fired->hit.kind), fired->text);
    }
    fputs("what happened:\n", out);
    put_transcript(story, saga_sim_shrunk_config(&story->config, &shrunk), out);
    saga_sim_shrunk_fini(&shrunk);
}

void story_tell(const struct story *story, const struct saga_sim_result *result, FILE *out)
{
    const struct saga_sim_config *config = &story->config;
    fprintf(out, "seed %" PRIu64 " of %s breaks %s at %.3f s: %s\n", config->seed,
            story->definition, result->rule, (double)result->violated_at_us / 1e6,
            result->violation);
    fprintf(out, "run it again: SAGA_SIM_FIRST=%" PRIu64 " SAGA_SIM_COUNT=1 SAGA_SIM_SAGA=%s ",
            config->seed, story->definition);
    if (config->saga_count != 0) {
        fprintf(out, "SAGA_SIM_SAGAS=%" PRIu32 " ", config->saga_count);
    }
    if (config->heal_ms != 0) {
        fprintf(out, "SAGA_SIM_HEAL_MS=%" PRId64 " ", config->heal_ms);
    }
    fprintf(out, "%s%s\n", config->faults_off ? "SAGA_SIM_CALM=1 " : "", story->program);
    if (story->set.size > 0) {
        story_definitions(story->set, out);
    }
    (void)fflush(out);
    if (!story->quiet) {
        put_shortest(story, out);
    }
    (void)fflush(out);
}
