/* Inside of the kit: what its files share. Not for service authors (kit.h) and not for the barrier,
 * which knows SQL only.
 *
 * Threads: the worker owns sql, barrier, turn and the cursor; the NNG and Kafka threads touch
 * inbox, positions and the atomics; the relay's thread owns sql_relay; main starts and stops all of
 * them. */
#ifndef SAGA_KIT_ROOM_H
#define SAGA_KIT_ROOM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/limits.h"
#include "common/bus/kafka/kafka.h"
#include "common/bus/nng/rpc.h"
#include "common/sys/inbox.h"
#include "common/wire/schema.h"
#include "services/kit/barrier.h"
#include "services/kit/kit.h"

/* ---- Entries of the inbox ---- */

enum saga_kit_entry_kind { SAGA_KIT_ENTRY_REQUEST, SAGA_KIT_ENTRY_RECORD, SAGA_KIT_ENTRY_JOB };

/* One thing to do in a turn. */
struct saga_kit_entry {
    struct saga_inbox_entry link; /* first */
    enum saga_kit_entry_kind kind;
    struct saga_rpc_request *request; /* REQUEST */
    struct saga_buf replies;          /* REQUEST: a ReplyBatch */
    struct saga_kafka_record *record; /* RECORD: a copy, in one piece */
    size_t record_size;               /* bytes that the copy counts against the bound */
    struct saga_kit_job *job;         /* JOB */
    struct saga_status status;        /* JOB: how it ended; texts in the turn's arena */
};

/* ---- Methods ---- */

struct saga_kit_method {
    const char *full_name; /* "package.Service/Method" */
    ProtobufCService *service;
    unsigned index; /* in the service */
    const ProtobufCMessageDescriptor *input;
    const struct saga_message_type
        *type;      /* of the input, for the checks that protobuf-c does not make */
    bool read_only; /* NO_SIDE_EFFECTS: no barrier, no write */
    bool builtin;   /* answered even when the store has failed */
    bool starter_undo;
};

/* A statement that gives no row. */
#define SAGA_KIT_SQL_NOTHING "SELECT 0 WHERE 0"

/* ---- The daemon ---- */

struct saga_kit_position {
    int32_t partition;
    int64_t next_offset;
};

struct saga_kit_after {
    struct saga_kit_after *next;
    void (*done)(void *user, int64_t value);
    void *user;
    int64_t value;
};

/* A reply record that is in no outbox: produced after commit. */
struct saga_kit_direct {
    struct saga_kit_direct *next;
    struct saga_id saga_id;
    const char *event_id;
    const char *traceparent;
    struct saga_bytes value;
};

/* One transaction being filled. Worker only. */
struct saga_kit_turn {
    struct saga_arena arena;
    struct saga_buf scratch; /* the present command's response */
    int64_t now_unix_ms;
    size_t command_count;
    bool wrote;                    /* something must be committed */
    bool stored;                   /* a row for the relay */
    bool in_store;                 /* a transaction is open */
    struct saga_inbox_entry *done; /* entries run in this turn, oldest first */
    struct saga_inbox_entry **done_tail;
    struct saga_kit_after *after;
    struct saga_kit_after **after_tail;
    struct saga_kit_direct *direct;
    struct saga_kit_direct **direct_tail;
    struct saga_kit_position positions[SAGA_KIT_PARTITIONS_MAX]; /* moved in this turn */
    size_t position_count;
};

/* How old rows may be believed to be: no single reading of the wall clock decides. */
struct saga_kit_ages {
    int64_t start_unix_ms, start_mono_us;
    int64_t seen_mono_us; /* of the last sighting */
    int64_t seen_unix_ms; /* its time */
    int64_t last_unix_ms; /* the time of the sighting before it */
};

struct saga_kit_counters {
    _Atomic int64_t turns, commits, commands, replays, dead_letters, refused;
};

