/* Sagas as people and programs see them. See sagas.h. */
#include "client/sagas.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/wire/json/json.h"
#include "saga/v1/health.pb-c.h"

/* Takes an enum's prefix off its value's name. */
static const char *enum_name(const ProtobufCEnumDescriptor *type, int value, const char *prefix)
{
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, value);
    size_t size = strlen(prefix);
    if (found == NULL) {
        return "UNLISTED";
    }
    return strncmp(found->name, prefix, size) == 0 ? found->name + size : found->name;
}

const char *saga_view_state(Saga__V1__SagaState state)
{
    return enum_name(&saga__v1__saga_state__descriptor, (int)state, "SAGA_STATE_");
}

const char *saga_view_step_state(Saga__V1__StepState state)
{
    return enum_name(&saga__v1__step_state__descriptor, (int)state, "STEP_STATE_");
}

const char *saga_view_event_kind(Saga__V1__EventKind kind)
{
    return enum_name(&saga__v1__event_kind__descriptor, (int)kind, "EVENT_KIND_");
}

const char *saga_view_act(Saga__V1__OperatorAct act)
{
    return enum_name(&saga__v1__operator_act__descriptor, (int)act, "OPERATOR_ACT_");
}

const char *saga_view_health(int state)
{
    return enum_name(&saga__v1__health_state__descriptor, state, "HEALTH_STATE_");
}

bool saga_view_state_find(const char *name, Saga__V1__SagaState *state)
{
    for (int i = SAGA__V1__SAGA_STATE__SAGA_STATE_RUNNING;
         i <= SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED; i++) {
        if (strcasecmp(saga_view_state((Saga__V1__SagaState)i), name) == 0) {
            *state = (Saga__V1__SagaState)i;
            return true;
        }
    }
    return false;
}

int saga_view_exit(Saga__V1__SagaState state)
{
    switch (state) {
    case SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED:
        return SAGA_EXIT_OK;
    case SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED:
        return SAGA_EXIT_FAILED;
    case SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED:
        return SAGA_EXIT_PARKED;
    case SAGA__V1__SAGA_STATE__SAGA_STATE_RUNNING:
    case SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATING:
    case SAGA__V1__SAGA_STATE__SAGA_STATE_UNSPECIFIED:
    case _SAGA__V1__SAGA_STATE_IS_INT_SIZE:
    default:
        return SAGA_EXIT_GOING;
    }
}

int saga_view_operand_id(const struct saga_options *options, struct saga_id *id)
{
    const char *text = saga_options_operand(options, 0);
    if (saga_id_parse(text, id) != SAGA_ERR_OK) {
        return saga_client_usage(
            "%s: it is no saga id (for example 018f3c1e-8a5b-7c00-9d3e-0123456789ab)", text);
    }
    return SAGA_EXIT_OK;
}

void saga_view_id_text(const ProtobufCBinaryData *data, char text[SAGA_ID_TEXT_SIZE])
{
    struct saga_id id;
    if (saga_client_id(data->data, data->len, &id) != SAGA_ERR_OK) {
        memcpy(text, "?", 2);
        return;
    }
    saga_id_format(id, text);
}

/* ---- JSON ---- */

