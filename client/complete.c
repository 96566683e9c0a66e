/* Completion. See complete.h. */
#include "client/complete.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/address.h"
#include "client/applied.h"
#include "client/definition_pages.h"
#include "client/proto_file.h"
#include "client/sagas.h"
#include "client/symbols.h"
#include "saga/v1/reflection.pb-c.h"
#include "verify/compat/compat.h"
#include "verify/style/style.h"

/* What a word can be. */
enum source {
    NOTHING,
    FILES,
    DIRS,
    VERBS,
    ADDRESSES, /* names of daemons */
    METHODS,   /* of the daemon that is the first operand */
    SERVICES,
    SYMBOLS,
    ADDRESSES_OR_SYMBOLS,
    SAGAS,
    SAGAS_OR_FILES,
    DEFINITIONS,
    STATES,
    STEPS, /* of all definitions */
    RULES, /* of lint, codes of breaking */
};

/* What operands are; `last` holds for all behind too. `words`: these, then. */
struct operand {
    const char *verb;
    size_t index;
    bool last;
    enum source source;
    const char *words;
};

static const struct operand operands[] = {
    {"apply", 0, true, FILES, NULL},
    {"audit", 0, false, NOTHING, "verify tail"},
    {"breaking", 0, true, FILES, NULL},
    {"call", 0, false, ADDRESSES, NULL},
    {"call", 1, false, METHODS, NULL},
    {"cancel", 0, false, SAGAS, NULL},
    {"certify", 0, false, ADDRESSES, NULL},
    {"check", 0, false, FILES, NULL},
    {"compensate", 0, false, SAGAS, NULL},
    {"completion", 0, false, NOTHING, "bash zsh fish"},
    {"definitions", 0, false, DEFINITIONS, NULL},
    {"describe", 0, false, ADDRESSES_OR_SYMBOLS, NULL},
    {"describe", 1, false, SYMBOLS, NULL},
    {"get", 0, false, SAGAS, NULL},
    {"graph", 0, false, SAGAS_OR_FILES, NULL},
    {"health", 0, true, ADDRESSES, NULL},
    {"help", 0, false, VERBS, NULL},
    {"lint", 0, true, FILES, NULL},
    {"list-services", 0, false, ADDRESSES, NULL},
    {"list-services", 1, false, SERVICES, NULL},
    {"pause", 0, false, DEFINITIONS, NULL},
    {"remove", 0, false, DEFINITIONS, NULL},
    {"replay", 0, false, SAGAS, NULL},
    {"resolve", 0, false, SAGAS, NULL},
    {"resume", 0, false, DEFINITIONS, NULL},
    {"retry", 0, false, SAGAS, NULL},
    {"seed", 0, false, FILES, NULL},
    {"sim", 0, false, FILES, NULL},
    {"skip", 0, false, SAGAS, NULL},
    {"start", 0, false, DEFINITIONS, NULL},
    {"topics", 0, false, NOTHING, "list apply probe"},
    {"watch", 0, false, SAGAS, NULL},
    {"why", 0, false, SAGAS, NULL},
};

/* The line, taken apart. */
struct line {
    const struct saga_verb *verb;
    const char *operands[SAGA_COMPLETE_WORDS_MAX];
    size_t operand_count;
    const struct saga_option *pending; /* the last word is its value */
    const char *current;
    char prefix[64]; /* of candidates: "--output=" when the value is in the same word */
    const char *descriptor_set;
    char *settings[SAGA_COMPLETE_WORDS_MAX]; /* flags that say where a daemon is, as they stand */
    size_t setting_count;
    struct saga_program program;  /* that reads them */
    struct saga_options *options; /* what they say, with a short time-out */
};

/* ---- Printing ---- */

static void offer(const struct line *line, const char *word, const char *description)
{
    if (strncmp(word, line->current, strlen(line->current)) != 0) {
        return;
    }
    printf("%s%s", line->prefix, word);
    size_t size = strcspn(description, "\n");
    size = size > 0 && description[size - 1] == '\r' ? size - 1 : size;
    if (size > 0) {
        printf("\t%.*s", (int)(size < 100 ? size : 100), description + (description[0] == ' '));
    }
    putchar('\n');
}

static void offer_words(const struct line *line, const char *words, char separator)
{
    char word[64];
    while (*words != 0) {
        const char *end = strchr(words, separator);
        size_t size = end == NULL ? strlen(words) : (size_t)(end - words);
        (void)snprintf(word, sizeof word, "%.*s", (int)(size < 63 ? size : 63), words);
        offer(line, word, "");
        words += size + (end != NULL);
    }
}

