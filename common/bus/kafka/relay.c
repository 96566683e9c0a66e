/* Relay: one thread that carries rows from an outbox to Kafka.
 *
 * It fetches when it was woken and has room, produces in order, and tells the contiguous prefix of
 * what is acknowledged. A delivery that fails means that the producer's order can no longer be
 * trusted: the producer is made anew and every record behind the prefix that was not acknowledged
 * is produced again. At least once, in order of each key; when a record may come twice, and that
 * one which is acknowledged does not, is said in relay_window.h.
 *
 * A producer is made anew
 * - when a delivery failed, or the producer is at its end (it is, when a batch was refused);
 * - when records are to go one by one, and when they no longer are;
 * - at every REFUSED_RESTART-th attempt at a record that is refused alone;
 * - when a row appears before rows that are under way (no outbox of ours does that).
 * Not when a topic is found, and not for a broker that was away: the producer waits for it.
 *
 * A broker that finds a batch too large refuses all its records, small as each may be. From then on
 * the relay is careful: one record a batch, the next one when it is acknowledged, until some
 * thousands are through. A record that is refused alone is tried again until it is taken.
 *
 * A record of a missing topic is taken into the window and not produced: it holds the prefix, while
 * those of other topics go on. When the topic is there the relay looks at its window once more,
 * from the prefix; what is acknowledged or under way is left alone. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/bus/kafka/client.h"
#include "common/bus/kafka/kafka.h"
#include "common/bus/kafka/relay_topics.h"
#include "common/bus/kafka/relay_window.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

enum {
    FETCH_RETRY_MS = 100,
    FULL_WAIT_MS = 20,    /* the producer's queue is full and no acknowledgement came */
    RESTART_MS_MIN = 100, /* before a producer is made anew; doubled while that does not help */
    RESTART_MS_MAX = 5000,
    RESTART_FLUSH_MS = 1000, /* for what is still under way when a record failed */
    REFUSED_MS = 1000,       /* between the attempts at a record that is refused alone */
    REFUSED_LOG_MS = 60000,
    /* Every attempt takes one of a producer's 32,767 epochs. */
    REFUSED_RESTART = 1000,
    UNKNOWN_MS = 100, /* when nobody could be asked about a topic */
    MISSING_TEXT_SIZE = 256,
    CAREFUL_RECORDS = 2000, /* one by one, before batches are tried again */
    BATCH_MAX = 10000,      /* librdkafka's default */
    BATCH_SHRINK = 4,       /* batches after a refusal are smaller by this */
    KEY_TEXT_SIZE = 97,
};

/* A record's token is its row's sequence and its place in the row; this one is of records that are
 * in no outbox. */
static const uint64_t token_outside = UINT64_MAX;

_Static_assert((int)SAGA_RELAY_RECORDS_PER_ROW <= (int)SAGA_RELAY_WINDOW_RECORDS_MAX,
               "a row's records are bits");

/* One record at a time. */
struct careful {
    bool on;
    int left;      /* records before batches are tried again */
    int batch_max; /* of those batches; 0: the default */
    int64_t logged_ms;
    unsigned refusals;
};

struct saga_relay {
    struct saga_kafka_config *kafka;
    char *name;
    saga_relay_fetch *fetch;
    saga_relay_advanced *advanced;
    saga_relay_delivered *delivered;
    void *user;
    pthread_t thread;
    struct saga_relay_topics topics; /* relay thread */
    struct saga_relay_row *rows;     /* of one fetch; relay thread */
    int64_t restart_ms;              /* relay thread */
    struct careful careful;          /* relay thread */
    atomic_bool blocked;             /* a record is refused alone */

    /* The producer is changed by the relay thread alone, under this mutex; other threads use it
     * under the mutex. A pointer, so that a relay that is only looked at can be asked. */
    pthread_mutex_t *producer_mutex;
    struct saga_kafka_producer *producer;
    pthread_mutex_t producer_mutex_space;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct saga_relay_window window;
    bool stopping;
    bool woken;       /* rows may have come since the last fetch */
    bool publishing;  /* a fetch and its producing are under way */
    bool failed;      /* a record will not be delivered: restart */
    bool refused;     /* for its size, or its batch's */
    bool awaiting;    /* the relay thread waits for what becomes of its record */
    int64_t reported; /* the last position told */
    _Atomic int64_t acknowledged;
    char missing_text[MISSING_TEXT_SIZE]; /* names of topics; "": none */
    atomic_bool missing;
};

