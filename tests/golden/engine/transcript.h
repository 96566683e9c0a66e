/* Transcripts: a definition and events as text, and what the engine makes of them as text.
 *
 *     step NAME [starter] [ro] [pivot] [when] [undo|undo-nng] [kafka|child] [attempts N] [delay MS MAX] [after NAME]…
 *     deadline MS
 *     start [paused] [when NAME]…
 *     +MS                                   the clock goes on
 *     timer
 *     reply NAME call|undo CODE [attempt N] [unsent] [reused] [after MS] [when NAME]…
 *     durable NAME call|undo [attempt N]
 *     recovered [paused]
 *     reverse
 *     operator retry|cancel|skip|compensate|resolve|pause|resume [NAME] [paused]
 *
 * Lines that begin with two spaces are what the engine answered; `#` begins a comment. */
#ifndef SAGA_TESTS_TRANSCRIPT_H
#define SAGA_TESTS_TRANSCRIPT_H

#include "common/base/bytes.h"

/* Runs a transcript and gives it anew, with the engine's answers. Returns NULL, or what is wrong
 * with it. */
const char *transcript_run(struct saga_bytes text, struct saga_buf *out);

#endif
