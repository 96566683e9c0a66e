/* What operators ask of orderd by HTTP: is it alive, is it ready, how is it, what has it done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "services/order/order_http_room.h"
#include "services/order/order_json.h"

/* ---- Alive and ready ---- */

static void text_answer(struct saga_http_request *request, unsigned status, const char *text)
{
    saga_http_answer(request, status, "text/plain; charset=utf-8", saga_bytes_text(text), NULL);
}

void saga_order_http_livez(void *context, struct saga_http_request *request)
{
    (void)context;
    text_answer(request, 200, "ok\n");
}

void saga_order_http_readyz(void *context, struct saga_http_request *request)
{
    const struct saga_order_http *http = context;
    if (atomic_load(&http->draining)) {
        text_answer(request, 503, "stopping\n");
    } else {
        text_answer(request, 200, "ready\n");
    }
}

/* ---- Health ---- */

/* A question for the parts, which the kit's worker answers: it owns the store. */
struct checkup {
    struct saga_kit_job job; /* first */
    struct saga_http_request *request;
    struct saga_buf parts;
    int worst;
    bool failed; /* no memory */
};

static const char *health_name(int state)
{
    static const char *const names[] = {"UNSPECIFIED", "SERVING", "DEGRADED", "NOT_SERVING"};
    return state >= 0 && state <= 3 ? names[state] : names[0];
}

static bool text_add(struct saga_buf *buf, const char *text)
{
    return saga_buf_append(buf, saga_bytes_text(text)) == SAGA_ERR_OK;
}

static void checkup_part(void *context, const char *name, int state, const char *detail)
{
    struct checkup *checkup = context;
    struct saga_buf *out = &checkup->parts;
    bool ok = text_add(out, out->size == 0 ? "{\"name\":" : ",{\"name\":") &&
              saga_order_json_string(name, out) == SAGA_ERR_OK && text_add(out, ",\"state\":\"") &&
              text_add(out, health_name(state)) && text_add(out, "\",\"detail\":") &&
              saga_order_json_string(detail, out) == SAGA_ERR_OK && text_add(out, "}");
    checkup->failed = checkup->failed || !ok;
    checkup->worst = state > checkup->worst ? state : checkup->worst;
}

static void checkup_run(struct saga_kit_job *job, struct saga_call *call)
{
    struct checkup *checkup = (struct checkup *)job;
    saga_buf_clear(&checkup->parts);
    checkup->worst = 1;
    saga_kit_health_each(call, checkup_part, checkup);
}

static void checkup_done(struct saga_kit_job *job, bool committed, const struct saga_status *status)
{
    struct checkup *checkup = (struct checkup *)job;
    struct saga_buf body = {0};
    if (!committed) {
        saga_buf_clear(&checkup->parts);
        checkup_part(checkup, "store", 3, status->message);
    }
    bool ok = !checkup->failed && text_add(&body, "{\"state\":\"") &&
              text_add(&body, health_name(checkup->worst)) &&
              text_add(&body, "\",\"version\":\"orderd " SAGA_VERSION "\",\"parts\":[") &&
              saga_buf_append(&body, saga_buf_view(&checkup->parts)) == SAGA_ERR_OK &&
              text_add(&body, "]}");
    if (ok) {
        saga_http_answer(checkup->request, checkup->worst == 3 ? 503 : 200, SAGA_ORDER_JSON_TYPE,
                         saga_buf_view(&body), NULL);
    } else {
        saga_http_answer_error(checkup->request, 503, "RESOURCE_EXHAUSTED", NULL, "out of memory");
    }
    saga_buf_fini(&body);
    saga_buf_fini(&checkup->parts);
    free(checkup);
}

void saga_order_http_healthz(void *context, struct saga_http_request *request)
{
    struct saga_order_http *http = context;
    struct checkup *checkup = calloc(1, sizeof *checkup);
    if (checkup == NULL) {
        saga_http_answer_error(request, 503, "RESOURCE_EXHAUSTED", NULL, "out of memory");
        return;
    }
    checkup->job = (struct saga_kit_job){.run = checkup_run, .done = checkup_done};
    checkup->request = request;
    enum saga_err err = saga_kit_submit(http->kit, &checkup->job);
    if (err != SAGA_ERR_OK) {
        free(checkup);
        saga_http_answer_error(request, 503, err == SAGA_ERR_CLOSED ? "STOPPING" : "OVERLOADED",
                               NULL, "the order service takes no work now");
    }
}

/* ---- Metrics ---- */

static struct saga_metric *metric_add(struct saga_order_http *http, enum saga_metric_kind kind,
                                      const char *name, const char *labels, const char *help)
{
    SAGA_ASSERT(http->metric_count < SAGA_ORDER_METRICS_MAX);
    struct saga_metric *metric = &http->metrics[http->metric_count++];
    *metric = (struct saga_metric){.kind = kind, .name = name, .labels = labels, .help = help};
    return metric;
}

