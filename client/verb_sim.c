/* sagactl sim: a saga in simulated worlds in which everything fails. */
#include "client/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/definition_file.h"
#include "client/proto_file.h"
#include "client/sim_apart.h"
#include "client/sim_farm.h"
#include "client/sim_report.h"
#include "verify/sim/shrink.h"
#include "verify/sim/sim.h"

enum { RUNS_DEFAULT = 100, RUNS_MAX = 1000000000, SECONDS_MAX = 7 * 86400, ONLY_MAX = 4096 };
enum { SIGNALLED = 128 }; /* exit status: and the signal */

#define SEED_MAX INT64_C(9000000000000000000) /* with RUNS_MAX seeds behind it */

static volatile sig_atomic_t caught; /* the signal that ends it; 0: none */

static const struct saga_option sim_options[] = {
    {"saga", "NAME", NULL, "the saga; may be left out when there is only one", false},
    {"runs", "N", NULL, "worlds, one for each seed; default: 100, or with --seconds as many as do",
     false},
    {"seed", "S", "1", "the first seed, the others follow; fresh: one that nobody has seen", false},
    {"seconds", "T", NULL, "begin no world after so many seconds", false},
    {"processes", "N", NULL, "at once; default: as many as there are processors (-j)", false},
    {"sagas", "N", NULL, "sagas of a world; default: 128", false},
    {"faults-for", "TIME", NULL, "virtual time in which faults happen; default: 60s", false},
    {"heal-for", "TIME", NULL, "virtual time in which all must end behind it; default: 30m", false},
    {"no-faults", NULL, "false", "nothing fails", false},
    {"only", "FAULT", NULL, "of the seed's faults only this, as NAME:IDENTITY.", true},
    {"keep-going", NULL, "false", "do not stop at the first seed that breaks a rule", false},
    {"no-shrink", NULL, "false", "do not search for the shortest story of a broken rule", false},
    {"shrink-runs", "N", "600", "worlds that the search may take", false},
    {"transcript", "FILE", NULL,
     "write there what happens: in the shortest story, or in the one world of --runs 1", false},
    SAGA_PROTO_PATH_OPTION,
};

struct sim_run {
    const struct saga_options *options;
    bool json;
    bool terminal;
    struct saga_sim *sim;
    struct saga_buf set; /* the descriptor set; empty: built in */
    struct saga_sim_hit *only;
    const char *transcript; /* the file; NULL: none */
    uint32_t shrink_runs;
    struct saga_farm farm;
    struct saga_sim_report report;
    char *story; /* the transcript in memory */
    bool told;   /* a world was told */
    double began;
};

