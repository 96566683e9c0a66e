/* From a definition to its graph. See graph.h. */
#include "client/graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/wire.h"

const char *saga_graph_kind_name(enum saga_graph_kind kind)
{
    switch (kind) {
    case SAGA_GRAPH_STARTER:
        return "starter";
    case SAGA_GRAPH_READ_ONLY:
        return "read-only";
    case SAGA_GRAPH_COMPENSATABLE:
        return "compensatable";
    case SAGA_GRAPH_PIVOT:
        return "pivot";
    case SAGA_GRAPH_RETRIABLE:
        break;
    }
    return "retriable";
}

/* ---- The order of steps ---- */

/* Fills ancestors and layers. A definition is without circles, so that as many rounds as there are
 * steps are enough. */
static void find_order(struct saga_graph *graph)
{
    for (size_t round = 0; round < graph->step_count; round++) {
        for (size_t i = 0; i < graph->step_count; i++) {
            struct saga_graph_step *step = &graph->steps[i];
            for (size_t p = 0; p < graph->step_count; p++) {
                if ((step->decl->after_mask & UINT64_C(1) << p) != 0) {
                    const struct saga_graph_step *before = &graph->steps[p];
                    step->ancestors |= before->ancestors | UINT64_C(1) << p;
                    step->layer = before->layer + 1 > step->layer ? before->layer + 1 : step->layer;
                }
            }
        }
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        size_t layers = graph->steps[i].layer + 1;
        graph->layer_count = layers > graph->layer_count ? layers : graph->layer_count;
    }
}

static void find_kinds(struct saga_graph *graph)
{
    uint64_t pivots = 0;
    for (size_t i = 0; i < graph->step_count; i++) {
        pivots |= graph->steps[i].decl->pivot ? UINT64_C(1) << i : 0;
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        struct saga_graph_step *step = &graph->steps[i];
        const struct saga_step_decl *decl = step->decl;
        bool behind = (step->ancestors & pivots) != 0;
        if (decl->pivot) {
            step->kind = SAGA_GRAPH_PIVOT;
        } else if (behind) {
            step->kind = SAGA_GRAPH_RETRIABLE;
        } else if (decl->call == NULL && decl->child == NULL) {
            step->kind = SAGA_GRAPH_STARTER;
        } else if (decl->read_only) {
            step->kind = SAGA_GRAPH_READ_ONLY;
        } else {
            step->kind = SAGA_GRAPH_COMPENSATABLE;
        }
        step->undoable = !decl->pivot && !behind && (decl->undo != NULL || decl->child != NULL);
    }
}

/* S5: undos run in reverse order of dependency. From a step they reach the nearest steps before it
 * that have an undo; steps without one are passed over, and so is what another of those comes to
 * anyway. Nothing behind the pivot is undone. */
static void find_undos(struct saga_graph *graph)
{
    uint64_t reach[SAGA_STEPS_MAX] = {0};
    for (size_t layer = 0; layer < graph->layer_count; layer++) {
        for (size_t i = 0; i < graph->step_count; i++) {
            struct saga_graph_step *step = &graph->steps[i];
            for (size_t p = 0; step->layer == layer && p < graph->step_count; p++) {
                if ((step->decl->after_mask & UINT64_C(1) << p) != 0) {
                    reach[i] |= graph->steps[p].undoable ? UINT64_C(1) << p : reach[p];
                }
            }
        }
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        struct saga_graph_step *step = &graph->steps[i];
        uint64_t next = step->kind == SAGA_GRAPH_RETRIABLE ? 0 : reach[i];
        for (size_t p = 0; p < graph->step_count; p++) {
            if ((reach[i] & UINT64_C(1) << p) != 0) {
                next &= ~graph->steps[p].ancestors;
            }
        }
        step->undo_next = next;
    }
}

/* ---- Data ---- */

static const char *field_name(const struct saga_message_type *type, uint32_t number)
{
    const struct saga_field *field =
        type == NULL ? NULL : saga_message_field_by_number(type, number);
    return field == NULL ? "?" : field->name;
}

static bool writes(const struct saga_step_decl *decl, uint32_t number)
{
    for (size_t i = 0; i < decl->result_bind.count; i++) {
        if (decl->result_bind.fields[i].to == number) {
            return true;
        }
    }
    return false;
}

bool saga_graph_is_input(const struct saga_graph *graph, const struct saga_field *field)
{
    for (size_t i = 0; i < graph->step_count; i++) {
        if (writes(graph->steps[i].decl, field->number)) {
            return false;
        }
    }
    return true;
}

static void find_flows(struct saga_graph *graph, const struct saga_graph_step *step,
                       const struct saga_bind_table *table, const struct saga_message_type *target,
                       struct saga_graph_flows *flows)
{
    for (size_t i = 0; i < table->count; i++) {
        struct saga_graph_flow *flow = &flows->at[flows->count++];
        flow->from = field_name(graph->decl->context, table->fields[i].from);
        flow->to = field_name(target, table->fields[i].to);
        for (size_t p = 0; p < graph->step_count; p++) {
            bool before = (step->ancestors & UINT64_C(1) << p) != 0;
            if (before && writes(graph->steps[p].decl, table->fields[i].from)) {
                flow->writers |= UINT64_C(1) << p;
            }
        }
    }
}

