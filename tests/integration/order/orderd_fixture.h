/* orderd alone on its machine: the daemon as a child process, an orchestrator that does what a test
 * says, and ways to ask orderd by HTTP and by NNG. Functions fail the test when something is not as
 * it must be. Thread: the test's, unless said otherwise. */
#ifndef SAGA_TESTS_INTEGRATION_ORDERD_FIXTURE_H
#define SAGA_TESTS_INTEGRATION_ORDERD_FIXTURE_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/op.h"
#include "common/base/status.h"
#include "common/bus/nng/rpc.h"
#include "order/v1/order.pb-c.h"
#include "tests/support/support.h"
#include "tests/unit/http/http_client.h"

enum { STARTS_MAX = 20000, DEADLINE_MS = 20000 };

/* What the orchestrator does with starts. */
enum fake_mode {
    FAKE_ACCEPT,
    FAKE_CODE,   /* every start gets `code` */
    FAKE_WHOLE,  /* batches of more than one get one reply, INVALID_ARGUMENT; single ones are judged
                    by `refused_order` */
    FAKE_SILENT, /* no answer */
    FAKE_GARBAGE, /* an answer that is none */
};

struct fake_start {
    int64_t order_id;
    int64_t customer_id;
    size_t line_count;
    struct saga_id saga_id;
    unsigned times; /* asked */
};

/* The orchestrator. Fields are under the lock while it is up. */
struct fake {
    char address[SAGA_TEST_PATH_MAX];
    struct saga_rpc_server *server;
    pthread_mutex_t lock;
    enum fake_mode mode;
    enum saga_code code;
    int64_t refused_order; /* gets INVALID_ARGUMENT */
    size_t message_count;
    size_t command_count_max;             /* of one message */
    char definition[64];                  /* of the last start */
    struct fake_start starts[STARTS_MAX]; /* by order id; times 0: none */
    size_t start_count;                   /* distinct keys, accepted */
};

/* The daemon. */
struct orderd {
    struct saga_test_dir dir;
    struct saga_test_child child;
    struct fake fake;
    uint16_t port;
    char nng[SAGA_TEST_PATH_MAX];
    struct saga_rpc_client *client; /* to orderd */
    uint64_t sagas;                 /* made up so far */
};

/* Makes the directory; the orchestrator is down, orderd not started. For cmocka: setup and
 * teardown. */
int orderd_setup(void **state);
int orderd_teardown(void **state);

/* Starts orderd and waits until it is ready. */
void orderd_start(struct orderd *orderd);
void orderd_kill(struct orderd *orderd);

/* Sends SIGTERM; orderd must end with status 0. */
void orderd_stop(struct orderd *orderd);

/* The orchestrator comes and goes; what it has accepted it remembers. */
void fake_up(struct orderd *orderd, enum fake_mode mode);
void fake_down(struct orderd *orderd);
void fake_set(struct orderd *orderd, enum fake_mode mode, enum saga_code code);

/* Waits until so many sagas were started, and no order twice as another saga. */
void fake_wait_started(struct orderd *orderd, size_t count);

/* Gives the saga of an order; times 0 when it was never started. */
struct fake_start fake_find(struct orderd *orderd, int64_t order_id);

/* ---- HTTP ---- */

/* Sends a request ("POST /orders?wait=1s", extra header lines or "", body or NULL) on a connection
 * of its own; the answer's JSON is the caller's (NULL when it is none). */
json_t *ask(struct orderd *orderd, const char *line, const char *headers, const char *body,
            unsigned *status, struct reply *reply);

/* Places an order of 2 pieces of product 7 for customer 42 and gives its id. */
int64_t place(struct orderd *orderd);

/* Asks for an order; its state, reason, saga_id are compared with what is given (NULL: any). */
void expect_order(struct orderd *orderd, int64_t order_id, const char *state, const char *reason);

/* Waits until an order is in a state. */
void wait_order(struct orderd *orderd, int64_t order_id, const char *state, const char *reason);

/* Texts and numbers of an answer. */
const char *text_of(const json_t *object, const char *key);
int64_t number_of(const json_t *object, const char *key);

/* Starts a request in the background; finish_ask gives its answer. */
int begin_ask(struct orderd *orderd, const char *line, const char *body);
json_t *finish_ask(int fd, unsigned *status);

/* ---- Commands ---- */

/* One command for orderd. */
struct order_command {
    const char *method; /* "ApproveOrder" */
    enum saga_op op;
    struct saga_id saga_id;
    const char *step;
    const ProtobufCMessage *message;
    const char *cause_step;
    enum saga_code cause_code;
    const char *cause_reason;
};

/* How it was answered. */
struct order_answer {
    uint32_t code;
    char reason[64];
    bool replayed;
    bool empty;
    uint8_t payload[70000];
    size_t payload_size;
};

void command(struct orderd *orderd, const struct order_command *wanted,
             struct order_answer *answer);

/* Approves (CALL) or rejects (UNDO) as the orchestrator would; gives the code. */
uint32_t approve(struct orderd *orderd, int64_t order_id, struct saga_id saga_id);
uint32_t reject(struct orderd *orderd, int64_t order_id, struct saga_id saga_id,
                const char *cause_step, enum saga_code code, const char *reason);

/* A saga id that was not used before. */
struct saga_id new_saga(struct orderd *orderd);

#endif
