/* sagactl breaking. */
#include "client/verbs.h"

static int run_breaking(const struct saga_options *options)
{
    (void)options;
    return saga_client_fail("breaking: this build does not have it");
}

const struct saga_verb saga_verb_breaking = {
    .name = "breaking",
    .usage = "OLD.binpb NEW.binpb",
    .summary = "tells what a new schema breaks, on the wire and for sagas in flight",
    .run = run_breaking,
};
