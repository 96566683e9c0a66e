/* A graph as a picture. See graph.h. */
#include "client/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/sagas.h"
#include "common/base/assert.h"

/* Pixels. The font is of fixed width; COLUMN is more than 0.6 em, which such fonts have, so that a
 * line stays in its box whatever font there is. */
enum {
    MARGIN = 24,
    PADDING = 12,
    FONT = 12,
    LINE = 17,
    HEAD = 56,
    FOOT = 44,
    PORT = 9, /* how far left and right of the middle edges and undo edges touch a box */
    BOX_WIDTH_MIN = 170,
    PICTURE_WIDTH_MIN = 620,
};
static const double COLUMN = 7.4;

static const char style[] =
    "<style>\n"
    "  .paper { fill: #ffffff; }\n"
    "  text { font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', "
    "monospace; font-size: 12px; fill: #1b1f24; white-space: pre; }\n"
    "  .head { font-size: 15px; font-weight: bold; }\n"
    "  .name { font-weight: bold; font-size: 13px; }\n"
    "  .kind, .policy { fill: #57606a; }\n"
    "  .undo { fill: #a40e26; }\n"
    "  .state { font-weight: bold; }\n"
    "  .box { fill: #f6f8fa; stroke: #57606a; stroke-width: 1.5; }\n"
    "  .inner { fill: none; stroke: #57606a; stroke-width: 1; }\n"
    "  .starter .box { fill: #eaeef2; }\n"
    "  .read-only .box, .conditional .box { stroke-dasharray: 5 3; }\n"
    "  .compensatable .box { fill: #ddf4ff; stroke: #0969da; }\n"
    "  .pivot .box { fill: #fff8c5; stroke: #9a6700; stroke-width: 3.5; }\n"
    "  .retriable .box { fill: #dafbe1; stroke: #1a7f37; }\n"
    "  .waiting .box, .skipped .box { fill: #f6f8fa; stroke: #8c959f; }\n"
    "  .busy .box { fill: #b6e3ff; stroke: #0550ae; }\n"
    "  .good .box { fill: #aceebb; stroke: #116329; }\n"
    "  .bad .box { fill: #ffcecb; stroke: #a40e26; }\n"
    "  .undone .box { fill: #ffd8b5; stroke: #953800; }\n"
    "  .edge { fill: none; stroke: #57606a; stroke-width: 1.5; }\n"
    "  .undo-edge { fill: none; stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 6 4; }\n"
    "  .tip { fill: #57606a; }\n"
    "  .undo-tip { fill: #cf222e; }\n"
    "  @media (prefers-color-scheme: dark) {\n"
    "    .paper { fill: #0d1117; }\n"
    "    text { fill: #e6edf3; }\n"
    "    .kind, .policy { fill: #9198a1; }\n"
    "    .undo { fill: #ff8182; }\n"
    "    .box { fill: #161b22; stroke: #9198a1; }\n"
    "    .inner { stroke: #9198a1; }\n"
    "    .starter .box { fill: #21262d; }\n"
    "    .compensatable .box { fill: #0c2d4d; stroke: #58a6ff; }\n"
    "    .pivot .box { fill: #3b2e04; stroke: #d29922; }\n"
    "    .retriable .box { fill: #0f2d1a; stroke: #3fb950; }\n"
    "    .waiting .box, .skipped .box { fill: #161b22; stroke: #6e7681; }\n"
    "    .busy .box { fill: #0c3a6e; stroke: #79c0ff; }\n"
    "    .good .box { fill: #0f4023; stroke: #56d364; }\n"
    "    .bad .box { fill: #5c1116; stroke: #ff7b72; }\n"
    "    .undone .box { fill: #562c0c; stroke: #f0883e; }\n"
    "    .edge { stroke: #9198a1; }\n"
    "    .undo-edge { stroke: #ff7b72; }\n"
    "    .tip { fill: #9198a1; }\n"
    "    .undo-tip { fill: #ff7b72; }\n"
    "  }\n"
    "</style>\n";

static const char *const line_classes[] = {
    [SAGA_GRAPH_LINE_NAME] = "name",   [SAGA_GRAPH_LINE_KIND] = "kind",
    [SAGA_GRAPH_LINE_STATE] = "state", [SAGA_GRAPH_LINE_CALL] = "call",
    [SAGA_GRAPH_LINE_DATA] = "data",   [SAGA_GRAPH_LINE_POLICY] = "policy",
    [SAGA_GRAPH_LINE_UNDO] = "undo",
};

struct picture {
    const struct saga_graph *graph;
    struct saga_graph_out *out;
    struct saga_graph_layout layout;
    double left; /* of the layout */
    struct saga_graph_lines boxes[SAGA_STEPS_MAX];
};

static void put_escaped(struct saga_graph_out *out, const char *text)
{
    for (; *text != 0; text++) {
        switch (*text) {
        case '&':
            saga_graph_put(out, "&amp;");
            break;
        case '<':
            saga_graph_put(out, "&lt;");
            break;
        case '>':
            saga_graph_put(out, "&gt;");
            break;
        case '"':
            saga_graph_put(out, "&quot;");
            break;
        default:
            saga_graph_put_bytes(out, text, 1);
        }
    }
}

