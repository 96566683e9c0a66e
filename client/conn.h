/* A connection to one daemon, for tools: send, wait, look at the status. */
#ifndef SAGA_CLIENT_CONN_H
#define SAGA_CLIENT_CONN_H

#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "client/client.h"
#include "client/endpoints.h"
#include "common/wire/envelope.h"
#include "common/wire/schema.h"

struct saga_conn;

/* Opens a connection and waits until it is there. Exit status; the message is printed. Owns: the
 * caller, until close. */
int saga_conn_open(const char *address, const struct saga_options *options,
                   struct saga_conn **conn);

/* Opens a connection to the orchestrator: --address, else endpoints.json. */
int saga_conn_open_orchestrator(const struct saga_options *options, struct saga_conn **conn);

/* Closes. NULL is nothing. */
void saga_conn_close(struct saga_conn *conn);

/* Gives the address. */
const char *saga_conn_address(const struct saga_conn *conn);

/* Sends a batch and gives as many replies, valid until the next call. Exit status; the message is
 * printed. */
int saga_conn_send(struct saga_conn *conn, const struct saga_command *commands, size_t count,
                   int64_t timeout_ms, const struct saga_reply **replies);

/* One ordinary request with generated messages. */
struct saga_conn_request {
    const char *method;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *response_type;
    int64_t wait_ms; /* added to the time-out: how long the daemon may wait by itself */
};

/* Sends it; *response is valid until the next call on the connection. A status other than OK is
 * printed and gives 64 plus its code. */
int saga_conn_call(struct saga_conn *conn, const struct saga_conn_request *request,
                   const ProtobufCMessage **response);

/* Prints a status and gives the exit status for it. */
int saga_conn_status(const char *what, const struct saga_status *status);

/* Gives the schema of the daemon (asked once by reflection, else what is built in). NULL after a
 * message on stderr. Overwrites the last response. */
const struct saga_schema *saga_conn_schema(struct saga_conn *conn);

/* Gives the schema of a version of a saga definition as the orchestrator has it: the one with a
 * hash (SAGA_HASH_SIZE bytes), or (NULL) the one that is current. Asked once; lives as long as the
 * connection. NULL without a message: it has none, or cannot tell. Overwrites the last response. */
const struct saga_schema *saga_conn_definition(struct saga_conn *conn, const char *name,
                                               const uint8_t *hash);

/* Loads a schema from a file of a FileDescriptorSet; NULL path: what is built in. Exit status; the
 * message is printed. */
int saga_schema_open(const char *path, struct saga_schema **schema);

/* Reads endpoints.json of --dir. Exit status; the message is printed and says how to get one. */
int saga_client_endpoints(const struct saga_options *options, struct saga_endpoints *endpoints);

#endif
