/* From argv to a verb. */
#ifndef SAGA_CLIENT_RUN_H
#define SAGA_CLIENT_RUN_H

/* Runs `sagactl argv[1] …`; gives the exit status. */
int saga_client_run(int argc, char **argv);

#endif
