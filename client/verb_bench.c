/* sagactl bench: a closed loop of clients that place orders over HTTP and wait until they are
 * decided.
 *
 * One thread and epoll; each client has one connection and one order at a time. Answers are looked
 * at with a minimum of work: on a machine with few cores the load must not be heavier than what it
 * measures. */
#include "client/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/bench_http.h"
#include "client/bench_orders.h"
#include "client/bench_stats.h"
#include "client/conn.h"
#include "common/sys/clock.h"

enum { CLIENTS_MAX = 10000, EVENTS_MAX = 256, DRAIN_S = 15, RECONNECT_MAX = 1000 };

static const struct saga_option bench_options[] = {
    {"clients", "N", "64", "clients, each with one order at a time", false},
    {"seconds", "N", "10", "how long it is measured", false},
    {"warmup", "N", "2", "seconds before that which do not count", false},
    {"mix", "PERCENT", "0",
     "of the orders are such as are refused, of each kind of the seed file in turn by chance",
     false},
    {"customers", "A-B", NULL,
     "customers who order; default: those of the seed file whose orders are approved", false},
    {"products", "A-B", NULL,
     "products that are ordered; default: those of the seed file that can be had", false},
    {"seed", "FILE", NULL,
     "the seed file of the daemons; default: the one that comes with this program", false},
    {"draw", "N", "1", "seed of the draw of orders", false},
    {"url", "URL", NULL, "orderd's HTTP address; default: from endpoints.json", false},
};

struct bench_client {
    int fd; /* -1: not connected */
    bool busy;
    bool writing; /* epoll tells of room to write too */
    int64_t sent_us;
    char request[512];
    size_t request_size;
    size_t request_sent;
    struct saga_bench_answer answer;
};

struct bench {
    const struct saga_options *options;
    struct saga_bench_target target;
    struct saga_bench_orders orders;
    struct saga_endpoints endpoints;
    bool has_endpoints;
    int64_t clients;
    int64_t seconds;
    int64_t warmup;
    int64_t mix;
    int epoll;
    struct bench_client *client;
    size_t busy;
    bool placing;   /* new orders are placed */
    bool measuring; /* what ends now counts */
    uint64_t reconnects;
    struct saga_bench_stats stats;
    int64_t begun_us;
    int64_t measured_us;
    int64_t cpu_ms[SAGA_DAEMON_COUNT + 2]; /* the daemons, the embedded Kafka, itself */
};

/* ---- CPU time ---- */

static int64_t cpu_pid(const struct bench *bench, size_t index)
{
    if (index < SAGA_DAEMON_COUNT) {
        return bench->has_endpoints ? bench->endpoints.daemons[index].pid : 0;
    }
    if (index == SAGA_DAEMON_COUNT) {
        return bench->has_endpoints ? bench->endpoints.dev_pid : 0;
    }
    return (int64_t)getpid();
}

static const char *cpu_name(size_t index)
{
    if (index < SAGA_DAEMON_COUNT) {
        return saga_daemon_name((enum saga_daemon)index);
    }
    return index == SAGA_DAEMON_COUNT ? "embedded kafka" : "bench itself";
}

/* Takes the CPU times, or their difference to those taken before; -1 stays where one cannot be
 * read. */
static void cpu_take(struct bench *bench, bool difference)
{
    for (size_t i = 0; i < SAGA_DAEMON_COUNT + 2; i++) {
        int64_t pid = cpu_pid(bench, i);
        int64_t now_ms = pid > 0 ? saga_bench_cpu_ms(pid) : -1;
        if (pid > 0 && now_ms < 0 && !difference) {
            saga_client_warn("%s: its process %" PRId64 " of endpoints.json is gone: its CPU time "
                             "is not in the sum",
                             cpu_name(i), pid);
        }
        bool known = now_ms >= 0 && (!difference || bench->cpu_ms[i] >= 0);
        bench->cpu_ms[i] = !known ? -1 : difference ? now_ms - bench->cpu_ms[i] : now_ms;
    }
}

