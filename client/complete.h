/* What a shell offers behind a line that is not finished. Main thread. */
#ifndef SAGA_CLIENT_COMPLETE_H
#define SAGA_CLIENT_COMPLETE_H

#include "client/client.h"

enum {
    SAGA_COMPLETE_WAIT_MS = 400,  /* longest wait for a daemon while somebody types */
    SAGA_COMPLETE_SAGAS_MAX = 50, /* newest sagas that are offered */
    SAGA_COMPLETE_WORDS_MAX = 256,
};

/* Prints what can stand for the last of the words (those behind "sagactl", the last may be empty):
 * one candidate a line, a tab and a description behind it where there is one; ":files" or ":dirs"
 * where the shell offers paths itself. Whole words only: the shell takes those that begin as the
 * last word does. Daemons are asked where that helps; one that does not answer gives nothing, and
 * nothing is ever printed on stderr. */
void saga_complete(const char *const *words, size_t count);

#endif