static void lock(struct saga_relay *relay)
{
    int code = pthread_mutex_lock(&relay->mutex);
    SAGA_ASSERT(code == 0);
}

static void unlock(struct saga_relay *relay)
{
    int code = pthread_mutex_unlock(&relay->mutex);
    SAGA_ASSERT(code == 0);
}

/* Pre: the mutex is held. */
static void note_prefix(struct saga_relay *relay)
{
    if (atomic_load(&relay->acknowledged) != relay->window.prefix) {
        atomic_store(&relay->acknowledged, relay->window.prefix);
        (void)pthread_cond_broadcast(&relay->changed);
    }
}

/* Tells whether the user hears of rows that are ahead of the prefix. */
static bool tells_ahead(const struct saga_relay *relay)
{
    return relay->delivered != NULL && atomic_load(&relay->missing);
}

/* Thread: the producer's. */
static void on_delivered(void *user, uint64_t token, enum saga_err err)
{
    struct saga_relay *relay = user;
    if (token == token_outside) {
        if (err != SAGA_ERR_OK) {
            saga_log(SAGA_LOG_WARN, "relay_record_lost", "relay=%s err=%s", relay->name,
                     saga_err_name(err));
        }
        return;
    }
    uint64_t sequence = token / SAGA_RELAY_RECORDS_PER_ROW;
    int64_t ahead = 0;
    bool tell = false;
    lock(relay);
    if (err == SAGA_ERR_OK) {
        (void)saga_relay_window_acknowledge(&relay->window, sequence,
                                            (uint32_t)(token % SAGA_RELAY_RECORDS_PER_ROW));
        tell = tells_ahead(relay) && saga_relay_window_ahead(&relay->window, sequence, &ahead);
        note_prefix(relay);
    } else {
        relay->refused = relay->refused || err == SAGA_ERR_LIMIT;
        if (!relay->failed) {
            relay->failed = true;
            (void)pthread_cond_broadcast(&relay->changed);
            saga_log(atomic_load(&relay->blocked) ? SAGA_LOG_DEBUG : SAGA_LOG_WARN,
                     "relay_delivery_failed", "relay=%s err=%s", relay->name, saga_err_name(err));
        }
    }
    if (relay->awaiting) {
        relay->awaiting = false;
        (void)pthread_cond_broadcast(&relay->changed);
    }
    unlock(relay);
    if (tell) {
        relay->delivered(relay->user, ahead);
    }
}

/* Waits some time, or until the relay is stopped. */
static void pause_for(struct saga_relay *relay, int64_t wait_ms)
{
    struct timespec until = saga_kafka_deadline(wait_ms);
    lock(relay);
    int code = 0;
    while (!relay->stopping && code == 0) {
        code = pthread_cond_timedwait(&relay->changed, &relay->mutex, &until);
    }
    unlock(relay);
}

/* Tells the user how far it is. Relay thread: so positions are told in order. */
static void report(struct saga_relay *relay)
{
    int64_t position = atomic_load(&relay->acknowledged);
    if (position == relay->reported) { /* written by this thread alone */
        return;
    }
    relay->restart_ms = RESTART_MS_MIN;
    relay->advanced(relay->user, position);
    lock(relay);
    relay->reported = position;
    (void)pthread_cond_broadcast(&relay->changed);
    unlock(relay);
}

/* ---- Producing ---- */

/* Waits until the producer may have room. Gives false when there is no point in waiting on. */
static bool wait_for_queue(struct saga_relay *relay)
{
    struct timespec until = saga_kafka_deadline(FULL_WAIT_MS);
    lock(relay);
    if (!relay->stopping && !relay->failed) {
        (void)pthread_cond_timedwait(&relay->changed, &relay->mutex, &until);
    }
    bool go_on = !relay->stopping && !relay->failed;
    unlock(relay);
    report(relay);
    return go_on;
}

