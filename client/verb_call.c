/* sagactl call: any method of any daemon, with JSON in and out. */
#include "client/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/address.h"
#include "client/sagas.h"
#include "common/sys/clock.h"
#include "common/wire/json/json.h"

static const struct saga_option call_options[] = {
    {"data", "JSON|@FILE|@-", "{}",
     "the request as JSON; several values one after the other make a batch; short -d", false},
    {"header", "KEY: VALUE", NULL, "metadata of the request; short -H", true},
    {"deadline", "TIME", NULL, "the daemon must not begin after this time; default: --timeout",
     false},
    {"saga", "ID", NULL, "send it as a command of this saga", false},
    {"step", "STEP", NULL, "with --saga: the step", false},
    {"op", "call|undo", "call", "with --saga: which command of the step", false},
    {"attempt", "N", "1", "with --saga: number of the attempt", false},
    {"verbose", NULL, "false", "print the envelope too; short -v", false},
    {"descriptor-set", "FILE", NULL,
     "take the schema from this FileDescriptorSet instead of asking the daemon", false},
};

enum { CALL_HEADERS_MAX = 32 };

struct call {
    struct saga_conn *conn;
    struct saga_schema *own_schema; /* from --descriptor-set */
    const struct saga_schema *schema;
    const struct saga_method *method;
    struct saga_command command; /* all but its payload */
    struct saga_metadata metadata[CALL_HEADERS_MAX];
    char *header_space[CALL_HEADERS_MAX];
    int64_t timeout_ms;
    bool verbose;
    /* The present batch. */
    struct saga_buf payloads[SAGA_BATCH_COUNT_MAX];
    size_t count;
    size_t size;
    int status; /* of the first command that was refused */
};

/* ---- Settings ---- */

