/* sagactl describe, list-services, health. */
#include "client/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/address.h"
#include "client/applied.h"
#include "client/proto_file.h"
#include "client/sagas.h"
#include "client/symbols.h"
#include "common/wire/json/json.h"
#include "saga/v1/health.pb-c.h"
#include "saga/v1/reflection.pb-c.h"

/* ---- describe ---- */

static const struct saga_option describe_options[] = {
    {"template", NULL, "false", "print a JSON template of the message, or of the method's request",
     false},
    {"descriptor-set", "FILE", NULL, "take the schema from this descriptor set or .proto", false},
    SAGA_PROTO_PATH_OPTION,
};

static const char *const type_names[] = {
    "?",       "double",   "float",    "int64",  "uint64", "int32", "fixed64",
    "fixed32", "bool",     "string",   "group",  "",       "bytes", "uint32",
    "",        "sfixed32", "sfixed64", "sint32", "sint64",
};

static void print_comment(const char *comment, const char *indent)
{
    while (*comment != 0) {
        size_t size = strcspn(comment, "\n");
        comment += *comment == ' ';
        size -= size > 0 && comment[-1] == ' ';
        if (size > 0) {
            printf("%s// %.*s\n", indent, (int)size, comment);
        }
        comment += size;
        comment += *comment == '\n';
    }
}

static const char *field_type_name(const struct saga_field *field)
{
    if (field->message != NULL) {
        return field->message->name;
    }
    if (field->enumeration != NULL) {
        return field->enumeration->name;
    }
    size_t type = (size_t)field->type;
    return type < sizeof type_names / sizeof type_names[0] ? type_names[type] : "?";
}

static void print_field(const struct saga_field *field, const char *indent)
{
    print_comment(field->comment, indent);
    if (field->map) {
        const struct saga_field *key = saga_message_field_by_number(field->message, 1);
        const struct saga_field *value = saga_message_field_by_number(field->message, 2);
        printf("%smap<%s, %s> %s = %u;\n", indent, key == NULL ? "?" : field_type_name(key),
               value == NULL ? "?" : field_type_name(value), field->name, (unsigned)field->number);
        return;
    }
    bool optional = field->presence && !field->oneof && field->message == NULL;
    printf("%s%s%s %s = %u;\n", indent,
           field->repeated ? "repeated "
           : optional      ? "optional "
                           : "",
           field_type_name(field), field->name, (unsigned)field->number);
}

/* Fields of a oneof stand in its braces; what its name was the schema does not keep. */
static void print_message(const struct saga_message_type *message)
{
    print_comment(message->comment, "");
    printf("message %s {\n", message->name);
    bool inside = false;
    for (size_t i = 0; i < message->field_count; i++) {
        const struct saga_field *field = &message->fields[i];
        const struct saga_field *before = i == 0 ? NULL : field - 1;
        bool goes_on = inside && field->oneof && before->oneof_index == field->oneof_index;
        if (inside && !goes_on) {
            puts("  }");
        }
        if (field->oneof && !goes_on) {
            puts("  oneof {");
        }
        inside = field->oneof;
        print_field(field, inside ? "    " : "  ");
    }
    puts(inside ? "  }\n}" : "}");
}

static void print_method(const struct saga_method *method)
{
    print_comment(method->comment, "  ");
    printf("  rpc %s(%s) returns (%s)", method->name, method->request->name,
           method->response->name);
    puts(method->streaming         ? "; // streaming: it cannot be called"
         : method->no_side_effects ? " { option idempotency_level = NO_SIDE_EFFECTS; }"
                                   : ";");
}

static void print_service(const struct saga_service *service)
{
    print_comment(service->comment, "");
    printf("service %s {\n", service->name);
    if (service->command_topic[0] != 0) {
        printf("  option (saga.v1.topics) = { command: \"%s\" reply: \"%s\" };\n",
               service->command_topic, service->reply_topic);
    }
    for (size_t i = 0; i < service->method_count; i++) {
        print_method(&service->methods[i]);
    }
    puts("}");
}

