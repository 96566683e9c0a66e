/* sagactl seed. */
#include "client/verbs.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"
#include "client/dev.h"
#include "common/sys/clock.h"

enum { SEED_MS = 10000 };

static const struct saga_option seed_options[] = {
    {"data-dir", "DIR", NULL, "folder with the databases; default: data/ in --dir", false},
    {"bin-dir", "DIR", NULL, "where the daemons are; default: beside sagactl", false},
};

/* Where things are while one daemon after the other seeds. */
struct seeding {
    char bin_dir[PATH_MAX];
    char data_dir[PATH_MAX];
    char work_dir[64]; /* sockets, logs, ready files; removed at the end */
    const char *file;
    sigset_t signals;
};

/* Waits until the daemon is ready, that is, has seeded. */
static int seed_wait(struct saga_dev_child *child)
{
    int64_t end_us = saga_clock_mono_us() + SEED_MS * INT64_C(1000);
    while (!saga_dev_child_look(child)) {
        struct saga_err_detail how = {{0}};
        struct timespec pause = {0, 10 * 1000000L};
        if (saga_dev_child_reap(child, &how) || saga_clock_mono_us() > end_us) {
            saga_client_warn("%s could not seed: %s", saga_daemon_name(child->daemon),
                             how.text[0] != 0 ? how.text : "it is not ready in time");
            saga_dev_child_tail(child);
            return SAGA_EXIT_FAILED;
        }
        (void)nanosleep(&pause, NULL);
    }
    return SAGA_EXIT_OK;
}

/* A daemon seeds when it starts and is ready when it has: starts it at an address of its own,
 * waits, stops it. */
static int seed_one(const struct seeding *seeding, enum saga_daemon daemon)
{
    struct saga_dev_child *child = calloc(1, sizeof *child);
    struct saga_err_detail detail = {{0}};
    const char *name = saga_daemon_name(daemon);
    int status = SAGA_EXIT_FAILED;
    if (child == NULL) {
        return saga_client_fail("out of memory");
    }
    child->daemon = daemon;
    bool fits = snprintf(child->program, PATH_MAX, "%s/%s", seeding->bin_dir, name) < PATH_MAX;
    (void)snprintf(child->log, PATH_MAX, "%s/%s.log", seeding->work_dir, name);
    (void)snprintf(child->ready_file, PATH_MAX, "%s/%s.json", seeding->work_dir, name);
    if (!fits || saga_dev_child_add(child, "%s", name) != SAGA_ERR_OK ||
        saga_dev_child_add(child, "--listen=ipc://%s/%s.ipc", seeding->work_dir, name) !=
            SAGA_ERR_OK ||
        saga_dev_child_add(child, "--data=%s/%s.db", seeding->data_dir, name) != SAGA_ERR_OK ||
        saga_dev_child_add(child, "--seed=%s", seeding->file) != SAGA_ERR_OK ||
        saga_dev_child_add(child, "--ready-file=%s", child->ready_file) != SAGA_ERR_OK) {
        saga_client_warn("%s: its arguments are too long", name);
    } else if (saga_dev_child_start(child, &detail) != SAGA_ERR_OK) {
        saga_client_warn("%s", detail.text);
    } else {
        status = seed_wait(child);
        bool clean = saga_dev_children_stop(&child, 1, SEED_MS, &seeding->signals);
        status = status == SAGA_EXIT_OK && !clean ? SAGA_EXIT_FAILED : status;
    }
    if (status == SAGA_EXIT_OK) {
        printf("%s seeded\n", name);
        (void)fflush(stdout);
    }
    (void)unlink(child->log);
    (void)unlink(child->ready_file);
    saga_dev_child_fini(child);
    free(child);
    return status;
}

static int seed_prepare(const struct saga_options *options, struct seeding *seeding, int *lock)
{
    const char *given = saga_options_text(options, "data-dir");
    const char *dir = saga_options_text(options, "dir");
    seeding->file = saga_options_operand(options, 0);
    if (access(seeding->file, R_OK) != 0) {
        return saga_client_fail("%s: %s", seeding->file, strerror(errno));
    }
    if (snprintf(seeding->data_dir, PATH_MAX, "%s%s", given != NULL ? given : dir,
                 given != NULL ? "" : "/data") >= PATH_MAX ||
        access(seeding->data_dir, W_OK) != 0) {
        return saga_client_fail("%s: %s", seeding->data_dir, strerror(errno));
    }
    int status = saga_dev_bin_dir(options, seeding->bin_dir);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    *lock = given != NULL ? -1 : saga_dev_lock(dir);
    if (given == NULL && *lock < 0) {
        return SAGA_EXIT_FAILED;
    }
    (void)snprintf(seeding->work_dir, sizeof seeding->work_dir, "/tmp/sagactl-XXXXXX");
    if (mkdtemp(seeding->work_dir) == NULL) {
        return saga_client_fail("%s: %s", seeding->work_dir, strerror(errno));
    }
    return SAGA_EXIT_OK;
}

static int seed_run(const struct saga_options *options)
{
    static const enum saga_daemon seeded[] = {SAGA_DAEMON_CUSTOMERD, SAGA_DAEMON_PRODUCTD,
                                              SAGA_DAEMON_KITCHEND, SAGA_DAEMON_PAYMENTD};
    int lock = -1;
    if (saga_client_operands(options, 1, 1, "FILE") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    struct seeding *seeding = calloc(1, sizeof *seeding);
    if (seeding == NULL) {
        return saga_client_fail("out of memory");
    }
    (void)sigemptyset(&seeding->signals);
    (void)sigaddset(&seeding->signals, SIGINT);
    (void)sigaddset(&seeding->signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &seeding->signals, NULL);
    int status = seed_prepare(options, seeding, &lock);
    for (size_t i = 0; i < sizeof seeded / sizeof seeded[0] && status == SAGA_EXIT_OK; i++) {
        status = seed_one(seeding, seeded[i]);
    }
    if (seeding->work_dir[0] != 0) {
        (void)rmdir(seeding->work_dir);
    }
    if (lock >= 0) {
        (void)close(lock);
    }
    free(seeding);
    return status;
}

const struct saga_verb saga_verb_seed = {
    .name = "seed",
    .usage = "FILE [--data-dir DIR]",
    .summary = "put customers, products, accounts and so on into the databases",
    .epilog = "Starts each service on its database, by itself and at an address of its own, lets "
              "it seed,\n"
              "and stops it; `sagactl dev` must not run on the folder. What is there already stays "
              "as it\n"
              "is: seeding twice is the same as once.",
    .options = seed_options,
    .option_count = sizeof seed_options / sizeof seed_options[0],
    .run = seed_run,
};
