/* The topics of the system. See topics.h. */
#include "client/topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/address.h"
#include "common/sys/options.h"

static enum saga_err add(struct saga_topic_list *list, const char *name, const char *use,
                         const char *of)
{
    if (name[0] == 0) {
        return SAGA_ERR_OK;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->topics[i].name, name) == 0) {
            return SAGA_ERR_OK;
        }
    }
    if (list->count == SAGA_TOPICS_MAX) {
        return SAGA_ERR_LIMIT;
    }
    snprintf(list->uses[list->count], sizeof list->uses[0], "%s%s", use, of);
    list->topics[list->count] = (struct saga_topic_use){name, list->uses[list->count]};
    list->count++;
    return SAGA_ERR_OK;
}

enum saga_err saga_topics_of(const struct saga_schema *schema, struct saga_topic_list *list)
{
    enum saga_err err = SAGA_ERR_OK;
    list->count = 0;
    for (size_t i = 0; i < saga_schema_service_count(schema) && err == SAGA_ERR_OK; i++) {
        const struct saga_service *service = saga_schema_service_at(schema, i);
        err = add(list, service->command_topic, "commands to ", service->name);
        if (err == SAGA_ERR_OK) {
            err = add(list, service->reply_topic, "replies of ", service->name);
        }
    }
    static const char *const standing[][2] = {
        {"saga-audit", "what the orchestrator decided"},
        {"saga-effects", "what each service did"},
        {"saga-dead-letter", "records that nobody could use"},
        {"order-to-test", "for probing"},
    };
    for (size_t i = 0; i < sizeof standing / sizeof standing[0] && err == SAGA_ERR_OK; i++) {
        err = add(list, standing[i][0], standing[i][1], "");
    }
    return err;
}

enum saga_err saga_topics_create_all(const struct saga_topics_create *create, bool *created,
                                     struct saga_err_detail *detail)
{
    struct saga_kafka_topic *topics = calloc(SAGA_TOPICS_MAX, sizeof *topics);
    if (topics == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "%s", saga_err_text(SAGA_ERR_NO_MEMORY));
    }
    for (size_t i = 0; i < create->list->count; i++) {
        topics[i] = (struct saga_kafka_topic){
            .name = create->list->topics[i].name,
            .partitions = create->partitions,
            .replication = create->replication,
        };
    }
    enum saga_err err = saga_kafka_topics_create(create->kafka, topics, create->list->count,
                                                 created, create->timeout_ms, detail);
    free(topics);
    return err;
}

size_t saga_topics_properties(const struct saga_options *options,
                              struct saga_kafka_property properties[SAGA_KAFKA_PROPERTIES_MAX])
{
    size_t count = 0;
    while (count < SAGA_KAFKA_PROPERTIES_MAX &&
           saga_options_family(options, "kafka.", count, &properties[count].name,
                               &properties[count].value)) {
        count++;
    }
    return count;
}

int saga_topics_read_options(const struct saga_options *options, struct saga_topics_create *create)
{
    int64_t partitions = 0;
    int64_t replication = 0;
    if (saga_client_int(options, "partitions", 1, 1000, &partitions) != SAGA_EXIT_OK ||
        saga_client_int(options, "replication", -1, 100, &replication) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    create->partitions = (int32_t)partitions;
    create->replication = (int32_t)replication;
    return SAGA_EXIT_OK;
}

int saga_topics_cluster(const struct saga_options *options, struct saga_topics_cluster *cluster)
{
    int status = saga_client_duration(options, "timeout", 5000, &cluster->timeout_ms);
    if (status == SAGA_EXIT_OK) {
        status = saga_address_kafka(options, cluster->bootstrap);
    }
    if (status == SAGA_EXIT_OK) {
        cluster->kafka = (struct saga_kafka_config){
            .bootstrap = cluster->bootstrap,
            .client_id = "sagactl",
            .properties = cluster->properties,
            .property_count = saga_topics_properties(options, cluster->properties),
        };
    }
    return status;
}
