/* A connection to one daemon. See conn.h. */
#include "client/conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/bus/nng/rpc.h"
#include "common/sys/clock.h"
#include "descriptor_set.h"
#include "saga/v1/reflection.pb-c.h"

struct saga_conn {
    char address[SAGA_ADDRESS_SIZE_MAX + 1];
    int64_t timeout_ms;
    struct saga_rpc_client *rpc;
    struct saga_arena arena; /* of the last answer */
    struct saga_buf request;
    struct saga_buf answer;
    struct saga_schema *schema;
    struct known_definition *definitions;
    size_t definition_count;
};

/* The schema of a version that was asked for. */
struct known_definition {
    char name[SAGA_DEFINITION_NAME_MAX + 1];
    bool current; /* it was asked for by name alone */
    uint8_t hash[SAGA_HASH_SIZE];
    struct saga_schema *schema; /* NULL: the orchestrator has none */
};

int saga_conn_open(const char *address, const struct saga_options *options, struct saga_conn **conn)
{
    struct saga_err_detail detail = {{0}};
    struct saga_conn *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_client_fail("out of memory");
    }
    if (snprintf(made->address, sizeof made->address, "%s", address) >= (int)sizeof made->address) {
        free(made);
        return saga_client_usage("the address is longer than %d bytes", SAGA_ADDRESS_SIZE_MAX);
    }
    int status = saga_client_duration(options, "timeout", 5000, &made->timeout_ms);
    if (status != SAGA_EXIT_OK) {
        free(made);
        return status;
    }
    struct saga_rpc_client_config config = {
        .addresses = &address,
        .address_count = 1,
        .tls = {saga_options_text(options, "tls-ca"), saga_options_text(options, "tls-cert"),
                saga_options_text(options, "tls-key")},
        .contexts = 4,
    };
    if (saga_rpc_client_start(&config, &made->rpc, &detail) != SAGA_ERR_OK) {
        free(made);
        return saga_client_usage_at(address, detail.text);
    }
    if (saga_rpc_client_wait(made->rpc, made->timeout_ms) != SAGA_ERR_OK) {
        saga_conn_close(made);
        saga_client_warn("%s: nobody answers there", address);
        return SAGA_EXIT_STATUS + SAGA_CODE_UNAVAILABLE;
    }
    *conn = made;
    return SAGA_EXIT_OK;
}

int saga_client_endpoints(const struct saga_options *options, struct saga_endpoints *endpoints)
{
    struct saga_err_detail detail = {{0}};
    if (saga_endpoints_read(saga_options_text(options, "dir"), endpoints, &detail) != SAGA_ERR_OK) {
        return saga_client_fail(
            "%s\nStart the system with `sagactl dev`, or say where it is with --dir or --address.",
            detail.text);
    }
    return SAGA_EXIT_OK;
}

int saga_conn_open_orchestrator(const struct saga_options *options, struct saga_conn **conn)
{
    const char *address = saga_options_text(options, "address");
    struct saga_endpoints endpoints;
    if (address == NULL) {
        int status = saga_client_endpoints(options, &endpoints);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
        address = endpoints.daemons[SAGA_DAEMON_SAGAD].nng;
    }
    return saga_conn_open(address, options, conn);
}

void saga_conn_close(struct saga_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    saga_rpc_client_free(conn->rpc);
    saga_schema_free(conn->schema);
    for (size_t i = 0; i < conn->definition_count; i++) {
        saga_schema_free(conn->definitions[i].schema);
    }
    free(conn->definitions);
    saga_arena_fini(&conn->arena);
    saga_buf_fini(&conn->request);
    saga_buf_fini(&conn->answer);
    free(conn);
}

const char *saga_conn_address(const struct saga_conn *conn)
{
    return conn->address;
}

int saga_conn_status(const char *what, const struct saga_status *status)
{
    if (status->code == SAGA_CODE_OK) {
        return SAGA_EXIT_OK;
    }
    bool has_reason = status->reason != NULL && status->reason[0] != 0 &&
                      strcmp(status->reason, saga_code_name(status->code)) != 0;
    /* What a daemon says is not what a terminal obeys. */
    char reason[SAGA_STATUS_REASON_MAX + 1] = "";
    char message[SAGA_STATUS_MESSAGE_MAX + 1] = "";
    (void)snprintf(reason, sizeof reason, "%s", has_reason ? status->reason : "");
    (void)snprintf(message, sizeof message, "%s", status->message == NULL ? "" : status->message);
    saga_client_clean(reason);
    saga_client_clean(message);
    saga_client_warn("%s: %s%s%s%s%s", what, saga_code_name(status->code), has_reason ? " " : "",
                     reason, message[0] != 0 ? ": " : "", message);
    uint32_t code =
        status->code <= SAGA_CODE_UNAUTHENTICATED ? status->code : (uint32_t)SAGA_CODE_UNKNOWN;
    return SAGA_EXIT_STATUS + (int)code;
}