/* ---- One client ---- */

static void watch_fd(struct bench *bench, struct bench_client *client, int op, bool writing)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? (unsigned)EPOLLOUT : 0U),
                                .data.ptr = client};
    (void)epoll_ctl(bench->epoll, op, client->fd, &event);
    client->writing = writing;
}

static void client_drop(struct bench *bench, struct bench_client *client, const char *why)
{
    if (client->fd >= 0) {
        (void)close(client->fd);
        client->fd = -1;
    }
    if (client->busy) {
        client->busy = false;
        bench->busy--;
        if (bench->measuring && why != NULL) {
            saga_bench_add_result(&bench->stats, why);
        }
    }
}

static void client_send(struct bench *bench, struct bench_client *client)
{
    while (client->request_sent < client->request_size) {
        ssize_t size = send(client->fd, client->request + client->request_sent,
                            client->request_size - client->request_sent, MSG_NOSIGNAL);
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN ||
                         errno == EINPROGRESS)) {
            if (!client->writing) {
                watch_fd(bench, client, EPOLL_CTL_MOD, true);
            }
            return;
        }
        if (size < 0) {
            bench->reconnects++;
            client_drop(bench, client, "connection refused or broken");
            return;
        }
        client->request_sent += (size_t)size;
    }
    if (client->writing) {
        watch_fd(bench, client, EPOLL_CTL_MOD, false);
    }
}

/* Places the next order. */
static void client_begin(struct bench *bench, struct bench_client *client)
{
    char body[128];
    struct saga_bench_order order = saga_bench_orders_next(&bench->orders);
    if (client->fd < 0) {
        client->fd = saga_bench_connect(&bench->target);
        if (client->fd < 0) {
            bench->reconnects++;
            return;
        }
        watch_fd(bench, client, EPOLL_CTL_ADD, true);
    }
    int body_size = snprintf(body, sizeof body,
                             "{\"customer_id\":%" PRId64 ",\"items\":[{\"product_id\":%" PRId64
                             ",\"quantity\":1}]}",
                             order.customer_id, order.product_id);
    int size = snprintf(client->request, sizeof client->request,
                        "POST /orders?wait=10s HTTP/1.1\r\nHost: %s\r\nContent-Type: "
                        "application/json\r\nContent-Length: %d\r\n\r\n%s",
                        bench->target.host, body_size, body);
    client->request_size = (size_t)size;
    client->request_sent = 0;
    client->answer.size = 0;
    client->answer.head_size = 0;
    client->answer.body_size = 0;
    client->answer.close = false;
    client->sent_us = saga_clock_mono_us();
    client->busy = true;
    bench->busy++;
    client_send(bench, client);
}

/* Copies the text value of a key of the server's flat, compact JSON; empty when it is not there. */
static void json_text(struct saga_bytes body, const char *key, char *out, size_t out_size)
{
    char pattern[40];
    int size = snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
    out[0] = 0;
    const char *text = (const char *)body.data; /* the answer's buffer ends in a zero */
    const char *at = strstr(text, pattern);
    if (at != NULL) {
        at += size;
        size_t length = strcspn(at, "\"");
        snprintf(out, out_size, "%.*s", (int)(length < out_size ? length : out_size - 1), at);
    }
}

static void client_count(struct bench *bench, struct bench_client *client)
{
    char state[24];
    char reason[32];
    char name[SAGA_BENCH_RESULT_SIZE];
    int64_t took_us = saga_clock_mono_us() - client->sent_us;
    if (!bench->measuring) {
        return;
    }
    client->answer.data[client->answer.size] = 0;
    struct saga_bytes body = saga_bench_answer_body(&client->answer);
    json_text(body, "state", state, sizeof state);
    json_text(body, "reason", reason, sizeof reason);
    if (client->answer.status >= 300) {
        snprintf(name, sizeof name, "HTTP %u", client->answer.status);
    } else {
        snprintf(name, sizeof name, "%s%s%s", state[0] != 0 ? state : "no state",
                 reason[0] != 0 ? " " : "", reason);
    }
    saga_bench_add_result(&bench->stats, name);
    bool decided = strcmp(state, "APPROVED") == 0 || strcmp(state, "REJECTED") == 0;
    if (decided && saga_bench_add(&bench->stats, took_us) != SAGA_ERR_OK) {
        saga_bench_add_result(&bench->stats, "latency not kept: out of memory");
    }
}