/* Queues one record. Gives false when producing has to end here: stop, or restart. */
static bool produce(struct saga_relay *relay, const struct saga_kafka_record *record,
                    uint64_t token)
{
    enum saga_err err;
    bool go_on = true;
    do {
        err = saga_kafka_produce(relay->producer, record, token);
        go_on = err != SAGA_ERR_FULL || wait_for_queue(relay);
    } while (err == SAGA_ERR_FULL && go_on);
    if (err == SAGA_ERR_OK || !go_on) {
        return go_on;
    }
    if (err == SAGA_ERR_LIMIT) {
        on_delivered(relay, token, err); /* larger than the producer takes */
        return false;
    }
    saga_log(SAGA_LOG_WARN, "relay_produce_failed", "relay=%s topic=%s err=%s", relay->name,
             record->topic, saga_err_name(err));
    lock(relay);
    relay->failed = true;
    unlock(relay);
    return false;
}

/* Tells of a record that is refused alone. */
static void note_refused(struct saga_relay *relay, const struct saga_kafka_record *record,
                         int64_t position)
{
    struct careful *careful = &relay->careful;
    int64_t now_ms = saga_clock_mono_us() / 1000;
    careful->refusals++;
    if (atomic_exchange(&relay->blocked, true) && now_ms - careful->logged_ms < REFUSED_LOG_MS) {
        return;
    }
    careful->logged_ms = now_ms;
    char key[KEY_TEXT_SIZE];
    size_t size = record->key.size < sizeof(key) - 1 ? record->key.size : sizeof(key) - 1;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = record->key.data[i];
        key[i] = '?';
        if (byte >= 0x20 && byte < 0x7f) {
            key[i] = (char)byte;
        }
    }
    key[size] = '\0';
    saga_log(SAGA_LOG_ERROR, "relay_record_too_large",
             "relay=%s topic=%s key=\"%s\" position=%" PRId64
             " size=%zu msg=\"waits until the limit of the topic is raised\"",
             relay->name, record->topic, key, position, record->value.size);
}

/* A row to produce. */
struct taken {
    const struct saga_relay_row *row;
    uint64_t sequence;
    uint8_t waits;  /* records whose topic is not there; without them the row is not acknowledged */
    uint8_t wanted; /* records to produce now */
};

/* Produces one record of a row and waits for what becomes of it. Gives false when producing has to
 * end. */
static bool produce_alone(struct saga_relay *relay, const struct saga_relay_row *row, size_t index,
                          uint64_t token)
{
    lock(relay);
    relay->awaiting = true;
    unlock(relay);
    bool go_on = produce(relay, &row->records[index], token);
    lock(relay);
    while (go_on && relay->awaiting && !relay->stopping) {
        (void)pthread_cond_wait(&relay->changed, &relay->mutex);
    }
    go_on = go_on && !relay->awaiting && !relay->failed;
    relay->awaiting = false;
    bool refused = relay->refused;
    unlock(relay);
    report(relay);
    if (go_on) {
        relay->careful.left--;
        if (atomic_exchange(&relay->blocked, false)) {
            saga_log(SAGA_LOG_INFO, "relay_goes_on", "relay=%s position=%" PRId64, relay->name,
                     row->position);
        }
    } else if (refused) {
        note_refused(relay, &row->records[index], row->position);
    }
    return go_on;
}

/* Produces those of a row's records that are wanted. Gives false when producing has to end. */
static bool produce_row(struct saga_relay *relay, const struct taken *taken)
{
    const struct saga_relay_row *row = taken->row;
    bool go_on = true;
    for (size_t i = 0; go_on && i < row->record_count; i++) {
        uint64_t token = taken->sequence * SAGA_RELAY_RECORDS_PER_ROW + i;
        if ((taken->wanted & (1U << i)) != 0) {
            go_on = relay->careful.on ? produce_alone(relay, row, i, token)
                                      : produce(relay, &row->records[i], token);
        }
    }
    return go_on;
}

/* Publishes what is known of missing topics. */
static void note_topics(struct saga_relay *relay)
{
    lock(relay);
    saga_relay_topics_text(&relay->topics, relay->missing_text, sizeof(relay->missing_text));
    atomic_store(&relay->missing, relay->topics.missing > 0);
    unlock(relay);
}

