/* sagactl dev: the whole system on this machine: Kafka (embedded, or a real one), sagad and the
 * five services.
 *
 * Signals are blocked in all threads and waited for in the loop; so nothing runs in a handler. */
#define _XOPEN_SOURCE 700 /* realpath() is in POSIX.1-2008's XSI part */
#include "client/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/conn.h"
#include "client/dev.h"
#include "client/topics.h"
#include "common/sys/clock.h"
#include "saga/v1/health.pb-c.h"

enum { READY_MS = 20000, STOP_MS = 10000, RESTART_PAUSE_US = 1000000 };

static const struct saga_option dev_options[] = {
    {"http-address", "ADDRESS", "127.0.0.1", "where orderd and sagad serve HTTP", false},
    {"http-port", "PORT", "8080", "port of orderd's HTTP; 0: a free one", false},
    {"admin-port", "PORT", NULL,
     "port of sagad's HTTP; default: one above --http-port, or a free one with 0", false},
    {"bin-dir", "DIR", NULL, "where the daemons are; default: beside sagactl", false},
    {"seed", "FILE", NULL,
     "customers, products, accounts and so on to begin with; default: the one that comes with this "
     "program",
     false},
    {"log-level", "LEVEL", "info", "of the daemons: debug, info, warn or error", false},
    {"restart", NULL, "false", "start a daemon that died again", false},
    {"once", NULL, "false", "start everything, check its health, stop", false},
};

/* Started in this order. */
static const struct {
    enum saga_daemon daemon;
    bool http;
} parts[SAGA_DAEMON_COUNT] = {
    {SAGA_DAEMON_CUSTOMERD, false}, {SAGA_DAEMON_PRODUCTD, false}, {SAGA_DAEMON_KITCHEND, false},
    {SAGA_DAEMON_PAYMENTD, false},  {SAGA_DAEMON_SAGAD, true},     {SAGA_DAEMON_ORDERD, true},
};

struct dev {
    const struct saga_options *options;
    char dir[PATH_MAX];
    char bin_dir[PATH_MAX];
    char socket_dir[PATH_MAX];
    bool socket_dir_is_ours; /* a short one under /tmp, to be removed */
    char seed[PATH_MAX];
    int64_t http_port;
    int64_t admin_port;
    int lock;
    sigset_t signals;
    struct saga_kafka_mock *mock;
    char kafka[SAGA_ADDRESS_SIZE_MAX + 1];
    struct saga_kafka_property properties[SAGA_KAFKA_PROPERTIES_MAX];
    size_t property_count;
    struct saga_dev_child children[SAGA_DAEMON_COUNT]; /* by enum saga_daemon */
    bool died;                                         /* a child ended by itself */
};

/* ---- Folders ---- */

static int make_folder(const char *path)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return saga_client_fail("%s: %s", path, strerror(errno));
    }
    return SAGA_EXIT_OK;
}

static int make_sub_folder(const struct dev *dev, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dev->dir, name) >= (int)sizeof path) {
        return saga_client_fail("%s: the path is too long", dev->dir);
    }
    return make_folder(path);
}

/* Socket paths have 107 bytes at most: a deep folder gets its sockets under /tmp. */
static int make_socket_folder(struct dev *dev)
{
    struct sockaddr_un address;
    size_t longest = strlen(dev->dir) + strlen("/sock/customerd.ipc");
    if (longest < sizeof address.sun_path) {
        snprintf(dev->socket_dir, sizeof dev->socket_dir, "%.*s/sock", PATH_MAX - 8, dev->dir);
        return make_folder(dev->socket_dir);
    }
    snprintf(dev->socket_dir, sizeof dev->socket_dir, "/tmp/sagactl-XXXXXX");
    if (mkdtemp(dev->socket_dir) == NULL) {
        return saga_client_fail("%s: %s", dev->socket_dir, strerror(errno));
    }
    dev->socket_dir_is_ours = true;
    fprintf(stderr,
            "sagactl: %s is too long for socket paths (%zu bytes at most); the sockets are in %s\n",
            dev->dir, sizeof address.sun_path - 1, dev->socket_dir);
    return SAGA_EXIT_OK;
}

