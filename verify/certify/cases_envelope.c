/* The envelope: what must be refused, how, and that nothing of it hurts the participant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "common/wire/wire.h"
#include "verify/certify/internal.h"

#define HEALTH "saga.v1.HealthService/Check"
#define REFLECTION "saga.v1.ReflectionService/GetDescriptorSet"
#define NOBODY "certify.v1.Nobody/Nothing"

/* ---- Building messages by hand ---- */

/* Space for one command that is put together field by field. */
struct by_hand {
    uint8_t bytes[4096];
    size_t size;
};

static void put_bytes(struct by_hand *message, uint32_t number, const void *data, size_t size)
{
    struct saga_bytes bytes = {data, size};
    message->size = (size_t)(saga_wire_put_bytes(message->bytes + message->size, number, bytes) -
                             message->bytes);
}

static void put_text(struct by_hand *message, uint32_t number, const char *text)
{
    put_bytes(message, number, text, strlen(text));
}

static void put_number(struct by_hand *message, uint32_t number, uint64_t value)
{
    uint8_t *at = saga_wire_put_tag(message->bytes + message->size, number, SAGA_WIRE_VARINT);
    at = saga_wire_put_varint(at, value);
    message->size = (size_t)(at - message->bytes);
}

/* The fields of a CALL that a participant would look at, but for those in the mask. */
enum { NO_SAGA = 1, NO_STEP = 2, NO_OP = 4, NO_METHOD = 8, NO_ATTEMPT = 16 };

static struct by_hand call_without(struct certify_trial *trial, unsigned mask)
{
    struct by_hand message = {.size = 0};
    struct saga_id id = certify_saga_id(trial->run);
    if ((mask & NO_SAGA) == 0) {
        put_bytes(&message, 1, id.b, sizeof id.b);
    }
    if ((mask & NO_STEP) == 0) {
        put_text(&message, 2, "certify");
    }
    if ((mask & NO_OP) == 0) {
        put_number(&message, 3, SAGA_OP_CALL);
    }
    if ((mask & NO_METHOD) == 0) {
        put_text(&message, 4, NOBODY);
    }
    if ((mask & NO_ATTEMPT) == 0) {
        put_number(&message, 6, 1);
    }
    return message;
}

static struct saga_bytes batch_of(struct certify_trial *trial, const struct by_hand *command)
{
    uint8_t bytes[sizeof command->bytes + 16];
    struct saga_bytes inner = {command->bytes, command->size};
    uint8_t *end = saga_wire_put_bytes(bytes, 1, inner);
    return certify_keep(trial, (struct saga_bytes){bytes, (size_t)(end - bytes)});
}

/* Sends a command that must be refused as INVALID_ARGUMENT. */
static bool invalid(struct certify_trial *trial, const struct by_hand *command, const char *what)
{
    return certify_refused(trial, batch_of(trial, command), what, SAGA_CODE_INVALID_ARGUMENT,
                           SAGA_CODE_INVALID_ARGUMENT);
}

/* ---- Built-in methods ---- */

void certify_env_health(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct certify_ask ask = certify_ask_plain(trial, HEALTH, (struct saga_bytes){0});
    struct saga_wire_field field;
    certify_sent(trial, HEALTH);
    if (!certify_send(trial, &ask, &reply) ||
        !certify_want_status(trial, HEALTH, &reply, SAGA_CODE_OK, NULL)) {
        return;
    }
    struct saga_wire_reader reader = saga_wire_read(reply.payload);
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    bool serving = false;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        serving = serving || (field.number == 1 && field.type == SAGA_WIRE_VARINT &&
                              (field.value == 1 || field.value == 2));
    }
    if (next == SAGA_WIRE_NEXT_MALFORMED) {
        certify_fail(trial, "the response is no saga.v1.CheckResponse");
    } else if (!serving) {
        certify_fail(trial, "its state is neither SERVING nor DEGRADED");
    }
}

/* Gives the descriptor set of a GetDescriptorSetResponse: its field 1. */
static struct saga_bytes descriptor_set(struct saga_bytes payload)
{
    struct saga_wire_reader reader = saga_wire_read(payload);
    struct saga_wire_field field;
    struct saga_bytes found = {0};
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number == 1 && field.type == SAGA_WIRE_LEN) {
            found = field.bytes;
        }
    }
    return found;
}

