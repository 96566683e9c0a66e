/* The definition versions that a daemon runs: those of its schema, and those that sagas in flight
 * began with. */
#ifndef SAGA_DAEMON_VERSIONS_H
#define SAGA_DAEMON_VERSIONS_H

#include "common/wire/schema.h"
#include "orchestrator/daemon/transport.h"
#include "orchestrator/runtime/runtime.h"

struct versions;

struct versions_config {
    struct saga_bytes descriptor_set; /* the daemon's own FileDescriptorSet */
    struct saga_store_port store;
    struct transport *transport;
    struct saga_runtime *runtime;
    int64_t now_unix_ms;
};

/* Loads the daemon's schema, stores its definitions as the current ones, and loads older versions
 * from the store. A set with findings, or without a saga, is
 * refused: logged, INVALID. Errors: of the schema;
 * of the store; LIMIT. Pre: the store's lease is taken; transport is not started. */
enum saga_err versions_load(const struct versions_config *config, struct versions **versions,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Gives the schema of the descriptor set that was loaded. */
const struct saga_schema *versions_schema(const struct versions *versions);

/* Gathers the reply topics of all services that the versions call. Returns how many; texts live as
 * long as the versions. */
size_t versions_reply_topics(const struct versions *versions, const char **topics,
                             size_t count_max);

void versions_free(struct versions *versions);

#endif