static int make_folders(struct dev *dev)
{
    const char *given = saga_options_text(dev->options, "dir");
    int status = make_folder(given);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    if (realpath(given, dev->dir) == NULL) {
        return saga_client_fail("%s: %s", given, strerror(errno));
    }
    if (strlen(dev->dir) > PATH_MAX - 64) {
        return saga_client_fail("%s: the path is too long", dev->dir);
    }
    static const char *const names[] = {"data", "log", "ready"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && status == SAGA_EXIT_OK; i++) {
        status = make_sub_folder(dev, names[i]);
    }
    if (status == SAGA_EXIT_OK) {
        dev->lock = saga_dev_lock(dev->dir);
        status = dev->lock >= 0 ? SAGA_EXIT_OK : SAGA_EXIT_FAILED;
    }
    return status == SAGA_EXIT_OK ? make_socket_folder(dev) : status;
}

/* --seed, else ../share/sagad/seed.json beside the programs, else the source's. */
static int find_seed(struct dev *dev)
{
    const char *given = saga_options_text(dev->options, "seed");
    char installed[PATH_MAX + 32];
    if (given != NULL) {
        if (realpath(given, dev->seed) == NULL) {
            return saga_client_fail("--seed %s: %s", given, strerror(errno));
        }
        return SAGA_EXIT_OK;
    }
    snprintf(installed, sizeof installed, "%s/../share/sagad/seed.json", dev->bin_dir);
    if (realpath(installed, dev->seed) == NULL && realpath(SAGA_SEED_FILE, dev->seed) == NULL) {
        return saga_client_fail("%s: %s; give --seed FILE", SAGA_SEED_FILE, strerror(errno));
    }
    return SAGA_EXIT_OK;
}

static int read_ports(struct dev *dev)
{
    int status = saga_client_int(dev->options, "http-port", 0, 65534, &dev->http_port);
    dev->admin_port = dev->http_port == 0 ? 0 : dev->http_port + 1;
    if (status == SAGA_EXIT_OK && saga_options_text(dev->options, "admin-port") != NULL) {
        status = saga_client_int(dev->options, "admin-port", 0, 65535, &dev->admin_port);
    }
    return status;
}

/* ---- Kafka ---- */

static int start_kafka(struct dev *dev)
{
    struct saga_err_detail detail = {{0}};
    const char *given = saga_options_text(dev->options, "kafka");
    if (given == NULL) {
        if (saga_kafka_mock_start(&dev->mock, &detail) != SAGA_ERR_OK) {
            return saga_client_fail("embedded Kafka: %s", detail.text);
        }
        given = saga_kafka_mock_bootstrap(dev->mock);
    }
    if (snprintf(dev->kafka, sizeof dev->kafka, "%s", given) >= (int)sizeof dev->kafka) {
        return saga_client_usage("--kafka: more than %d bytes", SAGA_ADDRESS_SIZE_MAX);
    }
    struct saga_schema *schema = NULL;
    struct saga_topic_list *list = calloc(1, sizeof *list);
    bool created[SAGA_TOPICS_MAX];
    int status = saga_schema_open(NULL, &schema);
    if (status == SAGA_EXIT_OK && (list == NULL || saga_topics_of(schema, list) != SAGA_ERR_OK)) {
        status = saga_client_fail("the topics do not fit into memory");
    }
    if (status == SAGA_EXIT_OK) {
        struct saga_kafka_config config = {
            .bootstrap = dev->kafka,
            .client_id = "sagactl",
            .properties = dev->properties,
            .property_count = dev->property_count,
        };
        struct saga_topics_create create = {
            .kafka = &config,
            .list = list,
            .partitions = SAGA_TOPIC_PARTITIONS_DEFAULT,
            .replication = dev->mock != NULL ? 1 : -1,
            .timeout_ms = READY_MS,
        };
        if (saga_topics_create_all(&create, created, &detail) != SAGA_ERR_OK) {
            status = saga_client_fail("Kafka at %s: %s", dev->kafka, detail.text);
        }
    }
    free(list);
    saga_schema_free(schema);
    return status;
}

/* ---- Children ---- */

