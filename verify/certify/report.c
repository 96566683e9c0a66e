/* Reports for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

static const char *const rules[] = {"B1", "B2", "B3", "B4", "B5", "B6", "S4", "S8"};
enum { RULE_COUNT = sizeof rules / sizeof rules[0] };

/* What a rule has come to: FAIL if any case failed, PASS if any passed, else SKIP. */
static enum saga_certify_verdict rule_verdict(const struct saga_certify_report *report,
                                              const char *rule, bool *partly)
{
    enum saga_certify_verdict verdict = SAGA_CERTIFY_SKIP;
    *partly = false;
    for (size_t i = 0; i < report->count; i++) {
        const struct saga_certify_result *result = &report->results[i];
        if (strcmp(result->about->rule, rule) != 0) {
            continue;
        }
        if (result->verdict == SAGA_CERTIFY_FAIL) {
            return SAGA_CERTIFY_FAIL;
        }
        *partly = *partly || result->verdict == SAGA_CERTIFY_SKIP;
        if (result->verdict == SAGA_CERTIFY_PASS) {
            verdict = SAGA_CERTIFY_PASS;
        }
    }
    return verdict;
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

static void print_rules(const struct saga_certify_report *report, FILE *file)
{
    const char *const words[] = {"kept:", "broken:", "not judged:", "judged in part:"};
    for (size_t kind = 0; kind < sizeof words / sizeof words[0]; kind++) {
        bool any = false;
        for (size_t i = 0; i < RULE_COUNT; i++) {
            bool partly = false;
            enum saga_certify_verdict verdict = rule_verdict(report, rules[i], &partly);
            bool there = kind == 3 ? verdict == SAGA_CERTIFY_PASS && partly
                                   : (size_t)verdict == kind && !(kind == 0 && partly);
            if (there) {
                fprintf(file, "%s%s %s", any ? "" : "  ", any ? "" : words[kind], rules[i]);
                any = true;
            }
        }
        if (any) {
            fputc('\n', file);
        }
    }
}

void saga_certify_report_text(const struct saga_certify_report *report,
                              const struct saga_certify_head *head, FILE *file)
{
    for (size_t i = 0; i < report->count; i++) {
        if (head->all || report->results[i].verdict != SAGA_CERTIFY_PASS) {
            print_result(&report->results[i], file);
        }
    }
    fprintf(file, "%s%s: %zu passed, %zu failed, %zu not judged; %zu commands, seed %" PRIu64 "\n",
            report->failed == 0 ? "certified: " : "not certified: ", head->address, report->passed,
            report->failed, report->skipped, report->commands, head->seed);
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
    for (size_t i = 0; good && i < RULE_COUNT; i++) {
        bool partly = false;
        enum saga_certify_verdict verdict = rule_verdict(report, rules[i], &partly);
        good = json_object_set_new(by_rule, rules[i],
                                   json_string(saga_certify_verdict_name(verdict))) == 0;
    }
    if (!good) {
        json_decref(cases);
        json_decref(by_rule);
        return NULL;
    }
    return json_pack("{s:s,s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "address", head->address,
                     "certified", report->failed == 0, "seed", seed, "passed",
                     (json_int_t)report->passed, "failed", (json_int_t)report->failed, "skipped",
                     (json_int_t)report->skipped, "commands", (json_int_t)report->commands,
                     "effects_left", (json_int_t)report->effects_left, "rules", by_rule, "cases",
                     cases);
}
