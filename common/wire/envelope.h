/* The command envelope: bytes <-> structs. Decoding checks sizes and limits before and after; what
 * passes is safe to use.
 *
 * Decoded views borrow from the arena, not from the bytes that were decoded. Encoding appends to a
 * buffer. Not for threads sharing an arena. */
#ifndef SAGA_WIRE_ENVELOPE_H
#define SAGA_WIRE_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/op.h"
#include "common/base/status.h"

/* saga.v1.Status; texts are zero-terminated, never NULL. */
struct saga_status {
    uint32_t code;
    const char *message;
    const char *reason;
    int64_t retry_after_ms;
};

/* saga.v1.Metadata */
struct saga_metadata {
    const char *key;
    const char *value;
};

/* saga.v1.Command; texts are zero-terminated, never NULL. */
struct saga_command {
    struct saga_id saga_id; /* all zero with op NONE */
    const char *step;
    enum saga_op op;
    const char *method;
    struct saga_bytes payload;
    uint32_t attempt;
    int64_t deadline_unix_ms;
    const char *traceparent;
    const char *cause_step;          /* Failure.step */
    struct saga_status cause_status; /* Failure.status; code 0: no cause */
    uint64_t epoch;
    const struct saga_metadata *metadata;
    size_t metadata_count;
};

/* saga.v1.Reply */
struct saga_reply {
    struct saga_id saga_id;
    const char *step;
    enum saga_op op;
    struct saga_status status;
    struct saga_bytes payload;
    bool replayed;
    bool empty;
    uint32_t attempt;
};

/* A status OK; and one with texts (borrowed). */
struct saga_status saga_status_ok(void);
struct saga_status saga_status_make(enum saga_code code, const char *reason, const char *message);

/* Decodes a CommandBatch. What passes has: with CALL and UNDO a saga id, a step's name, an attempt
 * from 1, a payload of at most SAGA_PAYLOAD_SIZE_MAX; with NONE neither saga id nor step, and a
 * payload bounded by the message alone. status (in the arena) says what is wrong and is what the
 * peer gets: RESOURCE_EXHAUSTED (too large, too many; names the limit), INVALID_ARGUMENT
 * (malformed, a field missing or too long; names the field). Errors: LIMIT, MALFORMED, INVALID;
 * NO_MEMORY. */
enum saga_err saga_command_batch_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                        struct saga_command **commands, size_t *count,
                                        struct saga_status *status) SAGA_WARN_UNUSED;

/* Decodes one Command (a Kafka record). As above. */
enum saga_err saga_command_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                  struct saga_command *command,
                                  struct saga_status *status) SAGA_WARN_UNUSED;

/* Decodes a ReplyBatch, one Reply. */
enum saga_err saga_reply_batch_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                      struct saga_reply **replies, size_t *count,
                                      struct saga_status *status) SAGA_WARN_UNUSED;
enum saga_err saga_reply_decode(struct saga_bytes bytes, struct saga_arena *arena,
                                struct saga_reply *reply,
                                struct saga_status *status) SAGA_WARN_UNUSED;

/* Appends one Command / Reply as a message of its own (a Kafka value). A status text that is too
 * long is cut, one that is not UTF-8 left out. Errors: LIMIT (a name or the payload is larger than
 * a peer takes), NO_MEMORY; out is as it was. */
enum saga_err saga_command_encode(const struct saga_command *command,
                                  struct saga_buf *out) SAGA_WARN_UNUSED;
enum saga_err saga_reply_encode(const struct saga_reply *reply,
                                struct saga_buf *out) SAGA_WARN_UNUSED;

/* Appends one Command / Reply as an element of a CommandBatch / ReplyBatch: a batch is the
 * concatenation of its elements. */
enum saga_err saga_command_batch_add(const struct saga_command *command,
                                     struct saga_buf *out) SAGA_WARN_UNUSED;
enum saga_err saga_reply_batch_add(const struct saga_reply *reply,
                                   struct saga_buf *out) SAGA_WARN_UNUSED;

/* Gives an upper bound of what batch_add appends, so that a batch can be kept under
 * SAGA_MESSAGE_SIZE_MAX. */
size_t saga_command_size_bound(const struct saga_command *command);
size_t saga_reply_size_bound(const struct saga_reply *reply);

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct ProtobufCAllocator;

/* Makes an allocator for protobuf-c out of an arena (freeing is nothing). */
void saga_arena_allocator(struct saga_arena *arena, struct ProtobufCAllocator *allocator);

/* Decodes any generated message into the arena after a size check; NULL when it is malformed or too
 * large. */
struct ProtobufCMessage *saga_message_decode(const struct ProtobufCMessageDescriptor *type,
                                             struct saga_bytes bytes, struct saga_arena *arena);

/* Appends any generated message. */
enum saga_err saga_message_encode(const struct ProtobufCMessage *message,
                                  struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
