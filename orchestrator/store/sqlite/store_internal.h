/* What the files of this folder share. */
#ifndef SAGA_STORE_SQLITE_STORE_INTERNAL_H
#define SAGA_STORE_SQLITE_STORE_INTERNAL_H

#include <pthread.h>

#include "common/base/limits.h"
#include "common/sql/sql.h"
#include "orchestrator/runtime/port_store.h"

/* The next offset to read of one partition. */
struct store_offset {
    char topic[SAGA_TOPIC_NAME_MAX + 1];
    int32_t partition;
    int64_t committed; /* on disk; -1: none */
    int64_t pending;   /* given in the present transaction; -1: none */
};

/* Consumed offsets, in memory: read by consumer threads, written once per partition and
 * transaction. */
struct store_offsets {
    pthread_mutex_t mutex; /* guards everything below */
    struct store_offset *entries;
    size_t count;
    size_t capacity;
};

/* Versions that are known to be noted as used; those of sagas that start one after the other. */
enum { STORE_USED_MAX = 16 };

/* The version of the tables from which on there are versions that were dropped. */
enum { STORE_VERSION_PAST = 4 };

struct saga_store {
    struct saga_sql *sql;        /* the loop's connection */
    struct saga_sql *audit_sql;  /* the audit relay's, read-only */
    struct saga_sql *outbox_sql; /* the outbox relay's, read-only */
    struct store_offsets offsets;
    uint64_t epoch;        /* of our lease; 0: we never had it */
    uint64_t epoch_before; /* to go back to when the transaction that took the lease fails */
    /* Positions are counted here: the outbox is emptied behind its cursor, and a position must
     * never come twice. */
    int64_t audit_position;  /* last given */
    int64_t audit_committed; /* last given in a committed transaction */
    int64_t outbox_position;
    int64_t outbox_committed;
    uint8_t used[STORE_USED_MAX][SAGA_DIGEST_SIZE];
    int64_t
        looked_at_version;   /* of the tables in a file that is only looked at; 0: they are ours */
    size_t used_count;       /* beyond STORE_USED_MAX the oldest have gone */
    bool open;               /* in a transaction */
    struct saga_id found_id; /* bound by find_saga until its row is let go */
    struct saga_sql_stmt *found; /* stands on the row given last by find_*; NULL: none */
};

/* Binds bytes of a fixed size. */
void store_bind_id(struct saga_sql_stmt *stmt, int at, const struct saga_id *id);
void store_bind_digest(struct saga_sql_stmt *stmt, int at, const uint8_t digest[SAGA_DIGEST_SIZE]);

/* Reads a column of a fixed size. Errors: CORRUPT. */
enum saga_err store_read_id(struct saga_sql_stmt *stmt, int at, struct saga_id *id,
                            struct saga_err_detail *detail) SAGA_WARN_UNUSED;
