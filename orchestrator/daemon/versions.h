/* The definition versions that a daemon runs: those that are current, and those that sagas in
 * flight began with, with the sagas that run in them. They come from the daemon's own descriptor
 * set, from the store, and from what is applied while it runs; what nothing needs any more is let
 * go.
 *
 * Thread: the loop's. */
#ifndef SAGA_DAEMON_VERSIONS_H
#define SAGA_DAEMON_VERSIONS_H

#include "common/wire/envelope.h"
#include "common/wire/schema.h"
#include "orchestrator/daemon/transport.h"
#include "orchestrator/runtime/runtime.h"

struct versions;

/* Makes them of the daemon's own FileDescriptorSet, borrowed until they are freed. A set with
 * findings, or without a saga, is refused: logged, INVALID. Errors: of the schema; NO_MEMORY. */
enum saga_err versions_new(struct saga_bytes descriptor_set, struct versions **versions,
                           struct saga_err_detail *detail) SAGA_WARN_UNUSED;

struct versions_config {
    struct saga_store_port store;
    struct transport *transport;
    struct saga_runtime *runtime;
    int64_t now_unix_ms;
};

/* Loads what is needed from the store, as if the daemon's own definitions stood in it: nothing is
 * written. A definition of its own is to be current if the store has never seen its hash, unless
 * its name was removed: what was applied stays. Errors: of the store; LIMIT (detail says which).
 * Pre: the store's lease is taken; transport is started. */
enum saga_err versions_load(struct versions *versions, const struct versions_config *config,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Writes the daemon's own definitions, as they were loaded, and the sagas that run in those that
 * are loaded, so that all that sagas can begin with is stored; the last step of a start, so that
 * one that fails has changed nothing: the next one does as before. Errors: the store's. Between
 * turns, before the first request. */
enum saga_err versions_keep(struct versions *versions,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* What is to be applied. All borrowed for the call. */
struct versions_apply {
    struct saga_bytes descriptor_set;
    const char *const *names; /* only these, with the sagas that run in them; none: all */
    size_t name_count;
    const struct transport_addresses *participants;
    size_t participant_count; /* at most SAGA_PARTICIPANTS_MAX */
    const char *who;
    const char *why;
    bool dry_run;
    void *ticket;
};

/* What applying does to a name; saga.v1.ApplyOutcome. */
enum versions_outcome {
    VERSIONS_ADDED = 1,
    VERSIONS_REPLACED = 2,
    VERSIONS_UNCHANGED = 3,
    VERSIONS_RESTORED = 4,
};

struct versions_applied {
    const char *name; /* lives as long as the version */
    uint8_t hash[SAGA_DIGEST_SIZE];
    enum versions_outcome outcome;
    bool has_previous;
    uint8_t previous_hash[SAGA_DIGEST_SIZE];
    uint64_t previous_live_count;
};

/* A service that is called at other addresses from now on. */
struct versions_moved {
    const struct transport_addresses *after; /* of the request */
    char before[SAGA_ADDRESSES_MAX][SAGA_ADDRESS_SIZE_MAX + 1];
    size_t before_count;
};

struct versions_report {
    struct versions_applied *applied; /* by name */
    size_t applied_count;
    const char **nowhere; /* services without address */
    size_t nowhere_count;
    const char **overruled; /* services whose applied addresses are not used */
    size_t overruled_count;
    const struct versions_moved *moved; /* in the order of the request */
    size_t moved_count;
};

/* Checks a set and applies it in the runtime's present turn, which answers the ticket after its
 * commit; a dry run changes nothing and is answered likewise. Returns false when it is refused:
 * *status says why, nothing has happened, the ticket is not answered. *report is valid until the
 * next call into versions. */
bool versions_apply(struct versions *versions, const struct versions_apply *apply,
                    struct versions_report *report, struct saga_status *status,
                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* In a turn, before its inputs: forgets stored addresses of services that nothing calls any more,
 * and lets go of stored versions that no saga ever began with and that nothing needs, a few at a
 * time. NULL is nothing. */
void versions_turn(struct versions *versions);

/* Between turns: lets go of versions, schemas and services that nothing needs any more. NULL is
 * nothing. */
void versions_settle(struct versions *versions);

/* Finds a version that may have been let go, for showing a saga that has ended: its schema, names
 * and steps, no participants. Valid until the next call into versions. NULL: it is not in the
 * store, or cannot be read. Between turns. */
const struct saga_version *versions_peek(struct versions *versions,
                                         const uint8_t hash[SAGA_DIGEST_SIZE]);

/* Gives the addresses in use of a service. Returns how many. Texts live until the next call into
 * versions. NULL versions have none. */
size_t versions_addresses(const struct versions *versions, const char *service,
                          const char *addresses[SAGA_ADDRESSES_MAX]);

/* Gives the reply topics of all services that were called since the start, in the order in which
 * they came. Texts live as long as versions. */
size_t versions_reply_topics(const struct versions *versions,
                             const char *topics[SAGA_REPLY_TOPICS_MAX]);

void versions_free(struct versions *versions);

#endif
