/* Inside versions. */
#ifndef SAGA_DAEMON_VERSIONS_INTERNAL_H
#define SAGA_DAEMON_VERSIONS_INTERNAL_H

#include "orchestrator/codec/catalog.h"
#include "orchestrator/daemon/versions.h"

struct versions {
    struct saga_catalog *catalog;
    struct saga_catalog *peeks; /* versions that were only shown */
    /* The daemon's own, until they are kept. */
    struct saga_bytes own_set;
    const struct saga_schema *own;
    int64_t own_unix_ms;
    struct saga_store_port store;
    struct transport *transport;
    struct saga_runtime *runtime;
    bool dirty;           /* something may have been loaded that nothing needs */
    bool addresses_dirty; /* addresses may be stored that nothing needs */
    bool drops_dirty;     /* versions likewise */
    char topics[SAGA_REPLY_TOPICS_MAX][SAGA_TOPIC_NAME_MAX + 1];
    size_t topic_count;
    /* Memory of the last report. */
    struct versions_applied *applied;
    const struct saga_decl **selected;
    struct saga_version **made;
    size_t selected_count;
    const char *nowhere[SAGA_PARTICIPANTS_MAX];
    const char *overruled[SAGA_PARTICIPANTS_MAX];
    struct versions_moved moved[SAGA_PARTICIPANTS_MAX];
};

/* Gives the services of a version numbers, and notes their reply topics. Errors: LIMIT, NO_MEMORY;
 * some may have been given then. */
enum saga_err versions_number(struct versions *versions, struct saga_version *version,
                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells whether a definition calls a service, also for an undo. */
bool versions_decl_calls(const struct saga_decl *decl, const char *service);

/* Tells whether a version that is current, or that sagas in flight need, calls a service. */
bool versions_is_called(const struct versions *versions, const char *service);

/* Tells whether a reply topic is noted. */
bool versions_has_topic(const struct versions *versions, const char *topic);

#endif
