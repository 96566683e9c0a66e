/* The picture of a saga: what its definition means, as a graph that is drawn as text, DOT, SVG,
 * Mermaid or JSON.
 *
 * A graph borrows from the schema of its definition and from the view of the saga that colours it;
 * both must live as long. One thread. */
#ifndef SAGA_CLIENT_GRAPH_H
#define SAGA_CLIENT_GRAPH_H

#include <jansson.h>

#include "client/client.h"
#include "common/wire/schema.h"
#include "saga/v1/orchestrator.pb-c.h"

/* What a step is to the saga. */
enum saga_graph_kind {
    SAGA_GRAPH_STARTER,   /* done by whoever starts the saga */
    SAGA_GRAPH_READ_ONLY, /* no effect, nothing to undo */
    SAGA_GRAPH_COMPENSATABLE,
    SAGA_GRAPH_PIVOT,
    SAGA_GRAPH_RETRIABLE, /* behind the pivot: tried until it succeeds */
};

/* One field on its way between the context and a request or a reply. */
struct saga_graph_flow {
    const char *from;
    const char *to;
    uint64_t writers; /* into a request: the steps before it that write the context's field; none:
                         it is input */
};

struct saga_graph_flows {
    struct saga_graph_flow at[SAGA_BINDS_MAX];
    size_t count;
};

struct saga_graph_step {
    const struct saga_step_decl *decl;
    enum saga_graph_kind kind;
    bool undoable; /* it has an undo, or is a child saga that can be turned back */
    uint64_t ancestors;
    uint64_t undo_next; /* what is undone next when it said no, or when its own undo is done */
    size_t layer;       /* longest path from a step without predecessors */
    struct saga_graph_flows request, reply, undo_request;
    char when[128];                 /* "with_car is set"; "": no condition */
    const Saga__V1__StepView *view; /* of the saga that colours the graph; NULL: none */
};

struct saga_graph {
    const struct saga_decl *decl;
    struct saga_graph_step steps[SAGA_STEPS_MAX];
    size_t step_count;
    size_t layer_count;
    const Saga__V1__SagaView *saga; /* that colours it; NULL: none */
};

/* Builds the graph of a definition, coloured by a saga (NULL: not). Errors: NO_MEMORY. Owns: the
 * caller, until saga_graph_free. */
enum saga_err saga_graph_new(const struct saga_decl *decl, const Saga__V1__SagaView *saga,
                             struct saga_graph **graph) SAGA_WARN_UNUSED;
void saga_graph_free(struct saga_graph *graph);

/* Gives "starter", "read-only", "compensatable", "pivot", "retriable". */
const char *saga_graph_kind_name(enum saga_graph_kind kind);

/* Tells whether no step of the saga writes a field of its context: it comes with the start. */
bool saga_graph_is_input(const struct saga_graph *graph, const struct saga_field *field);

/* ---- Drawing: each appends the whole drawing to out. ---- */

/* Text that gathers; an error sticks and is looked at once, at the end. */
struct saga_graph_out {
    struct saga_buf buf;
    enum saga_err err;
};

