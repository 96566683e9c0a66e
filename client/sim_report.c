#include "client/sim_report.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "client/client.h"

enum { ONLY_MAX = 40, TRANSCRIPT_LINES_MAX = 100 };

void saga_sim_hit_text(const struct saga_sim_hit *hit, char text[SAGA_SIM_HIT_TEXT_SIZE])
{
    (void)snprintf(text, SAGA_SIM_HIT_TEXT_SIZE, "%s:%" PRIx64, saga_sim_fault_name(hit->kind),
                   hit->identity);
}

bool saga_sim_hit_parse(const char *text, struct saga_sim_hit *hit)
{
    char name[SAGA_SIM_HIT_TEXT_SIZE];
    size_t size = strcspn(text, ":");
    if (text[size] != ':' || size >= sizeof name || isxdigit((unsigned char)text[size + 1]) == 0) {
        return false;
    }
    memcpy(name, text, size);
    name[size] = '\0';
    char *end = NULL;
    hit->kind = saga_sim_fault_find(name);
    hit->identity = strtoull(text + size + 1, &end, 16);
    return hit->kind != SAGA_SIM_FAULT_COUNT && *end == '\0' && strlen(text + size + 1) <= 16;
}

/* ---- The command that runs it again ---- */

/* Quotes for a shell what is not plain. */
static void put_quoted(FILE *out, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/+,:@%=";
    if (text[0] != '\0' && text[strspn(text, plain)] == '\0') {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            fputc(*text, out);
        }
    }
    fputc('\'', out);
}

static void put_command(FILE *out, const struct saga_sim_report *report)
{
    const struct saga_sim_shrunk *shrunk = &report->shrunk;
    const struct saga_sim_config *config = &report->config;
    bool story = report->shrunk_there && shrunk->alone && shrunk->fault_count <= ONLY_MAX;
    bool smaller = story || (report->shrunk_there && !shrunk->alone);
    uint32_t sagas = smaller ? shrunk->saga_count : config->saga_count;
    int64_t safety_ms = smaller ? shrunk->safety_ms : config->safety_ms;
    fputs("sagactl sim ", out);
    if (report->file != NULL) {
        put_quoted(out, report->file);
        fputc(' ', out);
    }
    fputs("--saga ", out);
    put_quoted(out, report->definition);
    fprintf(out, " --seed %" PRIu64 " --runs 1", report->totals.bad_seed);
    if (sagas != 0) {
        fprintf(out, " --sagas %" PRIu32, sagas);
    }
    if (safety_ms != 0) {
        fprintf(out, " --faults-for %" PRId64 "ms", safety_ms);
    }
    if (config->heal_ms != 0) {
        fprintf(out, " --heal-for %" PRId64 "ms", config->heal_ms);
    }
    if (config->faults_off || (story && shrunk->fault_count == 0)) {
        fputs(" --no-faults", out);
    }
    size_t count = story ? shrunk->fault_count : config->only_count;
    const struct saga_sim_hit *hits = story ? shrunk->faults : config->only;
    for (size_t i = 0; i < count; i++) {
        char text[SAGA_SIM_HIT_TEXT_SIZE];
        saga_sim_hit_text(&hits[i], text);
        fprintf(out, " --only %s", text);
    }
}

char *saga_sim_report_command(const struct saga_sim_report *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return NULL;
    }
    put_command(out, report);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- For people ---- */

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static double ratio(double a, double b)
{
    return b > 0.0005 ? a / b : 0;
}

static void print_faults(const struct saga_farm_totals *totals)
{
    uint64_t all = 0;
    unsigned kinds = 0;
    for (unsigned i = 0; i < SAGA_SIM_FAULT_COUNT; i++) {
        all += totals->fired_by_kind[i];
        kinds += totals->fired_by_kind[i] > 0 ? 1 : 0;
    }
    printf("faults       %" PRIu64 " of %u kinds (there are %u)\n", all, kinds,
           (unsigned)SAGA_SIM_FAULT_COUNT);
    for (unsigned i = 0; i < SAGA_SIM_FAULT_COUNT; i++) {
        if (totals->fired_by_kind[i] > 0) {
            printf("  %10" PRIu64 "  %-26s %s\n", totals->fired_by_kind[i],
                   saga_sim_fault_name((enum saga_sim_fault)i),
                   saga_sim_fault_text((enum saga_sim_fault)i));
        }
    }
}

/* Workers go on with the worlds that they have begun, so that there may be more than one. */
static void print_violations(const struct saga_farm_totals *totals)
{
    printf("violations   %" PRIu64, totals->violations);
    for (size_t i = 0; i < totals->violations && i < SAGA_FARM_SEEDS_MAX; i++) {
        printf("%s%" PRIu64,
               i > 0                    ? ", "
               : totals->violations > 1 ? ": seeds "
                                        : ": seed ",
               totals->bad_seeds[i]);
    }
    puts(totals->violations > SAGA_FARM_SEEDS_MAX ? ", and more; the first is told below"
         : totals->violations > 1                 ? "; the first is told below"
                                                  : "");
}

