/* ListDefinitions, page by page. See definition_pages.h. */
#include "client/definition_pages.h"

#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"

/* Where a page ended. */
struct position {
    char name[SAGA_DEFINITION_NAME_MAX + 1];
    uint8_t hash[SAGA_HASH_SIZE];
};

static int ask(struct saga_conn *conn, Saga__V1__ListDefinitionsRequest *message,
               const Saga__V1__ListDefinitionsResponse **response)
{
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/ListDefinitions",
        .request = &message->base,
        .response_type = &saga__v1__list_definitions_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    *response = (const Saga__V1__ListDefinitionsResponse *)answer;
    return status;
}

/* Notes where a page ended. Returns false when one cannot ask behind it, or was there before: an
 * orchestrator that goes in circles must not keep the client. */
static bool move_on(struct position *position, const Saga__V1__ListDefinitionsResponse *response)
{
    struct position next = {{0}, {0}};
    if (response->n_definitions == 0) {
        return false;
    }
    const Saga__V1__DefinitionView *last = response->definitions[response->n_definitions - 1];
    if (last->hash.len != sizeof next.hash || strlen(last->name) >= sizeof next.name ||
        last->name[0] == '\0' || strcmp(last->name, position->name) < 0) {
        return false;
    }
    (void)snprintf(next.name, sizeof next.name, "%s", last->name);
    memcpy(next.hash, last->hash.data, sizeof next.hash);
    if (memcmp(&next, position, sizeof next) == 0) {
        return false;
    }
    *position = next;
    return true;
}

int saga_definitions_each(struct saga_conn *conn, const struct saga_definition_list *list,
                          saga_definition_view_visit *visit, void *user)
{
    struct position position = {{0}, {0}};
    char name[SAGA_DEFINITION_NAME_MAX + 2]; /* one that is too long stays one */
    (void)snprintf(name, sizeof name, "%s", list->name == NULL ? "" : list->name);
    for (;;) {
        Saga__V1__ListDefinitionsRequest message = SAGA__V1__LIST_DEFINITIONS_REQUEST__INIT;
        const Saga__V1__ListDefinitionsResponse *response = NULL;
        message.definition = name;
        message.history = list->history;
        message.after_name = position.name;
        if (position.name[0] != '\0') {
            message.after_hash = (ProtobufCBinaryData){sizeof position.hash, position.hash};
        }
        int status = ask(conn, &message, &response);
        for (size_t i = 0; status == SAGA_EXIT_OK && i < response->n_definitions; i++) {
            status = visit(user, response->definitions[i]);
        }
        if (status != SAGA_EXIT_OK || !response->more) {
            return status;
        }
        if (!move_on(&position, response)) {
            return saga_client_fail("%s: the listing of definitions does not go on behind \"%s\"",
                                    saga_conn_address(conn), position.name);
        }
    }
}