/* Finds which of a row's records have to wait. Nothing goes to a topic that is not known to be
 * there: librdkafka would hope for it for half a minute and then fail what is queued. Gives false
 * when it cannot be known now. */
static bool find_topics(struct saga_relay *relay, struct taken *taken)
{
    size_t missing = relay->topics.missing;
    bool known = true;
    for (size_t i = 0; known && i < taken->row->record_count; i++) {
        enum saga_relay_topic_state state =
            saga_relay_topics_state(&relay->topics, relay->producer, taken->row->records[i].topic);
        known = state != SAGA_RELAY_TOPIC_UNKNOWN;
        if (state == SAGA_RELAY_TOPIC_MISSING) {
            taken->waits |= (uint8_t)(1U << i);
        }
    }
    if (relay->topics.missing != missing) {
        note_topics(relay);
    }
    return known;
}

/* Takes a row into the window. Gives false when producing has to end. */
static bool take_row(struct saga_relay *relay, struct taken *taken)
{
    const struct saga_relay_row *row = taken->row;
    int64_t ahead = 0;
    bool tell = false;
    lock(relay);
    if (!saga_relay_window_fits(&relay->window, row->position)) {
        saga_log(SAGA_LOG_WARN, "relay_row_appeared", "relay=%s position=%" PRId64, relay->name,
                 row->position);
        relay->failed = true;
    }
    bool go_on = !relay->stopping && !relay->failed;
    if (go_on) {
        taken->wanted =
            saga_relay_window_take(&relay->window, row->position, (uint32_t)row->record_count,
                                   taken->waits, &taken->sequence);
        tell = tells_ahead(relay) && taken->wanted == 0 &&
               saga_relay_window_ahead(&relay->window, taken->sequence, &ahead);
        note_prefix(relay);
    }
    unlock(relay);
    if (tell) {
        /* It may not have been when nothing was missing. */
        relay->delivered(relay->user, ahead);
    }
    return go_on;
}

/* Produces the rows that were fetched. Gives false when it ended early; the rows not taken are
 * fetched again. */
static bool produce_rows(struct saga_relay *relay, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct taken taken = {.row = &relay->rows[i]};
        SAGA_ASSERT(taken.row->record_count <= SAGA_RELAY_RECORDS_PER_ROW);
        if (!find_topics(relay, &taken)) {
            pause_for(relay, UNKNOWN_MS);
            return false;
        }
        if (!take_row(relay, &taken) || !produce_row(relay, &taken)) {
            return false;
        }
    }
    return true;
}

static void publish(struct saga_relay *relay)
{
    lock(relay);
    relay->woken = false;
    relay->publishing = true;
    int64_t after = saga_relay_window_after(&relay->window);
    size_t count_max = saga_relay_window_room(&relay->window);
    unlock(relay);
    if (count_max > SAGA_RELAY_BATCH) {
        count_max = SAGA_RELAY_BATCH;
    }
    size_t count = 0;
    struct saga_err_detail detail = {0};
    enum saga_err err = relay->fetch(relay->user, after, count_max, relay->rows, &count, &detail);
    bool more = false;
    if (err != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_WARN, "relay_fetch_failed", "relay=%s err=%s msg=\"%s\"", relay->name,
                 saga_err_name(err), detail.text);
        pause_for(relay, FETCH_RETRY_MS);
        more = true;
    } else {
        SAGA_ASSERT(count <= count_max);
        /* Fewer than asked for need not be all: a fetch may have bounds of its own. */
        more = !produce_rows(relay, count) || count > 0;
    }
    lock(relay);
    if (err == SAGA_ERR_OK && count == 0) {
        saga_relay_window_caught_up(&relay->window);
        note_prefix(relay);
    }
    relay->publishing = false;
    relay->woken = relay->woken || more;
    (void)pthread_cond_broadcast(&relay->changed);
    unlock(relay);
}

/* ---- Restart ---- */

static void swap_producer(struct saga_relay *relay, struct saga_kafka_producer *producer)
{
    (void)pthread_mutex_lock(relay->producer_mutex);
    relay->producer = producer;
    (void)pthread_mutex_unlock(relay->producer_mutex);
}