struct saga_kit {
    const struct saga_kit_app *app;
    char *path;
    struct saga_sql *sql;
    struct saga_sql *sql_relay;
    struct saga_barrier *barrier;
    struct saga_inbox *inbox;
    struct saga_schema *schema;
    struct saga_kit_method *methods; /* sorted by full_name */
    size_t method_count;
    const char *service_name;
    const char *command_topic; /* "": none */
    const char *reply_topic;
    struct saga_rpc_server *server;
    struct saga_kafka_consumer *consumer;
    struct saga_relay *relay;
    int64_t retention_ms;
    struct saga_kit_ages ages; /* worker only */

    pthread_t main_thread;
    pthread_t worker;
    atomic_bool stopping; /* the inbox is closed; the worker ends when it is empty */
    atomic_bool failed;   /* the store has failed: nothing is acknowledged any more */
    struct saga_err_detail failure;

    struct saga_kit_turn turn;
    struct saga_inbox_entry *pending; /* taken and not yet run */
    int64_t cursor;                   /* the durable one */
    _Atomic int64_t advanced;         /* what the relay has published */
    atomic_bool cursor_dirty;

    pthread_mutex_t positions_lock;
    struct saga_kit_position positions[SAGA_KIT_PARTITIONS_MAX];
    size_t position_count;
    _Atomic size_t records_count; /* records copied and not yet committed */
    _Atomic size_t records_size;

    struct saga_arena relay_arena; /* relay's thread */
    struct saga_kit_counters counters;
};

/* A command or a job inside the present transaction. */
struct saga_call {
    struct saga_kit *kit;
    const struct saga_command *command;
    enum saga_via via;
    bool read_only;
    bool answered;
    bool refused;
    struct saga_status status; /* when refused; points to the texts below */
    char reason[SAGA_STATUS_REASON_MAX + 1];
    char message[SAGA_STATUS_MESSAGE_MAX + 1];
    enum saga_err err; /* the first error of the database */
    struct saga_err_detail detail;
    struct saga_sql_stmt *stmts[SAGA_KIT_STATEMENTS_MAX];
    size_t stmt_count;
    struct saga_kit_after *after;
    struct saga_kit_after **after_tail;
};

/* ---- call.c ---- */

/* Begins a call; command may be the empty one of a job. */
void saga_kit_call_begin(struct saga_kit *kit, const struct saga_command *command, bool read_only,
                         struct saga_call *call);

/* Takes the response of a handler: the closure that handlers are given. */
void saga_kit_call_answer(const ProtobufCMessage *message, void *call);

/* Resets the call's statements; turns a database error into its status. Gives the error if the turn
 * must be given up. */
