#include "common/bus/kafka/relay_topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/bus/kafka/client.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

enum {
    ASK_UP_MS = 2000,  /* how long a broker that is known to answer may take */
    ASK_DOWN_MS = 300, /* and one that is not */
    LOOK_MS_MIN = 200, /* between looks for a missing topic; doubled while it is missing */
    LOOK_MS_MAX = 5000,
};

static int64_t now_ms(void)
{
    return saga_clock_mono_us() / 1000;
}

enum saga_err saga_relay_topics_init(struct saga_relay_topics *topics, const char *relay)
{
    *topics = (struct saga_relay_topics){.wait_ms = LOOK_MS_MIN, .relay = relay};
    topics->entries = calloc(SAGA_RELAY_TOPICS_MAX, sizeof(*topics->entries));
    return topics->entries == NULL ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
}

void saga_relay_topics_fini(struct saga_relay_topics *topics)
{
    for (size_t i = 0; i < topics->count; i++) {
        free(topics->entries[i].name);
    }
    free(topics->entries);
    *topics = (struct saga_relay_topics){0};
}

/* Asks the cluster. */
static enum saga_relay_topic_state ask(struct saga_kafka_producer *producer, const char *name)
{
    enum saga_err err = saga_kafka_find_topic(
        producer, name, saga_kafka_producer_up(producer) ? ASK_UP_MS : ASK_DOWN_MS);
    if (err == SAGA_ERR_OK) {
        return SAGA_RELAY_TOPIC_THERE;
    }
    return err == SAGA_ERR_NOT_FOUND ? SAGA_RELAY_TOPIC_MISSING : SAGA_RELAY_TOPIC_UNKNOWN;
}

/* Finds a topic's place. Gives count when it has none. */
static size_t place_of(const struct saga_relay_topics *topics, const char *name)
{
    if (topics->last < topics->count && strcmp(topics->entries[topics->last].name, name) == 0) {
        return topics->last;
    }
    size_t at = 0;
    while (at < topics->count && strcmp(topics->entries[at].name, name) != 0) {
        at++;
    }
    return at;
}

static void drop(struct saga_relay_topics *topics, size_t at)
{
    free(topics->entries[at].name);
    topics->entries[at] = topics->entries[--topics->count];
}

/* Makes a place for a topic: one that is there can be asked for again. Gives false when there is
 * none, or no memory. */
static bool make_place(struct saga_relay_topics *topics, const char *name)
{
    for (size_t i = 0; topics->count == SAGA_RELAY_TOPICS_MAX && i < topics->count; i++) {
        if (topics->entries[i].state != SAGA_RELAY_TOPIC_MISSING) {
            drop(topics, i);
        }
    }
    char *copy = topics->count < SAGA_RELAY_TOPICS_MAX ? strdup(name) : NULL;
    if (copy == NULL) {
        return false;
    }
    topics->entries[topics->count++] = (struct saga_relay_topic){.name = copy};
    return true;
}

static void note_missing(struct saga_relay_topics *topics, const char *name)
{
    if (topics->missing++ == 0) {
        topics->wait_ms = LOOK_MS_MIN;
        topics->next_look_ms = now_ms() + topics->wait_ms;
    }
    saga_log(SAGA_LOG_ERROR, "relay_topic_missing",
             "relay=%s topic=%s msg=\"its records wait, those of other topics go on; "
             "sagactl topics apply creates it\"",
             topics->relay, name);
}

enum saga_relay_topic_state saga_relay_topics_state(struct saga_relay_topics *topics,
                                                    struct saga_kafka_producer *producer,
                                                    const char *name)
{
    size_t at = place_of(topics, name);
    if (at < topics->count) {
        topics->last = at;
        return topics->entries[at].state;
    }
    enum saga_relay_topic_state state = ask(producer, name);
    if (state == SAGA_RELAY_TOPIC_UNKNOWN || !make_place(topics, name)) {
        return SAGA_RELAY_TOPIC_UNKNOWN;
    }
    topics->entries[topics->count - 1].state = state;
    if (state == SAGA_RELAY_TOPIC_MISSING) {
        note_missing(topics, name);
    }
    return state;
}

bool saga_relay_topics_due(const struct saga_relay_topics *topics, int64_t now)
{
    return topics->missing > 0 && now >= topics->next_look_ms;
}

bool saga_relay_topics_look(struct saga_relay_topics *topics, struct saga_kafka_producer *producer)
{
    bool found = false;
    bool answered = true;
    for (size_t i = 0; i < topics->count && answered; i++) {
        struct saga_relay_topic *topic = &topics->entries[i];
        if (topic->state != SAGA_RELAY_TOPIC_MISSING) {
            continue;
        }
        enum saga_relay_topic_state state = ask(producer, topic->name);
        answered = state != SAGA_RELAY_TOPIC_UNKNOWN;
        if (state == SAGA_RELAY_TOPIC_THERE) {
            topic->state = state;
            topics->missing--;
            found = true;
            saga_log(SAGA_LOG_INFO, "relay_topic_found", "relay=%s topic=%s", topics->relay,
                     topic->name);
        }
    }
    int64_t longer_ms = topics->wait_ms * 2 > LOOK_MS_MAX ? LOOK_MS_MAX : topics->wait_ms * 2;
    topics->wait_ms = found ? LOOK_MS_MIN : longer_ms;
    topics->next_look_ms = now_ms() + topics->wait_ms;
    return found;
}

void saga_relay_topics_forget(struct saga_relay_topics *topics)
{
    size_t at = 0;
    while (at < topics->count) {
        if (topics->entries[at].state == SAGA_RELAY_TOPIC_MISSING) {
            at++;
        } else {
            drop(topics, at);
        }
    }
}

void saga_relay_topics_text(const struct saga_relay_topics *topics, char *text, size_t size)
{
    size_t used = 0;
    bool all = true;
    text[0] = '\0';
    for (size_t i = 0; i < topics->count && all; i++) {
        const struct saga_relay_topic *topic = &topics->entries[i];
        if (topic->state != SAGA_RELAY_TOPIC_MISSING) {
            continue;
        }
        static const char more[] = ", ...";
        all = used + strlen(topic->name) + 2 + sizeof(more) <= size;
        if (all || size - used >= sizeof(more)) {
            int count = snprintf(text + used, size - used, "%s%s", used > 0 && all ? ", " : "",
                                 all ? topic->name : more);
            used += count > 0 ? (size_t)count : 0;
        }
    }
}
