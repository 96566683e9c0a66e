/* sagactl completion: scripts for shells, and what they ask. */
#include "client/verbs.h"

#include <stdio.h>
#include <string.h>

#include "client/complete.h"

static const struct saga_option completion_options[] = {
    {"complete", NULL, "false",
     "what the scripts call: print what can stand for the last of the words behind --", false},
};

/* Bash splits words at '=' and ':' too; they are put together again, and what stands before the
 * last of these is cut off what is offered, since bash keeps it. */
static const char bash_script[] =
    "# bash completion for sagactl; use: source <(sagactl completion bash)\n"
    "_sagactl() {\n"
    "    local -a words=()\n"
    "    local i part glue='' files='' dirs='' line\n"
    "    for ((i = 1; i <= COMP_CWORD; i++)); do\n"
    "        part=${COMP_WORDS[i]}\n"
    "        if [[ ${#words[@]} -gt 0 && ( -n $glue || $part == [=:]* ) ]]; then\n"
    "            words[${#words[@]} - 1]+=$part\n"
    "        else\n"
    "            words+=(\"$part\")\n"
    "        fi\n"
    "        glue=''\n"
    "        [[ -n $part && -z ${part//[=:]/} ]] && glue=yes\n"
    "    done\n"
    "    local word=${words[${#words[@]} - 1]-}\n"
    "    local cut=${word%\"${word##*[=:]}\"}\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        :files) files=yes ;;\n"
    "        :dirs) dirs=yes ;;\n"
    "        *) line=${line%%$'\\t'*}\n"
    "           [[ $line == \"$word\"* ]] && COMPREPLY+=(\"${line#\"$cut\"}\") ;;\n"
    "        esac\n"
    "    done < <(\"${COMP_WORDS[0]}\" completion --complete -- \"${words[@]}\" 2>/dev/null)\n"
    "    if [[ -n $files$dirs ]]; then\n"
    "        local kind=-f at=''\n"
    "        [[ -n $dirs ]] && kind=-d\n"
    "        word=${word#\"$cut\"}\n"
    "        [[ $word == @* ]] && at=@ && word=${word#@}\n"
    "        while IFS= read -r line; do COMPREPLY+=(\"$at$line\"); done < <(compgen $kind -- "
    "\"$word\")\n"
    "        compopt -o filenames 2>/dev/null\n"
    "    fi\n"
    "    return 0\n"
    "}\n"
    "complete -F _sagactl sagactl\n";

static const char zsh_script[] =
    "#compdef sagactl\n"
    "# zsh completion for sagactl; use: source <(sagactl completion zsh), or save it as _sagactl "
    "in fpath\n"
    "_sagactl() {\n"
    "    local line files='' dirs='' tab=$'\\t'\n"
    "    local -a shown values\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        :files) files=yes ;;\n"
    "        :dirs) dirs=yes ;;\n"
    "        *) values+=(\"${line%%$tab*}\")\n"
    "           if [[ $line == *$tab* ]]; then shown+=(\"${line%%$tab*}  -- ${line#*$tab}\"); else "
    "shown+=(\"$line\"); fi ;;\n"
    "        esac\n"
    "    done < <(\"${words[1]}\" completion --complete -- \"${(@)words[2,CURRENT]}\" "
    "2>/dev/null)\n"
    "    (( ${#values} )) && compadd -l -d shown -a values\n"
    "    if [[ -n $files ]]; then _files; fi\n"
    "    if [[ -n $dirs ]]; then _files -/; fi\n"
    "}\n"
    "if [[ $funcstack[1] == _sagactl ]]; then _sagactl \"$@\"; else compdef _sagactl sagactl; fi\n";

static const char fish_script[] =
    "# fish completion for sagactl; use: sagactl completion fish | source\n"
    "function __sagactl_complete\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    set -l program $words[1]\n"
    "    set -e words[1]\n"
    "    for line in ($program completion --complete -- $words 2>/dev/null)\n"
    "        switch $line\n"
    "            case ':files'\n"
    "                __fish_complete_path (commandline -ct)\n"
    "            case ':dirs'\n"
    "                __fish_complete_directories (commandline -ct)\n"
    "            case '*'\n"
    "                printf '%s\\n' $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c sagactl -f -a '(__sagactl_complete)'\n";

static int completion_run(const struct saga_options *options)
{
    static const struct {
        const char *shell;
        const char *script;
    } scripts[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
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
            fputs(scripts[i].script, stdout);
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
              "found as by every verb: --dir, --address, SAGACTL_DIR.\n\n"
              "Examples:\n"
              "  source <(sagactl completion bash)     # in ~/.bashrc\n"
              "  source <(sagactl completion zsh)      # in ~/.zshrc, behind compinit\n"
              "  sagactl completion fish | source      # in ~/.config/fish/config.fish",
    .options = completion_options,
    .option_count = sizeof completion_options / sizeof completion_options[0],
    .offline = true,
    .run = completion_run,
};
