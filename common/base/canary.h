/* Mutation canaries: rules of docs/semantics.md that can be broken on purpose, so that tests show
 * that they would notice (scripts/canaries). Each is a row of tests/canaries.toml.
 *
 *     if (epoch < newest && !SAGA_BROKEN(S8_PARTICIPANT)) …
 *
 * In every build but the one made with -DSAGA_CANARY=ON, SAGA_BROKEN is the constant false:
 * it leaves no code, no symbol and no text behind (tests/gates/canaries.py looks). In that one the
 * environment variable SAGA_BREAK names the canary that is broken, so that one build serves all. */
#ifndef SAGA_BASE_CANARY_H
#define SAGA_BASE_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#ifdef SAGA_CANARY

/* Tells whether the rule is to be broken here and now. Ask last in a condition, when what follows
 * is otherwise decided: the first true answer is noted in the file that SAGA_BREAK_MARK names, as
 * the proof that the broken place was reached. */
#define SAGA_BROKEN(name) saga_canary_broken(#name)

/* The same at a second place that a canary needs; it proves nothing. */
#define SAGA_BROKEN_TOO(name) saga_canary_named(#name)

/* Tells whether the code's own checks of itself are to be silent (SAGA_BREAK_MUTE=1), so that
 * others must notice. */
#define SAGA_MUTED() saga_canary_muted()

/* A number that no event holds: another one at each call. */
#define SAGA_NOISE() saga_canary_noise()

/* Thread: any. */
bool saga_canary_broken(const char *name);
bool saga_canary_named(const char *name);
bool saga_canary_muted(void);
uint64_t saga_canary_noise(void);

#else

#define SAGA_BROKEN(name) false
#define SAGA_BROKEN_TOO(name) false
#define SAGA_MUTED() false
#define SAGA_NOISE() UINT64_C(0)

#endif

#endif
