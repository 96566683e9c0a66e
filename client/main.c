/* sagactl: the verb table, its help, and the way from argv to a verb. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/run.h"

int main(int argc, char **argv)
{
    /* A broken pipe to a daemon is an error of writing, not a death; of stdout: saga_client_flush.
     */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    return saga_client_run(argc, argv);
}
