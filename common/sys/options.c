#include "common/sys/options.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/sys/options_internal.h"

extern char **environ;

enum {
    VALUES_MAX = 1024, /* values of a program from all sources */
    NAME_SIZE = 128,
    VALUE_SIZE_MAX = 64 * 1024,
    ORIGIN_SIZE = 192,
};

/* Where a value came from, the weaker first. */
enum source { SOURCE_FALLBACK, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG };

struct value {
    const struct saga_option *option;
    char *key; /* of a family: behind its prefix; else NULL */
    char *text;
    char *origin; /* "--http-port", "SAGAD_HTTP_PORT", "sagad.conf:3: http-port" */
    enum source source;
};

struct saga_options {
    const struct saga_program *program;
    struct value *values;
    size_t count;
    size_t capacity;
    const char **operands;
    size_t operand_count;
};

/* ---- The table ---- */

static bool is_family(const struct saga_option *option)
{
    size_t size = strlen(option->name);
    return size > 0 && option->name[size - 1] == '.';
}

/* Finds the entry for a name; for a family, *key is what follows its prefix. */
static const struct saga_option *option_find(const struct saga_program *program, const char *name,
                                             const char **key)
{
    *key = NULL;
    for (size_t i = 0; i < program->option_count; i++) {
        const struct saga_option *option = &program->options[i];
        size_t size = strlen(option->name);
        if (strcmp(option->name, name) == 0 && !is_family(option)) {
            return option;
        }
        if (is_family(option) && strncmp(option->name, name, size) == 0 && name[size] != '\0') {
            *key = name + size;
            return option;
        }
    }
    return NULL;
}

static const struct saga_option *option_named(const struct saga_options *options, const char *name)
{
    for (size_t i = 0; i < options->program->option_count; i++) {
        if (strcmp(options->program->options[i].name, name) == 0) {
            return &options->program->options[i];
        }
    }
    SAGA_ASSERT(!"a setting that is in the table");
    return NULL;
}

/* ---- Errors ---- */

static bool complain(const struct saga_program *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints one error and gives false. */
static bool complain(const struct saga_program *program, const char *format, ...)
{
    (void)fprintf(stderr, "%s: ", program->name);
    va_list args;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputs(" (try --help)\n", stderr);
    return false;
}

static bool no_memory(const struct saga_program *program)
{
    (void)fprintf(stderr, "%s: out of memory\n", program->name);
    return false;
}

/* ---- Adding values ---- */

static bool values_reserve(struct saga_options *options)
{
    if (options->count < options->capacity) {
        return true;
    }
    if (options->count >= VALUES_MAX) {
        return complain(options->program, "more than %d settings", VALUES_MAX);
    }
    size_t capacity = options->capacity == 0 ? 32 : options->capacity * 2;
    struct value *values = realloc(options->values, capacity * sizeof *values);
    if (values == NULL) {
        return no_memory(options->program);
    }
    options->values = values;
    options->capacity = capacity;
    return true;
}

/* One value that was given. */
struct given {
    const struct saga_option *option;
    const char *key;
    const char *text;
    size_t text_size;
    const char *origin;
    enum source source;
};

static bool value_add(struct saga_options *options, const struct given *given)
{
    const struct saga_option *option = given->option;
    if (given->text_size > VALUE_SIZE_MAX) {
        return complain(options->program, "%s: the value is longer than %d bytes", given->origin,
                        VALUE_SIZE_MAX);
    }
    if (option->argument == NULL && !is_family(option) &&
        !(given->text_size == 4 && memcmp(given->text, "true", 4) == 0) &&
        !(given->text_size == 5 && memcmp(given->text, "false", 5) == 0)) {
        return complain(options->program, "%s: \"%.*s\" is neither true nor false", given->origin,
                        (int)given->text_size, given->text);
    }
    if (!values_reserve(options)) {
        return false;
    }
    struct value value = {
        .option = option,
        .key = given->key == NULL ? NULL : strdup(given->key),
        .text = strndup(given->text, given->text_size),
        .origin = strdup(given->origin),
        .source = given->source,
    };
    if ((given->key != NULL && value.key == NULL) || value.text == NULL || value.origin == NULL) {
        free(value.key);
        free(value.text);
        free(value.origin);
        return no_memory(options->program);
    }
    options->values[options->count++] = value;
    return true;
}

/* In the environment and in files, the values of a repeated setting are one text with commas. */
static bool value_add_list(struct saga_options *options, struct given given)
{
    if (!given.option->repeated) {
        return value_add(options, &given);
    }
    const char *p = given.text;
    for (;;) {
        size_t size = strcspn(p, ",");
        const char *next = p[size] == ',' ? p + size + 1 : NULL;
        while (size > 0 && isspace((unsigned char)*p) != 0) {
            p++;
            size--;
        }
        while (size > 0 && isspace((unsigned char)p[size - 1]) != 0) {
            size--;
        }
        given.text = p;
        given.text_size = size;
        if (size > 0 && !value_add(options, &given)) {
            return false;
        }
        if (next == NULL) {
            return true;
        }
        p = next;
    }
}

/* ---- Flags ---- */

struct flags {
    const char *config;
    bool help;
    bool version;
};

/* The number of edits between two names, cut at 3. */
static unsigned edits_between(const char *a, const char *b)
{
    unsigned row[NAME_SIZE];
    size_t size = strlen(b);
    if (size + 1 > NAME_SIZE) {
        return 3;
    }
    for (size_t j = 0; j <= size; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < size; j++) {
            unsigned best = diagonal + (a[i] == b[j] ? 0U : 1U);
            diagonal = row[j + 1];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j + 1] = best < diagonal + 1 ? best : diagonal + 1;
        }
    }
    return row[size] < 3 ? row[size] : 3;
}

