/* A run: which cases on which steps, one after the other; those that need a restart share one. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/certify/internal.h"

const char *saga_certify_verdict_name(enum saga_certify_verdict verdict)
{
    switch (verdict) {
    case SAGA_CERTIFY_PASS:
        return "PASS";
    case SAGA_CERTIFY_FAIL:
        return "FAIL";
    case SAGA_CERTIFY_SKIP:
        break;
    }
    return "SKIP";
}

static bool applies(const struct certify_case *about, const struct saga_certify_step *step)
{
    bool effects = step->call != NULL && !step->call->no_side_effects;
    switch (about->of) {
    case CERTIFY_OF_PARTICIPANT:
        return false;
    case CERTIFY_OF_CALL:
        return effects;
    case CERTIFY_OF_UNDO:
        return step->undo != NULL;
    case CERTIFY_OF_PAIR:
        return effects && step->undo != NULL;
    case CERTIFY_OF_READ:
        return step->call != NULL && !effects;
    }
    return false;
}

static enum saga_err add_result(struct saga_certify_report *report,
                                const struct saga_certify_result *result)
{
    if (report->count == report->capacity) {
        size_t capacity = report->capacity == 0 ? 64 : report->capacity * 2;
        struct saga_certify_result *more =
            realloc(report->results, capacity * sizeof *report->results);
        if (more == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        report->results = more;
        report->capacity = capacity;
    }
    report->results[report->count++] = *result;
    return SAGA_ERR_OK;
}

static void count_result(struct saga_certify_report *report, enum saga_certify_verdict verdict)
{
    switch (verdict) {
    case SAGA_CERTIFY_PASS:
        report->passed++;
        break;
    case SAGA_CERTIFY_FAIL:
        report->failed++;
        break;
    case SAGA_CERTIFY_SKIP:
        report->skipped++;
        break;
    }
}

/* ---- The plan ---- */

static const struct certify_case *case_of(const struct saga_certify_about *about)
{
    for (size_t i = 0; i < certify_case_count; i++) {
        if (&certify_cases[i].about == about) {
            return &certify_cases[i];
        }
    }
    return NULL;
}

static enum saga_err plan_case(const struct saga_certify_config *config,
                               const struct certify_case *about, struct saga_certify_report *list)
{
    struct saga_certify_result result = {.about = &about->about, .verdict = SAGA_CERTIFY_SKIP};
    if (config->cases != NULL && fnmatch(config->cases, about->about.id, 0) != 0) {
        list->narrowed = true;
        return SAGA_ERR_OK;
    }
    if (about->of == CERTIFY_OF_PARTICIPANT) {
        return add_result(list, &result);
    }
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < config->steps->count && err == SAGA_ERR_OK; i++) {
        if (applies(about, &config->steps->list[i])) {
            result.step = &config->steps->list[i];
            err = add_result(list, &result);
        }
    }
    return err;
}

enum saga_err saga_certify_plan(const struct saga_certify_config *config,
                                struct saga_certify_report *list)
{
    *list = (struct saga_certify_report){.narrowed = config->narrowed};
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < certify_case_count && err == SAGA_ERR_OK; i++) {
        err = plan_case(config, &certify_cases[i], list);
    }
    if (err != SAGA_ERR_OK) {
        saga_certify_report_fini(list);
    }
    return err;
}

void saga_certify_report_fini(struct saga_certify_report *report)
{
    free(report->results);
    *report = (struct saga_certify_report){0};
}

/* ---- Running ---- */

static int64_t now_ms(const struct certify_run *run)
{
    return run->config->port.now_unix_ms(run->config->port.context);
}

/* Ends a trial: its result stands in the report at its place. */
static void finish(struct certify_run *run, struct certify_trial *trial, size_t at, size_t done)
{
    const struct saga_certify_config *config = run->config;
    certify_trial_end(trial);
    if (run->dead == NULL && !certify_alive(run)) {
        run->dead = trial->about->about.id;
        if (trial->result.verdict != SAGA_CERTIFY_FAIL) {
            trial->result.verdict = SAGA_CERTIFY_FAIL;
            (void)snprintf(trial->result.reason, sizeof trial->result.reason,
                           "afterwards the participant answers no more");
        }
    }
    run->report->results[at] = trial->result;
    count_result(run->report, trial->result.verdict);
    if (config->progress != NULL) {
        config->progress(config->user, &run->report->results[at], done, run->report->count);
    }
}

/* Tells whether a trial can run; without a participant nothing more is judged. */
static bool can_run(struct certify_run *run, struct certify_trial *trial)
{
    if (run->dead != NULL) {
        certify_skip(trial, "the participant answers no more since %s", run->dead);
    }
    return !trial->judged;
}

static void run_now(struct certify_run *run, size_t at, size_t done)
{
    struct certify_trial trial;
    const struct saga_certify_result *planned = &run->report->results[at];
    int64_t begun_ms = now_ms(run);
    certify_trial_begin(&trial, run, case_of(planned->about), planned->step);
    if (can_run(run, &trial)) {
        trial.about->run(&trial);
    }
    trial.result.took_ms = now_ms(run) - begun_ms;
    finish(run, &trial, at, done);
}

