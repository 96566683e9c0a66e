/* Checks of the two audit streams: saga-audit (what the orchestrator decided) and saga-effects
 * (what the participants did).
 *
 * Records are given one by one in the order of their partitions; what they tell of each saga is
 * kept; the end compares the two. No I/O. Not for threads. Rules S3, S4, S9, S13 of
 * docs/semantics.md. */
#ifndef SAGA_CLIENT_AUDIT_CHECK_H
#define SAGA_CLIENT_AUDIT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"

/* X(name, text) */
#define SAGA_VIOLATION_LIST(X)                                                                     \
    X(MALFORMED, "the record cannot be decoded")                                                   \
    X(KEY, "the record's key is not its saga")                                                     \
    X(GAP, "events are missing (S9)")                                                              \
    X(FORK, "two different events have one number (S9)")                                           \
    X(HASH, "the hash does not fit the event (S9)")                                                \
    X(CHAIN, "the event does not follow from the one before (S9)")                                 \
    X(UNDECIDED, "an effect that nobody decided (S13)")                                            \
    X(TWICE, "a second effect for one command (S3)")                                               \
    X(MISSING, "a decided and answered command without its effect (S13)")                          \
    X(DIFFERS, "the effect is not what was answered (S13)")                                        \
    X(FORBIDDEN, "a call took effect after its undo (S4)")                                         \
    X(HELD, "the saga is COMPENSATED, but an effect was left (S5)")                                \
    X(ACT, "an operator's act without who or why, or on a definition out of turn (S12)")

enum saga_violation {
#define X(name, text) SAGA_VIOLATION_##name,
    SAGA_VIOLATION_LIST(X)
#undef X
        SAGA_VIOLATION_COUNT,
};

/* Gives a violation's name ("GAP") and text. */
const char *saga_violation_name(enum saga_violation violation);
const char *saga_violation_text(enum saga_violation violation);

/* Tells of one violation. id may be NULL (a record that tells no saga). where: "step stock UNDO",
 * "event 7", or "". */
typedef void saga_violation_told(void *user, enum saga_violation violation,
                                 const struct saga_id *id, const char *where);

/* Acts on definitions. */
enum saga_audit_act {
    SAGA_AUDIT_ACT_APPLIED,
    SAGA_AUDIT_ACT_REMOVED,
    SAGA_AUDIT_ACT_PAUSED,
    SAGA_AUDIT_ACT_RESUMED,
    SAGA_AUDIT_ACT_COUNT,
};

/* What was seen. */
struct saga_audit_counts {
    uint64_t events;
    uint64_t effects;
    uint64_t redelivered; /* records that came again: allowed */
    uint64_t sagas;
    uint64_t completed;
    uint64_t compensated;
    uint64_t open;                       /* not ended, or parked */
    uint64_t definitions;                /* that were acted on: each has a stream of its own */
    uint64_t acts[SAGA_AUDIT_ACT_COUNT]; /* on definitions, by enum saga_audit_act */
    uint64_t truncated; /* their first events are not on the topic any more; with allow_truncated no
                           violation, and not compared */
    uint64_t beginnings; /* gaps at the beginning of what the topic still holds of a saga */
    uint64_t not_judged; /* answered calls without an effect whose definition nobody has: whether
                            there should be one is not known; no violation */
    uint64_t violations[SAGA_VIOLATION_COUNT];
};

struct saga_audit_check;

struct saga_schema;
struct saga_decl;
struct Saga__V1__AuditEvent;

/* Finds the definition with a name and a hash (32 bytes). NULL: nobody has it. What it gives lives
 * until the check is freed. */
typedef const struct saga_decl *saga_audit_find(void *user, const char *name, const uint8_t *hash);

struct saga_audit_config {
    bool allow_truncated; /* the topics may have lost their oldest records: what cannot be compared
                             is no violation */
    const struct saga_schema
        *schema;           /* tells which steps leave no effect; NULL: none. Borrowed until free */
    saga_audit_find *find; /* asked for versions that the schema does not have; may be NULL. With
                              neither, every step leaves an effect */
    saga_violation_told *told; /* may be NULL */
    void *user;
};

/* Makes a check. Errors: NO_MEMORY. */
enum saga_err saga_audit_check_new(const struct saga_audit_config *config,
                                   struct saga_audit_check **check) SAGA_WARN_UNUSED;

/* Frees. NULL is nothing. */
void saga_audit_check_free(struct saga_audit_check *check);

/* Takes a record of saga-audit / of saga-effects. Errors: NO_MEMORY. */
enum saga_err saga_audit_check_event(struct saga_audit_check *check, struct saga_bytes key,
                                     struct saga_bytes value) SAGA_WARN_UNUSED;
enum saga_err saga_audit_check_effect(struct saga_audit_check *check, struct saga_bytes key,
                                      struct saga_bytes value) SAGA_WARN_UNUSED;

/* Compares decisions and effects of all sagas, at the end of both streams. */
void saga_audit_check_finish(struct saga_audit_check *check, struct saga_audit_counts *counts);

/* Tells whether an event is of a definition, not of a saga: that it is paused, goes on, is applied
 * or removed. */
bool saga_audit_is_of_definition(const struct Saga__V1__AuditEvent *event);

/* Computes the hash of an encoded AuditEvent: SHA-256 over it without its field `hash`. Errors:
 * MALFORMED; INTERNAL. */
enum saga_err saga_audit_hash(struct saga_bytes event, uint8_t hash[32]) SAGA_WARN_UNUSED;

#endif
