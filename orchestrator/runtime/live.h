/* Sagas in flight: a hash table by id and a heap by due time. */
#ifndef SAGA_RUNTIME_LIVE_H
#define SAGA_RUNTIME_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/runtime/port_codec.h"

/* One saga in flight. */
struct live {
    struct live *chain;      /* next in its bucket */
    struct live *dirty_next; /* next that changed in this turn */
    const struct saga_version *version;
    size_t version_index;
    struct saga saga;
    struct saga_buf context;
    char *start_key; /* owned, as the texts below; "" is owned too */
    char *cause_reason;
    char *cause_message;
    char *traceparent;
    char *parent_step; /* the step that it is of another saga; "": of none */
    struct saga_id parent_id;
    uint8_t start_digest[SAGA_DIGEST_SIZE];
    uint8_t last_hash[SAGA_DIGEST_SIZE];
    int64_t updated_unix_ms;
    int64_t due_unix_ms; /* 0: not in the heap */
    size_t heap_index;
    bool dirty;    /* changed in this turn */
    bool recorded; /* its row is as it is now */
};

struct live_table {
    struct live **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    struct live **heap; /* the earliest first */
    size_t heap_count;
    size_t heap_capacity;
};

/* Makes an empty saga. Texts are copied. NULL: no memory. */
struct live *live_new(const struct saga_version *version, const char *start_key,
                      const struct saga_texts *texts);
void live_free(struct live *live);

/* Replaces an owned text. Errors: NO_MEMORY; the text is as it was. */
enum saga_err live_set_text(char **text, const char *to) SAGA_WARN_UNUSED;

/* Views the texts. */
struct saga_texts live_texts(const struct live *live);

/* Puts a saga in (owned by the table from now on), finds, takes out (owned by the caller). Errors:
 * NO_MEMORY. */
enum saga_err live_table_put(struct live_table *table, struct live *live) SAGA_WARN_UNUSED;
struct live *live_table_find(const struct live_table *table, struct saga_id id);
void live_table_take(struct live_table *table, struct live *live);
void live_table_fini(struct live_table *table);

/* Sets when a saga is due (0: never). Cannot fail: put has made room. */
void live_table_set_due(struct live_table *table, struct live *live, int64_t due_unix_ms);

/* Gives the saga that is due first; NULL: none is. */
struct live *live_table_first(const struct live_table *table);

#endif
