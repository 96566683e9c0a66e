/* Replay (S7): the recorded events of a saga, given to the engine of this program, must lead to the
 * very same log and the very same state.
 *
 * Of each recorded event only what had happened is taken; what was decided on it is decided again:
 * by the production engine, with the context merged and its conditions looked at anew, and encoded
 * by the production codec. The bytes must be the recorded ones, the hash included. In the end the
 * state must be the stored one. Run by a program before it takes a store over, this tells whether
 * it would go on as the one before it would have.
 *
 * The first difference of a saga is told, field by field; nothing after it means anything, so the
 * next saga is looked at. So it is when the engine itself gives up (an assertion of its own fails
 * on a recorded event): that is a difference too. Memory is bounded by one event and one context,
 * whatever the store's size. Thread: one. */
#ifndef SAGA_VERIFY_REPLAY_REPLAY_H
#define SAGA_VERIFY_REPLAY_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "orchestrator/codec/catalog.h"
#include "orchestrator/runtime/port_store.h"

enum {
    SAGA_REPLAY_FIELDS_MAX = 64,     /* differing fields that are told of one saga */
    SAGA_REPLAY_TEXT_SIZE = 4096,    /* bytes of a field's text; longer ones are cut */
    SAGA_REPLAY_HEADLINE_SIZE = 512, /* bytes of an event in words */
};

/* What can be wrong with a saga. */
enum saga_replay_kind {
    SAGA_REPLAY_DIFFERENT,  /* this program decides or keeps something else */
    SAGA_REPLAY_BROKEN,     /* the log is not what a saga leaves: corrupt, a gap, a broken chain */
    SAGA_REPLAY_DEFINITION, /* its definition is not there, or this program cannot read it */
    SAGA_REPLAY_KIND_COUNT,
};

/* A field that differs; texts live until the callback returns. */
struct saga_replay_field {
    const char *name;
    const char *recorded;
    const char *now;
};

/* What is wrong with a saga; lives until the callback returns. */
struct saga_replay_finding {
    enum saga_replay_kind kind;
    struct saga_id id;
    const char *definition;
    uint64_t seq;         /* the event; 0: the saga as a whole */
    int64_t time_unix_ms; /* of the event; 0: none */
    const char *event;    /* in words, "REPLY stock CALL attempt 1: OK"; "": none */
    const char *message;  /* what is wrong, in words */
    const struct saga_replay_field *fields;
    size_t field_count;
};

typedef void saga_replay_told(void *user, const struct saga_replay_finding *finding);

struct saga_replay_counts {
    uint64_t sagas;   /* looked at */
    uint64_t streams; /* of definitions that were paused or let go on, looked at */
    uint64_t events;  /* given to the engine */
    uint64_t ended;   /* of the sagas, by what is stored of them */
    uint64_t in_flight;
    uint64_t same;
    uint64_t found[SAGA_REPLAY_KIND_COUNT]; /* sagas with a finding of a kind */
};

/* Where a replay stands, for whoever must tell it when this program ends at it (an assertion
 * outside the engine). */
struct saga_replay_place {
    char saga[SAGA_ID_TEXT_SIZE];
    uint64_t seq; /* the event that is being taken */
};

struct saga;
struct saga_definition;
struct saga_event;
struct saga_update;

/* The engine: saga_step, or a test's own. It holds nothing that would be lost when an assertion
 * fails in it. */
typedef void saga_replay_engine(const struct saga_definition *def, struct saga *saga,
                                const struct saga_event *ev, struct saga_update *up);

/* Tells whether a version that is not in the catalog was there and was dropped: of an act on its
 * definition its name and hash are all that is looked at. */
typedef bool saga_replay_dropped(void *user, const uint8_t hash[SAGA_DIGEST_SIZE]);

struct saga_replay_config {
    const struct saga_catalog *catalog; /* borrowed */
    struct saga_replay_place *place;    /* kept up to date; may be NULL */
    saga_replay_engine *engine;         /* NULL: saga_step */
    saga_replay_told *told;             /* may be NULL */
    saga_replay_dropped *dropped;       /* NULL: none was */
    void *user;
};

