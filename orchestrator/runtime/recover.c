/* Taking up what an earlier process left (design: recovery streams, page by page). */
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/runtime/internal.h"

/* One page being loaded. */
struct page {
    struct saga_runtime *runtime;
    size_t count;
    enum saga_err err;
    struct live *loaded[SAGA_TURN_COUNT_MAX];
};

static enum saga_err corrupt(struct saga_runtime *runtime, const struct saga_row *row,
                             const char *what)
{
    char text[SAGA_ID_TEXT_SIZE];
    saga_id_format(row->id, text);
    return saga_err_set(&runtime->detail, SAGA_ERR_CORRUPT, "saga %s of \"%s\": %s", text,
                        row->definition_name, what);
}

enum saga_err load_row(struct saga_runtime *runtime, const struct saga_row *row, struct live **out)
{
    size_t at = version_index(runtime, row->definition_hash);
    if (at == runtime->version_count) {
        return corrupt(runtime, row, "its definition is not in the store");
    }
    const struct saga_version *version = runtime->versions[at].version;
    if (SAGA_BROKEN(S7_CURRENT_VERSION)) {
        version = saga_runtime_current(runtime, row->definition_name);
    }
    struct saga saga = {0};
    struct saga_texts texts;
    saga_buf_clear(&runtime->look_space);
    enum saga_err err =
        runtime->config.codec->decode_record(row->record, &saga, &texts, &runtime->look_space);
    if (err != SAGA_ERR_OK) {
        return corrupt(runtime, row, "its record cannot be read");
    }
    const char *wrong = saga_invariant(&version->def, &saga);
    if (wrong != NULL) {
        return corrupt(runtime, row, wrong);
    }
    struct live *live = live_new(version, row->start_key, &texts);
    if (live == NULL || saga_buf_append(&live->context, row->context) != SAGA_ERR_OK) {
        live_free(live);
        return saga_err_set(&runtime->detail, SAGA_ERR_NO_MEMORY, "load a saga");
    }
    live->saga = saga;
    live->saga.id = row->id;
    live->version_index = at;
    live->updated_unix_ms = row->updated_unix_ms;
    live->recorded = true;
    memcpy(live->start_digest, row->start_digest, SAGA_DIGEST_SIZE);
    memcpy(live->last_hash, row->last_hash, SAGA_DIGEST_SIZE);
    *out = live;
    return SAGA_ERR_OK;
}

enum saga_err adopt_live(struct saga_runtime *runtime, struct live *live)
{
    enum saga_err err = live_table_put(&runtime->table, live);
    if (err == SAGA_ERR_OK) {
        runtime->versions[live->version_index].live += 1;
        runtime->versions[live->version_index].running +=
            live->saga.state == SAGA_STATE_RUNNING ? 1 : 0;
    }
    return err;
}

static bool visit_row(void *user, const struct saga_row *row)
{
    struct page *page = user;
    SAGA_ASSERT(page->count < SAGA_TURN_COUNT_MAX);
    struct live *live = NULL;
    page->err = load_row(page->runtime, row, &live);
    if (page->err == SAGA_ERR_OK) {
        page->err = adopt_live(page->runtime, live);
    }
    if (page->err != SAGA_ERR_OK) {
        live_free(live);
        return false;
    }
    page->runtime->recovered_up_to = row->id;
    page->loaded[page->count++] = live;
    return true;
}

enum saga_err saga_runtime_recover(struct saga_runtime *runtime, int64_t now_unix_ms, bool *more,
                                   struct saga_err_detail *detail)
{
    static struct page page; /* one loop thread; too large for the stack */
    page = (struct page){.runtime = runtime};
    enum saga_err err = runtime->store_ops->load_live(runtime->store, runtime->recovered_up_to,
                                                      runtime->config.recover_page_max, visit_row,
                                                      &page, &runtime->detail);
    if (err == SAGA_ERR_OK) {
        err = page.err;
    }
    if (err != SAGA_ERR_OK) {
        if (detail != NULL) {
            *detail = runtime->detail;
        }
        return saga_err_wrap(detail, err, "recover");
    }
    *more = page.count == runtime->config.recover_page_max && !SAGA_BROKEN(S1_PAGE_FORGOTTEN);
    /* A parent may come before its child: what it asks for waits until all are there. */
    runtime->recovering = *more;
    saga_runtime_turn_begin(runtime, now_unix_ms);
    for (size_t i = 0; i < page.count; i++) {
        struct happening happening = {.ev = {.kind = SAGA_EVENT_RECOVERED}};
        apply_event(runtime, page.loaded[i], &happening);
        check_due(runtime, page.loaded[i]); /* the clock may be another than before */
    }
    return saga_runtime_turn_end(runtime, false, detail);
}
