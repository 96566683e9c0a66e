/* endpoints.json. See endpoints.h. */
#include "client/endpoints.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

static const char *const daemon_names[SAGA_DAEMON_COUNT] = {
    [SAGA_DAEMON_SAGAD] = "sagad",         [SAGA_DAEMON_ORDERD] = "orderd",
    [SAGA_DAEMON_CUSTOMERD] = "customerd", [SAGA_DAEMON_PRODUCTD] = "productd",
    [SAGA_DAEMON_KITCHEND] = "kitchend",   [SAGA_DAEMON_PAYMENTD] = "paymentd",
};

const char *saga_daemon_name(enum saga_daemon daemon)
{
    return daemon < SAGA_DAEMON_COUNT ? daemon_names[daemon] : "";
}

static const char *const daemon_services[SAGA_DAEMON_COUNT] = {
    [SAGA_DAEMON_ORDERD] = "order.v1.OrderService",
    [SAGA_DAEMON_CUSTOMERD] = "customer.v1.CustomerService",
    [SAGA_DAEMON_PRODUCTD] = "product.v1.ProductService",
    [SAGA_DAEMON_KITCHEND] = "kitchen.v1.KitchenService",
    [SAGA_DAEMON_PAYMENTD] = "payment.v1.PaymentService",
};

const char *saga_daemon_service(enum saga_daemon daemon)
{
    return daemon < SAGA_DAEMON_COUNT ? daemon_services[daemon] : NULL;
}

bool saga_daemon_serves(const char *service)
{
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        if (daemon_services[i] != NULL && strcmp(daemon_services[i], service) == 0) {
            return true;
        }
    }
    return false;
}

static enum saga_err load(const char *path, json_t **root, struct saga_err_detail *detail)
{
    if (access(path, R_OK) != 0) {
        enum saga_err err = errno == ENOENT ? SAGA_ERR_NOT_FOUND : SAGA_ERR_IO;
        return saga_err_set(detail, err, "%s: %s", path, strerror(errno));
    }
    json_error_t error;
    *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (*root == NULL || !json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        return saga_err_set(detail, SAGA_ERR_MALFORMED, "%s: line %d: %s", path, error.line,
                            error.text);
    }
    return SAGA_ERR_OK;
}

static void copy_text(const json_t *object, const char *key, char *out)
{
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(out, SAGA_ADDRESS_SIZE_MAX + 1, "%s", text == NULL ? "" : text);
}

static void read_endpoint(const json_t *object, struct saga_endpoint *endpoint)
{
    copy_text(object, "nng", endpoint->nng);
    copy_text(object, "http", endpoint->http);
    endpoint->pid = json_integer_value(json_object_get(object, "pid"));
}

enum saga_err saga_endpoint_read_ready(const char *path, struct saga_endpoint *endpoint,
                                       struct saga_err_detail *detail)
{
    json_t *root = NULL;
    enum saga_err err = load(path, &root, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    read_endpoint(root, endpoint);
    json_decref(root);
    if (endpoint->nng[0] == 0) {
        return saga_err_set(detail, SAGA_ERR_MALFORMED, "%s: no nng address", path);
    }
    return SAGA_ERR_OK;
}

static bool path_of(const char *dir, const char *name, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

enum saga_err saga_endpoints_read(const char *dir, struct saga_endpoints *endpoints,
                                  struct saga_err_detail *detail)
{
    char path[PATH_MAX];
    json_t *root = NULL;
    *endpoints = (struct saga_endpoints){0};
    if (!path_of(dir, "endpoints.json", path)) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "%s: the path is too long", dir);
    }
    enum saga_err err = load(path, &root, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        read_endpoint(json_object_get(root, daemon_names[i]), &endpoints->daemons[i]);
    }
    const json_t *kafka = json_object_get(root, "kafka");
    copy_text(kafka, "bootstrap", endpoints->kafka);
    endpoints->dev_pid = json_integer_value(json_object_get(kafka, "pid"));
    json_decref(root);
    return SAGA_ERR_OK;
}

static json_t *endpoint_json(const struct saga_endpoint *endpoint)
{
    json_t *object = json_object();
    int failed = json_object_set_new(object, "nng", json_string(endpoint->nng));
    if (endpoint->http[0] != 0) {
        failed |= json_object_set_new(object, "http", json_string(endpoint->http));
    }
    failed |= json_object_set_new(object, "pid", json_integer(endpoint->pid));
    if (failed != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

enum saga_err saga_endpoints_write(const char *dir, const struct saga_endpoints *endpoints,
                                   struct saga_err_detail *detail)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    if (!path_of(dir, "endpoints.json", path) || !path_of(dir, ".endpoints.json.new", temporary)) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "%s: the path is too long", dir);
    }
    json_t *root = json_object();
    int failed = 0;
    for (size_t i = 0; i < SAGA_DAEMON_COUNT; i++) {
        failed |= json_object_set_new(root, daemon_names[i], endpoint_json(&endpoints->daemons[i]));
    }
    json_t *kafka = json_pack("{s:s}", "bootstrap", endpoints->kafka);
    if (endpoints->dev_pid != 0) {
        failed |= json_object_set_new(kafka, "pid", json_integer(endpoints->dev_pid));
    }
    failed |= json_object_set_new(root, "kafka", kafka);
    if (failed != 0) {
        json_decref(root);
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "%s", saga_err_text(SAGA_ERR_NO_MEMORY));
    }
    FILE *file = fopen(temporary, "w");
    failed = file == NULL || json_dumpf(root, file, JSON_INDENT(2)) != 0 || fputc('\n', file) < 0;
    failed |= file != NULL && fclose(file) != 0;
    json_decref(root);
    if (failed != 0 || rename(temporary, path) != 0) {
        return saga_err_set(detail, SAGA_ERR_IO, "%s: %s", path, strerror(errno));
    }
    return SAGA_ERR_OK;
}

void saga_endpoints_remove(const char *dir)
{
    char path[PATH_MAX];
    if (path_of(dir, "endpoints.json", path)) {
        (void)unlink(path);
    }
}
