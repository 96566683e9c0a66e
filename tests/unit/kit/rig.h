/* A kit without threads and sockets: a participant of a few lines, whose handlers can be told what
 * to do, on a real database. What is tested is what the worker runs: saga_kit_dispatch inside a
 * transaction. */
#ifndef SAGA_TESTS_UNIT_KIT_RIG_H
#define SAGA_TESTS_UNIT_KIT_RIG_H

#include "services/kit/room.h"
#include "tests/support/support.h"

/* What the handlers of the rig's PaymentService do next. */
enum rig_mood { RIG_OK, RIG_REJECT, RIG_RETRY, RIG_PARK, RIG_SILENT, RIG_BAD_SQL, RIG_LARGE };

struct rig {
    struct saga_test_dir dir;
    struct saga_kit kit;
    struct saga_kit_app app;
    enum rig_mood mood;
    int runs; /* of handlers, committed or not */
};

#define RIG_CALL "payment.v1.PaymentService/AuthorizePayment"
#define RIG_UNDO "payment.v1.PaymentService/RefundPayment"

int rig_setup(void **state);
int rig_teardown(void **state);

/* A command of saga 1, step "payment", with a payload that says order_id. */
struct saga_command rig_call(int64_t order_id);
struct saga_command rig_undo(int64_t order_id);

/* Runs one command in a transaction of its own and commits; the reply lives until the next one. */
struct saga_reply rig_run(struct rig *rig, const struct saga_command *command);
struct saga_reply rig_run_via(struct rig *rig, const struct saga_command *command,
                              enum saga_via via, bool *stored);

/* Gives a number from the database. */
int64_t rig_number(struct rig *rig, const char *sql);

/* Effects that are committed: +1 for each call, -1 for each undo that ran. */
int64_t rig_effects(struct rig *rig);
int64_t rig_rows(struct rig *rig);

void rig_begin(struct rig *rig);
void rig_commit(struct rig *rig);

#endif
