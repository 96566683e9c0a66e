/* The admin API over NNG: batches of OrchestratorService, HealthService and ReflectionService
 * commands.
 *
 * A batch is decoded on NNG's thread and queued. On the loop its writes (StartSaga, OperateSaga, …)
 * join the turn; its reads are answered after the commit, so that they see what is durable. Waiting
 * requests (start with wait, watch) are kept until their saga changes or their time is over. */
#ifndef SAGA_DAEMON_ADMIN_H
#define SAGA_DAEMON_ADMIN_H

#include "common/bus/nng/rpc.h"
#include "common/sys/inbox.h"
#include "orchestrator/daemon/health.h"
#include "orchestrator/daemon/input.h"
#include "orchestrator/runtime/runtime.h"

struct admin;

struct admin_config {
    struct saga_inbox *inbox;
    const struct health *health;
    struct saga_bytes descriptor_set; /* what reflection tells */
    const char *version;              /* "sagad 0.1.0" */
    size_t waiting_requests_max;      /* who would wait beyond is answered at once */
};

enum saga_err admin_new(const struct admin_config *config, struct admin **admin) SAGA_WARN_UNUSED;
void admin_free(struct admin *admin);

struct versions;

/* Gives it the store and the versions, before its first request. */
void admin_set_store(struct admin *admin, struct saga_store_port store, struct versions *versions);

/* The RPC server's handler; its context is the admin. Thread: NNG's. */
void admin_handle(void *admin, struct saga_rpc_request *request);

/* The runtime's client port. */
struct saga_client_port admin_client_port(struct admin *admin);

/* Takes an INPUT_BATCH into the runtime's present turn. */
void admin_take(struct admin *admin, struct input *input, struct saga_runtime *runtime,
                int64_t now_unix_ms);

/* After a turn: answers reads, and waiters whose time is over. */
void admin_after_turn(struct admin *admin, struct saga_runtime *runtime, int64_t now_unix_ms);

/* When admin_after_turn is wanted although nothing happens; 0: never. */
int64_t admin_next_due(const struct admin *admin);

/* Answers all who wait with UNAVAILABLE. */
void admin_dismiss(struct admin *admin);

#endif