void certify_env_reflection(struct certify_trial *trial)
{
    struct saga_reply reply;
    struct saga_err_detail detail = {{0}};
    struct saga_schema *schema = NULL;
    struct certify_ask ask = certify_ask_plain(trial, REFLECTION, (struct saga_bytes){0});
    const struct saga_certify_steps *steps = trial->run->config->steps;
    certify_sent(trial, REFLECTION);
    if (!certify_send(trial, &ask, &reply)) {
        return;
    }
    if (!trial->run->config->reflection && reply.status.code == SAGA_CODE_UNIMPLEMENTED) {
        certify_skip(trial, "it has no reflection; the schema was given");
        return;
    }
    if (!certify_want_status(trial, REFLECTION, &reply, SAGA_CODE_OK, NULL)) {
        return;
    }
    if (saga_schema_load(descriptor_set(reply.payload), &schema, &detail) != SAGA_ERR_OK) {
        certify_fail(trial, "its descriptor set cannot be read: %s", detail.text);
        return;
    }
    for (size_t i = 0; i < steps->count; i++) {
        const struct saga_method *call = steps->list[i].call;
        const struct saga_method *undo = steps->list[i].undo;
        if ((call != NULL && saga_schema_method(schema, call->full_name) == NULL) ||
            (undo != NULL && saga_schema_method(schema, undo->full_name) == NULL)) {
            certify_fail(trial, "its descriptor set does not have the methods of step %s",
                         steps->list[i].name);
        }
    }
    saga_schema_free(schema);
}

/* ---- Bytes that are no batch ---- */

void certify_env_empty(struct certify_trial *trial)
{
    static const uint8_t nothing[1] = {0};
    certify_sent(trial, "a message of no bytes, which is a batch without commands");
    (void)certify_refused(trial, (struct saga_bytes){nothing, 0}, "the empty message",
                          SAGA_CODE_INVALID_ARGUMENT, SAGA_CODE_INVALID_ARGUMENT);
}

void certify_env_garbage(struct certify_trial *trial)
{
    static const size_t sizes[] = {1, 2, 3, 7, 16, 64, 255, 1024, 4000};
    struct certify_run *run = trial->run;
    certify_sent(trial, "messages of bytes by lot, 1 to 4000 bytes");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] * 4 && !trial->judged; i++) {
        uint8_t bytes[4000];
        size_t size = sizes[i / 4];
        for (size_t at = 0; at < size; at++) {
            bytes[at] = (uint8_t)saga_prng_below(&run->random, 256);
        }
        /* 0 is no field number: whatever follows, it is malformed. */
        bytes[0] = (uint8_t)(bytes[0] & 0x07u);
        (void)certify_refused(trial, (struct saga_bytes){bytes, size}, "garbage",
                              SAGA_CODE_INVALID_ARGUMENT, SAGA_CODE_INVALID_ARGUMENT);
    }
}

void certify_env_truncated(struct certify_trial *trial)
{
    struct saga_buf whole = {0};
    struct certify_ask ask = certify_ask_plain(trial, HEALTH, (struct saga_bytes){0});
    certify_sent(trial, "a good message, cut off at each of its bytes");
    if (saga_command_batch_add(&ask.command, &whole) != SAGA_ERR_OK) {
        certify_skip(trial, "out of memory");
        return;
    }
    for (size_t size = 1; size < whole.size && !trial->judged; size++) {
        (void)certify_refused(trial, (struct saga_bytes){whole.data, size}, "the cut message",
                              SAGA_CODE_INVALID_ARGUMENT, SAGA_CODE_INVALID_ARGUMENT);
    }
    saga_buf_fini(&whole);
}

void certify_env_wire_type(struct certify_trial *trial)
{
    struct by_hand saga = call_without(trial, NO_SAGA);
    struct by_hand step = call_without(trial, NO_STEP);
    struct by_hand op = call_without(trial, NO_OP);
    put_number(&saga, 1, 1);
    put_number(&step, 2, 1);
    put_text(&op, 3, "CALL");
    certify_sent(trial, "saga_id and step as numbers, op as text");
    if (invalid(trial, &saga, "saga_id of a wrong type") &&
        invalid(trial, &step, "step of a wrong type")) {
        (void)invalid(trial, &op, "op of a wrong type");
    }
}