static void counter_add(struct saga_order_http *http, const char *name, const char *labels,
                        const char *help, const _Atomic int64_t *value)
{
    metric_add(http, SAGA_METRIC_COUNTER, name, labels, help)->value = value;
}

static void gauge_add(struct saga_order_http *http, const char *name, const char *help,
                      const _Atomic int64_t *value)
{
    metric_add(http, SAGA_METRIC_GAUGE, name, NULL, help)->value = value;
}

static void orders_add(struct saga_order_http *http)
{
    const struct saga_order_counts *counts = &http->orders->counts;
    static const char placed[] = "saga_orders_placed_total";
    static const char placed_help[] = "Orders asked for, by what became of the request.";
    counter_add(http, placed, "result=\"placed\"", placed_help, &counts->placed);
    counter_add(http, placed, "result=\"existing\"", placed_help, &counts->existing);
    counter_add(http, placed, "result=\"key_reused\"", placed_help, &counts->key_reused);
    counter_add(http, placed, "result=\"invalid\"", placed_help, &http->invalid);
    counter_add(http, placed, "result=\"overloaded\"", placed_help, &http->overloaded);
    counter_add(http, placed, "result=\"failed\"", placed_help, &http->failed);
    static const char decided[] = "saga_orders_decided_total";
    static const char decided_help[] = "Orders decided, by their state.";
    counter_add(http, decided, "state=\"approved\"", decided_help, &counts->approved);
    counter_add(http, decided, "state=\"rejected\"", decided_help, &counts->rejected);
    gauge_add(http, "saga_orders_pending", "Orders that are not decided.", &counts->pending);
    gauge_add(http, "saga_order_waiters", "Requests that wait for a decision.", &http->waiting);
    counter_add(http, "saga_order_waiters_refused_total", NULL,
                "Requests that could not wait: the table was full.", &http->waiters_refused);
}

static void starts_add(struct saga_order_http *http)
{
    const struct saga_start_counts *counts = saga_start_relay_counts(http->relay);
    static const char starts[] = "saga_order_starts_total";
    static const char starts_help[] = "Answers of the orchestrator to starts, by result.";
    counter_add(http, starts, "result=\"started\"", starts_help, &counts->started);
    counter_add(http, starts, "result=\"existing\"", starts_help, &counts->existing);
    counter_add(http, starts, "result=\"refused\"", starts_help, &counts->refused);
    counter_add(http, "saga_order_starts_retried_total", NULL, "Starts sent again.",
                &counts->retried);
    counter_add(http, "saga_order_start_batches_total", NULL, "Messages with starts.",
                &counts->batches);
    gauge_add(http, "saga_order_starts_waiting", "Starts in memory that are not answered.",
              &counts->waiting);
}

void saga_order_http_metrics_init(struct saga_order_http *http)
{
    static const char *const labels[SAGA_ORDER_ROUTE_COUNT][SAGA_ORDER_CODE_CLASS_COUNT] = {
        {"route=\"place\",code=\"2xx\"", "route=\"place\",code=\"4xx\"",
         "route=\"place\",code=\"5xx\""},
        {"route=\"get\",code=\"2xx\"", "route=\"get\",code=\"4xx\"", "route=\"get\",code=\"5xx\""},
        {"route=\"list\",code=\"2xx\"", "route=\"list\",code=\"4xx\"",
         "route=\"list\",code=\"5xx\""},
    };
    static const char *const routes[SAGA_ORDER_ROUTE_COUNT] = {"route=\"place\"", "route=\"get\"",
                                                               "route=\"list\""};
    orders_add(http);
    starts_add(http);
    for (size_t i = 0; i < SAGA_ORDER_ROUTE_COUNT; i++) {
        for (size_t j = 0; j < SAGA_ORDER_CODE_CLASS_COUNT; j++) {
            counter_add(http, "saga_http_requests_total", labels[i][j],
                        "HTTP requests for orders, by route and status.", &http->requests[i][j]);
        }
    }
    for (size_t i = 0; i < SAGA_ORDER_ROUTE_COUNT; i++) {
        metric_add(http, SAGA_METRIC_HISTOGRAM, "saga_http_request_seconds", routes[i],
                   "Time from a request to its answer, waiting included.")
            ->histogram = &http->seconds[i];
    }
}

void saga_order_http_metrics(void *context, struct saga_http_request *request)
{
    struct saga_order_http *http = context;
    struct saga_buf body = {0};
    atomic_store(&http->waiting, (int64_t)saga_waiters_count(http->waiters));
    if (saga_metrics_render(http->metrics, http->metric_count, &body) == SAGA_ERR_OK) {
        saga_http_answer(request, 200, "text/plain; version=0.0.4; charset=utf-8",
                         saga_buf_view(&body), NULL);
    } else {
        saga_http_answer_error(request, 503, "RESOURCE_EXHAUSTED", NULL, "out of memory");
    }
    saga_buf_fini(&body);
}
