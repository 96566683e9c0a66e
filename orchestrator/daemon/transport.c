#include "orchestrator/daemon/transport.h"

#include <pthread.h>
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
    /* Connections of addresses that were replaced, until what is out on them has ended. */
    RETIRED_MAX = 4,
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
    struct saga_rpc_client *client;               /* NULL: no address */
    struct saga_rpc_client *retired[RETIRED_MAX]; /* the oldest first */
    size_t retired_count;
    struct pending pending;
    bool fixed;  /* its addresses are those that the daemon was started with */
    bool warned; /* that it has no address */
};

struct transport {
    struct transport_config config;
    struct participant *participants[SAGA_PARTICIPANTS_MAX]; /* NULL: a number that is free */
    size_t count;                                            /* free numbers in between included */
    bool started;
    bool held; /* nothing leaves any more */
    /* Guards, against those who look, what the loop changes: participants, count, addresses,
     * client. The loop itself reads without it. */
    pthread_mutex_t mutex;
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
    if (pthread_mutex_init(&made->mutex, NULL) != 0) {
        free(made);
        return SAGA_ERR_NO_MEMORY;
    }
    made->config = *config;
    *transport = made;
    return SAGA_ERR_OK;
}

static void lock(struct transport *transport)
{
    int code = pthread_mutex_lock(&transport->mutex);
    SAGA_ASSERT(code == 0);
}

static void unlock(struct transport *transport)
{
    int code = pthread_mutex_unlock(&transport->mutex);
    SAGA_ASSERT(code == 0);
}

static struct participant *find(const struct transport *transport, const char *service,
                                size_t *number)
{
    for (size_t i = 0; i < transport->count; i++) {
        struct participant *participant = transport->participants[i];
        if (participant != NULL && strcmp(participant->service, service) == 0) {
            *number = i;
            return participant;
        }
    }
    return NULL;
}

size_t transport_room(const struct transport *transport)
{
    size_t room = SAGA_PARTICIPANTS_MAX;
    for (size_t i = 0; i < transport->count; i++) {
        room -= transport->participants[i] != NULL ? 1 : 0;
    }
    return room;
}

enum saga_err transport_number(struct transport *transport, const char *service, uint16_t *number)
{
    size_t at = 0;
    if (find(transport, service, &at) != NULL) {
        *number = (uint16_t)at;
        return SAGA_ERR_OK;
    }
    while (at < transport->count && transport->participants[at] != NULL) {
        at++;
    }
    if (at == SAGA_PARTICIPANTS_MAX || strlen(service) > SAGA_METHOD_NAME_MAX) {
        return SAGA_ERR_LIMIT;
    }
    struct participant *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    (void)snprintf(made->service, sizeof made->service, "%s", service);
    *number = (uint16_t)at;
    lock(transport);
    transport->participants[at] = made;
    transport->count += at == transport->count ? 1 : 0;
    unlock(transport);
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
    participant->fixed = true;
    return SAGA_ERR_OK;
}

/* Begins to dial. *client is the caller's. */
static enum saga_err dial(const struct transport *transport, const char *const *addresses,
                          size_t count, struct saga_rpc_client **client,
                          struct saga_err_detail *detail)
{
    struct saga_rpc_client_config config = {
        .addresses = addresses,
        .address_count = count,
        .tls = transport->config.tls,
    };
    return saga_rpc_client_start(&config, client, detail);
}

enum saga_err transport_start(struct transport *transport, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < transport->count; i++) {
        struct participant *participant = transport->participants[i];
        const char *addresses[SAGA_ADDRESSES_MAX];
        for (size_t j = 0; j < participant->address_count; j++) {
            addresses[j] = participant->addresses[j];
        }
        enum saga_err err =
            dial(transport, addresses, participant->address_count, &participant->client, detail);
        if (err != SAGA_ERR_OK) {
            return saga_err_wrap(detail, err, participant->service);
        }
    }
    transport->started = true;
    return SAGA_ERR_OK;
}

/* ---- While it runs ---- */

enum transport_place transport_place(const struct transport *transport, const char *service)
{
    size_t number = 0;
    const struct participant *participant = find(transport, service, &number);
    return participant == NULL               ? TRANSPORT_UNNUMBERED
           : participant->address_count == 0 ? TRANSPORT_NOWHERE
           : participant->fixed              ? TRANSPORT_FIXED
                                             : TRANSPORT_APPLIED;
}

