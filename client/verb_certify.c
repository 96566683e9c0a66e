/* sagactl certify. */
#include "client/verbs.h"

static int run_certify(const struct saga_options *options)
{
    (void)options;
    return saga_client_fail("certify: this build does not have it");
}

const struct saga_verb saga_verb_certify = {
    .name = "certify",
    .usage = "ADDRESS",
    .summary = "checks a participant of any language against the rules of the barrier",
    .run = run_certify,
};
