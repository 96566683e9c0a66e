/* sagactl call: any method of any daemon, with JSON in and out. */
#include "client/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/address.h"
#include "client/call_data.h"
#include "client/proto_file.h"
#include "client/sagas.h"
#include "client/symbols.h"
#include "common/sys/clock.h"
#include "common/wire/json/json.h"
#include "common/wire/wire.h"

/* SAGA_BATCH_COUNT_MAX, as text. */
#define SAGA_CALL_BATCH_TEXT "256"
_Static_assert(SAGA_BATCH_COUNT_MAX == 256, "SAGA_CALL_BATCH_TEXT says the same");

static const struct saga_option call_options[] = {
    {"data", "JSON|@FILE|@", "{}",
     "the request as JSON; @ (or @-): from stdin; several values one after the other are sent in "
     "batches; short -d",
     false},
    {"header", "KEY: VALUE", NULL, "metadata of the request; short -H", true},
    {"deadline", "TIME", NULL, "the daemon must not begin after this time; default: --timeout",
     false},
    {"max-time", "TIME", NULL, "give up when everything together takes longer; default: never",
     false},
    {"batch", "N", SAGA_CALL_BATCH_TEXT,
     "most values that are sent together; fewer where answers are large", false},
    {"saga", "ID", NULL,
     "play the orchestrator: send it as a command of this saga; not on a running system, see below",
     false},
    {"step", "STEP", NULL, "with --saga: the step", false},
    {"op", "call|undo", "call", "with --saga: which command of the step", false},
    {"attempt", "N", "1", "with --saga: number of the attempt", false},
    {"epoch", "N", "0", "with --saga: the orchestrator's fencing epoch", false},
    {"cause", "STEP:STATUS[:REASON]", NULL,
     "with --op undo: which step turned the saga back, and how (stock:FAILED_PRECONDITION:EMPTY)",
     false},
    {"traceparent", "TEXT", NULL, "W3C trace context", false},
    {"verbose", NULL, "false", "print the envelopes too, on stderr; short -v", false},
    {"descriptor-set", "FILE", NULL,
     "take the schema from this descriptor set or .proto instead of asking the daemon", false},
    SAGA_PROTO_PATH_OPTION,
};

enum { CALL_HEADERS_MAX = SAGA_METADATA_COUNT_MAX };

struct call {
    struct saga_conn *conn;
    struct saga_schema *own_schema; /* from --descriptor-set */
    const struct saga_schema *schema;
    const struct saga_method *method;
    struct saga_command command; /* all but its payload and its deadline */
    struct saga_metadata metadata[CALL_HEADERS_MAX];
    char *header_space[CALL_HEADERS_MAX];
    char cause_space[SAGA_STEP_NAME_MAX + 64 + SAGA_STATUS_REASON_MAX];
    size_t batch_max; /* of --batch */
    int64_t timeout_ms;
    int64_t deadline_ms;
    int64_t end_us; /* of --max-time; 0: none */
    bool verbose;
    bool json; /* failures too are JSON on stdout */
    /* The present batch. */
    struct saga_buf payloads[SAGA_BATCH_COUNT_MAX];
    size_t lines[SAGA_BATCH_COUNT_MAX]; /* where each value began in the data */
    size_t count;
    size_t size;
    size_t sent;  /* before this batch */
    bool several; /* there is more than one value */
    int status;   /* of the first command that was refused */
};

/* ---- Settings ---- */

/* Gives the text without blanks around it; they are cut off. */
static char *call_trim(char *text)
{
    text += strspn(text, " \t");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t", text[size - 1]) != NULL) {
        text[--size] = 0;
    }
    return text;
}

