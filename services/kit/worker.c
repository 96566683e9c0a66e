/* The worker: the one thread that writes. A turn takes what is in the inbox, runs it in one
 * transaction, commits once, and only then answers.
 *
 *     take -> begin -> run each in its savepoint -> commit (one fsync for all) -> answer,
 * after-commit callbacks, wake the relay
 *
 * If the commit fails, nothing is acknowledged. If the store may have lost something, the daemon
 * stops. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "services/kit/room.h"

enum {
    CURSOR_DELAY_US =
        200 * 1000, /* the relay's cursor waits so long for a turn that writes anyway */
    PRUNE_AGAIN_US = 200 * 1000,         /* between prunings when there was something to prune */
    PRUNE_OVERDUE_US = 10 * 1000 * 1000, /* under load, prune nevertheless */
    PAUSE_NS = 10 * 1000 * 1000,         /* after a transient failure of the store */
};

/* Times of the next housekeeping, by the monotonic clock. */
struct chores {
    int64_t cursor_us; /* 0: nothing to write */
    int64_t prune_us;
};

/* ---- Cursor ---- */

static enum saga_err write_cursor(struct saga_kit *kit, int64_t position,
                                  struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        kit->sql, "UPDATE relay_cursor SET position = ?1 WHERE id = 1", &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    saga_sql_bind_int(stmt, 1, position + (SAGA_BROKEN(B8_CURSOR_AHEAD) ? 1 : 0));
    return saga_sql_run(stmt, NULL, detail);
}

enum saga_err saga_kit_cursor_load(struct saga_kit *kit, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err =
        saga_sql_prepare(kit->sql, "SELECT position FROM relay_cursor WHERE id = 1", &stmt, detail);
    bool row = false;
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, &row, detail);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    kit->cursor = row ? saga_sql_int(stmt, 0) : 0;
    saga_sql_reset(stmt);
    atomic_store(&kit->advanced, kit->cursor);
    return SAGA_ERR_OK;
}