static void client_receive(struct bench *bench, struct bench_client *client)
{
    struct saga_bench_answer *answer = &client->answer;
    ssize_t size =
        recv(client->fd, answer->data + answer->size, sizeof answer->data - 1 - answer->size, 0);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (size <= 0) {
        bench->reconnects++;
        client_drop(bench, client,
                    size == 0 ? "closed by the server" : "connection refused or broken");
        return;
    }
    bool whole = false;
    answer->size += (size_t)size;
    if (!client->busy || saga_bench_answer_look(answer, &whole) != SAGA_ERR_OK) {
        client_drop(bench, client, "answer not understood");
        return;
    }
    if (!whole) {
        return;
    }
    client_count(bench, client);
    client->busy = false;
    bench->busy--;
    if (answer->close) {
        client_drop(bench, client, NULL);
    }
    if (bench->placing) {
        client_begin(bench, client);
    }
}

/* ---- The loop ---- */

/* Runs until a time. Idle clients (whose connection broke) begin anew every now and then. */
static void bench_turn(struct bench *bench, int64_t end_us)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t revive_us = 0;
    for (;;) {
        int64_t now_us = saga_clock_mono_us();
        if (now_us >= end_us || (!bench->placing && bench->busy == 0)) {
            return;
        }
        if (bench->placing && now_us >= revive_us && bench->reconnects < RECONNECT_MAX) {
            for (int64_t i = 0; i < bench->clients; i++) {
                if (!bench->client[i].busy) {
                    client_begin(bench, &bench->client[i]);
                }
            }
            revive_us = now_us + 100000;
        }
        int64_t left_ms = (end_us - now_us) / 1000 + 1;
        int count =
            epoll_wait(bench->epoll, events, EVENTS_MAX, left_ms > 100 ? 100 : (int)left_ms);
        for (int i = 0; i < count; i++) {
            struct bench_client *client = events[i].data.ptr;
            if (client->fd >= 0 && (events[i].events & EPOLLOUT) != 0) {
                client_send(bench, client);
            }
            if (client->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
                client_receive(bench, client);
            }
        }
    }
}

static void bench_measure(struct bench *bench)
{
    bench->placing = true;
    bench_turn(bench, saga_clock_mono_us() + bench->warmup * 1000000);
    cpu_take(bench, false);
    bench->measuring = true;
    bench->begun_us = saga_clock_mono_us();
    bench_turn(bench, bench->begun_us + bench->seconds * 1000000);
    bench->measured_us = saga_clock_mono_us() - bench->begun_us;
    cpu_take(bench, true);
    bench->measuring = false;
    bench->placing = false;
    bench_turn(bench, saga_clock_mono_us() + DRAIN_S * INT64_C(1000000));
    if (bench->busy > 0) {
        saga_client_warn("%zu orders were not decided %d s after the end", bench->busy, DRAIN_S);
    }
}

/* ---- The report ---- */

static double per_second(const struct bench *bench)
{
    return bench->measured_us > 0 ? (double)bench->stats.count * 1e6 / (double)bench->measured_us
                                  : 0;
}

