/* A descriptor set from anybody: loaded, linted, looked through. Findings say where and what. */
#include <string.h>

#include "common/base/assert.h"
#include "tests/fuzz/fuzz.h"

static void look(const struct saga_schema *schema)
{
    for (size_t i = 0; i < saga_schema_finding_count(schema); i++) {
        const struct saga_finding *finding = saga_schema_finding_at(schema, i);
        SAGA_ASSERT(strncmp(finding->code, "SAGA", 4) == 0);
        SAGA_ASSERT(finding->message[0] != '\0');
        SAGA_ASSERT(finding->line >= 0 && finding->column >= 0);
    }
    for (size_t i = 0; i < saga_schema_decl_count(schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        SAGA_ASSERT(saga_schema_decl(schema, decl->name) == decl);
        SAGA_ASSERT(decl->step_count > 0 && decl->context != NULL);
    }
    for (size_t i = 0; i < saga_schema_message_count(schema); i++) {
        const struct saga_message_type *type = saga_schema_message_at(schema, i);
        SAGA_ASSERT(saga_schema_message(schema, type->name) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {{0}};
    if (saga_schema_load((struct saga_bytes){data, size}, &schema, &detail) == SAGA_ERR_OK) {
        look(schema);
        saga_schema_free(schema);
    } else {
        SAGA_ASSERT(detail.text[0] != '\0');
    }
    return 0;
}
