/* Inside the room wire: what stands before protobuf-c. */
#ifndef SAGA_WIRE_MESSAGE_H
#define SAGA_WIRE_MESSAGE_H

#include <stdbool.h>

#include "common/base/bytes.h"

struct ProtobufCMessageDescriptor;

/* Walks bytes by a generated type and tells whether protobuf-c may decode them: well formed, at
 * most SAGA_MESSAGE_DEPTH_MAX deep, at most SAGA_MESSAGE_NODES_MAX messages in all, text is UTF-8.
 */
bool saga_message_walk(const struct ProtobufCMessageDescriptor *type, struct saga_bytes bytes);

#endif
