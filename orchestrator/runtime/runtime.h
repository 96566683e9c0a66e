/* The runtime: sagas in flight, their timers, and the turn: events -> engine -> one store
 * transaction -> sends and answers.
 *
 *     turn_begin(now)  start/reply/durable/operate…  timers  turn_end
 *
 * turn_end commits everything of the turn at once (group commit), and only then sends commands and
 * answers clients (S6). It has no thread, no clock and no socket of its own: the daemon's loop
 * drives it, and so does a simulator.
 *
 * When the store fails, nothing of the turn leaves, and the runtime is failed for good: it takes
 * nothing further. A new process recovers from what is durable.
 *
 * Thread: one, the loop's. */
#ifndef SAGA_RUNTIME_RUNTIME_H
#define SAGA_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "orchestrator/engine/engine.h"
#include "orchestrator/runtime/port_client.h"
#include "orchestrator/runtime/port_codec.h"
#include "orchestrator/runtime/port_store.h"
#include "orchestrator/runtime/port_transport.h"

struct saga_runtime;

struct saga_runtime_config {
    struct saga_store_port store;
    struct saga_transport_port transport;
    struct saga_client_port client;
    const struct saga_codec_ops *codec;
    const char *owner;        /* for the lease: who this is */
    uint64_t seed;            /* of ids and jitter */
    size_t live_count_max;    /* 0: SAGA_LIVE_COUNT_MAX; starts beyond are refused with
                                 RESOURCE_EXHAUSTED */
    size_t running_count_max; /* 0: no limit below live_count_max; of those, sagas going forward: a
                                 backlog must not make every command wait longer than its attempt
                                 lasts */
    size_t recover_page_max;  /* 0, or more than that: SAGA_TURN_COUNT_MAX; sagas that recovery
                                 loads, a resume begins or a clock gone back wakes in one turn */
    int64_t cursor_delay_ms;  /* how long a relay cursor or a consumed offset may wait for a turn
                                 that commits anyway */
};

/* Counts since start; read by the loop's thread. */
struct saga_runtime_counts {
    uint64_t started, completed, compensated, parked, stalled, refused;
    uint64_t events, ignored, commands, turns, commits;
};

/* Makes a runtime and takes the store's lease. Errors: the store's. Owns: the caller; the ports
 * must outlive it. */
