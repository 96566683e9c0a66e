/* What producer, consumer and topics share: settings, errors, logs, conditions. Private to this
 * room. */
#ifndef SAGA_BUS_KAFKA_CLIENT_H
#define SAGA_BUS_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/base/err.h"
#include "common/bus/kafka/kafka.h"

/* Maps librdkafka's code. */
enum saga_err saga_kafka_err(rd_kafka_resp_err_t code);

/* Makes librdkafka's settings: ours, then `own`, then the user's properties. Its logs go to ours.
 * Owns: the caller, until rd_kafka_new succeeds. Errors: INVALID (a name or value that librdkafka
 * refuses), NO_MEMORY. */
enum saga_err saga_kafka_conf_new(const struct saga_kafka_config *config,
                                  const struct saga_kafka_property *own, size_t own_count,
                                  rd_kafka_conf_t **conf,
                                  struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Copies a configuration, for a client that is made again later. Owns: the caller
 * (saga_kafka_config_free). Errors: NO_MEMORY. */
enum saga_err saga_kafka_config_dup(const struct saga_kafka_config *config,
                                    struct saga_kafka_config **copy) SAGA_WARN_UNUSED;
void saga_kafka_config_free(struct saga_kafka_config *config);

/* Makes settings of a client that talks to no cluster. Owns and Errors: as saga_kafka_conf_new. */
enum saga_err saga_kafka_conf_new_local(const char *client_id, rd_kafka_conf_t **conf,
                                        struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Makes a librdkafka client. Owns: conf is taken in any case. */
enum saga_err saga_kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **rk,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Asks the cluster for its brokers and the topics that the client knows. A metadata answer is the
 * proof of a living broker; the call returns as soon as one answers. Owns: the caller
 * (rd_kafka_metadata_destroy). Errors: UNAVAILABLE. */
enum saga_err saga_kafka_ask(rd_kafka_t *rk, int timeout_ms,
                             const struct rd_kafka_metadata **metadata) SAGA_WARN_UNUSED;

struct saga_kafka_producer;

/* Asks the cluster whether a topic can be produced to; a cluster that makes topics by itself makes
 * it. Errors: NOT_FOUND (it is not there, or not for us), UNAVAILABLE (nobody answered). */
enum saga_err saga_kafka_find_topic(struct saga_kafka_producer *producer, const char *topic,
                                    int timeout_ms) SAGA_WARN_UNUSED;

/* Makes a condition that waits on the monotonic clock. Errors: NO_MEMORY. */
enum saga_err saga_kafka_cond_init(pthread_cond_t *cond) SAGA_WARN_UNUSED;

/* Gives the monotonic time that lies some milliseconds ahead. */
struct timespec saga_kafka_deadline(int64_t timeout_ms);

#endif
