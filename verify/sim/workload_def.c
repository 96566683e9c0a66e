/* Writes random sagas down as a FileDescriptorSet, as protoc would. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/wire/envelope.h"
#include "common/wire/wire.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "saga/v1/options.pb-c.h"
#include "verify/sim/workload_plan.h"

typedef Google__Protobuf__DescriptorProto descriptor;
typedef Google__Protobuf__FieldDescriptorProto field_descriptor;
typedef Google__Protobuf__MethodDescriptorProto method_descriptor;

enum {
    OPTION_DEFINITION = 50100,
    OPTION_TOPICS = 50101,
    MESSAGES_MAX = 2 + SAGA_WORKLOAD_DEFINITIONS_MAX * (1 + 4 * PLAN_STEPS_MAX),
    METHODS_MAX = SAGA_WORKLOAD_DEFINITIONS_MAX * 2 * PLAN_STEPS_MAX,
    NAME_SIZE = 96,
    BINDS_MAX = PLAN_FIELDS_MAX,
};

struct writing {
    struct saga_arena arena;
    bool no_memory;
    const struct plans *plans;
    Google__Protobuf__FileDescriptorProto file;
    descriptor *messages[MESSAGES_MAX];
    Google__Protobuf__ServiceDescriptorProto *services[SAGA_WORKLOAD_SERVICES_MAX];
    method_descriptor *methods[SAGA_WORKLOAD_SERVICES_MAX][METHODS_MAX];
};

/* ---- Memory: what cannot be had is noted, and the place stays NULL ---- */

static void *take(struct writing *writing, size_t size)
{
    void *memory = saga_arena_take(&writing->arena, size);
    if (memory == NULL) {
        writing->no_memory = true;
        return NULL;
    }
    return memset(memory, 0, size);
}