/* Deals the commands that are under way during the restart out among the cases. */
static size_t flight_share(const struct certify_run *run)
{
    size_t cases = 0;
    for (size_t i = 0; i < run->report->count; i++) {
        cases += case_of(run->report->results[i].about)->after == certify_flight_after ? 1 : 0;
    }
    size_t total = CERTIFY_FLIGHT_BASE + CERTIFY_FLIGHT_ROUND * run->config->rounds;
    total = total < CERTIFY_FLIGHT_TOTAL ? total : CERTIFY_FLIGHT_TOTAL;
    size_t share = total / (cases == 0 ? 1 : cases);
    share = share < CERTIFY_FLIGHT_MAX ? share : CERTIFY_FLIGHT_MAX;
    return share > CERTIFY_FLIGHT_MIN ? share : CERTIFY_FLIGHT_MIN;
}

/* Restarts the participant; without a restart all trials are judged. What a command did not do is
 * no fault of the participant, not even when that killed it and did not start it. */
static void restart(struct certify_run *run, struct certify_trial *trials, size_t count)
{
    struct saga_err_detail detail = {{0}};
    enum saga_err err = certify_flight_restart(run, trials, count, &detail);
    if (err == SAGA_ERR_OK) {
        return;
    }
    run->report->restart_void = err != SAGA_ERR_TIMEOUT;
    for (size_t i = 0; i < count; i++) {
        if (run->report->restart_void) {
            certify_skip(&trials[i], "%s",
                         detail.text[0] == '\0' ? saga_err_text(err) : detail.text);
        } else {
            certify_fail(&trials[i], "the restart: %s", detail.text);
        }
    }
    if (run->report->restart_void && !certify_alive(run)) {
        run->dead = "the command of --restart";
    }
}

/* Runs the cases that need a restart: all first halves, the restart, all second halves. */
static enum saga_err run_restart(struct certify_run *run, size_t count, size_t done)
{
    const struct saga_certify_port *port = &run->config->port;
    size_t at = 0;
    struct certify_trial *trials = calloc(count, sizeof *trials);
    size_t *places = calloc(count, sizeof *places);
    if (trials == NULL || places == NULL) {
        free(trials);
        free(places);
        return SAGA_ERR_NO_MEMORY;
    }
    run->flight_share = flight_share(run);
    for (size_t i = 0; i < run->report->count && at < count; i++) {
        const struct certify_case *about = case_of(run->report->results[i].about);
        if (about->after != NULL) {
            places[at] = i;
            certify_trial_begin(&trials[at], run, about, run->report->results[i].step);
            if (port->restart == NULL) {
                certify_skip(&trials[at], "it was not restarted: give --restart COMMAND");
            } else if (can_run(run, &trials[at])) {
                about->run(&trials[at]);
            }
            at++;
        }
    }
    int64_t begun_ms = now_ms(run);
    if (port->restart != NULL && run->dead == NULL) {
        restart(run, trials, at);
    }
    for (size_t i = 0; i < at; i++) {
        if (!trials[i].judged) {
            trials[i].about->after(&trials[i]);
        }
        trials[i].result.took_ms = now_ms(run) - begun_ms;
        finish(run, &trials[i], places[i], done + i + 1);
    }
    free(trials);
    free(places);
    return SAGA_ERR_OK;
}

/* Cases whose verdict needs all others come last in the table, behind the restart. */
static enum saga_err run_all(struct certify_run *run)
{
    enum saga_err err = SAGA_ERR_OK;
    size_t done = 0;
    size_t restarts = 0;
    for (size_t i = 0; i < run->report->count; i++) {
        restarts += case_of(run->report->results[i].about)->after != NULL ? 1 : 0;
    }
    bool restarted = restarts == 0;
    for (size_t i = 0; i < run->report->count && err == SAGA_ERR_OK; i++) {
        if (case_of(run->report->results[i].about)->after == NULL) {
            run_now(run, i, ++done);
        } else if (!restarted) {
            restarted = true;
            err = run_restart(run, restarts, done);
            done += restarts;
        }
    }
    return err;
}

static enum saga_err check_probe(const struct saga_certify_config *config, const char *name,
                                 struct saga_err_detail *detail)
{
    if (name == NULL) {
        return SAGA_ERR_OK;
    }
    const struct saga_method *method = saga_schema_method(config->schema, name);
    if (method == NULL || !method->no_side_effects) {
        return saga_err_set(detail, SAGA_ERR_INVALID,
                            "the probe %s must be a method of the schema with idempotency_level = "
                            "NO_SIDE_EFFECTS",
                            name);
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_certify_run(const struct saga_certify_config *config,
                               struct saga_certify_report *report, struct saga_err_detail *detail)
{
    struct certify_run run = {
        .config = config, .report = report, .random = config->seed, .nonce = config->nonce};
    enum saga_err err = check_probe(config, config->probe_method, detail);
    if (err == SAGA_ERR_OK) {
        err = check_probe(config, config->balance_method, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_certify_plan(config, report);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (!certify_alive(&run)) {
        saga_certify_report_fini(report);
        return saga_err_set(detail, SAGA_ERR_UNAVAILABLE,
                            "no answer to saga.v1.HealthService/Check");
    }
    err = run_all(&run);
    if (err != SAGA_ERR_OK) {
        saga_certify_report_fini(report);
    }
    return err;
}
