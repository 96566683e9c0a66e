#include "tests/unit/certify/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "descriptor_set.h"

const char *fake_fault_name(enum fake_fault fault)
{
    static const char *const names[] = {
#define X(name) #name,
        FAKE_FAULT_LIST(X)
#undef X
    };
    return names[fault];
}

static struct saga_bytes copy(struct saga_bytes bytes)
{
    uint8_t *made = calloc(1, bytes.size + 1);
    if (made == NULL) {
        abort();
    }
    if (bytes.size > 0) {
        memcpy(made, bytes.data, bytes.size);
    }
    return (struct saga_bytes){made, bytes.size};
}

static void free_row(struct fake_row *row)
{
    free((void *)(uintptr_t)row->payload.data);
    free((void *)(uintptr_t)row->response.data);
}

void fake_fini(struct fake *fake)
{
    for (size_t i = 0; i < fake->row_count; i++) {
        free_row(&fake->rows[i]);
    }
    free(fake->rows);
    fake->rows = NULL;
    fake->row_count = 0;
}

/* ---- The barrier ---- */

static bool is(const struct fake *fake, enum fake_fault fault)
{
    return fake->fault == fault;
}

static bool same_key(const struct fake *fake, const struct fake_row *row,
                     const struct saga_command *command, enum saga_op op)
{
    size_t id_size = is(fake, FAKE_KEY_SAGA_CUT) ? SAGA_ID_SIZE - 1 : SAGA_ID_SIZE;
    return row->op == op && memcmp(row->saga.b, command->saga_id.b, id_size) == 0 &&
           (is(fake, FAKE_KEY_NO_STEP) || strcmp(row->step, command->step) == 0);
}

/* Tells whether a broken rule hides a row of the command's own key. */
static bool own_hidden(const struct fake *fake, const struct fake_row *row,
                       const struct saga_command *command)
{
    bool call = row->op == SAGA_OP_CALL;
    bool at_once = row->exchange == fake->exchange && row->batch != fake->batch;
    return (is(fake, FAKE_CALL_TWICE) && call) || (is(fake, FAKE_UNDO_TWICE) && !call) ||
           (is(fake, FAKE_KEY_ATTEMPT) && call && row->attempt != command->attempt) ||
           (is(fake, FAKE_KEY_CAUSE) && !call && strcmp(row->cause, command->cause_step) != 0) ||
           (is(fake, FAKE_BATCH_BLIND) && call && row->batch == fake->batch) ||
           (is(fake, FAKE_AT_ONCE_BLIND) && call && at_once) ||
           (is(fake, FAKE_UNDO_AT_ONCE) && !call && at_once) ||
           (is(fake, FAKE_UNANSWERED_ANEW) && call && row->unanswered);
}

static struct fake_row *find_own(struct fake *fake, const struct saga_command *command)
{
    for (size_t i = fake->row_count; i > 0; i--) {
        struct fake_row *row = &fake->rows[i - 1];
        if (same_key(fake, row, command, command->op) && !own_hidden(fake, row, command)) {
            return row;
        }
    }
    return NULL;
}

static struct fake_row *find_other(struct fake *fake, const struct saga_command *command,
                                   enum saga_op op)
{
    for (size_t i = fake->row_count; i > 0; i--) {
        struct fake_row *row = &fake->rows[i - 1];
        bool hidden = (is(fake, FAKE_RACE_BLIND) && row->exchange == fake->exchange &&
                       row->batch != fake->batch && op == SAGA_OP_UNDO) ||
                      (is(fake, FAKE_FORBIDDEN_IN_BATCH) && row->batch == fake->batch);
        if (same_key(fake, row, command, op) && !hidden) {
            return row;
        }
    }
    return NULL;
}

/* Tells whether an answer to a key was ever taken by a kill. */
static bool taken_by_kill(const struct fake *fake, const struct saga_command *command)
{
    for (size_t i = 0; i < fake->row_count && is(fake, FAKE_UNANSWERED_ANEW); i++) {
        if (fake->rows[i].unanswered && same_key(fake, &fake->rows[i], command, command->op)) {
            return true;
        }
    }
    return fake->unanswered;
}

