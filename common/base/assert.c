#include "common/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void saga_assert_fail(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
