/* sagactl: the verb table, its help, and the way from argv to a verb. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/run.h"

int main(int argc, char **argv)
{
    /* A broken pipe on stdout is an error of writing, not a death. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    return saga_client_run(argc, argv);
}