enum saga_err store_read_digest(struct saga_sql_stmt *stmt, int at,
                                uint8_t digest[SAGA_DIGEST_SIZE],
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Lets go of the row given last by find_*: a statement that stands on a row keeps the log from
 * being cut. */
void store_let_go(struct saga_store *store);

/* Checks that a write is allowed: inside a transaction, with the lease. Errors: FENCED, INTERNAL.
 */
enum saga_err store_check_write(const struct saga_store *store,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Runs a query that gives one number; 0 without a row. */
enum saga_err store_number(struct saga_sql *sql, const char *text, int64_t *number,
                           struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* sagas.c */
enum saga_err store_insert_saga(struct saga_store *store, const struct saga_row *row,
                                struct saga_err_detail *detail);
enum saga_err store_update_saga(struct saga_store *store, const struct saga_row *row,
                                struct saga_err_detail *detail);
enum saga_err store_find_saga(struct saga_store *store, struct saga_id id, struct saga_row *row,
                              struct saga_err_detail *detail);
enum saga_err store_find_key(struct saga_store *store, const char *definition_name,
                             const char *start_key, struct saga_row *row,
                             struct saga_err_detail *detail);
enum saga_err store_load_live(struct saga_store *store, struct saga_id after, size_t count_max,
                              saga_row_visit *visit, void *user, struct saga_err_detail *detail);
enum saga_err store_list_sagas(struct saga_store *store, const struct saga_list_filter *filter,
                               saga_row_visit *visit, void *user, struct saga_err_detail *detail);

/* journal.c */
enum saga_err store_append_audit(struct saga_store *store, const struct saga_audit_row *row,
                                 struct saga_err_detail *detail);
enum saga_err store_append_outbox(struct saga_store *store, const struct saga_outbox_row *row,
                                  int64_t *position, struct saga_err_detail *detail);
enum saga_err store_set_cursor(struct saga_store *store, const char *name, int64_t position,
                               struct saga_err_detail *detail);
int64_t store_cursor(struct saga_store *store, const char *name);
enum saga_err store_list_audit(struct saga_store *store, const struct saga_audit_range *range,
                               saga_audit_visit *visit, void *user, struct saga_err_detail *detail);
enum saga_err store_relay_audit(struct saga_store *store, int64_t after, size_t count_max,
                                saga_audit_visit *visit, void *user,
                                struct saga_err_detail *detail);
enum saga_err store_relay_outbox(struct saga_store *store, int64_t after, size_t count_max,
                                 bool (*visit)(void *user, const struct saga_outbox_row *row),
                                 void *user, struct saga_err_detail *detail);
/* Finds the last positions given. */
enum saga_err store_load_positions(struct saga_store *store,
                                   struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* definitions.c */
enum saga_err store_put_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                   const char *name, struct saga_bytes descriptor_set,
                                   int64_t now_unix_ms, struct saga_err_detail *detail);
enum saga_err store_keep_child(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                               const char *name, const uint8_t parent_hash[SAGA_DIGEST_SIZE],
                               int64_t now_unix_ms, struct saga_err_detail *detail);
enum saga_err store_list_definitions(struct saga_store *store, saga_definition_visit *visit,
                                     void *user, struct saga_err_detail *detail);

enum saga_err store_remove_definition(struct saga_store *store, const char *name,
                                      struct saga_err_detail *detail);
enum saga_err store_drop_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                    struct saga_err_detail *detail);
/* Notes, in the transaction, that a saga begins with a version. Errors: INTERNAL when it is not
 * stored. */
enum saga_err store_note_used(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                              struct saga_err_detail *detail);
enum saga_err store_list_unused_versions(struct saga_store *store, size_t count_max,
                                         saga_hash_visit *visit, void *user,
                                         struct saga_err_detail *detail);
enum saga_err store_find_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                    saga_definition_visit *visit, void *user,
                                    struct saga_err_detail *detail);
enum saga_err store_list_versions(struct saga_store *store, const char *name, size_t count_max,
                                  saga_definition_row_visit *visit, void *user,
                                  struct saga_err_detail *detail);
enum saga_err store_list_live_versions(struct saga_store *store, saga_hash_visit *visit, void *user,
                                       struct saga_err_detail *detail);

/* participants.c */
enum saga_err store_put_participant(struct saga_store *store, const char *service,
                                    const char *const *addresses, size_t count,
                                    struct saga_err_detail *detail);
enum saga_err store_list_participants(struct saga_store *store, saga_participant_visit *visit,
                                      void *user, struct saga_err_detail *detail);

/* pauses.c */
enum saga_err store_put_pause(struct saga_store *store, const struct saga_pause_row *row,
                              struct saga_err_detail *detail);
enum saga_err store_list_pauses(struct saga_store *store, saga_pause_visit *visit, void *user,
                                struct saga_err_detail *detail);

/* offsets.c */
enum saga_err store_offsets_init(struct store_offsets *offsets) SAGA_WARN_UNUSED;
void store_offsets_fini(struct store_offsets *offsets);
enum saga_err store_offsets_load(struct saga_store *store,
                                 struct saga_err_detail *detail) SAGA_WARN_UNUSED;
enum saga_err store_set_offset(struct saga_store *store, const char *topic, int32_t partition,
                               int64_t next_offset, struct saga_err_detail *detail);
int64_t store_offset(struct saga_store *store, const char *topic, int32_t partition);
/* Writes the pending offsets into the present transaction; then they are taken as committed, or
 * forgotten. */
enum saga_err store_offsets_write(struct saga_store *store,
                                  struct saga_err_detail *detail) SAGA_WARN_UNUSED;
void store_offsets_end(struct saga_store *store, bool committed);

#endif