static bool unknown(const struct saga_program *program, const char *origin, const char *name)
{
    for (size_t i = 0; i < program->option_count; i++) {
        if (strlen(name) > 3 && edits_between(name, program->options[i].name) < 3) {
            return complain(program, "%s: no such setting; is %s meant?", origin,
                            program->options[i].name);
        }
    }
    return complain(program, "%s: no such setting", origin);
}

/* Gives the value of a flag: behind '=', or the next argument. NULL: there is none. */
static const char *flag_value(const char *equals, int argc, char **argv, int *at)
{
    if (equals != NULL) {
        return equals + 1;
    }
    if (*at + 1 < argc) {
        *at += 1;
        return argv[*at];
    }
    return NULL;
}

/* Reads the flag at argv[*at], and its value. */
static bool flag_read(struct saga_options *options, int argc, char **argv, int *at,
                      struct flags *flags)
{
    const struct saga_program *program = options->program;
    const char *arg = argv[*at];
    bool is_long = arg[1] == '-';
    const char *text = arg + (is_long ? 2 : 1);
    const char *equals = strchr(text, '=');
    size_t size = equals == NULL ? strlen(text) : (size_t)(equals - text);
    char name[NAME_SIZE];
    char origin[NAME_SIZE + 2];
    if (size >= sizeof name) {
        return complain(program, "%.40s…: no such setting", arg);
    }
    memcpy(name, text, size);
    name[size] = '\0';
    (void)snprintf(origin, sizeof origin, "%s%s", is_long ? "--" : "-", name);
    if (equals == NULL && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
        flags->help = true;
        return true;
    }
    if (equals == NULL && strcmp(arg, "--version") == 0) {
        flags->version = true;
        return true;
    }
    if (is_long && strcmp(name, "config") == 0) {
        flags->config = flag_value(equals, argc, argv, at);
        return flags->config != NULL || complain(program, "%s: a value is missing", origin);
    }
    struct given given = {.origin = origin, .source = SOURCE_FLAG};
    given.option = is_long == (size == 1) ? NULL : option_find(program, name, &given.key);
    if (given.option == NULL) {
        return unknown(program, origin, name);
    }
    bool is_switch = given.option->argument == NULL && !is_family(given.option);
    if (is_switch) {
        given.text = equals == NULL ? "true" : equals + 1;
    } else {
        given.text = flag_value(equals, argc, argv, at);
    }
    if (given.text == NULL) {
        return complain(program, "%s: a value is missing%s%s", origin,
                        given.option->argument == NULL ? "" : ": ",
                        given.option->argument == NULL ? "" : given.option->argument);
    }
    given.text_size = strlen(given.text);
    return value_add(options, &given);
}

