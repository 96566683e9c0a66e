/* Reports for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

static const char *const rules[] = {"B1", "B2", "B3", "B4", "B5", "B6", "S4", "S8"};
enum { RULE_COUNT = sizeof rules / sizeof rules[0] };

/* What a rule has come to. */
enum rule_state {
    RULE_KEPT,
    RULE_BROKEN,
    RULE_PARTLY, /* some of its cases were not judged, the others passed */
    RULE_UNJUDGED,
    RULE_INAPPLICABLE, /* the participant's methods have no case of it */
    RULE_STATE_COUNT
};

static enum rule_state rule_state(const struct saga_certify_report *report, const char *rule)
{
    size_t counts[] = {[SAGA_CERTIFY_PASS] = 0, [SAGA_CERTIFY_FAIL] = 0, [SAGA_CERTIFY_SKIP] = 0};
    for (size_t i = 0; i < report->count; i++) {
        if (strcmp(report->results[i].about->rule, rule) == 0) {
            counts[report->results[i].verdict]++;
        }
    }
    if (counts[SAGA_CERTIFY_FAIL] > 0) {
        return RULE_BROKEN;
    }
    if (counts[SAGA_CERTIFY_PASS] > 0) {
        return counts[SAGA_CERTIFY_SKIP] > 0 ? RULE_PARTLY : RULE_KEPT;
    }
    return counts[SAGA_CERTIFY_SKIP] > 0 || report->narrowed ? RULE_UNJUDGED : RULE_INAPPLICABLE;
}

static const char *rule_word(enum rule_state state)
{
    switch (state) {
    case RULE_KEPT:
        return "PASS";
    case RULE_PARTLY:
        return "PART";
    case RULE_BROKEN:
        return "FAIL";
    case RULE_INAPPLICABLE:
        return "INAPPLICABLE";
    case RULE_UNJUDGED:
    case RULE_STATE_COUNT:
        break;
    }
    return "SKIP";
}

const char *certify_rule_word(const struct saga_certify_report *report, size_t index,
                              const char **rule)
{
    *rule = index < RULE_COUNT ? rules[index] : NULL;
    return *rule == NULL ? NULL : rule_word(rule_state(report, *rule));
}

static void print_result(const struct saga_certify_result *result, FILE *file)
{
    fprintf(file, "%s %s%s%s: %s\n", saga_certify_verdict_name(result->verdict), result->about->id,
            result->step == NULL ? "" : " ", result->step == NULL ? "" : result->step->name,
            result->about->title);
    if (result->verdict == SAGA_CERTIFY_FAIL) {
        fprintf(file,
                "     rule      %s\n     sent      %s\n     expected  %s\n     got       %s\n"
                "     so        %s\n     to mend   %s\n",
                result->about->rule, result->sent, result->about->expected,
                result->got[0] == '\0' ? "-" : result->got, result->reason, result->about->hint);
    } else if (result->verdict == SAGA_CERTIFY_SKIP) {
        fprintf(file, "     %s\n", result->reason);
    }
}

/* Names the cases of a rule that were not judged, each once. */
static void print_missing(const struct saga_certify_report *report, const char *rule, FILE *file)
{
    const struct saga_certify_about *last = NULL;
    for (size_t i = 0; i < report->count; i++) {
        const struct saga_certify_about *about = report->results[i].about;
        /* The results of one case stand together. */
        if (report->results[i].verdict == SAGA_CERTIFY_SKIP && about != last &&
            strcmp(about->rule, rule) == 0) {
            fprintf(file, "%s%s", last == NULL ? " (without " : ", ", about->id);
            last = about;
        }
    }
    fputs(last == NULL ? "" : ")", file);
}

static void print_rules(const struct saga_certify_report *report, FILE *file)
{
    static const char *const words[RULE_STATE_COUNT] = {
        "kept:", "broken:", "judged in part:", "not judged:", "does not apply:"};
    for (size_t kind = 0; kind < RULE_STATE_COUNT; kind++) {
        bool any = false;
        for (size_t i = 0; i < RULE_COUNT; i++) {
            if ((size_t)rule_state(report, rules[i]) != kind) {
                continue;
            }
            fprintf(file, "%s%s %s", any ? "" : "  ", any ? "" : words[kind], rules[i]);
            if (kind == RULE_PARTLY) {
                print_missing(report, rules[i], file);
            }
            any = true;
        }
        if (any) {
            fputc('\n', file);
        }
    }
}