/* Names of rules and codes, for --disable and so on. */
static void offer_rules(const struct line *line)
{
    if (strcmp(line->verb->name, "lint") == 0) {
        for (size_t i = 0; i < SAGA_STYLE_RULE_COUNT; i++) {
            offer(line, saga_style_rule(i)->name, saga_style_rule(i)->summary);
        }
    } else {
        for (size_t i = 0; i < SAGA_COMPAT_CODE_COUNT; i++) {
            const struct saga_compat_code_info *info =
                saga_compat_code_info((enum saga_compat_code)i);
            offer(line, info->name, info->summary);
        }
    }
}

static void offer_symbol(const char *name, const char *comment, void *context)
{
    offer(context, name, comment);
}

/* ---- Asking daemons ---- */

/* A connection to the daemon that is the first operand, or whose name is given. NULL: none. */
static struct saga_conn *open_daemon(const struct line *line, const char *address)
{
    struct saga_conn *conn = NULL;
    return address != NULL && saga_address_open(line->options, address, &conn) == SAGA_EXIT_OK
               ? conn
               : NULL;
}

static const ProtobufCMessage *ask(struct saga_conn *conn, const char *method,
                                   const ProtobufCMessage *message,
                                   const ProtobufCMessageDescriptor *response_type)
{
    const struct saga_conn_request request = {
        .method = method, .request = message, .response_type = response_type};
    const ProtobufCMessage *answer = NULL;
    return saga_conn_call(conn, &request, &answer) == SAGA_EXIT_OK ? answer : NULL;
}

static void offer_sagas(const struct line *line)
{
    Saga__V1__ListSagasRequest message = SAGA__V1__LIST_SAGAS_REQUEST__INIT;
    struct saga_conn *conn = NULL;
    message.limit = SAGA_COMPLETE_SAGAS_MAX;
    if (saga_conn_open_orchestrator(line->options, &conn) != SAGA_EXIT_OK) {
        return;
    }
    const Saga__V1__ListSagasResponse *list = (const Saga__V1__ListSagasResponse *)ask(
        conn, "saga.v1.OrchestratorService/ListSagas", &message.base,
        &saga__v1__list_sagas_response__descriptor);
    for (size_t i = 0; list != NULL && i < list->n_sagas; i++) {
        const Saga__V1__SagaView *saga = list->sagas[i];
        char id[SAGA_ID_TEXT_SIZE];
        char description[SAGA_DEFINITION_NAME_MAX + SAGA_START_KEY_MAX + 32];
        saga_view_id_text(&saga->saga_id, id);
        (void)snprintf(description, sizeof description, "%s %s %s", saga->definition, saga->key,
                       saga_view_state(saga->state));
        saga_client_clean(description);
        offer(line, id, description);
    }
    saga_conn_close(conn);
}

/* What is offered of definitions. */
struct definition_offer {
    const struct line *line;
    bool steps; /* instead of names */
};

struct applied_offer {
    const struct line *line;
    const struct saga_schema *built_in;
};

static int offer_definition(void *user, const Saga__V1__DefinitionView *view)
{
    const struct definition_offer *what = user;
    for (size_t k = 0; what->steps && view->current && k < view->n_steps; k++) {
        offer(what->line, view->steps[k], view->name);
    }
    if (!what->steps && view->current) {
        offer(what->line, view->name, view->context_type);
    }
    return SAGA_EXIT_OK;
}

/* What offer_symbols() does not know: a definition that came by `sagactl apply`. */
static int offer_new(void *user, const Saga__V1__DefinitionView *view)
{
    const struct applied_offer *what = user;
    if (view->current && saga_schema_decl(what->built_in, view->name) == NULL) {
        offer(what->line, view->name, view->context_type);
    }
    return SAGA_EXIT_OK;
}

static void offer_applied(const struct line *line)
{
    static const struct saga_definition_list all = {NULL, false};
    struct saga_schema *built_in = NULL;
    struct saga_conn *conn = NULL;
    if (line->descriptor_set != NULL || !saga_applied_known(line->options) ||
        saga_schema_open(NULL, &built_in) != SAGA_EXIT_OK) {
        return;
    }
    if (saga_conn_open_orchestrator(line->options, &conn) == SAGA_EXIT_OK) {
        struct applied_offer what = {line, built_in};
        (void)saga_definitions_each(conn, &all, offer_new, &what);
    }
    saga_conn_close(conn);
    saga_schema_free(built_in);
}

