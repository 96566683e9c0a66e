#include "orchestrator/daemon/transport.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "common/wire/envelope.h"

enum {
    /* A message's time is that of its slowest command; the engine's own timers decide about each.
     */
    MESSAGE_GRACE_MS = 1000,
    /* So long before its attempt's end a command that still waits is given back as not sent; the
     * engine hears of it before its own timer. */
    UNSENT_MARGIN_MS = 100,
    /* Given back together, so that many that wait are not walked over again and again. */
    UNSENT_STEP_MS = 50,
};

/* Commands that wait for a free context, in order. An attempt that ends takes its command out, so
 * there is at most one for each step that waits. */
struct pending {
    struct saga_buf bytes;
    struct saga_outgoing *outgoing;
    size_t *sizes;
    size_t count;
    size_t capacity;
    int64_t first_deadline_unix_ms; /* no attempt in it ends before; with count > 0 */
};

struct participant {
    char service[SAGA_METHOD_NAME_MAX + 1];
    char addresses[SAGA_ADDRESSES_MAX][SAGA_ADDRESS_SIZE_MAX + 1];
    size_t address_count;
    struct saga_rpc_client *client; /* NULL: no address */
    struct pending pending;
    bool warned; /* that it has no address */
};

struct transport {
    struct transport_config config;
    struct participant *participants[SAGA_PARTICIPANTS_MAX];
    size_t count;
    bool held; /* nothing leaves any more */
    atomic_size_t outstanding;
    struct saga_arena arena; /* of the answer being taken */
};

/* One message that is out, and later its answer in the inbox. */
struct message {
    struct input input;
    struct transport *transport;
    enum saga_rpc_outcome outcome;
    struct saga_buf answer;
    size_t count;
    struct saga_outgoing outgoing[];
};

enum saga_err transport_new(const struct transport_config *config, struct transport **transport)
{
    struct transport *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->config = *config;
    *transport = made;
    return SAGA_ERR_OK;
}

enum saga_err transport_number(struct transport *transport, const char *service, uint16_t *number)
{
    for (size_t i = 0; i < transport->count; i++) {
        if (strcmp(transport->participants[i]->service, service) == 0) {
            *number = (uint16_t)i;
            return SAGA_ERR_OK;
        }
    }
    if (transport->count == SAGA_PARTICIPANTS_MAX) {
        return SAGA_ERR_LIMIT;
    }
    struct participant *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    (void)snprintf(made->service, sizeof made->service, "%s", service);
    *number = (uint16_t)transport->count;
    transport->participants[transport->count++] = made;
    return SAGA_ERR_OK;
}

enum saga_err transport_add_address(struct transport *transport, const char *service,
                                    const char *address, struct saga_err_detail *detail)
{
    uint16_t number = 0;
    if (strlen(service) > SAGA_METHOD_NAME_MAX || strlen(address) > SAGA_ADDRESS_SIZE_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "a service's name has at most %d bytes, an address %d",
                            SAGA_METHOD_NAME_MAX, SAGA_ADDRESS_SIZE_MAX);
    }
    enum saga_err err = transport_number(transport, service, &number);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "at most %d services can be configured",
                            SAGA_PARTICIPANTS_MAX);
    }
    struct participant *participant = transport->participants[number];
    if (participant->address_count == SAGA_ADDRESSES_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "%s: at most %d addresses", service,
                            SAGA_ADDRESSES_MAX);
    }
    (void)snprintf(participant->addresses[participant->address_count++], SAGA_ADDRESS_SIZE_MAX + 1,
                   "%s", address);
    return SAGA_ERR_OK;
}

enum saga_err transport_start(struct transport *transport, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < transport->count; i++) {
        struct participant *participant = transport->participants[i];
        if (participant->address_count == 0) {
            saga_log(SAGA_LOG_WARN, "participant_without_address", "service=%s",
                     participant->service);
            continue;
        }
        const char *addresses[SAGA_ADDRESSES_MAX];
        for (size_t j = 0; j < participant->address_count; j++) {
            addresses[j] = participant->addresses[j];
        }
        struct saga_rpc_client_config config = {
            .addresses = addresses,
            .address_count = participant->address_count,
            .tls = transport->config.tls,
        };
        enum saga_err err = saga_rpc_client_start(&config, &participant->client, detail);
        if (err != SAGA_ERR_OK) {
            return saga_err_wrap(detail, err, participant->service);
        }
    }
    return SAGA_ERR_OK;
}

