/* The two relays of the orchestrator: audit events to saga-audit, commands to the services' command
 * topics. */
#ifndef SAGA_DAEMON_RELAYS_H
#define SAGA_DAEMON_RELAYS_H

#include "common/bus/kafka/kafka.h"
#include "common/sys/inbox.h"
#include "orchestrator/daemon/input.h"
#include "orchestrator/runtime/runtime.h"

struct relays;

/* Starts both at the store's cursors. Errors: INVALID (a Kafka property), IO (a cursor
 * cannot be read), NO_MEMORY. */
enum saga_err relays_start(const struct saga_kafka_config *kafka,
                           const struct saga_store_port *store, struct saga_inbox *inbox,
                           struct relays **relays, struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells of rows that were committed. NULL relays are nothing. Thread: any. */
void relays_wake(struct relays *relays, bool outbox, bool audit);

/* Takes an INPUT_ADVANCED into the runtime's present turn, and frees it. */
void relays_take(struct input *input, struct saga_runtime *runtime);

/* Tells whether Kafka is reachable. Thread: any. */
bool relays_up(const struct relays *relays);

/* Names the topics that are missing while records wait for them ("": none), those of commands
 * before the one of audit events; *full: no command goes on any more. Thread: any. */
void relays_missing(const struct relays *relays, char *names, size_t size, bool *full);

/* Position of the last row known to be published. Thread: any. */
int64_t relays_position(const struct relays *relays, bool outbox);

/* Waits until both have published all rows. Errors: TIMEOUT. */
enum saga_err relays_drain(struct relays *relays, int64_t timeout_ms) SAGA_WARN_UNUSED;

void relays_free(struct relays *relays);

#endif
