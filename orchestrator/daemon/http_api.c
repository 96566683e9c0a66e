#include "orchestrator/daemon/http_api.h"

#include <jansson.h>
#include <stdlib.h>

enum { BODY_MAX = 4096, HEADER_MAX = 16 * 1024, CONNECTIONS_MAX = 64, TIMEOUT_S = 10 };

static const char *state_name(enum health_state state)
{
    switch (state) {
    case HEALTH_SERVING:
        return "SERVING";
    case HEALTH_DEGRADED:
        return "DEGRADED";
    case HEALTH_NOT_SERVING:
        return "NOT_SERVING";
    }
    return "UNLISTED";
}

static void answer_text(struct saga_http_request *request, unsigned status, const char *text)
{
    saga_http_answer(request, status, "text/plain; charset=utf-8", saga_bytes_text(text), NULL);
}

static void livez(void *context, struct saga_http_request *request)
{
    (void)context;
    answer_text(request, 200, "ok\n");
}

static void readyz(void *context, struct saga_http_request *request)
{
    struct health_report report;
    health_make_report(context, &report);
    bool ready = report.state != HEALTH_NOT_SERVING;
    answer_text(request, ready ? 200 : 503, ready ? "ok\n" : "not serving; see /healthz\n");
}

static void healthz(void *context, struct saga_http_request *request)
{
    struct health_report report;
    health_make_report(context, &report);
    json_t *parts = json_array();
    for (size_t i = 0; i < report.part_count; i++) {
        const struct health_part *part = &report.parts[i];
        (void)json_array_append_new(parts,
                                    json_pack("{s:s, s:s, s:s}", "name", part->name, "state",
                                              state_name(part->state), "detail", part->detail));
    }
    json_t *root = json_pack("{s:s, s:o}", "state", state_name(report.state), "parts", parts);
    char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    if (text == NULL) {
        saga_http_answer_error(request, 500, "NO_MEMORY", NULL, "out of memory");
    } else {
        saga_http_answer(request, report.state == HEALTH_NOT_SERVING ? 503 : 200,
                         "application/json", saga_bytes_text(text), NULL);
    }
    free(text);
    json_decref(root);
}

static void metrics(void *context, struct saga_http_request *request)
{
    struct saga_buf out = {0};
    if (health_render_metrics(context, &out) == SAGA_ERR_OK) {
        saga_http_answer(request, 200, "text/plain; version=0.0.4; charset=utf-8",
                         saga_buf_view(&out), NULL);
    } else {
        saga_http_answer_error(request, 500, "NO_MEMORY", NULL, "out of memory");
    }
    saga_buf_fini(&out);
}

enum saga_err http_api_start(const char *address, uint16_t port, struct health *health,
                             struct saga_http **http, struct saga_err_detail *detail)
{
    static const struct saga_http_route routes[] = {
        {"GET", "/livez", livez},
        {"GET", "/readyz", readyz},
        {"GET", "/healthz", healthz},
        {"GET", "/metrics", metrics},
    };
    struct saga_http_config config = {
        .address = address,
        .port = port,
        .routes = routes,
        .route_count = sizeof routes / sizeof routes[0],
        .context = health,
        .body_size_max = BODY_MAX,
        .header_size_max = HEADER_MAX,
        .connections_max = CONNECTIONS_MAX,
        .timeout_s = TIMEOUT_S,
    };
    return saga_http_start(&config, http, detail);
}