static enum saga_err add_common(struct dev *dev, struct saga_dev_child *child, const char *name)
{
    enum saga_err err = saga_dev_child_add(child, "%s", name);
    err = err != SAGA_ERR_OK
              ? err
              : saga_dev_child_add(child, "--listen=ipc://%s/%s.ipc", dev->socket_dir, name);
    err = err != SAGA_ERR_OK ? err
                             : saga_dev_child_add(child, "--data=%s/data/%s.db", dev->dir, name);
    err = err != SAGA_ERR_OK ? err : saga_dev_child_add(child, "--kafka=%s", dev->kafka);
    if (dev->mock != NULL && err == SAGA_ERR_OK) {
        /* The embedded cluster does not wake a waiting fetch. */
        err = saga_dev_child_add(child, "--kafka.fetch.wait.max.ms=10");
    }
    err =
        err != SAGA_ERR_OK ? err : saga_dev_child_add(child, "--ready-file=%s", child->ready_file);
    err = err != SAGA_ERR_OK ? err
                             : saga_dev_child_add(child, "--log-level=%s",
                                                  saga_options_text(dev->options, "log-level"));
    for (size_t i = 0; i < dev->property_count && err == SAGA_ERR_OK; i++) {
        err = saga_dev_child_add(child, "--kafka.%s=%s", dev->properties[i].name,
                                 dev->properties[i].value);
    }
    return err;
}

static enum saga_err add_particular(struct dev *dev, struct saga_dev_child *child, size_t part)
{
    enum saga_err err = SAGA_ERR_OK;
    bool orchestrator = parts[part].daemon == SAGA_DAEMON_SAGAD;
    if (parts[part].http) {
        err = saga_dev_child_add(child, "--http-address=%s",
                                 saga_options_text(dev->options, "http-address"));
        err = err != SAGA_ERR_OK
                  ? err
                  : saga_dev_child_add(child, "--http-port=%" PRId64,
                                       orchestrator ? dev->admin_port : dev->http_port);
    }
    for (size_t i = 0; orchestrator && i < SAGA_DAEMON_COUNT && err == SAGA_ERR_OK; i++) {
        const char *service = saga_daemon_service(parts[i].daemon);
        if (service != NULL) {
            err = saga_dev_child_add(child, "--participant=%s=ipc://%s/%s.ipc", service,
                                     dev->socket_dir, saga_daemon_name(parts[i].daemon));
        }
    }
    if (parts[part].daemon == SAGA_DAEMON_ORDERD && err == SAGA_ERR_OK) {
        err = saga_dev_child_add(child, "--orchestrator=ipc://%s/sagad.ipc", dev->socket_dir);
    } else if (!orchestrator && err == SAGA_ERR_OK) {
        err = saga_dev_child_add(child, "--seed=%s", dev->seed);
    }
    return err;
}

static int start_children(struct dev *dev)
{
    struct saga_err_detail detail = {{0}};
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        struct saga_dev_child *child = &dev->children[parts[i].daemon];
        const char *name = saga_daemon_name(parts[i].daemon);
        child->daemon = parts[i].daemon;
        int sizes[] = {snprintf(child->program, sizeof child->program, "%s/%s", dev->bin_dir, name),
                       snprintf(child->log, sizeof child->log, "%s/log/%s.log", dev->dir, name),
                       snprintf(child->ready_file, sizeof child->ready_file, "%s/ready/%s.json",
                                dev->dir, name)};
        if (sizes[0] >= PATH_MAX || sizes[1] >= PATH_MAX || sizes[2] >= PATH_MAX ||
            add_common(dev, child, name) != SAGA_ERR_OK ||
            add_particular(dev, child, i) != SAGA_ERR_OK) {
            return saga_client_fail("%s: its arguments are too many or too long", name);
        }
        if (saga_dev_child_start(child, &detail) != SAGA_ERR_OK) {
            return saga_client_fail("%s", detail.text);
        }
    }
    return SAGA_EXIT_OK;
}

/* Looks whether a child has died. */
static bool any_died(struct dev *dev)
{
    bool any = false;
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        struct saga_err_detail how = {{0}};
        struct saga_dev_child *child = &dev->children[i];
        if (saga_dev_child_reap(child, &how)) {
            saga_client_warn("%s DIED: %s", saga_daemon_name(child->daemon), how.text);
            saga_dev_child_tail(child);
            dev->died = true;
            any = true;
        }
    }
    return any;
}

