/* Where the boxes of a graph are: layers, order in them, places. See graph.h.
 *
 * An edge that passes layers has a node of its own in each of them, so that it never crosses a box;
 * edges of one kind from one step share these. Work is bounded by the bounds of a definition. */
#include "client/graph.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"

enum {
    ROW_MAX = 3 * SAGA_STEPS_MAX, /* of a layer: each step, or what passes from it, twice */
    ORDER_SWEEPS = 8,             /* down and up */
    PLACE_SWEEPS = 24,
    PASSING_WIDTH = 18, /* pixels of an edge's own node */
    BOX_GAP = 28,       /* pixels between neighbours */
    PASSING_GAP = 10,   /* one of them an edge */
    LAYER_GAP = 56,
};

struct work {
    struct saga_graph_layout *layout;
    uint16_t rows[SAGA_STEPS_MAX][ROW_MAX];
    size_t row_counts[SAGA_STEPS_MAX];
    uint16_t chain[2][SAGA_STEPS_MAX][SAGA_STEPS_MAX]; /* by undo, upper step, layer; 0: none */
    double keys[SAGA_GRAPH_NODES_MAX];
    double weights[SAGA_GRAPH_NODES_MAX];
    uint16_t best[SAGA_STEPS_MAX][ROW_MAX];
};

/* ---- Nodes and routes ---- */

static uint16_t add_node(struct work *work, size_t layer, bool is_step)
{
    struct saga_graph_layout *layout = work->layout;
    SAGA_ASSERT(layout->node_count < SAGA_GRAPH_NODES_MAX && work->row_counts[layer] < ROW_MAX);
    size_t index = layout->node_count++;
    struct saga_graph_node *node = &layout->nodes[index];
    node->layer = layer;
    node->order = work->row_counts[layer];
    node->is_step = is_step;
    if (!is_step) {
        node->width = PASSING_WIDTH;
        node->height = 0;
    }
    work->rows[layer][work->row_counts[layer]++] = (uint16_t)index;
    return (uint16_t)index;
}

static void add_route(struct work *work, size_t upper, size_t lower, bool undo)
{
    struct saga_graph_layout *layout = work->layout;
    SAGA_ASSERT(layout->route_count < SAGA_GRAPH_ROUTES_MAX);
    struct saga_graph_route *route = &layout->routes[layout->route_count++];
    size_t from = layout->nodes[upper].layer;
    size_t to = layout->nodes[lower].layer;
    SAGA_ASSERT(from < to);
    *route = (struct saga_graph_route){(uint8_t)upper, (uint8_t)lower, undo, {0}, 0};
    route->nodes[route->node_count++] = (uint16_t)upper;
    for (size_t layer = from + 1; layer < to; layer++) {
        uint16_t *passing = &work->chain[undo][upper][layer];
        *passing = *passing == 0 ? add_node(work, layer, false) : *passing;
        route->nodes[route->node_count++] = *passing;
    }
    route->nodes[route->node_count++] = (uint16_t)lower;
}

static void add_all(struct work *work, const struct saga_graph *graph)
{
    for (size_t i = 0; i < graph->step_count; i++) {
        (void)add_node(work, graph->steps[i].layer, true);
    }
    for (size_t i = 0; i < graph->step_count; i++) {
        for (size_t p = 0; p < graph->step_count; p++) {
            if ((graph->steps[i].decl->after_mask & UINT64_C(1) << p) != 0) {
                add_route(work, p, i, false);
            }
            if ((graph->steps[i].undo_next & UINT64_C(1) << p) != 0) {
                add_route(work, p, i, true);
            }
        }
    }
}

/* ---- Order in the layers ---- */

/* The node of a route in a layer; -1: the route does not come there. */
static int route_node(const struct saga_graph_layout *layout, const struct saga_graph_route *route,
                      size_t layer)
{
    size_t from = layout->nodes[route->upper].layer;
    return layer < from || layer >= from + route->node_count ? -1 : (int)route->nodes[layer - from];
}

