/* sagactl graph. */
#include "client/verbs.h"

static int run_graph(const struct saga_options *options)
{
    (void)options;
    return saga_client_fail("graph: this build does not have it");
}

const struct saga_verb saga_verb_graph = {
    .name = "graph",
    .usage = "[FILE.binpb|ID]",
    .summary = "draws a saga: steps, undos, data flow, deadlines",
    .run = run_graph,
};