static void print_enum(const struct saga_enum_type *type)
{
    printf("enum %s {\n", type->name);
    for (size_t i = 0; i < type->value_count; i++) {
        printf("  %s = %d;\n", type->values[i].name, (int)type->values[i].number);
    }
    puts("}");
}

static void print_steps(const struct saga_decl *decl)
{
    printf("// saga %s: deadline %lld ms\n", decl->name, (long long)decl->deadline_ms);
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        printf("//   %s%s%s: %s%s", step->name, step->pivot ? " (pivot)" : "",
               step->read_only ? " (read-only)" : "", step->child != NULL ? "saga " : "",
               step->child != NULL  ? step->child->name
               : step->call == NULL ? "by the starter"
                                    : step->call->full_name);
        printf("%s%s\n", step->undo == NULL ? "" : ", undo ",
               step->undo == NULL ? "" : step->undo->full_name);
    }
}

static int print_template(const struct saga_schema *schema, const struct saga_message_type *message)
{
    struct saga_buf text = {0};
    if (saga_json_template(schema, message, &text) != SAGA_ERR_OK) {
        saga_buf_fini(&text);
        return saga_client_fail("%s: no template could be made", message->name);
    }
    fwrite(text.data, 1, text.size, stdout);
    putchar('\n');
    saga_buf_fini(&text);
    return SAGA_EXIT_OK;
}

static int describe_unknown(const struct saga_schema *schema, const char *symbol)
{
    char hint[SAGA_SYMBOL_HINT_SIZE];
    saga_symbol_hint(schema, SAGA_SYMBOL_ALL, symbol, hint);
    return saga_client_fail("%s: there is no such service, method, message, enum or saga%s", symbol,
                            hint);
}

static int describe_symbol(const struct saga_schema *schema, const char *symbol, bool template)
{
    const struct saga_method *method = saga_symbol_method(schema, symbol);
    const struct saga_message_type *message =
        method != NULL ? method->request : saga_schema_message(schema, symbol);
    const struct saga_service *service = saga_schema_service(schema, symbol);
    const struct saga_decl *decl = saga_schema_decl(schema, symbol);
    const struct saga_enum_type *type = saga_schema_enum(schema, symbol);
    message = message == NULL && decl != NULL ? decl->context : message;
    if (message == NULL && service == NULL && type == NULL) {
        return describe_unknown(schema, symbol);
    }
    if (template) {
        return message != NULL ? print_template(schema, message)
                               : saga_client_usage("--template needs a message, a method or a saga "
                                                   "definition");
    }
    if (method != NULL) {
        print_method(method);
        putchar('\n');
        print_message(method->request);
        putchar('\n');
        print_message(method->response);
    } else if (service != NULL) {
        print_service(service);
    } else if (message != NULL) {
        if (decl != NULL) {
            print_steps(decl);
        }
        print_message(message);
    } else {
        print_enum(type);
    }
    return SAGA_EXIT_OK;
}

/* Without a symbol: every service. Of a daemon, those that it serves. */
static int describe_services(const struct saga_schema *schema, const json_t *served)
{
    bool first = true;
    for (size_t i = 0; i < saga_schema_service_count(schema); i++) {
        const struct saga_service *service = saga_schema_service_at(schema, i);
        bool shown = served == NULL;
        for (size_t k = 0; !shown && k < json_array_size(served); k++) {
            shown = strcmp(json_string_value(json_array_get(served, k)), service->name) == 0;
        }
        if (shown) {
            fputs(first ? "" : "\n", stdout);
            print_service(service);
            first = false;
        }
    }
    return SAGA_EXIT_OK;
}

/* What helps where a daemon does not tell what it serves. */
static void tell_silence(struct saga_conn *conn)
{
    saga_client_warn("%s: it does not tell what it serves; `sagactl describe SYMBOL "
                     "--descriptor-set FILE` asks no daemon",
                     saga_conn_address(conn));
}

