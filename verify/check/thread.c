/* Threads, and what they do when the engine asserts. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include "verify/check/internal.h"

/* ---- SIGABRT ---- */

static _Thread_local sigjmp_buf *guard_place;
static struct sigaction guard_before;

static void on_abort(int signal)
{
    (void)signal;
    if (guard_place != NULL) {
        siglongjmp(*guard_place, 1);
    }
}

enum saga_err guard_install(void)
{
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = SA_NODEFER};
    (void)sigemptyset(&action.sa_mask);
    return sigaction(SIGABRT, &action, &guard_before) == 0 ? SAGA_ERR_OK : SAGA_ERR_UNAVAILABLE;
}

void guard_remove(void)
{
    (void)sigaction(SIGABRT, &guard_before, NULL);
}

bool guarded(void (*run)(void *arg), void *arg)
{
    sigjmp_buf place;
    if (sigsetjmp(place, 1) != 0) {
        guard_place = NULL;
        return false;
    }
    guard_place = &place;
    run(arg);
    guard_place = NULL;
    return true;
}

/* ---- threads ---- */

struct job {
    void (*work)(void *arg, uint32_t index);
    void *arg;
    uint32_t index;
};

static void *run_job(void *arg)
{
    const struct job *job = arg;
    job->work(job->arg, job->index);
    return NULL;
}

void run_parallel(uint32_t threads, void (*work)(void *arg, uint32_t index), void *arg)
{
    pthread_t handles[SAGA_CHECK_THREADS_MAX];
    struct job jobs[SAGA_CHECK_THREADS_MAX];
    uint32_t started = 1;
    for (; started < threads; started++) {
        jobs[started] = (struct job){.work = work, .arg = arg, .index = started};
        if (pthread_create(&handles[started], NULL, run_job, &jobs[started]) != 0) {
            break;
        }
    }
    work(arg, 0);
    for (uint32_t i = 1; i < started; i++) {
        (void)pthread_join(handles[i], NULL);
    }
}