static bool flags_read(struct saga_options *options, int argc, char **argv, bool stop_at_operand,
                       struct flags *flags)
{
    options->operands = calloc((size_t)argc + 1, sizeof *options->operands);
    if (options->operands == NULL) {
        return no_memory(options->program);
    }
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0') {
            options->operands[options->operand_count++] = argv[i];
            only_operands = only_operands || stop_at_operand;
        } else if (strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (!flag_read(options, argc, argv, &i, flags)) {
            return false;
        } else if (flags->help || flags->version) {
            return true;
        }
    }
    return true;
}

/* ---- Environment ---- */

/* "store-path" -> "SAGAD_STORE_PATH" */
static void env_name(const struct saga_program *program, const char *name, char out[NAME_SIZE])
{
    (void)snprintf(out, NAME_SIZE, "%s_%s", program->env_prefix, name);
    for (char *p = out; *p != '\0'; p++) {
        *p = *p == '-' || *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    }
}

/* Container platforms put addresses of a service named like the program into every environment:
 * SAGAD_SERVICE_HOST, SAGAD_PORT, SAGAD_PORT_7000_TCP_ADDR, … They are not settings. */
static bool is_platform_variable(const char *rest)
{
    return strncmp(rest, "SERVICE_HOST", 12) == 0 || strncmp(rest, "SERVICE_PORT", 12) == 0 ||
           strcmp(rest, "PORT") == 0 ||
           (strncmp(rest, "PORT_", 5) == 0 && isdigit((unsigned char)rest[5]) != 0);
}

/* Finds the entry for a variable; for a family, key is filled: "KAFKA_LINGER_MS" -> "linger.ms". */
static const struct saga_option *option_for_variable(const struct saga_program *program,
                                                     const char *variable, char key[NAME_SIZE])
{
    for (size_t i = 0; i < program->option_count; i++) {
        const struct saga_option *option = &program->options[i];
        char name[NAME_SIZE];
        env_name(program, option->name, name);
        size_t size = strlen(name);
        if (!is_family(option) && strcmp(name, variable) == 0) {
            return option;
        }
        if (is_family(option) && strncmp(name, variable, size) == 0 && variable[size] != '\0') {
            (void)snprintf(key, NAME_SIZE, "%s", variable + size);
            for (char *p = key; *p != '\0'; p++) {
                *p = *p == '_' ? '.' : (char)tolower((unsigned char)*p);
            }
            return option;
        }
    }
    return NULL;
}

static bool environment_read(struct saga_options *options, struct flags *flags)
{
    const struct saga_program *program = options->program;
    size_t prefix_size = strlen(program->env_prefix);
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL || strncmp(*entry, program->env_prefix, prefix_size) != 0 ||
            (*entry)[prefix_size] != '_' || equals[1] == '\0') {
            continue; /* an empty variable is one that is not set */
        }
        char name[NAME_SIZE];
        (void)snprintf(name, sizeof name, "%.*s", (int)(equals - *entry), *entry);
        const char *rest = name + prefix_size + 1;
        if (strcmp(rest, "CONFIG") == 0) {
            flags->config = flags->config == NULL ? equals + 1 : flags->config;
            continue;
        }
        char key[NAME_SIZE];
        struct given given = {.text = equals + 1, .origin = name, .source = SOURCE_ENVIRONMENT};
        given.text_size = strlen(given.text);
        given.option = option_for_variable(program, name, key);
        if (given.option == NULL) {
            if (is_platform_variable(rest)) {
                continue;
            }
            return unknown(program, name, "");
        }
        given.key = is_family(given.option) ? key : NULL;
        if (!value_add_list(options, given)) {
            return false;
        }
    }
    return true;
}

