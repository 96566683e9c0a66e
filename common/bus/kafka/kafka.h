/* Kafka: producer, consumer, topics, relay, and the embedded mock cluster. librdkafka is seen
 * nowhere else. */
#ifndef SAGA_BUS_KAFKA_KAFKA_H
#define SAGA_BUS_KAFKA_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"

/* librdkafka properties as given by the user, "kafka." taken off; applied last, so that they win.
 */
struct saga_kafka_property {
    const char *name;
    const char *value;
};

struct saga_kafka_config {
    const char *bootstrap; /* "host:port,…" */
    const char *client_id; /* the daemon's name */
    const struct saga_kafka_property *properties;
    size_t property_count;
    int linger_ms; /* producers: how long records gather before they leave together; 0: not at all
                    */
    int batch_max; /* producers: records in one batch at most; 0: librdkafka's default. 1: each
                      leaves alone and at once (no linger). Not 0: whatever the properties say */
    bool in_order; /* producers: when a batch is refused, those behind it must not overtake it: the
                      producer ends (UNAVAILABLE, also for what is queued) */
};

enum { SAGA_KAFKA_HEADERS_MAX = 16 };

/* A header; the value need not be text. */
struct saga_kafka_header {
    const char *name;
    struct saga_bytes value;
};

/* A record. All borrowed. */
struct saga_kafka_record {
    const char *topic;
    struct saga_bytes key;
    struct saga_bytes value;
    struct saga_kafka_header headers[SAGA_KAFKA_HEADERS_MAX];
    size_t header_count;
    int32_t partition; /* consumer: where it came from; producer: ignored (by key, murmur2 as Java
                          clients do) */
    int64_t offset;    /* consumer: where it came from; producer: ignored */
};

/* CloudEvents 1.0 binary-mode attributes of a record that carries a protobuf message. */
struct saga_cloud_event {
    const char *id;     /* stable over redelivery */
    const char *source; /* "/sagad", "/productd" */
    const char *type;   /* full name of the message: "saga.v1.Command" */
    int64_t time_unix_ms;
    const char *traceparent; /* NULL or empty: none */
};

/* Space that the headers of saga_kafka_set_cloud_event point into. */
struct saga_cloud_event_space {
    char time[32];
};

/* Adds ce_id, ce_source, ce_type, ce_specversion, ce_time (RFC 3339), content-type
 * application/protobuf and traceparent. */
void saga_kafka_set_cloud_event(struct saga_kafka_record *record,
                                const struct saga_cloud_event *event,
                                struct saga_cloud_event_space *space);

/* Finds a header's value; size 0 and NULL when it is not there. */
struct saga_bytes saga_kafka_header(const struct saga_kafka_record *record, const char *name);

/* ---- Producer: idempotent, acks=all. ---- */

struct saga_kafka_producer;

/* Tells that a record is on all in-sync replicas (OK) or will never be (another error). Thread: the
 * producer's poll thread. */
typedef void saga_kafka_delivered(void *user, uint64_t token, enum saga_err err);

/* Starts a producer with its poll thread. It does not need a broker to start. Errors: INVALID
 * (unknown property; detail), NO_MEMORY. */