static int sending_failed(const struct saga_conn *conn, enum saga_err err, const char *text)
{
    uint32_t code = err == SAGA_ERR_TIMEOUT ? SAGA_CODE_DEADLINE_EXCEEDED : SAGA_CODE_UNAVAILABLE;
    saga_client_warn("%s: %s", conn->address, text[0] != 0 ? text : saga_err_text(err));
    return SAGA_EXIT_STATUS + (int)code;
}

int saga_conn_send(struct saga_conn *conn, const struct saga_command *commands, size_t count,
                   int64_t timeout_ms, const struct saga_reply **replies)
{
    struct saga_err_detail detail = {{0}};
    struct saga_status status = saga_status_ok();
    struct saga_reply *decoded = NULL;
    size_t decoded_count = 0;
    saga_buf_clear(&conn->request);
    saga_buf_clear(&conn->answer);
    saga_arena_clear(&conn->arena);
    for (size_t i = 0; i < count; i++) {
        enum saga_err added = saga_command_batch_add(&commands[i], &conn->request);
        if (added == SAGA_ERR_LIMIT) {
            return saga_client_fail("%s: a name in the command, or its payload of %zu bytes, is "
                                    "larger than a daemon takes",
                                    commands[i].method, commands[i].payload.size);
        }
        if (added != SAGA_ERR_OK) {
            return saga_client_fail("out of memory");
        }
    }
    if (conn->request.size > SAGA_MESSAGE_SIZE_MAX) {
        return saga_client_fail("the request has %zu bytes, more than %d", conn->request.size,
                                SAGA_MESSAGE_SIZE_MAX);
    }
    enum saga_err err = saga_rpc_client_call(conn->rpc, saga_buf_view(&conn->request), timeout_ms,
                                             &conn->answer, &detail);
    if (err != SAGA_ERR_OK) {
        return sending_failed(conn, err, detail.text);
    }
    err = saga_reply_batch_decode(saga_buf_view(&conn->answer), &conn->arena, &decoded,
                                  &decoded_count, &status);
    if (err != SAGA_ERR_OK) {
        return saga_client_fail("%s: the answer is not a ReplyBatch: %s", conn->address,
                                status.message);
    }
    if (decoded_count != count) {
        /* A batch that could not be decoded gets one reply with the reason. */
        if (decoded_count == 1 && decoded[0].status.code != SAGA_CODE_OK) {
            return saga_conn_status(conn->address, &decoded[0].status);
        }
        return saga_client_fail("%s: %zu replies to %zu commands", conn->address, decoded_count,
                                count);
    }
    *replies = decoded;
    return SAGA_EXIT_OK;
}

int saga_conn_call(struct saga_conn *conn, const struct saga_conn_request *request,
                   const ProtobufCMessage **response)
{
    struct saga_buf payload = {0};
    const struct saga_reply *reply = NULL;
    if (saga_message_encode(request->request, &payload) != SAGA_ERR_OK) {
        return saga_client_fail("out of memory");
    }
    int64_t timeout_ms = conn->timeout_ms + request->wait_ms;
    struct saga_command command = {
        .step = "",
        .op = SAGA_OP_NONE,
        .method = request->method,
        .payload = saga_buf_view(&payload),
        .attempt = 1,
        .deadline_unix_ms = saga_clock_unix_ms() + timeout_ms,
        .traceparent = "",
        .cause_step = "",
        .cause_status = saga_status_ok(),
    };
    int status = saga_conn_send(conn, &command, 1, timeout_ms, &reply);
    saga_buf_fini(&payload);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    SAGA_ASSERT(reply != NULL);
    status = saga_conn_status(request->method, &reply->status);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    *response = saga_message_decode(request->response_type, reply->payload, &conn->arena);
    if (*response == NULL) {
        return saga_client_fail("%s: the response is malformed", request->method);
    }
    return SAGA_EXIT_OK;
}

int saga_schema_open(const char *path, struct saga_schema **schema)
{
    struct saga_err_detail detail = {{0}};
    struct saga_buf file = {0};
    struct saga_bytes bytes = {saga_descriptor_set, saga_descriptor_set_size};
    if (path != NULL) {
        char given[4096];
        if (snprintf(given, sizeof given, "@%s", path) >= (int)sizeof given) {
            return saga_client_usage("the path of the descriptor set is too long");
        }
        int status = saga_client_data(given, &file);
        if (status != SAGA_EXIT_OK) {
            saga_buf_fini(&file);
            return status;
        }
        bytes = saga_buf_view(&file);
    }
    enum saga_err err = saga_schema_load(bytes, schema, &detail);
    saga_buf_fini(&file);
    if (err != SAGA_ERR_OK) {
        return saga_client_fail("%s: %s", path == NULL ? "built-in descriptor set" : path,
                                detail.text);
    }
    return SAGA_EXIT_OK;
}