/* Asks a daemon which services it serves. NULL: an error, which is printed. */
static json_t *served_services(struct saga_conn *conn)
{
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    if (saga_conn_call(conn, &request, &answer) != SAGA_EXIT_OK) {
        tell_silence(conn);
        return NULL;
    }
    const Saga__V1__GetDescriptorSetResponse *set =
        (const Saga__V1__GetDescriptorSetResponse *)answer;
    json_t *names = json_array();
    for (size_t i = 0; i < set->n_services; i++) {
        saga_client_clean(set->services[i]);
        (void)json_array_append_new(names, json_string(set->services[i]));
    }
    return names;
}

/* What is described, and where it comes from. */
struct describing {
    const char *address; /* NULL: not a daemon */
    const char *symbol;  /* NULL: all services */
    struct saga_conn *conn;
    struct saga_schema *own;
};

/* A single word is an address when it has a scheme or is a daemon's name: no symbol looks so. */
static bool is_address(const char *word)
{
    if (strstr(word, "://") != NULL) {
        return true;
    }
    for (int i = 0; i < SAGA_DAEMON_COUNT; i++) {
        if (strcmp(word, saga_daemon_name((enum saga_daemon)i)) == 0) {
            return true;
        }
    }
    return false;
}

static int describe_open(const struct saga_options *options, struct describing *describing,
                         const struct saga_schema **schema)
{
    const char *path = saga_options_text(options, "descriptor-set");
    int status = SAGA_EXIT_OK;
    if (describing->address == NULL || path != NULL) {
        status = saga_proto_file_schema(options, path, &describing->own);
        *schema = describing->own;
        return status;
    }
    status = saga_address_open(options, describing->address, &describing->conn);
    *schema = status == SAGA_EXIT_OK ? saga_conn_schema(describing->conn) : NULL;
    return status == SAGA_EXIT_OK && *schema == NULL ? SAGA_EXIT_FAILED : status;
}

/* What was applied is in no daemon's own set: asks the orchestrator, if it is known where it is. */
static const struct saga_schema *describe_applied(const struct saga_options *options,
                                                  struct describing *describing)
{
    const char *symbol = describing->symbol + (describing->symbol[0] == '.');
    if (saga_options_text(options, "descriptor-set") != NULL) {
        return NULL;
    }
    if (describing->conn == NULL &&
        (!saga_applied_known(options) ||
         saga_conn_open_orchestrator(options, &describing->conn) != SAGA_EXIT_OK)) {
        return NULL;
    }
    return saga_applied_schema(describing->conn, symbol);
}

static int describe_print(const struct saga_options *options, struct describing *describing,
                          const struct saga_schema *schema)
{
    bool template = saga_options_on(options, "template");
    if (describing->symbol != NULL) {
        const char *symbol = describing->symbol + (describing->symbol[0] == '.');
        const struct saga_schema *applied =
            saga_symbol_known(schema, symbol) ? NULL : describe_applied(options, describing);
        int status = describe_symbol(applied != NULL ? applied : schema, symbol, template);
        if (status == SAGA_EXIT_FAILED && applied == NULL && describing->conn == NULL &&
            saga_options_text(options, "descriptor-set") == NULL) {
            fputs("No orchestrator was asked for what has been applied: say where it is with --dir "
                  "or --address.\n",
                  stderr);
        }
        return status;
    }
    if (template) {
        return saga_client_usage("--template needs a message, a method or a saga definition");
    }
    json_t *served = describing->conn == NULL ? NULL : served_services(describing->conn);
    if (describing->conn != NULL && served == NULL) {
        return SAGA_EXIT_FAILED;
    }
    int status = describe_services(schema, served);
    json_decref(served);
    return status;
}