static double box_width(const struct saga_graph_lines *lines)
{
    size_t columns = 0;
    for (size_t i = 0; i < lines->count; i++) {
        size_t width = saga_graph_columns(lines->at[i].text);
        /* The name is larger and bold. */
        width += lines->at[i].kind == SAGA_GRAPH_LINE_NAME ? width / 8 + 1 : 0;
        columns = width > columns ? width : columns;
    }
    double width = (double)columns * COLUMN + 2 * PADDING;
    return width > BOX_WIDTH_MIN ? width : BOX_WIDTH_MIN;
}

static void put_box(struct picture *picture, size_t index)
{
    const struct saga_graph_step *step = &picture->graph->steps[index];
    const struct saga_graph_node *node = &picture->layout.nodes[index];
    const struct saga_graph_lines *lines = &picture->boxes[index];
    struct saga_graph_out *out = picture->out;
    enum saga_graph_tone tone = saga_graph_tone(step);
    double left = picture->left + node->x - node->width / 2;
    double top = HEAD + node->y;
    saga_graph_put(out, "<g class=\"step %s%s%s%s\">\n<title>", saga_graph_kind_name(step->kind),
                   step->when[0] != 0 ? " conditional" : "",
                   tone == SAGA_GRAPH_TONE_NONE ? "" : " ",
                   tone == SAGA_GRAPH_TONE_NONE ? "" : saga_graph_tone_name(tone));
    put_escaped(out, step->decl->name);
    saga_graph_put(out, ": %s", saga_graph_kind_name(step->kind));
    if (step->view != NULL) {
        saga_graph_put(out, ", %s", saga_view_step_state(step->view->state));
    }
    saga_graph_put(out,
                   "</title>\n<rect class=\"box\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                   "height=\"%.1f\" rx=\"%d\"/>\n",
                   left, top, node->width, node->height, step->kind == SAGA_GRAPH_STARTER ? 16 : 6);
    if (step->decl->child != NULL) {
        saga_graph_put(out,
                       "<rect class=\"inner\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                       "height=\"%.1f\" rx=\"4\"/>\n",
                       left + 4, top + 4, node->width - 8, node->height - 8);
    }
    for (size_t i = 0; i < lines->count; i++) {
        const struct saga_graph_line *line = &lines->at[i];
        size_t indent = strspn(line->text, " ");
        saga_graph_put(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", line_classes[line->kind],
                       left + PADDING + (double)indent * COLUMN,
                       top + PADDING + (double)i * LINE + FONT);
        put_escaped(out, line->text + indent);
        saga_graph_put(out, "</text>\n");
    }
    saga_graph_put(out, "</g>\n");
}

/* One edge: straight down beside the boxes of a layer, a curve between layers. An undo edge is told
 * from its lower end, so that its tip is at the upper one. */
static void put_route(struct picture *picture, const struct saga_graph_route *route)
{
    const struct saga_graph_layout *layout = &picture->layout;
    struct saga_graph_out *out = picture->out;
    struct {
        double x, y;
    } points[2 * SAGA_STEPS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < route->node_count; i++) {
        const struct saga_graph_node *node = &layout->nodes[route->nodes[i]];
        double x = picture->left + node->x + (node->is_step ? (route->undo ? PORT : -PORT) : 0);
        double top = HEAD + layout->layer_y[node->layer];
        if (i > 0) {
            points[count].x = x;
            points[count++].y = top - (node->is_step && !route->undo ? 8 : 0);
        }
        if (i + 1 < route->node_count) {
            points[count].x = x;
            points[count++].y = top + layout->layer_height[node->layer];
        }
    }
    SAGA_ASSERT(count >= 2); /* a route has two steps */
    /* Where it touches the upper box, which may end before its layer does; an undo edge leaves room
     * for its tip. */
    const struct saga_graph_node *upper = &layout->nodes[route->upper];
    double begin = HEAD + upper->y + upper->height + (route->undo ? 8 : 0);
    points[0].y = begin > points[0].y ? begin : points[0].y;
    const char *name = picture->graph->decl->name;
    saga_graph_put(out, "<path class=\"%s\" marker-end=\"url(#%s-%s)\" d=\"",
                   route->undo ? "undo-edge" : "edge", name, route->undo ? "undo" : "next");
    bool short_box = begin < points[0].y;
    if (!route->undo && short_box) {
        saga_graph_put(out, "M%.1f %.1f", points[0].x, begin);
    }
    for (size_t n = 0; n < count; n++) {
        size_t i = route->undo ? count - 1 - n : n;
        bool gap_ends = n % 2 == 1; /* points come in pairs: the two sides of a gap */
        if (n == 0 && (route->undo || !short_box)) {
            saga_graph_put(out, "M%.1f %.1f", points[i].x, points[i].y);
        } else if (gap_ends) {
            size_t last = route->undo ? i + 1 : i - 1;
            double middle = (points[i].y + points[last].y) / 2;
            saga_graph_put(out, " C%.1f %.1f %.1f %.1f %.1f %.1f", points[last].x, middle,
                           points[i].x, middle, points[i].x, points[i].y);
        } else {
            saga_graph_put(out, " L%.1f %.1f", points[i].x, points[i].y);
        }
    }
    if (route->undo && short_box) {
        saga_graph_put(out, " L%.1f %.1f", points[0].x, begin);
    }
    saga_graph_put(out, "\"/>\n");
}