size_t transport_addresses_of(const struct transport *transport, const char *service,
                              const char *addresses[SAGA_ADDRESSES_MAX])
{
    size_t number = 0, count = 0;
    const struct participant *participant = find(transport, service, &number);
    for (; participant != NULL && count < participant->address_count; count++) {
        addresses[count] = participant->addresses[count];
    }
    return count;
}

static bool is_same(const struct participant *participant, const struct transport_addresses *set)
{
    bool same = participant->address_count == set->count;
    for (size_t i = 0; i < set->count && same; i++) {
        same = strcmp(participant->addresses[i], set->addresses[i]) == 0;
    }
    return same;
}

/* The participant that a set changes; NULL: none. */
static struct participant *changed_by(const struct transport *transport,
                                      const struct transport_addresses *set)
{
    size_t number = 0;
    struct participant *participant = find(transport, set->service, &number);
    bool changed = participant != NULL && !participant->fixed && !is_same(participant, set);
    return changed ? participant : NULL;
}

/* Lets go of connections on which nothing is out. */
static void free_retired(struct participant *participant, bool all)
{
    size_t kept = 0;
    for (size_t i = 0; i < participant->retired_count; i++) {
        struct saga_rpc_client *client = participant->retired[i];
        if (all || saga_rpc_client_room(client) == SAGA_CLIENT_CONTEXTS) {
            saga_rpc_client_free(client);
        } else {
            participant->retired[kept++] = client;
        }
    }
    participant->retired_count = kept;
}

/* What is out may still be answered by whom it was sent to, so its connection stays for a while;
 * what is ended with it counts as not answered, and is tried again. */
static void retire(struct participant *participant, struct saga_rpc_client *client)
{
    free_retired(participant, false);
    if (client == NULL) {
        return;
    }
    if (participant->retired_count == RETIRED_MAX) {
        saga_rpc_client_free(participant->retired[0]);
        participant->retired_count -= 1;
        memmove(participant->retired, participant->retired + 1,
                participant->retired_count * sizeof participant->retired[0]);
    }
    participant->retired[participant->retired_count++] = client;
}

static void replace(struct transport *transport, struct participant *participant,
                    const struct transport_addresses *set, struct saga_rpc_client *client)
{
    struct saga_rpc_client *before = participant->client;
    lock(transport);
    for (size_t i = 0; i < set->count; i++) {
        (void)snprintf(participant->addresses[i], SAGA_ADDRESS_SIZE_MAX + 1, "%s",
                       set->addresses[i]);
    }
    participant->address_count = set->count;
    participant->client = client;
    participant->warned = false;
    unlock(transport);
    retire(participant, before);
    saga_log(SAGA_LOG_INFO, "participant_address", "service=%s address=%s count=%zu",
             participant->service, set->addresses[0], set->count);
}

static enum saga_err check_set(const struct transport_addresses *set,
                               struct saga_err_detail *detail)
{
    enum saga_err err = SAGA_ERR_OK;
    if (set->count == 0 || set->count > SAGA_ADDRESSES_MAX) {
        err = saga_err_set(detail, SAGA_ERR_LIMIT, "%zu addresses; 1 to %d are allowed", set->count,
                           SAGA_ADDRESSES_MAX);
    }
    for (size_t i = 0; i < set->count && err == SAGA_ERR_OK; i++) {
        if (strlen(set->addresses[i]) > SAGA_ADDRESS_SIZE_MAX) {
            err = saga_err_set(detail, SAGA_ERR_LIMIT, "an address has at most %d bytes",
                               SAGA_ADDRESS_SIZE_MAX);
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, set->service);
}

/* Tells whether a service has these addresses already, whoever gave them. */
static bool has_addresses(const struct transport *transport, const struct transport_addresses *set)
{
    size_t number = 0;
    const struct participant *participant = find(transport, set->service, &number);
    return participant != NULL && is_same(participant, set);
}

enum saga_err transport_dial(const struct transport *transport,
                             const struct transport_addresses *sets, size_t count,
                             struct transport_dialed *dialed, struct saga_err_detail *detail)
{
    *dialed = (struct transport_dialed){{NULL}};
    if (count > SAGA_PARTICIPANTS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "addresses of more than %d services",
                            SAGA_PARTICIPANTS_MAX);
    }
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        err = check_set(&sets[i], detail);
        /* Also where it will not be used: it is stored, and a start may need it. */
        if (err == SAGA_ERR_OK && transport->started && !has_addresses(transport, &sets[i])) {
            err = dial(transport, sets[i].addresses, sets[i].count, &dialed->clients[i], detail);
            err = err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, sets[i].service);
        }
    }
    if (err != SAGA_ERR_OK) {
        transport_hang_up(dialed);
    }
    return err;
}

