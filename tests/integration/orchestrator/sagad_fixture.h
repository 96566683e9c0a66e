/* sagad alone: the daemon as a child, participants that live in the test, its admin API and its
 * HTTP side. Functions fail the test when something is not as it must be. Thread: the test's. */
#ifndef SAGA_TESTS_INTEGRATION_SAGAD_FIXTURE_H
#define SAGA_TESTS_INTEGRATION_SAGAD_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/bus/nng/rpc.h"
#include "common/wire/envelope.h"
#include "saga/v1/health.pb-c.h"
#include "saga/v1/orchestrator.pb-c.h"
#include "tests/integration/orchestrator/fakes.h"
#include "tests/support/support.h"

enum { DEADLINE_MS = 20000, BATCH_MAX = 256 };

#define ORCHESTRATOR "saga.v1.OrchestratorService/"

struct sagad {
    struct saga_test_dir dir;
    struct saga_test_child child;
    struct fakes *fakes;
    char nng[SAGA_TEST_PATH_MAX];
    char data[SAGA_TEST_PATH_MAX];
    char log[SAGA_TEST_PATH_MAX];
    char set[SAGA_TEST_PATH_MAX];   /* the descriptor set */
    char kafka[SAGA_TEST_PATH_MAX]; /* "": none */
    const char *without;            /* a service that gets no address; NULL: all have one */
    const char *live_max;           /* NULL: the default */
    const char *blocks_max;         /* no file may have more 512-byte blocks; NULL: any */
    uint16_t port;
    struct saga_rpc_client *client;
    struct saga_arena arena; /* of the last answers */
};

/* Makes the directory, the schema, the participants (up). For cmocka. */
int sagad_setup(void **state);
int sagad_teardown(void **state);

/* Starts it and waits until it serves. */
void sagad_start(struct sagad *sagad);

/* Starts it without waiting. */
void sagad_spawn(struct sagad *sagad);
void sagad_await(struct sagad *sagad, unsigned deadline_ms);

/* SIGKILL; SIGTERM and exit 0 within deadline_ms. The log must be free of sanitizers' complaints.
 */
void sagad_kill(struct sagad *sagad);
void sagad_stop(struct sagad *sagad, unsigned deadline_ms);
void sagad_check_log(struct sagad *sagad);
bool sagad_log_has(struct sagad *sagad, const char *text);

/* ---- Admin API. Answers live until the next call ---- */

/* Asks one command; gives its reply. */
struct saga_reply sagad_ask(struct sagad *sagad, const char *method,
                            const ProtobufCMessage *request);

/* Sends bytes as they are; gives the replies. */
struct saga_reply *sagad_send(struct sagad *sagad, struct saga_bytes bytes, size_t *count);

struct start {
    const char *definition; /* NULL: "pair" */
    const char *key;
    int64_t n;
    int64_t wait_ms;
};

struct started {
    uint32_t code;
    char reason[64];
    struct saga_id id;
    bool existing;
    Saga__V1__SagaState state;
};

/* Appends a start to a batch; takes one apart. */
void start_add(const struct start *start, struct saga_buf *batch);
struct started started_of(const struct saga_reply *reply, struct saga_arena *arena);

struct started sagad_begin(struct sagad *sagad, const struct start *start);

/* Starts `count` sagas "pair" with keys PREFIX0… in batches, expects that all are taken. */
void sagad_begin_many(struct sagad *sagad, const char *prefix, size_t count, struct saga_id *ids);

/* Looks at a saga; events on demand. */
const Saga__V1__GetSagaResponse *sagad_get(struct sagad *sagad, struct saga_id id, bool events);
Saga__V1__SagaState sagad_state(struct sagad *sagad, struct saga_id id);
void sagad_wait_state(struct sagad *sagad, struct saga_id id, Saga__V1__SagaState state,
                      unsigned deadline_ms);

/* Waits until all have ended; gives how many COMPLETED. What the participants have must fit each
 * end. */
size_t sagad_wait_ended(struct sagad *sagad, const struct saga_id *ids, size_t count,
                        unsigned deadline_ms);

/* Waits until a saga has had `seq` events. */
void sagad_wait_seq(struct sagad *sagad, struct saga_id id, uint64_t seq);

uint32_t sagad_operate(struct sagad *sagad, struct saga_id id, Saga__V1__OperatorAct act,
                       const char *step, char reason[64]);

/* Checks the chain of a saga's events: numbers, hashes. Gives how many there are. */
size_t sagad_check_events(struct sagad *sagad, struct saga_id id);

/* Counts decisions on a step's command. */
size_t sagad_decisions(struct sagad *sagad, struct saga_id id, const char *step, Saga__V1__Op op);

/* State of a part of health ("": the whole), by NNG. detail may be NULL. */
int sagad_health(struct sagad *sagad, const char *part, char detail[256]);

/* ---- HTTP ---- */

unsigned sagad_http(struct sagad *sagad, const char *path);
double sagad_metric(struct sagad *sagad, const char *name);

/* Resident memory in KiB. */
size_t sagad_rss_kib(const struct sagad *sagad);

#endif
