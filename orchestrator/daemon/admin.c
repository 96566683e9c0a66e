#include "orchestrator/daemon/admin.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/sys/clock.h"
#include "orchestrator/daemon/admin_internal.h"
#include "saga/v1/orchestrator.pb-c.h"

#define SERVICE "saga.v1.OrchestratorService/"

enum {
    /* Of a batch's answers that carry something; the rest of a message is for those that only tell
     * a status. */
    REPLIES_SIZE_MAX = SAGA_MESSAGE_SIZE_MAX * 3 / 4,
};

enum saga_err admin_new(const struct admin_config *config, struct admin **admin)
{
    struct admin *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->config = *config;
    *admin = made;
    return SAGA_ERR_OK;
}

void admin_set_store(struct admin *admin, struct saga_store_port store, struct versions *versions)
{
    admin->store = store;
    admin->versions = versions;
}

void admin_free(struct admin *admin)
{
    if (admin != NULL) {
        SAGA_ASSERT(admin->waiter_count == 0 && admin->reads == NULL);
        saga_buf_fini(&admin->out);
        free(admin);
    }
}

static void free_batch(struct batch *batch)
{
    for (size_t i = 0; batch->slots != NULL && i < batch->count; i++) {
        saga_buf_fini(&batch->slots[i].reply);
    }
    saga_arena_fini(&batch->arena);
    free(batch);
}

static void answer_batch(struct admin *admin, struct batch *batch)
{
    enum saga_err err = SAGA_ERR_OK;
    saga_buf_clear(&admin->out);
    for (size_t i = 0; i < batch->count && err == SAGA_ERR_OK; i++) {
        err = saga_buf_append(&admin->out, saga_buf_view(&batch->slots[i].reply));
    }
    if (err == SAGA_ERR_OK) {
        saga_rpc_request_answer(batch->request, saga_buf_view(&admin->out));
    } else {
        saga_rpc_request_drop(batch->request);
    }
    free_batch(batch);
}

void slot_finish(struct admin *admin, struct slot *slot, const struct saga_status *status,
                 struct saga_bytes payload)
{
    SAGA_ASSERT(!slot->done);
    struct batch *batch = slot->batch;
    struct saga_reply reply = {
        .saga_id = slot->command->saga_id,
        .step = slot->command->step,
        .op = slot->command->op,
        .status = *status,
        .payload = payload,
        .attempt = slot->command->attempt,
    };
    if (batch->count > 1 && payload.size > 0 &&
        batch->reply_size + saga_reply_size_bound(&reply) > REPLIES_SIZE_MAX) {
        reply.payload = (struct saga_bytes){0};
        reply.status = saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "REPLIES_TOO_LARGE",
                                        "the batch's answers do not fit into a message; ask for "
                                        "less at once");
    }
    if (saga_reply_batch_add(&reply, &slot->reply) != SAGA_ERR_OK) {
        saga_buf_clear(&slot->reply); /* the client sees too few replies and asks again */
    }
    batch->reply_size += slot->reply.size;
    slot->done = true;
    batch->open -= 1;
    if (batch->open == 0) {
        answer_batch(admin, batch);
    }
}

void slot_fail(struct admin *admin, struct slot *slot, enum saga_code code, const char *reason,
               const char *message)
{
    struct saga_status status = saga_status_make(code, reason, message);
    slot_finish(admin, slot, &status, (struct saga_bytes){0});
}

/* Answers a request that cannot become a batch: one reply for all. */
static void answer_status(struct saga_rpc_request *request, const struct saga_status *status,
                          size_t count)
{
    struct saga_buf out = {0};
    struct saga_reply reply = {.step = "", .status = *status};
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        err = saga_reply_batch_add(&reply, &out);
    }
    if (err == SAGA_ERR_OK) {
        saga_rpc_request_answer(request, saga_buf_view(&out));
    } else {
        saga_rpc_request_drop(request);
    }
    saga_buf_fini(&out);
}

