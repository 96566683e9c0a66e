/* sagactl lint. */
#include "client/verbs.h"

static int run_lint(const struct saga_options *options)
{
    (void)options;
    return saga_client_fail("lint: this build does not have it");
}

const struct saga_verb saga_verb_lint = {
    .name = "lint",
    .usage = "FILE.binpb",
    .summary = "checks the definitions of a descriptor set without a daemon",
    .run = run_lint,
};