/* Checks one header, "KEY: VALUE"; copy is cut into both. */
static int call_header(const char *given, char *copy, struct saga_metadata *metadata)
{
    char *colon = strchr(copy, ':');
    if (colon != NULL) {
        *colon = 0;
    }
    char *key = call_trim(copy);
    if (colon == NULL || key[0] == 0) {
        return saga_client_usage("--header %s: it must be KEY: VALUE", given);
    }
    for (char *at = key; *at != 0; at++) {
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
    }
    const char *value = call_trim(colon + 1);
    size_t key_size = strlen(key);
    if (strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != key_size) {
        return saga_client_usage("--header %s: a key has letters, digits, '-', '_' and '.' only",
                                 given);
    }
    if (key_size > SAGA_METADATA_KEY_MAX || strlen(value) > SAGA_METADATA_VALUE_MAX) {
        return saga_client_usage("--header %.80s: a key has at most %d bytes, a value %d", given,
                                 SAGA_METADATA_KEY_MAX, SAGA_METADATA_VALUE_MAX);
    }
    for (const char *at = value; *at != 0; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7F) {
            return saga_client_usage("--header %s: its value has a control character (byte %d); "
                                     "write bytes as base64",
                                     key, (unsigned char)*at);
        }
    }
    if (!saga_wire_utf8(saga_bytes_text(value))) {
        return saga_client_usage("--header %s: its value is not UTF-8; write bytes as base64", key);
    }
    *metadata = (struct saga_metadata){key, value};
    return SAGA_EXIT_OK;
}