static int call_headers(const struct saga_options *options, struct call *call)
{
    size_t count = saga_options_count(options, "header");
    if (count > CALL_HEADERS_MAX) {
        return saga_client_usage("more than %d headers", CALL_HEADERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const char *given = saga_options_at(options, "header", i);
        const char *colon = strchr(given, ':');
        if (colon == NULL || colon == given) {
            return saga_client_usage("--header %s: it must be KEY: VALUE", given);
        }
        char *copy = strdup(given);
        if (copy == NULL) {
            return saga_client_fail("out of memory");
        }
        call->header_space[i] = copy;
        copy[colon - given] = 0;
        for (char *at = copy; *at != 0; at++) {
            *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
        }
        const char *value = copy + (colon - given) + 1;
        call->metadata[i] = (struct saga_metadata){copy, value + strspn(value, " ")};
    }
    call->command.metadata = call->metadata;
    call->command.metadata_count = count;
    return SAGA_EXIT_OK;
}

static int call_saga(const struct saga_options *options, struct call *call)
{
    const char *saga = saga_options_text(options, "saga");
    const char *step = saga_options_text(options, "step");
    const char *op = saga_options_text(options, "op");
    int64_t attempt = 1;
    if (saga_client_int(options, "attempt", 1, UINT32_MAX, &attempt) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    call->command.attempt = (uint32_t)attempt;
    if (saga == NULL) {
        return step == NULL ? SAGA_EXIT_OK : saga_client_usage("--step needs --saga ID");
    }
    if (saga_id_parse(saga, &call->command.saga_id) != SAGA_ERR_OK) {
        return saga_client_usage("--saga %s: it is no saga id", saga);
    }
    if (step == NULL) {
        return saga_client_usage("--saga needs --step STEP");
    }
    bool undo = strcasecmp(op, "undo") == 0;
    if (!undo && strcasecmp(op, "call") != 0) {
        return saga_client_usage("--op %s: it must be call or undo", op);
    }
    call->command.step = step;
    call->command.op = undo ? SAGA_OP_UNDO : SAGA_OP_CALL;
    return SAGA_EXIT_OK;
}

static int call_method(const struct saga_options *options, struct call *call)
{
    const char *name = saga_options_operand(options, 1);
    const char *path = saga_options_text(options, "descriptor-set");
    if (path != NULL) {
        int status = saga_schema_open(path, &call->own_schema);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
        call->schema = call->own_schema;
    } else {
        call->schema = saga_conn_schema(call->conn);
    }
    if (call->schema == NULL) {
        return SAGA_EXIT_FAILED;
    }
    call->method = saga_schema_method(call->schema, name);
    if (call->method == NULL) {
        return saga_client_fail(
            "%s: there is no such method in the schema; `sagactl list-services %s` lists them",
            name, saga_options_operand(options, 0));
    }
    call->command.method = call->method->full_name;
    return SAGA_EXIT_OK;
}

/* ---- One batch ---- */

static void call_print_envelope(const struct saga_reply *reply, int64_t took_us)
{
    fprintf(stderr, "# status %s", saga_code_name(reply->status.code));
    if (reply->status.reason[0] != 0) {
        fprintf(stderr, " reason %s", reply->status.reason);
    }
    fprintf(stderr, " attempt %" PRIu32 "%s%s payload %zu bytes in %.3f ms\n", reply->attempt,
            reply->replayed ? " replayed" : "", reply->empty ? " empty" : "", reply->payload.size,
            (double)took_us / 1000);
}

static int call_print_reply(const struct call *call, const struct saga_reply *reply)
{
    struct saga_json_options style = {.proto_names = true, .print_defaults = true, .indent = 2};
    struct saga_err_detail detail = {{0}};
    struct saga_buf text = {0};
    if (reply->status.code != SAGA_CODE_OK) {
        return saga_conn_status(call->method->full_name, &reply->status);
    }
    enum saga_err err = saga_wire_to_json(call->schema, call->method->response, reply->payload,
                                          &style, &text, &detail);
    if (err == SAGA_ERR_OK) {
        fwrite(text.data, 1, text.size, stdout);
        putchar('\n');
    }
    saga_buf_fini(&text);
    return err == SAGA_ERR_OK
               ? SAGA_EXIT_OK
               : saga_client_fail("%s: %s", call->method->response->name, detail.text);
}

/* Sends what has gathered. A refusal of one command does not stop the others. */
static int call_flush(struct call *call)
{
    struct saga_command commands[SAGA_BATCH_COUNT_MAX];
    const struct saga_reply *replies = NULL;
    if (call->count == 0) {
        return SAGA_EXIT_OK;
    }
    for (size_t i = 0; i < call->count; i++) {
        commands[i] = call->command;
        commands[i].payload = saga_buf_view(&call->payloads[i]);
    }
    int64_t begun_us = saga_clock_mono_us();
    int status = saga_conn_send(call->conn, commands, call->count, call->timeout_ms, &replies);
    int64_t took_us = saga_clock_mono_us() - begun_us;
    for (size_t i = 0; status == SAGA_EXIT_OK && i < call->count; i++) {
        if (call->verbose) {
            call_print_envelope(&replies[i], took_us);
        }
        int refused = call_print_reply(call, &replies[i]);
        call->status = call->status == SAGA_EXIT_OK ? refused : call->status;
    }
    for (size_t i = 0; i < call->count; i++) {
        saga_buf_clear(&call->payloads[i]);
    }
    call->count = 0;
    call->size = 0;
    return status;
}

static int call_add(struct call *call, const json_t *value)
{
    struct saga_err_detail detail = {{0}};
    struct saga_json_options style = {0};
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        return saga_client_fail("out of memory");
    }
    struct saga_buf *payload = &call->payloads[call->count];
    enum saga_err err = saga_json_to_wire(call->schema, call->method->request,
                                          saga_bytes_text(text), &style, payload, &detail);
    free(text);
    if (err != SAGA_ERR_OK) {
        return saga_client_usage_at(call->method->request->name, detail.text);
    }
    call->size += payload->size + 512;
    call->count++;
    bool full = call->count == SAGA_BATCH_COUNT_MAX || call->size > SAGA_MESSAGE_SIZE_MAX / 2;
    return full ? call_flush(call) : SAGA_EXIT_OK;
}

/* Reads JSON values one after the other. */
static int call_values(struct call *call, const struct saga_buf *data)
{
    const char *at = (const char *)data->data;
    size_t left = data->size;
    int status = SAGA_EXIT_OK;
    for (;;) {
        while (left > 0 && strchr(" \t\r\n", *at) != NULL && *at != 0) {
            at++;
            left--;
        }
        if (left == 0 || status != SAGA_EXIT_OK) {
            break;
        }
        json_error_t error;
        json_t *value =
            json_loadb(at, left, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
        if (value == NULL) {
            return saga_client_fail("the data, line %d column %d: %s", error.line, error.column,
                                    error.text);
        }
        status = call_add(call, value);
        json_decref(value);
        at += error.position;
        left -= (size_t)error.position;
    }
    return status != SAGA_EXIT_OK ? status : call_flush(call);
}

static int call_prepare(const struct saga_options *options, struct call *call)
{
    int64_t deadline_ms = 0;
    if (saga_client_duration(options, "timeout", 5000, &call->timeout_ms) != SAGA_EXIT_OK ||
        saga_client_duration(options, "deadline", call->timeout_ms, &deadline_ms) != SAGA_EXIT_OK ||
        call_headers(options, call) != SAGA_EXIT_OK || call_saga(options, call) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    call->verbose = saga_options_on(options, "verbose");
    call->command.deadline_unix_ms = saga_clock_unix_ms() + deadline_ms;
    int status = saga_address_open(options, saga_options_operand(options, 0), &call->conn);
    return status != SAGA_EXIT_OK ? status : call_method(options, call);
}

static int call_run(const struct saga_options *options)
{
    if (saga_client_operands(options, 2, 2, "ADDRESS and package.Service/Method") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    struct call *call = calloc(1, sizeof *call);
    struct saga_buf data = {0};
    if (call == NULL) {
        return saga_client_fail("out of memory");
    }
    call->command.step = "";
    call->command.traceparent = "";
    call->command.cause_step = "";
    call->command.cause_status = saga_status_ok();
    int status = call_prepare(options, call);
    if (status == SAGA_EXIT_OK) {
        status = saga_client_data(saga_options_text(options, "data"), &data);
    }
    if (status == SAGA_EXIT_OK) {
        status = call_values(call, &data);
    }
    status = status != SAGA_EXIT_OK ? status : call->status;
    saga_buf_fini(&data);
    for (size_t i = 0; i < SAGA_BATCH_COUNT_MAX; i++) {
        saga_buf_fini(&call->payloads[i]);
    }
    for (size_t i = 0; i < CALL_HEADERS_MAX; i++) {
        free(call->header_space[i]);
    }
    saga_conn_close(call->conn);
    saga_schema_free(call->own_schema);
    free(call);
    return status;
}

const struct saga_verb saga_verb_call = {
    .name = "call",
    .usage = "ADDRESS package.Service/Method [-d JSON|@FILE|@-] [-H 'KEY: VALUE']… [-v]",
    .summary = "call any method of a daemon with JSON",
    .epilog =
        "ADDRESS is an NNG URL, or the name of a daemon of endpoints.json (sagad, orderd, …).\n\n"
        "Examples:\n"
        "  sagactl call customerd customer.v1.CustomerService/ValidateCustomer -d "
        "'{\"customer_id\":1}'\n"
        "  sagactl describe orderd order.v1.OrderService/PlaceOrder --template\n\n"
        "Exit status: 64 + N when the daemon answered with gRPC status N (a batch: the first that "
        "was not OK).",
    .options = call_options,
    .option_count = sizeof call_options / sizeof call_options[0],
    .shorts = "d=data H=header v=verbose o=output",
    .run = call_run,
};
