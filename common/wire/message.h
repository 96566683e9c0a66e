/* Decoding a generated message of bytes from outside: what stands before protobuf-c. */
#ifndef SAGA_WIRE_MESSAGE_H
#define SAGA_WIRE_MESSAGE_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/err.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

/* Decodes a generated message into the arena, whatever its size; first the bytes are walked: at
 * most SAGA_MESSAGE_DEPTH_MAX deep, at most SAGA_MESSAGE_NODES_MAX messages in all, text is UTF-8
 * without zeros. Errors: MALFORMED, NO_MEMORY; *message is NULL. */
enum saga_err saga_message_unpack(const struct ProtobufCMessageDescriptor *type,
                                  struct saga_bytes bytes, struct saga_arena *arena,
                                  struct ProtobufCMessage **message) SAGA_WARN_UNUSED;

#endif
