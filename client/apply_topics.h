/* The Kafka topics that applied definitions need: sagactl apply makes those that are missing. */
#ifndef SAGA_CLIENT_APPLY_TOPICS_H
#define SAGA_CLIENT_APPLY_TOPICS_H

#include "client/topics.h"
#include "saga/v1/orchestrator.pb-c.h"

/* The rows of an option table. */
#define SAGA_NO_TOPICS_OPTION                                                                      \
    {                                                                                              \
        "no-topics", NULL, "false", "do not make the Kafka topics that are missing", false         \
    }

/* Topics of the services that are called by Kafka, each once; and which of them were made. */
struct saga_apply_topics {
    struct saga_topic_list list;
    bool created[SAGA_TOPICS_MAX];
    bool ensured; /* all of them are there */
};

/* Fills the list with the topics of the definitions that a response names; names are borrowed from
 * the schema. */
void saga_apply_topics_find(const struct saga_schema *schema,
                            const Saga__V1__ApplyDefinitionsResponse *response,
                            struct saga_apply_topics *topics);

/* Makes what is missing. Without topics there is nothing to do, and no Kafka is needed. Exit
 * status; the message is printed. */
int saga_apply_topics_make(const struct saga_options *options, struct saga_apply_topics *topics);

#endif