/* Waits for a signal. Returns true when it is one that ends us. */
static bool wait_signal(const struct dev *dev, int64_t pause_ms)
{
    struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000L};
    int got = sigtimedwait(&dev->signals, NULL, &pause);
    return got == SIGINT || got == SIGTERM || got == SIGHUP;
}

static int wait_ready(struct dev *dev, int64_t end_us)
{
    for (;;) {
        size_t ready = 0;
        for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
            ready += saga_dev_child_look(&dev->children[i]);
        }
        if (any_died(dev)) {
            return SAGA_EXIT_FAILED;
        }
        if (ready == SAGA_DAEMON_COUNT) {
            return SAGA_EXIT_OK;
        }
        if (saga_clock_mono_us() > end_us) {
            break;
        }
        if (wait_signal(dev, 20)) {
            return saga_client_fail("interrupted while starting");
        }
    }
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        if (!dev->children[i].ready) {
            saga_client_warn("%s is not ready after %d s", saga_daemon_name((enum saga_daemon)i),
                             READY_MS / 1000);
            saga_dev_child_tail(&dev->children[i]);
        }
    }
    return SAGA_EXIT_FAILED;
}

/* Tells whether a daemon is as well as it can be by itself: sagad names a participant that is away,
 * and one that was applied to it is somebody else's to start. */
static bool is_well(const struct saga_dev_child *child, const Saga__V1__CheckResponse *response)
{
    bool well = response->state == SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING;
    if (well || response->state != SAGA__V1__HEALTH_STATE__HEALTH_STATE_DEGRADED ||
        child->daemon != SAGA_DAEMON_SAGAD) {
        return well;
    }
    for (size_t i = 0; i < response->n_parts; i++) {
        const Saga__V1__HealthPart *part = response->parts[i];
        if (part->state != SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING &&
            (strchr(part->name, '.') == NULL || saga_daemon_serves(part->name))) {
            return false;
        }
    }
    return true;
}

/* Asks one daemon for its health; gives false when it cannot be asked. */
static bool ask_health(const struct dev *dev, const struct saga_dev_child *child, bool last)
{
    Saga__V1__CheckRequest message = SAGA__V1__CHECK_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.HealthService/Check",
        .request = &message.base,
        .response_type = &saga__v1__check_response__descriptor,
    };
    struct saga_conn *conn = NULL;
    const ProtobufCMessage *answer = NULL;
    bool well = false;
    if (saga_conn_open(child->endpoint.nng, dev->options, &conn) == SAGA_EXIT_OK &&
        saga_conn_call(conn, &request, &answer) == SAGA_EXIT_OK) {
        const Saga__V1__CheckResponse *response = (const Saga__V1__CheckResponse *)answer;
        well = is_well(child, response);
        for (size_t i = 0; (last || well) && i < response->n_parts; i++) {
            const Saga__V1__HealthPart *part = response->parts[i];
            if (part->state != SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING) {
                saga_client_warn("%s: %s is not well: %s%s", saga_daemon_name(child->daemon),
                                 part->name, part->detail,
                                 well ? " (it is not dev's own, and not waited for)" : "");
            }
        }
    }
    saga_conn_close(conn);
    return well;
}

/* Waits until every daemon is well. One that does not is told, but ends nothing: it may find
 * its Kafka later. */
static int wait_healthy(struct dev *dev, int64_t end_us)
{
    bool well[SAGA_DAEMON_COUNT] = {false};
    for (;;) {
        size_t count = 0;
        bool last = saga_clock_mono_us() > end_us;
        for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
            well[i] = well[i] || ask_health(dev, &dev->children[i], last);
            count += well[i];
        }
        if (any_died(dev)) {
            return SAGA_EXIT_FAILED;
        }
        if (count == SAGA_DAEMON_COUNT) {
            return SAGA_EXIT_OK;
        }
        if (last) {
            saga_client_warn("not every daemon is well; `sagactl health` tells more");
            return SAGA_EXIT_OK;
        }
        if (wait_signal(dev, 50)) {
            return saga_client_fail("interrupted while starting");
        }
    }
}