static void set(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static json_t *text_json(const char *text)
{
    json_t *value = json_string(text);
    return value != NULL ? value : json_string("(not UTF-8)");
}

static json_t *time_json(int64_t unix_ms)
{
    char text[SAGA_TIME_TEXT_SIZE];
    if (unix_ms == 0) {
        return json_null();
    }
    saga_client_time_text(unix_ms, text);
    return json_string(text);
}

static json_t *hex_json(const ProtobufCBinaryData *data)
{
    char text[129];
    size_t size = data->len < 64 ? data->len : 64;
    for (size_t i = 0; i < size; i++) {
        snprintf(text + 2 * i, 3, "%02x", data->data[i]);
    }
    text[2 * size] = 0;
    return json_string(text);
}

json_t *saga_view_status_json(const Saga__V1__Status *status)
{
    if (status == NULL || status->code == SAGA_CODE_OK) {
        return NULL;
    }
    json_t *object = json_object();
    set(object, "code", json_string(saga_code_name(status->code)));
    set(object, "reason", text_json(status->reason));
    set(object, "message", text_json(status->message));
    return object;
}

static json_t *failure_json(const Saga__V1__Failure *failure)
{
    if (failure == NULL) {
        return json_null();
    }
    json_t *object = json_object();
    json_t *status = saga_view_status_json(failure->status);
    set(object, "step", text_json(failure->step));
    set(object, "status", status == NULL ? json_null() : status);
    return object;
}

const Saga__V1__Status *saga_view_last_status(const Saga__V1__SagaView *saga,
                                              const Saga__V1__StepView *step)
{
    const Saga__V1__Failure *cause = saga->cause;
    bool by_it = cause != NULL && cause->status != NULL && step->last_status != NULL &&
                 step->last_status->reason[0] == 0 && strcmp(cause->step, step->name) == 0 &&
                 cause->status->code == step->last_status->code;
    return by_it ? cause->status : step->last_status;
}

/* An id, or null when there is none. */
static json_t *id_json(const ProtobufCBinaryData *data)
{
    char text[SAGA_ID_TEXT_SIZE];
    if (data->len == 0) {
        return json_null();
    }
    saga_view_id_text(data, text);
    return json_string(text);
}

static json_t *step_json(const Saga__V1__SagaView *saga, const Saga__V1__StepView *step)
{
    json_t *object = json_object();
    json_t *status = saga_view_status_json(saga_view_last_status(saga, step));
    set(object, "name", text_json(step->name));
    set(object, "state", json_string(saga_view_step_state(step->state)));
    set(object, "call_attempts", json_integer(step->call_attempts));
    set(object, "undo_attempts", json_integer(step->undo_attempts));
    set(object, "last_status", status == NULL ? json_null() : status);
    set(object, "due", time_json(step->due_unix_ms));
    set(object, "call", text_json(step->call));
    set(object, "undo", text_json(step->undo));
    set(object, "pivot", json_boolean(step->pivot));
    set(object, "stalled", json_boolean(step->stalled));
    if (step->saga[0] != 0) {
        set(object, "saga", text_json(step->saga));
        set(object, "child_id", id_json(&step->child_saga_id));
    }
    return object;
}

json_t *saga_view_wire_json(const struct saga_schema *schema, const char *type,
                            const ProtobufCBinaryData *wire)
{
    const struct saga_message_type *message =
        schema == NULL ? NULL : saga_schema_message(schema, type);
    struct saga_json_options style = {.proto_names = true};
    struct saga_err_detail detail = {{0}};
    struct saga_buf text = {0};
    if (message == NULL) {
        return NULL;
    }
    struct saga_bytes bytes = {wire->data, wire->len};
    json_t *value = NULL;
    if (saga_wire_to_json(schema, message, bytes, &style, &text, &detail) == SAGA_ERR_OK) {
        value = json_loadb((const char *)text.data, text.size, JSON_ALLOW_NUL, NULL);
    }
    saga_buf_fini(&text);
    return value;
}

json_t *saga_view_pause_json(const Saga__V1__Pause *pause)
{
    if (pause == NULL) {
        return json_null();
    }
    json_t *object = json_object();
    set(object, "who", text_json(pause->who));
    set(object, "why", text_json(pause->why));
    set(object, "since", time_json(pause->since_unix_ms));
    return object;
}

void saga_view_pause_text(const Saga__V1__Pause *pause, char *text, size_t size)
{
    char time[SAGA_TIME_TEXT_SIZE];
    text[0] = '\0';
    if (pause != NULL) {
        saga_client_time_text(pause->since_unix_ms, time);
        snprintf(text, size, "since %s by %s: “%s”", time, pause->who, pause->why);
        saga_client_clean(text);
    }
}

json_t *saga_view_json(const Saga__V1__SagaView *saga, const struct saga_schema *schema)
{
    char id[SAGA_ID_TEXT_SIZE];
    json_t *object = json_object();
    saga_view_id_text(&saga->saga_id, id);
    set(object, "id", json_string(id));
    set(object, "definition", text_json(saga->definition));
    set(object, "definition_hash", hex_json(&saga->definition_hash));
    set(object, "key", text_json(saga->key));
    set(object, "state", json_string(saga_view_state(saga->state)));
    if (saga->parent_step[0] != 0) {
        set(object, "parent_id", id_json(&saga->parent_saga_id));
        set(object, "parent_step", text_json(saga->parent_step));
    }
    set(object, "created", time_json(saga->created_unix_ms));
    set(object, "updated", time_json(saga->updated_unix_ms));
    set(object, "ended", time_json(saga->ended_unix_ms));
    bool whole = saga->n_steps > 0;
    if (whole || saga->deadline_unix_ms != 0) {
        set(object, "deadline", time_json(saga->deadline_unix_ms));
    }
    set(object, "seq", json_integer((json_int_t)saga->seq));
    if (whole || saga->cause != NULL) {
        set(object, "cause", failure_json(saga->cause));
    }
    if (whole) {
        set(object, "next_action", text_json(saga->next_action));
        set(object, "pause", saga_view_pause_json(saga->pause));
        json_t *steps = json_array();
        for (size_t i = 0; i < saga->n_steps; i++) {
            (void)json_array_append_new(steps, step_json(saga, saga->steps[i]));
        }
        set(object, "steps", steps);
    }
    if (saga->context_type[0] != 0) {
        json_t *context = saga_view_wire_json(schema, saga->context_type, &saga->context);
        set(object, "context_type", text_json(saga->context_type));
        set(object, "context", context == NULL ? json_null() : context);
    }
    return object;
}

static json_t *transitions_json(const Saga__V1__AuditEvent *event)
{
    json_t *array = json_array();
    for (size_t i = 0; i < event->n_transitions; i++) {
        const Saga__V1__Transition *move = event->transitions[i];
        (void)json_array_append_new(array, json_pack("{s:s,s:s,s:s}", "step", move->step, "from",
                                                     saga_view_step_state(move->from), "to",
                                                     saga_view_step_state(move->to)));
    }
    return array;
}

static const char *via_name(Saga__V1__Via via)
{
    return via == SAGA__V1__VIA__VIA_KAFKA   ? "KAFKA"
           : via == SAGA__V1__VIA__VIA_CHILD ? "CHILD"
                                             : "NNG";
}

static json_t *decisions_json(const Saga__V1__AuditEvent *event)
{
    json_t *array = json_array();
    for (size_t i = 0; i < event->n_decisions; i++) {
        const Saga__V1__Decision *decision = event->decisions[i];
        (void)json_array_append_new(
            array, json_pack("{s:s,s:s,s:I,s:s}", "step", decision->step, "op",
                             decision->op == SAGA__V1__OP__OP_UNDO ? "UNDO" : "CALL", "attempt",
                             (json_int_t)decision->attempt, "via", via_name(decision->via)));
    }
    return array;
}

json_t *saga_view_event_json(const Saga__V1__AuditEvent *event)
{
    char id[SAGA_ID_TEXT_SIZE];
    json_t *object = json_object();
    json_t *status = saga_view_status_json(event->status);
    saga_view_id_text(&event->saga_id, id);
    set(object, "saga_id", json_string(id));
    set(object, "seq", json_integer((json_int_t)event->seq));
    set(object, "time", time_json(event->time_unix_ms));
    set(object, "definition", text_json(event->definition));
    set(object, "kind", json_string(saga_view_event_kind(event->kind)));
    set(object, "state", json_string(saga_view_state(event->state)));
    if (event->step[0] != 0) {
        set(object, "step", text_json(event->step));
        set(object, "op", json_string(event->op == SAGA__V1__OP__OP_UNDO ? "UNDO" : "CALL"));
        set(object, "attempt", json_integer(event->attempt));
        set(object, "replayed", json_boolean(event->replayed));
        set(object, "empty", json_boolean(event->empty));
    }
    if (status != NULL) {
        set(object, "status", status);
    }
    set(object, "transitions", transitions_json(event));
    set(object, "decisions", decisions_json(event));
    if (event->operator_ != NULL) {
        set(object, "operator",
            json_pack("{s:s,s:s,s:s}", "act", saga_view_act(event->operator_->act), "who",
                      event->operator_->who, "why", event->operator_->why));
    }
    if (event->cause != NULL) {
        set(object, "cause", failure_json(event->cause));
    }
    if (event->parent_step[0] != 0) {
        set(object, "parent_id", id_json(&event->parent_saga_id));
        set(object, "parent_step", text_json(event->parent_step));
    }
    set(object, "hash", hex_json(&event->hash));
    return object;
}

int saga_view_check_named(const struct saga_options *options)
{
    struct saga_id id;
    int status = saga_client_operands(options, 0, 1, "ID");
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    if (saga_options_operand_count(options) == 1) {
        return saga_view_operand_id(options, &id);
    }
    if (saga_options_text(options, "saga") == NULL || saga_options_text(options, "key") == NULL) {
        return saga_client_usage("missing: ID, or --saga NAME and --key KEY");
    }
    return SAGA_EXIT_OK;
}

static int fetch(struct saga_conn *conn, const Saga__V1__GetSagaRequest *message,
                 const Saga__V1__GetSagaResponse **response)
{
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/GetSaga",
        .request = &message->base,
        .response_type = &saga__v1__get_saga_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    *response = (const Saga__V1__GetSagaResponse *)answer;
    if ((*response)->saga == NULL) {
        return saga_client_fail("%s: the answer holds no saga", saga_conn_address(conn));
    }
    return SAGA_EXIT_OK;
}

int saga_view_fetch(struct saga_conn *conn, const struct saga_options *options, bool with_events,
                    const Saga__V1__GetSagaResponse **response)
{
    Saga__V1__GetSagaRequest message = SAGA__V1__GET_SAGA_REQUEST__INIT;
    struct saga_id id;
    char definition[SAGA_DEFINITION_NAME_MAX + 2];
    char key[SAGA_START_KEY_MAX + 2];
    int checked = saga_view_check_named(options);
    if (checked != SAGA_EXIT_OK) {
        return checked;
    }
    if (saga_options_operand_count(options) == 1 &&
        saga_view_operand_id(options, &id) == SAGA_EXIT_OK) {
        message.saga_id = (ProtobufCBinaryData){sizeof id.b, id.b};
    } else {
        snprintf(definition, sizeof definition, "%s", saga_options_text(options, "saga"));
        snprintf(key, sizeof key, "%s", saga_options_text(options, "key"));
        message.definition = definition;
        message.key = key;
    }
    message.with_events = with_events;
    return fetch(conn, &message, response);
}

int saga_view_fetch_id(struct saga_conn *conn, struct saga_id id, bool with_events,
                       const Saga__V1__GetSagaResponse **response)
{
    Saga__V1__GetSagaRequest message = SAGA__V1__GET_SAGA_REQUEST__INIT;
    message.saga_id = (ProtobufCBinaryData){sizeof id.b, id.b};
    message.with_events = with_events;
    return fetch(conn, &message, response);
}
