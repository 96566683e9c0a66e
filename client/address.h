/* Addresses on the command line: NNG URLs, or names of daemons in endpoints.json. */
#ifndef SAGA_CLIENT_ADDRESS_H
#define SAGA_CLIENT_ADDRESS_H

#include "client/conn.h"

/* Opens a connection to a URL or a daemon's name. Exit status; the message is printed. */
int saga_address_open(const struct saga_options *options, const char *text,
                      struct saga_conn **conn);

/* Finds the Kafka bootstrap: --kafka, else endpoints.json. Exit status; the message is printed. */
int saga_address_kafka(const struct saga_options *options,
                       char bootstrap[SAGA_ADDRESS_SIZE_MAX + 1]);

/* Checks that a text can be an address, or is the name of a daemon of endpoints.json. Exit status;
 * the message is printed. */
int saga_address_check(const struct saga_options *options, const char *text) SAGA_WARN_UNUSED;

#endif