/* The definitions of the orchestrator, or their steps. */
static void offer_definitions(const struct line *line, bool steps)
{
    static const struct saga_definition_list all = {NULL, false};
    struct definition_offer what = {line, steps};
    struct saga_conn *conn = NULL;
    if (saga_conn_open_orchestrator(line->options, &conn) != SAGA_EXIT_OK) {
        return;
    }
    (void)saga_definitions_each(conn, &all, offer_definition, &what);
    saga_conn_close(conn);
}

static void offer_addresses(const struct line *line)
{
    struct saga_endpoints endpoints;
    struct saga_err_detail detail = {{0}};
    if (saga_endpoints_read(saga_options_text(line->options, "dir"), &endpoints, &detail) !=
        SAGA_ERR_OK) {
        return;
    }
    for (int i = 0; i < SAGA_DAEMON_COUNT; i++) {
        if (endpoints.daemons[i].nng[0] != 0) {
            const char *name = saga_daemon_name((enum saga_daemon)i);
            offer(line, name, endpoints.daemons[i].nng);
            if (line->current[0] != 0) { /* URLs only to somebody who began one */
                offer(line, endpoints.daemons[i].nng, name);
            }
        }
    }
}

/* Names of a daemon: a schema has more services than the daemon serves. */
struct served_offer {
    const struct line *line;
    const Saga__V1__GetDescriptorSetResponse *set;
};

static void offer_served(const char *name, const char *comment, void *context)
{
    const struct served_offer *what = context;
    for (size_t i = 0; i < what->set->n_services; i++) {
        size_t size = strlen(what->set->services[i]);
        if (strncmp(name, what->set->services[i], size) == 0 &&
            (name[size] == '\0' || name[size] == '/')) {
            offer(what->line, name, comment);
            return;
        }
    }
}

/* The services, or the methods, that a daemon serves. */
static void offer_of_daemon(const struct line *line, unsigned kinds, const char *address)
{
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_schema *schema = NULL;
    struct saga_conn *conn = open_daemon(line, address);
    const Saga__V1__GetDescriptorSetResponse *set =
        conn == NULL ? NULL
                     : (const Saga__V1__GetDescriptorSetResponse *)ask(
                           conn, "saga.v1.ReflectionService/GetDescriptorSet", &message.base,
                           &saga__v1__get_descriptor_set_response__descriptor);
    if (set != NULL &&
        saga_schema_load((struct saga_bytes){set->descriptor_set.data, set->descriptor_set.len},
                         &schema, NULL) == SAGA_ERR_OK) {
        struct served_offer what = {line, set};
        saga_symbols_each(schema, kinds, offer_served, &what);
        saga_schema_free(schema);
    }
    saga_conn_close(conn);
}

/* The names of a schema: of --descriptor-set, of the daemon that is the first operand, or, when
 * there is neither, the built-in ones. */
static void offer_symbols(struct line *line, unsigned kinds, const char *address)
{
    struct saga_schema *own = NULL;
    const struct saga_schema *schema = NULL;
    struct saga_conn *conn = NULL;
    const unsigned served = SAGA_SYMBOL_METHOD | SAGA_SYMBOL_SERVICE;
    if (line->descriptor_set == NULL && address != NULL && (kinds & ~served) == 0) {
        offer_of_daemon(line, kinds, address);
        return;
    }
    if (line->descriptor_set != NULL || address == NULL) {
        (void)saga_proto_file_schema(NULL, line->descriptor_set, &own);
        schema = own;
    } else {
        conn = open_daemon(line, address);
        schema = conn == NULL ? NULL : saga_conn_schema(conn);
    }
    if (schema != NULL) {
        saga_symbols_each(schema, kinds, offer_symbol, line);
    }
    saga_conn_close(conn);
    saga_schema_free(own);
}

/* ---- What the last word can be ---- */

static void offer_verbs(const struct line *line)
{
    for (size_t i = 0; saga_verbs[i] != NULL; i++) {
        offer(line, saga_verbs[i]->name, saga_verbs[i]->summary);
    }
}

