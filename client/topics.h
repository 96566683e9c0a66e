/* The topics of the system: those of the services, from the schema, and the standing ones. */
#ifndef SAGA_CLIENT_TOPICS_H
#define SAGA_CLIENT_TOPICS_H

#include "client/client.h"
#include "common/base/limits.h"
#include "common/bus/kafka/kafka.h"
#include "common/wire/schema.h"

enum { SAGA_TOPICS_MAX = 512, SAGA_TOPIC_PARTITIONS_DEFAULT = 4 };

/* A topic and what it is for. */
struct saga_topic_use {
    const char *name;
    const char *use; /* "commands to order.v1.OrderService" */
};

struct saga_topic_list {
    struct saga_topic_use topics[SAGA_TOPICS_MAX];
    char uses[SAGA_TOPICS_MAX][96];
    size_t count;
};

/* Fills the list; names are borrowed from the schema. Errors: LIMIT. */
enum saga_err saga_topics_of(const struct saga_schema *schema,
                             struct saga_topic_list *list) SAGA_WARN_UNUSED;

/* Creates all of them; *created counts those that were not there. */
struct saga_topics_create {
    const struct saga_kafka_config *kafka;
    const struct saga_topic_list *list;
    int32_t partitions;
    int32_t replication;
    int64_t timeout_ms;
};
enum saga_err saga_topics_create_all(const struct saga_topics_create *create, bool *created,
                                     struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Rows of an option table: how new topics are made. */
#define SAGA_TOPICS_PARTITIONS_OPTION(what)                                                        \
    {                                                                                              \
        "partitions", "N", "4", what "partitions of a new topic", false                            \
    }
#define SAGA_TOPICS_REPLICATION_OPTION(what)                                                       \
    {                                                                                              \
        "replication", "N", "-1", what "replicas of a new topic; -1: the broker's default", false  \
    }

/* Reads both into create. Exit status; the message is printed. */
int saga_topics_read_options(const struct saga_options *options, struct saga_topics_create *create);

/* The librdkafka properties given as --kafka.NAME=VALUE; at most that many are used. */
enum { SAGA_KAFKA_PROPERTIES_MAX = 64 };
size_t saga_topics_properties(const struct saga_options *options,
                              struct saga_kafka_property properties[SAGA_KAFKA_PROPERTIES_MAX]);

/* The cluster that the options name. */
struct saga_topics_cluster {
    char bootstrap[SAGA_ADDRESS_SIZE_MAX + 1];
    struct saga_kafka_property properties[SAGA_KAFKA_PROPERTIES_MAX];
    struct saga_kafka_config kafka; /* points into this */
    int64_t timeout_ms;
};

/* Finds the cluster: --kafka, else endpoints.json. Exit status; the message is printed. */
int saga_topics_cluster(const struct saga_options *options, struct saga_topics_cluster *cluster);

#endif
