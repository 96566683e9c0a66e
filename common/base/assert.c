#include "common/base/assert.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local saga_assert_told *caught_by;
static _Thread_local void *caught_for;

void saga_assert_catch(saga_assert_told *told, void *user)
{
    caught_by = told;
    caught_for = user;
}

_Noreturn void saga_assert_fail(const char *condition, const char *file, int line)
{
    if (caught_by != NULL) {
        saga_assert_told *told = caught_by;
        caught_by = NULL;
        told(caught_for, condition, file, line);
    }
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
