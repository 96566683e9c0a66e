/* A graph for Graphviz. See graph.h. */
#include "client/graph.h"

#include <stdio.h>
#include <string.h>

#include "client/sagas.h"

/* Fill colours by kind, border colours by state; both are told in words too. */
static const char *const kind_fills[] = {
    [SAGA_GRAPH_STARTER] = "#eceff1",       [SAGA_GRAPH_READ_ONLY] = "#f5f5f5",
    [SAGA_GRAPH_COMPENSATABLE] = "#e3f2fd", [SAGA_GRAPH_PIVOT] = "#fff3c4",
    [SAGA_GRAPH_RETRIABLE] = "#e8f5e9",
};
static const char *const tone_fills[SAGA_GRAPH_TONE_COUNT] = {
    [SAGA_GRAPH_TONE_WAITING] = "#f5f5f5", [SAGA_GRAPH_TONE_BUSY] = "#bbdefb",
    [SAGA_GRAPH_TONE_GOOD] = "#c8e6c9",    [SAGA_GRAPH_TONE_BAD] = "#ffcdd2",
    [SAGA_GRAPH_TONE_UNDONE] = "#ffe0b2",  [SAGA_GRAPH_TONE_SKIPPED] = "#e0e0e0",
};

/* Writes a text into a quoted string. A backslash is doubled, since DOT gives "\N" and the like a
 * meaning; '&' would begin an entity. */
static void put_quoted(struct saga_graph_out *out, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\') {
            saga_graph_put(out, "\\%c", *text);
        } else if (*text == '&') {
            saga_graph_put(out, "&amp;");
        } else {
            saga_graph_put_bytes(out, text, 1);
        }
    }
}

static void put_node(const struct saga_graph *graph, size_t index, struct saga_graph_lines *lines,
                     struct saga_graph_out *out)
{
    const struct saga_graph_step *step = &graph->steps[index];
    enum saga_graph_tone tone = saga_graph_tone(step);
    saga_graph_box(graph, index, lines);
    saga_graph_put(out, "  s%zu [label=\"", index);
    for (size_t i = 0; i < lines->count; i++) {
        put_quoted(out, lines->at[i].text);
        saga_graph_put(out, "\\l");
    }
    saga_graph_put(out, "\", fillcolor=\"%s\"",
                   tone == SAGA_GRAPH_TONE_NONE ? kind_fills[step->kind] : tone_fills[tone]);
    if (step->decl->child != NULL) {
        saga_graph_put(out, ", peripheries=2");
    }
    if (step->kind == SAGA_GRAPH_PIVOT) {
        saga_graph_put(out, ", penwidth=3");
    }
    saga_graph_put(out, step->when[0] != 0 || step->kind == SAGA_GRAPH_READ_ONLY
                            ? ", style=\"filled,rounded,dashed\"];\n"
                            : "];\n");
}

static void put_title(const struct saga_graph *graph, struct saga_graph_out *out)
{
    char deadline[32];
    saga_graph_time_text(graph->decl->deadline_ms, deadline, sizeof deadline);
    put_quoted(out, graph->decl->name);
    saga_graph_put(out, " (%s), deadline %s", graph->decl->context->name, deadline);
    if (graph->saga != NULL) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&graph->saga->saga_id, id);
        saga_graph_put(out, ": %s %s", id, saga_view_state(graph->saga->state));
    }
}

void saga_graph_dot(const struct saga_graph *graph, struct saga_graph_out *out)
{
    struct saga_graph_lines lines;
    saga_graph_put(out, "digraph \"");
    put_quoted(out, graph->decl->name);
    saga_graph_put(out, "\" {\n  label=\"");
    put_title(graph, out);
    saga_graph_put(out, "\";\n"
                        "  labelloc=t;\n"
                        "  rankdir=TB;\n"
                        "  fontname=\"Helvetica\";\n"
                        "  node [shape=box, style=\"filled,rounded\", fontname=\"Courier\", "
                        "fontsize=10];\n"
                        "  edge [fontname=\"Helvetica\", fontsize=9];\n");
    for (size_t i = 0; i < graph->step_count; i++) {
        put_node(graph, i, &lines, out);
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        for (size_t p = 0; p < graph->step_count; p++) {
            if ((graph->steps[i].decl->after_mask & UINT64_C(1) << p) != 0) {
                saga_graph_put(out, "  s%zu -> s%zu;\n", p, i);
            }
        }
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        for (size_t p = 0; p < graph->step_count; p++) {
            if ((graph->steps[i].undo_next & UINT64_C(1) << p) != 0) {
                saga_graph_put(out,
                               "  s%zu -> s%zu [style=dashed, color=\"#b71c1c\", "
                               "fontcolor=\"#b71c1c\", constraint=false, label=\"undo\"];\n",
                               i, p);
            }
        }
    }
    saga_graph_put(out, "}\n");
}
