/* A clock that goes back.
 *
 * Times are wall-clock times and durable. What a clock that was days ahead has put off for a second
 * would wait for days once the clock is right again, though nothing is wrong any more (S1). So when
 * a turn begins much earlier than the one before, sagas that wait for a time far ahead get a TIMER;
 * the engine knows how far anything is put off, and takes what lies further for due. */
#include "common/base/assert.h"
#include "orchestrator/runtime/internal.h"

enum {
    PAGE_LOOKS = 64 * 1024, /* sagas and buckets looked at in one turn */
};

void note_clock(struct saga_runtime *runtime, int64_t now_unix_ms)
{
    if (runtime->now_unix_ms - now_unix_ms > SAGA_CLOCK_BACK_MS_MAX) {
        runtime->rewinding = true;
        runtime->rewind_bucket = 0;
        runtime->rewind_bucket_count = runtime->table.bucket_count;
    }
}

/* Not only what is due first: a time that is right may stand before one that is not. */
static bool is_far(const struct saga_runtime *runtime, const struct live *live)
{
    int64_t far_unix_ms = runtime->now_unix_ms + SAGA_CLOCK_BACK_MS_MAX;
    bool far = live->saga.deadline_unix_ms > far_unix_ms;
    for (uint8_t i = 0; i < live->saga.step_count; i++) {
        far = far || live->saga.steps[i].due_unix_ms > far_unix_ms;
    }
    return far;
}

void check_due(struct saga_runtime *runtime, struct live *live)
{
    if (!runtime->failed && is_far(runtime, live)) {
        struct happening happening = {.ev = {.kind = SAGA_EVENT_TIMER}};
        apply_event(runtime, live, &happening); /* ignored when that time is right */
    }
}

void rewind_page(struct saga_runtime *runtime)
{
    const struct live_table *table = &runtime->table;
    size_t events = 0;
    size_t looks = 0;
    SAGA_ASSERT(runtime->in_turn);
    if (!runtime->rewinding) {
        return;
    }
    if (runtime->rewind_bucket_count != table->bucket_count) {
        runtime->rewind_bucket_count = table->bucket_count;
        runtime->rewind_bucket = 0;
    }
    /* Nothing enters or leaves the table meanwhile: children are made, and what has ended leaves,
     * at the end of the turn. */
    while (runtime->rewind_bucket < table->bucket_count &&
           events < runtime->config.recover_page_max && looks < PAGE_LOOKS) {
        struct live *live = table->buckets[runtime->rewind_bucket++];
        for (looks++; live != NULL; live = live->chain, looks++) {
            events += is_far(runtime, live) ? 1 : 0;
            check_due(runtime, live);
        }
    }
    runtime->rewinding = runtime->rewind_bucket < table->bucket_count;
}