static int call_headers(const struct saga_options *options, struct call *call)
{
    size_t count = saga_options_count(options, "header");
    if (count > CALL_HEADERS_MAX) {
        return saga_client_usage("more than %d headers", CALL_HEADERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const char *given = saga_options_at(options, "header", i);
        call->header_space[i] = strdup(given);
        if (call->header_space[i] == NULL) {
            return saga_client_fail("out of memory");
        }
        int status = call_header(given, call->header_space[i], &call->metadata[i]);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
    }
    call->command.metadata = call->metadata;
    call->command.metadata_count = count;
    return SAGA_EXIT_OK;
}

/* Reads STEP:STATUS[:REASON]; the step may be empty: no step did it. */
static int call_cause(const char *given, struct call *call)
{
    if (given == NULL) {
        return SAGA_EXIT_OK;
    }
    char *step = call->cause_space;
    uint32_t code = 0;
    bool fits = strlen(given) < sizeof call->cause_space;
    (void)snprintf(step, sizeof call->cause_space, "%s", given);
    char *name = strchr(step, ':');
    if (name != NULL) {
        *name++ = 0;
    }
    char *reason = name == NULL ? NULL : strchr(name, ':');
    if (reason != NULL) {
        *reason++ = 0;
    }
    if (!fits || name == NULL || !saga_code_find(name, &code) || code == SAGA_CODE_OK ||
        strlen(step) > SAGA_STEP_NAME_MAX) {
        return saga_client_usage("--cause %s: it must be STEP:STATUS or STEP:STATUS:REASON, for "
                                 "example stock:FAILED_PRECONDITION:OUT_OF_STOCK",
                                 given);
    }
    call->command.cause_step = step;
    call->command.cause_status =
        saga_status_make((enum saga_code)code, reason == NULL ? "" : reason, "");
    return SAGA_EXIT_OK;
}

static int call_saga(const struct saga_options *options, struct call *call)
{
    static const char *const needy[] = {"step", "cause"};
    const char *saga = saga_options_text(options, "saga");
    const char *step = saga_options_text(options, "step");
    const char *op = saga_options_text(options, "op");
    int64_t attempt = 1;
    int64_t epoch = 0;
    if (saga_client_int(options, "attempt", 1, UINT32_MAX, &attempt) != SAGA_EXIT_OK ||
        saga_client_int(options, "epoch", 0, INT64_MAX, &epoch) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    call->command.attempt = (uint32_t)attempt;
    call->command.epoch = (uint64_t)epoch;
    bool undo = strcasecmp(op, "undo") == 0;
    if (!undo && strcasecmp(op, "call") != 0) {
        return saga_client_usage("--op %s: it must be call or undo", op);
    }
    for (size_t i = 0; saga == NULL && i < sizeof needy / sizeof needy[0]; i++) {
        if (saga_options_text(options, needy[i]) != NULL) {
            return saga_client_usage("--%s needs --saga ID", needy[i]);
        }
    }
    if (saga == NULL) {
        return undo ? saga_client_usage("--op undo needs --saga ID and --step STEP") : SAGA_EXIT_OK;
    }
    if (saga_id_parse(saga, &call->command.saga_id) != SAGA_ERR_OK) {
        return saga_client_usage("--saga %s: it is no saga id", saga);
    }
    if (step == NULL || strlen(step) > SAGA_STEP_NAME_MAX) {
        return saga_client_usage("--saga needs --step STEP, at most %d bytes", SAGA_STEP_NAME_MAX);
    }
    if (!undo && saga_options_text(options, "cause") != NULL) {
        return saga_client_usage("--cause needs --op undo");
    }
    call->command.step = step;
    call->command.op = undo ? SAGA_OP_UNDO : SAGA_OP_CALL;
    return call_cause(saga_options_text(options, "cause"), call);
}

static int call_times(const struct saga_options *options, struct call *call)
{
    int64_t max_ms = 0;
    if (saga_client_duration(options, "timeout", 5000, &call->timeout_ms) != SAGA_EXIT_OK ||
        saga_client_duration(options, "deadline", call->timeout_ms, &call->deadline_ms) !=
            SAGA_EXIT_OK ||
        saga_client_duration(options, "max-time", 0, &max_ms) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    if (saga_options_text(options, "max-time") != NULL) {
        call->end_us = saga_clock_mono_us() + max_ms * 1000;
    }
    int64_t batch = 0;
    if (saga_client_int(options, "batch", 1, SAGA_BATCH_COUNT_MAX, &batch) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    call->batch_max = (size_t)batch;
    const char *trace = saga_options_text(options, "traceparent");
    call->command.traceparent = trace == NULL ? "" : trace;
    return strlen(call->command.traceparent) <= SAGA_TRACEPARENT_MAX
               ? SAGA_EXIT_OK
               : saga_client_usage("--traceparent: more than %d bytes", SAGA_TRACEPARENT_MAX);
}

static int call_method(const struct saga_options *options, struct call *call)
{
    const char *address = saga_options_operand(options, 0);
    const char *name = saga_options_operand(options, 1);
    const char *path = saga_options_text(options, "descriptor-set");
    char hint[SAGA_SYMBOL_HINT_SIZE];
    if (path != NULL) {
        int status = saga_proto_file_schema(options, path, &call->own_schema);
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
    call->method = saga_symbol_method(call->schema, name);
    if (call->method == NULL) {
        saga_symbol_hint(call->schema, SAGA_SYMBOL_METHOD, name, hint);
        return saga_client_fail("%s: there is no such method in the schema%s%s%s%s", name, hint,
                                hint[0] != 0 ? "" : "; `sagactl list-services ",
                                hint[0] != 0 ? "" : address, hint[0] != 0 ? "" : "` lists them");
    }
    if (call->method->streaming) {
        return saga_client_fail("%s: it is a streaming method, and a command has one request and "
                                "one reply; it cannot be called",
                                call->method->full_name);
    }
    call->command.method = call->method->full_name;
    return SAGA_EXIT_OK;
}

/* What is sent by hand was decided by no orchestrator, and an effect stays in saga-effects. */
static void call_note_undecided(const struct call *call)
{
    if (call->command.op != SAGA_OP_NONE && !call->method->no_side_effects) {
        fputs("note: no orchestrator decided this command; if the participant publishes its effect "
              "(it runs with Kafka), `sagactl audit verify` reports it as UNDECIDED from now on\n",
              stderr);
    }
}

/* ---- What -v tells ---- */

/* "[3] ", or nothing when there is one value only. */
static void call_print_number(const struct call *call, size_t index, char sign)
{
    fprintf(stderr, "%c ", sign);
    if (call->several) {
        fprintf(stderr, "[%zu] ", call->sent + index + 1);
    }
}

static void call_print_sent(const struct call *call, const struct saga_command *command,
                            size_t index)
{
    char time[SAGA_TIME_TEXT_SIZE];
    saga_client_time_text(command->deadline_unix_ms, time);
    call_print_number(call, index, '>');
    fprintf(stderr, "%s to %s, request of %zu bytes, deadline %s\n", command->method,
            saga_conn_address(call->conn), command->payload.size, time);
    if (command->op != SAGA_OP_NONE) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_id_format(command->saga_id, id);
        call_print_number(call, index, '>');
        fprintf(stderr, "saga %s step %s op %s attempt %" PRIu32 " epoch %" PRIu64 "\n", id,
                command->step, command->op == SAGA_OP_UNDO ? "UNDO" : "CALL", command->attempt,
                command->epoch);
    }
    if (command->cause_status.code != SAGA_CODE_OK) {
        call_print_number(call, index, '>');
        fprintf(stderr, "cause %s %s %s\n", command->cause_step,
                saga_code_name(command->cause_status.code), command->cause_status.reason);
    }
    for (size_t i = 0; i < command->metadata_count; i++) {
        call_print_number(call, index, '>');
        fprintf(stderr, "%s: %s\n", command->metadata[i].key, command->metadata[i].value);
    }
    if (command->traceparent[0] != 0) {
        call_print_number(call, index, '>');
        fprintf(stderr, "traceparent: %s\n", command->traceparent);
    }
}

static void call_print_received(const struct call *call, const struct saga_reply *reply,
                                size_t index, int64_t took_us)
{
    fflush(stdout);
    call_print_number(call, index, '<');
    fprintf(stderr, "status %s", saga_code_name(reply->status.code));
    if (reply->status.reason[0] != 0) {
        char reason[SAGA_STATUS_REASON_MAX + 1];
        (void)snprintf(reason, sizeof reason, "%s", reply->status.reason);
        saga_client_clean(reason);
        fprintf(stderr, " reason %s", reason);
    }
    fprintf(stderr, ", attempt %" PRIu32 "%s%s, response of %zu bytes, in %.3f ms\n",
            reply->attempt, reply->replayed ? ", replayed" : "", reply->empty ? ", empty" : "",
            reply->payload.size, (double)took_us / 1000);
}

/* ---- One batch ---- */

/* Prints a failure as an object on stdout, in the place of its response. */
static void call_print_failure(const struct call *call, const struct saga_status *status,
                               size_t index)
{
    json_t *object =
        json_pack("{s:{s:s,s:i,s:i,s:s,s:s,s:s,s:I}}", "error", "method", call->method->full_name,
                  "value", (int)(call->sent + index + 1), "code", (int)status->code, "status",
                  saga_code_name(status->code), "reason", status->reason, "message",
                  status->message, "retry_after_ms", (json_int_t)status->retry_after_ms);
    (void)saga_client_print_json(object);
}

static int call_print_reply(const struct call *call, const struct saga_reply *reply, size_t index)
{
    struct saga_json_options style = {.proto_names = true, .print_defaults = true, .indent = 2};
    struct saga_err_detail detail = {{0}};
    struct saga_buf text = {0};
    if (reply->status.code != SAGA_CODE_OK) {
        char what[SAGA_METHOD_NAME_MAX + 64];
        (void)snprintf(what, sizeof what, "%s", call->method->full_name);
        if (call->several) {
            (void)snprintf(what, sizeof what, "value %zu (line %zu): %s", call->sent + index + 1,
                           call->lines[index], call->method->full_name);
        }
        if (call->json) {
            call_print_failure(call, &reply->status, index);
        }
        return saga_conn_status(what, &reply->status);
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

/* How long the next batch may take; 0 and a message when --max-time is over. */
static int64_t call_time_left(const struct call *call)
{
    if (call->end_us == 0) {
        return call->timeout_ms;
    }
    int64_t left_ms = (call->end_us - saga_clock_mono_us() + 999) / 1000;
    if (left_ms <= 0) {
        saga_client_warn("--max-time is over; %zu values were sent", call->sent);
        return 0;
    }
    return left_ms < call->timeout_ms ? left_ms : call->timeout_ms;
}

/* Sends what has gathered. A refusal of one command does not stop the others. */
static int call_flush(struct call *call)
{
    struct saga_command commands[SAGA_BATCH_COUNT_MAX];
    const struct saga_reply *replies = NULL;
    int64_t left_ms = call->count == 0 ? 0 : call_time_left(call);
    if (call->count == 0) {
        return SAGA_EXIT_OK;
    }
    if (left_ms <= 0) {
        return SAGA_EXIT_STATUS + SAGA_CODE_DEADLINE_EXCEEDED;
    }
    for (size_t i = 0; i < call->count; i++) {
        commands[i] = call->command;
        commands[i].payload = saga_buf_view(&call->payloads[i]);
        commands[i].deadline_unix_ms = saga_clock_unix_ms() + call->deadline_ms;
        if (call->verbose) {
            call_print_sent(call, &commands[i], i);
        }
    }
    int64_t begun_us = saga_clock_mono_us();
    int status = saga_conn_send(call->conn, commands, call->count, left_ms, &replies);
    int64_t took_us = saga_clock_mono_us() - begun_us;
    for (size_t i = 0; status == SAGA_EXIT_OK && i < call->count; i++) {
        if (call->verbose) {
            call_print_received(call, &replies[i], i, took_us);
        }
        int refused = call_print_reply(call, &replies[i], i);
        call->status = call->status == SAGA_EXIT_OK ? refused : call->status;
    }
    if (status != SAGA_EXIT_OK && call->several) {
        saga_client_warn(
            "values %zu to %zu (line %zu on) have no answer: whether they were carried "
            "out is not known; none behind them was sent",
            call->sent + 1, call->sent + call->count, call->lines[0]);
    }
    for (size_t i = 0; i < call->count; i++) {
        saga_buf_clear(&call->payloads[i]);
    }
    call->sent += call->count;
    call->count = 0;
    call->size = 0;
    int flushed = saga_client_flush();
    return status != SAGA_EXIT_OK ? status : flushed;
}

/* ---- The values ---- */

static int call_add(struct call *call, struct saga_bytes text, size_t line)
{
    struct saga_err_detail detail = {{0}};
    struct saga_json_options style = {0};
    char where[64] = "";
    struct saga_buf *payload = &call->payloads[call->count];
    enum saga_err err =
        saga_json_to_wire(call->schema, call->method->request, text, &style, payload, &detail);
    if (call->several) {
        (void)snprintf(where, sizeof where, "value %zu (line %zu): ", call->sent + call->count + 1,
                       line);
    }
    if (err != SAGA_ERR_OK) {
        (void)call_flush(call); /* what comes before it is answered before it */
        const char *name = call->method->request->name;
        bool named = strncmp(detail.text, name, strlen(name)) == 0;
        return saga_client_usage("%s%s%s%s", where, named ? "" : name, named ? "" : ": ",
                                 detail.text);
    }
    size_t limit = call->command.op == SAGA_OP_NONE ? (size_t)SAGA_MESSAGE_SIZE_MAX - 4096
                                                    : (size_t)SAGA_PAYLOAD_SIZE_MAX;
    if (payload->size > limit) {
        return saga_client_fail("%sthe request has %zu bytes, more than %zu (%s)", where,
                                payload->size, limit,
                                call->command.op == SAGA_OP_NONE ? "SAGA_MESSAGE_SIZE_MAX, less "
                                                                   "the envelope"
                                                                 : "SAGA_PAYLOAD_SIZE_MAX");
    }
    call->lines[call->count++] = line;
    return SAGA_EXIT_OK;
}

/* What a command takes in a batch beside its payload. */
static size_t call_envelope_size(const struct call *call)
{
    size_t size = 512 + strlen(call->command.method);
    for (size_t i = 0; i < call->command.metadata_count; i++) {
        size += strlen(call->metadata[i].key) + strlen(call->metadata[i].value) + 16;
    }
    return size;
}

/* Sends the values in batches: a batch is what is there when the last one has been answered, as
 * whoever writes them may wait for answers. What comes before a value that is none is sent. */
static int call_values(struct call *call, struct saga_call_data *data)
{
    struct saga_bytes text = {0};
    bool there = true;
    const size_t envelope = call_envelope_size(call);
    int status = saga_call_data_next(data, &text, &there);
    if (status == SAGA_EXIT_OK && !there && data->fd < 0) {
        return saga_client_usage("--data is empty; {} is a request without any field set");
    }
    if (status == SAGA_EXIT_OK && !there) {
        saga_client_warn("%s has no value; nothing was called", data->name);
    }
    while (status == SAGA_EXIT_OK && there) {
        struct saga_buf *payload = &call->payloads[call->count];
        status = call_add(call, text, data->value_line);
        if (status != SAGA_EXIT_OK) {
            break;
        }
        /* One that is too much for the batch begins the next. */
        size_t size = payload->size + envelope;
        if (call->size + size > SAGA_MESSAGE_SIZE_MAX && call->count > 1) {
            struct saga_buf moved = *payload;
            size_t line = call->lines[--call->count];
            *payload = (struct saga_buf){0};
            status = call_flush(call);
            saga_buf_fini(&call->payloads[0]);
            call->payloads[0] = moved;
            call->lines[0] = line;
            call->count = 1;
        }
        call->size += size;
        if (status == SAGA_EXIT_OK &&
            (call->count == call->batch_max || !saga_call_data_ready(data))) {
            status = call_flush(call);
        }
        if (status == SAGA_EXIT_OK) {
            status = saga_call_data_next(data, &text, &there);
            call->several = call->several || there;
        }
    }
    /* What cannot be read on does not take what was read with it. */
    int flushed = call->count > 0 && status <= SAGA_EXIT_USAGE ? call_flush(call) : SAGA_EXIT_OK;
    return status != SAGA_EXIT_OK ? status : flushed;
}

static int call_prepare(const struct saga_options *options, struct call *call)
{
    int json = saga_client_output_json(options);
    if (json < 0 || call_times(options, call) != SAGA_EXIT_OK ||
        call_headers(options, call) != SAGA_EXIT_OK || call_saga(options, call) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    call->json = json == 1;
    call->verbose = saga_options_on(options, "verbose");
    int status = saga_address_open(options, saga_options_operand(options, 0), &call->conn);
    return status != SAGA_EXIT_OK ? status : call_method(options, call);
}

static int call_run(const struct saga_options *options)
{
    if (saga_client_operands(options, 2, 2, "ADDRESS and package.Service/Method") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    struct call *call = calloc(1, sizeof *call);
    struct saga_call_data data = {.fd = -1};
    if (call == NULL) {
        return saga_client_fail("out of memory");
    }
    call->command.step = "";
    call->command.traceparent = "";
    call->command.cause_step = "";
    call->command.cause_status = saga_status_ok();
    int status = call_prepare(options, call);
    if (status == SAGA_EXIT_OK) {
        status = saga_call_data_open(saga_options_text(options, "data"), &data);
        data.end_us = call->end_us;
    }
    if (status == SAGA_EXIT_OK) {
        call_note_undecided(call);
        status = call_values(call, &data);
    }
    status = call->status != SAGA_EXIT_OK ? call->status : status;
    saga_call_data_close(&data);
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
    .usage = "ADDRESS package.Service/Method [-d JSON|@FILE|@] [-H 'KEY: VALUE']… [-v]",
    .summary = "call any method of a daemon with JSON",
    .epilog =
        "ADDRESS is an NNG URL, or the name of a daemon of endpoints.json (sagad, orderd, …). The "
        "method\n"
        "may be written package.Service.Method too. The schema comes by reflection.\n\n"
        "Several JSON values, one after the other, are sent in batches and answered in their "
        "order; a\n"
        "value that is refused does not stop the others. Responses are on stdout, refusals on "
        "stderr;\n"
        "with -o json a refusal is {\"error\":{…}} on stdout too, in its place. A batch without an "
        "answer\n"
        "ends it: which values it had is told on stderr. A request or an answer has at most 1 "
        "MiB.\n\n"
        "Examples:\n"
        "  sagactl call customerd customer.v1.CustomerService/ValidateCustomer -d "
        "'{\"customer_id\":1}'\n"
        "  sagactl describe customerd customer.v1.CustomerService/ValidateCustomer --template > "
        "r.json\n"
        "  sagactl call customerd customer.v1.CustomerService/ValidateCustomer -d @r.json -v\n"
        "  seq 1 10000 | jq -c '{customer_id: .}' | sagactl call customerd "
        "customer.v1.CustomerService/ValidateCustomer -d @\n"
        "  sagactl call productd product.v1.ProductService/ReleaseStock -d '{\"order_id\":7}' "
        "\\\n"
        "      --saga 0198c5a2-7b1e-7000-8000-000000000007 --step stock --op undo\n\n"
        "--saga is for a participant under test. On a running system the effect of such a command "
        "is one that nobody\n"
        "decided: audit verify reports it (UNDECIDED) for as long as saga-effects has it. To act "
        "on a saga there: cancel,\n"
        "retry, skip, compensate, resolve.\n\n"
        "Exit status: 64 + N when the daemon answered with gRPC status N (several values: the "
        "first\n"
        "that was not OK); 2 for a value that does not fit the request (those before it were "
        "sent).",
    .options = call_options,
    .option_count = sizeof call_options / sizeof call_options[0],
    .shorts = "d=data H=header v=verbose o=output " SAGA_PROTO_PATH_SHORT,
    .run = call_run,
};
