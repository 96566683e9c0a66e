/* All sagas of a store, page by page. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/runtime/runtime.h"
#include "verify/replay/books.h"
#include "verify/replay/replay.h"

enum {
    PAGE_COUNT = 256, /* sagas between two looks at the progress; a page reads one state of the
                         store, so that short ones let its log be cut */
};

/* A stored definition that cannot be used, and why. */
struct unusable {
    uint8_t hash[SAGA_DIGEST_SIZE];
    struct saga_err_detail why;
};

struct walk {
    const struct saga_replay_store_config *config;
    struct saga_catalog *catalog;
    struct saga_replay *replay;
    struct unusable *unusable;
    size_t unusable_count;
    struct saga_buf dropped;   /* hashes of versions that are not stored any more */
    enum saga_err err;         /* out of memory */
    struct replay_noted noted; /* kept for the books */
    enum saga_err note_err;
    /* The page. */
    size_t seen;
    struct saga_id last;
    /* The saga. */
    uint64_t seq_max;
};

/* ---- Definitions ---- */

static enum saga_err note_unusable(struct walk *walk, const uint8_t hash[SAGA_DIGEST_SIZE],
                                   const struct saga_err_detail *why)
{
    size_t size = (walk->unusable_count + 1) * sizeof *walk->unusable;
    struct unusable *grown = realloc(walk->unusable, size);
    if (grown == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    walk->unusable = grown;
    struct unusable *made = &grown[walk->unusable_count++];
    memcpy(made->hash, hash, SAGA_DIGEST_SIZE);
    made->why = *why;
    return SAGA_ERR_OK;
}

static bool visit_definition(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                             struct saga_bytes descriptor_set, bool current)
{
    (void)current;
    struct walk *walk = user;
    struct saga_stored_definition stored = {hash, name, descriptor_set};
    struct saga_version *version = NULL;
    struct saga_err_detail why = {{0}};
    enum saga_err err = saga_catalog_add_stored(walk->catalog, &stored, &version, &why);
    if (err == SAGA_ERR_NO_MEMORY) {
        walk->err = err;
    } else if (err != SAGA_ERR_OK) {
        walk->err = note_unusable(walk, hash, &why);
    }
    return walk->err == SAGA_ERR_OK;
}

static const char *why_unusable(const struct walk *walk, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    for (size_t i = 0; i < walk->unusable_count; i++) {
        if (memcmp(walk->unusable[i].hash, hash, SAGA_DIGEST_SIZE) == 0) {
            return walk->unusable[i].why.text;
        }
    }
    return NULL;
}

static bool visit_version(void *user, const struct saga_definition_row *row)
{
    struct walk *walk = user;
    if (row->dropped) {
        walk->err =
            saga_buf_append(&walk->dropped, (struct saga_bytes){row->hash, SAGA_DIGEST_SIZE});
    }
    return walk->err == SAGA_ERR_OK;
}

static bool was_dropped(void *user, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    const struct walk *walk = user;
    for (size_t at = 0; at < walk->dropped.size; at += SAGA_DIGEST_SIZE) {
        if (memcmp(walk->dropped.data + at, hash, SAGA_DIGEST_SIZE) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- Sagas ---- */

static void note_and_tell(void *user, const struct saga_replay_finding *finding)
{
    struct walk *walk = user;
    enum saga_err err = replay_note(&walk->noted, finding->id);
    walk->note_err = walk->note_err == SAGA_ERR_OK ? err : walk->note_err;
    if (walk->config->told != NULL) {
        walk->config->told(walk->config->user, finding);
    }
}

static bool visit_event(void *user, const struct saga_audit_row *row)
{
    struct walk *walk = user;
    /* The row was read before its events; those that came since are of a later state. */
    return row->seq <= walk->seq_max && saga_replay_event(walk->replay, row->seq, row->event);
}

static enum saga_err walk_saga(struct walk *walk, const struct saga_row *row)
{
    const struct saga_store_port *store = &walk->config->store;
    struct saga_replay_subject subject = {
        .id = row->id,
        .definition_name = row->definition_name,
        .definition_hash = row->definition_hash,
        .ended = !row->live,
    };
    walk->seq_max = row->seq;
    if (saga_replay_begin(walk->replay, &subject, why_unusable(walk, row->definition_hash))) {
        struct saga_audit_range range = {.id = row->id, .count_max = SIZE_MAX};
        struct saga_err_detail detail = {{0}};
        enum saga_err err =
            store->ops->list_audit(store->store, &range, visit_event, walk, &detail);
        if (err != SAGA_ERR_OK) {
            saga_replay_break(walk->replay, 0, detail.text);
        }
        saga_replay_row(walk->replay, row);
    }
    return saga_replay_end(walk->replay);
}

static bool visit_saga(void *user, const struct saga_row *row)
{
    struct walk *walk = user;
    walk->seen += 1;
    walk->last = row->id;
    walk->err = walk_saga(walk, row);
    return walk->err == SAGA_ERR_OK;
}

/* ---- Acts on definitions ---- */

static bool visit_pause(void *user, const struct saga_pause_row *row)
{
    struct walk *walk = user;
    const struct saga_store_port *store = &walk->config->store;
    struct saga_err_detail detail = {{0}};
    struct saga_audit_range range = {
        .id = saga_runtime_pause_stream(saga_codec_port(), row->definition_name),
        .count_max = SIZE_MAX};
    walk->seq_max = row->seq;
    saga_replay_begin_stream(walk->replay, range.id, row->definition_name);
    if (store->ops->list_audit(store->store, &range, visit_event, walk, &detail) != SAGA_ERR_OK) {
        saga_replay_break(walk->replay, 0, detail.text);
    }
    saga_replay_pause_row(walk->replay, row);
    walk->err = saga_replay_end(walk->replay);
    return walk->err == SAGA_ERR_OK;
}

static enum saga_err walk_pauses(struct walk *walk, struct saga_err_detail *detail)
{
    const struct saga_store_port *store = &walk->config->store;
    enum saga_err err = store->ops->list_pauses(store->store, visit_pause, walk, detail);
    return err == SAGA_ERR_OK ? walk->err : err;
}

static enum saga_err walk_all(struct walk *walk, struct saga_err_detail *detail)
{
    const struct saga_replay_store_config *config = walk->config;
    struct saga_list_filter filter = {.count_max = PAGE_COUNT};
    do {
        char text[SAGA_ID_TEXT_SIZE];
        walk->seen = 0;
        enum saga_err err =
            config->store.ops->list_sagas(config->store.store, &filter, visit_saga, walk, detail);
        if (err != SAGA_ERR_OK && filter.has_before) {
            saga_id_format(walk->last, text);
            return saga_err_wrap(detail, err, text);
        }
        err = err == SAGA_ERR_OK ? walk->err : err;
        if (err != SAGA_ERR_OK) {
            return err;
        }
        filter.has_before = true;
        filter.before = walk->last;
        if (config->progress != NULL &&
            !config->progress(config->user, saga_replay_counts(walk->replay))) {
            return saga_err_set(detail, SAGA_ERR_CLOSED, "stopped");
        }
    } while (walk->seen == PAGE_COUNT);
    return SAGA_ERR_OK;
}

static enum saga_err open_walk(struct walk *walk, struct saga_err_detail *detail)
{
    const struct saga_replay_store_config *config = walk->config;
    enum saga_err err = saga_catalog_new(&walk->catalog);
    if (err == SAGA_ERR_OK) {
        struct saga_replay_config replay = {.catalog = walk->catalog,
                                            .place = config->place,
                                            .engine = config->engine,
                                            .told = note_and_tell,
                                            .dropped = was_dropped,
                                            .user = walk};
        err = saga_replay_new(&replay, &walk->replay);
    }
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "replay");
    }
    err = config->store.ops->list_definitions(config->store.store, visit_definition, walk, detail);
    err = err == SAGA_ERR_OK ? walk->err : err;
    if (err == SAGA_ERR_OK) {
        err = config->store.ops->list_versions(config->store.store, NULL, SIZE_MAX, visit_version,
                                               walk, detail);
        err = err == SAGA_ERR_OK ? walk->err : err;
    }
    return err;
}

/* What is not reached from a saga's row. */
static enum saga_err walk_books(struct walk *walk, struct saga_replay_counts *counts,
                                struct saga_err_detail *detail)
{
    const struct saga_replay_store_config *config = walk->config;
    struct replay_books_config books = {.path = config->path,
                                        .catalog = walk->catalog,
                                        .noted = &walk->noted,
                                        .told = config->told,
                                        .progress = config->progress,
                                        .user = config->user};
    return replay_books(&books, counts, detail);
}

static void close_walk(struct walk *walk, struct saga_replay_counts *counts)
{
    if (counts != NULL) {
        *counts = (struct saga_replay_counts){0};
        if (walk->replay != NULL) {
            *counts = *saga_replay_counts(walk->replay);
        }
    }
    saga_replay_free(walk->replay);
    saga_catalog_free(walk->catalog);
    replay_noted_free(&walk->noted);
    saga_buf_fini(&walk->dropped);
    free(walk->unusable);
}

enum saga_err saga_replay_store(const struct saga_replay_store_config *config,
                                struct saga_replay_counts *counts, struct saga_err_detail *detail)
{
    struct walk walk = {.config = config};
    enum saga_err err = open_walk(&walk, detail);
    if (err == SAGA_ERR_OK) {
        err = walk_pauses(&walk, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = walk_all(&walk, detail);
    }
    err = err == SAGA_ERR_OK ? walk.note_err : err;
    if (err == SAGA_ERR_OK && config->path != NULL) {
        *counts = *saga_replay_counts(walk.replay);
        err = walk_books(&walk, counts, detail);
        close_walk(&walk, NULL);
        return err;
    }
    close_walk(&walk, counts);
    return err;
}

enum saga_err saga_replay_store_one(const struct saga_replay_store_config *config,
                                    struct saga_id id, struct saga_replay_counts *counts,
                                    struct saga_err_detail *detail)
{
    struct walk walk = {.config = config};
    struct saga_row row;
    enum saga_err err = open_walk(&walk, detail);
    if (err == SAGA_ERR_OK) {
        err = config->store.ops->find_saga(config->store.store, id, &row, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = walk_saga(&walk, &row);
    }
    close_walk(&walk, counts);
    return err;
}
