#include "common/bus/nng/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include "common/base/limits.h"
#include "common/bus/nng/nng_mend.h"

/* PEM files are small; what is larger is not one. */
enum { PEM_SIZE_MAX = 1024 * 1024 };

enum saga_err saga_endpoint_err(int code)
{
    switch (code) {
    case 0:
        return SAGA_ERR_OK;
    case NNG_ENOMEM:
        return SAGA_ERR_NO_MEMORY;
    case NNG_EINVAL:
    case NNG_EADDRINVAL:
    case NNG_ENOTSUP:
    case NNG_ENOENT:
    case NNG_EPERM:
    case NNG_ECRYPTO:
    case NNG_EPEERAUTH:
    case NNG_ENOARG:
    case NNG_ESYSERR + ENOENT:
    case NNG_ESYSERR + ENOTDIR:
    case NNG_ESYSERR + EACCES:
        return SAGA_ERR_INVALID;
    case NNG_EMSGSIZE:
        return SAGA_ERR_LIMIT;
    case NNG_ETIMEDOUT:
        return SAGA_ERR_TIMEOUT;
    case NNG_ECLOSED:
        return SAGA_ERR_CLOSED;
    default:
        return SAGA_ERR_UNAVAILABLE;
    }
}

static enum saga_err check_parts(const nng_url *url, const char *address,
                                 const struct saga_rpc_tls *tls, enum saga_endpoint_kind *kind,
                                 struct saga_err_detail *detail)
{
    if (strcmp(url->u_scheme, "ipc") == 0) {
        struct sockaddr_un name;
        *kind = SAGA_ENDPOINT_LOCAL;
        if (url->u_path[0] == '\0' || strlen(url->u_path) >= sizeof(name.sun_path)) {
            return saga_err_set(detail, SAGA_ERR_INVALID, "%s: path must have 1 to %zu bytes",
                                address, sizeof(name.sun_path) - 1);
        }
        return SAGA_ERR_OK;
    }
    if (strcmp(url->u_scheme, "inproc") == 0 || strcmp(url->u_scheme, "abstract") == 0) {
        *kind = SAGA_ENDPOINT_LOCAL;
        return SAGA_ERR_OK;
    }
    bool with_tls = strcmp(url->u_scheme, "tls+tcp") == 0;
    if (!with_tls && strcmp(url->u_scheme, "tcp") != 0) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: scheme must be ipc, tcp or tls+tcp",
                            address);
    }
    *kind = with_tls ? SAGA_ENDPOINT_TLS : SAGA_ENDPOINT_TCP;
    if (with_tls && (tls->ca_file == NULL || tls->cert_file == NULL || tls->key_file == NULL)) {
        return saga_err_set(detail, SAGA_ERR_INVALID,
                            "%s: needs the files of CA, certificate and key", address);
    }
    if (url->u_port == NULL || url->u_port[0] == '\0') {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: port is missing", address);
    }
    return SAGA_ERR_OK;
}

enum saga_err saga_endpoint_check(const char *address, const struct saga_rpc_tls *tls,
                                  enum saga_endpoint_kind *kind, struct saga_err_detail *detail)
{
    if (address == NULL || strlen(address) > SAGA_ADDRESS_SIZE_MAX) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "address must have at most %d bytes",
                            SAGA_ADDRESS_SIZE_MAX);
    }
    nng_url *url = NULL;
    int code = nng_url_parse(&url, address);
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "%s: not an address", address);
    }
    enum saga_err err = check_parts(url, address, tls, kind, detail);
    nng_url_free(url);
    return err;
}

enum saga_err saga_endpoint_prepare(nng_socket socket, struct saga_err_detail *detail)
{
    saga_nng_mend();
    int code = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ,
                                   (size_t)SAGA_MESSAGE_SIZE_HARD + SAGA_ENDPOINT_HEADER_SIZE);
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "socket: %s", nng_strerror(code));
    }
    return SAGA_ERR_OK;
}

/* Reads a text file. Owns: the caller, by saga_buf_fini. */
static enum saga_err read_pem(const char *path, struct saga_buf *text,
                              struct saga_err_detail *detail)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: cannot be opened", path);
    }
    enum saga_err err = SAGA_ERR_OK;
    uint8_t chunk[4096];
    size_t count;
    while (err == SAGA_ERR_OK && (count = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        err = saga_buf_append(text, (struct saga_bytes){.data = chunk, .size = count});
        if (err == SAGA_ERR_OK && text->size > PEM_SIZE_MAX) {
            err = saga_err_set(detail, SAGA_ERR_INVALID, "%s: too large for a PEM file", path);
        }
    }
    if (err == SAGA_ERR_OK && ferror(file) != 0) {
        err = saga_err_set(detail, SAGA_ERR_INVALID, "%s: cannot be read", path);
    }
    if (err == SAGA_ERR_OK) {
        static const uint8_t zero = 0;
        err = saga_buf_append(text, (struct saga_bytes){.data = &zero, .size = 1});
    }
    (void)fclose(file);
    return err;
}