/* Ends the producer; no delivery is told afterwards. */
static void end_producer(struct saga_relay *relay)
{
    struct saga_kafka_producer *old = relay->producer;
    if (old != NULL) {
        /* What is under way and can be delivered need not be produced twice. */
        if (saga_kafka_flush(old, RESTART_FLUSH_MS) != SAGA_ERR_OK) {
            saga_log(SAGA_LOG_DEBUG, "relay_not_flushed", "relay=%s", relay->name);
        }
        swap_producer(relay, NULL);
        saga_kafka_producer_free(old);
    }
    report(relay);
}

/* Pre: there is no producer. */
static bool make_producer(struct saga_relay *relay)
{
    struct saga_kafka_producer *producer = NULL;
    struct saga_err_detail detail = {0};
    /* One at a time cannot overtake each other; and a producer that goes on saves a restart a
     * second. */
    relay->kafka->in_order = !relay->careful.on;
    relay->kafka->batch_max = relay->careful.on ? 1 : relay->careful.batch_max;
    enum saga_err err =
        saga_kafka_producer_start(relay->kafka, on_delivered, relay, &producer, &detail);
    if (err != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_ERROR, "relay_producer_failed", "relay=%s err=%s msg=\"%s\"", relay->name,
                 saga_err_name(err), detail.text);
        return false;
    }
    swap_producer(relay, producer);
    return true;
}

/* Goes back to the prefix. Pre: no delivery of an earlier attempt will be told. */
static void resume(struct saga_relay *relay)
{
    lock(relay);
    saga_relay_window_rewind(&relay->window);
    relay->failed = false;
    relay->refused = false;
    relay->woken = true;
    unlock(relay);
}

static void begin_care(struct saga_relay *relay)
{
    struct careful *careful = &relay->careful;
    int batch = careful->batch_max == 0 ? BATCH_MAX : careful->batch_max;
    careful->on = true;
    careful->left = CAREFUL_RECORDS;
    careful->batch_max = batch / BATCH_SHRINK < 2 ? 2 : batch / BATCH_SHRINK;
    saga_log(SAGA_LOG_WARN, "relay_batch_too_large",
             "relay=%s position=%" PRId64 " msg=\"a topic's max.message.bytes is small: "
             "records are published one by one, then at most %d in a batch\"",
             relay->name, atomic_load(&relay->acknowledged), careful->batch_max);
}

/* Back to batches. Nothing of the outbox is under way: records went one by one. */
static void end_care(struct saga_relay *relay)
{
    end_producer(relay);
    relay->careful.on = false;
    saga_log(SAGA_LOG_INFO, "relay_batches", "relay=%s batch_max=%d", relay->name,
             relay->careful.batch_max);
    if (!make_producer(relay)) {
        lock(relay);
        relay->failed = true; /* tried again */
        unlock(relay);
    }
}

/* Makes the producer anew and goes back to the prefix. */
static void restart(struct saga_relay *relay)
{
    end_producer(relay);
    lock(relay);
    bool refused = relay->refused;
    unlock(relay);
    if (refused && !relay->careful.on) {
        begin_care(relay);
    }
    saga_relay_topics_forget(&relay->topics);
    pause_for(relay, relay->restart_ms);
    relay->restart_ms =
        relay->restart_ms * 2 > RESTART_MS_MAX ? RESTART_MS_MAX : relay->restart_ms * 2;
    if (!make_producer(relay)) {
        return; /* failed stays set: tried again */
    }
    saga_log(SAGA_LOG_INFO, "relay_restarted", "relay=%s position=%" PRId64, relay->name,
             atomic_load(&relay->acknowledged));
    resume(relay);
}

/* Looks for topics that are missing. When one is there, what waits for it is produced. */
static void look_for_topics(struct saga_relay *relay)
{
    if (saga_relay_topics_look(&relay->topics, relay->producer)) {
        note_topics(relay);
        lock(relay);
        saga_relay_window_again(&relay->window);
        relay->woken = true;
        unlock(relay);
    }
}

