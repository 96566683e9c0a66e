/* The embedded cluster for trying the system out: librdkafka's mock. It keeps nothing on disk and
 * forgets its oldest records. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

#include "common/bus/kafka/client.h"
#include "common/bus/kafka/kafka.h"

enum { MOCK_BROKERS = 1 };

struct saga_kafka_mock {
    rd_kafka_t *rk; /* the cluster lives in a client */
    rd_kafka_mock_cluster_t *cluster;
};

enum saga_err saga_kafka_mock_start(struct saga_kafka_mock **mock, struct saga_err_detail *detail)
{
    struct saga_kafka_mock *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "kafka: embedded cluster");
    }
    rd_kafka_conf_t *conf = NULL;
    enum saga_err err = saga_kafka_conf_new_local("embedded-kafka", &conf, detail);
    if (err == SAGA_ERR_OK) {
        /* It would warn that it has no address: it needs none. */
        (void)rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
        err = saga_kafka_client_new(RD_KAFKA_PRODUCER, conf, &made->rk, detail);
    }
    if (err == SAGA_ERR_OK) {
        made->cluster = rd_kafka_mock_cluster_new(made->rk, MOCK_BROKERS);
        if (made->cluster == NULL) {
            err = saga_err_set(detail, SAGA_ERR_UNAVAILABLE, "kafka: no embedded cluster");
        }
    }
    if (err != SAGA_ERR_OK) {
        saga_kafka_mock_free(made);
        return err;
    }
    *mock = made;
    return SAGA_ERR_OK;
}

const char *saga_kafka_mock_bootstrap(const struct saga_kafka_mock *mock)
{
    return rd_kafka_mock_cluster_bootstraps(mock->cluster);
}

void saga_kafka_mock_free(struct saga_kafka_mock *mock)
{
    if (mock == NULL) {
        return;
    }
    if (mock->cluster != NULL) {
        rd_kafka_mock_cluster_destroy(mock->cluster);
    }
    if (mock->rk != NULL) {
        rd_kafka_destroy(mock->rk);
    }
    free(mock);
}