/* Makes a batch of a request's bytes. On failure *status says why. */
static enum saga_err decode_batch(struct batch *batch, struct saga_status *status)
{
    enum saga_err err =
        saga_command_batch_decode(saga_rpc_request_bytes(batch->request), &batch->arena,
                                  &batch->commands, &batch->count, status);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    batch->slots = saga_arena_take(&batch->arena, batch->count * sizeof *batch->slots);
    if (batch->slots == NULL) {
        *status = saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
        return SAGA_ERR_NO_MEMORY;
    }
    memset(batch->slots, 0, batch->count * sizeof *batch->slots);
    for (size_t i = 0; i < batch->count; i++) {
        batch->slots[i].batch = batch;
        batch->slots[i].command = &batch->commands[i];
    }
    batch->open = batch->count;
    return SAGA_ERR_OK;
}

void admin_handle(void *user, struct saga_rpc_request *request)
{
    struct admin *admin = user;
    struct batch *batch = calloc(1, sizeof *batch);
    struct saga_status status =
        saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
    if (batch == NULL) {
        answer_status(request, &status, 1);
        return;
    }
    batch->input.kind = INPUT_BATCH;
    batch->request = request;
    if (decode_batch(batch, &status) != SAGA_ERR_OK) {
        answer_status(request, &status, 1);
        batch->count = 0;
        free_batch(batch);
        return;
    }
    size_t count = batch->count;
    enum saga_err err = saga_inbox_put(admin->config.inbox, &batch->input.entry, SAGA_INBOX_REFUSE);
    if (err != SAGA_ERR_OK) {
        status = err == SAGA_ERR_FULL
                     ? saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "INBOX_FULL",
                                        "the orchestrator is overloaded; try later")
                     : saga_status_make(SAGA_CODE_UNAVAILABLE, "STOPPING",
                                        "the orchestrator is stopping");
        answer_status(request, &status, count);
        free_batch(batch);
    }
}

static void bad_request(struct admin *admin, struct slot *slot)
{
    slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED",
              "payload: is not the method's request message");
}

static void take_start(struct admin *admin, struct slot *slot, struct saga_runtime *runtime)
{
    Saga__V1__StartSagaRequest *in = (Saga__V1__StartSagaRequest *)saga_message_decode(
        &saga__v1__start_saga_request__descriptor, slot->command->payload, &slot->batch->arena);
    if (in == NULL) {
        bad_request(admin, slot);
        return;
    }
    if (in->wait_ms < 0 || in->wait_ms > SAGA_WAIT_MS_MAX) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "BAD_WAIT", "wait_ms: from 0 to 60000");
        return;
    }
    slot->wait_ms = in->wait_ms;
    struct saga_start start = {
        .definition = in->definition,
        .key = in->key,
        .input = {in->input.data, in->input.len},
        .traceparent = slot->command->traceparent,
        .ticket = slot,
    };
    saga_runtime_start(runtime, &start);
}

static void take_operate(struct admin *admin, struct slot *slot, struct saga_runtime *runtime)
{
    Saga__V1__OperateSagaRequest *in = (Saga__V1__OperateSagaRequest *)saga_message_decode(
        &saga__v1__operate_saga_request__descriptor, slot->command->payload, &slot->batch->arena);
    if (in == NULL) {
        bad_request(admin, slot);
        return;
    }
    const char *wrong = NULL;
    if (in->saga_id.len != SAGA_ID_SIZE) {
        wrong = "saga_id: 16 bytes are required";
    } else if (in->act < SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY ||
               in->act > SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE) {
        wrong = "act: unknown";
    } else if (in->who[0] == '\0' || strlen(in->who) > SAGA_WHO_MAX) {
        wrong = "who: 1 to 63 bytes are required";
    } else if (in->why[0] == '\0' || strlen(in->why) > SAGA_WHY_MAX) {
        wrong = "why: 1 to 255 bytes are required";
    }
    if (wrong != NULL) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "BAD_ACT", wrong);
        return;
    }
    struct saga_operate operate = {.act = (enum saga_act)in->act,
                                   .step_name = in->step,
                                   .who = in->who,
                                   .why = in->why,
                                   .ticket = slot};
    memcpy(operate.saga_id.b, in->saga_id.data, SAGA_ID_SIZE);
    saga_runtime_operate(runtime, &operate);
}

