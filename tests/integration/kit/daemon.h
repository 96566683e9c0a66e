/* A service daemon of the test: started as a child, spoken to over ipc, its database looked into.
 */
#ifndef SAGA_TESTS_INTEGRATION_KIT_DAEMON_H
#define SAGA_TESTS_INTEGRATION_KIT_DAEMON_H

#include "common/base/arena.h"
#include "common/bus/nng/rpc.h"
#include "common/wire/envelope.h"
#include "tests/support/support.h"

enum { DAEMON_ARGS_MAX = 24 };

struct daemon {
    struct saga_test_dir dir;
    struct saga_test_child child;
    struct saga_rpc_client *client;
    struct saga_arena arena; /* of replies */
    const char *name;
    char address[SAGA_TEST_PATH_MAX];
    char data[SAGA_TEST_PATH_MAX];
    char ready[SAGA_TEST_PATH_MAX];
    char log[SAGA_TEST_PATH_MAX];
    char seed[SAGA_TEST_PATH_MAX];
};

/* Makes a directory for a daemon and, with seed not NULL, the file to seed it from. */
void daemon_prepare(struct daemon *daemon, const char *name, const char *seed);

/* Starts it, with further arguments (ended by NULL) or NULL, and waits until it serves. */
void daemon_start(struct daemon *daemon, const char *const extra[]);

/* Ends it by a signal and waits; gives the wait status. */
int daemon_end(struct daemon *daemon, int sig);

/* Closes the client and removes the directory; kills what runs. */
void daemon_remove(struct daemon *daemon);

/* Calls one command; the reply lives until the next call. */
struct saga_reply daemon_call(struct daemon *daemon, const struct saga_command *command);

/* Calls a batch, gives the replies. */
struct saga_reply *daemon_batch(struct daemon *daemon, const struct saga_command *commands,
                                size_t count, size_t *reply_count);

/* Sends bytes as they are, gives the replies. */
struct saga_reply *daemon_send(struct daemon *daemon, struct saga_bytes bytes, size_t *reply_count);

/* Reads a number from the database file. */
int64_t daemon_number(const struct daemon *daemon, const char *sql);

/* Gives the value of "name=…" in the detail of the health part "store"; and the state of a part. */
int64_t daemon_counter(struct daemon *daemon, const char *name);
int daemon_part(struct daemon *daemon, const char *name);

/* A saga id made of a number. */
struct saga_id id_of(uint64_t number);

/* An encoded message; lives until the test program ends or pool_clear. */
struct ProtobufCMessage;
struct saga_bytes payload_of(const struct ProtobufCMessage *message);
void pool_clear(void);

/* A command of a saga. */
struct saga_command command_of(enum saga_op op, uint64_t saga, const char *step, const char *method,
                               struct saga_bytes payload);

/* Requests of productd: one line. */
#define RESERVE "product.v1.ProductService/ReserveStock"
#define RELEASE "product.v1.ProductService/ReleaseStock"
struct saga_command reserve_of(uint64_t saga, int64_t order_id, int64_t product_id,
                               int32_t quantity);
struct saga_command release_of(uint64_t saga, int64_t order_id);

#endif