static struct message *new_message(struct transport *transport,
                                   const struct saga_outgoing *outgoing, size_t count)
{
    struct message *message = calloc(1, sizeof *message + count * sizeof(struct saga_outgoing));
    /* The commands are durable: a process without memory for sending them recovers by starting
     * anew. */
    SAGA_ASSERT(message != NULL);
    message->input.kind = INPUT_ANSWERED;
    message->transport = transport;
    message->count = count;
    memcpy(message->outgoing, outgoing, count * sizeof(struct saga_outgoing));
    return message;
}

static void post(struct message *message)
{
    enum saga_err err =
        saga_inbox_put(message->transport->config.inbox, &message->input.entry, SAGA_INBOX_ACCEPT);
    if (err != SAGA_ERR_OK) {
        saga_buf_fini(&message->answer); /* closed: the loop has ended */
        free(message);
    }
}

/* Thread: NNG's. */
static void message_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct message *message = user;
    struct transport *transport = message->transport;
    message->outcome = outcome;
    if (outcome == SAGA_RPC_REPLIED && saga_buf_append(&message->answer, bytes) != SAGA_ERR_OK) {
        message->outcome = SAGA_RPC_NO_REPLY;
    }
    post(message);
    atomic_fetch_sub(&transport->outstanding, 1);
}

/* Says of a command that it could not leave. */
static void post_unsent(struct transport *transport, const struct saga_outgoing *outgoing,
                        size_t count)
{
    struct message *message = new_message(transport, outgoing, count);
    message->outcome = SAGA_RPC_NOT_SENT;
    post(message);
}

static void grow_pending(struct pending *pending)
{
    size_t capacity = pending->capacity == 0 ? 64 : pending->capacity * 2;
    pending->outgoing = realloc(pending->outgoing, capacity * sizeof *pending->outgoing);
    pending->sizes = realloc(pending->sizes, capacity * sizeof *pending->sizes);
    SAGA_ASSERT(pending->outgoing != NULL && pending->sizes != NULL);
    pending->capacity = capacity;
}

static void transport_send(void *user, const struct saga_outgoing *outgoing,
                           struct saga_bytes element)
{
    struct transport *transport = user;
    SAGA_ASSERT(outgoing->participant < transport->count);
    struct participant *participant = transport->participants[outgoing->participant];
    if (transport->held) {
        return; /* durable: the next process sends it */
    }
    if (participant->client == NULL && !participant->warned) {
        participant->warned = true;
        saga_log(SAGA_LOG_ERROR, "participant_without_address",
                 "service=%s msg=\"give --participant %s=URL\"", participant->service,
                 participant->service);
    }
    struct pending *pending = &participant->pending;
    if (pending->count == pending->capacity) {
        grow_pending(pending);
    }
    SAGA_ASSERT(saga_buf_append(&pending->bytes, element) == SAGA_ERR_OK);
    if (pending->count == 0 || outgoing->deadline_unix_ms < pending->first_deadline_unix_ms) {
        pending->first_deadline_unix_ms = outgoing->deadline_unix_ms;
    }
    pending->outgoing[pending->count] = *outgoing;
    pending->sizes[pending->count] = element.size;
    pending->count += 1;
}

/* How many commands, from the first, make a message. */
static size_t cut_batch(const struct pending *pending, size_t from, size_t *size)
{
    size_t count = 0;
    *size = 0;
    while (from + count < pending->count && count < SAGA_BATCH_COUNT_MAX &&
           (count == 0 || *size + pending->sizes[from + count] <= SAGA_MESSAGE_SIZE_MAX)) {
        *size += pending->sizes[from + count];
        count += 1;
    }
    return count;
}

static int64_t batch_timeout_ms(const struct saga_outgoing *outgoing, size_t count)
{
    int64_t latest = 0;
    for (size_t i = 0; i < count; i++) {
        latest = outgoing[i].deadline_unix_ms > latest ? outgoing[i].deadline_unix_ms : latest;
    }
    int64_t left = latest - saga_clock_unix_ms();
    return (left > 0 ? left : 0) + MESSAGE_GRACE_MS;
}

/* Removes the first `count` commands, `size` bytes. */
static void drop_front(struct pending *pending, size_t count, size_t size)
{
    size_t rest = pending->count - count;
    memmove(pending->outgoing, pending->outgoing + count, rest * sizeof *pending->outgoing);
    memmove(pending->sizes, pending->sizes + count, rest * sizeof *pending->sizes);
    memmove(pending->bytes.data, pending->bytes.data + size, pending->bytes.size - size);
    pending->count = rest;
    pending->bytes.size -= size;
}

