/* Transcripts: a definition and events as text, and what the engine makes of them as text.
 *
 *     step NAME [starter] [ro] [pivot] [when] [undo] [via kafka] [attempts N] [after NAME]…
 *     deadline MS
 *     start [when NAME]…
 *     +MS                                   the clock goes on
 *     timer
 *     reply NAME call|undo CODE [attempt N] [unsent] [reused] [after MS] [when NAME]…
 *     durable NAME call|undo [attempt N]
 *     recovered
 *     operator retry|cancel|skip|compensate|resolve [NAME]
 *
 * Lines that begin with two spaces are what the engine answered; `#` begins a comment. */
#ifndef SAGA_TESTS_TRANSCRIPT_H
#define SAGA_TESTS_TRANSCRIPT_H

#include "common/base/bytes.h"

/* Runs a transcript and gives it anew, with the engine's answers. Returns NULL, or what is wrong
 * with it. */
const char *transcript_run(struct saga_bytes text, struct saga_buf *out);

#endif
