/* The restart of a real participant: a command kills it and starts it again, while messages are
 * under way.
 *
 * Nobody knows when the command kills. So messages are sent at distances that grow with the time
 * since the command began: whenever the kill comes, be it after 5 ms or after a second, the last
 * message before it was sent a small part of that time ago, and few messages are enough.
 *
 * Thread: one; the answers come on NNG's. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sys/clock.h"
#include "verify/certify/internal.h"
#include "verify/certify/port_nng.h"

enum {
    POLL_US = 20 * 1000, /* between looks at the command */
    CHECK_MS = 500,      /* for one sign of life */
    GAP_US_MIN = 200,    /* between messages */
    GAP_PART_MIN = 4,    /* the gap is this part of the time that has passed, or a smaller one */
    GAP_COUNT = 8,       /* smaller with the messages: (1 + GAP_COUNT / n)^n is about 2000 */
    BURST_PART = 4,      /* this part of all is sent before the command begins */
    BREAK_MS = 2000,     /* for the kill behind a command that has ended: "… &" */
};

/* Messages on their way to a participant that is being killed. */
struct stream {
    struct saga_certify_nng *nng;
    struct certify_nng_flight *flights;
    size_t count;
    size_t sent;
    int64_t timeout_ms;
    int64_t begun_us;
    int64_t gap_part;
    int64_t next_us; /* when the next one is sent, from begun_us on */
};

static enum saga_err start_command(const char *command, pid_t *pid, struct saga_err_detail *detail)
{
    *pid = fork();
    if (*pid < 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "fork: %s", strerror(errno));
    }
    if (*pid == 0) {
        (void)setpgid(0, 0);
        /* What it prints is for people: stdout is the report's. */
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return SAGA_ERR_OK;
}

/* ---- The evidence ---- */

/* What stood before the command. A process that ends takes all of its connections along. */
struct standing {
    bool stood[CERTIFY_CONNECTIONS];
    size_t breaks[CERTIFY_CONNECTIONS];
};

static struct standing look(struct saga_certify_nng *nng)
{
    struct standing before = {{false}, {0}};
    if (saga_rpc_client_wait(nng->clients[0], CHECK_MS) != SAGA_ERR_OK) {
        return before;
    }
    for (size_t i = 0; i < nng->client_count; i++) {
        /* The breaks first: one between the two looks must count as one afterwards. */
        before.breaks[i] = saga_rpc_client_breaks(nng->clients[i]);
        before.stood[i] = saga_rpc_client_connected(nng->clients[i]);
    }
    return before;
}

static bool all_broke(const struct saga_certify_nng *nng, const struct standing *before)
{
    bool any = false;
    for (size_t i = 0; i < nng->client_count; i++) {
        if (before->stood[i] && saga_rpc_client_breaks(nng->clients[i]) == before->breaks[i]) {
            return false;
        }
        any = any || before->stood[i];
    }
    return any;
}

/* A command may end well and have killed nothing (no such pid, another process): then nothing that
 * is asked afterwards says anything of a restart. */
static enum saga_err await_break(const struct saga_certify_nng *nng, const struct standing *before,
                                 struct saga_err_detail *detail)
{
    int64_t end_us = saga_clock_mono_us() + INT64_C(1000) * BREAK_MS;
    while (!all_broke(nng, before)) {
        if (saga_clock_mono_us() >= end_us) {
            return saga_err_set(detail, SAGA_ERR_INVALID,
                                "it was not restarted (the connection did not break): see what the "
                                "command of --restart kills");
        }
        certify_nng_pause_us(POLL_US);
    }
    return SAGA_ERR_OK;
}

/* ---- Messages under way ---- */

/* Sends the next message. False: it cannot be, for now. */
static bool send_next(struct stream *stream)
{
    struct certify_nng_flight *flight = &stream->flights[stream->sent];
    if (!certify_nng_launch(flight, stream->sent, stream->timeout_ms)) {
        return false;
    }
    stream->sent++;
    return true;
}

/* Sends the first messages and returns when half of them were answered: each case has some. */
static void begin(struct stream *stream)
{
    struct saga_certify_nng *nng = stream->nng;
    size_t burst = (stream->count + BURST_PART - 1) / BURST_PART;
    int64_t part = (int64_t)(stream->count - burst) / GAP_COUNT;
    stream->gap_part = part > GAP_PART_MIN ? part : GAP_PART_MIN;
    (void)pthread_mutex_lock(&nng->mutex);
    nng->ended = 0;
    nng->broken = false;
    (void)pthread_mutex_unlock(&nng->mutex);
    while (stream->sent < burst && send_next(stream)) {
    }
    (void)pthread_mutex_lock(&nng->mutex);
    while (nng->ended < burst / 2 + 1 && nng->waiting > 0) {
        (void)pthread_cond_wait(&nng->changed, &nng->mutex);
    }
    (void)pthread_mutex_unlock(&nng->mutex);
}