static int describe_run(const struct saga_options *options)
{
    struct describing describing = {0};
    const struct saga_schema *schema = NULL;
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 0, 2, "[ADDRESS] [SYMBOL]") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    if (json == 1 && !saga_options_on(options, "template")) {
        return saga_client_usage("describe prints text; with --template it prints JSON");
    }
    size_t count = saga_options_operand_count(options);
    const char *last = count == 0 ? NULL : saga_options_operand(options, count - 1);
    if (count == 2 || (count == 1 && is_address(last))) {
        describing.address = saga_options_operand(options, 0);
    }
    describing.symbol = count == 1 && describing.address != NULL ? NULL : last;
    int status = describe_open(options, &describing, &schema);
    if (status == SAGA_EXIT_OK) {
        status = describe_print(options, &describing, schema);
    }
    saga_conn_close(describing.conn);
    saga_schema_free(describing.own);
    return status;
}

const struct saga_verb saga_verb_describe = {
    .name = "describe",
    .usage = "[ADDRESS] [SYMBOL] [--template]",
    .summary = "describe services, a method, message, enum or saga",
    .epilog =
        "Without ADDRESS (an NNG URL or the name of a daemon), the schema that is built in is "
        "described;\n"
        "without SYMBOL, all services: those that the daemon serves. What is not there is looked "
        "for among\n"
        "the definitions that were applied to the orchestrator.\n\n"
        "Examples:\n"
        "  sagactl describe productd\n"
        "  sagactl describe productd product.v1.ProductService.ReserveStock\n"
        "  sagactl describe productd product.v1.ReserveStockRequest --template > r.json\n"
        "  sagactl describe create-order\n"
        "  sagactl describe --descriptor-set examples/trip/proto/trip/v1/trip.proto trip.v1.Trip",
    .options = describe_options,
    .option_count = sizeof describe_options / sizeof describe_options[0],
    .shorts = "o=output " SAGA_PROTO_PATH_SHORT,
    .run = describe_run,
};

/* ---- list-services ---- */

static json_t *service_json(const struct saga_schema *schema, const char *name)
{
    const struct saga_service *service = saga_schema_service(schema, name);
    json_t *methods = json_array();
    for (size_t i = 0; service != NULL && i < service->method_count; i++) {
        (void)json_array_append_new(methods, json_string(service->methods[i].full_name));
    }
    return json_pack("{s:s,s:o}", "name", name, "methods", methods);
}

/* The services that are shown: one that was asked for, else all that the daemon serves. */
static bool is_shown(const char *service, const char *only)
{
    return only == NULL || strcmp(service, only) == 0;
}

static int list_services_print(const Saga__V1__GetDescriptorSetResponse *set, const char *only,
                               bool json)
{
    struct saga_err_detail detail = {{0}};
    struct saga_schema *schema = NULL;
    size_t shown = 0;
    if (saga_schema_load((struct saga_bytes){set->descriptor_set.data, set->descriptor_set.len},
                         &schema, &detail) != SAGA_ERR_OK) {
        return saga_client_fail("the daemon's descriptor set: %s", detail.text);
    }
    json_t *array = json ? json_array() : NULL;
    for (size_t i = 0; i < set->n_services; i++) {
        saga_client_clean(set->services[i]);
        const struct saga_service *service = saga_schema_service(schema, set->services[i]);
        if (!is_shown(set->services[i], only)) {
            continue;
        }
        shown++;
        if (json) {
            (void)json_array_append_new(array, service_json(schema, set->services[i]));
            continue;
        }
        puts(set->services[i]);
        for (size_t k = 0; service != NULL && k < service->method_count; k++) {
            printf("  %s\n", service->methods[k].full_name);
        }
    }
    int status = SAGA_EXIT_OK;
    if (shown == 0 && only != NULL) {
        char hint[SAGA_SYMBOL_HINT_SIZE];
        saga_symbol_hint(schema, SAGA_SYMBOL_SERVICE, only, hint);
        status = saga_client_fail("%s: the daemon does not serve it%s", only, hint);
    }
    saga_schema_free(schema);
    int printed = json && status == SAGA_EXIT_OK ? saga_client_print_json(array) : SAGA_EXIT_OK;
    if (status != SAGA_EXIT_OK) {
        json_decref(array);
    }
    return status != SAGA_EXIT_OK ? status : printed;
}

