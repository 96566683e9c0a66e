/* A graph in words, and as JSON. See graph.h. */
#include "client/graph.h"

#include <stdio.h>
#include <string.h>

#include "client/sagas.h"

static const char *const tone_colours[SAGA_GRAPH_TONE_COUNT] = {
    [SAGA_GRAPH_TONE_NONE] = "",           [SAGA_GRAPH_TONE_WAITING] = "",
    [SAGA_GRAPH_TONE_BUSY] = "\033[34m",   [SAGA_GRAPH_TONE_GOOD] = "\033[32m",
    [SAGA_GRAPH_TONE_BAD] = "\033[31m",    [SAGA_GRAPH_TONE_UNDONE] = "\033[33m",
    [SAGA_GRAPH_TONE_SKIPPED] = "\033[2m",
};

static void put_row(struct saga_graph_out *out, const char *indent, const char *key,
                    const char *text)
{
    if (text[0] != 0) {
        saga_graph_put(out, "%s%-6s %s\n", indent, key, text);
    }
}

static void put_head(const struct saga_graph *graph, struct saga_graph_out *out)
{
    const struct saga_decl *decl = graph->decl;
    char text[32];
    saga_graph_time_text(decl->deadline_ms, text, sizeof text);
    saga_graph_put(out, "saga %s, context %s\n", decl->name, decl->context->name);
    bool pivot = false;
    for (size_t i = 0; i < graph->step_count; i++) {
        pivot = pivot || graph->steps[i].kind == SAGA_GRAPH_PIVOT;
    }
    saga_graph_put(out, "turned back when %s in %s\n",
                   pivot ? "its pivot is not reached" : "it is not done", text);
    const char *before = "input: ";
    for (size_t i = 0; i < decl->context->field_count; i++) {
        if (saga_graph_is_input(graph, &decl->context->fields[i])) {
            saga_graph_put(out, "%s%s", before, decl->context->fields[i].name);
            before = ", ";
        }
    }
    saga_graph_put(out, "%s\n", before[0] == 'i' ? "no input" : "");
    if (graph->saga != NULL) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&graph->saga->saga_id, id);
        char next[512];
        snprintf(next, sizeof next, "%s%s", graph->saga->next_action[0] != 0 ? ": " : "",
                 graph->saga->next_action);
        saga_client_clean(next);
        saga_graph_put(out, "%s is %s%s\n", id, saga_view_state(graph->saga->state), next);
    }
}

/* The layers in a row: what has no step between may run at the same time. */
static void put_layers(const struct saga_graph *graph, struct saga_graph_out *out)
{
    saga_graph_put(out, "\n  ");
    for (size_t layer = 0; layer < graph->layer_count; layer++) {
        uint64_t mask = 0;
        for (size_t i = 0; i < graph->step_count; i++) {
            mask |= graph->steps[i].layer == layer ? UINT64_C(1) << i : 0;
        }
        char names[SAGA_STEPS_MAX * (SAGA_STEP_NAME_MAX + 2) + 1];
        saga_graph_steps_text(graph, mask, names, sizeof names);
        saga_graph_put(out, "%s%s", layer == 0 ? "" : "  >  ", names);
    }
    saga_graph_put(out, "\n");
}

static void put_step(const struct saga_graph *graph, const struct saga_graph_step *step,
                     bool colour, struct saga_graph_out *out)
{
    const struct saga_step_decl *decl = step->decl;
    char text[SAGA_GRAPH_PHRASE_SIZE];
    saga_graph_steps_text(graph, decl->after_mask, text, sizeof text);
    saga_graph_put(out, "\n%s: %s%s%s%s%s%s\n", decl->name, saga_graph_kind_name(step->kind),
                   decl->child != NULL ? ", child saga" : "", text[0] != 0 ? ", after " : "", text,
                   step->when[0] != 0 ? ", when " : "", step->when);
    saga_graph_state_text(graph, step, text, sizeof text);
    if (text[0] != 0) {
        const char *tone = colour ? tone_colours[saga_graph_tone(step)] : "";
        saga_graph_put(out, "  %-6s %s%s%s\n", "state", tone, text, tone[0] != 0 ? "\033[0m" : "");
    }
    if (decl->call != NULL) {
        put_row(out, "  ", "call", decl->call->full_name);
    } else {
        put_row(out, "  ", "saga", decl->child != NULL ? decl->child->name : "");
    }
    if (decl->call != NULL || decl->child != NULL) {
        saga_graph_flows_text(graph, &step->request, text, sizeof text);
        put_row(out, "    ", "in", text);
        saga_graph_flows_text(graph, &step->reply, text, sizeof text);
        put_row(out, "    ", "out", text);
        saga_graph_policy_text(step, false, text, sizeof text);
        put_row(out, "    ", "by", text);
    }
    if (decl->undo != NULL) {
        put_row(out, "  ", "undo", decl->undo->full_name);
        saga_graph_flows_text(graph, &step->undo_request, text, sizeof text);
        put_row(out, "    ", "in", text);
        saga_graph_policy_text(step, true, text, sizeof text);
        put_row(out, "    ", "by", text);
    } else if (step->undoable) {
        put_row(out, "  ", "undo", "the child saga is turned back");
    }
    saga_graph_steps_text(graph, step->undo_next, text, sizeof text);
    put_row(out, "  ", "back", text);
}