static void take_slot(struct admin *admin, struct slot *slot, struct saga_runtime *runtime,
                      int64_t now_unix_ms)
{
    const struct saga_command *command = slot->command;
    if (command->deadline_unix_ms != 0 && command->deadline_unix_ms < now_unix_ms) {
        slot_fail(admin, slot, SAGA_CODE_DEADLINE_EXCEEDED, "PAST_DEADLINE",
                  "deadline_unix_ms: is over; nothing was done");
    } else if (command->op != SAGA_OP_NONE) {
        slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "NOT_A_PARTICIPANT",
                  "op: the orchestrator takes no step of a saga");
    } else if (strcmp(command->method, SERVICE "StartSaga") == 0) {
        take_start(admin, slot, runtime);
    } else if (strcmp(command->method, SERVICE "OperateSaga") == 0) {
        take_operate(admin, slot, runtime);
    } else if (admin_takes_pause(command->method)) {
        admin_take_pause(admin, slot, runtime);
    } else if (admin_takes_definition(command->method)) {
        admin_take_definition(admin, slot, runtime);
    } else {
        slot->next = admin->reads;
        admin->reads = slot;
    }
}

void admin_take(struct admin *admin, struct input *input, struct saga_runtime *runtime,
                int64_t now_unix_ms)
{
    struct batch *batch = (struct batch *)input;
    size_t count = batch->count; /* the batch is gone with its last slot */
    for (size_t i = 0; i < count; i++) {
        take_slot(admin, &batch->slots[i], runtime, now_unix_ms);
    }
}

/* ---- Who waits ---- */

static size_t bucket_of(struct saga_id id)
{
    return (size_t)(id.b[15] | (unsigned)id.b[14] << 8) % WAITER_BUCKETS;
}

/* Tells whether one more may wait. Each request that is kept takes a context of the server, and
 * some must be left for those who only ask. */
static bool may_wait(const struct admin *admin, const struct slot *slot)
{
    return admin->waiter_count < SAGA_WAITERS_MAX &&
           (slot->batch->waiting > 0 ||
            admin->waiting_batches < admin->config.waiting_requests_max);
}

static void keep_waiter(struct admin *admin, struct slot *slot, int64_t now_unix_ms)
{
    slot->wait_until_unix_ms = now_unix_ms + slot->wait_ms;
    if (admin->waiter_count == 0 || slot->wait_until_unix_ms < admin->first_until_unix_ms) {
        admin->first_until_unix_ms = slot->wait_until_unix_ms;
    }
    struct slot **bucket = &admin->waiters[bucket_of(slot->wait_id)];
    slot->next = *bucket;
    *bucket = slot;
    admin->waiter_count += 1;
    admin->waiting_batches += slot->batch->waiting == 0 ? 1 : 0;
    slot->batch->waiting += 1;
}

/* A slot was taken out of its bucket. */
static void forget_waiter(struct admin *admin, struct slot *slot)
{
    SAGA_ASSERT(admin->waiter_count > 0 && slot->batch->waiting > 0);
    admin->waiter_count -= 1;
    slot->batch->waiting -= 1;
    admin->waiting_batches -= slot->batch->waiting == 0 ? 1 : 0;
}

