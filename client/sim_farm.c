#include "client/sim_farm.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/sim_apart.h"
#include "common/base/assert.h"
#include "common/base/prng.h"

enum {
    QUEUED_MAX = 2, /* worlds of a worker, one of which runs: it never waits for the next */
    TELL_EVERY_MS = 250,
    KEPT_BYTES = 1 << 29,
};

/* What a worker answers. */
struct answer {
    uint64_t index;
    enum saga_err err;
    struct saga_err_detail detail;
    struct saga_sim_result result; /* without its faults */
};

struct worker {
    pid_t pid; /* 0: gone */
    int to;    /* indexes of worlds; -1: closed */
    int from;  /* answers */
    uint64_t queue[QUEUED_MAX];
    unsigned queued;
    unsigned got; /* bytes of the present answer */
    struct answer answer;
};

struct run {
    const struct saga_farm *farm;
    struct saga_farm_totals *totals;
    struct saga_err_detail *detail;
    struct worker *workers;
    uint64_t next; /* index to be handed out */
    bool stopping;
    int64_t began_ms;
    int64_t told_ms;
    uint64_t bad_index;
    enum saga_err err;
};

static int64_t now_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Processor time of children that were waited for. */
static double children_s(void)
{
    struct tms spent = {0};
    (void)times(&spent);
    return (double)(spent.tms_cutime + spent.tms_cstime) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- In a worker ---- */

static _Noreturn void work(const struct saga_farm *farm, int from, int to)
{
    struct answer answer;
    uint64_t index = 0;
    /* A world's memory is the next one's: to give it back in between costs a third of the time. */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
    (void)signal(SIGINT, SIG_IGN); /* a terminal sends it to all; the parent ends this one */
    (void)signal(SIGTERM, SIG_DFL);
    while (saga_sim_move_all(from, &index, sizeof index, false)) {
        memset(&answer, 0, sizeof answer);
        answer.index = index;
        struct saga_sim_config config = *farm->config;
        config.seed = farm->seed + index;
        config.transcript = NULL;
        answer.err = saga_sim_run(farm->sim, &config, &answer.result, &answer.detail);
        struct saga_sim_result told = answer.result;
        if (answer.err == SAGA_ERR_OK) {
            saga_sim_result_fini(&answer.result);
        }
        told.fired = NULL;
        answer.result = told;
        if (!saga_sim_move_all(to, &answer, sizeof answer, true)) {
            break; /* nobody listens any more */
        }
    }
    _exit(0); /* what the parent has not yet written is the parent's */
}

/* ---- Processes ---- */

static enum saga_err start_worker(struct run *run, struct worker *worker)
{
    int there[2];
    int back[2];
    if (pipe(there) != 0) {
        return saga_err_set(run->detail, SAGA_ERR_IO, "pipe: %s", strerror(errno));
    }
    if (pipe(back) != 0) {
        (void)close(there[0]);
        (void)close(there[1]);
        return saga_err_set(run->detail, SAGA_ERR_IO, "pipe: %s", strerror(errno));
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(there[1]);
        (void)close(back[0]);
        /* The ends of the others would keep them from seeing that nobody is there. */
        for (unsigned i = 0; i < run->farm->workers; i++) {
            if (run->workers[i].pid > 0) {
                (void)close(run->workers[i].to);
                (void)close(run->workers[i].from);
            }
        }
        work(run->farm, there[0], back[1]);
    }
    (void)close(there[0]);
    (void)close(back[1]);
    if (pid < 0) {
        (void)close(there[1]);
        (void)close(back[0]);
        return saga_err_set(run->detail, SAGA_ERR_IO, "fork: %s", strerror(errno));
    }
    *worker = (struct worker){.pid = pid, .to = there[1], .from = back[0]};
    return SAGA_ERR_OK;
}

static void close_to(struct worker *worker)
{
    if (worker->to >= 0) {
        (void)close(worker->to);
        worker->to = -1;
    }
}

/* Waits for a worker that has closed its end; gives the signal that it died by, or 0. */
static int reap(struct worker *worker)
{
    int status = 0;
    close_to(worker);
    (void)close(worker->from);
    while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR) {
    }
    worker->pid = 0;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* ---- Handing out and taking in ---- */

static bool is_time_over(const struct run *run)
{
    return run->farm->duration_ms > 0 && now_ms() - run->began_ms >= run->farm->duration_ms;
}

static bool is_stopped(const struct run *run)
{
    return run->farm->stop != NULL && *run->farm->stop != 0;
}

/* Gives a worker worlds until it has enough, or closes its pipe when there are no more. */
static void hand_out(struct run *run, struct worker *worker)
{
    while (worker->to >= 0 && worker->queued < QUEUED_MAX) {
        if (run->stopping || is_stopped(run) || run->next >= run->farm->runs_max ||
            is_time_over(run)) {
            close_to(worker);
            return;
        }
        uint64_t index = run->next;
        if (!saga_sim_move_all(worker->to, &index, sizeof index, true)) {
            close_to(worker); /* it is dead; its other pipe tells */
            return;
        }
        run->next++;
        run->totals->begun = run->next;
        worker->queue[worker->queued++] = index;
    }
}

static void take_bad(struct run *run, uint64_t index, const struct saga_sim_result *result,
                     int signal_number)
{
    struct saga_farm_totals *totals = run->totals;
    uint64_t seed = run->farm->seed + index;
    if (totals->violations < SAGA_FARM_SEEDS_MAX) {
        size_t at = totals->violations;
        for (; at > 0 && totals->bad_seeds[at - 1] > seed; at--) {
            totals->bad_seeds[at] = totals->bad_seeds[at - 1];
        }
        totals->bad_seeds[at] = seed;
    }
    totals->violations++;
    if (totals->violations > 1 && index > run->bad_index) {
        return;
    }
    run->bad_index = index;
    totals->bad_seed = seed;
    totals->bad = *result;
    totals->bad_signal = signal_number;
}

/* One number of all, whatever order they came in. */
static void mix_hash(struct run *run, uint64_t index, uint64_t hash)
{
    uint64_t state = hash ^ (index * UINT64_C(0x9e3779b97f4a7c15));
    run->totals->trace_hash =
        run->farm->runs_max == 1 ? hash : run->totals->trace_hash + saga_prng_next(&state);
}

static void add(struct run *run, const struct answer *answer)
{
    struct saga_farm_totals *totals = run->totals;
    const struct saga_sim_result *result = &answer->result;
    totals->runs++;
    SAGA_ASSERT(result->violated || result->started == result->completed + result->compensated);
    totals->sagas += result->started; /* its children are among them */
    totals->completed += result->completed;
    totals->compensated += result->compensated;
    totals->children += result->children;
    totals->happenings += result->happenings;
    totals->events += result->events;
    totals->commits += result->commits;
    totals->effects += result->effects;
    totals->records += result->records;
    totals->crashes += result->crashes;
    totals->takeovers += result->takeovers;
    totals->virtual_ms += (uint64_t)result->virtual_ms;
    for (size_t i = 0; i < SAGA_SIM_FAULT_COUNT; i++) {
        totals->fired_by_kind[i] += result->fired_by_kind[i];
    }
    mix_hash(run, answer->index, result->trace_hash);
    if (result->violated) {
        take_bad(run, answer->index, result, 0);
        run->stopping |= !run->farm->keep_going;
    }
}

/* Takes what a worker has written. */
static void take_in(struct run *run, struct worker *worker)
{
    ssize_t got = read(worker->from, (uint8_t *)&worker->answer + worker->got,
                       sizeof worker->answer - worker->got);
    if (got < 0) {
        return; /* EINTR */
    }
    if (got == 0) {
        uint64_t index = worker->queue[0];
        bool was_busy = worker->queued > 0;
        int signal_number = reap(worker);
        if (was_busy && (is_stopped(run) || signal_number == SIGTERM)) {
            run->totals->interrupted = true; /* somebody has ended it: nothing is broken */
            run->stopping = true;
        } else if (was_busy) {
            const struct saga_sim_result none = {.violated = true};
            take_bad(run, index, &none, signal_number);
            run->stopping = true;
        }
        return;
    }
    worker->got += (unsigned)got;
    if (worker->got < sizeof worker->answer) {
        return;
    }
    worker->got = 0;
    SAGA_ASSERT(worker->queued > 0 && worker->answer.index == worker->queue[0]);
    worker->queued--;
    memmove(&worker->queue[0], &worker->queue[1], worker->queued * sizeof worker->queue[0]);
    if (worker->answer.err != SAGA_ERR_OK) {
        if (run->err == SAGA_ERR_OK) {
            run->err = saga_err_set(run->detail, worker->answer.err, "seed %llu: %s",
                                    (unsigned long long)(run->farm->seed + worker->answer.index),
                                    worker->answer.detail.text);
        }
        run->stopping = true;
    } else {
        add(run, &worker->answer);
    }
    hand_out(run, worker);
}

static void tell(struct run *run)
{
    if (run->farm->tell != NULL && now_ms() - run->told_ms >= TELL_EVERY_MS) {
        run->told_ms = now_ms();
        run->farm->tell(run->farm->user, run->totals);
    }
}

/* Ends the workers in the midst of their worlds. */
static void end_workers(struct run *run)
{
    for (unsigned i = 0; i < run->farm->workers; i++) {
        if (run->workers[i].pid > 0) {
            (void)kill(run->workers[i].pid, SIGTERM);
        }
    }
    run->stopping = true;
    run->totals->interrupted = true;
}

/* Until every worker is gone. */
static void loop(struct run *run)
{
    struct pollfd fds[SAGA_FARM_WORKERS_MAX];
    struct worker *owners[SAGA_FARM_WORKERS_MAX];
    for (;;) {
        nfds_t count = 0;
        for (unsigned i = 0; i < run->farm->workers; i++) {
            if (run->workers[i].pid > 0) {
                owners[count] = &run->workers[i];
                fds[count++] = (struct pollfd){.fd = run->workers[i].from, .events = POLLIN};
            }
        }
        if (count == 0) {
            return;
        }
        if (is_stopped(run) && !run->totals->interrupted) {
            end_workers(run);
        }
        int ready = poll(fds, count, TELL_EVERY_MS);
        for (nfds_t i = 0; ready > 0 && i < count; i++) {
            if (fds[i].revents != 0) {
                take_in(run, owners[i]);
            }
        }
        tell(run);
    }
}

enum saga_err saga_farm_run(const struct saga_farm *farm, struct saga_farm_totals *totals,
                            struct saga_err_detail *detail)
{
    SAGA_ASSERT(farm->workers >= 1 && farm->workers <= SAGA_FARM_WORKERS_MAX);
    memset(totals, 0, sizeof *totals);
    struct run run = {.farm = farm, .totals = totals, .detail = detail, .began_ms = now_ms()};
    double cpu_before = children_s();
    run.workers = calloc(farm->workers, sizeof *run.workers);
    if (run.workers == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "out of memory");
    }
    for (unsigned i = 0; i < farm->workers && run.err == SAGA_ERR_OK; i++) {
        if (i < farm->runs_max) {
            run.err = start_worker(&run, &run.workers[i]);
        }
    }
    run.stopping = run.err != SAGA_ERR_OK;
    for (unsigned i = 0; i < farm->workers; i++) {
        if (run.workers[i].pid > 0) {
            hand_out(&run, &run.workers[i]);
        }
    }
    loop(&run);
    totals->cpu_s = children_s() - cpu_before;
    free(run.workers);
    return run.err;
}