static int list_services_run(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0 ||
        saga_client_operands(options, 1, 2, "ADDRESS, or the name of a daemon") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    struct saga_conn *conn = NULL;
    const ProtobufCMessage *answer = NULL;
    int status = saga_address_open(options, saga_options_operand(options, 0), &conn);
    if (status == SAGA_EXIT_OK) {
        status = saga_conn_call(conn, &request, &answer);
        if (status != SAGA_EXIT_OK) {
            tell_silence(conn);
        }
    }
    if (status == SAGA_EXIT_OK) {
        status = list_services_print(
            (const Saga__V1__GetDescriptorSetResponse *)answer,
            saga_options_operand_count(options) < 2 ? NULL : saga_options_operand(options, 1),
            json == 1);
    }
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_list_services = {
    .name = "list-services",
    .usage = "ADDRESS [SERVICE]",
    .summary = "list the services and methods of a daemon",
    .epilog =
        "ADDRESS is an NNG URL, or the name of a daemon of endpoints.json (sagad, orderd, …).",
    .shorts = "o=output",
    .run = list_services_run,
};

/* ---- health ---- */

static const struct saga_option health_options[] = {
    {"allow-degraded", NULL, "false",
     "a daemon that serves while a part of it is down (Kafka, a participant) is well enough",
     false},
};

/* Tells whether a part is a participant that `sagactl dev` does not run. name: as the daemon was
 * asked for; nobody knows who runs what is behind a URL. */
static bool is_foreign(const char *name, const Saga__V1__HealthPart *part)
{
    return strstr(name, "://") == NULL && strchr(part->name, '.') != NULL &&
           !saga_daemon_serves(part->name);
}

static void health_add_row(struct saga_table *table, const char *name,
                           const Saga__V1__CheckResponse *response)
{
    saga_table_add(table, "%s", name);
    saga_table_add(table, "%s", saga_view_health((int)response->state));
    saga_table_add(table, "%s", response->version);
    char parts[512] = "";
    for (size_t i = 0; i < response->n_parts; i++) {
        const Saga__V1__HealthPart *part = response->parts[i];
        size_t used = strlen(parts);
        bool well = part->state == SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING;
        if (well && strcmp(part->name, "definitions") == 0) {
            /* "2 paused: …": well, and worth knowing. */
            snprintf(parts + used, sizeof parts - used, "%sdefinitions %.*s", i == 0 ? "" : ", ",
                     (int)strcspn(part->detail, ":"), part->detail);
            continue;
        }
        snprintf(parts + used, sizeof parts - used, "%s%s %s%s%s%s%s", i == 0 ? "" : ", ",
                 part->name, well ? "ok" : saga_view_health((int)part->state),
                 !well && part->detail[0] != 0 ? " (" : "", well ? "" : part->detail,
                 !well && part->detail[0] != 0 && is_foreign(name, part) ? "; not run by dev" : "",
                 !well && part->detail[0] != 0 ? ")" : "");
    }
    saga_table_add(table, "%s", parts);
}

static json_t *health_json(const char *name, const Saga__V1__CheckResponse *response)
{
    json_t *parts = json_array();
    for (size_t i = 0; i < response->n_parts; i++) {
        const Saga__V1__HealthPart *part = response->parts[i];
        (void)json_array_append_new(parts, json_pack("{s:s,s:s,s:s}", "name", part->name, "state",
                                                     saga_view_health((int)part->state), "detail",
                                                     part->detail));
    }
    return json_pack("{s:s,s:s,s:s,s:o}", "daemon", name, "state",
                     saga_view_health((int)response->state), "version", response->version, "parts",
                     parts);
}

/* Asks one daemon; adds to the table or the array. */
static int health_ask(const struct saga_options *options, const char *name,
                      struct saga_table *table, json_t *array)
{
    Saga__V1__CheckRequest message = SAGA__V1__CHECK_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.HealthService/Check",
        .request = &message.base,
        .response_type = &saga__v1__check_response__descriptor,
    };
    struct saga_conn *conn = NULL;
    const ProtobufCMessage *answer = NULL;
    int status = saga_address_open(options, name, &conn);
    if (status == SAGA_EXIT_OK) {
        status = saga_conn_call(conn, &request, &answer);
    }
    if (status == SAGA_EXIT_OK) {
        const Saga__V1__CheckResponse *response = (const Saga__V1__CheckResponse *)answer;
        if (array != NULL) {
            (void)json_array_append_new(array, health_json(name, response));
        } else {
            health_add_row(table, name, response);
        }
        bool well = response->state == SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING ||
                    (response->state == SAGA__V1__HEALTH_STATE__HEALTH_STATE_DEGRADED &&
                     saga_options_on(options, "allow-degraded"));
        status = well ? SAGA_EXIT_OK : SAGA_EXIT_FAILED;
    } else if (array != NULL) {
        (void)json_array_append_new(array,
                                    json_pack("{s:s,s:s}", "daemon", name, "state", "UNREACHABLE"));
    } else {
        saga_table_add(table, "%s", name);
        saga_table_add(table, "UNREACHABLE");
        saga_table_add(table, " ");
        saga_table_add(table, " ");
    }
    saga_conn_close(conn);
    return status;
}