void certify_env_unknown_field(struct certify_trial *trial)
{
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct by_hand command = {.size = 0};
    put_text(&command, 4, HEALTH);
    put_text(&command, 1000, "of a newer orchestrator");
    certify_sent(trial, "%s with a field that is not in the schema", HEALTH);
    if (certify_send_bytes(trial, batch_of(trial, &command), "a field of a newer peer", &replies,
                           &count)) {
        (void)certify_want_status(trial, "a field of a newer peer", &replies[0], SAGA_CODE_OK,
                                  NULL);
    }
}

/* ---- Too much ---- */

/* Sends `count` health checks in one message. */
static void many(struct certify_trial *trial, size_t count, bool refused)
{
    struct saga_buf batch = {0};
    struct saga_reply *replies = NULL;
    size_t got = 0;
    struct certify_ask ask = certify_ask_plain(trial, HEALTH, (struct saga_bytes){0});
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        good = saga_command_batch_add(&ask.command, &batch) == SAGA_ERR_OK;
    }
    if (!good) {
        certify_skip(trial, "out of memory");
    } else if (refused) {
        (void)certify_refused(trial, saga_buf_view(&batch), "the batch that is too long",
                              SAGA_CODE_RESOURCE_EXHAUSTED, SAGA_CODE_RESOURCE_EXHAUSTED);
    } else if (certify_send_bytes(trial, saga_buf_view(&batch), "the full batch", &replies, &got)) {
        if (got != count) {
            certify_fail(trial, "%zu replies came to %zu commands", got, count);
        }
        for (size_t i = 0; i < got && !trial->judged; i++) {
            (void)certify_want_status(trial, "a command of a full batch", &replies[i], SAGA_CODE_OK,
                                      NULL);
        }
    }
    saga_buf_fini(&batch);
}

void certify_env_many(struct certify_trial *trial)
{
    certify_sent(trial, "a batch of %d commands", SAGA_BATCH_COUNT_MAX + 1);
    many(trial, SAGA_BATCH_COUNT_MAX + 1, true);
}

void certify_env_full(struct certify_trial *trial)
{
    certify_sent(trial, "a batch of %d commands", SAGA_BATCH_COUNT_MAX);
    many(trial, SAGA_BATCH_COUNT_MAX, false);
}

/* Sends a health check with a payload of a size. */
static void large(struct certify_trial *trial, enum saga_op op, size_t size)
{
    uint8_t *bytes = calloc(1, size + 1024);
    uint8_t *whole = calloc(1, size + 2048);
    struct by_hand head = {.size = 0};
    if (op == SAGA_OP_CALL) {
        head = call_without(trial, 0);
    } else {
        put_text(&head, 4, HEALTH);
    }
    if (bytes == NULL || whole == NULL) {
        certify_skip(trial, "out of memory");
    } else {
        memcpy(bytes, head.bytes, head.size);
        uint8_t *at = saga_wire_put_tag(bytes + head.size, 5, SAGA_WIRE_LEN);
        at = saga_wire_put_varint(at, size);
        struct saga_bytes inner = {bytes, (size_t)(at - bytes) + size};
        uint8_t *end = saga_wire_put_bytes(whole, 1, inner);
        (void)certify_refused(trial, (struct saga_bytes){whole, (size_t)(end - whole)},
                              "what is too large", SAGA_CODE_RESOURCE_EXHAUSTED,
                              SAGA_CODE_RESOURCE_EXHAUSTED);
    }
    free(bytes);
    free(whole);
}

void certify_env_large(struct certify_trial *trial)
{
    certify_sent(trial, "messages of just over %d and of nearly %d bytes", SAGA_MESSAGE_SIZE_MAX,
                 SAGA_MESSAGE_SIZE_HARD);
    large(trial, SAGA_OP_NONE, SAGA_MESSAGE_SIZE_MAX);
    large(trial, SAGA_OP_NONE, SAGA_MESSAGE_SIZE_HARD - 4096);
}

