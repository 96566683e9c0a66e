/* Where in a .proto a finding about a saga is.
 *
 * Source info knows where the option (saga.v1.definition) stands, but nothing of what is in its
 * braces: all findings of a saga would be at one place. This reads the text behind that place, as
 * far as it needs to: to the step, and in it to the field that is meant. Main thread. */
#ifndef SAGA_CLIENT_PROTO_PLACE_H
#define SAGA_CLIENT_PROTO_PLACE_H

#include "common/base/bytes.h"
#include "common/wire/schema.h"

struct saga_proto_place {
    int line, column; /* from 1, tabs as protoc counts them; 0: not known */
};

/* Finds the place of a finding in the text of its file; that of the finding itself when the text
 * does not have what it should (it was changed since, or the option is written in parts, which have
 * places of their own). */
struct saga_proto_place saga_proto_place(struct saga_bytes text,
                                         const struct saga_finding *finding);

#endif