/* ---- File ---- */

struct file {
    struct saga_options *options;
    const char *path;
    FILE *stream;
    int line;     /* that was read last */
    bool ok;      /* nothing was complained about */
    bool refused; /* a line too long for inih */
};

/* inih cuts a long line and takes the rest for the next one: refuse it instead. */
static char *file_line(char *text, int size, void *context)
{
    struct file *file = context;
    if (file->refused || fgets(text, size, file->stream) == NULL) {
        return NULL;
    }
    file->line++;
    if (strchr(text, '\n') == NULL && feof(file->stream) == 0) {
        file->refused = true;
        file->ok = complain(file->options->program, "%s:%d: the line is longer than %d bytes",
                            file->path, file->line, size - 2);
        return NULL;
    }
    return text;
}

static int file_setting(void *context, const char *section, const char *name, const char *text)
{
    struct file *file = context;
    struct saga_options *options = file->options;
    char origin[ORIGIN_SIZE];
    if (!file->ok) {
        return 0; /* one error is enough */
    }
    (void)snprintf(origin, sizeof origin, "%s:%d: %s", file->path, file->line, name);
    struct given given = {.text = text, .text_size = strlen(text), .origin = origin};
    given.source = SOURCE_FILE;
    given.option = option_find(options->program, name, &given.key);
    if (section[0] != '\0') {
        file->ok =
            complain(options->program, "%s: the file has no sections, but [%s]", origin, section);
    } else if (given.option == NULL) {
        file->ok = unknown(options->program, origin, name);
    } else {
        file->ok = value_add_list(options, given);
    }
    return file->ok ? 1 : 0;
}

static bool file_read(struct saga_options *options, const char *path)
{
    struct file file = {.options = options, .path = path, .ok = true};
    file.stream = fopen(path, "r");
    if (file.stream == NULL) {
        return complain(options->program, "--config: %s: %s", path, strerror(errno));
    }
    ini_allow_multiline = false; /* an indented line is not the tail of the one before */
    int line = ini_parse_stream(file_line, &file, file_setting, &file);
    bool failed = ferror(file.stream) != 0;
    (void)fclose(file.stream);
    if (!file.ok) {
        return false;
    }
    if (failed || line < 0) {
        return complain(options->program, "--config: %s: cannot be read", path);
    }
    if (line > 0) {
        return complain(options->program, "%s:%d: not a line \"name = value\"", path, line);
    }
    return true;
}

/* ---- Reading all ---- */

static bool fallbacks_add(struct saga_options *options)
{
    for (size_t i = 0; i < options->program->option_count; i++) {
        const struct saga_option *option = &options->program->options[i];
        if (option->fallback == NULL) {
            continue;
        }
        struct given given = {.option = option,
                              .text = option->fallback,
                              .text_size = strlen(option->fallback),
                              .origin = option->name,
                              .source = SOURCE_FALLBACK};
        SAGA_ASSERT(!is_family(option));
        if (!value_add_list(options, given)) {
            return false;
        }
    }
    return true;
}

enum saga_options_next saga_options_read(const struct saga_program *program, int argc, char **argv,
                                         bool stop_at_operand, struct saga_options **out)
{
    struct saga_options *options = calloc(1, sizeof *options);
    if (options == NULL) {
        (void)no_memory(program);
        return SAGA_OPTIONS_EXIT_USAGE;
    }
    options->program = program;
    struct flags flags = {0};
    bool ok = flags_read(options, argc, argv, stop_at_operand, &flags);
    if (ok && (flags.help || flags.version)) {
        if (flags.help) {
            saga_options_help(program);
        } else {
            printf("%s %s\n", program->name, SAGA_VERSION);
        }
        saga_options_free(options);
        return fflush(stdout) == 0 ? SAGA_OPTIONS_EXIT_OK : SAGA_OPTIONS_EXIT_USAGE;
    }
    ok = ok && environment_read(options, &flags);
    ok = ok && (flags.config == NULL || file_read(options, flags.config));
    ok = ok && fallbacks_add(options);
    if (!ok) {
        saga_options_free(options);
        return SAGA_OPTIONS_EXIT_USAGE;
    }
    *out = options;
    return SAGA_OPTIONS_RUN;
}