void certify_env_flood(struct certify_trial *trial)
{
    const struct saga_certify_port *port = &trial->run->config->port;
    const uint64_t sizes[] = {(uint64_t)SAGA_MESSAGE_SIZE_HARD * 2, UINT64_C(1) << 40, UINT64_MAX};
    certify_sent(trial, "messages that say to have 8 MiB, 1 TiB and 16 EiB, each on a connection "
                        "of its own");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (port->flood == NULL || !port->flood(port->context, sizes[i])) {
            certify_skip(trial, "only over ipc:// and tcp://, and with a connection to spare");
            return;
        }
        if (!certify_alive(trial->run)) {
            certify_fail(trial, "it answers no more after a message of %llu bytes",
                         (unsigned long long)sizes[i]);
            return;
        }
    }
}

void certify_env_payload_large(struct certify_trial *trial)
{
    certify_sent(trial, "a CALL with a payload of %d bytes", SAGA_PAYLOAD_SIZE_MAX + 1);
    large(trial, SAGA_OP_CALL, SAGA_PAYLOAD_SIZE_MAX + 1);
}

/* ---- Fields ---- */

void certify_env_method(struct certify_trial *trial)
{
    struct saga_reply replies[3];
    struct certify_ask asks[3] = {
        certify_ask_plain(trial, NOBODY, (struct saga_bytes){0}),
        certify_ask_plain(trial, "saga.v1.HealthService/Nothing", (struct saga_bytes){0}),
        certify_ask_plain(trial, NOBODY, (struct saga_bytes){0}),
    };
    asks[2].command.op = SAGA_OP_CALL;
    asks[2].command.saga_id = certify_saga_id(trial->run);
    asks[2].command.step = "certify";
    certify_sent(trial, "methods that there are not, as requests and as a CALL");
    for (size_t i = 0; i < 3; i++) {
        if (!certify_send_once(trial, &asks[i], &replies[i]) ||
            !certify_want_status(trial, "an unknown method", &replies[i], SAGA_CODE_UNIMPLEMENTED,
                                 NULL)) {
            return;
        }
    }
    struct by_hand none = call_without(trial, NO_METHOD);
    (void)certify_refused(trial, batch_of(trial, &none), "a command without method",
                          SAGA_CODE_INVALID_ARGUMENT, SAGA_CODE_UNIMPLEMENTED);
}

void certify_env_saga_id(struct certify_trial *trial)
{
    static const size_t sizes[] = {0, 1, 15, 17, 36};
    static const uint8_t id[36] = {1, 2, 3};
    certify_sent(trial, "CALLs with saga ids of 0, 1, 15, 17 and 36 bytes");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && !trial->judged; i++) {
        struct by_hand command = call_without(trial, NO_SAGA);
        char what[64];
        put_bytes(&command, 1, id, sizes[i]);
        (void)snprintf(what, sizeof what, "a saga id of %zu bytes", sizes[i]);
        (void)invalid(trial, &command, what);
    }
}

void certify_env_step(struct certify_trial *trial)
{
    static const char *const names[] = {"", "Certify", "a step", "1st",
                                        "a-step-name-of-thirty-two-bytes-"};
    certify_sent(trial, "CALLs with no step, and with names that no step can have");
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !trial->judged; i++) {
        struct by_hand command = call_without(trial, NO_STEP);
        char what[96];
        put_text(&command, 2, names[i]);
        (void)snprintf(what, sizeof what, "the step \"%s\"", names[i]);
        (void)invalid(trial, &command, what);
    }
}

void certify_env_op(struct certify_trial *trial)
{
    struct by_hand none = call_without(trial, NO_OP);
    struct by_hand other = call_without(trial, NO_OP);
    put_number(&other, 3, 7);
    certify_sent(trial, "a saga id and a step without op; op 7");
    if (invalid(trial, &none, "a saga's command without op")) {
        (void)invalid(trial, &other, "op 7");
    }
}

