/* Inside the port over NNG: its connections, shared by what sends and what restarts. */
#ifndef SAGA_CERTIFY_PORT_NNG_H
#define SAGA_CERTIFY_PORT_NNG_H

#include <pthread.h>

#include "common/bus/nng/rpc.h"
#include "verify/certify/certify.h"

enum { CERTIFY_CONNECTIONS = 4 };

struct saga_certify_nng {
    struct saga_rpc_client *clients[CERTIFY_CONNECTIONS];
    size_t client_count;
    struct saga_certify_nng_config config;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t waiting; /* messages that have not ended */
    size_t ended;   /* that have, since somebody set it to 0 */
    bool broken;    /* one of them without an answer */
};

/* One message on its way. */
struct certify_nng_flight {
    struct saga_certify_nng *nng;
    struct saga_certify_message *message;
};

/* Sends a message over the n-th connection, or the next one that stands; false: not sent. */
bool certify_nng_launch(struct certify_nng_flight *flight, size_t n, int64_t timeout_ms);

/* Waits until all messages have ended. */
void certify_nng_land(struct saga_certify_nng *nng);

/* The port's exchange and restart. */
void certify_nng_exchange(void *context, struct saga_certify_message *messages, size_t count,
                          int64_t timeout_ms);
enum saga_err certify_nng_restart(void *context, struct saga_certify_message *messages,
                                  size_t count, int64_t timeout_ms, struct saga_err_detail *detail);

void certify_nng_pause_us(int64_t us);

#endif
