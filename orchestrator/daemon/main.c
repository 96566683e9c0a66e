/* sagad: options, signals, life. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/sys/log.h"
#include "orchestrator/daemon/daemon.h"

/* Defaults are texts; these are limits as well. */
_Static_assert(SAGA_LIVE_COUNT_MAX == 1000000, "the default of --live-max");
_Static_assert(SAGA_RUNNING_COUNT_MAX == 20480, "the default of --running-max");

static const struct saga_option options[] = {
    {"listen", "URL", "ipc:///tmp/sagad.sock",
     "NNG address of the admin API: ipc://, tcp:// or tls+tcp://", true},
    {"data", "FILE", "sagad.db", "SQLite file with all sagas; made when it is not there", false},
    {"participant", "SERVICE=URL", NULL,
     "address of a service, for example kitchen.v1.KitchenService=ipc:///tmp/kitchend.sock; "
     "several for one service: balanced",
     true},
    {"kafka", "HOST:PORT", NULL,
     "Kafka bootstrap servers; without it undos and audit events wait in the outbox", false},
    {"kafka.", "VALUE", NULL, "any librdkafka property, for example --kafka.security.protocol=ssl",
     false},
    {"descriptor-set", "FILE", NULL,
     "FileDescriptorSet with the saga definitions (protoc --descriptor_set_out --include_imports); "
     "default: the built-in one. A set with a finding (docs/lint.md) is refused; a version that "
     "sagactl apply has replaced stays replaced",
     false},
    {"http-address", "ADDRESS", "127.0.0.1", "address of /livez /readyz /healthz /metrics", false},
    {"http-port", "PORT", "9464", "its port; 0: a free one", false},
    {"live-max", "N", "1000000", "sagas in flight; starts beyond are refused", false},
    {"running-max", "N", "20480",
     "of those, sagas going forward at once; starts beyond are refused until some have passed",
     false},
    {"tls-ca", "FILE", NULL, "PEM of the CA whose peers are trusted (tls+tcp://)", false},
    {"tls-cert", "FILE", NULL, "PEM of this daemon's certificate", false},
    {"tls-key", "FILE", NULL, "PEM of its key", false},
    {"ready-file", "FILE", NULL,
     "written once the daemon serves: JSON with name, pid and addresses", false},
    {"log-level", "LEVEL", "info", "debug, info, warn or error", false},
};

static const struct saga_program program = {
    .name = "sagad",
    .summary = "saga orchestrator daemon",
    .usage = "[OPTION]...",
    .epilog = "SIGTERM and SIGINT stop it: doors close, what was accepted is committed, Kafka is "
              "given the rest, exit 0.\n"
              "A second signal does not wait for participants. After kill -9 the next start "
              "recovers every saga.\n",
    .env_prefix = "SAGAD",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
};

/* Waits for signals on a thread of its own; the loop is woken. */
static void *wait_signals(void *user)
{
    struct daemon *daemon = user;
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    for (;;) {
        int signal = 0;
        if (sigwait(&set, &signal) == 0) {
            if (atomic_fetch_add(&daemon->signals, 1) >= 2) {
                _exit(1);
            }
            saga_inbox_wake(daemon->inbox);
        }
    }
    return NULL;
}

/* Blocks the signals in this thread and all that it makes. */
static void block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a failed write like any other */
}

static int run(struct daemon *daemon)
{
    struct saga_err_detail detail = {{0}};
    pthread_t signals;
    enum saga_err err = daemon_open(daemon, &detail);
    if (err != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_ERROR, "cannot_start", "error=%s msg=\"%s\"", saga_err_name(err),
                 detail.text[0] != '\0' ? detail.text : saga_err_text(err));
        daemon_close(daemon);
        return 1;
    }
    saga_log(SAGA_LOG_INFO, "ready", "nng=%s http_port=%u",
             saga_rpc_server_address(daemon->server, 0), (unsigned)saga_http_port(daemon->http));
    if (pthread_create(&signals, NULL, wait_signals, daemon) != 0) {
        daemon_close(daemon);
        return 1;
    }
    int status = daemon_run(daemon);
    (void)pthread_cancel(signals);
    (void)pthread_join(signals, NULL);
    daemon_close(daemon);
    return status;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    struct saga_options *read = NULL;
    enum saga_options_next next = saga_options_read(&program, argc, argv, false, &read);
    if (next != SAGA_OPTIONS_RUN) {
        return next == SAGA_OPTIONS_EXIT_OK ? 0 : 2;
    }
    int level = saga_log_level_parse(saga_options_text(read, "log-level"));
    if (level < 0 || saga_options_operand_count(read) > 0) {
        (void)fprintf(stderr, "sagad: %s (try --help)\n",
                      level < 0 ? "--log-level: debug, info, warn or error" : "takes no operands");
        saga_options_free(read);
        return 2;
    }
    block_signals();
    saga_log_init("sagad", (enum saga_log_level)level);
    daemon.options = read;
    int status = run(&daemon);
    saga_options_free(read);
    return status;
}