const struct saga_schema *saga_conn_schema(struct saga_conn *conn)
{
    if (conn->schema != NULL) {
        return conn->schema;
    }
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    const ProtobufCMessage *response = NULL;
    struct saga_err_detail detail = {{0}};
    if (saga_conn_call(conn, &request, &response) == SAGA_EXIT_OK) {
        const Saga__V1__GetDescriptorSetResponse *set =
            (const Saga__V1__GetDescriptorSetResponse *)response;
        struct saga_bytes bytes = {set->descriptor_set.data, set->descriptor_set.len};
        if (saga_schema_load(bytes, &conn->schema, &detail) == SAGA_ERR_OK) {
            return conn->schema;
        }
        saga_client_warn("%s: its descriptor set: %s", conn->address, detail.text);
    }
    saga_client_warn("%s: no reflection; the built-in schema is used (call, describe: another by "
                     "--descriptor-set)",
                     conn->address);
    (void)saga_schema_open(NULL, &conn->schema);
    return conn->schema;
}

static bool is_asked(const struct known_definition *known, const char *name, const uint8_t *hash)
{
    return strcmp(known->name, name) == 0 && known->current == (hash == NULL) &&
           (hash == NULL || memcmp(known->hash, hash, SAGA_HASH_SIZE) == 0);
}

/* Asks for a version's set without a word on stderr: not to have it is an answer too. */
static struct saga_schema *ask_definition(struct saga_conn *conn,
                                          const struct known_definition *known)
{
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_buf payload = {0};
    const struct saga_reply *reply = NULL;
    struct saga_schema *schema = NULL;
    char name[SAGA_DEFINITION_NAME_MAX + 1];
    uint8_t hash[SAGA_HASH_SIZE];
    memcpy(name, known->name, sizeof name);
    memcpy(hash, known->hash, sizeof hash);
    if (known->current) {
        message.definition = name;
    } else {
        message.definition_hash = (ProtobufCBinaryData){sizeof hash, hash};
    }
    if (saga_message_encode(&message.base, &payload) != SAGA_ERR_OK) {
        return NULL;
    }
    struct saga_command command = {
        .step = "",
        .op = SAGA_OP_NONE,
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .payload = saga_buf_view(&payload),
        .attempt = 1,
        .deadline_unix_ms = saga_clock_unix_ms() + conn->timeout_ms,
        .traceparent = "",
        .cause_step = "",
        .cause_status = saga_status_ok(),
    };
    int status = saga_conn_send(conn, &command, 1, conn->timeout_ms, &reply);
    saga_buf_fini(&payload);
    const ProtobufCMessage *response =
        status == SAGA_EXIT_OK && reply->status.code == SAGA_CODE_OK
            ? saga_message_decode(&saga__v1__get_descriptor_set_response__descriptor,
                                  reply->payload, &conn->arena)
            : NULL;
    if (response != NULL) {
        const ProtobufCBinaryData *set =
            &((const Saga__V1__GetDescriptorSetResponse *)response)->descriptor_set;
        (void)(saga_schema_load((struct saga_bytes){set->data, set->len}, &schema, NULL) ==
               SAGA_ERR_OK);
    }
    return schema;
}

const struct saga_schema *saga_conn_definition(struct saga_conn *conn, const char *name,
                                               const uint8_t *hash)
{
    for (size_t i = 0; i < conn->definition_count; i++) {
        if (is_asked(&conn->definitions[i], name, hash)) {
            return conn->definitions[i].schema;
        }
    }
    struct known_definition *grown =
        realloc(conn->definitions, (conn->definition_count + 1) * sizeof *grown);
    if (grown == NULL || strlen(name) > SAGA_DEFINITION_NAME_MAX) {
        conn->definitions = grown != NULL ? grown : conn->definitions;
        return NULL;
    }
    conn->definitions = grown;
    struct known_definition *known = &grown[conn->definition_count++];
    *known = (struct known_definition){.current = hash == NULL};
    (void)snprintf(known->name, sizeof known->name, "%s", name);
    if (hash != NULL) {
        memcpy(known->hash, hash, SAGA_HASH_SIZE);
    }
    known->schema = ask_definition(conn, known);
    return known->schema;
}
