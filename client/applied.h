/* Definitions that were applied to an orchestrator: what its own set does not have. One thread. */
#ifndef SAGA_CLIENT_APPLIED_H
#define SAGA_CLIENT_APPLIED_H

#include "client/conn.h"

/* Tells whether it is known where the orchestrator is: by --address, or from endpoints.json.
 * Nothing is printed, and nobody is asked. */
bool saga_applied_known(const struct saga_options *options);

/* Gives the schema in which a definition that new sagas begin on, or a symbol of the package of
 * one, is found, as the orchestrator has it; NULL without a message: there is none, or the daemon
 * is no orchestrator. Lives as long as the connection. Overwrites the last response. */
const struct saga_schema *saga_applied_schema(struct saga_conn *conn, const char *symbol);

#endif
