/* Looking at one saga, in flight or stored. */
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/runtime/internal.h"

static void look_live(const struct live *live, struct saga_look *look)
{
    *look = (struct saga_look){
        .version = live->version,
        .saga = live->saga,
        .texts = live_texts(live),
        .context = saga_buf_view(&live->context),
        .definition_name = live->version->name,
        .definition_hash = live->version->hash,
        .start_key = live->start_key,
        .updated_unix_ms = live->updated_unix_ms,
    };
}

/* The row lives only until the store's next call, so it is copied. */
static enum saga_err look_row(struct saga_runtime *runtime, const struct saga_row *row,
                              struct saga_look *look)
{
    saga_buf_clear(&runtime->look_context);
    saga_buf_clear(&runtime->look_record);
    saga_buf_clear(&runtime->look_space);
    enum saga_err err = saga_buf_append(&runtime->look_context, row->context);
    if (err == SAGA_ERR_OK) {
        err = saga_buf_append(&runtime->look_record, row->record);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    (void)snprintf(runtime->look_key, sizeof runtime->look_key, "%s", row->start_key);
    (void)snprintf(runtime->look_name, sizeof runtime->look_name, "%s", row->definition_name);
    memcpy(runtime->look_hash, row->definition_hash, SAGA_DIGEST_SIZE);
    *look = (struct saga_look){
        .version = saga_runtime_version(runtime, runtime->look_hash),
        .context = saga_buf_view(&runtime->look_context),
        .definition_name = runtime->look_name,
        .definition_hash = runtime->look_hash,
        .start_key = runtime->look_key,
        .updated_unix_ms = row->updated_unix_ms,
    };
    err = runtime->config.codec->decode_record(saga_buf_view(&runtime->look_record), &look->saga,
                                               &look->texts, &runtime->look_space);
    look->saga.id = row->id;
    return err;
}

enum saga_err saga_runtime_look(struct saga_runtime *runtime, struct saga_id id,
                                struct saga_look *look, struct saga_err_detail *detail)
{
    SAGA_ASSERT(!runtime->in_turn);
    const struct live *live = live_table_find(&runtime->table, id);
    if (live != NULL) {
        look_live(live, look);
        return SAGA_ERR_OK;
    }
    struct saga_row row;
    enum saga_err err = runtime->store_ops->find_saga(runtime->store, id, &row, detail);
    return err == SAGA_ERR_OK ? look_row(runtime, &row, look) : err;
}
