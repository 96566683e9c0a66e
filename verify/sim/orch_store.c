/* Between the runtime and its store: where a process may die inside a turn, where its disk fails,
 * and what a transaction has written. Everything else goes straight through. */
#include <inttypes.h>
#include <string.h>

#include "common/base/assert.h"
#include "orchestrator/codec/codec.h"
#include "verify/sim/world.h"

/* The orchestrator whose code runs now: port calls are given the store, not the process. */
static _Thread_local struct sim_orch *running;

enum { SALT_BETWEEN = 0x2001, SALT_INSIDE, SALT_OUTCOME, SALT_PLACE };
/* Of the disk, in the commit of a transaction with events and without, about. */
enum { EVENT_OPERATIONS = 40, PLACE_OPERATIONS = 12 };

void sim_orch_enter(struct sim_orch *orch)
{
    SAGA_ASSERT(running == NULL);
    running = orch;
    orch->world->running = orch;
}

void sim_orch_leave(struct sim_orch *orch)
{
    SAGA_ASSERT(running == orch);
    running = NULL;
    orch->world->running = NULL;
}

static enum saga_err dead(struct saga_err_detail *detail)
{
    return saga_err_set(detail, SAGA_ERR_IO, "the process has died");
}

static enum saga_err store_begin(struct saga_store *store, struct saga_err_detail *detail)
{
    struct sim_orch *orch = running;
    sim_book_clear(orch);
    orch->transactions++;
    orch->io_identity = sim_mix(sim_mix(orch->io_life, SALT_PLACE), orch->transactions);
    orch->io_event = false;
    orch->io_count = orch->stop_after = 0;
    return running->dead ? dead(detail) : running->inner.ops->begin(store, detail);
}

static enum saga_err store_lease(struct saga_store *store, const char *owner, uint64_t *epoch,
                                 struct saga_err_detail *detail)
{
    enum saga_err err = running->inner.ops->take_lease(store, owner, epoch, detail);
    if (err == SAGA_ERR_OK) {
        running->epoch = *epoch;
        running->taking = true;
    }
    return err;
}

/* Whoever had the lease has lost it. */
static void lose_lease(struct sim_orch *orch)
{
    struct sim_world *world = orch->world;
    orch->taking = false;
    for (size_t i = 0; i < SIM_ORCHS_MAX; i++) {
        struct sim_orch *other = &world->orchs[i];
        other->lost = other != orch && other->process.state != SIM_DOWN;
    }
}

static void note_lease(struct sim_orch *orch)
{
    orch->world->epoch = orch->epoch;
    saga_judge_lease(orch->world->view.judge, orch->epoch);
    lose_lease(orch);
}

/* One roll for each event and place: what is hit is this event of this saga, or this transaction
 * when it holds none. */