static void store(struct fake *fake, const struct saga_command *command,
                  const struct saga_reply *reply)
{
    bool unanswered = taken_by_kill(fake, command);
    if (fake->row_count == fake->row_capacity) {
        fake->row_capacity = fake->row_capacity == 0 ? 256 : fake->row_capacity * 2;
        fake->rows = realloc(fake->rows, fake->row_capacity * sizeof *fake->rows);
        if (fake->rows == NULL) {
            abort();
        }
    }
    struct fake_row *row = &fake->rows[fake->row_count++];
    *row = (struct fake_row){.saga = command->saga_id,
                             .op = command->op,
                             .payload = copy(command->payload),
                             .code = reply->status.code,
                             .response = copy(reply->payload),
                             .empty = reply->empty,
                             .attempt = command->attempt,
                             .batch = fake->batch,
                             .exchange = fake->exchange,
                             .killed_soon = fake->killed_soon,
                             .unanswered = unanswered};
    (void)snprintf(row->step, sizeof row->step, "%s", command->step);
    (void)snprintf(row->method, sizeof row->method, "%s", command->method);
    (void)snprintf(row->reason, sizeof row->reason, "%s", reply->status.reason);
    (void)snprintf(row->cause, sizeof row->cause, "%s", command->cause_step);
}

static void say(struct saga_reply *reply, enum saga_code code, const char *reason)
{
    reply->status = saga_status_make(code, reason, reason[0] == '\0' ? "" : "the fake says so");
}

/* ---- Handlers ---- */

/* Finds a field's number value. */
static uint64_t number(struct saga_bytes payload, uint32_t field_number)
{
    struct saga_wire_reader reader = saga_wire_read(payload);
    struct saga_wire_field field;
    uint64_t found = 0;
    while (saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        found = field.number == field_number ? field.value : found;
    }
    return found;
}

static bool readable(struct saga_bytes payload)
{
    struct saga_wire_reader reader = saga_wire_read(payload);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
    }
    return next == SAGA_WIRE_NEXT_END;
}

static void undo(struct fake *fake, const struct saga_command *command, struct saga_reply *reply)
{
    const struct fake_row *call = find_other(fake, command, SAGA_OP_CALL);
    if (is(fake, FAKE_UNDO_RESPONSE)) {
        reply->payload = (struct saga_bytes){(const uint8_t *)"\x0a\x05", 2};
    }
    if (is(fake, FAKE_UNDO_IDLE)) {
        return;
    }
    fake->open_calls -= is(fake, FAKE_UNDO_MORE) && fake->open_calls > 1 ? 2 : 1;
    fake->taken -= call != NULL && number(call->payload, 3) == 77 ? 1 : 0;
}

/* Payments of 0 cents are refused, those of 99 are put off, of those of 77 there is one at a time;
 * each response has its number. */
static void handle(struct fake *fake, const struct saga_command *command, struct saga_reply *reply)
{
    static uint8_t response[16];
    bool payment = strstr(command->method, "AuthorizePayment") != NULL;
    if (command->op == SAGA_OP_UNDO) {
        undo(fake, command, reply);
        return;
    }
    if (fake->refuses || (fake->room > 0 && fake->open_calls >= fake->room) ||
        (payment && number(command->payload, 3) == 0)) {
        say(reply, SAGA_CODE_FAILED_PRECONDITION, "NO_MONEY");
        fake->effects += is(fake, FAKE_NO_EFFECT) ? 1 : 0;
        return;
    }
    if (payment && number(command->payload, 3) == 77 && fake->taken > 0) {
        say(reply, SAGA_CODE_FAILED_PRECONDITION, "TAKEN");
        return;
    }
    if (payment && number(command->payload, 3) == 99) {
        say(reply, SAGA_CODE_UNAVAILABLE, "BUSY");
        return;
    }
    fake->effects++;
    fake->open_calls++;
    fake->taken += payment && number(command->payload, 3) == 77 ? 1 : 0;
    if (payment) {
        char text[8];
        (void)snprintf(text, sizeof text, "p%llu", (unsigned long long)fake->effects % 100000);
        uint8_t *end = saga_wire_put_bytes(response, 1, saga_bytes_text(text));
        reply->payload = (struct saga_bytes){response, (size_t)(end - response)};
        if (is(fake, FAKE_CALL_RESPONSE)) {
            reply->payload = (struct saga_bytes){(const uint8_t *)"\x08\x01", 2};
        }
    }
}

