/* Transcripts: a definition and events as text, and what the engine makes of them as text.
 *
 *     step NAME [starter] [ro] [pivot] [when] [undo|undo-nng] [kafka|child] [attempts N] [delay MS
 * MAX] [after NAME]… deadline MS start [paused] [when NAME]… again another saga of the same
 * definition +MS                                   the clock goes on timer reply NAME call|undo
 * CODE [attempt N] [unsent] [reused] [after MS] [when NAME]… durable NAME call|undo [attempt N]
 *     recovered [paused]
 *     reverse
 *     operator retry|cancel|skip|compensate|resolve|pause|resume [NAME] [paused]
 *
 * Lines that begin with two spaces are what the engine answered; `#` begins a comment. */
#ifndef SAGA_TESTS_TRANSCRIPT_H
#define SAGA_TESTS_TRANSCRIPT_H

#include "common/base/bytes.h"

struct saga_definition;
struct rows;

/* Runs a transcript and gives it anew, with the engine's answers; what rows of the transition table
 * it hits is put into rows (may be NULL). Returns NULL, or what is wrong with it. */
const char *transcript_run(struct saga_bytes text, struct saga_buf *out, struct rows *rows);

/* Reads the definition of a text that has step and deadline lines only. Returns NULL, or what is
 * wrong with it. */
const char *transcript_definition(const char *text, struct saga_definition *def);

#endif