enum saga_err saga_kafka_producer_start(const struct saga_kafka_config *config,
                                        saga_kafka_delivered *delivered, void *user,
                                        struct saga_kafka_producer **producer,
                                        struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Queues a record (copied). token comes back with delivered. Thread: any. Errors: FULL (local
 * queue; try again later), LIMIT (too large), NOT_FOUND (no such topic), UNAVAILABLE (fatal
 * producer error: it must be restarted). A record waits as long as the broker is away
 * (message.timeout.ms = 0), it is never given up by time. */
enum saga_err saga_kafka_produce(struct saga_kafka_producer *producer,
                                 const struct saga_kafka_record *record,
                                 uint64_t token) SAGA_WARN_UNUSED;

/* Tells whether a broker is reachable as far as the producer knows. Thread: any. */
bool saga_kafka_producer_up(const struct saga_kafka_producer *producer);

/* Waits until all queued records are delivered or timeout. Errors: TIMEOUT. */
enum saga_err saga_kafka_flush(struct saga_kafka_producer *producer,
                               int64_t timeout_ms) SAGA_WARN_UNUSED;

/* Stops and frees; what was not delivered is dropped (it is in an outbox). NULL is nothing. */
void saga_kafka_producer_free(struct saga_kafka_producer *producer);

/* ---- Consumer: assign() to all partitions of some topics, offsets kept by the user in its own
 * database. ---- */

struct saga_kafka_consumer;

/* Where to go on; asked for every partition when it is assigned (also for partitions added later).
 * Returns the next offset to read, or -1: from the beginning. Thread: the consumer's. */
typedef int64_t saga_kafka_position(void *user, const char *topic, int32_t partition);

/* Receives a record. Thread: the consumer's; the record is valid during the call. Returns false to
 * be given the same record again after a pause of 10 ms (the inbox is full): back-pressure. */
typedef bool saga_kafka_received(void *user, const struct saga_kafka_record *record);

struct saga_kafka_consumer_config {
    struct saga_kafka_config kafka;
    const char *const *topics;
    size_t topic_count;
    saga_kafka_position *position;
    saga_kafka_received *received;
    void *user;
    int fetch_wait_ms; /* fetch.wait.max.ms; 0: 100. A broker answers a waiting fetch as soon as
                          there is a record; the embedded cluster only when it is over */
};

/* Starts a consumer with its thread; waits in the background until the topics exist and looks for
 * new partitions every 5 s. An offset that the broker no longer has (topic made anew, retention)
 * goes to the earliest and is logged as a warning. Errors: INVALID, NO_MEMORY. */
enum saga_err saga_kafka_consumer_start(const struct saga_kafka_consumer_config *config,
                                        struct saga_kafka_consumer **consumer,
                                        struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Reads one more topic from now on, from where position says; one that is read already is nothing
 * new. Like the others it need not exist yet, and keeps no other from being read. The name is
 * copied. Thread: any. Errors: NO_MEMORY. */
enum saga_err saga_kafka_consumer_add(struct saga_kafka_consumer *consumer,
                                      const char *topic) SAGA_WARN_UNUSED;

/* Tells whether all topics are found and assigned, and a broker is reachable. Thread: any. */
bool saga_kafka_consumer_up(const struct saga_kafka_consumer *consumer);

/* Stops: after it returns, received is not called again. Frees. NULL is nothing. */
void saga_kafka_consumer_free(struct saga_kafka_consumer *consumer);

/* Builds a dead letter from a record that could not be used: same key and value, its headers plus
 * dead-letter-reason, dead-letter-topic, dead-letter-partition, dead-letter-offset; topic
 * saga-dead-letter. space is borrowed by *letter. */
struct saga_dead_letter_space {
    char partition[16];
    char offset[24];
};
void saga_kafka_dead_letter(const struct saga_kafka_record *record, const char *reason,
                            struct saga_dead_letter_space *space, struct saga_kafka_record *letter);

/* ---- Topics ---- */

struct saga_kafka_topic {
    const char *name;
    int32_t partitions;
    int32_t replication;        /* -1: the broker's default */
    const char *const *configs; /* pairs name, value, ended by NULL; or NULL */
};

/* Creates topics and waits until they can be used; those that exist are left alone (created[i]
 * tells; created may be NULL). A cluster without a controller (the embedded one) makes them as it
 * likes, and created[i] stays false. Errors: UNAVAILABLE (no broker in time), INVALID; detail names
 * the topic. */
enum saga_err saga_kafka_topics_create(const struct saga_kafka_config *config,
                                       const struct saga_kafka_topic *topics, size_t count,
                                       bool *created, int64_t timeout_ms,
                                       struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells of each topic its number of partitions (0: not there). Errors: UNAVAILABLE. */
enum saga_err saga_kafka_topics_find(const struct saga_kafka_config *config,
                                     const char *const *names, size_t count, int32_t *partitions,
                                     int64_t timeout_ms,
                                     struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Produces a record to a topic and reads it back; gives the time that took. Errors: UNAVAILABLE,
 * TIMEOUT. */
enum saga_err saga_kafka_topic_probe(const struct saga_kafka_config *config, const char *topic,
                                     int64_t timeout_ms, int64_t *round_trip_us,
                                     struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* ---- Relay: from a durable outbox to Kafka, in order, at least once. ----
 *
 * A topic's max.message.bytes limits a batch, and a refused batch takes its small records with it.
 * The relay then publishes record by record for a while, afterwards in smaller batches. A record
 * that is refused alone holds up everything behind it: the relay is not up, names the record in the
 * log, and tries again every second until the limit is raised. Nothing is ever skipped.
 *
 * Records of a topic that does not exist wait, in their order, and are published when it is there;
 * records of other topics go on. The position stays before the first that waits: after a restart
 * what was published behind it is published once more. As many rows as outstanding_max go on behind
 * it, then the relay stands still until the topic is there. */

/* A row of an outbox and the records that it is published as. */
enum { SAGA_RELAY_RECORDS_PER_ROW = 2 };

struct saga_relay_row {
    int64_t position; /* ascending */
    struct saga_kafka_record records[SAGA_RELAY_RECORDS_PER_ROW];
    size_t record_count; /* 0: nothing to publish for this row */
};

/* Gives the rows after a position, ascending, at most count_max; *count 0: there are none. Called
 * on the relay's thread only; what the rows point to must live until the next call. Errors: any:
 * logged, tried again after 100 ms. */
typedef enum saga_err saga_relay_fetch(void *user, int64_t after, size_t count_max,
                                       struct saga_relay_row *rows, size_t *count,
                                       struct saga_err_detail *detail);

/* Tells that every row up to position is on Kafka. Thread: the producer's or the relay's; must only
 * queue. The user makes it durable when it commits next. */
typedef void saga_relay_advanced(void *user, int64_t position);

/* Tells that one row is on Kafka while one before it waits for its topic; advanced tells of it
 * again. Told several times for the same row at times. Thread and duties: as saga_relay_advanced.
 */
typedef void saga_relay_delivered(void *user, int64_t position);

struct saga_relay;

struct saga_relay_config {
    struct saga_kafka_config kafka; /* a producer of its own */
    const char *name;               /* for logs */
    int64_t position;               /* the durable cursor: rows after it are to be published */
    size_t outstanding_max; /* rows produced and not yet acknowledged; 0: 10 * SAGA_RELAY_BATCH */
    saga_relay_fetch *fetch;
    saga_relay_advanced *advanced;
    saga_relay_delivered *delivered; /* NULL: not wanted */
    void *user;
};

/* Starts the relay's thread. */
enum saga_err saga_relay_start(const struct saga_relay_config *config, struct saga_relay **relay,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells the relay that rows were committed. Cheap; any thread. */
void saga_relay_wake(struct saga_relay *relay);

/* Publishes a record that is in no outbox (a replayed reply, a dead letter), by the relay's
 * producer; not durable. */
enum saga_err saga_relay_produce(struct saga_relay *relay,
                                 const struct saga_kafka_record *record) SAGA_WARN_UNUSED;

/* Tells whether the relay goes on: Kafka is reachable, no record is refused for its size and none
 * waits for its topic; and the position up to which rows are acknowledged. Thread: any. */
bool saga_relay_up(const struct saga_relay *relay);
int64_t saga_relay_position(const struct saga_relay *relay);

/* Tells which topics are missing while records of theirs wait: their names, as many as fit, "" when
 * there is none; and whether nothing goes on any more behind them. Thread: any. */
void saga_relay_missing(struct saga_relay *relay, char *names, size_t size, bool *full);

/* Waits until all rows are published or timeout. Errors: TIMEOUT. */
enum saga_err saga_relay_drain(struct saga_relay *relay, int64_t timeout_ms) SAGA_WARN_UNUSED;

/* Stops the thread and frees; advanced is not called afterwards. NULL is nothing. */
void saga_relay_free(struct saga_relay *relay);

/* ---- Embedded mock cluster (memory only; for trying the system out) ---- */

struct saga_kafka_mock;

/* Starts librdkafka's mock cluster with one broker on a free loopback port. */
enum saga_err saga_kafka_mock_start(struct saga_kafka_mock **mock,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;
const char *saga_kafka_mock_bootstrap(const struct saga_kafka_mock *mock);
void saga_kafka_mock_free(struct saga_kafka_mock *mock);

#endif