static void print_headline(const struct saga_certify_report *report,
                           const struct saga_certify_head *head, FILE *file)
{
    switch (saga_certify_outcome(report)) {
    case SAGA_CERTIFY_CERTIFIED:
        fprintf(file, "certified: %s: ", head->address);
        break;
    case SAGA_CERTIFY_NARROWED:
        fprintf(file, "passed (narrowed): %s: ", head->address);
        break;
    case SAGA_CERTIFY_BROKEN:
        fprintf(file, "not certified: %s: ", head->address);
        break;
    case SAGA_CERTIFY_UNJUDGED: {
        size_t unjudged = saga_certify_unjudged(report);
        fprintf(file, "not certified: %s: nothing failed, but ", head->address);
        if (unjudged == 0) {
            fputs("nothing was judged; ", file);
        } else {
            fprintf(file, "%zu %s that %s could not be judged; ", unjudged,
                    unjudged == 1 ? "case" : "cases", unjudged == 1 ? "matters" : "matter");
        }
        break;
    }
    }
    fprintf(file, "%zu passed, %zu failed, %zu not judged; %zu commands, seed %" PRIu64 "\n",
            report->passed, report->failed, report->skipped, report->commands, head->seed);
}

void saga_certify_report_text(const struct saga_certify_report *report,
                              const struct saga_certify_head *head, FILE *file)
{
    for (size_t i = 0; i < report->count; i++) {
        if (head->all || report->results[i].verdict != SAGA_CERTIFY_PASS) {
            print_result(&report->results[i], file);
        }
    }
    print_headline(report, head, file);
    print_rules(report, file);
    if (report->effects_left > 0) {
        fprintf(file, "  left behind: %zu effects that have no undo, or could not be undone\n",
                report->effects_left);
    }
}

static json_t *result_json(const struct saga_certify_result *result)
{
    return json_pack(
        "{s:s,s:s,s:s,s:s?,s:s?,s:s?,s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "id", result->about->id, "rule",
        result->about->rule, "title", result->about->title, "step",
        result->step == NULL ? NULL : result->step->name, "call",
        result->step == NULL || result->step->call == NULL ? NULL : result->step->call->full_name,
        "undo",
        result->step == NULL || result->step->undo == NULL ? NULL : result->step->undo->full_name,
        "verdict", saga_certify_verdict_name(result->verdict), "reason", result->reason, "sent",
        result->sent, "expected", result->about->expected, "got", result->got, "hint",
        result->about->hint, "took_ms", (json_int_t)result->took_ms);
}

json_t *saga_certify_report_json(const struct saga_certify_report *report,
                                 const struct saga_certify_head *head)
{
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, head->seed);
    json_t *cases = json_array();
    json_t *by_rule = json_object();
    bool good = cases != NULL && by_rule != NULL;
    for (size_t i = 0; good && i < report->count; i++) {
        json_t *one = result_json(&report->results[i]);
        good = one != NULL && json_array_append_new(cases, one) == 0;
    }
    const char *rule = NULL;
    const char *word = NULL;
    for (size_t i = 0; good && (word = certify_rule_word(report, i, &rule)) != NULL; i++) {
        good = json_object_set_new(by_rule, rule, json_string(word)) == 0;
    }
    if (!good) {
        json_decref(cases);
        json_decref(by_rule);
        return NULL;
    }
    enum saga_certify_outcome outcome = saga_certify_outcome(report);
    return json_pack("{s:s,s:b,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "address",
                     head->address, "certified", outcome == SAGA_CERTIFY_CERTIFIED, "outcome",
                     saga_certify_outcome_name(outcome), "seed", seed, "passed",
                     (json_int_t)report->passed, "failed", (json_int_t)report->failed, "skipped",
                     (json_int_t)report->skipped, "unjudged", (json_int_t)report->skipped,
                     "central_unjudged", (json_int_t)saga_certify_unjudged(report), "commands",
                     (json_int_t)report->commands, "effects_left", (json_int_t)report->effects_left,
                     "rules", by_rule, "cases", cases);
}