static void offer_source(struct line *line, enum source source)
{
    const char *address = line->operand_count > 0 ? line->operands[0] : NULL;
    switch (source) {
    case NOTHING:
        break;
    case FILES:
        puts(":files");
        break;
    case DIRS:
        puts(":dirs");
        break;
    case VERBS:
        offer_verbs(line);
        break;
    case ADDRESSES:
        offer_addresses(line);
        break;
    case METHODS:
        offer_symbols(line, SAGA_SYMBOL_METHOD, address);
        break;
    case SERVICES:
        offer_symbols(line, SAGA_SYMBOL_SERVICE, address);
        break;
    case SYMBOLS:
        offer_symbols(line, SAGA_SYMBOL_ALL, address);
        if (address != NULL && strcmp(address, saga_daemon_name(SAGA_DAEMON_SAGAD)) == 0) {
            offer_applied(line);
        }
        break;
    case ADDRESSES_OR_SYMBOLS:
        offer_addresses(line);
        offer_symbols(line, SAGA_SYMBOL_ALL, NULL);
        offer_applied(line);
        break;
    case SAGAS_OR_FILES:
        puts(":files");
        offer_sagas(line);
        break;
    case SAGAS:
        offer_sagas(line);
        break;
    case DEFINITIONS:
        offer_definitions(line, false);
        break;
    case STEPS:
        offer_definitions(line, true);
        break;
    case RULES:
        offer_rules(line);
        break;
    case STATES:
        for (int i = 1; i <= (int)SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED; i++) {
            offer(line, saga_view_state((Saga__V1__SagaState)i), "");
        }
        break;
    }
}

/* The values of a setting, by its name or by how its help names them: "table|json". */
static void offer_values(struct line *line, const struct saga_option *option)
{
    static const struct {
        const char *name;
        const char *argument;
        enum source source;
    } values[] = {
        {"state", "STATE", STATES}, {"saga", "NAME", DEFINITIONS}, {"saga", "ID", SAGAS},
        {"step", "STEP", STEPS},    {"address", "URL", NOTHING},   {"disable", "RULE", RULES},
        {"enable", "RULE", RULES},  {"only", "RULE", RULES},       {"disable", "CODE", RULES},
    };
    const char *argument = option->argument;
    if (strchr(argument, '|') != NULL &&
        strspn(argument, "abcdefghijklmnopqrstuvwxyz0123456789|-") == strlen(argument)) {
        offer_words(line, argument, '|');
        return;
    }
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strcmp(values[i].name, option->name) == 0 &&
            strcmp(values[i].argument, argument) == 0) {
            offer_source(line, values[i].source);
            return;
        }
    }
    bool at_file = line->current[0] == '@' && strstr(argument, "@FILE") != NULL;
    if (strcmp(argument, "FILE") == 0 || at_file) {
        offer_source(line, FILES);
    } else if (strcmp(argument, "DIR") == 0) {
        offer_source(line, DIRS);
    }
}

static void offer_options(const struct line *line)
{
    const struct saga_option *tables[] = {line->verb->options, saga_client_options};
    const size_t counts[] = {line->verb->option_count,
                             line->verb->offline ? 1 : saga_client_option_count};
    char flag[80];
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < counts[t]; i++) {
            size_t size = strlen(tables[t][i].name);
            if (tables[t][i].name[size - 1] != '.') {
                (void)snprintf(flag, sizeof flag, "--%s", tables[t][i].name);
                offer(line, flag, tables[t][i].help);
            }
        }
    }
    offer(line, "--help", "Print help and exit.");
}

static void offer_operand(struct line *line)
{
    for (size_t i = 0; i < sizeof operands / sizeof operands[0]; i++) {
        const struct operand *operand = &operands[i];
        if (strcmp(operand->verb, line->verb->name) == 0 &&
            (operand->index == line->operand_count ||
             (operand->last && operand->index < line->operand_count))) {
            if (operand->words != NULL) {
                offer_words(line, operand->words, ' ');
            }
            offer_source(line, operand->source);
            return;
        }
    }
}

/* ---- Taking the line apart ---- */

static const struct saga_option *find_option(const struct saga_verb *verb, const char *name,
                                             size_t size)
{
    const struct saga_option *tables[] = {verb->options, saga_client_options};
    const size_t counts[] = {verb->option_count, saga_client_option_count};
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < counts[t]; i++) {
            const struct saga_option *option = &tables[t][i];
            if (strlen(option->name) == size && strncmp(option->name, name, size) == 0) {
                return option;
            }
        }
    }
    return NULL;
}