static int bench_print_json(struct bench *bench)
{
    json_t *results = json_object();
    json_t *cpu = json_object();
    for (size_t i = 0; i < bench->stats.result_count; i++) {
        (void)json_object_set_new(results, bench->stats.results[i].name,
                                  json_integer((json_int_t)bench->stats.results[i].count));
    }
    double orders = bench->stats.count > 0 ? (double)bench->stats.count : 1;
    for (size_t i = 0; i < SAGA_DAEMON_COUNT + 2; i++) {
        if (bench->cpu_ms[i] >= 0) {
            (void)json_object_set_new(cpu, cpu_name(i),
                                      json_real((double)bench->cpu_ms[i] / orders));
        }
    }
    struct saga_bench_stats *stats = &bench->stats;
    json_t *latency =
        json_pack("{s:f,s:f,s:f,s:f}", "p50", (double)saga_bench_quantile_us(stats, 500) / 1000,
                  "p90", (double)saga_bench_quantile_us(stats, 900) / 1000, "p99",
                  (double)saga_bench_quantile_us(stats, 990) / 1000, "max",
                  (double)saga_bench_quantile_us(stats, 1000) / 1000);
    return saga_client_print_json(json_pack(
        "{s:I,s:f,s:I,s:I,s:f,s:o,s:o,s:o,s:I}", "clients", (json_int_t)bench->clients, "seconds",
        (double)bench->measured_us / 1e6, "mix_percent", (json_int_t)bench->mix, "orders",
        (json_int_t)stats->count, "orders_per_second", per_second(bench), "latency_ms", latency,
        "results", results, "cpu_ms_per_order", cpu, "reconnects", (json_int_t)bench->reconnects));
}

static void bench_print_cpu(const struct bench *bench)
{
    double orders = bench->stats.count > 0 ? (double)bench->stats.count : 1;
    double sum_ms = 0;
    printf("\nCPU            ms an order   %% of a core\n");
    for (size_t i = 0; i < SAGA_DAEMON_COUNT + 2; i++) {
        if (bench->cpu_ms[i] >= 0) {
            sum_ms += (double)bench->cpu_ms[i];
            printf("%-14s %11.3f %13.1f\n", cpu_name(i), (double)bench->cpu_ms[i] / orders,
                   (double)bench->cpu_ms[i] * 1e5 / (double)bench->measured_us);
        }
    }
    printf("%-14s %11.3f %13.1f\n", "together", sum_ms / orders,
           sum_ms * 1e5 / (double)bench->measured_us);
}

static int bench_print(struct bench *bench)
{
    struct saga_bench_stats *stats = &bench->stats;
    printf("%" PRId64 " clients, %.1f s, %" PRId64 " %% refusals wanted\n\n", bench->clients,
           (double)bench->measured_us / 1e6, bench->mix);
    printf("decided        %zu orders, %.0f orders/s\n", stats->count, per_second(bench));
    printf("POST to decided  p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n\n",
           (double)saga_bench_quantile_us(stats, 500) / 1000,
           (double)saga_bench_quantile_us(stats, 900) / 1000,
           (double)saga_bench_quantile_us(stats, 990) / 1000,
           (double)saga_bench_quantile_us(stats, 1000) / 1000);
    for (size_t i = 0; i < stats->result_count; i++) {
        printf("%10" PRIu64 "  %s\n", stats->results[i].count, stats->results[i].name);
    }
    bench_print_cpu(bench);
    return SAGA_EXIT_OK;
}

/* ---- Setting up ---- */

static int bench_read_orders(struct bench *bench)
{
    struct saga_err_detail detail = {{0}};
    struct saga_bench_range range;
    const char *path = saga_options_text(bench->options, "seed");
    const char *customers = saga_options_text(bench->options, "customers");
    const char *products = saga_options_text(bench->options, "products");
    int64_t draw = 1;
    if (saga_bench_orders_read(path != NULL ? path : SAGA_SEED_FILE, &bench->orders, &detail) !=
        SAGA_ERR_OK) {
        return saga_client_fail("%s", detail.text);
    }
    if (customers != NULL && (saga_bench_range_parse(customers, &range) != SAGA_ERR_OK ||
                              saga_bench_orders_customers(&bench->orders, range) != SAGA_ERR_OK)) {
        return saga_client_usage("--customers %s: it must be a range such as 1-90, of at most %d",
                                 customers, SAGA_BENCH_IDS_MAX);
    }
    if (products != NULL && (saga_bench_range_parse(products, &range) != SAGA_ERR_OK ||
                             saga_bench_orders_products(&bench->orders, range) != SAGA_ERR_OK)) {
        return saga_client_usage("--products %s: it must be a range such as 1-48, of at most %d",
                                 products, SAGA_BENCH_IDS_MAX);
    }
    int status = saga_client_int(bench->options, "draw", 0, INT64_MAX, &draw);
    bench->orders.seed = (uint64_t)draw;
    bench->orders.refused_permille = (unsigned)bench->mix * 10;
    return status;
}