static void finish_start(struct admin *admin, struct slot *slot, struct saga_id id,
                         enum saga_state state)
{
    Saga__V1__StartSagaResponse out = SAGA__V1__START_SAGA_RESPONSE__INIT;
    struct saga_buf payload = {0};
    struct saga_status ok = saga_status_ok();
    out.saga_id = (ProtobufCBinaryData){SAGA_ID_SIZE, id.b};
    out.existing = slot->existing;
    out.state = (Saga__V1__SagaState)state;
    if (saga_message_encode(&out.base, &payload) == SAGA_ERR_OK) {
        slot_finish(admin, slot, &ok, saga_buf_view(&payload));
    } else {
        slot_fail(admin, slot, SAGA_CODE_INTERNAL, "NO_MEMORY", "out of memory");
    }
    saga_buf_fini(&payload);
}

static void finish_operate(struct admin *admin, struct slot *slot, enum saga_state state)
{
    Saga__V1__OperateSagaResponse out = SAGA__V1__OPERATE_SAGA_RESPONSE__INIT;
    struct saga_buf payload = {0};
    struct saga_status ok = saga_status_ok();
    out.state = (Saga__V1__SagaState)state;
    if (saga_message_encode(&out.base, &payload) == SAGA_ERR_OK) {
        slot_finish(admin, slot, &ok, saga_buf_view(&payload));
    } else {
        slot_fail(admin, slot, SAGA_CODE_INTERNAL, "NO_MEMORY", "out of memory");
    }
    saga_buf_fini(&payload);
}

static void client_answer(void *user, void *ticket, const struct saga_answer *answer)
{
    struct admin *admin = user;
    struct slot *slot = ticket;
    bool ended = answer->state == SAGA_STATE_COMPLETED || answer->state == SAGA_STATE_COMPENSATED;
    if (answer->code != SAGA_CODE_OK) {
        slot_fail(admin, slot, answer->code, answer->reason, answer->message);
    } else if (strcmp(slot->command->method, SERVICE "OperateSaga") == 0) {
        finish_operate(admin, slot, answer->state);
    } else if (admin_takes_pause(slot->command->method)) {
        admin_finish_pause(admin, slot, !answer->existing);
    } else if (admin_takes_definition(slot->command->method)) {
        admin_finish_definition(admin, slot, !answer->existing);
    } else {
        slot->existing = answer->existing;
        slot->wait_id = answer->id;
        if (slot->wait_ms > 0 && !ended && may_wait(admin, slot)) {
            keep_waiter(admin, slot, saga_clock_unix_ms());
        } else {
            finish_start(admin, slot, answer->id, answer->state);
        }
    }
}

/* Ends a wait: a start is answered, a watch becomes a read. */
static void end_wait(struct admin *admin, struct slot *slot, enum saga_state state)
{
    forget_waiter(admin, slot);
    slot->wait_ms = 0;
    if (slot->watch) {
        slot->next = admin->reads;
        admin->reads = slot;
    } else {
        finish_start(admin, slot, slot->wait_id, state);
    }
}

static void client_changed(void *user, struct saga_id id, enum saga_state state, uint64_t seq,
                           bool ended)
{
    struct admin *admin = user;
    if (admin->waiter_count == 0) {
        return;
    }
    struct slot **link = &admin->waiters[bucket_of(id)];
    while (*link != NULL) {
        struct slot *slot = *link;
        bool over =
            saga_id_equal(slot->wait_id, id) && (ended || (slot->watch && seq > slot->after_seq));
        if (over) {
            *link = slot->next;
            end_wait(admin, slot, state);
        } else {
            link = &slot->next;
        }
    }
}

struct saga_client_port admin_client_port(struct admin *admin)
{
    static const struct saga_client_ops ops = {.answer = client_answer, .changed = client_changed};
    return (struct saga_client_port){.ops = &ops, .client = admin};
}

