/* The store port: what the runtime needs of a database. Implemented by orchestrator/store/ (one
 * folder each); suites in tests run on every implementation.
 *
 * Thread: the loop's, except `relay_*` which have a connection of their own and run on the relay's
 * thread. Every text and bytes given in is borrowed for the call; what comes out lives until the
 * next call. Any FATAL error means that durability may be lost: the caller stops. */
#ifndef SAGA_RUNTIME_PORT_STORE_H
#define SAGA_RUNTIME_PORT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/op.h"

enum { SAGA_DIGEST_SIZE = 32 };

/* A saga as stored. `record` is the codec's encoding of the engine's state. */
struct saga_row {
    struct saga_id id;
    uint8_t definition_hash[SAGA_DIGEST_SIZE];
    const char *definition_name;
    const char *start_key;
    uint8_t start_digest[SAGA_DIGEST_SIZE]; /* of the start's input: the same key with another is
                                               refused (S10) */
    uint8_t state;                          /* enum saga_state */
    bool live;                              /* not ended: to be loaded at recovery */
    uint64_t seq;
    int64_t created_unix_ms;
    int64_t updated_unix_ms;
    int64_t ended_unix_ms;
    struct saga_bytes record;
    struct saga_bytes context;
    uint8_t last_hash[SAGA_DIGEST_SIZE]; /* of its last audit event */
};

/* A record for Kafka that is a command of a saga; published by the relay after commit. */
struct saga_outbox_row {
    int64_t position; /* given by the store, ascending */
    struct saga_id id;
    uint8_t step; /* index */
    enum saga_op op;
    uint32_t attempt;
    const char *topic;
    const char *traceparent;
    int64_t time_unix_ms;
    struct saga_bytes value; /* encoded saga.v1.Command */
};

/* An audit event as stored and published to saga-audit. */
struct saga_audit_row {
    int64_t position; /* given by the store, ascending over all sagas */
    struct saga_id id;
    uint64_t seq;
    int64_t time_unix_ms;
    struct saga_bytes event; /* encoded saga.v1.AuditEvent */
};

/* Events of one saga. */
struct saga_audit_range {
    struct saga_id id;
    uint64_t after_seq; /* those with a higher number */
    size_t count_max;
};

/* What the acts on a definition have come to (S12). There is a row from the first act on. */
struct saga_pause_row {
    const char *definition_name;
    bool paused;
    bool removed; /* no version of it is current, until one is applied again */
    uint64_t seq; /* of the act, in the definition's stream of audit events */
    uint8_t last_hash[SAGA_DIGEST_SIZE]; /* of the act's event */
    const char *who;                     /* who has paused it or let it go on last; "": nobody */
    const char *why;
    int64_t since_unix_ms;
};

/* A definition version as it is listed: without its descriptor set. */
struct saga_definition_row {
    const uint8_t *hash; /* SAGA_DIGEST_SIZE bytes */
    const char *name;
    bool current;
    bool dropped;            /* it cannot be found any more (drop_definition) */
    int64_t created_unix_ms; /* when it was first put */
};

/* Where a service is. */
struct saga_participant_row {
    const char *service;
    const char *address;
};

struct saga_list_filter {
    int state;                   /* enum saga_state; 0: all */
    const char *definition_name; /* NULL: all */
    bool has_before;
    struct saga_id before; /* only older ids */
    size_t count_max;
};

/* Called for each row; returns false to stop. */
typedef bool saga_row_visit(void *user, const struct saga_row *row);
typedef bool saga_audit_visit(void *user, const struct saga_audit_row *row);
typedef bool saga_definition_visit(void *user, const uint8_t hash[SAGA_DIGEST_SIZE],
                                   const char *name, struct saga_bytes descriptor_set,
                                   bool current);
typedef bool saga_definition_row_visit(void *user, const struct saga_definition_row *row);
typedef bool saga_hash_visit(void *user, const uint8_t hash[SAGA_DIGEST_SIZE]);
typedef bool saga_participant_visit(void *user, const struct saga_participant_row *row);
typedef bool saga_pause_visit(void *user, const struct saga_pause_row *row);

struct saga_store; /* the implementation's */

struct saga_store_ops {
    /* One transaction a turn. commit returns OK only when the bytes are on disk. */
    enum saga_err (*begin)(struct saga_store *store, struct saga_err_detail *detail);
    enum saga_err (*commit)(struct saga_store *store, struct saga_err_detail *detail);
    void (*rollback)(struct saga_store *store);

