/* One command: method, deadline, payload, barrier, handler, reply. Thread: the worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "generated/descriptor_set.h"
#include "services/kit/room.h"

/* ---- Methods ---- */

static int method_order(const void *a, const void *b)
{
    const struct saga_kit_method *left = a;
    const struct saga_kit_method *right = b;
    return strcmp(left->full_name, right->full_name);
}

const struct saga_kit_method *saga_kit_method_find(const struct saga_kit *kit,
                                                   const char *full_name)
{
    struct saga_kit_method key = {.full_name = full_name};
    return bsearch(&key, kit->methods, kit->method_count, sizeof *kit->methods, method_order);
}

static bool in_list(const char *const *list, const char *name)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        if (strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* A handler that was left out would be called at address 0. */
static bool has_handler(const ProtobufCService *service, unsigned index)
{
    void (*handler)(void);
    memcpy(&handler, (const char *)(service + 1) + index * sizeof handler, sizeof handler);
    return handler != NULL;
}

static enum saga_err add_service(struct saga_kit *kit, ProtobufCService *service, bool builtin,
                                 struct saga_err_detail *detail)
{
    for (unsigned i = 0; i < service->descriptor->n_methods; i++) {
        const ProtobufCMethodDescriptor *descriptor = &service->descriptor->methods[i];
        char name[SAGA_METHOD_NAME_MAX + 1];
        (void)snprintf(name, sizeof name, "%s/%s", service->descriptor->name, descriptor->name);
        const struct saga_method *method = saga_schema_method(kit->schema, name);
        if (method == NULL) {
            return saga_err_set(detail, SAGA_ERR_INVALID, "%s is not in the embedded schema%s",
                                name,
                                builtin ? ": compile saga/v1/health.proto and "
                                          "saga/v1/reflection.proto into the descriptor set"
                                        : "");
        }
        if (!has_handler(service, i)) {
            return saga_err_set(detail, SAGA_ERR_INVALID, "%s has no handler", name);
        }
        kit->methods[kit->method_count++] = (struct saga_kit_method){
            .full_name = method->full_name,
            .service = service,
            .index = i,
            .input = descriptor->input,
            .type = method->request,
            .read_only = method->no_side_effects || builtin,
            .builtin = builtin,
            .starter_undo = !builtin && in_list(kit->app->starter_undos, method->full_name),
        };
    }
    return SAGA_ERR_OK;
}

struct saga_bytes saga_kit_descriptor_set(const struct saga_kit *kit)
{
    return kit->app->descriptor_set.size > 0
               ? kit->app->descriptor_set
               : (struct saga_bytes){.data = saga_descriptor_set, .size = saga_descriptor_set_size};
}

enum saga_err saga_kit_methods_load(struct saga_kit *kit, struct saga_err_detail *detail)
{
    enum saga_err err = saga_schema_load(saga_kit_descriptor_set(kit), &kit->schema, detail);
    if (err != SAGA_ERR_OK) {
        return saga_err_wrap(detail, err, "embedded schema");
    }
    ProtobufCService *own = kit->app->service;
    kit->service_name = own->descriptor->name;
    const struct saga_service *service = saga_schema_service(kit->schema, kit->service_name);
    if (service == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s is not in the embedded schema",
                            kit->service_name);
    }
    kit->command_topic = service->command_topic;
    kit->reply_topic = service->reply_topic;
    size_t count = own->descriptor->n_methods;
    for (size_t i = 0; i < saga_kit_builtin_count; i++) {
        count += saga_kit_builtins[i]->descriptor->n_methods;
    }
    kit->methods = calloc(count, sizeof *kit->methods);
    if (kit->methods == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "method table");
    }
    err = add_service(kit, own, false, detail);
    for (size_t i = 0; i < saga_kit_builtin_count && err == SAGA_ERR_OK; i++) {
        err = add_service(kit, saga_kit_builtins[i], true, detail);
    }
    qsort(kit->methods, kit->method_count, sizeof *kit->methods, method_order);
    return err;
}

/* ---- Replies ---- */

struct saga_reply saga_kit_reply_to(const struct saga_command *command, struct saga_status status)
{
    return (struct saga_reply){
        .saga_id = command->saga_id,
        .step = command->step,
        .op = command->op,
        .attempt = command->attempt,
        .status = status,
    };
}

enum saga_err saga_kit_reply_add(const struct saga_reply *reply, bool read_only,
                                 struct saga_buf *out)
{
    /* Room for the short replies of the rest of the batch. */
    const size_t size_max = SAGA_MESSAGE_SIZE_MAX - SAGA_BATCH_COUNT_MAX * 256;
    _Static_assert(SAGA_BATCH_COUNT_MAX * 256 < SAGA_MESSAGE_SIZE_MAX / 2, "short replies fit");
    if (out->size + saga_reply_size_bound(reply) <= size_max) {
        enum saga_err err = saga_reply_batch_add(reply, out);
        if (err == SAGA_ERR_OK || err == SAGA_ERR_NO_MEMORY) {
            return err;
        }
    }
    /* What was done is done and stored: asked again with the same key, the reply comes in a message
     * of its own. */
    struct saga_reply cut = *reply;
    cut.payload = (struct saga_bytes){0};
    cut.status = read_only ? saga_status_make(SAGA_CODE_RESOURCE_EXHAUSTED, "REPLY_TOO_LARGE",
                                              "ask for less, or in smaller batches")
                           : saga_status_make(SAGA_CODE_UNKNOWN, "REPLY_TOO_LARGE",
                                              "the replies of the batch do not fit; ask again");
    return saga_reply_batch_add(&cut, out);
}

