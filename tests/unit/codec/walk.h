/* Random walks of a saga: the real engine with made-up events, for tests of what is written of it.
 */
#ifndef SAGA_TESTS_UNIT_CODEC_WALK_H
#define SAGA_TESTS_UNIT_CODEC_WALK_H

#include "common/wire/schema.h"
#include "orchestrator/codec/codec.h"

/* The committed schema, and a version of one of its sagas; aborts the test when it cannot be had.
 */
struct saga_schema *walk_schema(void);
struct saga_version walk_version(const struct saga_schema *schema, const char *name);

/* Sees every event that was taken. */
typedef void walk_visit(void *user, const struct saga_event *ev, const struct saga *saga,
                        const struct saga_update *up);

/* Runs a saga from its start until it has ended or for some hundred events; the same seed gives the
 * same walk. */
void walk_saga(const struct saga_version *version, uint64_t seed, walk_visit *visit, void *user);

#endif