/* Sends one message; gives false when it cannot leave now and has to wait. */
static bool send_batch(struct transport *transport, struct participant *participant, size_t from,
                       size_t count, struct saga_bytes bytes)
{
    struct pending *pending = &participant->pending;
    struct message *message = new_message(transport, pending->outgoing + from, count);
    int64_t timeout_ms = batch_timeout_ms(message->outgoing, count);
    enum saga_err err = SAGA_ERR_UNAVAILABLE;
    if (participant->client != NULL) {
        atomic_fetch_add(&transport->outstanding, 1);
        err = saga_rpc_client_send(participant->client, bytes, timeout_ms, message_done, message);
        if (err != SAGA_ERR_OK) {
            atomic_fetch_sub(&transport->outstanding, 1);
        }
    }
    if (err == SAGA_ERR_OK) {
        return true;
    }
    free(message);
    if (err == SAGA_ERR_FULL) {
        return false;
    }
    post_unsent(transport, pending->outgoing + from, count);
    return true;
}

/* Gives commands whose attempt ends before a time back as not sent: they are no attempts, and
 * nothing waits here for longer than the engine does. */
static void give_back(struct transport *transport, struct pending *pending, int64_t until_unix_ms)
{
    if (pending->count == 0 || pending->first_deadline_unix_ms > until_unix_ms) {
        return;
    }
    struct saga_outgoing back[SAGA_BATCH_COUNT_MAX];
    size_t back_count = 0;
    size_t kept = 0;
    size_t kept_size = 0;
    size_t at = 0;
    pending->first_deadline_unix_ms = INT64_MAX;
    for (size_t i = 0; i < pending->count; i++) {
        const struct saga_outgoing outgoing = pending->outgoing[i];
        size_t size = pending->sizes[i];
        if (outgoing.deadline_unix_ms <= until_unix_ms) {
            back[back_count++] = outgoing;
            if (back_count == SAGA_BATCH_COUNT_MAX) {
                post_unsent(transport, back, back_count);
                back_count = 0;
            }
        } else {
            memmove(pending->bytes.data + kept_size, pending->bytes.data + at, size);
            pending->outgoing[kept] = outgoing;
            pending->sizes[kept++] = size;
            kept_size += size;
            if (outgoing.deadline_unix_ms < pending->first_deadline_unix_ms) {
                pending->first_deadline_unix_ms = outgoing.deadline_unix_ms;
            }
        }
        at += size;
    }
    if (back_count > 0) {
        post_unsent(transport, back, back_count);
    }
    pending->count = kept;
    pending->bytes.size = kept_size;
}

static void flush_participant(struct transport *transport, struct participant *participant)
{
    struct pending *pending = &participant->pending;
    size_t done = 0;
    size_t done_size = 0;
    int64_t now = saga_clock_unix_ms();
    give_back(transport, pending, now);
    while (done < pending->count) {
        size_t size = 0;
        size_t count = cut_batch(pending, done, &size);
        struct saga_bytes bytes = {pending->bytes.data + done_size, size};
        if (!send_batch(transport, participant, done, count, bytes)) {
            break;
        }
        done += count;
        done_size += size;
    }
    if (done > 0) {
        drop_front(pending, done, done_size);
    }
    if (pending->first_deadline_unix_ms <= now + UNSENT_MARGIN_MS) {
        give_back(transport, pending, now + UNSENT_MARGIN_MS + UNSENT_STEP_MS);
    }
}

int64_t transport_next_due(const struct transport *transport)
{
    int64_t due = 0;
    for (size_t i = 0; i < transport->count; i++) {
        const struct pending *pending = &transport->participants[i]->pending;
        int64_t at = pending->first_deadline_unix_ms - UNSENT_MARGIN_MS;
        if (pending->count > 0 && (due == 0 || at < due)) {
            due = at;
        }
    }
    return due;
}

void transport_flush(struct transport *transport)
{
    for (size_t i = 0; i < transport->count; i++) {
        flush_participant(transport, transport->participants[i]);
    }
}

static void port_flush(void *user)
{
    transport_flush(user);
}

static void port_committed(void *user, bool outbox, bool audit)
{
    struct transport *transport = user;
    transport->config.committed(transport->config.user, outbox, audit);
}

struct saga_transport_port transport_port(struct transport *transport)
{
    static const struct saga_transport_ops ops = {
        .send = transport_send, .flush = port_flush, .committed = port_committed};
    return (struct saga_transport_port){.ops = &ops, .transport = transport};
}

static struct saga_runtime_reply stand_in(const struct saga_outgoing *outgoing, enum saga_code code,
                                          const char *reason, const char *message)
{
    return (struct saga_runtime_reply){
        .saga_id = outgoing->saga_id,
        .step = outgoing->step,
        .op = outgoing->op,
        .attempt = outgoing->attempt,
        .code = code,
        .reason = reason,
        .message = message,
    };
}