/* ---- Running ---- */

static const char *turn_text(struct saga_kit_turn *turn, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = saga_arena_take(&turn->arena, size);
    return copy == NULL ? "" : memcpy(copy, text, size);
}

static struct saga_status turn_status(struct saga_kit_turn *turn, enum saga_code code,
                                      const char *reason, const char *message)
{
    return saga_status_make(code, reason, turn_text(turn, message));
}

/* Checks and decodes a payload; NULL: call is refused. */
static ProtobufCMessage *decode(struct saga_kit *kit, const struct saga_kit_method *method,
                                struct saga_call *call)
{
    struct saga_err_detail detail = {{0}};
    enum saga_err err = saga_message_check(method->type, call->command->payload, &detail);
    ProtobufCMessage *message = NULL;
    if (err == SAGA_ERR_OK) {
        message = saga_message_decode(method->input, call->command->payload, &kit->turn.arena);
    }
    if (message == NULL) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED_PAYLOAD",
                         "payload is not a %s: %s", method->input->name,
                         detail.text[0] == '\0' ? "malformed" : detail.text);
    }
    return message;
}

/* Runs the handler. Pre: a savepoint is open, unless the method is read-only. */
static void invoke(const struct saga_kit_method *method, ProtobufCMessage *message,
                   struct saga_call *call)
{
    method->service->invoke(method->service, method->index, message, saga_kit_call_answer, call);
    if (!call->answered && !call->refused && call->err == SAGA_ERR_OK) {
        saga_call_refuse(call, SAGA_CODE_INTERNAL, "NO_ANSWER", "%s gave no answer",
                         method->full_name);
    }
    size_t size_max =
        call->command->op == SAGA_OP_NONE ? SAGA_MESSAGE_SIZE_MAX / 2 : SAGA_PAYLOAD_SIZE_MAX;
    if (call->answered && !call->refused && call->kit->turn.scratch.size > size_max) {
        saga_call_refuse(call, SAGA_CODE_INTERNAL, "RESPONSE_TOO_LARGE",
                         "%s: the response has %zu bytes, limit %zu", method->full_name,
                         call->kit->turn.scratch.size, size_max);
    }
}

/* Fills a reply from a call that has ended. */
static void reply_from(struct saga_kit *kit, const struct saga_call *call, struct saga_reply *reply)
{
    if (call->refused) {
        reply->status = call->status;
        reply->status.message = turn_text(&kit->turn, call->status.message);
        reply->status.reason = turn_text(&kit->turn, call->status.reason);
    } else {
        reply->status = saga_status_ok();
        reply->payload = saga_buf_view(&kit->turn.scratch);
    }
}

/* Runs the handler with no effect possible. */
static enum saga_err run_read_only(struct saga_kit *kit, const struct saga_kit_method *method,
                                   struct saga_call *call, struct saga_reply *reply,
                                   struct saga_err_detail *detail)
{
    ProtobufCMessage *message = decode(kit, method, call);
    if (message != NULL) {
        invoke(method, message, call);
    }
    enum saga_err err = saga_kit_call_end(call, detail);
    if (err == SAGA_ERR_OK) {
        saga_kit_call_keep(call);
        reply_from(kit, call, reply);
    }
    return err;
}

