/* What a report comes to: "certified" is said only of a participant of which everything that
 * matters was judged. */
#include <fnmatch.h>
#include <string.h>

#include "verify/certify/internal.h"

/* Cases that may be missing: they need more than an address and good values, or something that not
 * every participant has. All others are central. */
static const char *const spare[] = {
    "CERT-REFLECTION", /* the schema can be given */
    "CERT-FLOOD",      /* not over tls */
    "CERT-*-EFFECT",   /* --probe */
    "CERT-B5-METHOD",  /* a second method that reads the same request */
    "CERT-B6-*",       /* requests that are refused */
    "CERT-RESTART-*",  /* --restart */
};

static bool central(const struct saga_certify_report *report,
                    const struct saga_certify_about *about)
{
    if (report->restart_void && fnmatch("CERT-RESTART-*", about->id, 0) == 0) {
        return true; /* somebody wanted to know */
    }
    for (size_t i = 0; i < sizeof spare / sizeof spare[0]; i++) {
        if (fnmatch(spare[i], about->id, 0) == 0) {
            return false;
        }
    }
    return true;
}

size_t saga_certify_unjudged(const struct saga_certify_report *report)
{
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++) {
        const struct saga_certify_result *result = &report->results[i];
        count += result->verdict == SAGA_CERTIFY_SKIP && central(report, result->about) ? 1 : 0;
    }
    return count;
}

enum saga_certify_outcome saga_certify_outcome(const struct saga_certify_report *report)
{
    if (report->failed > 0) {
        return SAGA_CERTIFY_BROKEN;
    }
    if (report->passed == 0 || saga_certify_unjudged(report) > 0) {
        return SAGA_CERTIFY_UNJUDGED;
    }
    return report->narrowed ? SAGA_CERTIFY_NARROWED : SAGA_CERTIFY_CERTIFIED;
}

const char *saga_certify_outcome_name(enum saga_certify_outcome outcome)
{
    switch (outcome) {
    case SAGA_CERTIFY_CERTIFIED:
        return "certified";
    case SAGA_CERTIFY_BROKEN:
        return "failed";
    case SAGA_CERTIFY_UNJUDGED:
        return "not judged";
    case SAGA_CERTIFY_NARROWED:
        break;
    }
    return "passed (narrowed)";
}
