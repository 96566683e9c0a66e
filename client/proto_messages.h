/* What protoc prints: handed on so that an editor can jump to it. Main thread. */
#ifndef SAGA_CLIENT_PROTO_MESSAGES_H
#define SAGA_CLIENT_PROTO_MESSAGES_H

#include "client/proto_file.h"

/* Prints protoc's output to stderr, names of files as paths (saga_proto_file_find), but for imports
 * that it takes for unused: it does not know that a saga names methods of them; the rule
 * IMPORT_USED does. With `errors`, its errors are appended to that array too, as objects with code
 * ("PROTOC"), file, line, column (0: it told none), where (""), message. Pre: given->count > 0. */
void saga_proto_messages_tell(const struct saga_proto_given *given, struct saga_bytes output,
                              json_t *errors);

#endif