enum saga_err saga_kit_call_end(struct saga_call *call,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Moves the call's after-commit callbacks to the turn: its effect stays. */
void saga_kit_call_keep(struct saga_call *call);

/* ---- dispatch.c ---- */

/* Gives the set that declares the app's service: its own, or the project's. */
struct saga_bytes saga_kit_descriptor_set(const struct saga_kit *kit);

enum saga_err saga_kit_methods_load(struct saga_kit *kit,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;
const struct saga_kit_method *saga_kit_method_find(const struct saga_kit *kit,
                                                   const char *full_name);

/* Runs one command in the open transaction. reply: borrowed from the turn until the next command.
 * *stored: the reply went into the outbox. Errors: the turn must be given up. */
enum saga_err saga_kit_dispatch(struct saga_kit *kit, const struct saga_command *command,
                                enum saga_via via, struct saga_reply *reply, bool *stored,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Runs a job in the open transaction. Errors: as dispatch. */
enum saga_err saga_kit_dispatch_job(struct saga_kit *kit, struct saga_kit_entry *entry,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Makes a reply with the command's echo fields. */
struct saga_reply saga_kit_reply_to(const struct saga_command *command, struct saga_status status);

/* Appends a reply to a batch; one that does not fit in a message is replaced by a short one. */
enum saga_err saga_kit_reply_add(const struct saga_reply *reply, bool read_only,
                                 struct saga_buf *out) SAGA_WARN_UNUSED;

/* ---- builtin.c ---- */

extern ProtobufCService *const saga_kit_builtins[];
extern const size_t saga_kit_builtin_count;

/* ---- intake.c ---- */

saga_rpc_handler saga_kit_request_received;
saga_kafka_position saga_kit_position_find;
saga_kafka_received saga_kit_record_received;

/* Answers every command of a request with one status and frees the entry. */
void saga_kit_request_refuse(struct saga_kit_entry *entry, struct saga_status status);

/* Frees an entry; a record gives its room back. */
void saga_kit_entry_free(struct saga_kit *kit, struct saga_kit_entry *entry);

/* Loads where each partition of the command topic goes on. */
enum saga_err saga_kit_positions_load(struct saga_kit *kit,
                                      struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* ---- record.c ---- */

/* Runs one record in the open transaction: its command, or a dead letter; and moves the offset.
 * Errors: the turn must be given up. */
enum saga_err saga_kit_record_run(struct saga_kit *kit, const struct saga_kafka_record *record,
                                  struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Writes the offsets that moved in this turn; takes them over for the consumer after commit. */
enum saga_err saga_kit_positions_store(struct saga_kit *kit,
                                       struct saga_err_detail *detail) SAGA_WARN_UNUSED;
void saga_kit_positions_commit(struct saga_kit *kit);

/* Produces the replies that are in no outbox. */
void saga_kit_direct_produce(struct saga_kit *kit);

/* ---- effects.c ---- */

saga_relay_fetch saga_kit_effects_fetch;
saga_relay_advanced saga_kit_effects_advanced;

/* Frames the headers of a dead letter for the table, and reads them back. */
enum saga_err saga_kit_headers_encode(const struct saga_kafka_record *record,
                                      struct saga_buf *out) SAGA_WARN_UNUSED;
bool saga_kit_headers_decode(struct saga_bytes bytes, struct saga_kafka_record *record);

/* ---- worker.c ---- */

/* The worker thread: runs until the inbox is closed and empty. */
void *saga_kit_work(void *kit);

/* A reading of both clocks. */
struct saga_kit_now {
    int64_t unix_ms;
    int64_t mono_us;
};

/* Prunings are so far apart when there is nothing to prune; sightings at least. */
enum { SAGA_KIT_PRUNE_INTERVAL_US = 60 * 1000 * 1000 };

/* Starts the ages at a reading. */
void saga_kit_ages_begin(struct saga_kit_ages *ages, struct saga_kit_now now);

/* B7: deletes rows that are published and were found older than the retention by two sightings at
 * least an interval apart, each by the smaller of the wall clock and of the time since start: rows
 * are kept longer, never shorter, when the wall clock jumps ahead. *count: rows deleted. */
enum saga_err saga_kit_prune(struct saga_kit *kit, struct saga_kit_now now, int64_t *count,
                             struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Writes the relay's cursor if it has moved, in a transaction of its own. */
enum saga_err saga_kit_cursor_save(struct saga_kit *kit,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Loads the relay's cursor. */
enum saga_err saga_kit_cursor_load(struct saga_kit *kit,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* ---- seed.c ---- */

/* Seeds the tables from a file, in one transaction. */
enum saga_err saga_kit_seed_load(struct saga_sql *sql, const struct saga_kit_seed *seeds,
                                 size_t seed_count, const char *path, int64_t *rows,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* ---- run.c ---- */

/* What a daemon runs with. */
struct saga_kit_config {
    const char *data;
    const char *seed; /* NULL: none */
    const char *const *addresses;
    size_t address_count;
    struct saga_rpc_tls tls;
    const char *bootstrap; /* NULL: no Kafka */
    const struct saga_kafka_property *properties;
    size_t property_count;
    int64_t retention_ms;
};

/* Opens everything and starts the threads; stops and closes everything. Thread: main. */
enum saga_err saga_kit_open(const struct saga_kit_app *app, const struct saga_kit_config *config,
                            const struct saga_options *options, struct saga_kit **kit,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Gives the error that the daemon ends with: OK, or why its store failed. */
enum saga_err saga_kit_close(struct saga_kit *kit, struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