enum saga_err saga_kit_cursor_save(struct saga_kit *kit, struct saga_err_detail *detail)
{
    atomic_store(&kit->cursor_dirty, false);
    int64_t position = atomic_load(&kit->advanced);
    if (position <= kit->cursor) {
        return SAGA_ERR_OK;
    }
    enum saga_err err = saga_sql_begin(kit->sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = write_cursor(kit, position, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_commit(kit->sql, detail);
    } else {
        saga_sql_rollback(kit->sql);
    }
    if (err == SAGA_ERR_OK) {
        kit->cursor = position;
    }
    return err;
}

/* ---- A turn ---- */

static void turn_begin(struct saga_kit *kit)
{
    struct saga_kit_turn *turn = &kit->turn;
    saga_arena_clear(&turn->arena);
    turn->now_unix_ms = saga_clock_unix_ms();
    turn->command_count = 0;
    turn->wrote = false;
    turn->stored = false;
    turn->in_store = false;
    turn->done = NULL;
    turn->done_tail = &turn->done;
    turn->after = NULL;
    turn->after_tail = &turn->after;
    turn->direct = NULL;
    turn->direct_tail = &turn->direct;
    turn->position_count = 0;
}

static enum saga_err run_request(struct saga_kit *kit, struct saga_kit_entry *entry,
                                 struct saga_err_detail *detail)
{
    struct saga_command *commands = NULL;
    size_t count = 0;
    struct saga_status wrong = saga_status_ok();
    enum saga_err err = saga_command_batch_decode(saga_rpc_request_bytes(entry->request),
                                                  &kit->turn.arena, &commands, &count, &wrong);
    if (err != SAGA_ERR_OK) {
        struct saga_reply reply = {.step = "", .status = wrong};
        kit->turn.command_count++;
        return saga_kit_reply_add(&reply, true, &entry->replies);
    }
    for (size_t i = 0; i < count; i++) {
        struct saga_reply reply;
        bool stored = false;
        err = saga_kit_dispatch(kit, &commands[i], SAGA_VIA_NNG, &reply, &stored, detail);
        if (err == SAGA_ERR_OK) {
            const struct saga_kit_method *method = saga_kit_method_find(kit, commands[i].method);
            err = saga_kit_reply_add(&reply, method != NULL && method->read_only, &entry->replies);
        }
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return SAGA_ERR_OK;
}

static enum saga_err run_entry(struct saga_kit *kit, struct saga_kit_entry *entry,
                               struct saga_err_detail *detail)
{
    switch (entry->kind) {
    case SAGA_KIT_ENTRY_REQUEST:
        return run_request(kit, entry, detail);
    case SAGA_KIT_ENTRY_RECORD:
        return atomic_load(&kit->failed) ? SAGA_ERR_OK
                                         : saga_kit_record_run(kit, entry->record, detail);
    case SAGA_KIT_ENTRY_JOB:
        return saga_kit_dispatch_job(kit, entry, detail);
    }
    return SAGA_ERR_OK;
}

/* Runs entries into the open transaction until it is large enough. */
static enum saga_err run_entries(struct saga_kit *kit, struct saga_err_detail *detail)
{
    struct saga_kit_turn *turn = &kit->turn;
    enum saga_err err = SAGA_ERR_OK;
    while (kit->pending != NULL && err == SAGA_ERR_OK &&
           turn->command_count < SAGA_TURN_COUNT_MAX) {
        struct saga_inbox_entry *link = kit->pending;
        kit->pending = link->next;
        link->next = NULL;
        *turn->done_tail = link;
        turn->done_tail = &link->next;
        err = run_entry(kit, (struct saga_kit_entry *)link, detail);
    }
    return err;
}

/* Writes what goes with every turn that writes, and commits; a turn that wrote nothing costs no
 * fsync. */
static enum saga_err commit(struct saga_kit *kit, struct saga_err_detail *detail)
{
    if (!kit->turn.wrote) {
        saga_sql_rollback(kit->sql);
        return SAGA_ERR_OK;
    }
    enum saga_err err = saga_kit_positions_store(kit, detail);
    int64_t position = atomic_load(&kit->advanced);
    if (err == SAGA_ERR_OK && position > kit->cursor) {
        err = write_cursor(kit, position, detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_commit(kit->sql, detail);
    }
    if (err == SAGA_ERR_OK) {
        kit->cursor = position > kit->cursor ? position : kit->cursor;
        atomic_fetch_add(&kit->counters.commits, 1);
        saga_kit_positions_commit(kit);
    }
    return err;
}

/* Answers one entry whose turn is durable. */
static void finish(struct saga_kit *kit, struct saga_kit_entry *entry)
{
    switch (entry->kind) {
    case SAGA_KIT_ENTRY_REQUEST:
        saga_rpc_request_answer(entry->request, saga_buf_view(&entry->replies));
        break;
    case SAGA_KIT_ENTRY_JOB:
        entry->job->done(entry->job, entry->status.code == SAGA_CODE_OK, &entry->status);
        break;
    case SAGA_KIT_ENTRY_RECORD:
        break;
    }
    saga_kit_entry_free(kit, entry);
}

static void finish_all(struct saga_kit *kit)
{
    struct saga_kit_turn *turn = &kit->turn;
    if (turn->stored && kit->relay != NULL) {
        saga_relay_wake(kit->relay);
    }
    struct saga_inbox_entry *next = NULL;
    for (struct saga_inbox_entry *link = turn->done; link != NULL; link = next) {
        next = link->next;
        finish(kit, (struct saga_kit_entry *)link);
    }
    for (const struct saga_kit_after *after = turn->after; after != NULL; after = after->next) {
        after->done(after->user, after->value);
    }
    saga_kit_direct_produce(kit);
}

/* Stops the daemon: main waits for signals. */
static void give_up(struct saga_kit *kit, const struct saga_err_detail *detail, enum saga_err err)
{
    if (atomic_load(&kit->failed)) {
        return;
    }
    kit->failure = *detail;
    atomic_store(&kit->failed, true);
    saga_log(SAGA_LOG_ERROR, "store_failed",
             "error=%s msg=\"%s\" note=\"nothing of this turn was acknowledged; stopping\"",
             saga_err_name(err), detail->text);
    (void)pthread_kill(kit->main_thread, SIGTERM);
}

/* Nothing of the turn has happened: says so to whoever waits; records are run again in the next
 * turn, or after a restart. */
static void fail_all(struct saga_kit *kit, enum saga_err err, const struct saga_err_detail *detail)
{
    struct saga_kit_turn *turn = &kit->turn;
    struct saga_status status =
        saga_status_make(SAGA_CODE_UNAVAILABLE, "STORE_FAILED", detail->text);
    struct saga_inbox_entry *again = NULL;
    struct saga_inbox_entry **again_tail = &again;
    struct saga_inbox_entry *next = NULL;
    for (struct saga_inbox_entry *link = turn->done; link != NULL; link = next) {
        next = link->next;
        struct saga_kit_entry *entry = (struct saga_kit_entry *)link;
        switch (entry->kind) {
        case SAGA_KIT_ENTRY_REQUEST:
            saga_kit_request_refuse(entry, status);
            break;
        case SAGA_KIT_ENTRY_JOB:
            entry->job->done(entry->job, false, &status);
            saga_kit_entry_free(kit, entry);
            break;
        case SAGA_KIT_ENTRY_RECORD:
            link->next = NULL;
            *again_tail = link;
            again_tail = &link->next;
            break;
        }
    }
    *again_tail = kit->pending;
    kit->pending = again;
    if (saga_err_class(err) != SAGA_ERR_CLASS_RETRY) {
        give_up(kit, detail, err);
        return;
    }
    saga_log(SAGA_LOG_WARN, "turn_failed", "error=%s msg=\"%s\"", saga_err_name(err), detail->text);
    struct timespec pause = {.tv_sec = 0, .tv_nsec = PAUSE_NS};
    (void)nanosleep(&pause, NULL);
}

static void run_turn(struct saga_kit *kit)
{
    struct saga_err_detail detail = {{0}};
    turn_begin(kit);
    enum saga_err err = SAGA_ERR_OK;
    bool store = !atomic_load(&kit->failed);
    if (store) {
        err = saga_sql_begin(kit->sql, &detail);
    }
    if (err == SAGA_ERR_OK) {
        err = run_entries(kit, &detail);
        if (err != SAGA_ERR_OK) {
            saga_sql_rollback(kit->sql);
        } else if (store) {
            err = commit(kit, &detail);
        }
    } else { /* what would have been run is refused, so that nobody waits for a busy store */
        kit->turn.done = kit->pending;
        kit->pending = NULL;
    }
    atomic_fetch_add_explicit(&kit->counters.turns, 1, memory_order_relaxed);
    if (err != SAGA_ERR_OK && !SAGA_BROKEN(S6_KIT_ACK_FAILED)) {
        saga_sql_rollback(kit->sql);
        fail_all(kit, err, &detail);
        return;
    }
    atomic_fetch_add_explicit(&kit->counters.commands, (int64_t)kit->turn.command_count,
                              memory_order_relaxed);
    finish_all(kit);
}

/* ---- Housekeeping ---- */

static struct saga_kit_now read_clocks(void)
{
    return (struct saga_kit_now){.unix_ms = saga_clock_unix_ms(), .mono_us = saga_clock_mono_us()};
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void saga_kit_ages_begin(struct saga_kit_ages *ages, struct saga_kit_now now)
{
    /* Nothing was seen yet: by a time of 0 no row is old. */
    *ages = (struct saga_kit_ages){
        .start_unix_ms = now.unix_ms, .start_mono_us = now.mono_us, .seen_mono_us = now.mono_us};
}

/* Gives the time that ages are reckoned from. A clock that is ahead for a while would make rows of
 * live sagas look old, and their undos would then find nothing to undo. */
static int64_t believed(struct saga_kit_ages *ages, struct saga_kit_now now)
{
    int64_t elapsed_ms = (now.mono_us - ages->start_mono_us) / 1000;
    int64_t time = smaller(now.unix_ms, ages->start_unix_ms + elapsed_ms);
    if (SAGA_BROKEN(B7_CLOCK)) {
        return now.unix_ms;
    }
    if (now.mono_us - ages->seen_mono_us >= SAGA_KIT_PRUNE_INTERVAL_US) {
        ages->last_unix_ms = ages->seen_unix_ms;
        ages->seen_unix_ms = time;
        ages->seen_mono_us = now.mono_us;
    }
    return smaller(time, ages->last_unix_ms);
}

enum saga_err saga_kit_prune(struct saga_kit *kit, struct saga_kit_now now, int64_t *count,
                             struct saga_err_detail *detail)
{
    *count = 0;
    int64_t before_unix_ms = believed(&kit->ages, now) - kit->retention_ms;
    enum saga_err err = saga_sql_begin(kit->sql, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    err = saga_barrier_prune(kit->barrier, kit->cursor, before_unix_ms, SAGA_KIT_PRUNE_COUNT_MAX,
                             count, detail);
    if (err != SAGA_ERR_OK || *count == 0) {
        saga_sql_rollback(kit->sql);
        return err;
    }
    return saga_sql_commit(kit->sql, detail);
}

static void housekeep(struct saga_kit *kit, struct chores *chores, bool idle)
{
    struct saga_err_detail detail = {{0}};
    enum saga_err err = SAGA_ERR_OK;
    int64_t now_us = saga_clock_mono_us();
    if (atomic_load(&kit->cursor_dirty) && chores->cursor_us == 0) {
        chores->cursor_us = now_us + CURSOR_DELAY_US;
    }
    if (chores->cursor_us != 0 && now_us >= chores->cursor_us) {
        chores->cursor_us = 0;
        err = saga_kit_cursor_save(kit, &detail);
    }
    if (err == SAGA_ERR_OK && now_us >= chores->prune_us + (idle ? 0 : PRUNE_OVERDUE_US)) {
        int64_t count = 0;
        err = saga_kit_prune(kit, read_clocks(), &count, &detail);
        chores->prune_us = now_us + (count > 0 ? PRUNE_AGAIN_US : SAGA_KIT_PRUNE_INTERVAL_US);
    }
    if (err == SAGA_ERR_OK) {
        return;
    }
    if (saga_err_class(err) == SAGA_ERR_CLASS_RETRY) {
        saga_log(SAGA_LOG_WARN, "housekeeping", "error=%s msg=\"%s\"", saga_err_name(err),
                 detail.text);
    } else {
        give_up(kit, &detail, err);
    }
}

static int64_t wait_us(const struct chores *chores)
{
    int64_t until = chores->cursor_us != 0 && chores->cursor_us < chores->prune_us
                        ? chores->cursor_us
                        : chores->prune_us;
    int64_t wait = until - saga_clock_mono_us();
    return wait < 0 ? 0 : wait;
}

void *saga_kit_work(void *data)
{
    struct saga_kit *kit = data;
    saga_kit_ages_begin(&kit->ages, read_clocks());
    struct chores chores = {.prune_us = saga_clock_mono_us() + SAGA_KIT_PRUNE_INTERVAL_US};
    for (;;) {
        if (kit->pending == NULL) {
            kit->pending = saga_inbox_take(kit->inbox, SAGA_TURN_COUNT_MAX, wait_us(&chores));
        }
        bool idle = kit->pending == NULL;
        if (!idle) {
            run_turn(kit);
        } else if (atomic_load(&kit->stopping) && saga_inbox_count(kit->inbox) == 0) {
            return NULL;
        }
        if (!atomic_load(&kit->failed)) {
            housekeep(kit, &chores, idle);
        }
    }
}
