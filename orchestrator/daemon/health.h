/* How the daemon is: for HealthService, /healthz, /readyz and /metrics. Reading is for any thread.
 */
#ifndef SAGA_DAEMON_HEALTH_H
#define SAGA_DAEMON_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/base/limits.h"
#include "common/sys/metrics.h"
#include "orchestrator/daemon/relays.h"
#include "orchestrator/daemon/replies.h"
#include "orchestrator/daemon/transport.h"
#include "orchestrator/runtime/runtime.h"

/* saga.v1.HealthState */
enum health_state { HEALTH_SERVING = 1, HEALTH_DEGRADED = 2, HEALTH_NOT_SERVING = 3 };

enum { HEALTH_PARTS_MAX = SAGA_PARTICIPANTS_MAX + 4, HEALTH_DETAIL_SIZE = 320 };

struct health_part {
    char name[SAGA_METHOD_NAME_MAX + 1];
    enum health_state state;
    char detail[HEALTH_DETAIL_SIZE];
};

struct health_report {
    enum health_state state;
    size_t part_count;
    struct health_part parts[HEALTH_PARTS_MAX];
};

/* What the loop publishes about itself, and where the rest is asked. */
struct health {
    _Atomic bool ready; /* recovered and serving; what is no atomic is set before it */
    _Atomic bool stopping;
    _Atomic int failure; /* enum saga_err: of the store; OK: none */
    _Atomic int64_t live, started, completed, compensated, parked, stalled, refused, events,
        commands, turns, commits, inbox, dead_letters, audit_position, outbox_position, paused;
    struct saga_histogram turn; /* a turn, from taking its entries to having answered */
    struct transport *transport;
    const struct relays *relays; /* NULL: no Kafka configured */
    const struct replies *replies;
};

/* Copies the runtime's counts, at the end of a turn: after its answers. Thread: the loop's. */
void health_publish(struct health *health, const struct saga_runtime *runtime, size_t inbox_count);

/* Makes a report. */
void health_make_report(const struct health *health, struct health_report *report);

/* Appends all metrics in Prometheus' text format. */
enum saga_err health_render_metrics(const struct health *health,
                                    struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