static void print_summary(const struct saga_sim_report *report)
{
    const struct saga_farm_totals *totals = &report->totals;
    char span[SAGA_DURATION_TEXT_SIZE];
    saga_client_duration_text((int64_t)totals->virtual_ms, span);
    uint64_t ended = totals->completed + totals->compensated;
    printf("saga         %s\n", report->definition);
    if (totals->begun > 0) {
        printf("seeds        %" PRIu64 " to %" PRIu64, report->seed,
               report->seed + totals->begun - 1);
        if (!totals->interrupted) {
            printf(", trace hash %016" PRIx64, totals->trace_hash);
        }
        fputc('\n', stdout);
    }
    if (totals->interrupted) {
        printf("interrupted  %" PRIu64 " of these worlds had ended; the figures are theirs\n",
               totals->runs);
    }
    printf("sagas        %" PRIu64 " (%" PRIu64 " of them children)\n", totals->sagas,
           totals->children);
    printf("ends         %" PRIu64 " completed, %" PRIu64 " compensated, %" PRIu64 " not ended\n",
           totals->completed, totals->compensated,
           totals->sagas > ended ? totals->sagas - ended : 0);
    printf("did          %" PRIu64 " event%s, %" PRIu64 " commit%s, %" PRIu64 " effect%s, %" PRIu64
           " record%s, %" PRIu64 " crash%s, %" PRIu64 " takeover%s\n",
           totals->events, plural(totals->events), totals->commits, plural(totals->commits),
           totals->effects, plural(totals->effects), totals->records, plural(totals->records),
           totals->crashes, totals->crashes == 1 ? "" : "es", totals->takeovers,
           plural(totals->takeovers));
    print_faults(totals);
    printf("time         %.1f s for %s of virtual time, %.0f times as fast as real\n",
           report->wall_s, span, ratio((double)totals->virtual_ms / 1000, report->wall_s));
    printf("speed        %.0f sagas/s by %u process%s; %.0f for each second of processor time\n",
           ratio((double)totals->sagas, report->wall_s), report->workers,
           report->workers == 1 ? "" : "es", ratio((double)totals->sagas, totals->cpu_s));
    print_violations(totals);
}

/* Its end, if it is long: what led to the violation. */
static void print_transcript(struct saga_bytes text)
{
    unsigned lines = 0;
    size_t from = text.size;
    while (from > 0 && lines <= TRANSCRIPT_LINES_MAX) {
        from--;
        lines += text.data[from] == '\n' ? 1 : 0;
    }
    if (lines > TRANSCRIPT_LINES_MAX) {
        from++; /* behind the end of the line before */
        printf("… %zu bytes before: --transcript FILE writes them all\n", from);
    }
    (void)fwrite(text.data + from, 1, text.size - from, stdout);
}

static void print_story(const struct saga_sim_report *report)
{
    const struct saga_sim_shrunk *shrunk = &report->shrunk;
    if (!report->shrinking) {
        return;
    }
    if (!report->shrunk_there) {
        printf("It could not be shrunk: %s\n", report->shrink_error);
        return;
    }
    if (strcmp(shrunk->result.rule, SAGA_SIM_DIED) == 0) {
        printf("Shrunk in %" PRIu32 " runs from %" PRIu32 " saga%s to %" PRIu32
               "; the faults of a world whose process dies are in its transcript.\n",
               shrunk->runs, shrunk->saga_count_before, plural(shrunk->saga_count_before),
               shrunk->saga_count);
    } else if (!shrunk->alone) {
        puts("It could not be shrunk: its faults alone do not bring it back.");
    } else {
        printf("Shrunk in %" PRIu32 " runs from %zu fault%s and %" PRIu32
               " saga%s to %zu and %" PRIu32 "%s.\n",
               shrunk->runs, shrunk->fault_count_before, plural(shrunk->fault_count_before),
               shrunk->saga_count_before, plural(shrunk->saga_count_before), shrunk->fault_count,
               shrunk->saga_count,
               shrunk->minimal ? "; none of these faults can be left out"
                               : "; --shrink-runs N allows more");
        for (size_t i = 0; i < shrunk->result.fired_count; i++) {
            const struct saga_sim_fired *fired = &shrunk->result.fired[i];
            printf("  %12.6f s  %-26s %s\n", (double)fired->at_us / 1e6,
                   saga_sim_fault_name(fired->hit.kind), fired->text);
        }
    }
    if (report->transcript_file != NULL) {
        printf("Its transcript is in %s.\n", report->transcript_file);
    } else if (report->transcript.size > 0) {
        puts("\nWhat happened:\n");
        print_transcript(report->transcript);
    }
}

/* Whether the process of the bad world died, so that no rule was told. */
static bool is_death(const struct saga_farm_totals *totals)
{
    return totals->bad_signal != 0 || totals->bad.rule[0] == '\0';
}