static int bench_find_target(struct bench *bench)
{
    struct saga_err_detail detail = {{0}};
    const char *url = saga_options_text(bench->options, "url");
    enum saga_err err =
        saga_endpoints_read(saga_options_text(bench->options, "dir"), &bench->endpoints, &detail);
    bench->has_endpoints = err == SAGA_ERR_OK;
    if (url == NULL && !bench->has_endpoints) {
        return saga_client_fail("%s\nStart the system with `sagactl dev`, or give --url.",
                                detail.text);
    }
    url = url != NULL ? url : bench->endpoints.daemons[SAGA_DAEMON_ORDERD].http;
    if (saga_bench_target_find(url, &bench->target, &detail) != SAGA_ERR_OK) {
        return saga_client_fail("%s", detail.text);
    }
    return SAGA_EXIT_OK;
}

static int bench_prepare(struct bench *bench)
{
    const struct saga_options *options = bench->options;
    if (saga_client_operands(options, 0, 0, "") != SAGA_EXIT_OK ||
        saga_client_int(options, "clients", 1, CLIENTS_MAX, &bench->clients) != SAGA_EXIT_OK ||
        saga_client_int(options, "seconds", 1, 86400, &bench->seconds) != SAGA_EXIT_OK ||
        saga_client_int(options, "warmup", 0, 3600, &bench->warmup) != SAGA_EXIT_OK ||
        saga_client_int(options, "mix", 0, 100, &bench->mix) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    int status = bench_read_orders(bench);
    status = status == SAGA_EXIT_OK ? bench_find_target(bench) : status;
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    bench->epoll = epoll_create1(EPOLL_CLOEXEC);
    bench->client = calloc((size_t)bench->clients, sizeof *bench->client);
    if (bench->epoll < 0 || bench->client == NULL) {
        return saga_client_fail("out of memory");
    }
    for (int64_t i = 0; i < bench->clients; i++) {
        bench->client[i].fd = -1;
    }
    return SAGA_EXIT_OK;
}

static int bench_run(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0) {
        return SAGA_EXIT_USAGE;
    }
    struct bench *bench = calloc(1, sizeof *bench);
    if (bench == NULL) {
        return saga_client_fail("out of memory");
    }
    bench->options = options;
    bench->epoll = -1;
    int status = bench_prepare(bench);
    if (status == SAGA_EXIT_OK) {
        bench_measure(bench);
        status = json == 1 ? bench_print_json(bench) : bench_print(bench);
        if (status == SAGA_EXIT_OK && (bench->stats.count == 0 || bench->busy > 0)) {
            status = saga_client_fail("not every order was decided");
        }
        for (int64_t i = 0; i < bench->clients; i++) {
            client_drop(bench, &bench->client[i], NULL);
        }
    }
    if (bench->epoll >= 0) {
        (void)close(bench->epoll);
    }
    saga_bench_fini(&bench->stats);
    saga_bench_orders_fini(&bench->orders);
    free(bench->client);
    free(bench);
    return status;
}

const struct saga_verb saga_verb_bench = {
    .name = "bench",
    .usage = "[--clients N] [--seconds N] [--mix PERCENT]",
    .summary = "measure orders/s, latency and CPU per order of a running system",
    .epilog = "A closed loop: each client places an order over HTTP, waits until it is decided, "
              "and places the next one.",
    .options = bench_options,
    .option_count = sizeof bench_options / sizeof bench_options[0],
    .shorts = "o=output",
    .run = bench_run,
};
