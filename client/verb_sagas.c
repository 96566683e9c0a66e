/* sagactl start, get, list. */
#include "client/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/sagas.h"
#include "common/sys/clock.h"
#include "common/wire/json/json.h"

/* ---- start ---- */

static const struct saga_option start_options[] = {
    {"data", "JSON|@FILE|@-", "{}", "the saga's input fields as JSON; short -d", false},
    {"key", "KEY", NULL, "idempotency key: the same key starts one saga; default: a new one",
     false},
    {"wait", "TIME", NULL, "answer when the saga has ended, or after this time", false},
};

/* Builds the input of a saga from JSON by its context's schema. */
static int start_input(struct saga_conn *conn, const char *name, const char *data,
                       struct saga_buf *input)
{
    struct saga_err_detail detail = {{0}};
    struct saga_json_options style = {0};
    const struct saga_schema *schema = saga_conn_definition(conn, name, NULL);
    const struct saga_decl *decl = schema == NULL ? NULL : saga_schema_decl(schema, name);
    if (decl == NULL) {
        saga_client_warn("%s: there is no such saga definition; `sagactl definitions` lists them",
                         name);
        return SAGA_EXIT_STATUS + SAGA_CODE_NOT_FOUND;
    }
    struct saga_buf json = {0};
    int status = saga_client_data(data, &json);
    if (status == SAGA_EXIT_OK && saga_json_to_wire(schema, decl->context, saga_buf_view(&json),
                                                    &style, input, &detail) != SAGA_ERR_OK) {
        status = saga_client_usage_at(decl->context->name, detail.text);
    }
    saga_buf_fini(&json);
    return status;
}

static int start_print(const Saga__V1__StartSagaResponse *started, bool json)
{
    char id[SAGA_ID_TEXT_SIZE];
    saga_view_id_text(&started->saga_id, id);
    if (json) {
        return saga_client_print_json(json_pack("{s:s,s:s,s:b}", "id", id, "state",
                                                saga_view_state(started->state), "existing",
                                                (int)started->existing));
    }
    printf("%s %s%s\n", id, saga_view_state(started->state),
           started->existing ? " (this key had been used)" : "");
    return SAGA_EXIT_OK;
}

static int start_call(struct saga_conn *conn, const struct saga_options *options, int64_t wait_ms,
                      bool json)
{
    Saga__V1__StartSagaRequest message = SAGA__V1__START_SAGA_REQUEST__INIT;
    char definition[SAGA_DEFINITION_NAME_MAX + 2];
    char key[SAGA_START_KEY_MAX + 2];
    struct saga_buf input = {0};
    const char *given = saga_options_text(options, "key");
    snprintf(definition, sizeof definition, "%s", saga_options_operand(options, 0));
    if (given != NULL) {
        snprintf(key, sizeof key, "%s", given);
    } else {
        uint64_t random = 0;
        saga_random_fill(&random, sizeof random);
        saga_id_format(saga_id_make(saga_clock_unix_ms(), 0, random), key);
    }
    int status = start_input(conn, definition, saga_options_text(options, "data"), &input);
    if (status == SAGA_EXIT_OK) {
        message.definition = definition;
        message.key = key;
        message.input = (ProtobufCBinaryData){input.size, input.data};
        message.wait_ms = wait_ms;
        struct saga_conn_request request = {
            .method = "saga.v1.OrchestratorService/StartSaga",
            .request = &message.base,
            .response_type = &saga__v1__start_saga_response__descriptor,
            .wait_ms = wait_ms,
        };
        const ProtobufCMessage *answer = NULL;
        status = saga_conn_call(conn, &request, &answer);
        if (status == SAGA_EXIT_OK) {
            const Saga__V1__StartSagaResponse *started =
                (const Saga__V1__StartSagaResponse *)answer;
            status = start_print(started, json);
            if (status == SAGA_EXIT_OK && saga_options_text(options, "wait") != NULL) {
                status = saga_view_exit(started->state);
            }
        }
    }
    saga_buf_fini(&input);
    return status;
}

