/* Only in builds with -DSAGA_CANARY=ON. */
#include "common/base/canary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The environment does not change while a test runs, and the engine asks very often. */
static const char *wanted(void)
{
    static _Atomic(const char *) known;
    const char *name = known;
    if (name == NULL) {
        name = getenv("SAGA_BREAK");
        name = name == NULL ? "" : name;
        known = name;
    }
    return name;
}

static void mark(const char *name)
{
    static _Atomic int marked;
    if (marked++ != 0) {
        marked = 1; /* it does not wrap round */
        return;
    }
    const char *path = getenv("SAGA_BREAK_MARK");
    FILE *file = path == NULL ? NULL : fopen(path, "a");
    if (file != NULL) {
        (void)fprintf(file, "%s\n", name);
        (void)fclose(file);
    }
}

bool saga_canary_named(const char *name)
{
    return strcmp(wanted(), name) == 0;
}

bool saga_canary_broken(const char *name)
{
    if (!saga_canary_named(name)) {
        return false;
    }
    mark(name);
    return true;
}

bool saga_canary_muted(void)
{
    static _Atomic int known; /* 1: no, 2: yes */
    if (known == 0) {
        known = getenv("SAGA_BREAK_MUTE") == NULL ? 1 : 2;
    }
    return known == 2;
}

uint64_t saga_canary_noise(void)
{
    static _Atomic uint64_t count;
    count += 1;
    return count * UINT64_C(0x9e3779b97f4a7c15);
}
