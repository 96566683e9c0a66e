/* main of every service daemon: settings, signals, ready file. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/sys/log.h"
#include "services/kit/room.h"

enum { OPTIONS_MAX = 64, EXIT_USAGE = 2, DAY_MS = 24 * 60 * 60 * 1000 };

static const struct saga_option kit_options[] = {
    {.name = "listen",
     .argument = "URL",
     .repeated = true,
     .help = "NNG address to serve on: ipc://PATH, tcp://HOST:PORT, tls+tcp://HOST:PORT."},
    {.name = "data", .argument = "FILE", .help = "SQLite database of this service."},
    {.name = "seed",
     .argument = "FILE",
     .help = "JSON file of rows to begin with; rows that are there already stay as they are."},
    {.name = "kafka",
     .argument = "HOST:PORT,…",
     .help = "Kafka brokers. Without: no compensations are taken from Kafka, and effects wait in "
             "the database."},
    {.name = "kafka.",
     .argument = "VALUE",
     .help = "Any property of librdkafka, for example --kafka.security.protocol=ssl."},
    {.name = "tls-ca", .argument = "FILE", .help = "CA of the peers, PEM; for tls+tcp addresses."},
    {.name = "tls-cert", .argument = "FILE", .help = "Certificate of this daemon, PEM."},
    {.name = "tls-key", .argument = "FILE", .help = "Its private key, PEM."},
    {.name = "ready-file",
     .argument = "FILE",
     .help = "Written once the daemon serves: JSON with its name, pid and addresses; removed when "
             "it stops."},
    {.name = "log-level",
     .argument = "LEVEL",
     .fallback = "info",
     .help = "debug, info, warn or error."},
    {.name = "barrier-retention-days",
     .argument = "N",
     .fallback = "7",
     .help = "Age at which the memory of a command is forgotten; longer than the longest saga, "
             "parked ones included."},
};
enum { KIT_OPTION_COUNT = sizeof kit_options / sizeof kit_options[0] };
_Static_assert(SAGA_KIT_RETENTION_DAYS_DEFAULT == 7, "the default that --help tells");

/* What the settings of a daemon are read into. */
struct settings {
    struct saga_program program; /* the options refer to it as long as they live */
    struct saga_option table[OPTIONS_MAX];
    char listen[SAGA_ADDRESS_SIZE_MAX + 1]; /* the default */
    char data[256];                         /* the default */
    const char *addresses[SAGA_ADDRESSES_MAX];
    struct saga_kafka_property properties[OPTIONS_MAX];
    struct saga_kit_config config;
};

static enum saga_options_next read_options(const struct saga_kit_app *app, int argc, char **argv,
                                           struct settings *settings, struct saga_options **options)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    (void)snprintf(settings->listen, sizeof settings->listen, "ipc://%s/%s.sock",
                   run == NULL || run[0] != '/' ? "/tmp" : run, app->name);
    (void)snprintf(settings->data, sizeof settings->data, "%s.db", app->name);
    size_t count = 0;
    for (; count < KIT_OPTION_COUNT; count++) {
        settings->table[count] = kit_options[count];
        if (strcmp(kit_options[count].name, "listen") == 0) {
            settings->table[count].fallback = settings->listen;
        } else if (strcmp(kit_options[count].name, "data") == 0) {
            settings->table[count].fallback = settings->data;
        }
    }
    for (size_t i = 0; i < app->option_count && count < OPTIONS_MAX; i++) {
        settings->table[count++] = app->options[i];
    }
    settings->program = (struct saga_program){
        .name = app->name,
        .summary = app->summary,
        .usage = "[OPTION]…",
        .epilog =
            "SIGTERM and SIGINT drain and stop with exit status 0; a second one stops at once.\n"
            "Exit status: 0 stopped, 1 could not start or the store failed, 2 wrong usage.",
        .env_prefix = app->env_prefix,
        .options = settings->table,
        .option_count = count,
    };
    return saga_options_read(&settings->program, argc, argv, false, options);
}

static enum saga_err read_config(const struct saga_options *options, struct settings *settings,
                                 struct saga_err_detail *detail)
{
    struct saga_kit_config *config = &settings->config;
    size_t count = saga_options_count(options, "listen");
    if (count == 0 || count > SAGA_ADDRESSES_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "--listen: %zu addresses, 1 to %d (SAGA_ADDRESSES_MAX)", count,
                            SAGA_ADDRESSES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        settings->addresses[i] = saga_options_at(options, "listen", i);
    }
    const char *key = NULL;
    const char *value = NULL;
    for (size_t i = 0; saga_options_family(options, "kafka.", i, &key, &value); i++) {
        if (i == OPTIONS_MAX) {
            return saga_err_set(detail, SAGA_ERR_LIMIT, "--kafka.…: more than %d properties",
                                OPTIONS_MAX);
        }
        settings->properties[i] = (struct saga_kafka_property){.name = key, .value = value};
        config->property_count = i + 1;
    }
    int64_t days = 0;
    enum saga_err err = saga_options_int(options, "barrier-retention-days", 1,
                                         SAGA_KIT_RETENTION_DAYS_MAX, &days, detail);
    const char *bootstrap = saga_options_text(options, "kafka");
    config->data = saga_options_text(options, "data");
    config->seed = saga_options_text(options, "seed");
    config->addresses = settings->addresses;
    config->address_count = count;
    config->tls.ca_file = saga_options_text(options, "tls-ca");
    config->tls.cert_file = saga_options_text(options, "tls-cert");
    config->tls.key_file = saga_options_text(options, "tls-key");
    config->bootstrap = bootstrap == NULL || bootstrap[0] == '\0' ? NULL : bootstrap;
    config->properties = settings->properties;
    config->retention_ms = days * DAY_MS;
    return err;
}