    /* Writes, inside a transaction. insert: EXISTS when definition_name and start_key are there
     * already; INTERNAL when the version that it begins with is not stored: nobody could ever read
     * the saga again. */
    enum saga_err (*insert_saga)(struct saga_store *store, const struct saga_row *row,
                                 struct saga_err_detail *detail);
    enum saga_err (*update_saga)(struct saga_store *store, const struct saga_row *row,
                                 struct saga_err_detail *detail);
    enum saga_err (*append_audit)(struct saga_store *store, const struct saga_audit_row *row,
                                  struct saga_err_detail *detail);
    enum saga_err (*append_outbox)(struct saga_store *store, const struct saga_outbox_row *row,
                                   int64_t *position, struct saga_err_detail *detail);
    /* Next offset to read of a consumed partition; relay cursor ("audit", "outbox").
     * set_cursor("outbox") may delete the rows up to it. */
    enum saga_err (*set_offset)(struct saga_store *store, const char *topic, int32_t partition,
                                int64_t next_offset, struct saga_err_detail *detail);
    enum saga_err (*set_cursor)(struct saga_store *store, const char *name, int64_t position,
                                struct saga_err_detail *detail);
    /* A definition version; the newest given for a name is current. */
    enum saga_err (*put_definition)(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                    const char *name, struct saga_bytes descriptor_set,
                                    int64_t now_unix_ms, struct saga_err_detail *detail);
    /* Keeps the version of a saga that runs in another, with the set of the other, which is stored:
     * not current, unless it is stored already; then it stays as it is. */
    enum saga_err (*keep_child)(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                const char *name, const uint8_t parent_hash[SAGA_DIGEST_SIZE],
                                int64_t now_unix_ms, struct saga_err_detail *detail);
    /* From now on no version of this name is current. */
    enum saga_err (*remove_definition)(struct saga_store *store, const char *name,
                                       struct saga_err_detail *detail);
    /* Lets go of a version that is not current and that no saga ever began with, and of its set if
     * no other has it; another version stays. It is found no more, but list_versions still tells
     * that there was one, and when. */
    enum saga_err (*drop_definition)(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                     struct saga_err_detail *detail);
    /* Puts the addresses of a service in the place of those before; none: forgets the service. */
    enum saga_err (*put_participant)(struct saga_store *store, const char *service,
                                     const char *const *addresses, size_t count,
                                     struct saga_err_detail *detail);
    /* Puts the row of a definition's last act in the place of the one before. */
    enum saga_err (*put_pause)(struct saga_store *store, const struct saga_pause_row *row,
                               struct saga_err_detail *detail);
    /* Takes the lease with an epoch one higher than before (S8); begin fails with FENCED once
     * another has taken it. */
    enum saga_err (*take_lease)(struct saga_store *store, const char *owner, uint64_t *epoch,
                                struct saga_err_detail *detail);

    /* Reads. NOT_FOUND when there is none. */
    enum saga_err (*find_saga)(struct saga_store *store, struct saga_id id, struct saga_row *row,
                               struct saga_err_detail *detail);
    enum saga_err (*find_key)(struct saga_store *store, const char *definition_name,
                              const char *start_key, struct saga_row *row,
                              struct saga_err_detail *detail);
    /* Live sagas, ascending by id, after an id; at most count_max a call: recovery streams. */
    enum saga_err (*load_live)(struct saga_store *store, struct saga_id after, size_t count_max,
                               saga_row_visit *visit, void *user, struct saga_err_detail *detail);
    enum saga_err (*list_sagas)(struct saga_store *store, const struct saga_list_filter *filter,
                                saga_row_visit *visit, void *user, struct saga_err_detail *detail);
    enum saga_err (*list_audit)(struct saga_store *store, const struct saga_audit_range *range,
                                saga_audit_visit *visit, void *user,
                                struct saga_err_detail *detail);
    enum saga_err (*list_definitions)(struct saga_store *store, saga_definition_visit *visit,
                                      void *user, struct saga_err_detail *detail);
    /* One version with its set. NOT_FOUND when there is none; then nothing is visited. */
    enum saga_err (*find_definition)(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                     saga_definition_visit *visit, void *user,
                                     struct saga_err_detail *detail);
    /* Versions of a name (NULL: of all, by name), also those that were dropped: the current one
     * first, then the newest. */
    enum saga_err (*list_versions)(struct saga_store *store, const char *name, size_t count_max,
                                   saga_definition_row_visit *visit, void *user,
                                   struct saga_err_detail *detail);
    /* Hashes that live sagas began with, each once. */
    enum saga_err (*list_live_versions)(struct saga_store *store, saga_hash_visit *visit,
                                        void *user, struct saga_err_detail *detail);
    /* Hashes of versions that drop_definition would let go, in any order. */
    enum saga_err (*list_unused_versions)(struct saga_store *store, size_t count_max,
                                          saga_hash_visit *visit, void *user,
                                          struct saga_err_detail *detail);
    /* By service, in the order in which they were given. */
    enum saga_err (*list_participants)(struct saga_store *store, saga_participant_visit *visit,
                                       void *user, struct saga_err_detail *detail);
    /* By name. */
    enum saga_err (*list_pauses)(struct saga_store *store, saga_pause_visit *visit, void *user,
                                 struct saga_err_detail *detail);
    int64_t (*offset)(struct saga_store *store, const char *topic,
                      int32_t partition); /* -1: none. Thread: any */
    /* 0: none; -1: it cannot be read. Thread: loop. */
    int64_t (*cursor)(struct saga_store *store, const char *name);

    /* The relay's side, each on its relay's own thread with its own read connection: rows after a
     * position, ascending. */
    enum saga_err (*relay_audit)(struct saga_store *store, int64_t after, size_t count_max,
                                 saga_audit_visit *visit, void *user,
                                 struct saga_err_detail *detail);
    enum saga_err (*relay_outbox)(struct saga_store *store, int64_t after, size_t count_max,
                                  bool (*visit)(void *user, const struct saga_outbox_row *row),
                                  void *user, struct saga_err_detail *detail);

    void (*close)(struct saga_store *store);
};

/* A store: its operations and itself. */
struct saga_store_port {
    const struct saga_store_ops *ops;
    struct saga_store *store;
};

#endif
