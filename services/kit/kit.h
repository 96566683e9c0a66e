/* The participant kit: what a service author sees. The author writes handlers, tables and seed; the
 * kit does the rest: RPC server, batches in one transaction, barrier (B1-B8), outbox, Kafka intake,
 * health, reflection, options, logs, signals.
 *
 * A handler is a function of the protobuf-c generated service vtable; its `closure_data` is the
 * call:
 *
 *     static void reserve_stock(Product__V1__ProductService_Service *service, const
 * Product__V1__ReserveStockRequest *in, Product__V1__ReserveStockResponse_Closure closure, void
 * *data)
 *     {
 *         struct saga_call *call = data;
 *         …domain SQL through saga_call_sql(call, …)…
 *         closure(&response, call);                                 // done: effect and reply
 * commit together
 *         // or: saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "OUT_OF_STOCK", "product %d:
 * …", …);
 *     }
 *
 * Thread: handlers, seeds and jobs run on the kit's one worker thread. Nothing in a handler may
 * block, or talk to another service. */
#ifndef SAGA_KIT_KIT_H
#define SAGA_KIT_KIT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/status.h"
#include "common/sql/sql.h"
#include "common/sys/options.h"
#include "common/wire/envelope.h"

struct saga_kit;
struct saga_call; /* one command, or one job, inside the present transaction */

/* ---- For handlers ---- */

/* Refuses: what the handler wrote is rolled back to its savepoint. reason is UPPER_SNAKE.
 * Definitive codes are stored (B6), others are not. */
void saga_call_refuse(struct saga_call *call, enum saga_code code, const char *reason,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Prepares a statement and binds its parameters: one letter of types for each: i int64_t, s const
 * char *, b struct saga_bytes *. Never NULL. The first database error of a call is remembered: it
 * answers INTERNAL (or stops the daemon if durability may be lost) and what follows is void. */
struct saga_sql_stmt *saga_call_sql(struct saga_call *call, const char *sql, const char *types,
                                    ...);

/* Steps to the next row; false at the end or after an error. */
bool saga_call_row(struct saga_call *call, struct saga_sql_stmt *stmt);

/* Runs a statement that gives no rows; gives the number of rows changed. */
int64_t saga_call_run(struct saga_call *call, const char *sql, const char *types, ...);

/* What is known of the call. */
struct saga_id saga_call_saga_id(const struct saga_call *call);
enum saga_op saga_call_op(const struct saga_call *call);
const struct saga_command *saga_call_command(const struct saga_call *call);
int64_t saga_call_now_unix_ms(const struct saga_call *call);
struct saga_sql *saga_call_database(struct saga_call *call);
void *saga_call_user(const struct saga_call *call); /* the app's `user` */

/* Runs `done` after the transaction that holds this call was committed (never when it was not):
 * wake waiters. */
void saga_call_after_commit(struct saga_call *call, void (*done)(void *user, int64_t value),
                            void *user, int64_t value);

/* ---- Jobs: local transactions of a daemon's own (HTTP requests, relays), in the same group commit
 * as commands ---- */

struct saga_kit_job;

/* run: like a handler (may use saga_call_refuse). done: after commit (committed true), or when it
 * was refused or could not be committed (false; status says why). Both on the worker. The job's
 * memory is the caller's, until done returns. */
struct saga_kit_job {
    void (*run)(struct saga_kit_job *job, struct saga_call *call);
    void (*done)(struct saga_kit_job *job, bool committed, const struct saga_status *status);
    void *reserved[4]; /* the kit's */
};

/* Queues a job. Thread: any. Errors: FULL, CLOSED (stopping): done is not called. */
enum saga_err saga_kit_submit(struct saga_kit *kit, struct saga_kit_job *job) SAGA_WARN_UNUSED;

/* ---- For main ---- */

/* Seeds one table from a JSON file {"<array>": [{…}, …]}: the statement runs once per object, its
 * parameters bound from the named keys in order. */
struct saga_kit_seed {
    const char *array;
    const char *sql; /* INSERT … ON CONFLICT … so that seeding twice is the same as once */
    const char *const
        *keys; /* ended by NULL; a missing key is an error; numbers, strings and booleans */
};

/* One service daemon. */
struct saga_kit_app {
    const char *name;          /* "productd" */
    const char *summary;       /* for --help */
    const char *env_prefix;    /* "PRODUCTD" */
    ProtobufCService *service; /* the generated vtable, filled in */
    /* The FileDescriptorSet that declares the service, with its imports, saga/v1/health.proto and
     * saga/v1/reflection.proto: what reflection tells, and where the service's topics stand.
     * Borrowed. Empty: the project's own. */
    struct saga_bytes descriptor_set;
    const char *const *migrations; /* of the domain's tables, each applied once, in order */
    size_t migration_count;
    const struct saga_kit_seed *seeds;
    size_t seed_count;
    const struct saga_option *options; /* further options of the daemon */
    size_t option_count;
    void *user;
    /* Undo methods ("order.v1.OrderService/RejectOrder") of steps that the starter of the saga does
     * itself: no call command ever precedes such an undo, so B2 does not apply and the handler
     * runs; B4 and B5 hold as ever. Ended by NULL; NULL: none. */
    const char *const *starter_undos;
    /* Hooks of daemons that do more than serve; NULL: none. All on the main thread. started: after
     * the database is open and seeded, before the doors open (jobs may be submitted; they run once
     * the worker does). stopping: the doors close, before the worker drains. stopped: the worker
     * has ended, before the database closes. Neither is called when started failed. */
    enum saga_err (*started)(struct saga_kit *kit, void *user, const struct saga_options *options,
                             struct saga_err_detail *detail);
    void (*stopping)(struct saga_kit *kit, void *user);
    void (*stopped)(struct saga_kit *kit, void *user);
    const char *(*http_address)(void *user); /* "http://127.0.0.1:PORT", for the ready file */
    /* Health of parts that the kit does not know; adds via saga_kit_health_add. */
    void (*health)(struct saga_kit *kit, void *user, void *report);
};

/* Adds a part to a health report. state: 1 SERVING, 2 DEGRADED, 3 NOT_SERVING
 * (saga.v1.HealthState). */
void saga_kit_health_add(void *report, const char *name, int state, const char *detail);

/* Tells of every part of the daemon's health, those of the hook included; for daemons with an HTTP
 * door. Thread: the worker, inside a call or job. */
typedef void saga_kit_health_part(void *context, const char *name, int state, const char *detail);
void saga_kit_health_each(struct saga_call *call, saga_kit_health_part *part, void *context);

/* Runs a daemon: reads options, opens, serves until SIGTERM or SIGINT, drains, closes. Returns the
 * exit status.
 *
 * Options of every daemon: --listen URL (repeated; default ipc), --data FILE (SQLite), --seed FILE,
 * --kafka HOST:PORT (none: no intake, effects wait),
 * --kafka.PROPERTY=VALUE, --tls-ca/--tls-cert/--tls-key FILE, --ready-file FILE, --log-level LEVEL,
 * --barrier-retention-days N (B7), --config, --help, --version.
 *
 * --ready-file: written (temporary file + rename) once the daemon serves: JSON
 * {"name":…,"pid":…,"nng":"URL","http":"URL"}; removed when it stops, left by one that is killed.
 */
int saga_kit_main(int argc, char **argv, const struct saga_kit_app *app);

/* For hooks. */
struct saga_sql *
saga_kit_database(struct saga_kit *kit); /* only before the doors open, and in stopped */
const char *saga_kit_database_path(const struct saga_kit *kit);

#endif