static int write_endpoints(struct dev *dev)
{
    struct saga_err_detail detail = {{0}};
    struct saga_endpoints endpoints = {0};
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        endpoints.daemons[i] = dev->children[i].endpoint;
    }
    memcpy(endpoints.kafka, dev->kafka, sizeof endpoints.kafka);
    endpoints.dev_pid = dev->mock != NULL ? (int64_t)getpid() : 0;
    if (saga_endpoints_write(dev->dir, &endpoints, &detail) != SAGA_ERR_OK) {
        return saga_client_fail("%s", detail.text);
    }
    return SAGA_EXIT_OK;
}

static void print_hints(const struct dev *dev)
{
    const char *orders = dev->children[SAGA_DAEMON_ORDERD].endpoint.http;
    const char *admin = dev->children[SAGA_DAEMON_SAGAD].endpoint.http;
    struct saga_table table = {.column_count = 4};
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        const struct saga_dev_child *child = &dev->children[i];
        saga_table_add(&table, "%s", saga_daemon_name(child->daemon));
        saga_table_add(&table, "pid %ld", (long)child->pid);
        saga_table_add(&table, "%s", child->endpoint.nng);
        saga_table_add(&table, "%s", child->endpoint.http);
    }
    saga_table_add(&table, "kafka");
    saga_table_add(&table, "%s", dev->mock != NULL ? "embedded" : " ");
    saga_table_add(&table, "%s", dev->kafka);
    saga_table_add(&table, "%s",
                   dev->mock != NULL ? "(in memory: its records are gone after a stop)" : " ");
    (void)saga_table_print(&table);
    printf("\nfolder %s (data/, log/, endpoints.json)\n\nTry:\n"
           "  curl -s -X POST '%s/orders?wait=5s' -d "
           "'{\"customer_id\":1,\"items\":[{\"product_id\":1,\"quantity\":2}]}'\n"
           "  curl -s %s/orders/1\n"
           "  curl -s %s/readyz\n"
           "  sagactl list --dir %s\n"
           "  sagactl why --dir %s ID\n\n"
           "ctrl-C stops everything.\n",
           dev->dir, orders, orders, admin, dev->dir, dev->dir);
    fflush(stdout);
}

/* ---- The loop ---- */

/* Takes the port of an http://host:port address, so that a restarted daemon is found where it was.
 */
static const char *port_of(const char *http)
{
    const char *colon = strrchr(http, ':');
    return colon == NULL ? "0" : colon + 1;
}

static void restart_dead(struct dev *dev)
{
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        struct saga_dev_child *child = &dev->children[i];
        struct saga_err_detail detail = {{0}};
        if (child->pid != 0) {
            bool was_ready = child->ready;
            if (!was_ready && saga_dev_child_look(child)) {
                saga_client_warn("%s is back, pid %ld", saga_daemon_name(child->daemon),
                                 (long)child->pid);
                (void)write_endpoints(dev);
            }
            continue;
        }
        if (saga_clock_mono_us() - child->since_us < RESTART_PAUSE_US) {
            continue; /* it died at once: not faster than once a second */
        }
        if (child->endpoint.http[0] != 0 &&
            saga_dev_child_replace(child, "--http-port", port_of(child->endpoint.http)) !=
                SAGA_ERR_OK) {
            continue;
        }
        if (saga_dev_child_start(child, &detail) != SAGA_ERR_OK) {
            saga_client_warn("%s", detail.text);
            child->since_us = saga_clock_mono_us();
        }
    }
}

static void serve(struct dev *dev)
{
    bool restart = saga_options_on(dev->options, "restart");
    while (!wait_signal(dev, restart ? 100 : 1000)) {
        if (any_died(dev) && !restart) {
            saga_client_warn(
                "the others stay up; ctrl-C stops them (--restart would start it again)");
        }
        if (restart) {
            restart_dead(dev);
        }
    }
}