/* A delivery has failed. */
static void recover(struct saga_relay *relay)
{
    lock(relay);
    bool refused = relay->refused;
    unlock(relay);
    if (!relay->careful.on || !refused) {
        restart(relay);
        return;
    }
    /* Nothing else of the outbox is under way, and the producer can go on. */
    pause_for(relay, REFUSED_MS);
    if (relay->careful.refusals % REFUSED_RESTART == 0) {
        restart(relay);
    } else {
        resume(relay);
    }
}

/* ---- Thread ---- */

/* Fetching for one row's room at a time would ask the store once per acknowledgement. */
static bool can_publish(const struct saga_relay *relay)
{
    size_t enough = relay->window.capacity / 2;
    if (enough > SAGA_RELAY_BATCH) {
        enough = SAGA_RELAY_BATCH;
    }
    size_t room = saga_relay_window_room(&relay->window);
    return relay->woken && room > 0 && room >= enough;
}

static bool look_is_due(const struct saga_relay *relay)
{
    return saga_relay_topics_due(&relay->topics, saga_clock_mono_us() / 1000);
}

/* Pre: the mutex is held. */
static void wait_for_work(struct saga_relay *relay)
{
    while (!relay->stopping && !relay->failed && !can_publish(relay) &&
           relay->reported == relay->window.prefix && !look_is_due(relay)) {
        if (relay->topics.missing > 0) {
            struct timespec until =
                saga_kafka_deadline(relay->topics.next_look_ms - saga_clock_mono_us() / 1000);
            (void)pthread_cond_timedwait(&relay->changed, &relay->mutex, &until);
        } else {
            (void)pthread_cond_wait(&relay->changed, &relay->mutex);
        }
    }
}

static void *relay_run(void *argument)
{
    struct saga_relay *relay = argument;
    bool stopping = false;
    while (!stopping) {
        lock(relay);
        wait_for_work(relay);
        stopping = relay->stopping;
        bool failed = relay->failed;
        bool publishable = can_publish(relay);
        unlock(relay);
        report(relay);
        if (!stopping && failed) {
            recover(relay);
        } else if (!stopping && relay->careful.on && relay->careful.left <= 0) {
            end_care(relay);
        } else if (!stopping && look_is_due(relay)) {
            look_for_topics(relay);
        } else if (!stopping && publishable) {
            publish(relay);
        }
    }
    return NULL;
}

void saga_relay_wake(struct saga_relay *relay)
{
    lock(relay);
    if (!relay->woken) {
        relay->woken = true;
        (void)pthread_cond_broadcast(&relay->changed);
    }
    unlock(relay);
}

enum saga_err saga_relay_produce(struct saga_relay *relay, const struct saga_kafka_record *record)
{
    (void)pthread_mutex_lock(relay->producer_mutex);
    enum saga_err err = relay->producer == NULL
                            ? SAGA_ERR_UNAVAILABLE
                            : saga_kafka_produce(relay->producer, record, token_outside);
    (void)pthread_mutex_unlock(relay->producer_mutex);
    return err;
}

bool saga_relay_up(const struct saga_relay *relay)
{
    (void)pthread_mutex_lock(relay->producer_mutex);
    bool up = relay->producer != NULL && !atomic_load(&relay->blocked) &&
              !atomic_load(&relay->missing) && saga_kafka_producer_up(relay->producer);
    (void)pthread_mutex_unlock(relay->producer_mutex);
    return up;
}

int64_t saga_relay_position(const struct saga_relay *relay)
{
    return atomic_load(&relay->acknowledged);
}

void saga_relay_missing(struct saga_relay *relay, char *names, size_t size, bool *full)
{
    lock(relay);
    (void)snprintf(names, size, "%s", relay->missing_text);
    *full = relay->missing_text[0] != '\0' && saga_relay_window_room(&relay->window) == 0;
    unlock(relay);
}

enum saga_err saga_relay_drain(struct saga_relay *relay, int64_t timeout_ms)
{
    struct timespec until = saga_kafka_deadline(timeout_ms);
    bool drained = false;
    int code = 0;
    lock(relay);
    relay->woken = true;
    (void)pthread_cond_broadcast(&relay->changed);
    while (!drained && code == 0) {
        code = pthread_cond_timedwait(&relay->changed, &relay->mutex, &until);
        drained = !relay->woken && !relay->publishing && !relay->failed &&
                  saga_relay_window_empty(&relay->window) &&
                  relay->reported == relay->window.prefix;
    }
    unlock(relay);
    return drained ? SAGA_ERR_OK : SAGA_ERR_TIMEOUT;
}