void saga_graph_text(const struct saga_graph *graph, bool colour, struct saga_graph_out *out)
{
    put_head(graph, out);
    put_layers(graph, out);
    for (size_t i = 0; i < graph->step_count; i++) {
        put_step(graph, &graph->steps[i], colour, out);
    }
}

/* ---- JSON ---- */

static json_t *names_json(const struct saga_graph *graph, uint64_t mask)
{
    json_t *array = json_array();
    for (size_t i = 0; i < graph->step_count; i++) {
        if ((mask & UINT64_C(1) << i) != 0) {
            (void)json_array_append_new(array, json_string(graph->steps[i].decl->name));
        }
    }
    return array;
}

static json_t *flows_json(const struct saga_graph *graph, const struct saga_graph_flows *flows,
                          bool into_request)
{
    json_t *array = json_array();
    for (size_t i = 0; i < flows->count; i++) {
        json_t *flow = json_pack("{s:s,s:s}", "from", flows->at[i].from, "to", flows->at[i].to);
        if (into_request) {
            (void)json_object_set_new(flow, "written_by", names_json(graph, flows->at[i].writers));
        }
        (void)json_array_append_new(array, flow);
    }
    return array;
}

/* One command of a step: method, data, policy. */
static json_t *command_json(const struct saga_graph *graph, const struct saga_graph_step *step,
                            bool undo)
{
    const struct saga_step_decl *decl = step->decl;
    const struct saga_method *method = undo ? decl->undo : decl->call;
    if (method == NULL) {
        return json_null();
    }
    json_t *object = json_pack(
        "{s:s,s:s,s:I,s:i,s:I,s:I,s:b,s:o}", "method", method->full_name, "via",
        (undo ? decl->undo_via : decl->call_via) == SAGA_VIA_KAFKA ? "kafka" : "nng", "deadline_ms",
        (json_int_t)(undo ? decl->undo_deadline_ms : decl->call_deadline_ms), "attempts_max",
        (int)(undo ? decl->undo_attempts_max : decl->call_attempts_max), "delay_ms",
        (json_int_t)(undo ? decl->undo_delay_ms : decl->call_delay_ms), "delay_ms_max",
        (json_int_t)(undo ? decl->undo_delay_ms_max : decl->call_delay_ms_max), "for_ever",
        undo || step->kind == SAGA_GRAPH_RETRIABLE, "request",
        flows_json(graph, undo ? &step->undo_request : &step->request, true));
    if (!undo) {
        (void)json_object_set_new(object, "reply", flows_json(graph, &step->reply, false));
    }
    return object;
}

static json_t *step_json(const struct saga_graph *graph, const struct saga_graph_step *step)
{
    const struct saga_step_decl *decl = step->decl;
    json_t *object = json_pack(
        "{s:s,s:s,s:i,s:o,s:o,s:o}", "name", decl->name, "kind", saga_graph_kind_name(step->kind),
        "layer", (int)step->layer, "after", names_json(graph, decl->after_mask), "call",
        command_json(graph, step, false), "undo", command_json(graph, step, true));
    (void)json_object_set_new(object, "undo_next", names_json(graph, step->undo_next));
    if (step->when[0] != 0) {
        (void)json_object_set_new(object, "when", json_string(step->when));
    }
    if (decl->child != NULL) {
        (void)json_object_set_new(object, "saga",
                                  json_pack("{s:s,s:o,s:o}", "name", decl->child->name, "input",
                                            flows_json(graph, &step->request, true), "result",
                                            flows_json(graph, &step->reply, false)));
    }
    if (step->view != NULL) {
        char text[SAGA_GRAPH_PHRASE_SIZE];
        json_t *status = saga_view_status_json(saga_view_last_status(graph->saga, step->view));
        saga_graph_state_text(graph, step, text, sizeof text);
        (void)json_object_set_new(object, "state",
                                  json_pack("{s:s,s:s,s:i,s:i,s:b,s:o}", "name",
                                            saga_view_step_state(step->view->state), "text", text,
                                            "call_attempts", (int)step->view->call_attempts,
                                            "undo_attempts", (int)step->view->undo_attempts,
                                            "stalled", step->view->stalled != 0, "last_status",
                                            status == NULL ? json_null() : status));
    }
    return object;
}

json_t *saga_graph_json(const struct saga_graph *graph)
{
    json_t *steps = json_array();
    json_t *inputs = json_array();
    const struct saga_message_type *context = graph->decl->context;
    for (size_t i = 0; i < graph->step_count; i++) {
        (void)json_array_append_new(steps, step_json(graph, &graph->steps[i]));
    }
    for (size_t i = 0; i < context->field_count; i++) {
        if (saga_graph_is_input(graph, &context->fields[i])) {
            (void)json_array_append_new(inputs, json_string(context->fields[i].name));
        }
    }
    json_t *object = json_pack("{s:s,s:s,s:I,s:o,s:o}", "saga", graph->decl->name, "context",
                               context->name, "deadline_ms", (json_int_t)graph->decl->deadline_ms,
                               "input", inputs, "steps", steps);
    if (graph->saga != NULL) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&graph->saga->saga_id, id);
        (void)json_object_set_new(object, "id", json_string(id));
        (void)json_object_set_new(object, "state",
                                  json_string(saga_view_state(graph->saga->state)));
    }
    return object;
}
