/* The test helpers themselves: a helper that lies makes every test lie. */
#include "tests/support/support.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static void test_dir_when_closed_is_gone_with_its_files(void **state)
{
    (void)state;
    struct saga_test_dir dir;
    saga_test_dir_open(&dir);
    char kept[SAGA_TEST_PATH_MAX];
    memcpy(kept, dir.path, sizeof kept);
    char path[SAGA_TEST_PATH_MAX];
    saga_test_write(saga_test_path(&dir, "file", path), "abc", 3);
    saga_test_dir_close(&dir);
    struct stat st;
    assert_int_not_equal(stat(kept, &st), 0);
    saga_test_dir_close(&dir);
}

static void test_read_when_written_gives_the_same_bytes(void **state)
{
    (void)state;
    struct saga_test_dir dir;
    saga_test_dir_open(&dir);
    char path[SAGA_TEST_PATH_MAX];
    saga_test_path(&dir, "file", path);
    /* More than one block of the reader, with a zero byte inside. */
    char data[10000];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (char)(i % 251);
    }
    saga_test_write(path, data, sizeof data);
    size_t size = 0;
    char *read = saga_test_read(path, &size);
    assert_non_null(read);
    assert_int_equal(size, sizeof data);
    assert_memory_equal(read, data, size);
    free(read);
    saga_test_path(&dir, "none", path);
    assert_null(saga_test_read(path, NULL));
    saga_test_dir_close(&dir);
}

static bool counts_down(void *arg)
{
    int *left = arg;
    return --*left <= 0;
}

static void test_until_when_it_holds_later_waits(void **state)
{
    (void)state;
    int left = 3;
    assert_true(saga_test_until(counts_down, &left, 10000));
    left = 1000000;
    int64_t begin = saga_test_now_ms();
    assert_false(saga_test_until(counts_down, &left, 30));
    assert_true(saga_test_now_ms() - begin >= 30);
}

static void test_spawn_when_child_ends_keeps_its_status_and_output(void **state)
{
    (void)state;
    struct saga_test_dir dir;
    saga_test_dir_open(&dir);
    char log[SAGA_TEST_PATH_MAX];
    saga_test_path(&dir, "log", log);
    struct saga_test_child child;
    saga_test_spawn(&child,
                    (const char *const[]){"sh", "-c", "echo out; echo err >&2; exit 3", NULL}, log);
    assert_true(saga_test_wait(&child, 10000));
    assert_true(WIFEXITED(child.status));
    assert_int_equal(WEXITSTATUS(child.status), 3);
    char *said = saga_test_read(log, NULL);
    assert_string_equal(said, "out\nerr\n");
    free(said);
    saga_test_dir_close(&dir);
}

static void test_stop_when_child_obeys_or_not_ends_it(void **state)
{
    (void)state;
    struct saga_test_child child;
    saga_test_spawn(&child, (const char *const[]){"sleep", "60", NULL}, NULL);
    assert_true(saga_test_running(&child));
    assert_false(saga_test_stop(&child, 10000)); /* it ends by the signal, not by exit 0 */
    assert_true(WIFSIGNALED(child.status));
    assert_int_equal(WTERMSIG(child.status), SIGTERM);

    saga_test_spawn(&child, (const char *const[]){"/nowhere/at/all", NULL}, NULL);
    assert_true(saga_test_wait(&child, 10000));
    assert_int_equal(WEXITSTATUS(child.status), 127);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dir_when_closed_is_gone_with_its_files),
        cmocka_unit_test(test_read_when_written_gives_the_same_bytes),
        cmocka_unit_test(test_until_when_it_holds_later_waits),
        cmocka_unit_test(test_spawn_when_child_ends_keeps_its_status_and_output),
        cmocka_unit_test(test_stop_when_child_obeys_or_not_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