static enum saga_err set_certificates(nng_tls_config *config, const struct saga_rpc_tls *tls,
                                      struct saga_err_detail *detail)
{
    struct saga_buf ca = {0};
    struct saga_buf cert = {0};
    struct saga_buf key = {0};
    enum saga_err err = read_pem(tls->ca_file, &ca, detail);
    if (err == SAGA_ERR_OK) {
        err = read_pem(tls->cert_file, &cert, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = read_pem(tls->key_file, &key, detail);
    }
    if (err == SAGA_ERR_OK && nng_tls_config_ca_chain(config, (char *)ca.data, NULL) != 0) {
        err = saga_err_set(detail, SAGA_ERR_INVALID, "%s: no CA certificate in it", tls->ca_file);
    }
    if (err == SAGA_ERR_OK &&
        nng_tls_config_own_cert(config, (char *)cert.data, (char *)key.data, NULL) != 0) {
        err = saga_err_set(detail, SAGA_ERR_INVALID, "%s, %s: not a certificate and its key",
                           tls->cert_file, tls->key_file);
    }
    /* The key is a secret: it does not stay in freed memory. */
    for (size_t i = 0; i < key.size; i++) {
        ((volatile uint8_t *)key.data)[i] = 0;
    }
    saga_buf_fini(&key);
    saga_buf_fini(&cert);
    saga_buf_fini(&ca);
    return err;
}

enum saga_err saga_endpoint_tls(const struct saga_rpc_tls *tls, const char *server_name,
                                nng_tls_config **config, struct saga_err_detail *detail)
{
    nng_tls_config *made = NULL;
    int code = nng_tls_config_alloc(&made, server_name == NULL ? NNG_TLS_MODE_SERVER
                                                               : NNG_TLS_MODE_CLIENT);
    if (code != 0) {
        return saga_err_set(detail, saga_endpoint_err(code), "tls: %s", nng_strerror(code));
    }
    enum saga_err err = SAGA_ERR_OK;
    code = nng_tls_config_version(made, NNG_TLS_1_2, NNG_TLS_1_3);
    if (code == NNG_ENOTSUP) {
        code = nng_tls_config_version(made, NNG_TLS_1_2, NNG_TLS_1_2);
    }
    if (code == 0) {
        code = nng_tls_config_auth_mode(made, NNG_TLS_AUTH_MODE_REQUIRED);
    }
    if (code == 0 && server_name != NULL) {
        code = nng_tls_config_server_name(made, server_name);
    }
    if (code != 0) {
        err = saga_err_set(detail, saga_endpoint_err(code), "tls: %s", nng_strerror(code));
    } else {
        err = set_certificates(made, tls, detail);
    }
    if (err != SAGA_ERR_OK) {
        nng_tls_config_free(made);
        return err;
    }
    *config = made;
    return SAGA_ERR_OK;
}

/* A function of its own so that tests can name it: nng 1.5.2 loses the message that it is about to
 * write when the pipe closes (nng_mend.h), which LeakSanitizer would report. */
nng_msg *saga_rpc_message_new(struct saga_bytes bytes)
{
    nng_msg *message = NULL;
    if (nng_msg_alloc(&message, bytes.size) != 0) {
        return NULL;
    }
    if (bytes.size > 0) {
        memcpy(nng_msg_body(message), bytes.data, bytes.size);
    }
    return message;
}

enum saga_err saga_endpoint_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return SAGA_ERR_NO_MEMORY;
    }
    int code = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (code == 0) {
        code = pthread_cond_init(cond, &attributes);
    }
    (void)pthread_condattr_destroy(&attributes);
    return code == 0 ? SAGA_ERR_OK : SAGA_ERR_NO_MEMORY;
}

struct timespec saga_endpoint_deadline(int64_t timeout_ms)
{
    struct timespec at = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t wait_ms = timeout_ms < 0 ? 0 : timeout_ms;
    at.tv_sec += (time_t)(wait_ms / 1000);
    at.tv_nsec += (long)(wait_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec += 1;
    }
    return at;
}