/* Runs the handler in a savepoint: its effect stays or goes as one. */
static enum saga_err run_in_savepoint(struct saga_kit *kit, const struct saga_kit_method *method,
                                      ProtobufCMessage *message, struct saga_call *call,
                                      struct saga_reply *reply, struct saga_err_detail *detail)
{
    enum saga_err err = saga_sql_savepoint(kit->sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (message != NULL) {
        invoke(method, message, call);
    }
    err = saga_kit_call_end(call, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = call->refused && !SAGA_BROKEN(B6_EFFECT_STAYS) ? saga_sql_rollback_to(kit->sql, detail)
                                                         : saga_sql_release(kit->sql, detail);
    if (err == SAGA_ERR_OK && !call->refused) {
        kit->turn.wrote = true;
        saga_kit_call_keep(call);
    }
    reply_from(kit, call, reply);
    return err;
}

/* A command of a saga: through the barrier. */
static enum saga_err run_guarded(struct saga_kit *kit, const struct saga_kit_method *method,
                                 struct saga_call *call, struct saga_reply *reply, bool *stored,
                                 struct saga_err_detail *detail)
{
    const struct saga_command *command = call->command;
    struct saga_kit_turn *turn = &kit->turn;
    ProtobufCMessage *message = decode(kit, method, call);
    if (message == NULL && command->op == SAGA_OP_UNDO) {
        reply_from(kit, call, reply); /* an undo that cannot be understood forbids nothing */
        return SAGA_ERR_OK;
    }
    struct saga_barrier_pass pass;
    enum saga_err err = saga_barrier_enter(kit->barrier, command, method->starter_undo,
                                           &turn->arena, &pass, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    turn->wrote = turn->wrote || pass.wrote;
    switch (pass.verdict) {
    case SAGA_BARRIER_REPLAY:
        atomic_fetch_add_explicit(&kit->counters.replays, 1, memory_order_relaxed);
        reply->status = pass.status;
        reply->payload = pass.payload;
        reply->empty = pass.empty;
        reply->replayed = true;
        return SAGA_ERR_OK;
    case SAGA_BARRIER_REFUSE:
        reply->status = pass.status;
        return SAGA_ERR_OK;
    case SAGA_BARRIER_EMPTY:
        reply->status = saga_status_ok();
        reply->empty = true;
        if (SAGA_BROKEN(B2_FORGOTTEN)) {
            return SAGA_ERR_OK;
        }
        break;
    case SAGA_BARRIER_RUN:
        err = run_in_savepoint(kit, method, message, call, reply, detail);
        break;
    }
    if (err != SAGA_ERR_OK || !saga_barrier_keeps(command->op, reply->status.code) ||
        SAGA_BROKEN(S13_NO_ROW)) {
        return err;
    }
    *stored = true;
    turn->wrote = true;
    turn->stored = true;
    struct saga_barrier_row row = {
        .command = command,
        .reply = reply,
        .digest = {.data = pass.digest, .size = sizeof pass.digest},
        .via = call->via,
        .now_unix_ms = turn->now_unix_ms,
    };
    return saga_barrier_store(kit->barrier, &row, detail);
}

enum saga_err saga_kit_dispatch(struct saga_kit *kit, const struct saga_command *command,
                                enum saga_via via, struct saga_reply *reply, bool *stored,
                                struct saga_err_detail *detail)
{
    struct saga_kit_turn *turn = &kit->turn;
    *stored = false;
    *reply = saga_kit_reply_to(command, saga_status_ok());
    turn->command_count++;
    const struct saga_kit_method *method = saga_kit_method_find(kit, command->method);
    if (method == NULL) {
        reply->status =
            turn_status(turn, SAGA_CODE_UNIMPLEMENTED, "METHOD_UNKNOWN", command->method);
        return SAGA_ERR_OK;
    }
    if (!method->builtin && atomic_load(&kit->failed)) {
        reply->status = turn_status(turn, SAGA_CODE_UNAVAILABLE, "STORE_FAILED", kit->failure.text);
        return SAGA_ERR_OK;
    }
    if (command->deadline_unix_ms != 0 && command->deadline_unix_ms < turn->now_unix_ms) {
        reply->status = saga_status_make(SAGA_CODE_DEADLINE_EXCEEDED, "DEADLINE_PAST",
                                         "the deadline was past before it was begun");
        return SAGA_ERR_OK;
    }
    struct saga_call call;
    saga_kit_call_begin(kit, command, method->read_only, &call);
    call.via = via;
    if (method->read_only) {
        return run_read_only(kit, method, &call, reply, detail);
    }
    if (command->op != SAGA_OP_NONE) {
        return run_guarded(kit, method, &call, reply, stored, detail);
    }
    ProtobufCMessage *message = decode(kit, method, &call);
    return run_in_savepoint(kit, method, message, &call, reply, detail);
}

/* ---- Jobs ---- */

enum saga_err saga_kit_dispatch_job(struct saga_kit *kit, struct saga_kit_entry *entry,
                                    struct saga_err_detail *detail)
{
    static const struct saga_command nothing = {
        .step = "", .method = "job", .traceparent = "", .cause_step = ""};
    struct saga_kit_turn *turn = &kit->turn;
    turn->command_count++;
    if (atomic_load(&kit->failed)) {
        entry->status = turn_status(turn, SAGA_CODE_UNAVAILABLE, "STORE_FAILED", kit->failure.text);
        return SAGA_ERR_OK;
    }
    struct saga_call call;
    saga_kit_call_begin(kit, &nothing, false, &call);
    enum saga_err err = saga_sql_savepoint(kit->sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    entry->job->run(entry->job, &call);
    err = saga_kit_call_end(&call, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct saga_reply reply = {0};
    reply_from(kit, &call, &reply);
    entry->status = reply.status;
    err =
        call.refused ? saga_sql_rollback_to(kit->sql, detail) : saga_sql_release(kit->sql, detail);
    if (err == SAGA_ERR_OK && !call.refused) {
        turn->wrote = true;
        saga_kit_call_keep(&call);
    }
    return err;
}