static char *text(struct writing *writing, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static char *text(struct writing *writing, const char *format, ...)
{
    char *made = take(writing, NAME_SIZE);
    va_list args;
    va_start(args, format);
    if (made != NULL) {
        (void)vsnprintf(made, NAME_SIZE, format, args);
    }
    va_end(args);
    return made;
}

/* ---- Options: extensions stand among the unknown fields ---- */

static void put_option(struct writing *writing, ProtobufCMessage *options, uint32_t number,
                       const ProtobufCMessage *value)
{
    size_t size = protobuf_c_message_get_packed_size(value);
    ProtobufCMessageUnknownField *unknown = take(writing, sizeof *unknown);
    uint8_t *data = take(writing, size + SAGA_VARINT_SIZE_MAX);
    if (unknown == NULL || data == NULL) {
        return;
    }
    uint8_t *end = saga_wire_put_varint(data, size);
    end += protobuf_c_message_pack(value, end);
    *unknown = (ProtobufCMessageUnknownField){
        .tag = number,
        .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
        .len = (size_t)(end - data),
        .data = data,
    };
    options->n_unknown_fields = 1;
    options->unknown_fields = unknown;
}

/* ---- Messages ---- */

static descriptor *add_message(struct writing *writing, char *name, size_t field_max)
{
    static const descriptor empty = GOOGLE__PROTOBUF__DESCRIPTOR_PROTO__INIT;
    descriptor *message = take(writing, sizeof *message);
    field_descriptor **fields = take(writing, (field_max + 1) * sizeof(field_descriptor *));
    if (message == NULL || fields == NULL || name == NULL) {
        return NULL;
    }
    *message = empty;
    message->name = name;
    message->field = fields;
    SAGA_ASSERT(writing->file.n_message_type < MESSAGES_MAX);
    writing->messages[writing->file.n_message_type++] = message;
    return message;
}

static void add_field(struct writing *writing, descriptor *message, char *name,
                      const struct plan_field *field)
{
    static const field_descriptor empty = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__INIT;
    field_descriptor *made = take(writing, sizeof *made);
    if (message == NULL || made == NULL || name == NULL) {
        return;
    }
    *made = empty;
    made->name = name;
    made->has_number = true;
    made->number = (int32_t)message->n_field + 1;
    made->has_label = true;
    made->label = field->repeated ? GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED
                                  : GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL;
    made->has_type = true;
    made->type = (Google__Protobuf__FieldDescriptorProto__Type)field->type;
    made->type_name = field->type == SAGA_FIELD_MESSAGE ? text(writing, ".sim.v1.Item")
                      : field->type == SAGA_FIELD_ENUM  ? text(writing, ".sim.v1.Kind")
                                                        : NULL;
    message->field[message->n_field++] = made;
}

static void add_item(struct writing *writing)
{
    static const enum saga_field_type types[] = {SAGA_FIELD_INT64, SAGA_FIELD_STRING,
                                                 SAGA_FIELD_UINT32};
    descriptor *item = add_message(writing, text(writing, "Item"), 3);
    for (size_t i = 0; i < 3; i++) {
        struct plan_field field = {.type = types[i], .repeated = i == 2};
        add_field(writing, item, text(writing, "part_%zu", i), &field);
    }
}

static void add_kind(struct writing *writing)
{
    static const Google__Protobuf__EnumDescriptorProto empty =
        GOOGLE__PROTOBUF__ENUM_DESCRIPTOR_PROTO__INIT;
    static const Google__Protobuf__EnumValueDescriptorProto empty_value =
        GOOGLE__PROTOBUF__ENUM_VALUE_DESCRIPTOR_PROTO__INIT;
    static const char *const names[] = {"KIND_NONE", "KIND_A", "KIND_B"};
    enum { COUNT = 3 };
    Google__Protobuf__EnumDescriptorProto *kind = take(writing, sizeof *kind);
    Google__Protobuf__EnumDescriptorProto **kinds = take(writing, sizeof *kinds);
    Google__Protobuf__EnumValueDescriptorProto **values = take(writing, COUNT * sizeof *values);
    if (kind == NULL || kinds == NULL || values == NULL) {
        return;
    }
    *kind = empty;
    kind->name = text(writing, "Kind");
    kind->value = values;
    for (int32_t i = 0; i < COUNT; i++) {
        Google__Protobuf__EnumValueDescriptorProto *value = take(writing, sizeof *value);
        if (value == NULL) {
            return;
        }
        *value = empty_value;
        value->name = text(writing, "%s", names[i]);
        value->has_number = true;
        value->number = i;
        values[kind->n_value++] = value;
    }
    kinds[0] = kind;
    writing->file.enum_type = kinds;
    writing->file.n_enum_type = 1;
}

/* ---- Names ---- */

static char *field_name(struct writing *writing, size_t definition, int field)
{
    return text(writing, "d%zu_f%d", definition, field);
}

static char *use_name(struct writing *writing, size_t definition, const struct plan_use *use)
{
    return use->renamed ? text(writing, "x_%d", use->field)
                        : field_name(writing, definition, use->field);
}

/* ---- Methods ---- */

struct method {
    size_t service;
    char *name; /* "D0Step1Call" */
    bool silent;
};

static char *add_method(struct writing *writing, const struct method *method)
{
    static const method_descriptor empty = GOOGLE__PROTOBUF__METHOD_DESCRIPTOR_PROTO__INIT;
    static const Google__Protobuf__MethodOptions no_options =
        GOOGLE__PROTOBUF__METHOD_OPTIONS__INIT;
    method_descriptor *made = take(writing, sizeof *made);
    Google__Protobuf__MethodOptions *options = take(writing, sizeof *options);
    Google__Protobuf__ServiceDescriptorProto *service = writing->services[method->service];
    if (made == NULL || options == NULL || service == NULL || method->name == NULL) {
        return NULL;
    }
    *made = empty;
    made->name = method->name;
    made->input_type = text(writing, ".sim.v1.%sRequest", method->name);
    made->output_type = text(writing, ".sim.v1.%sResponse", method->name);
    if (method->silent) {
        *options = no_options;
        options->has_idempotency_level = true;
        options->idempotency_level =
            GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__NO_SIDE_EFFECTS;
        made->options = options;
    }
    SAGA_ASSERT(service->n_method < METHODS_MAX);
    service->method[service->n_method++] = made;
    return text(writing, "sim.v1.S%zu/%s", method->service, method->name);
}

static void add_request(struct writing *writing, size_t definition, const char *method,
                        const struct plan_use *uses, size_t count)
{
    const struct plan *plan = &writing->plans->list[definition];
    descriptor *message = add_message(writing, text(writing, "%sRequest", method), count);
    for (size_t i = 0; i < count; i++) {
        add_field(writing, message, use_name(writing, definition, &uses[i]),
                  &plan->fields[uses[i].field]);
    }
}

static void add_bind(struct writing *writing, Saga__V1__Bind ***binds, size_t *count, char *from,
                     char *to)
{
    static const Saga__V1__Bind empty = SAGA__V1__BIND__INIT;
    Saga__V1__Bind *bind = take(writing, sizeof *bind);
    if (*binds == NULL) {
        *binds = take(writing, BINDS_MAX * sizeof **binds);
    }
    if (bind == NULL || *binds == NULL || from == NULL || to == NULL) {
        return;
    }
    *bind = empty;
    bind->from = from;
    bind->to = to;
    SAGA_ASSERT(*count < BINDS_MAX);
    (*binds)[(*count)++] = bind;
}

static void add_use_binds(struct writing *writing, size_t definition, const struct plan_use *uses,
                          size_t use_count, Saga__V1__Bind ***binds, size_t *count)
{
    for (size_t i = 0; i < use_count; i++) {
        if (uses[i].renamed) {
            add_bind(writing, binds, count, field_name(writing, definition, uses[i].field),
                     use_name(writing, definition, &uses[i]));
        }
    }
}

/* ---- Steps ---- */

static char *step_name(struct writing *writing, size_t step)
{
    return text(writing, "step-%zu", step);
}

static void add_call(struct writing *writing, size_t definition, size_t at, Saga__V1__Step *option)
{
    const struct plan *plan = &writing->plans->list[definition];
    const struct plan_step *step = &plan->steps[at];
    char *name = text(writing, "D%zuStep%zuCall", definition, at);
    if (name == NULL) {
        return;
    }
    add_request(writing, definition, name, step->call_uses, step->call_use_count);
    add_use_binds(writing, definition, step->call_uses, step->call_use_count, &option->bind,
                  &option->n_bind);
    descriptor *response =
        add_message(writing, text(writing, "%sResponse", name), step->result_count + 1);
    for (size_t i = 0; i < step->result_count; i++) {
        add_field(writing, response, field_name(writing, definition, step->results[i]),
                  &plan->fields[step->results[i]]);
    }
    static const struct plan_field note = {.type = SAGA_FIELD_STRING};
    add_field(writing, response, text(writing, "note"), &note); /* the context does not take it */
    struct method method = {.service = step->service, .name = name, .silent = step->silent};
    option->call = add_method(writing, &method);
}

static void add_undo(struct writing *writing, size_t definition, size_t at, Saga__V1__Step *option)
{
    const struct plan_step *step = &writing->plans->list[definition].steps[at];
    char *name = text(writing, "D%zuStep%zuUndo", definition, at);
    if (name == NULL) {
        return;
    }
    add_request(writing, definition, name, step->undo_uses, step->undo_use_count);
    add_use_binds(writing, definition, step->undo_uses, step->undo_use_count, &option->undo_bind,
                  &option->n_undo_bind);
    (void)add_message(writing, text(writing, "%sResponse", name), 0);
    struct method method = {.service = step->undo_service, .name = name};
    option->undo = add_method(writing, &method);
}

/* A field that a step may read and that a child's input field can take; PLAN_NONE. */
static int find_source(const struct plan *plan, const struct plan_step *step,
                       const struct plan_field *wanted)
{
    for (size_t i = 0; i < plan->field_count; i++) {
        const struct plan_field *field = &plan->fields[i];
        bool known = field->writer == PLAN_NONE || (step->before_mask >> field->writer & 1) != 0;
        if (known && field->type == wanted->type && field->repeated == wanted->repeated) {
            return (int)i;
        }
    }
    return PLAN_NONE;
}

static void add_child(struct writing *writing, size_t definition, size_t at, Saga__V1__Step *option)
{
    const struct plan *plan = &writing->plans->list[definition];
    const struct plan_step *step = &plan->steps[at];
    const struct plan *child = &writing->plans->list[step->child];
    size_t result = 0;
    option->saga = text(writing, "sim-%d", step->child);
    option->defaulted = take(writing, PLAN_FIELDS_MAX * sizeof *option->defaulted);
    for (int i = 0; i < (int)child->field_count && option->defaulted != NULL; i++) {
        const struct plan_field *field = &child->fields[i];
        char *name = field_name(writing, (size_t)step->child, i);
        int source = find_source(plan, step, field);
        if (field->writer != PLAN_NONE) {
            if (result < step->result_count) {
                add_bind(writing, &option->result, &option->n_result, name,
                         field_name(writing, definition, step->results[result++]));
            }
        } else if (source != PLAN_NONE) {
            add_bind(writing, &option->bind, &option->n_bind,
                     field_name(writing, definition, source), name);
        } else {
            option->defaulted[option->n_defaulted++] = name;
        }
    }
}

static Saga__V1__RetryPolicy *make_policy(struct writing *writing, const struct plan_step *step)
{
    static const Saga__V1__RetryPolicy empty = SAGA__V1__RETRY_POLICY__INIT;
    Saga__V1__RetryPolicy *policy = take(writing, sizeof *policy);
    if (policy != NULL) {
        *policy = empty;
        policy->attempts_max = step->attempts_max;
        policy->delay_ms = step->delay_ms;
        policy->delay_ms_max = step->delay_ms_max;
    }
    return policy;
}

static Saga__V1__When *make_when(struct writing *writing, size_t definition,
                                 const struct plan_step *step)
{
    static const Saga__V1__When empty = SAGA__V1__WHEN__INIT;
    const struct plan_field *field = &writing->plans->list[definition].fields[step->when];
    Saga__V1__When *when = take(writing, sizeof *when);
    if (when == NULL) {
        return NULL;
    }
    *when = empty;
    when->field = field_name(writing, definition, step->when);
    if (step->when_set) {
        return when; /* equals stays "": it must be set */
    }
    when->equals = field->type == SAGA_FIELD_BOOL     ? text(writing, "true")
                   : field->type == SAGA_FIELD_ENUM   ? text(writing, "KIND_B")
                   : field->type == SAGA_FIELD_STRING ? text(writing, "yes")
                                                      : text(writing, "7");
    return when;
}

static void add_methods(struct writing *writing, size_t definition, size_t at,
                        Saga__V1__Step *option)
{
    const struct plan_step *step = &writing->plans->list[definition].steps[at];
    if (step->role != PLAN_STARTER) {
        add_call(writing, definition, at, option);
        option->read_only = step->role == PLAN_READ;
        option->via = step->kafka ? SAGA__V1__VIA__VIA_KAFKA : SAGA__V1__VIA__VIA_UNSPECIFIED;
        option->retry = make_policy(writing, step);
        option->deadline_ms = step->deadline_ms;
    }
    if (step->role == PLAN_STARTER || step->role == PLAN_UNDOABLE) {
        add_undo(writing, definition, at, option);
        option->undo_retry = make_policy(writing, step);
        option->undo_deadline_ms = step->undo_deadline_ms;
    }
}

static Saga__V1__Step *make_step(struct writing *writing, size_t definition, size_t at)
{
    static const Saga__V1__Step empty = SAGA__V1__STEP__INIT;
    const struct plan_step *step = &writing->plans->list[definition].steps[at];
    Saga__V1__Step *option = take(writing, sizeof *option);
    char **after = take(writing, PLAN_STEPS_MAX * sizeof *after);
    if (option == NULL || after == NULL) {
        return NULL;
    }
    *option = empty;
    option->name = step_name(writing, at);
    option->after = after;
    for (size_t i = 0; i < at; i++) {
        if ((step->after_mask >> i & 1) != 0) {
            after[option->n_after++] = step_name(writing, i);
        }
    }
    option->pivot = step->role == PLAN_PIVOT;
    if (step->when != PLAN_NONE) {
        option->when = make_when(writing, definition, step);
    }
    if (step->child != PLAN_NONE) {
        add_child(writing, definition, at, option);
    } else {
        add_methods(writing, definition, at, option);
    }
    return option;
}

/* ---- Definitions, services, the set ---- */

static void add_definition(struct writing *writing, size_t at)
{
    static const Google__Protobuf__MessageOptions no_options =
        GOOGLE__PROTOBUF__MESSAGE_OPTIONS__INIT;
    const struct plan *plan = &writing->plans->list[at];
    Saga__V1__Definition definition = SAGA__V1__DEFINITION__INIT;
    Saga__V1__Step *steps[PLAN_STEPS_MAX] = {0};
    definition.name = text(writing, "sim-%zu", at);
    definition.deadline_ms = plan->deadline_ms;
    definition.step = steps;
    for (size_t i = 0; i < plan->step_count; i++) {
        steps[definition.n_step++] = make_step(writing, at, i);
    }
    descriptor *context = add_message(writing, text(writing, "Context%zu", at), plan->field_count);
    Google__Protobuf__MessageOptions *options = take(writing, sizeof *options);
    if (writing->no_memory || context == NULL || options == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->field_count; i++) {
        add_field(writing, context, field_name(writing, at, (int)i), &plan->fields[i]);
    }
    *options = no_options;
    put_option(writing, &options->base, OPTION_DEFINITION, &definition.base);
    context->options = options;
}

static void add_service(struct writing *writing, size_t at)
{
    static const Google__Protobuf__ServiceDescriptorProto empty =
        GOOGLE__PROTOBUF__SERVICE_DESCRIPTOR_PROTO__INIT;
    static const Google__Protobuf__ServiceOptions no_options =
        GOOGLE__PROTOBUF__SERVICE_OPTIONS__INIT;
    Saga__V1__Topics topics = SAGA__V1__TOPICS__INIT;
    Google__Protobuf__ServiceDescriptorProto *service = take(writing, sizeof *service);
    Google__Protobuf__ServiceOptions *options = take(writing, sizeof *options);
    topics.command = text(writing, "sim-to-s%zu", at);
    topics.reply = text(writing, "s%zu-to-sim", at);
    if (writing->no_memory) {
        return;
    }
    *service = empty;
    *options = no_options;
    service->name = text(writing, "S%zu", at);
    service->method = writing->methods[at];
    service->options = options;
    put_option(writing, &options->base, OPTION_TOPICS, &topics.base);
    writing->services[at] = service;
    writing->file.n_service++;
}

static void write_all(struct writing *writing)
{
    static const Google__Protobuf__FileDescriptorProto empty =
        GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    writing->file = empty;
    writing->file.name = text(writing, "sim/v1/sim.proto");
    writing->file.package = text(writing, "sim.v1");
    writing->file.syntax = text(writing, "proto3");
    writing->file.message_type = writing->messages;
    writing->file.service = writing->services;
    add_kind(writing);
    add_item(writing);
    for (size_t i = 0; i < writing->plans->service_count && !writing->no_memory; i++) {
        add_service(writing, i);
    }
    for (size_t i = 0; i < writing->plans->count && !writing->no_memory; i++) {
        add_definition(writing, i);
    }
}

enum saga_err saga_workload_definitions(uint64_t seed, const struct saga_workload_shape *shape,
                                        struct saga_buf *out)
{
    struct plans *plans = calloc(1, sizeof *plans);
    struct writing *writing = calloc(1, sizeof *writing);
    enum saga_err err = SAGA_ERR_NO_MEMORY;
    if (plans != NULL && writing != NULL) {
        saga_workload_plan(seed, shape, plans);
        writing->plans = plans;
        write_all(writing);
        Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
        Google__Protobuf__FileDescriptorProto *files[] = {&writing->file};
        set.n_file = 1;
        set.file = files;
        if (!writing->no_memory) {
            err = saga_message_encode(&set.base, out);
        }
        saga_arena_fini(&writing->arena);
    }
    free(writing);
    free(plans);
    return err;
}
