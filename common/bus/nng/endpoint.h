/* What server and client share: addresses, TLS, options of a socket, nng's error codes. Private to
 * this room. */
#ifndef SAGA_BUS_NNG_ENDPOINT_H
#define SAGA_BUS_NNG_ENDPOINT_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <stdbool.h>

#include "common/base/err.h"
#include "common/bus/nng/rpc.h"

/* The socket options that a scheme knows. */
enum saga_endpoint_kind {
    SAGA_ENDPOINT_LOCAL, /* inproc, ipc, abstract */
    SAGA_ENDPOINT_TCP,
    SAGA_ENDPOINT_TLS,
};

/* Bytes that the request/reply protocol puts before a body on the wire. */
enum { SAGA_ENDPOINT_HEADER_SIZE = 4 };

/* Maps nng's code. */
enum saga_err saga_endpoint_err(int code);

/* Checks an address and tells its kind. Errors: INVALID. */
enum saga_err saga_endpoint_check(const char *address, const struct saga_rpc_tls *tls,
                                  enum saga_endpoint_kind *kind,
                                  struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Sets the options of a socket before its first dialer or listener. */
enum saga_err saga_endpoint_prepare(nng_socket socket,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Makes a TLS configuration that demands the peer's certificate. server_name: whom a client
 * expects; NULL for a server. Owns: the caller (nng_tls_config_free). Errors: INVALID (files),
 * NO_MEMORY. */
enum saga_err saga_endpoint_tls(const struct saga_rpc_tls *tls, const char *server_name,
                                nng_tls_config **config,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Makes a message that holds a copy of bytes. NULL: no memory. Owns: the caller. */
nng_msg *saga_rpc_message_new(struct saga_bytes bytes);

/* Makes a condition that waits on the monotonic clock. Errors: NO_MEMORY. */
enum saga_err saga_endpoint_cond_init(pthread_cond_t *cond) SAGA_WARN_UNUSED;

/* Gives the monotonic time that lies some milliseconds ahead. */
struct timespec saga_endpoint_deadline(int64_t timeout_ms);

#endif
