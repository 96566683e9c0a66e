/* The codec: engine <-> bytes, with the schema's help. Implements
 * orchestrator/runtime/port_codec.h.
 *
 * It keeps no state; any thread may use it. */
#ifndef SAGA_CODEC_CODEC_H
#define SAGA_CODEC_CODEC_H

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/wire/schema.h"
#include "orchestrator/engine/engine.h"
#include "orchestrator/runtime/port_codec.h"

/* The codec port's operations. */
const struct saga_codec_ops *saga_codec_port(void);

/* Makes the engine's definition of a declared saga. Errors: INVALID when the engine refuses it (it
 * has passed the static checks, so that is a bug of the checks). */
enum saga_err saga_definition_compile(const struct saga_decl *decl, struct saga_definition *def,
                                      struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Makes the runtime's version of a declared saga; decl is borrowed as long as the version lives.
 * All participants are SAGA_NO_PARTICIPANT: the daemon fills them in. Errors: as above. */
enum saga_err saga_version_compile(const struct saga_decl *decl, struct saga_version *version,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* ---- The record: a saga's state in the store (record.c describes the bytes) ---- */

/* Appends. Texts longer than their limits are cut. The id is not in it: the row has it. */
enum saga_err saga_record_encode(const struct saga *saga, const struct saga_texts *texts,
                                 struct saga_buf *out) SAGA_WARN_UNUSED;

/* Reads a record; texts borrow from it; saga->id is left as it is. What comes out is within the
 * bounds of the types; whether such a saga can be is for saga_invariant to say. Errors: CORRUPT. */
enum saga_err saga_record_decode(struct saga_bytes record, struct saga *saga,
                                 struct saga_texts *texts) SAGA_WARN_UNUSED;

/* ---- The audit event: saga.v1.AuditEvent (proto/saga/v1/audit.proto) ---- */

/* Appends an event; hash is that of this event. in->prev_hash and hash may be the same memory. */
enum saga_err saga_audit_encode(const struct saga_audit_input *in, struct saga_buf *out,
                                uint8_t hash[SAGA_DIGEST_SIZE]) SAGA_WARN_UNUSED;

/* Checks an encoded event's own hash and gives it. Errors: CORRUPT when it is not that of its
 * bytes. */
enum saga_err saga_audit_verify(struct saga_bytes event,
                                uint8_t hash[SAGA_DIGEST_SIZE]) SAGA_WARN_UNUSED;

struct Saga__V1__AuditEvent;

/* Rebuilds the engine's event from a decoded audit event: given to saga_step in order, the events
 * of a saga lead to the same states, moves and commands (S7). Errors: CONFLICT (it is of another
 * version), INVALID (a step, kind or number that cannot be); detail says. */
enum saga_err saga_event_from_audit(const struct Saga__V1__AuditEvent *audit,
                                    const struct saga_version *version, struct saga_event *ev,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* SHA-256. Aborts when libcrypto has none. */
void saga_digest(struct saga_bytes bytes, uint8_t digest[SAGA_DIGEST_SIZE]);

#endif
