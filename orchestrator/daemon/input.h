/* What reaches the loop through its inbox. Each kind is the first member of a larger struct of the
 * file that makes it. */
#ifndef SAGA_DAEMON_INPUT_H
#define SAGA_DAEMON_INPUT_H

#include "common/sys/inbox.h"

enum input_kind {
    INPUT_BATCH,    /* admin.c: a batch of commands from a client */
    INPUT_ANSWERED, /* transport.c: a participant answered a batch, or did not */
    INPUT_REPLY,    /* replies.c: a reply record from Kafka, or an offset to be kept */
    INPUT_ADVANCED, /* relays.c: a relay has published up to a position */
};

struct input {
    struct saga_inbox_entry entry; /* first: the inbox links by it */
    enum input_kind kind;
};

#endif
