/* orderd: wires the order service, its HTTP door and its start relay into the kit. */
#include <stdio.h>
#include <stdlib.h>

#include "services/kit/kit.h"
#include "services/order/order.h"
#include "services/order/order_http.h"
#include "services/order/start_relay.h"

/* The daemon. */
struct orderd {
    struct saga_orders orders;
    struct saga_order_http *http;
    struct saga_start_relay *relay;
};

/* The last two hold ports and addresses of a default installation. */
/* Where the orchestrator listens by default; as every daemon, it looks for a directory of the user
 * first. */
static char orchestrator[SAGA_ADDRESS_SIZE_MAX + 1];

static const struct saga_option options[] = {
    {.name = "orchestrator",
     .argument = "URL",
     .fallback = orchestrator,
     .help = "NNG address of the orchestrator.",
     .repeated = true},
    {.name = "saga",
     .argument = "NAME",
     .fallback = "create-order",
     .help = "Saga definition that every order starts."},
    {.name = "http-address",
     .argument = "ADDRESS",
     .fallback = "127.0.0.1",
     .help = "Address that HTTP listens on."},
    {.name = "http-port",
     .argument = "PORT",
     .fallback = "8080",
     .help = "Port that HTTP listens on; 0 takes a free one."},
};

/* The step `order` is done by whoever starts the saga, that is here: its undo comes without a call
 * before it. */
static const char *const starter_undos[] = {"order.v1.OrderService/RejectOrder", NULL};

static void order_placed(void *context, int64_t order_id)
{
    struct orderd *orderd = context;
    saga_start_relay_note(orderd->relay, order_id);
}

static void order_decided(void *context, int64_t order_id)
{
    struct orderd *orderd = context;
    saga_order_http_decided(orderd->http, order_id);
}

static enum saga_err relay_open(struct orderd *orderd, struct saga_kit *kit,
                                const struct saga_options *settings, struct saga_err_detail *detail)
{
    const char *addresses[SAGA_ADDRESSES_MAX];
    size_t count = saga_options_count(settings, "orchestrator");
    if (count > SAGA_ADDRESSES_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "--orchestrator: %zu addresses, at most %d are taken", count,
                            SAGA_ADDRESSES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        addresses[i] = saga_options_at(settings, "orchestrator", i);
    }
    const struct saga_start_relay_config config = {
        .addresses = addresses,
        .address_count = count,
        .tls = {.ca_file = saga_options_text(settings, "tls-ca"),
                .cert_file = saga_options_text(settings, "tls-cert"),
                .key_file = saga_options_text(settings, "tls-key")},
        .definition = saga_options_text(settings, "saga"),
        .database_path = saga_kit_database_path(kit),
        .kit = kit,
        .orders = &orderd->orders,
    };
    return saga_start_relay_new(&config, &orderd->relay, detail);
}

static enum saga_err orderd_started(struct saga_kit *kit, void *user,
                                    const struct saga_options *settings,
                                    struct saga_err_detail *detail)
{
    struct orderd *orderd = user;
    int64_t port = 0;
    enum saga_err err = saga_options_int(settings, "http-port", 0, UINT16_MAX, &port, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_orders_load(&orderd->orders, saga_kit_database(kit), detail);
    }
    if (err == SAGA_ERR_OK) {
        err = relay_open(orderd, kit, settings, detail);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    const struct saga_order_http_config config = {
        .address = saga_options_text(settings, "http-address"),
        .port = (uint16_t)port,
        .kit = kit,
        .orders = &orderd->orders,
        .relay = orderd->relay,
    };
    err = saga_order_http_start(&config, &orderd->http, detail);
    if (err != SAGA_ERR_OK) {
        saga_start_relay_stop(orderd->relay);
        saga_start_relay_free(orderd->relay);
        orderd->relay = NULL;
    }
    return err;
}

static void orderd_stopping(struct saga_kit *kit, void *user)
{
    (void)kit;
    struct orderd *orderd = user;
    saga_start_relay_stop(orderd->relay);
    saga_order_http_drain(orderd->http);
}

static void orderd_stopped(struct saga_kit *kit, void *user)
{
    (void)kit;
    struct orderd *orderd = user;
    saga_order_http_free(orderd->http);
    orderd->http = NULL;
    saga_start_relay_free(orderd->relay);
    orderd->relay = NULL;
}

static const char *orderd_http_address(void *user)
{
    const struct orderd *orderd = user;
    return saga_order_http_address(orderd->http);
}

static void orderd_health(struct saga_kit *kit, void *user, void *report)
{
    (void)kit;
    const struct orderd *orderd = user;
    if (saga_start_relay_connected(orderd->relay)) {
        saga_kit_health_add(report, "orchestrator", 1, "connected");
    } else {
        saga_kit_health_add(report, "orchestrator", 2,
                            "not connected: orders are accepted and start when it is back");
    }
}

int main(int argc, char **argv)
{
    static struct orderd orderd;
    const char *run = getenv("XDG_RUNTIME_DIR");
    (void)snprintf(orchestrator, sizeof orchestrator, "ipc://%s/sagad.sock",
                   run == NULL || run[0] != '/' ? "/tmp" : run);
    saga_orders_init(&orderd.orders);
    orderd.orders.placed = order_placed;
    orderd.orders.decided = order_decided;
    orderd.orders.context = &orderd;
    const struct saga_kit_app app = {
        .name = "orderd",
        .summary = "takes orders and starts a saga for each",
        .env_prefix = "ORDERD",
        .service = &orderd.orders.service.base,
        .migrations = saga_order_migrations,
        .migration_count = saga_order_migration_count,
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .user = &orderd,
        .starter_undos = starter_undos,
        .started = orderd_started,
        .stopping = orderd_stopping,
        .stopped = orderd_stopped,
        .http_address = orderd_http_address,
        .health = orderd_health,
    };
    return saga_kit_main(argc, argv, &app);
}
