/* Consumed Kafka offsets: in memory for the consumers' threads, on disk with the transaction that
 * holds their effect. */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/sqlite/store_internal.h"

#include "common/base/canary.h"

enum saga_err store_offsets_init(struct store_offsets *offsets)
{
    return pthread_mutex_init(&offsets->mutex, NULL) == 0 ? SAGA_ERR_OK : SAGA_ERR_NO_MEMORY;
}

void store_offsets_fini(struct store_offsets *offsets)
{
    (void)pthread_mutex_destroy(&offsets->mutex);
    free(offsets->entries);
}

/* Finds a partition; NULL when it is not there. Pre: the mutex is held. */
static struct store_offset *find(struct store_offsets *offsets, const char *topic,
                                 int32_t partition)
{
    for (size_t i = 0; i < offsets->count; i++) {
        struct store_offset *entry = &offsets->entries[i];
        if (entry->partition == partition && strcmp(entry->topic, topic) == 0) {
            return entry;
        }
    }
    return NULL;
}

/* Finds or adds a partition. Pre: the mutex is held. Errors: LIMIT, NO_MEMORY. */
static enum saga_err take(struct store_offsets *offsets, const char *topic, int32_t partition,
                          struct store_offset **entry)
{
    *entry = find(offsets, topic, partition);
    if (*entry != NULL) {
        return SAGA_ERR_OK;
    }
    size_t size = strlen(topic);
    if (size > SAGA_TOPIC_NAME_MAX || offsets->count >= SAGA_OFFSETS_MAX) {
        return SAGA_ERR_LIMIT;
    }
    if (offsets->count == offsets->capacity) {
        size_t capacity = offsets->capacity == 0 ? 32 : offsets->capacity * 2;
        struct store_offset *entries = realloc(offsets->entries, capacity * sizeof *entries);
        if (entries == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        offsets->entries = entries;
        offsets->capacity = capacity;
    }
    *entry = &offsets->entries[offsets->count++];
    memcpy((*entry)->topic, topic, size + 1);
    (*entry)->partition = partition;
    (*entry)->committed = -1;
    (*entry)->pending = -1;
    return SAGA_ERR_OK;
}

enum saga_err store_offsets_load(struct saga_store *store, struct saga_err_detail *detail)
{
    struct store_offsets *offsets = &store->offsets;
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    enum saga_err err = saga_sql_prepare(
        store->sql, "SELECT topic, partition, next_offset FROM kafka_offset", &stmt, detail);
    while (err == SAGA_ERR_OK && (err = saga_sql_step(stmt, &there, detail)) == SAGA_ERR_OK &&
           there) {
        struct store_offset *entry = NULL;
        (void)pthread_mutex_lock(&offsets->mutex);
        err = take(offsets, saga_sql_text(stmt, 0), (int32_t)saga_sql_int(stmt, 1), &entry);
        if (err == SAGA_ERR_OK) {
            entry->committed = saga_sql_int(stmt, 2);
        }
        (void)pthread_mutex_unlock(&offsets->mutex);
        if (err != SAGA_ERR_OK) {
            saga_sql_reset(stmt);
            (void)saga_err_set(detail, err,
                               "more than %d partitions, or a topic's name is too long",
                               SAGA_OFFSETS_MAX);
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "offsets");
}

enum saga_err store_set_offset(struct saga_store *store, const char *topic, int32_t partition,
                               int64_t next_offset, struct saga_err_detail *detail)
{
    enum saga_err err = store_check_write(store, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    struct store_offset *entry = NULL;
    (void)pthread_mutex_lock(&store->offsets.mutex);
    err = take(&store->offsets, topic, partition, &entry);
    if (err == SAGA_ERR_OK) {
        entry->pending = next_offset;
    }
    (void)pthread_mutex_unlock(&store->offsets.mutex);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(
            detail, err,
            "store: set offset of %.64s: more than %d partitions, or its name is too long", topic,
            SAGA_OFFSETS_MAX);
    }
    return SAGA_ERR_OK;
}

int64_t store_offset(struct saga_store *store, const char *topic, int32_t partition)
{
    (void)pthread_mutex_lock(&store->offsets.mutex);
    const struct store_offset *entry = find(&store->offsets, topic, partition);
    int64_t offset = entry == NULL ? -1 : entry->committed;
    (void)pthread_mutex_unlock(&store->offsets.mutex);
    return offset;
}

enum saga_err store_offsets_write(struct saga_store *store, struct saga_err_detail *detail)
{
    /* Only this thread changes the table, so it may be read without the mutex: none is held across
     * calls of SQLite. */
    for (size_t i = 0; i < store->offsets.count; i++) {
        const struct store_offset *entry = &store->offsets.entries[i];
        if (entry->pending < 0) {
            continue;
        }
        struct saga_sql_stmt *stmt = NULL;
        enum saga_err err =
            saga_sql_prepare(store->sql,
                             "INSERT INTO kafka_offset(topic, partition, next_offset)"
                             " VALUES(?1, ?2, ?3) ON CONFLICT(topic, partition)"
                             " DO UPDATE SET next_offset = excluded.next_offset",
                             &stmt, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        saga_sql_bind_text(stmt, 1, entry->topic);
        saga_sql_bind_int(stmt, 2, entry->partition);
        saga_sql_bind_int(stmt, 3, entry->pending);
        err = saga_sql_run(stmt, NULL, detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return SAGA_ERR_OK;
}

void store_offsets_end(struct saga_store *store, bool committed)
{
    (void)pthread_mutex_lock(&store->offsets.mutex);
    for (size_t i = 0; i < store->offsets.count; i++) {
        struct store_offset *entry = &store->offsets.entries[i];
        if (entry->pending >= 0 && (committed || SAGA_BROKEN(S6_OFFSET_KEPT))) {
            entry->committed = entry->pending;
        }
        entry->pending = -1;
    }
    (void)pthread_mutex_unlock(&store->offsets.mutex);
}