int saga_sim_report_text(const struct saga_sim_report *report)
{
    const struct saga_farm_totals *totals = &report->totals;
    print_summary(report);
    if (totals->violations == 0) {
        return SAGA_EXIT_OK;
    }
    if (is_death(totals)) {
        printf("\nSeed %" PRIu64 ": the simulator's process died (signal %d): an assertion of the "
               "engine or of the simulator\n",
               totals->bad_seed, totals->bad_signal);
        print_story(report);
    } else {
        printf("\nSeed %" PRIu64 " breaks %s at %.6f s: %s\n", totals->bad_seed, totals->bad.rule,
               (double)totals->bad.violated_at_us / 1e6, totals->bad.violation);
        print_story(report);
    }
    char *command = saga_sim_report_command(report);
    printf("\nTo run it again: %s\n", command == NULL ? "out of memory" : command);
    free(command);
    return SAGA_EXIT_OK;
}

/* ---- For programs ---- */

static json_t *faults_json(const struct saga_farm_totals *totals)
{
    json_t *object = json_object();
    for (unsigned i = 0; object != NULL && i < SAGA_SIM_FAULT_COUNT; i++) {
        if (totals->fired_by_kind[i] > 0) {
            (void)json_object_set_new(object, saga_sim_fault_name((enum saga_sim_fault)i),
                                      json_integer((json_int_t)totals->fired_by_kind[i]));
        }
    }
    return object;
}

static json_t *hash_json(uint64_t hash)
{
    char text[17];
    (void)snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

static json_t *story_json(const struct saga_sim_report *report)
{
    const struct saga_sim_shrunk *shrunk = &report->shrunk;
    json_t *faults = json_array();
    for (size_t i = 0; faults != NULL && i < shrunk->result.fired_count; i++) {
        const struct saga_sim_fired *fired = &shrunk->result.fired[i];
        char text[SAGA_SIM_HIT_TEXT_SIZE];
        saga_sim_hit_text(&fired->hit, text);
        (void)json_array_append_new(faults,
                                    json_pack("{s:s,s:I,s:s}", "fault", text, "at_us",
                                              (json_int_t)fired->at_us, "what", fired->text));
    }
    return json_pack("{s:b,s:b,s:i,s:i,s:I,s:o,s:o}", "alone", shrunk->alone, "minimal",
                     shrunk->minimal, "runs", (int)shrunk->runs, "sagas", (int)shrunk->saga_count,
                     "faults_for_ms", (json_int_t)shrunk->safety_ms, "trace_hash",
                     hash_json(shrunk->result.trace_hash), "faults", faults);
}

static json_t *violation_json(const struct saga_sim_report *report)
{
    const struct saga_farm_totals *totals = &report->totals;
    char *command = saga_sim_report_command(report);
    json_t *object = json_pack("{s:I,s:s,s:s,s:I,s:i,s:s}", "seed", (json_int_t)totals->bad_seed,
                               "rule", totals->bad.rule, "what", totals->bad.violation, "at_us",
                               (json_int_t)totals->bad.violated_at_us, "signal", totals->bad_signal,
                               "command", command == NULL ? "" : command);
    free(command);
    if (object != NULL && report->shrunk_there) {
        (void)json_object_set_new(object, "shrunk", story_json(report));
    } else if (object != NULL && report->shrinking) {
        (void)json_object_set_new(object, "shrink_error", json_string(report->shrink_error));
    }
    if (object != NULL && report->transcript.size > 0) {
        (void)json_object_set_new(
            object, "transcript",
            json_stringn((const char *)report->transcript.data, report->transcript.size));
    }
    return object;
}

static json_t *seeds_json(const struct saga_farm_totals *totals)
{
    json_t *array = json_array();
    for (size_t i = 0; i < totals->violations && i < SAGA_FARM_SEEDS_MAX; i++) {
        (void)json_array_append_new(array, json_integer((json_int_t)totals->bad_seeds[i]));
    }
    return array;
}

int saga_sim_report_json(const struct saga_sim_report *report)
{
    const struct saga_farm_totals *totals = &report->totals;
    json_t *object = json_pack(
        "{s:s,s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:i,s:I,s:o}", "saga",
        report->definition, "seed", (json_int_t)report->seed, "runs", (json_int_t)totals->runs,
        "trace_hash", hash_json(totals->trace_hash), "sagas", (json_int_t)totals->sagas, "children",
        (json_int_t)totals->children, "completed", (json_int_t)totals->completed, "compensated",
        (json_int_t)totals->compensated, "events", (json_int_t)totals->events, "commits",
        (json_int_t)totals->commits, "effects", (json_int_t)totals->effects, "records",
        (json_int_t)totals->records, "crashes", (json_int_t)totals->crashes, "takeovers",
        (json_int_t)totals->takeovers, "virtual_ms", (json_int_t)totals->virtual_ms, "wall_s",
        report->wall_s, "cpu_s", totals->cpu_s, "processes", (int)report->workers, "violations",
        (json_int_t)totals->violations, "faults", faults_json(totals));
    if (object != NULL) {
        (void)json_object_set_new(object, "interrupted", json_boolean(totals->interrupted));
        (void)json_object_set_new(object, "begun", json_integer((json_int_t)totals->begun));
    }
    if (object != NULL && totals->violations > 0) {
        (void)json_object_set_new(object, "bad_seeds", seeds_json(totals));
        (void)json_object_set_new(object, "violation", violation_json(report));
    }
    return saga_client_print_json(object);
}
