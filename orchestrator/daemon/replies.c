#include "orchestrator/daemon/replies.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/canary.h"
#include "common/base/limits.h"
#include "common/sys/log.h"
#include "common/wire/envelope.h"

enum {
    /* How long a dead letter may take before its record is read again. */
    DEAD_LETTER_MS = 2000,
};

struct replies {
    struct saga_store_port store;
    struct saga_inbox *inbox;
    struct saga_kafka_consumer *consumer;
    struct saga_kafka_producer *producer; /* of dead letters */
    _Atomic int delivery; /* of the dead letter being sent: 0 not yet, 1 delivered, 2 failed */
    _Atomic uint64_t dead;
    size_t topic_count; /* that are read */
};

/* One reply record in the inbox; or only its offset, when it is a dead letter. */
struct reply_input {
    struct input input;
    bool offset_only;
    char topic[SAGA_TOPIC_NAME_MAX + 1];
    int32_t partition;
    int64_t offset;
    struct saga_runtime_reply reply; /* its texts and payload lie in arena */
    struct saga_arena arena;
};

static void free_reply_input(struct reply_input *made)
{
    saga_arena_fini(&made->arena);
    free(made);
}

static struct reply_input *new_reply_input(const struct saga_kafka_record *record)
{
    struct reply_input *made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->input.kind = INPUT_REPLY;
        (void)strncpy(made->topic, record->topic, sizeof made->topic - 1);
        made->partition = record->partition;
        made->offset = record->offset;
    }
    return made;
}

/* Decodes into memory of the input's own: the record is gone when the loop looks. */
static enum saga_err decode(struct reply_input *made, struct saga_bytes value, const char **why)
{
    struct saga_reply reply;
    struct saga_status status;
    uint8_t *copy = saga_arena_take(&made->arena, value.size > 0 ? value.size : 1);
    if (copy == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    if (value.size > 0) {
        memcpy(copy, value.data, value.size);
    }
    enum saga_err err =
        saga_reply_decode((struct saga_bytes){copy, value.size}, &made->arena, &reply, &status);
    if (err != SAGA_ERR_OK) {
        *why = err == SAGA_ERR_NO_MEMORY ? "out of memory" : status.message;
        return err;
    }
    if (reply.op != SAGA_OP_CALL && reply.op != SAGA_OP_UNDO) {
        *why = "op: neither call nor undo";
        return SAGA_ERR_INVALID;
    }
    made->reply = (struct saga_runtime_reply){
        .saga_id = reply.saga_id,
        .step = SAGA_STEP_ALL,
        .step_name = reply.step,
        .op = reply.op,
        .attempt = reply.attempt,
        .code = reply.status.code,
        .reason = reply.status.reason,
        .message = reply.status.message,
        .retry_after_ms = reply.status.retry_after_ms,
        .payload = reply.payload,
        .replayed = reply.replayed,
        .empty = reply.empty,
    };
    return SAGA_ERR_OK;
}

/* Thread: the producer's. */
static void letter_delivered(void *user, uint64_t token, enum saga_err err)
{
    struct replies *replies = user;
    (void)token;
    atomic_store(&replies->delivery, err == SAGA_ERR_OK ? 1 : 2);
}

/* Puts a record to saga-dead-letter and waits until it is there: only then its offset may go on.
 * Returns false to be given it again. */
static bool put_dead_letter(struct replies *replies, const struct saga_kafka_record *record,
                            const char *why)
{
    struct saga_dead_letter_space space;
    struct saga_kafka_record letter;
    saga_kafka_dead_letter(record, why, &space, &letter);
    atomic_store(&replies->delivery, 0);
    if (saga_kafka_produce(replies->producer, &letter, 0) != SAGA_ERR_OK ||
        ((saga_kafka_flush(replies->producer, DEAD_LETTER_MS) != SAGA_ERR_OK ||
          atomic_load(&replies->delivery) != 1) &&
         !SAGA_BROKEN(S6_LETTER_LOST))) {
        saga_log(SAGA_LOG_WARN, "dead_letter_waits",
                 "topic=%s partition=%" PRId32 " offset=%" PRId64, record->topic, record->partition,
                 record->offset);
        return false;
    }
    atomic_fetch_add(&replies->dead, 1);
    saga_log(SAGA_LOG_WARN, "dead_letter",
             "topic=%s partition=%" PRId32 " offset=%" PRId64 " reason=\"%s\"", record->topic,
             record->partition, record->offset, why);
    return true;
}

/* Thread: the consumer's. */
static bool received(void *user, const struct saga_kafka_record *record)
{
    struct replies *replies = user;
    struct reply_input *made = new_reply_input(record);
    if (made == NULL) {
        return false;
    }
    const char *why = "";
    enum saga_err err = decode(made, record->value, &why);
    if (err == SAGA_ERR_NO_MEMORY ||
        (err != SAGA_ERR_OK && !put_dead_letter(replies, record, why))) {
        free_reply_input(made);
        return false;
    }
    made->offset_only = err != SAGA_ERR_OK;
    if (saga_inbox_put(replies->inbox, &made->input.entry, SAGA_INBOX_REFUSE) != SAGA_ERR_OK) {
        free_reply_input(made);
        return false;
    }
    return true;
}

static int64_t position(void *user, const char *topic, int32_t partition)
{
    struct replies *replies = user;
    return replies->store.ops->offset(replies->store.store, topic, partition);
}

void replies_want(struct replies *replies, const char *const *topics, size_t count)
{
    while (replies != NULL && replies->topic_count < count) {
        if (saga_kafka_consumer_add(replies->consumer, topics[replies->topic_count]) !=
            SAGA_ERR_OK) {
            return; /* out of memory: with the next turn */
        }
        saga_log(SAGA_LOG_INFO, "reply_topic", "topic=%s", topics[replies->topic_count]);
        replies->topic_count += 1;
    }
}

void replies_take(struct input *input, struct saga_runtime *runtime)
{
    struct reply_input *made = (struct reply_input *)input;
    if (!made->offset_only) {
        made->reply.topic = made->topic;
        saga_runtime_reply(runtime, &made->reply);
    }
    saga_runtime_offset(runtime, made->topic, made->partition, made->offset + 1);
    free_reply_input(made);
}

enum saga_err replies_start(const struct replies_config *config, struct replies **replies,
                            struct saga_err_detail *detail)
{
    struct replies *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "replies");
    }
    made->store = config->store;
    made->inbox = config->inbox;
    made->topic_count = config->topic_count;
    struct saga_kafka_consumer_config consumer = {
        .kafka = config->kafka,
        .topics = config->topics,
        .topic_count = config->topic_count,
        .position = position,
        .received = received,
        .user = made,
    };
    enum saga_err err =
        saga_kafka_producer_start(&config->kafka, letter_delivered, made, &made->producer, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_kafka_consumer_start(&consumer, &made->consumer, detail);
    }
    if (err != SAGA_ERR_OK) {
        replies_free(made);
        return err;
    }
    *replies = made;
    return SAGA_ERR_OK;
}

bool replies_up(const struct replies *replies)
{
    return replies != NULL && saga_kafka_consumer_up(replies->consumer);
}

uint64_t replies_dead_count(const struct replies *replies)
{
    return replies == NULL ? 0 : atomic_load(&replies->dead);
}

void replies_free(struct replies *replies)
{
    if (replies != NULL) {
        saga_kafka_consumer_free(replies->consumer);
        saga_kafka_producer_free(replies->producer);
        free(replies);
    }
}
