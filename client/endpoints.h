/* endpoints.json: where the daemons of `sagactl dev` are. */
#ifndef SAGA_CLIENT_ENDPOINTS_H
#define SAGA_CLIENT_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/limits.h"

/* The daemons, in the order of endpoints.json. */
enum saga_daemon {
    SAGA_DAEMON_SAGAD,
    SAGA_DAEMON_ORDERD,
    SAGA_DAEMON_CUSTOMERD,
    SAGA_DAEMON_PRODUCTD,
    SAGA_DAEMON_KITCHEND,
    SAGA_DAEMON_PAYMENTD,
    SAGA_DAEMON_COUNT,
};

/* Gives a daemon's name: "sagad". */
const char *saga_daemon_name(enum saga_daemon daemon);

/* Gives the service whose commands it takes: "order.v1.OrderService". NULL: none (sagad). */
const char *saga_daemon_service(enum saga_daemon daemon);

/* Tells whether a service is one of theirs. */
bool saga_daemon_serves(const char *service);

struct saga_endpoint {
    char nng[SAGA_ADDRESS_SIZE_MAX + 1];  /* empty: not known */
    char http[SAGA_ADDRESS_SIZE_MAX + 1]; /* empty: it has none */
    int64_t pid;                          /* 0: not known */
};

struct saga_endpoints {
    struct saga_endpoint daemons[SAGA_DAEMON_COUNT];
    char kafka[SAGA_ADDRESS_SIZE_MAX + 1];
    int64_t dev_pid; /* of `sagactl dev` itself, in which the embedded Kafka runs; 0: not known */
};

/* Reads DIR/endpoints.json. Errors: NOT_FOUND, MALFORMED, IO; detail names the file. */
enum saga_err saga_endpoints_read(const char *dir, struct saga_endpoints *endpoints,
                                  struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Writes DIR/endpoints.json by way of a temporary file. Errors: IO, NO_MEMORY. */
enum saga_err saga_endpoints_write(const char *dir, const struct saga_endpoints *endpoints,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Removes DIR/endpoints.json. */
void saga_endpoints_remove(const char *dir);

/* Reads a ready file: {"name":…,"pid":…,"nng":"URL","http":"URL"}. Errors: NOT_FOUND, MALFORMED. */
enum saga_err saga_endpoint_read_ready(const char *path, struct saga_endpoint *endpoint,
                                       struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