/* The setting that a word names: "--name", "--name=value", "-x". NULL: it names none. */
static const struct saga_option *word_option(const struct saga_verb *verb, const char *word)
{
    if (word[0] != '-' || word[1] == 0) {
        return NULL;
    }
    if (word[1] == '-') {
        return find_option(verb, word + 2, strcspn(word + 2, "="));
    }
    for (const char *at = verb->shorts; at != NULL && *at != 0;) {
        size_t size = strcspn(at, " ");
        if (size > 2 && at[0] == word[1]) {
            return find_option(verb, at + 2, size - 2);
        }
        at += size;
        at += strspn(at, " ");
    }
    return NULL;
}

/* Keeps a setting that says where and how daemons are reached. */
static void keep_setting(struct line *line, const struct saga_option *option, const char *value)
{
    static const char *const wanted[] = {"dir", "address", "tls-ca", "tls-cert", "tls-key"};
    if (strcmp(option->name, "descriptor-set") == 0) {
        line->descriptor_set = value;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        size_t size = strlen(option->name) + strlen(value) + 4;
        char *flag = strcmp(option->name, wanted[i]) == 0 ? malloc(size) : NULL;
        if (flag != NULL) {
            (void)snprintf(flag, size, "--%s=%s", option->name, value);
            line->settings[line->setting_count++] = flag;
        }
    }
}

/* Reads the words before the last. */
static void read_words(struct line *line, const char *const *words, size_t count)
{
    bool only_operands = false;
    for (size_t i = 1; i + 1 < count; i++) {
        const char *word = words[i];
        const struct saga_option *option = only_operands ? NULL : word_option(line->verb, word);
        if (!only_operands && strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (option != NULL && option->argument != NULL) {
            const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
            bool glued = equals != NULL || (word[1] != '-' && word[2] != 0);
            if (glued) {
                keep_setting(line, option, equals != NULL ? equals + 1 : word + 2);
            } else if (i + 2 < count) {
                keep_setting(line, option, words[++i]);
            } else {
                line->pending = option;
            }
        } else if (only_operands || word[0] != '-') {
            line->operands[line->operand_count++] = word;
        }
    }
}

/* Reads --dir and so on as every verb does, environment included. */
static bool read_settings(struct line *line)
{
    char name[] = "sagactl";
    char timeout[32];
    char *argv[SAGA_COMPLETE_WORDS_MAX + 3] = {name};
    int argc = 1;
    line->program = (struct saga_program){
        .name = "sagactl",
        .summary = "",
        .usage = "",
        .env_prefix = "SAGACTL",
        .options = saga_client_options,
        .option_count = saga_client_option_count,
    };
    for (size_t i = 0; i < line->setting_count; i++) {
        argv[argc++] = line->settings[i];
    }
    (void)snprintf(timeout, sizeof timeout, "--timeout=%dms", SAGA_COMPLETE_WAIT_MS);
    argv[argc++] = timeout;
    return saga_options_read(&line->program, argc, argv, false, &line->options) == SAGA_OPTIONS_RUN;
}

static void complete_line(struct line *line)
{
    const struct saga_option *option = word_option(line->verb, line->current);
    const char *equals = strchr(line->current, '=');
    if (line->pending != NULL) {
        offer_values(line, line->pending);
    } else if (option != NULL && option->argument != NULL && equals != NULL) {
        (void)snprintf(line->prefix, sizeof line->prefix, "%.*s", (int)(equals + 1 - line->current),
                       line->current);
        line->current = equals + 1;
        offer_values(line, option);
    } else if (line->current[0] == '-') {
        offer_options(line);
    } else {
        offer_operand(line);
    }
}

/* Nothing may come into the line that is being typed. */
static void be_quiet(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)fflush(stderr);
    if (nowhere >= 0) {
        (void)dup2(nowhere, STDERR_FILENO);
        (void)close(nowhere);
    }
}

void saga_complete(const char *const *words, size_t count)
{
    struct line line = {.current = count == 0 ? "" : words[count - 1]};
    static const char *const first[] = {"help", "--help", "--version"};
    be_quiet();
    if (count > SAGA_COMPLETE_WORDS_MAX) {
        return;
    }
    if (count <= 1) {
        offer_verbs(&line);
        for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
            offer(&line, first[i], "");
        }
        return;
    }
    if (strcmp(words[0], "help") == 0) {
        if (count == 2) {
            offer_verbs(&line);
        }
        return;
    }
    line.verb = saga_verb_find(words[0]);
    if (line.verb == NULL) {
        return;
    }
    read_words(&line, words, count);
    if (read_settings(&line)) {
        complete_line(&line);
        saga_options_free(line.options);
    }
    for (size_t i = 0; i < line.setting_count; i++) {
        free(line.settings[i]);
    }
    (void)fflush(stdout);
}