void saga_options_free(struct saga_options *options)
{
    if (options == NULL) {
        return;
    }
    for (size_t i = 0; i < options->count; i++) {
        free(options->values[i].key);
        free(options->values[i].text);
        free(options->values[i].origin);
    }
    free(options->values);
    free(options->operands);
    free(options);
}

/* ---- Looking up ---- */

/* The value that counts: of the strongest source, the last given. */
static const struct value *value_find(const struct saga_options *options, const char *name)
{
    const struct saga_option *option = option_named(options, name);
    const struct value *found = NULL;
    for (size_t i = 0; i < options->count; i++) {
        const struct value *value = &options->values[i];
        if (value->option == option && (found == NULL || value->source >= found->source)) {
            found = value;
        }
    }
    return found;
}

const char *saga_options_text(const struct saga_options *options, const char *name)
{
    const struct value *value = value_find(options, name);
    return value == NULL ? NULL : value->text;
}

bool saga_options_on(const struct saga_options *options, const char *name)
{
    const char *text = saga_options_text(options, name);
    return text != NULL && strcmp(text, "true") == 0;
}

enum saga_err saga_options_int(const struct saga_options *options, const char *name, int64_t min,
                               int64_t max, int64_t *number, struct saga_err_detail *detail)
{
    const struct value *value = value_find(options, name);
    if (value == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "--%s: a value is missing", name);
    }
    const char *digits = value->text[0] == '-' ? value->text + 1 : value->text;
    bool whole = digits[0] != '\0' && digits[strspn(digits, "0123456789")] == '\0';
    errno = 0;
    long long got = whole ? strtoll(value->text, NULL, 10) : 0;
    if (!whole || errno == ERANGE || got < min || got > max) {
        return saga_err_set(detail, whole ? SAGA_ERR_LIMIT : SAGA_ERR_INVALID,
                            "%s: \"%.60s\" is not a whole number from %" PRId64 " to %" PRId64
                            " (try --help)",
                            value->origin, value->text, min, max);
    }
    *number = got;
    return SAGA_ERR_OK;
}

size_t saga_options_count(const struct saga_options *options, const char *name)
{
    const struct value *best = value_find(options, name);
    size_t count = 0;
    for (size_t i = 0; best != NULL && i < options->count; i++) {
        if (options->values[i].option == best->option &&
            options->values[i].source == best->source) {
            count++;
        }
    }
    return count;
}

const char *saga_options_at(const struct saga_options *options, const char *name, size_t index)
{
    const struct value *best = value_find(options, name);
    for (size_t i = 0; best != NULL && i < options->count; i++) {
        const struct value *value = &options->values[i];
        if (value->option == best->option && value->source == best->source && index-- == 0) {
            return value->text;
        }
    }
    return NULL;
}

/* Tells whether another value of the same key counts more. */
static bool is_beaten(const struct saga_options *options, size_t at)
{
    const struct value *value = &options->values[at];
    for (size_t i = 0; i < options->count; i++) {
        const struct value *other = &options->values[i];
        if (other->option == value->option && strcmp(other->key, value->key) == 0 &&
            (other->source > value->source || (other->source == value->source && i > at))) {
            return true;
        }
    }
    return false;
}

bool saga_options_family(const struct saga_options *options, const char *family, size_t index,
                         const char **key, const char **text)
{
    const struct saga_option *option = option_named(options, family);
    SAGA_ASSERT(is_family(option));
    for (size_t i = 0; i < options->count; i++) {
        const struct value *value = &options->values[i];
        if (value->option == option && !is_beaten(options, i) && index-- == 0) {
            *key = value->key;
            *text = value->text;
            return true;
        }
    }
    return false;
}

size_t saga_options_operand_count(const struct saga_options *options)
{
    return options->operand_count;
}

const char *saga_options_operand(const struct saga_options *options, size_t index)
{
    return index < options->operand_count ? options->operands[index] : NULL;
}
