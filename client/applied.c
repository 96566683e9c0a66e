/* Applied definitions. See applied.h. */
#include "client/applied.h"

#include <string.h>

#include "client/definition_pages.h"
#include "client/symbols.h"
#include "saga/v1/reflection.pb-c.h"

/* The definitions that may have a symbol. */
struct candidates {
    const char *symbol;
    struct saga_buf names; /* each with its '\0' */
};

bool saga_applied_known(const struct saga_options *options)
{
    struct saga_endpoints endpoints;
    struct saga_err_detail detail = {{0}};
    return saga_options_text(options, "address") != NULL ||
           (saga_endpoints_read(saga_options_text(options, "dir"), &endpoints, &detail) ==
                SAGA_ERR_OK &&
            endpoints.daemons[SAGA_DAEMON_SAGAD].nng[0] != '\0');
}

/* Keeps the name of a definition whose context lies in the same package, or in one beside it. */
static int consider(void *user, const Saga__V1__DefinitionView *view)
{
    struct candidates *candidates = user;
    size_t size = strcspn(view->context_type, ".") + 1;
    if (!view->current || strncmp(view->context_type, candidates->symbol, size) != 0) {
        return SAGA_EXIT_OK;
    }
    const struct saga_bytes name = {(const uint8_t *)view->name, strlen(view->name) + 1};
    return saga_buf_append(&candidates->names, name) == SAGA_ERR_OK
               ? SAGA_EXIT_OK
               : saga_client_fail("out of memory");
}

/* Tells whether the daemon lists definitions: others would say so on stderr. */
static bool is_orchestrator(struct saga_conn *conn)
{
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    const struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    if (saga_conn_call(conn, &request, &answer) != SAGA_EXIT_OK) {
        return false;
    }
    const Saga__V1__GetDescriptorSetResponse *set =
        (const Saga__V1__GetDescriptorSetResponse *)answer;
    for (size_t i = 0; i < set->n_services; i++) {
        if (strcmp(set->services[i], "saga.v1.OrchestratorService") == 0) {
            return true;
        }
    }
    return false;
}

const struct saga_schema *saga_applied_schema(struct saga_conn *conn, const char *symbol)
{
    static const struct saga_definition_list all = {NULL, false};
    const struct saga_schema *found = NULL;
    if (!is_orchestrator(conn)) {
        return NULL;
    }
    if (strpbrk(symbol, "./") == NULL) { /* a definition's name has neither */
        found = saga_conn_definition(conn, symbol, NULL);
        return found != NULL && saga_schema_decl(found, symbol) != NULL ? found : NULL;
    }
    struct candidates candidates = {.symbol = symbol};
    size_t size = 0;
    if (saga_definitions_each(conn, &all, consider, &candidates) == SAGA_EXIT_OK) {
        size = candidates.names.size;
    }
    for (size_t at = 0; at < size && found == NULL;) {
        const char *name = (const char *)candidates.names.data + at;
        const struct saga_schema *schema = saga_conn_definition(conn, name, NULL);
        found = schema != NULL && saga_symbol_known(schema, symbol) ? schema : NULL;
        at += strlen(name) + 1;
    }
    saga_buf_fini(&candidates.names);
    return found;
}