static void replay(struct fake *fake, const struct saga_command *command,
                   const struct fake_row *row, struct saga_reply *reply)
{
    static const uint8_t other[] = {0x0a, 0x01, 'x'};
    say(reply, (enum saga_code)row->code, row->reason);
    reply->payload = row->response;
    reply->empty = row->empty && !is(fake, FAKE_EMPTY_ONCE);
    reply->replayed = true;
    if (is(fake, FAKE_BYTES_CHANGE) && row->response.size > 0) {
        reply->payload = (struct saga_bytes){other, sizeof other};
    }
    if (command->op == SAGA_OP_CALL &&
        (is(fake, FAKE_EFFECT_TWICE) || (is(fake, FAKE_UNANSWERED_EFFECT) && row->unanswered))) {
        fake->effects++;
    }
    if (command->epoch > fake->epoch_max && !is(fake, FAKE_EPOCH_REPLAY)) {
        fake->epoch_max = command->epoch;
    }
}

static bool reused(const struct fake *fake, const struct saga_command *command,
                   const struct fake_row *row)
{
    bool other_method = strcmp(row->method, command->method) != 0;
    if (other_method) {
        return !is(fake, FAKE_REUSED_METHOD);
    }
    bool call = command->op == SAGA_OP_CALL;
    return !saga_bytes_equal(row->payload, command->payload) &&
           !(call && is(fake, FAKE_REUSED_CALL)) && !(!call && is(fake, FAKE_REUSED_UNDO));
}

/* B1, B4, B5, B6. */
static void known(struct fake *fake, const struct saga_command *command, struct fake_row *row,
                  struct saga_reply *reply)
{
    if (!reused(fake, command, row)) {
        replay(fake, command, row, reply);
        return;
    }
    say(reply, SAGA_CODE_INVALID_ARGUMENT,
        is(fake, FAKE_REUSED_REASON) ? "OTHER_BYTES" : "KEY_REUSED");
    if (is(fake, FAKE_REUSED_KEPT) && command->op == SAGA_OP_CALL) {
        row->code = SAGA_CODE_INVALID_ARGUMENT;
    }
}

/* S8: the fake keeps the epoch of the saga that it saw last, which is enough for one trial. */
static bool fenced(struct fake *fake, const struct saga_command *command, struct saga_reply *reply)
{
    if (!saga_id_equal(fake->epoch_saga, command->saga_id)) {
        fake->epoch_saga = command->saga_id;
        fake->epoch_max = 0;
        return false;
    }
    if (command->epoch >= fake->epoch_max || is(fake, FAKE_EPOCH_IGNORED)) {
        return false;
    }
    say(reply, SAGA_CODE_ABORTED, "FENCED");
    if (is(fake, FAKE_EPOCH_STORED)) {
        store(fake, command, reply);
    }
    return true;
}

static bool keeps(const struct fake *fake, const struct saga_reply *reply)
{
    switch (saga_code_class(reply->status.code)) {
    case SAGA_CODE_CLASS_SUCCESS:
        return !(reply->empty && is(fake, FAKE_EMPTY_FORGOTTEN));
    case SAGA_CODE_CLASS_REJECT:
        return !is(fake, FAKE_NO_FORGOTTEN);
    case SAGA_CODE_CLASS_RETRY:
        return is(fake, FAKE_RETRY_STORED);
    case SAGA_CODE_CLASS_UNKNOWN:
    case SAGA_CODE_CLASS_PARK:
        break;
    }
    return false;
}