/* Sends what is due; gives how long to rest. */
static int64_t go_on(struct stream *stream)
{
    (void)pthread_mutex_lock(&stream->nng->mutex);
    bool broken = stream->nng->broken;
    (void)pthread_mutex_unlock(&stream->nng->mutex);
    if (broken || stream->sent == stream->count) {
        return POLL_US; /* it was killed, or there is nothing more */
    }
    int64_t passed_us = saga_clock_mono_us() - stream->begun_us;
    if (passed_us >= stream->next_us) {
        (void)send_next(stream);
        int64_t gap_us = passed_us / stream->gap_part;
        stream->next_us = passed_us + (gap_us > GAP_US_MIN ? gap_us : GAP_US_MIN);
    }
    int64_t rest_us = stream->next_us - passed_us;
    return rest_us < POLL_US ? rest_us : POLL_US;
}

/* A command that did not do its work is its writer's fault, not the participant's: INVALID. */
static enum saga_err judge_status(int status, struct saga_err_detail *detail)
{
    static const char what[] = "it was not restarted: the command of --restart";
    enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };
    if (WIFSIGNALED(status)) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s was ended by signal %d", what,
                            WTERMSIG(status));
    }
    int code = WEXITSTATUS(status);
    if (code == 0) {
        return SAGA_ERR_OK;
    }
    return saga_err_set(
        detail, SAGA_ERR_INVALID, "%s %s status %d%s", what,
        code == NOT_EXECUTABLE || code == NOT_FOUND ? "could not be run:" : "failed with", code,
        code == NOT_FOUND        ? " (there is no such command)"
        : code == NOT_EXECUTABLE ? " (it may not be executed)"
                                 : "");
}

static enum saga_err run_command(struct saga_certify_nng *nng, struct stream *stream,
                                 int64_t end_us, struct saga_err_detail *detail)
{
    pid_t pid = 0;
    int status = 0;
    enum saga_err err = start_command(nng->config.restart_command, &pid, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    stream->begun_us = saga_clock_mono_us();
    pid_t ended = 0;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && saga_clock_mono_us() < end_us) {
        certify_nng_pause_us(go_on(stream));
    }
    if (ended == 0) {
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
        return saga_err_set(detail, SAGA_ERR_INVALID,
                            "it was not restarted: the command of --restart does not end (start "
                            "the participant in the background)");
    }
    if (ended < 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "waitpid: %s", strerror(errno));
    }
    return judge_status(status, detail);
}

static bool answers(struct saga_certify_nng *nng)
{
    struct saga_command command = {.step = "",
                                   .op = SAGA_OP_NONE,
                                   .method = "saga.v1.HealthService/Check",
                                   .attempt = 1,
                                   .traceparent = "",
                                   .cause_step = "",
                                   .cause_status = saga_status_ok()};
    struct saga_buf request = {0};
    struct saga_certify_message message = {0};
    if (saga_command_batch_add(&command, &request) == SAGA_ERR_OK) {
        message.request = saga_buf_view(&request);
        certify_nng_exchange(nng, &message, 1, CHECK_MS);
    }
    saga_buf_fini(&message.answer);
    saga_buf_fini(&request);
    return message.answered;
}

static enum saga_err await(struct saga_certify_nng *nng, int64_t end_us,
                           struct saga_err_detail *detail)
{
    while (!answers(nng)) {
        if (saga_clock_mono_us() >= end_us) {
            return saga_err_set(detail, SAGA_ERR_TIMEOUT,
                                "the participant does not answer again within %lld ms (does the "
                                "command of --restart start it?)",
                                (long long)nng->config.restart_ms_max);
        }
        certify_nng_pause_us(POLL_US);
    }
    return SAGA_ERR_OK;
}

enum saga_err certify_nng_restart(void *context, struct saga_certify_message *messages,
                                  size_t count, int64_t timeout_ms, struct saga_err_detail *detail)
{
    struct saga_certify_nng *nng = context;
    struct stream stream = {.nng = nng, .count = count, .timeout_ms = timeout_ms};
    stream.flights = calloc(count + 1, sizeof *stream.flights);
    if (stream.flights == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        stream.flights[i] = (struct certify_nng_flight){.nng = nng, .message = &messages[i]};
        messages[i].answered = false;
    }
    struct standing before = look(nng);
    begin(&stream);
    int64_t end_us = saga_clock_mono_us() + nng->config.restart_ms_max * 1000;
    enum saga_err err = run_command(nng, &stream, end_us, detail);
    certify_nng_land(nng);
    free(stream.flights);
    if (err == SAGA_ERR_OK) {
        err = await_break(nng, &before, detail);
    }
    return err == SAGA_ERR_OK ? await(nng, end_us, detail) : err;
}