static void roll_cuts(struct sim_orch *orch, uint64_t identity, const char *what, uint64_t number,
                      const char *whose)
{
    static const struct {
        enum saga_sim_fault kind;
        enum sim_cut cut;
    } rows[] = {
        {SAGA_SIM_CRASH_BEFORE_COMMIT, SIM_CUT_COMMIT_BEFORE},
        {SAGA_SIM_CRASH_AFTER_COMMIT, SIM_CUT_COMMIT_AFTER},
        {SAGA_SIM_CRASH_BEFORE_SENDS, SIM_CUT_SENDS},
        {SAGA_SIM_CRASH_BETWEEN_SENDS, SIM_CUT_BETWEEN},
        {SAGA_SIM_CRASH_BEFORE_ANSWERS, SIM_CUT_ANSWERS},
        {SAGA_SIM_ZOMBIE_BEFORE_SENDS, SIM_CUT_HANG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && orch->cut == SIM_CUT_NONE; i++) {
        if (sim_fault(orch->world, rows[i].kind, identity, "at %s %" PRIu64 " of %s", what, number,
                      whose)) {
            orch->cut = rows[i].cut;
            orch->cut_identity = identity;
            orch->cut_after = (uint32_t)sim_draw(orch->world, SALT_BETWEEN, identity, 4);
        }
    }
}

/* What a transaction writes besides an event: it dies before that, or somewhere in its commit.
 * Returns false when it has died. */
static bool roll_inside(struct sim_orch *orch, uint64_t identity, const char *what, uint64_t number,
                        const char *whose)
{
    struct sim_world *world = orch->world;
    if (!sim_fault(world, SAGA_SIM_CRASH_IN_TRANSACTION, identity, "at %s %" PRIu64 " of %s", what,
                   number, whose)) {
        return true;
    }
    orch->dead = sim_draw(world, SALT_INSIDE, identity, 2) == 0;
    uint64_t most = orch->io_event ? EVENT_OPERATIONS : PLACE_OPERATIONS;
    uint32_t after = 1 + (uint32_t)sim_draw(world, SALT_INSIDE, identity + 1, most);
    orch->stop_after = orch->dead ? 0 : orch->io_count + after;
    return !orch->dead;
}

/* Of cursors, offsets, a lease, a page of recovery that changes nothing. */
static bool roll_place(struct sim_orch *orch)
{
    if (!roll_inside(orch, orch->io_identity, "transaction", orch->transactions, "the process")) {
        return false;
    }
    if (orch->serving) { /* before, nobody is sent or answered anything */
        roll_cuts(orch, orch->io_identity, "transaction", orch->transactions, "the process");
    }
    return true;
}

static enum saga_err store_commit(struct saga_store *store, struct saga_err_detail *detail)
{
    struct sim_orch *orch = running;
    if (!orch->dead && !orch->io_event && !roll_place(orch)) {
        return dead(detail);
    }
    if (orch->dead || orch->cut == SIM_CUT_COMMIT_BEFORE) {
        orch->dead = true;
        return dead(detail);
    }
    orch->committing = true;
    enum saga_err err = orch->inner.ops->commit(store, detail);
    orch->committing = false;
    if (err != SAGA_ERR_OK) {
        sim_say(orch->world, "commit fails: %s", detail == NULL ? "" : detail->text);
        if (orch->taking) { /* nobody knows who has the lease, until the next one takes it */
            lose_lease(orch);
        }
        sim_book_doubt(orch);
        return err;
    }
    if (orch->taking) {
        note_lease(orch);
    } else {
        sim_book_commit(orch);
    }
    if (orch->cut == SIM_CUT_COMMIT_AFTER) {
        orch->dead = true;
        return dead(detail);
    }
    orch->dead = orch->cut == SIM_CUT_SENDS;
    return SAGA_ERR_OK;
}

/* What a row says counts when its transaction commits. */
static void note_row(const struct saga_row *row)
{
    struct sim_orch *orch = running;
    struct sim_saga *saga = sim_book_row(orch->world, row);
    struct sim_change *change = NULL;
    for (size_t i = 0; i < orch->change_count && change == NULL; i++) {
        change = orch->changes[i].saga == saga ? &orch->changes[i] : NULL;
    }
    if (change == NULL) {
        orch->changes = sim_grow(orch->changes, &orch->change_capacity, orch->change_count + 1,
                                 sizeof *orch->changes);
        change = &orch->changes[orch->change_count++];
    }
    struct saga_texts texts;
    change->saga = saga;
    change->state = (struct saga){.id = row->id};
    /* A key is reserved by a row as it is before the first event. */
    if (row->seq > 0 && saga_record_decode(row->record, &change->state, &texts) != SAGA_ERR_OK) {
        sim_violate(orch->world, "SIM", "%s: its record cannot be read", saga->key);
    }
}

static enum saga_err store_insert(struct saga_store *store, const struct saga_row *row,
                                  struct saga_err_detail *detail)
{
    if (running->dead) {
        return dead(detail);
    }
    enum saga_err err = running->inner.ops->insert_saga(store, row, detail);
    if (err == SAGA_ERR_OK) {
        note_row(row);
    }
    return err;
}

static enum saga_err store_update(struct saga_store *store, const struct saga_row *row,
                                  struct saga_err_detail *detail)
{
    if (running->dead) {
        return dead(detail);
    }
    enum saga_err err = running->inner.ops->update_saga(store, row, detail);
    if (err == SAGA_ERR_OK) {
        note_row(row);
    }
    return err;
}

static uint64_t id_mix(struct saga_id id)
{
    uint64_t halves[2];
    memcpy(halves, id.b, sizeof halves);
    return sim_mix(halves[0], halves[1]);
}

static enum saga_err store_audit(struct saga_store *store, const struct saga_audit_row *row,
                                 struct saga_err_detail *detail)
{
    struct sim_orch *orch = running;
    struct sim_world *world = orch->world;
    struct sim_saga *saga = sim_find(world, row->id);
    if (orch->dead) {
        return dead(detail);
    }
    /* A definition's own stream has no row: its acts are told apart by their place in it. */
    const char *whose = saga == NULL ? "a definition" : saga->key;
    uint64_t identity =
        saga == NULL ? sim_mix(id_mix(row->id), row->seq) : sim_mix(saga->name, row->seq);
    if (!orch->io_event) {
        orch->io_event = true;
        orch->io_identity = identity;
    }
    if (!roll_inside(orch, identity, "event", row->seq, whose)) {
        return dead(detail);
    }
    roll_cuts(orch, identity, "event", row->seq, whose);
    enum saga_err err = orch->inner.ops->append_audit(store, row, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    sim_book_event(orch, row->event);
    return SAGA_ERR_OK;
}

void sim_orch_wrap(struct sim_orch *orch)
{
    orch->ops = *orch->inner.ops;
    orch->ops.begin = store_begin;
    orch->ops.commit = store_commit;
    orch->ops.take_lease = store_lease;
    orch->ops.insert_saga = store_insert;
    orch->ops.update_saga = store_update;
    orch->ops.append_audit = store_audit;
}

/* ---- The disk ---- */

/* One operation of the disk, by what it belongs to: the event that its transaction began with, or
 * the transaction's place in the life of its process; the opening; a page of recovery. */
enum saga_vfs_outcome sim_disk_fault(void *user, const struct saga_vfs_io *io)
{
    struct sim_world *world = user;
    struct sim_orch *orch = world->running;
    if (orch == NULL || world->view.healing || io->process != orch->vfs_process ||
        orch->io_identity == 0) {
        return SAGA_VFS_OK;
    }
    orch->io_count++;
    if (orch->stop_after != 0 && orch->io_count >= orch->stop_after && orch->committing) {
        sim_say(world, "the process dies at operation %" PRIu32 " of its transaction",
                orch->io_count);
        orch->stop_after = 0;
        orch->dead = true;
        return sim_draw(world, SALT_OUTCOME, orch->io_identity, 2) == 0 ? SAGA_VFS_STOP_BEFORE
                                                                        : SAGA_VFS_STOP_AFTER;
    }
    uint64_t identity = sim_mix(orch->io_identity, orch->io_count);
    const char *what = saga_vfs_op_name(io->op);
    if (io->op == SAGA_VFS_WRITE || io->op == SAGA_VFS_TRUNCATE) {
        if (sim_fault(world, SAGA_SIM_DISK_EIO_WRITE, identity, "%s of %s", what, io->file)) {
            return SAGA_VFS_EIO;
        }
        if (sim_fault(world, SAGA_SIM_DISK_FULL, identity, "%s of %s", what, io->file)) {
            return io->op == SAGA_VFS_WRITE && identity % 2 == 0 ? SAGA_VFS_SHORT : SAGA_VFS_FULL;
        }
    }
    if (io->op == SAGA_VFS_SYNC &&
        sim_fault(world, SAGA_SIM_DISK_SYNC, identity, "%s of %s", what, io->file)) {
        return identity % 2 == 0 ? SAGA_VFS_EIO : SAGA_VFS_GATE;
    }
    if (io->op == SAGA_VFS_READ) {
        if (sim_fault(world, SAGA_SIM_DISK_EIO_READ, identity, "%s of %s", what, io->file)) {
            return SAGA_VFS_EIO;
        }
        if (sim_fault(world, SAGA_SIM_DISK_SHORT_READ, identity, "%s of %s", what, io->file)) {
            return SAGA_VFS_SHORT;
        }
    }
    return SAGA_VFS_OK;
}
