/* sagactl seed, completion. */
#include "client/verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/dev.h"

/* ---- seed ---- */

static const struct saga_option seed_options[] = {
    {"data-dir", "DIR", NULL, "folder with the databases; default: data/ in --dir", false},
    {"bin-dir", "DIR", NULL, "where the daemons are; default: beside sagactl", false},
};

/* Runs `NAME --data FILE --seed FILE --seed-only` and waits. */
static int seed_one(const char *bin_dir, const char *data_dir, const char *name, const char *file)
{
    char program[PATH_MAX];
    char data[PATH_MAX];
    char seed[PATH_MAX];
    char only[] = "--seed-only";
    char level[] = "--log-level=warn";
    if (snprintf(program, sizeof program, "%s/%s", bin_dir, name) >= PATH_MAX ||
        snprintf(data, sizeof data, "--data=%s/%s.db", data_dir, name) >= PATH_MAX ||
        snprintf(seed, sizeof seed, "--seed=%s", file) >= PATH_MAX) {
        return saga_client_fail("%s: the path is too long", data_dir);
    }
    char *args[] = {program, data, seed, only, level, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(program, args);
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return saga_client_fail("%s: %s", program, strerror(errno));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return saga_client_fail("%s: could not seed %s", name, data + strlen("--data="));
    }
    printf("%s seeded\n", name);
    fflush(stdout);
    return SAGA_EXIT_OK;
}

static int seed_run(const struct saga_options *options)
{
    static const enum saga_daemon seeded[] = {SAGA_DAEMON_CUSTOMERD, SAGA_DAEMON_PRODUCTD,
                                              SAGA_DAEMON_KITCHEND, SAGA_DAEMON_PAYMENTD};
    char bin_dir[PATH_MAX];
    char data_dir[PATH_MAX];
    if (saga_client_operands(options, 1, 1, "FILE") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    const char *file = saga_options_operand(options, 0);
    const char *given_bin = saga_options_text(options, "bin-dir");
    const char *given_data = saga_options_text(options, "data-dir");
    if (access(file, R_OK) != 0) {
        return saga_client_fail("%s: %s", file, strerror(errno));
    }
    if (snprintf(data_dir, sizeof data_dir, "%s%s",
                 given_data != NULL ? given_data : saga_options_text(options, "dir"),
                 given_data != NULL ? "" : "/data") >= PATH_MAX ||
        access(data_dir, W_OK) != 0) {
        return saga_client_fail("%s: %s", data_dir, strerror(errno));
    }
    if (given_bin != NULL) {
        snprintf(bin_dir, sizeof bin_dir, "%s", given_bin);
    } else {
        ssize_t size = readlink("/proc/self/exe", bin_dir, sizeof bin_dir - 1);
        if (size <= 0) {
            return saga_client_fail("/proc/self/exe: %s", strerror(errno));
        }
        bin_dir[size] = 0;
        *strrchr(bin_dir, '/') = 0;
    }
    for (size_t i = 0; i < sizeof seeded / sizeof seeded[0]; i++) {
        int status = seed_one(bin_dir, data_dir, saga_daemon_name(seeded[i]), file);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
    }
    return SAGA_EXIT_OK;
}

const struct saga_verb saga_verb_seed = {
    .name = "seed",
    .usage = "FILE [--data-dir DIR]",
    .summary = "put customers, products, accounts and so on into the databases",
    .epilog = "Runs each service's own seeding (--seed-only) on its database. What is there "
              "already stays as it is: seeding twice is the same as once.",
    .options = seed_options,
    .option_count = sizeof seed_options / sizeof seed_options[0],
    .run = seed_run,
};

/* ---- completion ---- */

static void completion_options(const struct saga_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(options[i].name);
        if (options[i].name[size - 1] != '.') {
            printf(" --%s", options[i].name);
        }
    }
}

static int completion_run(const struct saga_options *options)
{
    if (saga_client_operands(options, 1, 1, "bash") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    if (strcmp(saga_options_operand(options, 0), "bash") != 0) {
        return saga_client_usage("completion %s: it must be bash",
                                 saga_options_operand(options, 0));
    }
    puts("# bash completion for sagactl; use: source <(sagactl completion bash)\n"
         "_sagactl() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} words=''\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    printf("        words='--help --version");
    for (size_t i = 0; saga_verbs[i] != NULL; i++) {
        printf(" %s", saga_verbs[i]->name);
    }
    puts("'\n    else\n        case ${COMP_WORDS[1]} in");
    for (size_t i = 0; saga_verbs[i] != NULL; i++) {
        printf("        %s) words='--help", saga_verbs[i]->name);
        completion_options(saga_verbs[i]->options, saga_verbs[i]->option_count);
        puts("' ;;");
    }
    printf("        esac\n        words+='");
    completion_options(saga_client_options, saga_client_option_count);
    puts("'\n    fi\n"
         "    case $word in\n"
         "    -* | '') mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\") ;;\n"
         "    *) if [ \"$COMP_CWORD\" -eq 1 ]; then mapfile -t COMPREPLY < <(compgen -W \"$words\" "
         "-- \"$word\")\n"
         "       else mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); fi ;;\n"
         "    esac\n"
         "}\n"
         "complete -o filenames -F _sagactl sagactl");
    return SAGA_EXIT_OK;
}

const struct saga_verb saga_verb_completion = {
    .name = "completion",
    .usage = "bash",
    .summary = "print a completion script for the shell",
    .run = completion_run,
};
