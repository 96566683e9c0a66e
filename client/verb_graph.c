/* sagactl graph: a saga as a picture. */
#include "client/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/applied.h"
#include "client/definition_file.h"
#include "client/graph.h"
#include "client/proto_file.h"
#include "client/sagas.h"
#include "saga/v1/reflection.pb-c.h"

static const struct saga_option graph_options[] = {
    {"saga", "NAME", NULL, "the definition; needed when there are several", false},
    {"key", "KEY", NULL, "with --saga: the saga that was started with this key, as with ID", false},
    {"live", NULL, "false",
     "take the definition that the orchestrator starts new sagas on, not a file's", false},
    {"format", "text|dot|svg|mermaid|json", NULL,
     "what to draw it as; default: by the ending of --out (.txt .dot .gv .svg .mmd .json), else "
     "text",
     false},
    {"out", "FILE", NULL, "write there instead of stdout", false},
    {"colour", "auto|always|never", "auto",
     "text: states in colour; auto: on a terminal, unless NO_COLOR is set", false},
    SAGA_PROTO_PATH_OPTION,
};

enum format { FORMAT_TEXT, FORMAT_DOT, FORMAT_SVG, FORMAT_MERMAID, FORMAT_JSON, FORMAT_COUNT };
static const char *const format_names[FORMAT_COUNT] = {"text", "dot", "svg", "mermaid", "json"};

/* What is drawn, and what it borrows from. */
struct drawing {
    struct saga_definition_file file;
    struct saga_conn *conn;
    struct saga_schema *stored; /* of the version that the saga runs on */
    struct saga_arena arena;
    const Saga__V1__SagaView *saga;
    const struct saga_decl *decl;
};

/* ---- Settings ---- */

/* Tells the format by the ending of the file's name; one without an ending is text. False: of
 * another format. */
static bool format_of_file(const char *path, enum format *format)
{
    static const struct {
        const char *ending;
        enum format format;
    } endings[] = {{".txt", FORMAT_TEXT}, {".dot", FORMAT_DOT},     {".gv", FORMAT_DOT},
                   {".svg", FORMAT_SVG},  {".mmd", FORMAT_MERMAID}, {".json", FORMAT_JSON}};
    const char *slash = strrchr(path, '/');
    const char *ending = strrchr(slash == NULL ? path : slash + 1, '.');
    *format = FORMAT_TEXT;
    for (size_t i = 0; ending != NULL && i < sizeof endings / sizeof endings[0]; i++) {
        if (strcmp(ending, endings[i].ending) == 0) {
            *format = endings[i].format;
            return true;
        }
    }
    return ending == NULL;
}

static int find_format(const char *name, enum format *format)
{
    for (int i = 0; i < FORMAT_COUNT; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *format = (enum format)i;
            return SAGA_EXIT_OK;
        }
    }
    return saga_client_usage("--format %s: it must be text, dot, svg, mermaid or json", name);
}

static int read_format(const struct saga_options *options, enum format *format)
{
    const char *name = saga_options_text(options, "format");
    const char *path = saga_options_text(options, "out");
    int json = saga_client_output_json(options);
    if (json < 0 || (name != NULL && find_format(name, format) != SAGA_EXIT_OK)) {
        return SAGA_EXIT_USAGE;
    }
    if (json == 1) {
        if (name != NULL && *format != FORMAT_JSON) {
            return saga_client_usage("--output json (-o) and --format %s: one of them", name);
        }
        *format = FORMAT_JSON;
    } else if (name == NULL && path != NULL && !format_of_file(path, format)) {
        return saga_client_usage("--out %s: no format has this ending; name it with --format, or "
                                 "let Graphviz draw: --format dot | dot -Tpng -o FILE",
                                 path);
    }
    return SAGA_EXIT_OK;
}

static int read_colour(const struct saga_options *options, bool *colour)
{
    const char *word = saga_options_text(options, "colour");
    const char *no_colour = getenv("NO_COLOR");
    if (strcmp(word, "auto") == 0) {
        *colour = saga_options_text(options, "out") == NULL && isatty(STDOUT_FILENO) == 1 &&
                  (no_colour == NULL || no_colour[0] == 0);
        return SAGA_EXIT_OK;
    }
    *colour = strcmp(word, "always") == 0;
    return *colour || strcmp(word, "never") == 0
               ? SAGA_EXIT_OK
               : saga_client_usage("--colour %s: it must be auto, always or never", word);
}

/* ---- From the orchestrator ---- */

static const struct saga_decl *find_hash(const struct saga_schema *schema,
                                         const ProtobufCBinaryData *hash)
{
    for (size_t i = 0; schema != NULL && i < saga_schema_decl_count(schema); i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        if (hash->len == SAGA_HASH_SIZE && memcmp(decl->hash, hash->data, SAGA_HASH_SIZE) == 0) {
            return decl;
        }
    }
    return NULL;
}

/* Finds a version of a definition: in the orchestrator's own set, else in the one that it stored
 * with that version. */
