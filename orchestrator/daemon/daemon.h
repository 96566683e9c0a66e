/* The orchestrator daemon: its parts and their life. */
#ifndef SAGA_DAEMON_DAEMON_H
#define SAGA_DAEMON_DAEMON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/base/limits.h"
#include "common/http/http.h"
#include "common/sys/options.h"
#include "orchestrator/daemon/admin.h"
#include "orchestrator/daemon/health.h"
#include "orchestrator/daemon/relays.h"
#include "orchestrator/daemon/replies.h"
#include "orchestrator/daemon/transport.h"
#include "orchestrator/daemon/versions.h"
#include "orchestrator/runtime/runtime.h"

enum { KAFKA_PROPERTIES_MAX = 64 };

/* What there is of the ready file. */
enum ready_file { READY_FILE_NONE, READY_FILE_WRITTEN, READY_FILE_SHOWN };

struct daemon {
    const struct saga_options *options;
    int64_t live_max, running_max;
    struct saga_kafka_config kafka; /* bootstrap NULL: no Kafka configured */
    enum ready_file ready_file;
    struct saga_inbox *inbox;
    struct saga_store_port store;
    struct saga_runtime *runtime;
    struct transport *transport;
    struct versions *versions;
    struct relays *relays;   /* NULL: no Kafka configured */
    struct replies *replies; /* NULL: no Kafka configured */
    struct admin *admin;
    struct saga_rpc_server *server;
    struct saga_http *http; /* NULL: --http-port none */
    struct health health;
    struct saga_buf descriptor_set;
    struct saga_kafka_property properties[KAFKA_PROPERTIES_MAX];
    _Atomic int signals; /* SIGTERM and SIGINT so far */
    bool server_closed;
};

/* Opens everything, recovers, opens the doors. What its options make impossible is refused before
 * the store is touched, and the definitions of its own set become current last: after a start that
 * failed the next one, with other options, finds everything as before. Errors: any; detail says;
 * what was opened stays for daemon_close. */
enum saga_err daemon_open(struct daemon *daemon, struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Runs the loop until a signal, then drains. Returns the exit status. */
int daemon_run(struct daemon *daemon);

/* Takes what is still in the inbox when nothing can put anything in any more, so that it is freed.
 */
void daemon_empty_inbox(struct daemon *daemon);

/* Closes everything that is open, in the order that loses nothing. */
void daemon_close(struct daemon *daemon);

#endif