/* Runs a first command; false: it was refused by the barrier, nothing is stored. */
static bool first(struct fake *fake, const struct saga_command *command, struct saga_reply *reply)
{
    const struct fake_row *call = find_other(fake, command, SAGA_OP_CALL);
    struct fake_row *undo = find_other(fake, command, SAGA_OP_UNDO);
    if (command->op == SAGA_OP_CALL && undo != NULL && !is(fake, FAKE_FORBIDDEN_DONE) &&
        !(undo->forbade && is(fake, FAKE_FORBIDDEN_ONCE))) {
        undo->forbade = true;
        say(reply, SAGA_CODE_FAILED_PRECONDITION,
            is(fake, FAKE_FORBIDDEN_REASON) ? "" : "SAGA_UNDONE");
        return false;
    }
    if (command->op == SAGA_OP_UNDO && (call == NULL || call->code != SAGA_CODE_OK)) {
        if (call == NULL && is(fake, FAKE_EMPTY_REFUSED)) {
            say(reply, SAGA_CODE_NOT_FOUND, "NO_CALL");
            return false;
        }
        reply->empty = !(call == NULL && is(fake, FAKE_EMPTY_UNSAID)) &&
                       !(call != NULL && is(fake, FAKE_NO_UNDO_FULL));
        return true;
    }
    handle(fake, command, reply);
    bool soon = call != NULL && call->exchange != fake->exchange &&
                call->exchange + 2 >= fake->exchange && !fake->unanswered;
    if (command->op == SAGA_OP_UNDO &&
        (is(fake, FAKE_UNDO_SAYS_EMPTY) || (is(fake, FAKE_UNDO_EMPTY_SOON) && soon))) {
        reply->empty = true;
    }
    if (command->op == SAGA_OP_CALL && is(fake, FAKE_CALL_REPLAYED)) {
        reply->replayed = true;
    }
    return true;
}

/* Tells whether a duplicate is done again because its undo is there. */
static bool late_anew(struct fake *fake, const struct saga_command *command)
{
    const struct fake_row *undo = find_other(fake, command, SAGA_OP_UNDO);
    return undo != NULL && (is(fake, FAKE_LATE_DUPLICATE) ||
                            (is(fake, FAKE_LATE_ANEW) && undo->exchange != fake->exchange));
}

static void guarded(struct fake *fake, const struct saga_command *command, struct saga_reply *reply)
{
    if (fenced(fake, command, reply)) {
        return;
    }
    struct fake_row *own = find_own(fake, command);
    if (own != NULL && command->op == SAGA_OP_CALL && late_anew(fake, command)) {
        handle(fake, command, reply);
        return;
    }
    if (own != NULL) {
        known(fake, command, own, reply);
        return;
    }
    fake->epoch_max = command->epoch > fake->epoch_max ? command->epoch : fake->epoch_max;
    if (first(fake, command, reply) && keeps(fake, reply)) {
        store(fake, command, reply);
    }
}

/* ---- Commands ---- */

static void builtin(struct fake *fake, const struct saga_command *command, struct saga_reply *reply,
                    struct saga_arena *arena)
{
    static const uint8_t serving[] = {0x08, 0x01};
    if (strstr(command->method, "/Check") != NULL) {
        reply->payload =
            (struct saga_bytes){serving, is(fake, FAKE_HEALTH_STATE) ? 0 : sizeof serving};
        return;
    }
    uint8_t *bytes = saga_arena_take(arena, saga_descriptor_set_size + 16);
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    if (bytes == NULL) {
        abort();
    }
    set.size = is(fake, FAKE_REFLECTION_EMPTY) ? 0 : set.size;
    uint8_t *end = saga_wire_put_bytes(bytes, 1, set);
    reply->payload = (struct saga_bytes){bytes, (size_t)(end - bytes)};
}

/* GetOrder tells how many effects there ever were, ListOrders how many stand:
 * order.created_unix_ms. */
static void read_only(struct fake *fake, const struct saga_command *command,
                      struct saga_reply *reply)
{
    static uint8_t response[32];
    uint8_t inner[16];
    if (is(fake, FAKE_READ_INTERNAL) && strstr(command->method, "Validate") != NULL) {
        say(reply, SAGA_CODE_INTERNAL, "BROKEN");
        return;
    }
    bool ever = strstr(command->method, "GetOrder") != NULL;
    if (ever || strstr(command->method, "ListOrders") != NULL) {
        uint8_t *at = saga_wire_put_tag(inner, 7, SAGA_WIRE_VARINT);
        fake->asked += is(fake, FAKE_READ_RESTLESS) ? 1 : 0;
        at = saga_wire_put_varint(at, (ever ? fake->effects : fake->open_calls) + fake->asked);
        at = saga_wire_put_bytes(response, 1, (struct saga_bytes){inner, (size_t)(at - inner)});
        reply->payload = (struct saga_bytes){response, (size_t)(at - response)};
    }
}