static int start_run(const struct saga_options *options)
{
    int64_t wait_ms = 0;
    int json = saga_client_output_json(options);
    int status = saga_client_operands(options, 1, 1, "NAME of the saga definition");
    if (json < 0 || status != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    status = saga_client_duration(options, "wait", 0, &wait_ms);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    struct saga_conn *conn = NULL;
    status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        status = start_call(conn, options, wait_ms, json == 1);
    }
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_start = {
    .name = "start",
    .usage = "NAME [-d JSON|@FILE|@-] [--key KEY] [--wait TIME]",
    .summary = "start a saga",
    .epilog =
        "In general:\n"
        "  sagactl describe NAME --template > input.json   what the saga can be given\n"
        "  sagactl start NAME --key KEY -d @input.json --wait 5s\n"
        "\n"
        "Exit status: 0 it was started; with --wait as with watch: 0 COMPLETED, 1 COMPENSATED, 3 "
        "PARKED,\n"
        "4 it had not ended in the time given; 64 + N when the orchestrator answered with gRPC "
        "status N (69:\n"
        "there is no such definition); 2 for data that does not fit.\n"
        "\n"
        "Whoever owns what a saga works on starts it, and so makes its key unique. create-order "
        "belongs\n"
        "to orderd: place an order with POST /orders, and find its saga with\n"
        "  sagactl why --saga create-order --key ORDER_ID\n"
        "Started here with an order that orderd does not know, it can neither end nor be undone "
        "by itself.",
    .options = start_options,
    .option_count = sizeof start_options / sizeof start_options[0],
    .shorts = "d=data o=output",
    .run = start_run,
};

/* ---- get ---- */

static const struct saga_option get_options[] = {
    {"saga", "NAME", NULL, "find the saga by the name of its definition and --key", false},
    {"key", "KEY", NULL, "see --saga", false},
    {"events", NULL, "false", "with -o json: its audit events too", false},
};

static void get_print_head(const Saga__V1__SagaView *saga)
{
    char id[SAGA_ID_TEXT_SIZE];
    char created[SAGA_TIME_TEXT_SIZE];
    char took[SAGA_DURATION_TEXT_SIZE];
    saga_view_id_text(&saga->saga_id, id);
    saga_client_time_text(saga->created_unix_ms, created);
    int64_t end_ms = saga->ended_unix_ms != 0 ? saga->ended_unix_ms : saga_clock_unix_ms();
    saga_client_duration_text(end_ms - saga->created_unix_ms, took);
    printf("saga      %s\n", id);
    if (saga->parent_step[0] != 0) {
        char parent[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&saga->parent_saga_id, parent);
        printf("kind      %s\n", saga->definition);
        printf("part of   %s, step %s\n", parent, saga->parent_step);
    } else {
        printf("kind      %s, key %s\n", saga->definition, saga->key);
    }
    printf("state     %s, event %" PRIu64 "\n", saga_view_state(saga->state), saga->seq);
    printf("started   %s, %s %s\n", created, saga->ended_unix_ms != 0 ? "took" : "going for", took);
    if (saga->cause != NULL) {
        const Saga__V1__Status *status = saga->cause->status;
        printf("cause     %s%s%s %s %s\n", saga->cause->step, saga->cause->step[0] != 0 ? ": " : "",
               status == NULL ? "" : saga_code_name(status->code),
               status == NULL ? "" : status->reason, status == NULL ? "" : status->message);
    }
    if (saga->pause != NULL) {
        char pause[SAGA_WHO_MAX + SAGA_WHY_MAX + 64];
        saga_view_pause_text(saga->pause, pause, sizeof pause);
        printf("paused    its definition, %s\n", pause);
    }
    if (saga->next_action[0] != 0) {
        printf("next      %s\n", saga->next_action);
    }
    putchar('\n');
}

static int get_print_table(const Saga__V1__SagaView *saga)
{
    struct saga_table table = {.column_count = 6};
    get_print_head(saga);
    saga_table_add(&table, "STEP");
    saga_table_add(&table, "STATE");
    saga_table_add(&table, "CALLS");
    saga_table_add(&table, "UNDOS");
    saga_table_add(&table, "LAST STATUS");
    saga_table_add(&table, "METHOD");
    for (size_t i = 0; i < saga->n_steps; i++) {
        const Saga__V1__StepView *step = saga->steps[i];
        const Saga__V1__Status *status = saga_view_last_status(saga, step);
        saga_table_add(&table, "%s%s", step->name, step->pivot ? " (pivot)" : "");
        saga_table_add(&table, "%s%s", saga_view_step_state(step->state),
                       step->stalled ? " (stalled)" : "");
        saga_table_add(&table, "%" PRIu32, step->call_attempts);
        saga_table_add(&table, "%" PRIu32, step->undo_attempts);
        saga_table_add(&table, "%s%s%s", status == NULL ? "" : saga_code_name(status->code),
                       status != NULL && status->reason[0] != 0 ? " " : "",
                       status == NULL ? "" : status->reason);
        if (step->saga[0] != 0) {
            char child[SAGA_ID_TEXT_SIZE] = "";
            if (step->child_saga_id.len != 0) {
                saga_view_id_text(&step->child_saga_id, child);
            }
            saga_table_add(&table, "saga %s %s", step->saga, child);
        } else {
            saga_table_add(&table, "%s", step->call[0] != 0 ? step->call : "(by the starter)");
        }
    }
    return saga_table_print(&table);
}

/* Gives the schema of the version that a saga began with; else the daemon's own. */
static const struct saga_schema *get_schema(struct saga_conn *conn, const Saga__V1__SagaView *saga)
{
    char name[SAGA_DEFINITION_NAME_MAX + 2];
    uint8_t hash[SAGA_HASH_SIZE];
    snprintf(name, sizeof name, "%s", saga->definition);
    if (saga->definition_hash.len != sizeof hash) {
        return saga_conn_schema(conn);
    }
    memcpy(hash, saga->definition_hash.data, sizeof hash);
    const struct saga_schema *schema = saga_conn_definition(conn, name, hash);
    return schema != NULL ? schema : saga_conn_schema(conn);
}

/* An answer lives until the next question, so the saga is asked for again once its schema is known.
 */
static int get_fetch(struct saga_conn *conn, const struct saga_options *options, bool json)
{
    const struct saga_schema *schema = NULL;
    const Saga__V1__GetSagaResponse *response = NULL;
    bool with_events = json && saga_options_on(options, "events");
    int status = saga_view_fetch(conn, options, with_events, &response);
    if (status == SAGA_EXIT_OK && json) {
        schema = get_schema(conn, response->saga);
        status = saga_view_fetch(conn, options, with_events, &response);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    if (!json) {
        return get_print_table(response->saga);
    }
    json_t *object = saga_view_json(response->saga, schema);
    if (with_events) {
        json_t *events = json_array();
        for (size_t i = 0; i < response->n_events; i++) {
            (void)json_array_append_new(events, saga_view_event_json(response->events[i]));
        }
        (void)json_object_set_new(object, "events", events);
    }
    return saga_client_print_json(object);
}

static int get_run(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0 || saga_view_check_named(options) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    if (json == 0 && saga_options_on(options, "events")) {
        return saga_client_usage("--events needs -o json; `sagactl why` and `sagactl watch` tell "
                                 "what happened in words");
    }
    struct saga_conn *conn = NULL;
    int status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        status = get_fetch(conn, options, json == 1);
    }
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_get = {
    .name = "get",
    .usage = "ID | --saga NAME --key KEY [-o json [--events]]",
    .summary = "show one saga and its steps",
    .options = get_options,
    .option_count = sizeof get_options / sizeof get_options[0],
    .shorts = "o=output",
    .run = get_run,
};

/* ---- list ---- */

static const struct saga_option list_options[] = {
    {"state", "STATE", NULL,
     "only those that are running, compensating, completed, compensated or parked", false},
    {"saga", "NAME", NULL, "only those of this definition", false},
    {"limit", "N", "100", "at most so many, newest first", false},
};

static int list_print(const Saga__V1__ListSagasResponse *response, bool json)
{
    if (json) {
        json_t *array = json_array();
        for (size_t i = 0; i < response->n_sagas; i++) {
            (void)json_array_append_new(array, saga_view_json(response->sagas[i], NULL));
        }
        return saga_client_print_json(array);
    }
    struct saga_table table = {.column_count = 6};
    static const char *const heads[] = {"SAGA", "KIND", "KEY", "STATE", "STARTED", "TOOK"};
    for (size_t i = 0; i < table.column_count; i++) {
        saga_table_add(&table, "%s", heads[i]);
    }
    int64_t now_ms = saga_clock_unix_ms();
    for (size_t i = 0; i < response->n_sagas; i++) {
        const Saga__V1__SagaView *saga = response->sagas[i];
        char text[SAGA_ID_TEXT_SIZE];
        char time[SAGA_TIME_TEXT_SIZE];
        char took[SAGA_DURATION_TEXT_SIZE];
        saga_view_id_text(&saga->saga_id, text);
        saga_client_time_text(saga->created_unix_ms, time);
        saga_client_duration_text((saga->ended_unix_ms != 0 ? saga->ended_unix_ms : now_ms) -
                                      saga->created_unix_ms,
                                  took);
        saga_table_add(&table, "%s", text);
        saga_table_add(&table, "%s", saga->definition);
        saga_table_add(&table, "%s", saga->key);
        saga_table_add(&table, "%s", saga_view_state(saga->state));
        saga_table_add(&table, "%s", time);
        saga_table_add(&table, "%s", took);
    }
    return saga_table_print(&table);
}

static int list_request(const struct saga_options *options, Saga__V1__ListSagasRequest *message,
                        char definition[SAGA_DEFINITION_NAME_MAX + 2])
{
    int64_t limit = 0;
    const char *state = saga_options_text(options, "state");
    const char *saga = saga_options_text(options, "saga");
    if (state != NULL && !saga_view_state_find(state, &message->state)) {
        return saga_client_usage(
            "--state %s: it must be running, compensating, completed, compensated or parked",
            state);
    }
    if (saga != NULL) {
        snprintf(definition, SAGA_DEFINITION_NAME_MAX + 2, "%s", saga);
        message->definition = definition;
    }
    int status = saga_client_int(options, "limit", 1, SAGA_LIST_COUNT_MAX, &limit);
    message->limit = (uint32_t)limit;
    return status;
}

static int list_run(const struct saga_options *options)
{
    Saga__V1__ListSagasRequest message = SAGA__V1__LIST_SAGAS_REQUEST__INIT;
    char definition[SAGA_DEFINITION_NAME_MAX + 2];
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 0, 0, "") != SAGA_EXIT_OK ||
        list_request(options, &message, definition) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    struct saga_conn *conn = NULL;
    int status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        struct saga_conn_request request = {
            .method = "saga.v1.OrchestratorService/ListSagas",
            .request = &message.base,
            .response_type = &saga__v1__list_sagas_response__descriptor,
        };
        const ProtobufCMessage *answer = NULL;
        status = saga_conn_call(conn, &request, &answer);
        if (status == SAGA_EXIT_OK) {
            status = list_print((const Saga__V1__ListSagasResponse *)answer, json == 1);
        }
    }
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_list = {
    .name = "list",
    .usage = "[--state STATE] [--saga NAME] [--limit N]",
    .summary = "list sagas, newest first",
    .options = list_options,
    .option_count = sizeof list_options / sizeof list_options[0],
    .shorts = "o=output",
    .run = list_run,
};