static double seconds_now(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- Settings ---- */

/* Finds the saga's name, and keeps the set. */
static int find_saga(struct sim_run *run, const char *path)
{
    struct saga_definition_file file;
    int status = saga_definition_file_open(
        run->options, path, saga_options_text(run->options, "saga"), run->json, &file);
    if (status == SAGA_EXIT_OK) {
        run->report.definition = strdup(file.decl->name);
        if (run->report.definition == NULL) {
            status = saga_client_fail("out of memory");
        }
        run->set = file.set;
        file.set = (struct saga_buf){0};
    }
    saga_definition_file_fini(&file);
    return status;
}

static int load(struct sim_run *run)
{
    const char *path =
        saga_options_operand_count(run->options) > 0 ? saga_options_operand(run->options, 0) : NULL;
    int status = find_saga(run, path);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    struct saga_err_detail detail = {{0}};
    run->report.file = path;
    if (saga_sim_new(saga_buf_view(&run->set), run->report.definition, &run->sim, &detail) !=
        SAGA_ERR_OK) {
        return saga_client_fail("%s: %s", path == NULL ? "built-in descriptor set" : path,
                                detail.text);
    }
    return SAGA_EXIT_OK;
}

static int read_seed(struct sim_run *run)
{
    const char *text = saga_options_text(run->options, "seed");
    int64_t seed = 0;
    if (text != NULL && strcmp(text, "fresh") == 0) {
        struct timespec now = {0};
        (void)clock_gettime(CLOCK_REALTIME, &now);
        run->farm.seed = ((uint64_t)now.tv_sec << 20) ^ ((uint64_t)now.tv_nsec >> 10);
        return SAGA_EXIT_OK;
    }
    struct saga_err_detail detail = {{0}};
    if (saga_options_int(run->options, "seed", 0, SEED_MAX, &seed, &detail) != SAGA_ERR_OK) {
        return saga_client_usage("--seed %s: it must be a whole number from 0 to 9e18, or fresh",
                                 text);
    }
    run->farm.seed = (uint64_t)seed;
    return SAGA_EXIT_OK;
}

static int read_only(struct sim_run *run)
{
    size_t count = saga_options_count(run->options, "only");
    if (count == 0) {
        return SAGA_EXIT_OK;
    }
    if (count > ONLY_MAX) {
        return saga_client_usage("--only: at most %d faults", ONLY_MAX);
    }
    run->only = calloc(count, sizeof *run->only);
    if (run->only == NULL) {
        return saga_client_fail("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = saga_options_at(run->options, "only", i);
        if (!saga_sim_hit_parse(text, &run->only[i])) {
            return saga_client_usage("--only %s: not a fault, which is as REQUEST_LOST:1f", text);
        }
    }
    run->report.config.has_only = true;
    run->report.config.only = run->only;
    run->report.config.only_count = count;
    return SAGA_EXIT_OK;
}

static int read_number(struct sim_run *run, const char *name, int64_t max, int64_t *value)
{
    return saga_options_text(run->options, name) == NULL
               ? SAGA_EXIT_OK
               : saga_client_int(run->options, name, 1, max, value);
}

static int read_world(struct sim_run *run)
{
    struct saga_sim_config *config = &run->report.config;
    int64_t sagas = 0;
    int status = read_number(run, "sagas", SAGA_SIM_SAGAS_MAX, &sagas);
    config->saga_count = (uint32_t)sagas;
    if (status == SAGA_EXIT_OK) {
        status = saga_client_duration(run->options, "faults-for", 0, &config->safety_ms);
    }
    if (status == SAGA_EXIT_OK) {
        status = saga_client_duration(run->options, "heal-for", 0, &config->heal_ms);
    }
    bool given = saga_options_text(run->options, "faults-for") != NULL;
    if (status == SAGA_EXIT_OK && config->heal_ms == 0 &&
        saga_options_text(run->options, "heal-for") != NULL) {
        status = saga_client_usage("--heal-for: some time is needed for all sagas to end");
    }
    /* 0 is the default in the config; here it is no time for any fault. */
    config->faults_off =
        saga_options_on(run->options, "no-faults") || (given && config->safety_ms == 0);
    return status == SAGA_EXIT_OK ? read_only(run) : status;
}

static int read_numbers(struct sim_run *run)
{
    int64_t runs = 0;
    int64_t seconds = 0;
    int64_t shrink_runs = 0;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t workers = processors < 1 ? 1 : processors;
    workers = workers > SAGA_FARM_WORKERS_MAX ? SAGA_FARM_WORKERS_MAX : workers;
    int status = read_number(run, "runs", RUNS_MAX, &runs);
    if (status == SAGA_EXIT_OK) {
        status = read_number(run, "seconds", SECONDS_MAX, &seconds);
    }
    if (status == SAGA_EXIT_OK) {
        status = read_number(run, "processes", SAGA_FARM_WORKERS_MAX, &workers);
    }
    if (status == SAGA_EXIT_OK) {
        status = read_number(run, "shrink-runs", SAGA_SIM_SHRINK_RUNS_MAX, &shrink_runs);
    }
    if (status == SAGA_EXIT_OK) {
        status = read_seed(run);
    }
    if (runs == 0) {
        runs = seconds > 0 ? RUNS_MAX : RUNS_DEFAULT;
    }
    run->farm.runs_max = (uint64_t)runs;
    run->farm.duration_ms = seconds * 1000;
    run->farm.workers = (unsigned)(workers > runs ? runs : workers);
    run->shrink_runs = (uint32_t)shrink_runs;
    return status == SAGA_EXIT_OK ? read_world(run) : status;
}

/* ---- Signals ---- */

static void on_signal(int number)
{
    caught = number;
}

/* The first signal ends the worlds and tells what came of them; a second one ends this process. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- Progress ---- */

/* Before anything can go wrong: a fresh seed is told nowhere else. */
static void show_begin(const struct sim_run *run)
{
    const struct saga_farm *farm = &run->farm;
    fprintf(stderr, "sagactl sim: %s, --seed %" PRIu64 " -j %u", run->report.definition, farm->seed,
            farm->workers);
    if (farm->runs_max < RUNS_MAX) {
        fprintf(stderr, ", %" PRIu64 " world%s", farm->runs_max, farm->runs_max == 1 ? "" : "s");
    }
    if (farm->duration_ms > 0) {
        fprintf(stderr, ", %" PRId64 " s", farm->duration_ms / 1000);
    }
    fputc('\n', stderr);
    fflush(stderr);
}

static void show_runs(void *user, const struct saga_farm_totals *totals)
{
    const struct sim_run *run = user;
    double wall = seconds_now() - run->began;
    fprintf(stderr, "\r\033[K%" PRIu64, totals->runs);
    if (run->farm.runs_max < RUNS_MAX) {
        fprintf(stderr, " of %" PRIu64, run->farm.runs_max);
    }
    fprintf(stderr, " worlds, %.0f", wall);
    if (run->farm.duration_ms > 0) {
        fprintf(stderr, " of %" PRId64, run->farm.duration_ms / 1000);
    }
    fprintf(stderr, " s, seed %" PRIu64 ", %" PRIu64 " sagas, %.0f/s, %" PRIu64 " violations",
            run->farm.seed + (totals->begun > 0 ? totals->begun - 1 : 0), totals->sagas,
            wall > 0 ? (double)totals->sagas / wall : 0, totals->violations);
    fflush(stderr);
}

static void show_shrink(void *user, const struct saga_sim_shrink_progress *progress)
{
    const struct sim_run *run = user;
    if (run->terminal) {
        fprintf(stderr,
                "\r\033[Kshrinking: run %" PRIu32 " of at most %" PRIu32 ": %zu faults, %" PRIu32
                " sagas, %.1f s",
                progress->runs, progress->runs_max, progress->fault_count, progress->saga_count,
                (double)progress->safety_ms / 1000);
        fflush(stderr);
    }
}

static void clear_line(const struct sim_run *run)
{
    if (run->terminal) {
        fputs("\r\033[K", stderr);
    }
}

/* ---- A story ---- */

/* Reads what was written to a file from its beginning. */
static int read_story(struct sim_run *run, FILE *file)
{
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    run->story = size < 0 ? NULL : malloc((size_t)size + 1);
    if (run->story == NULL) {
        return saga_client_fail("transcript: %s", size < 0 ? strerror(errno) : "out of memory");
    }
    rewind(file);
    size_t got = fread(run->story, 1, (size_t)size, file);
    run->report.transcript = (struct saga_bytes){.data = (const uint8_t *)run->story, .size = got};
    return SAGA_EXIT_OK;
}

/* Runs a world once more and keeps or writes what happens in it. */
static int write_story(struct sim_run *run, struct saga_sim_config config)
{
    struct saga_err_detail detail = {{0}};
    struct saga_sim_result result = {0};
    bool quiet = false;
    bool to_file = run->transcript != NULL && strcmp(run->transcript, "-") != 0;
    const char *name = to_file ? run->transcript : "transcript";
    FILE *out = to_file ? fopen(run->transcript, "w") : tmpfile();
    /* By lines: what was written by a world that dies is there. */
    if (out == NULL || setvbuf(out, NULL, _IOLBF, BUFSIZ) != 0) {
        return saga_client_fail("%s: %s", name, strerror(errno));
    }
    config.transcript = out;
    enum saga_err err = saga_sim_apart(&quiet, run->sim, &config, &result, &detail);
    int status = SAGA_EXIT_OK;
    if (err != SAGA_ERR_OK) {
        status = saga_client_fail("%s: %s", name, detail.text);
    } else {
        saga_sim_result_fini(&result);
    }
    if (status == SAGA_EXIT_OK && !to_file) {
        status = read_story(run, out);
    }
    if (fclose(out) != 0 && status == SAGA_EXIT_OK) {
        status = saga_client_fail("%s: %s", name, strerror(errno));
    }
    run->report.transcript_file = to_file ? run->transcript : NULL;
    run->told = true;
    return status;
}

static enum saga_err run_quietly(void *user, struct saga_sim *sim,
                                 const struct saga_sim_config *config,
                                 struct saga_sim_result *result, struct saga_err_detail *detail)
{
    bool quiet = true;
    (void)user;
    enum saga_err err = saga_sim_apart(&quiet, sim, config, result, detail);
    if (err == SAGA_ERR_OK && caught != 0) {
        saga_sim_result_fini(result); /* its process may have been ended */
        err = saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "interrupted");
    }
    return err;
}

static int shrink(struct sim_run *run)
{
    struct saga_sim_report *report = &run->report;
    struct saga_sim_config config = report->config;
    struct saga_err_detail detail = {{0}};
    config.seed = report->totals.bad_seed;
    const struct saga_sim_shrink wanted = {.sim = run->sim,
                                           .config = &config,
                                           .runs_max = run->shrink_runs,
                                           .run = run_quietly,
                                           .tell = show_shrink,
                                           .user = run};
    report->shrinking = true;
    enum saga_err err = saga_sim_shrink(&wanted, &report->shrunk, &detail);
    clear_line(run);
    report->shrunk_there = err == SAGA_ERR_OK;
    if (err != SAGA_ERR_OK) {
        memcpy(report->shrink_error, detail.text, sizeof report->shrink_error);
        return SAGA_EXIT_OK; /* what was found counts more */
    }
    return write_story(run, saga_sim_shrunk_config(&config, &report->shrunk));
}

/* A file that was asked for, and is not there or an older one, is missed. */
static void tell_untold(const struct sim_run *run)
{
    if (run->transcript != NULL && !run->told && caught == 0) {
        saga_client_warn("--transcript %s: nothing was written; %s", run->transcript,
                         run->report.totals.violations == 0
                             ? "no world broke a rule (--runs 1 tells its one world in any case)"
                             : "no shortest story was found or asked for");
    }
}

static int run_all(struct sim_run *run)
{
    struct saga_sim_report *report = &run->report;
    struct saga_err_detail detail = {{0}};
    run->began = seconds_now();
    run->farm.sim = run->sim;
    run->farm.config = &report->config;
    run->farm.keep_going = saga_options_on(run->options, "keep-going");
    run->farm.tell = run->terminal ? show_runs : NULL;
    run->farm.user = run;
    run->farm.stop = &caught;
    catch_signals();
    show_begin(run);
    report->seed = run->farm.seed;
    report->workers = run->farm.workers;
    enum saga_err err = saga_farm_run(&run->farm, &report->totals, &detail);
    report->wall_s = seconds_now() - run->began;
    clear_line(run);
    if (err != SAGA_ERR_OK) {
        return saga_client_fail("%s", detail.text);
    }
    int status = SAGA_EXIT_OK;
    if (report->totals.violations > 0 && caught == 0 &&
        !saga_options_on(run->options, "no-shrink")) {
        status = shrink(run);
    } else if (caught == 0 && run->transcript != NULL && run->farm.runs_max == 1) {
        struct saga_sim_config config = report->config;
        config.seed = report->seed;
        status = write_story(run, config);
        if (status == SAGA_EXIT_OK && !run->json && report->transcript.size > 0) {
            (void)fwrite(report->transcript.data, 1, report->transcript.size, stdout);
        }
    }
    if (status == SAGA_EXIT_OK) {
        status = run->json ? saga_sim_report_json(report) : saga_sim_report_text(report);
    }
    tell_untold(run);
    if (caught != 0) {
        return SIGNALLED + caught;
    }
    return status == SAGA_EXIT_OK && report->totals.violations > 0 ? SAGA_EXIT_FAILED : status;
}

static int sim_run(const struct saga_options *options)
{
    if (saga_client_operands(options, 0, 1, "[FILE]") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    int json = saga_client_output_json(options);
    if (json < 0) {
        return SAGA_EXIT_USAGE;
    }
    struct sim_run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return saga_client_fail("out of memory");
    }
    run->options = options;
    run->json = json == 1;
    run->terminal = !run->json && isatty(STDERR_FILENO) == 1;
    run->transcript = saga_options_text(options, "transcript");
    int status = read_numbers(run);
    if (status == SAGA_EXIT_OK) {
        status = load(run);
    }
    if (status == SAGA_EXIT_OK) {
        status = run_all(run);
    }
    if (run->report.shrunk_there) {
        saga_sim_shrunk_fini(&run->report.shrunk);
    }
    saga_sim_free(run->sim);
    saga_buf_fini(&run->set);
    free(run->report.definition);
    free(run->only);
    free(run->story);
    free(run);
    return status;
}

const struct saga_verb saga_verb_sim = {
    .name = "sim",
    .usage = "[FILE] --saga NAME [--runs N] [--seed S] [--seconds T] [-j N]",
    .summary = "try a saga: run it in simulated worlds in which everything fails",
    .epilog = SAGA_PROTO_FILE_HELP
    "Without FILE, the sagas that sagad ships with are there.\n"
    "Each world runs the engine, runtime, store and barrier of production on a simulated "
    "clock, network, Kafka and disk, with\nmany sagas and those faults that its seed decides; "
    "then all is healed, and every saga must end. S1-S13 and B1-B8\n(docs/semantics.md) are "
    "judged from outside. The same seed gives the same world, and the same trace hash. A seed "
    "that\nbreaks a rule is shrunk to the shortest story that still breaks it.\n"
    "Examples:\n"
    "  sagactl sim --saga create-order                                  the first 100 seeds\n"
    "  sagactl sim shop.binpb --saga buy --seed fresh --seconds 120     two minutes, as in CI\n"
    "  sagactl sim --saga create-order --seed 7 --runs 1 --transcript - one world, told\n"
    "Exit status: 0 no rule was broken; 1 one was, or a world could not be run; 2 wrong usage; "
    "130 or 143 it was ended by\n"
    "Ctrl-C or SIGTERM, and has told what it had.",
    .options = sim_options,
    .option_count = sizeof sim_options / sizeof sim_options[0],
    .shorts = "o=output j=processes " SAGA_PROTO_PATH_SHORT,
    .offline = true,
    .run = sim_run,
};