static int open_version(struct drawing *drawing, const char *name, const ProtobufCBinaryData *hash)
{
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    struct saga_err_detail detail = {{0}};
    message.definition_hash = *hash;
    drawing->decl = find_hash(saga_conn_schema(drawing->conn), hash);
    if (drawing->decl != NULL) {
        return SAGA_EXIT_OK;
    }
    int status = saga_conn_call(drawing->conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__GetDescriptorSetResponse *set =
        (const Saga__V1__GetDescriptorSetResponse *)answer;
    struct saga_bytes bytes = {set->descriptor_set.data, set->descriptor_set.len};
    if (saga_schema_load(bytes, &drawing->stored, &detail) != SAGA_ERR_OK) {
        return saga_client_fail("%s: the stored descriptor set of %s: %s",
                                saga_conn_address(drawing->conn), name, detail.text);
    }
    drawing->decl = find_hash(drawing->stored, hash);
    return drawing->decl != NULL
               ? SAGA_EXIT_OK
               : saga_client_fail("%s: this sagactl reads the stored definition of %s as another "
                                  "version; use the sagactl that came with the orchestrator",
                                  saga_conn_address(drawing->conn), name);
}

/* Copies a message out of the connection, which forgets it at the next call. */
static const ProtobufCMessage *keep(struct drawing *drawing, const ProtobufCMessage *message)
{
    struct saga_buf wire = {0};
    const ProtobufCMessage *copy = NULL;
    if (saga_message_encode(message, &wire) == SAGA_ERR_OK) {
        copy = saga_message_decode(message->descriptor, saga_buf_view(&wire), &drawing->arena);
    }
    saga_buf_fini(&wire);
    return copy;
}

static int open_saga(const struct saga_options *options, struct drawing *drawing)
{
    const Saga__V1__GetSagaResponse *response = NULL;
    int status = saga_conn_open_orchestrator(options, &drawing->conn);
    if (status == SAGA_EXIT_OK) {
        status = saga_view_fetch(drawing->conn, options, false, &response);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    drawing->saga = (const Saga__V1__SagaView *)keep(drawing, &response->saga->base);
    if (drawing->saga == NULL) {
        return saga_client_fail("out of memory");
    }
    return open_version(drawing, drawing->saga->definition, &drawing->saga->definition_hash);
}

static int open_live(const struct saga_options *options, struct drawing *drawing)
{
    Saga__V1__ListDefinitionsRequest message = SAGA__V1__LIST_DEFINITIONS_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/ListDefinitions",
        .request = &message.base,
        .response_type = &saga__v1__list_definitions_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    const char *name = saga_options_text(options, "saga");
    if (name == NULL) {
        return saga_client_usage("--live needs --saga NAME; `sagactl definitions` lists them");
    }
    message.definition = (char *)(uintptr_t)name; /* its versions alone: all fit into an answer */
    int status = saga_conn_open_orchestrator(options, &drawing->conn);
    if (status == SAGA_EXIT_OK) {
        status = saga_conn_call(drawing->conn, &request, &answer);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__ListDefinitionsResponse *list =
        (const Saga__V1__ListDefinitionsResponse *)answer;
    for (size_t i = 0; i < list->n_definitions; i++) {
        const Saga__V1__DefinitionView *view = list->definitions[i];
        uint8_t space[SAGA_HASH_SIZE];
        if (strcmp(view->name, name) == 0 && view->current && view->hash.len == sizeof space) {
            memcpy(space, view->hash.data, sizeof space);
            const ProtobufCBinaryData hash = {sizeof space, space};
            return open_version(drawing, name, &hash);
        }
    }
    saga_client_warn("%s: the orchestrator has no such definition; `sagactl definitions` lists "
                     "them",
                     name);
    return SAGA_EXIT_STATUS + SAGA_CODE_NOT_FOUND;
}

/* ---- What is drawn ---- */

static bool is_built_in(const char *name)
{
    struct saga_schema *schema = NULL;
    bool is =
        saga_schema_open(NULL, &schema) == SAGA_EXIT_OK && saga_schema_decl(schema, name) != NULL;
    saga_schema_free(schema);
    return is;
}

static int open_drawing(const struct saga_options *options, bool json, struct drawing *drawing)
{
    const char *operand =
        saga_options_operand_count(options) == 0 ? NULL : saga_options_operand(options, 0);
    const char *name = saga_options_text(options, "saga");
    const char *key = saga_options_text(options, "key");
    bool live = saga_options_on(options, "live");
    struct saga_id id;
    bool is_id = operand != NULL && saga_id_parse(operand, &id) == SAGA_ERR_OK;
    if (operand != NULL && (live || (key != NULL && !is_id))) {
        return saga_client_usage("%s and %s: one of them is enough", operand,
                                 live ? "--live" : "--key");
    }
    if (key != NULL && name == NULL) {
        return saga_client_usage("--key needs --saga NAME");
    }
    if (is_id || key != NULL) {
        return open_saga(options, drawing);
    }
    if (live) {
        return open_live(options, drawing);
    }
    bool foreign = operand == NULL && name != NULL && !is_built_in(name);
    if (foreign && saga_applied_known(options)) {
        return open_live(options, drawing);
    }
    if (operand != NULL && access(operand, F_OK) != 0) {
        return saga_client_fail("%s: %s, and it is no saga id; a definition is named with --saga "
                                "NAME",
                                operand, strerror(errno));
    }
    int status = saga_definition_file_open(options, operand, name, json, &drawing->file);
    drawing->decl = drawing->file.decl;
    if (foreign && status == SAGA_EXIT_USAGE) {
        fputs("One that was applied to an orchestrator: --live, with --dir or --address.\n",
              stderr);
    }
    return status;
}

static int write_out(const char *path, const struct saga_buf *buf)
{
    if (path == NULL) {
        (void)fwrite(buf->data, 1, buf->size, stdout);
        return saga_client_flush();
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        return saga_client_fail("%s: %s", path, strerror(errno));
    }
    bool good = fwrite(buf->data, 1, buf->size, file) == buf->size;
    int error = errno;
    if (fclose(file) != 0 && good) {
        good = false;
        error = errno;
    }
    return good ? SAGA_EXIT_OK : saga_client_fail("%s: %s", path, strerror(error));
}

static int draw(const struct saga_options *options, enum format format, bool colour,
                const struct saga_graph *graph)
{
    struct saga_graph_out out = {0};
    int status = SAGA_EXIT_OK;
    json_t *object = NULL;
    char *text = NULL;
    switch (format) {
    case FORMAT_TEXT:
    case FORMAT_COUNT:
        saga_graph_text(graph, colour, &out);
        break;
    case FORMAT_DOT:
        saga_graph_dot(graph, &out);
        break;
    case FORMAT_SVG:
        saga_graph_svg(graph, &out);
        break;
    case FORMAT_MERMAID:
        saga_graph_mermaid(graph, &out);
        break;
    case FORMAT_JSON:
        object = saga_graph_json(graph);
        text = object == NULL ? NULL : json_dumps(object, JSON_INDENT(2));
        out.err = text == NULL ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
        saga_graph_put_bytes(&out, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
        saga_graph_put_bytes(&out, "\n", 1);
        json_decref(object);
        free(text);
        break;
    }
    status = out.err == SAGA_ERR_OK ? write_out(saga_options_text(options, "out"), &out.buf)
                                    : saga_client_fail("out of memory");
    saga_buf_fini(&out.buf);
    return status;
}

static int graph_run(const struct saga_options *options)
{
    struct drawing drawing = {0};
    struct saga_graph *graph = NULL;
    enum format format = FORMAT_TEXT;
    bool colour = false;
    if (saga_client_operands(options, 0, 1, "FILE or ID") != SAGA_EXIT_OK ||
        read_format(options, &format) != SAGA_EXIT_OK ||
        read_colour(options, &colour) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    int status = open_drawing(options, format == FORMAT_JSON, &drawing);
    if (status == SAGA_EXIT_OK &&
        saga_graph_new(drawing.decl, drawing.saga, &graph) != SAGA_ERR_OK) {
        status = saga_client_fail("out of memory");
    }
    if (status == SAGA_EXIT_OK) {
        status = draw(options, format, colour, graph);
    }
    saga_graph_free(graph);
    saga_definition_file_fini(&drawing.file);
    saga_schema_free(drawing.stored);
    saga_conn_close(drawing.conn);
    saga_arena_fini(&drawing.arena);
    return status;
}

const struct saga_verb saga_verb_graph = {
    .name = "graph",
    .usage = "[FILE|ID] [--saga NAME] [--format text|dot|svg|mermaid|json] [--out FILE]",
    .summary = "draw a saga: its steps, undos, data flow and deadlines",
    .epilog =
        "FILE is a .proto or a descriptor set; without one, what is built in is drawn, or what "
        "was\n"
        "applied to the orchestrator. With ID, or "
        "--saga\n"
        "and --key, the saga's own version of its definition is drawn and coloured by its state.\n"
        "A request's field is followed by the steps that write what it takes: \"total_cents "
        "(stock)\".\n"
        "In text, \"back\" names the steps that are undone next when this one has said no, or has "
        "been undone.\n\n"
        "Examples:\n"
        "  sagactl graph --saga create-order\n"
        "  sagactl graph examples/trip/proto/trip/v1/trip.proto --out trip.svg\n"
        "  sagactl graph --live --saga create-order --format dot | dot -Tpng -o create-order.png\n"
        "  sagactl graph 0198c5a2-… --format mermaid\n\n"
        "Exit status: 0 drawn; 1 the file cannot be read or its saga has findings; 64 + N when "
        "the\n"
        "orchestrator answered with gRPC status N.",
    .options = graph_options,
    .option_count = sizeof graph_options / sizeof graph_options[0],
    .shorts = "o=output " SAGA_PROTO_PATH_SHORT,
    .run = graph_run,
};
