#include "client/apply_topics.h"

#include <string.h>

#include "client/address.h"

static void add(struct saga_topic_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->topics[i].name, name) == 0) {
            return;
        }
    }
    if (name[0] != '\0' && list->count < SAGA_TOPICS_MAX) {
        list->topics[list->count++] = (struct saga_topic_use){.name = name, .use = ""};
    }
}

static void add_service(struct saga_topic_list *list, const struct saga_service *service,
                        enum saga_via via)
{
    if (service != NULL && via == SAGA_VIA_KAFKA) {
        add(list, service->command_topic);
        add(list, service->reply_topic);
    }
}

void saga_apply_topics_find(const struct saga_schema *schema,
                            const Saga__V1__ApplyDefinitionsResponse *response,
                            struct saga_apply_topics *topics)
{
    topics->list.count = 0;
    for (size_t i = 0; i < response->n_definitions; i++) {
        const struct saga_decl *decl = saga_schema_decl(schema, response->definitions[i]->name);
        for (size_t k = 0; decl != NULL && k < decl->step_count; k++) {
            add_service(&topics->list, decl->steps[k].call_service, decl->steps[k].call_via);
            add_service(&topics->list, decl->steps[k].undo_service, decl->steps[k].undo_via);
        }
    }
}

static int refuse(int status)
{
    saga_client_warn("nothing is applied: without their Kafka topics undos would wait. Tell where "
                     "Kafka is (--kafka HOST:PORT), or apply without topics (--no-topics)");
    return status;
}

int saga_apply_topics_make(const struct saga_options *options, struct saga_apply_topics *topics)
{
    struct saga_topics_cluster cluster = {.timeout_ms = 0};
    struct saga_topics_create create = {.kafka = &cluster.kafka, .list = &topics->list};
    struct saga_err_detail detail = {{0}};
    if (saga_topics_read_options(options, &create) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    if (topics->list.count == 0) {
        topics->ensured = true;
        return SAGA_EXIT_OK;
    }
    int status = saga_topics_cluster(options, &cluster);
    if (status != SAGA_EXIT_OK) {
        return refuse(status);
    }
    create.timeout_ms = cluster.timeout_ms;
    enum saga_err err = saga_topics_create_all(&create, topics->created, &detail);
    if (err != SAGA_ERR_OK) {
        saga_client_warn("%s: %s", cluster.bootstrap, detail.text);
        return refuse(err == SAGA_ERR_UNAVAILABLE ? SAGA_EXIT_STATUS + SAGA_CODE_UNAVAILABLE
                                                  : SAGA_EXIT_FAILED);
    }
    topics->ensured = true;
    return SAGA_EXIT_OK;
}