void certify_env_attempt(struct certify_trial *trial)
{
    struct by_hand none = call_without(trial, NO_ATTEMPT);
    certify_sent(trial, "a CALL without attempt");
    (void)invalid(trial, &none, "attempt 0");
}

static void put_pair(struct by_hand *command, const char *key, const char *value)
{
    struct by_hand pair = {.size = 0};
    put_text(&pair, 1, key);
    put_text(&pair, 2, value);
    put_bytes(command, 11, pair.bytes, pair.size);
}

void certify_env_metadata(struct certify_trial *trial)
{
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct by_hand full = {.size = 0};
    struct by_hand key = {.size = 0};
    put_text(&full, 4, HEALTH);
    put_text(&key, 4, HEALTH);
    put_pair(&key, "Not-Lower-Case", "value");
    for (int i = 0; i < SAGA_METADATA_COUNT_MAX; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "x-certify-%d", i);
        put_pair(&full, name, "value");
    }
    certify_sent(trial, "%d pairs of metadata, one more, a key in capitals",
                 SAGA_METADATA_COUNT_MAX);
    if (!certify_send_bytes(trial, batch_of(trial, &full), "metadata", &replies, &count) ||
        !certify_want_status(trial, "as many pairs as may be", &replies[0], SAGA_CODE_OK, NULL)) {
        return;
    }
    put_pair(&full, "x-certify-more", "value");
    if (certify_refused(trial, batch_of(trial, &full), "one pair too many",
                        SAGA_CODE_RESOURCE_EXHAUSTED, SAGA_CODE_INVALID_ARGUMENT)) {
        (void)invalid(trial, &key, "a key in capitals");
    }
}

/* ---- Replies ---- */

/* Commands that are told apart by their keys and have no effect: nobody has their method. */
static bool keyed(struct certify_trial *trial, struct certify_ask *asks, size_t count,
                  struct saga_reply *replies)
{
    static const char *const steps[] = {"one", "two-2", "three_3"};
    for (size_t i = 0; i < count; i++) {
        asks[i] = certify_ask_plain(trial, NOBODY, (struct saga_bytes){0});
        asks[i].command.op = i % 2 == 0 ? SAGA_OP_CALL : SAGA_OP_UNDO;
        asks[i].command.saga_id = certify_saga_id(trial->run);
        asks[i].command.step = steps[i % 3];
        asks[i].command.attempt = (uint32_t)(i + 1);
    }
    return certify_send_batch(trial, asks, count, replies);
}

void certify_env_echo(struct certify_trial *trial)
{
    enum { COUNT = 1 };
    struct certify_ask ask[COUNT];
    struct saga_reply reply[COUNT];
    certify_sent(trial, "a CALL of nobody's method with saga, step, op, attempt");
    if (!keyed(trial, ask, COUNT, reply)) {
        return;
    }
    const struct saga_command *command = &ask[0].command;
    if (!saga_id_equal(command->saga_id, reply[0].saga_id)) {
        certify_fail(trial, "the reply's saga_id is not the command's");
    } else if (strcmp(command->step, reply[0].step) != 0) {
        certify_fail(trial, "the reply's step is \"%s\", the command's \"%s\"", reply[0].step,
                     command->step);
    } else if (command->op != reply[0].op) {
        certify_fail(trial, "the reply's op is not the command's");
    } else if (command->attempt != reply[0].attempt) {
        certify_fail(trial, "the reply's attempt is %u, the command's %u",
                     (unsigned)reply[0].attempt, (unsigned)command->attempt);
    }
}

void certify_env_order(struct certify_trial *trial)
{
    enum { COUNT = 64 };
    struct certify_ask asks[COUNT];
    struct saga_reply replies[COUNT];
    certify_sent(trial, "a batch of %d commands with keys of their own", (int)COUNT);
    if (!keyed(trial, asks, COUNT, replies)) {
        return;
    }
    for (size_t i = 0; i < COUNT; i++) {
        /* A reply that names another command's saga is in the wrong place. */
        for (size_t other = 0; other < COUNT; other++) {
            if (other != i && saga_id_equal(replies[i].saga_id, asks[other].command.saga_id)) {
                certify_fail(trial, "reply %zu answers command %zu", i, other);
                return;
            }
        }
    }
}
