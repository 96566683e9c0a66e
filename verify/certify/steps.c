/* Which steps a participant has: given, or found in the definitions of its schema. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "verify/certify/internal.h"

/* Makes a step's name of a method's: "ReserveStock" becomes "reserve-stock". */
static void name_of(const char *method, char name[SAGA_STEP_NAME_MAX + 1])
{
    size_t at = 0;
    for (const char *from = method; *from != '\0' && at + 2 <= SAGA_STEP_NAME_MAX; from++) {
        unsigned char letter = (unsigned char)*from;
        if (isupper(letter) && at > 0) {
            name[at++] = '-';
        }
        name[at++] = (char)tolower(letter);
    }
    name[at] = '\0';
}

enum saga_err saga_certify_steps_add(struct saga_certify_steps *steps, const char *name,
                                     const struct saga_method *call, const struct saga_method *undo,
                                     struct saga_err_detail *detail)
{
    if (call == NULL && undo == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "a step without methods");
    }
    for (size_t i = 0; i < steps->count; i++) {
        if (steps->list[i].call == call && steps->list[i].undo == undo) {
            return SAGA_ERR_OK;
        }
    }
    if (steps->count == SAGA_CERTIFY_STEPS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "more than %d steps", SAGA_CERTIFY_STEPS_MAX);
    }
    struct saga_certify_step *step = &steps->list[steps->count++];
    *step = (struct saga_certify_step){.call = call, .undo = undo};
    if (name != NULL) {
        (void)snprintf(step->name, sizeof step->name, "%s", name);
    } else {
        name_of(call != NULL ? call->name : undo->name, step->name);
    }
    return SAGA_ERR_OK;
}

static bool serves(const struct saga_service *service, const char *const *services, size_t count)
{
    for (size_t i = 0; service != NULL && i < count; i++) {
        if (strcmp(service->name, services[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum saga_err saga_certify_steps_find(struct saga_certify_steps *steps,
                                      const struct saga_schema *schema, const char *saga,
                                      const char *const *services, size_t service_count,
                                      struct saga_err_detail *detail)
{
    if (saga != NULL && saga_schema_decl(schema, saga) == NULL) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND,
                            "the schema has no definition \"%s\" that passes the static checks",
                            saga);
    }
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        if (saga != NULL && strcmp(decl->name, saga) != 0) {
            continue;
        }
        for (size_t at = 0; at < decl->step_count && err == SAGA_ERR_OK; at++) {
            const struct saga_step_decl *step = &decl->steps[at];
            bool call = serves(step->call_service, services, service_count);
            bool undo = serves(step->undo_service, services, service_count);
            if (call || undo) {
                err = saga_certify_steps_add(steps, step->name, call ? step->call : NULL,
                                             undo ? step->undo : NULL, detail);
            }
        }
    }
    return err;
}