static void find_data(struct saga_graph *graph, struct saga_graph_step *step)
{
    const struct saga_step_decl *decl = step->decl;
    const struct saga_message_type *request = decl->child != NULL  ? decl->child->context
                                              : decl->call != NULL ? decl->call->request
                                                                   : NULL;
    const struct saga_message_type *response = decl->child != NULL  ? decl->child->context
                                               : decl->call != NULL ? decl->call->response
                                                                    : NULL;
    if (request != NULL) {
        find_flows(graph, step, &decl->call_bind, request, &step->request);
    }
    if (decl->undo != NULL) {
        find_flows(graph, step, &decl->undo_bind, decl->undo->request, &step->undo_request);
    }
    for (size_t i = 0; response != NULL && i < decl->result_bind.count; i++) {
        step->reply.at[step->reply.count++] = (struct saga_graph_flow){
            .from = field_name(response, decl->result_bind.fields[i].from),
            .to = field_name(graph->decl->context, decl->result_bind.fields[i].to),
        };
    }
}

/* ---- Conditions ---- */

static int64_t unzigzag(uint64_t number)
{
    return (int64_t)(number >> 1) ^ -(int64_t)(number & 1);
}

/* Writes the value that a condition asks for; a text within quotes. */
static void when_value(const struct saga_when *when, const struct saga_field *field, char *text,
                       size_t size)
{
    int32_t narrow = (int32_t)(uint32_t)when->number;
    if (when->is_bytes) {
        /* Room for the quotes and the dots; what is left of a byte that is none is "?". */
        struct saga_bytes shown = saga_wire_utf8_cut(when->bytes, size - 8);
        text[0] = '"';
        for (size_t i = 0; i < shown.size; i++) {
            text[1 + i] = shown.data[i] == 0 ? '?' : (char)shown.data[i];
        }
        snprintf(text + 1 + shown.size, size - 1 - shown.size, "%s\"",
                 shown.size < when->bytes.size ? "…" : "");
        saga_client_clean(text);
    } else if (when->type == SAGA_FIELD_BOOL) {
        snprintf(text, size, "%s", when->number != 0 ? "true" : "false");
    } else if (when->type == SAGA_FIELD_SINT32 || when->type == SAGA_FIELD_SINT64) {
        snprintf(text, size, "%" PRId64, unzigzag(when->number));
    } else if (when->type == SAGA_FIELD_INT64 || when->type == SAGA_FIELD_SFIXED64) {
        snprintf(text, size, "%" PRId64, (int64_t)when->number);
    } else if (when->type == SAGA_FIELD_INT32 || when->type == SAGA_FIELD_SFIXED32 ||
               when->type == SAGA_FIELD_ENUM) {
        snprintf(text, size, "%" PRId32, narrow);
    } else {
        snprintf(text, size, "%" PRIu64, when->number);
    }
    for (size_t i = 0; field->enumeration != NULL && i < field->enumeration->value_count; i++) {
        if (field->enumeration->values[i].number == narrow) {
            snprintf(text, size, "%s", field->enumeration->values[i].name);
            return;
        }
    }
}

static void find_when(const struct saga_graph *graph, struct saga_graph_step *step)
{
    const struct saga_when *when = &step->decl->when;
    const struct saga_field *field =
        when->there ? saga_message_field_by_number(graph->decl->context, when->field) : NULL;
    char value[64];
    if (field == NULL) {
        return;
    }
    if (when->must_be_set) {
        snprintf(step->when, sizeof step->when, "%.60s is set", field->name);
        return;
    }
    when_value(when, field, value, sizeof value);
    snprintf(step->when, sizeof step->when, "%.60s = %s", field->name, value);
}

/* ---- All together ---- */

static const Saga__V1__StepView *find_view(const Saga__V1__SagaView *saga, const char *name)
{
    for (size_t i = 0; saga != NULL && i < saga->n_steps; i++) {
        if (strcmp(saga->steps[i]->name, name) == 0) {
            return saga->steps[i];
        }
    }
    return NULL;
}

enum saga_err saga_graph_new(const struct saga_decl *decl, const Saga__V1__SagaView *saga,
                             struct saga_graph **graph)
{
    struct saga_graph *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->decl = decl;
    made->saga = saga;
    made->step_count = decl->step_count;
    for (size_t i = 0; i < decl->step_count; i++) {
        made->steps[i].decl = &decl->steps[i];
        made->steps[i].view = find_view(saga, decl->steps[i].name);
    }
    find_order(made);
    find_kinds(made);
    find_undos(made);
    for (size_t i = 0; i < made->step_count; i++) {
        find_data(made, &made->steps[i]);
        find_when(made, &made->steps[i]);
    }
    *graph = made;
    return SAGA_ERR_OK;
}

void saga_graph_free(struct saga_graph *graph)
{
    free(graph);
}
