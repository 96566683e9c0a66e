/* The topics that a relay produces to, and which of them are not there: records of those wait, the
 * others' go on. Private to this room. Thread: the relay's. */
#ifndef SAGA_BUS_KAFKA_RELAY_TOPICS_H
#define SAGA_BUS_KAFKA_RELAY_TOPICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/bus/kafka/kafka.h"

enum saga_relay_topic_state {
    SAGA_RELAY_TOPIC_UNKNOWN, /* nobody could be asked: ask again */
    SAGA_RELAY_TOPIC_THERE,
    SAGA_RELAY_TOPIC_MISSING,
};

struct saga_relay_topic {
    char *name;
    enum saga_relay_topic_state state;
};

struct saga_relay_topics {
    struct saga_relay_topic *entries; /* SAGA_RELAY_TOPICS_MAX */
    size_t count;
    size_t last;     /* the one that was asked for last */
    size_t missing;  /* that are not there */
    int64_t wait_ms; /* between looks for what is missing; grows */
    int64_t next_look_ms;
    const char *relay; /* for logs */
};

/* Makes an empty table. relay is borrowed. Errors: NO_MEMORY. */
enum saga_err saga_relay_topics_init(struct saga_relay_topics *topics,
                                     const char *relay) SAGA_WARN_UNUSED;
void saga_relay_topics_fini(struct saga_relay_topics *topics);

/* Tells about a topic; asks the cluster when it is not known. With a table full of missing topics
 * a further one stays UNKNOWN. */
enum saga_relay_topic_state saga_relay_topics_state(struct saga_relay_topics *topics,
                                                    struct saga_kafka_producer *producer,
                                                    const char *name);

/* Tells whether it is time to look for what is missing. */
bool saga_relay_topics_due(const struct saga_relay_topics *topics, int64_t now_ms);

/* Looks for what is missing. Returns whether one is there now. */
bool saga_relay_topics_look(struct saga_relay_topics *topics, struct saga_kafka_producer *producer);

/* Forgets what is there: a topic may have been deleted. What is missing stays missing until it is
 * seen. */
void saga_relay_topics_forget(struct saga_relay_topics *topics);

/* Writes the names of what is missing, as many as fit: "a, b, …". */
void saga_relay_topics_text(const struct saga_relay_topics *topics, char *text, size_t size);

#endif