/* The same for every command of a message. */
static void take_all(const struct message *message, struct saga_runtime *runtime,
                     enum saga_code code, const char *reason, const char *text, bool not_sent)
{
    for (size_t i = 0; i < message->count; i++) {
        struct saga_runtime_reply reply = stand_in(&message->outgoing[i], code, reason, text);
        reply.not_sent = not_sent;
        saga_runtime_reply(runtime, &reply);
    }
}

static void take_one(const struct saga_outgoing *outgoing, const struct saga_reply *given,
                     struct saga_runtime *runtime)
{
    struct saga_runtime_reply reply = stand_in(outgoing, (enum saga_code)given->status.code,
                                               given->status.reason, given->status.message);
    reply.retry_after_ms = given->status.retry_after_ms;
    reply.payload = given->payload;
    reply.replayed = given->replayed;
    reply.empty = given->empty;
    reply.step_name = given->step;
    /* Only a failure may leave out whom it is for: the participant could not read the command. */
    static const struct saga_id none;
    bool anonymous = given->status.code != SAGA_CODE_OK && saga_id_equal(given->saga_id, none);
    if (!anonymous &&
        (!saga_id_equal(given->saga_id, outgoing->saga_id) || given->op != outgoing->op)) {
        reply = stand_in(outgoing, SAGA_CODE_INTERNAL, "BAD_REPLY",
                         "the reply answers another command");
    }
    saga_runtime_reply(runtime, &reply);
}

static void take_replies(struct transport *transport, const struct message *message,
                         struct saga_runtime *runtime)
{
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    saga_arena_clear(&transport->arena);
    enum saga_err err = saga_reply_batch_decode(saga_buf_view(&message->answer), &transport->arena,
                                                &replies, &count, &status);
    if (err != SAGA_ERR_OK) {
        take_all(message, runtime, SAGA_CODE_INTERNAL, "BAD_REPLY", status.message, false);
    } else if (count == message->count) {
        for (size_t i = 0; i < count; i++) {
            take_one(&message->outgoing[i], &replies[i], runtime);
        }
    } else if (count == 1 && replies[0].status.code != SAGA_CODE_OK) {
        take_all(message, runtime, (enum saga_code)replies[0].status.code, replies[0].status.reason,
                 replies[0].status.message, false);
    } else {
        take_all(message, runtime, SAGA_CODE_INTERNAL, "BAD_REPLY",
                 "not as many replies as commands", false);
    }
}

size_t transport_take(struct transport *transport, struct input *input,
                      struct saga_runtime *runtime)
{
    struct message *message = (struct message *)input;
    size_t count = message->count;
    switch (message->outcome) {
    case SAGA_RPC_REPLIED:
        take_replies(transport, message, runtime);
        break;
    case SAGA_RPC_NOT_SENT:
        take_all(message, runtime, SAGA_CODE_UNAVAILABLE, "NOT_CONNECTED",
                 "the participant is not connected", true);
        break;
    case SAGA_RPC_NO_REPLY:
        take_all(message, runtime, SAGA_CODE_UNKNOWN, "NO_REPLY",
                 "the connection broke before the reply came", false);
        break;
    }
    saga_buf_fini(&message->answer);
    free(message);
    return count;
}

const char *transport_participant(const struct transport *transport, size_t index,
                                  const char **address, bool *connected)
{
    if (index >= transport->count) {
        return NULL;
    }
    const struct participant *participant = transport->participants[index];
    *address = participant->address_count == 0 ? "" : participant->addresses[0];
    *connected = participant->client != NULL && saga_rpc_client_connected(participant->client);
    return participant->service;
}

void transport_hold(struct transport *transport)
{
    transport->held = true;
    for (size_t i = 0; i < transport->count; i++) {
        struct pending *pending = &transport->participants[i]->pending;
        pending->count = 0;
        saga_buf_clear(&pending->bytes);
    }
}

size_t transport_outstanding(const struct transport *transport)
{
    return atomic_load(&transport->outstanding);
}

void transport_stop(struct transport *transport)
{
    for (size_t i = 0; transport != NULL && i < transport->count; i++) {
        saga_rpc_client_free(transport->participants[i]->client);
        transport->participants[i]->client = NULL;
    }
}

void transport_free(struct transport *transport)
{
    if (transport == NULL) {
        return;
    }
    transport_stop(transport);
    for (size_t i = 0; i < transport->count; i++) {
        struct participant *participant = transport->participants[i];
        saga_buf_fini(&participant->pending.bytes);
        free(participant->pending.outgoing);
        free(participant->pending.sizes);
        free(participant);
    }
    saga_arena_fini(&transport->arena);
    free(transport);
}