static void put_marker(struct saga_graph_out *out, const char *name, const char *kind,
                       const char *class)
{
    saga_graph_put(out,
                   "<marker id=\"%s-%s\" markerUnits=\"userSpaceOnUse\" markerWidth=\"10\" "
                   "markerHeight=\"10\" refX=\"1\" refY=\"5\" orient=\"auto\">"
                   "<path class=\"%s\" d=\"M0 0.5 L9 5 L0 9.5 z\"/></marker>\n",
                   name, kind, class);
}

static void put_head(struct picture *picture, double width, double height)
{
    const struct saga_graph *graph = picture->graph;
    struct saga_graph_out *out = picture->out;
    const char *name = graph->decl->name;
    char deadline[32];
    char live[SAGA_ID_TEXT_SIZE + 32] = "";
    saga_graph_time_text(graph->decl->deadline_ms, deadline, sizeof deadline);
    if (graph->saga != NULL) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&graph->saga->saga_id, id);
        snprintf(live, sizeof live, "%s %s, ", id, saga_view_state(graph->saga->state));
    }
    saga_graph_put(out,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                   "width=\"%.0f\" height=\"%.0f\" role=\"img\" "
                   "aria-labelledby=\"%s-title %s-desc\">\n"
                   "<title id=\"%s-title\">Saga %s</title>\n<desc id=\"%s-desc\">",
                   width, height, width, height, name, name, name, name, name);
    for (size_t i = 0; i < graph->step_count; i++) {
        char after[SAGA_GRAPH_PHRASE_SIZE];
        const struct saga_graph_step *step = &graph->steps[i];
        saga_graph_steps_text(graph, step->decl->after_mask, after, sizeof after);
        saga_graph_put(out, "%s%s, %s%s%s", i == 0 ? "" : "; ", step->decl->name,
                       saga_graph_kind_name(step->kind), after[0] != 0 ? ", after " : "", after);
    }
    saga_graph_put(out, ".</desc>\n%s<defs>\n", style);
    put_marker(out, name, "next", "tip");
    put_marker(out, name, "undo", "undo-tip");
    saga_graph_put(out,
                   "</defs>\n<rect class=\"paper\" width=\"%.0f\" height=\"%.0f\"/>\n"
                   "<text class=\"head\" x=\"%d\" y=\"26\">%s</text>\n"
                   "<text class=\"kind\" x=\"%d\" y=\"44\">%scontext %s, deadline %s</text>\n",
                   width, height, MARGIN, name, MARGIN, live, graph->decl->context->name, deadline);
}

static void put_legend(struct picture *picture, double y)
{
    saga_graph_put(picture->out,
                   "<g class=\"legend\">\n"
                   "<path class=\"edge\" d=\"M%d %.1f h36\"/>\n"
                   "<text class=\"kind\" x=\"%d\" y=\"%.1f\">then</text>\n"
                   "<path class=\"undo-edge\" d=\"M%d %.1f h36\"/>\n"
                   "<text class=\"kind\" x=\"%d\" y=\"%.1f\">undone next, when the saga turns "
                   "back</text>\n"
                   "</g>\n",
                   MARGIN, y, MARGIN + 44, y + 4, MARGIN + 100, y, MARGIN + 144, y + 4);
}

void saga_graph_svg(const struct saga_graph *graph, struct saga_graph_out *out)
{
    struct picture *picture = calloc(1, sizeof *picture);
    if (picture == NULL) {
        out->err = SAGA_ERR_NO_MEMORY;
        return;
    }
    picture->graph = graph;
    picture->out = out;
    for (size_t i = 0; i < graph->step_count; i++) {
        struct saga_graph_lines *lines = &picture->boxes[i];
        saga_graph_box(graph, i, lines);
        picture->layout.nodes[i].width = box_width(lines);
        picture->layout.nodes[i].height = (double)lines->count * LINE + 2 * PADDING;
    }
    if (out->err == SAGA_ERR_OK) {
        out->err = saga_graph_lay_out(graph, &picture->layout);
    }
    if (out->err == SAGA_ERR_OK) {
        double width = picture->layout.width + 2 * MARGIN;
        double height = HEAD + picture->layout.height + FOOT;
        width = width > PICTURE_WIDTH_MIN ? width : PICTURE_WIDTH_MIN;
        picture->left = (width - picture->layout.width) / 2;
        put_head(picture, width, height);
        for (size_t i = 0; i < picture->layout.route_count; i++) {
            put_route(picture, &picture->layout.routes[i]);
        }
        for (size_t i = 0; i < graph->step_count; i++) {
            put_box(picture, i);
        }
        put_legend(picture, height - FOOT / 2.0);
        saga_graph_put(out, "</svg>\n");
    }
    free(picture);
}
