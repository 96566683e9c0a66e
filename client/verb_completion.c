/* sagactl completion: scripts for shells, and what they ask. */
#include "client/verbs.h"

#include <stdio.h>
#include <string.h>

#include "client/complete.h"
#include "client/completion_scripts.h"

static const struct saga_option completion_options[] = {
    {"complete", NULL, "false",
     "what the scripts call: print what can stand for the last of the words behind --", false},
};

static int completion_run(const struct saga_options *options)
{
    static const struct {
        const char *shell;
        const char *const *script;
    } scripts[] = {{"bash", saga_completion_bash},
                   {"zsh", saga_completion_zsh},
                   {"fish", saga_completion_fish}};
    if (saga_options_on(options, "complete")) {
        const char *words[SAGA_COMPLETE_WORDS_MAX + 1];
        size_t count = saga_options_operand_count(options);
        for (size_t i = 0; i < count && i <= SAGA_COMPLETE_WORDS_MAX; i++) {
            words[i] = saga_options_operand(options, i);
        }
        saga_complete(words, count);
        return SAGA_EXIT_OK;
    }
    if (saga_client_operands(options, 1, 1, "bash, zsh or fish") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    const char *shell = saga_options_operand(options, 0);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (strcmp(shell, scripts[i].shell) == 0) {
            for (const char *const *line = scripts[i].script; *line != NULL; line++) {
                puts(*line);
            }
            return SAGA_EXIT_OK;
        }
    }
    return saga_client_usage("completion %s: it must be bash, zsh or fish", shell);
}

const struct saga_verb saga_verb_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "print a completion script for the shell",
    .epilog = "Verbs, options and their values are completed, and, from daemons that run, methods "
              "(call),\n"
              "symbols (describe), sagas (get, why, watch, …) and definitions (start, pause, …). "
              "Daemons are\n"
              "found as by every verb: --dir, --address, SAGACTL_DIR; one that does not answer "
              "offers nothing.\n"
              "What is typed is never run: quotes, ~ and $NAME as a whole word are understood.\n\n"
              "scripts/install puts the scripts where bash-completion, zsh and fish find them; "
              "without it:\n\n"
              "Examples:\n"
              "  source <(sagactl completion bash)     # in ~/.bashrc\n"
              "  source <(sagactl completion zsh)      # in ~/.zshrc, behind compinit\n"
              "  sagactl completion fish | source      # in ~/.config/fish/config.fish",
    .options = completion_options,
    .option_count = sizeof completion_options / sizeof completion_options[0],
    .offline = true,
    .run = completion_run,
};