void saga_graph_put(struct saga_graph_out *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void saga_graph_put_bytes(struct saga_graph_out *out, const char *text, size_t size);

/* Words in lines; `colour`: states in ANSI colours. */
void saga_graph_text(const struct saga_graph *graph, bool colour, struct saga_graph_out *out);
/* Graphviz. */
void saga_graph_dot(const struct saga_graph *graph, struct saga_graph_out *out);
/* A Mermaid flowchart. */
void saga_graph_mermaid(const struct saga_graph *graph, struct saga_graph_out *out);
/* A picture with a layout of its own, legible on light and dark. */
void saga_graph_svg(const struct saga_graph *graph, struct saga_graph_out *out);
/* The graph as a JSON object. NULL: out of memory. */
json_t *saga_graph_json(const struct saga_graph *graph);

/* ---- What the drawings share ---- */

/* What a line in a box tells. */
enum saga_graph_line_kind {
    SAGA_GRAPH_LINE_NAME,
    SAGA_GRAPH_LINE_KIND,
    SAGA_GRAPH_LINE_STATE,
    SAGA_GRAPH_LINE_CALL,
    SAGA_GRAPH_LINE_DATA,
    SAGA_GRAPH_LINE_POLICY,
    SAGA_GRAPH_LINE_UNDO,
};

enum {
    SAGA_GRAPH_COLUMNS = 48,    /* of a line in a box */
    SAGA_GRAPH_LINE_SIZE = 256, /* bytes of it */
    SAGA_GRAPH_LINES_MAX = 40,  /* lines in a box; what does not fit is told as "…" */
};

struct saga_graph_line {
    enum saga_graph_line_kind kind;
    char text[SAGA_GRAPH_LINE_SIZE];
};

struct saga_graph_lines {
    struct saga_graph_line at[SAGA_GRAPH_LINES_MAX];
    size_t count;
};

/* Writes what stands in a step's box, folded to SAGA_GRAPH_COLUMNS. */
void saga_graph_box(const struct saga_graph *graph, size_t step, struct saga_graph_lines *lines);

/* Gives the columns that a text takes in a font of fixed width; what is not ASCII counts two. */
size_t saga_graph_columns(const char *text);

enum { SAGA_GRAPH_PHRASE_SIZE = 4096 };

/* Writes phrases (zero-terminated; cut at size):
 * fields "a, b (stock), c -> d", "none";
 * a step's call or undo "NNG, 5 s a try, 5 tries, 50 ms to 10 s apart";
 * its state "SUCCEEDED, 2 calls", "" without a saga; the steps of a mask "a, b"; a time "1 min". */
void saga_graph_flows_text(const struct saga_graph *graph, const struct saga_graph_flows *flows,
                           char *text, size_t size);
void saga_graph_policy_text(const struct saga_graph_step *step, bool undo, char *text, size_t size);
void saga_graph_state_text(const struct saga_graph *graph, const struct saga_graph_step *step,
                           char *text, size_t size);
void saga_graph_steps_text(const struct saga_graph *graph, uint64_t mask, char *text, size_t size);
void saga_graph_time_text(int64_t ms, char *text, size_t size);

/* How a step stands, for colours. */
enum saga_graph_tone {
    SAGA_GRAPH_TONE_NONE,    /* no saga */
    SAGA_GRAPH_TONE_WAITING, /* its turn has not come */
    SAGA_GRAPH_TONE_BUSY,    /* called, or being undone */
    SAGA_GRAPH_TONE_GOOD,    /* succeeded */
    SAGA_GRAPH_TONE_BAD,     /* rejected, unknown, stalled */
    SAGA_GRAPH_TONE_UNDONE,
    SAGA_GRAPH_TONE_SKIPPED,
    SAGA_GRAPH_TONE_COUNT,
};
enum saga_graph_tone saga_graph_tone(const struct saga_graph_step *step);

/* Gives "none", "waiting", "busy", "good", "bad", "undone", "skipped". */
const char *saga_graph_tone_name(enum saga_graph_tone tone);

/* ---- Layout ---- */

/* Where the boxes are and how the edges run. Pixels, y downwards. */
enum {
    SAGA_GRAPH_NODES_MAX = SAGA_STEPS_MAX + 2 * SAGA_STEPS_MAX * SAGA_STEPS_MAX,
    SAGA_GRAPH_ROUTES_MAX = SAGA_STEPS_MAX * SAGA_STEPS_MAX,
};

struct saga_graph_node {
    size_t layer;
    size_t order; /* in its layer, from the left */
    double width, height;
    double x, y; /* centre, top */
    bool is_step;
};

/* One edge, from the upper step to the lower one, with a node in every layer between. */
struct saga_graph_route {
    uint8_t upper, lower; /* steps */
    bool undo;            /* told from the lower to the upper one */
    uint16_t nodes[SAGA_STEPS_MAX];
    size_t node_count; /* both steps counted */
};

struct saga_graph_layout {
    struct saga_graph_node nodes[SAGA_GRAPH_NODES_MAX]; /* first the steps */
    size_t node_count;
    struct saga_graph_route routes[SAGA_GRAPH_ROUTES_MAX];
    size_t route_count;
    double layer_y[SAGA_STEPS_MAX], layer_height[SAGA_STEPS_MAX];
    size_t layer_count;
    double width, height; /* of all, without a margin */
};

/* Lays out: layers by the longest path, order in them by barycentres, as few crossings as eight
 * sweeps find; boxes never overlap. The widths and heights of the first step_count nodes are the
 * caller's, everything else is filled in. Errors: NO_MEMORY. */
enum saga_err saga_graph_lay_out(const struct saga_graph *graph,
                                 struct saga_graph_layout *layout) SAGA_WARN_UNUSED;

#endif