/* In order: no new orders, then nobody who decides, then those who do, then the bus. */
static bool stop(struct dev *dev)
{
    static const enum saga_daemon order[] = {SAGA_DAEMON_ORDERD, SAGA_DAEMON_SAGAD};
    bool clean = true;
    if (dev->lock >= 0) { /* else they are another's */
        saga_endpoints_remove(dev->dir);
    }
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct saga_dev_child *one = &dev->children[order[i]];
        clean = saga_dev_children_stop(&one, 1, STOP_MS, &dev->signals) && clean;
    }
    struct saga_dev_child *rest[SAGA_DAEMON_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        if (i != SAGA_DAEMON_ORDERD && i != SAGA_DAEMON_SAGAD) {
            rest[count++] = &dev->children[i];
        }
    }
    clean = saga_dev_children_stop(rest, count, STOP_MS, &dev->signals) && clean;
    saga_kafka_mock_free(dev->mock);
    dev->mock = NULL;
    return clean;
}

static void clean_up(struct dev *dev)
{
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        char path[2 * PATH_MAX];
        (void)unlink(dev->children[i].ready_file);
        snprintf(path, sizeof path, "%s/%s.ipc", dev->socket_dir,
                 saga_daemon_name((enum saga_daemon)i));
        if (dev->socket_dir_is_ours) {
            (void)unlink(path);
        }
        saga_dev_child_fini(&dev->children[i]);
    }
    if (dev->socket_dir_is_ours) {
        (void)rmdir(dev->socket_dir);
    }
    if (dev->lock >= 0) {
        (void)close(dev->lock);
    }
}

static int start_all(struct dev *dev)
{
    int status = saga_dev_bin_dir(dev->options, dev->bin_dir);
    status = status == SAGA_EXIT_OK ? find_seed(dev) : status;
    status = status == SAGA_EXIT_OK ? make_folders(dev) : status;
    status = status == SAGA_EXIT_OK ? start_kafka(dev) : status;
    int64_t end_us = saga_clock_mono_us() + READY_MS * INT64_C(1000);
    status = status == SAGA_EXIT_OK ? start_children(dev) : status;
    status = status == SAGA_EXIT_OK ? wait_ready(dev, end_us) : status;
    status = status == SAGA_EXIT_OK ? wait_healthy(dev, end_us) : status;
    return status == SAGA_EXIT_OK ? write_endpoints(dev) : status;
}

static int dev_run(const struct saga_options *options)
{
    struct dev *dev = calloc(1, sizeof *dev);
    if (dev == NULL) {
        return saga_client_fail("out of memory");
    }
    dev->options = options;
    dev->lock = -1;
    dev->property_count = saga_topics_properties(options, dev->properties);
    sigemptyset(&dev->signals);
    sigaddset(&dev->signals, SIGINT);
    sigaddset(&dev->signals, SIGTERM);
    sigaddset(&dev->signals, SIGHUP);
    sigaddset(&dev->signals, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &dev->signals, NULL);
    int status = saga_client_operands(options, 0, 0, "");
    status = status == SAGA_EXIT_OK ? read_ports(dev) : status;
    if (status == SAGA_EXIT_OK) {
        status = start_all(dev);
        if (status == SAGA_EXIT_OK) {
            print_hints(dev);
            if (!saga_options_on(options, "once")) {
                serve(dev);
            }
            fputs("sagactl: stopping\n", stderr);
        }
        bool clean = stop(dev);
        status = status == SAGA_EXIT_OK && (!clean || dev->died) ? SAGA_EXIT_FAILED : status;
    }
    clean_up(dev);
    free(dev);
    return status;
}

const struct saga_verb saga_verb_dev = {
    .name = "dev",
    .usage = "[--dir DIR] [--kafka HOST:PORT] [--http-port PORT] [--restart] [--once]",
    .summary = "run the whole system on this machine: Kafka, sagad, five services",
    .epilog = "Databases are in DIR/data, logs in DIR/log, addresses in DIR/endpoints.json.\n"
              "Started again on the same folder it goes on with the same data; the embedded\n"
              "Kafka begins empty (records that were on it are gone; what was not yet on it is\n"
              "published then).\n\n"
              "ctrl-C or SIGTERM stops orderd, sagad, the services and Kafka, in this order; a\n"
              "second one kills them.\n"
              "Exit status: 0 all stopped cleanly; 1 a daemon died or had to be killed.",
    .options = dev_options,
    .option_count = sizeof dev_options / sizeof dev_options[0],
    .shorts = "o=output",
    .run = dev_run,
};
