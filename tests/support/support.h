/* What tests of every room need: a directory of one's own, waiting on a condition, children, files,
 * the shared broker. Not for the product. Every function ends the test (cmocka's fail) when the
 * machine does not give what it asks for, so that tests check only what they test. Thread: any,
 * unless said otherwise. */
#ifndef SAGA_TESTS_SUPPORT_SUPPORT_H
#define SAGA_TESTS_SUPPORT_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SAGA_TEST_PATH_MAX = 512, /* bytes of a path made here, with its end */
};

/* A directory that exists for one test. */
struct saga_test_dir {
    char path[SAGA_TEST_PATH_MAX];
};

/* A child process of the test. */
struct saga_test_child {
    pid_t pid;  /* 0: none, or waited for */
    int status; /* as waitpid gave it, once it ended */
};

/* Makes an empty directory under $TMPDIR or /tmp. */
void saga_test_dir_open(struct saga_test_dir *dir);

/* Removes the directory and everything in it; nothing if it was never made or is removed already.
 */
void saga_test_dir_close(struct saga_test_dir *dir);

/* Writes DIR/NAME to out and returns out. */
const char *saga_test_path(const struct saga_test_dir *dir, const char *name,
                           char out[static SAGA_TEST_PATH_MAX]);

/* Asks `holds(arg)` every few milliseconds until it says true; false when `deadline_ms` have passed
 * without. */
bool saga_test_until(bool (*holds)(void *arg), void *arg, unsigned deadline_ms);

/* Reads the monotonic clock in milliseconds. */
int64_t saga_test_now_ms(void);

/* Starts argv[0] (a path, or a name found in PATH) with its output appended to the file log_path
 * (NULL: the test's own output). The child gets SIGKILL if the test process dies before it. Call it
 * on the test's main thread: the child's life is bound to the thread that starts it. */
void saga_test_spawn(struct saga_test_child *child, const char *const argv[], const char *log_path);

/* Sends a signal to the child; nothing if it was waited for already. */
void saga_test_signal(const struct saga_test_child *child, int sig);

/* Waits for the child's end; false when it still runs after `deadline_ms`. */
bool saga_test_wait(struct saga_test_child *child, unsigned deadline_ms);

/* Tells whether the child still runs (and keeps its status if it has just ended). */
bool saga_test_running(struct saga_test_child *child);

/* Sends SIGTERM, waits, sends SIGKILL after `deadline_ms`; true if it ended by itself with exit
 * code 0. */
bool saga_test_stop(struct saga_test_child *child, unsigned deadline_ms);

/* Reads a whole file. Owns: the caller frees the result, which has a 0 after its last byte. size
 * may be NULL. Returns NULL if there is no such file; fails the test on any other error. */
char *saga_test_read(const char *path, size_t *size);

/* Writes a whole file. */
void saga_test_write(const char *path, const void *data, size_t size);

/* Finds a TCP port of 127.0.0.1 that is free now. Prefer listening on port 0 where the program can.
 */
uint16_t saga_test_port(void);

/* Returns HOST:PORT of the broker that all integration and end-to-end tests share (cmake:
 * saga_needs_kafka); skips the test if there is none, which happens only when the program is run by
 * hand, without ctest. */
const char *saga_test_kafka(char out[static SAGA_TEST_PATH_MAX]);

#endif