/* ---- Ready ---- */

/* Written aside and renamed, so that whoever sees it sees all of it. */
static enum saga_err write_ready(const struct saga_kit *kit, const char *path,
                                 struct saga_err_detail *detail)
{
    const struct saga_kit_app *app = kit->app;
    const char *http = app->http_address == NULL ? NULL : app->http_address(app->user);
    json_t *root = json_pack("{s:s, s:I, s:s}", "name", app->name, "pid", (json_int_t)getpid(),
                             "nng", saga_rpc_server_address(kit->server, 0));
    if (root != NULL && http != NULL) {
        (void)json_object_set_new(root, "http", json_string(http));
    }
    char aside[4096];
    int size = snprintf(aside, sizeof aside, "%s.%ld", path, (long)getpid());
    if (root == NULL || size < 0 || (size_t)size >= sizeof aside) {
        json_decref(root);
        return saga_err_set(detail, SAGA_ERR_LIMIT, "ready-file: the path is too long");
    }
    int written = json_dump_file(root, aside, JSON_COMPACT);
    json_decref(root);
    if (written != 0 || rename(aside, path) != 0) {
        (void)unlink(aside);
        return saga_err_set(detail, SAGA_ERR_IO, "ready-file %s: %s", path, strerror(errno));
    }
    return SAGA_ERR_OK;
}

/* ---- Signals ---- */

static void signal_set(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
}

/* Blocked in all threads: main waits for them. */
static void signals_block(void)
{
    sigset_t set;
    signal_set(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

/* Waits for the first; the second ends the process at once. */
static int signals_wait(void)
{
    sigset_t set;
    signal_set(&set);
    int received = 0;
    while (sigwait(&set, &received) != 0) {
    }
    struct sigaction end = {.sa_handler = SIG_DFL};
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGINT, &end, NULL);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return received;
}

static int serve(const struct saga_kit_app *app, const struct settings *settings,
                 const struct saga_options *options)
{
    struct saga_err_detail detail = {{0}};
    struct saga_kit *kit = NULL;
    signals_block();
    enum saga_err err = saga_kit_open(app, &settings->config, options, &kit, &detail);
    if (err != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_ERROR, "start_failed", "error=%s msg=\"%s\"", saga_err_name(err),
                 detail.text);
        return EXIT_FAILURE;
    }
    const char *path = saga_options_text(options, "ready-file");
    bool told = false;
    if (path != NULL && path[0] != '\0') {
        err = write_ready(kit, path, &detail);
        told = err == SAGA_ERR_OK;
    }
    if (err == SAGA_ERR_OK) {
        for (size_t i = 0; i < settings->config.address_count; i++) {
            saga_log(SAGA_LOG_INFO, "serving", "version=%s address=%s data=\"%s\"", SAGA_VERSION,
                     saga_rpc_server_address(kit->server, i), kit->path);
        }
        int received = signals_wait();
        saga_log(SAGA_LOG_INFO, "stopping", "signal=%d", received);
    } else {
        saga_log(SAGA_LOG_ERROR, "start_failed", "error=%s msg=\"%s\"", saga_err_name(err),
                 detail.text);
    }
    if (told) {
        (void)unlink(path); /* its pid is soon another process's */
    }
    enum saga_err closed = saga_kit_close(kit, &detail);
    if (closed != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_ERROR, "stopped", "error=%s msg=\"%s\"", saga_err_name(closed),
                 detail.text);
    } else {
        saga_log(SAGA_LOG_INFO, "stopped", "status=%d",
                 err == SAGA_ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    return err == SAGA_ERR_OK && closed == SAGA_ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int saga_kit_main(int argc, char **argv, const struct saga_kit_app *app)
{
    static struct settings settings; /* one daemon per process */
    struct saga_options *options = NULL;
    switch (read_options(app, argc, argv, &settings, &options)) {
    case SAGA_OPTIONS_EXIT_OK:
        return EXIT_SUCCESS;
    case SAGA_OPTIONS_EXIT_USAGE:
        return EXIT_USAGE;
    case SAGA_OPTIONS_RUN:
        break;
    }
    struct saga_err_detail detail = {{0}};
    int level = saga_log_level_parse(saga_options_text(options, "log-level"));
    enum saga_err err = SAGA_ERR_OK;
    if (level < 0) {
        err = saga_err_set(&detail, SAGA_ERR_INVALID,
                           "--log-level: %s is not debug, info, warn or error",
                           saga_options_text(options, "log-level"));
    } else {
        saga_log_init(app->name, (enum saga_log_level)level);
        err = read_config(options, &settings, &detail);
    }
    int status = EXIT_USAGE;
    if (err != SAGA_ERR_OK) {
        (void)fprintf(stderr, "%s: %s\nTry '%s --help'.\n", app->name, detail.text, app->name);
    } else {
        status = serve(app, &settings, options);
    }
    saga_options_free(options);
    return status;
}