static size_t count_crossings(const struct saga_graph_layout *layout)
{
    size_t crossings = 0;
    for (size_t layer = 0; layer + 1 < layout->layer_count; layer++) {
        for (size_t a = 0; a < layout->route_count; a++) {
            int a_up = route_node(layout, &layout->routes[a], layer);
            int a_down = route_node(layout, &layout->routes[a], layer + 1);
            for (size_t b = 0; a_up >= 0 && a_down >= 0 && b < a; b++) {
                int b_up = route_node(layout, &layout->routes[b], layer);
                int b_down = route_node(layout, &layout->routes[b], layer + 1);
                if (b_up < 0 || b_down < 0) {
                    continue;
                }
                const struct saga_graph_node *nodes = layout->nodes;
                crossings += (nodes[a_up].order < nodes[b_up].order &&
                              nodes[a_down].order > nodes[b_down].order) ||
                             (nodes[a_up].order > nodes[b_up].order &&
                              nodes[a_down].order < nodes[b_down].order);
            }
        }
    }
    return crossings;
}

/* Orders a layer by the mean order of its neighbours in another one; what has none there stays. */
static void order_layer(struct work *work, size_t layer, size_t fixed)
{
    struct saga_graph_layout *layout = work->layout;
    uint16_t *row = work->rows[layer];
    size_t count = work->row_counts[layer];
    for (size_t i = 0; i < count; i++) {
        work->keys[row[i]] = 0;
        work->weights[row[i]] = 0;
    }
    for (size_t i = 0; i < layout->route_count; i++) {
        int here = route_node(layout, &layout->routes[i], layer);
        int there = route_node(layout, &layout->routes[i], fixed);
        if (here >= 0 && there >= 0) {
            work->keys[here] += (double)layout->nodes[there].order;
            work->weights[here] += 1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        double weight = work->weights[row[i]];
        work->keys[row[i]] = weight > 0 ? work->keys[row[i]] / weight : (double)i;
    }
    for (size_t i = 1; i < count; i++) { /* by insertion: stable, and rows are short */
        uint16_t moved = row[i];
        size_t at = i;
        for (; at > 0 && work->keys[row[at - 1]] > work->keys[moved]; at--) {
            row[at] = row[at - 1];
        }
        row[at] = moved;
    }
    for (size_t i = 0; i < count; i++) {
        layout->nodes[row[i]].order = i;
    }
}

static void find_orders(struct work *work)
{
    struct saga_graph_layout *layout = work->layout;
    size_t fewest = count_crossings(layout);
    memcpy(work->best, work->rows, sizeof work->best);
    for (size_t sweep = 0; sweep < ORDER_SWEEPS && fewest > 0; sweep++) {
        for (size_t layer = 1; layer < layout->layer_count; layer++) {
            order_layer(work, layer, layer - 1);
        }
        for (size_t layer = layout->layer_count - 1; layer > 0; layer--) {
            order_layer(work, layer - 1, layer);
        }
        size_t crossings = count_crossings(layout);
        if (crossings < fewest) {
            fewest = crossings;
            memcpy(work->best, work->rows, sizeof work->best);
        }
    }
    memcpy(work->rows, work->best, sizeof work->rows);
    for (size_t layer = 0; layer < layout->layer_count; layer++) {
        for (size_t i = 0; i < work->row_counts[layer]; i++) {
            layout->nodes[work->rows[layer][i]].order = i;
        }
    }
}

/* ---- Places ---- */

/* The distance that the centres of two neighbours keep. */
static double apart(const struct saga_graph_node *left, const struct saga_graph_node *right)
{
    double gap = left->is_step && right->is_step ? BOX_GAP : PASSING_GAP;
    return left->width / 2 + gap + right->width / 2;
}

/* Some neighbours that want to be further left than the ones before them: they move as one. */
struct block {
    double sum, weight; /* of what they want, less their distance from the first */
    size_t begin;
};

/* Places a layer as near as can be to where each node wants to be (keys), in order and with the
 * distances kept: the least sum of squares, by pooling neighbours that are in each other's way. */
static void place_layer(struct work *work, size_t layer)
{
    struct saga_graph_node *nodes = work->layout->nodes;
    const uint16_t *row = work->rows[layer];
    size_t count = work->row_counts[layer];
    double offsets[ROW_MAX];
    struct block blocks[ROW_MAX];
    size_t block_count = 0;
    for (size_t i = 0; i < count; i++) {
        offsets[i] = i == 0 ? 0 : offsets[i - 1] + apart(&nodes[row[i - 1]], &nodes[row[i]]);
        double weight = work->weights[row[i]];
        blocks[block_count++] =
            (struct block){(work->keys[row[i]] - offsets[i]) * weight, weight, i};
        while (block_count > 1) {
            struct block *last = &blocks[block_count - 1];
            struct block *before = last - 1;
            if (before->sum / before->weight <= last->sum / last->weight) {
                break;
            }
            before->sum += last->sum;
            before->weight += last->weight;
            block_count--;
        }
    }
    for (size_t b = 0; b < block_count; b++) {
        size_t end = b + 1 < block_count ? blocks[b + 1].begin : count;
        for (size_t i = blocks[b].begin; i < end; i++) {
            nodes[row[i]].x = blocks[b].sum / blocks[b].weight + offsets[i];
        }
    }
}

/* Wants every node of a layer in the middle of its neighbours (fixed -1: of both sides). */
static void want(struct work *work, size_t layer, int fixed)
{
    struct saga_graph_layout *layout = work->layout;
    for (size_t i = 0; i < work->row_counts[layer]; i++) {
        work->keys[work->rows[layer][i]] = 0;
        work->weights[work->rows[layer][i]] = 0;
    }
    for (size_t i = 0; i < layout->route_count; i++) {
        int here = route_node(layout, &layout->routes[i], layer);
        if (here >= 0 && layout->routes[i].undo && layout->nodes[here].is_step) {
            continue; /* undo edges follow the boxes, not the reverse */
        }
        for (size_t side = 0; here >= 0 && side < 2; side++) {
            size_t other = side == 0 ? layer - 1 : layer + 1;
            if (other >= layout->layer_count || (fixed >= 0 && (size_t)fixed != other)) {
                continue; /* layer - 1 of the first is beyond the last */
            }
            int there = route_node(layout, &layout->routes[i], other);
            if (there >= 0) {
                work->keys[here] += layout->nodes[there].x;
                work->weights[here] += 1;
            }
        }
    }
    for (size_t i = 0; i < work->row_counts[layer]; i++) {
        uint16_t node = work->rows[layer][i];
        double count = work->weights[node];
        work->keys[node] = count > 0 ? work->keys[node] / count : layout->nodes[node].x;
        /* Edges are kept straight rather than boxes in the middle. */
        work->weights[node] = count == 0 ? 0.1 : layout->nodes[node].is_step ? 1 : 4;
    }
}

static void find_places(struct work *work)
{
    struct saga_graph_layout *layout = work->layout;
    for (size_t layer = 0; layer < layout->layer_count; layer++) {
        for (size_t i = 0; i < work->row_counts[layer]; i++) {
            work->keys[work->rows[layer][i]] = 0;
            work->weights[work->rows[layer][i]] = 1;
        }
        place_layer(work, layer);
    }
    for (size_t sweep = 0; sweep < PLACE_SWEEPS; sweep++) {
        bool last = sweep >= PLACE_SWEEPS / 2; /* at last between both sides */
        for (size_t layer = 1; layer < layout->layer_count; layer++) {
            want(work, layer, last ? -1 : (int)layer - 1);
            place_layer(work, layer);
        }
        for (size_t layer = layout->layer_count - 1; layer > 0; layer--) {
            want(work, layer - 1, last ? -1 : (int)layer);
            place_layer(work, layer - 1);
        }
    }
}

/* Moves all to begin at 0 and sets the heights. */
static void find_bounds(struct saga_graph_layout *layout)
{
    double left = 0;
    double right = 0;
    for (size_t i = 0; i < layout->node_count; i++) {
        struct saga_graph_node *node = &layout->nodes[i];
        double from = node->x - node->width / 2;
        double to = node->x + node->width / 2;
        left = i == 0 || from < left ? from : left;
        right = i == 0 || to > right ? to : right;
        double *height = &layout->layer_height[node->layer];
        *height = node->height > *height ? node->height : *height;
    }
    double y = 0;
    for (size_t layer = 0; layer < layout->layer_count; layer++) {
        layout->layer_y[layer] = y;
        y += layout->layer_height[layer] + LAYER_GAP;
    }
    for (size_t i = 0; i < layout->node_count; i++) {
        layout->nodes[i].x -= left;
        layout->nodes[i].y = layout->layer_y[layout->nodes[i].layer];
    }
    layout->width = right - left;
    layout->height = y - LAYER_GAP;
}

enum saga_err saga_graph_lay_out(const struct saga_graph *graph, struct saga_graph_layout *layout)
{
    struct work *work = calloc(1, sizeof *work);
    if (work == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    work->layout = layout;
    layout->node_count = 0;
    layout->route_count = 0;
    layout->layer_count = graph->layer_count;
    memset(layout->layer_height, 0, sizeof layout->layer_height);
    add_all(work, graph);
    find_orders(work);
    find_places(work);
    find_bounds(layout);
    free(work);
    return SAGA_ERR_OK;
}