/* Ends the waits whose time is over (all: whatever their time) and notes when the next is. */
static void end_old_waits(struct admin *admin, struct saga_runtime *runtime, int64_t now_unix_ms)
{
    admin->first_until_unix_ms = INT64_MAX;
    for (size_t i = 0; i < WAITER_BUCKETS; i++) {
        struct slot **link = &admin->waiters[i];
        while (*link != NULL) {
            struct slot *slot = *link;
            if (slot->wait_until_unix_ms <= now_unix_ms) {
                struct saga_look look;
                *link = slot->next;
                enum saga_err err = saga_runtime_look(runtime, slot->wait_id, &look, NULL);
                end_wait(admin, slot,
                         err == SAGA_ERR_OK ? (enum saga_state)look.saga.state : SAGA_STATE_NONE);
            } else {
                if (slot->wait_until_unix_ms < admin->first_until_unix_ms) {
                    admin->first_until_unix_ms = slot->wait_until_unix_ms;
                }
                link = &slot->next;
            }
        }
    }
}

static bool parse_watch(struct slot *slot)
{
    Saga__V1__WatchSagaRequest *in = (Saga__V1__WatchSagaRequest *)saga_message_decode(
        &saga__v1__watch_saga_request__descriptor, slot->command->payload, &slot->batch->arena);
    if (in == NULL || in->saga_id.len != SAGA_ID_SIZE || in->wait_ms < 0 ||
        in->wait_ms > SAGA_WAIT_MS_MAX) {
        return false;
    }
    memcpy(slot->wait_id.b, in->saga_id.data, SAGA_ID_SIZE);
    slot->after_seq = in->after_seq;
    slot->wait_ms = in->wait_ms;
    slot->watch = true;
    return true;
}

/* A watch waits if there is nothing new yet. Returns true when it was kept. */
static bool keep_watch(struct admin *admin, struct slot *slot, struct saga_runtime *runtime,
                       int64_t now_unix_ms)
{
    struct saga_look look;
    if (slot->wait_ms == 0 || !may_wait(admin, slot) ||
        saga_runtime_look(runtime, slot->wait_id, &look, NULL) != SAGA_ERR_OK ||
        look.saga.seq > slot->after_seq || saga_ended(&look.saga)) {
        return false;
    }
    keep_waiter(admin, slot, now_unix_ms);
    return true;
}

static void answer_reads(struct admin *admin, struct saga_runtime *runtime, int64_t now_unix_ms)
{
    struct slot *slot = admin->reads;
    admin->reads = NULL;
    while (slot != NULL) {
        struct slot *next = slot->next;
        bool first_look = strcmp(slot->command->method, SERVICE "WatchSaga") == 0 && !slot->watch;
        if (first_look && !parse_watch(slot)) {
            slot_fail(admin, slot, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED",
                      "payload: saga_id must have 16 bytes, wait_ms be from 0 to 60000");
        } else if (!first_look || !keep_watch(admin, slot, runtime, now_unix_ms)) {
            admin_read(admin, slot, runtime);
        }
        slot = next;
    }
}

void admin_after_turn(struct admin *admin, struct saga_runtime *runtime, int64_t now_unix_ms)
{
    if (admin->waiter_count > 0 && admin->first_until_unix_ms <= now_unix_ms) {
        end_old_waits(admin, runtime, now_unix_ms);
    }
    answer_reads(admin, runtime, now_unix_ms);
}

int64_t admin_next_due(const struct admin *admin)
{
    return admin->waiter_count == 0 ? 0 : admin->first_until_unix_ms;
}

void admin_dismiss(struct admin *admin)
{
    for (size_t i = 0; i < WAITER_BUCKETS; i++) {
        while (admin->waiters[i] != NULL) {
            struct slot *slot = admin->waiters[i];
            admin->waiters[i] = slot->next;
            forget_waiter(admin, slot);
            slot_fail(admin, slot, SAGA_CODE_UNAVAILABLE, "STOPPING",
                      "the orchestrator is stopping");
        }
    }
    while (admin->reads != NULL) {
        struct slot *slot = admin->reads;
        admin->reads = slot->next;
        slot_fail(admin, slot, SAGA_CODE_UNAVAILABLE, "STOPPING", "the orchestrator is stopping");
    }
}
