/* Rows of the engine's transition table: what an event does to a saga and to the one step that it
 * is about. A row is a text:
 *
 *     RUNNING compensatable CALLED/reply | reply call reject -> COMPENSATING REJECTED
 *
 * Left of the arrow: the saga's state, the step's kind, state and what it waits for, and the event
 * with the class of its outcome. Right of it: what they are then, or "refused". What changes
 * nothing has no row: it is ignored. An event about more than one step at once (a timer that is due
 * for two) has no row either: it is as one event for each. */
#ifndef SAGA_TESTS_ROWS_H
#define SAGA_TESTS_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "orchestrator/engine/engine.h"

enum { ROW_SIZE = 160, ROWS_MAX = 2048 };

/* A set of rows, sorted. */
struct rows {
    char texts[ROWS_MAX][ROW_SIZE];
    size_t count;
};

/* Puts a row that may be there; ends the test when there are too many. Returns whether it is new.
 */
bool rows_put(struct rows *rows, const char *text);
bool rows_have(const struct rows *rows, const char *text);

/* Writes the row of an event; false when it has none. before, after: the saga. */
bool row_of(const struct saga_definition *def, const struct saga *before,
            const struct saga_event *ev, const struct saga *after, enum saga_verdict verdict,
            char out[static ROW_SIZE]);

#endif
