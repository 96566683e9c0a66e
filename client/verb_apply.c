/* sagactl apply. */
#include "client/verbs.h"

static int run_apply(const struct saga_options *options)
{
    (void)options;
    return saga_client_fail("apply: this build does not have it");
}

const struct saga_verb saga_verb_apply = {
    .name = "apply",
    .usage = "FILE.binpb",
    .summary =
        "checks the definitions of a descriptor set and applies them to a running orchestrator",
    .run = run_apply,
};
