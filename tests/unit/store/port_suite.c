#include "tests/unit/store/port_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/store/port_fixture.h"

int port_suite_run(const char *name, const struct port_suite_factory *of)
{
    factory = of;
    print_message("store port suite: %s\n", name);
    return port_saga_tests() + port_commit_tests() + port_journal_tests();
}
