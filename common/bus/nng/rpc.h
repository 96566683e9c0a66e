/* RPC over NNG: bytes in, bytes out. What the bytes mean is wire's business (CommandBatch,
 * ReplyBatch).
 *
 * Server: a rep socket with SAGA_RPC_CONTEXTS contexts; a request is handed over on an NNG thread
 * and answered from any thread. Client: a req socket per participant with SAGA_CLIENT_CONTEXTS
 * contexts; completions come on an NNG thread. Resending is off (NNG_OPT_REQ_RESENDTIME infinite):
 * retries are the engine's. */
#ifndef SAGA_BUS_NNG_RPC_H
#define SAGA_BUS_NNG_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

/* TLS of a tls+tcp:// address: PEM files. All NULL: no TLS. Mutual: peers without a certificate of
 * the CA are refused. */
struct saga_rpc_tls {
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
};

/* ---- Server ---- */

struct saga_rpc_server;

/* One received message that waits for its answer. */
struct saga_rpc_request;

/* Receives a request. Thread: NNG's; must only copy or queue. Owns: the handler, which must answer
 * or drop it exactly once, at any time, on any thread, before the server is freed. */
typedef void saga_rpc_handler(void *context, struct saga_rpc_request *request);

struct saga_rpc_server_config {
    const char *const *addresses; /* NNG URLs to listen on; tcp port 0 takes a free one */
    size_t address_count;
    struct saga_rpc_tls tls;
    saga_rpc_handler *handler;
    void *context;
    size_t contexts; /* requests worked on at once; 0: SAGA_RPC_CONTEXTS */
    bool door_shut;  /* nothing is handed over before saga_rpc_server_open_door: requests wait in
                        their connections */
};

/* Listens. Errors: INVALID (bad URL), UNAVAILABLE (address in use), NO_MEMORY; detail names the
 * address. A stale ipc file of a dead process is removed; one that a living process listens on is
 * not. */
enum saga_err saga_rpc_server_start(const struct saga_rpc_server_config *config,
                                    struct saga_rpc_server **server,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Begins to hand over requests. Once, on a server that was started with door_shut and not closed.
 * Thread: the starter's. */
void saga_rpc_server_open_door(struct saga_rpc_server *server);

/* Gives the i-th address as it can be dialled (with the port that was taken). */
const char *saga_rpc_server_address(const struct saga_rpc_server *server, size_t index);

/* Views the bytes of a request: at most SAGA_MESSAGE_SIZE_HARD; valid until it is answered or
 * dropped. */
struct saga_bytes saga_rpc_request_bytes(const struct saga_rpc_request *request);

/* Space for whoever handles the request: one pointer, NULL at first. */
void saga_rpc_request_set_user(struct saga_rpc_request *request, void *user);
void *saga_rpc_request_user(const struct saga_rpc_request *request);

/* Answers with bytes (copied). Above SAGA_MESSAGE_SIZE_HARD, which no client takes, the request is
 * dropped. Thread: any. */
void saga_rpc_request_answer(struct saga_rpc_request *request, struct saga_bytes bytes);

/* Gives a request up without an answer. Thread: any. */
void saga_rpc_request_drop(struct saga_rpc_request *request);

/* Takes no further requests: after it returns the handler is not called again; requests handed over
 * can still be answered. Thread: any but NNG's. */
void saga_rpc_server_close_door(struct saga_rpc_server *server);

/* Waits until the answers given are sent (bounded by 1 s), closes the socket and frees. Pre: every
 * request was answered or dropped, and the calls that did so have returned. NULL is nothing. */
void saga_rpc_server_free(struct saga_rpc_server *server);

/* ---- Client ---- */

struct saga_rpc_client;

/* How a request ended. */
enum saga_rpc_outcome {
    SAGA_RPC_REPLIED,  /* bytes are the answer */
    SAGA_RPC_NOT_SENT, /* it certainly never left: no peer connected, or all contexts busy past the
                          deadline */
    SAGA_RPC_NO_REPLY, /* it may have arrived: timed out or the connection broke */
};

/* Tells the end of one request. Thread: NNG's, or the sender's when it could not be sent; bytes are
 * valid during the call. Called exactly once for each request that was accepted by send. */
typedef void saga_rpc_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes);

struct saga_rpc_client_config {
    const char *const *addresses; /* NNG URLs, dialled in the background, redialled with backoff up
                                     to 1 s; balanced, failed over */
    size_t address_count;
    struct saga_rpc_tls tls;
    size_t contexts; /* requests outstanding at once; 0: SAGA_CLIENT_CONTEXTS */
};

/* Begins dialling. Errors: INVALID (bad URL, bad TLS file), LIMIT, NO_MEMORY. */
enum saga_err saga_rpc_client_start(const struct saga_rpc_client_config *config,
                                    struct saga_rpc_client **client,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells whether a peer is connected now. Thread: any. */
bool saga_rpc_client_connected(const struct saga_rpc_client *client);

/* Tells how many connections have ended since the start: whoever sees it grow knows that what is
 * connected now was connected anew. Thread: any. */
size_t saga_rpc_client_breaks(const struct saga_rpc_client *client);

/* Waits until a peer is connected. Errors: TIMEOUT. */
enum saga_err saga_rpc_client_wait(struct saga_rpc_client *client,
                                   int64_t timeout_ms) SAGA_WARN_UNUSED;

/* Tells how many requests can be sent now without FULL. Thread: any. */
size_t saga_rpc_client_room(const struct saga_rpc_client *client);

/* Sends a request (bytes copied); done is called when it ended, at the latest after timeout_ms.
 * Thread: any. Errors: FULL (all contexts in use; done is not called), UNAVAILABLE (no peer; done
 * is not called), LIMIT (above SAGA_MESSAGE_SIZE_HARD), NO_MEMORY, CLOSED (the client is being
 * freed). done may send again. */
enum saga_err saga_rpc_client_send(struct saga_rpc_client *client, struct saga_bytes bytes,
                                   int64_t timeout_ms, saga_rpc_done *done,
                                   void *user) SAGA_WARN_UNUSED;

/* Sends and waits: for tools and tests. *reply is appended to. Errors: UNAVAILABLE (not sent),
 * TIMEOUT (no reply). */
enum saga_err saga_rpc_client_call(struct saga_rpc_client *client, struct saga_bytes bytes,
                                   int64_t timeout_ms, struct saga_buf *reply,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Ends what is outstanding (NOT_SENT or NO_REPLY), waits for the callbacks, closes, frees. NULL is
 * nothing. Thread: any but NNG's. */
void saga_rpc_client_free(struct saga_rpc_client *client);

#endif
