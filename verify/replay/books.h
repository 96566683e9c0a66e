/* The books around the log: what a store keeps beside the events of a saga and its row, looked at
 * in one reading of the file (S6, S9, S10, S12).
 *
 * Running a saga again starts from its row and goes through its events in order. So it cannot see
 * what is not reached from a row, and what the engine is never told: rows that are gone while their
 * events stay, the name under which a start finds its saga, the order of publishing, times beside
 * the events, what the relays have behind them, and commands that nobody decided. Here all events
 * are passed once, by saga, beside all rows; then the cursors and the outbox are held against what
 * the events say. Memory is bounded by one event, whatever the store's size; one read transaction
 * holds the file still, also while sagad writes. */
#ifndef SAGA_VERIFY_REPLAY_BOOKS_H
#define SAGA_VERIFY_REPLAY_BOOKS_H

#include "verify/replay/replay.h"

enum { SAGA_REPLAY_NOTED_MAX = 65536 }; /* sagas that are remembered as told */

/* Sagas of which something was told already: nothing more is to be learnt of them, and they are
 * counted. Those beyond the limit may be told twice. */
struct replay_noted {
    struct saga_id *ids;
    size_t count;
};

/* Notes a saga. Errors: NO_MEMORY. */
enum saga_err replay_note(struct replay_noted *noted, struct saga_id id) SAGA_WARN_UNUSED;
void replay_noted_free(struct replay_noted *noted);

struct replay_books_config {
    const char *path;                   /* of the SQLite file */
    const struct saga_catalog *catalog; /* of its definitions; borrowed */
    struct replay_noted *noted;         /* sorted by the call */
    saga_replay_told *told;             /* may be NULL */
    bool (*progress)(void *user, const struct saga_replay_counts *counts); /* may be NULL */
    void *user;
};

/* Looks at the books. What is found is told as DIFFERENT and counted: once of a saga; a saga that
 * was counted as the same is not any more. Findings about the store as a whole have an empty
 * definition and an id of zeros. Errors: the store's; NO_MEMORY; CLOSED (progress said so). */
enum saga_err replay_books(const struct replay_books_config *config,
                           struct saga_replay_counts *counts,
                           struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
