/* A graph as a Mermaid flowchart. See graph.h. */
#include "client/graph.h"

#include <stdio.h>
#include <string.h>

#include "client/sagas.h"

/* The two ends of a box. */
struct shape {
    const char *open;
    const char *close;
};

static struct shape step_shape(const struct saga_graph_step *step)
{
    if (step->decl->child != NULL) {
        return (struct shape){"[[", "]]"};
    }
    switch (step->kind) {
    case SAGA_GRAPH_STARTER:
        return (struct shape){"([", "])"};
    case SAGA_GRAPH_READ_ONLY:
        return (struct shape){"[/", "/]"};
    case SAGA_GRAPH_PIVOT:
        return (struct shape){"{{", "}}"};
    case SAGA_GRAPH_COMPENSATABLE:
    case SAGA_GRAPH_RETRIABLE:
        break;
    }
    return (struct shape){"[", "]"};
}

/* Writes a text into a quoted label: entities, with Mermaid's '#', for what it or HTML would
 * read. */
static void put_label(struct saga_graph_out *out, const char *text)
{
    for (; *text != 0; text++) {
        if (strchr("\"#&<>;`\\", *text) != NULL) {
            saga_graph_put(out, "#%d;", *text);
        } else {
            saga_graph_put_bytes(out, text, 1);
        }
    }
}

static void put_node(const struct saga_graph *graph, size_t index, struct saga_graph_lines *lines,
                     struct saga_graph_out *out)
{
    const struct saga_graph_step *step = &graph->steps[index];
    struct shape shape = step_shape(step);
    saga_graph_box(graph, index, lines);
    saga_graph_put(out, "  s%zu%s\"", index, shape.open);
    for (size_t i = 0; i < lines->count; i++) {
        const char *text = lines->at[i].text;
        saga_graph_put(out, "%s", i == 0 ? "<b>" : "<br/>");
        put_label(out, text + strspn(text, " "));
        saga_graph_put(out, "%s", i == 0 ? "</b>" : "");
    }
    saga_graph_put(out, "\"%s\n", shape.close);
}

static void put_edges(const struct saga_graph *graph, struct saga_graph_out *out)
{
    for (size_t i = 0; i < graph->step_count; i++) {
        for (size_t p = 0; p < graph->step_count; p++) {
            if ((graph->steps[i].decl->after_mask & UINT64_C(1) << p) != 0) {
                saga_graph_put(out, "  s%zu --> s%zu\n", p, i);
            }
        }
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        for (size_t p = 0; p < graph->step_count; p++) {
            if ((graph->steps[i].undo_next & UINT64_C(1) << p) != 0) {
                saga_graph_put(out, "  s%zu -. undo .-> s%zu\n", i, p);
            }
        }
    }
}

/* Colours: by state when there is a saga, else only the pivot is marked. */
static void put_classes(const struct saga_graph *graph, struct saga_graph_out *out)
{
    static const char *const colours[SAGA_GRAPH_TONE_COUNT] = {
        [SAGA_GRAPH_TONE_WAITING] = "fill:#f5f5f5,stroke:#757575,color:#212121",
        [SAGA_GRAPH_TONE_BUSY] = "fill:#bbdefb,stroke:#0d47a1,color:#0d2b57",
        [SAGA_GRAPH_TONE_GOOD] = "fill:#c8e6c9,stroke:#1b5e20,color:#0b3310",
        [SAGA_GRAPH_TONE_BAD] = "fill:#ffcdd2,stroke:#b71c1c,color:#5a0d0d",
        [SAGA_GRAPH_TONE_UNDONE] = "fill:#ffe0b2,stroke:#e65100,color:#5a2000",
        [SAGA_GRAPH_TONE_SKIPPED] = "fill:#e0e0e0,stroke:#9e9e9e,color:#424242",
    };
    if (graph->saga == NULL) {
        saga_graph_put(out, "  classDef pivot stroke-width:3px\n");
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        if (graph->saga == NULL && graph->steps[i].kind == SAGA_GRAPH_PIVOT) {
            saga_graph_put(out, "  class s%zu pivot\n", i);
        }
    }
    for (int tone = SAGA_GRAPH_TONE_WAITING; tone < SAGA_GRAPH_TONE_COUNT; tone++) {
        const char *name = saga_graph_tone_name((enum saga_graph_tone)tone);
        bool defined = false;
        for (size_t i = 0; i < graph->step_count; i++) {
            if (saga_graph_tone(&graph->steps[i]) == (enum saga_graph_tone)tone) {
                if (!defined) {
                    saga_graph_put(out, "  classDef %s %s\n", name, colours[tone]);
                }
                defined = true;
                saga_graph_put(out, "  class s%zu %s\n", i, name);
            }
        }
    }
}

void saga_graph_mermaid(const struct saga_graph *graph, struct saga_graph_out *out)
{
    struct saga_graph_lines lines;
    char deadline[32];
    saga_graph_time_text(graph->decl->deadline_ms, deadline, sizeof deadline);
    saga_graph_put(out, "flowchart TD\n");
    saga_graph_put(out, "  %%%% saga %s, context %s, deadline %s\n", graph->decl->name,
                   graph->decl->context->name, deadline);
    if (graph->saga != NULL) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&graph->saga->saga_id, id);
        saga_graph_put(out, "  %%%% %s %s\n", id, saga_view_state(graph->saga->state));
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        put_node(graph, i, &lines, out);
    }
    put_edges(graph, out);
    put_classes(graph, out);
}
