/* The children of `sagactl dev`: starting, watching, stopping them. */
#ifndef SAGA_CLIENT_DEV_H
#define SAGA_CLIENT_DEV_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/endpoints.h"
#include "common/base/err.h"

enum { SAGA_DEV_ARGS_MAX = 192 };

/* Locks a folder against another `sagactl dev`: the lock goes with the process, however it ends.
 * Gives the descriptor that holds it, -1 after a message on stderr. */
int saga_dev_lock(const char *dir);

struct saga_options;

/* Finds where the daemons are: --bin-dir, else beside this program. Exit status; the message is
 * printed. */
int saga_dev_bin_dir(const struct saga_options *options, char bin_dir[PATH_MAX]);

/* One daemon that runs as a child. */
struct saga_dev_child {
    enum saga_daemon daemon;
    pid_t pid;        /* 0: not running */
    int64_t since_us; /* when it was started */
    bool ready;       /* its ready file was read */
    bool awaited;     /* its end is ours: it was told to stop */
    bool failed;      /* it ended by itself, or not cleanly */
    struct saga_endpoint endpoint;
    char program[PATH_MAX];
    char log[PATH_MAX];
    char ready_file[PATH_MAX];
    char *args[SAGA_DEV_ARGS_MAX]; /* args[0] its name; ended by NULL */
    size_t arg_count;
};

/* Adds an argument (copied). Errors: LIMIT, NO_MEMORY. */
enum saga_err saga_dev_child_add(struct saga_dev_child *child, const char *format, ...)
    __attribute__((format(printf, 2, 3))) SAGA_WARN_UNUSED;

/* Takes the value of the last argument with this name away and gives another one; nothing when it
 * is not there. Errors: NO_MEMORY. */
enum saga_err saga_dev_child_replace(struct saga_dev_child *child, const char *name,
                                     const char *value) SAGA_WARN_UNUSED;

/* Starts it: own process group (a ctrl-C at the terminal is not for it), dies with this process,
 * output to its log. Errors: IO; detail says. */
enum saga_err saga_dev_child_start(struct saga_dev_child *child,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Reaps it if it has ended. Returns true then; text (of SAGA_ERR_DETAIL_SIZE) says how: "exit
 * status 1", "signal 9". */
bool saga_dev_child_reap(struct saga_dev_child *child, struct saga_err_detail *how);

/* Reads the ready file if it is there. Returns child->ready. */
bool saga_dev_child_look(struct saga_dev_child *child);

/* Prints the last lines of its log on stderr. */
void saga_dev_child_tail(const struct saga_dev_child *child);

/* Stops several at once: SIGTERM, wait up to timeout_ms, SIGKILL with a warning. signals is blocked
 * and waited for; a SIGINT or SIGTERM among them ends the wait. Returns false when one had to be
 * killed or did not end with status 0. */
bool saga_dev_children_stop(struct saga_dev_child *const *children, size_t count,
                            int64_t timeout_ms, const sigset_t *signals);

/* Frees its arguments. */
void saga_dev_child_fini(struct saga_dev_child *child);

#endif
