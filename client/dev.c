/* The children of `sagactl dev`. See dev.h. prctl() and PR_SET_PDEATHSIG are Linux's. */
#define _XOPEN_SOURCE 700 /* realpath() is in POSIX.1-2008's XSI part */
#include "client/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/client.h"
#include "common/sys/clock.h"

enum { TAIL_SIZE = 2048, TAIL_LINES = 15, PAUSE_MS = 20 };

int saga_dev_lock(const char *dir)
{
    char path[PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0) {
        return fd;
    }
    if (fd >= 0 && (errno == EACCES || errno == EAGAIN)) {
        saga_client_warn("%s: another sagactl dev runs there; stop it first", dir);
    } else {
        saga_client_warn("%s: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return -1;
}

int saga_dev_bin_dir(const struct saga_options *options, char bin_dir[PATH_MAX])
{
    const char *given = saga_options_text(options, "bin-dir");
    if (given != NULL) {
        if (realpath(given, bin_dir) == NULL) {
            return saga_client_fail("--bin-dir %s: %s", given, strerror(errno));
        }
        return SAGA_EXIT_OK;
    }
    ssize_t size = readlink("/proc/self/exe", bin_dir, PATH_MAX - 1);
    if (size <= 0) {
        return saga_client_fail("/proc/self/exe: %s", strerror(errno));
    }
    bin_dir[size] = 0;
    *strrchr(bin_dir, '/') = 0;
    return SAGA_EXIT_OK;
}

enum saga_err saga_dev_child_add(struct saga_dev_child *child, const char *format, ...)
{
    char text[2 * PATH_MAX];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof text || child->arg_count + 1 >= SAGA_DEV_ARGS_MAX) {
        return SAGA_ERR_LIMIT;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    child->args[child->arg_count++] = copy;
    return SAGA_ERR_OK;
}

enum saga_err saga_dev_child_replace(struct saga_dev_child *child, const char *name,
                                     const char *value)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < child->arg_count; i++) {
        if (strncmp(child->args[i], name, size) != 0 || child->args[i][size] != '=') {
            continue;
        }
        char *text = malloc(size + strlen(value) + 2);
        if (text == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        sprintf(text, "%s=%s", name, value);
        free(child->args[i]);
        child->args[i] = text;
    }
    return SAGA_ERR_OK;
}

void saga_dev_child_fini(struct saga_dev_child *child)
{
    for (size_t i = 0; i < child->arg_count; i++) {
        free(child->args[i]);
    }
    child->arg_count = 0;
}

/* In the child, between fork and exec: only what is safe there. */
static void become(const struct saga_dev_child *child, pid_t parent, int log, int null)
{
    sigset_t none;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127); /* the parent died before prctl */
    }
    (void)sigaction(SIGPIPE, &standard, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0) {
        _exit(127);
    }
    execv(child->program, child->args);
    _exit(127);
}

enum saga_err saga_dev_child_start(struct saga_dev_child *child, struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_IO;
    (void)unlink(child->ready_file);
    child->ready = false;
    child->awaited = false;
    child->failed = false;
    if (access(child->program, X_OK) != 0) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "%s: %s", child->program, strerror(errno));
    }
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(child->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (null < 0 || log < 0) {
        err = saga_err_set(detail, SAGA_ERR_IO, "%s: %s", child->log, strerror(errno));
        goto done;
    }
    child->args[child->arg_count] = NULL;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become(child, parent, log, null);
    }
    if (pid < 0) {
        err = saga_err_set(detail, SAGA_ERR_IO, "fork: %s", strerror(errno));
        goto done;
    }
    child->pid = pid;
    child->since_us = saga_clock_mono_us();
    err = SAGA_ERR_OK;
done:
    if (null >= 0) {
        (void)close(null);
    }
    if (log >= 0) {
        (void)close(log);
    }
    return err;
}

bool saga_dev_child_reap(struct saga_dev_child *child, struct saga_err_detail *how)
{
    int status = 0;
    if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid) {
        return false;
    }
    child->pid = 0;
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    child->failed = child->failed || !clean || !child->awaited;
    if (WIFSIGNALED(status)) {
        (void)saga_err_set(how, SAGA_ERR_OK, "signal %d", WTERMSIG(status));
    } else {
        (void)saga_err_set(how, SAGA_ERR_OK, "exit status %d", WEXITSTATUS(status));
    }
    return true;
}

bool saga_dev_child_look(struct saga_dev_child *child)
{
    struct saga_endpoint endpoint = {{0}, {0}, 0};
    if (!child->ready && child->pid != 0 &&
        saga_endpoint_read_ready(child->ready_file, &endpoint, NULL) == SAGA_ERR_OK) {
        child->endpoint = endpoint;
        child->endpoint.pid = child->pid;
        child->ready = true;
    }
    return child->ready;
}

void saga_dev_child_tail(const struct saga_dev_child *child)
{
    char text[TAIL_SIZE + 1];
    FILE *file = fopen(child->log, "rb");
    if (file == NULL) {
        return;
    }
    if (fseek(file, -TAIL_SIZE, SEEK_END) != 0) {
        rewind(file);
    }
    size_t size = fread(text, 1, TAIL_SIZE, file);
    fclose(file);
    text[size] = 0;
    size_t begin = size;
    for (size_t lines = 0; begin > 0; begin--) {
        lines += text[begin - 1] == '\n' && begin != size;
        if (lines == TAIL_LINES) {
            break;
        }
    }
    fprintf(stderr, "---- the end of %s\n%s%s----\n", child->log, text + begin,
            size > 0 && text[size - 1] == '\n' ? "" : "\n");
}

static void warn_killed(struct saga_dev_child *child, bool hurried)
{
    if (!hurried) {
        saga_client_warn("%s did not stop in time; it is killed. The end of %s may say why.",
                         saga_daemon_name(child->daemon), child->log);
    }
    (void)kill(child->pid, SIGKILL);
    (void)waitpid(child->pid, NULL, 0);
    child->pid = 0;
    child->failed = true;
}

bool saga_dev_children_stop(struct saga_dev_child *const *children, size_t count,
                            int64_t timeout_ms, const sigset_t *signals)
{
    int64_t end_us = saga_clock_mono_us() + timeout_ms * 1000;
    bool clean = true;
    bool hurried = false;
    for (size_t i = 0; i < count; i++) {
        if (children[i]->pid != 0) {
            children[i]->awaited = true;
            (void)kill(children[i]->pid, SIGTERM);
        }
    }
    for (;;) {
        size_t running = 0;
        for (size_t i = 0; i < count; i++) {
            struct saga_err_detail how = {{0}};
            if (saga_dev_child_reap(children[i], &how) && children[i]->failed) {
                saga_client_warn("%s ended with %s", saga_daemon_name(children[i]->daemon),
                                 how.text);
                clean = false;
            }
            running += children[i]->pid != 0;
        }
        if (running == 0 || hurried || saga_clock_mono_us() > end_us) {
            break;
        }
        struct timespec pause = {0, PAUSE_MS * 1000000L};
        int got = sigtimedwait(signals, NULL, &pause);
        hurried = got == SIGINT || got == SIGTERM;
    }
    for (size_t i = 0; i < count; i++) {
        if (children[i]->pid != 0) {
            warn_killed(children[i], hurried);
            clean = false;
        }
    }
    return clean;
}