void transport_set_addresses(struct transport *transport, const struct transport_addresses *sets,
                             size_t count, struct transport_dialed *dialed)
{
    SAGA_ASSERT(count <= SAGA_PARTICIPANTS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct participant *participant = changed_by(transport, &sets[i]);
        if (participant != NULL) {
            replace(transport, participant, &sets[i], dialed->clients[i]);
            dialed->clients[i] = NULL;
        }
    }
    transport_hang_up(dialed);
}

void transport_hang_up(struct transport_dialed *dialed)
{
    for (size_t i = 0; i < SAGA_PARTICIPANTS_MAX; i++) {
        saga_rpc_client_free(dialed->clients[i]);
        dialed->clients[i] = NULL;
    }
}

static void free_participant(struct participant *participant)
{
    saga_rpc_client_free(participant->client);
    free_retired(participant, true);
    saga_buf_fini(&participant->pending.bytes);
    free(participant->pending.outgoing);
    free(participant->pending.sizes);
    free(participant);
}

void transport_sweep(struct transport *transport, transport_keep *keep, void *user)
{
    for (size_t i = 0; i < transport->count; i++) {
        struct participant *participant = transport->participants[i];
        if (participant == NULL || participant->fixed || participant->pending.count > 0 ||
            keep(user, (uint16_t)i)) {
            continue;
        }
        lock(transport);
        transport->participants[i] = NULL;
        unlock(transport);
        free_participant(participant);
    }
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
        const struct participant *participant = transport->participants[i];
        if (participant == NULL || participant->pending.count == 0) {
            continue;
        }
        int64_t at = participant->pending.first_deadline_unix_ms - UNSENT_MARGIN_MS;
        due = due == 0 || at < due ? at : due;
    }
    return due;
}

void transport_flush(struct transport *transport)
{
    for (size_t i = 0; i < transport->count; i++) {
        struct participant *participant = transport->participants[i];
        if (participant != NULL) {
            flush_participant(transport, participant);
            free_retired(participant, false);
        }
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

bool transport_participant(struct transport *transport, size_t index, struct transport_look *look)
{
    lock(transport);
    bool more = index < transport->count;
    const struct participant *participant = more ? transport->participants[index] : NULL;
    look->there = participant != NULL;
    if (participant != NULL) {
        (void)snprintf(look->service, sizeof look->service, "%s", participant->service);
        (void)snprintf(look->address, sizeof look->address, "%s",
                       participant->address_count == 0 ? "" : participant->addresses[0]);
        look->connected =
            participant->client != NULL && saga_rpc_client_connected(participant->client);
    }
    unlock(transport);
    return more;
}

void transport_hold(struct transport *transport)
{
    transport->held = true;
    for (size_t i = 0; i < transport->count; i++) {
        if (transport->participants[i] != NULL) {
            struct pending *pending = &transport->participants[i]->pending;
            pending->count = 0;
            saga_buf_clear(&pending->bytes);
        }
    }
}

size_t transport_outstanding(const struct transport *transport)
{
    return atomic_load(&transport->outstanding);
}

void transport_stop(struct transport *transport)
{
    for (size_t i = 0; transport != NULL && i < transport->count; i++) {
        struct participant *participant = transport->participants[i];
        if (participant != NULL) {
            struct saga_rpc_client *client = participant->client;
            lock(transport);
            participant->client = NULL;
            unlock(transport);
            saga_rpc_client_free(client);
            free_retired(participant, true);
        }
    }
}

void transport_free(struct transport *transport)
{
    if (transport == NULL) {
        return;
    }
    transport_stop(transport);
    for (size_t i = 0; i < transport->count; i++) {
        if (transport->participants[i] != NULL) {
            free_participant(transport->participants[i]);
        }
    }
    saga_arena_fini(&transport->arena);
    (void)pthread_mutex_destroy(&transport->mutex);
    free(transport);
}
