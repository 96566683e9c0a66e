/* Addresses on the command line. See address.h. */
#include "client/address.h"

#include <stdio.h>
#include <string.h>

/* Finds the URL that a text stands for, copied to url. Exit status; the message is printed. */
static int find_url(const struct saga_options *options, const char *text,
                    char url[SAGA_ADDRESS_SIZE_MAX + 1])
{
    struct saga_endpoints endpoints;
    int status = saga_client_endpoints(options, &endpoints);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    for (int i = 0; i < SAGA_DAEMON_COUNT; i++) {
        if (strcmp(saga_daemon_name((enum saga_daemon)i), text) == 0 &&
            endpoints.daemons[i].nng[0] != 0) {
            memcpy(url, endpoints.daemons[i].nng, sizeof endpoints.daemons[i].nng);
            return SAGA_EXIT_OK;
        }
    }
    return saga_client_usage(
        "%s: it is neither an address (ipc://…, tcp://…) nor a daemon of endpoints.json", text);
}

int saga_address_check(const struct saga_options *options, const char *text)
{
    char url[SAGA_ADDRESS_SIZE_MAX + 1];
    return strstr(text, "://") != NULL ? SAGA_EXIT_OK : find_url(options, text, url);
}

int saga_address_open(const struct saga_options *options, const char *text, struct saga_conn **conn)
{
    char url[SAGA_ADDRESS_SIZE_MAX + 1];
    if (strstr(text, "://") != NULL) {
        return saga_conn_open(text, options, conn);
    }
    int status = find_url(options, text, url);
    return status == SAGA_EXIT_OK ? saga_conn_open(url, options, conn) : status;
}

int saga_address_kafka(const struct saga_options *options,
                       char bootstrap[SAGA_ADDRESS_SIZE_MAX + 1])
{
    struct saga_endpoints endpoints;
    const char *given = saga_options_text(options, "kafka");
    if (given != NULL) {
        if (snprintf(bootstrap, SAGA_ADDRESS_SIZE_MAX + 1, "%s", given) > SAGA_ADDRESS_SIZE_MAX) {
            return saga_client_usage("--kafka: more than %d bytes", SAGA_ADDRESS_SIZE_MAX);
        }
        return SAGA_EXIT_OK;
    }
    int status = saga_client_endpoints(options, &endpoints);
    if (status == SAGA_EXIT_OK && endpoints.kafka[0] == 0) {
        status = saga_client_fail("endpoints.json names no Kafka; give --kafka HOST:PORT");
    }
    memcpy(bootstrap, endpoints.kafka, sizeof endpoints.kafka);
    return status;
}
