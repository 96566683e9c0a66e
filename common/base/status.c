#include "common/base/status.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    enum saga_code_class class;
} codes[] = {
#define X(name, number, class) [number] = {#name, SAGA_CODE_CLASS_##class},
    SAGA_CODE_LIST(X)
#undef X
};

enum { CODE_COUNT = sizeof codes / sizeof codes[0] };

const char *saga_code_name(uint32_t code)
{
    return code < CODE_COUNT ? codes[code].name : "UNLISTED";
}

bool saga_code_find(const char *name, uint32_t *code)
{
    for (uint32_t i = 0; i < CODE_COUNT; i++) {
        if (strcmp(codes[i].name, name) == 0) {
            *code = i;
            return true;
        }
    }
    return false;
}

enum saga_code_class saga_code_class(uint32_t code)
{
    return code < CODE_COUNT ? codes[code].class : SAGA_CODE_CLASS_UNKNOWN;
}
