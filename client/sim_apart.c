#include "client/sim_apart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the world's process tells; its faults follow. */
struct answer {
    enum saga_err err;
    struct saga_err_detail detail;
    struct saga_sim_result result;
};

bool saga_sim_move_all(int fd, void *data, size_t size, bool out)
{
    uint8_t *at = data;
    while (size > 0) {
        ssize_t moved = out ? write(fd, at, size) : read(fd, at, size);
        if (moved < 0 && errno == EINTR) {
            continue;
        }
        if (moved <= 0) {
            return false;
        }
        at += moved;
        size -= (size_t)moved;
    }
    return true;
}

static _Noreturn void run_and_tell(struct saga_sim *sim, const struct saga_sim_config *config,
                                   int to, bool quiet)
{
    struct answer answer;
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    int nowhere = quiet ? open("/dev/null", O_WRONLY) : -1;
    if (nowhere >= 0) {
        (void)dup2(nowhere, STDERR_FILENO);
    }
    memset(&answer, 0, sizeof answer);
    answer.err = saga_sim_run(sim, config, &answer.result, &answer.detail);
    if (config->transcript != NULL) {
        (void)fflush(config->transcript);
    }
    size_t size = answer.result.fired_count * sizeof *answer.result.fired;
    (void)(saga_sim_move_all(to, &answer, sizeof answer, true) &&
           saga_sim_move_all(to, answer.result.fired, size, true));
    _exit(0);
}

/* Takes what was told; false: the process is dead. */
static bool take(int from, struct answer *answer)
{
    if (!saga_sim_move_all(from, answer, sizeof *answer, false)) {
        return false;
    }
    size_t count = answer->result.fired_count;
    answer->result.fired = calloc(count + 1, sizeof *answer->result.fired);
    if (answer->result.fired == NULL) {
        answer->err = saga_err_set(&answer->detail, SAGA_ERR_NO_MEMORY, "out of memory");
        return true;
    }
    if (!saga_sim_move_all(from, answer->result.fired, count * sizeof *answer->result.fired,
                           false)) {
        free(answer->result.fired);
        return false;
    }
    return true;
}

static enum saga_err finish(bool told, struct answer *answer, int status,
                            struct saga_sim_result *result, struct saga_err_detail *detail)
{
    if (!told) {
        memset(result, 0, sizeof *result);
        result->violated = true;
        (void)snprintf(result->rule, sizeof result->rule, "%s", SAGA_SIM_DIED);
        (void)snprintf(result->violation, sizeof result->violation,
                       "the world's process died (signal %d)",
                       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        return SAGA_ERR_OK;
    }
    if (answer->err != SAGA_ERR_OK) {
        free(answer->result.fired);
        return saga_err_set(detail, answer->err, "%s", answer->detail.text);
    }
    *result = answer->result;
    return SAGA_ERR_OK;
}

enum saga_err saga_sim_apart(void *user, struct saga_sim *sim, const struct saga_sim_config *config,
                             struct saga_sim_result *result, struct saga_err_detail *detail)
{
    const bool *quiet = user;
    int fds[2];
    if (pipe(fds) != 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "pipe: %s", strerror(errno));
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        run_and_tell(sim, config, fds[1], *quiet);
    }
    (void)close(fds[1]);
    if (pid < 0) {
        (void)close(fds[0]);
        return saga_err_set(detail, SAGA_ERR_IO, "fork: %s", strerror(errno));
    }
    struct answer answer;
    bool told = take(fds[0], &answer);
    int status = 0;
    (void)close(fds[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return finish(told, &answer, status, result, detail);
}