enum saga_err saga_runtime_new(const struct saga_runtime_config *config,
                               struct saga_runtime **runtime,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Frees; what is in flight is durable. Does not close the store. */
void saga_runtime_free(struct saga_runtime *runtime);

/* Makes a definition version known; `current`: new sagas of its name begin on it. The version is
 * borrowed until it is forgotten. Errors: LIMIT (SAGA_DEFINITIONS_MAX). */
enum saga_err saga_runtime_add_version(struct saga_runtime *runtime,
                                       const struct saga_version *version,
                                       bool current) SAGA_WARN_UNUSED;

/* Tells how many more versions can be made known. */
size_t saga_runtime_version_room(const struct saga_runtime *runtime);

/* Forgets versions that are not current, that no saga in flight began with, and that are no child
 * of one that is kept. Gives whether there were any; cheap when nothing has changed. Between turns.
 */
bool saga_runtime_forget_idle(struct saga_runtime *runtime);

/* Finds a version by hash, or the current one by name; NULL when there is none. */
const struct saga_version *saga_runtime_version(const struct saga_runtime *runtime,
                                                const uint8_t hash[SAGA_DIGEST_SIZE]);
const struct saga_version *saga_runtime_current(const struct saga_runtime *runtime,
                                                const char *name);

/* Walks the versions; live: sagas in flight on it. NULL: the place is free. */
size_t saga_runtime_version_count(const struct saga_runtime *runtime);
const struct saga_version *saga_runtime_version_at(const struct saga_runtime *runtime, size_t index,
                                                   bool *current, uint64_t *live);

/* Loads the next page of unfinished sagas and gives each RECOVERED, in a turn of its own. *more
 * tells whether to call again. Errors: the store's; CORRUPT when a record cannot be read or its
 * definition is missing (detail names the saga). */
enum saga_err saga_runtime_recover(struct saga_runtime *runtime, int64_t now_unix_ms, bool *more,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* ---- A turn ---- */

void saga_runtime_turn_begin(struct saga_runtime *runtime, int64_t now_unix_ms);

/* A start. All borrowed. */
struct saga_start {
    const char *definition;
    const char *key;
    struct saga_bytes input;
    const char *traceparent;
    void *ticket; /* answered after commit, or at once in turn_end when refused */
};
void saga_runtime_start(struct saga_runtime *runtime, const struct saga_start *start);

/* A reply, or what stands for one. All borrowed. */
struct saga_runtime_reply {
    struct saga_id saga_id;
    uint8_t step;          /* index, or SAGA_STEP_ALL: step_name counts */
    const char *step_name; /* beside an index: what the reply itself says; NULL or "": nothing */
    enum saga_op op;
    uint32_t attempt; /* 0: not told; counts as the present one */
    uint32_t code;
    const char *reason;
    const char *message;
    int64_t retry_after_ms;
    struct saga_bytes payload;
    bool replayed;
    bool empty;
    bool not_sent;     /* it certainly did not leave */
    const char *topic; /* of a reply record: it counts only for a command of that service and road;
                          NULL: by NNG */
};
void saga_runtime_reply(struct saga_runtime *runtime, const struct saga_runtime_reply *reply);

/* Kafka has a command record. */
void saga_runtime_durable(struct saga_runtime *runtime, struct saga_id id, uint8_t step,
                          enum saga_op op, uint32_t attempt);

/* An operator's act. All borrowed. */
struct saga_operate {
    struct saga_id saga_id;
    enum saga_act act;
    const char *step_name; /* "": no step in particular */
    const char *who;
    const char *why;
    void *ticket;
};
void saga_runtime_operate(struct saga_runtime *runtime, const struct saga_operate *operate);

/* Pauses a definition, all its versions (SAGA_ACT_PAUSE), or lets it go on (SAGA_ACT_RESUME). While
 * it is paused, new starts are refused (UNAVAILABLE, DEFINITION_PAUSED) and its sagas begin no
 * step; what is out goes on, retries, undos and deadlines included. Children of paused definitions
 * start and are held. When it goes on, what was held begins, a page of sagas a turn. The act is
 * durable and an audit event of the definition's own stream (S12): saga_runtime_pause_stream names
 * it; each saga for which something begins gets an event too. The answer says `existing` when it
 * was so already, and nothing was done. All borrowed. */
struct saga_pause_act {
    const char *definition;
    enum saga_act act; /* PAUSE or RESUME */
    const char *who;   /* at most SAGA_WHO_MAX bytes */
    const char *why;   /* at most SAGA_WHY_MAX bytes */
    void *ticket;
};
void saga_runtime_pause(struct saga_runtime *runtime, const struct saga_pause_act *act);

/* Applies definitions: each version becomes the one on which new sagas of its name begin; sagas in
 * flight keep theirs. In the turn's transaction, with an audit event for each in its definition's
 * own stream (S12): all of it or nothing. What is refused (RESOURCE_EXHAUSTED,
 * TOO_MANY_DEFINITIONS) has changed nothing. All borrowed, but the versions: as in
 * saga_runtime_add_version. */
struct saga_apply_item {
    const struct saga_version *version;
    struct saga_bytes descriptor_set; /* that declares it */
};
struct saga_apply_addresses {
    const char *service;
    const char *const *addresses; /* replace those before */
    size_t count;
};
struct saga_apply {
    const struct saga_apply_item *items;
    size_t item_count; /* 0: nothing is done, and OK is answered at the end of the turn */
    const struct saga_apply_addresses *participants;
    size_t participant_count;
    const char *who; /* at most SAGA_WHO_MAX bytes */
    const char *why; /* at most SAGA_WHY_MAX bytes */
    void *ticket;
};
void saga_runtime_apply(struct saga_runtime *runtime, const struct saga_apply *apply);

/* Forgets the stored addresses of a service, in the turn's transaction. */
void saga_runtime_forget_addresses(struct saga_runtime *runtime, const char *service);

/* Lets go of a stored version that no saga ever began with (port_store.h, drop_definition), in the
 * turn's transaction. Pre: it is not known. */
void saga_runtime_drop_version(struct saga_runtime *runtime, const uint8_t hash[SAGA_DIGEST_SIZE]);

/* Removes a definition: no saga of it starts any more (NOT_FOUND, DEFINITION_REMOVED), unless its
 * start was taken before (S10); those in flight go on. Recorded as saga_runtime_pause does. The
 * answer says `existing` when it was so already, and nothing was done. All borrowed. */
struct saga_remove {
    const char *definition;
    const char *who;
    const char *why;
    void *ticket;
};
void saga_runtime_remove(struct saga_runtime *runtime, const struct saga_remove *remove);

/* Tells whether a definition was removed; how many sagas of all its versions are in flight. */
bool saga_runtime_removed(const struct saga_runtime *runtime, const char *definition);
uint64_t saga_runtime_live_of(const struct saga_runtime *runtime, const char *definition);

/* Tells how many sagas in flight began with a version. */
uint64_t saga_runtime_live_at(const struct saga_runtime *runtime,
                              const struct saga_version *version);

/* A relay has published up to a position; a consumer has gone on. Durable with the next commit, at
 * the latest after cursor_delay_ms. */
void saga_runtime_cursor(struct saga_runtime *runtime, const char *name, int64_t position);
void saga_runtime_offset(struct saga_runtime *runtime, const char *topic, int32_t partition,
                         int64_t next_offset);

/* Ends the turn: fires what is due, commits, sends, answers. force_cursors: cursors and offsets do
 * not wait. Errors: the store's; the runtime has failed. */
enum saga_err saga_runtime_turn_end(struct saga_runtime *runtime, bool force_cursors,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* When a turn is wanted even if nothing arrives; 0: never. */
int64_t saga_runtime_next_due(const struct saga_runtime *runtime);

/* ---- Looking (between turns: all is durable) ---- */

/* A saga in flight or as stored. Borrowed until the next call into the runtime. */
struct saga_look {
    const struct saga_version *version; /* NULL: its definition is not known any more */
    struct saga saga;
    struct saga_texts texts;
    struct saga_bytes context;
    const char *definition_name;
    const uint8_t *definition_hash;
    const char *start_key;
    int64_t updated_unix_ms;
};
enum saga_err saga_runtime_look(struct saga_runtime *runtime, struct saga_id id,
                                struct saga_look *look,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Finds the child saga that a step of a saga runs or has run. Errors: NOT_FOUND (the step runs
 * none, or has not started it); the store's. */
struct saga_child {
    struct saga_id id;
    enum saga_state state;
};
enum saga_err saga_runtime_child(struct saga_runtime *runtime, const struct saga_look *parent,
                                 uint8_t step, struct saga_child *child,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells whether a definition is paused, and by whom. Texts are borrowed until the next act. */
struct saga_pause_look {
    const char *who;
    const char *why;
    int64_t since_unix_ms;
};
bool saga_runtime_paused(const struct saga_runtime *runtime, const char *definition,
                         struct saga_pause_look *look);
size_t saga_runtime_paused_count(const struct saga_runtime *runtime);

/* Gives the id under which acts on a definition are recorded: a UUIDv8 of its name's digest. */
struct saga_id saga_runtime_pause_stream(const struct saga_codec_ops *codec,
                                         const char *definition);

size_t saga_runtime_live_count(const struct saga_runtime *runtime);
const struct saga_runtime_counts *saga_runtime_counts(const struct saga_runtime *runtime);
uint64_t saga_runtime_epoch(const struct saga_runtime *runtime);
bool saga_runtime_failed(const struct saga_runtime *runtime);
/* What made it fail; OK as long as it has not. */
enum saga_err saga_runtime_failure(const struct saga_runtime *runtime);

#endif
