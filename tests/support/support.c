/* Implementation of support.h. Linux: PR_SET_PDEATHSIG keeps the children of a test that crashed
 * from living on. */
#include "tests/support/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    POLL_MS = 5,       /* between two looks at a condition */
    OPEN_DIRS_MAX = 16 /* file descriptors that a removal may use */
};

void saga_test_dir_open(struct saga_test_dir *dir)
{
    const char *root = getenv("TMPDIR");
    if (root == NULL || root[0] == '\0') {
        root = "/tmp";
    }
    int size = snprintf(dir->path, sizeof dir->path, "%s/saga-test-XXXXXX", root);
    if (size < 0 || (size_t)size >= sizeof dir->path || mkdtemp(dir->path) == NULL) {
        fail_msg("mkdtemp %s: %s", dir->path, strerror(errno));
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    /* A file may vanish while we look: a journal that a daemon removes at its end. */
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

void saga_test_dir_close(struct saga_test_dir *dir)
{
    if (dir->path[0] != '\0' &&
        nftw(dir->path, remove_entry, OPEN_DIRS_MAX, FTW_DEPTH | FTW_PHYS) != 0 &&
        errno != ENOENT) {
        print_error("cannot remove %s: %s\n", dir->path, strerror(errno));
    }
    dir->path[0] = '\0';
}

const char *saga_test_path(const struct saga_test_dir *dir, const char *name,
                           char out[static SAGA_TEST_PATH_MAX])
{
    int size = snprintf(out, SAGA_TEST_PATH_MAX, "%s/%s", dir->path, name);
    if (size < 0 || size >= SAGA_TEST_PATH_MAX) {
        fail_msg("path too long: %s/%s", dir->path, name);
    }
    return out;
}

int64_t saga_test_now_ms(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        fail_msg("clock_gettime: %s", strerror(errno));
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool saga_test_until(bool (*holds)(void *arg), void *arg, unsigned deadline_ms)
{
    int64_t end = saga_test_now_ms() + (int64_t)deadline_ms;
    while (!holds(arg)) {
        if (saga_test_now_ms() >= end) {
            /* A slow machine may have made it meanwhile. */
            return holds(arg);
        }
        struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

/* The child's side of a spawn: nothing but async-signal-safe calls. Never returns. */
static void run_child(const char *const argv[], int log_fd, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127);
    }
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0) {
        _exit(127);
    }
    if (log_fd >= 0 && (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)) {
        _exit(127);
    }
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    /* execvp's parameter lacks a const for the sake of old C; it changes nothing. */
    union {
        const char *const *given;
        char *const *wanted;
    } args = {.given = argv};
    (void)execvp(argv[0], args.wanted);
    _exit(127);
}

void saga_test_spawn(struct saga_test_child *child, const char *const argv[], const char *log_path)
{
    int log_fd = -1;
    if (log_path != NULL) {
        log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) {
            fail_msg("open %s: %s", log_path, strerror(errno));
        }
    }
    pid_t parent = getpid();
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_child(argv, log_fd, parent);
    }
    int error = errno;
    if (log_fd >= 0) {
        (void)close(log_fd);
    }
    if (pid < 0) {
        fail_msg("fork for %s: %s", argv[0], strerror(error));
    }
    *child = (struct saga_test_child){.pid = pid};
}

void saga_test_signal(const struct saga_test_child *child, int sig)
{
    if (child->pid > 0 && kill(child->pid, sig) != 0) {
        fail_msg("kill %d: %s", (int)child->pid, strerror(errno));
    }
}

bool saga_test_running(struct saga_test_child *child)
{
    if (child->pid <= 0) {
        return false;
    }
    pid_t ended;
    do {
        ended = waitpid(child->pid, &child->status, WNOHANG);
    } while (ended < 0 && errno == EINTR);
    if (ended == 0) {
        return true;
    }
    if (ended < 0) {
        fail_msg("waitpid %d: %s", (int)child->pid, strerror(errno));
    }
    child->pid = 0;
    return false;
}

static bool has_ended(void *arg)
{
    struct saga_test_child *child = arg;
    return !saga_test_running(child);
}

bool saga_test_wait(struct saga_test_child *child, unsigned deadline_ms)
{
    return saga_test_until(has_ended, child, deadline_ms);
}

bool saga_test_stop(struct saga_test_child *child, unsigned deadline_ms)
{
    if (child->pid <= 0) {
        return WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0;
    }
    saga_test_signal(child, SIGTERM);
    if (!saga_test_wait(child, deadline_ms)) {
        saga_test_signal(child, SIGKILL);
        (void)saga_test_wait(child, deadline_ms);
        return false;
    }
    return WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0;
}

char *saga_test_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        if (errno != ENOENT) {
            fail_msg("open %s: %s", path, strerror(errno));
        }
        return NULL;
    }
    size_t used = 0;
    size_t room = 4096;
    char *data = malloc(room);
    while (data != NULL) {
        used += fread(data + used, 1, room - 1 - used, file);
        if (used < room - 1) {
            break;
        }
        room *= 2;
        char *more = realloc(data, room);
        if (more == NULL) {
            free(data);
        }
        data = more;
    }
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (data == NULL || failed) {
        free(data);
        fail_msg("cannot read %s", path);
        return NULL;
    }
    data[used] = '\0';
    if (size != NULL) {
        *size = used;
    }
    return data;
}

void saga_test_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        fail_msg("open %s: %s", path, strerror(errno));
        return;
    }
    bool whole = fwrite(data, 1, size, file) == size;
    if (fclose(file) != 0 || !whole) {
        fail_msg("cannot write %s", path);
    }
}

uint16_t saga_test_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    if (sock < 0 || bind(sock, (const struct sockaddr *)&at, size) != 0 ||
        getsockname(sock, (struct sockaddr *)&at, &size) != 0) {
        fail_msg("no free port: %s", strerror(errno));
    }
    (void)close(sock);
    return ntohs(at.sin_port);
}

const char *saga_test_kafka(char out[static SAGA_TEST_PATH_MAX])
{
    const char *dir = getenv("SAGA_TEST_KAFKA_DIR");
    if (dir == NULL) {
        print_message("no SAGA_TEST_KAFKA_DIR: run it by ctest\n");
        skip();
        return NULL;
    }
    char path[SAGA_TEST_PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/bootstrap", dir);
    char *text = size > 0 && (size_t)size < sizeof path ? saga_test_read(path, NULL) : NULL;
    if (text == NULL) {
        fail_msg("no broker in %s", dir);
        return NULL;
    }
    text[strcspn(text, "\n")] = '\0';
    size = snprintf(out, SAGA_TEST_PATH_MAX, "%s", text);
    free(text);
    if (size <= 0 || size >= SAGA_TEST_PATH_MAX) {
        fail_msg("no address in %s", path);
    }
    return out;
}
