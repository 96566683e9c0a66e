/* All definitions that an orchestrator lists, page by page. */
#ifndef SAGA_CLIENT_DEFINITION_PAGES_H
#define SAGA_CLIENT_DEFINITION_PAGES_H

#include "client/conn.h"
#include "saga/v1/orchestrator.pb-c.h"

/* What is asked for. */
struct saga_definition_list {
    const char *name; /* NULL: all */
    bool history;     /* also what is neither current nor has sagas in flight */
};

/* Takes one version; the view is valid until it returns. It must not use the connection. Exit
 * status: another than OK ends the listing. */
typedef int saga_definition_view_visit(void *user, const Saga__V1__DefinitionView *view);

/* Lists them, by name, the current version first, then the newest. Exit status; the message is
 * printed. Overwrites the last response. */
int saga_definitions_each(struct saga_conn *conn, const struct saga_definition_list *list,
                          saga_definition_view_visit *visit, void *user);

#endif
