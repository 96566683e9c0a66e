/* sagactl topics list, apply, probe. */
#include "client/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/address.h"
#include "client/proto_file.h"
#include "client/topics.h"

static const struct saga_option topics_options[] = {
    {"descriptor-set", "FILE", NULL,
     "take the schema from this FileDescriptorSet or .proto instead of the built-in one", false},
    SAGA_PROTO_PATH_OPTION,
    SAGA_TOPICS_PARTITIONS_OPTION("apply: "),
    SAGA_TOPICS_REPLICATION_OPTION("apply: "),
    {"topic", "NAME", "order-to-test", "probe: the topic", false},
};

/* What the three need. */
struct topics {
    const struct saga_options *options;
    struct saga_schema *schema;
    struct saga_topic_list *list;
    struct saga_topics_cluster cluster;
    bool json;
};

static int topics_list_json(const struct topics *topics, const int32_t *partitions)
{
    json_t *array = json_array();
    for (size_t i = 0; i < topics->list->count; i++) {
        const struct saga_topic_use *topic = &topics->list->topics[i];
        (void)json_array_append_new(array,
                                    json_pack("{s:s,s:i,s:s}", "name", topic->name, "partitions",
                                              (int)partitions[i], "use", topic->use));
    }
    return saga_client_print_json(array);
}

static int topics_list_print(const struct topics *topics, const int32_t *partitions)
{
    struct saga_table table = {.column_count = 3};
    saga_table_add(&table, "TOPIC");
    saga_table_add(&table, "PARTITIONS");
    saga_table_add(&table, "FOR");
    for (size_t i = 0; i < topics->list->count; i++) {
        const struct saga_topic_use *topic = &topics->list->topics[i];
        saga_table_add(&table, "%s", topic->name);
        if (partitions[i] > 0) {
            saga_table_add(&table, "%" PRId32, partitions[i]);
        } else {
            saga_table_add(&table, "missing");
        }
        saga_table_add(&table, "%s", topic->use);
    }
    return saga_table_print(&table);
}

static int topics_list(const struct topics *topics)
{
    struct saga_err_detail detail = {{0}};
    const char *names[SAGA_TOPICS_MAX];
    int32_t partitions[SAGA_TOPICS_MAX] = {0};
    for (size_t i = 0; i < topics->list->count; i++) {
        names[i] = topics->list->topics[i].name;
    }
    if (saga_kafka_topics_find(&topics->cluster.kafka, names, topics->list->count, partitions,
                               topics->cluster.timeout_ms, &detail) != SAGA_ERR_OK) {
        saga_client_warn("%s: %s", topics->cluster.bootstrap, detail.text);
        return SAGA_EXIT_STATUS + SAGA_CODE_UNAVAILABLE;
    }
    return topics->json ? topics_list_json(topics, partitions)
                        : topics_list_print(topics, partitions);
}

static int topics_apply(const struct topics *topics)
{
    struct saga_err_detail detail = {{0}};
    bool created[SAGA_TOPICS_MAX] = {0};
    struct saga_topics_create create = {
        .kafka = &topics->cluster.kafka,
        .list = topics->list,
        .timeout_ms = topics->cluster.timeout_ms,
    };
    if (saga_topics_read_options(topics->options, &create) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    enum saga_err err = saga_topics_create_all(&create, created, &detail);
    if (err != SAGA_ERR_OK) {
        saga_client_warn("%s: %s", topics->cluster.bootstrap, detail.text);
        return err == SAGA_ERR_UNAVAILABLE ? SAGA_EXIT_STATUS + SAGA_CODE_UNAVAILABLE
                                           : SAGA_EXIT_FAILED;
    }
    json_t *array = topics->json ? json_array() : NULL;
    for (size_t i = 0; i < topics->list->count; i++) {
        const char *name = topics->list->topics[i].name;
        if (array != NULL) {
            (void)json_array_append_new(
                array, json_pack("{s:s,s:b}", "name", name, "created", (int)created[i]));
        } else {
            printf("%-40s %s\n", name, created[i] ? "created" : "was there");
        }
    }
    return array != NULL ? saga_client_print_json(array) : SAGA_EXIT_OK;
}

static int topics_probe(const struct topics *topics)
{
    struct saga_err_detail detail = {{0}};
    int64_t round_trip_us = 0;
    const char *topic = saga_options_text(topics->options, "topic");
    enum saga_err err = saga_kafka_topic_probe(&topics->cluster.kafka, topic,
                                               topics->cluster.timeout_ms, &round_trip_us, &detail);
    if (err != SAGA_ERR_OK) {
        saga_client_warn("%s: %s: %s", topics->cluster.bootstrap, topic, detail.text);
        return SAGA_EXIT_STATUS +
               (err == SAGA_ERR_TIMEOUT ? SAGA_CODE_DEADLINE_EXCEEDED : SAGA_CODE_UNAVAILABLE);
    }
    if (topics->json) {
        return saga_client_print_json(
            json_pack("{s:s,s:I}", "topic", topic, "round_trip_us", (json_int_t)round_trip_us));
    }
    printf("%s: a record went there and came back in %.1f ms\n", topic,
           (double)round_trip_us / 1000);
    return SAGA_EXIT_OK;
}

static int topics_prepare(struct topics *topics)
{
    const struct saga_options *options = topics->options;
    int status = saga_topics_cluster(options, &topics->cluster);
    if (status == SAGA_EXIT_OK) {
        status = saga_proto_file_schema(options, saga_options_text(options, "descriptor-set"),
                                        &topics->schema);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    topics->list = calloc(1, sizeof *topics->list);
    if (topics->list == NULL || saga_topics_of(topics->schema, topics->list) != SAGA_ERR_OK) {
        return saga_client_fail("more than %d topics", SAGA_TOPICS_MAX);
    }
    return SAGA_EXIT_OK;
}

static int topics_run(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 1, 1, "list, apply or probe") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    static const struct {
        const char *name;
        int (*run)(const struct topics *topics);
    } verbs[] = {{"list", topics_list}, {"apply", topics_apply}, {"probe", topics_probe}};
    const char *word = saga_options_operand(options, 0);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, word) == 0) {
            struct topics topics = {.options = options, .json = json == 1};
            int status = topics_prepare(&topics);
            status = status == SAGA_EXIT_OK ? verbs[i].run(&topics) : status;
            free(topics.list);
            saga_schema_free(topics.schema);
            return status;
        }
    }
    return saga_client_usage("topics %s: it must be list, apply or probe", word);
}

const struct saga_verb saga_verb_topics = {
    .name = "topics",
    .usage = "list | apply | probe [--kafka HOST:PORT] [--descriptor-set FILE]",
    .summary = "list, create or probe the Kafka topics",
    .epilog = "list shows which topics the schema needs and whether they are there; apply creates "
              "those that are missing and leaves the\n"
              "others alone; probe sends a record and reads it back. `sagactl apply` creates "
              "those of the services of its saga by\n"
              "itself. A participant that is started before its saga is applied reads its topic "
              "already, and so needs it earlier:\n"
              "  sagactl topics apply --descriptor-set shop/v1/shop.proto",
    .options = topics_options,
    .option_count = sizeof topics_options / sizeof topics_options[0],
    .shorts = "o=output " SAGA_PROTO_PATH_SHORT,
    .run = topics_run,
};