static bool has(const struct saga_command *command, const char *text)
{
    return strstr(command->method, text) != NULL;
}

static bool exists(const struct saga_command *command)
{
    static const char *const names[] = {
        "payment.v1.PaymentService/AuthorizePayment",
        "payment.v1.PaymentService/RefundPayment",
        "kitchen.v1.KitchenService/ApproveTicket",
        "customer.v1.CustomerService/ValidateCustomer",
        "order.v1.OrderService/GetOrder",
        "order.v1.OrderService/ListOrders",
        "saga.v1.HealthService/Check",
        "saga.v1.ReflectionService/GetDescriptorSet",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(command->method, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Past its deadline; true: that was the answer. */
static bool late(struct fake *fake, const struct saga_command *command, struct saga_reply *reply)
{
    bool call = command->op == SAGA_OP_CALL;
    if (command->deadline_unix_ms == 0 || command->deadline_unix_ms >= fake->now_ms ||
        (call && is(fake, FAKE_LATE_DONE))) {
        return false;
    }
    say(reply, SAGA_CODE_DEADLINE_EXCEEDED, "LATE");
    if ((call && is(fake, FAKE_LATE_STORED)) || (!call && is(fake, FAKE_LATE_UNDO_STORED))) {
        store(fake, command, reply);
    }
    return true;
}

static void one(struct fake *fake, const struct saga_command *command, struct saga_reply *reply,
                struct saga_arena *arena)
{
    *reply = (struct saga_reply){.saga_id = command->saga_id,
                                 .step = command->step,
                                 .op = command->op,
                                 .attempt = command->attempt,
                                 .status = saga_status_ok()};
    if (!exists(command)) {
        say(reply, is(fake, FAKE_METHOD_NOT_FOUND) ? SAGA_CODE_NOT_FOUND : SAGA_CODE_UNIMPLEMENTED,
            "METHOD_UNKNOWN");
    } else if (has(command, "saga.v1.")) {
        builtin(fake, command, reply, arena);
    } else if (late(fake, command, reply)) {
        return;
    } else if (has(command, "Validate") || has(command, "Orders") || has(command, "GetOrder")) {
        read_only(fake, command, reply);
    } else if (!readable(command->payload)) {
        say(reply,
            is(fake, FAKE_PAYLOAD_INTERNAL) ? SAGA_CODE_INTERNAL : SAGA_CODE_INVALID_ARGUMENT,
            "MALFORMED");
        if (command->op == SAGA_OP_UNDO && is(fake, FAKE_UNDO_PAYLOAD_KEPT)) {
            store(fake, command, reply);
        }
    } else {
        guarded(fake, command, reply);
        /* The next handler may use the same space. */
        uint8_t *kept = saga_arena_take(arena, reply->payload.size + 1);
        if (kept == NULL) {
            abort();
        }
        if (reply->payload.size > 0) {
            memcpy(kept, reply->payload.data, reply->payload.size);
        }
        reply->payload.data = kept;
    }
}

/* ---- Messages ---- */

static void append(struct saga_buf *out, const struct saga_reply *reply)
{
    if (saga_reply_batch_add(reply, out) != SAGA_ERR_OK) {
        abort();
    }
}

static void answer_status(struct saga_buf *out, struct saga_status status)
{
    struct saga_reply reply = {.step = "", .status = status};
    append(out, &reply);
}

/* Whether a refusal of a whole message is what is broken: then it is answered OK. */
static bool taken(const struct fake *fake, const char *message, struct saga_bytes bytes)
{
    static const struct {
        enum fake_fault fault;
        const char *says;
    } rows[] = {
        {FAKE_EMPTY_OK, "batch is empty"},
        {FAKE_SAGA_ID_OK, "saga_id has"},
        {FAKE_STEP_OK, "step "},
        {FAKE_OP_OK, "saga_id and step must be empty"},
        {FAKE_ATTEMPT_OK, "attempt must be"},
        {FAKE_METADATA_OK, "metadata has more"},
        {FAKE_PAYLOAD_LARGE_OK, "payload has"},
        {FAKE_WIRE_TYPE_OK, "saga_id is malformed"},
        {FAKE_BATCH_LONG_OK, "batch has"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (is(fake, rows[i].fault) && strstr(message, rows[i].says) != NULL) {
            return true;
        }
    }
    return is(fake, FAKE_TRUNCATED_OK) && bytes.size > 0 && bytes.data[0] == 0x0a &&
           strcmp(message, "batch is malformed") == 0;
}

/* Answers what cannot be decoded; false: no answer. */
static bool refuse(struct fake *fake, struct saga_bytes bytes, struct saga_status status,
                   struct saga_buf *out)
{
    bool garbage = bytes.size > 0 && bytes.data[0] < 8;
    if (garbage && is(fake, FAKE_GARBAGE_DEADLY)) {
        fake->dead = true;
    }
    if ((garbage && (is(fake, FAKE_GARBAGE_DROPPED) || is(fake, FAKE_GARBAGE_DEADLY))) ||
        (bytes.size > SAGA_MESSAGE_SIZE_MAX && is(fake, FAKE_OVERSIZED_DROPPED))) {
        return false;
    }
    answer_status(out, taken(fake, status.message, bytes) ? saga_status_ok() : status);
    return true;
}

static bool spoiled(const struct fake *fake, const struct saga_command *commands, size_t count)
{
    bool late_one = false;
    for (size_t i = 0; i < count; i++) {
        late_one = late_one || (commands[i].deadline_unix_ms != 0 &&
                                commands[i].deadline_unix_ms < fake->now_ms);
    }
    return late_one && count > 1 && is(fake, FAKE_BATCH_ONE_FATE);
}

static void wrong_echo(const struct fake *fake, struct saga_reply *reply)
{
    if (is(fake, FAKE_ECHO_SAGA) && reply->op != SAGA_OP_NONE) {
        reply->saga_id.b[3] ^= 1u;
    } else if (is(fake, FAKE_ECHO_STEP) && reply->op != SAGA_OP_NONE) {
        reply->step = "other";
    } else if (is(fake, FAKE_ECHO_ATTEMPT)) {
        reply->attempt += 5;
    }
}

static void batch(struct fake *fake, const struct saga_command *commands, size_t count,
                  struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_reply replies[SAGA_BATCH_COUNT_MAX];
    bool all_bad = spoiled(fake, commands, count);
    for (size_t i = 0; i < count; i++) {
        one(fake, &commands[i], &replies[i], arena);
        wrong_echo(fake, &replies[i]);
        if (all_bad) {
            say(&replies[i], SAGA_CODE_ABORTED, "ANOTHER_WAS_BAD");
        }
    }
    size_t sent = is(fake, FAKE_REPLY_MISSING) && count == 64 ? count - 1 : count;
    for (size_t i = 0; i < sent; i++) {
        append(out, &replies[is(fake, FAKE_ORDER_REVERSED) ? count - 1 - i : i]);
    }
}

static bool contains(struct saga_bytes bytes, const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i + size <= bytes.size && bytes.size < 4096; i++) {
        if (memcmp(bytes.data + i, text, size) == 0) {
            return true;
        }
    }
    return false;
}

static void message(struct fake *fake, struct saga_certify_message *in)
{
    struct saga_arena arena = {0};
    struct saga_command *commands = NULL;
    struct saga_status status;
    size_t count = 0;
    in->answered = !fake->dead && !is(fake, FAKE_SILENT);
    if (!in->answered) {
        return;
    }
    fake->batch++;
    if (saga_command_batch_decode(in->request, &arena, &commands, &count, &status) != SAGA_ERR_OK) {
        in->answered = refuse(fake, in->request, status, &in->answer);
    } else if (is(fake, FAKE_UNKNOWN_REFUSED) && contains(in->request, "newer orchestrator")) {
        answer_status(&in->answer, saga_status_make(SAGA_CODE_INVALID_ARGUMENT, "UNKNOWN", ""));
    } else if (is(fake, FAKE_BATCH_SHORT) && count > 255) {
        answer_status(&in->answer, saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "LIMIT", ""));
    } else {
        batch(fake, commands, count, &arena, &in->answer);
    }
    saga_arena_fini(&arena);
}

/* ---- The port ---- */

static void exchange(void *context, struct saga_certify_message *messages, size_t count,
                     int64_t timeout_ms)
{
    struct fake *fake = context;
    (void)timeout_ms;
    fake->exchange++;
    fake->now_ms++;
    for (size_t i = 0; i < count; i++) {
        message(fake, &messages[i]);
    }
}

static bool lost(const struct fake *fake, const struct fake_row *row)
{
    bool call = row->op == SAGA_OP_CALL;
    bool ok = row->code == SAGA_CODE_OK;
    return (is(fake, FAKE_LOST_CALLS) && call && ok) || (is(fake, FAKE_LOST_NOES) && call && !ok) ||
           (is(fake, FAKE_LOST_UNDOS) && !call && !row->empty) ||
           (is(fake, FAKE_LOST_FORBIDDEN) && !call && row->empty) ||
           (is(fake, FAKE_LOST_LATE_CALLS) && call && row->killed_soon) ||
           (is(fake, FAKE_LOST_LATE_UNDOS) && !call && row->killed_soon) ||
           (is(fake, FAKE_LOST_LATE) && row->killed_soon);
}

/* The first messages are answered, some are done without an answer, the last ones never come. */
static void under_way(struct fake *fake, struct saga_certify_message *messages, size_t count)
{
    size_t answered = count - count / 3;
    size_t done = count - count / 6;
    for (size_t i = 0; i < done; i++) {
        fake->exchange++;
        fake->killed_soon = i + count / 3 >= answered;
        fake->unanswered = i >= answered;
        message(fake, &messages[i]);
        if (fake->killed_soon && is(fake, FAKE_ANSWER_CUT)) {
            messages[i].answer.size--;
        }
        if (i >= answered) {
            saga_buf_fini(&messages[i].answer);
            messages[i].answered = false;
        }
    }
    fake->killed_soon = false;
    fake->unanswered = false;
}

static enum saga_err restart(void *context, struct saga_certify_message *messages, size_t count,
                             int64_t timeout_ms, struct saga_err_detail *detail)
{
    struct fake *fake = context;
    size_t kept = 0;
    (void)timeout_ms;
    fake->restarts++;
    under_way(fake, messages, count);
    fake->flights += count;
    fake->dead = fake->dead || fake->deadly_restart;
    if (fake->idle_restart || fake->deadly_restart) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "it was not restarted");
    }
    if (is(fake, FAKE_RESTART_NEVER)) {
        return saga_err_set(detail, SAGA_ERR_TIMEOUT, "it does not come back");
    }
    for (size_t i = 0; i < fake->row_count; i++) {
        if (lost(fake, &fake->rows[i])) {
            free_row(&fake->rows[i]);
        } else {
            fake->rows[kept++] = fake->rows[i];
        }
    }
    fake->row_count = kept;
    return SAGA_ERR_OK;
}

static bool flood(void *context, uint64_t size)
{
    struct fake *fake = context;
    fake->dead = fake->dead || (is(fake, FAKE_FLOOD_DEADLY) && size > SAGA_MESSAGE_SIZE_HARD);
    return true;
}

static int64_t now_unix_ms(void *context)
{
    const struct fake *fake = context;
    return fake->now_ms;
}

static void pause_ms(void *context, int64_t ms)
{
    struct fake *fake = context;
    fake->now_ms += ms;
}

struct saga_certify_port fake_port(struct fake *fake)
{
    fake->now_ms = INT64_C(1700000000000);
    return (struct saga_certify_port){.context = fake,
                                      .exchange = exchange,
                                      .restart = restart,
                                      .flood = flood,
                                      .now_unix_ms = now_unix_ms,
                                      .pause = pause_ms};
}
