/* --help: two columns, defaults shown. */
#include <stdio.h>
#include <string.h>

#include "common/sys/options_internal.h"

enum {
    WIDTH = 80, /* of a line */
    COLUMN_MAX =
        34, /* where the sentences begin, at most; longer names stand on a line of their own */
    LABEL_SIZE = 128,
    SENTENCE_SIZE = 1024,
};

static void label_of(const struct saga_option *option, char label[LABEL_SIZE])
{
    size_t size = strlen(option->name);
    const char *dashes = size == 1 ? "-" : "--";
    if (size > 0 && option->name[size - 1] == '.') {
        (void)snprintf(label, LABEL_SIZE, "  %s%s%s", dashes, option->name,
                       option->argument == NULL ? "NAME=VALUE" : option->argument);
    } else if (option->argument == NULL) {
        (void)snprintf(label, LABEL_SIZE, "  %s%s", dashes, option->name);
    } else {
        (void)snprintf(label, LABEL_SIZE, "  %s%s %s", dashes, option->name, option->argument);
    }
}

/* Prints words behind the column, broken at the width. */
static void print_words(const char *text, int column)
{
    int at = column;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        if (at > column && at + 1 + (int)size > WIDTH) {
            printf("\n%*s", column, "");
            at = column;
        }
        if (at > column) {
            putchar(' ');
            at++;
        }
        printf("%.*s", (int)size, text);
        at += (int)size;
        text += size;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_option(const struct saga_option *option, int column)
{
    char label[LABEL_SIZE];
    label_of(option, label);
    int size = (int)strlen(label);
    printf("%s", label);
    if (size + 2 > column) {
        printf("\n%*s", column, "");
    } else {
        printf("%*s", column - size, "");
    }
    char sentence[SENTENCE_SIZE];
    bool fallback = option->fallback != NULL && option->fallback[0] != '\0' &&
                    !(option->argument == NULL && strcmp(option->fallback, "false") == 0);
    size_t help_size = strlen(option->help);
    bool full_stop = help_size > 0 && strchr(".!?", option->help[help_size - 1]) != NULL;
    (void)snprintf(sentence, sizeof sentence, "%s%s%s%s%s", option->help,
                   !option->repeated ? ""
                   : full_stop       ? " May be repeated."
                                     : ". May be repeated.",
                   fallback ? " [" : "", fallback ? option->fallback : "", fallback ? "]" : "");
    print_words(sentence, column);
}

void saga_options_help(const struct saga_program *program)
{
    static const struct saga_option common[] = {
        {.name = "config",
         .argument = "FILE",
         .help = "Read settings from a file, one \"name = value\" a line."},
        {.name = "help", .help = "Print this and exit."},
        {.name = "version", .help = "Print the version and exit."},
    };
    enum { COMMON_COUNT = sizeof common / sizeof common[0] };
    size_t column = 0;
    const size_t shown = program->option_count - program->hidden_count;
    for (size_t i = 0; i < shown + COMMON_COUNT; i++) {
        char label[LABEL_SIZE];
        label_of(i < shown ? &program->options[i] : &common[i - shown], label);
        size_t size = strlen(label) + 2;
        if (size <= COLUMN_MAX && size > column) {
            column = size;
        }
    }
    printf("%s: %s\n\nUsage: %s %s\n\n", program->name, program->summary, program->name,
           program->usage);
    if (shown > 0) {
        printf("Options, with their defaults in brackets:\n");
    } else {
        printf("Options:\n");
    }
    for (size_t i = 0; i < shown; i++) {
        print_option(&program->options[i], (int)column);
    }
    for (size_t i = 0; i < COMMON_COUNT; i++) {
        print_option(&common[i], (int)column);
    }
    printf("\nEvery option is also an environment variable (%s_ and the name in capitals, '_' for "
           "'-')\n"
           "and a line of the file. A flag counts before the environment, the environment before "
           "the file.\n",
           program->env_prefix);
    if (program->epilog != NULL) {
        printf("\n%s\n", program->epilog);
    }
}