/* ---- Start and end ---- */

static void relay_destroy(struct saga_relay *relay)
{
    saga_relay_window_fini(&relay->window);
    saga_relay_topics_fini(&relay->topics);
    saga_kafka_config_free(relay->kafka);
    free(relay->rows);
    free(relay->name);
    free(relay);
}

static struct saga_relay *relay_new(const struct saga_relay_config *config)
{
    size_t capacity =
        config->outstanding_max == 0 ? 10 * (size_t)SAGA_RELAY_BATCH : config->outstanding_max;
    struct saga_relay *relay = calloc(1, sizeof(*relay));
    if (relay == NULL) {
        return NULL;
    }
    relay->fetch = config->fetch;
    relay->advanced = config->advanced;
    relay->delivered = config->delivered;
    relay->user = config->user;
    relay->reported = config->position;
    relay->restart_ms = RESTART_MS_MIN;
    relay->woken = true; /* there may be rows from before */
    relay->producer_mutex = &relay->producer_mutex_space;
    relay->careful = (struct careful){.batch_max = config->kafka.batch_max};
    atomic_init(&relay->blocked, false);
    atomic_init(&relay->missing, false);
    atomic_init(&relay->acknowledged, config->position);
    relay->name = strdup(config->name == NULL ? "relay" : config->name);
    relay->rows = calloc(SAGA_RELAY_BATCH, sizeof(struct saga_relay_row));
    if (relay->name == NULL || relay->rows == NULL ||
        saga_kafka_config_dup(&config->kafka, &relay->kafka) != SAGA_ERR_OK ||
        saga_relay_topics_init(&relay->topics, relay->name) != SAGA_ERR_OK ||
        saga_relay_window_init(&relay->window, capacity, config->position) != SAGA_ERR_OK) {
        relay_destroy(relay);
        return NULL;
    }
    return relay;
}

enum saga_err saga_relay_start(const struct saga_relay_config *config, struct saga_relay **relay,
                               struct saga_err_detail *detail)
{
    if (config->fetch == NULL || config->advanced == NULL || config->kafka.bootstrap == NULL ||
        config->kafka.client_id == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "relay: not configured");
    }
    struct saga_relay *made = relay_new(config);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "relay");
    }
    enum saga_err err = SAGA_ERR_NO_MEMORY;
    if (pthread_mutex_init(&made->mutex, NULL) != 0) {
        goto fail_mutex;
    }
    if (pthread_mutex_init(&made->producer_mutex_space, NULL) != 0) {
        goto fail_producer_mutex;
    }
    if (saga_kafka_cond_init(&made->changed) != SAGA_ERR_OK) {
        goto fail_cond;
    }
    made->kafka->in_order = true;
    err = saga_kafka_producer_start(made->kafka, on_delivered, made, &made->producer, detail);
    if (err != SAGA_ERR_OK) {
        goto fail_producer;
    }
    if (pthread_create(&made->thread, NULL, relay_run, made) != 0) {
        err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "relay: thread");
        goto fail_thread;
    }
    *relay = made;
    return SAGA_ERR_OK;
fail_thread:
    saga_kafka_producer_free(made->producer);
fail_producer:
    (void)pthread_cond_destroy(&made->changed);
fail_cond:
    (void)pthread_mutex_destroy(&made->producer_mutex_space);
fail_producer_mutex:
    (void)pthread_mutex_destroy(&made->mutex);
fail_mutex:
    relay_destroy(made);
    return err;
}

void saga_relay_free(struct saga_relay *relay)
{
    if (relay == NULL) {
        return;
    }
    lock(relay);
    relay->stopping = true;
    (void)pthread_cond_broadcast(&relay->changed);
    unlock(relay);
    (void)pthread_join(relay->thread, NULL);
    saga_kafka_producer_free(relay->producer);
    (void)pthread_cond_destroy(&relay->changed);
    (void)pthread_mutex_destroy(&relay->producer_mutex_space);
    (void)pthread_mutex_destroy(&relay->mutex);
    relay_destroy(relay);
}
