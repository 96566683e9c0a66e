/* A world around one runtime: the real SQLite store and codec, the schema of the ordering system, a
 * transport and clients that only note what they are given, and a log of the order of things. Any
 * call into the store can be made to fail. */
#ifndef SAGA_TESTS_RUNTIME_WORLD_H
#define SAGA_TESTS_RUNTIME_WORLD_H

#include "common/wire/schema.h"
#include "orchestrator/runtime/runtime.h"

enum { WORLD_EXTRA_MAX = 8, WORLD_SENT_MAX = 8192, WORLD_ANSWERS_MAX = 64, WORLD_TICKETS = 64 };

struct world {
    char path[128];
    struct saga_schema *schema;
    struct saga_version version; /* create-order */
    struct saga_version async;   /* create-order-async */
    /* Beside those: all of a descriptor set's; empty unless world_open_with made it. */
    struct saga_buf extra_set;
    struct saga_schema *extra_schema;
    struct saga_version extras[WORLD_EXTRA_MAX];
    size_t extra_count;
    struct saga_store_port inner; /* the SQLite store */
    struct saga_store_port store; /* what the runtime sees */
    struct saga_runtime *runtime;
    int64_t now;
    /* Noted. */
    struct saga_outgoing sent[WORLD_SENT_MAX];
    size_t sent_count;
    struct saga_answer answers[WORLD_ANSWERS_MAX];
    char reasons[WORLD_ANSWERS_MAX][64];
    size_t answer_count;
    unsigned changed_count, ended_count;
    unsigned commits;
    bool outbox_woken;
    unsigned sends_before_commit; /* must stay 0 (S6) */
    unsigned answers_before_commit;
    bool dirty; /* written since the last commit */
    /* Faults: the nth store call from now on fails; 0: none. */
    unsigned fail_at;
    size_t live_max; /* sagas in flight; 0: few */
    size_t page_max; /* as of the runtime, from its next opening on */
    bool reads_fail; /* find_key counts and fails too */
    unsigned calls;
};

/* Makes the world on a new file. */
void world_open(struct world *world);

/* The same with the sagas of a descriptor set's file beside those of the ordering system. */
void world_open_with(struct world *world, const char *set_path);

/* Ends the runtime as a crash would (nothing is flushed), and makes a new one that recovers. */
void world_crash(struct world *world);

/* Only the runtime and store; the file stays. */
void world_close_runtime(struct world *world);
enum saga_err world_open_runtime(struct world *world);

void world_fini(struct world *world);

/* Starts saga create-order with an order id as input and key. */
void world_start(struct world *world, const char *key, int64_t order_id);

/* Answers the i-th sent command with a code and a payload. */
void world_reply(struct world *world, size_t sent, enum saga_code code, struct saga_bytes payload);

/* Pauses a definition or lets it go on, inside a turn. */
void world_pause(struct world *world, const char *definition, enum saga_act act);

/* Begins and ends a turn around nothing. */
enum saga_err world_turn(struct world *world);

#endif