static int health_all(const struct saga_options *options, struct saga_table *table, json_t *array)
{
    size_t count = saga_options_operand_count(options);
    size_t total = count == 0 ? (size_t)SAGA_DAEMON_COUNT : count;
    int status = SAGA_EXIT_OK;
    for (size_t i = 0; i < total; i++) {
        const char *name =
            count == 0 ? saga_daemon_name((enum saga_daemon)i) : saga_options_operand(options, i);
        int one = health_ask(options, name, table, array);
        status = status == SAGA_EXIT_OK ? one : status;
    }
    return status;
}

static int health_run(const struct saga_options *options)
{
    static const char *const heads[] = {"DAEMON", "STATE", "VERSION", "PARTS"};
    struct saga_table table = {.column_count = 4};
    struct saga_endpoints endpoints;
    int json = saga_client_output_json(options);
    if (json < 0) {
        return SAGA_EXIT_USAGE;
    }
    size_t count = saga_options_operand_count(options);
    int status = count == 0 ? saga_client_endpoints(options, &endpoints) : SAGA_EXIT_OK;
    for (size_t i = 0; i < count && status == SAGA_EXIT_OK; i++) {
        status = saga_address_check(options, saga_options_operand(options, i));
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    json_t *array = json == 1 ? json_array() : NULL;
    for (size_t i = 0; i < table.column_count && array == NULL; i++) {
        saga_table_add(&table, "%s", heads[i]);
    }
    status = health_all(options, &table, array);
    int printed = array != NULL ? saga_client_print_json(array) : saga_table_print(&table);
    return status != SAGA_EXIT_OK ? status : printed;
}

const struct saga_verb saga_verb_health = {
    .name = "health",
    .usage = "[ADDRESS]… [--allow-degraded]",
    .summary = "ask daemons how they are; by default all of endpoints.json",
    .epilog = "Exit status: 0 when all are SERVING; 1 when one is DEGRADED or NOT_SERVING; 64 + N "
              "when one cannot be asked.\n"
              "With --allow-degraded, DEGRADED is 0 too: so it is when a participant that was "
              "applied does not\n"
              "run; \"not run by dev\" says that `sagactl dev` does not start it.",
    .options = health_options,
    .option_count = sizeof health_options / sizeof health_options[0],
    .shorts = "o=output",
    .run = health_run,
};