struct saga_replay;

/* Makes a replay. Owns: the caller. Errors: NO_MEMORY. */
enum saga_err saga_replay_new(const struct saga_replay_config *config,
                              struct saga_replay **replay) SAGA_WARN_UNUSED;
void saga_replay_free(struct saga_replay *replay);

/* The saga that is looked at; borrowed for the call. */
struct saga_replay_subject {
    struct saga_id id;
    const char *definition_name;
    const uint8_t *definition_hash; /* SAGA_DIGEST_SIZE bytes */
    bool ended;                     /* by what is stored of it; only counted */
};

/* Begins a saga. Gives false when its definition is not in the catalog: told; why (may be NULL)
 * adds the reason. Pre: the one before was ended. */
bool saga_replay_begin(struct saga_replay *replay, const struct saga_replay_subject *subject,
                       const char *why);

/* Gives the next recorded event: its number as its place says, and its bytes. Gives false when
 * nothing more is to be learnt of this saga: a finding was told, or memory is out (end says). */
bool saga_replay_event(struct saga_replay *replay, uint64_t seq, struct saga_bytes event);

/* Tells a finding about the saga's log from outside: an event that cannot even be read. */
void saga_replay_break(struct saga_replay *replay, uint64_t seq, const char *message);

/* Compares the state that came out with the stored row, its record, context and last hash. */
void saga_replay_row(struct saga_replay *replay, const struct saga_row *row);

/* Begins the stream of acts on a definition (saga_runtime_pause_stream): its events are given as
 * those of a saga. */
void saga_replay_begin_stream(struct saga_replay *replay, struct saga_id stream,
                              const char *definition);

/* Compares what came out with the stored row of the definition. */
void saga_replay_pause_row(struct saga_replay *replay, const struct saga_pause_row *row);

/* Compares one more text of the state, for whoever has no row. Nothing is told before end. */
void saga_replay_compare(struct saga_replay *replay, const char *name, const char *recorded,
                         const char *now);

/* Gives the state so far, valid until the next event; NULL before START. */
const struct saga *saga_replay_state(const struct saga_replay *replay);
struct saga_bytes saga_replay_context(const struct saga_replay *replay);

/* Ends the saga: tells what differs, counts. Errors: NO_MEMORY. */
enum saga_err saga_replay_end(struct saga_replay *replay) SAGA_WARN_UNUSED;

const struct saga_replay_counts *saga_replay_counts(const struct saga_replay *replay);

/* Gives the name of a kind: "DIFFERENT". */
const char *saga_replay_kind_name(enum saga_replay_kind kind);

/* ---- A whole store (store.c) ---- */

struct saga_replay_store_config {
    struct saga_store_port store; /* only what saga_store_sqlite_inspect allows is used */
    /* The file of the store: then the books around the log are looked at too (books.h), with all
     * sagas. NULL: they are not. */
    const char *path;
    saga_replay_told *told;
    struct saga_replay_place *place; /* these two as of saga_replay_config */
    saga_replay_engine *engine;
    /* Called after each page of sagas; returns false to stop. May be NULL. */
    bool (*progress)(void *user, const struct saga_replay_counts *counts);
    void *user;
};

/* Runs every saga of a store again, the newest first, and the acts on definitions; sagas that start
 * meanwhile are left out. The definitions are those of the store. Errors: the store's (detail names
 * the saga after which it was met), NO_MEMORY, CLOSED (progress said so); counts are what was done.
 */
enum saga_err saga_replay_store(const struct saga_replay_store_config *config,
                                struct saga_replay_counts *counts,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Runs one saga again. Errors: as above; NOT_FOUND: it is not there. */
enum saga_err saga_replay_store_one(const struct saga_replay_store_config *config,
                                    struct saga_id id, struct saga_replay_counts *counts,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
