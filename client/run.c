/* From argv to a verb. See run.h. */
#include "client/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/symbols.h"
#include "client/verbs.h"
#include "common/sys/log.h"

const struct saga_verb *const saga_verbs[] = {
    &saga_verb_dev,           &saga_verb_start,      &saga_verb_get,
    &saga_verb_list,          &saga_verb_watch,      &saga_verb_why,
    &saga_verb_cancel,        &saga_verb_retry,      &saga_verb_skip,
    &saga_verb_resolve,       &saga_verb_compensate, &saga_verb_definitions,
    &saga_verb_apply,         &saga_verb_remove,     &saga_verb_lint,
    &saga_verb_breaking,      &saga_verb_check,      &saga_verb_sim,
    &saga_verb_graph,         &saga_verb_certify,    &saga_verb_pause,
    &saga_verb_resume,        &saga_verb_call,       &saga_verb_describe,
    &saga_verb_list_services, &saga_verb_health,     &saga_verb_seed,
    &saga_verb_topics,        &saga_verb_audit,      &saga_verb_replay,
    &saga_verb_bench,         &saga_verb_completion, NULL,
};

const struct saga_verb *saga_verb_find(const char *name)
{
    for (size_t i = 0; saga_verbs[i] != NULL; i++) {
        if (strcmp(saga_verbs[i]->name, name) == 0) {
            return saga_verbs[i];
        }
    }
    return NULL;
}

static void print_help(FILE *file)
{
    fputs("sagactl: runs, watches and steers sagas and the daemons that run them.\n\n"
          "Usage: sagactl VERB [ARGUMENT]…\n"
          "       sagactl VERB --help\n\n"
          "Verbs:\n",
          file);
    for (size_t i = 0; saga_verbs[i] != NULL; i++) {
        fprintf(file, "  %-14s %s\n", saga_verbs[i]->name, saga_verbs[i]->summary);
    }
    fputs("\nFirst steps:\n"
          "  sagactl dev                      start the whole system in ./run\n"
          "  sagactl health                   ask every daemon how it is\n"
          "  sagactl list                     list sagas\n"
          "  sagactl why ID                   tell what happened to one\n\n"
          "Exit status: 0 done; 1 failed; 2 wrong usage; 64 + N a daemon answered with gRPC status "
          "N.\n",
          file);
}

/* Builds the table of a verb's settings: what every verb has, then its own. */
static struct saga_option *verb_options(const struct saga_verb *verb, size_t *count)
{
    *count = saga_client_option_count + verb->option_count;
    struct saga_option *options = calloc(*count, sizeof *options);
    if (options == NULL) {
        return NULL;
    }
    if (verb->option_count > 0) {
        memcpy(options, verb->options, verb->option_count * sizeof *options);
    }
    memcpy(options + verb->option_count, saga_client_options,
           saga_client_option_count * sizeof *options);
    return options;
}

static int run_verb(const struct saga_verb *verb, int argc, char **argv)
{
    char name[64];
    size_t option_count = 0;
    char *space = NULL;
    struct saga_options *options = NULL;
    int status = SAGA_EXIT_FAILED;
    struct saga_option *table = verb_options(verb, &option_count);
    snprintf(name, sizeof name, "sagactl %s", verb->name);
    const struct saga_program program = {
        .name = name,
        .summary = verb->summary,
        .usage = verb->usage,
        .epilog = verb->epilog,
        .env_prefix = "SAGACTL",
        .options = table,
        .option_count = option_count,
        .hidden_count = verb->offline ? saga_client_option_count - 1 : 0,
    };
    if (table == NULL || saga_client_expand_shorts(argc, argv, verb->shorts, table, option_count,
                                                   &space) != SAGA_ERR_OK) {
        saga_client_fail("out of memory");
    } else {
        switch (saga_options_read(&program, argc, argv, false, &options)) {
        case SAGA_OPTIONS_RUN:
            status = verb->run(options);
            saga_options_free(options);
            status = status == SAGA_EXIT_OK ? saga_client_flush() : status;
            break;
        case SAGA_OPTIONS_EXIT_OK:
            status = SAGA_EXIT_OK;
            break;
        case SAGA_OPTIONS_EXIT_USAGE:
            status = SAGA_EXIT_USAGE;
            break;
        }
    }
    free(space);
    free(table);
    return status;
}

/* Gives the verb that may have been meant: begun with these letters, or a letter or two away. NULL:
 * none. */
static const char *near_verb(const char *word)
{
    size_t size = strlen(word);
    size_t least = size < 4 ? 2 : 3; /* letters that are too many to be a slip */
    const char *near = NULL;
    for (size_t i = 0; saga_verbs[i] != NULL; i++) {
        const char *name = saga_verbs[i]->name;
        bool begun = size >= 3 && strncmp(name, word, size) == 0;
        size_t edits = begun ? 0 : saga_symbol_edits(word, name);
        if (edits < least) {
            least = edits;
            near = name;
        }
    }
    return near;
}

static int refuse_verb(const char *word)
{
    const char *near = near_verb(word);
    if (word[0] == '-') {
        saga_client_warn("%s: the verb comes first, its options behind it: sagactl VERB [OPTION]…, "
                         "for example `sagactl list --dir run`; `sagactl --help` lists the verbs",
                         word);
    } else if (near != NULL) {
        saga_client_warn("%s: there is no such verb; did you mean %s? `sagactl --help` lists them",
                         word, near);
    } else {
        saga_client_warn("%s: there is no such verb; `sagactl --help` lists them", word);
    }
    return SAGA_EXIT_USAGE;
}

int saga_client_run(int argc, char **argv)
{
    saga_log_init("sagactl", SAGA_LOG_WARN);
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--version") == 0) {
        puts("sagactl " SAGA_VERSION);
        return SAGA_EXIT_OK;
    }
    bool help = strcmp(word, "help") == 0;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (help && argc == 2)) {
        print_help(stdout);
        return SAGA_EXIT_OK;
    }
    if (word[0] == 0) {
        print_help(stderr);
        return SAGA_EXIT_USAGE;
    }
    const struct saga_verb *verb = saga_verb_find(help ? argv[2] : word);
    if (verb == NULL) {
        return refuse_verb(help ? argv[2] : word);
    }
    if (help) {
        char flag[] = "--help";
        char *words[] = {argv[0], flag, NULL};
        return run_verb(verb, 2, words);
    }
    return run_verb(verb, argc - 1, argv + 1);
}
