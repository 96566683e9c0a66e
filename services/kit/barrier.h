/* The barrier (docs/semantics.md, B1-B8): what a participant has done and answered, one row for
 * each (saga, step, op), written in the transaction of the effect itself. Its rows are the
 * service's outbox too: `position` is their order.
 *
 * It is SQL and decisions only; it runs no handler and begins no transaction. Thread: the kit's
 * worker. */
#ifndef SAGA_KIT_BARRIER_H
#define SAGA_KIT_BARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/op.h"
#include "common/sql/sql.h"
#include "common/wire/envelope.h"

struct saga_barrier;

enum { SAGA_BARRIER_DIGEST_SIZE = 32 };

/* What to do with a command. */
enum saga_barrier_verdict {
    SAGA_BARRIER_RUN,    /* run the handler, then store its reply if it is definitive */
    SAGA_BARRIER_EMPTY,  /* B2: run nothing, store an empty success */
    SAGA_BARRIER_REPLAY, /* B1, B4, B6: run nothing, answer what is stored */
    SAGA_BARRIER_REFUSE, /* B3, B5, fencing, limit: run nothing, store nothing, answer the status */
};

/* A verdict with what goes with it. */
struct saga_barrier_pass {
    enum saga_barrier_verdict verdict;
    uint8_t digest[SAGA_BARRIER_DIGEST_SIZE]; /* of method and payload */
    struct saga_status status;                /* REPLAY, REFUSE; in the arena */
    struct saga_bytes payload;                /* REPLAY; in the arena */
    bool empty;                               /* REPLAY */
    bool wrote;                               /* the barrier changed a row: commit */
};

/* Makes the barrier's tables where they are missing. Pre: no transaction is open. */
enum saga_err saga_barrier_migrate(struct saga_sql *sql,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Opens the barrier of a database. Owns: the caller, until close. Errors: NO_MEMORY. */
enum saga_err saga_barrier_open(struct saga_sql *sql,
                                struct saga_barrier **barrier) SAGA_WARN_UNUSED;

/* Frees. NULL is nothing. */
void saga_barrier_close(struct saga_barrier *barrier);

/* Decides on a command with op CALL or UNDO. starter_undo: no call command ever precedes this undo,
 * so B2 does not apply. Pre: a transaction is open. Errors: those of the database; then the
 * transaction must be given up. */
enum saga_err saga_barrier_enter(struct saga_barrier *barrier, const struct saga_command *command,
                                 bool starter_undo, struct saga_arena *arena,
                                 struct saga_barrier_pass *pass,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells whether a reply is to be stored: successes, and a call's definitive no (B6); undos are
 * tried until they succeed. */
bool saga_barrier_keeps(enum saga_op op, uint32_t code);

/* A row to be written. */
struct saga_barrier_row {
    const struct saga_command *command;
    const struct saga_reply *reply;
    struct saga_bytes digest; /* saga_barrier_pass.digest */
    enum saga_via via;
    int64_t now_unix_ms;
};

/* Stores the reply to a command that saga_barrier_enter let RUN, or found EMPTY. Pre:
 * saga_barrier_keeps. Errors: as enter. */
enum saga_err saga_barrier_store(struct saga_barrier *barrier, const struct saga_barrier_row *row,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* A Kafka record that could not be used: a row of its own, without saga, between the others (design
 * section 10). */
struct saga_barrier_letter {
    struct saga_bytes key;
    struct saga_bytes value;
    struct saga_bytes headers; /* as effects.c frames them */
    const char *reason;
};

/* Stores a dead letter to be published. Errors: as enter. */
enum saga_err saga_barrier_store_letter(struct saga_barrier *barrier,
                                        const struct saga_barrier_letter *letter,
                                        int64_t now_unix_ms,
                                        struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* B7: deletes the oldest rows up to a position (what the relay has published) that are older than a
 * time; at most count_max rows are looked at. *count: rows deleted. Errors: as enter. */
enum saga_err saga_barrier_prune(struct saga_barrier *barrier, int64_t position_max,
                                 int64_t before_unix_ms, size_t count_max, int64_t *count,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
