/* The shared broker's fixture: it is up, and a record goes in and comes out. */
#include "tests/support/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void test_broker_when_started_by_the_fixture_keeps_records(void **state)
{
    (void)state;
    char bootstrap[SAGA_TEST_PATH_MAX];
    saga_test_kafka(bootstrap);
    struct saga_test_dir dir;
    saga_test_dir_open(&dir);
    char log[SAGA_TEST_PATH_MAX];
    saga_test_path(&dir, "log", log);
    /* The script's own probe wrote one record at least. */
    struct saga_test_child kcat;
    saga_test_spawn(&kcat,
                    (const char *const[]){"kcat", "-b", bootstrap, "-C", "-t", "kafka-broker-probe",
                                          "-o", "beginning", "-e", "-q", NULL},
                    log);
    assert_true(saga_test_wait(&kcat, 30000));
    assert_true(WIFEXITED(kcat.status));
    assert_int_equal(WEXITSTATUS(kcat.status), 0);
    char *said = saga_test_read(log, NULL);
    assert_non_null(said);
    assert_non_null(strstr(said, "probe\n"));
    free(said);
    saga_test_dir_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broker_when_started_by_the_fixture_keeps_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
