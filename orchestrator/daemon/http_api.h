/* HTTP of the orchestrator: /livez, /readyz, /healthz, /metrics. */
#ifndef SAGA_DAEMON_HTTP_API_H
#define SAGA_DAEMON_HTTP_API_H

#include "common/http/http.h"
#include "orchestrator/daemon/health.h"

/* Starts it. The health must outlive it. Errors: those of saga_http_start. */
enum saga_err http_api_start(const char *address, uint16_t port, struct health *health,
                             struct saga_http **http,
                             struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
