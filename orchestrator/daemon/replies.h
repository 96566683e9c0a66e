/* Reply records from the participants' reply topics, into the loop. */
#ifndef SAGA_DAEMON_REPLIES_H
#define SAGA_DAEMON_REPLIES_H

#include <stddef.h>

#include "common/bus/kafka/kafka.h"
#include "common/sys/inbox.h"
#include "orchestrator/daemon/input.h"
#include "orchestrator/runtime/runtime.h"

struct replies;

struct replies_config {
    struct saga_kafka_config kafka;
    const char *const *topics;
    size_t topic_count;
    struct saga_store_port store;
    struct saga_inbox *inbox;
};

/* Starts the consumer at the store's offsets, and a producer for dead letters. */
enum saga_err replies_start(const struct replies_config *config, struct replies **replies,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Reads also the topics that have come to the list since the start or the last call; names are
 * copied. NULL replies are nothing. */
void replies_want(struct replies *replies, const char *const *topics, size_t count);

/* Takes an INPUT_REPLY into the runtime's present turn, and frees it. */
void replies_take(struct input *input, struct saga_runtime *runtime);

/* Tells whether the topics are read. Thread: any. */
bool replies_up(const struct replies *replies);

/* Counts records that were put to saga-dead-letter. Thread: any. */
uint64_t replies_dead_count(const struct replies *replies);

void replies_free(struct replies *replies);

#endif
